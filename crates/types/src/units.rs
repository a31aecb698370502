//! Sizes and durations, read and printed as Docker does.
//!
//! Sizes follow the go-units library (`ram_in_bytes` counts in 1024, `from_human_size` in 1000),
//! durations Go's `time` package. Durations are nanoseconds in an `i64`, as in Docker's API.
//! Held to `corpus/golden/units-golden.jsonl`.

use crate::go_syntax::{NumberError, parse_float, quote};

/// A microsecond in nanoseconds.
pub const MICROSECOND_NS: i64 = 1_000;
/// A millisecond in nanoseconds.
pub const MILLISECOND_NS: i64 = 1_000_000;
/// A second in nanoseconds.
pub const SECOND_NS: i64 = 1_000_000_000;
/// A minute in nanoseconds.
pub const MINUTE_NS: i64 = 60 * SECOND_NS;
/// An hour in nanoseconds.
pub const HOUR_NS: i64 = 60 * MINUTE_NS;

const SIZE_LETTERS: &str = "kmgtp";
const DECIMAL_UNITS: [&str; 9] = ["B", "kB", "MB", "GB", "TB", "PB", "EB", "ZB", "YB"];
const BINARY_UNITS: [&str; 9] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB", "ZiB", "YiB"];
/// One more than `i64::MAX`, where Go's durations overflow.
const OVERFLOW: u64 = 1 << 63;

/// Why a text is no size.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SizeError {
    /// No digit at all, negative, or (for [`memory_bytes`]) more than fits.
    #[error("invalid size: '{0}'")]
    InvalidSize(String),
    /// Letters that are no unit.
    #[error("invalid suffix: '{0}'")]
    InvalidSuffix(String),
    /// The number is none.
    #[error(transparent)]
    Number(#[from] NumberError),
}

/// Why a text is no duration, in the words of Go's `time.ParseDuration`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DurationError {
    /// Not of the grammar, or too long.
    #[error("time: invalid duration {}", quote(.0))]
    Invalid(String),
    /// A number without a unit.
    #[error("time: missing unit in duration {}", quote(.0))]
    MissingUnit(String),
    /// A unit that there is not.
    #[error("time: unknown unit {} in duration {}", quote(.0), quote(.1))]
    UnknownUnit(String, String),
}

/// Reads `512m`, `1.5g`, `64KiB` with units of 1024. As in Docker, a value beyond `i64` gives
/// `i64::MIN`; flags use [`memory_bytes`], which refuses it.
pub fn ram_in_bytes(text: &str) -> Result<i64, SizeError> {
    parse_size(text, 1024.0).map(to_i64_as_go)
}

/// Reads `512m`, `1.5g`, `64KB` with units of 1000; beyond `i64` as [`ram_in_bytes`].
pub fn from_human_size(text: &str) -> Result<i64, SizeError> {
    parse_size(text, 1000.0).map(to_i64_as_go)
}

/// Reads a size given to a flag such as `--memory`: as [`ram_in_bytes`], but what does not fit
/// into `i64` is an error instead of a negative number.
pub fn memory_bytes(text: &str) -> Result<i64, SizeError> {
    let size = parse_size(text, 1024.0)?;
    if size < OVERFLOW as f64 {
        Ok(size as i64)
    } else {
        Err(SizeError::InvalidSize(text.to_owned()))
    }
}

/// Reads `--memory-swap`: as [`memory_bytes`], and `-1` for no limit.
pub fn memory_swap_bytes(text: &str) -> Result<i64, SizeError> {
    if text == "-1" {
        Ok(-1)
    } else {
        memory_bytes(text)
    }
}

/// Go's conversion on amd64: out of range and not-a-number give the smallest integer.
fn to_i64_as_go(size: f64) -> i64 {
    if size < OVERFLOW as f64 {
        size as i64
    } else {
        i64::MIN
    }
}

fn parse_size(text: &str, base: f64) -> Result<f64, SizeError> {
    let number_end = text
        .rfind(|character: char| character.is_ascii_digit() || matches!(character, '.' | ' '))
        .ok_or_else(|| SizeError::InvalidSize(text.to_owned()))?;
    let suffix = &text[number_end + 1..];
    let has_space = text.as_bytes()[number_end] == b' ';
    let number = if has_space {
        &text[..number_end]
    } else {
        &text[..=number_end]
    };
    let size = parse_float(number)?;
    if size < 0.0 {
        return Err(SizeError::InvalidSize(text.to_owned()));
    }
    match size_multiplier(suffix, base) {
        Some(multiplier) => Ok(size * multiplier),
        None => Err(SizeError::InvalidSuffix(match suffix.len() {
            0..=3 => suffix.to_lowercase(),
            _ => suffix.to_owned(),
        })),
    }
}

