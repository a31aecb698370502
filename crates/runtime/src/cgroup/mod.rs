//! Control groups: a directory per container in every hierarchy, its limits, its end.
//!
//! There is no "v1 mode" or "v2 mode": each controller is used where it is mounted. On a hybrid
//! machine (v1 controllers beside a cgroup2 mount without them) limits are v1's, and a directory on
//! the cgroup2 mount gives what v1 lacks: `cgroup.kill`, a freezer that always works, and
//! `CLONE_INTO_CGROUP`. Pure v2 and pure v1 are the two ends of the same.
//!
//! ```text
//! <mount>/<parent>/<id>          a container            parent: "caisson", or --cgroup-parent
//! <mount>/<parent>/monitors      all monitors
//! ```
//!
//! What must stay true:
//! - A v2 directory takes no process after `cgroup.kill`: on kernel 6.18 a child cloned into it is
//!   killed at birth. [`ContainerCgroup::attach`] refuses; a restart makes a new group.
//! - A limit that cannot be enforced is an error that names it, or, where Docker goes on without, one
//!   of Docker's warnings. None is left out silently.
//! - Removal never stops at its first error, and may run twice.
//!
//! Called by the monitor (start, stop, restart) and, by path, by later commands. Cost of making and
//! joining eight v1 groups and one v2 group: some 0.7 ms, most of it the kernel's; a group whose
//! parent exists is one mkdir, one open and one write each. Tested on made-up trees and, as root, on
//! the real kernel (`tests`).

mod begun;
mod control;
mod detect;
mod devices;
mod directory;
mod group;
mod limits;
mod stats;
mod v1;
mod v2;

#[cfg(test)]
mod fake;
#[cfg(test)]
mod tests;

pub use begun::Begun;
pub use devices::DeviceRules;
pub use group::ContainerCgroup;
pub use limits::LimitError;
pub use stats::CgroupStats;

use std::collections::BTreeSet;

use rustix::io::Errno;
use sys::SysError;
use types::container::Resources;

use detect::Hierarchy;
use directory::Directory;
use limits::{Limits, Purpose};

/// The parent of containers that ask for none.
pub const DEFAULT_PARENT: &str = "caisson";

const PATH_BYTES_MAX: usize = 1024;

/// What was asked for and this kernel lacks, in Docker's words.
pub(crate) type Warnings = Vec<String>;

/// Docker's words for limits that it discards.
mod warning {
    pub(super) const SWAP: &str = "Your kernel does not support swap limit capabilities or the \
        cgroup is not mounted. Memory limited without swap.";
    pub(super) const SWAPPINESS: &str = "Your kernel does not support memory swappiness \
        capabilities or the cgroup is not mounted. Memory swappiness discarded.";
    pub(super) const RESERVATION: &str = "Your kernel does not support memory soft limit \
        capabilities or the cgroup is not mounted. Limitation discarded.";
    pub(super) const OOM_KILL_DISABLE: &str =
        "Your kernel does not support OomKillDisable. OomKillDisable discarded.";
    pub(super) const OOM_WITHOUT_LIMIT: &str = "OOM killer is disabled for the container, but no \
        memory limit is set, this can result in the system running out of resources.";
    pub(super) const BLKIO_WEIGHT: &str = "Your kernel does not support Block I/O weight or the \
        cgroup is not mounted. Weight discarded.";
    pub(super) const BLKIO_WEIGHT_DEVICE: &str = "Your kernel does not support Block I/O \
        weight_device or the cgroup is not mounted. Weight-device discarded.";
    pub(super) const BLKIO_READ_BPS: &str = "Your kernel does not support BPS Block I/O read \
        limit or the cgroup is not mounted. Block I/O BPS read limit discarded.";
    pub(super) const BLKIO_WRITE_BPS: &str = "Your kernel does not support BPS Block I/O write \
        limit or the cgroup is not mounted. Block I/O BPS write limit discarded.";
    pub(super) const BLKIO_READ_IOPS: &str = "Your kernel does not support IOPS Block read limit \
        or the cgroup is not mounted. Block I/O IOPS read limit discarded.";
    pub(super) const BLKIO_WRITE_IOPS: &str = "Your kernel does not support IOPS Block write \
        limit or the cgroup is not mounted. Block I/O IOPS write limit discarded.";
}

