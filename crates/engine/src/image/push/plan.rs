//! What is to be sent: documents and blobs. Nothing is asked of the registry here.

use storage::images::ImageRecord;
use storage::lease::Lease;
use storage::refs::Target;
use storage::store::Store;
use types::digest::Digest;
use types::image::{Document, Index, MANIFEST_BYTES_MAX, Manifest};

use super::PushOptions;
use crate::image::error::Result;

/// A manifest or index, as it is sent.
#[derive(Clone, Debug)]
pub(super) struct Paper {
    pub(super) digest: Digest,
    pub(super) media_type: String,
    pub(super) bytes: Vec<u8>,
}

/// A configuration or layer.
#[derive(Clone, Debug)]
pub(super) struct Blob {
    pub(super) digest: Digest,
    pub(super) size: u64,
    /// What it is called while it is sent; `None` for what nobody is told of.
    pub(super) shown: Option<String>,
}

/// All that a push sends, if nothing of it is there.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(super) blobs: Vec<Blob>,
    /// The manifests of an index.
    pub(super) below: Vec<Paper>,
    /// What the tag shall mean.
    pub(super) top: Paper,
    /// What is said about manifests of this: sent after them.
    pub(super) about: Vec<About>,
}

impl Plan {
    /// Nobody removes what is sent.
    pub(super) fn hold(&self, lease: &Lease) -> Result<()> {
        let about = self.about.iter().flat_map(|about| &about.blobs);
        for blob in self.blobs.iter().chain(about) {
            lease.need(&blob.digest)?;
        }
        Ok(())
    }
}

/// An artifact with a subject, and what it names.
#[derive(Clone, Debug)]
pub(super) struct About {
    pub(super) paper: Paper,
    pub(super) subject: Digest,
    pub(super) artifact_type: String,
    pub(super) blobs: Vec<Blob>,
}

/// What is here about the manifests of a plan: it belongs to the image, and is here with all that it names
/// or is not sent.
pub(super) fn about(store: &Store, image: &ImageRecord, plan: &Plan) -> Vec<About> {
    let papers = || plan.below.iter().chain([&plan.top]);
    let one = |digest: &Digest| {
        let (paper, Document::Manifest(manifest)) = read(store, digest, None)? else {
            return None;
        };
        let subject = manifest.subject.as_ref()?.digest.clone();
        papers().find(|paper| paper.digest == subject)?;
        let blobs = manifest.parts().map(|part| {
            store.has_blob(&part.digest).then(|| Blob {
                digest: part.digest.clone(),
                size: part.size,
                shown: None,
            })
        });
        let blobs = blobs.collect::<Option<Vec<Blob>>>()?;
        Some(About {
            paper,
            subject,
            artifact_type: manifest.artifact_type.unwrap_or_default(),
            blobs,
        })
    };
    image.other_blobs.iter().filter_map(one).collect()
}

/// The plan for an image whose manifest is here with everything that it names; `None` where one must
/// be made. The index that it came in is sent as well, if all of that is here.
pub(super) fn original(
    store: &Store,
    image: &ImageRecord,
    target: Option<&Target>,
    options: &PushOptions,
) -> Result<Option<Plan>> {
    let Some(manifest) = &image.manifest else {
        return Ok(None);
    };
    // What the name was pulled with comes first, then any other index that has the image.
    let indexes = target
        .map(|target| &target.digest)
        .into_iter()
        .chain(&image.other_blobs)
        .filter(|_| options.platform.is_none());
    for digest in indexes.chain([&manifest.digest]) {
        let mut plan = Plan {
            blobs: Vec::new(),
            below: Vec::new(),
            top: Paper {
                digest: digest.clone(),
                media_type: String::new(),
                bytes: Vec::new(),
            },
            about: Vec::new(),
        };
        let media_type = (*digest == manifest.digest).then_some(manifest.media_type.as_str());
        let complete = match read(store, digest, media_type) {
            Some((paper, Document::Manifest(document))) if *digest == manifest.digest => {
                plan.top = paper;
                add_manifest(store, &document, image, &mut plan)
            }
            Some((paper, Document::Index(index))) => {
                plan.top = paper;
                add_index(store, &index, image, &mut plan)
            }
            _ => false,
        };
        if complete {
            return Ok(Some(plan));
        }
    }
    Ok(None)
}

/// A document of the store; `None` where it is not here or not understood.
fn read(store: &Store, digest: &Digest, media_type: Option<&str>) -> Option<(Paper, Document)> {
    let bytes = store.read_blob(digest, MANIFEST_BYTES_MAX as u64).ok()?;
    let document = Document::parse(&bytes, media_type).ok()?;
    let media_type = document.media_type().to_owned();
    let paper = Paper {
        digest: digest.clone(),
        media_type,
        bytes,
    };
    Some((paper, document))
}

fn add_index(store: &Store, index: &Index, image: &ImageRecord, plan: &mut Plan) -> bool {
    index.manifests.iter().all(|entry| {
        let Some((paper, Document::Manifest(manifest))) =
            read(store, &entry.digest, Some(&entry.media_type))
        else {
            return false;
        };
        plan.below.push(paper);
        add_manifest(store, &manifest, image, plan)
    })
}

/// Adds what a manifest names; whether all of it is here.
fn add_manifest(store: &Store, manifest: &Manifest, image: &ImageRecord, plan: &mut Plan) -> bool {
    let config = &manifest.config;
    let is_own = config.digest == image.id;
    let layers = manifest.layers.iter().enumerate().map(|(at, layer)| {
        let diff_id = image.layers.get(at).filter(|_| is_own);
        let shown = diff_id.map_or(layer.digest.short(), |known| known.diff_id.short());
        (layer, Some(shown.to_owned()))
    });
    for (descriptor, shown) in std::iter::once((config, None)).chain(layers) {
        // Layers that may not be handed on stay where their addresses lead.
        if !descriptor.urls.is_empty() && descriptor.media_type.contains("nondistributable") {
            continue;
        }
        if !store.has_blob(&descriptor.digest) {
            return false;
        }
        add(plan, descriptor.digest.clone(), descriptor.size, shown);
    }
    true
}

/// Adds a blob, once.
pub(super) fn add(plan: &mut Plan, digest: Digest, size: u64, shown: Option<String>) {
    if plan.blobs.iter().all(|blob| blob.digest != digest) {
        plan.blobs.push(Blob {
            digest,
            size,
            shown,
        });
    }
}
