//! Results that are no image: the files of the last stage as a directory, or as an archive.

use std::io::Write;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use storage::layer::pack::{PackMode, PackOptions, pack_tree};
use sys::Context;

use super::layer::Stack;
use super::worker::BuildWorker;
use crate::container::filesystem::{through_pipe, unpack_host};
use crate::error::{EngineError, text};

/// Where a result goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Export {
    /// Into the store, as an image.
    Image,
    /// Its files into a directory.
    Directory(PathBuf),
    /// Its files into an archive; without a path to standard output.
    Archive(Option<PathBuf>),
    /// An image's archive, as `save` writes it, with or without having an image in the store.
    ImageArchive(Option<PathBuf>),
}

impl BuildWorker<'_> {
    /// Writes the files of a result everywhere that they are wanted.
    pub(crate) fn export_all(&self, stack: &Stack, exports: &[Export]) -> Result<(), EngineError> {
        exports
            .iter()
            .try_for_each(|export| self.export(stack, export))
    }

    /// Writes the files of a result.
    fn export(&self, stack: &Stack, export: &Export) -> Result<(), EngineError> {
        match export {
            Export::Image | Export::ImageArchive(_) => Ok(()),
            Export::Directory(path) => {
                std::fs::create_dir_all(path).on("create", path.display())?;
                through_pipe(
                    |sink| self.pack(stack, sink).map(|()| 0),
                    |from| unpack_host(path, None, from),
                )
                .map(drop)
            }
            Export::Archive(path) => self.pack(stack, &mut sink(path.as_deref())?),
        }
    }

    fn pack(&self, stack: &Stack, sink: &mut dyn Write) -> Result<(), EngineError> {
        let root = self.mount_for_reading(stack)?;
        let directory = root.open_dir(Path::new("/")).map_err(sys::SysError::from)?;
        let options = PackOptions {
            mode: PackMode::Plain,
            ..PackOptions::default()
        };
        pack_tree(directory.as_fd(), b"", sink, &options)
            .map(drop)
            .map_err(|error| text("write the result", &error))
    }
}

/// A file that is written, or standard output.
pub(crate) fn sink(path: Option<&Path>) -> Result<std::fs::File, EngineError> {
    match path {
        Some(path) => Ok(std::fs::File::create(path).on("create", path.display())?),
        None => {
            let fd = rustix::io::dup(rustix::stdio::stdout()).on("copy", "standard output")?;
            Ok(fd.into())
        }
    }
}
