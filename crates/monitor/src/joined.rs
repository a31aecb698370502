//! Further processes in the container: `exec` for a command, and probes of the health check.

use std::os::fd::{AsFd, OwnedFd};

use runtime::{Failure, JoinRequest, Joined, Stdio, UserRequest};
use rustix::fs::{CWD, Mode, OFlags};
use rustix::pipe::PipeFlags;
use sys::process::Exit;
use sys::{Context, SysError};

use crate::container::Container;
use crate::health::OUTPUT_BYTES_MAX;
use crate::job::Job;
use crate::protocol::Execute;

/// A process that joined the container.
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) id: String,
    pub(crate) pid: i32,
    pub(crate) pidfd: OwnedFd,
    pub(crate) purpose: Purpose,
}

/// Why it runs.
#[derive(Debug)]
pub(crate) enum Purpose {
    /// For the client with this socket; it learns the exit code.
    Command { client: Option<u64> },
    /// For the health check.
    Probe(Box<ProbeRun>),
}

/// A probe under way.
#[derive(Debug)]
pub(crate) struct ProbeRun {
    pub(crate) start: String,
    pub(crate) deadline_ns: i64,
    pub(crate) reader: OwnedFd,
    pub(crate) output: Vec<u8>,
    pub(crate) timed_out: bool,
}

impl ProbeRun {
    /// Takes what the probe printed; what is too much is read and dropped, so that it never blocks.
    pub(crate) fn read(&mut self) {
        let mut buffer = [0u8; 4096];
        while let Ok(count @ 1..) = rustix::io::read(&self.reader, &mut buffer) {
            let room = OUTPUT_BYTES_MAX - self.output.len();
            self.output.extend_from_slice(&buffer[..count.min(room)]);
        }
    }

    /// The probe's exit code as the health check counts it: 2 is reserved and means unhealthy.
    pub(crate) fn exit_code(&self, exit: Option<Exit>) -> i32 {
        match exit {
            _ if self.timed_out => -1,
            Some(exit) => exit.shell_code(),
            None => -1,
        }
    }
}

/// Runs a command's process; its streams came with the request, a terminal is made.
pub(crate) fn execute(
    job: &Job,
    container: &Container,
    request: &Execute,
    fds: Vec<OwnedFd>,
) -> Result<Joined, Failure> {
    let stdio = match <[OwnedFd; 3]>::try_from(fds) {
        Ok(fds) if !request.process.terminal => Stdio::Streams(fds),
        _ if request.process.terminal => Stdio::Terminal,
        _ => Stdio::Streams([null()?, null()?, null()?]),
    };
    let seccomp = if request.unconfined {
        runtime::SeccompRequest::Unconfined
    } else {
        job.launch.seccomp.clone()
    };
    join(
        job,
        container,
        &request.process,
        &request.user,
        &seccomp,
        stdio,
    )
}

fn join(
    job: &Job,
    container: &Container,
    process: &runtime::spec::Process,
    user: &UserRequest,
    seccomp: &runtime::SeccompRequest,
    stdio: Stdio,
) -> Result<Joined, Failure> {
    let namespaces = job.launch.spec.linux.namespaces.iter();
    let request = JoinRequest {
        init: container.pidfd.as_fd(),
        process,
        user,
        seccomp,
        namespaces: namespaces
            .map(|namespace| namespace.kind.clone_flag())
            .fold(0, |a, b| a | b),
        cgroup: &container.cgroup,
    };
    runtime::join(&request, stdio)
}

/// Starts a probe with the container's own environment and confinement.
pub(crate) fn probe(
    job: &Job,
    container: &Container,
    command: Vec<String>,
    id: String,
    deadline_ns: i64,
) -> Result<Process, Failure> {
    let (reader, writer) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC).on("make", "pipe")?;
    let flags = rustix::fs::fcntl_getfl(&reader).on("read flags of", "pipe")?;
    rustix::fs::fcntl_setfl(&reader, flags | OFlags::NONBLOCK).on("set flags of", "pipe")?;
    let mut process = job.launch.spec.process.clone();
    process.args = command;
    process.terminal = false;
    let copy = rustix::io::fcntl_dupfd_cloexec(&writer, 3).on("copy", "pipe")?;
    let stdio = Stdio::Streams([null()?, copy, writer]);
    let joined = join(
        job,
        container,
        &process,
        &job.launch.user,
        &job.launch.seccomp,
        stdio,
    )?;
    Ok(Process {
        id,
        pid: joined.pid,
        pidfd: joined.pidfd,
        purpose: Purpose::Probe(Box::new(ProbeRun {
            start: crate::state::now(),
            deadline_ns,
            reader,
            output: Vec::new(),
            timed_out: false,
        })),
    })
}

fn null() -> Result<OwnedFd, SysError> {
    rustix::fs::openat(
        CWD,
        "/dev/null",
        OFlags::RDWR | OFlags::CLOEXEC,
        Mode::empty(),
    )
    .on("open", "/dev/null")
}
