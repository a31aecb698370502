//! The parent's side of a start: control group, clone, handshake.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use sys::process::{self, Side};
use sys::{Context, SysError};

use crate::capabilities::CapSet;
use crate::cgroup::{Begun, CgroupError, ContainerCgroup, DeviceRules, Layout};
use crate::failure::Failure;
use crate::init::{self, Inherited};
use crate::launch::{CgroupRequest, Launch, SeccompRequest};
use crate::seccomp::{self, Profile, Program, Target};
use crate::spec::{NamespaceKind, Process, Spec};
use crate::{cgroup, kernel_parameters, limits};

/// The longest failure text that crosses the channel.
const FAILURE_BYTES_MAX: usize = 16 * 1024;

/// Where a container's standard streams go.
#[derive(Debug)]
pub enum Stdio {
    /// Its ends of three pipes.
    Streams([OwnedFd; 3]),
    /// The same, from files of a detached mount. Whoever closes that last waits for every processor:
    /// the new process lets go of it first, and it comes back in [`Started::mount`].
    Mounted([OwnedFd; 3], OwnedFd),
    /// A terminal of its own; the master comes back in [`Started::terminal`].
    Terminal,
}

/// A running container.
#[derive(Debug)]
pub struct Started {
    /// Pid of its first process, as the host sees it.
    pub pid: i32,
    /// Descriptor of that process.
    pub pidfd: OwnedFd,
    /// Master of its terminal.
    pub terminal: Option<OwnedFd>,
    /// The mount that its streams are from, to be closed when nobody waits.
    pub mount: Option<OwnedFd>,
    /// Its control group.
    pub cgroup: ContainerCgroup,
    /// What was asked for and this kernel lacks.
    pub warnings: Vec<String>,
}

/// What was made for a start before it, while there was time. What is missing is made by the start.
#[derive(Debug, Default)]
pub struct Ahead<'a> {
    /// What is known of the control groups.
    pub layout: Option<Layout>,
    /// A network namespace, loopback up.
    pub network: Option<&'a OwnedFd>,
    /// A packet socket on which its layers are still to arrive, mounted by [`crate::mount_layers`] and
    /// attached nowhere, as the descriptor of the next packet; a packet without one, or the end, leaves
    /// that to the start.
    pub root: Option<BorrowedFd<'a>>,
}

/// Starts a container. On failure nothing of it is left but files beneath its upper directory.
///
/// The caller must be single-threaded.
///
/// # Errors
/// Why it does not run, with the kind that decides the exit code.
pub fn start(launch: &Launch, stdio: Stdio, ahead: Ahead<'_>) -> Result<Started, Failure> {
    let spec = &launch.spec;
    let program = seccomp_program(&launch.seccomp, &spec.process)?;
    let join = open_joined(spec, ahead.network)?;
    kernel_parameters::check(spec, &join)?;
    let mut groups = begin_cgroup(launch, ahead.layout)?;
    sys::fail::point("runtime.start.prepared");
    let material = Material {
        stdio,
        seccomp: program.as_ref(),
        join: &join,
        root: ahead.root,
    };
    let child = match clone(launch, material, &groups) {
        Ok(child) => child,
        Err(failure) => return Err(give_up(groups.into_cgroup(), failure)),
    };
    // The process sets up its root meanwhile, and waits to be released into its groups.
    let finished = groups.finish();
    let running = finished
        .map_err(|error| cgroup_failure(&error))
        .and_then(|warnings| Ok((child.release()?, warnings)));
    let cgroup = groups.into_cgroup();
    match running {
        Ok((terminal, warnings)) => Ok(Started {
            pid: child.pid,
            pidfd: child.pidfd,
            terminal,
            mount: child.mount,
            cgroup,
            warnings,
        }),
        Err(failure) => {
            child.end();
            Err(give_up(cgroup, failure))
        }
    }
}

/// Removes the groups of a process that is reaped; what cannot be removed now is swept by a later
/// command.
fn give_up(mut cgroup: ContainerCgroup, failure: Failure) -> Failure {
    let _ = cgroup.kill_all();
    let _ = cgroup.remove();
    failure
}

/// Looks at a launch as a start would before it makes anything: kernel parameters, resource limits and
/// what is asked of the control groups.
///
/// # Errors
/// What would keep it from running, with the words of the start.
pub fn check(launch: &Launch) -> Result<(), Failure> {
    kernel_parameters::check(&launch.spec, &[])?;
    for limit in &launch.spec.process.rlimits {
        limits::check(limit)?;
    }
    let request = &launch.cgroup;
    cgroup::check(
        &request.parent,
        &request.id,
        &request.resources,
        &device_rules(request),
    )
    .map_err(|error| cgroup_failure(&error))
}

