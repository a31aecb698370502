//! Furniture for tests: a store of its own for each, in which a test runs a user's lines, and the
//! question whether anything is left of what was removed. Called by the tests under `tests/it`.
//!
//! What belongs to a sandbox is known in three ways, because a monitor's command line names no path:
//! its processes are in control groups named after the store, hold its paths in their environment,
//! or name the id of a container that was made in it. A process that left all that behind is found by
//! its namespaces.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test that cannot go on shall panic, and says what it skips"
)]

pub mod corpus;
mod debian;
pub mod s3;

pub use debian::debian;

use std::collections::BTreeSet;
use std::hash::{Hash, Hasher};
use std::io::{Read, Seek};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant};

/// Seconds for a script.
const LIMIT: &str = "150";
/// How long what is ending may take.
const SETTLE: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(50);
/// The length of a container's id.
const ID_LENGTH: usize = 64;

/// The binary under test: `CAISSON_BIN`, else the release build, else the debug build.
pub fn binary() -> PathBuf {
    if let Some(path) = std::env::var_os("CAISSON_BIN") {
        return path.into();
    }
    let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/x86_64-unknown-linux-gnu");
    ["release", "debug"]
        .iter()
        .map(|profile| target.join(profile).join("caisson"))
        .find(|path| path.exists())
        .expect("build the binary first: cargo build --release")
}

/// Whether there is a kernel to test on; where there is none this says so.
pub fn can_run() -> bool {
    let is_root = std::fs::metadata("/proc/self").is_ok_and(|metadata| metadata.uid() == 0);
    let can_run = is_root && Path::new("/sys/fs/cgroup").exists();
    if !can_run {
        println!("skipped: no kernel to test on without root");
    }
    can_run
}

/// A tar of busybox with its names, and users to look up; made once.
pub fn image() -> &'static Path {
    static IMAGE: OnceLock<PathBuf> = OnceLock::new();
    IMAGE.get_or_init(|| {
        // One for all runs on this machine; whoever makes it puts it there whole.
        let path = PathBuf::from("/var/tmp/caisson-it-busybox.tar");
        let script = r#"
            r=$(mktemp -d); mkdir -p $r/bin $r/etc $r/tmp $r/root $r/var/www; chmod 1777 $r/tmp
            cp "$(command -v busybox)" $r/bin/busybox
            for a in $($r/bin/busybox --list); do [ "$a" = busybox ] || ln -sf /bin/busybox $r/bin/$a; done
            printf 'root:x:0:0:root:/root:/bin/sh\nwww:x:33:33:www:/var/www:/bin/sh\n' > $r/etc/passwd
            printf 'root:x:0:\nwww:x:33:\nextra:x:44:www\n' > $r/etc/group
            tar -C $r -cf "$1.$$" . && mv "$1.$$" "$1"; rm -rf $r"#;
        let status = Command::new("bash").args(["-c", script, "bash"]).arg(&path).status().unwrap();
        assert!(status.success());
        path
    })
}

/// The program of `probe.c`, which looks at its confinement from inside; made once.
pub fn probe() -> &'static Path {
    static PROBE: OnceLock<PathBuf> = OnceLock::new();
    PROBE.get_or_init(|| {
        // One for all runs on this machine, as long as its source is the same.
        let source = include_str!("probe.c");
        let mut hasher = std::hash::DefaultHasher::new();
        source.hash(&mut hasher);
        let path = PathBuf::from(format!("/var/tmp/caisson-it-probe-{:x}", hasher.finish()));
        if !path.exists() {
            let made = path.with_extension(std::process::id().to_string());
            let compile = Command::new("cc")
                .args(["-static", "-O1", "-Wall", "-o"])
                .arg(&made)
                .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/src/probe.c"))
                .status()
                .unwrap();
            assert!(compile.success());
            std::fs::rename(&made, &path).unwrap();
        }
        path
    })
}

/// A store of its own. Scripts find the command as `caisson` and as `docker`, its place as
/// `$CAISSON_ROOT` and `$CAISSON_RUN_ROOT`, the image's archive as `$IMAGE`, a test program as
/// `$PROBE`, and `$N`, which keeps containers off the network.
#[derive(Debug)]
pub struct Sandbox {
    directory: tempfile::TempDir,
    /// A file system of its own beneath, for the store.
    disk: Option<PathBuf>,
    /// Containers that were made here.
    ids: Mutex<BTreeSet<String>>,
}

impl Sandbox {
    /// A store with the image `busybox`.
    pub fn new() -> Self {
        let sandbox = Self::empty();
        sandbox.import_busybox();
        sandbox
    }

    /// A store with the image `busybox` on a file system of its own, mounted on `disk` from the
    /// output of `mount`, such as `-t tmpfs -o size=8m tmpfs`.
    pub fn on_disk(mount: &str) -> Self {
        let mut sandbox = Self::empty();
        let disk = sandbox.path().join("disk");
        let output = sandbox.bash(&format!("mkdir disk && mount {mount} disk"));
        assert!(output.status.success(), "{}", text(&output.stderr));
        sandbox.disk = Some(disk);
        sandbox.import_busybox();
        sandbox
    }

