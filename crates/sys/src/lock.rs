//! Advisory locks that the kernel ends with their holder.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{CWD, FlockOperation, Mode, OFlags};
use rustix::io::Errno;

use crate::error::{Context, SysError};

/// A held `flock`; dropping it releases it (unless a forked child still holds the descriptor).
#[derive(Debug)]
pub struct Lock(OwnedFd);

impl Lock {
    /// Locks `path` exclusively, making the file where it is missing; waits for its holder.
    ///
    /// # Errors
    /// Where the file cannot be opened.
    pub fn acquire(path: &Path) -> Result<Self, SysError> {
        let fd = open(path)?;
        loop {
            match rustix::fs::flock(&fd, FlockOperation::LockExclusive) {
                Err(Errno::INTR) => {}
                other => return other.on("lock", path.display()).map(|()| Self(fd)),
            }
        }
    }

    /// Locks an existing directory exclusively; waits for its holder.
    ///
    /// # Errors
    /// Where it cannot be opened.
    pub fn acquire_directory(path: &Path) -> Result<Self, SysError> {
        Self::acquire_fd(crate::atomic::open_directory(path)?)
    }

    /// Locks an existing directory if nobody holds it.
    ///
    /// # Errors
    /// Where it cannot be opened.
    pub fn try_acquire_directory(path: &Path) -> Result<Option<Self>, SysError> {
        let fd = crate::atomic::open_directory(path)?;
        match rustix::fs::flock(&fd, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(Self(fd))),
            Err(Errno::WOULDBLOCK) => Ok(None),
            Err(errno) => Err(SysError::new("lock", path.display().to_string(), errno)),
        }
    }

    /// Locks `path` if nobody holds it.
    ///
    /// # Errors
    /// Where the file cannot be opened.
    pub fn try_acquire(path: &Path) -> Result<Option<Self>, SysError> {
        let fd = open(path)?;
        match rustix::fs::flock(&fd, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(Self(fd))),
            Err(Errno::WOULDBLOCK) => Ok(None),
            Err(errno) => Err(SysError::new("lock", path.display().to_string(), errno)),
        }
    }

    /// Locks an open directory or file exclusively; waits for its holder.
    ///
    /// # Errors
    /// The kernel's answer.
    pub fn acquire_fd(fd: OwnedFd) -> Result<Self, SysError> {
        loop {
            match rustix::fs::flock(&fd, FlockOperation::LockExclusive) {
                Err(Errno::INTR) => {}
                other => return other.on("lock", "file").map(|()| Self(fd)),
            }
        }
    }

    /// A lock that is held on this descriptor already.
    pub fn held(fd: OwnedFd) -> Self {
        Self(fd)
    }

    /// The descriptor, to hand it to a child that shall go on holding the lock.
    pub fn into_fd(self) -> OwnedFd {
        self.0
    }
}

impl AsFd for Lock {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Whether somebody holds the lock on `path`. A missing file is held by nobody.
pub fn is_held(path: &Path) -> bool {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let Ok(fd) = rustix::fs::openat(CWD, path, flags, Mode::empty()) else {
        return false;
    };
    // A shared request suffices to meet an exclusive holder, and two askers do not meet each other.
    matches!(
        rustix::fs::flock(&fd, FlockOperation::NonBlockingLockShared),
        Err(Errno::WOULDBLOCK)
    )
}

/// Whether no other descriptor of a file, opened for writing alone here, is open anywhere. `false`
/// where the kernel cannot tell. It is asked by a lease, which is given back at once.
pub fn has_no_other_opener(fd: &OwnedFd) -> bool {
    use std::os::fd::AsRawFd;
    let lease = |kind: libc::c_int| {
        // SAFETY: the descriptor is open, and the command takes a number.
        // WHY: rustix has no leases.
        unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_SETLEASE, kind) }
    };
    let is_alone = lease(libc::F_WRLCK) == 0;
    let _ = lease(libc::F_UNLCK);
    is_alone
}

fn open(path: &Path) -> Result<OwnedFd, SysError> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    rustix::fs::openat(CWD, path, flags, Mode::from_raw_mode(0o600)).on("open", path.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_held_lock_is_seen_and_a_dropped_one_is_free() {
        let path = std::env::temp_dir().join(format!("caisson-lock-{}", std::process::id()));
        let lock = Lock::acquire(&path).unwrap();
        assert!(is_held(&path));
        assert!(Lock::try_acquire(&path).unwrap().is_none());
        drop(lock);
        assert!(!is_held(&path));
        assert!(Lock::try_acquire(&path).unwrap().is_some());
        std::fs::remove_file(&path).unwrap();
    }
}
