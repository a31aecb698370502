//! Carrying out a plan: steps begin as soon as those before them are done.
//!
//! One thread, because only a single-threaded process makes monitors. It does not wait where it
//! need not: a container's monitor starts up while the next container's record is written, and
//! many containers stop at once. Cost of a container: its record (one synced file), one monitor,
//! two packets. A failure lets the steps that are under way end and begins no other.

mod conditions;
mod hooking;
mod together;

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use ::compose::container::{self as names, InjectedFile, Instance, labels};
use ::compose::model::Project;
use ::compose::plan::{Action, Observed, Plan, Step};
use monitor::client::Connection;
use monitor::protocol::Stop;
use monitor::spawn::Waiting;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use storage::containers::StoredContainer;
use types::image::ContainerDefaults;

use crate::Engine;
use crate::container::create::{CreateRequest, Made, new_id};
use crate::container::logs::Next;
use crate::container::start::Starting;
use crate::error::EngineError;

use super::injected::archive;
use hooking::{Before, Hooking};

/// The most containers that start at once.
const STARTING_MAX: usize = 16;
/// The most containers whose monitor waits while something else must happen first.
const IN_HAND_MAX: usize = 64;
/// How often conditions of other services are looked at.
const LOOK_NS: i64 = 20_000_000;

/// An image that a service's containers are made of.
#[derive(Clone, Debug)]
pub struct ServiceImage {
    /// Digest of its configuration.
    pub id: String,
    /// What its containers get unless told otherwise.
    pub defaults: ContainerDefaults,
    /// Its platform.
    pub platform: String,
}

/// What is carried out.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// The project.
    pub project: &'a Project,
    /// What to do.
    pub plan: &'a Plan,
    /// What was there when the plan was made.
    pub observed: &'a Observed,
    /// Images by name: those of services and those that are mounted.
    pub images: &'a BTreeMap<String, ServiceImage>,
    /// Seconds until a stopping container is killed, other than its own.
    pub stop_timeout_s: Option<i64>,
    /// Anonymous volumes of removed containers go too.
    pub remove_volumes: bool,
    /// Removed containers do not come back by `undo`: others stand in their place.
    pub for_good: bool,
    /// Containers get new anonymous volumes, not those of the ones that they replace.
    pub renew_volumes: bool,
}

/// What is told of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// It begins.
    Begun,
    /// It is done.
    Done,
}

/// What is told of a container that others wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Awaited {
    /// It is not as they need it yet.
    Waiting,
    /// It is healthy, or runs.
    Healthy,
    /// It has done its work.
    Exited,
    /// It failed, and they start without it.
    Skipped,
    /// It failed, and they do not start.
    Error,
}

/// Hears what happens.
pub trait Audience {
    /// Of a step.
    fn hears(&mut self, step: &Step, phase: Phase);

    /// Of a container, by name, that is waited for.
    fn awaits(&mut self, _name: &str, _what: Awaited) {}

    /// A container was started.
    fn runs(&mut self, _id: &str) {}

    /// A container is about to be removed: what it wrote can be read for the last time.
    fn ends(&mut self, _id: &str) {}

    /// Where a hook in a container shall write; nowhere else.
    fn hook_output(&mut self, _id: &str) -> Option<OwnedFd> {
        None
    }

    /// What is done meanwhile, at least every 20 ms while something is waited for; `Stop` begins
    /// nothing more.
    fn meanwhile(&mut self) -> Next {
        Next::More
    }

    /// Whether [`Self::meanwhile`] does anything.
    fn has_work(&self) -> bool {
        false
    }
}

type Tell<'a> = &'a mut dyn Audience;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Pending,
    Running,
    Done,
}

/// A container that was made and not started yet.
struct Hand {
    id: String,
    made: Option<Made>,
    waiting: Option<Waiting>,
}

/// Something that was begun.
enum Flight {
    Start(Box<Starting>),
    Stop(Box<StoredContainer>, Connection),
    /// Commands in a container, after its start or before its stop.
    Hooks(Box<Hooking>),
    /// Containers that run before the first of a service starts.
    Before(Box<Before>),
}

