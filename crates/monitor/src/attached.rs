//! Clients of a monitor: each a packet socket with a bounded queue of what it has not taken yet.

use std::collections::VecDeque;
use std::os::fd::{AsFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use crate::protocol::{Attach, CHUNK_BYTES_MAX, Kind, PACKET_BYTES_MAX, packet};

/// A client that is this far behind is let go.
const QUEUE_BYTES_MAX: usize = 1 << 20;
/// The container waits for an owner that is this far behind.
const OWNER_QUEUE_BYTES_MAX: usize = 256 << 10;

/// One connected command.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) socket: OwnedFd,
    /// What it attached to.
    pub(crate) attach: Attach,
    /// It waits for the container's end.
    pub(crate) waits: bool,
    /// It waits for its `Stop` to be carried out.
    pub(crate) awaits_stop: bool,
    /// The container's processes stand still for it.
    pub(crate) holds: bool,
    pub(crate) gone: bool,
    queue: VecDeque<Vec<u8>>,
    queued_bytes: usize,
}

impl Client {
    pub(crate) fn new(socket: OwnedFd) -> Self {
        // A socket that cannot be made non-blocking is one that is gone; the next send finds out.
        if let Ok(flags) = rustix::fs::fcntl_getfl(&socket) {
            let _ = rustix::fs::fcntl_setfl(&socket, flags | rustix::fs::OFlags::NONBLOCK);
        }
        Self {
            socket,
            attach: Attach::default(),
            waits: false,
            awaits_stop: false,
            holds: false,
            gone: false,
            queue: VecDeque::new(),
            queued_bytes: 0,
        }
    }

    /// Sends a packet now or, where the client is slow, later and in order.
    pub(crate) fn send(&mut self, bytes: Vec<u8>) {
        if self.gone {
            return;
        }
        if self.queue.is_empty() {
            match sys::socket::send(&self.socket, &bytes, &[]) {
                Ok(()) => return,
                Err(Errno::AGAIN) => {}
                Err(_) => {
                    self.gone = true;
                    return;
                }
            }
        }
        self.queued_bytes += bytes.len();
        self.queue.push_back(bytes);
        if !self.attach.owner && self.queued_bytes > QUEUE_BYTES_MAX {
            self.gone = true;
        }
    }

    /// Sends stream bytes in packets that fit.
    pub(crate) fn send_stream(&mut self, kind: Kind, bytes: &[u8]) {
        for chunk in bytes.chunks(CHUNK_BYTES_MAX) {
            self.send(packet(kind, chunk));
        }
    }

    /// Sends what waits, as far as the client takes it.
    pub(crate) fn flush(&mut self) {
        while let Some(bytes) = self.queue.front() {
            match sys::socket::send(&self.socket, bytes, &[]) {
                Ok(()) => {
                    self.queued_bytes -= bytes.len();
                    self.queue.pop_front();
                }
                Err(Errno::AGAIN) => return,
                Err(_) => {
                    self.gone = true;
                    return;
                }
            }
        }
    }

    pub(crate) fn has_queue(&self) -> bool {
        !self.queue.is_empty()
    }

    /// Whether the container's output shall wait for this client.
    pub(crate) fn holds_output(&self) -> bool {
        self.attach.owner && !self.gone && self.queued_bytes > OWNER_QUEUE_BYTES_MAX
    }

    /// Sends all that waits, for at most the given time: the monitor is about to end.
    pub(crate) fn flush_for(&mut self, timeout_ms: i64) {
        let deadline = sys::journal::now_ns() + timeout_ms * 1_000_000;
        while self.has_queue() && !self.gone {
            self.flush();
            let left_ns = deadline - sys::journal::now_ns();
            if !self.has_queue() || left_ns <= 0 {
                return;
            }
            self.poll_for(PollFlags::OUT, left_ns);
        }
    }

    /// Waits until it has closed its end, for at most the given time. What it still sends is dropped.
    pub(crate) fn wait_until_gone(&self, timeout_ms: i64) {
        let deadline = sys::journal::now_ns() + timeout_ms * 1_000_000;
        let mut buffer = vec![0u8; PACKET_BYTES_MAX];
        loop {
            let left_ns = deadline - sys::journal::now_ns();
            if left_ns <= 0 {
                return;
            }
            self.poll_for(PollFlags::IN, left_ns);
            match sys::socket::receive(&self.socket, &mut buffer) {
                Ok((1.., _)) | Err(Errno::AGAIN) => {}
                Ok(_) | Err(_) => return,
            }
        }
    }

    fn poll_for(&self, flags: PollFlags, time_ns: i64) {
        let timeout = Timespec {
            tv_sec: time_ns / 1_000_000_000,
            tv_nsec: time_ns % 1_000_000_000,
        };
        let mut fds = [PollFd::from_borrowed_fd(self.socket.as_fd(), flags)];
        let _ = poll(&mut fds, Some(&timeout));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_owner_is_waited_for_until_it_closes_its_end() {
        let (ours, theirs) = sys::socket::pair().unwrap();
        let client = Client::new(ours);
        let begun = std::time::Instant::now();
        client.wait_until_gone(20);
        assert!(begun.elapsed().as_millis() >= 20, "its end is still open");
        let sleeper = std::thread::spawn(move || {
            // A late word is not the end.
            sys::socket::send(&theirs, b"late", &[]).unwrap();
            std::thread::sleep(std::time::Duration::from_millis(20));
            drop(theirs);
        });
        let begun = std::time::Instant::now();
        client.wait_until_gone(60_000);
        let passed = begun.elapsed().as_millis();
        assert!((15..30_000).contains(&passed), "{passed} ms");
        sleeper.join().unwrap();
    }
}
