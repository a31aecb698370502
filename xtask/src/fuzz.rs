//! Fuzzing: every target for some seconds.

use anyhow::{Context, bail};

use crate::house::root;

/// Runs every target of `fuzz/` in turn.
pub(crate) fn command(seconds: u32) -> anyhow::Result<()> {
    let targets = root().join("fuzz/targets");
    let mut names: Vec<String> = std::fs::read_dir(&targets)
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
    for name in names {
        eprintln!("== {name}");
        let status = std::process::Command::new("cargo")
            .current_dir(root().join("fuzz"))
            .args(["+nightly", "fuzz", "run", "--fuzz-dir", ".", &name, "--"])
            .arg(format!("-max_total_time={seconds}"))
            .status()
            .context("cannot run cargo fuzz; install it: cargo install cargo-fuzz")?;
        if !status.success() {
            bail!("target {name} ended with {status}; what broke it is in fuzz/artifacts/{name}");
        }
    }
    Ok(())
}
