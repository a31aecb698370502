//! `docker inspect` of a container.

use std::collections::BTreeMap;

use serde_json::{Map, Value};
use types::container::{ContainerSpec, Healthcheck};
use types::state::{ContainerState, Health, Status};

use super::host_config::host_config;
use super::{Members, list_or_null, set, string_map, time_or_zero};

/// Length of a short id, the default host name.
const SHORT_ID_LEN: usize = 12;

/// What `inspect` shows of a container, gathered by the engine.
#[derive(Clone, Debug)]
pub struct ContainerView<'a> {
    /// The full id.
    pub id: &'a str,
    /// RFC 3339.
    pub created: &'a str,
    /// The program that runs first.
    pub path: &'a str,
    /// Its arguments.
    pub args: &'a [String],
    /// The state as the monitor last wrote it.
    pub state: &'a ContainerState,
    /// The image's id, `sha256:…`.
    pub image_id: &'a str,
    /// The name without a slash.
    pub name: &'a str,
    /// The image's operating system.
    pub platform: &'a str,
    /// The request, merged with the image's configuration.
    pub spec: &'a ContainerSpec,
    /// What is mounted.
    pub mounts: &'a [MountPoint],
    /// Addresses and ports.
    pub network: &'a NetworkView,
    /// Files of the container on the host.
    pub paths: &'a PathsView,
    /// Where its file system lies.
    pub graph_driver: &'a GraphDriver,
    /// Bytes written and bytes in all, when asked for.
    pub sizes: Option<(i64, i64)>,
    /// Ids of the commands running in it.
    pub exec_ids: &'a [String],
    /// What this host and engine add to the request.
    pub host: &'a HostView,
}

/// A mount of a container.
#[derive(Clone, Debug, Default)]
pub struct MountPoint {
    /// `bind`, `volume`, `tmpfs` or `image`.
    pub kind: String,
    /// A volume's name.
    pub name: String,
    /// Path on the host.
    pub source: String,
    /// Path in the container.
    pub destination: String,
    /// A volume's driver.
    pub driver: String,
    /// Options as given with `-v`: `z`, `ro` …
    pub mode: String,
    /// Can be written.
    pub read_write: bool,
    /// `rprivate`, `rslave` …
    pub propagation: String,
}

/// A container's place in its networks.
#[derive(Clone, Debug, Default)]
pub struct NetworkView {
    /// Id of the network namespace's owner.
    pub sandbox_id: String,
    /// Path of the namespace.
    pub sandbox_key: String,
    /// Ports of the container (`80/tcp`) and where they are published; none when only exposed.
    pub ports: BTreeMap<String, Vec<PortBinding>>,
    /// Networks by name.
    pub networks: BTreeMap<String, EndpointView>,
}

/// Where a port is published.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PortBinding {
    /// Address of the host.
    pub host_ip: String,
    /// Port of the host.
    pub host_port: String,
}

/// A container's place in one network.
#[derive(Clone, Debug, Default)]
pub struct EndpointView {
    /// The fixed IPv4 address asked for.
    pub requested_ipv4: String,
    /// The fixed IPv6 address asked for.
    pub requested_ipv6: String,
    /// The link-local addresses asked for.
    pub link_local_ips: Vec<String>,
    /// Other containers, as this one calls them.
    pub links: Vec<String>,
    /// Extra names.
    pub aliases: Vec<String>,
    /// MAC address.
    pub mac_address: String,
    /// Driver options.
    pub driver_options: BTreeMap<String, String>,
    /// Priority of its gateway.
    pub gateway_priority: i64,
    /// The network's id.
    pub network_id: String,
    /// The endpoint's id.
    pub endpoint_id: String,
    /// IPv4 gateway.
    pub gateway: String,
    /// IPv4 address.
    pub ip_address: String,
    /// Length of the IPv4 prefix.
    pub ip_prefix_len: i64,
    /// IPv6 gateway.
    pub ipv6_gateway: String,
    /// IPv6 address.
    pub ipv6_address: String,
    /// Length of the IPv6 prefix.
    pub ipv6_prefix_len: i64,
    /// Names that resolve to the container.
    pub dns_names: Vec<String>,
}

