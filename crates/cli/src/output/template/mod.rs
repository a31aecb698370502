//! Go's `text/template` over our values, for `--format` and `--filter`-like flags.
//!
//! Docker's `--format` *is* Go's template language, and scripts depend on its corners: trimming,
//! pipelines, the words of its errors. Text goes through [`lexer`] and [`parser`] to a tree that
//! [`exec`] runs over a [`Value`]. Values carry as much of Go's types as messages and printing
//! show. Measured against the Docker command line 28.2.2; the tests hold its answers.
//!
//! Templates come from users and data from containers: depth, steps and output are bounded, and
//! nothing here panics.

mod eval;
mod exec;
mod functions;
mod json;
mod lexer;
mod methods;
mod node;
mod number;
mod operands;
mod parser;
mod printf;
mod quote;
#[cfg(test)]
mod tests;
mod value;

use std::borrow::Cow;

use thiserror::Error;

pub(crate) use functions::FunctionSet;
pub(crate) use quote::quote as quoted;
pub(crate) use value::{
    ANY, ANY_LIST, ANY_MAP, Context, DURATION, Field, GoType, STRING, STRING_LIST, StructType,
    StructValue, Value,
};

/// What a template did wrong, in Go's words.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0}")]
pub(crate) struct TemplateError(pub(crate) String);

/// What a field of a map that is not there gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MissingKey {
    /// No value: `<no value>`.
    NoValue,
    /// An error.
    Error,
}

/// How a template runs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Options {
    pub(crate) missing_key: MissingKey,
    pub(crate) functions: FunctionSet,
    /// Printed values have their control characters shown, not sent to the terminal.
    pub(crate) escape_control: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            missing_key: MissingKey::NoValue,
            functions: FunctionSet::Docker,
            escape_control: false,
        }
    }
}

/// A parsed template.
#[derive(Debug)]
pub(crate) struct Template {
    name: String,
    text: String,
    trees: parser::Trees,
}

impl Template {
    /// Parses `text` with Docker's functions; the template has no name, as Docker's.
    pub(crate) fn parse(text: &str) -> Result<Self, TemplateError> {
        Self::parse_named("", text, FunctionSet::Docker)
    }

    /// Parses `text` as the template `name`, which errors show.
    pub(crate) fn parse_named(
        name: &str,
        text: &str,
        functions: FunctionSet,
    ) -> Result<Self, TemplateError> {
        let is_function = |name: &str| functions::signature(functions, name).is_some();
        let trees = parser::parse(name, text, &is_function)?;
        Ok(Self {
            name: name.to_owned(),
            text: text.to_owned(),
            trees,
        })
    }

    /// Renders the template over `data`.
    pub(crate) fn execute(&self, data: &Value, options: Options) -> Result<String, TemplateError> {
        exec::execute(&self.name, &self.text, &self.trees, options, data)
    }
}

/// The text with control characters spelt out (`\x1b`), so that a container's words cannot steer
/// the terminal. Tabs and new lines stay: they are what tables are made of.
pub(crate) fn escape_control(text: &str) -> Cow<'_, str> {
    let is_control = |c: char| c.is_control() && !matches!(c, '\t' | '\n');
    if !text.contains(is_control) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if is_control(c) {
            quote::push_escape(&mut out, c)
        } else {
            out.push(c)
        }
    }
    Cow::Owned(out)
}

/// `time.Time`'s own text of an RFC 3339 time: `2006-01-02 15:04:05.9 +0000 UTC`.
fn go_time(text: &str) -> String {
    let Some((date, rest)) = text.split_once('T') else {
        return text.to_owned();
    };
    if let Some(time) = rest.strip_suffix('Z') {
        return format!("{date} {time} +0000 UTC");
    }
    let Some(sign) = rest.rfind(['+', '-']) else {
        return text.to_owned();
    };
    let (time, zone) = rest.split_at(sign);
    let zone = zone.replace(':', "");
    format!("{date} {time} {zone} {zone}")
}
