//! Waiting for services, and showing their output until all have ended.

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::{AsFd, OwnedFd};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use engine::compose::apply::{Audience, Awaited, Phase};
use engine::compose::container::{container_name, labels};
use engine::compose::plan::Step;
use engine::compose::{Project, label};
use engine::container::logs::{LogRequest, Next, Together};
use engine::{Engine, EngineError, StoredContainer};
use rustix::fs::OFlags;
use rustix::pipe::{PipeFlags, pipe_with};
use types::state::Status;
use types::timestamp::Timestamp;

use super::logs::Printer;
use super::watch::Watcher;
use super::{Done, Failure, OneOff, containers, down, up};
use crate::commands::is_printed;
use crate::errors;
use crate::flags::Invocation;
use crate::streams;
use crate::terminal;

/// How often a wait looks.
const LOOK: Duration = Duration::from_millis(25);
const SIGNAL_KILL: i32 = 9;
/// A longer line of a hook is shown in pieces.
const HOOK_LINE_MAX: usize = 64 << 10;
/// So often is a hook's output read before others are looked at.
const HOOK_READS_MAX: usize = 64;
/// Signals that ask for nothing: nobody reads our output, we go on, urgent data, the window's size.
const NOT_ASKING: [i32; 4] = [13, 18, 23, 28];

/// `--wait`: until every service runs, or is healthy where it has a check.
pub(super) fn wait_for(
    engine: &Engine,
    project: &Project,
    services: &[String],
    timeout_s: i64,
) -> Result<(), Failure> {
    let begun = Instant::now();
    let mut told: BTreeMap<String, bool> = BTreeMap::new();
    loop {
        let mut is_ready = true;
        for stored in containers(engine, project, services, OneOff::Without)? {
            let completes = is_to_complete(project, label(&stored, labels::SERVICE));
            let settled = is_settled(&stored, completes)?;
            is_ready &= settled.is_some();
            let word = settled.unwrap_or("Waiting");
            if told.insert(stored.record.name.clone(), settled.is_some()) != Some(settled.is_some())
            {
                errors::complain(&format!(" Container {}  {word}", stored.record.name));
            }
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

/// Whether another service waits until this one has done its work, and with it who waits for all.
fn is_to_complete(project: &Project, service: &str) -> bool {
    let mut conditions = project.services.values().filter_map(|other| {
        let on = other.depends_on.get(service)?;
        Some(on.condition.as_str())
    });
    conditions.any(|condition| condition == "service_completed_successfully")
}

/// The word for a container that is as it is waited for.
fn is_settled(stored: &StoredContainer, completes: bool) -> Result<Option<&'static str>, Failure> {
    let name = &stored.record.name;
    let code = stored.state.exit_code;
    let health = stored.state.health.as_ref();
    match (
        stored.state.status,
        health.map(|health| health.status.as_str()),
    ) {
        (Status::Exited, _) if completes && code == 0 => Ok(Some("Exited")),
        (Status::Exited, _) => {
            Err(EngineError::conflict(format!("container {name} exited ({code})")).into())
        }
        _ if completes => Ok(None),
        (Status::Running, None | Some("healthy")) => Ok(Some("Healthy")),
        (Status::Running, Some("unhealthy")) => {
            Err(EngineError::conflict(format!("container {name} is unhealthy")).into())
        }
        _ => Ok(None),
    }
}

/// Shows the output of a project's containers, each from the moment that it runs: while others are
/// still waited for, until all have ended, and while they are stopped.
pub(super) struct Output<'a> {
    engine: &'a Engine,
    invocation: &'a Invocation,
    project: &'a Project,
    together: Together,
    printer: Printer,
    /// Whose output is shown, by place; hooks within a container have no id.
    ids: Vec<String>,
    hooks: Vec<HookOutput>,
    /// Ends that were told, by id and time: one may begin again.
    told: BTreeSet<(String, String)>,
    signals: Option<OwnedFd>,
    stopping: Stopping,
    /// Nobody reads our output any more.
    is_lost: bool,
}

/// How far somebody asked for the end.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stopping {
    Not,
    Asked,
    /// What is there is being stopped: to ask again is to kill.
    Begun,
}

