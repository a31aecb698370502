//! The expressions that rules are made of.
//!
//! Registers are 16 pieces of four bytes, numbered from 8; number 1 is the first four of them.

use super::{Family, NEWRULE, NLM_F_APPEND, NLM_F_CREATE};
use crate::netlink::{Batch, Encoder, Step};

const RULE_TABLE: u16 = 1;
const RULE_CHAIN: u16 = 2;
const RULE_EXPRESSIONS: u16 = 4;
const LIST_ELEMENT: u16 = 1;
const EXPRESSION_NAME: u16 = 1;
const EXPRESSION_DATA: u16 = 2;
const DATA_VALUE: u16 = 1;
const DATA_VERDICT: u16 = 2;
const VERDICT_CODE: u16 = 1;
const VERDICT_CHAIN: u16 = 2;
const VERDICT_REGISTER: u32 = 0;

const DROP: i32 = 0;
const ACCEPT: i32 = 1;
const JUMP: i32 = -3;

const META_PROTOCOL: u32 = 1;
const META_IIFNAME: u32 = 6;
const META_OIFNAME: u32 = 7;
const META_NFPROTO: u32 = 15;
const META_L4PROTO: u32 = 16;

const LINK_HEADER: u32 = 0;
const NETWORK_HEADER: u32 = 1;
const TRANSPORT_HEADER: u32 = 2;

const FIB_ADDRESS_TYPE: u32 = 3;
const FIB_SOURCE: u32 = 1;
const FIB_DESTINATION: u32 = 2;
/// `RTN_LOCAL`.
const LOCAL: u32 = 2;

const CT_STATE: u32 = 0;
const CT_STATUS: u32 = 2;
const CT_ESTABLISHED_OR_RELATED: u32 = 2 | 4;
/// `IPS_DST_NAT`.
const CT_DNAT: u32 = 1 << 5;

const NAT_DESTINATION: u32 = 1;

/// The first register.
pub(super) const R0: u32 = 8;
const IPTABLES_REGISTER: u32 = 1;

/// A protocol of the network layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ip {
    V4,
    V6,
}

impl Ip {
    pub(super) fn number(self) -> u8 {
        match self {
            Self::V4 => 2,
            Self::V6 => 10,
        }
    }

    /// How many registers an address takes.
    pub(super) fn registers(self) -> u32 {
        match self {
            Self::V4 => 1,
            Self::V6 => 4,
        }
    }

    fn source_offset(self) -> u32 {
        match self {
            Self::V4 => 12,
            Self::V6 => 8,
        }
    }

    fn destination_offset(self) -> u32 {
        match self {
            Self::V4 => 16,
            Self::V6 => 24,
        }
    }
}

/// An end of a packet's way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Source,
    Destination,
}

/// Whether a set must hold the key or must not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Member {
    In,
    NotIn,
}

/// Appends one rule to a chain.
pub(super) fn push_rule(
    batch: &mut Batch,
    place: (Family, &str),
    chain: &str,
    body: impl FnOnce(&mut Rule<'_, '_>),
) {
    add_rule(batch, place, chain, NLM_F_CREATE | NLM_F_APPEND, body);
}

/// Puts one rule before all others of a chain.
pub(super) fn insert_rule(
    batch: &mut Batch,
    place: (Family, &str),
    chain: &str,
    body: impl FnOnce(&mut Rule<'_, '_>),
) {
    add_rule(batch, place, chain, NLM_F_CREATE, body);
}

fn add_rule(
    batch: &mut Batch,
    (family, table): (Family, &str),
    chain: &str,
    flags: u16,
    body: impl FnOnce(&mut Rule<'_, '_>),
) {
    let step = Step::new("add a rule to chain", format!("{table} {chain}"));
    batch.push((NEWRULE, flags), &family.header(), step, |rule| {
        rule.put_text(RULE_TABLE, table);
        rule.put_text(RULE_CHAIN, chain);
        rule.nest(RULE_EXPRESSIONS, |list| body(&mut Rule { list }));
    });
}

/// The expressions of one rule, in order.
pub(super) struct Rule<'a, 'b> {
    list: &'a mut Encoder<'b>,
}

