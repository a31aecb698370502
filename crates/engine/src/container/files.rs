//! `/etc/hosts`, `/etc/hostname` and `/etc/resolv.conf` of a container.

use std::path::Path;

use runtime::Launch;
use storage::containers::ContainerRecord;
use sys::Context;

use super::plan::{NetworkMode, network_mode};
use crate::error::EngineError;

const HOSTS: &str = "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\nfe00::\tip6-localnet\nff00::\tip6-mcastprefix\nff02::1\tip6-allnodes\nff02::2\tip6-allrouters\n";
const RESOLV_CONF_BYTES_MAX: u64 = 1 << 20;

/// Writes the three files; they are the container's own and stay with it.
///
/// # Errors
/// The disk's answer.
pub(crate) fn write(
    directory: &Path,
    record: &ContainerRecord,
    launch: &Launch,
) -> Result<(), EngineError> {
    let hostname = &launch.spec.hostname;
    put(directory, "hostname", &format!("{hostname}\n"))?;
    put(directory, "hosts", &hosts(record))?;
    put(directory, "resolv.conf", &resolv_conf(record))
}

fn put(directory: &Path, name: &str, text: &str) -> Result<(), EngineError> {
    let path = directory.join(name);
    // Not by rename: a running container of this record has the file bound.
    Ok(std::fs::write(&path, text).on("write", path.display())?)
}

fn hosts(record: &ContainerRecord) -> String {
    let mut text = match network_mode(&record.spec) {
        NetworkMode::Host => sys::host::read_text("/etc/hosts"),
        _ => HOSTS.to_string(),
    };
    for entry in &record.spec.extra_hosts {
        if let Some((name, address)) = entry.split_once(':') {
            text.push_str(&format!("{address}\t{name}\n"));
        }
    }
    text
}

fn resolv_conf(record: &ContainerRecord) -> String {
    let spec = &record.spec;
    let host = sys::atomic::read_limited(Path::new("/etc/resolv.conf"), RESOLV_CONF_BYTES_MAX)
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        .unwrap_or_default();
    if spec.dns.is_empty() && spec.dns_search.is_empty() && spec.dns_options.is_empty() {
        return host;
    }
    let kept = |keyword: &str, replaced: bool| -> String {
        let lines = host
            .lines()
            .filter(|line| line.split_whitespace().next() == Some(keyword));
        if replaced {
            String::new()
        } else {
            lines.map(|line| format!("{line}\n")).collect()
        }
    };
    let mut text: String = spec
        .dns
        .iter()
        .map(|address| format!("nameserver {address}\n"))
        .collect();
    text.push_str(&kept("nameserver", !spec.dns.is_empty()));
    match spec.dns_search.as_slice() {
        [] => text.push_str(&kept("search", false)),
        [dot] if dot == "." => {}
        domains => text.push_str(&format!("search {}\n", domains.join(" "))),
    }
    match spec.dns_options.as_slice() {
        [] => text.push_str(&kept("options", false)),
        options => text.push_str(&format!("options {}\n", options.join(" "))),
    }
    text
}
