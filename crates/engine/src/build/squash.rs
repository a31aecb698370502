//! `--squash`: all that a build added becomes one layer.
//!
//! The base is mounted with an empty directory above it, and each new layer is applied to that as to
//! any tree: what one made and another removed is in no layer then, and what was removed of the base
//! is marked by the kernel. The steps' own layers stay in the cache.

use std::os::fd::AsFd;
use std::path::Path;
use storage::layer::pack::pack_tree;
use storage::layer::unpack::{ApplyMode, UnpackOptions, unpack};

use sys::rootfs::Dir;

use super::layer::{Filled, Stack};
use super::worker::BuildWorker;
use crate::container::filesystem::through_pipe;
use crate::error::{EngineError, text};
use crate::image::save::pack_options;

impl BuildWorker<'_> {
    /// The same files on the same base, in one layer.
    pub(crate) fn squash(&self, stack: &Stack) -> Result<Stack, EngineError> {
        let (base, layers) = stack.parts();
        if layers.len() < 2 {
            return Ok(stack.clone());
        }
        let directory = self.step_directory()?;
        let merged = self.mount_for_writing(&base, &directory)?;
        let options = UnpackOptions {
            mode: ApplyMode::Merged,
            ..UnpackOptions::default()
        };
        for layer in layers.iter().rev() {
            layer.wait_published()?;
            let tree = Dir::open(&layer.path()).map_err(sys::SysError::from)?;
            let tree = tree.open_dir(Path::new("/")).map_err(sys::SysError::from)?;
            through_pipe(
                |sink| {
                    pack_tree(tree.as_fd(), b"", sink, &pack_options())
                        .map(|report| report.bytes)
                        .map_err(|error| text("read a layer", &error))
                },
                |from| {
                    unpack(from, &merged, &options)
                        .map(drop)
                        .map_err(|error| text("apply a layer", &error))
                },
            )?;
        }
        drop(merged);
        sys::fail::point("engine.build.squashed");
        let layer = self.finisher.begin(Filled {
            path: directory.upper,
            root: base.clone(),
            definition: serde_json::Value::Null,
            selected: Vec::new(),
            description: "squash".to_owned(),
            kind: "squash",
            _lock: None,
            _heir: None,
            is_kept: false,
        })?;
        layer.wait_published()?;
        Ok(base.with(layer))
    }
}
