//! The rules of a store's tables.
//!
//! What a packet meets, in table `inet`:
//!
//! | chain | what it does |
//! |---|---|
//! | `raw` | from or to 127/8 from anywhere but `lo`: dropped (CVE-2020-8558: `route_localnet` is on for our bridges, and a port published on 127.0.0.1 is not the neighbours') |
//! | `prerouting`, `output` → `published` | to this host: a published port becomes a container's address and port |
//! | `forward` | see [`push_forward`] |
//! | `postrouting` | masquerades what leaves a network, what comes back into its own network by a published port, and what this host sends to a published port (its 127.0.0.1 means nothing inside) |
//!
//! Only drops count against other firewalls: an accept of ours cannot undo their drop. `[::1]` is
//! left alone, for it cannot be translated: the monitor listens there.

use super::Family;
use super::expression::{End, Ip, Member, R0, Rule, push_rule};
use super::skeleton::{
    ANY4, ANY6, BRIDGES, GATEWAYS, GUARDED, GUARDED_FAMILIES, HAIRPINS4, HAIRPINS6, HOST_ONLY,
    INTERNAL, MASQUERADE4, MASQUERADE6, PORTS4, PORTS6, SAME, SOURCES4, SOURCES6, VETHS, WITHIN,
};
use crate::netlink::Batch;

pub(super) fn push_rules(batch: &mut Batch, family: Family, table: &str) {
    if family == Family::Bridge {
        push_sources(batch, (family, table));
        push_host_only(batch, (family, table));
        return;
    }
    let place = (family, table);
    push_raw(batch, place);
    for chain in ["prerouting", "output"] {
        push_rule(batch, place, chain, |rule| {
            rule.only_to_this_host();
            rule.jump("published");
        });
    }
    push_published(batch, place);
    push_forward(batch, place);
    push_postrouting(batch, place);
}

fn push_raw(batch: &mut Batch, place: (Family, &str)) {
    for ip_end in [End::Destination, End::Source] {
        push_rule(batch, place, "raw", |rule| {
            rule.only_family(Ip::V4);
            // First what nearly no packet passes, and costs less than an interface's name.
            rule.only_loopback(ip_end);
            rule.not_input("lo");
            rule.drop();
        });
    }
}

fn push_published(batch: &mut Batch, place: (Family, &str)) {
    for (ip, ports, any) in [(Ip::V4, PORTS4, ANY4), (Ip::V6, PORTS6, ANY6)] {
        let only = |rule: &mut Rule<'_, '_>| {
            rule.only_family(ip);
            if ip == Ip::V6 {
                rule.not_destination6(std::net::Ipv6Addr::LOCALHOST.octets());
                rule.not_from_link_local();
            }
        };
        push_rule(batch, place, "published", |rule| {
            only(rule);
            let after = R0 + ip.registers();
            rule.load_destination(ip, R0);
            rule.load_transport(after);
            rule.load_destination_port(after + 1);
            rule.map(ports);
            rule.translate_destination(ip);
        });
        push_rule(batch, place, "published", |rule| {
            only(rule);
            rule.load_transport(R0);
            rule.load_destination_port(R0 + 1);
            rule.map(any);
            rule.translate_destination(ip);
        });
    }
}

/// What may be forwarded. The order is the meaning:
/// within a network; nothing else into or out of an internal one; answers; published ports, from
/// wherever; nothing else into our networks; whatever else out of them; and where forwarding is on
/// only because we switched it on, nothing else at all.
fn push_forward(batch: &mut Batch, place: (Family, &str)) {
    let mut add = |body: &dyn Fn(&mut Rule<'_, '_>)| push_rule(batch, place, "forward", body);
    let from = |rule: &mut Rule<'_, '_>, set: &str| {
        rule.load_input(R0);
        rule.lookup(set, Member::In);
    };
    let to = |rule: &mut Rule<'_, '_>, set: &str| {
        rule.load_output(R0);
        rule.lookup(set, Member::In);
    };
    add(&|rule| {
        load_pair(rule);
        rule.lookup(WITHIN, Member::In);
        rule.accept();
    });
    add(&|rule| {
        from(rule, INTERNAL);
        rule.drop();
    });
    add(&|rule| {
        to(rule, INTERNAL);
        rule.drop();
    });
    add(&|rule| {
        rule.only_established();
        rule.accept();
    });
    add(&|rule| {
        rule.only_translated();
        rule.accept();
    });
    add(&|rule| {
        to(rule, BRIDGES);
        rule.drop();
    });
    add(&|rule| {
        from(rule, BRIDGES);
        rule.accept();
    });
    // IPv4 forwarding is switched on per interface, IPv6 for all at once.
    add(&|rule| {
        rule.only_family(Ip::V4);
        from(rule, GUARDED);
        rule.drop();
    });
    add(&|rule| {
        rule.load_family(R0);
        rule.lookup(GUARDED_FAMILIES, Member::In);
        rule.drop();
    });
}

/// Input and output interface as one key.
fn load_pair(rule: &mut Rule<'_, '_>) {
    rule.load_input(R0);
    rule.load_output(R0 + 4);
}

