//! As [`crate::resolver`], for kernels without its programs: rules within the container, which make the kernel
//! track its connections.

use types::port::Protocol;

use super::elements::protocol_number;
use super::expression::{Ip, R0, push_rule};
use super::skeleton::{DSTNAT, Hook, OUTPUT, push_chain};
use super::{DELTABLE, Family, begin, end, push_table};
use crate::netlink::{Batch, NetlinkError, Socket, Step};
use crate::resolver::{DNS_PORT, RESOLVER, ResolverPorts};

const TABLE: &str = "caisson-resolver";

/// Leads the name server's port to the monitor's; what was there before is replaced. `socket` is
/// one of the container's namespace ([`crate::route::netfilter_in_namespace`]). One transaction.
///
/// # Errors
/// The first step that the kernel refused; then nothing has changed.
pub fn redirect(socket: &Socket, ports: ResolverPorts) -> Result<(), NetlinkError> {
    let place = (Family::Ipv4, TABLE);
    let mut batch = begin();
    push_removal(&mut batch);
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
    end(&mut batch);
    socket.commit(batch)
}

/// Takes the rules away where there are any.
///
/// # Errors
/// The kernel's refusal.
pub fn remove(socket: &Socket) -> Result<(), NetlinkError> {
    let mut batch = begin();
    push_removal(&mut batch);
    end(&mut batch);
    socket.commit(batch)
}

/// Makes it first, as what is not there cannot be deleted.
fn push_removal(batch: &mut Batch) {
    push_table(batch, Family::Ipv4, TABLE, None);
    let step = Step::new("delete table", TABLE);
    batch.push((DELTABLE, 0), &Family::Ipv4.header(), step, |table| {
        table.put_text(1, TABLE)
    });
}
