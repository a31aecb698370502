//! A project as values: what every other room reads.
//!
//! The fields are the specification's keys under their own names, in the order in which Docker
//! Compose writes them: its config hash is the digest of exactly this JSON. What is `None`, empty
//! or 0 was not said.

mod build;
mod deploy;
mod mounts;
mod resources;
mod service;
mod values;
mod words;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::error::ComposeError;

pub use build::{Build, SshKey};
pub use deploy::{
    Deploy, DeviceRequest, GenericResource, Placement, PlacementPreference, Resource, Resources,
    RestartPolicy, UpdateConfig,
};
pub use mounts::{
    DeviceMapping, FileReference, ServiceVolume, VolumeBind, VolumeImage, VolumeOptions,
    VolumeTmpfs,
};
pub use resources::{FileObject, Ipam, IpamPool, ModelConfig, Network, Volume};
pub use service::{
    BlkioConfig, CredentialSpec, Dependency, Develop, EnvFile, Extends, HealthCheck, Hook, Logging,
    Provider, Service, ServiceModel, ServiceNetwork, ServicePort, ThrottleDevice, WatchTrigger,
    WeightDevice,
};
pub(crate) use values::parse_duration;
pub use values::{Bytes, Duration, Extensions, FileMode, Hosts, Mapping, Ulimit, Variables};
pub use words::split as split_words;

/// A whole project, loaded.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Project {
    /// Its name, which is in the names and labels of all that it makes.
    #[serde(default)]
    pub name: String,
    /// The services that take part.
    #[serde(default)]
    pub services: BTreeMap<String, Service>,
    /// Networks by their key.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub networks: BTreeMap<String, Network>,
    /// Volumes by their key.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub volumes: BTreeMap<String, Volume>,
    /// Secrets by their key.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub secrets: BTreeMap<String, FileObject>,
    /// Configs by their key.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub configs: BTreeMap<String, FileObject>,
    /// Language models by their key.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub models: BTreeMap<String, ModelConfig>,
    /// Keys that begin with `x-`.
    #[serde(
        default,
        rename = "#extensions",
        skip_serializing_if = "Extensions::is_empty"
    )]
    pub extensions: Extensions,
    /// Where paths are relative to.
    #[serde(skip)]
    pub working_dir: String,
    /// The files it was made of, absolute.
    #[serde(skip)]
    pub files: Vec<String>,
    /// The files given with `--env-file`.
    #[serde(skip)]
    pub env_files: Vec<String>,
    /// The variables that files may use.
    #[serde(skip)]
    pub environment: BTreeMap<String, String>,
    /// Where each service, network, volume, secret and config (`networks.front`), each key of a service
    /// (`services.web.image`) and each of its ports is said: file, line and column.
    #[serde(skip)]
    pub places: BTreeMap<String, (String, u32, u32)>,
    /// Services whose profiles are not on, or that were not chosen.
    #[serde(skip)]
    pub disabled: BTreeMap<String, Service>,
    /// The profiles that are on.
    #[serde(skip)]
    pub profiles: Vec<String>,
}

impl Project {
    /// Takes the names of env files and label files off: what they say is in the services.
    pub fn discard_env_files(&mut self) {
        for service in self.services.values_mut().chain(self.disabled.values_mut()) {
            service.env_file.clear();
            service.label_file.clear();
        }
    }

    /// Takes off what no service uses: networks, volumes, secrets, configs and models.
    pub fn discard_unused(&mut self) {
        let services = || self.services.values();
        let names =
            |all: &mut dyn Iterator<Item = &String>| -> BTreeSet<String> { all.cloned().collect() };
        let networks = names(&mut services().flat_map(|service| service.networks.keys()));
        let mounted = services().flat_map(|service| &service.volumes);
        let mounted = mounted.filter(|volume| volume.kind == "volume");
        let volumes = names(&mut mounted.map(|volume| &volume.source));
        let built = services().flat_map(|service| service.build.iter());
        let built = built.flat_map(|build| &build.secrets);
        let secrets = services().flat_map(|service| &service.secrets);
        let secrets = names(&mut secrets.chain(built).map(|secret| &secret.source));
        let configs = services().flat_map(|service| &service.configs);
        let configs = names(&mut configs.map(|config| &config.source));
        let models = names(&mut services().flat_map(|service| service.models.keys()));
        self.networks.retain(|name, _| networks.contains(name));
        self.volumes.retain(|name, _| volumes.contains(name));
        self.secrets.retain(|name, _| secrets.contains(name));
        self.configs.retain(|name, _| configs.contains(name));
        self.models.retain(|name, _| models.contains(name));
    }

    /// An error text with the place of what it is about (`networks`, `front`), where that is known.
    pub fn placed(&self, section: &str, name: &str, text: &str) -> String {
        match self.places.get(&format!("{section}.{name}")) {
            Some((file, line, column)) => format!("{file}:{line}:{column}: {text}"),
            None => text.to_owned(),
        }
    }

    /// An error at the place of a key (`networks.front`, `services.web.ports.0`), or of the nearest one
    /// above it whose place is known.
    pub(crate) fn error_at(&self, key: &str, text: String) -> ComposeError {
        let mut error = ComposeError::of_project(text);
        let mut key = Some(key);
        while let Some(known) = key {
            if let Some((file, line, column)) = self.places.get(known) {
                error.file = Some(file.clone());
                error.position = Some((*line, *column));
                break;
            }
            key = known.rsplit_once('.').map(|(above, _)| above);
        }
        error
    }

    /// A service, also one that does not take part.
    pub fn any_service(&self, name: &str) -> Option<&Service> {
        self.services.get(name).or_else(|| self.disabled.get(name))
    }
}
