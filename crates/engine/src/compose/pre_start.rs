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
use crate::error::EngineError;

/// So many lines of a failed hook are told.
const TAIL_LINES: u64 = 5;

impl Engine {
    /// Removes what hooks of a service that failed, or were killed, left.
    pub(super) fn clear_hooks(&self, project: &Project, service: &str) -> Result<(), EngineError> {
        for stored in self.project_containers(&project.name)? {
            if label(&stored, labels::SERVICE) == service
                && !label(&stored, labels::HOOK).is_empty()
            {
                self.remove_hook(&stored.record.id)?;
            }
        }
        Ok(())
    }

    /// Makes the container of a hook, before the service's container `of` starts.
    pub(super) fn create_hook(
        &self,
        project: &Project,
        service: &str,
        of: &str,
        hook: &Hook,
        images: &BTreeMap<String, ServiceImage>,
    ) -> Result<String, EngineError> {
        let spec = hook_spec(project, service, of, hook)?;
        let image = images
            .get(&spec.image)
            .ok_or_else(|| EngineError::NoSuchImage(spec.image.clone()))?;
        let made = self.create(CreateRequest {
            id: new_id(),
            spec,
            name: None,
            image_id: image.id.clone(),
            defaults: image.defaults.clone(),
            platform: image.platform.clone(),
            images: BTreeMap::new(),
        })?;
        Ok(made.into_record().id)
    }

    /// Removes the container of a hook, for good and even where it runs.
    pub(super) fn remove_hook(&self, id: &str) -> Result<(), EngineError> {
        let removal = self.begin_remove(id, true)?;
        self.finish_remove(removal.with_volumes(true).for_good())
    }

    /// The container of a hook has ended: it goes, or stays to be looked at.
    pub(super) fn end_of_container(
        &self,
        id: &str,
        place: &str,
        code: i32,
    ) -> Result<(), EngineError> {
        if code == 0 {
            return self.remove_hook(id);
        }
        let request = LogRequest {
            tail: Some(TAIL_LINES),
            ..LogRequest::default()
        };
        let mut lines = Vec::new();
        self.logs(id, &request, &mut |entry| {
            lines.push(entry.log.trim_end().to_owned());
            Next::More
        })?;
        let tail = match lines.is_empty() {
            true => String::new(),
            false => format!(": {}", lines.join(" / ")),
        };
        Err(EngineError::conflict(format!(
            "{place} exited with code {code}{tail} (hook container {} retained for inspection)",
            &id[..12]
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
