//! References: which name means which image. They are the roots of everything an image consists of.
//!
//! One small file per reference. Its name is the canonical reference with `/` as `%2F`, or a hash
//! where that would be too long for a file name; the text inside is what counts. An image without a
//! name is kept by a file `untagged%<digest>`. So an image exists for users exactly if some file
//! here leads to it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use sys::Context;
use sys::atomic::{self, Durability};
use types::digest::Digest;
use types::reference::Reference;

use crate::blobs::digest_of;
use crate::error::{Result, StorageError};
use crate::lease::ImagesLock;
use crate::store::{Documents, Store, encode, read_document, sync_directory};

const RECORD_BYTES_MAX: u64 = 64 << 10;
/// Longer names are replaced by a hash: a file name holds 255 bytes, and writing adds a suffix.
const FILE_NAME_BYTES_MAX: usize = 200;
const UNTAGGED_PREFIX: &str = "untagged%";

/// What was fetched under a reference: an index or a manifest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// Its digest.
    pub digest: Digest,
    /// Its media type.
    pub media_type: String,
    /// Its length.
    pub size: u64,
}

/// A reference and what it leads to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefRecord {
    version: u32,
    /// The canonical name with tag or digest; `None` for an image that has no name.
    pub reference: Option<Reference>,
    /// The image's id: the digest of its config.
    pub image: Digest,
    /// What was fetched, where the image came from a registry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<Target>,
    /// Where the image was fetched, as `name@digest`, if this name was given to what another name means: one
    /// image may stand in several forms in registries, and a push sends the one that was meant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<Reference>,
    /// When the name was last set, in nanoseconds since 1970.
    pub tagged_ns: i64,
}

impl RefRecord {
    /// What was fetched, and under which name, as `name@digest`.
    pub fn came_as(&self) -> Option<Reference> {
        let own = |target: &Target| {
            let name = self.reference.clone()?.without_tag_and_digest();
            Some(name.with_digest(target.digest.clone()))
        };
        self.target
            .as_ref()
            .and_then(own)
            .or_else(|| self.origin.clone())
    }
}

/// An image that a user's text led to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The image's id.
    pub id: Digest,
    /// The reference that led there; `None` where an id did.
    pub reference: Option<Reference>,
}

impl Store {
    /// The record of one reference, which has a tag or a digest.
    ///
    /// # Errors
    /// Where it cannot be read.
    pub fn reference(&self, reference: &Reference) -> Result<Option<RefRecord>> {
        read_reference(&self.reference_path(&file_name(reference)))
    }

    /// The record that another one is about to replace: what a damaged one meant is not known, and the new
    /// one repairs it.
    ///
    /// # Errors
    /// The disk's answer.
    pub fn replaced_reference(&self, reference: &Reference) -> Result<Option<RefRecord>> {
        match self.reference(reference) {
            Err(StorageError::DamagedReference { .. }) => Ok(None),
            other => other,
        }
    }

    /// All references, by name; nameless ones first.
    ///
    /// # Errors
    /// Where the directory or a record cannot be read.
    pub fn references(&self) -> Result<Vec<RefRecord>> {
        let (records, damaged) = self.references_and_damage()?;
        match damaged.into_iter().next() {
            Some(error) => Err(error),
            None => Ok(records),
        }
    }

    /// [`Self::references`] for lists: what cannot be read is told beside the others.
    ///
    /// # Errors
    /// Where the directory cannot be read.
    pub fn references_and_damage(&self) -> Result<(Vec<RefRecord>, Vec<StorageError>)> {
        let (mut records, mut damaged) = (Vec::new(), Vec::new());
        let directory = self.path("refs");
        let mut documents = Documents::open(directory.clone(), RECORD_BYTES_MAX)?;
        for entry in std::fs::read_dir(&directory).on("list", directory.display())? {
            let name = entry.on("list", directory.display())?.file_name();
            if name.as_encoded_bytes().starts_with(b".") {
                continue;
            }
            match documents.read(&name) {
                // One that goes while we list was never there.
                Ok(record) => records.extend(record),
                Err(error) => damaged.push(as_reference(error)),
            }
        }
        records.sort_by(|a: &RefRecord, b| (&a.reference, &a.image).cmp(&(&b.reference, &b.image)));
        Ok((records, damaged))
    }

