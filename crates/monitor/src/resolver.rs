//! The container's name server at 127.0.0.11: names of its networks from the store, all others from
//! the host's servers.
//!
//! It listens on high ports inside the container's namespace, to which port 53 leads there, so that a
//! container that serves names itself still can.

mod upstream;

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use network::attachment::Attachment;
use network::names::Names;
use network::resolver::{RESOLVER, Redirection, ResolverPorts, redirect};
use network::route;
use network::subnet::Prefix;
use simple_dns::rdata::{A, AAAA, PTR, RData};
use simple_dns::{CLASS, Name, Packet, PacketFlag, QTYPE, RCODE, ResourceRecord, TYPE};

use upstream::{Progress, Upstream};

const DNS_PORT: u16 = 53;
const MESSAGE_BYTES_MAX: usize = 65_535;
/// Of a question.
const QUESTION_BYTES_MAX: usize = 4096;
const HEADER_BYTES: usize = 12;
/// In the header's third byte: this is no question.
const IS_ANSWER: u8 = 0x80;
/// What a client by UDP takes, unless it says that it takes more.
const DATAGRAM_BYTES_MAX: usize = 512;
/// Questions that wait for an answer from outside, and TCP clients, at once.
const PENDING_MAX: usize = 512;
const STREAMS_MAX: usize = 64;
/// A server that has not answered by then is given up for the next one.
const PATIENCE_NS: i64 = 3_000_000_000;
const STREAM_PATIENCE_NS: i64 = 10_000_000_000;
/// Answers are true now; nobody may keep them.
const TTL_S: u32 = 0;
/// Messages that are taken in a row before the container's output has its turn.
const BATCH_MAX: usize = 64;

/// One network, as the resolver sees it.
struct Zone {
    name: String,
    names: Names,
    addresses: PathBuf,
    subnets: Vec<Prefix>,
    links: Vec<(String, String)>,
}

/// Who asked.
#[derive(Clone, Copy)]
enum Client {
    Datagram(SocketAddr),
    Stream(u64),
}

/// A question on its way to a server outside.
struct Pending {
    upstream: Upstream,
    client: Client,
    question: Vec<u8>,
    server: usize,
    until_ns: i64,
}

/// A TCP client.
struct Stream {
    number: u64,
    socket: TcpStream,
    unread: Vec<u8>,
    until_ns: i64,
}

/// The name server of one container.
pub(crate) struct Resolver {
    _redirection: Redirection,
    datagrams: UdpSocket,
    listener: TcpListener,
    zones: Vec<Zone>,
    servers: Vec<IpAddr>,
    pending: VecDeque<Pending>,
    streams: Vec<Stream>,
    next_number: u64,
    /// Whose turn it is to come first among those that share a name.
    turn: usize,
}

/// Which of its descriptors became ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    Datagrams,
    Listener,
    Stream(usize),
    Answer(usize),
    /// A connection to a server outside takes its question: the only one to be written.
    Question(usize),
    /// The process that answers instead of the monitor.
    Process,
}

impl Resolver {
    /// `is_successor`: another monitor may have answered there before.
    pub(crate) fn new(
        namespace: &OwnedFd,
        attachment: &Attachment,
        is_successor: bool,
    ) -> Result<Self, String> {
        let bind = || -> std::io::Result<(UdpSocket, TcpListener)> {
            let any = SocketAddr::from((RESOLVER, 0));
            let (datagrams, listener) = (UdpSocket::bind(any)?, TcpListener::bind(any)?);
            // A container may be told to take packets for 127/8 from its neighbours (`route_localnet`); one
            // without a way out would then ask by way of it.
            for socket in [datagrams.as_fd(), listener.as_fd()] {
                let bound = sys::socket::bind_to_interface(socket, "lo");
                bound.map_err(|error| std::io::Error::from(error.errno))?;
            }
            datagrams.set_nonblocking(true)?;
            listener.set_nonblocking(true)?;
            Ok((datagrams, listener))
        };
        let bound = route::within(namespace, bind).map_err(|error| error.to_string())?;
        let (datagrams, listener) = bound.map_err(|error| error.to_string())?;
        let port = |address: std::io::Result<SocketAddr>| address.map(|address| address.port());
        let ports = ResolverPorts {
            udp: port(datagrams.local_addr()).map_err(|error| error.to_string())?,
            tcp: port(listener.local_addr()).map_err(|error| error.to_string())?,
        };
        let mut resolver = Self {
            _redirection: redirect(namespace, ports, is_successor)?,
            datagrams,
            listener,
            zones: Vec::new(),
            servers: Vec::new(),
            pending: VecDeque::new(),
            streams: Vec::new(),
            next_number: 0,
            turn: 0,
        };
        resolver.learn(attachment);
        Ok(resolver)
    }

