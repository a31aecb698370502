//! What one machine's engine does not have, and values that no engine takes: refused before anything
//! is made.

use std::net::IpAddr;

use types::container::RestartPolicy;
use types::env::HOST_GATEWAY;

use crate::error::ComposeError;
use crate::model::{Project, Service};

const HEALTH_TIME_NS_MIN: i64 = 1_000_000;
/// The names under which people ask for the usual runtime.
const RUNTIMES: [&str; 6] = [
    "",
    "caisson",
    "runc",
    "crun",
    "io.containerd.runc.v2",
    "io.containerd.runtime.v1.linux",
];

/// Keys that mean something that is not there.
pub(super) fn keys(project: &Project, name: &str, service: &Service) -> Result<(), ComposeError> {
    let refused = [
        (
            service.provider.is_some(),
            "provider",
            "programs that stand for a service are not run; start it yourself and use its address",
        ),
        (
            !service.models.is_empty(),
            "models",
            "there is no runner of language models; run one as a service",
        ),
        (
            service.use_api_socket,
            "use_api_socket",
            "there is no daemon whose socket could be given to a container",
        ),
        (
            service.credential_spec.is_some(),
            "credential_spec",
            "it is for Windows containers",
        ),
        (
            !matches!(service.isolation.as_str(), "" | "default"),
            "isolation",
            "it is for Windows containers",
        ),
        (
            service.cpu_count != 0 || service.cpu_percent != 0.0,
            "cpu_count, cpu_percent",
            "they are for Windows containers; use cpus",
        ),
        (
            !service.external_links.is_empty(),
            "external_links",
            "containers of a network have names; put both into one network",
        ),
        (
            !service.volume_driver.is_empty(),
            "volume_driver",
            "volumes are local",
        ),
        (
            !service.storage_opt.0.is_empty(),
            "storage_opt",
            "there is no limit of size for a writable layer",
        ),
        (
            service.pre_start.iter().any(|hook| hook.per_replica),
            "pre_start.per_replica",
            "hooks run once, before the first container of a service starts",
        ),
    ];
    for (is_said, key, why) in refused {
        if is_said {
            let first = key.split(',').next().unwrap_or(key);
            let mut error = project.error_at(
                &format!("services.{name}.{first}"),
                format!("services.{name}.{key} is not supported: {why}"),
            );
            error.hint = Some(format!("remove {key} from the service {name}"));
            return Err(error);
        }
    }
    Ok(())
}

/// Values that would only be noticed, or not at all, when a container starts. The words are those of
/// `run`'s flags.
pub(super) fn values(project: &Project, name: &str, service: &Service) -> Result<(), ComposeError> {
    let found = policies(service).and_then(|()| modes(service));
    let found = found.and_then(|()| health(service));
    let found = found.and_then(|()| limits(service));
    found.and_then(|()| places(service)).map_err(|(key, text)| {
        let key = format!("services.{name}.{key}");
        project.error_at(&key, format!("{key}: {text}"))
    })
}

