//! `pull`: from a reference to an image in the store.
//!
//! Lease, manifest, platform, configuration, layers, record, reference: in this order, so that a
//! crash leaves garbage and no half-made image. Layers arrive in threads, three at a time; each is
//! one stream from socket to file system (see `ingest`). A layer that another command fetches is
//! waited for, never while a lock is held, so no two commands wait for each other.
//!
//! Costs per image: three to four requests and one per layer; an fsync per blob, a syncfs per layer.

mod attestations;

use std::io::Read;
use std::sync::atomic::{AtomicBool, Ordering};

use registry::{Repository, Selector};
use storage::images::{BlobRecord, NewImage};
use storage::layers::LayerClaim;
use storage::lease::Lease;
use storage::refs::Target;
use types::digest::Digest;
use types::image::{
    CONFIG_BYTES_MAX, Descriptor, Document, ImageConfig, Index, MEDIA_DOCKER_CONFIG,
    MEDIA_DOCKER_SCHEMA1, MEDIA_DOCKER_SCHEMA1_SIGNED, MEDIA_OCI_CONFIG, Manifest,
};
use types::platform::Platform;
use types::reference::Reference;

use super::ImageContext;
use super::error::{ImageError, Result};
use super::ingest::{Tee, fill_layer, source_error};
use super::parallel::in_parallel;
use crate::observer::{Event, LayerProgress, Observer};

/// As Docker's default.
const PARALLEL_LAYERS: usize = 3;
/// Progress is told at most once for so many bytes.
const PROGRESS_STEP_BYTES: u64 = 256 << 10;

/// How to pull.
#[derive(Clone, Debug, Default)]
pub struct PullOptions {
    /// Another platform than the host's.
    pub platform: Option<Platform>,
}

/// What a pull found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PullReport {
    /// The reference, with its tag or digest.
    pub reference: Reference,
    /// The image's id.
    pub image: Digest,
    /// What the reference means: the digest of an index or manifest.
    pub target: Digest,
    /// Whether anything was new.
    pub outcome: PullOutcome,
}

/// Whether a pull changed anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PullOutcome {
    /// `Status: Image is up to date for …`.
    UpToDate,
    /// `Status: Downloaded newer image for …`.
    Downloaded,
}

/// Pulls one reference; without tag and digest it means `latest`.
///
/// # Errors
/// Where the registry does not give the image, or it is not what its digests say.
pub fn pull(
    context: &ImageContext<'_>,
    reference: &Reference,
    options: &PullOptions,
    observer: &dyn Observer,
) -> Result<PullReport> {
    let client = context.client();
    let reference = reference.clone().with_default_tag();
    let pull = Pull {
        context,
        repository: client.repository(&reference)?,
        reference: &reference,
        options,
        observer,
        lease: context.store().lease()?,
    };
    let report = pull.run()?;
    let name = report.reference.familiar();
    context.announce_as(
        "pull",
        &name,
        Some(&report.image),
        &report.reference.familiar_name(),
    );
    Ok(report)
}

/// The digest that a reference means in its registry now; without tag and digest it means `latest`.
///
/// # Errors
/// Where the registry does not tell.
pub fn remote_digest(context: &ImageContext<'_>, reference: &Reference) -> Result<Digest> {
    let client = context.client();
    let reference = reference.clone().with_default_tag();
    let repository = client.repository(&reference)?;
    let selector = Selector::of(&reference);
    match repository.head(selector)? {
        Some(digest) => Ok(digest),
        None => Ok(repository.manifest(selector)?.digest),
    }
}

/// Pulls every tag of a repository.
///
/// # Errors
/// As [`pull`]; the tags before the failing one stay.
pub fn pull_all_tags(
    context: &ImageContext<'_>,
    reference: &Reference,
    options: &PullOptions,
    observer: &dyn Observer,
) -> Result<Vec<PullReport>> {
    let client = context.client();
    let tags = client.repository(reference)?.all_tags()?;
    let mut reports = Vec::with_capacity(tags.len());
    for tag in tags {
        let name = reference.clone().without_tag_and_digest();
        let text = || format!("{}:{tag}", name.familiar());
        let tagged = name.clone().with_tag(&tag);
        let tagged = tagged.map_err(|source| ImageError::Reference {
            text: text(),
            source,
        })?;
        reports.push(pull(context, &tagged, options, observer)?);
    }
    Ok(reports)
}

struct Pull<'a> {
    context: &'a ImageContext<'a>,
    repository: Repository<'a>,
    reference: &'a Reference,
    options: &'a PullOptions,
    observer: &'a dyn Observer,
    lease: Lease,
}

/// One layer to fetch.
struct Job<'a> {
    blob: &'a Descriptor,
    diff_id: &'a Digest,
}

