//! YAML text in the shape that Docker Compose prints: two spaces, lists indented, strings plain
//! where they read back as themselves.

use std::cmp::Ordering;

use serde_json::Value;

use super::resolve_plain;

/// A document.
pub(crate) fn document(value: &Value) -> String {
    let mut out = String::new();
    match value {
        Value::Object(map) if !map.is_empty() => mapping(&mut out, map, 0, true),
        Value::Array(list) if !list.is_empty() => sequence(&mut out, list, 0, true),
        _ => {
            scalar(&mut out, value, 0);
            out.push('\n');
        }
    }
    out
}

/// Sorts keys as Docker Compose prints those of mappings: numbers in them by their size.
pub(crate) fn natural_order(a: &str, b: &str) -> Ordering {
    let (left, right): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut after_digit = false;
    for (index, (l, r)) in left.iter().zip(&right).enumerate() {
        if l == r {
            after_digit = l.is_ascii_digit();
            continue;
        }
        return match (l.is_alphabetic(), r.is_alphabetic()) {
            (true, true) => l.cmp(r),
            (true, false) | (false, true) if after_digit == l.is_alphabetic() => Ordering::Less,
            (true, false) | (false, true) => Ordering::Greater,
            (false, false) => numbers(&left, &right, index),
        };
    }
    left.len().cmp(&right.len())
}

fn numbers(left: &[char], right: &[char], index: usize) -> Ordering {
    let inside_number = (left[index] == '0' || right[index] == '0')
        && left[..index]
            .iter()
            .rev()
            .take_while(|c| c.is_ascii_digit())
            .any(|c| *c != '0');
    let number = |text: &[char]| {
        let start = u64::from(inside_number);
        let digits = text[index..].iter().take_while(|c| c.is_ascii_digit());
        digits.fold((start, 0_usize), |(number, count), digit| {
            let digit = u64::from(*digit as u32 - '0' as u32);
            (number.wrapping_mul(10).wrapping_add(digit), count + 1)
        })
    };
    number(left)
        .cmp(&number(right))
        .then(left[index].cmp(&right[index]))
}

fn mapping(out: &mut String, map: &serde_json::Map<String, Value>, indent: usize, fresh: bool) {
    for (index, (key, value)) in map.iter().enumerate() {
        if index > 0 || !fresh {
            spaces(out, indent);
        }
        text(out, key, indent, true);
        out.push(':');
        match value {
            Value::Object(inner) if !inner.is_empty() => {
                out.push('\n');
                mapping(out, inner, indent + 2, false);
            }
            Value::Array(list) if !list.is_empty() => {
                out.push('\n');
                sequence(out, list, indent + 2, false);
            }
            _ => {
                out.push(' ');
                scalar(out, value, indent);
                out.push('\n');
            }
        }
    }
}

fn sequence(out: &mut String, list: &[Value], indent: usize, fresh: bool) {
    for (index, value) in list.iter().enumerate() {
        if index > 0 || !fresh {
            spaces(out, indent);
        }
        out.push_str("- ");
        match value {
            Value::Object(inner) if !inner.is_empty() => mapping(out, inner, indent + 2, true),
            Value::Array(inner) if !inner.is_empty() => sequence(out, inner, indent + 2, true),
            _ => {
                scalar(out, value, indent);
                out.push('\n');
            }
        }
    }
}

fn spaces(out: &mut String, count: usize) {
    out.extend(std::iter::repeat_n(' ', count));
}

fn scalar(out: &mut String, value: &Value, indent: usize) {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
        Value::Number(number) => out.push_str(&number.to_string()),
        Value::String(string) => text(out, string, indent, false),
        Value::Array(_) => out.push_str("[]"),
        Value::Object(_) => out.push_str("{}"),
    }
}

fn text(out: &mut String, string: &str, indent: usize, is_key: bool) {
    let traits = Traits::of(string);
    if string.contains('\n') {
        let has_ink = string.chars().any(|c| !c.is_whitespace());
        if has_ink && traits.block && !is_key {
            return literal(out, string, indent);
        }
        return double_quoted(out, string);
    }
    let reads_back = matches!(resolve_plain(string), crate::tree::Value::Text(_))
        && !is_old_bool(string)
        && !is_base_60(string)
        && !looks_like_date(string)
        && string != "<<";
    if !reads_back {
        return double_quoted(out, string);
    }
    if traits.plain {
        out.push_str(string);
    } else if traits.single_quoted {
        out.push('\'');
        out.push_str(&string.replace('\'', "''"));
        out.push('\'');
    } else {
        double_quoted(out, string);
    }
}

/// In which styles a text can be written.
struct Traits {
    plain: bool,
    single_quoted: bool,
    block: bool,
}

impl Traits {
    fn of(text: &str) -> Self {
        let mut plain = !text.starts_with("---") && !text.starts_with("...");
        let (mut single_quoted, mut block) = (true, true);
        let (mut was_space, mut was_break) = (false, false);
        let characters: Vec<char> = text.chars().collect();
        let last = characters.len().saturating_sub(1);
        for (index, &c) in characters.iter().enumerate() {
            let follows_blank = characters
                .get(index + 1)
                .is_none_or(|next| matches!(next, ' ' | '\t' | '\n' | '\r'));
            let after_blank =
                index == 0 || matches!(characters[index - 1], ' ' | '\t' | '\n' | '\r');
            plain &= match c {
                '#' => !after_blank,
                ':' => !follows_blank,
                '?' | '-' if index == 0 => !follows_blank,
                ',' | '[' | ']' | '{' | '}' | '&' | '*' | '!' | '|' | '>' | '\'' | '"' | '%'
                | '@' | '`' => index > 0,
                _ => true,
            };
            let is_break = matches!(c, '\n' | '\r' | '\u{85}' | '\u{2028}' | '\u{2029}');
            if c == '\t' {
                (plain, single_quoted) = (false, false);
            } else if !is_break && !is_printable(c) || c == '\r' {
                (plain, single_quoted, block) = (false, false, false);
            }
            if c == ' ' {
                plain &= index != 0 && index != last;
                block &= index != last;
                if was_break {
                    (plain, single_quoted) = (false, false);
                }
            } else if is_break {
                plain = false;
                if was_space {
                    (single_quoted, block) = (false, false);
                }
            }
            (was_space, was_break) = (c == ' ', is_break);
        }
        Self {
            plain,
            single_quoted,
            block,
        }
    }
}

