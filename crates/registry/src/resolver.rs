//! Names of registries to addresses, without the C library.
//!
//! A static glibc has no working NSS: getaddrinfo would load shared objects that need not fit. So
//! the files that matter are read here: `/etc/hosts`, then the name servers of `/etc/resolv.conf`,
//! A and AAAA, by UDP and, where an answer is truncated, by TCP. Answers must come from the server
//! asked, bear the random id of the question and repeat it.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use simple_dns::rdata::RData;
use simple_dns::{CLASS, Name, Packet, PacketFlag, QCLASS, QTYPE, Question, RCODE, TYPE};
use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::NextTimeout;

/// The addresses that ureq takes.
pub(crate) const ADDRESSES_MAX: usize = 16;
/// Of hosts and resolv.conf.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// As the C library.
pub(crate) const SERVERS_MAX: usize = 3;
pub(crate) const SEARCH_MAX: usize = 6;
/// How often the list of servers is gone through.
const ROUNDS: u32 = 2;
const ANSWER_WAIT: Duration = Duration::from_secs(2);
const UDP_BYTES_MAX: usize = 4096;
const DNS_PORT: u16 = 53;

/// The resolver of our HTTP client.
#[derive(Clone, Debug)]
pub(crate) struct HostResolver {
    hosts: PathBuf,
    resolv_conf: PathBuf,
    port: u16,
}

impl Default for HostResolver {
    fn default() -> Self {
        let (hosts, resolv_conf) = ("/etc/hosts".into(), "/etc/resolv.conf".into());
        Self {
            hosts,
            resolv_conf,
            port: DNS_PORT,
        }
    }
}

impl Resolver for HostResolver {
    fn resolve(
        &self,
        uri: &Uri,
        _config: &Config,
        _timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let host = uri.host().ok_or(ureq::Error::HostNotFound)?;
        let default = if uri.scheme_str() == Some("http") {
            80
        } else {
            443
        };
        let port = uri.port_u16().unwrap_or(default);
        let mut resolved = self.empty();
        for address in self.lookup(host)?.into_iter().take(ADDRESSES_MAX) {
            resolved.push(SocketAddr::new(address, port));
        }
        if resolved.is_empty() {
            Err(ureq::Error::HostNotFound)
        } else {
            Ok(resolved)
        }
    }
}

impl HostResolver {
    /// The addresses of a host name or address.
    pub(crate) fn lookup(&self, host: &str) -> Result<Vec<IpAddr>, ureq::Error> {
        let literal = host.trim_start_matches('[').trim_end_matches(']');
        if let Ok(address) = literal.parse() {
            return Ok(vec![address]);
        }
        let name = host.trim_end_matches('.').to_ascii_lowercase();
        let hosts = find_in_hosts(&read_limited(&self.hosts), &name);
        if !hosts.is_empty() {
            return Ok(hosts);
        }
        if name == "localhost" || name.ends_with(".localhost") {
            return Ok(vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]);
        }
        let settings = Settings::parse(&read_limited(&self.resolv_conf));
        let mut failure = None;
        for candidate in settings.candidates(&name, host.ends_with('.')) {
            match self.query(&settings.servers, &candidate) {
                Ok(addresses) if !addresses.is_empty() => return Ok(addresses),
                Ok(_) => {}
                Err(error) => failure = Some(error),
            }
        }
        Err(failure.map_or(ureq::Error::HostNotFound, ureq::Error::Io))
    }

    /// Asks one server after the other. An empty list: there is no such name.
    fn query(&self, servers: &[IpAddr], name: &str) -> std::io::Result<Vec<IpAddr>> {
        let mut failure = std::io::Error::other("no name server is configured");
        for _ in 0..ROUNDS {
            for &server in servers {
                match ask(SocketAddr::new(server, self.port), name) {
                    Ok(addresses) => return Ok(addresses),
                    Err(error) => failure = error,
                }
            }
        }
        Err(failure)
    }
}

