//! The sets and chains of a store's tables. They hold no names and no addresses of their own: those
//! are elements. What the chains hold is in [`super::rules`].

use super::{Family, NEWCHAIN, NEWSET, NLM_F_CREATE};
use crate::netlink::{Batch, Step};

pub(super) const BRIDGES: &str = "bridges";
pub(super) const INTERNAL: &str = "internal";
/// Pairs of one bridge with itself, where its ports may talk.
pub(super) const WITHIN: &str = "within";
/// Pairs of one bridge with itself, always.
pub(super) const SAME: &str = "same";
/// A network's addresses with its bridge.
pub(super) const HAIRPINS4: &str = "hairpins4";
pub(super) const HAIRPINS6: &str = "hairpins6";
pub(super) const MASQUERADE4: &str = "masquerade4";
pub(super) const MASQUERADE6: &str = "masquerade6";
pub(super) const GUARDED: &str = "guarded";
pub(super) const GUARDED_FAMILIES: &str = "guarded_families";
pub(super) const PORTS4: &str = "ports4";
pub(super) const PORTS6: &str = "ports6";
pub(super) const ANY4: &str = "any4";
pub(super) const ANY6: &str = "any6";
pub(super) const VETHS: &str = "veths";
pub(super) const SOURCES4: &str = "sources4";
pub(super) const SOURCES6: &str = "sources6";
/// Veths that talk to the host only, and the host's hardware address for each.
pub(super) const HOST_ONLY: &str = "hostonly";
pub(super) const GATEWAYS: &str = "gateways";

// Types as `nft` numbers them, so that it can print our elements; concatenations are joined by
// sixes of bits.
const NFPROTO: u32 = 2;
const IPV4: u32 = 7;
const IPV6: u32 = 8;
const ETHER: u32 = 9;
const PROTOCOL: u32 = 12;
const PORT: u32 = 13;
const IFNAME: u32 = 41;

const fn joined(types: &[u32]) -> u32 {
    let mut all = 0;
    let mut index = 0;
    while index < types.len() {
        all = all << 6 | types[index];
        index += 1;
    }
    all
}

/// A set, or a map where it has data: name, key's type and length, data's type and length.
struct SetKind {
    name: &'static str,
    key: (u32, u32),
    data: Option<(u32, u32)>,
    /// Where keys are ranges: the lengths of their fields.
    ranges: &'static [u32],
}

const fn set(name: &'static str, types: &[u32], length: u32) -> SetKind {
    SetKind {
        name,
        key: (joined(types), length),
        data: None,
        ranges: &[],
    }
}

const fn ranges(name: &'static str, types: &[u32], length: u32, fields: &'static [u32]) -> SetKind {
    SetKind {
        name,
        key: (joined(types), length),
        data: None,
        ranges: fields,
    }
}

const fn map(name: &'static str, types: &[u32], length: u32, data: (u32, u32)) -> SetKind {
    SetKind {
        name,
        key: (joined(types), length),
        data: Some(data),
        ranges: &[],
    }
}

const TO4: (u32, u32) = (joined(&[IPV4, PORT]), 8);
const TO6: (u32, u32) = (joined(&[IPV6, PORT]), 20);

const INET_SETS: [SetKind; 14] = [
    set(BRIDGES, &[IFNAME], 16),
    set(INTERNAL, &[IFNAME], 16),
    set(WITHIN, &[IFNAME, IFNAME], 32),
    set(SAME, &[IFNAME, IFNAME], 32),
    ranges(HAIRPINS4, &[IPV4, IFNAME], 20, &[4, 16]),
    ranges(HAIRPINS6, &[IPV6, IFNAME], 32, &[16, 16]),
    set(MASQUERADE4, &[IFNAME], 16),
    set(MASQUERADE6, &[IFNAME], 16),
    set(GUARDED, &[IFNAME], 16),
    set(GUARDED_FAMILIES, &[NFPROTO], 1),
    map(PORTS4, &[IPV4, PROTOCOL, PORT], 12, TO4),
    map(PORTS6, &[IPV6, PROTOCOL, PORT], 24, TO6),
    map(ANY4, &[PROTOCOL, PORT], 8, TO4),
    map(ANY6, &[PROTOCOL, PORT], 8, TO6),
];

const BRIDGE_SETS: [SetKind; 5] = [
    set(VETHS, &[IFNAME], 16),
    set(SOURCES4, &[IFNAME, ETHER, IPV4], 28),
    set(SOURCES6, &[IFNAME, ETHER, IPV6], 40),
    set(HOST_ONLY, &[IFNAME], 16),
    set(GATEWAYS, &[IFNAME, ETHER], 24),
];

