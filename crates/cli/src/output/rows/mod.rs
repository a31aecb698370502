//! The rows of Docker's lists and the texts beside them, from plain structs the commands fill.

pub(crate) mod containers;
pub(crate) mod disk_usage;
pub(crate) mod events;
pub(crate) mod images;
pub(crate) mod info;
pub(crate) mod objects;
pub(crate) mod ports;
pub(crate) mod prune;
pub(crate) mod stats;
pub(crate) mod version;

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use types::units::human_duration;
use types::zone::{Local, Zone};

/// The time, and how the user's zone tells it.
#[derive(Clone, Debug)]
pub(crate) struct Clock {
    /// Nanoseconds since 1970.
    pub(crate) now_ns: i64,
    /// Read where a time is told; most lists tell none.
    zone: Rc<OnceCell<Zone>>,
}

const SECOND_NS: i64 = 1_000_000_000;
const DAY_S: i64 = 86_400;

impl Clock {
    /// A clock that tells the user's time.
    pub(crate) fn local(now_ns: i64) -> Self {
        Self {
            now_ns,
            zone: Rc::default(),
        }
    }

    /// A clock that tells UTC.
    #[cfg(test)]
    pub(crate) fn utc(now_ns: i64) -> Self {
        Self {
            now_ns,
            zone: Rc::new(Zone::default().into()),
        }
    }

    fn at(&self, unix_s: i64) -> &Local {
        self.zone.get_or_init(engine::zone::local).at(unix_s)
    }

    /// `2 hours ago`.
    pub(crate) fn ago(&self, unix_s: i64) -> String {
        self.ago_ns(unix_s.saturating_mul(SECOND_NS))
    }

    /// `2 hours ago`.
    pub(crate) fn ago_ns(&self, unix_ns: i64) -> String {
        human_duration(self.now_ns.saturating_sub(unix_ns)) + " ago"
    }

    /// `2024-01-01 00:00:00 +0000 UTC`.
    pub(crate) fn go_time(&self, unix_s: i64) -> String {
        let (date, time) = self.date_and_time(unix_s);
        let local = self.at(unix_s);
        format!("{date} {time} {} {}", offset(local, ""), local.name)
    }

    /// `2024-01-01T00:00:00Z`.
    pub(crate) fn rfc3339(&self, unix_s: i64) -> String {
        let (date, time) = self.date_and_time(unix_s);
        format!("{date}T{time}{}", suffix(self.at(unix_s)))
    }

    /// `2024-01-01T00:00:00.000000000Z`, nine digits always.
    pub(crate) fn rfc3339_nano(&self, unix_ns: i64) -> String {
        let unix_s = unix_ns.div_euclid(SECOND_NS);
        let (date, time) = self.date_and_time(unix_s);
        let fraction = unix_ns.rem_euclid(SECOND_NS);
        format!("{date}T{time}.{fraction:09}{}", suffix(self.at(unix_s)))
    }

    fn date_and_time(&self, unix_s: i64) -> (String, String) {
        let local = unix_s.saturating_add(self.at(unix_s).offset_s.into());
        let (year, month, day) = civil_date(local.div_euclid(DAY_S));
        let second = local.rem_euclid(DAY_S);
        let time = format!(
            "{:02}:{:02}:{:02}",
            second / 3600,
            second / 60 % 60,
            second % 60
        );
        (format!("{year:04}-{month:02}-{day:02}"), time)
    }
}

fn suffix(local: &Local) -> String {
    match local.offset_s {
        0 => "Z".to_owned(),
        _ => offset(local, ":"),
    }
}

fn offset(local: &Local, colon: &str) -> String {
    let sign = if local.offset_s < 0 { '-' } else { '+' };
    let minutes = local.offset_s.abs() / 60;
    format!("{sign}{:02}{colon}{:02}", minutes / 60, minutes % 60)
}

/// The date of a day counted from 1970-01-01, by the Gregorian calendar.
fn civil_date(days: i64) -> (i64, i64, i64) {
    // Years begin in March here, so that a leap day ends one; 146,097 days are 400 years.
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 {
        shifted_month + 3
    } else {
        shifted_month - 9
    };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

/// `a=1,b=2`
fn labels_text(labels: &BTreeMap<String, String>) -> String {
    let pairs: Vec<String> = labels
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    pairs.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_print_as_go_prints_them() {
        let utc = Clock::utc(0);
        for (unix, expected) in [
            (0, "1970-01-01 00:00:00 +0000 UTC"),
            (1_704_067_200, "2024-01-01 00:00:00 +0000 UTC"),
            (1_709_164_799, "2024-02-28 23:59:59 +0000 UTC"),
            (1_709_164_800, "2024-02-29 00:00:00 +0000 UTC"),
            (951_782_400, "2000-02-29 00:00:00 +0000 UTC"),
            (-1, "1969-12-31 23:59:59 +0000 UTC"),
            (-62_135_596_800, "0001-01-01 00:00:00 +0000 UTC"),
        ] {
            assert_eq!(utc.go_time(unix), expected);
        }
        let india = Clock {
            now_ns: 0,
            zone: Rc::new(Zone::parse_rule("IST-5:30").unwrap().into()),
        };
        assert_eq!(india.go_time(0), "1970-01-01 05:30:00 +0530 IST");
        assert_eq!(india.rfc3339(0), "1970-01-01T05:30:00+05:30");
        assert_eq!(utc.rfc3339_nano(-1), "1969-12-31T23:59:59.999999999Z");
    }
}