impl Flight {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Start(starting) => starting.as_fd(),
            Self::Stop(_, connection) => connection.as_fd(),
            Self::Hooks(hooking) => hooking.as_fd(),
            Self::Before(before) => before.as_fd(),
        }
    }
}

struct Executor<'a> {
    engine: &'a Engine,
    request: Request<'a>,
    states: Vec<State>,
    hands: BTreeMap<(String, i64), Hand>,
    flights: Vec<(usize, Flight)>,
    /// Ids of each service's containers.
    ids: BTreeMap<String, Vec<String>>,
    /// What was made, by service and number.
    made: BTreeMap<(String, i64), String>,
    /// Services whose `pre_start` hooks have run.
    prepared: BTreeSet<String>,
    /// Somebody asked for the end: no hook begins any more.
    without_hooks: bool,
    /// Ids of containers that others wait for, and how that went.
    awaited: BTreeMap<String, Awaited>,
    warnings: Vec<String>,
}

impl Engine {
    /// Carries out a plan. Returns what this kernel or this machine lacks of what was asked for.
    ///
    /// # Errors
    /// The first step that failed.
    pub fn carry_out(
        &self,
        request: Request<'_>,
        tell: &mut dyn Audience,
    ) -> Result<Vec<String>, EngineError> {
        self.rehearse(&request)?;
        let mut ids: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for container in request
            .observed
            .containers
            .iter()
            .filter(|container| !container.is_oneoff)
        {
            ids.entry(container.service.clone())
                .or_default()
                .push(container.id.clone());
        }
        let mut executor = Executor {
            engine: self,
            request,
            states: vec![State::Pending; request.plan.steps.len()],
            hands: BTreeMap::new(),
            flights: Vec::new(),
            ids,
            made: BTreeMap::new(),
            prepared: BTreeSet::new(),
            without_hooks: false,
            awaited: BTreeMap::new(),
            warnings: Vec::new(),
        };
        let result = executor.run(tell);
        executor.let_go();
        result.map(|()| executor.warnings)
    }
}

impl Engine {
    /// Puts files into a container that does not run.
    ///
    /// # Errors
    /// A path that cannot be written.
    pub fn put_files(&self, id: &str, files: &[InjectedFile]) -> Result<(), EngineError> {
        for file in files {
            self.copy_to(id, "/", true, archive(file)?.as_slice())?;
        }
        Ok(())
    }
}

