//! Steps that are done at once, and what is undone of a replacement that did not succeed.

use ::compose::container::labels;
use ::compose::plan::{Action, ConditionKind};

use super::{Executor, Phase, Request, State, Tell};
use crate::Engine;
use crate::error::EngineError;

/// So many containers are removed at once: each waits for the disk a few times.
const REMOVING_MAX: usize = 8;

impl Executor<'_> {
    /// Removes all containers that can go now, several at once; whether there were several. The
    /// threads have ended before anything else is begun: only a process with one makes monitors.
    pub(super) fn remove_together(&mut self, tell: Tell<'_>) -> Result<bool, (usize, EngineError)> {
        let plan = self.request.plan;
        let is_ready = |index: &usize| {
            let step = &plan.steps[*index];
            let mut before = step.after.iter();
            self.states[*index] == State::Pending
                && matches!(step.action, Action::RemoveContainer { .. })
                && before.all(|before| self.states[*before] == State::Done)
        };
        let ready: Vec<usize> = (0..plan.steps.len()).filter(is_ready).collect();
        if ready.len() < 2 {
            return Ok(false);
        }
        let mut failed = None;
        for some in ready.chunks(REMOVING_MAX) {
            let mut ids = Vec::new();
            for index in some {
                if let Action::RemoveContainer { id } = &plan.steps[*index].action {
                    tell.hears(&plan.steps[*index], Phase::Begun);
                    self.forget(id);
                    ids.push((*index, id.as_str()));
                }
            }
            let this = &*self;
            let (engine, request) = (this.engine, this.request);
            let results: Vec<_> = std::thread::scope(|scope| {
                let threads: Vec<_> = ids
                    .iter()
                    .map(|(index, id)| (*index, scope.spawn(move || remove(engine, request, id))))
                    .collect();
                let join = |(index, thread): (usize, std::thread::ScopedJoinHandle<'_, _>)| {
                    let gone = || Err(EngineError::conflict("a removal failed"));
                    (index, thread.join().unwrap_or_else(|_| gone()))
                };
                threads.into_iter().map(join).collect()
            });
            for (index, result) in results {
                match result {
                    Ok(()) => {
                        self.states[index] = State::Done;
                        tell.hears(&plan.steps[index], Phase::Done);
                    }
                    Err(error) => {
                        failed.get_or_insert((index, error));
                    }
                }
            }
        }
        failed.map_or(Ok(true), Err)
    }

    /// Where a new container does not become ready it goes, and the old one stays.
    pub(super) fn undo_rolling(&self, index: usize, error: EngineError) -> EngineError {
        let step = &self.request.plan.steps[index];
        let (Action::HandOverPorts { from: id, .. }
        | Action::StopContainer { id, .. }
        | Action::RemoveContainer { id }) = &step.action
        else {
            return error;
        };
        let is_rolling = |kind: ConditionKind| kind == ConditionKind::Ready;
        if !step
            .conditions
            .iter()
            .any(|condition| is_rolling(condition.kind))
        {
            return error;
        }
        let new = self
            .request
            .plan
            .steps
            .iter()
            .find_map(|step| match &step.action {
                Action::CreateContainer {
                    service,
                    number,
                    replaces: Some(old),
                } if old == id => self.made.get(&(service.clone(), *number)),
                _ => None,
            });
        if let Some(new) = new
            && let Ok(removal) = self.engine.begin_remove(new, true)
        {
            let _ = self.engine.finish_remove(removal.for_good());
            self.engine.put_back_ports(id);
        }
        EngineError::conflict(format!("{error}; the old one goes on"))
    }
}

/// Removes a container, with the volumes that it alone has where that is asked.
pub(super) fn remove(engine: &Engine, request: Request<'_>, id: &str) -> Result<(), EngineError> {
    let inherited = match request.remove_volumes {
        true => inherited_volumes(engine, id),
        false => Vec::new(),
    };
    let stored = engine.container(id);
    let replaced = stored
        .ok()
        .and_then(|stored| stored.record.spec.labels.get(labels::REPLACE).cloned());
    match engine.begin_remove(id, true) {
        Ok(removal) => {
            let removal = removal.with_volumes(request.remove_volumes);
            engine.finish_remove(match request.for_good {
                true => removal.for_good(),
                false => removal,
            })?;
        }
        Err(EngineError::NoSuchContainer(_)) => {}
        Err(error) => return Err(error),
    }
    if let Some(replaced) = replaced {
        // An update that was cut off while it handed over the ports.
        engine.put_back_ports(&replaced);
    }
    for volume in inherited {
        // Another container may still have it.
        let _ = engine.remove_volume(&volume);
    }
    Ok(())
}

/// Anonymous volumes that a container has of the one before it, and that nobody else removes.
fn inherited_volumes(engine: &Engine, id: &str) -> Vec<String> {
    let Ok(stored) = engine.container(id) else {
        return Vec::new();
    };
    let volumes = stored.record.volumes.into_iter();
    let is_anonymous = |name: &String| {
        let volume = engine.store().volume(name);
        volume.is_ok_and(|volume| volume.anonymous)
    };
    let named = volumes
        .filter(|volume| !volume.anonymous)
        .map(|volume| volume.name);
    named.filter(is_anonymous).collect()
}
