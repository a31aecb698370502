//! `dist`: what is handed out, made twice the same from the same sources.
//!
//! | file | what |
//! |---|---|
//! | `caisson-VERSION-ARCH-linux.tar.gz` | binary, manual pages, completions, the unit for systemd |
//! | `caisson_VERSION_ARCH.deb` | the same as a Debian package |
//! | `caisson-VERSION.spdx.json` | what is in the binary (SPDX 2.3) |
//! | `caisson-VERSION-ARCH-image.tar` | a container image of Caisson, built by Caisson |
//! | `SHA256SUMS` | their checksums |
//!
//! Nothing that differs from machine to machine gets in: paths are remapped, times are that of the
//! last commit (or `SOURCE_DATE_EPOCH`), entries are sorted, owners are root. `--check` builds a copy
//! of the sources at another place and compares.

mod archive;
mod deb;
mod sbom;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};
use sha2::{Digest, Sha256};

use crate::house::{cargo, host, root};
use archive::Entry;

/// Where everything lies when it is done.
const PLACE: &str = "target/dist";

/// Caisson's own image.
const DOCKERFILE: &str = "\
FROM scratch
COPY --chmod=755 caisson /usr/bin/caisson
ENV PATH=/usr/bin
LABEL org.opencontainers.image.title=caisson org.opencontainers.image.licenses=Apache-2.0
VOLUME /var/lib/caisson
EXPOSE 5000
ENTRYPOINT [\"/usr/bin/caisson\"]
CMD [\"--help\"]
";

/// What is made, and from what.
struct Release {
    version: String,
    /// As Debian calls it.
    debian_architecture: &'static str,
    architecture: &'static str,
    /// Seconds since 1970.
    epoch: u64,
    /// The checkout.
    sources: PathBuf,
    /// Where cargo builds.
    target: PathBuf,
    /// Where results go.
    place: PathBuf,
}

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Make it.
    Make,
    /// Make it, make it again elsewhere, and compare.
    Check,
}

/// Makes the release.
pub(crate) fn command(mode: Mode) -> anyhow::Result<()> {
    let place = root().join(PLACE);
    let release = Release::new(root(), &root().join("target/dist-build"), &place)?;
    release.make()?;
    for name in names(&place)? {
        let size = std::fs::metadata(place.join(&name))?.len();
        println!("{size:>10}  {PLACE}/{name}");
    }
    if mode == Mode::Check {
        compare(&release)?;
        println!("a second build at another place gave the same bytes");
    }
    Ok(())
}

/// Builds a copy of the sources elsewhere.
fn compare(first: &Release) -> anyhow::Result<()> {
    let scratch = std::env::temp_dir().join(format!("caisson-dist-{}-again", std::process::id()));
    let result = again(first, &scratch);
    let _ = std::fs::remove_dir_all(&scratch);
    result
}

fn again(first: &Release, scratch: &Path) -> anyhow::Result<()> {
    let sources = scratch.join("somewhere/else");
    copy_sources(&first.sources, &sources)?;
    let place = scratch.join("out");
    let second = Release {
        epoch: first.epoch,
        ..Release::new(&sources, &scratch.join("build"), &place)?
    };
    second.make()?;
    let mut differing = Vec::new();
    for name in names(&first.place)? {
        let read = |place: &Path| std::fs::read(place.join(&name)).unwrap_or_default();
        if read(&first.place) != read(&place) {
            differing.push(name);
        }
    }
    if names(&place)? != names(&first.place)? || !differing.is_empty() {
        bail!("a second build differs: {}", differing.join(" "));
    }
    Ok(())
}

/// What git knows of, as it is in the checkout.
fn copy_sources(from: &Path, to: &Path) -> anyhow::Result<()> {
    let output = Command::new("git")
        .args(["ls-files", "-z"])
        .current_dir(from)
        .output()
        .context("cannot run git")?;
    for name in output.stdout.split(|byte| *byte == 0) {
        let name = std::str::from_utf8(name).context("a file name that is no text")?;
        // A file that was removed and not yet committed.
        if name.is_empty() || !from.join(name).is_file() {
            continue;
        }
        let target = to.join(name);
        let parent = target.parent().context("invariant: it has a directory")?;
        std::fs::create_dir_all(parent)?;
        std::fs::copy(from.join(name), &target).with_context(|| format!("cannot copy {name}"))?;
    }
    Ok(())
}

fn names(place: &Path) -> anyhow::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in
        std::fs::read_dir(place).with_context(|| format!("cannot list {}", place.display()))?
    {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}

impl Release {
    fn new(sources: &Path, target: &Path, place: &Path) -> anyhow::Result<Self> {
        let (architecture, debian_architecture) = match std::env::consts::ARCH {
            "x86_64" => ("x86_64", "amd64"),
            "aarch64" => ("aarch64", "arm64"),
            other => bail!("no release is made for {other}"),
        };
        Ok(Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            debian_architecture,
            architecture,
            epoch: epoch(sources)?,
            sources: sources.to_owned(),
            target: target.to_owned(),
            place: place.to_owned(),
        })
    }

    fn make(&self) -> anyhow::Result<()> {
        let binary = self.build()?;
        // Only what is made now is there in the end.
        let _ = std::fs::remove_dir_all(&self.place);
        std::fs::create_dir_all(&self.place)?;
        let files = self.files(&binary)?;
        self.write_tarball(&files)?;
        deb::write(self, &files)?;
        let sbom = sbom::document(&self.sources, &self.version, self.epoch, &binary)?;
        let name = format!("caisson-{}.spdx.json", self.version);
        std::fs::write(self.place.join(name), sbom)?;
        self.write_image(&binary)?;
        self.write_checksums()
    }

    /// The binary, with the paths of this machine replaced in whatever mentions them.
    fn build(&self) -> anyhow::Result<PathBuf> {
        let host = host()?;
        let home = |variable: &str, directory: &str| {
            let home = std::env::var_os("HOME").unwrap_or_default();
            let found = std::env::var_os(variable).map(PathBuf::from);
            found.unwrap_or_else(|| Path::new(&home).join(directory))
        };
        let maps = [
            (self.target.clone(), "/build"),
            (self.sources.clone(), "/caisson"),
            (home("CARGO_HOME", ".cargo"), "/cargo"),
            (home("RUSTUP_HOME", ".rustup"), "/rustup"),
        ];
        // The flags of .cargo/config.toml; the variable takes their place.
        let mut flags = vec![
            "-Ctarget-feature=+crt-static".to_owned(),
            "-Crelocation-model=static".to_owned(),
            "-Clink-arg=-Wl,--build-id=none".to_owned(),
        ];
        let mut c_flags = Vec::new();
        for (from, to) in &maps {
            flags.push(format!("--remap-path-prefix={}={to}", from.display()));
            c_flags.push(format!("-ffile-prefix-map={}={to}", from.display()));
        }
        let variable = format!("CFLAGS_{}", host.replace('-', "_"));
        let status = cargo()
            .current_dir(&self.sources)
            .args([
                "build",
                "--release",
                "--locked",
                "--quiet",
                "--package",
                "caisson",
            ])
            .args(["--target", &host, "--target-dir"])
            .arg(&self.target)
            .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\u{1f}"))
            .env(variable, c_flags.join(" "))
            .env("SOURCE_DATE_EPOCH", self.epoch.to_string())
            .env("CARGO_INCREMENTAL", "0")
            .status()
            .context("cannot run cargo build")?;
        if !status.success() {
            bail!("the release build ended with {status}");
        }
        Ok(self.target.join(host).join("release/caisson"))
    }

    /// Everything that is installed, by its path beneath `/usr`.
    fn files(&self, binary: &Path) -> anyhow::Result<Vec<Entry>> {
        let mut files = vec![Entry::file("bin/caisson", std::fs::read(binary)?, 0o755)];
        let scratch = self.target.join("generated");
        let _ = std::fs::remove_dir_all(&scratch);
        std::fs::create_dir_all(scratch.join("man"))?;
        let generate = |words: &[&str]| -> anyhow::Result<Vec<u8>> {
            let output = Command::new(binary)
                .arg("--root")
                .arg(scratch.join("root"))
                .arg("--run-root")
                .arg(scratch.join("run"))
                .args(words)
                .output()
                .context("cannot run the binary")?;
            if !output.status.success() {
                let text = String::from_utf8_lossy(&output.stderr);
                bail!("caisson {} failed: {text}", words.join(" "));
            }
            Ok(output.stdout)
        };
        let manual = scratch.join("man");
        generate(&["internal", "docs", "--man", &manual.display().to_string()])?;
        for name in names(&manual)? {
            let page = archive::gzip(&std::fs::read(manual.join(&name))?)?;
            files.push(Entry::file(
                &format!("share/man/man1/{name}.gz"),
                page,
                0o644,
            ));
        }
        for (shell, path) in [
            ("bash", "share/bash-completion/completions/caisson"),
            ("zsh", "share/zsh/vendor-completions/_caisson"),
            ("fish", "share/fish/vendor_completions.d/caisson.fish"),
        ] {
            files.push(Entry::file(path, generate(&["completion", shell])?, 0o644));
        }
        for (source, path) in [
            (
                "packaging/caisson-boot.service",
                "lib/systemd/system/caisson-boot.service",
            ),
            ("LICENSE", "share/doc/caisson/copyright"),
            ("README.md", "share/doc/caisson/README.md"),
            ("CHANGELOG.md", "share/doc/caisson/CHANGELOG.md"),
        ] {
            let bytes = std::fs::read(self.sources.join(source))
                .with_context(|| format!("cannot read {source}"))?;
            files.push(Entry::file(path, bytes, 0o644));
        }
        let _ = std::fs::remove_dir_all(&scratch);
        files.sort_by(|one, other| one.path.cmp(&other.path));
        Ok(files)
    }

    fn write_tarball(&self, files: &[Entry]) -> anyhow::Result<()> {
        let name = format!("caisson-{}-{}-linux", self.version, self.architecture);
        let tar = archive::tar(files, &format!("{name}/"), self.epoch)?;
        let path = self.place.join(format!("{name}.tar.gz"));
        Ok(std::fs::write(path, archive::gzip(&tar)?)?)
    }

    /// Caisson's own image, made by this very binary in a store of its own.
    fn write_image(&self, binary: &Path) -> anyhow::Result<()> {
        let scratch = self.target.join("image");
        let _ = std::fs::remove_dir_all(&scratch);
        std::fs::create_dir_all(&scratch)?;
        let context = scratch.join("context");
        std::fs::create_dir_all(&context)?;
        std::fs::copy(binary, context.join("caisson"))?;
        std::fs::write(context.join("Dockerfile"), DOCKERFILE)?;
        let name = format!("caisson:{}", self.version);
        let out = self.place.join(format!(
            "caisson-{}-{}-image.tar",
            self.version, self.architecture
        ));
        let caisson = |words: &[&str]| -> anyhow::Result<()> {
            let status = Command::new(binary)
                .arg("--root")
                .arg(scratch.join("root"))
                .arg("--run-root")
                .arg(scratch.join("run"))
                .args(words)
                .env("SOURCE_DATE_EPOCH", self.epoch.to_string())
                .env_remove("CAISSON_CONFIG")
                .stdout(std::process::Stdio::null())
                .status()
                .context("cannot run the binary")?;
            match status.success() {
                true => Ok(()),
                false => bail!("caisson {} ended with {status}", words.join(" ")),
            }
        };
        let context = context.display().to_string();
        caisson(&[
            "build",
            "--quiet",
            "--provenance=false",
            "-t",
            &name,
            &context,
        ])?;
        caisson(&["save", "-o", &out.display().to_string(), &name])?;
        let _ = std::fs::remove_dir_all(&scratch);
        Ok(())
    }

    fn write_checksums(&self) -> anyhow::Result<()> {
        let mut text = String::new();
        for name in names(&self.place)? {
            let bytes = std::fs::read(self.place.join(&name))?;
            text += &format!("{}  {name}\n", hex(&Sha256::digest(&bytes)));
        }
        Ok(std::fs::write(self.place.join("SHA256SUMS"), text)?)
    }
}

/// Lower-case hexadecimal digits.
fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The time that everything has.
fn epoch(sources: &Path) -> anyhow::Result<u64> {
    if let Ok(text) = std::env::var("SOURCE_DATE_EPOCH") {
        return text.parse().context("SOURCE_DATE_EPOCH is no number");
    }
    let output = Command::new("git")
        .args(["log", "-1", "--format=%ct"])
        .current_dir(sources)
        .output()
        .context("cannot run git")?;
    let text = String::from_utf8_lossy(&output.stdout);
    // A copy of the sources has no history; whoever made it gives the time.
    Ok(text.trim().parse().unwrap_or(0))
}
