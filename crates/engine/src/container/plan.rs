//! From a container's record to what the runtime shall do: a pure function.
//!
//! Docker's defaults exactly: mounts, devices, masked and read-only paths, capabilities, sysctls.
//! Everything that depends on the machine comes in as [`HostFacts`], so that the same record and
//! facts give the same [`Launch`], byte for byte.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use runtime::capabilities::{self, CapSet};
use runtime::spec::{
    Capabilities, ConsoleSize, Device, Hooks, Linux, Mount, Namespace, NamespaceKind, Process,
    Rlimit, Root, Spec, User,
};
use runtime::{CgroupRequest, Launch, Layers, RootSource, SeccompRequest, UserRequest};
use storage::containers::{ContainerRecord, VolumeUse};
use types::container::{ContainerSpec, NO_NETWORK};
use types::mount::MountKind;

use super::options::{SecurityOptions, bind_options};
use crate::cdi::Edits;
use crate::error::EngineError;

/// Hidden from every container.
pub const MASKED_PATHS: [&str; 12] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
];

/// Only to be read in every container.
pub const READONLY_PATHS: [&str; 5] = [
    "/proc/bus",
    "/proc/fs",
    "/proc/irq",
    "/proc/sys",
    "/proc/sysrq-trigger",
];

const DEFAULT_PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
const SHM_BYTES_DEFAULT: i64 = 64 << 20;

/// What of the machine and the run time goes into a plan.
#[derive(Clone, Debug, Default)]
pub struct HostFacts {
    /// The container's directory in the store.
    pub directory: PathBuf,
    /// An existing empty directory in the run root.
    pub staging: PathBuf,
    /// Where volumes are.
    pub volumes: PathBuf,
    /// Options of those volumes that have some.
    pub volume_options: BTreeMap<String, BTreeMap<String, String>>,
    /// Read-only layers, topmost first.
    pub lowers: Vec<PathBuf>,
    /// Layers of the images that are mounted, by target.
    pub images: BTreeMap<String, Vec<PathBuf>>,
    /// Parent of our control groups.
    pub cgroup_parent: String,
    /// Only cgroup v2 is there: containers get a cgroup namespace of their own.
    pub pure_cgroup2: bool,
    /// The directory of the container whose network is joined: its files say where both are.
    pub network_directory: Option<PathBuf>,
    /// Its host name, which is that of both.
    pub network_hostname: Option<String>,
    /// The machine's host name, for `--network host` and `--uts host`.
    pub hostname: String,
    /// Directories of this machine's CPUs that tell neighbours' load.
    pub thermal_paths: Vec<String>,
    /// Capabilities that we may give.
    pub bounding: u64,
    /// Devices asked for, looked up (all of the host's for `--privileged`).
    pub devices: Vec<Device>,
    /// Control group rules for those devices.
    pub device_rules: Vec<String>,
    /// Variables that tell of linked containers.
    pub link_variables: Vec<String>,
    /// What devices asked for by name need.
    pub edits: Edits,
    /// Pids of the containers whose namespaces are joined, by mode: network, pid, ipc.
    pub joined: JoinedPids,
}

/// Pids for `container:X` modes.
#[derive(Clone, Copy, Debug, Default)]
pub struct JoinedPids {
    /// Of `--network container:X`.
    pub network: Option<i32>,
    /// Of `--pid container:X`.
    pub pid: Option<i32>,
    /// Of `--ipc container:X`.
    pub ipc: Option<i32>,
}

/// The plan of a container.
///
/// # Errors
/// An option that is not understood, by name.
pub fn plan(record: &ContainerRecord, host: &HostFacts) -> Result<Launch, EngineError> {
    let spec = &record.spec;
    let security = SecurityOptions::parse(&spec.security_opt)?;
    let network = network_mode(spec);
    Ok(Launch {
        spec: Spec {
            oci_version: "1.2.0".into(),
            process: process(record, host, &security)?,
            root: Root {
                path: String::new(),
                readonly: spec.read_only,
            },
            hostname: hostname(record, host),
            domainname: spec.domainname.clone(),
            mounts: mounts(record, host, &security)?,
            hooks: Hooks {
                create_container: host.edits.hooks.clone(),
            },
            linux: Linux {
                namespaces: namespaces(spec, host),
                devices: devices(host),
                masked_paths: masked_paths(spec, host, &security),
                readonly_paths: match spec.privileged || security.system_paths_unconfined {
                    true => Vec::new(),
                    false => READONLY_PATHS.map(str::to_string).to_vec(),
                },
                sysctl: sysctls(spec, network),
                rootfs_propagation: String::new(),
            },
            annotations: spec.annotations.clone(),
        },
        root: RootSource::Layers(Layers {
            lowers: host.lowers.clone(),
            upper: host.directory.join("upper"),
            work: host.directory.join("work"),
            volatile: spec.auto_remove,
        }),
        staging: host.staging.clone(),
        user: UserRequest {
            user: spec.user.clone(),
            groups: spec
                .group_add
                .iter()
                .chain(&host.edits.groups)
                .cloned()
                .collect(),
        },
        cgroup: cgroup(record, host, &security),
        seccomp: match security.seccomp {
            _ if spec.privileged => SeccompRequest::Unconfined,
            other => other,
        },
        init: spec.init,
    })
}

