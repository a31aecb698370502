//! What commands ask of a monitor, carried out.

use types::state::Status;

use crate::joined::{self, Process, Purpose};
use crate::networks::Networks;
use crate::protocol::{
    self, Attach, Disconnect, Execute, Kind, PACKET_BYTES_MAX, Rename, Resize, Signal, Started,
    Stop, Update,
};
use crate::run::Monitor;
use crate::state;

impl Monitor {
    /// Takes what a client sent, packet by packet, until it has nothing more.
    pub(crate) fn hear(&mut self, index: usize) {
        let mut buffer = vec![0u8; PACKET_BYTES_MAX];
        while let Some(client) = self.clients.get_mut(index) {
            let (length, fds) = match sys::socket::receive(&client.socket, &mut buffer) {
                Ok((0, _)) => {
                    client.gone = true;
                    return;
                }
                Ok(received) => received,
                Err(rustix::io::Errno::AGAIN) => return,
                Err(_) => {
                    client.gone = true;
                    return;
                }
            };
            match protocol::split(&buffer[..length]) {
                Some((kind, body)) => self.obey(index, kind, body, fds),
                None => self.refuse(index, "this monitor speaks protocol version 1; stop and start the container to renew it"),
            }
            // Input that does not fit waits in the socket.
            if self.input.len() >= crate::run::INPUT_BYTES_MAX {
                return;
            }
        }
    }

    fn obey(&mut self, index: usize, kind: Kind, body: &[u8], fds: Vec<std::os::fd::OwnedFd>) {
        sys::fail::point("monitor.request.read");
        match kind {
            Kind::Input => {
                if !self.input_ends {
                    self.input.extend_from_slice(body);
                    self.feed_input();
                }
            }
            Kind::InputEnd => {
                self.input_ends |= self.job.closes_stdin();
                self.feed_input();
            }
            Kind::Attach => {
                if let Some(attach) = parse::<Attach>(body) {
                    self.clients[index].attach = attach;
                    self.clients[index].waits = true;
                    state::announce(&self.job, "attach", &[]);
                }
            }
            Kind::List => self.list(index),
            Kind::Wait => self.clients[index].waits = true,
            Kind::Save => {
                let saved = state::try_save(&self.job, &self.state);
                self.tell(index, saved.map_err(runtime::Failure::from));
            }
            Kind::Resize => {
                if let (Some(size), Some(container)) = (parse::<Resize>(body), &self.container) {
                    container.resize(size.rows, size.columns);
                    state::announce(
                        &self.job,
                        "resize",
                        &[
                            ("height", size.rows.to_string()),
                            ("width", size.columns.to_string()),
                        ],
                    );
                }
            }
            Kind::Signal => self.signal(index, body),
            Kind::Stop => self.stop(index, body),
            Kind::Pause => self.freeze(index, true),
            Kind::Hold => self.hold(index),
            Kind::Resume => self.freeze(index, false),
            Kind::Update => self.update(index, body),
            Kind::Execute => self.execute(index, body, fds),
            Kind::ExecuteFile => self.execute_file(index, fds),
            Kind::Connect => self.connect(index, body),
            Kind::Disconnect => self.disconnect(index, body),
            Kind::AskPorts => self.show_ports(index),
            Kind::TakePorts => self.take_ports(index, body, fds),
            Kind::LetGoPorts => self.let_go_ports(index),
            Kind::Rename => self.rename(index, body),
            Kind::Detach => state::announce(&self.job, "detach", &[]),
            _ => self.refuse(index, "a monitor takes no such request"),
        }
    }

    fn signal(&mut self, index: usize, body: &[u8]) {
        let Some(signal) = parse::<Signal>(body) else {
            return self.refuse(index, "the request has no signal");
        };
        if asks_to_end(signal.number, self.job.stop_signal) {
            self.state.stopped_by_user = true;
            self.cancel_restart();
            state::save(&self.job, &self.state);
        }
        let Some(container) = &self.container else {
            return self.done(index);
        };
        let sent = sys::process::signal(&container.pidfd, signal.number);
        match sent {
            Err(error) if error.errno != rustix::io::Errno::SRCH => {
                self.refuse(index, &error.to_string());
            }
            _ => {
                self.announce_kill(signal.number);
                self.done(index);
            }
        }
    }

    pub(crate) fn announce_kill(&self, signal: i32) {
        state::announce(&self.job, "kill", &[("signal", signal.to_string())]);
    }