/// What resolv.conf says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Settings {
    pub(crate) servers: Vec<IpAddr>,
    search: Vec<String>,
    dots_min: usize,
}

impl Settings {
    pub(crate) fn parse(text: &str) -> Self {
        let mut settings = Self {
            servers: Vec::new(),
            search: Vec::new(),
            dots_min: 1,
        };
        for line in text.lines() {
            let mut words = line.split_ascii_whitespace();
            match words.next() {
                Some("nameserver") if settings.servers.len() < SERVERS_MAX => {
                    // A scope (`fe80::1%eth0`) is not understood; such a server is left out.
                    let server = words.next().and_then(|word| word.parse::<IpAddr>().ok());
                    settings.servers.extend(server);
                }
                Some("search" | "domain") => {
                    settings.search = words.take(SEARCH_MAX).map(str::to_owned).collect();
                }
                Some("options") => {
                    let dots = words.find_map(|word| word.strip_prefix("ndots:"));
                    settings.dots_min = dots.and_then(|dots| dots.parse().ok()).unwrap_or(1);
                }
                _ => {}
            }
        }
        if settings.servers.is_empty() {
            settings.servers.push(Ipv4Addr::LOCALHOST.into());
        }
        settings
    }

    /// The full names to try, in the C library's order.
    pub(crate) fn candidates(&self, name: &str, absolute: bool) -> Vec<String> {
        if absolute {
            return vec![name.to_owned()];
        }
        let dots = name.bytes().filter(|&byte| byte == b'.').count();
        let mut names: Vec<String> = self
            .search
            .iter()
            .map(|domain| format!("{name}.{domain}"))
            .collect();
        let place = if dots >= self.dots_min {
            0
        } else {
            names.len()
        };
        names.insert(place, name.to_owned());
        names
    }
}

pub(crate) fn find_in_hosts(text: &str, name: &str) -> Vec<IpAddr> {
    let mut found = Vec::new();
    for line in text.lines() {
        let line = line.split('#').next().unwrap_or_default();
        let mut words = line.split_ascii_whitespace();
        let Some(Ok(address)) = words.next().map(str::parse::<IpAddr>) else {
            continue;
        };
        if words.any(|word| word.eq_ignore_ascii_case(name)) {
            found.push(address);
        }
    }
    found
}

fn read_limited(path: &Path) -> String {
    let mut text = String::new();
    // A file that is missing or no text says nothing.
    let file = std::fs::File::open(path);
    let _ = file.and_then(|file| file.take(FILE_BYTES_MAX).read_to_string(&mut text));
    text
}

fn ask(server: SocketAddr, name: &str) -> std::io::Result<Vec<IpAddr>> {
    let local = if server.is_ipv4() {
        "0.0.0.0:0"
    } else {
        "[::]:0"
    };
    let socket = UdpSocket::bind(local)?;
    // Connected: the kernel drops what others send.
    socket.connect(server)?;
    let mut pending = vec![question(name, TYPE::A)?, question(name, TYPE::AAAA)?];
    for (_, bytes) in &pending {
        socket.send(bytes)?;
    }
    let end = Instant::now() + ANSWER_WAIT;
    let mut addresses = Vec::new();
    let mut buffer = [0; UDP_BYTES_MAX];
    while !pending.is_empty() {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            // One family's answer suffices: some servers never answer for the other.
            return if addresses.is_empty() {
                Err(timed_out(server))
            } else {
                Ok(addresses)
            };
        }
        socket.set_read_timeout(Some(left))?;
        let length = match socket.recv(&mut buffer) {
            Ok(length) => length,
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => continue,
            Err(error) => return Err(error),
        };
        let Ok(answer) = Packet::parse(&buffer[..length]) else {
            continue;
        };
        let Some(at) = pending.iter().position(|(id, _)| *id == answer.id()) else {
            continue;
        };
        if !repeats(&answer, name) {
            continue;
        }
        let (id, bytes) = pending.swap_remove(at);
        if answer.has_flags(PacketFlag::TRUNCATION) {
            addresses.extend(ask_by_tcp(server, name, id, &bytes)?);
        } else {
            addresses.extend(read_answer(&answer, server)?);
        }
    }
    // IPv4 first: a host with a half-working IPv6 is common, the other way round is rare.
    addresses.sort_by_key(|address| address.is_ipv6());
    Ok(addresses)
}

