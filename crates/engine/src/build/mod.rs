//! `build`: a Dockerfile becomes an image.
//!
//! ```text
//! Dockerfile ─parse, lower─▶ graph ─solve─▶ stacks of layers ─commit─▶ image
//!                             (crate build)   (worker, run, copy)   (here)
//! ```
//! A step whose key the cache knows costs one small file read. One that is done makes its layer in
//! place: the upper directory of its overlay. See `layer` for how that is hashed and published while
//! the next step runs, `files` for what a selection's digest is, and `docs/concepts/build-cache.md`.

mod annotate;
mod archive;
mod attest;
mod caches;
mod chmod;
mod commit;
mod context;
mod copy;
mod depth;
mod files;
mod git;
mod layer;
mod listing;
mod memo;
mod mounts;
mod output;
mod platforms;
mod request;
mod resolve;
mod run;
mod select;
mod squash;
mod steps;
mod stubs;
mod sweep;
mod times;
mod together;
mod verify;
mod walk;
mod worker;

use std::path::PathBuf;
use std::sync::Arc;

use build::dockerfile;
use build::graph::{Graph, StepId};
use build::lower::{self, Epoch, Lowered};
use build::solve::{self, Mode, Options, Solved};
use build::why::Trace;
use storage::lease::Lease;
use sys::atomic::Durability;
use types::excerpt::excerpt;

pub use annotate::{Annotation, AnnotationLevel};
pub(crate) use attest::rpm;
pub use attest::{Attestations, ProvenanceMode};
pub use build::dockerfile::place::Lines;
pub use build::dockerfile::targets::Target;
pub use build::dockerfile::vocabulary::vocabulary;
pub use build::graph::Surroundings;
pub use build::graph::{NamedContext, Network};
pub use build::ignore::{misspelt as misspelt_ignore, parse_checked as parse_ignore};
pub use build::key::digest_of_parts;
pub use build::lint::Warning as LintWarning;
pub use build::lower::{Allowed, NoCache, Wishes};
pub use build::lower::{Outline, OutlineArgument, OutlineMount};
pub use caches::{CacheExport, CacheMode, CachePlace};
pub use context::{Fetched, FetchedContext};
pub use output::Export;
pub use platforms::platforms;
pub use request::{
    AllowedDevices, BuildReport, BuildRequest, ContextDirectory, Inputs, SecretSource, Wanted,
    read_any_limited, read_beneath, read_limited,
};
pub use storage::compression::Compression;
pub use sweep::{CachePrune, CachedStep};
pub use verify::Unequal;

use crate::Engine;
use crate::error::EngineError;
pub(crate) use worker::BUILD_PREFIX;
use worker::{BuildWorker, Tree};

/// A document of what the last build looked at.
const TRACE_BYTES_MAX: u64 = 64 << 20;
/// So much of a program that failed is shown: a here-document may be long.
const PROGRAM_BYTES_MAX: usize = 1024;
/// Steps at once: more than processors, since many wait for the network or the disk.
const WIDTH_MIN: usize = 4;

/// Which stream of a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Output,
    /// Standard error.
    Error,
}

/// How a step goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome<'a> {
    /// It is looked at.
    Begun,
    /// The cache has it.
    Cached,
    /// The cache has not, and why.
    Missed(&'a str),
    /// It is done.
    Done,
    /// It failed.
    Failed,
}

/// Something happened in a build.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BuildEvent<'a> {
    /// A step went on.
    Step {
        /// Its number.
        step: usize,
        /// What people call it.
        name: &'a str,
        /// How.
        outcome: Outcome<'a>,
    },
    /// A program wrote something.
    Output {
        /// The step's number.
        step: usize,
        /// Where.
        stream: Stream,
        /// What.
        bytes: &'a [u8],
    },
    /// Something that is not of a step: `[internal] …`, with what came of it.
    Note(String),
    /// Something that may be wrong.
    Warning(String),
}

