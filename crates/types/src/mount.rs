//! What `--mount`, `-v` and `--tmpfs` ask for.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Where the content of a mount comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MountKind {
    /// A path of the host.
    Bind,
    /// A named or anonymous volume.
    Volume,
    /// Memory.
    Tmpfs,
    /// The content of an image.
    Image,
    /// A Windows named pipe; parsed so that it can be refused by name.
    Npipe,
    /// A Swarm cluster volume; parsed so that it can be refused by name.
    Cluster,
}

/// One mount as asked for, in the terms of Docker's `--mount`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MountSpec {
    /// Kind of source.
    pub kind: MountKind,
    /// Host path, volume name or image reference; empty for anonymous volumes and tmpfs.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub source: String,
    /// Absolute path in the container.
    pub target: String,
    /// Mounted read-only.
    #[serde(default)]
    pub read_only: bool,
    /// `consistency=`: accepted and kept, without effect on Linux.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub consistency: String,
    /// Options of a bind mount.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bind: Option<BindOptions>,
    /// Options of a volume mount.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub volume: Option<VolumeOptions>,
    /// Options of an image mount.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<ImageOptions>,
    /// Options of a tmpfs mount.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tmpfs: Option<TmpfsOptions>,
}

/// Options that only bind mounts have.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct BindOptions {
    /// `private`, `rprivate`, `shared`, `rshared`, `slave`, `rslave`, or empty for `rprivate`.
    pub propagation: String,
    /// Do not take the mounts below the source along.
    pub non_recursive: bool,
    /// Make the source directory where it is missing (what `-v` does).
    pub create_mountpoint: bool,
    /// Only the top mount becomes read-only.
    pub read_only_non_recursive: bool,
    /// Fail where the mounts below the source cannot be made read-only too.
    pub read_only_force_recursive: bool,
}

/// Options that only volume mounts have.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct VolumeOptions {
    /// Do not copy the image's content into a new volume.
    pub no_copy: bool,
    /// Labels of a volume made by this mount.
    pub labels: BTreeMap<String, String>,
    /// A path within the volume.
    pub subpath: String,
    /// Driver name, empty for the local one.
    pub driver: String,
    /// Driver options.
    pub driver_options: BTreeMap<String, String>,
}

/// Options that only image mounts have.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ImageOptions {
    /// A path within the image.
    pub subpath: String,
}

/// Options that only tmpfs mounts have.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct TmpfsOptions {
    /// Size limit in bytes; 0 is the kernel's default.
    pub size_bytes: i64,
    /// Mode of the mount's root directory.
    pub mode: u32,
    /// Raw mount options of `--tmpfs DIR:OPTIONS`, comma separated.
    pub options: String,
}
