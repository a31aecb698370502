//! A manifest for an image that was made here, and compressed archives of its layers.
//!
//! A layer is compressed when it is first pushed, always to the same bytes, and the archive is checked
//! against the diff id before anybody gets it. It is kept as a blob and noted with the layer and the
//! image: the next push of any image with that layer sends the same bytes and finds them there.

use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};
use storage::blobs::{Hasher, digest_of};
use storage::compression::{Compression, Encoder};
use storage::images::{BlobRecord, ImageRecord, LayerRecord};
use storage::layer::pack::pack_tree;
use storage::lease::Lease;
use sys::rootfs::Dir;
use types::digest::{Algorithm, Digest};
use types::image::{
    MEDIA_OCI_CONFIG, MEDIA_OCI_LAYER_GZIP, MEDIA_OCI_LAYER_ZSTD, MEDIA_OCI_MANIFEST,
};

use super::plan::{Paper, Plan, add};
use crate::image::error::{ImageError, Result};
use crate::image::parallel::in_parallel;
use crate::image::save::pack_options;
use crate::observer::{Event, Observer, PushProgress};

/// Compressing is work for a processor each.
const PARALLEL_LAYERS: usize = 4;
const COPY_BUFFER_BYTES: usize = 256 << 10;
/// Enough to tell a compression by.
const START_BYTES: u64 = 6;

/// Makes what is missing and the manifest, and notes them with the image.
pub(super) fn make(
    lease: &Lease,
    mut image: ImageRecord,
    compression: Compression,
    observer: &dyn Observer,
) -> Result<Plan> {
    let store = lease.store();
    let made = archives(lease, &image.layers, compression, observer)?;
    for (layer, blob) in image.layers.iter_mut().zip(made) {
        layer.blob = Some(blob);
    }
    let config_size = store.blob_size(&image.id)?;
    let bytes = manifest(&image.id, config_size, &image.layers)?;
    let digest = store.put_blob(lease, &bytes)?;
    let record = BlobRecord {
        digest: digest_of(&bytes),
        size: bytes.len() as u64,
        media_type: MEDIA_OCI_MANIFEST.to_owned(),
    };
    if image.manifest.as_ref() != Some(&record) {
        image.manifest = Some(record);
        // An index of before has another manifest in it.
        image.other_blobs.clear();
        store.update_image(lease, &image)?;
        sys::fail::point("engine.push.recorded");
    }
    Ok(plan(bytes, digest, &image.id, config_size, &image.layers))
}

/// Makes what stands in a registry for layers that are no image: compressed archives, a manifest, and
/// `config` between them.
pub(crate) fn artifact(
    lease: &Lease,
    config: &[u8],
    diff_ids: &[Digest],
    compression: Compression,
    observer: &dyn Observer,
) -> Result<Plan> {
    let store = lease.store();
    let bare = |diff_id: &Digest| LayerRecord {
        diff_id: diff_id.clone(),
        blob: None,
        size_bytes: 0,
    };
    let mut layers: Vec<LayerRecord> = diff_ids.iter().map(bare).collect();
    let made = archives(lease, &layers, compression, observer)?;
    for (layer, blob) in layers.iter_mut().zip(made) {
        layer.blob = Some(blob);
    }
    let (id, size) = (store.put_blob(lease, config)?, config.len() as u64);
    let bytes = manifest(&id, size, &layers)?;
    let digest = store.put_blob(lease, &bytes)?;
    Ok(plan(bytes, digest, &id, size, &layers))
}

