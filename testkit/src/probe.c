// The test program that looks at its confinement from inside a container. It is linked statically
// and copied into the image by the tests in attacks.rs and adversity.rs.
//
// probe confinement   says what is wider than Docker's default; exit code 1 if anything is
// probe state         prints what a process inherits: two callers' containers must print the same
// probe swap A B      exchanges two names as fast as it can, until it is killed
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

static int failures;

static void fail(const char *what, const char *detail)
{
    printf("WIDER %s: %s\n", what, detail);
    failures++;
}

static void status(const char *key, const char *wanted)
{
    char line[512], *value;
    FILE *file = fopen("/proc/self/status", "r");
    size_t length = strlen(key);
    while (file && fgets(line, sizeof line, file)) {
        if (strncmp(line, key, length) || line[length] != ':')
            continue;
        value = line + length + 1 + strspn(line + length + 1, " \t");
        value[strcspn(value, "\n")] = 0;
        if (strcmp(value, wanted))
            fail(key, value);
        fclose(file);
        return;
    }
    fail(key, "not told");
}

// The call must fail with one of two errors.
static void refused(const char *what, long result, int first, int second)
{
    if (result != -1)
        fail(what, "allowed");
    else if (errno != first && errno != second)
        fail(what, strerror(errno));
}

static void masked(const char *path)
{
    char byte;
    struct stat stat_;
    if (stat(path, &stat_))
        return;
    if (S_ISDIR(stat_.st_mode)) {
        DIR *directory = opendir(path);
        int count = 0;
        while (directory && readdir(directory))
            count++;
        if (directory)
            closedir(directory);
        if (count > 2)
            fail(path, "not empty");
        return;
    }
    int file = open(path, O_RDONLY);
    if (file >= 0 && read(file, &byte, 1) != 0)
        fail(path, "can be read");
    if (file >= 0)
        close(file);
}

static void read_only(const char *path)
{
    struct statvfs stat_;
    if (!statvfs(path, &stat_) && !(stat_.f_flag & ST_RDONLY))
        fail(path, "can be written");
}

static void device(const char *what, mode_t kind, int major, int minor, int wanted)
{
    unlink("/tmp/device");
    if (mknod("/tmp/device", kind | 0600, makedev(major, minor)) && errno == EPERM)
        return;
    int file = open("/tmp/device", O_RDWR | O_NONBLOCK);
    int error = file >= 0 ? 0 : errno;
    if (file >= 0)
        close(file);
    if (error != wanted)
        fail(what, strerror(error));
    unlink("/tmp/device");
}

static int descriptors(void)
{
    int count = 0;
    struct dirent *entry;
    DIR *directory = opendir("/proc/self/fd");
    while (directory && (entry = readdir(directory)))
        if (entry->d_name[0] != '.' && atoi(entry->d_name) != dirfd(directory))
            count += atoi(entry->d_name) > 2 ? 100 : 1;
    return count;
}

static void calls(void)
{
    static char zeros[256];
    refused("mount", mount("none", "/tmp", "tmpfs", 0, 0), EPERM, EPERM);
    refused("remount", mount(0, "/proc/sys", 0, MS_REMOUNT | MS_BIND, 0), EPERM, EPERM);
    refused("umount", umount2("/proc/sys", MNT_DETACH), EPERM, EPERM);
    refused("unshare user", unshare(CLONE_NEWUSER), EPERM, EPERM);
    refused("unshare mount", unshare(CLONE_NEWNS), EPERM, EPERM);
    refused("unshare net", unshare(CLONE_NEWNET), EPERM, EPERM);
    refused("clone user", syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0), EPERM, EPERM);
    refused("clone3", syscall(SYS_clone3, zeros, 0), ENOSYS, ENOSYS);
    int own = open("/proc/1/ns/mnt", O_RDONLY);
    refused("setns", syscall(SYS_setns, own, 0), EPERM, EPERM);
    close(own);
    refused("pivot_root", syscall(SYS_pivot_root, "/", "/"), EPERM, EPERM);
    refused("keyctl", syscall(SYS_keyctl, 0, -3, 0), EPERM, EPERM);
    refused("add_key", syscall(SYS_add_key, "user", "x", "y", 1, -3), EPERM, EPERM);
    refused("request_key", syscall(SYS_request_key, "user", "x", 0, -3), EPERM, EPERM);
    refused("bpf", syscall(SYS_bpf, 0, zeros, 128), EPERM, EPERM);
    refused("perf", syscall(SYS_perf_event_open, zeros, 0, -1, -1, 0), EPERM, EPERM);
    refused("kexec", syscall(SYS_kexec_load, 0, 0, 0, 0), EPERM, EPERM);
    refused("module", syscall(SYS_init_module, zeros, 0, ""), EPERM, EPERM);
    refused("reboot", syscall(SYS_reboot, 0, 0, 0, 0), EPERM, EPERM);
    refused("swapon", syscall(SYS_swapon, "/tmp", 0), EPERM, EPERM);
    refused("clock", syscall(SYS_clock_settime, 0, zeros), EPERM, EPERM);
    refused("handle", syscall(SYS_open_by_handle_at, -1, zeros, 0), EPERM, EPERM);
    refused("io_uring", syscall(SYS_io_uring_setup, 1, zeros), EPERM, ENOSYS);
    refused("userfaultfd", syscall(SYS_userfaultfd, 0), EPERM, ENOSYS);
    refused("acct", syscall(SYS_acct, 0), EPERM, ENOSYS);
    refused("sethostname", sethostname("x", 1), EPERM, EPERM);
    refused("new mount", syscall(SYS_fsopen, "tmpfs", 0), EPERM, EPERM);
    refused("open_tree", syscall(SYS_open_tree, -100, "/", 1), EPERM, EPERM);
    refused("nice", setpriority(PRIO_PROCESS, 0, -5), EACCES, EPERM);
    refused("syslog", syscall(SYS_syslog, 3, zeros, 16), EPERM, EPERM);
}

