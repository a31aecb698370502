//! Volumes: those that containers ask for, and the verbs on them.

pub(crate) mod local;

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::AsFd;
use std::path::Path;

use storage::containers::{ContainerRecord, StoredContainer, VolumeUse};
use storage::trash::Fate;
use storage::volumes::{RECORD_VERSION, VolumeError, VolumeRecord};
use types::container::ContainerSpec;
use types::event::Event;
use types::mount::{MountKind, VolumeOptions};
use types::volume_flag::VolumeFlag;

use crate::Engine;
use crate::error::{EngineError, text};

/// Docker's label of volumes that nobody named.
const ANONYMOUS_LABEL: &str = "com.docker.volume.anonymous";

/// What Docker shows for volumes that were asked for without a mode.
const MODE_DEFAULT: &str = "z";

/// What a volume shall be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VolumeRequest {
    /// Its name; empty makes an anonymous one.
    pub name: String,
    /// `local`, or empty.
    pub driver: String,
    /// `--opt`.
    pub options: BTreeMap<String, String>,
    /// `--label`.
    pub labels: BTreeMap<String, String>,
}

impl Engine {
    /// Makes a volume, unless there is one of that name.
    ///
    /// # Errors
    /// A name that is none, a driver or an option that is not there.
    pub fn create_volume(&self, request: VolumeRequest) -> Result<VolumeRecord, EngineError> {
        self.check_volume_request(&request)?;
        let record = self.new_record(request);
        if self.store().create_volume(&record)? {
            self.announce_volume(&record.name, "create");
        }
        Ok(self.store().volume(&record.name)?)
    }

    /// Checks what is asked of a volume, and makes nothing.
    pub(crate) fn check_volume_request(&self, request: &VolumeRequest) -> Result<(), EngineError> {
        if !request.name.is_empty() {
            storage::volumes::check(&request.name)?;
        }
        if !matches!(request.driver.as_str(), "" | "local") {
            return Err(EngineError::invalid(format!(
                "create {}: error looking up volume plugin {}: plugin \"{}\" not found; Caisson has local",
                request.name, request.driver, request.driver
            )));
        }
        local::check(&request.options)
            .map_err(|error| EngineError::invalid(format!("create {}: {error}", request.name)))
    }

    fn new_record(&self, request: VolumeRequest) -> VolumeRecord {
        let is_anonymous = request.name.is_empty();
        let mut record = VolumeRecord {
            version: RECORD_VERSION,
            name: request.name,
            created: self.now(),
            anonymous: is_anonymous,
            labels: request.labels,
            options: request.options,
        };
        if is_anonymous {
            record.name = crate::container::create::new_id();
            record.labels.insert(ANONYMOUS_LABEL.into(), String::new());
        }
        record
    }

    /// Works out a new container's volumes and makes those that are missing. Those that it takes
    /// from others become its own.
    pub(crate) fn make_volumes(&self, record: &mut ContainerRecord) -> Result<(), EngineError> {
        let mut uses = named_volumes(&record.spec);
        let mut wanted: BTreeMap<String, VolumeOptions> = BTreeMap::new();
        let mounts = record.spec.mounts.iter();
        for mount in mounts.filter(|mount| mount.kind == MountKind::Volume) {
            let options = mount.volume.clone().unwrap_or_default();
            uses.push(VolumeUse {
                name: mount.source.clone(),
                target: mount.target.clone(),
                mode: MODE_DEFAULT.to_owned(),
                read_only: mount.read_only,
                no_copy: options.no_copy,
                subpath: options.subpath.clone(),
                anonymous: mount.source.is_empty(),
            });
            wanted.insert(mount.target.clone(), options);
        }
        self.take_from_others(record, &mut uses)?;
        let mut taken: BTreeSet<String> = uses.iter().map(|one| one.target.clone()).collect();
        taken.extend(other_targets(record));
        for target in record.spec.volumes.clone() {
            let target = types::lexical_path::clean(&target);
            if target == "/" {
                return Err(EngineError::invalid(
                    "the image wants a volume on '/': destination can't be '/'",
                ));
            }
            if taken.insert(target.clone()) {
                uses.push(VolumeUse {
                    target,
                    anonymous: true,
                    ..VolumeUse::default()
                });
            }
        }
        for one in &mut uses {
            if one.name.is_empty() || self.store().volume(&one.name).is_err() {
                let options = wanted.remove(&one.target).unwrap_or_default();
                let made = self.create_volume(VolumeRequest {
                    name: one.name.clone(),
                    driver: options.driver,
                    options: options.driver_options,
                    labels: options.labels,
                })?;
                one.name = made.name;
            }
        }
        record.volumes = uses;
        Ok(())
    }

