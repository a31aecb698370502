//! What was removed and may come back for a while.
//!
//! ```text
//! trash/<ms>.<command>.<kind>.<name>   the object's directory as it was
//!                                /name    a container's link in `names/`, out of the way
//!                                /size    its bytes, once somebody has counted them
//! ```
//! One rename puts an object here and one takes it back, so that it is always in exactly one place:
//! the entry's name is the journal. Nothing is synced: a removal that a power cut undoes was not lost.
//! Whoever takes something out holds the lock of `trash/`; putting in needs none. Objects leave after
//! a time, when they are too large together, and first of all when the disk is nearly full. The
//! directory itself goes with its last entry, so that one `stat` tells an empty trash.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::fs::{CWD, Mode, RenameFlags};
use rustix::io::Errno;
use sys::atomic::{self, Durability};
use sys::lock::Lock;
use sys::{Context, SysError};

use crate::containers::{ContainerError, StoredContainer};
use crate::networks::NetworkError;
use crate::store::Store;
use crate::volumes::VolumeError;

/// Entries beyond these go, the oldest first.
const ENTRIES_MAX: usize = 1000;
const FILE_NAME_BYTES_MAX: usize = 255;
const SIZE: &str = "size";
/// The disk is nearly full when less than a twentieth is free, or than this.
const RESERVE_BYTES_MAX: u64 = 1 << 30;
/// An entry from the future comes of a clock that was wrong; it goes.
const CLOCK_TOLERANCE_MS: u64 = 86_400_000;

/// How long and how much is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TrashLimits {
    /// Zero: nothing is kept.
    pub keep: Duration,
    /// Bytes of all entries.
    pub bytes_max: u64,
}

/// What becomes of a removed object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It may come back, where the store keeps such things.
    Kept,
    /// It is gone.
    Erased,
}

/// What kind of object an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrashKind {
    /// A container; its entry has its id.
    Container,
    /// A network.
    Network,
    /// A volume.
    Volume,
}

impl TrashKind {
    fn letter(self) -> &'static str {
        match self {
            Self::Container => "c",
            Self::Network => "n",
            Self::Volume => "v",
        }
    }

    fn parse(letter: &str) -> Option<Self> {
        [Self::Container, Self::Network, Self::Volume]
            .into_iter()
            .find(|kind| kind.letter() == letter)
    }
}

/// Something that was removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrashEntry {
    /// When, milliseconds since 1970.
    pub removed_ms: u64,
    /// The command that did it; all that it removed has the same.
    pub command: String,
    /// What it is.
    pub kind: TrashKind,
    /// A container's id, else the object's name.
    pub name: String,
}

impl TrashEntry {
    fn file_name(&self) -> String {
        let Self {
            removed_ms,
            command,
            name,
            ..
        } = self;
        format!("{removed_ms:013}.{command}.{}.{name}", self.kind.letter())
    }

    fn parse(text: &str) -> Option<Self> {
        let mut words = text.splitn(4, '.');
        Some(Self {
            removed_ms: words.next()?.parse().ok()?,
            command: words.next()?.to_owned(),
            kind: TrashKind::parse(words.next()?)?,
            name: words.next().filter(|name| !name.is_empty())?.to_owned(),
        })
    }
}

/// This process has put something into some trash.
static HAS_KEPT: AtomicBool = AtomicBool::new(false);

/// The name under which this process removes.
fn this_command() -> &'static str {
    static COMMAND: OnceLock<String> = OnceLock::new();
    COMMAND.get_or_init(|| format!("{:x}-{:x}", now_ms(), std::process::id()))
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |time| time.as_millis() as u64)
}

impl Store {
    /// The same store that keeps what is removed within these limits.
    #[must_use]
    pub fn with_trash(mut self, limits: TrashLimits) -> Self {
        self.trash = limits;
        self
    }

    fn trash_directory(&self) -> PathBuf {
        self.path("trash")
    }

    /// Where an entry lies.
    pub fn trash_path(&self, entry: &TrashEntry) -> PathBuf {
        self.trash_directory().join(entry.file_name())
    }

    /// What was removed and is still here, the oldest first.
    pub fn trash(&self) -> Vec<TrashEntry> {
        let entries = std::fs::read_dir(self.trash_directory());
        let names = entries.into_iter().flatten().flatten();
        let names = names.filter_map(|entry| entry.file_name().into_string().ok());
        let mut all: Vec<TrashEntry> = names.filter_map(|name| TrashEntry::parse(&name)).collect();
        all.sort_by(|one, other| {
            (one.removed_ms, &one.command, &one.name).cmp(&(
                other.removed_ms,
                &other.command,
                &other.name,
            ))
        });
        all
    }

