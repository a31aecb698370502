//! Points in time, printed and read as Go does, without a calendar library.
//!
//! A [`Timestamp`] is always UTC; the offset of the user's zone is given where a grammar needs it
//! (`--since 2024-01-01T10:00`). All arithmetic saturates: clocks and images lie.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::go_syntax::quote;
use crate::units::parse_duration;

/// The longest text looked at.
pub const TIMESTAMP_BYTES_MAX: usize = 64;

const SECONDS_PER_DAY: i128 = 86_400;
const NANOSECONDS: u32 = 1_000_000_000;
/// Go's zero time, 0001-01-01T00:00:00Z.
const ZERO_SECONDS: i64 = -62_135_596_800;

/// Why a text is no time.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TimestampError {
    /// Neither a time, nor a date, nor a duration.
    #[error("failed to parse value as time or duration: {}", quote(.0))]
    NeitherTimeNorDuration(String),
    /// Looks like a date and is none.
    #[error("parsing time {}: cannot parse as RFC 3339", quote(.0))]
    NotRfc3339(String),
    /// A date with a part that no calendar has.
    #[error("parsing time {}: {part} out of range", quote(.text))]
    OutOfRange {
        /// The text.
        text: String,
        /// `month`, `day`, `hour` …
        part: &'static str,
    },
}

/// A point in time in UTC.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp {
    seconds: i64,
    nanoseconds: u32,
}

impl Timestamp {
    /// Go's zero time, 0001-01-01T00:00:00Z: what Docker prints where there is no time.
    pub const ZERO: Self = Self {
        seconds: ZERO_SECONDS,
        nanoseconds: 0,
    };
    /// 1970-01-01T00:00:00Z.
    pub const UNIX_EPOCH: Self = Self {
        seconds: 0,
        nanoseconds: 0,
    };

    /// A time by its distance from 1970; whole seconds among the nanoseconds are carried over.
    pub fn from_unix(seconds: i64, nanoseconds: u32) -> Self {
        let seconds = seconds.saturating_add(i64::from(nanoseconds / NANOSECONDS));
        Self {
            seconds,
            nanoseconds: nanoseconds % NANOSECONDS,
        }
    }

    /// A time by its distance from 1970 in nanoseconds.
    pub fn from_unix_ns(nanoseconds: i128) -> Self {
        let seconds = nanoseconds.div_euclid(i128::from(NANOSECONDS));
        let rest = nanoseconds.rem_euclid(i128::from(NANOSECONDS));
        Self {
            seconds: clamp(seconds),
            nanoseconds: rest as u32,
        }
    }

    /// What the system's clock says.
    pub fn now() -> Self {
        let now = std::time::SystemTime::now();
        match now.duration_since(std::time::UNIX_EPOCH) {
            Ok(since) => Self::from_unix(clamp(since.as_secs().into()), since.subsec_nanos()),
            Err(before) => {
                let before = i128::try_from(before.duration().as_nanos()).unwrap_or(i128::MAX);
                Self::from_unix_ns(-before)
            }
        }
    }

    /// Whole seconds since 1970, rounded down.
    pub fn unix_seconds(self) -> i64 {
        self.seconds
    }

    /// The nanoseconds above [`Self::unix_seconds`].
    pub fn subsec_nanoseconds(self) -> u32 {
        self.nanoseconds
    }

    /// Nanoseconds since 1970.
    pub fn unix_ns(self) -> i128 {
        i128::from(self.seconds) * i128::from(NANOSECONDS) + i128::from(self.nanoseconds)
    }

    /// Whether this is Go's zero time.
    pub fn is_zero(self) -> bool {
        self == Self::ZERO
    }

    /// Nanoseconds from `earlier` to `self`, saturating as Go's `Sub`.
    pub fn since_ns(self, earlier: Self) -> i64 {
        clamp(self.unix_ns() - earlier.unix_ns())
    }

    /// The time so many nanoseconds later.
    pub fn plus_ns(self, nanoseconds: i64) -> Self {
        Self::from_unix_ns(self.unix_ns() + i128::from(nanoseconds))
    }

    /// RFC 3339 with as many digits as needed: `2024-01-02T03:04:05.6Z` (Go's RFC3339Nano).
    pub fn rfc3339(self) -> String {
        format!("{}{}Z", self.date_and_time('T', 0), self.trimmed_fraction())
    }

    /// RFC 3339 with nine digits always: a form of fixed width, as in logs.
    pub fn rfc3339_fixed(self) -> String {
        format!("{}.{:09}Z", self.date_and_time('T', 0), self.nanoseconds)
    }

    /// `2024-01-02 03:04:05 +0000 UTC`, as lists print times (Go's `Time.String`).
    pub fn docker(self) -> String {
        format!(
            "{}{} +0000 UTC",
            self.date_and_time(' ', 0),
            self.trimmed_fraction()
        )
    }

