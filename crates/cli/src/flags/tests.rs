//! The command line as users see it: Docker's error texts, the help pages, and the tables
//! themselves against the list of all of Docker's flags.
//!
//! Method: whole command lines through [`parse`]; the expected texts were recorded from docker
//! 28.2.2. The help pages are compared with the files in `snapshots/`; after a change of words,
//! run the tests with `UPDATE_SNAPSHOTS=1` and read the difference.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::Path;

use super::*;

fn run(line: &[&str]) -> Outcome {
    let argv: Vec<OsString> = line.iter().map(OsString::from).collect();
    parse(&argv)
}

fn invocation(line: &[&str]) -> Box<Invocation> {
    match run(line) {
        Outcome::Run(invocation) => invocation,
        other => panic!("{line:?} gave {other:?}"),
    }
}

fn failure(line: &[&str]) -> Failure {
    match run(line) {
        Outcome::Fail(failure) => failure,
        other => panic!("{line:?} gave {other:?}"),
    }
}

fn printed(line: &[&str]) -> String {
    match run(line) {
        Outcome::Print(text) => text,
        Outcome::Fail(unasked) if unasked.exit_code == 0 => unasked.text + "\n",
        other => panic!("{line:?} gave {other:?}"),
    }
}

#[test]
fn help_that_nobody_asked_for_is_no_output() {
    for line in [&["docker"][..], &["docker", "container"]] {
        assert_eq!(failure(line).exit_code, 0);
    }
    for line in [&["docker", "--help"][..], &["docker", "help", "container"]] {
        assert!(matches!(run(line), Outcome::Print(_)));
    }
}

const RUN_USAGE: &str = "[OPTIONS] IMAGE [COMMAND] [ARG...]";

