//! System call filters: a profile becomes a program for the kernel's classic BPF machine.
//!
//! [`default_program`] is what every container gets: Docker's default profile, kept as a constant and
//! compiled for the capabilities in hand in some ten microseconds. [`Profile::parse`] reads the JSON
//! that `--security-opt seccomp=FILE` names. Both meet in `compile`.
//!
//! What must stay true:
//! - A call of another architecture than the profile's ends the thread (libseccomp's default).
//! - Calls newer than the newest that a profile names answer ENOSYS, not the profile's error, so
//!   that programs fall back to older calls (as runc does).
//! - A condition never opens more than the profile says: see `compile::add_multiplexed`.
//!
//! Tested with an interpreter of the machine (`interpreter`, with which `start` also asks whether a user's
//! filter lets a program start at all), and against libseccomp where its
//! headers are installed (`oracle`). Installing a program is `sys::process::install_seccomp`.

mod arch;
mod compile;
mod default;
mod interpreter;
mod profile;
mod start;
mod syscalls;

#[cfg(test)]
mod oracle;

pub use arch::Machine;
pub use profile::{Profile, ProfileError};
pub(crate) use start::check as check_start;

use sys::process::BpfInstruction;

use crate::capabilities::CapSet;

/// A program ready to be installed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Program {
    /// Instructions, as the kernel takes them.
    pub instructions: Vec<BpfInstruction>,
    /// `SECCOMP_FILTER_FLAG_*` bits of the profile.
    pub flags: u32,
}

/// What a profile's conditions ask about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    /// The machine we run on.
    pub machine: Machine,
    /// The container's bounding set.
    pub capabilities: CapSet,
    /// Major and minor version of the kernel.
    pub kernel: (u32, u32),
}

/// The program of Docker's default profile.
pub fn default_program(target: &Target) -> Program {
    default::program(target)
}

/// What happens to a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    KillThread,
    KillProcess,
    Trap,
    Errno(u16),
    Trace(u16),
    Log,
    Allow,
}

impl Action {
    /// The filter's return value.
    const fn value(self) -> u32 {
        match self {
            Self::KillThread => 0,
            Self::KillProcess => 0x8000_0000,
            Self::Trap => 0x0003_0000,
            Self::Errno(errno) => 0x0005_0000 | errno as u32,
            Self::Trace(data) => 0x7ff0_0000 | data as u32,
            Self::Log => 0x7ffc_0000,
            Self::Allow => 0x7fff_0000,
        }
    }

    /// Whether the call is carried out. A tracer is taken to know calls newer than the profile.
    const fn permits(self) -> bool {
        matches!(self, Self::Allow | Self::Log | Self::Trace(_))
    }
}

/// How an argument is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    /// `argument & value == second`.
    MaskedEqual,
}

/// A condition on one argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Condition {
    index: u8,
    comparison: Comparison,
    value: u64,
    second: u64,
}

impl Condition {
    const fn new(index: u8, comparison: Comparison, value: u64, second: u64) -> Self {
        Self {
            index,
            comparison,
            value,
            second,
        }
    }
}

/// A rule whose own conditions of capability, kernel and machine hold.
#[derive(Clone, Copy, Debug)]
struct Rule<'a> {
    /// Indices into [`syscalls::SYSCALLS`]; [`arch::UNKNOWN`] where no architecture has the name.
    calls: &'a [u16],
    action: Action,
    /// All must hold.
    conditions: &'a [Condition],
}
