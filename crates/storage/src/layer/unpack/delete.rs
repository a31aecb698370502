//! Deletions: of names, and of all that lower layers have in a directory.
//!
//! The OCI image specification: they concern lower layers only. What the same archive has made stays,
//! whichever of the two comes first.

use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;

use rustix::fs::{FileType, Mode, OFlags, XattrFlags};
use rustix::io::Errno;

use super::super::{OVERLAY_OPAQUE, is_directory, push_clean};
use super::{ApplyMode, UnpackError, Unpacker, as_path, failed, to_path};
use crate::tar::Time;

impl Unpacker<'_> {
    pub(super) fn make_opaque(&mut self, directory: &[u8], mtime: Time) -> Result<(), UnpackError> {
        match self.options.mode {
            ApplyMode::Layer if directory.is_empty() => {
                self.report.opaque_root = true;
                Ok(())
            }
            ApplyMode::Layer => {
                self.parent(directory, mtime)?;
                let fd = self.root.open_dir(as_path(directory))?;
                set_opaque(fd.as_fd(), directory)
            }
            ApplyMode::Merged => self.delete_what_was_not_made(directory),
        }
    }

    /// A name of the lower layers is deleted; what this layer itself has under it stays.
    pub(super) fn delete(
        &mut self,
        path: &[u8],
        directory: &[u8],
        victim: &[u8],
        mtime: Time,
    ) -> Result<(), UnpackError> {
        if matches!(victim, b"" | b"." | b"..") {
            return Err(UnpackError::Whiteout {
                path: to_path(path),
            });
        }
        let mut victim_path = directory.to_vec();
        push_clean(&mut victim_path, victim);
        let name = OsStr::from_bytes(victim);
        if self.options.mode == ApplyMode::Merged {
            return self.delete_merged(&victim_path);
        }
        let parent = self.parent(directory, mtime)?;
        let mode = Mode::empty();
        match rustix::fs::mknodat(&parent.fd, name, FileType::CharacterDevice, mode, 0) {
            Ok(()) => Ok(()),
            Err(Errno::EXIST) => {
                let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                match rustix::fs::openat(&parent.fd, name, flags, Mode::empty()) {
                    Ok(fd) => set_opaque(fd.as_fd(), &victim_path),
                    // Not a directory: it hides the lower one as it is.
                    Err(Errno::NOTDIR | Errno::LOOP) => Ok(()),
                    Err(errno) => Err(failed("open", &victim_path, errno)),
                }
            }
            Err(errno) => Err(failed("mark as deleted", &victim_path, errno)),
        }
    }

    fn delete_merged(&mut self, victim: &[u8]) -> Result<(), UnpackError> {
        if self.made.contains(victim) {
            return match self.root.symlink_metadata(as_path(victim)) {
                Ok(stat) if is_directory(&stat) => self.delete_what_was_not_made(victim),
                _ => Ok(()),
            };
        }
        self.parents.clear();
        Ok(self.root.remove_all(as_path(victim))?)
    }

    fn delete_what_was_not_made(&mut self, directory: &[u8]) -> Result<(), UnpackError> {
        self.parents.clear();
        let mut pending = vec![directory.to_vec()];
        while let Some(directory) = pending.pop() {
            let items = match self.root.read_dir(as_path(&directory)) {
                Ok(items) => items,
                Err(error) if error.is_not_found() => continue,
                Err(error) => return Err(error.into()),
            };
            for item in items {
                let mut path = directory.clone();
                push_clean(&mut path, item.name.as_bytes());
                if !self.made.contains(&path) {
                    self.root.remove_all(as_path(&path))?;
                } else if item.kind == FileType::Directory {
                    pending.push(path);
                }
            }
        }
        Ok(())
    }
}

pub(super) fn set_opaque(directory: BorrowedFd<'_>, path: &[u8]) -> Result<(), UnpackError> {
    rustix::fs::fsetxattr(directory, OVERLAY_OPAQUE, b"y", XattrFlags::empty())
        .map_err(|errno| failed("mark as opaque", path, errno))
}
