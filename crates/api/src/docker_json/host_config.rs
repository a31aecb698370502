//! Docker's `HostConfig`: how a container meets its host.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use types::container::{ContainerSpec, NO_NETWORK, Resources, RestartKind};
use types::mount::{MountKind, MountSpec};
use types::port::parse_publish;

use super::container_inspect::{HostView, PortBinding, port_bindings};
use super::{Members, list_or_null, string_map};

/// Docker's default of `--shm-size`.
const SHM_SIZE_DEFAULT: i64 = 64 << 20;

/// The host configuration of the container `name`, with the defaults Docker fills in.
#[must_use]
pub fn host_config(spec: &ContainerSpec, host: &HostView, name: &str) -> Value {
    let mut members = Members::default();
    members
        .add("Binds", list_or_null(&spec.binds))
        .add("ContainerIDFile", spec.container_id_file.as_str())
        .add("LogConfig", log_config(spec))
        .add("NetworkMode", network_mode(spec))
        .add("PortBindings", published(spec))
        .add("RestartPolicy", restart_policy(spec))
        .add("AutoRemove", spec.auto_remove)
        .add("VolumeDriver", spec.volume_driver.as_str())
        .add("VolumesFrom", list_or_null(&spec.volumes_from))
        .add("ConsoleSize", spec.console_size.to_vec())
        .add_filled("Annotations", string_map(&spec.annotations))
        .add("CapAdd", list_or_null(&spec.cap_add))
        .add("CapDrop", list_or_null(&spec.cap_drop))
        .add("CgroupnsMode", cgroupns_mode(spec, host))
        .add("Dns", spec.dns.as_slice())
        .add("DnsOptions", spec.dns_options.as_slice())
        .add("DnsSearch", spec.dns_search.as_slice())
        .add("ExtraHosts", list_or_null(&spec.extra_hosts))
        .add("GroupAdd", list_or_null(&spec.group_add))
        .add("IpcMode", or(&spec.ipc_mode, "private"))
        .add("Cgroup", "")
        .add("Links", links(spec, name))
        .add("OomScoreAdj", spec.oom_score_adj)
        .add("PidMode", spec.pid_mode.as_str())
        .add("Privileged", spec.privileged)
        .add("PublishAllPorts", spec.publish_all)
        .add("ReadonlyRootfs", spec.read_only)
        .add("SecurityOpt", list_or_null(&security_options(spec)))
        .add_filled("StorageOpt", string_map(&spec.storage_options))
        .add_filled("Tmpfs", string_map(&spec.tmpfs))
        .add("UTSMode", spec.uts_mode.as_str())
        .add("UsernsMode", spec.userns_mode.as_str())
        .add("ShmSize", shm_size(spec))
        .add_filled("Sysctls", string_map(&spec.sysctls))
        .add_filled("Runtime", or(&spec.runtime, &host.default_runtime))
        .add("Isolation", "");
    resources(&mut members, spec, host);
    members
        .add_filled("Mounts", spec.mounts.iter().map(mount).collect::<Vec<_>>())
        .add("MaskedPaths", host.masked_paths.clone())
        .add("ReadonlyPaths", host.readonly_paths.clone());
    if spec.init {
        members.add("Init", true);
    }
    members.build()
}

fn or<'a>(text: &'a str, default: &'a str) -> &'a str {
    if text.is_empty() { default } else { text }
}

fn log_config(spec: &ContainerSpec) -> Value {
    json!({
        "Type": or(&spec.log_driver, "json-file"),
        "Config": string_map(&spec.log_options),
    })
}

/// The first network; Docker's default is called `bridge` here since version 26.
fn network_mode(spec: &ContainerSpec) -> &str {
    let first = spec.networks.first().map(|network| network.target.as_str());
    let asked = Some(spec.network_mode.as_str()).filter(|mode| !mode.is_empty());
    match asked.or(first) {
        None | Some("" | "default") => "bridge",
        Some(NO_NETWORK) => "none",
        Some(target) => target,
    }
}

fn published(spec: &ContainerSpec) -> Value {
    let mut ports: BTreeMap<String, Vec<PortBinding>> = BTreeMap::new();
    for text in &spec.publish {
        // Flags were parsed before they came here; what does not parse now is not shown.
        for mapping in parse_publish(text).unwrap_or_default() {
            let binding = PortBinding {
                host_port: mapping.host_port_text(),
                host_ip: mapping.host_ip.clone(),
            };
            ports
                .entry(mapping.container.to_string())
                .or_default()
                .push(binding);
        }
    }
    let members: Map<String, Value> = ports
        .into_iter()
        .map(|(port, bindings)| (port, port_bindings(&bindings)))
        .collect();
    Value::Object(members)
}

