//! `rmi`: takes names away, and the image with its last one.
//!
//! Docker's rules and words. A name is removed if the image has others, or if no container uses the
//! image. An id removes the image if all its names belong to one repository. `--force` overrides all
//! but a running container.

use std::collections::BTreeSet;

use storage::StorageError;
use storage::blobs::digest_of;
use storage::lease::ImagesLock;
use types::digest::Digest;
use types::reference::Reference;

use super::error::{ImageError, Result};
use super::inspect::read_config;
use super::{ImageContext, ImageUser};

/// How to remove.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RemoveOptions {
    /// `--force`.
    pub force: bool,
}

/// What a removal did, a line each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Removed {
    /// `Untagged: …`: a familiar name.
    Untagged(String),
    /// `Deleted: …`: an image's id, or the chain id of a layer.
    Deleted(Digest),
    /// What the user should know besides.
    Warning(String),
}

/// Removes the image, or the name of one, that `name` means. `users` gives all containers.
///
/// # Errors
/// `No such image`, or Docker's conflicts; nothing was removed then.
pub fn remove(
    context: &ImageContext<'_>,
    name: &str,
    options: RemoveOptions,
    users: &dyn Fn() -> Result<Vec<ImageUser>>,
) -> Result<Vec<Removed>> {
    let store = context.store();
    let lock = store.lock_images()?;
    // Asked under the lock: a container that is being made holds it shared until it is recorded.
    let users = users()?;
    let found = context.find(name)?;
    let removal = Removal {
        context,
        lock: &lock,
        image: &found.id,
        names: store.names_of(&found.id)?,
        users: users.iter().filter(|user| user.image == found.id).collect(),
        force: options.force,
    };
    // Read before anything goes: with a record that cannot be read for now all stays.
    let layers = layers_of(context, &found.id)?;
    let mut removed = match &found.reference {
        Some(reference) => removal.by_name(reference)?,
        None => removal.by_id()?,
    };
    if store.names_of(&found.id)?.is_empty() && !removal.is_running() {
        sys::fail::point("engine.rmi.untagged");
        store.remove_all_references(&lock, &found.id)?;
        drop(lock);
        let id = found.id.to_string();
        context.announce_as("delete", &id, None, &id);
        removed.push(Removed::Deleted(found.id));
        sys::fail::point("engine.rmi.unreferenced");
        match context.collect(&users) {
            Ok(collected) => removed.extend(deleted_layers(&layers.diff_ids, &collected.layers)),
            // Of another image: what it needs is not known, so that no bytes may go.
            Err(ImageError::Storage(error @ StorageError::DamagedImage { .. })) => {
                let text = format!("nothing is freed on the disk: {error}");
                removed.push(Removed::Warning(text));
            }
            Err(error) => return Err(error),
        }
    }
    removed.extend(layers.warning.map(Removed::Warning));
    Ok(removed)
}

/// The layers of an image, and whether its record was damaged.
struct Layers {
    diff_ids: Vec<Digest>,
    warning: Option<String>,
}

/// A damaged record goes as any other; what its configuration, if that is whole, says of layers is told.
fn layers_of(context: &ImageContext<'_>, id: &Digest) -> Result<Layers> {
    match context.store().image(id) {
        Ok(record) => Ok(Layers {
            diff_ids: record.layers.into_iter().map(|one| one.diff_id).collect(),
            warning: None,
        }),
        Err(StorageError::DamagedImage { source, .. }) => Ok(Layers {
            diff_ids: read_config(context, id)
                .map_or_else(|_| Vec::new(), |config| config.rootfs.diff_ids),
            warning: Some(format!(
                "the record of image {} was damaged ({source})",
                id.short()
            )),
        }),
        Err(error) => Err(error.into()),
    }
}

struct Removal<'a> {
    context: &'a ImageContext<'a>,
    lock: &'a ImagesLock,
    image: &'a Digest,
    names: Vec<Reference>,
    users: Vec<&'a ImageUser>,
    force: bool,
}

impl Removal<'_> {
    fn by_name(&self, reference: &Reference) -> Result<Vec<Removed>> {
        if let (false, true, Some(user)) = (self.force, self.is_single(), self.users.first()) {
            return Err(ImageError::Conflict(format!(
                "unable to remove repository reference {:?} (must force) - container {} is using \
                 its referenced image {}",
                reference.familiar(),
                short(&user.container),
                self.image.short()
            )));
        }
        if self.names.len() == 1 && self.is_running() {
            // It loses its name and stays, as long as somebody runs on it.
            self.context.store().keep_untagged(self.lock, self.image)?;
        }
        let mut removed = vec![self.untag(reference)?];
        let left: Vec<&Reference> = self
            .names
            .iter()
            .filter(|&name| !same(name, reference))
            .collect();
        let same_repository = |name: &&&Reference| name.name() == reference.name();
        // A repository that is left with digests only loses them as well.
        if reference.tag().is_some()
            && left
                .iter()
                .filter(same_repository)
                .all(|name| name.tag().is_none())
        {
            for name in left.into_iter().filter(|name| same_repository(&name)) {
                removed.push(self.untag(name)?);
            }
        }
        Ok(removed)
    }

    fn by_id(&self) -> Result<Vec<Removed>> {
        let conflict = |force: &str, why: String| {
            let id = self.image.short();
            ImageError::Conflict(format!("unable to delete {id} ({force}) - image is {why}"))
        };
        if let Some(user) = self.users.iter().find(|user| user.is_running) {
            let why = format!("being used by running container {}", short(&user.container));
            return Err(conflict("cannot be forced", why));
        }
        if !self.force {
            if !self.is_single() {
                let why = "referenced in multiple repositories".to_owned();
                return Err(conflict("must be forced", why));
            }
            if let Some(user) = self.users.first() {
                let why = format!("being used by stopped container {}", short(&user.container));
                return Err(conflict("must be forced", why));
            }
        }
        self.names.iter().map(|name| self.untag(name)).collect()
    }

    fn untag(&self, reference: &Reference) -> Result<Removed> {
        self.context
            .store()
            .remove_reference(self.lock, reference)?;
        self.context
            .announce("untag", self.image, &self.image.to_string());
        Ok(Removed::Untagged(reference.familiar()))
    }

    /// Whether all names are one tag, or digests of its repository.
    fn is_single(&self) -> bool {
        let tags = self
            .names
            .iter()
            .filter(|name| name.tag().is_some())
            .count();
        let repositories: BTreeSet<String> = self.names.iter().map(Reference::name).collect();
        tags <= 1 && repositories.len() <= 1
    }

    fn is_running(&self) -> bool {
        self.users.iter().any(|user| user.is_running)
    }
}

fn same(a: &Reference, b: &Reference) -> bool {
    a.canonical() == b.canonical()
}

fn short(id: &str) -> &str {
    id.get(..12).unwrap_or(id)
}

/// The chain ids of those layers that went with the image, topmost first.
fn deleted_layers(diff_ids: &[Digest], gone: &[String]) -> Vec<Removed> {
    let mut chain: Option<Digest> = None;
    let mut lines = Vec::new();
    for diff_id in diff_ids {
        let id = match chain {
            None => diff_id.clone(),
            Some(parent) => digest_of(format!("{parent} {diff_id}").as_bytes()),
        };
        if gone.iter().any(|key| key == diff_id.hex()) {
            lines.push(Removed::Deleted(id.clone()));
        }
        chain = Some(id);
    }
    lines.reverse();
    lines
}
