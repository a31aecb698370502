//! An endpoint's short way past its bridge.

use std::net::IpAddr;

use crate::Socket;
use crate::attachment::Endpoint;
use crate::link;
use crate::shortcut::{self, Door, Place, Way};

impl Endpoint {
    /// The short way past the bridge, and what it shall know of this endpoint, but for the number of its
    /// interface, which there may not be yet. Without it, it works as well.
    pub(crate) fn short_way(&self, socket: &Socket) -> Option<(Way, Door)> {
        if !self.network.has_shortcut {
            return None;
        }
        let (mut ipv4, mut ipv6) = (None, None);
        for address in self.ips() {
            match address {
                IpAddr::V4(address) => ipv4 = ipv4.or(Some(address)),
                IpAddr::V6(address) => ipv6 = ipv6.or(Some(address)),
            }
        }
        let door = Door {
            veth: 0,
            mac: self.mac,
            address: ipv4?,
            address6: ipv6,
        };
        let place = Place {
            bridge: link::index(socket, &self.network.bridge).ok()?,
            mac: self.network.mac(),
            has_icc: self.network.has_icc,
        };
        Some((shortcut::of(&place).ok()?, door))
    }

    pub(crate) fn close_shortcut(&self, socket: &Socket) {
        if let Ok(bridge) = link::index(socket, &self.network.bridge) {
            let _ = shortcut::close(bridge, self.mac);
        }
    }
}
