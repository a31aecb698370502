//! Plain scalars, as the YAML library of Docker Compose reads them.

use crate::tree::Value;

/// What a plain scalar means.
pub(crate) fn resolve_plain(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        "true" | "True" | "TRUE" => return Value::Bool(true),
        "false" | "False" | "FALSE" => return Value::Bool(false),
        ".nan" | ".NaN" | ".NAN" => return Value::Float(f64::NAN),
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => {
            return Value::Float(f64::INFINITY);
        }
        "-.inf" | "-.Inf" | "-.INF" => return Value::Float(f64::NEG_INFINITY),
        _ => {}
    }
    number(text).unwrap_or_else(|| Value::Text(text.to_owned()))
}

/// A scalar under one of YAML's own tags.
pub(super) fn resolve_as(sort: &str, text: &str) -> Option<Value> {
    let value = resolve_plain(text);
    match (sort, value) {
        ("null", value @ Value::Null)
        | ("bool", value @ Value::Bool(_))
        | ("int", value @ Value::Int(_))
        | ("float", value @ Value::Float(_)) => Some(value),
        ("float", Value::Int(value)) => Some(Value::Float(value as f64)),
        _ => None,
    }
}

fn number(text: &str) -> Option<Value> {
    if !text.starts_with(|first: char| first.is_ascii_digit() || "+-.".contains(first)) {
        return None;
    }
    let plain = text.replace('_', "");
    if let Some(value) = integer(&plain) {
        return Some(Value::Int(value));
    }
    is_float(&plain).then(|| plain.parse().ok().map(Value::Float))?
}

/// Go's integers with a base by prefix: `0x1f`, `0o17`, `017`, `0b11`.
fn integer(text: &str) -> Option<i64> {
    let (negative, digits) = match text.as_bytes() {
        [b'-', ..] => (true, &text[1..]),
        [b'+', ..] => (false, &text[1..]),
        _ => (false, text),
    };
    let lower = digits.to_ascii_lowercase();
    let (radix, digits) = match lower.as_bytes() {
        [b'0', b'x', ..] => (16, &lower[2..]),
        [b'0', b'o', ..] => (8, &lower[2..]),
        [b'0', b'b', ..] => (2, &lower[2..]),
        [b'0', _, ..] => (8, &lower[1..]),
        _ => (10, lower.as_str()),
    };
    if !digits.starts_with(|first: char| first.is_ascii_alphanumeric()) {
        return None;
    }
    let sign = if negative { "-" } else { "" };
    i64::from_str_radix(&format!("{sign}{digits}"), radix).ok()
}

/// `[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?`
fn is_float(text: &str) -> bool {
    let text = text.strip_prefix(['-', '+']).unwrap_or(text);
    let (mantissa, exponent) = match text.find(['e', 'E']) {
        Some(index) => (&text[..index], Some(&text[index + 1..])),
        None => (text, None),
    };
    let is_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let has_mantissa =
        is_digits(whole) && is_digits(fraction) && (!whole.is_empty() || !fraction.is_empty());
    let has_exponent = exponent.is_none_or(|exponent| {
        let digits = exponent.strip_prefix(['-', '+']).unwrap_or(exponent);
        !digits.is_empty() && is_digits(digits)
    });
    has_mantissa && has_exponent
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_scalars_are_what_go_yaml_makes_of_them() {
        let shown = |text: &str| format!("{:?}", resolve_plain(text));
        assert_eq!(shown("0440"), "Int(288)");
        assert_eq!(shown("0o17"), "Int(15)");
        assert_eq!(shown("1_000"), "Int(1000)");
        assert_eq!(shown("-3"), "Int(-3)");
        assert_eq!(shown("1.10"), "Float(1.1)");
        assert_eq!(shown("1e3"), "Float(1000.0)");
        assert_eq!(shown("yes"), "Text(\"yes\")");
        assert_eq!(shown("8080:80"), "Text(\"8080:80\")");
        assert_eq!(shown("1.2.3"), "Text(\"1.2.3\")");
        assert_eq!(shown("-"), "Text(\"-\")");
        assert_eq!(shown("089"), "Float(89.0)");
        assert_eq!(shown("~"), "Null");
    }
}
