//! The lowest layer of every container: where its mounts go, and what Docker's containers show.
//!
//! An image need not have `/proc`, `/dev` or `/etc/hosts`. Made in the container's own writable
//! layer they would cost a dozen files on disk for each container, and would look like the program's
//! changes. Beneath the image they show only what the image does not have itself. The content is that
//! of Docker's init layer.

use std::fs::{DirBuilder, OpenOptions, Permissions};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use sys::SysError;

use crate::Store;
use crate::error::Result;

/// Its name says its content: another content gets another name.
const NAME: &str = "init-1";
const MODE: u32 = 0o755;

const DIRECTORIES: [&str; 6] = ["dev", "dev/pts", "dev/shm", "etc", "proc", "sys"];
const FILES: [&str; 5] = [
    ".dockerenv",
    "dev/console",
    "etc/hostname",
    "etc/hosts",
    "etc/resolv.conf",
];

impl Store {
    /// The directory that lies beneath every container's image, made where it is missing.
    ///
    /// # Errors
    /// The disk's answer.
    pub fn init_layer(&self) -> Result<PathBuf> {
        let path = self.path(NAME);
        if path.exists() {
            return Ok(path);
        }
        let half_made = self.tmp()?;
        let files = half_made.path().join("fs");
        fill(&files).map_err(|error| {
            let errno = Errno::from_io_error(&error).unwrap_or(Errno::IO);
            SysError::new("make", files.display().to_string(), errno)
        })?;
        match rustix::fs::rename(&files, &path) {
            // Another command was faster.
            Ok(()) | Err(Errno::EXIST | Errno::NOTEMPTY) => Ok(path),
            Err(errno) => Err(SysError::new("make", path.display().to_string(), errno).into()),
        }
    }
}

/// Modes are set afterwards: the caller's mask must not show.
fn fill(root: &Path) -> std::io::Result<()> {
    let allow = |path: &Path| std::fs::set_permissions(path, Permissions::from_mode(MODE));
    for name in [""].iter().chain(&DIRECTORIES) {
        let path = root.join(name);
        DirBuilder::new().mode(MODE).create(&path)?;
        allow(&path)?;
    }
    for name in FILES {
        let path = root.join(name);
        OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(MODE)
            .open(&path)?;
        allow(&path)?;
    }
    symlink("/proc/mounts", root.join("etc/mtab"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use crate::store::tests::Scratch;

    #[test]
    fn it_is_made_once_and_has_what_dockers_has() {
        let scratch = Scratch::new();
        let store = &scratch.store;
        let made = store.init_layer().unwrap();
        assert_eq!(store.init_layer().unwrap(), made);
        for name in ["proc", "dev/shm", "etc/hosts", ".dockerenv"] {
            let metadata = std::fs::metadata(made.join(name)).unwrap();
            assert_eq!(metadata.mode() & 0o7777, 0o755, "{name}");
        }
        let target = std::fs::read_link(made.join("etc/mtab")).unwrap();
        assert_eq!(target.to_str(), Some("/proc/mounts"));
        assert_eq!(store.sweep().unwrap(), 0, "nothing half-made stays");
    }
}
