//! Unpacking a layer, or any archive, beneath a root.
//!
//! The archive is hostile. Every object is made by one `*at` call on a single name beneath the
//! descriptor of its parent, and parents are resolved within the root; so links, `..` and absolute
//! names, in whatever order they come, reach nothing outside. What has a name already is removed and
//! made anew, never opened; a directory stays.
//!
//! Per file: open, write, (chown,) chmod, utimens, close, as GNU tar does; per directory one lookup,
//! since the last parents stay open. Nothing is synced here: the caller syncs before it publishes.
//! Tested below against the archives of ../corpus/evil and against GNU tar.

mod delete;
mod node;
mod parents;

use std::collections::{BTreeSet, HashSet};
use std::ffi::OsStr;
use std::io::Read;
use std::os::fd::AsFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use rustix::fs::AtFlags;
use rustix::io::Errno;
use sys::rootfs::{Dir, RootError};

use super::{
    OPAQUE_MARK, WHITEOUT_META_PREFIX, WHITEOUT_PREFIX, is_directory, is_whiteout, push_clean,
    split,
};
use crate::tar::{Entry, Kind, Limits, TarError, TarReader, Time};
use delete::set_opaque;
use parents::{Parent, Parents};

/// Bytes of all files of one archive together, holes included: the disk ends before.
const BYTES_MAX: u64 = 1 << 44;
/// Memory for names that must be remembered to the end.
const REMEMBERED_BYTES_MAX: u64 = 256 << 20;
/// What may follow the end marker: tape blocking needs a few KiB.
const TRAILER_BYTES_MAX: u64 = 64 << 20;
/// How often a name that a running container makes again is removed.
const RACES_MAX: u32 = 16;

/// What the archive is applied to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ApplyMode {
    /// An empty directory that becomes a lower layer of an overlay: deletions are kept as
    /// overlayfs's marks, and hard links to what lower layers hold are reported.
    #[default]
    Layer,
    /// A whole tree (or a mounted overlay): deletions delete.
    Merged,
}

/// What names that begin with `.wh.` mean.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Whiteouts {
    /// Deletions, as in layers.
    #[default]
    Apply,
    /// Nothing special (`import`, `cp`).
    Literal,
}

/// What may take the place of what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Replace {
    /// The later entry counts, whatever was there.
    #[default]
    Anything,
    /// A directory never takes the place of something else nor the reverse (`cp`).
    SameKind,
}

/// How to unpack. The default is for layers.
#[derive(Clone, Debug)]
pub struct UnpackOptions {
    /// What it is applied to.
    pub mode: ApplyMode,
    /// Whether deletions are understood.
    pub whiteouts: Whiteouts,
    /// What may be replaced.
    pub replace: Replace,
    /// The directory within the root that names are relative to; it must exist.
    pub base: PathBuf,
    /// Whether an entry for `.` sets the metadata of the base directory.
    pub root_metadata: bool,
    /// Owner and group for everything, in place of the archive's.
    pub owner: Option<(u32, u32)>,
    /// Bytes of all files together, holes included.
    pub bytes_max: u64,
    /// Limits of the archive.
    pub limits: Limits,
}

impl Default for UnpackOptions {
    fn default() -> Self {
        Self {
            mode: ApplyMode::Layer,
            whiteouts: Whiteouts::Apply,
            replace: Replace::Anything,
            base: PathBuf::new(),
            root_metadata: true,
            owner: None,
            bytes_max: BYTES_MAX,
            limits: Limits::default(),
        }
    }
}

/// What was done, and what only the caller, who knows the lower layers, can complete.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UnpackReport {
    /// Entries of the archive.
    pub entries: u64,
    /// Bytes of files, holes included.
    pub bytes: u64,
    /// Directories that no entry describes, made 0755 root:root, in order. In a lower layer one may
    /// have other metadata (then a fix-up is due) or be a link (then the layer must be applied again
    /// over its mounted parents).
    pub implied_dirs: Vec<PathBuf>,
    /// Hard links whose target is not in this layer. They were not made: the layer must be applied
    /// again, merged, over its mounted parents.
    pub unresolved_hardlinks: Vec<PathBuf>,
    /// The whole root hides the lower layers. overlayfs does not know that of a root: the caller
    /// leaves them out.
    pub opaque_root: bool,
    /// Extended attributes that the file system or the kernel refused.
    pub xattrs_refused: u64,
}

