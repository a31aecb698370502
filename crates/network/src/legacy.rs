//! The tables of iptables' old variant (`iptables-legacy`), which nftables does not show: read, and
//! never written.
//!
//! ```text
//! GET_INFO     name 32 · valid hooks 4 · entries of 5 hooks 20 · underflows of 5 hooks 20 · count 4 · size 4
//! GET_ENTRIES  name 32 · size 4 · padding 4 · entries: … target offset 2 · next offset 2 …
//! target       size 2 · name 29 · revision 1 · verdict 4, where the name is empty
//! ```
//! The underflow of a hook is where its policy lies. Tested against the tool itself in
//! `tests/kernel/firewall.rs`.

use std::os::fd::OwnedFd;

use rustix::net::{AddressFamily, Protocol, SocketFlags, SocketType, ipproto};

use crate::link::InterfaceName;

const NAME_BYTES: usize = 32;
const INFO_BYTES: usize = 84;
const UNDERFLOW_AT: usize = 56;
const SIZE_AT: usize = 80;
const HEADER_BYTES: usize = 40;
const GET_INFO: i32 = 64;
const GET_ENTRIES: i32 = 65;
const FORWARD: usize = 2;
/// Before an entry's two offsets, of either family.
const OFFSETS_AT: [usize; 2] = [88, 140];
const VERDICT_AT: usize = 32;
const VERDICT_DROP: i32 = -1;
/// A host with more has another trouble.
const TABLE_BYTES_MAX: usize = 64 << 20;

/// Its families.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// `iptables-legacy`.
    Ipv4,
    /// `ip6tables-legacy`.
    Ipv6,
}

impl Family {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Ipv4, Self::Ipv6];

    /// The host's tool for it.
    pub fn tool(self) -> &'static str {
        match self {
            Self::Ipv4 => "iptables-legacy",
            Self::Ipv6 => "ip6tables-legacy",
        }
    }

    /// Whether its filter table is there; asking for one that is not would make it.
    fn has_filter(self) -> bool {
        let path = match self {
            Self::Ipv4 => "/proc/thread-self/net/ip_tables_names",
            Self::Ipv6 => "/proc/thread-self/net/ip6_tables_names",
        };
        let names = sys::host::read_text(path);
        names.lines().any(|line| line == "filter")
    }

    fn open(self) -> Option<(OwnedFd, i32)> {
        const LEVELS: [i32; 2] = [0, 41];
        let (family, level) = match self {
            Self::Ipv4 => (AddressFamily::INET, LEVELS[0]),
            Self::Ipv6 => (AddressFamily::INET6, LEVELS[1]),
        };
        let protocol: Option<Protocol> = Some(ipproto::RAW);
        let socket =
            rustix::net::socket_with(family, SocketType::RAW, SocketFlags::CLOEXEC, protocol);
        Some((socket.ok()?, level))
    }
}

/// A filter table of the old variant.
#[derive(Clone, Debug)]
pub struct Filter {
    family: Family,
    /// Where the policy of FORWARD lies among the entries.
    policy_at: usize,
    entries: Vec<u8>,
}

impl Filter {
    /// Reads it; `None` where there is none, or it cannot be read.
    pub fn read(family: Family) -> Option<Self> {
        if !family.has_filter() {
            return None;
        }
        let (socket, level) = family.open()?;
        let mut info = [0; INFO_BYTES];
        info[..6].copy_from_slice(b"filter");
        sys::socket::option(&socket, level, GET_INFO, &mut info).ok()?;
        let size = number(&info, SIZE_AT)? as usize;
        if size > TABLE_BYTES_MAX {
            return None;
        }
        let mut table = vec![0; HEADER_BYTES + size];
        table[..6].copy_from_slice(b"filter");
        table[NAME_BYTES..NAME_BYTES + 4].copy_from_slice(&(size as u32).to_ne_bytes());
        sys::socket::option(&socket, level, GET_ENTRIES, &mut table).ok()?;
        table.drain(..HEADER_BYTES);
        Some(Self {
            family,
            policy_at: number(&info, UNDERFLOW_AT + 4 * FORWARD)? as usize,
            entries: table,
        })
    }

    /// Whether FORWARD drops what no rule decides.
    pub fn drops_forwarded(&self) -> bool {
        self.forward_policy() == Some(VERDICT_DROP)
    }

    fn forward_policy(&self) -> Option<i32> {
        let entry = self.entries.get(self.policy_at..)?;
        let at = OFFSETS_AT[usize::from(self.family == Family::Ipv6)];
        let offset = u16::from_ne_bytes(entry.get(at..at + 2)?.try_into().ok()?);
        let verdict = number(entry, usize::from(offset) + VERDICT_AT)?;
        Some(verdict as i32)
    }

    /// Whether a rule names an interface: then its owner has been told of it.
    pub fn mentions(&self, interface: &InterfaceName) -> bool {
        self.holds(interface.as_str())
    }

    /// The chain where rules of others go.
    pub fn chain_for_others(&self) -> &'static str {
        const USER_CHAIN: &str = "DOCKER-USER";
        match self.holds(USER_CHAIN) {
            true => USER_CHAIN,
            false => "FORWARD",
        }
    }

    fn holds(&self, name: &str) -> bool {
        let mut bytes = name.as_bytes().to_vec();
        bytes.push(0);
        let mut windows = self.entries.windows(bytes.len());
        windows.any(|window| window == bytes)
    }
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..at.checked_add(4)?)?;
    Some(u32::from_ne_bytes(bytes.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_that_is_cut_has_no_policy() {
        let mut entries = [0; 152];
        entries[88] = 112;
        entries[144..148].copy_from_slice(&VERDICT_DROP.to_ne_bytes());
        let filter = |policy_at, length| Filter {
            family: Family::Ipv4,
            policy_at,
            entries: entries[..length].to_vec(),
        };
        assert!(filter(0, 152).drops_forwarded());
        for (policy_at, length) in [(0, 147), (0, 88), (1, 152), (152, 152), (9999, 152)] {
            assert!(!filter(policy_at, length).drops_forwarded());
        }
    }
}
