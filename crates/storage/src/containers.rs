//! Container records: what each container was asked to be, in a directory of its own.
//!
//! ```text
//! containers/<id>/record   written once at creation, replaced by rename/update; owner: engine
//!                /state    what it does now; owner: its monitor
//!                /log*     its output; owner: its monitor
//!                /upper    its writable layer     /work  overlay's own
//!                /hosts /hostname /resolv.conf
//! names/<name>             a link whose target is the id
//! ```
//! A container is made under `tmp/`, then named and published by one rename, both under the lock of
//! `names/`, so that a name without its container can only be garbage. It is removed by a rename
//! back to `tmp/`; bytes go afterwards, without any lock.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Mode};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use sys::atomic::{self, Durability};
use sys::lock::Lock;
use sys::{Context, SysError};
use types::container::ContainerSpec;
use types::id::ContainerId;
use types::json::Fault;
use types::state::{ContainerState, Status};
use types::timestamp::Timestamp;

use crate::store::{Store, remove_tree};
use crate::trash::TrashKind;

/// The version of the record that this program writes.
pub const RECORD_VERSION: u32 = 1;
const RECORD: &str = "record";
const STATE: &str = "state";
const RECORD_BYTES_MAX: u64 = 16 << 20;

/// What a container was made to be.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ContainerRecord {
    /// Version of this document.
    pub version: u32,
    /// 64 hexadecimal digits.
    pub id: String,
    /// Its name.
    pub name: String,
    /// When it was made, RFC 3339.
    pub created: String,
    /// Digest of the image's configuration.
    pub image_id: String,
    /// The platform of its image, `linux/amd64`.
    pub platform: String,
    /// Program and arguments as they will run.
    pub args: Vec<String>,
    /// The request with the image's configuration merged in.
    pub spec: ContainerSpec,
    /// Volumes, by the names that they got.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub volumes: Vec<VolumeUse>,
    /// Ids of the images that it mounts, by target.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub images: BTreeMap<String, String>,
}

/// A volume in a container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct VolumeUse {
    /// The volume's name.
    pub name: String,
    /// Path in the container.
    pub target: String,
    /// The mode of `-v`, as `inspect` shows it.
    pub mode: String,
    /// Not written by this container.
    pub read_only: bool,
    /// What the image has there is not copied into a new volume.
    pub no_copy: bool,
    /// A path within the volume, or empty.
    pub subpath: String,
    /// Made for this container, and removed with it where its volumes are.
    pub anonymous: bool,
}

/// A container as it is on disk.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredContainer {
    /// What it was made to be.
    pub record: ContainerRecord,
    /// What its monitor last wrote.
    pub state: ContainerState,
    /// What was written cannot be read any more: it has ended, as far as the disk knows.
    pub state_is_damaged: bool,
}

/// Why a container cannot be made or found.
#[derive(Debug, thiserror::Error)]
pub enum ContainerError {
    /// The name belongs to another one.
    #[error("the name is in use by container {0}")]
    NameTaken(String),
    /// A prefix of several ids.
    #[error("several containers have an id that begins so")]
    Ambiguous,
    /// There is none.
    #[error("there is no such container")]
    Missing,
    /// A record that cannot be read.
    #[error(
        "the record of container {id} is damaged ({fault}); `caisson rm -f {}` ends and removes it",
        id.get(..12).unwrap_or(id)
    )]
    Damaged {
        /// The container.
        id: String,
        /// What is wrong with it.
        fault: Fault,
    },
    /// A record of a later version.
    #[error("the record of container {id} has version {version}, which a later caisson wrote")]
    Newer {
        /// The container.
        id: String,
        /// Its record's version.
        version: u32,
    },
    /// The store.
    #[error(transparent)]
    Store(#[from] crate::error::StorageError),
    /// The disk.
    #[error(transparent)]
    Sys(#[from] SysError),
}

type Result<T> = std::result::Result<T, ContainerError>;

/// A container that nobody sees any more, and whose bytes are still there. The lock on the
/// container goes along: under `tmp/` it is what keeps others from sweeping it.
#[derive(Debug)]
pub struct RemovedContainer<'a> {
    store: &'a Store,
    id: String,
    _lock: Lock,
}

