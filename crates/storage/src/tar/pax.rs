//! What extended headers say in place of the header's own fields.

use super::header::id;
use super::reader::TarError;
use super::{Entry, Time, XATTR_PREFIX};

const NANOSECOND_DIGITS: u32 = 9;
/// Seconds beyond are cut: no file system holds them, and their sum with anything stays a number.
const SECONDS_MAX: i64 = 1 << 60;

/// Values from `x`, `L` and `K` headers for one entry, or from `g` headers for all that follow.
#[derive(Default)]
pub(super) struct Overrides {
    long_name: Option<Vec<u8>>,
    long_link: Option<Vec<u8>>,
    pax: Pax,
}

#[derive(Default)]
struct Pax {
    present: bool,
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    size: Option<u64>,
    uid: Option<u32>,
    gid: Option<u32>,
    mtime: Option<Time>,
    xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    sparse: Sparse,
}

#[derive(Default)]
struct Sparse {
    name: Option<Vec<u8>>,
    size: Option<u64>,
    version: (Option<u64>, Option<u64>),
    /// Offsets and lengths in turn, of the forms 0.0 and 0.1.
    map: Option<Vec<u64>>,
}

impl Overrides {
    pub(super) fn reset(&mut self) {
        self.long_name = None;
        self.long_link = None;
        self.reset_pax();
    }