/// What a suffix stands for: nothing, `b`, or a letter with an optional `b` or `ib`.
fn size_multiplier(suffix: &str, base: f64) -> Option<f64> {
    let suffix = suffix.to_ascii_lowercase();
    if matches!(suffix.as_str(), "" | "b") {
        return Some(1.0);
    }
    let mut letters = suffix.chars();
    let power = SIZE_LETTERS.find(letters.next()?)?;
    let exponent = i32::try_from(power + 1).ok()?;
    matches!(letters.as_str(), "" | "b" | "ib").then(|| base.powi(exponent))
}

/// Prints a size in units of 1000 with four significant digits: `7.05MB`.
pub fn human_size(size: f64) -> String {
    human_size_with_precision(size, 4)
}

/// Prints a size in units of 1000 with the given significant digits; `docker system df` and
/// `docker ps -s` use 3.
pub fn human_size_with_precision(size: f64, digits: usize) -> String {
    scaled(size, 1000.0, &DECIMAL_UNITS, digits)
}

/// Prints a size in units of 1024 with four significant digits: `1.5MiB`.
pub fn bytes_size(size: f64) -> String {
    scaled(size, 1024.0, &BINARY_UNITS, 4)
}

fn scaled(mut size: f64, base: f64, units: &[&str], digits: usize) -> String {
    let mut unit = 0;
    while size >= base && unit + 1 < units.len() {
        size /= base;
        unit += 1;
    }
    format!("{}{}", format_general(size, digits), units[unit])
}

/// C's and Go's `%.{digits}g`.
fn format_general(value: f64, digits: usize) -> String {
    if !value.is_finite() {
        let text = if value.is_nan() {
            "NaN"
        } else if value > 0.0 {
            "+Inf"
        } else {
            "-Inf"
        };
        return text.to_owned();
    }
    let digits = digits.max(1);
    let scientific = format!("{value:.*e}", digits - 1);
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let last = i32::try_from(digits).unwrap_or(i32::MAX);
    if exponent < -4 || exponent >= last {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!(
            "{}e{sign}{:02}",
            trim_fraction(mantissa),
            exponent.unsigned_abs()
        );
    }
    let decimals = usize::try_from(last - 1 - exponent).unwrap_or(0);
    trim_fraction(&format!("{value:.decimals$}")).to_owned()
}

fn trim_fraction(number: &str) -> &str {
    if !number.contains('.') {
        return number;
    }
    number.trim_end_matches('0').trim_end_matches('.')
}

/// Prints how long something took or is ago in one word or two, as `docker ps` does.
pub fn human_duration(nanoseconds: i64) -> String {
    let seconds = nanoseconds / SECOND_NS;
    let minutes = nanoseconds / MINUTE_NS;
    let hours = nanoseconds.saturating_add(HOUR_NS / 2) / HOUR_NS;
    match (seconds, minutes, hours) {
        (..1, _, _) => "Less than a second".to_owned(),
        (1, _, _) => "1 second".to_owned(),
        (..60, _, _) => format!("{seconds} seconds"),
        (_, 1, _) => "About a minute".to_owned(),
        (_, ..60, _) => format!("{minutes} minutes"),
        (_, _, 1) => "About an hour".to_owned(),
        (_, _, ..48) => format!("{hours} hours"),
        (_, _, ..336) => format!("{} days", hours / 24),
        (_, _, ..1440) => format!("{} weeks", hours / 24 / 7),
        (_, _, ..17520) => format!("{} months", hours / 24 / 30),
        _ => format!("{} years", nanoseconds / HOUR_NS / 24 / 365),
    }
}

/// Reads a duration as Go's `time.ParseDuration`: `1h30m`, `-1.5s`, `500ms`, `0`.
pub fn parse_duration(text: &str) -> Result<i64, DurationError> {
    let invalid = || DurationError::Invalid(text.to_owned());
    let negative = text.starts_with('-');
    let mut rest = text.strip_prefix(['+', '-']).unwrap_or(text);
    if rest == "0" {
        return Ok(0);
    }
    if rest.is_empty() {
        return Err(invalid());
    }
    let mut total: u64 = 0;
    while !rest.is_empty() {
        let (amount, after) = parse_duration_term(text, rest)?;
        total = total
            .checked_add(amount)
            .filter(|&sum| sum <= OVERFLOW)
            .ok_or_else(invalid)?;
        rest = after;
    }
    if negative {
        // The one value whose positive counterpart does not fit is reached without overflow.
        return Ok((total as i64).wrapping_neg());
    }
    i64::try_from(total).map_err(|_| invalid())
}

