//! Images of several platforms as one: an index, and what it names.

use std::collections::BTreeSet;

use storage::refs::Target;
use types::digest::Digest;
use types::image::{Descriptor, MEDIA_OCI_INDEX, MEDIA_OCI_MANIFEST};
use types::platform::Platform;

use super::attest::said_about;
use super::worker::BuildWorker;
use crate::Engine;
use crate::error::{EngineError, text};
use crate::image::push;

impl Engine {
    /// Images of several platforms become one, with an index; the image by which people know it is
    /// that of this machine's platform, else the first. The others belong to it.
    pub(super) fn together(
        &self,
        images: &[(Digest, Platform)],
        worker: &BuildWorker<'_>,
    ) -> Result<(Digest, Option<Target>), EngineError> {
        let first = images
            .first()
            .ok_or_else(|| EngineError::conflict("nothing was built"))?;
        if images.len() == 1 {
            return Ok((first.0.clone(), None));
        }
        let (lease, store) = (&worker.lease, self.store());
        let host = Platform::host();
        let own = images
            .iter()
            .find(|(_, one)| host.match_rank(one).is_some());
        let (own, _) = own.unwrap_or(first);
        let mut manifests = Vec::new();
        for (id, platform) in images {
            let (digest, size, _) = push::manifest_of(lease, id, worker.observer.images())?;
            let mut descriptor = Descriptor::new(MEDIA_OCI_MANIFEST, digest, size);
            descriptor.platform = Some(platform.clone());
            manifests.push(descriptor);
        }
        let document = serde_json::json!({
            "schemaVersion": 2,
            "mediaType": MEDIA_OCI_INDEX,
            "manifests": manifests,
        });
        let bytes =
            serde_json::to_vec(&document).map_err(|error| text("write an index", &error))?;
        let digest = store.put_blob(lease, &bytes)?;
        self.keep_with(own, &digest, worker)?;
        let target = Target {
            digest,
            media_type: MEDIA_OCI_INDEX.to_owned(),
            size: bytes.len() as u64,
        };
        Ok((own.clone(), Some(target)))
    }

    /// An image keeps what indexes around it name: this one, and those by which it has names, for
    /// several builds may share the image of this machine. What is said about any of it stays.
    fn keep_with(
        &self,
        own: &Digest,
        index: &Digest,
        worker: &BuildWorker<'_>,
    ) -> Result<(), EngineError> {
        let store = self.store();
        let mut kept = vec![index.clone()];
        for reference in store.references()? {
            if reference.image == *own
                && let Some(target) = reference.target
                && target.media_type == MEDIA_OCI_INDEX
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
        let mut image = store.image(own)?;
        let said = said_about(store, &image.other_blobs, |subject| seen.contains(subject));
        blobs.extend(said);
        image.other_blobs = blobs;
        Ok(store.update_image(&worker.lease, &image)?)
    }
}