    fn stop(&mut self, index: usize, body: &[u8]) {
        let Some(stop) = parse::<Stop>(body) else {
            return self.refuse(index, "the request is no stop");
        };
        sys::fail::point("monitor.stop.asked");
        self.clients[index].awaits_stop = true;
        self.state.stopped_by_user = true;
        self.cancel_restart();
        state::save(&self.job, &self.state);
        sys::fail::point("monitor.stop.saved");
        let Some(container) = &self.container else {
            return;
        };
        let number = stop.signal.unwrap_or(self.job.stop_signal);
        let timeout_s = stop.timeout_s.unwrap_or(self.job.stop_timeout_s);
        // Docker sends its signal even where there is no time to obey it.
        let kill = (timeout_s == 0 && number != libc::SIGKILL).then_some(libc::SIGKILL);
        let numbers: Vec<i32> = std::iter::once(number).chain(kill).collect();
        for number in &numbers {
            let _ = sys::process::signal(&container.pidfd, *number);
        }
        let is_held = self.clients.iter().any(|client| client.holds);
        if self.state.status == Status::Paused || is_held {
            // A frozen process takes no signal but by thawing.
            let _ = container.cgroup.thaw();
            self.state.status = Status::Running;
        }
        numbers
            .iter()
            .for_each(|number| self.announce_kill(*number));
        self.kill_at_ns = (timeout_s > 0).then(|| {
            sys::journal::now_ns().saturating_add(timeout_s.saturating_mul(1_000_000_000))
        });
    }

    /// Like a pause, of which nothing is written down: it ends with the command, however that ends. One that
    /// waits for its next start is not started so long.
    fn hold(&mut self, index: usize) {
        match &self.container {
            Some(container) => {
                if let Err(error) = container.cgroup.freeze() {
                    return self.refuse(index, &error.to_string());
                }
            }
            None if self.is_restarting() => {}
            None => return self.refuse(index, "the container is not running"),
        }
        self.clients[index].holds = true;
        self.done(index);
    }

    /// Clients are gone; if one of them held the container still, it goes on.
    pub(crate) fn let_go(&mut self) {
        let is_let_go = self
            .clients
            .iter()
            .any(|client| client.gone && client.holds);
        self.clients.retain(|client| !client.gone);
        let is_held = self.clients.iter().any(|client| client.holds);
        if let (Some(container), true) = (&self.container, is_let_go && !is_held)
            && self.state.status == Status::Running
        {
            let _ = container.cgroup.thaw();
        }
    }

    fn freeze(&mut self, index: usize, freeze: bool) {
        let Some(container) = &self.container else {
            return self.refuse(index, "the container is not running");
        };
        let result = if freeze {
            container.cgroup.freeze()
        } else {
            container.cgroup.thaw()
        };
        if let Err(error) = result {
            return self.refuse(index, &error.to_string());
        }
        self.state.status = if freeze {
            Status::Paused
        } else {
            Status::Running
        };
        state::save(&self.job, &self.state);
        state::announce(&self.job, if freeze { "pause" } else { "unpause" }, &[]);
        self.done(index);
    }

    fn update(&mut self, index: usize, body: &[u8]) {
        let Some(update) = parse::<Update>(body) else {
            return self.refuse(index, "the request is no update");
        };
        if let (Some(resources), Some(container)) = (&update.resources, &mut self.container) {
            if let Err(error) = container.cgroup.update(resources) {
                return self.refuse(index, &error.to_string());
            }
            self.job.launch.cgroup.resources = resources.clone();
        }
        if let Some(restart) = update.restart {
            self.job.restart = restart;
        }
        state::announce(&self.job, "update", &[]);
        self.done(index);
    }

    fn connect(&mut self, index: usize, body: &[u8]) {
        let Some(endpoint) = parse(body) else {
            return self.refuse(index, "the request names no network");
        };
        if let (None, Some(namespace)) = (&self.networks, &self.network) {
            self.networks = Networks::begin(&self.job, namespace);
        }
        let (Some(networks), Some(namespace)) = (&mut self.networks, &self.network) else {
            return self.refuse(index, "the container has no networks of its own");
        };
        let connected = networks.connect_one(&self.job, endpoint, namespace);
        self.tell(index, connected);
    }

    fn disconnect(&mut self, index: usize, body: &[u8]) {
        let Some(request) = parse::<Disconnect>(body) else {
            return self.refuse(index, "the request names no network");
        };
        let (Some(networks), Some(namespace)) = (&mut self.networks, &self.network) else {
            return self.refuse(index, "the container has no networks of its own");
        };
        let disconnected = networks.disconnect_one(&self.job, &request.network, namespace);
        self.tell(index, disconnected);
    }

    fn show_ports(&mut self, index: usize) {
        let ports = self.networks.as_ref().map(Networks::ports);
        let (list, sockets) = ports.unwrap_or_default();
        if list.len() > sys::socket::FDS_PER_MESSAGE_MAX {
            let text = format!(
                "{} published ports cannot be handed over at once, {} can",
                list.len(),
                sys::socket::FDS_PER_MESSAGE_MAX
            );
            return self.refuse(index, &text);
        }
        let answer = protocol::json_packet(Kind::Ports, &protocol::Ports { list });
        let client = &mut self.clients[index];
        if sys::socket::send(&client.socket, &answer, &sockets).is_err() {
            client.gone = true;
        }
    }

    fn take_ports(&mut self, index: usize, body: &[u8], sockets: Vec<std::os::fd::OwnedFd>) {
        let Some(request) = parse(body) else {
            return self.refuse(index, "the request names no ports");
        };
        let Some(networks) = &mut self.networks else {
            return self.refuse(index, "the container has no networks of its own");
        };
        let taken = networks.take_ports(&self.job, request, sockets);
        self.tell(index, taken);
    }

