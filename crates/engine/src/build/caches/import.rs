//! Takes results of steps from other caches. Nothing that a cache says is believed but which step gave
//! which layer; see [`super`].

use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use registry::{Client, Selector};
use rustix::fs::OFlags;
use storage::blobs::digest_of;
use storage::layers::LayerClaim;
use storage::lease::Lease;
use sys::rootfs::Dir;
use types::digest::Digest;
use types::image::{
    CONFIG_BYTES_MAX, Descriptor, Document, ImageConfig, Index, MANIFEST_BYTES_MAX, Manifest,
};
use types::platform::Platform;
use types::reference::Reference;

use super::{CacheDocument, CachePlace, MEMBER, VERSION};
use crate::Engine;
use crate::build::{BuildEvent, BuildObserver};
use crate::error::{EngineError, chain, text};
use crate::image::ingest::{Tee, fill_layer, source_error};
use crate::image::pull::descriptor_record;

const TAG: &str = "org.opencontainers.image.ref.name";

/// A cache that is asked for results.
pub(crate) struct OtherCache {
    place: CachePlace,
    source: Source,
    /// Layers by the keys of steps.
    steps: HashMap<Digest, Layer>,
}

#[derive(Clone)]
struct Layer {
    diff_id: Digest,
    blob: Descriptor,
}

enum Source {
    Registry(Box<Client>, Reference),
    Directory(Dir),
}

impl Engine {
    /// Reads what other caches have. One that cannot be read is told of, and is none.
    pub(crate) fn other_caches(
        &self,
        places: &[CachePlace],
        observer: &dyn BuildObserver,
    ) -> Vec<OtherCache> {
        let mut caches = Vec::new();
        for place in places {
            let note = format!("[internal] importing cache manifest from {place}");
            observer.event(BuildEvent::Note(note));
            match OtherCache::read(self, place) {
                Ok(cache) => caches.push(cache),
                Err(error) => {
                    let error = chain(&error);
                    let text = format!("cannot import the cache {place}: {error}");
                    observer.event(BuildEvent::Warning(text));
                }
            }
        }
        caches
    }
}

impl OtherCache {
    fn read(engine: &Engine, place: &CachePlace) -> Result<Self, EngineError> {
        let (source, manifest) = match place {
            CachePlace::Registry(reference) => {
                let client = engine.images().client();
                let manifest = pull_manifest(&client, reference)?;
                (
                    Source::Registry(Box::new(client), reference.clone()),
                    manifest,
                )
            }
            CachePlace::Directory { path, tag, digest } => {
                let root = Dir::open(path).map_err(|error| text("open the cache", &error))?;
                let manifest = layout_manifest(&root, tag, digest.as_ref())?;
                (Source::Directory(root), manifest)
            }
            CachePlace::Inline => {
                return Err(EngineError::invalid("give the name of the image"));
            }
        };
        let config = checked(
            source.read(&manifest.config, CONFIG_BYTES_MAX)?,
            &manifest.config.digest,
        )?;
        let config =
            ImageConfig::parse(&config).map_err(|error| text("read a configuration", &error))?;
        let checked = config.check_layers(&manifest);
        checked.map_err(|error| text("read a configuration", &error))?;
        let none = || EngineError::invalid("it holds no results of Caisson's builds");
        let document = config.extra.get(MEMBER).ok_or_else(none)?.clone();
        let document: CacheDocument =
            types::json::read_value(&document).map_err(|error| text("read its results", &error))?;
        if document.version != VERSION {
            return Err(none());
        }
        let layers = config.rootfs.diff_ids.iter().zip(&manifest.layers);
        let layers: HashMap<&Digest, &Descriptor> = layers.collect();
        let steps = document.steps.into_iter().filter_map(|step| {
            let blob = (*layers.get(&step.diff_id)?).clone();
            let diff_id = step.diff_id;
            Some((step.key, Layer { diff_id, blob }))
        });
        Ok(Self {
            place: place.clone(),
            steps: steps.collect(),
            source,
        })
    }

    /// The layer that a step gave, now in the store, as its diff id. `None` where this cache knows
    /// nothing of the step, or what it has is not what it says, which is told.
    pub(crate) fn find(
        &self,
        key: &Digest,
        lease: &Lease,
        observer: &dyn BuildObserver,
    ) -> Option<Digest> {
        let layer = self.steps.get(key)?;
        match self.fetch(layer, lease) {
            Ok(()) => Some(layer.diff_id.clone()),
            Err(error) => {
                let error = chain(&error);
                observer.event(BuildEvent::Warning(format!(
                    "cannot take a layer from the cache {}: {error}",
                    self.place
                )));
                None
            }
        }
    }

