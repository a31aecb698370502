//! `load`: image archives of `docker save`, old and new, and OCI layouts.
//!
//! What an archive is, is told by its members, in this order:
//!
//! | member | so it is |
//! |---|---|
//! | `manifest.json` | `docker save` since 1.10; with `index.json` its manifests are kept as well |
//! | `index.json` | an OCI layout |
//! | `repositories` | `docker save` before 1.10 (see `legacy`) |
//!
//! Nothing in an archive is believed: names must be members, digests must be right, a layer must
//! unpack to the diff id that the configuration says.

use std::collections::BTreeMap;
use std::io::Read;

use serde::Deserialize;
use storage::blobs::StagedBlob;
use storage::images::BlobRecord;
use storage::layers::LayerClaim;
use storage::lease::Lease;
use types::digest::Digest;
use types::image::{
    CONFIG_BYTES_MAX, Descriptor, Document, ImageConfig, Index, MEDIA_OCI_LAYER,
    MEDIA_OCI_LAYER_GZIP, MEDIA_OCI_LAYER_ZSTD, MEDIA_OCI_MANIFEST, Manifest,
};
use types::platform::Platform;
use types::reference::Reference;

use super::ImageContext;
use super::archive::Members;
use super::error::{ImageError, Result};
use super::ingest::fill_layer;
use super::pull::new_image;
use crate::observer::{Event, LayerProgress, Observer};

/// An index within an index within an index is nobody's honest work.
const INDEX_DEPTH_MAX: usize = 3;
/// Images of one archive.
const IMAGES_MAX: usize = 1000;
/// As much of a bad name as is shown.
const NAME_SHOWN_MAX: usize = 100;
/// Where containerd and Docker write the full name of an image.
const NAME_ANNOTATION: &str = "io.containerd.image.name";
/// Where others write the name, or only the tag.
const REF_ANNOTATION: &str = "org.opencontainers.image.ref.name";

/// How to load.
#[derive(Clone, Debug, Default)]
pub struct LoadOptions {
    /// `--platform`: of an index only this one.
    pub platform: Option<Platform>,
}

/// An image that was loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadedImage {
    /// Its id.
    pub id: Digest,
    /// The names that it got, as the archive has them.
    pub names: Vec<Reference>,
    /// Names that meant another image before, with that image's id.
    pub renamed: Vec<(Reference, Digest)>,
}

/// Loads every image of an archive, compressed in any way we know.
///
/// # Errors
/// An archive that is none or contradicts itself. Images before the failing one stay.
pub fn load(
    context: &ImageContext<'_>,
    source: impl Read + Send,
    options: &LoadOptions,
    observer: &dyn Observer,
) -> Result<Vec<LoadedImage>> {
    let lease = context.store().lease()?;
    let members = Members::read(source, &lease, observer)?;
    sys::fail::point("engine.load.read");
    let loader = Loader {
        members: &members,
        lease: &lease,
        options,
        observer,
    };
    let images = loader.images()?;
    let mut loaded = Vec::with_capacity(images.len());
    for image in &images {
        let image = loader.load(image)?;
        context.announce("load", &image.id, &image.id.to_string());
        loaded.push(image);
    }
    Ok(loaded)
}

/// Loads one image of an OCI layout, by tag or digest, which gets no name and lives as long as the lease; an
/// empty tag is the only image, else `latest`.
pub(crate) fn load_chosen(
    lease: &Lease,
    source: impl Read + Send,
    chosen: &str,
    options: &LoadOptions,
    observer: &dyn Observer,
) -> Result<Digest> {
    let members = Members::read(source, lease, observer)?;
    let loader = Loader {
        members: &members,
        lease,
        options,
        observer,
    };
    let is_chosen = |entry: &Descriptor, is_only: bool| {
        let name = entry.annotations.get(REF_ANNOTATION).map(String::as_str);
        let tag = if chosen.is_empty() { "latest" } else { chosen };
        let tagged = name
            .and_then(|name| name.rsplit_once(':'))
            .map(|(_, tag)| tag);
        (chosen.is_empty() && is_only)
            || entry.digest.as_str() == chosen
            || name == Some(tag)
            || tagged == Some(tag)
    };
    let images = loader.layout(&is_chosen)?;
    match images.as_slice() {
        [image] => loader.record(image),
        [] => Err(ImageError::Archive {
            what: match chosen {
                "" => "it has several images and none is called latest".to_owned(),
                chosen => format!("no image of it is called {chosen}"),
            },
        }),
        _ => Err(ImageError::Archive {
            what: format!("several images of it are called {chosen}"),
        }),
    }
}

