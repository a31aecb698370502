//! Docker Engine documents: the only place that knows Docker's JSON.
//!
//! Values of ours go in, documents with Docker's members in Docker's order come out, `null` where
//! Docker has `null` and `[]` where it has `[]` (engine 28.2, API 1.50). The command line prints
//! them for `inspect`, the Engine API will send them.

pub mod container_inspect;
pub mod encode;
pub mod host_config;
pub mod image_inspect;

use std::collections::BTreeMap;

use serde_json::{Map, Value};

/// Docker's zero time.
pub const ZERO_TIME: &str = "0001-01-01T00:00:00Z";

/// The time, or Docker's zero time when it is empty.
fn time_or_zero(text: &str) -> Value {
    Value::from(if text.is_empty() { ZERO_TIME } else { text })
}

/// A list, `null` when empty: what Go makes of a slice that nothing was appended to.
fn list_or_null(items: &[String]) -> Value {
    if items.is_empty() {
        Value::Null
    } else {
        Value::from(items)
    }
}

fn string_map(entries: &BTreeMap<String, String>) -> Value {
    entries
        .iter()
        .map(|(key, value)| (key.clone(), Value::from(value.as_str())))
        .collect()
}

/// A set as Go keeps it: `{"80/tcp": {}}`.
fn set<'a>(keys: impl IntoIterator<Item = &'a String>) -> Value {
    let mut keys: Vec<&String> = keys.into_iter().collect();
    keys.sort();
    keys.into_iter()
        .map(|key| (key.clone(), Value::Object(Map::new())))
        .collect()
}

/// Builds an object in order, leaving members out on condition (Go's `omitempty`).
#[derive(Default)]
struct Members(Map<String, Value>);

impl Members {
    fn add(&mut self, name: &str, value: impl Into<Value>) -> &mut Self {
        self.0.insert(name.to_owned(), value.into());
        self
    }

    /// Adds the member unless it is empty: null, false, 0, "", [] or {}.
    fn add_filled(&mut self, name: &str, value: impl Into<Value>) -> &mut Self {
        let value = value.into();
        let is_empty = match &value {
            Value::Null | Value::Bool(false) => true,
            Value::Number(number) => number.as_i64() == Some(0),
            Value::String(text) => text.is_empty(),
            Value::Array(items) => items.is_empty(),
            Value::Object(members) => members.is_empty(),
            Value::Bool(true) => false,
        };
        if is_empty {
            self
        } else {
            self.add(name, value)
        }
    }

    fn build(&mut self) -> Value {
        Value::Object(std::mem::take(&mut self.0))
    }
}