/// Who wants to know. Called from several threads at once.
pub trait BuildObserver: Sync {
    /// Takes note of an event.
    fn event(&self, event: BuildEvent<'_>);

    /// Who wants to know of pulls.
    fn images(&self) -> &dyn crate::observer::Observer;
}

/// A program that did not succeed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepFailure {
    /// Program and arguments.
    pub args: Vec<String>,
    /// Its exit code.
    pub code: i32,
}

impl std::fmt::Display for StepFailure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "process {} did not complete successfully: exit code: {}",
            types::go_syntax::quote(&excerpt(&self.args.join(" "), PROGRAM_BYTES_MAX)),
            self.code
        )
    }
}

/// A build that failed at a step.
#[derive(Debug)]
pub struct BuildFailure {
    /// The step's number.
    pub step: usize,
    /// What people call it.
    pub name: String,
    /// The lines of its instruction, with those around them.
    pub excerpt: String,
    /// With `--debug-on-failure`: an image of the files that the program left, with its environment.
    pub image: Option<types::digest::Digest>,
    /// Why.
    pub error: EngineError,
}

impl Engine {
    /// Builds what a request says.
    ///
    /// # Errors
    /// A Dockerfile that is none, with place; a step that failed; what is missing.
    pub fn build(
        &self,
        request: &BuildRequest,
        observer: &dyn BuildObserver,
    ) -> Result<BuildReport, EngineError> {
        match request.wanted {
            Wanted::Targets => Ok(BuildReport {
                targets: dockerfile::targets::targets(&parsed(request)?),
                ..BuildReport::default()
            }),
            Wanted::Outline => self.outline(request, observer),
            _ => self.build_graph(request, observer),
        }
    }

    fn outline(
        &self,
        request: &BuildRequest,
        observer: &dyn BuildObserver,
    ) -> Result<BuildReport, EngineError> {
        let lease = self.store().lease()?;
        let parsed = parsed(request)?;
        let asked = request.lowering(&parsed, request.platforms.first().cloned());
        let mut resolver = self.resolver(request, &lease, observer);
        let outline = lower::outline(&asked, &mut resolver);
        Ok(BuildReport {
            outline: outline.map_err(|error| unlowered(request, &error))?,
            ..BuildReport::default()
        })
    }

