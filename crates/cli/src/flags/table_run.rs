//! The flags of `run` and `create`.

use super::{Flag, Kind, flag};

const WINDOWS: &str = "it is for Windows containers only";
const NO_TRUST: &str = "Docker's content trust service is gone; digests are always verified";

/// The flags of `run`, sorted by long name.
pub(super) static RUN_FLAGS: &[Flag] = &RUN;

/// The flags of `create`: those of `run` that do not speak of attaching.
pub(super) static CREATE_FLAGS: &[Flag] = &CREATE;

const RUN_ONLY: [&str; 3] = ["detach", "detach-keys", "sig-proxy"];

static CREATE: [Flag; RUN.len() - RUN_ONLY.len()] = without_run_only();

const fn without_run_only() -> [Flag; RUN.len() - RUN_ONLY.len()] {
    let mut kept = [RUN[0]; RUN.len() - RUN_ONLY.len()];
    let (mut from, mut to) = (0, 0);
    while from < RUN.len() {
        if !is_run_only(RUN[from].long) {
            kept[to] = RUN[from];
            to += 1;
        }
        from += 1;
    }
    kept
}

const fn is_run_only(long: &str) -> bool {
    let mut index = 0;
    while index < RUN_ONLY.len() {
        if same(RUN_ONLY[index].as_bytes(), long.as_bytes()) {
            return true;
        }
        index += 1;
    }
    false
}

const fn same(left: &[u8], right: &[u8]) -> bool {
    if left.len() != right.len() {
        return false;
    }
    let mut index = 0;
    while index < left.len() {
        if left[index] != right[index] {
            return false;
        }
        index += 1;
    }
    true
}

