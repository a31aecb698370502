//! Paths beneath the root of an image or a container.
//!
//! A root file system belongs to somebody else: any component of a path in it may be a link, and a
//! running container may exchange components while we look. So a path is never resolved as a
//! string: [`Dir`] holds the root's descriptor, and every lookup is one
//! `openat2(RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS)` (kernel 5.6), where links and `..` cannot
//! leave the root. Where openat2 is missing (ENOSYS, or EPERM by a seccomp filter) a walk opens one
//! component at a time with O_NOFOLLOW and follows links itself; the same walk makes missing
//! directories. What follows a lookup is one `*at` call on a single name beneath a descriptor.
//!
//! Used by `runtime` (mount targets, devices, passwd files), `storage` (layers) and `engine` (cp).
//! Tested below: both ways of resolving against one table, races, and special files.

mod ladder;
mod walk;

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;

pub use ladder::{Ladder, remove_all, remove_contents};
use walk::{Made, Walk};

/// How often a lookup that raced with a rename (EAGAIN) is tried again before the walk takes over.
const EAGAIN_RETRIES_MAX: u32 = 64;

/// Set once openat2 answered ENOSYS: that does not change while we live.
static OPENAT2_MISSING: AtomicBool = AtomicBool::new(false);

/// A failed operation beneath a root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RootError {
    /// The operation, as a verb phrase: `cannot <op> <path>`.
    pub op: &'static str,
    /// The path, as seen from the root.
    pub path: PathBuf,
    /// The kernel's answer.
    pub errno: Errno,
}

impl RootError {
    /// Builds the error of `op` on `path`.
    pub fn new(op: &'static str, path: impl Into<PathBuf>, errno: Errno) -> Self {
        Self {
            op,
            path: path.into(),
            errno,
        }
    }

    /// Whether the object does not exist.
    pub fn is_not_found(&self) -> bool {
        self.errno == Errno::NOENT
    }
}

impl fmt::Display for RootError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Debug form: names come from images, and control characters must not reach a terminal.
        let text = crate::error::describe(self.errno);
        write!(f, "cannot {} {:?}: {text}", self.op, self.path)
    }
}

impl std::error::Error for RootError {}

impl From<RootError> for crate::SysError {
    fn from(error: RootError) -> Self {
        crate::SysError::new(error.op, error.path.display().to_string(), error.errno)
    }
}

/// The root of a file system that is not ours. Paths are seen from it: absolute or not is the same.
#[derive(Debug)]
pub struct Dir {
    fd: OwnedFd,
}

impl AsFd for Dir {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// What a directory lists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirItem {
    /// The name, never `.` or `..`.
    pub name: OsString,
    /// The kind as the file system lists it; `Unknown` where it does not say.
    pub kind: FileType,
}

impl Dir {
    /// Opens a directory of the host (a path we made ourselves) as a root.
    pub fn open(path: &Path) -> Result<Self, RootError> {
        let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC;
        match rustix::fs::openat(CWD, path, flags, Mode::empty()) {
            Ok(fd) => Ok(Self { fd }),
            Err(errno) => Err(RootError::new("open directory", path, errno)),
        }
    }

    /// Takes a directory's descriptor (O_PATH is enough) as a root.
    pub fn from_fd(fd: OwnedFd) -> Self {
        Self { fd }
    }

    /// Gives the descriptor back.
    pub fn into_fd(self) -> OwnedFd {
        self.fd
    }

    /// Opens a directory for reading, links followed within the root.
    pub fn open_dir(&self, path: &Path) -> Result<OwnedFd, RootError> {
        self.resolve(
            "open directory",
            path,
            OFlags::RDONLY | OFlags::DIRECTORY,
            0,
        )
    }

    /// Opens a file, links followed within the root. The caller decides about O_NONBLOCK: opening
    /// a FIFO without it waits for its other end.
    pub fn open_file(&self, path: &Path, flags: OFlags, mode: u32) -> Result<OwnedFd, RootError> {
        self.resolve("open", path, flags | OFlags::NOCTTY, mode)
    }

    /// Opens whatever is there as a place (O_PATH), links followed within the root.
    pub fn open_path(&self, path: &Path) -> Result<OwnedFd, RootError> {
        self.resolve("find", path, OFlags::PATH, 0)
    }

    /// As [`Dir::open_path`], but what leads out of the root is refused (EXDEV) and not seen from
    /// it: absolute links, and `..` above it.
    pub fn open_path_beneath(&self, path: &Path) -> Result<OwnedFd, RootError> {
        let how = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        for _ in 0..EAGAIN_RETRIES_MAX {
            match rustix::fs::openat2(&self.fd, path, flags, Mode::empty(), how) {
                Err(Errno::AGAIN | Errno::INTR) => {}
                answer => return answer.map_err(|errno| RootError::new("find", path, errno)),
            }
        }
        Err(RootError::new("find", path, Errno::AGAIN))
    }

