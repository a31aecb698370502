//! The image configuration document.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{
    CONFIG_BYTES_MAX, ImageError, LAYERS_MAX, Manifest, check_count, check_size, read_json,
    string_map,
};
use crate::container::Healthcheck;
use crate::digest::Digest;
use crate::platform::{Platform, null_is_default};
use crate::timestamp::Timestamp;

/// An image's configuration document.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ImageConfig {
    /// `amd64`, `arm64` …
    #[serde(deserialize_with = "null_is_default")]
    pub architecture: String,
    /// `linux` …
    #[serde(deserialize_with = "null_is_default")]
    pub os: String,
    /// `v7` … or empty.
    #[serde(
        deserialize_with = "null_is_default",
        skip_serializing_if = "String::is_empty"
    )]
    pub variant: String,
    /// For Windows.
    #[serde(rename = "os.version", deserialize_with = "null_is_default")]
    #[serde(skip_serializing_if = "String::is_empty")]
    pub os_version: String,
    /// RFC 3339 as written; see [`Self::created_at`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// Who made it.
    #[serde(
        deserialize_with = "null_is_default",
        skip_serializing_if = "String::is_empty"
    )]
    pub author: String,
    /// What a container of it gets.
    #[serde(deserialize_with = "null_is_default")]
    pub config: ContainerDefaults,
    /// The layers.
    #[serde(deserialize_with = "null_is_default")]
    pub rootfs: RootFs,
    /// How it was made, the oldest step first.
    #[serde(
        deserialize_with = "null_is_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub history: Vec<HistoryEntry>,
    /// Members we do not know.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

impl ImageConfig {
    /// Reads a configuration document.
    pub fn parse(bytes: &[u8]) -> Result<Self, ImageError> {
        check_size("image configuration", bytes, CONFIG_BYTES_MAX)?;
        let config: Self = read_json("image configuration", bytes)?;
        check_count(
            "image configuration",
            config.rootfs.diff_ids.len(),
            LAYERS_MAX,
        )?;
        Ok(config)
    }

    /// Refuses a configuration that does not belong to the manifest.
    pub fn check_layers(&self, manifest: &Manifest) -> Result<(), ImageError> {
        let (diff_ids, layers) = (self.rootfs.diff_ids.len(), manifest.layers.len());
        if diff_ids == layers {
            Ok(())
        } else {
            Err(ImageError::LayerCount { diff_ids, layers })
        }
    }

    /// When it was made; `None` where it does not say or says nonsense.
    pub fn created_at(&self) -> Option<Timestamp> {
        Timestamp::parse_rfc3339(self.created.as_deref()?).ok()
    }

    /// Where it runs.
    pub fn platform(&self) -> Platform {
        let platform = Platform::new(&self.os, &self.architecture, &self.variant);
        Platform {
            os_version: self.os_version.clone(),
            ..platform
        }
    }
}

/// The `config` member: what a container of the image gets unless the user says otherwise.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct ContainerDefaults {
    /// `uid|name[:gid|group]`.
    #[serde(
        deserialize_with = "null_is_default",
        skip_serializing_if = "String::is_empty"
    )]
    pub user: String,
    /// `80/tcp` to nothing.
    #[serde(
        deserialize_with = "null_is_default",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub exposed_ports: BTreeMap<String, Value>,
    /// `KEY=VALUE` in order.
    #[serde(
        deserialize_with = "null_is_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub env: Vec<String>,
    /// Words before the command.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entrypoint: Option<Vec<String>>,
    /// The command, or arguments of the entry point.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cmd: Option<Vec<String>>,
    /// Paths of anonymous volumes to nothing.
    #[serde(
        deserialize_with = "null_is_default",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub volumes: BTreeMap<String, Value>,
    /// Where the command starts.
    #[serde(
        deserialize_with = "null_is_default",
        skip_serializing_if = "String::is_empty"
    )]
    pub working_dir: String,
    /// Labels.
    #[serde(
        deserialize_with = "string_map",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub labels: BTreeMap<String, String>,
    /// The signal of `stop`.
    #[serde(
        deserialize_with = "null_is_default",
        skip_serializing_if = "String::is_empty"
    )]
    pub stop_signal: String,
    /// The shell of `RUN` in shell form.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shell: Option<Vec<String>>,
    /// The health check.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub healthcheck: Option<ImageHealthcheck>,
    /// Instructions for images made from this one.
    #[serde(
        deserialize_with = "null_is_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub on_build: Vec<String>,
    /// For Windows: the command is one line.
    #[serde(deserialize_with = "null_is_default", skip_serializing_if = "is_false")]
    pub args_escaped: bool,
    /// Members we do not know.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

