//! A network's part on the host: its bridge, its place in the tables, the switches it needs.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::link::{self, BridgeSpec, InterfaceName, LinkError};
use crate::listing;
use crate::mac::Mac;
use crate::nft::elements::{Elements, Guard, NetworkRules, Within};
use crate::nft::{Presence, Table, way};
use crate::subnet::{HostAddress, Prefix};
use crate::sysctl::{self, Switched};
use crate::{NetlinkError, Socket};

/// What a bridge of ours says it is, before its network's id.
pub const OWNER_PREFIX: &str = "caisson:";
/// The MTU where no uplink tells one.
pub const MTU_DEFAULT: u32 = 1500;

/// A network as the kernel shall have it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkPlan {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its directory in the store.
    pub directory: PathBuf,
    /// Its bridge.
    pub bridge: InterfaceName,
    /// MTU of all its links.
    pub mtu: u32,
    /// The bridge's addresses, one for each subnet.
    pub gateways: Vec<HostAddress>,
    /// Nothing in from outside, nothing out.
    pub is_internal: bool,
    /// Containers talk to each other.
    pub has_icc: bool,
    /// Packets leave under the host's address.
    pub masquerades: bool,
    /// Where ports are published that name no address; `None` is everywhere.
    #[serde(default)]
    pub host_binding: Option<Ipv4Addr>,
    /// Whether packets may take the short way past the bridge.
    #[serde(default = "yes")]
    pub has_shortcut: bool,
}

fn yes() -> bool {
    true
}

/// The tables, and where it is kept on which interfaces we switched forwarding on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Firewall {
    /// The tables' name.
    pub table: String,
    /// A directory in the run root with a file per guarded interface.
    pub guards: PathBuf,
}

