//! The command's side of a monitor's socket.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use runtime::Failure;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use serde::Serialize;
use sys::{Context, SysError};

use crate::protocol::{self, Kind, PACKET_BYTES_MAX};

/// Whether what was sent never reached a monitor: it is gone, or was killed before it took the connection.
pub fn is_gone(error: &SysError) -> bool {
    matches!(error.errno, Errno::PIPE | Errno::CONNRESET)
}

/// A connection to a monitor.
#[derive(Debug)]
pub struct Connection {
    socket: OwnedFd,
    buffer: Vec<u8>,
    was_unread: bool,
}

/// One packet from a monitor.
#[derive(Debug)]
pub struct Packet {
    /// What it is.
    pub kind: Kind,
    /// Its body.
    pub body: Vec<u8>,
    /// Descriptors that came with it.
    pub fds: Vec<OwnedFd>,
}

impl Connection {
    /// Connects to the monitor of a run directory.
    ///
    /// # Errors
    /// `ENOENT` or `ECONNREFUSED` where there is none.
    pub fn open(run_directory: &Path) -> Result<Self, SysError> {
        sys::socket::connect(run_directory, protocol::SOCKET).map(Self::from_socket)
    }

    /// Takes an end of a socket pair whose other end a monitor has.
    pub fn from_socket(socket: OwnedFd) -> Self {
        Self {
            socket,
            buffer: Vec::new(),
            was_unread: false,
        }
    }

    /// Sends a request.
    ///
    /// # Errors
    /// `EPIPE` where the monitor is gone.
    pub fn send(&self, kind: Kind, body: &impl Serialize) -> Result<(), SysError> {
        sys::socket::send(&self.socket, &protocol::json_packet(kind, body), &[])
            .on("speak to", "monitor")
    }

    /// Asks for a process, with its streams: in a file where it is longer than a packet.
    ///
    /// # Errors
    /// `EPIPE` where the monitor is gone; `E2BIG` where no kernel passes as much to a program.
    pub fn execute(
        &self,
        request: &protocol::Execute,
        stdio: &[BorrowedFd<'_>],
    ) -> Result<(), SysError> {
        let packet = protocol::json_packet(Kind::Execute, request);
        if packet.len() <= PACKET_BYTES_MAX {
            return sys::socket::send(&self.socket, &packet, stdio).on("speak to", "monitor");
        }
        let (_, body) = protocol::split(&packet).expect("invariant: a packet of our own");
        if body.len() as u64 > protocol::EXECUTE_BYTES_MAX {
            return Err(SysError::new(
                "pass",
                "arguments and environment",
                Errno::TOOBIG,
            ));
        }
        let file = crate::spawn::memory_file("exec", body)?;
        let mut fds = stdio.to_vec();
        fds.push(file.as_fd());
        let packet = protocol::packet(Kind::ExecuteFile, b"");
        sys::socket::send(&self.socket, &packet, &fds).on("speak to", "monitor")
    }

    /// Sends raw bytes, waiting where the monitor is busy.
    ///
    /// # Errors
    /// `EPIPE` where the monitor is gone.
    pub fn send_raw(&self, kind: Kind, body: &[u8]) -> Result<(), SysError> {
        sys::socket::send(&self.socket, &protocol::packet(kind, body), &[])
            .on("speak to", "monitor")
    }

    /// The next packet; `None` where the monitor is gone.
    ///
    /// # Errors
    /// Where the socket fails, or the monitor speaks another version.
    pub fn receive(&mut self) -> Result<Option<Packet>, SysError> {
        self.buffer.resize(PACKET_BYTES_MAX, 0);
        let (length, fds) = loop {
            match sys::socket::receive(&self.socket, &mut self.buffer) {
                // Told once, and before what the monitor said last.
                Err(Errno::CONNRESET) if !self.was_unread => self.was_unread = true,
                other => break other.on("hear from", "monitor")?,
            }
        };
        if length == 0 {
            return Ok(None);
        }
        let (kind, body) = protocol::split(&self.buffer[..length])
            .ok_or_else(|| SysError::new("understand", "monitor", rustix::io::Errno::PROTO))?;
        Ok(Some(Packet {
            kind,
            body: body.to_vec(),
            fds,
        }))
    }

    /// Sends a request that is only carried out or not. Whether the monitor said that it is: else it has ended,
    /// or was killed.
    ///
    /// # Errors
    /// The monitor's refusal.
    pub fn ask(&mut self, kind: Kind, body: &impl Serialize) -> Result<bool, Failure> {
        self.ask_with(kind, body, &[])
    }

    /// As [`Self::ask`], with descriptors.
    ///
    /// # Errors
    /// The monitor's refusal.
    pub fn ask_with(
        &mut self,
        kind: Kind,
        body: &impl Serialize,
        fds: &[BorrowedFd<'_>],
    ) -> Result<bool, Failure> {
        let packet = protocol::json_packet(kind, body);
        match sys::socket::send(&self.socket, &packet, fds).on("speak to", "monitor") {
            Err(error) if is_gone(&error) => Ok(false),
            Err(error) => Err(error.into()),
            Ok(()) => self.is_confirmed(),
        }
    }

    /// Has the monitor write its container's state anew. Whether it said in time that it did.
    pub fn save_within(&mut self, patience: Timespec) -> bool {
        if self.send(Kind::Save, &()).is_err() {
            return false;
        }
        let mut fds = [PollFd::new(&self.socket, PollFlags::IN)];
        // One packet, and no other follows: this client asked for nothing else.
        matches!(poll(&mut fds, Some(&patience)), Ok(1..)) && self.is_confirmed().unwrap_or(false)
    }

    /// Whether the monitor went without having read all that was sent (unix(7): ECONNRESET).
    pub fn was_unread(&self) -> bool {
        self.was_unread
    }

    /// Waits for the answer to a request that is only carried out or not. Whether the monitor said that it is:
    /// else it has ended, or was killed.
    ///
    /// # Errors
    /// The monitor's refusal.
    pub fn is_confirmed(&mut self) -> Result<bool, Failure> {
        loop {
            match self.receive()? {
                None => return Ok(false),
                Some(Packet {
                    kind: Kind::Done, ..
                }) => return Ok(true),
                Some(Packet {
                    kind: Kind::Failed,
                    body,
                    ..
                }) => return Err(failure(&body)),
                Some(_) => {}
            }
        }
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Waits for a new monitor's word on its start.
///
/// # Errors
/// Why the container does not run.
pub fn started(channel: OwnedFd) -> Result<protocol::Started, Failure> {
    let mut connection = Connection::from_socket(channel);
    match connection.receive()? {
        Some(Packet {
            kind: Kind::Started,
            body,
            ..
        }) => serde_json::from_slice(&body)
            .map_err(|_| Failure::setup("the monitor's answer cannot be read")),
        Some(Packet { body, .. }) => Err(failure(&body)),
        None => Err(Failure::setup(
            "the monitor ended before the container was started",
        )),
    }
}

/// The failure in a packet's body.
pub fn failure(body: &[u8]) -> Failure {
    serde_json::from_slice(body)
        .unwrap_or_else(|_| Failure::setup("the monitor's answer cannot be read"))
}
