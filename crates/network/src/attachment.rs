//! A container's place in its networks: planned by the engine, carried out by its monitor.
//!
//! The document lies in the container's directory from before the first effect until after the
//! last one was undone, so that whoever finds it after a crash can undo all of it.

mod port;

use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use types::port::Protocol;

use self::port::hold;
pub use self::port::{Port, every_address};
use crate::addresses::Addresses;
use crate::bridge::{BridgeError, Firewall, NetworkPlan};
use crate::conntrack::{self, Flows};
use crate::link::{self, InterfaceName, LinkError, VethSpec};
use crate::mac::Mac;
use crate::names::Names;
use crate::nft::Table;
use crate::nft::elements::{Elements, EndpointRules, PublishedPort};
use crate::ports::{self, HoldError};
use crate::route::{self, InsideSpec, NamespaceError};
use crate::shortcut::Door;
use crate::subnet::HostAddress;
use crate::sysctl;
use crate::{NetlinkError, Socket};

const CONNECT_ATTEMPTS: u32 = 4;
const RESUME_ATTEMPTS: u32 = 100;
const ATTEMPT_PAUSE: Duration = Duration::from_millis(5);
/// A port of a full bridge is waited for so long.
const PORT_PATIENCE: Duration = Duration::from_secs(1);
const PORT_PAUSE: Duration = Duration::from_millis(20);

/// A container's place in all its networks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attachment {
    /// The container's id.
    pub owner: String,
    /// The tables.
    pub firewall: Firewall,
    /// One for each network, the one with the default route first.
    pub endpoints: Vec<Endpoint>,
    /// Published ports.
    pub ports: Vec<Port>,
    /// Where names that no network knows are asked for, while a network leads outside.
    pub servers: Vec<IpAddr>,
}

/// A container's place in one network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    /// The network.
    pub network: NetworkPlan,
    /// Its own id, 64 hexadecimal digits.
    pub id: String,
    /// The host's end of the pair.
    pub veth: InterfaceName,
    /// The container's end.
    pub inside: InterfaceName,
    /// The hardware address inside.
    pub mac: Mac,
    /// The addresses inside.
    pub addresses: Vec<HostAddress>,
    /// Further addresses inside, by which neither names nor published ports find it.
    #[serde(default)]
    pub link_local: Vec<HostAddress>,
    /// Where the default routes go; none where another network has them.
    pub gateways: Vec<IpAddr>,
    /// Names by which the network's containers find it.
    pub names: Vec<String>,
    /// The highest of all networks that lead outside has the default route.
    #[serde(default)]
    pub priority: i64,
    /// Kernel parameters of the interface inside: the path below /proc/sys/net, where `IFNAME` is the
    /// interface, and the value.
    #[serde(default)]
    pub sysctls: Vec<(String, String)>,
    /// Names that only this container knows, and whose they are.
    #[serde(default)]
    pub links: Vec<(String, String)>,
}

