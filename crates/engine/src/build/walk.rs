//! Walks files and makes a selection of them.

use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use build::ignore::{Inherited, Matcher};
use build::key::digest_of_parts;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;
use storage::blobs::Hasher;
use sys::{Context, SysError};
use types::digest::{Algorithm, Digest};

use super::files::{
    Content, Exclude, Files, Node, Owners, Seen, attributes, changed, digest_of, open_file,
};
use crate::error::EngineError;

/// Directories may be nested so deep.
const DEPTH_MAX: usize = 512;
/// Objects of one selection.
pub(crate) const NODES_MAX: usize = 10_000_000;
const READ_BYTES: usize = 256 << 10;

/// A walk through files.
pub(crate) struct Walk<'a> {
    files: &'a Files,
    exclude: &'a Exclude<'a>,
    count: &'a mut usize,
    /// From the root of the files.
    pub(crate) path: Vec<u8>,
    /// How long the path of the match is; `None` until it is known. What is excluded is named from
    /// there.
    pub(crate) base: Option<usize>,
    depth: usize,
    buffer: Vec<u8>,
}

/// An object that a walk came upon.
pub(crate) struct Found<'a> {
    /// The directory that it is in.
    pub(crate) parent: BorrowedFd<'a>,
    pub(crate) name: &'a OsStr,
    pub(crate) stat: &'a Stat,
    /// What the ignore file says of the directories above it.
    pub(crate) inherited: &'a Inherited,
    /// The same of `--exclude`.
    pub(crate) excluded: &'a Inherited,
    /// Whether it is what was asked for, and not something beneath that.
    pub(crate) is_match: bool,
}

impl<'a> Walk<'a> {
    pub(crate) fn new(files: &'a Files, exclude: &'a Exclude<'a>, count: &'a mut usize) -> Self {
        Self {
            files,
            exclude,
            count,
            path: Vec::new(),
            base: Some(0),
            depth: 0,
            buffer: Vec::new(),
        }
    }

    /// An object in a directory; `None` where it is left out.
    pub(crate) fn object(&mut self, found: &Found<'_>) -> Result<Option<Node>, EngineError> {
        *self.count += 1;
        if *self.count > NODES_MAX {
            return Err(EngineError::invalid(format!(
                "cannot read {:?}: more than {NODES_MAX} files are selected",
                self.shown()
            )));
        }
        let length = self.path.len();
        if length > 0 {
            self.path.push(b'/');
        }
        self.path.extend_from_slice(found.name.as_bytes());
        if found.is_match {
            self.base = Some(match self.exclude.pivot {
                None => self.path.len() + 1,
                Some(0) => 0,
                Some(pivot) => pivot + 1,
            });
        }
        let node = self.object_here(found);
        self.path.truncate(length);
        node
    }

    fn object_here(&mut self, found: &Found<'_>) -> Result<Option<Node>, EngineError> {
        let Found {
            parent,
            name,
            stat,
            inherited,
            excluded,
            is_match,
        } = *found;
        let kind = FileType::from_raw_mode(stat.st_mode);
        let is_directory = kind == FileType::Directory;
        let (mut is_left, beneath) =
            self.is_ignored(self.files.ignore.as_ref(), 0, is_directory, inherited);
        let mut excluded_beneath = Inherited::default();
        match (self.base, self.exclude.matcher) {
            (_, Some(matcher)) if is_match && self.exclude.pivot.is_none() => {
                // A file that a wildcard found is named by itself; of a directory, its contents are.
                is_left |= !is_directory && matcher.ignores(name.as_bytes());
            }
            (Some(base), Some(_)) => {
                let (left, beneath) =
                    self.is_ignored(self.exclude.matcher, base, is_directory, excluded);
                is_left |= left;
                excluded_beneath = beneath;
            }
            _ => {}
        }
        if is_directory {
            if is_left && !is_match && !self.may_bring_back() {
                return Ok(None);
            }
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let fd = rustix::fs::openat(parent, name, flags, Mode::empty());
            let fd = fd.on("open", self.shown())?;
            let node = self.directory(
                fd.as_fd(),
                name.to_owned(),
                stat,
                &beneath,
                &excluded_beneath,
            )?;
            let is_empty = matches!(&node.content, Content::Directory(nodes) if nodes.is_empty());
            return Ok((!(is_left && is_empty)).then_some(node));
        }
        if is_left {
            return Ok(None);
        }
        let content = match kind {
            FileType::RegularFile => self.file(parent, name, stat)?,
            FileType::Symlink => {
                let target = rustix::fs::readlinkat(parent, name, Vec::new());
                Content::Link(target.on("read link", self.shown())?.into_bytes())
            }
            // Nothing of the user's but files: a pipe would be waited for, a device is his machine's.
            _ if self.files.owners == Owners::Reset => return Ok(None),
            FileType::Socket => return Ok(None),
            other => Content::Special(other, stat.st_rdev),
        };
        Ok(Some(self.node(name.to_owned(), stat, content)))
    }

