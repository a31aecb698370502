//! Stacks of layers while a build makes them.
//!
//! A new layer is a directory under the build's lease that the next step mounts at once, by
//! descriptor. Meanwhile a thread packs it for its diff id, publishes it and writes the step's record.
//! Layers that are hashed while others are being synced are synced together: one `syncfs` for all.

use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError, RwLock, RwLockReadGuard};

use build::key::{digest_of_parts, step_key};
use serde_json::Value;
use storage::cache::{CacheRecord, StepLock};
use storage::images::BlobRecord;
use storage::layer::pack::pack_tree;
use storage::layer::unpack::UnpackReport;
use storage::layers::{LayerClaim, MadeLayer};
use storage::lease::Lease;
use types::digest::{Algorithm, Digest};

use crate::error::{EngineError, text};
use crate::image::import::HashSink;
use crate::image::save::pack_options;

/// Layers on top of each other, as a step gives them.
#[derive(Clone)]
pub(crate) struct Stack(Arc<StackInner>);

struct StackInner {
    kind: StackKind,
    identity: OnceLock<Digest>,
}

enum StackKind {
    /// An image's layers, or none.
    Base {
        lowers: Vec<PathBuf>,
        layers: Vec<(Digest, Option<BlobRecord>)>,
        /// Times of this build's files are not later: seconds since 1970.
        epoch: i64,
    },
    Layer {
        below: Stack,
        layer: Arc<Layer>,
    },
}

impl Stack {
    /// The layers of an image.
    pub(crate) fn base(
        lowers: Vec<PathBuf>,
        layers: Vec<(Digest, Option<BlobRecord>)>,
        epoch: i64,
        salt: &str,
    ) -> Self {
        let parts = layers
            .iter()
            .map(|(diff_id, _)| diff_id.as_str().as_bytes());
        let epoch_text = epoch.to_string();
        let head = [epoch_text.as_bytes(), salt.as_bytes()];
        let identity = digest_of_parts(head.into_iter().chain(parts));
        Self(Arc::new(StackInner {
            kind: StackKind::Base {
                lowers,
                layers,
                epoch,
            },
            identity: OnceLock::from(identity),
        }))
    }

    /// One more layer.
    pub(crate) fn with(&self, layer: Arc<Layer>) -> Self {
        Self(Arc::new(StackInner {
            kind: StackKind::Layer {
                below: self.clone(),
                layer,
            },
            identity: OnceLock::new(),
        }))
    }

    /// See [`StackKind::Base`].
    pub(crate) fn epoch(&self) -> i64 {
        match &self.0.kind {
            StackKind::Base { epoch, .. } => *epoch,
            StackKind::Layer { below, .. } => below.epoch(),
        }
    }

    /// What it is, if that is known already.
    pub(crate) fn known(&self) -> Option<Digest> {
        if let Some(identity) = self.0.identity.get() {
            return Some(identity.clone());
        }
        let StackKind::Layer { below, layer } = &self.0.kind else {
            return None;
        };
        let identity = chained(&below.known()?, &layer.known()?);
        Some(self.0.identity.get_or_init(|| identity).clone())
    }

    /// What it is; waits until that is known.
    pub(crate) fn identity(&self) -> Result<Digest, EngineError> {
        if let StackKind::Layer { below, layer } = &self.0.kind {
            below.identity()?;
            layer.diff_id()?;
        }
        self.known()
            .ok_or_else(|| EngineError::conflict("the digest of a layer is not known"))
    }

    /// Directories to mount, topmost first; each once.
    pub(crate) fn lowers(&self) -> Vec<PathBuf> {
        let mut all: Vec<PathBuf> = Vec::new();
        let mut stack = self;
        loop {
            match &stack.0.kind {
                StackKind::Layer { below, layer } => {
                    all.push(layer.path());
                    stack = below;
                }
                StackKind::Base { lowers, .. } => {
                    all.extend(lowers.iter().cloned());
                    break;
                }
            }
        }
        let mut seen = std::collections::HashSet::new();
        all.retain(|path| seen.insert(path.clone()));
        all
    }

    /// Diff ids and archives, lowest first; waits until all layers are published.
    pub(crate) fn published(&self) -> Result<Vec<(Digest, Option<BlobRecord>)>, EngineError> {
        match &self.0.kind {
            StackKind::Base { layers, .. } => Ok(layers.clone()),
            StackKind::Layer { below, layer } => {
                let mut all = below.published()?;
                all.push((layer.wait_published()?, None));
                Ok(all)
            }
        }
    }

    /// What it stands on, and the layers that steps made, the topmost first.
    pub(crate) fn parts(&self) -> (Stack, Vec<Arc<Layer>>) {
        let (mut stack, mut layers) = (self, Vec::new());
        while let StackKind::Layer { below, layer } = &stack.0.kind {
            layers.push(layer.clone());
            stack = below;
        }
        (stack.clone(), layers)
    }

    /// The layer on top, where a step made it.
    pub(crate) fn top(&self) -> Option<&Arc<Layer>> {
        match &self.0.kind {
            StackKind::Layer { layer, .. } => Some(layer),
            StackKind::Base { .. } => None,
        }
    }
}

