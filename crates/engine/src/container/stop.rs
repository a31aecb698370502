//! Stopping, killing, freezing, waiting: requests to the monitor.

use monitor::client::{Connection, Packet};
use monitor::protocol::{self, Kind};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use storage::containers::StoredContainer;
use sys::lock::Lock;
use types::state::Status;

use crate::Engine;
use crate::error::EngineError;

/// Monitors of one container that a request outlives.
pub(crate) const MONITORS_MAX: usize = 16;
/// How long a successor may take before it is looked for again.
pub(crate) const SUCCESSOR_PAUSE: std::time::Duration = std::time::Duration::from_millis(10);

/// What `wait` waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaitFor {
    /// The container does not run (any more).
    NotRunning,
    /// It ends once more.
    NextExit,
}

const SIGNAL_KILL: i32 = 9;
/// The exit code of whatever ended unseen.
pub(super) const EXIT_UNKNOWN: i32 = 255;
const KILL_PATIENCE: Timespec = Timespec {
    tv_sec: 10,
    tv_nsec: 0,
};

impl Engine {
    /// Connects to a container's monitor; `None` where the container does not run.
    pub(crate) fn connect(
        &self,
        stored: &StoredContainer,
    ) -> Result<Option<Connection>, EngineError> {
        if !stored.state.status.is_live() {
            return Ok(None);
        }
        let id = &stored.record.id;
        let run_directory = self.store().container_run_directory(id);
        for attempt in 0..MONITORS_MAX {
            match Connection::open(&run_directory) {
                Ok(connection) => return Ok(Some(connection)),
                // It has ended between our look and now; or it was killed; or its run directory was
                // removed, and it makes that again.
                Err(error) if error.errno == Errno::NOENT => {}
                Err(error) if matches!(error.errno, Errno::CONNREFUSED | Errno::NOTDIR) => {
                    if attempt == MONITORS_MAX / 2 {
                        remove_strange_socket(&run_directory);
                    }
                }
                Err(error) => return Err(error.into()),
            }
            // Its monitor was killed: the next look finds it a successor, or another command does.
            match self.observe(id) {
                Ok(now) if now.state.status.is_live() => {
                    ask_for_socket(&now.state, &run_directory);
                    std::thread::sleep(SUCCESSOR_PAUSE);
                }
                Ok(_) | Err(EngineError::NoSuchContainer(_)) => return Ok(None),
                Err(error) => return Err(error),
            }
        }
        // One that is alive has made its socket again meanwhile, where it was started.
        let advice = match self.monitor_socket(id).exists() {
            true => String::new(),
            false => format!(
                "; if the container was started with another --run-root (CAISSON_RUN_ROOT) than {}, name that one",
                self.store().run_root().display()
            ),
        };
        Err(EngineError::conflict(format!(
            "the monitor of container {id} does not answer{advice}; `caisson rm -f {}` ends and removes it",
            stored.record.name
        )))
    }

    /// A container as it is, locked, and where it runs a connection to its monitor: made before the lock,
    /// because whoever finds a killed monitor locks the container to give it a successor.
    ///
    /// # Errors
    /// [`EngineError::NoSuchContainer`]; a container that starts or ends at each look.
    pub(crate) fn lock_connected(
        &self,
        key: &str,
    ) -> Result<(StoredContainer, Option<Connection>, Lock), EngineError> {
        let of = |error| EngineError::of_container(error, key);
        for _ in 0..MONITORS_MAX {
            let stored = self.container(key)?;
            let connection = self.connect(&stored)?;
            let lock = self.store().lock_container(&stored.record.id).map_err(of)?;
            let stored = self.store().read_container(&stored.record.id).map_err(of)?;
            if stored.state.status.is_live() == connection.is_some() {
                return Ok((stored, connection, lock));
            }
        }
        Err(EngineError::conflict(format!(
            "container {key} starts or ends right now; try again"
        )))
    }

