//! Lists of manifests on disk: `manifests/<list>/<manifest>` beside Docker's configuration, each file
//! what is known of one manifest. The user's, not the store's: nothing else depends on them.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sys::Context;
use sys::atomic::{self, Durability};
use types::image::{Descriptor, INDEX_ENTRIES_MAX};
use types::reference::Reference;

use crate::image::error::{ImageError, Result};

const FILE_BYTES_MAX: u64 = 1 << 20;

/// A manifest of a list.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Entry {
    /// Where it was found.
    #[serde(rename = "Ref")]
    pub reference: Reference,
    /// What the list says of it.
    pub descriptor: Descriptor,
}

/// All lists of a user.
#[derive(Debug)]
pub struct Lists {
    directory: PathBuf,
}

/// A name as Docker makes it fit for a file.
fn file_name(reference: &Reference) -> String {
    reference.canonical().replace(':', "-").replace('/', "_")
}

impl Lists {
    /// The lists beneath this directory, which is Docker's configuration.
    pub fn new(directory: &Path) -> Self {
        Self {
            directory: directory.join("manifests"),
        }
    }

    fn place(&self, list: &Reference) -> PathBuf {
        self.directory.join(file_name(list))
    }

    /// The manifests of a list by name; none where there is no such list.
    ///
    /// # Errors
    /// Where they cannot be read.
    pub fn read(&self, list: &Reference) -> Result<Vec<Entry>> {
        let place = self.place(list);
        let files = match std::fs::read_dir(&place) {
            Ok(files) => files,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Ok(Err(error).on("list", place.display())?),
        };
        let mut entries = Vec::new();
        for file in files.take(INDEX_ENTRIES_MAX) {
            let path = file.on("list", place.display())?.path();
            let bytes = atomic::read_limited(&path, FILE_BYTES_MAX)?;
            let entry: Entry =
                types::json::read(&bytes).map_err(|source| ImageError::ArchiveJson {
                    member: path.display().to_string(),
                    source,
                })?;
            entries.push(entry);
        }
        entries.sort_by_key(|entry| entry.reference.canonical());
        Ok(entries)
    }

    /// Adds a manifest to a list, or changes it.
    ///
    /// # Errors
    /// The disk's answer.
    pub fn write(&self, list: &Reference, entry: &Entry) -> Result<()> {
        let place = self.place(list);
        std::fs::create_dir_all(&place).on("create", place.display())?;
        let what = "a manifest list";
        let bytes =
            serde_json::to_vec(entry).map_err(|source| ImageError::Encode { what, source })?;
        let path = place.join(file_name(&entry.reference));
        Ok(atomic::write(&path, &bytes, Durability::Synced)?)
    }

    /// Removes a list; whether there was one.
    ///
    /// # Errors
    /// The disk's answer.
    pub fn remove(&self, list: &Reference) -> Result<bool> {
        let place = self.place(&list.clone().with_default_tag());
        match std::fs::remove_dir_all(&place) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
            Err(error) => Ok(Err(error).on("remove", place.display())?),
        }
    }
}
