//! `hello-world` without a network: the image inside the binary.
//!
//! Where no registry answers, the very first command must still work. The image is an ordinary one
//! afterwards: listed, inspected, removed. It is the same in every store: its time is fixed.

use storage::images::BlobRecord;
use storage::layers::LayerClaim;
use storage::lease::Lease;
use storage::tar::{Entry, Kind, TarWriter};
use types::digest::Digest;
use types::image::{ContainerDefaults, HistoryEntry, ImageConfig, MEDIA_OCI_LAYER, RootFs};
use types::platform::Platform;
use types::reference::Reference;

use super::ImageContext;
use super::error::{ImageError, Result};
use super::ingest::fill_layer;
use super::pull::{PullOptions, PullOutcome, PullReport, new_image, pull};
use crate::observer::Observer;

/// The only name for which there is a built-in image.
const NAME: &str = "docker.io/library/hello-world:latest";
/// The time of everything in it.
const CREATED: &str = "2025-01-01T00:00:00Z";
const PROGRAM: &str = "hello";
const PROGRAM_MODE: u32 = 0o755;

/// A pull, or the built-in image in its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuiltinReport {
    /// As [`pull`] gives it.
    pub report: PullReport,
    /// What standard error shall say, where the built-in image was taken.
    pub note: Option<String>,
}

/// [`pull`], and for `hello-world` the built-in image where no registry can be reached.
///
/// # Errors
/// As [`pull`].
pub fn pull_or_builtin(
    context: &ImageContext<'_>,
    reference: &Reference,
    options: &PullOptions,
    observer: &dyn Observer,
) -> Result<BuiltinReport> {
    let error = match pull(context, reference, options, observer) {
        Ok(report) => return Ok(BuiltinReport { report, note: None }),
        Err(error) => error,
    };
    let reference = reference.clone().with_default_tag();
    let host = Platform::host();
    let fits = options
        .platform
        .as_ref()
        .is_none_or(|wanted| wanted.match_rank(&host).is_some());
    let is_builtin = reference.canonical() == NAME && fits && !sys::programs::HELLO.is_empty();
    if !error.is_unreachable() || !is_builtin {
        return Err(error);
    }
    let store = context.store();
    let known = store.reference(&reference)?;
    let (image, target) = make(context)?;
    let outcome = match known {
        Some(known) if known.image == image => PullOutcome::UpToDate,
        // Somebody's pulled image is not replaced by ours.
        Some(_) => return Err(error),
        None => {
            let lock = store.lock_images()?;
            store.set_reference(&lock, &reference, &image, None)?;
            PullOutcome::Downloaded
        }
    };
    let note =
        format!("no registry can be reached ({error}): using the built-in hello-world image");
    let report = PullReport {
        reference,
        image,
        target,
        outcome,
    };
    Ok(BuiltinReport {
        report,
        note: Some(note),
    })
}

/// Makes the image and returns its id and the digest of its layer.
fn make(context: &ImageContext<'_>) -> Result<(Digest, Digest)> {
    let store = context.store();
    let lease = store.lease()?;
    let layer = layer()?;
    let diff_id = store.put_blob(&lease, &layer)?;
    let record = BlobRecord {
        digest: diff_id.clone(),
        size: layer.len() as u64,
        media_type: MEDIA_OCI_LAYER.to_owned(),
    };
    unpack(&lease, &layer, &record)?;
    let host = Platform::host();
    let command = format!("/{PROGRAM}");
    let step = |created_by: String, empty_layer| HistoryEntry {
        created: Some(CREATED.to_owned()),
        created_by,
        comment: "built into caisson".to_owned(),
        empty_layer,
        ..HistoryEntry::default()
    };
    let config = ImageConfig {
        architecture: host.architecture,
        os: host.os,
        variant: host.variant,
        created: Some(CREATED.to_owned()),
        config: ContainerDefaults {
            env: vec![
                "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned(),
            ],
            cmd: Some(vec![command.clone()]),
            working_dir: "/".to_owned(),
            ..ContainerDefaults::default()
        },
        rootfs: RootFs {
            diff_ids: vec![diff_id.clone()],
            ..RootFs::default()
        },
        history: vec![
            step(format!("COPY {PROGRAM} / # built-in"), false),
            step(format!("CMD [\"{command}\"]"), true),
        ],
        ..ImageConfig::default()
    };
    let bytes = serde_json::to_vec(&config).map_err(|source| ImageError::Encode {
        what: "an image configuration",
        source,
    })?;
    let id = store.put_blob(&lease, &bytes)?;
    let layers = vec![(diff_id.clone(), Some(record))];
    let new = new_image(id.clone(), &config, None, Vec::new(), layers, store)?;
    store.record_image(&lease, new)?;
    Ok((id, diff_id))
}

fn unpack(lease: &Lease, layer: &[u8], record: &BlobRecord) -> Result<()> {
    if let LayerClaim::Work(work) = lease.store().claim_layer(lease, &record.digest)? {
        let report = fill_layer(layer, &work, record.digest.short())?;
        work.finish(&report, Some(record.clone())).publish()?;
    }
    Ok(())
}

fn layer() -> Result<Vec<u8>> {
    let program = sys::programs::HELLO;
    let entry = Entry {
        path: PROGRAM.as_bytes().to_vec(),
        kind: Kind::File,
        mode: PROGRAM_MODE,
        size: program.len() as u64,
        ..Entry::default()
    };
    let mut writer = TarWriter::new(Vec::new());
    let appended = writer.append_bytes(&entry, program);
    appended
        .and_then(|()| writer.finish())
        .map_err(|source| ImageError::Sink { source })
}
