//! Restarting, and changing what a container may use.

use monitor::protocol::{Kind, Stop, Update};
use types::container::{Resources, RestartPolicy};

use crate::Engine;
use crate::error::EngineError;

/// What `update` changes; zero and empty stay as they are.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct UpdateRequest {
    /// New limits.
    pub resources: Resources,
    /// New limit of processes, where asked for.
    pub pids_limit: Option<i64>,
    /// New policy.
    pub restart: Option<RestartPolicy>,
}

impl Engine {
    /// Stops a container where it runs, and starts it.
    ///
    /// # Errors
    /// As [`Self::stop`] and [`Self::start`].
    pub fn restart(&self, key: &str, stop: Stop) -> Result<(), EngineError> {
        let stored = self.container(key)?;
        if stored.record.spec.auto_remove && stored.state.status.is_live() {
            return Err(EngineError::conflict(format!(
                "cannot restart container {}: it was started with --rm and goes away when it stops",
                stored.record.name
            )));
        }
        self.stop(&stored.record.id, stop)?;
        sys::fail::point("engine.restart.stopped");
        self.start(&stored.record.id, None)?;
        sys::fail::point("engine.restart.started");
        self.announce(&stored.record, "restart", &[]);
        Ok(())
    }

    /// Changes limits and policy of a container, at once where it runs.
    ///
    /// # Errors
    /// A limit that the kernel refuses; then nothing has changed.
    pub fn update(&self, key: &str, request: &UpdateRequest) -> Result<(), EngineError> {
        Self::until_confirmed(key, || self.try_update(key, request))
    }

    fn try_update(&self, key: &str, request: &UpdateRequest) -> Result<bool, EngineError> {
        let (stored, connection, _lock) = self.lock_connected(key)?;
        let mut record = stored.record;
        if record.spec.auto_remove
            && request
                .restart
                .as_ref()
                .is_some_and(|policy| policy.kind != types::container::RestartKind::No)
        {
            return Err(EngineError::conflict(
                "restart policy cannot be updated because AutoRemove is enabled for the container",
            ));
        }
        overlay(&mut record.spec.resources, &request.resources);
        if let Some(limit) = request.pids_limit {
            record.spec.resources.pids_limit = limit;
        }
        if let Some(policy) = &request.restart {
            record.spec.restart = policy.clone();
        }
        if let Some(mut connection) = connection {
            sys::fail::point("engine.update.planned");
            let update = Update {
                resources: Some(record.spec.resources.clone()),
                restart: request.restart.clone(),
            };
            if !connection.ask(Kind::Update, &update)? {
                return Ok(false);
            }
        }
        self.store().update_container(&record)?;
        if stored.state.pid == 0 {
            self.announce(&record, "update", &[]);
        }
        Ok(true)
    }
}

/// Takes over what was given.
fn overlay(old: &mut Resources, new: &Resources) {
    let number = |old: &mut i64, new: i64| {
        if new != 0 {
            *old = new;
        }
    };
    number(&mut old.memory_bytes, new.memory_bytes);
    number(
        &mut old.memory_reservation_bytes,
        new.memory_reservation_bytes,
    );
    number(&mut old.memory_swap_bytes, new.memory_swap_bytes);
    number(&mut old.nano_cpus, new.nano_cpus);
    number(&mut old.cpu_shares, new.cpu_shares);
    number(&mut old.cpu_period_us, new.cpu_period_us);
    number(&mut old.cpu_quota_us, new.cpu_quota_us);
    number(&mut old.cpu_realtime_period_us, new.cpu_realtime_period_us);
    number(
        &mut old.cpu_realtime_runtime_us,
        new.cpu_realtime_runtime_us,
    );
    if !new.cpuset_cpus.is_empty() {
        old.cpuset_cpus.clone_from(&new.cpuset_cpus);
    }
    if !new.cpuset_mems.is_empty() {
        old.cpuset_mems.clone_from(&new.cpuset_mems);
    }
    if new.blkio_weight != 0 {
        old.blkio_weight = new.blkio_weight;
    }
}