    /// Moves an object's directory into the trash. `None`: nothing is kept here, or it cannot be,
    /// and the caller has to remove it.
    pub(crate) fn put_into_trash(
        &self,
        directory: &Path,
        kind: TrashKind,
        name: &str,
    ) -> Option<TrashEntry> {
        if self.trash.keep.is_zero() || self.is_nearly_full() {
            return None;
        }
        let entry = TrashEntry {
            removed_ms: now_ms(),
            command: this_command().to_owned(),
            kind,
            name: name.to_owned(),
        };
        if entry.file_name().len() > FILE_NAME_BYTES_MAX {
            return None;
        }
        let target = self.trash_path(&entry);
        // The last entry that leaves takes the directory along, at any moment.
        for _ in 0..3 {
            match rustix::fs::rename(directory, &target) {
                Ok(()) => {
                    HAS_KEPT.store(true, Ordering::Relaxed);
                    sys::fail::point("storage.trash.kept");
                    return Some(entry);
                }
                Err(Errno::NOENT) if directory.exists() => {
                    let mode = Mode::from_raw_mode(0o700);
                    let _ = rustix::fs::mkdir(self.trash_directory(), mode);
                }
                // A mount of the user's own lies between, perhaps.
                Err(_) => return None,
            }
        }
        None
    }

    /// Waits for the lock of the trash; `None` where it is empty.
    ///
    /// # Errors
    /// The disk's answer.
    pub fn lock_trash(&self) -> Result<Option<Lock>, SysError> {
        match Lock::acquire_directory(&self.trash_directory()) {
            Err(error) if error.errno == Errno::NOENT => Ok(None),
            other => other.map(Some),
        }
    }

    /// The bytes of an entry's files.
    pub fn trash_bytes(&self, entry: &TrashEntry) -> u64 {
        let path = self.trash_path(entry);
        let noted = atomic::read_limited(&path.join(SIZE), 32).ok();
        let noted = noted.and_then(|bytes| String::from_utf8(bytes).ok()?.trim().parse().ok());
        noted.unwrap_or_else(|| {
            let bytes = tree_bytes(&path);
            let text = bytes.to_string();
            // Only to be quick the next time.
            let _ = atomic::write(&path.join(SIZE), text.as_bytes(), Durability::Volatile);
            bytes
        })
    }

    /// A container in the trash.
    ///
    /// # Errors
    /// A damaged record.
    pub fn trashed_container(&self, entry: &TrashEntry) -> Result<StoredContainer, ContainerError> {
        let directory = atomic::open_directory(&self.trash_path(entry))?;
        crate::containers::read_from(&directory, &entry.name)
    }

    /// Puts a container back, with its name; `stored` is what it shall be.
    ///
    /// # Errors
    /// [`ContainerError::NameTaken`]; it stays in the trash then.
    pub fn restore_container(
        &self,
        entry: &TrashEntry,
        stored: &StoredContainer,
        _lock: &Lock,
    ) -> Result<(), ContainerError> {
        let path = self.trash_path(entry);
        let state = serde_json::to_vec(&stored.state).expect("invariant: states have JSON forms");
        atomic::write(&path.join("state"), &state, Durability::Volatile)?;
        let target = self.container_directory(&entry.name);
        self.publish_named(&stored.record, || {
            forget_notes(&path);
            rename_new(&path, &target).on("restore", target.display())
        })?;
        sys::fail::point("storage.trash.restored");
        self.drop_empty_trash();
        Ok(())
    }

    /// Puts a volume back.
    ///
    /// # Errors
    /// [`VolumeError::Exists`]; it stays in the trash then.
    pub fn restore_trashed_volume(
        &self,
        entry: &TrashEntry,
        _lock: &Lock,
    ) -> Result<(), VolumeError> {
        let (path, target) = (self.trash_path(entry), self.volume_directory(&entry.name));
        forget_notes(&path);
        match rename_new(&path, &target) {
            Err(Errno::EXIST) => return Err(VolumeError::Exists(entry.name.clone())),
            other => other.on("restore", target.display())?,
        }
        self.drop_empty_trash();
        Ok(())
    }