/// Files of a container on the host; empty where there is none.
#[derive(Clone, Debug, Default)]
pub struct PathsView {
    /// `/etc/resolv.conf`.
    pub resolv_conf: String,
    /// `/etc/hostname`.
    pub hostname: String,
    /// `/etc/hosts`.
    pub hosts: String,
    /// The log.
    pub log: String,
}

/// Where a root file system lies.
#[derive(Clone, Debug)]
pub struct GraphDriver {
    /// Such as `overlay2`.
    pub name: String,
    /// `LowerDir`, `MergedDir` …; `None` prints null.
    pub data: Option<BTreeMap<String, String>>,
}

/// What this host and engine add to a request.
#[derive(Clone, Debug, Default)]
pub struct HostView {
    /// Name of the runtime when none was asked for.
    pub default_runtime: String,
    /// `host` or `private`: the default of `--cgroupns`.
    pub default_cgroupns: String,
    /// Only cgroup v2 is there, which cannot disable the OOM killer.
    pub cgroup_v2: bool,
    /// The AppArmor profile it runs under.
    pub apparmor_profile: String,
    /// SELinux label of its mounts.
    pub mount_label: String,
    /// SELinux label of its processes.
    pub process_label: String,
    /// Paths hidden from it; `None` prints null (privileged).
    pub masked_paths: Option<Vec<String>>,
    /// Paths it cannot write; `None` prints null (privileged).
    pub readonly_paths: Option<Vec<String>>,
}

/// The document `GET /containers/{id}/json` answers and `docker inspect` prints in an array.
#[must_use]
pub fn container_inspect(input: &ContainerView<'_>) -> Value {
    let mut document = Members::default();
    document
        .add("Id", input.id)
        .add("Created", time_or_zero(input.created))
        .add("Path", input.path)
        .add("Args", input.args)
        .add("State", state(input.state))
        .add("Image", input.image_id)
        .add("ResolvConfPath", input.paths.resolv_conf.as_str())
        .add("HostnamePath", input.paths.hostname.as_str())
        .add("HostsPath", input.paths.hosts.as_str())
        .add("LogPath", input.paths.log.as_str())
        .add("Name", format!("/{}", input.name))
        .add("RestartCount", input.state.restart_count)
        .add("Driver", input.graph_driver.name.as_str())
        .add("Platform", input.platform)
        .add("MountLabel", input.host.mount_label.as_str())
        .add("ProcessLabel", input.host.process_label.as_str())
        .add("AppArmorProfile", input.host.apparmor_profile.as_str())
        .add("ExecIDs", list_or_null(input.exec_ids))
        .add(
            "HostConfig",
            host_config(input.spec, input.host, input.name),
        )
        .add("GraphDriver", graph_driver(input.graph_driver));
    if let Some((written, total)) = input.sizes {
        document.add("SizeRw", written).add("SizeRootFs", total);
    }
    document
        .add(
            "Mounts",
            input.mounts.iter().map(mount_point).collect::<Vec<_>>(),
        )
        .add("Config", config(input.spec, input.id))
        .add("NetworkSettings", network_settings(input.network))
        .build()
}

fn state(state: &ContainerState) -> Value {
    let mut members = Members::default();
    members
        .add("Status", state.status.as_str())
        .add("Running", state.status.is_live())
        .add("Paused", state.status == Status::Paused)
        .add("Restarting", state.status == Status::Restarting)
        .add("OOMKilled", state.oom_killed)
        .add("Dead", state.status == Status::Dead)
        .add("Pid", state.pid)
        .add("ExitCode", state.exit_code)
        .add("Error", state.error.as_str())
        .add("StartedAt", time_or_zero(&state.started_at))
        .add("FinishedAt", time_or_zero(&state.finished_at));
    if let Some(check) = &state.health {
        members.add("Health", health(check));
    }
    members.build()
}

