//! Runs a program on a stage's root. What it changed is the layer.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use build::graph::{Network, Run, Security};
use monitor::job::{Job, LogOptions};
use monitor::step::Runner;
use runtime::spec::Mount;
use runtime::{Layers, RootSource};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use storage::containers::ContainerRecord;
use sys::Context;
use types::container::{ContainerSpec, DeviceRequest, NetworkAttachment};

use super::layer::Stack;
use super::worker::BuildWorker;
use super::{BuildEvent, Stream};
use crate::container::{facts, files, plan};
use crate::error::EngineError;

const DEFAULT_PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// BuildKit's: programs of a build see the same name everywhere.
const HOSTNAME: &str = "buildkitsandbox";
const READ_BYTES: usize = 64 << 10;

/// A process that runs programs, with its place in the network once it has one.
pub(crate) struct Pooled {
    pub(crate) runner: Runner,
    /// Its name among control groups and networks.
    pub(crate) id: String,
    pub(crate) attachment: Option<network::attachment::Attachment>,
    /// How many programs it has run.
    pub(crate) count: usize,
}

/// A mount, and the layers that it shows: where those are is known when it is mounted.
pub(crate) struct RunMount {
    pub(crate) mount: Mount,
    pub(crate) layers: Option<Stack>,
}

impl From<Mount> for RunMount {
    fn from(mount: Mount) -> Self {
        Self {
            mount,
            layers: None,
        }
    }
}

/// What a program needs that is not of its definition.
pub(crate) struct Prepared {
    /// Where its files are.
    pub(crate) directory: PathBuf,
    pub(crate) upper: PathBuf,
    pub(crate) work: PathBuf,
    pub(crate) root: Stack,
    pub(crate) mounts: Vec<RunMount>,
    /// Variables with secrets and the like.
    pub(crate) env: Vec<String>,
}

