//! Noticing that somebody flushed our tables (`nft flush ruleset`, a firewall's reload).

use std::ops::ControlFlow;

use rustix::io::Errno;

use super::{DELTABLE, HEADER_BYTES, Table};
use crate::netlink::{Attributes, NetlinkError, Socket};

/// Group 7, `NFNLGRP_NFTABLES`, as a mask.
const GROUP_NFTABLES: u32 = 1 << 6;
const TABLE_NAME: u16 = 1;

/// Kinds of messages that containers that come and go cause: none of a flush begins with one.
const ELEMENTS_AND_GENERATIONS: [u8; 3] = [12, 14, 15];

/// A socket that becomes readable when anything in nftables changes but elements: the monitors of a
/// thousand containers need not wake for each that comes or goes.
///
/// # Errors
/// The kernel's answer.
pub fn watch() -> Result<Socket, NetlinkError> {
    Socket::netfilter_events(GROUP_NFTABLES, &ELEMENTS_AND_GENERATIONS)
}

/// Reads what waits in a watching socket, without blocking: whether a table of ours was deleted,
/// or may have been, because the kernel had more to tell than the socket holds. The caller then
/// asks [`Table::presence`] and puts its part back: several watchers may notice, and one of them
/// may have been quicker.
///
/// # Errors
/// The socket failed.
pub fn was_our_table_deleted(socket: &Socket, table: &Table) -> Result<bool, NetlinkError> {
    let mut deleted = false;
    let result = socket.drain(|message| {
        deleted |= message.kind == DELTABLE
            && Attributes::after(message.payload, HEADER_BYTES)
                .find_kind(TABLE_NAME)
                .is_some_and(|name| name.text() == table.name());
        ControlFlow::Continue(())
    });
    match result {
        Ok(()) => Ok(deleted),
        Err(Errno::NOBUFS) => Ok(true),
        Err(errno) => Err(sys::SysError::new("watch", "nftables", errno).into()),
    }
}
