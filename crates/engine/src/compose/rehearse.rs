//! What could only fail when a container is made or starts, looked at before anything of a project is
//! made: a wrong value leaves nothing behind, and is told with the place of its service.
//!
//! Cost of a service: its specification and plan once more, in memory; a stat of each device.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ::compose::container::{self as names, Instance};
use ::compose::model::{Project, Service};
use ::compose::plan::Action;
use storage::containers::ContainerRecord;
use types::container::{ContainerSpec, NetworkAttachment};

use super::apply::{Request, read_seccomp};
use super::{network_request, volume_request};
use crate::Engine;
use crate::container::create::{arguments, check_sources, check_values, merge, new_id};
use crate::container::{facts, plan};
use crate::error::EngineError;

impl Engine {
    /// Looks at everything that a plan makes. Images that are not here are not looked into.
    ///
    /// # Errors
    /// What cannot be made, with its place in the files.
    pub fn rehearse(&self, request: &Request<'_>) -> Result<(), EngineError> {
        let project = request.project;
        let mut seen = BTreeSet::new();
        for step in &request.plan.steps {
            match &step.action {
                Action::CreateNetwork { key } => self.rehearse_network(project, key)?,
                Action::CreateVolume { key } => self.rehearse_volume(project, key)?,
                Action::CreateContainer {
                    service, number, ..
                } if seen.insert(service) => {
                    let result = self.rehearse_container(request, service, *number);
                    result.map_err(|error| {
                        let text = format!("service {service:?}: {error}");
                        EngineError::invalid(project.placed("services", service, &text))
                    })?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn rehearse_container(
        &self,
        request: &Request<'_>,
        service: &str,
        number: i64,
    ) -> Result<(), EngineError> {
        let project = request.project;
        let refused = |error: &dyn std::fmt::Display| EngineError::invalid(error.to_string());
        let name = names::container_name(project, service, number);
        types::id::check_container_name(&name).map_err(|error| refused(&error))?;
        let wanted = names::container(project, service, Instance::Number(number));
        let mut spec = wanted
            .map_err(|error| EngineError::invalid(error.text))?
            .spec;
        read_seccomp(&mut spec.security_opt, &project.working_dir)?;
        let image = request.images.get(&spec.image);
        if let Some(image) = image {
            merge(&mut spec, &image.defaults);
        }
        check_values(&spec)?;
        check_sources(&spec)?;
        // Whom it is linked to need not be there yet.
        spec.links.clear();
        spec.networks
            .iter_mut()
            .for_each(|network| network.links.clear());
        self.check_networks(&spec)?;
        self.check_addresses_of(project, service, &spec)?;
        self.check_others(&project.services[service])?;
        let record = ContainerRecord {
            id: new_id(),
            name,
            args: match (arguments(&spec), image) {
                (Ok(args), _) => args,
                (Err(error), Some(_)) => return Err(error),
                // Its image, which will say the command, is not here.
                (Err(_), None) => vec!["/".to_owned()],
            },
            spec,
            ..ContainerRecord::default()
        };
        let host = facts::gather(self, &record, Vec::new())?;
        Ok(runtime::check(&plan::plan(&record, &host)?)?)
    }

    /// Addresses within networks that are not there yet.
    fn check_addresses_of(
        &self,
        project: &Project,
        service: &str,
        spec: &ContainerSpec,
    ) -> Result<(), EngineError> {
        let mac_of = |one: &NetworkAttachment| one.mac_address.clone();
        let mut macs: Vec<String> = spec.networks.iter().map(mac_of).collect();
        macs.push(spec.mac_address.clone());
        for text in macs.iter().filter(|text| !text.is_empty()) {
            let mac: Result<::network::mac::Mac, _> = text.parse();
            mac.map_err(|error| EngineError::invalid(error.to_string()))?;
        }
        for key in project.services[service].networks.keys() {
            let Some(network) = project.networks.get(key) else {
                continue;
            };
            let pools = &network.ipam.config;
            let asked = spec
                .networks
                .iter()
                .filter(|one| one.target == network.name);
            for one in asked.filter(|_| self.network(&network.name).is_err()) {
                let texts = [&one.ipv4, &one.ipv6];
                for text in texts.into_iter().filter(|text| !text.is_empty()) {
                    let is_within = |subnet: &str| crate::network::is_within(subnet, text);
                    if text.parse::<IpAddr>().is_err() {
                        return Err(EngineError::invalid(format!(
                            "networks.{key}: invalid IP address: {text}"
                        )));
                    }
                    let is_sixth = |text: &str| text.contains(':');
                    let mut same = pools
                        .iter()
                        .filter(|pool| is_sixth(&pool.subnet) == is_sixth(text))
                        .peekable();
                    if same.peek().is_some() && !same.any(|pool| is_within(&pool.subnet)) {
                        return Err(EngineError::invalid(format!(
                            "networks.{key}: no configured subnet or ip-range contain the IP address {text}"
                        )));
                    }
                }
            }
        }
        Ok(())
    }

    /// Containers and a network that are not the project's, which are there already or never will be.
    fn check_others(&self, service: &Service) -> Result<(), EngineError> {
        for mode in [&service.network_mode, &service.pid, &service.ipc] {
            if let Some(key) = mode.strip_prefix("container:") {
                self.container(key)?;
            }
        }
        match service.network_mode.as_str() {
            "" | "none" | "host" | "bridge" | "default" => Ok(()),
            mode if mode.contains(':') => Ok(()),
            name => self.network(name).map(|_| ()),
        }
    }

    fn rehearse_network(&self, project: &Project, key: &str) -> Result<(), EngineError> {
        let Some(network) = project.networks.get(key) else {
            return Ok(());
        };
        let result = network_request(project, key, network)
            .and_then(|request| self.check_network_request(&request));
        result.map_err(|error| {
            let text = format!("network {key:?}: {error}");
            EngineError::invalid(project.placed("networks", key, &text))
        })
    }

    fn rehearse_volume(&self, project: &Project, key: &str) -> Result<(), EngineError> {
        let Some(volume) = project.volumes.get(key) else {
            return Ok(());
        };
        let result = self.check_volume_request(&volume_request(project, key, volume));
        result.map_err(|error| {
            let text = format!("volume {key:?}: {error}");
            EngineError::invalid(project.placed("volumes", key, &text))
        })
    }
}
