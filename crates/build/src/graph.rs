//! The graph: what a build does, as pure data. It knows nothing of Dockerfiles.
//!
//! A front end makes it; the engine executes it. A step is an
//! operation on what other steps give, its inputs; steps stand after their inputs, so that the graph
//! has no cycle. Two steps with equal definitions and equal inputs are one piece of work.
//!
//! What a step means to the cache is its *definition*: the operation's serialised form. Members that
//! are skipped there change nothing of the result (which step an input is: its content counts; a
//! secret's value is not even here) or must not count (proxies, host names of this machine).
//!
//! | operation | inputs | gives |
//! |---|---|---|
//! | `Scratch` | – | nothing at all |
//! | `Image` | – | an image's layers |
//! | `Context` | – | files of the user: directory, archive |
//! | `Git`, `Http` | – | a checkout, one file |
//! | `Run` | the root, sources of mounts | the root and what the program changed |
//! | `Copy` | the root, sources | the root and the copied files |
//! | `MakeDirectory` | the root | the root and a directory |

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Serialize;
use types::container::Resources;
use types::digest::Digest;
use types::image::ImageConfig;
use types::platform::Platform;

/// The most steps of a graph.
pub const STEPS_MAX: usize = 100_000;

/// Number of a step in its graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StepId(pub usize);

/// A build.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Graph {
    /// The steps; the inputs of each stand before it.
    pub steps: Vec<Step>,
    /// What is built: one result per platform.
    pub results: Vec<BuildResult>,
}

impl Graph {
    /// Adds a step, or finds the one that is equal to it.
    pub fn add(&mut self, step: Step) -> StepId {
        let equal = |known: &Step| known.op == step.op && known.ignores_cache == step.ignores_cache;
        // What is written twice is often written in a row of stages that begin alike.
        if let Some(at) = self.steps.iter().position(equal) {
            return StepId(at);
        }
        self.steps.push(step);
        StepId(self.steps.len() - 1)
    }

    /// A step.
    pub fn step(&self, id: StepId) -> &Step {
        &self.steps[id.0]
    }

    /// Which steps the results need, by number.
    pub fn needed(&self) -> Vec<bool> {
        let mut needed = vec![false; self.steps.len()];
        let mut pending: Vec<StepId> = self.results.iter().map(|result| result.root).collect();
        while let Some(id) = pending.pop() {
            if !std::mem::replace(&mut needed[id.0], true) {
                pending.extend(self.steps[id.0].op.inputs());
            }
        }
        needed
    }
}

/// One step.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// What is done.
    pub op: Op,
    /// What people call it: `[build 2/5] RUN make`.
    pub name: String,
    /// Where it is written.
    pub place: Option<Place>,
    /// `--no-cache`, `--no-cache-filter`: it is done whatever the cache knows.
    pub ignores_cache: bool,
}

/// Where something is written, for errors that show the lines.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Place {
    /// The name of the stage, or its number.
    pub stage: String,
    /// The first line of the instruction, counted from 1.
    pub first_line: usize,
    /// The last one.
    pub last_line: usize,
}

/// What a step does.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Op {
    /// Nothing to begin with.
    Scratch,
    /// The file system of an image.
    Image(ImageSource),
    /// Files of the user.
    Context(ContextSource),
    /// A checkout.
    Git(GitSource),
    /// A file from the network.
    Http(HttpSource),
    /// A program runs.
    Run(Box<Run>),
    /// Files are copied.
    Copy(Box<Copy>),
    /// A directory is made, where there is none.
    MakeDirectory(MakeDirectory),
}

impl Op {
    /// The steps whose results it works on, in a fixed order.
    pub fn inputs(&self) -> Vec<StepId> {
        match self {
            Self::Scratch | Self::Image(_) | Self::Context(_) | Self::Git(_) | Self::Http(_) => {
                Vec::new()
            }
            Self::MakeDirectory(make) => vec![make.root.step()],
            Self::Copy(copy) => {
                let sources = copy.sources.iter().filter_map(CopySource::step);
                std::iter::once(copy.root.step()).chain(sources).collect()
            }
            Self::Run(run) => {
                let mounts = run.mounts.iter().filter_map(Mount::step);
                std::iter::once(run.root.step()).chain(mounts).collect()
            }
        }
    }
}

/// The step that an operation works on. Which number it has is no part of a definition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(into = "()")]
pub struct Input(StepId);

impl Input {
    /// Works on what that step gives.
    pub fn new(step: StepId) -> Self {
        Self(step)
    }

    /// The step.
    pub fn step(self) -> StepId {
        self.0
    }
}

impl From<Input> for () {
    fn from(_: Input) {}
}

/// An image whose content is known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ImageSource {
    /// What people call it: `docker.io/library/debian:12`.
    #[serde(skip)]
    pub reference: String,
    /// The image's id: the digest of its configuration.
    pub id: Digest,
}

