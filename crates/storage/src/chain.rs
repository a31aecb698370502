//! Layers stacked: what one archive alone does not say.
//!
//! Layers are unpacked without their parents, so that all are unpacked at once. Where a layer then
//! does not mean the same on top of its parents, it is fitted when an image is made of them:
//!
//! | in the layer | below it | so |
//! |---|---|---|
//! | a directory is only implied | the directory, other mode or owner | a layer of directories above it |
//! | a directory is only implied | a symbolic link | applied again, over the mounted parents |
//! | a hard link to no file of it | the file | applied again, over the mounted parents |
//! | everything hidden | anything | what is below is left out |
//! | the same diff id twice | | only the topmost counts (overlay answers ELOOP) |
//!
//! What is made so is kept in the store under the digest of its chain, for every image that has the
//! same layers up to there. To apply an archive again its parents are mounted as a detached overlay;
//! nothing is ever attached to the host's tree.

use std::collections::BTreeSet;
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, Mode, OFlags, Stat, Timespec, Timestamps};
use sys::rootfs::{Dir, RootError};
use sys::{Context, SysError, mount};
use types::digest::Digest;

use crate::blobs::digest_of;
use crate::compression;
use crate::error::{Result, StorageError};
use crate::layer::lower::LowerStack;
use crate::layer::unpack::{ApplyMode, UnpackError, UnpackOptions, UnpackReport, unpack};
use crate::layers::{LayerClaim, LayerId, LayerInfo, LayerWork};
use crate::lease::Lease;
use crate::store::Store;
use crate::tar::TarError;

/// overlay's own limit (`OVL_MAX_STACK`).
pub const LAYERS_MAX: usize = 500;
/// What unpacking gives a directory that no entry describes.
const IMPLIED_MODE: u32 = 0o755;
const PERMISSIONS: u32 = 0o7777;
/// See the design: with these an upper directory is a layer and nothing else.
const OVERLAY_OPTIONS: [&str; 4] = [
    "redirect_dir=off",
    "metacopy=off",
    "index=off",
    "nfs_export=off",
];

/// A layer as an image names it.
#[derive(Clone, Copy, Debug)]
pub struct ChainLink<'a> {
    /// Digest of the uncompressed archive.
    pub diff_id: &'a Digest,
    /// Digest of the archive as it is kept among the blobs, if it is.
    pub blob: Option<&'a Digest>,
}

/// How a layer relates to what is below it.
enum Fit {
    AsIs,
    /// These implied directories are there, with other metadata.
    Directories(Vec<PathBuf>),
    Again,
}

