//! Bridges and veth pairs.
//!
//! A network is a bridge; an endpoint is a veth pair whose one end is born inside the container's
//! namespace, already with its name and hardware address, so that nothing is moved. The pair dies
//! with the namespace. Tested on the kernel in this crate's `tests/`.

use std::fmt;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::path::Path;
use std::str::FromStr;

use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use sys::SysError;

use crate::listing::{self, Link};
use crate::mac::Mac;
use crate::netlink::{Batch, NetlinkError, Socket, Step};
use crate::route;
use crate::subnet::HostAddress;
use crate::sysctl;

pub(crate) const RTM_NEWLINK: u16 = 16;
pub(crate) const RTM_DELLINK: u16 = 17;
pub(crate) const RTM_GETLINK: u16 = 18;
pub(crate) const RTM_SETLINK: u16 = 19;

pub(crate) const NLM_F_REPLACE: u16 = 0x100;
const NLM_F_EXCL: u16 = 0x200;
pub(crate) const NLM_F_CREATE: u16 = 0x400;

pub(crate) const IFLA_ADDRESS: u16 = 1;
pub(crate) const IFLA_IFNAME: u16 = 3;
pub(crate) const IFLA_MTU: u16 = 4;
pub(crate) const IFLA_MASTER: u16 = 10;
pub(crate) const IFLA_LINKINFO: u16 = 18;
pub(crate) const IFLA_IFALIAS: u16 = 20;
const IFLA_AF_SPEC: u16 = 26;
const IFLA_NET_NS_FD: u16 = 28;
pub(crate) const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;
const IFLA_INFO_SLAVE_KIND: u16 = 4;
const IFLA_INFO_SLAVE_DATA: u16 = 5;
const VETH_INFO_PEER: u16 = 1;
const IFLA_BRPORT_HAIRPIN: u16 = 4;
const IFLA_BRPORT_GROUP_FWD_MASK: u16 = 31;
/// All of 01:80:c2:00:00:0x but 01:80:c2:00:00:01, which no bridge forwards, nor gives to its host.
const GROUPS_OF_BRIDGES: u16 = 0xfffd;
const IFLA_INET6_ADDR_GEN_MODE: u16 = 8;
const ADDR_GEN_MODE_NONE: u8 = 1;
const AF_INET6: u16 = 10;

pub(crate) const IFF_UP: u32 = 1;

/// Room for a name and its NUL.
const NAME_BYTES_MAX: usize = 15;
/// The kernel's IFALIASZ without its NUL.
const ALIAS_BYTES_MAX: usize = 255;

/// A text that cannot name an interface.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid interface name: {0}")]
pub struct InvalidName(String);

/// An interface's name, as the kernel accepts one.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct InterfaceName(String);

impl InterfaceName {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name as nftables compares it: 16 bytes, the rest zero.
    pub(crate) fn padded(&self) -> [u8; 16] {
        let mut bytes = [0; 16];
        bytes[..self.0.len()].copy_from_slice(self.0.as_bytes());
        bytes
    }
}

impl FromStr for InterfaceName {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        // Printable ASCII only; `%` is a pattern to the kernel, `*` one to `nft`, a slash and the
        // two dots would name another path below /proc/sys.
        let fits = (1..=NAME_BYTES_MAX).contains(&text.len())
            && text
                .bytes()
                .all(|byte| byte.is_ascii_graphic() && !b"/:%*\"'\\".contains(&byte));
        if !fits || [".", "..", "all", "default", "lo"].contains(&text) {
            return Err(InvalidName(text.to_owned()));
        }
        Ok(Self(text.to_owned()))
    }
}

impl TryFrom<String> for InterfaceName {
    type Error = InvalidName;

    fn try_from(text: String) -> Result<Self, InvalidName> {
        text.parse()
    }
}

impl From<InterfaceName> for String {
    fn from(name: InterfaceName) -> Self {
        name.0
    }
}

impl fmt::Display for InterfaceName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(&self.0)
    }
}

