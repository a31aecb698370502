//! The monitor's life: start or adopt, watch, end.

mod begin;
mod probes;

pub use begin::run;

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use runtime::cgroup::Layout;
use runtime::spec::NamespaceKind;
use runtime::{Ahead, Failure};
use sys::SysError;
use sys::lock::Lock;
use types::restart::RestartBackoff;
use types::state::{ContainerState, Health, Status};

use crate::attached::Client;
use crate::container::Container;
use crate::health::Checker;
use crate::job::Job;
use crate::joined::{Process, Purpose};
use crate::log::{Log, Stream};
use crate::name_server::NameServer;
use crate::networks::{self, Networks};
use crate::protocol::{self, Kind};
use crate::state::{self, now};
use crate::watch::{Ready, Watch};

/// At most so many bytes of input wait for the container.
pub(crate) const INPUT_BYTES_MAX: usize = 64 * 1024;

const REST_AFTER_NS: i64 = 1_000_000_000;

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
    rest_at_ns: Option<i64>,
    /// The next sleep is expected to be a long one.
    rests: bool,
    /// Readable when a command asks for the socket by [`protocol::REMAKE_SIGNAL`].
    signals: OwnedFd,
    backoff: RestartBackoff,
    started_ns: i64,
    /// The container's network namespace, kept from one start to the next.
    pub(crate) network: Option<OwnedFd>,
    /// Its place in its networks.
    pub(crate) networks: Option<Networks>,
    /// Networks that it has left, whose sockets take their time to close.
    pub(crate) left: Option<Networks>,
    /// Control groups as they were found before the job came.
    layout: Option<Layout>,
    /// Held until the end is told: a dead monitor is known by its lock.
    pub(crate) lock: Option<OwnedFd>,
    // Held until the root is unmounted: the same upper directory is never mounted twice.
    _mounted: Lock,
}

impl Monitor {
    fn adopt(&mut self) -> Result<Vec<String>, Failure> {
        let container = Container::adopt(&self.job, self.state.pid, self.state.start_time)?;
        if let Some(attachment) = self.job.attachment.take() {
            match networks::namespace_of(container.pid) {
                Some(namespace) => {
                    self.networks = Networks::resume(attachment, &namespace);
                    self.network = Some(namespace);
                }
                // It ends at this moment, so there will be nothing to leave.
                None => networks::give_up(&self.job, &attachment),
            }
        }
        if self.state.status == Status::Running {
            // A command that held it still may have been killed together with its monitor.
            let _ = container.cgroup.thaw();
        }
        self.container = Some(container);
        sys::fail::point("monitor.adopt.taken");
        self.begin_health();
        state::save(&self.job, &self.state);
        Ok(Vec::new())
    }

    /// Starts the container; `root` is where its layers arrive the first time, as in [`Ahead`].
    fn start(&mut self, root: Option<BorrowedFd<'_>>, again: bool) -> Result<Vec<String>, Failure> {
        if !again {
            self.state.restart_count = 0;
            self.state.stopped_by_user = false;
        }
        let container = match self.start_container(root) {
            Ok(container) => container,
            Err(failure) => {
                // Whoever has run once is never again one that was only created.
                let has_run = again || !self.state.started_at.is_empty();
                self.state.status = match has_run {
                    true => Status::Exited,
                    false => Status::Created,
                };
                self.state.error.clone_from(&failure.text);
                self.state.exit_code = failure.recorded_code();
                self.state.pid = 0;
                state::save(&self.job, &self.state);
                if !again {
                    self.leave_networks();
                }
                return Err(failure);
            }
        };
        sys::fail::point("monitor.start.running");
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
        state::try_save(&self.job, &self.state).map_err(|error| self.give_up(error))?;
        sys::fail::point("monitor.start.saved");
        state::announce_volumes(&self.job, "mount");
        state::announce(&self.job, "start", &[]);
        Ok(warnings)
    }

    pub(crate) fn leave_networks(&mut self) {
        if let Some(mut networks) = self.networks.take() {
            networks.undo(&self.job);
            self.left = Some(networks);
        }
    }

    /// A container that runs although its state does not say so would never be found: it ends.
    fn give_up(&mut self, error: SysError) -> Failure {
        if let Some(mut container) = self.container.take() {
            let _ = sys::process::signal(&container.pidfd, libc::SIGKILL);
            let _ = container.cgroup.kill_all();
            let _ = sys::process::reap(&container.pidfd, true);
            let _ = container.cgroup.remove();
        }
        error.into()
    }

