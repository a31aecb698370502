//! What is wrong with a Dockerfile, and where.

use super::place::{Excerpt, Lines, Origin, Position, excerpt};
use super::suggest::nearest;
use super::words::WordError;
use types::go_syntax::{NumberError, quote};

/// A Dockerfile that cannot be read: what, where, and perhaps what was meant.
#[derive(Debug, thiserror::Error)]
#[error("{problem}{}", .did_you_mean.as_ref().map(|near| format!(" (did you mean {near}?)")).unwrap_or_default())]
pub struct DockerfileError {
    /// What is wrong.
    pub problem: Box<Problem>,
    /// The lines of the instruction.
    pub lines: Lines,
    /// The place within them.
    pub position: Position,
    /// What the user may have meant.
    pub did_you_mean: Option<String>,
}

impl DockerfileError {
    pub(super) fn new(problem: Problem, lines: Lines, position: Position) -> Self {
        Self {
            problem: Box::new(problem),
            lines,
            position,
            did_you_mean: None,
        }
    }

    pub(super) fn on_line(problem: Problem, line: u32, column: u32) -> Self {
        Self::new(problem, Lines::one(line), Position { line, column })
    }

    /// At the part of an instruction, or at its start where the part is not there as written.
    pub(crate) fn at(problem: Problem, origin: &Origin, part: &str) -> Self {
        Self::new(problem, origin.lines, origin.locate(part))
    }

    pub(crate) fn suggest<'a>(
        mut self,
        word: &str,
        options: impl IntoIterator<Item = &'a str>,
    ) -> Self {
        self.did_you_mean = nearest(word, options).map(str::to_owned);
        self
    }

    /// `Dockerfile:3:5: unknown instruction: RUM (did you mean RUN?)`.
    pub fn located(&self, file: &str) -> String {
        let Position { line, column } = self.position;
        format!("{file}:{line}:{column}: {self}")
    }

    /// The lines around the place.
    pub fn excerpt(&self, file: &str, source: &[u8]) -> Excerpt {
        excerpt(file, source, self.lines, self.position)
    }
}

