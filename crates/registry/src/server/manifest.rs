//! What the registry reads out of a manifest before it believes it.
//!
//! The bytes are kept as they came (specification, "Pushing Manifests"); this is only the question
//! what they refer to. Both OCI types and both types of Docker's schema 2 are known; schema 1 is not.

use serde::Deserialize;
use types::digest::Digest;

/// An OCI image or artifact.
pub(crate) const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// An OCI index.
pub(crate) const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// An image in Docker's schema 2.
pub(crate) const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
/// A list of them.
pub(crate) const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";

/// The largest manifest; the specification asks for at least so much.
pub(crate) const MANIFEST_BYTES_MAX: usize = 4 * 1024 * 1024;
/// The most descriptors in one manifest.
const DESCRIPTORS_MAX: usize = 8192;
/// The longest media type, as in RFC 6838: 127 characters on each side.
const MEDIA_TYPE_BYTES_MAX: usize = 255;

/// Content that a manifest refers to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Content {
    pub(crate) digest: Digest,
    pub(crate) size: u64,
}

/// What was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Parsed {
    pub(crate) media_type: String,
    /// What kind of artifact it is, also where only its configuration says so; or empty.
    pub(crate) artifact_type: String,
    pub(crate) subject: Option<Digest>,
    /// Configuration and layers that must be there.
    pub(crate) blobs: Vec<Content>,
    /// Manifests of an index.
    pub(crate) manifests: Vec<Content>,
}

impl Parsed {
    /// The bytes of all that it refers to directly.
    pub(crate) fn content_size(&self) -> u64 {
        let all = self.blobs.iter().chain(&self.manifests);
        all.fold(0, |sum, content| sum.saturating_add(content.size))
    }
}

/// Why the bytes are no manifest of the kind they claim to be.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ManifestError {
    #[error("it is not JSON of a manifest's shape: {0}")]
    Shape(String),
    #[error("its mediaType {document:?} is not the Content-Type {header:?}")]
    TypesDiffer { document: String, header: String },
    #[error(
        "its type {0:?} is not one of OCI's or Docker's (schema 1 is not accepted: push with a newer client)"
    )]
    UnknownType(String),
    #[error("its schemaVersion is not 2")]
    Version,
    #[error("it is an image and an index at once")]
    Both,
    #[error("it has no config")]
    NoConfig,
    #[error("it refers to more than {DESCRIPTORS_MAX} things")]
    TooMany,
    #[error("the size of {0} is negative")]
    NegativeSize(Digest),
}

/// Fields of all kinds; those that we do not know are nobody's business here.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    schema_version: Option<i64>,
    media_type: Option<String>,
    artifact_type: Option<String>,
    config: Option<Descriptor>,
    layers: Option<Vec<Descriptor>>,
    manifests: Option<Vec<Descriptor>>,
    subject: Option<Descriptor>,
    #[serde(rename = "fsLayers")]
    schema_1: Option<serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Descriptor {
    media_type: Option<String>,
    digest: Digest,
    size: i64,
}

impl Descriptor {
    fn content(&self) -> Result<Content, ManifestError> {
        Ok(Content {
            digest: self.digest.clone(),
            size: u64::try_from(self.size)
                .map_err(|_| ManifestError::NegativeSize(self.digest.clone()))?,
        })
    }

    /// Layers that nobody need push: they are fetched from elsewhere.
    fn is_foreign(&self) -> bool {
        self.media_type.as_deref().is_some_and(|kind| {
            kind.contains(".nondistributable.") || kind.contains(".rootfs.foreign.")
        })
    }
}

/// Reads a manifest that was pushed with this `Content-Type` (empty if there was none).
pub(crate) fn parse(bytes: &[u8], content_type: &str) -> Result<Parsed, ManifestError> {
    let document: Document =
        types::json::read(bytes).map_err(|fault| ManifestError::Shape(fault.to_string()))?;
    // Parameters are ignored, as the specification wishes.
    let header = content_type.split(';').next().unwrap_or_default().trim();
    let media_type = media_type(&document, header)?;
    if document.schema_1.is_some() || document.schema_version == Some(1) {
        return Err(ManifestError::UnknownType("schema 1".to_owned()));
    }
    if document.schema_version != Some(2) {
        return Err(ManifestError::Version);
    }
    let is_image = document.config.is_some() || document.layers.is_some();
    if is_image && document.manifests.is_some() {
        return Err(ManifestError::Both);
    }
    let listed = document
        .layers
        .iter()
        .chain(&document.manifests)
        .map(Vec::len);
    if listed.sum::<usize>() > DESCRIPTORS_MAX {
        return Err(ManifestError::TooMany);
    }
    let mut parsed = Parsed {
        artifact_type: artifact_type(&document),
        subject: document.subject.map(|subject| subject.digest),
        blobs: Vec::new(),
        manifests: Vec::new(),
        media_type,
    };
    if matches!(parsed.media_type.as_str(), OCI_INDEX | DOCKER_LIST) {
        if is_image || document.manifests.is_none() {
            return Err(ManifestError::Shape("an index lists manifests".to_owned()));
        }
        for descriptor in document.manifests.iter().flatten() {
            parsed.manifests.push(descriptor.content()?);
        }
        return Ok(parsed);
    }
    let config = document.config.ok_or(ManifestError::NoConfig)?;
    parsed.blobs.push(config.content()?);
    for layer in document
        .layers
        .iter()
        .flatten()
        .filter(|layer| !layer.is_foreign())
    {
        let content = layer.content()?;
        // The same layer may occur twice in a chain.
        if !parsed.blobs.contains(&content) {
            parsed.blobs.push(content);
        }
    }
    Ok(parsed)
}

