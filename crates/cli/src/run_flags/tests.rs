//! Whole command lines through the parser and these rooms: Docker's texts and codes, and the
//! requests that come out. The client's texts were recorded from docker 28.2.2. The daemon's were
//! written down without one at hand: compare them when a Docker daemon can be asked.

use std::ffi::OsString;
use std::io::Write as _;
use std::path::PathBuf;

use super::*;
use crate::flags::{Invocation, Outcome, parse};

fn variable(name: &str) -> Option<String> {
    (name == "INHERITED").then(|| "yes".to_owned())
}

fn caller(_: Program) -> Caller<'static> {
    Caller {
        working_directory: Ok("/home/u"),
        variable: &variable,
        stdin_is_terminal: false,
        console_size: [24, 80],
        cpus: 2,
    }
}

fn invocation(words: &[&str]) -> Box<Invocation> {
    let argv: Vec<OsString> = ["docker"].iter().chain(words).map(OsString::from).collect();
    match parse(&argv) {
        Outcome::Run(invocation) => invocation,
        other => panic!("{words:?} gave {other:?}"),
    }
}

fn request(words: &[&str]) -> Result<RunRequest, FlagError> {
    container_request(&invocation(words).matches, &caller(Program::Docker))
}

fn run(words: &[&str]) -> RunRequest {
    let line: Vec<&str> = ["run"]
        .iter()
        .chain(words)
        .chain(&["image"])
        .copied()
        .collect();
    request(&line).unwrap_or_else(|error| panic!("{words:?} gave {error:?}"))
}

fn refusal(words: &[&str]) -> FlagError {
    let line: Vec<&str> = ["run"]
        .iter()
        .chain(words)
        .chain(&["nginx"])
        .copied()
        .collect();
    request(&line)
        .map(|request| panic!("{words:?} gave {request:?}"))
        .unwrap_err()
}

/// A file of the test's own, removed with the guard.
struct TestFile(PathBuf);

impl TestFile {
    fn new(name: &str, content: &[u8]) -> Self {
        let path = std::env::temp_dir().join(format!("caisson-{}-{name}", std::process::id()));
        std::fs::File::create(&path)
            .unwrap()
            .write_all(content)
            .unwrap();
        Self(path)
    }

    fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for TestFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

#[test]
fn dockers_client_refuses_in_its_own_name() {
    for (words, text) in [
        (&["-p", "99999:80"][..], "invalid hostPort: 99999"),
        (&["-p", "a"], "invalid containerPort: a"),
        (&["-p", "80:80/xyz"], "invalid proto: xyz"),
        (
            &["--expose", "80-70"],
            "invalid range format for --expose: 80-70, error: invalid range specified for port: \
             80-70",
        ),
        (
            &["--expose", "x:y"],
            "invalid port format for --expose: x:y",
        ),
        (
            &["-v", "bad:bad:bad:bad"],
            "invalid spec: bad:bad:bad:bad: too many colons",
        ),
        (&["-v", ""], "invalid empty volume spec"),
        (
            &["--rm", "--restart", "always"],
            "conflicting options: cannot specify both --restart and --rm",
        ),
        (
            &["--env-file", "/nope"],
            "open /nope: no such file or directory",
        ),
        (
            &["--label-file", "/nope"],
            "open /nope: no such file or directory",
        ),
        (
            &["--env-file", "/"],
            "invalid env file (/): read /: is a directory",
        ),
        (
            &["--pull", "bogus"],
            "invalid pull option: 'bogus': must be one of \"always\", \"missing\" or \"never\"",
        ),
        (
            &["--platform", "bogus/"],
            "error parsing specified platform: \"\" is an invalid component of \"bogus/\": \
             platform specifier component must match \"^[A-Za-z0-9_.-]+$\": invalid argument",
        ),
        (
            &["--platform", "x/y/z/w"],
            "error parsing specified platform: \"x/y/z/w\": cannot parse platform specifier: \
             invalid argument",
        ),
        (
            &["--security-opt", "seccomp=/nope"],
            "opening seccomp profile (/nope) failed: open /nope: no such file or directory",
        ),
        (&["--security-opt", "x"], "Invalid --security-opt: \"x\""),
        (&["--security-opt", ""], "Invalid --security-opt: \"\""),
        (
            &["--device", "/dev/x:/y:z:w"],
            "bad format for path: /dev/x:/y:z:w",
        ),
        (&["--device", ""], "bad format for path: "),
        (&["--mac-address", "zz"], "zz is not a valid mac address"),
        (
            &["--network", "none", "--mac-address", "2:0:0:0:0:1"],
            "2:0:0:0:0:1 is not a valid mac address",
        ),
        (
            &["--network", "none", "--network-alias", "a"],
            "network-scoped aliases are only supported for user-defined networks",
        ),
        (&["--device", "/dev/x:/y:z"], "bad mode specified: z"),
        (&["--device", "/dev/x:rel"], "rel is not an absolute path"),
        (
            &["--device", "/dev/x:/a/..:r"],
            "invalid device mapping \"/dev/x:/a/..:r\": the path in the container can't be '/'",
        ),
        (
            &["--memory-swappiness", "101"],
            "invalid value: 101. Valid memory swappiness range is 0-100",
        ),
        (
            &["--no-healthcheck", "--health-cmd", "x"],
            "--no-healthcheck conflicts with --health-* options",
        ),
        (
            &["--health-interval", "-1s", "--health-cmd", "x"],
            "--health-interval cannot be negative",
        ),
        (
            &["--health-retries", "-1"],
            "--health-retries cannot be negative",
        ),
        (&["--pid", "x"], "--pid: invalid PID mode"),
        (&["--pid", "container:"], "--pid: invalid PID mode"),
        (&["--uts", "x"], "--uts: invalid UTS mode"),
        (&["--userns", "x"], "--userns: invalid USER mode"),
        (&["--cgroupns", "x"], "--cgroupns: invalid CGROUP mode"),
        (
            &["--restart", "on-failure:x"],
            "invalid restart policy format: maximum retry count must be an integer",
        ),
        (
            &["--log-driver", "none", "--log-opt", "a=b"],
            "invalid logging opts for driver none",
        ),
        (
            &["--network", "none", "--network", "none"],
            "network \"none\" is specified multiple times",
        ),
        (&["--network", ""], "no name set for network"),
        (
            &["--network", "host", "--network", "mine"],
            "conflicting options: cannot attach both user-defined and non-user-defined \
             network-modes",
        ),
    ] {
        assert_eq!(
            refusal(words),
            FlagError::Usage(text.to_owned()),
            "{words:?}"
        );
    }
    let bad_image = request(&["run", "BAD"]).unwrap_err();
    let text = "invalid reference format: repository name (library/BAD) must be lowercase";
    assert_eq!(bad_image, FlagError::Usage(text.to_owned()));
    assert_eq!(
        request(&["create", ""]).unwrap_err(),
        FlagError::Usage("invalid reference format".to_owned())
    );
    let failure = bad_image.failure(Program::Docker, "run");
    let whole = format!("docker: {text}\n\nRun 'docker run --help' for more information");
    assert_eq!((failure.text, failure.exit_code), (whole, 125));
}

#[test]
fn dockers_daemon_refuses_the_rest() {
    for (words, text) in [
        (
            &["-w", "rel"][..],
            "the working directory 'rel' is invalid, it needs to be an absolute path",
        ),
        (
            &["--name", "bad name"],
            "Invalid container name (bad name), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed",
        ),
        (&["--tmpfs", "/a:bad"], "invalid tmpfs option \"bad\""),
        (&["--stop-signal", "FOO"], "invalid signal: FOO"),
        (
            &["--detach-keys", "x-y"],
            "Invalid detach keys (x-y) provided",
        ),
        (&["--ipc", "x"], "invalid IPC mode: x"),
        (
            &["--restart", "sometimes"],
            "invalid restart policy: unknown policy 'sometimes'; use one of 'no', 'always', \
             'on-failure', or 'unless-stopped'",
        ),
        (&["-m", "5m"], "Minimum memory limit allowed is 6MB"),
        (
            &["-m", "64m", "--memory-swap", "32m"],
            "Minimum memoryswap limit should be larger than memory limit, see usage",
        ),
        (
            &["--memory-swap", "32m"],
            "You should always set the Memory limit when using Memoryswap limit, see usage",
        ),
        (
            &["--cpus", "3"],
            "Range of CPUs is from 0.01 to 2.00, as there are only 2 CPUs available",
        ),
        (
            &["--cpus", "1", "--cpu-quota", "5000"],
            "Conflicting options: Nano CPUs and CPU Quota cannot both be set.",
        ),
        (
            &["--cpu-period", "5"],
            "CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)",
        ),
        (
            &["--cpuset-cpus", "1-0"],
            "Invalid value 1-0 for cpuset cpus",
        ),
        (
            &["--blkio-weight", "5"],
            "Range of blkio weight is from 10 to 1000",
        ),
        (
            &["--oom-score-adj", "2000"],
            "Invalid value 2000, range for oom score adj is [-1000, 1000]",
        ),
        (
            &["--cap-add", "FOO"],
            "invalid CapAdd: unknown capability: \"CAP_FOO\"",
        ),
        (
            &["--security-opt", "foo=bar"],
            "invalid --security-opt 2: \"foo=bar\"",
        ),
        (
            &["-v", "/a:/x", "--tmpfs", "/x"],
            "Duplicate mount point: /x",
        ),
        (
            &["--log-driver", "foo"],
            "logger: no log driver named 'foo' is registered",
        ),
        (
            &["--uts", "host", "-h", "x"],
            "conflicting options: hostname and the UTS mode",
        ),
        (
            &["--network", "container:a", "-h", "x"],
            "conflicting options: hostname and the network mode",
        ),
        (
            &["--network", "container:a", "-p", "80"],
            "conflicting options: port publishing and the container type network mode",
        ),
        (
            &["--health-cmd", "x", "--health-timeout", "1us"],
            "Timeout in Healthcheck cannot be less than 1ms",
        ),
    ] {
        assert_eq!(
            refusal(words),
            FlagError::Engine(text.to_owned()),
            "{words:?}"
        );
    }
    let error = refusal(&["-w", "rel"]);
    let docker = error.failure(Program::Docker, "run");
    assert!(
        docker
            .text
            .starts_with("docker: Error response from daemon: the working directory")
    );
    let caisson = error.failure(Program::Caisson, "run");
    assert!(caisson.text.starts_with("caisson: the working directory"));
    assert_eq!((docker.exit_code, caisson.exit_code), (125, 125));
}

#[test]
fn what_is_not_built_is_refused_by_name() {
    for (words, start) in [
        (
            &["--mount", "type=cluster,source=a,target=/x"][..],
            "--mount at /x: Swarm's cluster volumes",
        ),
        (
            &["--log-driver", "syslog"],
            "log driver 'syslog' is not built yet",
        ),
    ] {
        match refusal(words) {
            FlagError::NotYet(text) => assert!(text.starts_with(start), "{words:?}: {text}"),
            other => panic!("{words:?}: {other:?}"),
        }
    }
    assert!(matches!(
        refusal(&["--runtime", "foo"]),
        FlagError::Engine(_)
    ));
    let host = run(&["-p", "8080:80", "--network", "host"]);
    assert_eq!(
        host.warnings,
        ["Published ports are discarded when using host network mode"]
    );
    assert!(run(&["-P", "--net=none"]).warnings.is_empty());
}

#[test]
fn streams_follow_attach_detach_and_the_terminal() {
    let plain = |text: &str| FlagError::Plain(text.to_owned());
    assert_eq!(
        refusal(&["-d", "-a", "stdout"]),
        plain("conflicting options: cannot specify both --attach and --detach")
    );
    assert_eq!(refusal(&["-it"]), plain("the input device is not a TTY"));
    let failure = refusal(&["-it"]).failure(Program::Docker, "run");
    assert_eq!(
        (failure.text.as_str(), failure.exit_code),
        ("the input device is not a TTY", 1)
    );
    for (words, stdin, stdout, stderr, once) in [
        (&[][..], false, true, true, false),
        (&["-i"], true, true, true, true),
        (&["-t"], false, true, true, false),
        (&["-a", "STDERR"], false, false, true, false),
        (
            &["-a", "stdin", "-a", "stdout", "-i"],
            true,
            true,
            false,
            true,
        ),
        (&["-d", "-it"], false, false, false, false),
    ] {
        let spec = run(words).spec;
        let got = (
            spec.attach_stdin,
            spec.attach_stdout,
            spec.attach_stderr,
            spec.stdin_once,
        );
        assert_eq!(got, (stdin, stdout, stderr, once), "{words:?}");
    }
    // create has no terminal of its own.
    assert!(request(&["create", "-it", "image"]).is_ok());
}

#[test]
fn a_full_command_line_becomes_a_request() {
    let request = request(&[
        "run",
        "-d",
        "--rm",
        "--name",
        "web",
        "-e",
        "A=1",
        "-e",
        "INHERITED",
        "-e",
        "GONE",
        "-l",
        "k=v=w",
        "-v",
        "./site:/srv/:ro",
        "--mount",
        "type=bind,source=/b,target=/c",
        "--tmpfs",
        "/run:size=64k",
        "-w",
        "/a/../b",
        "-u",
        "1:2",
        "-m",
        "64m",
        "--memory-swap",
        "-1",
        "--cpus",
        "1.5",
        "--cap-add",
        "net_admin",
        "--cap-drop",
        "CAP_CHOWN",
        "--cap-drop=all",
        "--ulimit",
        "nofile=1:2",
        "--ulimit",
        "nofile=3:4",
        "--device",
        "/dev/a:/dev/b:r",
        "--add-host",
        "h=[::1]",
        "--dns",
        "1.1.1.1",
        "--dns-search",
        "x.org.",
        "--sysctl",
        "net.x=1",
        "--expose",
        "90-91/udp",
        "--network",
        "host",
        "--stop-timeout",
        "3",
        "--stop-signal",
        "INT",
        "--entrypoint",
        "/bin/sh",
        "--health-cmd",
        "true",
        "--health-interval",
        "5s",
        "--init",
        "--read-only",
        "--shm-size",
        "1m",
        "--pids-limit",
        "100",
        "--detach-keys",
        "ctrl-a,q",
        "--cidfile",
        "/x",
        "--platform",
        "linux/arm64",
        "--pull",
        "never",
        "--log-opt",
        "max-size=1m",
        "--annotation",
        "o=p",
        "--hostname",
        "hh",
        "--device-read-bps",
        "/dev/sda:1kb",
        "image:tag",
        "-c",
        "ls",
    ])
    .unwrap();
    let spec = &request.spec;
    assert_eq!(request.name.as_deref(), Some("web"));
    assert!(request.detach && request.rm && request.sig_proxy && spec.auto_remove);
    assert_eq!(request.pull, PullPolicy::Never);
    assert_eq!(request.detach_keys, Some(vec![1, b'q']));
    assert_eq!(request.cidfile.as_deref(), Some("/x"));
    assert_eq!(request.platform, Some(Platform::new("linux", "arm64", "")));
    assert_eq!(spec.image, "image:tag");
    assert_eq!(
        spec.cmd.as_deref(),
        Some(&["-c".to_owned(), "ls".to_owned()][..])
    );
    assert_eq!(
        spec.entrypoint.as_deref(),
        Some(&["/bin/sh".to_owned()][..])
    );
    assert_eq!(spec.env, ["A=1", "INHERITED=yes", "GONE"]);
    assert_eq!(spec.labels["k"], "v=w");
    assert_eq!(spec.binds, ["/home/u/site:/srv:ro"]);
    assert_eq!(
        (
            spec.mounts[0].source.as_str(),
            spec.mounts[0].target.as_str()
        ),
        ("/b", "/c")
    );
    assert_eq!(spec.tmpfs["/run"], "size=64k");
    assert_eq!(spec.working_dir, "/b");
    assert_eq!(spec.cap_add, ["CAP_NET_ADMIN"]);
    assert_eq!(spec.cap_drop, ["CAP_CHOWN", "ALL"]);
    assert_eq!(spec.extra_hosts, ["h:::1"]);
    assert_eq!(spec.dns_search, ["x.org"]);
    assert_eq!(spec.exposed_ports, ["90/udp", "91/udp"]);
    assert_eq!(spec.networks[0].target, "host");
    assert_eq!(
        (spec.stop_timeout, spec.stop_signal.as_str()),
        (Some(3), "INT")
    );
    let health = spec.healthcheck.as_ref().unwrap();
    assert_eq!(health.test, ["CMD-SHELL", "true"]);
    assert_eq!(health.interval_ns, 5_000_000_000);
    assert_eq!(spec.shm_size_bytes, 1 << 20);
    assert_eq!(spec.console_size, [24, 80]);
    let limits = &spec.resources;
    assert_eq!(
        (limits.memory_bytes, limits.memory_swap_bytes),
        (64 << 20, -1)
    );
    assert_eq!((limits.nano_cpus, limits.pids_limit), (1_500_000_000, 100));
    assert_eq!(limits.memory_swappiness, None);
    assert_eq!(limits.ulimits.len(), 1);
    assert_eq!((limits.ulimits[0].soft, limits.ulimits[0].hard), (3, 4));
    assert_eq!(limits.devices[0].permissions, "r");
    assert_eq!(limits.blkio_read_bps, [("/dev/sda".to_owned(), 1024)]);
}

#[test]
fn entrypoint_and_command_tell_absent_from_empty() {
    assert_eq!(run(&[]).spec.entrypoint, None);
    assert_eq!(run(&[]).spec.cmd, None);
    assert_eq!(run(&["--entrypoint", ""]).spec.entrypoint, Some(Vec::new()));
    assert_eq!(run(&[]).spec.stop_timeout, None);
    assert_eq!(run(&["--stop-timeout", "0"]).spec.stop_timeout, Some(0));
}

#[test]
fn files_are_read_where_flags_name_them() {
    let env = TestFile::new(
        "env",
        b"\xEF\xBB\xBFA=file\n# note\nINHERITED\nGONE\nB=\"q\" # kept\n",
    );
    let spec = run(&["-e", "A=flag", "--env-file", env.path()]).spec;
    assert_eq!(
        spec.env,
        ["A=file", "INHERITED=yes", "B=\"q\" # kept", "A=flag"]
    );

    let labels = TestFile::new("labels", b"a=file\nb\n");
    let spec = run(&["-l", "a=flag", "--label-file", labels.path()]).spec;
    assert_eq!(
        (spec.labels["a"].as_str(), spec.labels["b"].as_str()),
        ("flag", "")
    );

    let bad = TestFile::new("bad", b"a b=1\n");
    let text = format!(
        "invalid env file ({}): variable 'a b' contains whitespaces",
        bad.path()
    );
    assert_eq!(refusal(&["--env-file", bad.path()]), FlagError::Usage(text));

    let profile = TestFile::new("profile", b"{ \"defaultAction\" :\n \"SCMP_ACT_ALLOW\" }\n");
    let option = format!("seccomp={}", profile.path());
    let spec = run(&[
        "--security-opt",
        &option,
        "--security-opt",
        "no-new-privileges",
    ])
    .spec;
    assert_eq!(
        spec.security_opt,
        [
            "seccomp={\"defaultAction\":\"SCMP_ACT_ALLOW\"}",
            "no-new-privileges"
        ]
    );
    let option = format!("seccomp={}", bad.path());
    match refusal(&["--security-opt", &option]) {
        FlagError::Usage(text) => {
            assert!(text.starts_with("compacting json for seccomp"), "{text}")
        }
        other => panic!("{other:?}"),
    }
    // Places in the file are told, though the engine reads the compacted text.
    let shape = TestFile::new("shape", b"{ \"defaultAction\" :\n 5 }\n");
    let text = format!(
        "Decoding seccomp profile failed: {}:2:2: defaultAction: text in quotes was expected, not the number 5",
        shape.path()
    );
    let option = format!("seccomp={}", shape.path());
    assert_eq!(
        refusal(&["--security-opt", &option]),
        FlagError::Engine(text)
    );
}

#[test]
fn exec_and_update_fail_with_one() {
    let exec = |words: &[&str]| {
        let line: Vec<&str> = ["exec"].iter().chain(words).copied().collect();
        exec_request(&invocation(&line).matches, &caller(Program::Docker))
    };
    let error = exec(&["--env-file", "/nope", "x", "y"]).unwrap_err();
    let failure = error.failure(Program::Docker, "exec");
    assert_eq!(failure.text, "open /nope: no such file or directory");
    assert_eq!(failure.exit_code, 1);
    let request = exec(&["-it", "-e", "A", "-u", "1", "web", "ls", "-l"]).unwrap();
    assert_eq!(
        (request.container.as_str(), request.user.as_str()),
        ("web", "1")
    );
    assert_eq!(request.command, ["ls", "-l"]);
    assert_eq!(request.env, ["A"]);
    let terminal = request
        .check_terminal(&caller(Program::Docker))
        .unwrap_err();
    assert_eq!(terminal.to_string(), "the input device is not a TTY");

    let update = |words: &[&str]| {
        let line: Vec<&str> = ["update"].iter().chain(words).copied().collect();
        update_request(&invocation(&line).matches, &caller(Program::Docker))
    };
    let failure = update(&["x"])
        .unwrap_err()
        .failure(Program::Docker, "update");
    assert_eq!(
        failure.text,
        "you must provide one or more flags when using this command"
    );
    assert_eq!(failure.exit_code, 1);
    let error = update(&["--restart", "bogus", "x"]).unwrap_err();
    let failure = error.failure(Program::Docker, "update");
    assert!(
        failure
            .text
            .starts_with("Error response from daemon: invalid restart policy")
    );
    assert_eq!(failure.exit_code, 1);
    let request = update(&[
        "-m",
        "64m",
        "--restart",
        "always",
        "--pids-limit=-1",
        "a",
        "b",
    ])
    .unwrap();
    assert_eq!(request.containers, ["a", "b"]);
    assert_eq!(request.resources.memory_bytes, 64 << 20);
    assert_eq!(request.pids_limit, Some(-1));
    assert_eq!(
        request.restart.map(|policy| policy.kind),
        Some(RestartKind::Always)
    );
}
