//! From the flags of `run`, `create`, `exec` and `update` to requests of the engine.
//!
//! The parser has checked each value for itself; here they meet: files are read, relative paths
//! made absolute, contradictions refused. Docker's client refuses some in its own name and leaves
//! others to its daemon; [`FlagError`] keeps the two apart, because their first lines differ and
//! scripts grep them. What is not built yet is refused in [`not_yet`] alone, so that the issue that
//! builds it finds the place.
//!
//! Called by the command `run` and its like; tested in `tests.rs` against texts of docker 28.2.2.

mod environment;
mod exec;
mod limits;
mod network;
mod not_yet;
mod options;
mod security;
mod storage;
#[cfg(test)]
mod tests;
mod update;

use types::container::{ContainerSpec, Resources, RestartKind, RestartPolicy};
use types::id::check_container_name;
use types::platform::Platform;
use types::reference::Reference;
use types::restart::RestartError;
use types::signal::Signal;

pub(crate) use exec::exec_request;
pub(crate) use update::update_request;

use crate::flags::parse::Program;
use crate::flags::{Failure, Matches};

/// The longest host name that the kernel takes.
const HOSTNAME_BYTES_MAX: usize = 64;
/// Docker's default keys: ctrl-p, ctrl-q.
pub(crate) const DETACH_KEYS_DEFAULT: [u8; 2] = [16, 17];

/// What the flags need to know of the process that gave them.
pub(crate) struct Caller<'a> {
    /// Where relative paths start, absolute; or why nothing can start there.
    pub(crate) working_directory: Result<&'a str, &'a str>,
    /// The environment that `-e NAME` copies from.
    pub(crate) variable: &'a dyn Fn(&str) -> Option<String>,
    /// Standard input is a terminal.
    pub(crate) stdin_is_terminal: bool,
    /// The terminal's rows and columns, or zeros.
    pub(crate) console_size: [u16; 2],
    /// How many CPUs the host has.
    pub(crate) cpus: u32,
}

/// Why flags cannot be turned into a request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FlagError {
    /// Docker's client refuses it in its own name and points to help.
    #[error("{0}")]
    Usage(String),
    /// Docker's daemon refuses it.
    #[error("{0}")]
    Engine(String),
    /// Docker's client refuses it without more words; exit code 1.
    #[error("{0}")]
    Plain(String),
    /// Not built yet, with the nearest thing that works.
    #[error("{0}")]
    NotYet(String),
}

impl FlagError {
    fn usage(error: impl ToString) -> Self {
        Self::Usage(error.to_string())
    }

    fn engine(error: impl ToString) -> Self {
        Self::Engine(error.to_string())
    }

    /// What to print and how to exit, for a command such as `run`.
    pub(crate) fn failure(&self, program: Program, command: &str) -> Failure {
        let name = program.name();
        let starts_containers = matches!(command, "run" | "create");
        let of_daemon = match program {
            Program::Docker => "Error response from daemon: ",
            Program::Caisson => "",
        };
        let text = match self {
            Self::Usage(text) => format!("{name}: {text}"),
            Self::Engine(text) if command == "run" => format!("{name}: {of_daemon}{text}"),
            Self::Engine(text) => match program {
                Program::Docker => format!("{of_daemon}{text}"),
                Program::Caisson => format!("{name}: {text}"),
            },
            Self::Plain(text) => text.clone(),
            Self::NotYet(text) => format!("{name}: {text}"),
        };
        let text = match self {
            Self::Usage(_) if starts_containers => {
                format!("{text}\n\nRun '{name} {command} --help' for more information")
            }
            Self::Engine(_) if command == "run" => {
                format!("{text}\n\nRun '{name} run --help' for more information")
            }
            _ => text,
        };
        let exit_code = match self {
            Self::Plain(_) => 1,
            // Docker's `create` passes on what its daemon says.
            Self::Engine(_) if command == "create" => 1,
            _ if starts_containers => 125,
            _ => 1,
        };
        Failure {
            text: crate::flags::parse::printable(&text),
            exit_code,
        }
    }
}

/// `--pull`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum PullPolicy {
    /// Ask the registry each time.
    Always,
    /// Pull what is not there.
    #[default]
    Missing,
    /// Never pull.
    Never,
}

