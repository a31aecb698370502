//! A streaming tar reader: ustar, GNU long names and sparse files, pax.
//!
//! One buffer, filled by large reads; file data is handed out as slices of it ([`TarReader::chunk`]),
//! headers are parsed in place and the caller's [`Entry`] is reused, so that an entry costs no
//! allocation of its own. Nothing is believed: numbers, lengths and counts are checked against
//! [`Limits`], the checksum of every header is verified, and an archive that ends before its
//! end-of-archive marker is an error.
//!
//! Called by `layer::unpack` and by the readers of saved images. Tested below with archives of GNU
//! tar, the `tar` crate as an oracle, and mutated archives that must never panic.

use std::io::{self, Read};

use super::header::{self, Fields};
use super::pax::Overrides;
use super::{BLOCK_BYTES, Entry, Kind, Segment};

/// Large enough that a read of the decoder is never cut short, small enough for the cache.
const BUFFER_BYTES: usize = 128 * 1024;
/// Members of an archive.
pub(crate) const ENTRIES_MAX: u64 = 2_000_000;
/// As the kernel's PATH_MAX: a longer name could not be made.
pub(crate) const PATH_BYTES_MAX: usize = 4096;
/// In archives of volumes, which are written component by component: what a header of 1 MiB holds.
pub(crate) const LONG_PATH_BYTES_MAX: usize = 1000 * 1024;
/// As Go's archive/tar: one pax header or long name.
const META_BYTES_MAX: u64 = 1024 * 1024;
/// pax and long-name headers before one entry; three are used at most.
const META_HEADERS_MAX: u32 = 64;
/// Pieces of one sparse file.
const SPARSE_SEGMENTS_MAX: usize = 1 << 19;
/// The largest file that ext4 or XFS of common sizes could hold.
const FILE_BYTES_MAX: u64 = 1 << 44;

/// Why an archive is refused. `at` is the byte of the header concerned.
#[derive(Debug, thiserror::Error)]
pub enum TarError {
    /// The source failed.
    #[error("cannot read the archive at byte {at}")]
    Read {
        /// How far it was read.
        at: u64,
        /// The source's error.
        source: io::Error,
    },
    /// It ends inside an entry or before its end marker.
    #[error("the archive is truncated: it ends at byte {at}")]
    Truncated {
        /// Its length.
        at: u64,
    },
    /// A header is none, or was damaged.
    #[error("the archive is damaged: the header at byte {at} has a wrong checksum")]
    Checksum {
        /// Where.
        at: u64,
    },
    /// A field holds nothing that it could mean.
    #[error("the archive is malformed: the header at byte {at} has an invalid {field}")]
    Field {
        /// Where.
        at: u64,
        /// Which.
        field: &'static str,
    },
    /// More of something than is accepted.
    #[error("the archive is refused: at byte {at} {what} exceeds {max}")]
    Limit {
        /// Where.
        at: u64,
        /// Of what.
        what: &'static str,
        /// The limit.
        max: u64,
    },
}

/// What an archive may ask for.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Members.
    pub entries_max: u64,
    /// Length of a name or of a link's target.
    pub path_bytes_max: usize,
    /// Length of one file, holes included.
    pub file_bytes_max: u64,
    /// Whether an archive may end without its end marker. Some writers forget it; only right where
    /// a digest tells that nothing is missing.
    pub may_lack_end: bool,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            entries_max: ENTRIES_MAX,
            path_bytes_max: PATH_BYTES_MAX,
            file_bytes_max: FILE_BYTES_MAX,
            may_lack_end: false,
        }
    }
}

/// Reads one archive from beginning to end.
pub struct TarReader<R> {
    input: R,
    buffer: Box<[u8]>,
    start: usize,
    end: usize,
    /// Bytes of the archive before `start`.
    position: u64,
    /// Stored bytes of the current entry not yet handed out, then its padding.
    data_left: u64,
    padding_left: u64,
    entries: u64,
    limits: Limits,
    globals: Overrides,
    local: Overrides,
    scratch: Vec<u8>,
    finished: bool,
}

impl<R: Read> TarReader<R> {
    /// Begins to read; nothing is read yet.
    pub fn new(input: R, limits: Limits) -> Self {
        Self {
            input,
            buffer: vec![0; BUFFER_BYTES].into_boxed_slice(),
            start: 0,
            end: 0,
            position: 0,
            data_left: 0,
            padding_left: 0,
            entries: 0,
            limits,
            globals: Overrides::default(),
            local: Overrides::default(),
            scratch: Vec::new(),
            finished: false,
        }
    }

