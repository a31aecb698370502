//! `exec`: one more process in a running container, with the container's confinement.
//!
//! ```text
//! monitor                         middle                         process
//!   fork ───────────────────────▶ join cgroups
//!                                 join namespaces by pidfd
//!                                 fork into the pid namespace ─▶ root, user, terminal
//!   pidfd ◀── "P" + pidfd ─────── exit                           confine, exec
//!   EOF = running, "F" = failed
//! ```
//! The middle process exists because a pid namespace is only entered by a child. The process is
//! reparented to the monitor (a subreaper), which reaps it.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use sys::process::{self, Side};
use sys::rootfs::Dir;
use sys::{Context, SysError};

use crate::cgroup::ContainerCgroup;
use crate::failure::Failure;
use crate::init::{self, Confinement};
use crate::launch::{SeccompRequest, UserRequest};
use crate::seccomp::Program;
use crate::spec::Process;
use crate::start::{Stdio, chain, report, seccomp_program};
use crate::{console, users};

/// The container's programs see the process before it runs theirs, and may stop it: it is woken so
/// often, and given up after so long. Nobody could end the container meanwhile.
const WAKE_EVERY: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 20_000_000,
};
const PATIENCE: Duration = Duration::from_secs(5);

/// What shall run, in which container.
#[derive(Debug)]
pub struct JoinRequest<'a> {
    /// The container's first process.
    pub init: BorrowedFd<'a>,
    /// Program, environment, capabilities.
    pub process: &'a Process,
    /// Who it is.
    pub user: &'a UserRequest,
    /// Its filter.
    pub seccomp: &'a SeccompRequest,
    /// `CLONE_NEW*` bits of the namespaces to join: those that the container has of its own.
    pub namespaces: u64,
    /// Its control group.
    pub cgroup: &'a ContainerCgroup,
}

/// A process that joined: pid, descriptor, and the master of its terminal.
#[derive(Debug)]
pub struct Joined {
    /// Pid as the host sees it.
    pub pid: i32,
    /// Descriptor.
    pub pidfd: OwnedFd,
    /// Master of its terminal.
    pub terminal: Option<OwnedFd>,
}

/// Starts a process in a running container. The caller must be single-threaded and a subreaper.
///
/// # Errors
/// Why it does not run, with the kind that decides the exit code.
pub fn join(request: &JoinRequest<'_>, stdio: Stdio) -> Result<Joined, Failure> {
    let program = seccomp_program(request.seccomp, request.process)?;
    let (ours, theirs) = sys::socket::pair()?;
    match process::clone_into(0, request.cgroup.clone_fd())? {
        Side::Child => {
            drop(ours);
            let failure = match middle(request, &stdio, program.as_ref(), theirs.as_fd()) {
                Ok(()) => process::exit_now(0),
                Err(failure) => failure,
            };
            report(&theirs, &failure);
            process::exit_now(failure.kind.exit_code());
        }
        Side::Parent { pidfd, .. } => {
            drop(theirs);
            let mut heard = Heard::default();
            let outcome = heard.listen(&ours);
            if outcome.is_err() {
                let _ = process::signal(&pidfd, libc::SIGKILL);
            }
            // Only when the middle one is gone the process is ours to reap: one that is left as a
            // zombie would keep the container's first process from ending.
            let _ = process::reap(&pidfd, true);
            heard.result(outcome)
        }
    }
}

/// What came over the channel, from the middle process and from the last one in any order.
#[derive(Default)]
struct Heard {
    process: Option<(i32, OwnedFd)>,
    terminal: Option<OwnedFd>,
    failure: Option<Failure>,
}

impl Heard {
    /// Until both have closed it, by ending or by exec.
    fn listen(&mut self, channel: &OwnedFd) -> Result<(), Failure> {
        let mut buffer = [0u8; 16 * 1024];
        loop {
            self.await_word(channel)?;
            let (length, mut fds) =
                sys::socket::receive(channel, &mut buffer).on("hear from", "process")?;
            match buffer[..length].first() {
                None => return Ok(()),
                Some(b'P') if length == 5 => {
                    let pid = i32::from_ne_bytes([buffer[1], buffer[2], buffer[3], buffer[4]]);
                    self.process = fds.pop().map(|pidfd| (pid, pidfd));
                }
                Some(b'T') => self.terminal = fds.pop(),
                Some(b'F') => {
                    self.failure = Some(
                        serde_json::from_slice(&buffer[1..length]).unwrap_or_else(|_| {
                            Failure::setup("the process failed without a reason")
                        }),
                    );
                }
                Some(_) => return Err(Failure::setup("the process speaks an unknown protocol")),
            }
        }
    }

