//! The OCI runtime specification's `config.json`, as far as Caisson uses it.
//!
//! Names and shapes are the specification's (version 1.2), so that bundles written by others can be
//! read and ours can be checked by the specification's own validation.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// The document.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Spec {
    /// Version of the specification, `1.2.0`.
    pub oci_version: String,
    /// What runs.
    pub process: Process,
    /// The root file system.
    pub root: Root,
    /// Host name in a new UTS namespace; empty keeps the host's.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub hostname: String,
    /// NIS domain name; empty keeps the host's.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub domainname: String,
    /// Mounts, in order.
    pub mounts: Vec<Mount>,
    /// Programs of the host that take part.
    #[serde(skip_serializing_if = "Hooks::is_empty")]
    pub hooks: Hooks,
    /// What only Linux has.
    pub linux: Linux,
    /// Free text for tools.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// Programs of the host that take part in a container's life, by the moment at which they run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Hooks {
    /// In the container's namespaces, before its root becomes `/`.
    pub create_container: Vec<Hook>,
}

impl Hooks {
    /// Nothing takes part.
    pub fn is_empty(&self) -> bool {
        self.create_container.is_empty()
    }
}

/// One such program.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Hook {
    /// Absolute path on the host.
    pub path: String,
    /// Arguments with the program's name first; empty is the path alone.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<String>,
    /// Its whole environment, `KEY=VALUE`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<String>,
    /// Seconds that it may take.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<u32>,
}

/// The container's first process.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Process {
    /// Its standard streams are a pseudo-terminal.
    pub terminal: bool,
    /// Rows and columns of the terminal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub console_size: Option<ConsoleSize>,
    /// Numeric user; a name is looked up from [`crate::UserRequest`].
    pub user: User,
    /// Program and arguments.
    pub args: Vec<String>,
    /// `KEY=VALUE`.
    pub env: Vec<String>,
    /// Absolute working directory.
    pub cwd: String,
    /// Capability sets by name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub capabilities: Option<Capabilities>,
    /// Resource limits.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rlimits: Vec<Rlimit>,
    /// No exec gains privileges.
    pub no_new_privileges: bool,
    /// Preference of the OOM killer, -1000 to 1000.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oom_score_adj: Option<i32>,
    /// AppArmor profile, for hosts that enforce it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub apparmor_profile: String,
    /// SELinux label, for hosts that enforce it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub selinux_label: String,
}

/// Rows and columns of a terminal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConsoleSize {
    /// Rows.
    pub height: u16,
    /// Columns.
    pub width: u16,
}

/// A numeric user.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct User {
    /// User.
    pub uid: u32,
    /// Primary group.
    pub gid: u32,
    /// File mode creation mask.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub umask: Option<u32>,
    /// Supplementary groups.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub additional_gids: Vec<u32>,
}

/// Capability sets, by name (`CAP_CHOWN`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Capabilities {
    /// What an exec may ever gain.
    pub bounding: Vec<String>,
    /// In force.
    pub effective: Vec<String>,
    /// Kept through exec by file capabilities.
    pub inheritable: Vec<String>,
    /// May be put in force.
    pub permitted: Vec<String>,
    /// Kept through exec by any file.
    pub ambient: Vec<String>,
}

/// A resource limit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rlimit {
    /// `RLIMIT_NOFILE` …
    #[serde(rename = "type")]
    pub kind: String,
    /// Hard limit; `u64::MAX` is none.
    pub hard: u64,
    /// Soft limit; `u64::MAX` is none.
    pub soft: u64,
}

/// The root file system.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Root {
    /// Path of a bundle's root; empty where [`crate::RootSource`] says layers.
    pub path: String,
    /// Mounted read-only.
    pub readonly: bool,
}

/// One mount.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Mount {
    /// Absolute path in the container.
    pub destination: String,
    /// `proc`, `tmpfs`, `bind` …
    #[serde(rename = "type")]
    pub kind: String,
    /// Host path, or a name.
    pub source: String,
    /// A path beneath the source, which is what is bound. Others may write there, so that it is
    /// resolved at the moment of mounting and by descriptor; not of the specification.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub subpath: String,
    /// Directories of an image that is mounted, topmost first; not of the specification.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub layers: Vec<PathBuf>,
    /// Mount options as of mount(8).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<String>,
}

/// What only Linux has.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Linux {
    /// Namespaces to make, or to join by path.
    pub namespaces: Vec<Namespace>,
    /// Device nodes.
    pub devices: Vec<Device>,
    /// Hidden paths.
    pub masked_paths: Vec<String>,
    /// Paths that only stay readable.
    pub readonly_paths: Vec<String>,
    /// Kernel parameters of the container's own namespaces.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub sysctl: BTreeMap<String, String>,
    /// Propagation of the root mount.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub rootfs_propagation: String,
}

/// A namespace: new where `path` is empty, else the one at `path`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Namespace {
    /// Kind.
    #[serde(rename = "type")]
    pub kind: NamespaceKind,
    /// An `/proc/PID/ns/…` path.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub path: String,
}

/// Kinds of namespaces.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NamespaceKind {
    /// Mounts.
    #[default]
    Mount,
    /// Processes.
    Pid,
    /// Network.
    Network,
    /// Inter-process communication.
    Ipc,
    /// Host name.
    Uts,
    /// Users.
    User,
    /// Cgroups.
    Cgroup,
    /// Clocks.
    Time,
}

impl NamespaceKind {
    /// The kernel's `CLONE_NEW*` bit.
    pub fn clone_flag(self) -> u64 {
        use sys::process::namespaces;
        match self {
            Self::Mount => namespaces::MOUNT,
            Self::Pid => namespaces::PID,
            Self::Network => namespaces::NET,
            Self::Ipc => namespaces::IPC,
            Self::Uts => namespaces::UTS,
            Self::User => namespaces::USER,
            Self::Cgroup => namespaces::CGROUP,
            Self::Time => 0x80,
        }
    }
}

/// A device node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Device {
    /// `c`, `b` or `p`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Absolute path in the container.
    pub path: String,
    /// Major number.
    pub major: u32,
    /// Minor number.
    pub minor: u32,
    /// Permission bits.
    pub file_mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
}

impl Linux {
    /// Whether a new namespace of this kind is asked for.
    pub fn makes(&self, kind: NamespaceKind) -> bool {
        self.namespaces
            .iter()
            .any(|namespace| namespace.kind == kind && namespace.path.is_empty())
    }
}