    fn empty() -> Self {
        let directory = tempfile::Builder::new()
            .prefix("caisson-it.")
            .tempdir_in("/var/tmp")
            .unwrap();
        let bin = directory.path().join("bin");
        std::fs::create_dir(&bin).unwrap();
        for name in ["caisson", "docker"] {
            std::os::unix::fs::symlink(binary(), bin.join(name)).unwrap();
        }
        Self {
            directory,
            disk: None,
            ids: Mutex::default(),
        }
    }

    fn import_busybox(&self) {
        let import = "caisson import -c 'CMD [\"sh\"]' $IMAGE busybox:latest";
        let output = self.bash(import);
        assert!(output.status.success(), "{}", text(&output.stderr));
    }

    /// Where scripts run.
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    fn root(&self) -> PathBuf {
        self.disk.as_deref().unwrap_or(self.path()).join("root")
    }

    fn run_root(&self) -> PathBuf {
        self.path().join("run")
    }

    /// Runs a script to its end, or to the end of patience.
    pub fn bash(&self, script: &str) -> Output {
        let path = self.path();
        let bin = path.join("bin");
        // Files, not pipes: what a script left running would hold them open for ever.
        let said = [tempfile::tempfile().unwrap(), tempfile::tempfile().unwrap()];
        let [out, err] = said.each_ref().map(|file| file.try_clone().unwrap());
        // The nightly forms of some tests take longer.
        let limit = std::env::var("CAISSON_IT_LIMIT").unwrap_or_else(|_| LIMIT.to_owned());
        let status = Command::new("timeout")
            .args(["-k", "5", &limit, "bash", "-c", script])
            .current_dir(path)
            .env(
                "PATH",
                format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", bin.display()),
            )
            .env("N", "--network none")
            .env("IMAGE", image())
            .env("PROBE", probe())
            .env("CAISSON_ROOT", self.root())
            .env("CAISSON_RUN_ROOT", self.run_root())
            .stdin(Stdio::null())
            .stdout(out)
            .stderr(err)
            .status()
            .unwrap();
        self.learn_ids();
        let [stdout, stderr] = said.map(|mut file| {
            let mut bytes = Vec::new();
            file.rewind().unwrap();
            file.read_to_end(&mut bytes).unwrap();
            bytes
        });
        Output {
            status,
            stdout,
            stderr,
        }
    }

    /// The journal of events tells of every container, and the store of those that are there.
    fn learn_ids(&self) {
        let journal = std::fs::read(self.run_root().join("events")).unwrap_or_default();
        let mut ids = self.ids.lock().unwrap();
        for line in text(&journal).lines() {
            let is_id = |word: &&str| {
                word.len() == ID_LENGTH && word.bytes().all(|byte| byte.is_ascii_hexdigit())
            };
            ids.extend(line.split('"').filter(is_id).map(str::to_owned));
        }
        ids.extend(names_in(&self.root().join("containers")));
    }

    /// Removes all containers, and looks for what is left of them.
    ///
    /// # Errors
    /// The list of what is left, or why they could not be removed.
    pub fn finish(&self) -> Result<(), String> {
        self.learn_ids();
        // The kernel gives the number of a namespace that is gone to a new one, perhaps another test's.
        let (namespaces, since_boot) = (self.namespaces(), ticks_since_boot());
        let cleaned = self.bash("ids=$(caisson ps -aq); [ -z \"$ids\" ] || caisson rm -f $ids");
        if !cleaned.status.success() {
            return Err(text(&cleaned.stderr));
        }
        let begin = Instant::now();
        loop {
            let leaks = self.leaks(&namespaces, since_boot);
            if leaks.is_empty() {
                return Ok(());
            }
            if begin.elapsed() > SETTLE {
                return Err(format!("left behind: {leaks:#?}"));
            }
            std::thread::sleep(PAUSE);
        }
    }

    /// What is left of containers that are gone: processes, mounts, groups, files.
    fn leaks(&self, namespaces: &BTreeSet<PathBuf>, since_boot: u64) -> Vec<String> {
        let path = self.path().display().to_string();
        let mut found = Vec::new();
        for process in processes() {
            let reason = match self.is_ours(&process) {
                true => "process",
                false
                    if process.started <= since_boot
                        && process.namespaces().any(|name| namespaces.contains(&name)) =>
                {
                    "process in a namespace"
                }
                false => continue,
            };
            found.push(format!("{reason} {}: {}", process.pid, process.command));
        }
        let disk = self.disk.as_ref().map(|disk| disk.display().to_string());
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
        let ours = mounts.lines().filter(|line| {
            let place = line.split(' ').nth(4).map(str::to_owned);
            line.contains(&path) && place != disk
        });
        found.extend(ours.map(str::to_owned));
        for directory in ["tmp", "names", "containers"] {
            let directory = self.root().join(directory);
            let names = names_in(&directory).into_iter();
            found.extend(names.map(|name| directory.join(name).display().to_string()));
        }
        let directory = self.run_root().join("containers");
        let names = names_in(&directory).into_iter();
        found.extend(names.map(|name| directory.join(name).display().to_string()));
        found.extend(self.groups());
        found
    }

