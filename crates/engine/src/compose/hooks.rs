//! `post_start` and `pre_stop`: commands in a container at moments of its life.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use ::compose::model::Hook;
use rustix::fs::{CWD, Mode, OFlags};
use sys::Context;

use crate::Engine;
use crate::container::execute::{ExecRequest, Executing};
use crate::error::EngineError;

/// A hook without a command does nothing.
pub(super) fn is_empty(hook: &Hook) -> bool {
    hook.command.as_ref().is_none_or(Vec::is_empty)
}

impl Engine {
    /// Begins a hook's command in a container; what it writes goes to `output`, if anywhere.
    pub(super) fn begin_hook(
        &self,
        id: &str,
        hook: &Hook,
        output: Option<&OwnedFd>,
    ) -> Result<Executing, EngineError> {
        let null = null()?;
        let output = output.unwrap_or(&null).as_fd();
        self.execute_hook(id, hook, [output, output])
    }

    /// Runs the command of a `sync+exec` rule; its output goes to the descriptors.
    ///
    /// # Errors
    /// A command that cannot be run or fails.
    pub fn run_watch_command(
        &self,
        id: &str,
        hook: &Hook,
        output: [BorrowedFd<'_>; 2],
    ) -> Result<(), EngineError> {
        let executing = self.execute_hook(id, hook, output)?;
        executing.end_of_hook("watch", hook)
    }

    fn execute_hook(
        &self,
        id: &str,
        hook: &Hook,
        [output, errors]: [BorrowedFd<'_>; 2],
    ) -> Result<Executing, EngineError> {
        let command = hook.command.clone().unwrap_or_default();
        let variables = hook.environment.0.iter();
        let request = ExecRequest {
            command,
            env: variables
                .filter_map(|(key, value)| Some(format!("{key}={}", value.as_ref()?)))
                .collect(),
            working_dir: hook.working_dir.clone(),
            user: hook.user.clone(),
            privileged: hook.privileged,
            ..ExecRequest::default()
        };
        let input = null()?;
        let stdio = [input.as_fd(), output, errors];
        self.execute(id, &request, &stdio)
    }
}

impl Executing {
    /// Waits for a hook's end; one that fails is an error.
    pub(super) fn end_of_hook(mut self, what: &str, hook: &Hook) -> Result<(), EngineError> {
        let code = self.wait()?;
        if code == Some(0) {
            return Ok(());
        }
        let code = code.map_or_else(|| "unknown".to_owned(), |code| code.to_string());
        let command = hook.command.as_deref().unwrap_or_default().join(" ");
        Err(EngineError::conflict(format!(
            "{what} hook {command:?} exited with code {code}"
        )))
    }
}

fn null() -> Result<OwnedFd, EngineError> {
    let flags = OFlags::RDWR | OFlags::CLOEXEC;
    let file = rustix::fs::openat(CWD, "/dev/null", flags, Mode::empty());
    Ok(file.on("open", "/dev/null")?)
}
