//! What killed builds left, and a cache that does not grow without end.

use std::time::{Duration, SystemTime};

use runtime::cgroup::{ContainerCgroup, Layout};
use storage::lease::Lease;

use super::worker::BUILD_PREFIX;
use crate::Engine;
use crate::error::EngineError;

/// Beyond this the least recently used results go, after a build.
const CACHE_BYTES_MAX: u64 = 20 << 30;
/// What is younger than this is not looked at: another build may be about to use it.
const CACHE_AGE_MIN: Duration = Duration::from_secs(3600);

/// What `builder prune` removes.
#[derive(Clone, Copy, Debug, Default)]
pub struct CachePrune {
    /// Also what images still have; what such records save is little.
    pub all: bool,
    /// Only what was not used since then.
    pub unused_for: Option<Duration>,
    /// So many bytes may stay.
    pub keep_bytes: Option<u64>,
}

/// A result that the cache keeps.
#[derive(Clone, Debug)]
pub struct CachedStep {
    /// The step's key.
    pub key: String,
    /// What people call it.
    pub description: String,
    /// Its kind.
    pub kind: String,
    /// Bytes of its layer.
    pub size_bytes: u64,
    /// Seconds since 1970.
    pub created_s: i64,
    /// Seconds since 1970.
    pub used_s: i64,
    /// Whether an image has its layer too.
    pub is_shared: bool,
}

impl Engine {
    /// Removes programs, networks and files that a killed build left.
    pub(crate) fn sweep_builds(&self) {
        let is_alive = |name: &str| {
            let lease = name.trim_start_matches(BUILD_PREFIX).split('-').next();
            lease.is_some_and(|lease| sys::lock::is_held(&self.store().path("tmp").join(lease)))
        };
        let networks = self.store().path("cache/networks");
        for entry in std::fs::read_dir(&networks).into_iter().flatten().flatten() {
            let id = entry.file_name().to_string_lossy().into_owned();
            if !is_alive(&id) {
                self.detach(&id);
                let _ = std::fs::remove_dir_all(entry.path());
            }
        }
        let run = std::fs::read_dir(self.store().run_root());
        for entry in run.into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.starts_with(BUILD_PREFIX) && !is_alive(&name) {
                let _ = std::fs::remove_dir_all(entry.path());
            }
        }
        let parent = self.cgroup_parent();
        let Ok(names) = Layout::detect().and_then(|layout| layout.names(&parent)) else {
            return;
        };
        for name in names.iter().filter(|name| name.starts_with(BUILD_PREFIX)) {
            if !is_alive(name)
                && let Ok(mut cgroup) = ContainerCgroup::open(&parent, name)
            {
                let _ = cgroup.kill_all();
                let _ = cgroup.remove();
            }
        }
    }

    /// The least recently used results go where there are too many.
    pub(crate) fn bound_cache(&self, _lease: &Lease) {
        let entries = self.store().cache_entries().unwrap_or_default();
        let sum: u64 = entries.iter().map(|entry| entry.record.size_bytes).sum();
        if sum > CACHE_BYTES_MAX {
            let _ = self.prune_cache(&CachePrune {
                all: true,
                unused_for: Some(CACHE_AGE_MIN),
                keep_bytes: Some(CACHE_BYTES_MAX * 3 / 4),
            });
        }
    }

    /// What the cache keeps, the least recently used first.
    ///
    /// # Errors
    /// Where it cannot be read.
    pub fn cached_steps(&self) -> Result<Vec<CachedStep>, EngineError> {
        let mut in_images = std::collections::BTreeSet::new();
        for reference in self.store().references()? {
            if let Ok(image) = self.store().image(&reference.image) {
                in_images.extend(image.layers.into_iter().map(|layer| layer.diff_id));
            }
        }
        let entries = self.store().cache_entries()?;
        Ok(entries
            .into_iter()
            .map(|entry| CachedStep {
                is_shared: in_images.contains(&entry.record.diff_id),
                key: entry.key,
                description: entry.record.description,
                kind: entry.record.kind,
                size_bytes: entry.record.size_bytes,
                created_s: entry.record.created_ns / 1_000_000_000,
                used_s: seconds(entry.used),
            })
            .collect())
    }

    /// Forgets results; returns their keys, and the bytes that were freed.
    ///
    /// # Errors
    /// Where the cache cannot be read.
    pub fn prune_cache(&self, prune: &CachePrune) -> Result<(Vec<String>, u64), EngineError> {
        let steps = self.cached_steps()?;
        let entries = self.store().cache_entries()?;
        let mut left: u64 = steps.iter().map(|step| step.size_bytes).sum();
        let now = SystemTime::now();
        let mut keys = Vec::new();
        for (entry, step) in entries.iter().zip(&steps) {
            let age = now.duration_since(entry.used).unwrap_or_default();
            let is_old = prune.unused_for.is_none_or(|limit| age >= limit);
            let is_too_much = prune.keep_bytes.is_none_or(|limit| left > limit);
            if is_old && is_too_much && (prune.all || !step.is_shared) {
                self.store().forget_step(&entry.key)?;
                left = left.saturating_sub(step.size_bytes);
                keys.push(entry.key.clone());
            }
        }
        let users = self.image_users()?;
        let collected = self.images().collect(&users)?;
        Ok((keys, collected.bytes))
    }
}

fn seconds(time: SystemTime) -> i64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| {
        i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
    })
}
