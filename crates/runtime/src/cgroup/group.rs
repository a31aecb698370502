//! The groups of one container.

use std::cell::Cell;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::io::Errno;
use sys::SysError;
use types::container::Resources;

use super::detect::Hierarchy;
use super::devices::DeviceRules;
use super::directory::{DEPTH_MAX, Directory};
use super::limits::{Limits, Purpose, is_available};
use super::stats::{self, CgroupStats};
use super::{CgroupError, LimitError, Place, Warnings, control, make_group, plan, v1, v2};

/// How long removal waits for processes that are ending.
const REMOVE_MAX: Duration = Duration::from_secs(2);
const REMOVE_PAUSE_MIN: Duration = Duration::from_micros(500);
const REMOVE_PAUSE_MAX: Duration = Duration::from_millis(50);

/// The groups of one container, one in each hierarchy.
#[derive(Debug)]
pub struct ContainerCgroup {
    place: Place,
    groups: Vec<Group>,
    /// The v2 group got `cgroup.kill`.
    killed: Cell<bool>,
}

#[derive(Debug)]
struct Group {
    hierarchy: Hierarchy,
    directory: Directory,
}

impl ContainerCgroup {
    pub(super) fn empty(place: Place) -> Self {
        Self {
            place,
            groups: Vec::new(),
            killed: Cell::new(false),
        }
    }

    /// Opens the groups of a container that exists.
    ///
    /// # Errors
    /// There is none in any hierarchy.
    pub fn open(parent: &str, id: &str) -> Result<Self, CgroupError> {
        let mut cgroup = Self::empty(Place::parse(parent, id)?);
        for hierarchy in super::detect::detect()? {
            match hierarchy.root.open_at(&cgroup.place.path) {
                Ok(directory) => cgroup.groups.push(Group {
                    hierarchy,
                    directory,
                }),
                Err(error) if error.errno == Errno::NOENT => {}
                Err(error) => return Err(error.into()),
            }
        }
        if cgroup.groups.is_empty() {
            return Err(CgroupError::Missing(cgroup.place.path));
        }
        Ok(cgroup)
    }

    /// Makes the group in one hierarchy. A leftover of the same name is replaced: its limits are
    /// not ours, and it may have been killed.
    pub(super) fn make(&mut self, hierarchy: Hierarchy) -> Result<(), CgroupError> {
        let path = &self.place.path;
        match hierarchy.root.open_at(path) {
            Ok(leftover) => {
                remove_tree(&hierarchy.root, path, &leftover, DEPTH_MAX)
                    .map_err(|_| CgroupError::InUse(leftover.path().display().to_string()))?;
            }
            Err(error) if error.errno == Errno::NOENT => {}
            Err(error) => return Err(error.into()),
        }
        self.add(hierarchy)
    }

    /// As [`Self::make`], without a look at leftovers.
    pub(super) fn add(&mut self, hierarchy: Hierarchy) -> Result<(), CgroupError> {
        let directory = make_group(&hierarchy, &self.place.path)?;
        self.groups.push(Group {
            hierarchy,
            directory,
        });
        Ok(())
    }

    /// The group where a controller is, and whether that is v2. A controller is never in two.
    fn controller(&self, v1: &str, v2: &str) -> Option<(&Directory, bool)> {
        let has = |group: &&Group| {
            group
                .hierarchy
                .has(if group.hierarchy.unified { v2 } else { v1 })
        };
        self.groups
            .iter()
            .find(has)
            .map(|group| (&group.directory, group.hierarchy.unified))
    }

    fn unified(&self) -> Option<&Directory> {
        let group = self.groups.iter().find(|group| group.hierarchy.unified);
        group.map(|group| &group.directory)
    }

    pub(super) fn write_limits(
        &self,
        limits: &Limits,
        purpose: Purpose,
        warnings: &mut Warnings,
    ) -> Result<(), CgroupError> {
        match self.controller("memory", "memory") {
            Some((group, true)) => v2::write_memory(group, limits, purpose, warnings)?,
            Some((group, false)) => v1::write_memory(group, limits, purpose, warnings)?,
            None => {}
        }
        match self.controller("cpu", "cpu") {
            Some((group, true)) => v2::write_cpu(group, limits)?,
            Some((group, false)) => v1::write_cpu(group, limits)?,
            None => {}
        }
        if let Some((group, _)) = self.controller("cpuset", "cpuset") {
            check_cpuset(limits)?;
            v1::write_cpuset(group, limits)?;
        }
        if let Some((group, _)) = self.controller("pids", "pids") {
            v1::write_pids(group, limits)?;
        }
        match self.controller("blkio", "io") {
            Some((group, true)) => v2::write_io(group, limits, warnings)?,
            Some((group, false)) => v1::write_blkio(group, limits, warnings)?,
            None => {}
        }
        Ok(())
    }

