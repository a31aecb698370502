//! A service becomes a container: its name, its labels, and the request that `create` takes.
//!
//! Names and labels are Docker Compose's, so that whoever looks for them finds them.

mod limits;
mod mounts;
mod refused;

use std::collections::BTreeMap;

use types::container::{ContainerSpec, NetworkAttachment};

use crate::error::ComposeError;
use crate::hash::service_hash;
use crate::model::{self, Project, Service, ServiceNetwork};

use limits::{health_check, resources, restart_policy};

/// The labels by which Docker Compose and its friends find things.
pub mod labels {
    /// The project's name.
    pub const PROJECT: &str = "com.docker.compose.project";
    /// The service's name.
    pub const SERVICE: &str = "com.docker.compose.service";
    /// The digest of what the service or network was made from.
    pub const CONFIG_HASH: &str = "com.docker.compose.config-hash";
    /// Which of a service's containers, from 1.
    pub const NUMBER: &str = "com.docker.compose.container-number";
    /// A volume's key.
    pub const VOLUME: &str = "com.docker.compose.volume";
    /// A network's key.
    pub const NETWORK: &str = "com.docker.compose.network";
    /// The project's directory.
    pub const WORKING_DIR: &str = "com.docker.compose.project.working_dir";
    /// The project's files.
    pub const CONFIG_FILES: &str = "com.docker.compose.project.config_files";
    /// The files given with `--env-file`.
    pub const ENV_FILES: &str = "com.docker.compose.project.environment_file";
    /// `True` for containers of `compose run`.
    pub const ONEOFF: &str = "com.docker.compose.oneoff";
    /// What tells containers of `compose run` apart.
    pub const SLUG: &str = "com.docker.compose.slug";
    /// The digest of the image.
    pub const IMAGE: &str = "com.docker.compose.image";
    /// Dependencies, `name:condition:restart`.
    pub const DEPENDS_ON: &str = "com.docker.compose.depends_on";
    /// The version of what made it.
    pub const VERSION: &str = "com.docker.compose.version";
    /// The id of the container that this one replaces.
    pub const REPLACE: &str = "com.docker.compose.replace";
    /// The moment that a container of a hook runs at.
    pub const HOOK: &str = "com.docker.compose.hook";
}

/// What our labels say made it.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// A file whose content the project has, to be put into a container before it starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InjectedFile {
    /// Its path in the container.
    pub target: String,
    /// What it says.
    pub content: String,
    /// Its owner.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
    /// Its permissions.
    pub mode: u32,
}

/// What a service's container is made of.
#[derive(Clone, Debug, PartialEq)]
pub struct ServiceContainer {
    /// The request.
    pub spec: ContainerSpec,
    /// Files to put into it.
    pub files: Vec<InjectedFile>,
}

/// Which container of a service is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Instance {
    /// The numbered ones, from 1.
    Number(i64),
    /// One of `compose run`.
    OneOff,
}

/// The image of a service: as said, or named after project and service.
pub fn image_name(project: &Project, name: &str) -> String {
    match project.any_service(name) {
        Some(service) if !service.image.is_empty() => service.image.clone(),
        _ => format!("{}-{name}", project.name),
    }
}

/// The name of a service's container.
pub fn container_name(project: &Project, name: &str, number: i64) -> String {
    match project.any_service(name) {
        Some(service) if !service.container_name.is_empty() => service.container_name.clone(),
        _ => format!("{}-{name}-{number}", project.name),
    }
}

/// What a service's container is made of.
///
/// # Errors
/// What one machine's engine does not have, by name.
pub fn container(
    project: &Project,
    name: &str,
    instance: Instance,
) -> Result<ServiceContainer, ComposeError> {
    let Some(service) = project.services.get(name) else {
        return Err(ComposeError::of_project(format!("no such service: {name}")));
    };
    made(project, name, service, instance).map_err(|error| {
        match project.places.get(&format!("services.{name}")) {
            Some((file, line, column)) if error.file.is_none() => ComposeError {
                file: Some(file.clone()),
                position: Some((*line, *column)),
                ..error
            },
            _ => error,
        }
    })
}

fn made(
    project: &Project,
    name: &str,
    service: &Service,
    instance: Instance,
) -> Result<ServiceContainer, ComposeError> {
    refused::keys(project, name, service)?;
    refused::values(project, name, service)?;
    let maker = Maker {
        project,
        name,
        service,
        instance,
    };
    let mut spec = maker.base();
    maker.mounts(&mut spec)?;
    let files = maker.files(&mut spec)?;
    Ok(ServiceContainer { spec, files })
}

