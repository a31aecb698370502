//! The name server's address inside a container: port 53 of 127.0.0.11 leads to the monitor's high ports
//! there, so that the container's own port 53 stays free.
//!
//! A program at the container's loopback interface puts the one port in the other's place, in questions,
//! in answers and in the kernel's word that nobody listens. So nothing that leaves the container pays for
//! its names: rules of a firewall would be asked of each packet, and make the kernel track each connection.
//! Kernels without such programs, and those that do not let us, get such rules ([`nft::resolver`]).

use std::net::Ipv4Addr;
use std::os::fd::{AsFd, BorrowedFd};

use sys::bpf::traffic;
use sys::process::BpfInstruction;

use crate::netlink::Socket;
use crate::program::*;
use crate::route::NamespaceError;
use crate::{link, nft, route};

/// Where containers find the name server.
pub const RESOLVER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 11);
pub(crate) const DNS_PORT: u16 = 53;

const NAME: &str = "caisson_names";
/// The link that every network namespace has, by the kernel's number.
const LOOPBACK: u32 = 1;

/// The monitor's ports at 127.0.0.11.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResolverPorts {
    /// For UDP.
    pub udp: u16,
    /// For TCP.
    pub tcp: u16,
}

/// What was made.
#[derive(Debug)]
pub enum Redirection {
    /// A program, which lives as long as the namespace.
    Program,
    /// Rules, by this socket: closing it may take long.
    Rules(Socket),
}

/// Leads the name server's port to the monitor's, in the namespace of a container. What a monitor made
/// there before, of this release or an older one, is replaced where `is_successor`.
///
/// # Errors
/// Why not even rules can be made.
pub fn redirect(
    namespace: impl AsFd,
    ports: ResolverPorts,
    is_successor: bool,
) -> Result<Redirection, String> {
    let namespace = namespace.as_fd();
    let attached = match attach(namespace, ports) {
        Err(NamespaceError::Stranded(error)) => return Err(error.to_string()),
        other => other.is_ok(),
    };
    if attached && !is_successor {
        return Ok(Redirection::Program);
    }
    let socket = route::netfilter_in_namespace(namespace).map_err(|error| error.to_string())?;
    if attached {
        // Of an older release. Where the kernel has no nftables there are none.
        let _ = nft::resolver::remove(&socket);
        return Ok(Redirection::Program);
    }
    nft::resolver::redirect(&socket, ports).map_err(|error| error.to_string())?;
    Ok(Redirection::Rules(socket))
}

/// Attaches the program to the loopback interface of a namespace, in place of the one of earlier ports.
fn attach(namespace: BorrowedFd<'_>, ports: ResolverPorts) -> Result<(), NamespaceError> {
    let socket = route::in_namespace(namespace)?;
    let program = traffic::load(NAME, &program(ports))?;
    let egress = (LOOPBACK, link::Direction::Egress);
    Ok(link::attach(&socket, egress, program.as_fd())?)
}

// An IPv4 frame with a header without options.
const VERSION_AND_LENGTH: i16 = 14;
const PLAIN_HEADER: u32 = 0x45;
const FRAGMENT: i16 = 20;
/// "More fragments", and the offset of this one.
const IS_FRAGMENT: u16 = 0x3fff;
const TRANSPORT: i16 = 23;
const TO_IPV4: i16 = 30;
const FROM_PORT: i16 = 34;
const TO_PORT: i16 = 36;
const CHECKSUM_OF_UDP: u32 = 40;
const CHECKSUM_OF_TCP: u32 = 50;
/// A header of UDP; that of TCP is longer, which the kernel's functions see.
const FRAME_BYTES_MIN: u32 = 42;

// ICMP: what it says, and the header of what it is about.
const ICMP: u32 = 1;
const ICMP_KIND: i16 = 34;
const UNREACHABLE: u32 = 3;
const CHECKSUM_OF_ICMP: u32 = 36;
const ABOUT: i16 = 42;
const ICMP_FRAME_BYTES_MIN: u32 = 70;

/// For [`REPLACE_CHECKSUM`]: two bytes have changed; no checksum stays none.
const TWO_BYTES: u32 = 2;
const MAY_BE_NONE: u32 = 0x20;

/// Where a port is put together, below the frame pointer.
const PORT: i16 = -8;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mark {
    /// To the name server.
    Question,
    QuestionOfTcp,
    /// From it.
    AnswerOfTcp,
    /// The kernel in its place.
    Refusal,
    Others,
}

/// The place of a port in a frame, and the checksum over it.
#[derive(Clone, Copy)]
struct Place {
    at: i16,
    checksum: u32,
    flags: u32,
}

impl Assembler<Mark> {
    fn only_if_byte(&mut self, at: i16, value: u32, otherwise: Mark) {
        self.push(LOAD_BYTE, (1, 7), at, 0);
        self.jump(JUMP_UNLESS_VALUE, (1, 0), value, otherwise);
    }

    fn only_if_half(&mut self, at: i16, value: u16, otherwise: Mark) {
        self.push(LOAD_HALF, (1, 7), at, 0);
        self.jump(
            JUMP_UNLESS_VALUE,
            (1, 0),
            u32::from(value.to_be()),
            otherwise,
        );
    }

