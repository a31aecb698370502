//! Bytes on a local disk: blobs by their digest, and uploads that are under way.
//!
//! ```text
//! blobs/<algorithm>/<first two digits>/<digits>    whole, verified, never changed
//! uploads/<id>/repository, uploads/<id>/data       an upload; `data` grows at its end only
//! ```
//! A blob gets its name by a rename after its digest was checked and its bytes were synced: whatever
//! has a name is whole, whenever this process is killed. What is in `uploads` may be cut anywhere;
//! its hash is made again from the file where this process has not seen all of it.
//!
//! Not through the object-store library, which the bucket beside this goes through: on a local disk it
//! offers neither a sync before the rename nor an append.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard};
use types::digest::{Algorithm, Digest};

use super::hash::Hasher;
use super::{StorageError, Stored, blocking, io as failed};

/// How long a request waits for another that writes to the same upload, such as one whose
/// connection was cut and that is still emptying its queue.
const BUSY_WAIT: Duration = Duration::from_secs(10);
/// How much is read at once where a hash is made again.
const READ_BYTES: usize = 256 * 1024;
/// Uploads whose hash state is kept in memory. Others are read again: slower, never wrong.
const SESSIONS_MAX: usize = 1024;

/// An upload under way. Whoever holds its lock may write.
pub(crate) struct Session {
    directory: PathBuf,
    file: File,
    /// How many bytes there are.
    pub(crate) offset: u64,
    /// The state of the hash after all of them.
    hasher: Hasher,
    limit: u64,
}

impl Session {
    /// Adds bytes at the end.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<(), StorageError> {
        if self.offset + bytes.len() as u64 > self.limit {
            return Err(StorageError::TooLarge { limit: self.limit });
        }
        let mut rest = bytes;
        // Piece by piece, so that offset and hash are right also where the disk is full in between.
        while !rest.is_empty() {
            let count = match self.file.write(rest) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                other => other.map_err(failed("write to an upload"))?,
            };
            sys::fail::point("registry.upload.written");
            self.hasher.update(&rest[..count]);
            self.offset += count as u64;
            rest = &rest[count..];
        }
        Ok(())
    }

    /// The digest of all bytes, by the wanted algorithm.
    fn digest(&self, algorithm: Algorithm) -> Result<Digest, StorageError> {
        if self.hasher.is(algorithm) {
            return Ok(self.hasher.clone().finish());
        }
        let (hasher, _) = hash_file(&self.directory.join("data"), algorithm)?;
        Ok(hasher.finish())
    }
}

fn hash_file(path: &Path, algorithm: Algorithm) -> Result<(Hasher, u64), StorageError> {
    let mut file = File::open(path).map_err(failed("open an upload"))?;
    let (mut hasher, mut size) = (Hasher::new(algorithm), 0);
    let mut buffer = vec![0; READ_BYTES];
    loop {
        match file.read(&mut buffer).map_err(failed("read an upload"))? {
            0 => return Ok((hasher, size)),
            count => {
                hasher.update(&buffer[..count]);
                size += count as u64;
            }
        }
    }
}

/// The directory of blobs and uploads.
pub(crate) struct Disk {
    root: PathBuf,
    limit: u64,
    sessions: Mutex<HashMap<String, Arc<AsyncMutex<Session>>>>,
}

/// The lock of an upload.
pub(crate) type SessionGuard = OwnedMutexGuard<Session>;

impl Disk {
    /// Opens the directory, making what is missing. No blob may have more than `limit` bytes.
    pub(crate) fn open(root: &Path, limit: u64) -> Result<Self, StorageError> {
        for name in ["blobs", "uploads"] {
            // Some are of private repositories.
            let path = root.join(name);
            fs::create_dir_all(&path)
                .and_then(|()| fs::set_permissions(&path, Permissions::from_mode(0o700)))
                .map_err(failed("make the registry's directories"))?;
        }
        Ok(Self {
            root: root.to_owned(),
            limit,
            sessions: Mutex::default(),
        })
    }

    /// Where a blob is, or would be.
    pub(crate) fn blob_path(&self, digest: &Digest) -> PathBuf {
        let hex = digest.hex();
        self.root
            .join("blobs")
            .join(digest.algorithm().name())
            .join(&hex[..2])
            .join(hex)
    }

    /// Where an upload grows.
    pub(crate) fn upload_path(&self, id: &str) -> PathBuf {
        self.root.join("uploads").join(id).join("data")
    }

    /// Begins an upload. The id is a random one of ours.
    pub(crate) fn begin(
        &self,
        id: &str,
        repository: &str,
        algorithm: Algorithm,
    ) -> Result<SessionGuard, StorageError> {
        let directory = self.root.join("uploads").join(id);
        fs::create_dir(&directory).map_err(failed("begin an upload"))?;
        fs::write(directory.join("repository"), repository).map_err(failed("begin an upload"))?;
        let file = OpenOptions::new()
            .append(true)
            .create_new(true)
            .open(directory.join("data"))
            .map_err(failed("begin an upload"))?;
        sys::fail::point("registry.upload.begun");
        let session = Session {
            directory,
            file,
            offset: 0,
            hasher: Hasher::new(algorithm),
            limit: self.limit,
        };
        let session = self.remember(id, session);
        session.try_lock_owned().map_err(|_| StorageError::Busy)
    }