impl RemovedContainer<'_> {
    /// Removes its bytes.
    ///
    /// # Errors
    /// The disk's answer; what could not be removed lies under `tmp/` and is swept later.
    pub fn erase(self) -> Result<()> {
        self.store.erase_removed(&self.id)
    }
}

impl Store {
    /// The directory of a container.
    pub fn container_directory(&self, id: &str) -> PathBuf {
        self.root().join("containers").join(id)
    }

    /// The directory of a container in the run root.
    pub fn container_run_directory(&self, id: &str) -> PathBuf {
        self.run_root().join("containers").join(id)
    }

    /// Removes the bytes of a container that was taken out by [`Store::take_container`].
    ///
    /// # Errors
    /// As [`RemovedContainer::erase`].
    pub fn erase_removed(&self, id: &str) -> Result<()> {
        remove_tree(&self.container_run_directory(id))?;
        sys::fail::point("storage.container.forgotten");
        remove_tree(&self.root().join("tmp").join(id))?;
        sys::fail::point("storage.container.deleted");
        Ok(())
    }

    /// Makes a container: record, upper and work directories, and its name. It comes locked.
    ///
    /// # Errors
    /// [`ContainerError::NameTaken`] where another container has the name.
    pub fn create_container(
        &self,
        record: &ContainerRecord,
        durability: Durability,
    ) -> Result<Lock> {
        let half_made = self.tmp_named(&record.id)?;
        sys::fail::result("storage.container.made")?;
        let directory = atomic::open_directory(half_made.path())?;
        for (name, mode) in [("upper", 0o755), ("work", 0o700)] {
            rustix::fs::mkdirat(&directory, name, Mode::from_raw_mode(mode)).on("make", name)?;
        }
        atomic::write_new_at(&directory, RECORD, &encode(record), durability)?;
        sys::fail::point("storage.container.described");
        let names = self.lock_names()?;
        self.take_name(&record.name, &record.id)?;
        sys::fail::point("storage.container.named");
        let target = self.container_directory(&record.id);
        rustix::fs::rename(half_made.path(), &target).on("publish", target.display())?;
        sys::fail::point("storage.container.published");
        drop(names);
        // What kept it from being swept under `tmp/` is the container's own lock here.
        let lock = half_made.into_lock().map(Lock::held);
        let lock = lock.ok_or(ContainerError::Missing)?;
        if durability == Durability::Synced {
            atomic::sync_directory(atomic::open_directory(&self.root().join("containers"))?)?;
        }
        Ok(lock)
    }

    /// Replaces a record; the container must be locked.
    ///
    /// # Errors
    /// The disk's answer; the old record is then still there.
    pub fn update_container(&self, record: &ContainerRecord) -> Result<()> {
        sys::fail::result("storage.container.update")?;
        let path = self.container_directory(&record.id).join(RECORD);
        Ok(atomic::write(&path, &encode(record), Durability::Synced)?)
    }

    /// Replaces the state of a container that has no monitor; the container must be locked.
    ///
    /// # Errors
    /// The disk's answer.
    pub fn write_container_state(&self, id: &str, state: &ContainerState) -> Result<()> {
        sys::fail::result("storage.container.state")?;
        let path = self.container_directory(id).join(STATE);
        Ok(atomic::write(&path, &encode(state), Durability::Volatile)?)
    }

    /// Gives a container another name; the container must be locked.
    ///
    /// # Errors
    /// [`ContainerError::NameTaken`].
    pub fn rename_container(&self, record: &mut ContainerRecord, name: &str) -> Result<()> {
        self.mend_name(name)?;
        let _names = self.lock_names()?;
        self.take_name(name, &record.id)?;
        sys::fail::point("storage.container.renaming");
        let old = std::mem::replace(&mut record.name, name.to_string());
        self.update_container(record)?;
        sys::fail::point("storage.container.renamed");
        self.drop_name(&old, &record.id);
        Ok(())
    }

