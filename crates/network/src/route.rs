//! Addresses and routes; what happens inside a container's namespace.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::AsFd;

use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use rustix::thread::LinkNameSpaceType;
use sys::{Context, SysError};

use crate::link::{
    IFLA_ADDRESS, IFLA_IFNAME, IFLA_MTU, InterfaceName, NLM_F_CREATE, NLM_F_REPLACE, RTM_SETLINK,
    link_header, push_up,
};
use crate::listing;
use crate::mac::Mac;
use crate::netlink::{Batch, NetlinkError, Socket, Step};
use crate::subnet::HostAddress;

const RTM_NEWADDR: u16 = 20;
const RTM_DELADDR: u16 = 21;
const RTM_NEWROUTE: u16 = 24;
const RTM_DELROUTE: u16 = 25;

const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_BROADCAST: u16 = 4;
/// No duplicate address detection: the address is reserved, and waiting for it costs a second.
const IFA_F_NODAD: u8 = 2;

const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const RT_TABLE_MAIN: u8 = 254;
const RTPROT_STATIC: u8 = 4;
const RTN_UNICAST: u8 = 1;

/// Why work in another network namespace failed.
#[derive(Debug, thiserror::Error)]
pub enum NamespaceError {
    /// A step failed; this thread is where it was.
    #[error(transparent)]
    Enter(#[from] SysError),
    /// The way back failed: this thread is in the wrong namespace and must end.
    #[error("cannot return from a container's network namespace")]
    Stranded(#[source] SysError),
    /// A request over netlink failed.
    #[error(transparent)]
    Netlink(#[from] NetlinkError),
}

/// Does `work` with this thread in another network namespace and comes back. Other threads stay
/// where they are; callers are single-threaded, so that is the process.
///
/// # Errors
/// `EPERM` without CAP_SYS_ADMIN. [`NamespaceError::Stranded`] must end the process.
pub fn within<T>(namespace: impl AsFd, work: impl FnOnce() -> T) -> Result<T, NamespaceError> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let home = rustix::fs::openat(CWD, "/proc/thread-self/ns/net", flags, Mode::empty())
        .on("open", "network namespace")?;
    let join = |namespace: rustix::fd::BorrowedFd<'_>| {
        let kind = Some(LinkNameSpaceType::Network);
        rustix::thread::move_into_link_name_space(namespace, kind).on("join", "network namespace")
    };
    join(namespace.as_fd())?;
    let result = work();
    join(home.as_fd()).map_err(NamespaceError::Stranded)?;
    Ok(result)
}

/// Opens a socket for links and routes inside another network namespace, where it stays.
///
/// # Errors
/// As [`within`].
pub fn in_namespace(namespace: impl AsFd) -> Result<Socket, NamespaceError> {
    Ok(within(namespace, Socket::route)??)
}

/// Opens a socket for nftables inside another network namespace, where it stays.
///
/// # Errors
/// As [`within`].
pub fn netfilter_in_namespace(namespace: impl AsFd) -> Result<Socket, NamespaceError> {
    Ok(within(namespace, Socket::netfilter)??)
}

/// An interface inside a container as it shall be.
#[derive(Clone, Copy, Debug)]
pub struct InsideSpec<'a> {
    /// The interface, as it is called now.
    pub interface: &'a InterfaceName,
    /// Its new name.
    pub rename: Option<&'a InterfaceName>,
    /// Its new hardware address.
    pub mac: Option<Mac>,
    /// Its new MTU.
    pub mtu: Option<u32>,
    /// Its addresses.
    pub addresses: &'a [HostAddress],
    /// Where the default routes go.
    pub gateways: &'a [IpAddr],
}

/// Brings up `lo` and an interface with its addresses and default routes. Two sends. Returns the
/// interface's index.
///
/// # Errors
/// The first step that the kernel refused.
pub fn configure(socket: &Socket, spec: &InsideSpec<'_>) -> Result<u32, NetlinkError> {
    let name = spec.interface.as_str();
    let mut batch = Batch::new();
    push_loopback_up(&mut batch);
    listing::ask_link(&mut batch, name);
    let index = socket
        .exchange(batch)?
        .iter()
        .find_map(listing::parse_link)
        .map(|link| link.index)
        .ok_or_else(|| SysError::new("find link", name, Errno::NODEV))?;
    let mut batch = Batch::new();
    if spec.rename.is_some() || spec.mac.is_some() || spec.mtu.is_some() {
        let step = Step::new("configure link", name);
        let header = link_header(index, 0, 0);
        batch.push((RTM_SETLINK, 0), &header, step, |link| {
            if let Some(new) = spec.rename {
                link.put_text(IFLA_IFNAME, new.as_str());
            }
            if let Some(mac) = spec.mac {
                link.put(IFLA_ADDRESS, &mac.0);
            }
            if let Some(mtu) = spec.mtu {
                link.put_u32(IFLA_MTU, mtu);
            }
        });
    }
    for address in spec.addresses {
        push_address(&mut batch, index, name, address);
    }
    push_up(&mut batch, index, name);
    for gateway in spec.gateways {
        push_default_route(
            &mut batch,
            (RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE),
            index,
            gateway,
        );
    }
    socket.exchange(batch)?;
    Ok(index)
}

