//! Mount points that were missing are made for the time of a program, and are no part of its layer.
//!
//! They are found by name before and removed after, never through a link that the program left in
//! their place: each component is opened by itself (CVE-2024-23652).

use std::ffi::OsString;
use std::os::fd::AsFd;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, FileType};
use sys::rootfs::{Dir, Ladder};

use super::files::place_of;

/// A name that was not there, as components from the root.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Stub {
    names: Vec<OsString>,
    /// From here on they were missing.
    missing_from: usize,
}

/// Which mount points are missing in a root.
pub(crate) fn find<'a>(root: &Dir, points: impl IntoIterator<Item = &'a str>) -> Vec<Stub> {
    points
        .into_iter()
        .filter_map(|point| find_one(root, Path::new(point)))
        .collect()
}

fn find_one(root: &Dir, point: &Path) -> Option<Stub> {
    if root.metadata(point).is_ok() {
        return None;
    }
    // The deepest directory that is there, by its true name.
    let (existing, directory) = point
        .ancestors()
        .skip(1)
        .find_map(|parent| Some((parent, root.open_path(parent).ok()?)))?;
    let (from, real) = (place_of(root.as_fd())?, place_of(directory.as_fd())?);
    let mut names: Vec<OsString> = normal(real.strip_prefix(&from).ok()?);
    let missing_from = names.len();
    names.extend(normal(point.strip_prefix(existing).ok()?));
    Some(Stub {
        names,
        missing_from,
    })
}

fn normal(path: &Path) -> Vec<OsString> {
    path.components()
        .filter_map(|component| match component {
            Component::Normal(name) => Some(name.to_owned()),
            _ => None,
        })
        .collect()
}

/// Removes what was made for mounting from an upper directory, where it is as it was made, and
/// directories that overlay copied there for nothing else. `root` is what is below.
pub(crate) fn remove(upper: &Dir, root: &Dir, stubs: &[Stub]) {
    for stub in stubs {
        for depth in (stub.missing_from..stub.names.len()).rev() {
            let Some(ladder) = climb(upper, &stub.names[..depth]) else {
                continue;
            };
            let name = &stub.names[depth];
            let stat = rustix::fs::statat(ladder.current(), name, AtFlags::SYMLINK_NOFOLLOW);
            let Ok(stat) = stat else {
                continue;
            };
            let flags = match FileType::from_raw_mode(stat.st_mode) {
                FileType::Directory => AtFlags::REMOVEDIR,
                FileType::RegularFile if stat.st_size == 0 => AtFlags::empty(),
                _ => break,
            };
            if rustix::fs::unlinkat(ladder.current(), name, flags).is_err() {
                break;
            }
        }
        forget_copies(upper, root, &stub.names[..stub.missing_from]);
    }
}

/// A directory that is empty above and the same below says nothing.
fn forget_copies(upper: &Dir, root: &Dir, names: &[OsString]) {
    for depth in (0..names.len()).rev() {
        let Some(ladder) = climb(upper, &names[..depth]) else {
            return;
        };
        let name = &names[depth];
        let Ok(above) = rustix::fs::statat(ladder.current(), name, AtFlags::SYMLINK_NOFOLLOW)
        else {
            return;
        };
        let path: PathBuf = names[..=depth].iter().collect();
        let Ok(below) = root.symlink_metadata(&path) else {
            return;
        };
        let same = (above.st_mode, above.st_uid, above.st_gid)
            == (below.st_mode, below.st_uid, below.st_gid);
        if !same || rustix::fs::unlinkat(ladder.current(), name, AtFlags::REMOVEDIR).is_err() {
            return;
        }
    }
}

fn climb(upper: &Dir, names: &[OsString]) -> Option<Ladder> {
    let mut ladder = Ladder::new(upper.as_fd()).ok()?;
    names.iter().try_for_each(|name| ladder.down(name)).ok()?;
    Some(ladder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_made_goes_and_what_a_program_left_stays() {
        let below = tempfile::tempdir().unwrap();
        let above = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(below.path().join("etc")).unwrap();
        std::fs::create_dir_all(below.path().join("here")).unwrap();
        std::os::unix::fs::symlink("etc", below.path().join("link")).unwrap();
        let root = Dir::open(below.path()).unwrap();
        let points = [
            "/etc/hosts",
            "/here",
            "/link/inner/secret",
            "/run/a/b",
            "/etc/kept",
        ];
        let stubs = find(&root, points);
        assert_eq!(stubs.len(), 4);
        let upper = above.path();
        for directory in ["etc/inner", "run/a"] {
            std::fs::create_dir_all(upper.join(directory)).unwrap();
        }
        for file in ["etc/hosts", "etc/inner/secret", "run/a/b"] {
            std::fs::write(upper.join(file), "").unwrap();
        }
        let outside = tempfile::tempdir().unwrap();
        std::fs::write(outside.path().join("b"), "").unwrap();
        // A program put a link in the way.
        std::fs::remove_dir_all(upper.join("run/a")).unwrap();
        std::os::unix::fs::symlink(outside.path(), upper.join("run/a")).unwrap();
        std::fs::write(upper.join("etc/kept"), "content").unwrap();
        remove(&Dir::open(upper).unwrap(), &root, &stubs);
        assert!(!upper.join("etc/hosts").exists());
        assert!(!upper.join("etc/inner").exists());
        assert!(outside.path().join("b").exists());
        assert!(upper.join("etc/kept").exists());
        std::fs::remove_file(upper.join("etc/kept")).unwrap();
        remove(&Dir::open(upper).unwrap(), &root, &stubs);
        assert!(!upper.join("etc").exists());
    }
}
