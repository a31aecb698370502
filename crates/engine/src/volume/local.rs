//! Options of Docker's driver `local`: a volume that is a mount of something else.
//!
//! Docker mounts it on the host while a container runs. We mount nothing there: each container gets
//! the mount of its own, made like its others. Held to moby's `volume/local/local_unix.go`.

use std::collections::BTreeMap;

use runtime::spec::Mount;
use storage::containers::VolumeUse;

use crate::error::EngineError;

const KNOWN: [&str; 4] = ["device", "o", "size", "type"];
/// Their addresses are looked up by helpers of the host.
const REMOTE: [&str; 5] = ["cifs", "nfs", "nfs4", "smb3", "ceph"];

fn get<'a>(options: &'a BTreeMap<String, String>, key: &str) -> &'a str {
    options.get(key).map_or("", String::as_str)
}

/// Words of `o`.
fn words(options: &BTreeMap<String, String>) -> impl Iterator<Item = &str> {
    get(options, "o").split(',').filter(|word| !word.is_empty())
}

fn is_bind(options: &BTreeMap<String, String>) -> bool {
    words(options).any(|word| matches!(word, "bind" | "rbind"))
}

/// Refuses what could not be mounted.
///
/// # Errors
/// An option that is unknown, missing or not to be had, by name.
pub(super) fn check(options: &BTreeMap<String, String>) -> Result<(), EngineError> {
    let refuse = |text: String| Err(EngineError::invalid(text));
    if let Some(option) = options.keys().find(|key| !KNOWN.contains(&key.as_str())) {
        return refuse(format!("invalid option: {option:?}"));
    }
    if options.is_empty() {
        return Ok(());
    }
    if options.contains_key("size") {
        return refuse("quota size requested but no quota support".to_owned());
    }
    for option in ["device", "type"] {
        if get(options, option).is_empty() {
            return refuse(format!("missing required option: {option:?}"));
        }
    }
    let (kind, device) = (get(options, "type"), get(options, "device"));
    if REMOTE.contains(&kind) {
        return refuse(format!(
            "type {kind} is not built: mount it on the host, and bind that: \
             --opt type=none --opt o=bind --opt device=/path"
        ));
    }
    match kind {
        "tmpfs" => Ok(()),
        "none" if !is_bind(options) => refuse("type none needs the option o=bind".to_owned()),
        _ if !device.starts_with('/') => refuse(format!("device {device:?} is no absolute path")),
        _ => Ok(()),
    }
}

/// The mount of a volume with such options.
///
/// # Errors
/// A path within a file system that has none before it is mounted.
pub(crate) fn mount(
    options: &BTreeMap<String, String>,
    one: &VolumeUse,
) -> Result<Mount, EngineError> {
    let is_bind = is_bind(options);
    if !is_bind && !one.subpath.is_empty() {
        return Err(EngineError::invalid(format!(
            "mount at {}: a path within volume {} cannot be mounted, it is of type {}",
            one.target,
            one.name,
            get(options, "type")
        )));
    }
    let mut all: Vec<String> = words(options).map(str::to_owned).collect();
    if one.read_only {
        all.push(if is_bind { "rro" } else { "ro" }.to_owned());
    }
    Ok(Mount {
        destination: one.target.clone(),
        kind: if is_bind {
            "bind"
        } else {
            get(options, "type")
        }
        .to_owned(),
        source: get(options, "device").to_owned(),
        subpath: one.subpath.clone(),
        options: all,
        ..Mount::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(text: &str) -> BTreeMap<String, String> {
        let pair = |(key, value): (&str, &str)| (key.to_owned(), value.replace(';', ","));
        text.split(',')
            .filter_map(|pair| pair.split_once('='))
            .map(pair)
            .collect()
    }

    #[test]
    fn options_are_checked_as_docker_checks_them() {
        for (text, refusal) in [
            ("", ""),
            ("type=tmpfs,device=tmpfs,o=size=1m;uid=3", ""),
            ("type=none,device=/srv,o=bind", ""),
            ("type=ext4,device=/dev/vdb", ""),
            ("colour=red", "invalid option: \"colour\""),
            ("type=tmpfs", "missing required option: \"device\""),
            ("device=/x", "missing required option: \"type\""),
            ("o=bind", "missing required option: \"device\""),
            ("size=1g", "quota size requested"),
            ("type=nfs,device=:/x,o=addr=h", "type nfs is not built"),
            ("type=none,device=/srv", "o=bind"),
            ("type=none,device=srv,o=bind", "no absolute path"),
        ] {
            let answer = check(&options(text)).err().map(|error| error.to_string());
            let answer = answer.unwrap_or_default();
            assert!(
                answer.contains(refusal) && answer.is_empty() == refusal.is_empty(),
                "{text}: {answer}"
            );
        }
    }
}
