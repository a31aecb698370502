//! The making of plans.

use std::collections::{BTreeMap, BTreeSet};

use types::state::Status;

mod refused;
mod rolling;

use super::difference::difference;
use super::{
    Action, Condition, ConditionKind, Observed, ObservedContainer, Plan, PlanOptions, Recreate,
    Step,
};
use crate::check::dependency_order;
use crate::container::{self, Instance, ServiceContainer};
use crate::error::ComposeError;
use crate::hash::{network_hash, service_hash};
use crate::model::{Project, Service};

/// Plans `up`.
///
/// # Errors
/// What cannot be made, by name.
pub fn plan(
    project: &Project,
    observed: &Observed,
    options: &PlanOptions,
) -> Result<Plan, ComposeError> {
    let mut planner = Planner {
        project,
        observed,
        options,
        plan: Plan::default(),
        networks: BTreeMap::new(),
        volumes: BTreeMap::new(),
        started: BTreeMap::new(),
        recreated: BTreeSet::new(),
        rolled: None,
    };
    planner.plan_networks()?;
    planner.plan_volumes()?;
    for name in dependency_order(project)? {
        planner.plan_service(&name)?;
    }
    planner.check_ports()?;
    planner.plan_orphans();
    Ok(planner.plan)
}

struct Planner<'a> {
    project: &'a Project,
    observed: &'a Observed,
    options: &'a PlanOptions,
    plan: Plan,
    /// The step that makes a network, by key.
    networks: BTreeMap<String, usize>,
    volumes: BTreeMap<String, usize>,
    /// The last steps of a service.
    started: BTreeMap<String, Vec<usize>>,
    recreated: BTreeSet<String>,
    /// The last step of the replacement before, where they go one after another.
    rolled: Option<usize>,
}

