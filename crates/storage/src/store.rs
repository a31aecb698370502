//! The store as a whole: where everything lies, and whether this process may use it.
//!
//! Every command opens the store first, so opening an existing one is a handful of system calls:
//! one `statfs`, one small file read, one `mkdir` of the run root. Objects are made under `tmp/`
//! and renamed into place; a temporary directory belongs to whoever holds its `flock`, and one that
//! nobody holds is garbage of a killed command, swept by a later one.
//!
//! | directory | holds | owner in this crate |
//! |---|---|---|
//! | `blobs/` | manifests, configs, compressed layers | `blobs` |
//! | `refs/` | reference → image | `refs` |
//! | `images/` | what `run` needs of an image, derived | `images` |
//! | `layers/`, `diffids/` | unpacked layers and their names | `layers` |
//! | `tmp/` | everything half-made, and leases | `store`, `lease` |
//! | `trash/` | what was removed and may come back; gone while empty | `trash` |
//! | `containers/`, `names/`, `volumes/`, `networks/`, `cache/` | the other rooms' objects | – |

use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FlockOperation, Mode, OFlags};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use sys::atomic::{self, Durability};
use sys::{Context, SysError};

use crate::error::{Result, StorageError};

/// The format that this program writes.
pub const FORMAT: u32 = 1;
/// The form of a store whose files have their true owners.
const FORM: &str = "root";
const MARKER: &str = "store.json";
const MARKER_BYTES_MAX: u64 = 4096;
/// Attempts to make a temporary directory while others sweep; each loss is a race lost.
const TEMPORARY_ATTEMPTS_MAX: usize = 16;

/// The directories of a store.
const LAYOUT: [&str; 12] = [
    "blobs",
    "blobs/sha256",
    "refs",
    "images",
    "layers",
    "diffids",
    "containers",
    "names",
    "volumes",
    "networks",
    "cache",
    "tmp",
];

/// Of all of them: other users must not reach the setuid programs of layers, containers and volumes.
/// Nothing in a container needs to pass: what it sees is mounted.
const MODE: u32 = 0o700;
/// Those that earlier releases let everybody pass through.
const ONCE_OPEN: [&str; 2] = ["containers", "volumes"];
/// The mode's bits of everybody but the owner.
const OTHERS: u32 = 0o077;

/// File systems that cannot hold a store: no overlay on them, or no whiteouts and trusted xattrs.
const UNSUPPORTED: [(u32, &str, &str); 6] = [
    (
        0x6969,
        "NFS",
        "device nodes, trusted attributes and reliable locks",
    ),
    (0x6573_5546, "FUSE", "trusted attributes and overlay mounts"),
    (0xff53_4d42, "CIFS", "Unix owners and overlay mounts"),
    (0xfe53_4d42, "SMB", "Unix owners and overlay mounts"),
    (0x517b, "SMB", "Unix owners and overlay mounts"),
    (0x4d44, "FAT", "Unix owners and links"),
];

#[derive(Serialize, Deserialize)]
struct Marker {
    format: u32,
    form: String,
}

impl Marker {
    fn ours() -> Self {
        Self {
            format: FORMAT,
            form: FORM.to_owned(),
        }
    }
}

/// An opened store.
#[derive(Clone, Debug)]
pub struct Store {
    root: PathBuf,
    run_root: PathBuf,
    /// What of removed objects is kept; nothing, unless somebody asks for it.
    pub(crate) trash: crate::trash::TrashLimits,
}

impl Store {
    /// Opens the store in `root`, making it where there is none.
    ///
    /// # Errors
    /// Where the root lies on a file system that cannot hold one, was written by a later caisson or
    /// in another form, or cannot be made.
    pub fn open(root: &Path, run_root: &Path) -> Result<Self> {
        let store = Self {
            root: absolute(root)?,
            run_root: absolute(run_root)?,
            trash: crate::trash::TrashLimits::default(),
        };
        match atomic::read_limited(&store.root.join(MARKER), MARKER_BYTES_MAX) {
            Ok(bytes) => {
                store.check(&bytes)?;
                store.mend_directories();
            }
            Err(error) if error.errno == Errno::NOENT => store.create()?,
            Err(error) => return Err(error.into()),
        }
        match rustix::fs::mkdir(&store.run_root, Mode::from_raw_mode(MODE)) {
            // A read-only or full run root must not stop a command that only reads.
            Ok(()) | Err(Errno::EXIST | Errno::ROFS | Errno::NOSPC) => {}
            Err(Errno::NOENT) => make_directory(&store.run_root, MODE)?,
            Err(errno) => {
                let object = store.run_root.display().to_string();
                return Err(SysError::new("create", object, errno).into());
            }
        }
        Ok(store)
    }

