//! Layers: a tar stream becomes a directory for overlayfs, and such a directory a tar stream again.
//!
//! In a tar a deleted name is an empty file `.wh.NAME`, and a directory that hides what is below it
//! holds `.wh..wh..opq` (OCI image specification, layer.md). In a directory for overlayfs they are a
//! character device 0:0 and the attribute `trusted.overlay.opaque`. Paths of images are only ever
//! resolved by [`sys::rootfs::Dir`].

pub mod diff;
pub mod lower;
pub mod pack;
pub mod unpack;

#[cfg(test)]
mod snapshot;

use std::os::fd::BorrowedFd;

use rustix::fs::{FileType, Stat};
use rustix::io::Errno;

/// Before the name of what is deleted.
pub(crate) const WHITEOUT_PREFIX: &[u8] = b".wh.";
/// In a directory that hides what lower layers have in it.
pub(crate) const OPAQUE_MARK: &[u8] = b".wh..wh..opq";
/// Other names of this kind are AUFS's own book-keeping and never part of a tree.
pub(crate) const WHITEOUT_META_PREFIX: &[u8] = b".wh..wh.";

/// overlayfs's attributes: never taken from an archive (a forged redirect or metacopy would reach
/// files of other images), never written into one.
pub(crate) const OVERLAY_PREFIX: &[u8] = b"trusted.overlay.";
/// The same on a mount with `userxattr`.
pub(crate) const USER_OVERLAY_PREFIX: &[u8] = b"user.overlay.";
pub(crate) const OVERLAY_OPAQUE: &str = "trusted.overlay.opaque";
/// File capabilities; as all attributes that are kept and belong to no namespace of ours.
pub(crate) const CAPABILITY: &[u8] = b"security.capability";

/// Whether the object is overlayfs's mark of a deleted name.
pub(crate) fn is_whiteout(stat: &Stat) -> bool {
    kind(stat) == FileType::CharacterDevice && stat.st_rdev == 0
}

pub(crate) fn kind(stat: &Stat) -> FileType {
    FileType::from_raw_mode(stat.st_mode)
}

pub(crate) fn is_directory(stat: &Stat) -> bool {
    kind(stat) == FileType::Directory
}

/// Whether a directory hides what lower layers have in it.
pub(crate) fn is_opaque(directory: BorrowedFd<'_>) -> Result<bool, Errno> {
    let mut value = [0u8; 2];
    match rustix::fs::fgetxattr(directory, OVERLAY_OPAQUE, &mut value[..]) {
        Ok(1) => Ok(value[0] == b'y'),
        Ok(_) | Err(Errno::NODATA | Errno::NOTSUP | Errno::RANGE) => Ok(false),
        Err(errno) => Err(errno),
    }
}

/// Whether an extended attribute belongs to the image: what the kernel or we keep there does not.
pub fn is_image_xattr(name: &[u8]) -> bool {
    name == CAPABILITY
        || name.starts_with(b"user.") && !name.starts_with(USER_OVERLAY_PREFIX)
        || name.starts_with(b"trusted.") && !name.starts_with(OVERLAY_PREFIX)
}

/// The parts of a cleaned path: the directory that holds it, and its name.
pub(crate) fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|&byte| byte == b'/') {
        Some(slash) => (&path[..slash], &path[slash + 1..]),
        None => (b"", path),
    }
}

/// Appends the components of `name` to `into`, without `.`, empty ones and `..`: that goes back, but
/// never into what `into` held before. As text, the way Docker cleans names; links are resolved later.
pub(crate) fn push_clean(into: &mut Vec<u8>, name: &[u8]) {
    let base = into.len();
    for component in name.split(|&byte| byte == b'/') {
        match component {
            b"" | b"." => {}
            b".." => {
                let last = into[base..].iter().rposition(|&byte| byte == b'/');
                into.truncate(base + last.unwrap_or(0));
            }
            component => {
                if !into.is_empty() {
                    into.push(b'/');
                }
                into.extend_from_slice(component);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_cleaned_and_never_leave_their_base() {
        let cases = [
            ("", "", ""),
            ("", ".", ""),
            ("", "./", ""),
            ("", "/", ""),
            ("", "/etc//passwd", "etc/passwd"),
            ("", "../../etc", "etc"),
            ("", "a/../../b", "b"),
            ("", "a/b/../c/.", "a/c"),
            ("", "a/..", ""),
            ("base", "", "base"),
            ("base", "../x", "base/x"),
            ("base", "a/../..", "base"),
            ("base/in", "a/b/../../../c", "base/in/c"),
            ("base", "...", "base/..."),
        ];
        for (base, name, expected) in cases {
            let mut path = base.as_bytes().to_vec();
            push_clean(&mut path, name.as_bytes());
            assert_eq!(
                String::from_utf8(path).unwrap(),
                expected,
                "{base:?} + {name:?}"
            );
        }
    }

    #[test]
    fn only_attributes_of_the_image_are_kept() {
        for name in ["security.capability", "user.x", "trusted.x"] {
            assert!(is_image_xattr(name.as_bytes()), "{name}");
        }
        for name in [
            "security.selinux",
            "security.ima",
            "system.posix_acl_access",
            "trusted.overlay.redirect",
            "trusted.overlay.opaque",
            "user.overlay.opaque",
            "x",
            "",
        ] {
            assert!(!is_image_xattr(name.as_bytes()), "{name}");
        }
    }
}
