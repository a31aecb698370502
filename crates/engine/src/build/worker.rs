//! What the steps of a graph mean on this machine.

use std::collections::{BTreeMap, HashMap};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use build::graph::{ContextSource, ImageSource, Op, Run, Step, StepId};
use build::ignore::Matcher;
use build::solve::{Event, Work, Worker};
use monitor::step::Runner;
use storage::lease::Lease;
use sys::Context;
use sys::rootfs::Dir;
use types::digest::Digest;

use super::caches::OtherCache;
use super::copy::Times;
use super::files::{self, Files, Owners};
use super::layer::{Finisher, Stack};
use super::memo::Memo;
use super::run::Pooled;
use super::select::{Chosen, Source};
use super::{BuildEvent, BuildObserver, Inputs, Outcome};
use crate::Engine;
use crate::error::{EngineError, text};

/// What times of a build without any other moment are: the first of January 2020.
pub(crate) const EPOCH_DEFAULT_S: i64 = 1_577_836_800;

/// How names of what builds use begin: processes, control groups, places in networks.
pub(crate) const BUILD_PREFIX: &str = "build-";

/// What a download is called until it is copied.
pub(crate) const DOWNLOADED: &str = "data";

/// What a step gives.
#[derive(Clone)]
pub(crate) enum Tree {
    /// Layers.
    Stack(Stack),
    /// Files of the user.
    Files(Arc<Files>),
}

/// A program that failed, and the files that it left.
pub(crate) struct Failed {
    pub(crate) stack: Stack,
    pub(crate) run: Run,
}

/// Does the steps of one build.
pub(crate) struct BuildWorker<'a> {
    pub(crate) engine: &'a Engine,
    pub(crate) observer: &'a dyn BuildObserver,
    pub(crate) lease: Arc<Lease>,
    pub(crate) finisher: Arc<Finisher>,
    pub(crate) inputs: &'a Inputs,
    /// `SOURCE_DATE_EPOCH`.
    pub(crate) epoch: Option<i64>,
    /// Other caches, which are asked after the store's own.
    pub(crate) caches: Vec<OtherCache>,
    /// Whether what steps give may be found by later builds.
    pub(crate) is_kept: bool,
    /// The program that failed, where its files are wanted.
    pub(crate) failed: Mutex<Option<Failed>>,
    runners: Mutex<Vec<Pooled>>,
    running: Mutex<HashMap<usize, OwnedFd>>,
    contexts: Mutex<BTreeMap<StepId, Arc<Files>>>,
    next: AtomicUsize,
    /// Part of the names of everything that is this build's.
    name: String,
}

impl<'a> BuildWorker<'a> {
    pub(crate) fn new(
        engine: &'a Engine,
        observer: &'a dyn BuildObserver,
        lease: Arc<Lease>,
        inputs: &'a Inputs,
        epoch: Option<i64>,
    ) -> Self {
        let name = lease.temporary().path().file_name();
        let name = name.map(|name| name.to_string_lossy().into_owned());
        Self {
            engine,
            observer,
            finisher: Finisher::new(lease.clone()),
            lease,
            inputs,
            epoch,
            caches: Vec::new(),
            is_kept: true,
            failed: Mutex::default(),
            runners: Mutex::default(),
            running: Mutex::default(),
            contexts: Mutex::default(),
            next: AtomicUsize::new(0),
            name: name.unwrap_or_default(),
        }
    }

