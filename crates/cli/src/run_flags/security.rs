//! Capabilities and `--security-opt`.

use std::fs::File;

use runtime::seccomp::{Profile, ProfileError};
use types::container::ContainerSpec;
use types::go_syntax::{parse_bool, quote};
use types::json::Fault;

use super::FlagError;
use super::environment::read_bounded;
use crate::cause::cause;
use crate::flags::Matches;

/// The largest seccomp profile looked at; Docker's own has 12 KiB.
const SECCOMP_BYTES_MAX: usize = 1 << 20;

/// Linux's capabilities without `CAP_`.
const CAPABILITIES: &[&str] = &[
    "AUDIT_CONTROL",
    "AUDIT_READ",
    "AUDIT_WRITE",
    "BLOCK_SUSPEND",
    "BPF",
    "CHECKPOINT_RESTORE",
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "IPC_LOCK",
    "IPC_OWNER",
    "KILL",
    "LEASE",
    "LINUX_IMMUTABLE",
    "MAC_ADMIN",
    "MAC_OVERRIDE",
    "MKNOD",
    "NET_ADMIN",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_RAW",
    "PERFMON",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYSLOG",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_CHROOT",
    "SYS_MODULE",
    "SYS_NICE",
    "SYS_PACCT",
    "SYS_PTRACE",
    "SYS_RAWIO",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "WAKE_ALARM",
];

/// `--cap-add`, `--cap-drop`, `--security-opt`.
pub(super) fn security(matches: &Matches, spec: &mut ContainerSpec) -> Result<(), FlagError> {
    spec.security_opt = options(matches)?;
    spec.cap_add = capabilities(matches.get_list("cap-add"), "CapAdd")?;
    spec.cap_drop = capabilities(matches.get_list("cap-drop"), "CapDrop")?;
    Ok(())
}

/// `--security-opt`.
pub(super) fn options(matches: &Matches) -> Result<Vec<String>, FlagError> {
    let texts = matches.get_list("security-opt").iter();
    texts.map(|text| security_option(text)).collect()
}

fn capabilities(texts: &[String], field: &str) -> Result<Vec<String>, FlagError> {
    let mut names: Vec<String> = Vec::new();
    for text in texts {
        let upper = text.trim().to_ascii_uppercase();
        let bare = upper.strip_prefix("CAP_").unwrap_or(&upper);
        let name = if bare == "ALL" {
            "ALL".to_owned()
        } else {
            format!("CAP_{bare}")
        };
        if bare != "ALL" && !CAPABILITIES.contains(&bare) {
            let text = format!("invalid {field}: unknown capability: {}", quote(&name));
            return Err(FlagError::Engine(text));
        }
        if !names.contains(&name) {
            names.push(name);
        }
    }
    Ok(names)
}

/// Checks one option; a seccomp profile's file becomes its content.
fn security_option(text: &str) -> Result<String, FlagError> {
    let split = text.split_once('=').or_else(|| text.split_once(':'));
    let (key, value) = match split {
        Some((key, value)) if !value.is_empty() => (key, value),
        _ if text == "no-new-privileges" => return Ok(text.to_owned()),
        _ => {
            return Err(FlagError::Usage(format!(
                "Invalid --security-opt: {}",
                quote(text)
            )));
        }
    };
    // Number 2 is how Docker's daemon calls it, in these words.
    let invalid = || {
        Err(FlagError::Engine(format!(
            "invalid --security-opt 2: {}",
            quote(text)
        )))
    };
    match key {
        "seccomp" if matches!(value, "unconfined" | "builtin") => Ok(format!("seccomp={value}")),
        "seccomp" => Ok(format!("seccomp={}", seccomp_profile(value)?)),
        "no-new-privileges" | "writable-cgroups" if parse_bool(value).is_ok() => {
            Ok(format!("{key}={value}"))
        }
        "systempaths" if value == "unconfined" => Ok(text.to_owned()),
        "apparmor" | "label" => Ok(format!("{key}={value}")),
        _ => invalid(),
    }
}

/// The content of a profile, without needless blanks.
fn seccomp_profile(path: &str) -> Result<String, FlagError> {
    let opening =
        |text: String| FlagError::Usage(format!("opening seccomp profile ({path}) failed: {text}"));
    let file =
        File::open(path).map_err(|error| opening(format!("open {path}: {}", cause(&error))))?;
    let content = read_bounded(file, SECCOMP_BYTES_MAX + 1)
        .map_err(|error| opening(format!("read {path}: {}", cause(&error))))?;
    if content.len() > SECCOMP_BYTES_MAX {
        return Err(opening(format!("larger than {SECCOMP_BYTES_MAX} bytes")));
    }
    let profile: serde_json::Value = serde_json::from_slice(&content).map_err(|error| {
        FlagError::Usage(format!(
            "compacting json for seccomp profile ({path}) failed: {}",
            at(path, &Fault::from(&error))
        ))
    })?;
    // The engine reads the compacted text; places in the file are known here only.
    match Profile::parse(&String::from_utf8_lossy(&content)) {
        Err(ProfileError::Decode(fault)) => Err(FlagError::Engine(format!(
            "Decoding seccomp profile failed: {}",
            at(path, &fault)
        ))),
        Err(error) => Err(FlagError::Engine(format!("{error} ({path})"))),
        Ok(_) => Ok(profile.to_string()),
    }
}

fn at(path: &str, fault: &Fault) -> String {
    format!("{path}:{}:{}: {}", fault.line, fault.column, fault.reason)
}