impl Store {
    /// The directories to mount for a chain of unpacked layers, topmost first. `chain` begins with
    /// the lowest. The lease keeps them until an image names them.
    ///
    /// # Errors
    /// Where a layer is missing, or cannot be fitted to those below it.
    pub fn stack(&self, lease: &Lease, chain: &[ChainLink<'_>]) -> Result<Vec<LayerId>> {
        if chain.len() > LAYERS_MAX {
            return Err(StorageError::TooManyLayers {
                count: chain.len(),
                limit: LAYERS_MAX,
            });
        }
        let mut lowers: Vec<LayerId> = Vec::new();
        for (at, link) in chain.iter().enumerate() {
            if chain[at + 1..]
                .iter()
                .any(|later| later.diff_id == link.diff_id)
            {
                continue;
            }
            lease.need(link.diff_id)?;
            let missing = || StorageError::NoSuchLayer {
                diff_id: link.diff_id.clone(),
            };
            let id = self.find_layer(link.diff_id)?.ok_or_else(missing)?;
            let info = self.layer_info(&id)?.ok_or_else(missing)?;
            if info.is_opaque {
                lowers.clear();
            }
            self.push_layer(lease, &mut lowers, link, id, &info)?;
        }
        if lowers.is_empty() {
            lowers.push(self.empty_layer(lease)?);
        }
        if lowers.len() > LAYERS_MAX {
            return Err(StorageError::TooManyLayers {
                count: lowers.len(),
                limit: LAYERS_MAX,
            });
        }
        lowers.reverse();
        Ok(lowers)
    }

    fn push_layer(
        &self,
        lease: &Lease,
        lowers: &mut Vec<LayerId>,
        link: &ChainLink<'_>,
        id: LayerId,
        info: &LayerInfo,
    ) -> Result<()> {
        if lowers.is_empty() && info.has_foreign_links {
            return Err(StorageError::DanglingHardLink {
                diff_id: link.diff_id.clone(),
            });
        }
        if lowers.is_empty() || !info.depends_on_parents() {
            lowers.push(id);
            return Ok(());
        }
        let directories = self.open_lowers(lowers)?;
        let parents = LowerStack::new(&directories);
        match fit(&parents, &self.open_layer(&id)?, info)? {
            Fit::AsIs => lowers.push(id),
            Fit::Again => lowers.push(self.apply_again(lease, lowers, link, info)?),
            Fit::Directories(paths) => {
                let above = self.directories(lease, lowers, link, &id, &parents, &paths)?;
                lowers.push(id);
                lowers.push(above);
            }
        }
        Ok(())
    }

    fn open_layer(&self, id: &LayerId) -> Result<Dir> {
        Ok(Dir::open(&self.layer_path(id)).map_err(SysError::from)?)
    }

    /// The topmost first.
    fn open_lowers(&self, lowers: &[LayerId]) -> Result<Vec<Dir>> {
        lowers.iter().rev().map(|id| self.open_layer(id)).collect()
    }

    /// Applies a layer's archive over its mounted parents; the upper directory is the layer.
    fn apply_again(
        &self,
        lease: &Lease,
        lowers: &[LayerId],
        link: &ChainLink<'_>,
        info: &LayerInfo,
    ) -> Result<LayerId> {
        let key = chain_key("applied", lowers, link.diff_id);
        let work = match self.claim_layer(lease, &key)? {
            LayerClaim::Ready(id) => return Ok(id),
            LayerClaim::Work(work) => work,
        };
        let diff_id = || link.diff_id.clone();
        let kept = info.archive.as_ref().map(|archive| &archive.digest);
        let blob = link
            .blob
            .or(kept)
            .ok_or_else(|| StorageError::NoArchive { diff_id: diff_id() })?;
        let scratch = sys::atomic::open_directory(&work.scratch()?)?;
        let upper = sys::atomic::open_directory(&work.tree())?;
        let directories: Vec<OwnedFd> = self
            .open_lowers(lowers)?
            .into_iter()
            .map(Dir::into_fd)
            .collect();
        let above = Some((upper.as_fd(), scratch.as_fd()));
        let merged = Dir::from_fd(mount::new_overlay(&directories, above, &OVERLAY_OPTIONS)?);
        let apply = |source: File| -> Result<UnpackReport, UnpackError> {
            let (_, source) =
                compression::decode(source).map_err(|source| TarError::Read { at: 0, source })?;
            let options = UnpackOptions {
                mode: ApplyMode::Merged,
                ..UnpackOptions::default()
            };
            unpack(source, &merged, &options)
        };
        let report = apply(self.open_blob(blob)?).map_err(|source| StorageError::Apply {
            diff_id: diff_id(),
            source,
        })?;
        drop(merged);
        let report = UnpackReport {
            bytes: report.bytes,
            ..UnpackReport::default()
        };
        work.finish(&report, None).publish()
    }

    /// A layer of nothing but directories, with the metadata that they have below.
    fn directories(
        &self,
        lease: &Lease,
        lowers: &[LayerId],
        link: &ChainLink<'_>,
        id: &LayerId,
        parents: &LowerStack<'_>,
        paths: &[PathBuf],
    ) -> Result<LayerId> {
        let key = chain_key("directories", lowers, link.diff_id);
        let work = match self.claim_layer(lease, &key)? {
            LayerClaim::Ready(id) => return Ok(id),
            LayerClaim::Work(work) => work,
        };
        let layer = self.open_layer(id)?;
        make_directories(&work, parents, &layer, paths)?;
        work.finish(&UnpackReport::default(), None).publish()
    }

    /// What an image without layers is mounted from.
    fn empty_layer(&self, lease: &Lease) -> Result<LayerId> {
        match self.claim_layer(lease, &digest_of(b"caisson: no layer at all"))? {
            LayerClaim::Ready(id) => Ok(id),
            LayerClaim::Work(work) => work.finish(&UnpackReport::default(), None).publish(),
        }
    }
}

fn chain_key(kind: &str, lowers: &[LayerId], diff_id: &Digest) -> Digest {
    let mut text = format!("caisson: {kind}\n{diff_id}\n");
    for lower in lowers {
        text.push_str(lower.as_str());
        text.push('\n');
    }
    digest_of(text.as_bytes())
}

fn fit(parents: &LowerStack<'_>, layer: &Dir, info: &LayerInfo) -> Result<Fit> {
    if info.has_foreign_links {
        return Ok(Fit::Again);
    }
    let implied: BTreeSet<PathBuf> = info.implied_directories().collect();
    let mut differ = Vec::new();
    'paths: for path in &implied {
        let mut found = None;
        for prefix in prefixes(path) {
            let Some(stat) = look_below(parents, prefix)? else {
                continue 'paths;
            };
            match FileType::from_raw_mode(stat.st_mode) {
                FileType::Directory => {}
                FileType::Symlink if implied.contains(prefix) => return Ok(Fit::Again),
                // The layer puts a directory in place of something else, which hides it.
                _ => continue 'paths,
            }
            if prefix != path && is_opaque(layer, prefix)? {
                continue 'paths;
            }
            found = Some(stat);
        }
        let plain = |stat: &Stat| {
            (stat.st_mode & PERMISSIONS, stat.st_uid, stat.st_gid) == (IMPLIED_MODE, 0, 0)
        };
        if found.is_some_and(|stat| !plain(&stat)) {
            differ.push(path.clone());
        }
    }
    Ok(if differ.is_empty() {
        Fit::AsIs
    } else {
        Fit::Directories(differ)
    })
}

