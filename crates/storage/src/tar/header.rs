//! One header block: where its fields are and what they may hold.

use super::reader::TarError;
use super::{BLOCK_BYTES, Entry, Kind, Segment, Time};

/// A verified header block.
pub(super) struct Fields<'a> {
    block: &'a [u8; BLOCK_BYTES],
    at: u64,
}

impl<'a> Fields<'a> {
    pub(super) fn new(block: &'a [u8; BLOCK_BYTES], at: u64) -> Self {
        Self { block, at }
    }

    pub(super) fn at(&self) -> u64 {
        self.at
    }

    pub(super) fn flag(&self) -> u8 {
        self.block[156]
    }

    /// Bytes that are stored after the header.
    pub(super) fn size(&self) -> Result<u64, TarError> {
        unsigned(&self.block[124..136], self.at, "size")
    }

    /// Everything but the size into `entry`.
    pub(super) fn read(&self, entry: &mut Entry) -> Result<(), TarError> {
        let (block, at) = (self.block, self.at);
        entry.kind = kind_of(self.flag());
        self.read_name(&mut entry.path);
        entry.link.extend_from_slice(until_nul(&block[157..257]));
        let mode = unsigned(&block[100..108], at, "mode")?;
        entry.mode = (mode & 0o7777) as u32;
        entry.uid = id(unsigned(&block[108..116], at, "uid")?, at, "uid")?;
        entry.gid = id(unsigned(&block[116..124], at, "gid")?, at, "gid")?;
        entry.mtime = Time {
            seconds: signed(&block[136..148], at, "mtime")?,
            nanoseconds: 0,
        };
        if matches!(entry.kind, Kind::CharDevice | Kind::BlockDevice) {
            let number = |range: std::ops::Range<usize>| {
                let value = unsigned(&block[range], at, "device number")?;
                u32::try_from(value).map_err(|_| TarError::Field {
                    at,
                    field: "device number",
                })
            };
            entry.device = (number(329..337)?, number(337..345)?);
        }
        Ok(())
    }

    fn read_name(&self, path: &mut Vec<u8>) {
        let block = self.block;
        // Only POSIX headers have a prefix; GNU keeps times there. star's is shorter.
        if &block[257..263] == b"ustar\0" {
            let end = if &block[508..512] == b"tar\0" {
                345 + 131
            } else {
                345 + 155
            };
            let prefix = until_nul(&block[345..end]);
            if !prefix.is_empty() {
                path.extend_from_slice(prefix);
                path.push(b'/');
            }
        }
        path.extend_from_slice(until_nul(&block[..100]));
    }

    /// The first pieces of a GNU sparse file; true if more follow in blocks of their own.
    pub(super) fn sparse_segments(&self, into: &mut Vec<Segment>) -> Result<bool, TarError> {
        segments(&self.block[386..482], self.at, into)?;
        Ok(self.block[482] != 0)
    }

    /// The length of a GNU sparse file with its holes.
    pub(super) fn sparse_size(&self) -> Result<u64, TarError> {
        unsigned(&self.block[483..495], self.at, "sparse size")
    }
}

/// The pieces in a block that follows a GNU sparse header; true if another one follows.
pub(super) fn extended_segments(
    block: &[u8; BLOCK_BYTES],
    at: u64,
    into: &mut Vec<Segment>,
) -> Result<bool, TarError> {
    segments(&block[..504], at, into)?;
    Ok(block[504] != 0)
}

fn segments(bytes: &[u8], at: u64, into: &mut Vec<Segment>) -> Result<(), TarError> {
    for pair in bytes.chunks_exact(24) {
        if pair[0] == 0 {
            break;
        }
        into.push(Segment {
            offset: unsigned(&pair[..12], at, "sparse map")?,
            length: unsigned(&pair[12..], at, "sparse map")?,
        });
    }
    Ok(())
}

fn kind_of(flag: u8) -> Kind {
    match flag {
        b'0' | 0 | b'7' | b'S' => Kind::File,
        b'1' => Kind::HardLink,
        b'2' => Kind::Symlink,
        b'3' => Kind::CharDevice,
        b'4' => Kind::BlockDevice,
        // D is GNU's directory of an incremental backup: with a list of names as data.
        b'5' | b'D' => Kind::Directory,
        b'6' => Kind::Fifo,
        other => Kind::Other(other),
    }
}

pub(super) fn is_zero(block: &[u8; BLOCK_BYTES]) -> bool {
    block.iter().all(|&byte| byte == 0)
}