impl<'a> Output<'a> {
    pub(super) fn new(
        engine: &'a Engine,
        invocation: &'a Invocation,
        project: &'a Project,
    ) -> Result<Self, Failure> {
        let matches = &invocation.matches;
        // An unknown name is told before anything is made.
        End::of(invocation, project)?;
        let names = project.services.iter().flat_map(|(name, service)| {
            (1..=service.replicas()).map(|number| container_name(project, name, number))
        });
        let names: Vec<String> = names.collect();
        let has_prefix = !matches.get_bool("no-log-prefix");
        let timestamps = matches.get_bool("timestamps");
        Ok(Self {
            engine,
            invocation,
            project,
            together: Together::new(LogRequest {
                // What was printed before is not shown.
                since: Some(Timestamp::now()),
                follow: true,
                ..LogRequest::default()
            }),
            printer: Printer::new(project, &names, has_prefix, timestamps).with_errors_apart(),
            ids: Vec::new(),
            hooks: Vec::new(),
            told: BTreeSet::new(),
            signals: None,
            stopping: Stopping::Not,
            is_lost: false,
        })
    }

    /// From here on Ctrl-C stops the containers. Tells whose output is shown.
    pub(super) fn listen(&mut self) {
        let shown = self
            .project
            .services
            .iter()
            .filter(|(name, _)| is_shown(self.invocation, self.project, name));
        let names: Vec<String> = shown
            .flat_map(|(name, service)| {
                (1..=service.replicas()).map(|number| container_name(self.project, name, number))
            })
            .map(|name| self.printer.own(&name).to_owned())
            .collect();
        if !names.is_empty() {
            is_printed(&format!("Attaching to {}\n", names.join(", ")));
        }
        self.signals = streams::take_signals();
    }

    pub(super) fn is_interrupted(&self) -> bool {
        self.stopping != Stopping::Not
    }

    /// Containers of the project's services.
    fn containers(&self) -> Result<Vec<StoredContainer>, Failure> {
        let mut all = containers(self.engine, self.project, &[], OneOff::Without)?;
        let services = &self.project.services;
        all.retain(|stored| services.contains_key(label(stored, labels::SERVICE)));
        Ok(all)
    }

    fn add(&mut self, stored: &StoredContainer) -> Result<(), Failure> {
        if !is_shown(
            self.invocation,
            self.project,
            label(stored, labels::SERVICE),
        ) {
            return Ok(());
        }
        let id = &stored.record.id;
        let known = self.ids.iter().position(|known| known == id);
        let index = known.unwrap_or_else(|| {
            // Its own name may still belong to the one that it replaces.
            let service = label(stored, labels::SERVICE);
            let number = label(stored, labels::NUMBER).parse().unwrap_or_default();
            self.printer.add(&match label(stored, labels::HOOK) {
                "" => container_name(self.project, service, number),
                _ => format!("{}-{service} ->", self.project.name),
            });
            self.ids.push(id.clone());
            self.ids.len() - 1
        });
        let (printer, engine) = (&self.printer, self.engine);
        let mut take = |index: usize, entry: &monitor::log::Entry| printer.take(index, entry);
        self.is_lost |= self.together.add(engine, index, id, &mut take)? == Next::Stop;
        Ok(())
    }

    /// Shows what was written since the last look.
    fn show(&mut self) -> Result<(), Failure> {
        let (printer, engine) = (&self.printer, self.engine);
        let mut take = |index: usize, entry: &monitor::log::Entry| printer.take(index, entry);
        if !self.is_lost {
            self.is_lost = self.together.step(engine, &mut take)? == Next::Stop;
        }
        for id in self.together.take_ended() {
            self.tell_end(&id);
        }
        let mut hooks = std::mem::take(&mut self.hooks);
        hooks.retain_mut(|hook| hook.show(&self.printer));
        self.hooks = hooks;
        Ok(())
    }

    /// Tells with which code a container ended; one that is gone was replaced.
    fn tell_end(&mut self, id: &str) {
        let Ok(stored) = self.engine.observe(id) else {
            return;
        };
        let (name, state) = (self.printer.own(&stored.record.name), &stored.state);
        let is_one = label(&stored, labels::HOOK).is_empty() && state.status == Status::Exited;
        let at = (id.to_owned(), state.finished_at.clone());
        if is_one && self.told.insert(at) {
            is_printed(&format!("{name} exited with code {}\n", state.exit_code));
        }
    }

    /// Whether somebody asks for the end.
    fn is_asked(&self) -> bool {
        let signal = self.signals.as_ref().and_then(engine::signals::read);
        signal.is_some_and(|signal| !NOT_ASKING.contains(&signal))
    }

