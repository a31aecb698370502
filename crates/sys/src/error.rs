//! The one error of system calls: operation, object, errno.

use std::fmt;

use rustix::io::Errno;

/// A failed system call, with what it was done to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SysError {
    /// The operation, as a verb phrase: `cannot <op> <object>`.
    pub op: &'static str,
    /// The path, name or number it was done to.
    pub object: String,
    /// The kernel's answer.
    pub errno: Errno,
}

impl SysError {
    /// Builds the error of `op` on `object`.
    pub fn new(op: &'static str, object: impl Into<String>, errno: Errno) -> Self {
        Self {
            op,
            object: object.into(),
            errno,
        }
    }

    /// The errno as a plain number.
    pub fn raw_errno(&self) -> i32 {
        self.errno.raw_os_error()
    }
}

impl fmt::Display for SysError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "cannot {} {}: {}",
            self.op,
            self.object,
            describe(self.errno)
        )
    }
}

impl std::error::Error for SysError {}

/// The errno's text without Rust's "(os error N)".
pub fn describe(errno: Errno) -> String {
    let text = std::io::Error::from_raw_os_error(errno.raw_os_error()).to_string();
    match text.find(" (os error") {
        Some(at) => text[..at].to_string(),
        None => text,
    }
}

/// Turns an errno into a [`SysError`] that names its object.
pub trait Context<T> {
    /// Adds operation and object; the object is only rendered on failure.
    fn on<O: fmt::Display>(self, op: &'static str, object: O) -> Result<T, SysError>;
}

impl<T> Context<T> for Result<T, Errno> {
    fn on<O: fmt::Display>(self, op: &'static str, object: O) -> Result<T, SysError> {
        self.map_err(|errno| SysError::new(op, object.to_string(), errno))
    }
}

impl<T> Context<T> for Result<T, std::io::Error> {
    fn on<O: fmt::Display>(self, op: &'static str, object: O) -> Result<T, SysError> {
        self.map_err(|error| {
            let errno = error
                .raw_os_error()
                .map_or(Errno::IO, Errno::from_raw_os_error);
            SysError::new(op, object.to_string(), errno)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_names_operation_object_and_cause() {
        let error = Err::<(), _>(Errno::PERM).on("mount", "/proc").unwrap_err();
        assert_eq!(
            error.to_string(),
            "cannot mount /proc: Operation not permitted"
        );
        assert_eq!(error.raw_errno(), 1);
    }
}