    /// No options, no fragment; the transport's number is in register 9.
    fn only_plain(&mut self) {
        self.only_if_byte(VERSION_AND_LENGTH, PLAIN_HEADER, Mark::Others);
        self.push(LOAD_HALF, (1, 7), FRAGMENT, 0);
        self.push(AND_VALUE, (1, 0), 0, u32::from(IS_FRAGMENT.to_be()));
        self.jump(JUMP_UNLESS_VALUE, (1, 0), 0, Mark::Others);
        self.push(LOAD_BYTE, (9, 7), TRANSPORT, 0);
    }

    /// Puts one port in the other's place, and is done.
    fn replace(&mut self, place: Place, from: u16, to: u16) {
        let (from, to) = (u32::from(from.to_be()), u32::from(to.to_be()));
        self.push(MOVE, (1, 6), 0, 0);
        self.push(MOVE_VALUE, (2, 0), 0, place.checksum);
        self.push(MOVE_VALUE, (3, 0), 0, from);
        self.push(MOVE_VALUE, (4, 0), 0, to);
        self.push(MOVE_VALUE, (5, 0), 0, TWO_BYTES | place.flags);
        self.push(CALL, (0, 0), 0, REPLACE_CHECKSUM);
        // A frame that is too short for its checksum.
        self.jump(JUMP_UNLESS_VALUE, (0, 0), 0, Mark::Others);
        self.push(STORE_HALF_VALUE, (10, 0), PORT, to);
        self.push(MOVE, (1, 6), 0, 0);
        self.push(MOVE_VALUE, (2, 0), 0, place.at as u32);
        self.push(MOVE, (3, 10), 0, 0);
        self.push(ADD_VALUE, (3, 0), 0, i32::from(PORT) as u32);
        self.push(MOVE_VALUE, (4, 0), 0, 2);
        self.push(MOVE_VALUE, (5, 0), 0, 0);
        self.push(CALL, (0, 0), 0, STORE_BYTES);
        self.leave_to_others();
    }
}

/// The program of one monitor's ports.
fn program(ports: ResolverPorts) -> Vec<BpfInstruction> {
    let place = |at, checksum, flags| Place {
        at,
        checksum,
        flags,
    };
    let udp = |at| place(at, CHECKSUM_OF_UDP, MAY_BE_NONE);
    let tcp = |at| place(at, CHECKSUM_OF_TCP, 0);
    let resolver = u32::from(RESOLVER).to_be();
    let mut it = Assembler::new();
    it.begin(FRAME_BYTES_MIN, Mark::Others);
    it.only_if_half(PROTOCOL, IPV4, Mark::Others);
    it.push(LOAD_WORD, (1, 7), TO_IPV4, 0);
    it.jump(JUMP_IF_VALUE, (1, 0), resolver, Mark::Question);
    it.push(LOAD_WORD, (1, 7), FROM_IPV4, 0);
    it.jump(JUMP_UNLESS_VALUE, (1, 0), resolver, Mark::Others);
    it.only_plain();
    it.jump(JUMP_IF_VALUE, (9, 0), TCP, Mark::AnswerOfTcp);
    it.jump(JUMP_IF_VALUE, (9, 0), ICMP, Mark::Refusal);
    it.jump(JUMP_UNLESS_VALUE, (9, 0), UDP, Mark::Others);
    it.only_if_half(FROM_PORT, ports.udp, Mark::Others);
    it.replace(udp(FROM_PORT), ports.udp, DNS_PORT);
    it.mark(Mark::AnswerOfTcp);
    it.only_if_half(FROM_PORT, ports.tcp, Mark::Others);
    it.replace(tcp(FROM_PORT), ports.tcp, DNS_PORT);
    it.mark(Mark::Refusal);
    it.only_longer(ICMP_FRAME_BYTES_MIN, Mark::Others);
    it.only_if_byte(ICMP_KIND, UNREACHABLE, Mark::Others);
    let about = |field: i16| ABOUT - VERSION_AND_LENGTH + field;
    it.only_if_byte(about(VERSION_AND_LENGTH), PLAIN_HEADER, Mark::Others);
    it.only_if_byte(about(TRANSPORT), UDP, Mark::Others);
    it.only_if_half(about(TO_PORT), ports.udp, Mark::Others);
    let of_question = place(about(TO_PORT), CHECKSUM_OF_ICMP, 0);
    it.replace(of_question, ports.udp, DNS_PORT);
    it.mark(Mark::Question);
    it.only_plain();
    it.jump(JUMP_IF_VALUE, (9, 0), TCP, Mark::QuestionOfTcp);
    it.jump(JUMP_UNLESS_VALUE, (9, 0), UDP, Mark::Others);
    it.only_if_half(TO_PORT, DNS_PORT, Mark::Others);
    it.replace(udp(TO_PORT), DNS_PORT, ports.udp);
    it.mark(Mark::QuestionOfTcp);
    it.only_if_half(TO_PORT, DNS_PORT, Mark::Others);
    it.replace(tcp(TO_PORT), DNS_PORT, ports.tcp);
    it.mark(Mark::Others);
    it.leave_to_others();
    it.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_jump_leads_forward_to_an_instruction() {
        let ports = ResolverPorts { udp: 4, tcp: 5 };
        assert_jumps_lead_forward(&program(ports));
    }
}
