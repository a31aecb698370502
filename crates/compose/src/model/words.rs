//! A command line in one text, split as Docker Compose splits it (go-shellwords).
//!
//! Quotes and backslashes group, and so do backquotes and `$(…)`, which stay as they are; nothing
//! is expanded; an operator of the shell ends the words.

/// Inside what a character stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Quote {
    None,
    Single,
    Double,
    Back,
    Dollar,
}

/// The words of a command line.
///
/// # Errors
/// A quote or a bracket that is not closed.
pub fn split(text: &str) -> Result<Vec<String>, String> {
    let invalid = || format!("invalid command line string: {text}");
    let mut words = Vec::new();
    let mut word = String::new();
    let mut quote = Quote::None;
    let (mut escaped, mut got) = (false, false);
    for c in text.chars() {
        if std::mem::take(&mut escaped) {
            got = true;
            match (quote, c) {
                (Quote::Back | Quote::Dollar, c) => word.extend(['\\', c]),
                (_, 't') => word.push('\t'),
                (_, 'n') => word.push('\n'),
                (_, c) => word.push(c),
            }
            continue;
        }
        match (quote, c) {
            (Quote::Single, '\\') => word.push(c),
            (_, '\\') => escaped = true,
            (Quote::None, ' ' | '\t' | '\r' | '\n') => {
                if std::mem::take(&mut got) {
                    words.push(std::mem::take(&mut word));
                }
            }
            (_, ' ' | '\t' | '\r' | '\n') => word.push(c),
            (Quote::None, '"') => quote = Quote::Double,
            (Quote::None, '\'') => quote = Quote::Single,
            (Quote::Double, '"') | (Quote::Single, '\'') => (quote, got) = (Quote::None, true),
            (Quote::None, '(') if word.ends_with('$') => {
                quote = Quote::Dollar;
                word.push(c);
            }
            (Quote::None, '(' | ')') | (Quote::Dollar, '(') => return Err(invalid()),
            (Quote::None, ';' | '&' | '|' | '<' | '>') => {
                // The digits before a redirection belong to it.
                let is_number = word.bytes().all(|byte| byte.is_ascii_digit());
                got &= !(c == '>' && is_number && !word.is_empty());
                break;
            }
            _ => {
                quote = match (quote, c) {
                    (Quote::None, '`') => Quote::Back,
                    (Quote::Back, '`') | (Quote::Dollar, ')') => Quote::None,
                    _ => quote,
                };
                got = true;
                word.push(c);
            }
        }
    }
    if escaped || quote != Quote::None {
        return Err(invalid());
    }
    if got {
        words.push(word);
    }
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_split_as_a_shell_would() {
        let words = |text| split(text).unwrap();
        assert_eq!(
            words("echo 'a b' \"c d\" e\\ f"),
            ["echo", "a b", "c d", "e f"]
        );
        assert_eq!(words("sh -c ''"), ["sh", "-c", ""]);
        assert_eq!(words(""), [""; 0]);
        assert_eq!(words("a=b c"), ["a=b", "c"]);
        assert_eq!(words("echo $(a b) `c d`; rm"), ["echo", "$(a b)", "`c d`"]);
        assert_eq!(words("echo 2> x"), ["echo"]);
        assert!(split("'open").is_err());
        assert!(split("a (b)").is_err());
    }
}
