//! Results that are no image: the files of the last stage as a directory, or as an archive.

use std::io::Write;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use build::graph::Graph;
use build::solve::Solved;
use storage::layer::pack::{PackMode, PackOptions, pack_tree, pack_trees};
use sys::Context;

use super::layer::Stack;
use super::worker::{BuildWorker, Tree};
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
    /// What is in that archive, as files of a directory.
    ImageDirectory(PathBuf),
    /// Nowhere: what was done stays in the cache.
    Nowhere,
}

impl BuildWorker<'_> {
    /// Writes the files of the results everywhere that they are wanted: those of several platforms each
    /// in a directory of its own, which is called as by buildx.
    pub(crate) fn export_all(
        &self,
        graph: &Graph,
        solved: &Solved<Tree>,
        exports: &[Export],
    ) -> Result<(), EngineError> {
        let mut parts = Vec::new();
        for result in &graph.results {
            let platform = result.platform.to_string().replace('/', "_");
            parts.push((platform, super::stack(solved, result.root)?));
        }
        for export in exports {
            match (export, parts.as_slice()) {
                (Export::Image | Export::ImageArchive(_) | Export::ImageDirectory(_), _)
                | (Export::Nowhere, _) => {}
                (Export::Directory(path), [(_, stack)]) => self.unpack(stack, path)?,
                (Export::Directory(path), parts) => {
                    for (platform, stack) in parts {
                        self.unpack(stack, &path.join(platform))?;
                    }
                }
                (Export::Archive(path), [(_, stack)]) => {
                    self.pack(stack, &mut sink(path.as_deref())?)?;
                }
                (Export::Archive(path), parts) => {
                    self.pack_several(parts, &mut sink(path.as_deref())?)?;
                }
            }
        }
        Ok(())
    }

    fn unpack(&self, stack: &Stack, path: &Path) -> Result<(), EngineError> {
        std::fs::create_dir_all(path).on("create", path.display())?;
        through_pipe(
            |sink| self.pack(stack, sink).map(|()| 0),
            |from| unpack_host(path, None, from),
        )
        .map(drop)
    }

    fn pack(&self, stack: &Stack, sink: &mut dyn Write) -> Result<(), EngineError> {
        let root = self.mount_for_reading(stack)?;
        let directory = root.open_dir(Path::new("/")).map_err(sys::SysError::from)?;
        pack_tree(directory.as_fd(), b"", sink, &options())
            .map(drop)
            .map_err(|error| text("write the result", &error))
    }

    fn pack_several(
        &self,
        parts: &[(String, &Stack)],
        sink: &mut dyn Write,
    ) -> Result<(), EngineError> {
        let mut roots = Vec::new();
        for (platform, stack) in parts {
            let root = self.mount_for_reading(stack)?;
            let directory = root.open_dir(Path::new("/")).map_err(sys::SysError::from)?;
            roots.push((root, directory, platform.clone().into_bytes()));
        }
        let trees: Vec<_> = roots
            .iter()
            .map(|(_, directory, name)| (directory.as_fd(), name.clone()))
            .collect();
        pack_trees(&trees, sink, &options())
            .map(drop)
            .map_err(|error| text("write the results", &error))
    }
}

fn options() -> PackOptions {
    PackOptions {
        mode: PackMode::Plain,
        ..PackOptions::default()
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