    /// `--volumes-from`: what is mounted elsewhere already stays as it is.
    fn take_from_others(
        &self,
        record: &mut ContainerRecord,
        uses: &mut Vec<VolumeUse>,
    ) -> Result<(), EngineError> {
        for text in record.spec.volumes_from.clone() {
            let (key, mode) = text.split_once(':').unwrap_or((&text, "rw"));
            if text.is_empty() {
                return Err(EngineError::invalid(
                    "volumes-from specification cannot be an empty string",
                ));
            }
            if !matches!(mode, "ro" | "rw" | "z" | "Z") {
                return Err(EngineError::invalid(format!(
                    "invalid mode: {mode} (--volumes-from {text}): ro and rw are possible"
                )));
            }
            let other = self.container(key)?.record;
            let mut taken: BTreeSet<String> = uses.iter().map(|one| one.target.clone()).collect();
            taken.extend(other_targets(record));
            for one in other.volumes {
                if taken.insert(one.target.clone()) {
                    uses.push(VolumeUse {
                        read_only: one.read_only || mode == "ro",
                        no_copy: true,
                        // It goes with the container that it was made for.
                        anonymous: false,
                        ..one
                    });
                }
            }
            for bind in other.spec.binds.iter().filter(|text| named(text).is_none()) {
                let target = bind.split(':').nth(1).unwrap_or_default();
                if taken.insert(target.to_owned()) {
                    let source = bind.split(':').next().unwrap_or_default();
                    let mode = if mode == "ro" {
                        "ro"
                    } else {
                        bind.split(':').nth(2).unwrap_or("rw")
                    };
                    record.spec.binds.push(format!("{source}:{target}:{mode}"));
                }
            }
            for mount in other
                .spec
                .mounts
                .iter()
                .filter(|mount| mount.kind == MountKind::Bind)
            {
                if taken.insert(mount.target.clone()) {
                    let mut mount = mount.clone();
                    mount.read_only |= mode == "ro";
                    record.spec.mounts.push(mount);
                }
            }
        }
        Ok(())
    }

    /// Copies what the image has where a new volume goes. The container was just made, and is
    /// locked.
    pub(crate) fn fill_volumes(
        &self,
        record: &ContainerRecord,
        lowers: &[std::path::PathBuf],
    ) -> Result<(), EngineError> {
        let empty = |one: &&VolumeUse| {
            let data = self.store().volume_data(&one.name);
            let is_own = self.store().volume(&one.name);
            !one.no_copy
                && one.subpath.is_empty()
                && is_own.is_ok_and(|volume| volume.options.is_empty())
                && std::fs::read_dir(data).is_ok_and(|mut entries| entries.next().is_none())
        };
        let wanting: Vec<&VolumeUse> = record.volumes.iter().filter(empty).collect();
        if wanting.is_empty() {
            return Ok(());
        }
        let directory = self.store().container_directory(&record.id);
        let tree = runtime::mount_layers(&runtime::Layers {
            lowers: lowers.to_vec(),
            upper: directory.join("upper"),
            work: directory.join("work"),
            volatile: false,
        })?;
        let root = sys::rootfs::Dir::from_fd(tree);
        for one in wanting {
            // Nothing there, or a file: the volume stays empty.
            let Ok(from) = root.open_dir(Path::new(&one.target)) else {
                continue;
            };
            let lock = self.store().lock_volume(&one.name)?;
            self.store().fill_volume(&one.name, from.as_fd(), &lock)?;
        }
        Ok(())
    }

    /// Removes a container's anonymous volumes that no other container has; it is gone already.
    pub(crate) fn drop_anonymous(&self, record: &ContainerRecord, fate: Fate) {
        for one in record.volumes.iter().filter(|one| one.anonymous) {
            if self
                .volume_users(&one.name)
                .is_ok_and(|users| users.is_empty())
            {
                let _ = self.remove_volume_now(&one.name, fate);
            }
        }
    }

    /// Ids of the containers that have a volume.
    ///
    /// # Errors
    /// Where not all containers can be read.
    pub fn volume_users(&self, name: &str) -> Result<Vec<ContainerRecord>, EngineError> {
        Ok(users_among(self.every_container()?, name).collect())
    }

