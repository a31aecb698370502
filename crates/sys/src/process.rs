//! Processes: making them, naming what they may do, replacing what they run.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use rustix::io::Errno;

use crate::error::{Context, SysError};

/// Turns a raw return value into a result.
pub(crate) fn check(result: i64) -> Result<i64, Errno> {
    if result >= 0 {
        return Ok(result);
    }
    Err(Errno::from_raw_os_error(
        std::io::Error::last_os_error()
            .raw_os_error()
            .unwrap_or(libc::EIO),
    ))
}

/// Which side of a fork this is.
#[derive(Debug)]
pub enum Side {
    /// The new process.
    Child,
    /// The old one, with the new one's pid and descriptor.
    Parent {
        /// Its pid, as seen here.
        pid: i32,
        /// Its descriptor, close-on-exec.
        pidfd: OwnedFd,
    },
}

/// New namespaces for [`clone_into`], as `CLONE_NEW*` bits.
pub mod namespaces {
    /// Mounts.
    pub const MOUNT: u64 = 0x0002_0000;
    /// Cgroup.
    pub const CGROUP: u64 = 0x0200_0000;
    /// Host name.
    pub const UTS: u64 = 0x0400_0000;
    /// System V and POSIX inter-process communication.
    pub const IPC: u64 = 0x0800_0000;
    /// Users.
    pub const USER: u64 = 0x1000_0000;
    /// Processes.
    pub const PID: u64 = 0x2000_0000;
    /// Network.
    pub const NET: u64 = 0x4000_0000;
}

#[repr(C)]
#[derive(Default)]
struct CloneArgs {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

/// Forks this process into new namespaces and, where given, into a cgroup2 directory.
///
/// # Panics
/// Where this process has more than one thread: the child would inherit locks of the others.
///
/// # Errors
/// The kernel's answer; `EPERM` without CAP_SYS_ADMIN.
pub fn clone_into(new: u64, cgroup: Option<BorrowedFd<'_>>) -> Result<Side, SysError> {
    const CLONE_PIDFD: u64 = 0x1000;
    const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;
    debug_assert_eq!(
        thread_count(),
        1,
        "only a single-threaded process clones a container"
    );
    let mut pidfd: i32 = -1;
    let mut arguments = CloneArgs {
        flags: new | CLONE_PIDFD,
        pidfd: (&raw mut pidfd) as u64,
        exit_signal: libc::SIGCHLD as u64,
        ..CloneArgs::default()
    };
    if let Some(cgroup) = cgroup {
        arguments.flags |= CLONE_INTO_CGROUP;
        arguments.cgroup = cgroup.as_raw_fd() as u64;
    }
    // SAFETY: no stack is given, so that the child goes on in a copy of this one as after fork;
    // the process has one thread, so no lock is held by another; `arguments` outlives the call.
    // WHY: rustix has no clone3; fork(2) gives neither namespaces nor a pidfd. Kernel 5.3.
    let result =
        unsafe { libc::syscall(libc::SYS_clone3, &raw mut arguments, size_of::<CloneArgs>()) };
    match check(result) {
        Ok(0) => Ok(Side::Child),
        Ok(pid) => {
            // SAFETY: the kernel stored a fresh descriptor that nobody else owns.
            let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
            Ok(Side::Parent {
                pid: pid as i32,
                pidfd,
            })
        }
        Err(errno) => Err(SysError::new("create", "process", errno)),
    }
}

/// Does `work` in a process of its own, which nobody waits for and which holds none of the caller's
/// standard streams. Returns whether there is one; a program with threads has to do the work itself.
pub fn in_background(work: impl FnOnce()) -> bool {
    if thread_count() != 1 {
        return false;
    }
    // A terminal that closes as the command ends hangs up its process group, which the new process
    // has to leave first.
    let mask = crate::caller::swap_mask(u64::MAX);
    let side = clone_into(0, None);
    if !matches!(side, Ok(Side::Child)) {
        crate::caller::set_mask(mask);
    }
    match side {
        Ok(Side::Child) => {
            let _ = rustix::process::setsid();
            crate::caller::forget_pending_signals();
            crate::caller::detach();
            let null = std::fs::File::options()
                .read(true)
                .write(true)
                .open("/dev/null");
            if let Ok(null) = null {
                let _ = replace_stdio([null.as_fd(), null.as_fd(), null.as_fd()]);
            }
            work();
            exit_now(0)
        }
        Ok(Side::Parent { .. }) => true,
        Err(_) => false,
    }
}

/// How many threads this process has.
pub fn thread_count() -> usize {
    std::fs::read_dir("/proc/self/task").map_or(1, Iterator::count)
}

/// Ends this process at once, without running destructors or flushing buffers.
pub fn exit_now(code: i32) -> ! {
    // SAFETY: _exit has no preconditions.
    unsafe { libc::_exit(code) }
}

/// C strings for an argument or environment list.
#[derive(Debug)]
pub struct CStrings {
    strings: Vec<CString>,
    pointers: Vec<*const libc::c_char>,
}

impl CStrings {
    /// Builds the list.
    ///
    /// # Errors
    /// `EINVAL` where a string holds a NUL.
    pub fn new<S: AsRef<[u8]>>(items: impl IntoIterator<Item = S>) -> Result<Self, SysError> {
        let mut strings = Vec::new();
        for item in items {
            let bytes = item.as_ref();
            let string = CString::new(bytes).map_err(|_| {
                SysError::new(
                    "use",
                    String::from_utf8_lossy(bytes).into_owned(),
                    Errno::INVAL,
                )
            })?;
            strings.push(string);
        }
        let mut pointers: Vec<_> = strings.iter().map(|string| string.as_ptr()).collect();
        pointers.push(std::ptr::null());
        Ok(Self { strings, pointers })
    }

