//! Collection of what nothing needs, while pushes go on (design, section 10).
//!
//! A push uploads blobs first and the manifest that needs them last. So a blob is left alone for a
//! grace after it was last uploaded, mounted or asked for by HEAD. Then it is marked, if no manifest
//! refers to it; a marked blob is not shown any more, and a manifest that refers to it is refused. After
//! a second grace row and bytes go, with no upload between its file's name and its row meanwhile. An
//! upload of the same content takes the mark away.

use std::sync::Arc;
use std::time::Duration;

use super::database::now;
use super::storage::Stored;
use super::{Event, Registry, chain};

/// Blobs removed in one turn; uploads wait for a turn to end.
const BATCH: i64 = 100;
/// Uploads that nobody continued for so long are given up.
const UPLOAD_IDLE: Duration = Duration::from_secs(24 * 3600);

/// Manifests that were copied from another registry take at most this part of what copied blobs may take.
pub(crate) const MANIFESTS_SHARE: u64 = 100;
/// A copied manifest stays for so long after its last use: its blobs are being asked for.
const MANIFEST_IN_USE: Duration = Duration::from_secs(600);

/// Who did what is remembered for a year.
const AUDIT_SECONDS: i64 = 366 * 86_400;

/// What was removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Collected {
    pub(crate) marked: u64,
    pub(crate) blobs: u64,
    pub(crate) bytes: u64,
}

/// Collects once. The text is for the log.
pub(crate) async fn collect(registry: &Arc<Registry>) -> Result<Collected, String> {
    let grace = registry.settings.grace_seconds();
    // What was marked in an earlier round first: a mark of this one is younger than its grace.
    let mut collected = sweep(registry, grace).await?;
    let marked = registry.database.mark(now() - grace).await;
    collected.marked = marked.map_err(|error| chain(&error))?;
    let copies = make_room(registry).await?;
    collected.blobs += copies.blobs;
    collected.bytes += copies.bytes;
    make_room_for_manifests(registry).await?;
    let _change = registry.cache.change();
    let emptied = registry.database.forget_empty_copies().await;
    emptied.map_err(|error| chain(&error))?;
    sweep_strays(registry).await?;
    let swept = registry.storage.sweep_uploads(UPLOAD_IDLE).await;
    swept.map_err(|error| chain(&error))?;
    let old = now() - AUDIT_SECONDS;
    let forgotten = registry.database.forget_deeds(old).await;
    forgotten.map_err(|error| chain(&error))?;
    registry.metrics.collected_blobs.add(collected.blobs);
    registry.metrics.collected_bytes.add(collected.bytes);
    if collected.blobs > 0 {
        (registry.report)(&Event::Collected {
            blobs: collected.blobs,
            bytes: collected.bytes,
        });
    }
    Ok(collected)
}

async fn sweep(registry: &Arc<Registry>, grace: i64) -> Result<Collected, String> {
    let mut collected = Collected::default();
    loop {
        let marked = registry.database.marked(now() - grace, BATCH).await;
        let marked = marked.map_err(|error| chain(&error))?;
        let is_last = (marked.len() as i64) < BATCH;
        let _nobody_publishes = registry.publishing.write().await;
        for blob in marked {
            let forgotten = registry.database.forget_blob(&blob).await;
            if !forgotten.map_err(|error| chain(&error))? {
                continue;
            }
            sys::fail::point("registry.collect.forgotten");
            // After the row: bytes without a row are swept later, a row without bytes would lie.
            let place = registry.storage.place(&blob.digest, &blob.location);
            let removed = registry.storage.remove(place).await;
            removed.map_err(|error| chain(&error))?;
            sys::fail::point("registry.collect.removed");
            collected.blobs += 1;
            collected.bytes += blob.size;
        }
        if is_last {
            return Ok(collected);
        }
    }
}

/// Removes copies of another registry's blobs where they take more than they may, those first that nobody
/// used for longest. What was used this second stays. Called by collection, and after each copy.
pub(crate) async fn make_room(registry: &Arc<Registry>) -> Result<Collected, String> {
    let limit = registry.settings.mirror_bytes_max;
    let mut collected = Collected::default();
    loop {
        let size = registry.database.copies_size().await;
        let size = size.map_err(|error| chain(&error))?;
        if size <= limit {
            return Ok(collected);
        }
        let oldest = registry.database.oldest_copies(now(), BATCH).await;
        let oldest = oldest.map_err(|error| chain(&error))?;
        let _nobody_publishes = registry.publishing.write().await;
        let mut left = size;
        let before = collected.blobs;
        for copy in oldest {
            if left <= limit {
                break;
            }
            let forgotten = registry.database.forget_copy(&copy).await;
            if !forgotten.map_err(|error| chain(&error))? {
                continue;
            }
            let place = registry
                .storage
                .place(&copy.blob.digest, &copy.blob.location);
            let removed = registry.storage.remove(place).await;
            removed.map_err(|error| chain(&error))?;
            left = left.saturating_sub(copy.blob.size);
            collected.blobs += 1;
            collected.bytes += copy.blob.size;
        }
        // All that is left is in use.
        if collected.blobs == before {
            return Ok(collected);
        }
    }
}

/// The same for copied manifests, and the tags that lead to them. Called by collection, and when many were
/// fetched since.
pub(crate) async fn make_room_for_manifests(registry: &Arc<Registry>) -> Result<(), String> {
    let limit = registry.settings.mirror_bytes_max / MANIFESTS_SHARE;
    let in_use = MANIFEST_IN_USE.min(registry.settings.grace).as_secs() as i64;
    let size = registry.database.copied_manifests_size().await;
    let mut left = size.map_err(|error| chain(&error))?;
    while left > limit {
        let before = now() - in_use;
        let oldest = registry
            .database
            .oldest_copied_manifests(before, BATCH)
            .await;
        let mut are_all_in_use = true;
        for copy in oldest.map_err(|error| chain(&error))? {
            if left <= limit {
                break;
            }
            let _change = registry.cache.change();
            let forgotten = registry.database.forget_copied_manifest(&copy).await;
            if forgotten.map_err(|error| chain(&error))? {
                left = left.saturating_sub(copy.size);
                are_all_in_use = false;
            }
        }
        if are_all_in_use {
            break;
        }
    }
    Ok(())
}

/// Bytes that have a name and no row: whoever published them was killed in between, or we were
/// between the row's end and the bytes'.
async fn sweep_strays(registry: &Arc<Registry>) -> Result<(), String> {
    let old = registry.storage.list(registry.settings.grace).await;
    for stored in old.map_err(|error| chain(&error))? {
        if is_known(registry, &stored).await? {
            continue;
        }
        let _nobody_publishes = registry.publishing.write().await;
        // Asked again: an upload may have ended before we had the lock.
        if !is_known(registry, &stored).await? {
            let removed = registry.storage.remove(stored).await;
            removed.map_err(|error| chain(&error))?;
        }
    }
    Ok(())
}

async fn is_known(registry: &Registry, stored: &Stored) -> Result<bool, String> {
    let known = registry.database.knows_stored(stored).await;
    known.map_err(|error| chain(&error))
}