    /// As [`Dir::open_path`], but a link at the end is opened itself.
    pub fn open_path_nofollow(&self, path: &Path) -> Result<OwnedFd, RootError> {
        self.resolve("find", path, OFlags::PATH | OFlags::NOFOLLOW, 0)
    }

    /// The directory (O_PATH) that holds the last component, and that component, which is not
    /// looked up. `/`, `.` and `..` have no such component: EINVAL.
    pub fn open_parent(&self, path: &Path) -> Result<(OwnedFd, OsString), RootError> {
        let (parent, name) = split_last(path)
            .ok_or_else(|| RootError::new("find the parent of", path, Errno::INVAL))?;
        let fd = self.resolve("find", parent, OFlags::PATH | OFlags::DIRECTORY, 0)?;
        Ok((fd, name.to_os_string()))
    }

    /// Makes a directory and its missing parents, all with `mode` (the umask does not count), and
    /// returns it as a place (O_PATH). Links are followed within the root, and where they lead
    /// nowhere the directory is made there. Others may make the same directories at once.
    pub fn mkdir_all(&self, path: &Path, mode: u32) -> Result<OwnedFd, RootError> {
        self.mkdir_all_reporting(path, mode, &mut |_| {})
    }

    /// As [`Dir::mkdir_all`]; `made` is told each directory that was made, by its true path from
    /// the root. The path in an error is the true path of the component in the way.
    pub fn mkdir_all_reporting(
        &self,
        path: &Path,
        mode: u32,
        made: &mut dyn FnMut(&Path),
    ) -> Result<OwnedFd, RootError> {
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        match self.resolve("make directory", path, flags, 0) {
            Ok(fd) => return Ok(fd),
            Err(error) if error.errno == Errno::NOENT || error.errno == Errno::NOTDIR => {}
            Err(error) => return Err(error),
        }
        let mut walk = Walk::start(self.as_fd(), "make directory", path)?;
        walk.make_missing(Made { mode, report: made });
        walk.directory()
    }

    /// What is known of the object, links followed within the root.
    pub fn metadata(&self, path: &Path) -> Result<Stat, RootError> {
        let fd = self.open_path(path)?;
        rustix::fs::fstat(&fd).map_err(|errno| RootError::new("read", path, errno))
    }

    /// What is known of the object itself, also if it is a link.
    pub fn symlink_metadata(&self, path: &Path) -> Result<Stat, RootError> {
        let fd = self.open_path_nofollow(path)?;
        rustix::fs::fstat(&fd).map_err(|errno| RootError::new("read", path, errno))
    }

    /// Where a link points, as its text.
    pub fn read_link(&self, path: &Path) -> Result<OsString, RootError> {
        let (parent, name) = self.open_parent(path)?;
        match rustix::fs::readlinkat(&parent, &name, Vec::new()) {
            Ok(target) => Ok(OsString::from_vec(target.into_bytes())),
            Err(errno) => Err(RootError::new("read link", path, errno)),
        }
    }

    /// Reads a small regular file. Never blocks and never opens a device: the object is looked at
    /// as a place first (CVE-2024-9676: a passwd file that is a FIFO). Larger than `max`: EFBIG;
    /// not a regular file: EINVAL.
    pub fn read_limited(&self, path: &Path, max: usize) -> Result<Vec<u8>, RootError> {
        let fail = |errno| RootError::new("read", path, errno);
        if !is_regular(&self.metadata(path)?) {
            return Err(fail(Errno::INVAL));
        }
        let fd = self.open_file(path, OFlags::RDONLY | OFlags::NONBLOCK, 0)?;
        // Between the two lookups it may have become something else; nothing was read from it.
        let stat = rustix::fs::fstat(&fd).map_err(fail)?;
        if !is_regular(&stat) {
            return Err(fail(Errno::INVAL));
        }
        if u64::try_from(stat.st_size).is_ok_and(|size| size > max as u64) {
            return Err(fail(Errno::FBIG));
        }
        let mut bytes = Vec::new();
        std::fs::File::from(fd)
            .take(max as u64 + 1)
            .read_to_end(&mut bytes)
            .map_err(|error| fail(Errno::from_io_error(&error).unwrap_or(Errno::IO)))?;
        if bytes.len() > max {
            Err(fail(Errno::FBIG))
        } else {
            Ok(bytes)
        }
    }

    /// As [`Dir::read_limited`], as text: bytes that are no UTF-8 are EILSEQ.
    pub fn read_to_string_limited(&self, path: &Path, max: usize) -> Result<String, RootError> {
        String::from_utf8(self.read_limited(path, max)?)
            .map_err(|_| RootError::new("read", path, Errno::ILSEQ))
    }

