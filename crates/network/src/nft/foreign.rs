//! Other programs' chains that may drop what we accept.
//!
//! A packet passes only if every chain of a hook lets it pass. Where another firewall's chain in
//! the forward hook drops by policy, accepting rules must be put where that firewall wants them:
//! the caller decides, this only looks.

use super::{GETCHAIN, GETRULE, HEADER_BYTES, NEWCHAIN, Table};
use crate::netlink::{Attributes, NetlinkError, Reply, Socket};

const RULE_TABLE: u16 = 1;
const RULE_CHAIN: u16 = 2;
const CHAIN_TABLE: u16 = 1;
const CHAIN_NAME: u16 = 3;
const CHAIN_HOOK: u16 = 4;
const CHAIN_POLICY: u16 = 5;
const HOOK_NUMBER: u16 = 1;
const HOOK_PRIORITY: u16 = 2;
const FORWARD: u32 = 2;
const POLICY_DROP: u32 = 0;

/// A chain of another program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForeignChain {
    /// The family of its table: `inet`, `ip` or `ip6`.
    pub family: &'static str,
    /// Its table.
    pub table: String,
    /// Its name.
    pub name: String,
    /// Its priority among the chains of the hook.
    pub priority: i32,
    /// Whether it drops what no rule decides.
    pub drops_by_policy: bool,
}

/// What stands in the way of forwarded packets, or may.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Foreign {
    /// Chains in the forward hook.
    pub forward: Vec<ForeignChain>,
    /// Tables that hold a chain `DOCKER-USER`, as (family, table).
    pub docker_user: Vec<(&'static str, String)>,
}

impl ForeignChain {
    /// Whether it is firewalld's.
    pub fn is_firewalld(&self) -> bool {
        self.table == "firewalld"
    }
}

impl Foreign {
    /// The chains that drop what no rule of theirs decides. That of firewalld says so in its last rule,
    /// not by its policy.
    pub fn dropping(&self) -> impl Iterator<Item = &ForeignChain> {
        let drops = |chain: &&ForeignChain| chain.drops_by_policy || chain.is_firewalld();
        self.forward.iter().filter(drops)
    }
}

/// Whether a rule of a chain names an interface: then its owner has been told of it.
///
/// # Errors
/// The kernel's answer.
pub fn mentions(
    socket: &Socket,
    chain: &ForeignChain,
    interface: &crate::link::InterfaceName,
) -> Result<bool, NetlinkError> {
    let name = interface.padded();
    // iptables compares as many bytes as the name has, and one more.
    let end = (interface.as_str().len() + 1).min(name.len());
    let replies = socket.dump(GETRULE, &[0; HEADER_BYTES], "rules of nftables", |_| {})?;
    let is_there = |reply: &Reply| {
        let find = |kind| Attributes::after(&reply.payload, HEADER_BYTES).find_kind(kind);
        let is = |kind: u16, text: &str| find(kind).is_some_and(|one| one.text() == text);
        is(RULE_TABLE, &chain.table)
            // firewalld names an interface where it sorts it into its zone.
            && (chain.is_firewalld() || is(RULE_CHAIN, &chain.name))
            && reply
                .payload
                .windows(end)
                .any(|window| window == &name[..end])
    };
    Ok(replies.iter().any(is_there))
}

/// Looks at every chain but ours, in this thread's network namespace.
///
/// # Errors
/// The kernel's answer.
pub fn foreign(socket: &Socket, ours: &Table) -> Result<Foreign, NetlinkError> {
    let mut foreign = Foreign::default();
    let replies = socket.dump(GETCHAIN, &[0; HEADER_BYTES], "chains of nftables", |_| {})?;
    for chain in replies.iter().filter_map(parse) {
        if chain.table == ours.name() {
            continue;
        }
        if chain.name == "DOCKER-USER" {
            foreign.docker_user.push((chain.family, chain.table));
        } else if let Some(priority) = chain.forward_priority {
            foreign.forward.push(ForeignChain {
                family: chain.family,
                table: chain.table,
                name: chain.name,
                priority,
                drops_by_policy: chain.drops_by_policy,
            });
        }
    }
    Ok(foreign)
}

struct Chain {
    family: &'static str,
    table: String,
    name: String,
    forward_priority: Option<i32>,
    drops_by_policy: bool,
}

fn parse(reply: &Reply) -> Option<Chain> {
    if reply.kind != NEWCHAIN {
        return None;
    }
    let family = match reply.payload.first()? {
        1 => "inet",
        2 => "ip",
        10 => "ip6",
        _ => return None,
    };
    let find = |kind| Attributes::after(&reply.payload, HEADER_BYTES).find_kind(kind);
    let hook = find(CHAIN_HOOK).map(|hook| {
        let number = |kind| hook.inner().find_kind(kind).and_then(|it| it.be32());
        (number(HOOK_NUMBER), number(HOOK_PRIORITY))
    });
    let forward_priority = match hook {
        Some((Some(FORWARD), Some(priority))) => Some(priority as i32),
        _ => None,
    };
    Some(Chain {
        family,
        table: find(CHAIN_TABLE)?.text(),
        name: find(CHAIN_NAME)?.text(),
        forward_priority,
        drops_by_policy: find(CHAIN_POLICY).and_then(|policy| policy.be32()) == Some(POLICY_DROP),
    })
}
