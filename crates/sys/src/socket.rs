//! Unix sockets that carry descriptors.

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketFlags, SocketType,
};

use crate::error::{Context, SysError};

/// At most so many descriptors travel with one message.
pub const FDS_PER_MESSAGE_MAX: usize = 64;

/// A connected pair of packet sockets, close-on-exec.
///
/// # Errors
/// The kernel's answer.
pub fn pair() -> Result<(OwnedFd, OwnedFd), SysError> {
    rustix::net::socketpair(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC,
        None,
    )
    .on("create", "socket pair")
}

/// Listens on a packet socket named `name` in `directory`; mode 0600.
///
/// The name goes through `/proc/self/fd`, so that the length of the directory's path does not
/// matter (an address holds 107 bytes).
///
/// # Errors
/// The failed step on the socket.
pub fn listen(directory: &Path, name: &str) -> Result<OwnedFd, SysError> {
    let socket = rustix::net::socket_with(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
        None,
    )
    .on("create", name)?;
    let parent = crate::atomic::open_directory(directory)?;
    let _ = rustix::fs::unlinkat(&parent, name, rustix::fs::AtFlags::empty());
    rustix::net::bind(&socket, &address(parent.as_fd(), name)?).on("bind", name)?;
    rustix::fs::chmodat(
        &parent,
        name,
        Mode::from_raw_mode(0o600),
        rustix::fs::AtFlags::empty(),
    )
    .on("chmod", name)?;
    rustix::net::listen(&socket, 128).on("listen on", name)?;
    Ok(socket)
}

/// Connects to the socket `name` in `directory`.
///
/// # Errors
/// `ECONNREFUSED` or `ENOENT` where nobody listens.
pub fn connect(directory: &Path, name: &str) -> Result<OwnedFd, SysError> {
    let socket = rustix::net::socket_with(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC,
        None,
    )
    .on("create", name)?;
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let parent =
        rustix::fs::openat(CWD, directory, flags, Mode::empty()).on("open", directory.display())?;
    let address = address(parent.as_fd(), name)?;
    loop {
        match rustix::net::connect(&socket, &address) {
            Ok(()) => return Ok(socket),
            Err(Errno::INTR) => {}
            Err(errno) => {
                return Err(SysError::new(
                    "connect to",
                    directory.join(name).display().to_string(),
                    errno,
                ));
            }
        }
    }
}

fn address(parent: BorrowedFd<'_>, name: &str) -> Result<SocketAddrUnix, SysError> {
    use std::os::fd::AsRawFd;
    let path = format!("/proc/self/fd/{}/{name}", parent.as_raw_fd());
    SocketAddrUnix::new(path.as_str()).on("name", name)
}

/// Sends one packet, with descriptors. Never raises SIGPIPE.
///
/// # Errors
/// `EPIPE` where the other side is gone; `EAGAIN` where a non-blocking socket is full.
pub fn send(socket: impl AsFd, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> Result<(), Errno> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(FDS_PER_MESSAGE_MAX))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() {
        assert!(
            control.push(SendAncillaryMessage::ScmRights(fds)),
            "at most 64 descriptors a message"
        );
    }
    loop {
        match rustix::net::sendmsg(
            &socket,
            &[IoSlice::new(bytes)],
            &mut control,
            SendFlags::NOSIGNAL,
        ) {
            Ok(_) => return Ok(()),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
}

/// Receives one packet; returns its length (0 at the end) and its descriptors, close-on-exec.
///
/// # Errors
/// `EAGAIN` where a non-blocking socket has nothing; `EMSGSIZE` where the packet was cut.
pub fn receive(socket: impl AsFd, buffer: &mut [u8]) -> Result<(usize, Vec<OwnedFd>), Errno> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(FDS_PER_MESSAGE_MAX))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let message = loop {
        let mut slices = [IoSliceMut::new(buffer)];
        match rustix::net::recvmsg(&socket, &mut slices, &mut control, RecvFlags::CMSG_CLOEXEC) {
            Ok(message) => break message,
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    };
    let mut fds = Vec::new();
    for ancillary in control.drain() {
        if let RecvAncillaryMessage::ScmRights(received) = ancillary {
            fds.extend(received);
        }
    }
    if message.flags.contains(rustix::net::ReturnFlags::TRUNC) {
        return Err(Errno::MSGSIZE);
    }
    Ok((message.bytes, fds))
}

