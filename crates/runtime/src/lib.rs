//! The machine room: a specification and a root file system become a process.
//!
//! The specification has the shape of the OCI runtime specification's `config.json`; what that
//! document cannot say (the layers of the root, a user still to be looked up in the image) stands
//! beside it in [`Launch`]. Nothing here knows an image, a container record or a terminal.
//! The kernel is entered through `sys`; the only code that runs between clone and exec is `init`.

pub mod capabilities;
pub mod cgroup;
#[cfg(test)]
#[path = "../../../testkit/src/corpus.rs"]
mod corpus;
pub mod launch;
pub mod seccomp;
pub mod spec;

mod console;
mod failure;
mod hooks;
mod init;
mod join;
mod kernel_parameters;
pub mod limits;
mod mounts;
mod procfs;
mod program;
mod rootfs;
mod start;
pub mod users;

pub use failure::{Failure, FailureKind, START_FAILED};
pub use join::{JoinRequest, Joined, join};
pub use launch::{CgroupRequest, Launch, Layers, RootSource, SeccompRequest, UserRequest};
pub use rootfs::{mount_layers, mount_read_only};
pub use start::{Ahead, Started, Stdio, check, start};
