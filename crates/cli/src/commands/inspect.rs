//! `inspect` of containers and images: Docker's documents, through a template or as JSON.

use std::collections::BTreeMap;
use std::process::ExitCode;

use api::docker_json::container_inspect::{
    ContainerView, EndpointView, GraphDriver, HostView, MountPoint, NetworkView, PathsView,
    PortBinding, container_inspect,
};
use engine::container::plan::{MASKED_PATHS, NetworkMode, READONLY_PATHS, network_mode};
use engine::{Engine, EngineError, StoredContainer};
use serde_json::Value;
use types::container::NetworkAttachment;
use types::mount::MountKind;
use types::platform::Platform;

use super::list::published;
use super::{image, print};
use crate::errors;
use crate::flags::{Invocation, Verb};
use crate::output::inspect::{InspectError, Inspector};
use crate::output::template::GoType;
use crate::output::typed::container::CONTAINER;
use crate::output::typed::others::{IMAGE, NETWORK, VOLUME};
use crate::terminal;

/// What is looked for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Any,
    Container,
    Image,
    Network,
    Volume,
}

pub(crate) fn inspect(engine: &Engine, invocation: &Invocation) -> ExitCode {
    let matches = &invocation.matches;
    let kind = match invocation.command.verb {
        Verb::ContainerInspect => Kind::Container,
        Verb::ImageInspect => Kind::Image,
        _ => match matches.get_str("type") {
            "" => Kind::Any,
            "container" => Kind::Container,
            "image" => Kind::Image,
            "network" => Kind::Network,
            "volume" => Kind::Volume,
            other @ ("node" | "plugin" | "secret" | "service" | "task" | "config") => {
                errors::complain(&format!(
                    "caisson: there are no objects of type {other:?} yet"
                ));
                return ExitCode::from(1);
            }
            other => {
                errors::complain(&format!("unknown type: {other:?}"));
                return ExitCode::from(1);
            }
        },
    };
    let escape = terminal::is_terminal(rustix::stdio::stdout());
    let mut inspector = match Inspector::new(matches.get_str("format"), escape) {
        Ok(inspector) => inspector,
        Err(error) => {
            errors::complain(&error.to_string());
            return ExitCode::from(64);
        }
    };
    let with_size = matches.has("size") && matches.get_bool("size");
    let wanted = match matches.has("platform") {
        true => match image::platform(invocation) {
            Ok(wanted) => wanted,
            Err(code) => return code,
        },
        false => None,
    };
    let mut failures = Vec::new();
    for key in &matches.args {
        let is_for = wanted.as_ref().map(|wanted| is_for(engine, key, wanted));
        let found = is_for.unwrap_or(Ok(()));
        match found.and_then(|()| document(engine, kind, key, with_size)) {
            Ok((ty, document)) => match inspector.add(ty, document) {
                Ok(()) => {}
                Err(error @ (InspectError::Execute(_) | InspectError::Parse(_))) => {
                    failures.push(error.to_string());
                }
            },
            Err(error) => failures.push(missing(invocation, kind, key, &error)),
        }
    }
    print(&inspector.finish());
    for failure in &failures {
        errors::complain(failure);
    }
    ExitCode::from(u8::from(!failures.is_empty()))
}

/// Whether an image is one for a platform.
fn is_for(engine: &Engine, name: &str, wanted: &Platform) -> Result<(), EngineError> {
    let record = engine::image::inspect::inspect(&engine.images(), name)?.record;
    let found = Platform::new(&record.os, &record.architecture, &record.variant);
    match wanted.match_rank(&found) {
        Some(_) => Ok(()),
        None => Err(engine::image::ImageError::OtherPlatform {
            reference: name.to_owned(),
            found: found.to_string(),
            wanted: wanted.to_string(),
        }
        .into()),
    }
}

fn missing(invocation: &Invocation, kind: Kind, key: &str, error: &EngineError) -> String {
    match (kind, error) {
        (Kind::Any, EngineError::NoSuchContainer(_) | EngineError::NoSuchImage(_)) => {
            format!("Error: No such object: {key}")
        }
        _ => errors::line(invocation.program, error),
    }
}

