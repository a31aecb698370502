//! The container as its monitor holds it: first process, pipes or terminal, control group.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use runtime::cgroup::ContainerCgroup;
use runtime::{Ahead, Failure, Stdio};
use rustix::fs::{CWD, FileType, Mode, OFlags};
use sys::{Context, SysError};

use crate::job::Job;
use crate::log::Stream;

/// A running container.
#[derive(Debug)]
pub(crate) struct Container {
    pub(crate) pid: i32,
    pub(crate) pidfd: OwnedFd,
    pub(crate) cgroup: ContainerCgroup,
    pub(crate) oom: Option<OwnedFd>,
    /// Our child, or adopted after its monitor was killed: then its exit code cannot be reaped.
    pub(crate) adopted: bool,
    streams: Streams,
    /// Outputs whose writers are gone, and until when that is believed.
    silent_until_ns: [i64; 2],
    pub(crate) warnings: Vec<String>,
    // Held so that unmounting and the like happens when this is dropped, after everybody was told
    // of the end, and not in the last moments of the container's first process (3 to 10 ms), or in the
    // first of its program.
    _held: Vec<OwnedFd>,
}

#[derive(Debug)]
enum Streams {
    Terminal(OwnedFd),
    Pipes {
        input: Option<OwnedFd>,
        output: OwnedFd,
        error: OwnedFd,
    },
    /// The terminal was lost with the monitor that held it.
    Lost,
}

/// How often a terminal without any process is looked at.
const TERMINAL_RETRY_NS: i64 = 50_000_000;

const PIPES: [&str; 3] = ["stdin", "stdout", "stderr"];

impl Container {
    /// Starts the container of a job.
    pub(crate) fn start(job: &Job, ahead: Ahead<'_>) -> Result<Self, Failure> {
        let (stdio, streams) = if job.tty {
            (Stdio::Terminal, None)
        } else {
            let (theirs, ours) = make_pipes(job)?;
            (theirs, Some(ours))
        };
        sys::fail::point("monitor.pipes.made");
        let started = runtime::start(&job.launch, stdio, ahead)?;
        let streams = match (streams, started.terminal) {
            (Some(streams), _) => streams,
            (None, Some(master)) => {
                set_nonblocking(&master)?;
                Streams::Terminal(master)
            }
            (None, None) => return Err(Failure::setup("the container gave no terminal")),
        };
        let oom = started.cgroup.oom_event_fd().ok().flatten();
        let mut held = namespaces(started.pid);
        held.extend(started.mount);
        Ok(Self {
            pid: started.pid,
            pidfd: started.pidfd,
            cgroup: started.cgroup,
            oom,
            adopted: false,
            streams,
            silent_until_ns: [0; 2],
            warnings: started.warnings,
            _held: held,
        })
    }

    /// Takes over a running container whose monitor was killed.
    pub(crate) fn adopt(job: &Job, pid: i32, start_time: u64) -> Result<Self, Failure> {
        let pidfd = sys::process::open_pidfd(pid)?;
        // Only now is the pid pinned; what it is must be asked after.
        if sys::host::start_time(pid) != Some(start_time) {
            return Err(Failure::setup("the container has ended meanwhile"));
        }
        let request = &job.launch.cgroup;
        let cgroup = ContainerCgroup::open(&request.parent, &request.id)
            .map_err(|error| Failure::setup(error.to_string()))?;
        let streams = if job.tty {
            Streams::Lost
        } else {
            open_pipes(&job.run_directory)?
        };
        let oom = cgroup.oom_event_fd().ok().flatten();
        Ok(Self {
            pid,
            pidfd,
            cgroup,
            oom,
            adopted: true,
            streams,
            silent_until_ns: [0; 2],
            warnings: Vec::new(),
            _held: namespaces(pid),
        })
    }

    /// Descriptors to read output from.
    pub(crate) fn outputs(&self) -> Vec<(Stream, &OwnedFd)> {
        match &self.streams {
            Streams::Terminal(master) => vec![(Stream::Output, master)],
            Streams::Pipes { output, error, .. } => {
                vec![(Stream::Output, output), (Stream::Error, error)]
            }
            Streams::Lost => Vec::new(),
        }
    }

    /// Notes that an output's writers are all gone, so that it is not waited for: it would always
    /// be ready. A pipe stays so; a terminal may be opened again by the container.
    pub(crate) fn hung_up(&mut self, stream: Stream) {
        self.silent_until_ns[stream as usize] = match self.streams {
            Streams::Terminal(_) => sys::journal::now_ns() + TERMINAL_RETRY_NS,
            _ => i64::MAX,
        };
    }