/// Why a control group cannot be made or used.
#[derive(Debug, thiserror::Error)]
pub enum CgroupError {
    /// A system call failed.
    #[error(transparent)]
    Sys(#[from] SysError),
    /// A limit is refused.
    #[error(transparent)]
    Limit(#[from] LimitError),
    /// Nothing to work with.
    #[error("no cgroup hierarchy is mounted writable; mount one at /sys/fs/cgroup")]
    NotMounted,
    /// A limit was asked for that nothing here enforces.
    #[error("cannot enforce {limit}: the {controller} controller is not available")]
    Unenforceable {
        /// The flag.
        limit: &'static str,
        /// The controller.
        controller: &'static str,
    },
    /// Realtime comes out of the group above.
    #[error(
        "control group {0} has not so much realtime to give: write it to its cpu.rt_runtime_us, and \
         name the group with --cgroup-parent"
    )]
    NoRealtime(String),
    /// Not a path of plain names.
    #[error("invalid cgroup path {0:?}")]
    Path(String),
    /// Docker's words.
    #[error("invalid device cgroup rule format: '{0}'")]
    DeviceRule(String),
    /// More than is sensible.
    #[error("more than 1024 device cgroup rules")]
    TooManyDeviceRules,
    /// Processes of another time are in it.
    #[error("control group {0} is still in use")]
    InUse(String),
    /// The new limit is below what cannot be reclaimed.
    #[error("unable to set memory limit to {limit} (current usage: {usage})")]
    MemoryInUse {
        /// In bytes.
        limit: i64,
        /// In bytes.
        usage: u64,
    },
    /// There is no such group in any hierarchy.
    #[error("no such control group: {0}")]
    Missing(String),
    /// See the module's text.
    #[error("control group {0} was killed and takes no process any more")]
    Killed(String),
    /// Freezing took too long.
    #[error("unable to freeze the control group")]
    NotFrozen,
    /// There is no freezer.
    #[error("this kernel has no freezer for control groups")]
    NoFreezer,
    /// Processes survive SIGKILL, in an uninterruptible sleep.
    #[error("processes of the control group cannot be killed")]
    NotKilled,
    /// Some directories are left.
    #[error("cannot remove control group: {}", join(.0))]
    NotRemoved(Vec<SysError>),
}

/// A parent is removed under our hands at most so often.
const REMOVED_MEANWHILE_MAX: usize = 16;

fn join(errors: &[SysError]) -> String {
    errors
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join("; ")
}

/// The hierarchies of this machine.
#[derive(Debug)]
pub struct Layout {
    hierarchies: Vec<Hierarchy>,
}

impl Layout {
    /// Finds out what is mounted and usable.
    ///
    /// # Errors
    /// Nothing is mounted, or /proc cannot be read.
    pub fn detect() -> Result<Self, CgroupError> {
        Ok(Self {
            hierarchies: detect::detect()?,
        })
    }

    /// Whether every controller is v2's.
    pub fn is_unified(&self) -> bool {
        self.hierarchies.iter().all(|hierarchy| hierarchy.unified)
    }

    /// Names of the controllers that can be used, v2's pseudo-controllers apart.
    pub fn controllers(&self) -> Vec<String> {
        self.hierarchies
            .iter()
            .flat_map(|hierarchy| hierarchy.controllers.clone())
            .collect()
    }

