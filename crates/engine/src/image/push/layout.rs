//! The same as a push, into an OCI layout: a directory of blobs and an index that names manifests.

use std::fs::File;
use std::path::Path;

use serde_json::{Value, json};
use storage::lease::Lease;
use sys::Context;
use sys::atomic::{self, Durability};
use types::digest::Digest;
use types::image::MANIFEST_BYTES_MAX;

use super::plan::Plan;
use crate::image::error::{ImageError, Result};

const TAG: &str = "org.opencontainers.image.ref.name";

/// Makes `tag` of a layout mean what the plan has at its top. The index is written last: what was
/// killed before leaves blobs that nothing names.
///
/// # Errors
/// The disk's answer.
pub(crate) fn write_layout(plan: &Plan, lease: &Lease, path: &Path, tag: &str) -> Result<()> {
    for blob in &plan.blobs {
        let target = make_room(path, &blob.digest)?;
        let is_there = std::fs::metadata(&target).is_ok_and(|is| is.len() == blob.size);
        if !is_there {
            let mut partial = target.clone().into_os_string();
            partial.push(format!(".partial-{}", std::process::id()));
            let mut file = File::create(&partial).on("create", Path::new(&partial).display())?;
            let mut from = lease.store().open_blob(&blob.digest)?;
            std::io::copy(&mut from, &mut file).map_err(|source| ImageError::Sink { source })?;
            std::fs::rename(&partial, &target).on("rename", target.display())?;
        }
    }
    for paper in plan.below.iter().chain([&plan.top]) {
        let target = make_room(path, &paper.digest)?;
        atomic::write(&target, &paper.bytes, Durability::Volatile)?;
    }
    let version = br#"{"imageLayoutVersion":"1.0.0"}"#;
    atomic::write(&path.join("oci-layout"), version, Durability::Volatile)?;
    let bytes = index(path, plan, if tag.is_empty() { "latest" } else { tag })?;
    Ok(atomic::write(
        &path.join("index.json"),
        &bytes,
        Durability::Volatile,
    )?)
}

fn make_room(path: &Path, digest: &Digest) -> Result<std::path::PathBuf> {
    let directory = path.join("blobs").join(digest.algorithm().name());
    std::fs::create_dir_all(&directory).on("create", directory.display())?;
    Ok(directory.join(digest.hex()))
}

/// The index that is there, with this tag given to the plan's manifest.
fn index(path: &Path, plan: &Plan, tag: &str) -> Result<Vec<u8>> {
    let known = atomic::read_limited(&path.join("index.json"), MANIFEST_BYTES_MAX as u64);
    let known: Option<Value> = known
        .ok()
        .and_then(|bytes| serde_json::from_slice(&bytes).ok());
    let known = known.and_then(|index| index["manifests"].as_array().cloned());
    let others = known.unwrap_or_default().into_iter();
    let mut manifests: Vec<Value> = others
        .filter(|one| one["annotations"][TAG] != tag)
        .collect();
    manifests.push(json!({
        "mediaType": plan.top.media_type,
        "digest": plan.top.digest,
        "size": plan.top.bytes.len(),
        "annotations": { TAG: tag },
    }));
    let document = json!({
        "schemaVersion": 2,
        "mediaType": types::image::MEDIA_OCI_INDEX,
        "manifests": manifests,
    });
    let what = "an index";
    serde_json::to_vec(&document).map_err(|source| ImageError::Encode { what, source })
}
