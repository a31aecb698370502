//! The monitor's own files: `state` (whole, by rename) and the journal of events.

use std::collections::BTreeMap;
use std::os::unix::fs::FileExt;
use std::path::Path;

use network::bridge::NetworkPlan;
use rustix::io::Errno;
use sys::SysError;
use sys::atomic::{self, Durability};
use types::event::Event;
use types::state::ContainerState;
use types::timestamp::Timestamp;

use crate::job::Job;

/// What a file system gives a file at least; a smaller block only means less room.
const BLOCK_BYTES: usize = 1024;
/// Name of the state document in a container's directory.
pub(crate) const STATE: &str = "state";

/// Reads the state that an earlier monitor left; a missing or torn one is a new one.
pub(crate) fn load(job: &Job) -> ContainerState {
    atomic::read_limited(&job.directory.join(STATE), 1 << 20)
        .ok()
        .and_then(|bytes| serde_json::from_slice(&bytes).ok())
        .unwrap_or_default()
}

/// Writes the state. A full disk must not end a running container, nor lose how it ended: then the
/// document is overwritten where it is.
pub(crate) fn save(job: &Job, state: &ContainerState) {
    if try_save(job, state).is_err_and(|error| error.errno == Errno::NOSPC) {
        let bytes = serde_json::to_vec(state).expect("invariant: a state has a JSON form");
        let _ = overwrite(&job.directory.join(STATE), bytes);
    }
}

/// Replaces a document within the block that it has. Unlike a rename this may be torn by a power cut,
/// across which a state is not promised.
fn overwrite(path: &Path, mut bytes: Vec<u8>) -> std::io::Result<()> {
    let file = std::fs::File::options().write(true).open(path)?;
    let length = usize::try_from(file.metadata()?.len()).unwrap_or(usize::MAX);
    let room = length.checked_next_multiple_of(BLOCK_BYTES).unwrap_or(0);
    if bytes.len() > room {
        return Err(std::io::ErrorKind::StorageFull.into());
    }
    // Spaces after a JSON document mean nothing.
    bytes.resize(bytes.len().max(length), b' ');
    file.write_all_at(&bytes, 0)
}

/// Writes the state, or says why not.
pub(crate) fn try_save(job: &Job, state: &ContainerState) -> Result<(), SysError> {
    let bytes = serde_json::to_vec(state).expect("invariant: a state has a JSON form");
    atomic::write(&job.directory.join(STATE), &bytes, Durability::Volatile)
}

/// Appends an event about the container to the journal.
pub(crate) fn announce(job: &Job, action: &str, more: &[(&str, String)]) {
    let mut attributes: BTreeMap<String, String> = job.attributes.clone();
    attributes.extend(
        more.iter()
            .map(|(key, value)| ((*key).to_string(), value.clone())),
    );
    append(job, "container", action, &job.id, attributes);
}

/// Appends an event about a network that the container enters or leaves.
pub(crate) fn announce_network(job: &Job, network: &NetworkPlan, action: &str) {
    let attributes = [
        ("container", job.id.as_str()),
        ("name", &network.name),
        ("type", "bridge"),
    ];
    append(job, "network", action, &network.id, map(&attributes));
}

/// Appends an event for each volume that the container has from now on, or has no longer.
pub(crate) fn announce_volumes(job: &Job, action: &str) {
    for volume in &job.volumes {
        let mut attributes = map(&[("container", &job.id), ("driver", "local")]);
        if action == "mount" {
            let writable = (!volume.read_only).to_string();
            attributes.extend(map(&[
                ("destination", &volume.target),
                ("propagation", ""),
                ("read/write", &writable),
            ]));
        }
        append(job, "volume", action, &volume.name, attributes);
    }
}

fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    let pairs = pairs.iter();
    pairs
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect()
}

fn append(job: &Job, kind: &str, action: &str, id: &str, attributes: BTreeMap<String, String>) {
    let event = Event {
        kind: kind.into(),
        action: action.into(),
        id: id.into(),
        attributes,
        time_ns: sys::journal::now_ns(),
    };
    if let Ok(line) = serde_json::to_string(&event) {
        let _ = sys::journal::append(&job.journal, &line);
    }
}

/// Whole seconds from one time to another, as documents have them.
pub(crate) fn seconds_between(start: &str, end: &str) -> i64 {
    let parse = |text| Timestamp::parse_rfc3339(text).ok();
    match (parse(start), parse(end)) {
        (Some(start), Some(end)) => end.since_ns(start).max(0) / 1_000_000_000,
        _ => 0,
    }
}

/// The time as every document of ours has it.
pub(crate) fn now() -> String {
    Timestamp::now().rfc3339()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_is_overwritten_within_its_block_or_not_at_all() {
        let path = std::env::temp_dir().join(format!("caisson-state-{}", std::process::id()));
        for (before, after, wanted) in [
            (10, 500, Some(500)),
            (500, 10, Some(500)),
            (1024, 1024, Some(1024)),
            (10, 1025, None),
            (0, 1, None),
        ] {
            std::fs::write(&path, "a".repeat(before)).unwrap();
            let result = overwrite(&path, "b".repeat(after).into_bytes());
            let text = std::fs::read_to_string(&path).unwrap();
            match wanted {
                Some(length) => {
                    assert_eq!(text.len(), length);
                    assert_eq!(text.trim_end(), "b".repeat(after));
                }
                None => assert!(result.is_err() && text == "a".repeat(before)),
            }
        }
        std::fs::remove_file(path).unwrap();
    }
}
