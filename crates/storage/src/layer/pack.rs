//! Packing a directory tree into a tar stream, the same bytes for the same tree.
//!
//! Names are sorted, hard links found by inode, and nothing of ours is written: no names of users,
//! no time of packing. The tree is walked by descriptors and never by paths, so that a running
//! container (`cp`, `export`) can exchange what it likes and gets nothing but its own files packed.
//! What vanishes meanwhile is left out, what shrinks is filled with zeros, and both are reported.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;
use sys::rootfs::Ladder;

use super::{
    CAPABILITY, OPAQUE_MARK, OVERLAY_PREFIX, WHITEOUT_PREFIX, is_image_xattr, is_whiteout, kind,
};
use crate::tar::reader::{LONG_PATH_BYTES_MAX, PATH_BYTES_MAX};
use crate::tar::{Entry, Kind, TarWriter, Time};

/// One read of a file.
const READ_BYTES: usize = 256 * 1024;
/// The longest file that the kernel makes up while it is read, as those in /proc.
const MADE_UP_BYTES_MAX: usize = 16 << 20;
/// The end marker.
const END_BYTES: u64 = 1024;
/// As the kernel's XATTR_LIST_MAX and XATTR_SIZE_MAX.
const XATTR_BYTES_MAX: usize = 64 * 1024;
/// The first guess, right for nearly all.
const XATTR_BYTES: usize = 1024;
/// Permissions of the empty files that stand for deletions; nobody looks at them.
const MARK_MODE: u32 = 0o600;

/// What the tree is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PackMode {
    /// A layer as overlayfs keeps it: its marks become `.wh.` names.
    #[default]
    Overlay,
    /// Files and nothing but files (`export`, `cp`).
    Plain,
}

impl PackMode {
    /// Layers are read by others, who make objects by their whole path.
    fn path_bytes_max(self) -> usize {
        match self {
            Self::Plain => LONG_PATH_BYTES_MAX,
            _ => PATH_BYTES_MAX,
        }
    }
}

/// What becomes of other file systems that are mounted in the tree: of a running container.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mounts {
    /// They are packed like the rest.
    #[default]
    Enter,
    /// An empty directory or file stands for each.
    Leave,
    /// An empty directory stands for those that the kernel makes up, such as /proc.
    LeaveKernels,
}

/// How to pack.
#[derive(Clone, Debug)]
pub struct PackOptions {
    /// What the tree is.
    pub mode: PackMode,
    /// Whether the directory itself gets an entry, `./` where it has no name.
    pub include_root: bool,
    /// Whether times are written to the nanosecond, or cut to the second as Docker does.
    pub nanoseconds: bool,
    /// What becomes of other file systems in it.
    pub mounts: Mounts,
}

impl Default for PackOptions {
    fn default() -> Self {
        Self {
            mode: PackMode::Overlay,
            include_root: false,
            nanoseconds: true,
            mounts: Mounts::Enter,
        }
    }
}

/// What was packed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PackReport {
    /// Entries of the archive.
    pub entries: u64,
    /// Bytes of files.
    pub bytes: u64,
    /// The archive's size, extended headers apart.
    pub plain_bytes: u64,
    /// Sockets, which an archive cannot hold.
    pub sockets: u64,
    /// Objects that vanished, or became another kind, while we looked.
    pub vanished: u64,
    /// Files that became shorter while they were read; zeros took the place of the rest.
    pub shrunk: u64,
}