pub(super) fn push_sets(batch: &mut Batch, family: Family, table: &str) {
    const FLAG_INTERVAL: u32 = 4;
    const FLAG_MAP: u32 = 8;
    const FLAG_CONCATENATED: u32 = 0x80;
    // Tag 0, four bytes, 1 in this machine's order.
    const KEY_IN_HOST_ORDER: [u8; 6] = {
        let [a, b, c, d] = 1u32.to_ne_bytes();
        [0, 4, a, b, c, d]
    };
    let sets: &[SetKind] = match family {
        Family::Bridge => &BRIDGE_SETS,
        Family::Inet | Family::Ipv4 | Family::Ipv6 => &INET_SETS,
    };
    for (id, kind) in (1..).zip(sets) {
        let step = Step::new("create set", format!("{table} {}", kind.name));
        batch.push((NEWSET, NLM_F_CREATE), &family.header(), step, |body| {
            body.put_text(1, table);
            body.put_text(2, kind.name);
            body.put_be32(
                3,
                match (kind.data, kind.ranges) {
                    (Some(_), _) => FLAG_MAP,
                    (None, []) => 0,
                    (None, _) => FLAG_INTERVAL | FLAG_CONCATENATED,
                },
            );
            body.put_be32(4, kind.key.0);
            body.put_be32(5, kind.key.1);
            if let Some((of, length)) = kind.data {
                body.put_be32(6, of);
                body.put_be32(7, length);
            }
            if kind.key.0 == IFNAME {
                // For `nft` only: names are bytes in this machine's order, or it prints nothing.
                body.put(13, &KEY_IN_HOST_ORDER);
            }
            if !kind.ranges.is_empty() {
                body.nest(9, |description| {
                    description.nest(2, |fields| {
                        for length in kind.ranges {
                            fields.nest(1, |field| field.put_be32(1, *length));
                        }
                    });
                });
            }
            body.put_be32(10, id);
        });
    }
}

/// Where a chain is hooked in.
pub(super) struct Hook {
    pub(super) kind: &'static str,
    pub(super) number: u32,
    pub(super) priority: i32,
}

pub(super) const PREROUTING: u32 = 0;
const FORWARD: u32 = 2;
pub(super) const OUTPUT: u32 = 3;
const POSTROUTING: u32 = 4;
pub(super) const RAW: i32 = -300;
pub(super) const DSTNAT: i32 = -100;
const FILTER: i32 = 0;
const SRCNAT: i32 = 100;

const fn hook(kind: &'static str, number: u32, priority: i32) -> Option<Hook> {
    Some(Hook {
        kind,
        number,
        priority,
    })
}

const INET_CHAINS: [(&str, Option<Hook>); 6] = [
    ("published", None),
    ("raw", hook("filter", PREROUTING, RAW)),
    ("prerouting", hook("nat", PREROUTING, DSTNAT)),
    ("output", hook("nat", OUTPUT, DSTNAT)),
    ("forward", hook("filter", FORWARD, FILTER)),
    ("postrouting", hook("nat", POSTROUTING, SRCNAT)),
];

const BRIDGE_CHAINS: [(&str, Option<Hook>); 2] = [
    ("sources", hook("filter", PREROUTING, RAW)),
    ("hostonly", hook("filter", PREROUTING, RAW + 1)),
];

pub(super) fn push_chains(batch: &mut Batch, family: Family, table: &str) {
    let chains: &[_] = match family {
        Family::Bridge => &BRIDGE_CHAINS,
        Family::Inet | Family::Ipv4 | Family::Ipv6 => &INET_CHAINS,
    };
    for (name, hook) in chains {
        push_chain(batch, (family, table), name, hook.as_ref());
    }
}

pub(super) fn push_chain(
    batch: &mut Batch,
    (family, table): (Family, &str),
    name: &str,
    hook: Option<&Hook>,
) {
    const POLICY_ACCEPT: u32 = 1;
    let step = Step::new("create chain", format!("{table} {name}"));
    batch.push((NEWCHAIN, NLM_F_CREATE), &family.header(), step, |chain| {
        chain.put_text(1, table);
        chain.put_text(3, name);
        if let Some(hook) = hook {
            chain.nest(4, |place| {
                place.put_be32(1, hook.number);
                place.put_be32(2, hook.priority as u32);
            });
            chain.put_be32(5, POLICY_ACCEPT);
            chain.put_text(7, hook.kind);
        }
    });
}
