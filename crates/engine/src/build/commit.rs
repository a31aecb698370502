//! The image of a result: layers, configuration, history, names.

use build::graph::BuildResult;
use storage::images::BlobRecord;
use storage::lease::Lease;
use storage::refs::Target;
use types::digest::Digest;
use types::image::{Descriptor, HistoryEntry, ImageConfig, MEDIA_OCI_INDEX, MEDIA_OCI_MANIFEST};
use types::platform::Platform;
use types::timestamp::Timestamp;

use super::attest::Done;
use super::caches::{CacheExport, CachePlace, inline};
use super::worker::BuildWorker;
use super::{BuildEvent, BuildReport, BuildRequest, layer, stack};
use crate::Engine;
use crate::error::{EngineError, text};
use crate::image::import::{name, record};
use crate::image::push::{self, PushOptions};

impl Engine {
    pub(crate) fn commit_results(
        &self,
        done: &Done<'_>,
        report: &mut BuildReport,
    ) -> Result<(), EngineError> {
        let Done {
            request,
            graph,
            solved,
            worker,
            ..
        } = *done;
        let lease = &worker.lease;
        let is_inline = |export: &CacheExport| export.place == CachePlace::Inline;
        let is_inline = request.cache_to.iter().any(is_inline);
        let mut images = Vec::new();
        for result in &graph.results {
            let mut stack = stack(solved, result.root)?.clone();
            let steps = stack.parts().1.len();
            if request.squashes {
                stack = worker.squash(&stack)?;
            }
            let layers = stack.published()?;
            let mut config = configuration(result, &stack, &layers);
            if request.squashes && steps > 1 {
                if is_inline {
                    let text = "--cache-to type=inline: a squashed image has no cache in it: its one layer is \
                                that of no step; use type=registry";
                    worker.observer.event(BuildEvent::Warning(text.to_owned()));
                }
                squash_history(&mut config, &stack, result.history.len(), steps);
            } else if is_inline {
                inline(&mut config, graph, solved, result.root)?;
            }
            images.push((record(lease, &config, layers)?, result.platform.clone()));
        }
        sys::fail::point("engine.build.recorded");
        let (id, target) = self.together(&images, worker)?;
        done.attest(&images, &id)?;
        match request.tags.as_slice() {
            [] => self.keep_unnamed(&id)?,
            tags => {
                for tag in tags {
                    self.name_image(&id, tag, target.as_ref())?;
                }
            }
        }
        report.manifest = target.map(|target| target.digest);
        self.save_images(request, &id)?;
        report.image = Some(id);
        self.push_names(request, worker, report)
    }

    /// Images of several platforms become one, with an index; the image by which people know it is
    /// that of this machine's platform, else the first. The others belong to it.
    fn together(
        &self,
        images: &[(Digest, Platform)],
        worker: &BuildWorker<'_>,
    ) -> Result<(Digest, Option<Target>), EngineError> {
        let first = images
            .first()
            .ok_or_else(|| EngineError::conflict("nothing was built"))?;
        if images.len() == 1 {
            return Ok((first.0.clone(), None));
        }
        let (lease, store) = (&worker.lease, self.store());
        let host = Platform::host();
        let own = images
            .iter()
            .find(|(_, one)| host.match_rank(one).is_some());
        let (own, _) = own.unwrap_or(first);
        let mut manifests = Vec::new();
        let mut others = Vec::new();
        for (id, platform) in images {
            let (digest, size, blobs) = push::manifest_of(lease, id, worker.observer.images())?;
            let mut descriptor = Descriptor::new(MEDIA_OCI_MANIFEST, digest.clone(), size);
            descriptor.platform = Some(platform.clone());
            manifests.push(descriptor);
            if id != own {
                others.push(digest);
                others.extend(blobs);
            }
        }
        let document = serde_json::json!({
            "schemaVersion": 2,
            "mediaType": MEDIA_OCI_INDEX,
            "manifests": manifests,
        });
        let bytes =
            serde_json::to_vec(&document).map_err(|error| text("write an index", &error))?;
        let digest = store.put_blob(lease, &bytes)?;
        let mut image = store.image(own)?;
        image.other_blobs = [digest.clone()].into_iter().chain(others).collect();
        store.update_image(lease, &image)?;
        let target = Target {
            digest,
            media_type: MEDIA_OCI_INDEX.to_owned(),
            size: bytes.len() as u64,
        };
        Ok((own.clone(), Some(target)))
    }

