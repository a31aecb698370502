//! What a flag's value must look like: the checks of parse time, with Docker's words.
//!
//! The grammars that other rooms need too live in `types`; those here only the command line knows.

use std::net::IpAddr;

use types::env::{parse_env_flag, parse_extra_host, validate_label};
use types::go_syntax::{self, NumberError};
use types::mount_flag::{MountFlag, MountFlagError};
use types::units::{DurationError, SizeError, memory_bytes, memory_swap_bytes, ram_in_bytes};

use super::Kind;
use super::structured::{parse_gpus, parse_network, parse_ulimit};

/// The longest domain name.
const DOMAIN_BYTES_MAX: usize = 254;
/// The longest text looked at as a number of CPUs, and the largest power of ten in it.
const DECIMAL_BYTES_MAX: usize = 64;
const DECIMAL_EXPONENT_MAX: i32 = 30;
/// One CPU.
const NANO_CPUS: i128 = 1_000_000_000;

/// Checks a value for its kind. The error is the end of a line for the user, never matched on.
pub(super) fn check(kind: Kind, value: &str) -> Result<(), String> {
    if value.contains('\0') {
        return Err("it holds a NUL byte".to_owned());
    }
    match kind {
        Kind::Text | Kind::List | Kind::Map | Kind::Strings => Ok(()),
        Kind::Bool => text(parse_bool(value)),
        Kind::Int => text(parse_int(value)),
        Kind::Uint16 => text(parse_uint(value, 16)),
        Kind::Uint64 => text(parse_uint(value, 64)),
        Kind::Decimal => parse_nano_cpus(value).map(drop),
        Kind::Bytes => text(memory_bytes(value)),
        Kind::SwapBytes => text(memory_swap_bytes(value)),
        Kind::Duration => text(parse_duration(value)),
        Kind::Ip => check_ip(value, |value| {
            format!("failed to parse IP: {}", go_syntax::quote(value))
        }),
        Kind::IpList => check_ip(value, |value| {
            format!("IP address is not correctly formatted: {value}")
        }),
        Kind::Filter => check_filter(value),
        Kind::Sysctl => check_sysctl(value),
        Kind::Env => text(parse_env_flag(value, |_| None)),
        Kind::Label => text(validate_label(value)),
        Kind::AddHost => text(parse_extra_host(value)),
        Kind::Attach => check_attach(value),
        Kind::WeightDevice => parse_weight_device(value).map(drop),
        Kind::RateBytes => parse_rate_bytes(value).map(drop),
        Kind::RateOperations => parse_rate_operations(value).map(drop),
        Kind::CgroupRule => check_cgroup_rule(value),
        Kind::Domain => check_domain(value),
        Kind::Link => check_link(value),
        Kind::Ulimit => parse_ulimit(value).map(drop),
        Kind::Mount => check_mount(value),
        Kind::Network => parse_network(value).map(drop),
        Kind::Gpu => parse_gpus(value).map(drop),
    }
}

fn text<T, E: ToString>(result: Result<T, E>) -> Result<(), String> {
    result.map(drop).map_err(|error| error.to_string())
}

/// A switch's value.
pub(super) fn parse_bool(value: &str) -> Result<bool, NumberError> {
    go_syntax::parse_bool(value)
}

/// An integer in Go's syntax for any base: `10`, `0x1f`, `0b11`, `0o17`, `017`, `1_000`.
pub(super) fn parse_int(value: &str) -> Result<i64, NumberError> {
    let decimal = || go_syntax::parse_int(value);
    let (sign, magnitude) = match value.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, value.strip_prefix('+').unwrap_or(value)),
    };
    match other_base(magnitude) {
        Some(magnitude) => i64::try_from(sign * i128::from(magnitude)).or_else(|_| decimal()),
        None => decimal(),
    }
}

/// As [`parse_int`], without a sign and within `bits` bits.
pub(super) fn parse_uint(value: &str, bits: u32) -> Result<u64, NumberError> {
    match other_base(value) {
        Some(magnitude) if bits >= u64::BITS || magnitude >> bits == 0 => Ok(magnitude),
        _ => go_syntax::parse_uint(value, 10, bits),
    }
}

