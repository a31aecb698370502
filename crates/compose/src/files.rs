//! The only way by which the loader reaches files.

use std::io;

/// What stands at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileKind {
    /// Nothing.
    Missing,
    /// A regular file or a pipe, or a link to one.
    File,
    /// A directory, or a link to one.
    Directory,
    /// A symbolic link that leads back to itself.
    Loop,
    /// A device, a socket: never opened, because it might never end.
    Other,
}

/// Files as the loader sees them. Paths are absolute.
pub trait Files {
    /// What is there.
    fn kind(&self, path: &str) -> FileKind;
    /// The content of a file, the same at each call; an error beyond `bytes_max`.
    fn read(&self, path: &str, bytes_max: usize) -> io::Result<Vec<u8>>;
    /// The path with its symbolic links followed.
    fn real_path(&self, path: &str) -> io::Result<String>;
}