fn make_directories(
    work: &LayerWork,
    parents: &LowerStack<'_>,
    layer: &Dir,
    paths: &[PathBuf],
) -> Result<()> {
    let root = work.root()?;
    let implied: BTreeSet<&Path> = paths.iter().map(PathBuf::as_path).collect();
    let all: BTreeSet<&Path> = paths.iter().flat_map(|path| prefixes(path)).collect();
    for &path in &all {
        root.mkdir_all(path, IMPLIED_MODE).map_err(SysError::from)?;
    }
    // Deepest first: what is made in a directory changes its time.
    for &path in all.iter().rev() {
        // A parent that the layer itself describes keeps that description.
        let described = if implied.contains(path) {
            None
        } else {
            look(layer, path)?
        };
        let stat = match described {
            Some(stat) => stat,
            None => match look_below(parents, path)? {
                Some(stat) => stat,
                None => continue,
            },
        };
        set_metadata(&root, path, &stat)?;
    }
    // The topmost directory describes the root as well.
    let stat = rustix::fs::fstat(layer).on("read", "the root of a layer")?;
    set_metadata(&root, Path::new("."), &stat)
}

fn set_metadata(root: &Dir, path: &Path, stat: &Stat) -> Result<()> {
    let directory = root.open_dir(path).map_err(SysError::from)?;
    let (uid, gid) = (
        rustix::fs::Uid::from_raw(stat.st_uid),
        rustix::fs::Gid::from_raw(stat.st_gid),
    );
    rustix::fs::fchown(&directory, Some(uid), Some(gid)).on("set the owner of", path.display())?;
    let mode = Mode::from_raw_mode(stat.st_mode & PERMISSIONS);
    rustix::fs::fchmod(&directory, mode).on("set the mode of", path.display())?;
    let time = Timespec {
        tv_sec: stat.st_mtime,
        tv_nsec: stat.st_mtime_nsec as _,
    };
    let times = Timestamps {
        last_access: time,
        last_modification: time,
    };
    Ok(rustix::fs::futimens(&directory, &times).on("set the time of", path.display())?)
}