    fn fetch(&self, layer: &Layer, lease: &Lease) -> Result<(), EngineError> {
        let store = lease.store();
        let blob = &layer.blob;
        lease.need(&blob.digest)?;
        let work = match store.claim_layer(lease, &layer.diff_id)? {
            LayerClaim::Ready(_) => return Ok(()),
            LayerClaim::Work(work) => work,
        };
        let id = blob.digest.short();
        let report = if store.has_blob(&blob.digest) {
            fill_layer(store.open_blob(&blob.digest)?, &work, id)?
        } else {
            let mut writer = store.blob_writer(lease, blob.digest.algorithm())?;
            let mut fill = |source: &mut (dyn Read + Send)| {
                let sink = &mut writer;
                fill_layer(Tee { source, sink }, &work, id).map_err(source_error)
            };
            let report = match &self.source {
                Source::Registry(client, reference) => {
                    let repository = client.repository(reference);
                    let repository = repository.map_err(crate::image::ImageError::from)?;
                    let blob = repository.blob(&blob.digest, blob.size);
                    fill(&mut blob.map_err(crate::image::ImageError::from)?)?
                }
                // One byte more than it may have shows that it is too long.
                Source::Directory(root) => {
                    let file = open(root, &blob.digest)?;
                    fill(&mut file.take(blob.size.saturating_add(1)))?
                }
            };
            writer.commit(&blob.digest, Some(blob.size))?;
            report
        };
        // Those of our steps stand on no other layer's files.
        if !report.unresolved_hardlinks.is_empty() {
            return Err(EngineError::invalid(
                "it has hard links to files of other layers",
            ));
        }
        sys::fail::point("engine.build.cache-fetched");
        work.finish(&report, Some(descriptor_record(blob)))
            .publish()?;
        Ok(())
    }
}

impl Source {
    /// A small blob, whose digest is not checked yet.
    fn read(&self, blob: &Descriptor, max: usize) -> Result<Vec<u8>, EngineError> {
        if blob.size > max as u64 {
            return Err(EngineError::invalid(format!(
                "{} is longer than {max} bytes",
                blob.digest
            )));
        }
        match self {
            Self::Directory(root) => read_blob(root, &blob.digest, max),
            Self::Registry(client, reference) => {
                let repository = client.repository(reference);
                let repository = repository.map_err(crate::image::ImageError::from)?;
                let reader = repository.blob(&blob.digest, blob.size);
                let mut bytes = Vec::new();
                reader
                    .map_err(crate::image::ImageError::from)?
                    .read_to_end(&mut bytes)
                    .map_err(|error| text("fetch a configuration", &error))?;
                Ok(bytes)
            }
        }
    }
}

fn checked(bytes: Vec<u8>, digest: &Digest) -> Result<Vec<u8>, EngineError> {
    match digest_of(&bytes) == *digest {
        true => Ok(bytes),
        false => Err(EngineError::invalid(format!(
            "what is called {digest} is something else"
        ))),
    }
}

fn pull_manifest(client: &Client, reference: &Reference) -> Result<Manifest, EngineError> {
    let repository = client.repository(reference);
    let repository = repository.map_err(crate::image::ImageError::from)?;
    let get = |selector| {
        let fetched = repository.manifest(selector);
        let fetched = fetched.map_err(crate::image::ImageError::from)?;
        document(&fetched.bytes, &fetched.media_type)
    };
    match get(Selector::of(reference))? {
        Document::Manifest(manifest) => Ok(manifest),
        Document::Index(index) => {
            let chosen = index.select(&Platform::host());
            let chosen = chosen.ok_or_else(|| EngineError::invalid("it has no such platform"))?;
            match get(Selector::Digest(&chosen.digest))? {
                Document::Manifest(manifest) => Ok(manifest),
                Document::Index(_) => Err(EngineError::invalid("an index names an index")),
            }
        }
    }
}

fn document(bytes: &[u8], media_type: &str) -> Result<Document, EngineError> {
    let media_type = Some(media_type).filter(|media_type| !media_type.is_empty());
    Document::parse(bytes, media_type).map_err(|error| text("read a manifest", &error))
}

/// The manifest of a cache in a directory: named by digest, or by tag in its index.
fn layout_manifest(
    root: &Dir,
    tag: &str,
    digest: Option<&Digest>,
) -> Result<Manifest, EngineError> {
    let tag = if tag.is_empty() { "latest" } else { tag };
    let digest = match digest {
        Some(digest) => digest.clone(),
        None => {
            let bytes = root.read_limited(Path::new("index.json"), MANIFEST_BYTES_MAX);
            let bytes = bytes.map_err(|error| text("read the cache", &error))?;
            let index: Index = types::json::read(&bytes)
                .map_err(|error| text("read the cache's index.json", &error))?;
            let is_named =
                |one: &&Descriptor| one.annotations.get(TAG).is_some_and(|own| own == tag);
            let found = index.manifests.iter().find(is_named);
            let found = found
                .ok_or_else(|| EngineError::invalid(format!("nothing in it is tagged {tag:?}")))?;
            found.digest.clone()
        }
    };
    let bytes = checked(read_blob(root, &digest, MANIFEST_BYTES_MAX)?, &digest)?;
    match document(&bytes, "")? {
        Document::Manifest(manifest) => Ok(manifest),
        Document::Index(_) => Err(EngineError::invalid("an index names an index")),
    }
}

/// Where a layout has a blob. A digest that was parsed leads nowhere else.
fn place(digest: &Digest) -> PathBuf {
    PathBuf::from("blobs")
        .join(digest.algorithm().name())
        .join(digest.hex())
}

fn read_blob(root: &Dir, digest: &Digest, max: usize) -> Result<Vec<u8>, EngineError> {
    let bytes = root.read_limited(&place(digest), max);
    bytes.map_err(|error| text("read the cache", &error))
}

/// A blob of a layout: a file, for a pipe would be waited for.
fn open(root: &Dir, digest: &Digest) -> Result<File, EngineError> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let fd = root.open_file(&place(digest), flags, 0);
    let file = File::from(fd.map_err(|error| text("read the cache", &error))?);
    let metadata = file.metadata();
    match metadata.is_ok_and(|metadata| metadata.is_file()) {
        true => Ok(file),
        false => Err(EngineError::invalid(format!("blob {digest} is no file"))),
    }
}