    /// Reads one container.
    ///
    /// # Errors
    /// [`ContainerError::Missing`], or a damaged record.
    pub fn read_container(&self, id: &str) -> Result<StoredContainer> {
        let path = self.container_directory(id);
        let directory = match atomic::open_directory(&path) {
            Err(error) if error.errno == Errno::NOENT => return Err(ContainerError::Missing),
            other => other?,
        };
        match read_from(&directory, id) {
            // It comes and goes with its record.
            Err(ContainerError::Missing) if path.exists() => Err(ContainerError::Damaged {
                id: id.to_string(),
                fault: Fault::of_whole("it is gone"),
            }),
            other => other,
        }
    }

    /// The ids of all containers, in no order.
    ///
    /// # Errors
    /// The disk's answer.
    pub fn container_ids(&self) -> Result<Vec<String>> {
        let path = self.root().join("containers");
        let entries = std::fs::read_dir(&path).on("list", path.display())?;
        Ok(entries
            .flatten()
            .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
            .filter_map(|entry| entry.file_name().into_string().ok())
            .filter(|name| ContainerId::parse(name).is_ok())
            .collect())
    }

    /// What a container's link is called, where its record does not say it.
    pub fn name_of_container(&self, id: &str) -> String {
        let entries = std::fs::read_dir(self.root().join("names"));
        let names = entries.into_iter().flatten().flatten();
        let mut names = names.filter_map(|entry| entry.file_name().into_string().ok());
        names.find(|name| self.names(name, id)).unwrap_or_default()
    }

