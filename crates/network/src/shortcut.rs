//! The short way between a network's containers, and between them and the host: past the bridge.
//!
//! A frame that crosses a bridge meets its filters, its table of addresses, the host's stack a second
//! time and, with br_netfilter, connection tracking twice. What comes from a container with its own
//! hardware and IP address (of IPv6: TCP and UDP) and goes to another one's hardware address is handed to that one's
//! interface directly; what goes to the bridge's own address enters the host's stack as from the
//! bridge; what the host itself sends by the bridge leaves by the right port at once. The host's filters of
//! IP see what they would see without br_netfilter. All else (broadcasts, ARP, what finds neighbours,
//! any address that is not the container's own) takes the long way with all its rules.
//!
//! One program and one table per bridge, which live as long as it; the program is attached to each
//! port too, and goes with it. Kernels before 6.6, and those that do not let us, know only the long
//! way: nothing here is needed, so no failure here is one.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use sys::SysError;
use sys::bpf::traffic::{self, Side};
use sys::process::BpfInstruction;

use crate::mac::Mac;
use crate::program::*;

/// Bumped with every change of the program: a bridge keeps the one that it has.
const NAME: &str = "caisson_2";
/// As many as a bridge has ports, and as many again of containers whose end nobody saw.
const DOORS_MAX: u32 = 2048;

/// A hardware address with two bytes of padding.
const KEY_BYTES: u32 = 8;
/// The host's end, the IPv4 address, the IPv6 address.
const DOOR_BYTES: usize = 24;
const DOOR_IPV4: i16 = 4;
const DOOR_IPV6: i16 = 8;

/// The link that every network namespace has, by the kernel's number.
const LOOPBACK: u32 = 1;

/// A bridge, as far as its program knows it.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// The kernel's number.
    pub bridge: u32,
    /// Its hardware address.
    pub mac: Mac,
    /// Whether its containers talk to each other.
    pub has_icc: bool,
}

/// A container's end on the host.
#[derive(Clone, Copy, Debug)]
pub struct Door {
    /// The kernel's number of the host's end.
    pub veth: u32,
    /// The hardware address inside.
    pub mac: Mac,
    /// The IPv4 address inside.
    pub address: Ipv4Addr,
    /// The IPv6 address inside; without one its interface has the link-local one alone.
    pub address6: Option<Ipv6Addr>,
}

/// Whether a bridge has its program.
pub fn is_prepared(bridge: u32) -> bool {
    matches!(find(bridge), Ok(Some(_)))
}

/// Whether this kernel has such programs, and lets us. Nothing of the trial stays.
///
/// # Errors
/// The kernel's answer: no program of this kind, or none at interfaces (before 6.6).
pub fn check() -> Result<(), SysError> {
    let place = Place {
        bridge: LOOPBACK,
        mac: Mac::of(Ipv4Addr::LOCALHOST),
        has_icc: true,
    };
    let doors = new_table(1)?;
    traffic::load(NAME, &program(&place, doors.as_raw_fd()))?;
    traffic::programs(LOOPBACK, Side::Egress).map(drop)
}

fn new_table(entries: u32) -> Result<OwnedFd, SysError> {
    traffic::new_table(NAME, (KEY_BYTES, DOOR_BYTES as u32), entries)
}

/// A bridge's program and its table.
#[derive(Debug)]
pub struct Way {
    program: OwnedFd,
    doors: OwnedFd,
}

/// The short way of a bridge, which gets its program with the first that asks.
///
/// # Errors
/// The kernel's answer: it has no such programs, or not for us.
pub fn of(place: &Place) -> Result<Way, SysError> {
    if let Some(way) = find(place.bridge)? {
        return Ok(way);
    }
    let doors = new_table(DOORS_MAX)?;
    let program = traffic::load(NAME, &program(place, doors.as_raw_fd()))?;
    traffic::attach(&program, place.bridge, Side::Egress)?;
    // Of two that were made at once, all take the first.
    Ok(find(place.bridge)?.unwrap_or(Way { program, doors }))
}

impl Way {
    /// What belongs to the host's end of a container's pair ([`crate::link::attach`]).
    pub fn program(&self) -> BorrowedFd<'_> {
        self.program.as_fd()
    }

    /// Opens it for a container.
    ///
    /// # Errors
    /// The kernel's answer.
    pub fn open(&self, door: &Door) -> Result<(), SysError> {
        let mut value = [0; DOOR_BYTES];
        let address6 = door.address6.unwrap_or_else(|| door.mac.link_local());
        value[..4].copy_from_slice(&door.veth.to_ne_bytes());
        value[4..8].copy_from_slice(&door.address.octets());
        value[8..].copy_from_slice(&address6.octets());
        let opened = traffic::set(&self.doors, &key(door.mac), &value);
        if opened.is_err() {
            // One that was forgotten to be closed would lead astray.
            let _ = traffic::remove(&self.doors, &key(door.mac));
        }
        opened
    }
}

