//! The flags of `update`.

use types::container::{Resources, RestartPolicy};

use super::limits::{self, Asked};
use super::{Caller, FlagError, restart_policy};
use crate::flags::Matches;

/// What `update` was asked for.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct UpdateRequest {
    /// Names or ids of the containers.
    pub(crate) containers: Vec<String>,
    /// The new limits; zero and empty: unchanged. `pids_limit` is told below.
    pub(crate) resources: Resources,
    /// `--pids-limit`, where given; 0 and -1 are without limit.
    pub(crate) pids_limit: Option<i64>,
    /// `--restart`, where given.
    pub(crate) restart: Option<RestartPolicy>,
}

/// Reads the flags of `update`.
pub(crate) fn update_request(
    matches: &Matches,
    caller: &Caller<'_>,
) -> Result<UpdateRequest, FlagError> {
    if matches.count_set() == 0 {
        let text = "you must provide one or more flags when using this command";
        return Err(FlagError::Plain(text.to_owned()));
    }
    let restart = match matches.get_str("restart") {
        "" => None,
        text => Some(restart_policy(text).map_err(|error| match error {
            FlagError::Usage(text) => FlagError::Plain(text),
            error => error,
        })?),
    };
    let resources = limits::common(matches);
    limits::check(&resources, caller.cpus, Asked::ForUpdate)?;
    Ok(UpdateRequest {
        containers: matches.args.clone(),
        pids_limit: matches.is_set("pids-limit").then_some(resources.pids_limit),
        resources,
        restart,
    })
}