    pub(super) fn write_device_rules(&self, rules: &DeviceRules) -> Result<(), CgroupError> {
        let v1 = self
            .groups
            .iter()
            .find(|group| group.hierarchy.has("devices"));
        match (v1, self.unified()) {
            (Some(group), _) => rules.write_v1(&group.directory)?,
            (None, Some(group)) => rules.attach_v2(group)?,
            (None, None) => {
                let limit = "the rules for devices";
                return Err(CgroupError::Unenforceable {
                    limit,
                    controller: "devices",
                });
            }
        }
        Ok(())
    }

    /// Changes limits of the running container; zero leaves one as it is. Tells what was discarded.
    ///
    /// # Errors
    /// Limits that are refused; those before the refused one are in force.
    pub fn update(&self, resources: &Resources) -> Result<Vec<String>, CgroupError> {
        let limits = plan(resources, Purpose::Update)?;
        let mut warnings = Vec::new();
        self.write_limits(&limits, Purpose::Update, &mut warnings)?;
        Ok(warnings)
    }

    /// Moves a process into every group.
    ///
    /// # Errors
    /// The process is gone, a limit forbids it, or the group was killed.
    pub fn attach(&self, pid: i32) -> Result<(), CgroupError> {
        self.attach_to(pid, |_| true)
    }

    /// As [`Self::attach`], for a process that was cloned into [`Self::clone_fd`].
    ///
    /// # Errors
    /// As [`Self::attach`].
    pub fn attach_cloned(&self, pid: i32) -> Result<(), CgroupError> {
        self.attach_to(pid, |group| !group.hierarchy.unified)
    }

    /// Moves the calling single-threaded process into every group; with `cloned` it was born in
    /// [`Self::clone_fd`].
    ///
    /// A thread that moves itself needs no lock over all thread groups, whose first taker waits
    /// for every processor (an RCU grace period: 3 to 20 ms): `tasks` of v1 instead of
    /// `cgroup.procs`.
    ///
    /// # Errors
    /// A limit forbids it, or the group was killed.
    pub fn attach_self(&self, cloned: bool) -> Result<(), CgroupError> {
        if self.killed.get() {
            return Err(CgroupError::Killed(self.place.path.clone()));
        }
        for group in &self.groups {
            match (group.hierarchy.unified, cloned) {
                (true, true) => {}
                (true, false) => group.directory.write("cgroup.procs", "0")?,
                (false, _) => group.directory.write("tasks", "0")?,
            }
        }
        Ok(())
    }

    fn attach_to(&self, pid: i32, wanted: impl Fn(&Group) -> bool) -> Result<(), CgroupError> {
        if self.killed.get() {
            return Err(CgroupError::Killed(self.place.path.clone()));
        }
        let pid = pid.to_string();
        for group in self.groups.iter().filter(|group| wanted(group)) {
            group.directory.write("cgroup.procs", &pid)?;
        }
        Ok(())
    }

