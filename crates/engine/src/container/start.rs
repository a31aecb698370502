//! Starting: plan, monitor, the monitor's word.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use monitor::job::{Job, VolumeMount};
use monitor::protocol;
use monitor::spawn::{Rest, Waiting};
use runtime::RootSource;
use storage::containers::{ContainerRecord, StoredContainer, make_run_directory};
use sys::lock::Lock;
use types::container::Healthcheck;
use types::event::Event;
use types::state::Status;

use super::create::Made;
use super::plan::NetworkMode;
use super::remove::{FIRST_PAUSE, LAST_PAUSE};
use super::{facts, files, plan};
use crate::Engine;
use crate::error::EngineError;

const SECOND_NS: i64 = 1_000_000_000;
const STOP_TIMEOUT_S: i64 = 10;
/// So many containers in a row may have joined each other's network.
const JOINED_MAX: usize = 16;

/// What a monitor is given its container for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Beginning {
    /// This command has just made the container and still has its lock: nobody has ever mounted it.
    First,
    /// It may have run before.
    Again,
    /// It runs.
    Adoption,
}

impl Engine {
    /// Starts a container. `client` is the far end of a socket pair on which the caller has
    /// already asked to attach.
    ///
    /// # Errors
    /// Why it does not run; the container stays, as created.
    pub fn start(
        &self,
        key: &str,
        client: Option<&OwnedFd>,
    ) -> Result<protocol::Started, EngineError> {
        let (stored, _lock) = self.lock_to_start(key)?;
        match stored.state.status.is_live() {
            true => Ok(protocol::Started {
                pid: stored.state.pid,
                warnings: Vec::new(),
            }),
            false => self.spawn_monitor(&stored.record, client),
        }
    }

    /// A container that may be started, or runs already, and its lock.
    fn lock_to_start(&self, key: &str) -> Result<(StoredContainer, Lock), EngineError> {
        let id = self.container(key)?.record.id;
        let of = |error| EngineError::of_container(error, key);
        let lock = self.store().lock_container(&id).map_err(of)?;
        let mut pause = FIRST_PAUSE;
        loop {
            let is_watched = self.is_watched(&id);
            let mut stored = self.store().read_container(&id).map_err(of)?;
            if is_watched && pause == LAST_PAUSE && !stored.state.status.is_live() {
                stored = self.ask_its_monitor(stored)?;
            }
            match stored.state.status {
                Status::Paused => {
                    return Err(EngineError::conflict(
                        "cannot start a paused container, try unpause instead",
                    ));
                }
                status if status.is_live() || !is_watched => return Ok((stored, lock)),
                // Its monitor is about to end; or it starts it, for a command that was killed
                // meanwhile.
                _ => std::thread::sleep(pause),
            }
            pause = (pause * 2).min(LAST_PAUSE);
        }
    }

    /// Makes a container's monitor before the container: it starts up meanwhile. Where that fails,
    /// the start will say why.
    pub fn begin_start(&self, id: &str) -> Option<Waiting> {
        Waiting::new(id, &self.monitors_cgroup()).ok()
    }

    /// Starts a container that this command has just made, with the monitor that was begun for it.
    ///
    /// # Errors
    /// As [`Engine::start`].
    pub fn start_made(
        &self,
        made: &Made,
        waiting: Option<Waiting>,
        client: Option<&OwnedFd>,
    ) -> Result<protocol::Started, EngineError> {
        let waiting = match waiting {
            Some(waiting) => waiting,
            None => self.new_monitor(&made.record)?,
        };
        self.give_job(
            &made.record,
            made.lowers.clone(),
            waiting,
            Beginning::First,
            client,
        )
    }

    /// Makes a container's monitor and waits for its word. The container is locked by the caller.
    pub(crate) fn spawn_monitor(
        &self,
        record: &ContainerRecord,
        client: Option<&OwnedFd>,
    ) -> Result<protocol::Started, EngineError> {
        let lowers = self.container_lowers(&record.image_id)?;
        let waiting = self.new_monitor(record)?;
        self.give_job(record, lowers, waiting, Beginning::Again, client)
    }

    /// Gives a running container whose monitor was killed a new one.
    pub(crate) fn adopt(&self, record: &ContainerRecord) -> Result<protocol::Started, EngineError> {
        let lowers = self.container_lowers(&record.image_id)?;
        let waiting = self.new_monitor(record)?;
        self.give_job(record, lowers, waiting, Beginning::Adoption, None)
    }

    fn new_monitor(&self, record: &ContainerRecord) -> Result<Waiting, EngineError> {
        Ok(Waiting::new(&record.id, &self.monitors_cgroup())?)
    }

    fn monitors_cgroup(&self) -> String {
        format!("{}/monitors", self.cgroup_parent())
    }