impl BuildWorker<'_> {
    /// Runs a program; returns its exit code.
    pub(crate) fn program(
        &self,
        number: usize,
        run: &Run,
        prepared: &Prepared,
    ) -> Result<i32, EngineError> {
        let mut pooled = self.take_runner()?;
        let answer = self.program_in(&mut pooled, number, run, prepared);
        if answer.is_ok() {
            self.give_back(pooled);
        } else {
            self.end_runner(pooled);
        }
        answer
    }

    fn program_in(
        &self,
        pooled: &mut Pooled,
        number: usize,
        run: &Run,
        prepared: &Prepared,
    ) -> Result<i32, EngineError> {
        pooled.count += 1;
        let mut record = record(run, &format!("{}-{}", pooled.id, pooled.count));
        record.spec.resources.device_requests = self.devices(run)?;
        if run.network == Network::Default && pooled.attachment.is_none() {
            let mut owner = record.clone();
            owner.id.clone_from(&pooled.id);
            owner.name.clone_from(&pooled.id);
            let directory = self.engine.attachment_directory(&pooled.id);
            std::fs::create_dir_all(&directory).on("create", directory.display())?;
            if let Some((attachment, warnings)) = self.engine.attach(&owner)? {
                pooled.attachment = Some(attachment);
                for warning in warnings {
                    self.observer.event(BuildEvent::Warning(warning));
                }
            }
        }
        let (output, output_end) = pipe()?;
        let (error, error_end) = pipe()?;
        let observer = self.observer;
        std::thread::scope(|scope| {
            let pump = scope.spawn(move || {
                pump(&output, &error, &mut |stream, bytes| {
                    observer.event(BuildEvent::Output {
                        step: number,
                        stream,
                        bytes,
                    });
                });
            });
            let handle = pooled.runner.handle();
            let code = match handle {
                Ok(handle) => {
                    self.running(number, Some(handle));
                    let code =
                        self.started(pooled, &record, run, prepared, [output_end, error_end]);
                    self.running(number, None);
                    code
                }
                Err(error) => {
                    drop((output_end, error_end));
                    Err(error.into())
                }
            };
            let _ = pump.join();
            code
        })
    }

    /// `RUN --device`. One that is not required is left out where this machine does not have it.
    ///
    /// The Dockerfile may come from anybody: what it gets is what `--allow device` or the
    /// administrator's description says.
    fn devices(&self, run: &Run) -> Result<Vec<DeviceRequest>, EngineError> {
        let directories = self.engine.config().cdi_spec_dirs.as_deref();
        let mut requests = Vec::new();
        for device in &run.devices {
            let request = DeviceRequest {
                driver: "cdi".to_owned(),
                device_ids: vec![device.name.clone()],
                ..DeviceRequest::default()
            };
            let found = crate::cdi::resolve(std::slice::from_ref(&request), directories);
            if let Err(error) = found {
                if device.is_required {
                    return Err(error);
                }
                continue;
            }
            let is_open = || crate::cdi::is_open_to_builds(&device.name, directories);
            if !self.inputs.devices.allows(&device.name) && !is_open() {
                let name = &device.name;
                return Err(EngineError::invalid(format!(
                    "device {name} is not allowed: whoever starts the build says so with --allow device={name}"
                )));
            }
            requests.push(request);
        }
        Ok(requests)
    }

    fn started(
        &self,
        pooled: &mut Pooled,
        record: &ContainerRecord,
        run: &Run,
        prepared: &Prepared,
        streams: [OwnedFd; 2],
    ) -> Result<i32, EngineError> {
        let places = self.finisher.hold_places();
        let job = self.job(pooled, record, run, prepared)?;
        Ok(pooled.runner.run(&job, streams, || drop(places))?)
    }

    fn job(
        &self,
        pooled: &Pooled,
        record: &ContainerRecord,
        run: &Run,
        prepared: &Prepared,
    ) -> Result<Job, EngineError> {
        let lowers = prepared.root.lowers();
        let mut host = facts::gather(self.engine, record, lowers.clone())?;
        host.directory.clone_from(&prepared.directory);
        let mut launch = plan::plan(record, &host)?;
        let mut env = run.env.clone();
        env.extend(run.uncounted_env.iter().cloned());
        env.extend(prepared.env.iter().cloned());
        env.extend(host.edits.env.iter().cloned());
        if !env.iter().any(|pair| pair.starts_with("PATH=")) {
            env.insert(0, DEFAULT_PATH.to_owned());
        }
        launch.spec.process.env = env;
        launch.root = RootSource::Layers(Layers {
            lowers,
            upper: prepared.upper.clone(),
            work: prepared.work.clone(),
            // What is unmounted is synced with all the others, before it gets a name.
            volatile: true,
        });
        for one in &prepared.mounts {
            let mut mount = one.mount.clone();
            if let Some(stack) = &one.layers {
                mount.layers = self.readable_lowers(stack)?;
            }
            launch.spec.mounts.push(mount);
        }
        let attachment = match run.network {
            Network::Default => pooled.attachment.clone(),
            Network::None | Network::Host => None,
        };
        let places = self.engine.places(&pooled.id);
        files::write(&prepared.directory, record, &launch, &places, &[])?;
        fix_hosts(&prepared.directory, &launch.spec.hostname)?;
        Ok(Job {
            id: record.id.clone(),
            attributes: BTreeMap::from([("name".to_owned(), pooled.id.clone())]),
            directory: self.engine.attachment_directory(&pooled.id),
            run_directory: prepared.directory.clone(),
            journal: PathBuf::new(),
            volumes: Vec::new(),
            launch,
            attachment,
            tty: false,
            open_stdin: false,
            stdin_once: false,
            log: LogOptions::default(),
            restart: types::container::RestartPolicy::default(),
            health: None,
            stop_signal: 0,
            stop_timeout_s: 0,
            auto_remove: true,
            adopt: false,
            reap_arguments: Vec::new(),
        })
    }
}

