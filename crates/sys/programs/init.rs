// `--init`: process 1 of a container. Starts the command, passes on signals, reaps orphans, and
// ends as the command ended: with its code, or 128 + signal.
//
// Usage: `caisson-init [--] COMMAND [ARGUMENT …]`. Like tini without options: signals go to the command
// alone, which leads its own process group and owns the terminal where there is one. Exit codes of
// its own: 127 command not found, 126 not executable, 125 everything else.
#![no_std]
#![no_main]
#![no_builtins]

include!("kernel.rs");

/// System call numbers.
#[cfg(target_arch = "x86_64")]
mod call {
    pub const RT_SIGACTION: usize = 13;
    pub const RT_SIGPROCMASK: usize = 14;
    pub const IOCTL: usize = 16;
    pub const GETPID: usize = 39;
    pub const CLONE: usize = 56;
    pub const EXECVE: usize = 59;
    pub const WAIT4: usize = 61;
    pub const KILL: usize = 62;
    pub const SETPGID: usize = 109;
    pub const RT_SIGTIMEDWAIT: usize = 128;
    pub const PRCTL: usize = 157;
}

/// System call numbers.
#[cfg(target_arch = "aarch64")]
mod call {
    pub const IOCTL: usize = 29;
    pub const KILL: usize = 129;
    pub const RT_SIGACTION: usize = 134;
    pub const RT_SIGPROCMASK: usize = 135;
    pub const RT_SIGTIMEDWAIT: usize = 137;
    pub const SETPGID: usize = 154;
    pub const PRCTL: usize = 167;
    pub const GETPID: usize = 172;
    pub const CLONE: usize = 220;
    pub const EXECVE: usize = 221;
    pub const WAIT4: usize = 260;
}

const SIGNAL_SET_BYTES: usize = 8;
const SIG_SETMASK: usize = 2;
const WNOHANG: usize = 1;
const TIOCSPGRP: usize = 0x5410;
const PR_SET_NAME: usize = 15;
const PR_SET_CHILD_SUBREAPER: usize = 36;

const SIGABRT: usize = 6;
const SIGBUS: usize = 7;
const SIGCHLD: usize = 17;
const SIGFPE: usize = 8;
const SIGILL: usize = 4;
const SIGSEGV: usize = 11;
const SIGSYS: usize = 31;
const SIGTRAP: usize = 5;
const SIGTTIN: usize = 21;
const SIGTTOU: usize = 22;

const ENOENT: isize = -2;
const EINTR: isize = -4;
const ENOEXEC: isize = -8;
const EACCES: isize = -13;
const ENOTDIR: isize = -20;
const ENAMETOOLONG: isize = -36;

/// What we are called by, and no script's interpreter is.
const NAME: &[u8] = b"caisson-init";

const EXIT_OURS: i32 = 125;
const EXIT_NOT_EXECUTABLE: i32 = 126;
const EXIT_NOT_FOUND: i32 = 127;

const PATH_BYTES_MAX: usize = 4096;
const DEFAULT_PATH: &[u8] = b"/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

type Text = *const u8;

/// # Safety
/// `stack` is what the kernel passed to this process.
unsafe fn run(stack: *mut usize) -> i32 {
    // SAFETY: argument count, then that many pointers, a null, the environment, a null.
    let (name, mut command, environment) = unsafe {
        let count = *stack;
        let arguments = stack.add(1).cast::<Text>();
        (*arguments, arguments.add(1), arguments.add(count + 1))
    };
    // A script whose interpreter is /proc/self/exe would start us again and again.
    // SAFETY: a null pointer, or a C string.
    if name.is_null() || unsafe { bytes_of(name) } != NAME {
        return fail(b"only caisson starts this program", b"", EXIT_NOT_EXECUTABLE);
    }
    // SAFETY: the list ends with a null pointer, each other entry is a C string.
    unsafe {
        if !(*command).is_null() && bytes_of(*command) == b"--" {
            command = command.add(1);
        }
        if (*command).is_null() {
            return fail(b"no command was given", b"", EXIT_OURS);
        }
    }
    // The name of an anonymous file is no name for people.
    prctl(PR_SET_NAME, c"caisson-init".as_ptr() as usize);
    if getpid() != 1 {
        // Orphans would go to the host's process 1 (`--pid host`).
        prctl(PR_SET_CHILD_SUBREAPER, 1);
    }
    // Every signal waits for us, but those that a fault in this program raises, and those of
    // terminal access from the background, which are ignored until the command has the terminal.
    let ours = [SIGFPE, SIGILL, SIGSEGV, SIGBUS, SIGABRT, SIGTRAP, SIGSYS, SIGTTIN, SIGTTOU];
    let mut awaited = u64::MAX;
    for signal in ours {
        awaited &= !bit(signal);
    }
    let mut inherited = 0u64;
    set_mask(awaited, &mut inherited);
    ignore(SIGTTIN, true);
    ignore(SIGTTOU, true);
    match fork() {
        0 => {
            take_terminal();
            ignore(SIGTTIN, false);
            ignore(SIGTTOU, false);
            set_mask(inherited, &mut 0);
            // SAFETY: both lists are those of the kernel.
            unsafe { execute(command, environment) }
        }
        child if child > 0 => watch(child as usize, awaited),
        _ => fail(b"cannot fork", b"", EXIT_OURS),
    }
}

