//! Groups in the making. A process is born in the v2 group and sets up its root while the eight
//! directories of v1, the dearest part of a start that needs nothing of the process, are made beside
//! it; then it joins them.

use std::path::PathBuf;

use super::detect::Hierarchy;
use super::devices::DeviceRules;
use super::group::ContainerCgroup;
use super::limits::{Limits, Purpose};
use super::{CgroupError, warning};

/// A container's groups of which only v2's is there.
#[derive(Debug)]
pub struct Begun {
    pub(super) cgroup: ContainerCgroup,
    /// Hierarchies of v1, still without a group.
    pub(super) rest: Vec<Hierarchy>,
    pub(super) limits: Limits,
    pub(super) rules: DeviceRules,
}

impl Begun {
    /// What is there already: the group to be born in.
    pub fn cgroup(&self) -> &ContainerCgroup {
        &self.cgroup
    }

    /// The groups that are there by now.
    pub fn into_cgroup(self) -> ContainerCgroup {
        self.cgroup
    }

    /// Name (the mount point's last component) and directory in each hierarchy that the container
    /// will see: those of v1, or on pure v2 the one, with an empty name.
    pub fn hierarchies(&self) -> Vec<(String, PathBuf)> {
        let path = self.cgroup.path();
        match self.rest.is_empty() {
            true => self.cgroup.hierarchies(),
            false => self
                .rest
                .iter()
                .map(|hierarchy| (hierarchy.name.clone(), hierarchy.root.path().join(path)))
                .collect(),
        }
    }

    /// Moves the calling single-threaded process, born in [`Self::cgroup`], into the groups that
    /// another process made by [`Self::finish`] since. By `tasks`, for the reason told at
    /// [`ContainerCgroup::attach_self`].
    ///
    /// # Errors
    /// A limit forbids it, or a group is gone.
    pub fn join_rest(&self) -> Result<(), CgroupError> {
        let file = format!("{}/tasks", self.cgroup.path());
        for hierarchy in &self.rest {
            hierarchy.root.write(&file, "0")?;
        }
        Ok(())
    }

    /// Makes the other groups, sets the limits, and tells what was discarded.
    ///
    /// # Errors
    /// A group cannot be made or a limit is refused; what was made stays, for the caller to remove
    /// once nothing is in it.
    pub fn finish(&mut self) -> Result<Vec<String>, CgroupError> {
        let mut warnings = Vec::new();
        for hierarchy in std::mem::take(&mut self.rest) {
            sys::fail::point("runtime.cgroup.making");
            self.cgroup.make(hierarchy)?;
        }
        sys::fail::point("runtime.cgroup.made");
        let limits = &self.limits;
        self.cgroup
            .write_limits(limits, Purpose::Create, &mut warnings)?;
        self.cgroup.write_device_rules(&self.rules)?;
        if limits.oom_kill_disable && limits.memory.is_none() {
            warnings.push(warning::OOM_WITHOUT_LIMIT.to_string());
        }
        Ok(warnings)
    }
}