    /// Attempts again what a monitor did not confirm: it was killed, and has a successor now, or the container
    /// has ended.
    ///
    /// # Errors
    /// The attempt's; monitors that are killed each time.
    pub(crate) fn until_confirmed(
        key: &str,
        mut attempt: impl FnMut() -> Result<bool, EngineError>,
    ) -> Result<(), EngineError> {
        for _ in 0..MONITORS_MAX {
            if attempt()? {
                return Ok(());
            }
        }
        Err(EngineError::conflict(format!(
            "the monitor of container {key} does not answer"
        )))
    }

    /// A connection to the monitor of a running container.
    ///
    /// # Errors
    /// Docker's words where it does not run.
    pub fn connect_running(&self, key: &str) -> Result<(StoredContainer, Connection), EngineError> {
        let stored = self.container(key)?;
        match self.connect(&stored)? {
            Some(connection) => Ok((stored, connection)),
            None => Err(EngineError::conflict(format!(
                "container {} is not running",
                stored.record.id
            ))),
        }
    }

    /// Asks a container to stop; the answer is awaited with [`Self::finish_stop`].
    ///
    /// # Errors
    /// [`EngineError::NoSuchContainer`].
    pub fn begin_stop(
        &self,
        key: &str,
        stop: protocol::Stop,
    ) -> Result<(StoredContainer, Option<Connection>), EngineError> {
        let stored = self.container(key)?;
        let connection = self.connect(&stored)?;
        if let Some(connection) = &connection {
            // A monitor that ends right now has nothing left to stop.
            let _ = connection.send(Kind::Stop, &stop);
        }
        sys::fail::point("engine.stop.asked");
        Ok((stored, connection))
    }

    /// Waits until a container that was asked to stop has stopped.
    ///
    /// # Errors
    /// The monitor's refusal.
    pub fn finish_stop(
        &self,
        stored: &StoredContainer,
        connection: Option<Connection>,
        stop: protocol::Stop,
    ) -> Result<(), EngineError> {
        if let Some(connection) = connection {
            self.await_stop(&stored.record.id, connection, stop)?;
            sys::fail::point("engine.stop.answered");
            self.announce(&stored.record, "stop", &[]);
        }
        if stored.record.spec.auto_remove {
            self.reap(&stored.record.id)?;
        }
        Ok(())
    }

    /// Waits for the monitor's word. One that was killed before it could give it has perhaps not
    /// stopped the container: then its successor is asked.
    pub(crate) fn await_stop(
        &self,
        id: &str,
        mut connection: Connection,
        stop: protocol::Stop,
    ) -> Result<(), EngineError> {
        for _ in 0..MONITORS_MAX {
            if connection.is_confirmed()? {
                return Ok(());
            }
            connection = match self.begin_stop(id, stop) {
                Ok((_, Some(connection))) => connection,
                Ok((_, None)) | Err(EngineError::NoSuchContainer(_)) => return Ok(()),
                Err(error) => return Err(error),
            };
        }
        Err(EngineError::conflict(format!(
            "cannot stop container {id}: its monitor is killed again and again"
        )))
    }

    /// Stops a container and waits for it.
    ///
    /// # Errors
    /// [`EngineError::NoSuchContainer`], or the monitor's refusal.
    pub fn stop(&self, key: &str, stop: protocol::Stop) -> Result<(), EngineError> {
        let (stored, connection) = self.begin_stop(key, stop)?;
        self.finish_stop(&stored, connection, stop)
    }

    /// Sends a signal to a container's first process, as `kill`.
    ///
    /// # Errors
    /// Docker's words where it does not run.
    pub fn kill(&self, key: &str, number: i32) -> Result<(), EngineError> {
        let stored = match self.container(key) {
            Err(EngineError::NoSuchContainer(_)) => {
                return Err(EngineError::conflict(format!(
                    "cannot kill container: {key}: No such container: {key}"
                )));
            }
            other => other?,
        };
        let id = &stored.record.id;
        let mut is_repeated = false;
        Self::until_confirmed(key, || {
            let was_asked = std::mem::replace(&mut is_repeated, true);
            match self.try_kill(id, number)? {
                Some(is_confirmed) => Ok(is_confirmed),
                // What a killed monitor has sent has ended it.
                None if was_asked => Ok(true),
                None => Err(EngineError::conflict(format!(
                    "cannot kill container: {key}: container {id} is not running"
                ))),
            }
        })
    }

