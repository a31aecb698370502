//! The image of a result: layers, configuration, history, names.

use build::graph::BuildResult;
use storage::images::BlobRecord;
use storage::lease::Lease;
use storage::refs::Target;
use sys::Context as _;
use types::digest::Digest;
use types::image::{Document, HistoryEntry, ImageConfig, MANIFEST_BYTES_MAX, MEDIA_OCI_INDEX};
use types::timestamp::Timestamp;

use super::attest::Done;
use super::caches::{CacheExport, CachePlace, inline};
use super::together::Together;
use super::worker::BuildWorker;
use super::{
    AnnotationLevel, BuildEvent, BuildReport, BuildRequest, Export, annotate, layer, stack,
};
use crate::Engine;
use crate::container::filesystem::{through_pipe, unpack_host};
use crate::error::EngineError;
use crate::image::import::{name, record};
use crate::image::push::{self, PushOptions};
use crate::image::save;

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
        let Together {
            id,
            target,
            manifests,
        } = self.together(&images, request, worker)?;
        done.attest(&images, &manifests, &id)?;
        match request.tags.as_slice() {
            [] => self.keep_unnamed(&id)?,
            tags => {
                for tag in tags {
                    self.name_image(&id, tag, target.as_ref())?;
                }
            }
        }
        self.save_images(request, worker, &id, target.as_ref())?;
        report.manifest = target.map(|target| target.digest);
        report.image = Some(id);
        self.push_names(request, worker, report)
    }

    fn save_images(
        &self,
        request: &BuildRequest,
        worker: &BuildWorker<'_>,
        id: &Digest,
        target: Option<&Target>,
    ) -> Result<(), EngineError> {
        for export in &request.exports {
            match export {
                Export::ImageArchive(path) => {
                    let mut sink = super::output::sink(path.as_deref())?;
                    self.save_image(request, worker, (id, target), &mut sink)?;
                }
                Export::ImageDirectory(path) => {
                    std::fs::create_dir_all(path).on("create", path.display())?;
                    let save = |sink: &mut std::fs::File| {
                        self.save_image(request, worker, (id, target), sink)
                            .map(|()| 0)
                    };
                    through_pipe(save, |from| unpack_host(path, None, from))?;
                }
                Export::Image | Export::Directory(_) | Export::Archive(_) | Export::Nowhere => {}
            }
        }
        Ok(())
    }

    fn save_image(
        &self,
        request: &BuildRequest,
        worker: &BuildWorker<'_>,
        (id, target): (&Digest, Option<&Target>),
        sink: &mut std::fs::File,
    ) -> Result<(), EngineError> {
        let tags = request.tags.iter();
        let tags: Vec<_> = tags.map(|tag| tag.clone().with_default_tag()).collect();
        let sink = std::io::BufWriter::new(sink);
        let silent = crate::observer::Silent;
        if let Some(target) = target.filter(|target| target.media_type == MEDIA_OCI_INDEX) {
            let level = AnnotationLevel::IndexDescriptor;
            let annotations = annotate::of(&request.annotations, level, None);
            let index = save::SavedIndex {
                target,
                names: &tags,
                annotations: &annotations,
            };
            return Ok(save::save_index(&worker.lease, &index, sink, &silent)?);
        }
        let names: Vec<String> = match tags.as_slice() {
            [] => vec![id.to_string()],
            tags => tags.iter().map(|tag| tag.familiar()).collect(),
        };
        let options = save::SaveOptions {
            manifest: target.cloned(),
            ..save::SaveOptions::default()
        };
        Ok(save::save(&self.images(), &names, &options, sink, &silent)?)
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
        let wanted = self.alone(id)?;
        // A name that means this already is not written again: that costs two syncs.
        if let Some(known) = self.store().reference(&tag)?
            && known.image == *id
            && (wanted.is_none() || known.target == wanted)
        {
            return Ok(());
        }
        if wanted.is_some() {
            let lock = self.store().lock_images()?;
            return Ok(self.store().set_reference(&lock, &tag, id, wanted)?);
        }
        Ok(name(self.store(), id, Some(&tag))?)
    }

    /// What a name for an image means that is in an index of other builds as well, or annotated there: its
    /// manifest alone.
    fn alone(&self, id: &Digest) -> Result<Option<Target>, EngineError> {
        let store = self.store();
        let image = store.image(id)?;
        let is_paper = |digest: &Digest| {
            let bytes = store.read_blob(digest, MANIFEST_BYTES_MAX as u64).ok()?;
            Some(match Document::parse(&bytes, None).ok()? {
                Document::Index(_) => true,
                Document::Manifest(manifest) => manifest.config.digest == *id,
            })
        };
        let mut others = image.other_blobs.iter();
        let has_others = others.any(|digest| is_paper(digest) == Some(true));
        let manifest = image.manifest.filter(|_| has_others);
        Ok(manifest.map(|manifest| Target {
            digest: manifest.digest,
            media_type: manifest.media_type,
            size: manifest.size,
        }))
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
