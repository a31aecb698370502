//! Files that steps copy or mount: what a pattern selects, by content.
//!
//! A directory of the user (a context), a checkout, or the mounted tree of a stage. All of it is
//! walked by descriptors beneath its root, in the order of the names' bytes, so that a selection has
//! one digest: of names, kinds, permissions, content and attributes, and of owners where they are
//! kept. Times are no part of it.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};

use build::ignore::{Inherited, Matcher};
use build::key::digest_of_parts;
use build::wildcard;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;
use sys::rootfs::Dir;
use sys::{Context, SysError};
use types::digest::Digest;

use super::depth;
use super::memo::Memo;
use super::walk::{Found, Walk};
use crate::error::EngineError;

/// As the kernel's XATTR_LIST_MAX and XATTR_SIZE_MAX.
const XATTR_BYTES_MAX: usize = 64 << 10;

/// Whose the files are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Owners {
    /// Of a user, whose machine does not matter: they become root's.
    Reset,
    /// Of a stage: they stay as they are.
    Keep,
}

/// A set of files.
pub(crate) struct Files {
    /// Where they are.
    pub(crate) root: Dir,
    /// What is not there.
    pub(crate) ignore: Option<Matcher>,
    /// Whether owners count.
    pub(crate) owners: Owners,
    /// What is known of unchanged files.
    pub(crate) memo: Option<Memo>,
}

/// What a selection found under one name.
#[derive(Debug)]
pub(crate) struct Match {
    /// Its path from the root of the files, for `--parents` and people.
    pub(crate) path: PathBuf,
    /// The object; a directory means its contents.
    pub(crate) node: Node,
}

/// An object and what is beneath it.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) name: OsString,
    pub(crate) mode: u32,
    pub(crate) owner: (u32, u32),
    pub(crate) time: (i64, i64),
    pub(crate) content: Content,
    /// Of names, kinds, permissions and contents, of itself and all beneath.
    pub(crate) digest: Digest,
}

#[derive(Debug)]
pub(crate) enum Content {
    Directory(Vec<Node>),
    File {
        /// Of its bytes and attributes.
        digest: Digest,
        /// Whether it has attributes that are copied.
        seen: Seen,
    },
    Link(Vec<u8>),
    Special(FileType, u64),
}

/// How a file looked when it was read: one that looks otherwise when it is copied has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) device: u64,
    pub(crate) inode: u64,
    pub(crate) size: i64,
    pub(crate) modified: (i64, i64),
    pub(crate) changed: (i64, i64),
}

impl Seen {
    pub(crate) fn of(stat: &Stat) -> Self {
        Self {
            device: stat.st_dev,
            inode: stat.st_ino,
            size: stat.st_size,
            modified: (stat.st_mtime, stat.st_mtime_nsec as i64),
            changed: (stat.st_ctime, stat.st_ctime_nsec as i64),
        }
    }
}

/// What is left out of a selection.
pub(crate) struct Exclude<'a> {
    pub(crate) matcher: Option<&'a Matcher>,
    /// With `--parents`: files are named from this byte of their path on, and not by what matched.
    pub(crate) pivot: Option<usize>,
}

impl Files {
    /// What a pattern selects, in the order of paths. With `--parents`, `**` is any number of
    /// directories (BuildKit's include patterns); without, it is a `*` like any other.
    ///
    /// # Errors
    /// A malformed pattern, or a file that cannot be read. Nothing found is an empty list.
    pub(crate) fn select(
        &self,
        pattern: &str,
        excludes: &[String],
        keeps_parents: bool,
    ) -> Result<Vec<Match>, EngineError> {
        let excluded = match excludes {
            [] => None,
            given => Some(
                Matcher::new(given)
                    .map_err(|error| EngineError::invalid(format!("--exclude: {error}")))?,
            ),
        };
        let exclude = Exclude {
            matcher: excluded.as_ref(),
            pivot: keeps_parents.then(|| pivot(pattern).as_os_str().len()),
        };
        let mut matches = Vec::new();
        let mut count = 0;
        let names = match keeps_parents {
            true => depth::deep(clean(pattern)),
            false => clean(pattern),
        };
        for path in self.expand(pattern, &names, keeps_parents)? {
            let Some(node) = self.node_at(&path, &exclude, &mut count)? else {
                continue;
            };
            matches.push(Match { path, node });
        }
        if keeps_parents {
            depth::drop_nested(&mut matches);
        }
        Ok(matches)
    }

