//! Holding a published port, and finding who holds one that is taken.

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, ipproto, sockopt};
use sys::{Context, SysError};
use types::port::Protocol;

/// What a held socket may queue: nothing is ever read from it.
const QUEUE_BYTES: usize = 2048;
/// Lines of a table of sockets that are read.
const SOCKETS_MAX: usize = 1_000_000;
/// `TCP_LISTEN` in the kernel's tables.
const STATE_LISTEN: &str = "0A";

/// Why a port could not be held.
#[derive(Debug, thiserror::Error)]
pub enum HoldError {
    /// Somebody has it. Docker's words, and who it is where /proc tells.
    #[error("failed to bind host port {address}/{protocol}: address already in use{}",
        .holder.as_ref().map(|holder| format!(" (by {holder})")).unwrap_or_default())]
    InUse {
        /// The address and port.
        address: SocketAddr,
        /// The protocol.
        protocol: Protocol,
        /// Who has it.
        holder: Option<Holder>,
    },
    /// The host has no such address.
    #[error("failed to bind host port {address}/{protocol}: cannot assign requested address")]
    NoSuchAddress {
        /// The address and port.
        address: SocketAddr,
        /// The protocol.
        protocol: Protocol,
    },
    /// The kernel does not speak SCTP.
    #[error(
        "cannot publish {address}/sctp: this kernel has no SCTP; its module may be loaded with 'modprobe sctp', or publish a TCP or UDP port"
    )]
    NoSctp {
        /// The address and port.
        address: SocketAddr,
    },
    /// A step failed.
    #[error(transparent)]
    Socket(#[from] SysError),
}

/// A process that has a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Its id.
    pub pid: u32,
    /// Its name.
    pub name: String,
}

impl std::fmt::Display for Holder {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}, process {}", self.name, self.pid)
    }
}

/// Binds a port without listening: rivals get `EADDRINUSE`, connections are not stolen, and it
/// ends with the process that has the descriptor. Port 0 takes a free one. An IPv6 socket takes
/// IPv6 only.
///
/// # Errors
/// [`HoldError::InUse`] names who has it.
pub fn hold(protocol: Protocol, address: SocketAddr) -> Result<OwnedFd, HoldError> {
    let family = match address {
        SocketAddr::V4(_) => AddressFamily::INET,
        SocketAddr::V6(_) => AddressFamily::INET6,
    };
    let (kind, number) = match protocol {
        Protocol::Tcp => (SocketType::STREAM, ipproto::TCP),
        Protocol::Udp => (SocketType::DGRAM, ipproto::UDP),
        Protocol::Sctp => (SocketType::STREAM, ipproto::SCTP),
    };
    let what = || format!("{address}/{protocol}");
    let socket = match rustix::net::socket_with(family, kind, SocketFlags::CLOEXEC, Some(number)) {
        Err(Errno::PROTONOSUPPORT) if protocol == Protocol::Sctp => {
            return Err(HoldError::NoSctp { address });
        }
        other => other.on("open a socket for", what())?,
    };
    if address.is_ipv6() {
        sockopt::set_ipv6_v6only(&socket, true).on("confine to IPv6", what())?;
    }
    match bind(&socket, protocol, &address) {
        Ok(()) => {}
        Err(Errno::ADDRINUSE) => {
            let holder = holder(protocol, address.port());
            return Err(HoldError::InUse {
                address,
                protocol,
                holder,
            });
        }
        Err(Errno::ADDRNOTAVAIL) => return Err(HoldError::NoSuchAddress { address, protocol }),
        Err(errno) => return Err(SysError::new("bind", what(), errno).into()),
    }
    if protocol == Protocol::Udp {
        sockopt::set_socket_recv_buffer_size(&socket, QUEUE_BYTES).on("hold", what())?;
    }
    Ok(socket)
}

/// Connections of an earlier holder that linger must not stand in the way: then once more with
/// SO_REUSEADDR, which is off again afterwards, or a rival that has it on could bind and listen
/// beside us. Not at once, or two who bind at the same moment would both succeed; and not with UDP,
/// where it shares the port.
fn bind(socket: &OwnedFd, protocol: Protocol, address: &SocketAddr) -> Result<(), Errno> {
    match rustix::net::bind(socket, address) {
        Err(Errno::ADDRINUSE) if protocol != Protocol::Udp => {}
        other => return other,
    }
    sockopt::set_socket_reuseaddr(socket, true)?;
    rustix::net::bind(socket, address)?;
    sockopt::set_socket_reuseaddr(socket, false)
}

/// The address and port that a held socket has.
///
/// # Errors
/// The kernel's answer.
pub fn held_address(socket: &OwnedFd) -> Result<SocketAddr, SysError> {
    let any = rustix::net::getsockname(socket).on("look at", "held port")?;
    SocketAddr::try_from(any).on("look at", "held port")
}

/// Finds who listens on a port, as far as /proc shows it to us. Sockets that are bound and do not
/// listen (such as ours) appear nowhere.
pub fn holder(protocol: Protocol, port: u16) -> Option<Holder> {
    let tables: &[&str] = match protocol {
        Protocol::Tcp => &["/proc/net/tcp", "/proc/net/tcp6"],
        Protocol::Udp => &["/proc/net/udp", "/proc/net/udp6"],
        Protocol::Sctp => return None,
    };
    let inodes: Vec<u64> = tables
        .iter()
        .flat_map(|table| {
            let text = fs::read_to_string(table).unwrap_or_default();
            listening_inodes(&text, protocol, port)
        })
        .collect();
    if inodes.is_empty() {
        return None;
    }
    let wanted: Vec<String> = inodes
        .iter()
        .map(|inode| format!("socket:[{inode}]"))
        .collect();
    fs::read_dir("/proc")
        .ok()?
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
        .find(|pid| has_socket(*pid, &wanted))
        .map(|pid| Holder {
            pid,
            name: sys::host::read_text(&format!("/proc/{pid}/comm"))
                .trim_end()
                .to_owned(),
        })
}

