//! Copies of whole trees, sharing blocks where the file system can (reflink).
//!
//! Both trees are walked by ladders: a tree may be as deep as its maker likes, and whoever moves
//! directories in the source meanwhile gets an error and not the host's files copied.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, Stat, Timespec, Timestamps, Uid, XattrFlags,
};
use rustix::io::Errno;
use sys::rootfs::Ladder;
use sys::{Context, SysError};

const XATTR_BYTES_MAX: usize = 64 * 1024;
/// A path from the root is followed in pieces of at most so many bytes; the kernel takes 4096.
const PIECE_BYTES_MAX: usize = 2048;

struct Copy<'a> {
    root: BorrowedFd<'a>,
    from: Ladder,
    to: Ladder,
    /// From the root to the object that is copied.
    path: Vec<u8>,
    /// Files with several names: where their first copy is, from the root.
    links: HashMap<(u64, u64), Vec<u8>>,
}

/// A directory that is being copied.
struct Level {
    stat: Stat,
    /// Names still to copy.
    names: Vec<OsString>,
    /// Length of its path.
    length: usize,
}

/// Copies what is in a directory, and the directory's own mode, owner, times and attributes, into
/// another, which is empty. Links are copied as links; mounts below are not entered differently
/// from directories.
///
/// # Errors
/// The first object that could not be copied.
pub fn copy_tree(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> Result<(), SysError> {
    let mut copy = Copy {
        root: to,
        from: Ladder::new(from).on("open", "directory")?,
        to: Ladder::new(to).on("open", "directory")?,
        path: Vec::new(),
        links: HashMap::new(),
    };
    copy.tree()
}

impl Copy<'_> {
    fn tree(&mut self) -> Result<(), SysError> {
        let mut levels = vec![self.level()?];
        while let Some(level) = levels.last_mut() {
            self.path.truncate(level.length);
            let Some(name) = level.names.pop() else {
                attributes(self.from.current(), self.to.current())?;
                own(self.to.current(), &level.stat)?;
                levels.pop();
                self.from.up().on("leave", self.shown())?;
                self.to.up().on("leave", self.shown())?;
                continue;
            };
            if !self.path.is_empty() {
                self.path.push(b'/');
            }
            self.path.extend_from_slice(name.as_bytes());
            if self.object(&name)? && self.enter(&name)? {
                levels.push(self.level()?);
            }
        }
        Ok(())
    }

    /// What there is to copy in the current directory.
    fn level(&self) -> Result<Level, SysError> {
        let directory = self.from.current();
        let items = sys::rootfs::list(directory).on("list", self.shown())?;
        Ok(Level {
            stat: rustix::fs::fstat(directory).on("read", self.shown())?,
            names: items.into_iter().rev().map(|item| item.name).collect(),
            length: self.path.len(),
        })
    }

    /// Goes into a directory and makes its copy; `false` where it is gone.
    fn enter(&mut self, name: &OsStr) -> Result<bool, SysError> {
        match self.from.down(name) {
            Ok(()) => {}
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(false),
            Err(errno) => return Err(SysError::new("open", self.shown(), errno)),
        }
        rustix::fs::mkdirat(self.to.current(), name, Mode::from_raw_mode(0o700))
            .on("make", self.shown())?;
        self.to.down(name).on("open", self.shown())?;
        Ok(true)
    }

    /// Copies anything but a directory, for which it answers `true`.
    fn object(&mut self, name: &OsStr) -> Result<bool, SysError> {
        let (from, to) = (self.from.current(), self.to.current());
        let stat = match rustix::fs::statat(from, name, AtFlags::SYMLINK_NOFOLLOW) {
            // Removed meanwhile: a running container's data is copied as it is found.
            Err(Errno::NOENT) => return Ok(false),
            other => other.on("read", self.shown())?,
        };
        let kind = FileType::from_raw_mode(stat.st_mode);
        if kind == FileType::Directory {
            return Ok(true);
        }
        let identity = (stat.st_dev, stat.st_ino);
        if let Some(first) = self.links.get(&identity) {
            self.link(first, name).on("link", self.shown())?;
            return Ok(false);
        }
        match kind {
            FileType::RegularFile => self.file(name)?,
            FileType::Symlink => {
                let link = rustix::fs::readlinkat(from, name, Vec::new());
                let link = link.on("read", self.shown())?;
                rustix::fs::symlinkat(link, to, name).on("make", self.shown())?;
                own_link(to, name, &stat).on("own", self.shown())?;
            }
            // Nobody listens on the copy of a socket.
            FileType::Socket => return Ok(false),
            other => {
                let mode = Mode::from_raw_mode(stat.st_mode);
                rustix::fs::mknodat(to, name, other, mode, stat.st_rdev)
                    .on("make", self.shown())?;
                rustix::fs::chmodat(to, name, mode, AtFlags::empty()).on("own", self.shown())?;
                own_link(to, name, &stat).on("own", self.shown())?;
            }
        }
        if stat.st_nlink > 1 {
            self.links.insert(identity, self.path.clone());
        }
        Ok(false)
    }

    fn file(&self, name: &OsStr) -> Result<(), SysError> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let source = rustix::fs::openat(self.from.current(), name, flags, Mode::empty());
        let source = source.on("open", self.shown())?;
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
        let mode = Mode::from_raw_mode(0o600);
        let target = rustix::fs::openat(self.to.current(), name, flags, mode);
        let target = target.on("make", self.shown())?;
        let target = content(source.as_fd(), target, &self.shown())?;
        attributes(source.as_fd(), target.as_fd())?;
        let stat = rustix::fs::fstat(&source).on("read", self.shown())?;
        own(target.as_fd(), &stat)
    }

    /// Another name for a file that was copied as `first`, whose path may be of any length.
    fn link(&self, first: &[u8], name: &OsStr) -> Result<(), Errno> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let (mut place, mut rest): (Option<OwnedFd>, &[u8]) = (None, first);
        fn at<'a>(place: &'a Option<OwnedFd>, root: BorrowedFd<'a>) -> BorrowedFd<'a> {
            place.as_ref().map_or(root, OwnedFd::as_fd)
        }
        while rest.len() > PIECE_BYTES_MAX {
            let slash = rest[..PIECE_BYTES_MAX]
                .iter()
                .rposition(|byte| *byte == b'/');
            let slash = slash.ok_or(Errno::NAMETOOLONG)?;
            let next =
                rustix::fs::openat(at(&place, self.root), &rest[..slash], flags, Mode::empty())?;
            (place, rest) = (Some(next), &rest[slash + 1..]);
        }
        rustix::fs::linkat(
            at(&place, self.root),
            rest,
            self.to.current(),
            name,
            AtFlags::empty(),
        )
    }

    /// The path, for an error; names are the container's.
    fn shown(&self) -> String {
        const BYTES_MAX: usize = 200;
        let path = String::from_utf8_lossy(&self.path);
        match path.char_indices().nth(BYTES_MAX) {
            Some((end, _)) => format!("{}…", &path[..end]),
            None => path.into_owned(),
        }
    }
}

