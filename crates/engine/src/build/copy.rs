//! Copies a selection into a stage's root.
//!
//! The root is an overlay that is mounted nowhere; every path of it is resolved beneath its
//! descriptor, links and all. A file's time is derived from its content (see [`Times`]), so that equal
//! files have equal times on every machine, and changed ones others.

use std::cell::RefCell;
use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Stat, Timespec, Timestamps, Uid};
use rustix::io::Errno;
use sys::rootfs::{Dir, Ladder};
use sys::{Context, SysError};
use types::digest::Digest;

use super::chmod::Chmod;
use super::files::{
    Content, Files, Match, Node, Seen, attributes, changed, open_file, open_match, place_of,
};
use crate::error::EngineError;

const COPY_BYTES: usize = 256 << 10;
const DAY_S: u64 = 86_400;

/// Which time a copied file gets.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Times {
    /// Within the day before this moment (seconds since 1970), by its content.
    Derived(i64),
    /// Its own.
    Kept(i64),
}

impl Times {
    fn of(self, digest: &Digest, own: (i64, i64)) -> (i64, i64) {
        match self {
            Self::Kept(_) => own,
            Self::Derived(epoch) => {
                let digits = digest.hex().get(..12).unwrap_or_default();
                let number = u64::from_str_radix(digits, 16).unwrap_or(0);
                let before = i64::try_from(1 + number % (DAY_S - 1)).unwrap_or(1);
                (epoch - before, 0)
            }
        }
    }

    fn epoch(self) -> i64 {
        match self {
            Self::Derived(epoch) | Self::Kept(epoch) => epoch,
        }
    }
}

/// What is copied, from where to where.
struct Way<'a> {
    source: BorrowedFd<'a>,
    name: &'a OsStr,
    target: BorrowedFd<'a>,
    target_name: &'a OsStr,
    node: &'a Node,
    /// For errors.
    path: &'a Path,
}

/// How to copy.
pub(crate) struct Copying<'a> {
    /// Where to.
    pub(crate) root: &'a Dir,
    /// New owner of everything.
    pub(crate) owner: Option<(u32, u32)>,
    /// New permissions.
    pub(crate) chmod: Option<&'a Chmod>,
    pub(crate) times: Times,
    /// Where what is written to the root ends up: a directory that is new there, with nothing of it
    /// below, is filled directly, which is cheaper than through the overlay.
    pub(crate) upper: Option<&'a Dir>,
    /// Directories that were made for this copy, from the root.
    pub(crate) made: RefCell<Vec<PathBuf>>,
    buffer: Vec<u8>,
}

impl<'a> Copying<'a> {
    pub(crate) fn new(
        root: &'a Dir,
        owner: Option<(u32, u32)>,
        chmod: Option<&'a Chmod>,
        times: Times,
    ) -> Self {
        Self {
            root,
            owner,
            chmod,
            times,
            upper: None,
            made: RefCell::default(),
            buffer: Vec::new(),
        }
    }

    /// Copies one match to `destination`: a directory's contents into it, a file beneath it where it
    /// is a directory or ends with `/`.
    pub(crate) fn copy(
        &mut self,
        files: &Files,
        one: &Match,
        destination: &str,
    ) -> Result<(), EngineError> {
        let (parent, name) = open_match(files, &one.path)?;
        match &one.node.content {
            Content::Directory(nodes) => {
                let target = self.make_directories(Path::new(destination))?;
                let target = self.beneath(target);
                let source = open_directory(parent.as_fd(), &name)?;
                self.children(source.as_fd(), target.as_fd(), nodes, &one.path)
            }
            _ => {
                let own = one.path.file_name().unwrap_or(OsStr::new(""));
                let target = self.file_target(destination, own)?;
                let (directory, target) = self.target_parent(&target)?;
                self.object(&Way {
                    source: parent.as_fd(),
                    name: &name,
                    target: directory.as_fd(),
                    target_name: &target,
                    node: &one.node,
                    path: &one.path,
                })
            }
        }
    }

