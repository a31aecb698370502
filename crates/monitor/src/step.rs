//! The process that runs the steps of a build: a monitor without a container of its own.
//!
//! A build needs no record, no log and no socket per step, and must be cheap where a step is nothing.
//! So it keeps one or a few of these, each a fresh execution of our binary as a monitor is, and gives
//! them one program after the other. Single-threaded, because it clones.
//!
//! | build → here | | here → build | |
//! |---|---|---|---|
//! | a packet `JOE` + 3 descriptors | job (a memory file), output, error | `Started {pid}` | the program runs |
//! | | | `Ended {code}` | it and all that it started is gone, its root unmounted |
//! | end of the channel | the build is gone: so is the program | `Failed {kind, text}` | it does not run |
//!
//! The programs of one such process share a network namespace, as they share a build.

use std::os::fd::{AsFd, OwnedFd};

use runtime::cgroup::{ContainerCgroup, Layout};
use runtime::spec::NamespaceKind;
use runtime::{Ahead, Failure, Stdio};
use rustix::fs::{CWD, Mode, OFlags};
use sys::{Context, SysError};

use crate::client::Connection;
use crate::job::Job;
use crate::name_server::NameServer;
use crate::networks::Networks;
use crate::protocol::{self, Ended, Kind, Started};
use crate::spawn::{self, given};
use crate::watch::{Ready, Watch};

/// The word that makes this process instead of a monitor.
pub const STEP: &str = "step";

/// A build's side: a process that waits for programs to run.
#[derive(Debug)]
pub struct Runner {
    connection: Connection,
}

impl Runner {
    /// Makes one. `cgroup` is where monitors are put among control groups.
    ///
    /// # Errors
    /// Where the process cannot be made.
    pub fn new(cgroup: &str) -> Result<Self, SysError> {
        let (ours, theirs) = sys::socket::pair()?;
        let words = ["caisson", "internal", STEP, cgroup];
        spawn::execute(&words, &theirs)?.finish()?;
        Ok(Self {
            connection: Connection::from_socket(ours),
        })
    }

    /// The channel: shut down, it ends the program.
    ///
    /// # Errors
    /// Where no more descriptors are to be had.
    pub fn handle(&self) -> Result<OwnedFd, SysError> {
        self.connection
            .as_fd()
            .try_clone_to_owned()
            .on("hold", "step")
    }

    /// Runs a job's program with output and error going there; returns its exit code when it has
    /// ended. `started` is called when it runs, its root mounted.
    ///
    /// # Errors
    /// Why it does not run.
    pub fn run(
        &mut self,
        job: &Job,
        [output, error]: [OwnedFd; 2],
        started: impl FnOnce(),
    ) -> Result<i32, Failure> {
        let document = spawn::job_file(job)?;
        let names = [given::JOB, given::OUTPUT, given::ERROR];
        let fds = [document.as_fd(), output.as_fd(), error.as_fd()];
        sys::socket::send(&self.connection, &names, &fds).on("give its job to", "step")?;
        // The pipes end with the program's ends.
        drop((output, error));
        let mut started = Some(started);
        loop {
            let Some(packet) = self.connection.receive()? else {
                return Err(Failure::setup("the process that ran the step was killed"));
            };
            match packet.kind {
                Kind::Ended => {
                    let ended: Result<Ended, _> = serde_json::from_slice(&packet.body);
                    return ended
                        .map(|ended| ended.code)
                        .map_err(|_| Failure::setup("the answer of the step cannot be read"));
                }
                Kind::Failed => return Err(crate::client::failure(&packet.body)),
                _ => {
                    if let Some(started) = started.take() {
                        started();
                    }
                }
            }
        }
    }
}

/// Runs programs in this process until the build is gone.
pub fn run(cgroup: &str) {
    let Ok(channel) = sys::mount::inherited(spawn::START_CHANNEL) else {
        return;
    };
    sys::caller::close_all_but(&[channel.as_fd()]);
    sys::caller::detach();
    let _ = sys::process::set_dumpable(false);
    sys::process::set_name(c"caisson-step");
    sys::process::become_subreaper();
    let layout = Layout::detect().ok();
    if let Some(layout) = &layout {
        let _ = layout.move_to_monitors(cgroup);
    }
    let mut step = Step {
        channel,
        layout,
        network: None,
        networks: None,
    };
    while let Some(given) = step.receive() {
        let answer = match given.and_then(|(job, streams)| step.program(&job, streams)) {
            // The build is gone.
            Ok(None) => break,
            Ok(Some(code)) => protocol::json_packet(Kind::Ended, &Ended { code }),
            Err(failure) => protocol::failed_packet(&failure),
        };
        if sys::socket::send(&step.channel, &answer, &[]).is_err() {
            break;
        }
    }
    if let Some((job, mut networks)) = step.networks.take() {
        networks.undo(&job);
    }
}