fn device_rules(request: &CgroupRequest) -> DeviceRules {
    DeviceRules {
        all: request.all_devices,
        extra: request.device_rules.clone(),
    }
}

fn cgroup_failure(error: &CgroupError) -> Failure {
    Failure::setup(chain(error))
}

fn begin_cgroup(launch: &Launch, layout: Option<Layout>) -> Result<Begun, Failure> {
    let request = &launch.cgroup;
    let layout = match layout {
        Some(layout) => layout,
        None => Layout::detect().map_err(|error| cgroup_failure(&error))?,
    };
    let rules = device_rules(request);
    layout
        .begin(&request.parent, &request.id, &request.resources, &rules)
        .map_err(|error| cgroup_failure(&error))
}

/// An error and its causes in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

/// The container's first process before it runs its program.
struct Child {
    pid: i32,
    pidfd: OwnedFd,
    channel: OwnedFd,
    mount: Option<OwnedFd>,
}

impl Child {
    /// Lets it go on, and waits until its program runs; returns its terminal.
    fn release(&self) -> Result<Option<OwnedFd>, Failure> {
        // The reason that the child gives is better than that its channel broke.
        let released = sys::socket::send(&self.channel, b"G", &[]);
        let terminal = listen(&self.channel)?;
        released.on("release", "container")?;
        Ok(terminal)
    }

    /// Ends it, where it has not ended by itself.
    fn end(&self) {
        let _ = process::signal(&self.pidfd, libc::SIGKILL);
        let _ = process::reap(&self.pidfd, true);
    }
}

/// What the new process is made of. The parent's share of it is closed once there is one.
struct Material<'a> {
    stdio: Stdio,
    seccomp: Option<&'a Program>,
    join: &'a [(NamespaceKind, OwnedFd)],
    root: Option<BorrowedFd<'a>>,
}

fn clone(launch: &Launch, material: Material<'_>, cgroup: &Begun) -> Result<Child, Failure> {
    let (ours, theirs) = sys::socket::pair()?;
    let hierarchies = cgroup.hierarchies();
    let join = material.join;
    let pid_namespace = join.iter().find(|(kind, _)| *kind == NamespaceKind::Pid);
    let home = match pid_namespace {
        Some((_, namespace)) => Some(enter_pid_namespace(namespace)?),
        None => None,
    };
    let side = process::clone_into(
        new_namespaces(&launch.spec, join),
        cgroup.cgroup().clone_fd(),
    );
    if let (Some(home), false) = (home, matches!(side, Ok(Side::Child))) {
        process::join_namespaces(home, NamespaceKind::Pid.clone_flag())?;
    }
    let (streams, mount) = match material.stdio {
        Stdio::Streams(fds) => (Some(fds), None),
        Stdio::Mounted(fds, mount) => (Some(fds), Some(mount)),
        Stdio::Terminal => (None, None),
    };
    match side? {
        Side::Child => {
            drop((ours, mount));
            let streams = streams.as_ref();
            let streams = streams.map(|fds| [fds[0].as_fd(), fds[1].as_fd(), fds[2].as_fd()]);
            let inherited = Inherited {
                channel: theirs.as_fd(),
                stdio: streams,
                cgroup,
                hierarchies: &hierarchies,
                seccomp: material.seccomp,
                join,
                root: material.root,
            };
            let failure = init::run(launch, &inherited);
            report(theirs.as_fd(), &failure);
            process::exit_now(failure.kind.exit_code());
        }
        Side::Parent { pid, pidfd } => {
            sys::fail::point("runtime.start.cloned");
            drop(theirs);
            Ok(Child {
                pid,
                pidfd,
                channel: ours,
                mount,
            })
        }
    }
}

/// Reports a failure to whoever holds the other end of the channel.
pub(crate) fn report(channel: impl AsFd, failure: &Failure) {
    let mut failure = failure.clone();
    let mut end = failure.text.len().min(FAILURE_BYTES_MAX / 4);
    while !failure.text.is_char_boundary(end) {
        end -= 1;
    }
    failure.text.truncate(end);
    let mut message = vec![b'F'];
    if serde_json::to_writer(&mut message, &failure).is_ok() {
        // Nobody listens where the monitor was killed.
        let _ = sys::socket::send(channel, &message, &[]);
    }
}

