//! Short forms become long ones, and what is left out gets its default.

use types::mount::MountKind;
use types::port::parse_compose_mappings;
use types::volume_flag::ShortVolume;

use crate::error::{Fault, Mark, Step};
use crate::merge::{list_to_mapping, started, to_mapping};
use crate::tree::{Map, Node, Path, Value};

/// The most ports of one service: all that there are, twice.
const PORTS_MAX: usize = 131_072;

/// Whether a short form that cannot be read is left as it is (nothing was interpolated).
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unreadable {
    Refuse,
    Leave,
}

/// Puts a tree into its long form.
pub(crate) fn canonical(node: &mut Node, path: Path<'_>, unreadable: Unreadable) -> Step<()> {
    if path.is_deep() {
        return Ok(());
    }
    match path.keys() {
        ["services", _, "build"] => text_becomes(node, "context"),
        ["services", _, "extends"] => text_becomes(node, "service"),
        ["include", _] => {
            text_becomes(node, "path");
            return Ok(());
        }
        ["services", _, "build", "secrets", _] | ["services", _, "secrets" | "configs", _] => {
            text_becomes(node, "source");
            return Ok(());
        }
        ["services", _, "build", "provenance" | "sbom"] => {
            let text = node.scalar_text().unwrap_or_default();
            node.value = Value::Text(text);
        }
        ["services", _, "build", "additional_contexts"] => return pairs(node, unreadable),
        ["services", _, "build", "ssh"] => return ssh(node),
        ["services", _, "depends_on"] => return dependencies(node),
        ["services", _, "env_file"] => return env_files(node),
        ["services", _, "label_file" | "dns"] => text_becomes_list(node),
        ["services", _, "develop", "watch", _, "ignore" | "include"] => text_becomes_list(node),
        ["services", _, "gpus"] if node.as_text().is_some() => {
            let mut all = Map::default();
            all.insert("count", Node::text("all", node.at));
            node.value = Value::List(vec![Node::map(all, node.at)]);
        }
        ["services", _, "networks" | "models"] => return in_place(node, to_mapping),
        ["services", _, "volumes", _] => return volume(node, unreadable),
        ["services", _, "devices", _] => return device(node, unreadable),
        ["services", _, "ports"] => return ports(node, unreadable),
        ["volumes" | "networks" | "secrets" | "configs", _] => external(node)?,
        _ => {}
    }
    match &mut node.value {
        Value::Map(map) => map
            .iter_mut()
            .try_for_each(|(key, node)| canonical(node, path.next(key), unreadable)),
        Value::List(list) => list
            .iter_mut()
            .try_for_each(|node| canonical(node, path.next("[]"), unreadable)),
        _ => Ok(()),
    }
}

fn in_place(node: &mut Node, change: fn(Node) -> Step<Node>) -> Step<()> {
    let old = std::mem::replace(node, Node::null(node.at));
    *node = change(old)?;
    Ok(())
}

fn text_becomes(node: &mut Node, key: &str) {
    if let Value::Text(text) = &mut node.value {
        let text = std::mem::take(text);
        let mut map = Map::default();
        map.insert(key, Node::text(text, node.at));
        node.value = Value::Map(map);
    }
}

fn text_becomes_list(node: &mut Node) {
    if let Value::Text(text) = &mut node.value {
        let text = std::mem::take(text);
        node.value = Value::List(vec![Node::text(text, node.at)]);
    }
}

fn pairs(node: &mut Node, unreadable: Unreadable) -> Step<()> {
    let Value::List(list) = &node.value else {
        return Ok(());
    };
    let mut map = Map::default();
    for item in list {
        match item.as_text().and_then(|text| text.split_once('=')) {
            Some((key, value)) => map.insert(key, Node::text(value, item.at)),
            None if unreadable == Unreadable::Leave => return Ok(()),
            None => return Err(Fault::at(item.at, "invalid value, expected key=value")),
        }
    }
    node.value = Value::Map(map);
    Ok(())
}