fn look_below(parents: &LowerStack<'_>, path: &Path) -> Result<Option<Stat>> {
    Ok(parents
        .lookup(path)
        .map_err(SysError::from)?
        .map(|entry| entry.stat))
}

/// The object at a path, links at its end not followed; `None` where there is none.
fn look(root: &Dir, path: &Path) -> Result<Option<Stat>> {
    match root.symlink_metadata(path) {
        Ok(stat) => Ok(Some(stat)),
        Err(error) if error.is_not_found() || is_in_the_way(&error) => Ok(None),
        Err(error) => Err(SysError::from(error).into()),
    }
}

fn is_in_the_way(error: &RootError) -> bool {
    matches!(
        error.errno,
        rustix::io::Errno::NOTDIR | rustix::io::Errno::LOOP
    )
}

fn is_opaque(layer: &Dir, path: &Path) -> Result<bool> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let (parent, name) = layer.open_parent(path).map_err(SysError::from)?;
    let directory = rustix::fs::openat(&parent, &name, flags, Mode::empty());
    let directory = directory.on("open", path.display())?;
    Ok(crate::layer::is_opaque(directory.as_fd()).on("read", path.display())?)
}

/// `a`, `a/b`, `a/b/c`.
fn prefixes(path: &Path) -> Vec<&Path> {
    let mut all: Vec<&Path> = path
        .ancestors()
        .filter(|prefix| !prefix.as_os_str().is_empty())
        .collect();
    all.reverse();
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::tests::Scratch;
    use crate::tar::{Entry, Kind, TarWriter};
    use std::os::unix::fs::MetadataExt;

    fn entry(path: &str, kind: Kind, link: &str, mode: u32, size: u64) -> Entry {
        let (path, link) = (path.as_bytes().to_vec(), link.as_bytes().to_vec());
        Entry {
            path,
            link,
            kind,
            mode,
            size,
            ..Entry::default()
        }
    }

    fn file(path: &str) -> Entry {
        entry(path, Kind::File, "", 0o644, 3)
    }

    fn directory(path: &str, mode: u32) -> Entry {
        entry(path, Kind::Directory, "", mode, 0)
    }

    /// Unpacks an archive as pull does, its blob kept, and returns diff id and blob.
    fn add(store: &Store, lease: &Lease, entries: &[Entry]) -> Digest {
        let mut writer = TarWriter::new(Vec::new());
        for entry in entries {
            let data: &[u8] = if entry.kind == Kind::File {
                b"abc"
            } else {
                b""
            };
            writer.append_bytes(entry, data).unwrap();
        }
        let bytes = writer.finish().unwrap();
        let digest = store.put_blob(lease, &bytes).unwrap();
        if let LayerClaim::Work(work) = store.claim_layer(lease, &digest).unwrap() {
            let root = work.root().unwrap();
            let report = unpack(&bytes[..], &root, &UnpackOptions::default()).unwrap();
            work.finish(&report, None).publish().unwrap();
        }
        digest
    }

    fn stack(store: &Store, lease: &Lease, chain: &[&Digest]) -> Result<Vec<PathBuf>> {
        let links: Vec<ChainLink<'_>> = chain
            .iter()
            .map(|&diff_id| ChainLink {
                diff_id,
                blob: Some(diff_id),
            })
            .collect();
        Ok(store
            .stack(lease, &links)?
            .iter()
            .map(|id| store.layer_path(id))
            .collect())
    }

    /// Looks at the tree that the layers make together.
    fn merged(lowers: &[PathBuf]) -> Dir {
        if let [only] = lowers {
            return Dir::open(only).unwrap();
        }
        let lowers: Vec<OwnedFd> = lowers
            .iter()
            .map(|path| Dir::open(path).unwrap().into_fd())
            .collect();
        Dir::from_fd(mount::new_overlay(&lowers, None, &OVERLAY_OPTIONS).unwrap())
    }

    #[test]
    fn layers_that_say_all_are_stacked_as_they_are_and_a_repeated_one_once() {
        let scratch = Scratch::new();
        let (store, lease) = (&scratch.store, scratch.store.lease().unwrap());
        let a = add(store, &lease, &[directory("d", 0o700), file("d/a")]);
        let b = add(store, &lease, &[directory("d", 0o711), file("d/b")]);
        let lowers = stack(store, &lease, &[&a, &b, &a]).unwrap();
        assert_eq!(lowers.len(), 2);
        assert!(lowers[0].join("d/a").exists() && lowers[1].join("d/b").exists());
        assert_eq!(stack(store, &lease, &[]).unwrap().len(), 1);
    }

    #[test]
    fn an_implied_directory_keeps_the_metadata_that_it_has_below() {
        let scratch = Scratch::new();
        let (store, lease) = (&scratch.store, scratch.store.lease().unwrap());
        let mut temporary = directory("tmp", 0o1777);
        temporary.uid = 7;
        let base = add(store, &lease, &[directory("usr", 0o755), temporary]);
        let top = add(store, &lease, &[file("tmp/x/y"), file("usr/z")]);
        let lowers = stack(store, &lease, &[&base, &top]).unwrap();
        assert_eq!(lowers.len(), 3);
        let tree = merged(&lowers);
        let stat = tree.metadata(Path::new("tmp")).unwrap();
        assert_eq!((stat.st_mode & PERMISSIONS, stat.st_uid), (0o1777, 7));
        assert_eq!(
            tree.metadata(Path::new("tmp/x")).unwrap().st_mode & PERMISSIONS,
            0o755
        );
        assert!(tree.metadata(Path::new("tmp/x/y")).is_ok());
        // The published layer itself did not change, and a second image takes the same directories.
        assert_eq!(
            std::fs::metadata(lowers[1].join("tmp")).unwrap().mode() & PERMISSIONS,
            0o755
        );
        assert_eq!(stack(store, &lease, &[&base, &top]).unwrap(), lowers);
    }

    #[test]
    fn a_link_below_an_implied_directory_and_a_foreign_hard_link_are_applied_over_the_parents() {
        let scratch = Scratch::new();
        let (store, lease) = (&scratch.store, scratch.store.lease().unwrap());
        let base = add(
            store,
            &lease,
            &[
                directory("real", 0o755),
                file("real/old"),
                entry("bin", Kind::Symlink, "real", 0o777, 0),
            ],
        );
        let through = add(store, &lease, &[file("bin/new")]);
        let linked = add(
            store,
            &lease,
            &[entry("copy", Kind::HardLink, "real/old", 0o644, 0)],
        );
        let lowers = stack(store, &lease, &[&base, &through, &linked]).unwrap();
        let tree = merged(&lowers);
        let link = tree.read_link(Path::new("bin")).unwrap();
        assert_eq!(link, "real");
        assert!(tree.symlink_metadata(Path::new("real/new")).is_ok());
        assert_eq!(tree.read_limited(Path::new("copy"), 10).unwrap(), b"abc");
        let alone = stack(store, &lease, &[&linked]);
        assert!(
            matches!(alone, Err(StorageError::DanglingHardLink { .. })),
            "{alone:?}"
        );
        let without = [
            ChainLink {
                diff_id: &base,
                blob: None,
            },
            ChainLink {
                diff_id: &linked,
                blob: None,
            },
        ];
        // Fitted already over other parents; over these it has no archive to be applied from.
        let answer = store.stack(&lease, &without);
        assert!(
            matches!(answer, Err(StorageError::NoArchive { .. })),
            "{answer:?}"
        );
    }

    #[test]
    fn too_many_layers_are_refused() {
        let scratch = Scratch::new();
        let lease = scratch.store.lease().unwrap();
        let digest = digest_of(b"");
        let chain = vec![
            ChainLink {
                diff_id: &digest,
                blob: None
            };
            LAYERS_MAX + 1
        ];
        let answer = scratch.store.stack(&lease, &chain);
        assert!(matches!(
            answer,
            Err(StorageError::TooManyLayers { count: 501, .. })
        ));
    }
}
