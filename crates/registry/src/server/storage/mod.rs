//! Bytes: blobs, and uploads that are under way; on a local disk ([`disk`]) or in a bucket of S3
//! ([`bucket`]), where several registries may share them.

pub(crate) mod bucket;
pub(crate) mod disk;
mod hash;
mod read;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http_body_util::BodyExt as _;
use types::digest::{Algorithm, Digest};

use super::database::blobs::BlobRow;
use bucket::Bucket;
use disk::Disk;

/// Why bytes could not be kept or found.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StorageError {
    /// No such upload.
    #[error("there is no such upload")]
    Unknown,
    /// No space is left.
    #[error("the disk is full")]
    Full,
    /// The client's body ended before its end.
    #[error("the body ended early")]
    Cut,
    /// More than allowed.
    #[error("more than {limit} bytes")]
    TooLarge {
        /// What is allowed.
        limit: u64,
    },
    /// The content is not what the client said.
    #[error("the content has the digest {found}")]
    Mismatch {
        /// What the content has.
        found: Digest,
    },
    /// Somebody else writes to the upload.
    #[error("another request is writing to this upload")]
    Busy,
    /// The database, where uploads to a bucket are written down.
    #[error(transparent)]
    Database(#[from] crate::server::database::DatabaseError),
    /// The file system or the bucket refused.
    #[error("cannot {operation}")]
    Io {
        /// What was tried.
        operation: &'static str,
        /// Its answer.
        #[source]
        source: io::Error,
    },
}

/// Turns errors of the file system into ours.
fn io(operation: &'static str) -> impl Fn(io::Error) -> StorageError {
    move |source| match source.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => StorageError::Full,
        _ => StorageError::Io { operation, source },
    }
}

/// The digest of some bytes that are in memory.
pub(crate) fn digest_of(algorithm: Algorithm, bytes: &[u8]) -> Digest {
    let mut hasher = hash::Hasher::new(algorithm);
    hasher.update(bytes);
    hasher.finish()
}

/// Bytes that are kept, by what they are found by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Stored {
    /// On a disk, a blob's digest is its place.
    Digest(Digest),
    /// In a bucket, each upload has a place of its own: nobody who removes one touches another, however
    /// many registries work at once.
    Location(String),
}

/// An upload that somebody writes to.
pub(crate) enum Upload {
    Disk(disk::SessionGuard),
    Bucket(Box<bucket::Session>),
}

impl Upload {
    /// How many bytes there are.
    pub(crate) fn offset(&self) -> u64 {
        match self {
            Self::Disk(session) => session.offset,
            Self::Bucket(session) => session.offset(),
        }
    }

    /// Adds a body at the end.
    pub(crate) async fn append(self, body: Body) -> Result<Self, StorageError> {
        match self {
            Self::Disk(session) => read::append(session, body).await.map(Self::Disk),
            Self::Bucket(session) => session.append(body).await.map(Self::Bucket),
        }
    }

    /// Lets go of it, to be continued by another request.
    pub(crate) async fn release(self) -> Result<(), StorageError> {
        match self {
            Self::Disk(_) => Ok(()),
            Self::Bucket(session) => session.release().await,
        }
    }
}

/// Where all bytes are.
#[derive(Clone)]
pub(crate) enum Storage {
    Disk(Arc<Disk>),
    Bucket(Arc<Bucket>),
}

impl Storage {
    /// Begins an upload. The id is a random one of ours.
    pub(crate) async fn begin(
        &self,
        id: &str,
        repository: &str,
        algorithm: Algorithm,
    ) -> Result<Upload, StorageError> {
        match self {
            Self::Disk(disk) => {
                let (disk, id, name) = (disk.clone(), id.to_owned(), repository.to_owned());
                let begun = blocking(move || disk.begin(&id, &name, algorithm)).await;
                begun.map(Upload::Disk)
            }
            Self::Bucket(bucket) => {
                let begun = bucket.begin(id, repository, algorithm).await;
                begun.map(Upload::Bucket)
            }
        }
    }

    /// Finds an upload and waits until nobody else writes to it.
    pub(crate) async fn resume(&self, id: &str, repository: &str) -> Result<Upload, StorageError> {
        if !is_id(id) {
            return Err(StorageError::Unknown);
        }
        match self {
            Self::Disk(disk) => disk.resume(id, repository).await.map(Upload::Disk),
            Self::Bucket(bucket) => bucket.resume(id, repository).await.map(Upload::Bucket),
        }
    }