fn cgroup(record: &ContainerRecord, host: &HostFacts, security: &SecurityOptions) -> CgroupRequest {
    let spec = &record.spec;
    CgroupRequest {
        parent: if spec.cgroup_parent.is_empty() {
            host.cgroup_parent.clone()
        } else {
            spec.cgroup_parent.clone()
        },
        parent_is_named: !spec.cgroup_parent.is_empty(),
        id: record.id.clone(),
        resources: spec.resources.clone(),
        device_rules: host
            .device_rules
            .iter()
            .chain(&spec.resources.device_cgroup_rules)
            .chain(host.edits.devices.iter().map(|(_, rule)| rule))
            .filter(|rule| !rule.is_empty())
            .cloned()
            .collect(),
        all_devices: spec.privileged,
        writable: spec.privileged || security.writable_cgroups,
    }
}

/// Which network a container has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NetworkMode {
    /// A namespace with an interface in each of its networks.
    Bridge,
    /// A namespace with loopback only.
    None,
    /// The host's.
    Host,
    /// Another container's.
    Container,
    /// As `None`, after the last network was left.
    Left,
}

/// The network mode of a specification.
pub fn network_mode(spec: &ContainerSpec) -> NetworkMode {
    match spec
        .networks
        .first()
        .map_or("", |network| network.target.as_str())
    {
        "host" => NetworkMode::Host,
        "none" => NetworkMode::None,
        NO_NETWORK => NetworkMode::Left,
        target if target.starts_with("container:") => NetworkMode::Container,
        _ => NetworkMode::Bridge,
    }
}

/// Whether containers of this specification get a network namespace of their own.
pub fn makes_network(spec: &ContainerSpec) -> bool {
    has_own(network_mode(spec))
}

fn has_own(mode: NetworkMode) -> bool {
    !matches!(mode, NetworkMode::Host | NetworkMode::Container)
}

pub(super) fn hostname(record: &ContainerRecord, host: &HostFacts) -> String {
    match &record.spec.hostname {
        name if !name.is_empty() => name.clone(),
        _ if network_mode(&record.spec) == NetworkMode::Host => host.hostname.clone(),
        _ if host.network_hostname.is_some() => host.network_hostname.clone().unwrap_or_default(),
        _ => record.id.chars().take(12).collect(),
    }
}

/// The first process of a container; the pattern for `exec`.
///
/// # Errors
/// An option that is not understood.
pub fn process_of(record: &ContainerRecord, host: &HostFacts) -> Result<Process, EngineError> {
    process(
        record,
        host,
        &SecurityOptions::parse(&record.spec.security_opt)?,
    )
}

fn process(
    record: &ContainerRecord,
    host: &HostFacts,
    security: &SecurityOptions,
) -> Result<Process, EngineError> {
    let spec = &record.spec;
    let capabilities = capability_set(spec, host)?.names();
    let rows_and_columns = spec.console_size;
    Ok(Process {
        terminal: spec.tty,
        console_size: (spec.tty && rows_and_columns != [0, 0]).then_some(ConsoleSize {
            height: rows_and_columns[0],
            width: rows_and_columns[1],
        }),
        user: User::default(),
        args: record.args.clone(),
        env: environment(record, host),
        cwd: if spec.working_dir.is_empty() {
            "/".into()
        } else {
            spec.working_dir.clone()
        },
        capabilities: Some(Capabilities {
            bounding: capabilities.clone(),
            effective: capabilities.clone(),
            permitted: capabilities,
            // CVE-2022-24769: never anything to inherit.
            inheritable: Vec::new(),
            ambient: Vec::new(),
        }),
        rlimits: spec.resources.ulimits.iter().map(rlimit).collect(),
        no_new_privileges: security.no_new_privileges,
        oom_score_adj: Some(spec.oom_score_adj),
        apparmor_profile: security.apparmor.clone(),
        selinux_label: security.label.clone(),
    })
}

