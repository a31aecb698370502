//! Which control group hierarchies there are, by what is mounted: never by one flag, since a machine
//! may have v1 controllers and a cgroup2 mount with some, none or all controllers beside them.

use std::path::{Path, PathBuf};

use sys::atomic::read_limited;

use super::CgroupError;
use super::directory::Directory;

const MOUNTINFO_BYTES_MAX: u64 = 64 * 1024 * 1024;
const CGROUP_BYTES_MAX: u64 = 64 * 1024;
/// The kernel has 16 controllers; named hierarchies come on top.
const HIERARCHIES_MAX: usize = 32;

/// A mounted hierarchy.
#[derive(Debug)]
pub(super) struct Hierarchy {
    /// The last component of the mount point (`cpu,cpuacct`), as a container sees it.
    pub(super) name: String,
    /// The mount's root directory.
    pub(super) root: Directory,
    /// cgroup v2.
    pub(super) unified: bool,
    /// Names of controllers; `name=…` is none.
    pub(super) controllers: Vec<String>,
    /// Whether our own process sits at the mount's root.
    pub(super) at_root: bool,
    /// Where our own process is, from the hierarchy's root.
    pub(super) own: String,
}

impl Hierarchy {
    pub(super) fn has(&self, controller: &str) -> bool {
        self.controllers.iter().any(|name| name == controller)
    }
}

/// What one line of mountinfo says of a cgroup mount.
#[derive(Debug, PartialEq, Eq)]
struct CgroupMount {
    point: PathBuf,
    /// The directory of the hierarchy that is mounted.
    root: String,
    unified: bool,
    /// Controllers or `name=…`, as in /proc/PID/cgroup; empty on v2.
    options: Vec<String>,
}

/// Finds the usable hierarchies.
pub(super) fn detect() -> Result<Vec<Hierarchy>, CgroupError> {
    let mounts = read_text("/proc/self/mountinfo", MOUNTINFO_BYTES_MAX)?;
    let own = read_text("/proc/self/cgroup", CGROUP_BYTES_MAX)?;
    hierarchies(&mounts, &own)
}

fn read_text(path: &str, bytes_max: u64) -> Result<String, CgroupError> {
    let bytes = read_limited(Path::new(path), bytes_max)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn hierarchies(mountinfo: &str, own: &str) -> Result<Vec<Hierarchy>, CgroupError> {
    let own = parse_own(own);
    let mut found: Vec<Hierarchy> = Vec::new();
    let mut seen: Vec<Vec<String>> = Vec::new();
    for mount in mountinfo.lines().filter_map(parse_mount) {
        let Some((_, path)) = own.iter().find(|(options, _)| *options == mount.options) else {
            continue;
        };
        if seen.contains(&mount.options) || found.len() >= HIERARCHIES_MAX {
            continue;
        }
        // Hidden under a later mount, or not for us: another mount of the same may do.
        let Ok(root) = Directory::open(&mount.point) else {
            continue;
        };
        let controllers = if mount.unified {
            let Ok(text) = root.read("cgroup.controllers") else {
                continue;
            };
            text.split_whitespace().map(str::to_string).collect()
        } else {
            let named = |option: &&String| !option.starts_with("name=");
            mount.options.iter().filter(named).cloned().collect()
        };
        let name = mount
            .point
            .file_name()
            .map_or("cgroup".into(), |name| name.to_string_lossy());
        found.push(Hierarchy {
            name: name.into_owned(),
            root,
            unified: mount.unified,
            controllers,
            at_root: *path == mount.root || path == "/",
            own: path.clone(),
        });
        seen.push(mount.options);
    }
    if found.is_empty() {
        return Err(CgroupError::NotMounted);
    }
    Ok(found)
}

/// The lines of /proc/self/cgroup: what names a hierarchy, and our place in it.
fn parse_own(text: &str) -> Vec<(Vec<String>, String)> {
    let parse = |line: &str| {
        let mut fields = line.splitn(3, ':');
        let (_, names, path) = (fields.next()?, fields.next()?, fields.next()?);
        Some((sorted(names.split(',')), path.to_string()))
    };
    text.lines().filter_map(parse).collect()
}

fn sorted<'a>(names: impl Iterator<Item = &'a str>) -> Vec<String> {
    let mut names: Vec<String> = names
        .filter(|name| !name.is_empty())
        .map(str::to_string)
        .collect();
    names.sort_unstable();
    names
}

