//! The Dockerfile language: lines, instructions, words and stages.
//!
//! [`parse`] makes typed instructions ([`command`]) of bytes; nothing is expanded yet, since the
//! value of a variable depends on where it is used ([`words`]). The language, its deviations from
//! a shell's and the texts of errors are BuildKit's, held to the corpus.

pub mod command;
pub mod error;
mod flag;
mod glob;
pub mod heredoc;
pub mod keyword;
pub mod mount;
mod parse;
pub mod place;
mod reader;
pub(crate) mod suggest;
pub mod syntax;
pub mod targets;
#[cfg(test)]
mod tests;
pub mod vocabulary;
pub mod words;

pub use error::DockerfileError;
pub use glob::PatternError;
pub(crate) use parse::description;
pub use parse::{parse, parse_trigger};

pub use reader::{Directive, Directives};
pub(crate) use reader::{is_check, split_directive};

/// The longest Dockerfile.
pub const DOCKERFILE_BYTES_MAX: usize = 8 * 1024 * 1024;
/// The longest line; BuildKit's is 64 KiB.
pub const LINE_BYTES_MAX: usize = 1024 * 1024;
/// The most instructions of a file.
pub const INSTRUCTIONS_MAX: usize = 10_000;
