//! `exec`: one more process in a running container, through its monitor.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use monitor::client::{Connection, Packet, failure};
use monitor::protocol::{self, Execute, Kind};
use runtime::UserRequest;
use runtime::spec::{Capabilities, ConsoleSize};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::facts;
use super::plan::{self, set_variable};
use super::stop::{MONITORS_MAX, SUCCESSOR_PAUSE};
use crate::Engine;
use crate::error::EngineError;

/// How long a monitor may take to list its processes.
const LIST_PATIENCE: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 500_000_000,
};

/// What shall run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExecRequest {
    /// Program and arguments.
    pub command: Vec<String>,
    /// Further environment.
    pub env: Vec<String>,
    /// Working directory; empty is the container's.
    pub working_dir: String,
    /// User; empty is the container's.
    pub user: String,
    /// With a terminal.
    pub tty: bool,
    /// With every capability.
    pub privileged: bool,
    /// Nobody waits for it.
    pub detach: bool,
    /// Rows and columns of the terminal, or zeros.
    pub console_size: [u16; 2],
}

/// A running process of `exec`.
#[derive(Debug)]
pub struct Executing {
    connection: Connection,
    /// Master of its terminal.
    pub terminal: Option<OwnedFd>,
    /// Its pid on the host.
    pub pid: i32,
}

impl Engine {
    /// Starts a process in a container with these ends of three pipes (none with a terminal).
    ///
    /// # Errors
    /// Docker's words where the container does not run; why the process does not.
    pub fn execute(
        &self,
        key: &str,
        request: &ExecRequest,
        stdio: &[BorrowedFd<'_>],
    ) -> Result<Executing, EngineError> {
        for _ in 0..MONITORS_MAX {
            if let Some(executing) = self.try_execute(key, request, stdio)? {
                return Ok(executing);
            }
            std::thread::sleep(SUCCESSOR_PAUSE);
        }
        Err(EngineError::conflict(format!(
            "the monitor of container {key} is killed again and again"
        )))
    }

    /// Ids of the processes of `exec` that run in a container. A monitor that does not answer soon, or
    /// that of an older release, lists none: whoever only looks shall not wait for it.
    pub fn exec_ids(&self, stored: &storage::containers::StoredContainer) -> Vec<String> {
        if !stored.state.status.is_live() {
            return Vec::new();
        }
        let run_directory = self.store().container_run_directory(&stored.record.id);
        let ask = || {
            let mut connection = Connection::open(&run_directory).ok()?;
            connection.send(Kind::List, &()).ok()?;
            let mut fds = [PollFd::new(&connection, PollFlags::IN)];
            if !matches!(poll(&mut fds, Some(&LIST_PATIENCE)), Ok(1..)) {
                return None;
            }
            let packet = connection.receive().ok()??;
            let listed: protocol::Processes = serde_json::from_slice(&packet.body).ok()?;
            Some(listed.exec_ids)
        };
        ask().unwrap_or_default()
    }

    /// `None`: the monitor was killed before it read what it was asked; a successor can be asked.
    fn try_execute(
        &self,
        key: &str,
        request: &ExecRequest,
        stdio: &[BorrowedFd<'_>],
    ) -> Result<Option<Executing>, EngineError> {
        let (stored, mut connection) = self.connect_running(key)?;
        match stored.state.status {
            types::state::Status::Paused => {
                return Err(EngineError::conflict(format!(
                    "Container {key} is paused, unpause the container before exec"
                )));
            }
            types::state::Status::Restarting => {
                return Err(EngineError::conflict(format!(
                    "Container {} is restarting, wait until the container is running",
                    stored.record.id
                )));
            }
            _ => {}
        }
        let message = self.message(&stored.record, request)?;
        match connection.execute(&message, stdio) {
            Err(error) if monitor::client::is_gone(&error) => return Ok(None),
            other => other?,
        }
        match connection.receive()? {
            Some(Packet {
                kind: Kind::Started,
                body,
                mut fds,
            }) => {
                let started: protocol::Started = serde_json::from_slice(&body).map_err(|_| {
                    EngineError::conflict("the monitor's answer cannot be read".to_string())
                })?;
                Ok(Some(Executing {
                    connection,
                    terminal: fds.pop(),
                    pid: started.pid,
                }))
            }
            Some(Packet {
                kind: Kind::Failed,
                body,
                ..
            }) => Err(failure(&body).into()),
            None if connection.was_unread() => Ok(None),
            None if self
                .container(key)
                .is_ok_and(|now| now.state.status.is_live()) =>
            {
                Err(EngineError::conflict(format!(
                    "the monitor of container {key} was killed while it started the process, which may run or not"
                )))
            }
            // The container's end was told first.
            _ => Err(EngineError::conflict(format!(
                "container {} has just ended",
                stored.record.id
            ))),
        }
    }

    fn message(
        &self,
        record: &storage::containers::ContainerRecord,
        request: &ExecRequest,
    ) -> Result<Execute, EngineError> {
        let mut of = record.clone();
        of.spec.tty = request.tty;
        of.spec.resources.devices.clear();
        of.spec.resources.device_requests.clear();
        // It is there already, and whatever became of a volume's record or an image, it runs.
        of.volumes.clear();
        of.images.clear();
        of.spec.console_size = request.console_size;
        let privileged = request.privileged;
        let was_privileged = of.spec.privileged;
        // The devices of a privileged container need not be listed again for one more process.
        of.spec.privileged = false;
        let mut host = facts::gather(self, &of, Vec::new())?;
        host.joined = plan::JoinedPids::default();
        of.spec.privileged = privileged || was_privileged;
        let mut process = plan::process_of(&of, &host)?;
        process.args.clone_from(&request.command);
        for pair in &request.env {
            set_variable(&mut process.env, pair);
        }
        if !request.working_dir.is_empty() {
            process.cwd.clone_from(&request.working_dir);
        }
        process.oom_score_adj = None;
        if privileged {
            let all = plan::capability_set(&of.spec, &host)?.names();
            process.capabilities = Some(Capabilities {
                bounding: all.clone(),
                effective: all.clone(),
                permitted: all,
                ..Capabilities::default()
            });
        }
        process.console_size = (request.console_size != [0, 0]).then_some(ConsoleSize {
            height: request.console_size[0],
            width: request.console_size[1],
        });
        let user = match request.user.as_str() {
            "" => UserRequest {
                user: of.spec.user.clone(),
                groups: of.spec.group_add.clone(),
            },
            user => UserRequest {
                user: user.to_string(),
                groups: Vec::new(),
            },
        };
        let id: String = sys::host::random_bytes()
            .iter()
            .map(|b| format!("{b:02x}"))
            .collect();
        Ok(Execute {
            id,
            process,
            user,
            unconfined: privileged || was_privileged,
            detached: request.detach,
        })
    }
}

impl Executing {
    /// Waits for the process's exit code; `None` where the monitor was killed.
    ///
    /// # Errors
    /// Where the socket fails.
    pub fn wait(&mut self) -> Result<Option<i32>, EngineError> {
        while let Some(Packet { kind, body, .. }) = self.connection.receive()? {
            if kind == Kind::Ended {
                return Ok(serde_json::from_slice::<protocol::Ended>(&body)
                    .ok()
                    .map(|e| e.code));
            }
        }
        Ok(None)
    }
}

impl AsFd for Executing {
    /// Readable when the exit code is there.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.connection.as_fd()
    }
}
