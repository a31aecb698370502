//! The functions templates may call: Go's own and those Docker adds.

use std::cmp::Ordering;
use std::rc::Rc;

use super::json::{HtmlEscape, write_json};
use super::printf::{sprint, sprintf, sprintln};
use super::quote::is_printable;
use super::value::{GoType, STRING_LIST, Value};

/// How much a single `pad` may add.
const PAD_MAX: i64 = 65_536;

/// Which functions a template has beside Go's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FunctionSet {
    /// Docker's.
    Docker,
    /// Docker's, but harmless on the titles of columns.
    Header,
    /// Docker's and the one that `version` adds.
    Version,
}

/// What a function takes in one place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Param {
    /// `interface {}`
    Any,
    /// The value as it is, pointers and all.
    Raw,
    Text,
    Integer,
    Texts,
}

impl Param {
    /// Go's name of the type.
    pub(super) fn type_name(self) -> &'static str {
        match self {
            Self::Any => "interface {}",
            Self::Raw => "reflect.Value",
            Self::Text => "string",
            Self::Integer => "int",
            Self::Texts => "[]string",
        }
    }
}

/// The parameters of a function.
#[derive(Clone, Copy, Debug)]
pub(super) struct Signature {
    pub(super) fixed: &'static [Param],
    pub(super) variadic: Option<Param>,
}

/// The parameters of a function of the set; `None` when there is no such function.
pub(super) fn signature(set: FunctionSet, name: &str) -> Option<Signature> {
    use Param::{Any, Integer, Raw, Text, Texts};
    let fixed = |fixed| Signature {
        fixed,
        variadic: None,
    };
    let variadic = |fixed, rest| Signature {
        fixed,
        variadic: Some(rest),
    };
    let header = set == FunctionSet::Header;
    Some(match name {
        "and" | "or" | "call" | "index" | "slice" | "eq" => variadic(&[Raw], Raw),
        "len" | "not" => fixed(&[Raw]),
        "ne" | "lt" | "le" | "gt" | "ge" => fixed(&[Raw, Raw]),
        "html" | "js" | "urlquery" | "print" | "println" => variadic(&[], Any),
        "printf" => variadic(&[Text], Any),
        "json" if header => fixed(&[Text]),
        "join" if header => fixed(&[Text, Text]),
        "json" => fixed(&[Any]),
        "join" => fixed(&[Texts, Text]),
        "split" => fixed(&[Text, Text]),
        "title" | "lower" | "upper" => fixed(&[Text]),
        "pad" => fixed(&[Text, Integer, Integer]),
        "truncate" => fixed(&[Text, Integer]),
        "getDetailsOrder" if set == FunctionSet::Version => fixed(&[Any]),
        _ => return None,
    })
}

/// Calls a function with arguments that fit its signature. `and`, `or` and `call` are the caller's.
pub(super) fn call(set: FunctionSet, name: &str, args: &[Value]) -> Result<Value, String> {
    if set == FunctionSet::Header && !matches!(name, "pad") && is_docker(name) {
        return Ok(args.first().cloned().unwrap_or(Value::Invalid));
    }
    let text = |index: usize| match args.get(index) {
        Some(Value::Str(text, _)) => Rc::clone(text),
        _ => "".into(),
    };
    let integer = |index: usize| match args.get(index) {
        Some(Value::Int(value, _)) => *value,
        _ => 0,
    };
    Ok(match name {
        "not" => Value::Bool(!args[0].is_true()),
        "len" => length(&args[0])?,
        "index" => index(args)?,
        "slice" => slice(args)?,
        "eq" => Value::Bool(equal(args)?),
        "ne" => Value::Bool(!equal(args)?),
        "lt" => Value::Bool(less(args)?),
        "le" => Value::Bool(less(args)? || equal(args)?),
        "gt" => Value::Bool(!(less(args)? || equal(args)?)),
        "ge" => Value::Bool(!less(args)?),
        "print" => Value::string(sprint(args)),
        "println" => Value::string(sprintln(args)),
        "printf" => Value::string(sprintf(&text(0), &args[1..])),
        "html" => Value::string(html(&printable(args))),
        "js" => Value::string(js(&printable(args))),
        "urlquery" => Value::string(url_query(&printable(args))),
        "json" => {
            let mut out = String::new();
            write_json(&mut out, &args[0], HtmlEscape::No);
            Value::string(out)
        }
        "split" => split(&text(0), &text(1)),
        "join" => join(&args[0], &text(1)),
        "title" => Value::string(title(&text(0))),
        "lower" => Value::string(map_chars(&text(0), simple_lower)),
        "upper" => Value::string(map_chars(&text(0), simple_upper)),
        "pad" => pad(&text(0), integer(1), integer(2))?,
        "truncate" => truncate(&text(0), integer(1))?,
        "getDetailsOrder" => details_order(&args[0]),
        _ => return Err(format!("{name} is not a function")),
    })
}

