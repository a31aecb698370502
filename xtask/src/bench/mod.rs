//! Us and the peers in one run, taking turns; medians and minimums into docs/benchmarks.md.

mod building;
mod composing;
mod network;
mod sharing;
mod tools;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use crate::house::{cargo, release_binary, root};
use crate::packages::{self, is_there};
use tools::Tool;

/// How much is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Extent {
    /// A few minutes.
    Quick,
    /// With 1,000 containers at once.
    Full,
    /// Containers alone, without the thousand, and the page is not written.
    Containers,
    /// Networks alone, and the page is not written.
    Network,
    /// Pushes, pulls and registries alone, and the page is not written.
    Sharing,
    /// Builds alone, and the page is not written.
    Build,
    /// Compose alone, and the page is not written.
    Compose,
}

const ROUNDS: usize = 25;
/// Peers that need a tenth of a second and more are asked less often.
const SLOW_ROUNDS: usize = 5;
const SETTLE_TIME: Duration = Duration::from_secs(5);
const MANY: usize = 50;
const THOUSAND: usize = 1000;

struct Bench {
    scratch: PathBuf,
    ours: Tool,
    peers: Vec<Tool>,
    table: String,
}

/// Measures, and writes the page.
pub(crate) fn command(extent: Extent) -> anyhow::Result<()> {
    packages::install()?;
    let status = cargo().args(["build", "--release", "--quiet"]).status()?;
    if !status.success() {
        bail!("the release build ended with {status}");
    }
    let scratch = PathBuf::from(format!("/var/tmp/caisson-bench.{}", std::process::id()));
    let mut bench = Bench {
        ours: Tool::caisson(release_binary()?, &scratch),
        peers: [Tool::docker(), Tool::podman(&scratch)]
            .into_iter()
            .flatten()
            .collect(),
        scratch,
        table: String::new(),
    };
    let outcome = bench.everything(extent);
    bench.clean();
    let page = bench.page(extent);
    print!("{page}");
    outcome?;
    if !matches!(extent, Extent::Quick | Extent::Full) {
        return Ok(());
    }
    std::fs::write(root().join("docs/benchmarks.md"), page)
        .context("cannot write docs/benchmarks.md")
}

/// Waits until what was imported is on the disk: writing it slows whoever makes files, and of those that
/// take turns only some do.
fn settle() {
    let _ = Command::new("sync").status();
    std::thread::sleep(SETTLE_TIME);
}

impl Bench {
    fn page(&self, extent: Extent) -> String {
        let argument = match extent {
            Extent::Full => " full",
            Extent::Quick => "",
            Extent::Containers => " containers",
            Extent::Network => " network",
            Extent::Sharing => " sharing",
            Extent::Build => " build",
            Extent::Compose => " compose",
        };
        let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
        let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        format!(
            "# Benchmarks\n\n\
             Made by `cargo xtask bench{argument}`, which measures everything that is installed in one run, \
             taking turns: {processors} processors, Linux {}, load at the end {}. Milliseconds. Ratios \
             within one run count, not the numbers; `×` is how many times as long as us, below 1 we \
             lose.\n\n\
             | job | what | median | minimum | × |\n|---|---|---|---|---|\n{}",
            kernel.trim(),
            load.split(' ').next().unwrap_or_default(),
            self.table
        )
    }

    fn row(&mut self, job: &str, what: &str, times: &[f64], ours: Option<f64>) -> f64 {
        let mut times = times.to_vec();
        times.sort_by(f64::total_cmp);
        let median = times[times.len() / 2];
        let ratio = ours.map_or(String::new(), |ours| format!("{:.2}", median / ours));
        let _ = writeln!(
            self.table,
            "| {job} | {what} | {median:.2} | {:.2} | {ratio} |",
            times[0]
        );
        median
    }

    fn note(&mut self, job: &str, what: &str, value: &str) {
        let _ = writeln!(self.table, "| {job} | {what} | {value} | | |");
    }

