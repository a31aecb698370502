//! The values templates work on, with enough of Go's types to print and fail as Go does.
//!
//! Three kinds of data meet here: documents without types (`map[string]interface {}`, as Go decodes
//! JSON), typed structs ([`super::super::typed`] makes them from documents), and rows
//! ([`Context`]), whose members are computed when a template asks for them.

use std::collections::BTreeMap;
use std::fmt;
use std::rc::Rc;

use serde_json::Value as Json;

/// The name of the type whose integers are nanoseconds and print as `1m30s`.
pub(crate) const DURATION: &str = "time.Duration";

/// A Go type, as far as messages, zero values and JSON need it.
#[derive(Debug)]
pub(crate) enum GoType {
    /// `interface {}`
    Any,
    Bool,
    /// A signed integer type by its name.
    Int(&'static str),
    /// An unsigned integer type by its name.
    Uint(&'static str),
    Float,
    /// A string type by its name.
    Str(&'static str),
    /// `time.Time`, kept as its RFC 3339 text.
    Time,
    /// A slice or array; the name where it is not `[]` + element.
    List(Option<&'static str>, &'static GoType),
    /// A map: its own name, the key type's name, the element.
    Map(Option<&'static str>, &'static str, &'static GoType),
    Struct(&'static StructType),
    Ptr(&'static GoType),
}

/// A struct type: its name and fields in order.
#[derive(Debug)]
pub(crate) struct StructType {
    pub(crate) name: &'static str,
    pub(crate) fields: &'static [Field],
}

/// A field of a [`StructType`].
#[derive(Debug)]
pub(crate) struct Field {
    /// Its name in templates.
    pub(crate) name: &'static str,
    /// Its name in JSON; empty when JSON leaves it out.
    pub(crate) json: &'static str,
    pub(crate) ty: &'static GoType,
    /// JSON leaves it out when empty.
    pub(crate) omit_empty: bool,
    /// An embedded struct, whose fields count as the outer one's.
    pub(crate) embedded: bool,
}

impl fmt::Display for GoType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("interface {}"),
            Self::Bool => f.write_str("bool"),
            Self::Int(name) | Self::Uint(name) | Self::Str(name) => f.write_str(name),
            Self::Float => f.write_str("float64"),
            Self::Time => f.write_str("time.Time"),
            Self::List(Some(name), _) | Self::Map(Some(name), ..) => f.write_str(name),
            Self::List(None, element) => write!(f, "[]{element}"),
            Self::Map(None, key, element) => write!(f, "map[{key}]{element}"),
            Self::Struct(ty) => f.write_str(ty.name),
            Self::Ptr(ty) => write!(f, "*{ty}"),
        }
    }
}

pub(crate) static ANY: GoType = GoType::Any;
pub(crate) static STRING: GoType = GoType::Str("string");
pub(crate) static STRING_LIST: GoType = GoType::List(None, &STRING);
pub(crate) static ANY_LIST: GoType = GoType::List(None, &ANY);
pub(crate) static ANY_MAP: GoType = GoType::Map(None, "string", &ANY);

/// The type name of a number decoded without a type; it behaves as a string.
pub(crate) const JSON_NUMBER: &str = "json.Number";

/// A row of a table: a struct with methods, as Docker's formatters have them.
pub(crate) trait Context {
    /// Go's name of the type, for messages.
    fn type_name(&self) -> &'static str;
    /// The members that need no argument, sorted by name (the order of `{{json .}}`).
    fn members(&self) -> &'static [&'static str];
    /// The value of a member of [`Self::members`].
    fn get(&self, member: &str) -> Value;
    /// The labels that `.Label "key"` looks up; `None` where there is no such method.
    fn label(&self, _key: &str) -> Option<String> {
        None
    }
    /// Whether there is a `.Label` method.
    fn has_label(&self) -> bool {
        false
    }
    /// Told once before a row is made JSON as a whole; some members change then.
    fn to_json_members(&self) -> Vec<(&'static str, Value)> {
        self.members()
            .iter()
            .map(|name| (*name, self.get(name)))
            .collect()
    }
}

/// A value in a template.
#[derive(Clone)]
pub(crate) enum Value {
    /// No value at all (`reflect.Value{}`); prints as `<no value>`.
    Invalid,
    /// An `interface {}` that holds a value, or nil.
    Interface(Option<Rc<Value>>),
    Bool(bool),
    /// A signed integer and its type's name.
    Int(i64, &'static str),
    Uint(u64, &'static str),
    Float(f64),
    /// A string and its type's name.
    Str(Rc<str>, &'static str),
    Time(Rc<str>),
    List(&'static GoType, Option<Rc<[Value]>>),
    Map(&'static GoType, Option<Rc<BTreeMap<String, Value>>>),
    Struct(Rc<StructValue>),
    /// A pointer to a value of the type, or nil.
    Ptr(&'static GoType, Option<Rc<Value>>),
    Object(Rc<dyn Context>),
}

/// A struct's fields in the order of its type.
pub(crate) struct StructValue {
    pub(crate) ty: &'static StructType,
    pub(crate) fields: Vec<Value>,
}

impl StructValue {
    /// A field by its Go name, embedded structs searched after the struct's own.
    pub(crate) fn field(&self, name: &str) -> Option<Value> {
        let mut embedded = Vec::new();
        for (field, value) in self.ty.fields.iter().zip(&self.fields) {
            if field.name == name {
                return Some(value.clone());
            }
            if field.embedded {
                embedded.push(value);
            }
        }
        embedded
            .into_iter()
            .find_map(|value| match value.indirect().0 {
                Value::Struct(inner) => inner.field(name),
                _ => None,
            })
    }
}

impl Value {
    /// A plain string.
    pub(crate) fn string(text: impl Into<Rc<str>>) -> Self {
        Self::Str(text.into(), "string")
    }

    /// A plain `int`.
    pub(crate) fn int(value: i64) -> Self {
        Self::Int(value, "int")
    }

    /// A `[]string`.
    pub(crate) fn strings<T: Into<Rc<str>>>(items: impl IntoIterator<Item = T>) -> Self {
        Self::List(
            &STRING_LIST,
            Some(items.into_iter().map(Self::string).collect()),
        )
    }

    /// A row.
    pub(crate) fn object(row: impl Context + 'static) -> Self {
        Self::Object(Rc::new(row))
    }

    /// The document as Go decodes it without types, numbers kept as written.
    pub(crate) fn from_json(json: &Json) -> Self {
        match json {
            Json::Null => Self::Invalid,
            Json::Bool(value) => Self::Bool(*value),
            Json::Number(number) => Self::Str(number.to_string().into(), JSON_NUMBER),
            Json::String(text) => Self::string(text.as_str()),
            Json::Array(items) => {
                Self::List(&ANY_LIST, Some(items.iter().map(Self::element).collect()))
            }
            Json::Object(members) => {
                let entries = members
                    .iter()
                    .map(|(key, value)| (key.clone(), Self::element(value)));
                Self::Map(&ANY_MAP, Some(Rc::new(entries.collect())))
            }
        }
    }

    fn element(json: &Json) -> Self {
        match Self::from_json(json) {
            Self::Invalid => Self::Interface(None),
            value => Self::Interface(Some(Rc::new(value))),
        }
    }

    /// The zero value of a type.
    pub(crate) fn zero(ty: &'static GoType) -> Self {
        match ty {
            GoType::Any => Self::Interface(None),
            GoType::Bool => Self::Bool(false),
            GoType::Int(name) => Self::Int(0, name),
            GoType::Uint(name) => Self::Uint(0, name),
            GoType::Float => Self::Float(0.0),
            GoType::Str(name) => Self::Str("".into(), name),
            GoType::Time => Self::Time("0001-01-01T00:00:00Z".into()),
            GoType::List(..) => Self::List(ty, None),
            GoType::Map(..) => Self::Map(ty, None),
            GoType::Struct(ty) => Self::Struct(Rc::new(StructValue {
                ty,
                fields: ty.fields.iter().map(|field| Self::zero(field.ty)).collect(),
            })),
            GoType::Ptr(inner) => Self::Ptr(inner, None),
        }
    }

    /// Go's name of the value's type.
    pub(crate) fn type_name(&self) -> String {
        match self {
            Self::Invalid => "<nil>".to_owned(),
            Self::Interface(_) => "interface {}".to_owned(),
            Self::Bool(_) => "bool".to_owned(),
            Self::Int(_, name) | Self::Uint(_, name) | Self::Str(_, name) => (*name).to_owned(),
            Self::Float(_) => "float64".to_owned(),
            Self::Time(_) => "time.Time".to_owned(),
            Self::List(ty, _) | Self::Map(ty, _) => ty.to_string(),
            Self::Struct(value) => value.ty.name.to_owned(),
            Self::Ptr(ty, _) => format!("*{ty}"),
            Self::Object(row) => row.type_name().to_owned(),
        }
    }

    /// What an `interface {}` holds; any other value as it is.
    pub(crate) fn open(self) -> Self {
        match self {
            Self::Interface(None) => Self::Invalid,
            Self::Interface(Some(inner)) => Rc::unwrap_or_clone(inner).open(),
            value => value,
        }
    }

    /// Follows pointers and interfaces; true when a nil stopped it.
    pub(crate) fn indirect(&self) -> (Self, bool) {
        match self {
            Self::Interface(Some(inner)) | Self::Ptr(_, Some(inner)) => inner.indirect(),
            Self::Interface(None) | Self::Ptr(_, None) => (self.clone(), true),
            value => (value.clone(), false),
        }
    }

    /// Whether `if` takes the value for true.
    pub(crate) fn is_true(&self) -> bool {
        match self {
            Self::Invalid | Self::Interface(None) | Self::Ptr(_, None) => false,
            Self::Interface(Some(inner)) => inner.is_true(),
            Self::Bool(value) => *value,
            Self::Int(value, _) => *value != 0,
            Self::Uint(value, _) => *value != 0,
            Self::Float(value) => *value != 0.0,
            Self::Str(text, _) => !text.is_empty(),
            Self::List(_, items) => items.as_ref().is_some_and(|items| !items.is_empty()),
            Self::Map(_, entries) => entries.as_ref().is_some_and(|entries| !entries.is_empty()),
            Self::Time(_) | Self::Struct(_) | Self::Ptr(_, Some(_)) | Self::Object(_) => true,
        }
    }

    /// Whether `omitempty` leaves the value out of JSON.
    pub(crate) fn is_empty(&self) -> bool {
        match self {
            Self::Time(_) | Self::Struct(_) | Self::Object(_) => false,
            Self::Interface(inner) => inner.is_none(),
            value => !value.is_true(),
        }
    }
}