fn media_type(document: &Document, header: &str) -> Result<String, ManifestError> {
    let found = match (document.media_type.as_deref(), header) {
        (Some(inside), "") => inside,
        (None, outside) => outside,
        (Some(inside), outside) if inside == outside => inside,
        (Some(inside), outside) => {
            return Err(ManifestError::TypesDiffer {
                document: inside.to_owned(),
                header: outside.to_owned(),
            });
        }
    };
    match found {
        OCI_MANIFEST | OCI_INDEX | DOCKER_MANIFEST | DOCKER_LIST => Ok(found.to_owned()),
        _ => Err(ManifestError::UnknownType(
            found.chars().take(MEDIA_TYPE_BYTES_MAX).collect(),
        )),
    }
}

/// As referrers are listed: the manifest's own, else its configuration's media type.
fn artifact_type(document: &Document) -> String {
    let own = document
        .artifact_type
        .as_deref()
        .filter(|own| !own.is_empty());
    let config = document.config.as_ref();
    own.or_else(|| config.and_then(|config| config.media_type.as_deref()))
        .unwrap_or_default()
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(digit: &str) -> String {
        format!("sha256:{}", digit.repeat(64))
    }

    #[test]
    fn what_a_manifest_refers_to_is_found() {
        let image = serde_json::json!({
            "schemaVersion": 2, "mediaType": OCI_MANIFEST,
            "config": {"mediaType": "a/b", "digest": digest("a"), "size": 3},
            "layers": [
                {"mediaType": "x/y", "digest": digest("b"), "size": 4},
                {"mediaType": "x/y", "digest": digest("b"), "size": 4},
                {"mediaType": "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
                 "digest": digest("c"), "size": 5, "urls": ["http://127.0.0.1/"]}],
            "subject": {"mediaType": OCI_MANIFEST, "digest": digest("d"), "size": 1},
        });
        let parsed = parse(image.to_string().as_bytes(), "").unwrap();
        assert_eq!((parsed.blobs.len(), parsed.content_size()), (2, 7));
        assert_eq!(parsed.artifact_type, "a/b");
        assert_eq!(parsed.subject.unwrap().as_str(), digest("d"));
        let index = serde_json::json!({"schemaVersion": 2, "artifactType": "t/u",
            "manifests": [{"digest": digest("e"), "size": 9}]});
        let parsed = parse(index.to_string().as_bytes(), &format!("{DOCKER_LIST}; x=y")).unwrap();
        assert_eq!(
            (parsed.manifests.len(), parsed.artifact_type.as_str()),
            (1, "t/u")
        );
    }

    #[test]
    fn what_is_no_manifest_is_refused() {
        let config = serde_json::json!({"digest": digest("a"), "size": 3});
        let cases = [
            ("<html>".to_owned(), OCI_MANIFEST),
            ("[".repeat(100_000), OCI_MANIFEST),
            ("{}".to_owned(), OCI_MANIFEST),
            (r#"{"schemaVersion":1,"fsLayers":[]}"#.to_owned(), ""),
            (r#"{"schemaVersion":2}"#.to_owned(), OCI_INDEX),
            (r#"{"schemaVersion":2}"#.to_owned(), OCI_MANIFEST),
            (
                serde_json::json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "config": config})
                    .to_string(),
                OCI_MANIFEST,
            ),
            (
                serde_json::json!({"schemaVersion": 2, "config": config, "manifests": []})
                    .to_string(),
                OCI_MANIFEST,
            ),
            (
                serde_json::json!({"schemaVersion": 2,
                    "config": {"digest": "sha256:../../x", "size": 1}})
                .to_string(),
                OCI_MANIFEST,
            ),
            (
                serde_json::json!({"schemaVersion": 2,
                    "config": {"digest": digest("a"), "size": -1}})
                .to_string(),
                OCI_MANIFEST,
            ),
            (
                serde_json::json!({"schemaVersion": 2, "config": config}).to_string(),
                "text/html",
            ),
        ];
        for (text, kind) in cases {
            assert!(
                parse(text.as_bytes(), kind).is_err(),
                "{kind}: {:.80}",
                text
            );
        }
    }
}