fn is_false(value: &bool) -> bool {
    !value
}

fn is_zero(value: &i64) -> bool {
    *value == 0
}

/// The `Healthcheck` member, in Docker's words; durations in nanoseconds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct ImageHealthcheck {
    /// See [`Healthcheck::test`].
    #[serde(
        deserialize_with = "null_is_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub test: Vec<String>,
    /// Between two probes.
    #[serde(deserialize_with = "null_is_default", skip_serializing_if = "is_zero")]
    pub interval: i64,
    /// Of one probe.
    #[serde(deserialize_with = "null_is_default", skip_serializing_if = "is_zero")]
    pub timeout: i64,
    /// Failures count only after this.
    #[serde(deserialize_with = "null_is_default", skip_serializing_if = "is_zero")]
    pub start_period: i64,
    /// Between two probes within the start period.
    #[serde(deserialize_with = "null_is_default", skip_serializing_if = "is_zero")]
    pub start_interval: i64,
    /// Failures in a row until unhealthy.
    #[serde(deserialize_with = "null_is_default", skip_serializing_if = "is_zero")]
    pub retries: i64,
    /// Members we do not know.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

impl From<&ImageHealthcheck> for Healthcheck {
    /// Negative values, which only a hand-written document has, become the default.
    fn from(check: &ImageHealthcheck) -> Self {
        Self {
            test: check.test.clone(),
            interval_ns: check.interval.max(0),
            timeout_ns: check.timeout.max(0),
            start_period_ns: check.start_period.max(0),
            start_interval_ns: check.start_interval.max(0),
            retries: u32::try_from(check.retries.max(0)).unwrap_or(u32::MAX),
        }
    }
}

impl From<&Healthcheck> for ImageHealthcheck {
    fn from(check: &Healthcheck) -> Self {
        Self {
            test: check.test.clone(),
            interval: check.interval_ns,
            timeout: check.timeout_ns,
            start_period: check.start_period_ns,
            start_interval: check.start_interval_ns,
            retries: check.retries.into(),
            extra: Map::new(),
        }
    }
}

/// The `rootfs` member.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RootFs {
    /// Always `layers`.
    #[serde(rename = "type", deserialize_with = "null_is_default")]
    pub kind: String,
    /// Digests of the layers not compressed, the lowest first.
    #[serde(deserialize_with = "null_is_default")]
    pub diff_ids: Vec<Digest>,
    /// Members we do not know.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

impl Default for RootFs {
    fn default() -> Self {
        Self {
            kind: "layers".to_owned(),
            diff_ids: Vec::new(),
            extra: Map::new(),
        }
    }
}

/// One step in the making of an image.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct HistoryEntry {
    /// RFC 3339 as written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// The command.
    #[serde(
        deserialize_with = "null_is_default",
        skip_serializing_if = "String::is_empty"
    )]
    pub created_by: String,
    /// Who.
    #[serde(
        deserialize_with = "null_is_default",
        skip_serializing_if = "String::is_empty"
    )]
    pub author: String,
    /// Free words.
    #[serde(
        deserialize_with = "null_is_default",
        skip_serializing_if = "String::is_empty"
    )]
    pub comment: String,
    /// The step made no layer.
    #[serde(deserialize_with = "null_is_default", skip_serializing_if = "is_false")]
    pub empty_layer: bool,
    /// Members we do not know.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}
