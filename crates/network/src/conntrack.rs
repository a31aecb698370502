//! Forgetting tracked flows: a UDP flow that began before a published port came or went would
//! keep going where it went.

use std::net::{IpAddr, SocketAddr};

use rustix::io::Errno;
use types::port::Protocol;

use crate::netlink::{Attributes, Batch, Encoder, NetlinkError, Reply, Socket, Step};
use crate::nft::HEADER_BYTES;
use crate::nft::elements::protocol_number;
use crate::route::{address_of, family};

const SUBSYSTEM: u16 = 1 << 8;
const CT_NEW: u16 = SUBSYSTEM;
const CT_GET: u16 = SUBSYSTEM | 1;
const CT_DELETE: u16 = SUBSYSTEM | 2;

const TUPLE_ORIGINAL: u16 = 1;
const TUPLE_REPLY: u16 = 2;
const CT_ID: u16 = 12;
const CT_ZONE: u16 = 18;
const CT_FILTER: u16 = 25;

const TUPLE_IP: u16 = 1;
const TUPLE_PROTOCOL: u16 = 2;
const IP_V4_SOURCE: u16 = 1;
const IP_V4_DESTINATION: u16 = 2;
const IP_V6_SOURCE: u16 = 3;
const IP_V6_DESTINATION: u16 = 4;
const PROTOCOL_NUMBER: u16 = 1;
const PROTOCOL_SOURCE_PORT: u16 = 2;
const PROTOCOL_DESTINATION_PORT: u16 = 3;

const FILTER_ORIGINAL_FLAGS: u16 = 1;
const FILTER_REPLY_FLAGS: u16 = 2;
const FILTER_BY_PROTOCOL: u32 = 1 << 3;

/// Which flows to forget.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flows {
    /// Those that were sent to this port of the host; an unspecified address stands for every one
    /// of its family. For a port that is published from now on.
    SentTo(SocketAddr),
    /// Those that this container's address and port answer. For a port that is no longer
    /// published.
    AnsweredBy(SocketAddr),
}

impl Flows {
    fn address(&self) -> SocketAddr {
        match self {
            Self::SentTo(address) | Self::AnsweredBy(address) => *address,
        }
    }
}

/// Deletes the entries of such flows of one protocol. Returns how many there were.
///
/// Kernels from 5.8 on list only entries of the protocol; everything is compared here again.
///
/// # Errors
/// The kernel's answer. A flow that ends meanwhile is fine.
pub fn forget(socket: &Socket, protocol: Protocol, flows: Flows) -> Result<usize, NetlinkError> {
    let number = protocol_number(protocol);
    let entries = match list(socket, flows, Some(number)) {
        Err(error) if matches!(error.errno(), Some(Errno::OPNOTSUPP | Errno::INVAL)) => {
            list(socket, flows, None)?
        }
        other => other?,
    };
    let header = [family(flows.address().ip()), 0, 0, 0];
    let mut forgotten = 0;
    for entry in entries
        .iter()
        .filter_map(|reply| matching(reply, number, flows))
    {
        let mut batch = Batch::new();
        let step =
            Step::new("forget flows to", flows.address().to_string()).unless(&[Errno::NOENT]);
        batch.push((CT_DELETE, 0), &header, step, |message| {
            for (kind, value) in &entry {
                message.put(*kind, value);
            }
        });
        socket.exchange(batch)?;
        forgotten += 1;
    }
    Ok(forgotten)
}

fn list(socket: &Socket, flows: Flows, only: Option<u8>) -> Result<Vec<Reply>, NetlinkError> {
    let header = [family(flows.address().ip()), 0, 0, 0];
    socket.dump(CT_GET, &header, "tracked flows", |message| {
        let Some(number) = only else { return };
        message.nest(TUPLE_ORIGINAL, |tuple: &mut Encoder<'_>| {
            tuple.nest(TUPLE_PROTOCOL, |protocol| {
                protocol.put_u8(PROTOCOL_NUMBER, number);
            });
        });
        message.nest(CT_FILTER, |filter| {
            filter.put_u32(FILTER_ORIGINAL_FLAGS, FILTER_BY_PROTOCOL);
            filter.put_u32(FILTER_REPLY_FLAGS, 0);
        });
    })
}