/// Reads one `1.5h` off the front; gives its nanoseconds and what follows.
fn parse_duration_term<'a>(text: &str, term: &'a str) -> Result<(u64, &'a str), DurationError> {
    let invalid = || DurationError::Invalid(text.to_owned());
    let (whole, rest) = split_digits(term);
    let (fraction, rest) = match rest.strip_prefix('.') {
        Some(rest) => split_digits(rest),
        None => ("", rest),
    };
    if whole.is_empty() && fraction.is_empty() {
        return Err(invalid());
    }
    let unit_end = rest
        .find(|character: char| character == '.' || character.is_ascii_digit())
        .unwrap_or(rest.len());
    let (unit, rest) = rest.split_at(unit_end);
    if unit.is_empty() {
        return Err(DurationError::MissingUnit(text.to_owned()));
    }
    let unit_ns = duration_unit_ns(unit)
        .ok_or_else(|| DurationError::UnknownUnit(unit.to_owned(), text.to_owned()))?;
    let whole: u64 = if whole.is_empty() {
        0
    } else {
        whole.parse().map_err(|_| invalid())?
    };
    let amount = whole
        .checked_mul(unit_ns)
        .and_then(|amount| amount.checked_add(fraction_ns(fraction, unit_ns)))
        .filter(|&amount| amount <= OVERFLOW)
        .ok_or_else(invalid)?;
    Ok((amount, rest))
}

fn split_digits(text: &str) -> (&str, &str) {
    let end = text.bytes().take_while(u8::is_ascii_digit).count();
    text.split_at(end)
}

/// The digits after the point, as nanoseconds. Digits that no longer fit into an integer are
/// below anything that counts and are dropped, as Go does; then the arithmetic is Go's.
fn fraction_ns(digits: &str, unit_ns: u64) -> u64 {
    let mut value: u64 = 0;
    let mut scale = 1.0;
    for digit in digits.bytes() {
        let next = value
            .checked_mul(10)
            .and_then(|value| value.checked_add(u64::from(digit - b'0')))
            .filter(|&value| value < OVERFLOW);
        let Some(next) = next else { break };
        value = next;
        scale *= 10.0;
    }
    (value as f64 * (unit_ns as f64 / scale)) as u64
}

fn duration_unit_ns(unit: &str) -> Option<u64> {
    let nanoseconds = match unit {
        "ns" => 1,
        "us" | "µs" | "μs" => MICROSECOND_NS,
        "ms" => MILLISECOND_NS,
        "s" => SECOND_NS,
        "m" => MINUTE_NS,
        "h" => HOUR_NS,
        _ => return None,
    };
    u64::try_from(nanoseconds).ok()
}

/// Prints a duration as Go does: `1h30m0s`, `1.5s`, `500ms`, `0s`.
pub fn format_duration(nanoseconds: i64) -> String {
    let sign = if nanoseconds < 0 { "-" } else { "" };
    let total = nanoseconds.unsigned_abs();
    let second = SECOND_NS.unsigned_abs();
    if total == 0 {
        return "0s".to_owned();
    }
    if total < second {
        let (unit, unit_ns, decimals) = match total {
            0..1_000 => ("ns", 1, 0),
            1_000..1_000_000 => ("µs", 1_000, 3),
            _ => ("ms", 1_000_000, 6),
        };
        return format!(
            "{sign}{}{unit}",
            with_decimals(total / unit_ns, total % unit_ns, decimals)
        );
    }
    let (minutes, seconds) = (total / (60 * second), total / second % 60);
    let seconds = with_decimals(seconds, total % second, 9);
    match (minutes / 60, minutes % 60) {
        (0, 0) => format!("{sign}{seconds}s"),
        (0, minutes) => format!("{sign}{minutes}m{seconds}s"),
        (hours, minutes) => format!("{sign}{hours}h{minutes}m{seconds}s"),
    }
}