const RUN: [Flag; 103] = [
    flag(
        "add-host",
        Kind::AddHost,
        "Add a line to /etc/hosts (name:address, or name:host-gateway)",
    ),
    flag(
        "annotation",
        Kind::Map,
        "Add an annotation, kept for inspect and the runtime",
    ),
    flag(
        "attach",
        Kind::Attach,
        "Attach to stdin, stdout or stderr only",
    )
    .short('a'),
    flag(
        "blkio-weight",
        Kind::Uint16,
        "Share of disk time, 10 to 1000; 0 asks for none",
    ),
    flag(
        "blkio-weight-device",
        Kind::WeightDevice,
        "Share of one disk's time (/dev/sda:500)",
    ),
    flag("cap-add", Kind::List, "Add a capability, or ALL"),
    flag("cap-drop", Kind::List, "Drop a capability, or ALL"),
    flag(
        "cgroup-parent",
        Kind::Text,
        "Put the container's cgroup under this one",
    ),
    flag(
        "cgroupns",
        Kind::Text,
        "Cgroup namespace: private or host (default private on cgroup v2, \
        host on v1)",
    ),
    flag(
        "cidfile",
        Kind::Text,
        "Write the container's id to this file",
    ),
    flag("cpu-count", Kind::Int, "Number of CPUs").accepted(WINDOWS),
    flag("cpu-percent", Kind::Int, "Percentage of the CPUs").accepted(WINDOWS),
    flag(
        "cpu-period",
        Kind::Int,
        "Length of a CPU quota period in microseconds",
    ),
    flag(
        "cpu-quota",
        Kind::Int,
        "CPU time per period in microseconds",
    ),
    flag(
        "cpu-rt-period",
        Kind::Int,
        "Length of a real-time period in microseconds",
    ),
    flag(
        "cpu-rt-runtime",
        Kind::Int,
        "Real-time CPU time per period in microseconds",
    ),
    flag(
        "cpu-shares",
        Kind::Int,
        "Share of CPU time against other containers (relative weight)",
    )
    .short('c'),
    flag("cpus", Kind::Decimal, "Limit to so many CPUs, such as 1.5"),
    flag(
        "cpuset-cpus",
        Kind::Text,
        "Run on these CPUs only (0-3, or 0,2)",
    ),
    flag(
        "cpuset-mems",
        Kind::Text,
        "Take memory from these NUMA nodes only (0-3, or 0,2)",
    ),
    flag(
        "detach",
        Kind::Bool,
        "Run in the background and print the container's id",
    )
    .short('d'),
    flag(
        "detach-keys",
        Kind::Text,
        "Keys that detach from the container (default ctrl-p,ctrl-q)",
    ),
    flag(
        "device",
        Kind::List,
        "Give a device of the host (/dev/x, /dev/x:/dev/y:rwm)",
    ),
    flag(
        "device-cgroup-rule",
        Kind::CgroupRule,
        "Allow devices by number, such as 'c 13:* rwm'",
    ),
    flag(
        "device-read-bps",
        Kind::RateBytes,
        "Limit reading from a device (/dev/sda:1mb per second)",
    ),
    flag(
        "device-read-iops",
        Kind::RateOperations,
        "Limit reads per second from a device (/dev/sda:100)",
    ),
    flag(
        "device-write-bps",
        Kind::RateBytes,
        "Limit writing to a device (/dev/sda:1mb per second)",
    ),
    flag(
        "device-write-iops",
        Kind::RateOperations,
        "Limit writes per second to a device (/dev/sda:100)",
    ),
    flag("disable-content-trust", Kind::Bool, "Skip verification")
        .default("true")
        .accepted(NO_TRUST),
    flag("dns", Kind::IpList, "Ask this name server"),
    flag("dns-option", Kind::List, "Set an option of resolv.conf").alias(&["dns-opt"]),
    flag(
        "dns-search",
        Kind::Domain,
        "Search names in this domain; . searches none",
    ),
    flag("domainname", Kind::Text, "Set the NIS domain name"),
    flag(
        "entrypoint",
        Kind::Text,
        "Run this program instead of the image's entry point",
    ),
    flag(
        "env",
        Kind::Env,
        "Set a variable; NAME alone copies it from here",
    )
    .short('e'),
    flag(
        "env-file",
        Kind::List,
        "Set the variables that a file lists",
    ),
    flag("expose", Kind::List, "Note a port, or a range, as served"),
    flag("gpus", Kind::Gpu, "Give GPUs (all, or how many)"),
    flag(
        "group-add",
        Kind::List,
        "Join another group (name or number)",
    ),
    flag("health-cmd", Kind::Text, "Run this command to check health"),
    flag(
        "health-interval",
        Kind::Duration,
        "Time between two checks (default 30s)",
    )
    .default("0s"),
    flag(
        "health-retries",
        Kind::Int,
        "Failures in a row until unhealthy (default 3)",
    ),
    flag(
        "health-start-interval",
        Kind::Duration,
        "Time between two checks while starting (default 5s)",
    )
    .default("0s"),
    flag(
        "health-start-period",
        Kind::Duration,
        "Time to start, in which failures do not count (default 0s)",
    )
    .default("0s"),
    flag(
        "health-timeout",
        Kind::Duration,
        "Time that one check may take (default 30s)",
    )
    .default("0s"),
    flag(
        "hostname",
        Kind::Text,
        "Host name (default the container's short id)",
    )
    .short('h'),
    flag(
        "init",
        Kind::Bool,
        "Run a small init first, which forwards signals and reaps processes",
    ),
    flag("interactive", Kind::Bool, "Keep standard input open").short('i'),
    flag(
        "io-maxbandwidth",
        Kind::Bytes,
        "Limit the system drive's bandwidth",
    )
    .accepted(WINDOWS),
    flag(
        "io-maxiops",
        Kind::Uint64,
        "Limit the system drive's operations",
    )
    .accepted(WINDOWS),
    flag("ip", Kind::Ip, "Take this IPv4 address"),
    flag("ip6", Kind::Ip, "Take this IPv6 address"),
    flag(
        "ipc",
        Kind::Text,
        "IPC namespace: private, shareable, none, host or container:NAME (default \
        private)",
    ),
    flag("isolation", Kind::Text, "Kind of isolation: default")
        .partly("on Linux there is one way, `default`"),
    flag("kernel-memory", Kind::Bytes, "Limit kernel memory")
        .accepted("Linux has dropped this limit; kernel memory counts as memory (-m)"),
    flag("label", Kind::Label, "Set a label").short('l'),
    flag("label-file", Kind::List, "Set the labels that a file lists"),
    flag(
        "link",
        Kind::Link,
        "Give another container a name that only this one knows",
    ),
    flag(
        "link-local-ip",
        Kind::IpList,
        "Take this further address, link-local as a rule",
    ),
    flag(
        "log-driver",
        Kind::Text,
        "Keep output with this driver: json-file, local or none (default \
        json-file)",
    ),
    flag(
        "log-opt",
        Kind::List,
        "Set an option of the log driver (max-size=10m, max-file=3)",
    ),
    flag("mac-address", Kind::Text, "Take this MAC address"),
    flag("memory", Kind::Bytes, "Limit memory, such as 512m").short('m'),
    flag(
        "memory-reservation",
        Kind::Bytes,
        "Memory to fall back to when the host is short of it",
    ),
    flag(
        "memory-swap",
        Kind::SwapBytes,
        "Limit memory and swap together; -1 is without limit",
    ),
    flag("memory-swappiness", Kind::Int, "Tendency to swap, 0 to 100").default("-1"),
    flag(
        "mount",
        Kind::Mount,
        "Mount a directory or memory (type=bind,source=…,target=…)",
    )
    .partly("types bind, volume, tmpfs and image; of volumes' drivers local"),
    flag(
        "name",
        Kind::Text,
        "Name the container (default a random name)",
    ),
    flag(
        "network",
        Kind::Network,
        "Join a network: a name, bridge, host, none or container:NAME",
    )
    .alias(&["net"]),
    flag("network-alias", Kind::List, "Add a name on the network").alias(&["net-alias"]),
    flag(
        "no-healthcheck",
        Kind::Bool,
        "Switch off the image's health check",
    ),
    flag(
        "oom-kill-disable",
        Kind::Bool,
        "Pause instead of killing when out of memory (cgroup v1)",
    ),
    flag(
        "oom-score-adj",
        Kind::Int,
        "Preference of the host's out-of-memory killer, -1000 to 1000",
    ),
    flag(
        "pid",
        Kind::Text,
        "PID namespace: host or container:NAME (default private)",
    ),
    flag(
        "pids-limit",
        Kind::Int,
        "Limit the number of processes; -1 is without limit",
    ),
    flag(
        "platform",
        Kind::Text,
        "Take the image for this platform (os[/arch[/variant]])",
    ),
    flag(
        "privileged",
        Kind::Bool,
        "Give all capabilities and devices; confines nothing",
    ),
    flag(
        "publish",
        Kind::List,
        "Publish a port ([[ip:]host:]container[/protocol])",
    )
    .short('p'),
    flag(
        "publish-all",
        Kind::Bool,
        "Publish all exposed ports at random ports",
    )
    .short('P'),
    flag(
        "pull",
        Kind::Text,
        "When to pull the image: always, missing or never",
    )
    .default("missing"),
    flag("quiet", Kind::Bool, "Do not show the pull").short('q'),
    flag(
        "read-only",
        Kind::Bool,
        "Make the root file system read-only",
    ),
    flag(
        "restart",
        Kind::Text,
        "When to start again: no, on-failure[:N], always, unless-stopped, on-unhealthy",
    )
    .default("no"),
    flag("rm", Kind::Bool, "Remove the container when it ends"),
    flag(
        "runtime",
        Kind::Text,
        "Runtime to use; there is only Caisson's own",
    )
    .partly("runc and its other names stand for Caisson's own runtime; others are refused"),
    flag(
        "security-opt",
        Kind::List,
        "Change the confinement (no-new-privileges, seccomp=FILE, …)",
    ),
    flag("shm-size", Kind::Bytes, "Size of /dev/shm (default 64m)"),
    flag("sig-proxy", Kind::Bool, "Forward signals to the container").default("true"),
    flag(
        "stop-signal",
        Kind::Text,
        "Signal that stop sends (default the image's, else SIGTERM)",
    ),
    flag(
        "stop-timeout",
        Kind::Int,
        "Seconds that stop waits before it kills (default 10)",
    ),
    flag(
        "storage-opt",
        Kind::List,
        "Set an option of the storage driver",
    )
    .refused(
        "size quotas are not built yet; put data that must be bounded on --tmpfs /path:size=64m",
    ),
    flag(
        "sysctl",
        Kind::Sysctl,
        "Set a kernel parameter of the container",
    ),
    flag(
        "tmpfs",
        Kind::List,
        "Mount memory at a directory (/run:size=64k,noexec)",
    ),
    flag("tty", Kind::Bool, "Give the container a terminal").short('t'),
    flag(
        "ulimit",
        Kind::Ulimit,
        "Set a resource limit (nofile=1024:2048)",
    ),
    flag(
        "use-api-socket",
        Kind::Bool,
        "Give the engine's socket to the container",
    )
    .refused("Caisson has no daemon and so no socket to give"),
    flag(
        "user",
        Kind::Text,
        "Run as this user (name or number, with :group if wanted)",
    )
    .short('u'),
    flag("userns", Kind::Text, "User namespace: host, or none given"),
    flag("uts", Kind::Text, "UTS namespace: host (default private)"),
    flag(
        "volume",
        Kind::List,
        "Mount a volume or a directory of the host (from:/to[:ro])",
    )
    .short('v'),
    flag(
        "volume-driver",
        Kind::Text,
        "Driver of the volumes that are made (local is the only one)",
    ),
    flag(
        "volumes-from",
        Kind::List,
        "Take the mounts of another container",
    ),
    flag("workdir", Kind::Text, "Working directory").short('w'),
];
