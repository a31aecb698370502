//! The hall: the verbs, and the only room that knows all the others.
//!
//! A verb is a method of [`Engine`] that works with no process of ours alive but the container's
//! own monitor. It returns values and reports progress through an [`observer::Observer`]; it never
//! prints. The engine is synchronous and single-threaded up to the start of a container.

pub mod build;
pub mod compose;
pub mod config;
pub mod container;
#[cfg(test)]
#[path = "../../../testkit/src/corpus.rs"]
mod corpus;
pub mod doctor;
pub mod error;
pub mod facts;
#[doc(hidden)]
pub mod fuzz;
pub mod image;
pub mod network;
pub mod observer;
pub mod prune;
pub mod undo;
pub mod volume;
pub mod zone;

mod cdi;
mod events;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

pub use error::EngineError;
pub use monitor::client::Connection;
pub use monitor::protocol;
pub use monitor::spawn::Waiting;
pub use runtime::{Failure, FailureKind};
pub use storage::containers::{ContainerRecord, StoredContainer, VolumeUse};
use storage::store::Store;
use sys::Context;
pub use sys::caller::outlive_file_size_limit;
pub use sys::rights::{Lack, lack};

/// Where everything is.
#[derive(Clone, Debug)]
pub struct Roots {
    /// Persistent root.
    pub root: PathBuf,
    /// Run root.
    pub run_root: PathBuf,
}

impl Default for Roots {
    fn default() -> Self {
        Self {
            root: "/var/lib/caisson".into(),
            run_root: "/run/caisson".into(),
        }
    }
}

/// An opened engine.
#[derive(Debug)]
pub struct Engine {
    store: Store,
    config: config::Config,
}

impl Engine {
    /// Opens the engine; makes the store where there is none.
    ///
    /// # Errors
    /// A store that cannot be used, with the reason.
    pub fn open(roots: &Roots, config: config::Config) -> Result<Self, EngineError> {
        Ok(Self {
            store: Store::open(&roots.root, &roots.run_root)?
                .with_trash(undo::limits(&config.undo)),
            config,
        })
    }

    /// The store.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// The image that a name or id means.
    ///
    /// # Errors
    /// `No such image`, or an ambiguous id.
    pub fn image(&self, text: &str) -> Result<storage::images::ImageRecord, EngineError> {
        let found = self.store.find_image(text)?;
        Ok(self.store.image(&found.id)?)
    }

    /// The id of the image that a name or id means.
    ///
    /// # Errors
    /// As [`Self::image`].
    pub fn image_id(&self, text: &str) -> Result<String, EngineError> {
        Ok(self.store.find_image(text)?.id.to_string())
    }

    /// When the name of an image that is here was last set, in nanoseconds since 1970; nothing
    /// where none is here for the platform.
    pub fn image_tagged_ns(
        &self,
        text: &str,
        platform: Option<&types::platform::Platform>,
    ) -> Option<i64> {
        let found = self.store.find_image(text).ok()?;
        let image = self.store.image(&found.id).ok()?;
        let own = types::platform::Platform::new(&image.os, &image.architecture, &image.variant);
        if platform.is_some_and(|wanted| wanted.match_rank(&own).is_none()) {
            return None;
        }
        let reference = found
            .reference
            .map(types::reference::Reference::with_default_tag);
        let record = reference.and_then(|reference| self.store.reference(&reference).ok()?);
        Some(record.map_or(0, |record| record.tagged_ns))
    }

    /// The read-only directories of an image, topmost first.
    ///
    /// # Errors
    /// Where the image is gone.
    pub fn image_lowers(&self, id: &str) -> Result<Vec<PathBuf>, EngineError> {
        let digest = types::digest::Digest::parse(id)
            .map_err(|error| EngineError::invalid(error.to_string()))?;
        Ok(self.store.mount_plan(&digest)?)
    }

    /// The read-only directories beneath a container of an image, topmost first.
    ///
    /// # Errors
    /// Where the image is gone; the disk's answer.
    pub fn container_lowers(&self, image_id: &str) -> Result<Vec<PathBuf>, EngineError> {
        let mut lowers = self.image_lowers(image_id)?;
        // With the most layers that the kernel takes there is no room for one more.
        if lowers.len() < storage::chain::LAYERS_MAX {
            lowers.push(self.store.init_layer()?);
        }
        Ok(lowers)
    }

    /// Bytes of an image's files; 0 where it is gone.
    pub fn image_size(&self, id: &str) -> u64 {
        let digest = types::digest::Digest::parse(id).ok();
        digest
            .and_then(|id| self.store.image(&id).ok())
            .map_or(0, |image| image.size_bytes)
    }

