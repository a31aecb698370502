//! Making one object and giving it its metadata.
//!
//! Order: owner (which clears set-user-id and capabilities), mode, attributes, time. Always through
//! a descriptor of the object itself, or a call that does not follow links: a running container may
//! exchange the name at any moment.

use std::ffi::OsStr;
use std::io::Read;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Timespec, Timestamps, Uid, XattrFlags};
use rustix::io::Errno;

use super::super::{is_directory, is_image_xattr, is_whiteout, push_clean, split};
use super::delete::set_opaque;
use super::parents::Parent;
use super::{
    ApplyMode, Place, RACES_MAX, Replace, UnpackError, Unpacker, as_path, failed, to_path,
};
use crate::tar::{Entry, Kind, TarReader, Time};

/// One write: the reader's buffer is not larger.
const WRITE_BYTES: usize = 1 << 20;

impl Unpacker<'_> {
    pub(super) fn make_directory(
        &mut self,
        place: &Place<'_>,
        entry: &Entry,
    ) -> Result<(), UnpackError> {
        let mut fresh = true;
        let mut replaced = false;
        let parent = place.parent.fd.as_fd();
        for _ in 0..RACES_MAX {
            fresh = match rustix::fs::mkdirat(parent, place.name, Mode::from_raw_mode(0o700)) {
                Ok(()) => true,
                Err(Errno::EXIST) => false,
                Err(errno) => return Err(failed("make directory", place.path, errno)),
            };
            if fresh || !self.remove_unless_directory(place)? {
                break;
            }
            replaced = true;
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(parent, place.name, flags, Mode::empty())
            .map_err(|errno| failed("open directory", place.path, errno))?;
        if replaced && self.options.mode == ApplyMode::Layer {
            // What was there hid the lower layers' directory of this name; so must this one.
            set_opaque(fd.as_fd(), place.path)?;
        }
        let own = fresh && self.would_own(place.parent, entry);
        self.set_metadata(fd.as_fd(), place.path, entry, !own)?;
        self.implied.remove(place.path);
        self.remember_time(place.path, entry.mtime)?;
        let directory = Parent::new(fd).map_err(|errno| failed("read", place.path, errno))?;
        self.parents.put(place.path, directory);
        Ok(())
    }

    pub(super) fn make_file<R: Read>(
        &mut self,
        place: &Place<'_>,
        entry: &Entry,
        reader: &mut TarReader<R>,
    ) -> Result<(), UnpackError> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let mode = Mode::from_raw_mode(0o600);
        let fd = self.make_anew(place, "make file", |parent, name| {
            rustix::fs::openat(parent, name, flags, mode)
        })?;
        write_data(&fd, entry, reader, place.path)?;
        let own = self.would_own(place.parent, entry);
        self.set_metadata(fd.as_fd(), place.path, entry, !own)?;
        set_time(fd.as_fd(), entry.mtime)
            .map_err(|errno| failed("set the time of", place.path, errno))
    }

    /// Links the target itself, also if that is a symbolic link.
    pub(super) fn make_hard_link(
        &mut self,
        place: &Place<'_>,
        entry: &Entry,
    ) -> Result<(), UnpackError> {
        let mut target = self.base.clone();
        push_clean(&mut target, &entry.link);
        if target == place.path {
            return Ok(());
        }
        let source = if target.len() == self.base.len() {
            None
        } else {
            self.find(&target)
        };
        let Some((source, inode)) = source else {
            return self.link_to_nothing(place, entry);
        };
        let name = OsStr::from_bytes(split(&target).1);
        if let Ok(there) = stat_at(place.parent.fd.as_fd(), place.name)
            && (there.st_dev, there.st_ino) == inode
        {
            return Ok(());
        }
        let linked = self.make_anew(place, "link", |parent, new| {
            match rustix::fs::linkat(&source.fd, name, parent, new, AtFlags::empty()) {
                // The target was beneath what this entry replaced.
                Err(Errno::NOENT) => Ok(false),
                answer => answer.map(|()| true),
            }
        })?;
        if linked {
            Ok(())
        } else {
            self.link_to_nothing(place, entry)
        }
    }

    /// The directory that holds an existing object, and the object's identity.
    fn find(&mut self, path: &[u8]) -> Option<(std::rc::Rc<Parent>, (u64, u64))> {
        let (directory, name) = split(path);
        let parent = match self.parents.get(directory) {
            Some(parent) => parent,
            None => {
                let fd = self.root.open_path(as_path(directory)).ok()?;
                self.parents.put(directory, Parent::new(fd).ok()?)
            }
        };
        let stat = stat_at(parent.fd.as_fd(), OsStr::from_bytes(name)).ok()?;
        let deleted = self.options.mode == ApplyMode::Layer && is_whiteout(&stat);
        (!deleted).then_some((parent, (stat.st_dev, stat.st_ino)))
    }

    fn link_to_nothing(&mut self, place: &Place<'_>, entry: &Entry) -> Result<(), UnpackError> {
        if self.options.mode == ApplyMode::Merged {
            let target = to_path(&entry.link);
            return Err(UnpackError::LinkTarget {
                path: to_path(place.path),
                target,
            });
        }
        self.remember(place.path.len())?;
        self.report.unresolved_hardlinks.push(to_path(place.path));
        Ok(())
    }

    pub(super) fn make_special(
        &mut self,
        place: &Place<'_>,
        entry: &Entry,
    ) -> Result<(), UnpackError> {
        let device = rustix::fs::makedev(entry.device.0, entry.device.1);
        let mode = Mode::from_raw_mode(0o600);
        self.make_anew(place, "make", |parent, name| match entry.kind {
            Kind::Symlink => rustix::fs::symlinkat(entry.link.as_slice(), parent, name),
            Kind::CharDevice => {
                rustix::fs::mknodat(parent, name, FileType::CharacterDevice, mode, device)
            }
            Kind::BlockDevice => {
                rustix::fs::mknodat(parent, name, FileType::BlockDevice, mode, device)
            }
            _ => rustix::fs::mknodat(parent, name, FileType::Fifo, mode, 0),
        })?;
        let parent = place.parent.fd.as_fd();
        if !self.would_own(place.parent, entry) {
            let (uid, gid) = (Uid::from_raw(entry.uid), Gid::from_raw(entry.gid));
            rustix::fs::chownat(
                parent,
                place.name,
                Some(uid),
                Some(gid),
                AtFlags::SYMLINK_NOFOLLOW,
            )
            .map_err(|errno| failed("chown", place.path, errno))?;
        }
        if entry.kind != Kind::Symlink || !entry.xattrs.is_empty() {
            // A place cannot be changed itself, but through procfs what it stands for; the link
            // there leads to the object, never further.
            let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let fd = rustix::fs::openat(parent, place.name, flags, Mode::empty())
                .map_err(|errno| failed("find", place.path, errno))?;
            let itself = format!("/proc/self/fd/{}", fd.as_raw_fd());
            if entry.kind != Kind::Symlink {
                rustix::fs::chmod(&itself, Mode::from_raw_mode(entry.mode))
                    .map_err(|errno| failed("chmod", place.path, errno))?;
            }
            self.set_xattrs(place.path, entry, |name, value| {
                rustix::fs::setxattr(&itself, name, value, XattrFlags::empty())
            })?;
        }
        set_time_at(parent, place.name, entry.mtime)
            .map_err(|errno| failed("set the time of", place.path, errno))
    }

    /// Makes an object under a name that is free, or is freed for it.
    fn make_anew<T>(
        &mut self,
        place: &Place<'_>,
        op: &'static str,
        mut make: impl FnMut(BorrowedFd<'_>, &OsStr) -> Result<T, Errno>,
    ) -> Result<T, UnpackError> {
        for _ in 0..RACES_MAX {
            match make(place.parent.fd.as_fd(), place.name) {
                Ok(made) => return Ok(made),
                Err(Errno::EXIST) => self.remove_for_another(place)?,
                Err(errno) => return Err(failed(op, place.path, errno)),
            }
        }
        Err(failed(op, place.path, Errno::EXIST))
    }

    fn remove_for_another(&mut self, place: &Place<'_>) -> Result<(), UnpackError> {
        let parent = place.parent.fd.as_fd();
        if self.options.replace == Replace::SameKind
            && stat_at(parent, place.name).is_ok_and(|stat| is_directory(&stat))
        {
            return Err(UnpackError::KindsDiffer {
                path: to_path(place.path),
            });
        }
        self.parents.clear();
        Ok(sys::rootfs::remove_all(parent, place.name)?)
    }

    /// Removes what is in a directory's place; false if a directory is there, which stays.
    fn remove_unless_directory(&mut self, place: &Place<'_>) -> Result<bool, UnpackError> {
        let parent = place.parent.fd.as_fd();
        match stat_at(parent, place.name) {
            Ok(stat) if is_directory(&stat) => return Ok(false),
            Ok(_) if self.options.replace == Replace::SameKind => {
                return Err(UnpackError::KindsDiffer {
                    path: to_path(place.path),
                });
            }
            Ok(_) | Err(Errno::NOENT) => {}
            Err(errno) => return Err(failed("read", place.path, errno)),
        }
        self.parents.clear();
        match rustix::fs::unlinkat(parent, place.name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT | Errno::ISDIR) => Ok(true),
            Err(errno) => Err(failed("replace", place.path, errno)),
        }
    }

    /// Whether a new object has the entry's owner and group from the start.
    fn would_own(&self, parent: &Parent, entry: &Entry) -> bool {
        (entry.uid, entry.gid) == self.own && !parent.gives_group
    }

    pub(super) fn set_metadata(
        &mut self,
        fd: BorrowedFd<'_>,
        path: &[u8],
        entry: &Entry,
        owner: bool,
    ) -> Result<(), UnpackError> {
        if owner {
            chown(fd, entry.uid, entry.gid).map_err(|errno| failed("chown", path, errno))?;
        }
        rustix::fs::fchmod(fd, Mode::from_raw_mode(entry.mode))
            .map_err(|errno| failed("chmod", path, errno))?;
        self.set_xattrs(path, entry, |name, value| {
            rustix::fs::fsetxattr(fd, name, value, XattrFlags::empty())
        })
    }

    fn set_xattrs(
        &mut self,
        path: &[u8],
        entry: &Entry,
        set: impl Fn(&[u8], &[u8]) -> Result<(), Errno>,
    ) -> Result<(), UnpackError> {
        for (name, value) in &entry.xattrs {
            if !is_image_xattr(name) {
                continue;
            }
            match set(name, value) {
                Ok(()) => {}
                // The file system has none, the kernel finds the value malformed (a capability
                // that is none), or it allows no user attribute on this kind of object.
                Err(Errno::NOTSUP | Errno::INVAL) => self.report.xattrs_refused += 1,
                Err(Errno::PERM) if name.starts_with(b"user.") => self.report.xattrs_refused += 1,
                Err(errno) => return Err(failed("set an attribute of", path, errno)),
            }
        }
        Ok(())
    }
}

