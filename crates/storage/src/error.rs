//! What can go wrong in the store. One enum, because its parts share most of their failures.

use std::path::PathBuf;

use sys::SysError;
use types::digest::Digest;
use types::json::Fault;

/// A failed operation of the store.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// A system call on one of the store's files.
    #[error(transparent)]
    Sys(#[from] SysError),
    /// The root lies on a file system that cannot hold a store.
    #[error(
        "cannot keep images and containers in {root}: it is on {kind}, which lacks {lacks}; choose a local directory with --root"
    )]
    UnsupportedFilesystem {
        /// The store's root.
        root: PathBuf,
        /// The file system's name.
        kind: &'static str,
        /// What it cannot do.
        lacks: &'static str,
    },
    /// A later caisson wrote the store.
    #[error(
        "the store in {root} has format {found}, and this caisson reads formats up to {known}; use a newer caisson"
    )]
    NewerFormat {
        /// The store's root.
        root: PathBuf,
        /// Its format.
        found: u32,
        /// The newest format we know.
        known: u32,
    },
    /// The store was made in another form (with or without root).
    #[error(
        "the store in {root} was made in the form {found}, and this is {wanted}; choose another directory with --root"
    )]
    OtherForm {
        /// The store's root.
        root: PathBuf,
        /// Its form.
        found: String,
        /// Our form.
        wanted: &'static str,
    },
    /// The file that says what kind of store this is does not say it.
    #[error(
        "cannot read {path}: it is damaged; nothing else of the store depends on what it said: put it back with \
         `echo '{expected}' > {path}`", path = path.display()
    )]
    DamagedMarker {
        /// The file.
        path: PathBuf,
        /// What it says in every store that this release has made.
        expected: String,
        /// Why.
        #[source]
        source: Fault,
    },
    /// One of our own files does not say what it should.
    #[error("cannot read {path}: it is damaged")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: Fault,
    },
    /// The record of an image does not say what it should.
    #[error(
        "the record of image {id} is damaged; pull or load the image again to repair it, or remove it with rmi ({path})"
    )]
    DamagedImage {
        /// The image.
        id: Digest,
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: Fault,
    },
    /// A reference does not say what it should.
    #[error(
        "the record of the image name in {path} is damaged; pull, load or tag that name again to repair it, or remove the file"
    )]
    DamagedReference {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: Fault,
    },
    /// A document of ours cannot be written as JSON.
    #[error("cannot encode {what}")]
    Encode {
        /// The document.
        what: &'static str,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// No image has that name or id.
    #[error("No such image: {name}")]
    NoSuchImage {
        /// What the user typed, with its tag.
        name: String,
    },
    /// A short id that several images begin with.
    #[error("image id {prefix} is ambiguous: {count} images begin with it; give more digits")]
    AmbiguousId {
        /// What the user typed.
        prefix: String,
        /// How many images match.
        count: usize,
    },
    /// What the user typed is neither a reference nor an id.
    #[error("invalid reference format: {text:?}")]
    InvalidName {
        /// What the user typed.
        text: String,
        /// The grammar's answer.
        #[source]
        source: types::reference::ReferenceError,
    },
    /// A blob is not in the store.
    #[error("blob {digest} is not in the store")]
    NoSuchBlob {
        /// Its digest.
        digest: Digest,
    },
    /// Content that is not what its name promises.
    #[error("{what} has the digest {actual}, not {expected}")]
    DigestMismatch {
        /// What was hashed.
        what: String,
        /// The digest announced.
        expected: Digest,
        /// The digest found.
        actual: Digest,
    },
    /// Content of another length than announced.
    #[error("{what} has {actual} bytes, not {expected}")]
    SizeMismatch {
        /// What was measured.
        what: String,
        /// The length announced.
        expected: u64,
        /// The length found.
        actual: u64,
    },
    /// Something larger than our limit for it.
    #[error("{what} is larger than the limit of {limit} bytes")]
    TooLarge {
        /// What was measured.
        what: String,
        /// The limit.
        limit: u64,
    },
    /// An image that needs a layer which is not unpacked.
    #[error("layer {diff_id} is not in the store")]
    NoSuchLayer {
        /// Its diff id.
        diff_id: Digest,
    },
    /// An image with more layers than can be mounted.
    #[error("the image has {count} layers; at most {limit} can be stacked")]
    TooManyLayers {
        /// How many it has.
        count: usize,
        /// The limit.
        limit: usize,
    },
    /// A layer of an image refers to what its parents lack.
    #[error("layer {diff_id} has hard links to files that neither it nor a layer below it has")]
    DanglingHardLink {
        /// The layer.
        diff_id: Digest,
    },
    /// A layer that must be applied over its parents, but whose archive is gone.
    #[error("layer {diff_id} must be fitted to the layers below it, and its archive was not kept")]
    NoArchive {
        /// The layer.
        diff_id: Digest,
    },
    /// A layer that could not be applied over its parents.
    #[error("cannot apply layer {diff_id} over the layers below it")]
    Apply {
        /// The layer.
        diff_id: Digest,
        /// Why.
        #[source]
        source: crate::layer::unpack::UnpackError,
    },
}

/// Shorthand of this crate.
pub type Result<T, E = StorageError> = std::result::Result<T, E>;
