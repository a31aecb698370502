//! Unpacked layers, each made once.
//!
//! ```text
//! layers/<id>/fs        the directory that overlay mounts, never changed once published
//!            /layer     what must be known of it (see [`LayerInfo`])
//! diffids/<key>         a link whose text is the id; the key is the diff id
//! diffids/<key>.lock    held by whoever makes that layer
//! ```
//! A layer is unpacked under a lease's temporary directory, synced, renamed, and named by its diff id
//! last. Two commands that need the same one meet at its lock: one works, the other waits and takes
//! the result. A layer that had to be made for one chain only (see `chain`) has that chain's digest
//! as its key.
//!
//! All layers of an image are synced by one `syncfs`: for 5,000 small files that costs 0.08 s here,
//! an fsync of each 1.5 s, and 0.8 s from eight threads.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use sys::lock::Lock;
use sys::rootfs::Dir;
use sys::{Context, SysError};
use types::digest::{Algorithm, Digest};

use crate::error::{Result, StorageError};
use crate::images::BlobRecord;
use crate::layer::unpack::UnpackReport;
use crate::lease::Lease;
use crate::store::{Store, encode, random_name, read_document, sync_directory};

const TREE: &str = "fs";
const INFO: &str = "layer";
const INFO_BYTES_MAX: u64 = 64 << 20;
/// Docker's root directory of a container.
const ROOT_MODE: u32 = 0o755;

/// What must be known of a layer without looking into it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerInfo {
    version: u32,
    /// The diff id, or the digest of the chain it was made for.
    pub key: Digest,
    /// Bytes of its files.
    pub size_bytes: u64,
    /// Directories that its archive only implied, escaped.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    implied: Vec<String>,
    /// Whether it has hard links to files of lower layers.
    #[serde(default)]
    pub has_foreign_links: bool,
    /// Whether it hides everything below it.
    #[serde(default)]
    pub is_opaque: bool,
    /// The archive that it was unpacked from, where that is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub archive: Option<BlobRecord>,
}

impl LayerInfo {
    fn new(key: &Digest, report: &UnpackReport, archive: Option<BlobRecord>) -> Self {
        Self {
            version: 1,
            key: key.clone(),
            size_bytes: report.bytes,
            implied: report
                .implied_dirs
                .iter()
                .map(|path| escape(path))
                .collect(),
            has_foreign_links: !report.unresolved_hardlinks.is_empty(),
            is_opaque: report.opaque_root,
            archive,
        }
    }

    /// Directories that its archive only implied.
    pub(crate) fn implied_directories(&self) -> impl Iterator<Item = PathBuf> {
        self.implied.iter().map(|text| unescape(text))
    }

    /// Whether it may have to be fitted to the layers below it.
    pub(crate) fn depends_on_parents(&self) -> bool {
        self.has_foreign_links || !self.implied.is_empty()
    }
}

/// The right, or no need, to make a layer.
#[derive(Debug)]
pub enum LayerClaim {
    /// It is there.
    Ready(LayerId),
    /// It is to be made by the caller; others wait for it.
    Work(Box<LayerWork>),
}

/// The name of a directory in `layers/`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LayerId(String);

impl LayerId {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub(crate) fn from_name(name: &str) -> Option<Self> {
        let hex = |byte: u8| byte.is_ascii_hexdigit();
        (!name.is_empty() && name.bytes().all(hex)).then(|| Self(name.to_owned()))
    }
}

/// A layer being made.
#[derive(Debug)]
pub struct LayerWork {
    store: Store,
    key: Digest,
    directory: PathBuf,
    _lock: KeyLock,
}

/// A layer that is made but not yet published.
#[derive(Debug)]
pub struct MadeLayer {
    work: Box<LayerWork>,
    info: LayerInfo,
}

impl Store {
    /// The directory of a layer that overlay mounts.
    pub fn layer_path(&self, id: &LayerId) -> PathBuf {
        self.path("layers").join(id.as_str()).join(TREE)
    }

    /// The layer of a diff id, if it is unpacked.
    ///
    /// # Errors
    /// Where the store cannot be read.
    pub fn find_layer(&self, key: &Digest) -> Result<Option<LayerId>> {
        let path = self.key_path(key);
        match rustix::fs::readlink(&path, Vec::new()) {
            Ok(text) => Ok(text.to_str().ok().and_then(LayerId::from_name)),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(SysError::new("read", path.display().to_string(), errno).into()),
        }
    }

