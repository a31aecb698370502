//! `--ulimit`, `--device`, `--device-cgroup-rule`, the `--device-*-bps` family, `--cpus`.

use crate::container::{DeviceMapping, Ulimit};
use crate::go_syntax::{NumberError, parse_int, parse_uint};
use crate::lexical_path;
use crate::units::memory_bytes;

const ULIMIT_NAMES: [&str; 15] = [
    "core",
    "cpu",
    "data",
    "fsize",
    "locks",
    "memlock",
    "msgqueue",
    "nice",
    "nofile",
    "nproc",
    "rss",
    "rtprio",
    "rttime",
    "sigpending",
    "stack",
];
const NANO: i128 = 1_000_000_000;
/// The longest number that `--cpus` reads; more digits cannot be a number of CPUs.
const CPUS_DIGITS_MAX: usize = 18;

/// Why such a flag is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ResourceError {
    /// No `name=soft[:hard]`.
    #[error("invalid ulimit argument: {0}")]
    UlimitFormat(String),
    /// A limit that there is not.
    #[error("invalid ulimit type: {0}")]
    UlimitName(String),
    /// A third value.
    #[error("too many limit value arguments - {0}, can only have up to two, `soft[:hard]`")]
    UlimitValues(String),
    /// Without limit below a limit.
    #[error(
        "ulimit soft limit must be less than or equal to hard limit: soft: -1 (unlimited), hard: \
         {0}"
    )]
    UlimitUnlimitedSoft(i64),
    /// The soft limit above the hard one.
    #[error("ulimit soft limit must be less than or equal to hard limit: {soft} > {hard}")]
    UlimitOrder {
        /// The soft limit.
        soft: i64,
        /// The hard limit.
        hard: i64,
    },
    /// Not a number.
    #[error(transparent)]
    Number(#[from] NumberError),
    /// Not a path, or too many parts.
    #[error("bad format for path: {0}")]
    DevicePath(String),
    /// Permissions other than of `rwm`.
    #[error("bad mode specified: {0}")]
    DeviceMode(String),
    /// A relative path.
    #[error("{0} is not an absolute path")]
    DeviceNotAbsolute(String),
    /// Not `c 13:* rwm`.
    #[error("invalid device cgroup format '{0}'")]
    DeviceCgroupRule(String),
    /// No `path:value`.
    #[error("bad format: {0}")]
    DeviceValueFormat(String),
    /// A path outside /dev.
    #[error("bad format for device path: {0}")]
    DeviceValuePath(String),
    /// A rate that is none.
    #[error(
        "invalid rate for device: {0}. The correct format is <device-path>:<number>[<unit>]. \
         Number must be a positive integer. Unit is optional and can be kb, mb, or gb"
    )]
    DeviceRateBytes(String),
    /// A rate that is none.
    #[error(
        "invalid rate for device: {0}. The correct format is <device-path>:<number>. Number must \
         be a positive integer"
    )]
    DeviceRateOperations(String),
    /// A weight that is none.
    #[error("invalid weight for device: {0}")]
    DeviceWeight(String),
    /// Not a number of CPUs.
    #[error("failed to parse {0} as a rational number")]
    Cpus(String),
    /// More than nine decimals.
    #[error("value is too precise")]
    CpusTooPrecise,
    /// More CPUs than there are, or less than none.
    #[error("range of CPUs is from 0.01 to {0}.00, as there are only {0} CPUs available")]
    CpusRange(u32),
    /// Not within 0–100.
    #[error("invalid value: {0}. Valid memory swappiness range is 0-100")]
    Swappiness(i64),
}

/// Reads `--ulimit nofile=1024[:2048]`.
pub fn parse_ulimit(text: &str) -> Result<Ulimit, ResourceError> {
    let (name, values) = text
        .split_once('=')
        .ok_or_else(|| ResourceError::UlimitFormat(text.to_owned()))?;
    if !ULIMIT_NAMES.contains(&name) {
        return Err(ResourceError::UlimitName(name.to_owned()));
    }
    let (soft, hard) = match values.split_once(':') {
        Some((_, hard)) if hard.contains(':') => {
            return Err(ResourceError::UlimitValues(values.to_owned()));
        }
        Some((soft, hard)) => {
            let hard = parse_int(hard)?;
            (parse_int(soft)?, hard)
        }
        None => {
            let both = parse_int(values)?;
            (both, both)
        }
    };
    match (soft, hard) {
        (_, -1) => {}
        (-1, hard) => return Err(ResourceError::UlimitUnlimitedSoft(hard)),
        (soft, hard) if soft > hard => return Err(ResourceError::UlimitOrder { soft, hard }),
        _ => {}
    }
    Ok(Ulimit {
        name: name.to_owned(),
        soft,
        hard,
    })
}

