//! What work in progress needs, and the lock that makes references and collection agree.
//!
//! Two locks, both `flock`s that the kernel ends with their holder:
//!
//! - the lock of the images directory, shared while somebody adds a need or makes a container,
//!   exclusive for the moment in which references change or garbage is unlinked;
//! - one per lease, held as long as a pull, load or build runs. A lease names digests (blobs, diff
//!   ids, image ids) in its file `needs`; what it names stays, whether it is here already or not.
//!
//! Nobody waits for a lease. Its temporary directory is swept when its holder is gone.

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FlockOperation, IFlags, Mode, OFlags};
use rustix::io::Errno;
use sys::{Context, SysError, atomic};
use types::digest::Digest;

use crate::error::Result;
use crate::store::{Store, TemporaryDirectory, random_name};

const NEEDS: &str = "needs";
const TREES: &str = "trees";
/// A lease names at most some thousand digests of 72 bytes.
const NEEDS_BYTES_MAX: u64 = 4 << 20;

/// No image, layer or blob goes while this is held. For short sections only: it delays collection.
#[derive(Debug)]
pub struct ImagesGuard {
    _lock: OwnedFd,
}

/// The right to change references and to collect. For short sections only.
#[derive(Debug)]
pub struct ImagesLock {
    _lock: OwnedFd,
}

impl Store {
    /// Keeps every image that is here until the guard is dropped.
    ///
    /// # Errors
    /// Where the lock cannot be taken.
    pub fn guard_images(&self) -> Result<ImagesGuard> {
        Ok(ImagesGuard {
            _lock: self.lock_directory(FlockOperation::LockShared)?,
        })
    }

    /// Takes the right to change references; waits for others' short sections.
    ///
    /// # Errors
    /// Where the lock cannot be taken.
    pub fn lock_images(&self) -> Result<ImagesLock> {
        Ok(ImagesLock {
            _lock: self.lock_directory(FlockOperation::LockExclusive)?,
        })
    }

    /// Starts a lease for this process's work.
    ///
    /// # Errors
    /// The disk's answer.
    pub fn lease(&self) -> Result<Lease> {
        // Whoever begins long work first takes away what killed commands left of theirs. That it
        // cannot be taken away is no reason not to work.
        let _ = self.sweep();
        let temporary = self.tmp()?;
        let path = temporary.path().join(NEEDS);
        let needs = OpenOptions::new().append(true).create_new(true).open(&path);
        let needs = needs.on("create", path.display())?;
        sys::fail::point("storage.lease.made");
        Ok(Lease {
            store: self.clone(),
            temporary,
            needs,
        })
    }

    /// What all live leases name. The caller holds the images lock, so that none is being added.
    pub(crate) fn leased(&self, _lock: &ImagesLock) -> Result<BTreeSet<Digest>> {
        let parent = self.path("tmp");
        let entries = std::fs::read_dir(&parent).on("list", parent.display())?;
        let mut leased = BTreeSet::new();
        for entry in entries.flatten() {
            if !sys::lock::is_held(&entry.path()) {
                continue;
            }
            // A temporary directory without needs is somebody's scratch space.
            let Ok(bytes) = atomic::read_limited(&entry.path().join(NEEDS), NEEDS_BYTES_MAX) else {
                continue;
            };
            let text = String::from_utf8_lossy(&bytes);
            leased.extend(text.lines().filter_map(|line| Digest::parse(line).ok()));
        }
        Ok(leased)
    }

    /// The directory itself bears the lock, so that a read-only store can be locked too.
    fn lock_directory(&self, operation: FlockOperation) -> Result<OwnedFd> {
        let path = self.path("images");
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(CWD, &path, flags, Mode::empty()).on("open", path.display())?;
        loop {
            match rustix::fs::flock(&fd, operation) {
                Ok(()) => return Ok(fd),
                Err(Errno::INTR) => {}
                Err(errno) => {
                    return Err(SysError::new("lock", path.display().to_string(), errno).into());
                }
            }
        }
    }
}

/// The hold of one command on what it needs, with its temporary directory.
#[derive(Debug)]
pub struct Lease {
    store: Store,
    temporary: TemporaryDirectory,
    needs: File,
}

