//! Creating: the image's defaults beneath the request, a name, a record.

use std::collections::BTreeMap;
use std::path::PathBuf;

use monitor::protocol::{Kind, Rename};
use storage::containers::{ContainerError, ContainerRecord, RECORD_VERSION};
use storage::trash::Fate;
use sys::atomic::Durability;
use sys::lock::Lock;
use types::container::{ContainerSpec, Healthcheck};
use types::image::ContainerDefaults;

use super::options::SecurityOptions;
use crate::Engine;
use crate::error::EngineError;

/// Attempts to find a free random name.
const NAME_ATTEMPTS_MAX: u64 = 8;
const LABELS_AND_ENV_MAX: usize = 100_000;

/// What a container is made of.
#[derive(Clone, Debug)]
pub struct CreateRequest {
    /// Its id, from [`new_id`].
    pub id: String,
    /// The request.
    pub spec: ContainerSpec,
    /// Its name; a random one else.
    pub name: Option<String>,
    /// Digest of the image's configuration.
    pub image_id: String,
    /// What containers of the image get unless the request says otherwise.
    pub defaults: ContainerDefaults,
    /// The image's platform, `linux/amd64`.
    pub platform: String,
    /// Ids of the images that it mounts, by target.
    pub images: BTreeMap<String, String>,
}

/// A container that this command has just made, and still has locked.
#[derive(Debug)]
pub struct Made {
    /// What it was made to be.
    pub record: ContainerRecord,
    /// Directories of its image, topmost first.
    pub(crate) lowers: Vec<PathBuf>,
    /// The container's lock.
    pub(crate) _lock: Lock,
}

impl Made {
    /// Lets other commands have the container.
    pub fn into_record(self) -> ContainerRecord {
        self.record
    }
}

/// A fresh container id.
pub fn new_id() -> String {
    types::id::ContainerId::from_random(&sys::host::random_bytes())
        .as_str()
        .to_string()
}

impl Engine {
    /// Makes a container.
    ///
    /// # Errors
    /// A name that is taken, a request that contradicts itself, or nothing to run.
    pub fn create(&self, request: CreateRequest) -> Result<Made, EngineError> {
        // Until the record names it, nothing else keeps the image from being collected.
        let _guard = self.store().guard_images()?;
        let lowers = self.container_lowers(&request.image_id)?;
        let mut spec = request.spec;
        merge(&mut spec, &request.defaults);
        check(&spec)?;
        self.check_networks(&spec)?;
        let args = arguments(&spec)?;
        let mut record = ContainerRecord {
            version: RECORD_VERSION,
            id: request.id,
            name: String::new(),
            created: self.now(),
            image_id: request.image_id,
            platform: request.platform,
            args,
            spec,
            volumes: Vec::new(),
            images: request.images,
        };
        for image in record.images.values() {
            self.image_lowers(image)?;
        }
        self.make_volumes(&mut record)?;
        // Not promised to outlive a power cut: nothing of it is wanted when it has ended.
        let durability = if record.spec.auto_remove {
            Durability::Volatile
        } else {
            Durability::Synced
        };
        sys::fail::point("engine.create.checked");
        let lock = match self.record_under_name(&mut record, request.name, durability) {
            Ok(lock) => lock,
            Err(error) => {
                self.drop_anonymous(&record, Fate::Erased);
                return Err(error);
            }
        };
        sys::fail::point("engine.create.recorded");
        if let Err(error) = self.fill_volumes(&record, &lowers) {
            // Nothing half-made is left: it goes as it came.
            if let Ok(removed) = self.store().take_container(&record, lock) {
                let _ = removed.erase();
            }
            self.drop_anonymous(&record, Fate::Erased);
            return Err(error);
        }
        self.announce(&record, "create", &[]);
        Ok(Made {
            record,
            lowers,
            _lock: lock,
        })
    }

