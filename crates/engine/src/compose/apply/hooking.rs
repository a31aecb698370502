//! Hooks of services, begun and waited for like starts and stops: meanwhile other steps go on, output
//! is shown, and who asks for the end is heard.

use std::os::fd::{AsFd, BorrowedFd};

use ::compose::model::Hook;
use ::compose::plan::Action;
use monitor::client::Connection;
use types::state::Status;

use super::{Executor, Flight, Tell, has_hooks};
use crate::compose::hooks::is_empty;
use crate::container::execute::Executing;
use crate::container::start::Starting;
use crate::error::EngineError;

const POST_START: &str = "post_start";
const PRE_STOP: &str = "pre_stop";

/// A command that runs in a container, and those that come after it.
pub(super) struct Hooking {
    id: String,
    what: &'static str,
    hook: Hook,
    rest: Vec<Hook>,
    executing: Executing,
}

impl AsFd for Hooking {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.executing.as_fd()
    }
}

/// A container that runs before the first of a service starts.
pub(super) struct Before {
    service: String,
    /// Which of the service's hooks.
    number: usize,
    /// Its own id.
    id: String,
    stage: Stage,
}

enum Stage {
    Starting(Box<Starting>),
    Running(Connection),
}

impl AsFd for Before {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.stage {
            Stage::Starting(starting) => starting.as_fd(),
            Stage::Running(connection) => connection.as_fd(),
        }
    }
}