    /// What is at a path, taken as it is written.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub(crate) fn at(&self, path: &Path) -> Result<Vec<Match>, EngineError> {
        let exclude = Exclude {
            matcher: None,
            pivot: None,
        };
        let node = self.node_at(path, &exclude, &mut 0)?;
        let path = path.to_path_buf();
        Ok(node.map(|node| Match { path, node }).into_iter().collect())
    }

    /// The paths that the names of a pattern mean, sorted; a path without wildcards is itself.
    fn expand(
        &self,
        pattern: &str,
        names: &[String],
        keeps_parents: bool,
    ) -> Result<Vec<PathBuf>, EngineError> {
        let mut paths = vec![PathBuf::new()];
        for name in names {
            if keeps_parents && name == depth::ANY_DEPTH {
                paths = self.directories_from(paths)?;
                continue;
            }
            if !wildcard::is_pattern(name.as_bytes()) {
                paths.iter_mut().for_each(|path| path.push(name));
                continue;
            }
            let mut found = Vec::new();
            for path in &paths {
                let Ok(items) = self.root.read_dir(path) else {
                    continue;
                };
                for item in items {
                    let fits = wildcard::matches(name.as_bytes(), item.name.as_bytes());
                    if fits
                        .map_err(|error| EngineError::invalid(format!("{error}: {pattern:?}")))?
                    {
                        found.push(path.join(&item.name));
                    }
                }
            }
            found.sort_unstable_by(|a, b| a.as_os_str().cmp(b.as_os_str()));
            paths = found;
        }
        Ok(paths)
    }

    /// These directories and all beneath them, sorted. Links are not followed, and what is ignored
    /// is not looked into.
    fn directories_from(&self, paths: Vec<PathBuf>) -> Result<Vec<PathBuf>, EngineError> {
        let mut found = BTreeSet::new();
        let mut to_read = paths;
        while let Some(path) = to_read.pop() {
            if found.contains(&path) || self.hides(&path) {
                continue;
            }
            let Ok(items) = self.root.read_dir(&path) else {
                continue;
            };
            for item in items {
                let below = path.join(&item.name);
                let is_directory = match item.kind {
                    FileType::Unknown => {
                        let stat = self.root.symlink_metadata(&below);
                        stat.is_ok_and(|stat| is_directory(&stat))
                    }
                    kind => kind == FileType::Directory,
                };
                if is_directory {
                    to_read.push(below);
                }
            }
            found.insert(path);
            if found.len() > super::walk::NODES_MAX {
                return Err(EngineError::invalid(format!(
                    "cannot look for ** in more than {} directories",
                    super::walk::NODES_MAX
                )));
            }
        }
        Ok(found.into_iter().collect())
    }

    /// Whether a directory is ignored with all beneath it.
    fn hides(&self, path: &Path) -> bool {
        beneath(self.ignore.as_ref(), path).1
            && self
                .ignore
                .as_ref()
                .is_some_and(|ignore| !ignore.may_bring_back(path.as_os_str().as_bytes()))
    }

    /// The object at a path, whose own link is followed; `None` where there is none, or it is
    /// ignored.
    fn node_at(
        &self,
        path: &Path,
        exclude: &Exclude<'_>,
        count: &mut usize,
    ) -> Result<Option<Node>, EngineError> {
        let Some(real) = self.follow(path)? else {
            return Ok(None);
        };
        let (inherited, is_ignored) = beneath(self.ignore.as_ref(), &real);
        if real.as_os_str().is_empty() {
            let directory = self.root.open_dir(Path::new("")).map_err(SysError::from)?;
            let stat = rustix::fs::fstat(&directory).on("read", "the context")?;
            let mut walk = Walk::new(self, exclude, count);
            return walk
                .directory(
                    directory.as_fd(),
                    OsString::new(),
                    &stat,
                    &inherited,
                    &Inherited::default(),
                )
                .map(Some);
        }
        let (parent, name) = self.root.open_parent(&real).map_err(SysError::from)?;
        let stat = rustix::fs::statat(&parent, &name, AtFlags::SYMLINK_NOFOLLOW);
        let stat = stat.on("read", real.display())?;
        let mut walk = Walk::new(self, exclude, count);
        walk.path = real
            .parent()
            .map_or_else(Vec::new, |parent| parent.as_os_str().as_bytes().to_vec());
        walk.base = None;
        if is_ignored {
            // A directory may be ignored and something in it brought back.
            let brings_back = self.ignore.as_ref().is_some_and(|ignore| {
                is_directory(&stat) && ignore.may_bring_back(real.as_os_str().as_bytes())
            });
            if !brings_back {
                return Ok(None);
            }
        }
        let above = real.parent().unwrap_or(Path::new(""));
        let parent_inherited = beneath(self.ignore.as_ref(), above).0;
        let named = exclude.pivot.map_or(b"".as_slice(), |from| {
            above.as_os_str().as_bytes().get(from..).unwrap_or_default()
        });
        let excluded = beneath(exclude.matcher, Path::new(OsStr::from_bytes(named))).0;
        walk.object(&Found {
            parent: parent.as_fd(),
            name: &name,
            stat: &stat,
            inherited: &parent_inherited,
            excluded: &excluded,
            is_match: true,
        })
    }

    /// Follows links at the end of a path, within the root.
    fn follow(&self, path: &Path) -> Result<Option<PathBuf>, EngineError> {
        const LINKS_MAX: usize = 40;
        let mut real = path.to_path_buf();
        for _ in 0..LINKS_MAX {
            if real.as_os_str().is_empty() {
                return Ok(Some(real));
            }
            let stat = match self.root.symlink_metadata(&real) {
                Ok(stat) => stat,
                Err(error) if error.is_not_found() || error.errno == Errno::NOTDIR => {
                    return Ok(None);
                }
                Err(error) => return Err(SysError::from(error).into()),
            };
            if FileType::from_raw_mode(stat.st_mode) != FileType::Symlink {
                return Ok(Some(real));
            }
            let target = self.root.read_link(&real).map_err(SysError::from)?;
            let parent = real.parent().unwrap_or(Path::new("")).to_path_buf();
            real = lexical(&parent, Path::new(&target));
        }
        Err(SysError::new("follow", path.display().to_string(), Errno::LOOP).into())
    }
}

