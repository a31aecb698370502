//! `--annotation`: words about an image that stand in its manifest, in the index around it, or where one of
//! these is named. The image itself is the same with and without, so an annotated manifest is one of its other
//! blobs, and the name that the build gives means it.

use std::collections::BTreeMap;

use serde_json::Value;
use types::digest::Digest;
use types::image::{Descriptor, MANIFEST_BYTES_MAX, MEDIA_OCI_MANIFEST};
use types::platform::Platform;

use super::worker::BuildWorker;
use crate::error::{EngineError, text};
use crate::image::push;

/// Where an annotation stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnnotationLevel {
    /// In the image's manifest.
    Manifest,
    /// Where an index names the manifest.
    ManifestDescriptor,
    /// In the index.
    Index,
    /// Where the layout of an archive names the index.
    IndexDescriptor,
}

impl AnnotationLevel {
    /// Whether it needs an index.
    pub fn is_of_index(self) -> bool {
        self != Self::Manifest
    }
}

/// `--annotation`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Annotation {
    /// Where it stands.
    pub level: AnnotationLevel,
    /// The platform that it is for; none is every one.
    pub platform: Option<Platform>,
    /// Its name.
    pub key: String,
    /// What it says.
    pub value: String,
}

/// Those of a level that are for a platform; the last of a name counts.
pub(super) fn of(
    all: &[Annotation],
    level: AnnotationLevel,
    platform: Option<&Platform>,
) -> BTreeMap<String, String> {
    let is_for = |own: &Platform| platform.is_some_and(|platform| platform.normalised() == *own);
    let wanted = all.iter().filter(|one| one.level == level);
    wanted
        .filter(|one| one.platform.as_ref().is_none_or(is_for))
        .map(|one| (one.key.clone(), one.value.clone()))
        .collect()
}

/// The manifest of an image, with the annotations that are for it.
pub(super) fn manifest(
    worker: &BuildWorker<'_>,
    all: &[Annotation],
    (image, platform): &(Digest, Platform),
) -> Result<Descriptor, EngineError> {
    let (lease, store) = (&worker.lease, worker.engine.store());
    let (mut digest, mut size, _) = push::manifest_of(lease, image, worker.observer.images())?;
    let own = of(all, AnnotationLevel::Manifest, Some(platform));
    if !own.is_empty() {
        let unreadable = |error: serde_json::Error| text("annotate a manifest", &error);
        let bytes = store.read_blob(&digest, MANIFEST_BYTES_MAX as u64)?;
        let mut document: Value = serde_json::from_slice(&bytes).map_err(unreadable)?;
        document["annotations"] = serde_json::to_value(own).map_err(unreadable)?;
        let bytes = serde_json::to_vec(&document).map_err(unreadable)?;
        digest = store.put_blob(lease, &bytes)?;
        size = bytes.len() as u64;
    }
    let mut descriptor = Descriptor::new(MEDIA_OCI_MANIFEST, digest, size);
    descriptor.platform = Some(platform.clone());
    descriptor.annotations = of(all, AnnotationLevel::ManifestDescriptor, Some(platform));
    Ok(descriptor)
}
