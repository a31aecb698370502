//! Removing, and releasing what an ended container still held.

use std::time::{Duration, Instant};

use monitor::client::Connection;
use monitor::protocol::{self, Kind, Stop};
use runtime::cgroup::{ContainerCgroup, Layout};
use rustix::io::Errno;
use storage::containers::{ContainerError, ContainerRecord, StoredContainer};
use storage::trash::Fate;
use sys::lock::Lock;
use types::state::{ContainerState, Status};

use crate::Engine;
use crate::error::EngineError;

/// A container that is removed by force is killed at most so often, where others start it.
const STARTED_AGAIN_MAX: usize = 16;
/// How often an ending monitor is looked after.
pub(super) const FIRST_PAUSE: Duration = Duration::from_micros(50);
pub(super) const LAST_PAUSE: Duration = Duration::from_millis(5);
/// How long a monitor may take to end when its container has ended: networks are left one after the other
/// on the whole machine.
const ENDING_PATIENCE: Duration = Duration::from_secs(60);
/// How long the monitor of a container whose record is damaged may take to end it, before we do.
const DAMAGED_PATIENCE: Duration = Duration::from_secs(1);
/// The last pause of whoever waits for the last monitor to end.
const PARENT_PATIENCE: Duration = Duration::from_secs(1);

/// When the bytes of a removed container go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Erase {
    Now,
    /// Its monitor erases them, which goes on as `internal reap`.
    ByMonitor,
    /// It may come back for a while, unless it was to be removed at its end anyway.
    Later,
}

/// The end of a container that is removed while it runs.
const KILL: Stop = Stop {
    signal: Some(rustix::process::Signal::KILL.as_raw()),
    timeout_s: Some(0),
};

/// A removal under way: the container, and the monitor that is ending it.
#[derive(Debug)]
pub struct Removal {
    stored: StoredContainer,
    connection: Option<Connection>,
    force: bool,
    with_volumes: bool,
    erase: Erase,
    /// Nothing but its id is known, and perhaps its name.
    is_damaged: bool,
}

impl Removal {
    fn new(stored: StoredContainer, connection: Option<Connection>, force: bool) -> Self {
        Self {
            stored,
            connection,
            force,
            with_volumes: false,
            erase: Erase::Later,
            is_damaged: false,
        }
    }

    /// The container's id.
    pub fn id(&self) -> &str {
        &self.stored.record.id
    }

    /// It does not come back, and its bytes go at once.
    #[must_use]
    pub fn for_good(mut self) -> Self {
        self.erase = Erase::Now;
        self
    }

    /// Its anonymous volumes go too.
    #[must_use]
    pub fn with_volumes(mut self, with_volumes: bool) -> Self {
        self.with_volumes = with_volumes;
        self
    }
}

impl Engine {
    /// Begins to remove a container; with `force` a running one is killed. Several can be begun
    /// before the first is finished, so that they end at once.
    ///
    /// # Errors
    /// Docker's words where it runs and `force` is not given.
    pub fn begin_remove(&self, key: &str, force: bool) -> Result<Removal, EngineError> {
        let stored = match self.container(key) {
            Err(EngineError::Container(ContainerError::Damaged { id, .. })) if force => {
                return Ok(self.begin_remove_damaged(&id));
            }
            other => other?,
        };
        if !stored.state.status.is_live() {
            return Ok(Removal::new(stored, None, force));
        }
        if !force {
            let advice = match stored.state.status {
                types::state::Status::Paused => {
                    "unpause and then stop the container before removing or force remove"
                }
                _ => "stop the container before removing or force remove",
            };
            return Err(EngineError::conflict(format!(
                "cannot remove container \"{key}\": container is {}: {advice}",
                stored.state.status.as_str()
            )));
        }
        let connection = match self.begin_stop(&stored.record.id, KILL) {
            Ok((_, connection)) => connection,
            // Its monitor cannot be reached, and notices the end all the same.
            Err(EngineError::Conflict(_)) => {
                kill_group(&self.parent_of(&stored.record), &stored.record.id);
                None
            }
            Err(error) => return Err(error),
        };
        Ok(Removal::new(stored, connection, force))
    }

    /// Finishes a removal.
    ///
    /// # Errors
    /// The disk's answer.
    pub fn finish_remove(&self, removal: Removal) -> Result<(), EngineError> {
        let id = &removal.stored.record.id;
        if removal.is_damaged {
            return self.remove_damaged(&removal.stored.record);
        }
        let mut connection = removal.connection;
        for _ in 0..STARTED_AGAIN_MAX {
            if let Some(connection) = connection.take() {
                // Refusals do not matter: the lock below tells whether it has ended.
                let _ = self.await_stop(id, connection, KILL);
            }
            if self.remove_ended(id, removal.erase, removal.with_volumes, |_| true)? {
                return Ok(());
            }
            if !removal.force {
                break;
            }
            connection = match self.begin_stop(id, KILL) {
                Ok((_, connection)) => connection,
                Err(EngineError::NoSuchContainer(_)) => return Ok(()),
                Err(error) => return Err(error),
            };
        }
        Err(EngineError::conflict(format!(
            "cannot remove container \"{}\": it was started again meanwhile",
            removal.stored.record.name
        )))
    }