/// Shares the blocks, else copies them.
fn content(source: BorrowedFd<'_>, target: OwnedFd, shown: &str) -> Result<OwnedFd, SysError> {
    if rustix::fs::ioctl_ficlone(&target, source).is_ok() {
        return Ok(target);
    }
    let mut target = File::from(target);
    let copy = |target: &mut File| -> std::io::Result<()> {
        let mut source = File::from(source.try_clone_to_owned()?);
        std::io::copy(&mut source, target).map(drop)
    };
    copy(&mut target).map_err(|error| {
        let errno = Errno::from_io_error(&error).unwrap_or(Errno::IO);
        SysError::new("copy", shown, errno)
    })?;
    Ok(target.into())
}

/// Extended attributes, those of access control too. What the target's file system does not keep is
/// left out.
fn attributes(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> Result<(), SysError> {
    let mut names = vec![0u8; XATTR_BYTES_MAX];
    let length = match rustix::fs::flistxattr(from, &mut names[..]) {
        Ok(length) => length,
        Err(Errno::OPNOTSUPP) => return Ok(()),
        other => other.on("read", "attributes")?,
    };
    for name in names[..length]
        .split(|byte| *byte == 0)
        .filter(|name| !name.is_empty())
    {
        // An overlay's own are not the file's.
        if name.starts_with(b"trusted.overlay.") {
            continue;
        }
        let mut value = vec![0u8; XATTR_BYTES_MAX];
        let Ok(length) = rustix::fs::fgetxattr(from, name, &mut value[..]) else {
            continue;
        };
        match rustix::fs::fsetxattr(to, name, &value[..length], XattrFlags::empty()) {
            Ok(()) | Err(Errno::OPNOTSUPP) => {}
            other => other.on("set", "attribute")?,
        }
    }
    Ok(())
}

fn times(stat: &Stat) -> Timestamps {
    Timestamps {
        last_access: Timespec {
            tv_sec: stat.st_atime,
            tv_nsec: stat.st_atime_nsec as _,
        },
        last_modification: Timespec {
            tv_sec: stat.st_mtime,
            tv_nsec: stat.st_mtime_nsec as _,
        },
    }
}

/// Owner first: changing it takes the set-id bits away.
fn own(to: BorrowedFd<'_>, stat: &Stat) -> Result<(), SysError> {
    let (uid, gid) = (Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid));
    rustix::fs::fchown(to, Some(uid), Some(gid)).on("own", "copy")?;
    rustix::fs::fchmod(to, Mode::from_raw_mode(stat.st_mode)).on("own", "copy")?;
    rustix::fs::futimens(to, &times(stat)).on("own", "copy")
}

fn own_link(to: BorrowedFd<'_>, name: &OsStr, stat: &Stat) -> Result<(), Errno> {
    let (uid, gid) = (Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid));
    rustix::fs::chownat(to, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?;
    rustix::fs::utimensat(to, name, &times(stat), AtFlags::SYMLINK_NOFOLLOW)
}