/// Capabilities of a container.
///
/// # Errors
/// An unknown name.
pub fn capability_set(spec: &ContainerSpec, host: &HostFacts) -> Result<CapSet, EngineError> {
    let bounding = CapSet(host.bounding);
    capabilities::resolve(&spec.cap_add, &spec.cap_drop, spec.privileged, bounding)
        .map_err(|error| EngineError::invalid(error.to_string()))
}

fn rlimit(limit: &types::container::Ulimit) -> Rlimit {
    let value = |number: i64| u64::try_from(number).unwrap_or(u64::MAX);
    Rlimit {
        kind: format!("RLIMIT_{}", limit.name.to_ascii_uppercase()),
        soft: value(limit.soft),
        hard: value(limit.hard),
    }
}

/// Docker's order: path, host name, terminal, then the image's and the user's, later ones winning
/// in place; a name without value takes it away.
fn environment(record: &ContainerRecord, host: &HostFacts) -> Vec<String> {
    let mut all = vec![
        DEFAULT_PATH.to_string(),
        format!("HOSTNAME={}", hostname(record, host)),
    ];
    if record.spec.tty {
        all.push("TERM=xterm".into());
    }
    let given = host.link_variables.iter().chain(&record.spec.env);
    for pair in given.chain(&host.edits.env) {
        set_variable(&mut all, pair);
    }
    all
}

/// Adds `KEY=VALUE` to a list in place of an earlier one; a bare `KEY` takes that away.
pub fn set_variable(all: &mut Vec<String>, pair: &str) {
    let (key, has_value) = match pair.split_once('=') {
        Some((key, _)) => (key, true),
        None => (pair, false),
    };
    let at = all
        .iter()
        .position(|other| other.split('=').next() == Some(key));
    match (at, has_value) {
        (Some(at), true) => all[at] = pair.to_string(),
        (Some(at), false) => {
            all.remove(at);
        }
        (None, true) => all.push(pair.to_string()),
        (None, false) => {}
    }
}

fn namespaces(spec: &ContainerSpec, host: &HostFacts) -> Vec<Namespace> {
    let new = |kind| Namespace {
        kind,
        path: String::new(),
    };
    let joined = |kind, pid: Option<i32>, name: &str| Namespace {
        kind,
        path: pid
            .map(|pid| format!("/proc/{pid}/ns/{name}"))
            .unwrap_or_default(),
    };
    let mut all = vec![new(NamespaceKind::Mount)];
    match network_mode(spec) {
        mode if has_own(mode) => all.push(new(NamespaceKind::Network)),
        NetworkMode::Container => {
            all.push(joined(NamespaceKind::Network, host.joined.network, "net"));
        }
        _ => {}
    }
    if spec.uts_mode != "host" {
        all.push(new(NamespaceKind::Uts));
    }
    match spec.pid_mode.as_str() {
        "host" => {}
        mode if mode.starts_with("container:") => {
            all.push(joined(NamespaceKind::Pid, host.joined.pid, "pid"));
        }
        _ => all.push(new(NamespaceKind::Pid)),
    }
    match spec.ipc_mode.as_str() {
        "host" => {}
        mode if mode.starts_with("container:") => {
            all.push(joined(NamespaceKind::Ipc, host.joined.ipc, "ipc"));
        }
        _ => all.push(new(NamespaceKind::Ipc)),
    }
    let private = match spec.cgroupns_mode.as_str() {
        "private" => true,
        "host" => false,
        // Docker's default: private on v2 alone, and never for a privileged container.
        _ => host.pure_cgroup2 && !spec.privileged,
    };
    if private {
        all.push(new(NamespaceKind::Cgroup));
    }
    all
}

fn devices(host: &HostFacts) -> Vec<Device> {
    let node = |path: &str, major, minor| Device {
        kind: "c".into(),
        path: path.into(),
        major,
        minor,
        file_mode: 0o666,
        uid: 0,
        gid: 0,
    };
    let mut all = vec![
        node("/dev/null", 1, 3),
        node("/dev/zero", 1, 5),
        node("/dev/full", 1, 7),
        node("/dev/random", 1, 8),
        node("/dev/urandom", 1, 9),
        node("/dev/tty", 5, 0),
    ];
    let named = host.edits.devices.iter().map(|(device, _)| device);
    for device in host.devices.iter().chain(named) {
        if !all.iter().any(|other| other.path == device.path) {
            all.push(device.clone());
        }
    }
    all
}

