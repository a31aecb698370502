//! How a later file changes an earlier one.

use crate::error::{Fault, Step};
use crate::tree::{Entry, Map, Node, Path, Value};

/// Merges `over` into `base`, both standing at `path`.
pub(crate) fn merge(base: Node, over: Node, path: Path<'_>) -> Step<Node> {
    match path.keys() {
        ["services", _, "command" | "entrypoint"] | ["services", _, "healthcheck", "test"] => {
            Ok(over)
        }
        ["services", _, "ulimits", _] => Ok(over),
        ["networks", _, "ipam", "config"] => merge_pools(base, over, path),
        ["networks" | "volumes", _, "labels"]
        | [
            "services",
            _,
            "annotations" | "dns" | "dns_opt" | "dns_search" | "env_file" | "label_file"
            | "environment" | "labels" | "sysctls" | "tmpfs",
        ]
        | [
            "services",
            _,
            "build",
            "args" | "additional_contexts" | "labels",
        ]
        | ["services", _, "deploy", "labels"]
        | ["services", _, "volumes", _, "volume", "labels"] => Ok(append(base, over)),
        ["services", _, "extra_hosts"] | ["services", _, "build", "extra_hosts"] => {
            Ok(append_new(base, over))
        }
        ["services", _, "build"] => merge_mappings(to_build(base), to_build(over), path),
        ["services", _, "depends_on"] => {
            merge_mappings(to_dependencies(base)?, to_dependencies(over)?, path)
        }
        ["services", _, "models" | "networks"] => {
            merge_mappings(to_mapping(base)?, to_mapping(over)?, path)
        }
        ["services", _, "logging"] => merge_logging(base, over, path),
        _ => merge_plain(base, over, path),
    }
}

fn merge_plain(base: Node, over: Node, path: Path<'_>) -> Step<Node> {
    if over.is_null() {
        return Ok(base);
    }
    match (base.value, over.value) {
        (Value::Map(base_map), Value::Map(over_map)) => {
            merge_maps(base_map, over_map, path).map(|map| Node::map(map, base.at))
        }
        (Value::List(mut list), Value::List(more)) => {
            list.extend(more);
            Ok(Node::new(Value::List(list), base.at))
        }
        (Value::Map(_) | Value::List(_), value) => {
            let kind = Node::new(value, over.at).kind();
            Err(Fault::at(
                over.at,
                format!("cannot override {path} with a {kind}"),
            ))
        }
        (_, value) => Ok(Node::new(value, over.at)),
    }
}

fn merge_mappings(base: Node, over: Node, path: Path<'_>) -> Step<Node> {
    let at = base.at;
    match (base.value, over.value) {
        (Value::Map(base), Value::Map(over)) => {
            merge_maps(base, over, path).map(|map| Node::map(map, at))
        }
        (base, Value::Null) => Ok(Node::new(base, at)),
        (Value::Null, value) => Ok(Node::new(value, over.at)),
        _ => Err(Fault::at(
            over.at,
            format!("cannot override {path}: not a mapping"),
        )),
    }
}

fn merge_maps(mut base: Map, over: Map, path: Path<'_>) -> Step<Map> {
    for (key, entry) in over.0 {
        match base.0.remove(&key) {
            None => {
                base.0.insert(key, entry);
            }
            Some(old) => {
                let key_at = entry.key_at;
                let node = merge(old.node, entry.node, path.next(&key))?;
                base.0.insert(key, Entry { key_at, node });
            }
        }
    }
    Ok(base)
}

/// A mapping as a list of `key=value`, a text as a list of one.
fn to_sequence(node: Node) -> Vec<Node> {
    match node.value {
        Value::List(list) => list,
        Value::Text(text) => vec![Node::text(text, node.at)],
        Value::Map(map) => {
            let mut list: Vec<Node> = Vec::new();
            for (key, entry) in map.0 {
                let at = entry.node.at;
                match &entry.node.value {
                    Value::Null => list.push(Node::text(key, at)),
                    Value::List(values) => list.extend(values.iter().map(|value| {
                        let value_text = value.scalar_text().unwrap_or_default();
                        Node::text(format!("{key}={value_text}"), value.at)
                    })),
                    _ => {
                        let value = entry.node.scalar_text().unwrap_or_default();
                        list.push(Node::text(format!("{key}={value}"), at));
                    }
                }
            }
            list.sort_by(|a, b| a.as_text().cmp(&b.as_text()));
            list
        }
        _ => Vec::new(),
    }
}

