//! Made-up trees for what is written where; below, the real kernel's hierarchies as root.

use std::io::Read;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::fake::Tree;
use super::*;

const MIB: i64 = 1024 * 1024;

fn everything() -> Resources {
    Resources {
        memory_bytes: 64 * MIB,
        memory_swap_bytes: 96 * MIB,
        memory_reservation_bytes: 32 * MIB,
        memory_swappiness: Some(10),
        oom_kill_disable: true,
        cpu_period_us: 50_000,
        cpu_quota_us: 25_000,
        cpu_shares: 2048,
        cpuset_cpus: "0".into(),
        cpuset_mems: "0".into(),
        pids_limit: 20,
        blkio_weight: 300,
        ..Resources::default()
    }
}

fn limits(resources: &Resources) -> Limits {
    plan(resources, Purpose::Create).unwrap()
}

#[test]
fn v2_gets_every_limit_in_its_own_units() {
    let tree = Tree::new("v2");
    let names = [
        "cgroup.procs",
        "memory.swap.max",
        "memory.max",
        "memory.low",
        "cpu.weight",
        "cpu.max",
        "cpuset.cpus",
        "cpuset.mems",
        "pids.max",
        "io.weight",
        "io.max",
    ];
    let files: Vec<_> = names.iter().map(|name| (*name, "")).collect();
    let controllers = ["cpu", "cpuset", "io", "memory", "pids"];
    let cgroup = tree.container(vec![tree.hierarchy("u", true, &controllers, &files)]);
    let mut limits = limits(&everything());
    limits.devices = vec![limits::DeviceLimit {
        kind: limits::DeviceLimitKind::WriteBytes,
        device: "8:0".into(),
        value: 1000,
    }];
    let mut warnings = Vec::new();
    cgroup
        .write_limits(&limits, Purpose::Create, &mut warnings)
        .unwrap();
    for (file, expected) in [
        ("memory.max", "67108864"),
        ("memory.swap.max", "33554432"),
        ("memory.low", "33554432"),
        ("cpu.max", "25000 50000"),
        ("cpu.weight", "174"),
        ("cpuset.cpus", "0"),
        ("cpuset.mems", "0"),
        ("pids.max", "20"),
        ("io.weight", "2930"),
        ("io.max", "8:0 wbps=1000"),
    ] {
        assert_eq!(tree.read(&format!("u/{file}")), expected, "{file}");
    }
    assert_eq!(warnings, [warning::OOM_KILL_DISABLE, warning::SWAPPINESS]);
    cgroup.attach(77).unwrap();
    assert_eq!(tree.read("u/cgroup.procs"), "77");
    cgroup.attach_cloned(78).unwrap();
    assert_eq!(tree.read("u/cgroup.procs"), "77");
    assert_eq!(
        cgroup.hierarchies(),
        [(String::new(), tree.path().join("u/p/c"))]
    );
    assert!(cgroup.clone_fd().is_some());
}

