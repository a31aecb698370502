//! One question on its way to a server outside, by the protocol that its client used: who asks again by
//! TCP wants what does not fit a datagram.

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, connect, socket_with};

use super::{DNS_PORT, MESSAGE_BYTES_MAX, next_message};

/// A connection for one question.
pub(super) enum Upstream {
    Datagram(UdpSocket),
    Stream {
        socket: TcpStream,
        /// With its length in front; nothing once it was sent.
        unsent: Vec<u8>,
        unread: Vec<u8>,
    },
}

/// What came of a connection that became ready.
pub(super) enum Progress {
    Answer(Vec<u8>),
    Waits,
    /// Nobody listens there.
    Failed,
}

impl Upstream {
    pub(super) fn by_datagram(server: IpAddr, question: &[u8]) -> std::io::Result<Self> {
        let socket = socket_for(server, SocketType::DGRAM)?;
        connect(&socket, &SocketAddr::from((server, DNS_PORT)))?;
        let socket = UdpSocket::from(socket);
        socket.send(question)?;
        Ok(Self::Datagram(socket))
    }

    pub(super) fn by_stream(server: IpAddr, question: &[u8]) -> std::io::Result<Self> {
        let socket = socket_for(server, SocketType::STREAM)?;
        match connect(&socket, &SocketAddr::from((server, DNS_PORT))) {
            Ok(()) | Err(Errno::INPROGRESS) => {}
            Err(errno) => return Err(errno.into()),
        }
        let length = u16::try_from(question.len()).map_err(|_| ErrorKind::InvalidInput)?;
        Ok(Self::Stream {
            socket: TcpStream::from(socket),
            unsent: [&length.to_be_bytes(), question].concat(),
            unread: Vec::new(),
        })
    }

    /// Its descriptor, and whether it waits for room to write.
    pub(super) fn source(&self) -> (BorrowedFd<'_>, bool) {
        match self {
            Self::Datagram(socket) => (socket.as_fd(), false),
            Self::Stream { socket, unsent, .. } => (socket.as_fd(), !unsent.is_empty()),
        }
    }

    /// Goes on where it became ready.
    pub(super) fn go_on(&mut self) -> Progress {
        let mut buffer = vec![0u8; MESSAGE_BYTES_MAX];
        match self {
            Self::Datagram(socket) => match socket.recv(&mut buffer) {
                Ok(length) => {
                    buffer.truncate(length);
                    Progress::Answer(buffer)
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => Progress::Waits,
                Err(_) => Progress::Failed,
            },
            Self::Stream { socket, unsent, .. } if !unsent.is_empty() => {
                // A question fits the buffer of a new connection.
                match socket.write(unsent) {
                    Ok(length) if length == unsent.len() => unsent.clear(),
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                    _ => return Progress::Failed,
                }
                Progress::Waits
            }
            Self::Stream { socket, unread, .. } => match socket.read(&mut buffer) {
                Ok(length @ 1..) => {
                    unread.extend_from_slice(&buffer[..length]);
                    next_message(unread).map_or(Progress::Waits, Progress::Answer)
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => Progress::Waits,
                _ => Progress::Failed,
            },
        }
    }
}

fn socket_for(server: IpAddr, kind: SocketType) -> std::io::Result<OwnedFd> {
    let family = match server {
        IpAddr::V4(_) => AddressFamily::INET,
        IpAddr::V6(_) => AddressFamily::INET6,
    };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    Ok(socket_with(family, kind, flags, None)?)
}