fn document(
    engine: &Engine,
    kind: Kind,
    key: &str,
    with_size: bool,
) -> Result<(&'static GoType, Value), EngineError> {
    if kind == Kind::Network {
        return Ok((
            &NETWORK,
            super::network::document(&engine.network_view(key)?),
        ));
    }
    if kind == Kind::Volume {
        return Ok((&VOLUME, super::volume::document(engine, key)?));
    }
    if kind != Kind::Image {
        match engine.container(key) {
            Ok(stored) => return Ok((&CONTAINER, container(engine, &stored, with_size))),
            Err(EngineError::NoSuchContainer(_)) if kind == Kind::Any => {}
            Err(error) => return Err(error),
        }
    }
    match image::inspect_document(engine, key) {
        Ok(document) => Ok((&IMAGE, document)),
        Err(error) if kind == Kind::Any && !error.is_damage() => match engine.network_view(key) {
            Ok(view) => Ok((&NETWORK, super::network::document(&view))),
            Err(_) => super::volume::document(engine, key)
                .map(|document| (&VOLUME, document))
                .map_err(|_| EngineError::NoSuchImage(key.to_string())),
        },
        Err(error) => Err(error),
    }
}

/// Docker's document of a container.
pub(crate) fn container(engine: &Engine, stored: &StoredContainer, with_size: bool) -> Value {
    let (record, spec) = (&stored.record, &stored.record.spec);
    let (path, args) = record
        .args
        .split_first()
        .map_or(("", &[][..]), |(a, b)| (a.as_str(), b));
    let directory = engine.store().container_directory(&record.id);
    let file = |name: &str| directory.join(name).display().to_string();
    let lowers = engine.container_lowers(&record.image_id);
    let lowers = lowers.unwrap_or_default();
    let lowers: Vec<String> = lowers
        .iter()
        .map(|path| path.display().to_string())
        .collect();
    let data = BTreeMap::from([
        ("ID".to_string(), record.id.clone()),
        ("LowerDir".to_string(), lowers.join(":")),
        ("UpperDir".to_string(), file("upper")),
        ("WorkDir".to_string(), file("work")),
    ]);
    let unmasked = spec.privileged
        || spec
            .security_opt
            .iter()
            .any(|o| o == "systempaths=unconfined");
    let paths =
        |list: &[&str]| (!unmasked).then(|| list.iter().map(|p| (*p).to_string()).collect());
    container_inspect(&ContainerView {
        id: &record.id,
        created: &record.created,
        path,
        args,
        state: &stored.state,
        image_id: &record.image_id,
        name: &record.name,
        platform: record.platform.split('/').next().unwrap_or("linux"),
        spec,
        mounts: &mounts(engine, stored),
        network: &network(engine, stored),
        paths: &PathsView {
            resolv_conf: file("resolv.conf"),
            hostname: file("hostname"),
            hosts: file("hosts"),
            log: if spec.log_driver == "none" {
                String::new()
            } else {
                file("log")
            },
        },
        graph_driver: &GraphDriver {
            name: "overlay2".into(),
            data: Some(data),
        },
        sizes: with_size.then(|| engine.container_sizes(stored)),
        exec_ids: &engine.exec_ids(stored),
        host: &HostView {
            default_runtime: "caisson".into(),
            default_cgroupns: if engine.has_unified_cgroups() {
                "private"
            } else {
                "host"
            }
            .into(),
            cgroup_v2: engine.has_unified_cgroups(),
            masked_paths: paths(&MASKED_PATHS),
            readonly_paths: paths(&READONLY_PATHS),
            ..HostView::default()
        },
    })
}

fn network(engine: &Engine, stored: &StoredContainer) -> NetworkView {
    let spec = &stored.record.spec;
    let sandbox_key = match stored.state.pid {
        0 => String::new(),
        pid => format!("/proc/{pid}/ns/net"),
    };
    if network_mode(spec) == NetworkMode::Container {
        return NetworkView::default();
    }
    let is_live = stored.state.status.is_live();
    let mut ports: BTreeMap<String, Vec<PortBinding>> = BTreeMap::new();
    if is_live && network_mode(spec) == NetworkMode::Bridge {
        ports.extend(
            spec.exposed_ports
                .iter()
                .map(|port| (port.clone(), Vec::new())),
        );
    }
    for (port, bindings) in published(engine, stored) {
        let binding = |(host_ip, host_port)| PortBinding { host_ip, host_port };
        ports.insert(port, bindings.into_iter().map(binding).collect());
    }
    NetworkView {
        sandbox_id: engine.sandbox_id(stored),
        sandbox_key,
        networks: endpoints(engine, stored),
        ports,
    }
}

