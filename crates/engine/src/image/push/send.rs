//! The conversation of a push: what is missing is sent, layers several at a time.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use registry::{BlobContent, BlobSource, RegistryError, Repository, Selector, Uploaded};
use serde_json::{Value, json};
use types::digest::Digest;
use types::image::MEDIA_OCI_INDEX;
use types::reference::{DEFAULT_TAG, Reference};

use super::plan::{About, Blob, Plan};
use crate::image::ImageContext;
use crate::image::error::{ImageError, Result};
use crate::image::parallel::in_parallel;
use crate::observer::{Event, Observer, PushProgress};

/// As Docker's default.
const PARALLEL_BLOBS: usize = 5;
/// Progress is told at most once for so many bytes.
const PROGRESS_STEP_BYTES: u64 = 256 << 10;

struct Sender<'a> {
    context: &'a ImageContext<'a>,
    repository: &'a Repository<'a>,
    reference: &'a Reference,
    observer: &'a dyn Observer,
    /// Where else in this registry blobs are; asked for when the first one is missing.
    elsewhere: OnceLock<BTreeMap<Digest, String>>,
}

/// Makes the tag in the registry mean what the plan has at its top.
pub(super) fn send(
    context: &ImageContext<'_>,
    repository: &Repository<'_>,
    reference: &Reference,
    plan: &Plan,
    observer: &dyn Observer,
) -> Result<()> {
    let sender = Sender {
        context,
        repository,
        reference,
        observer,
        elsewhere: OnceLock::new(),
    };
    let tag = reference.tag().unwrap_or(DEFAULT_TAG);
    // As Docker lists them: topmost first.
    let layers = || plan.blobs.iter().rev().filter(|blob| blob.shown.is_some());
    layers().for_each(|blob| sender.tell(blob, PushProgress::Preparing));
    let top = &plan.top;
    let now = repository.tagged(tag)?;
    let is_done = now.as_ref() == Some(&top.digest);
    if is_done || (now.is_some() && repository.has_manifest(&top.digest)?) {
        // A registry has a manifest only with all that it names.
        layers().for_each(|blob| sender.tell(blob, PushProgress::Exists));
    } else {
        let jobs: Vec<&Blob> = plan.blobs.iter().rev().collect();
        in_parallel(PARALLEL_BLOBS, &jobs, |blob, stop| {
            sender.send_blob(blob, stop)
        })?;
        for paper in &plan.below {
            let selector = Selector::Digest(&paper.digest);
            let (media_type, bytes) = (paper.media_type.as_str(), paper.bytes.as_slice());
            repository.put_manifest(selector, media_type, bytes, &paper.digest)?;
        }
    }
    // Sent also where the tag means it already: reading does not show that one may write, and a push by
    // somebody who may not has to fail.
    let selector = Selector::Tag(tag);
    repository.put_manifest(selector, &top.media_type, &top.bytes, &top.digest)?;
    plan.about
        .iter()
        .try_for_each(|about| sender.send_about(about))
}