struct Step {
    channel: OwnedFd,
    layout: Option<Layout>,
    /// The namespace that the programs share.
    network: Option<OwnedFd>,
    /// Its place in its networks, and the job that it was made for.
    networks: Option<(Box<Job>, Networks)>,
}

type Given = Result<(Job, [OwnedFd; 2]), Failure>;

impl Step {
    /// The next job; `None` where the build is gone.
    fn receive(&self) -> Option<Given> {
        let mut names = [0u8; 8];
        let (length, fds) = sys::socket::receive(&self.channel, &mut names).ok()?;
        if length == 0 {
            return None;
        }
        let Ok([document, output, error]) = <[OwnedFd; 3]>::try_from(fds) else {
            return Some(Err(Failure::setup("a step came without its descriptors")));
        };
        let document = std::io::BufReader::new(std::fs::File::from(document));
        let job = serde_json::from_reader(document)
            .map_err(|error| Failure::setup(format!("cannot read the step's job: {error}")));
        Some(job.map(|job| (job, [output, error])))
    }

    /// Runs a program to its end; `None` where the build went before.
    fn program(&mut self, job: &Job, streams: [OwnedFd; 2]) -> Result<Option<i32>, Failure> {
        self.connect(job)?;
        let ahead = Ahead {
            layout: self.layout.take(),
            network: match job.attachment {
                Some(_) => self.network.as_ref(),
                None => None,
            },
            root: None,
        };
        let [output, error] = streams;
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let input =
            rustix::fs::openat(CWD, "/dev/null", flags, Mode::empty()).on("open", "/dev/null")?;
        let stdio = Stdio::Streams([input, output, error]);
        let started = runtime::start(&job.launch, stdio, ahead)?;
        sys::fail::point("monitor.step.running");
        let told = Started {
            pid: started.pid,
            warnings: started.warnings,
        };
        let told = protocol::json_packet(Kind::Started, &told);
        let mut is_wanted = sys::socket::send(&self.channel, &told, &[]).is_ok();
        let mut cgroup = started.cgroup;
        if is_wanted {
            is_wanted = self.watch(&started.pidfd);
        }
        if !is_wanted {
            let _ = sys::process::signal(&started.pidfd, libc::SIGKILL);
        }
        // The last of them unmounts the root before it can be reaped.
        let exit = sys::process::reap(&started.pidfd, true)?;
        sys::fail::point("monitor.step.reaped");
        end(&mut cgroup);
        Ok(is_wanted.then(|| exit.map_or(255, sys::process::Exit::shell_code)))
    }

    /// Plugs the shared namespace in, with the first job that asks for networks.
    fn connect(&mut self, job: &Job) -> Result<(), Failure> {
        if !job.launch.spec.linux.makes(NamespaceKind::Network) || self.networks.is_some() {
            return Ok(());
        }
        let Some(attachment) = job.attachment.clone() else {
            return Ok(());
        };
        let namespace = sys::loopback::new_network_namespace()?;
        let networks = Networks::connect(job, attachment, &namespace)?;
        self.network = Some(namespace);
        self.networks = Some((Box::new(job.clone()), networks));
        Ok(())
    }

    /// Waits for the program's end; `false` where the build went first.
    fn watch(&mut self, pidfd: &OwnedFd) -> bool {
        loop {
            let mut watch = Watch::default();
            watch.readable(pidfd.as_fd(), Ready::Exit);
            watch.readable(self.channel.as_fd(), Ready::Client(0));
            let networks = self.networks.as_ref().map(|(_, networks)| networks);
            let names = networks.and_then(|networks| networks.names.as_ref());
            for (source, fd) in names.iter().flat_map(|names| names.sources()) {
                watch.readable(fd, Ready::Resolver(source));
            }
            for fd in networks.iter().flat_map(|networks| networks.host()) {
                watch.readable(fd, Ready::Host);
            }
            let deadline = names.and_then(NameServer::deadline);
            let ready = watch.wait(deadline, false);
            if ready.contains(&Ready::Exit) {
                return true;
            }
            // Nothing is said while a program runs: this is the end of the channel.
            if ready.contains(&Ready::Client(0)) {
                return false;
            }
            self.serve(&ready);
        }
    }

    fn serve(&mut self, ready: &[Ready]) {
        let Some((_, networks)) = &mut self.networks else {
            return;
        };
        if ready.contains(&Ready::Host) {
            networks.look_after_host();
        }
        if let Some(names) = &mut networks.names {
            let sources = ready.iter().filter_map(|ready| match ready {
                Ready::Resolver(source) => Some(*source),
                _ => None,
            });
            names.serve(&sources.collect::<Vec<_>>(), sys::journal::now_ns());
        }
    }
}

/// Whatever the program left in its control group ends, and the group goes.
fn end(cgroup: &mut ContainerCgroup) {
    let _ = cgroup.kill_all();
    let _ = cgroup.remove();
}
