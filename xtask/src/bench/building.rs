//! Builds from Dockerfiles: what is kept, what is made anew, and large contexts. Podman builds with
//! buildah's code; Docker with whatever builder its command line finds.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::Context;

use super::tools::Tool;
use super::{Bench, milliseconds, run, timed};

const ROUNDS: usize = 9;
/// Peers and jobs that need seconds.
const FEW: usize = 2;
const STEPS: usize = 10;
const STAGES: usize = 4;
const LAYER_MIB: usize = 300;
const GIB: u64 = 1 << 30;
/// A large context: so many directories of so many files, 75 MB in all.
const DIRECTORIES: usize = 200;
const FILES: usize = 100;

/// Folders with a Dockerfile each.
struct Contexts {
    steps: PathBuf,
    last: PathBuf,
    big: PathBuf,
    stages: PathBuf,
    layer: PathBuf,
    gib: PathBuf,
}

/// All of it.
pub(super) fn measure(bench: &mut Bench) -> anyhow::Result<()> {
    let contexts = make_contexts(&bench.scratch.join("build"))?;
    kept(
        bench,
        "rebuild, nothing changed, ten RUN steps",
        &contexts.steps,
    )?;
    last_copy(bench, &contexts.last)?;
    ten_steps(bench, &contexts.steps)?;
    cold_copy(bench, &contexts.big)?;
    kept(
        bench,
        "rebuild, nothing changed, 20,000 files (75 MB)",
        &contexts.big,
    )?;
    stages(bench, &contexts.stages)?;
    layer(bench, &contexts.layer)?;
    memory(bench, &contexts.gib)
}

/// `build` of a folder, with `flags`.
fn build(tool: &Tool, context: &Path, flags: &[&str]) -> Command {
    let context = context.display().to_string();
    let mut words = vec![
        "build",
        "-q",
        "--network",
        "host",
        "-t",
        "caisson-bench-built",
    ];
    words.extend(flags);
    words.push(&context);
    tool.command(&words)
}

fn kept(bench: &mut Bench, job: &str, context: &Path) -> anyhow::Result<()> {
    run(&mut build(&bench.ours, context, &[]))?;
    let times: Result<Vec<f64>, _> = (0..ROUNDS)
        .map(|_| timed(&mut build(&bench.ours, context, &[])))
        .collect();
    let ours = bench.row(job, "caisson", &times?, None);
    bench.every_peer(job, FEW, Some(ours), |peer, round| {
        if round == 0 {
            run(&mut build(peer, context, &[]))?;
        }
        timed(&mut build(peer, context, &[]))
    })
}

fn last_copy(bench: &mut Bench, context: &Path) -> anyhow::Result<()> {
    const JOB: &str = "the last COPY of five steps changed";
    let changed = |tool: &Tool, round: usize| {
        std::fs::write(context.join("app.txt"), format!("{} {round}\n", tool.name))?;
        timed(&mut build(tool, context, &[]))
    };
    changed(&bench.ours, ROUNDS)?;
    let times: Result<Vec<f64>, _> = (0..ROUNDS)
        .map(|round| changed(&bench.ours, round))
        .collect();
    let ours = bench.row(JOB, "caisson", &times?, None);
    bench.every_peer(JOB, FEW + 1, Some(ours), changed)
}

/// Beside as many runs of our own: what a step costs above its container.
fn ten_steps(bench: &mut Bench, context: &Path) -> anyhow::Result<()> {
    const JOB: &str = "ten RUN steps, `--no-cache`, host network";
    const HOST: [&str; 6] = ["run", "--rm", "--network", "host", "busybox", "true"];
    let (mut own, mut runs) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        own.push(timed(&mut build(&bench.ours, context, &["--no-cache"]))?);
        let begin = Instant::now();
        for _ in 0..STEPS {
            run(&mut bench.ours.command(&HOST))?;
        }
        runs.push(milliseconds(begin));
    }
    let ours = bench.row(JOB, "caisson", &own, None);
    bench.row(JOB, "caisson, ten times `run --rm`", &runs, Some(ours));
    bench.every_peer(JOB, FEW, Some(ours), |peer, _| {
        timed(&mut build(peer, context, &["--no-cache"]))
    })
}

fn cold_copy(bench: &mut Bench, context: &Path) -> anyhow::Result<()> {
    const JOB: &str = "COPY of 20,000 files (75 MB) and one RUN, `--no-cache`";
    let (mut own, mut copies) = (Vec::new(), Vec::new());
    let copy = bench.scratch.join("copy");
    for _ in 0..FEW + 1 {
        own.push(timed(&mut build(&bench.ours, context, &["--no-cache"]))?);
        copies.push(timed(Command::new("cp").arg("-a").arg(context).arg(&copy))?);
        std::fs::remove_dir_all(&copy)?;
    }
    let ours = bench.row(JOB, "caisson", &own, None);
    bench.row(JOB, "cp -a", &copies, Some(ours));
    bench.every_peer(JOB, 1, Some(ours), |peer, _| {
        timed(&mut build(peer, context, &["--no-cache"]))
    })
}