    fn everything(&mut self, extent: Extent) -> anyhow::Result<()> {
        let tree = make_tree(&self.scratch)?;
        let archive = self.scratch.join("busybox.tar");
        run(Command::new("tar")
            .arg("-C")
            .arg(&tree)
            .arg("-cf")
            .arg(&archive)
            .arg("."))?;
        let archive = archive.display().to_string();
        run(&mut self.ours.command(&["import", &archive, "busybox:latest"]))?;
        // A peer that does not work on this machine is left out, not waited for.
        self.peers.retain(|peer| {
            let imported = run(&mut peer.command(&["import", &archive, "busybox:latest"]));
            let runs = imported.and_then(|()| run(&mut peer.command(&RUN)));
            if let Err(error) = &runs {
                eprintln!("{} is left out: {error:#}", peer.name);
            }
            runs.is_ok()
        });
        match extent {
            Extent::Network => return network::measure(self),
            Extent::Sharing => return sharing::measure(self),
            Extent::Build => return building::measure(self),
            Extent::Compose => return composing::measure(self),
            Extent::Quick | Extent::Full | Extent::Containers => {}
        }
        settle();
        self.run(&tree)?;
        self.bridged()?;
        self.exec()?;
        self.many(MANY)?;
        if extent == Extent::Full {
            self.thousand()?;
        }
        if extent == Extent::Containers {
            return Ok(());
        }
        network::measure(self)?;
        building::measure(self)?;
        composing::measure(self)?;
        sharing::measure(self)
    }