    /// Finds a container by id, name or unique beginning of an id, in Docker's order.
    ///
    /// # Errors
    /// [`ContainerError::Missing`] or [`ContainerError::Ambiguous`].
    pub fn find_container(&self, key: &str) -> Result<String> {
        let is_hex = !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_hexdigit());
        if is_hex && key.len() == 64 && self.container_directory(key).is_dir() {
            return Ok(key.to_string());
        }
        let name = key.strip_prefix('/').unwrap_or(key);
        if let Some(id) = self.id_of_name(name)? {
            return Ok(id);
        }
        if !is_hex {
            return Err(ContainerError::Missing);
        }
        let mut matching = self
            .container_ids()?
            .into_iter()
            .filter(|id| id.starts_with(key));
        match (matching.next(), matching.next()) {
            (Some(id), None) => Ok(id),
            (Some(_), Some(_)) => Err(ContainerError::Ambiguous),
            (None, _) => Err(ContainerError::Missing),
        }
    }

    /// Waits for the lock of a container, which serialises commands that change it.
    ///
    /// # Errors
    /// [`ContainerError::Missing`] where it is gone, also if it went while waiting.
    pub fn lock_container(&self, id: &str) -> Result<Lock> {
        let path = self.container_directory(id);
        let directory = match atomic::open_directory(&path) {
            Err(error) if error.errno == Errno::NOENT => return Err(ContainerError::Missing),
            other => other?,
        };
        let lock = Lock::acquire_fd(directory)?;
        match path.exists() {
            true => Ok(lock),
            false => Err(ContainerError::Missing),
        }
    }

    /// Takes a container that does not run, and its name, out of the store. Its bytes go with the
    /// value that is returned.
    ///
    /// # Errors
    /// The disk's answer.
    pub fn take_container(
        &self,
        record: &ContainerRecord,
        lock: Lock,
    ) -> Result<RemovedContainer<'_>> {
        let directory = self.container_directory(&record.id);
        let taken = self.root().join("tmp").join(&record.id);
        match rustix::fs::rename(&directory, &taken) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(errno) => {
                return Err(SysError::new("remove", directory.display().to_string(), errno).into());
            }
        }
        sys::fail::point("storage.container.taken");
        // Away with the rest: freeing the link costs more than moving it, and can wait.
        let link = self.name_path(&record.name);
        if self.names(&record.name, &record.id)
            && rustix::fs::rename(&link, taken.join("name")).is_err()
        {
            let _ = rustix::fs::unlink(&link);
        }
        sys::fail::point("storage.container.unnamed");
        Ok(RemovedContainer {
            store: self,
            id: record.id.clone(),
            _lock: lock,
        })
    }

    /// Moves a container that does not run, and its name, into the trash. Where that cannot be, the
    /// lock comes back, for [`Self::take_container`].
    pub fn keep_container(&self, record: &ContainerRecord, lock: Lock) -> Option<Lock> {
        let directory = self.container_directory(&record.id);
        let Some(entry) = self.put_into_trash(&directory, TrashKind::Container, &record.id) else {
            return Some(lock);
        };
        let link = self.name_path(&record.name);
        if self.names(&record.name, &record.id)
            && rustix::fs::rename(&link, self.trash_path(&entry).join("name")).is_err()
        {
            let _ = rustix::fs::unlink(&link);
        }
        sys::fail::point("storage.trash.unnamed");
        // What stays is swept, as its container is gone.
        let _ = remove_tree(&self.container_run_directory(&record.id));
        None
    }

    /// Gives a container its name and lets `publish` put it into its place.
    pub(crate) fn publish_named(
        &self,
        record: &ContainerRecord,
        publish: impl FnOnce() -> std::result::Result<(), SysError>,
    ) -> Result<()> {
        self.mend_name(&record.name)?;
        let _names = self.lock_names()?;
        self.take_name(&record.name, &record.id)?;
        sys::fail::point("storage.trash.named");
        publish().inspect_err(|_| self.drop_name(&record.name, &record.id))?;
        Ok(())
    }

    fn lock_names(&self) -> Result<Lock> {
        Ok(Lock::acquire_fd(atomic::open_directory(
            &self.root().join("names"),
        )?)?)
    }

    /// Makes a lost link again of the container whose record has this name: before somebody else takes it.
    /// It counts all containers, so that names of our own making, which nobody asks for, do without.
    ///
    /// # Errors
    /// The disk's answer.
    pub fn mend_name(&self, name: &str) -> Result<()> {
        if self.names_may_be_lost()? {
            self.id_of_name(name)?;
        }
        Ok(())
    }

    /// Under the lock of names: a link to a container that is not there is garbage.
    fn take_name(&self, name: &str, id: &str) -> Result<()> {
        let link = self.name_path(name);
        match rustix::fs::symlink(id, &link) {
            Ok(()) => return Ok(()),
            Err(Errno::EXIST) => {}
            Err(errno) => return Err(SysError::new("name", name, errno).into()),
        }
        match self.id_of_name(name)? {
            Some(other) if other != id && self.bears(&other, name) => {
                return Err(ContainerError::NameTaken(other));
            }
            _ => {}
        }
        clear_place(&link);
        sys::fail::point("storage.name.freed");
        Ok(rustix::fs::symlink(id, &link).on("name", name)?)
    }

    /// Whether a container's record has this name. A link says so too early while it is renamed.
    fn bears(&self, id: &str, name: &str) -> bool {
        match self.read_container(id) {
            Ok(stored) => stored.record.name == name,
            Err(error) => !matches!(error, ContainerError::Missing),
        }
    }

    /// Removes names that no container bears: a command was killed while it removed or renamed one.
    pub(crate) fn sweep_names(&self) -> Result<()> {
        if self.count("names")? <= self.count("containers")? {
            return Ok(());
        }
        let _names = self.lock_names()?;
        let path = self.root().join("names");
        for entry in std::fs::read_dir(&path)
            .on("list", path.display())?
            .flatten()
        {
            let (Ok(id), name) = (std::fs::read_link(entry.path()), entry.file_name()) else {
                continue;
            };
            if !self.bears(&id.to_string_lossy(), &name.to_string_lossy()) {
                rustix::fs::unlink(entry.path()).on("free name", name.to_string_lossy())?;
            }
        }
        Ok(())
    }

    fn drop_name(&self, name: &str, id: &str) {
        if self.names(name, id) {
            let _ = rustix::fs::unlink(self.name_path(name));
        }
    }

    /// Whether the link `name` leads to this container.
    fn names(&self, name: &str, id: &str) -> bool {
        std::fs::read_link(self.name_path(name)).is_ok_and(|target| target == Path::new(id))
    }

    fn name_path(&self, name: &str) -> PathBuf {
        self.root().join("names").join(name)
    }

    /// The container with this name. After a power cut links may be missing that records have.
    fn id_of_name(&self, name: &str) -> Result<Option<String>> {
        if name.is_empty() || name.contains('/') {
            return Ok(None);
        }
        match std::fs::read_link(self.name_path(name)) {
            Ok(target) => {
                let id = target.to_string_lossy().into_owned();
                if ContainerId::parse(&id).is_ok() && self.container_directory(&id).is_dir() {
                    return Ok(Some(id));
                }
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                if !self.names_may_be_lost()? {
                    return Ok(None);
                }
            }
            // Something else has its place.
            Err(_) => {}
        }
        for id in self.container_ids()? {
            let Ok(stored) = self.read_container(&id) else {
                continue;
            };
            let link = self.name_path(&stored.record.name);
            if stored.record.name == name {
                clear_place(&link);
            }
            let _ = rustix::fs::symlink(id.as_str(), &link);
            if stored.record.name == name {
                return Ok(Some(id));
            }
        }
        Ok(None)
    }

    /// Fewer names than containers: only then is a scan of the records worth its time.
    fn names_may_be_lost(&self) -> Result<bool> {
        Ok(self.count("names")? < self.count("containers")?)
    }

    fn count(&self, name: &str) -> Result<usize> {
        let path = self.root().join(name);
        Ok(std::fs::read_dir(&path).on("list", path.display())?.count())
    }
}

