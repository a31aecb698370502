//! Going down and up a tree with a bounded number of open directories, and removing trees so.
//!
//! A hostile tree is as deep as its maker likes: recursion would end our stack, a descriptor per
//! level our limit. So a ladder keeps the nearest descriptors to the root and reaches deeper levels
//! by `..`, which is believed only if it leads to the directory that was left (device and inode):
//! whoever moves a directory away meanwhile gets an error and not the host.

use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::{RootError, list, stat_nofollow};

/// So many levels keep their descriptor.
const HELD_MAX: usize = 64;
/// How often a directory that others fill meanwhile is emptied again.
const REFILLS_MAX: u32 = 16;

const OPEN: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);

/// A way down from one directory; the deepest is the current one.
#[derive(Debug)]
pub struct Ladder {
    rungs: Vec<Rung>,
}

#[derive(Debug)]
struct Rung {
    fd: Option<OwnedFd>,
    id: (u64, u64),
}

impl Ladder {
    /// Starts at `directory`, which is opened anew (O_PATH is enough).
    pub fn new(directory: BorrowedFd<'_>) -> Result<Self, Errno> {
        let fd = rustix::fs::openat(directory, c".", OPEN, Mode::empty())?;
        let id = identity(fd.as_fd())?;
        Ok(Self {
            rungs: vec![Rung { fd: Some(fd), id }],
        })
    }

    /// The current directory.
    pub fn current(&self) -> BorrowedFd<'_> {
        let top = self.rungs.last().and_then(|rung| rung.fd.as_ref());
        top.expect("invariant: the deepest rung holds its descriptor")
            .as_fd()
    }

    /// Levels below the start.
    pub fn depth(&self) -> usize {
        self.rungs.len() - 1
    }

    /// Enters a directory; a link is ENOTDIR or ELOOP.
    pub fn down(&mut self, name: &OsStr) -> Result<(), Errno> {
        let fd = rustix::fs::openat(self.current(), name, OPEN, Mode::empty())?;
        let id = identity(fd.as_fd())?;
        if self.rungs.len() > HELD_MAX
            && let Some(parent) = self.rungs.last_mut()
        {
            parent.fd = None;
        }
        self.rungs.push(Rung { fd: Some(fd), id });
        Ok(())
    }

    /// Goes back to the parent; false at the start. ESTALE: the directory was moved meanwhile.
    pub fn up(&mut self) -> Result<bool, Errno> {
        let [.., parent, left] = self.rungs.as_slice() else {
            return Ok(false);
        };
        if parent.fd.is_none() {
            let child = left
                .fd
                .as_ref()
                .expect("invariant: the deepest rung holds its descriptor");
            let fd = rustix::fs::openat(child, c"..", OPEN, Mode::empty())?;
            if identity(fd.as_fd())? != parent.id {
                return Err(Errno::STALE);
            }
            let at = self.rungs.len() - 2;
            self.rungs[at].fd = Some(fd);
        }
        self.rungs.pop();
        Ok(true)
    }
}

fn identity(fd: BorrowedFd<'_>) -> Result<(u64, u64), Errno> {
    rustix::fs::fstat(fd).map(|stat| (stat.st_dev, stat.st_ino))
}

/// Removes `name` beneath `parent` with all that is in it. Links are removed, never followed;
/// absent is no error.
pub fn remove_all(parent: BorrowedFd<'_>, name: &OsStr) -> Result<(), RootError> {
    let fail = |errno| RootError::new("remove", Path::new(name), errno);
    for _ in 0..REFILLS_MAX {
        // A single name, or another directory would be reached.
        if matches!(name.as_encoded_bytes(), b"" | b"." | b"..")
            || name.as_encoded_bytes().contains(&b'/')
        {
            return Err(fail(Errno::INVAL));
        }
        match rustix::fs::unlinkat(parent, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => return Ok(()),
            Err(Errno::ISDIR | Errno::PERM) => {}
            Err(errno) => return Err(fail(errno)),
        }
        match rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT) => return Ok(()),
            Err(Errno::NOTEMPTY | Errno::EXIST) => {}
            Err(Errno::NOTDIR) => continue,
            Err(errno) => return Err(fail(errno)),
        }
        match rustix::fs::openat(parent, name, OPEN, Mode::empty()) {
            Ok(fd) => remove_contents(fd.as_fd()).map_err(|error| fail(error.errno))?,
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {}
            Err(errno) => return Err(fail(errno)),
        }
    }
    Err(fail(Errno::NOTEMPTY))
}

/// Empties a directory; it stays itself.
pub fn remove_contents(directory: BorrowedFd<'_>) -> Result<(), RootError> {
    let fail = |errno| RootError::new("empty directory", Path::new("."), errno);
    let mut ladder = Ladder::new(directory).map_err(fail)?;
    // For each level the subdirectories that are still to be emptied.
    let mut pending: Vec<Vec<OsString>> = vec![unlink_files(ladder.current()).map_err(fail)?];
    while let Some(level) = pending.last_mut() {
        let Some(name) = level.last() else {
            pending.pop();
            if !ladder.up().map_err(fail)? {
                break;
            }
            if let Some(name) = pending.last_mut().and_then(Vec::pop) {
                match rustix::fs::unlinkat(ladder.current(), &name, AtFlags::REMOVEDIR) {
                    Ok(()) | Err(Errno::NOENT) => {}
                    Err(errno) => return Err(RootError::new("remove", name, errno)),
                }
            }
            continue;
        };
        match ladder.down(name) {
            Ok(()) => pending.push(unlink_files(ladder.current()).map_err(fail)?),
            // Somebody removed or exchanged it: nothing to enter any more.
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {
                level.pop();
            }
            Err(errno) => return Err(RootError::new("remove", name, errno)),
        }
    }
    Ok(())
}

/// Unlinks all that is no directory and removes empty directories; returns those that are not.
fn unlink_files(directory: BorrowedFd<'_>) -> Result<Vec<OsString>, Errno> {
    let mut directories = Vec::new();
    for item in list(directory)? {
        let mut kind = item.kind;
        if kind == FileType::Unknown {
            kind = match stat_nofollow(directory, &item.name) {
                Ok(stat) => FileType::from_raw_mode(stat.st_mode),
                Err(Errno::NOENT) => continue,
                Err(errno) => return Err(errno),
            };
        }
        let is_directory = kind == FileType::Directory;
        let flags = if is_directory {
            AtFlags::REMOVEDIR
        } else {
            AtFlags::empty()
        };
        match rustix::fs::unlinkat(directory, &item.name, flags) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(Errno::NOTEMPTY | Errno::EXIST | Errno::ISDIR) => directories.push(item.name),
            Err(errno) => return Err(errno),
        }
    }
    Ok(directories)
}
