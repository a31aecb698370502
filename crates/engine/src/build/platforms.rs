//! Which processors this machine runs programs of a build for.

use types::platform::Platform;

/// Processors that builds are for, and what `qemu` calls those that it emulates by another name.
const PROCESSORS: [(&str, &str); 10] = [
    ("amd64", "x86_64"),
    ("arm64", "aarch64"),
    ("386", "i386"),
    ("arm", "arm"),
    ("riscv64", "riscv64"),
    ("ppc64le", "ppc64le"),
    ("s390x", "s390x"),
    ("loong64", "loongarch64"),
    ("mips64le", "mips64el"),
    ("mips64", "mips64"),
];

/// Whether programs for a processor run: it is the machine's own, or one that it includes, or an
/// emulator is registered.
pub(super) fn runs(architecture: &str) -> bool {
    let host = Platform::host().normalised();
    let is_own = architecture.is_empty()
        || architecture == host.architecture
        || (host.architecture == "amd64" && architecture == "386")
        || (host.architecture == "arm64" && architecture == "arm");
    let mut known = PROCESSORS.iter();
    let name = known.find(|(processor, _)| *processor == architecture);
    let name = name.map_or(architecture, |(_, name)| name);
    let handler = format!("/proc/sys/fs/binfmt_misc/qemu-{name}");
    is_own || std::path::Path::new(&handler).exists()
}

/// The platforms that programs of a build run for, this machine's first.
pub fn platforms() -> Vec<Platform> {
    let host = Platform::host().normalised();
    let others = PROCESSORS.iter().map(|(processor, _)| *processor);
    let others = others.filter(|other| *other != host.architecture && runs(other));
    let others: Vec<Platform> = others
        .map(|other| Platform::new("linux", other, ""))
        .collect();
    std::iter::once(host).chain(others).collect()
}
