//! `push`: from an image in the store to a repository in a registry.
//!
//! What was pulled is sent as it came, byte for byte: its manifest, and the index that it was found in
//! where everything that this names is here. What was made here gets a manifest; its layers are
//! compressed once, kept, and sent the same way ever after (see `pack`).
//!
//! Costs: two requests where the registry's tag means the same already. Else one per blob that is
//! there, three per blob that is not, and one per manifest. Memory: the buffers of five streams.

mod layout;
mod pack;
mod plan;
mod send;

pub(crate) use layout::write_layout;
pub(crate) use pack::artifact;
pub(crate) use plan::Plan;
use registry::Client;
use storage::compression::Compression;
use storage::lease::Lease;
use storage::refs::Target;
use types::digest::Digest;
use types::platform::Platform;
use types::reference::Reference;

use super::ImageContext;
use super::error::{ImageError, Result};
use crate::config::LayerCompression;
use crate::observer::Observer;

/// How to push.
#[derive(Clone, Debug, Default)]
pub struct PushOptions {
    /// Push only this platform's image, not the index that it came in.
    pub platform: Option<Platform>,
    /// What layers are compressed with that have no compressed form yet; else as configured.
    pub compression: Option<LayerCompression>,
}

/// What a push left in the registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PushReport {
    /// The name with its tag.
    pub reference: Reference,
    /// The digest of the manifest or index.
    pub digest: Digest,
    /// Its size.
    pub size: u64,
}

/// Pushes one reference; without a tag it means `latest`.
///
/// # Errors
/// Where there is no such image here, or the registry does not take it.
pub fn push(
    context: &ImageContext<'_>,
    reference: &Reference,
    options: &PushOptions,
    observer: &dyn Observer,
) -> Result<PushReport> {
    push_one(context, &context.client(), reference, options, observer)
}

/// Pushes every tag of a repository that is here, and tells of each as it is done.
///
/// # Errors
/// As [`push`]; what was pushed before stays.
pub fn push_all_tags(
    context: &ImageContext<'_>,
    reference: &Reference,
    options: &PushOptions,
    observer: &dyn Observer,
    done: &mut dyn FnMut(&PushReport),
) -> Result<()> {
    let client = context.client();
    let tagged = tagged(context, reference)?;
    if tagged.is_empty() {
        return Err(ImageError::NothingToPush(reference.familiar_name()));
    }
    for reference in tagged {
        done(&push_one(context, &client, &reference, options, observer)?);
    }
    Ok(())
}

/// The tagged names of a repository.
fn tagged(context: &ImageContext<'_>, reference: &Reference) -> Result<Vec<Reference>> {
    let records = context.store().references()?.into_iter();
    let names = records.filter_map(|record| record.reference);
    Ok(names
        .filter(|name| name.tag().is_some() && name.digest().is_none())
        .filter(|name| name.name() == reference.name())
        .collect())
}

fn push_one(
    context: &ImageContext<'_>,
    client: &Client,
    reference: &Reference,
    options: &PushOptions,
    observer: &dyn Observer,
) -> Result<PushReport> {
    if reference.digest().is_some() {
        return Err(ImageError::PushByDigest);
    }
    let reference = reference.clone().with_default_tag();
    let store = context.store();
    let Some(record) = store.reference(&reference)? else {
        return Err(if tagged(context, &reference)?.is_empty() {
            ImageError::NothingToPush(reference.familiar_name())
        } else {
            ImageError::NoSuchTag(reference.familiar())
        });
    };
    let lease = store.lease()?;
    lease.need(&record.image)?;
    let image = store.image(&record.image)?;
    if let Some(wanted) = &options.platform {
        let found = Platform::new(&image.os, &image.architecture, &image.variant);
        if wanted.match_rank(&found).is_none() {
            return Err(ImageError::OtherPlatform {
                reference: reference.familiar(),
                found: found.to_string(),
                wanted: wanted.to_string(),
            });
        }
    }
    let compression = compression(context, &reference, options);
    let mut plan = match plan::original(store, &image, record.target.as_ref(), options)? {
        Some(plan) => plan,
        None => pack::make(&lease, image, compression, observer)?,
    };
    plan.about = plan::about(store, &store.image(&record.image)?, &plan);
    plan.hold(&lease)?;
    let repository = client.push_repository(&reference)?;
    send::send(context, &repository, &reference, &plan, observer)?;
    sys::fail::point("engine.push.sent");
    let (digest, size) = (plan.top.digest.clone(), plan.top.bytes.len() as u64);
    let target = Target {
        digest: digest.clone(),
        media_type: plan.top.media_type.clone(),
        size,
    };
    if record.target.as_ref() != Some(&target) {
        let lock = store.lock_images()?;
        // Somebody may have given the name to another image meanwhile.
        let now = store.reference(&reference)?;
        if now.is_some_and(|now| now.image == record.image) {
            store.set_reference(&lock, &reference, &record.image, Some(target))?;
        }
    }
    let name = reference.familiar();
    context.announce_as(
        "push",
        &name,
        Some(&record.image),
        &reference.familiar_name(),
    );
    Ok(PushReport {
        reference,
        digest,
        size,
    })
}

/// Sends what was made by [`artifact`], or by [`manifest_of`].
pub(crate) fn push_plan(
    context: &ImageContext<'_>,
    reference: &Reference,
    plan: &Plan,
    observer: &dyn Observer,
) -> Result<()> {
    let client = context.client();
    let repository = client.push_repository(reference)?;
    send::send(context, &repository, reference, plan, observer)
}

/// Makes the manifest of an image that was made here, which is noted with it; returns its digest, its
/// size, and all that it names.
pub(crate) fn manifest_of(
    lease: &Lease,
    image: &Digest,
    observer: &dyn Observer,
) -> Result<(Digest, u64, Vec<Digest>)> {
    let record = lease.store().image(image)?;
    let plan = pack::make(lease, record, Compression::Gzip, observer)?;
    let blobs = plan.blobs.iter().map(|blob| blob.digest.clone()).collect();
    Ok((plan.top.digest, plan.top.bytes.len() as u64, blobs))
}

fn compression(
    context: &ImageContext<'_>,
    reference: &Reference,
    options: &PushOptions,
) -> Compression {
    let configured = context.config.registries.get(reference.domain());
    let configured = configured.and_then(|settings| settings.compression);
    match options.compression.or(configured).unwrap_or_default() {
        LayerCompression::Gzip => Compression::Gzip,
        LayerCompression::Zstd => Compression::Zstd,
    }
}
