//! Prefixes, addresses on links, and the choice of free ones. Pure.
//!
//! A default network takes a /16, others a /24, from private ranges that overlap nothing that the
//! caller names (routes, addresses, other networks); IPv6 networks take a /64 of the store's own
//! unique local /48.

use std::collections::HashSet;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The first /16 tried for a default network, as people know it from Docker.
const DEFAULT_FIRST: Ipv4Addr = Ipv4Addr::new(172, 17, 0, 0);
/// Ranges that networks come from, in the order they are tried; the first holds 3,584 /24s.
const POOLS: [(Ipv4Addr, u8); 4] = [
    (Ipv4Addr::new(172, 18, 0, 0), 15),
    (Ipv4Addr::new(172, 20, 0, 0), 14),
    (Ipv4Addr::new(172, 24, 0, 0), 13),
    (Ipv4Addr::new(192, 168, 0, 0), 16),
];
/// Where a host's routes cover all of those: the upper half of 10/8.
const LAST_POOL: (Ipv4Addr, u8) = (Ipv4Addr::new(10, 128, 0, 0), 9);

/// Why a prefix or an address is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SubnetError {
    /// Not `address/length`.
    #[error("invalid CIDR address: {0}")]
    Malformed(String),
    /// Bits are set beyond the prefix's length.
    #[error("invalid network {0}: host bits are set (it should be {1})")]
    HostBits(String, Prefix),
    /// Every address is taken.
    #[error("no free address in {0}")]
    Full(Prefix),
    /// Every private range overlaps something.
    #[error("no private address range is free for a network; give one with --subnet")]
    NoneFree,
}

/// A network: an address whose bits beyond the length are zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Prefix {
    address: IpAddr,
    length: u8,
}

impl Prefix {
    /// The network of so many leading bits around an address; `None` where the length exceeds the
    /// family's.
    pub fn around(address: IpAddr, length: u8) -> Option<Self> {
        if length > bits(address) {
            return None;
        }
        let address = from_number(address, number(address) & mask(address, length));
        Some(Self { address, length })
    }

    /// The lowest address.
    pub fn address(&self) -> IpAddr {
        self.address
    }

    /// How many leading bits are the network's.
    pub fn length(&self) -> u8 {
        self.length
    }

    /// The highest address.
    pub fn last(&self) -> IpAddr {
        let last = number(self.address) | !mask(self.address, self.length) & all(self.address);
        from_number(self.address, last)
    }

    /// Whether the address lies within.
    pub fn contains(&self, address: IpAddr) -> bool {
        address.is_ipv4() == self.address.is_ipv4()
            && number(address) & mask(address, self.length) == number(self.address)
    }

    /// Whether the other lies within, or is the same.
    pub fn covers(&self, other: &Self) -> bool {
        other.length >= self.length && self.contains(other.address)
    }

    /// Whether they share an address.
    pub fn overlaps(&self, other: &Self) -> bool {
        self.covers(other) || other.covers(self)
    }

    /// The address so far above the lowest; `None` beyond the highest.
    pub fn nth(&self, offset: u128) -> Option<IpAddr> {
        let value = number(self.address).checked_add(offset)?;
        (value <= number(self.last())).then(|| from_number(self.address, value))
    }

    /// The gateway where none is given: the first address.
    pub fn first_host(&self) -> Option<IpAddr> {
        self.nth(u128::from(self.length + 1 < bits(self.address)))
    }

    /// Whether the address may be a host's: not the network's own, not the broadcast address.
    /// Networks of two addresses or one have no such.
    pub fn is_host(&self, address: IpAddr) -> bool {
        if !self.contains(address) {
            return false;
        }
        if bits(self.address) - self.length <= 1 {
            return true;
        }
        address != self.address && (self.address.is_ipv6() || address != self.last())
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.address, self.length)
    }
}

impl FromStr for Prefix {
    type Err = SubnetError;

    fn from_str(text: &str) -> Result<Self, SubnetError> {
        let on_link: HostAddress = text.parse()?;
        let prefix = on_link.network();
        if prefix.address != on_link.address {
            return Err(SubnetError::HostBits(text.to_owned(), prefix));
        }
        Ok(prefix)
    }
}

impl TryFrom<String> for Prefix {
    type Error = SubnetError;

    fn try_from(text: String) -> Result<Self, SubnetError> {
        text.parse()
    }
}

impl From<Prefix> for String {
    fn from(prefix: Prefix) -> Self {
        prefix.to_string()
    }
}

/// An address as a link has it: with the length of its network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct HostAddress {
    /// The address.
    pub address: IpAddr,
    length: u8,
}

impl HostAddress {
    /// `None` where the length exceeds the family's.
    pub fn new(address: IpAddr, length: u8) -> Option<Self> {
        (length <= bits(address)).then_some(Self { address, length })
    }

    /// The network it stands in.
    pub fn network(&self) -> Prefix {
        let mask = mask(self.address, self.length);
        Prefix {
            address: from_number(self.address, number(self.address) & mask),
            length: self.length,
        }
    }

    /// How many leading bits are the network's.
    pub fn length(&self) -> u8 {
        self.length
    }
}

impl fmt::Display for HostAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.address, self.length)
    }
}

impl TryFrom<String> for HostAddress {
    type Error = SubnetError;

