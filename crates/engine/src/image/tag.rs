//! `tag`: one more name for an image.

use types::digest::Digest;
use types::reference::Reference;

use super::ImageContext;
use super::error::{ImageError, Result};

/// Gives the image that `source` means the name `target`; without a tag that is `latest`.
///
/// # Errors
/// `No such image`, or a target that is no name with a tag.
pub fn tag(context: &ImageContext<'_>, source: &str, target: &str) -> Result<Digest> {
    let target = parse_target(target)?;
    let store = context.store();
    let lock = store.lock_images()?;
    sys::fail::point("engine.tag.locked");
    let found = store.find_image(source)?;
    let unchanged = store
        .replaced_reference(&target)?
        .is_some_and(|record| record.image == found.id);
    if !unchanged {
        store.set_reference(&lock, &target, &found.id, None)?;
    }
    context.announce("tag", &found.id, &target.familiar());
    Ok(found.id)
}

/// Reads a name that shall be set: never one with a digest.
pub(super) fn parse_target(text: &str) -> Result<Reference> {
    let parsed = Reference::parse_normalized(text);
    let reference = parsed
        .map_err(|source| ImageError::Reference {
            text: text.to_owned(),
            source,
        })?
        .with_default_tag();
    if reference.digest().is_some() {
        Err(ImageError::TagWithDigest)
    } else {
        Ok(reference)
    }
}
