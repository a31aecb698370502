//! The truth about containers, and its silent repair.
//!
//! A state on disk that says "running" is believed while the monitor's lock is held. Where it is
//! free, the monitor was killed: a container that still runs gets a new one; one that does not is
//! written down as ended. A container of an earlier boot cannot run. A state that is damaged, or gone
//! although there is a monitor, is written anew by that monitor.

use monitor::client::Connection;
use rustix::event::Timespec;
use storage::containers::StoredContainer;
use storage::trash::Fate;
use sys::lock;
use types::container::RestartKind;
use types::state::Status;

use crate::Engine;
use crate::error::{EngineError, chain};

/// How long a monitor may take to write a state anew that cannot be read.
const DAMAGED_PATIENCE: Timespec = Timespec {
    tv_sec: 1,
    tv_nsec: 0,
};
/// The same, where its container most likely begins or ends at this moment.
const CHANGING_PATIENCE: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 20_000_000,
};

impl Engine {
    /// A container by id, name or beginning of an id, as it truly is.
    ///
    /// # Errors
    /// [`EngineError::NoSuchContainer`], or an ambiguous beginning.
    pub fn container(&self, key: &str) -> Result<StoredContainer, EngineError> {
        let of = |error| EngineError::of_container(error, key);
        let id = self.store().find_container(key).map_err(of)?;
        self.observe(&id).map_err(|error| match error {
            EngineError::NoSuchContainer(_) => EngineError::NoSuchContainer(key.to_string()),
            other => other,
        })
    }

    /// All containers as they truly are, newest first. Damaged records are left out.
    ///
    /// # Errors
    /// Where the store cannot be listed.
    pub fn containers(&self) -> Result<Vec<StoredContainer>, EngineError> {
        self.containers_and_damage().map(|(all, _)| all)
    }

    /// The same for who asks what containers use, and so must know all of them.
    ///
    /// # Errors
    /// Also where a record cannot be read.
    pub(crate) fn every_container(&self) -> Result<Vec<StoredContainer>, EngineError> {
        let (all, damaged) = self.containers_and_damage()?;
        match damaged.into_iter().next() {
            None => Ok(all),
            Some(error) => Err(EngineError::conflict(format!(
                "what containers use is not known: {}",
                chain(&error)
            ))),
        }
    }

    /// All containers as they truly are, newest first, and what is wrong with those that cannot be read.
    ///
    /// # Errors
    /// Where the store cannot be listed.
    pub fn containers_and_damage(
        &self,
    ) -> Result<(Vec<StoredContainer>, Vec<EngineError>), EngineError> {
        let (mut all, mut damaged) = (Vec::new(), Vec::new());
        for id in self.store().container_ids()? {
            match self.observe(&id) {
                Ok(stored) => all.push(stored),
                // Removed meanwhile.
                Err(EngineError::NoSuchContainer(_)) => {}
                Err(error) => damaged.push(error),
            }
        }
        all.sort_by(|a, b| {
            b.record
                .created
                .cmp(&a.record.created)
                .then(a.record.id.cmp(&b.record.id))
        });
        Ok((all, damaged))
    }

    /// One container as it truly is.
    ///
    /// # Errors
    /// [`EngineError::NoSuchContainer`].
    pub fn observe(&self, id: &str) -> Result<StoredContainer, EngineError> {
        let stored = self.read(id)?;
        if !stored.state.status.is_live() {
            return self.observe_ended(stored);
        }
        if self.is_watched(id) {
            return Ok(stored);
        }
        // A monitor writes its last state before it lets go of its lock.
        let stored = self.read(id)?;
        if !stored.state.status.is_live() || self.is_watched(id) {
            return Ok(stored);
        }
        or_as_it_is(self.repair(id), stored)
    }

    /// A container whose state says that it does not run. A monitor that was killed while it started
    /// it left its socket, and perhaps processes; one that was killed at the very end left a
    /// container that was to be removed.
    fn observe_ended(&self, stored: StoredContainer) -> Result<StoredContainer, EngineError> {
        let id = &stored.record.id;
        let is_to_be_removed =
            stored.record.spec.auto_remove && stored.state.status == Status::Exited;
        let has_socket = self.monitor_socket(id).exists();
        let is_odd = has_socket || stored.state_is_damaged;
        if !(is_to_be_removed || is_odd || self.is_attached(id)) {
            return Ok(stored);
        }
        match self.is_watched(id) {
            true if is_odd => self.ask_its_monitor(stored),
            true => Ok(stored),
            false => or_as_it_is(self.clear(id), stored),
        }
    }