    /// The persistent root.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The root of what does not outlive a boot.
    pub fn run_root(&self) -> &Path {
        &self.run_root
    }

    /// A path beneath the persistent root.
    pub fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// Makes a temporary directory of this process; dropping it removes it and what is in it.
    ///
    /// # Errors
    /// The disk's answer, such as no space or a read-only file system.
    pub fn tmp(&self) -> Result<TemporaryDirectory> {
        sys::fail::result("storage.tmp.make")?;
        self.make_room();
        self.tmp_unchecked()
    }

    /// The same for who frees room.
    pub(crate) fn tmp_unchecked(&self) -> Result<TemporaryDirectory> {
        let parent = self.path("tmp");
        for _ in 0..TEMPORARY_ATTEMPTS_MAX {
            if let Some(made) = self.try_tmp(&random_name())? {
                return Ok(made);
            }
        }
        let object = parent.display().to_string();
        Err(SysError::new("make a temporary directory in", object, Errno::AGAIN).into())
    }

    /// A temporary directory with a name that nobody else has.
    pub(crate) fn tmp_named(&self, name: &str) -> Result<TemporaryDirectory> {
        self.make_room();
        for _ in 0..TEMPORARY_ATTEMPTS_MAX {
            if let Some(made) = self.try_tmp(name)? {
                return Ok(made);
            }
            // A sweeper saw it before it was locked, and is removing it.
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        Err(SysError::new("make a temporary directory", name, Errno::AGAIN).into())
    }

    /// `None` where it is there already, or a sweeper was faster than its lock.
    fn try_tmp(&self, name: &str) -> Result<Option<TemporaryDirectory>> {
        let path = self.path("tmp").join(name);
        match rustix::fs::mkdir(&path, Mode::from_raw_mode(MODE)) {
            Ok(()) => {}
            Err(Errno::EXIST) => return Ok(None),
            Err(errno) => {
                let object = path.display().to_string();
                return Err(SysError::new("create", object, errno).into());
            }
        }
        sys::fail::point("storage.tmp.made");
        let lock = lock_directory(&path)?;
        Ok(lock.map(|lock| TemporaryDirectory {
            path,
            lock: Some(lock),
        }))
    }

    /// Removes the temporary directories of commands that no longer run, what they left half copied
    /// in volumes, and run directories of containers that are gone. Returns how many went.
    ///
    /// # Errors
    /// Where `tmp` cannot be listed; an entry that cannot be removed stays for the next sweep.
    pub fn sweep(&self) -> Result<usize> {
        let parent = self.path("tmp");
        let entries = std::fs::read_dir(&parent).on("list", parent.display())?;
        let mut swept = 0;
        for entry in entries.flatten() {
            let path = entry.path();
            sys::fail::point("storage.tmp.sweep");
            match lock_directory(&path) {
                // The lock is held until the tree is gone: nobody else sweeps the same one.
                Ok(Some(_lock)) => swept += usize::from(remove_tree(&path).is_ok()),
                Ok(None) => {}
                // Not a directory: nothing of ours, or a file that an older version left.
                Err(_) => swept += usize::from(std::fs::remove_file(&path).is_ok()),
            }
        }
        // Names that cannot be swept now are swept later.
        let _ = self.sweep_names();
        Ok(swept + self.sweep_copies() + self.sweep_run_directories())
    }

    /// A run directory is made after its container is in the store, so that one without is garbage.
    fn sweep_run_directories(&self) -> usize {
        let entries = std::fs::read_dir(self.run_root().join("containers"));
        let orphans = entries
            .into_iter()
            .flatten()
            .flatten()
            .filter(|entry| !self.path("containers").join(entry.file_name()).is_dir());
        orphans
            .filter(|entry| remove_tree(&entry.path()).is_ok())
            .count()
    }

    fn check(&self, bytes: &[u8]) -> Result<()> {
        let marker: Marker =
            types::json::read(bytes).map_err(|source| StorageError::DamagedMarker {
                path: self.root.join(MARKER),
                expected: serde_json::to_string(&Marker::ours()).unwrap_or_default(),
                source,
            })?;
        if marker.format > FORMAT {
            return Err(StorageError::NewerFormat {
                root: self.root.clone(),
                found: marker.format,
                known: FORMAT,
            });
        }
        if marker.form != FORM {
            return Err(StorageError::OtherForm {
                root: self.root.clone(),
                found: marker.form,
                wanted: FORM,
            });
        }
        check_filesystem(&self.root)
    }

    /// Closes to others what once was open to them, and makes it anew where somebody removed it. On a read-only
    /// disk all stays as it is.
    fn mend_directories(&self) {
        for name in ONCE_OPEN {
            let path = self.root.join(name);
            match rustix::fs::stat(&path) {
                Ok(stat) if stat.st_mode & OTHERS != 0 => {
                    let _ = rustix::fs::chmod(&path, Mode::from_raw_mode(MODE));
                }
                Err(Errno::NOENT) => {
                    let _ = make_directory(&path, MODE);
                }
                _ => {}
            }
        }
    }

    /// Two commands may do this at once: every step may find the other's result.
    fn create(&self) -> Result<()> {
        make_directory(&self.root, MODE)?;
        check_filesystem(&self.root)?;
        for name in LAYOUT {
            make_directory(&self.root.join(name), MODE)?;
        }
        sys::fail::point("storage.marker.write");
        let bytes = encode("the store's marker", &Marker::ours())?;
        Ok(atomic::write(
            &self.root.join(MARKER),
            &bytes,
            Durability::Synced,
        )?)
    }
}

/// A directory under `tmp/` that lives as long as this value.
#[derive(Debug)]
pub struct TemporaryDirectory {
    path: PathBuf,
    /// Until it is given away.
    lock: Option<OwnedFd>,
}

impl TemporaryDirectory {
    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Gives it to whoever it was renamed for, still locked.
    pub(crate) fn into_lock(mut self) -> Option<OwnedFd> {
        self.lock.take()
    }
}

impl Drop for TemporaryDirectory {
    fn drop(&mut self) {
        if self.lock.is_none() {
            return;
        }
        sys::fail::point("storage.tmp.drop");
        // What cannot be removed now is swept by a later command, because the lock ends here.
        let _ = remove_tree(&self.path);
    }
}

/// A JSON document of ours as bytes.
pub(crate) fn encode<T: Serialize>(what: &'static str, value: &T) -> Result<Vec<u8>> {
    let mut bytes =
        serde_json::to_vec(value).map_err(|source| StorageError::Encode { what, source })?;
    bytes.push(b'\n');
    Ok(bytes)
}

/// Reads a JSON document of ours; `None` where there is none.
pub(crate) fn read_document<T: serde::de::DeserializeOwned>(
    path: &Path,
    bytes_max: u64,
) -> Result<Option<T>> {
    let bytes = match atomic::read_limited(path, bytes_max) {
        Ok(bytes) => bytes,
        Err(error) if error.errno == Errno::NOENT => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    types::json::read(&bytes)
        .map(Some)
        .map_err(|source| StorageError::Damaged {
            path: path.to_owned(),
            source,
        })
}

/// A directory of JSON documents of ours that is read one after the other.
#[derive(Debug)]
pub(crate) struct Documents {
    path: PathBuf,
    directory: OwnedFd,
    bytes_max: u64,
    buffer: Vec<u8>,
}

/// Records are smaller but for odd ones.
const DOCUMENT_BYTES: usize = 16 << 10;

impl Documents {
    pub(crate) fn open(path: PathBuf, bytes_max: u64) -> Result<Self> {
        let directory = atomic::open_directory(&path)?;
        Ok(Self {
            path,
            directory,
            bytes_max,
            buffer: Vec::with_capacity(DOCUMENT_BYTES),
        })
    }

    /// As [`read_document`].
    pub(crate) fn read<T: serde::de::DeserializeOwned>(
        &mut self,
        name: &OsStr,
    ) -> Result<Option<T>> {
        match atomic::read_start_at(&self.directory, name, &mut self.buffer) {
            Err(error) if error.errno == Errno::NOENT => return Ok(None),
            Ok(()) if self.buffer.len() < self.buffer.capacity() => {
                // What is cut is no document: braces are open.
                if let Ok(document) = serde_json::from_slice(&self.buffer) {
                    return Ok(Some(document));
                }
            }
            _ => {}
        }
        // Large, or wrong: once more, to the end, and with words that name the place.
        read_document(&self.path.join(name), self.bytes_max)
    }
}

/// Sixteen hexadecimal digits that nobody else has.
pub(crate) fn random_name() -> String {
    let mut bytes = [0_u8; 8];
    let mut filled = 0;
    while filled < bytes.len() {
        // A request of eight bytes fails on no kernel that we run on, but for a signal.
        match rustix::rand::getrandom(&mut bytes[filled..], rustix::rand::GetRandomFlags::empty()) {
            Ok(count) => filled += count,
            Err(_) => std::thread::yield_now(),
        }
    }
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Removes a directory and everything in it; one that is not there is removed already.
///
/// # Errors
/// The first entry that could not be removed.
pub(crate) fn remove_tree(path: &Path) -> Result<(), SysError> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(SysError::new(
            "remove",
            path.display().to_string(),
            Errno::INVAL,
        ));
    };
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let parent = match rustix::fs::openat(CWD, parent, flags, Mode::empty()) {
        Ok(parent) => parent,
        Err(Errno::NOENT) => return Ok(()),
        Err(errno) => return Err(SysError::new("open", parent.display().to_string(), errno)),
    };
    sys::rootfs::remove_all(parent.as_fd(), name)
        .map_err(|error| SysError::new("remove", path.display().to_string(), error.errno))
}

/// Takes the lock of a temporary directory. `None`: somebody holds it, or it went meanwhile.
fn lock_directory(path: &Path) -> Result<Option<OwnedFd>> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let directory = match rustix::fs::openat(CWD, path, flags, Mode::empty()) {
        Ok(directory) => directory,
        Err(Errno::NOENT) => return Ok(None),
        Err(errno) => return Err(SysError::new("open", path.display().to_string(), errno).into()),
    };
    match rustix::fs::flock(&directory, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(Errno::WOULDBLOCK) => return Ok(None),
        Err(errno) => return Err(SysError::new("lock", path.display().to_string(), errno).into()),
    }
    // Between mkdir and flock a sweeper may have taken it for garbage.
    let alive = rustix::fs::fstat(&directory).is_ok_and(|stat| stat.st_nlink > 0);
    Ok(alive.then_some(directory))
}

