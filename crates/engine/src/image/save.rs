//! `save`: images as one archive, as Docker writes it since 25: an OCI layout with the old index.
//!
//! ```text
//! blobs/sha256/…   manifests, configurations, layers
//! index.json       OCI: a manifest per name, the name in its annotations
//! manifest.json    Docker: configuration, names and layers per image
//! oci-layout
//! repositories     Docker before 1.10
//! ```
//! The same images give the same bytes: members are sorted and bear no time. Layers are written as
//! they came; one that was made here is packed, and the result must be its diff id.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::os::fd::AsFd;

use serde_json::{Value, json};
use storage::blobs::{StagedBlob, digest_of};
use storage::images::{BlobRecord, ImageRecord};
use storage::layer::pack::{Mounts, PackMode, PackOptions, pack_tree};
use storage::lease::Lease;
use storage::refs::Target;
use storage::store::Store;
use storage::tar::{Entry, Kind, TarWriter};
use sys::rootfs::Dir;
use types::digest::{Algorithm, Digest};
use types::image::{
    Document, MANIFEST_BYTES_MAX, MEDIA_OCI_CONFIG, MEDIA_OCI_INDEX, MEDIA_OCI_LAYER,
    MEDIA_OCI_MANIFEST,
};
use types::platform::Platform;
use types::reference::Reference;

use super::ImageContext;
use super::error::{ImageError, Result};
use crate::observer::{Event, Observer};

const COPY_BUFFER_BYTES: usize = 256 << 10;
const FILE_MODE: u32 = 0o644;
const DIRECTORY_MODE: u32 = 0o755;

/// How to save.
#[derive(Clone, Debug, Default)]
pub struct SaveOptions {
    /// `--platform`: the images must be for it.
    pub platform: Option<Platform>,
    /// The manifest to write of the one image, where it is not the one that names of it mean.
    pub manifest: Option<Target>,
}

/// Writes the images that `names` mean. A name without a tag means all tags of its repository.
///
/// # Errors
/// `No such image` (before anything is written), or the sink's answer.
pub fn save(
    context: &ImageContext<'_>,
    names: &[String],
    options: &SaveOptions,
    sink: impl Write,
    observer: &dyn Observer,
) -> Result<()> {
    let lease = context.store().lease()?;
    let images = choose(context, &lease, names, options)?;
    let mut archive = Archive {
        lease: &lease,
        blobs: BTreeMap::new(),
    };
    let mut entries = Vec::with_capacity(images.len());
    let ids: Vec<Digest> = images.iter().map(|(image, _)| image.id.clone()).collect();
    for (mut image, names) in images {
        if let Some(target) = &options.manifest {
            mean(context.store(), &mut image, target);
        }
        entries.push(archive.add(image, names)?);
    }
    let documents = [
        ("index.json", index(&entries)),
        ("manifest.json", manifest_json(&entries)),
        oci_layout(),
        ("repositories", repositories(&entries)),
    ];
    archive.write(&documents, sink, observer)?;
    for id in ids {
        context.announce("save", &id, &id.to_string());
    }
    Ok(())
}

/// An index to write, what names it, and what is said where it is named.
pub(crate) struct SavedIndex<'a> {
    pub(crate) target: &'a Target,
    pub(crate) names: &'a [Reference],
    pub(crate) annotations: &'a BTreeMap<String, String>,
}

/// Writes an OCI layout of an index whose images are all here, and what they consist of: as it would stand in
/// a registry. There is no old index beside it, which has no word for platforms.
pub(crate) fn save_index(
    lease: &Lease,
    index: &SavedIndex<'_>,
    sink: impl Write,
    observer: &dyn Observer,
) -> Result<()> {
    let SavedIndex { target, names, .. } = *index;
    let store = lease.store();
    let read = |digest: &Digest| {
        let bytes = store.read_blob(digest, MANIFEST_BYTES_MAX as u64)?;
        Document::parse(&bytes, None).map_err(|source| ImageError::Document {
            what: format!("{digest} of the store"),
            source,
        })
    };
    let mut digests = vec![target.digest.clone()];
    if let Document::Index(index) = read(&target.digest)? {
        for entry in index.manifests {
            if let Document::Manifest(manifest) = read(&entry.digest)? {
                digests.extend(manifest.parts().map(|part| part.digest.clone()));
            }
            digests.push(entry.digest);
        }
    }
    let mut archive = Archive {
        lease,
        blobs: BTreeMap::new(),
    };
    for digest in digests {
        let size = store.blob_size(&digest)?;
        archive.blobs.insert(digest, Content::Stored(size));
    }
    let mut entry =
        json!({ "mediaType": target.media_type, "digest": target.digest, "size": target.size });
    if !index.annotations.is_empty() {
        entry["annotations"] = json!(index.annotations);
    }
    let documents = [
        ("index.json", layout_index(named(&entry, names))),
        oci_layout(),
    ];
    archive.write(&documents, sink, observer)
}

