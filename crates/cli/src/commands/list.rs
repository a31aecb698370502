//! `ps`: which containers there are, by Docker's filters.

use std::process::ExitCode;

use engine::container::plan::{NetworkMode, network_mode};
use engine::{Engine, StoredContainer, VolumeUse};
use types::filter::Filters;
use types::mount::MountKind;
use types::port::ContainerPort;
use types::state::Status;
use types::timestamp::Timestamp;

use super::fail_text;
use crate::client_config::{self, ClientConfig};
use crate::errors;
use crate::flags::Invocation;
use crate::output::rows::Clock;
use crate::output::rows::containers::{
    ContainerRow, ListFlags, MountName, StatusParts, format_uses_size, list, status_text,
};
use crate::output::rows::ports::{Port, Published};
use crate::terminal;

const FILTER_KEYS: [&str; 16] = [
    "ancestor",
    "before",
    "exited",
    "expose",
    "health",
    "id",
    "is-task",
    "isolation",
    "label",
    "name",
    "network",
    "publish",
    "since",
    "status",
    "volume",
    "type",
];

const STATES: [&str; 7] = [
    "created",
    "dead",
    "exited",
    "paused",
    "removing",
    "restarting",
    "running",
];
const HEALTHS: [&str; 4] = ["healthy", "none", "starting", "unhealthy"];
const BOOLEANS: [&str; 4] = ["true", "false", "1", "0"];

pub(crate) fn ps(engine: &Engine, invocation: &Invocation) -> ExitCode {
    let matches = &invocation.matches;
    let filters = match read_filters(matches.get_list("filter")) {
        Ok(filters) => filters,
        Err(text) => return fail_text(invocation, &text),
    };
    let (mut all, damaged) = match engine.containers_and_damage() {
        Ok(found) => found,
        Err(error) => {
            errors::report(invocation.program, &error);
            return ExitCode::from(1);
        }
    };
    let last = if matches.get_bool("latest") {
        1
    } else {
        matches.get_int("last")
    };
    // Docker: these filters look at containers that do not run, too.
    let everything = matches.get_bool("all")
        || last > 0
        || ["status", "exited", "before", "since"]
            .iter()
            .any(|key| filters.contains(key));
    if let Err(text) = cut_by_age(&mut all, &filters) {
        return fail_text(invocation, &text);
    }
    all.retain(|stored| {
        (everything || stored.state.status.is_live()) && is_wanted(engine, stored, &filters)
    });
    if last > 0 {
        all.truncate(usize::try_from(last).unwrap_or(usize::MAX));
    }
    let config = ClientConfig::load();
    let format = client_config::format(matches.get_str("format"), &config.ps_format);
    let with_size = match matches.get_bool("size") {
        true => true,
        false => match format_uses_size(format) {
            Ok(uses) => uses,
            Err(text) => {
                errors::complain(&text);
                return ExitCode::from(1);
            }
        },
    };
    let clock = Clock::local(Timestamp::now().unix_ns() as i64);
    let rows: Vec<ContainerRow> = all
        .iter()
        .map(|stored| row(engine, stored, &clock, with_size))
        .collect();
    let flags = ListFlags {
        format,
        quiet: matches.get_bool("quiet"),
        no_trunc: matches.get_bool("no-trunc"),
        escape_control: terminal::is_terminal(rustix::stdio::stdout()),
    };
    let code = super::print_list(list(&rows, flags, with_size, &clock));
    super::name_damaged(invocation.program, damaged, code)
}

fn read_filters(texts: &[String]) -> Result<Filters, String> {
    let filters = Filters::parse(texts).map_err(|error| error.to_string())?;
    let known = filters.check_keys(&FILTER_KEYS);
    known.map_err(|error| error.to_string())?;
    check_values(&filters)?;
    Ok(filters)
}

