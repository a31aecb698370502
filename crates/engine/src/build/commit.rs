//! The image of a result: layers, configuration, history, names.

use build::graph::{BuildResult, Graph};
use build::solve::Solved;
use storage::images::BlobRecord;
use storage::lease::Lease;
use types::digest::Digest;
use types::image::{HistoryEntry, ImageConfig};
use types::timestamp::Timestamp;

use super::worker::Tree;
use super::{BuildReport, BuildRequest, layer, stack};
use crate::Engine;
use crate::error::EngineError;
use crate::image::import::{name, record};

impl Engine {
    pub(crate) fn commit_results(
        &self,
        request: &BuildRequest,
        graph: &Graph,
        solved: &Solved<Tree>,
        lease: &Lease,
        report: &mut BuildReport,
    ) -> Result<(), EngineError> {
        let [result] = graph.results.as_slice() else {
            return Err(EngineError::invalid(
                "images for several platforms at once are not built yet; build one after the other",
            ));
        };
        let stack = stack(solved, result.root)?;
        let layers = stack.published()?;
        let config = configuration(result, stack, &layers);
        let id = record(lease, &config, layers)?;
        sys::fail::point("engine.build.recorded");
        match request.tags.as_slice() {
            [] => self.keep_unnamed(&id)?,
            tags => {
                for tag in tags {
                    self.name_image(&id, tag)?;
                }
            }
        }
        for export in &request.exports {
            if let super::Export::ImageArchive(path) = export {
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
        }
        report.image = Some(id);
        Ok(())
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
    ) -> Result<(), EngineError> {
        let tag = tag.clone().with_default_tag();
        // A name that means this already is not written again: that costs two syncs.
        if let Some(known) = self.store().reference(&tag)?
            && known.image == *id
        {
            return Ok(());
        }
        Ok(name(self.store(), id, Some(&tag))?)
    }
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
