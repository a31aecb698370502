//! The table `Packages` of an SQLite file (`rpmdb.sqlite`), as <https://www.sqlite.org/fileformat2.html>
//! has it: one tree is walked, nothing is searched. The library is in the binary for the registry, but
//! would be given a file that an image's author made, and wants to write beside it.

use super::{DATABASE_BYTES_MAX, Take, be32, bytes_at, size};

pub(super) const MAGIC: &[u8] = b"SQLite format 3\0";
const FILE_HEADER_BYTES: usize = 100;
const INTERIOR: u8 = 5;
const LEAF: u8 = 13;
const TABLE: &[u8] = b"Packages";
/// Columns of the schema, and of rpm's table.
const SCHEMA_KIND: usize = 0;
const SCHEMA_NAME: usize = 1;
const SCHEMA_ROOT: usize = 3;
const BLOB: usize = 1;
/// The log's first word; its last bit says in which order checksums read bytes.
const LOG_MAGIC: u32 = 0x377f_0682;
const LOG_HEADER_BYTES: usize = 32;
const FRAME_HEADER_BYTES: usize = 24;

struct Database {
    bytes: Vec<u8>,
    page_bytes: usize,
    /// Bytes of a page without what is reserved at its end.
    usable: usize,
}

/// Hands over each header.
pub(super) fn headers(mut bytes: Vec<u8>, log: &[u8], take: &mut Take<'_>) -> Option<()> {
    replay(&mut bytes, log)?;
    if !bytes.starts_with(MAGIC) {
        return None;
    }
    let page_bytes = match u16::from_be_bytes(bytes_at(&bytes, 16)?) {
        1 => 65536,
        number => usize::from(number),
    };
    let usable = page_bytes.checked_sub(usize::from(*bytes.get(20)?))?;
    if page_bytes < 512 || !page_bytes.is_power_of_two() || usable < 480 {
        return None;
    }
    let database = Database {
        bytes,
        page_bytes,
        usable,
    };
    let mut root = None;
    database.rows(1, &mut |record| {
        let is_table = column(record, SCHEMA_KIND)? == b"table";
        if is_table && column(record, SCHEMA_NAME)? == TABLE {
            root = number(column(record, SCHEMA_ROOT)?);
        }
        Some(())
    })?;
    database.rows(root?, &mut |record| {
        take(column(record, BLOB)?);
        Some(())
    })
}

impl Database {
    fn page(&self, number: u32) -> Option<&[u8]> {
        let start = size(number).checked_sub(1)?.checked_mul(self.page_bytes)?;
        self.bytes.get(start..start.checked_add(self.page_bytes)?)
    }

    /// Every row of the table whose tree begins at a page.
    fn rows(&self, root: u32, each: &mut dyn FnMut(&[u8]) -> Option<()>) -> Option<()> {
        let mut seen = vec![false; self.bytes.len() / self.page_bytes + 1];
        let mut left = self.bytes.len();
        let mut pending = vec![root];
        while let Some(number) = pending.pop() {
            let mark = seen.get_mut(size(number))?;
            if std::mem::replace(mark, true) {
                return None;
            }
            let page = self.page(number)?;
            let start = if number == 1 { FILE_HEADER_BYTES } else { 0 };
            let kind = *page.get(start)?;
            let pointers = start
                + match kind {
                    INTERIOR => 12,
                    LEAF => 8,
                    _ => return None,
                };
            if kind == INTERIOR {
                pending.push(be32(page, start + 8)?);
            }
            for index in 0..u16::from_be_bytes(bytes_at(page, start + 3)?) {
                let at = u16::from_be_bytes(bytes_at(page, pointers + 2 * usize::from(index))?);
                let cell = page.get(usize::from(at)..self.usable)?;
                match kind {
                    INTERIOR => pending.push(be32(cell, 0)?),
                    _ => each(&self.payload(cell, &mut left)?)?,
                }
            }
            // A page that is named twice is refused above; until then no more is kept than there are.
            if pending.len() > seen.len() {
                return None;
            }
        }
        Some(())
    }