#[test]
fn v2_without_swap_accounting_warns_and_converts_on_update() {
    let tree = Tree::new("v2-swap");
    let files = [("memory.max", ""), ("memory.low", "")];
    let cgroup = tree.container(vec![tree.hierarchy("u", true, &["memory"], &files)]);
    let write = |resources: &Resources, purpose| {
        let mut warnings = Vec::new();
        let limits = plan(resources, purpose).unwrap();
        cgroup
            .write_limits(&limits, purpose, &mut warnings)
            .map(|()| warnings)
    };
    let asked = Resources {
        memory_bytes: 64 * MIB,
        ..Resources::default()
    };
    assert_eq!(write(&asked, Purpose::Create).unwrap(), [warning::SWAP]);
    // Memory and swap equal: no swap, which is so already.
    let equal = Resources {
        memory_swap_bytes: 64 * MIB,
        ..asked.clone()
    };
    assert!(write(&equal, Purpose::Create).unwrap().is_empty());

    let path = tree.path().join("u/p/c");
    std::fs::write(path.join("memory.swap.max"), "").unwrap();
    std::fs::write(path.join("memory.max"), "67108864\n").unwrap();
    let swap = Resources {
        memory_swap_bytes: 80 * MIB,
        ..Resources::default()
    };
    write(&swap, Purpose::Update).unwrap();
    assert_eq!(tree.read("u/memory.swap.max"), "16777216");
    let less = Resources {
        memory_swap_bytes: 10 * MIB,
        ..Resources::default()
    };
    assert!(
        write(&less, Purpose::Update)
            .unwrap_err()
            .to_string()
            .contains("memoryswap")
    );
    std::fs::write(path.join("memory.max"), "max\n").unwrap();
    let error = write(&swap, Purpose::Update).unwrap_err().to_string();
    assert!(error.contains("always set the Memory limit"), "{error}");
    let unlimited = Resources {
        memory_bytes: -1,
        ..Resources::default()
    };
    std::fs::write(path.join("memory.swap.max"), "").unwrap();
    write(&unlimited, Purpose::Update).unwrap();
    assert_eq!(tree.read("u/memory.swap.max"), "max");
}

#[test]
fn v1_gets_every_limit_in_its_own_files() {
    let tree = Tree::new("v1");
    let memory = [
        "memory.limit_in_bytes",
        "memory.memsw.limit_in_bytes",
        "memory.soft_limit_in_bytes",
        "memory.oom_control",
        "memory.swappiness",
    ]
    .map(|name| (name, ""));
    let cpu = ["cpu.shares", "cpu.cfs_period_us", "cpu.cfs_quota_us"].map(|name| (name, ""));
    let cgroup = tree.container(vec![
        tree.hierarchy("memory", false, &["memory"], &memory),
        tree.hierarchy("cpu,cpuacct", false, &["cpu", "cpuacct"], &cpu),
        tree.hierarchy("pids", false, &["pids"], &[("pids.max", "")]),
        tree.hierarchy("blkio", false, &["blkio"], &[("blkio.bfq.weight", "")]),
    ]);
    let mut warnings = Vec::new();
    cgroup
        .write_limits(&limits(&everything()), Purpose::Create, &mut warnings)
        .unwrap();
    assert!(warnings.is_empty(), "{warnings:?}");
    for (file, expected) in [
        ("memory/memory.limit_in_bytes", "67108864"),
        ("memory/memory.memsw.limit_in_bytes", "100663296"),
        ("memory/memory.soft_limit_in_bytes", "33554432"),
        ("memory/memory.oom_control", "1"),
        ("memory/memory.swappiness", "10"),
        ("cpu,cpuacct/cpu.shares", "2048"),
        ("cpu,cpuacct/cpu.cfs_period_us", "50000"),
        ("cpu,cpuacct/cpu.cfs_quota_us", "25000"),
        ("pids/pids.max", "20"),
        ("blkio/blkio.bfq.weight", "300"),
    ] {
        assert_eq!(tree.read(file), expected, "{file}");
    }
    let names: Vec<_> = cgroup
        .hierarchies()
        .into_iter()
        .map(|(name, _)| name)
        .collect();
    assert_eq!(names, ["memory", "cpu,cpuacct", "pids", "blkio"]);
    assert!(cgroup.clone_fd().is_none());
}

#[test]
fn what_v1_lacks_is_said_in_dockers_words() {
    let tree = Tree::new("v1-lacks");
    let cgroup = tree.container(vec![
        tree.hierarchy(
            "memory",
            false,
            &["memory"],
            &[("memory.limit_in_bytes", "")],
        ),
        tree.hierarchy("blkio", false, &["blkio"], &[]),
    ]);
    let mut warnings = Vec::new();
    let mut limits = limits(&everything());
    limits.devices = vec![limits::DeviceLimit {
        kind: limits::DeviceLimitKind::ReadOperations,
        device: "8:0".into(),
        value: 5,
    }];
    cgroup
        .write_limits(&limits, Purpose::Create, &mut warnings)
        .unwrap();
    assert_eq!(
        warnings,
        [
            warning::SWAP,
            warning::RESERVATION,
            warning::OOM_KILL_DISABLE,
            warning::SWAPPINESS,
            warning::BLKIO_WEIGHT,
            warning::BLKIO_READ_IOPS,
        ]
    );
}

