//! What of the caller must not leak into a monitor or a container, in one list.
//!
//! Session, signal dispositions and mask, umask, working directory, affinity, scheduling, nice,
//! I/O priority, resource limits, OOM score, keyring. (Environment and descriptors are replaced by exec; the
//! cgroup is left by `runtime::cgroup`.)

use std::os::fd::AsRawFd;

use rustix::fs::Mode;
use rustix::process::{Resource, Rlimit};

/// Cuts this process off from whoever started it. Never fails: each step that the kernel refuses
/// leaves that one property as it was.
pub fn detach() {
    let _ = rustix::process::setsid();
    reset_signals();
    rustix::process::umask(Mode::from_raw_mode(0o022));
    let _ = rustix::process::chdir("/");
    reset_scheduling();
    reset_limits();
    // 0 is what init's children have; lowering needs CAP_SYS_RESOURCE, so that a caller's higher
    // score may stay.
    if let Ok(file) = rustix::fs::open(
        "/proc/self/oom_score_adj",
        rustix::fs::OFlags::WRONLY | rustix::fs::OFlags::CLOEXEC,
        Mode::empty(),
    ) {
        let _ = rustix::io::write(&file, b"0");
    }
    crate::process::new_session_keyring();
}

/// Default disposition for every signal, none blocked (a Rust main ignores SIGPIPE).
pub fn reset_signals() {
    // Handler, flags, restorer, mask: all zero is SIG_DFL in the kernel's layout of every machine.
    let default = [0u64; 4];
    for signal in 1..=64 {
        // SAFETY: the kernel reads at most 32 bytes of a live array; SIGKILL and SIGSTOP answer
        // EINVAL.
        // WHY: the C library refuses to touch 32 and 33, which a caller may have ignored all the
        // same.
        unsafe {
            libc::syscall(
                libc::SYS_rt_sigaction,
                signal,
                default.as_ptr(),
                std::ptr::null_mut::<u64>(),
                size_of::<u64>(),
            );
        }
    }
    set_mask(0);
}

/// Blocks exactly the signals in `mask` (bit n-1 is signal n).
pub fn set_mask(mask: u64) {
    swap_mask(mask);
}

/// As [`set_mask`]; returns what was blocked before.
pub(crate) fn swap_mask(mask: u64) -> u64 {
    let mut before = 0_u64;
    // SAFETY: the kernel reads and writes eight bytes of live values.
    // WHY: the raw call also covers the real-time signals that the C library reserves.
    unsafe {
        libc::syscall(
            libc::SYS_rt_sigprocmask,
            libc::SIG_SETMASK,
            &raw const mask,
            &raw mut before,
            size_of::<u64>(),
        );
    }
    before
}

/// Makes a write beyond the caller's limit of file sizes an error that can be told, instead of the
/// end of this process. What we start does not inherit it.
pub fn outlive_file_size_limit() {
    // SAFETY: no handler is installed.
    unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_IGN) };
}

/// Forgets the signals that have arrived and are blocked: one that is ignored is not kept.
pub(crate) fn forget_pending_signals() {
    for signal in [libc::SIGHUP, libc::SIGINT, libc::SIGQUIT, libc::SIGTERM] {
        // SAFETY: no handler is installed.
        unsafe { libc::signal(signal, libc::SIG_IGN) };
    }
}

/// A descriptor from which the signals in `mask` are read; they are blocked from here on.
///
/// # Errors
/// The kernel's answer.
pub fn signal_descriptor(mask: u64) -> Result<std::os::fd::OwnedFd, crate::SysError> {
    use crate::Context;
    use std::os::fd::FromRawFd;
    set_mask(mask);
    let flags = libc::SFD_CLOEXEC | libc::SFD_NONBLOCK;
    // SAFETY: the kernel reads eight bytes of a live value and makes a new descriptor.
    let result = unsafe {
        libc::syscall(
            libc::SYS_signalfd4,
            -1,
            &raw const mask,
            size_of::<u64>(),
            flags,
        )
    };
    let number = crate::process::check(result).on("create", "signal descriptor")?;
    // SAFETY: a fresh descriptor that nobody else owns.
    Ok(unsafe { std::os::fd::OwnedFd::from_raw_fd(number as i32) })
}

