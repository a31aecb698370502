// Steps a program of ours, and what it starts, one instruction at a time, and writes each address between
// two bounds that was executed, in the order of the first time, one line each in hexadecimal.
//
//     step OUT LOWEST END PROGRAM [ARGUMENT...]
//
// Processes that have become another program run on unwatched. Ends when PROGRAM has ended and nothing has
// moved for two seconds: what is left then (a monitor) goes on alone.
#define _GNU_SOURCE
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PROCESSES = 1 << 22, UNKNOWN = 0, OURS, FOREIGN };
static char kind[PROCESSES];
static off_t size;

static void look(pid_t pid) {
    char path[64];
    struct stat found;
    snprintf(path, sizeof path, "/proc/%d/exe", pid);
    kind[pid] = stat(path, &found) == 0 && found.st_size == size ? OURS : FOREIGN;
}

int main(int argc, char **argv) {
    if (argc < 5) return 2;
    unsigned long lowest = strtoul(argv[2], 0, 16), end = strtoul(argv[3], 0, 16);
    unsigned char *seen = calloc(end - lowest, 1);
    FILE *out = fopen(argv[1], "w");
    struct stat program;
    if (!seen || !out || stat(argv[4], &program) != 0) return 3;
    size = program.st_size;
    pid_t first = fork();
    if (first == 0) {
        ptrace(PTRACE_TRACEME, 0, 0, 0);
        raise(SIGSTOP);
        execv(argv[4], argv + 4);
        _exit(127);
    }
    int status, code = 4, quiet = 0, ended = 0;
    waitpid(first, &status, 0);
    ptrace(PTRACE_SETOPTIONS, first, 0,
           PTRACE_O_TRACEFORK | PTRACE_O_TRACECLONE | PTRACE_O_TRACEVFORK | PTRACE_O_TRACEEXEC);
    ptrace(PTRACE_SINGLESTEP, first, 0, 0);
    while (quiet < 200) {
        pid_t pid = waitpid(-1, &status, __WALL | (ended ? WNOHANG : 0));
        if (pid < 0) break;
        if (pid == 0) {
            quiet++;
            usleep(10000);
            continue;
        }
        quiet = 0;
        if (WIFEXITED(status) || WIFSIGNALED(status)) {
            kind[pid] = UNKNOWN;
            if (pid == first) ended = 1, code = WIFEXITED(status) ? WEXITSTATUS(status) : 5;
            continue;
        }
        int signal = WSTOPSIG(status);
        if (status >> 16 == PTRACE_EVENT_EXEC || kind[pid] == UNKNOWN) look(pid);
        if (signal == SIGTRAP && kind[pid] == OURS) {
            struct user_regs_struct registers;
            ptrace(PTRACE_GETREGS, pid, 0, &registers);
            unsigned long at = registers.rip;
            if (at >= lowest && at < end && !seen[at - lowest]) {
                seen[at - lowest] = 1;
                fprintf(out, "%lx\n", at);
            }
        }
        long give = signal == SIGTRAP || signal == SIGSTOP ? 0 : signal;
        ptrace(kind[pid] == OURS ? PTRACE_SINGLESTEP : PTRACE_CONT, pid, 0, give);
    }
    return fclose(out) == 0 ? code : 6;
}
