//! What a target can be given: its build arguments, secrets and agents, as `--call=outline` lists them.

use std::collections::BTreeMap;

use crate::dockerfile::command::Command;
use crate::dockerfile::description;
use crate::dockerfile::place::Lines;
use crate::dockerfile::words::Variables;
use crate::graph::{Graph, MountKind, Op, Resolver};

use super::arguments::expand;
use super::{LowerError, Lowering, Request};

/// What a target can be given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outline {
    /// The target's name; empty where it has none.
    pub name: String,
    /// What the comment above it says.
    pub description: String,
    /// Build arguments that it, or what it is made of, declares.
    pub arguments: Vec<OutlineArgument>,
    /// Secrets.
    pub secrets: Vec<OutlineMount>,
    /// Agents of ssh.
    pub agents: Vec<OutlineMount>,
}

/// A build argument.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutlineArgument {
    /// Its name.
    pub name: String,
    /// What it would be now; may be empty.
    pub value: String,
    /// What the comment above it says; may be empty.
    pub description: String,
    /// Where it is declared.
    pub lines: Lines,
}

/// A secret or an agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutlineMount {
    /// Its id.
    pub id: String,
    /// Whether a step fails without it.
    pub is_required: bool,
    /// Where it is asked for first.
    pub lines: Lines,
}

/// Tells what a target can be given.
///
/// # Errors
/// As [`super::lower`].
pub fn outline(request: &Request, resolver: &mut dyn Resolver) -> Result<Outline, LowerError> {
    let mut graph = Graph::default();
    let mut lowering = Lowering::new(request, resolver, &mut graph)?;
    let target = lowering.lower_needed()?;
    let mut outline = Outline {
        name: lowering.states[target].name.clone().unwrap_or_default(),
        arguments: lowering.outline_arguments(target)?,
        ..Outline::default()
    };
    let said = description(&lowering.states[target].origin.comments, &outline.name);
    outline.description = said.unwrap_or_default();
    (outline.secrets, outline.agents) = mounts(&graph);
    Ok(outline)
}

/// In the order of their lines; each once.
fn mounts(graph: &Graph) -> (Vec<OutlineMount>, Vec<OutlineMount>) {
    let (mut secrets, mut agents) = (Vec::<OutlineMount>::new(), Vec::new());
    for step in &graph.steps {
        let (Op::Run(run), Some(place)) = (&step.op, &step.place) else {
            continue;
        };
        let number = |line: usize| u32::try_from(line).unwrap_or(u32::MAX);
        let lines = Lines {
            start: number(place.first_line),
            end: number(place.last_line),
        };
        for mount in &run.mounts {
            let (all, id, is_required) = match &mount.kind {
                MountKind::Secret(secret) => (&mut secrets, &secret.id, secret.is_required),
                MountKind::Ssh(agent) => (&mut agents, &agent.id, agent.is_required),
                _ => continue,
            };
            if !all.iter().any(|known| known.id == *id) {
                all.push(OutlineMount {
                    id: id.clone(),
                    is_required,
                    lines,
                });
            }
        }
    }
    for all in [&mut secrets, &mut agents] {
        all.sort_by_key(|mount| mount.lines.start);
    }
    (secrets, agents)
}

impl Lowering<'_> {
    /// Those of the target, and of the stages that it is made of.
    fn outline_arguments(&self, target: usize) -> Result<Vec<OutlineArgument>, LowerError> {
        let needed = self.needed(target);
        let others = (0..needed.len())
            .rev()
            .filter(|at| needed[*at] && *at != target);
        let mut found: BTreeMap<String, OutlineArgument> = BTreeMap::new();
        let mut global = Vec::new();
        for at in std::iter::once(target).chain(others) {
            let state = &self.states[at];
            if let Some(stage) = self.request.dockerfile.stages.get(at) {
                for text in std::iter::once(&stage.base).chain(&stage.platform) {
                    global.extend(expand(self.escape, text, &self.globals, &stage.origin)?.matched);
                }
            }
            let mut own = BTreeMap::new();
            for planned in &state.instructions {
                let Command::Arg(arguments) = &planned.instruction.command else {
                    continue;
                };
                for argument in arguments {
                    let name = &argument.name;
                    let is_own = argument.default.is_some() || self.arguments.contains_key(name);
                    if !is_own && self.globals.get(name).is_some() {
                        global.push(name.clone());
                        continue;
                    }
                    let values = state.arguments.iter().rev();
                    let mut values = values.filter(|(known, _)| known == name);
                    let value = values.next().and_then(|(_, value)| value.clone());
                    own.insert(
                        name.clone(),
                        OutlineArgument {
                            name: name.clone(),
                            value: value.unwrap_or_default(),
                            description: argument.description.clone().unwrap_or_default(),
                            lines: planned.instruction.origin.lines,
                        },
                    );
                }
            }
            for (name, argument) in own {
                found.entry(name).or_insert(argument);
            }
        }
        self.outline_globals(global, &mut found)?;
        let mut all: Vec<OutlineArgument> = found.into_values().collect();
        all.sort_by_key(|argument| argument.lines.start);
        Ok(all)
    }

    /// Adds those before the first FROM that are used, and those that their defaults use.
    fn outline_globals(
        &self,
        mut used: Vec<String>,
        found: &mut BTreeMap<String, OutlineArgument>,
    ) -> Result<(), LowerError> {
        while let Some(name) = used.pop() {
            if found.contains_key(&name) {
                continue;
            }
            for global in &self.request.dockerfile.arguments {
                let mut arguments = global.arguments.iter();
                let Some(argument) = arguments.find(|argument| argument.name == name) else {
                    continue;
                };
                if let (Some(default), None) = (&argument.default, self.arguments.get(&name)) {
                    used.extend(
                        expand(self.escape, default, &self.globals, &global.origin)?.matched,
                    );
                }
                found.insert(
                    name.clone(),
                    OutlineArgument {
                        name: name.clone(),
                        value: self.globals.get(&name).unwrap_or_default().to_owned(),
                        description: argument.description.clone().unwrap_or_default(),
                        lines: global.origin.lines,
                    },
                );
            }
        }
        Ok(())
    }
}