    fn is_ours(&self, process: &Process) -> bool {
        let path = self.path().display().to_string();
        let ids = self.ids.lock().unwrap();
        process.cgroup.contains(&self.cgroup_parent())
            || process.environment.contains(&path)
            || process.command.contains(&path)
            || process
                .command
                .split(' ')
                .any(|word| word.len() == ID_LENGTH && ids.contains(word))
    }

    /// Mount and network namespaces of containers that run.
    fn namespaces(&self) -> BTreeSet<PathBuf> {
        let hosts: Vec<PathBuf> = Process::read("self").unwrap().namespaces().collect();
        processes()
            .filter(|process| process.cgroup.contains(&self.cgroup_parent()))
            .flat_map(|process| process.namespaces().collect::<Vec<_>>())
            .filter(|namespace| !hosts.contains(namespace))
            .collect()
    }

    /// The name that the control groups of this store have, from its path.
    fn cgroup_parent(&self) -> String {
        let root = self.root();
        let bytes = root.as_os_str().as_encoded_bytes().iter();
        let hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
        });
        format!("caisson-{:08x}", hash as u32)
    }

    fn groups(&self) -> Vec<String> {
        let mut found = Vec::new();
        for hierarchy in names_in(Path::new("/sys/fs/cgroup")) {
            let ours = Path::new("/sys/fs/cgroup")
                .join(hierarchy)
                .join(self.cgroup_parent());
            let groups = names_in(&ours).into_iter();
            let groups = groups.filter(|name| name.len() == ID_LENGTH);
            found.extend(groups.map(|name| ours.join(name).display().to_string()));
            let _ = std::fs::remove_dir(ours.join("monitors"));
            let _ = std::fs::remove_dir(&ours);
        }
        found
    }
}

impl Default for Sandbox {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        // A failed test leaves nothing to the next one.
        let _ = self.bash("caisson rm -f $(caisson ps -aq) 2>/dev/null");
        if let Some(disk) = &self.disk {
            let _ = Command::new("umount").arg("-l").arg(disk).status();
        }
    }
}

/// Runs a script, then removes what it left running, then looks for leaks.
pub fn check(script: &str) {
    if can_run() {
        check_in(&Sandbox::new(), script);
    }
}

/// The same in a given store.
pub fn check_in(sandbox: &Sandbox, script: &str) {
    let output = sandbox.bash(script);
    let finished = sandbox.finish();
    assert!(
        output.status.success(),
        "{script}\n{:?}\n{}\n{}",
        output.status,
        text(&output.stdout),
        text(&output.stderr)
    );
    assert_eq!(finished, Ok(()), "{script}");
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Nothing where there is no such directory.
fn names_in(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    entries
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect()
}

/// What can be read of a process.
struct Process {
    pid: String,
    command: String,
    environment: String,
    cgroup: String,
    /// When, in ticks since the machine's start.
    started: u64,
}

impl Process {
    /// `None` where it is gone, or has ended and waits for its parent.
    fn read(pid: &str) -> Option<Self> {
        let file = |name: &str| {
            let bytes = std::fs::read(format!("/proc/{pid}/{name}")).unwrap_or_default();
            text(&bytes).replace('\0', " ")
        };
        let status = file("stat");
        let (_, state) = status.rsplit_once(") ")?;
        if state.starts_with(['Z', 'X']) {
            return None;
        }
        // The twenty-second of all fields; the first two are not among these.
        let started = state.split(' ').nth(19)?.parse().ok()?;
        Some(Self {
            started,
            pid: pid.to_owned(),
            command: file("cmdline"),
            environment: file("environ"),
            cgroup: file("cgroup"),
        })
    }

    fn namespaces(&self) -> impl Iterator<Item = PathBuf> {
        let links = ["mnt", "net"].map(|kind| format!("/proc/{}/ns/{kind}", self.pid));
        links
            .into_iter()
            .filter_map(|link| std::fs::read_link(link).ok())
    }
}

/// A hundred a second, whatever the kernel counts by.
fn ticks_since_boot() -> u64 {
    let uptime = std::fs::read_to_string("/proc/uptime").unwrap();
    let seconds: f64 = uptime.split(' ').next().unwrap().parse().unwrap();
    (seconds * 100.0) as u64
}

/// All processes but this one, whose scripts name a sandbox too.
fn processes() -> impl Iterator<Item = Process> {
    let own = std::process::id().to_string();
    names_in(Path::new("/proc"))
        .into_iter()
        .filter(|name| name.bytes().all(|byte| byte.is_ascii_digit()))
        .filter(move |name| *name != own)
        .filter_map(|pid| Process::read(&pid))
}
