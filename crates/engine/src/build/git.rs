//! Checkouts, by the host's git with nothing of the host's settings.
//!
//! Neither the user's nor the system's configuration is read, no hook runs, nothing asks for a
//! password, and only the network's protocols are spoken: a submodule cannot name a directory of this
//! machine (CVE-2022-39253). A directory of the checkout that was asked for is found beneath it, links
//! that lead out are refused (CVE-2026-33748).

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use build::graph::GitSource;
use sys::Context;
use sys::rootfs::Dir;

use crate::error::EngineError;

/// What of a failed git is shown.
const ERROR_BYTES_MAX: usize = 4096;

/// A checkout.
pub(crate) struct Checkout {
    /// The directory that was asked for.
    pub(crate) path: PathBuf,
    /// When its commit was made, in seconds since 1970.
    pub(crate) time: i64,
}

/// Checks a repository out into a directory, which is made.
pub(crate) fn checkout(source: &GitSource, directory: &Path) -> Result<Checkout, EngineError> {
    std::fs::create_dir(directory).on("create", directory.display())?;
    let home = directory.join("home");
    let tree = directory.join("tree");
    for path in [&home, &tree] {
        std::fs::create_dir(path).on("create", path.display())?;
    }
    let git = |words: &[&str]| run(&home, &tree, words);
    let reference = match source.reference.as_str() {
        "" => "HEAD",
        given => given,
    };
    if source.remote.starts_with('-') || reference.starts_with('-') {
        return Err(EngineError::invalid(format!(
            "{}: a repository's address or reference begins with a dash",
            source.remote
        )));
    }
    fetch(source, reference, &git)?;
    let commit = git(&["rev-parse", "HEAD"])?;
    if !commit.trim().starts_with(&source.checksum) {
        return Err(EngineError::invalid(format!(
            "expected checksum to match {}, got {}",
            source.checksum,
            commit.trim()
        )));
    }
    if source.submodules {
        git(&[
            "submodule",
            "--quiet",
            "update",
            "--init",
            "--recursive",
            "--depth=1",
        ])
        .map_err(|error| failed(source, &error))?;
    }
    let time = git(&["log", "-1", "--format=%ct"])?;
    let time = time.trim().parse().unwrap_or(0);
    if !source.keeps_git_directory {
        let own = tree.join(".git");
        std::fs::remove_dir_all(&own).on("remove", own.display())?;
    }
    Ok(Checkout {
        path: beneath(&tree, &source.subdirectory)?,
        time,
    })
}

/// Fetches as little as the server lets, and checks it out.
fn fetch(
    source: &GitSource,
    reference: &str,
    git: &dyn Fn(&[&str]) -> Result<String, EngineError>,
) -> Result<(), EngineError> {
    git(&["init", "--quiet", "."])?;
    git(&["remote", "add", "origin", &source.remote])?;
    let shallow = [
        "fetch",
        "--quiet",
        "--depth=1",
        "--no-tags",
        "origin",
        reference,
    ];
    if git(&shallow).is_ok() {
        git(&["checkout", "--quiet", "--detach", "FETCH_HEAD"])?;
        return Ok(());
    }
    if may_be_commit(reference) {
        // A commit that no name leads to, which some servers give only with everything.
        git(&[
            "fetch",
            "--quiet",
            "--tags",
            "origin",
            "+refs/heads/*:refs/remotes/origin/*",
        ])
        .map_err(|error| failed(source, &error))?;
        let commit = format!("{reference}^{{commit}}");
        let known = git(&["rev-parse", "--quiet", "--verify", &commit]);
        known.map_err(|_| no_reference(source, reference))?;
        git(&["checkout", "--quiet", "--detach", &commit])?;
        return Ok(());
    }
    // Plain files behind a web server know no part of a history.
    git(&["fetch", "--quiet", "--no-tags", "origin", reference]).map_err(|error| {
        match error.to_string().contains("couldn't find remote ref") {
            true => no_reference(source, reference),
            false => failed(source, &error),
        }
    })?;
    git(&["checkout", "--quiet", "--detach", "FETCH_HEAD"])?;
    Ok(())
}

/// Whether this is a commit's number, or the beginning of one.
fn may_be_commit(reference: &str) -> bool {
    (4..=64).contains(&reference.len()) && reference.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn no_reference(source: &GitSource, reference: &str) -> EngineError {
    EngineError::invalid(format!(
        "repository {} does not contain ref {reference}",
        source.remote
    ))
}

/// A directory of the checkout, which no link may lead out of.
fn beneath(tree: &Path, subdirectory: &str) -> Result<PathBuf, EngineError> {
    let names = super::files::clean(subdirectory);
    if names.is_empty() {
        return Ok(tree.to_path_buf());
    }
    let root = Dir::open(tree).map_err(sys::SysError::from)?;
    let path: PathBuf = names.iter().collect();
    let shown = path.display();
    let found = root.open_path_beneath(&path).map_err(|error| {
        EngineError::invalid(format!("the repository has no directory {shown}: {error}"))
    })?;
    let stat = rustix::fs::fstat(&found).on("read", &shown)?;
    let kind = rustix::fs::FileType::from_raw_mode(stat.st_mode);
    if kind != rustix::fs::FileType::Directory {
        return Err(EngineError::invalid(format!(
            "{shown} of the repository is no directory"
        )));
    }
    super::files::place_of(std::os::fd::AsFd::as_fd(&found))
        .ok_or_else(|| EngineError::conflict(format!("{shown} went while it was looked for")))
}

fn failed(source: &GitSource, error: &EngineError) -> EngineError {
    EngineError::invalid(format!("failed to fetch {}: {error}", source.remote))
}

fn run(home: &Path, tree: &Path, words: &[&str]) -> Result<String, EngineError> {
    const OWN: [&str; 14] = [
        "-c",
        "core.hooksPath=/dev/null",
        "-c",
        "protocol.allow=never",
        "-c",
        "init.defaultBranch=main",
        "-c",
        "advice.detachedHead=false",
        "-c",
        "core.fsmonitor=false",
        // Nothing of it works on when it has ended.
        "-c",
        "gc.auto=0",
        "-c",
        "maintenance.auto=false",
    ];
    let mut command = Command::new("git");
    command
        .args(OWN)
        .args(words)
        .current_dir(tree)
        .env_clear()
        .env(
            "PATH",
            "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        )
        .env("HOME", home)
        .env("XDG_CONFIG_HOME", home)
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_TERMINAL_PROMPT", "0")
        .env("GIT_ALLOW_PROTOCOL", "git:http:https:ssh")
        .env("GIT_SSH_COMMAND", "ssh -o BatchMode=yes")
        .env("LC_ALL", "C")
        .stdin(Stdio::null());
    if let Some(agent) = std::env::var_os("SSH_AUTH_SOCK") {
        command.env("SSH_AUTH_SOCK", agent);
    }
    let output = command.output().map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => {
            EngineError::invalid("git is needed for repositories and is not installed here")
        }
        _ => EngineError::invalid(format!("cannot run git: {error}")),
    })?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = output
        .stderr
        .get(..ERROR_BYTES_MAX)
        .unwrap_or(&output.stderr);
    let said = String::from_utf8_lossy(said);
    Err(EngineError::invalid(format!(
        "git {}: {}",
        words.first().unwrap_or(&""),
        said.trim().replace('\n', "; ")
    )))
}