fn restart_policy(spec: &ContainerSpec) -> Value {
    let name = match spec.restart.kind {
        RestartKind::No => "no",
        RestartKind::OnFailure => "on-failure",
        RestartKind::Always => "always",
        RestartKind::UnlessStopped => "unless-stopped",
        RestartKind::OnUnhealthy => "on-unhealthy",
    };
    json!({ "Name": name, "MaximumRetryCount": spec.restart.maximum_retries })
}

fn cgroupns_mode<'a>(spec: &'a ContainerSpec, host: &'a HostView) -> &'a str {
    match spec.cgroupns_mode.as_str() {
        "" if spec.privileged && !host.cgroup_v2 => "host",
        "" => or(&host.default_cgroupns, "private"),
        mode => mode,
    }
}

/// `--link db:alias` of `web` is `/db:/web/alias`.
fn links(spec: &ContainerSpec, name: &str) -> Value {
    let links: Vec<String> = spec
        .links
        .iter()
        .map(|link| {
            let (target, alias) = link.split_once(':').unwrap_or((link, link));
            format!("/{}:/{name}/{alias}", target.trim_start_matches('/'))
        })
        .collect();
    list_or_null(&links)
}

/// The options as given; a container that shares the host's view carries no label.
fn security_options(spec: &ContainerSpec) -> Vec<String> {
    let mut options: Vec<String> = spec
        .security_opt
        .iter()
        .filter(|option| !option.starts_with("systempaths"))
        .cloned()
        .collect();
    let shares_host = spec.privileged || spec.ipc_mode == "host" || spec.pid_mode == "host";
    let has_label = options
        .iter()
        .any(|option| option.split(['=', ':']).next() == Some("label"));
    if shares_host && !has_label {
        options.push("label=disable".to_owned());
    }
    options
}

fn shm_size(spec: &ContainerSpec) -> i64 {
    if spec.shm_size_bytes == 0 {
        SHM_SIZE_DEFAULT
    } else {
        spec.shm_size_bytes
    }
}

fn resources(members: &mut Members, spec: &ContainerSpec, host: &HostView) {
    let limits = &spec.resources;
    // Without a limit of its own, swap is as large as memory.
    let swap = match limits.memory_swap_bytes {
        0 if limits.memory_bytes > 0 => limits.memory_bytes.saturating_mul(2),
        swap => swap,
    };
    let pids = Some(limits.pids_limit).filter(|limit| *limit != 0);
    let oom_kill_disable = (!host.cgroup_v2).then_some(limits.oom_kill_disable);
    members
        .add("CpuShares", limits.cpu_shares)
        .add("Memory", limits.memory_bytes)
        .add("NanoCpus", limits.nano_cpus)
        .add("CgroupParent", spec.cgroup_parent.as_str())
        .add("BlkioWeight", limits.blkio_weight)
        .add("BlkioWeightDevice", weights(limits))
        .add("BlkioDeviceReadBps", throttles(&limits.blkio_read_bps))
        .add("BlkioDeviceWriteBps", throttles(&limits.blkio_write_bps))
        .add("BlkioDeviceReadIOps", throttles(&limits.blkio_read_iops))
        .add("BlkioDeviceWriteIOps", throttles(&limits.blkio_write_iops))
        .add("CpuPeriod", limits.cpu_period_us)
        .add("CpuQuota", limits.cpu_quota_us)
        .add("CpuRealtimePeriod", limits.cpu_realtime_period_us)
        .add("CpuRealtimeRuntime", limits.cpu_realtime_runtime_us)
        .add("CpusetCpus", limits.cpuset_cpus.as_str())
        .add("CpusetMems", limits.cpuset_mems.as_str())
        .add("Devices", devices(limits))
        .add(
            "DeviceCgroupRules",
            list_or_null(&limits.device_cgroup_rules),
        )
        .add("DeviceRequests", device_requests(limits))
        .add("MemoryReservation", limits.memory_reservation_bytes)
        .add("MemorySwap", swap)
        .add(
            "MemorySwappiness",
            limits.memory_swappiness.filter(|value| *value >= 0),
        )
        .add("OomKillDisable", oom_kill_disable)
        .add("PidsLimit", pids)
        .add("Ulimits", ulimits(limits))
        .add("CpuCount", 0)
        .add("CpuPercent", 0)
        .add("IOMaximumIOps", 0)
        .add("IOMaximumBandwidth", 0);
}