    /// Takes over which networks and servers there are.
    pub(crate) fn learn(&mut self, attachment: &Attachment) {
        // Where no network leads outside, no question does either.
        let mut networks = attachment.endpoints.iter().map(|one| &one.network);
        let leads_outside = networks.any(|network| !network.is_internal);
        let zone = |endpoint: &network::attachment::Endpoint| Zone {
            name: endpoint.network.name.to_ascii_lowercase(),
            names: Names::of(&endpoint.network.directory),
            addresses: endpoint.network.directory.join("addresses"),
            subnets: endpoint.network.subnets(),
            links: endpoint.links.clone(),
        };
        self.zones = attachment.endpoints.iter().map(zone).collect();
        // A server in a network of the container's own is not outside.
        let is_within = |server: &&IpAddr| {
            let mut subnets = self.zones.iter().flat_map(|zone| &zone.subnets);
            subnets.any(|subnet| subnet.contains(**server))
        };
        let servers = attachment.servers.iter();
        let servers = servers.filter(|server| leads_outside || is_within(server));
        self.servers = servers.copied().collect();
    }

    /// Leaves those who asked to another process that shares the sockets.
    pub(crate) fn forget_clients(&mut self) {
        self.pending.clear();
        self.streams.clear();
    }

    /// Its descriptors.
    pub(crate) fn sources(&self) -> impl Iterator<Item = (Source, BorrowedFd<'_>)> {
        let streams = self.streams.iter().enumerate();
        let pending = self.pending.iter().enumerate();
        [
            (Source::Datagrams, self.datagrams.as_fd()),
            (Source::Listener, self.listener.as_fd()),
        ]
        .into_iter()
        .chain(streams.map(|(index, one)| (Source::Stream(index), one.socket.as_fd())))
        .chain(pending.map(|(index, one)| match one.upstream.source() {
            (fd, false) => (Source::Answer(index), fd),
            (fd, true) => (Source::Question(index), fd),
        }))
    }

    /// When something must be given up.
    pub(crate) fn deadline(&self) -> Option<i64> {
        let pending = self.pending.iter().map(|one| one.until_ns);
        let streams = self.streams.iter().map(|one| one.until_ns);
        pending.chain(streams).min()
    }

    /// Serves what became ready; all sources of one sleep together, for their numbers change.
    pub(crate) fn serve(&mut self, ready: &[Source]) {
        let mut done = Vec::new();
        for source in ready {
            match source {
                Source::Datagrams => self.hear_datagrams(),
                Source::Listener => self.accept(),
                Source::Stream(index) => self.hear_stream(*index),
                Source::Answer(index) | Source::Question(index) => {
                    done.extend(self.pass_on(*index).then_some(*index));
                }
                Source::Process => {}
            }
        }
        done.sort_unstable();
        for index in done.into_iter().rev() {
            self.pending.remove(index);
        }
        self.streams.retain(|stream| stream.until_ns != 0);
    }

    /// Gives up what waited too long.
    pub(crate) fn keep_time(&mut self, now_ns: i64) {
        self.streams.retain(|stream| stream.until_ns > now_ns);
        for _ in 0..self.pending.len() {
            let Some(pending) = self.pending.pop_front() else {
                return;
            };
            if pending.until_ns > now_ns {
                self.pending.push_back(pending);
            } else if !self.ask(pending.client, &pending.question, pending.server + 1) {
                self.refuse(pending.client, &pending.question, RCODE::ServerFailure);
            }
        }
    }

