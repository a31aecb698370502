//! What happened to an object: one line of the journal.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// One event.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// `container`, `image`, `volume`, `network` …
    pub kind: String,
    /// `create`, `start`, `die` …
    pub action: String,
    /// The object's id (a container's 64 digits, an image's reference or digest).
    pub id: String,
    /// `name`, `image`, `exitCode`, labels …
    #[serde(default)]
    pub attributes: BTreeMap<String, String>,
    /// Nanoseconds since 1970.
    pub time_ns: i64,
}
