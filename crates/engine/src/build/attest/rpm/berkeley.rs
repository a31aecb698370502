//! A hash of Berkeley DB (`Packages`, until 2020 the only kind): headers are values, most of them on chains
//! of pages of their own. Every page is looked at; the hash itself does not matter.

use super::{Take, bytes_at, size};

const HASH: u32 = 0x0006_1561;
const PAGE_HEADER_BYTES: usize = 26;
const PAGE_BYTES_MAX: usize = 64 << 10;
const PAGE_BYTES_MIN: usize = 512;
/// Kinds of pages: pairs of keys and values, the older of them unsorted, and a piece of a long value.
const PAIRS_OLD: u8 = 2;
const PAIRS: u8 = 13;
const PIECE: u8 = 7;
/// Kinds of items: the bytes, or the first page of a chain.
const ITEM_BYTES: u8 = 1;
const ITEM_CHAIN: u8 = 3;
/// The value under key 0 is a counter of rpm's.
const COUNTER_BYTES: usize = 4;

struct Database<'a> {
    bytes: &'a [u8],
    page_bytes: usize,
    /// It was written by a machine whose numbers begin with the high byte.
    is_big: bool,
}

/// Hands over each header.
pub(super) fn headers(bytes: &[u8], take: &mut Take<'_>) -> Option<()> {
    let magic = bytes_at(bytes, 12)?;
    let mut database = Database {
        bytes,
        page_bytes: 0,
        is_big: u32::from_be_bytes(magic) == HASH,
    };
    if !database.is_big && u32::from_le_bytes(magic) != HASH {
        return None;
    }
    database.page_bytes = size(database.u32(bytes, 20)?);
    let page_bytes = database.page_bytes;
    if !(PAGE_BYTES_MIN..=PAGE_BYTES_MAX).contains(&page_bytes) || !page_bytes.is_power_of_two() {
        return None;
    }
    let mut left = bytes.len();
    for page in bytes.chunks_exact(page_bytes).skip(1) {
        if matches!(page.get(25)?, &PAIRS | &PAIRS_OLD) {
            database.pairs(page, &mut left, take)?;
        }
    }
    Some(())
}

impl Database<'_> {
    fn u32(&self, bytes: &[u8], at: usize) -> Option<u32> {
        let number = bytes_at(bytes, at)?;
        Some(match self.is_big {
            true => u32::from_be_bytes(number),
            false => u32::from_le_bytes(number),
        })
    }

    fn u16(&self, bytes: &[u8], at: usize) -> Option<usize> {
        let number = bytes_at(bytes, at)?;
        Some(usize::from(match self.is_big {
            true => u16::from_be_bytes(number),
            false => u16::from_le_bytes(number),
        }))
    }

    /// The values of a page; its items were put in from the end.
    fn pairs(&self, page: &[u8], left: &mut usize, take: &mut Take<'_>) -> Option<()> {
        let count = self.u16(page, 20)?;
        let place = |index: usize| self.u16(page, PAGE_HEADER_BYTES + 2 * index);
        for index in (1..count).step_by(2) {
            let item = page.get(place(index)?..place(index - 1)?)?;
            match *item.first()? {
                ITEM_BYTES if item.len() == 1 + COUNTER_BYTES => {}
                ITEM_BYTES => {
                    *left = left.checked_sub(item.len())?;
                    take(&item[1..]);
                }
                ITEM_CHAIN => {
                    let length = size(self.u32(item, 8)?);
                    *left = left.checked_sub(length)?;
                    take(&self.chain(self.u32(item, 4)?, length)?);
                }
                _ => return None,
            }
        }
        Some(())
    }

    fn chain(&self, first: u32, length: usize) -> Option<Vec<u8>> {
        let mut all = Vec::with_capacity(length);
        let mut number = first;
        while all.len() < length {
            let start = size(number).checked_mul(self.page_bytes)?;
            let page = self.bytes.get(start..start.checked_add(self.page_bytes)?)?;
            let piece = page.get(PAGE_HEADER_BYTES..)?.get(..self.u16(page, 22)?)?;
            // An empty piece would let a chain be a ring.
            if page[25] != PIECE || piece.is_empty() {
                return None;
            }
            all.extend_from_slice(piece);
            number = self.u32(page, 16)?;
        }
        (all.len() == length).then_some(all)
    }
}
