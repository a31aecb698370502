//! Image documents: configuration, manifest and index, of OCI and of Docker.
//!
//! Made for reading what strangers wrote: `null` is nothing, unknown members are kept, sizes are
//! bounded, and what has a digest is never written anew from these values (its bytes are kept by
//! the store). Writing serves only images that we make ourselves. Checked here and not by callers:
//! a document must not be a manifest and an index at once (CVE-2021-41190), and must be what its
//! media type says.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

use crate::digest::Digest;
use crate::platform::{Platform, null_is_default};

mod config;

pub use config::{ContainerDefaults, HistoryEntry, ImageConfig, ImageHealthcheck, RootFs};

/// The largest manifest or index that is read.
pub const MANIFEST_BYTES_MAX: usize = 4 * 1024 * 1024;
/// The largest image configuration that is read.
pub const CONFIG_BYTES_MAX: usize = 8 * 1024 * 1024;
/// The most layers of an image. The kernel's overlay takes about 500; the rest is history.
pub const LAYERS_MAX: usize = 1000;
/// The most entries of an index.
pub const INDEX_ENTRIES_MAX: usize = 10_000;

/// OCI image index.
pub const MEDIA_OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// OCI image manifest.
pub const MEDIA_OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// OCI image configuration.
pub const MEDIA_OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
/// OCI layer, not compressed.
pub const MEDIA_OCI_LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
/// OCI layer in gzip.
pub const MEDIA_OCI_LAYER_GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
/// OCI layer in zstd.
pub const MEDIA_OCI_LAYER_ZSTD: &str = "application/vnd.oci.image.layer.v1.tar+zstd";
/// OCI empty object, the configuration of artifacts.
pub const MEDIA_OCI_EMPTY: &str = "application/vnd.oci.empty.v1+json";
/// Docker manifest list.
pub const MEDIA_DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
/// Docker manifest, schema 2.
pub const MEDIA_DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
/// Docker image configuration.
pub const MEDIA_DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";
/// Docker layer in gzip.
pub const MEDIA_DOCKER_LAYER_GZIP: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";
/// Docker layer, not compressed.
pub const MEDIA_DOCKER_LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar";
/// Docker layer in zstd, which some tools write.
pub const MEDIA_DOCKER_LAYER_ZSTD: &str = "application/vnd.docker.image.rootfs.diff.tar.zstd";
/// Docker manifest, schema 1: given up by everybody.
pub const MEDIA_DOCKER_SCHEMA1: &str = "application/vnd.docker.distribution.manifest.v1+json";
/// Docker manifest, schema 1, signed.
pub const MEDIA_DOCKER_SCHEMA1_SIGNED: &str =
    "application/vnd.docker.distribution.manifest.v1+prettyjws";

/// Why a document is refused.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// More bytes than the limit.
    #[error("cannot read {document}: {size} bytes are more than the limit of {limit}")]
    TooLarge {
        /// What was read.
        document: &'static str,
        /// Its size.
        size: usize,
        /// The limit.
        limit: usize,
    },
    /// Not the JSON it should be.
    #[error("cannot read {document}")]
    Json {
        /// What was read.
        document: &'static str,
        /// What is wrong with it.
        source: crate::json::Fault,
    },
    /// Members of a manifest and of an index in one document.
    #[error("cannot read manifest: it is both an index and an image manifest")]
    Ambiguous,
    /// Members of neither.
    #[error("cannot read manifest: it is neither an index nor an image manifest")]
    Neither,
    /// A document that is not what its media type says.
    #[error("cannot read manifest: media type {0} does not fit its content")]
    MediaType(String),
    /// The media type of the document and that of the reply differ.
    #[error("cannot read manifest: it says media type {inside}, the server said {outside}")]
    MediaTypesDiffer {
        /// In the document.
        inside: String,
        /// Of the server.
        outside: String,
    },
    /// Another version of the format.
    #[error("cannot read manifest: schema version {0} is not supported")]
    SchemaVersion(u64),
    /// More entries than anybody needs.
    #[error("cannot read {document}: {count} entries are more than the limit of {limit}")]
    TooMany {
        /// What was read.
        document: &'static str,
        /// How many there are.
        count: usize,
        /// The limit.
        limit: usize,
    },
    /// The configuration names other layers than the manifest.
    #[error("image configuration names {diff_ids} layers, the manifest {layers}")]
    LayerCount {
        /// In the configuration.
        diff_ids: usize,
        /// In the manifest.
        layers: usize,
    },
}

