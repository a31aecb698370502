//! `push`: from an image in the store to a repository in a registry.
//!
//! What was pulled is sent as it came, byte for byte: its manifest, and the index that it was found in
//! where everything that this names is here. One image may have come in several forms; the one goes that came under
//! the name that is pushed. What was made here gets a manifest; its layers are
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
use registry::{Client, Repository};
use storage::compression::Compression;
use storage::images::ImageRecord;
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
    /// It is not what was pulled: layers were here in another compression already, and those that it names are
    /// not to be had.
    pub is_remade: bool,
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
    check_platform(&image, &reference, options)?;
    let compression = compression(context, &reference, options);
    let repository = client.push_repository(&reference)?;
    let came_as = record.came_as();
    let digest = came_as.as_ref().and_then(Reference::digest);
    let (mut found, mut is_remade) = (None, false);
    for plan in plan::originals(store, &image, digest, options) {
        if supply(context, &lease, &repository, (&plan, came_as.as_ref()))? {
            found = Some(plan);
            break;
        }
        is_remade = true;
    }
    let mut plan = match found {
        Some(plan) => plan,
        None => pack::make(&lease, image, compression, observer)?,
    };
    plan.about = plan::about(store, &store.image(&record.image)?, &plan);
    plan.hold(&lease)?;
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
        is_remade,
    })
}

fn check_platform(image: &ImageRecord, reference: &Reference, options: &PushOptions) -> Result<()> {
    let found = Platform::new(&image.os, &image.architecture, &image.variant);
    match &options.platform {
        Some(wanted) if wanted.match_rank(&found).is_none() => Err(ImageError::OtherPlatform {
            reference: reference.familiar(),
            found: found.to_string(),
            wanted: wanted.to_string(),
        }),
        _ => Ok(()),
    }
}

/// Sees to what is not here of a plan: the repository has it, or it is fetched where the image came from. Whether
/// it can be had.
fn supply(
    context: &ImageContext<'_>,
    lease: &Lease,
    repository: &Repository<'_>,
    (plan, came_as): (&Plan, Option<&Reference>),
) -> Result<bool> {
    for (digest, size) in &plan.missing {
        lease.need(digest)?;
        let is_there = repository.has_blob(digest)?;
        let fetched = || came_as.map(|from| fetch(context, lease, from, (digest, *size)));
        if !is_there && !matches!(fetched(), Some(Ok(()))) {
            return Ok(false);
        }
    }
    Ok(true)
}

fn fetch(
    context: &ImageContext<'_>,
    lease: &Lease,
    from: &Reference,
    (digest, size): (&Digest, u64),
) -> Result<()> {
    let client = context.client();
    let repository = client.repository(from)?;
    let mut reader = repository.blob(digest, size)?;
    let mut writer = lease.store().blob_writer(lease, digest.algorithm())?;
    std::io::copy(&mut reader, &mut writer).map_err(|source| ImageError::Fetch {
        id: digest.short().to_owned(),
        source,
    })?;
    Ok(writer.commit(digest, Some(size))?)
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