/// Forgets a container. One that is not forgotten costs an entry: frames to it are dropped, until
/// another with its hardware address comes.
///
/// # Errors
/// The kernel's answer.
pub fn close(bridge: u32, mac: Mac) -> Result<(), SysError> {
    match find(bridge)? {
        Some(way) => traffic::remove(&way.doors, &key(mac)),
        None => Ok(()),
    }
}

fn find(bridge: u32) -> Result<Option<Way>, SysError> {
    for number in traffic::programs(bridge, Side::Egress)? {
        let program = traffic::program(number)?;
        if let (NAME, [table]) = (program.name.as_str(), &program.tables[..]) {
            return Ok(Some(Way {
                doors: traffic::table(*table)?,
                program: program.fd,
            }));
        }
    }
    Ok(None)
}

fn key(mac: Mac) -> [u8; 8] {
    let mut key = [0; 8];
    key[..6].copy_from_slice(&mac.0);
    key
}

// A frame, beyond what all programs look at.
const TO_MAC: i16 = 0;
const FROM_MAC: i16 = 6;
const FRAME_BYTES_MIN: u32 = 34;
const IPV6: u16 = 0x86dd;
/// The header of IPv6, as far as its end.
const FRAME6_BYTES_MIN: u32 = 54;
const NEXT_HEADER: i16 = 20;
const FROM_IPV6: i16 = 22;

/// Where keys are put together, below the frame pointer.
const TO_KEY: i16 = -8;
const FROM_KEY: i16 = -16;

/// A place in the program that jumps lead to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mark {
    /// What leaves by the bridge.
    Leaves,
    /// What leaves by the bridge, and comes from this host or from the bridge.
    LeavesOwn,
    /// IPv6 from a container.
    Ipv6,
    /// IPv6 of a kind that only carries data: behind every other header may be a message that our rules
    /// look at.
    Ipv6Data,
    /// What a container sends in its own name.
    InOwnName,
    /// What goes to another container.
    ToNeighbour,
    /// The long way.
    LongWay,
}

impl Assembler<Mark> {
    /// Puts a hardware address of the frame (register 7) where keys are made.
    fn copy_key(&mut self, frame: i16, key: i16) {
        self.push(LOAD_WORD, (1, 7), frame, 0);
        self.push(STORE_WORD, (10, 1), key, 0);
        self.push(LOAD_HALF, (1, 7), frame + 4, 0);
        self.push(STORE_WORD, (10, 1), key + 4, 0);
    }

    /// Looks a key up; the entry is in register 0, or the long way is taken.
    fn look_up(&mut self, doors: i32, key: i16) {
        self.push(LOAD_TABLE, (1, TABLE_BY_DESCRIPTOR), 0, doors as u32);
        self.push(0, (0, 0), 0, 0);
        self.push(MOVE, (2, 10), 0, 0);
        self.push(ADD_VALUE, (2, 0), 0, i32::from(key) as u32);
        self.push(CALL, (0, 0), 0, LOOK_UP);
        // The whole register: half of a pointer may be zero.
        self.jump(0x15, (0, 0), 0, Mark::LongWay);
    }

    /// From a container: only in its own name.
    fn only_in_own_name(&mut self, doors: i32) {
        let (ipv4, ipv6) = (u32::from(IPV4.to_be()), u32::from(IPV6.to_be()));
        self.push(LOAD_HALF, (1, 7), PROTOCOL, 0);
        self.jump(JUMP_IF_VALUE, (1, 0), ipv6, Mark::Ipv6);
        self.jump(JUMP_UNLESS_VALUE, (1, 0), ipv4, Mark::LongWay);
        self.look_up_sender(doors);
        self.only_same_word(DOOR_IPV4, FROM_IPV4);
        self.jump(JUMP, (0, 0), 0, Mark::InOwnName);
        self.mark(Mark::Ipv6);
        self.only_longer(FRAME6_BYTES_MIN, Mark::LongWay);
        self.push(LOAD_BYTE, (1, 7), NEXT_HEADER, 0);
        self.jump(JUMP_IF_VALUE, (1, 0), TCP, Mark::Ipv6Data);
        self.jump(JUMP_UNLESS_VALUE, (1, 0), UDP, Mark::LongWay);
        self.mark(Mark::Ipv6Data);
        self.look_up_sender(doors);
        for at in [0, 4, 8, 12] {
            self.only_same_word(DOOR_IPV6 + at, FROM_IPV6 + at);
        }
        self.mark(Mark::InOwnName);
    }

