//! Pruning: what nobody uses goes, container by container, network, volume, image and build record.
//!
//! A pruned object does not come back: pruning is for space. One request says what is pruned; the
//! same choice is made for a preview and for the deed, so that what is told before is what happens,
//! as long as nobody starts or removes something meanwhile.

use std::collections::{BTreeMap, BTreeSet};

use storage::containers::StoredContainer;
use storage::trash::{Fate, TrashKind};
use types::filter::{FilterError, Filters};
use types::timestamp::Timestamp;

use crate::Engine;
use crate::error::EngineError;
use crate::image::ImageUser;
use crate::image::prune::{PruneOptions, PruneReport};
use crate::image::remove::Removed;

/// Whether a prune is carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Everything goes.
    Remove,
    /// Only looked at.
    Preview,
}

/// Which volumes are pruned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Volumes {
    /// Those that were made for one container, which gave them no name.
    Anonymous,
    /// All.
    All,
}

/// What to prune.
#[derive(Clone, Debug, Default)]
pub struct PruneRequest {
    /// Stopped containers.
    pub containers: bool,
    /// Networks that no container asks for.
    pub networks: bool,
    /// Volumes that no container has.
    pub volumes: Option<Volumes>,
    /// Images.
    pub images: bool,
    /// Images with names too, and all of the build cache.
    pub all: bool,
    /// Records of the build cache.
    pub build_cache: bool,
    /// `--filter`: `label`, `label!` and `until`, for images `dangling` too.
    pub filters: Filters,
}

/// What went, or would go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Ids of containers.
    pub containers: Vec<String>,
    /// Names of networks.
    pub networks: Vec<String>,
    /// Names of volumes.
    pub volumes: Vec<String>,
    /// Images, as `rmi` tells it.
    pub images: Vec<Removed>,
    /// Ids of records of the build cache.
    pub build_cache: Vec<String>,
    /// Removed objects that could have come back.
    pub kept: usize,
    /// Bytes of all that.
    pub bytes: u64,
}

/// Labels and time.
struct Chooser {
    filters: Filters,
    until_ns: Option<i128>,
}

impl Chooser {
    fn new(filters: &Filters) -> Result<Self, EngineError> {
        let until_ns = match filters.values("until") {
            [] => None,
            [text] => {
                let time =
                    Timestamp::parse_relative(text, Timestamp::now(), crate::zone::offset_s());
                let time = time.map_err(|error| EngineError::invalid(error.to_string()))?;
                Some(time.unix_ns())
            }
            _ => return Err(EngineError::invalid("more than one until filter specified")),
        };
        Ok(Self {
            filters: filters.clone(),
            until_ns,
        })
    }

    fn takes(&self, labels: &BTreeMap<String, String>, created: &str) -> bool {
        let is_old = self.until_ns.is_none_or(|until| {
            Timestamp::parse_rfc3339(created).map_or(0, Timestamp::unix_ns) < until
        });
        is_old
            && self.filters.matches_labels("label", labels)
            && !(self.filters.contains("label!") && self.filters.matches_labels("label!", labels))
    }
}

impl Engine {
    /// Prunes, or tells what pruning would do.
    ///
    /// # Errors
    /// A filter that is none, or where the store cannot be read. What went before is gone.
    pub fn prune(&self, request: &PruneRequest, mode: Mode) -> Result<Pruned, EngineError> {
        let chooser = Chooser::new(&request.filters)?;
        let mut pruned = Pruned::default();
        if request.volumes.is_some() || request.networks || request.images {
            // Before anything goes: what a container uses that cannot be read must stay.
            self.every_container()?;
        }
        if request.containers {
            self.prune_containers(&chooser, mode, &mut pruned)?;
        }
        if let Some(which) = request.volumes {
            self.prune_volumes(which, &chooser, mode, &mut pruned)?;
        }
        if request.networks {
            self.prune_networks(&chooser, mode, &mut pruned)?;
        }
        if request.images {
            let report = self.prune_images(request, mode, &pruned.containers)?;
            pruned.bytes += report.reclaimed_bytes;
            pruned.images = report.removed;
        }
        if request.build_cache {
            self.prune_build_cache(request.all, &chooser, mode, &mut pruned)?;
        }
        // A filter speaks of what is there.
        if request.filters.is_empty() {
            self.prune_kept(request, mode, &mut pruned)?;
        }
        if mode == Mode::Remove {
            self.sweep();
        }
        Ok(pruned)
    }

