//! Variables in texts: `$NAME`, `${NAME}`, `${NAME:-default}`, `${NAME:?error}`, `${NAME:+other}`.
//!
//! Held to `corpus/golden/interpolation-golden.jsonl`. As in Docker Compose the words after an
//! operator are interpolated too, `$$` is a dollar, and a `$` before anything else stays.

use std::collections::BTreeMap;

use crate::error::{Fault, Step};
use crate::tree::{Node, Path, Value};

/// The longest text that an interpolation may make.
pub(crate) const TEXT_BYTES_MAX: usize = 4 << 20;
/// The most defaults within each other.
const NESTING_MAX: usize = 32;

/// Answers what a variable is.
pub(crate) trait Lookup {
    /// The value of a variable, if it is set.
    fn lookup(&self, name: &str) -> Option<&str>;
    /// Hears that a variable is missing and an empty text stands for it.
    fn missing(&self, _name: &str) {}
}

impl Lookup for BTreeMap<String, String> {
    fn lookup(&self, name: &str) -> Option<&str> {
        self.get(name).map(String::as_str)
    }
}

/// Why a text cannot be interpolated.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TemplateError {
    /// No variable where one must be.
    #[error("Invalid template: {0:?}")]
    Invalid(String),
    /// `${NAME:?reason}` without `NAME`.
    #[error("required variable {name} is missing a value{}{reason}", if reason.is_empty() { "" } else { ": " })]
    Required { name: String, reason: String },
    /// Defaults within defaults.
    #[error("more than {NESTING_MAX} variables within each other")]
    Nesting,
    /// A text that grew too much.
    #[error("the value is larger than {} MiB", TEXT_BYTES_MAX >> 20)]
    Size,
}

/// Replaces the variables of a text.
pub(crate) fn substitute(text: &str, env: &dyn Lookup) -> Result<String, TemplateError> {
    expand(text, env, 0)
}

fn expand(text: &str, env: &dyn Lookup, nesting: usize) -> Result<String, TemplateError> {
    if nesting > NESTING_MAX {
        return Err(TemplateError::Nesting);
    }
    let mut out = String::new();
    let mut rest = text;
    while let Some(index) = rest.find('$') {
        out.push_str(&rest[..index]);
        let after = &rest[index + 1..];
        if let Some(after) = after.strip_prefix('$') {
            out.push('$');
            rest = after;
        } else if let Some(inner) = after.strip_prefix('{') {
            let invalid = || TemplateError::Invalid(text.to_owned());
            let end = closing_brace(inner).ok_or_else(invalid)?;
            braced(&inner[..end], env, nesting, &mut out)?.ok_or_else(invalid)?;
            rest = &inner[end + 1..];
        } else {
            let name = name_at(after);
            if name.is_empty() {
                out.push('$');
            } else {
                plain(name, env, &mut out);
            }
            rest = &after[name.len()..];
        }
        if out.len() > TEXT_BYTES_MAX {
            return Err(TemplateError::Size);
        }
    }
    out.push_str(rest);
    Ok(out)
}

fn plain(name: &str, env: &dyn Lookup, out: &mut String) {
    match env.lookup(name) {
        Some(value) => out.push_str(value),
        None => env.missing(name),
    }
}

/// What stands between braces; none if that is no variable.
fn braced(
    inner: &str,
    env: &dyn Lookup,
    nesting: usize,
    out: &mut String,
) -> Result<Option<()>, TemplateError> {
    let name = name_at(inner);
    let operator = &inner[name.len()..];
    if name.is_empty() {
        return Ok(None);
    }
    if operator.is_empty() {
        plain(name, env, out);
        return Ok(Some(()));
    }
    let (minds_empty, operator) = match operator.strip_prefix(':') {
        Some(rest) => (true, rest),
        None => (false, operator),
    };
    let value = env.lookup(name);
    let is_there = value.is_some_and(|value| !minds_empty || !value.is_empty());
    let (sort, word) = match operator.chars().next() {
        Some(sort @ ('-' | '?' | '+')) => (sort, &operator[1..]),
        _ => return Ok(None),
    };
    match (sort, is_there) {
        ('-', false) | ('+', true) => out.push_str(&expand(word, env, nesting + 1)?),
        ('?', false) => {
            let reason = expand(word, env, nesting + 1)?;
            let name = name.to_owned();
            return Err(TemplateError::Required { name, reason });
        }
        _ => out.push_str(value.unwrap_or_default()),
    }
    Ok(Some(()))
}

/// The brace that ends a variable, those of variables inside it passed over.
fn closing_brace(text: &str) -> Option<usize> {
    let mut open = 1;
    let bytes = text.as_bytes();
    for (index, byte) in bytes.iter().enumerate() {
        match byte {
            b'{' => open += 1,
            b'}' => {
                open -= 1;
                if open == 0 {
                    return Some(index);
                }
            }
            _ => {}
        }
    }
    None
}

fn name_at(text: &str) -> &str {
    let is_name = |(index, c): (usize, char)| {
        c == '_' || c.is_ascii_alphabetic() || (index > 0 && c.is_ascii_digit())
    };
    let end = text
        .char_indices()
        .find(|item| !is_name(*item))
        .map_or(text.len(), |(index, _)| index);
    &text[..end]
}

/// A variable that files speak of, for `config --variables`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Variable {
    /// `:?` or `?` stands behind it.
    pub required: bool,
    /// What stands for it when it is missing.
    pub default: String,
    /// What stands for it when it is there.
    pub presence: String,
}

