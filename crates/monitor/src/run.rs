//! The monitor's life: start or adopt, watch, end.

use std::os::fd::{AsFd, OwnedFd};

use runtime::Failure;
use sys::lock::Lock;
use types::restart::RestartBackoff;
use types::state::{ContainerState, Health, Probe, Status};

use crate::attached::Client;
use crate::container::Container;
use crate::health::Checker;
use crate::job::Job;
use crate::joined::{self, Process, Purpose};
use crate::log::{Log, Stream};
use crate::protocol::{self, Ended, Kind, Started};
use crate::spawn;
use crate::state::{self, now};
use crate::watch::{Ready, Watch, is_readable};

/// At most so many bytes of input wait for the container.
pub(crate) const INPUT_BYTES_MAX: usize = 64 * 1024;

/// The monitor.
pub(crate) struct Monitor {
    pub(crate) job: Job,
    pub(crate) state: ContainerState,
    pub(crate) container: Option<Container>,
    /// What is left of the container when it has ended for good.
    pub(crate) ended: Option<Container>,
    pub(crate) clients: Vec<Client>,
    pub(crate) processes: Vec<Process>,
    pub(crate) input: Vec<u8>,
    pub(crate) input_ends: bool,
    /// SIGKILL follows then.
    pub(crate) kill_at_ns: Option<i64>,
    log: Log,
    listener: OwnedFd,
    checker: Option<Checker>,
    restart_at_ns: Option<i64>,
    backoff: RestartBackoff,
    started_ns: i64,
    /// Held for life: a dead monitor is known by its lock.
    pub(crate) lock: Option<OwnedFd>,
    // Held until the root is unmounted: the same upper directory is never mounted twice.
    _mounted: Lock,
}

/// Runs a monitor in this process, which must have been made by [`spawn::spawn`]. Returns the
/// arguments of our own binary that shall run next in this process, if any.
pub fn run(has_client: bool) -> Option<Vec<String>> {
    let channel = sys::mount::inherited(spawn::START_CHANNEL).ok()?;
    match begin(has_client) {
        Ok((mut monitor, warnings)) => {
            let pid = monitor.state.pid;
            let answer = protocol::json_packet(Kind::Started, &Started { pid, warnings });
            // The command may be gone; the container stays.
            let _ = sys::socket::send(&channel, &answer, &[]);
            drop(channel);
            monitor.watch();
            monitor.farewell()
        }
        Err(failure) => {
            let _ = sys::socket::send(
                &channel,
                &protocol::json_packet(Kind::Failed, &failure),
                &[],
            );
            None
        }
    }
}

fn begin(has_client: bool) -> Result<(Monitor, Vec<String>), Failure> {
    let _ = sys::process::set_dumpable(false);
    sys::process::set_name(c"caisson-monitor");
    sys::process::become_subreaper();
    let document = sys::mount::inherited(spawn::JOB)?;
    let job: Job = serde_json::from_reader(std::io::BufReader::new(std::fs::File::from(document)))
        .map_err(|error| Failure::setup(format!("cannot read the monitor's job: {error}")))?;
    let lock = sys::mount::inherited(spawn::LOCK)?;
    // An earlier monitor of this container may still be unmounting.
    let mounted = Lock::acquire(&job.run_directory.join(protocol::MOUNTED))?;
    let mut clients = Vec::new();
    if has_client {
        clients.push(Client::new(sys::mount::inherited(spawn::FIRST_CLIENT)?));
    }
    let listener = sys::socket::listen(&job.run_directory, protocol::SOCKET)?;
    let log = Log::open(&job.directory, job.log.clone())?;
    let state = state::load(&job);
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
        backoff: RestartBackoff::default(),
        started_ns: 0,
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
        monitor.start(false)?
    };
    // Out of the caller's control group, so that ending that one leaves the container alone. Done
    // while the container's program is being loaded.
    let _ = runtime::cgroup::move_to_monitors(&monitor.job.monitors_cgroup);
    Ok((monitor, warnings))
}

impl Monitor {
    fn adopt(&mut self) -> Result<Vec<String>, Failure> {
        let container = Container::adopt(&self.job, self.state.pid, self.state.start_time)?;
        self.container = Some(container);
        self.begin_health();
        Ok(Vec::new())
    }