fn ask_by_tcp(
    server: SocketAddr,
    name: &str,
    id: u16,
    question: &[u8],
) -> std::io::Result<Vec<IpAddr>> {
    let mut stream = TcpStream::connect_timeout(&server, ANSWER_WAIT)?;
    stream.set_read_timeout(Some(ANSWER_WAIT))?;
    stream.set_write_timeout(Some(ANSWER_WAIT))?;
    let length = u16::try_from(question.len()).map_err(|_| malformed(server))?;
    stream.write_all(&[&length.to_be_bytes(), question].concat())?;
    let mut length = [0; 2];
    stream.read_exact(&mut length)?;
    let mut bytes = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut bytes)?;
    let answer = Packet::parse(&bytes).map_err(|_| malformed(server))?;
    if answer.id() != id || !repeats(&answer, name) {
        return Err(malformed(server));
    }
    read_answer(&answer, server)
}

pub(crate) fn read_answer(answer: &Packet<'_>, server: SocketAddr) -> std::io::Result<Vec<IpAddr>> {
    match answer.rcode() {
        RCODE::NoError => {}
        RCODE::NameError => return Ok(Vec::new()),
        code => {
            return Err(std::io::Error::other(format!(
                "name server {server} answers {code:?}"
            )));
        }
    }
    // Aliases are followed by the server; whatever addresses it gives belong to the question.
    let addresses = answer
        .answers
        .iter()
        .filter_map(|record| match &record.rdata {
            RData::A(a) => Some(IpAddr::from(Ipv4Addr::from(a.address))),
            RData::AAAA(aaaa) => Some(IpAddr::from(Ipv6Addr::from(aaaa.address))),
            _ => None,
        });
    Ok(addresses.take(ADDRESSES_MAX).collect())
}

pub(crate) fn repeats(answer: &Packet<'_>, name: &str) -> bool {
    let asked = answer
        .questions
        .first()
        .map(|question| question.qname.to_string());
    answer.has_flags(PacketFlag::RESPONSE)
        && asked.is_some_and(|asked| asked.trim_end_matches('.').eq_ignore_ascii_case(name))
}

pub(crate) fn question(name: &str, kind: TYPE) -> std::io::Result<(u16, Vec<u8>)> {
    let id = random_id()?;
    let invalid = |_| std::io::Error::other(format!("{name:?} is no host name"));
    let mut packet = Packet::new_query(id);
    packet.set_flags(PacketFlag::RECURSION_DESIRED);
    let qname = Name::new(name).map_err(invalid)?;
    let (kind, class) = (QTYPE::TYPE(kind), QCLASS::CLASS(CLASS::IN));
    packet
        .questions
        .push(Question::new(qname, kind, class, false));
    let bytes = packet.build_bytes_vec().map_err(invalid)?;
    Ok((id, bytes))
}

/// Unpredictable, so that nobody off the path can answer in the server's place.
fn random_id() -> std::io::Result<u16> {
    let mut bytes = [0; 2];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(u16::from_be_bytes(bytes))
}

fn timed_out(server: SocketAddr) -> std::io::Error {
    let text = format!("name server {server} does not answer");
    std::io::Error::new(std::io::ErrorKind::TimedOut, text)
}

