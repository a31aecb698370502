//! What Docker can and Caisson cannot yet: refused by name, with the nearest thing that works.
//!
//! The issue that builds one of these deletes its lines here and in the flag table.

use types::container::ContainerSpec;
use types::mount::MountKind;

use super::FlagError;

/// The names under which people ask for the usual runtime.
const RUNTIMES: &[&str] = &[
    "",
    "caisson",
    "runc",
    "crun",
    "io.containerd.runc.v2",
    "io.containerd.runtime.v1.linux",
];
const LOG_DRIVERS: &[&str] = &["", "json-file", "local", "none"];
/// Log drivers that Docker has and we have not.
const OTHER_LOG_DRIVERS: &[&str] = &[
    "awslogs", "etwlogs", "fluentd", "gcplogs", "gelf", "journald", "splunk", "syslog",
];

/// Refuses what is not built; gives warnings about what has no effect.
pub(super) fn refuse(spec: &ContainerSpec) -> Result<Vec<String>, FlagError> {
    mounts(spec)?;
    if !RUNTIMES.contains(&spec.runtime.as_str()) {
        return Err(FlagError::Engine(format!(
            "unknown or invalid runtime name: {}; Caisson has one runtime, its own",
            spec.runtime
        )));
    }
    let driver = spec.log_driver.as_str();
    if OTHER_LOG_DRIVERS.contains(&driver) {
        return Err(FlagError::NotYet(format!(
            "log driver '{driver}' is not built yet; use json-file, and read the log with \
             'logs --follow'"
        )));
    }
    if !LOG_DRIVERS.contains(&driver) {
        let text = format!("logger: no log driver named '{driver}' is registered");
        return Err(FlagError::Engine(text));
    }
    let mut warnings = Vec::new();
    let is_on_host = spec.networks.iter().any(|network| network.target == "host");
    if is_on_host && (!spec.publish.is_empty() || spec.publish_all) {
        let text = "Published ports are discarded when using host network mode";
        warnings.push(text.to_owned());
    }
    Ok(warnings)
}

fn mounts(spec: &ContainerSpec) -> Result<(), FlagError> {
    for mount in &spec.mounts {
        let kind = match mount.kind {
            MountKind::Bind | MountKind::Tmpfs | MountKind::Volume | MountKind::Image => continue,
            MountKind::Npipe => "Windows pipes",
            MountKind::Cluster => "Swarm's cluster volumes",
        };
        return Err(FlagError::NotYet(format!(
            "--mount at {}: {kind} are not built yet; use type=bind, type=volume, type=image or type=tmpfs",
            mount.target
        )));
    }
    Ok(())
}
