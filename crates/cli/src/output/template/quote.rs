//! Go's quoting of strings and characters (`strconv.Quote`, `Unquote`, `%U`).

use std::fmt::Write as _;

/// Whether Go prints the character as it is.
pub(crate) fn is_printable(c: char) -> bool {
    // Close to Go's table: controls, separators other than space, surrogates, private use and
    // non-characters are not printable.
    match c {
        ' ' => true,
        '\u{ad}' | '\u{feff}' => false,
        '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' => false,
        '\u{e000}'..='\u{f8ff}' | '\u{fff9}'..='\u{fffb}' => false,
        '\u{e0000}'..='\u{e007f}' | '\u{f0000}'..='\u{10ffff}' => false,
        _ => !c.is_control() && !c.is_whitespace() && (c as u32) & 0xfffe != 0xfffe,
    }
}

/// A double-quoted Go string literal.
pub(crate) fn quote(text: &str) -> String {
    quote_with(text, '"', false)
}

/// A double-quoted Go string literal in ASCII only.
pub(super) fn quote_ascii(text: &str) -> String {
    quote_with(text, '"', true)
}

/// A single-quoted Go character literal.
pub(super) fn quote_char(c: char, ascii: bool) -> String {
    quote_with(c.encode_utf8(&mut [0; 4]), '\'', ascii)
}

fn quote_with(text: &str, delimiter: char, ascii: bool) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push(delimiter);
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            _ if c == delimiter => {
                out.push('\\');
                out.push(c);
            }
            '\u{7}' => out.push_str("\\a"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{b}' => out.push_str("\\v"),
            _ if is_printable(c) && (!ascii || c.is_ascii()) => out.push(c),
            _ => push_escape(&mut out, c),
        }
    }
    out.push(delimiter);
    out
}

/// Appends `\x1b`, `\u009b` or `\U000e0001`.
pub(super) fn push_escape(out: &mut String, c: char) {
    let code = c as u32;
    // Writing to a string cannot fail.
    let _ = match code {
        0..=0x1f | 0x7f => write!(out, "\\x{code:02x}"),
        0x80..=0xffff => write!(out, "\\u{code:04x}"),
        _ => write!(out, "\\U{code:08x}"),
    };
}

/// Whether the text can stand between back quotes.
pub(super) fn can_backquote(text: &str) -> bool {
    !text
        .chars()
        .any(|c| c == '`' || c == '\u{feff}' || (c.is_control() && c != '\t'))
}

/// `U+0024 '$'`, as `%#U` prints.
pub(super) fn unicode_name(c: char) -> String {
    let code = c as u32;
    if is_printable(c) {
        format!("U+{code:04X} '{c}'")
    } else {
        format!("U+{code:04X}")
    }
}

/// The value of a quoted or back-quoted Go literal; `None` when its syntax is wrong.
pub(super) fn unquote(literal: &str) -> Option<String> {
    if let Some(raw) = literal.strip_prefix('`') {
        let raw = raw.strip_suffix('`')?;
        return (!raw.contains('`')).then(|| raw.replace('\r', ""));
    }
    let body = literal.strip_prefix('"')?.strip_suffix('"')?;
    let mut bytes = Vec::with_capacity(body.len());
    let mut rest = body;
    while !rest.is_empty() {
        let (unit, tail) = unquote_unit(rest, '"')?;
        match unit {
            Unit::Char(c) => bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
            Unit::Byte(byte) => bytes.push(byte),
        }
        rest = tail;
    }
    // Go strings are bytes; ours are text, so bytes that are no UTF-8 become replacements.
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// The code of a character constant, quotes included, or an error text.
pub(super) fn unquote_char(literal: &str) -> Result<i64, String> {
    let invalid = || "invalid syntax".to_owned();
    let body = literal.strip_prefix('\'').ok_or_else(invalid)?;
    let (unit, tail) = unquote_unit(body, '\'').ok_or_else(invalid)?;
    if tail != "'" {
        return Err(format!("malformed character constant: {literal}"));
    }
    Ok(match unit {
        Unit::Char(c) => i64::from(c as u32),
        Unit::Byte(byte) => i64::from(byte),
    })
}

enum Unit {
    Char(char),
    /// From `\x` and octal escapes.
    Byte(u8),
}

fn unquote_unit(text: &str, delimiter: char) -> Option<(Unit, &str)> {
    let mut chars = text.chars();
    let c = chars.next()?;
    if c == delimiter || c == '\n' {
        return None;
    }
    if c != '\\' {
        return Some((Unit::Char(c), chars.as_str()));
    }
    let c = chars.next()?;
    let simple = match c {
        'a' => '\u{7}',
        'b' => '\u{8}',
        'f' => '\u{c}',
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        'v' => '\u{b}',
        '\\' => '\\',
        '\'' | '"' if c == delimiter => c,
        'x' => return hex_escape(chars.as_str(), 2),
        'u' => return hex_escape(chars.as_str(), 4),
        'U' => return hex_escape(chars.as_str(), 8),
        '0'..='7' => {
            let tail = chars.as_str();
            let digits = tail.get(..2)?;
            if !digits.bytes().all(|digit| matches!(digit, b'0'..=b'7')) {
                return None;
            }
            let value = c.to_digit(8)? * 64 + u32::from_str_radix(digits, 8).ok()?;
            return Some((Unit::Byte(u8::try_from(value).ok()?), tail.get(2..)?));
        }
        _ => return None,
    };
    Some((Unit::Char(simple), chars.as_str()))
}

fn hex_escape(text: &str, digits: usize) -> Option<(Unit, &str)> {
    let head = text.get(..digits)?;
    if !head.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    let value = u32::from_str_radix(head, 16).ok()?;
    let unit = if digits == 2 {
        Unit::Byte(u8::try_from(value).ok()?)
    } else {
        Unit::Char(char::from_u32(value)?)
    };
    Some((unit, text.get(digits..)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_and_unquotes_like_go() {
        for (text, quoted) in [
            ("a\"b", r#""a\"b""#),
            ("tab\tbell\u{7}", r#""tab\tbell\a""#),
            ("\u{1b}[1m", r#""\x1b[1m""#),
            ("é日\u{2028}", "\"é日\\u2028\""),
        ] {
            assert_eq!(quote(text), quoted);
            assert_eq!(unquote(quoted).as_deref(), Some(text));
        }
        for bad in [
            r#""\q""#,
            r#""\400""#,
            r#""a"#,
            "`a",
            r#""\'""#,
            r#""\u12""#,
            "\"a\"b\"",
        ] {
            assert_eq!(unquote(bad), None, "{bad}");
        }
        assert_eq!(unquote_char(r"'\''"), Ok(39));
        assert_eq!(
            unquote_char("'ab'"),
            Err("malformed character constant: 'ab'".to_owned())
        );
        assert_eq!(unquote_char("''"), Err("invalid syntax".to_owned()));
    }
}
