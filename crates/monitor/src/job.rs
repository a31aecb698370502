//! The job document: all that a monitor must know, handed over on a descriptor.

use std::collections::BTreeMap;
use std::path::PathBuf;

use network::attachment::Attachment;
use runtime::Launch;
use serde::{Deserialize, Serialize};
use types::container::{Healthcheck, RestartPolicy};

/// The file in the container's directory that tells its place in its networks while it runs.
pub const ATTACHMENT: &str = "network";

/// A monitor's job.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Job {
    /// The container's id.
    pub id: String,
    /// Attributes of its events: `name`, `image` and its labels.
    pub attributes: BTreeMap<String, String>,
    /// The container's directory in the store: `state` and `log` are written there.
    pub directory: PathBuf,
    /// The container's directory in the run root: sockets, pipes, the lock.
    pub run_directory: PathBuf,
    /// The journal of events.
    pub journal: PathBuf,
    /// How to start it.
    pub launch: Launch,
    /// Its volumes, for its events.
    #[serde(default)]
    pub volumes: Vec<VolumeMount>,
    /// Its networks, where it has any.
    pub attachment: Option<Attachment>,
    /// Its streams are a terminal.
    pub tty: bool,
    /// Standard input is kept open.
    pub open_stdin: bool,
    /// Standard input ends with the first client that had it.
    pub stdin_once: bool,
    /// Where its output goes.
    pub log: LogOptions,
    /// When to start it again.
    pub restart: RestartPolicy,
    /// Its health check, defaults filled in.
    pub health: Option<Healthcheck>,
    /// Signal of `stop`.
    pub stop_signal: i32,
    /// Seconds until `stop` kills; -1 is never.
    pub stop_timeout_s: i64,
    /// Remove it when it ends.
    pub auto_remove: bool,
    /// The container runs already, and its monitor was killed.
    pub adopt: bool,
    /// Arguments of our own binary that remove or release a container, without the id.
    pub reap_arguments: Vec<String>,
}

/// A volume in a container, as its events tell it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeMount {
    /// The volume's name.
    pub name: String,
    /// Path in the container.
    pub target: String,
    /// Not written by this container.
    pub read_only: bool,
}

impl Job {
    /// Whether standard input ends when the client that had it leaves; a terminal's never does.
    pub(crate) fn closes_stdin(&self) -> bool {
        self.stdin_once && !self.tty
    }
}

/// Where a container's output goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogOptions {
    /// Keep no log at all.
    pub disabled: bool,
    /// A file is put aside at this size; 0 is never.
    pub file_bytes_max: u64,
    /// How many files are kept.
    pub files_max: u32,
}

impl Default for LogOptions {
    /// 10 MB × 3: a forgotten container does not fill the disk.
    fn default() -> Self {
        Self {
            disabled: false,
            file_bytes_max: 10_000_000,
            files_max: 3,
        }
    }
}