    /// The same directory in the upper one, where it was made for this copy.
    fn beneath(&self, target: OwnedFd) -> OwnedFd {
        let in_upper = || -> Option<OwnedFd> {
            let upper = self.upper?;
            let (root, place) = (place_of(self.root.as_fd())?, place_of(target.as_fd())?);
            let place = place.strip_prefix(&root).ok()?;
            let is_new = self
                .made
                .borrow()
                .iter()
                .any(|made| place.starts_with(made));
            let mut ladder = Ladder::new(upper.as_fd()).ok()?;
            for name in place.components() {
                ladder.down(name.as_os_str()).ok()?;
            }
            is_new.then(|| ladder.current().try_clone_to_owned().ok())?
        };
        in_upper().unwrap_or(target)
    }

    /// Writes a file with this content, as from a here-document.
    pub(crate) fn write(
        &mut self,
        destination: &str,
        name: &str,
        data: &[u8],
        mode: u32,
    ) -> Result<(), EngineError> {
        let target = self.file_target(destination, OsStr::new(name))?;
        let (directory, target) = self.target_parent(&target)?;
        let file = self.create(directory.as_fd(), &target)?;
        let mut rest = data;
        while !rest.is_empty() {
            let count = rustix::io::write(&file, rest).on("write", shown(&target))?;
            rest = &rest[count..];
        }
        let digest = storage::blobs::digest_of(data);
        let mode = self.mode(mode, false);
        self.finish_file(
            &file,
            mode,
            (0, 0),
            self.times.of(&digest, (self.times.epoch(), 0)),
        )
        .on("set the attributes of", shown(&target))?;
        Ok(())
    }

    /// Where a file goes: beneath the destination where that is a directory, or says so.
    fn file_target(&self, destination: &str, name: &OsStr) -> Result<PathBuf, EngineError> {
        let path = Path::new(destination);
        let is_directory = destination.ends_with('/')
            || match self.root.metadata(path) {
                Ok(stat) => kind(&stat) == FileType::Directory,
                Err(error) if error.is_not_found() || error.errno == Errno::NOTDIR => false,
                Err(error) => return Err(SysError::from(error).into()),
            };
        Ok(match is_directory {
            true => path.join(name),
            false => path.to_path_buf(),
        })
    }

    /// The directory that a target is in, made where it is missing.
    fn target_parent(&self, target: &Path) -> Result<(OwnedFd, std::ffi::OsString), EngineError> {
        let parent = target.parent().unwrap_or(Path::new("/"));
        let directory = self.make_directories(parent)?;
        let name = target.file_name().unwrap_or(OsStr::new(".")).to_owned();
        Ok((directory, name))
    }

    /// A directory of the root with its parents; new ones are 0755 and the new owner's.
    pub(crate) fn make_directories(&self, path: &Path) -> Result<OwnedFd, EngineError> {
        let mut made = Vec::new();
        let fd = self
            .root
            .mkdir_all_reporting(path, 0o755, &mut |path| made.push(path.to_path_buf()))
            .map_err(|error| match error.errno {
                Errno::NOTDIR => EngineError::invalid(format!(
                    "cannot copy to {:?}: {:?} is not a directory",
                    path.display().to_string(),
                    error.path.display().to_string()
                )),
                _ => SysError::from(error).into(),
            })?;
        // Deepest first: what is made in a directory changes its time.
        for path in made.iter().rev() {
            let directory = self.root.open_dir(path).map_err(SysError::from)?;
            let owner = self.owner.unwrap_or((0, 0));
            let time = (self.times.epoch(), 0);
            set(&directory, 0o755, owner, time).on("set the attributes of", path.display())?;
        }
        self.made.borrow_mut().extend(made);
        Ok(fd)
    }

    fn children(
        &mut self,
        source: BorrowedFd<'_>,
        target: BorrowedFd<'_>,
        nodes: &[Node],
        path: &Path,
    ) -> Result<(), EngineError> {
        for node in nodes {
            let path = path.join(&node.name);
            self.object(&Way {
                source,
                name: &node.name,
                target,
                target_name: &node.name,
                node,
                path: &path,
            })?;
        }
        Ok(())
    }