    fn record_under_name(
        &self,
        record: &mut ContainerRecord,
        name: Option<String>,
        durability: Durability,
    ) -> Result<Lock, EngineError> {
        let Some(name) = name else {
            return self.create_with_random_name(record, durability);
        };
        let name = name.trim_start_matches('/');
        types::id::check_container_name(name)
            .map_err(|error| EngineError::invalid(error.to_string()))?;
        record.name = name.to_string();
        self.store().mend_name(name)?;
        let created = self.store().create_container(record, durability);
        created.map_err(|error| match error {
            ContainerError::NameTaken(id) => name_taken(name, &id),
            other => other.into(),
        })
    }

    fn create_with_random_name(
        &self,
        record: &mut ContainerRecord,
        durability: Durability,
    ) -> Result<Lock, EngineError> {
        let seed = u64::from_str_radix(&record.id[..16], 16).unwrap_or(0);
        for attempt in 0..NAME_ATTEMPTS_MAX {
            let seed = seed.wrapping_add(attempt.wrapping_mul(0x9e37_79b9_7f4a_7c15));
            record.name = match attempt {
                0..4 => types::names::generate(seed),
                _ => types::names::with_number(seed),
            };
            match self.store().create_container(record, durability) {
                Err(ContainerError::NameTaken(_)) => {}
                other => return Ok(other?),
            }
        }
        // More containers than names: the id is always free.
        record.name = record.id.chars().take(12).collect();
        Ok(self.store().create_container(record, durability)?)
    }

    /// Gives a container another name.
    ///
    /// # Errors
    /// A name that is taken or not allowed.
    pub fn rename(&self, key: &str, name: &str) -> Result<(), EngineError> {
        let stored = self.container(key)?;
        let name = name.trim_start_matches('/');
        if name.is_empty() {
            return Err(EngineError::invalid("new name cannot be empty"));
        }
        types::id::check_container_name(name)
            .map_err(|error| EngineError::invalid(error.to_string()))?;
        let (stored, connection, _lock) = self.lock_connected(&stored.record.id)?;
        let mut record = stored.record;
        if record.name == name {
            return Err(EngineError::invalid(
                "renaming a container with the same name as its current name",
            ));
        }
        sys::fail::point("engine.rename.locked");
        let old = record.name.clone();
        self.store()
            .rename_container(&mut record, name)
            .map_err(|error| match error {
                ContainerError::NameTaken(id) => {
                    let taken = name_taken(name, &id);
                    EngineError::conflict(format!("error when allocating new name: {taken}"))
                }
                other => other.into(),
            })?;
        sys::fail::point("engine.rename.done");
        self.announce(&record, "rename", &[("oldName", format!("/{old}"))]);
        // A monitor that ends right now needs no new name.
        if let Some(mut connection) = connection {
            let request = Rename { name: name.into() };
            connection.ask(Kind::Rename, &request)?;
        }
        Ok(())
    }
}

fn name_taken(name: &str, id: &str) -> EngineError {
    EngineError::conflict(format!(
        "Conflict. The container name \"/{name}\" is already in use by container \"{id}\". You have to remove (or rename) that container to be able to reuse that name."
    ))
}

/// Puts the image's defaults beneath the request, by Docker's rules.
pub fn merge(spec: &mut ContainerSpec, image: &ContainerDefaults) {
    if spec.user.is_empty() {
        spec.user.clone_from(&image.user);
    }
    merge_environment(spec, image);
    for (key, value) in &image.labels {
        spec.labels
            .entry(key.clone())
            .or_insert_with(|| value.clone());
    }
    let has_entrypoint = spec
        .entrypoint
        .as_ref()
        .is_some_and(|words| !words.is_empty());
    if !has_entrypoint {
        if spec.cmd.as_ref().is_none_or(Vec::is_empty) {
            spec.cmd.clone_from(&image.cmd);
        }
        if spec.entrypoint.is_none() {
            spec.entrypoint.clone_from(&image.entrypoint);
        }
    }
    // `--entrypoint ""` takes the image's away, its command with it.
    if spec
        .entrypoint
        .as_ref()
        .is_some_and(|words| words.len() == 1 && words[0].is_empty())
    {
        spec.entrypoint = None;
    }
    if spec.working_dir.is_empty() {
        spec.working_dir.clone_from(&image.working_dir);
    }
    if spec.stop_signal.is_empty() {
        spec.stop_signal.clone_from(&image.stop_signal);
    }
    for port in image.exposed_ports.keys() {
        if !spec.exposed_ports.contains(port) {
            spec.exposed_ports.push(port.clone());
        }
    }
    for path in image.volumes.keys() {
        if !spec.volumes.contains(path) {
            spec.volumes.push(path.clone());
        }
    }
    merge_healthcheck(spec, image);
}

