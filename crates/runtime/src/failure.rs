//! Why a process could not be started, in a form that crosses the start pipe.

use std::fmt;

use serde::{Deserialize, Serialize};
use sys::SysError;

/// What kind of failure it is; decides the exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FailureKind {
    /// Ours: exit code 125.
    Setup,
    /// The command exists and cannot be executed: 126.
    NotExecutable,
    /// There is no such command: 127.
    NotFound,
}

impl FailureKind {
    /// Docker's exit code for it.
    pub fn exit_code(self) -> i32 {
        match self {
            Self::Setup => 125,
            Self::NotExecutable => 126,
            Self::NotFound => 127,
        }
    }
}

/// A failed start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// Kind.
    pub kind: FailureKind,
    /// What failed, on what, and why: one line.
    pub text: String,
}

impl Failure {
    /// A failure of ours.
    pub fn setup(text: impl Into<String>) -> Self {
        Self {
            kind: FailureKind::Setup,
            text: text.into(),
        }
    }
}

impl From<SysError> for Failure {
    fn from(error: SysError) -> Self {
        Self::setup(error.to_string())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Failure {}
