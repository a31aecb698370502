//! Volumes: directories that outlive their containers, and copies of them.
//!
//! ```text
//! volumes/<name>/record            what it was made to be
//!               /data              what containers see
//!               /snapshots/<tag>   copies of `data`
//! ```
//! Every copy is made beside its place, synced, and put there by one rename, so that none is ever
//! half there.

mod copy;

use std::collections::BTreeMap;
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, RenameFlags};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use sys::atomic::{self, Durability};
use sys::lock::Lock;
use sys::{Context, SysError};
use types::json::Fault;

pub use copy::copy_tree;

use crate::error::StorageError;
use crate::store::{Store, remove_tree};
use crate::trash::{Fate, TrashKind};

/// The version of the record that this program writes.
pub const RECORD_VERSION: u32 = 1;
const RECORD: &str = "record";
const DATA: &str = "data";
const SNAPSHOTS: &str = "snapshots";
/// A copy on its way.
const NEW: &str = "new";
const RECORD_BYTES_MAX: u64 = 1 << 20;

/// What a volume was made to be.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct VolumeRecord {
    /// Version of this document.
    pub version: u32,
    /// Its name.
    pub name: String,
    /// When it was made, RFC 3339.
    pub created: String,
    /// It was made for one container, which gave it no name.
    pub anonymous: bool,
    /// `--label`.
    pub labels: BTreeMap<String, String>,
    /// `--opt`.
    pub options: BTreeMap<String, String>,
}