fn ssh(node: &mut Node) -> Step<()> {
    let Value::List(list) = &node.value else {
        return Ok(());
    };
    let mut map = Map::default();
    for item in list {
        let text = item.as_text().unwrap_or_default();
        match text.split_once('=') {
            Some((id, path)) => map.insert(id, Node::text(path, item.at)),
            None if text == "default" => map.insert(text, Node::null(item.at)),
            None => return Err(Fault::at(item.at, format!("invalid ssh key {text:?}"))),
        }
    }
    node.value = Value::Map(map);
    Ok(())
}

fn dependencies(node: &mut Node) -> Step<()> {
    in_place(node, |node| list_to_mapping(node, started))?;
    let Some(map) = node.as_map_mut() else {
        return Ok(());
    };
    for (name, dependency) in map.iter_mut() {
        let at = dependency.at;
        let Some(dependency) = dependency.as_map_mut() else {
            return Err(Fault::at(
                at,
                format!("depends_on.{name} must be a mapping"),
            ));
        };
        if !dependency.has("condition") {
            dependency.insert("condition", Node::text("service_started", at));
        }
        if !dependency.has("required") {
            dependency.insert("required", Node::boolean(true, at));
        }
    }
    Ok(())
}

fn env_files(node: &mut Node) -> Step<()> {
    text_becomes_list(node);
    let Value::List(list) = &mut node.value else {
        return Ok(());
    };
    for file in list {
        text_becomes(file, "path");
        let at = file.at;
        if let Some(map) = file.as_map_mut().filter(|map| !map.has("required")) {
            map.insert("required", Node::boolean(true, at));
        }
    }
    Ok(())
}

fn volume(node: &mut Node, unreadable: Unreadable) -> Step<()> {
    let Value::Text(text) = &node.value else {
        return Ok(());
    };
    let at = node.at;
    let volume = match ShortVolume::parse(text) {
        Ok(volume) => volume,
        Err(_) if unreadable == Unreadable::Leave => return Ok(()),
        Err(error) => return Err(Fault::at(at, error.to_string())),
    };
    let mut map = Map::default();
    let mut put = |key: &str, value: String| {
        if !value.is_empty() {
            map.insert(key, Node::text(value, at));
        }
    };
    let is_bind = volume.kind == MountKind::Bind;
    put("type", if is_bind { "bind" } else { "volume" }.to_owned());
    put("source", volume.source);
    put("target", clean(&volume.target));
    if volume.read_only {
        map.insert("read_only", Node::boolean(true, at));
    }
    if let Some(bind) = volume.bind {
        let mut options = Map::default();
        if !bind.selinux.is_empty() {
            options.insert("selinux", Node::text(bind.selinux, at));
        }
        if !bind.propagation.is_empty() {
            options.insert("propagation", Node::text(bind.propagation, at));
        }
        if bind.create_host_path {
            options.insert("create_host_path", Node::boolean(true, at));
        }
        map.insert("bind", Node::map(options, at));
    }
    if let Some(volume) = volume.volume {
        let mut options = Map::default();
        if volume.no_copy {
            options.insert("nocopy", Node::boolean(true, at));
        }
        map.insert("volume", Node::map(options, at));
    }
    node.value = Value::Map(map);
    Ok(())
}

fn clean(target: &str) -> String {
    match target {
        "" => String::new(),
        target => types::lexical_path::clean(target),
    }
}

fn device(node: &mut Node, unreadable: Unreadable) -> Step<()> {
    let Value::Text(text) = &node.value else {
        return Ok(());
    };
    let at = node.at;
    let parts: Vec<&str> = text.split(':').collect();
    let (source, target, permissions) = match parts[..] {
        [source] => (source, source, "rwm"),
        [source, target] => (source, target, "rwm"),
        [source, target, permissions] => (source, target, permissions),
        _ if unreadable == Unreadable::Leave => return Ok(()),
        _ => {
            let text = format!("confusing device mapping, please use long syntax: {text}");
            return Err(Fault::at(at, text));
        }
    };
    let target = if target.is_empty() { source } else { target };
    let mut map = Map::default();
    map.insert("source", Node::text(source, at));
    map.insert("target", Node::text(target, at));
    map.insert("permissions", Node::text(permissions, at));
    node.value = Value::Map(map);
    Ok(())
}

