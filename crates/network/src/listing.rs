//! What links, addresses and routes there are: for choosing subnets, for the uplink's MTU, and for
//! finding leftovers.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use rustix::io::Errno;

use crate::link::{
    IFF_UP, IFLA_ADDRESS, IFLA_IFALIAS, IFLA_IFNAME, IFLA_INFO_KIND, IFLA_LINKINFO, IFLA_MASTER,
    IFLA_MTU, InterfaceName, RTM_GETLINK, RTM_NEWLINK, link_header,
};
use crate::mac::Mac;
use crate::netlink::{Attributes, Batch, NetlinkError, Reply, Socket, Step};
use crate::route::address_of;
use crate::subnet::{HostAddress, Prefix};

const RTM_NEWADDR: u16 = 20;
const RTM_GETADDR: u16 = 22;
const RTM_NEWROUTE: u16 = 24;
const RTM_GETROUTE: u16 = 26;

const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;

const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const RTA_PRIORITY: u16 = 6;
const RTA_MULTIPATH: u16 = 9;
const RTA_TABLE: u16 = 15;
const RT_TABLE_LOCAL: u32 = 255;
const RTN_UNICAST: u8 = 1;

const LINK_HEADER_BYTES: usize = 16;
const ADDRESS_HEADER_BYTES: usize = 8;
const ROUTE_HEADER_BYTES: usize = 12;
const NEXT_HOP_HEADER_BYTES: usize = 8;

/// A link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// The kernel's number.
    pub index: u32,
    /// The name.
    pub name: String,
    /// `bridge`, `veth`, …; empty for a physical one and for `lo`.
    pub kind: String,
    /// Whose it is, as [`crate::link::BridgeSpec::owner`] says.
    pub alias: String,
    /// Where its network is written down, as [`crate::link::BridgeSpec::origin`] says; or empty.
    pub origin: String,
    /// The hardware address, where it has one of six bytes.
    pub mac: Option<Mac>,
    /// The MTU.
    pub mtu: u32,
    /// Whether it is switched on.
    pub is_up: bool,
    /// The bridge that it is a port of.
    pub master: Option<u32>,
}

impl Link {
    /// The kind in words.
    pub(crate) fn describe(&self) -> String {
        match (self.kind.as_str(), self.alias.as_str()) {
            ("", _) => "physical".to_owned(),
            (kind, "") => kind.to_owned(),
            (kind, alias) => format!("{kind} of {alias}"),
        }
    }
}

/// An address on a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AddressOn {
    /// The link's number.
    pub index: u32,
    /// The address with its network's length.
    pub address: HostAddress,
}

/// A unicast route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// Where to; a length of 0 is the default route.
    pub destination: Prefix,
    /// Through whom.
    pub gateway: Option<IpAddr>,
    /// The link's number.
    pub interface: Option<u32>,
    /// The lower wins.
    pub metric: u32,
    /// The routing table.
    pub table: u32,
}

/// Every link.
///
/// # Errors
/// The kernel's answer.
pub fn links(socket: &Socket) -> Result<Vec<Link>, NetlinkError> {
    let replies = socket.dump(RTM_GETLINK, &link_header(0, 0, 0), "links", |_| {})?;
    Ok(replies.iter().filter_map(parse_link).collect())
}

/// The link of a name; `None` where there is none.
///
/// # Errors
/// The kernel's answer.
pub fn link(socket: &Socket, name: &InterfaceName) -> Result<Option<Link>, NetlinkError> {
    let mut batch = Batch::new();
    ask_link_that_may_be_missing(&mut batch, name.as_str());
    Ok(socket.exchange(batch)?.iter().find_map(parse_link))
}

/// Every address.
///
/// # Errors
/// The kernel's answer.
pub fn addresses(socket: &Socket) -> Result<Vec<AddressOn>, NetlinkError> {
    let header = [0; ADDRESS_HEADER_BYTES];
    let replies = socket.dump(RTM_GETADDR, &header, "addresses", |_| {})?;
    Ok(replies.iter().filter_map(parse_address).collect())
}

