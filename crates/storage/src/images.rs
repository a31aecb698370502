//! What `run` needs of an image, in one small file.
//!
//! `images/<hex of the id>` is made when an image arrives: which directories to mount, the
//! configuration of its process, sizes for lists, and which blobs and layers belong to it. It is
//! derived: everything in it follows from the blobs. An image exists for users if a reference leads
//! to it (see `refs`); a record that nothing leads to is garbage.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::path::PathBuf;

use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use sys::{Context, SysError};
use types::digest::Digest;

use crate::chain::ChainLink;
use crate::error::{Result, StorageError};
use crate::layers::LayerId;
use crate::lease::Lease;
use crate::store::{Documents, Store, encode, random_name, read_document, sync_directory};

const RECORD_BYTES_MAX: u64 = 16 << 20;
/// A config names at most some hundred layers and history entries.
pub const CONFIG_BYTES_MAX: u64 = 8 << 20;

/// A blob that belongs to an image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlobRecord {
    /// Its digest.
    pub digest: Digest,
    /// Its length.
    pub size: u64,
    /// Its media type.
    pub media_type: String,
}

/// A layer of an image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerRecord {
    /// Digest of the uncompressed archive.
    pub diff_id: Digest,
    /// The archive as it came or as it was first saved; `None` where it was made here and not yet
    /// needed as an archive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blob: Option<BlobRecord>,
    /// Bytes of its files.
    #[serde(default)]
    pub size_bytes: u64,
}

/// An image, as `run` and `images` need it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ImageRecord {
    version: u32,
    /// The digest of its config, by which people know it.
    pub id: Digest,
    /// The manifest that it came with; `None` where it came without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manifest: Option<BlobRecord>,
    /// Other blobs that belong to it, such as the index that its manifest was found in.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub other_blobs: Vec<Digest>,
    /// Its layers, lowest first.
    pub layers: Vec<LayerRecord>,
    /// The directories to mount, topmost first.
    pub lowers: Vec<LayerId>,
    /// Bytes of all its layers' files.
    pub size_bytes: u64,
    /// Operating system.
    pub os: String,
    /// Processor.
    pub architecture: String,
    /// Variant of the processor; may be empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub variant: String,
    /// When it was made, RFC 3339; may be empty.
    #[serde(default)]
    pub created: String,
    /// The member `config` of its config: environment, command, user and so on, as given.
    pub config: serde_json::Value,
}

/// What lists show of an image: a part of its [`ImageRecord`], read without the rest.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct ImageSummary {
    /// See [`ImageRecord::id`].
    pub id: Digest,
    /// See [`ImageRecord::size_bytes`].
    pub size_bytes: u64,
    /// See [`ImageRecord::created`].
    #[serde(default)]
    pub created: String,
    /// Null where its config has none.
    config: Option<SummaryConfig>,
}

impl ImageSummary {
    /// Its labels.
    pub fn labels(&self) -> BTreeMap<String, String> {
        let labels = self
            .config
            .as_ref()
            .and_then(|config| config.labels.as_object());
        let labels = labels.into_iter().flatten();
        let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
        labels
            .map(|(key, value)| (key.clone(), text(value)))
            .collect()
    }
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
struct SummaryConfig {
    #[serde(default, rename = "Labels")]
    labels: serde_json::Value,
}

/// What an image is recorded from.
#[derive(Clone, Debug)]
pub struct NewImage {
    /// See [`ImageRecord::id`].
    pub id: Digest,
    /// See [`ImageRecord::manifest`].
    pub manifest: Option<BlobRecord>,
    /// See [`ImageRecord::other_blobs`].
    pub other_blobs: Vec<Digest>,
    /// Diff ids and archives, lowest first.
    pub layers: Vec<(Digest, Option<BlobRecord>)>,
    /// See [`ImageRecord::os`].
    pub os: String,
    /// See [`ImageRecord::architecture`].
    pub architecture: String,
    /// See [`ImageRecord::variant`].
    pub variant: String,
    /// See [`ImageRecord::created`].
    pub created: String,
    /// See [`ImageRecord::config`].
    pub config: serde_json::Value,
}

impl Store {
    /// The record of an image.
    ///
    /// # Errors
    /// `No such image`, or where it cannot be read.
    pub fn image(&self, id: &Digest) -> Result<ImageRecord> {
        found(read_document(&self.image_path(id), RECORD_BYTES_MAX), id)
    }

    /// Of many images what lists show: their directory is looked up once.
    ///
    /// # Errors
    /// Where it cannot be opened.
    pub fn image_summaries(&self) -> Result<ImageSummaries> {
        Documents::open(self.path("images"), RECORD_BYTES_MAX).map(ImageSummaries)
    }

    /// The directories to mount for an image: absolute, topmost first.
    ///
    /// # Errors
    /// As [`Self::image`].
    pub fn mount_plan(&self, id: &Digest) -> Result<Vec<PathBuf>> {
        Ok(self.lower_paths(&self.image(id)?))
    }

