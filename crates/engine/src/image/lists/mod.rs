//! `manifest`: manifests and lists of manifests in registries, without an image in the store.
//!
//! A list is made here, changed here, and pushed whole. Until then it is a directory with a file for
//! each of its manifests, where Docker's client keeps such lists (see `local`).

mod local;

use std::io::{self, Read};
use std::path::Path;

use registry::{BlobContent, BlobSource, Client, FetchedManifest, Repository, Selector};
use serde_json::{Value, json};
use storage::blobs::digest_of;
use types::digest::Digest;
use types::image::{
    CONFIG_BYTES_MAX, Descriptor, Document, ImageConfig, MEDIA_DOCKER_LIST, MEDIA_DOCKER_MANIFEST,
    MEDIA_OCI_INDEX, Manifest,
};
use types::platform::Platform;
use types::reference::Reference;

use super::ImageContext;
use super::error::{ImageError, Result};
pub use local::{Entry, Lists};

/// A manifest as it was found.
#[derive(Clone, Debug)]
pub struct Found {
    /// Its name with its digest.
    pub reference: Reference,
    /// What the registry says of it, and for which platform it is.
    pub descriptor: Descriptor,
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// Whether it is an index.
    pub is_index: bool,
}

fn parse(fetched: &FetchedManifest, what: &Reference) -> Result<Document> {
    let media_type = Some(fetched.media_type.as_str()).filter(|text| !text.is_empty());
    Document::parse(&fetched.bytes, media_type).map_err(|source| ImageError::Document {
        what: format!("manifest {}", what.familiar()),
        source,
    })
}

/// Fetches what a reference means in its registry.
///
/// # Errors
/// Where it is not there, or is none.
pub fn inspect(context: &ImageContext<'_>, reference: &Reference) -> Result<Found> {
    fetch(&context.client(), reference)
}

/// The manifests of an index, or the one manifest, each with its platform.
///
/// # Errors
/// As [`inspect`].
pub fn inspect_all(context: &ImageContext<'_>, reference: &Reference) -> Result<Vec<Found>> {
    let client = context.client();
    let found = fetch(&client, reference)?;
    let Ok(Document::Index(index)) = Document::parse(&found.bytes, None) else {
        return Ok(vec![found]);
    };
    let mut all = Vec::with_capacity(index.manifests.len());
    for entry in index.manifests {
        let name = found.reference.clone().without_tag_and_digest();
        let mut one = fetch_bare(&client, &name.with_digest(entry.digest.clone()))?;
        one.descriptor = entry;
        all.push(one);
    }
    Ok(all)
}

fn fetch_bare(client: &Client, reference: &Reference) -> Result<Found> {
    let reference = reference.clone().with_default_tag();
    let repository = client.repository(&reference)?;
    let fetched = repository.manifest(Selector::of(&reference))?;
    let document = parse(&fetched, &reference)?;
    let size = fetched.bytes.len() as u64;
    let descriptor = Descriptor::new(document.media_type(), fetched.digest.clone(), size);
    let name = reference.without_tag_and_digest();
    Ok(Found {
        reference: name.with_digest(fetched.digest),
        descriptor,
        bytes: fetched.bytes,
        is_index: matches!(document, Document::Index(_)),
    })
}

/// The same with the platform, which stands in the configuration.
fn fetch(client: &Client, reference: &Reference) -> Result<Found> {
    let mut found = fetch_bare(client, reference)?;
    if let Ok(Document::Manifest(manifest)) = Document::parse(&found.bytes, None) {
        let repository = client.repository(reference)?;
        found.descriptor.platform = platform(&repository, &manifest)?;
    }
    Ok(found)
}

/// The platform of an image; `None` for what is no image.
fn platform(repository: &Repository<'_>, manifest: &Manifest) -> Result<Option<Platform>> {
    let config = &manifest.config;
    if config.size > CONFIG_BYTES_MAX as u64 {
        return Ok(None);
    }
    let mut bytes = Vec::new();
    let fetched = |source| ImageError::Fetch {
        id: config.digest.short().to_owned(),
        source,
    };
    repository
        .blob(&config.digest, config.size)?
        .read_to_end(&mut bytes)
        .map_err(fetched)?;
    let parsed = ImageConfig::parse(&bytes).ok();
    Ok(parsed
        .filter(|config| !config.os.is_empty())
        .map(|config| config.platform()))
}