    fn resolver<'a>(
        &'a self,
        request: &BuildRequest,
        lease: &'a Lease,
        observer: &'a dyn BuildObserver,
    ) -> resolve::ImageResolver<'a> {
        resolve::ImageResolver {
            engine: self,
            lease,
            observer,
            pulls_always: request.pulls_always,
            known: std::collections::BTreeMap::new(),
        }
    }

    fn build_graph(
        &self,
        request: &BuildRequest,
        observer: &dyn BuildObserver,
    ) -> Result<BuildReport, EngineError> {
        let started = request.begin()?;
        let store = self.store();
        store.prepare_cache()?;
        self.sweep_builds();
        let lease = Arc::new(store.lease()?);
        let (graph, lowered) = self.graph(request, &lease, observer)?;
        let mut report = BuildReport {
            warnings: lowered.warnings.clone(),
            unused_arguments: lowered.unused_arguments.clone(),
            ..BuildReport::default()
        };
        if request.wanted == Wanted::Check {
            return Ok(report);
        }
        let epoch = epoch(&lowered, request)?;
        let trace_path = self.trace_path(request);
        let last = read_trace(&trace_path);
        emulated(&graph)?;
        let mut worker = BuildWorker::new(self, observer, lease.clone(), &request.inputs, epoch);
        worker.caches = self.other_caches(&request.cache_from, observer);
        let options = Options {
            mode: match request.wanted {
                Wanted::Explanation => Mode::Explain,
                _ => Mode::Build,
            },
            width: width(),
            last: last.as_ref(),
            asks_others: !worker.caches.is_empty(),
        };
        let solved = solve::solve(&graph, &worker, &options);
        worker.end();
        let solved = solved.map_err(|(id, error)| {
            let image = self.failed_image(&worker, &lease);
            failure(request, &graph, id, error, image)
        })?;
        report.causes = solved
            .causes
            .iter()
            .map(|(id, cause)| (graph.step(*id).name.clone(), cause.clone()))
            .collect();
        if request.wanted == Wanted::Explanation {
            return Ok(report);
        }
        worker.export_all(&graph, &solved, &request.exports)?;
        if request.wants_image() {
            let done = attest::Done {
                request,
                graph: &graph,
                solved: &solved,
                worker: &worker,
                started,
            };
            self.commit_results(&done, &mut report)?;
        }
        self.export_caches(request, &graph, &solved, &lease, observer)?;
        if request.verifies {
            report.unequal = self.verify(request, (&graph, &solved), epoch, observer)?;
        }
        write_trace(&trace_path, &solved.trace, last.as_ref());
        self.bound_cache(&lease);
        Ok(report)
    }

    /// Does all steps once more, apart from the first time, and compares.
    fn verify(
        &self,
        request: &BuildRequest,
        (graph, solved): (&Graph, &Solved<Tree>),
        epoch: Option<i64>,
        observer: &dyn BuildObserver,
    ) -> Result<Option<Unequal>, EngineError> {
        let note = "[internal] verify: every step once more".to_owned();
        observer.event(BuildEvent::Note(note));
        let lease = Arc::new(self.store().lease()?);
        let mut worker = BuildWorker::new(self, observer, lease, &request.inputs, epoch);
        worker.is_kept = false;
        let again = verify::uncached(graph);
        let options = Options {
            mode: Mode::Build,
            width: width(),
            last: None,
            asks_others: false,
        };
        let second = solve::solve(&again, &worker, &options);
        worker.end();
        let second = second.map_err(|(id, error)| failure(request, graph, id, error, None))?;
        verify::first_difference(graph, solved, &second)
    }

    fn graph(
        &self,
        request: &BuildRequest,
        lease: &Lease,
        observer: &dyn BuildObserver,
    ) -> Result<(Graph, Lowered), EngineError> {
        let parsed = parsed(request)?;
        let mut graph = Graph::default();
        let mut all: Option<Lowered> = None;
        let platforms: Vec<_> = match request.platforms.as_slice() {
            [] => vec![None],
            given => given.iter().cloned().map(Some).collect(),
        };
        for platform in platforms {
            let asked = request.lowering(&parsed, platform);
            let mut resolver = self.resolver(request, lease, observer);
            let lowered = lower::lower(&asked, &mut resolver, &mut graph)
                .map_err(|error| unlowered(request, &error))?;
            all.get_or_insert(lowered);
        }
        Ok((graph, all.unwrap_or_default()))
    }

    /// One per context, file and target: what is compared is what the user builds again.
    fn trace_path(&self, request: &BuildRequest) -> PathBuf {
        let context = request.inputs.contexts.get("");
        let path = context.map(|context| context.path.as_os_str().as_encoded_bytes());
        let platforms: Vec<String> = request.platforms.iter().map(ToString::to_string).collect();
        let digest = digest_of_parts([
            path.unwrap_or_default(),
            request.dockerfile_name.as_bytes(),
            request.wishes.target.as_bytes(),
            platforms.join(",").as_bytes(),
        ]);
        self.store().path("cache/traces").join(digest.hex())
    }
}

fn parsed(request: &BuildRequest) -> Result<dockerfile::command::Dockerfile, EngineError> {
    dockerfile::parse(&request.dockerfile).map_err(|error| located(request, &error))
}

fn unlowered(request: &BuildRequest, error: &lower::LowerError) -> EngineError {
    match error.in_file() {
        Some(error) => located(request, error),
        None => EngineError::invalid(error.to_string()),
    }
}

