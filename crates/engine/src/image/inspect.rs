//! `image inspect`: everything that is known of an image.

use std::path::PathBuf;

use storage::images::{BlobRecord, ImageRecord};
use types::digest::Digest;
use types::image::ImageConfig;
use types::reference::Reference;
use types::timestamp::Timestamp;

use super::ImageContext;
use super::error::{ImageError, Result};

/// Everything that is known of an image.
#[derive(Clone, Debug)]
pub struct ImageDetails {
    /// Its record: id, sizes, layers, platform, and the member `config` as given.
    pub record: ImageRecord,
    /// Its configuration document.
    pub config: ImageConfig,
    /// Familiar names with tags.
    pub repo_tags: Vec<String>,
    /// Familiar names with digests.
    pub repo_digests: Vec<String>,
    /// The comment of the last step of its history, or empty.
    pub comment: String,
    /// The directories to mount, topmost first.
    pub lowers: Vec<PathBuf>,
    /// When it was last given a name.
    pub last_tagged: Option<Timestamp>,
    /// Its manifest, or what its newest name was fetched as.
    pub descriptor: Option<BlobRecord>,
}

/// Gathers what is known of the image that a name or id means.
///
/// # Errors
/// `No such image`, or where its documents cannot be read.
pub fn inspect(context: &ImageContext<'_>, name: &str) -> Result<ImageDetails> {
    let id = context.find(name)?.id;
    let store = context.store();
    let record = store.image(&id)?;
    let config = read_config(context, &id)?;
    let mut details = ImageDetails {
        lowers: store.lower_paths(&record),
        comment: config
            .history
            .last()
            .map(|entry| entry.comment.clone())
            .unwrap_or_default(),
        descriptor: record.manifest.clone(),
        record,
        config,
        repo_tags: Vec::new(),
        repo_digests: Vec::new(),
        last_tagged: None,
    };
    for reference in store
        .references()?
        .into_iter()
        .filter(|reference| reference.image == id)
    {
        let Some(name) = reference.reference else {
            continue;
        };
        let tagged = Timestamp::from_unix_ns(i128::from(reference.tagged_ns));
        details.last_tagged = details.last_tagged.max(Some(tagged));
        if name.tag().is_some() {
            let tag_only = strip_digest(&name);
            details.repo_tags.push(tag_only.familiar());
        }
        if let Some(target) = reference.target {
            let by_digest = name.without_tag_and_digest().with_digest(target.digest);
            let text = by_digest.familiar();
            if !details.repo_digests.contains(&text) {
                details.repo_digests.push(text);
            }
        }
    }
    Ok(details)
}

/// Reads the configuration document of an image.
///
/// # Errors
/// Where it is missing or damaged.
pub fn read_config(context: &ImageContext<'_>, id: &Digest) -> Result<ImageConfig> {
    let bytes = context.store().image_config(id)?;
    let what = format!("image configuration {id}");
    ImageConfig::parse(&bytes).map_err(|source| ImageError::Document { what, source })
}

fn strip_digest(name: &Reference) -> Reference {
    let bare = name.clone().without_tag_and_digest();
    match name.tag().and_then(|tag| bare.clone().with_tag(tag).ok()) {
        Some(tagged) => tagged,
        None => bare,
    }
}