    fn give_job(
        &self,
        record: &ContainerRecord,
        lowers: Vec<PathBuf>,
        waiting: Waiting,
        beginning: Beginning,
        client: Option<&OwnedFd>,
    ) -> Result<protocol::Started, EngineError> {
        let given = self.begin_give(record, lowers, waiting, beginning, client)?;
        self.finish_give(&record.id, &record.name, given)
    }

    /// Begins to start a container that this command has just made; the answer is awaited with
    /// [`Self::finish_start`]. Several can be begun before the first is finished.
    ///
    /// # Errors
    /// As [`Engine::start`].
    pub fn begin_start_made(
        &self,
        made: Made,
        waiting: Option<Waiting>,
    ) -> Result<Starting, EngineError> {
        let waiting = match waiting {
            Some(waiting) => waiting,
            None => self.new_monitor(&made.record)?,
        };
        let lowers = made.lowers.clone();
        let given = self.begin_give(&made.record, lowers, waiting, Beginning::First, None)?;
        let (id, name) = (made.record.id.clone(), made.record.name.clone());
        let lock = Holder::Made(Box::new(made));
        Ok(Starting {
            id,
            name,
            given,
            _lock: lock,
        })
    }

    /// Begins to start a container, as [`Self::begin_start_made`]; none where it runs already.
    ///
    /// # Errors
    /// As [`Engine::start`].
    pub fn begin_start_known(&self, key: &str) -> Result<Option<Starting>, EngineError> {
        let (stored, lock) = self.lock_to_start(key)?;
        if stored.state.status.is_live() {
            return Ok(None);
        }
        let record = stored.record;
        let lowers = self.container_lowers(&record.image_id)?;
        let waiting = self.new_monitor(&record)?;
        let given = self.begin_give(&record, lowers, waiting, Beginning::Again, None)?;
        Ok(Some(Starting {
            id: record.id,
            name: record.name,
            given,
            _lock: Holder::Lock(lock),
        }))
    }

    /// Waits for the word of a monitor whose container was begun to start.
    ///
    /// # Errors
    /// Why it does not run; the container stays, as created.
    pub fn finish_start(&self, starting: Starting) -> Result<protocol::Started, EngineError> {
        self.finish_give(&starting.id, &starting.name, starting.given)
    }

    fn begin_give(
        &self,
        record: &ContainerRecord,
        lowers: Vec<PathBuf>,
        waiting: Waiting,
        beginning: Beginning,
        client: Option<&OwnedFd>,
    ) -> Result<Given, EngineError> {
        let given = self.prepare_and_give(record, lowers, waiting, beginning, client);
        if let Err(error) = &given
            && beginning != Beginning::Adoption
        {
            self.note_failed_start(&record.id, error);
        }
        given
    }

    /// Has `inspect` tell why a start failed before there was a monitor to write it down. The container is
    /// locked by the caller, and nobody watches it.
    fn note_failed_start(&self, id: &str, error: &EngineError) {
        let Ok(mut stored) = self.store().read_container(id) else {
            return;
        };
        let state = &mut stored.state;
        state.status = match state.started_at.is_empty() {
            true => Status::Created,
            false => Status::Exited,
        };
        state.error = crate::error::chain(error);
        // As dockerd, which looks into the text for 126 and 127 only after it has called its runtime.
        state.exit_code = runtime::START_FAILED;
        // A full or read-only disk: the command says it all the same.
        let _ = self.store().write_container_state(id, state);
    }

    fn prepare_and_give(
        &self,
        record: &ContainerRecord,
        lowers: Vec<PathBuf>,
        waiting: Waiting,
        beginning: Beginning,
        client: Option<&OwnedFd>,
    ) -> Result<Given, EngineError> {
        let adopt = beginning == Beginning::Adoption;
        let run_directory = make_run_directory(self.store(), &record.id)?;
        // An ending monitor still holds its lock for a moment; the new one waits for the unmount.
        let directory = self.store().container_directory(&record.id);
        let alive = Lock::acquire_directory(&protocol::alive_lock(&directory))?.into_fd();
        sys::fail::result("engine.start.locked")?;
        if !adopt && self.monitor_socket(&record.id).exists() {
            // A monitor was killed while it started this container: no second one may run on its files.
            self.release(record);
        }
        let links = self.links(record)?;
        let mut job = self.job(record, lowers, run_directory, adopt)?;
        let mut warnings = Vec::new();
        if adopt {
            job.attachment = self.attachment(&record.id);
        } else {
            super::create::make_bind_sources(&record.spec)?;
            if let Some((attachment, told)) = self.attach(record)? {
                job.attachment = Some(attachment);
                warnings = told;
            }
            warnings.extend(oom_score_warning(record.spec.oom_score_adj));
            warnings.extend(limit_warnings(&record.spec.resources.ulimits));
            let places = self.places(&record.id);
            files::write(&job.directory, record, &job.launch, &places, &links)?;
        }
        // The root of a container that was never started is mounted while its monitor makes the rest.
        // Where that fails the start itself tries, and says why not.
        let mount = match (beginning, &job.launch.root) {
            (Beginning::First, RootSource::Layers(layers)) => {
                Some(|| runtime::mount_layers(layers).ok())
            }
            _ => None,
        };
        sys::fail::point("engine.start.prepared");
        let rest = Rest {
            network: !adopt && plan::makes_network(&record.spec),
            mount,
        };
        let channel = waiting.give(&job, &alive, client, rest);
        sys::fail::point("engine.start.given");
        drop(alive);
        match channel {
            Ok(channel) => Ok(Given {
                channel,
                attachment: job.attachment,
                adopt,
                warnings,
            }),
            Err(error) => {
                if !adopt {
                    self.detach(&record.id);
                }
                Err(error.into())
            }
        }
    }