#[test]
fn whole_error_texts_are_dockers() {
    let flag_error = |first: &str, name: &str, usage: &str| {
        let usage = format!("Usage:  docker {name} {usage}");
        let usage = usage.trim_end();
        (
            format!("{first}\n\n{usage}\n\nRun 'docker {name} --help' for more information"),
            125,
        )
    };
    let args_error = |first: &str, name: &str, usage: &str, verb: &str| {
        let line = format!("docker: 'docker {name}' {first}\n\nUsage:  docker {name} {usage}");
        let line = line.trim_end();
        (
            format!("{line}\n\n{verb} 'docker {name} --help' for more information"),
            1,
        )
    };
    let containers = "[OPTIONS] CONTAINER [CONTAINER...]";
    let copy = "[OPTIONS] CONTAINER:SRC_PATH DEST_PATH|-\n\
                \tdocker cp [OPTIONS] SRC_PATH|- CONTAINER:DEST_PATH";
    let cases: &[(&[&str], (String, u8))] = &[
        (
            &["run", "--nosuch"],
            flag_error("unknown flag: --nosuch", "run", RUN_USAGE),
        ),
        (
            &["run", "--nosuch=3"],
            flag_error("unknown flag: --nosuch", "run", RUN_USAGE),
        ),
        (
            &["run", "-Z"],
            flag_error("unknown shorthand flag: 'Z' in -Z", "run", RUN_USAGE),
        ),
        (
            &["run", "-itZ"],
            flag_error("unknown shorthand flag: 'Z' in -Z", "run", RUN_USAGE),
        ),
        (
            &["run", "-qzi"],
            flag_error("unknown shorthand flag: 'z' in -zi", "run", RUN_USAGE),
        ),
        (
            &["run", "-=x"],
            flag_error("unknown shorthand flag: '=' in -=x", "run", RUN_USAGE),
        ),
        (
            &["run", "---x"],
            flag_error("bad flag syntax: ---x", "run", RUN_USAGE),
        ),
        (
            &["run", "--=x"],
            flag_error("bad flag syntax: --=x", "run", RUN_USAGE),
        ),
        (
            &["run", "--name"],
            flag_error("flag needs an argument: --name", "run", RUN_USAGE),
        ),
        (
            &["run", "--net"],
            flag_error("flag needs an argument: --net", "run", RUN_USAGE),
        ),
        (
            &["run", "-e"],
            flag_error("flag needs an argument: 'e' in -e", "run", RUN_USAGE),
        ),
        (
            &["run", "-h"],
            flag_error("flag needs an argument: 'h' in -h", "run", RUN_USAGE),
        ),
        (
            &["run", "--help", "--nosuch"],
            flag_error("unknown flag: --nosuch", "run", RUN_USAGE),
        ),
        (
            &["create", "-d", "x"],
            flag_error("unknown shorthand flag: 'd' in -d", "create", RUN_USAGE),
        ),
        (
            &["ps", "-D"],
            flag_error("unknown shorthand flag: 'D' in -D", "ps", "[OPTIONS]"),
        ),
        (
            &["ps", "-a="],
            flag_error("unknown shorthand flag: '=' in -=", "ps", "[OPTIONS]"),
        ),
        (
            &["container", "--nosuch"],
            flag_error("unknown flag: --nosuch", "container", ""),
        ),
        (
            &["container", "-x"],
            flag_error("unknown shorthand flag: 'x' in -x", "container", ""),
        ),
        (
            &["ps", "-fbogus"],
            flag_error(
                "invalid argument \"bogus\" for \"-f, --filter\" flag: \
                 bad format of filter (expected name=value)",
                "ps",
                "[OPTIONS]",
            ),
        ),
        (
            &["stop", "-t", "x", "y"],
            flag_error(
                "invalid argument \"x\" for \"-t, --timeout\" flag: \
                 strconv.ParseInt: parsing \"x\": invalid syntax",
                "stop",
                containers,
            ),
        ),
        (
            &["run"],
            args_error("requires at least 1 argument", "run", RUN_USAGE, "See"),
        ),
        (
            &["run", "--rm=false"],
            args_error("requires at least 1 argument", "run", RUN_USAGE, "See"),
        ),
        (
            &["rm"],
            args_error("requires at least 1 argument", "rm", containers, "See"),
        ),
        (
            &["kill"],
            args_error("requires at least 1 argument", "kill", containers, "See"),
        ),
        (
            &["wait"],
            args_error(
                "requires at least 1 argument",
                "wait",
                "CONTAINER [CONTAINER...]",
                "See",
            ),
        ),
        (
            &["container", "run"],
            args_error(
                "requires at least 1 argument",
                "container run",
                RUN_USAGE,
                "See",
            ),
        ),
        (
            &["exec", "x"],
            args_error(
                "requires at least 2 arguments",
                "exec",
                "[OPTIONS] CONTAINER COMMAND [ARG...]",
                "See",
            ),
        ),
        (
            &["rename", "x"],
            args_error(
                "requires 2 arguments",
                "rename",
                "CONTAINER NEW_NAME",
                "Run",
            ),
        ),
        (
            &["cp", "a"],
            args_error("requires 2 arguments", "cp", copy, "Run"),
        ),
        (
            &["ps", "x"],
            args_error("accepts no arguments", "ps", "[OPTIONS]", "Run"),
        ),
        (
            &["container", "list", "x"],
            args_error("accepts no arguments", "container ls", "[OPTIONS]", "Run"),
        ),
        (
            &["images", "a", "b"],
            args_error(
                "requires at most 1 argument",
                "images",
                "[OPTIONS] [REPOSITORY[:TAG]]",
                "Run",
            ),
        ),
        (
            &["port", "a", "b", "c"],
            args_error(
                "requires at least 1 and at most 2 arguments",
                "port",
                "CONTAINER [PRIVATE_PORT[/PROTO]]",
                "Run",
            ),
        ),
        (
            &["nosuch"],
            (
                "docker: unknown command: docker nosuch\n\n\
                 Run 'docker --help' for more information"
                    .to_owned(),
                1,
            ),
        ),
        (
            &["image", "nosuch"],
            (
                "docker: unknown command: docker image nosuch\n\nUsage:  docker image\n\n\
                 Run 'docker image --help' for more information"
                    .to_owned(),
                1,
            ),
        ),
        (
            &["--nosuch", "ps"],
            (
                "unknown flag: --nosuch\n\nUsage:  docker [OPTIONS] COMMAND [ARG...]\n\n\
                 Run 'docker --help' for more information"
                    .to_owned(),
                125,
            ),
        ),
        (
            &["-l", "bogus", "ps"],
            ("Unable to parse logging level: bogus".to_owned(), 1),
        ),
        (
            &["help", "nosuch"],
            ("unknown help topic: nosuch".to_owned(), 1),
        ),
    ];
    for (words, (text, exit_code)) in cases {
        let line: Vec<&str> = ["docker"].iter().chain(words.iter()).copied().collect();
        let failure = failure(&line);
        assert_eq!(failure.text, *text, "{line:?}");
        assert_eq!(failure.exit_code, *exit_code, "{line:?}");
    }
}