    /// [`Self::mount_plan`] for a record at hand.
    pub fn lower_paths(&self, image: &ImageRecord) -> Vec<PathBuf> {
        image.lowers.iter().map(|id| self.layer_path(id)).collect()
    }

    /// The bytes of an image's config.
    ///
    /// # Errors
    /// Where it is not here.
    pub fn image_config(&self, id: &Digest) -> Result<Vec<u8>> {
        self.read_blob(id, CONFIG_BYTES_MAX)
    }

    /// Records an image whose config and layers are here. The caller then sets a reference.
    ///
    /// # Errors
    /// Where a layer is missing or cannot be fitted to those below it, or the disk's answer.
    pub fn record_image(&self, lease: &Lease, new: NewImage) -> Result<ImageRecord> {
        lease.need(&new.id)?;
        let chain: Vec<ChainLink<'_>> = new
            .layers
            .iter()
            .map(|(diff_id, blob)| ChainLink {
                diff_id,
                blob: blob.as_ref().map(|blob| &blob.digest),
            })
            .collect();
        let lowers = self.stack(lease, &chain)?;
        let mut layers = Vec::with_capacity(new.layers.len());
        for (diff_id, blob) in new.layers {
            let missing = || StorageError::NoSuchLayer {
                diff_id: diff_id.clone(),
            };
            let id = self.find_layer(&diff_id)?.ok_or_else(missing)?;
            let info = self.layer_info(&id)?.ok_or_else(missing)?;
            let blob = blob
                .filter(|blob| self.has_blob(&blob.digest))
                .or(info.archive);
            layers.push(LayerRecord {
                diff_id,
                blob,
                size_bytes: info.size_bytes,
            });
        }
        let record = ImageRecord {
            version: 1,
            size_bytes: layers.iter().map(|layer| layer.size_bytes).sum(),
            id: new.id,
            manifest: new.manifest,
            other_blobs: new.other_blobs,
            layers,
            lowers,
            os: new.os,
            architecture: new.architecture,
            variant: new.variant,
            created: new.created,
            config: new.config,
        };
        // One that is there already costs no sync.
        if self.image(&record.id).ok().as_ref() != Some(&record) {
            self.write_image(lease, &record)?;
        }
        Ok(record)
    }

    /// Puts a record in the place of the one that is there, with more known of the same image.
    ///
    /// # Errors
    /// The disk's answer.
    pub fn update_image(&self, lease: &Lease, record: &ImageRecord) -> Result<()> {
        self.write_image(lease, record)
    }

    /// Writes the record of an image, also in place of another one. Two commands may write the same
    /// at once, so the new file lies with the lease and not beside the old one.
    fn write_image(&self, lease: &Lease, record: &ImageRecord) -> Result<()> {
        let bytes = encode("an image", record)?;
        let temporary = lease
            .temporary()
            .path()
            .join(format!("image-{}", random_name()));
        let target = self.image_path(&record.id);
        let mut file = File::create_new(&temporary).on("create", temporary.display())?;
        file.write_all(&bytes).on("write", temporary.display())?;
        file.sync_data().on("sync", temporary.display())?;
        sys::fail::result("storage.image.written")?;
        std::fs::rename(&temporary, &target).on("rename", target.display())?;
        sys::fail::point("storage.image.recorded");
        sync_directory(&self.path("images"))
    }

    /// The ids of all records, whether a reference leads to them or not.
    pub(crate) fn recorded_images(&self) -> Result<Vec<Digest>> {
        let directory = self.path("images");
        let mut ids = Vec::new();
        for entry in std::fs::read_dir(&directory).on("list", directory.display())? {
            let name = entry.on("list", directory.display())?.file_name();
            let id = name
                .to_str()
                .and_then(|name| Digest::parse(&name.replace('-', ":")).ok());
            ids.extend(id);
        }
        Ok(ids)
    }

    pub(crate) fn remove_image_record(&self, id: &Digest) -> Result<()> {
        let path = self.image_path(id);
        match rustix::fs::unlink(&path) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(errno) => Err(SysError::new("remove", path.display().to_string(), errno).into()),
        }
    }

    fn image_path(&self, id: &Digest) -> PathBuf {
        self.path("images").join(file_name(id))
    }
}

/// The directory of records. See [`Store::image_summaries`].
#[derive(Debug)]
pub struct ImageSummaries(Documents);

impl ImageSummaries {
    /// As [`Store::image`].
    ///
    /// # Errors
    /// As [`Store::image`].
    pub fn read(&mut self, id: &Digest) -> Result<ImageSummary> {
        found(self.0.read(file_name(id).as_ref()), id)
    }
}

fn file_name(id: &Digest) -> String {
    format!("{}-{}", id.algorithm().name(), id.hex())
}

fn found<T>(record: Result<Option<T>>, id: &Digest) -> Result<T> {
    let record = record.map_err(|error| match error {
        StorageError::Damaged { path, source } => StorageError::DamagedImage {
            id: id.clone(),
            path,
            source,
        },
        other => other,
    })?;
    record.ok_or_else(|| StorageError::NoSuchImage {
        name: id.to_string(),
    })
}