/// Why a network cannot be brought up.
#[derive(Debug, thiserror::Error)]
pub enum BridgeError {
    /// The bridge.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// The kernel refused a request.
    #[error(transparent)]
    Netlink(#[from] NetlinkError),
    /// A switch or a file.
    #[error(transparent)]
    Sys(#[from] sys::SysError),
    /// The tables' name.
    #[error(transparent)]
    Table(#[from] crate::nft::InvalidTable),
    /// A guarded interface's name.
    #[error(transparent)]
    Name(#[from] link::InvalidName),
}

impl NetworkPlan {
    /// The subnets.
    pub fn subnets(&self) -> Vec<Prefix> {
        self.gateways.iter().map(HostAddress::network).collect()
    }

    /// What the tables say about it.
    pub fn rules(&self) -> NetworkRules {
        NetworkRules {
            bridge: self.bridge.clone(),
            subnets: self.subnets(),
            within: if self.has_icc {
                Within::Open
            } else {
                Within::HostOnly
            },
            is_internal: self.is_internal,
            masquerades_ipv4: self.masquerades,
            masquerades_ipv6: self.masquerades,
        }
    }

    fn owner(&self) -> String {
        format!("{OWNER_PREFIX}{}", self.id)
    }

    /// The bridge's hardware address, from its first IPv4 address.
    pub fn mac(&self) -> Mac {
        let ipv4 = self
            .gateways
            .iter()
            .find_map(|gateway| match gateway.address {
                IpAddr::V4(address) => Some(address),
                IpAddr::V6(_) => None,
            });
        match ipv4 {
            Some(address) => Mac::of(address),
            None => {
                let byte =
                    |at: usize| u8::from_str_radix(self.id.get(at..at + 2).unwrap_or("0"), 16);
                let mut mac = [0x02, 0, 0, 0, 0, 0];
                for (index, slot) in mac.iter_mut().enumerate().skip(1) {
                    *slot = byte(index * 2).unwrap_or(0);
                }
                Mac(mac)
            }
        }
    }

    /// The kernel's number of its bridge, where it is there.
    pub fn index(&self) -> Option<u32> {
        let socket = Socket::route().ok()?;
        rustix::net::netdevice::name_to_index(&socket, self.bridge.as_str()).ok()
    }

    /// Makes it, or what is missing of it: bridge, tables and elements, switches. May run twice.
    ///
    /// # Errors
    /// The first step that failed; what was made before stays, to be found by the next attempt.
    pub fn up(&self, firewall: &Firewall) -> Result<(), BridgeError> {
        let (route, netfilter) = (Socket::route()?, Socket::netfilter()?);
        // Before anything is said about it in the tables: it may be the host's uplink.
        if let Some(link) = listing::link(&route, &self.bridge)?
            && !link::is_ours(&link, &self.owner(), self.mac())
        {
            return Err(link::not_ours(&self.bridge, &link).into());
        }
        let table = Table::new(&firewall.table)?;
        if table.presence(&netfilter)? != Presence::Current {
            table.ensure(&netfilter)?;
        }
        let mut elements = Elements::new();
        elements.network(&self.rules());
        table.add(&netfilter, &elements)?;
        let owner = self.owner();
        link::create_bridge(
            &route,
            &BridgeSpec {
                name: &self.bridge,
                owner: &owner,
                origin: &self.directory,
                mtu: self.mtu,
                mac: self.mac(),
                addresses: &self.gateways,
            },
        )?;
        sysctl::forward_ipv4(&self.bridge)?;
        sysctl::route_localnet(&self.bridge)?;
        let has_ipv6 = self
            .gateways
            .iter()
            .any(|gateway| gateway.address.is_ipv6());
        if has_ipv6 {
            sysctl::ignore_routers(&self.bridge)?;
        }
        if !self.is_internal {
            firewall.forward(&route, &netfilter, &table, has_ipv6)?;
        }
        Ok(())
    }

    /// Clears this network's place of what another network of ours left: a store that was deleted or
    /// unmounted has nobody to take down its bridge, and a new one at its path has the same name for it.
    /// A bridge that has ports, or whose owner is in `known`, is in use and stays.
    ///
    /// # Errors
    /// The kernel's answer.
    pub fn clear_place(
        &self,
        firewall: &Firewall,
        known: &[NetworkPlan],
    ) -> Result<(), BridgeError> {
        let route = Socket::route()?;
        let Some(link) = listing::link(&route, &self.bridge)? else {
            return Ok(());
        };
        let is_left = link.kind == "bridge"
            && link.alias.starts_with(OWNER_PREFIX)
            && link.alias != self.owner()
            && known.iter().all(|other| link.alias != other.owner());
        let is_port = |other: &listing::Link| other.master == Some(link.index);
        if !is_left || listing::links(&route)?.iter().any(is_port) {
            return Ok(());
        }
        let netfilter = Socket::netfilter()?;
        let table = Table::new(&firewall.table)?;
        if known.iter().all(|other| other.index().is_none()) {
            // Ports of its containers may still be in there, and nothing of ours is.
            table.remove(&netfilter)?;
        } else {
            let addresses = listing::addresses(&route)?.into_iter();
            let subnets: Vec<Prefix> = addresses
                .filter(|on| on.index == link.index)
                .map(|on| on.address.network())
                .collect();
            let mut elements = Elements::new();
            elements.whole_network(&self.bridge, &subnets);
            table.take_out(&netfilter, &elements)?;
        }
        way::close_way(&netfilter, &self.bridge)?;
        link::delete(&route, &self.bridge)?;
        Ok(())
    }

    /// Removes its bridge and its elements; those that are not there are fine. An interface that
    /// has the bridge's name and is not this network's is left alone.
    ///
    /// # Errors
    /// The kernel's answer.
    pub fn down(&self, firewall: &Firewall) -> Result<(), BridgeError> {
        let route = Socket::route()?;
        let found = listing::link(&route, &self.bridge)?;
        let is_ours = |link: &listing::Link| link::is_ours(link, &self.owner(), self.mac());
        if found.as_ref().is_some_and(|link| !is_ours(link)) {
            return Ok(());
        }
        // Both wait for the kernel, which has no packet left to look at: at the same time. Whichever a
        // crash leaves undone is undone by the next call.
        std::thread::scope(|scope| {
            let without = scope.spawn(|| self.take_out(firewall));
            let gone = match found {
                Some(_) => link::delete(&route, &self.bridge),
                None => Ok(()),
            };
            let without = without.join();
            gone?;
            without.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// Takes the network's elements and rules out of the kernel's tables.
    fn take_out(&self, firewall: &Firewall) -> Result<(), BridgeError> {
        let mut elements = Elements::new();
        elements.whole_network(&self.bridge, &self.subnets());
        let netfilter = Socket::netfilter()?;
        Table::new(&firewall.table)?.take_out(&netfilter, &elements)?;
        Ok(way::close_way(&netfilter, &self.bridge)?)
    }
}

impl Firewall {
    /// Lets packets of our bridges pass the interfaces by which this host is reached. Where that
    /// was off, it is for our bridges only.
    fn forward(
        &self,
        route: &Socket,
        netfilter: &Socket,
        table: &Table,
        has_ipv6: bool,
    ) -> Result<(), BridgeError> {
        let mut elements = Elements::new();
        let numbers = listing::links_with_ipv4(route)?;
        for link in listing::links_numbered(route, &numbers)? {
            let is_outside = link.name != "lo" && link.kind != "bridge" && link.is_up;
            if !is_outside {
                continue;
            }
            let name: InterfaceName = link.name.parse()?;
            if sysctl::forward_ipv4(&name)? == Switched::Now {
                self.remember(name.as_str())?;
                elements.guard(&Guard::Ipv4(name));
            }
        }
        if has_ipv6 && sysctl::forward_ipv6()? == Switched::Now {
            self.remember(IPV6_GUARD)?;
            elements.guard(&Guard::Ipv6);
        }
        if !elements.is_empty() {
            table.add(netfilter, &elements)?;
        }
        Ok(())
    }

    /// Removes the tables, for a store that has no network up. Where we switched forwarding on, they
    /// stay: without them it would be on for everybody.
    ///
    /// # Errors
    /// The kernel's answer.
    pub fn rest(&self) -> Result<(), BridgeError> {
        let guards = std::fs::read_dir(&self.guards);
        if guards.is_ok_and(|mut guards| guards.next().is_some()) {
            return Ok(());
        }
        Table::new(&self.table)?.remove(&Socket::netfilter()?)?;
        Ok(())
    }

    fn remember(&self, name: &str) -> Result<(), sys::SysError> {
        use sys::Context;
        std::fs::create_dir_all(&self.guards).on("make", self.guards.display())?;
        let path = self.guards.join(name);
        std::fs::write(&path, "").on("write", path.display())
    }

    /// The guards that belong into the tables.
    pub fn guard(&self, elements: &mut Elements) {
        let entries = std::fs::read_dir(&self.guards)
            .into_iter()
            .flatten()
            .flatten();
        for entry in entries {
            let name = entry.file_name().to_string_lossy().into_owned();
            if name == IPV6_GUARD {
                elements.guard(&Guard::Ipv6);
            } else if let Ok(name) = name.parse() {
                elements.guard(&Guard::Ipv4(name));
            }
        }
    }
}

/// No interface's name: it has a slash in the kernel's eyes, and none in a file system's.
const IPV6_GUARD: &str = ":ipv6";

/// The MTU of the link behind the default route.
///
/// # Errors
/// The kernel's answer.
pub fn uplink_mtu() -> Result<u32, NetlinkError> {
    let uplink = listing::uplink(&Socket::route()?)?;
    Ok(uplink.map_or(MTU_DEFAULT, |link| link.mtu.min(MTU_MAX)))
}

/// What an Ethernet bridge takes.
const MTU_MAX: u32 = 65_535;