/// Why an archive was not unpacked. Names are escaped, they are the archive's.
#[derive(Debug, thiserror::Error)]
pub enum UnpackError {
    /// The archive itself.
    #[error(transparent)]
    Tar(#[from] TarError),
    /// A lookup beneath the root.
    #[error(transparent)]
    Root(#[from] RootError),
    /// An object could not be made.
    #[error("cannot {op} {path:?}")]
    Object {
        /// A verb phrase.
        op: &'static str,
        /// The entry.
        path: PathBuf,
        /// The kernel's answer.
        source: Errno,
    },
    /// A kind of entry that does not exist here.
    #[error("cannot unpack {path:?}: entries of type {flag:?} are not known")]
    UnknownKind {
        /// The entry.
        path: PathBuf,
        /// The archive's type flag.
        flag: char,
    },
    /// A deletion of `.`, `..` or nothing.
    #[error("cannot unpack {path:?}: it deletes no name that could exist")]
    Whiteout {
        /// The entry.
        path: PathBuf,
    },
    /// Another kind of object than a directory in the root's place.
    #[error("cannot unpack an entry without a name that is no directory")]
    NotARoot,
    /// A directory and something else of the same name.
    #[error("cannot overwrite {path:?}: one is a directory, the other is not")]
    KindsDiffer {
        /// The entry.
        path: PathBuf,
    },
    /// A hard link to nothing.
    #[error("cannot link {path:?} to {target:?}: there is no such file")]
    LinkTarget {
        /// The entry.
        path: PathBuf,
        /// Its target.
        target: PathBuf,
    },
    /// More of something than is accepted.
    #[error("the archive is refused: {what} exceeds {max}")]
    Limit {
        /// Of what.
        what: &'static str,
        /// The limit.
        max: u64,
    },
}

/// Applies one archive beneath `root` and reads it to its very end.
pub fn unpack(
    source: impl Read,
    root: &Dir,
    options: &UnpackOptions,
) -> Result<UnpackReport, UnpackError> {
    let mut reader = TarReader::new(source, options.limits.clone());
    let mut unpacker = Unpacker::new(root, options)?;
    let mut entry = Entry::default();
    while reader.next_entry(&mut entry)? {
        unpacker.apply(&mut entry, &mut reader)?;
    }
    unpacker.finish()?;
    reader.drain(TRAILER_BYTES_MAX)?;
    Ok(unpacker.report)
}

struct Unpacker<'a> {
    root: &'a Dir,
    options: &'a UnpackOptions,
    report: UnpackReport,
    parents: Parents,
    /// The base, cleaned, and after it the entry's name.
    base: Vec<u8>,
    path: Vec<u8>,
    /// Times of directories, set at the end: what is made in them changes them.
    times: Vec<(Vec<u8>, Time)>,
    implied: BTreeSet<Vec<u8>>,
    /// What this archive made, where a later deletion must spare it.
    made: HashSet<Vec<u8>>,
    objects: u64,
    remembered: u64,
    /// Who owns what we make, unless a set-group-id directory decides.
    own: (u32, u32),
}

impl<'a> Unpacker<'a> {
    fn new(root: &'a Dir, options: &'a UnpackOptions) -> Result<Self, UnpackError> {
        let mut base = Vec::new();
        push_clean(&mut base, options.base.as_os_str().as_bytes());
        root.open_dir(as_path(&base))?;
        let own = (
            rustix::process::geteuid().as_raw(),
            rustix::process::getegid().as_raw(),
        );
        Ok(Self {
            root,
            options,
            report: UnpackReport::default(),
            parents: Parents::default(),
            path: base.clone(),
            base,
            times: Vec::new(),
            implied: BTreeSet::new(),
            made: HashSet::new(),
            objects: 0,
            remembered: 0,
            own,
        })
    }

    fn apply<R: Read>(
        &mut self,
        entry: &mut Entry,
        reader: &mut TarReader<R>,
    ) -> Result<(), UnpackError> {
        self.report.entries += 1;
        self.count_object()?;
        self.report.bytes = self.report.bytes.saturating_add(entry.size);
        if self.report.bytes > self.options.bytes_max {
            let max = self.options.bytes_max;
            return Err(UnpackError::Limit {
                what: "the size of all files",
                max,
            });
        }
        if let Some((uid, gid)) = self.options.owner {
            (entry.uid, entry.gid) = (uid, gid);
        }
        let mut path = std::mem::take(&mut self.path);
        path.truncate(self.base.len());
        push_clean(&mut path, &entry.path);
        let answer = self.apply_at(&path, entry, reader);
        self.path = path;
        answer
    }

