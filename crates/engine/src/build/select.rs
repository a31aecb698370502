//! What steps take from their inputs, and by which digest it is known.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use build::graph::{Copy, CopySource, MountKind, Op, Step};
use build::key::digest_of_parts;
use rustix::fs::FileType;
use sys::rootfs::Dir;
use types::digest::Digest;

use super::files::{self, Files, Match, Owners};
use super::layer::Stack;
use super::worker::{BuildWorker, Tree};
use crate::error::EngineError;

/// What a step takes of its inputs.
pub(crate) struct Chosen {
    pub(crate) sources: Vec<Source>,
}

pub(crate) enum Source {
    /// Found, and listed.
    Listed(Arc<Files>, Vec<Match>),
    /// Only its digest is known: it is looked for again when it is copied.
    Known(Stack),
    /// A file that is part of the step.
    Inline,
}

impl BuildWorker<'_> {
    /// What a pattern selects of a tree, and its digest.
    fn choose(
        &self,
        tree: &Tree,
        pattern: &str,
        copy: Option<&Copy>,
    ) -> Result<(Source, Digest), EngineError> {
        match tree {
            Tree::Files(files) => {
                let matches = select(files, pattern, copy)?;
                let digest = digest(&matches, copy);
                self.remember_listing(&digest, &matches);
                Ok((Source::Listed(files.clone(), matches), digest))
            }
            Tree::Stack(stack) => {
                let question = question(&stack.identity()?, pattern, copy);
                if let Some(digest) = self.remembered(&question) {
                    return Ok((Source::Known(stack.clone()), digest));
                }
                let files = Arc::new(self.mounted(stack)?);
                let matches = select(&files, pattern, copy)?;
                let digest = digest(&matches, copy);
                self.remember_listing(&digest, &matches);
                if !matches.is_empty() {
                    self.remember(&question, &digest);
                }
                Ok((Source::Listed(files, matches), digest))
            }
        }
    }

    pub(crate) fn mounted(&self, stack: &Stack) -> Result<Files, EngineError> {
        Ok(Files {
            root: self.mount_for_reading(stack)?,
            ignore: None,
            owners: Owners::Keep,
            memo: None,
        })
    }

    pub(crate) fn mount_for_reading(&self, stack: &Stack) -> Result<Dir, EngineError> {
        let _places = self.finisher.hold_places();
        Ok(Dir::from_fd(runtime::mount_read_only(
            &self.readable_lowers(stack)?,
        )?))
    }

    /// Two layers at least make an overlay: an empty directory is beneath.
    pub(crate) fn readable_lowers(&self, stack: &Stack) -> Result<Vec<PathBuf>, EngineError> {
        let mut lowers = stack.lowers();
        if lowers.len() == 1 {
            lowers.push(self.engine.staging_directory()?);
        }
        Ok(lowers)
    }

    pub(crate) fn content_path(&self, kind: &str, digest: &Digest) -> PathBuf {
        let contents = self.engine.store().path("cache/contents");
        contents.join(format!("{kind}-{}", digest.hex()))
    }

    fn remembered(&self, question: &Digest) -> Option<Digest> {
        let path = self.content_path("answer", question);
        let bytes = sys::atomic::read_limited(&path, 1024).ok()?;
        Digest::parse(std::str::from_utf8(&bytes).ok()?).ok()
    }

    fn remember(&self, question: &Digest, answer: &Digest) {
        let path = self.content_path("answer", question);
        let volatile = sys::atomic::Durability::Volatile;
        let _ = sys::atomic::write(&path, answer.as_str().as_bytes(), volatile);
    }

    /// Keeps what a selection consists of, so that a later build can tell what changed.
    fn remember_listing(&self, digest: &Digest, matches: &[Match]) {
        let path = self.content_path("list", digest);
        if !path.exists() {
            super::listing::write(&path, &files::listing(matches));
        }
    }

    /// What a step takes of all its inputs but the root.
    pub(crate) fn choose_all(
        &self,
        step: &Step,
        inputs: &[Tree],
    ) -> Result<(Chosen, Vec<Digest>), EngineError> {
        let mut chosen = Vec::new();
        let mut digests = Vec::new();
        let mut next = inputs.iter().skip(1);
        match &step.op {
            Op::Copy(copy) => {
                for source in &copy.sources {
                    if let CopySource::Download { name, .. } = source {
                        let Some(Tree::Files(files)) = next.next() else {
                            continue;
                        };
                        let matches = downloaded(files, name)?;
                        digests.push(digest(&matches, Some(copy)));
                        chosen.push(Source::Listed(files.clone(), matches));
                        continue;
                    }
                    let CopySource::Files {
                        pattern,
                        may_be_missing,
                        ..
                    } = source
                    else {
                        chosen.push(Source::Inline);
                        continue;
                    };
                    let Some(tree) = next.next() else { continue };
                    let (source, digest) = self.choose(tree, pattern, Some(copy))?;
                    if let Source::Listed(files, matches) = &source
                        && matches.is_empty()
                        && !may_be_missing
                    {
                        return Err(missing(files, pattern));
                    }
                    chosen.push(source);
                    digests.push(digest);
                }
            }
            Op::Run(run) => {
                for mount in run.mounts.iter().filter(|mount| mount.step().is_some()) {
                    let source = match &mount.kind {
                        MountKind::Bind { source, .. } => source,
                        MountKind::Cache(cache) => &cache.source,
                        _ => continue,
                    };
                    let Some(tree) = next.next() else { continue };
                    let (selected, digest) = self.choose(tree, source, None)?;
                    if let Source::Listed(files, matches) = &selected
                        && matches.is_empty()
                    {
                        return Err(missing(files, source));
                    }
                    chosen.push(selected);
                    digests.push(digest);
                }
            }
            _ => {}
        }
        Ok((Chosen { sources: chosen }, digests))
    }
}

