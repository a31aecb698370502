//! The monitor's own files: `state` (whole, by rename) and the journal of events.

use std::collections::BTreeMap;

use sys::atomic::{self, Durability};
use types::event::Event;
use types::state::ContainerState;

use crate::job::Job;

/// Name of the state document in a container's directory.
pub(crate) const STATE: &str = "state";

/// Reads the state that an earlier monitor left; a missing or torn one is a new one.
pub(crate) fn load(job: &Job) -> ContainerState {
    atomic::read_limited(&job.directory.join(STATE), 1 << 20)
        .ok()
        .and_then(|bytes| serde_json::from_slice(&bytes).ok())
        .unwrap_or_default()
}

/// Writes the state. A full disk must not end a running container: it is written again with the
/// next change.
pub(crate) fn save(job: &Job, state: &ContainerState) {
    if let Ok(bytes) = serde_json::to_vec(state) {
        let _ = atomic::write(&job.directory.join(STATE), &bytes, Durability::Volatile);
    }
}

/// Appends an event about the container to the journal.
pub(crate) fn announce(job: &Job, action: &str, more: &[(&str, String)]) {
    let mut attributes: BTreeMap<String, String> = job.attributes.clone();
    attributes.extend(
        more.iter()
            .map(|(key, value)| ((*key).to_string(), value.clone())),
    );
    let event = Event {
        kind: "container".into(),
        action: action.into(),
        id: job.id.clone(),
        attributes,
        time_ns: sys::journal::now_ns(),
    };
    if let Ok(line) = serde_json::to_string(&event) {
        let _ = sys::journal::append(&job.journal, &line);
    }
}

/// The time as every document of ours has it.
pub(crate) fn now() -> String {
    types::timestamp::Timestamp::now().rfc3339()
}