/// Waits until the program runs (the channel closes by exec) or a failure arrives.
pub(crate) fn listen(channel: impl AsFd) -> Result<Option<OwnedFd>, Failure> {
    let mut terminal = None;
    let mut was_unread = false;
    let mut buffer = vec![0u8; FAILURE_BYTES_MAX];
    loop {
        let (length, mut fds) = match sys::socket::receive(&channel, &mut buffer) {
            // It ended without our word, which is told once and before what it said last.
            Err(Errno::CONNRESET) if !was_unread => {
                was_unread = true;
                continue;
            }
            other => other.on("hear from", "container")?,
        };
        match buffer[..length].first() {
            None if was_unread => {
                return Err(Failure::setup("the container ended before it could run"));
            }
            None => return Ok(terminal),
            Some(b'T') => terminal = fds.pop(),
            Some(b'F') => {
                return Err(serde_json::from_slice(&buffer[1..length])
                    .unwrap_or_else(|_| Failure::setup("the container failed without a reason")));
            }
            Some(_) => return Err(Failure::setup("the container speaks an unknown protocol")),
        }
    }
}

fn new_namespaces(spec: &Spec, joined: &[(NamespaceKind, OwnedFd)]) -> u64 {
    spec.linux
        .namespaces
        .iter()
        // The cgroup namespace is made by the child once it is in its groups.
        .filter(|namespace| namespace.path.is_empty() && namespace.kind != NamespaceKind::Cgroup)
        .filter(|namespace| joined.iter().all(|(kind, _)| *kind != namespace.kind))
        .map(|namespace| namespace.kind.clone_flag())
        .fold(0, |all, flag| all | flag)
}

fn open_joined(
    spec: &Spec,
    network: Option<&OwnedFd>,
) -> Result<Vec<(NamespaceKind, OwnedFd)>, Failure> {
    let mut joined = Vec::new();
    if let Some(network) = network {
        let network = network.try_clone().on("hold", "network namespace")?;
        joined.push((NamespaceKind::Network, network));
    }
    for namespace in spec
        .linux
        .namespaces
        .iter()
        .filter(|namespace| !namespace.path.is_empty())
    {
        let fd = open_namespace(&namespace.path)?;
        joined.push((namespace.kind, fd));
    }
    Ok(joined)
}

fn open_namespace(path: &str) -> Result<OwnedFd, SysError> {
    rustix::fs::openat(CWD, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        .on("open namespace", path)
}

/// Makes the next child a member of another pid namespace; returns the way back.
fn enter_pid_namespace(namespace: &OwnedFd) -> Result<OwnedFd, SysError> {
    let home = open_namespace("/proc/self/ns/pid")?;
    process::join_namespaces(namespace, NamespaceKind::Pid.clone_flag())?;
    Ok(home)
}

/// The filter for a process with these capabilities.
pub(crate) fn seccomp_program(
    request: &SeccompRequest,
    process: &Process,
) -> Result<Option<Program>, Failure> {
    let names = process
        .capabilities
        .as_ref()
        .map(|sets| sets.bounding.as_slice())
        .unwrap_or_default();
    let target = Target {
        machine: seccomp::Machine::NATIVE,
        capabilities: CapSet::of_names(names),
        kernel: sys::host::kernel_version(),
    };
    let fail = |error: seccomp::ProfileError| Failure::setup(chain(&error));
    match request {
        SeccompRequest::Unconfined => Ok(None),
        SeccompRequest::Default => Ok(Some(seccomp::default_program(&target))),
        SeccompRequest::Profile(text) => match Profile::parse(text).map_err(fail)? {
            // A profile that allows everything needs no filter.
            None => Ok(None),
            Some(profile) => {
                let program = profile.program(&target).map_err(fail)?;
                seccomp::check_start(&program, process, target.machine)?;
                Ok(Some(program))
            }
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A child that fails before it has read that its groups are made closes a socket with a packet
    /// unread: its parent is told of that first.
    #[test]
    fn a_failure_is_heard_though_our_word_was_not() {
        let (ours, theirs) = sys::socket::pair().unwrap();
        sys::socket::send(&ours, b"G", &[]).unwrap();
        report(&theirs, &Failure::setup("no such place"));
        drop(theirs);
        assert_eq!(listen(&ours).unwrap_err().text, "no such place");
        let (ours, theirs) = sys::socket::pair().unwrap();
        sys::socket::send(&ours, b"G", &[]).unwrap();
        drop(theirs);
        assert!(listen(&ours).is_err());
    }
}