    fn remove_volume_now(&self, name: &str, fate: Fate) -> Result<(), EngineError> {
        let lock = self.store().lock_volume(name)?;
        self.store().remove_volume(name, &lock, fate)?;
        self.announce_volume(name, "destroy");
        Ok(())
    }

    /// Removes a volume that no container has.
    ///
    /// # Errors
    /// Docker's words where it is in use, with who has it.
    pub fn remove_volume(&self, name: &str) -> Result<(), EngineError> {
        self.remove_volume_to(name, Fate::Kept)
    }

    /// The same for one whose record is damaged.
    ///
    /// # Errors
    /// As [`Self::remove_volume`].
    pub fn remove_damaged_volume(&self, name: &str) -> Result<(), EngineError> {
        self.require_unused(name, "remove")?;
        self.remove_volume_now(name, Fate::Erased)
    }

    /// The same; what `fate` says becomes of it.
    pub(crate) fn remove_volume_to(&self, name: &str, fate: Fate) -> Result<(), EngineError> {
        self.store().volume(name)?;
        self.require_unused(name, "remove")?;
        self.remove_volume_now(name, fate)
    }

    fn require_unused(&self, name: &str, verb: &str) -> Result<(), EngineError> {
        let users = self.volume_users(name)?;
        if users.is_empty() {
            return Ok(());
        }
        let ids: Vec<&str> = users.iter().map(|user| user.id.as_str()).collect();
        let names: Vec<&str> = users.iter().map(|user| user.name.as_str()).collect();
        Err(EngineError::conflict(format!(
            "{verb} {name}: volume is in use - [{}] (container {})",
            ids.join(", "),
            names.join(", ")
        )))
    }

    /// What a volume with options mounts is not ours to copy.
    fn require_own_data(&self, name: &str, verb: &str) -> Result<(), EngineError> {
        match self.store().volume(name)?.options.get("device") {
            None => Ok(()),
            Some(device) => Err(EngineError::conflict(format!(
                "{verb} {name}: the volume is a mount of {device}, whose data is not in the store"
            ))),
        }
    }

    /// Copies a volume's data under a tag; the time where none is given. Containers may run on it:
    /// what they wrote is copied as a power cut would leave it.
    ///
    /// # Errors
    /// A tag that is taken or none.
    pub fn snapshot_volume(&self, name: &str, tag: Option<&str>) -> Result<String, EngineError> {
        let lock = self.store().lock_volume(name)?;
        self.require_own_data(name, "snapshot")?;
        let tag = match tag {
            Some(tag) => tag.to_owned(),
            None => self
                .now()
                .chars()
                .take(19)
                .filter(char::is_ascii_digit)
                .collect(),
        };
        // One whose record is damaged cannot be held; all others are.
        let users = users_among(self.containers()?, name);
        let held: Vec<_> = users.filter_map(|user| self.hold(&user.id).ok()).collect();
        // Nobody writes meanwhile: all files are of one moment.
        let copied = self.store().snapshot_volume(name, &tag, &lock);
        drop(held);
        copied?;
        self.announce_volume(name, "snapshot");
        Ok(tag)
    }

    /// Removes a snapshot.
    ///
    /// # Errors
    /// No such snapshot.
    pub fn remove_snapshot(&self, name: &str, tag: &str) -> Result<(), EngineError> {
        let lock = self.store().lock_volume(name)?;
        Ok(self.store().remove_snapshot(name, tag, &lock)?)
    }

    /// Makes a volume from a tar, which may be compressed.
    ///
    /// # Errors
    /// A name that is taken or none, an archive that is damaged or hostile.
    pub fn import_volume(
        &self,
        name: &str,
        source: impl std::io::Read + Send,
    ) -> Result<(), EngineError> {
        let record = self.new_record(VolumeRequest {
            name: name.to_owned(),
            ..VolumeRequest::default()
        });
        self.store().import_volume(&record, source)?;
        self.announce_volume(name, "create");
        Ok(())
    }

    /// Makes a volume's data what it was at a snapshot.
    ///
    /// # Errors
    /// No such snapshot, or a container that runs on it, by name.
    pub fn restore_volume(&self, name: &str, tag: &str) -> Result<(), EngineError> {
        let lock = self.store().lock_volume(name)?;
        self.require_own_data(name, "restore")?;
        for user in self.volume_users(name)? {
            if self
                .container(&user.id)
                .is_ok_and(|stored| stored.state.status.is_live())
            {
                return Err(EngineError::conflict(format!(
                    "restore {name}: container {} runs on it; stop it first",
                    user.name
                )));
            }
        }
        self.store().restore_volume(name, tag, &lock)?;
        self.announce_volume(name, "restore");
        Ok(())
    }