    fn object(&mut self, way: &Way<'_>) -> Result<(), EngineError> {
        let Way {
            source,
            name,
            target,
            target_name,
            node,
            path,
        } = *way;
        match &node.content {
            Content::Directory(nodes) => {
                let from = open_directory(source, name)?;
                let to = self.directory(target, target_name, path)?;
                self.children(from.as_fd(), to.as_fd(), nodes, path)?;
                copy_attributes(from.as_fd(), to.as_fd())
                    .on("copy the attributes of", path.display())?;
                let mode = self.mode(node.mode, true);
                let time = match self.times {
                    Times::Kept(_) => node.time,
                    Times::Derived(epoch) => (epoch, 0),
                };
                set(&to, mode, self.owner.unwrap_or(node.owner), time)
                    .on("set the attributes of", path.display())?;
            }
            Content::File { digest, seen, .. } => {
                self.file(way, digest, seen)?;
            }
            Content::Link(link) => {
                clear(target, target_name)?;
                let link_text = OsStr::from_bytes(link);
                rustix::fs::symlinkat(link_text, target, target_name).on("link", path.display())?;
                self.finish_at(target, target_name, node, path)?;
            }
            Content::Special(kind, device) => {
                clear(target, target_name)?;
                let mode = Mode::from_raw_mode(node.mode);
                rustix::fs::mknodat(target, target_name, *kind, mode, *device)
                    .on("make", path.display())?;
                rustix::fs::chmodat(target, target_name, mode, AtFlags::empty())
                    .on("set the mode of", path.display())?;
                self.finish_at(target, target_name, node, path)?;
            }
        }
        Ok(())
    }

    /// A directory that is there stays; anything else in its place is an error.
    fn directory(
        &self,
        target: BorrowedFd<'_>,
        name: &OsStr,
        path: &Path,
    ) -> Result<OwnedFd, EngineError> {
        match rustix::fs::mkdirat(target, name, Mode::from_raw_mode(0o755)) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => {
                return Err(SysError::new("make", path.display().to_string(), errno).into());
            }
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match rustix::fs::openat(target, name, flags, Mode::empty()) {
            Ok(fd) => Ok(fd),
            Err(Errno::NOTDIR | Errno::LOOP) => Err(EngineError::invalid(format!(
                "cannot copy directory {:?}: something that is no directory is in its place",
                path.display().to_string()
            ))),
            Err(errno) => Err(SysError::new("open", path.display().to_string(), errno).into()),
        }
    }

    fn file(&mut self, way: &Way<'_>, digest: &Digest, seen: &Seen) -> Result<(), EngineError> {
        let Way { node, path, .. } = *way;
        let place = path.display();
        let from = open_file(way.source, way.name).on("open", &place)?;
        let to = self.create(way.target, way.target_name)?;
        self.buffer.resize(COPY_BYTES, 0);
        let mut left = seen.size;
        while left > 0 {
            let count = match rustix::io::read(&from, &mut self.buffer[..]) {
                Ok(0) => break,
                Ok(count) => count,
                Err(Errno::INTR) => continue,
                Err(errno) => return Err(SysError::new("read", place.to_string(), errno).into()),
            };
            let mut rest = &self.buffer[..count];
            while !rest.is_empty() {
                let written = rustix::io::write(&to, rest).on("write", &place)?;
                rest = &rest[written..];
            }
            left -= i64::try_from(count).unwrap_or(i64::MAX);
        }
        copy_attributes(from.as_fd(), to.as_fd()).on("copy the attributes of", &place)?;
        let now = rustix::fs::fstat(&from).on("read", &place)?;
        if Seen::of(&now) != *seen || left != 0 {
            return Err(changed(&path.display().to_string()));
        }
        let mode = self.mode(node.mode, false);
        let time = self.times.of(digest, node.time);
        self.finish_file(&to, mode, node.owner, time)
            .on("set the attributes of", &place)?;
        Ok(())
    }