    /// Checks what is asked for and makes the first of the container's groups, v2's, where there is
    /// one; [`Begun::finish`] makes the others.
    ///
    /// # Errors
    /// Limits that are refused or cannot be enforced; then nothing is left behind.
    pub fn begin(
        self,
        parent: &str,
        id: &str,
        resources: &Resources,
        rules: &DeviceRules,
    ) -> Result<Begun, CgroupError> {
        rules.check()?;
        let limits = plan(resources, Purpose::Create)?;
        self.require_controllers(&limits)?;
        let mut cgroup = ContainerCgroup::empty(Place::parse(parent, id)?);
        let joined = self.hierarchies.into_iter().filter(is_joined);
        let (unified, rest): (Vec<_>, Vec<_>) = joined.partition(|hierarchy| hierarchy.unified);
        for hierarchy in unified {
            sys::fail::point("runtime.cgroup.beginning");
            if let Err(error) = cgroup.make(hierarchy) {
                let _ = cgroup.remove();
                return Err(error);
            }
        }
        Ok(Begun {
            cgroup,
            rest,
            limits,
            rules: rules.clone(),
        })
    }

    /// Moves this process to the group of all monitors at `path` wherever it is in the caller's
    /// group, so that it outlives the caller's unit, session or job.
    ///
    /// # Errors
    /// What kept it in a group; it is moved in the others all the same.
    pub fn move_to_monitors(&self, path: &str) -> Result<(), CgroupError> {
        let path = match path {
            "" => format!("{DEFAULT_PARENT}/monitors"),
            path => clean(path)?,
        };
        let mut first_error = None;
        for hierarchy in &self.hierarchies {
            // At the root there is nothing to leave, and a hierarchy costs a tenth of a millisecond.
            if hierarchy.at_root || hierarchy.own.trim_start_matches('/') == path {
                continue;
            }
            // A thread that moves itself by `tasks` waits for nobody; see `attach_self`.
            let file = match hierarchy.unified {
                true => "cgroup.procs",
                false => "tasks",
            };
            let moved = until_it_stays(|| {
                make_group(hierarchy, &path)
                    .and_then(|group| group.write(file, "0").map_err(CgroupError::from))
            });
            if let Err(error) = moved {
                first_error.get_or_insert(error);
            }
        }
        first_error.map_or(Ok(()), Err)
    }

    /// Names of the groups beneath a parent, of all hierarchies together.
    ///
    /// # Errors
    /// A parent that is no path of plain names.
    pub fn names(&self, parent: &str) -> Result<BTreeSet<String>, CgroupError> {
        let parent = clean(parent)?;
        let entries = self
            .hierarchies
            .iter()
            .flat_map(|hierarchy| std::fs::read_dir(hierarchy.root.path().join(&parent)));
        let groups = entries
            .flatten()
            .flatten()
            .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
        Ok(groups
            .filter_map(|entry| entry.file_name().into_string().ok())
            .collect())
    }

    /// Removes an empty parent, and the group of monitors in it, from every hierarchy; what is in use
    /// stays. `true` where nothing is left.
    ///
    /// # Errors
    /// A parent that is no path of plain names.
    pub fn remove_parent(&self, parent: &str) -> Result<bool, CgroupError> {
        let parent = clean(parent)?;
        let monitors = format!("{parent}/monitors");
        let mut is_gone = true;
        for hierarchy in &self.hierarchies {
            if hierarchy.own.trim_start_matches('/') == monitors {
                // A monitor's last act: it leaves first.
                let _ = hierarchy.root.try_write("cgroup.procs", "0");
            }
            let _ = hierarchy.root.remove(&monitors);
            let mut rest = parent.as_str();
            while !rest.is_empty() {
                match hierarchy.root.remove(rest) {
                    Ok(()) | Err(Errno::NOENT) => {}
                    Err(_) => {
                        is_gone &= rest != parent;
                        break;
                    }
                }
                rest = rest.rsplit_once('/').map_or("", |(before, _)| before);
            }
        }
        Ok(is_gone)
    }

