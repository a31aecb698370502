//! The kernel's switches below `/proc/sys/net`, of this thread's network namespace.
//!
//! Forwarding is switched on per interface, never for the whole host, as far as the kernel has
//! such switches: IPv6 has only one for all (`accept_ra` must become 2 first, or the host loses
//! its own default route).

use std::path::Path;

use sys::{Context, SysError};

use crate::link::InterfaceName;

const ROOT: &str = "/proc/sys/net";

/// Whether a switch had to be moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Switched {
    /// It was so already.
    Already,
    /// It was otherwise before.
    Now,
}

/// Lets IPv4 packets that arrive on an interface be forwarded. Needed on each bridge, and on each
/// interface where clients of published ports, or answers from outside, arrive. Where the answer
/// is [`Switched::Now`] for such an interface, a [`crate::nft::elements::Guard`] belongs to it.
///
/// # Errors
/// `EROFS` where /proc/sys is read-only, `ENOENT` without the interface.
pub fn forward_ipv4(interface: &InterfaceName) -> Result<Switched, SysError> {
    set(&format!("ipv4/conf/{interface}/forwarding"), "1")
}

/// Switches IPv6 forwarding on, after making the interfaces that listen to routers go on doing so.
///
/// # Errors
/// As [`forward_ipv4`].
pub fn forward_ipv6() -> Result<Switched, SysError> {
    const ALL: &str = "ipv6/conf/all/forwarding";
    if get(ALL)? == "1" {
        return Ok(Switched::Already);
    }
    let interfaces = format!("{ROOT}/ipv6/conf");
    for entry in std::fs::read_dir(&interfaces).on("read", &interfaces)? {
        let name = entry.on("read", &interfaces)?.file_name();
        let Some(name) = name.to_str().filter(|name| *name != "all") else {
            continue;
        };
        // An interface may vanish meanwhile; `default` makes later ones alike.
        let switch = format!("ipv6/conf/{name}/accept_ra");
        if get(&switch).is_ok_and(|value| value == "1") {
            set(&switch, "2")?;
        }
    }
    set(ALL, "1")
}

/// Lets 127.0.0.1 be the source of packets that leave by a bridge of ours, as a port published
/// there needs. Only after [`crate::nft::Table::ensure`], whose `raw` chain keeps neighbours out.
///
/// # Errors
/// As [`forward_ipv4`].
pub fn route_localnet(bridge: &InterfaceName) -> Result<Switched, SysError> {
    set(&format!("ipv4/conf/{bridge}/route_localnet"), "1")
}

/// Makes a bridge ignore router advertisements: it is a router itself.
///
/// # Errors
/// As [`forward_ipv4`].
pub fn ignore_routers(bridge: &InterfaceName) -> Result<Switched, SysError> {
    set(&format!("ipv6/conf/{bridge}/accept_ra"), "0")
}

/// Switches IPv6 off on one interface (a container without an IPv6 network) or on again.
///
/// # Errors
/// As [`forward_ipv4`].
pub fn set_ipv6(interface: &InterfaceName, ipv6: Ipv6) -> Result<Switched, SysError> {
    let value = match ipv6 {
        Ipv6::On => "0",
        Ipv6::Off => "1",
    };
    set(&format!("ipv6/conf/{interface}/disable_ipv6"), value)
}

/// Whether an interface speaks IPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ipv6 {
    /// It does.
    On,
    /// It does not.
    Off,
}

/// Whether this kernel speaks IPv6 at all.
pub fn has_ipv6() -> bool {
    Path::new(ROOT).join("ipv6").exists()
}

/// Whether frames between ports of one bridge pass the filters of IPv4 (br_netfilter, which Docker
/// and Kubernetes load).
pub fn filters_bridged_frames() -> bool {
    get("bridge/bridge-nf-call-iptables").is_ok_and(|value| value == "1")
}

/// Sets a parameter of one interface, whose name stands as `IFNAME` in the path below /proc/sys/net.
///
/// # Errors
/// `ENOENT` where there is no such parameter, `EINVAL` where it takes no such value.
pub(crate) fn set_of(interface: &InterfaceName, path: &str, value: &str) -> Result<(), SysError> {
    set(&path.replace("IFNAME", interface.as_str()), value).map(drop)
}

fn get(switch: &str) -> Result<String, SysError> {
    let path = format!("{ROOT}/{switch}");
    let text = std::fs::read_to_string(&path).on("read", &path)?;
    Ok(text.trim_end().to_owned())
}

fn set(switch: &str, value: &str) -> Result<Switched, SysError> {
    // Read first: a read-only /proc/sys that says what we need is good enough.
    if get(switch)? == value {
        return Ok(Switched::Already);
    }
    let path = format!("{ROOT}/{switch}");
    std::fs::write(&path, value).on("write", &path)?;
    Ok(Switched::Now)
}
