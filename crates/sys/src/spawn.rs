//! Starting one of our own programs without copying this process.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use rustix::io::Errno;

use crate::error::{Context, SysError};
use crate::process::CStrings;

/// Where the one inherited descriptor is in the new program.
pub const CHANNEL_NUMBER: i32 = 3;

/// Descriptors are lifted above what the new program uses, so that none lies in another's place.
const LIFTED_MIN: i32 = 10;

const SETSID: i16 = 0x80;

/// Executes `program` in a new process and session, with `channel` as descriptor 3 and nothing on
/// its standard streams; returns its pid. Other descriptors that are not close-on-exec (those of
/// our caller) are inherited: the program closes them first.
///
/// The new process shares this one's memory until it executes: forking would cost both sides a
/// page fault for everything that they touch.
///
/// # Errors
/// The kernel's answer to clone or exec.
pub fn program(
    program: BorrowedFd<'_>,
    arguments: &CStrings,
    environment: &CStrings,
    channel: BorrowedFd<'_>,
) -> Result<i32, SysError> {
    let lift = |fd| rustix::io::fcntl_dupfd_cloexec(fd, LIFTED_MIN).on("copy", "descriptor");
    let (program, channel) = (lift(program)?, lift(channel)?);
    let path = std::ffi::CString::new(format!("/proc/self/fd/{}", program.as_fd().as_raw_fd()))
        .expect("invariant: digits hold no NUL");
    let mut actions = Actions::new()?;
    actions.null_streams()?;
    actions.place(channel.as_raw_fd(), CHANNEL_NUMBER)?;
    let attributes = Attributes::new_session()?;
    let mut pid = 0;
    // SAFETY: all pointers lead to live, initialised values; both lists end with a null pointer.
    // WHY: rustix has no vfork; the C library's is the one that keeps signals and stacks apart.
    let result = unsafe {
        libc::posix_spawn(
            &raw mut pid,
            path.as_ptr(),
            &raw const actions.0,
            &raw const attributes.0,
            arguments.as_ptr().cast(),
            environment.as_ptr().cast(),
        )
    };
    answer(result, "execute", "program")?;
    Ok(pid)
}

fn answer(result: i32, operation: &'static str, object: &str) -> Result<(), SysError> {
    match result {
        0 => Ok(()),
        number => Err(SysError::new(
            operation,
            object,
            Errno::from_raw_os_error(number),
        )),
    }
}

struct Actions(libc::posix_spawn_file_actions_t);

impl Actions {
    fn new() -> Result<Self, SysError> {
        // SAFETY: the type is plain numbers and pointers; init gives it its first value.
        let mut actions = Self(unsafe { std::mem::zeroed() });
        // SAFETY: a live value.
        let result = unsafe { libc::posix_spawn_file_actions_init(&raw mut actions.0) };
        answer(result, "prepare", "program")?;
        Ok(actions)
    }

    fn null_streams(&mut self) -> Result<(), SysError> {
        // SAFETY: the path is a live C string, which the call copies.
        let result = unsafe {
            libc::posix_spawn_file_actions_addopen(
                &raw mut self.0,
                0,
                c"/dev/null".as_ptr(),
                libc::O_RDWR,
                0,
            )
        };
        answer(result, "prepare", "standard streams")?;
        self.place(0, 1)?;
        self.place(0, 2)
    }

    fn place(&mut self, from: i32, to: i32) -> Result<(), SysError> {
        // SAFETY: plain numbers into a live value.
        let result = unsafe { libc::posix_spawn_file_actions_adddup2(&raw mut self.0, from, to) };
        answer(result, "prepare", "descriptor")
    }
}

impl Drop for Actions {
    fn drop(&mut self) {
        // SAFETY: initialised in `new`, not used afterwards.
        unsafe {
            libc::posix_spawn_file_actions_destroy(&raw mut self.0);
        }
    }
}

struct Attributes(libc::posix_spawnattr_t);

impl Attributes {
    fn new_session() -> Result<Self, SysError> {
        // SAFETY: as for `Actions`.
        let mut attributes = Self(unsafe { std::mem::zeroed() });
        // SAFETY: a live value.
        let result = unsafe { libc::posix_spawnattr_init(&raw mut attributes.0) };
        answer(result, "prepare", "program")?;
        // SAFETY: a live value; the flag is POSIX_SPAWN_SETSID of glibc 2.26 and musl.
        let result = unsafe { libc::posix_spawnattr_setflags(&raw mut attributes.0, SETSID) };
        answer(result, "prepare", "session")?;
        Ok(attributes)
    }
}

impl Drop for Attributes {
    fn drop(&mut self) {
        // SAFETY: initialised in `new_session`, not used afterwards.
        unsafe {
            libc::posix_spawnattr_destroy(&raw mut self.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_gets_the_channel_and_no_streams() {
        let (ours, theirs) = crate::socket::pair().unwrap();
        let shell = rustix::fs::open(
            "/bin/sh",
            rustix::fs::OFlags::PATH | rustix::fs::OFlags::CLOEXEC,
            rustix::fs::Mode::empty(),
        )
        .unwrap();
        let script = "echo ignored; readlink /proc/$$/fd/0 /proc/$$/fd/2 >&3";
        let arguments = CStrings::new(["sh", "-c", script]).unwrap();
        let environment = CStrings::new(["PATH=/usr/bin:/bin"]).unwrap();
        let pid = program(shell.as_fd(), &arguments, &environment, theirs.as_fd()).unwrap();
        drop(theirs);
        let mut buffer = [0u8; 64];
        let (length, _) = crate::socket::receive(&ours, &mut buffer).unwrap();
        assert_eq!(&buffer[..length], b"/dev/null\n/dev/null\n");
        let pid = rustix::process::Pid::from_raw(pid).unwrap();
        let flags = rustix::process::WaitOptions::empty();
        let (_, status) = rustix::process::waitpid(Some(pid), flags).unwrap().unwrap();
        assert_eq!(status.exit_status(), Some(0));
    }
}