/// A reference to content by digest.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// What the content is.
    #[serde(default, deserialize_with = "null_is_default")]
    pub media_type: String,
    /// The content's digest.
    pub digest: Digest,
    /// The content's size in bytes.
    pub size: u64,
    /// In an index: where the image runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
    /// Free words.
    #[serde(
        default,
        deserialize_with = "string_map",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub annotations: BTreeMap<String, String>,
    /// Other places to fetch the content from (foreign layers).
    #[serde(
        default,
        deserialize_with = "null_is_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub urls: Vec<String>,
    /// The kind of an artifact.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// The content itself in base64, where it is small.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<String>,
    /// Members we do not know.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

impl Descriptor {
    /// A descriptor with the three members that every one has.
    pub fn new(media_type: &str, digest: Digest, size: u64) -> Self {
        Self {
            media_type: media_type.to_owned(),
            digest,
            size,
            platform: None,
            annotations: BTreeMap::new(),
            urls: Vec::new(),
            artifact_type: None,
            data: None,
            extra: Map::new(),
        }
    }

    /// Whether this entry of an index is BuildKit's attestation and no image.
    pub fn is_attestation(&self) -> bool {
        self.annotations
            .get("vnd.docker.reference.type")
            .is_some_and(|kind| kind == "attestation-manifest")
    }
}

/// An image manifest, of OCI or of Docker.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// Always 2.
    pub schema_version: u64,
    /// The document's own media type; OCI allows to leave it out.
    #[serde(
        default,
        deserialize_with = "null_is_default",
        skip_serializing_if = "String::is_empty"
    )]
    pub media_type: String,
    /// The kind of an artifact.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// The configuration.
    pub config: Descriptor,
    /// The layers, the lowest first.
    #[serde(default, deserialize_with = "null_is_default")]
    pub layers: Vec<Descriptor>,
    /// What this is about, such as the image of a signature.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Descriptor>,
    /// Free words.
    #[serde(
        default,
        deserialize_with = "string_map",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub annotations: BTreeMap<String, String>,
    /// Members we do not know.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

impl Manifest {
    /// What an image consists of besides this document: its layers, the lowest first, and its configuration.
    pub fn parts(&self) -> impl Iterator<Item = &Descriptor> {
        self.layers.iter().chain([&self.config])
    }
}

/// An image index, or a Docker manifest list.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Index {
    /// Always 2.
    pub schema_version: u64,
    /// The document's own media type; OCI allows to leave it out.
    #[serde(
        default,
        deserialize_with = "null_is_default",
        skip_serializing_if = "String::is_empty"
    )]
    pub media_type: String,
    /// The kind of an artifact.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// The entries.
    #[serde(default, deserialize_with = "null_is_default")]
    pub manifests: Vec<Descriptor>,
    /// What this is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Descriptor>,
    /// Free words.
    #[serde(
        default,
        deserialize_with = "string_map",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub annotations: BTreeMap<String, String>,
    /// Members we do not know.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

impl Index {
    /// The entry that serves the platform best. An entry that names no platform is taken last.
    pub fn select(&self, platform: &Platform) -> Option<&Descriptor> {
        let candidates = || {
            self.manifests
                .iter()
                .filter(|entry| !entry.is_attestation())
        };
        let with_platform: Vec<_> = candidates()
            .filter_map(|entry| Some((entry.platform.as_ref()?, entry)))
            .collect();
        match platform.best_match(with_platform.iter().map(|(platform, _)| *platform)) {
            Some(best) => Some(with_platform[best].1),
            None => candidates().find(|entry| entry.platform.is_none()),
        }
    }

    /// The platforms on offer, for an error that says what there is.
    pub fn platforms(&self) -> Vec<String> {
        let images = self
            .manifests
            .iter()
            .filter(|entry| !entry.is_attestation());
        images
            .filter_map(|entry| entry.platform.as_ref())
            .map(ToString::to_string)
            .collect()
    }
}

/// What a registry or an archive may give for a reference.
#[derive(Clone, Debug, PartialEq)]
#[expect(
    clippy::large_enum_variant,
    reason = "one value per image; a box only hinders matching"
)]
pub enum Document {
    /// One image.
    Manifest(Manifest),
    /// Several, by platform.
    Index(Index),
}

