//! Whether a project holds together: what is referred to exists, nothing contradicts itself, and
//! dependencies run in no circle.

use std::collections::{BTreeMap, BTreeSet};

use crate::error::{Fault, Mark, Step};
use crate::model::{Project, Service};
use crate::tree::{Node, Value};

/// The most containers that the services of one project may have.
pub const CONTAINERS_MAX: i64 = 20_000;

/// The place of a key in the merged tree, or of the nearest key above it.
pub(crate) fn locate(tree: &Node, path: &[&str]) -> Option<Mark> {
    let mut node = tree;
    let mut at = None;
    for part in path {
        let next = match &node.value {
            Value::Map(map) => map.0.get(*part).map(|entry| (entry.key_at, &entry.node)),
            Value::List(list) => {
                let index = part.parse::<usize>().ok();
                index
                    .and_then(|index| list.get(index))
                    .map(|node| (node.at, node))
            }
            _ => None,
        };
        let Some((mark, next)) = next else { break };
        if mark.line > 0 {
            at = Some(mark);
        }
        node = next;
    }
    at
}

/// Checks a project whose profiles are settled.
pub(crate) fn consistency(project: &Project, tree: &Node) -> Step<()> {
    for (name, service) in &project.services {
        let checker = Checker {
            project,
            tree,
            name,
            service,
        };
        checker.source()?;
        checker.references()?;
        checker.limits()?;
        checker.ports()?;
        checker.mounts()?;
    }
    for (name, secret) in &project.secrets {
        if !secret.external && secret.file.is_empty() && secret.environment.is_empty() {
            let text = format!("secret {name:?} must declare either `file` or `environment`");
            let at = locate(tree, &["secrets", name]);
            return Err(Fault {
                at,
                ..Fault::of_project(text)
            });
        }
    }
    number(project, tree)?;
    container_names(project, tree)?;
    dependency_order_at(project, tree).map(|_| ())
}

/// The containers of all services together are so many at most.
fn number(project: &Project, tree: &Node) -> Step<()> {
    let mut all: i64 = 0;
    for (name, service) in &project.services {
        all = all.saturating_add(service.replicas());
        if all > CONTAINERS_MAX {
            let path = match service.scale {
                Some(_) => ["services", name, "scale", ""],
                None => ["services", name, "deploy", "replicas"],
            };
            let text =
                format!("services.{name}: a project has at most {CONTAINERS_MAX} containers");
            return Err(Fault {
                at: locate(tree, &path),
                ..Fault::of_project(text)
            });
        }
    }
    Ok(())
}

/// A name that a service says is no other container's.
fn container_names(project: &Project, tree: &Node) -> Step<()> {
    let mut known: BTreeMap<&str, &str> = BTreeMap::new();
    for (name, service) in &project.services {
        let said = service.container_name.as_str();
        if said.is_empty() {
            continue;
        }
        let other = known.insert(said, name).or_else(|| {
            let (other, number) = said
                .strip_prefix(&project.name)?
                .strip_prefix('-')?
                .rsplit_once('-')?;
            let number: i64 = number.parse().ok()?;
            let (other, service) = project.services.get_key_value(other)?;
            let is_its = service.container_name.is_empty()
                && (1..=service.replicas()).contains(&number)
                && said.ends_with(&format!("-{number}"));
            is_its.then_some(other.as_str())
        });
        if let Some(other) = other {
            let text = format!(
                "services.{name}: container name {said:?} is already in use by service {other}"
            );
            return Err(Fault {
                at: locate(tree, &["services", name, "container_name"]),
                ..Fault::of_project(text)
            });
        }
    }
    Ok(())
}

struct Checker<'a> {
    project: &'a Project,
    tree: &'a Node,
    name: &'a str,
    service: &'a Service,
}

