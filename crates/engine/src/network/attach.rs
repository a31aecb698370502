//! A container's place in its networks: planned and reserved before its start, given back after.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use network::addresses::{AddressError, Addresses, Pool};
use network::attachment::{Attachment, Endpoint, Port, every_address};
use network::link::InterfaceName;
use network::mac::Mac;
use network::names::Names;
use network::nft::Table;
use network::subnet::{HostAddress, Prefix};
use storage::containers::ContainerRecord;
use storage::networks::NetworkRecord;
use sys::atomic::Durability;
use types::container::NetworkAttachment;
use types::port::{ContainerPort, PortMapping, parse_publish};

use super::DEFAULT;
use super::options::{EndpointOptions, NetworkOptions};
use super::warn::make_way_or_warn;
use crate::Engine;
use crate::container::plan::{NetworkMode, network_mode};
use crate::error::{EngineError, text};

const BYTES_MAX: u64 = 16 << 20;
/// So many ports are asked for.
const CLAIMS_MAX: usize = 256;

/// A container's place in one network, for people.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// The network's name.
    pub network: String,
    /// The network's id.
    pub network_id: String,
    /// The place's id.
    pub endpoint_id: String,
    /// Hardware address.
    pub mac: String,
    /// Addresses with the lengths of their networks.
    pub addresses: Vec<(IpAddr, u8)>,
    /// The network's gateways.
    pub gateways: Vec<IpAddr>,
    /// Names by which the network's containers find it.
    pub names: Vec<String>,
}

impl Engine {
    /// Where it is written which place in the networks somebody has: in the container's directory, or
    /// for what runs for a build, which is no container, in one of its own.
    pub(crate) fn attachment_directory(&self, id: &str) -> PathBuf {
        match id.starts_with(crate::build::BUILD_PREFIX) {
            true => self.store().path("cache/networks").join(id),
            false => self.store().container_directory(id),
        }
    }

    fn attachment_file(&self, id: &str) -> PathBuf {
        self.attachment_directory(id).join(monitor::job::ATTACHMENT)
    }

    /// What is written about a container's networks; `None` where it is in none.
    pub(crate) fn attachment(&self, id: &str) -> Option<Attachment> {
        let bytes = sys::atomic::read_limited(&self.attachment_file(id), BYTES_MAX).ok()?;
        serde_json::from_slice(&bytes).ok()
    }

    /// Whether anything is written about a container's networks.
    pub(crate) fn is_attached(&self, id: &str) -> bool {
        self.attachment_file(id).exists()
    }

    /// A running container's places in its networks.
    pub fn places(&self, id: &str) -> Vec<Place> {
        let attachment = self.attachment(id);
        let endpoints = attachment.into_iter().flat_map(|all| all.endpoints);
        endpoints.map(place).collect()
    }

    /// A running container's published ports as they were taken: container's side, host's address
    /// and port.
    pub fn published(&self, id: &str) -> Vec<(ContainerPort, IpAddr, u16)> {
        let attachment = self.attachment(id);
        let ports = attachment.into_iter().flat_map(|all| all.ports);
        ports
            .filter(|port| port.bound != 0)
            .map(|port| {
                let container = ContainerPort {
                    number: port.container,
                    protocol: port.protocol,
                };
                (container, port.host, port.bound)
            })
            .collect()
    }

    /// Reserves a container's addresses and names, brings its networks up, and writes down what
    /// its monitor shall do. The container is locked.
    pub(crate) fn attach(
        &self,
        record: &ContainerRecord,
    ) -> Result<Option<(Attachment, Vec<String>)>, EngineError> {
        if network_mode(&record.spec) != NetworkMode::Bridge {
            return Ok(None);
        }
        self.detach(&record.id);
        let mut attachment = self.empty_attachment(record);
        // Written before the first address is taken: what nothing is written about is swept.
        self.save_attachment(&attachment)?;
        sys::fail::point("engine.network.begun");
        match self.plan_attachment(record, &mut attachment) {
            Ok(warnings) => Ok(Some((attachment, warnings))),
            Err(error) => {
                attachment
                    .endpoints
                    .iter()
                    .for_each(|endpoint| attachment.give_back(endpoint));
                let _ = rustix::fs::unlink(self.attachment_file(&record.id));
                Err(error)
            }
        }
    }

