//! The verbs of containers.

pub mod boot;
pub mod commit;
pub mod create;
pub mod execute;
pub mod filesystem;
pub mod logs;
pub mod observe;
pub mod options;
pub mod plan;
pub mod remove;
pub mod restart;
pub mod start;
pub mod stop;
pub mod watch;

pub(crate) mod facts;
pub(crate) mod files;
mod links;
mod log_options;
mod mounted_files;