/// A writable cgroup mount, or `None`.
fn parse_mount(line: &str) -> Option<CgroupMount> {
    // 32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime shared:9 - cgroup cgroup rw,cpu
    let (before, after) = line.split_once(" - ")?;
    let mut after = after.split(' ');
    let unified = match after.next()? {
        "cgroup" => false,
        "cgroup2" => true,
        _ => return None,
    };
    let super_options = after.nth(1)?;
    let mut before = before.split(' ');
    let root = unescape(before.nth(3)?);
    let point = PathBuf::from(unescape(before.next()?));
    let mount_options = before.next()?;
    let writable = |options: &str| options.split(',').any(|option| option == "rw");
    if !writable(mount_options) || !writable(super_options) {
        return None;
    }
    const NO_CONTROLLERS: [&str; 9] = [
        "rw",
        "ro",
        "noprefix",
        "clone_children",
        "xattr",
        "cpuset_v2_mode",
        "all",
        "none",
        "favordynmods",
    ];
    let other =
        |option: &&str| !NO_CONTROLLERS.contains(option) && !option.starts_with("release_agent=");
    let options = if unified {
        Vec::new()
    } else {
        sorted(super_options.split(',').filter(other))
    };
    Some(CgroupMount {
        point,
        root,
        unified,
        options,
    })
}

/// Undoes the kernel's octal escapes of space, tab, newline and backslash.
fn unescape(text: &str) -> String {
    let mut result = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        result.push_str(&rest[..at]);
        let code = rest
            .get(at + 1..at + 4)
            .and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match code {
            Some(code) => {
                result.push(char::from(code));
                rest = &rest[at + 4..];
            }
            None => {
                result.push('\\');
                rest = &rest[at + 1..];
            }
        }
    }
    result.push_str(rest);
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_are_told_apart() {
        let mount = |point: &str, root: &str, unified, options: &[&str]| {
            let options = options.iter().map(ToString::to_string).collect();
            Some(CgroupMount {
                point: point.into(),
                root: root.into(),
                unified,
                options,
            })
        };
        for (line, expected) in [
            (
                "32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,nosuid shared:9 - cgroup cgroup rw,cpu,cpuacct",
                mount(
                    "/sys/fs/cgroup/cpu,cpuacct",
                    "/",
                    false,
                    &["cpu", "cpuacct"],
                ),
            ),
            (
                "40 31 0:37 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd",
                mount("/sys/fs/cgroup/systemd", "/", false, &["name=systemd"]),
            ),
            (
                "41 31 0:38 /a\\040b /x\\134y rw,relatime master:1 shared:2 - cgroup2 cgroup2 rw,nsdelegate",
                mount("/x\\y", "/a b", true, &[]),
            ),
            (
                "35 31 0:32 / /m rw - cgroup none rw,memory,release_agent=/x,clone_children",
                mount("/m", "/", false, &["memory"]),
            ),
            // Read-only, by mount or as a whole: nothing can be made there.
            (
                "35 31 0:32 / /m ro,relatime - cgroup cgroup rw,memory",
                None,
            ),
            ("35 31 0:32 / /m rw,relatime - cgroup2 cgroup2 ro", None),
            ("23 27 0:22 / /sys rw - sysfs sysfs rw", None),
            ("31 23 0:28 / /sys/fs/cgroup rw - tmpfs cgroup rw", None),
            ("", None),
            ("a - cgroup", None),
            ("1 2 - cgroup cgroup rw", None),
        ] {
            assert_eq!(parse_mount(line), expected, "{line}");
        }
    }

    #[test]
    fn our_place_is_found_in_every_hierarchy() {
        let own = parse_own("9:name=systemd:/a:b\n2:cpuacct,cpu:/\n0::/x\nbroken\n");
        assert_eq!(
            own,
            [
                (vec!["name=systemd".to_string()], "/a:b".to_string()),
                (
                    vec!["cpu".to_string(), "cpuacct".to_string()],
                    "/".to_string()
                ),
                (vec![], "/x".to_string()),
            ]
        );
    }

    #[test]
    fn only_mounted_and_known_hierarchies_are_used_each_once() {
        let base = super::super::fake::scratch("detect");
        for name in ["cpu", "unified", "memory"] {
            std::fs::create_dir_all(base.join(name)).unwrap();
        }
        std::fs::write(base.join("unified/cgroup.controllers"), "hugetlb misc\n").unwrap();
        let line = |name: &str, kind: &str, options: &str| {
            format!(
                "1 2 0:3 / {}/{name} rw - {kind} {kind} rw{options}\n",
                base.display()
            )
        };
        let mounts = line("gone", "cgroup", ",cpu")
            + &line("cpu", "cgroup", ",cpu,cpuacct")
            + &line("cpu", "cgroup", ",cpu,cpuacct")
            + &line("memory", "cgroup", ",memory")
            + &line("unified", "cgroup2", "");
        let own = "3:cpu,cpuacct:/\n2:memory:/elsewhere\n0::/\n1:pids:/\n";
        let found = hierarchies(&mounts, own).unwrap();
        let told: Vec<_> = found
            .iter()
            .map(|one| {
                (
                    one.name.as_str(),
                    one.unified,
                    one.at_root,
                    one.controllers.join("+"),
                )
            })
            .collect();
        assert_eq!(
            told,
            [
                ("cpu", false, true, "cpu+cpuacct".to_string()),
                ("memory", false, false, "memory".to_string()),
                ("unified", true, true, "hugetlb+misc".to_string()),
            ]
        );
        assert!(matches!(hierarchies("", own), Err(CgroupError::NotMounted)));
        std::fs::remove_dir_all(&base).unwrap();
    }
}
