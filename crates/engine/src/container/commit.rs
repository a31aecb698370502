//! `commit`: what a container changed becomes one more layer.

use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rustix::fs::{AtFlags, FileType};
use storage::containers::{ContainerRecord, StoredContainer};
use storage::layer::pack::{PackError, pack_tree};
use storage::lease::Lease;
use sys::Context;
use sys::rootfs::Dir;
use types::digest::{Algorithm, Digest};
use types::image::{ContainerDefaults, HistoryEntry, ImageConfig, ImageHealthcheck};
use types::reference::Reference;
use types::state::Status;
use types::timestamp::Timestamp;

use super::filesystem::mount_points;
use crate::Engine;
use crate::error::{EngineError, text};
use crate::image::import::{adopt_tree, name, record};
use crate::image::ingest::unpack_archive;
use crate::image::save::pack_options;
use crate::image::{ImageError, changes};

/// What the image shall be.
#[derive(Clone, Debug, Default)]
pub struct CommitOptions {
    /// Its name; without a tag that is `latest`.
    pub reference: Option<Reference>,
    /// `--change`, an instruction each.
    pub changes: Vec<String>,
    /// `--author`.
    pub author: String,
    /// `--message`.
    pub message: String,
    /// Whether its processes stand still meanwhile.
    pub pauses: bool,
}

impl Engine {
    /// Makes an image of a container's image and what the container changed; returns its id.
    ///
    /// # Errors
    /// No such container, an instruction that is none, or the disk's answer.
    pub fn commit(&self, key: &str, options: &CommitOptions) -> Result<Digest, EngineError> {
        if let Some(reference) = &options.reference
            && reference.digest().is_some()
        {
            return Err(ImageError::TagWithDigest.into());
        }
        let stored = self.container(key)?;
        let mut defaults = defaults(self, &stored.record)?;
        changes::apply(&mut defaults, &options.changes).map_err(ImageError::from)?;
        let lease = self.store().lease()?;
        let held = match options.pauses && stored.state.status == Status::Running {
            true => Some(self.hold(&stored.record.id)?),
            false => None,
        };
        let layer = self.layer_of(&lease, &stored);
        drop(held);
        let layer = layer?;
        sys::fail::point("engine.commit.layer");
        let id = self.committed(&lease, &stored.record, layer, defaults, options)?;
        sys::fail::point("engine.commit.recorded");
        name(self.store(), &id, options.reference.as_ref())?;
        let mut attributes = vec![
            ("imageID", id.to_string()),
            ("comment", options.message.clone()),
        ];
        if let Some(reference) = &options.reference {
            let name = reference.clone().with_default_tag().familiar();
            self.images().announce("tag", &id, &name);
            attributes.push(("imageRef", name));
        }
        self.announce(&stored.record, "commit", &attributes);
        Ok(id)
    }