/// How a layer made here becomes an archive. Never to be changed: it decides diff ids.
pub(crate) fn pack_options() -> PackOptions {
    PackOptions {
        mode: PackMode::Overlay,
        include_root: true,
        nanoseconds: true,
        mounts: Mounts::Enter,
    }
}

/// Makes a manifest that a name means the image's own, if it is one of this image: with annotations.
fn mean(store: &Store, image: &mut ImageRecord, target: &Target) {
    let bytes = store.read_blob(&target.digest, MANIFEST_BYTES_MAX as u64);
    let document = bytes
        .ok()
        .and_then(|bytes| Document::parse(&bytes, Some(&target.media_type)).ok());
    if let Some(Document::Manifest(manifest)) = document
        && manifest.config.digest == image.id
    {
        image.manifest = Some(BlobRecord {
            digest: target.digest.clone(),
            size: target.size,
            media_type: target.media_type.clone(),
        });
    }
}

type Chosen = Vec<(ImageRecord, BTreeSet<Reference>)>;

fn choose(
    context: &ImageContext<'_>,
    lease: &Lease,
    names: &[String],
    options: &SaveOptions,
) -> Result<Chosen> {
    let store = context.store();
    let mut chosen: Chosen = Vec::new();
    let mut add = |id: &Digest, name: Option<Reference>| -> Result<()> {
        lease.need(id)?;
        let name = name.filter(|name| name.tag().is_some());
        if let Some((_, names)) = chosen.iter_mut().find(|(image, _)| image.id == *id) {
            names.extend(name);
            return Ok(());
        }
        let mut image = store.image(id)?;
        if let Some(name) = &name
            && let Some(target) = store.reference(name)?.and_then(|record| record.target)
        {
            mean(store, &mut image, &target);
        }
        let found = Platform::new(&image.os, &image.architecture, &image.variant);
        if let Some(wanted) = &options.platform
            && wanted.match_rank(&found).is_none()
        {
            return Err(ImageError::OtherPlatform {
                reference: name.map_or_else(|| id.to_string(), |name| name.familiar()),
                found: found.to_string(),
                wanted: wanted.to_string(),
            });
        }
        chosen.push((image, name.into_iter().collect()));
        Ok(())
    };
    for text in names {
        let parsed = Reference::parse_normalized(text).ok();
        let bare = parsed.filter(|name| name.tag().is_none() && name.digest().is_none());
        let mut of_repository = Vec::new();
        if let Some(bare) = bare {
            of_repository = store.references()?;
            of_repository.retain(|record| {
                let name = record.reference.as_ref();
                name.is_some_and(|name| name.tag().is_some() && name.name() == bare.name())
            });
        }
        if of_repository.is_empty() {
            let found = context.find(text)?;
            add(&found.id, found.reference)?;
        }
        for record in of_repository {
            add(&record.image, record.reference)?;
        }
    }
    Ok(chosen)
}

/// What is written under a blob's name.
enum Content {
    /// In the store.
    Stored(u64),
    /// Made for this archive.
    Staged(StagedBlob),
    Bytes(Vec<u8>),
}

struct Archive<'a> {
    lease: &'a Lease,
    blobs: BTreeMap<Digest, Content>,
}

/// An image as the indexes name it.
struct Saved {
    id: Digest,
    names: BTreeSet<Reference>,
    manifest: BlobRecord,
    platform: Value,
    layers: Vec<(Digest, BlobRecord)>,
}

