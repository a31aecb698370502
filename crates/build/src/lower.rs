//! From typed instructions to the graph: which steps a build has and what its image says.
//!
//! Semantics, history and configuration are those of BuildKit's `dockerfile2llb`, held to the
//! `config`, `history`, `plan` and `lint` of `corpus/golden/dockerfile-golden.jsonl`. Only stages
//! that the target needs are lowered. Base images come from a [`Resolver`]; nothing else is asked.

use std::collections::{BTreeMap, BTreeSet};

use types::platform::Platform;

use crate::dockerfile::command::Dockerfile;
use crate::dockerfile::error::DockerfileError;
use crate::graph::{Graph, NamedContexts, Network, Resolver, Surroundings};
use crate::ignore::{IgnoreError, Matcher};
use crate::lint::{CheckOptionError, CheckOptions, Lint, Rule, Warning};

mod arguments;
mod bases;
mod chmod;
mod copy;
mod dispatch;
mod environment;
mod lints;
mod mounts;
mod outline;
mod ports;
mod run;
mod stages;
#[cfg(test)]
mod tests;

pub(crate) use arguments::PREDEFINED;
pub use chmod::ChmodError;
pub use copy::split_pivot;
pub use lints::is_secret_name;
pub use outline::{Outline, OutlineArgument, OutlineMount, outline};
pub use ports::ExposeError;

use environment::Environment;
use stages::State;

/// The most bytes that environments, histories and commands of all steps may take together: a
/// Dockerfile of a few lines can ask for any number of them.
pub const LOWERED_BYTES_MAX: usize = 64 * 1024 * 1024;

/// What is built, and for what.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    /// The file.
    pub dockerfile: &'a Dockerfile,
    /// What the user wants of it.
    pub wishes: Wishes,
    /// `--platform`, one of them; none for that of this machine, or of the image if it has but
    /// one.
    pub platform: Option<Platform>,
    /// Where the steps run.
    pub build_platform: Platform,
    /// There are several platforms: names of steps tell theirs.
    pub is_multi_platform: bool,
    /// All stages are lowered, to check them.
    pub checks_all_stages: bool,
}

/// What the command line says of a build beside the file and the platform.
#[derive(Clone, Debug, Default)]
pub struct Wishes {
    /// `--build-arg`.
    pub build_arguments: BTreeMap<String, String>,
    /// `--target`; empty for the last stage.
    pub target: String,
    /// `--build-context`.
    pub contexts: NamedContexts,
    /// Patterns of the ignore file of the build's context.
    pub ignore: Vec<String>,
    /// The same for named contexts that are directories.
    pub context_ignores: BTreeMap<String, Vec<String>>,
    /// `--label`.
    pub labels: BTreeMap<String, String>,
    /// `--no-cache` and `--no-cache-filter`.
    pub no_cache: NoCache,
    /// `--network`.
    pub network: Network,
    /// Hosts, limits and security options of programs.
    pub surroundings: Surroundings,
    /// `--allow`.
    pub allowed: Allowed,
}

/// What a Dockerfile may have beyond an ordinary container's confinement: it may come from anybody.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Allowed {
    /// `network.host`: `RUN --network=host`.
    pub host_network: bool,
    /// `security.insecure`: `RUN --security=insecure`.
    pub insecure: bool,
}

impl<'a> Request<'a> {
    /// A build of the last stage for a platform, with nothing else said.
    pub fn new(dockerfile: &'a Dockerfile, build_platform: Platform) -> Self {
        Self {
            dockerfile,
            wishes: Wishes::default(),
            platform: None,
            build_platform,
            is_multi_platform: false,
            checks_all_stages: false,
        }
    }
}

/// Which steps are done whatever the cache knows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum NoCache {
    /// None.
    #[default]
    Never,
    /// All.
    All,
    /// Those of some stages.
    Stages(Vec<String>),
}

/// What came of it beside the graph.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Lowered {
    /// What the rules found.
    pub warnings: Vec<Warning>,
    /// `--build-arg`s that nothing declares.
    pub unused_arguments: Vec<String>,
    /// `SOURCE_DATE_EPOCH`.
    pub epoch: Option<Epoch>,
}

/// `SOURCE_DATE_EPOCH`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Epoch {
    /// Seconds.
    Seconds(i64),
    /// The time of the commit that the build's context is.
    Context,
}

