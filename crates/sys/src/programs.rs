//! Our own small programs for inside containers, built from `programs/` by the build script.
//!
//! Static ELF files without a C library, a few KiB each; the same compiler gives the same bytes.
//! `runtime` puts [`INIT`] into containers of `--init`, `storage` makes the built-in image of [`HELLO`].

/// Process 1 of `--init`: `init [--] COMMAND [ARGUMENT …]`.
pub const INIT: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/init"));

/// The command of the built-in image `hello-world`.
pub const HELLO: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/hello"));

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::{BufRead, BufReader, Write};
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::process::{CommandExt, ExitStatusExt};
    use std::path::PathBuf;
    use std::process::{Child, Command, Stdio};
    use std::time::{Duration, Instant};

    use super::*;

    /// An executable file, removed with this value.
    struct Program(PathBuf);

    impl Program {
        fn write(bytes: &[u8], name: &str) -> Self {
            let directory =
                std::env::temp_dir().join(format!("caisson-{name}-{}", std::process::id()));
            fs::create_dir_all(&directory).unwrap();
            let path = directory.join(name);
            // Written by another process: a fork of a parallel test would hold it open for
            // writing, and exec would answer ETXTBSY.
            let mut copy = Command::new("sh")
                .args(["-c", "cat > \"$0\""])
                .arg(&path)
                .stdin(Stdio::piped())
                .spawn()
                .unwrap();
            copy.stdin.take().unwrap().write_all(bytes).unwrap();
            assert!(copy.wait().unwrap().success());
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
            Self(path)
        }

        fn command(&self) -> Command {
            let mut command = Command::new(&self.0);
            command.arg0("caisson-init");
            command
        }
    }

    /// A running program, killed with this value: a failed test leaves nothing behind.
    struct Running(Child);

    impl Drop for Running {
        fn drop(&mut self) {
            if let Ok(None) = self.0.try_wait() {
                for pid in children_of(self.0.id()) {
                    let pid = rustix::process::Pid::from_raw(pid.parse().unwrap());
                    let _ =
                        rustix::process::kill_process(pid.unwrap(), rustix::process::Signal::KILL);
                }
                let _ = self.0.kill();
                let _ = self.0.wait();
            }
        }
    }

    impl Drop for Program {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(self.0.parent().unwrap());
        }
    }

    #[test]
    fn programs_are_small_static_elf_files() {
        for (name, bytes) in [("init", INIT), ("hello", HELLO)] {
            assert!(bytes.starts_with(b"\x7fELF\x02\x01"), "{name}");
            assert!(bytes.len() < 16 * 1024, "{name}: {} bytes", bytes.len());
            // ET_EXEC, and no PT_INTERP among the program headers.
            assert_eq!(bytes[16], 2, "{name}: type");
            let headers = usize::from(u16::from_le_bytes([bytes[56], bytes[57]]));
            let first = u64::from_le_bytes(bytes[32..40].try_into().unwrap()) as usize;
            for index in 0..headers {
                assert_ne!(bytes[first + index * 56], 3, "{name}: needs a loader");
            }
        }
    }

    #[test]
    fn hello_greets_explains_and_suggests() {
        let hello = Program::write(HELLO, "hello");
        let output = hello.command().output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success());
        for words in [
            "Hello from Caisson!",
            " 1. ",
            " 2. ",
            " 3. ",
            "caisson run -it debian bash",
        ] {
            assert!(text.contains(words), "{words}: {text}");
        }
        assert!(text.lines().all(|line| line.chars().count() <= 100));
    }

    #[test]
    fn init_ends_as_its_command_ends() {
        let init = Program::write(INIT, "init-codes");
        for (arguments, code) in [
            (&["sh", "-c", "exit 0"][..], 0),
            (&["--", "sh", "-c", "exit 42"], 42),
            (&["sh", "-c", "kill -9 $$"], 137),
            (&["sh", "-c", "kill -TERM $$"], 143),
            (&["no-such-command"], 127),
            (&["/no/such/command"], 127),
            (&["/etc/passwd/x"], 127),
            (&["/etc"], 126),
            (&["/etc/passwd"], 126),
            (&[""], 127),
            (&[], 125),
            (&["--"], 125),
        ] {
            let output = init.command().args(arguments).output().unwrap();
            assert_eq!(
                output.status.code(),
                Some(code),
                "{arguments:?}: {output:?}"
            );
        }
    }

    #[test]
    fn init_searches_the_path_and_runs_scripts_without_interpreter_line() {
        let init = Program::write(INIT, "init-path");
        let directory = init.0.parent().unwrap();
        let script = directory.join("plain-script");
        fs::write(&script, "echo \"ran $1\"\n").unwrap();
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
        let path = format!("/no/such::/etc/passwd:{}:/bin", directory.display());
        let run = |command: &str| {
            init.command()
                .args(["--", command, "well"])
                .env("PATH", &path)
                .output()
                .unwrap()
        };
        assert_eq!(run("plain-script").stdout, b"ran well\n");
        assert_eq!(run("echo").stdout, b"well\n");
        let none = init
            .command()
            .args(["echo", "found"])
            .env_remove("PATH")
            .output()
            .unwrap();
        assert_eq!(none.stdout, b"found\n");
        let long = format!("{}:/bin", "x".repeat(5000));
        let output = init
            .command()
            .args(["echo", "found"])
            .env("PATH", long)
            .output()
            .unwrap();
        assert_eq!(output.stdout, b"found\n");
    }

    #[test]
    fn init_passes_signals_to_its_command_which_leads_its_own_group() {
        let init = Program::write(INIT, "init-signals");
        let script = "trap 'exit 7' TERM; trap 'echo usr1' USR1; echo ready; \
                      while :; do sleep 0.05; done";
        let mut child = Running(
            init.command()
                .args(["sh", "-c", script])
                .stdout(Stdio::piped())
                .process_group(0)
                .spawn()
                .unwrap(),
        );
        let mut lines = BufReader::new(child.0.stdout.take().unwrap()).lines();
        assert_eq!(lines.next().unwrap().unwrap(), "ready");
        let pid = rustix::process::Pid::from_raw(child.0.id() as i32).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::USR1).unwrap();
        assert_eq!(lines.next().unwrap().unwrap(), "usr1");
        // The command leads its own process group.
        let command: i32 = children_of(child.0.id())[0].parse().unwrap();
        let group = rustix::process::getpgid(rustix::process::Pid::from_raw(command)).unwrap();
        assert_eq!(group.as_raw_nonzero().get(), command);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        assert_eq!(child.0.wait().unwrap().code(), Some(7));
    }

    #[test]
    fn init_leaves_no_signal_blocked_or_ignored_in_its_command() {
        let init = Program::write(INIT, "init-mask");
        let output = init
            .command()
            .args(["cat", "/proc/self/status"])
            .output()
            .unwrap();
        let status = String::from_utf8(output.stdout).unwrap();
        let set = |name: &str| {
            let line = status
                .lines()
                .find_map(|line| line.strip_prefix(name))
                .unwrap();
            u64::from_str_radix(line.trim(), 16).unwrap()
        };
        const TTIN_AND_TTOU: u64 = 0x30_0000;
        assert_eq!((set("SigBlk:"), set("SigIgn:") & TTIN_AND_TTOU), (0, 0));
    }

    #[test]
    fn init_adopts_and_reaps_orphans_while_its_command_runs() {
        let init = Program::write(INIT, "init-orphans");
        // Ten orphans that tell their new parent's pid and end, while the command still waits.
        let script = "for i in 1 2 3 4 5 6 7 8 9 10; do \
                      (sh -c 'sleep 0.1; read a b c d e </proc/self/stat; echo $d' &); done; \
                      read line; exit 0";
        let mut command = init.command();
        command
            .args(["sh", "-c", script])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut child = Running(command.spawn().unwrap());
        let mut lines = BufReader::new(child.0.stdout.take().unwrap()).lines();
        for _ in 0..10 {
            assert_eq!(lines.next().unwrap().unwrap(), child.0.id().to_string());
        }
        let deadline = Instant::now() + Duration::from_secs(10);
        while children_of(child.0.id()).len() != 1 {
            assert!(
                Instant::now() < deadline,
                "left: {:?}",
                children_of(child.0.id())
            );
            std::thread::sleep(Duration::from_millis(1));
        }
        child.0.stdin.take().unwrap().write_all(b"go\n").unwrap();
        assert_eq!(child.0.wait().unwrap().into_raw(), 0);
    }

    #[test]
    fn init_gives_the_terminal_to_its_command() {
        use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
        let init = Program::write(INIT, "init-terminal");
        let master =
            openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let name = ptsname(&master, Vec::new()).unwrap();
        let slave = || {
            let flags = rustix::fs::OFlags::RDWR | rustix::fs::OFlags::NOCTTY;
            rustix::fs::open(&name, flags, rustix::fs::Mode::empty()).unwrap()
        };
        let mut command = init.command();
        // A command in the background would get SIGTTIN on reading from the terminal.
        command.args(["sh", "-c", "read word; test \"$word\" = word && exit 9"]);
        command.stdin(slave()).stdout(slave()).stderr(slave());
        // SAFETY: setsid and one ioctl are async-signal-safe.
        unsafe {
            command.pre_exec(|| {
                rustix::process::setsid()?;
                rustix::process::ioctl_tiocsctty(rustix::stdio::stdin())?;
                Ok(())
            });
        }
        let mut child = Running(command.spawn().unwrap());
        rustix::io::write(&master, b"word\n").unwrap();
        assert_eq!(child.0.wait().unwrap().code(), Some(9));
    }

    fn children_of(parent: u32) -> Vec<String> {
        let children = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children"));
        children
            .unwrap_or_default()
            .split_whitespace()
            .map(str::to_string)
            .collect()
    }
}