impl Archive<'_> {
    fn add(&mut self, image: ImageRecord, names: BTreeSet<Reference>) -> Result<Saved> {
        let store = self.lease.store();
        let config_size = store.blob_size(&image.id)?;
        self.blobs
            .insert(image.id.clone(), Content::Stored(config_size));
        let mut layers = Vec::with_capacity(image.layers.len());
        let mut is_original = true;
        for layer in &image.layers {
            let blob = match &layer.blob {
                Some(blob) if store.has_blob(&blob.digest) => {
                    self.blobs
                        .insert(blob.digest.clone(), Content::Stored(blob.size));
                    blob.clone()
                }
                _ => {
                    is_original = false;
                    self.pack(&layer.diff_id)?
                }
            };
            layers.push((layer.diff_id.clone(), blob));
        }
        let original = image.manifest.clone().filter(|manifest| {
            is_original && store.has_blob(&manifest.digest) && self.is_complete(manifest)
        });
        let manifest = match original {
            Some(manifest) => {
                self.blobs
                    .insert(manifest.digest.clone(), Content::Stored(manifest.size));
                manifest
            }
            None => self.make_manifest(&image.id, config_size, &layers)?,
        };
        let mut platform = json!({ "architecture": image.architecture, "os": image.os });
        if !image.variant.is_empty() {
            platform["variant"] = image.variant.as_str().into();
        }
        Ok(Saved {
            id: image.id,
            names,
            manifest,
            platform,
            layers,
        })
    }

    /// Whether all that a manifest names is written. A layer that two images have under two
    /// digests may be here under the other one.
    fn is_complete(&self, manifest: &BlobRecord) -> bool {
        let limit = types::image::MANIFEST_BYTES_MAX as u64;
        let Ok(bytes) = self.lease.store().read_blob(&manifest.digest, limit) else {
            return false;
        };
        match types::image::Document::parse(&bytes, None) {
            Ok(types::image::Document::Manifest(manifest)) => manifest
                .layers
                .iter()
                .all(|layer| self.blobs.contains_key(&layer.digest)),
            _ => false,
        }
    }

    fn pack(&mut self, diff_id: &Digest) -> Result<BlobRecord> {
        let store = self.lease.store();
        let missing = || storage::StorageError::NoSuchLayer {
            diff_id: diff_id.clone(),
        };
        let id = store.find_layer(diff_id)?.ok_or_else(missing)?;
        let layer = Dir::open(&store.layer_path(&id)).map_err(sys::SysError::from)?;
        let mut writer = store.blob_writer(self.lease, diff_id.algorithm())?;
        pack_tree(layer.as_fd(), b"", &mut writer, &pack_options()).map_err(|source| {
            ImageError::Pack {
                id: diff_id.short().to_owned(),
                source,
            }
        })?;
        let staged = writer.stage();
        if staged.digest() != diff_id {
            let (diff_id, actual) = (diff_id.clone(), staged.digest().clone());
            return Err(ImageError::NotReproducible { diff_id, actual });
        }
        let (digest, size) = (diff_id.clone(), staged.size());
        self.blobs.insert(digest.clone(), Content::Staged(staged));
        Ok(BlobRecord {
            digest,
            size,
            media_type: MEDIA_OCI_LAYER.to_owned(),
        })
    }

    fn make_manifest(
        &mut self,
        id: &Digest,
        config_size: u64,
        layers: &[(Digest, BlobRecord)],
    ) -> Result<BlobRecord> {
        let layers: Vec<Value> = layers.iter().map(|(_, blob)| descriptor(blob)).collect();
        let bytes = encode(
            "a manifest",
            &json!({
                "schemaVersion": 2,
                "mediaType": MEDIA_OCI_MANIFEST,
                "config": { "mediaType": MEDIA_OCI_CONFIG, "digest": id, "size": config_size },
                "layers": layers,
            }),
        )?;
        let (digest, size) = (digest_of(&bytes), bytes.len() as u64);
        self.blobs.insert(digest.clone(), Content::Bytes(bytes));
        Ok(BlobRecord {
            digest,
            size,
            media_type: MEDIA_OCI_MANIFEST.to_owned(),
        })
    }

    fn write(
        &self,
        documents: &[(&str, Value)],
        sink: impl Write,
        observer: &dyn Observer,
    ) -> Result<()> {
        let failed = |source| ImageError::Sink { source };
        let mut writer = TarWriter::new(sink);
        let algorithms: BTreeSet<Algorithm> = self.blobs.keys().map(Digest::algorithm).collect();
        let mut directories = vec!["blobs/".to_owned()];
        directories.extend(
            algorithms
                .iter()
                .map(|known| format!("blobs/{}/", known.name())),
        );
        for name in directories {
            writer
                .append(&entry(&name, Kind::Directory, 0))
                .map_err(failed)?;
        }
        let mut bytes = 0;
        for (digest, content) in &self.blobs {
            let name = format!("blobs/{}/{}", digest.algorithm().name(), digest.hex());
            bytes += match content {
                Content::Bytes(data) => {
                    append(&mut writer, &name, &mut data.as_slice(), data.len() as u64)?
                }
                Content::Staged(staged) => {
                    append(&mut writer, &name, &mut staged.open()?, staged.size())?
                }
                Content::Stored(size) => {
                    let mut file = self.lease.store().open_blob(digest)?;
                    append(&mut writer, &name, &mut file, *size)?
                }
            };
            observer.event(Event::Archive { bytes });
        }
        for (name, value) in documents {
            let data = encode("an index", value)?;
            append(&mut writer, name, &mut data.as_slice(), data.len() as u64)?;
        }
        writer
            .finish()
            .and_then(|mut sink| sink.flush())
            .map_err(failed)
    }
}