fn weights(limits: &Resources) -> Vec<Value> {
    let weights = limits.blkio_weight_device.iter();
    weights
        .map(|(path, weight)| json!({ "Path": path, "Weight": weight }))
        .collect()
}

fn throttles(rates: &[(String, u64)]) -> Vec<Value> {
    rates
        .iter()
        .map(|(path, rate)| json!({ "Path": path, "Rate": rate }))
        .collect()
}

fn devices(limits: &Resources) -> Vec<Value> {
    limits
        .devices
        .iter()
        .map(|device| {
            json!({
                "PathOnHost": device.host_path,
                "PathInContainer": device.container_path,
                "CgroupPermissions": device.permissions,
            })
        })
        .collect()
}

fn device_requests(limits: &Resources) -> Value {
    let requests = limits.device_requests.iter().map(|request| {
        let is_by_name = request.driver == "cdi";
        json!({
            "Driver": request.driver,
            "Count": request.count,
            "DeviceIDs": list_or_null(&request.device_ids),
            "Capabilities": (!is_by_name).then_some(&request.capabilities),
            "Options": (!is_by_name).then_some(&request.options),
        })
    });
    match limits.device_requests.is_empty() {
        true => Value::Null,
        false => requests.collect(),
    }
}

fn ulimits(limits: &Resources) -> Vec<Value> {
    let ulimits = limits.ulimits.iter();
    ulimits
        .map(|limit| json!({ "Name": limit.name, "Hard": limit.hard, "Soft": limit.soft }))
        .collect()
}

fn mount(spec: &MountSpec) -> Value {
    let kind = match spec.kind {
        MountKind::Bind => "bind",
        MountKind::Volume => "volume",
        MountKind::Tmpfs => "tmpfs",
        MountKind::Image => "image",
        MountKind::Npipe => "npipe",
        MountKind::Cluster => "cluster",
    };
    let mut members = Members::default();
    members
        .add("Type", kind)
        .add_filled("Source", spec.source.as_str())
        .add_filled("Target", spec.target.as_str())
        .add_filled("ReadOnly", spec.read_only)
        .add_filled("Consistency", spec.consistency.as_str());
    mount_options(&mut members, spec);
    members.build()
}

fn mount_options(members: &mut Members, spec: &MountSpec) {
    if let Some(bind) = &spec.bind {
        let options = Members::default()
            .add_filled("Propagation", bind.propagation.as_str())
            .add_filled("NonRecursive", bind.non_recursive)
            .add_filled("CreateMountpoint", bind.create_mountpoint)
            .add_filled("ReadOnlyNonRecursive", bind.read_only_non_recursive)
            .add_filled("ReadOnlyForceRecursive", bind.read_only_force_recursive)
            .build();
        members.add("BindOptions", options);
    }
    if let Some(volume) = &spec.volume {
        let driver = Members::default()
            .add_filled("Name", volume.driver.as_str())
            .add_filled("Options", string_map(&volume.driver_options))
            .build();
        let options = Members::default()
            .add_filled("NoCopy", volume.no_copy)
            .add_filled("Labels", string_map(&volume.labels))
            .add_filled("Subpath", volume.subpath.as_str())
            .add_filled("DriverConfig", driver)
            .build();
        members.add("VolumeOptions", options);
    }
    if let Some(image) = &spec.image {
        let options = Members::default()
            .add_filled("Subpath", image.subpath.as_str())
            .build();
        members.add("ImageOptions", options);
    }
    if let Some(tmpfs) = &spec.tmpfs {
        let pairs: Vec<Vec<&str>> = tmpfs
            .options
            .split(',')
            .filter(|option| !option.is_empty())
            .map(|option| option.splitn(2, '=').collect())
            .collect();
        let options = Members::default()
            .add_filled("SizeBytes", tmpfs.size_bytes)
            .add_filled("Mode", tmpfs.mode)
            .add_filled("Options", json!(pairs))
            .build();
        members.add("TmpfsOptions", options);
    }
}

#[cfg(test)]
mod tests {
    use types::container::{NetworkAttachment, Ulimit};
    use types::mount::BindOptions;

    use super::*;

    fn host() -> HostView {
        HostView {
            default_runtime: "runc".to_owned(),
            default_cgroupns: "private".to_owned(),
            masked_paths: Some(vec!["/proc/acpi".to_owned()]),
            ..HostView::default()
        }
    }

