//! What a container is doing: the document that its monitor keeps on disk.

use serde::{Deserialize, Serialize};

/// The life of a container, as its monitor last wrote it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ContainerState {
    /// What it does.
    pub status: Status,
    /// Pid of its first process as the host sees it; 0 when it does not run.
    pub pid: i32,
    /// Start time of that process in clock ticks since boot: with `boot_id` and `pid`, its identity.
    pub start_time: u64,
    /// The boot that `pid` belongs to.
    pub boot_id: String,
    /// Pid of its monitor, and that one's start time.
    pub monitor_pid: i32,
    /// See `monitor_pid`.
    pub monitor_start_time: u64,
    /// Exit code of the last run.
    pub exit_code: i32,
    /// The exit code could not be learnt (the monitor was killed, the machine lost power).
    pub exit_unknown: bool,
    /// The kernel killed it for want of memory.
    pub oom_killed: bool,
    /// Why it could not be started, or empty.
    pub error: String,
    /// RFC 3339, or empty when it never ran.
    pub started_at: String,
    /// RFC 3339, or empty when it never ended.
    pub finished_at: String,
    /// How often its policy started it again.
    pub restart_count: u32,
    /// A user stopped it: policies leave it alone until it is started again.
    pub stopped_by_user: bool,
    /// Directories of its control groups, for commands that look at them.
    pub cgroup_parent: String,
    /// Health, where there is a check.
    pub health: Option<Health>,
}

/// The stages of a container's life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Made, never started.
    #[default]
    Created,
    /// Its first process runs.
    Running,
    /// Frozen.
    Paused,
    /// Ended; its policy will start it again.
    Restarting,
    /// Being removed.
    Removing,
    /// Ended.
    Exited,
    /// Could not be removed whole.
    Dead,
}

impl Status {
    /// Docker's word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Restarting => "restarting",
            Self::Removing => "removing",
            Self::Exited => "exited",
            Self::Dead => "dead",
        }
    }

    /// Whether a monitor is responsible for it now.
    pub fn is_live(self) -> bool {
        matches!(self, Self::Running | Self::Paused | Self::Restarting)
    }
}

/// What the health check found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Health {
    /// `starting`, `healthy` or `unhealthy`.
    pub status: String,
    /// Failures in a row.
    pub failing_streak: u32,
    /// The last five probes, oldest first.
    pub log: Vec<Probe>,
}

/// One run of a health check.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probe {
    /// RFC 3339.
    pub start: String,
    /// RFC 3339.
    pub end: String,
    /// 0 healthy, 1 unhealthy, -1 could not be run or took too long.
    pub exit_code: i32,
    /// What it printed, cut at 4,096 bytes.
    pub output: String,
}