pub(super) fn chown(fd: BorrowedFd<'_>, uid: u32, gid: u32) -> Result<(), Errno> {
    rustix::fs::fchown(fd, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))
}

pub(super) fn set_time(fd: BorrowedFd<'_>, time: Time) -> Result<(), Errno> {
    rustix::fs::futimens(fd, &timestamps(time))
}

pub(super) fn set_time_at(parent: BorrowedFd<'_>, name: &OsStr, time: Time) -> Result<(), Errno> {
    rustix::fs::utimensat(parent, name, &timestamps(time), AtFlags::SYMLINK_NOFOLLOW)
}

/// Both times: the archive's time of access is not kept by anybody, and now would not repeat.
fn timestamps(time: Time) -> Timestamps {
    let time = Timespec {
        tv_sec: time.seconds,
        tv_nsec: i64::from(time.nanoseconds),
    };
    Timestamps {
        last_access: time,
        last_modification: time,
    }
}

fn stat_at(parent: BorrowedFd<'_>, name: &OsStr) -> Result<rustix::fs::Stat, Errno> {
    rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)
}

fn write_data<R: Read>(
    fd: &OwnedFd,
    entry: &Entry,
    reader: &mut TarReader<R>,
    path: &[u8],
) -> Result<(), UnpackError> {
    let fail = |errno| failed("write", path, errno);
    let Some(segments) = &entry.sparse else {
        loop {
            let mut chunk = reader.chunk(WRITE_BYTES)?;
            if chunk.is_empty() {
                return Ok(());
            }
            while !chunk.is_empty() {
                match rustix::io::write(fd, chunk) {
                    Ok(count) => chunk = &chunk[count..],
                    Err(Errno::INTR) => {}
                    Err(errno) => return Err(fail(errno)),
                }
            }
        }
    };
    for segment in segments {
        let (mut at, end) = (segment.offset, segment.offset + segment.length);
        while at < end {
            let wanted = usize::try_from(end - at)
                .unwrap_or(WRITE_BYTES)
                .min(WRITE_BYTES);
            let mut chunk = reader.chunk(wanted)?;
            if chunk.is_empty() {
                break;
            }
            while !chunk.is_empty() {
                match rustix::io::pwrite(fd, chunk, at) {
                    Ok(count) => {
                        chunk = &chunk[count..];
                        at += count as u64;
                    }
                    Err(Errno::INTR) => {}
                    Err(errno) => return Err(fail(errno)),
                }
            }
        }
    }
    rustix::fs::ftruncate(fd, entry.size).map_err(fail)
}
