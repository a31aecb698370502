//! Compose: what is there of a project, and the carrying out of plans.
//!
//! The plan is made by [`::compose::plan`], a pure function of the project and of what
//! [`Engine::observe_project`] sees; [`apply`] carries it out. All that a project is stands in the
//! labels of its containers, networks and volumes, so that any command may be killed at any moment:
//! the next one looks and goes on.

pub mod apply;
mod files;
mod hooks;
mod injected;
mod pre_start;
mod rehearse;
pub mod watch;

use std::collections::BTreeMap;

use ::compose::container::{self as names, labels};
use ::compose::model::{Network, Volume};
use ::compose::plan::{Observed, ObservedContainer, ObservedNetwork, ObservedVolume};
pub use ::compose::*;
use storage::containers::StoredContainer;

pub use files::HostFiles;

use crate::Engine;
use crate::error::EngineError;
use crate::network::{NetworkRequest, SubnetRequest};
use crate::volume::VolumeRequest;

/// The label of a container, or nothing.
pub fn label<'a>(stored: &'a StoredContainer, key: &str) -> &'a str {
    stored
        .record
        .spec
        .labels
        .get(key)
        .map_or("", String::as_str)
}

/// The project that a container was made for, or nothing. The labels of an image that Compose built name
/// its project too, and every container of that image has them: `docker run shop-web` makes none of the
/// project's.
pub fn project_of(stored: &StoredContainer) -> &str {
    let is_own = [labels::CONFIG_HASH, labels::HOOK]
        .into_iter()
        .any(|key| !label(stored, key).is_empty());
    match is_own {
        true => label(stored, labels::PROJECT),
        false => "",
    }
}

/// Whether a container is none of a service's own: one of `compose run`, or of a hook.
pub fn is_oneoff(stored: &StoredContainer) -> bool {
    label(stored, labels::ONEOFF).eq_ignore_ascii_case("true")
        || !label(stored, labels::HOOK).is_empty()
}

impl Engine {
    /// The containers of a project, in the order of their services and numbers.
    ///
    /// # Errors
    /// Where containers cannot be listed.
    pub fn project_containers(&self, name: &str) -> Result<Vec<StoredContainer>, EngineError> {
        let mut all = self.containers()?;
        all.retain(|stored| project_of(stored) == name);
        let number =
            |stored: &StoredContainer| label(stored, labels::NUMBER).parse().unwrap_or(0_i64);
        all.sort_by(|a, b| {
            let service = |stored| label(stored, labels::SERVICE);
            service(a)
                .cmp(service(b))
                .then(number(a).cmp(&number(b)))
                .then(a.record.name.cmp(&b.record.name))
        });
        Ok(all)
    }

    /// What is there of a project.
    ///
    /// # Errors
    /// Where containers, networks or volumes cannot be listed.
    pub fn observe_project(&self, project: &Project) -> Result<Observed, EngineError> {
        let text =
            |map: &BTreeMap<String, String>, key: &str| map.get(key).cloned().unwrap_or_default();
        let containers = self.project_containers(&project.name)?;
        let networks = self.networks()?.into_iter().map(|network| {
            let seen = ObservedNetwork {
                project: text(&network.labels, labels::PROJECT),
                config_hash: text(&network.labels, labels::CONFIG_HASH),
            };
            (network.name, seen)
        });
        let volumes = self.store().volumes()?.into_iter().map(|volume| {
            let project = text(&volume.labels, labels::PROJECT);
            (volume.name, ObservedVolume { project })
        });
        let images = project.services.keys().filter_map(|service| {
            let image = names::image_name(project, service);
            let id = self.image_id(&image).ok()?;
            Some((image, id))
        });
        Ok(Observed {
            containers: containers.iter().map(observed).collect(),
            networks: networks.collect(),
            volumes: volumes.collect(),
            images: images.collect(),
        })
    }