fn health(health: &Health) -> Value {
    let log: Vec<Value> = health
        .log
        .iter()
        .map(|probe| {
            Members::default()
                .add("Start", time_or_zero(&probe.start))
                .add("End", time_or_zero(&probe.end))
                .add("ExitCode", probe.exit_code)
                .add("Output", probe.output.as_str())
                .build()
        })
        .collect();
    Members::default()
        .add("Status", health.status.as_str())
        .add("FailingStreak", health.failing_streak)
        .add("Log", log)
        .build()
}

pub(super) fn graph_driver(driver: &GraphDriver) -> Value {
    Members::default()
        .add("Data", driver.data.as_ref().map_or(Value::Null, string_map))
        .add("Name", driver.name.as_str())
        .build()
}

fn mount_point(mount: &MountPoint) -> Value {
    Members::default()
        .add_filled("Type", mount.kind.as_str())
        .add_filled("Name", mount.name.as_str())
        .add("Source", mount.source.as_str())
        .add("Destination", mount.destination.as_str())
        .add_filled("Driver", mount.driver.as_str())
        .add("Mode", mount.mode.as_str())
        .add("RW", mount.read_write)
        .add("Propagation", mount.propagation.as_str())
        .build()
}

/// Docker's `Config`: what is asked for whatever the host.
fn config(spec: &ContainerSpec, id: &str) -> Value {
    let short_id = id.get(..SHORT_ID_LEN).unwrap_or(id);
    let hostname = match spec.hostname.as_str() {
        "" if spec.uts_mode == "host" => "",
        "" => short_id,
        name => name,
    };
    let command =
        |command: &Option<Vec<String>>| command.as_deref().map_or(Value::Null, list_or_null);
    let volumes = if spec.volumes.is_empty() {
        Value::Null
    } else {
        set(&spec.volumes)
    };
    let mut members = Members::default();
    members
        .add("Hostname", hostname)
        .add("Domainname", spec.domainname.as_str())
        .add("User", spec.user.as_str())
        .add("AttachStdin", spec.attach_stdin)
        .add("AttachStdout", spec.attach_stdout)
        .add("AttachStderr", spec.attach_stderr)
        .add_filled("ExposedPorts", set(&spec.exposed_ports))
        .add("Tty", spec.tty)
        .add("OpenStdin", spec.open_stdin)
        .add("StdinOnce", spec.stdin_once)
        .add("Env", list_or_null(&spec.env))
        .add("Cmd", command(&spec.cmd));
    if let Some(check) = &spec.healthcheck {
        members.add("Healthcheck", healthcheck(check));
    }
    members
        .add("Image", spec.image.as_str())
        .add("Volumes", volumes)
        .add("WorkingDir", spec.working_dir.as_str())
        .add("Entrypoint", command(&spec.entrypoint))
        .add_filled("MacAddress", spec.mac_address.as_str())
        .add("OnBuild", Value::Null)
        .add("Labels", string_map(&spec.labels))
        .add_filled("StopSignal", spec.stop_signal.as_str());
    if let Some(seconds) = spec.stop_timeout {
        members.add("StopTimeout", seconds);
    }
    members.build()
}

/// A health check; durations that were not given are left out.
pub(super) fn healthcheck(check: &Healthcheck) -> Value {
    Members::default()
        .add_filled("Test", check.test.as_slice())
        .add_filled("Interval", check.interval_ns)
        .add_filled("Timeout", check.timeout_ns)
        .add_filled("StartPeriod", check.start_period_ns)
        .add_filled("StartInterval", check.start_interval_ns)
        .add_filled("Retries", check.retries)
        .build()
}

