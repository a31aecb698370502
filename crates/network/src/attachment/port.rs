//! A published port of a container, and taking it from the host.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::OwnedFd;

use serde::{Deserialize, Serialize};
use types::port::Protocol;

use crate::ports::{self, HoldError};

/// So many free ports are tried where any will do.
const PORT_ATTEMPTS_MAX: usize = 64;

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

impl Port {
    /// Whether what another container was given is what this one asks for.
    pub fn is_served_by(&self, other: &Self) -> bool {
        let (low, high) = self.range;
        let fits = low == 0 || (low..=high).contains(&other.bound);
        let is_same = self.protocol == other.protocol && self.host == other.host;
        is_same && fits && other.bound != 0 && (low != 0 || self.container == other.container)
    }

    /// The IPv6 side of a port that is published on every address of the host: both take one number.
    pub(super) fn is_twin_of(&self, other: &Self) -> bool {
        let is_any = self.host.is_unspecified() && other.host.is_unspecified();
        let is_other_family = self.host.is_ipv4() != other.host.is_ipv4();
        let key = |port: &Self| (port.container, port.protocol, port.range);
        is_any && is_other_family && key(self) == key(other)
    }
}

/// Takes a port of the host for one published port, or for both its families: the first number that
/// is free for all of them.
pub(super) fn hold(wanted: &mut [Port], before: &[Port]) -> Result<Vec<OwnedFd>, HoldError> {
    let Some(first) = wanted.first().cloned() else {
        return Ok(Vec::new());
    };
    let is_free = |number: &u16| {
        !before.iter().any(|other| {
            other.bound == *number && other.protocol == first.protocol && other.host == first.host
        })
    };
    let (low, high) = match first.bound {
        0 => first.range,
        bound => (bound, bound),
    };
    let candidates: Box<dyn Iterator<Item = u16>> = match low {
        0 => Box::new(std::iter::repeat_n(0, PORT_ATTEMPTS_MAX)),
        _ => Box::new((low..=high).filter(is_free)),
    };
    let mut last_error = HoldError::InUse {
        address: SocketAddr::new(first.host, low),
        protocol: first.protocol,
        holder: None,
    };
    for number in candidates {
        match hold_all(wanted, number) {
            Ok((bound, held)) => {
                wanted.iter_mut().for_each(|port| port.bound = bound);
                return Ok(held);
            }
            Err(error @ HoldError::InUse { .. }) => last_error = error,
            Err(error) => return Err(error),
        }
    }
    Err(last_error)
}

/// Takes one number for all; 0 lets the kernel choose it for the first.
fn hold_all(wanted: &[Port], number: u16) -> Result<(u16, Vec<OwnedFd>), HoldError> {
    let mut bound = number;
    let mut held = Vec::new();
    for port in wanted {
        let socket = ports::hold(port.protocol, SocketAddr::new(port.host, bound))?;
        bound = ports::held_address(&socket)?.port();
        held.push(socket);
    }
    Ok((bound, held))
}

/// The host's addresses for a port that is published on every one. Without an IPv6 address of the
/// container the monitor passes connections on, which it cannot do for every protocol.
pub fn every_address(protocol: Protocol, has_ipv6: bool) -> Vec<IpAddr> {
    let mut all = vec![IpAddr::V4(Ipv4Addr::UNSPECIFIED)];
    let is_served = has_ipv6 || ports::can_be_proxied(protocol);
    if is_served && ports::host_has_ipv6() {
        all.push(IpAddr::V6(std::net::Ipv6Addr::UNSPECIFIED));
    }
    all
}
