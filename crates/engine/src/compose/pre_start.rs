//! `pre_start`: containers that run to their end before a service's container starts.
//!
//! Each has the volumes of the service's container and its networks, and the hook's own image, user
//! and variables. One that fails stops the start and is kept, to be looked at; the next start
//! removes it.

use std::collections::BTreeMap;

use ::compose::container::{self as names, Instance, labels};
use ::compose::model::{Hook, Project};
use types::container::ContainerSpec;

use super::apply::ServiceImage;
use super::label;
use crate::Engine;
use crate::container::create::{CreateRequest, new_id};
use crate::container::logs::{LogRequest, Next};
use crate::container::stop::WaitFor;
use crate::error::EngineError;

/// So many lines of a failed hook are told.
const TAIL_LINES: u64 = 5;

impl Engine {
    /// Runs the hooks of a service, one after another, for a container that does not run yet.
    pub(super) fn run_pre_start(
        &self,
        project: &Project,
        service: &str,
        id: &str,
        images: &BTreeMap<String, ServiceImage>,
    ) -> Result<(), EngineError> {
        for stored in self.project_containers(&project.name)? {
            if label(&stored, labels::SERVICE) == service
                && !label(&stored, labels::HOOK).is_empty()
            {
                let removal = self.begin_remove(&stored.record.id, true)?;
                self.finish_remove(removal.with_volumes(true).for_good())?;
            }
        }
        let hooks = &project.services[service].pre_start;
        for (number, hook) in hooks.iter().enumerate() {
            let place = format!("service {service:?} pre_start[{number}]");
            self.run_one_before(project, service, (id, &place), hook, images)?;
        }
        Ok(())
    }

    fn run_one_before(
        &self,
        project: &Project,
        service: &str,
        (id, place): (&str, &str),
        hook: &Hook,
        images: &BTreeMap<String, ServiceImage>,
    ) -> Result<(), EngineError> {
        let spec = hook_spec(project, service, id, hook)?;
        let image = images
            .get(&spec.image)
            .ok_or_else(|| EngineError::NoSuchImage(spec.image.clone()))?;
        let own = new_id();
        let made = self.create(CreateRequest {
            id: own.clone(),
            spec,
            name: None,
            image_id: image.id.clone(),
            defaults: image.defaults.clone(),
            platform: image.platform.clone(),
            images: BTreeMap::new(),
        })?;
        drop(made);
        let remove = || -> Result<(), EngineError> {
            let removal = self.begin_remove(&own, true)?;
            self.finish_remove(removal.with_volumes(true).for_good())
        };
        if let Err(error) = self.start(&own, None) {
            remove()?;
            return Err(error);
        }
        let code = self.wait(&own, WaitFor::NotRunning)?;
        if code == 0 {
            return remove();
        }
        let request = LogRequest {
            tail: Some(TAIL_LINES),
            ..LogRequest::default()
        };
        let mut lines = Vec::new();
        self.logs(&own, &request, &mut |entry| {
            lines.push(entry.log.trim_end().to_owned());
            Next::More
        })?;
        let tail = match lines.is_empty() {
            true => String::new(),
            false => format!(": {}", lines.join(" / ")),
        };
        Err(EngineError::conflict(format!(
            "{place} exited with code {code}{tail} (hook container {} retained for inspection)",
            &own[..12]
        )))
    }
}

fn hook_spec(
    project: &Project,
    service: &str,
    id: &str,
    hook: &Hook,
) -> Result<ContainerSpec, EngineError> {
    let of_service = names::container(project, service, Instance::OneOff)
        .map_err(|error| EngineError::invalid(error.to_string()))?
        .spec;
    let mut env = of_service.env;
    let own = hook.environment.0.iter();
    for (key, value) in own.filter_map(|(key, value)| Some((key, value.as_ref()?))) {
        let begins = format!("{key}=");
        env.retain(|pair| !pair.starts_with(&begins));
        env.push(format!("{key}={value}"));
    }
    let mut networks = of_service.networks;
    for network in &mut networks {
        // Names and addresses are those of the service's own containers.
        network.aliases.clear();
        network.links.clear();
        network.ipv4.clear();
        network.ipv6.clear();
        network.mac_address.clear();
    }
    let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    Ok(ContainerSpec {
        image: match hook.image.as_str() {
            "" => of_service.image,
            image => image.to_owned(),
        },
        cmd: hook.command.clone(),
        user: hook.user.clone(),
        working_dir: hook.working_dir.clone(),
        env,
        networks,
        privileged: hook.privileged,
        volumes_from: vec![id.to_owned()],
        attach_stdout: true,
        attach_stderr: true,
        labels: [
            pair(labels::PROJECT, &project.name),
            pair(labels::SERVICE, service),
            pair(labels::VERSION, names::VERSION),
            pair(labels::HOOK, "pre_start"),
        ]
        .into(),
        ..ContainerSpec::default()
    })
}
