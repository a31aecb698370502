//! `test`, `ready`, `it`, `crash`.

use std::path::Path;
use std::process::{Child, Command};

use anyhow::{Context, bail, ensure};

use crate::house::{cargo, fail_binary, release_binary, root};
use crate::steps::Steps;
use crate::{docs, packages, tidy};

/// Kills of the crash tests in the nightly form.
pub(crate) const NIGHTLY_KILLS: u32 = 1000;
/// Pushes to a registry that is killed meanwhile, in the nightly form.
const NIGHTLY_PUSHES: u32 = 500;

/// Everything: `.ci/run` is this.
pub(crate) fn everything() -> anyhow::Result<()> {
    let mut steps = Steps::default();
    let outcome = all_steps(&mut steps);
    steps.summary();
    outcome
}

/// Every build of the development profile is [`linting`] and of the whole workspace: with one package alone,
/// libraries get fewer features, and a hundred of them would be compiled once more.
fn all_steps(steps: &mut Steps) -> anyhow::Result<()> {
    steps.run("packages", packages::install)?;
    // Its last crates wait for one another: beside the other builds it takes little time of its own.
    let release = Background::begin(&mut release_build())?;
    quick_steps(steps)?;
    steps.run("rest of the release build", || release.finish())?;
    steps.run("release binary", tidy::binary::check)?;
    steps.run("generated pages", || docs::command(docs::Mode::Check))?;
    keep_fail_binary(steps)?;
    let mut tests = real_kernel_command(&[])?;
    steps.tests("real-kernel tests", &mut tests)?;
    steps.tests(
        "real-kernel tests of the network room",
        linting("test").args(["--test", "kernel", "--", "--show-output"]),
    )?;
    refuse_unexpected_skips(steps)
}

/// What review will ask, without a kernel to test on.
pub(crate) fn ready() -> anyhow::Result<()> {
    let mut steps = Steps::default();
    let outcome = quick_steps(&mut steps);
    steps.summary();
    outcome
}

fn quick_steps(steps: &mut Steps) -> anyhow::Result<()> {
    steps.command("format", cargo().args(["fmt", "--all", "--check"]))?;
    steps.run("tidy", || tidy::command(&[]))?;
    let fuzz = ["metadata", "--quiet", "--locked", "--format-version", "1"];
    let manifest = root().join("fuzz/Cargo.toml");
    steps.command(
        "lock file of the fuzz targets",
        cargo()
            .args(fuzz)
            .arg("--manifest-path")
            .arg(manifest)
            .stdout(std::process::Stdio::null()),
    )?;
    steps.command("clippy and builds", linting("build").arg("--all-targets"))?;
    // Not nextest: a fresh machine has none.
    steps.tests(
        "unit and snapshot tests",
        linting("test").args(["--lib", "--bins"]),
    )
}

/// `cargo` with clippy as the compiler of the workspace, warnings denied. What it compiles is what the tests
/// run: `cargo clippy` compiles nothing, so that every library would be read twice. With the fail points,
/// which do nothing until a variable asks for them, there is one development build in all.
fn linting(verb: &str) -> Command {
    let mut command = cargo();
    command
        .env("RUSTC_WORKSPACE_WRAPPER", "clippy-driver")
        // As `cargo clippy` hands its arguments on.
        .env("CLIPPY_ARGS", "-Dwarnings__CLIPPY_HACKERY__")
        .args([verb, "--quiet", "--workspace"])
        .args(["--features", "caisson/failpoints"]);
    command
}

fn build(steps: &mut Steps) -> anyhow::Result<()> {
    steps.command("release build", &mut release_build())
}

fn release_build() -> Command {
    let mut build = cargo();
    build.args(["build", "--release", "--quiet"]);
    build
}

/// A command beside the steps; it ends with the run.
struct Background(Child);

impl Background {
    fn begin(command: &mut Command) -> anyhow::Result<Self> {
        let child = command.spawn();
        Ok(Self(
            child.with_context(|| format!("cannot run {command:?}"))?,
        ))
    }

    fn finish(mut self) -> anyhow::Result<()> {
        let status = self.0.wait().context("cannot wait for a command")?;
        ensure!(status.success(), "it ended with {status}");
        Ok(())
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        // Nothing where it has ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The binary that can be killed at every fail point. Cargo puts it where an ordinary one of this profile
/// lies, so it is copied to a place of its own.
fn keep_fail_binary(steps: &mut Steps) -> anyhow::Result<()> {
    steps.run("copy of the build with fail points", || {
        let (made, kept) = fail_binary()?;
        let directory = kept.parent().context("invariant: it has a directory")?;
        std::fs::create_dir_all(directory)
            .with_context(|| format!("cannot make {}", directory.display()))?;
        // Removed first: one that runs cannot be written to.
        let _ = std::fs::remove_file(&kept);
        std::fs::copy(&made, &kept)
            .with_context(|| format!("cannot copy {} to {}", made.display(), kept.display()))?;
        Ok(())
    })
}

fn build_with_fail_points(steps: &mut Steps) -> anyhow::Result<()> {
    steps.command("build with fail points", &mut linting("build"))?;
    keep_fail_binary(steps)
}

fn real_kernel_command(filters: &[&str]) -> anyhow::Result<Command> {
    let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let mut command = linting("test");
    command
        .args(["--test", "it", "--", "--show-output"])
        // They wait half of the time: for a limit, a kernel's thread, a second to pass.
        .arg(format!("--test-threads={}", processors + 1))
        .args(filters)
        .env("CAISSON_BIN", release_binary()?)
        .env("CAISSON_FAIL_BIN", fail_binary()?.1);
    Ok(command)
}

/// Real-kernel tests, all or those that are named.
pub(crate) fn real_kernel(filters: &[&str]) -> anyhow::Result<()> {
    let mut steps = Steps::default();
    let outcome = steps
        .run("packages", packages::install)
        .and_then(|()| build(&mut steps))
        .and_then(|()| build_with_fail_points(&mut steps))
        .and_then(|()| steps.tests("real-kernel tests", &mut real_kernel_command(filters)?));
    steps.summary();
    outcome
}

/// The crash tests with so many kills.
pub(crate) fn crash(kills: u32) -> anyhow::Result<()> {
    let mut steps = Steps::default();
    let outcome = steps
        .run("packages", packages::install)
        .and_then(|()| build(&mut steps))
        .and_then(|()| build_with_fail_points(&mut steps))
        .and_then(|()| {
            let killed = "registry::a_registry_that_is_killed";
            let mut command = real_kernel_command(&["crash::", killed])?;
            command.env("CAISSON_CRASH_KILLS", kills.to_string());
            if kills >= NIGHTLY_KILLS {
                command.env("CAISSON_REGISTRY_PUSHES", NIGHTLY_PUSHES.to_string());
                command.env("CAISSON_IT_LIMIT", "1800");
            }
            steps.tests("crash tests", &mut command)
        });
    steps.summary();
    outcome
}

/// A test that skips itself says why; only reasons on the list are accepted, so that a broken
/// machine does not look like a passing one.
fn refuse_unexpected_skips(steps: &Steps) -> anyhow::Result<()> {
    let list = std::fs::read_to_string(root().join(Path::new("tests/allowed-skips.txt")))?;
    let allowed: Vec<&str> = list
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect();
    let refused: Vec<&String> = steps
        .skips()
        .iter()
        .filter(|skip| !allowed.iter().any(|line| skip.contains(line)))
        .collect();
    if !refused.is_empty() {
        bail!("these skips are not on the list tests/allowed-skips.txt: {refused:#?}");
    }
    Ok(())
}
