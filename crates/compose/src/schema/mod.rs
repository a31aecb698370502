//! The schema of the Compose specification: which keys there are and what they take.
//!
//! `compose-spec.json` is the specification's own JSON schema without its descriptions. The part
//! of JSON Schema that it uses is checked here, against trees with positions, so that an error
//! points at the line and an unknown key is told its nearest neighbour.

use std::sync::OnceLock;

use serde_json::Value as Json;

use crate::error::{Fault, Mark, Step};
use crate::tree::{Map, Node, Value};

const TEXT: &str = include_str!("compose-spec.json");

fn schema() -> &'static Json {
    static SCHEMA: OnceLock<Json> = OnceLock::new();
    SCHEMA.get_or_init(|| serde_json::from_str(TEXT).expect("invariant: our schema is JSON"))
}

/// Checks a merged tree.
pub(crate) fn validate(root: &Node) -> Step<()> {
    let mut path = Vec::new();
    check(root, schema(), &mut path).map_err(Problem::into_fault)
}

/// Why a value does not fit, and how deep in the tree: of several reasons the deepest is told.
struct Problem {
    depth: usize,
    at: Mark,
    path: String,
    reason: Reason,
}

enum Reason {
    Kinds(Vec<&'static str>),
    Unknown { key: String, near: Option<String> },
    Other(String),
}

impl Problem {
    fn into_fault(self) -> Fault {
        let path = self.path;
        match self.reason {
            Reason::Kinds(mut kinds) => {
                kinds.sort_unstable();
                kinds.dedup();
                let last = kinds.pop().unwrap_or_default();
                let kinds = match kinds.len() {
                    0 => last.to_owned(),
                    _ => format!("{} or {last}", kinds.join(", ")),
                };
                Fault::at(self.at, format!("{path} must be a {kinds}"))
            }
            Reason::Unknown { key, near } => {
                let text = format!("{path} additional properties '{key}' not allowed");
                let fault = Fault::at(self.at, text.trim_start().to_owned());
                match near {
                    Some(near) => fault.with_hint(format!("did you mean `{near}`?")),
                    None => fault,
                }
            }
            Reason::Other(text) => Fault::at(self.at, format!("{path} {text}")),
        }
    }

    fn specificity(&self) -> usize {
        self.depth + usize::from(matches!(self.reason, Reason::Unknown { .. }))
    }
}

fn problem(at: Mark, path: &[String], reason: Reason) -> Problem {
    Problem {
        depth: path.len(),
        at,
        path: path.join("."),
        reason,
    }
}

fn check(node: &Node, schema: &'static Json, path: &mut Vec<String>) -> Result<(), Problem> {
    if let Some(reference) = schema["$ref"].as_str() {
        let name = reference.rsplit('/').next().unwrap_or_default();
        return check(node, &self::schema()["definitions"][name], path);
    }
    if let Some(alternatives) = schema["oneOf"].as_array() {
        check_alternatives(node, alternatives, path)?;
    }
    check_kind(node, schema, path)?;
    match &node.value {
        Value::Map(map) => check_map(node, map, schema, path),
        Value::List(list) => check_list(list, schema, path),
        Value::Text(text) => check_text(node, text, schema, path),
        Value::Int(_) | Value::Float(_) => check_number(node, schema, path),
        _ => Ok(()),
    }
}

fn check_alternatives(
    node: &Node,
    alternatives: &'static [Json],
    path: &mut Vec<String>,
) -> Result<(), Problem> {
    let mut worst: Option<Problem> = None;
    for alternative in alternatives {
        let Err(found) = check(node, alternative, path) else {
            return Ok(());
        };
        worst = Some(match worst {
            Some(known) if known.specificity() > found.specificity() => known,
            Some(known) if known.specificity() == found.specificity() => both(known, found),
            _ => found,
        });
    }
    worst.map_or(Ok(()), Err)
}

/// Two reasons of the same depth: kinds add up, and what is wrong with one of the right kind says more;
/// else the first is told.
fn both(mut known: Problem, found: Problem) -> Problem {
    if known.path != found.path {
        return known;
    }
    match (&mut known.reason, found.reason) {
        (Reason::Kinds(kinds), Reason::Kinds(more)) => kinds.extend(more),
        (Reason::Kinds(_), more) => known.reason = more,
        _ => {}
    }
    known
}

fn check_kind(node: &Node, schema: &'static Json, path: &[String]) -> Result<(), Problem> {
    let kinds: Vec<&'static str> = match &schema["type"] {
        Json::String(kind) => vec![kind.as_str()],
        Json::Array(kinds) => kinds.iter().filter_map(Json::as_str).collect(),
        _ => return Ok(()),
    };
    let fits = kinds.iter().any(|kind| match (*kind, &node.value) {
        ("integer", Value::Float(value)) => value.fract() == 0.0,
        ("object", Value::Map(_))
        | ("array", Value::List(_))
        | ("string", Value::Text(_))
        | ("boolean", Value::Bool(_))
        | ("null", Value::Null)
        | ("integer" | "number", Value::Int(_))
        | ("number", Value::Float(_)) => true,
        _ => false,
    });
    if fits {
        return Ok(());
    }
    let named = |kind| if kind == "object" { "mapping" } else { kind };
    let kinds = kinds.into_iter().map(named).collect();
    Err(problem(node.at, path, Reason::Kinds(kinds)))
}

