//! What must hold of other services before one starts.

use ::compose::plan::{Condition, ConditionKind};
use storage::containers::StoredContainer;
use types::state::Status;

use super::{Awaited, Executor, Tell};
use crate::error::EngineError;

impl Executor<'_> {
    /// Whether a condition holds; an error where it never will.
    pub(super) fn holds(
        &mut self,
        condition: &Condition,
        tell: Tell<'_>,
    ) -> Result<bool, EngineError> {
        if condition.kind == ConditionKind::Started {
            return Ok(true);
        }
        let ids = self.ids.get(&condition.service).cloned();
        let mut do_all = true;
        for id in ids.unwrap_or_default() {
            let (name, found) = match self.engine.observe(&id) {
                Ok(stored) => (stored.record.name.clone(), holds_of(condition, &stored)),
                Err(error) => (id.clone(), Err(error)),
            };
            let what = match &found {
                Ok(false) => Awaited::Waiting,
                Ok(true) if condition.kind == ConditionKind::Completed => Awaited::Exited,
                Ok(true) => Awaited::Healthy,
                Err(_) if condition.is_required => Awaited::Error,
                Err(_) => Awaited::Skipped,
            };
            let is_news = self.is_news(id, what);
            if is_news {
                tell.awaits(&name, what);
            }
            match found {
                Ok(holds) => do_all &= holds,
                Err(error) if condition.is_required => return Err(error),
                Err(error) if is_news => self.warnings.push(format!(
                    "optional dependency {} failed to start: {error}",
                    condition.service
                )),
                Err(_) => {}
            }
        }
        Ok(do_all)
    }

    /// Whether something is told of a container: once, and what nobody waited for not at all.
    fn is_news(&mut self, id: String, what: Awaited) -> bool {
        let was = self.awaited.get(&id).copied();
        let was_waited_for = was.is_some() || matches!(what, Awaited::Skipped | Awaited::Error);
        let is_news = was != Some(what) && (was_waited_for || what == Awaited::Waiting);
        if is_news {
            self.awaited.insert(id, what);
        }
        is_news
    }
}

fn holds_of(condition: &Condition, stored: &StoredContainer) -> Result<bool, EngineError> {
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
        ConditionKind::Ready => match state.health.as_ref().map(|health| health.status.as_str()) {
            Some("unhealthy") => Err(EngineError::conflict(format!(
                "container {name} is unhealthy"
            ))),
            Some("healthy") => Ok(true),
            None => Ok(!has_check(stored) && state.status == Status::Running),
            _ => Ok(false),
        },
        ConditionKind::Healthy if has_ended => {
            fail(format!("container {name} exited ({})", state.exit_code))
        }
        ConditionKind::Healthy => {
            match state.health.as_ref().map(|health| health.status.as_str()) {
                Some("healthy") => Ok(true),
                Some("unhealthy") => fail(format!("container {name} is unhealthy")),
                None if !has_check(stored) => {
                    fail(format!("container {name} has no healthcheck configured"))
                }
                _ => Ok(false),
            }
        }
    }
}

fn has_check(stored: &StoredContainer) -> bool {
    let check = stored.record.spec.healthcheck.as_ref();
    check.is_some_and(|check| check.test.first().is_some_and(|kind| kind != "NONE"))
}