#[test]
fn wrong_values_are_refused_in_dockers_words() {
    let cases: &[(&str, &str, &str)] = &[
        ("-m", "1x", "\"-m, --memory\" flag: invalid suffix: 'x'"),
        ("-m", "", "\"-m, --memory\" flag: invalid size: ''"),
        (
            "--shm-size",
            "-1",
            "\"--shm-size\" flag: invalid size: '-1'",
        ),
        (
            "--memory-swap",
            "-2",
            "\"--memory-swap\" flag: invalid size: '-2'",
        ),
        (
            "--health-interval",
            "1",
            "\"--health-interval\" flag: time: missing unit in duration \"1\"",
        ),
        (
            "--health-interval",
            "x",
            "\"--health-interval\" flag: time: invalid duration \"x\"",
        ),
        (
            "--health-interval",
            "1q",
            "\"--health-interval\" flag: time: unknown unit \"q\" in duration \"1q\"",
        ),
        (
            "--cpus",
            "abc",
            "\"--cpus\" flag: failed to parse abc as a rational number",
        ),
        (
            "--cpus",
            "0.0000000001",
            "\"--cpus\" flag: value is too precise",
        ),
        (
            "--stop-timeout",
            "x",
            "\"--stop-timeout\" flag: strconv.ParseInt: parsing \"x\": invalid syntax",
        ),
        (
            "--stop-timeout",
            "99999999999999999999",
            "\"--stop-timeout\" flag: strconv.ParseInt: parsing \"99999999999999999999\": \
             value out of range",
        ),
        (
            "--blkio-weight",
            "70000",
            "\"--blkio-weight\" flag: strconv.ParseUint: parsing \"70000\": value out of range",
        ),
        (
            "--io-maxiops",
            "-1",
            "\"--io-maxiops\" flag: strconv.ParseUint: parsing \"-1\": invalid syntax",
        ),
        (
            "--add-host",
            "bad",
            "\"--add-host\" flag: bad format for add-host: \"bad\"",
        ),
        (
            "--add-host",
            "a:b",
            "\"--add-host\" flag: invalid IP address in add-host: \"b\"",
        ),
        (
            "--label",
            "=b",
            "\"-l, --label\" flag: invalid label '=b': empty name",
        ),
        (
            "--env",
            "=",
            "\"-e, --env\" flag: invalid environment variable: =",
        ),
        (
            "--dns",
            "bad",
            "\"--dns\" flag: IP address is not correctly formatted: bad",
        ),
        (
            "--dns-search",
            "a b",
            "\"--dns-search\" flag: a b is not a valid domain",
        ),
        (
            "--link",
            "",
            "\"--link\" flag: empty string specified for links",
        ),
        (
            "--link",
            "a:b:c",
            "\"--link\" flag: bad format for links: a:b:c",
        ),
        (
            "-a",
            "foo",
            "\"-a, --attach\" flag: valid streams are STDIN, STDOUT and STDERR",
        ),
        (
            "--sysctl",
            "kernel.foo=1",
            "\"--sysctl\" flag: sysctl 'kernel.foo=1' is not allowed",
        ),
        (
            "--sysctl",
            "net.x",
            "\"--sysctl\" flag: sysctl 'net.x' is not allowed",
        ),
        (
            "--blkio-weight-device",
            "a",
            "\"--blkio-weight-device\" flag: bad format: a",
        ),
        (
            "--device-read-bps",
            "/a:1",
            "\"--device-read-bps\" flag: bad format for device path: /a:1",
        ),
        (
            "--device-cgroup-rule",
            "x",
            "\"--device-cgroup-rule\" flag: invalid device cgroup format 'x'",
        ),
        (
            "--ulimit",
            "x",
            "\"--ulimit\" flag: invalid ulimit argument: x",
        ),
        (
            "--ulimit",
            "nofile=5:3",
            "\"--ulimit\" flag: ulimit soft limit must be less than or equal to hard limit: 5 > 3",
        ),
        (
            "--ulimit",
            "foo=1",
            "\"--ulimit\" flag: invalid ulimit type: foo",
        ),
        (
            "--mount",
            "type=bind,source=/nope",
            "\"--mount\" flag: target is required",
        ),
        (
            "--mount",
            "x",
            "\"--mount\" flag: invalid field 'x' must be a key=value pair",
        ),
        (
            "--network",
            "a=b",
            "\"--network\" flag: invalid field key a",
        ),
        (
            "--network",
            "name=a,foo",
            "\"--network\" flag: invalid field foo",
        ),
        (
            "--network",
            "name=a,gw-priority=x",
            "\"--network\" flag: invalid gw-priority (x): invalid syntax",
        ),
        (
            "--network",
            "alias=x",
            "\"--network\" flag: network name/id is not specified",
        ),
        (
            "--gpus",
            "x=y",
            "\"--gpus\" flag: unexpected key 'x' in 'x=y'",
        ),
        ("--gpus", "", "\"--gpus\" flag: EOF"),
        (
            "--gpus",
            "x",
            "\"--gpus\" flag: invalid count (x): value must be either \"all\" or an integer: \
             invalid syntax",
        ),
        (
            "--gpus",
            "device=1,device=2",
            "\"--gpus\" flag: gpu request key 'device' can be specified only once",
        ),
    ];
    for (flag, value, rest) in cases {
        let failure = failure(&["docker", "run", flag, value, "nginx"]);
        let expected = format!("invalid argument \"{value}\" for {rest}");
        let first_line = failure.text.split("\n\n").next().unwrap();
        assert_eq!(first_line, expected);
        assert_eq!(failure.exit_code, 125, "{flag} {value}");
        assert!(
            failure
                .text
                .ends_with("Run 'docker run --help' for more information")
        );
    }
    let failure = failure(&["docker", "run", "--init=maybe", "nginx"]);
    assert!(failure.text.starts_with(
        "invalid argument \"maybe\" for \"--init\" flag: \
         strconv.ParseBool: parsing \"maybe\": invalid syntax\n"
    ));
}