fn chained(below: &Digest, diff_id: &Digest) -> Digest {
    digest_of_parts([below.as_str().as_bytes(), diff_id.as_str().as_bytes()])
}

/// A layer that a step made, now or in an earlier build.
pub(crate) struct Layer {
    place: Place,
    state: Mutex<State>,
    changed: Condvar,
}

enum Place {
    /// In the store.
    Stored(PathBuf),
    /// Made by this build: wherever it is moved to, the descriptor leads there.
    Made(OwnedFd),
}

struct State {
    diff_id: Option<Digest>,
    size_bytes: u64,
    is_published: bool,
    failure: Option<String>,
    /// Told when the diff id is known: keys of steps that run on top of this one.
    heirs: Vec<Arc<Heir>>,
}

/// A step that runs before its key can be known, and the lock that it then takes: others who come
/// upon the same step wait for its result.
pub(crate) struct Heir {
    root: Stack,
    definition: Value,
    selected: Vec<Digest>,
    lock: Mutex<Option<StepLock>>,
}

impl Heir {
    fn come(&self, store: &storage::store::Store) {
        if let Some(root) = self.root.known() {
            let key = step_key(&self.definition, &root, &self.selected);
            let lock = store.try_lock_step(&key).ok().flatten();
            *self.lock.lock().unwrap_or_else(PoisonError::into_inner) = lock;
        }
    }
}

impl Layer {
    /// A layer of the store.
    pub(crate) fn stored(path: PathBuf, diff_id: Digest, size_bytes: u64) -> Self {
        Self::new(Place::Stored(path), Some(diff_id), size_bytes)
    }