    /// [`Self::docker`] in a zone given by its offset and its name (`CEST`).
    pub fn docker_in_zone(self, offset_seconds: i32, zone: &str) -> String {
        let sign = if offset_seconds < 0 { '-' } else { '+' };
        let minutes = offset_seconds.unsigned_abs() / 60;
        let date_and_time = self.date_and_time(' ', offset_seconds);
        let (hours, minutes) = (minutes / 60, minutes % 60);
        let fraction = self.trimmed_fraction();
        format!("{date_and_time}{fraction} {sign}{hours:02}{minutes:02} {zone}")
    }

    /// `1700000000.000000000`, as Docker's API takes times.
    pub fn unix_text(self) -> String {
        format!("{}.{:09}", self.seconds, self.nanoseconds)
    }

    /// Reads RFC 3339, with `T` and a zone, as Go does.
    pub fn parse_rfc3339(text: &str) -> Result<Self, TimestampError> {
        parse_date_time(text, Zone::Required)
    }

    /// Reads the value of `--since` and `--until`: RFC 3339 in full or in part (a date, hours,
    /// minutes; without a zone in the user's), seconds since 1970 with an optional fraction, or a
    /// duration before `now`.
    pub fn parse_relative(
        text: &str,
        now: Self,
        local_offset_seconds: i32,
    ) -> Result<Self, TimestampError> {
        if text != "0"
            && let Ok(duration) = parse_duration(text)
        {
            return Ok(Self::from_unix_ns(now.unix_ns() - i128::from(duration)));
        }
        if let Some(time) = parse_unix(text) {
            return Ok(time);
        }
        if text.contains('-') {
            return parse_date_time(text, Zone::Default(local_offset_seconds));
        }
        Err(TimestampError::NeitherTimeNorDuration(text.to_owned()))
    }

    fn date_and_time(self, separator: char, offset_seconds: i32) -> String {
        let local = i128::from(self.seconds) + i128::from(offset_seconds);
        let (year, month, day) = civil_from_days(local.div_euclid(SECONDS_PER_DAY));
        let second = local.rem_euclid(SECONDS_PER_DAY);
        let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
        let sign = if year < 0 { "-" } else { "" };
        let year = year.unsigned_abs();
        format!("{sign}{year:04}-{month:02}-{day:02}{separator}{hour:02}:{minute:02}:{second:02}")
    }

    fn trimmed_fraction(self) -> String {
        if self.nanoseconds == 0 {
            return String::new();
        }
        format!(".{:09}", self.nanoseconds)
            .trim_end_matches('0')
            .to_owned()
    }
}

fn clamp(value: i128) -> i64 {
    value.clamp(i64::MIN.into(), i64::MAX.into()) as i64
}

/// Days since 1970 to year, month and day of the Gregorian calendar, in eras of 400 years that
/// begin in March, so that the leap day is the last of its year.
pub(crate) fn civil_from_days(days: i128) -> (i128, i128, i128) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 {
        shifted_month + 3
    } else {
        shifted_month - 9
    };
    let year = year_of_era + era * 400 + i128::from(month <= 2);
    (year, month, day)
}

/// The reverse of [`civil_from_days`].
pub(crate) fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let shifted_month = (month + 9) % 12;
    let day_of_year = (153 * shifted_month + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

pub(crate) fn days_in_month(year: i64, month: i64) -> i64 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        _ => 31,
    }
}

/// `1700000000` or `1700000000.25`; the fraction's further digits are dropped.
fn parse_unix(text: &str) -> Option<Timestamp> {
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let unsigned = seconds.strip_prefix('-').unwrap_or(seconds);
    if unsigned.is_empty() || !digits(unsigned) || !digits(fraction) {
        return None;
    }
    let seconds: i64 = seconds.parse().ok()?;
    Some(Timestamp {
        seconds,
        nanoseconds: fraction_ns(fraction),
    })
}

fn fraction_ns(digits: &str) -> u32 {
    let padded = digits.bytes().chain(std::iter::repeat(b'0')).take(9);
    padded.fold(0, |value, digit| value * 10 + u32::from(digit - b'0'))
}

#[derive(Clone, Copy)]
enum Zone {
    /// The text must give it and be complete.
    Required,
    /// What holds where the text gives none.
    Default(i32),
}

/// A cursor over the digits of a date.
struct DateText<'a> {
    text: &'a str,
    rest: &'a str,
}

