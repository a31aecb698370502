//! A deterministic tar writer: the same entries give the same bytes, always.
//!
//! Headers are ustar; a pax header goes before an entry only for what ustar cannot hold (long names,
//! large numbers, fractions of a second, extended attributes), its records sorted by key. No user or
//! group names, no times of our own. Called by `layer::pack` and by `save`.

use std::io::{self, Write};

use super::{BLOCK_BYTES, Entry, Kind, XATTR_PREFIX};

/// Where ustar's numbers end: seven octal digits, and eleven for sizes and times.
const NUMBER_MAX: u64 = 0o7777777;
const LONG_NUMBER_MAX: u64 = 0o77777777777;
const NAME_BYTES: usize = 100;
const PREFIX_BYTES: usize = 155;

static ZEROS: [u8; 2 * BLOCK_BYTES] = [0; 2 * BLOCK_BYTES];

/// Writes one archive; [`TarWriter::finish`] ends it.
pub struct TarWriter<W> {
    output: W,
    data_left: u64,
    padding: usize,
    plain_bytes: u64,
}

impl<W: Write> TarWriter<W> {
    /// Begins an archive; nothing is written yet.
    pub fn new(output: W) -> Self {
        Self {
            output,
            data_left: 0,
            padding: 0,
            plain_bytes: 0,
        }
    }

    /// The archive's size so far without its extended headers: what Docker's would have.
    pub fn plain_bytes(&self) -> u64 {
        self.plain_bytes
    }

    /// Writes the headers of an entry. Its `size` bytes follow by [`TarWriter::write_data`]. Holes
    /// are not written as such: `sparse` is ignored.
    pub fn append(&mut self, entry: &Entry) -> io::Result<()> {
        self.end_entry()?;
        let size = if entry.kind == Kind::File {
            entry.size
        } else {
            0
        };
        let mut records = Vec::new();
        let mut block = [0; BLOCK_BYTES];
        fill_header(&mut block, entry, size, &mut records)?;
        if !records.is_empty() {
            records.sort();
            let body: Vec<u8> = records.into_iter().flat_map(|(_, record)| record).collect();
            self.write_pax(&entry.path, &body)?;
        }
        self.output.write_all(&block)?;
        self.data_left = size;
        self.padding = (size.wrapping_neg() % BLOCK_BYTES as u64) as usize;
        self.plain_bytes += (BLOCK_BYTES + self.padding) as u64 + size;
        Ok(())
    }

    /// Writes some of the current entry's data; more than it announced is an error.
    pub fn write_data(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.data_left = self
            .data_left
            .checked_sub(bytes.len() as u64)
            .ok_or_else(|| {
                io::Error::new(
                    io::ErrorKind::InvalidInput,
                    "more data than the entry announced",
                )
            })?;
        self.output.write_all(bytes)
    }

    /// Bytes that the current entry still lacks.
    pub fn data_left(&self) -> u64 {
        self.data_left
    }

    /// Appends an entry with its data.
    pub fn append_bytes(&mut self, entry: &Entry, data: &[u8]) -> io::Result<()> {
        self.append(entry)?;
        self.write_data(data)
    }

    /// Writes the end marker and gives the output back.
    pub fn finish(mut self) -> io::Result<W> {
        self.end_entry()?;
        self.output.write_all(&ZEROS)?;
        self.output.flush()?;
        Ok(self.output)
    }

    fn end_entry(&mut self) -> io::Result<()> {
        if self.data_left > 0 {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "less data than the entry announced",
            ));
        }
        self.output
            .write_all(&ZEROS[..std::mem::take(&mut self.padding)])
    }

    fn write_pax(&mut self, path: &[u8], records: &[u8]) -> io::Result<()> {
        let mut block = [0; BLOCK_BYTES];
        let name = pax_name(path);
        block[..name.len()].copy_from_slice(&name);
        octal(&mut block[100..108], 0o644);
        octal(&mut block[108..116], 0);
        octal(&mut block[116..124], 0);
        octal(&mut block[124..136], records.len() as u64);
        octal(&mut block[136..148], 0);
        block[156] = b'x';
        seal(&mut block);
        self.output.write_all(&block)?;
        self.output.write_all(records)?;
        self.output
            .write_all(&ZEROS[..records.len().wrapping_neg() % BLOCK_BYTES])
    }
}

