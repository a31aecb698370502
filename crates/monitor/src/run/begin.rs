//! The first steps of a monitor, until its container runs.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, OwnedFd};

use runtime::Failure;
use runtime::cgroup::Layout;
use runtime::spec::NamespaceKind;
use sys::Context;
use sys::lock::Lock;
use types::restart::RestartBackoff;

use super::{Monitor, REST_AFTER_NS};
use crate::attached::Client;
use crate::job::Job;
use crate::log::Log;
use crate::protocol::{self, Kind, Started};
use crate::spawn::{self, given};
use crate::state;

/// Runs a monitor in this process, which must have been made by [`spawn::Waiting::new`]. Returns the
/// arguments of our own binary that shall run next in this process, if any. `cgroup` is where monitors
/// are among control groups.
pub fn run(cgroup: &str) -> Option<Vec<String>> {
    let channel = sys::mount::inherited(spawn::START_CHANNEL).ok()?;
    match begin(&channel, cgroup) {
        // The command needed no monitor after all, or was killed.
        Ok(None) => None,
        Ok(Some((mut monitor, warnings))) => {
            let pid = monitor.state.pid;
            let answer = protocol::json_packet(Kind::Started, &Started { pid, warnings });
            // The command may be gone; the container stays.
            let _ = sys::socket::send(&channel, &answer, &[]);
            drop(channel);
            sys::fail::point("monitor.start.told");
            monitor.watch();
            monitor.farewell()
        }
        Err(failure) => {
            let _ = sys::socket::send(&channel, &protocol::failed_packet(&failure), &[]);
            None
        }
    }
}

type Begun = (Monitor, Vec<String>);

fn begin(channel: &OwnedFd, cgroup: &str) -> Result<Option<Begun>, Failure> {
    sys::caller::close_all_but(&[channel.as_fd()]);
    sys::caller::detach();
    // Where the caller's hard limit of file sizes stays, its log ends there, and it goes on.
    sys::caller::outlive_file_size_limit();
    let _ = sys::process::set_dumpable(false);
    sys::process::set_name(c"caisson-monitor");
    sys::process::become_subreaper();
    let layout = Layout::detect().ok();
    if let Some(layout) = &layout {
        // Out of the caller's control groups, so that ending those leaves the container alone.
        let _ = layout.move_to_monitors(cgroup);
    }
    let Some(given) = receive_job(channel)? else {
        return Ok(None);
    };
    let Given {
        job,
        lock,
        client,
        network_follows,
        root_follows,
    } = given;
    sys::fail::point("monitor.start.received");
    // An earlier monitor of this container may still be unmounting.
    let mounted = Lock::acquire_directory(&protocol::mounted_lock(&job.directory))?;
    let clients = client.map(Client::new).into_iter().collect();
    let listener = sys::socket::listen(&job.run_directory, protocol::SOCKET)?;
    sys::fail::point("monitor.start.listening");
    let log = Log::open(&job.directory, job.log.clone())?;
    let signals = signals_of(&job);
    let mut state = state::load(&job);
    state.monitor_pid = i32::try_from(std::process::id()).unwrap_or(0);
    state.monitor_start_time = sys::host::start_time(state.monitor_pid).unwrap_or(0);
    let mut monitor = Monitor {
        state,
        container: None,
        ended: None,
        clients,
        processes: Vec::new(),
        input: Vec::new(),
        input_ends: false,
        kill_at_ns: None,
        log,
        listener,
        checker: None,
        restart_at_ns: None,
        signals: sys::caller::signal_descriptor(signals)?,
        rests: false,
        rest_at_ns: Some(sys::journal::now_ns() + REST_AFTER_NS),
        backoff: RestartBackoff::default(),
        started_ns: 0,
        network: None,
        networks: None,
        left: None,
        layout,
        lock: Some(lock),
        _mounted: mounted,
        job,
    };
    // What the first client asks for is there before the container writes its first byte.
    for index in 0..monitor.clients.len() {
        monitor.hear(index);
    }
    let warnings = if monitor.job.adopt {
        monitor.adopt()?
    } else {
        // Asked for as late as can be: the command makes it meanwhile.
        monitor.network = network_follows.then(|| receive_network(channel)).flatten();
        monitor.start(root_follows.then(|| channel.as_fd()), false)?
    };
    sys::fail::point("monitor.start.announced");
    Ok(Some((monitor, warnings)))
}

/// The signals that a monitor reads: a command asks for its socket, and a child has ended that is nobody
/// else's, which there are only without a pid namespace.
fn signals_of(job: &Job) -> u64 {
    let namespaces = &job.launch.spec.linux.namespaces;
    let strangers = match namespaces.iter().any(|one| one.kind == NamespaceKind::Pid) {
        true => 0,
        false => 1 << (libc::SIGCHLD - 1),
    };
    1 << (protocol::REMAKE_SIGNAL - 1) | strangers
}

/// What a command hands over.
struct Given {
    job: Job,
    lock: OwnedFd,
    client: Option<OwnedFd>,
    network_follows: bool,
    root_follows: bool,
}

fn receive_job(channel: &OwnedFd) -> Result<Option<Given>, Failure> {
    let mut names = [0u8; 8];
    let (length, fds) = sys::socket::receive(channel, &mut names).on("hear from", "the command")?;
    if length == 0 {
        return Ok(None);
    }
    let follows = |name| names[..length].contains(&name);
    let (network_follows, root_follows) = (
        follows(given::NETWORK_FOLLOWS),
        follows(given::ROOT_FOLLOWS),
    );
    let mut given: BTreeMap<u8, OwnedFd> = names[..length].iter().copied().zip(fds).collect();
    let (Some(document), Some(lock)) = (given.remove(&given::JOB), given.remove(&given::LOCK))
    else {
        return Err(Failure::setup("the command gave its monitor no job"));
    };
    let document = std::io::BufReader::new(std::fs::File::from(document));
    let job = serde_json::from_reader(document)
        .map_err(|error| Failure::setup(format!("cannot read the monitor's job: {error}")))?;
    Ok(Some(Given {
        job,
        lock,
        client: given.remove(&given::CLIENT),
        network_follows,
        root_follows,
    }))
}

/// The network namespace that the command made; none where that failed: the start tries again, and says
/// why not.
fn receive_network(channel: &OwnedFd) -> Option<OwnedFd> {
    let mut name = [0u8; 1];
    let (_, mut fds) = sys::socket::receive(channel, &mut name).ok()?;
    fds.pop()
}