pub(crate) fn read_from(directory: &OwnedFd, id: &str) -> Result<StoredContainer> {
    let damaged = |fault| ContainerError::Damaged {
        id: id.to_string(),
        fault,
    };
    let bytes = match atomic::read_at_limited(directory, RECORD, RECORD_BYTES_MAX) {
        Err(error) if error.errno == Errno::NOENT => return Err(ContainerError::Missing),
        Err(error) if atomic::is_no_file(&error) => {
            return Err(damaged(Fault::of_whole(error.to_string())));
        }
        other => other?,
    };
    let record: ContainerRecord = types::json::read(&bytes).map_err(damaged)?;
    if record.version > RECORD_VERSION {
        return Err(ContainerError::Newer {
            id: id.to_string(),
            version: record.version,
        });
    }
    let state = match atomic::read_at_limited(directory, STATE, RECORD_BYTES_MAX) {
        Ok(bytes) => types::json::read(&bytes).ok(),
        Err(error) if error.errno == Errno::NOENT => Some(ContainerState::default()),
        Err(_) => None,
    };
    Ok(StoredContainer {
        record,
        state_is_damaged: state.is_none(),
        state: state.unwrap_or_else(|| of_damaged(directory)),
    })
}

/// The state is not promised across a power cut, and people edit files. A container has been started
/// where there is one at all, and its end was not learnt; the last that is known of it is when that was
/// written.
fn of_damaged(directory: &OwnedFd) -> ContainerState {
    let written = rustix::fs::statat(directory, STATE, AtFlags::SYMLINK_NOFOLLOW);
    let written = written.map(|stat| Timestamp::from_unix(stat.st_mtime, 0).rfc3339());
    let written = written.unwrap_or_default();
    ContainerState {
        started_at: written.clone(),
        finished_at: written,
        status: Status::Exited,
        exit_code: 255,
        exit_unknown: true,
        error: "what was written of its state is damaged".into(),
        ..ContainerState::default()
    }
}

/// Whatever is in the place of a name's link goes; what holds files stays, and is in the way.
fn clear_place(link: &Path) {
    let _ = rustix::fs::unlink(link).or_else(|_| rustix::fs::rmdir(link));
}

fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    serde_json::to_vec(value).expect("invariant: records have JSON forms")
}