/// Why a tree was not packed. Names are escaped, they are the image's.
#[derive(Debug, thiserror::Error)]
pub enum PackError {
    /// The archive's sink failed.
    #[error("cannot write the archive")]
    Write(#[source] io::Error),
    /// An object could not be read.
    #[error("cannot {op} {path:?}")]
    Object {
        /// A verb phrase.
        op: &'static str,
        /// The object.
        path: PathBuf,
        /// The kernel's answer.
        source: Errno,
    },
    /// The tree was written by an overlay that was mounted with other options than ours: files of
    /// it are elsewhere.
    #[error("cannot pack {path:?}: overlayfs keeps part of it elsewhere ({attribute:?})")]
    Overlay {
        /// The object.
        path: PathBuf,
        /// The attribute that says so.
        attribute: String,
    },
    /// A file whose name means a deletion in a layer.
    #[error("cannot pack {path:?}: in a layer this name would delete another")]
    ReservedName {
        /// The object.
        path: PathBuf,
    },
    /// Deeper than any reader accepts.
    #[error("cannot pack {path:?}: the path is longer than any reader accepts")]
    PathTooLong {
        /// Its beginning.
        path: PathBuf,
    },
}

/// Packs what is in `directory`, under names that begin with `prefix` (empty: relative names).
pub fn pack_tree(
    directory: BorrowedFd<'_>,
    prefix: &[u8],
    sink: impl Write,
    options: &PackOptions,
) -> Result<PackReport, PackError> {
    let mut packer = Packer::new(sink, options);
    packer.tree(directory, prefix, options.include_root)?;
    packer.finish()
}

/// Packs several directories, each with its own name before its own names, into one archive.
pub fn pack_trees(
    directories: &[(BorrowedFd<'_>, Vec<u8>)],
    sink: impl Write,
    options: &PackOptions,
) -> Result<PackReport, PackError> {
    let mut packer = Packer::new(sink, options);
    for (directory, prefix) in directories {
        packer.tree(*directory, prefix, true)?;
    }
    packer.finish()
}

/// Packs one object, with all that is in it, under the name `archive_name`: `name` beneath `parent`,
/// a link not followed. Absent is ENOENT.
pub fn pack_object(
    parent: BorrowedFd<'_>,
    name: &OsStr,
    archive_name: &[u8],
    sink: impl Write,
    options: &PackOptions,
) -> Result<PackReport, PackError> {
    let mut packer = Packer::new(sink, options);
    let fail = |op, source| failed(op, archive_name, source);
    let stat = stat_at(parent, name).map_err(|errno| fail("read", errno))?;
    if kind(&stat) == FileType::Directory {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(parent, name, flags, Mode::empty())
            .map_err(|errno| fail("open", errno))?;
        packer.tree(fd.as_fd(), archive_name, true)?;
    } else {
        packer.object(parent, name, archive_name)?;
    }
    packer.finish()
}

struct Packer<'a, W: Write> {
    writer: TarWriter<W>,
    options: &'a PackOptions,
    report: PackReport,
    /// The tree's own file system.
    device: Option<u64>,
    /// The first name of each file that has several.
    links: HashMap<(u64, u64), Vec<u8>>,
    buffer: Vec<u8>,
}

/// What the caller of [`Packer::object`] has to do.
#[derive(PartialEq, Eq)]
enum Visit {
    Enter,
    Done,
}

impl<'a, W: Write> Packer<'a, W> {
    fn new(sink: W, options: &'a PackOptions) -> Self {
        Self {
            writer: TarWriter::new(sink),
            options,
            report: PackReport::default(),
            device: None,
            links: HashMap::new(),
            buffer: vec![0; READ_BYTES],
        }
    }

    fn finish(mut self) -> Result<PackReport, PackError> {
        self.report.plain_bytes = self.writer.plain_bytes() + END_BYTES;
        self.writer.finish().map_err(PackError::Write)?;
        Ok(self.report)
    }

    fn tree(
        &mut self,
        directory: BorrowedFd<'_>,
        prefix: &[u8],
        include_root: bool,
    ) -> Result<(), PackError> {
        let mut path = prefix.to_vec();
        self.device = rustix::fs::fstat(directory).ok().map(|stat| stat.st_dev);
        let mut ladder = Ladder::new(directory).map_err(|errno| failed("open", &path, errno))?;
        if include_root {
            self.directory(ladder.current(), if path.is_empty() { b"." } else { &path })?;
        }
        // For each level what is still to be packed, and how long the path of the level is.
        let mut levels = vec![(self.names(&ladder, &path)?, path.len())];
        while let Some((names, length)) = levels.last_mut() {
            path.truncate(*length);
            let Some(name) = names.pop() else {
                levels.pop();
                ladder.up().map_err(|errno| failed("leave", &path, errno))?;
                continue;
            };
            if !path.is_empty() {
                path.push(b'/');
            }
            path.extend_from_slice(name.as_bytes());
            if path.len() > self.options.mode.path_bytes_max() {
                path.truncate(100);
                return Err(PackError::PathTooLong {
                    path: to_path(&path),
                });
            }
            if self.object(ladder.current(), &name, &path)? == Visit::Enter {
                match ladder.down(&name) {
                    Ok(()) => {
                        self.directory(ladder.current(), &path)?;
                        let names = match self.is_left(ladder.current()) {
                            true => Vec::new(),
                            false => self.names(&ladder, &path)?,
                        };
                        levels.push((names, path.len()));
                    }
                    Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => self.report.vanished += 1,
                    Err(errno) => return Err(failed("open", &path, errno)),
                }
            }
        }
        Ok(())
    }

    /// Whether something is another file system of which nothing is packed.
    fn is_left(&self, fd: BorrowedFd<'_>) -> bool {
        const PROC: i64 = 0x9fa0;
        const SYSFS: i64 = 0x6265_6572;
        const CGROUP: i64 = 0x27_e0eb;
        const CGROUP2: i64 = 0x6367_7270;
        const DEVPTS: i64 = 0x1cd1;
        const MQUEUE: i64 = 0x1980_0202;
        let is_other = || {
            let stat = rustix::fs::fstat(fd);
            stat.is_ok_and(|stat| self.device.is_some_and(|own| own != stat.st_dev))
        };
        let is_kernels = || {
            let kernels = [PROC, SYSFS, CGROUP, CGROUP2, DEVPTS, MQUEUE];
            rustix::fs::fstatfs(fd).is_ok_and(|found| kernels.contains(&{ found.f_type }))
        };
        match self.options.mounts {
            Mounts::Enter => false,
            Mounts::Leave => is_other(),
            Mounts::LeaveKernels => is_other() && is_kernels(),
        }
    }

    /// The names in the current directory, the first last.
    fn names(&self, ladder: &Ladder, path: &[u8]) -> Result<Vec<OsString>, PackError> {
        let items =
            sys::rootfs::list(ladder.current()).map_err(|errno| failed("list", path, errno))?;
        let mut names: Vec<OsString> = items.into_iter().map(|item| item.name).collect();
        names.sort_unstable_by(|a, b| b.cmp(a));
        Ok(names)
    }

    /// Packs anything but a directory.
    fn object(
        &mut self,
        parent: BorrowedFd<'_>,
        name: &OsStr,
        path: &[u8],
    ) -> Result<Visit, PackError> {
        let stat = match stat_at(parent, name) {
            Ok(stat) => stat,
            Err(Errno::NOENT) => {
                self.report.vanished += 1;
                return Ok(Visit::Done);
            }
            Err(errno) => return Err(failed("read", path, errno)),
        };
        if self.options.mode == PackMode::Overlay {
            if is_whiteout(&stat) {
                self.mark(path, &[WHITEOUT_PREFIX, name.as_bytes()].concat())?;
                return Ok(Visit::Done);
            }
            if name.as_bytes().starts_with(WHITEOUT_PREFIX) {
                return Err(PackError::ReservedName {
                    path: to_path(path),
                });
            }
        }
        match kind(&stat) {
            FileType::Directory => return Ok(Visit::Enter),
            FileType::RegularFile => self.file(parent, name, path)?,
            FileType::Socket => self.report.sockets += 1,
            _ => self.special(parent, name, path, &stat)?,
        }
        Ok(Visit::Done)
    }

    /// An empty file beside or in what it is about: `path` with `name` for its last component.
    fn mark(&mut self, path: &[u8], name: &[u8]) -> Result<(), PackError> {
        let (directory, _) = super::split(path);
        let path = if directory.is_empty() {
            name.to_vec()
        } else {
            [directory, b"/", name].concat()
        };
        self.append(&Entry {
            path,
            mode: MARK_MODE,
            ..Entry::default()
        })
    }

    fn directory(&mut self, fd: BorrowedFd<'_>, path: &[u8]) -> Result<(), PackError> {
        let stat = rustix::fs::fstat(fd).map_err(|errno| failed("read", path, errno))?;
        let mut entry = self.entry(path, &stat);
        entry.kind = Kind::Directory;
        entry.path.push(b'/');
        let opaque = self.xattrs(&mut entry, path, &Source::Open(fd))?;
        self.append(&entry)?;
        if opaque {
            self.mark(&[path, b"/."].concat(), OPAQUE_MARK)?;
        }
        Ok(())
    }

    fn file(&mut self, parent: BorrowedFd<'_>, name: &OsStr, path: &[u8]) -> Result<(), PackError> {
        // Should it have become a FIFO or a terminal by now, neither is waited for nor taken.
        let flags =
            OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let fd = match rustix::fs::openat(parent, name, flags, Mode::empty()) {
            Ok(fd) => fd,
            Err(Errno::NOENT | Errno::LOOP | Errno::NXIO) => {
                self.report.vanished += 1;
                return Ok(());
            }
            Err(errno) => return Err(failed("open", path, errno)),
        };
        let stat = rustix::fs::fstat(&fd).map_err(|errno| failed("read", path, errno))?;
        if kind(&stat) != FileType::RegularFile {
            self.report.vanished += 1;
            return Ok(());
        }
        let mut entry = self.entry(path, &stat);
        if self.link(&mut entry, &stat)? {
            return Ok(());
        }
        if self.is_left(fd.as_fd()) {
            return self.append(&entry);
        }
        let made_up = match self.options.mode == PackMode::Plain && may_be_made_up(&stat) {
            true => Some(read_made_up(&fd, path)?),
            false => None,
        };
        entry.size = match &made_up {
            Some(bytes) => bytes.len() as u64,
            None => u64::try_from(stat.st_size).unwrap_or(0),
        };
        self.xattrs(&mut entry, path, &Source::Open(fd.as_fd()))?;
        self.append(&entry)?;
        self.report.bytes += entry.size;
        match made_up {
            Some(bytes) => self.writer.write_data(&bytes).map_err(PackError::Write),
            None => self.data(&fd, path),
        }
    }

    /// If the file was packed under another name, packs a link to that and is done.
    fn link(&mut self, entry: &mut Entry, stat: &Stat) -> Result<bool, PackError> {
        if stat.st_nlink < 2 {
            return Ok(false);
        }
        let identity = (stat.st_dev, stat.st_ino);
        match self.links.get(&identity) {
            Some(first) => {
                entry.link.clone_from(first);
                entry.kind = Kind::HardLink;
                self.append(entry)?;
                Ok(true)
            }
            None => {
                self.links.insert(identity, entry.path.clone());
                Ok(false)
            }
        }
    }

    fn data(&mut self, fd: &OwnedFd, path: &[u8]) -> Result<(), PackError> {
        while self.writer.data_left() > 0 {
            let wanted = usize::try_from(self.writer.data_left()).unwrap_or(READ_BYTES);
            let wanted = wanted.min(READ_BYTES);
            let count = match rustix::io::read(fd, &mut self.buffer[..wanted]) {
                Ok(0) => {
                    self.report.shrunk += 1;
                    break;
                }
                Ok(count) => count,
                Err(Errno::INTR) => continue,
                Err(errno) => return Err(failed("read", path, errno)),
            };
            self.writer
                .write_data(&self.buffer[..count])
                .map_err(PackError::Write)?;
        }
        if self.writer.data_left() > 0 {
            self.buffer.fill(0);
        }
        while self.writer.data_left() > 0 {
            let length = usize::try_from(self.writer.data_left()).unwrap_or(READ_BYTES);
            let zeros = &self.buffer[..length.min(READ_BYTES)];
            self.writer.write_data(zeros).map_err(PackError::Write)?;
        }
        Ok(())
    }

    fn special(
        &mut self,
        parent: BorrowedFd<'_>,
        name: &OsStr,
        path: &[u8],
        stat: &Stat,
    ) -> Result<(), PackError> {
        let mut entry = self.entry(path, stat);
        entry.kind = match kind(stat) {
            FileType::Symlink => Kind::Symlink,
            FileType::CharacterDevice => Kind::CharDevice,
            FileType::BlockDevice => Kind::BlockDevice,
            _ => Kind::Fifo,
        };
        if entry.kind == Kind::Symlink {
            match rustix::fs::readlinkat(parent, name, Vec::new()) {
                Ok(target) => entry.link = target.into_bytes(),
                Err(Errno::NOENT | Errno::INVAL) => {
                    self.report.vanished += 1;
                    return Ok(());
                }
                Err(errno) => return Err(failed("read link", path, errno)),
            }
            // Its permissions mean nothing, and file systems differ in what they say.
            entry.mode = 0o777;
        } else if entry.kind != Kind::Fifo {
            let device = stat.st_rdev;
            entry.device = (rustix::fs::major(device), rustix::fs::minor(device));
        }
        if self.link(&mut entry, stat)? {
            return Ok(());
        }
        // These cannot be opened, and the calls on them take paths: one that ends at the name.
        let directory = format!("/proc/self/fd/{}/", parent.as_raw_fd());
        let place = [directory.as_bytes(), name.as_bytes()].concat();
        self.xattrs(&mut entry, path, &Source::At(to_path(&place)))?;
        self.append(&entry)
    }

    fn entry(&self, path: &[u8], stat: &Stat) -> Entry {
        let nanoseconds = if self.options.nanoseconds {
            stat.st_mtime_nsec as u32
        } else {
            0
        };
        Entry {
            path: path.to_vec(),
            mode: stat.st_mode & 0o7777,
            uid: stat.st_uid,
            gid: stat.st_gid,
            mtime: Time {
                seconds: stat.st_mtime,
                nanoseconds,
            },
            ..Entry::default()
        }
    }

    /// The image's attributes, sorted; true if the object is opaque.
    fn xattrs(
        &self,
        entry: &mut Entry,
        path: &[u8],
        source: &Source<'_>,
    ) -> Result<bool, PackError> {
        let fail = |errno| failed("read the attributes of", path, errno);
        let mut opaque = false;
        let list = match sized(|buffer| source.list(buffer)) {
            Ok(list) => list,
            Err(Errno::NOTSUP | Errno::NOENT) => return Ok(false),
            Err(errno) => return Err(fail(errno)),
        };
        for name in list
            .split(|&byte| byte == 0)
            .filter(|name| !name.is_empty())
        {
            let own = name.strip_prefix(OVERLAY_PREFIX);
            let is_overlays = own.is_some() && self.options.mode == PackMode::Overlay;
            if !is_overlays && !is_image_xattr(name) {
                continue;
            }
            let value = match sized(|buffer| source.get(name, buffer)) {
                Ok(value) => value,
                Err(Errno::NODATA) => continue,
                Err(errno) => return Err(fail(errno)),
            };
            match own {
                None if name == CAPABILITY => {
                    entry
                        .xattrs
                        .push((name.to_vec(), portable_capability(value)));
                }
                None => entry.xattrs.push((name.to_vec(), value)),
                Some(b"opaque") if value == b"y" => opaque = true,
                Some(b"opaque" | b"redirect" | b"metacopy" | b"whiteout" | b"whiteouts") => {
                    let attribute = String::from_utf8_lossy(name).into_owned();
                    return Err(PackError::Overlay {
                        path: to_path(path),
                        attribute,
                    });
                }
                // origin, impure, nlink and the like: of use to this file system alone.
                Some(_) => {}
            }
        }
        entry.xattrs.sort();
        Ok(opaque)
    }

    fn append(&mut self, entry: &Entry) -> Result<(), PackError> {
        self.report.entries += 1;
        self.writer.append(entry).map_err(PackError::Write)
    }
}

/// Whose attributes are read: an open object's, or by a path whose end is not followed.
enum Source<'a> {
    Open(BorrowedFd<'a>),
    At(PathBuf),
}

impl Source<'_> {
    fn list(&self, buffer: &mut [u8]) -> Result<usize, Errno> {
        match self {
            Self::Open(fd) => rustix::fs::flistxattr(fd, buffer),
            Self::At(path) => rustix::fs::llistxattr(path, buffer),
        }
    }

    fn get(&self, name: &[u8], buffer: &mut [u8]) -> Result<usize, Errno> {
        match self {
            Self::Open(fd) => rustix::fs::fgetxattr(fd, name, buffer),
            Self::At(path) => rustix::fs::lgetxattr(path, name, buffer),
        }
    }
}

/// Whether a file may hold other than its size says: those that the kernel makes up while they are read
/// have no blocks, and a size of nothing (/proc) or of a page (/sys).
fn may_be_made_up(stat: &Stat) -> bool {
    const PAGE_BYTES: i64 = 4096;
    stat.st_blocks == 0 && stat.st_size <= PAGE_BYTES
}

/// Reads such a file to its end, because its header comes first.
fn read_made_up(fd: &OwnedFd, path: &[u8]) -> Result<Vec<u8>, PackError> {
    let mut bytes = Vec::new();
    let mut part = [0; 4096];
    loop {
        match rustix::io::read(fd, &mut part) {
            Ok(0) => return Ok(bytes),
            Ok(count) => bytes.extend_from_slice(&part[..count]),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(failed("read", path, errno)),
        }
        if bytes.len() > MADE_UP_BYTES_MAX {
            return Err(failed("read", path, Errno::FBIG));
        }
    }
}

/// Reads into a small buffer, and into the largest if that is not enough.
fn sized(read: impl Fn(&mut [u8]) -> Result<usize, Errno>) -> Result<Vec<u8>, Errno> {
    let mut small = [0; XATTR_BYTES];
    match read(&mut small) {
        Ok(length) => return Ok(small[..length].to_vec()),
        Err(Errno::RANGE) => {}
        Err(errno) => return Err(errno),
    }
    let mut large = vec![0; XATTR_BYTES_MAX];
    let length = read(&mut large)?;
    large.truncate(length);
    Ok(large)
}

/// Revision 3 of file capabilities names the root user of a namespace. For the true root it is
/// written as revision 2, which other engines and older kernels read.
fn portable_capability(mut value: Vec<u8>) -> Vec<u8> {
    const LENGTH_2: usize = 20;
    const LENGTH_3: usize = 24;
    let for_true_root = value.len() == LENGTH_3 && value[LENGTH_2..] == [0; 4];
    // Little endian: the revision is in the highest byte of the first number.
    if for_true_root && value[3] == 3 {
        value.truncate(LENGTH_2);
        value[3] = 2;
    }
    value
}

fn stat_at(parent: BorrowedFd<'_>, name: &OsStr) -> Result<Stat, Errno> {
    rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)
}

fn failed(op: &'static str, path: &[u8], source: Errno) -> PackError {
    PackError::Object {
        op,
        path: to_path(path),
        source,
    }
}

fn to_path(path: &[u8]) -> PathBuf {
    PathBuf::from(OsString::from_vec(path.to_vec()))
}

#[cfg(test)]
pub(super) mod tests;