    fn let_go_ports(&mut self, index: usize) {
        let gone = match &mut self.networks {
            Some(networks) => networks.let_go_ports(&self.job),
            None => Ok(()),
        };
        self.tell(index, gone);
    }

    /// Its name has changed: events say so, and the name servers of its networks.
    fn rename(&mut self, index: usize, body: &[u8]) {
        let Some(request) = parse::<Rename>(body) else {
            return self.refuse(index, "the request has no name");
        };
        let attributes = &mut self.job.attributes;
        let old = attributes.insert("name".into(), request.name.clone());
        let renamed = match &mut self.networks {
            Some(networks) => networks.rename(&self.job, &old.unwrap_or_default(), &request.name),
            None => Ok(()),
        };
        self.tell(index, renamed);
    }

    fn tell(&mut self, index: usize, result: Result<(), runtime::Failure>) {
        match result {
            Ok(()) => self.done(index),
            Err(failure) => {
                self.clients[index].send(protocol::failed_packet(&failure));
            }
        }
    }

    /// As [`Self::execute`], with the request in the last of the files.
    fn execute_file(&mut self, index: usize, mut fds: Vec<std::os::fd::OwnedFd>) {
        match fds.pop().map(read_execute) {
            Some(Ok(body)) => self.execute(index, &body, fds),
            Some(Err(error)) => self.refuse(index, &error.to_string()),
            None => self.refuse(index, "the request has no file"),
        }
    }

    fn execute(&mut self, index: usize, body: &[u8], fds: Vec<std::os::fd::OwnedFd>) {
        let Some(request) = parse::<Execute>(body) else {
            return self.refuse(index, "the request is no exec");
        };
        if self.container.is_none() {
            return self.refuse(index, "the container is not running");
        }
        self.announce_exec(&request.process.args, &request.id);
        let Some(container) = &self.container else {
            return;
        };
        let joined = match joined::execute(&self.job, container, &request, fds) {
            Ok(joined) => joined,
            Err(failure) => {
                self.clients[index].send(protocol::failed_packet(&failure));
                return;
            }
        };
        let client = &mut self.clients[index];
        let answer = protocol::json_packet(
            Kind::Started,
            &Started {
                pid: joined.pid,
                warnings: Vec::new(),
            },
        );
        let terminal: Vec<_> = joined
            .terminal
            .iter()
            .map(std::os::fd::AsFd::as_fd)
            .collect();
        if sys::socket::send(&client.socket, &answer, &terminal).is_err() {
            client.gone = true;
        }
        let number = sys::process::raw_number(&client.socket) as u64;
        self.processes.push(Process {
            id: request.id,
            pid: joined.pid,
            pidfd: joined.pidfd,
            purpose: Purpose::Command {
                client: (!request.detached).then_some(number),
            },
        });
    }

    fn list(&mut self, index: usize) {
        let commands = self
            .processes
            .iter()
            .filter(|process| matches!(process.purpose, Purpose::Command { .. }));
        let exec_ids = commands
            .map(|process| process.id.clone())
            .take(protocol::EXEC_IDS_MAX)
            .collect();
        let answer = protocol::Processes { exec_ids };
        self.clients[index].send(protocol::json_packet(Kind::Processes, &answer));
    }

    fn done(&mut self, index: usize) {
        sys::fail::point("monitor.request.done");
        self.clients[index].send(protocol::packet(Kind::Done, b""));
    }

    fn refuse(&mut self, index: usize, text: &str) {
        let failure = runtime::Failure::setup(text);
        self.clients[index].send(protocol::failed_packet(&failure));
    }
}

fn parse<T: serde::de::DeserializeOwned>(body: &[u8]) -> Option<T> {
    serde_json::from_slice(body).ok()
}

/// Reads a request that did not fit into a packet.
fn read_execute(file: std::os::fd::OwnedFd) -> Result<Vec<u8>, sys::SysError> {
    use sys::Context;
    let stat = rustix::fs::fstat(&file).on("read", "request")?;
    let size = u64::try_from(stat.st_size).unwrap_or_default();
    // A monitor waits for nobody, and a pipe would make it.
    if rustix::fs::FileType::from_raw_mode(stat.st_mode) != rustix::fs::FileType::RegularFile
        || size > protocol::EXECUTE_BYTES_MAX
    {
        return Err(sys::SysError::new(
            "read",
            "request",
            rustix::io::Errno::INVAL,
        ));
    }
    let mut bytes = Vec::new();
    let file = std::fs::File::from(file);
    std::io::Read::read_to_end(&mut std::io::Read::take(file, size), &mut bytes)
        .on("read", "request")?;
    Ok(bytes)
}

/// Whether who sends this signal wants the container to end, so that no policy starts it again. Docker takes
/// every signal for that, unless another stop signal was named: then a SIGHUP, by which a program reads its
/// configuration again, would end its policy too.
fn asks_to_end(number: i32, stop_signal: i32) -> bool {
    let ordinary = [libc::SIGINT, libc::SIGQUIT];
    number == libc::SIGKILL
        || number == stop_signal
        || (stop_signal == libc::SIGTERM && ordinary.contains(&number))
}