/// The address that the program has today is no part of a build: its name means itself.
fn fix_hosts(directory: &Path, hostname: &str) -> Result<(), EngineError> {
    let path = directory.join("hosts");
    let text = std::fs::read_to_string(&path).on("read", path.display())?;
    let own = format!("\t{hostname}");
    let mut fixed: String = text
        .lines()
        .filter(|line| !line.ends_with(&own))
        .map(|line| format!("{line}\n"))
        .collect();
    fixed.push_str(&format!("127.0.0.1\t{hostname}\n"));
    Ok(std::fs::write(&path, fixed).on("write", path.display())?)
}

/// The record that a container of this program would have.
fn record(run: &Run, id: &str) -> ContainerRecord {
    let target = match run.network {
        Network::Default => "",
        Network::None => "none",
        Network::Host => "host",
    };
    let hostname = match run.hostname.as_str() {
        "" => HOSTNAME,
        given => given,
    };
    let surroundings = &run.surroundings;
    let spec = ContainerSpec {
        hostname: hostname.to_owned(),
        user: run.user.clone(),
        working_dir: run.cwd.clone(),
        privileged: run.security == Security::Insecure,
        auto_remove: true,
        networks: vec![NetworkAttachment {
            target: target.to_owned(),
            ..NetworkAttachment::default()
        }],
        extra_hosts: surroundings
            .hosts
            .iter()
            .map(|(name, address)| format!("{name}:{address}"))
            .collect(),
        shm_size_bytes: i64::try_from(surroundings.shm_bytes).unwrap_or(i64::MAX),
        cgroup_parent: surroundings.cgroup_parent.clone(),
        security_opt: surroundings.security_options.clone(),
        resources: surroundings.resources.clone(),
        ..ContainerSpec::default()
    };
    ContainerRecord {
        id: id.to_owned(),
        name: id.to_owned(),
        args: run.args.clone(),
        spec,
        ..ContainerRecord::default()
    }
}

fn pipe() -> Result<(OwnedFd, OwnedFd), EngineError> {
    Ok(rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).on("make", "pipe")?)
}

/// Passes on what arrives until both pipes have ended.
fn pump(output: &OwnedFd, error: &OwnedFd, tell: &mut dyn FnMut(Stream, &[u8])) {
    let mut buffer = vec![0_u8; READ_BYTES];
    let mut open = vec![(Stream::Output, output), (Stream::Error, error)];
    while !open.is_empty() {
        let mut fds: Vec<PollFd<'_>> = open
            .iter()
            .map(|(_, fd)| PollFd::from_borrowed_fd(fd.as_fd(), PollFlags::IN))
            .collect();
        if poll(&mut fds, None).is_err() {
            continue;
        }
        let ready: Vec<bool> = fds.iter().map(|fd| !fd.revents().is_empty()).collect();
        drop(fds);
        let mut ended = Vec::new();
        for ((stream, fd), _) in open.iter().zip(&ready).filter(|(_, ready)| **ready) {
            match rustix::io::read(fd, &mut buffer[..]) {
                Ok(count @ 1..) => tell(*stream, &buffer[..count]),
                Err(Errno::INTR) => {}
                _ => ended.push(*stream),
            }
        }
        open.retain(|(stream, _)| !ended.contains(stream));
    }
}

/// Where a program finds what is mounted for every container.
pub(crate) const OWN_MOUNT_POINTS: [&str; 6] = [
    "/dev",
    "/proc",
    "/sys",
    "/etc/hosts",
    "/etc/hostname",
    "/etc/resolv.conf",
];

/// A directory bound into the root.
pub(crate) fn bind(source: &Path, target: &str, is_read_only: bool) -> Mount {
    let options: &[&str] = match is_read_only {
        true => &["rbind", "rro", "rprivate"],
        false => &["rbind", "rprivate"],
    };
    Mount {
        destination: target.to_owned(),
        kind: "bind".to_owned(),
        source: source.display().to_string(),
        options: options.iter().map(|option| (*option).to_owned()).collect(),
        ..Mount::default()
    }
}
