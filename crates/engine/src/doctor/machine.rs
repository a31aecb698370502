//! What kernel and machine lack. Features are tried, never guessed from a version.

use std::os::fd::AsFd;

use network::link::{BridgeSpec, VethSpec};
use rustix::io::Errno;

use super::{Area, Finding, Remedy, Severity};
use crate::Engine;

/// Of the disk beneath the store, a twentieth free is little.
const FREE_PART_MIN: u64 = 20;
/// The oldest kernel, see docs/kernel.md.
const KERNEL_MIN: (u32, u32) = (5, 12);
const CAP_SYS_ADMIN: u64 = 1 << 21;

fn error(text: impl Into<String>) -> Finding {
    Finding::new(Severity::Error, Area::Machine, text)
}

fn warning(text: impl Into<String>) -> Finding {
    Finding::new(Severity::Warning, Area::Machine, text)
}

fn note(text: impl Into<String>) -> Finding {
    Finding::new(Severity::Note, Area::Machine, text)
}

impl Engine {
    pub(super) fn machine(&self) -> Vec<Finding> {
        let mut all = Vec::new();
        all.extend(privileges());
        all.extend(kernel());
        all.extend(filesystems());
        all.extend(control_groups());
        all.extend(firewall());
        all.extend(user_namespaces());
        all.extend(seccomp());
        all.extend(self.disk());
        all.extend(self.boot_unit());
        all
    }

    fn disk(&self) -> Option<Finding> {
        let disk = rustix::fs::statvfs(self.store().root()).ok()?;
        let (free, all) = (disk.f_bavail * disk.f_frsize, disk.f_blocks * disk.f_frsize);
        (all > 0 && free < all / FREE_PART_MIN).then(|| {
            warning(format!(
                "the disk beneath {} is nearly full: {} of {} are free",
                self.store().root().display(),
                types::units::human_size(free as f64),
                types::units::human_size(all as f64)
            ))
            .command("caisson system df")
            .command("caisson system prune")
        })
    }

    /// Restart policies need somebody to call us after a boot.
    fn boot_unit(&self) -> Option<Finding> {
        let wants = |stored: &storage::containers::StoredContainer| {
            use types::container::RestartKind;
            let kind = stored.record.spec.restart.kind;
            !matches!(kind, RestartKind::No | RestartKind::OnFailure)
        };
        let count = self
            .containers()
            .ok()?
            .iter()
            .filter(|one| wants(one))
            .count();
        let has_systemd = std::path::Path::new("/run/systemd/system").exists();
        let unit = "multi-user.target.wants/caisson-boot.service";
        let is_enabled = ["/etc/systemd/system", "/usr/lib/systemd/system"]
            .iter()
            .any(|place| {
                std::path::Path::new(place)
                    .join(unit)
                    .symlink_metadata()
                    .is_ok()
            });
        if count == 0 || is_enabled {
            return None;
        }
        let text = format!(
            "{count} containers have a restart policy, and nothing starts them after a reboot"
        );
        let found = note(text);
        Some(match has_systemd {
            true => found.command("systemctl enable caisson-boot.service"),
            false => found.command("caisson system boot   # once after each boot"),
        })
    }
}

fn privileges() -> Option<Finding> {
    let (effective, _, _) = sys::process::capabilities();
    (effective & CAP_SYS_ADMIN == 0).then(|| {
        error(
            "this user may not make mounts and namespaces (no CAP_SYS_ADMIN): containers need root",
        )
        .command("sudo caisson doctor")
    })
}

fn kernel() -> Option<Finding> {
    let (major, minor) = sys::host::kernel_version();
    ((major, minor) < KERNEL_MIN).then(|| {
        error(format!(
            "kernel {} is too old: {}.{} is the oldest that Caisson runs on",
            sys::host::kernel_release(),
            KERNEL_MIN.0,
            KERNEL_MIN.1
        ))
    })
}

/// The file systems that containers are made of.
fn filesystems() -> Vec<Finding> {
    let mut all = Vec::new();
    for (kind, effect) in [
        ("overlay", "no image can be mounted"),
        ("tmpfs", "containers have no /dev and no --tmpfs"),
        ("mqueue", "containers have no /dev/mqueue"),
    ] {
        match rustix::mount::fsopen(kind, rustix::mount::FsOpenFlags::FSOPEN_CLOEXEC) {
            Err(Errno::NODEV) => {
                let found = error(format!("this kernel has no {kind}: {effect}"));
                all.push(match kind {
                    "overlay" => found
                        .command("modprobe overlay")
                        .remedy(Remedy::Module("overlay")),
                    _ => found,
                });
            }
            Err(Errno::NOSYS) => {
                all.push(error(
                    "this kernel has no fsopen, or a filter forbids it: no container can run",
                ));
                break;
            }
            // Whether this user may is said elsewhere.
            Ok(_) | Err(_) => {}
        }
    }
    all
}

