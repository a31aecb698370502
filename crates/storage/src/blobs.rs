//! Content by its digest: manifests, indexes, configs, layers as fetched.
//!
//! A blob is written under the caller's temporary directory, hashed on the way, and renamed to its
//! digest only if that is the digest announced. What bears a digest's name is that content, always.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use sha2::digest::Digest as _;
use sha2::{Sha256, Sha384, Sha512};
use sys::Context;
use sys::atomic;
use types::digest::{Algorithm, Digest};

use crate::error::{Result, StorageError};
use crate::lease::Lease;
use crate::store::{Store, random_name, sync_directory};

/// One of the hash functions that digests name.
#[derive(Clone, Debug)]
pub struct Hasher(Inner);

#[derive(Clone, Debug)]
enum Inner {
    Sha256(Sha256),
    Sha384(Sha384),
    Sha512(Sha512),
}

impl Hasher {
    /// Starts a hash.
    pub fn new(algorithm: Algorithm) -> Self {
        Self(match algorithm {
            Algorithm::Sha256 => Inner::Sha256(Sha256::new()),
            Algorithm::Sha384 => Inner::Sha384(Sha384::new()),
            Algorithm::Sha512 => Inner::Sha512(Sha512::new()),
        })
    }

    /// Adds bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        match &mut self.0 {
            Inner::Sha256(hash) => hash.update(bytes),
            Inner::Sha384(hash) => hash.update(bytes),
            Inner::Sha512(hash) => hash.update(bytes),
        }
    }

    /// The digest of all bytes added.
    pub fn finish(self) -> Digest {
        let (algorithm, hash) = match self.0 {
            Inner::Sha256(hash) => (Algorithm::Sha256, hash.finalize().to_vec()),
            Inner::Sha384(hash) => (Algorithm::Sha384, hash.finalize().to_vec()),
            Inner::Sha512(hash) => (Algorithm::Sha512, hash.finalize().to_vec()),
        };
        let hex: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
        Digest::parse(&format!("{}:{hex}", algorithm.name()))
            .expect("invariant: a hash has the length of its algorithm")
    }
}

/// The SHA-256 digest of some bytes.
pub fn digest_of(bytes: &[u8]) -> Digest {
    let mut hasher = Hasher::new(Algorithm::Sha256);
    hasher.update(bytes);
    hasher.finish()
}

impl Store {
    /// Where a blob lies, or would.
    pub fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.path("blobs")
            .join(digest.algorithm().name())
            .join(digest.hex())
    }

    /// Whether the blob is here.
    pub fn has_blob(&self, digest: &Digest) -> bool {
        rustix::fs::access(self.blob_path(digest), rustix::fs::Access::EXISTS).is_ok()
    }

    /// The blob's length.
    ///
    /// # Errors
    /// Where it is not here.
    pub fn blob_size(&self, digest: &Digest) -> Result<u64> {
        Ok(self
            .open_blob(digest)?
            .metadata()
            .on("examine", digest)?
            .len())
    }

    /// Opens the blob for reading.
    ///
    /// # Errors
    /// Where it is not here or cannot be opened.
    pub fn open_blob(&self, digest: &Digest) -> Result<File> {
        match File::open(self.blob_path(digest)) {
            Ok(file) => Ok(file),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                Err(StorageError::NoSuchBlob {
                    digest: digest.clone(),
                })
            }
            Err(error) => Ok(Err(error).on("open", digest)?),
        }
    }

    /// Reads a small blob: a manifest, an index or a config.
    ///
    /// # Errors
    /// Where it is not here or larger than the limit.
    pub fn read_blob(&self, digest: &Digest, bytes_max: u64) -> Result<Vec<u8>> {
        match atomic::read_limited(&self.blob_path(digest), bytes_max) {
            Ok(bytes) => Ok(bytes),
            Err(error) if error.errno == rustix::io::Errno::NOENT => {
                Err(StorageError::NoSuchBlob {
                    digest: digest.clone(),
                })
            }
            Err(error) if error.errno == rustix::io::Errno::FBIG => Err(StorageError::TooLarge {
                what: digest.to_string(),
                limit: bytes_max,
            }),
            Err(error) => Err(error.into()),
        }
    }

    /// Starts a blob, to be named by a digest of `algorithm`. The lease keeps it from then on.
    ///
    /// # Errors
    /// Where the file cannot be made.
    pub fn blob_writer<'l>(
        &self,
        lease: &'l Lease,
        algorithm: Algorithm,
    ) -> Result<BlobWriter<'l>> {
        let path = lease
            .temporary()
            .path()
            .join(format!("blob-{}", random_name()));
        let file = File::create_new(&path).on("create", path.display())?;
        let hasher = Hasher::new(algorithm);
        Ok(BlobWriter {
            lease,
            file,
            path,
            hasher,
            size: 0,
            committed: false,
        })
    }

    /// Stores bytes that are at hand, under their own digest.
    ///
    /// # Errors
    /// The disk's answer.
    pub fn put_blob(&self, lease: &Lease, bytes: &[u8]) -> Result<Digest> {
        let digest = digest_of(bytes);
        lease.need(&digest)?;
        if !self.has_blob(&digest) {
            let mut writer = self.blob_writer(lease, Algorithm::Sha256)?;
            writer.write_all(bytes).on("write", &digest)?;
            writer.commit(&digest, Some(bytes.len() as u64))?;
        }
        Ok(digest)
    }
}

/// A blob being written.
#[derive(Debug)]
pub struct BlobWriter<'l> {
    lease: &'l Lease,
    file: File,
    path: PathBuf,
    hasher: Hasher,
    size: u64,
    committed: bool,
}

