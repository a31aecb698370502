//! `--security-opt`.

use crate::go_syntax::{parse_bool, quote};

/// Why a security option is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SecurityError {
    /// Not of the form that the option needs.
    #[error("invalid --security-opt 1: {}", quote(.0))]
    Format(String),
    /// An option that there is not, or a value it does not know.
    #[error("invalid --security-opt 2: {}", quote(.0))]
    Unknown(String),
}

/// One `--security-opt`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecurityOption {
    /// `no-new-privileges[=true|false]`.
    NoNewPrivileges(bool),
    /// `seccomp=unconfined`.
    SeccompUnconfined,
    /// `seccomp=builtin`.
    SeccompBuiltin,
    /// `seccomp=FILE` in a command, `seccomp={…}` in a record.
    Seccomp(String),
    /// `apparmor=PROFILE`.
    AppArmor(String),
    /// `label=disable`, `label=type:x` …
    Label(String),
    /// `systempaths=unconfined`: nothing masked, nothing read-only.
    SystemPathsUnconfined,
    /// `writable-cgroups[=true|false]`.
    WritableCgroups(bool),
}

/// Reads one `--security-opt`; `:` for `=` as of old.
pub fn parse_security_option(text: &str) -> Result<SecurityOption, SecurityError> {
    let format = || SecurityError::Format(text.to_owned());
    let unknown = || SecurityError::Unknown(text.to_owned());
    let (key, value) = match text.split_once('=').or_else(|| text.split_once(':')) {
        Some((key, value)) => (key, Some(value)),
        None => (text, None),
    };
    let truth = |value: Option<&str>| match value {
        None => Ok(true),
        Some(value) => parse_bool(value).map_err(|_| unknown()),
    };
    match key {
        "no-new-privileges" => return truth(value).map(SecurityOption::NoNewPrivileges),
        "writable-cgroups" => return truth(value).map(SecurityOption::WritableCgroups),
        _ => {}
    }
    let value = value.filter(|value| !value.is_empty()).ok_or_else(format)?;
    match (key, value) {
        ("seccomp", "unconfined") => Ok(SecurityOption::SeccompUnconfined),
        ("seccomp", "builtin") => Ok(SecurityOption::SeccompBuiltin),
        ("seccomp", _) => Ok(SecurityOption::Seccomp(value.to_owned())),
        ("apparmor", _) => Ok(SecurityOption::AppArmor(value.to_owned())),
        ("label", _) => Ok(SecurityOption::Label(value.to_owned())),
        ("systempaths", "unconfined") => Ok(SecurityOption::SystemPathsUnconfined),
        _ => Err(unknown()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn security_options_are_read() {
        use SecurityOption::*;
        for (text, want) in [
            ("no-new-privileges", NoNewPrivileges(true)),
            ("no-new-privileges=false", NoNewPrivileges(false)),
            ("no-new-privileges:true", NoNewPrivileges(true)),
            ("seccomp=unconfined", SeccompUnconfined),
            ("seccomp:builtin", SeccompBuiltin),
            ("seccomp=/a=b.json", Seccomp("/a=b.json".to_owned())),
            ("seccomp={\"a\":1}", Seccomp("{\"a\":1}".to_owned())),
            ("apparmor=unconfined", AppArmor("unconfined".to_owned())),
            ("label=type:x", Label("type:x".to_owned())),
            ("systempaths=unconfined", SystemPathsUnconfined),
            ("writable-cgroups=true", WritableCgroups(true)),
        ] {
            assert_eq!(parse_security_option(text), Ok(want), "{text}");
        }
        for (text, want) in [
            ("seccomp", "invalid --security-opt 1: \"seccomp\""),
            ("", "invalid --security-opt 1: \"\""),
            ("x=y", "invalid --security-opt 2: \"x=y\""),
            (
                "systempaths=x",
                "invalid --security-opt 2: \"systempaths=x\"",
            ),
            (
                "no-new-privileges=x",
                "invalid --security-opt 2: \"no-new-privileges=x\"",
            ),
        ] {
            assert_eq!(parse_security_option(text).unwrap_err().to_string(), want);
        }
    }
}
