//! Everything that a monitor needs to start a container, and to start it again.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use types::container::Resources;

use crate::spec::Spec;

/// The job: the specification and what it cannot say.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Launch {
    /// The OCI document.
    pub spec: Spec,
    /// Where the root file system comes from.
    pub root: RootSource,
    /// An existing directory of ours; the root is attached there, in the container's own mount
    /// namespace only, until it becomes `/`.
    pub staging: PathBuf,
    /// Who the process is.
    pub user: UserRequest,
    /// Limits.
    pub cgroup: CgroupRequest,
    /// System call filter.
    pub seccomp: SeccompRequest,
    /// Run our init as process 1.
    pub init: bool,
}

/// Where a root file system comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RootSource {
    /// Layers of an image beneath a writable directory.
    Layers(Layers),
    /// A directory as it is (`Spec::root.path`).
    Directory,
}

/// Directories of an overlay.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layers {
    /// Read-only directories, topmost first.
    pub lowers: Vec<PathBuf>,
    /// The writable directory.
    pub upper: PathBuf,
    /// Overlay's own directory, on the same file system.
    pub work: PathBuf,
    /// Never sync: for containers that are removed when they end.
    pub volatile: bool,
}

/// Who a process is, in the terms of `--user`, looked up within the root file system.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct UserRequest {
    /// `uid|name[:gid|group]`, or empty for root.
    pub user: String,
    /// Further groups, names or numbers.
    pub groups: Vec<String>,
}

/// The container's control group.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct CgroupRequest {
    /// Directory beneath each hierarchy's root.
    pub parent: String,
    /// A user named it: what was made of it for this container goes with its group.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub parent_is_named: bool,
    /// Name in it.
    pub id: String,
    /// Limits.
    pub resources: Resources,
    /// Device rules of the form `c 1:3 rwm`, added to Docker's default list.
    pub device_rules: Vec<String>,
    /// Every device is allowed.
    pub all_devices: bool,
    /// Mount the hierarchies writable.
    pub writable: bool,
}

/// Which system calls are allowed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum SeccompRequest {
    /// Docker's default profile.
    #[default]
    Default,
    /// All.
    Unconfined,
    /// A profile's JSON text.
    Profile(String),
}