fn masked_paths(spec: &ContainerSpec, host: &HostFacts, security: &SecurityOptions) -> Vec<String> {
    if spec.privileged || security.system_paths_unconfined {
        return Vec::new();
    }
    MASKED_PATHS
        .iter()
        .map(|path| (*path).to_string())
        .chain(host.thermal_paths.clone())
        .collect()
}

fn sysctls(spec: &ContainerSpec, network: NetworkMode) -> BTreeMap<String, String> {
    let mut all = spec.sysctls.clone();
    if has_own(network) {
        // Low ports and ping need no capability in a network namespace of one's own.
        let defaults = [
            ("net.ipv4.ip_unprivileged_port_start", "0"),
            ("net.ipv4.ping_group_range", "0 2147483647"),
        ];
        for (key, value) in defaults {
            all.entry(key.into()).or_insert_with(|| value.into());
        }
    }
    all
}

fn mount(destination: &str, kind: &str, options: &[&str]) -> Mount {
    Mount {
        destination: destination.into(),
        kind: kind.into(),
        source: kind.into(),
        options: options.iter().map(|option| (*option).to_string()).collect(),
        ..Mount::default()
    }
}

fn bind(source: &Path, destination: &str, options: &[&str]) -> Mount {
    Mount {
        source: source.display().to_string(),
        ..mount(destination, "bind", options)
    }
}

fn default_mounts(
    spec: &ContainerSpec,
    host: &HostFacts,
    security: &SecurityOptions,
) -> Vec<Mount> {
    let read_write = spec.privileged;
    let sys: &[&str] = match read_write {
        true => &["nosuid", "noexec", "nodev"],
        false => &["nosuid", "noexec", "nodev", "ro"],
    };
    let cgroup: &[&str] = match read_write || security.writable_cgroups {
        true => &["nosuid", "noexec", "nodev"],
        false => &["nosuid", "noexec", "nodev", "ro"],
    };
    let shm_bytes = if spec.shm_size_bytes > 0 {
        spec.shm_size_bytes
    } else {
        SHM_BYTES_DEFAULT
    };
    let mut all = vec![
        mount("/proc", "proc", &["nosuid", "noexec", "nodev"]),
        mount(
            "/dev",
            "tmpfs",
            &["nosuid", "strictatime", "mode=755", "size=65536k"],
        ),
        mount(
            "/dev/pts",
            "devpts",
            &[
                "nosuid",
                "noexec",
                "newinstance",
                "ptmxmode=0666",
                "mode=0620",
                "gid=5",
            ],
        ),
        mount("/sys", "sysfs", sys),
        mount("/sys/fs/cgroup", "cgroup", cgroup),
    ];
    // It shows the queues of the IPC namespace that the container is in.
    all.push(mount(
        "/dev/mqueue",
        "mqueue",
        &["nosuid", "noexec", "nodev"],
    ));
    match spec.ipc_mode.as_str() {
        "host" => all.push(bind(Path::new("/dev/shm"), "/dev/shm", &["bind"])),
        mode if mode.starts_with("container:") => {
            let pid = host.joined.ipc.unwrap_or(0);
            all.push(Mount {
                source: format!("/proc/{pid}/ns/mnt"),
                ..mount("/dev/shm", "foreign", &[])
            });
        }
        "none" => {}
        _ => {
            let size = format!("size={shm_bytes}");
            all.push(mount(
                "/dev/shm",
                "tmpfs",
                &["nosuid", "noexec", "nodev", "mode=1777", &size],
            ));
        }
    }
    all
}

