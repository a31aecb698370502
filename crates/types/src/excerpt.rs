//! Long texts as people are shown them.

use std::borrow::Cow;

/// The text, or its start and its end and how much is between them, in not much more than `bytes_max`.
pub fn excerpt(text: &str, bytes_max: usize) -> Cow<'_, str> {
    if text.len() <= bytes_max {
        return Cow::Borrowed(text);
    }
    let half = bytes_max / 2;
    let start = (0..=half).rev().find(|at| text.is_char_boundary(*at));
    let end = (text.len() - half..=text.len()).find(|at| text.is_char_boundary(*at));
    let (start, end) = (start.unwrap_or(0), end.unwrap_or(text.len()));
    let (head, left_out, tail) = (&text[..start], end - start, &text[end..]);
    Cow::Owned(format!("{head} [… {left_out} bytes …] {tail}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_has_its_start_and_its_end() {
        assert_eq!(excerpt("short", 5), "short");
        let long = format!("start{}end", "é".repeat(1000));
        assert_eq!(excerpt(&long, 14), "starté [… 1994 bytes …] ééend");
        // A character that is not whole goes.
        assert_eq!(excerpt(&long, 12), "start [… 1998 bytes …] éend");
        assert_eq!(excerpt("ééé", 1), " [… 6 bytes …] ");
    }
}
