//! The name server's address inside a container: 127.0.0.11 port 53 leads to the monitor's high
//! ports there, so that the container's own port 53 stays free.

use std::net::Ipv4Addr;

use types::port::Protocol;

use super::elements::protocol_number;
use super::expression::{Ip, R0, push_rule};
use super::skeleton::{DSTNAT, Hook, OUTPUT, PREROUTING, RAW, push_chain};
use super::{DELTABLE, Family, begin, end, push_table};
use crate::netlink::{NetlinkError, Socket, Step};

/// Where containers find the name server.
pub const RESOLVER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 11);
const DNS_PORT: u16 = 53;
const TABLE: &str = "caisson-resolver";

/// Which connections of the container the kernel tracks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tracking {
    /// Those to the name server only: nothing else pays for it.
    ResolverOnly,
    /// All: for containers that may translate addresses themselves.
    All,
}

/// The monitor's ports at 127.0.0.11.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResolverPorts {
    /// For UDP.
    pub udp: u16,
    /// For TCP.
    pub tcp: u16,
}

/// Leads the name server's port to the monitor's; what was there before is replaced. `socket` is
/// one of the container's namespace ([`crate::route::netfilter_in_namespace`]). One transaction.
///
/// # Errors
/// The first step that the kernel refused; then nothing has changed.
pub fn redirect(
    socket: &Socket,
    ports: ResolverPorts,
    tracking: Tracking,
) -> Result<(), NetlinkError> {
    let place = (Family::Ipv4, TABLE);
    let header = Family::Ipv4.header();
    let mut batch = begin();
    push_table(&mut batch, Family::Ipv4, TABLE, None);
    let step = Step::new("delete table", TABLE);
    batch.push((DELTABLE, 0), &header, step, |table| {
        table.put_text(1, TABLE)
    });
    push_table(&mut batch, Family::Ipv4, TABLE, None);
    let hook = |kind, number, priority| Hook {
        kind,
        number,
        priority,
    };
    push_chain(
        &mut batch,
        place,
        "output",
        Some(&hook("nat", OUTPUT, DSTNAT)),
    );
    for (protocol, port) in [(Protocol::Udp, ports.udp), (Protocol::Tcp, ports.tcp)] {
        push_rule(&mut batch, place, "output", |rule| {
            rule.only_destination(RESOLVER.octets());
            rule.only_transport(protocol_number(protocol));
            rule.only_destination_port(DNS_PORT);
            rule.load_value(R0, &RESOLVER.octets());
            rule.load_value(R0 + 1, &port.to_be_bytes());
            // Not `redirect`: that leads to 127.0.0.1.
            rule.translate_destination(Ip::V4);
        });
    }
    if tracking == Tracking::ResolverOnly {
        for (chain, number) in [("raw-output", OUTPUT), ("raw-prerouting", PREROUTING)] {
            push_chain(&mut batch, place, chain, Some(&hook("filter", number, RAW)));
            // Questions go to that address, answers come from it.
            push_rule(&mut batch, place, chain, |rule| {
                rule.only_destination(RESOLVER.octets());
                rule.accept();
            });
            push_rule(&mut batch, place, chain, |rule| {
                rule.only_source(RESOLVER.octets());
                rule.accept();
            });
            push_rule(&mut batch, place, chain, |rule| rule.do_not_track());
        }
    }
    end(&mut batch);
    socket.commit(batch)
}