#[test]
fn values_that_docker_takes_are_taken() {
    for (flag, value) in [
        ("--cpus", "1/2"),
        ("--cpus", "1.5"),
        ("--cpus", "15e-1"),
        ("--dns-search", "."),
        ("--dns", "::1"),
        ("--annotation", "a"),
        ("--group-add", ""),
        ("--stop-timeout", "0x10"),
        ("--stop-timeout", "-1"),
        ("--oom-score-adj", "-1_000"),
        ("--memory-swap", "-1"),
        ("--blkio-weight-device", "/dev/sda:500"),
        ("--device-read-bps", "/dev/sda:1mb"),
        ("--device-write-iops", "/dev/sda:5"),
        ("--device-cgroup-rule", "c 13:* rwm"),
        ("--sysctl", "net.core.somaxconn=1"),
        ("--ulimit", "nofile=1024:2048"),
        ("--network", "none"),
        ("--network", "name="),
    ] {
        invocation(&["docker", "run", flag, value, "nginx"]);
    }
}

#[test]
fn flags_follow_pflags_rules() {
    let run = invocation(&[
        "docker",
        "run",
        "-itd",
        "-p8080:80",
        "--name=web",
        "-e",
        "A=1",
        "--env",
        "B=2",
        "--rm=0",
        "-m=512m",
        "--stop-timeout=0x10",
        "-ufoo",
        "--net",
        "none",
        "image",
        "-p",
        "x",
        "--help",
    ]);
    let matches = &run.matches;
    assert!(matches.get_bool("interactive") && matches.get_bool("tty"));
    assert!(matches.get_bool("detach") && !matches.get_bool("rm") && matches.is_set("rm"));
    assert!(!matches.is_set("init") && matches.get_bool("sig-proxy"));
    assert_eq!(matches.get_list("publish"), ["8080:80"]);
    assert_eq!(matches.get_list("env"), ["A=1", "B=2"]);
    assert_eq!(matches.get_str("name"), "web");
    assert_eq!(matches.get_str("user"), "foo");
    assert_eq!(matches.get_str("pull"), "missing");
    assert_eq!(matches.get_list("network"), ["none"]);
    assert_eq!(matches.get_int("stop-timeout"), 16);
    assert_eq!(matches.get_int("memory-swappiness"), -1);
    assert_eq!(matches.get_bytes("memory"), 512 << 20);
    assert_eq!(matches.args, ["image", "-p", "x", "--help"]);
    assert_eq!(matches.count_set(), 11);

    let ps = invocation(&["docker", "ps", "-q=true", "-a=false"]);
    assert!(ps.matches.get_bool("quiet") && !ps.matches.get_bool("all"));

    let stop = invocation(&["docker", "stop", "a", "-t", "3", "b", "--", "-t"]);
    assert_eq!(stop.matches.args, ["a", "b", "-t"]);
    assert_eq!(stop.matches.get_int("timeout"), 3);

    let last = invocation(&["docker", "ps", "--format", "a", "--format=b"]);
    assert_eq!(last.matches.get_str("format"), "b");

    let top = invocation(&["docker", "top", "web", "-o", "pid"]);
    assert_eq!(top.matches.args, ["web", "-o", "pid"]);

    let exec = invocation(&["docker", "exec", "-it", "web", "ls", "-l", "--color"]);
    assert_eq!(exec.matches.args, ["web", "ls", "-l", "--color"]);

    let rmi = invocation(&[
        "docker",
        "rmi",
        "--platform",
        "linux/a,linux/b",
        "--platform=c",
        "x",
    ]);
    assert_eq!(
        rmi.matches.get_list("platform"),
        ["linux/a", "linux/b", "c"]
    );

    let dash = invocation(&["docker", "import", "-", "name"]);
    assert_eq!(dash.matches.args, ["-", "name"]);
}

