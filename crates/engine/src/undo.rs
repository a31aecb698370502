//! `undo`: what `rm`, `volume rm`, `network rm` and `compose down` removed comes back for a while.
//!
//! The store keeps it (`storage::trash`); here is what it means for an engine: a container comes back
//! stopped, whoever killed it, and needs its image. A network whose subnet was given away meanwhile
//! gets another one when it is brought up, as any network.

use std::time::Duration;

use storage::containers::StoredContainer;
use storage::trash::{TrashEntry, TrashKind, TrashLimits};
use sys::lock::Lock;
use types::state::Status;

use crate::Engine;
use crate::config::UndoSettings;
use crate::error::EngineError;

/// How long removed objects are kept, unless the configuration says otherwise.
const KEEP: Duration = Duration::from_secs(3600);
/// How much of them.
const BYTES_MAX: u64 = 10_000_000_000;
/// The exit code of a container that was killed.
const KILLED: i32 = 137;

/// What the configuration means for the store.
pub(crate) fn limits(settings: &UndoSettings) -> TrashLimits {
    TrashLimits {
        keep: settings.keep.unwrap_or(KEEP),
        bytes_max: settings.max_size.unwrap_or(BYTES_MAX),
    }
}

/// Something that can come back.
#[derive(Clone, Debug)]
pub struct Kept {
    entry: TrashEntry,
    /// A container's name, else the object's own.
    pub name: String,
    /// A container's id, or empty.
    pub id: String,
    /// A container's image, or empty.
    pub image: String,
    /// Bytes of its files.
    pub bytes: u64,
    /// How long ago it was removed.
    pub age: Duration,
    /// How long it is kept yet.
    pub left: Duration,
}

impl Kept {
    /// What it is.
    pub fn kind(&self) -> TrashKind {
        self.entry.kind
    }

    /// The command that removed it; what it removed at once has the same.
    pub fn command(&self) -> &str {
        &self.entry.command
    }

    /// When it was removed, milliseconds since 1970.
    pub fn removed_ms(&self) -> u64 {
        self.entry.removed_ms
    }

    /// Whether a user's word means this one.
    fn is_called(&self, key: &str) -> bool {
        let is_beginning = key.len() >= 4 && self.id.starts_with(key);
        self.name == key || is_beginning
    }
}

/// What came back, or why not: the name in the first place.
pub type Undone = (String, TrashKind, Result<(), EngineError>);

impl Engine {
    /// Everything that can come back, what was removed last in front.
    pub fn kept(&self) -> Vec<Kept> {
        let keep = limits(&self.config().undo).keep;
        let now = types::timestamp::Timestamp::now().unix_ns() / 1_000_000;
        let view = |entry: TrashEntry| {
            let age = now - i128::from(entry.removed_ms);
            let age = Duration::from_millis(u64::try_from(age).unwrap_or(0));
            let record = match entry.kind {
                TrashKind::Container => self.store().trashed_container(&entry).ok(),
                TrashKind::Network | TrashKind::Volume => None,
            };
            let record = record.map(|stored| stored.record);
            let name = record.as_ref().map_or(&entry.name, |record| &record.name);
            Kept {
                name: name.clone(),
                id: match entry.kind {
                    TrashKind::Container => entry.name.clone(),
                    TrashKind::Network | TrashKind::Volume => String::new(),
                },
                image: record.map_or_else(String::new, |record| record.spec.image),
                bytes: self.store().trash_bytes(&entry),
                age,
                left: keep.saturating_sub(age),
                entry,
            }
        };
        let all = self.store().trash().into_iter().rev().map(view);
        all.filter(|one| !one.left.is_zero()).collect()
    }

