//! `import`: the tar of a root file system becomes an image of one layer.
//!
//! The archive is unpacked and not kept. The layer's diff id is that of our own archive of it, which
//! `save` makes again, byte for byte, when it is needed.

use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use storage::blobs::Hasher;
use storage::images::{BlobRecord, NewImage};
use storage::layer::pack::pack_tree;
use storage::layer::unpack::UnpackReport;
use storage::layers::LayerClaim;
use storage::lease::Lease;
use storage::store::Store;
use sys::Context;
use sys::rootfs::Dir;
use types::digest::{Algorithm, Digest};
use types::image::{ContainerDefaults, HistoryEntry, ImageConfig, RootFs};
use types::platform::Platform;
use types::reference::Reference;
use types::timestamp::Timestamp;

use super::ImageContext;
use super::changes;
use super::error::{ImageError, Result};
use super::ingest::unpack_archive;
use super::pull::new_image;
use super::save::pack_options;

/// What the image shall be.
#[derive(Clone, Debug, Default)]
pub struct ImportOptions {
    /// Its name; without a tag that is `latest`.
    pub reference: Option<Reference>,
    /// `--change`, an instruction each.
    pub changes: Vec<String>,
    /// `--message`; empty: where it came from.
    pub message: String,
    /// `--platform`; the host's by default.
    pub platform: Option<Platform>,
    /// What the archive is called in the default message: a path, an address, or `-`.
    pub source: String,
    /// When the image shall have been made; now, if nothing is said.
    pub created: Option<Timestamp>,
}

/// Imports an archive, compressed in any way we know, and returns the image's id.
///
/// # Errors
/// An archive that is none, an instruction that is none, or the disk's answer.
pub fn import(
    context: &ImageContext<'_>,
    source: impl Read + Send,
    options: &ImportOptions,
) -> Result<Digest> {
    let mut defaults = ContainerDefaults::default();
    changes::apply(&mut defaults, &options.changes)?;
    if options
        .reference
        .as_ref()
        .is_some_and(|reference| reference.digest().is_some())
    {
        return Err(ImageError::TagWithDigest);
    }
    let store = context.store();
    let lease = store.lease()?;
    let diff_id = import_layer(&lease, source)?;
    sys::fail::point("engine.import.unpacked");
    let platform = options
        .platform
        .clone()
        .unwrap_or_else(Platform::host)
        .normalised();
    let created = options.created.unwrap_or_else(Timestamp::now).rfc3339();
    let comment = match options.message.as_str() {
        "" => format!("Imported from {}", options.source),
        message => message.to_owned(),
    };
    let config = ImageConfig {
        architecture: platform.architecture,
        os: platform.os,
        variant: platform.variant,
        created: Some(created.clone()),
        config: defaults,
        rootfs: RootFs {
            diff_ids: vec![diff_id.clone()],
            ..RootFs::default()
        },
        history: vec![HistoryEntry {
            created: Some(created),
            comment,
            ..HistoryEntry::default()
        }],
        ..ImageConfig::default()
    };
    let id = record(&lease, &config, vec![(diff_id, None)])?;
    sys::fail::point("engine.import.recorded");
    name(store, &id, options.reference.as_ref())?;
    if let Some(reference) = options.reference.clone() {
        context.announce("tag", &id, &reference.with_default_tag().familiar());
    }
    context.announce("import", &id, &id.to_string());
    Ok(id)
}

/// Gives an image that was made here its name, or keeps it without one.
pub(crate) fn name(store: &Store, id: &Digest, reference: Option<&Reference>) -> Result<()> {
    let lock = store.lock_images()?;
    match reference {
        Some(reference) => {
            let reference = reference.clone().with_default_tag();
            store.set_reference(&lock, &reference, id, None)?;
        }
        None => store.keep_untagged(&lock, id)?,
    }
    Ok(())
}

/// Starts the download of an archive for [`import`].
///
/// # Errors
/// Where nobody answers, or not with success.
pub fn download(context: &ImageContext<'_>, url: &str) -> Result<Box<dyn Read + Send>> {
    Ok(context.client().download(url)?.1)
}

/// Layers of an image, lowest first: diff ids and the archives that are there already.
pub(crate) type Layers = Vec<(Digest, Option<BlobRecord>)>;

/// Records an image made here, whose layers are in the store.
pub(crate) fn record(lease: &Lease, config: &ImageConfig, layers: Layers) -> Result<Digest> {
    let store = lease.store();
    let bytes = serde_json::to_vec(config).map_err(|source| ImageError::Encode {
        what: "an image configuration",
        source,
    })?;
    let id = store.put_blob(lease, &bytes)?;
    let mut new: NewImage = new_image(id.clone(), config, None, Vec::new(), layers, store)?;
    // What is known of the same image already stays known: how it stands in a registry, what is said of it.
    if let Ok(known) = store.image(&id) {
        new.manifest = known.manifest;
        new.other_blobs = known.other_blobs;
    }
    store.record_image(lease, new)?;
    Ok(id)
}

fn import_layer(lease: &Lease, source: impl Read + Send) -> Result<Digest> {
    let source = storage::compression::filled(source).map_err(|error| {
        let what = error.to_string();
        ImageError::Archive { what }
    })?;
    let path = lease.tree_path()?;
    std::fs::create_dir(&path).on("create", path.display())?;
    let mode = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(&path, mode).on("set the mode of", path.display())?;
    let root = Dir::open(&path).map_err(sys::SysError::from)?;
    let (report, archive) = unpack_archive(source, &root, Algorithm::Sha256, "of the archive")?;
    if !report.unresolved_hardlinks.is_empty() {
        return Err(storage::StorageError::DanglingHardLink { diff_id: archive }.into());
    }
    adopt_tree(lease, &path, report.bytes)
}

/// Makes a directory beneath the lease's a layer; its diff id is that of our own archive of it.
pub(crate) fn adopt_tree(lease: &Lease, path: &Path, bytes: u64) -> Result<Digest> {
    let root = Dir::open(path).map_err(sys::SysError::from)?;
    let mut sink = HashSink::new(Algorithm::Sha256);
    pack_tree(root.as_fd(), b"", &mut sink, &pack_options()).map_err(|source| {
        ImageError::Pack {
            id: "of the archive".into(),
            source,
        }
    })?;
    let diff_id = sink.finish();
    if let LayerClaim::Work(work) = lease.store().claim_layer(lease, &diff_id)? {
        work.adopt(path)?;
        // Our own archive of it describes every directory.
        let report = UnpackReport {
            bytes,
            ..UnpackReport::default()
        };
        work.finish(&report, None).publish()?;
    }
    Ok(diff_id)
}

/// Hashes what is written to it.
pub(crate) struct HashSink(Hasher);

impl HashSink {
    pub(crate) fn new(algorithm: Algorithm) -> Self {
        Self(Hasher::new(algorithm))
    }

    pub(crate) fn finish(self) -> Digest {
        self.0.finish()
    }
}

impl Write for HashSink {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
