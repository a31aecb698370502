//! Waiting for services, and showing their output until all have ended.

use std::os::fd::{AsFd, OwnedFd};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use engine::compose::container::labels;
use engine::compose::{Project, label};
use engine::container::logs::{LogRequest, Next};
use engine::protocol::Stop;
use engine::{Engine, EngineError, StoredContainer};
use types::state::Status;
use types::timestamp::Timestamp;

use super::logs::Printer;
use super::watch::Watcher;
use super::{Done, Failure, OneOff, containers};
use crate::errors;
use crate::flags::Invocation;
use crate::streams;

/// How often a wait looks.
const LOOK: Duration = Duration::from_millis(25);
/// A terminal that changes its size says so by this signal.
const SIGNAL_WINDOW: i32 = 28;

/// `--wait`: until every service runs, or is healthy where it has a check.
pub(super) fn wait_for(
    engine: &Engine,
    project: &Project,
    services: &[String],
    timeout_s: i64,
) -> Result<(), Failure> {
    let begun = Instant::now();
    loop {
        let mut is_ready = true;
        for stored in containers(engine, project, services, OneOff::Without)? {
            is_ready &= is_settled(&stored)?;
        }
        if is_ready {
            return Ok(());
        }
        if timeout_s > 0 && begun.elapsed() >= Duration::from_secs(timeout_s.unsigned_abs()) {
            return Err(Failure::text(format!(
                "application not healthy after {timeout_s}s"
            )));
        }
        std::thread::sleep(LOOK);
    }
}

fn is_settled(stored: &StoredContainer) -> Result<bool, Failure> {
    let name = &stored.record.name;
    let health = stored
        .state
        .health
        .as_ref()
        .map(|health| health.status.as_str());
    match (stored.state.status, health) {
        (Status::Running, None | Some("healthy")) => Ok(true),
        (Status::Running, Some("unhealthy")) => {
            Err(EngineError::conflict(format!("container {name} is unhealthy")).into())
        }
        (Status::Exited, _) if stored.state.exit_code != 0 => Err(EngineError::conflict(format!(
            "container {name} exited ({})",
            stored.state.exit_code
        ))
        .into()),
        (Status::Exited, _) => Ok(true),
        _ => Ok(false),
    }
}

/// Shows output until all have ended, or somebody or something asks for the end. With `--watch`
/// changes of files are acted on meanwhile.
pub(super) fn foreground(
    engine: &Engine,
    invocation: &Invocation,
    project: &Project,
    since: Timestamp,
) -> Done {
    let watcher = match invocation.matches.get_bool("watch") {
        true => Some(Watcher::begin(engine, invocation, project)?),
        false => None,
    };
    let mut showing = Showing {
        engine,
        invocation,
        project,
        since,
        signals: streams::take_signals(),
        watcher,
    };
    loop {
        if let Some(code) = showing.show()? {
            return Ok(code);
        }
    }
}

struct Showing<'a> {
    engine: &'a Engine,
    invocation: &'a Invocation,
    project: &'a Project,
    /// What was printed before is not shown.
    since: Timestamp,
    signals: Option<OwnedFd>,
    watcher: Option<Watcher>,
}

impl Showing<'_> {
    /// Shows output until the end; `None` where containers are others now.
    fn show(&mut self) -> Result<Option<ExitCode>, Failure> {
        let (engine, invocation, project) = (self.engine, self.invocation, self.project);
        let matches = &invocation.matches;
        let mut chosen = containers(engine, project, &[], OneOff::Without)?;
        chosen.retain(|stored| {
            project
                .services
                .contains_key(label(stored, labels::SERVICE))
        });
        let shown: Vec<&StoredContainer> = chosen
            .iter()
            .filter(|stored| is_shown(invocation, project, stored))
            .collect();
        let id = |stored: &StoredContainer| stored.record.id.clone();
        let ids: Vec<String> = shown.iter().map(|stored| id(stored)).collect();
        let printer = Printer::new(
            project,
            &shown,
            !matches.get_bool("no-log-prefix"),
            matches.get_bool("timestamps"),
        );
        let watched: Vec<String> = chosen.iter().map(id).collect();
        let mut end = End::of(invocation, project, &watched)?;
        let request = LogRequest {
            since: Some(self.since),
            follow: true,
            ..LogRequest::default()
        };
        let Self {
            signals,
            watcher,
            since,
            ..
        } = self;
        let mut are_others = false;
        let mut tick = || {
            let signal = signals.as_ref().and_then(engine::signals::read);
            end.interrupted = signal.is_some_and(|signal| signal != SIGNAL_WINDOW);
            end.look(engine);
            are_others = !end.has_come() && changes(engine, invocation, project, watcher);
            if end.has_come() || are_others {
                Next::Stop
            } else {
                Next::More
            }
        };
        let wake = signals.as_ref().map(AsFd::as_fd);
        let mut take = |index: usize, entry: &monitor::log::Entry| {
            if let Ok(time) = Timestamp::parse_rfc3339(&entry.time) {
                *since = (*since).max(time.plus_ns(1));
            }
            printer.take(index, entry)
        };
        engine.logs_together(&ids, &request, wake, &mut take, &mut tick)?;
        if are_others {
            return Ok(None);
        }
        if !end.has_come() {
            return Ok(Some(ExitCode::SUCCESS));
        }
        if end.interrupted {
            errors::complain("Gracefully Stopping... press Ctrl+C again to force");
        }
        self.signals = None;
        stop_all(engine, invocation, &watched)?;
        let code = end.ended.map_or(130, |stored| stored.state.exit_code);
        let code = u8::try_from(code & 0xff).unwrap_or(255);
        Ok(Some(ExitCode::from(code)))
    }
}