fn entry(name: &str, kind: Kind, size: u64) -> Entry {
    let mode = if kind == Kind::Directory {
        DIRECTORY_MODE
    } else {
        FILE_MODE
    };
    Entry {
        path: name.as_bytes().to_vec(),
        kind,
        mode,
        size,
        ..Entry::default()
    }
}

fn append<W: Write>(
    writer: &mut TarWriter<W>,
    name: &str,
    source: &mut dyn Read,
    size: u64,
) -> Result<u64> {
    writer
        .append(&entry(name, Kind::File, size))
        .map_err(|source| ImageError::Sink { source })?;
    let mut buffer = vec![0; COPY_BUFFER_BYTES];
    loop {
        let count = source
            .read(&mut buffer)
            .map_err(|source| ImageError::Source { source })?;
        if count == 0 {
            break;
        }
        let written = writer.write_data(&buffer[..count]);
        written.map_err(|source| ImageError::Sink { source })?;
    }
    if writer.data_left() > 0 {
        let (what, actual) = (name.to_owned(), size - writer.data_left());
        return Err(storage::StorageError::SizeMismatch {
            what,
            expected: size,
            actual,
        }
        .into());
    }
    Ok(size)
}

fn descriptor(blob: &BlobRecord) -> Value {
    json!({ "mediaType": blob.media_type, "digest": blob.digest, "size": blob.size })
}

fn index(images: &[Saved]) -> Value {
    let mut manifests = Vec::new();
    for image in images {
        let mut entry = descriptor(&image.manifest);
        entry["platform"] = image.platform.clone();
        manifests.extend(named(&entry, &image.names));
    }
    layout_index(manifests)
}

/// An entry for each name, or one without.
fn named<'n>(entry: &Value, names: impl IntoIterator<Item = &'n Reference>) -> Vec<Value> {
    let with_name = |name: &Reference| {
        let mut named = entry.clone();
        named["annotations"]["io.containerd.image.name"] = name.canonical().into();
        named["annotations"]["org.opencontainers.image.ref.name"] = name.tag().into();
        named
    };
    let named: Vec<Value> = names.into_iter().map(with_name).collect();
    match named.is_empty() {
        true => vec![entry.clone()],
        false => named,
    }
}

fn layout_index(manifests: Vec<Value>) -> Value {
    json!({ "schemaVersion": 2, "mediaType": MEDIA_OCI_INDEX, "manifests": manifests })
}

fn oci_layout() -> (&'static str, Value) {
    ("oci-layout", json!({ "imageLayoutVersion": "1.0.0" }))
}

fn manifest_json(images: &[Saved]) -> Value {
    let path = |digest: &Digest| format!("blobs/{}/{}", digest.algorithm().name(), digest.hex());
    let entry = |image: &Saved| {
        let names: Vec<String> = image.names.iter().map(Reference::familiar).collect();
        let layers: Vec<String> = image
            .layers
            .iter()
            .map(|(_, blob)| path(&blob.digest))
            .collect();
        let sources: serde_json::Map<String, Value> = image
            .layers
            .iter()
            .map(|(diff_id, blob)| (diff_id.to_string(), descriptor(blob)))
            .collect();
        json!({
            "Config": path(&image.id),
            "RepoTags": if names.is_empty() { Value::Null } else { names.into() },
            "Layers": layers,
            "LayerSources": sources,
        })
    };
    images.iter().map(entry).collect()
}

fn repositories(images: &[Saved]) -> Value {
    let mut repositories: BTreeMap<String, BTreeMap<&str, &str>> = BTreeMap::new();
    for image in images {
        let top = image
            .layers
            .last()
            .map_or(image.id.hex(), |(_, blob)| blob.digest.hex());
        for name in &image.names {
            let tags = repositories.entry(name.familiar_name()).or_default();
            tags.insert(name.tag().unwrap_or_default(), top);
        }
    }
    json!(repositories)
}

fn encode(what: &'static str, value: &Value) -> Result<Vec<u8>> {
    serde_json::to_vec(value).map_err(|source| ImageError::Encode { what, source })
}