/// Why a volume cannot be made, found or copied.
#[derive(Debug, thiserror::Error)]
pub enum VolumeError {
    /// There is none.
    #[error("get {0}: no such volume")]
    Missing(String),
    /// Another one has the name.
    #[error("volume {0} is there already")]
    Exists(String),
    /// A text that names no volume or snapshot.
    #[error("{0}")]
    Name(String),
    /// No snapshot has this tag.
    #[error("volume {volume} has no snapshot {tag}")]
    NoSnapshot {
        /// The volume.
        volume: String,
        /// The tag.
        tag: String,
    },
    /// A snapshot has this tag.
    #[error("volume {volume} has a snapshot {tag} already")]
    SnapshotExists {
        /// The volume.
        volume: String,
        /// The tag.
        tag: String,
    },
    /// A record that cannot be read.
    #[error(
        "the record of volume {name} is damaged ({fault}); `caisson volume rm -f {name}` removes it with what is in {}",
        data.display()
    )]
    Damaged {
        /// The volume.
        name: String,
        /// Where its data is.
        data: PathBuf,
        /// What is wrong with it.
        fault: Fault,
    },
    /// An archive that is damaged, hostile, or compressed in a way that is not known.
    #[error("cannot unpack the archive")]
    Archive(#[source] crate::layer::unpack::UnpackError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StorageError),
    /// The disk.
    #[error(transparent)]
    Sys(#[from] SysError),
}

type Result<T> = std::result::Result<T, VolumeError>;

/// Whether a volume can have this name.
///
/// # Errors
/// Why it cannot.
pub fn check(name: &str) -> Result<()> {
    types::volume_flag::check_volume_name(name)
        .map_err(|error| VolumeError::Name(error.to_string()))
}

fn check_tag(tag: &str) -> Result<()> {
    types::volume_flag::check_snapshot_tag(tag)
        .map_err(|error| VolumeError::Name(error.to_string()))
}

impl Store {
    /// The directory of a volume.
    pub fn volume_directory(&self, name: &str) -> PathBuf {
        self.path("volumes").join(name)
    }

    /// What containers see of a volume.
    pub fn volume_data(&self, name: &str) -> PathBuf {
        self.volume_directory(name).join(DATA)
    }

    /// Makes a volume; `false` where it is there already.
    ///
    /// # Errors
    /// A name that is none, or the disk's answer.
    pub fn create_volume(&self, record: &VolumeRecord) -> Result<bool> {
        self.create_with(record, |data| {
            Ok(std::fs::create_dir(data).on("make", data.display())?)
        })
    }

    /// Makes a volume whose content `fill` makes at the path that it is given.
    fn create_with(
        &self,
        record: &VolumeRecord,
        fill: impl FnOnce(&Path) -> Result<()>,
    ) -> Result<bool> {
        check(&record.name)?;
        let target = self.volume_directory(&record.name);
        if target.exists() {
            return Ok(false);
        }
        let half_made = self.tmp()?;
        let directory = atomic::open_directory(half_made.path())?;
        let bytes = serde_json::to_vec(record).expect("invariant: records have JSON forms");
        fill(&half_made.path().join(DATA))?;
        atomic::write_new_at(&directory, RECORD, &bytes, Durability::Synced)?;
        sys::fail::point("storage.volume.described");
        match rustix::fs::renameat_with(CWD, half_made.path(), CWD, &target, RenameFlags::NOREPLACE)
        {
            Ok(()) => {}
            Err(Errno::EXIST) => return Ok(false),
            Err(errno) => {
                return Err(SysError::new("publish", target.display().to_string(), errno).into());
            }
        }
        drop(half_made.into_lock());
        atomic::sync_directory(atomic::open_directory(&self.path("volumes"))?)?;
        sys::fail::point("storage.volume.published");
        Ok(true)
    }

    /// Makes a volume from a tar, compressed or not: whole, or not at all.
    ///
    /// # Errors
    /// [`VolumeError::Exists`], [`VolumeError::Archive`].
    pub fn import_volume(&self, record: &VolumeRecord, source: impl Read + Send) -> Result<()> {
        use crate::layer::unpack::{ApplyMode, UnpackOptions, Whiteouts, unpack};
        use crate::tar::reader::LONG_PATH_BYTES_MAX;
        use crate::tar::{Limits, TarError};
        let options = UnpackOptions {
            limits: Limits {
                path_bytes_max: LONG_PATH_BYTES_MAX,
                ..Limits::default()
            },
            mode: ApplyMode::Merged,
            whiteouts: Whiteouts::Literal,
            ..UnpackOptions::default()
        };
        let made = self.create_with(record, |data| {
            std::fs::create_dir(data).on("make", data.display())?;
            let root = sys::rootfs::Dir::open(data).map_err(SysError::from)?;
            let damaged = |source| VolumeError::Archive(TarError::Read { at: 0, source }.into());
            let source = crate::compression::filled(source).map_err(damaged)?;
            let (_, source) = crate::compression::decode(source).map_err(damaged)?;
            unpack(source, &root, &options).map_err(VolumeError::Archive)?;
            Ok(rustix::fs::syncfs(&root).on("sync", data.display())?)
        })?;
        match made {
            true => Ok(()),
            false => Err(VolumeError::Exists(record.name.clone())),
        }
    }

    /// Removes copies that a killed command left unfinished beside the data of volumes.
    pub(crate) fn sweep_copies(&self) -> usize {
        let entries = std::fs::read_dir(self.path("volumes"));
        let copies = entries.into_iter().flatten().flatten();
        let copies = copies.map(|entry| entry.path().join(NEW));
        let sweep = |copy: &PathBuf| {
            // Whoever makes one has the volume locked.
            let lock = copy.parent().map(Lock::try_acquire_directory);
            let lock = lock.and_then(|lock| lock.ok().flatten());
            lock.is_some() && remove_tree(copy).is_ok()
        };
        copies.filter(|copy| copy.exists()).filter(sweep).count()
    }

    /// The volume of a name.
    ///
    /// # Errors
    /// [`VolumeError::Missing`], or a damaged record.
    pub fn volume(&self, name: &str) -> Result<VolumeRecord> {
        let missing = || VolumeError::Missing(name.to_owned());
        if check(name).is_err() {
            return Err(missing());
        }
        let directory = self.volume_directory(name);
        let damaged = |fault| VolumeError::Damaged {
            name: name.to_owned(),
            data: self.volume_data(name),
            fault,
        };
        let bytes = match atomic::read_limited(&directory.join(RECORD), RECORD_BYTES_MAX) {
            // It comes and goes with its record.
            Err(error) if error.errno == Errno::NOENT => match directory.exists() {
                true => return Err(damaged(Fault::of_whole("it is gone"))),
                false => return Err(missing()),
            },
            Err(error) if atomic::is_no_file(&error) => {
                return Err(damaged(Fault::of_whole(error.to_string())));
            }
            other => other?,
        };
        let mut record: VolumeRecord = types::json::read(&bytes).map_err(damaged)?;
        // A command that was killed while it renamed the volume left the old one in the record.
        name.clone_into(&mut record.name);
        Ok(record)
    }

    /// All volumes, by name, but for damaged ones.
    ///
    /// # Errors
    /// The disk's answer.
    pub fn volumes(&self) -> Result<Vec<VolumeRecord>> {
        self.volumes_and_damage().map(|(all, _)| all)
    }

    /// All volumes, by name, and what is wrong with those that cannot be read.
    ///
    /// # Errors
    /// The disk's answer.
    pub fn volumes_and_damage(&self) -> Result<(Vec<VolumeRecord>, Vec<VolumeError>)> {
        let path = self.path("volumes");
        let entries = std::fs::read_dir(&path).on("list", path.display())?;
        let names = entries
            .flatten()
            .filter_map(|entry| entry.file_name().into_string().ok());
        let (mut all, mut damaged) = (Vec::new(), Vec::new());
        for name in names {
            match self.volume(&name) {
                Ok(record) => all.push(record),
                Err(VolumeError::Missing(_)) => {}
                Err(error) => damaged.push(error),
            }
        }
        all.sort_by(|one, other| one.name.cmp(&other.name));
        Ok((all, damaged))
    }

    /// Waits for the lock of a volume.
    ///
    /// # Errors
    /// [`VolumeError::Missing`] where it is gone.
    pub fn lock_volume(&self, name: &str) -> Result<Lock> {
        let missing = || VolumeError::Missing(name.to_owned());
        let path = self.volume_directory(name);
        let directory = match atomic::open_directory(&path) {
            Err(error) if error.errno == Errno::NOENT => return Err(missing()),
            other => other?,
        };
        let lock = Lock::acquire_fd(directory)?;
        match path.exists() {
            true => Ok(lock),
            false => Err(missing()),
        }
    }

    /// Removes a volume; it must be locked.
    ///
    /// # Errors
    /// The disk's answer.
    pub fn remove_volume(&self, name: &str, _lock: &Lock, fate: Fate) -> Result<()> {
        let directory = self.volume_directory(name);
        if fate == Fate::Kept
            && self
                .put_into_trash(&directory, TrashKind::Volume, name)
                .is_some()
        {
            return Ok(());
        }
        let taken = self.taken()?;
        rustix::fs::rename(&directory, &taken).on("remove", directory.display())?;
        sys::fail::point("storage.volume.taken");
        Ok(remove_tree(&taken)?)
    }

    /// A name under `tmp/` that nobody has.
    fn taken(&self) -> Result<PathBuf> {
        let place = self.tmp()?;
        let path = place.path().with_extension("volume");
        Ok(path)
    }

    /// Fills a volume that is empty with what a directory holds; its own mode and owner too. The
    /// volume must be locked.
    ///
    /// # Errors
    /// The disk's answer; the volume is then still empty.
    pub fn fill_volume(&self, name: &str, from: BorrowedFd<'_>, _lock: &Lock) -> Result<()> {
        let data = self.volume_data(name);
        let mut entries = std::fs::read_dir(&data).on("list", data.display())?;
        if entries.next().is_some() {
            return Ok(());
        }
        let new = self.copied(name, from)?;
        rustix::fs::rename(&new, &data).on("fill", data.display())?;
        sys::fail::point("storage.volume.filled");
        Ok(())
    }

    /// A synced copy of a directory beside a volume's data.
    fn copied(&self, name: &str, from: BorrowedFd<'_>) -> Result<PathBuf> {
        let new = self.volume_directory(name).join(NEW);
        remove_tree(&new)?;
        copy_to(from, &new)?;
        sys::fail::point("storage.volume.copied");
        Ok(new)
    }

    /// Copies a volume's data under a tag; it must be locked.
    ///
    /// # Errors
    /// [`VolumeError::SnapshotExists`].
    pub fn snapshot_volume(&self, name: &str, tag: &str, _lock: &Lock) -> Result<()> {
        check_tag(tag)?;
        let snapshots = self.volume_directory(name).join(SNAPSHOTS);
        match rustix::fs::mkdir(&snapshots, Mode::from_raw_mode(0o700)) {
            Ok(()) | Err(Errno::EXIST) => {}
            other => other.on("make", snapshots.display())?,
        }
        let target = snapshots.join(tag);
        if target.exists() {
            return Err(VolumeError::SnapshotExists {
                volume: name.to_owned(),
                tag: tag.to_owned(),
            });
        }
        let data = atomic::open_directory(&self.volume_data(name))?;
        let new = self.copied(name, data.as_fd())?;
        rustix::fs::rename(&new, &target).on("publish", target.display())?;
        atomic::sync_directory(atomic::open_directory(&snapshots)?)?;
        sys::fail::point("storage.volume.snapshot");
        Ok(())
    }

    /// Tags of a volume's snapshots, by name.
    pub fn snapshots(&self, name: &str) -> Vec<String> {
        let path = self.volume_directory(name).join(SNAPSHOTS);
        let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
        let mut tags: Vec<String> = entries
            .filter_map(|entry| entry.file_name().into_string().ok())
            .collect();
        tags.sort();
        tags
    }

    /// Makes a volume's data what it was at a snapshot, which stays; it must be locked, and no
    /// container may run on it.
    ///
    /// # Errors
    /// [`VolumeError::NoSnapshot`].
    pub fn restore_volume(&self, name: &str, tag: &str, _lock: &Lock) -> Result<()> {
        let no_snapshot = || VolumeError::NoSnapshot {
            volume: name.to_owned(),
            tag: tag.to_owned(),
        };
        check_tag(tag).map_err(|_| no_snapshot())?;
        let path = self.volume_directory(name).join(SNAPSHOTS).join(tag);
        let snapshot = atomic::open_directory(&path).map_err(|_| no_snapshot())?;
        let new = self.copied(name, snapshot.as_fd())?;
        let data = self.volume_data(name);
        rustix::fs::renameat_with(CWD, &new, CWD, &data, RenameFlags::EXCHANGE)
            .on("restore", data.display())?;
        sys::fail::point("storage.volume.restored");
        atomic::sync_directory(atomic::open_directory(&self.volume_directory(name))?)?;
        Ok(remove_tree(&new)?)
    }

    /// Removes a snapshot; the volume must be locked.
    ///
    /// # Errors
    /// [`VolumeError::NoSnapshot`].
    pub fn remove_snapshot(&self, name: &str, tag: &str, _lock: &Lock) -> Result<()> {
        if !self.snapshots(name).iter().any(|one| one == tag) {
            return Err(VolumeError::NoSnapshot {
                volume: name.to_owned(),
                tag: tag.to_owned(),
            });
        }
        let taken = self.taken()?;
        let path = self.volume_directory(name).join(SNAPSHOTS).join(tag);
        rustix::fs::rename(&path, &taken).on("remove", path.display())?;
        Ok(remove_tree(&taken)?)
    }

    /// Makes a new volume with the data of another, which must be locked.
    ///
    /// # Errors
    /// [`VolumeError::Exists`].
    pub fn clone_volume(&self, name: &str, record: &VolumeRecord, _lock: &Lock) -> Result<()> {
        let data = atomic::open_directory(&self.volume_data(name))?;
        match self.create_with(record, |target| copy_to(data.as_fd(), target))? {
            true => Ok(()),
            false => Err(VolumeError::Exists(record.name.clone())),
        }
    }

    /// Gives a volume another name; it must be locked, and no container may have it.
    ///
    /// # Errors
    /// [`VolumeError::Exists`].
    pub fn rename_volume(&self, name: &str, new: &str, _lock: &Lock) -> Result<()> {
        check(new)?;
        let mut record = self.volume(name)?;
        let (from, to) = (self.volume_directory(name), self.volume_directory(new));
        match rustix::fs::renameat_with(CWD, &from, CWD, &to, RenameFlags::NOREPLACE) {
            Err(Errno::EXIST) => return Err(VolumeError::Exists(new.to_owned())),
            other => other.on("rename", name)?,
        }
        sys::fail::point("storage.volume.renamed");
        // The directory's name counts; the record's own is for people.
        new.clone_into(&mut record.name);
        record.anonymous = false;
        let bytes = serde_json::to_vec(&record).expect("invariant: records have JSON forms");
        Ok(atomic::write(&to.join(RECORD), &bytes, Durability::Synced)?)
    }
}

/// Copies a directory to a path where nothing is, and syncs it.
fn copy_to(from: BorrowedFd<'_>, to: &Path) -> Result<()> {
    std::fs::create_dir(to).on("make", to.display())?;
    let target = atomic::open_directory(to)?;
    copy_tree(from, target.as_fd())?;
    Ok(rustix::fs::syncfs(&target).on("sync", to.display())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store() -> (tempfile::TempDir, Store) {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(&directory.path().join("s"), &directory.path().join("r")).unwrap();
        (directory, store)
    }

    fn record(name: &str) -> VolumeRecord {
        VolumeRecord {
            version: RECORD_VERSION,
            name: name.into(),
            ..Default::default()
        }
    }

    #[test]
    fn volumes_are_made_copied_and_removed() {
        let (_kept, store) = store();
        assert!(store.create_volume(&record("one")).unwrap());
        assert!(!store.create_volume(&record("one")).unwrap());
        let data = store.volume_data("one");
        std::fs::write(data.join("file"), "old").unwrap();
        std::os::unix::fs::symlink("file", data.join("link")).unwrap();
        let lock = store.lock_volume("one").unwrap();
        store.snapshot_volume("one", "v1", &lock).unwrap();
        assert!(matches!(
            store.snapshot_volume("one", "v1", &lock),
            Err(VolumeError::SnapshotExists { .. })
        ));
        std::fs::write(data.join("file"), "new").unwrap();
        store.clone_volume("one", &record("two"), &lock).unwrap();
        store.restore_volume("one", "v1", &lock).unwrap();
        assert_eq!(std::fs::read_to_string(data.join("link")).unwrap(), "old");
        let two = store.volume_data("two").join("file");
        assert_eq!(std::fs::read_to_string(two).unwrap(), "new");
        assert!(store.restore_volume("one", "../v1", &lock).is_err());
        store.rename_volume("one", "three", &lock).unwrap();
        assert!(matches!(
            store.rename_volume("three", "two", &lock),
            Err(VolumeError::Exists(_))
        ));
        assert_eq!(store.snapshots("three"), ["v1"]);
        store.remove_volume("three", &lock, Fate::Erased).unwrap();
        let names: Vec<String> = store
            .volumes()
            .unwrap()
            .into_iter()
            .map(|one| one.name)
            .collect();
        assert_eq!(names, ["two"]);
        for name in ["..", "a/b", "", "x"] {
            assert!(store.create_volume(&record(name)).is_err(), "{name}");
            assert!(store.volume(name).is_err(), "{name}");
        }
        assert_eq!(std::fs::read_dir(store.path("tmp")).unwrap().count(), 0);
    }

    #[test]
    fn only_an_empty_volume_is_filled() {
        let (kept, store) = store();
        store.create_volume(&record("one")).unwrap();
        let source = kept.path().join("image");
        std::fs::create_dir_all(source.join("sub")).unwrap();
        std::fs::write(source.join("sub/a"), "1").unwrap();
        std::fs::hard_link(source.join("sub/a"), source.join("b")).unwrap();
        rustix::fs::chmod(&source, Mode::from_raw_mode(0o1777)).unwrap();
        let from = atomic::open_directory(&source).unwrap();
        let lock = store.lock_volume("one").unwrap();
        store.fill_volume("one", from.as_fd(), &lock).unwrap();
        let data = store.volume_data("one");
        let stat = |path: &Path| rustix::fs::stat(path).unwrap();
        assert_eq!(stat(&data).st_mode & 0o7777, 0o1777);
        assert_eq!(
            stat(&data.join("b")).st_ino,
            stat(&data.join("sub/a")).st_ino
        );
        std::fs::write(source.join("b"), "2").unwrap();
        store.fill_volume("one", from.as_fd(), &lock).unwrap();
        assert_eq!(std::fs::read_to_string(data.join("b")).unwrap(), "1");
    }

    #[test]
    fn an_archive_becomes_a_whole_volume_or_none() {
        let (_kept, store) = store();
        let mut tar = Vec::new();
        let mut writer = crate::tar::TarWriter::new(&mut tar);
        let mut path = Vec::new();
        for _ in 0..1500 {
            path.extend_from_slice(b"d/");
        }
        for path in [b"./".to_vec(), path] {
            let entry = crate::tar::Entry {
                path,
                kind: crate::tar::Kind::Directory,
                mode: 0o2751,
                ..Default::default()
            };
            writer.append(&entry).unwrap();
        }
        writer.finish().unwrap();
        let mut packed = Vec::new();
        let gzip = crate::compression::Compression::Gzip;
        let mut encoder = crate::compression::Encoder::new(gzip, &mut packed).unwrap();
        std::io::Write::write_all(&mut encoder, &tar).unwrap();
        encoder.finish().unwrap();
        store.import_volume(&record("deep"), &packed[..]).unwrap();
        let mode = rustix::fs::stat(store.volume_data("deep")).unwrap().st_mode;
        assert_eq!(mode & 0o7777, 0o2751);
        let torn = store.import_volume(&record("torn"), &packed[..packed.len() / 2]);
        assert!(matches!(torn, Err(VolumeError::Archive(_))), "{torn:?}");
        let again = store.import_volume(&record("deep"), &tar[..]);
        assert!(matches!(again, Err(VolumeError::Exists(_))), "{again:?}");
        let lock = store.lock_volume("deep").unwrap();
        store.clone_volume("deep", &record("too"), &lock).unwrap();
        store.snapshot_volume("deep", "s", &lock).unwrap();
        let names = store.volumes().unwrap().into_iter().map(|one| one.name);
        assert_eq!(names.collect::<Vec<_>>(), ["deep", "too"]);
        assert_eq!(std::fs::read_dir(store.path("tmp")).unwrap().count(), 0);
    }

    #[test]
    fn trees_of_any_depth_are_copied_with_their_links() {
        let directory = tempfile::tempdir().unwrap();
        let source = directory.path().join("from");
        std::fs::create_dir(&source).unwrap();
        std::fs::create_dir(directory.path().join("to")).unwrap();
        let from = atomic::open_directory(&source).unwrap();
        let name = std::ffi::OsString::from("x".repeat(99));
        let mut ladder = sys::rootfs::Ladder::new(from.as_fd()).unwrap();
        for _ in 0..2000 {
            rustix::fs::mkdirat(ladder.current(), &name, Mode::from_raw_mode(0o755)).unwrap();
            ladder.down(&name).unwrap();
        }
        let flags = rustix::fs::OFlags::CREATE | rustix::fs::OFlags::WRONLY;
        let odd: &[u8] = b"a\xff";
        rustix::fs::openat(ladder.current(), odd, flags, Mode::from_raw_mode(0o600)).unwrap();
        let at = ladder.current();
        rustix::fs::linkat(at, odd, at, "b", rustix::fs::AtFlags::empty()).unwrap();
        let to = atomic::open_directory(&directory.path().join("to")).unwrap();
        copy_tree(from.as_fd(), to.as_fd()).unwrap();
        let mut ladder = sys::rootfs::Ladder::new(to.as_fd()).unwrap();
        while ladder.down(&name).is_ok() {}
        assert_eq!(ladder.depth(), 2000);
        let flags = rustix::fs::AtFlags::empty();
        let stat = |name: &[u8]| rustix::fs::statat(ladder.current(), name, flags).unwrap();
        assert_eq!(stat(odd).st_ino, stat(b"b").st_ino);
        remove_tree(&source).unwrap();
        remove_tree(&directory.path().join("to")).unwrap();
    }

    #[test]
    fn what_killed_commands_left_half_copied_is_swept_and_a_live_copy_stays() {
        let (_kept, store) = store();
        for name in ["dead", "live"] {
            store.create_volume(&record(name)).unwrap();
            let copy = store.volume_directory(name).join(NEW).join("deep");
            std::fs::create_dir_all(copy).unwrap();
        }
        let lock = store.lock_volume("live").unwrap();
        assert_eq!(store.sweep().unwrap(), 1);
        assert!(store.volume_directory("live").join(NEW).exists());
        drop(lock);
        assert_eq!(store.sweep().unwrap(), 1);
        assert!(store.volume("live").is_ok());
    }
}