    fn start(&mut self, again: bool) -> Result<Vec<String>, Failure> {
        if !again {
            self.state.restart_count = 0;
            self.state.stopped_by_user = false;
        }
        let container = match Container::start(&self.job) {
            Ok(container) => container,
            Err(failure) => {
                self.state.status = if again {
                    Status::Exited
                } else {
                    Status::Created
                };
                self.state.error.clone_from(&failure.text);
                self.state.exit_code = failure.kind.exit_code();
                self.state.pid = 0;
                self.state.finished_at = now();
                state::save(&self.job, &self.state);
                return Err(failure);
            }
        };
        self.started_ns = sys::journal::now_ns();
        self.state.status = Status::Running;
        self.state.pid = container.pid;
        self.state.start_time = sys::host::start_time(container.pid).unwrap_or(0);
        self.state.boot_id = sys::host::boot_id();
        self.state.started_at = now();
        self.state.error.clear();
        self.state.oom_killed = false;
        self.state.exit_unknown = false;
        self.state.exit_code = 0;
        self.state
            .cgroup_parent
            .clone_from(&self.job.launch.cgroup.parent);
        let warnings = container.warnings.clone();
        self.container = Some(container);
        self.begin_health();
        state::save(&self.job, &self.state);
        state::announce(&self.job, "start", &[]);
        Ok(warnings)
    }

    fn begin_health(&mut self) {
        let now_ns = sys::journal::now_ns();
        self.checker = self
            .job
            .health
            .clone()
            .map(|check| Checker::new(check, now_ns));
        if self.checker.is_some() && (!self.job.adopt || self.state.health.is_none()) {
            self.state.health = Some(Health {
                status: "starting".into(),
                ..Health::default()
            });
        }
    }

    /// Watches until the container has ended for good.
    fn watch(&mut self) {
        while self.container.is_some() || self.restart_at_ns.is_some() {
            let ready = self.sleep();
            for event in ready {
                self.handle(event);
            }
            self.clients
                .iter_mut()
                .filter(|client| client.gone)
                .for_each(|client| {
                    // A gone client with the one standard input takes that along.
                    self.input_ends |= client.attach.stdin && self.job.stdin_once;
                });
            self.clients.retain(|client| !client.gone);
            self.feed_input();
            self.keep_time();
        }
    }

    fn sleep(&mut self) -> Vec<Ready> {
        let mut watch = Watch::default();
        watch.readable(self.listener.as_fd(), Ready::Listener);
        let output_held = self.clients.iter().any(Client::holds_output);
        let input_full = self.input.len() >= INPUT_BYTES_MAX;
        if let Some(container) = &self.container {
            watch.readable(container.pidfd.as_fd(), Ready::Exit);
            if let Some(oom) = &container.oom {
                watch.readable(oom.as_fd(), Ready::OutOfMemory);
            }
            if !output_held {
                for (stream, fd) in container.outputs() {
                    if container.silent_until_ns(stream).is_none() {
                        watch.readable(fd.as_fd(), Ready::Output(stream));
                    }
                }
            }
            if let (Some(input), false) = (container.input(), self.input.is_empty()) {
                watch.writable(input.as_fd(), Ready::Input);
            }
        }
        for (index, client) in self.clients.iter().enumerate() {
            if !(client.attach.stdin && input_full) {
                watch.readable(client.socket.as_fd(), Ready::Client(index));
            }
            if client.has_queue() {
                watch.writable(client.socket.as_fd(), Ready::ClientRoom(index));
            }
        }
        for (index, process) in self.processes.iter().enumerate() {
            watch.readable(process.pidfd.as_fd(), Ready::Joined(index));
            if let Purpose::Probe(probe) = &process.purpose {
                watch.readable(probe.reader.as_fd(), Ready::ProbeOutput(index));
            }
        }
        watch.wait(self.next_deadline())
    }

    fn next_deadline(&self) -> Option<i64> {
        let probes = self
            .processes
            .iter()
            .filter_map(|process| match &process.purpose {
                Purpose::Probe(probe) if !probe.timed_out => Some(probe.deadline_ns),
                _ => None,
            });
        let silent = self.container.iter().flat_map(|container| {
            let streams = [Stream::Output, Stream::Error].into_iter();
            streams.filter_map(|stream| container.silent_until_ns(stream))
        });
        let silent = silent.filter(|until| *until != i64::MAX);
        let check = self.checker.as_ref().and_then(|checker| checker.due_ns);
        let check = if self.state.status == Status::Running {
            check
        } else {
            None
        };
        probes
            .chain(silent)
            .chain(
                [self.kill_at_ns, self.restart_at_ns, check]
                    .into_iter()
                    .flatten(),
            )
            .min()
    }

    fn handle(&mut self, event: Ready) {
        match event {
            Ready::Listener => self.accept(),
            Ready::Output(stream) => {
                self.read_output(stream);
            }
            Ready::Exit => self.ended(),
            Ready::OutOfMemory => self.out_of_memory(),
            Ready::Input => self.feed_input(),
            Ready::Client(index) => self.hear(index),
            Ready::ClientRoom(index) => {
                if let Some(client) = self.clients.get_mut(index) {
                    client.flush();
                }
            }
            Ready::Joined(index) => self.process_ended(index),
            Ready::ProbeOutput(index) => self.probe_printed(index),
        }
    }