impl Pull<'_> {
    fn run(&self) -> Result<PullReport> {
        let selector = Selector::of(self.reference);
        if let Some(report) = self.up_to_date(selector)? {
            return Ok(report);
        }
        let fetched = self.repository.manifest(selector)?;
        self.tell_start();
        let media_type = fetched.media_type.as_str();
        if matches!(
            media_type,
            MEDIA_DOCKER_SCHEMA1 | MEDIA_DOCKER_SCHEMA1_SIGNED
        ) {
            return Err(ImageError::Schema1 {
                reference: self.reference.familiar(),
            });
        }
        let document = self.parse(&fetched.bytes, media_type, &fetched.digest)?;
        let target = Target {
            digest: fetched.digest.clone(),
            media_type: document.media_type().to_owned(),
            size: fetched.bytes.len() as u64,
        };
        self.keep(&fetched.bytes, &fetched.digest)?;
        let mut other_blobs = Vec::new();
        let (manifest, record) = match document {
            Document::Manifest(manifest) => (manifest, blob_record(&target)),
            Document::Index(index) => {
                other_blobs.push(fetched.digest);
                let (manifest, record) = self.select(&index)?;
                other_blobs.extend(self.fetch_attestations(&index, &record.digest));
                (manifest, record)
            }
        };
        let (id, config) = self.fetch_config(&manifest)?;
        self.check_platform(&config, other_blobs.is_empty())?;
        let layers = self.fetch_layers(&manifest, &config)?;
        let image = new_image(
            id,
            &config,
            Some(record),
            other_blobs,
            layers,
            self.lease.store(),
        )?;
        let image = self.lease.store().record_image(&self.lease, image)?;
        self.observer.event(Event::Resolved {
            digest: target.digest.clone(),
        });
        sys::fail::point("engine.pull.recorded");
        let outcome = self.publish(&image.id, &target)?;
        let reference = self.reference.clone();
        Ok(PullReport {
            reference,
            image: image.id,
            target: target.digest,
            outcome,
        })
    }

    /// Asks only for the digest where the image may be here already: registries count manifests.
    fn up_to_date(&self, selector: Selector<'_>) -> Result<Option<PullReport>> {
        let store = self.context.store();
        let Some(record) = store.replaced_reference(self.reference)? else {
            return Ok(None);
        };
        let Some(target) = record.target else {
            return Ok(None);
        };
        self.lease.need(&record.image)?;
        let Ok(image) = self.context.store().image(&record.image) else {
            return Ok(None);
        };
        let platform = Platform::new(&image.os, &image.architecture, &image.variant);
        let wanted = self.options.platform.clone().unwrap_or_else(Platform::host);
        if wanted.match_rank(&platform).is_none() {
            return Ok(None);
        }
        if self.repository.head(selector)?.as_ref() != Some(&target.digest) {
            return Ok(None);
        }
        self.tell_start();
        self.observer.event(Event::Resolved {
            digest: target.digest.clone(),
        });
        Ok(Some(PullReport {
            reference: self.reference.clone(),
            image: record.image,
            target: target.digest,
            outcome: PullOutcome::UpToDate,
        }))
    }

    fn tell_start(&self) {
        let selector = match Selector::of(self.reference) {
            Selector::Tag(tag) => tag.to_owned(),
            Selector::Digest(digest) => digest.to_string(),
        };
        let repository = self.reference.path().to_owned();
        self.observer.event(Event::Pulling {
            selector,
            repository,
        });
    }

    fn parse(&self, bytes: &[u8], media_type: &str, digest: &Digest) -> Result<Document> {
        let media_type = Some(media_type).filter(|media_type| !media_type.is_empty());
        Document::parse(bytes, media_type).map_err(|source| match source {
            types::image::ImageError::SchemaVersion(1) => ImageError::Schema1 {
                reference: self.reference.familiar(),
            },
            source => ImageError::Document {
                what: format!("manifest {digest}"),
                source,
            },
        })
    }

    /// Keeps a document whose digest was checked.
    fn keep(&self, bytes: &[u8], digest: &Digest) -> Result<()> {
        use std::io::Write;
        self.lease.need(digest)?;
        let store = self.lease.store();
        if store.has_blob(digest) {
            return Ok(());
        }
        let mut writer = store.blob_writer(&self.lease, digest.algorithm())?;
        let fetch = |source| ImageError::Fetch {
            id: digest.short().to_owned(),
            source,
        };
        writer.write_all(bytes).map_err(fetch)?;
        Ok(writer.commit(digest, Some(bytes.len() as u64))?)
    }

    /// Fetches the manifest of the platform that is wanted.
    fn select(&self, index: &Index) -> Result<(Manifest, BlobRecord)> {
        let wanted = self.options.platform.clone().unwrap_or_else(Platform::host);
        let descriptor = index
            .select(&wanted)
            .ok_or_else(|| ImageError::NoPlatform {
                platform: wanted.to_string(),
                available: index.platforms().join(", "),
            })?;
        let fetched = self
            .repository
            .manifest(Selector::Digest(&descriptor.digest))?;
        let media_type = descriptor.media_type.as_str();
        match self.parse(&fetched.bytes, media_type, &fetched.digest)? {
            Document::Manifest(manifest) => {
                self.keep(&fetched.bytes, &fetched.digest)?;
                let size = fetched.bytes.len() as u64;
                let media_type = media_type.to_owned();
                Ok((
                    manifest,
                    BlobRecord {
                        digest: fetched.digest,
                        size,
                        media_type,
                    },
                ))
            }
            Document::Index(_) => Err(ImageError::Document {
                what: format!("index within the index of {}", self.reference.familiar()),
                source: types::image::ImageError::MediaType(media_type.to_owned()),
            }),
        }
    }

    fn fetch_config(&self, manifest: &Manifest) -> Result<(Digest, ImageConfig)> {
        let descriptor = &manifest.config;
        let id = &descriptor.digest;
        if !is_config_type(&descriptor.media_type) {
            let media_type = match &manifest.artifact_type {
                Some(artifact) => artifact.clone(),
                None => descriptor.media_type.clone(),
            };
            return Err(ImageError::Artifact {
                reference: self.reference.familiar(),
                media_type,
            });
        }
        let what = || format!("image configuration {id}");
        let refuse = |source| ImageError::Document {
            what: what(),
            source,
        };
        let limit = CONFIG_BYTES_MAX;
        if descriptor.size > limit as u64 {
            let size = usize::try_from(descriptor.size).unwrap_or(usize::MAX);
            let document = "image configuration";
            return Err(refuse(types::image::ImageError::TooLarge {
                document,
                size,
                limit,
            }));
        }
        self.lease.need(id)?;
        let store = self.lease.store();
        let bytes = if store.has_blob(id) {
            store.image_config(id)?
        } else {
            let fetch = |source| ImageError::Fetch {
                id: id.short().to_owned(),
                source,
            };
            let mut bytes = Vec::new();
            let mut reader = self.repository.blob(id, descriptor.size)?;
            reader.read_to_end(&mut bytes).map_err(fetch)?;
            self.keep(&bytes, id)?;
            bytes
        };
        let config = ImageConfig::parse(&bytes).map_err(refuse)?;
        config.check_layers(manifest).map_err(refuse)?;
        Ok((id.clone(), config))
    }

    /// Docker's rules: an image that is alone under its tag is taken whatever its processor, unless
    /// a platform was asked for; another system never.
    fn check_platform(&self, config: &ImageConfig, is_alone: bool) -> Result<()> {
        if !config.os.is_empty() && config.os != "linux" {
            return Err(ImageError::OtherSystem {
                os: config.os.clone(),
            });
        }
        let (Some(wanted), true) = (&self.options.platform, is_alone) else {
            return Ok(());
        };
        let found = config.platform();
        if wanted.match_rank(&found).is_some() {
            return Ok(());
        }
        Err(ImageError::OtherPlatform {
            reference: self.reference.familiar(),
            found: found.to_string(),
            wanted: wanted.to_string(),
        })
    }

    fn fetch_layers(
        &self,
        manifest: &Manifest,
        config: &ImageConfig,
    ) -> Result<Vec<(Digest, Option<BlobRecord>)>> {
        let pairs = || manifest.layers.iter().zip(&config.rootfs.diff_ids);
        let mut jobs: Vec<Job<'_>> = Vec::new();
        for (blob, diff_id) in pairs() {
            if jobs.iter().all(|job| job.diff_id != diff_id) {
                jobs.push(Job { blob, diff_id });
                self.tell(blob, LayerProgress::Waiting);
            }
        }
        in_parallel(PARALLEL_LAYERS, &jobs, |job, stop| {
            self.fetch_layer(job, stop)
        })?;
        Ok(pairs()
            .map(|(blob, diff_id)| (diff_id.clone(), Some(descriptor_record(blob))))
            .collect())
    }

    fn fetch_layer(&self, job: &Job<'_>, stop: &AtomicBool) -> Result<()> {
        let store = self.lease.store();
        let blob = job.blob;
        self.lease.need(&blob.digest)?;
        let work = match store.claim_layer(&self.lease, job.diff_id)? {
            LayerClaim::Ready(_) => {
                self.tell(blob, LayerProgress::Exists);
                return Ok(());
            }
            LayerClaim::Work(work) => work,
        };
        let id = blob.digest.short();
        let report = if store.has_blob(&blob.digest) {
            fill_layer(store.open_blob(&blob.digest)?, &work, id)?
        } else {
            let mut writer = store.blob_writer(&self.lease, blob.digest.algorithm())?;
            let watched = Watched {
                source: self.repository.blob(&blob.digest, blob.size)?,
                pull: self,
                blob,
                stop,
                received: 0,
                told: 0,
            };
            let filled = fill_layer(
                Tee {
                    source: watched,
                    sink: &mut writer,
                },
                &work,
                id,
            );
            if stop.load(Ordering::Relaxed) {
                return Err(ImageError::GivenUp);
            }
            let report = match filled.map_err(source_error) {
                Ok(report) => report,
                // Damaged content fails to unpack; that it is not what was announced says more.
                Err(error) => return Err(prefer_digest(writer, blob, error)),
            };
            writer.commit(&blob.digest, Some(blob.size))?;
            report
        };
        self.tell(blob, LayerProgress::Downloaded);
        sys::fail::point("engine.pull.layer");
        work.finish(&report, Some(descriptor_record(blob)))
            .publish()?;
        self.tell(blob, LayerProgress::Complete);
        Ok(())
    }

    fn publish(&self, image: &Digest, target: &Target) -> Result<PullOutcome> {
        let store = self.lease.store();
        let lock = store.lock_images()?;
        let old = store.replaced_reference(self.reference)?;
        let known = |old: &storage::refs::RefRecord| {
            old.image == *image && old.target.as_ref() == Some(target)
        };
        if old.as_ref().is_some_and(known) {
            return Ok(PullOutcome::UpToDate);
        }
        store.set_reference(&lock, self.reference, image, Some(target.clone()))?;
        Ok(PullOutcome::Downloaded)
    }

    fn tell(&self, blob: &Descriptor, progress: LayerProgress) {
        let id = blob.digest.short().to_owned();
        self.observer.event(Event::Layer { id, progress });
    }
}

