//! The dictionary: values every room speaks of, and the grammars that make them from text.
//!
//! Pure data: nothing here reads a file, asks the kernel or prints. The values are nobody's wire
//! format; Docker's JSON and OCI documents are converted at their own doors. The `serde` derives
//! serve our own versioned records on disk, which belong to `storage`.

pub mod container;
pub mod csv;
pub mod digest;
pub mod env;
pub mod event;
pub mod excerpt;
pub mod filter;
pub mod go_syntax;
#[cfg(test)]
#[path = "../../../testkit/src/corpus.rs"]
mod golden;
pub mod id;
pub mod image;
#[cfg(test)]
mod image_tests;
pub mod json;
pub mod kernel_parameter;
pub mod lexical_path;
pub mod mount;
pub mod mount_flag;
pub mod names;
pub mod pattern;
pub mod platform;
pub mod port;
#[cfg(test)]
mod property_tests;
pub mod reference;
pub mod restart;
pub mod signal;
pub mod state;
pub mod timestamp;
pub mod tmpfs_flag;
pub mod units;
pub mod volume_flag;
pub mod zone;
