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

/// A start that failed for a reason of its own, neither the command's nor a file's.
pub const START_FAILED: i32 = 128;

impl Failure {
    /// The exit code that `inspect` tells of a container whose start failed. As dockerd decides
    /// it: by what the text says of files, even where they are not the command's.
    pub fn recorded_code(&self) -> i32 {
        let text = self.text.to_lowercase();
        let says = |words: &[&str]| words.iter().any(|word| text.contains(word));
        match self.kind {
            FailureKind::NotExecutable | FailureKind::NotFound => self.kind.exit_code(),
            FailureKind::Setup if says(&["permission denied", "is a directory"]) => 126,
            FailureKind::Setup
                if says(&[
                    "not a directory",
                    "no such file or directory",
                    "executable file not found",
                ]) =>
            {
                127
            }
            FailureKind::Setup => START_FAILED,
        }
    }

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_recorded_code_is_dockerds() {
        for (text, code) in [
            (
                "cannot set sysctl net.nosuch=1: No such file or directory",
                127,
            ),
            (
                "cannot mount on /etc/passwd: Not a directory: Are you trying",
                127,
            ),
            (
                "cannot set sysctl kernel.domainname=x: Permission denied",
                126,
            ),
            ("cannot mount on /x: Is a directory", 126),
            (
                "unable to find user nosuch: no matching entries in passwd file",
                128,
            ),
        ] {
            assert_eq!(Failure::setup(text).recorded_code(), code, "{text}");
        }
        let failure = |kind| Failure {
            kind,
            text: "exec: \"/x\"".into(),
        };
        assert_eq!(failure(FailureKind::NotFound).recorded_code(), 127);
        assert_eq!(failure(FailureKind::NotExecutable).recorded_code(), 126);
    }
}