    fn apply_at<R: Read>(
        &mut self,
        path: &[u8],
        entry: &Entry,
        reader: &mut TarReader<R>,
    ) -> Result<(), UnpackError> {
        if path.len() == self.base.len() {
            return self.apply_to_base(entry);
        }
        // GNU's volume label is a title, not a file.
        if entry.kind == Kind::Other(b'V') {
            return Ok(());
        }
        let (directory, name) = split(path);
        if self.options.whiteouts == Whiteouts::Apply {
            let first = path[self.base.len()..].strip_prefix(b"/").unwrap_or(path);
            if name == OPAQUE_MARK {
                return self.make_opaque(directory, entry.mtime);
            }
            if first.starts_with(WHITEOUT_META_PREFIX) || name.starts_with(WHITEOUT_META_PREFIX) {
                return Ok(());
            }
            if let Some(victim) = name.strip_prefix(WHITEOUT_PREFIX) {
                return self.delete(path, directory, victim, entry.mtime);
            }
        }
        let parent = self.parent(directory, entry.mtime)?;
        let place = Place {
            parent: &parent,
            name: OsStr::from_bytes(name),
            path,
        };
        match entry.kind {
            Kind::Directory => self.make_directory(&place, entry)?,
            Kind::File => self.make_file(&place, entry, reader)?,
            Kind::HardLink => self.make_hard_link(&place, entry)?,
            Kind::Symlink | Kind::CharDevice | Kind::BlockDevice | Kind::Fifo => {
                self.make_special(&place, entry)?;
            }
            Kind::Other(flag) => {
                return Err(UnpackError::UnknownKind {
                    path: to_path(path),
                    flag: flag.into(),
                });
            }
        }
        self.remember_made(path)
    }

    /// An entry for the base itself sets its metadata and nothing else.
    fn apply_to_base(&mut self, entry: &Entry) -> Result<(), UnpackError> {
        if entry.kind != Kind::Directory {
            return Err(UnpackError::NotARoot);
        }
        if !self.options.root_metadata {
            return Ok(());
        }
        let base = self.base.clone();
        let fd = self.root.open_dir(as_path(&base))?;
        let mut entry = entry.clone();
        // A root that nobody can enter helps none but an attacker.
        if entry.mode & 0o500 != 0o500 {
            let stat = rustix::fs::fstat(&fd).map_err(|e| failed("read", &base, e))?;
            entry.mode = stat.st_mode & 0o7777;
        }
        self.set_metadata(fd.as_fd(), &base, &entry, true)?;
        self.remember_time(&base, entry.mtime)
    }

    /// The directory that holds an entry, made with its parents where no entry made it.
    fn parent(
        &mut self,
        directory: &[u8],
        mtime: Time,
    ) -> Result<std::rc::Rc<Parent>, UnpackError> {
        if let Some(parent) = self.parents.get(directory) {
            return Ok(parent);
        }
        let path = as_path(directory);
        let mut made: Vec<PathBuf> = Vec::new();
        let mut hiding: Vec<PathBuf> = Vec::new();
        let fd = loop {
            let answer = self.root.mkdir_all_reporting(path, 0o755, &mut |path| {
                made.push(path.to_path_buf());
            });
            match answer {
                Ok(fd) => break fd,
                Err(error) if error.errno == Errno::NOTDIR => {
                    // A name that this layer deletes and then fills again.
                    self.remove_whiteout(&error)?;
                    hiding.push(error.path);
                }
                Err(error) => return Err(error.into()),
            }
        };
        for path in made {
            self.imply(&path, hiding.contains(&path), mtime)?;
        }
        let parent = Parent::new(fd).map_err(|errno| failed("read", directory, errno))?;
        Ok(self.parents.put(directory, parent))
    }