/// A download that tells how far it is and stops when another one failed.
struct Watched<'a, R> {
    source: R,
    pull: &'a Pull<'a>,
    blob: &'a Descriptor,
    stop: &'a AtomicBool,
    received: u64,
    told: u64,
}

impl<R: Read> Read for Watched<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if self.stop.load(Ordering::Relaxed) {
            return Err(std::io::Error::other(ImageError::GivenUp));
        }
        let count = self.source.read(buffer)?;
        self.received += count as u64;
        if self.received - self.told >= PROGRESS_STEP_BYTES || (count == 0 && self.told == 0) {
            self.told = self.received;
            let (received, size) = (self.received, self.blob.size);
            self.pull
                .tell(self.blob, LayerProgress::Downloading { received, size });
        }
        Ok(count)
    }
}

fn prefer_digest(
    writer: storage::blobs::BlobWriter<'_>,
    blob: &Descriptor,
    error: ImageError,
) -> ImageError {
    if writer.size() != blob.size {
        return error;
    }
    let staged = writer.stage();
    if *staged.digest() == blob.digest {
        return error;
    }
    ImageError::DigestMismatch {
        what: format!("layer {}", blob.digest.short()),
        expected: blob.digest.clone(),
        actual: staged.digest().clone(),
    }
}

/// What a configuration may say it is. Old tools wrote the last one.
fn is_config_type(media_type: &str) -> bool {
    matches!(
        media_type,
        "" | MEDIA_OCI_CONFIG | MEDIA_DOCKER_CONFIG | "application/octet-stream"
    )
}