struct Maker<'a> {
    project: &'a Project,
    name: &'a str,
    service: &'a Service,
    instance: Instance,
}

impl Maker<'_> {
    fn base(&self) -> ContainerSpec {
        let service = self.service;
        let environment = service.environment.0.iter();
        let mut spec = ContainerSpec {
            image: image_name(self.project, self.name),
            hostname: service.hostname.clone(),
            domainname: service.domainname.clone(),
            user: service.user.clone(),
            group_add: service.group_add.clone(),
            attach_stdout: true,
            attach_stderr: true,
            tty: service.tty,
            open_stdin: service.stdin_open,
            env: environment
                .map(|(key, value)| match value {
                    Some(value) => format!("{key}={value}"),
                    None => key.clone(),
                })
                .collect(),
            entrypoint: service.entrypoint.clone(),
            cmd: service.command.clone(),
            working_dir: service.working_dir.clone(),
            labels: self.labels(),
            annotations: service.annotations.0.clone(),
            stop_signal: service.stop_signal.clone(),
            stop_timeout: service
                .stop_grace_period
                .map(|period| period.0 / 1_000_000_000),
            healthcheck: service.healthcheck.as_ref().map(health_check),
            exposed_ports: self.exposed_ports(),
            publish: service.ports.iter().map(publish).collect(),
            tmpfs: service.tmpfs.iter().map(|text| split_tmpfs(text)).collect(),
            volumes_from: service
                .volumes_from
                .iter()
                .map(|text| self.volumes_from(text))
                .collect(),
            restart: restart_policy(service),
            init: service.init.unwrap_or_default(),
            read_only: service.read_only,
            privileged: service.privileged,
            cap_add: service
                .cap_add
                .iter()
                .map(|text| capability(text))
                .collect(),
            cap_drop: service
                .cap_drop
                .iter()
                .map(|text| capability(text))
                .collect(),
            security_opt: service.security_opt.clone(),
            sysctls: service.sysctls.0.clone(),
            shm_size_bytes: service.shm_size.0,
            oom_score_adj: i32::try_from(service.oom_score_adj).unwrap_or_default(),
            platform: service.platform.clone(),
            runtime: service.runtime.clone(),
            storage_options: service.storage_opt.0.clone(),
            resources: resources(service),
            ..ContainerSpec::default()
        };
        self.surroundings(&mut spec);
        spec
    }

    /// Networks, names and namespaces.
    fn surroundings(&self, spec: &mut ContainerSpec) {
        let service = self.service;
        spec.networks = self.networks();
        if let Some(logging) = &service.logging {
            spec.log_driver = logging.driver.clone();
            spec.log_options = logging.options.0.clone();
        }
        spec.dns = service.dns.clone();
        spec.dns_options = service.dns_opt.clone();
        spec.dns_search = service.dns_search.clone();
        spec.extra_hosts = service.extra_hosts.lines(':');
        spec.mac_address = service.mac_address.clone();
        spec.pid_mode = self.shared(&service.pid);
        spec.ipc_mode = self.shared(&service.ipc);
        spec.uts_mode = service.uts.clone();
        spec.userns_mode = service.userns_mode.clone();
        spec.cgroupns_mode = service.cgroup.clone();
        spec.cgroup_parent = service.cgroup_parent.clone();
    }

    fn labels(&self) -> BTreeMap<String, String> {
        let service = self.service;
        let mut all = service.labels.0.clone();
        let mut put = |key: &str, value: String| {
            all.insert(key.to_owned(), value);
        };
        put(labels::PROJECT, self.project.name.clone());
        put(labels::SERVICE, self.name.to_owned());
        put(labels::VERSION, VERSION.to_owned());
        put(labels::WORKING_DIR, self.project.working_dir.clone());
        put(labels::CONFIG_FILES, self.project.files.join(","));
        if !self.project.env_files.is_empty() {
            put(labels::ENV_FILES, self.project.env_files.join(","));
        }
        let dependencies: Vec<String> = service
            .depends_on
            .iter()
            .map(|(name, on)| format!("{name}:{}:{}", on.condition, on.restart))
            .collect();
        put(labels::DEPENDS_ON, dependencies.join(","));
        put(labels::CONFIG_HASH, service_hash(service));
        match self.instance {
            Instance::Number(number) => {
                put(labels::ONEOFF, "False".to_owned());
                put(labels::NUMBER, number.to_string());
            }
            Instance::OneOff => put(labels::ONEOFF, "True".to_owned()),
        }
        all
    }

    fn exposed_ports(&self) -> Vec<String> {
        let mut ports: Vec<String> = Vec::new();
        for port in &self.service.ports {
            ports.push(format!("{}/{}", port.target, protocol(&port.protocol)));
        }
        for text in &self.service.expose {
            let exposed = types::port::parse_expose(text).unwrap_or_default();
            ports.extend(exposed.iter().map(ToString::to_string));
        }
        ports.sort();
        ports.dedup();
        ports
    }

    /// `service:x` is the first container of `x`.
    fn shared(&self, mode: &str) -> String {
        match mode.strip_prefix("service:") {
            Some(name) => format!("container:{}", container_name(self.project, name, 1)),
            None => mode.to_owned(),
        }
    }

    fn volumes_from(&self, text: &str) -> String {
        if let Some(container) = text.strip_prefix("container:") {
            return container.to_owned();
        }
        let (name, mode) = match text.split_once(':') {
            Some((name, mode)) => (name, format!(":{mode}")),
            None => (text, String::new()),
        };
        format!("{}{mode}", container_name(self.project, name, 1))
    }

    fn networks(&self) -> Vec<NetworkAttachment> {
        let service = self.service;
        if !service.network_mode.is_empty() {
            let target = self.shared(&service.network_mode);
            return vec![NetworkAttachment {
                target,
                ..NetworkAttachment::default()
            }];
        }
        if service.networks.is_empty() {
            let target = "none".to_owned();
            return vec![NetworkAttachment {
                target,
                ..NetworkAttachment::default()
            }];
        }
        let empty = ServiceNetwork::default();
        let mut keys: Vec<(&String, &ServiceNetwork)> = service
            .networks
            .iter()
            .map(|(key, network)| (key, network.as_ref().unwrap_or(&empty)))
            .collect();
        keys.sort_by(|(a, left), (b, right)| right.priority.cmp(&left.priority).then(a.cmp(b)));
        keys.iter()
            .enumerate()
            .map(|(index, (key, network))| self.network(key, network, index == 0))
            .collect()
    }

    fn network(&self, key: &str, network: &ServiceNetwork, is_first: bool) -> NetworkAttachment {
        let target = self
            .project
            .networks
            .get(key)
            .map_or(key, |network| network.name.as_str());
        let mut aliases = Vec::new();
        if let Instance::Number(number) = self.instance {
            aliases.push(container_name(self.project, self.name, number));
            aliases.push(self.name.to_owned());
            aliases.extend(network.aliases.iter().cloned());
        }
        let mac_address = match network.mac_address.as_str() {
            "" if is_first => self.service.mac_address.clone(),
            mac => mac.to_owned(),
        };
        let mut driver_options = network.driver_opts.0.clone();
        if !network.interface_name.is_empty() {
            let name = network.interface_name.clone();
            driver_options.insert("com.docker.network.endpoint.ifname".to_owned(), name);
        }
        NetworkAttachment {
            target: target.to_owned(),
            aliases,
            ipv4: network.ipv4_address.clone(),
            ipv6: network.ipv6_address.clone(),
            mac_address,
            links: self
                .service
                .links
                .iter()
                .map(|link| self.link(link))
                .collect(),
            link_local_ips: network.link_local_ips.clone(),
            driver_options,
            gateway_priority: network.gw_priority,
        }
    }

    fn link(&self, link: &str) -> String {
        let (name, alias) = link.split_once(':').unwrap_or((link, link));
        format!("{}:{alias}", container_name(self.project, name, 1))
    }
}

fn protocol(text: &str) -> &str {
    if text.is_empty() { "tcp" } else { text }
}

/// A port as `run -p` would have it.
pub(crate) fn publish(port: &model::ServicePort) -> String {
    let container = format!("{}/{}", port.target, protocol(&port.protocol));
    let address = match port.host_ip.as_str() {
        "" => String::new(),
        ip if ip.contains(':') => format!("[{ip}]:"),
        ip => format!("{ip}:"),
    };
    match (address.as_str(), port.published.as_str()) {
        ("", "") => container,
        (address, published) => format!("{address}{published}:{container}"),
    }
}

fn split_tmpfs(text: &str) -> (String, String) {
    let (target, options) = text.split_once(':').unwrap_or((text, ""));
    (target.to_owned(), options.to_owned())
}

/// A capability's name in full, `CAP_NET_ADMIN`, or `ALL`.
pub fn capability(text: &str) -> String {
    let upper = text.to_ascii_uppercase();
    match upper.as_str() {
        "ALL" => upper,
        name if name.starts_with("CAP_") => upper,
        name => format!("CAP_{name}"),
    }
}
