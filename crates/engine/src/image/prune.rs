//! `image prune`: images that nobody named or nobody uses.

use std::collections::BTreeSet;

use types::digest::Digest;
use types::filter::Filters;

use super::error::Result;
use super::list::{Matcher, all};
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
    users: &dyn Fn() -> Vec<ImageUser>,
) -> Result<PruneReport> {
    options.filters.check_keys(&FILTER_KEYS)?;
    let store = context.store();
    let lock = store.lock_images()?;
    let users = users();
    let used: BTreeSet<&Digest> = users.iter().map(|user| &user.image).collect();
    // The API's own word for `--all` is the filter dangling=false.
    let every = options.all || !options.filters.boolean("dangling", true)?;
    let mut filters = Filters::default();
    for (key, values) in options.filters.iter().filter(|(key, _)| *key != "dangling") {
        for value in values {
            filters.add(key, value)?;
        }
    }
    let images = all(context)?;
    let matcher = Matcher::new(context, &filters, &images)?;
    let mut report = PruneReport::default();
    for image in &images {
        let id = &image.record.id;
        let wanted = every || image.is_dangling();
        if !wanted || used.contains(id) || !matcher.accepts(image) {
            continue;
        }
        let names = image
            .names()
            .map(|(name, _)| Removed::Untagged(name.familiar()));
        report.removed.extend(names);
        let untagged = image.names().count();
        store.remove_all_references(&lock, id)?;
        let actions = std::iter::repeat_n("untag", untagged).chain(["delete"]);
        actions.for_each(|action| context.announce(action, id, &id.to_string()));
        report.removed.push(Removed::Deleted(id.clone()));
    }
    drop(lock);
    sys::fail::point("engine.prune.unreferenced");
    let collected = context.collect(&users)?;
    report.reclaimed_bytes = collected.bytes;
    context.announce_prune(collected.bytes);
    Ok(report)
}