    /// Shows output until all have ended, or somebody or something asks for the end. With `--watch`
    /// changes of files are acted on meanwhile.
    pub(super) fn follow(mut self) -> Done {
        let (engine, invocation, project) = (self.engine, self.invocation, self.project);
        let mut watcher = match invocation.matches.get_bool("watch") {
            true => Some(Watcher::begin(engine, invocation, project)?),
            false => None,
        };
        if self.signals.is_none() {
            self.signals = streams::take_signals();
        }
        let mut end = End::of(invocation, project)?;
        let mut keys = Keys::begin(invocation, project);
        let mut are_others = true;
        loop {
            if std::mem::take(&mut are_others) {
                let all = self.containers()?;
                all.iter().try_for_each(|stored| self.add(stored))?;
                end.watched = all.into_iter().map(|stored| stored.record.id).collect();
            }
            if self.is_asked() {
                self.stopping = Stopping::Asked;
                return self.stop();
            }
            match keys.as_mut().and_then(Keys::pressed) {
                Some(Key::Detach) => return Ok(ExitCode::SUCCESS),
                Some(Key::Watch) => toggle(engine, invocation, project, &mut watcher),
                None => {}
            }
            if let Some(ended) = end.look(engine) {
                drop(keys);
                self.show()?;
                errors::complain("Aborting on container exit...");
                self.stop()?;
                let code = u8::try_from(ended.state.exit_code & 0xff).unwrap_or(255);
                return Ok(ExitCode::from(code));
            }
            are_others = changes(engine, invocation, project, &mut watcher);
            self.show()?;
            if self.is_lost || self.together.has_ended() && !are_others {
                return Ok(ExitCode::SUCCESS);
            }
            let typed = keys.as_ref().map(|_| rustix::stdio::stdin());
            let signals = self.signals.as_ref().map(AsFd::as_fd);
            let wake: Vec<_> = signals.into_iter().chain(typed).collect();
            self.together.wait(&wake);
        }
    }

    /// Stops what runs, in the order of dependencies.
    pub(super) fn stop(mut self) -> Done {
        if self.stopping == Stopping::Asked {
            errors::complain("Gracefully Stopping... press Ctrl+C again to force");
        }
        self.stopping = Stopping::Begun;
        let (engine, invocation, project) = (self.engine, self.invocation, self.project);
        let mut live = self.containers()?;
        live.retain(|stored| stored.state.status.is_live());
        down::dependents_first(project, &mut live);
        live.iter().try_for_each(|stored| self.add(stored))?;
        down::stop_these(engine, invocation, project, &live, &mut self)?;
        self.show()?;
        Ok(ExitCode::from(130))
    }
}

impl Audience for Output<'_> {
    fn hears(&mut self, step: &Step, phase: Phase) {
        up::tell(step, phase);
    }

    fn awaits(&mut self, name: &str, what: Awaited) {
        up::Lines.awaits(name, what);
    }

    fn runs(&mut self, id: &str) {
        let added = match self.engine.container(id) {
            Ok(stored) => self.add(&stored),
            Err(error) => Err(error.into()),
        };
        if let Err(failure) = added {
            let _ = failure.tell(self.invocation.program);
        }
    }

    fn ends(&mut self, _id: &str) {
        let _ = self.show();
    }

    fn hook_output(&mut self, id: &str) -> Option<OwnedFd> {
        let stored = self.engine.container(id).ok()?;
        if !is_shown(
            self.invocation,
            self.project,
            label(&stored, labels::SERVICE),
        ) {
            return None;
        }
        let (reader, writer) = pipe_with(PipeFlags::CLOEXEC).ok()?;
        rustix::fs::fcntl_setfl(&reader, OFlags::NONBLOCK).ok()?;
        self.printer.add(&format!("{} ->", stored.record.name));
        self.ids.push(String::new());
        self.hooks.push(HookOutput {
            index: self.ids.len() - 1,
            reader,
            pending: Vec::new(),
        });
        Some(writer)
    }

    fn meanwhile(&mut self) -> Next {
        // What cannot be read now is read, or told, by who follows.
        let _ = self.show();
        if !self.is_asked() {
            return Next::More;
        }
        if self.stopping != Stopping::Begun {
            self.stopping = Stopping::Asked;
            return Next::Stop;
        }
        let all = self.containers().unwrap_or_default();
        for stored in all.iter().filter(|stored| stored.state.status.is_live()) {
            let _ = self.engine.kill(&stored.record.id, SIGNAL_KILL);
        }
        Next::More
    }

    fn has_work(&self) -> bool {
        true
    }
}

/// What a hook within a container writes.
struct HookOutput {
    /// Its place among those that are shown.
    index: usize,
    reader: OwnedFd,
    pending: Vec<u8>,
}

