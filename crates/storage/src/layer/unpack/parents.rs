//! The directories that entries went into last, open.
//!
//! Archives go through a tree in order, so that most entries have the parent of the entry before,
//! or of one a few before. A path found here was resolved through directories that exist; it stays
//! right as long as nothing that existed is removed. Whoever removes something clears all.

use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;

use rustix::io::Errno;

/// Deep enough for the way back up after a few levels of subdirectories.
const KEPT_MAX: usize = 16;

/// An open directory (a place, O_PATH).
pub(super) struct Parent {
    pub(super) fd: OwnedFd,
    /// Whether what is made in it inherits its group.
    pub(super) gives_group: bool,
}

impl Parent {
    pub(super) fn new(fd: OwnedFd) -> Result<Self, Errno> {
        let mode = rustix::fs::fstat(fd.as_fd())?.st_mode;
        Ok(Self {
            fd,
            gives_group: mode & 0o2000 != 0,
        })
    }
}

/// The last directories, the latest last.
#[derive(Default)]
pub(super) struct Parents {
    kept: Vec<(Vec<u8>, Rc<Parent>)>,
}

impl Parents {
    pub(super) fn get(&mut self, path: &[u8]) -> Option<Rc<Parent>> {
        let at = self.kept.iter().rposition(|(kept, _)| kept == path)?;
        let last = self.kept.len() - 1;
        if at != last {
            self.kept[at..].rotate_left(1);
        }
        Some(Rc::clone(&self.kept[last].1))
    }

    pub(super) fn put(&mut self, path: &[u8], parent: Parent) -> Rc<Parent> {
        let parent = Rc::new(parent);
        self.kept.retain(|(kept, _)| kept != path);
        if self.kept.len() == KEPT_MAX {
            self.kept.remove(0);
        }
        self.kept.push((path.to_vec(), Rc::clone(&parent)));
        parent
    }

    pub(super) fn clear(&mut self) {
        self.kept.clear();
    }
}
