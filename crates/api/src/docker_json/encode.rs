//! Documents as text, byte for byte as Docker's engine and command line print them.
//!
//! Docker does not escape `<`, `>` and `&` in `inspect`, but does in the rows of lists; both escape
//! U+2028 and U+2029, which `serde_json` leaves alone. Hence an encoder of our own.

use std::fmt::Write as _;

use serde_json::Value;

/// On one line, without spaces.
#[must_use]
pub fn compact(value: &Value) -> String {
    let mut out = String::new();
    write_value(&mut out, value, None);
    out
}

/// Indented by four spaces, as `docker inspect` prints; empty arrays and objects stay closed.
#[must_use]
pub fn pretty(value: &Value) -> String {
    let mut out = String::new();
    write_value(&mut out, value, Some(0));
    out
}

/// Appends a JSON string literal; `html` escapes `<`, `>` and `&` as Go does by default.
pub fn write_string(out: &mut String, text: &str, html: bool) {
    out.push('"');
    let mut plain = 0;
    for (index, c) in text.char_indices() {
        let escape = match c {
            '"' => "\\\"",
            '\\' => "\\\\",
            '\n' => "\\n",
            '\r' => "\\r",
            '\t' => "\\t",
            '\u{8}' => "\\b",
            '\u{c}' => "\\f",
            '\u{2028}' => "\\u2028",
            '\u{2029}' => "\\u2029",
            '<' if html => "\\u003c",
            '>' if html => "\\u003e",
            '&' if html => "\\u0026",
            '\0'..='\u{1f}' => "",
            _ => continue,
        };
        out.push_str(&text[plain..index]);
        if escape.is_empty() {
            // Writing to a string cannot fail.
            let _ = write!(out, "\\u{:04x}", c as u32);
        } else {
            out.push_str(escape);
        }
        plain = index + c.len_utf8();
    }
    out.push_str(&text[plain..]);
    out.push('"');
}

fn write_value(out: &mut String, value: &Value, depth: Option<usize>) {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
        Value::Number(number) => out.push_str(&number.to_string()),
        Value::String(text) => write_string(out, text, false),
        Value::Array(items) if items.is_empty() => out.push_str("[]"),
        Value::Array(items) => {
            out.push('[');
            let inner = depth.map(|depth| depth + 1);
            for (index, item) in items.iter().enumerate() {
                separate(out, index, inner);
                write_value(out, item, inner);
            }
            new_line(out, depth);
            out.push(']');
        }
        Value::Object(members) if members.is_empty() => out.push_str("{}"),
        Value::Object(members) => {
            out.push('{');
            let inner = depth.map(|depth| depth + 1);
            for (index, (key, value)) in members.iter().enumerate() {
                separate(out, index, inner);
                write_string(out, key, false);
                out.push_str(if depth.is_some() { ": " } else { ":" });
                write_value(out, value, inner);
            }
            new_line(out, depth);
            out.push('}');
        }
    }
}

fn separate(out: &mut String, index: usize, depth: Option<usize>) {
    if index > 0 {
        out.push(',');
    }
    new_line(out, depth);
}

fn new_line(out: &mut String, depth: Option<usize>) {
    if let Some(depth) = depth {
        out.push('\n');
        for _ in 0..depth {
            out.push_str("    ");
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn prints_as_docker_inspect_does() {
        let value = json!([{"B": [], "A": {"x": null, "e": {}}, "L": [1, "<&>\u{2028}\u{1b}"]}]);
        assert_eq!(
            pretty(&value),
            "[\n    {\n        \"B\": [],\n        \"A\": {\n            \"x\": null,\n            \
             \"e\": {}\n        },\n        \"L\": [\n            1,\n            \
             \"<&>\\u2028\\u001b\"\n        ]\n    }\n]"
        );
        assert_eq!(
            compact(&value),
            "[{\"B\":[],\"A\":{\"x\":null,\"e\":{}},\"L\":[1,\"<&>\\u2028\\u001b\"]}]"
        );
        let mut html = String::new();
        write_string(&mut html, "a->b & c", true);
        assert_eq!(html, "\"a-\\u003eb \\u0026 c\"");
    }
}
