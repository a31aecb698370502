//! What a container is asked to be: the whole request of `run` and `create`.
//!
//! The fields follow Docker's `Config` and `HostConfig`, so that `inspect` can return them as given.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::mount::MountSpec;

/// Everything that defines a container, after the image's own configuration was merged in.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ContainerSpec {
    /// The image reference as the user typed it.
    pub image: String,
    /// `--hostname`; empty means the short id.
    pub hostname: String,
    /// `--domainname`.
    pub domainname: String,
    /// `--user`: `uid|name[:gid|group]`, or empty for the image's, else root.
    pub user: String,
    /// Supplementary groups of `--group-add`, names or numbers.
    pub group_add: Vec<String>,
    /// Attach standard input, output and error at start (kept for `inspect`).
    pub attach_stdin: bool,
    /// See [`Self::attach_stdin`].
    pub attach_stdout: bool,
    /// See [`Self::attach_stdin`].
    pub attach_stderr: bool,
    /// `-t`: the container's standard streams are a pseudo-terminal.
    pub tty: bool,
    /// `-i`: standard input stays open.
    pub open_stdin: bool,
    /// Close standard input when the first attached client leaves.
    pub stdin_once: bool,
    /// Environment, `KEY=VALUE` in order; a bare `KEY` removes it.
    pub env: Vec<String>,
    /// `None`: the image's; `Some([])`: reset by `--entrypoint ""`.
    pub entrypoint: Option<Vec<String>>,
    /// `None`: the image's.
    pub cmd: Option<Vec<String>>,
    /// Absolute working directory; empty is `/`.
    pub working_dir: String,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// OCI annotations.
    pub annotations: BTreeMap<String, String>,
    /// Name or number of the signal that `stop` sends; empty is SIGTERM.
    pub stop_signal: String,
    /// Seconds that `stop` waits before SIGKILL; `None` is 10.
    pub stop_timeout: Option<i64>,
    /// Health check; `None` is the image's, else none.
    pub healthcheck: Option<Healthcheck>,
    /// Exposed ports, `80/tcp`.
    pub exposed_ports: Vec<String>,
    /// Published ports, as given to `-p`.
    pub publish: Vec<String>,
    /// `-P`.
    pub publish_all: bool,
    /// Anonymous volumes: the image's `VOLUME`s and `-v /path`.
    pub volumes: Vec<String>,
    /// `-v SRC:DST[:OPTIONS]`, as given (sources made absolute).
    pub binds: Vec<String>,
    /// `--mount`.
    pub mounts: Vec<MountSpec>,
    /// `--tmpfs`: target to mount options.
    pub tmpfs: BTreeMap<String, String>,
    /// `--volume-driver`; `local`, or nothing.
    pub volume_driver: String,
    /// `--volumes-from`.
    pub volumes_from: Vec<String>,
    /// `--rm`.
    pub auto_remove: bool,
    /// `--restart`.
    pub restart: RestartPolicy,
    /// `--init`.
    pub init: bool,
    /// `--read-only`.
    pub read_only: bool,
    /// `--privileged`.
    pub privileged: bool,
    /// `--cap-add`, normalised to `CAP_X` or `ALL`.
    pub cap_add: Vec<String>,
    /// `--cap-drop`, normalised to `CAP_X` or `ALL`.
    pub cap_drop: Vec<String>,
    /// `--security-opt`, as given; `seccomp=FILE` holds the file's content after `seccomp=`.
    pub security_opt: Vec<String>,
    /// `--sysctl`.
    pub sysctls: BTreeMap<String, String>,
    /// `--network` values as given (`none`, `host`, `container:X`, names, long form); empty is the default.
    pub networks: Vec<NetworkAttachment>,
    /// The first of them as it was asked for, once the container joined or left networks.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub network_mode: String,
    /// `--dns`.
    pub dns: Vec<String>,
    /// `--dns-option`.
    pub dns_options: Vec<String>,
    /// `--dns-search`.
    pub dns_search: Vec<String>,
    /// `--add-host`, `name:ip`.
    pub extra_hosts: Vec<String>,
    /// `--link`.
    pub links: Vec<String>,
    /// `--mac-address`.
    pub mac_address: String,
    /// `--pid`: empty (private), `host`, `container:X`.
    pub pid_mode: String,
    /// `--ipc`: empty (private), `private`, `shareable`, `none`, `host`, `container:X`.
    pub ipc_mode: String,
    /// `--uts`: empty or `host`.
    pub uts_mode: String,
    /// `--userns`: empty or `host`.
    pub userns_mode: String,
    /// `--cgroupns`: empty (the host's default), `private` or `host`.
    pub cgroupns_mode: String,
    /// `--cgroup-parent`.
    pub cgroup_parent: String,
    /// `--shm-size` in bytes; 0 is 64 MiB.
    pub shm_size_bytes: i64,
    /// `--oom-score-adj`.
    pub oom_score_adj: i32,
    /// `--log-driver`; empty is `json-file`.
    pub log_driver: String,
    /// `--log-opt`.
    pub log_options: BTreeMap<String, String>,
    /// `--platform`; empty is the host's.
    pub platform: String,
    /// `--runtime`, kept for `inspect`.
    pub runtime: String,
    /// `--storage-opt`.
    pub storage_options: BTreeMap<String, String>,
    /// `--cidfile`, kept for `inspect`.
    pub container_id_file: String,
    /// The terminal's size at start: rows, columns.
    pub console_size: [u16; 2],
    /// Limits.
    pub resources: Resources,
    /// Members of a request that we do not know, kept for `inspect`.
    pub extra: serde_json::Map<String, serde_json::Value>,
}