impl Rule<'_, '_> {
    fn expression(&mut self, name: &str, body: impl FnOnce(&mut Encoder<'_>)) {
        self.list.nest(LIST_ELEMENT, |element| {
            element.put_text(EXPRESSION_NAME, name);
            element.nest(EXPRESSION_DATA, body);
        });
    }

    fn meta(&mut self, key: u32, register: u32) {
        self.expression("meta", |meta| {
            meta.put_be32(1, register);
            meta.put_be32(2, key);
        });
    }

    fn payload(&mut self, base: u32, (offset, length): (u32, u32), register: u32) {
        self.expression("payload", |payload| {
            payload.put_be32(1, register);
            payload.put_be32(2, base);
            payload.put_be32(3, offset);
            payload.put_be32(4, length);
        });
    }

    fn compare(&mut self, register: u32, operation: u32, value: &[u8]) {
        self.expression("cmp", |compare| {
            compare.put_be32(1, register);
            compare.put_be32(2, operation);
            compare.nest(3, |data| data.put(DATA_VALUE, value));
        });
    }

    fn equals(&mut self, register: u32, value: &[u8]) {
        self.compare(register, 0, value);
    }

    fn differs(&mut self, register: u32, value: &[u8]) {
        self.compare(register, 1, value);
    }

    fn mask(&mut self, register: u32, mask: &[u8]) {
        self.expression("bitwise", |bitwise| {
            bitwise.put_be32(1, register);
            bitwise.put_be32(2, register);
            bitwise.put_be32(3, mask.len() as u32);
            bitwise.nest(4, |data| data.put(DATA_VALUE, mask));
            bitwise.nest(5, |data| data.put(DATA_VALUE, &vec![0; mask.len()]));
        });
    }

    /// The key that begins at the first register.
    pub(super) fn lookup(&mut self, set: &str, member: Member) {
        self.expression("lookup", |lookup| {
            lookup.put_text(1, set);
            lookup.put_be32(2, R0);
            if member == Member::NotIn {
                lookup.put_be32(5, 1);
            }
        });
    }

    /// The same in a map, whose value replaces the key.
    pub(super) fn map(&mut self, map: &str) {
        self.expression("lookup", |lookup| {
            lookup.put_text(1, map);
            lookup.put_be32(2, R0);
            lookup.put_be32(3, R0);
        });
    }

    pub(super) fn load_input(&mut self, register: u32) {
        self.meta(META_IIFNAME, register);
    }

    /// As iptables writes it, with the first register of the old numbering.
    pub(super) fn load_input_as_iptables(&mut self) {
        self.meta(META_IIFNAME, IPTABLES_REGISTER);
    }

    /// As iptables writes it.
    pub(super) fn load_output_as_iptables(&mut self) {
        self.meta(META_OIFNAME, IPTABLES_REGISTER);
    }

    /// As iptables writes it: the name with its NUL, and nothing after.
    pub(super) fn named_as_iptables(&mut self, name: &[u8]) {
        self.compare(IPTABLES_REGISTER, 0, name);
    }

    /// Counts packets; iptables knows no rule without.
    pub(super) fn count(&mut self) {
        self.expression("counter", |counter| {
            counter.put(1, &0u64.to_be_bytes());
            counter.put(2, &0u64.to_be_bytes());
        });
    }

    pub(super) fn load_output(&mut self, register: u32) {
        self.meta(META_OIFNAME, register);
    }

    pub(super) fn load_family(&mut self, register: u32) {
        self.meta(META_NFPROTO, register);
    }

    pub(super) fn load_transport(&mut self, register: u32) {
        self.meta(META_L4PROTO, register);
    }

    pub(super) fn load_destination(&mut self, ip: Ip, register: u32) {
        let field = (ip.destination_offset(), ip.registers() * 4);
        self.payload(NETWORK_HEADER, field, register);
    }

    pub(super) fn load_source(&mut self, ip: Ip, register: u32) {
        let field = (ip.source_offset(), ip.registers() * 4);
        self.payload(NETWORK_HEADER, field, register);
    }

    pub(super) fn load_destination_port(&mut self, register: u32) {
        self.payload(TRANSPORT_HEADER, (2, 2), register);
    }

    /// The Ethernet source.
    pub(super) fn load_source_mac(&mut self, register: u32) {
        self.payload(LINK_HEADER, (6, 6), register);
    }

    /// The Ethernet destination.
    pub(super) fn load_destination_mac(&mut self, register: u32) {
        self.payload(LINK_HEADER, (0, 6), register);
    }

    /// The sender's hardware address within ARP.
    pub(super) fn load_arp_mac(&mut self, register: u32) {
        self.payload(NETWORK_HEADER, (8, 6), register);
    }

    /// The sender's IPv4 address within ARP.
    pub(super) fn load_arp_source(&mut self, register: u32) {
        self.payload(NETWORK_HEADER, (14, 4), register);
    }

    /// The address that a neighbour advertisement is about.
    pub(super) fn load_neighbour_target(&mut self, register: u32) {
        self.payload(TRANSPORT_HEADER, (8, 16), register);
    }

    pub(super) fn only_family(&mut self, ip: Ip) {
        self.meta(META_NFPROTO, R0);
        self.equals(R0, &[ip.number()]);
    }

    /// The Ethernet protocol, in tables of the bridge family.
    pub(super) fn only_protocol(&mut self, number: u16) {
        self.meta(META_PROTOCOL, R0);
        self.equals(R0, &number.to_be_bytes());
    }

    pub(super) fn only_transport(&mut self, number: u8) {
        self.meta(META_L4PROTO, R0);
        self.equals(R0, &[number]);
    }

    pub(super) fn only_icmp_kind(&mut self, kind: u8) {
        self.payload(TRANSPORT_HEADER, (0, 1), R0);
        self.equals(R0, &[kind]);
    }

    pub(super) fn only_destination(&mut self, address: [u8; 4]) {
        self.load_destination(Ip::V4, R0);
        self.equals(R0, &address);
    }

    pub(super) fn not_destination6(&mut self, address: [u8; 16]) {
        self.load_destination(Ip::V6, R0);
        self.differs(R0, &address);
    }

    /// `fe80::/10` has no way back through translation.
    pub(super) fn not_from_link_local(&mut self) {
        self.payload(NETWORK_HEADER, (Ip::V6.source_offset(), 2), R0);
        self.mask(R0, &[0xff, 0xc0]);
        self.differs(R0, &[0xfe, 0x80]);
    }

    pub(super) fn not_input(&mut self, name: &str) {
        let mut bytes = [0; 16];
        bytes[..name.len()].copy_from_slice(name.as_bytes());
        self.load_input(R0);
        self.differs(R0, &bytes);
    }

    pub(super) fn only_destination_port(&mut self, port: u16) {
        self.load_destination_port(R0);
        self.equals(R0, &port.to_be_bytes());
    }

    /// Source or destination within 127/8.
    pub(super) fn only_loopback(&mut self, end: End) {
        let offset = match end {
            End::Source => Ip::V4.source_offset(),
            End::Destination => Ip::V4.destination_offset(),
        };
        self.payload(NETWORK_HEADER, (offset, 1), R0);
        self.equals(R0, &[127]);
    }

    pub(super) fn only_to_this_host(&mut self) {
        self.fib(FIB_DESTINATION);
    }

    pub(super) fn only_from_this_host(&mut self) {
        self.fib(FIB_SOURCE);
    }

    fn fib(&mut self, of: u32) {
        self.expression("fib", |fib| {
            fib.put_be32(1, R0);
            fib.put_be32(2, FIB_ADDRESS_TYPE);
            fib.put_be32(3, of);
        });
        self.equals(R0, &LOCAL.to_ne_bytes());
    }

    pub(super) fn only_established(&mut self) {
        self.tracked(CT_STATE, CT_ESTABLISHED_OR_RELATED);
    }

    pub(super) fn only_translated(&mut self) {
        self.tracked(CT_STATUS, CT_DNAT);
    }

    fn tracked(&mut self, key: u32, bits: u32) {
        self.expression("ct", |ct| {
            ct.put_be32(1, R0);
            ct.put_be32(2, key);
        });
        self.mask(R0, &bits.to_ne_bytes());
        self.differs(R0, &[0; 4]);
    }

    pub(super) fn accept(&mut self) {
        self.verdict(ACCEPT, None);
    }

    pub(super) fn drop(&mut self) {
        self.verdict(DROP, None);
    }

    pub(super) fn jump(&mut self, chain: &str) {
        self.verdict(JUMP, Some(chain));
    }

    fn verdict(&mut self, code: i32, chain: Option<&str>) {
        self.expression("immediate", |immediate| {
            immediate.put_be32(1, VERDICT_REGISTER);
            immediate.nest(2, |data| {
                data.nest(DATA_VERDICT, |verdict| {
                    verdict.put_be32(VERDICT_CODE, code as u32);
                    if let Some(chain) = chain {
                        verdict.put_text(VERDICT_CHAIN, chain);
                    }
                });
            });
        });
    }

    pub(super) fn load_value(&mut self, register: u32, value: &[u8]) {
        self.expression("immediate", |immediate| {
            immediate.put_be32(1, register);
            immediate.nest(2, |data| data.put(DATA_VALUE, value));
        });
    }

    /// To the address in the first registers and the port in the one after.
    pub(super) fn translate_destination(&mut self, ip: Ip) {
        self.expression("nat", |nat| {
            nat.put_be32(1, NAT_DESTINATION);
            nat.put_be32(2, u32::from(ip.number()));
            nat.put_be32(3, R0);
            nat.put_be32(5, R0 + ip.registers());
        });
    }

    pub(super) fn masquerade(&mut self) {
        self.expression("masq", |_| {});
    }
}