    /// Puts a network back; the lock of networks is held.
    ///
    /// # Errors
    /// [`NetworkError::NameTaken`]; it stays in the trash then.
    pub fn restore_network(
        &self,
        entry: &TrashEntry,
        _lock: &Lock,
        _networks: &Lock,
    ) -> Result<(), NetworkError> {
        let (path, target) = (self.trash_path(entry), self.network_directory(&entry.name));
        forget_notes(&path);
        match rename_new(&path, &target) {
            Err(Errno::EXIST) => return Err(NetworkError::NameTaken(entry.name.clone())),
            other => other.on("restore", target.display())?,
        }
        self.drop_empty_trash();
        Ok(())
    }

    /// Removes entries for good; returns the bytes that they had.
    ///
    /// # Errors
    /// The disk's answer; what could not go stays, or is swept from `tmp/` later.
    pub fn erase_trash(&self, entries: &[TrashEntry], _lock: &Lock) -> crate::error::Result<u64> {
        let garbage = self.tmp_unchecked()?;
        let mut bytes = 0;
        for entry in entries {
            let size = self.trash_bytes(entry);
            let target = garbage.path().join(entry.file_name());
            match rustix::fs::rename(self.trash_path(entry), target) {
                Ok(()) => bytes += size,
                Err(Errno::NOENT) => {}
                other => other.on("remove", &entry.name)?,
            }
        }
        sys::fail::point("storage.trash.erased");
        self.drop_empty_trash();
        Ok(bytes)
    }

    /// Whether [`Self::tidy_trash`] may have something to do: a `stat`.
    pub fn trash_is_due(&self) -> bool {
        if HAS_KEPT.load(Ordering::Relaxed) {
            return true;
        }
        let changed = std::fs::metadata(self.trash_directory()).and_then(|it| it.modified());
        // Nothing in it is older than its last change, and the first entry may be due before.
        changed.is_ok_and(|time| time.elapsed().map_or(true, |age| age > self.trash.keep))
    }

    /// Removes what was kept long enough, and the oldest where they are too many or too large.
    pub fn tidy_trash(&self) {
        let Ok(Some(lock)) = Lock::try_acquire_directory(&self.trash_directory()) else {
            return;
        };
        let (now, keep_ms) = (now_ms(), self.trash.keep.as_millis() as u64);
        let all = self.trash();
        let (mut kept, mut bytes) = (0, 0);
        let mut doomed = Vec::new();
        for entry in all.iter().rev() {
            let is_due =
                entry.removed_ms + keep_ms <= now || entry.removed_ms > now + CLOCK_TOLERANCE_MS;
            let size = self.trash_bytes(entry);
            if is_due || kept >= ENTRIES_MAX || bytes + size > self.trash.bytes_max {
                doomed.push(entry.clone());
            } else {
                kept += 1;
                bytes += size;
            }
        }
        let _ = self.erase_trash(&doomed, &lock);
        self.drop_empty_trash();
    }

    /// Room for who is about to write: while the disk is nearly full, the oldest entry goes.
    pub(crate) fn make_room(&self) {
        if !self.is_nearly_full() {
            return;
        }
        let Ok(Some(lock)) = Lock::try_acquire_directory(&self.trash_directory()) else {
            return;
        };
        for entry in self.trash() {
            if !self.is_nearly_full() {
                break;
            }
            let _ = self.erase_trash(&[entry], &lock);
        }
    }

    fn is_nearly_full(&self) -> bool {
        rustix::fs::statvfs(self.root()).is_ok_and(|disk| {
            let reserve = (disk.f_blocks * disk.f_frsize / 20).min(RESERVE_BYTES_MAX);
            disk.f_blocks > 0 && disk.f_bavail * disk.f_frsize < reserve
        })
    }

    /// Not where something is in it: then the kernel refuses.
    fn drop_empty_trash(&self) {
        let _ = rustix::fs::rmdir(self.trash_directory());
    }
}

/// What only the trash wrote into an object's directory.
fn forget_notes(path: &Path) {
    for name in [SIZE, "name"] {
        let _ = rustix::fs::unlink(path.join(name));
    }
}

fn rename_new(from: &Path, to: &Path) -> Result<(), Errno> {
    rustix::fs::renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE)
}

/// Files that are counted at most: a size is for people.
const FILES_MAX: u64 = 5_000_000;

