//! Constants: the types that Go's syntax gives them.

use super::lexer::{Token, TokenKind};
use super::node::Number;
use super::quote::{quote, unquote_char};

/// The types that a constant may take, by the syntax of Go.
pub(super) fn number(token: &Token) -> Result<Number, String> {
    let text = token.text.clone();
    if token.kind == TokenKind::CharConstant {
        let code = unquote_char(&text)?;
        let uint = u64::try_from(code).ok();
        return Ok(Number {
            text,
            int: Some(code),
            uint,
            float: Some(code as f64),
        });
    }
    if token.kind == TokenKind::Complex || text.ends_with('i') {
        return Err(format!("complex number {} is not supported", quote(&text)));
    }
    if let Some(value) = parse_integer(&text) {
        let int = i64::try_from(value).ok();
        let uint = u64::try_from(value).ok();
        if int.is_some() || uint.is_some() {
            return Ok(Number {
                text,
                int,
                uint,
                float: Some(value as f64),
            });
        }
    }
    let Some(float) = parse_float(&text) else {
        return Err(format!("illegal number syntax: {}", quote(&text)));
    };
    if !text.contains(['.', 'e', 'E', 'p', 'P']) {
        return Err(format!("integer overflow: {}", quote(&text)));
    }
    let whole = float.fract() == 0.0 && float.abs() < i64::MAX as f64;
    let int = whole.then_some(float as i64);
    Ok(Number {
        text,
        int,
        uint: int.and_then(|int| u64::try_from(int).ok()),
        float: Some(float),
    })
}

/// An integer with Go's prefixes; underscores only between digits or after the prefix.
fn parse_integer(text: &str) -> Option<i128> {
    let (negative, body) = match text.as_bytes().first()? {
        b'-' => (true, text.get(1..)?),
        b'+' => (false, text.get(1..)?),
        _ => (false, text),
    };
    let lower = body.to_ascii_lowercase();
    let (radix, digits, prefixed) = if let Some(rest) = lower.strip_prefix("0x") {
        (16, rest, true)
    } else if let Some(rest) = lower.strip_prefix("0b") {
        (2, rest, true)
    } else if let Some(rest) = lower.strip_prefix("0o") {
        (8, rest, true)
    } else if lower.len() > 1 && lower.starts_with('0') {
        (8, lower.get(1..)?, true)
    } else {
        (10, lower.as_str(), false)
    };
    let misplaced =
        digits.ends_with('_') || digits.contains("__") || (!prefixed && digits.starts_with('_'));
    if misplaced {
        return None;
    }
    let digits: String = digits.chars().filter(|c| *c != '_').collect();
    if digits.starts_with(['+', '-']) {
        return None;
    }
    let value = i128::from_str_radix(&digits, radix).ok()?;
    Some(if negative { -value } else { value })
}

fn parse_float(text: &str) -> Option<f64> {
    // Underscores need a base prefix in Go, hexadecimal floats are too rare to be worth code.
    if text.contains(['_', 'x', 'X']) {
        return None;
    }
    let value: f64 = text.parse().ok()?;
    value.is_finite().then_some(value)
}
