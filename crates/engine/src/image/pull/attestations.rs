//! What an index says about the image that was chosen from it: how it was built, and of what. BuildKit puts
//! such attestations beside the image, as manifests for no platform. They are fetched with the image
//! and kept with it, so that the index is whole here and is pushed on as it came.

use std::io::Read as _;

use registry::Selector;
use types::digest::Digest;
use types::image::{Descriptor, Document, Index};

use super::Pull;

/// The annotation that names the image that an attestation is about.
const ABOUT: &str = "vnd.docker.reference.digest";
const ATTESTATIONS_MAX: usize = 4;
/// A list of all packages of a large image has a few MiB.
const STATEMENT_BYTES_MAX: u64 = 32 << 20;

impl Pull<'_> {
    /// Fetches all that is said about an image. What cannot be had is left out: the image runs without.
    pub(super) fn fetch_attestations(&self, index: &Index, image: &Digest) -> Vec<Digest> {
        let is_about = |entry: &&Descriptor| {
            let about = entry.annotations.get(ABOUT);
            entry.is_attestation() && about.is_some_and(|about| about == image.as_str())
        };
        let entries = index.manifests.iter().filter(is_about);
        entries
            .take(ATTESTATIONS_MAX)
            .filter_map(|entry| self.fetch_attestation(entry))
            .flatten()
            .collect()
    }

    /// One of them: its manifest last, so that it is here with all that it names, or not at all.
    fn fetch_attestation(&self, entry: &Descriptor) -> Option<Vec<Digest>> {
        let selector = Selector::Digest(&entry.digest);
        let fetched = self.repository.manifest(selector).ok()?;
        let document = self.parse(&fetched.bytes, &entry.media_type, &fetched.digest);
        let Document::Manifest(manifest) = document.ok()? else {
            return None;
        };
        let mut kept = Vec::new();
        for part in std::iter::once(&manifest.config).chain(&manifest.layers) {
            if part.size > STATEMENT_BYTES_MAX {
                return None;
            }
            self.lease.need(&part.digest).ok()?;
            if !self.lease.store().has_blob(&part.digest) {
                let mut bytes = Vec::new();
                let mut reader = self.repository.blob(&part.digest, part.size).ok()?;
                reader.read_to_end(&mut bytes).ok()?;
                self.keep(&bytes, &part.digest).ok()?;
            }
            kept.push(part.digest.clone());
        }
        self.keep(&fetched.bytes, &fetched.digest).ok()?;
        kept.push(fetched.digest);
        Some(kept)
    }
}
