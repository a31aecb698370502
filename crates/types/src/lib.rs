//! The dictionary: values every room speaks of, and the grammars that make them from text.
//!
//! Pure data: nothing here reads a file, asks the kernel or prints. The values are nobody's wire
//! format; Docker's JSON and OCI documents are converted at their own doors. The `serde` derives
//! serve our own versioned records on disk, which belong to `storage`.

pub mod container;
pub mod mount;