    /// Reads the next header into `entry`, skipping what is left of the entry before. False at the
    /// end of the archive.
    pub fn next_entry(&mut self, entry: &mut Entry) -> Result<bool, TarError> {
        if self.finished {
            return Ok(false);
        }
        self.skip()?;
        entry.reset();
        self.local.reset();
        for _ in 0..META_HEADERS_MAX {
            let at = self.position;
            let Some(block) = self.header()? else {
                if !self.local.is_empty() {
                    return Err(TarError::Truncated { at });
                }
                self.finished = true;
                return Ok(false);
            };
            let fields = Fields::new(&block, at);
            match fields.flag() {
                b'x' | b'X' => {
                    self.read_meta(fields.size()?)?;
                    self.local.reset_pax();
                    self.local.parse(&self.scratch, at)?;
                }
                b'g' => {
                    self.read_meta(fields.size()?)?;
                    self.globals.parse_global(&self.scratch, at)?;
                }
                flag @ (b'L' | b'K') => {
                    self.read_meta(fields.size()?)?;
                    let name = header::until_nul(&self.scratch);
                    self.local.set_long(flag, name);
                }
                _ => {
                    self.count_entry(at)?;
                    self.read_entry(&fields, entry)?;
                    return Ok(true);
                }
            }
        }
        Err(self.limit(
            "the number of extended headers",
            u64::from(META_HEADERS_MAX),
        ))
    }

    /// The next piece of the entry's stored data; empty at its end. Of a sparse file these are the
    /// bytes of its segments, one after another.
    pub fn chunk(&mut self, max: usize) -> Result<&[u8], TarError> {
        if self.data_left == 0 || max == 0 {
            return Ok(&[]);
        }
        if self.start == self.end {
            self.fill(1)?;
        }
        let left = usize::try_from(self.data_left).unwrap_or(usize::MAX);
        let length = (self.end - self.start).min(max).min(left);
        self.data_left -= length as u64;
        let from = self.start;
        self.advance(length);
        Ok(&self.buffer[from..from + length])
    }

    /// Bytes of the current entry's data that were not read yet.
    pub fn data_left(&self) -> u64 {
        self.data_left
    }

