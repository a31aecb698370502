//! What the monitor sleeps on: one `poll` over everything that can happen next.

use std::os::fd::{AsFd, BorrowedFd};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::log::Stream;
use crate::resolver::Source;

/// What became ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ready {
    /// A command wants to connect.
    Listener,
    /// A command found no socket to connect to.
    Signal,
    /// The container's first process ended.
    Exit,
    /// The container ran out of memory.
    OutOfMemory,
    /// There is output.
    Output(Stream),
    /// The container takes input again.
    Input,
    /// Client number n sent something, or is gone.
    Client(usize),
    /// Client number n takes packets again.
    ClientRoom(usize),
    /// Process number n ended.
    Joined(usize),
    /// Probe number n printed something.
    ProbeOutput(usize),
    /// Somebody changed the host's packet filter, or deleted a bridge.
    Host,
    /// A client of a published port came whom the kernel cannot translate, or is served no longer.
    Proxied,
    /// The container's name server has something to do.
    Resolver(Source),
}

/// A set of descriptors and their meanings.
#[derive(Default)]
pub(crate) struct Watch<'a> {
    fds: Vec<PollFd<'a>>,
    meanings: Vec<Ready>,
}

impl<'a> Watch<'a> {
    pub(crate) fn readable(&mut self, fd: BorrowedFd<'a>, meaning: Ready) {
        self.fds.push(PollFd::from_borrowed_fd(fd, PollFlags::IN));
        self.meanings.push(meaning);
    }

    pub(crate) fn writable(&mut self, fd: BorrowedFd<'a>, meaning: Ready) {
        self.fds.push(PollFd::from_borrowed_fd(fd, PollFlags::OUT));
        self.meanings.push(meaning);
    }

    /// What a name server waits for.
    pub(crate) fn resolver(&mut self, fd: BorrowedFd<'a>, source: Source) {
        match source {
            Source::Question(_) => self.writable(fd, Ready::Resolver(source)),
            _ => self.readable(fd, Ready::Resolver(source)),
        }
    }

    /// Sleeps until something is ready or `until_ns` (wall clock) is reached; `for_long` gives memory
    /// back before.
    pub(crate) fn wait(mut self, until_ns: Option<i64>, for_long: bool) -> Vec<Ready> {
        let timeout = until_ns.map(|until| {
            let left = (until - sys::journal::now_ns()).max(0);
            Timespec {
                tv_sec: left / 1_000_000_000,
                tv_nsec: left % 1_000_000_000,
            }
        });
        // EINTR, and nothing else, is possible here; then nothing is ready.
        let polled = match for_long {
            true => sys::memory::release_and_poll(&mut self.fds, timeout.as_ref()),
            false => poll(&mut self.fds, timeout.as_ref()),
        };
        if polled.is_err() {
            return Vec::new();
        }
        let pairs = self.fds.iter().zip(&self.meanings);
        pairs
            .filter(|(fd, _)| !fd.revents().is_empty())
            .map(|(_, meaning)| *meaning)
            .collect()
    }
}

/// Whether a descriptor has something to read right now.
pub(crate) fn is_readable(fd: impl AsFd) -> bool {
    let mut fds = [PollFd::from_borrowed_fd(fd.as_fd(), PollFlags::IN)];
    let now = Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    matches!(poll(&mut fds, Some(&now)), Ok(1..))
}