/// Why a link could not be made.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// The kernel refused a step.
    #[error(transparent)]
    Netlink(#[from] NetlinkError),
    /// The bridge's name belongs to something else.
    #[error(
        "the interface {name} exists already and is not ours ({kind}); if nothing needs it any more: ip link delete {name}"
    )]
    NotOurs {
        /// The name.
        name: InterfaceName,
        /// What it is: a kind of link, or `physical`.
        kind: String,
    },
    /// A bridge takes 1,023 ports.
    #[error("the bridge {0} has no port left (a bridge takes 1023)")]
    BridgeFull(InterfaceName),
}

/// A bridge as it shall be.
#[derive(Clone, Debug)]
pub struct BridgeSpec<'a> {
    /// Its name.
    pub name: &'a InterfaceName,
    /// Whose it is, written into the link's alias: an existing bridge with the same text is ours.
    pub owner: &'a str,
    /// The directory in which its network is written down, for whoever asks whether it lives.
    pub origin: &'a Path,
    /// Its MTU.
    pub mtu: u32,
    /// Its hardware address; without one the kernel changes it with the first port.
    pub mac: Mac,
    /// Its addresses: the gateways.
    pub addresses: &'a [HostAddress],
}

/// Makes a bridge, or brings ours that exists to what it shall be. Returns its index.
///
/// Two sends: create and look up, then configure.
///
/// # Errors
/// [`LinkError::NotOurs`] where the name is taken.
pub fn create_bridge(socket: &Socket, spec: &BridgeSpec<'_>) -> Result<u32, LinkError> {
    let name = spec.name;
    let mut batch = Batch::new();
    let step = Step::new("create bridge", name.as_str()).unless(&[Errno::EXIST]);
    let flags = NLM_F_CREATE | NLM_F_EXCL;
    batch.push((RTM_NEWLINK, flags), &link_header(0, 0, 0), step, |link| {
        link.put_text(IFLA_IFNAME, name.as_str());
        link.put(IFLA_ADDRESS, &spec.mac.0);
        link.put_u32(IFLA_MTU, spec.mtu);
        link.nest(IFLA_LINKINFO, |info| {
            info.put_text(IFLA_INFO_KIND, "bridge")
        });
    });
    listing::ask_link(&mut batch, name.as_str());
    let replies = socket.exchange(batch)?;
    let found = replies.iter().find_map(listing::parse_link);
    let link = found.ok_or_else(|| SysError::new("find link", name.as_str(), Errno::NODEV));
    let link = link.map_err(NetlinkError::from)?;
    if !is_ours(&link, spec.owner, spec.mac) {
        return Err(not_ours(name, &link));
    }
    configure_bridge(socket, link.index, spec)?;
    Ok(link.index)
}

/// A bridge that says so, or one that was cut off half-made: without an owner and never up, but with
/// the hardware address that we make it with.
pub(crate) fn is_ours(link: &Link, owner: &str, mac: Mac) -> bool {
    let is_half_made = link.alias.is_empty() && !link.is_up && link.mac == Some(mac);
    link.kind == "bridge" && (link.alias == owner || is_half_made)
}

pub(crate) fn not_ours(name: &InterfaceName, link: &Link) -> LinkError {
    LinkError::NotOurs {
        name: name.clone(),
        kind: link.describe(),
    }
}

/// Refuses a name that an interface of this host has.
///
/// # Errors
/// [`LinkError::NotOurs`].
pub fn check_free(socket: &Socket, name: &InterfaceName) -> Result<(), LinkError> {
    match listing::link(socket, name)? {
        None => Ok(()),
        Some(link) => Err(not_ours(name, &link)),
    }
}

/// Owner and origin, where the kernel has room for both.
fn alias(spec: &BridgeSpec<'_>) -> String {
    match spec.origin.to_str() {
        Some(origin)
            if !origin.is_empty() && spec.owner.len() + 1 + origin.len() <= ALIAS_BYTES_MAX =>
        {
            format!("{} {origin}", spec.owner)
        }
        _ => spec.owner.to_owned(),
    }
}