    fn await_word(&self, channel: &OwnedFd) -> Result<(), Failure> {
        let Some((_, process)) = &self.process else {
            // The container does not see the middle process.
            return Ok(());
        };
        let until = Instant::now() + PATIENCE;
        loop {
            let mut fds = [PollFd::new(channel, PollFlags::IN)];
            match poll(&mut fds, Some(&WAKE_EVERY)) {
                Ok(0) if Instant::now() > until => {
                    return Err(Failure::setup(
                        "the process was kept from starting: something in the container stops it",
                    ));
                }
                Ok(0) => {
                    let _ = process::signal(process, libc::SIGCONT);
                }
                Err(rustix::io::Errno::INTR) => {}
                _ => return Ok(()),
            }
        }
    }

    fn result(self, outcome: Result<(), Failure>) -> Result<Joined, Failure> {
        let failure = outcome.err().or(self.failure);
        match (failure, self.process) {
            (None, Some((pid, pidfd))) => Ok(Joined {
                pid,
                pidfd,
                terminal: self.terminal,
            }),
            (None, None) => Err(Failure::setup("the process ended before it began")),
            (Some(failure), process) => {
                if let Some((_, pidfd)) = process {
                    let _ = process::signal(&pidfd, libc::SIGKILL);
                    let _ = process::reap(&pidfd, true);
                }
                Err(failure)
            }
        }
    }
}

fn middle(
    request: &JoinRequest<'_>,
    stdio: &Stdio,
    seccomp: Option<&Program>,
    channel: BorrowedFd<'_>,
) -> Result<(), Failure> {
    process::set_dumpable(false)?;
    let cloned = request.cgroup.clone_fd().is_some();
    request
        .cgroup
        .attach_self(cloned)
        .map_err(|error| Failure::setup(chain(&error)))?;
    process::join_namespaces(request.init, request.namespaces)
        .map_err(|error| gone_or(error.clone(), error.errno))?;
    match process::clone_into(0, None)? {
        Side::Child => {
            let failure = match enter(request, stdio, seccomp, channel) {
                Ok(()) => Failure::setup("the process did not run"),
                Err(failure) => failure,
            };
            report(channel, &failure);
            process::exit_now(failure.kind.exit_code());
        }
        Side::Parent { pid, pidfd } => {
            let mut message = vec![b'P'];
            message.extend_from_slice(&pid.to_ne_bytes());
            sys::socket::send(channel, &message, &[pidfd.as_fd()]).on("announce", "process")?;
            Ok(())
        }
    }
}

fn gone_or(error: SysError, errno: rustix::io::Errno) -> Failure {
    match errno {
        rustix::io::Errno::SRCH => Failure::setup("the container has just ended"),
        _ => error.into(),
    }
}

fn enter(
    request: &JoinRequest<'_>,
    stdio: &Stdio,
    seccomp: Option<&Program>,
    channel: BorrowedFd<'_>,
) -> Result<(), Failure> {
    let _ = rustix::process::setsid();
    let slash = sys::atomic::open_directory(std::path::Path::new("/"))?;
    let root = Dir::from_fd(slash);
    let user = users::resolve_in(&root, request.user)?;
    let directory = root
        .open_dir(std::path::Path::new(&request.process.cwd))
        .map_err(|error| Failure {
            kind: crate::FailureKind::NotFound,
            text: init::no_working_directory(&request.process.cwd, &error),
        })?;
    match stdio {
        Stdio::Streams(fds) | Stdio::Mounted(fds, _) => {
            let streams = [fds[0].as_fd(), fds[1].as_fd(), fds[2].as_fd()];
            init::own_streams(&streams, user.uid)?;
            process::replace_stdio(streams)?;
        }
        Stdio::Terminal => {
            let devpts = console::find_devpts(&root)?;
            let console = console::open(&devpts, request.process.console_size)?;
            sys::socket::send(channel, b"T", &[console.master.as_fd()])
                .on("hand over", "terminal")?;
            init::take_terminal(&console.slave, user.uid)?;
        }
    }
    init::confine_and_execute(&Confinement {
        process: request.process,
        user,
        directory: directory.as_fd(),
        seccomp,
        init: false,
    })
}