fn ports(node: &mut Node, unreadable: Unreadable) -> Step<()> {
    let Value::List(list) = &node.value else {
        return Err(Fault::at(node.at, "ports must be a list"));
    };
    let mut ports = Vec::new();
    for port in list {
        let text = match &port.value {
            Value::Map(_) => {
                ports.push(port.clone());
                continue;
            }
            Value::Text(text) => text.clone(),
            Value::Int(number) => number.to_string(),
            _ => {
                return Err(Fault::at(
                    port.at,
                    format!("invalid type {} for port", port.kind()),
                ));
            }
        };
        match parse_compose_mappings(&text) {
            Ok(mappings) => {
                ports.extend(mappings.iter().map(|mapping| port_node(mapping, port.at)))
            }
            Err(_) if unreadable == Unreadable::Leave => return Ok(()),
            Err(error) => return Err(Fault::at(port.at, error.to_string())),
        }
        if ports.len() > PORTS_MAX {
            let text = format!("a service has at most {PORTS_MAX} ports");
            return Err(Fault::at(port.at, text));
        }
    }
    node.value = Value::List(ports);
    Ok(())
}

fn port_node(mapping: &types::port::PortMapping, at: Mark) -> Node {
    let mut map = Map::default();
    map.insert("mode", Node::text("ingress", at));
    if !mapping.host_ip.is_empty() {
        map.insert("host_ip", Node::text(mapping.host_ip.clone(), at));
    }
    let target = i64::from(mapping.container.number);
    map.insert("target", Node::new(Value::Int(target), at));
    let published = mapping.host_port_text();
    if !published.is_empty() {
        map.insert("published", Node::text(published, at));
    }
    map.insert(
        "protocol",
        Node::text(mapping.container.protocol.name(), at),
    );
    Node::map(map, at)
}

/// `external: {name: x}`, the old form of `external: true` and `name: x`.
fn external(node: &mut Node) -> Step<()> {
    let Some(resource) = node.as_map_mut() else {
        return Ok(());
    };
    let Some(Value::Map(old)) = resource.get("external").map(|node| &node.value) else {
        return Ok(());
    };
    let old_name = old.get("name").cloned();
    let at = resource
        .get("external")
        .map_or(Mark::default(), |node| node.at);
    resource.insert("external", Node::boolean(true, at));
    if let Some(old_name) = old_name {
        match resource.text("name") {
            Some(name) if Some(name) != old_name.as_text() => {
                return Err(Fault::at(
                    at,
                    "name and external.name conflict; only use name",
                ));
            }
            Some(_) => {}
            None => resource.insert("name", old_name),
        }
    }
    Ok(())
}

/// Fills in what is left out.
pub(crate) fn set_defaults(node: &mut Node, path: Path<'_>) {
    if path.is_deep() {
        return;
    }
    let at = node.at;
    if let (keys, Some(map)) = (path.keys(), node.as_map_mut()) {
        let mut put = |key: &str, value: Value| {
            if !map.has(key) {
                map.insert(key, Node::new(value, at));
            }
        };
        let text = |text: &str| Value::Text(text.to_owned());
        match keys {
            ["services", _, "build"] => return put("context", text(".")),
            ["services", _, "ports", _] => {
                put("protocol", text("tcp"));
                return put("mode", text("ingress"));
            }
            ["services", _, "volumes", _, "bind"] => {
                return put("create_host_path", Value::Bool(true));
            }
            ["services", _, "gpus", _]
            | [
                "services",
                _,
                "deploy",
                "resources",
                "reservations",
                "devices",
                _,
            ] => {
                if !map.has("count") && !map.has("device_ids") {
                    map.insert("count", Node::text("all", at));
                }
                return;
            }
            ["services", _, "secrets", _] => {
                let source = map.text("source").unwrap_or_default();
                let target = format!("/run/secrets/{source}");
                if !map.has("target") {
                    map.insert("target", Node::text(target, at));
                }
                return;
            }
            _ => {}
        }
    }
    match &mut node.value {
        Value::Map(map) => map
            .iter_mut()
            .for_each(|(key, node)| set_defaults(node, path.next(key))),
        Value::List(list) => list
            .iter_mut()
            .for_each(|node| set_defaults(node, path.next("[]"))),
        _ => {}
    }
}