fn is_docker(name: &str) -> bool {
    matches!(
        name,
        "json" | "split" | "join" | "title" | "lower" | "upper" | "pad" | "truncate"
    )
}

fn length(value: &Value) -> Result<Value, String> {
    let (value, is_nil) = value.indirect();
    if is_nil {
        return Err("len of nil pointer".to_owned());
    }
    let length = match &value {
        Value::Str(text, _) => text.len(),
        Value::List(_, items) => items.as_ref().map_or(0, |items| items.len()),
        Value::Map(_, entries) => entries.as_ref().map_or(0, |entries| entries.len()),
        Value::Invalid => {
            return Err("reflect: call of reflect.Value.Type on zero Value".to_owned());
        }
        _ => return Err(format!("len of type {}", value.type_name())),
    };
    Ok(Value::int(length as i64))
}

fn index(args: &[Value]) -> Result<Value, String> {
    let mut item = args[0].clone().open();
    if matches!(item, Value::Invalid) {
        return Err("index of untyped nil".to_owned());
    }
    for key in &args[1..] {
        let key = key.clone().open();
        let (inner, is_nil) = item.indirect();
        if is_nil {
            return Err("index of nil pointer".to_owned());
        }
        item = match &inner {
            Value::Str(text, _) => match text.as_bytes().get(position(&key, text.len())?) {
                Some(byte) => Value::Uint(u64::from(*byte), "uint8"),
                None => return Err("reflect: string index out of range".to_owned()),
            },
            Value::List(_, items) => {
                let items = items.as_deref().unwrap_or_default();
                match items.get(position(&key, items.len())?) {
                    Some(item) => item.clone(),
                    None => return Err("reflect: slice index out of range".to_owned()),
                }
            }
            Value::Map(ty, entries) => {
                let GoType::Map(_, key_type, element) = ty else {
                    return Ok(Value::Invalid);
                };
                let key = match &key {
                    Value::Str(text, name) if name == key_type => Rc::clone(text),
                    Value::Invalid => {
                        return Err(format!("value is nil; should be of type {key_type}"));
                    }
                    _ => {
                        let got = key.type_name();
                        return Err(format!("value has type {got}; should be {key_type}"));
                    }
                };
                let found = entries
                    .as_ref()
                    .and_then(|entries| entries.get(&*key).cloned());
                found.unwrap_or_else(|| Value::zero(element))
            }
            _ => return Err(format!("can't index item of type {}", inner.type_name())),
        };
    }
    Ok(item)
}

fn position(key: &Value, length: usize) -> Result<usize, String> {
    let position = match key {
        Value::Int(value, _) => i128::from(*value),
        Value::Uint(value, _) => i128::from(*value),
        Value::Invalid => return Err("cannot index slice/array with nil".to_owned()),
        _ => {
            return Err(format!(
                "cannot index slice/array with type {}",
                key.type_name()
            ));
        }
    };
    usize::try_from(position)
        .ok()
        .filter(|position| *position <= length)
        .ok_or_else(|| format!("index out of range: {position}"))
}

fn slice(args: &[Value]) -> Result<Value, String> {
    let item = args[0].clone().open();
    if matches!(item, Value::Invalid) {
        return Err("slice of untyped nil".to_owned());
    }
    let bounds = &args[1..];
    if bounds.len() > 3 {
        return Err(format!("too many slice indexes: {}", bounds.len()));
    }
    let length = match &item {
        Value::Str(..) if bounds.len() == 3 => {
            return Err("cannot 3-index slice a string".to_owned());
        }
        Value::Str(text, _) => text.len(),
        Value::List(_, items) => items.as_ref().map_or(0, |items| items.len()),
        _ => return Err(format!("can't slice item of type {}", item.type_name())),
    };
    let mut range = [0, length, length];
    for (slot, bound) in range.iter_mut().zip(bounds) {
        *slot = position(&bound.clone().open(), length)?;
    }
    let [from, to, cap] = range;
    if from > to || to > cap {
        let (low, high) = if from > to { (from, to) } else { (to, cap) };
        return Err(format!("invalid slice index: {low} > {high}"));
    }
    Ok(match item {
        Value::Str(text, name) => {
            let bytes = text.as_bytes().get(from..to).unwrap_or_default();
            Value::Str(String::from_utf8_lossy(bytes).into(), name)
        }
        Value::List(ty, items) => Value::List(
            ty,
            items.map(|items| items.get(from..to).unwrap_or_default().into()),
        ),
        other => other,
    })
}

