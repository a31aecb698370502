//! Volumes, mounts, memory file systems and devices.

use std::collections::BTreeSet;

use types::container::{ContainerSpec, DeviceMapping, DeviceRequest};
use types::lexical_path::clean;
use types::mount::MountKind;
use types::mount_flag::{make_source_absolute, parse_mount};
use types::tmpfs_flag::TmpfsFlag;
use types::volume_flag::{ShortVolume, VolumeFlag};

use super::{Caller, FlagError};
use crate::flags::{Matches, parse_gpus};

/// `-v`, `--mount` and `--tmpfs`.
pub(super) fn volumes(
    matches: &Matches,
    caller: &Caller<'_>,
    spec: &mut ContainerSpec,
) -> Result<(), FlagError> {
    let mut targets = BTreeSet::new();
    let mut given: BTreeSet<&str> = BTreeSet::new();
    let driver = matches.get_str("volume-driver");
    if !matches!(driver, "" | "local") {
        return Err(FlagError::Engine(format!(
            "error looking up volume plugin {driver}: plugin {driver:?} not found; Caisson has local"
        )));
    }
    driver.clone_into(&mut spec.volume_driver);
    for text in matches.get_list("volume") {
        ShortVolume::parse(text).map_err(FlagError::usage)?;
        // The same text twice is one volume, as in Docker, which keeps a set.
        if !given.insert(text) {
            continue;
        }
        let mut volume = VolumeFlag::parse(text).map_err(FlagError::engine)?;
        volume.make_absolute(directory_for(volume.kind, &volume.source, caller)?);
        take_target(&mut targets, &volume.target)?;
        if volume.kind == MountKind::Volume && volume.source.is_empty() {
            spec.volumes.push(volume.target);
        } else {
            spec.binds.push(volume.to_string());
        }
    }
    for text in matches.get_list("mount") {
        let mut mount = parse_mount(text).map_err(FlagError::engine)?;
        let directory = directory_for(mount.kind, &mount.source, caller)?;
        make_source_absolute(&mut mount, directory);
        take_target(&mut targets, &mount.target)?;
        spec.mounts.push(mount);
    }
    spec.volumes_from = matches.get_list("volumes-from").to_vec();
    for text in matches.get_list("tmpfs") {
        let tmpfs = TmpfsFlag::parse(text).map_err(FlagError::engine)?;
        take_target(&mut targets, &tmpfs.target)?;
        spec.tmpfs.insert(tmpfs.target, tmpfs.options);
    }
    Ok(())
}

/// Where a path starts. One that is absolute needs no working directory, nor does the name of a volume.
fn directory_for<'a>(
    kind: MountKind,
    source: &str,
    caller: &Caller<'a>,
) -> Result<&'a str, FlagError> {
    match kind == MountKind::Bind && !source.starts_with('/') {
        true => caller.working_directory.map_err(FlagError::usage),
        false => Ok(caller.working_directory.unwrap_or("/")),
    }
}

fn take_target(targets: &mut BTreeSet<String>, target: &str) -> Result<(), FlagError> {
    if targets.insert(target.to_owned()) {
        return Ok(());
    }
    Err(FlagError::Engine(format!(
        "Duplicate mount point: {target}"
    )))
}

/// `--device`, `--gpus` and `--device-cgroup-rule`.
pub(super) fn devices(matches: &Matches, spec: &mut ContainerSpec) -> Result<(), FlagError> {
    let resources = &mut spec.resources;
    let gpus = matches.get_str("gpus");
    if !gpus.is_empty() {
        let request = parse_gpus(gpus).map_err(FlagError::Usage)?;
        resources.device_requests.push(request);
    }
    let (names, paths): (Vec<&String>, Vec<&String>) = matches
        .get_list("device")
        .iter()
        .partition(|text| is_cdi_name(text));
    if !names.is_empty() {
        resources.device_requests.push(DeviceRequest {
            driver: "cdi".to_owned(),
            device_ids: names.into_iter().cloned().collect(),
            ..DeviceRequest::default()
        });
    }
    for text in paths {
        let device = parse_device(text).map_err(FlagError::Usage)?;
        resources.devices.push(device);
    }
    resources.device_cgroup_rules = matches.get_list("device-cgroup-rule").to_vec();
    Ok(())
}

/// `vendor.com/class=name`.
fn is_cdi_name(text: &str) -> bool {
    let Some((kind, name)) = text.split_once('=') else {
        return false;
    };
    let part = |part: &str| {
        part.starts_with(|first: char| first.is_ascii_alphabetic()) && !part.contains([':', '/'])
    };
    !name.is_empty()
        && kind
            .split_once('/')
            .is_some_and(|(vendor, class)| part(vendor) && part(class))
}

/// Reads `/dev/x`, `/dev/x:rw`, `/dev/x:/dev/y`, `/dev/x:/dev/y:rwm`.
fn parse_device(text: &str) -> Result<DeviceMapping, String> {
    let bad_format = || format!("bad format for path: {text}");
    let parts: Vec<&str> = text.split(':').collect();
    let (host, container, permissions) = match parts[..] {
        [host] => (host, host, "rwm"),
        [host, mode] if is_device_mode(mode) => (host, host, mode),
        [host, container] => (host, container, "rwm"),
        [host, container, mode] if is_device_mode(mode) => (host, container, mode),
        [_, _, mode] if !parts[0].is_empty() => return Err(format!("bad mode specified: {mode}")),
        _ => return Err(bad_format()),
    };
    if host.is_empty() {
        return Err(bad_format());
    }
    if !container.starts_with('/') {
        return Err(format!("{container} is not an absolute path"));
    }
    let container_path = clean(container);
    if container_path == "/" {
        return Err(format!(
            "invalid device mapping {text:?}: the path in the container can't be '/'"
        ));
    }
    Ok(DeviceMapping {
        host_path: host.to_owned(),
        container_path,
        permissions: permissions.to_owned(),
    })
}

/// Some of `r`, `w` and `m`, each at most once.
fn is_device_mode(mode: &str) -> bool {
    let mut seen = BTreeSet::new();
    !mode.is_empty()
        && mode
            .bytes()
            .all(|letter| b"rwm".contains(&letter) && seen.insert(letter))
}
