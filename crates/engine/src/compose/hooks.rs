//! `post_start` and `pre_stop`: commands in a container at moments of its life.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use ::compose::model::Hook;
use rustix::fs::{CWD, Mode, OFlags};
use sys::Context;

use crate::Engine;
use crate::container::execute::ExecRequest;
use crate::error::EngineError;

impl Engine {
    /// Runs hooks one after another; the first that fails is an error.
    pub(super) fn run_hooks(
        &self,
        id: &str,
        what: &str,
        hooks: &[Hook],
    ) -> Result<(), EngineError> {
        for hook in hooks {
            if hook.command.as_ref().is_none_or(Vec::is_empty) {
                continue;
            }
            let (output, errors) = (null()?, null()?);
            self.run_hook(id, what, hook, [output.as_fd(), errors.as_fd()])?;
        }
        Ok(())
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
        self.run_hook(id, "watch", hook, output)
    }

    fn run_hook(
        &self,
        id: &str,
        what: &str,
        hook: &Hook,
        [output, errors]: [BorrowedFd<'_>; 2],
    ) -> Result<(), EngineError> {
        let command = hook.command.clone().unwrap_or_default();
        let variables = hook.environment.0.iter();
        let request = ExecRequest {
            command: command.clone(),
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
        let code = self.execute(id, &request, &stdio)?.wait()?;
        if code == Some(0) {
            return Ok(());
        }
        let code = code.map_or_else(|| "unknown".to_owned(), |code| code.to_string());
        Err(EngineError::conflict(format!(
            "{what} hook {:?} exited with code {code}",
            command.join(" ")
        )))
    }
}

fn null() -> Result<OwnedFd, EngineError> {
    let flags = OFlags::RDWR | OFlags::CLOEXEC;
    let file = rustix::fs::openat(CWD, "/dev/null", flags, Mode::empty());
    Ok(file.on("open", "/dev/null")?)
}