fn make_directory(path: &Path, mode: u32) -> Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true).mode(mode);
    Ok(builder.create(path).on("create", path.display())?)
}

fn absolute(path: &Path) -> Result<PathBuf> {
    Ok(std::path::absolute(path).on("resolve", path.display())?)
}

fn check_filesystem(root: &Path) -> Result<()> {
    let kind = rustix::fs::statfs(root)
        .on("examine", root.display())?
        .f_type;
    // The magic numbers are 32 bits wide; the field is wider on some machines, and signed.
    let found = UNSUPPORTED
        .iter()
        .find(|(magic, ..)| i64::from(*magic) == (kind as i64 & 0xffff_ffff));
    match found {
        Some(&(_, kind, lacks)) => Err(StorageError::UnsupportedFilesystem {
            root: root.to_owned(),
            kind,
            lacks,
        }),
        None => Ok(()),
    }
}

/// Makes a directory's names durable.
pub(crate) fn sync_directory(path: &Path) -> Result<()> {
    let directory = File::open(path).on("open", path.display())?;
    Ok(directory.sync_all().on("sync", path.display())?)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A store of its own for one test, removed with it.
    pub(crate) struct Scratch {
        pub(crate) store: Store,
        base: PathBuf,
    }

    impl Scratch {
        pub(crate) fn new() -> Self {
            let base = std::env::temp_dir().join(format!("caisson-store-{}", random_name()));
            let store = Store::open(&base.join("root"), &base.join("run")).unwrap();
            Self { store, base }
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = remove_tree(&self.base);
        }
    }

    #[test]
    fn a_damaged_marker_tells_how_to_put_it_back_and_a_lost_directory_comes_back() {
        let scratch = Scratch::new();
        let (root, run_root) = (scratch.store.root(), scratch.store.run_root());
        std::fs::remove_dir(root.join("containers")).unwrap();
        Store::open(root, run_root).unwrap();
        assert!(root.join("containers").is_dir());
        std::fs::write(root.join(MARKER), "{").unwrap();
        let error = Store::open(root, run_root).unwrap_err().to_string();
        let remedy = error.split('`').nth(1).unwrap();
        let status = std::process::Command::new("sh")
            .args(["-c", remedy])
            .status();
        assert!(status.unwrap().success(), "{remedy}");
        Store::open(root, run_root).unwrap();
    }

    #[test]
    fn documents_of_a_directory_are_read_whole_or_said_to_be_damaged() {
        let scratch = Scratch::new();
        let directory = scratch.store.path("images");
        let mut documents = Documents::open(directory.clone(), 1 << 20).unwrap();
        let mut read = |name: &str| documents.read::<Vec<u32>>(name.as_ref());
        let long = format!("[{}1]", "1,".repeat(DOCUMENT_BYTES));
        for (name, text) in [("a", "[1,2]"), ("b", &long), ("c", "[1,"), ("d", "")] {
            std::fs::write(directory.join(name), text).unwrap();
        }
        assert_eq!(read("a").unwrap(), Some(vec![1, 2]));
        assert_eq!(read("b").unwrap().unwrap().len(), DOCUMENT_BYTES + 1);
        // The long one leaves nothing for the next.
        assert_eq!(read("a").unwrap(), Some(vec![1, 2]));
        assert_eq!(read("none").unwrap(), None);
        for damaged in ["c", "d"] {
            let error = read(damaged).unwrap_err();
            assert!(matches!(error, StorageError::Damaged { .. }), "{error}");
        }
    }

    #[test]
    fn a_store_is_made_once_and_refused_when_newer_or_of_another_form() {
        let scratch = Scratch::new();
        let (root, run) = (
            scratch.store.root().to_owned(),
            scratch.store.run_root().to_owned(),
        );
        assert!(Store::open(&root, &run).is_ok());
        for name in LAYOUT {
            assert!(root.join(name).is_dir(), "{name}");
        }
        let marker = root.join(MARKER);
        std::fs::write(&marker, r#"{"format":99,"form":"root"}"#).unwrap();
        let error = Store::open(&root, &run).unwrap_err();
        assert!(
            matches!(error, StorageError::NewerFormat { found: 99, .. }),
            "{error}"
        );
        std::fs::write(&marker, r#"{"format":1,"form":"mapped"}"#).unwrap();
        let error = Store::open(&root, &run).unwrap_err();
        assert!(matches!(error, StorageError::OtherForm { .. }), "{error}");
        std::fs::write(&marker, "{").unwrap();
        assert!(matches!(
            Store::open(&root, &run),
            Err(StorageError::DamagedMarker { .. })
        ));
    }

    #[test]
    fn a_temporary_directory_goes_with_its_holder_and_a_stale_one_is_swept() {
        let scratch = Scratch::new();
        let held = scratch.store.tmp().unwrap();
        let dropped = scratch.store.tmp().unwrap().path().to_owned();
        assert!(!dropped.exists());
        let stale = scratch.store.path("tmp/stale");
        std::fs::create_dir_all(stale.join("a/b/c")).unwrap();
        std::fs::write(stale.join("a/b/file"), "x").unwrap();
        assert_eq!(scratch.store.sweep().unwrap(), 1);
        assert!(!stale.exists());
        assert!(held.path().exists());
    }

    #[test]
    fn a_tree_deeper_than_the_recursion_is_removed() {
        let scratch = Scratch::new();
        let top = scratch.store.tmp().unwrap();
        let path = top.path().join("deep");
        std::fs::create_dir(&path).unwrap();
        let mut directory = File::open(&path).unwrap();
        for _ in 0..2_000 {
            rustix::fs::mkdirat(&directory, "d", Mode::from_raw_mode(0o700)).unwrap();
            let flags = OFlags::RDONLY | OFlags::DIRECTORY;
            directory = rustix::fs::openat(&directory, "d", flags, Mode::empty())
                .unwrap()
                .into();
        }
        drop(directory);
        remove_tree(&path).unwrap();
        assert!(!path.exists());
    }
}
