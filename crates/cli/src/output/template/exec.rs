//! Runs a parse tree over a value.
//!
//! Errors name the last place the run was at, as Go's do: [`Exec::at`] follows the same moves.

use std::rc::Rc;

use super::functions::{self, FunctionSet, Param, signature};
use super::node::{Branch, Command, Node, Number, Operand, OperandKind, Pipe, TemplateCall};
use super::parser::Trees;
use super::printf::sprint;
use super::quote::quote;
use super::value::{GoType, Value};
use super::{MissingKey, Options, TemplateError, escape_control, methods};

/// How deep templates may call each other.
const TEMPLATE_DEPTH_MAX: usize = 100;
/// How many nodes one run may visit, loops included.
const STEPS_MAX: u64 = 5_000_000;
/// How much text one run may make.
const OUTPUT_BYTES_MAX: usize = 64 << 20;
/// How long a text that a function makes may be: `print $x $x` in a loop doubles it each time.
const VALUE_BYTES_MAX: usize = 4 << 20;

/// The place an error names.
#[derive(Clone, Copy)]
enum At<'a> {
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

type Outcome<T> = Result<T, TemplateError>;

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

struct Exec<'a> {
    parse_name: &'a str,
    /// The template that runs.
    name: &'a str,
    text: &'a str,
    trees: &'a Trees,
    options: Options,
    out: String,
    variables: Vec<(&'a str, Value)>,
    at: At<'a>,
    depth: usize,
    steps: u64,
}

/// The arguments of a field or function call: those written and the one of the pipeline.
struct Call<'a, 'v> {
    args: &'a [Operand],
    last: Option<&'v Value>,
}

impl<'a> Call<'a, '_> {
    const NONE: Call<'static, 'static> = Call {
        args: &[],
        last: None,
    };

    fn is_empty(&self) -> bool {
        self.args.is_empty() && self.last.is_none()
    }

    fn count(&self) -> usize {
        self.args.len() + usize::from(self.last.is_some())
    }
}