    pub(crate) fn number(&self) -> usize {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    /// A name that nobody else has, and that tells whose it is.
    pub(crate) fn unique_name(&self) -> String {
        format!("{}{}-{}", BUILD_PREFIX, self.name, self.number())
    }

    /// An idle process that runs programs, or a new one.
    pub(crate) fn take_runner(&self) -> Result<Pooled, EngineError> {
        if let Some(pooled) = locked(&self.runners).pop() {
            return Ok(pooled);
        }
        let cgroup = format!("{}/monitors", self.engine.cgroup_parent());
        Ok(Pooled {
            runner: Runner::new(&cgroup)?,
            id: self.unique_name(),
            attachment: None,
            count: 0,
        })
    }

    pub(crate) fn give_back(&self, pooled: Pooled) {
        locked(&self.runners).push(pooled);
    }

    /// Ends a process that runs programs, and gives back its place in the network.
    pub(crate) fn end_runner(&self, pooled: Pooled) {
        let Pooled {
            runner,
            id,
            attachment,
            ..
        } = pooled;
        // It takes its networks down at the end of the channel; whoever is second finds nothing.
        drop(runner);
        if attachment.is_some() {
            self.engine.detach(&id);
            let _ = std::fs::remove_dir_all(self.engine.attachment_directory(&id));
        }
    }

    /// The program of a step runs, and ends when its channel does.
    pub(crate) fn running(&self, step: usize, channel: Option<OwnedFd>) {
        let mut running = locked(&self.running);
        match channel {
            Some(channel) => running.insert(step, channel),
            None => running.remove(&step),
        };
    }

    /// Everything that was begun ends: layers are published, processes go.
    pub(crate) fn end(&self) {
        self.finisher.join();
        for files in locked(&self.contexts).values() {
            if let Some(memo) = &files.memo {
                memo.save();
            }
        }
        let runners = std::mem::take(&mut *locked(&self.runners));
        for pooled in runners {
            self.end_runner(pooled);
        }
    }

    fn image(&self, source: &ImageSource) -> Result<Stack, EngineError> {
        let store = self.engine.store();
        self.lease.need(&source.id)?;
        let record = store.image(&source.id)?;
        let created = types::timestamp::Timestamp::parse_rfc3339(&record.created);
        let created = created.ok().map(types::timestamp::Timestamp::unix_seconds);
        let epoch = self.epoch.or(created).unwrap_or(EPOCH_DEFAULT_S);
        let lowers = store.lower_paths(&record);
        let layers = record
            .layers
            .into_iter()
            .map(|layer| (layer.diff_id, layer.blob));
        Ok(Stack::base(lowers, layers.collect(), epoch, self.salt()))
    }

    pub(crate) fn scratch(&self, epoch: i64) -> Result<Stack, EngineError> {
        let store = self.engine.store();
        let lowers = store.stack(&self.lease, &[])?;
        let lowers = lowers.iter().map(|id| store.layer_path(id)).collect();
        Ok(Stack::base(lowers, Vec::new(), epoch, self.salt()))
    }

    fn context(&self, id: StepId, source: &ContextSource) -> Result<Arc<Files>, EngineError> {
        if let Some(files) = locked(&self.contexts).get(&id) {
            return Ok(files.clone());
        }
        let directory = self.inputs.contexts.get(&source.name).ok_or_else(|| {
            EngineError::invalid(match source.name.as_str() {
                "" => "this build has no context: give a directory in place of -".to_owned(),
                name => format!("no context is named {name}"),
            })
        })?;
        let root = Dir::open(&directory.path).map_err(|error| text("read the context", &error))?;
        let ignore = match source.ignore.as_slice() {
            [] => None,
            patterns => {
                Some(Matcher::new(patterns).map_err(|error| text("read the ignore file", &error))?)
            }
        };
        let contents = self.engine.store().path("cache/contents");
        let memo = directory
            .is_remembered
            .then(|| Memo::load(Memo::place(&contents, &directory.path)));
        let files = Arc::new(Files {
            root,
            ignore,
            owners: Owners::Reset,
            memo,
        });
        locked(&self.contexts).insert(id, files.clone());
        Ok(files)
    }

    /// What makes results of the same steps differ.
    fn salt(&self) -> &'static str {
        match self.inputs.keeps_mtimes {
            true => "files keep their times",
            false => "",
        }
    }