/// What is beneath a directory inherits from the rules for it and those above, and whether it is
/// ignored itself.
fn beneath(rules: Option<&Matcher>, directory: &Path) -> (Inherited, bool) {
    let mut inherited = Inherited::default();
    let mut is_ignored = false;
    let Some(rules) = rules else {
        return (inherited, false);
    };
    let mut so_far = PathBuf::new();
    for name in directory.components() {
        if let Component::Normal(name) = name {
            so_far.push(name);
            let (ignored, beneath) = rules.directory(so_far.as_os_str().as_bytes(), &inherited);
            is_ignored = ignored;
            inherited = beneath;
        }
    }
    (inherited, is_ignored)
}

/// What stands before `/./` in a source of `--parents`: it is not made again.
pub(crate) fn pivot(pattern: &str) -> PathBuf {
    let pivot = pattern.split_once("/./").map_or("", |(before, _)| before);
    clean(pivot).iter().collect()
}

fn is_directory(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::Directory
}

/// The names of a pattern or path, without `.`, and `..` never above the root.
pub(crate) fn clean(pattern: &str) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for name in pattern.split('/') {
        match name {
            "" | "." => {}
            ".." => {
                names.pop();
            }
            other => names.push(other.to_owned()),
        }
    }
    names
}

/// A link's target from the directory that holds the link, as text and never above the root.
fn lexical(parent: &Path, target: &Path) -> PathBuf {
    let mut path = match target.is_absolute() {
        true => PathBuf::new(),
        false => parent.to_path_buf(),
    };
    for component in target.components() {
        match component {
            Component::Normal(name) => path.push(name),
            Component::ParentDir => {
                path.pop();
            }
            _ => {}
        }
    }
    path
}

/// An error about a file that is being written while it is read.
pub(crate) fn changed(path: &str) -> EngineError {
    EngineError::conflict(format!(
        "cannot copy {path:?}: it changed while it was read; build again when it is at rest"
    ))
}

/// Opens a regular file for reading; what has become something else by now is neither waited for nor
/// taken.
pub(crate) fn open_file(parent: BorrowedFd<'_>, name: &OsStr) -> Result<OwnedFd, Errno> {
    let flags =
        OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    rustix::fs::openat(parent, name, flags, Mode::empty())
}

pub(crate) fn digest_of(mode: u32, owner: (u32, u32), content: &Content) -> Digest {
    let mut head = Vec::with_capacity(64);
    head.extend_from_slice(&mode.to_le_bytes());
    head.extend_from_slice(&owner.0.to_le_bytes());
    head.extend_from_slice(&owner.1.to_le_bytes());
    match content {
        Content::Directory(nodes) => {
            head.push(b'd');
            let children = nodes
                .iter()
                .flat_map(|node| [node.name.as_bytes(), node.digest.as_str().as_bytes()]);
            digest_of_parts(std::iter::once(head.as_slice()).chain(children))
        }
        Content::File { digest, .. } => {
            head.push(b'f');
            digest_of_parts([head.as_slice(), digest.as_str().as_bytes()])
        }
        Content::Link(target) => {
            head.push(b'l');
            digest_of_parts([head.as_slice(), target.as_slice()])
        }
        Content::Special(kind, device) => {
            head.push(b's');
            head.extend_from_slice(&kind.as_raw_mode().to_le_bytes());
            head.extend_from_slice(&device.to_le_bytes());
            digest_of_parts([head.as_slice()])
        }
    }
}

