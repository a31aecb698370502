//! A time zone: what is to be added to UTC when, from the kernel-independent file that every Unix has
//! (TZif, RFC 9636). Pure; who asks brings the file.
//!
//! ```text
//! header 44 · block with times of 4 bytes · header 44 · block with times of 8 bytes · \n rule \n
//! block: times · index of the type after each · types (offset 4, summer 1, name's place 1) · names …
//! ```
//! The rule at the end (`CET-1CEST,M3.5.0,M10.5.0/3`) holds after the last time.

use crate::timestamp::{civil_from_days, days_from_civil, days_in_month};

const HEADER_BYTES: usize = 44;
const DAY_S: i64 = 86_400;

/// A zone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Zone {
    /// From when on what holds.
    transitions: Transitions,
    /// Before the first, and always where there is none.
    first: Local,
    /// After the last.
    rule: Option<Rule>,
}

type Transitions = Vec<(i64, Local)>;

/// What holds at a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Local {
    /// Seconds east of UTC.
    pub offset_s: i32,
    /// `CEST`.
    pub name: String,
}

impl Default for Local {
    fn default() -> Self {
        Self {
            offset_s: 0,
            name: "UTC".to_owned(),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Rule {
    standard: Local,
    /// With the days of the year on which it begins and ends.
    summer: Option<(Local, Change, Change)>,
}

/// A moment of every year, in the local time before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Change {
    day: Day,
    second: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Day {
    /// 1 to 365; the leap day is never counted.
    Julian(i64),
    /// 0 to 365.
    OfYear(i64),
    /// Month, week (5 is the last), day of the week (0 is Sunday).
    OfWeek(i64, i64, i64),
}

impl Zone {
    /// Reads a file; `None` where it is none.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let first = Counts::parse(bytes)?;
        if first.version == 0 {
            let (transitions, locals) = first.block(bytes.get(HEADER_BYTES..)?, 4)?;
            return Some(Self::of(transitions, &locals, None));
        }
        let rest = bytes.get(HEADER_BYTES + first.bytes(4)..)?;
        let second = Counts::parse(rest)?;
        let block = rest.get(HEADER_BYTES..)?;
        let (transitions, locals) = second.block(block, 8)?;
        let footer = std::str::from_utf8(block.get(second.bytes(8)..)?).ok()?;
        let rule = Rule::parse(footer.trim_matches('\n'));
        Some(Self::of(transitions, &locals, rule))
    }

    /// Reads the rule alone, as in `TZ=CET-1CEST,M3.5.0,M10.5.0/3`; `None` where it is none.
    pub fn parse_rule(text: &str) -> Option<Self> {
        Some(Self {
            rule: Some(Rule::parse(text)?),
            ..Self::default()
        })
    }

    fn of(transitions: Transitions, locals: &[Local], rule: Option<Rule>) -> Self {
        Self {
            first: locals.first().cloned().unwrap_or_default(),
            transitions,
            rule,
        }
    }

    /// What holds at a time, in seconds since 1970.
    pub fn at(&self, unix_s: i64) -> &Local {
        let after = self
            .transitions
            .partition_point(|(from, _)| *from <= unix_s);
        match &self.rule {
            Some(rule) if after == self.transitions.len() => rule.at(unix_s),
            _ => match after.checked_sub(1).and_then(|at| self.transitions.get(at)) {
                Some((_, local)) => local,
                None => &self.first,
            },
        }
    }
}

struct Counts {
    version: u8,
    flags: usize,
    leaps: usize,
    times: usize,
    types: usize,
    name_bytes: usize,
}

impl Counts {
    fn parse(bytes: &[u8]) -> Option<Self> {
        let header = bytes.get(..HEADER_BYTES)?;
        let count = |index: usize| {
            let bytes = header.get(20 + 4 * index..24 + 4 * index)?;
            // A file of this kind is a few KiB.
            let count = u32::from_be_bytes(bytes.try_into().ok()?);
            usize::try_from(count).ok().filter(|count| *count < 1 << 20)
        };
        header.starts_with(b"TZif").then_some(())?;
        Some(Self {
            version: header[4],
            flags: count(0)? + count(1)?,
            leaps: count(2)?,
            times: count(3)?,
            types: count(4)?,
            name_bytes: count(5)?,
        })
    }

    fn bytes(&self, time_bytes: usize) -> usize {
        let times = self.times * (time_bytes + 1);
        times + self.types * 6 + self.name_bytes + self.leaps * (time_bytes + 4) + self.flags
    }

    fn block(&self, block: &[u8], time_bytes: usize) -> Option<(Transitions, Vec<Local>)> {
        let (times, rest) = block.split_at_checked(self.times * time_bytes)?;
        let (indices, rest) = rest.split_at_checked(self.times)?;
        let (types, rest) = rest.split_at_checked(self.types * 6)?;
        let names = rest.get(..self.name_bytes)?;
        let local = |one: &[u8]| {
            let name = names.get(usize::from(one[5])..)?;
            let end = name.iter().position(|byte| *byte == 0)?;
            Some(Local {
                offset_s: i32::from_be_bytes(one[..4].try_into().ok()?),
                name: String::from_utf8_lossy(&name[..end]).into_owned(),
            })
        };
        let locals: Vec<Local> = types.chunks(6).map(local).collect::<Option<_>>()?;
        let time = |bytes: &[u8]| match <[u8; 8]>::try_from(bytes) {
            Ok(bytes) => Some(i64::from_be_bytes(bytes)),
            Err(_) => Some(i32::from_be_bytes(bytes.try_into().ok()?).into()),
        };
        let pairs = times.chunks(time_bytes).zip(indices);
        let transitions = pairs
            .map(|(at, index)| Some((time(at)?, locals.get(usize::from(*index))?.clone())))
            .collect::<Option<_>>()?;
        Some((transitions, locals))
    }
}

impl Rule {
    fn parse(text: &str) -> Option<Self> {
        let (standard, rest) = local(text)?;
        if rest.is_empty() {
            return Some(Self {
                standard,
                summer: None,
            });
        }
        let (name, rest) = name(rest)?;
        let (offset_s, rest) = match rest.starts_with(',') {
            true => (standard.offset_s + 3600, rest),
            false => {
                let (seconds, rest) = seconds(rest)?;
                (i32::try_from(-seconds).ok()?, rest)
            }
        };
        let mut changes = rest.strip_prefix(',')?.split(',').map(Change::parse);
        let (begin, end) = (changes.next()??, changes.next()??);
        changes.next().is_none().then_some(())?;
        let summer = Local {
            offset_s,
            name: name.to_owned(),
        };
        Some(Self {
            standard,
            summer: Some((summer, begin, end)),
        })
    }

    fn at(&self, unix_s: i64) -> &Local {
        let Some((summer, begin, end)) = &self.summer else {
            return &self.standard;
        };
        let day = i128::from(unix_s + i64::from(self.standard.offset_s)).div_euclid(DAY_S.into());
        let year = civil_from_days(day).0 as i64;
        let begin = begin.in_year(year) - i64::from(self.standard.offset_s);
        let end = end.in_year(year) - i64::from(summer.offset_s);
        let is_summer = match begin < end {
            true => (begin..end).contains(&unix_s),
            false => !(end..begin).contains(&unix_s),
        };
        if is_summer { summer } else { &self.standard }
    }
}

impl Change {
    fn parse(text: &str) -> Option<Self> {
        let (day, time) = text.split_once('/').unwrap_or((text, "2"));
        let (second, rest) = seconds(time)?;
        rest.is_empty().then_some(())?;
        let number = |text: &str, low: i64, high: i64| {
            let number: i64 = text.parse().ok()?;
            (low..=high).contains(&number).then_some(number)
        };
        let day = if let Some(text) = day.strip_prefix('M') {
            let mut parts = text.split('.');
            let month = number(parts.next()?, 1, 12)?;
            let week = number(parts.next()?, 1, 5)?;
            Day::OfWeek(month, week, number(parts.next()?, 0, 6)?)
        } else if let Some(text) = day.strip_prefix('J') {
            Day::Julian(number(text, 1, 365)?)
        } else {
            Day::OfYear(number(day, 0, 365)?)
        };
        Some(Self { day, second })
    }

    /// In local seconds since 1970.
    fn in_year(self, year: i64) -> i64 {
        let day = match self.day {
            Day::OfYear(day) => days_from_civil(year, 1, 1) + day,
            Day::Julian(day) => {
                let has_passed = day >= 60 && days_in_month(year, 2) == 29;
                days_from_civil(year, 1, 1) + day - 1 + i64::from(has_passed)
            }
            Day::OfWeek(month, week, weekday) => {
                let first = days_from_civil(year, month, 1);
                // 1970 began on a Thursday.
                let until = (weekday - (first + 4)).rem_euclid(7);
                let day = until + 7 * (week - 1);
                let is_beyond = day >= days_in_month(year, month);
                first + day - if is_beyond { 7 } else { 0 }
            }
        };
        day * DAY_S + self.second
    }
}

fn local(text: &str) -> Option<(Local, &str)> {
    let (name, rest) = name(text)?;
    let (west_s, rest) = seconds(rest)?;
    let local = Local {
        offset_s: i32::try_from(-west_s).ok()?,
        name: name.to_owned(),
    };
    Some((local, rest))
}

/// `CET` or `<+03>`.
fn name(text: &str) -> Option<(&str, &str)> {
    if let Some(quoted) = text.strip_prefix('<') {
        return quoted.split_once('>');
    }
    let is_letter = |character: char| character.is_ascii_alphabetic();
    let end = text.find(|one| !is_letter(one)).unwrap_or(text.len());
    (end >= 3).then(|| text.split_at(end))
}

/// `-3`, `5:30`, `1:2:3`.
fn seconds(text: &str) -> Option<(i64, &str)> {
    let is_part = |one: char| one.is_ascii_digit() || one == ':';
    let (sign, unsigned) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    let end = unsigned.find(|one| !is_part(one)).unwrap_or(unsigned.len());
    let (number, rest) = unsigned.split_at(end);
    let mut sum = 0;
    let mut unit = 3600;
    for part in number.split(':') {
        let part: i64 = part.parse().ok().filter(|part| *part <= 999)?;
        sum += part * unit;
        unit /= 60;
    }
    Some((sign * sum, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(zone: &Zone, unix_s: i64) -> (i32, &str) {
        let local = zone.at(unix_s);
        (local.offset_s, &local.name)
    }

    // Times are those that `TZ=… date -d @…` of coreutils 9.1 shows.
    #[test]
    fn rules_hold_in_both_halves_of_the_world() {
        let berlin = Zone::parse_rule("CET-1CEST,M3.5.0,M10.5.0/3").unwrap();
        for (unix_s, expected) in [
            (1_704_067_200, (3600, "CET")),
            (1_711_846_799, (3600, "CET")),
            (1_711_846_800, (7200, "CEST")),
            (1_729_990_799, (7200, "CEST")),
            (1_729_990_800, (3600, "CET")),
        ] {
            assert_eq!(told(&berlin, unix_s), expected);
        }
        let sydney = Zone::parse_rule("AEST-10AEDT,M10.1.0,M4.1.0/3").unwrap();
        assert_eq!(told(&sydney, 1_704_067_200), (39_600, "AEDT"));
        assert_eq!(told(&sydney, 1_719_792_000), (36_000, "AEST"));
        let india = Zone::parse_rule("IST-5:30").unwrap();
        assert_eq!(told(&india, 0), (19_800, "IST"));
        let odd = Zone::parse_rule("<-03>3<-02>,J60/0,300/-1").unwrap();
        assert_eq!(told(&odd, 1_704_067_200), (-10_800, "-03"));
        assert_eq!(told(&odd, 1_719_792_000), (-7200, "-02"));
        for bad in [
            "",
            "X1",
            "CET",
            "CET-1CEST",
            "CET-1CEST,M13.1.0,M1.1.0",
            "A<1",
            "CET-1x",
        ] {
            assert_eq!(Zone::parse_rule(bad), None, "{bad}");
        }
    }

    /// A file with one change from `AAA` to `BBB` at 1,000.
    fn file(rule: &str) -> Vec<u8> {
        let header = |counts: [u32; 6]| {
            let mut bytes = b"TZif2".to_vec();
            bytes.resize(20, 0);
            counts
                .iter()
                .for_each(|one| bytes.extend(one.to_be_bytes()));
            bytes
        };
        let mut bytes = header([0; 6]);
        bytes.extend(header([0, 0, 0, 1, 2, 8]));
        bytes.extend(1000i64.to_be_bytes());
        bytes.push(1);
        for (offset, place) in [(60i32, 0), (-60, 4)] {
            bytes.extend(offset.to_be_bytes());
            bytes.extend([0, place]);
        }
        bytes.extend(b"AAA\0BBB\0\n");
        bytes.extend(rule.as_bytes());
        bytes.push(b'\n');
        bytes
    }

    #[test]
    fn files_are_read_and_what_is_cut_is_none() {
        let zone = Zone::parse(&file("")).unwrap();
        assert_eq!(told(&zone, 999), (60, "AAA"));
        assert_eq!(told(&zone, 1000), (-60, "BBB"));
        let zone = Zone::parse(&file("CCC-2")).unwrap();
        assert_eq!(told(&zone, 999), (60, "AAA"));
        assert_eq!(told(&zone, 1000), (7200, "CCC"));
        let whole = file("");
        for length in 0..whole.len() - 2 {
            assert_eq!(Zone::parse(&whole[..length]), None, "{length}");
        }
        assert_eq!(told(&Zone::default(), 5), (0, "UTC"));
    }
}