static int confinement(void)
{
    const char *empty = "0000000000000000", *caps = "00000000a80425fb";
    const char *hidden[] = { "/proc/kcore", "/proc/keys", "/proc/timer_list", "/proc/sched_debug",
        "/proc/latency_stats", "/proc/timer_stats", "/proc/acpi", "/proc/scsi", "/proc/asound",
        "/proc/interrupts", "/sys/firmware", "/sys/devices/virtual/powercap" };
    const char *fixed[] = { "/proc/sys", "/proc/bus", "/proc/fs", "/proc/irq", "/proc/sysrq-trigger",
        "/sys", "/sys/fs/cgroup", "/sys/fs/cgroup/pids", "/sys/fs/cgroup/unified" };
    status("CapInh", empty), status("CapPrm", caps), status("CapEff", caps);
    status("CapBnd", caps), status("CapAmb", empty);
    status("Seccomp", "2"), status("SigBlk", empty), status("SigIgn", empty);
    for (size_t i = 0; i < sizeof hidden / sizeof *hidden; i++)
        masked(hidden[i]);
    for (size_t i = 0; i < sizeof fixed / sizeof *fixed; i++)
        read_only(fixed[i]);
    refused("write /proc/sys", open("/proc/sys/kernel/panic", O_WRONLY), EROFS, EROFS);
    refused("write sysrq", open("/proc/sysrq-trigger", O_WRONLY), EROFS, ENOENT);
    device("loop device", S_IFBLK, 7, 0, EPERM);
    device("disk", S_IFBLK, 254, 0, EPERM);
    device("memory", S_IFCHR, 1, 1, EPERM);
    device("kernel log", S_IFCHR, 1, 11, EPERM);
    device("fuse", S_IFCHR, 10, 229, EPERM);
    device("null", S_IFCHR, 1, 3, 0);
    if (descriptors() != 3)
        fail("descriptors", "others than 0 to 2");
    if (umask(022) != 022)
        fail("umask", "not 022");
    if (getppid() == 0 && getsid(0) != getpid())
        fail("session", "the caller's");
    calls();
    return failures ? 1 : 0;
}

extern char **environ;

static int state(void)
{
    int open_descriptors = descriptors(), death = 0;
    prctl(PR_GET_PDEATHSIG, &death);
    struct rlimit limit;
    struct sched_param parameters;
    cpu_set_t cpus;
    char line[4096];
    FILE *file;
    const char *keys[] = { "SigBlk", "SigIgn", "CapEff", "CapInh", "Umask", "NoNewPrivs", "Groups",
        "THP_enabled", "Cpus_allowed:" };
    for (int kind = 0; kind < RLIM_NLIMITS; kind++)
        if (!getrlimit(kind, &limit))
            printf("limit %d %lld %lld\n", kind, (long long)limit.rlim_cur, (long long)limit.rlim_max);
    file = fopen("/proc/self/status", "r");
    while (file && fgets(line, sizeof line, file))
        for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
            if (!strncmp(line, keys[i], strlen(keys[i])))
                fputs(line, stdout);
    file = fopen("/proc/self/oom_score_adj", "r");
    if (file && fgets(line, sizeof line, file))
        printf("oom %s", line);
    sched_getparam(0, &parameters);
    sched_getaffinity(0, sizeof cpus, &cpus);
    printf("nice %d scheduler %d %d cpus %d\n", getpriority(PRIO_PROCESS, 0), sched_getscheduler(0),
        parameters.sched_priority, CPU_COUNT(&cpus));
    printf("io %ld slack %d dumpable %d death %d\n", syscall(SYS_ioprio_get, 1, 0),
        prctl(PR_GET_TIMERSLACK), prctl(PR_GET_DUMPABLE), death);
    printf("descriptors %d session %d cwd %s\n", open_descriptors, getsid(0) == getpid(),
        getcwd(line, sizeof line) ? line : "none");
    for (char **name = environ; *name; name++)
        if (strncmp(*name, "HOSTNAME=", 9))
            puts(*name);
    return 0;
}

int main(int count, char **words)
{
    if (count == 2 && !strcmp(words[1], "confinement"))
        return confinement();
    if (count == 2 && !strcmp(words[1], "state"))
        return state();
    while (count == 4 && !strcmp(words[1], "swap"))
        syscall(SYS_renameat2, AT_FDCWD, words[2], AT_FDCWD, words[3], 2);
    return 2;
}