/// Fills the ustar header; what does not fit becomes a pax record.
fn fill_header(
    block: &mut [u8; BLOCK_BYTES],
    entry: &Entry,
    size: u64,
    records: &mut Vec<Record>,
) -> io::Result<()> {
    if !put_name(block, &entry.path) {
        records.push(record(b"path", &entry.path));
        block[..NAME_BYTES].copy_from_slice(&entry.path[..NAME_BYTES]);
    }
    let kept = entry.link.len().min(NAME_BYTES);
    block[157..157 + kept].copy_from_slice(&entry.link[..kept]);
    if kept < entry.link.len() {
        records.push(record(b"linkpath", &entry.link));
    }
    let mut put = |range: std::ops::Range<usize>, key: &str, value: u64, max: u64| {
        let fits = value <= max;
        octal(&mut block[range], if fits { value } else { 0 });
        if !fits {
            records.push(record(key.as_bytes(), value.to_string().as_bytes()));
        }
    };
    put(100..108, "", u64::from(entry.mode & 0o7777), NUMBER_MAX);
    put(108..116, "uid", u64::from(entry.uid), NUMBER_MAX);
    put(116..124, "gid", u64::from(entry.gid), NUMBER_MAX);
    put(124..136, "size", size, LONG_NUMBER_MAX);
    let seconds = u64::try_from(entry.mtime.seconds)
        .ok()
        .filter(|&s| s <= LONG_NUMBER_MAX);
    octal(&mut block[136..148], seconds.unwrap_or(0));
    if seconds.is_none() || entry.mtime.nanoseconds > 0 {
        records.push(record(b"mtime", time_text(entry).as_bytes()));
    }
    block[156] = flag(entry.kind)?;
    if matches!(entry.kind, Kind::CharDevice | Kind::BlockDevice) {
        // Linux has 12 and 20 bits for them, which fit.
        octal(&mut block[329..337], u64::from(entry.device.0) & NUMBER_MAX);
        octal(&mut block[337..345], u64::from(entry.device.1) & NUMBER_MAX);
    }
    for (name, value) in &entry.xattrs {
        if name.iter().any(|byte| matches!(byte, 0 | b'=')) {
            let text = "an extended attribute's name holds what pax cannot write";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        records.push(record(&[XATTR_PREFIX, name].concat(), value));
    }
    seal(block);
    Ok(())
}

/// Puts the name into its field, or split at a slash into prefix and name; false if it is too long.
fn put_name(block: &mut [u8; BLOCK_BYTES], path: &[u8]) -> bool {
    if path.len() <= NAME_BYTES {
        block[..path.len()].copy_from_slice(path);
        return true;
    }
    // The name may not be empty, so a directory's last slash does not count.
    let last = path.len() - 1;
    let lowest = path.len() - NAME_BYTES - 1;
    let split = (lowest..last.min(PREFIX_BYTES + 1)).find(|&at| path[at] == b'/' && at > 0);
    let Some(split) = split else { return false };
    let (prefix, name) = (&path[..split], &path[split + 1..]);
    block[345..345 + prefix.len()].copy_from_slice(prefix);
    block[..name.len()].copy_from_slice(name);
    true
}

fn flag(kind: Kind) -> io::Result<u8> {
    Ok(match kind {
        Kind::File => b'0',
        Kind::HardLink => b'1',
        Kind::Symlink => b'2',
        Kind::CharDevice => b'3',
        Kind::BlockDevice => b'4',
        Kind::Directory => b'5',
        Kind::Fifo => b'6',
        Kind::Other(_) => {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "an entry of no known kind",
            ));
        }
    })
}

/// `dir/PaxHeaders.0/name`, cut to the field: what a reader without pax would make of it.
fn pax_name(path: &[u8]) -> Vec<u8> {
    let path = path.strip_suffix(b"/").unwrap_or(path);
    let start = path
        .iter()
        .rposition(|&byte| byte == b'/')
        .map_or(0, |slash| slash + 1);
    let mut name = [&path[..start], b"PaxHeaders.0/", &path[start..]].concat();
    name.truncate(NAME_BYTES);
    name
}

/// Its key, to sort by, and its bytes.
type Record = (Vec<u8>, Vec<u8>);

/// `LENGTH KEY=VALUE\n`, where the length counts its own digits.
fn record(key: &[u8], value: &[u8]) -> Record {
    let rest = key.len() + value.len() + 3;
    let mut length = rest;
    while rest + length.to_string().len() != length {
        length = rest + length.to_string().len();
    }
    let bytes = [length.to_string().as_bytes(), b" ", key, b"=", value, b"\n"].concat();
    (key.to_vec(), bytes)
}

fn time_text(entry: &Entry) -> String {
    let (mut seconds, mut nanoseconds) = (entry.mtime.seconds, entry.mtime.nanoseconds);
    let sign = if seconds < 0 { "-" } else { "" };
    if seconds < 0 && nanoseconds > 0 {
        seconds += 1;
        nanoseconds = 1_000_000_000 - nanoseconds;
    }
    let seconds = seconds.unsigned_abs();
    if nanoseconds == 0 {
        return format!("{sign}{seconds}");
    }
    format!("{sign}{seconds}.{nanoseconds:09}")
        .trim_end_matches('0')
        .to_string()
}

/// Digits with leading zeros and a NUL at the end.
fn octal(field: &mut [u8], mut value: u64) {
    let digits = field.len() - 1;
    for place in field[..digits].iter_mut().rev() {
        *place = b'0' + (value & 7) as u8;
        value >>= 3;
    }
    field[digits] = 0;
}

/// Magic, version and checksum.
fn seal(block: &mut [u8; BLOCK_BYTES]) {
    block[257..265].copy_from_slice(b"ustar\x0000");
    block[148..156].fill(b' ');
    let sum: u64 = block.iter().map(|&byte| u64::from(byte)).sum();
    octal(&mut block[148..155], sum);
    block[155] = b' ';
}