/// An image as an archive describes it, checked but not unpacked.
pub(super) struct ArchivedImage {
    pub(super) names: Vec<Reference>,
    /// The configuration's bytes; made by us for the oldest archives.
    pub(super) config: Vec<u8>,
    /// The members that hold the layers, lowest first.
    pub(super) layers: Vec<String>,
    /// The member that holds the manifest, and its media type.
    pub(super) manifest: Option<(String, String)>,
}

pub(super) struct Loader<'a> {
    pub(super) members: &'a Members,
    lease: &'a Lease,
    options: &'a LoadOptions,
    observer: &'a dyn Observer,
}

/// An entry of `manifest.json`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct SavedImage {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    #[serde(default)]
    layers: Option<Vec<String>>,
}

impl Loader<'_> {
    fn images(&self) -> Result<Vec<ArchivedImage>> {
        let images = if self.members.find("manifest.json").is_some() {
            self.saved()?
        } else if self.members.find("index.json").is_some() {
            self.layout(&|_, _| true)?
        } else if self.members.find("repositories").is_some() {
            super::legacy::images(self.members)?
        } else {
            let what = "it has none of manifest.json, index.json and repositories".to_owned();
            return Err(ImageError::Archive { what });
        };
        if images.is_empty() || images.len() > IMAGES_MAX {
            let what = format!("it holds {} images", images.len());
            return Err(ImageError::Archive { what });
        }
        Ok(images)
    }

    fn saved(&self) -> Result<Vec<ArchivedImage>> {
        let saved: Option<Option<Vec<SavedImage>>> = self.members.json("manifest.json")?;
        let saved = saved.flatten().unwrap_or_default();
        // Our own archives and those of Docker since 25 are layouts as well. What is wrong with
        // that half only costs the original manifests.
        let layout = match self.members.find("index.json") {
            Some(_) => self.layout(&|_, _| true).unwrap_or_default(),
            None => Vec::new(),
        };
        let mut images = Vec::with_capacity(saved.len());
        for image in saved {
            let file = self.members.get(&image.config)?;
            let config = self.read_config(file, &image.config)?;
            let mut names = Vec::new();
            for text in image.repo_tags.into_iter().flatten() {
                let name = parse_name(&text)?;
                // Docker's archives name tags alone, and a digest must never be believed: it is what
                // somebody pins an image by.
                if name.digest().is_some() {
                    return Err(ImageError::NameWithDigest { text });
                }
                names.push(name);
            }
            let manifest = layout.iter().find(|known| known.config == config);
            images.push(ArchivedImage {
                names,
                config,
                layers: image.layers.unwrap_or_default(),
                manifest: manifest.and_then(|known| known.manifest.clone()),
            });
        }
        Ok(images)
    }

    /// The images of a layout that are wanted; told with each is whether it is the only one.
    fn layout(&self, wants: &dyn Fn(&Descriptor, bool) -> bool) -> Result<Vec<ArchivedImage>> {
        let bytes = self.members.bytes("index.json")?.unwrap_or_default();
        let refuse = |source| ImageError::Document {
            what: "index.json of the archive".into(),
            source,
        };
        let Document::Index(index) = Document::parse(&bytes, None).map_err(refuse)? else {
            return Err(ImageError::Archive {
                what: "its index.json is no index".into(),
            });
        };
        let mut images: Vec<ArchivedImage> = Vec::new();
        let is_only = index.manifests.len() == 1;
        let entries = index.manifests.iter();
        for entry in entries.filter(|entry| !entry.is_attestation() && wants(entry, is_only)) {
            let Some((descriptor, manifest)) = self.resolve(entry, 0)? else {
                continue;
            };
            let names: Vec<Reference> = name_of(entry)?.into_iter().collect();
            let image = self.archived(&descriptor, &manifest, names)?;
            match images.iter_mut().find(|known| known.config == image.config) {
                // The same image under another name has an entry of its own.
                Some(known) => known.names.extend(image.names),
                None => images.push(image),
            }
        }
        Ok(images)
    }

    /// The manifest that an entry leads to; `None` where there is none for the platform.
    fn resolve(&self, entry: &Descriptor, depth: usize) -> Result<Option<(Descriptor, Manifest)>> {
        if depth > INDEX_DEPTH_MAX {
            let what = format!("its indexes are nested deeper than {INDEX_DEPTH_MAX}");
            return Err(ImageError::Archive { what });
        }
        let name = blob_name(&entry.digest);
        let file = self.members.get(&name)?;
        check_blob(file, entry)?;
        let bytes = self.members.bytes(&name)?.unwrap_or_default();
        let what = format!("manifest {}", entry.digest);
        let media_type = Some(entry.media_type.as_str()).filter(|text| !text.is_empty());
        let document = Document::parse(&bytes, media_type)
            .map_err(|source| ImageError::Document { what, source })?;
        match document {
            Document::Manifest(manifest) => Ok(Some((entry.clone(), manifest))),
            Document::Index(index) => match self.choose(&index)? {
                Some(chosen) => self.resolve(chosen, depth + 1),
                None => Ok(None),
            },
        }
    }

    /// The entry for the platform that is wanted: the host's, else the first that is in the archive.
    fn choose<'i>(&self, index: &'i Index) -> Result<Option<&'i Descriptor>> {
        let is_here = |entry: &&Descriptor| self.members.find(&blob_name(&entry.digest)).is_some();
        let wanted = self.options.platform.clone().unwrap_or_else(Platform::host);
        if let Some(entry) = index.select(&wanted).filter(is_here) {
            return Ok(Some(entry));
        }
        if self.options.platform.is_some() {
            let available = index.platforms().join(", ");
            return Err(ImageError::NoPlatform {
                platform: wanted.to_string(),
                available,
            });
        }
        Ok(index
            .manifests
            .iter()
            .filter(|entry| !entry.is_attestation())
            .find(is_here))
    }

    fn archived(
        &self,
        descriptor: &Descriptor,
        manifest: &Manifest,
        names: Vec<Reference>,
    ) -> Result<ArchivedImage> {
        let config_name = blob_name(&manifest.config.digest);
        let file = self.members.get(&config_name)?;
        check_blob(file, &manifest.config)?;
        let mut layers = Vec::with_capacity(manifest.layers.len());
        for layer in &manifest.layers {
            let name = blob_name(&layer.digest);
            check_blob(self.members.get(&name)?, layer)?;
            layers.push(name);
        }
        let media_type = match (&descriptor.media_type, &manifest.media_type) {
            (outer, _) if !outer.is_empty() => outer.clone(),
            (_, inner) if !inner.is_empty() => inner.clone(),
            _ => MEDIA_OCI_MANIFEST.to_owned(),
        };
        Ok(ArchivedImage {
            names,
            config: self.read_config(file, &config_name)?,
            layers,
            manifest: Some((blob_name(&descriptor.digest), media_type)),
        })
    }

    fn read_config(&self, file: &StagedBlob, name: &str) -> Result<Vec<u8>> {
        if file.size() > CONFIG_BYTES_MAX as u64 {
            let what =
                format!("its configuration {name:?} is larger than {CONFIG_BYTES_MAX} bytes");
            return Err(ImageError::Archive { what });
        }
        Ok(self.members.bytes(name)?.unwrap_or_default())
    }

    fn load(&self, image: &ArchivedImage) -> Result<LoadedImage> {
        self.name(self.record(image)?, &image.names)
    }

    /// Puts an image into the store, without a name.
    fn record(&self, image: &ArchivedImage) -> Result<Digest> {
        let what = || "image configuration of the archive".to_owned();
        let refuse = |source| ImageError::Document {
            what: what(),
            source,
        };
        let config = ImageConfig::parse(&image.config).map_err(refuse)?;
        let (diff_ids, layers) = (config.rootfs.diff_ids.len(), image.layers.len());
        if diff_ids != layers {
            return Err(refuse(types::image::ImageError::LayerCount {
                diff_ids,
                layers,
            }));
        }
        if !config.os.is_empty() && config.os != "linux" {
            return Err(ImageError::OtherSystem { os: config.os });
        }
        let store = self.lease.store();
        let mut records: BTreeMap<&Digest, BlobRecord> = BTreeMap::new();
        for (diff_id, name) in config.rootfs.diff_ids.iter().zip(&image.layers) {
            if !records.contains_key(diff_id) {
                records.insert(diff_id, self.load_layer(diff_id, name)?);
            }
        }
        let layers = config.rootfs.diff_ids.iter();
        let layers = layers
            .map(|id| (id.clone(), records.get(id).cloned()))
            .collect();
        let manifest = match &image.manifest {
            Some((name, media_type)) => Some(self.keep(name, media_type)?),
            None => None,
        };
        let id = store.put_blob(self.lease, &image.config)?;
        let new = new_image(id.clone(), &config, manifest, Vec::new(), layers, store)?;
        store.record_image(self.lease, new)?;
        sys::fail::point("engine.load.recorded");
        Ok(id)
    }

    fn load_layer(&self, diff_id: &Digest, name: &str) -> Result<BlobRecord> {
        let file = self.members.get(name)?;
        let store = self.lease.store();
        let id = diff_id.short().to_owned();
        let record = BlobRecord {
            digest: file.digest().clone(),
            size: file.size(),
            media_type: layer_media_type(file)?.to_owned(),
        };
        let tell = |progress| {
            self.observer.event(Event::Layer {
                id: id.clone(),
                progress,
            })
        };
        match store.claim_layer(self.lease, diff_id)? {
            LayerClaim::Ready(_) => tell(LayerProgress::Exists),
            LayerClaim::Work(work) => {
                let report = fill_layer(file.open()?, &work, &id)?;
                file.publish(self.lease)?;
                sys::fail::point("engine.load.layer");
                work.finish(&report, Some(record.clone())).publish()?;
                tell(LayerProgress::Complete);
            }
        }
        Ok(record)
    }

    fn keep(&self, name: &str, media_type: &str) -> Result<BlobRecord> {
        let file = self.members.get(name)?;
        file.publish(self.lease)?;
        let (digest, size) = (file.digest().clone(), file.size());
        Ok(BlobRecord {
            digest,
            size,
            media_type: media_type.to_owned(),
        })
    }

    fn name(&self, id: Digest, names: &[Reference]) -> Result<LoadedImage> {
        let store = self.lease.store();
        let lock = store.lock_images()?;
        let mut renamed = Vec::new();
        for name in names {
            match store.replaced_reference(name)? {
                Some(old) if old.image == id => continue,
                Some(old) => renamed.push((name.clone(), old.image)),
                None => {}
            }
            store.set_reference(&lock, name, &id, None)?;
        }
        if store.names_of(&id)?.is_empty() {
            store.keep_untagged(&lock, &id)?;
        }
        Ok(LoadedImage {
            id,
            names: names.to_vec(),
            renamed,
        })
    }
}