    /// Whether the monitor said that it sent the signal; `None` where the container does not run. A signal that
    /// was perhaps sent is sent again, as two of a kind may be one to a process anyway: signal(7).
    fn try_kill(&self, id: &str, number: i32) -> Result<Option<bool>, EngineError> {
        let connection = match self.container(id) {
            Ok(stored) => self.connect(&stored)?,
            Err(EngineError::NoSuchContainer(_)) => None,
            Err(error) => return Err(error),
        };
        let Some(mut connection) = connection else {
            return Ok(None);
        };
        let signal = protocol::Signal {
            number,
            by_user: true,
        };
        if !connection.ask(Kind::Signal, &signal)? {
            return Ok(Some(false));
        }
        // Its end is certain, so it is waited for, as Docker does; but not for ever: a process that
        // waits for a disk takes no signal. A monitor that takes no request any more has ended with it.
        if number == SIGNAL_KILL && connection.send(Kind::Wait, &()).is_ok() {
            let mut fds = [PollFd::new(&connection, PollFlags::IN)];
            let _ = poll(&mut fds, Some(&KILL_PATIENCE));
        }
        Ok(Some(true))
    }

    /// Freezes or thaws a container.
    ///
    /// # Errors
    /// Docker's words where it is not running, or not (already) paused.
    pub fn set_paused(&self, key: &str, paused: bool) -> Result<(), EngineError> {
        let mut is_repeated = false;
        Self::until_confirmed(key, || {
            self.try_set_paused(key, paused, std::mem::replace(&mut is_repeated, true))
        })
    }

    /// Whether the monitor said that it is so. One that was killed may have done it before.
    fn try_set_paused(
        &self,
        key: &str,
        paused: bool,
        is_repeated: bool,
    ) -> Result<bool, EngineError> {
        let stored = self.container(key)?;
        if !paused && !stored.state.status.is_live() {
            let id = &stored.record.id;
            return Err(EngineError::conflict(format!(
                "container {id} is not paused"
            )));
        }
        let (stored, mut connection) = self.connect_running(&stored.record.id)?;
        let name = &stored.record.id;
        match (stored.state.status, paused) {
            (Status::Paused, true) | (Status::Running, false) if is_repeated => return Ok(true),
            (Status::Paused, true) => {
                return Err(EngineError::conflict(format!(
                    "container {name} is already paused"
                )));
            }
            (Status::Running, false) => {
                return Err(EngineError::conflict(format!(
                    "container {name} is not paused"
                )));
            }
            (Status::Restarting, _) => {
                return Err(EngineError::conflict(format!(
                    "container {name} is restarting, wait until the container is running"
                )));
            }
            _ => {}
        }
        let kind = if paused { Kind::Pause } else { Kind::Resume };
        Ok(connection.ask(kind, &())?)
    }

    /// Holds a container's processes still for as long as the connection lives, and so never longer
    /// than this command.
    pub(crate) fn hold(&self, key: &str) -> Result<Connection, EngineError> {
        let mut held = None;
        Self::until_confirmed(key, || {
            let (_, mut connection) = self.connect_running(key)?;
            let is_confirmed = connection.ask(Kind::Hold, &())?;
            held = is_confirmed.then_some(connection);
            Ok(is_confirmed)
        })?;
        Ok(held.expect("invariant: what is confirmed was kept"))
    }

    /// Asks to be told of a container's end, which makes the connection readable; none where it does not
    /// run any more.
    pub(crate) fn begin_wait(&self, key: &str) -> Result<Option<Connection>, EngineError> {
        let stored = self.container(key)?;
        let Some(connection) = self.connect(&stored)? else {
            return Ok(None);
        };
        let is_asked = ask_end(&connection)?;
        Ok(is_asked.then_some(connection))
    }