    fn try_from(text: String) -> Result<Self, SubnetError> {
        text.parse()
    }
}

impl From<HostAddress> for String {
    fn from(address: HostAddress) -> Self {
        address.to_string()
    }
}

impl FromStr for HostAddress {
    type Err = SubnetError;

    fn from_str(text: &str) -> Result<Self, SubnetError> {
        let malformed = || SubnetError::Malformed(text.to_owned());
        let (address, length) = text.split_once('/').ok_or_else(malformed)?;
        // `u8::from_str` takes a sign, a prefix has none.
        if !length.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(malformed());
        }
        let address: IpAddr = address.parse().map_err(|_| malformed())?;
        let length = length.parse().map_err(|_| malformed())?;
        Self::new(address, length).ok_or_else(malformed)
    }
}

/// A /16 for the default network that overlaps nothing taken.
///
/// # Errors
/// [`SubnetError::NoneFree`].
pub fn choose_default(taken: &[Prefix]) -> Result<Prefix, SubnetError> {
    let first = (IpAddr::V4(DEFAULT_FIRST), 16);
    // From the other end, so that the /24s of other networks and this one rarely meet.
    let backwards = (18..=31)
        .rev()
        .map(|second| (IpAddr::V4(Ipv4Addr::new(172, second, 0, 0)), 16));
    let ten = (128..=255)
        .rev()
        .map(|second| (IpAddr::V4(Ipv4Addr::new(10, second, 0, 0)), 16));
    std::iter::once(first)
        .chain(backwards)
        .chain(ten)
        .filter_map(|(address, length)| Prefix::around(address, length))
        .find(|candidate| !taken.iter().any(|other| other.overlaps(candidate)))
        .ok_or(SubnetError::NoneFree)
}

/// A /24 for a network that overlaps nothing taken.
///
/// # Errors
/// [`SubnetError::NoneFree`].
pub fn choose(taken: &[Prefix]) -> Result<Prefix, SubnetError> {
    POOLS
        .iter()
        .chain([&LAST_POOL])
        .filter_map(|(address, length)| Prefix::around(IpAddr::V4(*address), *length))
        .find_map(|pool| first_gap(pool, 24, taken))
        .ok_or(SubnetError::NoneFree)
}

/// A /64 of the unique local /48 that `seed` names, overlapping nothing taken.
///
/// # Errors
/// [`SubnetError::NoneFree`].
pub fn choose6(seed: [u8; 5], taken: &[Prefix]) -> Result<Prefix, SubnetError> {
    let mut octets = [0; 16];
    octets[0] = 0xfd;
    octets[1..6].copy_from_slice(&seed);
    Prefix::around(IpAddr::V6(Ipv6Addr::from(octets)), 48)
        .and_then(|pool| first_gap(pool, 64, taken))
        .ok_or(SubnetError::NoneFree)
}

/// The first network of a length within a pool that overlaps nothing taken, in one pass over what
/// is taken: a thousand networks cost as much as their sorting.
fn first_gap(pool: Prefix, length: u8, taken: &[Prefix]) -> Option<Prefix> {
    let mut busy: Vec<(u128, u128)> = taken
        .iter()
        .filter(|other| other.overlaps(&pool))
        .map(|other| (number(other.address), number(other.last())))
        .collect();
    busy.sort_unstable();
    let step = 1u128 << (bits(pool.address) - length);
    let mut candidate = number(pool.address);
    for (from, to) in busy {
        if from.saturating_sub(candidate) >= step {
            break;
        }
        if to >= candidate {
            candidate = to.checked_add(1)?.checked_next_multiple_of(step)?;
        }
    }
    let last = candidate.checked_add(step - 1)?;
    (last <= number(pool.last())).then(|| Prefix {
        address: from_number(pool.address, candidate),
        length,
    })
}

/// The lowest free host address within `range` (all of the subnet where `None`).
///
/// # Errors
/// [`SubnetError::Full`].
pub fn free_address(
    subnet: Prefix,
    range: Option<Prefix>,
    taken: &HashSet<IpAddr>,
) -> Result<IpAddr, SubnetError> {
    let range = range.filter(|range| subnet.covers(range)).unwrap_or(subnet);
    // Each taken address is met at most once, and at most two are none of a host's.
    (0..=taken.len() as u128 + 2)
        .map_while(|offset| range.nth(offset))
        .find(|address| subnet.is_host(*address) && !taken.contains(address))
        .ok_or(SubnetError::Full(range))
}

fn bits(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u128::from(address.to_bits()),
        IpAddr::V6(address) => address.to_bits(),
    }
}

fn all(family: IpAddr) -> u128 {
    if family.is_ipv4() {
        u128::from(u32::MAX)
    } else {
        u128::MAX
    }
}

fn mask(family: IpAddr, length: u8) -> u128 {
    let below = bits(family) - length;
    all(family) & u128::MAX.checked_shl(u32::from(below)).unwrap_or(0)
}

/// An address of the same family.
fn from_number(family: IpAddr, value: u128) -> IpAddr {
    if family.is_ipv4() {
        IpAddr::V4(Ipv4Addr::from_bits((value & all(family)) as u32))
    } else {
        IpAddr::V6(Ipv6Addr::from_bits(value))
    }
}

#[cfg(test)]
mod tests;