/// The kinds that order and equality know.
#[derive(PartialEq, Eq)]
enum Kind {
    Bool,
    Int,
    Uint,
    Float,
    Str,
    Other,
}

fn kind(value: &Value) -> Kind {
    match value {
        Value::Bool(_) => Kind::Bool,
        Value::Int(..) => Kind::Int,
        Value::Uint(..) => Kind::Uint,
        Value::Float(_) => Kind::Float,
        Value::Str(..) => Kind::Str,
        _ => Kind::Other,
    }
}

const BAD_COMPARISON: &str = "incompatible types for comparison";
const BAD_COMPARISON_TYPE: &str = "invalid type for comparison";

fn equal(args: &[Value]) -> Result<bool, String> {
    let first = args[0].clone().open();
    if args.len() < 2 {
        return Err("missing argument for comparison".to_owned());
    }
    for other in &args[1..] {
        if equal_pair(&first, &other.clone().open())? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn equal_pair(first: &Value, other: &Value) -> Result<bool, String> {
    match (first, other) {
        (Value::Bool(a), Value::Bool(b)) => return Ok(a == b),
        (Value::Float(a), Value::Float(b)) => return Ok(a == b),
        (Value::Str(a, _), Value::Str(b, _)) => return Ok(a == b),
        _ => {}
    }
    if let (Some(a), Some(b)) = (whole(first), whole(other)) {
        return Ok(a == b);
    }
    if kind(first) != kind(other) {
        if matches!(first, Value::Invalid) || matches!(other, Value::Invalid) {
            return Ok(false);
        }
        return Err(BAD_COMPARISON.to_owned());
    }
    let comparable_shapes = std::mem::discriminant(first) == std::mem::discriminant(other)
        || matches!(first, Value::Invalid)
        || matches!(other, Value::Invalid);
    if !comparable_shapes {
        return Err(format!(
            "non-comparable types {}: {}, {}: {}",
            sprint(std::slice::from_ref(first)),
            first.type_name(),
            other.type_name(),
            sprint(std::slice::from_ref(other))
        ));
    }
    if is_nil(first) || is_nil(other) {
        return Ok(is_nil(first) == is_nil(other));
    }
    same(first, other).ok_or_else(|| {
        format!(
            "non-comparable type {}: {}",
            sprint(std::slice::from_ref(other)),
            other.type_name()
        )
    })
}

fn whole(value: &Value) -> Option<i128> {
    match value {
        Value::Int(value, _) => Some(i128::from(*value)),
        Value::Uint(value, _) => Some(i128::from(*value)),
        _ => None,
    }
}

fn is_nil(value: &Value) -> bool {
    matches!(
        value,
        Value::Invalid
            | Value::Interface(None)
            | Value::Ptr(_, None)
            | Value::List(_, None)
            | Value::Map(_, None)
    )
}

/// Go's `==`; `None` for lists, maps and what holds them.
fn same(first: &Value, other: &Value) -> Option<bool> {
    match (first, other) {
        (Value::List(..) | Value::Map(..), _) => None,
        (Value::Struct(a), Value::Struct(b)) => {
            let pairs = a.fields.iter().zip(&b.fields);
            let mut all = std::ptr::eq(a.ty, b.ty);
            for (a, b) in pairs {
                all &= same(a, b)?;
            }
            Some(all)
        }
        (Value::Ptr(_, Some(a)), Value::Ptr(_, Some(b))) => Some(Rc::ptr_eq(a, b)),
        (Value::Object(a), Value::Object(b)) => Some(Rc::ptr_eq(a, b)),
        (Value::Time(a), Value::Time(b)) => Some(a == b),
        _ if is_nil(first) || is_nil(other) => Some(is_nil(first) == is_nil(other)),
        _ => Some(equal_pair(first, other).unwrap_or(false)),
    }
}

fn less(args: &[Value]) -> Result<bool, String> {
    let (first, other) = (args[0].clone().open(), args[1].clone().open());
    if kind(&first) == Kind::Other || kind(&other) == Kind::Other {
        return Err(BAD_COMPARISON_TYPE.to_owned());
    }
    let order = match (&first, &other) {
        (Value::Bool(_), Value::Bool(_)) => return Err(BAD_COMPARISON_TYPE.to_owned()),
        (Value::Float(a), Value::Float(b)) => a.partial_cmp(b),
        (Value::Str(a, _), Value::Str(b, _)) => Some(a.cmp(b)),
        _ => match (whole(&first), whole(&other)) {
            (Some(a), Some(b)) => Some(a.cmp(&b)),
            _ => return Err(BAD_COMPARISON.to_owned()),
        },
    };
    Ok(order == Some(Ordering::Less))
}

/// The arguments as one text, nil as `<no value>`.
fn printable(args: &[Value]) -> String {
    let args: Vec<Value> = args
        .iter()
        .map(|arg| match arg {
            Value::Invalid => Value::string("<no value>"),
            arg => arg.indirect().0,
        })
        .collect();
    sprint(&args)
}

fn html(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '"' => out.push_str("&#34;"),
            '\'' => out.push_str("&#39;"),
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '\0' => out.push('\u{fffd}'),
            _ => out.push(c),
        }
    }
    out
}