    /// What is known of a layer.
    ///
    /// # Errors
    /// Where it cannot be read.
    pub fn layer_info(&self, id: &LayerId) -> Result<Option<LayerInfo>> {
        read_document(
            &self.path("layers").join(id.as_str()).join(INFO),
            INFO_BYTES_MAX,
        )
    }

    /// Notes that the archive of a layer is kept from now on, in that form. The lease needs both.
    ///
    /// # Errors
    /// Where the layer is not there, or the disk's answer.
    pub fn remember_archive(&self, diff_id: &Digest, archive: &BlobRecord) -> Result<()> {
        let missing = || StorageError::NoSuchLayer {
            diff_id: diff_id.clone(),
        };
        let id = self.find_layer(diff_id)?.ok_or_else(missing)?;
        let mut info = self.layer_info(&id)?.ok_or_else(missing)?;
        info.archive = Some(archive.clone());
        let path = self.path("layers").join(id.as_str()).join(INFO);
        let bytes = encode("a layer's description", &info)?;
        Ok(sys::atomic::write(
            &path,
            &bytes,
            sys::atomic::Durability::Synced,
        )?)
    }

    /// Takes a layer if it is there, else the right to make it; waits for somebody who makes it.
    /// The lease names it from now on.
    ///
    /// # Errors
    /// The disk's answer.
    pub fn claim_layer(&self, lease: &Lease, key: &Digest) -> Result<LayerClaim> {
        lease.need(key)?;
        if let Some(id) = self.find_layer(key)? {
            return Ok(LayerClaim::Ready(id));
        }
        let lock = KeyLock::acquire(&self.key_path(key).with_extension("lock"))?;
        // Whoever held the lock before us has probably made it.
        if let Some(id) = self.find_layer(key)? {
            return Ok(LayerClaim::Ready(id));
        }
        sys::fail::result("storage.layer.claimed")?;
        let directory = lease.tree_path()?;
        let tree = directory.join(TREE);
        std::fs::create_dir_all(&tree).on("create", tree.display())?;
        let mode = std::fs::Permissions::from_mode(ROOT_MODE);
        std::fs::set_permissions(&tree, mode).on("set the mode of", tree.display())?;
        let (store, key) = (self.clone(), key.clone());
        Ok(LayerClaim::Work(Box::new(LayerWork {
            store,
            key,
            directory,
            _lock: lock,
        })))
    }

    /// Makes layers durable and gives them their names, in order.
    ///
    /// # Errors
    /// The disk's answer; those before it are published.
    pub fn publish_layers(&self, made: Vec<MadeLayer>) -> Result<Vec<LayerId>> {
        self.settle_layers(&made)?;
        self.name_layers(made, || ())
    }

    /// The first half of [`Self::publish_layers`]: makes layers durable where they are.
    ///
    /// # Errors
    /// The disk's answer.
    pub fn settle_layers(&self, made: &[MadeLayer]) -> Result<()> {
        if made.is_empty() {
            return Ok(());
        }
        for layer in made {
            let path = layer.work.directory.join(INFO);
            let bytes = encode("a layer's description", &layer.info)?;
            std::fs::write(&path, bytes).on("write", path.display())?;
        }
        sys::fail::result("storage.layer.described")?;
        self.sync_filesystem()?;
        sys::fail::point("storage.layer.synced");
        Ok(())
    }

    /// The second half of [`Self::publish_layers`]: gives durable layers their names, in order. `moved`
    /// is called when each is where it stays.
    ///
    /// # Errors
    /// The disk's answer; those before it are published.
    pub fn name_layers(&self, made: Vec<MadeLayer>, moved: impl FnOnce()) -> Result<Vec<LayerId>> {
        if made.is_empty() {
            moved();
            return Ok(Vec::new());
        }
        // A layer without its name is garbage to a collection, so none may run in between.
        let _guard = self.guard_images()?;
        let layers = self.path("layers");
        let mut ids = Vec::with_capacity(made.len());
        for layer in &made {
            let id = LayerId(random_name());
            let target = layers.join(id.as_str());
            std::fs::rename(&layer.work.directory, &target).on("rename", target.display())?;
            sys::fail::point("storage.layer.moved");
            ids.push(id);
        }
        moved();
        sync_directory(&layers)?;
        for (layer, id) in made.iter().zip(&ids) {
            self.name_layer(&layer.work.key, id)?;
        }
        sys::fail::point("storage.layer.named");
        sync_directory(&self.path("diffids"))?;
        Ok(ids)
    }