    fn is_ignored(
        &self,
        matcher: Option<&Matcher>,
        from: usize,
        is_directory: bool,
        above: &Inherited,
    ) -> (bool, Inherited) {
        let path = self.path.get(from..).unwrap_or_default();
        match matcher {
            None => (false, Inherited::default()),
            Some(matcher) if is_directory => matcher.directory(path, above),
            Some(matcher) => (matcher.file(path, above), Inherited::default()),
        }
    }

    fn may_bring_back(&self) -> bool {
        let by_ignore = self.files.ignore.as_ref();
        let by_ignore = by_ignore.is_some_and(|ignore| ignore.may_bring_back(&self.path));
        let beneath = self.path.get(self.base.unwrap_or(0)..).unwrap_or_default();
        let by_exclude = self.exclude.matcher;
        by_ignore || by_exclude.is_some_and(|exclude| exclude.may_bring_back(beneath))
    }

    pub(crate) fn directory(
        &mut self,
        fd: BorrowedFd<'_>,
        name: OsString,
        stat: &Stat,
        inherited: &Inherited,
        excluded: &Inherited,
    ) -> Result<Node, EngineError> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(EngineError::invalid(format!(
                "cannot read {:?}: directories are nested more than {DEPTH_MAX} deep",
                self.shown()
            )));
        }
        let items = sys::rootfs::list(fd).on("list", self.shown())?;
        let mut names: Vec<OsString> = items.into_iter().map(|item| item.name).collect();
        names.sort_unstable();
        let mut nodes = Vec::with_capacity(names.len());
        for name in names {
            let stat = match rustix::fs::statat(fd, &name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) => stat,
                // It went while we looked.
                Err(Errno::NOENT) => continue,
                Err(errno) => {
                    return Err(SysError::new("read", self.shown(), errno).into());
                }
            };
            nodes.extend(self.object(&Found {
                parent: fd,
                name: &name,
                stat: &stat,
                inherited,
                excluded,
                is_match: false,
            })?);
        }
        self.depth -= 1;
        Ok(self.node(name, stat, Content::Directory(nodes)))
    }

    fn file(
        &mut self,
        parent: BorrowedFd<'_>,
        name: &OsStr,
        stat: &Stat,
    ) -> Result<Content, EngineError> {
        let seen = Seen::of(stat);
        if let Some(digest) = self
            .files
            .memo
            .as_ref()
            .and_then(|memo| memo.get(&self.path, &seen))
        {
            return Ok(Content::File { digest, seen });
        }
        let fd = open_file(parent, name).on("open", self.shown())?;
        let before = rustix::fs::fstat(&fd).on("read", self.shown())?;
        let digest = self.digest(&fd)?;
        let after = rustix::fs::fstat(&fd).on("read", self.shown())?;
        if Seen::of(&before) != seen || Seen::of(&after) != seen {
            return Err(changed(&self.shown()));
        }
        if let Some(memo) = &self.files.memo {
            memo.put(&self.path, &seen, &digest);
        }
        Ok(Content::File { digest, seen })
    }

    /// Of a file's bytes, and of its attributes where it has any.
    fn digest(&mut self, fd: &OwnedFd) -> Result<Digest, EngineError> {
        self.buffer.resize(READ_BYTES, 0);
        let mut hasher = Hasher::new(Algorithm::Sha256);
        loop {
            match rustix::io::read(fd, &mut self.buffer[..]) {
                Ok(0) => break,
                Ok(count) => hasher.update(&self.buffer[..count]),
                Err(Errno::INTR) => {}
                Err(errno) => return Err(SysError::new("read", self.shown(), errno).into()),
            }
        }
        let bytes = hasher.finish();
        let attributes = attributes(fd.as_fd()).on("read the attributes of", self.shown())?;
        if attributes.is_empty() {
            return Ok(bytes);
        }
        let attributes = attributes.iter();
        let parts = attributes.flat_map(|(name, value)| [name.as_slice(), value.as_slice()]);
        Ok(digest_of_parts(
            std::iter::once(bytes.as_str().as_bytes()).chain(parts),
        ))
    }

    fn node(&self, name: OsString, stat: &Stat, content: Content) -> Node {
        let mode = stat.st_mode & 0o7777;
        let owner = match self.files.owners {
            Owners::Reset => (0, 0),
            Owners::Keep => (stat.st_uid, stat.st_gid),
        };
        // Permissions of a link mean nothing, and file systems differ in what they say.
        let mode = match content {
            Content::Link(_) => 0o777,
            _ => mode,
        };
        let digest = digest_of(mode, owner, &content);
        Node {
            name,
            mode,
            owner,
            time: (stat.st_mtime, stat.st_mtime_nsec as i64),
            content,
            digest,
        }
    }

    fn shown(&self) -> String {
        String::from_utf8_lossy(&self.path).into_owned()
    }
}
