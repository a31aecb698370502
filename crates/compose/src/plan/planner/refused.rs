//! What a plan refuses before anything is made: containers that would fight for a port of the host.

use std::collections::{BTreeMap, BTreeSet};

use types::port::{PortMapping, parse_publish};

use super::Planner;
use crate::container::publish;
use crate::error::ComposeError;
use crate::model::{Project, Service};

/// A fixed port of the host, and which entry of which service publishes it.
struct Fixed<'a> {
    service: &'a str,
    index: usize,
    mapping: PortMapping,
}

impl Planner<'_> {
    /// No two containers that run at the same time publish the same port. Ranges give way to each
    /// other at the start, and a service whose end is waited for is gone when others publish.
    pub(super) fn check_ports(&self) -> Result<(), ComposeError> {
        if self.options.no_start {
            return Ok(());
        }
        // By number: a range has many ports.
        let mut known: BTreeMap<u16, Vec<Fixed<'_>>> = BTreeMap::new();
        let passing = passing(self.project);
        for (name, service) in &self.project.services {
            if service.replicas() < 1 || passing.contains(name.as_str()) {
                continue;
            }
            for fixed in fixed_ports(name, service) {
                if service.replicas() > 1 {
                    return Err(self.too_many(&fixed, service.replicas()));
                }
                let port = fixed.mapping.host_ports.map_or(0, |range| range.start);
                let same = known.entry(port).or_default();
                if let Some(first) = same.iter().find(|other| conflict(other, &fixed)) {
                    return Err(self.twice(first, &fixed));
                }
                same.push(fixed);
            }
        }
        Ok(())
    }

    fn too_many(&self, fixed: &Fixed<'_>, replicas: i64) -> ComposeError {
        let port = shown(&fixed.mapping);
        let name = fixed.service;
        let text = format!(
            "services.{name}: {replicas} containers cannot all publish port {port} of this machine"
        );
        let container = fixed.mapping.container.number;
        let first = fixed.mapping.host_ports.map_or(0, |range| range.start);
        let last = i64::from(first).saturating_add(replicas - 1);
        let hint = format!(
            "publish a range with a port for each, \"{first}-{last}:{container}\", or none: \"{container}\""
        );
        self.at_port(fixed, text, hint)
    }

    fn twice(&self, first: &Fixed<'_>, second: &Fixed<'_>) -> ComposeError {
        let key = format!("services.{}.ports.{}", first.service, first.index);
        let place = match self.project.places.get(&key) {
            Some((file, line, column)) => format!(" ({file}:{line}:{column})"),
            None => String::new(),
        };
        let text = format!(
            "services.{}: port {} of this machine is published by service {} already{place}",
            second.service,
            shown(&second.mapping),
            first.service,
        );
        let hint = "give one of them another port, or another address of this machine";
        self.at_port(second, text, hint.to_owned())
    }

    fn at_port(&self, fixed: &Fixed<'_>, text: String, hint: String) -> ComposeError {
        let key = format!("services.{}.ports.{}", fixed.service, fixed.index);
        let mut error = self.project.error_at(&key, text);
        error.hint = Some(hint);
        error
    }
}

/// Services that somebody waits for until they have ended.
fn passing(project: &Project) -> BTreeSet<&str> {
    let all = project.services.values();
    all.flat_map(|service| &service.depends_on)
        .filter(|(_, on)| on.condition == "service_completed_successfully")
        .map(|(name, _)| name.as_str())
        .collect()
}

fn fixed_ports<'a>(name: &'a str, service: &'a Service) -> Vec<Fixed<'a>> {
    // Who uses the host's network or another container's publishes nothing.
    let mode = service.network_mode.as_str();
    if matches!(mode, "host" | "none") || mode.contains(':') {
        return Vec::new();
    }
    let ports = service.ports.iter().enumerate();
    ports
        .flat_map(|(index, port)| {
            let mappings = parse_publish(&publish(port)).unwrap_or_default();
            let fixed = mappings.into_iter().filter(|mapping| {
                mapping
                    .host_ports
                    .is_some_and(|range| range.start == range.end && range.start != 0)
            });
            fixed.map(move |mapping| Fixed {
                service: name,
                index,
                mapping,
            })
        })
        .collect()
}

fn conflict(first: &Fixed<'_>, second: &Fixed<'_>) -> bool {
    // Within one service the same may be said twice, in several files for example.
    let (one, other) = (&first.mapping, &second.mapping);
    let is_same = first.service == second.service && one.container == other.container;
    !is_same
        && one.container.protocol == other.container.protocol
        && overlap(&one.host_ip, &other.host_ip)
}

/// Whether two addresses of the host have one in common.
fn overlap(one: &str, other: &str) -> bool {
    let is_sixth = |address: &str| address.contains(':');
    let is_all = |address: &str| matches!(address, "0.0.0.0" | "::" | "[::]");
    match (one, other) {
        ("", _) | (_, "") => true,
        (one, other) if is_sixth(one) != is_sixth(other) => false,
        (one, other) => one == other || is_all(one) || is_all(other),
    }
}

fn shown(mapping: &PortMapping) -> String {
    let port = mapping.host_ports.map_or(0, |range| range.start);
    match (mapping.host_ip.as_str(), mapping.container.protocol.name()) {
        ("", "tcp") => port.to_string(),
        ("", protocol) => format!("{port}/{protocol}"),
        (address, protocol) => format!("{address}:{port}/{protocol}"),
    }
}