    /// Brings back what the last command removed, or what is named. Volumes and networks come first,
    /// since containers need them.
    ///
    /// # Errors
    /// Where there is nothing of that name, or nothing at all.
    pub fn undo(&self, keys: &[String]) -> Result<Vec<Undone>, EngineError> {
        let nothing = |what: &str| {
            Err(EngineError::invalid(format!(
                "{what}; caisson undo --list shows what can come back"
            )))
        };
        let Some(lock) = self.store().lock_trash()? else {
            return Err(EngineError::invalid(
                "nothing was removed that could come back",
            ));
        };
        let all = self.kept();
        let mut chosen: Vec<&Kept> = Vec::new();
        for key in keys {
            let mut found = all.iter().filter(|one| one.is_called(key)).peekable();
            if found.peek().is_none() {
                return nothing(&format!("nothing called {key} was removed lately"));
            }
            // A container and a volume may have the same name; of two containers the later one.
            let mut kinds = Vec::new();
            for one in found {
                if !kinds.contains(&one.kind()) {
                    kinds.push(one.kind());
                    chosen.push(one);
                }
            }
        }
        if keys.is_empty() {
            let last = all.first().map(Kept::command);
            chosen.extend(all.iter().filter(|one| Some(one.command()) == last));
        }
        if chosen.is_empty() {
            return nothing("nothing was removed that could come back");
        }
        chosen.sort_by_key(|one| one.kind() == TrashKind::Container);
        let back = chosen.into_iter().map(|one| {
            let result = self.bring_back(one, &lock);
            (one.name.clone(), one.kind(), result)
        });
        Ok(back.collect())
    }

    fn bring_back(&self, kept: &Kept, lock: &Lock) -> Result<(), EngineError> {
        match kept.kind() {
            TrashKind::Container => self.bring_back_container(kept, lock),
            TrashKind::Network => self.bring_back_network(kept, lock),
            TrashKind::Volume => {
                self.store().restore_trashed_volume(&kept.entry, lock)?;
                self.announce_volume(&kept.name, "create");
                Ok(())
            }
        }
    }

    fn bring_back_container(&self, kept: &Kept, lock: &Lock) -> Result<(), EngineError> {
        // Kept shared until the container is there: no collection takes its image meanwhile.
        let _guard = self.store().guard_images()?;
        let mut stored = self.store().trashed_container(&kept.entry)?;
        if self.image(&stored.record.image_id).is_err() {
            return Err(EngineError::conflict(format!(
                "its image {} was removed since: caisson pull {0}, if it is the same, and undo again",
                stored.record.spec.image
            )));
        }
        end(&mut stored, &self.now());
        let restored = self.store().restore_container(&kept.entry, &stored, lock);
        match restored {
            Err(storage::containers::ContainerError::NameTaken(by)) => {
                let by: String = by.chars().take(12).collect();
                Err(EngineError::conflict(format!(
                    "the name is in use by container {by}: caisson rename {by} OTHER, and undo again"
                )))
            }
            other => {
                other?;
                self.announce(&stored.record, "create", &[]);
                Ok(())
            }
        }
    }

    fn bring_back_network(&self, kept: &Kept, lock: &Lock) -> Result<(), EngineError> {
        let networks = self.store().lock_networks()?;
        self.store().restore_network(&kept.entry, lock, &networks)?;
        drop(networks);
        let record = self.store().network(&kept.name)?;
        self.announce_network(&record, "create", &[]);
        Ok(())
    }

    /// Removes what is kept for good; returns its bytes.
    ///
    /// # Errors
    /// The disk's answer.
    pub fn empty_trash(&self, kinds: &[TrashKind]) -> Result<u64, EngineError> {
        let Some(lock) = self.store().lock_trash()? else {
            return Ok(0);
        };
        let mut entries = self.store().trash();
        entries.retain(|entry| kinds.contains(&entry.kind));
        Ok(self.store().erase_trash(&entries, &lock)?)
    }

    /// What every command does last: what was kept long enough goes, in a process of its own.
    pub fn tidy(&self) {
        if !self.store().trash_is_due() {
            return;
        }
        let mut is_done = false;
        let work = || {
            is_done = true;
            self.store().tidy_trash();
        };
        if !sys::process::in_background(work) {
            self.store().tidy_trash();
        }
    }
}

/// A container that was killed for its removal has no last state.
fn end(stored: &mut StoredContainer, now: &str) {
    let state = &mut stored.state;
    if !state.status.is_live() {
        return;
    }
    state.status = Status::Exited;
    state.pid = 0;
    state.exit_code = KILLED;
    now.clone_into(&mut state.finished_at);
    // No policy starts it: somebody removed it.
    state.stopped_by_user = true;
}