impl Executor<'_> {
    /// Whether containers run that must end before this one may start.
    pub(super) fn is_being_prepared(&self, action: &Action) -> bool {
        let Action::StartContainer { service, .. } = action else {
            return false;
        };
        self.flights.iter().any(
            |(_, flight)| matches!(flight, Flight::Before(before) if before.service == *service),
        )
    }

    /// Somebody asked for the end: nothing waits for hooks any more. Those in a container end with it.
    /// A container that is starting now gets none: nobody would leave it.
    pub(super) fn leave_hooks(&mut self) {
        self.without_hooks = true;
        for (index, flight) in std::mem::take(&mut self.flights) {
            match flight {
                Flight::Hooks(_) => {}
                Flight::Before(before) => {
                    let Before { id, stage, .. } = *before;
                    // What does not run yet could not be removed without a race with its monitor.
                    if let Stage::Starting(starting) = stage {
                        let _ = self.engine.finish_start(*starting);
                    }
                    if let Err(error) = self.engine.remove_hook(&id) {
                        self.warnings.push(error.to_string());
                    }
                }
                other => self.flights.push((index, other)),
            }
        }
    }

    /// The hooks of a container that has just started.
    pub(super) fn after_start(
        &mut self,
        index: usize,
        id: &str,
        tell: Tell<'_>,
    ) -> Result<Option<Flight>, EngineError> {
        let Action::StartContainer { service, .. } = &self.request.plan.steps[index].action else {
            return Ok(None);
        };
        let hooks = match self.request.project.services.get(service) {
            Some(service) => service.post_start.clone(),
            None => return Ok(None),
        };
        self.begin_hook(id, POST_START, hooks, tell)
    }

    /// Begins to stop a container: its hooks come first, where it runs.
    pub(super) fn begin_end(
        &mut self,
        id: &str,
        service: &str,
        tell: Tell<'_>,
    ) -> Result<Option<Flight>, EngineError> {
        let service = self.request.project.services.get(service);
        let hooks = service.map_or_else(Vec::new, |service| service.pre_stop.clone());
        let runs = || {
            let stored = self.engine.container(id);
            stored.is_ok_and(|stored| stored.state.status == Status::Running)
        };
        if !hooks.is_empty()
            && runs()
            && let Some(flight) = self.begin_hook(id, PRE_STOP, hooks, tell)?
        {
            return Ok(Some(flight));
        }
        self.stop(id)
    }

    fn begin_hook(
        &mut self,
        id: &str,
        what: &'static str,
        mut hooks: Vec<Hook>,
        tell: Tell<'_>,
    ) -> Result<Option<Flight>, EngineError> {
        hooks.retain(|hook| !is_empty(hook));
        if hooks.is_empty() || self.without_hooks {
            return Ok(None);
        }
        let hook = hooks.remove(0);
        let output = tell.hook_output(id);
        let executing = self.engine.begin_hook(id, &hook, output.as_ref())?;
        Ok(Some(Flight::Hooks(Box::new(Hooking {
            id: id.to_owned(),
            what,
            hook,
            rest: hooks,
            executing,
        }))))
    }

    /// A hook has ended: the next one, or the stop that they came before.
    pub(super) fn next_hook(
        &mut self,
        index: usize,
        hooking: Hooking,
        tell: Tell<'_>,
    ) -> Result<Option<Flight>, EngineError> {
        let Hooking {
            id,
            what,
            hook,
            rest,
            executing,
        } = hooking;
        executing.end_of_hook(what, &hook)?;
        if let Some(flight) = self.begin_hook(&id, what, rest, tell)? {
            return Ok(Some(flight));
        }
        match &self.request.plan.steps[index].action {
            Action::StopContainer { id, .. } => self.stop(id),
            _ => Ok(None),
        }
    }

    /// Begins what runs before the first container of a service; none where there is nothing.
    pub(super) fn begin_before(
        &mut self,
        service: &str,
        number: i64,
        id: Option<&String>,
    ) -> Result<Option<Flight>, EngineError> {
        let project = self.request.project;
        if !has_hooks(project, service) || !self.prepared.insert(service.to_owned()) {
            return Ok(None);
        }
        self.engine.clear_hooks(project, service)?;
        let of = self.id_of(service, number, id);
        self.begin_one_before(service, &of, 0).map(Some)
    }

    fn begin_one_before(
        &mut self,
        service: &str,
        of: &str,
        number: usize,
    ) -> Result<Flight, EngineError> {
        let request = self.request;
        let hook = &request.project.services[service].pre_start[number];
        let id = self
            .engine
            .create_hook(request.project, service, of, hook, request.images)?;
        let starting = match self.engine.begin_start_known(&id) {
            Ok(Some(starting)) => starting,
            Ok(None) => {
                return Err(EngineError::conflict(format!(
                    "container {id} runs already"
                )));
            }
            Err(error) => {
                self.engine.remove_hook(&id)?;
                return Err(error);
            }
        };
        Ok(Flight::Before(Box::new(Before {
            service: service.to_owned(),
            number,
            id,
            stage: Stage::Starting(Box::new(starting)),
        })))
    }

    /// A container that runs before others has started, or ended: what comes next.
    pub(super) fn next_before(
        &mut self,
        index: usize,
        before: Before,
        tell: Tell<'_>,
    ) -> Result<Option<Flight>, EngineError> {
        let Before {
            service,
            number,
            id,
            stage,
        } = before;
        let code = match stage {
            Stage::Starting(starting) => {
                if let Err(error) = self.engine.finish_start(*starting) {
                    self.engine.remove_hook(&id)?;
                    return Err(error);
                }
                tell.runs(&id);
                if let Some(connection) = self.engine.begin_wait(&id)? {
                    let stage = Stage::Running(connection);
                    return Ok(Some(Flight::Before(Box::new(Before {
                        service,
                        number,
                        id,
                        stage,
                    }))));
                }
                self.engine.finish_wait(&id, None)?
            }
            Stage::Running(connection) => self.engine.finish_wait(&id, Some(connection))?,
        };
        tell.ends(&id);
        let place = format!("service {service:?} pre_start[{number}]");
        self.engine.end_of_container(&id, &place, code)?;
        let Action::StartContainer {
            number: replica,
            id,
            ..
        } = &self.request.plan.steps[index].action
        else {
            return Ok(None);
        };
        let count = self.request.project.services[&service].pre_start.len();
        if number + 1 < count {
            let of = self.id_of(&service, *replica, id.as_ref());
            return self.begin_one_before(&service, &of, number + 1).map(Some);
        }
        self.start(&service, *replica, id.as_ref())
    }
}
