//! Docker's default profile, as a constant: nothing is read or parsed when a container starts.
//!
//! The content is that of the profile which Docker ships (moby/profiles, seccomp/default.json of June
//! 2026) without the rules for machines that we do not run on; the tests hold the two together.

use super::arch::{Machine, resolve};
use super::compile::{Source, compile};
use super::{Action, Comparison, Condition, Program, Rule, Target};
use crate::capabilities::{CapSet, only};

const EPERM: u16 = 1;

/// A rule with what must hold for it to count.
struct DefaultRule {
    calls: &'static [u16],
    action: Action,
    conditions: &'static [Condition],
    /// The container has it.
    with: CapSet,
    /// The container lacks it.
    without: CapSet,
    kernel_min: (u32, u32),
    machine: Option<Machine>,
}

const ALLOW: DefaultRule = DefaultRule {
    calls: &[],
    action: Action::Allow,
    conditions: &[],
    with: CapSet::EMPTY,
    without: CapSet::EMPTY,
    kernel_min: (0, 0),
    machine: None,
};

/// The program for `target`.
pub(super) fn program(target: &Target) -> Program {
    let source = Source {
        machine: target.machine,
        default: Action::Errno(EPERM),
        architectures: target.machine.default_architectures(),
        rules: &rules(target),
    };
    let instructions =
        compile(&source).expect("invariant: the default profile fits; tested for every capability");
    Program {
        instructions,
        flags: 0,
    }
}

/// The rules that count for `target`.
pub(super) fn rules(target: &Target) -> Vec<Rule<'static>> {
    let applies = |rule: &&DefaultRule| {
        target.capabilities.contains(rule.with)
            && (rule.without == CapSet::EMPTY || !target.capabilities.contains(rule.without))
            && target.kernel >= rule.kernel_min
            && rule.machine.is_none_or(|machine| machine == target.machine)
    };
    let rules = RULES.iter().filter(applies);
    rules
        .map(|rule| Rule {
            calls: rule.calls,
            action: rule.action,
            conditions: rule.conditions,
        })
        .collect()
}