    /// Makes `reference` mean `image`. An image that so loses its last name is kept without one.
    ///
    /// # Errors
    /// The disk's answer; the old meaning then stands.
    pub fn set_reference(
        &self,
        lock: &ImagesLock,
        reference: &Reference,
        image: &Digest,
        target: Option<Target>,
    ) -> Result<()> {
        self.move_reference(lock, reference, image, (target, None))
    }

    /// [`Self::set_reference`] for one more name of an image; `origin` is that of [`RefRecord`].
    ///
    /// # Errors
    /// As [`Self::set_reference`].
    pub fn set_alias(
        &self,
        lock: &ImagesLock,
        reference: &Reference,
        image: &Digest,
        origin: Option<Reference>,
    ) -> Result<()> {
        self.move_reference(lock, reference, image, (None, origin))
    }

    fn move_reference(
        &self,
        lock: &ImagesLock,
        reference: &Reference,
        image: &Digest,
        came: (Option<Target>, Option<Reference>),
    ) -> Result<()> {
        if let Some(old) = self.replaced_reference(reference)? {
            // First the mark, then the move: a crash between them leaves both, which is harmless.
            if old.image != *image && self.names_of(&old.image)?.len() <= 1 {
                self.keep_untagged(lock, &old.image)?;
            }
        }
        sys::fail::point("storage.reference.kept");
        let reference = as_kept(reference);
        let name = file_name(&reference);
        self.write_reference(&name, Some(reference), image, came)?;
        sys::fail::point("storage.reference.set");
        self.remove_reference_file(&untagged_name(image))
    }

    /// Keeps an image that has no name.
    ///
    /// # Errors
    /// The disk's answer.
    pub fn keep_untagged(&self, _lock: &ImagesLock, image: &Digest) -> Result<()> {
        self.write_reference(&untagged_name(image), None, image, (None, None))
    }

    /// Removes a reference; one that is not there is removed already.
    ///
    /// # Errors
    /// The disk's answer.
    pub fn remove_reference(&self, _lock: &ImagesLock, reference: &Reference) -> Result<()> {
        self.remove_reference_file(&file_name(reference))?;
        // As versions before this one kept it, with tag and digest.
        match (reference.tag(), reference.digest()) {
            (Some(_), Some(_)) => self.remove_reference_file(&file_name_of(&reference.canonical())),
            _ => Ok(()),
        }
    }

    /// Removes every reference to an image, so that it may be collected.
    ///
    /// # Errors
    /// The disk's answer.
    pub fn remove_all_references(&self, lock: &ImagesLock, image: &Digest) -> Result<()> {
        for reference in self.names_of(image)? {
            self.remove_reference(lock, &reference)?;
        }
        self.remove_reference_file(&untagged_name(image))
    }

    /// The names of an image.
    ///
    /// # Errors
    /// Where the references cannot be read.
    pub fn names_of(&self, image: &Digest) -> Result<Vec<Reference>> {
        let records = self
            .references()?
            .into_iter()
            .filter(|record| record.image == *image);
        Ok(records.filter_map(|record| record.reference).collect())
    }

    /// Finds the image that a user means: by name, by `name@digest`, by id or its first digits.
    ///
    /// # Errors
    /// `No such image`, an ambiguous id, or a text that is neither name nor id.
    pub fn find_image(&self, text: &str) -> Result<Found> {
        let parsed = Reference::parse_normalized(text);
        if let Ok(reference) = &parsed {
            let reference = reference.clone().with_default_tag();
            if let Some(record) = self.reference(&reference)? {
                return Ok(Found {
                    id: record.image,
                    reference: Some(as_kept(&reference)),
                });
            }
            if let Some(found) = self.find_by_digest(&reference)? {
                return Ok(found);
            }
        }
        if let Some(found) = self.find_by_id(text)? {
            return Ok(found);
        }
        match parsed {
            Ok(reference) => Err(StorageError::NoSuchImage {
                name: reference.with_default_tag().familiar(),
            }),
            Err(_) if id_digits(text).is_some() => Err(StorageError::NoSuchImage {
                name: text.to_owned(),
            }),
            Err(source) => Err(StorageError::InvalidName {
                text: text.to_owned(),
                source,
            }),
        }
    }