fn stages(bench: &mut Bench, context: &Path) -> anyhow::Result<()> {
    let job = format!("{STAGES} independent stages of 1 s of work each, `--no-cache`");
    let times: Result<Vec<f64>, _> = (0..FEW + 1)
        .map(|_| timed(&mut build(&bench.ours, context, &["--no-cache"])))
        .collect();
    let one: Result<Vec<f64>, _> = (0..FEW + 1)
        .map(|_| {
            timed(&mut build(
                &bench.ours,
                context,
                &["--no-cache", "--target", "s0"],
            ))
        })
        .collect();
    let ours = bench.row(&job, "caisson", &times?, None);
    bench.row(&job, "caisson, one of the stages", &one?, Some(ours));
    bench.every_peer(&job, 1, Some(ours), |peer, _| {
        timed(&mut build(peer, context, &["--no-cache"]))
    })
}

/// What the kernel writes and what one hash of it costs are the floor.
fn layer(bench: &mut Bench, context: &Path) -> anyhow::Result<()> {
    let job = format!("RUN that writes {LAYER_MIB} MB, and its layer");
    let file = bench.scratch.join("layer.bin");
    let write = format!(
        "head -c {LAYER_MIB}000000 /dev/urandom > {}",
        file.display()
    );
    let (mut own, mut writes, mut hashes) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..FEW + 1 {
        own.push(timed(&mut build(&bench.ours, context, &["--no-cache"]))?);
        writes.push(timed(Command::new("sh").args(["-c", &write]))?);
        hashes.push(timed(
            Command::new("openssl").args(["dgst", "-sha256"]).arg(&file),
        )?);
        // Removing it is nobody's time here, and its pages are not written back.
        std::fs::remove_file(&file)?;
    }
    let ours = bench.row(&job, "caisson", &own, None);
    bench.row(&job, "writing it, by hand", &writes, Some(ours));
    bench.row(&job, "one SHA-256 of it", &hashes, Some(ours));
    bench.every_peer(&job, 1, Some(ours), |peer, _| {
        timed(&mut build(peer, context, &["--no-cache"]))
    })
}

fn memory(bench: &mut Bench, context: &Path) -> anyhow::Result<()> {
    let mut child = build(&bench.ours, context, &["--no-cache"]).spawn()?;
    let status = format!("/proc/{}/status", child.id());
    let mut peak = 0;
    while child.try_wait()?.is_none() {
        let text = std::fs::read_to_string(&status).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
        peak = peak.max(kib.unwrap_or(0));
        std::thread::sleep(Duration::from_millis(5));
    }
    bench.note(
        "peak memory of a build with a context of 1 GiB",
        "caisson",
        &format!("{} MiB", peak / 1024),
    );
    Ok(())
}

fn make_contexts(root: &Path) -> anyhow::Result<Contexts> {
    let folder = |name: &str, dockerfile: &str| -> anyhow::Result<PathBuf> {
        let path = root.join(name);
        std::fs::create_dir_all(&path)?;
        std::fs::write(path.join("Dockerfile"), dockerfile)
            .with_context(|| format!("cannot write to {}", path.display()))?;
        Ok(path)
    };
    let mut steps = "FROM busybox\n".to_owned();
    for step in 0..STEPS {
        let _ = writeln!(steps, "RUN echo {step} > /f{step}");
    }
    let mut parallel = String::new();
    for stage in 0..STAGES {
        // Work of the processor: sleeping stages would not show how many run at once.
        let _ = writeln!(
            parallel,
            "FROM busybox AS s{stage}\nRUN timeout 1 sh -c 'while :; do :; done' || echo {stage} > /s{stage}"
        );
    }
    parallel.push_str("FROM busybox\n");
    for stage in 0..STAGES {
        let _ = writeln!(parallel, "COPY --from=s{stage} /s{stage} /");
    }
    let last = "FROM busybox\nENV A=1\nWORKDIR /app\nRUN echo one >/one\nRUN echo two >/two\nCOPY app.txt /app/\n";
    let layer = format!("FROM busybox\nRUN head -c {LAYER_MIB}000000 /dev/urandom > /layer.bin\n");
    let contexts = Contexts {
        steps: folder("steps", &steps)?,
        last: folder("last", last)?,
        big: folder("big", "FROM busybox\nCOPY src /src\nRUN ls /src\n")?,
        stages: folder("stages", &parallel)?,
        layer: folder("layer", &layer)?,
        gib: folder("gib", "FROM busybox\nCOPY data /data\n")?,
    };
    make_files(&contexts.big.join("src"))?;
    std::fs::File::create(contexts.gib.join("data"))?.set_len(GIB)?;
    Ok(contexts)
}

/// The same bytes each time, of sizes as source files have.
fn make_files(root: &Path) -> anyhow::Result<()> {
    let mut state = 1_u64;
    let mut next = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        state >> 33
    };
    for directory in 0..DIRECTORIES {
        let path = root.join(format!("p{directory:03}"));
        std::fs::create_dir_all(&path)?;
        for file in 0..FILES {
            let length = usize::try_from(64 * (1 + next() % 119))?;
            let bytes: Vec<u8> = (0..length).map(|_| (next() & 0xff) as u8).collect();
            std::fs::write(path.join(format!("m{file:03}.js")), bytes)?;
        }
    }
    Ok(())
}
