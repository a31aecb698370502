//! What `info` tells of this machine.

use crate::Engine;

/// Facts about machine and store.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// An id of this store.
    pub id: String,
    /// How many images there are.
    pub images: usize,
    /// The file system beneath the store.
    pub filesystem: String,
    /// Only cgroup v2 is there.
    pub unified: bool,
    /// Usable controllers.
    pub controllers: Vec<String>,
    /// Name of the distribution.
    pub operating_system: String,
    /// Its version.
    pub os_version: String,
    /// How many processors.
    pub cpus: usize,
    /// The machine's name.
    pub hostname: String,
    /// Mirrors of Docker's registry.
    pub mirrors: Vec<String>,
    /// What confines containers.
    pub security_options: Vec<String>,
    /// Whether packets may take the short way past a network's bridge, for people.
    pub shortcut: String,
    /// What this kernel lacks and what follows.
    pub warnings: Vec<String>,
}

impl Facts {
    /// Whether a controller is usable.
    pub fn has(&self, controller: &str) -> bool {
        self.controllers.iter().any(|name| name == controller)
    }
}

impl Engine {
    /// Gathers the facts.
    pub fn facts(&self) -> Facts {
        let layout = runtime::cgroup::Layout::detect();
        let unified = layout
            .as_ref()
            .is_ok_and(runtime::cgroup::Layout::is_unified);
        let controllers = layout
            .as_ref()
            .map(|layout| layout.controllers())
            .unwrap_or_default();
        let release = sys::host::read_text("/etc/os-release");
        let field = |key: &str| {
            let line = release.lines().find_map(|line| line.strip_prefix(key));
            line.unwrap_or("").trim_matches('"').to_string()
        };
        let mut security_options = vec!["name=seccomp,profile=builtin".to_string()];
        if std::path::Path::new("/sys/kernel/security/apparmor").exists() {
            security_options.push("name=apparmor (present, not used yet)".into());
        }
        if unified {
            security_options.push("name=cgroupns".into());
        }
        let mirrors = self
            .config()
            .registries
            .get("docker.io")
            .map(|one| one.mirrors.clone());
        Facts {
            id: format!("{:x}", self.cgroup_parent().len()) + &self.cgroup_parent(),
            images: self.store().references().map_or(0, |all| all.len()),
            filesystem: filesystem(self.store().root()),
            unified,
            warnings: warnings(&controllers),
            controllers,
            operating_system: field("PRETTY_NAME="),
            os_version: field("VERSION_ID="),
            cpus: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            hostname: rustix::system::uname()
                .nodename()
                .to_string_lossy()
                .into_owned(),
            mirrors: mirrors.unwrap_or_default(),
            security_options,
            shortcut: shortcut(network::shortcut::check()),
        }
    }
}

fn shortcut(answer: Result<(), sys::SysError>) -> String {
    match answer {
        Ok(()) => "available".into(),
        Err(error) => format!("not available ({error})"),
    }
}

fn filesystem(root: &std::path::Path) -> String {
    let magic = rustix::fs::statfs(root).map_or(0, |stat| stat.f_type as u64);
    match magic {
        0xef53 => "extfs".into(),
        0x5846_5342 => "xfs".into(),
        0x9123_683e => "btrfs".into(),
        0x0102_1994 => "tmpfs".into(),
        0x794c_7630 => "overlayfs".into(),
        0x2fc1_2fc1 => "zfs".into(),
        other => format!("{other:#x}"),
    }
}

/// What is missing, and what of Docker's promises cannot be kept without it.
fn warnings(controllers: &[String]) -> Vec<String> {
    let mut all = Vec::new();
    for (name, effect) in [
        (
            "memory",
            "No memory limit support (-m and its relatives are refused)",
        ),
        (
            "cpu",
            "No cpu limit support (--cpus and --cpu-shares are refused)",
        ),
        ("cpuset", "No cpuset support (--cpuset-cpus is refused)"),
        ("pids", "No pids limit support (--pids-limit is refused)"),
        (
            "blkio",
            "No blkio support (--blkio-weight and --device-* rates are refused)",
        ),
    ] {
        let io = name == "blkio" && controllers.iter().any(|other| other == "io");
        if !io && !controllers.iter().any(|other| other == name) {
            all.push(format!("WARNING: {effect}"));
        }
    }
    if !runtime::limits::may_raise() {
        all.push("WARNING: no CAP_SYS_RESOURCE: limits of --ulimit are cut to our own".into());
    }
    if sys::host::kernel_version() < (6, 8) {
        all.push("WARNING: kernel before 6.8: images of very many layers may not mount".into());
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn why_there_is_no_short_way_is_said() {
        assert_eq!(shortcut(Ok(())), "available");
        let refused = sys::SysError::new("load", "program", rustix::io::Errno::PERM);
        let text = shortcut(Err(refused));
        assert!(
            text.starts_with("not available (") && text.contains("program"),
            "{text}"
        );
    }
}
