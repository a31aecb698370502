//! The tar format: an entry, a streaming reader and a deterministic writer.
//!
//! Ours, because layers are the bulk of all work: names are bytes, nothing is copied between the
//! reader's buffer and the file, and every count and length of a foreign archive has a limit. What
//! an archive means is read as Go's archive/tar reads it, since that is what other engines run: two
//! readers that disagree are a hole (a scanner sees one tree and the engine another).

mod header;
mod pax;
pub mod reader;
pub mod writer;

pub use reader::{Limits, TarError, TarReader};
pub use writer::TarWriter;

/// Headers and data are padded to this.
pub(crate) const BLOCK_BYTES: usize = 512;

/// The prefix of pax keys that hold extended attributes.
pub(crate) const XATTR_PREFIX: &[u8] = b"SCHILY.xattr.";

/// What an entry is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kind {
    /// A regular file, possibly sparse.
    #[default]
    File,
    /// Another name of an earlier file, named by the link.
    HardLink,
    /// A symbolic link.
    Symlink,
    /// A character device.
    CharDevice,
    /// A block device.
    BlockDevice,
    /// A directory.
    Directory,
    /// A named pipe.
    Fifo,
    /// A type flag that has no meaning here.
    Other(u8),
}

impl Kind {
    /// Entries of which only files carry data: a size in the header of another one is ignored.
    pub(crate) fn has_data(self) -> bool {
        matches!(self, Kind::File | Kind::Other(_))
    }
}

/// A time since the epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time {
    /// Seconds; before the epoch negative.
    pub seconds: i64,
    /// Nanoseconds to add, below 10^9.
    pub nanoseconds: u32,
}

/// A piece of a sparse file that has data.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Segment {
    /// Where it begins in the file.
    pub offset: u64,
    /// Its length in bytes.
    pub length: u64,
}

/// One member of an archive. Reused from entry to entry, so that reading allocates little.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    /// The name as written, never holding NUL.
    pub path: Vec<u8>,
    /// The target of a symbolic or hard link, never holding NUL.
    pub link: Vec<u8>,
    /// What it is.
    pub kind: Kind,
    /// Permission bits with setuid, setgid and sticky.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Length of the file, holes included; 0 for all that is no file.
    pub size: u64,
    /// Time of modification.
    pub mtime: Time,
    /// Device numbers, major and minor.
    pub device: (u32, u32),
    /// Extended attributes, in the archive's order.
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    /// For a sparse file what its data covers, in ascending order; `None`: all of it.
    pub sparse: Option<Vec<Segment>>,
}

impl Entry {
    pub(crate) fn reset(&mut self) {
        self.path.clear();
        self.link.clear();
        self.xattrs.clear();
        self.sparse = None;
        self.kind = Kind::File;
        (self.mode, self.uid, self.gid, self.size) = (0, 0, 0, 0);
        self.mtime = Time::default();
        self.device = (0, 0);
    }
}