/// Acts on changes of files, where they are watched. Returns whether containers are others now.
fn changes(
    engine: &Engine,
    invocation: &Invocation,
    project: &Project,
    watcher: &mut Option<Watcher>,
) -> bool {
    let Some(watcher) = watcher else {
        return false;
    };
    match watcher.files.poll() {
        Ok(changed) => watcher.act(engine, invocation, project, &changed),
        Err(error) => {
            errors::report(invocation.program, &error);
            false
        }
    }
}

/// Whether a container's output is wanted.
fn is_shown(invocation: &Invocation, project: &Project, stored: &StoredContainer) -> bool {
    let matches = &invocation.matches;
    let service = label(stored, labels::SERVICE);
    let named = |flag: &str| matches.get_list(flag).iter().any(|name| name == service);
    let said = project.services.get(service);
    let attaches = said.is_none_or(|service| service.attach != Some(false));
    let is_asked = matches.args.is_empty()
        || matches.get_bool("attach-dependencies")
        || matches.args.iter().any(|name| name == service);
    let is_chosen = matches.get_list("attach").is_empty() || named("attach");
    attaches && is_asked && is_chosen && !named("no-attach")
}

/// What ends the foreground before all containers have ended.
struct End<'a> {
    watched: &'a [String],
    /// One container's end is the end.
    any: bool,
    /// One container's failure is the end.
    on_failure: bool,
    /// Only this service's, if it is one.
    from: &'a str,
    interrupted: bool,
    ended: Option<StoredContainer>,
}

impl<'a> End<'a> {
    fn of(
        invocation: &'a Invocation,
        project: &Project,
        watched: &'a [String],
    ) -> Result<Self, Failure> {
        let matches = &invocation.matches;
        let from = matches.get_str("exit-code-from");
        if !from.is_empty() && !project.services.contains_key(from) {
            return Err(super::no_such_service(project, from));
        }
        Ok(Self {
            watched,
            any: matches.get_bool("abort-on-container-exit") || !from.is_empty(),
            on_failure: matches.get_bool("abort-on-container-failure"),
            from,
            interrupted: false,
            ended: None,
        })
    }

    fn look(&mut self, engine: &Engine) {
        if !self.any && !self.on_failure {
            return;
        }
        let seen = self.watched.iter().filter_map(|id| engine.observe(id).ok());
        let (any, from) = (self.any, self.from);
        self.ended = seen.into_iter().find(|stored| {
            stored.state.status == Status::Exited
                && (any || stored.state.exit_code != 0)
                && (from.is_empty() || label(stored, labels::SERVICE) == from)
        });
    }

    fn has_come(&self) -> bool {
        self.interrupted || self.ended.is_some()
    }
}

fn stop_all(engine: &Engine, invocation: &Invocation, ids: &[String]) -> Result<(), Failure> {
    let matches = &invocation.matches;
    let stop = Stop {
        signal: None,
        timeout_s: matches
            .is_set("timeout")
            .then(|| matches.get_int("timeout").max(-1)),
    };
    let asked: Vec<_> = ids
        .iter()
        .filter_map(|id| engine.begin_stop(id, stop).ok())
        .collect();
    for (stored, connection) in asked {
        let name = stored.record.name.clone();
        engine.finish_stop(&stored, connection, stop)?;
        errors::complain(&format!(" Container {name}  Stopped"));
    }
    Ok(())
}