/// The value of a number that is written in another base or with separators.
fn other_base(digits: &str) -> Option<u64> {
    let lower = digits.to_ascii_lowercase();
    let (radix, rest) = if let Some(rest) = lower.strip_prefix("0x") {
        (16, rest)
    } else if let Some(rest) = lower.strip_prefix("0b") {
        (2, rest)
    } else if let Some(rest) = lower.strip_prefix("0o") {
        (8, rest)
    } else if lower.len() > 1 && lower.starts_with('0') {
        (8, &lower[1..])
    } else if lower.contains('_') {
        (10, lower.as_str())
    } else {
        return None;
    };
    let misplaced = rest.ends_with('_') || rest.contains("__") || lower.starts_with('_');
    let plain: String = rest.chars().filter(|character| *character != '_').collect();
    if misplaced || plain.starts_with('+') {
        return None;
    }
    u64::from_str_radix(&plain, radix).ok()
}

/// A size of at least nothing.
pub(super) fn parse_bytes(value: &str) -> Result<i64, SizeError> {
    memory_bytes(value)
}

/// A duration in nanoseconds.
pub(super) fn parse_duration(value: &str) -> Result<i64, DurationError> {
    types::units::parse_duration(value)
}

/// `1.5`, `3/2` or `15e-1` CPUs in billionths, exactly.
pub(super) fn parse_nano_cpus(value: &str) -> Result<i64, String> {
    let no_number = || format!("failed to parse {value} as a rational number");
    if value.len() > DECIMAL_BYTES_MAX {
        return Err(no_number());
    }
    let (numerator, denominator) = match value.split_once('/') {
        Some((numerator, denominator)) => {
            let digits = denominator.bytes().all(|byte| byte.is_ascii_digit());
            let denominator: i128 = denominator.parse().map_err(|_| no_number())?;
            if !digits || denominator == 0 {
                return Err(no_number());
            }
            (numerator.parse().map_err(|_| no_number())?, denominator)
        }
        None => parse_decimal(value).ok_or_else(no_number)?,
    };
    let scaled = i128::checked_mul(numerator, NANO_CPUS).ok_or_else(no_number)?;
    if scaled % denominator != 0 {
        return Err("value is too precise".to_owned());
    }
    i64::try_from(scaled / denominator).map_err(|_| no_number())
}

/// A decimal with an optional exponent, as a fraction.
fn parse_decimal(value: &str) -> Option<(i128, i128)> {
    let (mantissa, exponent) = match value.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok()?),
        None => (value, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let unsigned = whole.strip_prefix(['+', '-']).unwrap_or(whole);
    let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if unsigned.len() + fraction.len() == 0 || !digits(unsigned) || !digits(fraction) {
        return None;
    }
    let fraction = fraction.trim_end_matches('0');
    let sign = if whole.starts_with('-') { -1 } else { 1 };
    let magnitude: i128 = format!("0{unsigned}{fraction}").parse().ok()?;
    let exponent = exponent.checked_sub(i32::try_from(fraction.len()).ok()?)?;
    if magnitude != 0 && exponent.abs() > DECIMAL_EXPONENT_MAX {
        return None;
    }
    let power = 10_i128.checked_pow(exponent.unsigned_abs().min(DECIMAL_EXPONENT_MAX as u32))?;
    match exponent {
        0.. => Some((sign * magnitude.checked_mul(power)?, 1)),
        _ => Some((sign * magnitude, power)),
    }
}

fn check_ip(value: &str, message: impl FnOnce(&str) -> String) -> Result<(), String> {
    value
        .trim()
        .parse::<IpAddr>()
        .map(drop)
        .map_err(|_| message(value))
}

fn check_filter(value: &str) -> Result<(), String> {
    // Docker lets an empty filter pass and ignores it.
    if value.is_empty() || value.contains('=') {
        return Ok(());
    }
    Err("bad format of filter (expected name=value)".to_owned())
}

fn check_sysctl(value: &str) -> Result<(), String> {
    let allowed = value.split_once('=').is_some_and(|(name, _)| {
        types::kernel_parameter::OF_IPC.contains(&name)
            || name.starts_with("net.")
            || name.starts_with("fs.mqueue.")
    });
    if allowed {
        Ok(())
    } else {
        Err(format!("sysctl '{value}' is not allowed"))
    }
}