/// Everything that `run` or `create` was asked for.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct RunRequest {
    /// The container.
    pub(crate) spec: ContainerSpec,
    /// `--name`.
    pub(crate) name: Option<String>,
    /// `--pull`.
    pub(crate) pull: PullPolicy,
    /// `--platform`.
    pub(crate) platform: Option<Platform>,
    /// `--cidfile`.
    pub(crate) cidfile: Option<String>,
    /// `-d`.
    pub(crate) detach: bool,
    /// `--sig-proxy`.
    pub(crate) sig_proxy: bool,
    /// `--detach-keys` as bytes, where given and not empty.
    pub(crate) detach_keys: Option<Vec<u8>>,
    /// `--quiet`.
    pub(crate) quiet: bool,
    /// `--rm`.
    pub(crate) rm: bool,
    /// Lines for standard error.
    pub(crate) warnings: Vec<String>,
}

/// `--isolation`: on Linux there is one way, and it has two names.
pub(crate) fn isolation(matches: &Matches) -> Result<(), String> {
    match matches.get_str("isolation") {
        "" | "default" => Ok(()),
        other => Err(format!(
            "invalid isolation: {other:?} - linux only supports 'default'"
        )),
    }
}

/// Limits and security options that `build` puts on programs.
pub(crate) fn for_build(
    matches: &Matches,
    caller: &Caller<'_>,
) -> Result<(Resources, Vec<String>), String> {
    let resources = limits::of_build(matches, caller.cpus).map_err(|error| error.to_string())?;
    let options = security::options(matches).map_err(|error| error.to_string())?;
    Ok((resources, options))
}

/// Reads the flags of `run` or `create`.
pub(crate) fn container_request(
    matches: &Matches,
    caller: &Caller<'_>,
) -> Result<RunRequest, FlagError> {
    let pull = pull_policy(matches.get_str("pull"))?;
    let mut spec = ContainerSpec {
        console_size: caller.console_size,
        container_id_file: matches.get_str("cidfile").to_owned(),
        ..ContainerSpec::default()
    };
    attach(matches, &mut spec);
    limits::check_swappiness(matches)?;
    isolation(matches).map_err(FlagError::Engine)?;
    storage::volumes(matches, caller, &mut spec)?;
    process(matches, &mut spec);
    network::ports(matches, &mut spec)?;
    storage::devices(matches, &mut spec)?;
    spec.env = environment::variables(matches, caller)?;
    spec.labels = environment::labels(matches)?;
    namespaces(matches, &mut spec)?;
    spec.restart = restart_policy(matches.get_str("restart"))?;
    options::logging(matches, &mut spec)?;
    security::security(matches, &mut spec)?;
    options::health(matches, &mut spec)?;
    spec.auto_remove = matches.get_bool("rm");
    if spec.auto_remove && spec.restart.kind != RestartKind::No {
        let text = "conflicting options: cannot specify both --restart and --rm";
        return Err(FlagError::Usage(text.to_owned()));
    }
    network::networks(matches, &mut spec)?;
    let platform = platform(matches.get_str("platform"))?;
    matches.get_str("platform").clone_into(&mut spec.platform);
    image(matches, &mut spec)?;
    let detach = matches.has("detach") && matches.get_bool("detach");
    let sig_proxy = matches.has("sig-proxy") && matches.get_bool("sig-proxy");
    attachment(matches, caller, detach, &mut spec)?;
    limits::limits(matches, caller, &mut spec)?;
    let name = checked_by_engine(matches, &mut spec)?;
    let warnings = not_yet::refuse(&spec)?;
    let detach_keys = match matches.has("detach-keys") {
        true => detach_keys(matches.get_str("detach-keys"))?,
        false => None,
    };
    let cidfile = matches.get_str("cidfile");
    Ok(RunRequest {
        name,
        pull,
        platform,
        cidfile: (!cidfile.is_empty()).then(|| cidfile.to_owned()),
        detach,
        sig_proxy,
        detach_keys,
        quiet: matches.get_bool("quiet"),
        rm: spec.auto_remove,
        warnings,
        spec,
    })
}