#[test]
fn every_spelling_finds_its_command() {
    for (words, verb, name) in [
        (&["ps"][..], Verb::Ps, "ps"),
        (&["container", "ls"], Verb::Ps, "container ls"),
        (&["container", "list"], Verb::Ps, "container ls"),
        (&["container", "ps"], Verb::Ps, "container ls"),
        (&["images"], Verb::Images, "images"),
        (&["image", "list"], Verb::Images, "image ls"),
        (&["image", "remove", "x"], Verb::Rmi, "image rm"),
        (&["container", "remove", "x"], Verb::Rm, "container rm"),
        (&["system", "info"], Verb::Info, "system info"),
        (&["info"], Verb::Info, "info"),
        (&["system", "events"], Verb::Events, "system events"),
        (&["container", "run", "x"], Verb::Run, "container run"),
        (&["version"], Verb::Version, "version"),
        (&["internal", "docs", "--man"], Verb::Internal, "internal"),
    ] {
        let line: Vec<&str> = ["caisson"].iter().chain(words).copied().collect();
        let found = invocation(&line);
        assert_eq!(
            (found.command.verb, found.name.as_str()),
            (verb, name),
            "{words:?}"
        );
    }
}

#[test]
fn flags_before_the_command_are_global() {
    let ps = invocation(&[
        "/usr/bin/docker",
        "--root=/a",
        "-D",
        "--run-root",
        "/b",
        "-c",
        "default",
        "ps",
    ]);
    assert_eq!(ps.globals.root.as_deref(), Some("/a"));
    assert_eq!(ps.globals.run_root.as_deref(), Some("/b"));
    for line in [
        &["docker", "-H", "tcp://x", "ps"],
        &["docker", "--context", "x", "ps"],
    ] {
        let failure = failure(line);
        assert_eq!(failure.exit_code, 125);
        assert!(
            failure.text.contains("acts on this machine"),
            "{}",
            failure.text
        );
    }
}

#[test]
fn what_is_missing_is_refused_by_name() {
    for (words, text) in [
        (
            &["bake"][..],
            "caisson: 'bake' is not supported: describe the images in a Compose file and use compose \
             build",
        ),
        (
            &["buildx", "bake", "x"],
            "caisson: 'buildx bake' is not supported: describe the images in a Compose file and use compose \
             build",
        ),
        (
            &["help", "bake"],
            "caisson: 'bake' is not supported: describe the images in a Compose file and use compose \
             build",
        ),
        (
            &["swarm", "init"],
            "caisson: 'swarm' needs Swarm, and Caisson has no Swarm: for several machines use \
             Kubernetes",
        ),
    ] {
        let line: Vec<&str> = ["caisson"].iter().chain(words).copied().collect();
        let failure = failure(&line);
        assert_eq!((failure.text.as_str(), failure.exit_code), (text, 1));
    }
    let refused = failure(&["caisson", "run", "--use-api-socket", "x"]);
    assert!(
        refused
            .text
            .starts_with("--use-api-socket is refused: Caisson has no daemon")
    );
    assert_eq!(refused.exit_code, 125);
    // A switch that is refused may still be switched off.
    invocation(&["caisson", "images", "--tree=false"]);
}