/// Bytes of the files below a directory, each file once.
pub fn tree_bytes(directory: &Path) -> u64 {
    use rustix::fs::FileType;
    let Ok(root) = sys::rootfs::Dir::open(directory) else {
        return 0;
    };
    let mut seen = std::collections::HashSet::new();
    let mut pending = vec![PathBuf::from("/")];
    let (mut sum, mut left) = (0, FILES_MAX);
    while let Some(path) = pending.pop() {
        for item in root.read_dir(&path).unwrap_or_default() {
            left -= 1;
            if left == 0 {
                return sum;
            }
            let child = path.join(&item.name);
            let Ok(stat) = root.symlink_metadata(&child) else {
                continue;
            };
            match FileType::from_raw_mode(stat.st_mode) {
                FileType::Directory => pending.push(child),
                FileType::RegularFile if stat.st_nlink == 1 || seen.insert(stat.st_ino) => {
                    sum += u64::try_from(stat.st_size).unwrap_or(0);
                }
                _ => {}
            }
        }
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::volumes::VolumeRecord;

    fn store(keep_s: u64, bytes_max: u64) -> (tempfile::TempDir, Store) {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(&directory.path().join("s"), &directory.path().join("r")).unwrap();
        let limits = TrashLimits {
            keep: Duration::from_secs(keep_s),
            bytes_max,
        };
        (directory, store.with_trash(limits))
    }

    fn volume(store: &Store, name: &str, bytes: usize) {
        let record = VolumeRecord {
            name: name.to_owned(),
            ..VolumeRecord::default()
        };
        store.create_volume(&record).unwrap();
        std::fs::write(store.volume_data(name).join("f"), vec![7; bytes]).unwrap();
    }

    fn remove(store: &Store, name: &str) {
        let lock = store.lock_volume(name).unwrap();
        store.remove_volume(name, &lock, Fate::Kept).unwrap();
    }

    fn names(store: &Store) -> Vec<String> {
        store.trash().into_iter().map(|entry| entry.name).collect()
    }

    #[test]
    fn a_removed_volume_comes_back_as_it_was_unless_its_name_is_taken() {
        let (_kept, store) = store(3600, 1 << 20);
        volume(&store, "v.1_x", 10);
        remove(&store, "v.1_x");
        assert!(store.volume("v.1_x").is_err());
        volume(&store, "v.1_x", 3);
        let entry = store.trash().remove(0);
        assert!(store.trash_bytes(&entry) >= 10);
        let lock = store.lock_trash().unwrap().unwrap();
        let again = store.restore_trashed_volume(&entry, &lock);
        assert!(matches!(again, Err(VolumeError::Exists(_))), "{again:?}");
        let taken = store.lock_volume("v.1_x").unwrap();
        store.remove_volume("v.1_x", &taken, Fate::Erased).unwrap();
        store.restore_trashed_volume(&entry, &lock).unwrap();
        assert_eq!(
            std::fs::read(store.volume_data("v.1_x").join("f"))
                .unwrap()
                .len(),
            10
        );
        assert!(!store.volume_directory("v.1_x").join(SIZE).exists());
        assert!(
            store.lock_trash().unwrap().is_none(),
            "the last one takes it along"
        );
    }

    #[test]
    fn the_oldest_go_when_all_are_too_large_and_all_go_in_time() {
        let (_kept, store) = store(3600, 1200);
        for name in ["aa", "bb", "cc"] {
            volume(&store, name, 500);
            remove(&store, name);
            // Entries are told apart by milliseconds.
            std::thread::sleep(Duration::from_millis(3));
        }
        assert!(store.trash_is_due());
        store.tidy_trash();
        assert_eq!(names(&store), ["bb", "cc"]);
        assert_eq!(std::fs::read_dir(store.path("tmp")).unwrap().count(), 0);
        let impatient = store.clone().with_trash(TrashLimits {
            keep: Duration::from_millis(1),
            bytes_max: 1 << 20,
        });
        impatient.tidy_trash();
        assert!(names(&store).is_empty());
        assert!(!store.trash_directory().exists());
    }

    #[test]
    fn without_a_time_to_keep_nothing_is_kept() {
        let (_kept, store) = store(0, 1 << 20);
        volume(&store, "vv", 1);
        remove(&store, "vv");
        assert!(names(&store).is_empty());
        let long = "x".repeat(250);
        let (_kept, store) = self::store(3600, 1 << 20);
        volume(&store, &long, 1);
        remove(&store, &long);
        assert!(names(&store).is_empty() && store.volume(&long).is_err());
    }

    #[test]
    fn names_of_entries_are_read_back_and_others_are_none() {
        let entry = TrashEntry {
            removed_ms: 1_700_000_000_123,
            command: "18f-2a".into(),
            kind: TrashKind::Volume,
            name: "a.b.c".into(),
        };
        assert_eq!(TrashEntry::parse(&entry.file_name()), Some(entry));
        for text in ["", "x", "1.2.z.name", "1.2.v.", "1.2.v", "x.2.v.name"] {
            assert_eq!(TrashEntry::parse(text), None, "{text}");
        }
    }
}