impl Lease {
    /// From now on the content of that digest stays, if it is here. To be called before asking
    /// whether it is.
    ///
    /// # Errors
    /// The disk's answer.
    pub fn need(&self, digest: &Digest) -> Result<()> {
        let _guard = self.store.guard_images()?;
        sys::fail::result("storage.lease.need")?;
        // One write of one line with O_APPEND: threads of one pull do not mix their lines.
        let line = format!("{digest}\n");
        Ok((&self.needs)
            .write_all(line.as_bytes())
            .on("write", self.temporary.path().join(NEEDS).display())?)
    }

    /// Where half-made things of this lease go.
    pub fn temporary(&self) -> &TemporaryDirectory {
        &self.temporary
    }

    /// A free name beneath [`Self::temporary`] for a tree of many files.
    ///
    /// # Errors
    /// The disk's answer.
    pub fn tree_path(&self) -> Result<PathBuf> {
        let trees = self.temporary.path().join(TREES);
        match rustix::fs::mkdir(&trees, Mode::RWXU) {
            Ok(()) => spread(&trees),
            Err(Errno::EXIST) => {}
            Err(errno) => return Err(errno).on("create", trees.display())?,
        }
        Ok(trees.join(random_name()))
    }

    /// The store it belongs to.
    pub fn store(&self) -> &Store {
        &self.store
    }
}

/// Has ext4 choose, by its name, a part of the disk for each directory that is made in this one (`chattr +T`).
///
/// Else every tree of a store fills the same groups one after the other. Without a journal, as in many a
/// virtual machine, ext4 gives the number of a removed file to none for one to five minutes, and walks
/// over all of these in a group for each file that it makes there: a pull of 43,000 files took 3 to 21 s
/// more of processor time where as many had just been removed. Nothing depends on it; other file systems
/// refuse it.
fn spread(directory: &Path) {
    let Ok(fd) = atomic::open_directory(directory) else {
        return;
    };
    if let Ok(flags) = rustix::fs::ioctl_getflags(&fd) {
        let _ = rustix::fs::ioctl_setflags(&fd, flags | IFlags::TOPDIR);
    }
}

#[cfg(test)]
mod tests {
    use rustix::fs::IFlags;

    use crate::blobs::digest_of;
    use crate::store::tests::Scratch;

    #[test]
    fn a_new_lease_sweeps_what_a_killed_command_left() {
        let scratch = Scratch::new();
        let stale = scratch.store.path("tmp/stale");
        std::fs::create_dir_all(stale.join("layer/fs")).unwrap();
        let first = scratch.store.lease().unwrap();
        let second = scratch.store.lease().unwrap();
        assert!(!stale.exists());
        assert!(first.temporary().path().exists() && second.temporary().path().exists());
    }

    #[test]
    fn ext4_spreads_trees_over_the_disk() {
        const EXT4: u64 = 0xef53;
        let scratch = Scratch::new();
        let lease = scratch.store.lease().unwrap();
        let paths = [lease.tree_path().unwrap(), lease.tree_path().unwrap()];
        // The place is chosen by the name.
        assert_ne!(paths[0], paths[1]);
        let trees = std::fs::File::open(paths[0].parent().unwrap()).unwrap();
        let system = rustix::fs::fstatfs(&trees).unwrap();
        if system.f_type as u64 == EXT4 {
            let flags = rustix::fs::ioctl_getflags(&trees).unwrap();
            assert!(flags.contains(IFlags::TOPDIR), "{flags:?}");
        }
    }

    #[test]
    fn a_lease_names_what_it_needs_until_it_is_dropped() {
        let scratch = Scratch::new();
        let lease = scratch.store.lease().unwrap();
        let (one, two) = (digest_of(b"1"), digest_of(b"2"));
        lease.need(&one).unwrap();
        lease.need(&two).unwrap();
        let lock = scratch.store.lock_images().unwrap();
        let leased = scratch.store.leased(&lock).unwrap();
        assert_eq!(leased.into_iter().collect::<Vec<_>>().len(), 2);
        drop(lease);
        assert!(scratch.store.leased(&lock).unwrap().is_empty());
    }
}
