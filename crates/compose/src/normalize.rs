//! The last step on the tree: names, the default network, dependencies that other keys imply.

use crate::error::Mark;
use crate::interpolate::Lookup;
use crate::tree::{Map, Node, Value};

/// Brings a whole project into the form that everything else reads.
pub(crate) fn normalize(root: &mut Map, name: &str, env: &dyn Lookup) {
    networks(root);
    if let Some(services) = root.get_mut("services").and_then(Node::as_map_mut) {
        for (_, service) in services.iter_mut() {
            let at = service.at;
            if let Some(service) = service.as_map_mut() {
                normalize_service(service, at, env);
            }
        }
    }
    for section in ["networks", "volumes", "configs", "secrets"] {
        if let Some(section) = root.get_mut(section).and_then(Node::as_map_mut) {
            section
                .iter_mut()
                .for_each(|(key, node)| name_resource(node, key, name));
        }
    }
}

/// Every service without a network is in the one called `default`.
fn networks(root: &mut Map) {
    let mut uses_default = false;
    if let Some(services) = root.get_mut("services").and_then(Node::as_map_mut) {
        for (_, service) in services.iter_mut() {
            let at = service.at;
            let Some(service) = service.as_map_mut() else {
                continue;
            };
            if service.has("provider") || service.has("network_mode") {
                continue;
            }
            let has_networks = service
                .get("networks")
                .and_then(Node::as_map)
                .is_some_and(|map| !map.0.is_empty());
            if !has_networks {
                let mut map = Map::default();
                map.insert("default", Node::null(at));
                service.insert("networks", Node::map(map, at));
            }
            let networks = service.get("networks").and_then(Node::as_map);
            uses_default |= networks.is_some_and(|map| map.has("default"));
        }
    }
    if !uses_default {
        return;
    }
    if root
        .get("networks")
        .is_none_or(|node| node.as_map().is_none())
    {
        root.insert("networks", Node::map(Map::default(), Mark::default()));
    }
    let networks = root.get_mut("networks").and_then(Node::as_map_mut);
    if let Some(networks) = networks.filter(|networks| !networks.has("default")) {
        networks.insert("default", Node::null(Mark::default()));
    }
}

fn normalize_service(service: &mut Map, at: Mark, env: &dyn Lookup) {
    if service.text("pull_policy") == Some("if_not_present") {
        service.insert("pull_policy", Node::text("missing", at));
    }
    if let Some(build) = service.get_mut("build").and_then(Node::as_map_mut) {
        if build.get("context").is_none_or(Node::is_null) {
            build.insert("context", Node::text(".", at));
        }
        if !build.has("dockerfile") && !build.has("dockerfile_inline") {
            build.insert("dockerfile", Node::text("Dockerfile", at));
        }
        if let Some(args) = build.get_mut("args") {
            inherit(args, env, Missing::Drop);
        }
    }
    if let Some(environment) = service.get_mut("environment") {
        inherit(environment, env, Missing::Keep);
    }
    imply_dependencies(service, at);
    let mounts = service.get_mut("volumes").map(|node| &mut node.value);
    if let Some(Value::List(mounts)) = mounts {
        for mount in mounts {
            let target = mount.as_map_mut().and_then(|mount| mount.get_mut("target"));
            if let Some(Value::Text(target)) = target.map(|node| &mut node.value) {
                *target = types::lexical_path::clean(target);
            }
        }
    }
    inherit_image(service);
}

/// What becomes of a variable that only has a name, and no value outside either.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Missing {
    Keep,
    Drop,
}

/// Variables that only have a name take their value from outside.
fn inherit(node: &mut Node, env: &dyn Lookup, missing: Missing) {
    match &mut node.value {
        Value::Map(map) => map.0.retain(|key, entry| {
            if !entry.node.is_null() {
                return true;
            }
            match env.lookup(key) {
                Some(value) => entry.node.value = Value::Text(value.to_owned()),
                None => return missing == Missing::Keep,
            }
            true
        }),
        Value::List(list) => list.retain_mut(|node| {
            let Value::Text(text) = &mut node.value else {
                return true;
            };
            if text.contains('=') {
                return true;
            }
            match env.lookup(text) {
                Some(value) => *text = format!("{text}={value}"),
                None => return missing == Missing::Keep,
            }
            true
        }),
        _ => {}
    }
}