    /// The current entry's data as a stream; of a sparse file only what is stored of it.
    pub fn data(&mut self) -> Data<'_, R> {
        Data { reader: self }
    }

    /// Reads on after the end marker until the source ends, so that whoever hashes it sees all of
    /// it; at most `max` bytes. Returns how many there were.
    pub fn drain(&mut self, max: u64) -> Result<u64, TarError> {
        let mut drained = (self.end - self.start) as u64;
        self.advance(self.end - self.start);
        while drained <= max {
            if !self.refill()? {
                return Ok(drained);
            }
            drained += self.end as u64;
            self.advance(self.end);
        }
        Err(self.limit("what follows the end of the archive", max))
    }

    fn count_entry(&mut self, at: u64) -> Result<(), TarError> {
        self.entries += 1;
        if self.entries > self.limits.entries_max {
            let max = self.limits.entries_max;
            return Err(TarError::Limit {
                at,
                what: "the number of entries",
                max,
            });
        }
        Ok(())
    }

    fn read_entry(&mut self, fields: &Fields<'_>, entry: &mut Entry) -> Result<(), TarError> {
        let at = fields.at();
        let flag = fields.flag();
        fields.read(entry)?;
        let mut stored = fields.size()?;
        self.globals.apply_ids_and_time(entry);
        if let Some(size) = self.local.apply(entry) {
            stored = size;
        }
        if flag == 0 && entry.path.ends_with(b"/") {
            // As the oldest tars mark a directory.
            entry.kind = Kind::Directory;
        }
        if !entry.kind.has_data() && flag != b'D' {
            stored = 0;
        }
        self.check_size(stored, at)?;
        self.data_left = stored;
        self.padding_left = stored.wrapping_neg() % BLOCK_BYTES as u64;
        if entry.kind == Kind::File {
            entry.size = stored;
            if flag == b'S' {
                self.read_gnu_sparse(fields, entry)?;
            } else if let Some(name) = self.local.sparse_name() {
                entry.path.clear();
                entry.path.extend_from_slice(name);
            }
            self.read_pax_sparse(at, entry)?;
        }
        self.check_names(at, entry)
    }

    fn check_names(&self, at: u64, entry: &Entry) -> Result<(), TarError> {
        for (name, field) in [(&entry.path, "name"), (&entry.link, "link")] {
            if name.contains(&0) {
                return Err(TarError::Field { at, field });
            }
            if name.len() > self.limits.path_bytes_max {
                let max = self.limits.path_bytes_max as u64;
                return Err(TarError::Limit {
                    at,
                    what: "the length of a name",
                    max,
                });
            }
        }
        Ok(())
    }

    fn check_size(&self, size: u64, at: u64) -> Result<(), TarError> {
        let max = self.limits.file_bytes_max;
        if size > max {
            return Err(TarError::Limit {
                at,
                what: "the size of a file",
                max,
            });
        }
        Ok(())
    }

    /// The next header block, verified; `None` at the end marker.
    fn header(&mut self) -> Result<Option<[u8; BLOCK_BYTES]>, TarError> {
        let at = self.position;
        let Some(block) = self.block()? else {
            // An empty stream is an empty archive (`docker import /dev/null`).
            if at == 0 || self.limits.may_lack_end {
                return Ok(None);
            }
            return Err(TarError::Truncated { at });
        };
        if header::is_zero(&block) {
            // One zero block and the end will do; what is not zero after one is no archive of ours.
            return match self.block()? {
                Some(second) if !header::is_zero(&second) => Err(TarError::Field {
                    at,
                    field: "end marker",
                }),
                _ => Ok(None),
            };
        }
        if !header::checksum_matches(&block) {
            return Err(TarError::Checksum { at });
        }
        Ok(Some(block))
    }

    /// A whole block, or `None` if the source ends exactly before it.
    fn block(&mut self) -> Result<Option<[u8; BLOCK_BYTES]>, TarError> {
        if self.end - self.start < BLOCK_BYTES && !self.try_fill(BLOCK_BYTES)? {
            if self.start == self.end {
                return Ok(None);
            }
            return Err(TarError::Truncated {
                at: self.position + (self.end - self.start) as u64,
            });
        }
        let mut block = [0; BLOCK_BYTES];
        block.copy_from_slice(&self.buffer[self.start..self.start + BLOCK_BYTES]);
        self.advance(BLOCK_BYTES);
        Ok(Some(block))
    }

    fn full_block(&mut self) -> Result<[u8; BLOCK_BYTES], TarError> {
        let block = self.block()?;
        block.ok_or(TarError::Truncated { at: self.position })
    }

    /// The body of a pax or long-name header, into `scratch`.
    fn read_meta(&mut self, size: u64) -> Result<(), TarError> {
        if size > META_BYTES_MAX {
            return Err(self.limit("the size of an extended header", META_BYTES_MAX));
        }
        self.data_left = size;
        self.padding_left = size.wrapping_neg() % BLOCK_BYTES as u64;
        let mut body = std::mem::take(&mut self.scratch);
        body.clear();
        while self.data_left > 0 {
            body.extend_from_slice(self.chunk(usize::MAX)?);
        }
        self.scratch = body;
        self.skip()
    }

    /// The map of the old GNU form: four pieces in the header, more in blocks that follow it.
    fn read_gnu_sparse(&mut self, fields: &Fields<'_>, entry: &mut Entry) -> Result<(), TarError> {
        let mut segments = Vec::new();
        let mut more = fields.sparse_segments(&mut segments)?;
        let at = fields.at();
        while more {
            let block = self.full_block()?;
            more = header::extended_segments(&block, at, &mut segments)?;
            if segments.len() > SPARSE_SEGMENTS_MAX {
                return Err(self.limit("the number of sparse pieces", SPARSE_SEGMENTS_MAX as u64));
            }
        }
        self.set_sparse(at, entry, segments, fields.sparse_size()?)
    }

    fn read_pax_sparse(&mut self, at: u64, entry: &mut Entry) -> Result<(), TarError> {
        let malformed = || TarError::Field {
            at,
            field: "sparse map",
        };
        let Some(size) = self.local.sparse_size() else {
            return Ok(());
        };
        let numbers = if self.local.sparse_map_is_in_data() {
            self.read_sparse_map(at)?
        } else if let Some(numbers) = self.local.sparse_map() {
            numbers.to_vec()
        } else {
            return Ok(());
        };
        if numbers.len() % 2 != 0 {
            return Err(malformed());
        }
        let segments: Vec<Segment> = numbers
            .chunks_exact(2)
            .map(|pair| Segment {
                offset: pair[0],
                length: pair[1],
            })
            .collect();
        self.set_sparse(at, entry, segments, size)
    }

    /// The map of the pax form 1.0: decimal lines at the start of the data, padded to a block.
    fn read_sparse_map(&mut self, at: u64) -> Result<Vec<u64>, TarError> {
        let malformed = || TarError::Field {
            at,
            field: "sparse map",
        };
        let mut numbers: Vec<u64> = Vec::new();
        let mut wanted = None;
        let mut number: Option<u64> = None;
        loop {
            if self.data_left < BLOCK_BYTES as u64 {
                return Err(malformed());
            }
            let block = self.full_block()?;
            self.data_left -= BLOCK_BYTES as u64;
            for byte in block {
                match (byte, number) {
                    (b'0'..=b'9', _) => {
                        let digit = u64::from(byte - b'0');
                        let next = number.unwrap_or(0).checked_mul(10);
                        number = Some(
                            next.and_then(|n| n.checked_add(digit))
                                .ok_or_else(malformed)?,
                        );
                    }
                    (b'\n', Some(value)) => {
                        number = None;
                        match wanted {
                            Some(_) => numbers.push(value),
                            None if value > SPARSE_SEGMENTS_MAX as u64 => {
                                let max = SPARSE_SEGMENTS_MAX as u64;
                                return Err(self.limit("the number of sparse pieces", max));
                            }
                            None => wanted = usize::try_from(value).ok().map(|count| count * 2),
                        }
                        if wanted == Some(numbers.len()) {
                            return Ok(numbers);
                        }
                    }
                    _ => return Err(malformed()),
                }
            }
        }
    }

    /// The pieces must ascend within the file and be exactly what is stored.
    fn set_sparse(
        &mut self,
        at: u64,
        entry: &mut Entry,
        mut segments: Vec<Segment>,
        size: u64,
    ) -> Result<(), TarError> {
        let malformed = || TarError::Field {
            at,
            field: "sparse map",
        };
        self.check_size(size, at)?;
        let (mut end, mut stored) = (0u64, 0u64);
        for segment in &segments {
            let next = segment
                .offset
                .checked_add(segment.length)
                .ok_or_else(malformed)?;
            if segment.offset < end || next > size {
                return Err(malformed());
            }
            end = next;
            stored += segment.length;
        }
        if stored != self.data_left {
            return Err(malformed());
        }
        segments.retain(|segment| segment.length > 0);
        entry.size = size;
        entry.sparse = Some(segments);
        Ok(())
    }

    /// Reads over what is left of the current entry and its padding.
    fn skip(&mut self) -> Result<(), TarError> {
        let mut left = self.data_left + self.padding_left;
        while left > 0 {
            if self.start == self.end {
                self.fill(1)?;
            }
            let length = (self.end - self.start).min(usize::try_from(left).unwrap_or(usize::MAX));
            self.advance(length);
            left -= length as u64;
        }
        (self.data_left, self.padding_left) = (0, 0);
        Ok(())
    }

    fn advance(&mut self, length: usize) {
        self.start += length;
        self.position += length as u64;
    }

    fn fill(&mut self, wanted: usize) -> Result<(), TarError> {
        if self.try_fill(wanted)? {
            return Ok(());
        }
        Err(TarError::Truncated {
            at: self.position + (self.end - self.start) as u64,
        })
    }

    /// Reads until `wanted` bytes are there; false if the source ends before.
    fn try_fill(&mut self, wanted: usize) -> Result<bool, TarError> {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        } else if self.start + wanted > self.buffer.len() {
            self.buffer.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        while self.end - self.start < wanted {
            let count = self.read()?;
            if count == 0 {
                return Ok(false);
            }
            self.end += count;
        }
        Ok(true)
    }

    /// Fills an empty buffer once; false at the end of the source.
    fn refill(&mut self) -> Result<bool, TarError> {
        (self.start, self.end) = (0, 0);
        self.end = self.read()?;
        Ok(self.end > 0)
    }

    fn read(&mut self) -> Result<usize, TarError> {
        loop {
            match self.input.read(&mut self.buffer[self.end..]) {
                Ok(count) => return Ok(count),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => {
                    let at = self.position + (self.end - self.start) as u64;
                    return Err(TarError::Read { at, source });
                }
            }
        }
    }

    fn limit(&self, what: &'static str, max: u64) -> TarError {
        TarError::Limit {
            at: self.position,
            what,
            max,
        }
    }
}

/// The data of one entry.
pub struct Data<'a, R> {
    reader: &'a mut TarReader<R>,
}

impl<R: Read> Read for Data<'_, R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let chunk = self.reader.chunk(into.len()).map_err(io::Error::other)?;
        into[..chunk.len()].copy_from_slice(chunk);
        Ok(chunk.len())
    }
}

#[cfg(test)]
mod tests;