/// The target that stands alone in [`ContainerSpec::networks`] after a container left its last network.
/// No network can be called so.
pub const NO_NETWORK: &str = "-";

/// One network a container shall join.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct NetworkAttachment {
    /// `bridge`, `host`, `none`, `container:X` or a network's name or id.
    pub target: String,
    /// Extra names on that network.
    pub aliases: Vec<String>,
    /// Fixed IPv4 address, or empty.
    pub ipv4: String,
    /// Fixed IPv6 address, or empty.
    pub ipv6: String,
    /// Fixed MAC address, or empty.
    pub mac_address: String,
    /// Containers that shall have names of this one's own there, `NAME[:ALIAS]`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub links: Vec<String>,
    /// Link-local addresses.
    pub link_local_ips: Vec<String>,
    /// Driver options.
    pub driver_options: BTreeMap<String, String>,
    /// The highest becomes the default route.
    pub gateway_priority: i64,
}

/// When a container is started again after it ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestartPolicy {
    /// The condition.
    pub kind: RestartKind,
    /// For `on-failure`: how often at most; 0 is without end.
    #[serde(default)]
    pub maximum_retries: u32,
}

/// The condition of a [`RestartPolicy`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RestartKind {
    /// Never.
    #[default]
    No,
    /// After a non-zero exit code.
    OnFailure,
    /// Whatever the exit code.
    Always,
    /// Like always, but a container that was stopped stays so across a reboot.
    UnlessStopped,
    /// Like unless-stopped, and one whose health check says so is stopped and started again.
    OnUnhealthy,
}

/// A health check as an image or `--health-*` gives it. Durations in nanoseconds, 0 is the default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Healthcheck {
    /// `["NONE"]`, `["CMD", …]`, `["CMD-SHELL", line]`, or empty: inherit.
    pub test: Vec<String>,
    /// Between two probes; default 30 s.
    pub interval_ns: i64,
    /// Of one probe; default 30 s.
    pub timeout_ns: i64,
    /// Failures count only after this; default 0.
    pub start_period_ns: i64,
    /// Between two probes within the start period; default 5 s.
    pub start_interval_ns: i64,
    /// Failures in a row until unhealthy; default 3.
    pub retries: u32,
}

/// Limits of a container. Zero (or `None`) means: none asked for.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Resources {
    /// `--memory` in bytes.
    pub memory_bytes: i64,
    /// `--memory-reservation` in bytes.
    pub memory_reservation_bytes: i64,
    /// `--memory-swap` in bytes, memory included; -1 is without limit.
    pub memory_swap_bytes: i64,
    /// `--memory-swappiness`, 0–100.
    pub memory_swappiness: Option<i64>,
    /// `--oom-kill-disable`.
    pub oom_kill_disable: bool,
    /// `--cpus` in billionths of a CPU.
    pub nano_cpus: i64,
    /// `--cpu-shares`.
    pub cpu_shares: i64,
    /// `--cpu-period` in microseconds.
    pub cpu_period_us: i64,
    /// `--cpu-quota` in microseconds.
    pub cpu_quota_us: i64,
    /// `--cpu-rt-period` in microseconds.
    pub cpu_realtime_period_us: i64,
    /// `--cpu-rt-runtime` in microseconds.
    pub cpu_realtime_runtime_us: i64,
    /// `--cpuset-cpus`, a list such as `0-2,4`.
    pub cpuset_cpus: String,
    /// `--cpuset-mems`.
    pub cpuset_mems: String,
    /// `--pids-limit`; 0 and -1 are without limit.
    pub pids_limit: i64,
    /// `--blkio-weight`, 10–1000.
    pub blkio_weight: u16,
    /// `--blkio-weight-device`: path and weight.
    pub blkio_weight_device: Vec<(String, u16)>,
    /// `--device-read-bps`: path and bytes per second.
    pub blkio_read_bps: Vec<(String, u64)>,
    /// `--device-write-bps`.
    pub blkio_write_bps: Vec<(String, u64)>,
    /// `--device-read-iops`: path and operations per second.
    pub blkio_read_iops: Vec<(String, u64)>,
    /// `--device-write-iops`.
    pub blkio_write_iops: Vec<(String, u64)>,
    /// `--device`.
    pub devices: Vec<DeviceMapping>,
    /// `--gpus`, and `--device` with names of the Container Device Interface.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub device_requests: Vec<DeviceRequest>,
    /// `--device-cgroup-rule`, such as `c 13:* rwm`.
    pub device_cgroup_rules: Vec<String>,
    /// `--ulimit`.
    pub ulimits: Vec<Ulimit>,
}

/// A device of the host made visible in the container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceMapping {
    /// Path on the host.
    pub host_path: String,
    /// Path in the container.
    pub container_path: String,
    /// A subset of `rwm`.
    pub permissions: String,
}

/// Devices asked for by kind or name instead of by path; the names are Docker's `DeviceRequest`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct DeviceRequest {
    /// `cdi` for names of the Container Device Interface, a vendor's short name, or empty for any.
    pub driver: String,
    /// How many; -1 is all. Unused where devices are named.
    pub count: i64,
    /// Names or numbers of devices.
    pub device_ids: Vec<String>,
    /// Each list is a set that one device must have.
    pub capabilities: Vec<Vec<String>>,
    /// Settings of the driver.
    pub options: BTreeMap<String, String>,
}

/// One resource limit, by its Docker name (`nofile`, `nproc` …).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ulimit {
    /// Name without `RLIMIT_`, lower case.
    pub name: String,
    /// Soft limit; -1 is without limit.
    pub soft: i64,
    /// Hard limit; -1 is without limit.
    pub hard: i64,
}