    /// Removes a parent that a user named, and what is above it, from every hierarchy: as far as it is
    /// empty and was made by us for a container.
    ///
    /// # Errors
    /// A parent that is no path of plain names.
    pub fn remove_made_parent(&self, parent: &str) -> Result<(), CgroupError> {
        let parent = clean(parent)?;
        for hierarchy in &self.hierarchies {
            let ends: Vec<&str> = prefixes(&parent).collect();
            for end in ends.into_iter().rev() {
                let group = hierarchy.root.open_at(end);
                if !group.is_ok_and(|group| group.is_marked_made())
                    || hierarchy.root.remove(end).is_err()
                {
                    break;
                }
            }
        }
        Ok(())
    }

    /// Each limit that was asked for needs a controller.
    fn require_controllers(&self, limits: &Limits) -> Result<(), CgroupError> {
        let has = |v1: &str, v2: &str| {
            let name = |hierarchy: &Hierarchy| {
                if hierarchy.unified {
                    v2.to_string()
                } else {
                    v1.to_string()
                }
            };
            self.hierarchies
                .iter()
                .any(|hierarchy| hierarchy.has(&name(hierarchy)))
        };
        let cpu = limits.cpu_shares.is_some()
            || limits.cpu_period.is_some()
            || limits.cpu_quota.is_some()
            || limits.realtime_period.is_some()
            || limits.realtime_runtime.is_some();
        let memory = limits.memory.is_some()
            || limits.memory_swap.is_some()
            || limits.memory_reservation.is_some();
        let cpuset = limits.cpuset_cpus.is_some() || limits.cpuset_mems.is_some();
        let blkio = limits.blkio_weight.is_some() || !limits.devices.is_empty();
        for (wanted, limit, v1, v2) in [
            (memory, "--memory", "memory", "memory"),
            (cpu, "--cpus or --cpu-shares", "cpu", "cpu"),
            (cpuset, "--cpuset-cpus or --cpuset-mems", "cpuset", "cpuset"),
            (limits.pids.is_some(), "--pids-limit", "pids", "pids"),
            (blkio, "--blkio-weight or --device-read-bps", "blkio", "io"),
        ] {
            if wanted && !has(v1, v2) {
                return Err(CgroupError::Unenforceable {
                    limit,
                    controller: v1,
                });
            }
        }
        Ok(())
    }
}

/// Hierarchies with controllers are joined for their limits (and so that a cgroup namespace shows
/// the container's own directory in each). One that only has a name belongs to a manager such as
/// systemd: it is joined where we would else stay in the caller's unit and end with it.
fn is_joined(hierarchy: &Hierarchy) -> bool {
    hierarchy.unified || !hierarchy.controllers.is_empty() || !hierarchy.at_root
}

/// Checks what is asked for as [`Layout::begin`] does, and makes nothing.
///
/// # Errors
/// Limits that are refused.
pub(crate) fn check(
    parent: &str,
    id: &str,
    resources: &Resources,
    rules: &DeviceRules,
) -> Result<(), CgroupError> {
    rules.check()?;
    let limits = plan(resources, Purpose::Create)?;
    let place = Place::parse(parent, id)?;
    if limits.realtime_period.is_some() || limits.realtime_runtime.is_some() {
        check_realtime(&Layout::detect()?, &place, &limits)?;
    }
    Ok(())
}