/// Networks that are asked for, and the places that a running container has there.
fn endpoints(engine: &Engine, stored: &StoredContainer) -> BTreeMap<String, EndpointView> {
    let default = NetworkAttachment::default();
    let mut asked = stored.record.spec.networks.iter();
    let mut all = BTreeMap::new();
    for place in engine.all_places(stored) {
        // In the order of what was asked for.
        let asked = asked.next().unwrap_or(&default);
        let mut view = EndpointView {
            requested_ipv4: asked.ipv4.clone(),
            requested_ipv6: asked.ipv6.clone(),
            link_local_ips: asked.link_local_ips.clone(),
            links: asked.links.clone(),
            aliases: asked.aliases.clone(),
            driver_options: asked.driver_options.clone(),
            gateway_priority: asked.gateway_priority,
            network_id: place.network_id,
            endpoint_id: place.endpoint_id,
            mac_address: place.mac,
            dns_names: place.names,
            ..EndpointView::default()
        };
        for (address, length) in place.addresses {
            let gateway = place
                .gateways
                .iter()
                .find(|one| one.is_ipv4() == address.is_ipv4());
            let gateway = gateway.map_or_else(String::new, ToString::to_string);
            if address.is_ipv4() {
                view.ip_address = address.to_string();
                view.ip_prefix_len = length.into();
                view.gateway = gateway;
            } else {
                view.ipv6_address = address.to_string();
                view.ipv6_prefix_len = length.into();
                view.ipv6_gateway = gateway;
            }
        }
        all.insert(place.network, view);
    }
    all
}

fn mounts(engine: &Engine, stored: &StoredContainer) -> Vec<MountPoint> {
    let spec = &stored.record.spec;
    let mut all = Vec::new();
    for one in &stored.record.volumes {
        all.push(MountPoint {
            kind: "volume".into(),
            name: one.name.clone(),
            source: engine.store().volume_data(&one.name).display().to_string(),
            destination: one.target.clone(),
            driver: "local".into(),
            mode: one.mode.clone(),
            read_write: !one.read_only,
            ..MountPoint::default()
        });
    }
    for bind in spec.binds.iter().filter(|bind| bind.starts_with('/')) {
        let mut parts = bind.splitn(3, ':');
        let (source, destination) = (parts.next().unwrap_or(""), parts.next().unwrap_or(""));
        let mode = parts.next().unwrap_or("");
        let options: Vec<&str> = mode.split(',').collect();
        let is_propagation = |option: &&&str| {
            ["private", "shared", "slave"]
                .iter()
                .any(|end| option.ends_with(end))
        };
        let propagation = options.iter().find(is_propagation).unwrap_or(&"rprivate");
        all.push(MountPoint {
            kind: "bind".into(),
            source: source.into(),
            destination: destination.into(),
            mode: mode.into(),
            read_write: !options.contains(&"ro"),
            propagation: (*propagation).into(),
            ..MountPoint::default()
        });
    }
    for mount in &spec.mounts {
        let kind = match mount.kind {
            MountKind::Bind => "bind",
            MountKind::Tmpfs => "tmpfs",
            MountKind::Image => "image",
            MountKind::Volume | MountKind::Npipe | MountKind::Cluster => continue,
        };
        let propagation = mount
            .bind
            .as_ref()
            .map_or("", |bind| bind.propagation.as_str());
        all.push(MountPoint {
            kind: kind.into(),
            name: match mount.kind {
                MountKind::Image => mount.source.clone(),
                _ => String::new(),
            },
            source: match stored.record.images.get(&mount.target) {
                Some(image) => image.clone(),
                None => mount.source.clone(),
            },
            destination: mount.target.clone(),
            read_write: !mount.read_only && mount.kind != MountKind::Image,
            propagation: match (mount.kind, propagation) {
                (MountKind::Bind, "") => "rprivate".into(),
                (_, other) => other.into(),
            },
            ..MountPoint::default()
        });
    }
    all
}