/// What can be wrong; the words are BuildKit's where it has words.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum Problem {
    #[error("{0} is not allowed: if you trust this Dockerfile, build it with --allow {0}")]
    NotAllowed(&'static str),
    #[error("the Dockerfile is longer than {limit} bytes")]
    TooLong { limit: usize },
    #[error("the line is longer than {limit} bytes")]
    LineTooLong { limit: usize },
    #[error("the Dockerfile has more than {limit} instructions")]
    TooMany { limit: usize },
    #[error("the line is not UTF-8 text")]
    NotUtf8,
    #[error("the Dockerfile cannot be empty")]
    Empty,
    #[error("file with no instructions")]
    NoInstructions,
    #[error("dockerfile contains no stages to build")]
    NoStages,
    #[error("no build stage in current context: the first instruction must be FROM, or ARG")]
    BeforeFrom,
    #[error("only one {0} parser directive can be used")]
    DirectiveTwice(&'static str),
    #[error("invalid escape token '{0}' does not match ` or \\")]
    EscapeToken(String),
    #[error("invalid check option {}", quote(.0))]
    CheckOption(String),
    #[error("unterminated heredoc")]
    UnterminatedHeredoc,
    #[error(transparent)]
    Word(#[from] WordError),
    #[error("unknown instruction: {0}")]
    UnknownInstruction(String),
    #[error("{0} must have two arguments")]
    TwoArguments(&'static str),
    #[error("Syntax error - can't find = in {}. Must be of the form: name=value", quote(.0))]
    NoEquals(String),
    #[error("when using JSON array syntax, arrays must be comprised of strings only")]
    NotStrings,
    #[error("{0} requires at least one argument")]
    AtLeastOne(&'static str),
    #[error("{0} requires exactly one argument")]
    ExactlyOne(&'static str),
    #[error(
        "{0} requires at least two arguments, but only one was provided. Destination could not be \
         determined"
    )]
    NoDestination(&'static str),
    #[error("{0} cannot accept a heredoc as a destination")]
    HeredocDestination(&'static str),
    #[error("{0} names can not be blank")]
    BlankName(&'static str),
    #[error("{0} requires the arguments to be in JSON form")]
    NotJson(&'static str),
    #[error("FROM requires either one or three arguments")]
    From,
    #[error(
        "invalid name for build stage: {}, name can't start with a number or contain symbols",
        quote(.0)
    )]
    StageName(String),
    #[error("Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed")]
    OnbuildChain,
    #[error("onbuild trigger should be a single expression")]
    OnbuildSeveral,
    #[error("{0} isn't allowed as an ONBUILD trigger")]
    OnbuildTrigger(&'static str),
    #[error("HEALTHCHECK NONE takes no arguments")]
    HealthcheckNone,
    #[error("Missing command after HEALTHCHECK CMD")]
    HealthcheckCommand,
    #[error("Unknown type {} in HEALTHCHECK (try CMD)", quote(.0))]
    HealthcheckType(String),
    #[error("Interval {} cannot be less than 1ms", quote(.0))]
    ShortInterval(&'static str),
    #[error("--retries cannot be negative ({0})")]
    NegativeRetries(i64),
    #[error("VOLUME specified can not be an empty string")]
    EmptyVolume,
    #[error("a here-document must be the whole command, not a part of an exec form")]
    HeredocCommand,
    #[error(transparent)]
    Flag(#[from] FlagProblem),
    #[error("failed to process {}: {source}", quote(.text))]
    Expansion { text: String, source: WordError },
    #[error("the variables, commands and history of the build take more than {limit} bytes")]
    TooLarge { limit: usize },
    #[error("base name ({0}) should not be blank")]
    BlankBase(String),
    #[error("empty platform value from expression {0}")]
    BlankPlatform(String),
    #[error("failed to parse platform {text}: {source}")]
    Platform {
        text: String,
        source: types::platform::PlatformError,
    },
    #[error("failed to parse stage name {}: {source}", quote(.name))]
    BaseName {
        name: String,
        source: types::reference::ReferenceError,
    },
    #[error("{name}: {message}")]
    Base { name: String, message: String },
    #[error("named context {name}: {message}")]
    Context { name: String, message: String },
    #[error(
        "variable expansion is not supported for --from, define a new stage with FROM using ARG \
         from global scope as a workaround"
    )]
    CopyFromVariable,
    #[error("invalid stage index {0}")]
    StageNumber(i64),
    #[error("circular dependency detected on stage: {0}")]
    Cycle(String),
    #[error(
        "cannot copy from stage {}, it needs to be defined before current stage {}",
        quote(.from), quote(.stage)
    )]
    LaterStage { from: String, stage: String },
    #[error("invalid mount target {}", quote(.0))]
    MountTarget(String),
    #[error("source can't be a git ref for COPY")]
    CopyGit,
    #[error("source can't be a URL for COPY")]
    CopyUrl,
    #[error("inconsistent keep-git-dir configuration")]
    KeepGitDirectory,
    #[error("checksum mismatch {} != {}", quote(.one), quote(.other))]
    Checksums { one: String, other: String },
    #[error("checksum can't be specified for multiple sources")]
    ChecksumSeveral,
    #[error("checksum requires HTTP(S) or Git sources")]
    ChecksumSource,
    #[error(transparent)]
    Chmod(#[from] crate::lower::ChmodError),
    #[error(transparent)]
    Expose(#[from] crate::lower::ExposeError),
    #[error(transparent)]
    Signal(#[from] types::signal::SignalError),
    #[error(transparent)]
    Digest(#[from] types::digest::DigestError),
    #[error(transparent)]
    Git(#[from] crate::gitref::GitReferenceError),
    #[error(transparent)]
    Mount(#[from] MountProblem),
    #[error(transparent)]
    Number(#[from] NumberError),
    #[error(transparent)]
    Duration(#[from] types::units::DurationError),
}

/// What can be wrong with a flag of an instruction.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum FlagProblem {
    #[error("unknown flag: --{0}")]
    Unknown(String),
    #[error("duplicate flag specified: --{0}")]
    Twice(String),
    #[error("missing a value on flag: --{0}")]
    NoValue(String),
    #[error("expecting boolean value for flag --{flag}, not: {value}")]
    NotBoolean { flag: String, value: String },
    #[error("invalid network mode {}", quote(.0))]
    Network(String),
    #[error("security {} is not valid", quote(.0))]
    Security(String),
    #[error("{0} takes no flags")]
    None(&'static str),
}

/// What can be wrong with `RUN --mount` and `RUN --device`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum MountProblem {
    #[error("failed to parse csv: {0}")]
    Csv(#[from] types::csv::CsvError),
    #[error("invalid field '{0}' must be a key=value pair")]
    NotPair(String),
    #[error("'from' doesn't support variable expansion, define alias stage instead")]
    FromVariable,
    #[error("unexpected key '{key}' in '{field}'")]
    Key { key: String, field: String },
    #[error("unexpected key '{key}' for mount type '{kind}'")]
    KeyForType { key: String, kind: &'static str },
    #[error("unsupported mount type {}", quote(.0))]
    Type(String),
    #[error("unsupported sharing value {}", quote(.0))]
    Sharing(String),
    #[error("invalid value for {key}: {value}")]
    Value { key: String, value: String },
    #[error("{key} not allowed for {} type mounts", quote(.kind))]
    NotForType {
        key: &'static str,
        kind: &'static str,
    },
    #[error("secret mount should not have a from")]
    SecretFrom,
    #[error("secret mount should not define sharing")]
    SecretSharing,
    #[error("invalid secret mount. one of source, target required")]
    SecretNothing,
    #[error("both source and id can't be set")]
    SecretBoth,
    #[error("ssh does not support source")]
    SshSource,
    #[error("invalid cache sharing set for {0} mount")]
    SharingForType(&'static str),
    #[error("device name already set to {0}")]
    DeviceName(String),
}
