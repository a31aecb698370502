//! What the names of a build mean: an image; its annotated manifest; or an index, which images of several
//! platforms become, and one that something is said of.

use std::collections::BTreeSet;

use storage::refs::Target;
use types::digest::Digest;
use types::image::{Descriptor, MEDIA_OCI_INDEX};
use types::platform::Platform;

use super::attest::said_about;
use super::worker::BuildWorker;
use super::{Annotation, AnnotationLevel, BuildRequest, annotate};
use crate::Engine;
use crate::error::{EngineError, text};

/// What names mean.
pub(super) struct Together {
    /// The image by which people know it.
    pub(super) id: Digest,
    /// Its annotated manifest or the index around it; none is the image as it is.
    pub(super) target: Option<Target>,
    /// The manifest of each image, where they were made.
    pub(super) manifests: Vec<Descriptor>,
}

impl Engine {
    /// Images of several platforms become one, with an index; the image by which people know it is
    /// that of this machine's platform, else the first. The others belong to it.
    pub(super) fn together(
        &self,
        images: &[(Digest, Platform)],
        request: &BuildRequest,
        worker: &BuildWorker<'_>,
    ) -> Result<Together, EngineError> {
        let said = &request.annotations;
        let first = images
            .first()
            .ok_or_else(|| EngineError::conflict("nothing was built"))?;
        if images.len() == 1 && said.is_empty() {
            return Ok(Together {
                id: first.0.clone(),
                target: None,
                manifests: Vec::new(),
            });
        }
        let (lease, store) = (&worker.lease, self.store());
        let host = Platform::host();
        let own = images
            .iter()
            .find(|(_, one)| host.match_rank(one).is_some());
        let (own, _) = own.unwrap_or(first);
        let manifests = images.iter();
        let manifests: Vec<Descriptor> = manifests
            .map(|image| annotate::manifest(worker, said, image))
            .collect::<Result<_, _>>()?;
        let target = match manifests.as_slice() {
            [only] if !said.iter().any(|one| one.level.is_of_index()) => Target {
                digest: only.digest.clone(),
                media_type: only.media_type.clone(),
                size: only.size,
            },
            _ => {
                let bytes = index(&manifests, said)?;
                Target {
                    digest: store.put_blob(lease, &bytes)?,
                    media_type: MEDIA_OCI_INDEX.to_owned(),
                    size: bytes.len() as u64,
                }
            }
        };
        self.keep_with(own, &target.digest, worker)?;
        Ok(Together {
            id: own.clone(),
            target: Some(target),
            manifests,
        })
    }

    /// An image keeps what names of it mean, this index or manifest and those of other builds that share the
    /// image of this machine, and what indexes name. What is said about any of it stays.
    fn keep_with(
        &self,
        own: &Digest,
        target: &Digest,
        worker: &BuildWorker<'_>,
    ) -> Result<(), EngineError> {
        let store = self.store();
        let mut image = store.image(own)?;
        let plain = image.manifest.as_ref();
        let plain = plain.map(|manifest| manifest.digest.clone());
        let is_plain = |digest: &Digest| Some(digest) == plain.as_ref();
        let mut kept: Vec<Digest> = Vec::new();
        kept.extend((!is_plain(target)).then(|| target.clone()));
        for reference in store.references()? {
            if reference.image == *own
                && let Some(target) = reference.target
                && !is_plain(&target.digest)
                && !kept.contains(&target.digest)
            {
                kept.push(target.digest);
            }
        }
        let mut seen = BTreeSet::new();
        let mut blobs: Vec<Digest> = Vec::new();
        for digest in kept.iter().flat_map(|index| store.named_by(index)) {
            if seen.insert(digest.clone()) {
                blobs.push(digest);
            }
        }
        let said = said_about(store, &image.other_blobs, |subject| {
            seen.contains(subject) || is_plain(subject)
        });
        blobs.extend(said);
        image.other_blobs = blobs;
        Ok(store.update_image(&worker.lease, &image)?)
    }
}

/// The index of manifests, with what is said of it.
fn index(manifests: &[Descriptor], said: &[Annotation]) -> Result<Vec<u8>, EngineError> {
    let mut document = serde_json::json!({
        "schemaVersion": 2,
        "mediaType": MEDIA_OCI_INDEX,
        "manifests": manifests,
    });
    let own = annotate::of(said, AnnotationLevel::Index, None);
    if !own.is_empty() {
        document["annotations"] = serde_json::json!(own);
    }
    serde_json::to_vec(&document).map_err(|error| text("write an index", &error))
}