fn control_groups() -> Vec<Finding> {
    let layout = match runtime::cgroup::Layout::detect() {
        Ok(layout) => layout,
        Err(problem) => {
            return vec![
                error(format!("no control groups: {problem}"))
                    .command("mount -t cgroup2 cgroup2 /sys/fs/cgroup"),
            ];
        }
    };
    let there = layout.controllers();
    let has = |name: &str| there.iter().any(|one| one == name);
    let lacks = [
        ("memory", "-m and its relatives are refused"),
        ("cpu", "--cpus and --cpu-shares are refused"),
        ("cpuset", "--cpuset-cpus is refused"),
        ("pids", "--pids-limit is refused"),
    ];
    let mut all: Vec<Finding> = lacks
        .iter()
        .filter(|(name, _)| !has(name))
        .map(|(name, effect)| {
            let found = warning(format!("no {name} controller of control groups: {effect}"));
            match *name {
                // Debian and Raspberry Pi OS switch it off unless the kernel is told.
                "memory" => found.command(
                    "sed -i 's/^GRUB_CMDLINE_LINUX=\"/&cgroup_enable=memory swapaccount=1 /' /etc/default/grub && update-grub && reboot",
                ),
                _ => found,
            }
        })
        .collect();
    if !has("blkio") && !has("io") {
        all.push(note(
            "no io controller of control groups: --blkio-weight and --device-* rates are refused",
        ));
    }
    all
}

fn firewall() -> Option<Finding> {
    let socket = match network::Socket::netfilter() {
        Ok(socket) => socket,
        Err(problem) => {
            return Some(
                error(format!(
                    "nftables does not answer ({problem}): no ports, no way out for containers"
                ))
                .command("modprobe nf_tables")
                .remedy(Remedy::Module("nf_tables")),
            );
        }
    };
    let table = network::nft::Table::new("caisson-doctor").ok()?;
    let problem = network::nft::foreign::foreign(&socket, &table).err()?;
    let found = error(format!("nftables cannot be read: {problem}"));
    Some(
        found
            .command("modprobe nf_tables")
            .remedy(Remedy::Module("nf_tables")),
    )
}

fn user_namespaces() -> Option<Finding> {
    let number = |path: &str| sys::host::read_text(path).trim().parse::<u64>().ok();
    let is_none = number("/proc/sys/user/max_user_namespaces") == Some(0)
        || !std::path::Path::new("/proc/self/ns/user").exists();
    if is_none {
        return Some(
            note("no user namespaces: programs in containers that sandbox themselves (browsers) do not start")
                .command("sysctl -w user.max_user_namespaces=15000"),
        );
    }
    None
}

fn seccomp() -> Option<Finding> {
    let status = sys::host::read_text("/proc/self/status");
    (!status.contains("\nSeccomp:")).then(|| {
        error("this kernel has no seccomp filters (CONFIG_SECCOMP_FILTER): containers are refused")
            .command("caisson run --security-opt seccomp=unconfined …   # without this protection")
    })
}

/// Whether bridges and virtual cables can be made; tried in a network namespace of our own, in which
/// this process stays.
pub(super) fn links() -> Option<Finding> {
    // For want of privileges, which is said already.
    sys::process::unshare(sys::process::namespaces::NET).ok()?;
    let socket = network::Socket::route().ok()?;
    let names = ["doctor0", "doctor1", "doctor2"].map(|name| name.parse().ok());
    let [Some(bridge), Some(host), Some(inside)] = &names else {
        return None;
    };
    let lacks = |what: &str, problem: &dyn std::fmt::Display, module: &'static str| {
        let found = error(format!(
            "no {what} can be made ({problem}): only --network host and none work"
        ));
        let found = found.command(format!("modprobe {module}"));
        Some(found.remedy(Remedy::Module(module)))
    };
    let mac = network::mac::Mac::of(std::net::Ipv4Addr::LOCALHOST);
    let spec = BridgeSpec {
        name: bridge,
        owner: "caisson:doctor",
        origin: std::path::Path::new(""),
        mtu: network::bridge::MTU_DEFAULT,
        mac,
        addresses: &[],
    };
    if let Err(problem) = network::link::create_bridge(&socket, &spec) {
        return lacks("bridge", &problem, "bridge");
    }
    let own = std::fs::File::open("/proc/self/ns/net").ok()?;
    let spec = VethSpec {
        host,
        bridge,
        inside,
        namespace: own.as_fd(),
        mac,
        mtu: network::bridge::MTU_DEFAULT,
        program: None,
    };
    match network::link::create_veth(&socket, &spec) {
        Ok(()) => shortcut(),
        Err(problem) => lacks("virtual cable", &problem, "veth"),
    }
}

/// Nothing needs it: without it, packets between containers cross the bridge.
fn shortcut() -> Option<Finding> {
    let problem = network::shortcut::check().err()?;
    Some(note(format!(
        "no short way past the bridges of networks ({problem}): they work, large transfers between \
         containers are slower"
    )))
}