impl Checker<'_> {
    fn fault(&self, path: &[&str], text: impl Into<String>) -> Fault {
        let mut full = vec!["services", self.name];
        full.extend(path);
        let at = locate(self.tree, &full);
        Fault {
            at,
            ..Fault::of_project(text)
        }
    }

    /// An image, or what to build one of.
    fn source(&self) -> Step<()> {
        let (name, service) = (self.name, self.service);
        let Some(build) = &service.build else {
            if service.image.is_empty() && service.provider.is_none() {
                let text =
                    format!("service {name:?} has neither an image nor a build context specified");
                return Err(self
                    .fault(&[], text)
                    .with_hint("add `image: NAME` or `build: .`"));
            }
            return Ok(());
        };
        if !build.dockerfile_inline.is_empty() && !build.dockerfile.is_empty() {
            let text = format!(
                "service {name:?} declares mutualy exclusive dockerfile and dockerfile_inline"
            );
            return Err(self.fault(&["build", "dockerfile_inline"], text));
        }
        for (context, source) in &build.additional_contexts.0 {
            let Some(target) = source.strip_prefix("service:") else {
                continue;
            };
            let path = ["build", "additional_contexts", context];
            let text = match self.project.services.get(target) {
                None => format!(
                    "service {name:?} declares unknown service {target:?} as additional contexts {context}"
                ),
                Some(service) if service.build.is_none() => {
                    format!(
                        "service {name:?} declares non-buildable service {target:?} as additional contexts {context}"
                    )
                }
                Some(_) => continue,
            };
            return Err(self.fault(&path, text));
        }
        for secret in &build.secrets {
            if !self.project.secrets.contains_key(&secret.source) {
                return Err(self.undefined(
                    &["build", "secrets"],
                    "build secret",
                    &secret.source,
                    &self.project.secrets,
                ));
            }
        }
        let platforms = &build.platforms;
        if !platforms.is_empty()
            && !service.platform.is_empty()
            && !platforms.contains(&service.platform)
        {
            let text = format!(
                "service.build.platforms MUST include service.platform {:?}",
                service.platform
            );
            return Err(self.fault(&["platform"], text));
        }
        Ok(())
    }

    fn undefined<T>(
        &self,
        path: &[&str],
        what: &str,
        target: &str,
        known: &BTreeMap<String, T>,
    ) -> Fault {
        let text = format!(
            "service {:?} refers to undefined {what} {target}",
            self.name
        );
        let fault = self.fault(path, text);
        let near = known
            .keys()
            .map(|name| (crate::schema::distance(name, target), name))
            .min();
        match near {
            Some((distance, near)) if distance <= 2 => {
                fault.with_hint(format!("did you mean `{near}`?"))
            }
            _ => fault,
        }
    }

    fn references(&self) -> Step<()> {
        let (project, service) = (self.project, self.service);
        if !service.network_mode.is_empty() && !service.networks.is_empty() {
            let text = format!(
                "service {} declares mutually exclusive `network_mode` and `networks`",
                self.name
            );
            return Err(self.fault(&["network_mode"], text));
        }
        for network in service.networks.keys() {
            if !project.networks.contains_key(network) {
                return Err(self.undefined(
                    &["networks", network],
                    "network",
                    network,
                    &project.networks,
                ));
            }
        }
        for (target, dependency) in &service.depends_on {
            let is_known = project.services.contains_key(target);
            let is_disabled = project.disabled.contains_key(target);
            if !is_known && (!is_disabled || dependency.required) {
                let text = format!(
                    "service {:?} depends on undefined service {target:?}",
                    self.name
                );
                let fault = self.fault(&["depends_on", target], text);
                return Err(match project.disabled.get(target) {
                    Some(off) => fault.with_hint(format!(
                        "turn it on with --profile {}",
                        off.profiles.join(" or --profile ")
                    )),
                    None => near_service(fault, project, target),
                });
            }
        }
        if let Some(target) = service.network_mode.strip_prefix("service:")
            && !project.services.contains_key(target)
        {
            let text = format!("service {target:?} not found for network_mode 'service:{target}'");
            return Err(self.fault(&["network_mode"], text));
        }
        self.mounted()
    }

    /// Volumes, configs, secrets and models that the service sees.
    fn mounted(&self) -> Step<()> {
        let (project, service) = (self.project, self.service);
        for (index, volume) in service.volumes.iter().enumerate() {
            let is_named = volume.kind == "volume" && !volume.source.is_empty();
            if is_named && !project.volumes.contains_key(&volume.source) {
                let path = ["volumes", &index.to_string()];
                let fault = self.undefined(&path, "volume", &volume.source, &project.volumes);
                return Err(match fault.hint {
                    Some(_) => fault,
                    None => fault.with_hint(
                        "name it under the top-level `volumes:`, or write ./ before a path",
                    ),
                });
            }
        }
        for config in &service.configs {
            if !project.configs.contains_key(&config.source) {
                return Err(self.undefined(
                    &["configs"],
                    "config",
                    &config.source,
                    &project.configs,
                ));
            }
        }
        for secret in &service.secrets {
            if !project.secrets.contains_key(&secret.source) {
                return Err(self.undefined(
                    &["secrets"],
                    "secret",
                    &secret.source,
                    &project.secrets,
                ));
            }
        }
        for model in service.models.keys() {
            if !project.models.contains_key(model) {
                return Err(self.undefined(&["models", model], "model", model, &project.models));
            }
        }
        Ok(())
    }

    /// What is said twice must be the same, and what is unique cannot be multiplied.
    fn limits(&self) -> Step<()> {
        let (name, service) = (self.name, self.service);
        if let Some(test) = service
            .healthcheck
            .as_ref()
            .and_then(|check| check.test.first())
            && !matches!(test.as_str(), "CMD" | "CMD-SHELL" | "NONE")
        {
            let text = "healthcheck.test must start either by \"CMD\", \"CMD-SHELL\" or \"NONE\"";
            return Err(self.fault(&["healthcheck", "test"], text));
        }
        let distinct = |key: &str, other: &str| {
            let text = format!(
                "services.{name}: can't set distinct values on '{key}' and 'deploy.{other}'"
            );
            Err(self.fault(&[key], text))
        };
        if let Some(deploy) = &service.deploy {
            let (limits, reserved) = (&deploy.resources.limits, &deploy.resources.reservations);
            if service.scale.is_some()
                && deploy.replicas.is_some()
                && service.scale != deploy.replicas
            {
                return distinct("scale", "replicas");
            }
            if let Some(limits) = limits {
                if service.cpus != 0.0 && limits.cpus != service.cpus {
                    return distinct("cpus", "resources.limits.cpus");
                }
                if !service.mem_limit.is_zero() && limits.memory != service.mem_limit {
                    return distinct("mem_limit", "resources.limits.memory");
                }
                if service.pids_limit != 0 && limits.pids != service.pids_limit {
                    return distinct("pids_limit", "resources.limits.pids");
                }
            }
            if let Some(reserved) = reserved
                && !service.mem_reservation.is_zero()
                && reserved.memory != service.mem_reservation
            {
                return distinct("mem_reservation", "resources.reservations.memory");
            }
        }
        self.counts()
    }

    /// How many containers, and what they watch.
    fn counts(&self) -> Step<()> {
        let (name, service) = (self.name, self.service);
        let replicas = service.deploy.as_ref().and_then(|deploy| deploy.replicas);
        for (value, path) in [
            (service.scale, ["scale", ""]),
            (replicas, ["deploy", "replicas"]),
        ] {
            if value.is_some_and(|value| value < 0) {
                let key = path.join(".");
                let key = key.trim_end_matches('.');
                let text = format!("services.{name}.{key}: must be greater than or equal to 0");
                return Err(self.fault(&path, text));
            }
        }
        if service.replicas() > 1 && !service.container_name.is_empty() {
            let attribute = if service.scale.is_some() {
                "scale"
            } else {
                "deploy.replicas"
            };
            let text = format!(
                "services.{name}: can't set container_name and {attribute} as container name must be unique"
            );
            return Err(self.fault(&["container_name"], text));
        }
        for (index, watch) in service
            .develop
            .iter()
            .flat_map(|develop| develop.watch.iter())
            .enumerate()
        {
            if watch.target.is_empty() && !matches!(watch.action.as_str(), "rebuild" | "restart") {
                let text = format!(
                    "services.{name}.develop.watch: target is required for non-rebuild actions"
                );
                return Err(self.fault(&["develop", "watch", &index.to_string()], text));
            }
        }
        Ok(())
    }

    /// Ports that are numbers, which the long form does not promise.
    fn ports(&self) -> Step<()> {
        for (index, port) in self.service.ports.iter().enumerate() {
            let wrong = match types::port::parse_publish(&crate::container::publish(port)) {
                Err(error) => error.to_string(),
                Ok(_) if port.target == 0 => {
                    "invalid containerPort: 0: nothing can listen there".to_owned()
                }
                Ok(_) => continue,
            };
            return Err(self.fault(&["ports", &index.to_string()], wrong));
        }
        Ok(())
    }

    fn mounts(&self) -> Step<()> {
        let mut seen: BTreeMap<&str, String> = BTreeMap::new();
        let tmpfs = self
            .service
            .tmpfs
            .iter()
            .map(|text| text.split(':').next().unwrap_or_default());
        let tmpfs = tmpfs
            .enumerate()
            .map(|(index, target)| ("tmpfs", index, target));
        let volumes = self.service.volumes.iter().enumerate();
        let volumes = volumes.map(|(index, volume)| ("volumes", index, volume.target.as_str()));
        for (key, index, target) in tmpfs.chain(volumes) {
            let place = format!("services.{}.{key}[{index}]", self.name);
            if let Some(first) = seen.get(target) {
                let text = format!("{place}: target {target} already mounted as {first}");
                return Err(self.fault(&[key, &index.to_string()], text));
            }
            seen.insert(target, place);
        }
        Ok(())
    }
}

