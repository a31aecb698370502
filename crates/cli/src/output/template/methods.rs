//! The methods that some of Docker's types have, as far as templates can use them.

use super::value::{DURATION, Value};

/// The result of a method without arguments; `None` when the type has no such method.
pub(super) fn call(value: &Value, name: &str) -> Option<Value> {
    match value {
        Value::Str(text, "container.NetworkMode") => network_mode(text, name),
        Value::Str(
            text,
            "container.PidMode"
            | "container.IpcMode"
            | "container.UTSMode"
            | "container.UsernsMode"
            | "container.CgroupnsMode",
        ) => mode(text, name),
        Value::Int(nanoseconds, DURATION) => duration(*nanoseconds, name),
        Value::Struct(fields) if fields.ty.name == "container.RestartPolicy" => {
            let Some(Value::Str(policy, _)) = fields.field("Name") else {
                return None;
            };
            Some(Value::Bool(match name {
                "IsNone" => matches!(&*policy, "" | "no"),
                "IsAlways" => &*policy == "always",
                "IsOnFailure" => &*policy == "on-failure",
                "IsUnlessStopped" => &*policy == "unless-stopped",
                _ => return None,
            }))
        }
        _ => None,
    }
}

fn duration(nanoseconds: i64, name: &str) -> Option<Value> {
    let whole = |unit: i64| Value::Int(nanoseconds / unit, "int64");
    // As Go: whole and fraction apart, so that whole units stay exact.
    let parts = |unit: i64| {
        Value::Float((nanoseconds / unit) as f64 + (nanoseconds % unit) as f64 / unit as f64)
    };
    Some(match name {
        "String" => Value::string(types::units::format_duration(nanoseconds)),
        "Nanoseconds" => whole(1),
        "Microseconds" => whole(1_000),
        "Milliseconds" => whole(1_000_000),
        "Seconds" => parts(1_000_000_000),
        "Minutes" => parts(60_000_000_000),
        "Hours" => parts(3_600_000_000_000),
        _ => return None,
    })
}

fn network_mode(text: &str, name: &str) -> Option<Value> {
    let other = text.strip_prefix("container:");
    let user_defined =
        !matches!(text, "" | "default" | "bridge" | "host" | "none" | "nat") && other.is_none();
    Some(match name {
        "IsNone" => Value::Bool(text == "none"),
        "IsDefault" => Value::Bool(text == "default"),
        "IsHost" => Value::Bool(text == "host"),
        "IsBridge" => Value::Bool(text == "bridge"),
        "IsContainer" => Value::Bool(other.is_some()),
        "IsPrivate" => Value::Bool(text != "host" && other.is_none()),
        "IsUserDefined" => Value::Bool(user_defined),
        "ConnectedContainer" => Value::string(other.unwrap_or("")),
        "UserDefined" => Value::string(if user_defined { text } else { "" }),
        "NetworkName" => match other {
            Some(_) => Value::string("container"),
            None => Value::string(text),
        },
        _ => return None,
    })
}

fn mode(text: &str, name: &str) -> Option<Value> {
    let other = text.strip_prefix("container:");
    Some(match name {
        "IsHost" => Value::Bool(text == "host"),
        "IsNone" => Value::Bool(text == "none"),
        "IsEmpty" => Value::Bool(text.is_empty()),
        "IsShareable" => Value::Bool(text == "shareable"),
        "IsContainer" => Value::Bool(other.is_some()),
        "IsPrivate" => Value::Bool(text == "private"),
        "Container" => Value::string(other.unwrap_or("")),
        _ => return None,
    })
}
