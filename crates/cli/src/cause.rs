//! Causes of failures in the words of Go, which Docker's users know and scripts look for.

/// The cause of an input or output error in Go's words: `no such file or directory`.
pub(crate) fn cause(error: &std::io::Error) -> String {
    let text = without_number(&error.to_string());
    let mut characters = text.chars();
    match characters.next() {
        Some(first) => first.to_ascii_lowercase().to_string() + characters.as_str(),
        None => String::new(),
    }
}

/// The standard library adds its number to the kernel's word, which tells people nothing more.
pub(crate) fn without_number(text: &str) -> String {
    const BEGIN: &str = " (os error ";
    match text.split_once(BEGIN) {
        Some((before, after)) => {
            let rest = after.trim_start_matches(|digit: char| digit.is_ascii_digit());
            match rest.strip_prefix(')') {
                Some(rest) => format!("{before}{rest}"),
                None => text.to_owned(),
            }
        }
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_number_of_an_error_is_left_out() {
        for (text, want) in [
            ("cannot read x: No (os error 2): y", "cannot read x: No: y"),
            ("a (os error b)", "a (os error b)"),
            ("a (os error 2", "a (os error 2"),
        ] {
            assert_eq!(without_number(text), want);
        }
    }
}
