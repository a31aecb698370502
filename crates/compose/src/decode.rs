//! Trees become values: a `serde` deserializer over nodes with positions.
//!
//! It is as lenient as Docker Compose's own binding: a text stands for a number or a truth where
//! one belongs, a number for a text, nothing for an empty value. Keys that begin with `x-` are
//! gathered under [`EXTENSIONS`].

use serde::de::{self, DeserializeSeed, IntoDeserializer, Visitor};

use crate::error::{Fault, Step};
use crate::tree::{Map, Node, Value};

/// The field that takes the keys beginning with `x-`.
pub(crate) const EXTENSIONS: &str = "#extensions";

/// Reads a value from a tree.
pub(crate) fn decode<'a, T: serde::Deserialize<'a>>(node: &'a Node) -> Step<T> {
    T::deserialize(node).map_err(|DecodeError(fault)| fault)
}

/// A fault in serde's clothes.
#[derive(Debug)]
pub(crate) struct DecodeError(Fault);

impl std::fmt::Display for DecodeError {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.0.text)
    }
}

impl std::error::Error for DecodeError {}

impl de::Error for DecodeError {
    fn custom<T: std::fmt::Display>(message: T) -> Self {
        Self(Fault::of_project(message.to_string()))
    }
}

fn wrong(node: &Node, wanted: &str) -> DecodeError {
    let text = match &node.value {
        Value::Text(text) => format!("{text:?} is not {wanted}"),
        _ => format!("a {} is not {wanted}", node.kind()),
    };
    DecodeError(Fault::at(node.at, text))
}

fn placed<T>(result: Result<T, DecodeError>, node: &Node) -> Result<T, DecodeError> {
    result.map_err(|DecodeError(fault)| DecodeError(fault.or_at(node.at)))
}

impl Node {
    fn integer(&self) -> Result<i64, DecodeError> {
        match &self.value {
            Value::Int(value) => Ok(*value),
            Value::Float(value) => Ok(*value as i64),
            Value::Null => Ok(0),
            Value::Text(text) => text.parse().map_err(|_| wrong(self, "a whole number")),
            _ => Err(wrong(self, "a whole number")),
        }
    }

    fn float(&self) -> Result<f64, DecodeError> {
        match &self.value {
            Value::Int(value) => Ok(*value as f64),
            Value::Float(value) => Ok(*value),
            Value::Null => Ok(0.0),
            Value::Text(text) => text.parse().map_err(|_| wrong(self, "a number")),
            _ => Err(wrong(self, "a number")),
        }
    }
}

macro_rules! integers {
    ($($method:ident $visit:ident $kind:ty;)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
            let value = <$kind>::try_from(self.integer()?).map_err(|_| wrong(self, "in range"))?;
            placed(visitor.$visit(value), self)
        }
    )*};
}

