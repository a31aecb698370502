//! Documents seen through Go's types.
//!
//! Docker runs an `inspect` template first over its typed structs and only then over the raw
//! document. So `{{if .State.Health}}` works where the document has no such member, `{{.ID}}` is
//! the member `Id`, and `{{.State}}` prints fields in order. The tables here say what the structs
//! of Docker's API (28.2) look like; [`typed`] reads a document through them.

pub(crate) mod container;
pub(crate) mod others;

use std::rc::Rc;

use serde_json::Value as Json;

use super::template::{GoType, StructType, StructValue, Value};

/// The document as a value of the type; what does not fit the type is its zero value.
pub(crate) fn typed(ty: &'static GoType, json: &Json) -> Value {
    match (ty, json) {
        (GoType::Any, json) => match Value::from_json(json) {
            Value::Invalid => Value::Interface(None),
            value => Value::Interface(Some(Rc::new(value))),
        },
        (GoType::Bool, Json::Bool(value)) => Value::Bool(*value),
        (GoType::Int(name), Json::Number(number)) => match number.as_i64() {
            Some(value) => Value::Int(value, name),
            None => Value::zero(ty),
        },
        (GoType::Uint(name), Json::Number(number)) => match number.as_u64() {
            Some(value) => Value::Uint(value, name),
            None => Value::zero(ty),
        },
        (GoType::Float, Json::Number(number)) => Value::Float(number.as_f64().unwrap_or(0.0)),
        (GoType::Str(name), Json::String(text)) => Value::Str(text.as_str().into(), name),
        (GoType::Time, Json::String(text)) => Value::Time(text.as_str().into()),
        (GoType::List(_, element), Json::Array(items)) => Value::List(
            ty,
            Some(items.iter().map(|item| typed(element, item)).collect()),
        ),
        (GoType::Map(_, _, element), Json::Object(members)) => {
            let entries = members
                .iter()
                .map(|(key, value)| (key.clone(), typed(element, value)));
            Value::Map(ty, Some(Rc::new(entries.collect())))
        }
        (GoType::Ptr(inner), json) if !json.is_null() => {
            Value::Ptr(inner, Some(Rc::new(typed(inner, json))))
        }
        (GoType::Struct(ty), json @ Json::Object(_)) => structure(ty, json),
        _ => Value::zero(ty),
    }
}

fn structure(ty: &'static StructType, json: &Json) -> Value {
    let fields = ty
        .fields
        .iter()
        .map(|field| {
            if field.embedded && field.json.is_empty() {
                // An embedded struct's members stand among the outer one's.
                return typed(field.ty, json);
            }
            match json.get(field.json) {
                Some(value) if !field.json.is_empty() => typed(field.ty, value),
                _ => Value::zero(field.ty),
            }
        })
        .collect();
    Value::Struct(Rc::new(StructValue { ty, fields }))
}

/// Short words for the tables.
mod words {
    use super::super::template::{ANY, Field, GoType, STRING, STRING_LIST};

    /// A field with the same name in JSON.
    pub(super) const fn f(name: &'static str, ty: &'static GoType) -> Field {
        Field {
            name,
            json: name,
            ty,
            omit_empty: false,
            embedded: false,
        }
    }

    /// A field that JSON leaves out when empty.
    pub(super) const fn o(name: &'static str, ty: &'static GoType) -> Field {
        Field {
            name,
            json: name,
            ty,
            omit_empty: true,
            embedded: false,
        }
    }

    /// A field with another name in JSON.
    pub(super) const fn n(name: &'static str, json: &'static str, ty: &'static GoType) -> Field {
        Field {
            name,
            json,
            ty,
            omit_empty: false,
            embedded: false,
        }
    }

    /// A field with another name in JSON that is left out when empty.
    pub(super) const fn no(name: &'static str, json: &'static str, ty: &'static GoType) -> Field {
        Field {
            name,
            json,
            ty,
            omit_empty: true,
            embedded: false,
        }
    }

    /// An embedded struct.
    pub(super) const fn e(name: &'static str, ty: &'static GoType) -> Field {
        Field {
            name,
            json: "",
            ty,
            omit_empty: false,
            embedded: true,
        }
    }

    pub(super) static S: &GoType = &STRING;
    pub(super) static SS: &GoType = &STRING_LIST;
    pub(super) static B: &GoType = &GoType::Bool;
    pub(super) static I: &GoType = &GoType::Int("int");
    pub(super) static I64: &GoType = &GoType::Int("int64");
    pub(super) static T: &GoType = &GoType::Time;
    pub(super) static MSS: &GoType = &GoType::Map(None, "string", &STRING);
    pub(super) static MSA: &GoType = &GoType::Map(None, "string", &ANY);
    pub(super) static PAIRS: &GoType =
        &GoType::List(None, &GoType::List(Some("[2]string"), &STRING));
}