fn malformed(server: SocketAddr) -> std::io::Error {
    std::io::Error::other(format!("name server {server} gives a malformed answer"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use simple_dns::ResourceRecord;
    use simple_dns::rdata::{A, AAAA};

    #[test]
    fn hosts_and_resolv_conf_are_read_as_the_c_library_does() {
        let hosts =
            "127.0.0.1 localhost # x\n10.0.0.1  a Registry.Lan b\nbad line\n::1 registry.lan\n";
        let found = find_in_hosts(hosts, "registry.lan");
        assert_eq!(
            found,
            [
                "10.0.0.1".parse::<IpAddr>().unwrap(),
                "::1".parse().unwrap()
            ]
        );
        assert!(find_in_hosts(hosts, "x").is_empty());
        let settings = Settings::parse(
            "# c\nnameserver 10.0.0.2\nnameserver x\nsearch a.lan b.lan\noptions rotate ndots:2\n",
        );
        assert_eq!(settings.servers, ["10.0.0.2".parse::<IpAddr>().unwrap()]);
        assert_eq!(
            settings.candidates("r.x", false),
            ["r.x.a.lan", "r.x.b.lan", "r.x"]
        );
        assert_eq!(
            settings.candidates("r.x.y", false),
            ["r.x.y", "r.x.y.a.lan", "r.x.y.b.lan"]
        );
        assert_eq!(settings.candidates("r", true), ["r"]);
        assert_eq!(
            Settings::parse("").servers,
            [IpAddr::from(Ipv4Addr::LOCALHOST)]
        );
    }

    /// A name server that knows `known.lan` and answers everything else with NXDOMAIN. It first
    /// sends an answer with a wrong id, which must be ignored.
    fn name_server(questions: usize) -> u16 {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let port = socket.local_addr().unwrap().port();
        std::thread::spawn(move || {
            let mut buffer = [0; 512];
            for _ in 0..questions {
                let (length, from) = socket.recv_from(&mut buffer).unwrap();
                let asked = Packet::parse(&buffer[..length]).unwrap();
                let name = asked.questions[0].qname.clone();
                for id in [asked.id().wrapping_add(1), asked.id()] {
                    let mut answer = Packet::new_reply(id);
                    answer.questions.push(asked.questions[0].clone());
                    if name.to_string() == "known.lan" {
                        let last = if id == asked.id() { 7 } else { 66 };
                        let rdata = match asked.questions[0].qtype {
                            QTYPE::TYPE(TYPE::A) => RData::A(A {
                                address: (10 << 24) | last,
                            }),
                            _ => RData::AAAA(AAAA {
                                address: u128::from(last),
                            }),
                        };
                        answer
                            .answers
                            .push(ResourceRecord::new(name.clone(), CLASS::IN, 1, rdata));
                    } else {
                        *answer.rcode_mut() = RCODE::NameError;
                    }
                    socket
                        .send_to(&answer.build_bytes_vec().unwrap(), from)
                        .unwrap();
                }
            }
        });
        port
    }

    #[test]
    fn a_name_is_resolved_by_its_server_and_only_by_its_answers() {
        let directory = std::env::temp_dir().join(format!("caisson-dns-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let resolv_conf = directory.join("resolv.conf");
        std::fs::write(&resolv_conf, "nameserver 127.0.0.1\n").unwrap();
        let hosts = directory.join("hosts");
        let resolver = HostResolver {
            hosts,
            resolv_conf,
            port: name_server(4),
        };
        let found = resolver.lookup("known.lan").unwrap();
        assert_eq!(
            found,
            [
                "10.0.0.7".parse::<IpAddr>().unwrap(),
                "::7".parse().unwrap()
            ]
        );
        let missing = resolver.lookup("missing.lan");
        assert!(
            matches!(missing, Err(ureq::Error::HostNotFound)),
            "{missing:?}"
        );
        assert_eq!(resolver.lookup("[::1]").unwrap().len(), 1);
        assert_eq!(resolver.lookup("localhost").unwrap().len(), 2);
        std::fs::remove_dir_all(&directory).unwrap();
    }
}