/// Every unicast route of every table but the local one.
///
/// # Errors
/// The kernel's answer.
pub fn routes(socket: &Socket) -> Result<Vec<Route>, NetlinkError> {
    let header = [0; ROUTE_HEADER_BYTES];
    let replies = socket.dump(RTM_GETROUTE, &header, "routes", |_| {})?;
    Ok(replies.iter().filter_map(parse_route).collect())
}

/// The link behind the default route: IPv4's best, else IPv6's.
///
/// # Errors
/// The kernel's answer.
pub fn uplink(socket: &Socket) -> Result<Option<Link>, NetlinkError> {
    let best = routes(socket)?
        .into_iter()
        .filter(|route| route.destination.length() == 0 && route.interface.is_some())
        .min_by_key(|route| (route.destination.address().is_ipv6(), route.metric));
    let Some(index) = best.and_then(|route| route.interface) else {
        return Ok(None);
    };
    Ok(links_numbered(socket, &[index])?.into_iter().next())
}

/// The links of these numbers, as far as they are there: what all of them are would cost each start
/// more with every container that runs.
///
/// # Errors
/// The kernel's answer.
pub(crate) fn links_numbered(socket: &Socket, numbers: &[u32]) -> Result<Vec<Link>, NetlinkError> {
    // Their answers wait in the socket together, and the kernel counts up to 8 KiB and a bit for each link
    // against its 208 KiB: more than 24 were lost.
    const PART: usize = 16;
    let mut found = Vec::new();
    for part in numbers.chunks(PART) {
        let mut batch = Batch::new();
        for number in part {
            let step = Step::new("find link", number.to_string()).unless(&[Errno::NODEV]);
            batch.push((RTM_GETLINK, 0), &link_header(*number, 0, 0), step, |_| {});
        }
        found.extend(socket.exchange(batch)?.iter().filter_map(parse_link));
    }
    Ok(found)
}

/// The numbers of the links that have an IPv4 address.
///
/// # Errors
/// The kernel's answer.
pub(crate) fn links_with_ipv4(socket: &Socket) -> Result<Vec<u32>, NetlinkError> {
    const AF_INET: u8 = 2;
    let mut header = [0; ADDRESS_HEADER_BYTES];
    header[0] = AF_INET;
    let replies = socket.dump(RTM_GETADDR, &header, "addresses", |_| {})?;
    let addresses = replies.iter().filter_map(parse_address);
    let mut numbers: Vec<u32> = addresses.map(|one| one.index).collect();
    numbers.sort_unstable();
    numbers.dedup();
    Ok(numbers)
}

/// Every network that this host reaches or is part of, default routes apart: what a new network
/// must not overlap.
///
/// # Errors
/// The kernel's answer.
pub fn taken_networks(socket: &Socket) -> Result<Vec<Prefix>, NetlinkError> {
    let mut taken: Vec<Prefix> = addresses(socket)?
        .iter()
        .map(|on_link| on_link.address.network())
        .chain(routes(socket)?.iter().map(|route| route.destination))
        .filter(|prefix| prefix.length() > 0)
        .collect();
    taken.sort_unstable();
    taken.dedup();
    Ok(taken)
}

/// Asks for one link by name, as part of a batch.
pub(crate) fn ask_link(batch: &mut Batch, name: &str) {
    push_question(batch, Step::new("find link", name), name);
}

fn ask_link_that_may_be_missing(batch: &mut Batch, name: &str) {
    let step = Step::new("find link", name).unless(&[Errno::NODEV]);
    push_question(batch, step, name);
}

fn push_question(batch: &mut Batch, step: Step, name: &str) {
    batch.push((RTM_GETLINK, 0), &link_header(0, 0, 0), step, |link| {
        link.put_text(IFLA_IFNAME, name);
    });
}

