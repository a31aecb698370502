//! Starting one of our own programs without copying this process, and without waiting for it.

use std::ffi::CString;
use std::mem::ManuallyDrop;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::sync::atomic::{AtomicI32, AtomicU32, Ordering};

use rustix::fs::{Mode, OFlags};
use rustix::io::{DupFlags, Errno};
use rustix::process::Pid;
use rustix::thread::futex;

use crate::aside::{last_errno, wait_for_end};
use crate::caller::swap_mask;
use crate::error::{Context, SysError};
use crate::process::{CStrings, execute};

/// Where the one inherited descriptor is in the new program.
pub const CHANNEL_NUMBER: i32 = 3;

/// Descriptors are lifted above what the new program uses, so that none lies in another's place.
const LIFTED_MIN: i32 = 10;

/// In elements of 16 bytes, as the processor wants a stack aligned.
const STACK: usize = 1024;

/// A process that is about to execute its program. Until it does, it is in this process's memory, on a stack
/// of its own, which is freed afterwards: dropped, this waits for that.
#[derive(Debug)]
pub struct Spawned {
    pid: Option<Pid>,
    shared: Box<Shared>,
}

#[derive(Debug)]
struct Shared {
    path: CString,
    arguments: CStrings,
    environment: CStrings,
    channel: OwnedFd,
    _program: OwnedFd,
    /// The kernel makes it zero, and wakes who waits for that, when the process has left this memory.
    is_here: AtomicU32,
    /// Why it could not execute; zero where it could.
    answer: AtomicI32,
    stack: Box<[u128]>,
}

/// Executes `program` in a new process and session, with `channel` as descriptor 3, nothing on its standard
/// streams, and every signal blocked. Other descriptors that are not close-on-exec (those of our caller) are
/// inherited: the program closes them first.
///
/// The new process shares this one's memory until it executes: forking would cost both sides a page fault for
/// everything that they touch. It is a `vfork` whose caller goes on: the two run on two processors.
///
/// # Errors
/// The kernel's answer to clone; that to exec is in [`Spawned::finish`].
pub fn program(
    program: &OwnedFd,
    arguments: CStrings,
    environment: CStrings,
    channel: &OwnedFd,
) -> Result<Spawned, SysError> {
    let lift = |fd| rustix::io::fcntl_dupfd_cloexec(fd, LIFTED_MIN).on("copy", "descriptor");
    let (program, channel) = (lift(program)?, lift(channel)?);
    let path = CString::new(format!("/proc/self/fd/{}", program.as_raw_fd()))
        .expect("invariant: digits hold no NUL");
    let mut shared = Box::new(Shared {
        path,
        arguments,
        environment,
        channel,
        _program: program,
        is_here: AtomicU32::new(1),
        answer: AtomicI32::new(0),
        stack: vec![0u128; STACK].into_boxed_slice(),
    });
    let end = shared.stack.as_mut_ptr_range().end;
    let argument = (&raw const *shared).cast_mut();
    let flags = libc::CLONE_VM | libc::CLONE_CHILD_CLEARTID | libc::SIGCHLD;
    // A signal must not run a handler of ours in that process.
    let mask = swap_mask(u64::MAX);
    // SAFETY: the stack is the new process's alone, and lives with all that it reads until the kernel has
    // said that it is gone.
    // WHY: rustix has no clone, and the C library's way to start a program waits for exec.
    let pid = unsafe {
        libc::clone(
            begin,
            end.cast(),
            flags,
            argument.cast(),
            std::ptr::null_mut::<libc::pid_t>(),
            std::ptr::null_mut::<libc::c_void>(),
            shared.is_here.as_ptr(),
        )
    };
    // Before the next call of the C library.
    let failed = (pid < 0).then(last_errno);
    swap_mask(mask);
    match failed {
        None => Ok(Spawned {
            pid: Pid::from_raw(pid),
            shared,
        }),
        Some(errno) => Err(SysError::new("create", "process", errno)),
    }
}

impl Spawned {
    /// Waits until the process has ended.
    pub fn end(self) {
        if let Some(pid) = self.pid {
            wait_for_end(pid);
        }
    }

    /// Waits until it has executed its program.
    ///
    /// # Errors
    /// The kernel's answer to exec, or to what comes before it.
    pub fn finish(self) -> Result<(), SysError> {
        self.shared.wait();
        match self.shared.answer.load(Ordering::Acquire) {
            0 => Ok(()),
            number => {
                let errno = Errno::from_raw_os_error(number);
                Err(SysError::new("execute", "program", errno))
            }
        }
    }
}