impl BlobWriter<'_> {
    /// How many bytes came so far.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The digest of what came so far.
    pub fn digest(&self) -> Digest {
        self.hasher.clone().finish()
    }

    /// Checks what came against what was announced, makes it durable and gives it its name.
    ///
    /// # Errors
    /// Another digest or length (the file then goes), or the disk's answer.
    pub fn commit(mut self, expected: &Digest, size: Option<u64>) -> Result<()> {
        let what = || format!("the content of {}", expected.short());
        if let Some(expected) = size.filter(|&size| size != self.size) {
            return Err(StorageError::SizeMismatch {
                what: what(),
                expected,
                actual: self.size,
            });
        }
        let actual = self.hasher.clone().finish();
        if &actual != expected {
            let expected = expected.clone();
            return Err(StorageError::DigestMismatch {
                what: what(),
                expected,
                actual,
            });
        }
        self.publish(expected)
    }

    /// Ends the writing, and leaves open whether the blob is kept at all.
    pub fn stage(mut self) -> StagedBlob {
        self.committed = true;
        let path = std::mem::take(&mut self.path);
        let (digest, size) = (self.hasher.clone().finish(), self.size);
        StagedBlob { path, digest, size }
    }

    fn publish(&mut self, digest: &Digest) -> Result<()> {
        self.lease.need(digest)?;
        let target = self.lease.store().blob_path(digest);
        let directory = target.parent().unwrap_or(Path::new("/")).to_owned();
        if digest.algorithm() != Algorithm::Sha256 {
            std::fs::create_dir_all(&directory).on("create", directory.display())?;
        }
        sys::fail::result("storage.blob.written")?;
        self.file.sync_data().on("sync", digest)?;
        sys::fail::point("storage.blob.synced");
        std::fs::rename(&self.path, &target).on("rename", target.display())?;
        sys::fail::point("storage.blob.renamed");
        self.committed = true;
        sync_directory(&directory)
    }
}

/// A file that is in no blob's place yet, with what it would be called there.
#[derive(Debug)]
pub struct StagedBlob {
    path: PathBuf,
    digest: Digest,
    size: u64,
}

impl StagedBlob {
    /// The digest of its content.
    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    /// Its length.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Opens it for reading.
    ///
    /// # Errors
    /// The disk's answer.
    pub fn open(&self) -> Result<File> {
        Ok(File::open(&self.path).on("open", self.path.display())?)
    }

    /// Makes it durable and gives it its name. It stays readable here as well.
    ///
    /// # Errors
    /// The disk's answer.
    pub fn publish(&self, lease: &Lease) -> Result<()> {
        lease.need(&self.digest)?;
        if lease.store().has_blob(&self.digest) {
            return Ok(());
        }
        let file = self.open()?;
        file.sync_data().on("sync", &self.digest)?;
        let target = lease.store().blob_path(&self.digest);
        match std::fs::hard_link(&self.path, &target) {
            Ok(()) => {}
            // Another command has the same content.
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(error) => return Ok(Err(error).on("link", target.display())?),
        }
        sync_directory(target.parent().unwrap_or(Path::new("/")))
    }
}

impl Drop for StagedBlob {
    fn drop(&mut self) {
        // Garbage at worst: it lies in a temporary directory.
        let _ = std::fs::remove_file(&self.path);
    }
}

impl Write for BlobWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.hasher.update(&bytes[..written]);
        self.size += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Drop for BlobWriter<'_> {
    fn drop(&mut self) {
        if !self.committed {
            // Garbage at worst: it lies in a temporary directory.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::tests::Scratch;

    #[test]
    fn only_content_of_the_announced_digest_and_length_gets_its_name() {
        let scratch = Scratch::new();
        let store = &scratch.store;
        let lease = store.lease().unwrap();
        let digest = digest_of(b"hello");
        let write = |bytes: &[u8]| {
            let mut writer = store.blob_writer(&lease, Algorithm::Sha256).unwrap();
            writer.write_all(bytes).unwrap();
            writer
        };
        let wrong = write(b"hellO").commit(&digest, Some(5));
        assert!(matches!(wrong, Err(StorageError::DigestMismatch { .. })));
        let short = write(b"hello").commit(&digest, Some(6));
        assert!(matches!(
            short,
            Err(StorageError::SizeMismatch { actual: 5, .. })
        ));
        assert!(!store.has_blob(&digest));
        assert_eq!(
            std::fs::read_dir(lease.temporary().path()).unwrap().count(),
            1
        );
        write(b"hello").commit(&digest, Some(5)).unwrap();
        assert_eq!(store.read_blob(&digest, 5).unwrap(), b"hello");
        assert_eq!(store.blob_size(&digest).unwrap(), 5);
        assert!(matches!(
            store.read_blob(&digest, 4),
            Err(StorageError::TooLarge { .. })
        ));
        let missing = digest_of(b"missing");
        assert!(matches!(
            store.open_blob(&missing),
            Err(StorageError::NoSuchBlob { .. })
        ));
    }

    #[test]
    fn longer_hashes_have_their_own_directory() {
        let scratch = Scratch::new();
        let lease = scratch.store.lease().unwrap();
        let mut writer = scratch
            .store
            .blob_writer(&lease, Algorithm::Sha512)
            .unwrap();
        writer.write_all(b"abc").unwrap();
        let mut hasher = Hasher::new(Algorithm::Sha512);
        hasher.update(b"abc");
        let digest = hasher.finish();
        writer.commit(&digest, Some(3)).unwrap();
        assert!(scratch.store.has_blob(&digest));
    }
}