impl DateText<'_> {
    fn error(&self) -> TimestampError {
        TimestampError::NotRfc3339(self.text.to_owned())
    }

    /// Takes a number of exactly `width` digits within the limits.
    fn number(
        &mut self,
        width: usize,
        part: &'static str,
        limits: std::ops::RangeInclusive<i64>,
    ) -> Result<i64, TimestampError> {
        let digits = self.rest.get(..width).ok_or_else(|| self.error())?;
        if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(self.error());
        }
        let value: i64 = digits.parse().map_err(|_| self.error())?;
        self.rest = &self.rest[width..];
        if limits.contains(&value) {
            Ok(value)
        } else {
            Err(TimestampError::OutOfRange {
                text: self.text.to_owned(),
                part,
            })
        }
    }

    fn takes(&mut self, character: char) -> bool {
        match self.rest.strip_prefix(character) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn expect(&mut self, character: char) -> Result<(), TimestampError> {
        if self.takes(character) {
            Ok(())
        } else {
            Err(self.error())
        }
    }

    /// Takes `.` or `,` and digits.
    fn fraction(&mut self) -> Result<u32, TimestampError> {
        if !self.takes('.') && !self.takes(',') {
            return Ok(0);
        }
        let end = self.rest.bytes().take_while(u8::is_ascii_digit).count();
        if end == 0 {
            return Err(self.error());
        }
        let (digits, rest) = self.rest.split_at(end);
        self.rest = rest;
        Ok(fraction_ns(digits))
    }

    /// Takes `Z`, `+hh:mm` or `-hh:mm`; gives seconds east of Greenwich.
    fn zone(&mut self, zone: Zone) -> Result<i64, TimestampError> {
        let sign = match self.rest.as_bytes().first() {
            Some(b'Z') => {
                self.rest = &self.rest[1..];
                return Ok(0);
            }
            Some(b'+') => 1,
            Some(b'-') => -1,
            None => match zone {
                Zone::Default(offset) => return Ok(offset.into()),
                Zone::Required => return Err(self.error()),
            },
            Some(_) => return Err(self.error()),
        };
        self.rest = &self.rest[1..];
        let hours = self.number(2, "time zone offset hour", 0..=24)?;
        self.expect(':')?;
        let minutes = self.number(2, "time zone offset minute", 0..=59)?;
        Ok(sign * (hours * 3600 + minutes * 60))
    }
}

fn parse_date_time(text: &str, zone: Zone) -> Result<Timestamp, TimestampError> {
    if text.len() > TIMESTAMP_BYTES_MAX {
        let start: String = text.chars().take(TIMESTAMP_BYTES_MAX).collect();
        return Err(TimestampError::NotRfc3339(start));
    }
    let mut date = DateText { text, rest: text };
    let is_full = matches!(zone, Zone::Required);
    let year = date.number(4, "year", 0..=9999)?;
    date.expect('-')?;
    let month = date.number(2, "month", 1..=12)?;
    date.expect('-')?;
    let day = date.number(2, "day", 1..=days_in_month(year, month))?;
    let (mut second_of_day, mut nanoseconds) = (0, 0);
    if is_full || date.rest.starts_with('T') {
        date.expect('T')?;
        second_of_day = date.number(2, "hour", 0..=23)? * 3600;
        if is_full || date.rest.starts_with(':') {
            date.expect(':')?;
            second_of_day += date.number(2, "minute", 0..=59)? * 60;
            if is_full || date.rest.starts_with(':') {
                date.expect(':')?;
                second_of_day += date.number(2, "second", 0..=59)?;
                nanoseconds = date.fraction()?;
            }
        }
    }
    let offset = date.zone(zone)?;
    if !date.rest.is_empty() {
        return Err(date.error());
    }
    let seconds = days_from_civil(year, month, day) * 86_400 + second_of_day - offset;
    Ok(Timestamp {
        seconds,
        nanoseconds,
    })
}

impl Default for Timestamp {
    fn default() -> Self {
        Self::ZERO
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(&self.rfc3339())
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Timestamp({})", self.rfc3339())
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.rfc3339())
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse_rfc3339(&text).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::{HOUR_NS, MINUTE_NS};