    /// Makes a new volume with the data of another.
    ///
    /// # Errors
    /// A name that is taken or none.
    pub fn clone_volume(&self, name: &str, new: &str) -> Result<(), EngineError> {
        let lock = self.store().lock_volume(name)?;
        self.require_own_data(name, "clone")?;
        let mut record = self.store().volume(name)?;
        new.clone_into(&mut record.name);
        record.created = self.now();
        record.anonymous = false;
        record.labels.remove(ANONYMOUS_LABEL);
        self.store().clone_volume(name, &record, &lock)?;
        self.announce_volume(new, "create");
        Ok(())
    }

    /// Gives a volume another name.
    ///
    /// # Errors
    /// A name that is taken or none, a volume in use.
    pub fn rename_volume(&self, name: &str, new: &str) -> Result<(), EngineError> {
        let lock = self.store().lock_volume(name)?;
        self.require_unused(name, "rename")?;
        self.store().rename_volume(name, new, &lock)?;
        self.announce_volume(new, "rename");
        Ok(())
    }

    /// Bytes of a volume's files.
    pub fn volume_size(&self, name: &str) -> u64 {
        storage::trash::tree_bytes(&self.store().volume_data(name))
    }

    /// Writes a volume's data as a tar.
    ///
    /// # Errors
    /// Where it cannot be read or written.
    pub fn export_volume(
        &self,
        name: &str,
        sink: &mut dyn std::io::Write,
    ) -> Result<(), EngineError> {
        self.require_own_data(name, "export")?;
        let data = sys::atomic::open_directory(&self.store().volume_data(name))?;
        let options = storage::layer::pack::PackOptions {
            mode: storage::layer::pack::PackMode::Plain,
            // The root has an owner and a mode as well.
            include_root: true,
            ..Default::default()
        };
        storage::layer::pack::pack_tree(data.as_fd(), b"", sink, &options)
            .map_err(|error| text("export", &error))?;
        Ok(())
    }

    /// Appends an event about a volume to the journal.
    pub(crate) fn announce_volume(&self, name: &str, action: &str) {
        self.append_event(&Event {
            kind: "volume".into(),
            action: action.into(),
            id: name.to_owned(),
            attributes: BTreeMap::from([("driver".to_string(), "local".to_string())]),
            time_ns: sys::journal::now_ns(),
        });
    }
}

/// `-v` with a volume's name.
pub(crate) fn named(text: &str) -> Option<VolumeFlag> {
    let flag = VolumeFlag::parse(text).ok()?;
    (flag.kind == MountKind::Volume && !flag.source.is_empty()).then_some(flag)
}

/// Volumes of `-v`.
fn named_volumes(spec: &ContainerSpec) -> Vec<VolumeUse> {
    let flags = spec.binds.iter().filter_map(|text| named(text));
    let volume = |flag: VolumeFlag| VolumeUse {
        read_only: flag.mode.read_only,
        no_copy: flag.mode.no_copy,
        mode: match flag.mode_text.as_str() {
            "" => MODE_DEFAULT.to_owned(),
            _ => flag.mode_text,
        },
        name: flag.source,
        target: flag.target,
        ..VolumeUse::default()
    };
    flags.map(volume).collect()
}

/// Where a container mounts other things than volumes.
fn other_targets(record: &ContainerRecord) -> Vec<String> {
    let spec = &record.spec;
    let binds = spec.binds.iter().filter_map(|text| text.split(':').nth(1));
    let mounts = spec.mounts.iter().map(|mount| mount.target.as_str());
    let tmpfs = spec.tmpfs.keys().map(String::as_str);
    let all = binds.chain(mounts).chain(tmpfs);
    all.map(types::lexical_path::clean).collect()
}

impl From<VolumeError> for EngineError {
    fn from(error: VolumeError) -> Self {
        Self::Volume(error)
    }
}

/// Those of some containers that have a volume.
fn users_among(
    containers: Vec<StoredContainer>,
    name: &str,
) -> impl Iterator<Item = ContainerRecord> {
    let has = move |record: &ContainerRecord| record.volumes.iter().any(|one| one.name == name);
    let records = containers.into_iter().map(|stored| stored.record);
    records.filter(has)
}