    /// The first string.
    pub fn first(&self) -> Option<&CStr> {
        self.strings.first().map(CString::as_c_str)
    }
}

/// Replaces this process by the file at `path`. Returns only on failure.
pub fn execute(path: &CStr, arguments: &CStrings, environment: &CStrings) -> Errno {
    // SAFETY: both lists end with a null pointer and live through the call.
    // WHY: rustix's execve is behind an unsafe runtime interface.
    let result = unsafe {
        libc::execve(
            path.as_ptr(),
            arguments.pointers.as_ptr(),
            environment.pointers.as_ptr(),
        )
    };
    check(i64::from(result)).err().unwrap_or(Errno::IO)
}

/// Replaces this process by the file behind a descriptor. Returns only on failure.
pub fn execute_fd(file: impl AsFd, arguments: &CStrings, environment: &CStrings) -> Errno {
    // SAFETY: the path is an empty C string, both lists end with null and live through the call.
    // WHY: rustix's execveat is behind an unsafe runtime interface.
    let result = unsafe {
        libc::syscall(
            libc::SYS_execveat,
            file.as_fd().as_raw_fd(),
            c"".as_ptr(),
            arguments.pointers.as_ptr(),
            environment.pointers.as_ptr(),
            libc::AT_EMPTY_PATH,
        )
    };
    check(result).err().unwrap_or(Errno::IO)
}

fn prctl(option: i32, argument: u64) -> Result<(), Errno> {
    // SAFETY: the options used here take plain numbers.
    let result = unsafe { libc::prctl(option, argument, 0u64, 0u64, 0u64) };
    check(i64::from(result)).map(drop)
}

/// Whether others may trace this process, read its memory or follow its `/proc` links.
///
/// # Errors
/// The kernel's answer.
pub fn set_dumpable(dumpable: bool) -> Result<(), SysError> {
    prctl(libc::PR_SET_DUMPABLE, u64::from(dumpable)).on("protect", "process")
}

/// No exec of this process or its children gains privileges any more.
///
/// # Errors
/// The kernel's answer.
pub fn set_no_new_privileges() -> Result<(), SysError> {
    prctl(libc::PR_SET_NO_NEW_PRIVS, 1).on("set", "no_new_privs")
}

/// Keeps the permitted capabilities through the next change of user.
///
/// # Errors
/// The kernel's answer.
pub fn keep_capabilities(keep: bool) -> Result<(), SysError> {
    prctl(libc::PR_SET_KEEPCAPS, u64::from(keep)).on("keep", "capabilities")
}

/// Names this process for `ps` (15 bytes count).
pub fn set_name(name: &CStr) {
    // SAFETY: PR_SET_NAME reads at most 16 bytes of a C string.
    unsafe {
        libc::prctl(libc::PR_SET_NAME, name.as_ptr() as u64, 0u64, 0u64, 0u64);
    }
}

/// Makes orphans among this process's descendants its children.
pub fn become_subreaper() {
    let _ = prctl(libc::PR_SET_CHILD_SUBREAPER, 1);
}

/// The signal that this process gets when its parent ends.
///
/// # Errors
/// The kernel's answer.
pub fn set_parent_death_signal(signal: i32) -> Result<(), SysError> {
    prctl(libc::PR_SET_PDEATHSIG, signal as u64).on("set", "parent death signal")
}

/// Drops every capability of the bounding set that is not in `keep`.
///
/// # Errors
/// `EPERM` without CAP_SETPCAP.
pub fn limit_bounding_set(keep: u64) -> Result<(), SysError> {
    for capability in 0..64u64 {
        if keep & (1 << capability) != 0 {
            continue;
        }
        match prctl(libc::PR_CAPBSET_DROP, capability) {
            Ok(()) => {}
            // Past the kernel's last capability.
            Err(Errno::INVAL) => break,
            Err(errno) => {
                return Err(SysError::new(
                    "drop",
                    format!("capability {capability}"),
                    errno,
                ));
            }
        }
    }
    Ok(())
}

/// This process's bounding set.
pub fn bounding_set() -> u64 {
    let mut set = 0;
    for capability in 0..64u64 {
        // SAFETY: plain numbers.
        match unsafe { libc::prctl(libc::PR_CAPBSET_READ, capability, 0u64, 0u64, 0u64) } {
            1 => set |= 1 << capability,
            0 => {}
            // Past the kernel's last capability.
            _ => break,
        }
    }
    set
}

#[repr(C)]
struct CapabilityHeader {
    version: u32,
    pid: i32,
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
struct CapabilityData {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

const CAPABILITY_VERSION_3: u32 = 0x2008_0522;

/// Sets effective, permitted and inheritable capabilities of this thread.
///
/// # Errors
/// `EPERM` where one is not permitted.
pub fn set_capabilities(effective: u64, permitted: u64, inheritable: u64) -> Result<(), SysError> {
    let header = CapabilityHeader {
        version: CAPABILITY_VERSION_3,
        pid: 0,
    };
    let data = [0u32, 32].map(|shift| CapabilityData {
        effective: (effective >> shift) as u32,
        permitted: (permitted >> shift) as u32,
        inheritable: (inheritable >> shift) as u32,
    });
    // SAFETY: version 3 reads one header and two data records, which live through the call.
    // WHY: rustix asks for its own bit flags of known capabilities only.
    let result = unsafe { libc::syscall(libc::SYS_capset, &raw const header, data.as_ptr()) };
    check(result).map(drop).on("set", "capabilities")
}

/// This thread's (effective, permitted, inheritable) capabilities.
pub fn capabilities() -> (u64, u64, u64) {
    let header = CapabilityHeader {
        version: CAPABILITY_VERSION_3,
        pid: 0,
    };
    let mut data = [CapabilityData::default(); 2];
    // SAFETY: version 3 writes two data records, which live through the call.
    let result = unsafe { libc::syscall(libc::SYS_capget, &raw const header, data.as_mut_ptr()) };
    if result < 0 {
        return (0, 0, 0);
    }
    let join = |low: u32, high: u32| u64::from(low) | u64::from(high) << 32;
    (
        join(data[0].effective, data[1].effective),
        join(data[0].permitted, data[1].permitted),
        join(data[0].inheritable, data[1].inheritable),
    )
}

/// Empties the ambient set.
pub fn clear_ambient_capabilities() {
    // SAFETY: plain numbers. An old kernel without the ambient set answers EINVAL: nothing to clear.
    unsafe {
        libc::prctl(
            libc::PR_CAP_AMBIENT,
            libc::PR_CAP_AMBIENT_CLEAR_ALL as u64,
            0u64,
            0u64,
            0u64,
        );
    }
}

/// Becomes user and group with exactly these supplementary groups.
///
/// # Errors
/// `EPERM` without CAP_SETUID or CAP_SETGID.
pub fn set_user(uid: u32, gid: u32, groups: &[u32]) -> Result<(), SysError> {
    // SAFETY: pointer and length are those of the slice.
    // WHY: the process has one thread here, so the raw calls say it all (libc's would signal others).
    let result = unsafe { libc::syscall(libc::SYS_setgroups, groups.len(), groups.as_ptr()) };
    check(result).on("set groups of", "process")?;
    // SAFETY: plain numbers.
    let result = unsafe { libc::syscall(libc::SYS_setresgid, gid, gid, gid) };
    check(result).on("become group", gid)?;
    // SAFETY: plain numbers.
    let result = unsafe { libc::syscall(libc::SYS_setresuid, uid, uid, uid) };
    check(result).on("become user", uid)?;
    Ok(())
}

/// Joins namespaces: all those in `kinds` of the process behind a pidfd, or the one behind an
/// `/proc/PID/ns` descriptor.
///
/// # Errors
/// `ESRCH` where the process is gone.
pub fn join_namespaces(of: impl AsFd, kinds: u64) -> Result<(), SysError> {
    // SAFETY: plain numbers.
    let result = unsafe { libc::syscall(libc::SYS_setns, of.as_fd().as_raw_fd(), kinds as i32) };
    check(result).map(drop).on("join", "namespaces")
}

/// Gives this process new namespaces.
///
/// # Errors
/// The kernel's answer.
pub fn unshare(kinds: u64) -> Result<(), SysError> {
    // SAFETY: plain numbers; without CLONE_FILES and CLONE_FS nothing of this process's memory or
    // descriptors changes.
    let result = unsafe { libc::syscall(libc::SYS_unshare, kinds) };
    check(result).map(drop).on("unshare", "namespaces")
}

/// A fresh session keyring, so that the caller's keys are not the container's.
pub fn new_session_keyring() {
    const KEYCTL_JOIN_SESSION_KEYRING: u64 = 1;
    // SAFETY: a null name asks for an anonymous keyring.
    // A kernel without keyrings answers ENOSYS: then there are no keys to hide.
    unsafe {
        libc::syscall(libc::SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, 0u64);
    }
}

/// One instruction of a classic BPF program, as the kernel takes it.
pub type BpfInstruction = [u8; 8];

/// Installs a seccomp filter on this thread and what it starts.
///
/// # Errors
/// `EACCES` without CAP_SYS_ADMIN or no_new_privs; `EINVAL` where the program is not sound.
pub fn install_seccomp(program: &[BpfInstruction], flags: u32) -> Result<(), SysError> {
    #[repr(C)]
    struct Program {
        length: u16,
        filter: *const BpfInstruction,
    }
    const SECCOMP_SET_MODE_FILTER: u64 = 1;
    let program = Program {
        length: program.len() as u16,
        filter: program.as_ptr(),
    };
    // SAFETY: length and pointer are those of the slice; the kernel copies it.
    // WHY: no safe wrapper takes a ready program.
    let result = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            SECCOMP_SET_MODE_FILTER,
            u64::from(flags),
            &raw const program,
        )
    };
    check(result).map(drop).on("install", "seccomp filter")
}

/// Marks every descriptor from `first` on close-on-exec.
///
/// # Errors
/// None that is expected; kernel 5.11, before that each open descriptor is marked by itself.
pub fn close_from_on_exec(first: u32) -> Result<(), SysError> {
    const CLOSE_RANGE_CLOEXEC: u32 = 4;
    // SAFETY: marks only; nothing is closed under its owner.
    let result =
        unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, CLOSE_RANGE_CLOEXEC) };
    if check(result).is_ok() {
        return Ok(());
    }
    let Ok(entries) = std::fs::read_dir("/proc/self/fd") else {
        return Ok(());
    };
    let numbers = entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    for number in numbers.filter(|number: &i32| *number >= first as i32) {
        // SAFETY: F_SETFD changes a flag only; a number that is no longer open answers EBADF.
        unsafe {
            libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC);
        }
    }
    Ok(())
}