/// An error in the file, with its place and the lines around it.
fn located(request: &BuildRequest, error: &dockerfile::DockerfileError) -> EngineError {
    EngineError::invalid(format!(
        "{}\n{}",
        error.located(&request.dockerfile_name),
        error.excerpt(&request.dockerfile_name, &request.dockerfile)
    ))
}

/// `SOURCE_DATE_EPOCH`.
fn epoch(lowered: &Lowered, request: &BuildRequest) -> Result<Option<i64>, EngineError> {
    match lowered.epoch {
        Some(Epoch::Seconds(seconds)) => Ok(Some(seconds)),
        Some(Epoch::Context) => {
            let context = request.inputs.contexts.get("");
            let time = context.and_then(|context| context.commit_s);
            time.map(Some).ok_or_else(|| {
                EngineError::invalid("SOURCE_DATE_EPOCH=context needs a git context")
            })
        }
        None => Ok(None),
    }
}

fn width() -> usize {
    let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    (2 * processors).max(WIDTH_MIN)
}

/// Refuses programs for processors that this machine neither has nor was taught.
fn emulated(graph: &Graph) -> Result<(), EngineError> {
    let host = types::platform::Platform::host().normalised();
    let runs = graph.steps.iter().zip(graph.needed());
    for (step, _) in runs.filter(|(_, is_needed)| *is_needed) {
        let build::graph::Op::Run(run) = &step.op else {
            continue;
        };
        if !platforms::runs(&run.platform.architecture) {
            return Err(EngineError::invalid(format!(
                "{}: this machine cannot run programs for {}: it is {}, and no emulator is registered \
                 with binfmt_misc (Debian has one in qemu-user-static). What only copies files can be \
                 built for any platform; a stage FROM --platform=$BUILDPLATFORM runs here",
                step.name, run.platform, host
            )));
        }
    }
    Ok(())
}

fn failure(
    request: &BuildRequest,
    graph: &Graph,
    id: StepId,
    error: EngineError,
    image: Option<types::digest::Digest>,
) -> EngineError {
    let step = graph.step(id);
    // A source has no lines of its own: those of who needs it first.
    let user = graph
        .steps
        .iter()
        .find(|other| other.op.inputs().contains(&id));
    let place = step.place.as_ref().or_else(|| user?.place.as_ref());
    let excerpt = place.map(|place| {
        let number = |line: usize| u32::try_from(line).unwrap_or(u32::MAX);
        let lines = Lines {
            start: number(place.first_line),
            end: number(place.last_line),
        };
        let start = dockerfile::place::Position {
            line: lines.start,
            column: 1,
        };
        dockerfile::place::excerpt(&request.dockerfile_name, &request.dockerfile, lines, start)
    });
    EngineError::Build(Box::new(BuildFailure {
        step: id.0,
        name: step.name.clone(),
        excerpt: excerpt
            .map(|excerpt| excerpt.to_string())
            .unwrap_or_default(),
        image,
        error,
    }))
}

fn read_trace(path: &std::path::Path) -> Option<Trace> {
    let bytes = sys::atomic::read_limited(path, TRACE_BYTES_MAX).ok()?;
    serde_json::from_slice(&bytes).ok()
}

/// That it cannot be kept costs an explanation and nothing else.
fn write_trace(path: &std::path::Path, trace: &Trace, last: Option<&Trace>) {
    if last != Some(trace)
        && let Ok(bytes) = serde_json::to_vec(trace)
    {
        let _ = sys::atomic::write(path, &bytes, Durability::Volatile);
    }
}

/// The stack that a step gave.
fn stack(solved: &Solved<Tree>, id: StepId) -> Result<&layer::Stack, EngineError> {
    match solved.trees.get(id.0).and_then(Option::as_ref) {
        Some(Tree::Stack(stack)) => Ok(stack),
        _ => Err(EngineError::conflict("a result of the build was not built")),
    }
}