fn pull_policy(text: &str) -> Result<PullPolicy, FlagError> {
    match text {
        "always" => Ok(PullPolicy::Always),
        "missing" | "" => Ok(PullPolicy::Missing),
        "never" => Ok(PullPolicy::Never),
        other => Err(FlagError::Usage(format!(
            "invalid pull option: '{other}': must be one of \"always\", \"missing\" or \"never\""
        ))),
    }
}

/// Which streams are attached, before `--detach` is looked at.
fn attach(matches: &Matches, spec: &mut ContainerSpec) {
    let streams = matches.get_list("attach");
    let wants = |stream: &str| {
        streams
            .iter()
            .any(|given| given.eq_ignore_ascii_case(stream))
    };
    spec.tty = matches.get_bool("tty");
    spec.open_stdin = matches.get_bool("interactive");
    spec.attach_stdin = wants("stdin") || spec.open_stdin;
    spec.attach_stdout = wants("stdout") || streams.is_empty();
    spec.attach_stderr = wants("stderr") || streams.is_empty();
}

/// What runs, and as whom.
fn process(matches: &Matches, spec: &mut ContainerSpec) {
    spec.entrypoint = matches.is_set("entrypoint").then(|| {
        let program = matches.get_str("entrypoint");
        if program.is_empty() {
            Vec::new()
        } else {
            vec![program.to_owned()]
        }
    });
    spec.cmd = matches
        .args
        .get(1..)
        .filter(|words| !words.is_empty())
        .map(<[String]>::to_vec);
    matches.get_str("user").clone_into(&mut spec.user);
    matches.get_str("workdir").clone_into(&mut spec.working_dir);
    matches.get_str("hostname").clone_into(&mut spec.hostname);
    matches
        .get_str("domainname")
        .clone_into(&mut spec.domainname);
    matches
        .get_str("stop-signal")
        .clone_into(&mut spec.stop_signal);
    spec.group_add = matches.get_list("group-add").to_vec();
    spec.stop_timeout = matches
        .is_set("stop-timeout")
        .then(|| matches.get_int("stop-timeout"));
    spec.init = matches.get_bool("init");
    spec.read_only = matches.get_bool("read-only");
    spec.privileged = matches.get_bool("privileged");
    let annotations = matches.get_list("annotation").iter();
    spec.annotations = annotations.map(|text| environment::pair(text)).collect();
    spec.sysctls = matches
        .get_list("sysctl")
        .iter()
        .map(|text| environment::pair(text))
        .collect();
    matches
        .get_str("cgroup-parent")
        .clone_into(&mut spec.cgroup_parent);
    matches.get_str("runtime").clone_into(&mut spec.runtime);
}

/// `container:NAME` with a name.
fn is_of_container(mode: &str) -> bool {
    mode.strip_prefix("container:")
        .is_some_and(|name| !name.is_empty())
}

/// The namespaces' modes, as Docker's client checks them.
fn namespaces(matches: &Matches, spec: &mut ContainerSpec) -> Result<(), FlagError> {
    let refuse = |text: &str| Err(FlagError::Usage(text.to_owned()));
    let mode = |long: &str| matches.get_str(long).to_owned();
    spec.pid_mode = mode("pid");
    if !matches!(spec.pid_mode.as_str(), "" | "host") && !is_of_container(&spec.pid_mode) {
        return refuse("--pid: invalid PID mode");
    }
    spec.uts_mode = mode("uts");
    if !matches!(spec.uts_mode.as_str(), "" | "host") {
        return refuse("--uts: invalid UTS mode");
    }
    spec.userns_mode = mode("userns");
    if !matches!(spec.userns_mode.as_str(), "" | "host") {
        return refuse("--userns: invalid USER mode");
    }
    spec.cgroupns_mode = mode("cgroupns");
    if !matches!(spec.cgroupns_mode.as_str(), "" | "private" | "host") {
        return refuse("--cgroupns: invalid CGROUP mode");
    }
    spec.ipc_mode = mode("ipc");
    Ok(())
}

/// Reads `--restart`. A format that is none is the client's matter, a policy that is none the
/// daemon's.
fn restart_policy(text: &str) -> Result<RestartPolicy, FlagError> {
    RestartPolicy::parse(text).map_err(|error| match error {
        RestartError::NoPolicy | RestartError::CountNotInteger => FlagError::usage(error),
        error => FlagError::engine(error),
    })
}

