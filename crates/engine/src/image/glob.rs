//! Patterns for names, as the `reference` filter has them: `*` and `?` stop at a slash.

/// Whether the whole text is of the pattern: `*`, `?`, `[a-z]`, `[^a]`, and `\` before any of them.
/// A malformed pattern matches nothing.
pub(crate) fn matches(pattern: &str, text: &str) -> bool {
    let pattern: Vec<char> = pattern.chars().collect();
    let text: Vec<char> = text.chars().collect();
    // Greedy with one point to return to: `*` never needs more than its last occurrence, but for
    // the slash, which it may not cross.
    let (mut p, mut t) = (0, 0);
    let mut retry: Option<(usize, usize)> = None;
    loop {
        if p == pattern.len() && t == text.len() {
            return true;
        }
        if pattern.get(p) == Some(&'*') {
            retry = Some((p, t));
            p += 1;
            continue;
        }
        if let Some(next) = step(&pattern, p, text.get(t)) {
            p = next;
            t += 1;
            continue;
        }
        match retry {
            Some((star, from)) if from < text.len() && text[from] != '/' => {
                retry = Some((star, from + 1));
                (p, t) = (star + 1, from + 1);
            }
            _ => return false,
        }
    }
}

/// Where the pattern goes on if its element at `p` accepts the character.
fn step(pattern: &[char], p: usize, character: Option<&char>) -> Option<usize> {
    let &character = character?;
    match pattern.get(p)? {
        '?' => (character != '/').then_some(p + 1),
        '\\' => (*pattern.get(p + 1)? == character).then_some(p + 2),
        '[' => class(pattern, p + 1, character),
        &literal => (literal == character).then_some(p + 1),
    }
}

fn class(pattern: &[char], mut p: usize, character: char) -> Option<usize> {
    let negated = pattern.get(p) == Some(&'^');
    p += usize::from(negated);
    let start = p;
    let mut inside = false;
    while *pattern.get(p)? != ']' || p == start {
        let low = *pattern.get(p)?;
        if pattern.get(p + 1) == Some(&'-') && pattern.get(p + 2).is_some_and(|&c| c != ']') {
            inside |= (low..=pattern[p + 2]).contains(&character);
            p += 3;
        } else {
            inside |= low == character;
            p += 1;
        }
    }
    (inside != negated && character != '/').then_some(p + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_of_the_whole_name_and_stop_at_slashes() {
        for (pattern, text, want) in [
            ("nginx", "nginx", true),
            ("nginx", "nginx:1", false),
            ("ngin*", "nginx", true),
            ("*/nginx", "user/nginx", true),
            ("*", "user/nginx", false),
            ("*/*:*", "user/nginx:1", true),
            ("*:1", "a:b:1", true),
            ("ng?nx", "nginx", true),
            ("?", "/", false),
            ("[a-c]x", "bx", true),
            ("[^a-c]x", "bx", false),
            ("[]x", "]x", false),
            ("[", "[", false),
            ("a\\*b", "a*b", true),
            ("a*b*c", "aXbYbZc", true),
            ("", "", true),
            ("", "a", false),
        ] {
            assert_eq!(matches(pattern, text), want, "{pattern} {text}");
        }
    }
}
