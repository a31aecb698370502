//! `/etc/hosts`, `/etc/hostname` and `/etc/resolv.conf` of a container.

use std::net::IpAddr;
use std::path::Path;

use runtime::Launch;
use storage::containers::ContainerRecord;
use sys::Context;

use types::container::ContainerSpec;
use types::env::HOST_GATEWAY;

use super::links::Link;
use super::plan::{NetworkMode, network_mode};
use network::resolver::RESOLVER;

use crate::error::EngineError;
use crate::network::Place;

const HOSTS: &str = "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\nfe00::\tip6-localnet\nff00::\tip6-mcastprefix\nff02::1\tip6-allnodes\nff02::2\tip6-allrouters\n";
/// A container may write there what it likes.
const HOSTS_BYTES_MAX: u64 = 1 << 20;
const RESOLV_CONF_BYTES_MAX: u64 = 1 << 20;

/// Writes the three files; they are the container's own and stay with it.
///
/// # Errors
/// The disk's answer.
pub(crate) fn write(
    directory: &Path,
    record: &ContainerRecord,
    launch: &Launch,
    places: &[Place],
    links: &[Link],
) -> Result<(), EngineError> {
    let hostname = &launch.spec.hostname;
    put(directory, "hostname", &format!("{hostname}\n"))?;
    put(directory, "hosts", &hosts(record, hostname, places, links))?;
    write_resolv_conf(directory, record)
}

/// Writes the file that says who answers for names.
///
/// # Errors
/// The disk's answer.
pub(crate) fn write_resolv_conf(
    directory: &Path,
    record: &ContainerRecord,
) -> Result<(), EngineError> {
    put(directory, "resolv.conf", &resolv_conf(record))
}

fn put(directory: &Path, name: &str, text: &str) -> Result<(), EngineError> {
    let path = directory.join(name);
    // Not by rename: a running container of this record has the file bound.
    Ok(std::fs::write(&path, text).on("write", path.display())?)
}

fn hosts(record: &ContainerRecord, hostname: &str, places: &[Place], links: &[Link]) -> String {
    let is_host = network_mode(&record.spec) == NetworkMode::Host;
    let mut text = match is_host {
        true => sys::host::read_text("/etc/hosts"),
        false => HOSTS.to_string(),
    };
    let gateway = places.iter().flat_map(|place| &place.gateways).next();
    for entry in &record.spec.extra_hosts {
        if let Some((name, address)) = entry.split_once(':') {
            let address = match (address, gateway) {
                (HOST_GATEWAY, Some(gateway)) => gateway.to_string(),
                // Who is in the host's own network finds it there; who is in none finds nobody.
                (HOST_GATEWAY, None) if is_host => "127.0.0.1".to_owned(),
                (HOST_GATEWAY, None) => continue,
                (given, _) => given.to_string(),
            };
            text.push_str(&format!("{address}\t{name}\n"));
        }
    }
    for link in links.iter().filter(|link| !link.address.is_empty()) {
        let other = &link.other.record;
        let mut names = vec![link.alias.clone(), own_name(other)];
        if other.name != link.alias {
            names.push(other.name.clone());
        }
        text.push_str(&format!("{}\t{}\n", link.address, names.join(" ")));
    }
    let addresses = places.iter().flat_map(|place| &place.addresses);
    text.push_str(&own_lines(
        record,
        hostname,
        addresses.map(|(address, _)| *address),
    ));
    text
}

/// A container's own name for each of its addresses.
fn own_lines(
    record: &ContainerRecord,
    hostname: &str,
    addresses: impl IntoIterator<Item = IpAddr>,
) -> String {
    let full = match record.spec.domainname.as_str() {
        "" => hostname.to_string(),
        domain => format!("{hostname}.{domain} {hostname}"),
    };
    let lines = addresses.into_iter();
    lines
        .map(|address| format!("{address}\t{full}\n"))
        .collect()
}

/// A running container joined a network: `/etc/hosts` gets its addresses there, and keeps the rest,
/// which the container may have written.
///
/// # Errors
/// The disk's answer.
pub(crate) fn join_hosts(
    directory: &Path,
    record: &ContainerRecord,
    addresses: &[IpAddr],
) -> Result<(), EngineError> {
    let Some(mut text) = read_hosts(directory) else {
        return Ok(());
    };
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    text.push_str(&own_lines(record, &own_name(record), addresses.to_vec()));
    put(directory, "hosts", &text)
}

/// A running container left a network: the lines of its addresses there go.
///
/// # Errors
/// The disk's answer.
pub(crate) fn leave_hosts(directory: &Path, addresses: &[IpAddr]) -> Result<(), EngineError> {
    let Some(text) = read_hosts(directory) else {
        return Ok(());
    };
    let is_left = |line: &&str| {
        let first = line.split_whitespace().next().unwrap_or_default();
        !first.parse().is_ok_and(|found| addresses.contains(&found))
    };
    let kept: String = text.split_inclusive('\n').filter(is_left).collect();
    put(directory, "hosts", &kept)
}

/// `None`: it is the container's, which wrote more than we look at.
fn read_hosts(directory: &Path) -> Option<String> {
    let bytes = sys::atomic::read_limited(&directory.join("hosts"), HOSTS_BYTES_MAX).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// What a container calls itself.
fn own_name(record: &ContainerRecord) -> String {
    match record.spec.hostname.as_str() {
        "" => record.id.chars().take(12).collect(),
        name => name.to_owned(),
    }
}

fn host_resolv_conf() -> String {
    sys::atomic::read_limited(Path::new("/etc/resolv.conf"), RESOLV_CONF_BYTES_MAX)
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        .unwrap_or_default()
}

/// Where a container's resolver asks for names of the outside: `--dns`, else the host's own.
pub(crate) fn name_servers(spec: &ContainerSpec) -> Vec<IpAddr> {
    let given: Vec<IpAddr> = spec
        .dns
        .iter()
        .filter_map(|text| text.parse().ok())
        .collect();
    if !given.is_empty() {
        return given;
    }
    let host = host_resolv_conf();
    let lines = host
        .lines()
        .filter_map(|line| line.trim().strip_prefix("nameserver"));
    lines
        .filter_map(|address| address.trim().parse().ok())
        .collect()
}

fn resolv_conf(record: &ContainerRecord) -> String {
    let spec = &record.spec;
    let is_resolved_by_us = network_mode(spec) == NetworkMode::Bridge;
    let host = host_resolv_conf();
    let has_own = !spec.dns.is_empty() || !spec.dns_search.is_empty();
    if !is_resolved_by_us && !has_own && spec.dns_options.is_empty() {
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
    let mut text: String = match is_resolved_by_us {
        true => format!("nameserver {RESOLVER}\n"),
        false => {
            let lines = spec
                .dns
                .iter()
                .map(|address| format!("nameserver {address}\n"));
            lines.collect::<String>() + &kept("nameserver", !spec.dns.is_empty())
        }
    };
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
