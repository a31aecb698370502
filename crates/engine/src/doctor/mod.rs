//! `doctor`: what this machine lacks, what was left over, what is open to the world.
//!
//! It looks and changes nothing; every finding carries the commands that mend it. With leave to mend,
//! it does only what can harm nobody: it sweeps its own store's rubbish, detaches mounts beneath its
//! own roots, and loads kernel modules.

mod exposure;
mod leftovers;
mod machine;

use std::fmt;

use crate::Engine;

/// How bad something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Good to know.
    Note,
    /// Something does not work, or is not as it was probably meant.
    Warning,
    /// Containers cannot run.
    Error,
}

impl fmt::Display for Severity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Error => "error",
        })
    }
}

/// What a finding is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Area {
    /// Kernel and its switches.
    Machine,
    /// What killed processes left.
    Leftover,
    /// What others can reach.
    Exposure,
}

impl fmt::Display for Area {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Machine => "machine",
            Self::Leftover => "left over",
            Self::Exposure => "open to the world",
        })
    }
}

/// What can be mended without harm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Remedy {
    /// Sweep the store.
    Sweep,
    /// Detach a mount beneath our own roots.
    Detach(std::path::PathBuf),
    /// Load a module.
    Module(&'static str),
}

/// Something that was found.
#[derive(Clone, Debug)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// What it is about.
    pub area: Area,
    /// What it is, and what follows.
    pub text: String,
    /// What mends it, a command each.
    pub commands: Vec<String>,
    /// `None`: not tried; else whether it is mended.
    pub mended: Option<bool>,
    remedy: Option<Remedy>,
}

impl Finding {
    fn new(severity: Severity, area: Area, text: impl Into<String>) -> Self {
        Self {
            severity,
            area,
            text: text.into(),
            commands: Vec::new(),
            mended: None,
            remedy: None,
        }
    }

    fn command(mut self, command: impl Into<String>) -> Self {
        self.commands.push(command.into());
        self
    }

    fn remedy(mut self, remedy: Remedy) -> Self {
        self.remedy = Some(remedy);
        self
    }

    /// Whether it can be mended without harm.
    pub fn is_mendable(&self) -> bool {
        self.remedy.is_some()
    }
}

/// Whether what can be mended is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leave {
    /// Only look.
    Look,
    /// Mend.
    Mend,
}

impl Engine {
    /// Looks at machine and store. The caller ends afterwards: the last look is made from a network
    /// namespace of its own, in which this process stays.
    pub fn doctor(&self, leave: Leave) -> Vec<Finding> {
        let mut all = self.leftovers();
        all.extend(self.exposure());
        all.extend(self.firewalls_in_the_way());
        all.extend(self.machine());
        if leave == Leave::Mend {
            for finding in &mut all {
                finding.mended = finding.remedy.clone().map(|remedy| self.mend(&remedy));
            }
        }
        all.extend(machine::links());
        if leave == Leave::Mend {
            for finding in all.iter_mut().filter(|one| one.mended.is_none()) {
                finding.mended = finding.remedy.clone().map(|remedy| self.mend(&remedy));
            }
        }
        all.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
        all
    }

    fn mend(&self, remedy: &Remedy) -> bool {
        match remedy {
            Remedy::Sweep => {
                self.sweep();
                self.store().tidy_trash();
                true
            }
            Remedy::Detach(path) => sys::mount::detach(path).is_ok(),
            Remedy::Module(name) => std::process::Command::new("modprobe")
                .arg(name)
                .status()
                .is_ok_and(|status| status.success()),
        }
    }
}
