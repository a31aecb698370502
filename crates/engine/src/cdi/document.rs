//! The file format of the Container Device Interface (SPEC.md of cncf-tags/container-device-interface).

use std::collections::BTreeMap;

use runtime::spec::{Device, Hook, Mount};
use rustix::fs::FileType;
use serde::Deserialize;
use serde_json::Value;

/// One file.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Document {
    #[serde(rename = "cdiVersion")]
    pub(super) version: String,
    /// `vendor.com/class`.
    pub(super) kind: String,
    #[serde(default)]
    pub(super) annotations: BTreeMap<String, String>,
    #[serde(default)]
    pub(super) devices: Vec<DescribedDevice>,
    #[serde(default)]
    pub(super) container_edits: ContainerEdits,
}

/// One device that it describes.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct DescribedDevice {
    pub(super) name: String,
    #[serde(default)]
    pub(super) annotations: BTreeMap<String, String>,
    #[serde(default)]
    pub(super) container_edits: ContainerEdits,
}

/// What a container needs.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct ContainerEdits {
    pub(super) env: Vec<String>,
    pub(super) device_nodes: Vec<DeviceNode>,
    pub(super) mounts: Vec<DescribedMount>,
    pub(super) hooks: Vec<DescribedHook>,
    pub(super) additional_gids: Vec<u32>,
    pub(super) intel_rdt: Value,
    pub(super) net_devices: Vec<Value>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct DeviceNode {
    path: String,
    host_path: String,
    #[serde(rename = "type")]
    kind: String,
    major: u32,
    minor: u32,
    file_mode: Option<u32>,
    permissions: String,
    uid: Option<u32>,
    gid: Option<u32>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct DescribedMount {
    host_path: String,
    container_path: String,
    options: Vec<String>,
    #[serde(rename = "type")]
    kind: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct DescribedHook {
    hook_name: String,
    path: String,
    args: Vec<String>,
    env: Vec<String>,
    timeout: Option<u32>,
}

impl DeviceNode {
    /// The node with what the file leaves to the host's own node, and its control group rule.
    pub(super) fn look_up(&self) -> Result<(Device, String), String> {
        let path = absolute("device node", &self.path)?;
        let on_host = match self.host_path.as_str() {
            "" => path,
            other => absolute("device node", other)?,
        };
        let mut device = Device {
            kind: self.kind.clone(),
            path: path.to_owned(),
            major: self.major,
            minor: self.minor,
            file_mode: self.file_mode.unwrap_or(0o666),
            uid: self.uid.unwrap_or(0),
            gid: self.gid.unwrap_or(0),
        };
        let is_complete = !device.kind.is_empty() && (device.major != 0 || device.kind == "p");
        if !is_complete {
            self.complete(&mut device, on_host)?;
        }
        let permissions = match self.permissions.as_str() {
            "" => "rwm",
            given if given.bytes().all(|letter| b"rwm".contains(&letter)) => given,
            other => return Err(format!("device node {path}: permissions {other:?}")),
        };
        let kind = match device.kind.as_str() {
            "b" => "b",
            "c" | "u" => "c",
            // A FIFO is no device to any control group.
            "p" => return Ok((device, String::new())),
            other => return Err(format!("device node {path}: type {other:?}")),
        };
        let rule = format!("{kind} {}:{} {permissions}", device.major, device.minor);
        Ok((device, rule))
    }

    fn complete(&self, device: &mut Device, on_host: &str) -> Result<(), String> {
        let stat = rustix::fs::stat(on_host)
            .map_err(|errno| format!("device node {on_host}: {}", sys::error::describe(errno)))?;
        let kind = match FileType::from_raw_mode(stat.st_mode) {
            FileType::BlockDevice => "b",
            FileType::CharacterDevice => "c",
            FileType::Fifo => "p",
            _ => return Err(format!("{on_host} is not a device node")),
        };
        if !self.kind.is_empty() && self.kind != kind {
            return Err(format!("{on_host} is not of type {:?}", self.kind));
        }
        kind.clone_into(&mut device.kind);
        if device.major == 0 && device.minor == 0 {
            device.major = rustix::fs::major(stat.st_rdev);
            device.minor = rustix::fs::minor(stat.st_rdev);
        }
        device.file_mode = self.file_mode.unwrap_or(stat.st_mode & 0o7777);
        device.uid = self.uid.unwrap_or(stat.st_uid);
        device.gid = self.gid.unwrap_or(stat.st_gid);
        Ok(())
    }
}

impl DescribedMount {
    pub(super) fn to_mount(&self) -> Result<Mount, String> {
        let destination = absolute("mount", &self.container_path)?.to_owned();
        let kind = match self.kind.as_str() {
            "" => "bind",
            "bind" | "tmpfs" => &self.kind,
            other => return Err(format!("mount at {destination}: type {other:?}")),
        };
        let mut options = self.options.clone();
        if kind == "bind" {
            absolute("mount", &self.host_path)?;
            if !options
                .iter()
                .any(|option| option == "bind" || option == "rbind")
            {
                options.push("rbind".to_owned());
            }
        }
        Ok(Mount {
            destination,
            kind: kind.to_owned(),
            source: self.host_path.clone(),
            options,
            ..Mount::default()
        })
    }
}

impl DescribedHook {
    pub(super) fn to_hook(&self) -> Result<Hook, String> {
        if self.hook_name != "createContainer" {
            return Err(format!(
                "hook {:?} is not supported, only createContainer is",
                self.hook_name
            ));
        }
        Ok(Hook {
            path: absolute("hook", &self.path)?.to_owned(),
            args: self.args.clone(),
            env: self.env.clone(),
            timeout: self.timeout,
        })
    }
}

fn absolute<'a>(what: &str, path: &'a str) -> Result<&'a str, String> {
    match path.starts_with('/') {
        true => Ok(path),
        false => Err(format!("{what} {path:?} is not an absolute path")),
    }
}