/// Realtime is v1's, of some kernels, and what the group above has of it.
fn check_realtime(layout: &Layout, place: &Place, limits: &Limits) -> Result<(), CgroupError> {
    const FILE: &str = "cpu.rt_runtime_us";
    let is_realtime = |hierarchy: &&Hierarchy| {
        !hierarchy.unified && hierarchy.has("cpu") && hierarchy.root.read(FILE).is_ok()
    };
    let Some(hierarchy) = layout.hierarchies.iter().find(is_realtime) else {
        return Err(CgroupError::Unenforceable {
            limit: "--cpu-rt-period and --cpu-rt-runtime",
            controller: "cpu",
        });
    };
    // A group that is made new has none.
    let parent = hierarchy.root.open_at(&place.parent);
    let has = parent.ok().and_then(|group| group.read(FILE).ok());
    let has = has.and_then(|text| text.trim().parse::<i64>().ok());
    let asked = limits.realtime_runtime.unwrap_or_default();
    // -1 is all that there is.
    if has.is_none_or(|has| has != -1 && has < asked) && asked != 0 {
        let path = hierarchy.root.path().join(&place.parent);
        return Err(CgroupError::NoRealtime(path.display().to_string()));
    }
    Ok(())
}

fn plan(resources: &Resources, purpose: Purpose) -> Result<Limits, CgroupError> {
    // Only `--cpus` needs to know.
    let cpus = if resources.nano_cpus == 0 {
        1
    } else {
        std::thread::available_parallelism().map_or(1, |count| count.get() as u32)
    };
    Ok(limits::plan(
        resources,
        purpose,
        cpus,
        &limits::device_number,
    )?)
}

/// Where a container's groups are, from each mount's root.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Place {
    parent: String,
    path: String,
}

impl Place {
    fn parse(parent: &str, id: &str) -> Result<Self, CgroupError> {
        let parent = clean(if parent.is_empty() {
            DEFAULT_PARENT
        } else {
            parent
        })?;
        if id.contains('/') {
            return Err(CgroupError::Path(id.to_string()));
        }
        let path = format!("{parent}/{}", clean(id)?);
        Ok(Self { parent, path })
    }
}

/// A relative path of plain names.
fn clean(path: &str) -> Result<String, CgroupError> {
    let names: Vec<&str> = path.split('/').filter(|name| !name.is_empty()).collect();
    let bad = |name: &&str| matches!(*name, "." | "..") || name.contains(['\0', '\n']);
    if names.is_empty() || names.iter().any(bad) || path.len() > PATH_BYTES_MAX {
        return Err(CgroupError::Path(path.to_string()));
    }
    Ok(names.join("/"))
}

/// Another command removes an empty parent while we make a group in it or enter it: tried again.
fn until_it_stays<T>(mut make: impl FnMut() -> Result<T, CgroupError>) -> Result<T, CgroupError> {
    for _ in 1..REMOVED_MEANWHILE_MAX {
        match make() {
            Err(CgroupError::Sys(error)) if matches!(error.errno, Errno::NOENT | Errno::NODEV) => {}
            other => return other,
        }
    }
    make()
}

/// Makes the group at `path` and what is missing above it, and opens it.
fn make_group(hierarchy: &Hierarchy, path: &str) -> Result<Directory, CgroupError> {
    until_it_stays(|| try_make_group(hierarchy, path))
}

fn try_make_group(hierarchy: &Hierarchy, path: &str) -> Result<Directory, CgroupError> {
    match hierarchy.root.make(path) {
        Ok(()) => {}
        Err(Errno::NOENT) => {
            if let Some((parent, _)) = path.rsplit_once('/') {
                make_parents(hierarchy, parent)?;
            }
            match hierarchy.root.make(path) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(errno) => return Err(hierarchy.root.error("make", path, errno).into()),
            }
        }
        Err(Errno::EXIST) => {}
        Err(errno) => return Err(hierarchy.root.error("make", path, errno).into()),
    }
    let group = hierarchy.root.open_at(path)?;
    prepare_group(hierarchy, &group, path)?;
    Ok(group)
}

