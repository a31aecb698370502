//! Making a monitor: a fresh execution of our own binary, which is then given its job.
//!
//! It can be made before its job is known, so that it starts up on another processor while the command
//! still finds the image and writes the record. All that it finds is descriptor 3, a packet socket: it
//! hears up to three packets there and answers `Started` or `Failed`, then goes on without the socket.
//! The packets name their descriptors, a byte each:
//!
//! | byte | descriptor |
//! |---|---|
//! | `J` | the job, a memory file |
//! | `L` | the lock that it holds for life |
//! | `C` | the first client's end of a socket pair, where a command attaches from the start |
//! | `N` | in a packet of its own, that `n` in the first announces: a network namespace |
//! | `R` | in the last packet, that `+` in the first announces: the layers, mounted and attached nowhere |
//!
//! The command makes both while the monitor makes everything else, which takes as long; the layers only
//! of a container that was never started before. Such a packet brings no descriptor where that failed.

use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{CWD, MemfdFlags, Mode, OFlags};
use sys::process::CStrings;
use sys::spawn::Spawned;
use sys::{Context, SysError};

use crate::job::Job;

/// Descriptor number of the start channel, as the monitor finds it.
pub(crate) const START_CHANNEL: i32 = sys::spawn::CHANNEL_NUMBER;
/// Names of the descriptors that a job comes with.
pub(crate) mod given {
    pub(crate) const JOB: u8 = b'J';
    pub(crate) const LOCK: u8 = b'L';
    pub(crate) const CLIENT: u8 = b'C';
    pub(crate) const NETWORK: u8 = b'N';
    pub(crate) const NETWORK_FOLLOWS: u8 = b'n';
    pub(crate) const ROOT: u8 = b'R';
    pub(crate) const ROOT_FOLLOWS: u8 = b'+';
    pub(crate) const OUTPUT: u8 = b'O';
    pub(crate) const ERROR: u8 = b'E';
}

/// A monitor that waits for its job. Dropped, it ends.
#[derive(Debug)]
pub struct Waiting(Option<(OwnedFd, Execution)>);

impl Drop for Waiting {
    fn drop(&mut self) {
        if let Some((channel, execution)) = self.0.take() {
            drop(channel);
            // A caller who reaps others' children shall find none of a command that has made no container.
            execution.spawned.end();
        }
    }
}

/// Our own program, which is about to run in another process.
#[derive(Debug)]
pub(crate) struct Execution {
    spawned: Spawned,
    // Of a mount of its own, which takes its time to close: the monitor works meanwhile.
    program: OwnedFd,
}

impl Execution {
    /// Waits until it runs; returns what is to be closed when there is time.
    pub(crate) fn finish(self) -> Result<OwnedFd, SysError> {
        self.spawned.finish()?;
        Ok(self.program)
    }
}

/// What a command makes for a monitor that has its job already.
pub struct Rest<M> {
    /// Whether the container gets a network namespace.
    pub network: bool,
    /// Mounts the layers of a container that was never started before.
    pub mount: Option<M>,
}

impl Waiting {
    /// Starts a monitor for the container `id`; `cgroup` is where monitors are put among control
    /// groups.
    ///
    /// # Errors
    /// Where the process cannot be made.
    pub fn new(id: &str, cgroup: &str) -> Result<Self, SysError> {
        let (ours, theirs) = sys::socket::pair()?;
        let words = ["caisson", "internal", "monitor", id, cgroup];
        let execution = execute(&words, &theirs)?;
        Ok(Self(Some((ours, execution))))
    }

    /// Gives it its job, then the rest; returns the start channel, on which its answer arrives. The
    /// caller must be single-threaded where a network namespace is made.
    ///
    /// # Errors
    /// Where the monitor is gone.
    pub fn give<M: FnOnce() -> Option<OwnedFd>>(
        mut self,
        job: &Job,
        lock: &OwnedFd,
        client: Option<&OwnedFd>,
        rest: Rest<M>,
    ) -> Result<OwnedFd, SysError> {
        let document = job_file(job)?;
        let (channel, execution) = self.0.take().expect("invariant: given once");
        let all = [
            (given::JOB, Some(&document)),
            (given::LOCK, Some(lock)),
            (given::CLIENT, client),
        ];
        let (mut names, fds): (Vec<u8>, Vec<BorrowedFd<'_>>) = all
            .iter()
            .filter_map(|(name, fd)| Some((*name, fd.as_ref()?.as_fd())))
            .unzip();
        names.extend(rest.network.then_some(given::NETWORK_FOLLOWS));
        names.extend(rest.mount.is_some().then_some(given::ROOT_FOLLOWS));
        sys::socket::send(&channel, &names, &fds).on("give its job to", "monitor")?;
        let program = execution.finish()?;
        sys::fail::point("monitor.spawn.given");
        if rest.network {
            let network = sys::loopback::new_network_namespace().ok();
            send_made(&channel, given::NETWORK, network);
        }
        if let Some(mount) = rest.mount {
            let root = mount();
            sys::fail::point("monitor.spawn.mounted");
            send_made(&channel, given::ROOT, root);
        }
        drop(program);
        Ok(channel)
    }
}

fn send_made(channel: &OwnedFd, name: u8, made: Option<OwnedFd>) {
    let fds: Vec<_> = made.iter().map(AsFd::as_fd).collect();
    // Not heard by a monitor that has failed before: that is told by its answer.
    let _ = sys::socket::send(channel, &[name], &fds);
}

/// Begins to run our own program in another process.
pub(crate) fn execute(arguments: &[&str], channel: &OwnedFd) -> Result<Execution, SysError> {
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
    let spawned = sys::spawn::program(&program, arguments, environment, channel)?;
    sys::fail::point("monitor.spawn.made");
    Ok(Execution { spawned, program })
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