    /// Ends an upload and keeps its bytes, if their digest is the promised one. Returns how many there
    /// are and where they are.
    pub(crate) async fn publish(
        &self,
        id: &str,
        upload: Upload,
        digest: &Digest,
    ) -> Result<(u64, String), StorageError> {
        match (self, upload) {
            (Self::Disk(disk), Upload::Disk(session)) => {
                let (disk, id, digest) = (disk.clone(), id.to_owned(), digest.clone());
                let size = blocking(move || disk.publish(&id, session, &digest)).await?;
                Ok((size, String::new()))
            }
            (_, Upload::Bucket(session)) => session.publish(digest).await,
            (Self::Bucket(_), Upload::Disk(_)) => Err(StorageError::Unknown),
        }
    }

    /// Ends an upload; what is left of it goes.
    pub(crate) async fn abandon(&self, id: &str, upload: Upload) -> Result<(), StorageError> {
        match upload {
            Upload::Disk(session) => {
                if let Self::Disk(disk) = self {
                    disk.abandon(id, session);
                }
                Ok(())
            }
            Upload::Bucket(session) => session.abandon().await,
        }
    }

    /// Ends an upload that failed, and that nobody knows of to continue it.
    pub(crate) async fn discard(&self, id: &str) {
        match self {
            Self::Disk(disk) => disk.discard(id),
            Self::Bucket(bucket) => bucket.discard(id).await,
        }
    }

    /// Removes uploads that nothing was written to for so long.
    pub(crate) async fn sweep_uploads(&self, idle: Duration) -> Result<(), StorageError> {
        match self {
            Self::Disk(disk) => {
                let disk = disk.clone();
                blocking(move || disk.sweep_uploads(idle)).await.map(drop)
            }
            Self::Bucket(bucket) => bucket.sweep_uploads(idle).await,
        }
    }

    /// Removes bytes. That there are none is no error: it may be the second time.
    pub(crate) async fn remove(&self, stored: Stored) -> Result<(), StorageError> {
        match (self, stored) {
            (Self::Disk(disk), Stored::Digest(digest)) => {
                let disk = disk.clone();
                blocking(move || disk.remove(&digest)).await
            }
            (Self::Bucket(bucket), Stored::Location(location)) => bucket.remove(&location).await,
            _ => Ok(()),
        }
    }

    /// How the bytes of a blob are found.
    pub(crate) fn place(&self, digest: &Digest, location: &str) -> Stored {
        match self {
            Self::Disk(_) => Stored::Digest(digest.clone()),
            Self::Bucket(_) => Stored::Location(location.to_owned()),
        }
    }

    /// All bytes that are older than so long.
    pub(crate) async fn list(&self, age: Duration) -> Result<Vec<Stored>, StorageError> {
        match self {
            Self::Disk(disk) => {
                let disk = disk.clone();
                blocking(move || disk.list(age)).await
            }
            Self::Bucket(bucket) => bucket.list(age).await,
        }
    }

    /// A part of a blob, read as fast as somebody takes it.
    pub(crate) async fn read(
        &self,
        (digest, row): (&Digest, &BlobRow),
        (start, length): (u64, u64),
    ) -> Result<Body, StorageError> {
        match self {
            Self::Disk(disk) => read::open(disk.blob_path(digest), (start, length)).await,
            Self::Bucket(bucket) => bucket.read(&row.location, start, length).await,
        }
    }

    /// A whole blob, which is small.
    pub(crate) async fn read_all(
        &self,
        digest: &Digest,
        row: &BlobRow,
    ) -> Result<Bytes, StorageError> {
        let body = self.read((digest, row), (0, row.size)).await?;
        let read = body.collect().await;
        read.map(http_body_util::Collected::to_bytes)
            .map_err(|error| io("read a blob")(io::Error::other(error)))
    }
}

/// Ids are 32 hexadecimal digits with dashes, as a UUID: nothing that leads out of a directory.
fn is_id(id: &str) -> bool {
    id.len() == 36
        && id
            .bytes()
            .all(|byte| byte == b'-' || byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

/// Runs what waits for the disk beside the runtime's threads.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StorageError> + Send + 'static,
) -> Result<T, StorageError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(StorageError::Io {
            operation: "run work on the disk",
            source: io::Error::other(error),
        }),
    }
}