fn merge_environment(spec: &mut ContainerSpec, image: &ContainerDefaults) {
    let key = |pair: &str| pair.split('=').next().unwrap_or_default().to_string();
    let given: std::collections::HashSet<String> = spec.env.iter().map(|pair| key(pair)).collect();
    let mut all: Vec<String> = image
        .env
        .iter()
        .filter(|pair| !given.contains(&key(pair)))
        .cloned()
        .collect();
    all.append(&mut spec.env);
    spec.env = all;
}

fn merge_healthcheck(spec: &mut ContainerSpec, image: &ContainerDefaults) {
    let Some(default) = &image.healthcheck else {
        return;
    };
    let default = Healthcheck {
        test: default.test.clone(),
        interval_ns: default.interval,
        timeout_ns: default.timeout,
        start_period_ns: default.start_period,
        start_interval_ns: default.start_interval,
        retries: u32::try_from(default.retries).unwrap_or(0),
    };
    let Some(given) = &mut spec.healthcheck else {
        spec.healthcheck = Some(default);
        return;
    };
    if given.test.is_empty() {
        given.test = default.test;
    }
    let or = |value: &mut i64, default: i64| {
        if *value == 0 {
            *value = default;
        }
    };
    or(&mut given.interval_ns, default.interval_ns);
    or(&mut given.timeout_ns, default.timeout_ns);
    or(&mut given.start_period_ns, default.start_period_ns);
    or(&mut given.start_interval_ns, default.start_interval_ns);
    if given.retries == 0 {
        given.retries = default.retries;
    }
}

pub(crate) fn arguments(spec: &ContainerSpec) -> Result<Vec<String>, EngineError> {
    let words = spec
        .entrypoint
        .iter()
        .flatten()
        .chain(spec.cmd.iter().flatten());
    let all: Vec<String> = words.cloned().collect();
    match all.first() {
        Some(_) => Ok(all),
        None => Err(EngineError::invalid("no command specified")),
    }
}

/// Refuses what could only fail at start, so that nothing half-made is left.
fn check(spec: &ContainerSpec) -> Result<(), EngineError> {
    check_values(spec)?;
    make_bind_sources(spec)?;
    for mount in &spec.mounts {
        check_bind_source(mount)?;
    }
    Ok(())
}

/// The same without a look at the host's files.
pub(crate) fn check_values(spec: &ContainerSpec) -> Result<(), EngineError> {
    SecurityOptions::parse(&spec.security_opt)?;
    super::log_options::log_options(spec)?;
    if !spec.working_dir.is_empty() && !spec.working_dir.starts_with('/') {
        return Err(EngineError::invalid(format!(
            "the working directory '{}' is invalid, it needs to be an absolute path",
            spec.working_dir
        )));
    }
    if !spec.stop_signal.is_empty() {
        types::signal::Signal::parse(&spec.stop_signal)
            .map_err(|error| EngineError::invalid(error.to_string()))?;
    }
    if spec.env.len() + spec.labels.len() > LABELS_AND_ENV_MAX {
        return Err(EngineError::invalid(
            "more than 100,000 variables and labels",
        ));
    }
    let variables = spec.env.iter().map(|text| ("variable", text));
    let commands = spec.entrypoint.iter().flatten();
    let words = commands.chain(spec.cmd.iter().flatten());
    let mut all = variables.chain(words.map(|text| ("word of the command", text)));
    if let Some((what, text)) = all.find(|(_, text)| text.contains('\0')) {
        let shown: String = text.chars().take(100).collect();
        return Err(EngineError::invalid(format!(
            "a NUL byte cannot be passed to a program: {what} {shown:?}"
        )));
    }
    for mount in &spec.mounts {
        if mount.kind != types::mount::MountKind::Volume {
            super::options::mount_of(mount)?;
        }
    }
    Ok(())
}