/// A `--device`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeviceFlag {
    /// A device node of the host, or a directory of them.
    Path(DeviceMapping),
    /// A name of the container device interface, `vendor.com/class=name`.
    Cdi(String),
}

/// Reads `--device HOST[:CONTAINER][:rwm]`, or a CDI name.
pub fn parse_device(text: &str) -> Result<DeviceFlag, ResourceError> {
    if is_cdi_name(text) {
        return Ok(DeviceFlag::Cdi(text.to_owned()));
    }
    let bad = || ResourceError::DevicePath(text.to_owned());
    let parts: Vec<&str> = text.splitn(4, ':').collect();
    let (host, container, permissions) = match parts[..] {
        [host] => (host, host, "rwm"),
        [host, mode] if is_device_mode(mode) => (host, host, mode),
        [host, container] => (host, container, "rwm"),
        [host, container, mode] if is_device_mode(mode) => (host, container, mode),
        [_, _, mode] => return Err(ResourceError::DeviceMode(mode.to_owned())),
        _ => return Err(bad()),
    };
    if host.is_empty() {
        return Err(bad());
    }
    for path in [container, host] {
        if !path.starts_with('/') {
            return Err(ResourceError::DeviceNotAbsolute(path.to_owned()));
        }
    }
    Ok(DeviceFlag::Path(DeviceMapping {
        host_path: lexical_path::clean(host),
        container_path: lexical_path::clean(container),
        permissions: permissions.to_owned(),
    }))
}

/// Letters of `rwm`, none twice.
fn is_device_mode(mode: &str) -> bool {
    let count = |letter| mode.matches(letter).count();
    !mode.is_empty()
        && mode.bytes().all(|byte| matches!(byte, b'r' | b'w' | b'm'))
        && ['r', 'w', 'm'].into_iter().all(|letter| count(letter) <= 1)
}

fn is_cdi_name(text: &str) -> bool {
    let Some((kind, name)) = text.split_once('=') else {
        return false;
    };
    let Some((vendor, class)) = kind.split_once('/') else {
        return false;
    };
    let is_word = |word: &str, others: &str| {
        word.starts_with(|first: char| first.is_ascii_alphanumeric())
            && word
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || others.contains(c))
    };
    is_word(vendor, "_-.") && is_word(class, "_-.") && is_word(name, "_-.:")
}

/// Checks `--device-cgroup-rule "c 13:* rwm"`.
pub fn parse_device_cgroup_rule(text: &str) -> Result<String, ResourceError> {
    let is_number = |text: &str| {
        text == "*" || (!text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()))
    };
    let parts: Vec<&str> = text.split(' ').collect();
    let is_rule = match parts[..] {
        [kind, numbers, access] => {
            matches!(kind, "a" | "b" | "c")
                && numbers
                    .split_once(':')
                    .is_some_and(|(major, minor)| is_number(major) && is_number(minor))
                && (1..=3).contains(&access.len())
                && access
                    .bytes()
                    .all(|byte| matches!(byte, b'r' | b'w' | b'm'))
        }
        _ => false,
    };
    if is_rule {
        Ok(text.to_owned())
    } else {
        Err(ResourceError::DeviceCgroupRule(text.to_owned()))
    }
}

fn split_device_value(text: &str) -> Result<(&str, &str), ResourceError> {
    let (path, value) = text
        .split_once(':')
        .filter(|(path, _)| !path.is_empty())
        .ok_or_else(|| ResourceError::DeviceValueFormat(text.to_owned()))?;
    if !path.starts_with("/dev/") {
        return Err(ResourceError::DeviceValuePath(text.to_owned()));
    }
    Ok((path, value))
}

/// Reads `--device-read-bps /dev/sda:1mb` and `--device-write-bps`.
pub fn parse_device_rate_bytes(text: &str) -> Result<(String, u64), ResourceError> {
    let (path, value) = split_device_value(text)?;
    let rate = memory_bytes(value)
        .ok()
        .and_then(|rate| u64::try_from(rate).ok());
    let rate = rate.ok_or_else(|| ResourceError::DeviceRateBytes(text.to_owned()))?;
    Ok((path.to_owned(), rate))
}

/// Reads `--device-read-iops /dev/sda:1000` and `--device-write-iops`.
pub fn parse_device_rate_operations(text: &str) -> Result<(String, u64), ResourceError> {
    let (path, value) = split_device_value(text)?;
    let rate = parse_uint(value, 10, 64)
        .map_err(|_| ResourceError::DeviceRateOperations(text.to_owned()))?;
    Ok((path.to_owned(), rate))
}

