//! Wildcards of `COPY` and `ADD` sources: Go's `filepath.Match`, name by name.
//!
//! `*` is any run of characters, `?` one, `[a-z]` one of a set, `[^a-z]` one that is not in it, `\`
//! takes the next one as it is. None of them is a `/`: a pattern is matched name by name.

/// A malformed pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("syntax error in pattern")]
pub struct PatternError;

/// Whether a name (or part of a path) has wildcards.
pub fn is_pattern(name: &[u8]) -> bool {
    name.iter()
        .any(|byte| matches!(byte, b'*' | b'?' | b'[' | b'\\'))
}

/// Whether a name matches a pattern for one name.
///
/// # Errors
/// A set that has no end, or a `\` at the end.
pub fn matches(pattern: &[u8], name: &[u8]) -> Result<bool, PatternError> {
    let pattern = parse(pattern)?;
    let name: Vec<char> = String::from_utf8_lossy(name).chars().collect();
    Ok(run(&pattern, &name))
}

enum One {
    Any,
    Run,
    Exactly(char),
    Set {
        ranges: Vec<(char, char)>,
        negated: bool,
    },
}

fn parse(pattern: &[u8]) -> Result<Vec<One>, PatternError> {
    let text = String::from_utf8_lossy(pattern);
    let mut characters = text.chars().peekable();
    let mut all = Vec::new();
    while let Some(character) = characters.next() {
        all.push(match character {
            '*' => One::Run,
            '?' => One::Any,
            '\\' => One::Exactly(characters.next().ok_or(PatternError)?),
            '[' => {
                let negated = characters.next_if_eq(&'^').is_some();
                let mut ranges = Vec::new();
                loop {
                    if !ranges.is_empty() && characters.next_if_eq(&']').is_some() {
                        break;
                    }
                    let low = of_set(&mut characters)?;
                    let high = match characters.next_if_eq(&'-') {
                        Some(_) => of_set(&mut characters)?,
                        None => low,
                    };
                    ranges.push((low, high));
                }
                One::Set { ranges, negated }
            }
            other => One::Exactly(other),
        });
    }
    Ok(all)
}

fn of_set(characters: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Result<char, PatternError> {
    match characters.next() {
        None | Some('-' | ']') => Err(PatternError),
        Some('\\') => characters.next().ok_or(PatternError),
        Some(other) => Ok(other),
    }
}

/// Only the last run is gone back to: a later one can always take what an earlier one would.
fn run(pattern: &[One], name: &[char]) -> bool {
    let (mut at, mut place) = (0, 0);
    let mut back: Option<(usize, usize)> = None;
    loop {
        let fits = match (pattern.get(at), name.get(place)) {
            (None, None) => return true,
            (Some(One::Run), _) => {
                back = Some((at, place));
                at += 1;
                continue;
            }
            (Some(One::Any), Some(_)) => true,
            (Some(One::Exactly(wanted)), Some(found)) => wanted == found,
            (Some(One::Set { ranges, negated }), Some(found)) => {
                let is_in = ranges
                    .iter()
                    .any(|(low, high)| low <= found && found <= high);
                is_in != *negated
            }
            _ => false,
        };
        if fits {
            at += 1;
            place += 1;
            continue;
        }
        match back {
            Some((run, begin)) if begin < name.len() => {
                back = Some((run, begin + 1));
                at = run + 1;
                place = begin + 1;
            }
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_match_as_in_go() {
        let cases = [
            ("abc", "abc", true),
            ("*", "abc", true),
            ("*c", "abc", true),
            ("a*", "ab", true),
            ("a*b*c*d*e*", "axbxcxdxexxx", true),
            ("ab[c]", "abc", true),
            ("ab[b-d]", "abc", true),
            ("ab[e-g]", "abc", false),
            ("ab[^c]", "abc", false),
            ("ab[^e-g]", "abc", true),
            ("a\\*b", "a*b", true),
            ("a\\*b", "ab", false),
            ("a?b", "a\u{e9}b", true),
            ("[\\]a]", "]", true),
            ("*x", "xxx", true),
            ("a*b?c*x", "abxbbxdbxebxczzy", false),
            ("[[]x", "[x", true),
        ];
        for (pattern, name, wanted) in cases {
            let got = matches(pattern.as_bytes(), name.as_bytes());
            assert_eq!(got, Ok(wanted), "{pattern} {name}");
        }
        for pattern in ["[]a]", "[-]", "[x-]", "[", "a[", "\\"] {
            assert_eq!(
                matches(pattern.as_bytes(), b"a"),
                Err(PatternError),
                "{pattern}"
            );
        }
        let long = "a".repeat(200);
        assert_eq!(
            matches("*a".repeat(50).as_bytes(), format!("{long}b").as_bytes()),
            Ok(false)
        );
    }
}