impl Sender<'_> {
    fn tell(&self, blob: &Blob, progress: PushProgress) {
        if let Some(id) = blob.shown.clone() {
            self.observer.event(Event::Push { id, progress });
        }
    }

    fn send_blob(&self, blob: &Blob, stop: &AtomicBool) -> Result<()> {
        if self.repository.has_blob(&blob.digest)? {
            self.tell(blob, PushProgress::Exists);
            return Ok(());
        }
        let elsewhere = self.elsewhere.get_or_init(|| self.find_elsewhere());
        let from = elsewhere.get(&blob.digest);
        let content = Stored {
            sender: self,
            blob,
            stop,
        };
        let source = BlobSource {
            digest: &blob.digest,
            size: blob.size,
            content: &content,
        };
        let uploaded = self.repository.upload(&source, from.map(String::as_str));
        if stop.load(Ordering::Relaxed) {
            return Err(ImageError::GivenUp);
        }
        match (uploaded?, from) {
            (Uploaded::Mounted, Some(from)) => {
                self.tell(blob, PushProgress::Mounted(from.clone()));
            }
            _ => self.tell(blob, PushProgress::Pushed),
        }
        Ok(())
    }

    /// What is said about a manifest that is there. A registry without a list of referrers has it as an index
    /// with a tag of the subject's digest: the fall-back of the distribution specification.
    fn send_about(&self, about: &About) -> Result<()> {
        let (paper, repository) = (&about.paper, self.repository);
        in_parallel(PARALLEL_BLOBS, &about.blobs, |blob, stop| {
            self.send_blob(blob, stop)
        })?;
        let selector = Selector::Digest(&paper.digest);
        let lists =
            repository.put_referrer(selector, &paper.media_type, &paper.bytes, &paper.digest)?;
        if lists {
            return Ok(());
        }
        let tag = format!(
            "{}-{}",
            about.subject.algorithm().name(),
            about.subject.hex()
        );
        let known = match repository.manifest(Selector::Tag(&tag)) {
            Ok(fetched) => serde_json::from_slice(&fetched.bytes).unwrap_or(Value::Null),
            Err(RegistryError::ManifestUnknown { .. } | RegistryError::NameUnknown { .. }) => {
                Value::Null
            }
            Err(error) => return Err(error.into()),
        };
        let mut manifests = known["manifests"].as_array().cloned().unwrap_or_default();
        if manifests
            .iter()
            .any(|one| one["digest"] == paper.digest.as_str())
        {
            return Ok(());
        }
        manifests.push(json!({
            "mediaType": paper.media_type,
            "digest": paper.digest,
            "size": paper.bytes.len(),
            "artifactType": about.artifact_type,
        }));
        let index = json!({
            "schemaVersion": 2,
            "mediaType": MEDIA_OCI_INDEX,
            "manifests": manifests,
        });
        let what = "an index";
        let bytes =
            serde_json::to_vec(&index).map_err(|source| ImageError::Encode { what, source })?;
        let digest = storage::blobs::digest_of(&bytes);
        Ok(repository.put_manifest(Selector::Tag(&tag), MEDIA_OCI_INDEX, &bytes, &digest)?)
    }

    /// Blobs of images that were pulled from, or pushed to, other repositories of this registry. That
    /// they are still there is for the registry to say; a store that cannot be read gives none.
    fn find_elsewhere(&self) -> BTreeMap<Digest, String> {
        let store = self.context.store();
        let mut found = BTreeMap::new();
        for record in store.references().unwrap_or_default() {
            let Some(name) = &record.reference else {
                continue;
            };
            let is_other = name.domain() == self.reference.domain()
                && name.path() != self.reference.path()
                && record.target.is_some();
            let Ok(image) = store.image(&record.image) else {
                continue;
            };
            if is_other {
                let blobs = image.layers.into_iter().filter_map(|layer| layer.blob);
                let digests = blobs.map(|blob| blob.digest).chain([image.id]);
                found.extend(digests.map(|digest| (digest, name.path().to_owned())));
            }
        }
        found
    }
}

/// A blob of the store that tells how much of it was read, and stops when another one failed.
struct Stored<'a> {
    sender: &'a Sender<'a>,
    blob: &'a Blob,
    stop: &'a AtomicBool,
}

impl BlobContent for Stored<'_> {
    fn open(&self, offset: u64) -> io::Result<Box<dyn Read + '_>> {
        let store = self.sender.context.store();
        let mut file = store
            .open_blob(&self.blob.digest)
            .map_err(io::Error::other)?;
        file.seek(SeekFrom::Start(offset))?;
        Ok(Box::new(Watched {
            stored: self,
            file,
            sent: offset,
            told: offset,
        }))
    }
}

struct Watched<'a> {
    stored: &'a Stored<'a>,
    file: File,
    sent: u64,
    told: u64,
}

impl Read for Watched<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.stored.stop.load(Ordering::Relaxed) {
            return Err(io::Error::other(ImageError::GivenUp));
        }
        let count = self.file.read(buffer)?;
        self.sent += count as u64;
        if self.sent - self.told >= PROGRESS_STEP_BYTES {
            self.told = self.sent;
            let (sent, size) = (self.sent, self.stored.blob.size);
            let progress = PushProgress::Pushing { sent, size };
            self.stored.sender.tell(self.stored.blob, progress);
        }
        Ok(count)
    }
}
