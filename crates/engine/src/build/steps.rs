//! How copying, making a directory and running a program fill a layer.

use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use build::graph::{Copy, CopySource, MakeDirectory, Run, Unpack};
use build::solve::Work;
use rustix::fs::Mode;
use sys::rootfs::Dir;
use sys::{Context, SysError};
use types::digest::Digest;

use super::chmod::Chmod;
use super::copy::Copying;
use super::files::{self, Files, Match};
use super::layer::{Filled, Layer, Stack};
use super::run::{OWN_MOUNT_POINTS, Prepared};
use super::select::{Source, select};
use super::worker::{BuildWorker, EPOCH_DEFAULT_S, Tree, stack_of};
use super::{stubs, times};
use crate::error::EngineError;

const OVERLAY_OPTIONS: [&str; 5] = [
    "redirect_dir=off",
    "metacopy=off",
    "index=off",
    "nfs_export=off",
    "volatile",
];

impl BuildWorker<'_> {
    /// A directory beneath the lease for a step, with `upper` and `work` in it.
    pub(crate) fn step_directory(&self) -> Result<StepDirectory, EngineError> {
        let name = format!("step-{}", self.number());
        let directory = self.lease.temporary().path().join(name);
        let (upper, work) = (directory.join("upper"), directory.join("work"));
        for path in [&directory, &upper, &work] {
            rustix::fs::mkdir(path, Mode::from_raw_mode(0o700)).on("create", path.display())?;
        }
        let fd = sys::atomic::open_directory(&upper)?;
        // As Docker: whatever the base's root says, everybody may enter it.
        rustix::fs::fchmod(&fd, Mode::from_raw_mode(0o755))
            .on("set the mode of", upper.display())?;
        Ok(StepDirectory {
            directory,
            upper,
            work,
        })
    }

    /// What a step filled becomes the next layer.
    fn filled(
        &self,
        work: &Work<'_, Self>,
        root: &Stack,
        key_root: Stack,
        directory: StepDirectory,
        (kind, done): (&'static str, &[PathBuf]),
        locks: Locks,
    ) -> Result<Tree, EngineError> {
        let upper = sys::atomic::open_directory(&directory.upper)?;
        if !self.inputs.keeps_mtimes || kind == "run" {
            times::clamp(upper.as_fd(), root.epoch(), done)?;
        }
        drop(upper);
        let layer = self.finisher.begin(Filled {
            path: directory.upper,
            root: key_root,
            definition: work.definition.clone(),
            selected: work.selected.to_vec(),
            description: work.step.name.clone(),
            kind,
            _lock: locks.lock,
            _heir: locks.heir,
            is_kept: self.is_kept,
        })?;
        Ok(Tree::Stack(root.with(layer)))
    }

    /// Nobody else does the step meanwhile. Where somebody did, his result is there.
    fn lock_step(&self, work: &Work<'_, Self>, root: &Stack) -> Result<Locked, EngineError> {
        if work.step.ignores_cache {
            return Ok(Locked::Ours(Locks::default()));
        }
        let store = self.engine.store();
        if let Some(known) = root.known() {
            let key = build::key::step_key(work.definition, &known, work.selected);
            let lock = store.lock_step(&key)?;
            if let Some(tree) = self.cached(root, &key)? {
                return Ok(Locked::Done(tree));
            }
            return Ok(Locked::Ours(Locks {
                lock: Some(lock),
                heir: None,
            }));
        }
        let heir = root
            .top()
            .map(|layer| layer.await_key(store, root, work.definition, work.selected));
        Ok(Locked::Ours(Locks { lock: None, heir }))
    }

    pub(crate) fn cached(&self, root: &Stack, key: &Digest) -> Result<Option<Tree>, EngineError> {
        let store = self.engine.store();
        let Some(record) = store.cached(&self.lease, key)? else {
            return Ok(None);
        };
        let Some(id) = store.find_layer(&record.diff_id)? else {
            return Ok(None);
        };
        let layer = Layer::stored(store.layer_path(&id), record.diff_id, record.size_bytes);
        Ok(Some(Tree::Stack(root.with(Arc::new(layer)))))
    }

    pub(crate) fn copy(&self, work: &Work<'_, Self>, copy: &Copy) -> Result<Tree, EngineError> {
        let root = stack_of(&work.inputs[0])?;
        // A linked layer is made on nothing.
        let below = match copy.is_linked {
            true => self.scratch(root.epoch())?,
            false => root.clone(),
        };
        let locks = match self.lock_step(work, &below)? {
            Locked::Done(Tree::Stack(found)) if copy.is_linked => {
                let layer = found.top().cloned();
                return Ok(Tree::Stack(layer.map_or(found, |layer| root.with(layer))));
            }
            Locked::Done(tree) => return Ok(tree),
            Locked::Ours(locks) => locks,
        };
        let directory = self.step_directory()?;
        let upper = Dir::open(&directory.upper).map_err(SysError::from)?;
        let mount = || match copy.is_linked {
            true => Dir::open(&directory.upper).map_err(|error| SysError::from(error).into()),
            false => self.mount_for_writing(&below, &directory),
        };
        let mut merged = mount()?;
        let owner = match &copy.chown {
            Some(text) => Some(owner_of(&merged, text)?),
            None => None,
        };
        let chmod = copy.chmod.as_deref().map(Chmod::parse).transpose()?;
        let times = self.times(root.epoch());
        let mut made = Vec::new();
        for (number, (source, chosen)) in
            copy.sources.iter().zip(&work.selection.sources).enumerate()
        {
            if number > 0 {
                // What was put into the upper directory directly, the old mount may not see.
                drop(merged);
                merged = mount()?;
            }
            let mut copying = Copying::new(&merged, owner, chmod.as_ref(), times);
            copying.upper = Some(&upper);
            copying.made = std::mem::take(&mut made).into();
            self.copy_source(&mut copying, copy, source, chosen)?;
            made = copying.made.into_inner();
        }
        drop(merged);
        sys::fail::point("engine.build.copied");
        if copy.unpack != Unpack::Never {
            // An archive brings times of its own.
            made.clear();
        }
        let tree = self.filled(work, root, below, directory, ("copy", &made), locks)?;
        Ok(tree)
    }

    fn copy_source(
        &self,
        copying: &mut Copying<'_>,
        copy: &Copy,
        source: &CopySource,
        chosen: &Source,
    ) -> Result<(), EngineError> {
        match (source, chosen) {
            (CopySource::Inline { name, data }, _) => {
                copying.write(&copy.destination, name, data, 0o644)
            }
            (_, Source::Listed(files, matches)) => {
                self.copy_matches(copying, copy, source, files, matches)
            }
            (CopySource::Files { pattern, .. }, Source::Known(stack)) => {
                let files = self.mounted(stack)?;
                let matches = select(&files, pattern, Some(copy))?;
                self.copy_matches(copying, copy, source, &files, &matches)
            }
            _ => Ok(()),
        }
    }

    fn copy_matches(
        &self,
        copying: &mut Copying<'_>,
        copy: &Copy,
        source: &CopySource,
        files: &Files,
        matches: &[Match],
    ) -> Result<(), EngineError> {
        let pattern = match source {
            CopySource::Files { pattern, .. } => pattern.as_str(),
            CopySource::Download { name, .. } => name.as_str(),
            CopySource::Inline { .. } => return Ok(()),
        };
        let unpacks = match source {
            CopySource::Download { .. } => copy.unpack == Unpack::Always,
            _ => copy.unpack != Unpack::Never,
        };
        let is_many = matches.len() > 1 || copy.sources.len() > 1;
        for one in matches {
            let mut destination = copy.destination.clone();
            if is_many && !destination.ends_with('/') {
                destination.push('/');
            }
            if copy.keeps_parents {
                destination = with_parents(&destination, pattern, one);
            }
            if unpacks && super::archive::unpack(copying, files, one, &destination)? {
                continue;
            }
            copying.copy(files, one, &destination)?;
        }
        Ok(())
    }

    pub(crate) fn make_directory(
        &self,
        work: &Work<'_, Self>,
        make: &MakeDirectory,
    ) -> Result<Tree, EngineError> {
        let root = stack_of(&work.inputs[0])?;
        let locks = match self.lock_step(work, root)? {
            Locked::Done(tree) => return Ok(tree),
            Locked::Ours(locks) => locks,
        };
        let directory = self.step_directory()?;
        let merged = self.mount_for_writing(root, &directory)?;
        let owner = match make.user.as_str() {
            "" => None,
            user => Some(user_of(&merged, user)?),
        };
        let copying = Copying::new(&merged, owner, None, self.times(root.epoch()));
        copying.make_directories(Path::new(&make.path))?;
        drop(merged);
        self.filled(
            work,
            root,
            root.clone(),
            directory,
            ("directory", &[]),
            locks,
        )
    }

    pub(crate) fn run(&self, work: &Work<'_, Self>, run: &Run) -> Result<Tree, EngineError> {
        let root = stack_of(&work.inputs[0])?;
        let locks = match self.lock_step(work, root)? {
            Locked::Done(tree) => return Ok(tree),
            Locked::Ours(locks) => locks,
        };
        let directory = self.step_directory()?;
        let mut held = super::mounts::Held::default();
        let (mounts, env) = self.run_mounts(work, run, &directory, &mut held)?;
        let below = self.mount_for_reading(root)?;
        let points = run.mounts.iter().map(|mount| mount.target.as_str());
        let stubs = stubs::find(&below, OWN_MOUNT_POINTS.into_iter().chain(points));
        let prepared = Prepared {
            directory: directory.directory.clone(),
            upper: directory.upper.clone(),
            work: directory.work.clone(),
            root: root.clone(),
            mounts,
            env,
        };
        let code = self.program(work.id.0, run, &prepared)?;
        drop(held);
        if code != 0 {
            if self.inputs.keeps_failed {
                self.keep_failed(run, root, directory)?;
            }
            return Err(EngineError::Step(Box::new(super::StepFailure {
                args: run.args.clone(),
                code,
            })));
        }
        sys::fail::point("engine.build.ran");
        let upper = Dir::open(&directory.upper).map_err(SysError::from)?;
        stubs::remove(&upper, &below, &stubs);
        self.filled(work, root, root.clone(), directory, ("run", &[]), locks)
    }

    /// The files of a step that failed, as it left them, for whoever wants to look at them.
    fn keep_failed(
        &self,
        run: &Run,
        root: &Stack,
        directory: StepDirectory,
    ) -> Result<(), EngineError> {
        let layer = self.finisher.begin(Filled {
            path: directory.upper,
            root: root.clone(),
            definition: serde_json::Value::Null,
            selected: Vec::new(),
            description: String::new(),
            kind: "failed",
            _lock: None,
            _heir: None,
            is_kept: false,
        })?;
        let failed = super::worker::Failed {
            stack: root.with(layer),
            run: run.clone(),
        };
        *self
            .failed
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner) = Some(failed);
        Ok(())
    }

    /// A subtree of a source as a directory of layers that can be mounted: what is the user's is
    /// copied, since he may change it, and ignores parts of it.
    pub(crate) fn mountable(
        &self,
        work: &Work<'_, Self>,
        tree: &Tree,
        number: usize,
    ) -> Result<Stack, EngineError> {
        let Tree::Files(_) = tree else {
            return stack_of(tree).cloned();
        };
        let Some(Source::Listed(files, matches)) = work.selection.sources.get(number) else {
            return Err(EngineError::conflict("a mount has no source"));
        };
        let directory = self.step_directory()?;
        let root = Dir::open(&directory.upper).map_err(SysError::from)?;
        let mut copying = Copying::new(&root, None, None, self.times(EPOCH_DEFAULT_S));
        for one in matches.iter() {
            let parent = one.path.parent().unwrap_or(Path::new(""));
            let destination = match &one.node.content {
                files::Content::Directory(_) => format!("/{}/", one.path.display()),
                _ => format!("/{}/", parent.display()),
            };
            copying.copy(files, one, &destination)?;
        }
        Ok(Stack::base(
            vec![directory.upper],
            Vec::new(),
            EPOCH_DEFAULT_S,
            "",
        ))
    }
}
/// What keeps others from doing the same step.
#[derive(Default)]
pub(crate) struct Locks {
    lock: Option<storage::cache::StepLock>,
    heir: Option<Arc<super::layer::Heir>>,
}

