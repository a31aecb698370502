//! The nearest of some known words, for "did you mean". Distance and threshold are BuildKit's.

/// A word is suggested only when it is nearer than this many edits.
const DISTANCE_LIMIT: usize = 3;
/// A longer word is nobody's typing error.
const WORD_CHARACTERS_MAX: usize = 64;

/// The option nearest to the word, if one is near and none is the word itself.
pub(crate) fn nearest<'a>(
    word: &str,
    options: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let word: Vec<char> = word.chars().take(WORD_CHARACTERS_MAX + 1).collect();
    if word.len() > WORD_CHARACTERS_MAX {
        return None;
    }
    let (mut best, mut limit) = (None, DISTANCE_LIMIT);
    for option in options {
        match distance(&word, option) {
            // The word is known: whatever is wrong, it is not its spelling.
            0 => return None,
            near if near < limit => (best, limit) = (Some(option), near),
            _ => {}
        }
    }
    best
}

/// The Levenshtein distance.
fn distance(word: &[char], option: &str) -> usize {
    let mut row: Vec<usize> = (0..=word.len()).collect();
    for (above, character) in option.chars().take(WORD_CHARACTERS_MAX * 2).enumerate() {
        let mut diagonal = above;
        row[0] = above + 1;
        for (at, other) in word.iter().enumerate() {
            let replaced = diagonal + usize::from(*other != character);
            diagonal = row[at + 1];
            row[at + 1] = replaced.min(row[at] + 1).min(row[at + 1] + 1);
        }
    }
    row[word.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_word_within_two_edits_is_suggested() {
        let options = ["RUN", "COPY", "ENV"];
        assert_eq!(nearest("RUM", options), Some("RUN"));
        assert_eq!(nearest("CPOY", options), Some("COPY"));
        assert_eq!(nearest("RUN", options), None);
        assert_eq!(nearest("HEALTH", options), None);
        assert_eq!(nearest("", options), None);
        assert_eq!(nearest(&"x".repeat(100), options), None);
    }
}
