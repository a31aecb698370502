//! Two stacks of layers, compared as the trees that they mount as: what `image diff` lists.
//!
//! Times do not count: two builds of the same differ in them alone. Where both stacks go on with the
//! very same layers there is nothing to compare, which is why images of one family cost little.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, OFlags, Stat};
use rustix::io::Errno;
use sys::rootfs::{Dir, RootError};

use super::{CHANGES_MAX, Change, ChangeKind, note};
use crate::layer::is_directory;
use crate::layer::lower::{LowerEntry, LowerStack};

const BUFFER_BYTES: usize = 64 << 10;

/// A directory that is in one of the trees at least, and the layers that it merges in each.
struct Pending {
    path: PathBuf,
    old: Vec<usize>,
    new: Vec<usize>,
}

struct Trees<'a> {
    old: &'a [Dir],
    new: &'a [Dir],
    /// Device and inode of each layer.
    old_ids: Vec<(u64, u64)>,
    new_ids: Vec<(u64, u64)>,
}

/// What is in `new` and not, or otherwise, in `old`. Layers the topmost first.
///
/// # Errors
/// Where they cannot be read, or differ in more than millions of paths.
pub fn diff_stacks(old: &[Dir], new: &[Dir]) -> Result<Vec<Change>, RootError> {
    let trees = Trees {
        old,
        new,
        old_ids: ids(old)?,
        new_ids: ids(new)?,
    };
    let mut changes = BTreeMap::new();
    let mut pending = vec![Pending {
        path: PathBuf::new(),
        old: (0..old.len()).collect(),
        new: (0..new.len()).collect(),
    }];
    while let Some(directory) = pending.pop() {
        trees.compare(&directory, &mut changes, &mut pending)?;
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

fn ids(layers: &[Dir]) -> Result<Vec<(u64, u64)>, RootError> {
    let id = |layer: &Dir| layer.metadata(Path::new("")).map(|stat| identity(&stat));
    layers.iter().map(id).collect()
}

fn identity(stat: &Stat) -> (u64, u64) {
    (stat.st_dev, stat.st_ino)
}

impl Trees<'_> {
    fn compare(
        &self,
        directory: &Pending,
        changes: &mut BTreeMap<PathBuf, ChangeKind>,
        pending: &mut Vec<Pending>,
    ) -> Result<(), RootError> {
        let of_old = directory.old.iter().map(|&at| self.old_ids[at]);
        let of_new = directory.new.iter().map(|&at| self.new_ids[at]);
        if of_old.eq(of_new) {
            return Ok(());
        }
        let (old, new) = (LowerStack::new(self.old), LowerStack::new(self.new));
        let path = &directory.path;
        let mut names = BTreeSet::new();
        names.extend(old.names(path, &directory.old)?);
        names.extend(new.names(path, &directory.new)?);
        for name in names {
            let before = old.child(path, &directory.old, &name)?;
            let after = new.child(path, &directory.new, &name)?;
            let path = path.join(&name);
            let kind = match (&before, &after) {
                (None, None) => continue,
                (None, Some(_)) => Some(ChangeKind::Added),
                (Some(_), None) => Some(ChangeKind::Deleted),
                (Some(before), Some(after)) => {
                    let same = self.is_same(&path, before, after)?;
                    (!same).then_some(ChangeKind::Changed)
                }
            };
            if let Some(kind) = kind {
                note(changes, &path, kind);
            }
            // What goes with a directory is not listed one by one, as `diff` has it.
            if let Some(after) = after.filter(|after| is_directory(&after.stat)) {
                pending.push(Pending {
                    path,
                    old: before.map(|before| before.visible).unwrap_or_default(),
                    new: after.visible,
                });
            }
        }
        Ok(())
    }

    fn is_same(
        &self,
        path: &Path,
        before: &LowerEntry,
        after: &LowerEntry,
    ) -> Result<bool, RootError> {
        let (a, b) = (&before.stat, &after.stat);
        if identity(a) == identity(b) {
            return Ok(true);
        }
        let known = |stat: &Stat| (stat.st_mode, stat.st_uid, stat.st_gid);
        if known(a) != known(b) {
            return Ok(false);
        }
        let (old, new) = (&self.old[before.layer], &self.new[after.layer]);
        match FileType::from_raw_mode(a.st_mode) {
            FileType::RegularFile => Ok(a.st_size == b.st_size && is_same_file(path, old, new)?),
            FileType::Symlink => Ok(old.read_link(path)? == new.read_link(path)?),
            FileType::CharacterDevice | FileType::BlockDevice => Ok(a.st_rdev == b.st_rdev),
            _ => Ok(true),
        }
    }
}

fn is_same_file(path: &Path, old: &Dir, new: &Dir) -> Result<bool, RootError> {
    let open = |layer: &Dir| {
        let fd = layer.open_file(path, OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW, 0)?;
        Ok::<_, RootError>(std::fs::File::from(fd))
    };
    let (mut old, mut new) = (open(old)?, open(new)?);
    let failed = |error: std::io::Error| {
        let errno = Errno::from_io_error(&error).unwrap_or(Errno::IO);
        RootError::new("read", path, errno)
    };
    let (mut a, mut b) = (vec![0; BUFFER_BYTES], vec![0; BUFFER_BYTES]);
    loop {
        let count = old.read(&mut a).map_err(failed)?;
        if count == 0 {
            return Ok(new.read(&mut b[..1]).map_err(failed)? == 0);
        }
        match new.read_exact(&mut b[..count]) {
            Ok(()) if a[..count] == b[..count] => {}
            Ok(()) => return Ok(false),
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => return Ok(false),
            Err(error) => return Err(failed(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    #[test]
    fn trees_are_compared_and_not_their_layers() {
        let root = std::env::temp_dir().join(format!("caisson-stacks-{}", std::process::id()));
        let layer = |name: &str, files: &[(&str, &str)]| {
            for (file, text) in files {
                let path = root.join(name).join(file);
                std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                std::fs::write(path, text).unwrap();
            }
            root.join(name)
        };
        let base = layer(
            "base",
            &[
                ("d/same", "1"),
                ("d/other", "1"),
                ("gone/x", "1"),
                ("mode", "m"),
            ],
        );
        symlink("a", base.join("link")).unwrap();
        let top = layer("top", &[("d/other", "2"), ("d/new/file", "n")]);
        // Everything in one layer.
        let flat = layer(
            "flat",
            &[
                ("d/same", "1"),
                ("d/other", "2"),
                ("d/new/file", "n"),
                ("gone/x", "1"),
                ("mode", "m"),
            ],
        );
        symlink("a", flat.join("link")).unwrap();
        let third = layer("third", &[("d/same", "1"), ("d/other", "1"), ("mode", "m")]);
        symlink("b", third.join("link")).unwrap();
        std::fs::set_permissions(third.join("mode"), std::fs::Permissions::from_mode(0o600))
            .unwrap();
        let open = |paths: &[&PathBuf]| {
            paths
                .iter()
                .map(|path| Dir::open(path).unwrap())
                .collect::<Vec<_>>()
        };
        let listed = |old: &[&PathBuf], new: &[&PathBuf]| {
            let changes = diff_stacks(&open(old), &open(new)).unwrap();
            let line =
                |change: &Change| format!("{}{}", change.kind.letter(), change.path.display());
            changes.iter().map(line).collect::<Vec<_>>()
        };
        assert!(listed(&[&top, &base], &[&flat]).is_empty());
        assert!(listed(&[&base], &[&base]).is_empty());
        let added = ["C/d", "A/d/new", "A/d/new/file", "C/d/other"];
        assert_eq!(listed(&[&base], &[&top, &base]), added);
        assert_eq!(listed(&[&base], &[&third]), ["D/gone", "C/link", "C/mode"]);
        assert_eq!(listed(&[&third], &[&base])[..2], ["A/gone", "A/gone/x"]);
        std::fs::remove_dir_all(&root).unwrap();
    }
}