fn network_settings(network: &NetworkView) -> Value {
    let ports: Map<String, Value> = network
        .ports
        .iter()
        .map(|(port, bindings)| (port.clone(), port_bindings(bindings)))
        .collect();
    let networks: Map<String, Value> = network
        .networks
        .iter()
        .map(|(name, place)| (name.clone(), endpoint(place)))
        .collect();
    // Docker repeats the bridge's addresses at the top, for clients older than networks.
    let none = EndpointView::default();
    let bridge = network.networks.get("bridge").unwrap_or(&none);
    Members::default()
        .add("Bridge", "")
        .add("SandboxID", network.sandbox_id.as_str())
        .add("SandboxKey", network.sandbox_key.as_str())
        .add("Ports", ports)
        .add("HairpinMode", false)
        .add("LinkLocalIPv6Address", "")
        .add("LinkLocalIPv6PrefixLen", 0)
        .add("SecondaryIPAddresses", Value::Null)
        .add("SecondaryIPv6Addresses", Value::Null)
        .add("EndpointID", bridge.endpoint_id.as_str())
        .add("Gateway", bridge.gateway.as_str())
        .add("GlobalIPv6Address", bridge.ipv6_address.as_str())
        .add("GlobalIPv6PrefixLen", bridge.ipv6_prefix_len)
        .add("IPAddress", bridge.ip_address.as_str())
        .add("IPPrefixLen", bridge.ip_prefix_len)
        .add("IPv6Gateway", bridge.ipv6_gateway.as_str())
        .add("MacAddress", bridge.mac_address.as_str())
        .add("Networks", networks)
        .build()
}

/// Where a port is published, null when only exposed.
pub(super) fn port_bindings(bindings: &[PortBinding]) -> Value {
    if bindings.is_empty() {
        return Value::Null;
    }
    bindings
        .iter()
        .map(|binding| {
            Members::default()
                .add("HostIp", binding.host_ip.as_str())
                .add("HostPort", binding.host_port.as_str())
                .build()
        })
        .collect()
}