    /// What the verbs of images work with.
    pub fn images(&self) -> image::ImageContext<'_> {
        image::ImageContext::new(&self.store, &self.config)
    }

    /// Which containers use which images.
    ///
    /// # Errors
    /// Where not all containers can be read: then no image is known to be unused.
    pub fn image_users(&self) -> Result<Vec<image::ImageUser>, image::ImageError> {
        let mut users = Vec::new();
        let unknown = |error| image::ImageError::Conflict(error::chain(&error));
        for stored in self.every_container().map_err(unknown)? {
            let record = &stored.record;
            let mut images: BTreeSet<&str> = record.images.values().map(String::as_str).collect();
            images.insert(&record.image_id);
            let ids = images.into_iter();
            users.extend(
                ids.filter_map(|id| types::digest::Digest::parse(id).ok())
                    .map(|image| image::ImageUser {
                        container: record.id.clone(),
                        image,
                        is_running: stored.state.status.is_live(),
                    }),
            );
        }
        Ok(users)
    }

    /// Whether only cgroup v2 is there.
    pub fn has_unified_cgroups(&self) -> bool {
        runtime::cgroup::is_unified()
    }

    /// The configuration.
    pub fn config(&self) -> &config::Config {
        &self.config
    }

    /// Now, as every document of ours has it.
    pub fn now(&self) -> String {
        types::timestamp::Timestamp::now().rfc3339()
    }

    /// The journal of events.
    pub(crate) fn journal(&self) -> PathBuf {
        events::journal(&self.store)
    }

    /// Parent of this store's control groups; stores do not meet there.
    pub fn cgroup_parent(&self) -> String {
        if self.store.root() == Path::new("/var/lib/caisson") {
            return "caisson".into();
        }
        // FNV-1a: any spread will do, and the name must be the same in every process.
        let hash = self
            .store
            .root()
            .as_os_str()
            .as_encoded_bytes()
            .iter()
            .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
                (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
            });
        format!("caisson-{:08x}", hash as u32)
    }

    /// An empty directory on which containers attach their roots, each in its own namespace.
    pub(crate) fn staging_directory(&self) -> Result<PathBuf, EngineError> {
        let path = self.store.run_root().join("staging");
        match rustix::fs::mkdir(&path, rustix::fs::Mode::from_raw_mode(0o700)) {
            Ok(()) | Err(rustix::io::Errno::EXIST) => Ok(path),
            Err(errno) => Ok(Err(errno).on("make", path.display()).map(|()| path)?),
        }
    }

    /// Arguments of our own binary that act on this store.
    pub(crate) fn own_arguments(&self, verb: &[&str]) -> Vec<String> {
        let mut all = vec![
            "caisson".to_string(),
            "--root".into(),
            self.store.root().display().to_string(),
            "--run-root".into(),
            self.store.run_root().display().to_string(),
        ];
        all.extend(verb.iter().map(|word| (*word).to_string()));
        all
    }
}

/// Signals as descriptors, for whoever waits for a container and its user at once.
pub mod signals {
    use std::os::fd::{AsFd, OwnedFd};

    /// Blocks the signals of `mask` (bit n-1 is signal n) and makes them readable.
    ///
    /// # Errors
    /// The kernel's answer.
    pub fn descriptor(mask: u64) -> Result<OwnedFd, crate::EngineError> {
        Ok(sys::caller::signal_descriptor(mask)?)
    }

    /// The next signal that came, if any.
    pub fn read(descriptor: impl AsFd) -> Option<i32> {
        sys::caller::read_signal(descriptor)
    }
}

/// A connection before there is a monitor: our end, and the one that the monitor gets.
///
/// # Errors
/// The kernel's answer.
pub fn connection_pair() -> Result<(std::os::fd::OwnedFd, std::os::fd::OwnedFd), EngineError> {
    Ok(sys::socket::pair()?)
}

/// The places at which tests kill us, a line each; those that can fail too are marked.
#[cfg(feature = "failpoints")]
pub fn fail_points() -> String {
    let line = |name: &&str| match sys::fail::FALLIBLE.contains(name) {
        true => format!("{name} fallible\n"),
        false => format!("{name}\n"),
    };
    sys::fail::NAMES.iter().map(line).collect()
}

/// Physical memory in bytes.
pub fn host_memory_bytes() -> u64 {
    sys::host::memory_total_bytes()
}

/// The running kernel's release.
pub fn kernel_release() -> String {
    sys::host::kernel_release()
}
pub use storage::images as storage_images;
pub use storage::networks as storage_networks;
pub use storage::trash as storage_trash;
pub use storage::volumes as storage_volumes;