fn check_map(
    node: &Node,
    map: &Map,
    schema: &'static Json,
    path: &mut Vec<String>,
) -> Result<(), Problem> {
    for required in schema["required"].as_array().into_iter().flatten() {
        let required = required.as_str().unwrap_or_default();
        if !map.has(required) {
            let text = format!("missing property '{required}'");
            return Err(problem(node.at, path, Reason::Other(text)));
        }
    }
    let mut worst: Option<Problem> = None;
    for (key, entry) in &map.0 {
        path.push(key.clone());
        let result = match property(schema, key) {
            Property::Known(schema) => check(&entry.node, schema, path),
            Property::Free => Ok(()),
            Property::Unknown => {
                path.pop();
                let near = nearest(key, schema);
                let key = key.clone();
                let found = problem(entry.key_at, path, Reason::Unknown { key, near });
                path.push(String::new());
                Err(found)
            }
        };
        path.pop();
        if let Err(found) = result
            && worst
                .as_ref()
                .is_none_or(|known| known.specificity() < found.specificity())
        {
            worst = Some(found);
        }
    }
    worst.map_or(Ok(()), Err)
}

enum Property {
    Known(&'static Json),
    Free,
    Unknown,
}

fn property(schema: &'static Json, key: &str) -> Property {
    if let Some(known) = schema["properties"].get(key) {
        return Property::Known(known);
    }
    let patterns = schema["patternProperties"].as_object();
    for (pattern, schema) in patterns.into_iter().flatten() {
        if key_matches(pattern, key) {
            return Property::Known(schema);
        }
    }
    match &schema["additionalProperties"] {
        Json::Bool(false) => Property::Unknown,
        other @ Json::Object(_) => Property::Known(other),
        _ => Property::Free,
    }
}

fn key_matches(pattern: &str, key: &str) -> bool {
    match pattern {
        "^x-" => key.starts_with("x-"),
        ".+" | "^.+$" => !key.is_empty(),
        "^[a-z]+$" => !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_lowercase()),
        "^[a-zA-Z0-9._-]+$" => {
            let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
            !key.is_empty() && key.bytes().all(is_name)
        }
        _ => true,
    }
}

fn check_list(list: &[Node], schema: &'static Json, path: &mut Vec<String>) -> Result<(), Problem> {
    let items = &schema["items"];
    let is_unique = schema["uniqueItems"].as_bool() == Some(true);
    let mut seen = std::collections::BTreeMap::new();
    for (index, node) in list.iter().enumerate() {
        path.push(index.to_string());
        let result = if items.is_null() {
            Ok(())
        } else {
            check(node, items, path)
        };
        path.pop();
        result?;
        let Some(text) = node.scalar_text().filter(|_| is_unique) else {
            continue;
        };
        if let Some(first) = seen.insert((node.kind(), text), index) {
            let text = format!("items at {first} and {index} are equal");
            return Err(problem(node.at, path, Reason::Other(text)));
        }
    }
    Ok(())
}

fn check_text(
    node: &Node,
    text: &str,
    schema: &'static Json,
    path: &[String],
) -> Result<(), Problem> {
    if let Some(allowed) = schema["enum"].as_array()
        && !allowed.iter().any(|value| value == text)
    {
        let allowed: Vec<&str> = allowed.iter().filter_map(Json::as_str).collect();
        let text = format!("must be one of {}, not {text:?}", allowed.join(", "));
        return Err(problem(node.at, path, Reason::Other(text)));
    }
    if let Some(pattern) = schema["pattern"].as_str()
        && !text_matches(pattern, text)
    {
        let text = format!("does not match pattern '{pattern}'");
        return Err(problem(node.at, path, Reason::Other(text)));
    }
    if schema["format"] == "duration" && types::units::parse_duration(text).is_err() {
        return Err(problem(
            node.at,
            path,
            Reason::Other("is not a valid duration".to_owned()),
        ));
    }
    Ok(())
}