fn configure_bridge(
    socket: &Socket,
    index: u32,
    spec: &BridgeSpec<'_>,
) -> Result<(), NetlinkError> {
    let name = spec.name.as_str();
    let mut batch = Batch::new();
    let step = Step::new("configure bridge", name);
    batch.push((RTM_SETLINK, 0), &link_header(index, 0, 0), step, |link| {
        link.put_text(IFLA_IFALIAS, &alias(spec));
        // Said again after the creation: an MTU that was set stays when ports come and go.
        link.put_u32(IFLA_MTU, spec.mtu);
        link.put(IFLA_ADDRESS, &spec.mac.0);
    });
    for address in spec.addresses {
        route::push_address(&mut batch, index, name, address);
    }
    push_up(&mut batch, index, name);
    socket.exchange(batch).map(drop)
}

/// A veth pair as it shall be.
#[derive(Clone, Copy, Debug)]
pub struct VethSpec<'a> {
    /// The host's end.
    pub host: &'a InterfaceName,
    /// The bridge that it is a port of.
    pub bridge: &'a InterfaceName,
    /// The container's end, for instance `eth0`.
    pub inside: &'a InterfaceName,
    /// The container's network namespace.
    pub namespace: BorrowedFd<'a>,
    /// The hardware address inside.
    pub mac: Mac,
    /// The MTU of both ends.
    pub mtu: u32,
    /// What the container's packets meet first ([`crate::shortcut`]).
    pub program: Option<BorrowedFd<'a>>,
}

/// Makes a veth pair: the host's end up on its bridge, the other down inside the namespace. Two
/// sends. Another link of that name is not touched: `EEXIST`.
///
/// # Errors
/// [`LinkError::BridgeFull`]; `ENODEV` without the bridge.
pub fn create_veth(socket: &Socket, spec: &VethSpec<'_>) -> Result<(), LinkError> {
    let host = spec.host.as_str();
    let bridge = index(socket, spec.bridge)?;
    let mut batch = Batch::new();
    let flags = NLM_F_CREATE | NLM_F_EXCL;
    let step = Step::new("create link", host);
    batch.push((RTM_NEWLINK, flags), &link_header(0, 0, 0), step, |link| {
        link.put_text(IFLA_IFNAME, host);
        link.put_u32(IFLA_MTU, spec.mtu);
        link.put_u32(IFLA_MASTER, bridge);
        link.nest(IFLA_LINKINFO, |info| {
            info.put_text(IFLA_INFO_KIND, "veth");
            info.nest(IFLA_INFO_DATA, |data| {
                data.nest_after(VETH_INFO_PEER, &link_header(0, 0, 0), |peer| {
                    peer.put_text(IFLA_IFNAME, spec.inside.as_str());
                    peer.put(IFLA_ADDRESS, &spec.mac.0);
                    peer.put_u32(IFLA_MTU, spec.mtu);
                    let namespace = spec.namespace.as_raw_fd();
                    peer.put_u32(IFLA_NET_NS_FD, namespace as u32);
                });
            });
        });
    });
    // What follows goes by name, so it must not be sent before the name is known to be ours.
    socket
        .exchange(batch)
        .map_err(|error| bridge_full(error, spec.bridge))?;
    if let Some(program) = spec.program {
        // Before the link is up: afterwards the kernel waits for packets on their way, 10 to 30 ms. A
        // kernel without such programs goes without.
        let _ = attach(
            socket,
            (index(socket, spec.host)?, Direction::Ingress),
            program,
        );
    }
    let mut batch = Batch::new();
    push_port(&mut batch, host);
    // Up last: a port must not forward before it is confined.
    let step = Step::new("bring up", host);
    let header = link_header(0, IFF_UP, IFF_UP);
    batch.push((RTM_SETLINK, 0), &header, step, |link| {
        link.put_text(IFLA_IFNAME, host);
        // A bridge's port needs no address of its own, nor the traffic that comes with one.
        link.nest(IFLA_AF_SPEC, |families| {
            families.nest(AF_INET6, |inet6| {
                inet6.put_u8(IFLA_INET6_ADDR_GEN_MODE, ADDR_GEN_MODE_NONE);
            });
        });
    });
    socket.exchange(batch).map_err(|error| {
        // Nothing half-made stays.
        let _ = delete(socket, spec.host);
        LinkError::from(error)
    })?;
    Ok(())
}