fn append(base: Node, over: Node) -> Node {
    let at = base.at;
    let mut list = to_sequence(base);
    list.extend(to_sequence(over));
    Node::new(Value::List(list), at)
}

fn append_new(base: Node, over: Node) -> Node {
    let at = base.at;
    let mut list = to_sequence(base);
    for node in to_sequence(over) {
        if !list.iter().any(|known| known.as_text() == node.as_text()) {
            list.push(node);
        }
    }
    Node::new(Value::List(list), at)
}

fn to_build(node: Node) -> Node {
    match node.value {
        Value::Text(text) => {
            let mut map = Map::default();
            map.insert("context", Node::text(text, node.at));
            Node::map(map, node.at)
        }
        value => Node::new(value, node.at),
    }
}

/// A list of names as a mapping of them to nothing.
pub(crate) fn to_mapping(node: Node) -> Step<Node> {
    list_to_mapping(node, Node::null)
}

fn to_dependencies(node: Node) -> Step<Node> {
    list_to_mapping(node, started)
}

/// The long form of a dependency that was only named.
pub(crate) fn started(at: crate::error::Mark) -> Node {
    let mut map = Map::default();
    map.insert("condition", Node::text("service_started", at));
    map.insert("required", Node::boolean(true, at));
    Node::map(map, at)
}

/// A list of names as a mapping of them to what `make` makes.
pub(crate) fn list_to_mapping(node: Node, make: fn(crate::error::Mark) -> Node) -> Step<Node> {
    match node.value {
        Value::List(list) => {
            let mut map = Map::default();
            for item in list {
                match item.value {
                    Value::Text(name) => map.insert(name, make(item.at)),
                    _ => {
                        return Err(Fault::at(
                            item.at,
                            format!("expected a name, not a {}", item.kind()),
                        ));
                    }
                }
            }
            Ok(Node::map(map, node.at))
        }
        value => Ok(Node::new(value, node.at)),
    }
}

/// Options of one driver mean nothing to another.
fn merge_logging(base: Node, over: Node, path: Path<'_>) -> Step<Node> {
    let driver = |node: &Node| node.as_map()?.text("driver").map(str::to_owned);
    match (driver(&base), driver(&over)) {
        (Some(ours), Some(theirs)) if ours != theirs => Ok(over),
        _ => merge_mappings(base, over, path),
    }
}

/// Pools of the same subnet are one; the others stand beside each other.
fn merge_pools(base: Node, over: Node, path: Path<'_>) -> Step<Node> {
    let at = base.at;
    let (Value::List(pools), Value::List(changes)) = (base.value, over.value) else {
        return Err(Fault::at(over.at, format!("{path} must be a list")));
    };
    let subnet = |node: &Node| {
        node.as_map()
            .and_then(|map| map.text("subnet"))
            .map(str::to_owned)
    };
    let mut merged: Vec<Node> = Vec::new();
    for pool in pools {
        for change in &changes {
            if subnet(change) != subnet(&pool)
                && !merged.iter().any(|known| subnet(known) == subnet(change))
            {
                merged.push(change.clone());
                continue;
            }
            let both = merge_mappings(pool.clone(), change.clone(), path)?;
            match merged
                .iter_mut()
                .find(|known| subnet(known) == subnet(&both))
            {
                Some(known) => *known = both,
                None => merged.push(both),
            }
        }
    }
    Ok(Node::new(Value::List(merged), at))
}

/// Of entries that mean the same thing, the last one stays, in the place of the first.
pub(crate) fn keep_last(node: &mut Node, path: Path<'_>) -> Step<()> {
    if path.is_deep() {
        return Ok(());
    }
    let indexer = indexer(path);
    match &mut node.value {
        Value::Map(map) => map
            .iter_mut()
            .try_for_each(|(key, node)| keep_last(node, path.next(key))),
        Value::List(list) => {
            let Some(indexer) = indexer else {
                return Ok(());
            };
            let mut kept: Vec<(String, Node)> = Vec::with_capacity(list.len());
            let mut places = std::collections::HashMap::with_capacity(list.len());
            for entry in std::mem::take(list) {
                let key = indexer(&entry)?;
                let place = *places.entry(key.clone()).or_insert(kept.len());
                match kept.get_mut(place) {
                    Some(known) => known.1 = entry,
                    None => kept.push((key, entry)),
                }
            }
            *list = kept.into_iter().map(|(_, node)| node).collect();
            Ok(())
        }
        _ => Ok(()),
    }
}

