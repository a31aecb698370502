//! The inner half of a run: what commands, operands, fields and functions evaluate to.

use std::rc::Rc;

use super::exec::{At, Call, Exec, Outcome};
use super::functions::{self, FunctionSet, Param, signature};
use super::node::{Command, Number, Operand, OperandKind};
use super::printf::sprint;
use super::quote::quote;
use super::value::{GoType, STRING_LIST, Value};
use super::{MissingKey, methods};

/// How long a text that a function makes may be: `print $x $x` in a loop doubles it each time.
const VALUE_BYTES_MAX: usize = 4 << 20;

impl<'a> Exec<'a> {
    pub(super) fn command(
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
        match self.member(dot, &inner, name, call)? {
            Some(value) => Ok(value),
            None => self.error(format!("can't evaluate field {name} in type {ty}")),
        }
    }

    /// A member of a row, a struct or a map; `None` when the value has none of that name.
    fn member(
        &mut self,
        dot: &Value,
        value: &Value,
        name: &str,
        call: &Call<'a, '_>,
    ) -> Outcome<Option<Value>> {
        match value {
            Value::Object(row) if row.members().contains(&name) => {
                self.check_count(name, 0, call)?;
                Ok(Some(row.get(name)))
            }
            Value::Object(row) if name == "Label" && row.has_label() => {
                let key = self.label_key(dot, call)?;
                Ok(Some(Value::string(row.label(&key).unwrap_or_default())))
            }
            Value::Struct(fields) => match fields.field(name) {
                Some(_) if !call.is_empty() => self.error(format!(
                    "{name} has arguments but cannot be invoked as function"
                )),
                field => Ok(field),
            },
            Value::Map(GoType::Map(_, "string", _), _)
                if name == "Label" && self.options.functions == FunctionSet::Header =>
            {
                // The title of such a column: the key's last part, dashes as spaces.
                let key = self.label_key(dot, call)?;
                let last = key.rsplit('.').next().unwrap_or_default();
                Ok(Some(Value::string(last.replace(['-', '_'], " "))))
            }
            Value::Map(GoType::Map(_, "string", _), entries) => {
                if !call.is_empty() {
                    return self.error(format!("{name} is not a method but has arguments"));
                }
                match entries.as_ref().and_then(|entries| entries.get(name)) {
                    Some(value) => Ok(Some(value.clone())),
                    None if self.options.missing_key == MissingKey::Error => {
                        self.error(format!("map has no entry for key {}", quote(name)))
                    }
                    None => Ok(Some(Value::Invalid)),
                }
            }
            _ => Ok(None),
        }
    }

    /// The argument of `.Label "key"`.
    fn label_key(&mut self, dot: &Value, call: &Call<'a, '_>) -> Outcome<Rc<str>> {
        self.check_count("Label", 1, call)?;
        let key = match (call.args.first(), call.last) {
            (Some(arg), _) => self.argument(dot, Param::Text, arg)?,
            (None, Some(last)) => self.fit(last.clone(), Param::Text)?,
            (None, None) => Value::Invalid,
        };
        Ok(if let Value::Str(key, _) = key {
            key
        } else {
            "".into()
        })
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
            (OperandKind::Nil, Param::Texts) => Ok(Value::List(&STRING_LIST, None)),
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
                return Ok(Value::List(&STRING_LIST, None));
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
        None => sprint(std::slice::from_ref(&value)),
    };
    match value {
        Value::Invalid => "call of nil".to_owned(),
        value => format!("non-function {name} of type {}", value.type_name()),
    }
}