    fn accept(&mut self) {
        use rustix::net::SocketFlags;
        while let Ok(socket) = rustix::net::accept_with(&self.listener, SocketFlags::CLOEXEC) {
            self.clients.push(Client::new(socket));
        }
    }

    /// Reads once; returns whether there was anything.
    fn read_output(&mut self, stream: Stream) -> bool {
        let mut buffer = [0u8; protocol::CHUNK_BYTES_MAX];
        let Some(container) = &mut self.container else {
            return false;
        };
        let Some((_, fd)) = container.outputs().into_iter().find(|(s, _)| *s == stream) else {
            return false;
        };
        let count = match rustix::io::read(fd, &mut buffer) {
            Ok(count @ 1..) => count,
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => return false,
            // The end of a pipe, or EIO: a terminal whose last process let go.
            _ => {
                container.hung_up(stream);
                return false;
            }
        };
        let bytes = &buffer[..count];
        self.log.write(stream, bytes, &now());
        for client in &mut self.clients {
            match stream {
                Stream::Output if client.attach.stdout => client.send_stream(Kind::Output, bytes),
                Stream::Error if client.attach.stderr => {
                    client.send_stream(Kind::ErrorOutput, bytes);
                }
                _ => {}
            }
        }
        true
    }

    pub(crate) fn feed_input(&mut self) {
        let Some(container) = &mut self.container else {
            return;
        };
        if let (Some(input), false) = (container.input(), self.input.is_empty()) {
            match rustix::io::write(input, &self.input) {
                Ok(count) => {
                    self.input.drain(..count);
                }
                Err(rustix::io::Errno::AGAIN) => {}
                // Nobody reads it any more.
                Err(_) => self.input.clear(),
            }
        }
        if self.input_ends && self.input.is_empty() {
            container.close_input();
        }
    }

    fn out_of_memory(&mut self) {
        let Some(container) = &mut self.container else {
            return;
        };
        // A counter on v1, a queue of file events on v2, which refuses short reads.
        let mut events = [0u8; 512];
        if let Some(oom) = &container.oom {
            while matches!(rustix::io::read(oom, &mut events), Ok(1..)) {}
        }
        // The eventfd of cgroup v1 also fires when the group is removed.
        if container.cgroup.oom_kill_count() == 0 {
            return;
        }
        if !self.state.oom_killed {
            self.state.oom_killed = true;
            state::announce(&self.job, "oom", &[]);
            state::save(&self.job, &self.state);
        }
    }

    fn keep_time(&mut self) {
        let now_ns = sys::journal::now_ns();
        if self.kill_at_ns.is_some_and(|at| at <= now_ns) {
            self.kill_at_ns = None;
            if let Some(container) = &self.container {
                let _ = sys::process::signal(&container.pidfd, libc::SIGKILL);
            }
        }
        for process in &mut self.processes {
            if let Purpose::Probe(probe) = &mut process.purpose
                && probe.deadline_ns <= now_ns
                && !probe.timed_out
            {
                probe.timed_out = true;
                let _ = sys::process::signal(&process.pidfd, libc::SIGKILL);
            }
        }
        let due = self.checker.as_ref().and_then(|checker| checker.due_ns);
        if due.is_some_and(|at| at <= now_ns) && self.state.status == Status::Running {
            self.begin_probe(now_ns);
        }
        if self.restart_at_ns.is_some_and(|at| at <= now_ns) {
            self.restart_at_ns = None;
            self.state.restart_count += 1;
            if self.start(true).is_err() {
                let code = self.state.exit_code;
                self.plan_restart(code);
            }
        }
    }

    /// The container's first process is gone: take the rest of its output, and decide what follows.
    fn ended(&mut self) {
        let Some(container) = &self.container else {
            return;
        };
        let exit = if container.adopted {
            None
        } else {
            match sys::process::reap(&container.pidfd, false) {
                Ok(None) => return,
                Ok(Some(exit)) => Some(exit),
                Err(_) => None,
            }
        };
        // With the host's pid namespace its children outlive it; they belong to the container.
        let _ = container.cgroup.kill_all();
        self.drain();
        self.forget_processes();
        let Some(mut container) = self.container.take() else {
            return;
        };
        if container.cgroup.oom_kill_count() > 0 {
            self.state.oom_killed = true;
        }
        self.kill_at_ns = None;
        self.checker = None;
        self.state.pid = 0;
        self.state.finished_at = now();
        self.state.exit_unknown = exit.is_none();
        self.state.exit_code = exit.map_or(255, sys::process::Exit::shell_code);
        let code = self.state.exit_code;
        if self.will_restart(code) {
            // The root must be unmounted before it is mounted again.
            let _ = container.cgroup.remove();
            drop(container);
            self.plan_restart(code);
        } else {
            self.state.status = Status::Exited;
            state::save(&self.job, &self.state);
            self.ended = Some(container);
        }
        state::announce(&self.job, "die", &[("exitCode", code.to_string())]);
    }