/// Brings up `lo` alone.
///
/// # Errors
/// The kernel's answer.
pub fn bring_up_loopback(socket: &Socket) -> Result<(), NetlinkError> {
    let mut batch = Batch::new();
    push_loopback_up(&mut batch);
    socket.exchange(batch).map(drop)
}

fn push_loopback_up(batch: &mut Batch) {
    // Always the first interface of a namespace.
    const LOOPBACK_INDEX: u32 = 1;
    push_up(batch, LOOPBACK_INDEX, "lo");
}

/// Sets the default route of a family through an interface.
///
/// # Errors
/// `ENETUNREACH` where the gateway is not on one of the interface's networks.
pub fn set_default_route(
    socket: &Socket,
    interface: &InterfaceName,
    gateway: IpAddr,
) -> Result<(), NetlinkError> {
    change_default_route(
        socket,
        (RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE),
        interface,
        gateway,
    )
}

/// Removes a default route; that it is not there is fine.
///
/// # Errors
/// The kernel's answer.
pub fn remove_default_route(
    socket: &Socket,
    interface: &InterfaceName,
    gateway: IpAddr,
) -> Result<(), NetlinkError> {
    change_default_route(socket, (RTM_DELROUTE, 0), interface, gateway)
}

fn change_default_route(
    socket: &Socket,
    kind: (u16, u16),
    interface: &InterfaceName,
    gateway: IpAddr,
) -> Result<(), NetlinkError> {
    let index = rustix::net::netdevice::name_to_index(socket, interface.as_str())
        .on("find link", interface)?;
    let mut batch = Batch::new();
    push_default_route(&mut batch, kind, index, &gateway);
    socket.exchange(batch).map(drop)
}

fn push_default_route(batch: &mut Batch, kind: (u16, u16), index: u32, gateway: &IpAddr) {
    let (verb, fine): (_, &'static [Errno]) = if kind.0 == RTM_DELROUTE {
        ("remove default route via", &[Errno::SRCH, Errno::NOENT])
    } else {
        ("set default route via", &[])
    };
    let mut header = [0; 12];
    header[0] = family(*gateway);
    header[4] = RT_TABLE_MAIN;
    header[5] = RTPROT_STATIC;
    header[7] = RTN_UNICAST;
    let step = Step::new(verb, gateway.to_string()).unless(fine);
    batch.push(kind, &header, step, |route| {
        route.put(RTA_GATEWAY, &octets(*gateway));
        route.put_u32(RTA_OIF, index);
    });
}

/// Removes an address from an interface; that it is not there is fine.
///
/// # Errors
/// `ENODEV` without the interface.
pub fn remove_address(
    socket: &Socket,
    interface: &InterfaceName,
    address: &HostAddress,
) -> Result<(), NetlinkError> {
    let index = rustix::net::netdevice::name_to_index(socket, interface.as_str())
        .on("find link", interface)?;
    let mut batch = Batch::new();
    let step = Step::new("remove address", address.to_string()).unless(&[Errno::ADDRNOTAVAIL]);
    push_address_message(&mut batch, (RTM_DELADDR, 0), step, index, address);
    socket.exchange(batch).map(drop)
}

pub(crate) fn push_address(batch: &mut Batch, index: u32, name: &str, address: &HostAddress) {
    let step = Step::new("add address", format!("{address} to {name}")).unless(&[Errno::EXIST]);
    let kind = (RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE);
    push_address_message(batch, kind, step, index, address);
}

fn push_address_message(
    batch: &mut Batch,
    kind: (u16, u16),
    step: Step,
    index: u32,
    on_link: &HostAddress,
) {
    let address = on_link.address;
    // struct ifaddrmsg: family, length, flags, scope (global), index.
    let mut header = [0; 8];
    header[0] = family(address);
    header[1] = on_link.length();
    header[2] = if address.is_ipv6() { IFA_F_NODAD } else { 0 };
    header[4..].copy_from_slice(&index.to_ne_bytes());
    batch.push(kind, &header, step, |message| {
        message.put(IFA_LOCAL, &octets(address));
        message.put(IFA_ADDRESS, &octets(address));
        if address.is_ipv4() && on_link.length() < 31 {
            message.put(IFA_BROADCAST, &octets(on_link.network().last()));
        }
    });
}

pub(crate) fn family(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(_) => 2,
        IpAddr::V6(_) => 10,
    }
}

pub(crate) fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

/// An address from the bytes of an attribute.
pub(crate) fn address_of(bytes: &[u8]) -> Option<IpAddr> {
    if let Ok(bytes) = <[u8; 4]>::try_from(bytes) {
        return Some(IpAddr::V4(Ipv4Addr::from(bytes)));
    }
    let bytes = <[u8; 16]>::try_from(bytes).ok()?;
    Some(IpAddr::V6(Ipv6Addr::from(bytes)))
}