    /// The entry of who sends, from whose end of the pair the frame comes, is in register 0.
    fn look_up_sender(&mut self, doors: i32) {
        self.copy_key(FROM_MAC, FROM_KEY);
        self.look_up(doors, FROM_KEY);
        self.push(LOAD_WORD, (1, 0), 0, 0);
        self.jump(JUMP_UNLESS_EQUAL, (1, 9), 0, Mark::LongWay);
    }

    /// Four bytes of the entry are those of the frame.
    fn only_same_word(&mut self, entry: i16, frame: i16) {
        self.push(LOAD_WORD, (1, 0), entry, 0);
        self.push(LOAD_WORD, (2, 7), frame, 0);
        self.jump(JUMP_UNLESS_EQUAL, (1, 2), 0, Mark::LongWay);
    }
}

/// The program of a bridge and its ports.
fn program(place: &Place, doors: i32) -> Vec<BpfInstruction> {
    let [m0, m1, m2, m3, m4, m5] = place.mac.0;
    let mac_head = u32::from_ne_bytes([m0, m1, m2, m3]);
    let mac_tail = u32::from(u16::from_ne_bytes([m4, m5]));
    let mut it = Assembler::new();
    // 6 is the packet's record, 7 and 8 are the frame and its end, 9 is the interface.
    it.begin(FRAME_BYTES_MIN, Mark::LongWay);
    it.push(LOAD_WORD, (9, 6), INTERFACE, 0);
    it.push(LOAD_WORD, (1, 6), IS_TAGGED, 0);
    it.jump(JUMP_UNLESS_VALUE, (1, 0), 0, Mark::LongWay);
    it.copy_key(TO_MAC, TO_KEY);
    it.jump(JUMP_IF_VALUE, (9, 0), place.bridge, Mark::Leaves);
    it.only_in_own_name(doors);
    it.push(LOAD_WORD, (1, 10), TO_KEY, 0);
    it.jump(JUMP_UNLESS_VALUE, (1, 0), mac_head, Mark::ToNeighbour);
    it.push(LOAD_WORD, (1, 10), TO_KEY + 4, 0);
    it.jump(JUMP_UNLESS_VALUE, (1, 0), mac_tail, Mark::ToNeighbour);
    it.push(MOVE_VALUE, (1, 0), 0, place.bridge);
    it.push(MOVE_VALUE, (2, 0), 0, ARRIVE);
    it.push(CALL, (0, 0), 0, REDIRECT);
    it.push(EXIT, (0, 0), 0, 0);
    it.mark(Mark::ToNeighbour);
    if place.has_icc {
        it.look_up(doors, TO_KEY);
        it.push(LOAD_WORD, (1, 0), 0, 0);
        it.push(MOVE_VALUE, (2, 0), 0, 0);
        it.push(CALL, (0, 0), 0, REDIRECT_PEER);
        it.push(EXIT, (0, 0), 0, 0);
    } else {
        it.jump(JUMP, (0, 0), 0, Mark::LongWay);
    }
    it.mark(Mark::Leaves);
    // Of this host's own, or routed back to where it came from. What came by another interface may be
    // a frame that br_netfilter translates on the bridge and has not done with.
    it.push(LOAD_WORD, (1, 6), CAME_BY, 0);
    it.jump(JUMP_IF_VALUE, (1, 0), 0, Mark::LeavesOwn);
    it.jump(JUMP_UNLESS_VALUE, (1, 0), place.bridge, Mark::LongWay);
    it.mark(Mark::LeavesOwn);
    it.look_up(doors, TO_KEY);
    it.push(LOAD_WORD, (1, 0), 0, 0);
    it.push(MOVE_VALUE, (2, 0), 0, 0);
    it.push(CALL, (0, 0), 0, REDIRECT);
    it.push(EXIT, (0, 0), 0, 0);
    it.mark(Mark::LongWay);
    it.leave_to_others();
    it.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_jump_leads_forward_to_an_instruction() {
        for has_icc in [true, false] {
            let place = Place {
                bridge: 7,
                mac: Mac([2, 0x42, 10, 1, 0, 1]),
                has_icc,
            };
            assert_jumps_lead_forward(&program(&place, 3));
        }
    }
}