/// Why a container cannot be attached.
#[derive(Debug, thiserror::Error)]
pub enum AttachError {
    /// The kernel refused a request.
    #[error(transparent)]
    Netlink(#[from] NetlinkError),
    /// A link.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// Its bridge takes no more.
    #[error(
        "network {0} is full: a Linux bridge takes 1,023 containers; make another network for more \
         (network create)"
    )]
    Full(String),
    /// The container's namespace.
    #[error(transparent)]
    Namespace(#[from] NamespaceError),
    /// A published port.
    #[error(transparent)]
    Port(#[from] HoldError),
    /// A network.
    #[error(transparent)]
    Bridge(#[from] BridgeError),
    /// The tables' name.
    #[error(transparent)]
    Table(#[from] crate::nft::InvalidTable),
    /// A descriptor.
    #[error(transparent)]
    Sys(#[from] sys::SysError),
}

impl Endpoint {
    /// Its addresses without lengths.
    pub fn ips(&self) -> Vec<IpAddr> {
        self.addresses.iter().map(|one| one.address).collect()
    }

    /// All that the interface inside has.
    fn every_address(&self) -> Vec<HostAddress> {
        [&self.addresses[..], &self.link_local].concat()
    }

    fn rules(&self) -> EndpointRules {
        let addresses = self.every_address();
        EndpointRules {
            veth: self.veth.clone(),
            mac: self.mac,
            addresses: addresses.iter().map(|one| one.address).collect(),
        }
    }

    fn push(&self, elements: &mut Elements) {
        elements.endpoint(&self.rules());
        if !self.network.has_icc {
            elements.host_only(&self.veth, self.network.mac());
        }
    }

    /// Makes the pair and configures the end inside.
    fn plug(
        &self,
        route: &Socket,
        inner: &Socket,
        namespace: BorrowedFd<'_>,
    ) -> Result<(), AttachError> {
        let way = self.short_way(route);
        let spec = VethSpec {
            host: &self.veth,
            bridge: &self.network.bridge,
            inside: &self.inside,
            namespace,
            mac: self.mac,
            mtu: self.network.mtu,
            program: way.as_ref().map(|(way, _)| way.program()),
        };
        let begin = Instant::now();
        loop {
            match link::create_veth(route, &spec) {
                Ok(()) => break,
                // A container that has just ended, perhaps this one, has its port until its namespace is gone.
                Err(LinkError::BridgeFull(_)) if begin.elapsed() < PORT_PATIENCE => {
                    std::thread::sleep(PORT_PAUSE);
                }
                Err(LinkError::BridgeFull(_)) => {
                    return Err(AttachError::Full(self.network.name.clone()));
                }
                Err(other) => return Err(other.into()),
            }
        }
        route::configure(
            inner,
            &InsideSpec {
                interface: &self.inside,
                rename: None,
                mac: None,
                mtu: None,
                addresses: &self.every_address(),
                gateways: &self.gateways,
            },
        )?;
        if let Some((way, door)) = way {
            let veth = link::index(route, &self.veth)?;
            let _ = way.open(&Door { veth, ..door });
        }
        if self.sysctls.is_empty() {
            return Ok(());
        }
        let set = || {
            let mut all = self.sysctls.iter();
            all.try_for_each(|(path, value)| sysctl::set_of(&self.inside, path, value))
        };
        Ok(route::within(namespace, set)??)
    }
}

impl Attachment {
    /// Plugs the container in: links, addresses, elements, ports. The descriptors hold the ports.
    ///
    /// # Errors
    /// The first step that failed; [`Self::undo`] takes back what was done.
    pub fn connect(
        &mut self,
        netfilter: &Socket,
        namespace: impl AsFd,
    ) -> Result<Vec<OwnedFd>, AttachError> {
        let namespace = namespace.as_fd();
        let held = self.hold_patiently(CONNECT_ATTEMPTS)?;
        let route = Socket::route()?;
        let inner = route::in_namespace(namespace)?;
        for endpoint in &self.endpoints {
            endpoint.plug(&route, &inner, namespace)?;
        }
        self.put_in(netfilter)?;
        Ok(held)
    }

    /// Plugs the container, which is in other networks already, into one more.
    ///
    /// # Errors
    /// As [`Self::connect`].
    pub fn connect_one(
        &self,
        netfilter: &Socket,
        endpoint: &Endpoint,
        namespace: impl AsFd,
    ) -> Result<(), AttachError> {
        let namespace = namespace.as_fd();
        let (route, inner) = (Socket::route()?, route::in_namespace(namespace)?);
        endpoint.plug(&route, &inner, namespace)?;
        let mut elements = Elements::new();
        endpoint.push(&mut elements);
        self.add(netfilter, &elements)
    }

    /// Puts published ports where they lead now that a network was added.
    ///
    /// # Errors
    /// The kernel's answer.
    pub fn redirect_ports(&self, netfilter: &Socket) -> Result<(), AttachError> {
        if self.ports.is_empty() {
            return Ok(());
        }
        self.put_in(netfilter)
    }

    /// Takes the running container out of a network that is no longer on the list: its link and
    /// elements. Another network takes over the default route and the published ports.
    ///
    /// # Errors
    /// The kernel's answer.
    pub fn disconnect_one(
        &mut self,
        netfilter: &Socket,
        endpoint: &Endpoint,
        namespace: impl AsFd,
    ) -> Result<(), AttachError> {
        endpoint.close_shortcut(netfilter);
        link::delete(&Socket::route()?, &endpoint.veth)?;
        let mut elements = Elements::new();
        endpoint.push(&mut elements);
        let table = Table::new(&self.firewall.table)?;
        table.take_out(netfilter, &elements)?;
        if !endpoint.gateways.is_empty() {
            self.reroute(namespace)?;
        }
        self.put_in(netfilter)
    }

    /// Gives the running container the default routes of the network that shall have them.
    ///
    /// # Errors
    /// The kernel's answer.
    pub fn reroute(&mut self, namespace: impl AsFd) -> Result<(), AttachError> {
        let before: Vec<(InterfaceName, IpAddr)> = self
            .endpoints
            .iter()
            .flat_map(|one| one.gateways.iter().map(|it| (one.inside.clone(), *it)))
            .collect();
        self.choose_route();
        let inner = route::in_namespace(namespace)?;
        for endpoint in &self.endpoints {
            for gateway in &endpoint.gateways {
                // Takes the place of the family's old one.
                route::set_default_route(&inner, &endpoint.inside, *gateway)?;
            }
        }
        for (interface, gateway) in before {
            let is_kept = |one: &Endpoint| one.gateways.contains(&gateway);
            if !self.endpoints.iter().any(is_kept) {
                route::remove_default_route(&inner, &interface, gateway)?;
            }
        }
        Ok(())
    }

    /// Only one network has the default route: that of the highest priority; of those the one that
    /// has it already, else the first. An internal one has none.
    pub fn choose_route(&mut self) {
        let rank = |index: &usize| {
            let one = &self.endpoints[*index];
            (
                one.priority,
                !one.gateways.is_empty(),
                std::cmp::Reverse(*index),
            )
        };
        let best = (0..self.endpoints.len())
            .filter(|index| !self.endpoints[*index].network.is_internal)
            .max_by_key(rank);
        for (index, endpoint) in self.endpoints.iter_mut().enumerate() {
            endpoint.gateways.clear();
            if Some(index) == best {
                let gateways = endpoint.network.gateways.iter();
                endpoint.gateways = gateways.map(|one| one.address).collect();
            }
        }
    }

    /// Holds the ports of a container that is plugged in already: its monitor was killed.
    ///
    /// # Errors
    /// A port that somebody took meanwhile.
    pub fn resume(&mut self, netfilter: &Socket) -> Result<Vec<OwnedFd>, AttachError> {
        let held = self.hold_patiently(RESUME_ATTEMPTS)?;
        self.put_in(netfilter)?;
        Ok(held)
    }

    /// Puts the container's part into the tables, and whatever else somebody flushed.
    ///
    /// # Errors
    /// The kernel's answer.
    pub fn restore(&self, netfilter: &Socket) -> Result<(), AttachError> {
        let table = Table::new(&self.firewall.table)?;
        table.ensure(netfilter)?;
        let mut elements = self.elements();
        self.firewall.guard(&mut elements);
        for endpoint in &self.endpoints {
            elements.network(&endpoint.network.rules());
        }
        Ok(table.add(netfilter, &elements)?)
    }

    /// Takes the container out of the tables and gives its addresses and names back. Its links die
    /// with its namespace. Nothing here can fail in a way that anybody could act on.
    ///
    /// Closing a socket by which something was removed waits for the kernel to free it, 10 to 15 ms:
    /// whoever has somebody waiting keeps `netfilter` open meanwhile.
    pub fn undo(&self, netfilter: &Socket) {
        if let Ok(table) = Table::new(&self.firewall.table) {
            let _ = table.take_out(netfilter, &self.elements());
            self.forget_flows(netfilter);
        }
        for endpoint in &self.endpoints {
            endpoint.close_shortcut(netfilter);
            self.give_back(endpoint);
        }
    }

    /// Gives one network's addresses and names back.
    pub fn give_back(&self, endpoint: &Endpoint) {
        let directory = &endpoint.network.directory;
        Names::of(directory).remove(&self.owner, &endpoint.names);
        if let Ok(addresses) = Addresses::open(&directory.join("addresses")) {
            for one in endpoint.every_address() {
                let _ = addresses.release(one.address, &self.owner);
            }
        }
    }

    /// The elements of all that is in place.
    fn elements(&self) -> Elements {
        let mut elements = Elements::new();
        for endpoint in &self.endpoints {
            endpoint.push(&mut elements);
        }
        for port in self.ports.iter().filter(|port| port.bound != 0) {
            if let Some(container) = self.target(port) {
                elements.port(&PublishedPort {
                    host: port.host,
                    port: port.bound,
                    protocol: port.protocol,
                    container,
                });
            }
        }
        elements
    }

    /// Where a port leads: the address of its family in the network with the default route, else in
    /// the first that leads outside.
    pub fn target(&self, port: &Port) -> Option<SocketAddr> {
        self.address(port.host.is_ipv4())
            .map(|address| SocketAddr::new(address, port.container))
    }

    fn address(&self, is_ipv4: bool) -> Option<IpAddr> {
        let endpoints = self.publishing();
        let mut addresses = endpoints.iter().flat_map(|one| one.ips());
        addresses.find(|address| address.is_ipv4() == is_ipv4)
    }

    /// The networks that published ports may lead to, the one with the default route first.
    fn publishing(&self) -> Vec<&Endpoint> {
        let leads_outside = |one: &&Endpoint| !one.network.is_internal;
        let mut endpoints: Vec<&Endpoint> = self.endpoints.iter().filter(leads_outside).collect();
        endpoints.sort_by_key(|one| one.gateways.is_empty());
        endpoints
    }

    /// The host's address for ports that name none, where the network that they lead to has one.
    pub fn host_binding(&self) -> Option<IpAddr> {
        let first = self.publishing().into_iter().next()?;
        first.network.host_binding.map(IpAddr::V4)
    }

    /// Ports whose connections the kernel cannot translate: on `[::1]` always, on any other IPv6
    /// address where the container has none. For each its place in the list and where it leads.
    pub fn proxied(&self) -> Vec<(usize, SocketAddr)> {
        let is_candidate =
            |port: &Port| port.host.is_ipv6() && ports::can_be_proxied(port.protocol);
        let own = self.address(false);
        let target = |port: &Port| -> Option<SocketAddr> {
            let everything = port.host.is_unspecified() || !ports::can_be_translated(port.host);
            let address = match own {
                // The kernel translates whatever does not go to `[::1]`.
                Some(address) if everything => address,
                Some(_) => return None,
                None => self.address(true)?,
            };
            Some(SocketAddr::new(address, port.container))
        };
        let ports = self.ports.iter().enumerate();
        ports
            .filter(|(_, port)| is_candidate(port))
            .filter_map(|(index, port)| Some((index, target(port)?)))
            .collect()
    }

    fn put_in(&self, netfilter: &Socket) -> Result<(), AttachError> {
        self.add(netfilter, &self.elements())?;
        if self.ports.iter().any(|port| port.protocol == Protocol::Udp) {
            self.forget_flows(netfilter);
        }
        Ok(())
    }

    fn add(&self, netfilter: &Socket, elements: &Elements) -> Result<(), AttachError> {
        let table = Table::new(&self.firewall.table)?;
        match table.add(netfilter, elements) {
            // Somebody flushed the tables a moment ago.
            Err(error) if error.errno() == Some(Errno::NOENT) => {
                self.restore(netfilter)?;
                Ok(table.add(netfilter, elements)?)
            }
            other => Ok(other?),
        }
    }

    /// UDP clients go on sending from the same port; the kernel must not send them where the port
    /// led before.
    fn forget_flows(&self, netfilter: &Socket) {
        let udp = |port: &&Port| port.protocol == Protocol::Udp && port.bound != 0;
        for port in self.ports.iter().filter(udp) {
            let sent_to = SocketAddr::new(port.host, port.bound);
            let _ = conntrack::forget(netfilter, Protocol::Udp, Flows::SentTo(sent_to));
            if let Some(target) = self.target(port) {
                let _ = conntrack::forget(netfilter, Protocol::Udp, Flows::AnsweredBy(target));
            }
        }
    }

    /// Holds the ports of a container that has none yet.
    ///
    /// # Errors
    /// One that is taken; then it has none.
    pub fn hold_more(&mut self, ports: Vec<Port>) -> Result<Vec<OwnedFd>, AttachError> {
        self.ports = ports;
        let held = self.hold_ports();
        if held.is_err() {
            self.ports.clear();
        }
        held
    }

    /// A monitor that was killed lets go of its lock a moment before its sockets.
    fn hold_patiently(&mut self, attempts: u32) -> Result<Vec<OwnedFd>, AttachError> {
        for _ in 1..attempts {
            let before = self.ports.clone();
            match self.hold_ports() {
                Err(AttachError::Port(HoldError::InUse { .. })) => self.ports = before,
                other => return other,
            }
            std::thread::sleep(ATTEMPT_PAUSE);
        }
        self.hold_ports()
    }

    fn hold_ports(&mut self) -> Result<Vec<OwnedFd>, AttachError> {
        let mut held = Vec::new();
        let mut index = 0;
        while index < self.ports.len() {
            let (before, rest) = self.ports.split_at_mut(index);
            let count = 1 + usize::from(rest.get(1).is_some_and(|next| next.is_twin_of(&rest[0])));
            held.extend(hold(&mut rest[..count], before)?);
            index += count;
        }
        Ok(held)
    }
}
