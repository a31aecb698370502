//! What a plan must know of this machine.

use std::path::Path;

use runtime::spec::Device;
use rustix::fs::{FileType, Mode, OFlags};
use storage::containers::ContainerRecord;
use types::container::DeviceMapping;

use super::plan::HostFacts;
use crate::Engine;
use crate::error::EngineError;

/// Devices found below one directory are at most so many.
const DEVICES_MAX: usize = 4096;

/// Gathers the facts for a container.
///
/// # Errors
/// A device that does not exist, by name.
pub(crate) fn gather(
    engine: &Engine,
    record: &ContainerRecord,
    lowers: Vec<std::path::PathBuf>,
) -> Result<HostFacts, EngineError> {
    let mut facts = HostFacts {
        directory: engine.store().container_directory(&record.id),
        volumes: engine.store().path("volumes"),
        staging: engine.staging_directory()?,
        lowers,
        cgroup_parent: engine.cgroup_parent(),
        pure_cgroup2: runtime::cgroup::is_unified(),
        hostname: rustix::system::uname()
            .nodename()
            .to_string_lossy()
            .into_owned(),
        thermal_paths: thermal_paths(),
        bounding: sys::process::bounding_set(),
        link_variables: engine.link_variables(record),
        ..HostFacts::default()
    };
    if let Some(owner) = engine.network_owner(record) {
        facts.network_directory = Some(engine.store().container_directory(&owner.id));
        facts.network_hostname = Some(super::plan::hostname(&owner, &facts));
    }
    if record.spec.privileged {
        collect(Path::new("/dev"), "/dev", &mut facts.devices)?;
    }
    for mapping in &record.spec.resources.devices {
        add_device(mapping, &mut facts)?;
    }
    let directories = engine.config().cdi_spec_dirs.as_deref();
    facts.edits = crate::cdi::resolve(&record.spec.resources.device_requests, directories)?;
    for one in &record.volumes {
        let options = engine.store().volume(&one.name)?.options;
        if !options.is_empty() {
            facts.volume_options.insert(one.name.clone(), options);
        }
    }
    for (target, image) in &record.images {
        let mut lowers = engine.image_lowers(image)?;
        if lowers.len() == 1 {
            // Two layers at least make an overlay: the empty directory is beneath.
            lowers.push(facts.staging.clone());
        }
        facts.images.insert(target.clone(), lowers);
    }
    Ok(facts)
}

/// Docker hides how hot neighbours make each CPU.
fn thermal_paths() -> Vec<String> {
    let online = sys::host::read_text("/sys/devices/system/cpu/present");
    let last: u32 = online
        .trim()
        .rsplit(['-', ','])
        .next()
        .and_then(|n| n.parse().ok())
        .unwrap_or(0);
    let path = |cpu: u32| format!("/sys/devices/system/cpu/cpu{cpu}/thermal_throttle");
    if !Path::new(&path(0)).exists() {
        return Vec::new();
    }
    (0..=last).map(path).collect()
}

fn add_device(mapping: &DeviceMapping, facts: &mut HostFacts) -> Result<(), EngineError> {
    let host = Path::new(&mapping.host_path);
    let stat = rustix::fs::stat(host).map_err(|errno| {
        EngineError::invalid(format!(
            "error gathering device information while adding custom device \"{}\": {}",
            mapping.host_path,
            sys::error::describe(errno).to_lowercase()
        ))
    })?;
    let mut found = Vec::new();
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => collect(host, &mapping.container_path, &mut found)?,
        FileType::CharacterDevice | FileType::BlockDevice => {
            found.push(device(&stat, mapping.container_path.clone()));
        }
        _ => {
            return Err(EngineError::invalid(format!(
                "error gathering device information while adding custom device \"{}\": not a device node",
                mapping.host_path
            )));
        }
    }
    let permissions = if mapping.permissions.is_empty() {
        "rwm"
    } else {
        &mapping.permissions
    };
    for device in found {
        facts.device_rules.push(format!(
            "{} {}:{} {permissions}",
            device.kind, device.major, device.minor
        ));
        facts.devices.push(device);
    }
    Ok(())
}

fn device(stat: &rustix::fs::Stat, path: String) -> Device {
    let block = FileType::from_raw_mode(stat.st_mode) == FileType::BlockDevice;
    Device {
        kind: if block { "b" } else { "c" }.into(),
        path,
        major: rustix::fs::major(stat.st_rdev),
        minor: rustix::fs::minor(stat.st_rdev),
        file_mode: stat.st_mode & 0o7777,
        uid: stat.st_uid,
        gid: stat.st_gid,
    }
}

/// Every device node below a directory of the host, but those that a container has of its own.
fn collect(host: &Path, container: &str, found: &mut Vec<Device>) -> Result<(), EngineError> {
    const OWN: [&str; 8] = [
        "pts",
        "shm",
        "fd",
        "mqueue",
        ".lxc",
        ".lxd-mounts",
        ".udev",
        "console",
    ];
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = match rustix::fs::open(host, flags, Mode::empty()) {
        Ok(directory) => directory,
        Err(_) => return Ok(()),
    };
    let Ok(entries) = rustix::fs::Dir::read_from(&directory) else {
        return Ok(());
    };
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name == "." || name == ".." || OWN.contains(&name.as_str()) || found.len() >= DEVICES_MAX
        {
            continue;
        }
        let flags = rustix::fs::AtFlags::SYMLINK_NOFOLLOW;
        let Ok(stat) = rustix::fs::statat(&directory, entry.file_name(), flags) else {
            continue;
        };
        let path = format!("{}/{name}", container.trim_end_matches('/'));
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => collect(&host.join(&name), &path, found)?,
            FileType::CharacterDevice | FileType::BlockDevice => found.push(device(&stat, path)),
            _ => {}
        }
    }
    Ok(())
}