    /// A new file in place of whatever had its name, but a directory.
    fn create(&self, target: BorrowedFd<'_>, name: &OsStr) -> Result<OwnedFd, EngineError> {
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let create = || rustix::fs::openat(target, name, flags, Mode::from_raw_mode(0o600));
        match create() {
            Err(Errno::EXIST) => {
                clear(target, name)?;
                Ok(create().on("create", shown(&name))?)
            }
            other => Ok(other.on("create", shown(&name))?),
        }
    }

    fn mode(&self, mode: u32, is_directory: bool) -> u32 {
        match self.chmod {
            Some(chmod) => chmod.apply(mode, is_directory),
            None => mode,
        }
    }

    fn finish_file(
        &self,
        file: &OwnedFd,
        mode: u32,
        owner: (u32, u32),
        time: (i64, i64),
    ) -> Result<(), Errno> {
        set(file, mode, self.owner.unwrap_or(owner), time)
    }

    /// Owner and time of what cannot be opened.
    fn finish_at(
        &self,
        target: BorrowedFd<'_>,
        name: &OsStr,
        node: &Node,
        path: &Path,
    ) -> Result<(), EngineError> {
        let (uid, gid) = self.owner.unwrap_or(node.owner);
        let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
        rustix::fs::chownat(
            target,
            name,
            Some(uid),
            Some(gid),
            AtFlags::SYMLINK_NOFOLLOW,
        )
        .on("set the owner of", path.display())?;
        let time = match self.times {
            Times::Kept(_) => node.time,
            Times::Derived(epoch) => (epoch, 0),
        };
        rustix::fs::utimensat(target, name, &stamps(time), AtFlags::SYMLINK_NOFOLLOW)
            .on("set the time of", path.display())?;
        Ok(())
    }
}

/// Makes room for something that is no directory.
fn clear(target: BorrowedFd<'_>, name: &OsStr) -> Result<(), EngineError> {
    match rustix::fs::unlinkat(target, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(Errno::ISDIR) => Err(EngineError::invalid(format!(
            "cannot copy to {:?}: a directory is in its place",
            shown(&name)
        ))),
        Err(errno) => Err(SysError::new("remove", shown(&name), errno).into()),
    }
}

/// Owner first: a change of owner takes setuid away.
fn set(fd: &OwnedFd, mode: u32, owner: (u32, u32), time: (i64, i64)) -> Result<(), Errno> {
    // What we make is ours already: there are no set-group-id directories above it but the image's.
    let stat = rustix::fs::fstat(fd)?;
    if (stat.st_uid, stat.st_gid) != owner {
        let (uid, gid) = (Uid::from_raw(owner.0), Gid::from_raw(owner.1));
        rustix::fs::fchown(fd, Some(uid), Some(gid))?;
    }
    rustix::fs::fchmod(fd, Mode::from_raw_mode(mode))?;
    rustix::fs::futimens(fd, &stamps(time))
}

pub(crate) fn stamps(time: (i64, i64)) -> Timestamps {
    let time = Timespec {
        tv_sec: time.0,
        tv_nsec: time.1 as _,
    };
    Timestamps {
        last_access: time,
        last_modification: time,
    }
}

fn copy_attributes(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> Result<(), Errno> {
    for (name, value) in attributes(from)? {
        let name = OsStr::from_bytes(&name);
        rustix::fs::fsetxattr(to, name, &value, rustix::fs::XattrFlags::empty())?;
    }
    Ok(())
}

fn open_directory(parent: BorrowedFd<'_>, name: &OsStr) -> Result<OwnedFd, EngineError> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let fd = rustix::fs::openat(parent, name, flags, Mode::empty());
    Ok(fd.on("open", shown(&name))?)
}

/// A name for people.
fn shown(name: &impl AsRef<OsStr>) -> String {
    name.as_ref().to_string_lossy().into_owned()
}

fn kind(stat: &Stat) -> FileType {
    FileType::from_raw_mode(stat.st_mode)
}