/// Reads `--blkio-weight-device /dev/sda:200`: 10–1000, or 0 for none.
pub fn parse_device_weight(text: &str) -> Result<(String, u16), ResourceError> {
    let (path, value) = split_device_value(text)?;
    let weight = parse_uint(value, 10, 16)
        .ok()
        .and_then(|weight| u16::try_from(weight).ok());
    let weight = weight
        .filter(|weight| matches!(weight, 0 | 10..=1000))
        .ok_or_else(|| ResourceError::DeviceWeight(text.to_owned()))?;
    Ok((path.to_owned(), weight))
}

/// Reads `--cpus 1.5` (or `3/2`, as Docker's rational numbers) to billionths of a CPU.
pub fn parse_cpus(text: &str) -> Result<i64, ResourceError> {
    let bad = || ResourceError::Cpus(text.to_owned());
    let (numerator, denominator) = match text.split_once('/') {
        Some((over, under)) => {
            let (over, under) = (parse_decimal(over), parse_decimal(under));
            match (over, under) {
                (Some((over, 0)), Some((under, 0))) if under != 0 => (over * NANO, under),
                _ => return Err(bad()),
            }
        }
        None => {
            let (digits, scale) = parse_decimal(text).ok_or_else(bad)?;
            let power = 10_i128.pow(scale.unsigned_abs());
            match scale {
                0.. => (digits.checked_mul(power * NANO).ok_or_else(bad)?, 1),
                _ => (digits * NANO, power),
            }
        }
    };
    if numerator % denominator != 0 {
        return Err(ResourceError::CpusTooPrecise);
    }
    i64::try_from(numerator / denominator).map_err(|_| bad())
}

