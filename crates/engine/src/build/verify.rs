//! `--verify`: the same steps once more, apart, and the first path that one of them made different.

use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};

use build::graph::{Graph, Step};
use build::solve::Solved;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat};
use sys::{Context, SysError};

use super::layer::Stack;
use super::worker::Tree;
use crate::error::EngineError;

/// Directories may be nested so deep.
const DEPTH_MAX: usize = 512;
const READ_BYTES: usize = 64 << 10;

/// A step that did not give the same twice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unequal {
    /// What people call the step.
    pub step: String,
    /// The first path that differs.
    pub path: PathBuf,
    /// In what.
    pub what: &'static str,
}

/// The same graph, whose steps are done whatever the cache knows.
pub(crate) fn uncached(graph: &Graph) -> Graph {
    let mut again = graph.clone();
    for step in &mut again.steps {
        step.ignores_cache = !step.op.inputs().is_empty();
    }
    again
}

/// The first step that gave something else the second time, on equal roots.
pub(crate) fn first_difference(
    graph: &Graph,
    first: &Solved<Tree>,
    second: &Solved<Tree>,
) -> Result<Option<Unequal>, EngineError> {
    for ((step, first), second) in graph.steps.iter().zip(&first.trees).zip(&second.trees) {
        if let (Some(Tree::Stack(first)), Some(Tree::Stack(second))) = (first, second)
            && let Some(unequal) = compare(step, first, second)?
        {
            return Ok(Some(unequal));
        }
    }
    Ok(None)
}

fn compare(step: &Step, first: &Stack, second: &Stack) -> Result<Option<Unequal>, EngineError> {
    let (Some(one), Some(other)) = (first.top(), second.top()) else {
        return Ok(None);
    };
    if step.op.inputs().is_empty() || one.diff_id()? == other.diff_id()? {
        return Ok(None);
    }
    let one = sys::atomic::open_directory(&one.path())?;
    let other = sys::atomic::open_directory(&other.path())?;
    let found = directories(one.as_fd(), other.as_fd(), Path::new("/"), 0)?;
    let (path, what) = found.unwrap_or((PathBuf::from("/"), "attributes"));
    let step = step.name.clone();
    Ok(Some(Unequal { step, path, what }))
}

type Found = Option<(PathBuf, &'static str)>;

fn directories(
    one: BorrowedFd<'_>,
    other: BorrowedFd<'_>,
    path: &Path,
    depth: usize,
) -> Result<Found, EngineError> {
    if depth > DEPTH_MAX {
        return Ok(None);
    }
    let names = |directory| -> Result<Vec<OsString>, EngineError> {
        let items = sys::rootfs::list(directory).on("list", path.display())?;
        let mut names: Vec<OsString> = items.into_iter().map(|item| item.name).collect();
        names.sort_unstable();
        Ok(names)
    };
    let (mine, theirs) = (names(one)?, names(other)?);
    let mut all: Vec<&OsString> = mine.iter().chain(&theirs).collect();
    all.sort_unstable();
    all.dedup();
    for name in all {
        let path = path.join(name);
        if mine.binary_search(name).is_err() || theirs.binary_search(name).is_err() {
            return Ok(Some((path, "whether it is there")));
        }
        let found = objects((one, other), name, &path, depth)?;
        if found.is_some() {
            return Ok(found);
        }
    }
    Ok(None)
}

fn objects(
    (one, other): (BorrowedFd<'_>, BorrowedFd<'_>),
    name: &OsStr,
    path: &Path,
    depth: usize,
) -> Result<Found, EngineError> {
    let stat = |parent| -> Result<Stat, SysError> {
        rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW).on("read", path.display())
    };
    let (mine, theirs) = (stat(one)?, stat(other)?);
    let kind = FileType::from_raw_mode(mine.st_mode);
    let checks = [
        (kind == FileType::from_raw_mode(theirs.st_mode), "its type"),
        (mine.st_mode == theirs.st_mode, "its mode"),
        (
            (mine.st_uid, mine.st_gid) == (theirs.st_uid, theirs.st_gid),
            "its owner",
        ),
        (mine.st_rdev == theirs.st_rdev, "its device"),
    ];
    if let Some((_, what)) = checks.iter().find(|(is_equal, _)| !is_equal) {
        return Ok(Some((path.to_path_buf(), what)));
    }
    let is_equal = match kind {
        FileType::Directory => {
            let open = |parent| {
                let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                rustix::fs::openat(parent, name, flags, Mode::empty()).on("open", path.display())
            };
            let (one, other) = (open(one)?, open(other)?);
            let found = directories(one.as_fd(), other.as_fd(), path, depth + 1)?;
            if found.is_some() {
                return Ok(found);
            }
            true
        }
        FileType::Symlink => {
            let read = |parent| {
                rustix::fs::readlinkat(parent, name, Vec::new()).on("read link", path.display())
            };
            read(one)?.as_bytes() == read(other)?.as_bytes()
        }
        FileType::RegularFile => {
            mine.st_size == theirs.st_size && is_same_content((one, other), name, path)?
        }
        _ => true,
    };
    if !is_equal {
        return Ok(Some((path.to_path_buf(), "its content")));
    }
    let times = |stat: &Stat| (stat.st_mtime, stat.st_mtime_nsec);
    let is_equal = times(&mine) == times(&theirs);
    Ok((!is_equal).then(|| (path.to_path_buf(), "its time")))
}

fn is_same_content(
    (one, other): (BorrowedFd<'_>, BorrowedFd<'_>),
    name: &OsStr,
    path: &Path,
) -> Result<bool, EngineError> {
    use std::io::Read;
    let open = |parent| {
        super::files::open_file(parent, name)
            .on("open", path.display())
            .map(std::fs::File::from)
    };
    let (mut one, mut other) = (open(one)?, open(other)?);
    let (mut mine, mut theirs) = (vec![0; READ_BYTES], vec![0; READ_BYTES]);
    loop {
        let count = one.read(&mut mine).on("read", path.display())?;
        let same = other.read_exact(&mut theirs[..count]).is_ok();
        if !same || mine[..count] != theirs[..count] {
            return Ok(false);
        }
        if count == 0 {
            return Ok(true);
        }
    }
}
