//! Generated pages: the command reference and the compatibility page from the flag tables of the
//! binary, PROMISES.md from `xtask/promises.toml`.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, bail};

use crate::compat;
use crate::compat_compose;
use crate::compat_dockerfile;
use crate::house::{cargo, release_binary, root};
use crate::tidy::promises;

/// What to do with them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Write them.
    Write,
    /// Refuse stale ones.
    Check,
}

const PAGES: [(&str, &str); 2] = [
    ("--markdown", "docs/reference/commands.md"),
    ("--compat", "docs/compat.md"),
];

/// Docker's commands, one by one.
const COMMANDS: &str = "docs/compat-cli.md";
/// Compose's keys and commands, one by one.
const COMPOSE: &str = "docs/compat-compose.md";

/// The Dockerfile language, word by word.
const DOCKERFILE: &str = "docs/compat-dockerfile.md";

/// Makes or checks all pages; builds the release binary first.
pub(crate) fn command(mode: Mode) -> anyhow::Result<()> {
    let status = cargo()
        .args(["build", "--release", "--quiet"])
        .status()
        .context("cannot run cargo build")?;
    if !status.success() {
        bail!("the release build ended with {status}");
    }
    let mut pages: Vec<(PathBuf, String)> = vec![("PROMISES.md".into(), promises::page()?)];
    for (form, file) in PAGES {
        pages.push((file.into(), generated(form)?));
    }
    let tables = generated("--tables")?;
    pages.push((COMMANDS.into(), compat::page(&tables)?));
    pages.push((COMPOSE.into(), compat_compose::page(&tables)?));
    let words = generated("--dockerfile")?;
    pages.push((DOCKERFILE.into(), compat_dockerfile::page(&words)?));
    let mut stale = Vec::new();
    for (file, text) in pages {
        let path = root().join(&file);
        let is_fresh = std::fs::read_to_string(&path).is_ok_and(|found| {
            // Which test uses a flag changes with every test; what becomes of the flag does not.
            let names_tests = [COMMANDS, COMPOSE, DOCKERFILE].map(std::ffi::OsStr::new);
            let may_lag = mode == Mode::Check && names_tests.contains(&file.as_os_str());
            found == text
                || (may_lag && compat::without_tests(&found) == compat::without_tests(&text))
        });
        match mode {
            _ if is_fresh => {}
            Mode::Check => stale.push(file.display().to_string()),
            Mode::Write => {
                let directory = path
                    .parent()
                    .context("invariant: a page lies in a directory")?;
                std::fs::create_dir_all(directory)?;
                std::fs::write(&path, text)
                    .with_context(|| format!("cannot write {}", path.display()))?;
                eprintln!("wrote {}", file.display());
            }
        }
    }
    if !stale.is_empty() {
        bail!(
            "stale: {}; write them with `cargo xtask docs`",
            stale.join(", ")
        );
    }
    Ok(())
}

fn generated(form: &str) -> anyhow::Result<String> {
    let scratch = std::env::temp_dir().join(format!("caisson-docs-{}", std::process::id()));
    let output = Command::new(release_binary()?)
        .arg("--root")
        .arg(scratch.join("root"))
        .arg("--run-root")
        .arg(scratch.join("run"))
        .args(["internal", "docs", form])
        .output()
        .context("cannot run the release binary")?;
    let _ = std::fs::remove_dir_all(&scratch);
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr);
        bail!("caisson internal docs {form} failed: {text}");
    }
    String::from_utf8(output.stdout).context("a generated page is not text")
}
