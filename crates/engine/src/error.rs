//! What a verb can fail with. The kind decides exit code and, later, HTTP status; the text is for
//! people, in Docker's words where Docker has words.

use runtime::{Failure, FailureKind};
use storage::containers::ContainerError;
use sys::SysError;

use crate::image::ImageError;

/// A failed verb.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// No container has this name or id.
    #[error("No such container: {0}")]
    NoSuchContainer(String),
    /// No image has this name or id.
    #[error("No such image: {0}")]
    NoSuchImage(String),
    /// The request contradicts what is.
    #[error("{0}")]
    Conflict(String),
    /// The request itself is wrong.
    #[error("{0}")]
    Invalid(String),
    /// A container or process could not be started.
    #[error("{0}")]
    Start(Failure),
    /// A record.
    #[error(transparent)]
    Container(ContainerError),
    /// A volume.
    #[error(transparent)]
    Volume(storage::volumes::VolumeError),
    /// A network.
    #[error(transparent)]
    Network(#[from] storage::networks::NetworkError),
    /// The store.
    #[error(transparent)]
    Storage(#[from] storage::error::StorageError),
    /// Images.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// A program of a build.
    #[error("{0}")]
    Step(Box<crate::build::StepFailure>),
    /// A step of a build.
    #[error("{}", .0.error)]
    Build(Box<crate::build::BuildFailure>),
    /// The kernel.
    #[error(transparent)]
    Sys(#[from] SysError),
}

impl EngineError {
    /// A request that is wrong.
    pub fn invalid(text: impl Into<String>) -> Self {
        Self::Invalid(text.into())
    }

    /// A request that contradicts what is.
    pub fn conflict(text: impl Into<String>) -> Self {
        Self::Conflict(text.into())
    }

    /// Docker's exit code for `run`, `create` and `exec`: 125, 126 or 127.
    pub fn start_code(&self) -> i32 {
        match self {
            Self::Start(failure) => failure.kind.exit_code(),
            _ => FailureKind::Setup.exit_code(),
        }
    }

    /// Whether something is here and cannot be read.
    pub fn is_damage(&self) -> bool {
        use storage::error::StorageError as S;
        let (Self::Storage(error) | Self::Image(ImageError::Storage(error))) = self else {
            return false;
        };
        matches!(
            error,
            S::DamagedImage { .. } | S::DamagedReference { .. } | S::Sys(_)
        )
    }

    /// An error about the container that the user called `key`.
    pub fn of_container(error: ContainerError, key: &str) -> Self {
        match error {
            ContainerError::Missing => Self::NoSuchContainer(key.to_string()),
            ContainerError::Ambiguous => {
                Self::invalid(format!("Multiple IDs found with provided prefix: {key}"))
            }
            other => Self::Container(other),
        }
    }
}

impl From<ContainerError> for EngineError {
    fn from(error: ContainerError) -> Self {
        Self::Container(error)
    }
}

impl From<Failure> for EngineError {
    fn from(failure: Failure) -> Self {
        Self::Start(failure)
    }
}

/// An error of a lower room as text, with its causes.
pub(crate) fn text(what: &str, error: &dyn std::error::Error) -> EngineError {
    EngineError::Invalid(format!("cannot {what}: {}", chain(error)))
}

/// An error with all its causes.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        line.push_str(": ");
        line.push_str(&error.to_string());
        cause = error.source();
    }
    line
}