/// A value that no container can have is a slip of the pen, not a question.
fn check_values(filters: &Filters) -> Result<(), String> {
    let check = |key: &str, is_known: &dyn Fn(&str) -> bool| match filters
        .values(key)
        .iter()
        .find(|value| !is_known(value))
    {
        Some(value) => Err(format!("invalid filter '{key}={value}'")),
        None => Ok(()),
    };
    check("status", &|value| STATES.contains(&value))?;
    check("exited", &|value| value.parse::<i32>().is_ok())?;
    check("is-task", &|value| BOOLEANS.contains(&value))?;
    match filters
        .values("health")
        .iter()
        .find(|value| !HEALTHS.contains(&value.as_str()))
    {
        Some(value) => Err(format!("unrecognised filter value for health: {value}")),
        None => Ok(()),
    }
}

fn cut_by_age(all: &mut Vec<StoredContainer>, filters: &Filters) -> Result<(), String> {
    for key in ["before", "since"] {
        for value in filters.values(key) {
            let at = all.iter().position(|stored| {
                stored.record.name == value.trim_start_matches('/')
                    || stored.record.id.starts_with(value)
            });
            let Some(at) = at else {
                return Err(format!("No such container: {value}"));
            };
            match key {
                // Newest first: what was made before stands behind it.
                "before" => drop(all.drain(..=at)),
                _ => all.truncate(at),
            }
        }
    }
    Ok(())
}

fn is_wanted(engine: &Engine, stored: &StoredContainer, filters: &Filters) -> bool {
    let (record, state) = (&stored.record, &stored.state);
    let health = state
        .health
        .as_ref()
        .map_or("none", |health| health.status.as_str());
    filters.matches_prefix("id", &record.id)
        && (filters.matches_pattern("name", &record.name)
            || filters.matches_pattern("name", &format!("/{}", record.name)))
        && filters.matches_labels("label", &record.spec.labels)
        && filters.matches_exactly("status", state.status.as_str())
        && filters.any("exited", |code| {
            state.status == Status::Exited && code.parse() == Ok(state.exit_code)
        })
        && filters.any("health", |wanted| wanted == health)
        && filters.any("ancestor", |image| is_ancestor(engine, stored, image))
        && filters.any("network", |network| {
            network_names(engine, stored)
                .split(',')
                .any(|name| name == network)
        })
        && filters.any("volume", |volume| {
            let has = |one: &VolumeUse| one.name == volume || one.target == volume;
            record.volumes.iter().any(has)
                || record
                    .spec
                    .binds
                    .iter()
                    .any(|bind| bind.split(':').any(|part| part == volume))
                || record
                    .spec
                    .mounts
                    .iter()
                    .any(|m| m.target == volume || m.source == volume)
        })
        && filters.any("expose", |port| {
            let port = if port.contains('/') {
                port.to_string()
            } else {
                format!("{port}/tcp")
            };
            record.spec.exposed_ports.contains(&port)
        })
        && filters.any("publish", |port| {
            let port = if port.contains('/') {
                port.to_string()
            } else {
                format!("{port}/tcp")
            };
            published(engine, stored).contains_key(&port)
        })
        && filters.any("is-task", |wanted| wanted == "false")
        && filters.any("isolation", |wanted| wanted == "default")
}

fn is_ancestor(engine: &Engine, stored: &StoredContainer, image: &str) -> bool {
    let id = &stored.record.image_id;
    stored.record.spec.image == image
        || id
            .trim_start_matches("sha256:")
            .starts_with(image.trim_start_matches("sha256:"))
        || engine.image_id(image).is_ok_and(|found| found == *id)
}

/// The names of the networks that a container asks for, separated by commas.
pub(crate) fn network_names(engine: &Engine, stored: &StoredContainer) -> String {
    let asked = &stored.record.spec.networks;
    match network_mode(&stored.record.spec) {
        NetworkMode::Host => "host".into(),
        NetworkMode::None => "none".into(),
        NetworkMode::Container | NetworkMode::Left => String::new(),
        NetworkMode::Bridge if asked.is_empty() => "bridge".into(),
        NetworkMode::Bridge => {
            let name = |target: &str| match target {
                "" | "default" | "bridge" => "bridge".to_string(),
                target => engine
                    .network(target)
                    .map_or_else(|_| target.into(), |network| network.name),
            };
            let names: Vec<String> = asked.iter().map(|one| name(&one.target)).collect();
            names.join(",")
        }
    }
}