    /// The v2 group, for `CLONE_INTO_CGROUP`; `None` without v2 or after it was killed.
    pub fn clone_fd(&self) -> Option<BorrowedFd<'_>> {
        if self.killed.get() {
            return None;
        }
        self.unified().map(AsFd::as_fd)
    }

    /// Name (the mount point's last component) and directory in each hierarchy that a container
    /// sees: those of v1, or on pure v2 the one, with an empty name.
    pub fn hierarchies(&self) -> Vec<(String, PathBuf)> {
        let v1 = self.groups.iter().filter(|group| !group.hierarchy.unified);
        let told: Vec<_> = v1
            .map(|group| {
                (
                    group.hierarchy.name.clone(),
                    group.directory.path().to_path_buf(),
                )
            })
            .collect();
        match (told.is_empty(), self.unified()) {
            (true, Some(group)) => vec![(String::new(), group.path().to_path_buf())],
            _ => told,
        }
    }

    /// Where the groups are, from each hierarchy's root.
    pub(super) fn path(&self) -> &str {
        &self.place.path
    }

    /// Every directory of the container.
    pub fn paths(&self) -> Vec<PathBuf> {
        self.groups
            .iter()
            .map(|group| group.directory.path().to_path_buf())
            .collect()
    }

    /// The group that knows all processes: v2's, since its subgroups count, else any.
    fn processes(&self) -> Option<&Directory> {
        let freezer = || {
            self.groups
                .iter()
                .find(|group| group.hierarchy.has("freezer"))
        };
        let any = || {
            freezer()
                .or(self.groups.first())
                .map(|group| &group.directory)
        };
        self.unified().or_else(any)
    }

    /// The container's processes, those in groups of its own included.
    ///
    /// # Errors
    /// The group is gone.
    pub fn pids(&self) -> Result<Vec<i32>, CgroupError> {
        match self.processes() {
            Some(group) => Ok(group.pids(true)?),
            None => Ok(Vec::new()),
        }
    }

    /// Whether no process is left; a group that is gone is empty.
    pub fn is_empty(&self) -> bool {
        if let Some(group) = self.unified() {
            return match group.read_key("cgroup.events", "populated") {
                Ok(populated) => populated == Some(0),
                Err(_) => true,
            };
        }
        self.pids().map_or(true, |pids| pids.is_empty())
    }

    /// Stops every process where it is.
    ///
    /// # Errors
    /// There is no freezer, or the processes cannot be frozen; then they run on.
    pub fn freeze(&self) -> Result<(), CgroupError> {
        match self.freezer()? {
            (group, true) => control::freeze_v2(group),
            (group, false) => control::freeze_v1(group),
        }
    }

    /// Lets every process go on.
    ///
    /// # Errors
    /// There is no freezer, or the group is gone.
    pub fn thaw(&self) -> Result<(), CgroupError> {
        match self.freezer()? {
            (group, true) => group.write("cgroup.freeze", "0")?,
            (group, false) => group.write("freezer.state", "THAWED")?,
        }
        Ok(())
    }

    /// v2's freezer (kernel 5.2) where it is, else v1's.
    fn freezer(&self) -> Result<(&Directory, bool), CgroupError> {
        if let Some(group) = self.unified()
            && group.open_file("cgroup.freeze").is_ok()
        {
            return Ok((group, true));
        }
        let v1 = self
            .groups
            .iter()
            .find(|group| group.hierarchy.has("freezer"));
        v1.map(|group| (&group.directory, false))
            .ok_or(CgroupError::NoFreezer)
    }

    /// Sends SIGKILL to every process, also to frozen ones and those that fork. Does not wait until
    /// they are reaped. After it the group takes no process any more.
    ///
    /// # Errors
    /// Without `cgroup.kill` (kernel 5.14): processes that survive.
    pub fn kill_all(&self) -> Result<(), CgroupError> {
        if self.is_empty() {
            return Ok(());
        }
        if let Some(group) = self.unified() {
            match group.try_write("cgroup.kill", "1") {
                Ok(()) => {
                    self.killed.set(true);
                    return Ok(());
                }
                Err(Errno::NOENT | Errno::OPNOTSUPP) => {}
                Err(errno) => return Err(group.error("write", "cgroup.kill", errno).into()),
            }
        }
        match self.processes() {
            Some(group) => control::kill_by_signals(group, &|| self.freeze(), &|| self.thaw()),
            None => Ok(()),
        }
    }

    /// What the container uses now.
    ///
    /// # Errors
    /// The group is gone.
    pub fn stats(&self) -> Result<CgroupStats, CgroupError> {
        let mut stats = CgroupStats::default();
        match self.controller("cpuacct", "") {
            Some((group, _)) => stats::add_cpuacct(group, &mut stats)?,
            None => {
                if let Some(group) = self.unified() {
                    stats::add_cpu_v2(group, &mut stats)?;
                }
            }
        }
        if let Some((group, false)) = self.controller("cpu", "cpu") {
            stats::add_cpu_v1(group, &mut stats)?;
        }
        match self.controller("memory", "memory") {
            Some((group, true)) => stats::add_memory_v2(group, &mut stats)?,
            Some((group, false)) => stats::add_memory_v1(group, &mut stats)?,
            None => {}
        }
        if let Some((group, _)) = self.controller("pids", "pids") {
            stats::add_pids(group, &mut stats)?;
        }
        match self.controller("blkio", "io") {
            Some((group, true)) => stats::add_io(group, &mut stats)?,
            Some((group, false)) => stats::add_blkio(group, &mut stats)?,
            None => {}
        }
        Ok(stats)
    }

    /// How often the kernel killed here for want of memory; 0 where it cannot be told.
    pub fn oom_kill_count(&self) -> u64 {
        let count = match self.controller("memory", "memory") {
            Some((group, true)) => group.read_key("memory.events", "oom_kill"),
            Some((group, false)) => group.read_key("memory.oom_control", "oom_kill"),
            None => Ok(None),
        };
        count.ok().flatten().unwrap_or(0)
    }

    /// A non-blocking descriptor that becomes readable when memory ran out, and once when the group
    /// is removed: ask [`Self::oom_kill_count`]. Read it empty with a buffer of 64 bytes or more
    /// (v2's is an inotify queue). `None` without a memory controller.
    ///
    /// # Errors
    /// The kernel's answer.
    pub fn oom_event_fd(&self) -> Result<Option<OwnedFd>, CgroupError> {
        Ok(match self.controller("memory", "memory") {
            Some((group, true)) => Some(control::oom_inotify(group)?),
            Some((group, false)) => Some(control::oom_eventfd(group)?),
            None => None,
        })
    }

    /// Removes the groups, waiting a little for processes that are ending. May run twice.
    ///
    /// # Errors
    /// What is left, after everything else was removed.
    pub fn remove(&mut self) -> Result<(), CgroupError> {
        sys::fail::point("runtime.cgroup.removing");
        let deadline = Instant::now() + REMOVE_MAX;
        let mut pause = REMOVE_PAUSE_MIN;
        loop {
            let mut errors = Vec::new();
            let path = &self.place.path;
            self.groups.retain(
                |Group {
                     hierarchy,
                     directory,
                 }| {
                    let removed = remove_tree(&hierarchy.root, path, directory, DEPTH_MAX);
                    removed.map_err(|error| errors.push(error)).is_err()
                },
            );
            if errors.is_empty() {
                return Ok(());
            }
            let may_pass = errors
                .iter()
                .any(|error: &SysError| error.errno == Errno::BUSY);
            if !may_pass || Instant::now() >= deadline {
                return Err(CgroupError::NotRemoved(errors));
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(REMOVE_PAUSE_MAX);
        }
    }
}