/// Until the command has ended: signals are passed on, children are reaped.
fn watch(child: usize, awaited: u64) -> i32 {
    loop {
        let signal = wait_signal(awaited);
        if signal < 0 {
            // EINTR and EAGAIN: a stop and continue, nothing to pass on.
            continue;
        }
        if signal as usize != SIGCHLD {
            kill(child, signal as usize);
            continue;
        }
        let mut end = None;
        let mut status = 0i32;
        loop {
            match wait_any(&mut status) {
                pid if pid == child as isize => end = Some(exit_code(status)),
                EINTR => {}
                pid if pid <= 0 => break,
                _ => {}
            }
        }
        if let Some(code) = end {
            return code;
        }
    }
}

fn exit_code(status: i32) -> i32 {
    match status & 0x7f {
        0 => (status >> 8) & 0xff,
        signal => 128 + signal,
    }
}

/// The command leads a process group, and that group owns the terminal on standard input, if any.
fn take_terminal() {
    // SAFETY: plain numbers; the ioctl reads one int. Their failures mean: no terminal, or not ours.
    unsafe {
        syscall(call::SETPGID, 0, 0, 0, 0, 0);
        let group = getpid() as i32;
        syscall(call::IOCTL, 0, TIOCSPGRP, &raw const group as usize, 0, 0);
    }
}

/// Replaces this process by the command, looked up in `PATH` where it has no slash.
///
/// # Safety
/// Both lists end with a null pointer, hold C strings, and `command` has an entry before it.
unsafe fn execute(command: *mut Text, environment: *mut Text) -> i32 {
    // SAFETY: as promised by the caller.
    let (name, path) = unsafe { (bytes_of(*command), path_of(environment)) };
    let mut error = ENOENT;
    if has_slash(name) || name.is_empty() {
        // SAFETY: as promised by the caller.
        error = unsafe { execute_file(*command, command, environment) };
    } else {
        let mut buffer = [0u8; PATH_BYTES_MAX];
        let mut rest = path;
        loop {
            let (directory, after) = split_at_colon(rest);
            if join(&mut buffer, directory, name) {
                // SAFETY: as promised by the caller; the buffer holds a C string.
                match unsafe { execute_file(buffer.as_ptr(), command, environment) } {
                    ENOENT | ENOTDIR | ENAMETOOLONG => {}
                    // Remembered, while a later directory may still hold one that works.
                    EACCES => error = EACCES,
                    other => {
                        error = other;
                        break;
                    }
                }
            }
            match after {
                Some(next) => rest = next,
                None => break,
            }
        }
    }
    match error {
        ENOENT | ENOTDIR => fail(b"command not found: ", name, EXIT_NOT_FOUND),
        EACCES => fail(b"permission denied: ", name, EXIT_NOT_EXECUTABLE),
        ENOEXEC => fail(b"exec format error: ", name, EXIT_NOT_EXECUTABLE),
        _ => fail(b"cannot execute ", name, EXIT_NOT_EXECUTABLE),
    }
}

/// One attempt; a text file without `#!` is given to the shell, as execvp does.
///
/// # Safety
/// As [`execute`]; `file` is a C string.
unsafe fn execute_file(file: Text, command: *mut Text, environment: *mut Text) -> isize {
    // SAFETY: as promised by the caller.
    let error = unsafe { execve(file, command, environment) };
    if error != ENOEXEC {
        return error;
    }
    // The entry before the command held our own name or `--`: room for the shell's.
    // SAFETY: `command` has an entry before it; the list stays null-terminated.
    unsafe {
        let shell = command.sub(1);
        let (before, name) = (*shell, *command);
        *shell = c"/bin/sh".as_ptr().cast();
        *command = file;
        execve(*shell, shell, environment);
        *shell = before;
        *command = name;
    }
    ENOEXEC
}

