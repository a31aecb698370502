//! What tests need of the machine, installed from Debian's packages where it is missing.
//!
//! A fresh machine has Rust and a C compiler. Nothing is done where every program is there, so that
//! a developer's machine is left alone and needs no network.

use std::process::Command;

use anyhow::{Context, bail};

/// A program and the package that has it.
const NEEDED: &[(&str, &str)] = &[
    ("busybox", "busybox-static"),
    ("curl", "curl"),
    ("skopeo", "skopeo"),
    ("podman", "podman"),
    ("buildah", "buildah"),
    ("docker-registry", "docker-registry"),
    ("htpasswd", "apache2-utils"),
    ("openssl", "openssl"),
    ("python3", "python3-minimal"),
    ("chromium", "chromium"),
    ("chromedriver", "chromium-driver"),
    ("psql", "postgresql"),
    ("runuser", "util-linux"),
    ("mmdebstrap", "mmdebstrap"),
    ("bwrap", "bubblewrap"),
    ("nsenter", "util-linux"),
    ("script", "bsdutils"),
    ("ip", "iproute2"),
    ("nft", "nftables"),
    ("iptables-legacy", "iptables"),
    ("tar", "tar"),
    ("gzip", "gzip"),
    ("bzip2", "bzip2"),
    ("xz", "xz-utils"),
    ("zstd", "zstd"),
    ("mkfs.xfs", "xfsprogs"),
    ("mkfs.btrfs", "btrfs-progs"),
];

/// Installs what is missing.
pub(crate) fn install() -> anyhow::Result<()> {
    install_programs(NEEDED)
}

/// The same for programs of one's own, each with its package.
pub(crate) fn install_programs(needed: &[(&str, &str)]) -> anyhow::Result<()> {
    let missing: Vec<(&str, &str)> = needed
        .iter()
        .copied()
        .filter(|(program, _)| !is_there(program))
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let packages: Vec<&str> = missing.iter().map(|(_, package)| *package).collect();
    let wanted = packages.join(" ");
    if !is_there("apt-get") {
        bail!(
            "the tests need {wanted}, and this machine has no apt-get: install them by other means"
        );
    }
    if !is_root() {
        bail!("the tests need {wanted}: run `apt-get install {wanted}` as root, or this as root");
    }
    eprintln!("installing {wanted}");
    apt(&["update", "-qq"])?;
    let mut words = vec!["install", "-yqq", "--no-install-recommends"];
    words.extend(&packages);
    apt(&words)?;
    let still: Vec<&str> = missing
        .into_iter()
        .map(|(program, _)| program)
        .filter(|program| !is_there(program))
        .collect();
    if !still.is_empty() {
        bail!(
            "installed {wanted}, yet these programs are still missing: {}",
            still.join(" ")
        );
    }
    Ok(())
}

fn apt(words: &[&str]) -> anyhow::Result<()> {
    let status = Command::new("apt-get")
        .args(words)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .stdout(std::process::Stdio::null())
        .status()
        .context("cannot run apt-get")?;
    if !status.success() {
        bail!("apt-get {} ended with {status}", words.join(" "));
    }
    Ok(())
}

/// Whether a program is on the path, or where only root looks.
pub(crate) fn is_there(program: &str) -> bool {
    let path = std::env::var("PATH").unwrap_or_default();
    path.split(':')
        .chain(["/usr/sbin", "/sbin", "/usr/bin", "/bin"])
        .any(|directory| std::path::Path::new(directory).join(program).is_file())
}

fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata("/proc/self").is_ok_and(|metadata| metadata.uid() == 0)
}
