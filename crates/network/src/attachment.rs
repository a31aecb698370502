//! A container's place in its networks: planned by the engine, carried out by its monitor.
//!
//! The document lies in the container's directory from before the first effect until after the
//! last one was undone, so that whoever finds it after a crash can undo all of it.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use types::port::Protocol;

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
use crate::subnet::HostAddress;
use crate::{NetlinkError, Socket};

const CONNECT_ATTEMPTS: u32 = 4;
const RESUME_ATTEMPTS: u32 = 100;
const ATTEMPT_PAUSE: std::time::Duration = std::time::Duration::from_millis(5);
/// So many free ports are tried where any will do.
const PORT_ATTEMPTS_MAX: u32 = 64;

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
    /// Where names that no network knows are asked for; none where no network leads outside.
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
    /// Where the default routes go; none where another network has them.
    pub gateways: Vec<IpAddr>,
    /// Names by which the network's containers find it.
    pub names: Vec<String>,
}

/// A published port.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Port {
    /// The container's port.
    pub container: u16,
    /// The protocol.
    pub protocol: Protocol,
    /// The host's address.
    pub host: IpAddr,
    /// The host's ports that may be taken, lowest and highest; 0 is any.
    pub range: (u16, u16),
    /// The host's port that was taken; 0 before.
    pub bound: u16,
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

    fn rules(&self) -> EndpointRules {
        EndpointRules {
            veth: self.veth.clone(),
            mac: self.mac,
            addresses: self.ips(),
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
        link::create_veth(
            route,
            &VethSpec {
                host: &self.veth,
                bridge: &self.network.bridge,
                inside: &self.inside,
                namespace,
                mac: self.mac,
                mtu: self.network.mtu,
            },
        )?;
        route::configure(
            inner,
            &InsideSpec {
                interface: &self.inside,
                rename: None,
                mac: None,
                mtu: None,
                addresses: &self.addresses,
                gateways: &self.gateways,
            },
        )?;
        Ok(())
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

    /// Takes the container out of one network: its link and elements.
    ///
    /// # Errors
    /// The kernel's answer.
    pub fn disconnect_one(
        &self,
        netfilter: &Socket,
        endpoint: &Endpoint,
    ) -> Result<(), AttachError> {
        link::delete(&Socket::route()?, &endpoint.veth)?;
        let mut elements = Elements::new();
        endpoint.push(&mut elements);
        let table = Table::new(&self.firewall.table)?;
        table.take_out(netfilter, &elements)?;
        Ok(())
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
            self.give_back(endpoint);
        }
    }

    /// Gives one network's addresses and names back.
    pub fn give_back(&self, endpoint: &Endpoint) {
        let directory = &endpoint.network.directory;
        Names::of(directory).remove(&self.owner, &endpoint.names);
        if let Ok(addresses) = Addresses::open(&directory.join("addresses")) {
            for address in endpoint.ips() {
                let _ = addresses.release(address, &self.owner);
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

    /// Where a port leads: the first network's address of its family.
    fn target(&self, port: &Port) -> Option<SocketAddr> {
        let mut addresses = self.endpoints.iter().flat_map(Endpoint::ips);
        let address = addresses.find(|address| address.is_ipv4() == port.host.is_ipv4())?;
        Some(SocketAddr::new(address, port.container))
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
        for index in 0..self.ports.len() {
            let (before, rest) = self.ports.split_at_mut(index);
            if let Some(port) = rest.first_mut() {
                hold(port, before, &mut held)?;
            }
        }
        Ok(held)
    }
}

/// Takes a port of the host. Where any will do, the IPv6 side follows the IPv4 side.
fn hold(port: &mut Port, before: &[Port], held: &mut Vec<OwnedFd>) -> Result<(), AttachError> {
    let is_free = |number: u16| {
        !before.iter().any(|other| {
            other.bound == number && other.protocol == port.protocol && other.host == port.host
        })
    };
    let mut take = |number: u16| -> Result<u16, HoldError> {
        let socket = ports::hold(port.protocol, SocketAddr::new(port.host, number))?;
        let bound = ports::held_address(&socket)?.port();
        held.push(socket);
        Ok(bound)
    };
    let (first, last) = match port.bound {
        0 => port.range,
        bound => (bound, bound),
    };
    let twin = before.iter().find(|other| {
        first == 0
            && other.container == port.container
            && other.protocol == port.protocol
            && other.host.is_ipv4() != port.host.is_ipv4()
    });
    if let Some(twin) = twin {
        port.bound = take(twin.bound)?;
        return Ok(());
    }
    let mut last_error = None;
    let candidates: Box<dyn Iterator<Item = u16>> = match first {
        0 => Box::new((0..PORT_ATTEMPTS_MAX).map(|_| 0)),
        _ => Box::new((first..=last).filter(|number| is_free(*number))),
    };
    for number in candidates {
        match take(number) {
            Ok(bound) => {
                port.bound = bound;
                return Ok(());
            }
            Err(error @ HoldError::InUse { .. }) => last_error = Some(error),
            Err(error) => return Err(error.into()),
        }
    }
    Err(last_error.map_or_else(
        || {
            let address = SocketAddr::new(port.host, first);
            AttachError::Port(HoldError::InUse {
                address,
                protocol: port.protocol,
                holder: None,
            })
        },
        AttachError::Port,
    ))
}

/// The host's addresses for a port that is published on every one.
pub fn every_address(has_ipv6: bool) -> Vec<IpAddr> {
    let mut all = vec![IpAddr::V4(Ipv4Addr::UNSPECIFIED)];
    if has_ipv6 {
        all.push(IpAddr::V6(std::net::Ipv6Addr::UNSPECIFIED));
    }
    all
}
