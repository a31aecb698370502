//! Where things are, and what cargo knows of them.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};
use serde_json::Value;

/// The root of the checkout.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("invariant: xtask lies in the workspace")
}

/// `cargo` in the root of the checkout, the one that runs us.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root());
    command
}

/// What `cargo metadata` says.
pub(crate) fn metadata() -> anyhow::Result<Value> {
    let output = cargo()
        .args([
            "metadata",
            "--format-version",
            "1",
            "--filter-platform",
            &host()?,
        ])
        .output()
        .context("cannot run cargo metadata")?;
    if !output.status.success() {
        bail!(
            "cargo metadata failed:\n{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    serde_json::from_slice(&output.stdout).context("cannot read the answer of cargo metadata")
}

/// The target that we build for: this machine.
pub(crate) fn host() -> anyhow::Result<String> {
    let output = Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()))
        .arg("-vV")
        .output()
        .context("cannot run rustc")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let line = text.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(line.context("rustc -vV names no host")?.to_owned())
}

fn target_directory() -> PathBuf {
    match std::env::var_os("CARGO_TARGET_DIR") {
        Some(directory) => root().join(directory),
        None => root().join("target"),
    }
}

/// The release binary, whether or not it is there.
pub(crate) fn release_binary() -> anyhow::Result<PathBuf> {
    let directory = target_directory();
    // The build names its target, so cargo puts the binary beneath the target's name.
    let named = directory.join(host()?).join("release/caisson");
    let plain = directory.join("release/caisson");
    Ok(if !named.exists() && plain.exists() {
        plain
    } else {
        named
    })
}

/// Where cargo puts the binary with fail points, and where the tests find it.
pub(crate) fn fail_binary() -> anyhow::Result<(PathBuf, PathBuf)> {
    let directory = target_directory().join(host()?);
    let made = directory.join("debug/caisson");
    Ok((made, directory.join("failpoints/caisson")))
}

/// All Rust files of ours, relative to the root, in order.
pub(crate) fn rust_files() -> anyhow::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for directory in ["crates", "xtask", "testkit", "tests", "fuzz"] {
        collect(&root().join(directory), &mut files, "rs")?;
    }
    files.sort();
    Ok(files)
}

fn collect(directory: &Path, files: &mut Vec<PathBuf>, extension: &str) -> anyhow::Result<()> {
    let Ok(entries) = std::fs::read_dir(directory) else {
        return Ok(());
    };
    for entry in entries.flatten() {
        let path = entry.path();
        let name = entry.file_name();
        if entry
            .file_type()
            .with_context(|| format!("cannot look at {}", path.display()))?
            .is_dir()
        {
            if name != "target" && name != "corpus" && name != "artifacts" {
                collect(&path, files, extension)?;
            }
        } else if path.extension().is_some_and(|found| found == extension) {
            files.push(path.strip_prefix(root()).unwrap_or(&path).to_path_buf());
        }
    }
    Ok(())
}

/// Reads a file of the checkout.
pub(crate) fn read(path: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(root().join(path))
        .with_context(|| format!("cannot read {}", path.display()))
}

/// All pages of ours, relative to the root, in order.
pub(crate) fn pages() -> anyhow::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(root())
        .context("cannot list the checkout")?
        .flatten()
    {
        if entry
            .path()
            .extension()
            .is_some_and(|extension| extension == "md")
        {
            files.push(PathBuf::from(entry.file_name()));
        }
    }
    let mut open = vec![root().join("docs")];
    while let Some(directory) = open.pop() {
        for entry in std::fs::read_dir(&directory)
            .into_iter()
            .flatten()
            .flatten()
        {
            let path = entry.path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|extension| extension == "md") {
                files.push(path.strip_prefix(root()).unwrap_or(&path).to_path_buf());
            }
        }
    }
    files.sort();
    Ok(files)
}