fn platform(text: &str) -> Result<Option<Platform>, FlagError> {
    if text.is_empty() {
        return Ok(None);
    }
    Platform::parse(text)
        .map(Some)
        .map_err(|error| FlagError::Usage(format!("error parsing specified platform: {error}")))
}

fn image(matches: &Matches, spec: &mut ContainerSpec) -> Result<(), FlagError> {
    let image = matches.args.first().map_or("", String::as_str);
    let digits = image.strip_prefix("sha256:").unwrap_or(image);
    let is_id = digits.len() == 64 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    if !is_id {
        Reference::parse_normalized(image).map_err(FlagError::usage)?;
    }
    image.clone_into(&mut spec.image);
    Ok(())
}

/// What `--detach` and the terminal mean for the attached streams.
fn attachment(
    matches: &Matches,
    caller: &Caller<'_>,
    detach: bool,
    spec: &mut ContainerSpec,
) -> Result<(), FlagError> {
    let plain = |text: &str| Err(FlagError::Plain(text.to_owned()));
    if detach {
        if matches.is_set("attach") {
            return plain("conflicting options: cannot specify both --attach and --detach");
        }
        (spec.attach_stdin, spec.attach_stdout, spec.attach_stderr) = (false, false, false);
    } else if matches.has("detach") && spec.attach_stdin && spec.tty && !caller.stdin_is_terminal {
        return plain("the input device is not a TTY");
    }
    spec.stdin_once = spec.open_stdin && spec.attach_stdin;
    Ok(())
}

/// What Docker's client passes on unread and its daemon checks.
fn checked_by_engine(
    matches: &Matches,
    spec: &mut ContainerSpec,
) -> Result<Option<String>, FlagError> {
    let name = match matches.get_str("name") {
        "" => None,
        name => Some(
            check_container_name(name)
                .map_err(FlagError::engine)?
                .to_owned(),
        ),
    };
    if spec.hostname.len() > HOSTNAME_BYTES_MAX {
        let text = format!("invalid hostname: longer than {HOSTNAME_BYTES_MAX} bytes");
        return Err(FlagError::Engine(text));
    }
    if !spec.working_dir.is_empty() {
        if !spec.working_dir.starts_with('/') {
            return Err(FlagError::Engine(format!(
                "the working directory '{}' is invalid, it needs to be an absolute path",
                spec.working_dir
            )));
        }
        spec.working_dir = types::lexical_path::clean(&spec.working_dir);
    }
    if !spec.stop_signal.is_empty() {
        Signal::parse(&spec.stop_signal).map_err(FlagError::engine)?;
    }
    let ipc_is_known = matches!(
        spec.ipc_mode.as_str(),
        "" | "none" | "private" | "shareable" | "host"
    );
    if !ipc_is_known && !is_of_container(&spec.ipc_mode) {
        return Err(FlagError::Engine(format!(
            "invalid IPC mode: {}",
            spec.ipc_mode
        )));
    }
    network::check_conflicts(spec)?;
    Ok(name)
}

/// Reads `--detach-keys`: single characters and `ctrl-X`, separated by commas.
pub(crate) fn detach_keys(text: &str) -> Result<Option<Vec<u8>>, FlagError> {
    if text.is_empty() {
        return Ok(None);
    }
    let keys: Option<Vec<u8>> = text.split(',').map(key_code).collect();
    let refuse = || FlagError::Engine(format!("Invalid detach keys ({text}) provided"));
    keys.map(Some).ok_or_else(refuse)
}

fn key_code(key: &str) -> Option<u8> {
    match (key.as_bytes(), key.strip_prefix("ctrl-").map(str::as_bytes)) {
        ([single], _) => Some(*single),
        (b"DEL", _) => Some(127),
        (_, Some([letter @ b'a'..=b'z'])) => Some(letter - b'a' + 1),
        (_, Some([sign @ (b'@' | b'[' | b'\\' | b']' | b'^' | b'_')])) => Some(sign - b'@'),
        _ => None,
    }
}