/// A set of files that the user gives: a directory of this machine, or an archive that was sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ContextSource {
    /// Empty for the build's context, else the name given with `--build-context`.
    #[serde(skip)]
    pub name: String,
    /// Lines of the ignore file: what it excludes is not there.
    #[serde(skip)]
    pub ignore: Vec<String>,
}

/// A checkout of a repository.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct GitSource {
    /// The remote, without fragment and query.
    pub remote: String,
    /// Branch, tag or commit; empty is the remote's head.
    pub reference: String,
    /// A directory of the checkout that is its root; empty is all.
    pub subdirectory: String,
    /// The commit must begin so.
    pub checksum: String,
    /// `.git` stays.
    pub keeps_git_directory: bool,
    /// Submodules are fetched.
    pub submodules: bool,
}

/// A file from the network.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct HttpSource {
    /// Its address.
    pub url: String,
    /// Its digest, where it is known before.
    pub checksum: Option<Digest>,
}

/// A program that runs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Run {
    /// Its root file system.
    pub root: Input,
    /// Program and arguments.
    pub args: Vec<String>,
    /// Its whole environment, `KEY=VALUE`, build arguments included.
    pub env: Vec<String>,
    /// Variables that do not count: predefined proxy arguments.
    #[serde(skip)]
    pub uncounted_env: Vec<String>,
    /// Working directory, absolute.
    pub cwd: String,
    /// `uid|name[:gid|group]`, empty for root.
    pub user: String,
    /// What is mounted, in order.
    pub mounts: Vec<Mount>,
    /// Its network.
    pub network: Network,
    /// Its confinement.
    pub security: Security,
    /// `--device`: names of devices.
    pub devices: Vec<Device>,
    /// Host name; empty is `buildkitsandbox`.
    pub hostname: String,
    /// Where it runs.
    #[serde(skip)]
    pub surroundings: Surroundings,
    /// Platform of the root.
    pub platform: Platform,
}

/// How programs run here, as the command line says. None of it counts: it is of this machine, and
/// what a program makes does not depend on it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Surroundings {
    /// `--add-host`, lines of `/etc/hosts`: name and address.
    pub hosts: Vec<(String, String)>,
    /// `--memory`, `--cpu-shares`, `--ulimit` and their like.
    pub resources: Resources,
    /// `--shm-size` in bytes; 0 is the usual one.
    pub shm_bytes: u64,
    /// `--cgroup-parent`; empty is ours.
    pub cgroup_parent: String,
    /// `--security-opt`.
    pub security_options: Vec<String>,
}

/// A device that a program is given.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Device {
    /// Its qualified name.
    pub name: String,
    /// Without it the step fails.
    pub is_required: bool,
}

/// Network of a program.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Network {
    /// A bridge.
    #[default]
    Default,
    /// Loopback alone.
    None,
    /// The host's.
    Host,
}

/// Confinement of a program.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Security {
    /// As any container's.
    #[default]
    Sandbox,
    /// All privileges.
    Insecure,
}

/// Something mounted while a program runs. None of it is in the result.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Mount {
    /// Absolute path in the root.
    pub target: String,
    /// What it is.
    pub kind: MountKind,
}

impl Mount {
    /// The step whose result is mounted.
    pub fn step(&self) -> Option<StepId> {
        match &self.kind {
            MountKind::Bind { from, .. } => Some(from.step()),
            MountKind::Cache(cache) => cache.from.map(Input::step),
            _ => None,
        }
    }
}

/// Kinds of mounts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum MountKind {
    /// Files of another step, image or context.
    Bind {
        /// Whose.
        from: Input,
        /// Path there, `/` for all.
        source: String,
        /// Writes are allowed, and thrown away.
        is_writable: bool,
    },
    /// A directory that stays from build to build.
    Cache(CacheMount),
    /// Memory.
    Tmpfs {
        /// Most bytes; 0 is no limit.
        size_bytes: u64,
    },
    /// A secret, as a file or a variable.
    Secret(SecretMount),
    /// The socket of an ssh agent.
    Ssh(SshMount),
    /// A file with this content, such as a here-document that is a script.
    File {
        /// Content.
        data: Vec<u8>,
        /// Permission bits.
        mode: u32,
    },
}

/// A directory that stays from build to build.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CacheMount {
    /// Its name.
    pub id: String,
    /// Who may use it at once.
    pub sharing: Sharing,
    /// What it holds at first.
    pub from: Option<Input>,
    /// Path there, `/` for all.
    pub source: String,
    /// No writes.
    pub is_read_only: bool,
    /// Permission bits of a new one.
    pub mode: u32,
    /// Owner of a new one.
    pub uid: u32,
    /// Group of a new one.
    pub gid: u32,
}

/// Who may use a cache mount at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Sharing {
    /// Everybody.
    #[default]
    Shared,
    /// One each.
    Private,
    /// One after the other.
    Locked,
}

