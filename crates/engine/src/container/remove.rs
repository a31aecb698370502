//! Removing, and releasing what an ended container still held.

use monitor::client::Connection;
use monitor::protocol::{LOCK, Stop};
use runtime::cgroup::ContainerCgroup;
use storage::containers::{ContainerError, ContainerRecord, StoredContainer};
use sys::lock::Lock;

use crate::Engine;
use crate::error::EngineError;

/// A removal under way: the container, and the monitor that is ending it.
#[derive(Debug)]
pub struct Removal {
    stored: StoredContainer,
    connection: Option<Connection>,
}

impl Engine {
    /// Begins to remove a container; with `force` a running one is killed. Several can be begun
    /// before the first is finished, so that they end at once.
    ///
    /// # Errors
    /// Docker's words where it runs and `force` is not given.
    pub fn begin_remove(&self, key: &str, force: bool) -> Result<Removal, EngineError> {
        let stored = self.container(key)?;
        if !stored.state.status.is_live() {
            return Ok(Removal {
                stored,
                connection: None,
            });
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
        let kill = Stop {
            signal: Some(rustix::process::Signal::KILL.as_raw()),
            timeout_s: Some(0),
        };
        let (stored, connection) = self.begin_stop(&stored.record.id, kill)?;
        Ok(Removal { stored, connection })
    }

    /// Finishes a removal.
    ///
    /// # Errors
    /// The disk's answer.
    pub fn finish_remove(&self, removal: Removal) -> Result<(), EngineError> {
        if let Some(mut connection) = removal.connection {
            // Refusals do not matter: the lock below tells whether it has ended.
            let _ = connection.answer();
        }
        self.remove_ended(&removal.stored.record)
    }

    fn remove_ended(&self, record: &ContainerRecord) -> Result<(), EngineError> {
        // Its own --rm, or another command, may be faster.
        let lock = match self.store().lock_container(&record.id) {
            Err(ContainerError::Missing) => return Ok(()),
            other => other?,
        };
        let run_directory = self.store().container_run_directory(&record.id);
        if run_directory.exists() {
            // Held until the monitor is gone.
            let _alive = Lock::acquire(&run_directory.join(LOCK))?;
        }
        let stored = match self.store().read_container(&record.id) {
            Err(ContainerError::Missing) => return Ok(()),
            other => other?,
        };
        if stored.state.status.is_live() {
            return Err(EngineError::conflict(format!(
                "cannot remove container \"{}\": it was started again meanwhile",
                record.name
            )));
        }
        self.store().remove_container(&stored.record)?;
        drop(lock);
        self.announce(record, "destroy", &[]);
        Ok(())
    }

    /// Removes a container that ended and was to be removed, whoever comes first.
    ///
    /// # Errors
    /// The disk's answer.
    pub fn reap(&self, id: &str) -> Result<(), EngineError> {
        let stored = match self.observe(id) {
            Err(EngineError::NoSuchContainer(_)) => return Ok(()),
            other => other?,
        };
        if stored.record.spec.auto_remove {
            self.remove_ended(&stored.record)
        } else {
            Ok(())
        }
    }

    /// Frees what a killed monitor could not: the control groups. May run twice.
    pub(crate) fn release(&self, record: &ContainerRecord) {
        let parent = match record.spec.cgroup_parent.as_str() {
            "" => self.cgroup_parent(),
            parent => parent.to_string(),
        };
        if let Ok(mut group) = ContainerCgroup::open(&parent, &record.id) {
            let _ = group.kill_all();
            let _ = group.remove();
        }
    }
}