fn check_attach(value: &str) -> Result<(), String> {
    match value.to_ascii_lowercase().as_str() {
        "stdin" | "stdout" | "stderr" => Ok(()),
        _ => Err("valid streams are STDIN, STDOUT and STDERR".to_owned()),
    }
}

/// Splits `/dev/x:value`.
fn split_device(value: &str) -> Result<(&str, &str), String> {
    let (device, rest) = value
        .split_once(':')
        .filter(|(device, _)| !device.is_empty())
        .ok_or_else(|| format!("bad format: {value}"))?;
    if !device.starts_with("/dev/") {
        return Err(format!("bad format for device path: {value}"));
    }
    Ok((device, rest))
}

/// `--blkio-weight-device`: path and weight.
pub(crate) fn parse_weight_device(value: &str) -> Result<(String, u16), String> {
    let (device, weight) = split_device(value)?;
    match go_syntax::parse_uint(weight, 10, 16) {
        Ok(weight @ (0 | 10..=1000)) => Ok((device.to_owned(), weight as u16)),
        _ => Err(format!("invalid weight for device: {value}")),
    }
}

/// `--device-read-bps` and its like: path and bytes per second.
pub(crate) fn parse_rate_bytes(value: &str) -> Result<(String, u64), String> {
    let (device, rate) = split_device(value)?;
    match ram_in_bytes(rate).map(u64::try_from) {
        Ok(Ok(rate)) => Ok((device.to_owned(), rate)),
        _ => Err(format!(
            "invalid rate for device: {value}. The correct format is \
             <device-path>:<number>[<unit>]. Number must be a positive integer. Unit is optional \
             and can be kb, mb, or gb"
        )),
    }
}

/// `--device-read-iops` and its like: path and operations per second.
pub(crate) fn parse_rate_operations(value: &str) -> Result<(String, u64), String> {
    let (device, rate) = split_device(value)?;
    match go_syntax::parse_uint(rate, 10, 64) {
        Ok(rate) => Ok((device.to_owned(), rate)),
        Err(_) => Err(format!(
            "invalid rate for device: {value}. The correct format is <device-path>:<number>. \
             Number must be a positive integer"
        )),
    }
}

/// `[acb] MAJOR:MINOR [rwm]`, where a star stands for any number.
fn check_cgroup_rule(value: &str) -> Result<(), String> {
    let number = |text: &str| {
        text == "*" || (!text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()))
    };
    let access = |text: &str| {
        (1..=3).contains(&text.len()) && text.bytes().all(|byte| b"rwm".contains(&byte))
    };
    let mut words = value.split(' ');
    let good = matches!(words.next(), Some("a" | "b" | "c"))
        && words
            .next()
            .and_then(|numbers| numbers.split_once(':'))
            .is_some_and(|(major, minor)| number(major) && number(minor))
        && words.next().is_some_and(access)
        && words.next().is_none();
    if good {
        Ok(())
    } else {
        Err(format!("invalid device cgroup format '{value}'"))
    }
}

fn check_domain(value: &str) -> Result<(), String> {
    let name = value.trim_matches(' ');
    let label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    let labels = name.strip_suffix('.').unwrap_or(name);
    let good = name == "."
        || (name.bytes().any(|byte| byte.is_ascii_alphabetic())
            && name.len() <= DOMAIN_BYTES_MAX
            && labels.split('.').all(label));
    if good {
        Ok(())
    } else {
        Err(format!("{name} is not a valid domain"))
    }
}

/// The grammar and the target, as Docker's client checks them; the rest is the daemon's matter.
fn check_mount(value: &str) -> Result<(), String> {
    let mount = MountFlag::parse(value).map_err(|error| error.to_string())?;
    if mount.target.is_empty() {
        return Err(MountFlagError::NoTarget.to_string());
    }
    Ok(())
}

fn check_link(value: &str) -> Result<(), String> {
    if value.is_empty() {
        return Err("empty string specified for links".to_owned());
    }
    if value.matches(':').count() > 1 {
        return Err(format!("bad format for links: {value}"));
    }
    Ok(())
}
