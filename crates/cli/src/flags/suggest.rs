//! Near misses: which known word did the user mean?

/// Longer words are not compared: nobody mistypes them into a command.
const WORD_BYTES_MAX: usize = 64;

/// The known word that differs least from `typed`, if it is near enough to be meant.
///
/// Near enough is one edit for short words and two for longer ones; the first of equals wins.
pub(super) fn nearest<'a>(typed: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let edits_max = match typed.len() {
        0 | 1 => return None,
        2..=4 => 1,
        5..=WORD_BYTES_MAX => 2,
        _ => return None,
    };
    known
        .map(|word| (distance(typed.as_bytes(), word.as_bytes()), word))
        .filter(|(edits, _)| *edits <= edits_max)
        .min_by_key(|(edits, _)| *edits)
        .map(|(_, word)| word)
}

/// Edit distance in which swapping two neighbours counts as one edit.
fn distance(left: &[u8], right: &[u8]) -> usize {
    if left.len().abs_diff(right.len()) > 2 {
        return usize::MAX;
    }
    let width = right.len() + 1;
    let mut before: Vec<usize> = vec![0; width];
    let mut above: Vec<usize> = (0..width).collect();
    for (row, byte) in left.iter().enumerate() {
        let mut current = vec![row + 1; width];
        for column in 1..width {
            let substitution = above[column - 1] + usize::from(right[column - 1] != *byte);
            let mut cost = substitution
                .min(above[column] + 1)
                .min(current[column - 1] + 1);
            let swapped = row > 0
                && column > 1
                && right[column - 2] == *byte
                && left[row - 1] == right[column - 1];
            if swapped {
                cost = cost.min(before[column - 2] + 1);
            }
            current[column] = cost;
        }
        before = std::mem::replace(&mut above, current);
    }
    above[width - 1]
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn near_words_are_found_and_far_ones_are_not() {
        let known = ["run", "rm", "rmi", "ps", "pause", "images", "inspect"];
        for (typed, expected) in [
            ("rum", Some("run")),
            ("urn", Some("run")),
            ("imgaes", Some("images")),
            ("inspct", Some("inspect")),
            ("pasue", Some("pause")),
            ("nosuch", None),
            ("x", None),
            ("", None),
        ] {
            assert_eq!(nearest(typed, known.into_iter()), expected, "{typed}");
        }
    }
}
