//! The pseudo-terminal of a container: made in its own devpts, held by descriptors only.
//!
//! The slave is had from the master (`TIOCGPTPEER`), never by the path `/dev/pts/N`, which a racing
//! container could have replaced (CVE-2025-52565).

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{Mode, OFlags};
use rustix::pty::OpenptFlags;
use rustix::termios::Winsize;
use sys::rootfs::Dir;
use sys::{Context, SysError};

use crate::failure::Failure;
use crate::spec::ConsoleSize;

/// Both ends of a new terminal.
pub(crate) struct Console {
    /// For the monitor.
    pub(crate) master: OwnedFd,
    /// For the container.
    pub(crate) slave: OwnedFd,
}

/// The devpts instance of a root that somebody else may have filled: anything may be at its place.
pub(crate) fn find_devpts(root: &Dir) -> Result<OwnedFd, Failure> {
    const DEVPTS_SUPER_MAGIC: u64 = 0x1cd1;
    let directory = root
        .open_dir(std::path::Path::new("/dev/pts"))
        .map_err(|error| Failure::setup(format!("cannot give a terminal: {error}")))?;
    let stat = rustix::fs::fstatfs(&directory).on("read", "/dev/pts")?;
    if stat.f_type as u64 != DEVPTS_SUPER_MAGIC {
        return Err(Failure::setup(
            "cannot give a terminal: /dev/pts of the container is no devpts",
        ));
    }
    let flags = OFlags::PATH | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    rustix::fs::openat(&directory, "ptmx", flags, Mode::empty()).on("open", "/dev/pts/ptmx")?;
    Ok(directory)
}

/// Opens a terminal in the devpts instance behind `devpts` (its root directory).
pub(crate) fn open(devpts: impl AsFd, size: Option<ConsoleSize>) -> Result<Console, SysError> {
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let master = rustix::fs::openat(devpts, "ptmx", flags, Mode::empty()).on("open", "terminal")?;
    rustix::pty::unlockpt(&master).on("unlock", "terminal")?;
    let slave = rustix::pty::ioctl_tiocgptpeer(
        &master,
        OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC,
    )
    .on("open", "terminal of the container")?;
    if let Some(size) = size.filter(|size| size.height > 0 && size.width > 0) {
        resize(&master, size)?;
    }
    Ok(Console { master, slave })
}

/// Sets the size that programs in the container see.
pub(crate) fn resize(master: impl AsFd, size: ConsoleSize) -> Result<(), SysError> {
    let size = Winsize {
        ws_row: size.height,
        ws_col: size.width,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    rustix::termios::tcsetwinsize(master, size).on("resize", "terminal")
}