/// Lets only those messages into a socket for which a program of the classic packet filter returns
/// other than 0: instructions as (code, jump if true, jump if false, operand), `linux/filter.h`.
///
/// # Errors
/// `EINVAL` for a program that the kernel does not take.
pub fn attach_filter(
    socket: impl AsFd,
    program: &[(u16, u8, u8, u32)],
) -> Result<(), crate::error::SysError> {
    let mut instructions: Vec<libc::sock_filter> = program
        .iter()
        .map(|(code, jt, jf, k)| libc::sock_filter {
            code: *code,
            jt: *jt,
            jf: *jf,
            k: *k,
        })
        .collect();
    let filter = libc::sock_fprog {
        len: u16::try_from(instructions.len()).unwrap_or(u16::MAX),
        filter: instructions.as_mut_ptr(),
    };
    let length = size_of::<libc::sock_fprog>() as libc::socklen_t;
    // SAFETY: the kernel reads the program and its instructions, both live; the length is theirs.
    // WHY: rustix has no SO_ATTACH_FILTER.
    let result = unsafe {
        libc::setsockopt(
            socket.as_fd().as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_ATTACH_FILTER,
            (&raw const filter).cast(),
            length,
        )
    };
    crate::process::check(i64::from(result))
        .map(drop)
        .on("filter", "socket")
}

/// Has a socket take and send packets by one interface only.
///
/// # Errors
/// `ENODEV` where there is no such interface.
pub fn bind_to_interface(socket: impl AsFd, interface: &str) -> Result<(), SysError> {
    let length = libc::socklen_t::try_from(interface.len()).unwrap_or(0);
    // SAFETY: the kernel reads `length` bytes of a live text, and no further.
    // WHY: rustix has no SO_BINDTODEVICE.
    let result = unsafe {
        libc::setsockopt(
            socket.as_fd().as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_BINDTODEVICE,
            interface.as_ptr().cast(),
            length,
        )
    };
    crate::process::check(i64::from(result))
        .map(drop)
        .on("bind a socket to", interface)
}

/// Asks a socket for an option whose request and answer share one buffer, as those of iptables do.
///
/// # Errors
/// The kernel's answer.
pub fn option(socket: impl AsFd, level: i32, name: i32, buffer: &mut [u8]) -> Result<(), SysError> {
    let mut length = libc::socklen_t::try_from(buffer.len()).unwrap_or(0);
    // SAFETY: the kernel reads and writes at most `length` bytes of a live, writable buffer.
    // WHY: rustix has no option that is also a request.
    let result = unsafe {
        libc::getsockopt(
            socket.as_fd().as_raw_fd(),
            level,
            name,
            buffer.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    match result {
        0 => Ok(()),
        _ => Err(Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO))
            .on("ask for an option of", "a socket"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_descriptor_travels_with_its_message() {
        let (left, right) = pair().unwrap();
        send(&left, b"hello", &[left.as_fd()]).unwrap();
        let mut buffer = [0; 16];
        let (length, fds) = receive(&right, &mut buffer).unwrap();
        assert_eq!((&buffer[..length], fds.len()), (&b"hello"[..], 1));
        drop((left, fds));
        assert_eq!(receive(&right, &mut buffer).unwrap().0, 0);
    }

    #[test]
    fn a_packet_that_does_not_fit_is_an_error() {
        let (left, right) = pair().unwrap();
        send(&left, b"too long", &[]).unwrap();
        assert_eq!(receive(&right, &mut [0; 3]).unwrap_err(), Errno::MSGSIZE);
    }
}