pub(crate) fn select(
    files: &Files,
    pattern: &str,
    copy: Option<&Copy>,
) -> Result<Vec<Match>, EngineError> {
    let excludes = copy.map_or(&[][..], |copy| &copy.excludes);
    let keeps_parents = copy.is_some_and(|copy| copy.keeps_parents);
    let mut matches = files.select(pattern, excludes, keeps_parents)?;
    if keeps_parents {
        matches.sort_by(|a, b| a.path.cmp(&b.path));
    }
    Ok(matches)
}

fn digest(matches: &[Match], copy: Option<&Copy>) -> Digest {
    match copy {
        Some(copy) if copy.keeps_parents => files::digest_with_paths(matches),
        _ => files::digest_of_matches(matches),
    }
}

/// A download under the name that it gets.
fn downloaded(files: &Files, name: &str) -> Result<Vec<Match>, EngineError> {
    let path = Path::new(name);
    if path.components().count() != 1 || path.file_name() != Some(path.as_os_str()) {
        return Err(EngineError::invalid(format!(
            "a download cannot be called {name:?}"
        )));
    }
    let (root, own) = (&files.root, super::worker::DOWNLOADED);
    match rustix::fs::linkat(root, own, root, name, rustix::fs::AtFlags::empty()) {
        Ok(()) | Err(rustix::io::Errno::EXIST) => files.at(path),
        Err(errno) => Err(sys::SysError::new("link", name, errno).into()),
    }
}

/// By which the digest of a selection is remembered.
fn question(identity: &Digest, pattern: &str, copy: Option<&Copy>) -> Digest {
    let parents = copy.is_some_and(|copy| copy.keeps_parents).to_string();
    let excludes = copy.map(|copy| copy.excludes.join("\n"));
    let excludes = excludes.unwrap_or_default();
    digest_of_parts([
        identity.as_str().as_bytes(),
        pattern.as_bytes(),
        parents.as_bytes(),
        excludes.as_bytes(),
    ])
}

/// What is told of a source that is not found: what stands in its place, if something does.
fn missing(files: &Files, pattern: &str) -> EngineError {
    let path: PathBuf = files::clean(pattern).iter().collect();
    let shown = format!("/{}", path.display());
    let reason = match files.root.symlink_metadata(&path) {
        Err(_) => String::new(),
        Ok(stat) => match FileType::from_raw_mode(stat.st_mode) {
            FileType::Symlink => match files.root.read_link(&path) {
                Ok(target) => format!(": it is a link to {target:?}, which is not found here"),
                Err(_) => String::new(),
            },
            FileType::RegularFile | FileType::Directory if files.ignore.is_some() => {
                ": it is there, but .dockerignore excludes it".to_owned()
            }
            FileType::RegularFile | FileType::Directory => String::new(),
            _ => ": it is a pipe, a socket or a device, and only files are copied".to_owned(),
        },
    };
    EngineError::invalid(format!("{shown:?}: not found{reason}"))
}
