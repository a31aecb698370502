//! After a reboot: containers whose policy wants it run again.
//!
//! There is no daemon that could do it, so that somebody calls this once after each boot. What ran or
//! was stopped since this boot is left alone, which makes a second call harmless. As with Docker,
//! `on-failure` speaks of ends, not of boots, and a container that never ran stays as it is.

use types::container::RestartKind;
use types::state::ContainerState;

use crate::Engine;
use crate::error::EngineError;

/// A container that was to be started, and how that went.
pub type Booted = (String, Result<(), EngineError>);

impl Engine {
    /// Starts what this boot has not seen yet and its policy wants.
    ///
    /// # Errors
    /// Where containers cannot be listed.
    pub fn boot(&self) -> Result<Vec<Booted>, EngineError> {
        let boot_id = sys::host::boot_id();
        let mut waiting = self.containers()?;
        // The oldest first, as they were made one after the other.
        waiting.reverse();
        waiting.retain(|one| is_wanted(one.record.spec.restart.kind, &one.state, &boot_id));
        let mut done = Vec::new();
        // One that joins another's namespace has to wait for it: again while any could be started.
        loop {
            let before = waiting.len();
            let mut failed = Vec::new();
            for stored in waiting {
                match self.start(&stored.record.id, None) {
                    Ok(_) => done.push((stored.record.name, Ok(()))),
                    Err(error) => failed.push((stored, error)),
                }
            }
            if failed.is_empty() || failed.len() == before {
                let failed = failed.into_iter();
                done.extend(failed.map(|(stored, error)| (stored.record.name, Err(error))));
                return Ok(done);
            }
            waiting = failed.into_iter().map(|(stored, _)| stored).collect();
        }
    }
}

fn is_wanted(policy: RestartKind, state: &ContainerState, boot_id: &str) -> bool {
    let policy = match policy {
        RestartKind::Always => true,
        RestartKind::UnlessStopped | RestartKind::OnUnhealthy => !state.stopped_by_user,
        RestartKind::No | RestartKind::OnFailure => false,
    };
    policy && !state.status.is_live() && !state.started_at.is_empty() && state.boot_id != boot_id
}

#[cfg(test)]
mod tests {
    use super::*;
    use types::state::Status;

    #[test]
    fn a_policy_and_what_the_user_did_decide() {
        let mut state = ContainerState {
            status: Status::Exited,
            started_at: "2024-01-02T03:04:05Z".into(),
            boot_id: "old".into(),
            ..ContainerState::default()
        };
        for (kind, stopped, wanted) in [
            (RestartKind::No, false, false),
            (RestartKind::OnFailure, false, false),
            (RestartKind::Always, false, true),
            (RestartKind::Always, true, true),
            (RestartKind::UnlessStopped, false, true),
            (RestartKind::UnlessStopped, true, false),
        ] {
            state.stopped_by_user = stopped;
            assert_eq!(is_wanted(kind, &state, "new"), wanted, "{kind:?} {stopped}");
            assert!(!is_wanted(kind, &state, "old"));
        }
        state.started_at.clear();
        assert!(!is_wanted(RestartKind::Always, &state, "new"), "never ran");
    }
}