/// Where a running container's ports are published, by `80/tcp`.
pub(crate) fn published(engine: &Engine, stored: &StoredContainer) -> Published {
    let mut all = Published::new();
    if stored.state.status.is_live() {
        for (container, host, port) in engine.published(&stored.record.id) {
            let bindings = all.entry(container.to_string()).or_default();
            bindings.push((host.to_string(), port.to_string()));
        }
    }
    all
}

/// Ports as lists show them: the published ones, and those that are only exposed.
fn ports(engine: &Engine, stored: &StoredContainer) -> Vec<Port> {
    // What shares another's network publishes nothing itself.
    let has_ports = network_mode(&stored.record.spec) == NetworkMode::Bridge;
    if !stored.state.status.is_live() || !has_ports {
        return Vec::new();
    }
    let mut all = Vec::new();
    for (container, host, port) in engine.published(&stored.record.id) {
        all.push(Port {
            ip: host.to_string(),
            private: container.number,
            public: port,
            protocol: container.protocol.name().to_string(),
        });
    }
    for text in &stored.record.spec.exposed_ports {
        let Ok(exposed) = ContainerPort::parse(text) else {
            continue;
        };
        let protocol = exposed.protocol.name();
        let is_published = |one: &Port| one.private == exposed.number && one.protocol == protocol;
        if !all.iter().any(is_published) {
            all.push(Port {
                private: exposed.number,
                protocol: protocol.to_string(),
                ..Port::default()
            });
        }
    }
    all
}

/// A time of ours in nanoseconds.
pub(crate) fn time_ns(text: &str) -> Option<i64> {
    Timestamp::parse_rfc3339(text)
        .ok()
        .map(|time| time.unix_ns() as i64)
}

/// A container as lists show it.
pub(crate) fn row(
    engine: &Engine,
    stored: &StoredContainer,
    clock: &Clock,
    with_size: bool,
) -> ContainerRow {
    let (record, state) = (&stored.record, &stored.state);
    let status = status_text(
        StatusParts {
            status: state.status,
            exit_code: (!state.exit_unknown).then_some(state.exit_code),
            started_ns: time_ns(&state.started_at),
            finished_ns: time_ns(&state.finished_at),
            health: state.health.as_ref().map(|health| health.status.as_str()),
        },
        clock,
    );
    let sizes = if with_size {
        engine.container_sizes(stored)
    } else {
        (0, 0)
    };
    ContainerRow {
        id: record.id.clone(),
        names: vec![record.name.clone()],
        image: record.spec.image.clone(),
        image_id: record.image_id.clone(),
        command: command_text(&record.args),
        created_s: time_ns(&record.created).unwrap_or(0) / 1_000_000_000,
        ports: ports(engine, stored),
        labels: record.spec.labels.clone(),
        state: state.status.as_str().to_string(),
        status,
        mounts: mounts(stored),
        networks: network_names(engine, stored)
            .split(',')
            .filter(|name| !name.is_empty())
            .map(str::to_owned)
            .collect(),
        size_rw: sizes.0,
        size_root_fs: sizes.1,
    }
}

fn mounts(stored: &StoredContainer) -> Vec<MountName> {
    let spec = &stored.record.spec;
    let paths = spec.binds.iter().filter(|bind| bind.starts_with('/'));
    let binds = paths.filter_map(|bind| bind.split(':').next());
    let mounts = spec
        .mounts
        .iter()
        .filter(|mount| mount.kind != MountKind::Volume);
    let sources = mounts.map(|mount| mount.source.as_str());
    let binds = binds
        .chain(sources.filter(|source| !source.is_empty()))
        .map(|source| MountName {
            source: source.to_string(),
            ..MountName::default()
        });
    let volumes = stored.record.volumes.iter().map(|one| MountName {
        name: one.name.clone(),
        driver: "local".to_owned(),
        ..MountName::default()
    });
    volumes.chain(binds).collect()
}

/// A command as Docker lists it: arguments with spaces between quotes.
fn command_text(args: &[String]) -> String {
    let quoted = |(index, arg): (usize, &String)| match index > 0 && arg.contains(' ') {
        true => format!("'{arg}'"),
        false => arg.clone(),
    };
    let words: Vec<String> = args.iter().enumerate().map(quoted).collect();
    words.join(" ")
}
