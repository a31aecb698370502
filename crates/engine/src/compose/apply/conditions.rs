//! What must hold of other services before one starts.

use ::compose::plan::{Condition, ConditionKind};
use storage::containers::StoredContainer;
use types::state::Status;

use super::Executor;
use crate::error::EngineError;

impl Executor<'_> {
    /// Whether a condition holds; an error where it never will.
    pub(super) fn holds(&mut self, condition: &Condition) -> Result<bool, EngineError> {
        if condition.kind == ConditionKind::Started {
            return Ok(true);
        }
        let ids = self
            .ids
            .get(&condition.service)
            .cloned()
            .unwrap_or_default();
        for id in ids {
            match self.holds_of(condition, &id) {
                Ok(true) => {}
                Ok(false) => return Ok(false),
                Err(error) if condition.is_required => return Err(error),
                Err(error) => self.warnings.push(format!(
                    "optional dependency {} failed to start: {error}",
                    condition.service
                )),
            }
        }
        Ok(true)
    }

    fn holds_of(&self, condition: &Condition, id: &str) -> Result<bool, EngineError> {
        let stored = self.engine.observe(id)?;
        let name = &stored.record.name;
        let state = &stored.state;
        let has_ended = matches!(state.status, Status::Exited | Status::Dead);
        let fail = |text: String| {
            Err(EngineError::conflict(format!(
                "dependency failed to start: {text}"
            )))
        };
        match condition.kind {
            ConditionKind::Started => Ok(true),
            ConditionKind::Completed if !has_ended => Ok(false),
            ConditionKind::Completed if state.exit_code == 0 => Ok(true),
            ConditionKind::Completed => Err(EngineError::conflict(format!(
                "service {:?} didn't complete successfully: exit {}",
                condition.service, state.exit_code
            ))),
            ConditionKind::Ready if has_ended => Err(EngineError::conflict(format!(
                "container {name} exited ({})",
                state.exit_code
            ))),
            ConditionKind::Ready => {
                match state.health.as_ref().map(|health| health.status.as_str()) {
                    Some("unhealthy") => Err(EngineError::conflict(format!(
                        "container {name} is unhealthy"
                    ))),
                    Some("healthy") => Ok(true),
                    None => Ok(!has_check(&stored) && state.status == Status::Running),
                    _ => Ok(false),
                }
            }
            ConditionKind::Healthy if has_ended => {
                fail(format!("container {name} exited ({})", state.exit_code))
            }
            ConditionKind::Healthy => {
                match state.health.as_ref().map(|health| health.status.as_str()) {
                    Some("healthy") => Ok(true),
                    Some("unhealthy") => fail(format!("container {name} is unhealthy")),
                    None if !has_check(&stored) => {
                        fail(format!("container {name} has no healthcheck configured"))
                    }
                    _ => Ok(false),
                }
            }
        }
    }
}

fn has_check(stored: &StoredContainer) -> bool {
    let check = stored.record.spec.healthcheck.as_ref();
    check.is_some_and(|check| check.test.first().is_some_and(|kind| kind != "NONE"))
}