#[test]
fn a_new_v1_group_has_the_processors_of_its_parent() {
    let tree = Tree::new("cpuset");
    let files = [("cpuset.cpus", "\n"), ("cpuset.mems", "\n")];
    let hierarchy = tree.hierarchy("cpuset", false, &["cpuset"], &files);
    let base = tree.path().join("cpuset");
    for (directory, cpus, mems) in [
        (base.clone(), "0-3\n", "0-1\n"),
        (base.join("p"), "\n", "\n"),
    ] {
        std::fs::write(directory.join("cpuset.cpus"), cpus).unwrap();
        std::fs::write(directory.join("cpuset.mems"), mems).unwrap();
    }
    tree.container(vec![hierarchy]);
    assert_eq!(tree.read("cpuset/cpuset.cpus").trim(), "0-3");
    assert_eq!(tree.read("cpuset/cpuset.mems").trim(), "0-1");
}

#[test]
fn v2_controllers_are_enabled_on_every_level_above() {
    let tree = Tree::new("enable");
    let hierarchy = tree.hierarchy(
        "u",
        true,
        &["cpu", "pids"],
        &[("cgroup.controllers", "cpu\n")],
    );
    tree.container(vec![hierarchy]);
    for level in ["u", "u/p"] {
        let path = tree.path().join(level).join("cgroup.subtree_control");
        assert_eq!(
            std::fs::read_to_string(path).unwrap(),
            "+cpu +pids",
            "{level}"
        );
    }
    assert_eq!(tree.read("u/cgroup.subtree_control"), "");
}

#[test]
fn usage_is_counted_as_docker_stats_does() {
    let tree = Tree::new("stats");
    let v1 = tree.container(vec![
        tree.hierarchy(
            "memory",
            false,
            &["memory"],
            &[
                ("memory.usage_in_bytes", "1000\n"),
                (
                    "memory.stat",
                    "cache 5\ntotal_inactive_file 300\ninactive_file 1\n",
                ),
                ("memory.limit_in_bytes", "9223372036854771712\n"),
                (
                    "memory.oom_control",
                    "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n",
                ),
            ],
        ),
        tree.hierarchy(
            "cpuacct",
            false,
            &["cpuacct"],
            &[
                ("cpuacct.usage", "50\n"),
                ("cpuacct.usage_user", "30\n"),
                ("cpuacct.usage_sys", "20\n"),
            ],
        ),
        tree.hierarchy(
            "pids",
            false,
            &["pids"],
            &[("pids.current", "3\n"), ("pids.max", "max\n")],
        ),
        tree.hierarchy(
            "blkio",
            false,
            &["blkio"],
            &[(
                "blkio.throttle.io_service_bytes_recursive",
                "8:0 Read 10\n8:0 Write 20\n8:0 Total 30\n8:16 Read 5\nTotal 35\n",
            )],
        ),
    ]);
    let expected = CgroupStats {
        cpu_total_ns: 50,
        cpu_user_ns: 30,
        cpu_system_ns: 20,
        memory_usage_bytes: 700,
        pids_current: 3,
        blkio_read_bytes: 15,
        blkio_write_bytes: 20,
        ..CgroupStats::default()
    };
    assert_eq!(v1.stats().unwrap(), expected);
    assert_eq!(v1.oom_kill_count(), 2);

    let v2 = tree.container(vec![tree.hierarchy(
        "u",
        true,
        &["cpu", "io", "memory", "pids"],
        &[
            (
                "cpu.stat",
                "usage_usec 5\nuser_usec 3\nsystem_usec 2\nnr_throttled 4\nthrottled_usec 9\n",
            ),
            ("memory.current", "1000\n"),
            ("memory.stat", "anon 1\ninactive_file 2000\n"),
            ("memory.max", "4096\n"),
            (
                "memory.events",
                "low 0\noom 3\noom_kill 1\noom_group_kill 0\n",
            ),
            ("pids.current", "3\n"),
            ("pids.max", "7\n"),
            (
                "io.stat",
                "8:0 rbytes=10 wbytes=20 rios=1 wios=2 dbytes=0 dios=0\n8:16 rbytes=1 wbytes=2\n",
            ),
        ],
    )]);
    let expected = CgroupStats {
        cpu_total_ns: 5000,
        cpu_user_ns: 3000,
        cpu_system_ns: 2000,
        throttled_periods: 4,
        throttled_ns: 9000,
        // More inactive than in use: the counters are not of one moment.
        memory_usage_bytes: 1000,
        memory_limit_bytes: Some(4096),
        pids_current: 3,
        pids_limit: Some(7),
        blkio_read_bytes: 11,
        blkio_write_bytes: 22,
    };
    assert_eq!(v2.stats().unwrap(), expected);
    assert_eq!(v2.oom_kill_count(), 1);
}

