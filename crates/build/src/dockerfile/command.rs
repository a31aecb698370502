//! Instructions with meaning: what each one says, before variables are replaced.
//!
//! The typed model that everything behind the parser works with. Values are as written, quotes
//! and `$name` included: those of most instructions are expanded when the step is made, with the
//! variables of that place.

use types::container::Healthcheck;

use super::heredoc::Heredoc;
use super::mount::{Device, MountFlag};
use super::place::Origin;
use super::reader::Directives;

/// A Dockerfile that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dockerfile {
    /// The directives at its top.
    pub directives: Directives,
    /// The ARGs before the first FROM.
    pub arguments: Vec<GlobalArguments>,
    /// The stages; at least one.
    pub stages: Vec<Stage>,
    /// Lines on which an instruction ends that has an empty line within, which the lint tells.
    pub empty_continuations: Vec<u32>,
}

/// One ARG before the first FROM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GlobalArguments {
    /// Its name as written.
    pub keyword: String,
    /// What it declares.
    pub arguments: Vec<Argument>,
    /// Where it stands.
    pub origin: Origin,
}

/// A stage: FROM and what follows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stage {
    /// `FROM` as written.
    pub keyword: String,
    /// `AS` as written, and the name in its own case.
    pub as_written: Option<(String, String)>,
    /// Its name in lower case.
    pub name: Option<String>,
    /// An image, an earlier stage, `scratch` or a named context.
    pub base: String,
    /// `--platform`.
    pub platform: Option<String>,
    /// Its instructions.
    pub instructions: Vec<Instruction>,
    /// Where FROM stands.
    pub origin: Origin,
}

/// One instruction of a stage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instruction {
    /// Its name as written.
    pub keyword: String,
    /// What it says.
    pub command: Command,
    /// Where it stands.
    pub origin: Origin,
}

/// What an instruction says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// `ADD`.
    Add(Add),
    /// `ARG`.
    Arg(Vec<Argument>),
    /// `CMD`.
    Cmd(CommandLine),
    /// `COPY`.
    Copy(Copy),
    /// `ENTRYPOINT`.
    Entrypoint(CommandLine),
    /// `ENV`.
    Env(Vec<Pair>),
    /// `EXPOSE`.
    Expose(Vec<String>),
    /// `HEALTHCHECK`.
    Healthcheck(Healthcheck),
    /// `LABEL`.
    Label(Vec<Pair>),
    /// `MAINTAINER`.
    Maintainer(String),
    /// `ONBUILD`: an instruction for images made from this one, as text.
    Onbuild(String),
    /// `RUN`.
    Run(Run),
    /// `SHELL`.
    Shell(Vec<String>),
    /// `STOPSIGNAL`.
    StopSignal(String),
    /// `USER`.
    User(String),
    /// `VOLUME`.
    Volume(Vec<String>),
    /// `WORKDIR`.
    Workdir(String),
}

/// `name=value` of ENV and LABEL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pair {
    /// The name.
    pub name: String,
    /// The value.
    pub value: String,
    /// Written in the old form, `name value`.
    pub is_legacy: bool,
}

/// `name` or `name=default` of ARG.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Argument {
    /// The name.
    pub name: String,
    /// The default.
    pub default: Option<String>,
    /// What a comment above says of it.
    pub description: Option<String>,
}

/// A command in shell or exec form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandLine {
    /// The words of the exec form; or one text, or nothing, for the shell.
    pub words: Vec<String>,
    /// Run by the shell.
    pub is_shell: bool,
    /// Here-documents of the shell form.
    pub heredocs: Vec<Heredoc>,
}

/// Sources and destination of ADD and COPY.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sources {
    /// Paths, and URLs for ADD.
    pub paths: Vec<String>,
    /// Files whose content stands in the Dockerfile.
    pub inline: Vec<InlineFile>,
    /// The destination.
    pub destination: String,
}

/// A file that stands in the Dockerfile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InlineFile {
    /// Its name.
    pub name: String,
    /// Its content.
    pub content: String,
    /// Variables in it are replaced.
    pub expand: bool,
}

/// `ADD`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Add {
    /// From where to where.
    pub sources: Sources,
    /// `--chown`; empty for none.
    pub chown: String,
    /// `--chmod`; empty for none.
    pub chmod: String,
    /// `--link`.
    pub link: bool,
    /// `--keep-git-dir`.
    pub keep_git_directory: Option<bool>,
    /// `--checksum`; empty for none.
    pub checksum: String,
    /// `--unpack`.
    pub unpack: Option<bool>,
    /// `--exclude`.
    pub exclude: Vec<String>,
}

/// `COPY`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Copy {
    /// From where to where.
    pub sources: Sources,
    /// `--from`; empty for the build context.
    pub from: String,
    /// `--chown`; empty for none.
    pub chown: String,
    /// `--chmod`; empty for none.
    pub chmod: String,
    /// `--link`.
    pub link: bool,
    /// `--parents`.
    pub parents: bool,
    /// `--exclude`.
    pub exclude: Vec<String>,
}

/// `RUN`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// What is run.
    pub line: CommandLine,
    /// `--mount`.
    pub mounts: Vec<MountFlag>,
    /// `--network`.
    pub network: RunNetwork,
    /// `--security`.
    pub security: RunSecurity,
    /// `--device`.
    pub devices: Vec<Device>,
}

/// The network of a RUN.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the language's own words")]
pub enum RunNetwork {
    #[default]
    Default,
    None,
    Host,
}

/// The confinement of a RUN.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the language's own words")]
pub enum RunSecurity {
    #[default]
    Sandbox,
    Insecure,
}