/// Reads a name of an archive, which must have a tag.
pub(super) fn parse_name(text: &str) -> Result<Reference> {
    Reference::parse_normalized(text)
        .map(Reference::with_default_tag)
        .map_err(|source| ImageError::Reference {
            text: text.chars().take(NAME_SHOWN_MAX).collect(),
            source,
        })
}

/// The name that an index gives an image: in full, or nothing where it is only a tag.
fn name_of(entry: &Descriptor) -> Result<Option<Reference>> {
    // Tools differ: `latest`, `name:latest` and `host/name:latest` all occur. A bare tag names nothing.
    let reference = entry.annotations.get(REF_ANNOTATION);
    let text = match entry.annotations.get(NAME_ANNOTATION) {
        Some(name) => name,
        None => match reference.filter(|name| name.contains([':', '/'])) {
            Some(name) => name,
            None => return Ok(None),
        },
    };
    let name = parse_name(text)?;
    match name.digest() {
        Some(digest) if *digest != entry.digest => {
            let text = text.chars().take(NAME_SHOWN_MAX).collect();
            Err(ImageError::NameWithDigest { text })
        }
        _ => Ok(Some(name)),
    }
}

fn blob_name(digest: &Digest) -> String {
    format!("blobs/{}/{}", digest.algorithm().name(), digest.hex())
}

fn check_blob(file: &StagedBlob, descriptor: &Descriptor) -> Result<()> {
    let what = format!("blob {} of the archive", descriptor.digest.short());
    if *file.digest() != descriptor.digest {
        let (expected, actual) = (descriptor.digest.clone(), file.digest().clone());
        return Err(ImageError::DigestMismatch {
            what,
            expected,
            actual,
        });
    }
    if file.size() != descriptor.size {
        let (expected, actual) = (descriptor.size, file.size());
        return Err(storage::StorageError::SizeMismatch {
            what,
            expected,
            actual,
        }
        .into());
    }
    Ok(())
}

/// What a layer's file really is, whatever it is called.
fn layer_media_type(file: &StagedBlob) -> Result<&'static str> {
    use storage::compression::Compression;
    let mut start = [0; 8];
    let count = file
        .open()?
        .read(&mut start)
        .map_err(|source| ImageError::Source { source })?;
    Ok(match Compression::detect(&start[..count]) {
        Compression::Gzip => MEDIA_OCI_LAYER_GZIP,
        Compression::Zstd => MEDIA_OCI_LAYER_ZSTD,
        _ => MEDIA_OCI_LAYER,
    })
}