    pub(crate) fn times(&self, epoch: i64) -> Times {
        match self.inputs.keeps_mtimes {
            true => Times::Kept(epoch),
            false => Times::Derived(epoch),
        }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Files that were fetched for this build.
fn plain_files(path: &std::path::Path) -> Result<Files, EngineError> {
    Ok(Files {
        root: Dir::open(path).map_err(|error| text("read what was fetched", &error))?,
        ignore: None,
        owners: Owners::Reset,
        memo: None,
    })
}

pub(crate) fn stack_of(tree: &Tree) -> Result<&Stack, EngineError> {
    match tree {
        Tree::Stack(stack) => Ok(stack),
        Tree::Files(_) => Err(EngineError::invalid("a context is no root to work on")),
    }
}
impl Worker for BuildWorker<'_> {
    type Tree = Tree;
    type Selection = Chosen;
    type Error = EngineError;

    fn source(&self, id: StepId, step: &Step) -> Result<Tree, EngineError> {
        match &step.op {
            Op::Scratch => Ok(Tree::Stack(
                self.scratch(self.epoch.unwrap_or(EPOCH_DEFAULT_S))?,
            )),
            Op::Image(image) => Ok(Tree::Stack(self.image(image)?)),
            Op::Context(context) => Ok(Tree::Files(self.context(id, context)?)),
            Op::Git(source) => {
                let directory = self.lease.temporary().path();
                let directory = directory.join(format!("git-{}", self.number()));
                let made = super::git::checkout(source, &directory)?;
                Ok(Tree::Files(Arc::new(plain_files(&made.path)?)))
            }
            Op::Http(source) => {
                let directory = self.lease.temporary().path();
                let directory = directory.join(format!("download-{}", self.number()));
                std::fs::create_dir(&directory).on("create", directory.display())?;
                let path = directory.join(DOWNLOADED);
                self.engine.download_to(source, &path)?;
                let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
                std::fs::set_permissions(&path, mode).on("set the mode of", path.display())?;
                Ok(Tree::Files(Arc::new(plain_files(&directory)?)))
            }
            Op::Run(_) | Op::Copy(_) | Op::MakeDirectory(_) => {
                Err(EngineError::invalid("this step is no source"))
            }
        }
    }

    fn identity(&self, tree: &Tree) -> Option<Digest> {
        match tree {
            Tree::Stack(stack) => stack.known(),
            Tree::Files(_) => None,
        }
    }

    fn settle(&self, tree: &Tree) -> Result<Digest, EngineError> {
        stack_of(tree)?.identity()
    }

    fn detached(&self, root: &Tree) -> Result<Digest, EngineError> {
        self.scratch(stack_of(root)?.epoch())?.identity()
    }
    fn select(&self, step: &Step, inputs: &[Tree]) -> Result<(Chosen, Vec<Digest>), EngineError> {
        self.choose_all(step, inputs)
    }

    fn find(&self, root: &Tree, key: &Digest) -> Result<Option<Tree>, EngineError> {
        let root = stack_of(root)?;
        if let Some(tree) = self.cached(root, key)? {
            return Ok(Some(tree));
        }
        let mut caches = self.caches.iter();
        let diff_id = caches.find_map(|cache| cache.find(key, &self.lease, self.observer));
        let Some(diff_id) = diff_id else {
            return Ok(None);
        };
        let store = self.engine.store();
        let Some(id) = store.find_layer(&diff_id)? else {
            return Ok(None);
        };
        let size_bytes = store.layer_info(&id)?.map_or(0, |info| info.size_bytes);
        let layer = super::layer::Layer::stored(store.layer_path(&id), diff_id, size_bytes);
        Ok(Some(Tree::Stack(root.with(Arc::new(layer)))))
    }

    fn execute(&self, work: Work<'_, Self>) -> Result<Tree, EngineError> {
        match &work.step.op {
            Op::Run(run) => self.run(&work, run),
            Op::Copy(copy) => self.copy(&work, copy),
            Op::MakeDirectory(make) => self.make_directory(&work, make),
            _ => Err(EngineError::invalid("this step cannot be done")),
        }
    }

    fn difference(&self, selection: &Chosen, number: usize, old: &Digest) -> Option<String> {
        let old = super::listing::read(&self.content_path("list", old))?;
        let now = match selection.sources.get(number)? {
            Source::Listed(_, matches) => files::listing(matches),
            _ => return None,
        };
        super::listing::difference(&old, &now)
    }

    fn tell(&self, id: StepId, step: &Step, event: Event<'_>) {
        let outcome = match event {
            Event::Begun => Outcome::Begun,
            Event::Cached => Outcome::Cached,
            Event::Missed(cause) => Outcome::Missed(cause),
            Event::Done => Outcome::Done,
            Event::Failed => Outcome::Failed,
        };
        self.observer.event(BuildEvent::Step {
            step: id.0,
            name: &step.name,
            outcome,
        });
    }

    fn cancel(&self) {
        for channel in locked(&self.running).values() {
            let _ = rustix::net::shutdown(channel, rustix::net::Shutdown::Both);
        }
    }
}