fn has_socket(pid: u32, wanted: &[String]) -> bool {
    let Ok(descriptors) = fs::read_dir(format!("/proc/{pid}/fd")) else {
        return false;
    };
    descriptors.flatten().any(|descriptor| {
        fs::read_link(descriptor.path())
            .is_ok_and(|target| wanted.iter().any(|it| target.as_os_str() == it.as_str()))
    })
}

/// The inodes of the sockets on a port in one of the kernel's tables: columns are separated by
/// blanks; the second is `address:port` in hexadecimal, the fourth the state, the tenth the inode.
fn listening_inodes(table: &str, protocol: Protocol, port: u16) -> Vec<u64> {
    table
        .lines()
        .skip(1)
        .take(SOCKETS_MAX)
        .filter_map(|line| {
            let mut columns = line.split_ascii_whitespace();
            let (_, local) = columns.nth(1)?.rsplit_once(':')?;
            let state = columns.nth(1)?;
            let inode = columns.nth(5)?.parse().ok()?;
            let here = u16::from_str_radix(local, 16).ok()? == port;
            (here && (protocol != Protocol::Tcp || state == STATE_LISTEN)).then_some(inode)
        })
        .collect()
}

/// Whether an address is one that published ports lead to by translation: `::1` cannot be.
pub fn can_be_translated(host: IpAddr) -> bool {
    match host {
        IpAddr::V4(_) => true,
        IpAddr::V6(address) => !address.is_loopback(),
    }
}

/// Whether a monitor can pass a protocol's connections on.
pub fn can_be_proxied(protocol: Protocol) -> bool {
    protocol != Protocol::Sctp
}

/// Whether this host has any IPv6 address.
pub fn host_has_ipv6() -> bool {
    !sys::host::read_text("/proc/net/if_inet6").is_empty()
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream, UdpSocket};

    use super::*;

    #[test]
    fn a_held_port_is_refused_to_rivals_and_to_us() {
        let cases = [
            (Protocol::Tcp, "127.0.0.1:0"),
            (Protocol::Udp, "127.0.0.1:0"),
            (Protocol::Tcp, "[::1]:0"),
            (Protocol::Udp, "0.0.0.0:0"),
        ];
        for (protocol, address) in cases {
            let held = hold(protocol, address.parse().unwrap()).unwrap();
            let address = held_address(&held).unwrap();
            let error = hold(protocol, address).unwrap_err();
            let expected =
                format!("failed to bind host port {address}/{protocol}: address already in use");
            assert!(error.to_string().starts_with(&expected), "{error}");
            let rival = match protocol {
                Protocol::Udp => UdpSocket::bind(address).err(),
                // The standard library's listener sets SO_REUSEADDR.
                _ => TcpListener::bind(address).err(),
            };
            assert_eq!(
                rival.unwrap().kind(),
                std::io::ErrorKind::AddrInUse,
                "{protocol} {address}"
            );
            if protocol == Protocol::Tcp {
                assert!(TcpStream::connect(address).is_err());
            }
            drop(held);
            hold(protocol, address).unwrap();
        }
    }

    #[test]
    fn connections_that_linger_do_not_keep_a_port() {
        use std::io::Read;
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let mut client = TcpStream::connect(address).unwrap();
        // The side that closes first lingers.
        drop(listener.accept().unwrap());
        assert_eq!(client.read(&mut [0; 1]).unwrap(), 0);
        drop((client, listener));
        let held = hold(Protocol::Tcp, address).unwrap();
        assert!(TcpListener::bind(address).is_err());
        drop(held);
    }

    #[test]
    fn a_holder_is_named() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let error = hold(Protocol::Tcp, address).unwrap_err();
        let HoldError::InUse { holder, .. } = error else {
            panic!("{error}");
        };
        assert_eq!(holder.unwrap().pid, std::process::id());
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let port = socket.local_addr().unwrap().port();
        assert!(holder_pid(Protocol::Udp, port) == Some(std::process::id()));
    }

    fn holder_pid(protocol: Protocol, port: u16) -> Option<u32> {
        holder(protocol, port).map(|holder| holder.pid)
    }

    #[test]
    fn an_address_that_is_not_ours_is_said_so() {
        let address = "192.0.2.77:80".parse().unwrap();
        let error = hold(Protocol::Tcp, address).unwrap_err();
        assert!(matches!(error, HoldError::NoSuchAddress { .. }), "{error}");
    }

    #[test]
    fn tables_of_sockets_are_read_and_rubbish_is_skipped() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n   \
            0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1 0 100 0 0 10 0\n   \
            1: 0100007F:1F90 0100007F:CAFE 01 00000000:00000000 00:00000000 00000000     0        0 4712 1\n\
            rubbish\n : : : :\n";
        assert_eq!(listening_inodes(table, Protocol::Tcp, 8080), [4711]);
        assert_eq!(listening_inodes(table, Protocol::Udp, 8080), [4711, 4712]);
        assert!(listening_inodes(table, Protocol::Tcp, 80).is_empty());
        assert!(listening_inodes("", Protocol::Tcp, 80).is_empty());
    }
}
