//! What selections consisted of, kept so that a later build can name the first file that changed.

use std::path::Path;

use types::digest::Digest;

const BYTES_MAX: u64 = 256 << 20;

/// Path and digest of each object, in the order of the walk.
pub(crate) type Listing = Vec<(Vec<u8>, Digest)>;

/// Keeps a listing. That it cannot be kept costs an explanation and nothing else.
pub(crate) fn write(path: &Path, listing: &Listing) {
    let mut bytes = Vec::new();
    for (name, digest) in listing {
        bytes.extend_from_slice(digest.hex().as_bytes());
        bytes.extend_from_slice(name);
        // No path holds one.
        bytes.push(0);
    }
    let _ = sys::atomic::write(path, &bytes, sys::atomic::Durability::Volatile);
}

/// Reads a listing.
pub(crate) fn read(path: &Path) -> Option<Listing> {
    const HEX: usize = 64;
    let bytes = sys::atomic::read_limited(path, BYTES_MAX).ok()?;
    let entries = bytes
        .split(|byte| *byte == 0)
        .filter(|entry| !entry.is_empty());
    entries
        .map(|entry| {
            let (hex, name) = entry.split_at_checked(HEX)?;
            let digest = Digest::sha256_from_hex(std::str::from_utf8(hex).ok()?).ok()?;
            Some((name.to_vec(), digest))
        })
        .collect()
}

/// The first path that is in one of two listings and not the same in the other, for people.
pub(crate) fn difference(old: &Listing, new: &Listing) -> Option<String> {
    let before: std::collections::BTreeMap<&[u8], &Digest> = old
        .iter()
        .map(|(path, digest)| (path.as_slice(), digest))
        .collect();
    let after: std::collections::BTreeMap<&[u8], &Digest> = new
        .iter()
        .map(|(path, digest)| (path.as_slice(), digest))
        .collect();
    let shown = |path: &[u8]| {
        let text = String::from_utf8_lossy(path).into_owned();
        let text = if text.is_empty() {
            "/".to_owned()
        } else {
            text
        };
        match text.chars().any(char::is_control) {
            true => format!("{text:?}"),
            false => text,
        }
    };
    // Files first: a directory differs in what is in it, which says more.
    let paths: std::collections::BTreeSet<&[u8]> =
        before.keys().chain(after.keys()).copied().collect();
    paths
        .into_iter()
        .find_map(|path| match (before.get(path), after.get(path)) {
            (Some(_), None) => Some(format!("{} removed", shown(path))),
            (None, Some(_)) => Some(format!("{} added", shown(path))),
            (Some(old), Some(new)) if old != new => Some(format!("{} changed", shown(path))),
            _ => None,
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_difference_is_named() {
        let digest = |text: &str| build::key::digest_of_parts([text.as_bytes()]);
        let old = vec![(b"a".to_vec(), digest("1")), (b"b/c".to_vec(), digest("2"))];
        let mut new = old.clone();
        assert_eq!(difference(&old, &new), None);
        new[1].1 = digest("3");
        assert_eq!(difference(&old, &new).unwrap(), "b/c changed");
        new.push((b"a\n".to_vec(), digest("4")));
        assert_eq!(difference(&old, &new).unwrap(), "\"a\\n\" added");
        assert_eq!(difference(&old, &new[1..].to_vec()).unwrap(), "a removed");
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("list");
        write(&path, &new);
        assert_eq!(read(&path).unwrap(), new);
    }
}