fn with_decimals(whole: u64, fraction: u64, decimals: usize) -> String {
    if fraction == 0 {
        return whole.to_string();
    }
    trim_fraction(&format!("{whole}.{fraction:0decimals$}")).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recorded_sizes_and_durations_agree() {
        for case in crate::golden::read("units-golden.jsonl") {
            if let Some(text) = case["in"].as_str() {
                for (got, value, error) in [
                    (ram_in_bytes(text), "ram", "ram_error"),
                    (from_human_size(text), "human", "human_error"),
                ] {
                    match got {
                        Ok(bytes) => assert_eq!(
                            (&case[value], &case[error]),
                            (&bytes.into(), &serde_json::Value::Null),
                            "{text}"
                        ),
                        Err(problem) => assert_eq!(case[error], problem.to_string(), "{text}"),
                    }
                }
            } else if let Some(size) = case["float"].as_f64() {
                assert_eq!(case["HumanSize"], human_size(size));
                assert_eq!(case["BytesSize"], bytes_size(size));
            } else {
                let seconds = case["seconds"].as_i64().unwrap();
                assert_eq!(case["HumanDuration"], human_duration(seconds * SECOND_NS));
            }
        }
    }

    #[test]
    fn sizes_that_do_not_fit_are_errors_for_flags() {
        assert_eq!(memory_bytes("512m"), Ok(512 << 20));
        assert_eq!(memory_swap_bytes("-1"), Ok(-1));
        for text in [
            "9223372036854775808",
            "99999999p",
            "nan ",
            "-1",
            "x",
            "1kk",
            "1kib2",
        ] {
            assert!(memory_bytes(text).is_err(), "{text}");
        }
        assert_eq!(
            memory_bytes("1x").unwrap_err().to_string(),
            "invalid suffix: 'x'"
        );
        assert_eq!(
            memory_bytes("1KÉ").unwrap_err().to_string(),
            "invalid suffix: 'ké'"
        );
    }

    #[test]
    fn sizes_print_four_significant_digits() {
        for (size, decimal, binary) in [
            (0.0, "0B", "0B"),
            (7_050_000.0, "7.05MB", "6.723MiB"),
            (999_950.0, "1000kB", "976.5KiB"),
            (1_572_864.0, "1.573MB", "1.5MiB"),
            (0.00001, "1e-05B", "1e-05B"),
            (1e30, "1e+06YB", "8.272e+05YiB"),
            (-5.0, "-5B", "-5B"),
        ] {
            assert_eq!(
                (human_size(size).as_str(), bytes_size(size).as_str()),
                (decimal, binary)
            );
        }
        assert_eq!(human_size_with_precision(1_234_567.0, 3), "1.23MB");
    }

    #[test]
    fn durations_are_read_as_go_reads_them() {
        for (text, want) in [
            ("0", 0),
            ("-0", 0),
            ("5s", 5 * SECOND_NS),
            ("1h30m", 90 * MINUTE_NS),
            ("1.5h", 90 * MINUTE_NS),
            (".5s", SECOND_NS / 2),
            ("5.s", 5 * SECOND_NS),
            ("-1m1ms", -MINUTE_NS - MILLISECOND_NS),
            ("3us4µs5μs", 12 * MICROSECOND_NS),
            ("9223372036854775807ns", i64::MAX),
            ("-9223372036854775808ns", i64::MIN),
            ("0.3333333333333333333h", 20 * MINUTE_NS),
            ("0.100000000000000000000h", 6 * MINUTE_NS),
        ] {
            assert_eq!(parse_duration(text), Ok(want), "{text}");
        }
    }

    #[test]
    fn bad_durations_are_refused_in_the_words_of_go() {
        for (text, want) in [
            ("", r#"time: invalid duration """#),
            ("3", r#"time: missing unit in duration "3""#),
            ("1", r#"time: missing unit in duration "1""#),
            ("-", r#"time: invalid duration "-""#),
            ("s", r#"time: invalid duration "s""#),
            (".", r#"time: invalid duration ".""#),
            ("1x", r#"time: unknown unit "x" in duration "1x""#),
            ("1 s", r#"time: unknown unit " s" in duration "1 s""#),
            (
                "9223372036854775808ns",
                r#"time: invalid duration "9223372036854775808ns""#,
            ),
            ("3000000h", r#"time: invalid duration "3000000h""#),
        ] {
            assert_eq!(parse_duration(text).unwrap_err().to_string(), want);
        }
    }

    #[test]
    fn durations_are_printed_as_go_prints_them() {
        for (nanoseconds, want) in [
            (0, "0s"),
            (1, "1ns"),
            (1_100, "1.1µs"),
            (2_200_000, "2.2ms"),
            (500_000_000, "500ms"),
            (3_300_000_000, "3.3s"),
            (5 * MINUTE_NS, "5m0s"),
            (90 * MINUTE_NS, "1h30m0s"),
            (8 * MINUTE_NS + MILLISECOND_NS, "8m0.001s"),
            (i64::MAX, "2562047h47m16.854775807s"),
            (i64::MIN, "-2562047h47m16.854775808s"),
        ] {
            assert_eq!(format_duration(nanoseconds), want);
        }
    }

    #[test]
    fn human_durations_survive_extreme_values() {
        assert_eq!(human_duration(i64::MIN), "Less than a second");
        assert_eq!(human_duration(i64::MAX), "292 years");
        assert_eq!(human_duration(SECOND_NS), "1 second");
        assert_eq!(human_duration(3 * MINUTE_NS), "3 minutes");
        assert_eq!(human_duration(47 * HOUR_NS), "47 hours");
    }
}