/// Makes the run directory of a container, which a reboot takes away.
///
/// # Errors
/// The disk's answer.
pub fn make_run_directory(store: &Store, id: &str) -> Result<PathBuf> {
    let path = store.container_run_directory(id);
    let mode = Mode::from_raw_mode(0o700);
    match rustix::fs::mkdirat(CWD, &path, mode) {
        Ok(()) | Err(Errno::EXIST) => return Ok(path),
        Err(Errno::NOENT) => {}
        Err(errno) => return Err(SysError::new("make", path.display().to_string(), errno).into()),
    }
    std::fs::create_dir_all(&path).on("make", path.display())?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(id: char, name: &str) -> ContainerRecord {
        ContainerRecord {
            version: RECORD_VERSION,
            id: id.to_string().repeat(64),
            name: name.into(),
            created: String::new(),
            image_id: String::new(),
            platform: String::new(),
            args: vec!["true".into()],
            spec: ContainerSpec::default(),
            volumes: Vec::new(),
            images: BTreeMap::new(),
        }
    }

    fn with_store(test: impl FnOnce(&Store)) {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(
            &directory.path().join("root"),
            &directory.path().join("run"),
        )
        .unwrap();
        test(&store);
    }

    #[test]
    fn a_container_is_found_by_id_prefix_and_name_until_it_is_removed() {
        with_store(|store| {
            let web = record('a', "web");
            store.create_container(&web, Durability::Volatile).unwrap();
            for key in ["web", "/web", "aaa", &web.id] {
                assert_eq!(store.find_container(key).unwrap(), web.id, "{key}");
            }
            assert_eq!(store.read_container(&web.id).unwrap().record, web);
            let lock = store.lock_container(&web.id).unwrap();
            store.take_container(&web, lock).unwrap().erase().unwrap();
            assert!(matches!(
                store.find_container("web"),
                Err(ContainerError::Missing)
            ));
            assert_eq!(
                std::fs::read_dir(store.root().join("names"))
                    .unwrap()
                    .count(),
                0
            );
            assert_eq!(
                std::fs::read_dir(store.root().join("tmp")).unwrap().count(),
                0
            );
        });
    }

    #[test]
    fn two_containers_cannot_have_one_name_and_a_dangling_name_is_free() {
        with_store(|store| {
            store
                .create_container(&record('a', "web"), Durability::Volatile)
                .unwrap();
            let taken = store.create_container(&record('b', "web"), Durability::Volatile);
            assert!(matches!(taken, Err(ContainerError::NameTaken(id)) if id.starts_with('a')));
            assert!(matches!(
                store.find_container("b"),
                Err(ContainerError::Missing)
            ));
            rustix::fs::symlink("c".repeat(64), store.root().join("names/old")).unwrap();
            store
                .create_container(&record('d', "old"), Durability::Volatile)
                .unwrap();
            assert_eq!(store.find_container("old").unwrap(), "d".repeat(64));
        });
    }

    #[test]
    fn names_that_a_broken_off_rename_or_removal_left_are_free_and_are_swept() {
        with_store(|store| {
            let web = record('a', "web");
            store.create_container(&web, Durability::Volatile).unwrap();
            let link = |name: &str, id: &str| std::os::unix::fs::symlink(id, store.name_path(name));
            link("old", &web.id).unwrap();
            link("gone", &"c".repeat(64)).unwrap();
            let other = record('b', "old");
            store
                .create_container(&other, Durability::Volatile)
                .unwrap();
            assert_eq!(store.find_container("old").unwrap(), other.id);
            store.sweep().unwrap();
            assert_eq!(store.count("names").unwrap(), 2);
            assert_eq!(store.find_container("web").unwrap(), web.id);
        });
    }

    #[test]
    fn a_lost_name_is_found_again_in_the_records() {
        with_store(|store| {
            store
                .create_container(&record('a', "web"), Durability::Volatile)
                .unwrap();
            std::fs::remove_file(store.root().join("names/web")).unwrap();
            assert_eq!(store.find_container("web").unwrap(), "a".repeat(64));
            assert!(store.root().join("names/web").is_symlink());
        });
    }

    #[test]
    fn an_ambiguous_prefix_is_refused_and_a_rename_frees_the_old_name() {
        with_store(|store| {
            let mut one = record('a', "one");
            let two = ContainerRecord {
                id: format!("{}b", "a".repeat(63)),
                ..record('a', "two")
            };
            store.create_container(&one, Durability::Volatile).unwrap();
            store.create_container(&two, Durability::Volatile).unwrap();
            assert!(matches!(
                store.find_container("aa"),
                Err(ContainerError::Ambiguous)
            ));
            store.rename_container(&mut one, "first").unwrap();
            assert!(matches!(
                store.find_container("one"),
                Err(ContainerError::Missing)
            ));
            assert_eq!(store.find_container("first").unwrap(), one.id);
        });
    }
}