/// Which packets of a link a program sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Those that arrive by it.
    Ingress,
    /// Those that leave by it.
    Egress,
}

/// Attaches a program to a link, in place of the one that was attached so before. It goes with the link.
///
/// # Errors
/// `ENOENT` where the kernel has no such thing.
pub fn attach(
    socket: &Socket,
    (index, direction): (u32, Direction),
    program: BorrowedFd<'_>,
) -> Result<(), NetlinkError> {
    const RTM_NEWQDISC: u16 = 36;
    const RTM_NEWTFILTER: u16 = 44;
    const TCA_KIND: u16 = 1;
    const TCA_OPTIONS: u16 = 2;
    const TCA_BPF_FD: u16 = 6;
    const TCA_BPF_NAME: u16 = 7;
    const TCA_BPF_FLAGS: u16 = 8;
    /// The program's answer is the verdict.
    const ACT_DIRECT: u32 = 1;
    const CLSACT_HANDLE: u32 = 0xffff_0000;
    const CLSACT: u32 = 0xffff_fff1;
    const OURS: u32 = 1;
    let parent = match direction {
        Direction::Ingress => 0xffff_fff2,
        Direction::Egress => 0xffff_fff3,
    };
    // The first priority, and every protocol in the network's order.
    let every_protocol = 1 << 16 | u32::from(3u16.to_be());
    let header = |handle: u32, parent: u32, info: u32| {
        let mut header = [0; 20];
        for (at, value) in [(4, index), (8, handle), (12, parent), (16, info)] {
            header[at..at + 4].copy_from_slice(&value.to_ne_bytes());
        }
        header
    };
    let step = || Step::new("attach a program to link", index.to_string());
    let mut batch = Batch::new();
    let qdisc = header(CLSACT_HANDLE, CLSACT, 0);
    let flags = NLM_F_CREATE | NLM_F_EXCL;
    let is_there = step().unless(&[Errno::EXIST]);
    batch.push((RTM_NEWQDISC, flags), &qdisc, is_there, |qdisc| {
        qdisc.put_text(TCA_KIND, "clsact");
    });
    let filter = header(OURS, parent, every_protocol);
    batch.push((RTM_NEWTFILTER, NLM_F_CREATE), &filter, step(), |filter| {
        filter.put_text(TCA_KIND, "bpf");
        filter.nest(TCA_OPTIONS, |options| {
            options.put_u32(TCA_BPF_FD, program.as_raw_fd() as u32);
            options.put_text(TCA_BPF_NAME, "caisson");
            options.put_u32(TCA_BPF_FLAGS, ACT_DIRECT);
        });
    });
    socket.exchange(batch).map(drop)
}

/// Takes away what [`attach`] put there; that there is nothing is fine.
///
/// # Errors
/// The kernel's answer.
pub fn detach(socket: &Socket, index: u32) -> Result<(), NetlinkError> {
    const RTM_DELQDISC: u16 = 37;
    const CLSACT_HANDLE: u32 = 0xffff_0000;
    const CLSACT: u32 = 0xffff_fff1;
    let mut header = [0; 20];
    for (at, value) in [(4, index), (8, CLSACT_HANDLE), (12, CLSACT)] {
        header[at..at + 4].copy_from_slice(&value.to_ne_bytes());
    }
    const NOTHING: [Errno; 3] = [Errno::NOENT, Errno::INVAL, Errno::OPNOTSUPP];
    let step = Step::new("detach the program of link", index.to_string()).unless(&NOTHING);
    let mut batch = Batch::new();
    batch.push((RTM_DELQDISC, 0), &header, step, |_| {});
    socket.exchange(batch).map(drop)
}