#[test]
fn near_misses_are_told() {
    let failure_text = |line: &[&str]| failure(line).text;
    assert!(failure_text(&["caisson", "rum"]).contains("\n\nDid you mean 'caisson run'?\n\n"));
    let text = failure_text(&["caisson", "container", "strat", "x"]);
    assert!(
        text.contains("Did you mean 'caisson container start'?"),
        "{text}"
    );
    let text = failure_text(&["caisson", "run", "--hostnmae", "x"]);
    assert!(text.starts_with("unknown flag: --hostnmae\n\nDid you mean '--hostname'?\n\nUsage:"));
}

#[test]
fn the_version_names_the_program() {
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(
        printed(&["docker", "-v"]),
        format!("Docker version 28.2.2, build caisson-{version}\n")
    );
    assert_eq!(
        printed(&["/opt/caisson", "--version"]),
        format!("caisson version {version}\n")
    );
    assert_eq!(
        printed(&["caisson", "-v", "nosuch"]),
        format!("caisson version {version}\n")
    );
}

#[test]
fn former_names_print_dockers_notice() {
    let stop = invocation(&["docker", "stop", "--time=3", "x"]);
    assert_eq!(
        stop.notices,
        ["Flag --time has been deprecated, use --timeout instead"]
    );
    assert_eq!(stop.matches.get_int("timeout"), 3);
    assert!(
        invocation(&["docker", "run", "--net=none", "x"])
            .notices
            .is_empty()
    );
}

#[test]
fn control_characters_never_reach_the_terminal() {
    for line in [
        &["docker", "run", "--na\u{1b}[2Jme", "x"][..],
        &["docker", "no\u{1b}such"],
        &["docker", "run", "-l", "=\u{1b}[2J", "x"],
        &["docker", "run", "-\u{1b}", "x"],
        &["docker", "help", "\u{1b}"],
    ] {
        let text = failure(line).text;
        assert!(!text.contains('\u{1b}'), "{text:?}");
    }
}

#[test]
fn tables_are_sorted_and_without_doubles() {
    let mut spellings = BTreeSet::new();
    let tables = commands()
        .map(|command| command.flags)
        .chain([GLOBAL_FLAGS]);
    for flags in tables {
        assert!(
            flags.is_sorted_by(|left, right| left.long < right.long),
            "{flags:?}"
        );
        let mut shorts = BTreeSet::new();
        for flag in flags {
            assert!(
                flag.short.is_none_or(|short| shorts.insert(short)),
                "{flag:?}"
            );
            assert!(
                !flag.help.ends_with('.') && !flag.help.is_empty(),
                "{flag:?}"
            );
            let default_is_good =
                flag.default.is_empty() || values::check(flag.kind, flag.default).is_ok();
            assert!(default_is_good, "{flag:?}");
        }
    }
    for command in commands() {
        assert!(!command.about.ends_with('.'), "{}", command.about);
        assert!(
            command.hidden || !command.example.is_empty(),
            "{:?}",
            command.path
        );
        for spelling in command
            .aliases
            .iter()
            .map(|alias| (*alias).to_owned())
            .chain([command.name()])
        {
            assert!(spellings.insert(spelling.clone()), "{spelling} twice");
        }
        // Every getter finds its flag.
        let matches = Matches::new(command);
        for flag in command.flags {
            assert!(!matches.is_set(flag.long));
            let _ = matches.get_str(flag.long);
        }
    }
}

/// What differs from Docker's inventory of flags, and why.
const OTHER_THAN_DOCKERS: &[(&str, &str)] = &[
    (
        "build --platform: strings, not string",
        "one command builds, and it is buildx's, which takes several",
    ),
    (
        "build --cache-from: list, not strings",
        "type=local,src=x is one value, as for buildx; names between commas are several all the same",
    ),
    ("build --security-opt: list, not strings", "as for run"),
];