enum Locked {
    Done(Tree),
    Ours(Locks),
}

/// Where a step is done.
pub(crate) struct StepDirectory {
    pub(crate) directory: PathBuf,
    pub(crate) upper: PathBuf,
    pub(crate) work: PathBuf,
}

impl BuildWorker<'_> {
    /// A root, writable, mounted nowhere.
    pub(crate) fn mount_for_writing(
        &self,
        stack: &Stack,
        directory: &StepDirectory,
    ) -> Result<Dir, EngineError> {
        let _places = self.finisher.hold_places();
        let open = |path: &PathBuf| {
            let flags = rustix::fs::OFlags::PATH | rustix::fs::OFlags::CLOEXEC;
            rustix::fs::openat(rustix::fs::CWD, path, flags, Mode::empty())
                .on("open", path.display())
        };
        let lowers = stack.lowers();
        let lowers = lowers.iter().map(open).collect::<Result<Vec<_>, _>>()?;
        // One that was mounted volatile is not taken again.
        let work = directory.work.join(self.number().to_string());
        rustix::fs::mkdir(&work, Mode::from_raw_mode(0o700)).on("create", work.display())?;
        let (upper, work) = (open(&directory.upper)?, open(&work)?);
        let above = Some((upper.as_fd(), work.as_fd()));
        let root = sys::mount::new_overlay(&lowers, above, &OVERLAY_OPTIONS)?;
        Ok(Dir::from_fd(root))
    }
}
/// `--parents`: the source's directories beneath the destination, from the pivot `/./` on.
fn with_parents(destination: &str, pattern: &str, one: &Match) -> String {
    let path = one.path.strip_prefix(files::pivot(pattern));
    let path = path.unwrap_or(&one.path);
    let path = match &one.node.content {
        files::Content::Directory(_) => path,
        _ => path.parent().unwrap_or(Path::new("")),
    };
    format!("{}/{}/", destination.trim_end_matches('/'), path.display())
}

/// `--chown`: a name has the group of its passwd entry, a number the same group.
fn owner_of(root: &Dir, text: &str) -> Result<(u32, u32), EngineError> {
    let (user, group) = text.split_once(':').unwrap_or((text, ""));
    let is_number = !user.is_empty() && user.bytes().all(|byte| byte.is_ascii_digit());
    let text = match (is_number, group) {
        (true, "") => format!("{user}:{user}"),
        _ => text.to_owned(),
    };
    user_of(root, &text)
}

fn user_of(root: &Dir, text: &str) -> Result<(u32, u32), EngineError> {
    let request = runtime::UserRequest {
        user: text.to_owned(),
        groups: Vec::new(),
    };
    let user = runtime::users::resolve_in(root, &request);
    let user = user.map_err(|error| EngineError::invalid(error.to_string()))?;
    Ok((user.uid, user.gid))
}