fn blob_record(target: &Target) -> BlobRecord {
    let Target {
        digest,
        media_type,
        size,
    } = target.clone();
    BlobRecord {
        digest,
        size,
        media_type,
    }
}

pub(crate) fn descriptor_record(descriptor: &Descriptor) -> BlobRecord {
    let Descriptor {
        digest,
        size,
        media_type,
        ..
    } = descriptor.clone();
    BlobRecord {
        digest,
        size,
        media_type,
    }
}

/// What is recorded of an image whose configuration was read.
pub(super) fn new_image(
    id: Digest,
    config: &ImageConfig,
    manifest: Option<BlobRecord>,
    other_blobs: Vec<Digest>,
    layers: Vec<(Digest, Option<BlobRecord>)>,
    store: &storage::store::Store,
) -> Result<NewImage> {
    // As written, so that members which we do not know reach containers and `inspect`.
    let bytes = store.image_config(&id)?;
    let mut document: serde_json::Value =
        types::json::read(&bytes).map_err(|source| ImageError::ArchiveJson {
            member: format!("configuration {id}"),
            source,
        })?;
    Ok(NewImage {
        id,
        manifest,
        other_blobs,
        layers,
        os: config.os.clone(),
        architecture: config.architecture.clone(),
        variant: config.variant.clone(),
        created: config.created.clone().unwrap_or_default(),
        config: document
            .get_mut("config")
            .map(serde_json::Value::take)
            .unwrap_or_default(),
    })
}
