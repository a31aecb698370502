//! New network namespaces and their loopback interface.

use std::os::fd::{AsRawFd, OwnedFd};

use rustix::fs::{CWD, Mode, OFlags};
use rustix::net::{AddressFamily, SocketFlags, SocketType};

use crate::error::{Context, SysError};
use crate::process::{join_namespaces, namespaces, unshare};

/// Makes a network namespace with its loopback up; this process stays where it is.
///
/// The caller must be single-threaded: it is in the new namespace for a moment.
///
/// # Errors
/// `EPERM` without CAP_SYS_ADMIN, `ENOSPC` at the limit of namespaces.
pub fn new_network_namespace() -> Result<OwnedFd, SysError> {
    let own = || {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        rustix::fs::openat(CWD, "/proc/self/ns/net", flags, Mode::empty())
            .on("open", "network namespace")
    };
    let home = own()?;
    unshare(namespaces::NET)?;
    let made = bring_up().and_then(|()| own());
    join_namespaces(home, namespaces::NET)?;
    made
}

/// Brings `lo` up in this process's network namespace, with its addresses 127.0.0.1 and ::1.
///
/// # Errors
/// `EPERM` without CAP_NET_ADMIN in the namespace.
pub fn bring_up() -> Result<(), SysError> {
    let socket = rustix::net::socket_with(
        AddressFamily::INET,
        SocketType::DGRAM,
        SocketFlags::CLOEXEC,
        None,
    )
    .on("open", "socket")?;
    // struct ifreq: 16 bytes of name, then 24 of which the flags are the first two.
    let mut request = [0u8; 40];
    request[..2].copy_from_slice(b"lo");
    let flags = (libc::IFF_UP | libc::IFF_RUNNING) as i16;
    request[16..18].copy_from_slice(&flags.to_ne_bytes());
    // SAFETY: the kernel reads one struct ifreq, of 40 bytes, from a live array.
    // WHY: a netlink message does the same with a second socket; rustix has neither.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, request.as_ptr()) };
    crate::process::check(i64::from(result))
        .map(drop)
        .on("bring up", "lo")
}