    /// The place (O_PATH) that a file is mounted on: what is there, links followed within the root,
    /// else a new empty file, its parents made where they are missing. A directory is EISDIR.
    pub fn create_file_for_mount(&self, path: &Path) -> Result<OwnedFd, RootError> {
        let op = "make file";
        let fd = match self.resolve(op, path, OFlags::PATH, 0) {
            Ok(fd) => fd,
            Err(error) if error.errno == Errno::NOENT => {
                let mut unheard = |_: &Path| {};
                let mut walk = Walk::start(self.as_fd(), op, path)?;
                walk.make_missing(Made {
                    mode: 0o755,
                    report: &mut unheard,
                });
                walk.place_of_file(0o644)?
            }
            Err(error) => return Err(error),
        };
        let stat = rustix::fs::fstat(&fd).map_err(|errno| RootError::new(op, path, errno))?;
        if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
            return Err(RootError::new(op, path, Errno::ISDIR));
        }
        Ok(fd)
    }

    /// Removes whatever is at the path, never following a link at its end; absent is no error.
    pub fn remove_all(&self, path: &Path) -> Result<(), RootError> {
        match self.open_parent(path) {
            Ok((parent, name)) => remove_all(parent.as_fd(), &name)
                .map_err(|error| RootError::new(error.op, path, error.errno)),
            Err(error) if error.is_not_found() => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// What the directory lists, in the file system's order.
    pub fn read_dir(&self, path: &Path) -> Result<Vec<DirItem>, RootError> {
        let fd = self.open_dir(path)?;
        list(fd.as_fd()).map_err(|errno| RootError::new("list", path, errno))
    }

    fn resolve(
        &self,
        op: &'static str,
        path: &Path,
        flags: OFlags,
        mode: u32,
    ) -> Result<OwnedFd, RootError> {
        match self.resolve_at_once(path, flags, mode) {
            Some(answer) => answer.map_err(|errno| RootError::new(op, path, errno)),
            None => self.resolve_by_walk(op, path, flags, mode),
        }
    }

    /// By openat2; `None` where the walk has to do it.
    fn resolve_at_once(
        &self,
        path: &Path,
        flags: OFlags,
        mode: u32,
    ) -> Option<Result<OwnedFd, Errno>> {
        if OPENAT2_MISSING.load(Ordering::Relaxed) {
            return None;
        }
        let path = if path.as_os_str().is_empty() {
            Path::new("/")
        } else {
            path
        };
        let how = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        // openat2 refuses a mode without O_CREAT.
        let mode = if flags.contains(OFlags::CREATE) {
            mode & 0o7777
        } else {
            0
        };
        let flags = flags | OFlags::CLOEXEC;
        for _ in 0..EAGAIN_RETRIES_MAX {
            match rustix::fs::openat2(&self.fd, path, flags, Mode::from_raw_mode(mode), how) {
                Err(Errno::AGAIN | Errno::INTR) => {}
                Err(Errno::NOSYS) => {
                    OPENAT2_MISSING.store(true, Ordering::Relaxed);
                    return None;
                }
                Err(Errno::PERM) => return None,
                answer => return Some(answer),
            }
        }
        None
    }

    fn resolve_by_walk(
        &self,
        op: &'static str,
        path: &Path,
        flags: OFlags,
        mode: u32,
    ) -> Result<OwnedFd, RootError> {
        let mut walk = Walk::start(self.as_fd(), op, path)?;
        walk.open(flags | OFlags::CLOEXEC, Mode::from_raw_mode(mode & 0o7777))
            .map_err(|error| RootError::new(op, path, error.errno))
    }
}

/// Lists an open directory (O_PATH is enough), in the file system's order.
pub fn list(directory: BorrowedFd<'_>) -> Result<Vec<DirItem>, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let fd = rustix::fs::openat(directory, c".", flags, Mode::empty())?;
    let mut reader = rustix::fs::Dir::new(fd)?;
    let mut items = Vec::new();
    while let Some(entry) = reader.read() {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            let name = OsStr::from_bytes(name).to_os_string();
            items.push(DirItem {
                name,
                kind: entry.file_type(),
            });
        }
    }
    Ok(items)
}

/// Splits off the last component by the text alone: `a/b/` is (`a`, `b`).
fn split_last(path: &Path) -> Option<(&Path, &OsStr)> {
    let mut bytes = path.as_os_str().as_bytes();
    loop {
        if let Some(rest) = bytes.strip_suffix(b"/") {
            bytes = rest;
        } else if let Some(rest) = bytes.strip_suffix(b"/.") {
            bytes = rest;
        } else {
            break;
        }
    }
    let start = bytes
        .iter()
        .rposition(|&byte| byte == b'/')
        .map_or(0, |slash| slash + 1);
    let (parent, name) = bytes.split_at(start);
    match name {
        b"" | b"." | b".." => None,
        name => Some((
            Path::new(OsStr::from_bytes(parent)),
            OsStr::from_bytes(name),
        )),
    }
}

fn is_regular(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile
}

/// The object itself, never what a link points to.
fn stat_nofollow(parent: BorrowedFd<'_>, name: &OsStr) -> Result<Stat, Errno> {
    rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)
}

#[cfg(test)]
mod tests;