/// What a new group needs before it takes processes.
fn prepare_group(hierarchy: &Hierarchy, group: &Directory, path: &str) -> Result<(), CgroupError> {
    let parent = path.rsplit_once('/').map_or("", |(parent, _)| parent);
    if !hierarchy.unified && hierarchy.has("cpuset") {
        let ready = !group.read("cpuset.cpus")?.trim().is_empty()
            && !group.read("cpuset.mems")?.trim().is_empty();
        if !ready {
            inherit_cpusets(hierarchy, path)?;
        }
    }
    if hierarchy.unified && !hierarchy.controllers.is_empty() {
        let enabled = group.read("cgroup.controllers")?;
        let has = |name: &String| enabled.split_whitespace().any(|other| other == name);
        if !hierarchy.controllers.iter().all(has) {
            enable_controllers(hierarchy, parent);
        }
    }
    Ok(())
}

/// Makes every missing component of `path`. Another command may be doing the same.
fn make_parents(hierarchy: &Hierarchy, path: &str) -> Result<(), CgroupError> {
    for end in prefixes(path) {
        match hierarchy.root.make(end) {
            Ok(()) => {
                if let Ok(group) = hierarchy.root.open_at(end) {
                    group.mark_made();
                }
                if !hierarchy.unified && hierarchy.has("cpuset") {
                    inherit_cpusets(hierarchy, end)?;
                    // Groups beneath start with the parent's processors and nodes by themselves.
                    let group = hierarchy.root.open_at(end)?;
                    let _ = group.try_write("cgroup.clone_children", "1");
                }
            }
            Err(Errno::EXIST) => {}
            Err(errno) => return Err(hierarchy.root.error("make", end, errno).into()),
        }
    }
    if hierarchy.unified {
        enable_controllers(hierarchy, path);
    }
    Ok(())
}

/// `a/b/c`: `a`, `a/b`, `a/b/c`.
fn prefixes(path: &str) -> impl Iterator<Item = &str> {
    let ends = path
        .match_indices('/')
        .map(|(at, _)| at)
        .chain([path.len()]);
    ends.map(|end| &path[..end])
        .filter(|prefix| !prefix.is_empty())
}

/// Hands processors and memory nodes down to `path`, level by level.
fn inherit_cpusets(hierarchy: &Hierarchy, path: &str) -> Result<(), CgroupError> {
    let mut above: Option<Directory> = None;
    for prefix in prefixes(path) {
        let group = hierarchy.root.open_at(prefix)?;
        v1::inherit_cpuset(&group, above.as_ref().unwrap_or(&hierarchy.root))?;
        above = Some(group);
    }
    Ok(())
}

/// Lets the groups beneath `path` use every controller, level by level. One that cannot be enabled
/// (a group with processes, delegation) is missed only by a limit that needs it, which then fails.
fn enable_controllers(hierarchy: &Hierarchy, path: &str) {
    let enable = |group: &Directory| {
        let all: Vec<String> = hierarchy
            .controllers
            .iter()
            .map(|name| format!("+{name}"))
            .collect();
        if group
            .try_write("cgroup.subtree_control", &all.join(" "))
            .is_err()
        {
            for one in all {
                let _ = group.try_write("cgroup.subtree_control", &one);
            }
        }
    };
    if hierarchy.controllers.is_empty() {
        return;
    }
    enable(&hierarchy.root);
    for prefix in prefixes(path) {
        if let Ok(group) = hierarchy.root.open_at(prefix) {
            enable(&group);
        }
    }
}

/// Whether every controller of this machine is v2's. Where cgroup2 or the usual tmpfs is mounted at
/// the usual place that is one question to the kernel.
pub fn is_unified() -> bool {
    const CGROUP2_MAGIC: i64 = 0x6367_7270;
    const TMPFS_MAGIC: i64 = 0x0102_1994;
    match rustix::fs::statfs("/sys/fs/cgroup").map(|found| found.f_type) {
        Ok(CGROUP2_MAGIC) => true,
        Ok(TMPFS_MAGIC) => false,
        _ => Layout::detect().is_ok_and(|layout| layout.is_unified()),
    }
}