    fn drain(&mut self) {
        for stream in [Stream::Output, Stream::Error] {
            while self.read_output(stream) {
                // A slow owner still gets everything; the process that wrote it is gone anyway.
                self.clients.iter_mut().for_each(Client::flush);
            }
        }
        self.log.finish(&now());
    }

    /// Processes that joined died with the namespace; their commands learn it now.
    fn forget_processes(&mut self) {
        while !self.processes.is_empty() {
            let index = self.processes.len() - 1;
            let _ = sys::process::signal(&self.processes[index].pidfd, libc::SIGKILL);
            let _ = sys::process::reap(&self.processes[index].pidfd, true)
                .map(|exit| self.finish_process(index, exit));
            if self.processes.len() > index {
                self.finish_process(index, None);
            }
        }
    }

    fn will_restart(&self, code: i32) -> bool {
        if self.state.stopped_by_user {
            return false;
        }
        self.job
            .restart
            .wants_restart(code, self.state.restart_count)
    }

    fn plan_restart(&mut self, code: i32) {
        if !self.will_restart(code) {
            self.state.status = Status::Exited;
            state::save(&self.job, &self.state);
            return;
        }
        let now_ns = sys::journal::now_ns();
        self.restart_at_ns = Some(now_ns + self.backoff.next_wait_ns(now_ns - self.started_ns));
        self.state.status = Status::Restarting;
        state::save(&self.job, &self.state);
    }

    /// Gives up a planned restart: the user wants it stopped.
    pub(crate) fn cancel_restart(&mut self) {
        if self.restart_at_ns.take().is_some() {
            self.state.status = Status::Exited;
            state::save(&self.job, &self.state);
        }
    }

    fn begin_probe(&mut self, now_ns: i64) {
        let (Some(checker), Some(container)) = (&mut self.checker, &self.container) else {
            return;
        };
        checker.due_ns = None;
        let shell = ["/bin/sh".to_string(), "-c".to_string()];
        let Some(command) = checker.command(&shell) else {
            return;
        };
        let text = format!("exec_start: {}", command.join(" "));
        match joined::probe(&self.job, container, command, now_ns, checker.timeout_ns()) {
            Ok(process) => {
                state::announce(&self.job, &text, &[]);
                self.processes.push(process);
            }
            Err(failure) => {
                let probe = Probe {
                    start: now(),
                    end: now(),
                    exit_code: -1,
                    output: failure.text.clone(),
                };
                self.record_probe(probe);
            }
        }
    }

    fn record_probe(&mut self, probe: Probe) {
        let (Some(checker), Some(health)) = (&mut self.checker, &mut self.state.health) else {
            return;
        };
        let changed = checker.record(health, probe, sys::journal::now_ns());
        let status = health.status.clone();
        state::save(&self.job, &self.state);
        if changed {
            state::announce(&self.job, &format!("health_status: {status}"), &[]);
        }
    }

    fn probe_printed(&mut self, index: usize) {
        if let Some(Process {
            purpose: Purpose::Probe(probe),
            ..
        }) = self.processes.get_mut(index)
        {
            probe.read();
        }
    }

    fn process_ended(&mut self, index: usize) {
        let Some(process) = self.processes.get(index) else {
            return;
        };
        match sys::process::reap(&process.pidfd, false) {
            Ok(None) => {}
            Ok(Some(exit)) => self.finish_process(index, Some(exit)),
            Err(_) => self.finish_process(index, None),
        }
    }

    fn finish_process(&mut self, index: usize, exit: Option<sys::process::Exit>) {
        let process = self.processes.remove(index);
        let code = exit.map_or(255, sys::process::Exit::shell_code);
        match process.purpose {
            Purpose::Probe(mut probe) => {
                if is_readable(&probe.reader) {
                    probe.read();
                }
                let output = match probe.timed_out {
                    true => "Health check exceeded timeout".to_string(),
                    false => String::from_utf8_lossy(&probe.output).into_owned(),
                };
                let exit_code = probe.exit_code(exit);
                self.record_probe(Probe {
                    start: probe.start,
                    end: now(),
                    exit_code,
                    output,
                });
            }
            Purpose::Command { client } => {
                let more = [("execID", process.id), ("exitCode", code.to_string())];
                state::announce(&self.job, "exec_die", &more);
                let client = client.and_then(|number| self.client_by_number(number));
                if let Some(client) = client {
                    client.send(protocol::json_packet(Kind::Ended, &Ended { code }));
                }
            }
        }
    }

    pub(crate) fn client_by_number(&mut self, number: u64) -> Option<&mut Client> {
        self.clients
            .iter_mut()
            .find(|client| sys::process::raw_number(&client.socket) as u64 == number)
    }
}
