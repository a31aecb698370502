//! Making a monitor: a fresh execution of our own binary with its job on descriptors.
//!
//! | number | what |
//! |---|---|
//! | 3 | start channel: the monitor answers `Started` or `Failed`, then goes on without it |
//! | 4 | the job, a memory file |
//! | 5 | the lock that it holds for life |
//! | 6 | the first client's end of a socket pair, where a command attaches from the start |

use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::MemfdFlags;
use sys::process::{self, CStrings, Side};
use sys::{Context, SysError};

use crate::job::Job;

/// Descriptor numbers as the monitor finds them.
pub(crate) const START_CHANNEL: i32 = 3;
pub(crate) const JOB: i32 = 4;
pub(crate) const LOCK: i32 = 5;
pub(crate) const FIRST_CLIENT: i32 = 6;

/// Starts a monitor; returns the start channel, on which its answer arrives.
///
/// The caller must be single-threaded.
///
/// # Errors
/// Where the process cannot be made.
pub fn spawn(job: &Job, lock: &OwnedFd, client: Option<&OwnedFd>) -> Result<OwnedFd, SysError> {
    let (ours, theirs) = sys::socket::pair()?;
    let document = job_file(job)?;
    match process::clone_into(0, None)? {
        // Not forked twice: a command ends before or with its monitor, and its children are reaped
        // by whoever reaps it; a server ignores the ends of its children.
        Side::Parent { .. } => Ok(ours),
        Side::Child => {
            sys::caller::detach();
            let fds = [theirs.as_fd(), document.as_fd(), lock.as_fd()];
            let error = become_monitor(&fds, client.map(AsFd::as_fd), &job.id);
            // Reported as a closed channel; the errno is the exit code for whoever traces.
            process::exit_now(error.errno.raw_os_error());
        }
    }
}

fn job_file(job: &Job) -> Result<OwnedFd, SysError> {
    let fd = rustix::fs::memfd_create("job", MemfdFlags::CLOEXEC).on("make", "job")?;
    let bytes = serde_json::to_vec(job).expect("invariant: a job has a JSON form");
    let mut file = std::fs::File::from(fd);
    file.write_all(&bytes).on("write", "job")?;
    rustix::fs::seek(&file, rustix::fs::SeekFrom::Start(0)).on("rewind", "job")?;
    Ok(file.into())
}

fn become_monitor(fds: &[BorrowedFd<'_>; 3], client: Option<BorrowedFd<'_>>, id: &str) -> SysError {
    match place_and_execute(fds, client, id) {
        Ok(never) => never,
        Err(error) => error,
    }
}

fn place_and_execute(
    fds: &[BorrowedFd<'_>; 3],
    client: Option<BorrowedFd<'_>>,
    id: &str,
) -> Result<SysError, SysError> {
    // Opened before anything is moved; falls back to the file itself where mounts may not be cloned.
    let program = sys::mount::read_only_executable().or_else(|_| {
        use rustix::fs::{CWD, Mode, OFlags};
        rustix::fs::openat(
            CWD,
            "/proc/self/exe",
            OFlags::PATH | OFlags::CLOEXEC,
            Mode::empty(),
        )
        .on("open", "our executable")
    })?;
    let null = {
        use rustix::fs::{CWD, Mode, OFlags};
        rustix::fs::openat(
            CWD,
            "/dev/null",
            OFlags::RDWR | OFlags::CLOEXEC,
            Mode::empty(),
        )
        .on("open", "/dev/null")?
    };
    process::replace_stdio([null.as_fd(), null.as_fd(), null.as_fd()])?;
    let mut places: Vec<(i32, BorrowedFd<'_>)> =
        vec![(START_CHANNEL, fds[0]), (JOB, fds[1]), (LOCK, fds[2])];
    places.extend(client.map(|client| (FIRST_CLIENT, client)));
    sys::process::place_descriptors(&places, program.as_fd())?;
    let has_client = if client.is_some() {
        "attached"
    } else {
        "detached"
    };
    let arguments = CStrings::new(["caisson", "internal", "monitor", id, has_client])?;
    let environment = CStrings::new(["PATH=/usr/sbin:/usr/bin:/sbin:/bin"])?;
    let errno = process::execute_fd(sys::process::PROGRAM_DESCRIPTOR, &arguments, &environment);
    Err(SysError::new("execute", "monitor", errno))
}