    /// A container's place in no network yet.
    pub(super) fn empty_attachment(&self, record: &ContainerRecord) -> Attachment {
        Attachment {
            owner: record.id.clone(),
            firewall: self.firewall(),
            endpoints: Vec::new(),
            ports: Vec::new(),
            servers: crate::container::files::name_servers(&record.spec),
        }
    }

    fn plan_attachment(
        &self,
        record: &ContainerRecord,
        attachment: &mut Attachment,
    ) -> Result<Vec<String>, EngineError> {
        let default = [NetworkAttachment::default()];
        let asked = match record.spec.networks.as_slice() {
            [] => &default[..],
            given => given,
        };
        // Names that were given go before those that are found.
        let mut interfaces: Vec<InterfaceName> = Vec::new();
        for one in asked {
            interfaces.extend(EndpointOptions::parse(one)?.interface);
        }
        for one in asked {
            let network = self.network(target(one))?;
            let endpoint = self.place_in(record, one, &network, &interfaces)?;
            interfaces.push(endpoint.inside.clone());
            attachment.endpoints.push(endpoint);
        }
        attachment.choose_route();
        if !self.awaits_ports(record) {
            attachment.ports = published_ports(record, attachment)?;
        }
        let netfilter =
            network::Socket::netfilter().map_err(|error| text("look at firewalls", &error))?;
        self.look_at_claims(attachment, &netfilter);
        self.save_attachment(attachment)?;
        sys::fail::point("engine.network.reserved");
        for endpoint in &attachment.endpoints {
            let names = Names::of(&endpoint.network.directory);
            names.add(&record.id, &endpoint.names, &endpoint.ips())?;
        }
        sys::fail::point("engine.network.named");
        Ok(make_way_or_warn(attachment, &netfilter))
    }

    /// A port may be that of a container whose monitor was killed, which no longer holds it. Such
    /// containers are looked at: they have their ports again, or give them up.
    fn look_at_claims(&self, attachment: &Attachment, netfilter: &network::Socket) {
        let is_claimed = || -> Option<bool> {
            let table = Table::new(&attachment.firewall.table).ok()?;
            let wanted = attachment.ports.iter().flat_map(|port| {
                let numbers = port.range.0.max(1)..=port.range.1;
                numbers.map(|number| (SocketAddr::new(port.host, number), port.protocol))
            });
            let mut wanted = wanted.take(CLAIMS_MAX);
            Some(wanted.any(|(host, protocol)| {
                let found = table.is_published(netfilter, host, protocol);
                found.unwrap_or(false)
            }))
        };
        if !attachment.ports.is_empty() && is_claimed() == Some(true) {
            self.repair_others(&attachment.owner);
        }
    }

    pub(crate) fn save_attachment(&self, attachment: &Attachment) -> Result<(), EngineError> {
        let bytes = serde_json::to_vec(attachment).expect("invariant: records have JSON forms");
        let path = self.attachment_file(&attachment.owner);
        Ok(sys::atomic::write(&path, &bytes, Durability::Volatile)?)
    }

    /// Reserves addresses in one network, which is brought up. `interfaces` are the names of others.
    pub(crate) fn place_in(
        &self,
        record: &ContainerRecord,
        asked: &NetworkAttachment,
        network: &NetworkRecord,
        interfaces: &[InterfaceName],
    ) -> Result<Endpoint, EngineError> {
        super::check::check_addresses(asked, network)?;
        let options = EndpointOptions::parse(asked)?;
        let inside = match options.interface {
            Some(name) => name,
            None => free_interface(network, interfaces)?,
        };
        let plan = self.network_up(network)?;
        // The record as it is after it was brought up: its subnet may have changed.
        let network = self.store().network(&network.name)?;
        let given = [&asked.mac_address, &record.spec.mac_address];
        let mac: Option<Mac> = match given.into_iter().find(|text| !text.is_empty()) {
            Some(text) => match text.parse() {
                Ok(mac) => Some(mac),
                Err(_) => return Err(EngineError::invalid(format!("invalid MAC address: {text}"))),
            },
            None => None,
        };
        let mut links = Vec::new();
        for text in record.spec.links.iter().chain(&asked.links) {
            let link = self.link(text)?;
            // Its short id is a name of it too, and stays.
            let id = &link.other.record.id;
            links.push((link.alias, id.chars().take(12).collect()));
        }
        // Nothing that may fail comes after: what is reserved here is given back by its endpoint.
        let (addresses, link_local) = self.reserve(record, asked, &network)?;
        let ipv4 = addresses.iter().find_map(|one| match one.address {
            IpAddr::V4(address) => Some(address),
            IpAddr::V6(_) => None,
        });
        let id = crate::container::create::new_id();
        let mac = mac.unwrap_or_else(|| ipv4.map_or_else(|| plan.mac(), Mac::of));
        let name = |text: String| -> Result<InterfaceName, EngineError> {
            text.parse()
                .map_err(|_| EngineError::invalid(format!("{text} names no interface")))
        };
        Ok(Endpoint {
            gateways: plan
                .gateways
                .iter()
                .map(|gateway| gateway.address)
                .collect(),
            veth: name(format!("ve{}", id.get(..10).unwrap_or(&id)))?,
            inside,
            priority: asked.gateway_priority,
            sysctls: options.sysctls,
            links,
            names: names(record, asked),
            network: plan,
            id,
            mac,
            addresses,
            link_local,
        })
    }