fn imply_dependencies(service: &mut Map, at: Mark) {
    let mut implied: Vec<(String, bool)> = Vec::new();
    let texts = |key: &str| {
        let list = service.get(key).and_then(Node::as_list).unwrap_or_default();
        list.iter().filter_map(Node::as_text).collect::<Vec<_>>()
    };
    for link in texts("links") {
        let parts: Vec<&str> = link.split(':').collect();
        let target = if parts.len() == 2 { parts[0] } else { link };
        implied.push((target.to_owned(), true));
    }
    for key in ["network_mode", "ipc", "pid", "uts", "cgroup"] {
        if let Some(target) = service
            .text(key)
            .and_then(|text| text.strip_prefix("service:"))
        {
            implied.push((target.to_owned(), true));
        }
    }
    for source in texts("volumes_from") {
        if !source.starts_with("container:") {
            let target = source.split(':').next().unwrap_or_default();
            implied.push((target.to_owned(), false));
        }
    }
    if implied.is_empty() {
        return;
    }
    if service
        .get("depends_on")
        .is_none_or(|node| node.as_map().is_none())
    {
        service.insert("depends_on", Node::map(Map::default(), at));
    }
    let Some(dependencies) = service.get_mut("depends_on").and_then(Node::as_map_mut) else {
        return;
    };
    for (target, restart) in implied {
        if !dependencies.has(&target) {
            let mut dependency = Map::default();
            dependency.insert("condition", Node::text("service_started", at));
            dependency.insert("restart", Node::boolean(restart, at));
            dependency.insert("required", Node::boolean(true, at));
            dependencies.insert(target, Node::map(dependency, at));
        }
    }
}

/// A container that runs before the service is made of the service's image, if not told otherwise.
fn inherit_image(service: &mut Map) {
    let Some(image) = service
        .get("image")
        .filter(|node| node.as_text() != Some(""))
        .cloned()
    else {
        return;
    };
    let hooks = service.get_mut("pre_start").map(|node| &mut node.value);
    if let Some(Value::List(hooks)) = hooks {
        for hook in hooks.iter_mut().filter_map(Node::as_map_mut) {
            if !hook.has("image") {
                hook.insert("image", image.clone());
            }
        }
    }
}

fn name_resource(node: &mut Node, key: &str, project: &str) {
    if node.is_null() {
        node.value = Value::Map(Map::default());
    }
    let at = node.at;
    let Some(resource) = node.as_map_mut() else {
        return;
    };
    if resource.get("name").is_some_and(|name| !name.is_null()) {
        return;
    }
    let is_external = resource
        .get("external")
        .and_then(Node::scalar_text)
        .is_some_and(|text| matches!(text.as_str(), "1" | "t" | "T" | "true" | "TRUE" | "True"));
    let name = if is_external {
        key.to_owned()
    } else {
        format!("{project}_{key}")
    };
    resource.insert("name", Node::text(name, at));
}

/// Lists of variables, secrets and configs that are taken from the project's environment.
pub(crate) fn resolve_environment(root: &mut Map, env: &dyn Lookup) {
    if let Some(services) = root.get_mut("services").and_then(Node::as_map_mut) {
        for (_, service) in services.iter_mut() {
            let list = service
                .as_map_mut()
                .and_then(|service| service.get_mut("environment"));
            if let Some(Node {
                value: Value::List(list),
                ..
            }) = list
            {
                list.retain(|node| node.as_text().is_some());
                for node in list {
                    if let Value::Text(text) = &mut node.value
                        && let Some(value) = env.lookup(text)
                    {
                        *text = format!("{text}={value}");
                    }
                }
            }
        }
    }
    for (section, key) in [("secrets", SECRET_VALUE), ("configs", "content")] {
        let Some(section) = root.get_mut(section).and_then(Node::as_map_mut) else {
            continue;
        };
        for (_, node) in section.iter_mut() {
            let at = node.at;
            let Some(resource) = node.as_map_mut() else {
                continue;
            };
            let value = resource
                .text("environment")
                .and_then(|name| env.lookup(name));
            if let Some(value) = value.map(str::to_owned) {
                resource.insert(key, Node::text(value, at));
            }
        }
    }
}

/// Where a secret's value from the environment stands, out of reach for `config`.
pub(crate) const SECRET_VALUE: &str = "x-#value";