fn js(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\'' => out.push_str("\\'"),
            '"' => out.push_str("\\\""),
            '<' | '>' | '&' | '=' | '\0'..='\u{1f}' => {
                out.push_str(&format!("\\u{:04X}", c as u32));
            }
            _ if c.is_ascii() || is_printable(c) => out.push(c),
            _ => out.push_str(&format!("\\u{:04X}", c as u32)),
        }
    }
    out
}

fn url_query(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                out.push(char::from(byte));
            }
            b' ' => out.push('+'),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

fn split(text: &str, separator: &str) -> Value {
    if separator.is_empty() {
        return Value::strings(text.chars().map(|c| c.to_string()));
    }
    Value::strings(text.split(separator))
}

fn join(list: &Value, separator: &str) -> Value {
    let items = match list {
        Value::List(_, Some(items)) => &items[..],
        _ => &[],
    };
    let texts: Vec<&str> = items
        .iter()
        .map(|item| match item {
            Value::Str(text, _) => &**text,
            _ => "",
        })
        .collect();
    Value::string(texts.join(separator))
}

fn map_chars(text: &str, map: fn(char) -> char) -> String {
    text.chars().map(map).collect()
}

/// Go maps one character to one: `ß` stays.
fn simple_upper(c: char) -> char {
    let mut upper = c.to_uppercase();
    match (upper.next(), upper.next()) {
        (Some(upper), None) => upper,
        _ => c,
    }
}

fn simple_lower(c: char) -> char {
    c.to_lowercase().next().unwrap_or(c)
}

fn title(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut after_separator = true;
    for c in text.chars() {
        if after_separator {
            out.push(simple_upper(c));
        } else {
            out.push(c);
        }
        after_separator = if c.is_ascii() {
            !(c.is_ascii_alphanumeric() || c == '_')
        } else {
            !c.is_alphanumeric() && c.is_whitespace()
        };
    }
    out
}

fn pad(text: &str, before: i64, after: i64) -> Result<Value, String> {
    if text.is_empty() {
        return Ok(Value::string(""));
    }
    if before < 0 || after < 0 {
        return Err("strings: negative Repeat count".to_owned());
    }
    if before > PAD_MAX || after > PAD_MAX {
        return Err(format!("padding is limited to {PAD_MAX} spaces"));
    }
    let spaces = |count: i64| " ".repeat(count.unsigned_abs() as usize);
    Ok(Value::string(format!(
        "{}{text}{}",
        spaces(before),
        spaces(after)
    )))
}

fn truncate(text: &str, length: i64) -> Result<Value, String> {
    let Ok(length) = usize::try_from(length) else {
        return Err(format!(
            "runtime error: slice bounds out of range [:{length}]"
        ));
    };
    let head = text.as_bytes().get(..length).unwrap_or(text.as_bytes());
    Ok(Value::string(String::from_utf8_lossy(head)))
}

/// The keys of a component's details, sorted.
fn details_order(component: &Value) -> Value {
    let details = match component.indirect().0 {
        Value::Struct(fields) => fields.field("Details"),
        _ => None,
    };
    match details {
        Some(Value::Map(_, Some(entries))) => Value::strings(entries.keys().map(String::as_str)),
        _ => Value::List(&STRING_LIST, None),
    }
}