/// Makes the host's end of a pair a port of a bridge, as [`create_veth`] does.
///
/// # Errors
/// The kernel's answer.
pub(crate) fn join_bridge(
    socket: &Socket,
    host: &InterfaceName,
    bridge: u32,
) -> Result<(), LinkError> {
    let host = host.as_str();
    let mut batch = Batch::new();
    let step = Step::new("join link to its bridge", host);
    batch.push((RTM_SETLINK, 0), &link_header(0, 0, 0), step, |link| {
        link.put_text(IFLA_IFNAME, host);
        link.put_u32(IFLA_MASTER, bridge);
    });
    push_port(&mut batch, host);
    Ok(socket.exchange(batch).map(drop)?)
}

/// The kernel's number of a link; any socket will do.
pub(crate) fn index(socket: &Socket, name: &InterfaceName) -> Result<u32, NetlinkError> {
    rustix::net::netdevice::name_to_index(socket, name.as_str())
        .map_err(|errno| SysError::new("find link", name.as_str(), errno).into())
}

fn bridge_full(error: NetlinkError, bridge: &InterfaceName) -> LinkError {
    match error.errno() {
        Some(Errno::XFULL) => LinkError::BridgeFull(bridge.clone()),
        _ => error.into(),
    }
}

/// Has the bridge treat frames to the group addresses of bridges as any others. By itself it gives them
/// to the host, as received by the port's own interface and past every filter of bridged frames: a
/// container would tell the host of routers, and speak to it under any address.
///
/// With br_netfilter it also lets frames out by the port that they came in by: then a container's way to
/// its own published port is translated on the bridge itself and ends there. Without it that way is
/// routed, and the port need not echo the container's broadcasts.
fn push_port(batch: &mut Batch, name: &str) {
    let step = Step::new("configure port", name);
    batch.push((RTM_NEWLINK, 0), &link_header(0, 0, 0), step, |link| {
        link.put_text(IFLA_IFNAME, name);
        link.nest(IFLA_LINKINFO, |info| {
            info.put_text(IFLA_INFO_SLAVE_KIND, "bridge");
            info.nest(IFLA_INFO_SLAVE_DATA, |port| {
                port.put(IFLA_BRPORT_GROUP_FWD_MASK, &GROUPS_OF_BRIDGES.to_ne_bytes());
                if sysctl::filters_bridged_frames() {
                    port.put_u8(IFLA_BRPORT_HAIRPIN, 1);
                }
            });
        });
    });
}

pub(crate) fn push_up(batch: &mut Batch, index: u32, name: &str) {
    let step = Step::new("bring up", name);
    let header = link_header(index, IFF_UP, IFF_UP);
    batch.push((RTM_SETLINK, 0), &header, step, |_| {});
}

/// Deletes a link; that it is not there is fine. A veth costs 12 to 34 ms: let it die with its
/// namespace instead wherever that goes too.
///
/// # Errors
/// The kernel's answer.
pub fn delete(socket: &Socket, name: &InterfaceName) -> Result<(), NetlinkError> {
    let mut batch = Batch::new();
    let step = Step::new("delete link", name.as_str()).unless(&[Errno::NODEV]);
    batch.push((RTM_DELLINK, 0), &link_header(0, 0, 0), step, |link| {
        link.put_text(IFLA_IFNAME, name.as_str());
    });
    socket.exchange(batch).map(drop)
}

/// `struct ifinfomsg`.
pub(crate) fn link_header(index: u32, flags: u32, change: u32) -> [u8; 16] {
    let mut header = [0; 16];
    header[4..8].copy_from_slice(&index.to_ne_bytes());
    header[8..12].copy_from_slice(&flags.to_ne_bytes());
    header[12..].copy_from_slice(&change.to_ne_bytes());
    header
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interface_names_are_what_the_kernel_takes_and_no_patterns() {
        for good in ["eth0", "br-0123456789ab", "caisson0", "a.b", "veth@1"] {
            assert_eq!(good.parse::<InterfaceName>().unwrap().as_str(), good);
        }
        for bad in [
            "",
            ".",
            "..",
            "all",
            "default",
            "lo",
            "a/b",
            "a b",
            "a%d",
            "a:1",
            "a*",
            "\u{e9}",
            "sixteen-bytes-ab",
            "a\nb",
            "a\0",
        ] {
            assert!(bad.parse::<InterfaceName>().is_err(), "{bad:?}");
        }
    }
}
