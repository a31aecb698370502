//! Kernel parameters: which of them a container may set, and setting them.
//!
//! A parameter belongs to a namespace or to the whole machine. Only those of namespaces that are not
//! the host's are written, whoever asks: flags, Compose files and records are all checked here.

use std::os::fd::OwnedFd;

use rustix::fs::{Mode, OFlags, ResolveFlags};
use sys::{Context, SysError};
use types::kernel_parameter::OF_IPC;

use crate::failure::Failure;
use crate::spec::{NamespaceKind, Process, Spec};

/// Checks the parameters of a specification before anything is made. `joined` are namespaces of
/// others, which may still be the host's: those of a container with `--network host`.
pub(crate) fn check(spec: &Spec, joined: &[(NamespaceKind, OwnedFd)]) -> Result<(), Failure> {
    let is_own = |wanted: NamespaceKind| {
        let mut others = joined.iter().filter(|(kind, _)| *kind == wanted);
        spec.linux.makes(wanted) || others.any(|(kind, fd)| !is_ours(*kind, fd))
    };
    for key in spec.linux.sysctl.keys() {
        let refused = match owner(key) {
            Some(kind) if is_own(kind) => continue,
            Some(NamespaceKind::Network) => "not allowed in host network namespace",
            Some(_) => "is not allowed in the hosts ipc namespace",
            None => "is not in a separate kernel namespace",
        };
        return Err(Failure::setup(format!(
            "sysctl {key:?} {refused}; set it on the host where it is wanted there"
        )));
    }
    Ok(())
}

/// The namespace that a parameter belongs to; `None` where that is none, or the name is not one.
fn owner(key: &str) -> Option<NamespaceKind> {
    path_of(key)?;
    if key.starts_with("net.") {
        Some(NamespaceKind::Network)
    } else if key.starts_with("fs.mqueue.") || OF_IPC.contains(&key) {
        Some(NamespaceKind::Ipc)
    } else {
        None
    }
}

/// The path of a parameter beneath `/proc/sys`. A slash stands for a dot within a name, as in
/// `net.ipv4.conf.eth0/1.x`: no name may become one that leads upwards, as in `net.//.kernel.panic`.
fn path_of(key: &str) -> Option<String> {
    let exchanged = key.chars().map(|c| match c {
        '.' => '/',
        '/' => '.',
        other => other,
    });
    let path: String = exchanged.collect();
    let is_name = |part: &str| !matches!(part, "" | "." | "..");
    path.split('/').all(is_name).then_some(path)
}

/// Whether a namespace is that of this process, which has the host's.
fn is_ours(kind: NamespaceKind, namespace: &OwnedFd) -> bool {
    let own = match kind {
        NamespaceKind::Network => "/proc/self/ns/net",
        _ => "/proc/self/ns/ipc",
    };
    match (rustix::fs::stat(own), rustix::fs::fstat(namespace)) {
        (Ok(own), Ok(other)) => (own.st_dev, own.st_ino) == (other.st_dev, other.st_ino),
        _ => true,
    }
}

/// Kernel parameters are written through the procfs that this process mounted itself and holds by
/// descriptor: no racing mount can lead the write elsewhere (CVE-2025-52881).
pub(crate) fn write(spec: &Spec, proc: &OwnedFd) -> Result<(), Failure> {
    for (key, value) in &spec.linux.sysctl {
        let failed =
            |why: String| Failure::setup(format!("cannot set sysctl {key}={value}: {why}"));
        let path = path_of(key).ok_or_else(|| failed("it is no name".to_string()))?;
        write_proc(proc, &format!("sys/{path}"), value)
            .map_err(|error| failed(sys::error::describe(error.errno).to_string()))?;
    }
    Ok(())
}

pub(crate) fn set_oom_score(process: &Process, proc: &OwnedFd) -> Result<(), Failure> {
    let Some(score) = process.oom_score_adj else {
        return Ok(());
    };
    match write_proc(proc, "self/oom_score_adj", &score.to_string()) {
        // Lowering needs CAP_SYS_RESOURCE: clamped to what is allowed, like limits.
        Err(error) if error.errno == rustix::io::Errno::ACCESS => Ok(()),
        other => Ok(other?),
    }
}

fn write_proc(proc: &OwnedFd, path: &str, value: &str) -> Result<(), SysError> {
    let file = rustix::fs::openat2(
        proc,
        path,
        OFlags::WRONLY | OFlags::CLOEXEC,
        Mode::empty(),
        ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_XDEV,
    )
    .on("open", path)?;
    rustix::io::write(&file, value.as_bytes())
        .map(drop)
        .on("write", path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::Namespace;

    fn checked(key: &str, kinds: &[NamespaceKind], joined: &[(NamespaceKind, OwnedFd)]) -> String {
        let mut spec = Spec::default();
        spec.linux.sysctl.insert(key.into(), "1".into());
        spec.linux.namespaces = kinds
            .iter()
            .map(|kind| Namespace {
                kind: *kind,
                path: String::new(),
            })
            .collect();
        check(&spec, joined).map_or_else(|failure| failure.text, |()| "allowed".into())
    }

    /// Every form of a name that could lead out of its namespace's part of /proc/sys.
    #[test]
    fn no_name_leads_out_of_its_namespace() {
        use NamespaceKind::{Ipc, Network};
        let all = [Network, Ipc];
        for key in [
            "net.ipv4.ip_forward",
            "net.ipv4.conf.eth0/1.rp_filter",
            "kernel.shmmax",
            "fs.mqueue.msg_max",
        ] {
            assert_eq!(checked(key, &all, &[]), "allowed", "{key}");
        }
        for key in [
            "net.//.kernel.panic",
            "net.ipv4.//.//.kernel.core_pattern",
            "fs.mqueue.//.//.kernel.panic",
            "net./.x",
            "net..x",
            "net.",
            "net",
            "kernel.panic",
            "kernel.core_pattern",
            "kernel/panic",
            "/net.x",
            ".net.x",
            "",
        ] {
            assert!(
                checked(key, &all, &[]).contains("is not in a separate kernel namespace"),
                "{key}"
            );
        }
    }

    #[test]
    fn parameters_of_the_hosts_namespaces_stay_as_they_are() {
        use NamespaceKind::{Ipc, Network};
        assert!(
            checked("net.ipv4.ip_forward", &[Ipc], &[])
                .contains("not allowed in host network namespace")
        );
        assert!(checked("kernel.shmmax", &[Network], &[]).contains("hosts ipc namespace"));
        // Another container's, which has the host's.
        let host = OwnedFd::from(std::fs::File::open("/proc/self/ns/net").unwrap());
        assert!(checked("net.ipv4.ip_forward", &[], &[(Network, host)]).contains("host network"));
        let other = OwnedFd::from(std::fs::File::open("/proc/self/ns/ipc").unwrap());
        assert_eq!(
            checked("net.ipv4.ip_forward", &[], &[(Network, other)]),
            "allowed"
        );
    }
}
