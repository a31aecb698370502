//! What a verb on images can fail with.

use registry::RegistryError;
use storage::error::StorageError;
use storage::layer::pack::PackError;
use storage::layer::unpack::UnpackError;
use storage::tar::TarError;
use sys::SysError;
use types::digest::Digest;
use types::reference::ReferenceError;

/// A failed verb on images.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// The store; `No such image` among others.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The registry.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// The kernel.
    #[error(transparent)]
    Sys(#[from] SysError),
    /// A manifest or configuration.
    #[error("{what} cannot be used")]
    Document {
        /// Which one.
        what: String,
        /// Why.
        #[source]
        source: types::image::ImageError,
    },
    /// A document that contradicts what led to it.
    #[error("{what} has the digest {actual}, not {expected}")]
    DigestMismatch {
        /// Which one.
        what: String,
        /// What was announced.
        expected: Digest,
        /// What came.
        actual: Digest,
    },
    /// What came before digests.
    #[error(
        "{reference} is a schema 1 manifest, which is no longer supported; push the image again with a current tool"
    )]
    Schema1 {
        /// What was pulled.
        reference: String,
    },
    /// Something in a registry that is no image.
    #[error("{reference} is no image but an artifact of type {media_type}")]
    Artifact {
        /// What was pulled.
        reference: String,
        /// What its configuration is.
        media_type: String,
    },
    /// An index has nothing for the platform.
    #[error(
        "no matching manifest for {platform} in the manifest list entries: there is {available}"
    )]
    NoPlatform {
        /// What was wanted.
        platform: String,
        /// What there is.
        available: String,
    },
    /// The only image there is is for another platform.
    #[error(
        "image with reference {reference} was found but its platform ({found}) does not match the specified platform ({wanted})"
    )]
    OtherPlatform {
        /// What was pulled.
        reference: String,
        /// What it is for.
        found: String,
        /// What was wanted.
        wanted: String,
    },
    /// An image of another operating system.
    #[error("image operating system {os:?} cannot be used on this platform")]
    OtherSystem {
        /// Its operating system.
        os: String,
    },
    /// A layer that does not arrive whole.
    #[error("cannot fetch layer {id}")]
    Fetch {
        /// The first digits of its digest.
        id: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A layer that cannot be unpacked.
    #[error("cannot unpack layer {id}")]
    Unpack {
        /// The first digits of its digest.
        id: String,
        /// Why.
        #[source]
        source: UnpackError,
    },
    /// A layer that is not what the configuration says.
    #[error("layer {id} has the diff id {actual}, not {expected}")]
    DiffIdMismatch {
        /// The first digits of its digest.
        id: String,
        /// What the configuration says.
        expected: Digest,
        /// What was unpacked.
        actual: Digest,
    },
    /// A list of manifests, in Docker's words.
    #[error("{0}")]
    List(String),
    /// Nothing here has the name that is to be pushed. Docker's words.
    #[error("An image does not exist locally with the tag: {0}")]
    NothingToPush(String),
    /// The repository is here, and the tag is not. Docker's words.
    #[error("tag does not exist: {0}")]
    NoSuchTag(String),
    /// A name with a digest cannot be given a meaning.
    #[error("cannot push a digest reference")]
    PushByDigest,
    /// Another layer failed, and this one was given up.
    #[error("the pull was given up")]
    GivenUp,
    /// An archive that cannot be read.
    #[error("cannot read the archive")]
    Tar {
        /// Why.
        #[source]
        source: TarError,
    },
    /// An archive that cannot be read, for its source.
    #[error("cannot read the archive")]
    Source {
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// An archive that is no image archive, or contradicts itself.
    #[error("the archive is no image archive: {what}")]
    Archive {
        /// What is wrong.
        what: String,
    },
    /// What is wrong with an archive that has a name.
    #[error("{name}")]
    Named {
        /// Its path, as the user gave it.
        name: String,
        /// What is wrong with it.
        #[source]
        source: Box<ImageError>,
    },
    /// A member of an archive that cannot be read as JSON.
    #[error("{member} of the archive cannot be read")]
    ArchiveJson {
        /// The member.
        member: String,
        /// Why.
        #[source]
        source: types::json::Fault,
    },
    /// A name in an archive, or one that a user gave, that is none.
    #[error("invalid reference {text:?}")]
    Reference {
        /// The text.
        text: String,
        /// Why.
        #[source]
        source: ReferenceError,
    },
    /// A tag was wanted and a digest given.
    #[error("refusing to create a tag with a digest reference")]
    TagWithDigest,
    /// An archive that calls an image by the digest of another.
    #[error(
        "invalid tag {text:?} in the archive: it names a digest, which only the image itself can have"
    )]
    NameWithDigest {
        /// The name.
        text: String,
    },
    /// A layer that cannot be written as an archive.
    #[error("cannot pack layer {id}")]
    Pack {
        /// The first digits of its diff id.
        id: String,
        /// Why.
        #[source]
        source: PackError,
    },
    /// A layer whose archive cannot be made again as it was.
    #[error("the archive of layer {diff_id} was not kept, and packing the layer gives {actual}")]
    NotReproducible {
        /// What it should be.
        diff_id: Digest,
        /// What it is.
        actual: Digest,
    },
    /// The archive cannot be written.
    #[error("cannot write the archive")]
    Sink {
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Removing it would take something away from somebody. Docker's words.
    #[error("conflict: {0}")]
    Conflict(String),
    /// An instruction of `--change` that is none.
    #[error(transparent)]
    Change(#[from] super::changes::ChangeError),
    /// A filter.
    #[error(transparent)]
    Filter(#[from] types::filter::FilterError),
    /// A document of ours that cannot be written.
    #[error("cannot encode {what}")]
    Encode {
        /// Which one.
        what: &'static str,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
}

impl ImageError {
    /// Says which archive is meant, where that is what is wrong.
    #[must_use]
    pub fn of_archive(self, name: &str) -> Self {
        match self {
            Self::Document { .. }
            | Self::DigestMismatch { .. }
            | Self::DiffIdMismatch { .. }
            | Self::Unpack { .. }
            | Self::Tar { .. }
            | Self::Source { .. }
            | Self::Archive { .. }
            | Self::ArchiveJson { .. }
            | Self::NameWithDigest { .. }
            | Self::Reference { .. } => Self::Named {
                name: name.to_owned(),
                source: Box::new(self),
            },
            other => other,
        }
    }

    /// Whether no registry was there to answer.
    pub fn is_unreachable(&self) -> bool {
        matches!(self, Self::Registry(error) if error.is_unreachable())
    }

    /// Whether a registry wants an account, or another one.
    pub fn is_denied(&self) -> bool {
        matches!(self, Self::Registry(error) if error.is_denied())
    }

    /// Whether there is no such image in the store.
    pub fn is_missing(&self) -> bool {
        matches!(self, Self::Storage(StorageError::NoSuchImage { .. }))
    }
}

/// Shorthand of these modules.
pub(crate) type Result<T, E = ImageError> = std::result::Result<T, E>;