    fn name_layer(&self, key: &Digest, id: &LayerId) -> Result<()> {
        let path = self.key_path(key);
        let temporary = path.with_extension(random_name());
        rustix::fs::symlink(id.as_str(), &temporary).on("create", temporary.display())?;
        sys::fail::point("storage.layer.linked");
        Ok(rustix::fs::rename(&temporary, &path).on("rename", path.display())?)
    }

    fn sync_filesystem(&self) -> Result<()> {
        let root = sys::atomic::open_directory(self.root())?;
        Ok(rustix::fs::syncfs(&root).on("sync", self.root().display())?)
    }

    fn key_path(&self, key: &Digest) -> PathBuf {
        self.path("diffids").join(key_name(key))
    }
}

impl LayerWork {
    /// The directory to fill, as a root.
    ///
    /// # Errors
    /// Where it cannot be opened.
    pub fn root(&self) -> Result<Dir> {
        let path = self.tree();
        Dir::open(&path).map_err(|error| StorageError::Sys(error.into()))
    }

    /// The directory to fill.
    pub fn tree(&self) -> PathBuf {
        self.directory.join(TREE)
    }

    /// The diff id it was claimed for.
    pub fn key(&self) -> &Digest {
        &self.key
    }

    /// Beside the directory to fill, for what overlay needs while it is filled; goes on publishing.
    pub(crate) fn scratch(&self) -> Result<PathBuf> {
        let path = self.directory.with_extension("work");
        std::fs::create_dir(&path).on("create", path.display())?;
        Ok(path)
    }

    /// Puts a directory that was filled elsewhere in the place of the one to fill. It must lie in
    /// the store, beneath `tmp/`.
    ///
    /// # Errors
    /// The disk's answer.
    pub fn adopt(&self, directory: &Path) -> Result<()> {
        let tree = self.tree();
        std::fs::remove_dir(&tree).on("remove", tree.display())?;
        Ok(std::fs::rename(directory, &tree).on("rename", directory.display())?)
    }

    /// Declares the directory filled. The caller has verified what it was filled from, and says
    /// where that is kept.
    pub fn finish(
        self: Box<Self>,
        report: &UnpackReport,
        archive: Option<BlobRecord>,
    ) -> MadeLayer {
        let info = LayerInfo::new(&self.key, report, archive);
        MadeLayer { work: self, info }
    }
}

impl MadeLayer {
    /// Publishes this layer alone.
    ///
    /// # Errors
    /// The disk's answer.
    pub fn publish(self) -> Result<LayerId> {
        let store = self.work.store.clone();
        let mut ids = store.publish_layers(vec![self])?;
        Ok(ids.pop().expect("invariant: one layer gives one id"))
    }
}

impl Drop for LayerWork {
    fn drop(&mut self) {
        // Once published there is nothing here; else it would lie in the lease until the end.
        let _ = crate::store::remove_tree(&self.directory);
    }
}

/// The lock on a key, whose file goes with it.
#[derive(Debug)]
pub(crate) struct KeyLock {
    path: PathBuf,
    _lock: Lock,
}

impl KeyLock {
    pub(crate) fn acquire(path: &Path) -> Result<Self> {
        loop {
            if let Some(held) = Self::of(path, Lock::acquire(path)?)? {
                return Ok(held);
            }
        }
    }

    /// `None` where somebody holds it.
    pub(crate) fn try_acquire(path: &Path) -> Result<Option<Self>> {
        match Lock::try_acquire(path)? {
            Some(lock) => Self::of(path, lock),
            None => Ok(None),
        }
    }