    fn hear_datagrams(&mut self) {
        let mut buffer = [0u8; QUESTION_BYTES_MAX];
        for _ in 0..BATCH_MAX {
            match self.datagrams.recv_from(&mut buffer) {
                Ok((length, client)) => self.hear(Client::Datagram(client), &buffer[..length]),
                Err(_) => return,
            }
        }
    }

    fn accept(&mut self) {
        for _ in 0..BATCH_MAX {
            let Ok((socket, _)) = self.listener.accept() else {
                return;
            };
            if self.streams.len() < STREAMS_MAX && socket.set_nonblocking(true).is_ok() {
                self.next_number += 1;
                self.streams.push(Stream {
                    number: self.next_number,
                    socket,
                    unread: Vec::new(),
                    until_ns: sys::journal::now_ns() + STREAM_PATIENCE_NS,
                });
            }
        }
    }

    fn hear_stream(&mut self, index: usize) {
        let mut buffer = [0u8; 4096];
        let Some(stream) = self.streams.get_mut(index) else {
            return;
        };
        match stream.socket.read(&mut buffer) {
            Ok(length @ 1..) => stream.unread.extend_from_slice(&buffer[..length]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return,
            _ => stream.until_ns = 0,
        }
        let number = stream.number;
        let next = |stream: &mut Stream| next_message(&mut stream.unread);
        while let Some(question) = self.streams.get_mut(index).and_then(next) {
            self.hear(Client::Stream(number), &question);
        }
        match self.streams.get_mut(index) {
            Some(stream) if stream.unread.len() > QUESTION_BYTES_MAX => stream.until_ns = 0,
            _ => {}
        }
    }

    fn hear(&mut self, client: Client, question: &[u8]) {
        let is_question = question.len() >= HEADER_BYTES && question[2] & IS_ANSWER == 0;
        if !is_question {
            return;
        }
        self.turn = self.turn.wrapping_add(1);
        match self.answer(client, question) {
            Some(answer) => self.send(client, &answer),
            None if self.ask(client, question, 0) => {}
            None => self.refuse(client, question, RCODE::ServerFailure),
        }
    }

    /// The answer to a question about our own networks.
    fn answer(&self, client: Client, question: &[u8]) -> Option<Vec<u8>> {
        let packet = Packet::parse(question).ok()?;
        let asked = packet.questions.first()?;
        let text = asked.qname.to_string();
        let QTYPE::TYPE(kind) = asked.qtype else {
            return None;
        };
        let mut data: Vec<RData<'_>> = match kind {
            TYPE::PTR => vec![RData::PTR(PTR(Name::new(&self.name_of(&text)?)
                .ok()?
                .into_owned()))],
            _ => {
                let addresses = self.addresses_of(&text)?;
                addresses
                    .iter()
                    .filter_map(|address| record(*address, kind))
                    .collect()
            }
        };
        if !data.is_empty() {
            // Those who share a name share the work.
            let first = self.turn % data.len();
            data.rotate_left(first);
        }
        let mut reply = Packet::new_reply(packet.id());
        reply.set_flags(PacketFlag::RECURSION_AVAILABLE);
        if packet.has_flags(PacketFlag::RECURSION_DESIRED) {
            reply.set_flags(PacketFlag::RECURSION_DESIRED);
        }
        reply.questions.push(asked.clone());
        for one in data {
            reply.answers.push(ResourceRecord::new(
                asked.qname.clone(),
                CLASS::IN,
                TTL_S,
                one,
            ));
        }
        let room = match client {
            Client::Stream(_) => MESSAGE_BYTES_MAX,
            Client::Datagram(_) => {
                let said = packet
                    .opt()
                    .map_or(0, |opt| usize::from(opt.udp_packet_size));
                said.max(DATAGRAM_BYTES_MAX)
            }
        };
        fitted(reply, room)
    }