    /// Makes a project's network.
    pub(crate) fn create_project_network(
        &self,
        project: &Project,
        key: &str,
    ) -> Result<(), EngineError> {
        let Some(network) = project.networks.get(key) else {
            return Ok(());
        };
        match self.create_network(network_request(project, key, network)?) {
            Ok(_) => Ok(()),
            // Another command of the same project was faster.
            Err(_)
                if self.network(&network.name).is_ok_and(|known| {
                    known.labels.get(labels::PROJECT) == Some(&project.name)
                }) =>
            {
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// Makes a project's volume.
    pub(crate) fn create_project_volume(
        &self,
        project: &Project,
        key: &str,
    ) -> Result<(), EngineError> {
        let Some(volume) = project.volumes.get(key) else {
            return Ok(());
        };
        self.create_volume(volume_request(project, key, volume))
            .map(|_| ())
    }

    /// The names of networks that a project made.
    ///
    /// # Errors
    /// Where networks cannot be listed.
    pub fn project_networks(&self, name: &str) -> Result<Vec<String>, EngineError> {
        let all = self.networks()?.into_iter();
        let own = all.filter(|network| {
            network
                .labels
                .get(labels::PROJECT)
                .is_some_and(|project| project == name)
        });
        Ok(own.map(|network| network.name).collect())
    }

    /// The names of volumes that a project made.
    ///
    /// # Errors
    /// Where volumes cannot be listed.
    pub fn project_volumes(&self, name: &str) -> Result<Vec<String>, EngineError> {
        let all = self.store().volumes()?.into_iter();
        let own = all.filter(|volume| {
            volume
                .labels
                .get(labels::PROJECT)
                .is_some_and(|project| project == name)
        });
        Ok(own.map(|volume| volume.name).collect())
    }
}

/// What a project asks for as its network.
fn network_request(
    project: &Project,
    key: &str,
    network: &Network,
) -> Result<NetworkRequest, EngineError> {
    if network.enable_ipv4 == Some(false) {
        return Err(EngineError::invalid(format!(
            "networks.{key}.enable_ipv4: networks without IPv4 are not supported"
        )));
    }
    if !matches!(network.ipam.driver.as_str(), "" | "default") {
        return Err(EngineError::invalid(format!(
            "networks.{key}.ipam.driver: there is no driver {:?}, only \"default\"",
            network.ipam.driver
        )));
    }
    let mut all = network.labels.0.clone();
    all.extend(project_labels(project));
    all.insert(labels::NETWORK.to_owned(), key.to_owned());
    all.insert(labels::CONFIG_HASH.to_owned(), network_hash(network));
    let subnets = network.ipam.config.iter().map(|pool| SubnetRequest {
        subnet: pool.subnet.clone(),
        gateway: pool.gateway.clone(),
        ip_range: pool.ip_range.clone(),
        auxiliary: pool.aux_addresses.0.clone(),
    });
    Ok(NetworkRequest {
        name: network.name.clone(),
        driver: network.driver.clone(),
        subnets: subnets.collect(),
        internal: network.internal,
        ipv6: network.enable_ipv6.unwrap_or_default(),
        attachable: network.attachable,
        options: network.driver_opts.0.clone(),
        ipam_options: network.ipam.options.0.clone(),
        labels: all,
    })
}

/// What a project asks for as its volume.
fn volume_request(project: &Project, key: &str, volume: &Volume) -> VolumeRequest {
    let mut all = volume.labels.0.clone();
    all.extend(project_labels(project));
    all.insert(labels::VOLUME.to_owned(), key.to_owned());
    all.insert(labels::CONFIG_HASH.to_owned(), volume_hash(volume));
    VolumeRequest {
        name: volume.name.clone(),
        driver: volume.driver.clone(),
        options: volume.driver_opts.0.clone(),
        labels: all,
    }
}

fn project_labels(project: &Project) -> [(String, String); 2] {
    [
        (labels::PROJECT.to_owned(), project.name.clone()),
        (labels::VERSION.to_owned(), names::VERSION.to_owned()),
    ]
}

fn observed(stored: &StoredContainer) -> ObservedContainer {
    let record = &stored.record;
    ObservedContainer {
        id: record.id.clone(),
        name: record.name.clone(),
        service: label(stored, labels::SERVICE).to_owned(),
        number: label(stored, labels::NUMBER).parse().unwrap_or_default(),
        is_oneoff: is_oneoff(stored),
        config_hash: label(stored, labels::CONFIG_HASH).to_owned(),
        image_id: record.image_id.clone(),
        status: stored.state.status,
        exit_code: stored.state.exit_code,
        networks: record
            .spec
            .networks
            .iter()
            .map(|network| network.target.clone())
            .collect(),
        spec: record.spec.clone(),
    }
}
