//! JSON as Go's encoder writes it: sorted maps, struct order, `<`, `>` and `&` escaped on demand.

use super::value::{JSON_NUMBER, StructValue, Value};
use api::docker_json::encode::write_string;

/// Whether `<`, `>` and `&` become `\u003c`, `\u003e` and `\u0026`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum HtmlEscape {
    Yes,
    No,
}

/// Appends the value.
pub(crate) fn write_json(out: &mut String, value: &Value, html: HtmlEscape) {
    match value {
        Value::Invalid | Value::Interface(None) | Value::Ptr(_, None) => out.push_str("null"),
        Value::List(_, None) | Value::Map(_, None) => out.push_str("null"),
        Value::Interface(Some(inner)) | Value::Ptr(_, Some(inner)) => write_json(out, inner, html),
        Value::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
        Value::Int(value, _) => out.push_str(&value.to_string()),
        Value::Uint(value, _) => out.push_str(&value.to_string()),
        Value::Float(value) => out.push_str(&json_float(*value)),
        Value::Str(text, JSON_NUMBER) => out.push_str(text),
        Value::Str(text, _) | Value::Time(text) => {
            write_string(out, text, html == HtmlEscape::Yes);
        }
        Value::List(_, Some(items)) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                write_json(out, item, html);
            }
            out.push(']');
        }
        Value::Map(_, Some(entries)) => {
            out.push('{');
            let mut first = true;
            for (key, value) in entries.iter() {
                write_member(out, &mut first, key, value, html);
            }
            out.push('}');
        }
        Value::Struct(value) => {
            out.push('{');
            let mut first = true;
            write_fields(out, &mut first, value, html);
            out.push('}');
        }
        // Docker's rows marshal themselves with Go's default, which escapes, whatever the caller.
        Value::Object(row) => {
            out.push('{');
            let mut first = true;
            for (name, value) in row.to_json_members() {
                write_member(out, &mut first, name, &value, HtmlEscape::Yes);
            }
            out.push('}');
        }
    }
}

fn write_member(out: &mut String, first: &mut bool, key: &str, value: &Value, html: HtmlEscape) {
    if !*first {
        out.push(',');
    }
    *first = false;
    write_string(out, key, html == HtmlEscape::Yes);
    out.push(':');
    write_json(out, value, html);
}

fn write_fields(out: &mut String, first: &mut bool, value: &StructValue, html: HtmlEscape) {
    for (field, value) in value.ty.fields.iter().zip(&value.fields) {
        if field.embedded && field.json.is_empty() {
            if let Value::Struct(inner) = value.indirect().0 {
                write_fields(out, first, &inner, html);
            }
            continue;
        }
        let is_left_out = field.omit_empty && value.is_empty();
        if !field.json.is_empty() && !is_left_out {
            write_member(out, first, field.json, value, html);
        }
    }
}

/// Shortest digits; an exponent below 1e-6 and from 1e21 on.
fn json_float(value: f64) -> String {
    let size = value.abs();
    if size != 0.0 && !(1e-6..1e21).contains(&size) {
        let text = format!("{value:e}");
        match text.split_once('e') {
            Some((digits, exponent)) if !exponent.starts_with('-') => {
                format!("{digits}e+{exponent}")
            }
            _ => text,
        }
    } else {
        value.to_string()
    }
}