/// # Safety
/// Both lists end with a null pointer and hold C strings; `file` is a C string.
unsafe fn execve(file: Text, arguments: *mut Text, environment: *mut Text) -> isize {
    // SAFETY: as promised by the caller.
    unsafe {
        syscall(call::EXECVE, file as usize, arguments as usize, environment as usize, 0, 0)
    }
}

/// # Safety
/// `text` is a C string that outlives the result.
unsafe fn bytes_of<'a>(text: Text) -> &'a [u8] {
    let mut length = 0;
    // SAFETY: every byte up to the terminating NUL belongs to the string.
    unsafe {
        while *text.add(length) != 0 {
            length += 1;
        }
        core::slice::from_raw_parts(text, length)
    }
}

/// # Safety
/// `environment` ends with a null pointer and holds C strings.
unsafe fn path_of<'a>(mut environment: *mut Text) -> &'a [u8] {
    // SAFETY: as promised by the caller.
    unsafe {
        while !(*environment).is_null() {
            if let Some(path) = bytes_of(*environment).strip_prefix(b"PATH=") {
                return path;
            }
            environment = environment.add(1);
        }
    }
    DEFAULT_PATH
}

fn has_slash(name: &[u8]) -> bool {
    name.iter().any(|byte| *byte == b'/')
}

fn split_at_colon(path: &[u8]) -> (&[u8], Option<&[u8]>) {
    for (at, byte) in path.iter().enumerate() {
        if *byte == b':' {
            return (path.get(..at).unwrap_or_default(), path.get(at + 1..));
        }
    }
    (path, None)
}

/// Writes `directory/name` and a NUL; an empty directory is the current one. False where it is too long.
fn join(buffer: &mut [u8; PATH_BYTES_MAX], directory: &[u8], name: &[u8]) -> bool {
    let directory = if directory.is_empty() { b"." } else { directory };
    let parts = [directory, b"/", name, b"\0"];
    let mut places = buffer.iter_mut();
    for part in parts {
        for byte in part {
            match places.next() {
                Some(place) => *place = *byte,
                None => return false,
            }
        }
    }
    true
}

fn fail(text: &[u8], object: &[u8], code: i32) -> i32 {
    write_all(2, b"init: ");
    write_all(2, text);
    write_all(2, object);
    write_all(2, b"\n");
    code
}

fn bit(signal: usize) -> u64 {
    1 << (signal - 1)
}

fn getpid() -> isize {
    // SAFETY: no arguments.
    unsafe { syscall(call::GETPID, 0, 0, 0, 0, 0) }
}

fn prctl(option: usize, value: usize) {
    // SAFETY: plain numbers, or the address of a name that lives as long as this program.
    unsafe {
        syscall(call::PRCTL, option, value, 0, 0, 0);
    }
}

fn fork() -> isize {
    // SAFETY: no shared memory and no own stack: the child goes on in a copy, as after fork.
    unsafe { syscall(call::CLONE, SIGCHLD, 0, 0, 0, 0) }
}

fn kill(pid: usize, signal: usize) {
    // SAFETY: plain numbers. A command that is gone already is reaped in the next round.
    unsafe {
        syscall(call::KILL, pid, signal, 0, 0, 0);
    }
}

fn wait_any(status: &mut i32) -> isize {
    // SAFETY: the kernel writes one int.
    unsafe { syscall(call::WAIT4, usize::MAX, &raw mut *status as usize, WNOHANG, 0, 0) }
}

fn wait_signal(awaited: u64) -> isize {
    // SAFETY: the set is one word; no details and no deadline are asked for.
    unsafe {
        syscall(call::RT_SIGTIMEDWAIT, &raw const awaited as usize, 0, 0, SIGNAL_SET_BYTES, 0)
    }
}

fn set_mask(mask: u64, old: &mut u64) {
    // SAFETY: both sets are one word.
    unsafe {
        let new = &raw const mask as usize;
        let old = &raw mut *old as usize;
        syscall(call::RT_SIGPROCMASK, SIG_SETMASK, new, old, SIGNAL_SET_BYTES, 0);
    }
}

fn ignore(signal: usize, ignored: bool) {
    // The kernel's `struct sigaction`: handler (0 default, 1 ignore), flags, restorer, mask.
    let action = [usize::from(ignored), 0, 0, 0];
    // SAFETY: the record has the size the kernel reads and lives through the call.
    unsafe {
        syscall(call::RT_SIGACTION, signal, action.as_ptr() as usize, 0, SIGNAL_SET_BYTES, 0);
    }
}