/// Puts descriptors 0, 1 and 2 in place of standard input, output and error.
///
/// # Errors
/// The kernel's answer.
pub fn replace_stdio(fds: [BorrowedFd<'_>; 3]) -> Result<(), SysError> {
    // Lifted above 2 first: one source may sit where another shall go.
    let lifted = fds.map(|fd| rustix::io::fcntl_dupfd_cloexec(fd, 3));
    let [input, output, error] = lifted;
    rustix::stdio::dup2_stdin(input.on("copy", "standard input")?)
        .on("replace", "standard input")?;
    rustix::stdio::dup2_stdout(output.on("copy", "standard output")?)
        .on("replace", "standard output")?;
    rustix::stdio::dup2_stderr(error.on("copy", "standard error")?).on("replace", "standard error")
}

/// The number behind a descriptor.
pub fn raw_number(fd: impl AsFd) -> i32 {
    fd.as_fd().as_raw_fd()
}

/// Sends a signal to the process behind a pidfd.
///
/// # Errors
/// `ESRCH` where it is gone.
pub fn signal(pidfd: impl AsFd, number: i32) -> Result<(), SysError> {
    // SAFETY: a null siginfo asks for the one of kill(2).
    // WHY: rustix takes only named signals; containers get real-time ones too. Kernel 5.1.
    let result = unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            pidfd.as_fd().as_raw_fd(),
            number,
            0u64,
            0u32,
        )
    };
    check(result).map(drop).on("send signal to", "process")
}

