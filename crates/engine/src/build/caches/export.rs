//! Gives the results of a build to other caches.

use std::collections::BTreeSet;

use build::graph::{Graph, Op, StepId};
use build::solve::Solved;
use storage::lease::Lease;
use types::digest::Digest;
use types::image::{ImageConfig, RootFs};

use super::{CacheDocument, CacheExport, CacheMode, CachePlace, MEMBER, SharedStep, VERSION};
use crate::Engine;
use crate::build::worker::Tree;
use crate::build::{BuildEvent, BuildObserver, BuildRequest};
use crate::error::{EngineError, text};
use crate::image::push;

impl Engine {
    /// Writes the caches that a build was asked for, but inline ones: those are the image's.
    pub(crate) fn export_caches(
        &self,
        request: &BuildRequest,
        graph: &Graph,
        solved: &Solved<Tree>,
        lease: &Lease,
        observer: &dyn BuildObserver,
    ) -> Result<(), EngineError> {
        for export in &request.cache_to {
            if export.place == CachePlace::Inline {
                continue;
            }
            let note = format!("[internal] exporting cache to {}", export.place);
            observer.event(BuildEvent::Note(note));
            let steps = steps(graph, solved, export.mode)?;
            match self.export_cache(export, steps, lease, observer) {
                Err(error) if export.ignores_errors => {
                    let text = format!("cannot export cache to {}: {error}", export.place);
                    observer.event(BuildEvent::Warning(text));
                }
                other => other?,
            }
        }
        Ok(())
    }

    fn export_cache(
        &self,
        export: &CacheExport,
        steps: Vec<SharedStep>,
        lease: &Lease,
        observer: &dyn BuildObserver,
    ) -> Result<(), EngineError> {
        let mut seen = BTreeSet::new();
        let layers = steps.iter().map(|step| &step.diff_id);
        let diff_ids: Vec<Digest> = layers.filter(|id| seen.insert(*id)).cloned().collect();
        // It is no image: nobody runs it by mistake.
        let mut config = ImageConfig {
            architecture: "unknown".to_owned(),
            os: "unknown".to_owned(),
            rootfs: RootFs {
                diff_ids: diff_ids.clone(),
                ..RootFs::default()
            },
            ..ImageConfig::default()
        };
        describe(&mut config, steps)?;
        let bytes = serde_json::to_vec(&config).map_err(|error| text("write a cache", &error))?;
        let context = self.images();
        let plan = push::artifact(
            lease,
            &bytes,
            &diff_ids,
            export.compression,
            observer.images(),
        )?;
        sys::fail::point("engine.build.cache-packed");
        match &export.place {
            CachePlace::Registry(reference) => {
                push::push_plan(&context, reference, &plan, observer.images())?;
            }
            CachePlace::Directory { path, tag, .. } => push::write_layout(&plan, lease, path, tag)?,
            CachePlace::Inline => {}
        }
        Ok(())
    }
}

/// Writes into an image's configuration what its layers are to steps.
pub(crate) fn inline(
    config: &mut ImageConfig,
    graph: &Graph,
    solved: &Solved<Tree>,
    root: StepId,
) -> Result<(), EngineError> {
    let chain = chain(graph, root);
    describe(config, shared(solved, |id| chain.contains(&id))?)
}

fn describe(config: &mut ImageConfig, steps: Vec<SharedStep>) -> Result<(), EngineError> {
    let document = CacheDocument {
        version: VERSION,
        steps,
    };
    let value = serde_json::to_value(document).map_err(|error| text("write a cache", &error))?;
    config.extra.insert(MEMBER.to_owned(), value);
    Ok(())
}

fn steps(
    graph: &Graph,
    solved: &Solved<Tree>,
    mode: CacheMode,
) -> Result<Vec<SharedStep>, EngineError> {
    match mode {
        CacheMode::Max => shared(solved, |_| true),
        CacheMode::Min => {
            let roots = graph.results.iter().map(|result| result.root);
            let chains: BTreeSet<StepId> = roots.flat_map(|root| chain(graph, root)).collect();
            shared(solved, |id| chains.contains(&id))
        }
    }
}

/// The steps that made a result's own layers.
fn chain(graph: &Graph, root: StepId) -> BTreeSet<StepId> {
    let mut chain = BTreeSet::new();
    let mut id = root;
    while let Op::Run(_) | Op::Copy(_) | Op::MakeDirectory(_) = &graph.step(id).op {
        chain.insert(id);
        match graph.step(id).op.inputs().first() {
            Some(below) => id = *below,
            None => break,
        }
    }
    chain
}

fn shared(
    solved: &Solved<Tree>,
    is_wanted: impl Fn(StepId) -> bool,
) -> Result<Vec<SharedStep>, EngineError> {
    let mut steps = Vec::new();
    for (number, (key, tree)) in solved.keys.iter().zip(&solved.trees).enumerate() {
        if let (Some(key), Some(Tree::Stack(stack)), true) = (key, tree, is_wanted(StepId(number)))
            && let Some(layer) = stack.top()
        {
            steps.push(SharedStep {
                key: key.clone(),
                diff_id: layer.diff_id()?,
            });
        }
    }
    Ok(steps)
}