#[test]
fn a_limit_without_its_controller_is_an_error_that_names_it() {
    let tree = Tree::new("lacks");
    let layout = Layout {
        hierarchies: vec![tree.hierarchy("pids", false, &["pids"], &[])],
    };
    let check = |resources: &Resources| layout.require_controllers(&limits(resources));
    for (resources, flag) in [
        (
            Resources {
                memory_bytes: 64 * MIB,
                ..Resources::default()
            },
            "--memory",
        ),
        (
            Resources {
                cpu_shares: 5,
                ..Resources::default()
            },
            "--cpu-shares",
        ),
        (
            Resources {
                cpuset_cpus: "0".into(),
                ..Resources::default()
            },
            "--cpuset-cpus",
        ),
        (
            Resources {
                blkio_weight: 500,
                ..Resources::default()
            },
            "--blkio-weight",
        ),
    ] {
        let error = check(&resources).unwrap_err().to_string();
        assert!(
            error.contains(flag) && error.contains("is not available"),
            "{error}"
        );
    }
    check(&Resources {
        pids_limit: 5,
        ..Resources::default()
    })
    .unwrap();
}

#[test]
fn paths_are_plain_names() {
    for (parent, id, expected) in [
        ("", "c", Some("caisson/c")),
        ("/a//b/", "c", Some("a/b/c")),
        ("..", "c", None),
        ("a/../b", "c", None),
        ("a", "", None),
        ("a", "..", None),
        ("a", "b/c", None),
        ("a\n", "c", None),
        ("/", "c", None),
    ] {
        let place = Place::parse(parent, id).ok().map(|place| place.path);
        assert_eq!(place.as_deref(), expected, "{parent:?} {id:?}");
    }
    let long = "x/".repeat(PATH_BYTES_MAX);
    assert!(Place::parse(&long, "c").is_err());
    assert_eq!(prefixes("a/b/c").collect::<Vec<_>>(), ["a", "a/b", "a/b/c"]);
}

// The real kernel, as root: each test has a parent of its own and removes it.

fn create(
    parent: &str,
    id: &str,
    resources: &Resources,
    rules: &DeviceRules,
) -> Result<(ContainerCgroup, Vec<String>), CgroupError> {
    let mut begun = Layout::detect()
        .unwrap()
        .begin(parent, id, resources, rules)?;
    let told = begun.hierarchies();
    let finished = begun.finish();
    let mut cgroup = begun.into_cgroup();
    if finished.is_err() {
        cgroup.remove().unwrap();
    }
    let made = (cgroup, finished?);
    assert_eq!(told, made.0.hierarchies(), "what the process was told");
    Ok(made)
}

