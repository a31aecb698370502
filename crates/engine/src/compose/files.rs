//! The files of this machine, for the loader.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::os::unix::fs::FileTypeExt;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use ::compose::{FileKind, Files};
use rustix::io::Errno;

/// What pipes held, by path: the loader looks at a file twice, and a pipe can be read once.
static PIPES: Mutex<BTreeMap<String, Vec<u8>>> = Mutex::new(BTreeMap::new());

/// The files of this machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct HostFiles;

impl Files for HostFiles {
    fn kind(&self, path: &str) -> FileKind {
        match std::fs::metadata(path) {
            // A shell's `<(…)` is a pipe.
            Ok(data) if data.is_file() || data.file_type().is_fifo() => FileKind::File,
            Ok(data) if data.is_dir() => FileKind::Directory,
            Ok(_) => FileKind::Other,
            Err(error) if error.raw_os_error() == Some(Errno::LOOP.raw_os_error()) => {
                FileKind::Loop
            }
            Err(_) => FileKind::Missing,
        }
    }

    fn read(&self, path: &str, bytes_max: usize) -> io::Result<Vec<u8>> {
        if std::fs::metadata(path)?.file_type().is_fifo() {
            return read_pipe(path, bytes_max);
        }
        let mut content = Vec::new();
        let file = std::fs::File::open(path)?;
        file.take(bytes_max as u64 + 1).read_to_end(&mut content)?;
        match content.len() > bytes_max {
            true => Err(too_large(bytes_max)),
            false => Ok(content),
        }
    }

    fn real_path(&self, path: &str) -> io::Result<String> {
        let path = std::fs::canonicalize(path)?;
        path.into_os_string()
            .into_string()
            .map_err(|_| io::ErrorKind::InvalidData.into())
    }
}

fn too_large(bytes_max: usize) -> io::Error {
    let text = format!("the file is larger than {} MiB", bytes_max >> 20);
    io::Error::other(text)
}

/// A pipe that nobody writes to is an error: waiting for a writer might never end.
fn read_pipe(path: &str, bytes_max: usize) -> io::Result<Vec<u8>> {
    let mut pipes = PIPES.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(content) = pipes.get(path) {
        return Ok(content.clone());
    }
    let content = match sys::atomic::read_limited(Path::new(path), bytes_max as u64) {
        Err(error) if error.errno == Errno::FBIG => return Err(too_large(bytes_max)),
        other => other.map_err(|error| io::Error::from(error.errno))?,
    };
    if content.is_empty() {
        return Err(io::Error::other("nobody writes to this pipe"));
    }
    pipes.insert(path.to_owned(), content.clone());
    Ok(content)
}
