//! Why a step was not found in the cache: this build compared with the last one of the same files.
//!
//! What a build looked at is kept as a [`Trace`]. A step is compared with the step of the trace that
//! has the same definition, else with the one that stood in its place; the first difference is the
//! cause. A step after one that was done anew has the cause of that.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use types::digest::Digest;
use types::excerpt::excerpt;

use crate::graph::{Op, Step};
use crate::key;

/// So much of an instruction is shown: one with a here-document may be long.
const SHOWN_BYTES_MAX: usize = 512;

/// What an earlier build looked at, in the order of its steps.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Trace {
    /// Its steps.
    pub steps: Vec<TracedStep>,
}

/// One step of an earlier build.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TracedStep {
    /// What people call it.
    pub name: String,
    /// The stage it stands in.
    pub stage: String,
    /// For an image: its reference.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reference: String,
    /// See [`key::definition`].
    pub definition: Value,
    /// What its root was; `None` for a source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root: Option<Digest>,
    /// What it selected from its other inputs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub selected: Vec<Digest>,
}

impl TracedStep {
    /// What there is to say of a step.
    pub fn new(step: &Step, root: Option<Digest>, selected: Vec<Digest>) -> Self {
        Self {
            name: step.name.clone(),
            stage: stage(step),
            reference: match &step.op {
                Op::Image(image) => image.reference.clone(),
                _ => String::new(),
            },
            definition: key::definition(&step.op),
            root,
            selected,
        }
    }
}

fn stage(step: &Step) -> String {
    let place = step.place.as_ref();
    place.map(|place| place.stage.clone()).unwrap_or_default()
}

/// Why a step is done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cause {
    /// `--no-cache` or the like.
    Ignored,
    /// Nothing was built from these files before.
    First,
    /// Files that it copies or mounts differ; the numbers of its selections.
    Files {
        /// Which selection.
        selection: usize,
        /// What was selected last time.
        old: Digest,
        /// What is now.
        new: Digest,
    },
    /// A step before it gave something else, for this reason.
    Before {
        /// That step's name.
        step: String,
        /// Why that was done.
        cause: String,
    },
    /// The base is another image now.
    Base {
        /// What people call it.
        reference: String,
        /// Its id then.
        old: String,
        /// Its id now.
        new: String,
    },
    /// The instruction says something else.
    Instruction {
        /// What it said.
        old: String,
        /// What it says.
        new: String,
    },
    /// A variable of the program's environment, or a build argument.
    Variable {
        /// `KEY=VALUE` as it was; `None` where it was not.
        old: Option<String>,
        /// As it is.
        new: Option<String>,
    },
    /// Something else of the definition.
    Setting {
        /// Its name.
        name: String,
        /// As it was.
        old: String,
        /// As it is.
        new: String,
    },
    /// The instruction is new in this place.
    New,
    /// The result was removed from the cache.
    Gone,
}

impl std::fmt::Display for Cause {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let short = |digest: &str| digest.chars().take(19).collect::<String>();
        match self {
            Self::Ignored => f.write_str("the cache is not asked (--no-cache)"),
            Self::First => f.write_str("first build of these files here"),
            Self::Files { .. } => f.write_str("the copied files changed"),
            Self::Before { step, cause } => {
                write!(f, "{} before it: {cause}", excerpt(step, SHOWN_BYTES_MAX))
            }
            Self::Base {
                reference,
                old,
                new,
            } => write!(
                f,
                "base image {reference} changed ({} -> {})",
                short(old),
                short(new)
            ),
            Self::Instruction { old, new } => {
                let [old, new] = [old, new].map(|text| excerpt(text, SHOWN_BYTES_MAX));
                write!(f, "instruction changed (was {old:?}, is {new:?})")
            }
            Self::Variable { old, new } => match (old, new) {
                (Some(old), Some(new)) => write!(f, "variable changed ({old} -> {new})"),
                (None, Some(new)) => write!(f, "variable added ({new})"),
                (Some(old), None) => write!(f, "variable removed ({old})"),
                (None, None) => f.write_str("variables changed their order"),
            },
            Self::Setting { name, old, new } => write!(f, "{name} changed ({old} -> {new})"),
            Self::New => f.write_str("new instruction"),
            Self::Gone => f.write_str("its result is no longer in the cache"),
        }
    }
}