    fn start_container(&mut self, root: Option<BorrowedFd<'_>>) -> Result<Container, Failure> {
        if !self.job.launch.spec.linux.makes(NamespaceKind::Network) {
            self.network = None;
        } else if self.network.is_none() {
            self.network = Some(sys::loopback::new_network_namespace()?);
        }
        // Taken: from one start to the next the container keeps its place.
        if let (Some(attachment), Some(namespace)) = (self.job.attachment.take(), &self.network) {
            self.networks = Some(Networks::connect(&self.job, attachment, namespace)?);
        }
        let ahead = Ahead {
            layout: self.layout.take(),
            network: self.network.as_ref(),
            root,
        };
        Container::start(&self.job, ahead)
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
            self.rest(ready.is_empty());
            self.resolve(&ready);
            for event in ready {
                self.handle(event);
            }
            self.clients
                .iter_mut()
                .filter(|client| client.gone)
                .for_each(|client| {
                    // A gone client with the one standard input takes that along.
                    self.input_ends |= client.attach.stdin && self.job.closes_stdin();
                });
            self.let_go();
            self.feed_input();
            self.keep_time();
        }
    }

    fn sleep(&mut self) -> Vec<Ready> {
        let for_long = std::mem::take(&mut self.rests);
        let mut watch = Watch::default();
        watch.readable(self.listener.as_fd(), Ready::Listener);
        watch.readable(self.signals.as_fd(), Ready::Signal);
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
        if let Some(networks) = &self.networks {
            for fd in networks.host() {
                watch.readable(fd, Ready::Host);
            }
            for fd in networks.proxied() {
                watch.readable(fd, Ready::Proxied);
            }
            for (source, fd) in networks.names.iter().flat_map(NameServer::sources) {
                watch.resolver(fd, source);
            }
        }
        watch.wait(self.next_deadline(), for_long)
    }

    /// Answers for names.
    fn resolve(&mut self, ready: &[Ready]) {
        let names = self.networks.as_mut().and_then(|all| all.names.as_mut());
        let Some(names) = names else {
            return;
        };
        let sources = ready.iter().filter_map(|ready| match ready {
            Ready::Resolver(source) => Some(*source),
            _ => None,
        });
        names.serve(&sources.collect::<Vec<_>>(), sys::journal::now_ns());
    }

    /// After a while in which nothing happened, memory is given back, once.
    fn rest(&mut self, nothing_happened: bool) {
        let now_ns = sys::journal::now_ns();
        if !nothing_happened {
            self.rest_at_ns = Some(now_ns + REST_AFTER_NS);
        } else if self.rest_at_ns.is_some_and(|at| at <= now_ns) {
            self.rest_at_ns = None;
            self.rests = true;
            self.log.rest();
        }
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
        let names = self.networks.as_ref().and_then(|all| all.names.as_ref());
        probes
            .chain(silent)
            .chain(names.and_then(NameServer::deadline))
            .chain(
                [self.kill_at_ns, self.next_start(), self.rest_at_ns, check]
                    .into_iter()
                    .flatten(),
            )
            .min()
    }

    pub(crate) fn is_restarting(&self) -> bool {
        self.restart_at_ns.is_some()
    }

    /// When its policy starts it again; not while a command holds it.
    fn next_start(&self) -> Option<i64> {
        let is_held = self.clients.iter().any(|client| client.holds);
        self.restart_at_ns.filter(|_| !is_held)
    }

    fn handle(&mut self, event: Ready) {
        match event {
            Ready::Listener => self.accept(),
            Ready::Signal => {
                while sys::caller::read_signal(&self.signals).is_some() {}
                self.remake_run_directory();
                self.reap_strangers();
            }
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
            Ready::Host => {
                if let Some(networks) = &mut self.networks {
                    networks.look_after_host();
                }
            }
            Ready::Proxied => {
                if let Some(networks) = &mut self.networks {
                    networks.attend_proxied();
                }
            }
            // Served before, all at once.
            Ready::Resolver(_) => {}
        }
    }

    /// In the host's pid namespace orphans of the container come to us.
    fn reap_strangers(&self) {
        let container = self.container.iter().map(|container| container.pid);
        let known: Vec<i32> = container
            .chain(self.processes.iter().map(|process| process.pid))
            .collect();
        sys::process::reap_others(&known);
    }

    /// Somebody removed the run root under a running container: without its socket no command could
    /// reach it again.
    fn remake_run_directory(&mut self) {
        if self.job.run_directory.join(protocol::SOCKET).exists() {
            return;
        }
        let _ = std::fs::create_dir_all(&self.job.launch.staging);
        let _ = std::fs::create_dir_all(&self.job.run_directory);
        if let Ok(listener) = sys::socket::listen(&self.job.run_directory, protocol::SOCKET) {
            self.listener = listener;
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
        if let Some(names) = self.networks.as_mut().and_then(|all| all.names.as_mut()) {
            names.printed(count, sys::journal::now_ns());
        }
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
                self.announce_kill(libc::SIGKILL);
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
        if self.next_start().is_some_and(|at| at <= now_ns) {
            sys::fail::point("monitor.restart.due");
            self.restart_at_ns = None;
            self.state.restart_count += 1;
            if self.start(None, true).is_err() {
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
        sys::fail::point("monitor.end.reaped");
        // With the host's pid namespace its children outlive it; they belong to the container.
        let _ = container.cgroup.kill_all();
        self.drain();
        self.forget_processes();
        let Some(mut container) = self.container.take() else {
            return;
        };
        sys::fail::point("monitor.end.drained");
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
            // Its owner removes it right after being told; where that one is killed, the next
            // command finds a container without a monitor and removes it.
            if !(self.job.auto_remove && self.owner_listens()) {
                state::save(&self.job, &self.state);
            }
            sys::fail::point("monitor.end.saved");
            self.ended = Some(container);
        }
        sys::fail::point("monitor.end.decided");
        let seconds = state::seconds_between(&self.state.started_at, &self.state.finished_at);
        let more = [
            ("execDuration", seconds.to_string()),
            ("exitCode", code.to_string()),
        ];
        state::announce(&self.job, "die", &more);
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

    pub(crate) fn client_by_number(&mut self, number: u64) -> Option<&mut Client> {
        self.clients
            .iter_mut()
            .find(|client| sys::process::raw_number(&client.socket) as u64 == number)
    }
}
