//! `update`.

use std::process::ExitCode;

use engine::Engine;
use engine::container::restart::UpdateRequest;

use super::container::each;
use super::run::with_caller;
use crate::errors;
use crate::flags::Invocation;
use crate::run_flags;

pub(crate) fn update(engine: &Engine, invocation: &Invocation) -> ExitCode {
    let read = with_caller(|caller| run_flags::update_request(&invocation.matches, caller));
    let asked = match read {
        Ok(asked) => asked,
        Err(error) => {
            let failure = error.failure(invocation.program, "update");
            errors::complain(&failure.text);
            return ExitCode::from(failure.exit_code);
        }
    };
    let request = UpdateRequest {
        resources: asked.resources,
        pids_limit: asked.pids_limit,
        restart: asked.restart,
    };
    each(invocation, |key| {
        engine.update(key, &request)?;
        Ok(key.to_string())
    })
}