    fn save_images(&self, request: &BuildRequest, id: &Digest) -> Result<(), EngineError> {
        for export in &request.exports {
            let super::Export::ImageArchive(path) = export else {
                continue;
            };
            let names: Vec<String> = match request.tags.as_slice() {
                [] => vec![id.to_string()],
                tags => tags
                    .iter()
                    .map(|tag| tag.clone().with_default_tag().familiar())
                    .collect(),
            };
            let sink = std::io::BufWriter::new(super::output::sink(path.as_deref())?);
            let options = crate::image::save::SaveOptions::default();
            let silent = crate::observer::Silent;
            crate::image::save::save(&self.images(), &names, &options, sink, &silent)?;
        }
        Ok(())
    }

    /// `--push`.
    fn push_names(
        &self,
        request: &BuildRequest,
        worker: &BuildWorker<'_>,
        report: &mut BuildReport,
    ) -> Result<(), EngineError> {
        if !request.pushes {
            return Ok(());
        }
        for tag in &request.tags {
            let note = format!(
                "[internal] pushing {}",
                tag.clone().with_default_tag().familiar()
            );
            worker.observer.event(BuildEvent::Note(note));
            let options = PushOptions::default();
            let pushed = push::push(&self.images(), tag, &options, worker.observer.images())?;
            report.manifest = Some(pushed.digest);
        }
        Ok(())
    }

    /// An image of the files that a failed program left, kept without a name until it is removed.
    pub(crate) fn failed_image(&self, worker: &BuildWorker<'_>, lease: &Lease) -> Option<Digest> {
        let failed = worker.failed.lock().ok()?.take()?;
        let layers = failed.stack.published().ok()?;
        let run = failed.run;
        let result = BuildResult {
            root: build::graph::StepId(0),
            platform: run.platform.clone(),
            config: ImageConfig {
                architecture: run.platform.architecture.clone(),
                os: run.platform.os.clone(),
                variant: run.platform.variant.clone(),
                config: types::image::ContainerDefaults {
                    env: run.env,
                    user: run.user,
                    working_dir: run.cwd,
                    ..types::image::ContainerDefaults::default()
                },
                ..ImageConfig::default()
            },
            history: Vec::new(),
        };
        let config = configuration(&result, &failed.stack, &layers);
        let id = record(lease, &config, layers).ok()?;
        self.keep_unnamed(&id).ok()?;
        Some(id)
    }

    fn keep_unnamed(&self, id: &Digest) -> Result<(), EngineError> {
        // One that has a name or is kept already needs nothing.
        let is_kept = self.store().references()?;
        if is_kept.iter().any(|known| known.image == *id) {
            return Ok(());
        }
        Ok(name(self.store(), id, None)?)
    }

    fn name_image(
        &self,
        id: &Digest,
        tag: &types::reference::Reference,
        target: Option<&Target>,
    ) -> Result<(), EngineError> {
        let tag = tag.clone().with_default_tag();
        if let Some(target) = target {
            let lock = self.store().lock_images()?;
            let target = Some(target.clone());
            return Ok(self.store().set_reference(&lock, &tag, id, target)?);
        }
        // A name that means this already is not written again: that costs two syncs.
        if let Some(known) = self.store().reference(&tag)?
            && known.image == *id
        {
            return Ok(());
        }
        Ok(name(self.store(), id, Some(&tag))?)
    }
}

/// The steps stay told, as in Docker; the one layer has a line of its own.
fn squash_history(config: &mut ImageConfig, stack: &layer::Stack, own: usize, layers: usize) {
    let from = config.history.len().saturating_sub(own);
    for line in &mut config.history[from..] {
        line.empty_layer = true;
    }
    config.history.push(HistoryEntry {
        created: Some(Timestamp::from_unix(stack.epoch(), 0).rfc3339()),
        comment: format!("merge of {layers} layers"),
        ..HistoryEntry::default()
    });
}

/// The configuration with layers, times and history. Nothing in it depends on when or where it was
/// built.
fn configuration(
    result: &BuildResult,
    stack: &layer::Stack,
    layers: &[(Digest, Option<BlobRecord>)],
) -> ImageConfig {
    let created = Timestamp::from_unix(stack.epoch(), 0).rfc3339();
    let mut config = result.config.clone();
    config.created = Some(created.clone());
    config.rootfs.diff_ids = layers.iter().map(|(diff_id, _)| diff_id.clone()).collect();
    for line in &result.history {
        config.history.push(HistoryEntry {
            created: Some(created.clone()),
            created_by: line.created_by.clone(),
            author: line.author.clone(),
            comment: line.comment.clone(),
            empty_layer: line.step.is_none(),
            ..HistoryEntry::default()
        });
    }
    config
}
