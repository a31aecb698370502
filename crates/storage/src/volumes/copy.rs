//! Copies of whole trees, sharing blocks where the file system can (reflink).

use std::collections::HashMap;
use std::ffi::{CStr, CString};
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{
    AtFlags, Dir, FileType, Gid, Mode, OFlags, Stat, Timespec, Timestamps, Uid, XattrFlags,
};
use rustix::io::Errno;
use sys::{Context, SysError};

/// Directories within one another; each holds two descriptors meanwhile.
const DEPTH_MAX: usize = 400;
const XATTR_BYTES_MAX: usize = 64 * 1024;

struct Copy<'a> {
    root: BorrowedFd<'a>,
    /// Files with several names: where their first copy is, from the root.
    links: HashMap<(u64, u64), CString>,
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
        links: HashMap::new(),
    };
    copy.directory(from, to, "", 0)?;
    let stat = rustix::fs::fstat(from).on("read", "directory")?;
    attributes(from, to)?;
    own(to, &stat)
}

impl Copy<'_> {
    fn directory(
        &mut self,
        from: BorrowedFd<'_>,
        to: BorrowedFd<'_>,
        path: &str,
        depth: usize,
    ) -> Result<(), SysError> {
        if depth > DEPTH_MAX {
            return Err(SysError::new("copy", path, Errno::NAMETOOLONG));
        }
        for entry in Dir::read_from(from).on("list", path)? {
            let entry = entry.on("list", path)?;
            let name = entry.file_name();
            if name == c"." || name == c".." {
                continue;
            }
            self.object(from, to, name, path, depth)?;
        }
        Ok(())
    }

    fn object(
        &mut self,
        from: BorrowedFd<'_>,
        to: BorrowedFd<'_>,
        name: &CStr,
        parent: &str,
        depth: usize,
    ) -> Result<(), SysError> {
        let shown = format!("{parent}/{}", name.to_string_lossy());
        let stat = match rustix::fs::statat(from, name, AtFlags::SYMLINK_NOFOLLOW) {
            // Removed meanwhile: a running container's data is copied as it is found.
            Err(Errno::NOENT) => return Ok(()),
            other => other.on("read", &shown)?,
        };
        let kind = FileType::from_raw_mode(stat.st_mode);
        if kind != FileType::Directory && stat.st_nlink > 1 && self.is_linked(to, name, &stat)? {
            return Ok(());
        }
        match kind {
            FileType::Directory => {
                let source = open(from, name, OFlags::DIRECTORY).on("open", &shown)?;
                rustix::fs::mkdirat(to, name, Mode::from_raw_mode(0o700)).on("make", &shown)?;
                let target = open(to, name, OFlags::DIRECTORY).on("open", &shown)?;
                self.directory(source.as_fd(), target.as_fd(), &shown, depth + 1)?;
                attributes(source.as_fd(), target.as_fd())?;
                own(target.as_fd(), &stat)?;
            }
            FileType::RegularFile => {
                let source = open(from, name, OFlags::empty()).on("open", &shown)?;
                let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
                let target = rustix::fs::openat(to, name, flags, Mode::from_raw_mode(0o600))
                    .on("make", &shown)?;
                let target = content(source.as_fd(), target, &shown)?;
                attributes(source.as_fd(), target.as_fd())?;
                own(target.as_fd(), &stat)?;
            }
            FileType::Symlink => {
                let link = rustix::fs::readlinkat(from, name, Vec::new()).on("read", &shown)?;
                rustix::fs::symlinkat(link, to, name).on("make", &shown)?;
                own_link(to, name, &stat).on("own", &shown)?;
            }
            // Nobody listens on the copy of a socket.
            FileType::Socket => return Ok(()),
            other => {
                rustix::fs::mknodat(
                    to,
                    name,
                    other,
                    Mode::from_raw_mode(stat.st_mode),
                    stat.st_rdev,
                )
                .on("make", &shown)?;
                let mode = Mode::from_raw_mode(stat.st_mode);
                rustix::fs::chmodat(to, name, mode, AtFlags::empty()).on("own", &shown)?;
                own_link(to, name, &stat).on("own", &shown)?;
            }
        }
        if stat.st_nlink > 1 && kind != FileType::Directory {
            let path = CString::new(shown.trim_start_matches('/')).unwrap_or_default();
            self.links.insert((stat.st_dev, stat.st_ino), path);
        }
        Ok(())
    }

    fn is_linked(&self, to: BorrowedFd<'_>, name: &CStr, stat: &Stat) -> Result<bool, SysError> {
        let Some(first) = self.links.get(&(stat.st_dev, stat.st_ino)) else {
            return Ok(false);
        };
        rustix::fs::linkat(self.root, first.as_c_str(), to, name, AtFlags::empty())
            .on("link", name.to_string_lossy())?;
        Ok(true)
    }
}

fn open(at: BorrowedFd<'_>, name: &CStr, more: OFlags) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK | more;
    rustix::fs::openat(at, name, flags, Mode::empty())
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

fn own_link(to: BorrowedFd<'_>, name: &CStr, stat: &Stat) -> Result<(), Errno> {
    let (uid, gid) = (Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid));
    rustix::fs::chownat(to, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?;
    rustix::fs::utimensat(to, name, &times(stat), AtFlags::SYMLINK_NOFOLLOW)
}
