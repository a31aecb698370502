//! One call beside this process, without copying it.

use std::sync::atomic::{AtomicI32, Ordering};

use rustix::io::Errno;
use rustix::process::{Pid, WaitId, WaitIdOptions};

use crate::error::SysError;

/// A process that shares our memory and descriptors, has its own copy of our working directory, and
/// does one thing. Waited for when dropped.
#[derive(Debug)]
pub(crate) struct Aside {
    pid: Option<Pid>,
    shared: Box<Shared>,
    // Freed when the process has ended.
    _stack: Box<[u128]>,
}

#[derive(Debug)]
struct Shared {
    work: fn() -> Result<(), Errno>,
    answer: AtomicI32,
}

/// Until the process has stored its own; also where it was killed before.
const NO_ANSWER: i32 = -1;

/// In elements of 16 bytes, as the processor wants a stack aligned.
const STACK: usize = 1024;

impl Aside {
    /// Begins `work`, which must neither allocate, panic nor call the C library: they believe that they
    /// are alone in this memory.
    ///
    /// # Errors
    /// `EAGAIN` where the number of processes is limited.
    pub(crate) fn begin(work: fn() -> Result<(), Errno>) -> Result<Self, SysError> {
        let mut stack = vec![0u128; STACK].into_boxed_slice();
        let shared = Box::new(Shared {
            work,
            answer: AtomicI32::new(NO_ANSWER),
        });
        let end = stack.as_mut_ptr_range().end;
        let argument = (&raw const *shared).cast_mut();
        let flags = libc::CLONE_VM | libc::CLONE_FILES | libc::SIGCHLD;
        // SAFETY: the stack is the new process's alone, and lives with `shared` until it was waited for.
        // WHY: rustix has no clone; a thread of the C library's costs more than is to be won.
        let pid = unsafe { libc::clone(run, end.cast(), flags, argument.cast()) };
        if pid < 0 {
            return Err(SysError::new("create", "process", last_errno()));
        }
        Ok(Self {
            pid: Pid::from_raw(pid),
            shared,
            _stack: stack,
        })
    }

    /// Waits until it is done.
    ///
    /// # Errors
    /// The work's own, or `ESRCH` where it was killed.
    pub(crate) fn finish(mut self) -> Result<(), Errno> {
        self.wait();
        match self.shared.answer.load(Ordering::Acquire) {
            0 => Ok(()),
            NO_ANSWER => Err(Errno::SRCH),
            number => Err(Errno::from_raw_os_error(number)),
        }
    }

    fn wait(&mut self) {
        let Some(pid) = self.pid.take() else {
            return;
        };
        wait_for_end(pid);
    }
}

impl Drop for Aside {
    fn drop(&mut self) {
        self.wait();
    }
}

/// Waits until a child has ended, and reaps it. Where the ends of children are ignored there is nothing to
/// reap, and this waits all the same.
pub(crate) fn wait_for_end(pid: Pid) {
    while let Err(Errno::INTR) = rustix::process::waitid(WaitId::Pid(pid), WaitIdOptions::EXITED) {}
}

/// What a call of the C library has just failed with.
pub(crate) fn last_errno() -> Errno {
    let number = std::io::Error::last_os_error().raw_os_error();
    Errno::from_raw_os_error(number.unwrap_or(libc::EAGAIN))
}

extern "C" fn run(argument: *mut libc::c_void) -> i32 {
    // SAFETY: `begin` gives a `Shared` that lives until this process was waited for.
    let shared = unsafe { &*argument.cast::<Shared>() };
    let answer = match (shared.work)() {
        Ok(()) => 0,
        Err(errno) => errno.raw_os_error(),
    };
    shared.answer.store(answer, Ordering::Release);
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    static SEEN: AtomicI32 = AtomicI32::new(0);

    #[test]
    fn what_is_done_aside_is_seen_and_its_answer_heard() {
        let aside = Aside::begin(|| {
            SEEN.store(
                rustix::process::getpid().as_raw_nonzero().get(),
                Ordering::Release,
            );
            Ok(())
        });
        aside.unwrap().finish().unwrap();
        let pid = SEEN.load(Ordering::Acquire);
        assert!(pid > 0 && pid != rustix::process::getpid().as_raw_nonzero().get());
        let fails = Aside::begin(|| Err(Errno::BUSY)).unwrap();
        assert_eq!(fails.finish(), Err(Errno::BUSY));
    }

    /// Its working directory is its own.
    #[test]
    fn it_may_move() {
        let before = std::env::current_dir().unwrap();
        let aside = Aside::begin(|| rustix::process::chdir(c"/proc")).unwrap();
        aside.finish().unwrap();
        assert_eq!(std::env::current_dir().unwrap(), before);
    }
}
