//! The build cache: what a step gave, by its key.
//!
//! ```text
//! cache/steps/<hex of the key>        which layer the step made (see [`CacheRecord`])
//! cache/steps/<hex of the key>.lock   held by whoever does that step; others wait for its result
//! cache/contents/…                    what trees hold, remembered (see `engine::build`)
//! cache/traces/…                      what the last builds looked at
//! ```
//! A record keeps its layer from being collected. It is written after the layer is published, and not
//! synced: one that a power cut damages is a miss. The file's time is that of its last use.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::{Deserialize, Serialize};
use sys::Context;
use sys::atomic::{self, Durability};
use sys::lock::Lock;
use types::digest::Digest;

use crate::error::Result;
use crate::lease::Lease;
use crate::store::{Store, encode, random_name};

const RECORD_BYTES_MAX: u64 = 64 << 10;
const STEPS: &str = "cache/steps";

/// What a step gave.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CacheRecord {
    version: u32,
    /// Its layer.
    pub diff_id: Digest,
    /// Bytes of the layer's files.
    pub size_bytes: u64,
    /// When it was made, in nanoseconds since 1970.
    pub created_ns: i64,
    /// What people call the step.
    pub description: String,
    /// What kind of step it was.
    pub kind: String,
}

impl CacheRecord {
    /// A record of now.
    pub fn new(diff_id: Digest, size_bytes: u64, description: &str, kind: &str) -> Self {
        Self {
            version: 1,
            diff_id,
            size_bytes,
            created_ns: crate::refs::now_ns(),
            description: description.to_owned(),
            kind: kind.to_owned(),
        }
    }
}

/// A record with what its file says.
#[derive(Clone, Debug)]
pub struct CacheEntry {
    /// The step's key, in hexadecimal digits.
    pub key: String,
    /// The record.
    pub record: CacheRecord,
    /// When it was last used.
    pub used: SystemTime,
}

impl Store {
    /// Makes the directories of the cache, where a store of an older version has none.
    ///
    /// # Errors
    /// The disk's answer.
    pub fn prepare_cache(&self) -> Result<()> {
        for name in [
            STEPS,
            "cache/contents",
            "cache/traces",
            "cache/networks",
            "cache/mounts",
        ] {
            let path = self.path(name);
            if !path.exists() {
                std::fs::create_dir_all(&path).on("create", path.display())?;
            }
        }
        Ok(())
    }

    /// What a step gave, if that is still here; the lease needs its layer then, and it counts as used.
    ///
    /// # Errors
    /// The disk's answer. A record that cannot be understood is none.
    pub fn cached(&self, lease: &Lease, key: &Digest) -> Result<Option<CacheRecord>> {
        let path = self.step_path(key);
        let Some(record) = read(&path) else {
            return Ok(None);
        };
        lease.need(&record.diff_id)?;
        if self.find_layer(&record.diff_id)?.is_none() {
            return Ok(None);
        }
        touch(&path);
        Ok(Some(record))
    }

    /// Keeps what a step gave. Its layer is published, and a lease needs it.
    ///
    /// # Errors
    /// The disk's answer.
    pub fn keep_step(&self, lease: &Lease, key: &Digest, record: &CacheRecord) -> Result<()> {
        let bytes = encode("a record of the build cache", record)?;
        sys::fail::result("storage.cache.keep")?;
        // It lies with the lease until it is whole: what a killed build leaves is swept with that.
        let name = format!("step-{}", random_name());
        let directory = lease.temporary().path();
        let volatile = Durability::Volatile;
        atomic::write_new_at(atomic::open_directory(directory)?, &name, &bytes, volatile)?;
        let target = self.step_path(key);
        sys::fail::point("storage.cache.written");
        Ok(std::fs::rename(directory.join(name), &target).on("rename", target.display())?)
    }

    /// Waits until nobody else does the step, and keeps others from doing it.
    ///
    /// # Errors
    /// The disk's answer.
    pub fn lock_step(&self, key: &Digest) -> Result<StepLock> {
        let path = self.step_path(key).with_extension("lock");
        let lock = crate::layers::KeyLock::acquire(&path)?;
        Ok(StepLock { _lock: lock })
    }

    /// As [`Self::lock_step`], where nobody does it.
    ///
    /// # Errors
    /// The disk's answer.
    pub fn try_lock_step(&self, key: &Digest) -> Result<Option<StepLock>> {
        let path = self.step_path(key).with_extension("lock");
        let lock = crate::layers::KeyLock::try_acquire(&path)?;
        Ok(lock.map(|lock| StepLock { _lock: lock }))
    }

