//! A way through iptables' forward chain: its drop wins over our accept, so where it drops what no
//! rule decides, it is told to accept what comes from and goes to a bridge of ours. What may really
//! pass is for our own tables to say: an accept there is no accept here.
//!
//! The rules are what `iptables -I CHAIN -i BRIDGE -j ACCEPT` makes; `iptables -S` shows them.

use rustix::io::Errno;

use super::expression::{Rule, insert_rule};
use super::foreign::{Foreign, ForeignChain, foreign};
use super::{DELRULE, Family, GETRULE, HEADER_BYTES, Table, begin, end};
use crate::link::InterfaceName;
use crate::netlink::{Attributes, NetlinkError, Reply, Socket, Step};

const RULE_TABLE: u16 = 1;
const RULE_CHAIN: u16 = 2;
const RULE_HANDLE: u16 = 3;
/// Where Docker leaves room for rules of others.
const USER_CHAIN: &str = "DOCKER-USER";
const FORWARD_CHAIN: &str = "FORWARD";
const FAMILIES: [(&str, Family); 2] = [("ip", Family::Ipv4), ("ip6", Family::Ipv6)];

/// Lets packets of bridges through; returns the chains that still drop them, because they are not
/// iptables'.
///
/// # Errors
/// The kernel's answer.
pub fn make_way(
    socket: &Socket,
    ours: &Table,
    bridges: &[&InterfaceName],
) -> Result<Vec<ForeignChain>, NetlinkError> {
    let found = foreign(socket, ours)?;
    let mut left = Vec::new();
    for chain in found.dropping() {
        let family = FAMILIES.iter().find(|(name, _)| *name == chain.family);
        let is_iptables = chain.table == "filter" && chain.name == FORWARD_CHAIN;
        match family {
            Some((_, family)) if is_iptables => {
                let place = (
                    *family,
                    chain.table.as_str(),
                    chain_for_others(&found, chain),
                );
                for bridge in bridges {
                    if ways(socket, place, bridge)?.is_empty() {
                        open(socket, place, bridge)?;
                    }
                }
            }
            _ => left.push(chain.clone()),
        }
    }
    Ok(left)
}

/// Takes back what [`make_way`] made. Chains and rules that are not there are fine.
///
/// # Errors
/// The kernel's answer.
pub fn close_way(socket: &Socket, bridge: &InterfaceName) -> Result<(), NetlinkError> {
    for (_, family) in FAMILIES {
        for chain in [USER_CHAIN, FORWARD_CHAIN] {
            let place = (family, "filter", chain);
            for handle in ways(socket, place, bridge)? {
                remove(socket, place, handle)?;
            }
        }
    }
    Ok(())
}

fn chain_for_others(found: &Foreign, chain: &ForeignChain) -> &'static str {
    let has_room =
        |(family, table): &(&str, String)| *family == chain.family && *table == chain.table;
    match found.docker_user.iter().any(has_room) {
        true => USER_CHAIN,
        false => FORWARD_CHAIN,
    }
}

type Place<'a> = (Family, &'a str, &'a str);

fn open(
    socket: &Socket,
    (family, table, chain): Place<'_>,
    bridge: &InterfaceName,
) -> Result<(), NetlinkError> {
    let name = terminated(bridge);
    let mut batch = begin();
    let load: [fn(&mut Rule<'_, '_>); 2] = [
        |rule| rule.load_input_as_iptables(),
        |rule| {
            rule.load_output_as_iptables();
        },
    ];
    for load in load {
        insert_rule(&mut batch, (family, table), chain, |rule| {
            load(rule);
            rule.named_as_iptables(&name);
            rule.count();
            rule.accept();
        });
    }
    end(&mut batch);
    socket.commit(batch)
}

/// Handles of the rules that name a bridge.
fn ways(
    socket: &Socket,
    (family, table, chain): Place<'_>,
    bridge: &InterfaceName,
) -> Result<Vec<u64>, NetlinkError> {
    let name = terminated(bridge);
    let asked = socket.dump(GETRULE, &family.header(), "rules of nftables", |body| {
        body.put_text(RULE_TABLE, table);
        body.put_text(RULE_CHAIN, chain);
    });
    let replies = match asked {
        Err(error) if error.errno() == Some(Errno::NOENT) => return Ok(Vec::new()),
        other => other?,
    };
    let handle = |reply: &Reply| {
        let find = |kind| Attributes::after(&reply.payload, HEADER_BYTES).find_kind(kind);
        let is = |kind, text: &str| find(kind).is_some_and(|one| one.text() == text);
        let names_it = || {
            reply
                .payload
                .windows(name.len())
                .any(|window| window == name)
        };
        if !(is(RULE_TABLE, table) && is(RULE_CHAIN, chain) && names_it()) {
            return None;
        }
        find(RULE_HANDLE)?.be64()
    };
    Ok(replies.iter().filter_map(handle).collect())
}

fn remove(
    socket: &Socket,
    (family, table, chain): Place<'_>,
    handle: u64,
) -> Result<(), NetlinkError> {
    let mut batch = begin();
    let step =
        Step::new("remove a rule from chain", format!("{table} {chain}")).unless(&[Errno::NOENT]);
    batch.push((DELRULE, 0), &family.header(), step, |rule| {
        rule.put_text(RULE_TABLE, table);
        rule.put_text(RULE_CHAIN, chain);
        rule.put(RULE_HANDLE, &handle.to_be_bytes());
    });
    end(&mut batch);
    socket.commit(batch)
}

/// The name with its NUL: iptables compares exactly so many bytes.
fn terminated(bridge: &InterfaceName) -> Vec<u8> {
    let mut name = bridge.as_str().as_bytes().to_vec();
    name.push(0);
    name
}
