//! Caches that are shared: what steps gave, carried to other machines (`--cache-to`, `--cache-from`).
//!
//! ```text
//! steps ─ keys, diff ids ─▶ an image whose configuration has the member `caisson.cache`
//!                              │ registry, or OCI layout in a directory, or the image itself (inline)
//! find ◀─ key ─ the member ─ layer by its digests, when a step asks for it
//! ```
//! What a cache says is of two kinds. *This layer has these digests*: checked while the layer arrives,
//! twice (as it is sent, and unpacked). *This step gave this layer*: nobody can check that but by doing
//! the step, so who names a cache trusts whoever may write it. That trust ends with the build: what was
//! taken from another cache is never written into this store's own, so that a cache that lies cannot
//! change a build that does not name it.

mod export;
mod import;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use types::digest::Digest;
use types::reference::Reference;

pub(crate) use export::inline;
pub(crate) use import::OtherCache;

/// The member of a configuration that says what its layers are to steps.
const MEMBER: &str = "caisson.cache";
const VERSION: u32 = 1;

/// Where a cache is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CachePlace {
    /// In a registry, under this name.
    Registry(Reference),
    /// An OCI layout.
    Directory {
        /// Where.
        path: PathBuf,
        /// The name in it; empty is `latest`.
        tag: String,
        /// The manifest itself, whatever the names say.
        digest: Option<Digest>,
    },
    /// The image that is built.
    Inline,
}

impl std::fmt::Display for CachePlace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Registry(reference) => f.write_str(&reference.familiar()),
            Self::Directory { path, .. } => write!(f, "{}", path.display()),
            Self::Inline => f.write_str("the image"),
        }
    }
}

/// What is given to another cache.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CacheMode {
    /// The steps whose layers the image has.
    #[default]
    Min,
    /// All steps.
    Max,
}

/// A cache that this build's results are given to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheExport {
    /// Where.
    pub place: CachePlace,
    /// What.
    pub mode: CacheMode,
    /// What layers are compressed with that have no compressed form yet.
    pub compression: storage::compression::Compression,
    /// That it cannot be written is a warning.
    pub ignores_errors: bool,
}

impl CacheExport {
    /// Into the image itself.
    pub fn inline() -> Self {
        Self {
            place: CachePlace::Inline,
            mode: CacheMode::Min,
            compression: storage::compression::Compression::Gzip,
            ignores_errors: false,
        }
    }
}

/// What layers are to steps.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct CacheDocument {
    version: u32,
    steps: Vec<SharedStep>,
}

/// What a step gave.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct SharedStep {
    /// See `build::key`.
    key: Digest,
    /// One of the configuration's layers.
    diff_id: Digest,
}