/// Why a Dockerfile has no graph.
#[derive(Debug, thiserror::Error)]
pub enum LowerError {
    /// Something in the file.
    #[error(transparent)]
    Dockerfile(#[from] DockerfileError),
    /// `--target` names no stage.
    #[error("target stage {} could not be found{}", types::go_syntax::quote(.target), hint(.did_you_mean.as_deref()))]
    Target {
        /// The name.
        target: String,
        /// What was meant.
        did_you_mean: Option<String>,
    },
    /// The ignore file.
    #[error(transparent)]
    Ignore(#[from] IgnoreError),
    /// `# check=`, or the build argument that takes its place.
    #[error("failed to parse check options: {0}")]
    CheckOptions(#[from] CheckOptionError),
    /// `# check=error=true`, and there are warnings.
    #[error("lint violation found for rules: {}", rules.join(", "))]
    Lint {
        /// The rules.
        rules: Vec<&'static str>,
        /// What they found.
        warnings: Vec<Warning>,
    },
    /// `SOURCE_DATE_EPOCH` is none.
    #[error("invalid SOURCE_DATE_EPOCH: {0}")]
    Epoch(String),
}

impl LowerError {
    /// The place in the file, if it is one.
    pub fn in_file(&self) -> Option<&DockerfileError> {
        match self {
            Self::Dockerfile(error) => Some(error),
            _ => None,
        }
    }
}

fn hint(near: Option<&str>) -> String {
    near.map(|near| format!(" (did you mean {near}?)"))
        .unwrap_or_default()
}

/// Adds a build to the graph.
pub fn lower(
    request: &Request,
    resolver: &mut dyn Resolver,
    graph: &mut Graph,
) -> Result<Lowered, LowerError> {
    let mut lowering = Lowering::new(request, resolver, graph)?;
    let target = lowering.lower_needed()?;
    let rules = lowering.lint.failed_rules();
    if !rules.is_empty() {
        let warnings = lowering.lint.warnings;
        return Err(LowerError::Lint { rules, warnings });
    }
    lowering.finish(target);
    Ok(Lowered {
        unused_arguments: lowering.unused_arguments(),
        epoch: lowering.epoch,
        warnings: lowering.lint.warnings,
    })
}

/// What the rules and the language say of a file, without a build: `--check`.
#[derive(Debug, Default)]
pub struct Checked {
    /// What the rules found, also before an error.
    pub warnings: Vec<Warning>,
    /// Why it cannot be built; [`LowerError::Lint`] where warnings are errors.
    pub error: Option<LowerError>,
}

/// Checks a file; all its stages, where no target is named.
pub fn check(request: &Request, resolver: &mut dyn Resolver) -> Checked {
    let mut graph = Graph::default();
    let mut request = request.clone();
    request.checks_all_stages |= request.wishes.target.is_empty();
    let mut lowering = match Lowering::new(&request, resolver, &mut graph) {
        Ok(lowering) => lowering,
        Err(error) => {
            return Checked {
                error: Some(error),
                ..Checked::default()
            };
        }
    };
    let mut error = lowering.lower_needed().err();
    let rules = lowering.lint.failed_rules();
    let warnings = lowering.lint.warnings;
    if error.is_none() && !rules.is_empty() {
        let warnings = warnings.clone();
        error = Some(LowerError::Lint { rules, warnings });
    }
    Checked { warnings, error }
}

/// A build on its way to a graph.
struct Lowering<'a> {
    request: &'a Request<'a>,
    resolver: &'a mut dyn Resolver,
    graph: &'a mut Graph,
    lint: Lint,
    escape: char,
    /// What FROM lines see: predefined ones, then the ARGs before the first FROM.
    globals: Environment,
    /// Names that the ARGs before the first FROM declare, with or without value.
    declared: Vec<String>,
    /// `--build-arg`, with the resolved epoch.
    arguments: BTreeMap<String, String>,
    /// Names that any ARG that was lowered declares.
    used: BTreeSet<String>,
    epoch: Option<Epoch>,
    target_platform: Platform,
    matcher: Option<Matcher>,
    states: Vec<State<'a>>,
    /// Stages by name in lower case.
    by_name: BTreeMap<String, usize>,
    /// What was made so far, against [`LOWERED_BYTES_MAX`].
    bytes: usize,
}

impl<'a> Lowering<'a> {
    fn new(
        request: &'a Request<'a>,
        resolver: &'a mut dyn Resolver,
        graph: &'a mut Graph,
    ) -> Result<Self, LowerError> {
        let dockerfile = request.dockerfile;
        let own = dockerfile.directives.check.as_ref();
        let options = match request
            .wishes
            .build_arguments
            .get("BUILDKIT_DOCKERFILE_CHECK")
        {
            Some(options) => CheckOptions::parse(options)?,
            None => CheckOptions::parse(own.map_or("", |check| &check.value))?,
        };
        let matcher = match request.wishes.ignore.is_empty() {
            true => None,
            false => Some(Matcher::new(&request.wishes.ignore)?),
        };
        let mut lowering = Self {
            request,
            resolver,
            graph,
            lint: Lint::new(options),
            escape: dockerfile.directives.escape_character(),
            globals: Environment::default(),
            declared: Vec::new(),
            arguments: request.wishes.build_arguments.clone(),
            used: BTreeSet::new(),
            epoch: None,
            target_platform: request
                .platform
                .clone()
                .unwrap_or_else(|| request.build_platform.clone()),
            matcher,
            states: Vec::new(),
            by_name: BTreeMap::new(),
            bytes: 0,
        };
        for line in &dockerfile.empty_continuations {
            lowering.lint.warn_line(
                Rule::NoEmptyContinuation,
                *line,
                "Empty continuation line".to_owned(),
                "remove the empty lines within this instruction".to_owned(),
            );
        }
        Ok(lowering)
    }

    /// Lowers all that is needed; gives the target.
    fn lower_needed(&mut self) -> Result<usize, LowerError> {
        lints::whole_file(self.request.dockerfile, &mut self.lint);
        self.global_arguments()?;
        let target = self.plan_stages()?;
        let needed = self.resolve_stages(target)?;
        self.dispatch_stages(&needed)?;
        Ok(target)
    }
}
