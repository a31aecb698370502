//! Who answers for the container's names: the monitor, or a process of its own while the container
//! prints much.
//!
//! Writing a log may wait for the disk, and a question must not wait for a log. A quiet container,
//! which is nearly every one, needs no second process for that.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use network::attachment::Attachment;
use sys::process::Side;

use crate::resolver::{Resolver, Source};
use crate::watch::{Ready, Watch};

/// A container prints much when it prints so many bytes within a second.
const MUCH_BYTES: usize = 4 << 20;
const SECOND_NS: i64 = 1_000_000_000;
/// So long without a question, and the process ends: the monitor answers again.
const IDLE_NS: i64 = 30 * SECOND_NS;

/// The name server, and where it runs.
pub(crate) struct NameServer {
    resolver: Resolver,
    process: Option<OwnedFd>,
    printed_bytes: usize,
    since_ns: i64,
}

impl NameServer {
    pub(crate) fn new(resolver: Resolver) -> Self {
        Self {
            resolver,
            process: None,
            printed_bytes: 0,
            since_ns: 0,
        }
    }

    /// What to sleep on: questions, or the end of the process that answers them.
    pub(crate) fn sources(&self) -> Vec<(Source, BorrowedFd<'_>)> {
        match &self.process {
            Some(process) => vec![(Source::Process, process.as_fd())],
            None => self.resolver.sources().collect(),
        }
    }

    /// When something must be given up.
    pub(crate) fn deadline(&self) -> Option<i64> {
        match self.process {
            Some(_) => None,
            None => self.resolver.deadline(),
        }
    }

    /// Serves what became ready.
    pub(crate) fn serve(&mut self, ready: &[Source], now_ns: i64) {
        let Some(process) = &self.process else {
            self.resolver.serve(ready);
            return self.resolver.keep_time(now_ns);
        };
        if ready.contains(&Source::Process)
            && !matches!(sys::process::reap(process, false), Ok(None))
        {
            self.process = None;
        }
    }

    /// The container printed something.
    pub(crate) fn printed(&mut self, bytes: usize, now_ns: i64) {
        // A clock that was set back begins a new second too.
        if !(0..SECOND_NS).contains(&(now_ns - self.since_ns)) {
            (self.since_ns, self.printed_bytes) = (now_ns, 0);
        }
        self.printed_bytes += bytes;
        if self.printed_bytes >= MUCH_BYTES && self.process.is_none() {
            self.move_out();
        }
    }

    /// Takes over which networks and servers there are, and answers here again.
    pub(crate) fn learn(&mut self, attachment: &Attachment) {
        self.end_process();
        self.resolver.learn(attachment);
    }

    /// Without a process to answer, the monitor goes on.
    fn move_out(&mut self) {
        let monitor = rustix::process::getpid();
        match sys::process::clone_into(0, None) {
            Ok(Side::Child) => {
                let sockets: Vec<_> = self.resolver.sources().map(|(_, fd)| fd).collect();
                sys::caller::close_all_but(&sockets);
                let _ = sys::process::set_parent_death_signal(libc::SIGKILL);
                sys::process::set_name(c"caisson-names");
                if rustix::process::getppid() == Some(monitor) {
                    answer(&mut self.resolver);
                }
                sys::process::exit_now(0)
            }
            Ok(Side::Parent { pidfd, .. }) => {
                // Whoever asked before is answered there.
                self.resolver.forget_clients();
                self.process = Some(pidfd);
            }
            Err(_) => {}
        }
    }

    /// The process ends; the sockets stay.
    pub(crate) fn end_process(&mut self) {
        if let Some(process) = self.process.take() {
            let _ = sys::process::signal(&process, libc::SIGKILL);
            let _ = sys::process::reap(&process, true);
        }
    }
}

impl Drop for NameServer {
    fn drop(&mut self) {
        self.end_process();
    }
}

/// Answers until there was no question for a while. One that comes just then waits in the socket.
fn answer(resolver: &mut Resolver) {
    let mut idle_at_ns = sys::journal::now_ns() + IDLE_NS;
    loop {
        let mut watch = Watch::default();
        for (source, fd) in resolver.sources() {
            watch.resolver(fd, source);
        }
        let deadline = resolver.deadline();
        let until_ns = deadline.map_or(idle_at_ns, |at| at.min(idle_at_ns));
        let sources = watch.wait(Some(until_ns), false).into_iter();
        let sources: Vec<Source> = sources
            .filter_map(|ready| match ready {
                Ready::Resolver(source) => Some(source),
                _ => None,
            })
            .collect();
        let now_ns = sys::journal::now_ns();
        if !sources.is_empty() || deadline.is_some() {
            idle_at_ns = now_ns + IDLE_NS;
        } else if now_ns >= idle_at_ns {
            return;
        }
        resolver.serve(&sources);
        resolver.keep_time(now_ns);
    }
}