    /// `None` where the holder before us removed the file that we waited at: others lock a new one.
    fn of(path: &Path, lock: Lock) -> Result<Option<Self>> {
        let ours = rustix::fs::fstat(&lock).on("examine", path.display())?;
        match rustix::fs::stat(path) {
            Ok(stat) if (stat.st_dev, stat.st_ino) == (ours.st_dev, ours.st_ino) => {
                Ok(Some(Self {
                    path: path.to_owned(),
                    _lock: lock,
                }))
            }
            Ok(_) | Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(SysError::new("examine", path.display().to_string(), errno).into()),
        }
    }
}

impl Drop for KeyLock {
    fn drop(&mut self) {
        // Removed while held: whoever waits finds out and locks the next file.
        let _ = std::fs::remove_file(&self.path);
    }
}

pub(crate) fn key_name(key: &Digest) -> String {
    match key.algorithm() {
        Algorithm::Sha256 => key.hex().to_owned(),
        other => format!("{}-{}", other.name(), key.hex()),
    }
}

/// A path of an image as text: names there need not be UTF-8.
fn escape(path: &Path) -> String {
    let mut text = String::new();
    for &byte in path.as_os_str().as_bytes() {
        if byte.is_ascii_graphic() && byte != b'%' {
            text.push(char::from(byte));
        } else {
            text.push_str(&format!("%{byte:02x}"));
        }
    }
    text
}

fn unescape(text: &str) -> PathBuf {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let code = tail
            .get(..2)
            .and_then(|code| std::str::from_utf8(code).ok());
        match (
            first,
            code.and_then(|code| u8::from_str_radix(code, 16).ok()),
        ) {
            (b'%', Some(byte)) => {
                bytes.push(byte);
                rest = &tail[2..];
            }
            _ => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    PathBuf::from(OsString::from_vec(bytes))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::blobs::digest_of;
    use crate::store::tests::Scratch;

    /// Publishes a layer with the given files.
    pub(crate) fn make(store: &Store, lease: &Lease, name: &str, files: &[&str]) -> Digest {
        let key = digest_of(name.as_bytes());
        let LayerClaim::Work(work) = store.claim_layer(lease, &key).unwrap() else {
            panic!("{name} is there already");
        };
        for file in files {
            let path = work.tree().join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, name).unwrap();
        }
        work.finish(
            &UnpackReport {
                bytes: 10,
                ..UnpackReport::default()
            },
            None,
        )
        .publish()
        .unwrap();
        key
    }

    #[test]
    fn a_layer_is_made_once_even_by_two_at_once() {
        let scratch = Scratch::new();
        let store = &scratch.store;
        let key = digest_of(b"layer");
        let made = std::sync::atomic::AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let lease = store.lease().unwrap();
                    match store.claim_layer(&lease, &key).unwrap() {
                        LayerClaim::Ready(_) => {}
                        LayerClaim::Work(work) => {
                            made.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                            std::fs::write(work.tree().join("file"), "x").unwrap();
                            work.finish(&UnpackReport::default(), None)
                                .publish()
                                .unwrap();
                        }
                    }
                });
            }
        });
        assert_eq!(made.into_inner(), 1);
        let id = store.find_layer(&key).unwrap().unwrap();
        assert!(store.layer_path(&id).join("file").exists());
        assert_eq!(store.layer_info(&id).unwrap().unwrap().key, key);
        // No lock file and no half-made link stays.
        assert_eq!(std::fs::read_dir(store.path("diffids")).unwrap().count(), 1);
    }

    #[test]
    fn a_layer_given_up_leaves_nothing_and_can_be_made_by_the_next() {
        let scratch = Scratch::new();
        let store = &scratch.store;
        let lease = store.lease().unwrap();
        let key = digest_of(b"given up");
        for _ in 0..2 {
            let claim = store.claim_layer(&lease, &key).unwrap();
            assert!(matches!(claim, LayerClaim::Work(_)));
        }
        assert_eq!(store.find_layer(&key).unwrap(), None);
        let trees = lease.tree_path().unwrap();
        let trees = std::fs::read_dir(trees.parent().unwrap()).unwrap();
        assert_eq!(trees.count(), 0);
    }

    #[test]
    fn any_path_survives_its_escape() {
        for bytes in [
            &b"plain/path"[..],
            b"sp ace%41",
            b"\xff\x00\n",
            "ünï".as_bytes(),
            b"%",
        ] {
            let path = PathBuf::from(OsString::from_vec(bytes.to_vec()));
            assert_eq!(unescape(&escape(&path)), path);
        }
    }
}