#[cfg(test)]
mod tests {
    use super::super::{Limits, TarReader, Time};
    use super::*;

    fn entries() -> Vec<Entry> {
        let file = |path: &[u8]| Entry {
            path: path.to_vec(),
            mode: 0o644,
            ..Entry::default()
        };
        let long = |length: usize| [&b"d/".repeat(length / 2)[..], b"name"].concat();
        let mut entries: Vec<Entry> = [1, 48, 49, 50, 60, 70, 76, 77, 78, 100, 200, 1000]
            .iter()
            .map(|&n| file(&long(2 * n)))
            .collect();
        for length in [99, 100, 101, 155, 156, 255, 256, 257] {
            entries.push(file(&b"x".repeat(length)));
            let mut directory = file(&[&b"y".repeat(length)[..], b"/"].concat());
            directory.kind = Kind::Directory;
            entries.push(directory);
            let mut link = file(b"l");
            link.kind = Kind::Symlink;
            link.link = b"t".repeat(length);
            entries.push(link);
        }
        for id in [0, 0o7777777, 0o10000000, u32::MAX - 1] {
            entries.push(Entry {
                uid: id,
                gid: id,
                ..file(b"ids")
            });
        }
        for (seconds, nanoseconds) in [
            (0, 1),
            (-1, 0),
            (-1, 999_999_999),
            (-2, 1),
            (1 << 40, 0),
            (5, 120_000_000),
            (0, 0),
        ] {
            entries.push(Entry {
                mtime: Time {
                    seconds,
                    nanoseconds,
                },
                ..file(b"time")
            });
        }
        let xattrs = vec![
            (b"user.b".to_vec(), b"\0binary\n=".to_vec()),
            (b"user.c".to_vec(), vec![7; 990]),
        ];
        entries.push(Entry {
            xattrs,
            mode: 0o6755,
            ..file(b"\xff\xfe")
        });
        let device = Entry {
            kind: Kind::CharDevice,
            device: (4095, 1_048_575),
            ..file(b"dev")
        };
        entries.push(device);
        entries
    }

    #[test]
    fn what_is_written_is_read_back_by_us_and_by_the_tar_crate() {
        let entries = entries();
        let mut writer = TarWriter::new(Vec::new());
        for (index, entry) in entries.iter().enumerate() {
            let mut entry = entry.clone();
            let data = if entry.kind == Kind::File {
                vec![b'x'; index * 100]
            } else {
                Vec::new()
            };
            entry.size = data.len() as u64;
            writer.append_bytes(&entry, &data).unwrap();
        }
        let bytes = writer.finish().unwrap();
        assert_eq!(bytes.len() % BLOCK_BYTES, 0);
        let mut reader = TarReader::new(bytes.as_slice(), Limits::default());
        let mut oracle = tar::Archive::new(bytes.as_slice());
        let mut members = oracle.entries().unwrap();
        let mut found = Entry::default();
        for (index, entry) in entries.iter().enumerate() {
            assert!(reader.next_entry(&mut found).unwrap());
            let expected_size = if entry.kind == Kind::File {
                index as u64 * 100
            } else {
                0
            };
            assert_eq!(
                found,
                Entry {
                    size: expected_size,
                    ..entry.clone()
                }
            );
            let member = members.next().unwrap().unwrap();
            assert_eq!(member.path_bytes(), entry.path);
            assert_eq!(member.link_name_bytes().unwrap_or_default(), entry.link);
            assert_eq!(member.size(), expected_size);
        }
        assert!(!reader.next_entry(&mut found).unwrap());
        assert!(members.next().is_none());
    }

    #[test]
    fn pax_is_used_only_where_ustar_cannot_hold_it() {
        let size = |entry: Entry| {
            let mut writer = TarWriter::new(Vec::new());
            writer.append(&entry).unwrap();
            writer.finish().unwrap().len()
        };
        let base = Entry {
            path: b"a".to_vec(),
            ..Entry::default()
        };
        let long = [&b"p".repeat(155)[..], b"/", &b"n".repeat(100)].concat();
        assert_eq!(size(base.clone()), 3 * BLOCK_BYTES);
        assert_eq!(
            size(Entry {
                path: long,
                ..base.clone()
            }),
            3 * BLOCK_BYTES
        );
        assert_eq!(
            size(Entry {
                path: vec![b'n'; 101],
                ..base.clone()
            }),
            5 * BLOCK_BYTES
        );
        let mtime = Time {
            seconds: 1,
            nanoseconds: 5,
        };
        assert_eq!(size(Entry { mtime, ..base }), 5 * BLOCK_BYTES);
    }

    #[test]
    fn data_must_be_what_was_announced() {
        let entry = Entry {
            path: b"a".to_vec(),
            size: 3,
            ..Entry::default()
        };
        let mut writer = TarWriter::new(Vec::new());
        writer.append(&entry).unwrap();
        assert!(writer.write_data(b"four").is_err());
        let mut writer = TarWriter::new(Vec::new());
        writer.append(&entry).unwrap();
        writer.write_data(b"no").unwrap();
        assert!(writer.finish().is_err());
    }
}