    /// Removes a container that has ended, if `wanted` says so. `false`: it runs again.
    fn remove_ended(
        &self,
        id: &str,
        erase: Erase,
        with_volumes: bool,
        wanted: impl Fn(&ContainerRecord) -> bool,
    ) -> Result<bool, EngineError> {
        // Its own --rm, or another command, may be faster.
        let lock = match self.store().lock_container(id) {
            Err(ContainerError::Missing) => return Ok(true),
            other => other?,
        };
        sys::fail::point("engine.remove.locked");
        let alive = protocol::alive_lock(&self.store().container_directory(id));
        let mut pause = FIRST_PAUSE;
        let begun = Instant::now();
        let stored = loop {
            // Held until the monitor is gone. Not waited for in the kernel: it may be that of a
            // container that was started again before we had the lock above.
            let monitor_is_gone = is_free(&alive)?;
            let mut stored = match self.store().read_container(id) {
                Err(ContainerError::Missing) => return Ok(true),
                other => other?,
            };
            if !monitor_is_gone && pause == LAST_PAUSE && !stored.state.status.is_live() {
                stored = self.ask_its_monitor(stored)?;
            }
            if !wanted(&stored.record) {
                return Ok(true);
            }
            if is_alive(&stored.state)
                || (!monitor_is_gone && stored.state.status == Status::Restarting)
            {
                return Ok(false);
            }
            if monitor_is_gone {
                break stored;
            }
            if begun.elapsed() > ENDING_PATIENCE {
                return Err(does_not_end(id));
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(LAST_PAUSE);
        };
        sys::fail::point("engine.remove.ended");
        if self.is_attached(id) {
            self.detach(id);
        }
        let comes_back = erase == Erase::Later && !stored.record.spec.auto_remove;
        let left = match comes_back {
            true => self.store().keep_container(&stored.record, lock),
            false => Some(lock),
        };
        let removed = left.map(|lock| self.store().take_container(&stored.record, lock));
        let removed = removed.transpose()?;
        sys::fail::point("engine.remove.done");
        self.announce(&stored.record, "destroy", &[]);
        if with_volumes {
            let fate = match removed {
                None => Fate::Kept,
                Some(_) => Fate::Erased,
            };
            self.drop_anonymous(&stored.record, fate);
        }
        match (removed, erase) {
            (None, _) | (Some(_), Erase::ByMonitor) => {}
            (Some(removed), _) => removed.erase()?,
        }
        Ok(true)
    }

    /// Asks the monitor of a container whose record cannot be read to end it for good.
    fn begin_remove_damaged(&self, id: &str) -> Removal {
        let stored = StoredContainer {
            record: ContainerRecord {
                id: id.to_owned(),
                name: self.store().name_of_container(id),
                ..ContainerRecord::default()
            },
            state: ContainerState::default(),
            state_is_damaged: false,
        };
        let connection = Connection::open(&self.store().container_run_directory(id)).ok();
        if let Some(connection) = &connection {
            let _ = connection.send(Kind::Stop, &KILL);
        }
        Removal {
            is_damaged: true,
            ..Removal::new(stored, connection, true)
        }
    }

    /// Removes a container of which nothing but the id is known, so that it could not come back.
    fn remove_damaged(&self, record: &ContainerRecord) -> Result<(), EngineError> {
        let id = &record.id;
        let lock = match self.store().lock_container(id) {
            Err(ContainerError::Missing) => return Ok(()),
            other => other?,
        };
        match self.store().read_container(id) {
            Err(ContainerError::Damaged { .. }) => {}
            Err(ContainerError::Missing) => return Ok(()),
            Err(error) => return Err(error.into()),
            Ok(_) => {
                let text = "its record can be read again; try again";
                return Err(EngineError::conflict(format!(
                    "cannot remove container {id}: {text}"
                )));
            }
        }
        let begun = Instant::now();
        let mut pause = FIRST_PAUSE;
        while self.is_watched(id) {
            match begun.elapsed() {
                passed if passed > ENDING_PATIENCE => return Err(does_not_end(id)),
                passed if passed > DAMAGED_PATIENCE => kill_group(&self.parent_of(record), id),
                _ => {}
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(LAST_PAUSE);
        }
        self.release(record);
        let removed = self.store().take_container(record, lock)?;
        self.announce(record, "destroy", &[]);
        Ok(removed.erase()?)
    }

    /// Removes a container that ended and was to be removed, whoever comes first, and the bytes of one
    /// that a command has removed already.
    ///
    /// # Errors
    /// The disk's answer.
    pub fn reap(&self, id: &str) -> Result<(), EngineError> {
        let is_there = || self.store().container_directory(id).exists();
        let was_there = is_there();
        if was_there {
            self.remove_ended(id, Erase::Now, true, |record| record.spec.auto_remove)?;
        }
        if !is_there() {
            self.store().erase_removed(id)?;
        }
        match was_there {
            true => self.sweep_parent(),
            // Whoever starts one container after the other need not wait for a parent that goes and comes:
            // the next sweep has it.
            false => self.store().sweep().map(drop)?,
        }
        Ok(())
    }

    /// Like [`Engine::reap`], by the command that was told of the end: container and name are gone then,
    /// and the bytes go with its monitor.
    ///
    /// # Errors
    /// The disk's answer.
    pub fn reap_ahead(&self, id: &str) -> Result<(), EngineError> {
        self.remove_ended(id, Erase::ByMonitor, true, |record| record.spec.auto_remove)
            .map(drop)
    }

    /// Removes what killed processes left of containers that are gone. What cannot go now goes later.
    pub fn sweep(&self) {
        let _ = self.store().sweep();
        self.sweep_groups();
        self.sweep_addresses();
        self.sweep_parent();
    }

    /// Removes this store's parent of control groups where no container is left.
    pub fn sweep_parent(&self) {
        let is_used = || {
            self.store()
                .container_ids()
                .is_ok_and(|ids| !ids.is_empty())
        };
        let parent = self.cgroup_parent();
        let removes = || -> Option<bool> { Layout::detect().ok()?.remove_parent(&parent).ok() };
        if is_used() || removes() != Some(false) {
            return;
        }
        // The last monitor is still ending; nobody need wait for it.
        sys::process::in_background(|| {
            let mut pause = FIRST_PAUSE;
            while pause < PARENT_PATIENCE && !is_used() && removes() == Some(false) {
                std::thread::sleep(pause);
                pause *= 2;
            }
        });
    }

    /// Removes control groups whose container is gone: its monitor was killed at the very end.
    fn sweep_groups(&self) {
        let parent = self.cgroup_parent();
        let names = Layout::detect().and_then(|layout| layout.names(&parent));
        for id in names.unwrap_or_default() {
            if types::id::ContainerId::parse(&id).is_ok()
                && !self.store().container_directory(&id).is_dir()
            {
                remove_group(&parent, &id);
            }
        }
    }

    fn parent_of(&self, record: &ContainerRecord) -> String {
        match record.spec.cgroup_parent.as_str() {
            "" => self.cgroup_parent(),
            parent => parent.to_string(),
        }
    }

    /// Frees what a killed monitor could not: networks and control groups. May run twice.
    pub(crate) fn release(&self, record: &ContainerRecord) {
        self.detach(&record.id);
        let parent = self.parent_of(record);
        remove_group(&parent, &record.id);
        if !record.spec.cgroup_parent.is_empty() {
            let _ = Layout::detect().and_then(|layout| layout.remove_made_parent(&parent));
        }
    }
}

/// Whether nobody has the lock; it is as good as free where somebody removed what is locked.
fn is_free(alive: &std::path::Path) -> Result<bool, EngineError> {
    match Lock::try_acquire_directory(alive) {
        Err(error) if matches!(error.errno, Errno::NOENT | Errno::NOTDIR) => Ok(true),
        other => Ok(other?.is_some()),
    }
}

fn does_not_end(id: &str) -> EngineError {
    EngineError::conflict(format!(
        "cannot remove container {id}: its monitor does not end; kill that process and try again"
    ))
}

fn kill_group(parent: &str, id: &str) {
    if let Ok(group) = ContainerCgroup::open(parent, id) {
        let _ = group.kill_all();
    }
}

fn remove_group(parent: &str, id: &str) {
    if let Ok(mut group) = ContainerCgroup::open(parent, id) {
        let _ = group.kill_all();
        sys::fail::point("engine.release.killed");
        let _ = group.remove();
    }
}

/// Whether the process of a state is there. A monitor that an owner listens to ends without
/// writing a last state, because that owner removes the container.
fn is_alive(state: &types::state::ContainerState) -> bool {
    state.status.is_live()
        && state.boot_id == sys::host::boot_id()
        && sys::host::start_time(state.pid) == Some(state.start_time)
}