    /// When a silent output shall be looked at again; `None` where it is not silent.
    pub(crate) fn silent_until_ns(&self, stream: Stream) -> Option<i64> {
        let until = self.silent_until_ns[stream as usize];
        (until > sys::journal::now_ns()).then_some(until)
    }

    /// The descriptor that input goes to.
    pub(crate) fn input(&self) -> Option<&OwnedFd> {
        match &self.streams {
            Streams::Terminal(master) => Some(master),
            Streams::Pipes { input, .. } => input.as_ref(),
            Streams::Lost => None,
        }
    }

    /// Ends the container's standard input; a terminal has no end.
    pub(crate) fn close_input(&mut self) {
        if let Streams::Pipes { input, .. } = &mut self.streams {
            *input = None;
        }
    }

    /// Tells the terminal its size.
    pub(crate) fn resize(&self, rows: u16, columns: u16) {
        if let Streams::Terminal(master) = &self.streams {
            let size = rustix::termios::Winsize {
                ws_row: rows,
                ws_col: columns,
                ws_xpixel: 0,
                ws_ypixel: 0,
            };
            let _ = rustix::termios::tcsetwinsize(master, size);
        }
    }
}

fn namespaces(pid: i32) -> Vec<OwnedFd> {
    let open = |name: &str| {
        let path = format!("/proc/{pid}/ns/{name}");
        rustix::fs::openat(CWD, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).ok()
    };
    ["mnt", "ipc"].into_iter().filter_map(open).collect()
}

/// Named pipes in the run directory, so that a later monitor can go on reading. The container's
/// ends of the outputs are open read-write: they never break, whatever happens to us.
fn make_pipes(job: &Job) -> Result<(Stdio, Streams), Failure> {
    // By a mount of its own: /proc/self/fd in the container shows `/stdout`, and no path of the host.
    let directory =
        sys::mount::clone_tree(sys::atomic::open_directory(&job.run_directory)?, false)?;
    for name in PIPES
        .into_iter()
        .filter(|name| *name != "stdin" || job.open_stdin)
    {
        match rustix::fs::mknodat(
            &directory,
            name,
            FileType::Fifo,
            Mode::from_raw_mode(0o600),
            0,
        ) {
            Err(rustix::io::Errno::EXIST) | Ok(()) => {}
            Err(errno) => return Err(SysError::new("make pipe", name, errno).into()),
        }
    }
    let open = |name: &'static str, flags: OFlags| {
        rustix::fs::openat(
            &directory,
            name,
            flags | OFlags::CLOEXEC | OFlags::NOFOLLOW,
            Mode::empty(),
        )
        .on("open pipe", name)
    };
    let (their_input, input) = if job.open_stdin {
        // Opened without waiting for the other side; then the container's end may wait.
        let reader = open("stdin", OFlags::RDONLY | OFlags::NONBLOCK)?;
        let writer = open("stdin", OFlags::WRONLY | OFlags::NONBLOCK)?;
        rustix::fs::fcntl_setfl(&reader, OFlags::empty()).on("open pipe", "stdin")?;
        (reader, Some(writer))
    } else {
        let null = rustix::fs::openat(
            CWD,
            "/dev/null",
            OFlags::RDONLY | OFlags::CLOEXEC,
            Mode::empty(),
        )
        .on("open", "/dev/null")?;
        (null, None)
    };
    let their_output = open("stdout", OFlags::RDWR)?;
    let their_error = open("stderr", OFlags::RDWR)?;
    let output = open("stdout", OFlags::RDONLY | OFlags::NONBLOCK)?;
    let error = open("stderr", OFlags::RDONLY | OFlags::NONBLOCK)?;
    Ok((
        Stdio::Mounted([their_input, their_output, their_error], directory),
        Streams::Pipes {
            input,
            output,
            error,
        },
    ))
}

fn open_pipes(run_directory: &Path) -> Result<Streams, SysError> {
    let directory = sys::atomic::open_directory(run_directory)?;
    let open = |name: &'static str, flags: OFlags| {
        let flags = flags | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        rustix::fs::openat(&directory, name, flags, Mode::empty()).on("open pipe", name)
    };
    Ok(Streams::Pipes {
        input: open("stdin", OFlags::WRONLY).ok(),
        output: open("stdout", OFlags::RDONLY)?,
        error: open("stderr", OFlags::RDONLY)?,
    })
}

fn set_nonblocking(fd: impl AsFd) -> Result<(), SysError> {
    let flags = rustix::fs::fcntl_getfl(&fd).on("read flags of", "terminal")?;
    rustix::fs::fcntl_setfl(&fd, flags | OFlags::NONBLOCK).on("set flags of", "terminal")
}
