//! The files of this machine, for the loader.

use std::io::{self, Read};

use ::compose::{FileKind, Files};
use rustix::io::Errno;

/// The files of this machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct HostFiles;

impl Files for HostFiles {
    fn kind(&self, path: &str) -> FileKind {
        match std::fs::metadata(path) {
            Ok(data) if data.is_file() => FileKind::File,
            Ok(data) if data.is_dir() => FileKind::Directory,
            Ok(_) => FileKind::Other,
            Err(error) if error.raw_os_error() == Some(Errno::LOOP.raw_os_error()) => {
                FileKind::Loop
            }
            Err(_) => FileKind::Missing,
        }
    }

    fn read(&self, path: &str, bytes_max: usize) -> io::Result<Vec<u8>> {
        let mut content = Vec::new();
        let file = std::fs::File::open(path)?;
        file.take(bytes_max as u64 + 1).read_to_end(&mut content)?;
        if content.len() > bytes_max {
            return Err(io::Error::other(format!(
                "the file is larger than {} MiB",
                bytes_max >> 20
            )));
        }
        Ok(content)
    }

    fn real_path(&self, path: &str) -> io::Result<String> {
        let path = std::fs::canonicalize(path)?;
        path.into_os_string()
            .into_string()
            .map_err(|_| io::ErrorKind::InvalidData.into())
    }
}