fn near_service(fault: Fault, project: &Project, target: &str) -> Fault {
    let near = project
        .services
        .keys()
        .map(|name| (crate::schema::distance(name, target), name))
        .min();
    match near {
        Some((distance, near)) if distance <= 2 => {
            fault.with_hint(format!("did you mean `{near}`?"))
        }
        _ => fault,
    }
}

/// The services in an order in which each comes after those that it depends on.
pub type DependencyOrder = Vec<String>;

/// Orders the services of a project, or draws the circle that its dependencies run in.
pub fn dependency_order(project: &Project) -> Result<DependencyOrder, crate::ComposeError> {
    let nowhere = Node::null(Mark::default());
    dependency_order_at(project, &nowhere)
        .map_err(|fault| crate::ComposeError::of_project(fault.text))
}

fn dependency_order_at(project: &Project, tree: &Node) -> Step<DependencyOrder> {
    let mut order = Vec::new();
    let mut done = BTreeSet::new();
    for name in project.services.keys() {
        let mut walk = Walk {
            project,
            tree,
            order: &mut order,
            done: &mut done,
        };
        walk.visit(name)?;
    }
    Ok(order)
}

struct Walk<'a, 'p> {
    project: &'p Project,
    tree: &'a Node,
    order: &'a mut Vec<String>,
    done: &'a mut BTreeSet<&'p str>,
}