fn push_postrouting(batch: &mut Batch, place: (Family, &str)) {
    // By address, not by input interface: br_netfilter translates on the bridge, and such a packet
    // has no input interface here.
    for (ip, set) in [(Ip::V4, HAIRPINS4), (Ip::V6, HAIRPINS6)] {
        push_rule(batch, place, "postrouting", |rule| {
            rule.only_family(ip);
            rule.only_translated();
            rule.load_source(ip, R0);
            rule.load_output(R0 + ip.registers());
            rule.lookup(set, Member::In);
            rule.masquerade();
        });
    }
    push_rule(batch, place, "postrouting", |rule| {
        rule.only_translated();
        rule.load_output(R0);
        rule.lookup(BRIDGES, Member::In);
        rule.only_from_this_host();
        rule.masquerade();
    });
    for (ip, set) in [(Ip::V4, MASQUERADE4), (Ip::V6, MASQUERADE6)] {
        push_rule(batch, place, "postrouting", |rule| {
            rule.only_family(ip);
            rule.load_input(R0);
            rule.lookup(set, Member::In);
            load_pair(rule);
            rule.lookup(SAME, Member::NotIn);
            rule.masquerade();
        });
    }
}

const ETH_IPV4: u16 = 0x0800;
const ETH_ARP: u16 = 0x0806;
const ETH_IPV6: u16 = 0x86dd;
const ICMPV6: u8 = 58;
const ROUTER_SOLICITATION: u8 = 133;
const ROUTER_ADVERTISEMENT: u8 = 134;
const NEIGHBOUR_SOLICITATION: u8 = 135;
const NEIGHBOUR_ADVERTISEMENT: u8 = 136;
const REDIRECT: u8 = 137;

/// What a veth may send, in table `bridge`: IPv4, ARP and IPv6 that carry its own addresses, and
/// neither router advertisements nor redirects, also in pieces. It runs before the bridge learns a hardware
/// address, so that a neighbour's cannot be taken over either. Veths that are in none of the sets
/// (other programs', and containers that were given the right) pass.
fn push_sources(batch: &mut Batch, place: (Family, &str)) {
    // The hardware address takes two registers, the second half empty.
    const MAC: u32 = R0 + 4;
    const ADDRESS: u32 = R0 + 6;
    let mut add = |body: &dyn Fn(&mut Rule<'_, '_>)| push_rule(batch, place, "sources", body);
    add(&|rule| {
        rule.only_protocol(ETH_IPV4);
        rule.load_input(R0);
        rule.load_source_mac(MAC);
        rule.load_source(Ip::V4, ADDRESS);
        rule.lookup(SOURCES4, Member::In);
        rule.accept();
    });
    add(&|rule| {
        rule.load_input(R0);
        rule.lookup(VETHS, Member::NotIn);
        rule.accept();
    });
    add(&|rule| {
        rule.only_protocol(ETH_ARP);
        rule.load_input(R0);
        rule.load_source_mac(MAC);
        rule.load_arp_source(ADDRESS);
        rule.lookup(SOURCES4, Member::In);
        rule.load_arp_mac(MAC);
        rule.lookup(SOURCES4, Member::In);
        rule.accept();
    });
    for kind in [ROUTER_ADVERTISEMENT, REDIRECT] {
        add(&|rule| {
            rule.only_protocol(ETH_IPV6);
            rule.only_transport(ICMPV6);
            rule.only_icmp_kind(kind);
            rule.drop();
        });
    }
    let own_source = |rule: &mut Rule<'_, '_>| {
        rule.load_input(R0);
        rule.load_source_mac(MAC);
        rule.load_source(Ip::V6, ADDRESS);
        rule.lookup(SOURCES6, Member::In);
    };
    let advertisement = |rule: &mut Rule<'_, '_>| {
        rule.only_protocol(ETH_IPV6);
        rule.only_transport(ICMPV6);
        rule.only_icmp_kind(NEIGHBOUR_ADVERTISEMENT);
    };
    add(&|rule| {
        advertisement(rule);
        own_source(rule);
        rule.load_neighbour_target(ADDRESS);
        rule.lookup(SOURCES6, Member::In);
        rule.accept();
    });
    // For another, or cut before it says for whom: a host that tracks connections puts its fragments
    // together and believes it.
    add(&|rule| {
        advertisement(rule);
        rule.drop();
    });
    add(&|rule| {
        rule.only_protocol(ETH_IPV6);
        own_source(rule);
        // Does not go on where it is not seen what a packet is: a fragment amid its headers.
        rule.load_transport(R0);
        rule.accept();
    });
    add(&|rule| rule.drop());
}

/// A veth of a network without traffic between containers speaks to the host's hardware address,
/// beside the questions that find it. Not by the bridge's own isolation of ports: with br_netfilter
/// that would also stop what was translated on the bridge, a neighbour's published port.
fn push_host_only(batch: &mut Batch, place: (Family, &str)) {
    let mut add = |body: &dyn Fn(&mut Rule<'_, '_>)| push_rule(batch, place, "hostonly", body);
    add(&|rule| {
        rule.load_input(R0);
        rule.lookup(HOST_ONLY, Member::NotIn);
        rule.accept();
    });
    add(&|rule| {
        rule.load_input(R0);
        rule.load_destination_mac(R0 + 4);
        rule.lookup(GATEWAYS, Member::In);
        rule.accept();
    });
    add(&|rule| {
        rule.only_protocol(ETH_ARP);
        rule.accept();
    });
    for kind in [
        ROUTER_SOLICITATION,
        NEIGHBOUR_SOLICITATION,
        NEIGHBOUR_ADVERTISEMENT,
    ] {
        add(&|rule| {
            rule.only_protocol(ETH_IPV6);
            rule.only_transport(ICMPV6);
            rule.only_icmp_kind(kind);
            rule.accept();
        });
    }
    add(&|rule| rule.drop());
}