    fn prune_containers(
        &self,
        chooser: &Chooser,
        mode: Mode,
        pruned: &mut Pruned,
    ) -> Result<(), EngineError> {
        let before = pruned.bytes;
        let is_stopped = |stored: &StoredContainer| !stored.state.status.is_live();
        for stored in self.containers()?.into_iter().filter(is_stopped) {
            let record = &stored.record;
            if !chooser.takes(&record.spec.labels, &record.created) {
                continue;
            }
            let size = u64::try_from(self.container_sizes(&stored).0).unwrap_or(0);
            // Started, or removed by another, meanwhile: not ours any more.
            let remove = || {
                let removal = self.begin_remove(&record.id, false)?;
                self.finish_remove(removal.for_good())
            };
            if mode == Mode::Preview || is_gone(remove())? {
                pruned.containers.push(record.id.clone());
                pruned.bytes += size;
            }
        }
        if mode == Mode::Remove {
            self.announce_prune("container", pruned.bytes - before);
        }
        Ok(())
    }

    /// Containers that are there when those of `pruned` are gone.
    fn staying(&self, pruned: &Pruned) -> Result<Vec<StoredContainer>, EngineError> {
        let gone: BTreeSet<&String> = pruned.containers.iter().collect();
        let mut all = self.every_container()?;
        all.retain(|stored| !gone.contains(&stored.record.id));
        Ok(all)
    }

    fn prune_volumes(
        &self,
        which: Volumes,
        chooser: &Chooser,
        mode: Mode,
        pruned: &mut Pruned,
    ) -> Result<(), EngineError> {
        let before = pruned.bytes;
        let staying = self.staying(pruned)?;
        let uses = staying.iter().flat_map(|stored| &stored.record.volumes);
        let used: BTreeSet<&str> = uses.map(|one| one.name.as_str()).collect();
        for record in self.store().volumes()? {
            let is_meant = record.anonymous || which == Volumes::All;
            if !is_meant
                || used.contains(record.name.as_str())
                || !chooser.takes(&record.labels, &record.created)
            {
                continue;
            }
            let size = self.volume_size(&record.name);
            let remove = || self.remove_volume_to(&record.name, Fate::Erased);
            if mode == Mode::Preview || is_gone(remove())? {
                pruned.volumes.push(record.name);
                pruned.bytes += size;
            }
        }
        if mode == Mode::Remove {
            self.announce_prune("volume", pruned.bytes - before);
        }
        Ok(())
    }

    fn prune_networks(
        &self,
        chooser: &Chooser,
        mode: Mode,
        pruned: &mut Pruned,
    ) -> Result<(), EngineError> {
        let used = self.networks_of(&self.staying(pruned)?);
        for record in self.networks()? {
            if crate::network::is_predefined(&record)
                || used.contains(&record.id)
                || !chooser.takes(&record.labels, &record.created)
            {
                continue;
            }
            let remove = || self.remove_network_to(&record.name, Fate::Erased).map(drop);
            if mode == Mode::Preview || is_gone(remove())? {
                pruned.networks.push(record.name);
            }
        }
        if mode == Mode::Remove {
            self.rest_networks()?;
            self.announce_prune("network", 0);
        }
        Ok(())
    }

    fn prune_images(
        &self,
        request: &PruneRequest,
        mode: Mode,
        gone: &[String],
    ) -> Result<PruneReport, EngineError> {
        let options = PruneOptions {
            all: request.all,
            filters: request.filters.clone(),
        };
        let users = || {
            let mut users: Vec<ImageUser> = self.image_users()?;
            users.retain(|user| !gone.contains(&user.container));
            Ok(users)
        };
        let report = match mode {
            Mode::Preview => crate::image::prune::preview(&self.images(), &options, &users),
            Mode::Remove => crate::image::prune::prune(&self.images(), &options, &users),
        };
        Ok(report?)
    }