#[cfg(test)]
impl ContainerCgroup {
    pub(super) fn killed_for_test(&self) -> bool {
        self.killed.get()
    }

    pub(super) fn unified_for_test(&self) -> Option<&Directory> {
        self.unified()
    }

    /// What is left is a machine with v1 alone.
    pub(super) fn forget_unified_for_test(&mut self) {
        self.groups.retain(|group| !group.hierarchy.unified);
    }
}

/// Removes a group, those that the container made beneath it first.
fn remove_tree(
    root: &Directory,
    path: &str,
    directory: &Directory,
    depth: usize,
) -> Result<(), SysError> {
    match root.remove(path) {
        Ok(()) | Err(Errno::NOENT) => return Ok(()),
        Err(Errno::BUSY | Errno::NOTEMPTY) if depth > 0 => {}
        Err(errno) => return Err(root.error("remove", path, errno)),
    }
    // Listing a group that has just gone fails; the last attempt tells what matters.
    for name in directory.children().unwrap_or_default() {
        if let Ok(child) = directory.open_at(&name) {
            remove_tree(directory, &name, &child, depth - 1)?;
        }
    }
    match root.remove(path) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(errno) => Err(root.error("remove", path, errno)),
    }
}

/// The kernel's answer to processors that are not there is "invalid argument"; Docker's names them.
fn check_cpuset(limits: &Limits) -> Result<(), CgroupError> {
    const LIST_BYTES_MAX: u64 = 64 * 1024;
    for (wanted, kind, file) in [
        (
            &limits.cpuset_cpus,
            "CPUs",
            "/sys/devices/system/cpu/online",
        ),
        (
            &limits.cpuset_mems,
            "memory nodes",
            "/sys/devices/system/node/online",
        ),
    ] {
        let Some(requested) = wanted else { continue };
        // Without sysfs the kernel's own answer has to do.
        let Ok(bytes) = sys::atomic::read_limited(Path::new(file), LIST_BYTES_MAX) else {
            continue;
        };
        let available = String::from_utf8_lossy(&bytes).trim().to_string();
        if !is_available(requested, &available) {
            let requested = requested.clone();
            return Err(LimitError::CpusetUnavailable {
                kind,
                requested,
                available,
            }
            .into());
        }
    }
    Ok(())
}