/// Digits and a power of ten between -18 and 18: small enough that nothing overflows above.
fn parse_decimal(text: &str) -> Option<(i128, i32)> {
    let (text, exponent) = match text.split_once(['e', 'E']) {
        Some((text, exponent)) => (text, parse_int(exponent).ok()?),
        None => (text, 0),
    };
    let (sign, text) = match text.strip_prefix('-') {
        Some(text) => (-1, text),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = format!("{whole}{}", fraction.trim_end_matches('0'));
    let has_digits = !whole.is_empty() || !fraction.is_empty();
    if !has_digits || digits.len() > CPUS_DIGITS_MAX {
        return None;
    }
    if !digits
        .bytes()
        .chain(fraction.bytes())
        .all(|byte| byte.is_ascii_digit())
    {
        return None;
    }
    let value: i128 = if digits.is_empty() {
        0
    } else {
        digits.parse().ok()?
    };
    let decimals = i64::try_from(digits.len() - whole.len()).ok()?;
    let scale = i32::try_from(exponent.checked_sub(decimals)?).ok()?;
    (-18..=18).contains(&scale).then_some((sign * value, scale))
}

/// Prints billionths of a CPU with three decimals, as Docker's help does.
pub fn format_cpus(nano_cpus: i64) -> String {
    format!("{:.3}", nano_cpus as f64 / NANO as f64)
}

/// Refuses more CPUs than there are, as Docker's engine does; 0 is no limit.
pub fn check_cpus(nano_cpus: i64, cpus: u32) -> Result<(), ResourceError> {
    let most = i128::from(cpus) * NANO;
    if (0..=most).contains(&i128::from(nano_cpus)) {
        Ok(())
    } else {
        Err(ResourceError::CpusRange(cpus))
    }
}

/// Checks `--memory-swappiness`; -1 is the default.
pub fn parse_swappiness(value: i64) -> Result<Option<i64>, ResourceError> {
    match value {
        -1 => Ok(None),
        0..=100 => Ok(Some(value)),
        _ => Err(ResourceError::Swappiness(value)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ulimits_are_read() {
        for (text, soft, hard) in [
            ("nofile=1024", 1024, 1024),
            ("nofile=1024:2048", 1024, 2048),
            ("core=-1", -1, -1),
            ("core=5:-1", 5, -1),
            ("core=-1:-1", -1, -1),
        ] {
            let limit = parse_ulimit(text).unwrap();
            assert_eq!((limit.soft, limit.hard), (soft, hard), "{text}");
        }
        for (text, want) in [
            ("nofile", "invalid ulimit argument: nofile"),
            ("x=1", "invalid ulimit type: x"),
            (
                "nofile=5:3",
                "ulimit soft limit must be less than or equal to hard limit: 5 > 3",
            ),
            (
                "core=-1:3",
                "ulimit soft limit must be less than or equal to hard limit: soft: -1 \
                 (unlimited), hard: 3",
            ),
            (
                "core=1:2:3",
                "too many limit value arguments - 1:2:3, can only have up to two, `soft[:hard]`",
            ),
            ("core=x", "strconv.ParseInt: parsing \"x\": invalid syntax"),
        ] {
            assert_eq!(parse_ulimit(text).unwrap_err().to_string(), want);
        }
    }

    #[test]
    fn devices_are_read() {
        for (text, host, container, permissions) in [
            ("/dev/x", "/dev/x", "/dev/x", "rwm"),
            ("/dev/x:rw", "/dev/x", "/dev/x", "rw"),
            ("/dev/x:/dev/y", "/dev/x", "/dev/y", "rwm"),
            ("/dev/x:/dev//y/:r", "/dev/x", "/dev/y", "r"),
        ] {
            let want = DeviceMapping {
                host_path: host.to_owned(),
                container_path: container.to_owned(),
                permissions: permissions.to_owned(),
            };
            assert_eq!(parse_device(text), Ok(DeviceFlag::Path(want)));
        }
        let name = "vendor.com/gpu=0".to_owned();
        assert_eq!(parse_device(&name), Ok(DeviceFlag::Cdi(name.clone())));
        for (text, want) in [
            ("/dev/x:/y:z:w", "bad format for path: /dev/x:/y:z:w"),
            ("/dev/x:/y:z", "bad mode specified: z"),
            ("/dev/x:/y:rr", "bad mode specified: rr"),
            ("", "bad format for path: "),
            (":/dev/x", "bad format for path: :/dev/x"),
            ("/dev/x:y", "y is not an absolute path"),
            ("x", "x is not an absolute path"),
        ] {
            assert_eq!(parse_device(text).unwrap_err().to_string(), want);
        }
    }

    #[test]
    fn device_rules_rates_and_weights_are_read() {
        for text in ["c 13:* rwm", "a *:* r", "b 8:1 m"] {
            assert_eq!(parse_device_cgroup_rule(text).unwrap(), text);
        }
        for text in [
            "",
            "x 1:1 r",
            "c 1 r",
            "c 1:1 ",
            "c 1:1 rwmr",
            "c 1:1 x",
            "c  1:1 r",
        ] {
            let error = parse_device_cgroup_rule(text).unwrap_err().to_string();
            assert_eq!(error, format!("invalid device cgroup format '{text}'"));
        }
        let disk = "/dev/sda".to_owned();
        assert_eq!(
            parse_device_rate_bytes("/dev/sda:1mb"),
            Ok((disk.clone(), 1 << 20))
        );
        assert_eq!(
            parse_device_rate_operations("/dev/sda:5"),
            Ok((disk.clone(), 5))
        );
        assert_eq!(parse_device_weight("/dev/sda:10"), Ok((disk, 10)));
        assert!(parse_device_rate_bytes("/dev/sda:-1").is_err());
        assert!(parse_device_rate_operations("/dev/sda:1k").is_err());
        for (text, want) in [
            ("/dev/sda", "bad format: /dev/sda"),
            ("sda:1", "bad format for device path: sda:1"),
            ("/dev/sda:9", "invalid weight for device: /dev/sda:9"),
            ("/dev/sda:1001", "invalid weight for device: /dev/sda:1001"),
        ] {
            assert_eq!(parse_device_weight(text).unwrap_err().to_string(), want);
        }
    }

    #[test]
    fn cpus_are_exact() {
        for (text, want) in [
            ("1", 1_000_000_000),
            ("1.5", 1_500_000_000),
            (".5", 500_000_000),
            ("2.", 2_000_000_000),
            ("0.000000001", 1),
            ("1.50000000000000000000000000000", 1_500_000_000),
            ("3/2", 1_500_000_000),
            ("1e-1", 100_000_000),
            ("1E2", 100_000_000_000),
            ("0", 0),
            ("-1", -1_000_000_000),
        ] {
            assert_eq!(parse_cpus(text), Ok(want), "{text}");
        }
        for text in [
            "abc", "", ".", "1/0", "1/", "/", "1e", "1e99", "1e18", "1.5/2", "--1", "1 ",
        ] {
            let error = parse_cpus(text).unwrap_err().to_string();
            assert_eq!(
                error,
                format!("failed to parse {text} as a rational number")
            );
        }
        for text in ["0.0000000001", "1/3"] {
            assert_eq!(parse_cpus(text), Err(ResourceError::CpusTooPrecise));
        }
        assert_eq!(format_cpus(1_500_000_000), "1.500");
        assert!(check_cpus(2_000_000_000, 2).is_ok());
        assert_eq!(
            check_cpus(2_000_000_001, 2).unwrap_err().to_string(),
            "range of CPUs is from 0.01 to 2.00, as there are only 2 CPUs available"
        );
        assert!(check_cpus(-1, 2).is_err());
        assert_eq!(parse_swappiness(-1), Ok(None));
        assert!(parse_swappiness(101).is_err());
    }
}
