//! What may be mounted on `/proc` and inside it.
//!
//! The kernel trusts what is below `/proc` of a process: LSM labels, the attributes of the process
//! that our own start writes, the masks that hide the host. A volume or a memory file system in its
//! place takes all that away (CVE-2019-16884, CVE-2019-19921), so that the rule is runc's: on `/proc`
//! only a procfs, in it only the files that lxcfs fills. Asked twice for each mount, of the text and
//! of the place that it led to.

use std::os::fd::{AsFd, AsRawFd};
use std::path::{Path, PathBuf};

use crate::failure::Failure;
use crate::spec::Mount;

const MAGIC: i64 = 0x9fa0;

/// Files that lxcfs and its like show in the kernel's stead.
const ALLOWED: [&str; 11] = [
    "cpuinfo",
    "diskstats",
    "loadavg",
    "meminfo",
    "net/dev",
    "slabinfo",
    "stat",
    "swaps",
    "sys/crypto/fips_enabled",
    "sys/kernel/ns_last_pid",
    "uptime",
];

/// Where a path is, seen from `/proc`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Elsewhere,
    Root,
    Allowed,
    Inside,
}

fn place(path: &Path) -> Place {
    let Ok(below) = path.strip_prefix("/proc") else {
        return Place::Elsewhere;
    };
    let Some(below) = below.to_str() else {
        return Place::Inside;
    };
    // `net` is a link to the directory of a process.
    let (first, rest) = below.split_once('/').unwrap_or((below, ""));
    let is_pid = !first.is_empty() && first.bytes().all(|byte| byte.is_ascii_digit());
    match below {
        "" => Place::Root,
        _ if ALLOWED.contains(&below) || is_pid && rest == "net/dev" => Place::Allowed,
        _ => Place::Inside,
    }
}

/// Refuses a mount by the path that was asked for. `source` is what a bind binds.
pub(crate) fn check_path(mount: &Mount, source: Option<impl AsFd>) -> Result<(), Failure> {
    let path = types::lexical_path::clean(&mount.destination);
    check(mount, Path::new(&path), source)
}

/// Refuses a mount by the place that its path led to, beneath a root that is attached.
pub(crate) fn check_target(
    mount: &Mount,
    source: Option<impl AsFd>,
    root: impl AsFd,
    target: impl AsFd,
) -> Result<(), Failure> {
    let (root, target) = (path_of(&root)?, path_of(&target)?);
    let path = match target.strip_prefix(&root) {
        Ok(below) => Path::new("/").join(below),
        Err(_) => return Err(refusal(mount, &target, "it is outside the container")),
    };
    check(mount, &path, source)
}

fn check(mount: &Mount, path: &Path, source: Option<impl AsFd>) -> Result<(), Failure> {
    let is_procfs = || match &source {
        Some(source) => {
            rustix::fs::fstatfs(source).is_ok_and(|stat| i128::from(stat.f_type) == MAGIC.into())
        }
        None => mount.kind == "proc",
    };
    match place(path) {
        Place::Elsewhere | Place::Allowed => Ok(()),
        Place::Root if is_procfs() => Ok(()),
        Place::Root => Err(refusal(mount, path, "it is not of type proc")),
        Place::Inside => Err(refusal(mount, path, "it is inside /proc")),
    }
}

fn refusal(mount: &Mount, path: &Path, why: &str) -> Failure {
    let (source, destination) = (&mount.source, &mount.destination);
    Failure::setup(format!(
        "error mounting {source:?} to rootfs at {destination:?}: {path:?} cannot be mounted because {why}"
    ))
}

/// Where a descriptor's object is in this mount namespace.
fn path_of(fd: &impl AsFd) -> Result<PathBuf, Failure> {
    let link = format!("/proc/self/fd/{}", fd.as_fd().as_raw_fd());
    std::fs::read_link(&link)
        .map_err(|error| Failure::setup(format!("cannot read {link}: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_lxcfs_fills_may_be_covered() {
        for (path, expected) in [
            ("/", Place::Elsewhere),
            ("/process", Place::Elsewhere),
            ("/data/proc/self", Place::Elsewhere),
            ("/proc", Place::Root),
            ("/proc/", Place::Root),
            ("/proc/meminfo", Place::Allowed),
            ("/proc/sys/kernel/ns_last_pid", Place::Allowed),
            ("/proc/net/dev", Place::Allowed),
            ("/proc/17/net/dev", Place::Allowed),
            ("/proc/self/attr", Place::Inside),
            ("/proc/1/net", Place::Inside),
            ("/proc/x/net/dev", Place::Inside),
            ("/proc/sys", Place::Inside),
            ("/proc/meminfo/x", Place::Inside),
        ] {
            assert_eq!(place(Path::new(path)), expected, "{path}");
        }
    }

    #[test]
    fn a_bind_on_proc_must_be_of_a_procfs() {
        let check = |destination: &str, kind: &str, source: Option<&str>| {
            let mount = Mount {
                destination: destination.into(),
                kind: kind.into(),
                ..Mount::default()
            };
            let source = source.map(|path| std::fs::File::open(path).unwrap());
            check_path(&mount, source)
        };
        assert!(check("/proc", "proc", None).is_ok());
        assert!(check("/proc/../proc/", "bind", Some("/proc")).is_ok());
        assert!(check("/x/../proc", "bind", Some("/")).is_err());
        assert!(check("/proc", "tmpfs", None).is_err());
        let failure = check("/proc/self", "tmpfs", None).unwrap_err();
        assert!(
            failure
                .text
                .ends_with("cannot be mounted because it is inside /proc")
        );
    }
}
