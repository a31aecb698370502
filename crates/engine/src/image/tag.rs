//! `tag`: one more name for an image.

use storage::store::Store;
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
    let origin = origin(store, found.reference.as_ref())?;
    let old = store.replaced_reference(&target)?;
    let unchanged = old.is_some_and(|old| {
        let is_same = |origin: &Reference| {
            let came_as = old.came_as();
            came_as.is_some_and(|came| came.digest() == origin.digest())
        };
        old.image == found.id && origin.as_ref().is_none_or(is_same)
    });
    if !unchanged {
        store.set_alias(&lock, &target, &found.id, origin)?;
    }
    context.announce("tag", &found.id, &target.familiar());
    Ok(found.id)
}

/// In which form the image was meant, where it was named rather than told by its id.
fn origin(store: &Store, source: Option<&Reference>) -> Result<Option<Reference>> {
    let Some(source) = source else {
        return Ok(None);
    };
    let record = store.reference(source)?;
    let known = record.and_then(|record| record.came_as());
    // `name@digest` may be what a tag of that name means.
    Ok(known.or_else(|| source.digest().map(|_| source.clone())))
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