    /// `name@digest` is also what was fetched under any tag of that name.
    fn find_by_digest(&self, reference: &Reference) -> Result<Option<Found>> {
        let Some(digest) = reference.digest() else {
            return Ok(None);
        };
        let name = reference.name();
        let record = self.references()?.into_iter().find(|record| {
            record
                .reference
                .as_ref()
                .is_some_and(|known| known.name() == name)
                && record
                    .target
                    .as_ref()
                    .is_some_and(|target| target.digest == *digest)
        });
        Ok(record.map(|record| Found {
            id: record.image,
            reference: Some(reference.clone()),
        }))
    }

    fn find_by_id(&self, text: &str) -> Result<Option<Found>> {
        let Some(prefix) = id_digits(text) else {
            return Ok(None);
        };
        let mut matches: BTreeMap<Digest, ()> = BTreeMap::new();
        for record in self.references()? {
            if record.image.hex().starts_with(prefix) {
                matches.insert(record.image, ());
            }
        }
        match matches.len() {
            0 => Ok(None),
            1 => Ok(matches.into_keys().next().map(|id| Found {
                id,
                reference: None,
            })),
            count => Err(StorageError::AmbiguousId {
                prefix: text.to_owned(),
                count,
            }),
        }
    }

    fn write_reference(
        &self,
        name: &str,
        reference: Option<Reference>,
        image: &Digest,
        (target, origin): (Option<Target>, Option<Reference>),
    ) -> Result<()> {
        let image = image.clone();
        let record = RefRecord {
            version: 1,
            reference,
            image,
            target,
            origin,
            tagged_ns: now_ns(),
        };
        sys::fail::result("storage.reference.write")?;
        let bytes = encode("a reference", &record)?;
        Ok(atomic::write(
            &self.reference_path(name),
            &bytes,
            Durability::Synced,
        )?)
    }

    fn remove_reference_file(&self, name: &str) -> Result<()> {
        let path = self.reference_path(name);
        sys::fail::result("storage.reference.remove")?;
        match std::fs::remove_file(&path) {
            Ok(()) => sync_directory(&self.path("refs")),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
            Err(error) => Ok(Err(error).on("remove", path.display())?),
        }
    }

    fn reference_path(&self, name: &str) -> PathBuf {
        self.path("refs").join(name)
    }
}

/// Nanoseconds since 1970.
pub(crate) fn now_ns() -> i64 {
    let elapsed = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(elapsed.as_nanos()).unwrap_or(i64::MAX)
}

fn untagged_name(image: &Digest) -> String {
    format!("{UNTAGGED_PREFIX}{image}")
}

/// A digest says which image is meant; a tag beside it would go on claiming so when it has moved on.
fn as_kept(reference: &Reference) -> Reference {
    match reference.digest() {
        Some(digest) => {
            let name = reference.clone().without_tag_and_digest();
            name.with_digest(digest.clone())
        }
        None => reference.clone(),
    }
}

fn file_name(reference: &Reference) -> String {
    file_name_of(&as_kept(reference).canonical())
}

fn file_name_of(text: &str) -> String {
    // A reference has no `%`, so the names cannot meet; nor can a hash, for `~` is in none either.
    let name = text.replace('/', "%2F");
    if name.len() <= FILE_NAME_BYTES_MAX && !name.starts_with(['.', '~']) {
        name
    } else {
        format!("~{}", digest_of(text.as_bytes()).hex())
    }
}

fn read_reference(path: &Path) -> Result<Option<RefRecord>> {
    read_document(path, RECORD_BYTES_MAX).map_err(as_reference)
}

fn as_reference(error: StorageError) -> StorageError {
    match error {
        StorageError::Damaged { path, source } => StorageError::DamagedReference { path, source },
        other => other,
    }
}