impl Executor<'_> {
    fn run(&mut self, tell: Tell<'_>) -> Result<(), EngineError> {
        let mut failed = None;
        loop {
            let mut has_begun = false;
            let mut is_waiting = false;
            if tell.meanwhile() == Next::Stop {
                failed.get_or_insert_with(|| EngineError::conflict("interrupted"));
                self.leave_hooks();
            }
            if failed.is_none() {
                match self.remove_together(tell) {
                    Ok(were_several) => has_begun = were_several,
                    Err((index, error)) => failed = Some(self.about(index, error)),
                }
            }
            if failed.is_none() {
                for index in 0..self.states.len() {
                    match self.advance(index, tell) {
                        Ok(Advance::Begun) => has_begun = true,
                        Ok(Advance::Waiting) => is_waiting = true,
                        Ok(Advance::Not) => {}
                        Err(error) => {
                            let error = self.undo_rolling(index, error);
                            failed = Some(self.about(index, error));
                            break;
                        }
                    }
                }
            }
            if has_begun && failed.is_none() && self.flights.is_empty() {
                continue;
            }
            if self.flights.is_empty() && (failed.is_some() || !is_waiting) {
                return failed.map_or(Ok(()), Err);
            }
            let look_again = is_waiting || has_begun || tell.has_work();
            let landed = self.land(look_again, tell);
            if let Err(error) = landed {
                failed.get_or_insert(error);
            }
        }
    }

    fn about(&self, index: usize, error: EngineError) -> EngineError {
        let subject = &self.request.plan.steps[index].subject;
        match error {
            EngineError::Start(failure) => EngineError::Start(failure),
            error => EngineError::conflict(format!("{subject}: {error}")),
        }
    }

    /// Lets containers go that were made and never started: they stay as created.
    fn let_go(&mut self) {
        self.hands.clear();
    }

    /// Begins a step if it can begin now.
    fn advance(&mut self, index: usize, tell: Tell<'_>) -> Result<Advance, EngineError> {
        let plan = self.request.plan;
        let step = &plan.steps[index];
        if self.states[index] != State::Pending {
            return Ok(Advance::Not);
        }
        if step
            .after
            .iter()
            .any(|before| self.states[*before] != State::Done)
        {
            return Ok(Advance::Not);
        }
        let starts = matches!(step.action, Action::StartContainer { .. });
        if starts && (self.flights.len() >= STARTING_MAX || self.is_being_prepared(&step.action)) {
            return Ok(Advance::Not);
        }
        let mut is_waiting = false;
        for condition in &step.conditions {
            // All are looked at: who waits is told of each.
            is_waiting |= !self.holds(condition, tell)?;
        }
        if is_waiting {
            return Ok(Advance::Waiting);
        }
        tell.hears(step, Phase::Begun);
        match self.begin(&step.action, tell)? {
            Some(flight) => {
                self.states[index] = State::Running;
                self.flights.push((index, flight));
            }
            None => {
                self.states[index] = State::Done;
                tell.hears(step, Phase::Done);
            }
        }
        Ok(Advance::Begun)
    }

    fn begin(&mut self, action: &Action, tell: Tell<'_>) -> Result<Option<Flight>, EngineError> {
        let project = self.request.project;
        match action {
            Action::CreateNetwork { key } => self.engine.create_project_network(project, key)?,
            Action::CreateVolume { key } => self.engine.create_project_volume(project, key)?,
            Action::RemoveNetwork { name } => {
                self.engine.remove_network(name)?;
            }
            Action::CreateContainer {
                service,
                number,
                replaces,
            } => {
                self.create(service, *number, replaces.as_deref())?;
            }
            Action::RenameContainer {
                service,
                number,
                id,
            } => {
                let name = names::container_name(project, service, *number);
                let id = self.id_of(service, *number, id.as_ref());
                // The lock of what was just made is ours: renaming needs it.
                if let Some(hand) = self.hands.get_mut(&(service.clone(), *number)) {
                    hand.made = None;
                    hand.waiting = None;
                }
                self.engine.rename(&id, &name)?;
            }
            Action::StartContainer {
                service,
                number,
                id,
            } => {
                let id = id.as_ref();
                return match self.begin_before(service, *number, id)? {
                    Some(flight) => Ok(Some(flight)),
                    None => self.start(service, *number, id),
                };
            }
            Action::HandOverPorts {
                service,
                number,
                id,
                from,
            } => {
                let id = self.id_of(service, *number, id.as_ref());
                self.engine.hand_over_ports(from, &id)?;
            }
            Action::StopContainer { id, service } => return self.begin_end(id, service, tell),
            Action::RemoveContainer { id } => {
                self.forget(id);
                together::remove(self.engine, self.request, id)?;
            }
        }
        Ok(None)
    }

    fn id_of(&self, service: &str, number: i64, id: Option<&String>) -> String {
        let made = self.made.get(&(service.to_owned(), number));
        id.or(made).cloned().unwrap_or_default()
    }

    fn create(
        &mut self,
        service: &str,
        number: i64,
        replaces: Option<&str>,
    ) -> Result<(), EngineError> {
        let project = self.request.project;
        let wanted = names::container(project, service, Instance::Number(number))
            .map_err(|error| EngineError::invalid(error.to_string()))?;
        let mut name = names::container_name(project, service, number);
        let mut spec = wanted.spec;
        if let Some(old) = replaces {
            spec.labels
                .insert(labels::REPLACE.to_owned(), old.to_owned());
            name = format!("{}_{name}", &old[..old.len().min(12)]);
            self.clear_name(&name)?;
            if !self.request.renew_volumes {
                self.inherit_volumes(&mut spec, old);
            }
        }
        let image = self.image(&spec.image)?;
        spec.labels
            .insert(labels::IMAGE.to_owned(), image.id.clone());
        read_seccomp(&mut spec.security_opt, &project.working_dir)?;
        let images = self.mounted_images(&spec)?;
        let id = new_id();
        let is_simple = wanted.files.is_empty()
            && self.hands.len() < IN_HAND_MAX
            && replaces.is_none()
            && !has_hooks(project, service);
        let waiting = if is_simple {
            self.engine.begin_start(&id)
        } else {
            None
        };
        let (image_id, defaults, platform) = (
            image.id.clone(),
            image.defaults.clone(),
            image.platform.clone(),
        );
        let made = self.engine.create(CreateRequest {
            id: id.clone(),
            spec,
            name: Some(name),
            image_id,
            defaults,
            platform,
            images,
        })?;
        let made = if is_simple {
            Some(made)
        } else {
            drop(made);
            self.engine.put_files(&id, &wanted.files)?;
            None
        };
        let ids = self.ids.entry(service.to_owned()).or_default();
        // What is waited for is the new one, while the old one still runs.
        ids.retain(|known| Some(known.as_str()) != replaces);
        ids.push(id.clone());
        let key = (service.to_owned(), number);
        self.made.insert(key.clone(), id.clone());
        self.hands.insert(key, Hand { id, made, waiting });
        Ok(())
    }

    /// Ids of images that a container mounts, by where.
    fn mounted_images(
        &self,
        spec: &types::container::ContainerSpec,
    ) -> Result<BTreeMap<String, String>, EngineError> {
        let mounts = spec.mounts.iter();
        mounts
            .filter(|mount| mount.kind == types::mount::MountKind::Image)
            .map(|mount| Ok((mount.target.clone(), self.image(&mount.source)?.id.clone())))
            .collect()
    }

    fn image(&self, name: &str) -> Result<&ServiceImage, EngineError> {
        let image = self.request.images.get(name);
        image.ok_or_else(|| EngineError::NoSuchImage(name.to_owned()))
    }

    /// A name that an interrupted replacement left belongs to nobody any more.
    fn clear_name(&self, name: &str) -> Result<(), EngineError> {
        match self.engine.begin_remove(name, true) {
            Ok(removal) => self.engine.finish_remove(removal.for_good()),
            Err(EngineError::NoSuchContainer(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// The anonymous volumes of the old container come with the new one.
    fn inherit_volumes(&self, spec: &mut types::container::ContainerSpec, old: &str) {
        let Ok(old) = self.engine.container(old) else {
            return;
        };
        let is_anonymous = |volume: &&storage::containers::VolumeUse| {
            let known = self.engine.store().volume(&volume.name);
            volume.anonymous || known.is_ok_and(|known| known.anonymous)
        };
        for volume in old.record.volumes.iter().filter(is_anonymous) {
            let mounts = |target: &str| target == volume.target;
            let is_taken = spec.mounts.iter().any(|mount| mounts(&mount.target))
                || spec
                    .binds
                    .iter()
                    .any(|bind| bind.split(':').nth(1).is_some_and(mounts));
            if !is_taken {
                spec.volumes.retain(|target| !mounts(target));
                let access = if volume.read_only { "ro" } else { "rw" };
                spec.binds
                    .push(format!("{}:{}:{access}", volume.name, volume.target));
            }
        }
    }

    fn start(
        &mut self,
        service: &str,
        number: i64,
        id: Option<&String>,
    ) -> Result<Option<Flight>, EngineError> {
        let key = (service.to_owned(), number);
        let starting = match (id, self.hands.remove(&key)) {
            (
                None,
                Some(Hand {
                    made: Some(made),
                    waiting,
                    ..
                }),
            ) => Some(self.engine.begin_start_made(made, waiting)?),
            (None, Some(hand)) => self.engine.begin_start_known(&hand.id)?,
            (Some(id), _) => self.engine.begin_start_known(id)?,
            (None, None) => {
                return Err(EngineError::conflict(format!(
                    "container {number} of {service} was not made"
                )));
            }
        };
        Ok(starting.map(|starting| Flight::Start(Box::new(starting))))
    }

    fn stop(&self, id: &str) -> Result<Option<Flight>, EngineError> {
        match self.engine.begin_stop(id, self.stop_words()) {
            Ok((stored, Some(connection))) => Ok(Some(Flight::Stop(Box::new(stored), connection))),
            Ok((_, None)) | Err(EngineError::NoSuchContainer(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn stop_words(&self) -> Stop {
        Stop {
            signal: None,
            timeout_s: self.request.stop_timeout_s,
        }
    }

    /// A container that goes is waited for no more.
    fn forget(&mut self, id: &str) {
        for ids in self.ids.values_mut() {
            ids.retain(|known| known != id);
        }
    }

    /// Waits until something that was begun has ended, and ends it.
    fn land(&mut self, look_again: bool, tell: Tell<'_>) -> Result<(), EngineError> {
        let timeout = look_again.then_some(Timespec {
            tv_sec: 0,
            tv_nsec: LOOK_NS,
        });
        let mut fds: Vec<PollFd<'_>> = self
            .flights
            .iter()
            .map(|(_, flight)| PollFd::from_borrowed_fd(flight.as_fd(), PollFlags::IN))
            .collect();
        let _ = poll(&mut fds, timeout.as_ref());
        let landed: Vec<bool> = fds.iter().map(|fd| !fd.revents().is_empty()).collect();
        drop(fds);
        let mut failed = None;
        let flights = std::mem::take(&mut self.flights);
        for ((index, flight), has_landed) in flights.into_iter().zip(landed) {
            if !has_landed {
                self.flights.push((index, flight));
                continue;
            }
            match self.finish(index, flight, tell) {
                Ok(Some(next)) => self.flights.push((index, next)),
                Ok(None) => {
                    self.states[index] = State::Done;
                    tell.hears(&self.request.plan.steps[index], Phase::Done);
                }
                Err(error) => {
                    failed.get_or_insert(self.about(index, error));
                }
            }
        }
        failed.map_or(Ok(()), Err)
    }

    /// Ends what was begun; returns what the same step goes on with.
    fn finish(
        &mut self,
        index: usize,
        flight: Flight,
        tell: Tell<'_>,
    ) -> Result<Option<Flight>, EngineError> {
        match flight {
            Flight::Stop(stored, connection) => {
                match self
                    .engine
                    .finish_stop(&stored, Some(connection), self.stop_words())
                {
                    Err(EngineError::NoSuchContainer(_)) => Ok(None),
                    other => other.map(|()| None),
                }
            }
            Flight::Start(starting) => {
                let id = starting.id().to_owned();
                let started = self.engine.finish_start(*starting)?;
                self.warnings.extend(started.warnings);
                tell.runs(&id);
                self.after_start(index, &id, tell)
            }
            Flight::Hooks(hooking) => self.next_hook(index, *hooking, tell),
            Flight::Before(before) => self.next_before(index, *before, tell),
        }
    }
}

/// Whether containers run before a service's own start.
fn has_hooks(project: &Project, service: &str) -> bool {
    let service = project.services.get(service);
    service.is_some_and(|service| !service.pre_start.is_empty())
}

enum Advance {
    Begun,
    Waiting,
    Not,
}

/// The largest seccomp profile looked at; Docker's own has 12 KiB.
const SECCOMP_BYTES_MAX: u64 = 1 << 20;

/// `seccomp=FILE` is read; the engine takes the content.
pub(super) fn read_seccomp(options: &mut [String], directory: &str) -> Result<(), EngineError> {
    for option in options {
        let Some(path) = option
            .strip_prefix("seccomp=")
            .or_else(|| option.strip_prefix("seccomp:"))
        else {
            continue;
        };
        if matches!(path, "unconfined" | "builtin") || path.starts_with('{') {
            continue;
        }
        let path = types::lexical_path::absolute(path, directory);
        let opening = |error: &dyn std::fmt::Display| {
            EngineError::invalid(format!("opening seccomp profile ({path}) failed: {error}"))
        };
        let content = sys::atomic::read_limited(std::path::Path::new(&path), SECCOMP_BYTES_MAX)
            .map_err(|error| opening(&error))?;
        let content = String::from_utf8(content).map_err(|_| opening(&"it is not text"))?;
        // The engine's later error would not know the file.
        runtime::seccomp::Profile::parse(&content)
            .map_err(|error| EngineError::invalid(format!("{path}: {error}")))?;
        *option = format!("seccomp={content}");
    }
    Ok(())
}
