//! Making a monitor: a fresh execution of our own binary, which is then given its job.
//!
//! It can be made before its job is known, so that it starts up on another processor, and makes the
//! container's network namespace, while the command still finds the image and writes the record.
//! All that it finds is descriptor 3, a packet socket: it hears one packet there, or two, and answers
//! `Started` or `Failed`, then goes on without the socket. The packets name their descriptors, a byte
//! each:
//!
//! | byte | descriptor |
//! |---|---|
//! | `J` | the job, a memory file |
//! | `L` | the lock that it holds for life |
//! | `C` | the first client's end of a socket pair, where a command attaches from the start |
//! | `R` | in the second packet: the layers, mounted and attached nowhere |
//!
//! `+` at the end of the first says that there is a second. It comes for a container that was never
//! started before, whose layers the command mounts while the monitor makes everything else; it names
//! nothing where that failed.

use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{CWD, MemfdFlags, Mode, OFlags};
use sys::process::CStrings;
use sys::{Context, SysError};

use crate::job::Job;

/// Descriptor number of the start channel, as the monitor finds it.
pub(crate) const START_CHANNEL: i32 = sys::spawn::CHANNEL_NUMBER;
/// Names of the descriptors that a job comes with.
pub(crate) mod given {
    pub(crate) const JOB: u8 = b'J';
    pub(crate) const LOCK: u8 = b'L';
    pub(crate) const CLIENT: u8 = b'C';
    pub(crate) const ROOT: u8 = b'R';
    pub(crate) const ROOT_FOLLOWS: u8 = b'+';
    pub(crate) const OUTPUT: u8 = b'O';
    pub(crate) const ERROR: u8 = b'E';
}

/// A monitor that waits for its job. Dropped, it ends by itself.
#[derive(Debug)]
pub struct Waiting {
    channel: OwnedFd,
    // Of a mount of its own, which takes its time to close: the monitor works meanwhile.
    program: OwnedFd,
}

/// The last argument of a monitor whose container gets a network namespace of its own.
pub const WITH_NETWORK: &str = "network";

impl Waiting {
    /// Starts a monitor for the container `id`; `cgroup` is where monitors are put among control
    /// groups; with `network` it makes a network namespace for the container.
    ///
    /// # Errors
    /// Where the process cannot be made.
    pub fn new(id: &str, cgroup: &str, network: bool) -> Result<Self, SysError> {
        let (ours, theirs) = sys::socket::pair()?;
        let network = if network { WITH_NETWORK } else { "" };
        let words = ["caisson", "internal", "monitor", id, cgroup, network];
        let given = words.iter().filter(|word| !word.is_empty());
        let arguments: Vec<String> = given.map(ToString::to_string).collect();
        let program = execute(&arguments, &theirs)?;
        Ok(Self {
            channel: ours,
            program,
        })
    }

    /// Gives it its job, then its layers where something is to mount them; returns the start channel, on
    /// which its answer arrives.
    ///
    /// # Errors
    /// Where the monitor is gone.
    pub fn give(
        self,
        job: &Job,
        lock: &OwnedFd,
        client: Option<&OwnedFd>,
        mount: Option<impl FnOnce() -> Option<OwnedFd>>,
    ) -> Result<OwnedFd, SysError> {
        let document = job_file(job)?;
        let all = [
            (given::JOB, Some(&document)),
            (given::LOCK, Some(lock)),
            (given::CLIENT, client),
        ];
        let (mut names, fds): (Vec<u8>, Vec<BorrowedFd<'_>>) = all
            .iter()
            .filter_map(|(name, fd)| Some((*name, fd.as_ref()?.as_fd())))
            .unzip();
        names.extend(mount.is_some().then_some(given::ROOT_FOLLOWS));
        sys::socket::send(&self.channel, &names, &fds).on("give its job to", "monitor")?;
        sys::fail::point("monitor.spawn.given");
        if let Some(mount) = mount {
            let root = mount();
            sys::fail::point("monitor.spawn.mounted");
            let fds: Vec<_> = root.iter().map(AsFd::as_fd).collect();
            // Not heard by a monitor that has failed before: that is told by its answer.
            let _ = sys::socket::send(&self.channel, &[given::ROOT], &fds);
        }
        drop(self.program);
        Ok(self.channel)
    }
}

/// Returns what was executed.
pub(crate) fn execute(arguments: &[String], channel: &OwnedFd) -> Result<OwnedFd, SysError> {
    // From a read-only mount of its own, so that no container can write to it through
    // /proc/PID/exe; where mounts may not be cloned, from the file itself.
    let program = sys::mount::read_only_executable().or_else(|_| {
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        rustix::fs::openat(CWD, "/proc/self/exe", flags, Mode::empty()).on("open", "our executable")
    })?;
    let arguments = CStrings::new(arguments)?;
    let environment = CStrings::new(sys::fail::environment())?;
    // Not waited for: a command ends before or with its monitor, and its children are reaped by
    // whoever reaps it; a server ignores the ends of its children.
    sys::spawn::program(program.as_fd(), &arguments, &environment, channel.as_fd())?;
    sys::fail::point("monitor.spawn.made");
    Ok(program)
}

pub(crate) fn job_file(job: &Job) -> Result<OwnedFd, SysError> {
    let bytes = serde_json::to_vec(job).expect("invariant: a job has a JSON form");
    memory_file("job", &bytes)
}

/// A file of its own memory, to be read from the start.
pub(crate) fn memory_file(name: &str, bytes: &[u8]) -> Result<OwnedFd, SysError> {
    let fd = rustix::fs::memfd_create(name, MemfdFlags::CLOEXEC).on("make", name)?;
    let mut file = std::fs::File::from(fd);
    file.write_all(bytes).on("write", name)?;
    rustix::fs::seek(&file, rustix::fs::SeekFrom::Start(0)).on("rewind", name)?;
    Ok(file.into())
}
