//! Devices by name: the Container Device Interface (CDI 1.1), by which vendors of GPUs and their like
//! describe in files what a container needs to use a device.
//!
//! ```text
//! --gpus all, --device nvidia.com/gpu=0 ─▶ requests ─▶ qualified names ─▶ directories ─▶ Edits
//! ```
//! Only the administrator's files select what happens: labels and variables of images do not.

mod directories;
mod document;
mod request;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use runtime::spec::{Device, Hook, Mount};
use types::container::DeviceRequest;

use self::document::ContainerEdits;
use crate::error::EngineError;

/// Where descriptions are by default; the later directory wins.
const DIRECTORIES: [&str; 2] = ["/etc/cdi", "/var/run/cdi"];

const OPEN_TO_BUILDS: &str = "org.mobyproject.buildkit.device.autoallow";

/// What devices change about a container.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Edits {
    /// `KEY=VALUE`.
    pub env: Vec<String>,
    /// Device nodes, with their control group rules.
    pub devices: Vec<(Device, String)>,
    /// Mounts, mostly of libraries and programs of the host.
    pub mounts: Vec<Mount>,
    /// Programs of the host that run before the container's root becomes `/`.
    pub hooks: Vec<Hook>,
    /// Further groups of the process.
    pub groups: Vec<String>,
}

/// The edits that the requests of a container ask for.
///
/// # Errors
/// A device that no file describes, a description that is not understood or needs what is not
/// built, a device node that the host does not have; each by name.
pub(crate) fn resolve(
    requests: &[DeviceRequest],
    directories: Option<&[PathBuf]>,
) -> Result<Edits, EngineError> {
    if requests.is_empty() {
        return Ok(Edits::default());
    }
    let defaults = DIRECTORIES.map(PathBuf::from);
    let found = directories::Registry::read(directories.unwrap_or(&defaults));
    let names = request::names(requests, &found)?;
    let mut edits = Edits::default();
    let mut files: Vec<&Path> = Vec::new();
    for (described, device) in found.all(&names)? {
        // What a file asks for in general is asked for once, before its first device.
        if !files.contains(&described.path.as_path()) {
            files.push(&described.path);
            add(&mut edits, &described.document.container_edits)
                .map_err(|text| failure(&described.path, &text))?;
        }
        add(&mut edits, &device.container_edits).map_err(|text| failure(&described.path, &text))?;
    }
    Ok(edits)
}

/// Whether a device's description says that every build may have it, as for BuildKit.
pub(crate) fn is_open_to_builds(name: &str, directories: Option<&[PathBuf]>) -> bool {
    let defaults = DIRECTORIES.map(PathBuf::from);
    let found = directories::Registry::read(directories.unwrap_or(&defaults));
    let devices = found.all(std::slice::from_ref(&name.to_owned()));
    let is_open = |annotations: &BTreeMap<String, String>| {
        annotations.get(OPEN_TO_BUILDS).map(String::as_str) == Some("true")
    };
    devices.is_ok_and(|devices| {
        devices.iter().all(|(described, device)| {
            is_open(&described.document.annotations) || is_open(&device.annotations)
        })
    })
}

fn failure(path: &Path, text: &str) -> EngineError {
    EngineError::invalid(format!(
        "CDI device injection failed: {}: {text}",
        path.display()
    ))
}

fn add(edits: &mut Edits, from: &ContainerEdits) -> Result<(), String> {
    if let Some(pair) = from.env.iter().find(|pair| !pair.contains('=')) {
        return Err(format!("variable {pair:?} has no value"));
    }
    edits.env.extend(from.env.iter().cloned());
    for node in &from.device_nodes {
        edits.devices.push(node.look_up()?);
    }
    for mount in &from.mounts {
        edits.mounts.push(mount.to_mount()?);
    }
    for hook in &from.hooks {
        edits.hooks.push(hook.to_hook()?);
    }
    let groups = from.additional_gids.iter().filter(|gid| **gid != 0);
    edits.groups.extend(groups.map(ToString::to_string));
    if !from.intel_rdt.is_null() {
        return Err("intelRdt is not supported".to_owned());
    }
    if !from.net_devices.is_empty() {
        return Err("netDevices are not supported".to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests;