/// Binds, mounts, volumes and memory file systems that were asked for.
fn asked_mounts(record: &ContainerRecord, host: &HostFacts) -> Result<Vec<Mount>, EngineError> {
    let spec = &record.spec;
    let mut asked = Vec::new();
    for text in &spec.binds {
        if crate::volume::named(text).is_none() {
            asked.push(bind_mount(text)?);
        }
    }
    for request in &spec.mounts {
        if request.kind != MountKind::Volume {
            asked.push(Mount {
                layers: host
                    .images
                    .get(&request.target)
                    .cloned()
                    .unwrap_or_default(),
                ..super::options::mount_of(request)?
            });
        }
    }
    for one in &record.volumes {
        asked.push(match host.volume_options.get(&one.name) {
            Some(options) => crate::volume::local::mount(options, one)?,
            None => volume_mount(one, &host.volumes),
        });
    }
    for (target, options) in &spec.tmpfs {
        let given: Vec<&str> = options
            .split(',')
            .filter(|option| !option.is_empty())
            .collect();
        let mut all = vec!["noexec", "nosuid", "nodev"];
        all.extend(given);
        asked.push(mount(target, "tmpfs", &all));
    }
    Ok(asked)
}

fn mounts(
    record: &ContainerRecord,
    host: &HostFacts,
    security: &SecurityOptions,
) -> Result<Vec<Mount>, EngineError> {
    let spec = &record.spec;
    let mut asked = asked_mounts(record, host)?;
    // What is asked for stands above what a device would bring.
    for mount in &host.edits.mounts {
        if !asked
            .iter()
            .any(|other| other.destination == mount.destination)
        {
            asked.push(mount.clone());
        }
    }
    for (index, one) in asked.iter().enumerate() {
        if asked[..index]
            .iter()
            .any(|other| other.destination == one.destination)
        {
            return Err(EngineError::invalid(format!(
                "Duplicate mount point: {}",
                one.destination
            )));
        }
    }
    let files = network_files(spec, host, &asked);
    let own_dev = take_memory_of_dev(&mut asked);
    let covers = |destination: &str| asked.iter().any(|mount| mount.destination == destination);
    let mut all: Vec<Mount> = default_mounts(spec, host, security)
        .into_iter()
        .filter(|default| !covers(&default.destination))
        // On what the user has at /dev already nothing of ours is mounted.
        .filter(|default| !(default.destination.starts_with("/dev/") && covers("/dev")))
        .collect();
    if let (Some(dev), Some(ours)) = (
        own_dev,
        all.iter_mut().find(|one| one.destination == "/dev"),
    ) {
        *ours = dev;
    }
    asked.extend(files);
    // Parents before what is below them.
    asked.sort_by_key(|mount| Path::new(&mount.destination).components().count());
    all.extend(asked);
    Ok(all)
}

/// The user's memory file system at /dev: it is empty, so it takes the place of ours, and terminals
/// and devices stand on it as ever. `nodev`, which memory has unless it is told otherwise, would make
/// every device useless.
fn take_memory_of_dev(asked: &mut Vec<Mount>) -> Option<Mount> {
    let at = asked
        .iter()
        .position(|mount| mount.destination == "/dev" && mount.kind == "tmpfs")?;
    let mut dev = asked.remove(at);
    // The first is the default, a second the user's wish.
    if let Some(at) = dev.options.iter().position(|option| option == "nodev") {
        dev.options.remove(at);
    }
    Some(dev)
}

/// The files that say where the container is, but for those that something else is mounted on.
fn network_files(spec: &ContainerSpec, host: &HostFacts, asked: &[Mount]) -> Vec<Mount> {
    let options: &[&str] = match spec.read_only {
        true => &["rbind", "ro", "rprivate"],
        false => &["rbind", "rprivate"],
    };
    let directory = host.network_directory.as_ref().unwrap_or(&host.directory);
    [
        ("resolv.conf", "/etc/resolv.conf"),
        ("hostname", "/etc/hostname"),
        ("hosts", "/etc/hosts"),
    ]
    .into_iter()
    .filter(|(_, destination)| !asked.iter().any(|mount| mount.destination == *destination))
    .map(|(file, destination)| bind(&directory.join(file), destination, options))
    .collect()
}

fn volume_mount(one: &VolumeUse, volumes: &Path) -> Mount {
    let options: &[&str] = match one.read_only {
        true => &["rbind", "rro", "rprivate"],
        false => &["rbind", "rprivate"],
    };
    Mount {
        subpath: one.subpath.clone(),
        ..bind(&volumes.join(&one.name).join("data"), &one.target, options)
    }
}

fn bind_mount(text: &str) -> Result<Mount, EngineError> {
    let mut parts = text.splitn(3, ':');
    let (source, target) = (parts.next().unwrap_or(""), parts.next().unwrap_or(""));
    let options = bind_options(parts.next().unwrap_or(""));
    let options: Vec<&str> = options.iter().map(String::as_str).collect();
    Ok(bind(Path::new(source), target, &options))
}
