//! A project as text: what `config` prints, and the JSON that hashes are made of.

use serde::Serialize;
use serde_json::{Map, Value};

use crate::decode::EXTENSIONS;
use crate::model::Project;
use crate::tree::{self, Node};
use crate::yaml::emit;

/// The two forms of `config`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// YAML.
    Yaml,
    /// JSON, indented.
    Json,
}

/// A project as `config` prints it.
pub fn show(project: &Project, format: Format) -> String {
    let mut value = to_value(project);
    hide_secrets(&mut value);
    match format {
        Format::Json => {
            let extensions = take_extensions(&mut value);
            strip(&mut value);
            let mut root = Map::new();
            if let Value::Object(object) = value {
                root.extend(object);
            }
            root.extend(extensions);
            root.sort_keys();
            escape_html(&pretty(&Value::Object(root)))
        }
        Format::Yaml => {
            drop_unsaid(&mut value);
            inline(&mut value);
            emit::document(&value)
        }
    }
}

/// Any tree as text, keys sorted.
pub fn show_value(value: &Value, format: Format) -> String {
    match format {
        Format::Json => escape_html(&pretty(value)),
        Format::Yaml => emit::document(value),
    }
}

fn to_value(value: &impl Serialize) -> Value {
    serde_json::to_value(value).expect("invariant: a project is JSON")
}

fn pretty(value: &Value) -> String {
    serde_json::to_string_pretty(value).expect("invariant: a value is JSON")
}

/// JSON in several lines, the fields in their order, as Go writes it.
pub(crate) fn pretty_json(value: &impl Serialize) -> String {
    let text = serde_json::to_string_pretty(value).expect("invariant: a value is JSON");
    escape_html(&text)
}

/// JSON in one line, as Go's `encoding/json` writes it.
pub(crate) fn go_json(value: &impl Serialize) -> String {
    let mut value = to_value(value);
    strip(&mut value);
    escape_html(&value.to_string())
}

/// Go writes these as escapes, so that JSON can stand in HTML.
fn escape_html(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    for c in json.chars() {
        match c {
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                out.push_str(&format!("\\u{:04x}", c as u32));
            }
            c => out.push(c),
        }
    }
    out
}

/// What came from the environment is not shown.
fn hide_secrets(project: &mut Value) {
    for (section, always) in [("secrets", true), ("configs", false)] {
        let objects = project.get_mut(section).and_then(Value::as_object_mut);
        for (_, object) in objects.into_iter().flatten() {
            if let Some(object) = object.as_object_mut()
                && (always || object.contains_key("environment"))
            {
                object.remove("content");
            }
        }
    }
}

fn take_extensions(value: &mut Value) -> Map<String, Value> {
    match value
        .as_object_mut()
        .and_then(|map| map.shift_remove(EXTENSIONS))
    {
        Some(Value::Object(extensions)) => extensions,
        _ => Map::new(),
    }
}

/// Takes the extensions off everywhere: JSON does not show them.
fn strip(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.shift_remove(EXTENSIONS);
            map.iter_mut().for_each(|(_, value)| strip(value));
        }
        Value::Array(list) => list.iter_mut().for_each(strip),
        _ => {}
    }
}

/// Puts the extensions where they were written: behind the other keys.
fn inline(value: &mut Value) {
    match value {
        Value::Object(map) => {
            if let Some(Value::Object(extensions)) = map.shift_remove(EXTENSIONS) {
                map.extend(extensions);
            }
            map.iter_mut().for_each(|(_, value)| inline(value));
        }
        Value::Array(list) => list.iter_mut().for_each(inline),
        _ => {}
    }
}

/// What JSON shows as empty and YAML leaves out.
fn drop_unsaid(project: &mut Value) {
    let Some(project) = project.as_object_mut() else {
        return;
    };
    for section in [
        "services", "networks", "volumes", "secrets", "configs", "models",
    ] {
        if let Some(Value::Object(map)) = project.get_mut(section) {
            sort_naturally(map);
        }
    }
    for (_, network) in project
        .get_mut("networks")
        .and_then(Value::as_object_mut)
        .into_iter()
        .flatten()
    {
        drop_empty(network, "ipam");
    }
    for (_, service) in project
        .get_mut("services")
        .and_then(Value::as_object_mut)
        .into_iter()
        .flatten()
    {
        drop_null(service, "command");
        drop_null(service, "entrypoint");
        for key in MAPPINGS {
            if let Some(Value::Object(map)) = service.get_mut(key) {
                sort_naturally(map);
            }
        }
        if let Some(deploy) = service.get_mut("deploy") {
            drop_empty(deploy, "resources");
            drop_empty(deploy, "placement");
        }
        for hooks in ["pre_start", "post_start", "pre_stop"] {
            let hooks = service.get_mut(hooks).and_then(Value::as_array_mut);
            hooks
                .into_iter()
                .flatten()
                .for_each(|hook| drop_null(hook, "command"));
        }
        let watch = service
            .get_mut("develop")
            .and_then(|develop| develop.get_mut("watch"))
            .and_then(Value::as_array_mut);
        for trigger in watch.into_iter().flatten() {
            if let Some(exec) = trigger.get_mut("exec") {
                drop_null(exec, "command");
            }
            drop_empty(trigger, "exec");
        }
    }
}

/// A service's mappings whose keys the user chose.
const MAPPINGS: [&str; 8] = [
    "annotations",
    "depends_on",
    "environment",
    "labels",
    "networks",
    "storage_opt",
    "sysctls",
    "ulimits",
];

fn sort_naturally(map: &mut Map<String, Value>) {
    let mut pairs: Vec<(String, Value)> = std::mem::take(map).into_iter().collect();
    pairs.sort_by(|(a, _), (b, _)| emit::natural_order(a, b));
    map.extend(pairs);
}

fn drop_null(value: &mut Value, key: &str) {
    if let Some(map) = value.as_object_mut()
        && map.get(key).is_some_and(Value::is_null)
    {
        map.shift_remove(key);
    }
}

fn drop_empty(value: &mut Value, key: &str) {
    if let Some(map) = value.as_object_mut() {
        let is_empty = map
            .get(key)
            .and_then(Value::as_object)
            .is_some_and(Map::is_empty);
        if is_empty {
            map.shift_remove(key);
        }
    }
}

/// A tree as JSON.
pub(crate) fn tree_json(node: &Node) -> Value {
    match &node.value {
        tree::Value::Null => Value::Null,
        tree::Value::Bool(value) => Value::Bool(*value),
        tree::Value::Int(value) => Value::from(*value),
        tree::Value::Float(value) => Value::from(*value),
        tree::Value::Text(text) => Value::String(text.clone()),
        tree::Value::List(list) => Value::Array(list.iter().map(tree_json).collect()),
        tree::Value::Map(map) => {
            let pairs = map
                .iter()
                .map(|(key, node)| (key.to_owned(), tree_json(node)));
            Value::Object(pairs.collect())
        }
    }
}
