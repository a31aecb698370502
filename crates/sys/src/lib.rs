//! The foundations: the kernel made safe. The only room with `unsafe`.
//!
//! Everything above speaks typed descriptors and typed errors; what rustix has is used from there
//! directly, what it lacks (clone3, mount_setattr, capset, seccomp …) has one function per call here.

mod aside;
pub mod atomic;
pub mod bpf;
pub mod caller;
pub mod error;
pub mod fail;
pub mod host;
pub mod journal;
pub mod lock;
pub mod loopback;
pub mod memory;
pub mod mount;
pub mod process;
pub mod programs;
pub mod rights;
pub mod rootfs;
pub mod socket;
pub mod spawn;

pub use error::{Context, SysError};