impl Drop for Spawned {
    fn drop(&mut self) {
        self.shared.wait();
    }
}

impl Shared {
    fn wait(&self) {
        while self.is_here.load(Ordering::Acquire) != 0 {
            // Not private to this process: the kernel wakes without that.
            let _ = futex::wait(&self.is_here, futex::Flags::empty(), 1, None);
        }
    }

    /// Neither allocates nor calls the C library, which believe that they are alone in this memory, but for
    /// exec itself, which tells its failure in a variable of both.
    fn become_program(&self) -> Errno {
        let _ = rustix::process::setsid();
        match self.place_descriptors() {
            Ok(()) => execute(&self.path, &self.arguments, &self.environment),
            Err(errno) => errno,
        }
    }

    fn place_descriptors(&self) -> Result<(), Errno> {
        let null = ManuallyDrop::new(rustix::fs::open(c"/dev/null", OFlags::RDWR, Mode::empty())?);
        rustix::stdio::dup2_stdin(&*null)?;
        rustix::stdio::dup2_stdout(&*null)?;
        rustix::stdio::dup2_stderr(&*null)?;
        if null.as_raw_fd() > 2 {
            drop(ManuallyDrop::into_inner(null));
        }
        // SAFETY: this process's table is a copy, in which nobody owns that number any more.
        let mut place = ManuallyDrop::new(unsafe { OwnedFd::from_raw_fd(CHANNEL_NUMBER) });
        rustix::io::dup3(&self.channel, &mut place, DupFlags::empty())
    }
}

extern "C" fn begin(argument: *mut libc::c_void) -> i32 {
    // SAFETY: `program` gives a `Shared` that lives until this process has left its memory.
    let shared = unsafe { &*argument.cast::<Shared>() };
    let errno = shared.become_program();
    shared.answer.store(errno.raw_os_error(), Ordering::Release);
    // The same code as a shell's.
    127
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spawn(path: &str, script: &str, channel: &OwnedFd) -> Spawned {
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        let file = rustix::fs::open(path, flags, Mode::empty()).unwrap();
        let arguments = CStrings::new(["sh", "-c", script]).unwrap();
        let environment = CStrings::new(["PATH=/usr/bin:/bin"]).unwrap();
        program(&file, arguments, environment, channel).unwrap()
    }

    #[test]
    fn a_program_gets_the_channel_and_no_streams() {
        let (ours, theirs) = crate::socket::pair().unwrap();
        let before = swap_mask(0);
        let script = "echo ignored; { readlink /proc/$$/fd/0 /proc/$$/fd/2; echo $$; } | cat >&3";
        spawn("/bin/sh", script, &theirs).finish().unwrap();
        assert_eq!(swap_mask(before), 0, "our own signals stay as they were");
        drop(theirs);
        let mut told = Vec::new();
        let mut buffer = [0u8; 64];
        while let Ok((length @ 1.., _)) = crate::socket::receive(&ours, &mut buffer) {
            told.extend_from_slice(&buffer[..length]);
        }
        let told = String::from_utf8(told).unwrap();
        let pid = told.strip_prefix("/dev/null\n/dev/null\n").unwrap();
        let pid = rustix::process::Pid::from_raw(pid.trim().parse().unwrap()).unwrap();
        let flags = rustix::process::WaitOptions::empty();
        let (_, status) = rustix::process::waitpid(Some(pid), flags).unwrap().unwrap();
        assert_eq!(status.exit_status(), Some(0));
    }

    #[test]
    fn what_cannot_be_executed_is_told() {
        let (_ours, theirs) = crate::socket::pair().unwrap();
        let error = spawn("/dev/null", "", &theirs).finish().unwrap_err();
        assert_eq!(error.errno, Errno::ACCESS);
    }

    /// It goes on while the program starts, and nothing of it is freed too early.
    #[test]
    fn many_are_begun_before_one_is_waited_for() {
        let (ours, theirs) = crate::socket::pair().unwrap();
        let all: Vec<_> = (0..50)
            .map(|_| spawn("/bin/sh", "echo x >&3", &theirs))
            .collect();
        drop(theirs);
        for one in all {
            one.finish().unwrap();
        }
        let mut buffer = [0u8; 8];
        for _ in 0..50 {
            assert_eq!(crate::socket::receive(&ours, &mut buffer).unwrap().0, 2);
        }
        assert_eq!(crate::socket::receive(&ours, &mut buffer).unwrap().0, 0);
    }
}
