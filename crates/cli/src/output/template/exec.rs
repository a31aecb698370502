//! Runs a parse tree over a value.
//!
//! Errors name the last place the run was at, as Go's do: [`Exec::at`] follows the same moves.

use super::node::{Branch, Command, Node, Operand, Pipe, TemplateCall};
use super::parser::Trees;
use super::printf::sprint;
use super::quote::quote;
use super::value::{GoType, Value};
use super::{Options, TemplateError, escape_control};

/// How deep templates may call each other.
const TEMPLATE_DEPTH_MAX: usize = 100;
/// How many nodes one run may visit, loops included.
const STEPS_MAX: u64 = 5_000_000;
/// How much text one run may make.
const OUTPUT_BYTES_MAX: usize = 64 << 20;

/// The place an error names.
#[derive(Clone, Copy)]
pub(super) enum At<'a> {
    Nothing,
    Action(&'a Pipe),
    Pipe(&'a Pipe),
    Command(&'a Command),
    Operand(&'a Operand),
    Template(&'a TemplateCall),
}

impl At<'_> {
    fn place(self) -> Option<(usize, String)> {
        Some(match self {
            Self::Nothing => return None,
            Self::Action(pipe) => (pipe.pos, format!("{{{{{pipe}}}}}")),
            Self::Pipe(pipe) => (pipe.pos, pipe.to_string()),
            Self::Command(command) => (command.pos, command.to_string()),
            Self::Operand(operand) => (operand.pos, operand.to_string()),
            Self::Template(call) => (call.pos, call.to_string()),
        })
    }
}

/// How a list of nodes ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Flow {
    Next,
    Break,
    Continue,
}

pub(super) type Outcome<T> = Result<T, TemplateError>;

/// Renders the template `name` of `trees` over `data`.
pub(super) fn execute(
    name: &str,
    text: &str,
    trees: &Trees,
    options: Options,
    data: &Value,
) -> Result<String, TemplateError> {
    let mut exec = Exec {
        parse_name: name,
        name,
        text,
        trees,
        options,
        out: String::new(),
        variables: vec![("$", data.clone())],
        at: At::Nothing,
        depth: 0,
        steps: 0,
    };
    let Some(body) = trees.get(name) else {
        return exec.error(format!(
            "{} is an incomplete or empty template",
            quote(name)
        ));
    };
    exec.list(data, body)?;
    Ok(exec.out)
}

pub(super) struct Exec<'a> {
    parse_name: &'a str,
    /// The template that runs.
    name: &'a str,
    text: &'a str,
    trees: &'a Trees,
    pub(super) options: Options,
    out: String,
    pub(super) variables: Vec<(&'a str, Value)>,
    pub(super) at: At<'a>,
    depth: usize,
    steps: u64,
}

/// The arguments of a field or function call: those written and the one of the pipeline.
pub(super) struct Call<'a, 'v> {
    pub(super) args: &'a [Operand],
    pub(super) last: Option<&'v Value>,
}

impl<'a> Call<'a, '_> {
    pub(super) const NONE: Call<'static, 'static> = Call {
        args: &[],
        last: None,
    };

    pub(super) fn is_empty(&self) -> bool {
        self.args.is_empty() && self.last.is_none()
    }

    pub(super) fn count(&self) -> usize {
        self.args.len() + usize::from(self.last.is_some())
    }
}

impl<'a> Exec<'a> {
    pub(super) fn error<T>(&self, message: impl AsRef<str>) -> Outcome<T> {
        let message = message.as_ref();
        let Some((pos, context)) = self.at.place() else {
            return Err(TemplateError(format!("template: {}: {message}", self.name)));
        };
        let before = self.text.get(..pos).unwrap_or(self.text);
        let line = 1 + before.matches('\n').count();
        let column = pos - before.rfind('\n').map_or(0, |newline| newline + 1);
        Err(TemplateError(format!(
            "template: {}:{line}:{column}: executing {} at <{context}>: {message}",
            self.parse_name,
            quote(self.name)
        )))
    }

    fn write(&mut self, text: &str) -> Outcome<()> {
        if self.out.len() + text.len() > OUTPUT_BYTES_MAX {
            return self.error(format!("output exceeds {OUTPUT_BYTES_MAX} bytes"));
        }
        self.out.push_str(text);
        Ok(())
    }

    fn list(&mut self, dot: &Value, nodes: &'a [Node]) -> Outcome<Flow> {
        for node in nodes {
            let flow = self.node(dot, node)?;
            if flow != Flow::Next {
                return Ok(flow);
            }
        }
        Ok(Flow::Next)
    }

    fn node(&mut self, dot: &Value, node: &'a Node) -> Outcome<Flow> {
        self.steps += 1;
        if self.steps > STEPS_MAX {
            return self.error(format!("exceeded maximum number of steps ({STEPS_MAX})"));
        }
        match node {
            Node::Text(text) => self.write(text)?,
            Node::Action(pipe) => {
                self.at = At::Action(pipe);
                let value = self.pipeline(dot, pipe)?;
                if pipe.variables.is_empty() {
                    self.at = At::Action(pipe);
                    self.print(&value)?;
                }
            }
            Node::If(branch) => return self.if_or_with(dot, branch, false),
            Node::With(branch) => return self.if_or_with(dot, branch, true),
            Node::Range(branch) => return self.range(dot, branch),
            Node::Template(call) => self.template(dot, call)?,
            Node::Break => return Ok(Flow::Break),
            Node::Continue => return Ok(Flow::Continue),
        }
        Ok(Flow::Next)
    }

    fn print(&mut self, value: &Value) -> Outcome<()> {
        let text = match value {
            Value::Invalid => "<no value>".to_owned(),
            value => match value.indirect() {
                (Value::Interface(None), _) => "<nil>".to_owned(),
                (value, _) => sprint(&[value]),
            },
        };
        if self.options.escape_control {
            self.write(&escape_control(&text))
        } else {
            self.write(&text)
        }
    }

    fn if_or_with(&mut self, dot: &Value, branch: &'a Branch, with: bool) -> Outcome<Flow> {
        let mark = self.variables.len();
        let value = self.pipeline(dot, &branch.pipe)?;
        let flow = if value.is_true() {
            self.list(if with { &value } else { dot }, &branch.body)?
        } else if let Some(otherwise) = &branch.otherwise {
            self.list(dot, otherwise)?
        } else {
            Flow::Next
        };
        self.variables.truncate(mark);
        Ok(flow)
    }

    fn range(&mut self, dot: &Value, branch: &'a Branch) -> Outcome<Flow> {
        let outer = self.variables.len();
        let value = self.pipeline(dot, &branch.pipe)?.indirect().0;
        let mut ran = false;
        match &value {
            Value::List(_, items) => {
                for (index, item) in items.iter().flat_map(|items| items.iter()).enumerate() {
                    ran = true;
                    if self.iteration(branch, Value::int(index as i64), item)? == Flow::Break {
                        break;
                    }
                }
            }
            Value::Map(ty, entries) => {
                let key_type = if let GoType::Map(_, key_type, _) = ty {
                    key_type
                } else {
                    "string"
                };
                for (key, item) in entries.iter().flat_map(|entries| entries.iter()) {
                    ran = true;
                    let key = Value::Str(key.as_str().into(), key_type);
                    if self.iteration(branch, key, item)? == Flow::Break {
                        break;
                    }
                }
            }
            Value::Int(..) | Value::Uint(..) => {
                ran = self.range_over_integer(branch, &value)?;
            }
            Value::Invalid => {}
            _ => {
                let shown = sprint(&[value]);
                return self.error(format!("range can't iterate over {shown}"));
            }
        }
        let mut flow = Flow::Next;
        if let (false, Some(otherwise)) = (ran, &branch.otherwise) {
            flow = self.list(dot, otherwise)?;
        }
        self.variables.truncate(outer);
        Ok(flow)
    }

    fn range_over_integer(&mut self, branch: &'a Branch, value: &Value) -> Outcome<bool> {
        let (count, make): (u64, fn(u64, &'static str) -> Value) = match value {
            Value::Int(count, _) => (u64::try_from(*count).unwrap_or(0), |n, ty| {
                Value::Int(n as i64, ty)
            }),
            Value::Uint(count, _) => (*count, Value::Uint),
            _ => return Ok(false),
        };
        let ty = match value {
            Value::Int(_, ty) | Value::Uint(_, ty) => ty,
            _ => "int",
        };
        if branch.pipe.variables.len() > 1 {
            let shown = sprint(std::slice::from_ref(value));
            return self.error(format!(
                "can't use {shown} to iterate over more than one variable"
            ));
        }
        for number in 0..count {
            // An empty body visits no node; the iteration itself must count.
            self.steps += 1;
            if self.steps > STEPS_MAX {
                return self.error(format!("exceeded maximum number of steps ({STEPS_MAX})"));
            }
            if self.iteration(branch, Value::Invalid, &make(number, ty))? == Flow::Break {
                break;
            }
        }
        Ok(count > 0)
    }

    fn iteration(&mut self, branch: &'a Branch, index: Value, item: &Value) -> Outcome<Flow> {
        let mark = self.variables.len();
        let names = &branch.pipe.variables;
        let values = match names.len() {
            0 => vec![],
            1 => vec![item.clone()],
            _ => vec![index, item.clone()],
        };
        if branch.pipe.is_assign {
            for (name, value) in names.iter().zip(values) {
                self.assign(name, value)?;
            }
        } else {
            let first = mark - names.len();
            for (slot, value) in self.variables[first..].iter_mut().zip(values) {
                slot.1 = value;
            }
        }
        let flow = self.list(item, &branch.body)?;
        self.variables.truncate(mark);
        Ok(flow)
    }

    fn template(&mut self, dot: &Value, call: &'a TemplateCall) -> Outcome<()> {
        self.at = At::Template(call);
        let Some((name, body)) = self.trees.get_key_value(&call.name) else {
            return self.error(format!("template {} not defined", quote(&call.name)));
        };
        if self.depth == TEMPLATE_DEPTH_MAX {
            return self.error(format!(
                "exceeded maximum template depth ({TEMPLATE_DEPTH_MAX})"
            ));
        }
        let dot = match &call.pipe {
            Some(pipe) => self.pipeline(dot, pipe)?,
            None => Value::Invalid,
        };
        // A template sees no variables of its caller.
        let outer_variables = std::mem::replace(&mut self.variables, vec![("$", dot.clone())]);
        let outer_name = std::mem::replace(&mut self.name, name);
        self.depth += 1;
        self.list(&dot, body)?;
        self.depth -= 1;
        self.name = outer_name;
        self.variables = outer_variables;
        Ok(())
    }

    pub(super) fn pipeline(&mut self, dot: &Value, pipe: &'a Pipe) -> Outcome<Value> {
        self.at = At::Pipe(pipe);
        let mut value = None;
        for command in &pipe.commands {
            value = Some(self.command(dot, command, value.as_ref())?.open());
        }
        let value = value.unwrap_or(Value::Invalid);
        for name in &pipe.variables {
            if pipe.is_assign {
                self.assign(name, value.clone())?;
            } else {
                self.variables.push((name, value.clone()));
            }
        }
        Ok(value)
    }

    fn assign(&mut self, name: &str, value: Value) -> Outcome<()> {
        match self
            .variables
            .iter_mut()
            .rev()
            .find(|(known, _)| *known == name)
        {
            Some(slot) => {
                slot.1 = value;
                Ok(())
            }
            None => self.error(format!("undefined variable: {name}")),
        }
    }
}