/// A key, and what is wrong with its value.
type Wrong = (&'static str, String);

fn policies(service: &Service) -> Result<(), Wrong> {
    let runtime = &service.runtime;
    if !RUNTIMES.contains(&runtime.as_str()) {
        let text =
            format!("unknown or invalid runtime name: {runtime}; Caisson has one runtime, its own");
        return Err(("runtime", text));
    }
    RestartPolicy::parse(&service.restart).map_err(|error| ("restart", error.to_string()))?;
    let deployed = service.deploy.as_ref();
    if let Some(policy) = deployed.and_then(|deploy| deploy.restart_policy.as_ref())
        && !matches!(
            policy.condition.as_str(),
            "" | "none" | "on-failure" | "any"
        )
    {
        let text = format!(
            "condition is one of none, on-failure, any, not {:?}",
            policy.condition
        );
        return Err(("deploy.restart_policy", text));
    }
    Ok(())
}

/// Whose namespaces are shared.
fn modes(service: &Service) -> Result<(), Wrong> {
    for (key, mode, known) in [
        ("uts", &service.uts, &["host"][..]),
        ("userns_mode", &service.userns_mode, &["host"]),
        ("pid", &service.pid, &["host"]),
        (
            "ipc",
            &service.ipc,
            &["host", "private", "shareable", "none"],
        ),
    ] {
        let is_known = mode.is_empty() || known.contains(&mode.as_str());
        let joins = matches!(key, "pid" | "ipc")
            && (mode.starts_with("service:") || mode.starts_with("container:"));
        if !is_known && !joins {
            let text = format!("invalid mode {mode:?}: it is {}", known.join(", "));
            return Err((key, text));
        }
    }
    Ok(())
}

fn health(service: &Service) -> Result<(), Wrong> {
    let Some(check) = &service.healthcheck else {
        return Ok(());
    };
    for (word, time) in [
        ("Interval", &check.interval),
        ("Timeout", &check.timeout),
        ("StartPeriod", &check.start_period),
        ("StartInterval", &check.start_interval),
    ] {
        let time = time.map_or(0, |time| time.0);
        if time != 0 && time < HEALTH_TIME_NS_MIN {
            let text = format!("{word} in Healthcheck cannot be less than 1ms");
            return Err(("healthcheck", text));
        }
    }
    Ok(())
}

/// Numbers that no limit can have; -1 is "without limit" where there is such a thing.
fn limits(service: &Service) -> Result<(), Wrong> {
    let mut whole = vec![
        ("mem_limit", service.mem_limit.0, 0),
        ("mem_reservation", service.mem_reservation.0, 0),
        ("memswap_limit", service.memswap_limit.0, -1),
        ("pids_limit", service.pids_limit, -1),
        ("cpu_rt_period", service.cpu_rt_period, 0),
        ("cpu_rt_runtime", service.cpu_rt_runtime, 0),
        ("cpu_period", service.cpu_period, 0),
    ];
    let mut cpus = vec![("cpus", service.cpus)];
    let deployed = service.deploy.as_ref().map(|deploy| &deploy.resources);
    if let Some(limits) = deployed.and_then(|resources| resources.limits.as_ref()) {
        whole.push(("deploy.resources.limits.memory", limits.memory.0, 0));
        whole.push(("deploy.resources.limits.pids", limits.pids, -1));
        cpus.push(("deploy.resources.limits.cpus", limits.cpus));
    }
    let wrong = |key, least: i64, value: &dyn std::fmt::Display| {
        let text = format!("must be greater than or equal to {least}, not {value}");
        Err((key, text))
    };
    for (key, value, least) in whole {
        if value < least {
            return wrong(key, least, &value);
        }
    }
    for (key, value) in cpus {
        if !(value.is_finite() && value >= 0.0) {
            return wrong(key, 0, &value);
        }
    }
    Ok(())
}

/// Ports, memory, paths and addresses.
fn places(service: &Service) -> Result<(), Wrong> {
    for text in &service.expose {
        types::port::parse_expose(text).map_err(|error| ("expose", error.to_string()))?;
    }
    if service.shm_size.0 < 0 {
        return Err(("shm_size", "SHM size can not be less than 0".to_owned()));
    }
    for text in &service.tmpfs {
        let target = text.split(':').next().unwrap_or_default();
        if !target.starts_with('/') {
            let text = format!("invalid mount path: '{target}' mount path must be absolute");
            return Err(("tmpfs", text));
        }
    }
    if let Some(text) = service.dns.iter().find(|text| !is_address(text)) {
        return Err(("dns", format!("{text} is not an ip address")));
    }
    for entry in service.extra_hosts.lines(':') {
        let address = entry.split_once(':').map_or("", |(_, address)| address);
        if address != HOST_GATEWAY && !is_address(address.trim_matches(['[', ']'])) {
            let text = format!("invalid IP address in add-host: {address:?}");
            return Err(("extra_hosts", text));
        }
    }
    Ok(())
}

fn is_address(text: &str) -> bool {
    text.parse::<IpAddr>().is_ok()
}