    fn prune_build_cache(
        &self,
        all: bool,
        chooser: &Chooser,
        mode: Mode,
        pruned: &mut Pruned,
    ) -> Result<(), EngineError> {
        for record in self.build_cache()? {
            let is_unused = all || !record.is_shared;
            if record.in_use || !is_unused || !chooser.takes(&BTreeMap::new(), &record.created) {
                continue;
            }
            if mode == Mode::Preview || self.store().forget_step(&record.id)? {
                // What an image has too goes with the image, or stays with it.
                pruned.bytes += match record.is_shared {
                    true => 0,
                    false => record.size_bytes,
                };
                pruned.build_cache.push(record.id);
            }
        }
        if mode == Mode::Remove && !pruned.build_cache.is_empty() {
            // The layers that only the cache held; their bytes are counted above.
            let users = self.image_users()?;
            self.images().collect(&users)?;
        }
        Ok(())
    }

    /// What could come back is given up by who asks for space.
    fn prune_kept(
        &self,
        request: &PruneRequest,
        mode: Mode,
        pruned: &mut Pruned,
    ) -> Result<(), EngineError> {
        let everything = request.containers && request.images;
        let mut kinds = Vec::new();
        let wanted = [
            (request.containers, TrashKind::Container),
            (request.networks, TrashKind::Network),
            (request.volumes.is_some() || everything, TrashKind::Volume),
        ];
        kinds.extend(wanted.iter().filter(|(is, _)| *is).map(|(_, kind)| *kind));
        let kept = self.kept().into_iter();
        let kept: Vec<_> = kept.filter(|one| kinds.contains(&one.kind())).collect();
        pruned.kept = kept.len();
        pruned.bytes += match mode {
            Mode::Preview => kept.iter().map(|one| one.bytes).sum(),
            Mode::Remove => self.empty_trash(&kinds)?,
        };
        Ok(())
    }
}

/// Whether a removal was carried out. What others began to use, or removed themselves, meanwhile is
/// passed over; a disk that refuses is told of.
fn is_gone(removed: Result<(), EngineError>) -> Result<bool, EngineError> {
    use storage::networks::NetworkError;
    use storage::volumes::VolumeError;
    match removed {
        Ok(()) => Ok(true),
        Err(
            EngineError::Conflict(_)
            | EngineError::NoSuchContainer(_)
            | EngineError::Volume(VolumeError::Missing(_))
            | EngineError::Network(NetworkError::Missing(_)),
        ) => Ok(false),
        Err(error) => Err(error),
    }
}

/// A record of the build cache.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CacheRecord {
    /// Its id.
    pub id: String,
    /// `regular`, `source.local` and so on.
    pub kind: String,
    /// What it is.
    pub description: String,
    /// A build uses it now.
    pub in_use: bool,
    /// An image has its layer too.
    pub is_shared: bool,
    /// Its bytes.
    pub size_bytes: u64,
    /// When it was made, RFC 3339.
    pub created: String,
    /// When it was used last, RFC 3339; empty: never.
    pub last_used: String,
    /// How often it was used.
    pub usage_count: u64,
}

/// The seam to the build cache: its room lists and removes, pruning and `system df` ask here.
impl Engine {
    /// What the build cache holds.
    ///
    /// # Errors
    /// Where it cannot be read.
    pub fn build_cache(&self) -> Result<Vec<CacheRecord>, EngineError> {
        let time = |seconds: i64| {
            let seconds = u64::try_from(seconds).unwrap_or(0);
            types::timestamp::Timestamp::from_unix_ns(i128::from(seconds) * 1_000_000_000).rfc3339()
        };
        let record = |step: crate::build::CachedStep| CacheRecord {
            created: time(step.created_s),
            last_used: time(step.used_s),
            id: step.key,
            kind: step.kind,
            description: step.description,
            is_shared: step.is_shared,
            size_bytes: step.size_bytes,
            ..CacheRecord::default()
        };
        Ok(self.cached_steps()?.into_iter().map(record).collect())
    }
}

/// The keys that `--filter` knows, by what is pruned.
///
/// # Errors
/// A key that is not among them.
pub fn check_filters(request: &PruneRequest) -> Result<(), FilterError> {
    let known: &[&str] = match (request.images, request.volumes.is_some()) {
        (true, _) if !request.containers => &crate::image::prune::FILTER_KEYS,
        (false, true) if !request.containers => {
            request.filters.boolean("all", false)?;
            &["all", "label", "label!"]
        }
        (false, true) => &["label", "label!"],
        _ => &["label", "label!", "until"],
    };
    request.filters.check_keys(known)
}