fn endpoint(place: &EndpointView) -> Value {
    let asked = Members::default()
        .add_filled("IPv4Address", place.requested_ipv4.as_str())
        .add_filled("IPv6Address", place.requested_ipv6.as_str())
        .add_filled("LinkLocalIPs", place.link_local_ips.as_slice())
        .build();
    let is_unasked = asked.as_object().is_none_or(Map::is_empty);
    let options = &place.driver_options;
    Members::default()
        .add("IPAMConfig", if is_unasked { Value::Null } else { asked })
        .add("Links", list_or_null(&place.links))
        .add("Aliases", list_or_null(&place.aliases))
        .add("MacAddress", place.mac_address.as_str())
        .add(
            "DriverOpts",
            if options.is_empty() {
                Value::Null
            } else {
                string_map(options)
            },
        )
        .add("GwPriority", place.gateway_priority)
        .add("NetworkID", place.network_id.as_str())
        .add("EndpointID", place.endpoint_id.as_str())
        .add("Gateway", place.gateway.as_str())
        .add("IPAddress", place.ip_address.as_str())
        .add("IPPrefixLen", place.ip_prefix_len)
        .add("IPv6Gateway", place.ipv6_gateway.as_str())
        .add("GlobalIPv6Address", place.ipv6_address.as_str())
        .add("GlobalIPv6PrefixLen", place.ipv6_prefix_len)
        .add("DNSNames", list_or_null(&place.dns_names))
        .build()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inspect(spec: &ContainerSpec, state: &ContainerState) -> Value {
        let id = "c".repeat(64);
        container_inspect(&ContainerView {
            id: &id,
            created: "2024-01-01T00:00:00.5Z",
            path: "sh",
            args: &["-c".to_owned(), "a && b".to_owned()],
            state,
            image_id: "sha256:aa",
            name: "web",
            platform: "linux",
            spec,
            mounts: &[MountPoint {
                kind: "bind".to_owned(),
                source: "/a".to_owned(),
                destination: "/b".to_owned(),
                read_write: true,
                propagation: "rprivate".to_owned(),
                ..MountPoint::default()
            }],
            network: &NetworkView::default(),
            paths: &PathsView::default(),
            graph_driver: &GraphDriver {
                name: "overlay2".to_owned(),
                data: None,
            },
            sizes: None,
            exec_ids: &[],
            host: &HostView {
                default_runtime: "runc".to_owned(),
                default_cgroupns: "host".to_owned(),
                ..HostView::default()
            },
        })
    }

    fn keys(value: &Value) -> Vec<&str> {
        value
            .as_object()
            .map(|object| object.keys().map(String::as_str).collect())
            .unwrap_or_default()
    }

    // The order is that of the engine's structs, `docker inspect` 28.2.2.
    #[test]
    fn members_stand_in_dockers_order() {
        let document = inspect(&ContainerSpec::default(), &ContainerState::default());
        assert_eq!(
            keys(&document),
            [
                "Id",
                "Created",
                "Path",
                "Args",
                "State",
                "Image",
                "ResolvConfPath",
                "HostnamePath",
                "HostsPath",
                "LogPath",
                "Name",
                "RestartCount",
                "Driver",
                "Platform",
                "MountLabel",
                "ProcessLabel",
                "AppArmorProfile",
                "ExecIDs",
                "HostConfig",
                "GraphDriver",
                "Mounts",
                "Config",
                "NetworkSettings"
            ]
        );
        assert_eq!(
            keys(&document["Config"]),
            [
                "Hostname",
                "Domainname",
                "User",
                "AttachStdin",
                "AttachStdout",
                "AttachStderr",
                "Tty",
                "OpenStdin",
                "StdinOnce",
                "Env",
                "Cmd",
                "Image",
                "Volumes",
                "WorkingDir",
                "Entrypoint",
                "OnBuild",
                "Labels"
            ]
        );
        assert_eq!(document["Config"]["Hostname"], "cccccccccccc");
        assert_eq!(document["State"]["StartedAt"], "0001-01-01T00:00:00Z");
        assert_eq!(document["ExecIDs"], Value::Null);
        assert_eq!(
            keys(&document["Mounts"][0]),
            ["Type", "Source", "Destination", "Mode", "RW", "Propagation"]
        );
        assert_eq!(document["Name"], "/web");
    }

    #[test]
    fn a_filled_request_comes_back_as_given() {
        let spec = ContainerSpec {
            exposed_ports: vec!["80/tcp".to_owned(), "443/tcp".to_owned()],
            volumes: vec!["/data".to_owned()],
            stop_signal: "SIGQUIT".to_owned(),
            stop_timeout: Some(3),
            entrypoint: Some(vec![]),
            healthcheck: Some(Healthcheck {
                test: vec!["CMD".to_owned(), "true".to_owned()],
                interval_ns: 5,
                ..Healthcheck::default()
            }),
            ..ContainerSpec::default()
        };
        let state = ContainerState {
            status: Status::Paused,
            health: Some(Health {
                status: "healthy".to_owned(),
                ..Health::default()
            }),
            ..ContainerState::default()
        };
        let document = inspect(&spec, &state);
        let config = &document["Config"];
        assert_eq!(
            config["ExposedPorts"].to_string(),
            r#"{"443/tcp":{},"80/tcp":{}}"#
        );
        assert_eq!(config["Volumes"].to_string(), r#"{"/data":{}}"#);
        assert_eq!(config["Entrypoint"], Value::Null);
        assert_eq!(
            config["Healthcheck"].to_string(),
            r#"{"Test":["CMD","true"],"Interval":5}"#
        );
        assert_eq!(
            (&config["StopSignal"], &config["StopTimeout"]),
            (&"SIGQUIT".into(), &3.into())
        );
        let state = &document["State"];
        assert_eq!(
            (&state["Running"], &state["Paused"]),
            (&true.into(), &true.into())
        );
        assert_eq!(
            state["Health"].to_string(),
            r#"{"Status":"healthy","FailingStreak":0,"Log":[]}"#
        );
    }
}