#[rustfmt::skip]
static RULES: [DefaultRule; 29] = [
    DefaultRule {
        calls: &resolve([
            "accept", "accept4", "access", "adjtimex", "alarm", "bind", "brk", "cachestat",
            "capget", "capset", "chdir", "chmod", "chown", "chown32", "clock_adjtime",
            "clock_adjtime64", "clock_getres", "clock_getres_time64", "clock_gettime",
            "clock_gettime64", "clock_nanosleep", "clock_nanosleep_time64", "close", "close_range",
            "connect", "copy_file_range", "creat", "dup", "dup2", "dup3", "epoll_create",
            "epoll_create1", "epoll_ctl", "epoll_ctl_old", "epoll_pwait", "epoll_pwait2",
            "epoll_wait", "epoll_wait_old", "eventfd", "eventfd2", "execve", "execveat", "exit",
            "exit_group", "faccessat", "faccessat2", "fadvise64", "fadvise64_64", "fallocate",
            "fanotify_mark", "fchdir", "fchmod", "fchmodat", "fchmodat2", "fchown", "fchown32",
            "fchownat", "fcntl", "fcntl64", "fdatasync", "fgetxattr", "flistxattr", "flock", "fork",
            "fremovexattr", "fsetxattr", "fstat", "fstat64", "fstatat64", "fstatfs", "fstatfs64",
            "fsync", "ftruncate", "ftruncate64", "futex", "futex_requeue", "futex_time64",
            "futex_wait", "futex_waitv", "futex_wake", "futimesat", "getcpu", "getcwd", "getdents",
            "getdents64", "getegid", "getegid32", "geteuid", "geteuid32", "getgid", "getgid32",
            "getgroups", "getgroups32", "getitimer", "getpeername", "getpgid", "getpgrp", "getpid",
            "getppid", "getpriority", "getrandom", "getresgid", "getresgid32", "getresuid",
            "getresuid32", "getrlimit", "get_robust_list", "getrusage", "getsid", "getsockname",
            "getsockopt", "get_thread_area", "gettid", "gettimeofday", "getuid", "getuid32",
            "getxattr", "getxattrat", "inotify_add_watch", "inotify_init", "inotify_init1",
            "inotify_rm_watch", "io_cancel", "ioctl", "io_destroy", "io_getevents", "io_pgetevents",
            "io_pgetevents_time64", "ioprio_get", "ioprio_set", "io_setup", "io_submit", "ipc",
            "kill", "landlock_add_rule", "landlock_create_ruleset", "landlock_restrict_self",
            "lchown", "lchown32", "lgetxattr", "link", "linkat", "listen", "listmount", "listxattr",
            "listxattrat", "llistxattr", "_llseek", "lremovexattr", "lseek", "lsetxattr", "lstat",
            "lstat64", "madvise", "map_shadow_stack", "membarrier", "memfd_create", "memfd_secret",
            "mincore", "mkdir", "mkdirat", "mknod", "mknodat", "mlock", "mlock2", "mlockall",
            "mmap", "mmap2", "mprotect", "mq_getsetattr", "mq_notify", "mq_open", "mq_timedreceive",
            "mq_timedreceive_time64", "mq_timedsend", "mq_timedsend_time64", "mq_unlink", "mremap",
            "mseal", "msgctl", "msgget", "msgrcv", "msgsnd", "msync", "munlock", "munlockall",
            "munmap", "name_to_handle_at", "nanosleep", "newfstatat", "_newselect", "open",
            "openat", "openat2", "pause", "pidfd_open", "pidfd_send_signal", "pipe", "pipe2",
            "pkey_alloc", "pkey_free", "pkey_mprotect", "poll", "ppoll", "ppoll_time64", "prctl",
            "pread64", "preadv", "preadv2", "prlimit64", "process_mrelease", "pselect6",
            "pselect6_time64", "pwrite64", "pwritev", "pwritev2", "read", "readahead", "readlink",
            "readlinkat", "readv", "recv", "recvfrom", "recvmmsg", "recvmmsg_time64", "recvmsg",
            "remap_file_pages", "removexattr", "removexattrat", "rename", "renameat", "renameat2",
            "restart_syscall", "riscv_hwprobe", "rmdir", "rseq", "rt_sigaction", "rt_sigpending",
            "rt_sigprocmask", "rt_sigqueueinfo", "rt_sigreturn", "rt_sigsuspend", "rt_sigtimedwait",
            "rt_sigtimedwait_time64", "rt_tgsigqueueinfo", "sched_getaffinity", "sched_getattr",
            "sched_getparam", "sched_get_priority_max", "sched_get_priority_min",
            "sched_getscheduler", "sched_rr_get_interval", "sched_rr_get_interval_time64",
            "sched_setaffinity", "sched_setattr", "sched_setparam", "sched_setscheduler",
            "sched_yield", "seccomp", "select", "semctl", "semget", "semop", "semtimedop",
            "semtimedop_time64", "send", "sendfile", "sendfile64", "sendmmsg", "sendmsg", "sendto",
            "setfsgid", "setfsgid32", "setfsuid", "setfsuid32", "setgid", "setgid32", "setgroups",
            "setgroups32", "setitimer", "setpgid", "setpriority", "setregid", "setregid32",
            "setresgid", "setresgid32", "setresuid", "setresuid32", "setreuid", "setreuid32",
            "setrlimit", "set_robust_list", "setsid", "setsockopt", "set_thread_area",
            "set_tid_address", "setuid", "setuid32", "setxattr", "setxattrat", "shmat", "shmctl",
            "shmdt", "shmget", "shutdown", "sigaltstack", "signalfd", "signalfd4", "sigprocmask",
            "sigreturn", "socketcall", "socketpair", "splice", "stat", "stat64", "statfs",
            "statfs64", "statmount", "statx", "symlink", "symlinkat", "sync", "sync_file_range",
            "syncfs", "sysinfo", "tee", "tgkill", "time", "timer_create", "timer_delete",
            "timer_getoverrun", "timer_gettime", "timer_gettime64", "timer_settime",
            "timer_settime64", "timerfd_create", "timerfd_gettime", "timerfd_gettime64",
            "timerfd_settime", "timerfd_settime64", "times", "tkill", "truncate", "truncate64",
            "ugetrlimit", "umask", "uname", "unlink", "unlinkat", "uretprobe", "utime", "utimensat",
            "utimensat_time64", "utimes", "vfork", "vmsplice", "wait4", "waitid", "waitpid",
            "write", "writev",
        ]),
        ..ALLOW
    },
    DefaultRule {
        calls: &resolve([
            "process_vm_readv", "process_vm_writev", "ptrace",
        ]),
        kernel_min: (4, 8),
        ..ALLOW
    },
    DefaultRule {
        calls: &resolve([
            "socket",
        ]),
        conditions: &[Condition::new(0, Comparison::Less, 38, 0)],
        ..ALLOW
    },
    DefaultRule {
        calls: &resolve([
            "socket",
        ]),
        conditions: &[Condition::new(0, Comparison::Equal, 39, 0)],
        ..ALLOW
    },
    DefaultRule {
        calls: &resolve([
            "socket",
        ]),
        conditions: &[Condition::new(0, Comparison::Greater, 40, 0)],
        ..ALLOW
    },
    DefaultRule {
        calls: &resolve([
            "personality",
        ]),
        conditions: &[Condition::new(0, Comparison::Equal, 0, 0)],
        ..ALLOW
    },
    DefaultRule {
        calls: &resolve([
            "personality",
        ]),
        conditions: &[Condition::new(0, Comparison::Equal, 8, 0)],
        ..ALLOW
    },
    DefaultRule {
        calls: &resolve([
            "personality",
        ]),
        conditions: &[Condition::new(0, Comparison::Equal, 0x20000, 0)],
        ..ALLOW
    },
    DefaultRule {
        calls: &resolve([
            "personality",
        ]),
        conditions: &[Condition::new(0, Comparison::Equal, 0x20008, 0)],
        ..ALLOW
    },
    DefaultRule {
        calls: &resolve([
            "personality",
        ]),
        conditions: &[Condition::new(0, Comparison::Equal, 0xffffffff, 0)],
        ..ALLOW
    },
    DefaultRule {
        calls: &resolve([
            "arm_fadvise64_64", "arm_sync_file_range", "sync_file_range2", "breakpoint",
            "cacheflush", "set_tls",
        ]),
        machine: Some(Machine::Aarch64),
        ..ALLOW
    },
    DefaultRule {
        calls: &resolve([
            "arch_prctl",
        ]),
        machine: Some(Machine::X86_64),
        ..ALLOW
    },
    DefaultRule {
        calls: &resolve([
            "modify_ldt",
        ]),
        machine: Some(Machine::X86_64),
        ..ALLOW
    },
    DefaultRule {
        calls: &resolve([
            "open_by_handle_at",
        ]),
        with: only("DAC_READ_SEARCH"),
        ..ALLOW
    },
    DefaultRule {
        calls: &resolve([
            "bpf", "clone", "clone3", "fanotify_init", "fsconfig", "fsmount", "fsopen", "fspick",
            "lookup_dcookie", "lsm_get_self_attr", "lsm_list_modules", "lsm_set_self_attr", "mount",
            "mount_setattr", "move_mount", "open_tree", "perf_event_open", "quotactl",
            "quotactl_fd", "setdomainname", "sethostname", "setns", "syslog", "umount", "umount2",
            "unshare",
        ]),
        with: only("SYS_ADMIN"),
        ..ALLOW
    },
    DefaultRule {
        calls: &resolve([
            "clone",
        ]),
        conditions: &[Condition::new(0, Comparison::MaskedEqual, 0x7e020000, 0)],
        without: only("SYS_ADMIN"),
        ..ALLOW
    },
    DefaultRule {
        calls: &resolve([
            "clone3",
        ]),
        action: Action::Errno(38),
        without: only("SYS_ADMIN"),
        ..ALLOW
    },
    DefaultRule {
        calls: &resolve([
            "reboot",
        ]),
        with: only("SYS_BOOT"),
        ..ALLOW
    },
    DefaultRule {
        calls: &resolve([
            "chroot",
        ]),
        with: only("SYS_CHROOT"),
        ..ALLOW
    },
    DefaultRule {
        calls: &resolve([
            "delete_module", "init_module", "finit_module",
        ]),
        with: only("SYS_MODULE"),
        ..ALLOW
    },
    DefaultRule {
        calls: &resolve([
            "acct",
        ]),
        with: only("SYS_PACCT"),
        ..ALLOW
    },
    DefaultRule {
        calls: &resolve([
            "kcmp", "pidfd_getfd", "process_madvise", "process_vm_readv", "process_vm_writev",
            "ptrace",
        ]),
        with: only("SYS_PTRACE"),
        ..ALLOW
    },
    DefaultRule {
        calls: &resolve([
            "iopl", "ioperm",
        ]),
        with: only("SYS_RAWIO"),
        ..ALLOW
    },
    DefaultRule {
        calls: &resolve([
            "settimeofday", "stime", "clock_settime", "clock_settime64",
        ]),
        with: only("SYS_TIME"),
        ..ALLOW
    },
    DefaultRule {
        calls: &resolve([
            "vhangup",
        ]),
        with: only("SYS_TTY_CONFIG"),
        ..ALLOW
    },
    DefaultRule {
        calls: &resolve([
            "get_mempolicy", "mbind", "set_mempolicy", "set_mempolicy_home_node",
        ]),
        with: only("SYS_NICE"),
        ..ALLOW
    },
    DefaultRule {
        calls: &resolve([
            "syslog",
        ]),
        with: only("SYSLOG"),
        ..ALLOW
    },
    DefaultRule {
        calls: &resolve([
            "bpf",
        ]),
        with: only("BPF"),
        ..ALLOW
    },
    DefaultRule {
        calls: &resolve([
            "perf_event_open",
        ]),
        with: only("PERFMON"),
        ..ALLOW
    },
];