/// The next signal number from a descriptor of [`signal_descriptor`], if one waits.
pub fn read_signal(descriptor: impl std::os::fd::AsFd) -> Option<i32> {
    let mut record = [0u8; 128];
    match rustix::io::read(descriptor, &mut record) {
        Ok(128) => Some(i32::from_ne_bytes([
            record[0], record[1], record[2], record[3],
        ])),
        _ => None,
    }
}

fn reset_scheduling() {
    #[repr(C)]
    struct Parameters {
        priority: i32,
    }
    let parameters = Parameters { priority: 0 };
    // SAFETY: the kernel reads one int of a live value.
    unsafe {
        libc::syscall(
            libc::SYS_sched_setscheduler,
            0,
            libc::SCHED_OTHER,
            &raw const parameters,
        );
    }
    // SAFETY: plain numbers. Raising needs CAP_SYS_NICE, which root has.
    unsafe {
        libc::setpriority(libc::PRIO_PROCESS, 0, 0);
    }
    const IOPRIO_WHO_PROCESS: i32 = 1;
    // SAFETY: plain numbers; class 0 is "none".
    unsafe {
        libc::syscall(libc::SYS_ioprio_set, IOPRIO_WHO_PROCESS, 0, 0);
    }
    let all = [0xffu8; 128];
    // SAFETY: the kernel reads 128 bytes of a live array, and takes what of it exists.
    unsafe {
        libc::syscall(libc::SYS_sched_setaffinity, 0, all.len(), all.as_ptr());
    }
}

/// Limits as Docker's service unit has them, clamped to what may be had: without
/// CAP_SYS_RESOURCE a hard limit only falls.
fn reset_limits() {
    let infinite = [
        Resource::Core,
        Resource::Cpu,
        Resource::Data,
        Resource::As,
        Resource::Fsize,
        Resource::Nproc,
        Resource::Rss,
        Resource::Locks,
        Resource::Rttime,
    ];
    for resource in infinite {
        raise(resource, None, None);
    }
    raise(Resource::Stack, Some(8 << 20), None);
    // 1024:524288 is systemd's default, which Docker inherits: a huge soft limit makes old programs
    // close a million descriptors.
    raise(Resource::Nofile, Some(1024), Some(524_288));
    raise(Resource::Memlock, Some(8 << 20), Some(8 << 20));
    raise(Resource::Msgqueue, Some(819_200), Some(819_200));
    raise(Resource::Nice, Some(0), Some(0));
    raise(Resource::Rtprio, Some(0), Some(0));
}

fn raise(resource: Resource, soft: Option<u64>, hard: Option<u64>) {
    if rustix::process::setrlimit(
        resource,
        Rlimit {
            current: soft,
            maximum: hard,
        },
    )
    .is_ok()
    {
        return;
    }
    let now = rustix::process::getrlimit(resource);
    let lower = |a: Option<u64>, b: Option<u64>| match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, None) => a,
        (None, b) => b,
    };
    let maximum = lower(hard, now.maximum);
    let _ = rustix::process::setrlimit(
        resource,
        Rlimit {
            current: lower(soft, maximum),
            maximum,
        },
    );
}

/// Closes every descriptor from 3 on but the given ones.
pub fn close_all_but(keep: &[std::os::fd::BorrowedFd<'_>]) {
    let mut numbers: Vec<u32> = keep.iter().map(|fd| fd.as_raw_fd() as u32).collect();
    numbers.sort_unstable();
    let mut first = 3u32;
    for number in numbers.into_iter().chain([u32::MAX]) {
        if number > first {
            // SAFETY: the caller forked for a job of its own and owns none of these any more; it
            // leaves by exec or _exit, so that no owner closes them a second time.
            unsafe {
                libc::syscall(libc::SYS_close_range, first, number - 1, 0u32);
            }
        }
        first = first.max(number.saturating_add(1));
    }
}