type Indexer = fn(&Node) -> Step<String>;

fn indexer(path: Path<'_>) -> Option<Indexer> {
    Some(match path.keys() {
        ["services", _, "devices"] => device_key,
        ["services", _, "volumes"] => volume_key,
        ["services", _, "ports"] => port_key,
        ["services", _, "expose"] => expose_key,
        ["services", _, "env_file"] => env_file_key,
        ["services", _, "configs"] => |node| mount_key(node, ""),
        ["services", _, "secrets"] => |node| mount_key(node, "/run/secrets"),
        ["networks", _, "labels"]
        | ["networks", _, "ipam", "options"]
        | [
            "services",
            _,
            "annotations" | "cap_add" | "cap_drop" | "dns" | "dns_opt" | "dns_search"
            | "environment" | "labels" | "links" | "profiles" | "sysctls" | "tmpfs",
        ]
        | [
            "services",
            _,
            "build",
            "args" | "additional_contexts" | "platform" | "tags" | "labels",
        ]
        | ["services", _, "deploy", "labels"]
        | ["services", _, "networks", _, "aliases" | "link_local_ips"] => key_of_pair,
        _ => return None,
    })
}

fn key_of_pair(node: &Node) -> Step<String> {
    match node.as_text() {
        Some(text) => Ok(text.split('=').next().unwrap_or_default().to_owned()),
        None => Err(Fault::at(
            node.at,
            format!("must be a string, not a {}", node.kind()),
        )),
    }
}

fn volume_key(node: &Node) -> Step<String> {
    match &node.value {
        Value::Map(map) => match map.text("target") {
            Some(target) => Ok(target.to_owned()),
            None => Err(Fault::at(
                node.at,
                "a service's volume is missing a mount target",
            )),
        },
        Value::Text(text) => types::volume_flag::ShortVolume::parse(text)
            .map(|volume| volume.target)
            .map_err(|error| Fault::at(node.at, error.to_string())),
        _ => Ok(String::new()),
    }
}

fn device_key(node: &Node) -> Step<String> {
    match &node.value {
        Value::Map(map) => match map.text("target") {
            Some(target) => Ok(target.to_owned()),
            None => Err(Fault::at(node.at, "a service's device is missing a target")),
        },
        Value::Text(text) => {
            let mut parts = text.split(':');
            let source = parts.next().unwrap_or_default();
            Ok(parts.next().unwrap_or(source).to_owned())
        }
        _ => Ok(String::new()),
    }
}

fn port_key(node: &Node) -> Step<String> {
    match &node.value {
        Value::Map(map) => {
            let part = |key: &str, default: &str| {
                let value = map.get(key).and_then(Node::scalar_text);
                value.unwrap_or_else(|| default.to_owned())
            };
            if !map.has("target") {
                return Err(Fault::at(
                    node.at,
                    "a service's port is missing a target port",
                ));
            }
            Ok(format!(
                "{}:{}:{}/{}",
                part("host_ip", "0.0.0.0"),
                part("published", ""),
                part("target", ""),
                part("protocol", "tcp")
            ))
        }
        _ => Ok(node.scalar_text().unwrap_or_default()),
    }
}

fn expose_key(node: &Node) -> Step<String> {
    match node.value {
        Value::Text(_) | Value::Int(_) => Ok(node.scalar_text().unwrap_or_default()),
        _ => Err(Fault::at(node.at, "unsupported expose value")),
    }
}

fn env_file_key(node: &Node) -> Step<String> {
    match &node.value {
        Value::Map(map) => match map.text("path") {
            Some(path) => Ok(path.to_owned()),
            None => Err(Fault::at(node.at, "an env_file is missing its path")),
        },
        _ => Ok(node.scalar_text().unwrap_or_default()),
    }
}

fn mount_key(node: &Node, folder: &str) -> Step<String> {
    match &node.value {
        Value::Text(name) => Ok(format!("{folder}/{name}")),
        Value::Map(map) => match map.text("target") {
            Some(target) => Ok(target.to_owned()),
            None => Ok(format!(
                "{folder}/{}",
                map.text("source").unwrap_or_default()
            )),
        },
        _ => Err(Fault::at(
            node.at,
            format!("must be a string or a mapping, not a {}", node.kind()),
        )),
    }
}