/// The variables of a text, with those inside their defaults.
pub(crate) fn variables(text: &str, found: &mut dyn FnMut(&str, Variable)) {
    let mut rest = text;
    while let Some(index) = rest.find('$') {
        let after = &rest[index + 1..];
        if let Some(after) = after.strip_prefix('$') {
            rest = after;
            continue;
        }
        let (inner, next) = match after.strip_prefix('{') {
            Some(inner) => match closing_brace(inner) {
                Some(end) => (&inner[..end], &inner[end + 1..]),
                None => return,
            },
            None => (name_at(after), &after[name_at(after).len()..]),
        };
        let name = name_at(inner);
        let operator = inner[name.len()..].trim_start_matches(':');
        let word = operator.get(1..).unwrap_or_default();
        let mut variable = Variable::default();
        match operator.chars().next() {
            Some('?') => variable.required = true,
            Some('-') => variable.default = word.to_owned(),
            Some('+') => variable.presence = word.to_owned(),
            _ => {}
        }
        if !name.is_empty() {
            found(name, variable);
            variables(word, found);
        }
        rest = next;
    }
}

/// Interpolates every text of a tree, and reads those that must be numbers or truths.
pub(crate) fn interpolate(node: &mut Node, path: Path<'_>, env: &dyn Lookup) -> Step<()> {
    let at = node.at;
    match &mut node.value {
        Value::Text(text) => {
            let mut new = None;
            if text.contains('$') {
                let replaced =
                    substitute(text, env).map_err(|error| fault(&error, path).or_at(at))?;
                new = Some(Value::Text(replaced));
            }
            let current = match &new {
                Some(Value::Text(text)) => text,
                _ => &*text,
            };
            if let Some(value) = cast(path, current) {
                new = Some(value.map_err(|why| {
                    let text = format!(
                        "error while interpolating {path}: failed to cast to expected type: {why}"
                    );
                    Fault::at(at, text)
                })?);
            }
            if let Some(value) = new {
                node.value = value;
            }
            Ok(())
        }
        Value::Map(map) => map
            .iter_mut()
            .try_for_each(|(key, node)| interpolate(node, path.next(key), env)),
        Value::List(list) => list
            .iter_mut()
            .try_for_each(|node| interpolate(node, path.next("[]"), env)),
        _ => Ok(()),
    }
}

fn fault(error: &TemplateError, path: Path<'_>) -> Fault {
    let text = match error {
        TemplateError::Invalid(text) => format!("invalid interpolation format for {path}: {text}"),
        error => format!("error while interpolating {path}: {error}"),
    };
    let fault = Fault::of_project(text);
    match error {
        TemplateError::Invalid(_) => fault.with_hint("write $$ for a dollar that is meant"),
        _ => fault,
    }
}

/// What a text becomes where numbers and truths belong; none where texts do.
fn cast(path: Path<'_>, text: &str) -> Option<Result<Value, String>> {
    let integer = || {
        text.parse()
            .map(Value::Int)
            .map_err(|_| format!("invalid number: {text:?}"))
    };
    let float = || {
        text.parse()
            .map(Value::Float)
            .map_err(|_| format!("invalid number: {text:?}"))
    };
    Some(match path.keys() {
        [
            "services",
            _,
            "cpu_count" | "cpu_period" | "cpu_quota" | "cpu_rt_period" | "cpu_rt_runtime"
            | "cpu_shares" | "oom_score_adj" | "pids_limit" | "scale",
        ]
        | ["services", _, "deploy", "replicas"]
        | [
            "services",
            _,
            "deploy",
            "update_config" | "rollback_config",
            "parallelism",
        ]
        | ["services", _, "deploy", "restart_policy", "max_attempts"]
        | [
            "services",
            _,
            "deploy",
            "placement",
            "max_replicas_per_node",
        ]
        | ["services", _, "healthcheck", "retries"]
        | ["services", _, "ports", _, "target"]
        | ["services", _, "ulimits", _]
        | ["services", _, "ulimits", _, "hard" | "soft"] => integer(),
        ["services", _, "cpu_percent" | "cpus"]
        | [
            "services",
            _,
            "deploy",
            "update_config" | "rollback_config",
            "max_failure_ratio",
        ] => float(),
        [
            "services",
            _,
            "init" | "oom_kill_disable" | "privileged" | "read_only" | "stdin_open" | "tty",
        ]
        | ["services", _, "depends_on", _, "required" | "restart"]
        | ["services", _, "healthcheck", "disable"]
        | ["services", _, "volumes", _, "read_only"]
        | ["services", _, "volumes", _, "volume", "nocopy"]
        | [
            "networks",
            _,
            "external" | "internal" | "attachable" | "enable_ipv4" | "enable_ipv6",
        ]
        | ["volumes" | "secrets" | "configs", _, "external"] => boolean(text).map(Value::Bool),
        _ => return None,
    })
}

/// A truth in the words of YAML 1.1 and 1.2.
pub(crate) fn boolean(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "y" | "yes" | "on" => Ok(true),
        "false" | "n" | "no" | "off" => Ok(false),
        _ => Err(format!("invalid boolean: {text}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_recorded_answer_is_ours() {
        let env: BTreeMap<String, String> = [("A", "1"), ("EMPTY", ""), ("FOO", "foo bar")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into();
        for case in crate::corpus::read("interpolation-golden.jsonl") {
            let input = case["in"].as_str().unwrap();
            match (substitute(input, &env), case["error"].as_str()) {
                (Ok(out), None) => assert_eq!(case["out"], out, "{input}"),
                (Err(error), Some(expected)) => assert_eq!(error.to_string(), expected, "{input}"),
                (ours, theirs) => panic!("{input}: {ours:?} instead of {theirs:?}"),
            }
        }
    }
}