    /// Removes the mark in the way of a lookup, or returns the lookup's error.
    fn remove_whiteout(&mut self, error: &RootError) -> Result<(), UnpackError> {
        let stat = self.root.symlink_metadata(&error.path)?;
        if self.options.mode != ApplyMode::Layer || !is_whiteout(&stat) {
            return Err(error.clone().into());
        }
        let (parent, name) = self.root.open_parent(&error.path)?;
        rustix::fs::unlinkat(&parent, &name, AtFlags::empty())
            .map_err(|errno| RootError::new("remove", error.path.clone(), errno).into())
    }

    fn imply(&mut self, path: &Path, hides: bool, mtime: Time) -> Result<(), UnpackError> {
        self.count_object()?;
        let fd = self.root.open_dir(path)?;
        let bytes = path.as_os_str().as_bytes();
        // Beneath a set-group-id directory the group would be inherited.
        node::chown(fd.as_fd(), 0, 0).map_err(|errno| failed("chown", bytes, errno))?;
        if hides {
            set_opaque(fd.as_fd(), bytes)?;
        }
        self.remember(bytes.len())?;
        self.implied.insert(bytes.to_vec());
        self.remember_time(bytes, mtime)
    }

    /// Times of directories, last of all; then the lists for the caller.
    fn finish(&mut self) -> Result<(), UnpackError> {
        for (path, time) in std::mem::take(&mut self.times) {
            self.finish_time(&path, time)?;
        }
        for path in std::mem::take(&mut self.implied) {
            // Something else may have taken its place since.
            let stat = self.root.symlink_metadata(as_path(&path));
            if stat.is_ok_and(|stat| is_directory(&stat)) {
                self.report.implied_dirs.push(to_path(&path));
            }
        }
        Ok(())
    }

    fn finish_time(&mut self, path: &[u8], time: Time) -> Result<(), UnpackError> {
        let fail = |errno| failed("set the time of", path, errno);
        if path.is_empty() {
            let fd = self.root.open_dir(Path::new(""))?;
            return node::set_time(fd.as_fd(), time).map_err(fail);
        }
        let (directory, name) = split(path);
        let parent = match self.parents.get(directory) {
            Some(parent) => parent,
            None => match self.root.open_path(as_path(directory)) {
                Ok(fd) => self.parents.put(directory, Parent::new(fd).map_err(fail)?),
                // Replaced by a later entry: it has no time to set any more.
                Err(_) => return Ok(()),
            },
        };
        let name = OsStr::from_bytes(name);
        match rustix::fs::statat(&parent.fd, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) if is_directory(&stat) => {
                node::set_time_at(parent.fd.as_fd(), name, time).map_err(fail)
            }
            _ => Ok(()),
        }
    }

    fn count_object(&mut self) -> Result<(), UnpackError> {
        self.objects += 1;
        let max = self.options.limits.entries_max;
        if self.objects > max {
            return Err(UnpackError::Limit {
                what: "the number of files and directories",
                max,
            });
        }
        Ok(())
    }

    fn remember(&mut self, bytes: usize) -> Result<(), UnpackError> {
        self.remembered += bytes as u64;
        if self.remembered > REMEMBERED_BYTES_MAX {
            let max = REMEMBERED_BYTES_MAX;
            return Err(UnpackError::Limit {
                what: "the length of all directory names",
                max,
            });
        }
        Ok(())
    }

    fn remember_time(&mut self, path: &[u8], time: Time) -> Result<(), UnpackError> {
        self.remember(path.len())?;
        self.times.push((path.to_vec(), time));
        Ok(())
    }

    /// With its parents: none of them may be deleted by a later entry.
    fn remember_made(&mut self, path: &[u8]) -> Result<(), UnpackError> {
        let options = self.options;
        if options.mode != ApplyMode::Merged || options.whiteouts != Whiteouts::Apply {
            return Ok(());
        }
        let mut path = path;
        while !path.is_empty() && !self.made.contains(path) {
            self.remember(path.len())?;
            self.made.insert(path.to_vec());
            path = split(path).0;
        }
        Ok(())
    }
}

/// Where an entry goes.
struct Place<'a> {
    parent: &'a Parent,
    name: &'a OsStr,
    path: &'a [u8],
}

fn failed(op: &'static str, path: &[u8], source: Errno) -> UnpackError {
    UnpackError::Object {
        op,
        path: to_path(path),
        source,
    }
}

fn as_path(path: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(path))
}

fn to_path(path: &[u8]) -> PathBuf {
    PathBuf::from(std::ffi::OsString::from_vec(path.to_vec()))
}

#[cfg(test)]
pub(super) mod tests;
