//! Times of what a step changed: none is later than the build's own moment.
//!
//! The clock is the one thing that differs between two runs of the same program. What a program made
//! carries the time of the making; it is set back to the moment that the whole build stands for. Files
//! that carry an older time of their own (unpacked archives) keep it.

use std::ffi::OsString;
use std::os::fd::BorrowedFd;
use std::path::PathBuf;

use rustix::fs::{AtFlags, FileType};
use rustix::io::Errno;
use sys::SysError;
use sys::rootfs::Ladder;

use super::copy::stamps;

/// Sets every time beneath a directory, and its own, that is later than `epoch` back to it. Into the
/// directories of `done` it does not go: whoever filled them has set the times of what is in them.
pub(crate) fn clamp(
    directory: BorrowedFd<'_>,
    epoch: i64,
    done: &[PathBuf],
) -> Result<(), SysError> {
    let mut path = PathBuf::new();
    let fail = |errno| SysError::new("set times in", "what a step wrote", errno);
    let mut ladder = Ladder::new(directory).map_err(fail)?;
    let mut levels = vec![names(&ladder).map_err(fail)?];
    while let Some(names_left) = levels.last_mut() {
        let Some(name) = names_left.pop() else {
            levels.pop();
            path.pop();
            ladder.up().map_err(fail)?;
            continue;
        };
        let parent = ladder.current();
        let flags = AtFlags::SYMLINK_NOFOLLOW;
        let stat = match rustix::fs::statat(parent, &name, flags) {
            Ok(stat) => stat,
            Err(Errno::NOENT) => continue,
            Err(errno) => return Err(fail(errno)),
        };
        if is_later(stat.st_mtime, stat.st_mtime_nsec as i64, epoch) {
            rustix::fs::utimensat(parent, &name, &stamps((epoch, 0)), flags).map_err(fail)?;
        }
        if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
            ladder.down(&name).map_err(fail)?;
            path.push(&name);
            let has_more = || {
                done.iter()
                    .any(|one| *one != path && one.starts_with(&path))
            };
            if done.contains(&path) && !has_more() {
                path.pop();
                ladder.up().map_err(fail)?;
                continue;
            }
            levels.push(names(&ladder).map_err(fail)?);
        }
    }
    let stat = rustix::fs::fstat(directory).map_err(fail)?;
    if is_later(stat.st_mtime, stat.st_mtime_nsec as i64, epoch) {
        rustix::fs::futimens(directory, &stamps((epoch, 0))).map_err(fail)?;
    }
    Ok(())
}

fn is_later(seconds: i64, nanoseconds: i64, epoch: i64) -> bool {
    seconds > epoch || (seconds == epoch && nanoseconds > 0)
}

fn names(ladder: &Ladder) -> Result<Vec<OsString>, Errno> {
    let items = sys::rootfs::list(ladder.current())?;
    Ok(items.into_iter().map(|item| item.name).collect())
}