impl<'a> Exec<'a> {
    fn error<T>(&self, message: impl AsRef<str>) -> Outcome<T> {
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
            let shown = sprint(&[value.clone()]);
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

    fn pipeline(&mut self, dot: &Value, pipe: &'a Pipe) -> Outcome<Value> {
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

    fn command(
        &mut self,
        dot: &Value,
        command: &'a Command,
        last: Option<&Value>,
    ) -> Outcome<Value> {
        let Some((first, args)) = command.args.split_first() else {
            return Ok(Value::Invalid);
        };
        let call = Call { args, last };
        match &first.kind {
            OperandKind::Field(names) => {
                self.at = At::Operand(first);
                self.field_chain(dot, dot.clone(), names, &call)
            }
            OperandKind::Chain(..) => self.chain(dot, first, &call),
            OperandKind::Identifier(name) => {
                self.at = At::Operand(first);
                self.function(dot, name, At::Command(command), &call)
            }
            OperandKind::Pipe(pipe) => {
                self.not_a_function(first, &call)?;
                self.pipeline(dot, pipe)
            }
            OperandKind::Variable(names) => self.variable(dot, first, names, &call),
            kind => {
                self.at = At::Operand(first);
                self.not_a_function(first, &call)?;
                match kind {
                    OperandKind::Dot => Ok(dot.clone()),
                    OperandKind::Nil => self.error("nil is not a command"),
                    _ => self.literal(first),
                }
            }
        }
    }

    fn not_a_function(&self, first: &Operand, call: &Call<'_, '_>) -> Outcome<()> {
        if call.is_empty() {
            return Ok(());
        }
        self.error(format!("can't give argument to non-function {first}"))
    }

    /// A constant in a place that asks for no type.
    fn literal(&mut self, operand: &'a Operand) -> Outcome<Value> {
        self.at = At::Operand(operand);
        match &operand.kind {
            OperandKind::Bool(value) => Ok(Value::Bool(*value)),
            OperandKind::String { text, .. } => Ok(Value::string(text.as_str())),
            OperandKind::Number(number) => self.number(number),
            _ => self.error(format!(
                "can't evaluate command {}",
                quote(&operand.to_string())
            )),
        }
    }

    fn number(&self, number: &Number) -> Outcome<Value> {
        let text = &number.text;
        let is_hex = text.to_ascii_lowercase().starts_with("0x");
        let looks_float =
            !is_hex && !text.starts_with('\'') && text.contains(['.', 'e', 'E', 'p', 'P']);
        match (number.float, number.int) {
            (Some(float), _) if looks_float => Ok(Value::Float(float)),
            (_, Some(int)) => Ok(Value::int(int)),
            _ => self.error(format!("{text} overflows int")),
        }
    }

    fn variable(
        &mut self,
        dot: &Value,
        operand: &'a Operand,
        names: &'a [String],
        call: &Call<'a, '_>,
    ) -> Outcome<Value> {
        self.at = At::Operand(operand);
        let Some((name, fields)) = names.split_first() else {
            return Ok(Value::Invalid);
        };
        let found = self.variables.iter().rev().find(|(known, _)| known == name);
        let Some(value) = found.map(|(_, value)| value.clone()) else {
            return self.error(format!("undefined variable: {name}"));
        };
        if fields.is_empty() {
            self.not_a_function(operand, call)?;
            return Ok(value);
        }
        self.field_chain(dot, value, fields, call)
    }

    fn chain(&mut self, dot: &Value, operand: &'a Operand, call: &Call<'a, '_>) -> Outcome<Value> {
        self.at = At::Operand(operand);
        let OperandKind::Chain(inner, fields) = &operand.kind else {
            return Ok(Value::Invalid);
        };
        let receiver = self.operand(dot, inner)?;
        self.field_chain(dot, receiver, fields, call)
    }

    /// The value of an operand in a place that takes any type.
    fn operand(&mut self, dot: &Value, operand: &'a Operand) -> Outcome<Value> {
        self.at = At::Operand(operand);
        match &operand.kind {
            OperandKind::Dot => Ok(dot.clone()),
            OperandKind::Nil => Ok(Value::Invalid),
            OperandKind::Field(names) => self.field_chain(dot, dot.clone(), names, &Call::NONE),
            OperandKind::Variable(names) => self.variable(dot, operand, names, &Call::NONE),
            OperandKind::Pipe(pipe) => self.pipeline(dot, pipe),
            OperandKind::Identifier(name) => {
                self.function(dot, name, At::Operand(operand), &Call::NONE)
            }
            OperandKind::Chain(..) => self.chain(dot, operand, &Call::NONE),
            _ => self.literal(operand),
        }
    }

    fn field_chain(
        &mut self,
        dot: &Value,
        mut receiver: Value,
        names: &'a [String],
        call: &Call<'a, '_>,
    ) -> Outcome<Value> {
        let Some((last, inner)) = names.split_last() else {
            return Ok(receiver);
        };
        for name in inner {
            receiver = self.field(dot, &receiver, name, &Call::NONE)?;
        }
        self.field(dot, &receiver, last, call)
    }

    fn field(
        &mut self,
        dot: &Value,
        receiver: &Value,
        name: &str,
        call: &Call<'a, '_>,
    ) -> Outcome<Value> {
        if matches!(receiver, Value::Invalid) {
            if self.options.missing_key == MissingKey::Error {
                return self.error(format!("nil data; no entry for key {}", quote(name)));
            }
            return Ok(Value::Invalid);
        }
        let ty = receiver.type_name();
        let (inner, is_nil) = receiver.indirect();
        if is_nil {
            let unknown_field = matches!(&inner, Value::Ptr(GoType::Struct(ty), None)
                if !ty.fields.iter().any(|field| field.name == name));
            if !unknown_field {
                return self.error(format!("nil pointer evaluating {ty}.{name}"));
            }
            return self.error(format!("can't evaluate field {name} in type {ty}"));
        }
        if let Some(value) = methods::call(&inner, name) {
            self.check_count(name, 0, call)?;
            return Ok(value);
        }
        match &inner {
            Value::Object(row) => {
                if row.members().contains(&name) {
                    self.check_count(name, 0, call)?;
                    return Ok(row.get(name));
                }
                if name == "Label" && row.has_label() {
                    self.check_count(name, 1, call)?;
                    let key = match (call.args.first(), call.last) {
                        (Some(arg), _) => self.argument(dot, Param::Text, arg)?,
                        (None, Some(last)) => self.fit(last.clone(), Param::Text)?,
                        (None, None) => Value::Invalid,
                    };
                    let Value::Str(key, _) = key else {
                        return Ok(Value::string(""));
                    };
                    return Ok(Value::string(row.label(&key).unwrap_or_default()));
                }
            }
            Value::Struct(fields) => {
                if let Some(value) = fields.field(name) {
                    if !call.is_empty() {
                        return self.error(format!(
                            "{name} has arguments but cannot be invoked as function"
                        ));
                    }
                    return Ok(value);
                }
            }
            Value::Map(GoType::Map(_, "string", _), entries) => {
                if name == "Label" && self.options.functions == FunctionSet::Header {
                    return self.header_label(dot, call);
                }
                if !call.is_empty() {
                    return self.error(format!("{name} is not a method but has arguments"));
                }
                let found = entries.as_ref().and_then(|entries| entries.get(name));
                return match found {
                    Some(value) => Ok(value.clone()),
                    None if self.options.missing_key == MissingKey::Error => {
                        self.error(format!("map has no entry for key {}", quote(name)))
                    }
                    None => Ok(Value::Invalid),
                };
            }
            _ => {}
        }
        self.error(format!("can't evaluate field {name} in type {ty}"))
    }

    /// The title of a `.Label "key"` column: the key's last part, dashes as spaces.
    fn header_label(&mut self, dot: &Value, call: &Call<'a, '_>) -> Outcome<Value> {
        self.check_count("Label", 1, call)?;
        let key = match call.args.first() {
            Some(arg) => self.argument(dot, Param::Text, arg)?,
            None => call.last.cloned().unwrap_or(Value::Invalid),
        };
        let Value::Str(key, _) = key else {
            return Ok(Value::string(""));
        };
        let last = key.rsplit('.').next().unwrap_or_default();
        Ok(Value::string(last.replace(['-', '_'], " ")))
    }

    fn check_count(&self, name: &str, wanted: usize, call: &Call<'_, '_>) -> Outcome<()> {
        let got = call.count();
        if got == wanted {
            return Ok(());
        }
        self.error(format!(
            "wrong number of args for {name}: want {wanted} got {got}"
        ))
    }

    fn function(
        &mut self,
        dot: &Value,
        name: &str,
        node: At<'a>,
        call: &Call<'a, '_>,
    ) -> Outcome<Value> {
        let Some(signature) = signature(self.options.functions, name) else {
            return self.error(format!("{} is not a defined function", quote(name)));
        };
        match signature.variadic {
            None => self.check_count(name, signature.fixed.len(), call)?,
            Some(_) if call.count() < signature.fixed.len() => {
                let (wanted, got) = (signature.fixed.len(), call.args.len());
                return self.error(format!(
                    "wrong number of args for {name}: want at least {wanted} got {got}"
                ));
            }
            Some(_) => {}
        }
        if let "and" | "or" = name {
            return self.and_or(dot, name == "or", call);
        }
        let param = |index: usize| {
            signature
                .fixed
                .get(index)
                .copied()
                .or(signature.variadic)
                .unwrap_or(Param::Any)
        };
        let mut values = Vec::with_capacity(call.count());
        for (index, arg) in call.args.iter().enumerate() {
            values.push(self.argument(dot, param(index), arg)?);
        }
        if let Some(last) = call.last {
            values.push(self.fit(last.clone(), param(call.args.len()))?);
        }
        let result = if name == "call" {
            Err(call_fault(call, &values))
        } else {
            functions::call(self.options.functions, name, &values)
        };
        let result = result.and_then(|value| match &value {
            Value::Str(text, _) if text.len() > VALUE_BYTES_MAX => {
                Err(format!("result exceeds {VALUE_BYTES_MAX} bytes"))
            }
            _ => Ok(value),
        });
        result.or_else(|message| {
            self.at = node;
            self.error(format!("error calling {name}: {message}"))
        })
    }

    /// The first false (true) argument, or the last one.
    fn and_or(&mut self, dot: &Value, stop_at: bool, call: &Call<'a, '_>) -> Outcome<Value> {
        let mut value = Value::Invalid;
        for arg in call.args {
            value = self.argument(dot, Param::Raw, arg)?;
            if value.is_true() == stop_at {
                return Ok(value);
            }
        }
        Ok(call.last.cloned().unwrap_or(value))
    }

    fn argument(&mut self, dot: &Value, param: Param, operand: &'a Operand) -> Outcome<Value> {
        self.at = At::Operand(operand);
        match (&operand.kind, param) {
            (OperandKind::Nil, Param::Text | Param::Integer) => {
                self.error(format!("cannot assign nil to {}", param.type_name()))
            }
            (OperandKind::Nil, Param::Texts) => Ok(Value::List(&super::value::STRING_LIST, None)),
            (OperandKind::String { text, .. }, Param::Text) => Ok(Value::string(text.as_str())),
            (OperandKind::Number(Number { int: Some(int), .. }), Param::Integer) => {
                Ok(Value::int(*int))
            }
            (
                OperandKind::Bool(_) | OperandKind::Number(_) | OperandKind::String { .. },
                Param::Text | Param::Integer | Param::Texts,
            ) => match param {
                Param::Text => self.error(format!("expected string; found {operand}")),
                Param::Integer => self.error(format!("expected integer; found {operand}")),
                _ => self.error(format!(
                    "can't handle {operand} for arg of type {}",
                    param.type_name()
                )),
            },
            _ => {
                let value = self.operand(dot, operand)?;
                self.fit(value, param)
            }
        }
    }

    /// The value as the parameter wants it.
    fn fit(&self, value: Value, param: Param) -> Outcome<Value> {
        let wanted = match param {
            Param::Raw => return Ok(value),
            Param::Any => return Ok(value.open()),
            _ => param.type_name(),
        };
        let value = match value {
            Value::Invalid if param == Param::Texts => {
                return Ok(Value::List(&super::value::STRING_LIST, None));
            }
            Value::Invalid => return self.error(format!("invalid value; expected {wanted}")),
            Value::Interface(Some(inner)) => Rc::unwrap_or_clone(inner),
            value => value,
        };
        let fits = |value: &Value| match (param, value) {
            (Param::Text, Value::Str(_, name)) => *name == wanted,
            (Param::Integer, Value::Int(_, name)) => *name == wanted,
            (Param::Texts, Value::List(GoType::List(_, GoType::Str("string")), _)) => true,
            _ => false,
        };
        if fits(&value) {
            return Ok(value);
        }
        match &value {
            Value::Ptr(_, Some(inner)) if fits(inner) => Ok((**inner).clone()),
            _ => {
                let got = value.type_name();
                self.error(format!(
                    "wrong type for value; expected {wanted}; got {got}"
                ))
            }
        }
    }
}

/// No value of ours is a function, so `call` always fails.
fn call_fault(call: &Call<'_, '_>, values: &[Value]) -> String {
    let value = values.first().cloned().unwrap_or(Value::Invalid).open();
    let name = match call.args.first() {
        Some(operand) => operand.to_string(),
        None => sprint(&[value.clone()]),
    };
    match value {
        Value::Invalid => "call of nil".to_owned(),
        value => format!("non-function {name} of type {}", value.type_name()),
    }
}