impl Planner<'_> {
    fn push(
        &mut self,
        action: Action,
        subject: String,
        reason: impl Into<String>,
        after: Vec<usize>,
    ) -> usize {
        self.plan.steps.push(Step {
            action,
            subject,
            reason: reason.into(),
            after,
            conditions: Vec::new(),
        });
        self.plan.steps.len() - 1
    }

    fn plan_networks(&mut self) -> Result<(), ComposeError> {
        let used: BTreeSet<&String> = self
            .project
            .services
            .values()
            .flat_map(|service| service.networks.keys())
            .collect();
        for (key, network) in &self.project.networks {
            if !used.contains(key) {
                continue;
            }
            let subject = format!("Network {}", network.name);
            let known = self.observed.networks.get(&network.name);
            if network.external {
                if known.is_none() {
                    let text = format!(
                        "network {} declared as external, but could not be found",
                        network.name
                    );
                    let mut error = self.project.error_at(&format!("networks.{key}"), text);
                    error.hint = Some(format!("make it: network create {}", network.name));
                    return Err(error);
                }
                continue;
            }
            let create = |key: &String| Action::CreateNetwork { key: key.clone() };
            let Some(known) = known else {
                let step = self.push(create(key), subject, "not there yet", Vec::new());
                self.networks.insert(key.clone(), step);
                continue;
            };
            if known.project != self.project.name {
                let owner = match known.project.as_str() {
                    "" => "was not created by compose".to_owned(),
                    _ => format!("was not created for project {:?}", self.project.name),
                };
                let text = format!(
                    "a network with name {} exists but {owner}.\nSet `external: true` to use an existing network",
                    network.name
                );
                self.plan.warnings.push(text);
                continue;
            }
            if known.config_hash.is_empty() || known.config_hash == network_hash(network) {
                continue;
            }
            self.recreate_network(key, &network.name);
        }
        Ok(())
    }

    /// A network that changed: its containers go first, and come back made for the new one.
    fn recreate_network(&mut self, key: &str, name: &str) {
        let users: Vec<ObservedContainer> = self
            .observed
            .containers
            .iter()
            .filter(|container| container.networks.iter().any(|network| network == name))
            .cloned()
            .collect();
        let mut removed = Vec::new();
        for container in &users {
            let reason = format!("network {key} changed");
            removed.push(self.remove(container, &reason, Vec::new()));
            self.recreated.insert(container.service.clone());
        }
        let action = Action::RemoveNetwork {
            name: name.to_owned(),
        };
        let subject = format!("Network {name}");
        let gone = self.push(action, subject.clone(), "its settings changed", removed);
        let action = Action::CreateNetwork {
            key: key.to_owned(),
        };
        let step = self.push(action, subject, "its settings changed", vec![gone]);
        self.networks.insert(key.to_owned(), step);
    }

    fn plan_volumes(&mut self) -> Result<(), ComposeError> {
        let mounted = self
            .project
            .services
            .values()
            .flat_map(|service| service.volumes.iter());
        let used: BTreeSet<&str> = mounted.map(|volume| volume.source.as_str()).collect();
        for (key, volume) in &self.project.volumes {
            let known = self.observed.volumes.get(&volume.name);
            match known {
                None if volume.external && used.contains(key.as_str()) => {
                    let text = format!("external volume {:?} not found", volume.name);
                    let mut error = self.project.error_at(&format!("volumes.{key}"), text);
                    error.hint = Some(format!("make it: volume create {}", volume.name));
                    return Err(error);
                }
                Some(known) if !volume.external && known.project != self.project.name => {
                    let text = match known.project.as_str() {
                        "" => format!(
                            "volume {:?} already exists but was not created by Docker Compose. Use `external: true` to use an existing volume",
                            volume.name
                        ),
                        other => format!(
                            "volume {:?} already exists but was created for project {other:?} (expected {:?}). Use `external: true` to use an existing volume",
                            volume.name, self.project.name
                        ),
                    };
                    self.plan.warnings.push(text);
                }
                None if !volume.external => {
                    let action = Action::CreateVolume { key: key.clone() };
                    let step = self.push(
                        action,
                        format!("Volume {}", volume.name),
                        "not there yet",
                        Vec::new(),
                    );
                    self.volumes.insert(key.clone(), step);
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn plan_service(&mut self, name: &str) -> Result<(), ComposeError> {
        let service = &self.project.services[name];
        let replicas = usize::try_from(service.replicas()).unwrap_or_default();
        let wanted = container::container(self.project, name, Instance::Number(1))?;
        let is_replaced = self.recreated.contains(name);
        let mut there: Vec<(ObservedContainer, Option<String>)> = self
            .observed
            .containers
            .iter()
            .filter(|container| container.service == name && !container.is_oneoff)
            .filter(|container| !(is_replaced && self.is_removed(&container.id)))
            .map(|container| {
                (
                    container.clone(),
                    self.why_recreate(name, &wanted, container),
                )
            })
            .collect();
        // The best come first: as wanted, then by number, then by name (an interrupted command may
        // have left two of one number).
        there.sort_by(|(a, changed), (b, other)| {
            changed
                .is_some()
                .cmp(&other.is_some())
                .then(a.number.cmp(&b.number))
                .then(a.name.cmp(&b.name))
        });
        let before = self.before(service);
        let mut last = Vec::new();
        let mut numbers = BTreeSet::new();
        let excess = there.split_off(there.len().min(replicas));
        for (container, _) in excess {
            let reason = match numbers.contains(&container.number)
                || there
                    .iter()
                    .any(|(kept, _)| kept.number == container.number)
            {
                true => "left over by an interrupted command",
                false => "fewer containers are wanted",
            };
            let heir = there
                .iter()
                .find(|(kept, _)| kept.number == container.number);
            let served = heir.and_then(|(heir, _)| self.hand_over_left(name, &container, heir));
            last.push(self.remove(&container, reason, served.into_iter().collect()));
        }
        for (container, changed) in there {
            numbers.insert(container.number);
            match changed {
                Some(reason) if self.options.rolling && container.status == Status::Running => {
                    let before = before.clone();
                    last.extend(self.replace_rolling(name, &container, &reason, before)?);
                }
                Some(reason) => last.extend(self.replace(name, &container, &reason, &before)),
                None => last.extend(self.keep(name, &container, &before)),
            }
        }
        let mut number = 1;
        while numbers.len() < replicas {
            while numbers.contains(&number) {
                number += 1;
            }
            numbers.insert(number);
            last.extend(self.make(name, number, &before));
        }
        self.started.insert(name.to_owned(), last);
        Ok(())
    }

    fn is_removed(&self, id: &str) -> bool {
        self.plan.steps.iter().any(
            |step| matches!(&step.action, Action::RemoveContainer { id: removed } if removed == id),
        )
    }

    /// The steps that must be done before a service's containers are made.
    fn before(&self, service: &Service) -> Vec<usize> {
        let networks = service
            .networks
            .keys()
            .filter_map(|key| self.networks.get(key));
        let volumes = service
            .volumes
            .iter()
            .filter_map(|volume| self.volumes.get(&volume.source));
        let mut steps: Vec<usize> = networks.chain(volumes).copied().collect();
        // Who joins another's namespaces or volumes is made after it.
        for target in shared_services(service) {
            steps.extend(self.started.get(target).into_iter().flatten());
        }
        steps.sort_unstable();
        steps.dedup();
        steps
    }

    fn why_recreate(
        &self,
        name: &str,
        wanted: &ServiceContainer,
        there: &ObservedContainer,
    ) -> Option<String> {
        let is_asked = self.options.services.is_empty()
            || self.options.services.iter().any(|service| service == name);
        let policy = match is_asked {
            true => self.options.recreate,
            false => self.options.recreate_dependencies,
        };
        match policy {
            Recreate::Never => return None,
            Recreate::Always => return Some("asked to make it anew".to_owned()),
            Recreate::Changed => {}
        }
        let service = &self.project.services[name];
        if let Some(other) = shared_services(service).find(|other| self.recreated.contains(*other))
        {
            return Some(format!("service {other} is made anew"));
        }
        if there.config_hash != service_hash(service) {
            return Some(difference(&wanted.spec, &there.spec));
        }
        let image = self.observed.images.get(&wanted.spec.image);
        if image.is_some_and(|image| *image != there.image_id) {
            return Some("image changed".to_owned());
        }
        let missing = wanted.spec.networks.iter().find(|network| {
            let name = &network.target;
            there.status == Status::Running
                && self.observed.networks.contains_key(name)
                && self
                    .project
                    .networks
                    .values()
                    .any(|known| known.name == *name)
                && !there.networks.contains(name)
        });
        missing.map(|network| format!("not in network {}", network.target))
    }

    /// Stops and removes a container; returns the last step.
    fn remove(&mut self, container: &ObservedContainer, reason: &str, after: Vec<usize>) -> usize {
        let subject = format!("Container {}", container.name);
        let after = match container.status.is_live() {
            true => {
                let (id, service) = (container.id.clone(), container.service.clone());
                vec![self.push(
                    Action::StopContainer { id, service },
                    subject.clone(),
                    reason,
                    after,
                )]
            }
            false => after,
        };
        let id = container.id.clone();
        self.push(Action::RemoveContainer { id }, subject, reason, after)
    }

    fn make(&mut self, service: &str, number: i64, before: &[usize]) -> Option<usize> {
        let subject = format!(
            "Container {}",
            container::container_name(self.project, service, number)
        );
        let action = Action::CreateContainer {
            service: service.to_owned(),
            number,
            replaces: None,
        };
        let made = self.push(action, subject.clone(), "not there yet", before.to_vec());
        self.start(service, number, None, subject, "new", vec![made])
            .or(Some(made))
    }

    /// The new one is made before the old one goes.
    fn replace(
        &mut self,
        service: &str,
        old: &ObservedContainer,
        reason: &str,
        before: &[usize],
    ) -> Option<usize> {
        self.recreated.insert(service.to_owned());
        let number = old.number;
        let subject = format!(
            "Container {}",
            container::container_name(self.project, service, number)
        );
        let action = Action::CreateContainer {
            service: service.to_owned(),
            number,
            replaces: Some(old.id.clone()),
        };
        let made = self.push(action, subject.clone(), reason, before.to_vec());
        let gone = self.remove(old, "replaced by the new one", vec![made]);
        let action = Action::RenameContainer {
            service: service.to_owned(),
            number,
            id: None,
        };
        // Whoever else has the name, after an interrupted command, is gone before.
        let mut after = self.removals_of(service);
        after.push(gone);
        after.sort_unstable();
        after.dedup();
        let named = self.push(
            action,
            subject.clone(),
            "takes the place of the old one",
            after,
        );
        self.start(service, number, None, subject, "new", vec![named])
            .or(Some(named))
    }

    fn keep(
        &mut self,
        service: &str,
        there: &ObservedContainer,
        before: &[usize],
    ) -> Option<usize> {
        let name = container::container_name(self.project, service, there.number);
        let subject = format!("Container {name}");
        let mut after = before.to_vec();
        let mut last = None;
        if there.name != name {
            let action = Action::RenameContainer {
                service: service.to_owned(),
                number: there.number,
                id: Some(there.id.clone()),
            };
            // The old one of this name is removed before, where it is still there.
            after.extend(self.removals_of(service));
            let step = self.push(
                action,
                subject.clone(),
                "left half-made by an interrupted command",
                after.clone(),
            );
            after = vec![step];
            last = Some(step);
        }
        let reason = match there.status {
            Status::Running | Status::Restarting => match self.renewed_dependency(service) {
                None => return last,
                Some(name) => {
                    let reason = format!("service {name}, which it depends on, is made anew");
                    let action = Action::StopContainer {
                        id: there.id.clone(),
                        service: service.to_owned(),
                    };
                    after.push(self.push(action, subject.clone(), reason.as_str(), Vec::new()));
                    reason
                }
            },
            Status::Exited => format!("not running: exited with code {}", there.exit_code),
            status => format!("not running: {}", status.as_str()),
        };
        let id = Some(there.id.clone());
        self.start(service, there.number, id, subject, &reason, after)
            .or(last)
    }

    /// A service that is made anew, and with which this one wants to start again.
    fn renewed_dependency(&self, service: &str) -> Option<String> {
        let mut dependencies = self.project.services[service].depends_on.iter();
        let found = dependencies.find(|(name, on)| on.restart && self.recreated.contains(*name));
        found.map(|(name, _)| name.clone())
    }

    /// The steps that remove containers of a service.
    fn removals_of(&self, service: &str) -> Vec<usize> {
        let is_own = |id: &String| {
            let mut all = self.observed.containers.iter();
            all.any(|container| container.id == *id && container.service == service)
        };
        let steps = self.plan.steps.iter().enumerate();
        let removals = steps.filter(
            |(_, step)| matches!(&step.action, Action::RemoveContainer { id } if is_own(id)),
        );
        removals.map(|(index, _)| index).collect()
    }

    fn start(
        &mut self,
        service: &str,
        number: i64,
        id: Option<String>,
        subject: String,
        reason: &str,
        mut after: Vec<usize>,
    ) -> Option<usize> {
        if self.options.no_start {
            return None;
        }
        let mut conditions = Vec::new();
        for (name, dependency) in &self.project.services[service].depends_on {
            after.extend(self.started.get(name).into_iter().flatten());
            conditions.push(Condition {
                service: name.clone(),
                kind: match dependency.condition.as_str() {
                    "service_healthy" => ConditionKind::Healthy,
                    "service_completed_successfully" => ConditionKind::Completed,
                    _ => ConditionKind::Started,
                },
                is_required: dependency.required,
            });
        }
        let action = Action::StartContainer {
            service: service.to_owned(),
            number,
            id,
        };
        let step = self.push(action, subject, reason, after);
        self.plan.steps[step].conditions = conditions;
        Some(step)
    }

    /// Containers of services that the files do not have.
    fn plan_orphans(&mut self) {
        let orphans = orphans(self.project, self.observed);
        if orphans.is_empty() {
            return;
        }
        if !self.options.remove_orphans {
            let names: Vec<&str> = orphans
                .iter()
                .map(|container| container.name.as_str())
                .collect();
            let text = format!(
                "Found orphan containers ([{}]) for this project. If you removed or renamed this service in your compose file, you can run this command with the --remove-orphans flag to clean it up.",
                names.join(" ")
            );
            self.plan.warnings.push(text);
            return;
        }
        for container in orphans {
            self.remove(&container, "its service is not in the files", Vec::new());
        }
    }
}

/// Containers that belong to the project and to none of its services.
pub fn orphans(project: &Project, observed: &Observed) -> Vec<ObservedContainer> {
    let is_orphan = |container: &&ObservedContainer| {
        !container.is_oneoff
            && !project.services.contains_key(&container.service)
            && !project.disabled.contains_key(&container.service)
    };
    observed
        .containers
        .iter()
        .filter(is_orphan)
        .cloned()
        .collect()
}

/// The services whose containers this one joins.
fn shared_services(service: &Service) -> impl Iterator<Item = &str> {
    let modes = [&service.network_mode, &service.ipc, &service.pid].into_iter();
    let joined = modes.filter_map(|mode| mode.strip_prefix("service:"));
    let volumes = service
        .volumes_from
        .iter()
        .filter(|text| !text.starts_with("container:"));
    joined.chain(volumes.map(|text| text.split(':').next().unwrap_or_default()))
}

/// Plans `down`: dependents before what they depend on.
pub fn plan_down(project: &Project, observed: &Observed, remove_orphans: bool) -> Plan {
    let options = PlanOptions::default();
    let mut planner = Planner {
        project,
        observed,
        options: &options,
        plan: Plan::default(),
        networks: BTreeMap::new(),
        volumes: BTreeMap::new(),
        started: BTreeMap::new(),
        recreated: BTreeSet::new(),
        rolled: None,
    };
    // Without files there is no order but the one that the containers' labels tell.
    let order =
        dependency_order(project).unwrap_or_else(|_| project.services.keys().cloned().collect());
    for name in order.iter().rev() {
        let dependents = project
            .services
            .iter()
            .filter(|(_, service)| service.depends_on.contains_key(name));
        let after: Vec<usize> = dependents
            .flat_map(|(name, _)| planner.started.get(name).into_iter().flatten())
            .copied()
            .collect();
        let containers: Vec<ObservedContainer> = observed
            .containers
            .iter()
            .filter(|container| container.service == *name)
            .cloned()
            .collect();
        let mut last = Vec::new();
        for container in containers {
            let reason = if container.is_oneoff {
                "left by compose run"
            } else {
                "down"
            };
            last.push(planner.remove(&container, reason, after.clone()));
        }
        planner.started.insert(name.clone(), last);
    }
    if remove_orphans {
        for container in orphans(project, observed) {
            planner.remove(&container, "its service is not in the files", Vec::new());
        }
    }
    planner.plan
}