    /// Finds an upload and waits for its lock.
    pub(crate) async fn resume(
        self: &Arc<Self>,
        id: &str,
        repository: &str,
    ) -> Result<SessionGuard, StorageError> {
        let known = self.lock_sessions().get(id).cloned();
        let session = match known {
            Some(session) => session,
            None => {
                let (storage, id) = (self.clone(), id.to_owned());
                blocking(move || {
                    let session = storage.reopen(&id)?;
                    Ok(storage.remember(&id, session))
                })
                .await?
            }
        };
        let guard = tokio::time::timeout(BUSY_WAIT, session.lock_owned())
            .await
            .map_err(|_| StorageError::Busy)?;
        // It may have ended while we waited, and is another repository's secret.
        let of = fs::read(guard.directory.join("repository"));
        if of.is_ok_and(|of| of == repository.as_bytes()) {
            Ok(guard)
        } else {
            Err(StorageError::Unknown)
        }
    }

    /// An upload that this process does not know: from before a restart, or long idle.
    fn reopen(&self, id: &str) -> Result<Session, StorageError> {
        let directory = self.root.join("uploads").join(id);
        let data = directory.join("data");
        let file = match OpenOptions::new().append(true).open(&data) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(StorageError::Unknown);
            }
            other => other.map_err(failed("open an upload"))?,
        };
        let (hasher, offset) = hash_file(&data, Algorithm::Sha256)?;
        Ok(Session {
            directory,
            file,
            offset,
            hasher,
            limit: self.limit,
        })
    }

    fn remember(&self, id: &str, session: Session) -> Arc<AsyncMutex<Session>> {
        let mut sessions = self.lock_sessions();
        if sessions.len() >= SESSIONS_MAX {
            // Whoever nobody is using can be read again from its file.
            sessions.retain(|_, session| Arc::strong_count(session) > 1);
        }
        sessions
            .entry(id.to_owned())
            .or_insert_with(|| Arc::new(AsyncMutex::new(session)))
            .clone()
    }

    fn lock_sessions(
        &self,
    ) -> std::sync::MutexGuard<'_, HashMap<String, Arc<AsyncMutex<Session>>>> {
        self.sessions
            .lock()
            .expect("invariant: nothing panics with this lock")
    }

    /// Ends an upload and makes it a blob, if its digest is the promised one. Returns its size.
    pub(crate) fn publish(
        &self,
        id: &str,
        session: SessionGuard,
        digest: &Digest,
    ) -> Result<u64, StorageError> {
        let found = session.digest(digest.algorithm())?;
        if found != *digest {
            self.abandon(id, session);
            return Err(StorageError::Mismatch { found });
        }
        // Synced before the name: acknowledged means kept, also across a power cut.
        session
            .file
            .sync_data()
            .map_err(failed("sync a blob to the disk"))?;
        sys::fail::point("registry.blob.synced");
        let (path, size) = (self.blob_path(digest), session.offset);
        let parent = path.parent().expect("invariant: a blob is in a directory");
        if !parent.exists() {
            fs::create_dir_all(parent).map_err(failed("make a directory for blobs"))?;
            for made in parent.ancestors().skip(1).take(2) {
                sync_directory(made)?;
            }
        }
        fs::rename(session.directory.join("data"), &path).map_err(failed("name a blob"))?;
        sync_directory(parent)?;
        sys::fail::point("registry.blob.named");
        self.abandon(id, session);
        Ok(size)
    }

    /// Ends an upload; what is left of it goes.
    pub(crate) fn abandon(&self, id: &str, session: SessionGuard) {
        self.lock_sessions().remove(id);
        // What cannot be removed now goes with the old uploads.
        let _ = fs::remove_dir_all(&session.directory);
    }

    /// Ends an upload that failed, and that nobody knows of to continue it.
    pub(crate) fn discard(&self, id: &str) {
        self.lock_sessions().remove(id);
        let _ = fs::remove_dir_all(self.root.join("uploads").join(id));
    }

    /// Removes uploads that nothing was written to for so long. Returns how many.
    pub(crate) fn sweep_uploads(&self, idle: Duration) -> Result<usize, StorageError> {
        let mut removed = 0;
        let uploads = self.root.join("uploads");
        for entry in fs::read_dir(uploads).map_err(failed("list uploads"))? {
            let directory = entry.map_err(failed("list uploads"))?.path();
            let written = fs::metadata(directory.join("data"))
                .or_else(|_| fs::metadata(&directory))
                .and_then(|metadata| metadata.modified());
            if !written.is_ok_and(|written| is_older(written, idle)) {
                continue;
            }
            let id = directory.file_name().unwrap_or_default();
            let known = self.lock_sessions().remove(&*id.to_string_lossy());
            // Somebody who writes this moment holds the lock, and the upload is not idle.
            if known
                .as_ref()
                .is_some_and(|session| session.try_lock().is_err())
            {
                continue;
            }
            removed += usize::from(fs::remove_dir_all(&directory).is_ok());
        }
        Ok(removed)
    }

    /// Removes a blob's bytes. A missing file is no error: it may be the second time.
    pub(crate) fn remove(&self, digest: &Digest) -> Result<(), StorageError> {
        match fs::remove_file(self.blob_path(digest)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(failed("remove a blob")(error))
            }
            _ => Ok(()),
        }
    }

    /// All blobs whose files are older than so long.
    pub(crate) fn list(&self, age: Duration) -> Result<Vec<Stored>, StorageError> {
        let mut found = Vec::new();
        for algorithm in directories(&self.root.join("blobs"))? {
            let name = file_name(&algorithm);
            for shard in directories(&algorithm)? {
                for blob in directories(&shard)? {
                    let Ok(digest) = Digest::parse(&format!("{name}:{}", file_name(&blob))) else {
                        continue;
                    };
                    let written = fs::metadata(&blob).and_then(|metadata| metadata.modified());
                    if written.is_ok_and(|written| is_older(written, age)) {
                        found.push(Stored::Digest(digest));
                    }
                }
            }
        }
        Ok(found)
    }
}