/// A descriptor of a running process.
///
/// # Errors
/// `ESRCH` where there is none.
pub fn open_pidfd(pid: i32) -> Result<OwnedFd, SysError> {
    let pid_type = rustix::process::Pid::from_raw(pid)
        .ok_or_else(|| SysError::new("open", "process 0", Errno::SRCH))?;
    rustix::process::pidfd_open(pid_type, rustix::process::PidfdFlags::empty())
        .on("open process", pid)
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// By itself, with this code.
    Code(i32),
    /// By this signal.
    Signal(i32),
}

impl Exit {
    /// The shell's number for it: the code, or 128 + signal.
    pub fn shell_code(self) -> i32 {
        match self {
            Self::Code(code) => code,
            Self::Signal(signal) => 128 + signal,
        }
    }
}

/// Reaps the child behind a pidfd; `None` where it still runs and `wait` is false.
///
/// # Errors
/// `ECHILD` where it is not our child.
pub fn reap(pidfd: impl AsFd, wait: bool) -> Result<Option<Exit>, SysError> {
    use rustix::process::{WaitId, WaitIdOptions};
    let mut options = WaitIdOptions::EXITED;
    if !wait {
        options |= WaitIdOptions::NOHANG;
    }
    loop {
        match rustix::process::waitid(WaitId::PidFd(pidfd.as_fd()), options) {
            Ok(None) => return Ok(None),
            Ok(Some(status)) => {
                return Ok(Some(
                    match (status.exit_status(), status.terminating_signal()) {
                        (Some(code), _) => Exit::Code(code),
                        (None, Some(signal)) => Exit::Signal(signal),
                        (None, None) => Exit::Code(255),
                    },
                ));
            }
            Err(Errno::INTR) => {}
            Err(errno) => return Err(SysError::new("wait for", "process", errno)),
        }
    }
}