    fn new(place: Place, diff_id: Option<Digest>, size_bytes: u64) -> Self {
        Self {
            place,
            state: Mutex::new(State {
                is_published: diff_id.is_some(),
                diff_id,
                size_bytes,
                failure: None,
                heirs: Vec::new(),
            }),
            changed: Condvar::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where the directory is now. It stays there as long as [`Finisher::hold_places`] is held.
    pub(crate) fn path(&self) -> PathBuf {
        match &self.place {
            Place::Stored(path) => path.clone(),
            Place::Made(fd) => whereabouts(fd),
        }
    }

    fn known(&self) -> Option<Digest> {
        self.lock().diff_id.clone()
    }

    fn wait(&self, is_ready: impl Fn(&State) -> bool) -> Result<Digest, EngineError> {
        let mut state = self.lock();
        loop {
            if let Some(failure) = &state.failure {
                return Err(EngineError::conflict(failure.clone()));
            }
            match &state.diff_id {
                Some(diff_id) if is_ready(&state) => return Ok(diff_id.clone()),
                _ => {}
            }
            state = self
                .changed
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Its diff id; waits until it is hashed.
    pub(crate) fn diff_id(&self) -> Result<Digest, EngineError> {
        self.wait(|_| true)
    }

    /// Its diff id; waits until it is in the store.
    pub(crate) fn wait_published(&self) -> Result<Digest, EngineError> {
        self.wait(|state| state.is_published)
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.lock());
        self.changed.notify_all();
    }

    /// Registers a step that runs on a stack whose topmost layer this is.
    pub(crate) fn await_key(
        &self,
        store: &storage::store::Store,
        root: &Stack,
        definition: &Value,
        selected: &[Digest],
    ) -> Arc<Heir> {
        let heir = Arc::new(Heir {
            root: root.clone(),
            definition: definition.clone(),
            selected: selected.to_vec(),
            lock: Mutex::new(None),
        });
        let mut state = self.lock();
        match state.diff_id {
            Some(_) => {
                drop(state);
                heir.come(store);
            }
            None => state.heirs.push(heir.clone()),
        }
        heir
    }
}

/// A directory that a step filled.
pub(crate) struct Filled {
    /// Where it is, beneath the lease's.
    pub(crate) path: PathBuf,
    /// What it was made on.
    pub(crate) root: Stack,
    pub(crate) definition: Value,
    pub(crate) selected: Vec<Digest>,
    pub(crate) description: String,
    pub(crate) kind: &'static str,
    /// Whoever does the same waits, until the record is written.
    pub(crate) _lock: Option<StepLock>,
    pub(crate) _heir: Option<Arc<Heir>>,
    /// Whether the result may be found by later builds.
    pub(crate) is_kept: bool,
}

struct Hashed {
    layer: Arc<Layer>,
    filled: Filled,
    diff_id: Digest,
    made: Option<MadeLayer>,
    size_bytes: u64,
}

/// The path of an open directory, wherever it was renamed to.
fn whereabouts(fd: &OwnedFd) -> PathBuf {
    use std::os::unix::ffi::OsStringExt;
    let link = format!("/proc/self/fd/{}", sys::process::raw_number(fd));
    let path = rustix::fs::readlink(link, Vec::new()).unwrap_or_default();
    PathBuf::from(std::ffi::OsString::from_vec(path.into_bytes()))
}

/// Hashes and publishes layers while other steps run.
pub(crate) struct Finisher {
    /// Written while directories are renamed; read while somebody has their paths and not yet the
    /// directories. (Overlay takes no directory that another mount namespace opened.)
    places: RwLock<()>,
    lease: Arc<Lease>,
    queue: Mutex<Vec<Hashed>>,
    /// Whoever holds it publishes all that is queued.
    turn: Mutex<()>,
    threads: Mutex<Vec<std::thread::JoinHandle<()>>>,
}

impl Finisher {
    pub(crate) fn new(lease: Arc<Lease>) -> Arc<Self> {
        Arc::new(Self {
            places: RwLock::new(()),
            lease,
            queue: Mutex::default(),
            turn: Mutex::default(),
            threads: Mutex::default(),
        })
    }

    /// No layer of this build is moved meanwhile. For moments only.
    pub(crate) fn hold_places(&self) -> RwLockReadGuard<'_, ()> {
        self.places.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes a layer of what a step filled: known at once by its descriptor, later by its digest.
    pub(crate) fn begin(self: &Arc<Self>, filled: Filled) -> Result<Arc<Layer>, EngineError> {
        let fd = sys::atomic::open_directory(&filled.path)?;
        let layer = Arc::new(Layer::new(Place::Made(fd), None, 0));
        let (this, same) = (self.clone(), layer.clone());
        let thread = std::thread::Builder::new().spawn(move || this.finish(&same, filled));
        let thread = thread.map_err(|error| text("start a thread", &error))?;
        let mut threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        threads.push(thread);
        Ok(layer)
    }

    /// Waits until all layers are published, or have failed to be.
    pub(crate) fn join(&self) {
        loop {
            let mut threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
            let all = std::mem::take(&mut *threads);
            drop(threads);
            if all.is_empty() {
                return;
            }
            for thread in all {
                let _ = thread.join();
            }
        }
    }

    fn finish(&self, layer: &Arc<Layer>, filled: Filled) {
        if let Err(error) = self.hash(layer, filled).and_then(|()| self.publish()) {
            let failure = format!("cannot keep the result of a step: {error}");
            layer.change(|state| state.failure = Some(failure));
        }
    }

    fn hash(&self, layer: &Arc<Layer>, filled: Filled) -> Result<(), EngineError> {
        let fd = match &layer.place {
            Place::Made(fd) => fd,
            Place::Stored(_) => return Ok(()),
        };
        let mut sink = HashSink::new(Algorithm::Sha256);
        let report = pack_tree(fd.as_fd(), b"", &mut sink, &pack_options())
            .map_err(|error| text("read what a step wrote", &error))?;
        let diff_id = sink.finish();
        sys::fail::point("engine.build.hashed");
        let heirs = {
            let mut state = layer.lock();
            state.diff_id = Some(diff_id.clone());
            state.size_bytes = report.bytes;
            std::mem::take(&mut state.heirs)
        };
        layer.changed.notify_all();
        heirs.iter().for_each(|heir| heir.come(self.lease.store()));
        let claim = self.lease.store().claim_layer(&self.lease, &diff_id)?;
        let made = match claim {
            LayerClaim::Ready(_) => None,
            LayerClaim::Work(work) => {
                {
                    let _alone = self.places.write().unwrap_or_else(PoisonError::into_inner);
                    work.adopt(&filled.path)?;
                }
                let report = UnpackReport {
                    bytes: report.bytes,
                    ..UnpackReport::default()
                };
                Some(work.finish(&report, None))
            }
        };
        // What it stands on is known before what it is.
        filled.root.identity()?;
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        queue.push(Hashed {
            layer: layer.clone(),
            filled,
            diff_id,
            made,
            size_bytes: report.bytes,
        });
        Ok(())
    }

    fn publish(&self) -> Result<(), EngineError> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let batch = {
            let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::take(&mut *queue)
        };
        let store = self.lease.store();
        let mut made = Vec::new();
        let mut rest = Vec::new();
        for mut one in batch {
            made.extend(one.made.take());
            rest.push(one);
        }
        let published = store.settle_layers(&made).and_then(|()| {
            let alone = self.places.write().unwrap_or_else(PoisonError::into_inner);
            store.name_layers(made, || drop(alone))
        });
        sys::fail::point("engine.build.published");
        for one in rest {
            let answer = match &published {
                Ok(_) => self.keep(&one),
                Err(error) => Err(EngineError::conflict(error.to_string())),
            };
            one.layer.change(|state| match &answer {
                Ok(()) => state.is_published = true,
                Err(error) => {
                    state.failure = Some(format!("cannot keep the result of a step: {error}"));
                }
            });
        }
        Ok(())
    }

    fn keep(&self, one: &Hashed) -> Result<(), EngineError> {
        if !one.filled.is_kept {
            return Ok(());
        }
        let root = one.filled.root.identity()?;
        let key = step_key(&one.filled.definition, &root, &one.filled.selected);
        let record = CacheRecord::new(
            one.diff_id.clone(),
            one.size_bytes,
            &one.filled.description,
            one.filled.kind,
        );
        self.lease.store().keep_step(&self.lease, &key, &record)?;
        sys::fail::point("engine.build.kept");
        Ok(())
    }
}