    /// The addresses of a name in any of the networks, with or without the network's own name.
    fn addresses_of(&self, name: &str) -> Option<Vec<IpAddr>> {
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        self.zones.iter().find_map(|zone| {
            let short = name
                .strip_suffix(&zone.name)
                .and_then(|short| short.strip_suffix('.'));
            let is_linked = |(alias, _): &&(String, String)| alias.eq_ignore_ascii_case(&name);
            let linked = zone.links.iter().find(is_linked);
            let found = linked.and_then(|(_, target)| zone.names.look_up(target));
            let found = found.or_else(|| zone.names.look_up(&name));
            found.or_else(|| zone.names.look_up(short?))
        })
    }

    /// The name behind `2.0.18.172.in-addr.arpa`.
    fn name_of(&self, text: &str) -> Option<String> {
        let address = reverse(text)?;
        let zone = self
            .zones
            .iter()
            .find(|zone| zone.subnets.iter().any(|subnet| subnet.contains(address)))?;
        let owner = std::fs::read_link(zone.addresses.join(address.to_string())).ok()?;
        let name = zone.names.name_of(owner.to_str()?)?;
        Some(format!("{name}.{}", zone.name))
    }

    /// Asks a server outside; `false` where there is none, or too much waits already.
    fn ask(&mut self, client: Client, question: &[u8], server: usize) -> bool {
        let Some(address) = self.servers.get(server) else {
            return false;
        };
        if self.pending.len() >= PENDING_MAX {
            return false;
        }
        let upstream = match client {
            Client::Datagram(_) => Upstream::by_datagram(*address, question),
            Client::Stream(_) => Upstream::by_stream(*address, question),
        };
        match upstream {
            Ok(upstream) => {
                self.pending.push_back(Pending {
                    upstream,
                    client,
                    question: question.to_vec(),
                    server,
                    until_ns: sys::journal::now_ns() + PATIENCE_NS,
                });
                true
            }
            Err(_) => self.ask(client, question, server + 1),
        }
    }

    /// Passes a server's answer on; `true` where the question is done with.
    fn pass_on(&mut self, index: usize) -> bool {
        let Some(pending) = self.pending.get_mut(index) else {
            return false;
        };
        let client = pending.client;
        match pending.upstream.go_on() {
            // An answer has the question's id; anything else was sent by somebody else.
            Progress::Answer(answer)
                if answer.len() >= HEADER_BYTES && answer[..2] == pending.question[..2] =>
            {
                self.send(client, &answer);
                true
            }
            Progress::Answer(_) | Progress::Waits => false,
            // The next server's turn, at once.
            Progress::Failed => {
                pending.until_ns = 0;
                false
            }
        }
    }

    fn refuse(&mut self, client: Client, question: &[u8], code: RCODE) {
        let Ok(packet) = Packet::parse(question) else {
            return;
        };
        let mut reply = Packet::new_reply(packet.id());
        *reply.rcode_mut() = code;
        reply.questions.extend(packet.questions.iter().cloned());
        if let Ok(bytes) = reply.build_bytes_vec_compressed() {
            self.send(client, &bytes);
        }
    }

    fn send(&mut self, client: Client, answer: &[u8]) {
        match client {
            Client::Datagram(address) => {
                let _ = self.datagrams.send_to(answer, address);
            }
            Client::Stream(number) => {
                let stream = self
                    .streams
                    .iter_mut()
                    .find(|stream| stream.number == number);
                if let (Some(stream), Ok(length)) = (stream, u16::try_from(answer.len())) {
                    let mut message = length.to_be_bytes().to_vec();
                    message.extend_from_slice(answer);
                    // An answer fits the socket's buffer, unless its client reads none.
                    if stream.socket.write(&message).ok() != Some(message.len()) {
                        stream.until_ns = 0;
                    }
                }
            }
        }
    }
}

