//! `post_start` and `pre_stop`: commands in a container at moments of its life.

use std::os::fd::AsFd;

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
            let command = hook.command.clone().unwrap_or_default();
            if command.is_empty() {
                continue;
            }
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
            let null = || {
                rustix::fs::openat(
                    CWD,
                    "/dev/null",
                    OFlags::RDWR | OFlags::CLOEXEC,
                    Mode::empty(),
                )
                .on("open", "/dev/null")
            };
            let (input, output, errors) = (null()?, null()?, null()?);
            let stdio = [input.as_fd(), output.as_fd(), errors.as_fd()];
            let code = self.execute(id, &request, &stdio)?.wait()?;
            if code != Some(0) {
                let code = code.map_or_else(|| "unknown".to_owned(), |code| code.to_string());
                return Err(EngineError::conflict(format!(
                    "{what} hook {:?} exited with code {code}",
                    command.join(" ")
                )));
            }
        }
        Ok(())
    }
}