impl HookOutput {
    /// Shows what was written since the last look; `false` where nobody can write any more.
    fn show(&mut self, printer: &Printer) -> bool {
        let mut buffer = [0; 4096];
        let mut is_open = true;
        // One that never stops writing does not keep the others from being shown.
        for _ in 0..HOOK_READS_MAX {
            match rustix::io::read(&self.reader, &mut buffer) {
                Ok(count @ 1..) => self.pending.extend(&buffer[..count]),
                Err(rustix::io::Errno::INTR) => {}
                Err(rustix::io::Errno::AGAIN) => break,
                Ok(_) | Err(_) => {
                    is_open = false;
                    break;
                }
            }
            while let Some(at) = self.pending.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.pending.drain(..=at).collect();
                printer.line(self.index, &String::from_utf8_lossy(&line));
            }
            if self.pending.len() > HOOK_LINE_MAX {
                self.tell_rest(printer);
            }
        }
        if !is_open {
            self.tell_rest(printer);
        }
        is_open
    }

    fn tell_rest(&mut self, printer: &Printer) {
        let rest = std::mem::take(&mut self.pending);
        if !rest.is_empty() {
            printer.line(self.index, &String::from_utf8_lossy(&rest));
        }
    }
}

/// A key of the menu.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Key {
    Detach,
    Watch,
}

/// The keys that one can press where output is shown on a terminal. They are told once: nothing is
/// drawn over the containers' lines.
struct Keys {
    _mode: terminal::Mode,
}

impl Keys {
    fn begin(invocation: &Invocation, project: &Project) -> Option<Self> {
        let matches = &invocation.matches;
        let said = match matches.is_set("menu") {
            true => Some(matches.get_bool("menu")),
            false => match project.environment.get("COMPOSE_MENU").map(String::as_str) {
                None | Some("") => None,
                Some(text) => Some(matches!(text, "1" | "t" | "T" | "true" | "TRUE" | "True")),
            },
        };
        if said == Some(false) || !terminal::is_terminal(rustix::stdio::stdout()) {
            return None;
        }
        let mode = terminal::Mode::keys()?;
        errors::complain("Keys: w watches files or stops it, d detaches, Ctrl-C stops");
        Some(Self { _mode: mode })
    }

    fn pressed(&mut self) -> Option<Key> {
        for byte in terminal::typed() {
            match byte {
                b'd' | b'D' => return Some(Key::Detach),
                b'w' | b'W' => return Some(Key::Watch),
                b'\n' | b'\r' => errors::complain(""),
                _ => {}
            }
        }
        None
    }
}

/// Begins to watch files, or ends it.
fn toggle(
    engine: &Engine,
    invocation: &Invocation,
    project: &Project,
    watcher: &mut Option<Watcher>,
) {
    if watcher.take().is_some() {
        return errors::complain("Watch disabled");
    }
    match Watcher::begin(engine, invocation, project) {
        Ok(begun) => *watcher = Some(begun),
        Err(failure) => {
            let _ = failure.tell(invocation.program);
        }
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
fn is_shown(invocation: &Invocation, project: &Project, service: &str) -> bool {
    let matches = &invocation.matches;
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
    watched: Vec<String>,
    /// One container's end is the end.
    any: bool,
    /// One container's failure is the end.
    on_failure: bool,
    /// Only this service's, if it is one.
    from: &'a str,
}

impl<'a> End<'a> {
    fn of(invocation: &'a Invocation, project: &Project) -> Result<Self, Failure> {
        let matches = &invocation.matches;
        let from = matches.get_str("exit-code-from");
        if !from.is_empty() && !project.services.contains_key(from) {
            return Err(super::no_such_service(project, from));
        }
        Ok(Self {
            watched: Vec::new(),
            any: matches.get_bool("abort-on-container-exit") || !from.is_empty(),
            on_failure: matches.get_bool("abort-on-container-failure"),
            from,
        })
    }

    /// The container whose end is the end.
    fn look(&self, engine: &Engine) -> Option<StoredContainer> {
        if !self.any && !self.on_failure {
            return None;
        }
        let mut seen = self.watched.iter().filter_map(|id| engine.observe(id).ok());
        let (any, from) = (self.any, self.from);
        seen.find(|stored| {
            stored.state.status == Status::Exited
                && (any || stored.state.exit_code != 0)
                && (from.is_empty() || label(stored, labels::SERVICE) == from)
        })
    }
}