/// A parent of this test; its directories and processes are gone with this value.
struct Real {
    parent: String,
}

impl Real {
    /// `None` where groups cannot be made here.
    fn new(name: &str) -> Option<Self> {
        let usable = rustix::process::geteuid().is_root() && Layout::detect().is_ok();
        if !usable {
            println!("skipped: needs root and a writable cgroup file system");
            return None;
        }
        Some(Self {
            parent: format!("caisson-test-{name}-{}", std::process::id()),
        })
    }

    fn create(&self, id: &str, resources: &Resources) -> ContainerCgroup {
        self.create_with(id, resources, &DeviceRules::default()).0
    }

    fn create_with(
        &self,
        id: &str,
        resources: &Resources,
        rules: &DeviceRules,
    ) -> (ContainerCgroup, Vec<String>) {
        create(&self.parent, id, resources, rules).unwrap()
    }

    /// Directories of this parent that exist.
    fn left(&self) -> Vec<String> {
        let layout = Layout::detect().unwrap();
        let paths = layout
            .hierarchies
            .iter()
            .filter_map(|one| one.root.open_at(&self.parent).ok());
        paths
            .map(|directory| directory.path().display().to_string())
            .collect()
    }
}

impl Drop for Real {
    fn drop(&mut self) {
        let Ok(layout) = Layout::detect() else { return };
        for hierarchy in &layout.hierarchies {
            let Ok(parent) = hierarchy.root.open_at(&self.parent) else {
                continue;
            };
            for id in parent.children().unwrap_or_default() {
                if let Ok(mut cgroup) = ContainerCgroup::open(&self.parent, &id) {
                    let _ = cgroup.kill_all();
                    let _ = cgroup.remove();
                }
            }
        }
        let _ = layout.remove_parent(&self.parent);
        if !std::thread::panicking() {
            assert_eq!(self.left(), Vec::<String>::new());
        }
    }
}

/// A shell that waits for its group before it runs `script`.
struct Shell(Child);

impl Shell {
    fn start(script: &str) -> Self {
        let child = Command::new("sh")
            .args(["-c", &format!("read go; {script}")])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn();
        Self(child.unwrap())
    }

    fn pid(&self) -> i32 {
        self.0.id() as i32
    }

    fn go(&mut self) {
        use std::io::Write;
        self.0.stdin.as_mut().unwrap().write_all(b"\n").unwrap();
    }