    // What `docker run -d busybox` leaves on engine 28.2 (cgroup v1), member for member.
    #[test]
    fn defaults_are_dockers() {
        let expected = concat!(
            r#"{"Binds":null,"ContainerIDFile":"","LogConfig":{"Type":"json-file","Config":{}},"#,
            r#""NetworkMode":"bridge","PortBindings":{},"RestartPolicy":{"Name":"no","#,
            r#""MaximumRetryCount":0},"AutoRemove":false,"VolumeDriver":"","VolumesFrom":null,"#,
            r#""ConsoleSize":[0,0],"CapAdd":null,"CapDrop":null,"CgroupnsMode":"private","#,
            r#""Dns":[],"DnsOptions":[],"DnsSearch":[],"ExtraHosts":null,"GroupAdd":null,"#,
            r#""IpcMode":"private","Cgroup":"","Links":null,"OomScoreAdj":0,"PidMode":"","#,
            r#""Privileged":false,"PublishAllPorts":false,"ReadonlyRootfs":false,"#,
            r#""SecurityOpt":null,"UTSMode":"","UsernsMode":"","ShmSize":67108864,"#,
            r#""Runtime":"runc","Isolation":"","CpuShares":0,"Memory":0,"NanoCpus":0,"#,
            r#""CgroupParent":"","BlkioWeight":0,"BlkioWeightDevice":[],"#,
            r#""BlkioDeviceReadBps":[],"BlkioDeviceWriteBps":[],"BlkioDeviceReadIOps":[],"#,
            r#""BlkioDeviceWriteIOps":[],"CpuPeriod":0,"CpuQuota":0,"CpuRealtimePeriod":0,"#,
            r#""CpuRealtimeRuntime":0,"CpusetCpus":"","CpusetMems":"","Devices":[],"#,
            r#""DeviceCgroupRules":null,"DeviceRequests":null,"MemoryReservation":0,"#,
            r#""MemorySwap":0,"MemorySwappiness":null,"OomKillDisable":false,"PidsLimit":null,"#,
            r#""Ulimits":[],"CpuCount":0,"CpuPercent":0,"IOMaximumIOps":0,"#,
            r#""IOMaximumBandwidth":0,"MaskedPaths":["/proc/acpi"],"ReadonlyPaths":null}"#
        );
        let value = host_config(&ContainerSpec::default(), &host(), "web");
        assert_eq!(value.to_string(), expected);
    }

    #[test]
    fn requests_show_as_docker_keeps_them() {
        let spec = ContainerSpec {
            publish: vec!["127.0.0.1:8080-8081:80-81".to_owned(), "53/udp".to_owned()],
            networks: vec![NetworkAttachment {
                target: "none".to_owned(),
                ..Default::default()
            }],
            privileged: true,
            links: vec!["db:alias".to_owned(), "cache".to_owned()],
            init: true,
            mounts: vec![MountSpec {
                kind: MountKind::Bind,
                source: "/a".to_owned(),
                target: "/b".to_owned(),
                read_only: true,
                consistency: String::new(),
                bind: Some(BindOptions {
                    non_recursive: true,
                    ..BindOptions::default()
                }),
                volume: None,
                image: None,
                tmpfs: None,
            }],
            resources: Resources {
                memory_bytes: 512,
                pids_limit: -1,
                ulimits: vec![Ulimit {
                    name: "nofile".to_owned(),
                    soft: 1,
                    hard: 2,
                }],
                ..Resources::default()
            },
            ..ContainerSpec::default()
        };
        let value = host_config(&spec, &host(), "web");
        for (member, expected) in [
            ("NetworkMode", r#""none""#),
            (
                "PortBindings",
                concat!(
                    r#"{"53/udp":[{"HostIp":"","HostPort":""}],"#,
                    r#""80/tcp":[{"HostIp":"127.0.0.1","HostPort":"8080"}],"#,
                    r#""81/tcp":[{"HostIp":"127.0.0.1","HostPort":"8081"}]}"#
                ),
            ),
            ("SecurityOpt", r#"["label=disable"]"#),
            ("CgroupnsMode", r#""host""#),
            ("Links", r#"["/db:/web/alias","/cache:/web/cache"]"#),
            ("MemorySwap", "1024"),
            ("PidsLimit", "-1"),
            ("Ulimits", r#"[{"Name":"nofile","Hard":2,"Soft":1}]"#),
            ("Init", "true"),
            (
                "Mounts",
                concat!(
                    r#"[{"Type":"bind","Source":"/a","Target":"/b","ReadOnly":true,"#,
                    r#""BindOptions":{"NonRecursive":true}}]"#
                ),
            ),
        ] {
            assert_eq!(value[member].to_string(), expected, "{member}");
        }
    }
}