    fn finish_give(
        &self,
        id: &str,
        name: &str,
        given: Given,
    ) -> Result<protocol::Started, EngineError> {
        match monitor::client::started(given.channel).map_err(EngineError::from) {
            Ok(mut started) => {
                started.warnings.extend(given.warnings);
                Ok(started)
            }
            Err(error) => {
                // A monitor that was killed when the container ran already leaves it to a successor, and its
                // networks with it.
                let now = self.store().read_container(id);
                let runs = now.is_ok_and(|now| now.state.status.is_live());
                if !given.adopt && !runs {
                    self.detach(id);
                }
                Err(self.with_port_holder(error, name, given.attachment.as_ref()))
            }
        }
    }

    fn job(
        &self,
        record: &ContainerRecord,
        lowers: Vec<PathBuf>,
        run_directory: PathBuf,
        adopt: bool,
    ) -> Result<Job, EngineError> {
        let spec = &record.spec;
        let mut host = facts::gather(self, record, lowers)?;
        host.joined = self.joined_pids(record)?;
        let launch = plan::plan(record, &host)?;
        let stop_signal = match spec.stop_signal.as_str() {
            "" => libc_sigterm(),
            text => types::signal::Signal::parse(text)
                .map(types::signal::Signal::number)
                .map_err(|error| EngineError::invalid(error.to_string()))?,
        };
        Ok(Job {
            id: record.id.clone(),
            attributes: event_attributes(record),
            directory: host.directory.clone(),
            run_directory,
            journal: self.journal(),
            launch,
            volumes: record.volumes.iter().map(volume_mount).collect(),
            attachment: None,
            tty: spec.tty,
            open_stdin: spec.open_stdin,
            stdin_once: spec.stdin_once,
            log: super::log_options::log_options(spec)?,
            restart: spec.restart.clone(),
            health: health_check(spec.healthcheck.as_ref()),
            stop_signal,
            stop_timeout_s: spec.stop_timeout.unwrap_or(STOP_TIMEOUT_S),
            auto_remove: spec.auto_remove,
            adopt,
            reap_arguments: self.own_arguments(&["internal", "reap"]),
        })
    }

    /// Pids of the containers whose namespaces this one joins.
    fn joined_pids(&self, record: &ContainerRecord) -> Result<plan::JoinedPids, EngineError> {
        let spec = &record.spec;
        let network = match plan::network_mode(spec) {
            NetworkMode::Container => spec
                .networks
                .first()
                .map_or("", |network| network.target.as_str()),
            _ => "",
        };
        Ok(plan::JoinedPids {
            network: self.joined_pid(network, "network")?,
            pid: self.joined_pid(&spec.pid_mode, "PID")?,
            ipc: self.joined_ipc(&spec.ipc_mode)?,
        })
    }

    /// Whose network a container is in that joined another's, which may have joined a third's.
    pub(super) fn network_owner(&self, record: &ContainerRecord) -> Option<ContainerRecord> {
        let mut owner: Option<ContainerRecord> = None;
        for _ in 0..JOINED_MAX {
            let spec = &owner.as_ref().unwrap_or(record).spec;
            if plan::network_mode(spec) != NetworkMode::Container {
                return owner;
            }
            let key = spec.networks.first()?.target.strip_prefix("container:")?;
            owner = Some(self.container(key).ok()?.record);
        }
        None
    }

    /// Only a container that says so shares its shared memory.
    fn joined_ipc(&self, mode: &str) -> Result<Option<i32>, EngineError> {
        let pid = self.joined_pid(mode, "IPC")?;
        let Some(key) = mode.strip_prefix("container:") else {
            return Ok(pid);
        };
        let other = self.container(key)?.record;
        match other.spec.ipc_mode.as_str() {
            "" | "private" | "none" => Err(EngineError::conflict(format!(
                "can't join IPC of container {}: non-shareable IPC (hint: use IpcMode:shareable for the donor container)",
                other.id
            ))),
            _ => Ok(pid),
        }
    }