    /// A second `x` header before an entry replaces the first.
    pub(super) fn reset_pax(&mut self) {
        if self.pax.present {
            self.pax = Pax::default();
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.long_name.is_none() && self.long_link.is_none() && !self.pax.present
    }

    pub(super) fn set_long(&mut self, flag: u8, name: &[u8]) {
        let place = if flag == b'L' {
            &mut self.long_name
        } else {
            &mut self.long_link
        };
        *place = Some(name.to_vec());
    }

    pub(super) fn parse(&mut self, records: &[u8], at: u64) -> Result<(), TarError> {
        self.pax.present = true;
        for_each_record(records, at, |key, value| self.pax.set(key, value, at))
    }

    /// Of a global header only owner and time count: a name or a size that holds for every entry
    /// makes no sense, and readers disagree on it.
    pub(super) fn parse_global(&mut self, records: &[u8], at: u64) -> Result<(), TarError> {
        for_each_record(records, at, |key, value| match key {
            b"uid" | b"gid" | b"mtime" => self.pax.set(key, value, at),
            _ => Ok(()),
        })
    }

    pub(super) fn apply_ids_and_time(&self, entry: &mut Entry) {
        entry.uid = self.pax.uid.unwrap_or(entry.uid);
        entry.gid = self.pax.gid.unwrap_or(entry.gid);
        entry.mtime = self.pax.mtime.unwrap_or(entry.mtime);
    }

    /// Applies all to the entry; returns the stored size if it is told here.
    pub(super) fn apply(&mut self, entry: &mut Entry) -> Option<u64> {
        self.apply_ids_and_time(entry);
        // As Go: a GNU long name wins over pax, should somebody write both.
        if let Some(path) = self.long_name.take().or(self.pax.path.take()) {
            entry.path = path;
        }
        if let Some(link) = self.long_link.take().or(self.pax.link.take()) {
            entry.link = link;
        }
        std::mem::swap(&mut entry.xattrs, &mut self.pax.xattrs);
        self.pax.size
    }

    pub(super) fn sparse_name(&self) -> Option<&[u8]> {
        self.pax.sparse.name.as_deref()
    }

    pub(super) fn sparse_size(&self) -> Option<u64> {
        self.pax.sparse.size
    }

    pub(super) fn sparse_map_is_in_data(&self) -> bool {
        self.pax.sparse.version == (Some(1), Some(0))
    }

    pub(super) fn sparse_map(&self) -> Option<&[u64]> {
        self.pax.sparse.map.as_deref()
    }
}

impl Pax {
    /// An empty value takes back what an earlier header said.
    fn set(&mut self, key: &[u8], value: &[u8], at: u64) -> Result<(), TarError> {
        let invalid = |field| TarError::Field { at, field };
        let number = |field| decimal(value).ok_or_else(|| invalid(field));
        let text = || (!value.is_empty()).then(|| value.to_vec());
        if let Some(name) = key.strip_prefix(XATTR_PREFIX) {
            // An attribute may well be empty: here nothing is taken back.
            self.xattrs.push((name.to_vec(), value.to_vec()));
            return Ok(());
        }
        let empty = value.is_empty();
        match key {
            b"path" => self.path = text(),
            b"linkpath" => self.link = text(),
            b"size" if empty => self.size = None,
            b"size" => self.size = Some(number("size")?),
            b"uid" if empty => self.uid = None,
            b"uid" => self.uid = Some(id(number("uid")?, at, "uid")?),
            b"gid" if empty => self.gid = None,
            b"gid" => self.gid = Some(id(number("gid")?, at, "gid")?),
            b"mtime" if empty => self.mtime = None,
            b"mtime" => self.mtime = Some(time(value).ok_or_else(|| invalid("mtime"))?),
            b"GNU.sparse.name" => self.sparse.name = text(),
            b"GNU.sparse.size" | b"GNU.sparse.realsize" => {
                self.sparse.size = Some(number("sparse size")?);
            }
            b"GNU.sparse.major" => self.sparse.version.0 = Some(number("sparse version")?),
            b"GNU.sparse.minor" => self.sparse.version.1 = Some(number("sparse version")?),
            b"GNU.sparse.offset" | b"GNU.sparse.numbytes" => {
                // Form 0.0: the two keys in turn, which is why their order counts.
                let map = self.sparse.map.get_or_insert_default();
                if (key == b"GNU.sparse.offset") != map.len().is_multiple_of(2) {
                    return Err(invalid("sparse map"));
                }
                map.push(number("sparse map")?);
            }
            b"GNU.sparse.map" => {
                let parts = value
                    .split(|&byte| byte == b',')
                    .filter(|part| !part.is_empty());
                let numbers: Option<Vec<u64>> = parts.map(decimal).collect();
                self.sparse.map = Some(numbers.ok_or_else(|| invalid("sparse map"))?);
            }
            _ => {}
        }
        Ok(())
    }
}

/// Records are `LENGTH KEY=VALUE\n`, the length counting itself.
fn for_each_record(
    mut records: &[u8],
    at: u64,
    mut each: impl FnMut(&[u8], &[u8]) -> Result<(), TarError>,
) -> Result<(), TarError> {
    let malformed = || TarError::Field {
        at,
        field: "pax record",
    };
    while !records.is_empty() {
        let space = records
            .iter()
            .position(|&byte| byte == b' ')
            .ok_or_else(malformed)?;
        let length = decimal(&records[..space]).ok_or_else(malformed)?;
        let length = usize::try_from(length).map_err(|_| malformed())?;
        if length <= space + 1 || length > records.len() {
            return Err(malformed());
        }
        let (record, rest) = records.split_at(length);
        let record = record[space + 1..]
            .strip_suffix(b"\n")
            .ok_or_else(malformed)?;
        let equals = record
            .iter()
            .position(|&byte| byte == b'=')
            .ok_or_else(malformed)?;
        let (key, value) = (&record[..equals], &record[equals + 1..]);
        // A NUL in a name cuts it for the kernel and not for others.
        let is_name = matches!(key, b"path" | b"linkpath" | b"GNU.sparse.name");
        if key.is_empty() || key.contains(&0) || (is_name && value.contains(&0)) {
            return Err(malformed());
        }
        each(key, value)?;
        records = rest;
    }
    Ok(())
}

fn decimal(text: &[u8]) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0u64, |value, &byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        value.checked_mul(10)?.checked_add(digit)
    })
}