    /// What a leaf's cell holds, with what is on the pages behind it.
    fn payload(&self, cell: &[u8], left: &mut usize) -> Option<Vec<u8>> {
        let (length, rest) = varint(cell)?;
        let length = usize::try_from(length).ok()?;
        *left = left.checked_sub(length)?;
        let (_, rest) = varint(rest)?;
        if length <= self.usable - 35 {
            return rest.get(..length).map(<[u8]>::to_vec);
        }
        let least = (self.usable - 12) * 32 / 255 - 23;
        let fitting = least + (length - least) % (self.usable - 4);
        let here = match fitting <= self.usable - 35 {
            true => fitting,
            false => least,
        };
        let mut all = Vec::with_capacity(length);
        all.extend_from_slice(rest.get(..here)?);
        let mut next = be32(rest, here)?;
        while all.len() < length {
            let page = self.page(next)?;
            let piece = page.get(4..self.usable)?;
            all.extend_from_slice(piece.get(..length - all.len()).unwrap_or(piece));
            next = be32(page, 0)?;
        }
        Some(all)
    }
}

/// The bytes of a record's column.
fn column(record: &[u8], index: usize) -> Option<&[u8]> {
    let (header, _) = varint(record)?;
    let (mut kinds, mut values) = record.split_at_checked(usize::try_from(header).ok()?)?;
    kinds = varint(kinds)?.1;
    for at in 0.. {
        let (kind, rest) = varint(kinds)?;
        kinds = rest;
        let length = match kind {
            0 | 8 | 9 => 0,
            1..=4 => kind,
            5 => 6,
            6 | 7 => 8,
            // Blobs are even, texts odd.
            12.. => (kind - 12) / 2,
            _ => return None,
        };
        let (value, rest) = values.split_at_checked(usize::try_from(length).ok()?)?;
        if at == index {
            return Some(value);
        }
        values = rest;
    }
    None
}

/// A page's number, which has as many bytes as it needs.
fn number(bytes: &[u8]) -> Option<u32> {
    let number = bytes.iter().try_fold(0_u64, |all, byte| {
        Some(all.checked_mul(256)? | u64::from(*byte))
    });
    u32::try_from(number?).ok()
}

/// A number of seven bits a byte, the high ones first, and what follows it.
fn varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut number = 0_u64;
    for (at, byte) in bytes.iter().enumerate().take(8) {
        number = number << 7 | u64::from(byte & 0x7f);
        if byte & 0x80 == 0 {
            return Some((number, &bytes[at + 1..]));
        }
    }
    let byte = *bytes.get(8)?;
    Some((number << 8 | u64::from(byte), &bytes[9..]))
}

/// Puts into a file what whole transactions wrote into its log. Frames behind those are old, or torn.
fn replay(bytes: &mut Vec<u8>, log: &[u8]) -> Option<()> {
    let Some(header) = log.get(..LOG_HEADER_BYTES) else {
        return Some(());
    };
    let magic = be32(header, 0)?;
    let order = match magic ^ LOG_MAGIC {
        0 => u32::from_le_bytes,
        1 => u32::from_be_bytes,
        _ => return None,
    };
    let page_bytes = size(be32(header, 8)?);
    let mut sum = checksum(&header[..24], (0, 0), order);
    if sum != (be32(header, 24)?, be32(header, 28)?) || page_bytes < 512 {
        return Some(());
    }
    let mut waiting: Vec<(usize, &[u8])> = Vec::new();
    let frames = log[LOG_HEADER_BYTES..].chunks_exact(FRAME_HEADER_BYTES.checked_add(page_bytes)?);
    for frame in frames {
        let (about, page) = frame.split_at_checked(FRAME_HEADER_BYTES)?;
        sum = checksum(page, checksum(&about[..8], sum, order), order);
        if about[8..16] != header[16..24] || sum != (be32(about, 16)?, be32(about, 20)?) {
            break;
        }
        waiting.push((size(be32(about, 0)?), page));
        // How many pages the file has then: only a transaction's last frame says so.
        let pages = size(be32(about, 4)?);
        if pages == 0 {
            continue;
        }
        let length = pages.checked_mul(page_bytes)?;
        if length > DATABASE_BYTES_MAX {
            return None;
        }
        bytes.resize(length, 0);
        for (number, page) in waiting.drain(..) {
            let start = number.checked_sub(1)?.checked_mul(page_bytes)?;
            // What the file lost again within the transaction is beyond its end.
            if let Some(place) = bytes.get_mut(start..start.checked_add(page_bytes)?) {
                place.copy_from_slice(page);
            }
        }
    }
    Some(())
}

fn checksum(bytes: &[u8], (mut one, mut two): (u32, u32), order: fn([u8; 4]) -> u32) -> (u32, u32) {
    let mut words = bytes
        .chunks_exact(4)
        .filter_map(|word| bytes_at(word, 0))
        .map(order);
    while let (Some(first), Some(second)) = (words.next(), words.next()) {
        one = one.wrapping_add(first).wrapping_add(two);
        two = two.wrapping_add(second).wrapping_add(one);
    }
    (one, two)
}