    /// All records, the least recently used first.
    ///
    /// # Errors
    /// Where they cannot be listed.
    pub fn cache_entries(&self) -> Result<Vec<CacheEntry>> {
        let directory = self.path(STEPS);
        let mut entries = Vec::new();
        let Ok(list) = std::fs::read_dir(&directory) else {
            return Ok(entries);
        };
        for entry in list.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.contains('.') {
                continue;
            }
            let used = entry.metadata().and_then(|metadata| metadata.modified());
            if let (Some(record), Ok(used)) = (read(&entry.path()), used) {
                entries.push(CacheEntry {
                    key: name,
                    record,
                    used,
                });
            }
        }
        entries.sort_by_key(|entry| entry.used);
        Ok(entries)
    }

    /// Forgets a record, named by its key in hexadecimal digits; returns whether there was one. Its
    /// layer goes with the next collection, where nothing else needs it.
    ///
    /// # Errors
    /// The disk's answer.
    pub fn forget_step(&self, key: &str) -> Result<bool> {
        let path = self.path(STEPS).join(key);
        match std::fs::remove_file(&path) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
            Err(error) => Ok(Err(error).on("remove", path.display())?),
        }
    }

    /// Takes away locks and half-written records of killed commands.
    pub(crate) fn sweep_cache(&self) {
        let Ok(list) = std::fs::read_dir(self.path(STEPS)) else {
            return;
        };
        for entry in list.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let path = entry.path();
            // Records once were written beside each other.
            if name.starts_with('.') {
                let _ = std::fs::remove_file(&path);
            } else if name.ends_with(".lock")
                && let Ok(Some(_held)) = Lock::try_acquire(&path)
            {
                let _ = std::fs::remove_file(&path);
            }
        }
    }

    fn step_path(&self, key: &Digest) -> PathBuf {
        self.path(STEPS).join(key.hex())
    }
}

/// Nobody else does this step.
#[derive(Debug)]
pub struct StepLock {
    _lock: crate::layers::KeyLock,
}

fn read(path: &Path) -> Option<CacheRecord> {
    let bytes = atomic::read_limited(path, RECORD_BYTES_MAX).ok()?;
    serde_json::from_slice(&bytes).ok()
}

fn touch(path: &Path) {
    let now = rustix::fs::Timestamps {
        last_access: rustix::fs::Timespec {
            tv_sec: 0,
            tv_nsec: rustix::fs::UTIME_NOW,
        },
        last_modification: rustix::fs::Timespec {
            tv_sec: 0,
            tv_nsec: rustix::fs::UTIME_NOW,
        },
    };
    let _ = rustix::fs::utimensat(rustix::fs::CWD, path, &now, rustix::fs::AtFlags::empty());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blobs::digest_of;
    use crate::layers::tests::make;
    use crate::store::tests::Scratch;

    #[test]
    fn a_record_keeps_its_layer_and_is_none_without_it() {
        let scratch = Scratch::new();
        let store = &scratch.store;
        store.prepare_cache().unwrap();
        let lease = store.lease().unwrap();
        let layer = make(store, &lease, "made", &["file"]);
        let (key, other) = (digest_of(b"key"), digest_of(b"other"));
        store
            .keep_step(
                &lease,
                &key,
                &CacheRecord::new(layer.clone(), 10, "RUN x", "run"),
            )
            .unwrap();
        let gone = CacheRecord::new(digest_of(b"gone"), 0, "", "run");
        store.keep_step(&lease, &other, &gone).unwrap();
        drop(lease);
        let nothing = || Ok::<_, crate::StorageError>(std::collections::BTreeSet::new());
        store.collect(nothing).unwrap();
        let lease = store.lease().unwrap();
        assert_eq!(store.cached(&lease, &key).unwrap().unwrap().diff_id, layer);
        assert!(store.cached(&lease, &other).unwrap().is_none());
        drop(lease);
        for entry in store.cache_entries().unwrap() {
            store.forget_step(&entry.key).unwrap();
        }
        assert_eq!(store.collect(nothing).unwrap().layers.len(), 1);
    }

    #[test]
    fn a_step_is_done_by_one_at_a_time() {
        let scratch = Scratch::new();
        let store = &scratch.store;
        store.prepare_cache().unwrap();
        let key = digest_of(b"key");
        let held = store.lock_step(&key).unwrap();
        assert!(store.try_lock_step(&key).unwrap().is_none());
        drop(held);
        assert!(store.try_lock_step(&key).unwrap().is_some());
    }
}
