//! Looking at a running container from outside: its processes and what they use. Everything is read
//! from the host's own files; nothing of the container is executed (CVE-2022-1227).

use runtime::cgroup::{CgroupStats, ContainerCgroup};
use storage::containers::StoredContainer;

use crate::Engine;
use crate::error::EngineError;

/// A process as `top` shows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProcessRow {
    /// Numeric user, or its name on the host.
    pub user: String,
    /// Pid on the host.
    pub pid: i32,
    /// Parent's pid on the host.
    pub parent: i32,
    /// State letter.
    pub state: String,
    /// Start, seconds since 1970.
    pub started_s: i64,
    /// Terminal, `?` or `pts/0`.
    pub terminal: String,
    /// CPU time in seconds.
    pub cpu_s: u64,
    /// Resident memory in KiB.
    pub resident_kib: u64,
    /// Virtual memory in KiB.
    pub virtual_kib: u64,
    /// Name.
    pub name: String,
    /// Command line, or `[name]`.
    pub command: String,
}

/// What a container uses.
#[derive(Clone, Debug)]
pub struct Usage {
    /// The control group's numbers.
    pub cgroup: CgroupStats,
    /// Bytes received and sent on its interfaces.
    pub network: (u64, u64),
    /// When this was read, nanoseconds since 1970.
    pub time_ns: i64,
}

const TICKS_PER_SECOND: u64 = 100;
const PAGE_KIB: u64 = 4;

impl Engine {
    /// The control group of a running container.
    pub(crate) fn container_cgroup(
        &self,
        stored: &StoredContainer,
    ) -> Result<ContainerCgroup, EngineError> {
        let parent = match stored.record.spec.cgroup_parent.as_str() {
            "" => self.cgroup_parent(),
            parent => parent.to_string(),
        };
        ContainerCgroup::open(&parent, &stored.record.id)
            .map_err(|error| EngineError::conflict(format!("cannot read control group: {error}")))
    }

    /// The processes of a running container.
    ///
    /// # Errors
    /// Docker's words where it does not run.
    pub fn top(&self, key: &str) -> Result<Vec<ProcessRow>, EngineError> {
        let stored = self.container(key)?;
        if !stored.state.status.is_live() || stored.state.pid == 0 {
            return Err(EngineError::conflict(format!(
                "container {} is not running",
                stored.record.id
            )));
        }
        let mut pids = self
            .container_cgroup(&stored)?
            .pids()
            .map_err(|error| EngineError::conflict(format!("cannot list processes: {error}")))?;
        pids.sort_unstable();
        self.announce(&stored.record, "top", &[]);
        let boot_s = boot_time_s();
        Ok(pids
            .into_iter()
            .filter_map(|pid| row(pid, boot_s))
            .collect())
    }

    /// What a running container uses now.
    ///
    /// # Errors
    /// [`EngineError::NoSuchContainer`], or a control group that went meanwhile.
    pub fn usage(&self, stored: &StoredContainer) -> Result<Usage, EngineError> {
        let stats = self.container_cgroup(stored)?.stats().map_err(|error| {
            EngineError::conflict(format!("cannot read control group: {error}"))
        })?;
        Ok(Usage {
            cgroup: stats,
            network: network_bytes(stored.state.pid),
            time_ns: sys::journal::now_ns(),
        })
    }
}

fn boot_time_s() -> i64 {
    let text = std::fs::read_to_string("/proc/stat").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("btime "));
    line.and_then(|value| value.trim().parse().ok())
        .unwrap_or(0)
}

fn row(pid: i32, boot_s: i64) -> Option<ProcessRow> {
    let stat = sys::host::read_text(&format!("/proc/{pid}/stat"));
    let open = stat.find('(')?;
    let close = stat.rfind(')')?;
    let name = stat.get(open + 1..close)?.to_string();
    let fields: Vec<&str> = stat.get(close + 1..)?.split_ascii_whitespace().collect();
    let number = |index: usize| {
        fields
            .get(index)
            .and_then(|text| text.parse::<u64>().ok())
            .unwrap_or(0)
    };
    let status = sys::host::read_text(&format!("/proc/{pid}/status"));
    let uid = status
        .lines()
        .find_map(|line| line.strip_prefix("Uid:"))
        .and_then(|rest| rest.split_ascii_whitespace().nth(1))
        .unwrap_or("0")
        .to_string();
    let bytes = sys::atomic::read_limited(
        std::path::Path::new(&format!("/proc/{pid}/cmdline")),
        1 << 20,
    )
    .unwrap_or_default();
    let words: Vec<_> = bytes
        .split(|byte| *byte == 0)
        .filter(|word| !word.is_empty())
        .map(|word| String::from_utf8_lossy(word).into_owned())
        .collect();
    let command = if words.is_empty() {
        format!("[{name}]")
    } else {
        words.join(" ")
    };
    let started = number(19) / TICKS_PER_SECOND;
    Some(ProcessRow {
        user: user_name(&uid),
        pid,
        parent: fields
            .get(1)
            .and_then(|text| text.parse().ok())
            .unwrap_or(0),
        state: fields.first().copied().unwrap_or("?").to_string(),
        started_s: boot_s + i64::try_from(started).unwrap_or(0),
        terminal: terminal_name(number(4)),
        cpu_s: (number(11) + number(12)) / TICKS_PER_SECOND,
        resident_kib: number(21) * PAGE_KIB,
        virtual_kib: number(20) / 1024,
        name,
        command,
    })
}

fn terminal_name(device: u64) -> String {
    let (major, minor) = (
        (device >> 8) & 0xfff,
        (device & 0xff) | ((device >> 12) & 0xfff00),
    );
    match major {
        136..=143 => format!("pts/{}", (major - 136) * 256 + minor),
        4 => format!("tty{minor}"),
        _ => "?".into(),
    }
}

fn user_name(uid: &str) -> String {
    let text = sys::host::read_text("/etc/passwd");
    let found = text.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1) == Some(uid)).then(|| name.to_string())
    });
    found.unwrap_or_else(|| uid.to_string())
}

fn network_bytes(pid: i32) -> (u64, u64) {
    let text = sys::host::read_text(&format!("/proc/{pid}/net/dev"));
    let mut sum = (0u64, 0u64);
    for line in text.lines().skip(2) {
        let Some((name, rest)) = line.split_once(':') else {
            continue;
        };
        if name.trim() == "lo" {
            continue;
        }
        let fields: Vec<u64> = rest
            .split_ascii_whitespace()
            .map(|field| field.parse().unwrap_or(0))
            .collect();
        sum.0 += fields.first().copied().unwrap_or(0);
        sum.1 += fields.get(8).copied().unwrap_or(0);
    }
    sum
}