impl<'p> Walk<'_, 'p> {
    /// Depth first, without recursion: a chain may be as long as a file.
    fn visit(&mut self, start: &'p str) -> Step<()> {
        let mut path: Vec<(&'p str, Vec<&'p str>)> = vec![(start, self.children(start))];
        while let Some((name, children)) = path.last_mut() {
            let name = *name;
            let Some(child) = children.pop() else {
                path.pop();
                if self.done.insert(name) {
                    self.order.push(name.to_owned());
                }
                continue;
            };
            if self.done.contains(child) {
                continue;
            }
            if let Some(index) = path.iter().position(|(known, _)| *known == child) {
                let circle: Vec<&str> = path[index..].iter().map(|(name, _)| *name).collect();
                let text = format!(
                    "dependency cycle detected: {} -> {child}",
                    circle.join(" -> ")
                );
                let at = locate(self.tree, &["services", name, "depends_on", child]);
                return Err(Fault {
                    at,
                    ..Fault::of_project(text)
                });
            }
            path.push((child, self.children(child)));
        }
        Ok(())
    }

    fn children(&self, name: &str) -> Vec<&'p str> {
        let service = self.project.services.get(name);
        let names = service
            .into_iter()
            .flat_map(|service| service.depends_on.keys());
        let known = names.filter(|name| self.project.services.contains_key(*name));
        let mut children: Vec<&str> = known.map(String::as_str).collect();
        children.reverse();
        children
    }
}

impl Service {
    /// How many containers there shall be.
    pub fn replicas(&self) -> i64 {
        let deployed = self.deploy.as_ref().and_then(|deploy| deploy.replicas);
        self.scale.or(deployed).unwrap_or(1)
    }
}