/// A bind's source that is not there and shall not be made.
pub(crate) fn check_sources(spec: &ContainerSpec) -> Result<(), EngineError> {
    let makes = |mount: &types::mount::MountSpec| {
        let bind = mount.bind.as_ref();
        bind.is_some_and(|bind| bind.create_mountpoint)
    };
    let mut mounts = spec.mounts.iter().filter(|mount| !makes(mount));
    mounts.try_for_each(check_bind_source)
}

/// Also at each start: somebody may have removed them since.
pub(crate) fn make_bind_sources(spec: &ContainerSpec) -> Result<(), EngineError> {
    spec.binds
        .iter()
        .try_for_each(|bind| make_bind_source(bind))
}

/// `-v` makes a missing directory of the host, as Docker does.
fn make_bind_source(bind: &str) -> Result<(), EngineError> {
    let source = bind.split(':').next().unwrap_or_default();
    if crate::volume::named(bind).is_none() && !std::path::Path::new(source).exists() {
        use sys::Context;
        std::fs::create_dir_all(source).on("make bind source", source)?;
    }
    Ok(())
}

fn check_bind_source(mount: &types::mount::MountSpec) -> Result<(), EngineError> {
    if mount.kind != types::mount::MountKind::Bind {
        return Ok(());
    }
    let makes = mount
        .bind
        .as_ref()
        .is_some_and(|bind| bind.create_mountpoint);
    match std::path::Path::new(&mount.source).exists() {
        true => Ok(()),
        false if makes => make_bind_source(&mount.source),
        false => Err(EngineError::invalid(format!(
            "invalid mount config for type \"bind\": bind source path does not exist: {}",
            mount.source
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image() -> ContainerDefaults {
        ContainerDefaults {
            entrypoint: Some(vec!["entry".into()]),
            cmd: Some(vec!["default".into()]),
            env: vec!["A=image".into(), "B=image".into()],
            ..ContainerDefaults::default()
        }
    }

    #[test]
    fn the_command_follows_dockers_rules() {
        let words = |list: &[&str]| Some(list.iter().map(|word| (*word).to_string()).collect());
        for (entrypoint, cmd, expected) in [
            (None, None, vec!["entry", "default"]),
            (None, words(&["mine"]), vec!["entry", "mine"]),
            (words(&["other"]), None, vec!["other"]),
            (words(&["other"]), words(&["mine"]), vec!["other", "mine"]),
            (words(&[""]), words(&["mine"]), vec!["mine"]),
        ] {
            let mut spec = ContainerSpec {
                entrypoint,
                cmd,
                ..ContainerSpec::default()
            };
            merge(&mut spec, &image());
            assert_eq!(arguments(&spec).unwrap(), expected);
        }
        let mut spec = ContainerSpec {
            entrypoint: words(&[""]),
            ..ContainerSpec::default()
        };
        merge(&mut spec, &image());
        assert!(arguments(&spec).is_err());
    }

    #[test]
    fn the_users_variables_win_over_the_images() {
        let mut spec = ContainerSpec {
            env: vec!["A=user".into()],
            ..ContainerSpec::default()
        };
        merge(&mut spec, &image());
        assert_eq!(spec.env, ["B=image", "A=user"]);
    }
}