/// Looks for the cause. `before` is the name and cause of the step that made its root, where that was
/// done anew.
pub fn cause(
    last: Option<&Trace>,
    step: &Step,
    now: &TracedStep,
    before: Option<(&str, &str)>,
) -> Cause {
    if step.ignores_cache {
        return Cause::Ignored;
    }
    let Some(last) = last else {
        return Cause::First;
    };
    let same = |other: &&TracedStep| other.definition == now.definition;
    let equal = last.steps.iter().filter(same);
    // Of several that say the same, the one that has most in common.
    let best = equal.max_by_key(|other| {
        (
            other.root == now.root,
            other.stage == now.stage,
            other.selected == now.selected,
        )
    });
    if let Some(old) = best {
        return inputs(old, now, before);
    }
    match in_place(last, step, now) {
        Some(old) => definition(&old.definition, &now.definition, old, now),
        None => Cause::New,
    }
}

/// The definition is the same, so that what it works on differs.
fn inputs(old: &TracedStep, now: &TracedStep, before: Option<(&str, &str)>) -> Cause {
    let pairs = old.selected.iter().zip(&now.selected).enumerate();
    for (selection, (old, new)) in pairs {
        if old != new {
            let (old, new) = (old.clone(), new.clone());
            return Cause::Files {
                selection,
                old,
                new,
            };
        }
    }
    match before {
        Some((step, cause)) => Cause::Before {
            step: step.to_owned(),
            cause: cause.to_owned(),
        },
        None if old.root != now.root => Cause::Before {
            step: "the step".to_owned(),
            cause: "it gave other files".to_owned(),
        },
        None => Cause::Gone,
    }
}

/// The step that stood in the same place: same stage, same kind, same number among those.
fn in_place<'a>(last: &'a Trace, step: &Step, now: &TracedStep) -> Option<&'a TracedStep> {
    let kind = key::kind(step);
    let is_kind = |other: &&TracedStep| other.definition.get(kind).is_some();
    let in_stage = |other: &&TracedStep| other.stage == now.stage;
    let number = |name: &str| name.split(']').next().map(str::to_owned);
    let mut candidates = last.steps.iter().filter(is_kind).filter(in_stage);
    let all: Vec<&TracedStep> = candidates.by_ref().collect();
    let same_number = all
        .iter()
        .find(|other| number(&other.name) == number(&now.name));
    same_number.or(all.first()).copied()
}

fn definition(old: &Value, new: &Value, before: &TracedStep, now: &TracedStep) -> Cause {
    let inner = |value: &Value| -> serde_json::Map<String, Value> {
        let members = value.as_object().and_then(|object| object.values().next());
        members
            .and_then(Value::as_object)
            .cloned()
            .unwrap_or_default()
    };
    let (old, new) = (inner(old), inner(new));
    if let (Some(old), Some(new)) = (old.get("id"), new.get("id"))
        && old != new
        && !now.reference.is_empty()
    {
        return Cause::Base {
            reference: now.reference.clone(),
            old: text(old),
            new: text(new),
        };
    }
    for (name, value) in &new {
        let was = old.get(name).unwrap_or(&Value::Null);
        if was == value {
            continue;
        }
        return match name.as_str() {
            "env" => variable(was, value),
            "args" | "sources" | "destination" | "path" => Cause::Instruction {
                old: instruction(&before.name),
                new: instruction(&now.name),
            },
            name => Cause::Setting {
                name: name.replace('_', " "),
                old: text(was),
                new: text(value),
            },
        };
    }
    Cause::New
}

fn variable(old: &Value, new: &Value) -> Cause {
    let list = |value: &Value| -> Vec<String> {
        let items = value.as_array().into_iter().flatten();
        items.filter_map(Value::as_str).map(str::to_owned).collect()
    };
    let (old, new) = (list(old), list(new));
    let key = |pair: &String| pair.split('=').next().unwrap_or_default().to_owned();
    let added = new.iter().find(|pair| !old.contains(pair));
    let removed = match added {
        Some(pair) => old.iter().find(|other| key(other) == key(pair)),
        None => old.iter().find(|pair| !new.contains(pair)),
    };
    Cause::Variable {
        old: removed.cloned(),
        new: added.cloned(),
    }
}

/// `RUN make` of `[build 2/5] RUN make`.
fn instruction(name: &str) -> String {
    match name
        .strip_prefix('[')
        .and_then(|rest| rest.split_once("] "))
    {
        Some((_, instruction)) => instruction.to_owned(),
        None => name.to_owned(),
    }
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