/// The digest of a selection.
pub(crate) fn digest_of_matches(matches: &[Match]) -> Digest {
    let parts = matches.iter().flat_map(|one| {
        // A directory's own name does not count: its contents are copied.
        let name: &[u8] = match one.node.content {
            Content::Directory(_) => b"/",
            _ => one.path.file_name().map_or(b"", |name| name.as_bytes()),
        };
        [name, one.node.digest.as_str().as_bytes()]
    });
    digest_of_parts(parts)
}

/// As [`digest_of_matches`], where the paths count as well.
pub(crate) fn digest_with_paths(matches: &[Match]) -> Digest {
    digest_of_parts(matches.iter().flat_map(|one| {
        [
            one.path.as_os_str().as_bytes(),
            one.node.digest.as_str().as_bytes(),
        ]
    }))
}

/// Names and values.
pub(crate) type Attributes = Vec<(Vec<u8>, Vec<u8>)>;

/// The attributes of an object that belong to an image, sorted.
pub(crate) fn attributes(fd: BorrowedFd<'_>) -> Result<Attributes, Errno> {
    let mut small = [0_u8; 1024];
    let names = match rustix::fs::flistxattr(fd, &mut small[..]) {
        Ok(0) | Err(Errno::NOTSUP) => return Ok(Vec::new()),
        Ok(length) => small[..length].to_vec(),
        Err(Errno::RANGE) => {
            let mut large = vec![0_u8; XATTR_BYTES_MAX];
            let length = rustix::fs::flistxattr(fd, &mut large[..])?;
            large.truncate(length);
            large
        }
        Err(errno) => return Err(errno),
    };
    let mut all = Vec::new();
    for name in names.split(|byte| *byte == 0) {
        if !storage::layer::is_image_xattr(name) {
            continue;
        }
        let mut value = vec![0_u8; XATTR_BYTES_MAX];
        match rustix::fs::fgetxattr(fd, OsStr::from_bytes(name), &mut value[..]) {
            Ok(length) => {
                value.truncate(length);
                all.push((name.to_vec(), value));
            }
            Err(Errno::NODATA) => {}
            Err(errno) => return Err(errno),
        }
    }
    all.sort();
    Ok(all)
}

/// Opens an object of a selection again: links in its path are those that were followed before.
pub(crate) fn open_match(files: &Files, path: &Path) -> Result<(OwnedFd, OsString), EngineError> {
    let real = files.follow(path)?.unwrap_or_else(|| path.to_path_buf());
    if real.as_os_str().is_empty() {
        let fd = files.root.open_dir(Path::new("")).map_err(SysError::from)?;
        return Ok((fd, OsString::from(".")));
    }
    Ok(files.root.open_parent(&real).map_err(SysError::from)?)
}

/// The paths of a selection with their digests, for telling what changed between two.
pub(crate) fn listing(matches: &[Match]) -> Vec<(Vec<u8>, Digest)> {
    fn add(path: &mut Vec<u8>, node: &Node, all: &mut Vec<(Vec<u8>, Digest)>) {
        let own = match &node.content {
            // What is beneath is listed itself.
            Content::Directory(_) => {
                digest_of(node.mode, node.owner, &Content::Directory(Vec::new()))
            }
            _ => node.digest.clone(),
        };
        all.push((path.clone(), own));
        if let Content::Directory(nodes) = &node.content {
            let length = path.len();
            for child in nodes {
                if !path.is_empty() {
                    path.push(b'/');
                }
                path.extend_from_slice(child.name.as_bytes());
                add(path, child, all);
                path.truncate(length);
            }
        }
    }
    let mut all = Vec::new();
    for one in matches {
        let mut path = one.path.as_os_str().as_bytes().to_vec();
        add(&mut path, &one.node, &mut all);
    }
    all
}

/// Where the kernel says that an open directory is.
pub(crate) fn place_of(fd: BorrowedFd<'_>) -> Option<PathBuf> {
    let number = sys::process::raw_number(fd);
    let path = rustix::fs::readlink(format!("/proc/self/fd/{number}"), Vec::new()).ok()?;
    Some(PathBuf::from(OsString::from_vec(path.into_bytes())))
}
