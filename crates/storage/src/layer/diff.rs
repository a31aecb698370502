//! What a container changed: its upper directory against the layers below, as `docker diff` lists
//! it. Docker 28 prints each path once, `A` added, `C` changed, `D` deleted; a directory that only
//! holds changes is `C` itself. Sorted, a directory before what is in it.

mod stacks;

use std::collections::{BTreeMap, HashSet};
use std::ffi::OsString;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use rustix::fs::Stat;
use rustix::io::Errno;
use sys::rootfs::{Dir, RootError};

use super::lower::LowerStack;
use super::{is_directory, is_opaque, is_whiteout};
pub use stacks::diff_stacks;

/// Changes of one container: as many as an archive may have entries.
const CHANGES_MAX: usize = 2_000_000;

/// How a path changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeKind {
    /// `C`.
    Changed,
    /// `A`.
    Added,
    /// `D`.
    Deleted,
}

impl ChangeKind {
    /// Docker's letter.
    pub fn letter(self) -> char {
        match self {
            Self::Changed => 'C',
            Self::Added => 'A',
            Self::Deleted => 'D',
        }
    }
}

/// One changed path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// How.
    pub kind: ChangeKind,
    /// Which, absolute.
    pub path: PathBuf,
}

/// A directory of the upper tree still to be compared.
struct Pending {
    path: PathBuf,
    /// The lower layers that the directory of the same path merges.
    visible: Vec<usize>,
    /// Whether it hides them.
    opaque: bool,
}

/// Compares an upper directory with the layers below it, the topmost first.
pub fn diff(upper: &Dir, lowers: &[Dir]) -> Result<Vec<Change>, RootError> {
    let stack = LowerStack::new(lowers);
    let visible = stack.root()?.map(|root| root.visible).unwrap_or_default();
    let mut changes = BTreeMap::new();
    let mut pending = vec![Pending {
        path: PathBuf::new(),
        visible,
        opaque: false,
    }];
    while let Some(directory) = pending.pop() {
        compare(upper, stack, &directory, &mut changes, &mut pending)?;
        if changes.len() > CHANGES_MAX {
            return Err(RootError::new("compare", directory.path, Errno::NOBUFS));
        }
    }
    let root = Path::new("/");
    Ok(changes
        .into_iter()
        .map(|(path, kind)| Change {
            kind,
            path: root.join(path),
        })
        .collect())
}

fn compare(
    upper: &Dir,
    stack: LowerStack<'_>,
    directory: &Pending,
    changes: &mut BTreeMap<PathBuf, ChangeKind>,
    pending: &mut Vec<Pending>,
) -> Result<(), RootError> {
    let mut present: HashSet<OsString> = HashSet::new();
    for item in upper.read_dir(&directory.path)? {
        let path = directory.path.join(&item.name);
        let stat = match upper.symlink_metadata(&path) {
            Ok(stat) => stat,
            // A running container removed it meanwhile.
            Err(error) if error.is_not_found() => continue,
            Err(error) => return Err(error),
        };
        let lower = stack.child(&directory.path, &directory.visible, &item.name)?;
        let deleted = is_whiteout(&stat);
        let kind = match &lower {
            None if deleted => None,
            None => Some(ChangeKind::Added),
            Some(_) if deleted => Some(ChangeKind::Deleted),
            Some(_) => Some(ChangeKind::Changed),
        };
        if !deleted && is_directory(&stat) {
            let opaque = match upper.open_dir(&path) {
                Ok(fd) => {
                    is_opaque(fd.as_fd()).map_err(|errno| RootError::new("read", &path, errno))?
                }
                Err(error) if error.is_not_found() => continue,
                Err(error) => return Err(error),
            };
            let same = lower
                .as_ref()
                .is_some_and(|lower| !opaque && is_same(&stat, &lower.stat));
            if let (Some(kind), false) = (kind, same) {
                note(changes, &path, kind);
            }
            let visible = lower.map(|lower| lower.visible).unwrap_or_default();
            pending.push(Pending {
                path,
                visible,
                opaque,
            });
        } else if let Some(kind) = kind {
            note(changes, &path, kind);
        }
        present.insert(item.name);
    }
    if directory.opaque {
        for name in stack.names(&directory.path, &directory.visible)? {
            if !present.contains(&name) {
                note(changes, &directory.path.join(name), ChangeKind::Deleted);
            }
        }
    }
    Ok(())
}

/// Two directories of which only the contents may differ.
fn is_same(upper: &Stat, lower: &Stat) -> bool {
    let known = |stat: &Stat| {
        (
            stat.st_mode,
            stat.st_uid,
            stat.st_gid,
            stat.st_mtime,
            stat.st_mtime_nsec,
        )
    };
    known(upper) == known(lower)
}

fn note(changes: &mut BTreeMap<PathBuf, ChangeKind>, path: &Path, kind: ChangeKind) {
    changes.insert(path.to_path_buf(), kind);
    for parent in path.ancestors().skip(1) {
        if parent.as_os_str().is_empty() || changes.contains_key(parent) {
            break;
        }
        changes.insert(parent.to_path_buf(), ChangeKind::Changed);
    }
}

#[cfg(test)]
mod tests;