    /// A container that has a monitor although its state says that it does not run: it begins or ends
    /// right now, or the state was lost or damaged, and its monitor writes it anew.
    pub(super) fn ask_its_monitor(
        &self,
        mut stored: StoredContainer,
    ) -> Result<StoredContainer, EngineError> {
        let id = &stored.record.id;
        let patience = match stored.state_is_damaged {
            true => DAMAGED_PATIENCE,
            false => CHANGING_PATIENCE,
        };
        let run_directory = self.store().container_run_directory(id);
        let is_saved = Connection::open(&run_directory)
            .is_ok_and(|mut connection| connection.save_within(patience));
        // It has perhaps ended meanwhile, and said how.
        if is_saved || !self.is_watched(id) {
            return self.read(id);
        }
        if stored.state_is_damaged {
            // What has a monitor runs, although nobody says as what.
            stored.state.status = Status::Running;
        }
        Ok(stored)
    }

    fn clear(&self, id: &str) -> Result<StoredContainer, EngineError> {
        let lock = self.store().lock_container(id)?;
        let stored = self.read(id)?;
        if stored.state.status.is_live() || self.is_watched(id) {
            return Ok(stored);
        }
        self.release(&stored.record);
        let _ = rustix::fs::unlink(self.monitor_socket(id));
        if stored.state_is_damaged {
            self.store().write_container_state(id, &stored.state)?;
        }
        if stored.record.spec.auto_remove && stored.state.status == Status::Exited {
            self.store().take_container(&stored.record, lock)?.erase()?;
            self.drop_anonymous(&stored.record, Fate::Erased);
            return Err(EngineError::NoSuchContainer(id.to_string()));
        }
        Ok(stored)
    }

    pub(crate) fn monitor_socket(&self, id: &str) -> std::path::PathBuf {
        let directory = self.store().container_run_directory(id);
        directory.join(monitor::protocol::SOCKET)
    }

    fn read(&self, id: &str) -> Result<StoredContainer, EngineError> {
        self.store()
            .read_container(id)
            .map_err(|error| EngineError::of_container(error, id))
    }

    pub(crate) fn is_watched(&self, id: &str) -> bool {
        lock::is_held(&monitor::protocol::alive_lock(
            &self.store().container_directory(id),
        ))
    }

    fn repair(&self, id: &str) -> Result<StoredContainer, EngineError> {
        let lock = self.store().lock_container(id)?;
        let mut stored = self.read(id)?;
        if !stored.state.status.is_live() || self.is_watched(id) {
            return Ok(stored);
        }
        sys::fail::point("engine.repair.locked");
        let state = &mut stored.state;
        let same_boot = state.boot_id == sys::host::boot_id();
        if same_boot && state.pid > 0 && sys::host::start_time(state.pid) == Some(state.start_time)
        {
            self.adopt(&stored.record)?;
            return self.read(id);
        }
        let was_restarting = state.status == Status::Restarting;
        state.status = Status::Exited;
        state.pid = 0;
        if !was_restarting {
            state.exit_code = super::stop::EXIT_UNKNOWN;
            state.exit_unknown = true;
            state.finished_at = self.now();
        }
        // Before the state is written: a repair that is broken off here is done again.
        if same_boot {
            self.release(&stored.record);
        } else {
            self.detach(id);
        }
        sys::fail::point("engine.repair.released");
        if self
            .store()
            .write_container_state(id, &stored.state)
            .is_err()
        {
            // A full or read-only disk: the truth is told all the same, and written another time.
            return Ok(stored);
        }
        sys::fail::point("engine.repair.written");
        if stored.record.spec.auto_remove {
            self.store().take_container(&stored.record, lock)?.erase()?;
            self.drop_anonymous(&stored.record, Fate::Erased);
            return Err(EngineError::NoSuchContainer(id.to_string()));
        }
        let wanted = match stored.record.spec.restart.kind {
            RestartKind::No => false,
            // An unknown end counts as a failure.
            RestartKind::Always
            | RestartKind::UnlessStopped
            | RestartKind::OnUnhealthy
            | RestartKind::OnFailure => !stored.state.stopped_by_user,
        };
        if same_boot && wanted {
            self.spawn_monitor(&stored.record, None)?;
        }
        drop(lock);
        self.read(id)
    }
}

/// What a repair found, or what is known where nothing can be repaired, as on a read-only disk.
fn or_as_it_is(
    repaired: Result<StoredContainer, EngineError>,
    stored: StoredContainer,
) -> Result<StoredContainer, EngineError> {
    match repaired {
        Err(EngineError::NoSuchContainer(id)) => Err(EngineError::NoSuchContainer(id)),
        other => other.or(Ok(stored)),
    }
}
