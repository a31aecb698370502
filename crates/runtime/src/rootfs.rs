//! The root file system: an overlay of layers, attached only in the container's own namespace.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use sys::mount;
use sys::rootfs::Dir;
use sys::{Context, SysError};

use crate::failure::Failure;
use crate::launch::{Launch, Layers, RootSource};

/// Always given: without them an upper directory would not be a layer.
const OVERLAY_OPTIONS: [&str; 4] = [
    "redirect_dir=off",
    "metacopy=off",
    "index=off",
    "nfs_export=off",
];

/// Attaches the root at the staging directory and opens it; `coming` is where its layers arrive, as in
/// [`crate::Ahead`].
///
/// Runs in the container's mount namespace, already isolated.
pub(crate) fn mount_root(launch: &Launch, coming: Option<BorrowedFd<'_>>) -> Result<Dir, Failure> {
    let staging = open_path(&launch.staging)?;
    if let Some(tree) = coming.and_then(take_mounted) {
        mount::attach(&tree, &staging)?;
        return Ok(Dir::from_fd(tree));
    }
    match &launch.root {
        RootSource::Directory => {
            let tree = mount::clone_tree(open_path(Path::new(&launch.spec.root.path))?, true)?;
            mount::attach(&tree, &staging)?;
            Ok(Dir::from_fd(tree))
        }
        RootSource::Layers(layers) => match detached_overlay(layers) {
            Ok(tree) => {
                mount::attach(&tree, &staging)?;
                Ok(Dir::from_fd(tree))
            }
            // Kernels before 6.8 do not know `lowerdir+`.
            Err(error) if error.errno == Errno::INVAL => legacy_overlay(layers, &launch.staging),
            Err(error) => Err(error.into()),
        },
    }
}

/// Waits for the layers. Whoever mounts them may fail at it, or be killed.
fn take_mounted(coming: BorrowedFd<'_>) -> Option<OwnedFd> {
    let mut name = [0u8; 1];
    sys::socket::receive(coming, &mut name).ok()?.1.pop()
}

/// Mounts layers detached, to be read and written by descriptor while no container has them.
///
/// # Errors
/// Why they cannot be mounted.
pub fn mount_layers(layers: &Layers) -> Result<OwnedFd, Failure> {
    Ok(detached_overlay(layers)?)
}

/// Mounts layers for reading, topmost first and two at least. The topmost may be the upper directory
/// of another mount: what changes there meanwhile is seen or not.
///
/// # Errors
/// The kernel's answer.
pub fn mount_read_only(lowers: &[PathBuf]) -> Result<OwnedFd, Failure> {
    Ok(read_only_overlay(lowers)?)
}

/// Layers as a detached mount, beneath a directory that takes what is written, if there is one.
pub(crate) fn overlay_of(
    lowers: &[PathBuf],
    above: Option<(&str, &str)>,
) -> Result<OwnedFd, SysError> {
    match above {
        None => read_only_overlay(lowers),
        Some((upper, work)) => detached_overlay(&Layers {
            lowers: lowers.to_vec(),
            upper: upper.into(),
            work: work.into(),
            volatile: true,
        }),
    }
}

/// Layers that nobody writes to, as a detached mount.
pub(crate) fn read_only_overlay(lowers: &[PathBuf]) -> Result<OwnedFd, SysError> {
    let lowers = lowers.iter().map(|path| open_path(path));
    let lowers = lowers.collect::<Result<Vec<_>, _>>()?;
    mount::new_overlay(&lowers, None, &OVERLAY_OPTIONS)
}

/// The overlay as a detached mount.
fn detached_overlay(layers: &Layers) -> Result<OwnedFd, SysError> {
    let lowers = layers
        .lowers
        .iter()
        .map(|path| open_path(path))
        .collect::<Result<Vec<_>, _>>()?;
    let (upper, work) = (open_path(&layers.upper)?, open_path(&layers.work)?);
    let mut options = OVERLAY_OPTIONS.to_vec();
    if layers.volatile {
        options.push("volatile");
    }
    let above = Some((upper.as_fd(), work.as_fd()));
    match mount::new_overlay(&lowers, above, &options) {
        Err(error) if error.errno == Errno::INVAL && forget_volatile(&layers.work) => {
            mount::new_overlay(&lowers, above, &options)
        }
        other => other,
    }
}

/// Removes the mark by which the kernel refuses a directory that was mounted `volatile` before: whoever
/// mounted it for a start may have been killed before there was one. Whether there was a mark.
fn forget_volatile(work: &Path) -> bool {
    std::fs::remove_dir_all(work.join("work/incompat/volatile")).is_ok()
}

/// The overlay by mount(2), whose option string must fit a page: lower directories are named
/// relative to their common parent.
fn legacy_overlay(layers: &Layers, staging: &Path) -> Result<Dir, Failure> {
    let common = common_parent(&layers.lowers);
    let previous = sys::atomic::open_directory(Path::new("."))?;
    rustix::process::chdir(common).on("enter", common.display())?;
    let lowers: Vec<_> = layers
        .lowers
        .iter()
        .map(|path| {
            path.strip_prefix(common)
                .unwrap_or(path)
                .to_string_lossy()
                .into_owned()
        })
        .collect();
    let mut data = format!(
        "lowerdir={},upperdir={},workdir={},{}",
        lowers.join(":"),
        layers.upper.display(),
        layers.work.display(),
        OVERLAY_OPTIONS.join(",")
    );
    if layers.volatile {
        data.push_str(",volatile");
    }
    let mounted = mount::mount_overlay_legacy(&staging.to_string_lossy(), &data);
    rustix::process::fchdir(previous).on("leave", common.display())?;
    mounted?;
    Ok(Dir::from_fd(open_path(staging)?))
}

fn common_parent(paths: &[std::path::PathBuf]) -> &Path {
    let mut common = paths
        .first()
        .and_then(|path| path.parent())
        .unwrap_or(Path::new("/"));
    while !paths.iter().all(|path| path.starts_with(common)) {
        common = common.parent().unwrap_or(Path::new("/"));
    }
    common
}

pub(crate) fn open_path(path: &Path) -> Result<OwnedFd, SysError> {
    rustix::fs::openat(CWD, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
        .on("open", path.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_common_parent_is_that_of_all() {
        let paths = ["/s/layers/a/fs", "/s/layers/b/fs", "/s/layers/c/fs"].map(Into::into);
        assert_eq!(common_parent(&paths), Path::new("/s/layers"));
        assert_eq!(
            common_parent(&["/a/b".into(), "/c/d".into()]),
            Path::new("/")
        );
    }
}