/// Seconds with an optional sign and fraction; out of range is cut, beyond nanoseconds dropped.
fn time(text: &[u8]) -> Option<Time> {
    let (negative, text) = match text.strip_prefix(b"-") {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let mut parts = text.splitn(2, |&byte| byte == b'.');
    let whole = parts.next()?;
    let fraction = parts.next().unwrap_or_default();
    let digits = |text: &[u8]| text.iter().all(u8::is_ascii_digit);
    if !digits(whole) || !digits(fraction) || whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let seconds = if whole.is_empty() {
        Some(0)
    } else {
        decimal(whole)
    };
    let seconds = seconds
        .and_then(|seconds| i64::try_from(seconds).ok())
        .unwrap_or(i64::MAX);
    let seconds = seconds.min(SECONDS_MAX);
    let mut nanoseconds = 0;
    for place in 0..NANOSECOND_DIGITS as usize {
        let digit = fraction.get(place).map_or(0, |byte| u32::from(byte - b'0'));
        nanoseconds = nanoseconds * 10 + digit;
    }
    Some(match (negative, nanoseconds) {
        (false, _) => Time {
            seconds,
            nanoseconds,
        },
        (true, 0) => Time {
            seconds: -seconds,
            nanoseconds: 0,
        },
        (true, _) => Time {
            seconds: -seconds - 1,
            nanoseconds: 1_000_000_000 - nanoseconds,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_signs_and_fractions() {
        let cases: &[(&str, Option<(i64, u32)>)] = &[
            ("0", Some((0, 0))),
            ("1.5", Some((1, 500_000_000))),
            ("1.123456789999", Some((1, 123_456_789))),
            ("-1.25", Some((-2, 750_000_000))),
            ("-3", Some((-3, 0))),
            ("-99999999999", Some((-99_999_999_999, 0))),
            ("99999999999999999999999", Some((SECONDS_MAX, 0))),
            (".5", Some((0, 500_000_000))),
            ("", None),
            (".", None),
            ("+1", None),
            ("1.2.3", None),
            ("1e3", None),
        ];
        for (text, expected) in cases {
            let found = time(text.as_bytes()).map(|time| (time.seconds, time.nanoseconds));
            assert_eq!(found, *expected, "{text}");
        }
    }

    #[test]
    fn records_are_strict() {
        let cases: &[(&[u8], bool)] = &[
            (b"", true),
            (b"9 a=bcde\n", true),
            (b"8 a=bcde\n", false),
            (b"11 a=bcde\n", false),
            (b"6 a=b\n6 c=d\n", true),
            (b"6 a=b\n ", false),
            (b"5 a=b\n", false),
            (b"6 =ab\n", false),
            (b"6 abc\n", false),
            (b"0 a=b\n", false),
            (b"99999999999999999999 a=b\n", false),
            (b"x a=b\n", false),
            (b"11 path=a\0\n", false),
            (b"11 linkpath=\n", false),
            (b"14 linkpath=x\n", true),
            (b"14 mtime=later\n", false),
            (b"18 uid=4294967295\n", false),
            (b"18 uid=4294967294\n", true),
            (b"10 uid=-1\n", false),
        ];
        for (records, good) in cases {
            let mut overrides = Overrides::default();
            let text = String::from_utf8_lossy(records);
            assert_eq!(overrides.parse(records, 0).is_ok(), *good, "{text:?}");
        }
    }

    #[test]
    fn an_empty_value_takes_back_and_global_names_do_not_count() {
        let mut overrides = Overrides::default();
        overrides
            .parse(b"10 path=a\n8 path=\n9 uid=77\n", 0)
            .unwrap();
        let mut entry = Entry {
            path: b"header".to_vec(),
            ..Entry::default()
        };
        overrides.apply(&mut entry);
        assert_eq!((entry.path.as_slice(), entry.uid), (&b"header"[..], 77));
        let mut globals = Overrides::default();
        globals
            .parse_global(b"10 path=a\n10 size=9\n9 gid=77\n", 0)
            .unwrap();
        assert_eq!(globals.apply(&mut entry), None);
        assert_eq!((entry.path.as_slice(), entry.gid), (&b"header"[..], 77));
    }
}