    /// The addresses of the network's subnets, and those beside them; all or none.
    fn reserve(
        &self,
        record: &ContainerRecord,
        asked: &NetworkAttachment,
        network: &NetworkRecord,
    ) -> Result<(Vec<HostAddress>, Vec<HostAddress>), EngineError> {
        let directory = self
            .store()
            .network_directory(&network.name)
            .join("addresses");
        let taken = Addresses::open(&directory)?;
        let (mut own, mut link_local) = (Vec::new(), Vec::new());
        let mut reserve_all = || -> Result<(), EngineError> {
            for one in &network.subnets {
                let subnet: Prefix = one
                    .subnet
                    .parse()
                    .map_err(|error| text("read a subnet", &error))?;
                let given = match subnet.address() {
                    IpAddr::V4(_) => &asked.ipv4,
                    IpAddr::V6(_) => &asked.ipv6,
                };
                let fixed = one.auxiliary.values().chain([&one.gateway]);
                let excluded: Vec<IpAddr> =
                    fixed.filter_map(|address| address.parse().ok()).collect();
                let pool = Pool {
                    subnet,
                    range: one.ip_range.parse().ok(),
                    excluded: &excluded,
                };
                let address = self.take_address(&taken, &pool, given.parse().ok(), &record.id);
                let address = address.map_err(|error| cannot_join(network, &error))?;
                own.extend(HostAddress::new(address, subnet.length()));
            }
            for one in super::check::link_local(asked)? {
                let pool = Pool {
                    subnet: one.network(),
                    range: None,
                    excluded: &[],
                };
                self.take_address(&taken, &pool, Some(one.address), &record.id)
                    .map_err(|error| cannot_join(network, &error))?;
                link_local.push(one);
            }
            Ok(())
        };
        if let Err(error) = reserve_all() {
            for one in own.iter().chain(&link_local) {
                let _ = taken.release(one.address, &record.id);
            }
            return Err(error);
        }
        Ok((own, link_local))
    }

    /// Takes one address, the given or any. Perhaps containers that are gone have it still.
    fn take_address(
        &self,
        taken: &Addresses,
        pool: &Pool<'_>,
        given: Option<IpAddr>,
        owner: &str,
    ) -> Result<IpAddr, AddressError> {
        let take = || match given {
            Some(address) => taken.reserve(pool, address, owner).map(|()| address),
            None => taken.reserve_any(pool, owner),
        };
        match take() {
            Err(AddressError::None(_) | AddressError::InUse { .. }) => {
                taken.sweep(|owner| !self.is_attached(owner))?;
                take()
            }
            other => other,
        }
    }

    /// Gives back addresses of containers that no longer have a place: their command was killed
    /// before it had written down what it took.
    pub(crate) fn sweep_addresses(&self) {
        for network in self.store().networks().unwrap_or_default() {
            let directory = self
                .store()
                .network_directory(&network.name)
                .join("addresses");
            if let Ok(addresses) = Addresses::open(&directory) {
                let _ = addresses.sweep(|owner| !self.is_attached(owner));
            }
        }
    }

    /// Undoes all that is written about a container's networks. May run twice.
    pub(crate) fn detach(&self, id: &str) {
        if let Some(attachment) = self.attachment(id) {
            match network::Socket::netfilter() {
                Ok(netfilter) => attachment.undo(&netfilter),
                Err(_) => attachment
                    .endpoints
                    .iter()
                    .for_each(|one| attachment.give_back(one)),
            }
            sys::fail::point("engine.network.undone");
        }
        let _ = rustix::fs::unlink(self.attachment_file(id));
    }
}

