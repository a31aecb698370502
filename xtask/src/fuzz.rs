//! Fuzzing: every target of `fuzz/` for some seconds, one after the other.
//!
//! Built by plain cargo with the flags that `cargo fuzz` gives, so that the nightly compiler is all
//! that must be there. `fuzz/seeds/TARGET` (ours, kept) is where a first run begins; what is worth
//! keeping goes to `fuzz/corpus/TARGET`, and what broke a target to `fuzz/artifacts/TARGET`.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, bail};

use crate::house::root;

const TOOLCHAIN: &str = "+nightly";
/// Coverage as libFuzzer reads it, and the address sanitizer, which needs the shared C library: so
/// the workspace's own flags do not apply.
const FLAGS: &[&str] = &[
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "--cfg",
    "fuzzing",
    "-Zsanitizer=address",
];
/// What a run may take: a case that is slower, or asks for more, is a finding.
const LIMITS: &[&str] = &[
    "-timeout=10",
    "-rss_limit_mb=2048",
    "-malloc_limit_mb=256",
    "-max_len=8192",
    // The leak check stops every thread by ptrace, which containers often refuse.
    "-detect_leaks=0",
    "-print_final_stats=1",
];
/// A small quarantine keeps memory within the limit.
const SANITIZER: &str = "detect_odr_violation=0:quarantine_size_mb=32";

/// Runs every target of `fuzz/` in turn, or only those named; a finding does not keep the others from running.
pub(crate) fn command(seconds: u32, named: &[&str]) -> anyhow::Result<()> {
    let fuzz = root().join("fuzz");
    let mut names = targets(&fuzz)?;
    if let Some(unknown) = named
        .iter()
        .find(|one| !names.iter().any(|name| name == *one))
    {
        bail!("fuzz/targets has no {unknown}; it has {}", names.join(", "));
    }
    names.retain(|name| named.is_empty() || named.contains(&name.as_str()));
    let programs = build(&fuzz)?;
    let mut broken = Vec::new();
    for name in names {
        eprintln!("== {name}, {seconds} s");
        if !run(&fuzz, &programs.join(&name), &name, seconds)? {
            broken.push(name);
        }
    }
    if !broken.is_empty() {
        bail!(
            "broken: {}; the inputs are in fuzz/artifacts, and `{}/TARGET INPUT` shows what happens",
            broken.join(", "),
            programs.display()
        );
    }
    Ok(())
}

fn targets(fuzz: &Path) -> anyhow::Result<Vec<String>> {
    let mut names: Vec<String> = std::fs::read_dir(fuzz.join("targets"))
        .context("cannot list fuzz/targets")?
        .flatten()
        .filter_map(|entry| {
            entry
                .file_name()
                .to_str()?
                .strip_suffix(".rs")
                .map(str::to_owned)
        })
        .collect();
    names.sort();
    if names.is_empty() {
        bail!("fuzz/targets holds no target");
    }
    Ok(names)
}

/// Builds all targets and gives the directory of their programs.
fn build(fuzz: &Path) -> anyhow::Result<PathBuf> {
    let platform = host()?;
    let target = fuzz.join("target");
    let status = Command::new("cargo")
        .args([TOOLCHAIN, "build", "--release", "--bins", "--locked"])
        .arg("--manifest-path")
        .arg(fuzz.join("Cargo.toml"))
        // A platform by name keeps the flags away from build scripts.
        .args(["--target", &platform, "--target-dir"])
        .arg(&target)
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .env("RUSTFLAGS", FLAGS.join(" "))
        .status()
        .context("cannot run cargo")?;
    if !status.success() {
        bail!("the fuzz targets do not build");
    }
    Ok(target.join(platform).join("release"))
}

/// The platform of the nightly compiler.
fn host() -> anyhow::Result<String> {
    let missing =
        "the nightly compiler is missing: rustup toolchain install nightly --profile minimal";
    let output = Command::new("rustc")
        .args([TOOLCHAIN, "-vV"])
        .stderr(Stdio::null())
        .output()
        .context(missing)?;
    let text = String::from_utf8_lossy(&output.stdout);
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    match host {
        Some(host) if output.status.success() => Ok(host.to_owned()),
        _ => bail!(missing),
    }
}

/// Runs one target; false where it found something.
fn run(fuzz: &Path, program: &Path, name: &str, seconds: u32) -> anyhow::Result<bool> {
    let directory = |kind: &str| fuzz.join(kind).join(name);
    for kind in ["corpus", "artifacts"] {
        let path = directory(kind);
        std::fs::create_dir_all(&path)
            .with_context(|| format!("cannot make {}", path.display()))?;
    }
    let mut command = Command::new(program);
    // libFuzzer writes to the first directory and only reads the others.
    command.arg(directory("corpus"));
    let seeds = directory("seeds");
    if seeds.is_dir() {
        command.arg(seeds);
    }
    let status = command
        .arg(format!("-max_total_time={seconds}"))
        .arg(format!(
            "-artifact_prefix={}/",
            directory("artifacts").display()
        ))
        .args(LIMITS)
        .env("ASAN_OPTIONS", SANITIZER)
        .stdin(Stdio::null())
        .status()
        .with_context(|| format!("cannot run {}", program.display()))?;
    Ok(status.success())
}
