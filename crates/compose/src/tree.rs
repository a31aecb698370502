//! The tree that every file becomes: values with their places, and paths through them.

use std::collections::BTreeMap;

use crate::error::Mark;

/// A value and where it was written.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) value: Value,
    pub(crate) at: Mark,
    pub(crate) order: Order,
}

/// `!reset` and `!override`, until [`crate::reset`] has taken them off.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Order {
    /// No tag.
    #[default]
    None,
    /// `!reset`: whatever earlier files say here is forgotten.
    Reset,
    /// `!override`: this stands instead of what earlier files say.
    Override,
}

/// What YAML knows.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
    List(Vec<Node>),
    Map(Map),
}

/// A mapping in the order of its keys, each with its place.
#[derive(Clone, Debug, Default)]
pub(crate) struct Map(pub(crate) BTreeMap<String, Entry>);

/// A value under its key.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) key_at: Mark,
    pub(crate) node: Node,
}

impl Map {
    pub(crate) fn get(&self, key: &str) -> Option<&Node> {
        self.0.get(key).map(|entry| &entry.node)
    }

    pub(crate) fn get_mut(&mut self, key: &str) -> Option<&mut Node> {
        self.0.get_mut(key).map(|entry| &mut entry.node)
    }

    pub(crate) fn has(&self, key: &str) -> bool {
        self.0.contains_key(key)
    }

    /// The text under a key, if it is one.
    pub(crate) fn text(&self, key: &str) -> Option<&str> {
        self.get(key)?.as_text()
    }

    pub(crate) fn remove(&mut self, key: &str) -> Option<Node> {
        self.0.remove(key).map(|entry| entry.node)
    }

    pub(crate) fn insert(&mut self, key: impl Into<String>, node: Node) {
        let key_at = node.at;
        self.0.insert(key.into(), Entry { key_at, node });
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &Node)> {
        self.0
            .iter()
            .map(|(key, entry)| (key.as_str(), &entry.node))
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (&str, &mut Node)> {
        self.0
            .iter_mut()
            .map(|(key, entry)| (key.as_str(), &mut entry.node))
    }
}

impl Node {
    pub(crate) fn new(value: Value, at: Mark) -> Self {
        let order = Order::None;
        Self { value, at, order }
    }

    pub(crate) fn text(text: impl Into<String>, at: Mark) -> Self {
        Self::new(Value::Text(text.into()), at)
    }

    pub(crate) fn boolean(value: bool, at: Mark) -> Self {
        Self::new(Value::Bool(value), at)
    }

    pub(crate) fn null(at: Mark) -> Self {
        Self::new(Value::Null, at)
    }

    pub(crate) fn map(map: Map, at: Mark) -> Self {
        Self::new(Value::Map(map), at)
    }

    pub(crate) fn is_null(&self) -> bool {
        matches!(self.value, Value::Null)
    }

    pub(crate) fn as_text(&self) -> Option<&str> {
        match &self.value {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    pub(crate) fn as_map(&self) -> Option<&Map> {
        match &self.value {
            Value::Map(map) => Some(map),
            _ => None,
        }
    }

    pub(crate) fn as_map_mut(&mut self) -> Option<&mut Map> {
        match &mut self.value {
            Value::Map(map) => Some(map),
            _ => None,
        }
    }

    pub(crate) fn as_list(&self) -> Option<&[Node]> {
        match &self.value {
            Value::List(list) => Some(list),
            _ => None,
        }
    }

    /// A scalar in Go's words (`fmt.Sprint`), as Compose writes numbers into texts.
    pub(crate) fn scalar_text(&self) -> Option<String> {
        match &self.value {
            Value::Null => Some("<nil>".to_owned()),
            Value::Bool(value) => Some(value.to_string()),
            Value::Int(value) => Some(value.to_string()),
            Value::Float(value) => Some(go_float(*value)),
            Value::Text(text) => Some(text.clone()),
            Value::List(_) | Value::Map(_) => None,
        }
    }

    /// What a message calls this sort of value.
    pub(crate) fn kind(&self) -> &'static str {
        match self.value {
            Value::Null => "null",
            Value::Bool(_) => "boolean",
            Value::Int(_) => "integer",
            Value::Float(_) => "number",
            Value::Text(_) => "string",
            Value::List(_) => "list",
            Value::Map(_) => "mapping",
        }
    }
}

/// A number as Go's `%v` writes it: shortest, with an exponent below 1e-4 and from 1e21 on.
pub(crate) fn go_float(value: f64) -> String {
    if value.is_nan() {
        return "NaN".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    let size = value.abs();
    if size != 0.0 && !(1e-4..1e21).contains(&size) {
        let text = format!("{value:e}");
        let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        let (sign, digits) = match exponent.strip_prefix('-') {
            Some(digits) => ('-', digits),
            None => ('+', exponent),
        };
        return format!("{mantissa}e{sign}{digits:0>2}");
    }
    format!("{value}")
}

/// A path from the root, as far as any rule looks; entries of lists are called `[]`.
#[derive(Clone, Copy)]
pub(crate) struct Path<'a> {
    keys: [&'a str; PATH_KEYS_MAX],
    depth: usize,
}

/// No rule of Compose names a deeper path.
const PATH_KEYS_MAX: usize = 8;

impl<'a> Path<'a> {
    /// The root.
    pub(crate) fn root() -> Self {
        let keys = [""; PATH_KEYS_MAX];
        Self { keys, depth: 0 }
    }

    /// The path of something under this one.
    pub(crate) fn next(mut self, key: &'a str) -> Self {
        if let Some(slot) = self.keys.get_mut(self.depth) {
            *slot = key;
        }
        self.depth += 1;
        self
    }

    /// The keys, for rules to match; none where no rule reaches.
    pub(crate) fn keys(&self) -> &[&'a str] {
        self.keys.get(..self.depth).unwrap_or_default()
    }

    /// Whether no rule reaches what is below.
    pub(crate) fn is_deep(&self) -> bool {
        self.depth >= PATH_KEYS_MAX
    }
}

impl std::fmt::Display for Path<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let shown = &self.keys[..self.depth.min(PATH_KEYS_MAX)];
        formatter.write_str(&shown.join("."))?;
        if self.depth > PATH_KEYS_MAX {
            formatter.write_str(".…")?;
        }
        Ok(())
    }
}