    /// The exit code of a container whose end was waited for with [`Self::begin_wait`].
    pub(crate) fn finish_wait(
        &self,
        key: &str,
        connection: Option<Connection>,
    ) -> Result<i32, EngineError> {
        let told = connection.map(told_end).transpose()?.flatten();
        // A monitor that was killed tells nothing.
        told.map_or_else(|| self.wait(key, WaitFor::NotRunning), Ok)
    }

    /// Waits for a container to end and returns its exit code.
    ///
    /// # Errors
    /// [`EngineError::NoSuchContainer`].
    pub fn wait(&self, key: &str, condition: WaitFor) -> Result<i32, EngineError> {
        let stored = self.container(key)?;
        let Some(connection) = self.connect(&stored)? else {
            if condition == WaitFor::NextExit {
                return Ok(0);
            }
            // Ended between our two looks, perhaps: then the later word counts. One that ran at the first and
            // is removed at the second took its code along.
            return Ok(match self.observe(&stored.record.id) {
                Ok(now) => now.state.exit_code,
                Err(_) if stored.state.status.is_live() => EXIT_UNKNOWN,
                Err(_) => stored.state.exit_code,
            });
        };
        match end_of(connection)? {
            Some(code) => Ok(code),
            // The monitor was killed: the next look repairs, and knows what can be known. An end that came
            // meanwhile is the next one.
            None => self.wait(key, WaitFor::NotRunning),
        }
    }
}

/// The exit code that a monitor tells; `None` where it is killed before.
fn end_of(connection: Connection) -> Result<Option<i32>, EngineError> {
    match ask_end(&connection)? {
        true => told_end(connection),
        false => Ok(None),
    }
}

/// Whether the monitor lives and will tell.
fn ask_end(connection: &Connection) -> Result<bool, EngineError> {
    match connection.send(Kind::Wait, &()) {
        Err(error) if monitor::client::is_gone(&error) => Ok(false),
        other => Ok(other.map(|()| true)?),
    }
}

/// The same, of a monitor that was asked.
fn told_end(mut connection: Connection) -> Result<Option<i32>, EngineError> {
    while let Some(Packet { kind, body, .. }) = connection.receive()? {
        if kind == Kind::Ended {
            let ended = serde_json::from_slice::<protocol::Ended>(&body);
            return Ok(Some(ended.map_or(EXIT_UNKNOWN, |e| e.code)));
        }
    }
    Ok(None)
}

/// Out of the way goes what somebody put in the place of a monitor's socket or of its run directory.
/// Sockets stay: one that is refused for so long was left by a killed monitor, whose successor clears it.
fn remove_strange_socket(run_directory: &std::path::Path) {
    use std::os::unix::fs::FileTypeExt;
    let socket = run_directory.join(protocol::SOCKET);
    for path in [run_directory, &socket] {
        let Ok(metadata) = std::fs::symlink_metadata(path) else {
            continue;
        };
        let is_expected = match path == run_directory {
            true => metadata.is_dir(),
            false => metadata.file_type().is_socket(),
        };
        if !is_expected {
            let _ = rustix::fs::unlink(path).or_else(|_| rustix::fs::rmdir(path));
        }
    }
}

/// A monitor lives whose run directory somebody removed: it makes that again.
fn ask_for_socket(state: &types::state::ContainerState, run_directory: &std::path::Path) {
    if run_directory.join(protocol::SOCKET).exists() {
        return;
    }
    let Ok(pidfd) = sys::process::open_pidfd(state.monitor_pid) else {
        return;
    };
    // Only now is the pid pinned; what it is must be asked after.
    if sys::host::start_time(state.monitor_pid) == Some(state.monitor_start_time) {
        let _ = sys::process::signal(&pidfd, protocol::REMAKE_SIGNAL);
    }
}