    /// The container's writable layer, as a layer of the store. What it stands on is not copied.
    fn layer_of(&self, lease: &Lease, stored: &StoredContainer) -> Result<Digest, EngineError> {
        let id = &stored.record.id;
        // One that does not run must not be started meanwhile.
        let _lock = match stored.state.status.is_live() {
            true => None,
            false => Some(self.store().lock_container(id)?),
        };
        let upper = self.store().container_directory(id).join("upper");
        let upper = Dir::open(&upper).map_err(|error| text("read files", &error))?;
        let upper = upper
            .open_dir(Path::new("/"))
            .map_err(|error| text("read files", &error))?;
        let path = lease.temporary().path().join("commit");
        std::fs::create_dir(&path).on("create", path.display())?;
        let mode = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(&path, mode).on("set the mode of", path.display())?;
        let root = Dir::open(&path).map_err(sys::SysError::from)?;
        let (reader, writer) =
            rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).on("make", "pipe")?;
        let (reader, writer) = (File::from(reader), File::from(writer));
        let bytes = std::thread::scope(|scope| {
            let packing = scope.spawn(|| -> Result<(), PackError> {
                let writer = std::io::BufWriter::with_capacity(1 << 20, writer);
                pack_tree(upper.as_fd(), b"", writer, &pack_options()).map(drop)
            });
            let unpacked = unpack_archive(reader, &root, Algorithm::Sha256, "of the container");
            let packed = packing.join().expect("invariant: packing does not panic");
            packed.map_err(|error| text("read the container's files", &error))?;
            Ok::<_, EngineError>(unpacked?.0.bytes)
        })?;
        remove_mount_points(&root, &stored.record);
        Ok(adopt_tree(lease, &path, bytes)?)
    }

    fn committed(
        &self,
        lease: &Lease,
        container: &ContainerRecord,
        layer: Digest,
        defaults: ContainerDefaults,
        options: &CommitOptions,
    ) -> Result<Digest, EngineError> {
        let base = self.image_of(container)?;
        let parsed = |bytes: &[u8]| {
            ImageConfig::parse(bytes).map_err(|error| text("read the image", &error))
        };
        let mut config = parsed(&self.store().image_config(&base.id)?)?;
        let created = Timestamp::now().rfc3339();
        let command = container.spec.cmd.clone().unwrap_or_default();
        config.created = Some(created.clone());
        config.author.clone_from(&options.author);
        config.config = defaults;
        config.rootfs.diff_ids.push(layer.clone());
        config.history.push(HistoryEntry {
            created: Some(created),
            created_by: command.join(" "),
            author: options.author.clone(),
            comment: options.message.clone(),
            ..HistoryEntry::default()
        });
        let below = base.layers.into_iter().map(|one| (one.diff_id, one.blob));
        let layers = below.chain([(layer, None)]).collect();
        Ok(record(lease, &config, layers)?)
    }

    fn image_of(
        &self,
        container: &ContainerRecord,
    ) -> Result<storage::images::ImageRecord, EngineError> {
        let id = Digest::parse(&container.image_id)
            .map_err(|error| EngineError::invalid(error.to_string()))?;
        Ok(self.store().image(&id)?)
    }
}

/// What containers of the image get: what this container has, and what only images have.
fn defaults(
    engine: &Engine,
    container: &ContainerRecord,
) -> Result<ContainerDefaults, EngineError> {
    let spec = &container.spec;
    let image = engine.image_of(container)?;
    let base: ContainerDefaults = types::json::read_value(&image.config)
        .map_err(|fault| EngineError::invalid(format!("cannot read the image: {fault}")))?;
    let nothing = || serde_json::Value::Object(serde_json::Map::new());
    let check = spec.healthcheck.as_ref().map(ImageHealthcheck::from);
    let image_volumes = base.volumes.into_keys().chain(spec.volumes.iter().cloned());
    Ok(ContainerDefaults {
        user: spec.user.clone(),
        exposed_ports: spec
            .exposed_ports
            .iter()
            .map(|port| (port.clone(), nothing()))
            .collect(),
        env: spec.env.clone(),
        entrypoint: spec.entrypoint.clone(),
        cmd: spec.cmd.clone(),
        volumes: image_volumes.map(|path| (path, nothing())).collect(),
        working_dir: spec.working_dir.clone(),
        labels: spec.labels.clone(),
        stop_signal: spec.stop_signal.clone(),
        shell: base.shell,
        healthcheck: check,
        on_build: base.on_build,
        ..ContainerDefaults::default()
    })
}

/// The empty files and directories that mounts were put onto are ours, not the container's doing.
fn remove_mount_points(root: &Dir, container: &ContainerRecord) {
    for point in mount_points(container) {
        let Ok((parent, base)) = root.open_parent(Path::new(&point)) else {
            continue;
        };
        let Ok(stat) = rustix::fs::statat(&parent, &base, AtFlags::SYMLINK_NOFOLLOW) else {
            continue;
        };
        // A directory that is not empty stays.
        let flags = match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => AtFlags::REMOVEDIR,
            FileType::RegularFile if stat.st_size == 0 => AtFlags::empty(),
            _ => continue,
        };
        let _ = rustix::fs::unlinkat(&parent, &base, flags);
    }
}
