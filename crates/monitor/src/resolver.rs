//! The container's name server at 127.0.0.11: names of its networks from the store, all others from
//! the host's servers.
//!
//! It listens on high ports inside the container's namespace, to which port 53 leads there, so that a
//! container that serves names itself still can.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use network::attachment::Attachment;
use network::names::Names;
use network::resolver::{RESOLVER, Redirection, ResolverPorts, redirect};
use network::route;
use network::subnet::Prefix;
use simple_dns::rdata::{A, AAAA, PTR, RData};
use simple_dns::{CLASS, Name, Packet, PacketFlag, QTYPE, RCODE, ResourceRecord, TYPE};

const DNS_PORT: u16 = 53;
const MESSAGE_BYTES_MAX: usize = 65_535;
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
    socket: UdpSocket,
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
}

/// Which of its descriptors became ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    Datagrams,
    Listener,
    Stream(usize),
    Answer(usize),
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
        };
        resolver.learn(attachment);
        Ok(resolver)
    }

    /// Takes over which networks and servers there are.
    pub(crate) fn learn(&mut self, attachment: &Attachment) {
        // Where no network leads outside, no question does either.
        let leads_outside = attachment
            .endpoints
            .iter()
            .any(|one| !one.network.is_internal);
        self.servers.clear();
        if leads_outside {
            self.servers.clone_from(&attachment.servers);
        }
        let zone = |endpoint: &network::attachment::Endpoint| Zone {
            name: endpoint.network.name.to_ascii_lowercase(),
            names: Names::of(&endpoint.network.directory),
            addresses: endpoint.network.directory.join("addresses"),
            subnets: endpoint.network.subnets(),
            links: endpoint.links.clone(),
        };
        self.zones = attachment.endpoints.iter().map(zone).collect();
    }

    /// Leaves those who asked to another process that shares the sockets.
    pub(crate) fn forget_clients(&mut self) {
        self.pending.clear();
        self.streams.clear();
    }

    /// Its descriptors, all to be read.
    pub(crate) fn sources(&self) -> impl Iterator<Item = (Source, BorrowedFd<'_>)> {
        let streams = self.streams.iter().enumerate();
        let pending = self.pending.iter().enumerate();
        [
            (Source::Datagrams, self.datagrams.as_fd()),
            (Source::Listener, self.listener.as_fd()),
        ]
        .into_iter()
        .chain(streams.map(|(index, one)| (Source::Stream(index), one.socket.as_fd())))
        .chain(pending.map(|(index, one)| (Source::Answer(index), one.socket.as_fd())))
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
                Source::Answer(index) => done.extend(self.pass_on(*index).then_some(*index)),
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
        let mut buffer = [0u8; 4096];
        for _ in 0..BATCH_MAX {
            match self.datagrams.recv_from(&mut buffer) {
                Ok((length, client)) => self.hear(Client::Datagram(client), &buffer[..length]),
                Err(_) => return,
            }
        }
    }

    fn accept(&mut self) {
        while let Ok((socket, _)) = self.listener.accept() {
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
        while let Some(question) = self.streams.get_mut(index).and_then(next_message) {
            self.hear(Client::Stream(number), &question);
        }
    }

    fn hear(&mut self, client: Client, question: &[u8]) {
        match self.answer(question) {
            Some(answer) => self.send(client, &answer),
            None if self.ask(client, question, 0) => {}
            None => self.refuse(client, question, RCODE::ServerFailure),
        }
    }

    /// The answer to a question about our own networks.
    fn answer(&self, question: &[u8]) -> Option<Vec<u8>> {
        let packet = Packet::parse(question).ok()?;
        let asked = packet.questions.first()?;
        let text = asked.qname.to_string();
        let QTYPE::TYPE(kind) = asked.qtype else {
            return None;
        };
        let data: Vec<RData<'_>> = match kind {
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
        reply.build_bytes_vec_compressed().ok()
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
        let from: SocketAddr = match address {
            IpAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
            IpAddr::V6(_) => SocketAddr::from((std::net::Ipv6Addr::UNSPECIFIED, 0)),
        };
        let send = || -> std::io::Result<UdpSocket> {
            let socket = UdpSocket::bind(from)?;
            socket.set_nonblocking(true)?;
            socket.connect((*address, DNS_PORT))?;
            socket.send(question)?;
            Ok(socket)
        };
        match send() {
            Ok(socket) => {
                self.pending.push_back(Pending {
                    socket,
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
        let mut buffer = vec![0u8; MESSAGE_BYTES_MAX];
        let Some(pending) = self.pending.get_mut(index) else {
            return false;
        };
        let client = pending.client;
        match pending.socket.recv(&mut buffer) {
            // An answer has the question's id; anything else was sent by somebody else.
            Ok(length) if length >= 2 && buffer[..2] == pending.question[..2] => {
                self.send(client, &buffer[..length]);
                true
            }
            Ok(_) => false,
            Err(error) if error.kind() == ErrorKind::WouldBlock => false,
            // Nobody listens there: the next server's turn, at once.
            Err(_) => {
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

/// The next whole message of a stream, whose length stands in front.
fn next_message(stream: &mut Stream) -> Option<Vec<u8>> {
    let [high, low, ..] = stream.unread[..] else {
        return None;
    };
    let end = 2 + usize::from(u16::from_be_bytes([high, low]));
    if stream.unread.len() < end {
        return None;
    }
    let message = stream.unread[2..end].to_vec();
    stream.unread.drain(..end);
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