/// What the schema cannot say.
pub(crate) fn validate(node: &Node, path: Path<'_>) -> Step<()> {
    if path.is_deep() {
        return Ok(());
    }
    if let Some(map) = node.as_map() {
        match path.keys() {
            ["volumes", _] => return validate_external(map, path),
            ["configs", _] => {
                return validate_source(node, map, path, &["file", "environment", "content"]);
            }
            ["secrets", _] => return validate_source(node, map, path, &["file", "environment"]),
            ["services", _, "ports", _] => return validate_address(map),
            ["services", _, "gpus", _]
            | [
                "services",
                _,
                "deploy",
                "resources",
                "reservations",
                "devices",
                _,
            ] => {
                if map.has("count") && map.has("device_ids") {
                    let text = "\"count\" and \"device_ids\" attributes are exclusive";
                    return Err(Fault::at(node.at, text));
                }
                return Ok(());
            }
            _ => {}
        }
    }
    if matches!(path.keys(), ["services", _, "develop", "watch", _, "path"])
        && node.as_text() == Some("")
    {
        return Err(Fault::at(node.at, format!("{path}: value can't be blank")));
    }
    match &node.value {
        Value::Map(map) => map
            .iter()
            .try_for_each(|(key, node)| validate(node, path.next(key))),
        Value::List(list) => list
            .iter()
            .try_for_each(|node| validate(node, path.next("[]"))),
        _ => Ok(()),
    }
}

fn validate_external(map: &Map, path: Path<'_>) -> Step<()> {
    if !matches!(
        map.get("external").map(|node| &node.value),
        Some(Value::Bool(true))
    ) {
        return Ok(());
    }
    for (key, node) in map.iter() {
        if !matches!(key, "name" | "external") && !key.starts_with("x-") {
            let text = format!("{path}: conflicting parameters \"external\" and {key:?} specified");
            return Err(Fault::at(node.at, text));
        }
    }
    Ok(())
}

fn validate_source(node: &Node, map: &Map, path: Path<'_>, keys: &[&str]) -> Step<()> {
    let names = keys.join("|");
    match keys.iter().filter(|key| map.has(key)).count() {
        0 if !map.has("driver") && !map.has("external") => Err(Fault::at(
            node.at,
            format!("{path}: one of {names} must be set"),
        )),
        0 | 1 => Ok(()),
        _ => Err(Fault::at(
            node.at,
            format!("{path}: {names} attributes are mutually exclusive"),
        )),
    }
}

fn validate_address(map: &Map) -> Step<()> {
    match map.get("host_ip") {
        Some(node)
            if node
                .as_text()
                .is_none_or(|ip| ip.parse::<std::net::IpAddr>().is_err()) =>
        {
            let ip = node.scalar_text().unwrap_or_default();
            Err(Fault::at(node.at, format!("invalid ip address: {ip}")))
        }
        _ => Ok(()),
    }
}

/// Empty name servers say nothing.
pub(crate) fn omit_empty(root: &mut Map) {
    let Some(services) = root.get_mut("services").and_then(Node::as_map_mut) else {
        return;
    };
    for (_, service) in services.iter_mut() {
        if let Some(Value::List(dns)) = service
            .as_map_mut()
            .and_then(|service| service.get_mut("dns"))
            .map(|node| &mut node.value)
        {
            dns.retain(|node| !node.is_null() && node.as_text() != Some(""));
        }
    }
}
