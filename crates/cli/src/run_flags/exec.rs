//! The flags of `exec`.

use super::{Caller, FlagError, detach_keys, environment};
use crate::flags::Matches;

/// What `exec` was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ExecRequest {
    /// Name or id of the container.
    pub(crate) container: String,
    /// The command and its arguments; at least one word.
    pub(crate) command: Vec<String>,
    /// `-d`.
    pub(crate) detach: bool,
    /// `--detach-keys` as bytes, where given and not empty.
    pub(crate) detach_keys: Option<Vec<u8>>,
    /// Variables beside those of the container; a bare `NAME` removes one.
    pub(crate) env: Vec<String>,
    /// `-i`.
    pub(crate) interactive: bool,
    /// `--privileged`.
    pub(crate) privileged: bool,
    /// `-t`.
    pub(crate) tty: bool,
    /// `-u`, or empty for the container's.
    pub(crate) user: String,
    /// `-w`, or empty for the container's.
    pub(crate) working_dir: String,
    /// The terminal's rows and columns, or zeros.
    pub(crate) console_size: [u16; 2],
}

/// Reads the flags of `exec`.
pub(crate) fn exec_request(
    matches: &Matches,
    caller: &Caller<'_>,
) -> Result<ExecRequest, FlagError> {
    // Docker's client says of exec's files the bare cause.
    let env = environment::variables(matches, caller).map_err(|error| match error {
        FlagError::Usage(text) => FlagError::Plain(text),
        error => error,
    })?;
    let mut words = matches.args.iter().cloned();
    let container = words.next().unwrap_or_default();
    Ok(ExecRequest {
        container,
        command: words.collect(),
        detach: matches.get_bool("detach"),
        detach_keys: detach_keys(matches.get_str("detach-keys"))?,
        env,
        interactive: matches.get_bool("interactive"),
        privileged: matches.get_bool("privileged"),
        tty: matches.get_bool("tty"),
        user: matches.get_str("user").to_owned(),
        working_dir: matches.get_str("workdir").to_owned(),
        console_size: caller.console_size,
    })
}

impl ExecRequest {
    /// Refuses `-it` without a terminal. To be called once the container is known to run: Docker
    /// names a missing container first.
    pub(crate) fn check_terminal(&self, caller: &Caller<'_>) -> Result<(), FlagError> {
        if !self.detach && self.interactive && self.tty && !caller.stdin_is_terminal {
            return Err(FlagError::Plain("the input device is not a TTY".to_owned()));
        }
        Ok(())
    }
}
