//! `image diff`: which files differ between two images.

use std::path::PathBuf;

use storage::layer::diff::{Change, diff_stacks};
use sys::rootfs::Dir;

use super::ImageContext;
use super::error::Result;

/// What is in the image that `new` means and not, or otherwise, in that of `old`.
///
/// # Errors
/// `No such image`, or where layers cannot be read.
pub fn compare(context: &ImageContext<'_>, old: &str, new: &str) -> Result<Vec<Change>> {
    let store = context.store();
    // Held until the comparison is done: a removal elsewhere takes no layer away meanwhile.
    let lease = store.lease()?;
    let layers = |name: &str| -> Result<Vec<Dir>> {
        let found = context.find(name)?;
        lease.need(&found.id)?;
        let paths: Vec<PathBuf> = store.mount_plan(&found.id)?;
        let open =
            |path: &PathBuf| Dir::open(path).map_err(|error| sys::SysError::from(error).into());
        paths.iter().map(open).collect()
    };
    let (old, new) = (layers(old)?, layers(new)?);
    Ok(diff_stacks(&old, &new).map_err(sys::SysError::from)?)
}