    #[test]
    fn times_are_printed_as_go_prints_them() {
        for (seconds, nanoseconds, want) in [
            (0, 0, "1970-01-01T00:00:00Z"),
            (ZERO_SECONDS, 0, "0001-01-01T00:00:00Z"),
            (951_782_400, 0, "2000-02-29T00:00:00Z"),
            (1_709_210_096, 789_000_000, "2024-02-29T12:34:56.789Z"),
            (-1, 1, "1969-12-31T23:59:59.000000001Z"),
            (
                253_402_300_799,
                999_999_999,
                "9999-12-31T23:59:59.999999999Z",
            ),
        ] {
            let time = Timestamp::from_unix(seconds, nanoseconds);
            assert_eq!(time.rfc3339(), want);
            assert_eq!(Timestamp::parse_rfc3339(want), Ok(time));
            assert_eq!(Timestamp::parse_rfc3339(&time.rfc3339_fixed()), Ok(time));
            assert_eq!(Timestamp::from_unix_ns(time.unix_ns()), time);
        }
        let time = Timestamp::from_unix(1_704_067_200, 500_000_000);
        assert_eq!(time.rfc3339_fixed(), "2024-01-01T00:00:00.500000000Z");
        assert_eq!(time.docker(), "2024-01-01 00:00:00.5 +0000 UTC");
        assert_eq!(
            time.docker_in_zone(-12_600, "NST"),
            "2023-12-31 20:30:00.5 -0330 NST"
        );
        assert_eq!(time.unix_text(), "1704067200.500000000");
        assert_eq!(
            Timestamp::default().docker(),
            "0001-01-01 00:00:00 +0000 UTC"
        );
    }

    #[test]
    fn extreme_times_neither_panic_nor_wrap() {
        for seconds in [i64::MIN, i64::MAX] {
            let time = Timestamp::from_unix(seconds, u32::MAX);
            assert!(time.rfc3339().len() > 20);
            assert!(time.docker_in_zone(i32::MIN, "X").len() > 20);
            assert_eq!(
                time.plus_ns(i64::MAX).unix_seconds().signum(),
                seconds.signum()
            );
            assert_eq!(
                time.since_ns(Timestamp::ZERO),
                if seconds < 0 { i64::MIN } else { i64::MAX }
            );
        }
        assert_eq!(Timestamp::from_unix_ns(i128::MIN).unix_seconds(), i64::MIN);
        let _ = Timestamp::now();
    }

    #[test]
    fn rfc3339_is_read_strictly() {
        for (text, want) in [
            ("2024-01-01T01:00:00+01:00", "2024-01-01T00:00:00Z"),
            (
                "2024-01-01T00:00:00.123456789123-00:30",
                "2024-01-01T00:30:00.123456789Z",
            ),
            ("2024-01-01T00:00:00,5Z", "2024-01-01T00:00:00.5Z"),
        ] {
            assert_eq!(Timestamp::parse_rfc3339(text).unwrap().rfc3339(), want);
        }
        for text in [
            "",
            "2024",
            "2024-01-01",
            "2024-01-01T00:00:00",
            "2024-01-01 00:00:00Z",
            "2024-13-01T00:00:00Z",
            "2023-02-29T00:00:00Z",
            "2024-01-01T24:00:00Z",
            "2024-01-01T00:00:60Z",
            "2024-01-01T00:00:00.Z",
            "2024-01-01T00:00:00Zx",
            "2024-01-01T00:00:00z",
            "2024-0é-01T00:00:00Z",
            "+024-01-01T00:00:00Z",
        ] {
            assert!(Timestamp::parse_rfc3339(text).is_err(), "{text}");
        }
        let error = Timestamp::parse_rfc3339("2024-13-01T00:00:00Z")
            .unwrap_err()
            .to_string();
        assert_eq!(
            error,
            "parsing time \"2024-13-01T00:00:00Z\": month out of range"
        );
    }

    #[test]
    fn since_and_until_take_times_dates_and_durations() {
        let now = Timestamp::parse_rfc3339("2024-01-02T00:00:00Z").unwrap();
        for (text, want) in [
            ("10m", now.plus_ns(-10 * MINUTE_NS)),
            ("-1h", now.plus_ns(HOUR_NS)),
            ("0", Timestamp::UNIX_EPOCH),
            ("0s", now),
            ("1700000000", Timestamp::from_unix(1_700_000_000, 0)),
            (
                "1700000000.25",
                Timestamp::from_unix(1_700_000_000, 250_000_000),
            ),
            ("-5", Timestamp::from_unix(-5, 0)),
            ("2024-01-02", now.plus_ns(-2 * HOUR_NS)),
            ("2024-01-02Z", now),
            ("2024-01-02T02", now),
            ("2024-01-02T02:30", now.plus_ns(30 * MINUTE_NS)),
            ("2024-01-02T02:00:00.5", now.plus_ns(500_000_000)),
            ("2024-01-02T02:00:00+01:00", now.plus_ns(HOUR_NS)),
        ] {
            assert_eq!(
                Timestamp::parse_relative(text, now, 7200),
                Ok(want),
                "{text}"
            );
        }
        for (text, want) in [
            ("bad", "failed to parse value as time or duration: \"bad\""),
            ("", "failed to parse value as time or duration: \"\""),
            (
                "2024-1-1",
                "parsing time \"2024-1-1\": cannot parse as RFC 3339",
            ),
        ] {
            let error = Timestamp::parse_relative(text, now, 0).unwrap_err();
            assert_eq!(error.to_string(), want);
        }
    }
}