/// What fits, and the word that there is more: who wants it asks again by TCP.
fn fitted(mut reply: Packet<'_>, room: usize) -> Option<Vec<u8>> {
    let whole = reply.build_bytes_vec_compressed().ok()?;
    if whole.len() <= room {
        return Some(whole);
    }
    // All answers are of one length, for they have one name and one kind.
    let answers = std::mem::take(&mut reply.answers);
    let bare = reply.build_bytes_vec_compressed().ok()?.len();
    let one = (whole.len() - bare).div_ceil(answers.len().max(1));
    let count = room.saturating_sub(bare) / one.max(1);
    reply.answers = answers.into_iter().take(count).collect();
    reply.set_flags(PacketFlag::TRUNCATION);
    reply.build_bytes_vec_compressed().ok()
}

/// The next whole message of a stream, whose length stands in front.
fn next_message(unread: &mut Vec<u8>) -> Option<Vec<u8>> {
    let [high, low, ..] = unread[..] else {
        return None;
    };
    let end = 2 + usize::from(u16::from_be_bytes([high, low]));
    if unread.len() < end {
        return None;
    }
    let message = unread[2..end].to_vec();
    unread.drain(..end);
    Some(message)
}

fn record(address: IpAddr, kind: TYPE) -> Option<RData<'static>> {
    match (address, kind) {
        (IpAddr::V4(address), TYPE::A) => Some(RData::A(A {
            address: address.into(),
        })),
        (IpAddr::V6(address), TYPE::AAAA) => Some(RData::AAAA(AAAA {
            address: address.into(),
        })),
        _ => None,
    }
}

fn reverse(text: &str) -> Option<IpAddr> {
    let text = text.trim_end_matches('.').to_ascii_lowercase();
    if let Some(digits) = text.strip_suffix(".in-addr.arpa") {
        let parts: Vec<&str> = digits.split('.').rev().collect();
        return parts.join(".").parse().ok();
    }
    let nibbles: Vec<char> = text
        .strip_suffix(".ip6.arpa")?
        .split('.')
        .rev()
        .filter_map(|part| part.chars().next())
        .collect();
    let groups: Vec<String> = nibbles
        .chunks(4)
        .map(|group| group.iter().collect())
        .collect();
    groups.join(":").parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_cut_and_said_to_be() {
        for count in [0, 1, 30, 31, 1024] {
            let mut reply = Packet::new_reply(7);
            let name = Name::new("web.net").unwrap();
            let asked =
                simple_dns::Question::new(name.clone(), TYPE::A.into(), CLASS::IN.into(), false);
            reply.questions.push(asked);
            for number in 0..count {
                let address = IpAddr::from([10, 0, (number >> 8) as u8, number as u8]);
                let data = record(address, TYPE::A).unwrap();
                let one = ResourceRecord::new(name.clone(), CLASS::IN, TTL_S, data);
                reply.answers.push(one);
            }
            let bytes = fitted(reply.clone(), DATAGRAM_BYTES_MAX).unwrap();
            let cut = Packet::parse(&bytes).unwrap();
            assert!(bytes.len() <= DATAGRAM_BYTES_MAX);
            assert_eq!(cut.answers.len(), count.min(30));
            assert_eq!(cut.has_flags(PacketFlag::TRUNCATION), count > 30);
            let all = fitted(reply, MESSAGE_BYTES_MAX).unwrap();
            assert_eq!(Packet::parse(&all).unwrap().answers.len(), count);
        }
    }

    #[test]
    fn addresses_are_read_backwards() {
        assert_eq!(
            reverse("2.0.18.172.in-addr.arpa."),
            "172.18.0.2".parse().ok()
        );
        let long = "2.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f.ip6.arpa";
        assert_eq!(reverse(long), "fd00::2".parse().ok());
        for odd in [
            "",
            "x.in-addr.arpa",
            "1.2.3.in-addr.arpa",
            "ip6.arpa",
            "1.ip6.arpa",
        ] {
            assert_eq!(reverse(odd), None, "{odd}");
        }
    }
}