fn is_printable(c: char) -> bool {
    matches!(c, '\u{20}'..='\u{7e}' | '\u{a0}'..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..)
        && c != '\u{feff}'
}

fn is_old_bool(text: &str) -> bool {
    let lower = text.to_ascii_lowercase();
    let is_word = matches!(lower.as_str(), "y" | "n" | "yes" | "no" | "on" | "off");
    let mut rest = text.chars().skip(1);
    let is_upper = text.chars().all(char::is_uppercase);
    is_word && (is_upper || rest.all(char::is_lowercase))
}

/// `12:30:45`: a number in YAML 1.1.
fn is_base_60(text: &str) -> bool {
    let text = text.strip_prefix(['-', '+']).unwrap_or(text);
    let Some((first, rest)) = text.split_once(':') else {
        return false;
    };
    let is_first = first.starts_with(|c: char| c.is_ascii_digit())
        && first
            .bytes()
            .all(|byte| byte.is_ascii_digit() || byte == b'_');
    let (rest, fraction) = rest.split_once('.').unwrap_or((rest, ""));
    let is_part = |part: &str| match part.as_bytes() {
        [one] => one.is_ascii_digit(),
        [ten, one] => (b'0'..=b'5').contains(ten) && one.is_ascii_digit(),
        _ => false,
    };
    is_first
        && rest.split(':').all(is_part)
        && fraction
            .bytes()
            .all(|byte| byte.is_ascii_digit() || byte == b'_')
}

/// A text that older readers take for a date.
fn looks_like_date(text: &str) -> bool {
    let Some((year, rest)) = text.split_once('-') else {
        return false;
    };
    let is_year = year.len() == 4 && year.bytes().all(|byte| byte.is_ascii_digit());
    let date = rest.split(['T', 't', ' ']).next().unwrap_or_default();
    let parts: Vec<&str> = date.split('-').collect();
    let is_part = |part: &&str| {
        (1..=2).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit())
    };
    is_year && parts.len() == 2 && parts.iter().all(is_part)
}

fn double_quoted(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        let short = match c {
            '\0' => '0',
            '\u{7}' => 'a',
            '\u{8}' => 'b',
            '\t' => 't',
            '\n' => 'n',
            '\u{b}' => 'v',
            '\u{c}' => 'f',
            '\r' => 'r',
            '\u{1b}' => 'e',
            '"' => '"',
            '\\' => '\\',
            '\u{85}' => 'N',
            '\u{2028}' => 'L',
            '\u{2029}' => 'P',
            _ if is_printable(c) => {
                out.push(c);
                continue;
            }
            _ => {
                let code = c as u32;
                let escape = match code {
                    0..=0xff => format!("\\x{code:02X}"),
                    0x100..=0xffff => format!("\\u{code:04X}"),
                    _ => format!("\\U{code:08X}"),
                };
                out.push_str(&escape);
                continue;
            }
        };
        out.push('\\');
        out.push(short);
    }
    out.push('"');
}

fn literal(out: &mut String, text: &str, indent: usize) {
    out.push('|');
    if text.starts_with(' ') {
        out.push('2');
    }
    if !text.ends_with('\n') {
        out.push('-');
    } else if text == "\n" || text.ends_with("\n\n") {
        out.push('+');
    }
    let body = text.strip_suffix('\n').unwrap_or(text);
    for line in body.split('\n') {
        out.push('\n');
        if !line.is_empty() {
            spaces(out, indent + 2);
            out.push_str(line);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn texts_are_quoted_only_where_they_would_read_differently() {
        let value = json!({
            "plain": "redis:alpine", "number": "8080", "bool": "yes", "truth": "true",
            "empty": "", "hash": "a #b", "colon": "a: b", "star": "*x", "time": "22:22",
            "tab": "a\tb", "lines": "one\ntwo\n", "open": "a\nb", "quote": "it's",
            "list": ["a", {"b": 1, "c": []}], "null": null, "none": {}, "date": "2020-01-02"
        });
        let expected = "\
plain: redis:alpine
number: \"8080\"
bool: \"yes\"
truth: \"true\"
empty: \"\"
hash: 'a #b'
colon: 'a: b'
star: '*x'
time: \"22:22\"
tab: \"a\\tb\"
lines: |
  one
  two
open: |-
  a
  b
quote: it's
list:
  - a
  - b: 1
    c: []
\"null\": null
none: {}
date: \"2020-01-02\"
";
        assert_eq!(document(&value), expected);
        let again = crate::yaml::parse(expected, 0).unwrap();
        assert_eq!(again[0].as_map().unwrap().text("tab"), Some("a\tb"));
    }

    #[test]
    fn keys_sort_by_the_numbers_in_them() {
        let mut keys = vec!["a10", "a2", "b", "a1b", "A"];
        keys.sort_by(|a, b| natural_order(a, b));
        assert_eq!(keys, ["A", "a1b", "a2", "a10", "b"]);
    }
}