/// Reaps those children of this single-threaded process that have ended and that nobody in it knows.
pub fn reap_others(known: &[i32]) {
    use rustix::process::{Pid, WaitId, WaitIdOptions};
    let children = crate::host::read_text("/proc/thread-self/children");
    let strangers = children
        .split_whitespace()
        .filter_map(|text| text.parse().ok())
        .filter(|pid| !known.contains(pid));
    for pid in strangers.filter_map(Pid::from_raw) {
        let _ = rustix::process::waitid(
            WaitId::Pid(pid),
            WaitIdOptions::EXITED | WaitIdOptions::NOHANG,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clone_is_reaped_with_its_code() {
        // The test harness has threads; the child only calls _exit, which is safe all the same.
        let arguments = CStrings::new(["sh", "-c", "exit 7"]).unwrap();
        let environment = CStrings::new(Vec::<&str>::new()).unwrap();
        let side = std::panic::catch_unwind(|| clone_into(0, None));
        match side {
            Ok(Ok(Side::Child)) => {
                execute(c"/bin/sh", &arguments, &environment);
                exit_now(99)
            }
            Ok(Ok(Side::Parent { pidfd, .. })) => {
                assert_eq!(reap(&pidfd, true).unwrap(), Some(Exit::Code(7)));
            }
            Ok(Err(error)) => panic!("{error}"),
            // More than one thread: the assertion did its work.
            Err(_) => {}
        }
    }

    #[test]
    fn a_string_with_nul_is_refused() {
        assert!(CStrings::new(["a\0b"]).is_err());
    }

    #[test]
    fn shell_codes_are_128_plus_the_signal() {
        assert_eq!(Exit::Signal(9).shell_code(), 137);
        assert_eq!(Exit::Code(3).shell_code(), 3);
    }
}