/// A secret. Its value is never part of a graph.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SecretMount {
    /// Its name.
    pub id: String,
    /// The variable that holds it.
    pub env: Option<String>,
    /// Whether it is a file at the mount's target.
    pub is_file: bool,
    /// Without it the step fails.
    pub is_required: bool,
    /// Permission bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
}

/// The socket of an ssh agent, whose path is in `SSH_AUTH_SOCK`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SshMount {
    /// Its name.
    pub id: String,
    /// Without it the step fails.
    pub is_required: bool,
    /// Permission bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
}

/// Files that are copied.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Copy {
    /// Where they are put.
    pub root: Input,
    /// What is copied, in order.
    pub sources: Vec<CopySource>,
    /// Absolute path; it ends with `/` where it is a directory for sure.
    pub destination: String,
    /// `--chown`: `user[:group]`, names of the root's passwd.
    pub chown: Option<String>,
    /// `--chmod`: octal or symbolic.
    pub chmod: Option<String>,
    /// `--link`: a layer that does not depend on the root.
    pub is_linked: bool,
    /// `--parents`: the source's directories are kept.
    pub keeps_parents: bool,
    /// `--exclude`: patterns, relative to each source.
    pub excludes: Vec<String>,
    /// Archives are unpacked.
    pub unpack: Unpack,
}

/// Which archives among the sources are unpacked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Unpack {
    /// None.
    #[default]
    Never,
    /// Local ones, as `ADD` does; those from the network are copied.
    Local,
    /// All.
    Always,
}

/// One source of a copy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CopySource {
    /// Paths of a step's files.
    Files {
        /// Whose.
        from: Input,
        /// A path, with wildcards, from the root of those files.
        pattern: String,
        /// Whether nothing may match.
        may_be_missing: bool,
    },
    /// The one file of an [`Op::Http`] step.
    Download {
        /// Which.
        from: Input,
        /// Its name beneath the destination.
        name: String,
    },
    /// A file with this content.
    Inline {
        /// Its name beneath the destination.
        name: String,
        /// Content.
        data: Vec<u8>,
    },
}

impl CopySource {
    /// The step whose files are copied.
    pub fn step(&self) -> Option<StepId> {
        match self {
            Self::Files { from, .. } | Self::Download { from, .. } => Some(from.step()),
            Self::Inline { .. } => None,
        }
    }
}

/// A directory that is made with its parents, owned by `user`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MakeDirectory {
    /// Where.
    pub root: Input,
    /// Absolute path.
    pub path: String,
    /// `uid|name[:gid|group]` of the root's passwd, empty for root.
    pub user: String,
}

/// What a build gives.
#[derive(Clone, Debug, PartialEq)]
pub struct BuildResult {
    /// The step whose files it has.
    pub root: StepId,
    /// Where it runs.
    pub platform: Platform,
    /// The image's configuration with the base's history; layers, times and own history are filled
    /// in when it is committed.
    pub config: ImageConfig,
    /// What is added to the history, in order.
    pub history: Vec<HistoryLine>,
}

/// A line of an image's history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryLine {
    /// Docker's words: `RUN /bin/sh -c make # buildkit`.
    pub created_by: String,
    /// `buildkit.dockerfile.v0`, or empty.
    pub comment: String,
    /// `MAINTAINER`.
    pub author: String,
    /// The step that made its layer; `None` where it has none.
    pub step: Option<StepId>,
}

/// An image as the engine found it, for whoever makes a graph.
#[derive(Clone, Debug, PartialEq)]
pub struct ResolvedImage {
    /// The source of a step.
    pub source: ImageSource,
    /// The digest that the registry gave for it, if it did.
    pub manifest: Option<Digest>,
    /// Its configuration.
    pub config: ImageConfig,
}

/// Where configurations of base images come from.
pub trait Resolver {
    /// Finds an image by its reference, as written in `FROM` or `--from`, for a platform; fetches it
    /// where it is not here. The error is for people.
    ///
    /// # Errors
    /// Why there is no such image.
    fn image(&mut self, reference: &str, platform: &Platform) -> Result<ResolvedImage, String>;

    /// As [`Resolver::image`], for an OCI layout on this machine: `path`, and a tag or digest.
    ///
    /// # Errors
    /// Why there is no such image.
    fn oci_layout(
        &mut self,
        path: &Path,
        reference: &str,
        platform: &Platform,
    ) -> Result<ResolvedImage, String>;
}

/// What a named context is, as given with `--build-context`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NamedContext {
    /// `docker-image://…`.
    Image(String),
    /// `oci-layout://path[:tag|@digest]`.
    OciLayout(PathBuf, String),
    /// `target:…` of the same file.
    Target(String),
    /// A directory or archive, which the engine knows by the context's name.
    Local,
    /// A repository.
    Git(GitSource),
    /// An archive from the network.
    Http(String),
}

/// Named contexts by name.
pub type NamedContexts = BTreeMap<String, NamedContext>;
