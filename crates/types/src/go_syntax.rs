//! Numbers, booleans and quoted text as Go's `strconv` reads and prints them.
//!
//! Docker's command line is a Go program; scripts and test suites grep its words, so values that
//! are numbers or booleans are refused with exactly these texts. Used by the grammars here and by
//! the flag tables of the command line. Tested below against answers recorded from Docker 28.2.2.

/// Why a text is not a number or a boolean, in the words of Go's `strconv.NumError`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("strconv.{function}: parsing {}: {problem}", quote(.text))]
pub struct NumberError {
    /// The name of Go's function, such as `ParseInt`.
    function: &'static str,
    /// The text that was refused.
    text: String,
    /// What was wrong with it.
    problem: NumberProblem,
}

/// The two ways in which a number can be wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NumberProblem {
    /// Not of the grammar at all.
    #[error("invalid syntax")]
    InvalidSyntax,
    /// A number, but too large for the type asked for.
    #[error("value out of range")]
    OutOfRange,
}

impl NumberError {
    fn new(function: &'static str, text: &str, problem: NumberProblem) -> Self {
        Self {
            function,
            text: text.to_owned(),
            problem,
        }
    }

    /// What was wrong.
    pub fn problem(&self) -> NumberProblem {
        self.problem
    }
}

/// Reads a decimal integer as `strconv.ParseInt(text, 10, 64)` does.
pub fn parse_int(text: &str) -> Result<i64, NumberError> {
    parse_signed("ParseInt", text)
}

/// Reads a decimal integer as `strconv.Atoi` does: the same grammar under another name.
pub fn parse_atoi(text: &str) -> Result<i64, NumberError> {
    parse_signed("Atoi", text)
}

fn parse_signed(function: &'static str, text: &str) -> Result<i64, NumberError> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(NumberError::new(
            function,
            text,
            NumberProblem::InvalidSyntax,
        ));
    }
    text.parse()
        .map_err(|_| NumberError::new(function, text, NumberProblem::OutOfRange))
}

/// Reads an unsigned integer in base 8 or 10 that fits in `bits` bits, as `strconv.ParseUint`.
pub fn parse_uint(text: &str, radix: u32, bits: u32) -> Result<u64, NumberError> {
    let fail = |problem| NumberError::new("ParseUint", text, problem);
    if text.is_empty() || !text.chars().all(|digit| digit.is_digit(radix)) {
        return Err(fail(NumberProblem::InvalidSyntax));
    }
    let value = u64::from_str_radix(text, radix).map_err(|_| fail(NumberProblem::OutOfRange))?;
    let fits = bits >= u64::BITS || value >> bits == 0;
    if fits {
        Ok(value)
    } else {
        Err(fail(NumberProblem::OutOfRange))
    }
}

/// Reads a decimal floating point number as `strconv.ParseFloat(text, 64)`; hexadecimal floats,
/// which nobody types as a size, are refused.
pub fn parse_float(text: &str) -> Result<f64, NumberError> {
    let fail = |problem| NumberError::new("ParseFloat", text, problem);
    let value: f64 = text
        .parse()
        .map_err(|_| fail(NumberProblem::InvalidSyntax))?;
    if value.is_infinite() && text.bytes().any(|byte| byte.is_ascii_digit()) {
        return Err(fail(NumberProblem::OutOfRange));
    }
    Ok(value)
}

/// Reads a boolean as `strconv.ParseBool`.
pub fn parse_bool(text: &str) -> Result<bool, NumberError> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err(NumberError::new(
            "ParseBool",
            text,
            NumberProblem::InvalidSyntax,
        )),
    }
}

/// Quotes a text as Go's `%q` does, so that control characters never reach a terminal.
pub fn quote(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for character in text.chars() {
        match character {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\u{7}' => quoted.push_str("\\a"),
            '\u{8}' => quoted.push_str("\\b"),
            '\u{c}' => quoted.push_str("\\f"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            '\u{b}' => quoted.push_str("\\v"),
            control if control.is_ascii_control() => {
                quoted.push_str(&format!("\\x{:02x}", u32::from(control)));
            }
            control if control.is_control() => {
                quoted.push_str(&format!("\\u{:04x}", u32::from(control)));
            }
            other => quoted.push(other),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_refused_in_the_words_of_go() {
        let texts = [
            (
                parse_int("x").unwrap_err(),
                r#"strconv.ParseInt: parsing "x": invalid syntax"#,
            ),
            (
                parse_int("").unwrap_err(),
                r#"strconv.ParseInt: parsing "": invalid syntax"#,
            ),
            (
                parse_int("9223372036854775808").unwrap_err(),
                r#"strconv.ParseInt: parsing "9223372036854775808": value out of range"#,
            ),
            (
                parse_uint("+1", 10, 16).unwrap_err(),
                r#"strconv.ParseUint: parsing "+1": invalid syntax"#,
            ),
            (
                parse_uint("65536", 10, 16).unwrap_err(),
                r#"strconv.ParseUint: parsing "65536": value out of range"#,
            ),
            (
                parse_bool("maybe").unwrap_err(),
                r#"strconv.ParseBool: parsing "maybe": invalid syntax"#,
            ),
            (
                parse_float("1e999").unwrap_err(),
                r#"strconv.ParseFloat: parsing "1e999": value out of range"#,
            ),
            (
                parse_atoi("-").unwrap_err(),
                r#"strconv.Atoi: parsing "-": invalid syntax"#,
            ),
        ];
        for (error, want) in texts {
            assert_eq!(error.to_string(), want);
        }
        assert_eq!(parse_int("-9223372036854775808"), Ok(i64::MIN));
        assert_eq!(parse_int("+7"), Ok(7));
        assert_eq!(parse_uint("65535", 10, 16), Ok(65535));
        assert_eq!(parse_uint("1777", 8, 32), Ok(0o1777));
        assert_eq!(parse_uint("18446744073709551615", 10, 64), Ok(u64::MAX));
    }

    #[test]
    fn quoting_hides_control_characters() {
        assert_eq!(
            quote("a\"b\\c\n\u{1b}é\u{85}"),
            "\"a\\\"b\\\\c\\n\\x1bé\\u0085\""
        );
    }
}
