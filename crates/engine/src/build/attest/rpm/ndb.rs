//! rpm's own list (`Packages.db`, in use at SUSE): slots that say where a header's blob begins.

use super::{Take, bytes_at, le32, size};

pub(super) const MAGIC: &[u8] = b"RpmP";
const SLOT: [u8; 4] = *b"Slot";
const BLOB: [u8; 4] = *b"BlbS";
const PAGE_BYTES: usize = 4096;
/// The first two slots are the file's header.
const SLOTS_START: usize = 32;
const SLOT_BYTES: usize = 16;
const BLOCK_BYTES: usize = 16;
const BLOB_HEADER_BYTES: usize = 16;

/// Hands over each header.
pub(super) fn headers(bytes: &[u8], take: &mut Take<'_>) -> Option<()> {
    let end = size(le32(bytes, 12)?).checked_mul(PAGE_BYTES)?;
    let mut left = bytes.len();
    for slot in bytes.get(SLOTS_START..end)?.chunks_exact(SLOT_BYTES) {
        // A slot that leads nowhere is free.
        let start = size(le32(slot, 8)?).checked_mul(BLOCK_BYTES)?;
        if start == 0 {
            continue;
        }
        if bytes_at(slot, 0)? != SLOT {
            return None;
        }
        let blob = bytes.get(start..)?;
        if bytes_at(blob, 0)? != BLOB || le32(blob, 4)? != le32(slot, 4)? {
            return None;
        }
        let length = size(le32(blob, 12)?);
        left = left.checked_sub(length)?;
        take(blob.get(BLOB_HEADER_BYTES..)?.get(..length)?);
    }
    Some(())
}