/// The sum of all bytes with the checksum's own taken as spaces; some old tars summed signed bytes.
pub(super) fn checksum_matches(block: &[u8; BLOCK_BYTES]) -> bool {
    let Some(Value::Positive(expected)) = number(&block[148..156]) else {
        return false;
    };
    let field = &block[148..156];
    let sum = |bytes: &[u8]| bytes.iter().map(|&byte| i64::from(byte)).sum::<i64>();
    let unsigned = sum(block) - sum(field) + 8 * i64::from(b' ');
    let high = |bytes: &[u8]| bytes.iter().filter(|&&byte| byte >= 0x80).count() as i64;
    let signed = unsigned - 256 * (high(block) - high(field));
    i64::try_from(expected).is_ok_and(|expected| expected == unsigned || expected == signed)
}

pub(super) fn until_nul(bytes: &[u8]) -> &[u8] {
    bytes.split(|&byte| byte == 0).next().unwrap_or_default()
}

pub(super) fn id(value: u64, at: u64, field: &'static str) -> Result<u32, TarError> {
    // The highest number means "unchanged" to chown.
    match u32::try_from(value) {
        Ok(id) if id != u32::MAX => Ok(id),
        _ => Err(TarError::Field { at, field }),
    }
}

fn unsigned(bytes: &[u8], at: u64, field: &'static str) -> Result<u64, TarError> {
    match number(bytes) {
        Some(Value::Positive(value)) => Ok(value),
        _ => Err(TarError::Field { at, field }),
    }
}

fn signed(bytes: &[u8], at: u64, field: &'static str) -> Result<i64, TarError> {
    let value = match number(bytes) {
        Some(Value::Positive(value)) => i64::try_from(value).ok(),
        Some(Value::Negative(value)) => Some(value),
        None => None,
    };
    value.ok_or(TarError::Field { at, field })
}

enum Value {
    Positive(u64),
    Negative(i64),
}

/// Octal text with blanks around it, or GNU's base 256 in two's complement.
fn number(bytes: &[u8]) -> Option<Value> {
    if bytes.first().is_some_and(|first| first & 0x80 != 0) {
        return base_256(bytes);
    }
    let blank = |byte: &u8| matches!(byte, b' ' | 0);
    let start = bytes
        .iter()
        .position(|byte| !blank(byte))
        .unwrap_or(bytes.len());
    let text = until_nul(&bytes[start..]).trim_ascii_end();
    let mut value = 0u64;
    for &byte in text {
        if !(b'0'..=b'7').contains(&byte) {
            return None;
        }
        // Twelve digits at most: 36 bits.
        value = value << 3 | u64::from(byte - b'0');
    }
    Some(Value::Positive(value))
}

fn base_256(bytes: &[u8]) -> Option<Value> {
    let negative = bytes[0] & 0x40 != 0;
    // The first bit only marks the form.
    let first = if negative { bytes[0] } else { bytes[0] & 0x7f };
    let mut value: i128 = if negative {
        i128::from(first) - 256
    } else {
        i128::from(first)
    };
    for &byte in &bytes[1..] {
        value = value << 8 | i128::from(byte);
    }
    if negative {
        i64::try_from(value).ok().map(Value::Negative)
    } else {
        u64::try_from(value).ok().map(Value::Positive)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_octal_or_base_256() {
        let cases: &[(&[u8], Option<i128>)] = &[
            (b"0000644\0", Some(0o644)),
            (b" 644 \0  ", Some(0o644)),
            (b"\0\0\0\0\0\0\0\0", Some(0)),
            (b"        ", Some(0)),
            (b"77777777", Some(0o77777777)),
            (b"12\x0034\0\0\0", Some(0o12)),
            (b"8\0\0\0\0\0\0\0", None),
            (b"1 2\0\0\0\0\0", None),
            (b"-1\0\0\0\0\0\0", None),
            (b"\x80\0\0\0\0\0\x01\0", Some(256)),
            (b"\xff\xff\xff\xff\xff\xff\xff\xfe", Some(-2)),
            (b"\xff\xff\xff\xff\0\0\0\0\0\0\0\0", None),
            (
                b"\xff\xff\xff\xff\x80\0\0\0\0\0\0\0",
                Some(i64::MIN as i128),
            ),
            (b"\x80\0\0\x01\0\0\0\0\0\0\0\0", None),
            (b"\x80\0\0\0\x40\0\0\0\0\0\0\0", Some(1 << 62)),
        ];
        for (bytes, expected) in cases {
            let found = number(bytes).map(|value| match value {
                Value::Positive(value) => i128::from(value),
                Value::Negative(value) => i128::from(value),
            });
            assert_eq!(found, *expected, "{bytes:?}");
        }
    }
}