/// The two patterns for texts, which need to match somewhere only.
fn text_matches(pattern: &str, text: &str) -> bool {
    if pattern.starts_with("always|") {
        let words = pattern
            .split('|')
            .filter(|word| !word.starts_with("every_"));
        let is_period = |rest: &str| {
            let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
            digits > 0 && rest[digits..].starts_with(['w', 'd', 'h', 'm', 's'])
        };
        return words.into_iter().any(|word| text.contains(word))
            || text.split("every_").skip(1).any(is_period);
    }
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    text.as_bytes()
        .windows(2)
        .any(|pair| pair[0].is_ascii_alphanumeric() && is_name(pair[1]))
}

fn check_number(node: &Node, schema: &'static Json, path: &[String]) -> Result<(), Problem> {
    let value = match node.value {
        Value::Int(value) => value as f64,
        Value::Float(value) => value,
        _ => return Ok(()),
    };
    let limit = |name: &str| schema[name].as_f64();
    let text = match (limit("minimum"), limit("maximum")) {
        (Some(least), _) if value < least => format!("must be greater than or equal to {least}"),
        (_, Some(most)) if value > most => format!("must be less than or equal to {most}"),
        _ => return Ok(()),
    };
    Err(problem(node.at, path, Reason::Other(text)))
}

/// The known key that an unknown one was probably meant to be.
fn nearest(key: &str, schema: &'static Json) -> Option<String> {
    let known = schema["properties"].as_object()?.keys();
    let near = known
        .map(|name| (distance(key, name), name))
        .min_by_key(|(distance, _)| *distance)?;
    (near.0 <= (key.len() / 3).clamp(1, 3)).then(|| near.1.clone())
}

/// How many letters must be put in, left out, changed or swapped.
pub(crate) fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (
        a.to_lowercase().chars().take(64).collect(),
        b.to_lowercase().chars().take(64).collect(),
    );
    let mut rows = vec![vec![0; b.len() + 1]; a.len() + 1];
    for i in 0..=a.len() {
        for j in 0..=b.len() {
            rows[i][j] = if i == 0 || j == 0 {
                i + j
            } else {
                let change = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
                let mut best = change.min(rows[i - 1][j] + 1).min(rows[i][j - 1] + 1);
                if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                    best = best.min(rows[i - 2][j - 2] + 1);
                }
                best
            };
        }
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(text: &str) -> Fault {
        let tree = crate::yaml::parse(text, 0).unwrap();
        validate(&tree[0]).unwrap_err()
    }

    #[test]
    fn an_unknown_key_is_told_its_neighbour_and_its_place() {
        let fault = fault("services:\n  web:\n    image: a\n    enviroment: {}\n");
        assert_eq!(
            fault.text,
            "services.web additional properties 'enviroment' not allowed"
        );
        assert_eq!(fault.hint.unwrap(), "did you mean `environment`?");
        let at = fault.at.unwrap();
        assert_eq!((at.line, at.column), (4, 5));
        assert_eq!(distance("prots", "ports"), 1);
    }

    #[test]
    fn wrong_kinds_are_told_with_the_right_ones() {
        let text = |source: &str| fault(source).text;
        assert_eq!(text("services: []"), "services must be a mapping");
        assert_eq!(text("services: {a: null}"), "services.a must be a mapping");
        assert_eq!(
            text("services: {a: {image: 3}}"),
            "services.a.image must be a string"
        );
        assert_eq!(
            text("services: {a: {command: {}}}"),
            "services.a.command must be a array, null or string"
        );
        assert_eq!(
            text("services: {a: {oom_score_adj: 5000}}"),
            "services.a.oom_score_adj must be less than or equal to 1000"
        );
        assert_eq!(
            text("services: {a: {pull_policy: sometimes}}")
                .split(" '")
                .next()
                .unwrap(),
            "services.a.pull_policy does not match pattern"
        );
    }

    #[test]
    fn every_pattern_of_the_schema_is_known() {
        fn visit(json: &Json) {
            if let Some(patterns) = json["patternProperties"].as_object() {
                for pattern in patterns.keys() {
                    let known = ["^x-", ".+", "^.+$", "^[a-z]+$", "^[a-zA-Z0-9._-]+$"];
                    assert!(known.contains(&pattern.as_str()), "{pattern}");
                }
            }
            match json {
                Json::Object(map) => map.values().for_each(visit),
                Json::Array(list) => list.iter().for_each(visit),
                _ => {}
            }
        }
        visit(schema());
    }
}