impl Document {
    /// Reads a manifest or an index. `media_type` is what the server said or the descriptor that
    /// led here, if there is one.
    pub fn parse(bytes: &[u8], media_type: Option<&str>) -> Result<Self, ImageError> {
        check_size("manifest", bytes, MANIFEST_BYTES_MAX)?;
        let probe: Probe = read_json("manifest", bytes)?;
        if probe.schema_version == 1 {
            return Err(ImageError::SchemaVersion(1));
        }
        let is_index = !probe.manifests.is_null();
        let is_manifest = !probe.layers.is_null() || !probe.config.is_null();
        if is_index && is_manifest {
            return Err(ImageError::Ambiguous);
        }
        let outside = media_type
            .map(bare_media_type)
            .filter(|known| is_index_type(known) || is_manifest_type(known));
        let inside = Some(probe.media_type.as_str()).filter(|inside| !inside.is_empty());
        if let (Some(inside), Some(outside)) = (inside, outside)
            && inside != outside
        {
            let (inside, outside) = (inside.to_owned(), outside.to_owned());
            return Err(ImageError::MediaTypesDiffer { inside, outside });
        }
        // Both may be left out where the list is empty; then the media type decides.
        let said = inside.or(outside);
        let is_index = is_index || (!is_manifest && said.is_some_and(is_index_type));
        if let Some(said) = said {
            let fits = if is_index {
                is_index_type(said)
            } else {
                is_manifest_type(said)
            };
            if !fits {
                return Err(ImageError::MediaType(said.to_owned()));
            }
        }
        if probe.schema_version != 2 {
            return Err(ImageError::SchemaVersion(probe.schema_version));
        }
        if is_index {
            let index: Index = read_json("index", bytes)?;
            check_count("index", index.manifests.len(), INDEX_ENTRIES_MAX)?;
            return Ok(Self::Index(index));
        }
        if !is_manifest {
            return Err(ImageError::Neither);
        }
        let manifest: Manifest = read_json("manifest", bytes)?;
        check_count("manifest", manifest.layers.len(), LAYERS_MAX)?;
        Ok(Self::Manifest(manifest))
    }

    /// The media type: its own, or OCI's where it has none.
    pub fn media_type(&self) -> &str {
        let (own, default) = match self {
            Self::Manifest(manifest) => (&manifest.media_type, MEDIA_OCI_MANIFEST),
            Self::Index(index) => (&index.media_type, MEDIA_OCI_INDEX),
        };
        if own.is_empty() { default } else { own }
    }
}

/// The members that tell a manifest from an index, whatever they hold.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Probe {
    #[serde(default, deserialize_with = "null_is_default")]
    schema_version: u64,
    #[serde(default, deserialize_with = "null_is_default")]
    media_type: String,
    #[serde(default)]
    manifests: Value,
    #[serde(default)]
    layers: Value,
    #[serde(default)]
    config: Value,
}

/// Whether the media type is that of an index.
pub fn is_index_type(media_type: &str) -> bool {
    matches!(media_type, MEDIA_OCI_INDEX | MEDIA_DOCKER_LIST)
}

/// Whether the media type is that of a manifest.
pub fn is_manifest_type(media_type: &str) -> bool {
    matches!(media_type, MEDIA_OCI_MANIFEST | MEDIA_DOCKER_MANIFEST)
}

/// Without `; charset=utf-8`.
fn bare_media_type(media_type: &str) -> &str {
    media_type.split(';').next().unwrap_or_default().trim()
}

fn check_size(document: &'static str, bytes: &[u8], limit: usize) -> Result<(), ImageError> {
    let size = bytes.len();
    if size > limit {
        Err(ImageError::TooLarge {
            document,
            size,
            limit,
        })
    } else {
        Ok(())
    }
}

fn check_count(document: &'static str, count: usize, limit: usize) -> Result<(), ImageError> {
    if count > limit {
        Err(ImageError::TooMany {
            document,
            count,
            limit,
        })
    } else {
        Ok(())
    }
}

/// serde_json refuses documents nested deeper than 128.
fn read_json<'a, T: Deserialize<'a>>(
    document: &'static str,
    bytes: &'a [u8],
) -> Result<T, ImageError> {
    crate::json::read(bytes).map_err(|source| ImageError::Json { document, source })
}

/// Go reads `null` as the empty string within a map, too.
fn string_map<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<BTreeMap<String, String>, D::Error> {
    let map = Option::<BTreeMap<String, Option<String>>>::deserialize(deserializer)?;
    let pairs = map.unwrap_or_default().into_iter();
    Ok(pairs
        .map(|(key, value)| (key, value.unwrap_or_default()))
        .collect())
}