fn directories(path: &Path) -> Result<Vec<PathBuf>, StorageError> {
    fs::read_dir(path)
        .map_err(failed("list blobs"))?
        .map(|entry| {
            entry
                .map(|entry| entry.path())
                .map_err(failed("list blobs"))
        })
        .collect()
}

fn file_name(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}

fn is_older(then: SystemTime, age: Duration) -> bool {
    then.elapsed().is_ok_and(|elapsed| elapsed >= age)
}

fn sync_directory(path: &Path) -> Result<(), StorageError> {
    File::open(path)
        .and_then(|directory| directory.sync_all())
        .map_err(failed("sync a directory"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::storage::digest_of;

    const ID: &str = "00000000-0000-4000-8000-000000000001";

    fn storage(limit: u64) -> (tempfile::TempDir, Arc<Disk>) {
        let directory = tempfile::tempdir().unwrap();
        let storage = Arc::new(Disk::open(directory.path(), limit).unwrap());
        (directory, storage)
    }

    #[test]
    fn a_blob_has_a_name_only_when_its_digest_is_right() {
        let (_directory, storage) = storage(1 << 20);
        for algorithm in [Algorithm::Sha256, Algorithm::Sha512] {
            let digest = digest_of(algorithm, b"hello");
            let mut session = storage.begin(ID, "a/b", Algorithm::Sha256).unwrap();
            session.write(b"hel").unwrap();
            assert!(!storage.blob_path(&digest).exists());
            session.write(b"lo").unwrap();
            assert_eq!(storage.publish(ID, session, &digest).unwrap(), 5);
            assert_eq!(fs::read(storage.blob_path(&digest)).unwrap(), b"hello");
        }
        let wrong = digest_of(Algorithm::Sha256, b"else");
        let mut session = storage.begin(ID, "a/b", Algorithm::Sha256).unwrap();
        session.write(b"hello").unwrap();
        let refused = storage.publish(ID, session, &wrong);
        assert!(matches!(refused, Err(StorageError::Mismatch { .. })));
        assert!(!storage.blob_path(&wrong).exists());
        assert_eq!(
            fs::read_dir(storage.root.join("uploads")).unwrap().count(),
            0
        );
    }

    #[tokio::test]
    async fn an_upload_goes_on_after_a_restart_and_only_in_its_repository() {
        let (directory, first) = storage(1 << 20);
        let mut session = first.begin(ID, "a/b", Algorithm::Sha256).unwrap();
        session.write(b"hel").unwrap();
        drop(session);
        let again = Arc::new(Disk::open(directory.path(), 1 << 20).unwrap());
        for (id, repository) in [(ID, "a/c"), ("x", "a/b")] {
            let found = again.resume(id, repository).await;
            assert!(matches!(found, Err(StorageError::Unknown)), "{id}");
        }
        let mut session = again.resume(ID, "a/b").await.unwrap();
        assert_eq!(session.offset, 3);
        session.write(b"lo").unwrap();
        let digest = digest_of(Algorithm::Sha256, b"hello");
        assert_eq!(again.publish(ID, session, &digest).unwrap(), 5);
        assert!(again.resume(ID, "a/b").await.is_err());
    }

    #[test]
    fn a_blob_has_a_limit_and_old_uploads_go() {
        let (_directory, storage) = storage(4);
        let mut session = storage.begin(ID, "a/b", Algorithm::Sha256).unwrap();
        session.write(b"1234").unwrap();
        let refused = session.write(b"5");
        assert!(matches!(refused, Err(StorageError::TooLarge { limit: 4 })));
        drop(session);
        assert_eq!(storage.sweep_uploads(Duration::from_secs(60)).unwrap(), 0);
        assert_eq!(storage.sweep_uploads(Duration::ZERO).unwrap(), 1);
    }
}