/// What [`crate::link::create_bridge`] writes into an alias; bridges of earlier builds have no origin.
fn owner_and_origin(alias: String) -> (String, String) {
    match alias.split_once(' ') {
        Some((owner, origin)) if owner.starts_with(crate::bridge::OWNER_PREFIX) => {
            (owner.to_owned(), origin.to_owned())
        }
        _ => (alias, String::new()),
    }
}

pub(crate) fn parse_link(reply: &Reply) -> Option<Link> {
    if reply.kind != RTM_NEWLINK {
        return None;
    }
    let number = |at: usize| {
        let bytes = reply.payload.get(at..at + 4)?;
        Some(u32::from_ne_bytes(bytes.try_into().ok()?))
    };
    let mut link = Link {
        index: number(4)?,
        name: String::new(),
        kind: String::new(),
        alias: String::new(),
        origin: String::new(),
        mac: None,
        mtu: 0,
        is_up: number(8)? & IFF_UP != 0,
        master: None,
    };
    for attribute in Attributes::after(&reply.payload, LINK_HEADER_BYTES) {
        match attribute.kind {
            IFLA_IFNAME => link.name = attribute.text(),
            IFLA_IFALIAS => (link.alias, link.origin) = owner_and_origin(attribute.text()),
            IFLA_ADDRESS => link.mac = attribute.value.try_into().ok().map(Mac),
            IFLA_MTU => link.mtu = attribute.u32()?,
            IFLA_MASTER => link.master = attribute.u32(),
            IFLA_LINKINFO => {
                if let Some(kind) = attribute.inner().find_kind(IFLA_INFO_KIND) {
                    link.kind = kind.text();
                }
            }
            _ => {}
        }
    }
    Some(link)
}

fn parse_address(reply: &Reply) -> Option<AddressOn> {
    if reply.kind != RTM_NEWADDR {
        return None;
    }
    let length = *reply.payload.get(1)?;
    let index = u32::from_ne_bytes(reply.payload.get(4..8)?.try_into().ok()?);
    let find = |kind| Attributes::after(&reply.payload, ADDRESS_HEADER_BYTES).find_kind(kind);
    // On a point-to-point link IFA_ADDRESS is the other end.
    let address = find(IFA_LOCAL).or_else(|| find(IFA_ADDRESS))?;
    let address = HostAddress::new(address_of(address.value)?, length)?;
    Some(AddressOn { index, address })
}

fn parse_route(reply: &Reply) -> Option<Route> {
    if reply.kind != RTM_NEWROUTE {
        return None;
    }
    let header = reply.payload.get(..ROUTE_HEADER_BYTES)?;
    let any = match header[0] {
        2 => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        10 => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        _ => return None,
    };
    let mut destination = any;
    let mut route = (None, None, 0, u32::from(header[4]));
    for attribute in Attributes::after(&reply.payload, ROUTE_HEADER_BYTES) {
        match attribute.kind {
            RTA_DST => destination = address_of(attribute.value)?,
            RTA_GATEWAY => route.0 = address_of(attribute.value),
            RTA_OIF => route.1 = attribute.u32(),
            RTA_PRIORITY => route.2 = attribute.u32()?,
            RTA_TABLE => route.3 = attribute.u32()?,
            RTA_MULTIPATH => {
                // The first next hop stands for all: struct rtnexthop holds its link at byte 4.
                let hop = attribute.value.get(4..NEXT_HOP_HEADER_BYTES)?;
                route.1 = Some(u32::from_ne_bytes(hop.try_into().ok()?));
            }
            _ => {}
        }
    }
    let (gateway, interface, metric, table) = route;
    if header[7] != RTN_UNICAST || table == RT_TABLE_LOCAL {
        return None;
    }
    Some(Route {
        destination: Prefix::around(destination, header[1])?,
        gateway,
        interface,
        metric,
        table,
    })
}