    /// The same on the default network, in turns with our own without one; and stop and rm.
    fn bridged(&mut self) -> anyhow::Result<()> {
        const JOB: &str = "`run --rm busybox true` on the default network";
        const STOP: &str = "`rm -f` of a container on the default network";
        const BRIDGED: [&str; 4] = ["run", "--rm", "busybox", "true"];
        let (mut own, mut without, mut stops) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            own.push(timed(&mut self.ours.command(&BRIDGED))?);
            without.push(timed(&mut self.ours.command(&RUN))?);
        }
        for _ in 0..ROUNDS {
            let sleep = ["run", "-d", "--name", "placed", "busybox", "sleep", "99"];
            run(&mut self.ours.command(&sleep))?;
            stops.push(timed(&mut self.ours.command(&["rm", "-f", "placed"]))?);
        }
        let ours = self.row(JOB, "caisson", &own, None);
        self.row(JOB, "caisson without a network", &without, Some(ours));
        self.slow_peers(JOB, Some(ours), |peer| timed(&mut peer.command(&BRIDGED)))?;
        self.row(STOP, "caisson", &stops, None);
        Ok(())
    }

    fn run(&mut self, tree: &Path) -> anyhow::Result<()> {
        const JOB: &str = "`run --rm --network none busybox true`";
        let root = tree.display().to_string();
        let bwrap = [
            "--unshare-all",
            "--bind",
            &root,
            "/",
            "--proc",
            "/proc",
            "--dev",
            "/dev",
            "true",
        ];
        let bundle = match is_there("runc") {
            true => tools::bundle(&self.scratch, tree).ok(),
            false => None,
        };
        let (mut own, mut sandbox, mut bare) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            own.push(timed(&mut self.ours.command(&RUN))?);
            sandbox.push(timed(Command::new("bwrap").args(bwrap))?);
        }
        // Apart from the two above: what runc leaves to the kernel slows whoever comes next.
        for _ in 0..ROUNDS {
            if let Some(bundle) = &bundle {
                let mut command = Command::new("runc");
                command
                    .arg("run")
                    .arg("--bundle")
                    .arg(bundle)
                    .arg("caisson-bench-bare");
                bare.extend(timed(&mut command).ok());
            }
        }
        let ours = self.row(JOB, "caisson", &own, None);
        self.row(
            JOB,
            "bwrap, the same namespaces, no store",
            &sandbox,
            Some(ours),
        );
        if !bare.is_empty() {
            self.row(JOB, "runc, a bare bundle", &bare, Some(ours));
        }
        self.slow_peers(JOB, Some(ours), |peer| timed(&mut peer.command(&RUN)))
    }

    fn slow_peers(
        &mut self,
        job: &str,
        ours: Option<f64>,
        measure: impl Fn(&Tool) -> anyhow::Result<f64>,
    ) -> anyhow::Result<()> {
        self.every_peer(job, SLOW_ROUNDS, ours, |peer, _| measure(peer))
    }

    /// `measure` is told which round it is.
    fn every_peer(
        &mut self,
        job: &str,
        rounds: usize,
        ours: Option<f64>,
        measure: impl Fn(&Tool, usize) -> anyhow::Result<f64>,
    ) -> anyhow::Result<()> {
        for index in 0..self.peers.len() {
            let peer = &self.peers[index];
            let name = peer.name;
            let times: Result<Vec<f64>, _> =
                (0..rounds).map(|round| measure(peer, round)).collect();
            self.row(job, name, &times?, ours);
        }
        Ok(())
    }

    fn exec(&mut self) -> anyhow::Result<()> {
        const JOB: &str = "`exec CTR true`";
        const EXEC: [&str; 3] = ["exec", "caisson-bench", "true"];
        for tool in std::iter::once(&self.ours).chain(&self.peers) {
            run(&mut detached(tool, "caisson-bench"))?;
        }
        let pid = self
            .ours
            .line(&["inspect", "-f", "{{.State.Pid}}", "caisson-bench"])?;
        let (mut own, mut joined) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            own.push(timed(&mut self.ours.command(&EXEC))?);
            joined.push(timed(
                Command::new("nsenter").args(["-t", &pid, "-a", "true"]),
            )?);
        }
        let ours = self.row(JOB, "caisson", &own, None);
        self.row(JOB, "nsenter", &joined, Some(ours));
        self.slow_peers(JOB, Some(ours), |peer| timed(&mut peer.command(&EXEC)))?;
        for tool in std::iter::once(&self.ours).chain(&self.peers) {
            tool.clean();
        }
        Ok(())
    }

    fn many(&mut self, count: usize) -> anyhow::Result<()> {
        let names: Vec<String> = (0..count).map(|n| format!("caisson-bench-{n}")).collect();
        let mut starts = Vec::new();
        for name in &names {
            starts.push(timed(&mut detached(&self.ours, name))?);
        }
        let job = format!("start {count} detached, each");
        let ours = self.row(&job, "caisson", &starts, None);
        for index in 0..self.peers.len() {
            let peer = &self.peers[index];
            let name = peer.name;
            let few: Result<Vec<f64>, _> = names
                .iter()
                .take(SLOW_ROUNDS)
                .map(|name| timed(&mut detached(peer, name)))
                .collect();
            self.row(
                &job,
                &format!("{name}, {SLOW_ROUNDS} of them"),
                &few?,
                Some(ours),
            );
        }
        self.looking(count)?;
        let mut words = vec!["rm", "-f"];
        words.extend(names.iter().map(String::as_str));
        let once = [timed(&mut self.ours.command(&words))?];
        self.row(
            &format!("`rm -f` of {count}, in all"),
            "caisson",
            &once,
            None,
        );
        let few: Vec<&str> = words.iter().copied().take(2 + SLOW_ROUNDS).collect();
        for index in 0..self.peers.len() {
            let once = [timed(&mut self.peers[index].command(&few))?];
            let name = self.peers[index].name;
            self.row(
                &format!("`rm -f` of {SLOW_ROUNDS}, in all"),
                name,
                &once,
                None,
            );
        }
        Ok(())
    }

    /// Commands that only look, with `count` containers running.
    fn looking(&mut self, count: usize) -> anyhow::Result<()> {
        let script = "for i in $(seq 2000); do echo line $i of the log of this container; done";
        for tool in std::iter::once(&self.ours).chain(&self.peers) {
            let words = [
                "run",
                "--network",
                "none",
                "--name",
                "caisson-bench-log",
                "busybox",
                "sh",
                "-c",
                script,
            ];
            run(&mut tool.command(&words))?;
        }
        let jobs: [(String, &[&str]); 4] = [
            (format!("`ps` with {count} running"), &["ps"]),
            ("`inspect` of one".into(), &["inspect", "caisson-bench-1"]),
            ("`version`".into(), &["version"]),
            (
                "`logs` of 2,000 lines".into(),
                &["logs", "caisson-bench-log"],
            ),
        ];
        for (job, words) in jobs {
            let mut own = Vec::new();
            for _ in 0..ROUNDS {
                own.push(timed(&mut self.ours.command(words))?);
            }
            let ours = self.row(&job, "caisson", &own, None);
            self.slow_peers(&job, Some(ours), |peer| timed(&mut peer.command(words)))?;
        }
        Ok(())
    }

    /// Start time from the first to the last, and memory of an idle monitor.
    fn thousand(&mut self) -> anyhow::Result<()> {
        let mut starts = Vec::new();
        for number in 0..THOUSAND {
            let name = format!("caisson-bench-{number}");
            starts.push(timed(&mut detached(&self.ours, &name))?);
        }
        let job = format!("{THOUSAND} at once");
        let first = self.row(&job, "start, the first 100", &starts[..100], None);
        let last = self.row(&job, "start, the last 100", &starts[THOUSAND - 100..], None);
        self.note(
            &job,
            "the last 100 to the first",
            &format!("{:.2} ×", last / first),
        );
        std::thread::sleep(std::time::Duration::from_secs(2));
        let (monitors, kib) = monitors_pss_kib()?;
        self.note(
            &job,
            "PSS of a monitor, on average",
            &format!("{} KiB", kib / monitors.max(1)),
        );
        let begin = Instant::now();
        run(&mut self.ours.command(&["ps"]))?;
        self.row(&job, "`ps`", &[milliseconds(begin)], None);
        let ids = self.ours.line(&["ps", "-aq"])?;
        let mut words = vec!["rm", "-f"];
        words.extend(ids.split_whitespace());
        let once = [timed(&mut self.ours.command(&words))?];
        self.row(&job, "`rm -f` of all", &once, None);
        Ok(())
    }

    fn clean(&self) {
        for tool in std::iter::once(&self.ours).chain(&self.peers) {
            tool.clean();
        }
        // The network of the measures, and its bridge.
        let _ = self.ours.command(&["network", "prune", "-f"]).status();
        let _ = std::fs::remove_dir_all(&self.scratch);
    }
}

