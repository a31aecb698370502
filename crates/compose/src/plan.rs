//! What `up` does: the difference between what a project wants and what is there.
//!
//! A pure function: the same project and the same observation give the same plan, step for step.
//! Each step says why. `up --dry-run` prints this very object, and the engine carries it out.

mod difference;
pub mod images;
mod planner;

use std::collections::BTreeMap;

use types::container::ContainerSpec;
use types::state::Status;

pub use planner::{orphans, plan, plan_down};

/// What is there of a project.
#[derive(Clone, Debug, Default)]
pub struct Observed {
    /// Its containers, those of `compose run` too.
    pub containers: Vec<ObservedContainer>,
    /// Networks by name: those with its label, and those that it names.
    pub networks: BTreeMap<String, ObservedNetwork>,
    /// Volumes by name, likewise.
    pub volumes: BTreeMap<String, ObservedVolume>,
    /// Ids of images by the names that services use, as far as they are there.
    pub images: BTreeMap<String, String>,
}

/// A container that is there.
#[derive(Clone, Debug)]
pub struct ObservedContainer {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// The service it belongs to.
    pub service: String,
    /// Its number.
    pub number: i64,
    /// It is one of `compose run`.
    pub is_oneoff: bool,
    /// The digest of what it was made from.
    pub config_hash: String,
    /// The id of its image.
    pub image_id: String,
    /// What it does.
    pub status: Status,
    /// How it ended, if it did.
    pub exit_code: i32,
    /// The names of its networks.
    pub networks: Vec<String>,
    /// What it was made to be.
    pub spec: ContainerSpec,
}

/// A network that is there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ObservedNetwork {
    /// The project that it says it belongs to, or empty.
    pub project: String,
    /// The digest of what it was made from, or empty.
    pub config_hash: String,
}

/// A volume that is there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ObservedVolume {
    /// The project that it says it belongs to, or empty.
    pub project: String,
}

/// When containers are made anew.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Recreate {
    /// When something of them changed.
    #[default]
    Changed,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// What the flags of `up` say.
#[derive(Clone, Debug, Default)]
pub struct PlanOptions {
    /// The services asked for; the others are there as dependencies.
    pub services: Vec<String>,
    /// For the services asked for.
    pub recreate: Recreate,
    /// For those they depend on.
    pub recreate_dependencies: Recreate,
    /// Containers of services that are not in the files any more go.
    pub remove_orphans: bool,
    /// Make, but do not start.
    pub no_start: bool,
    /// New anonymous volumes instead of those of the old container.
    pub renew_volumes: bool,
    /// A running container goes once the one in its place is ready.
    pub rolling: bool,
}

/// One thing to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Make a network.
    CreateNetwork {
        /// Its key.
        key: String,
    },
    /// Remove a network.
    RemoveNetwork {
        /// Its name.
        name: String,
    },
    /// Make a volume.
    CreateVolume {
        /// Its key.
        key: String,
    },
    /// Make a container.
    CreateContainer {
        /// Its service.
        service: String,
        /// Its number.
        number: i64,
        /// The container in whose place it comes.
        replaces: Option<String>,
    },
    /// Give a container its final name.
    RenameContainer {
        /// Its service.
        service: String,
        /// Its number.
        number: i64,
        /// Its id, if it was there before.
        id: Option<String>,
    },
    /// Start a container.
    StartContainer {
        /// Its service.
        service: String,
        /// Its number.
        number: i64,
        /// Its id, if it was there before.
        id: Option<String>,
    },
    /// Lead the published ports of a container to the one in its place.
    HandOverPorts {
        /// Its service.
        service: String,
        /// Its number.
        number: i64,
        /// Its id, if it was there before.
        id: Option<String>,
        /// The id of the one that has them.
        from: String,
    },
    /// Stop a container.
    StopContainer {
        /// Its id.
        id: String,
        /// Its service.
        service: String,
    },
    /// Remove a stopped container.
    RemoveContainer {
        /// Its id.
        id: String,
    },
}

/// A step of a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// What to do.
    pub action: Action,
    /// The name of what it is done to, `Network app_default`.
    pub subject: String,
    /// Why.
    pub reason: String,
    /// The steps before it, by their place in the plan.
    pub after: Vec<usize>,
    /// What must hold of other services before it, for a start.
    pub conditions: Vec<Condition>,
}

/// What must hold of a service before another one starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    /// The service.
    pub service: String,
    /// What must hold of it.
    pub kind: ConditionKind,
    /// Without it the dependent service does not start; else it is only waited for.
    pub is_required: bool,
}

/// The conditions of `depends_on`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConditionKind {
    /// It was started.
    Started,
    /// Its health check says so.
    Healthy,
    /// It ended with code 0.
    Completed,
    /// Its new container is healthy, or runs where it has no check.
    Ready,
}

/// Steps, each after those that it needs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// The steps.
    pub steps: Vec<Step>,
    /// What the user should hear.
    pub warnings: Vec<String>,
}

impl Plan {
    /// Leaves out some steps; those after them come when what was before them is done.
    pub fn drop_steps(&mut self, goes: impl Fn(&Action) -> bool) {
        let mut places: Vec<Vec<usize>> = Vec::new();
        let mut kept = Vec::new();
        for mut step in std::mem::take(&mut self.steps) {
            let before = step.after.iter().flat_map(|index| places[*index].clone());
            let mut after: Vec<usize> = before.collect();
            after.sort_unstable();
            after.dedup();
            if goes(&step.action) {
                places.push(after);
                continue;
            }
            step.after = after;
            places.push(vec![kept.len()]);
            kept.push(step);
        }
        self.steps = kept;
    }
}

#[cfg(test)]
mod tests;