/// The hexadecimal digits of something that may be an id.
fn id_digits(text: &str) -> Option<&str> {
    let digits = text.strip_prefix("sha256:").unwrap_or(text);
    let hex = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    let fits = !digits.is_empty() && digits.len() <= 64 && digits.bytes().all(hex);
    fits.then_some(digits)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::tests::Scratch;

    fn reference(text: &str) -> Reference {
        Reference::parse_normalized(text)
            .unwrap()
            .with_default_tag()
    }

    fn id(start: &str) -> Digest {
        Digest::sha256_from_hex(&format!("{start:0<64}")).unwrap()
    }

    #[test]
    fn a_tag_beside_a_digest_is_not_kept() {
        let scratch = Scratch::new();
        let store = &scratch.store;
        let lock = store.lock_images().unwrap();
        let both = reference(&format!("nginx:1@{}", id("77")));
        for name in [&both, &reference("nginx:1")] {
            store.set_reference(&lock, name, &id("abc"), None).unwrap();
        }
        let names: Vec<String> = store
            .names_of(&id("abc"))
            .unwrap()
            .iter()
            .map(Reference::familiar)
            .collect();
        assert_eq!(names, [format!("nginx@{}", id("77")), "nginx:1".to_owned()]);
        let found = store.find_image(&both.canonical()).unwrap();
        store
            .remove_reference(&lock, &found.reference.unwrap())
            .unwrap();
        assert_eq!(store.names_of(&id("abc")).unwrap(), [reference("nginx:1")]);
    }

    #[test]
    fn an_image_is_found_by_name_digest_and_id() {
        let scratch = Scratch::new();
        let store = &scratch.store;
        let lock = store.lock_images().unwrap();
        let target = Target {
            digest: id("77"),
            media_type: "m".into(),
            size: 3,
        };
        store
            .set_reference(&lock, &reference("nginx:1"), &id("abc"), Some(target))
            .unwrap();
        store
            .set_reference(&lock, &reference("other"), &id("abd"), None)
            .unwrap();
        let digest_name = format!("nginx@{}", id("77"));
        let full = id("abc").to_string();
        for text in [
            "nginx:1",
            "docker.io/library/nginx:1",
            &digest_name,
            &format!("nginx:9@{}", id("77")),
            "abc",
            "sha256:abc",
            &full,
        ] {
            assert_eq!(store.find_image(text).unwrap().id, id("abc"), "{text}");
        }
        for (text, want) in [
            ("nginx", "No such image: nginx:latest"),
            ("a", "No such image: a:latest"),
            (
                "ab",
                "image id ab is ambiguous: 2 images begin with it; give more digits",
            ),
            (id("9").hex(), &format!("No such image: {}", id("9").hex())),
        ] {
            if text == "a" {
                // One digit is an id as well, and two images begin with it.
                let error = store.find_image(text).unwrap_err();
                assert!(matches!(error, StorageError::AmbiguousId { count: 2, .. }));
                continue;
            }
            assert_eq!(store.find_image(text).unwrap_err().to_string(), *want);
        }
        assert!(matches!(
            store.find_image("A B"),
            Err(StorageError::InvalidName { .. })
        ));
    }

    #[test]
    fn an_image_that_loses_its_last_name_is_kept_without_one() {
        let scratch = Scratch::new();
        let store = &scratch.store;
        let lock = store.lock_images().unwrap();
        let name = reference("app");
        store.set_reference(&lock, &name, &id("1"), None).unwrap();
        store.set_reference(&lock, &name, &id("2"), None).unwrap();
        assert_eq!(store.find_image("app").unwrap().id, id("2"));
        assert_eq!(store.find_image(id("1").as_str()).unwrap().reference, None);
        // Named again, it needs no mark.
        store
            .set_reference(&lock, &reference("old"), &id("1"), None)
            .unwrap();
        let records = store.references().unwrap();
        assert!(
            records.iter().all(|record| record.reference.is_some()),
            "{records:?}"
        );
        store.remove_all_references(&lock, &id("1")).unwrap();
        assert_eq!(store.references().unwrap().len(), 1);
    }

    #[test]
    fn long_names_and_odd_hosts_are_safe_file_names() {
        let long = format!(
            "{}.lan/{}:{}",
            "h".repeat(60),
            "p".repeat(250),
            "t".repeat(128)
        );
        for text in [long.as_str(), "[::1]:5000/x", "localhost:5000/a/b/c:D"] {
            let name = file_name(&reference(text));
            assert!(
                name.len() <= FILE_NAME_BYTES_MAX && !name.contains('/'),
                "{name}"
            );
        }
    }
}