    fn joined_pid(&self, mode: &str, what: &str) -> Result<Option<i32>, EngineError> {
        let Some(key) = mode.strip_prefix("container:") else {
            return Ok(None);
        };
        let other = self.container(key)?;
        if !other.state.status.is_live() || other.state.pid == 0 {
            return Err(EngineError::conflict(format!(
                "cannot join {what} namespace of a non running container: {}",
                other.record.name
            )));
        }
        Ok(Some(other.state.pid))
    }

    /// Appends an event about a container to the journal.
    pub(crate) fn announce(&self, record: &ContainerRecord, action: &str, more: &[(&str, String)]) {
        let mut attributes = event_attributes(record);
        attributes.extend(
            more.iter()
                .map(|(key, value)| ((*key).to_string(), value.clone())),
        );
        self.append_event(&Event {
            kind: "container".into(),
            action: action.into(),
            id: record.id.clone(),
            attributes,
            time_ns: sys::journal::now_ns(),
        });
    }
}

/// A container whose monitor has its job, and has not answered yet.
#[derive(Debug)]
pub struct Starting {
    id: String,
    name: String,
    given: Given,
    /// Other commands wait until it is started.
    _lock: Holder,
}

impl Starting {
    /// The container's id.
    pub fn id(&self) -> &str {
        &self.id
    }
}

impl AsFd for Starting {
    /// Readable when the monitor has answered.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.given.channel.as_fd()
    }
}

#[derive(Debug)]
#[expect(dead_code, reason = "held for its lock")]
enum Holder {
    Made(Box<Made>),
    Lock(Lock),
}

/// A job given to a monitor.
#[derive(Debug)]
struct Given {
    channel: OwnedFd,
    attachment: Option<network::attachment::Attachment>,
    adopt: bool,
    warnings: Vec<String>,
}

/// Lowering the score needs CAP_SYS_RESOURCE; the kernel is asked on ourselves, and the start goes on
/// without what it refuses, as with limits.
fn oom_score_warning(wanted: i32) -> Option<String> {
    const SCORE: &str = "/proc/self/oom_score_adj";
    // 0 is what everybody has who asks for nothing.
    if wanted == 0 {
        return None;
    }
    let own = std::fs::read_to_string(SCORE).ok()?;
    if wanted >= own.trim().parse().ok()? {
        return None;
    }
    match std::fs::write(SCORE, wanted.to_string()) {
        Ok(()) => {
            let _ = std::fs::write(SCORE, own.trim());
            None
        }
        Err(_) => Some(format!(
            "--oom-score-adj {wanted} is not in force: lowering the score needs CAP_SYS_RESOURCE"
        )),
    }
}

/// What the container gets in place of a limit that nobody here may raise so far.
fn limit_warnings(limits: &[types::container::Ulimit]) -> Vec<String> {
    let warning = |limit: &types::container::Ulimit| {
        let hard = u64::try_from(limit.hard).unwrap_or(u64::MAX);
        let own = runtime::limits::ceiling(&limit.name, hard)?;
        let name = &limit.name;
        Some(format!(
            "--ulimit {name}={}:{} is cut to {own}: more needs CAP_SYS_RESOURCE",
            limit.soft, limit.hard
        ))
    };
    limits.iter().filter_map(warning).collect()
}

fn libc_sigterm() -> i32 {
    rustix::process::Signal::TERM.as_raw()
}

fn volume_mount(volume: &storage::containers::VolumeUse) -> VolumeMount {
    VolumeMount {
        name: volume.name.clone(),
        target: volume.target.clone(),
        read_only: volume.read_only,
    }
}

fn event_attributes(record: &ContainerRecord) -> BTreeMap<String, String> {
    let mut attributes = record.spec.labels.clone();
    attributes.insert("image".into(), record.spec.image.clone());
    attributes.insert("name".into(), record.name.clone());
    attributes
}

/// Docker's defaults filled in; `None` where there is no check.
fn health_check(check: Option<&Healthcheck>) -> Option<Healthcheck> {
    let check = check.filter(|check| {
        check.test.first().is_some_and(|kind| kind != "NONE") && check.test.len() > 1
    })?;
    let or = |value: i64, default: i64| if value > 0 { value } else { default };
    Some(Healthcheck {
        test: check.test.clone(),
        interval_ns: or(check.interval_ns, 30 * SECOND_NS),
        timeout_ns: or(check.timeout_ns, 30 * SECOND_NS),
        start_period_ns: check.start_period_ns,
        start_interval_ns: or(check.start_interval_ns, 5 * SECOND_NS),
        retries: if check.retries > 0 { check.retries } else { 3 },
    })
}