impl<'de> de::Deserializer<'de> for &'de Node {
    type Error = DecodeError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        let result = match &self.value {
            Value::Null => visitor.visit_unit(),
            Value::Bool(value) => visitor.visit_bool(*value),
            Value::Int(value) => visitor.visit_i64(*value),
            Value::Float(value) => visitor.visit_f64(*value),
            Value::Text(text) => visitor.visit_borrowed_str(text),
            Value::List(list) => visitor.visit_seq(Items(list.iter())),
            Value::Map(map) => visitor.visit_map(Pairs::of(map)),
        };
        placed(result, self)
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        let value = match &self.value {
            Value::Bool(value) => *value,
            Value::Null => false,
            Value::Text(text) => crate::interpolate::boolean(text)
                .map_err(|_| wrong(self, "a boolean (true or false)"))?,
            _ => return Err(wrong(self, "a boolean (true or false)")),
        };
        placed(visitor.visit_bool(value), self)
    }

    integers! {
        deserialize_i8 visit_i8 i8; deserialize_i16 visit_i16 i16;
        deserialize_i32 visit_i32 i32; deserialize_i64 visit_i64 i64;
        deserialize_u8 visit_u8 u8; deserialize_u16 visit_u16 u16;
        deserialize_u32 visit_u32 u32; deserialize_u64 visit_u64 u64;
    }

    fn deserialize_f32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        placed(visitor.visit_f32(self.float()? as f32), self)
    }

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        placed(visitor.visit_f64(self.float()?), self)
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        self.deserialize_string(visitor)
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        let result = match &self.value {
            Value::Text(text) => visitor.visit_borrowed_str(text),
            Value::Null => visitor.visit_borrowed_str(""),
            Value::Int(value) => visitor.visit_string(value.to_string()),
            _ => return Err(wrong(self, "a string")),
        };
        placed(result, self)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        match self.value {
            Value::Null => visitor.visit_none(),
            _ => placed(visitor.visit_some(self), self),
        }
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        match &self.value {
            Value::List(list) => placed(visitor.visit_seq(Items(list.iter())), self),
            Value::Null => visitor.visit_seq(Items([].iter())),
            _ => Err(wrong(self, "a list")),
        }
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        match &self.value {
            Value::Map(map) => placed(visitor.visit_map(Pairs::of(map)), self),
            Value::Null => visitor.visit_map(Pairs::default()),
            _ => Err(wrong(self, "a mapping")),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        match &self.value {
            Value::Map(map) => placed(visitor.visit_map(Pairs::of_struct(map)), self),
            Value::Null => visitor.visit_map(Pairs::default()),
            _ => Err(wrong(self, "a mapping")),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        placed(visitor.visit_newtype_struct(self), self)
    }

    serde::forward_to_deserialize_any! {
        i128 u128 char bytes byte_buf unit unit_struct tuple tuple_struct enum identifier
        ignored_any
    }
}

struct Items<'de>(std::slice::Iter<'de, Node>);

impl<'de> de::SeqAccess<'de> for Items<'de> {
    type Error = DecodeError;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, DecodeError> {
        self.0
            .next()
            .map(|node| placed(seed.deserialize(node), node))
            .transpose()
    }
}

/// The pairs of a mapping; for a structure its extensions come last, in one.
#[derive(Default)]
struct Pairs<'de> {
    pairs: Vec<(&'de str, &'de Node)>,
    extensions: Vec<(&'de str, &'de Node)>,
    next: usize,
}

impl<'de> Pairs<'de> {
    fn of(map: &'de Map) -> Self {
        let pairs = map.iter().collect();
        let (extensions, next) = (Vec::new(), 0);
        Self {
            pairs,
            extensions,
            next,
        }
    }

    /// An empty value is no value: the field has its default.
    fn of_struct(map: &'de Map) -> Self {
        let (extensions, pairs): (Vec<_>, Vec<_>) =
            map.iter().partition(|(key, _)| key.starts_with("x-"));
        let pairs = pairs
            .into_iter()
            .filter(|(_, node)| !node.is_null())
            .collect();
        Self {
            pairs,
            extensions,
            next: 0,
        }
    }
}

impl<'de> de::MapAccess<'de> for Pairs<'de> {
    type Error = DecodeError;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, DecodeError> {
        let key = match self.pairs.get(self.next) {
            Some((key, _)) => key,
            None if self.next == self.pairs.len() && !self.extensions.is_empty() => EXTENSIONS,
            None => return Ok(None),
        };
        seed.deserialize(de::value::BorrowedStrDeserializer::new(key))
            .map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(
        &mut self,
        seed: V,
    ) -> Result<V::Value, DecodeError> {
        self.next += 1;
        match self.pairs.get(self.next - 1) {
            Some((_, node)) => placed(seed.deserialize(*node), node),
            None => {
                let extensions = std::mem::take(&mut self.extensions).into_iter();
                seed.deserialize(de::value::MapDeserializer::new(extensions))
            }
        }
    }
}

impl<'de> IntoDeserializer<'de, DecodeError> for &'de Node {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}
