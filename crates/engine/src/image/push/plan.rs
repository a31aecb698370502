//! What is to be sent: documents and blobs. Nothing is asked of the registry here.

use storage::images::ImageRecord;
use storage::lease::Lease;
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
    /// Those of the blobs that are not here: a layer that came in another compression first is not fetched
    /// again.
    pub(super) missing: Vec<(Digest, u64)>,
}

impl Plan {
    /// With nothing in it but the document that the tag shall mean.
    pub(super) fn of(top: Paper) -> Self {
        Self {
            blobs: Vec::new(),
            below: Vec::new(),
            top,
            about: Vec::new(),
            missing: Vec::new(),
        }
    }

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

/// Plans for an image whose manifest is here, the best one first: what the name was pulled with (`came_as`), any
/// other index that has the image, the manifest that came last. Of the first alone blobs may be [`Plan::missing`].
/// Where all that an index names is here, it is sent as well.
pub(super) fn originals<'a>(
    store: &'a Store,
    image: &'a ImageRecord,
    came_as: Option<&'a Digest>,
    options: &'a PushOptions,
) -> impl Iterator<Item = Plan> + 'a {
    let manifest = image.manifest.as_ref();
    let known = manifest.map(|manifest| &manifest.digest);
    let digests = came_as.into_iter().chain(&image.other_blobs).chain(known);
    digests.filter_map(move |digest| {
        let told = manifest.filter(|manifest| manifest.digest == *digest);
        let told = told.map(|manifest| manifest.media_type.as_str());
        let plan = match read(store, digest, told) {
            // Another one with annotations is for whose name means it.
            Some((_, Document::Manifest(manifest)))
                if told.is_none()
                    && came_as != Some(digest)
                    && !manifest.annotations.is_empty() =>
            {
                None
            }
            Some((paper, Document::Manifest(manifest))) => alone(store, paper, &manifest, image),
            Some((paper, Document::Index(index))) => match options.platform {
                None => whole(store, paper, &index, image),
                Some(_) => None,
            }
            .or_else(|| within(store, &index, image)),
            None => None,
        };
        let is_usable = |plan: &Plan| plan.missing.is_empty() || came_as == Some(digest);
        plan.filter(is_usable)
    })
}

/// The image's own manifest; `None` for that of something else.
fn alone(store: &Store, paper: Paper, manifest: &Manifest, image: &ImageRecord) -> Option<Plan> {
    let mut plan = Plan::of(paper);
    (manifest.config.digest == image.id).then(|| {
        add_manifest(store, manifest, image, &mut plan);
        plan
    })
}

/// The image's manifest out of an index.
fn within(store: &Store, index: &Index, image: &ImageRecord) -> Option<Plan> {
    index.manifests.iter().find_map(|entry| {
        match read(store, &entry.digest, Some(&entry.media_type))? {
            (paper, Document::Manifest(manifest)) => alone(store, paper, &manifest, image),
            (_, Document::Index(_)) => None,
        }
    })
}

/// An index with all that it names, if that is here and the image is in it.
fn whole(store: &Store, paper: Paper, index: &Index, image: &ImageRecord) -> Option<Plan> {
    let mut plan = Plan::of(paper);
    let mut has_image = false;
    for entry in &index.manifests {
        let Some((paper, Document::Manifest(manifest))) =
            read(store, &entry.digest, Some(&entry.media_type))
        else {
            return None;
        };
        has_image |= manifest.config.digest == image.id;
        plan.below.push(paper);
        add_manifest(store, &manifest, image, &mut plan);
    }
    (has_image && plan.missing.is_empty()).then_some(plan)
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

/// Adds what a manifest names.
fn add_manifest(store: &Store, manifest: &Manifest, image: &ImageRecord, plan: &mut Plan) {
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
        let (digest, size) = (&descriptor.digest, descriptor.size);
        if !store.has_blob(digest) {
            plan.missing.push((digest.clone(), size));
        }
        add(plan, digest.clone(), size, shown);
    }
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
