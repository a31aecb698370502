//! Images: pulled, loaded, imported, listed, tagged, saved and removed.
//!
//! Every verb is a function of an [`ImageContext`]. Threads exist only inside [`pull`] and
//! [`push`] and are joined when they return: whoever called may go on to clone a container.

mod archive;
pub mod builtin;
pub mod changes;
pub mod compare;
mod error;
pub(crate) mod glob;
pub mod history;
pub mod import;
pub(crate) mod ingest;
pub mod inspect;
mod legacy;
pub mod list;
pub mod lists;
pub mod load;
mod parallel;
pub mod prune;
pub mod pull;
pub mod push;
pub mod remove;
pub mod save;
pub mod tag;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use registry::{Client, Credentials, Registries, RegistryConfig};
use storage::refs::Found;
use storage::store::Store;
use types::digest::Digest;
use types::event::Event;
use types::image::ContainerDefaults;

use crate::config::Config;
pub use error::ImageError;
use error::Result;

/// What the verbs on images work with.
#[derive(Debug)]
pub struct ImageContext<'a> {
    store: &'a Store,
    config: &'a Config,
}

/// A container that uses an image, for refusals.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageUser {
    /// The container's id.
    pub container: String,
    /// The image's id.
    pub image: Digest,
    /// Whether it runs.
    pub is_running: bool,
}

impl<'a> ImageContext<'a> {
    /// Images of this store, from registries of this configuration.
    pub fn new(store: &'a Store, config: &'a Config) -> Self {
        Self { store, config }
    }

    /// The store.
    pub fn store(&self) -> &'a Store {
        self.store
    }

    /// The image that a name or id means.
    ///
    /// # Errors
    /// `No such image`, an ambiguous id, or a text that is neither.
    pub fn find(&self, text: &str) -> Result<Found> {
        Ok(self.store.find_image(text)?)
    }

    /// A client for the configured registries.
    pub fn client(&self) -> Client {
        let settings = self.config.registries.iter();
        let by_name = settings
            .map(|(name, settings)| {
                let config = RegistryConfig {
                    mirrors: settings.mirrors.clone(),
                    location: settings.location.clone(),
                    insecure: settings.insecure,
                };
                (name.clone(), config)
            })
            .collect();
        let credentials = Credentials::from_environment();
        Client::new(Registries {
            by_name,
            credentials,
        })
    }

    /// Appends an event about an image to the journal; `name` is what Docker tells with it.
    pub(crate) fn announce(&self, action: &str, id: &Digest, name: &str) {
        self.announce_as(action, &id.to_string(), Some(id), name);
    }

    /// The same about what registries know by a name; an image's labels are told too.
    fn announce_as(&self, action: &str, subject: &str, image: Option<&Digest>, name: &str) {
        let record = image.and_then(|id| self.store.image(id).ok());
        let config = record.and_then(|record| serde_json::from_value(record.config).ok());
        let mut attributes =
            config.map_or_else(BTreeMap::new, |config: ContainerDefaults| config.labels);
        attributes.insert("name".into(), name.into());
        let event = Event {
            kind: "image".into(),
            action: action.into(),
            id: subject.into(),
            attributes,
            time_ns: sys::journal::now_ns(),
        };
        crate::events::append(&crate::events::journal(self.store), &event);
    }

    fn announce_prune(&self, reclaimed_bytes: u64) {
        let event = crate::events::prune("image", reclaimed_bytes);
        crate::events::append(&crate::events::journal(self.store), &event);
    }

    /// Sweeps what no reference, no container of `users` and no live lease leads to.
    pub(crate) fn collect(&self, users: &[ImageUser]) -> Result<storage::collect::Collected> {
        let in_use: BTreeSet<Digest> = users.iter().map(|user| user.image.clone()).collect();
        Ok(self.store.collect::<storage::StorageError>(|| Ok(in_use))?)
    }
}