/// The attributes that name an entry, if it is one to forget.
fn matching(reply: &Reply, number: u8, flows: Flows) -> Option<Vec<(u16, Vec<u8>)>> {
    if reply.kind != CT_NEW {
        return None;
    }
    let find = |kind| Attributes::after(&reply.payload, HEADER_BYTES).find_kind(kind);
    let original = find(TUPLE_ORIGINAL)?;
    let tuple = match flows {
        Flows::SentTo(_) => parse_tuple(original.inner())?,
        Flows::AnsweredBy(_) => parse_tuple(find(TUPLE_REPLY)?.inner())?,
    };
    let wanted = flows.address();
    let found = match flows {
        Flows::SentTo(_) => tuple.destination,
        Flows::AnsweredBy(_) => tuple.source,
    };
    let same_address = found.ip() == wanted.ip()
        || wanted.ip().is_unspecified() && wanted.is_ipv4() == found.is_ipv4();
    if tuple.protocol != number || !same_address || found.port() != wanted.port() {
        return None;
    }
    const NESTED: u16 = 0x8000;
    let mut names = vec![(TUPLE_ORIGINAL | NESTED, original.value.to_vec())];
    // The zone is part of the name; the id makes sure that it is still the same entry.
    for kind in [CT_ZONE, CT_ID] {
        names.extend(find(kind).map(|found| (kind, found.value.to_vec())));
    }
    Some(names)
}

struct Tuple {
    protocol: u8,
    source: SocketAddr,
    destination: SocketAddr,
}

fn parse_tuple(tuple: Attributes<'_>) -> Option<Tuple> {
    let (mut source, mut destination) = (None, None);
    let mut transport = (None, None, None);
    for part in tuple {
        for field in part.inner() {
            match (part.kind, field.kind) {
                (TUPLE_IP, IP_V4_SOURCE | IP_V6_SOURCE) => source = address_of(field.value),
                (TUPLE_IP, IP_V4_DESTINATION | IP_V6_DESTINATION) => {
                    destination = address_of(field.value);
                }
                (TUPLE_PROTOCOL, PROTOCOL_NUMBER) => transport.0 = field.value.first().copied(),
                (TUPLE_PROTOCOL, PROTOCOL_SOURCE_PORT) => transport.1 = field.be16(),
                (TUPLE_PROTOCOL, PROTOCOL_DESTINATION_PORT) => transport.2 = field.be16(),
                _ => {}
            }
        }
    }
    let end = |address: Option<IpAddr>, port: Option<u16>| Some(SocketAddr::new(address?, port?));
    Some(Tuple {
        protocol: transport.0?,
        source: end(source, transport.1)?,
        destination: end(destination, transport.2)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::route::octets;

    fn entry(to: &str, answered_by: &str) -> Reply {
        let tuple = |encoder: &mut Encoder<'_>, kind, source: SocketAddr, to: SocketAddr| {
            encoder.nest(kind, |tuple| {
                tuple.nest(TUPLE_IP, |ip| {
                    ip.put(IP_V4_SOURCE, &octets(source.ip()));
                    ip.put(IP_V4_DESTINATION, &octets(to.ip()));
                });
                tuple.nest(TUPLE_PROTOCOL, |transport| {
                    transport.put_u8(PROTOCOL_NUMBER, 17);
                    transport.put(PROTOCOL_SOURCE_PORT, &source.port().to_be_bytes());
                    transport.put(PROTOCOL_DESTINATION_PORT, &to.port().to_be_bytes());
                });
            });
        };
        let client: SocketAddr = "198.51.100.1:5000".parse().unwrap();
        let mut batch = Batch::new();
        batch.push((CT_NEW, 0), &[2, 0, 0, 0], Step::new("", ""), |message| {
            tuple(message, TUPLE_ORIGINAL, client, to.parse().unwrap());
            tuple(message, TUPLE_REPLY, answered_by.parse().unwrap(), client);
        });
        Reply {
            kind: CT_NEW,
            payload: batch.payload_of_first(),
        }
    }

    #[test]
    fn flows_match_by_where_they_were_sent_or_who_answers() {
        let reply = entry("192.0.2.1:53", "172.17.0.2:5353");
        let sent = |text: &str| Flows::SentTo(text.parse().unwrap());
        let answered = |text: &str| Flows::AnsweredBy(text.parse().unwrap());
        let cases = [
            (sent("192.0.2.1:53"), 17, true),
            (sent("0.0.0.0:53"), 17, true),
            (sent("[::]:53"), 17, false),
            (sent("192.0.2.1:54"), 17, false),
            (sent("192.0.2.2:53"), 17, false),
            (sent("192.0.2.1:53"), 6, false),
            (answered("172.17.0.2:5353"), 17, true),
            (answered("172.17.0.2:53"), 17, false),
            (answered("192.0.2.1:53"), 17, false),
        ];
        for (flows, number, expected) in cases {
            let found = matching(&reply, number, flows).is_some();
            assert_eq!(found, expected, "{flows:?} {number}");
        }
    }
}
