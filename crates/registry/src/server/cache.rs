//! What was read from the database and is still true.
//!
//! Where one process writes to the database, this one: with PostgreSQL nothing is kept. Whoever changes what is kept here holds a
//! [`Change`], whose end drops it all, also where a request is given up half-way: pushes are rare
//! beside pulls. Whoever read before a change and stores after it is turned away by the generation.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

use axum::http::HeaderValue;
use bytes::Bytes;

use super::database::repositories::Facts;

/// Manifests are forgotten where they would take more.
const BYTES_MAX: usize = 4 * 1024 * 1024;
/// So are facts of more repositories than that, asked for by whomever.
const ENTRIES_MAX: usize = 4096;

/// A manifest, ready to be sent.
#[derive(Debug)]
pub(crate) struct Ready {
    pub(crate) digest: HeaderValue,
    pub(crate) etag: HeaderValue,
    pub(crate) media_type: HeaderValue,
    pub(crate) body: Bytes,
}

#[derive(Default)]
struct Entry {
    facts: Option<Arc<Facts>>,
    manifests: HashMap<String, Arc<Ready>>,
}

#[derive(Default)]
struct Inner {
    generation: u64,
    bytes: usize,
    repositories: HashMap<String, Entry>,
}

/// The cache.
#[derive(Default)]
pub(crate) struct Cache {
    inner: Mutex<Inner>,
    /// Others write to the database too, and nothing is kept here.
    is_off: bool,
}

impl Cache {
    /// One that keeps nothing, where the database is shared.
    pub(crate) fn new(is_shared: bool) -> Self {
        Self {
            inner: Mutex::default(),
            is_off: is_shared,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner
            .lock()
            .expect("invariant: nothing panics with this lock")
    }

    /// To be noted before the database is asked.
    pub(crate) fn generation(&self) -> u64 {
        self.lock().generation
    }

    /// To be held around a change in the database.
    #[must_use]
    pub(crate) fn change(&self) -> Change<'_> {
        Change(self)
    }

    fn clear(&self) {
        let mut inner = self.lock();
        let generation = inner.generation + 1;
        *inner = Inner {
            generation,
            ..Inner::default()
        };
    }

    /// What is known about who may use a repository.
    pub(crate) fn facts(&self, name: &str) -> Option<Arc<Facts>> {
        self.lock().repositories.get(name)?.facts.clone()
    }

    /// A manifest by tag or digest.
    pub(crate) fn manifest(&self, name: &str, reference: &str) -> Option<Arc<Ready>> {
        let inner = self.lock();
        inner
            .repositories
            .get(name)?
            .manifests
            .get(reference)
            .cloned()
    }

    /// Keeps facts, if nothing changed since that generation.
    pub(crate) fn keep_facts(&self, generation: u64, name: &str, facts: &Arc<Facts>) {
        if self.is_off {
            return;
        }
        let mut inner = self.lock();
        if let Some(entry) = inner.entry(generation, name, 0) {
            entry.facts = Some(facts.clone());
        }
    }

    /// Keeps a manifest, if nothing changed since that generation.
    pub(crate) fn keep_manifest(
        &self,
        generation: u64,
        (name, reference): (&str, &str),
        ready: &Arc<Ready>,
    ) {
        if self.is_off {
            return;
        }
        let mut inner = self.lock();
        if let Some(entry) = inner.entry(generation, name, ready.body.len()) {
            entry.manifests.insert(reference.to_owned(), ready.clone());
        }
    }
}

/// A change under way.
pub(crate) struct Change<'a>(&'a Cache);

impl Drop for Change<'_> {
    fn drop(&mut self) {
        self.0.clear();
    }
}

impl Inner {
    fn entry(&mut self, generation: u64, name: &str, bytes: usize) -> Option<&mut Entry> {
        if self.generation != generation {
            return None;
        }
        // Each entry costs something beside its bytes.
        self.bytes += bytes + 512;
        if self.bytes > BYTES_MAX || self.repositories.len() > ENTRIES_MAX {
            self.repositories.clear();
            self.bytes = bytes;
        }
        Some(self.repositories.entry(name.to_owned()).or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_read_before_a_change_is_not_kept_after_it() {
        let cache = Cache::default();
        let facts = Arc::new(Facts::default());
        let before = cache.generation();
        cache.clear();
        cache.keep_facts(before, "a", &facts);
        assert!(cache.facts("a").is_none());
        cache.keep_facts(cache.generation(), "a", &facts);
        assert!(cache.facts("a").is_some());
        cache.clear();
        assert!(cache.facts("a").is_none());
        let shared = Cache::new(true);
        shared.keep_facts(shared.generation(), "a", &facts);
        assert!(shared.facts("a").is_none());
    }
}
