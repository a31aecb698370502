//! Us and the peers in one run, interleaved; medians and minimums into docs/benchmarks.md.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, bail};

use crate::house::{cargo, release_binary, root};
use crate::packages::{self, is_there};

/// How much is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Extent {
    /// A few minutes.
    Quick,
    /// With 1,000 containers at once.
    Full,
}

const ROUNDS: usize = 25;
const MANY: usize = 50;

struct Bench {
    binary: PathBuf,
    scratch: PathBuf,
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
        binary: release_binary()?,
        scratch,
        table: String::new(),
    };
    let outcome = bench.everything(extent);
    bench.clean();
    outcome?;
    let page = format!(
        "# Benchmarks\n\nMade by `cargo xtask bench{}` on a machine with {} processors; milliseconds, median (minimum). Ratios within one run count, not the numbers.\n\n| job | what | median (min) ms |\n|---|---|---|\n{}",
        if extent == Extent::Full { " full" } else { "" },
        std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        bench.table
    );
    print!("{page}");
    std::fs::create_dir_all(root().join("docs"))?;
    std::fs::write(root().join("docs/benchmarks.md"), page)
        .context("cannot write docs/benchmarks.md")
}

impl Bench {
    fn ours(&self, words: &[&str]) -> Command {
        let mut command = Command::new(&self.binary);
        command
            .args(words)
            .env("CAISSON_ROOT", self.scratch.join("root"))
            .env("CAISSON_RUN_ROOT", self.scratch.join("run"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command
    }

    fn row(&mut self, job: &str, what: &str, times: &mut [f64]) {
        times.sort_by(f64::total_cmp);
        let (median, least) = (times[times.len() / 2], times[0]);
        let _ = writeln!(self.table, "| {job} | {what} | {median:.2} ({least:.2}) |");
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
        run(&mut self.ours(&["import", &archive, "busybox:latest"]))?;
        self.run_and_exec(&tree)?;
        self.many(if extent == Extent::Full { 1000 } else { MANY })
    }

    /// `run` against bubblewrap and `exec` against nsenter, taking turns.
    fn run_and_exec(&mut self, tree: &Path) -> anyhow::Result<()> {
        let tree = tree.display().to_string();
        let words = [
            "--unshare-all",
            "--bind",
            &tree,
            "/",
            "--proc",
            "/proc",
            "--dev",
            "/dev",
            "true",
        ];
        let (mut own, mut peer) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            own.push(timed(&mut self.ours(&[
                "run",
                "--rm",
                "--network",
                "none",
                "busybox",
                "true",
            ]))?);
            if is_there("bwrap") {
                peer.push(timed(
                    Command::new("bwrap").args(words).stdout(Stdio::null()),
                )?);
            }
        }
        self.row("run --rm --network none busybox true", "caisson", &mut own);
        if !peer.is_empty() {
            self.row("the same namespaces", "bwrap", &mut peer);
        }
        run(&mut self.ours(&[
            "run",
            "-d",
            "--network",
            "none",
            "--name",
            "bx",
            "busybox",
            "sleep",
            "1000",
        ]))?;
        let output = self
            .ours(&["inspect", "-f", "{{.State.Pid}}", "bx"])
            .stdout(Stdio::piped())
            .output()?;
        let pid = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        let (mut own, mut peer) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            own.push(timed(&mut self.ours(&["exec", "bx", "true"]))?);
            peer.push(timed(
                Command::new("nsenter").args(["-t", &pid, "-a", "true"]),
            )?);
        }
        self.row("exec true", "caisson", &mut own);
        self.row("the same namespaces", "nsenter", &mut peer);
        run(&mut self.ours(&["rm", "-f", "bx"]))
    }

    fn many(&mut self, count: usize) -> anyhow::Result<()> {
        let names: Vec<String> = (0..count).map(|number| format!("many-{number}")).collect();
        let mut starts = Vec::new();
        for name in &names {
            let words = [
                "run",
                "-d",
                "--network",
                "none",
                "--name",
                name,
                "busybox",
                "sleep",
                "3600",
            ];
            starts.push(timed(&mut self.ours(&words))?);
        }
        let quarter = (count / 4).max(1);
        let (mut first, mut last) = (
            starts[..quarter].to_vec(),
            starts[count - quarter..].to_vec(),
        );
        self.row(
            &format!("start {count} detached, each"),
            "caisson",
            &mut starts,
        );
        self.row("of them the first quarter", "caisson", &mut first);
        self.row("of them the last quarter", "caisson", &mut last);
        for words in [&["ps"][..], &["inspect", "many-1"], &["version"], &["info"]] {
            let mut times = Vec::new();
            for _ in 0..ROUNDS {
                times.push(timed(&mut self.ours(words))?);
            }
            self.row(
                &format!("{} with {count}", words.join(" ")),
                "caisson",
                &mut times,
            );
        }
        let mut words = vec!["rm", "-f"];
        words.extend(names.iter().map(String::as_str));
        let mut once = [timed(&mut self.ours(&words))?];
        self.row(&format!("rm -f of {count}, in all"), "caisson", &mut once);
        let script = "for i in $(seq 2000); do echo line $i of the log of this container; done";
        run(&mut self.ours(&[
            "run",
            "--network",
            "none",
            "--name",
            "log",
            "busybox",
            "sh",
            "-c",
            script,
        ]))?;
        let mut times = Vec::new();
        for _ in 0..ROUNDS {
            times.push(timed(&mut self.ours(&["logs", "log"]))?);
        }
        self.row("logs of 2,000 lines", "caisson", &mut times);
        Ok(())
    }

    fn clean(&self) {
        let listed = self.ours(&["ps", "-aq"]).stdout(Stdio::piped()).output();
        let text = listed.map(|output| output.stdout).unwrap_or_default();
        for id in String::from_utf8_lossy(&text).split_whitespace() {
            let _ = self.ours(&["rm", "-f", id]).status();
        }
        let _ = std::fs::remove_dir_all(&self.scratch);
    }
}

/// A root file system of busybox alone.
fn make_tree(scratch: &Path) -> anyhow::Result<PathBuf> {
    let tree = scratch.join("tree");
    for name in ["bin", "etc", "proc", "sys", "dev", "tmp"] {
        std::fs::create_dir_all(tree.join(name))?;
    }
    let source = ["/bin/busybox", "/usr/bin/busybox"]
        .into_iter()
        .find(|path| Path::new(path).exists());
    std::fs::copy(
        source.context("busybox is not installed")?,
        tree.join("bin/busybox"),
    )?;
    for name in ["sh", "true", "sleep", "seq"] {
        let _ = std::os::unix::fs::symlink("busybox", tree.join("bin").join(name));
    }
    Ok(tree)
}

fn run(command: &mut Command) -> anyhow::Result<()> {
    let status = command
        .status()
        .with_context(|| format!("cannot run {command:?}"))?;
    if !status.success() {
        bail!("{command:?} ended with {status}");
    }
    Ok(())
}

/// Milliseconds of a whole process.
fn timed(command: &mut Command) -> anyhow::Result<f64> {
    let begin = Instant::now();
    run(command)?;
    Ok(begin.elapsed().as_secs_f64() * 1000.0)
}