fn cannot_join(network: &NetworkRecord, error: &AddressError) -> EngineError {
    EngineError::conflict(format!("cannot join network {}: {error}", network.name))
}

fn place(endpoint: Endpoint) -> Place {
    Place {
        network: endpoint.network.name.clone(),
        network_id: endpoint.network.id.clone(),
        endpoint_id: endpoint.id.clone(),
        mac: endpoint.mac.to_string(),
        addresses: endpoint
            .addresses
            .iter()
            .map(|one| (one.address, one.length()))
            .collect(),
        gateways: endpoint
            .network
            .gateways
            .iter()
            .map(|gateway| gateway.address)
            .collect(),
        names: endpoint.names,
    }
}

/// The lowest number that is free behind the network's word for interfaces.
fn free_interface(
    network: &NetworkRecord,
    taken: &[InterfaceName],
) -> Result<InterfaceName, EngineError> {
    let prefix = NetworkOptions::parse(&network.options)?.interfaces;
    let names = (0..=taken.len()).map(|number| format!("{prefix}{number}"));
    let is_free = |name: &String| taken.iter().all(|other| other.as_str() != name);
    let name = names.into_iter().find(is_free).unwrap_or_default();
    name.parse()
        .map_err(|_| EngineError::invalid(format!("{name} names no interface")))
}

/// The network that an attachment means.
pub(crate) fn target(attachment: &NetworkAttachment) -> &str {
    match attachment.target.as_str() {
        "" | "default" => DEFAULT,
        target => target,
    }
}

/// Name, short id, aliases, host name: each once.
pub(super) fn names(record: &ContainerRecord, asked: &NetworkAttachment) -> Vec<String> {
    let short: String = record.id.chars().take(12).collect();
    let mut all = vec![record.name.clone(), short];
    all.extend(asked.aliases.iter().cloned());
    if !record.spec.hostname.is_empty() {
        all.push(record.spec.hostname.clone());
    }
    let mut seen = std::collections::BTreeSet::new();
    all.retain(|name| seen.insert(name.to_ascii_lowercase()));
    all
}

/// `binding` is where ports go that name no address; `None` is everywhere.
pub(super) fn published_ports(
    record: &ContainerRecord,
    attachment: &Attachment,
) -> Result<Vec<Port>, EngineError> {
    let spec = &record.spec;
    let mut addresses = attachment.endpoints.iter().flat_map(Endpoint::ips);
    let (has_ipv6, binding) = (
        addresses.any(|one| one.is_ipv6()),
        attachment.host_binding(),
    );
    let mut mappings: Vec<PortMapping> = Vec::new();
    for text in &spec.publish {
        let parsed =
            parse_publish(text).map_err(|error| EngineError::invalid(error.to_string()))?;
        mappings.extend(parsed);
    }
    if spec.publish_all {
        for text in &spec.exposed_ports {
            let Ok(container) = ContainerPort::parse(text) else {
                continue;
            };
            if !mappings
                .iter()
                .any(|mapping| mapping.container == container)
            {
                mappings.push(PortMapping {
                    container,
                    host_ip: String::new(),
                    host_ports: None,
                });
            }
        }
    }
    let mut all = Vec::new();
    for mapping in mappings {
        let hosts = match mapping.host_address().or(binding) {
            Some(address) => vec![address],
            None => every_address(mapping.container.protocol, has_ipv6),
        };
        let range = mapping
            .host_ports
            .map_or((0, 0), |range| (range.start, range.end));
        for host in hosts {
            let is_translated = has_ipv6 && network::ports::can_be_translated(host);
            let is_proxied = network::ports::can_be_proxied(mapping.container.protocol);
            if host.is_ipv6() && !is_translated && !is_proxied {
                return Err(EngineError::invalid(format!(
                    "cannot publish {mapping}: the container has no IPv6 address that [{host}] could \
                     lead to; give its network one (network create --ipv6), or leave the address out"
                )));
            }
            all.push(Port {
                container: mapping.container.number,
                protocol: mapping.container.protocol,
                host,
                range,
                bound: 0,
            });
        }
    }
    Ok(all)
}