/// Compressed archives of layers, in their order.
fn archives(
    lease: &Lease,
    layers: &[LayerRecord],
    compression: Compression,
    observer: &dyn Observer,
) -> Result<Vec<BlobRecord>> {
    let slots: Vec<Mutex<Option<BlobRecord>>> = layers.iter().map(|_| Mutex::default()).collect();
    let first = |at: usize| {
        let same = |other: &LayerRecord| other.diff_id == layers[at].diff_id;
        layers.iter().position(same).unwrap_or(at)
    };
    // The same layer twice is made by the first of its jobs alone.
    let jobs: Vec<usize> = (0..layers.len()).filter(|at| first(*at) == *at).collect();
    in_parallel(PARALLEL_LAYERS, &jobs, |&at, stop| {
        let blob = archive(lease, &layers[at], compression, observer, stop)?;
        *locked(&slots[at]) = Some(blob);
        Ok(())
    })?;
    let made = (0..layers.len()).filter_map(|at| locked(&slots[first(at)]).clone());
    Ok(made.collect())
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What is sent of a manifest.
fn plan(
    bytes: Vec<u8>,
    digest: Digest,
    config: &Digest,
    config_size: u64,
    layers: &[LayerRecord],
) -> Plan {
    let mut plan = Plan::of(Paper {
        digest,
        media_type: MEDIA_OCI_MANIFEST.to_owned(),
        bytes,
    });
    add(&mut plan, config.clone(), config_size, None);
    for layer in layers {
        if let Some(blob) = &layer.blob {
            let shown = Some(layer.diff_id.short().to_owned());
            add(&mut plan, blob.digest.clone(), blob.size, shown);
        }
    }
    plan
}

fn manifest(config: &Digest, config_size: u64, layers: &[LayerRecord]) -> Result<Vec<u8>> {
    let blobs = layers.iter().filter_map(|layer| layer.blob.as_ref());
    let layers: Vec<Value> = blobs
        .map(|blob| {
            json!({ "mediaType": blob.media_type, "digest": blob.digest, "size": blob.size })
        })
        .collect();
    let document = json!({
        "schemaVersion": 2,
        "mediaType": MEDIA_OCI_MANIFEST,
        "config": { "mediaType": MEDIA_OCI_CONFIG, "digest": config, "size": config_size },
        "layers": layers,
    });
    let what = "a manifest";
    serde_json::to_vec(&document).map_err(|source| ImageError::Encode { what, source })
}

/// The compressed archive of a layer: as it is kept, else made.
fn archive(
    lease: &Lease,
    layer: &LayerRecord,
    compression: Compression,
    observer: &dyn Observer,
    stop: &AtomicBool,
) -> Result<BlobRecord> {
    let store = lease.store();
    lease.need(&layer.diff_id)?;
    let noted = match store.find_layer(&layer.diff_id)? {
        Some(id) => store.layer_info(&id)?.and_then(|info| info.archive),
        None => None,
    };
    let mut plain = None;
    for blob in layer.blob.iter().cloned().chain(noted) {
        lease.need(&blob.digest)?;
        if !store.has_blob(&blob.digest) {
            continue;
        }
        let mut start = Vec::new();
        let file = store.open_blob(&blob.digest)?;
        file.take(START_BYTES)
            .read_to_end(&mut start)
            .map_err(|source| ImageError::Source { source })?;
        match media_type(Compression::detect(&start)) {
            Some(media_type) => {
                let media_type = media_type.to_owned();
                return Ok(BlobRecord { media_type, ..blob });
            }
            None => plain = Some(blob),
        }
    }
    observer.event(Event::Push {
        id: layer.diff_id.short().to_owned(),
        progress: PushProgress::Packing,
    });
    let packed = pack(lease, &layer.diff_id, plain.as_ref(), compression, stop)?;
    sys::fail::point("engine.push.packed");
    store.remember_archive(&layer.diff_id, &packed)?;
    sys::fail::point("engine.push.remembered");
    Ok(packed)
}

/// What a manifest calls a layer so compressed; `None` for what is not, or not so that registries'
/// clients understand it.
fn media_type(compression: Compression) -> Option<&'static str> {
    match compression {
        Compression::Gzip => Some(MEDIA_OCI_LAYER_GZIP),
        Compression::Zstd => Some(MEDIA_OCI_LAYER_ZSTD),
        Compression::None | Compression::Bzip2 | Compression::Xz => None,
    }
}

fn pack(
    lease: &Lease,
    diff_id: &Digest,
    plain: Option<&BlobRecord>,
    compression: Compression,
    stop: &AtomicBool,
) -> Result<BlobRecord> {
    let store = lease.store();
    let sink = |source| ImageError::Sink { source };
    let writer = store.blob_writer(lease, Algorithm::Sha256)?;
    let mut both = Both {
        encoder: Encoder::new(compression, writer).map_err(sink)?,
        hasher: Hasher::new(diff_id.algorithm()),
        stop,
    };
    // A kept archive that is its own diff id is the layer; any other is packed as it is unpacked.
    match plain.filter(|blob| blob.digest == *diff_id) {
        Some(blob) => {
            let mut file = store.open_blob(&blob.digest)?;
            let mut buffer = vec![0; COPY_BUFFER_BYTES];
            loop {
                let count = file
                    .read(&mut buffer)
                    .map_err(|source| ImageError::Source { source })?;
                if count == 0 {
                    break;
                }
                both.write_all(&buffer[..count]).map_err(sink)?;
            }
        }
        None => {
            let missing = || storage::StorageError::NoSuchLayer {
                diff_id: diff_id.clone(),
            };
            let id = store.find_layer(diff_id)?.ok_or_else(missing)?;
            let layer = Dir::open(&store.layer_path(&id)).map_err(sys::SysError::from)?;
            pack_tree(layer.as_fd(), b"", &mut both, &pack_options()).map_err(|source| {
                ImageError::Pack {
                    id: diff_id.short().to_owned(),
                    source,
                }
            })?;
        }
    }
    let actual = both.hasher.finish();
    if actual != *diff_id {
        let diff_id = diff_id.clone();
        return Err(ImageError::NotReproducible { diff_id, actual });
    }
    let writer = both.encoder.finish().map_err(sink)?;
    let size = writer.size();
    let digest = writer.digest();
    writer.commit(&digest, Some(size))?;
    let media_type = media_type(compression).unwrap_or(types::image::MEDIA_OCI_LAYER);
    Ok(BlobRecord {
        digest,
        size,
        media_type: media_type.to_owned(),
    })
}

/// Compresses what is written, and hashes it before.
struct Both<'a, W: Write> {
    encoder: Encoder<W>,
    hasher: Hasher,
    stop: &'a AtomicBool,
}

impl<W: Write> Write for Both<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if self.stop.load(Ordering::Relaxed) {
            return Err(std::io::Error::other(ImageError::GivenUp));
        }
        let count = self.encoder.write(bytes)?;
        self.hasher.update(&bytes[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.encoder.flush()
    }
}