/// The recorded commands and flags of Docker's command line whose key starts with `prefix`, which
/// is cut off; nothing where the shared corpus is absent.
fn inventory(prefix: &str) -> Vec<(String, serde_json::Value)> {
    let Some(path) = crate::corpus::corpus("golden/cli-inventory.json") else {
        return Vec::new();
    };
    let text = std::fs::read_to_string(path).unwrap();
    let all: serde_json::Map<String, serde_json::Value> = serde_json::from_str(&text).unwrap();
    let commands: Vec<_> = all
        .into_iter()
        .filter_map(|(key, entry)| Some((key.strip_prefix(prefix)?.to_owned(), entry)))
        .collect();
    assert!(commands.len() > 30, "only {} commands", commands.len());
    commands
}

/// Each flag of Docker's for our commands is in the tables, with the same short name and type;
/// each of Docker's other commands is refused by name.
#[test]
fn tables_cover_dockers_inventory() {
    let mut differences = Vec::new();
    for (name, entry) in inventory("docker:") {
        if name == "docker" || GROUPS.iter().any(|group| group.name == name) {
            continue;
        }
        let (first, second) = name
            .split_once(' ')
            .map_or((name.as_str(), None), |(a, b)| (a, Some(b)));
        if refused::missing(first, second).is_none() {
            differences.extend(command_differences(&name, &entry, true));
        }
    }
    differences.retain(|line| {
        !OTHER_THAN_DOCKERS
            .iter()
            .any(|(known, _)| line.ends_with(known))
    });
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

/// The same for the commands about Compose projects, whose words for types are their own.
#[test]
fn tables_cover_the_inventory_of_compose() {
    let mut differences = Vec::new();
    for (name, entry) in inventory("compose:docker compose ") {
        if refused::missing("compose", name.split(' ').next()).is_none() {
            let full = format!("compose {name}");
            differences.extend(command_differences(&full, &entry, false));
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

/// What our command `name` lacks of the flags of `entry`, one line each.
fn command_differences(name: &str, entry: &serde_json::Value, typed: bool) -> Vec<String> {
    let spelled = |command: &&Command| command.name() == name || command.aliases.contains(&name);
    let Some(command) = commands().find(spelled) else {
        return vec![format!("no command {name}")];
    };
    let rows = entry["flags"].as_array().unwrap();
    rows.iter()
        .filter_map(|row| flag_difference(name, command, row, typed))
        .collect()
}

/// How our flag differs from the recorded one: absent, another short name, another type.
fn flag_difference(
    name: &str,
    command: &Command,
    row: &serde_json::Value,
    typed: bool,
) -> Option<String> {
    let names: Vec<String> = row["names"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|name| name.as_str())
        .map(|name| name.replace('"', ""))
        .collect();
    let long = names.iter().find_map(|name| name.strip_prefix("--"))?;
    if matches!(long, "help" | "dry-run") {
        return None;
    }
    let Some(index) = command.flag_index(long) else {
        return Some(format!("{name}: no --{long}"));
    };
    let flag = &command.flags[index];
    let short = names
        .iter()
        .find(|name| !name.starts_with("--"))
        .and_then(|name| name.chars().nth(1));
    if flag.short != short {
        return Some(format!(
            "{name} --{long}: -{:?}, not -{short:?}",
            flag.short
        ));
    }
    let word = match row["type"].as_str().unwrap() {
        "bool" => "",
        "int64" => "int",
        "uint64" => "uint",
        "stringSlice" => "strings",
        "ipSlice" => "list",
        // The engine reads them, and says what is wrong.
        "ipNetSlice" => "strings",
        other => other,
    };
    let ours = flag.kind.word();
    (typed && ours != word).then(|| format!("{name} --{long}: {ours}, not {word}"))
}

#[test]
fn flags_before_a_compose_command_are_its_own() {
    let done = invocation(&[
        "docker-compose",
        "-f",
        "a.yml",
        "-p",
        "x",
        "up",
        "-d",
        "web",
    ]);
    assert_eq!(done.name, "compose up");
    assert_eq!(done.globals.compose.files, ["a.yml"]);
    assert_eq!(done.globals.compose.project_name.as_deref(), Some("x"));
    assert_eq!(done.matches.args, ["web"]);
    let refused = failure(&["caisson", "compose", "--nosuch", "up"]);
    assert_eq!(refused.exit_code, 125);
}

#[test]
fn help_pages_are_as_recorded() {
    for (file, line) in [
        ("overall.txt", &["caisson"][..]),
        ("container.txt", &["caisson", "container"]),
        ("run.txt", &["caisson", "run", "--help"]),
        ("ps.txt", &["docker", "ps", "--help"]),
        (
            "container-list.txt",
            &["docker", "help", "container", "list"],
        ),
        ("stop.txt", &["caisson", "stop", "x", "--help"]),
        ("cp.txt", &["caisson", "cp", "-h"]),
        ("logs.txt", &["caisson", "logs", "--help"]),
        ("tag.txt", &["caisson", "tag", "--help"]),
        (
            "system-prune.txt",
            &["caisson", "system", "prune", "--help"],
        ),
    ] {
        compare_snapshot(file, &printed(line));
    }
    assert_eq!(printed(&["caisson", "--help"]), printed(&["caisson"]));
    assert_eq!(
        printed(&["caisson", "--help", "nosuch"]),
        printed(&["caisson", "help"])
    );
    assert_eq!(
        printed(&["caisson", "image", "--help"]),
        printed(&["caisson", "image"])
    );
}

pub(super) fn compare_snapshot(file: &str, text: &str) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/flags/snapshots");
    let path = folder.join(file);
    if std::env::var_os("UPDATE_SNAPSHOTS").is_some() {
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(&path, text).unwrap();
    }
    let recorded = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(text, recorded, "{file}; UPDATE_SNAPSHOTS=1 records it anew");
}

#[test]
fn generated_pages_name_every_flag_and_are_stable() {
    use super::generate::{Form, Shell, pages};
    let forms = [
        (Form::Markdown, "commands.md"),
        (Form::Compatibility, "compat.md"),
        (Form::Completions(Shell::Bash), "caisson.bash"),
        (Form::Completions(Shell::Zsh), "_caisson"),
        (Form::Completions(Shell::Fish), "caisson.fish"),
    ];
    for (form, file) in forms {
        let made = pages(form);
        assert_eq!((made.len(), made[0].file.as_str()), (1, file));
        assert_eq!(made, pages(form));
        assert!(
            !made[0].text.contains("{}"),
            "{file}: an example keeps its placeholder"
        );
        if form == Form::Compatibility {
            assert!(
                made[0]
                    .text
                    .contains("| `container run` | `--use-api-socket` | refused |")
            );
            assert!(
                made[0]
                    .text
                    .contains("| `swarm` | refused: Caisson has no Swarm |")
            );
            continue;
        }
        for command in commands().filter(|command| !command.hidden) {
            for flag in command.flags.iter().filter(|flag| !flag.hidden) {
                let named = match form {
                    Form::Completions(Shell::Fish) => format!("-l {} ", flag.long),
                    _ => format!("--{}", flag.long),
                };
                assert!(made[0].text.contains(&named), "{file}: {named}");
            }
        }
        assert!(
            !made[0].text.contains("use-api-socket"),
            "{file} shows what is refused"
        );
    }
    let manuals = pages(Form::Man);
    assert_eq!(
        manuals.len(),
        commands().filter(|command| !command.hidden).count() + 1
    );
    for manual in manuals {
        assert!(manual.text.starts_with(".TH "), "{}", manual.file);
        assert!(
            !manual.text.contains("\n'"),
            "{}: a line would be a request",
            manual.file
        );
    }
    assert_eq!(
        Form::parse(&["--completions", "zsh"]),
        Some(Form::Completions(Shell::Zsh))
    );
    assert_eq!(Form::parse(&["--nosuch"]), None);
}

#[test]
fn parsing_costs_microseconds() {
    let line: Vec<OsString> = [
        "docker", "run", "--rm", "-it", "-e", "A=1", "--name", "x", "-m", "1g", "image", "sh",
    ]
    .iter()
    .map(OsString::from)
    .collect();
    let rounds = 1000;
    let start = std::time::Instant::now();
    for _ in 0..rounds {
        assert!(matches!(parse(&line), Outcome::Run(_)));
    }
    // About 35 µs without optimisation on two busy cores; the bound only catches a change of kind.
    let each = start.elapsed() / rounds;
    println!("{each:?} for each command line");
    assert!(each < std::time::Duration::from_micros(500), "{each:?}");
}
