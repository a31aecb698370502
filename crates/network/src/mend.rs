//! A bridge that somebody deleted under running containers: noticed by their monitors, and made anew.
//!
//! The kernel lets the bridge's ports go and keeps them; addresses, switches and the short way's program
//! are lost with it. Elements in the tables are by name and stay.

use std::ops::ControlFlow;

use rustix::io::Errno;

use crate::Socket;
use crate::attachment::{AttachError, Attachment, Endpoint};
use crate::link::{self, InterfaceName, LinkError, RTM_DELLINK};
use crate::listing;
use crate::netlink::NetlinkError;
use crate::shortcut::Door;

/// Group 1, `RTNLGRP_LINK`, as a mask.
const GROUP_LINK: u32 = 1;
/// More networks of one container are not watched: a filter's jumps are short.
const WATCHED_MAX: usize = 200;

/// A socket that becomes readable when a bridge of the container's is gone, and for nothing else:
/// links of others come and go all the time. `None` where there is no bridge.
///
/// # Errors
/// The kernel's answer.
pub fn watch(attachment: &Attachment) -> Result<Option<Socket>, NetlinkError> {
    if attachment.endpoints.is_empty() {
        return Ok(None);
    }
    let route = Socket::route()?;
    let bridges = attachment.endpoints.iter().take(WATCHED_MAX);
    let bridges = bridges.filter_map(|one| link::index(&route, &one.network.bridge).ok());
    let bridges: Vec<u32> = bridges.collect();
    Socket::link_events(GROUP_LINK, RTM_DELLINK as u8, &bridges).map(Some)
}

/// Reads what waits in a watching socket, without blocking: whether a bridge may be gone.
///
/// # Errors
/// The socket failed.
pub fn heard(socket: &Socket) -> Result<bool, NetlinkError> {
    let mut is_gone = false;
    let result = socket.drain(|message| {
        is_gone |= message.kind == RTM_DELLINK;
        ControlFlow::Continue(())
    });
    match result {
        Ok(()) => Ok(is_gone),
        Err(Errno::NOBUFS) => Ok(true),
        Err(errno) => Err(sys::SysError::new("watch", "links", errno).into()),
    }
}

/// Brings up the networks that are gone, and makes the container's interfaces ports of their bridges
/// again. May run twice, and in several monitors at once.
///
/// # Errors
/// The first step that failed; the container's other networks were looked after too.
pub fn mend(attachment: &Attachment) -> Result<(), AttachError> {
    let route = Socket::route()?;
    let mut result = Ok(());
    for endpoint in &attachment.endpoints {
        result = result.and(mend_one(attachment, endpoint, &route));
    }
    result
}

fn mend_one(
    attachment: &Attachment,
    endpoint: &Endpoint,
    route: &Socket,
) -> Result<(), AttachError> {
    let network = &endpoint.network;
    let bridge = link::index(route, &network.bridge).ok();
    let port = listing::link(route, &endpoint.veth)?;
    let is_apart = |port: &listing::Link| bridge.is_none() || port.master != bridge;
    let Some(port) = port.filter(is_apart) else {
        return Ok(());
    };
    // Even where there is a bridge: it may be somebody else's, which is refused there.
    network.up(&attachment.firewall)?;
    // It knows the old bridge by number, and would send there.
    link::detach(route, port.index)?;
    join(route, &endpoint.veth, &network.bridge)?;
    if let Some((way, door)) = endpoint.short_way(route)
        && link::attach(route, (port.index, link::Direction::Ingress), way.program()).is_ok()
    {
        let veth = port.index;
        let _ = way.open(&Door { veth, ..door });
    }
    Ok(())
}

fn join(route: &Socket, veth: &InterfaceName, bridge: &InterfaceName) -> Result<(), LinkError> {
    link::join_bridge(route, veth, link::index(route, bridge)?)
}
