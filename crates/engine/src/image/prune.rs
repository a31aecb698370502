//! `image prune`: images that nobody named or nobody uses.

use std::collections::{BTreeMap, BTreeSet};

use storage::StorageError;
use types::digest::Digest;
use types::filter::Filters;

use super::error::Result;
use super::list::{Matcher, NamedImage, all};
use super::remove::Removed;
use super::{ImageContext, ImageUser};

/// The keys that `--filter` of `image prune` knows.
pub const FILTER_KEYS: [&str; 4] = ["dangling", "label", "label!", "until"];

/// What to prune.
#[derive(Clone, Debug, Default)]
pub struct PruneOptions {
    /// `--all`: also images with a name that no container uses.
    pub all: bool,
    /// `--filter`.
    pub filters: Filters,
}

/// What went.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PruneReport {
    /// In order, as `rmi` tells it.
    pub removed: Vec<Removed>,
    /// Bytes that the disk got back.
    pub reclaimed_bytes: u64,
}

/// Removes images without a name, or all that no container uses, and whatever crashes left.
///
/// # Errors
/// A filter that is none, or the disk's answer.
pub fn prune(
    context: &ImageContext<'_>,
    options: &PruneOptions,
    users: &dyn Fn() -> Result<Vec<ImageUser>>,
) -> Result<PruneReport> {
    let store = context.store();
    let lock = store.lock_images()?;
    let users = users()?;
    let (chosen, _) = choose(context, options, &users)?;
    let mut report = PruneReport::default();
    for image in &chosen {
        let id = &image.summary.id;
        let untagged = image.names().count();
        store.remove_all_references(&lock, id)?;
        let actions = std::iter::repeat_n("untag", untagged).chain(["delete"]);
        actions.for_each(|action| context.announce(action, id, &id.to_string()));
        report.removed.extend(told(image));
    }
    drop(lock);
    sys::fail::point("engine.prune.unreferenced");
    let collected = context.collect(&users)?;
    report.reclaimed_bytes = collected.bytes;
    context.announce_prune(collected.bytes);
    Ok(report)
}

/// What [`prune`] would do. The bytes are those of layers and blobs that no other image has; what
/// crashes left is not counted.
///
/// # Errors
/// As [`prune`].
pub fn preview(
    context: &ImageContext<'_>,
    options: &PruneOptions,
    users: &dyn Fn() -> Result<Vec<ImageUser>>,
) -> Result<PruneReport> {
    let (chosen, staying) = choose(context, options, &users()?)?;
    let parts = parts(context, &chosen)?;
    let kept = self::parts(context, &staying)?;
    let own = parts.iter().filter(|(part, _)| !kept.contains_key(part));
    Ok(PruneReport {
        reclaimed_bytes: own.map(|(_, size)| size).sum(),
        removed: chosen.iter().flat_map(told).collect(),
    })
}

/// The images that go, and those that stay.
fn choose(
    context: &ImageContext<'_>,
    options: &PruneOptions,
    users: &[ImageUser],
) -> Result<(Vec<NamedImage>, Vec<NamedImage>)> {
    options.filters.check_keys(&FILTER_KEYS)?;
    let used: BTreeSet<&Digest> = users.iter().map(|user| &user.image).collect();
    // The API's own word for `--all` is the filter dangling=false.
    let every = options.all || !options.filters.boolean("dangling", true)?;
    let mut filters = Filters::default();
    for (key, values) in options.filters.iter().filter(|(key, _)| *key != "dangling") {
        for value in values {
            filters.add(key, value)?;
        }
    }
    let (images, damaged) = all(context)?;
    // What it shares with the others is not known.
    if let Some(error) = damaged.into_iter().next() {
        return Err(error);
    }
    let matcher = Matcher::new(context, &filters, &images)?;
    let goes = |image: &NamedImage| {
        (every || image.is_dangling())
            && !used.contains(&image.summary.id)
            && matcher.accepts(image)
    };
    let chosen: Vec<bool> = images.iter().map(goes).collect();
    drop(matcher);
    let mut chosen = chosen.into_iter();
    Ok(images
        .into_iter()
        .partition(|_| chosen.next() == Some(true)))
}

fn told(image: &NamedImage) -> Vec<Removed> {
    let names = image
        .names()
        .map(|(name, _)| Removed::Untagged(name.familiar()));
    let deleted = Removed::Deleted(image.summary.id.clone());
    names.chain([deleted]).collect()
}

/// Bytes of layers and blobs, by what they are.
fn parts(
    context: &ImageContext<'_>,
    images: &[NamedImage],
) -> Result<BTreeMap<(bool, Digest), u64>> {
    let mut parts = BTreeMap::new();
    for image in images {
        let record = match context.store().image(&image.summary.id) {
            // Removed while we looked.
            Err(StorageError::NoSuchImage { .. }) => continue,
            record => record?,
        };
        for layer in &record.layers {
            parts.insert((true, layer.diff_id.clone()), layer.size_bytes);
        }
        let blobs = record.layers.iter().filter_map(|layer| layer.blob.as_ref());
        for blob in blobs.chain(&record.manifest) {
            parts.insert((false, blob.digest.clone()), blob.size);
        }
    }
    Ok(parts)
}