const RUN: [&str; 6] = ["run", "--rm", "--network", "none", "busybox", "true"];

fn detached(tool: &Tool, name: &str) -> Command {
    tool.command(&[
        "run",
        "-d",
        "--network",
        "none",
        "--name",
        name,
        "busybox",
        "sleep",
        "3600",
    ])
}

/// How many monitors there are on this machine, and their proportional memory in all.
fn monitors_pss_kib() -> anyhow::Result<(u64, u64)> {
    let (mut count, mut total) = (0, 0);
    for entry in std::fs::read_dir("/proc")?.flatten() {
        let name = std::fs::read_to_string(entry.path().join("comm")).unwrap_or_default();
        if name.trim() != "caisson-monitor" {
            continue;
        }
        let text = std::fs::read_to_string(entry.path().join("smaps_rollup")).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("Pss:"));
        let kib = line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
        if let Some(kib) = kib {
            count += 1;
            total += kib;
        }
    }
    Ok((count, total))
}

/// A root file system of busybox alone.
/// A root file system of busybox, in a directory.
pub(crate) fn make_tree(scratch: &Path) -> anyhow::Result<PathBuf> {
    let tree = scratch.join("tree");
    for name in ["bin", "etc", "proc", "sys", "dev", "tmp", "root", "var"] {
        std::fs::create_dir_all(tree.join(name))?;
    }
    let source = ["/bin/busybox", "/usr/bin/busybox"]
        .into_iter()
        .find(|path| Path::new(path).exists());
    std::fs::copy(
        source.context("busybox is not installed")?,
        tree.join("bin/busybox"),
    )?;
    for name in ["sh", "true", "sleep", "seq", "head", "ls", "timeout"] {
        let _ = std::os::unix::fs::symlink("busybox", tree.join("bin").join(name));
    }
    Ok(tree)
}

/// Runs a command to its end, which must be a good one; its output is dropped.
pub(crate) fn run(command: &mut Command) -> anyhow::Result<()> {
    let status = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .status()
        .with_context(|| format!("cannot run {command:?}"))?;
    if !status.success() {
        bail!("{command:?} ended with {status}");
    }
    Ok(())
}

fn median(values: &[f64]) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

fn milliseconds(begin: Instant) -> f64 {
    begin.elapsed().as_secs_f64() * 1000.0
}

/// Milliseconds of a whole process.
fn timed(command: &mut Command) -> anyhow::Result<f64> {
    let begin = Instant::now();
    run(command)?;
    Ok(milliseconds(begin))
}