    fn code(&mut self) -> Option<i32> {
        self.0.wait().unwrap().code()
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !condition() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn a_real_group_limits_holds_and_leaves_nothing() {
    let Some(real) = Real::new("life") else {
        return;
    };
    let resources = Resources {
        memory_bytes: 64 * MIB,
        pids_limit: 4,
        nano_cpus: 500_000_000,
        cpu_shares: 512,
        cpuset_cpus: "0".into(),
        ..Resources::default()
    };
    let mut cgroup = real.create("c1", &resources);
    let mut shell = Shell::start("for i in 1 2 3 4 5 6 7 8; do sleep 30 & done; wait");
    cgroup.attach(shell.pid()).unwrap();
    let own = std::fs::read_to_string(format!("/proc/{}/cgroup", shell.pid())).unwrap();
    for line in own.lines().filter(|line| !line.contains("name=")) {
        assert!(line.ends_with(&format!("/{}/c1", real.parent)), "{line}");
    }
    let affinity = std::fs::read_to_string(format!("/proc/{}/status", shell.pid())).unwrap();
    assert!(affinity.contains("Cpus_allowed_list:\t0\n"), "{affinity}");
    assert_eq!(cgroup.pids().unwrap(), [shell.pid()]);
    assert!(!cgroup.is_empty());

    shell.go();
    // The shell and three of its eight: dash gives up at the first fork that fails.
    wait_until("the limit is reached", || {
        cgroup.stats().unwrap().pids_current >= 3
    });
    let stats = cgroup.stats().unwrap();
    assert!(
        stats.pids_current <= 4 && stats.pids_limit == Some(4),
        "{stats:?}"
    );
    assert_eq!(stats.memory_limit_bytes, Some(64 * MIB as u64));
    assert!(
        stats.cpu_total_ns > 0 && stats.memory_usage_bytes > 0,
        "{stats:?}"
    );

    let opened = ContainerCgroup::open(&real.parent, "c1").unwrap();
    let sorted = |mut paths: Vec<std::path::PathBuf>| {
        paths.sort();
        paths
    };
    assert_eq!(sorted(opened.paths()), sorted(cgroup.paths()));
    opened.kill_all().unwrap();
    // Killed, unless it had given up by itself on the failed fork.
    let code = shell.code();
    assert!(matches!(code, None | Some(2)), "{code:?}");
    wait_until("all are gone", || opened.is_empty());
    cgroup.remove().unwrap();
    cgroup.remove().unwrap();
    assert!(opened.is_empty());
    assert!(matches!(
        ContainerCgroup::open(&real.parent, "c1"),
        Err(CgroupError::Missing(_))
    ));
}

#[test]
fn a_real_group_freezes_thaws_and_is_killed_while_frozen() {
    let Some(real) = Real::new("freeze") else {
        return;
    };
    let cgroup = real.create("c1", &Resources::default());
    let mut shell = Shell::start("while :; do echo x; done");
    cgroup.attach(shell.pid()).unwrap();
    shell.go();
    let mut output = shell.0.stdout.take().unwrap();
    let mut buffer = [0u8; 65536];
    assert!(output.read(&mut buffer).unwrap() > 0);
    cgroup.freeze().unwrap();
    // Frozen: the processor time stands still.
    let before = cgroup.stats().unwrap().cpu_total_ns;
    while rustix::io::ioctl_fionread(&output).unwrap() > 0 {
        let _ = output.read(&mut buffer).unwrap();
    }
    std::thread::sleep(Duration::from_millis(30));
    assert_eq!(cgroup.stats().unwrap().cpu_total_ns, before);
    cgroup.thaw().unwrap();
    assert!(output.read(&mut buffer).unwrap() > 0);
    cgroup.freeze().unwrap();
    cgroup.kill_all().unwrap();
    assert_eq!(shell.code(), None);
    wait_until("all are gone", || cgroup.is_empty());
    let killed = cgroup.attach(std::process::id() as i32);
    if cgroup.killed_for_test() {
        assert!(matches!(killed, Err(CgroupError::Killed(_))), "{killed:?}");
        assert!(cgroup.clone_fd().is_none());
    }
}

#[test]
fn a_real_fork_bomb_is_killed_whole() {
    let Some(real) = Real::new("bomb") else {
        return;
    };
    for v1_only in [false, true] {
        let resources = Resources {
            pids_limit: 200,
            ..Resources::default()
        };
        let mut cgroup = real.create("c1", &resources);
        if v1_only {
            cgroup.forget_unified_for_test();
        }
        // A bomb that can grow no more may fall in by itself: its first shell stays.
        let mut shell = Shell::start("b() { b & b & wait; }; b; while :; do :; done");
        cgroup.attach(shell.pid()).unwrap();
        shell.go();
        wait_until("it grows", || cgroup.stats().unwrap().pids_current > 100);
        cgroup.kill_all().unwrap();
        assert_eq!(shell.code(), None);
        // Zombies without a living parent belong to process 1 until that reaps them.
        cgroup.remove().unwrap();
        if let Ok(mut rest) = ContainerCgroup::open(&real.parent, "c1") {
            rest.remove().unwrap();
        }
    }
}

#[test]
fn a_real_memory_limit_kills_and_tells() {
    let Some(real) = Real::new("oom") else { return };
    let resources = Resources {
        memory_bytes: 16 * MIB,
        memory_swap_bytes: 16 * MIB,
        ..Resources::default()
    };
    let cgroup = real.create("c1", &resources);
    let event = cgroup.oom_event_fd().unwrap().unwrap();
    assert_eq!(cgroup.oom_kill_count(), 0);
    // A single line that grows in the shell's own memory.
    let mut shell = Shell::start("exec tail /dev/zero");
    cgroup.attach(shell.pid()).unwrap();
    shell.go();
    let deadline = rustix::event::Timespec {
        tv_sec: 20,
        tv_nsec: 0,
    };
    let mut polled = [rustix::event::PollFd::new(
        &event,
        rustix::event::PollFlags::IN,
    )];
    assert_eq!(rustix::event::poll(&mut polled, Some(&deadline)), Ok(1));
    assert_eq!(shell.code(), None);
    assert!(cgroup.oom_kill_count() > 0);
    let mut buffer = [0u8; 64];
    assert!(rustix::io::read(&event, &mut buffer).unwrap() >= 8);
    assert!(
        rustix::io::read(&event, &mut buffer).is_err(),
        "it is read empty"
    );
}

#[test]
fn real_limits_are_changed_in_the_order_the_kernel_wants() {
    let Some(real) = Real::new("update") else {
        return;
    };
    let resources = Resources {
        memory_bytes: 64 * MIB,
        ..Resources::default()
    };
    let cgroup = real.create("c1", &resources);
    let memory = || cgroup.stats().unwrap().memory_limit_bytes;
    for (memory_bytes, memory_swap_bytes) in [
        (256 * MIB, 512 * MIB),
        (32 * MIB, 64 * MIB),
        (128 * MIB, -1),
        (-1, 0),
    ] {
        let update = Resources {
            memory_bytes,
            memory_swap_bytes,
            ..Resources::default()
        };
        cgroup.update(&update).unwrap();
        let expected = (memory_bytes > 0).then_some(memory_bytes as u64);
        assert_eq!(memory(), expected, "{memory_bytes} {memory_swap_bytes}");
    }
    cgroup
        .update(&Resources {
            memory_bytes: 32 * MIB,
            memory_swap_bytes: 64 * MIB,
            ..Resources::default()
        })
        .unwrap();
    let above = Resources {
        memory_bytes: 100 * MIB,
        ..Resources::default()
    };
    let error = cgroup.update(&above).unwrap_err().to_string();
    assert!(
        error.contains("smaller than already set memoryswap limit"),
        "{error}"
    );
    assert_eq!(memory(), Some(32 * MIB as u64));
    let pids = |limit| Resources {
        pids_limit: limit,
        ..Resources::default()
    };
    for (limit, expected) in [(7, Some(7)), (0, Some(7)), (-1, None)] {
        cgroup.update(&pids(limit)).unwrap();
        assert_eq!(cgroup.stats().unwrap().pids_limit, expected);
    }
    let cpus = |list: &str| Resources {
        cpuset_cpus: list.into(),
        ..Resources::default()
    };
    let error = cgroup.update(&cpus("0,999")).unwrap_err().to_string();
    assert!(
        error.starts_with("Requested CPUs are not available - requested 0,999"),
        "{error}"
    );
}

#[test]
fn real_device_rules_allow_dockers_list_and_no_more() {
    let Some(real) = Real::new("devices") else {
        return;
    };
    let script = "exec 2>/dev/null; true </dev/null || exit 2; true </dev/zero || exit 3; \
                  (true </dev/kmsg) && exit 4; (true </dev/mem) && exit 5; exit 0";
    let run = |cgroup: &ContainerCgroup, script: &str| {
        let mut shell = Shell::start(script);
        cgroup.attach(shell.pid()).unwrap();
        shell.go();
        shell.code()
    };
    assert_eq!(
        run(&real.create("c1", &Resources::default()), script),
        Some(0)
    );
    let extra = DeviceRules {
        all: false,
        extra: vec!["c 1:11 r".into()],
    };
    let (cgroup, _) = real.create_with("c2", &Resources::default(), &extra);
    assert_eq!(run(&cgroup, script), Some(4));
    let all = DeviceRules {
        all: true,
        extra: Vec::new(),
    };
    let (cgroup, _) = real.create_with("c3", &Resources::default(), &all);
    assert_eq!(run(&cgroup, script), Some(4));
}

#[test]
fn a_real_v2_group_enforces_the_device_program() {
    let Some(real) = Real::new("bpf") else { return };
    let cgroup = real.create("c1", &Resources::default());
    let Some(unified) = cgroup.unified_for_test() else {
        println!("skipped: no cgroup2 mount");
        return;
    };
    let rules = DeviceRules {
        all: false,
        extra: vec!["c 1:11 w".into()],
    };
    rules.attach_v2(unified).unwrap();
    let mut shell = Shell::start(
        "exec 2>/dev/null; true </dev/null || exit 2; (true </dev/kmsg) && exit 3; \
         (true >/dev/kmsg) || exit 4; exit 0",
    );
    // Only into v2: v1's rules would answer first.
    unified
        .write("cgroup.procs", &shell.pid().to_string())
        .unwrap();
    shell.go();
    assert_eq!(shell.code(), Some(0));
}

#[test]
fn a_real_leftover_is_replaced_unless_it_is_in_use() {
    let Some(real) = Real::new("leftover") else {
        return;
    };
    let first = real.create(
        "c1",
        &Resources {
            pids_limit: 5,
            ..Resources::default()
        },
    );
    drop(first);
    let second = real.create("c1", &Resources::default());
    assert_eq!(second.stats().unwrap().pids_limit, None);
    // A group of the container's own beneath it goes too.
    for path in second.paths() {
        std::fs::create_dir(path.join("inner")).unwrap();
    }
    let third = real.create("c1", &Resources::default());
    let shell = Shell::start("sleep 30");
    third.attach(shell.pid()).unwrap();
    let none = (Resources::default(), DeviceRules::default());
    let again = create(&real.parent, "c1", &none.0, &none.1);
    assert!(matches!(again, Err(CgroupError::InUse(_))), "{again:?}");
    third.kill_all().unwrap();
}

#[test]
fn a_real_refused_limit_leaves_nothing() {
    let Some(real) = Real::new("refused") else {
        return;
    };
    let create = |resources: Resources, rules: DeviceRules| {
        let result = create(&real.parent, "c1", &resources, &rules);
        let error = result.unwrap_err().to_string();
        assert!(ContainerCgroup::open(&real.parent, "c1").is_err());
        error
    };
    let cpus = Resources {
        cpuset_cpus: "4000".into(),
        ..Resources::default()
    };
    let error = create(cpus, DeviceRules::default());
    assert!(
        error.contains("Requested CPUs are not available"),
        "{error}"
    );
    let rules = DeviceRules {
        all: false,
        extra: vec!["c 1:3".into()],
    };
    assert!(create(Resources::default(), rules).contains("invalid device cgroup rule format"));
}

#[test]
fn real_groups_are_made_and_joined_quickly() {
    let Some(real) = Real::new("speed") else {
        return;
    };
    let mut best = Duration::MAX;
    for round in 0..20 {
        let shell = Shell::start("true");
        let begin = Instant::now();
        let (mut cgroup, _) = real.create_with(
            &format!("c{round}"),
            &Resources::default(),
            &DeviceRules::default(),
        );
        let made = begin.elapsed();
        cgroup.attach(shell.pid()).unwrap();
        let joined = begin.elapsed();
        best = best.min(joined);
        if round == 19 {
            println!("made {made:?}, joined {joined:?}, best {best:?}");
        }
        drop(shell);
        cgroup.remove().unwrap();
    }
    // A tenth of this is usual; a busy machine must not fail the test.
    assert!(best < Duration::from_millis(20), "{best:?}");
}
