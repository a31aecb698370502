//! Looking things up in a stack of layer directories as overlayfs would, without mounting it.
//!
//! The topmost layer that has a name decides; directories merge downwards until one is opaque, and
//! a deletion mark or something that is no directory ends the search. Layers are published and do
//! not change, so a path that was seen to consist of directories stays one.

use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, Stat};
use sys::rootfs::{Dir, RootError};

use super::{is_directory, is_opaque, is_whiteout};

/// Layers, the topmost first.
#[derive(Clone, Copy)]
pub struct LowerStack<'a> {
    layers: &'a [Dir],
}

/// What a name stands for in the merged tree.
#[derive(Clone, Debug)]
pub struct LowerEntry {
    /// The layer that decides, counted from the top.
    pub layer: usize,
    /// The object there.
    pub stat: Stat,
    /// The layers that the directory merges; empty for anything else.
    pub(crate) visible: Vec<usize>,
}

impl<'a> LowerStack<'a> {
    /// Takes the layers, the topmost first.
    pub fn new(layers: &'a [Dir]) -> Self {
        Self { layers }
    }

    /// Looks a path up; no link in it is followed, so below a link there is nothing.
    pub fn lookup(&self, path: &Path) -> Result<Option<LowerEntry>, RootError> {
        let Some(mut entry) = self.root()? else {
            return Ok(None);
        };
        let mut parent = PathBuf::new();
        for component in path.components() {
            let std::path::Component::Normal(name) = component else {
                continue;
            };
            match self.child(&parent, &entry.visible, name)? {
                Some(child) => entry = child,
                None => return Ok(None),
            }
            parent.push(name);
        }
        Ok(Some(entry))
    }

    /// The merged root: overlayfs merges it whatever it is marked as. `None` without layers.
    pub(crate) fn root(&self) -> Result<Option<LowerEntry>, RootError> {
        let Some(top) = self.layers.first() else {
            return Ok(None);
        };
        let stat = top.metadata(Path::new(""))?;
        Ok(Some(LowerEntry {
            layer: 0,
            stat,
            visible: (0..self.layers.len()).collect(),
        }))
    }

    /// What `name` is in the directory `parent`, which merges the layers `visible`.
    pub(crate) fn child(
        &self,
        parent: &Path,
        visible: &[usize],
        name: &OsStr,
    ) -> Result<Option<LowerEntry>, RootError> {
        let path = parent.join(name);
        let mut found: Option<LowerEntry> = None;
        for &layer in visible {
            let stat = match self.layers[layer].symlink_metadata(&path) {
                Ok(stat) => stat,
                Err(error) if error.is_not_found() => continue,
                Err(error) => return Err(error),
            };
            if is_whiteout(&stat) {
                break;
            }
            if !is_directory(&stat) {
                return Ok(found.or(Some(LowerEntry {
                    layer,
                    stat,
                    visible: Vec::new(),
                })));
            }
            let entry = found.get_or_insert(LowerEntry {
                layer,
                stat,
                visible: Vec::new(),
            });
            entry.visible.push(layer);
            let fd = self.layers[layer].open_dir(&path)?;
            if is_opaque(fd.as_fd()).map_err(|errno| RootError::new("read", &path, errno))? {
                break;
            }
        }
        Ok(found)
    }

    /// The names in the directory `path`, which merges the layers `visible`.
    pub(crate) fn names(&self, path: &Path, visible: &[usize]) -> Result<Vec<OsString>, RootError> {
        let mut seen = HashSet::new();
        let mut names = Vec::new();
        for &layer in visible {
            for item in self.layers[layer].read_dir(path)? {
                if !seen.insert(item.name.clone()) {
                    continue;
                }
                let may_be_mark =
                    matches!(item.kind, FileType::CharacterDevice | FileType::Unknown);
                let deleted = may_be_mark
                    && is_whiteout(&self.layers[layer].symlink_metadata(&path.join(&item.name))?);
                if !deleted {
                    names.push(item.name);
                }
            }
        }
        Ok(names)
    }
}