/// Makes or extends a list. Returns its name.
///
/// # Errors
/// Where it is there and is not to be extended, or a manifest is not in its registry or is a list.
pub fn create(
    context: &ImageContext<'_>,
    directory: &Path,
    list: &Reference,
    manifests: &[Reference],
    amend: bool,
) -> Result<Reference> {
    let lists = Lists::new(directory);
    let list = list.clone().with_default_tag();
    if !amend && !lists.read(&list)?.is_empty() {
        return Err(ImageError::List(
            "refusing to amend an existing manifest list with no --amend flag".to_owned(),
        ));
    }
    let client = context.client();
    for manifest in manifests {
        let manifest = manifest.clone().with_default_tag();
        if manifest.domain() != list.domain() {
            let (a, b) = (manifest.domain(), list.domain());
            return Err(ImageError::List(format!(
                "cannot use source images from a different registry than the target image: {a} != {b}"
            )));
        }
        let found = fetch(&client, &manifest)?;
        if found.is_index {
            let name = manifest.familiar();
            return Err(ImageError::List(format!("{name} is a manifest list")));
        }
        lists.write(
            &list,
            &Entry {
                reference: manifest,
                descriptor: found.descriptor,
            },
        )?;
    }
    Ok(list)
}

/// The document of a list, and its media type.
///
/// # Errors
/// Where there is no such list.
pub fn document(directory: &Path, list: &Reference) -> Result<(String, Vec<u8>)> {
    let list = list.clone().with_default_tag();
    let entries = Lists::new(directory).read(&list)?;
    if entries.is_empty() {
        return Err(ImageError::List(format!(
            "No such manifest: {}",
            list.familiar()
        )));
    }
    let is_docker = entries
        .iter()
        .all(|entry| entry.descriptor.media_type == MEDIA_DOCKER_MANIFEST);
    let media_type = if is_docker {
        MEDIA_DOCKER_LIST
    } else {
        MEDIA_OCI_INDEX
    };
    let manifests: Vec<Value> = entries
        .iter()
        .map(|entry| json!(entry.descriptor))
        .collect();
    let document = json!({
        "schemaVersion": 2,
        "mediaType": media_type,
        "manifests": manifests,
    });
    let what = "a manifest list";
    let bytes = serde_json::to_vec_pretty(&document)
        .map_err(|source| ImageError::Encode { what, source })?;
    Ok((media_type.to_owned(), bytes))
}

/// Pushes a list, and before it whatever of its manifests the repository does not have. `told` hears
/// of each manifest that was pushed. Returns the digest.
///
/// # Errors
/// Where there is no such list, or the registry refuses it.
pub fn push(
    context: &ImageContext<'_>,
    directory: &Path,
    list: &Reference,
    purge: bool,
    told: &mut dyn FnMut(&Reference),
) -> Result<Digest> {
    let list = list.clone().with_default_tag();
    let lists = Lists::new(directory);
    let (media_type, bytes) = document(directory, &list)?;
    let client = context.client();
    let target = client.push_repository(&list)?;
    for entry in lists.read(&list)? {
        if !target.has_manifest(&entry.descriptor.digest)? {
            copy(&client, &target, &entry)?;
            let name = list.clone().without_tag_and_digest();
            told(&name.with_digest(entry.descriptor.digest));
        }
    }
    let digest = digest_of(&bytes);
    target.put_manifest(Selector::of(&list), &media_type, &bytes, &digest)?;
    if purge {
        lists.remove(&list)?;
    }
    Ok(digest)
}

/// Brings a manifest and its blobs from one repository of a registry to another.
fn copy(client: &Client, target: &Repository<'_>, entry: &Entry) -> Result<()> {
    let source = client.repository(&entry.reference)?;
    let fetched = source.manifest(Selector::Digest(&entry.descriptor.digest))?;
    if let Document::Manifest(manifest) = parse(&fetched, &entry.reference)? {
        for blob in std::iter::once(&manifest.config).chain(&manifest.layers) {
            if target.has_blob(&blob.digest)? {
                continue;
            }
            let content = Remote {
                source: &source,
                blob,
            };
            let uploaded = BlobSource {
                digest: &blob.digest,
                size: blob.size,
                content: &content,
            };
            target.upload(&uploaded, Some(entry.reference.path()))?;
        }
    }
    let selector = Selector::Digest(&fetched.digest);
    let media_type = &entry.descriptor.media_type;
    Ok(target.put_manifest(selector, media_type, &fetched.bytes, &fetched.digest)?)
}

/// A blob that comes from one repository while it goes to another.
struct Remote<'a> {
    source: &'a Repository<'a>,
    blob: &'a Descriptor,
}

impl BlobContent for Remote<'_> {
    fn open(&self, offset: u64) -> io::Result<Box<dyn Read + '_>> {
        let reader = self.source.blob(&self.blob.digest, self.blob.size);
        let mut reader = reader.map_err(io::Error::other)?;
        io::copy(&mut (&mut reader).take(offset), &mut io::sink())?;
        Ok(Box::new(reader))
    }
}
