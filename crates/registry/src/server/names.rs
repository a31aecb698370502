//! Names as the specification has them: repositories, tags, and where in the API a path leads.

use types::digest::Digest;

/// The longest repository name. Clients count the host too and allow 255 (specification, "Pulling
/// manifests"); some room is left for it.
pub(crate) const REPOSITORY_BYTES_MAX: usize = 220;
const TAG_BYTES_MAX: usize = 128;
/// The longest user name.
const USER_BYTES_MAX: usize = 39;
const DESCRIPTION_CHARACTERS_MAX: usize = 100;
/// Names that would be read as something else.
const RESERVED: [&str; 7] = [
    "admin",
    "anonymous",
    "caisson",
    "library",
    "root",
    "token",
    "v2",
];

/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`, elements joined by slashes.
pub(crate) fn is_repository(name: &str) -> bool {
    name.len() <= REPOSITORY_BYTES_MAX && name.split('/').all(is_element)
}

fn is_element(element: &str) -> bool {
    let is_word = |byte: &u8| byte.is_ascii_digit() || byte.is_ascii_lowercase();
    let bytes = element.as_bytes();
    if !bytes.first().is_some_and(is_word) || !bytes.last().is_some_and(is_word) {
        return false;
    }
    // Between words: one dot, one or two underscores, or any number of dashes.
    bytes.split(is_word).all(|separator| {
        matches!(separator, b"" | b"." | b"_" | b"__") || separator.iter().all(|byte| *byte == b'-')
    })
}

/// `[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}`.
pub(crate) fn is_tag(tag: &str) -> bool {
    let mut bytes = tag.bytes();
    tag.len() <= TAG_BYTES_MAX
        && bytes
            .next()
            .is_some_and(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'))
}

/// A user's name: an element of a repository's name, since it becomes one.
pub(crate) fn is_user(name: &str) -> bool {
    (2..=USER_BYTES_MAX).contains(&name.len()) && is_element(name) && !RESERVED.contains(&name)
}

/// What people read about something in one line.
pub(crate) fn is_description(text: &str) -> bool {
    text.chars().count() <= DESCRIPTION_CHARACTERS_MAX && !text.chars().any(char::is_control)
}

/// What a manifest is asked for by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reference {
    Tag(String),
    Digest(Digest),
}

/// Where a path below `/v2/` leads. Parts are not checked yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Route<'a> {
    Base,
    Catalog,
    Tags { name: &'a str },
    Manifest { name: &'a str, reference: &'a str },
    Blob { name: &'a str, digest: &'a str },
    Uploads { name: &'a str },
    Upload { name: &'a str, id: &'a str },
    Referrers { name: &'a str, digest: &'a str },
}

impl<'a> Route<'a> {
    /// Reads a path, without its `/v2/`. A repository's name may hold any word, `blobs` too, so that
    /// the end decides.
    pub(crate) fn parse(path: &'a str) -> Option<Self> {
        match path {
            "" => return Some(Self::Base),
            "_catalog" => return Some(Self::Catalog),
            _ => {}
        }
        if let Some(name) = path.strip_suffix("/tags/list") {
            return Some(Self::Tags { name });
        }
        let uploads = path.strip_suffix('/').unwrap_or(path);
        if let Some(name) = uploads.strip_suffix("/blobs/uploads") {
            return Some(Self::Uploads { name });
        }
        let (before, last) = path.rsplit_once('/')?;
        if let Some(name) = before.strip_suffix("/manifests") {
            return Some(Self::Manifest {
                name,
                reference: last,
            });
        }
        if let Some(name) = before.strip_suffix("/blobs/uploads") {
            return Some(Self::Upload { name, id: last });
        }
        if let Some(name) = before.strip_suffix("/blobs") {
            return Some(Self::Blob { name, digest: last });
        }
        let name = before.strip_suffix("/referrers")?;
        Some(Self::Referrers { name, digest: last })
    }

    /// The repository.
    pub(crate) fn name(&self) -> Option<&'a str> {
        match self {
            Self::Base | Self::Catalog => None,
            Self::Tags { name }
            | Self::Manifest { name, .. }
            | Self::Blob { name, .. }
            | Self::Uploads { name }
            | Self::Upload { name, .. }
            | Self::Referrers { name, .. } => Some(name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_specification() {
        for good in [
            "a",
            "a/b",
            "a-b",
            "a--b",
            "a.b",
            "a_b",
            "a__b",
            "0/1/2",
            "library/nginx",
        ] {
            assert!(is_repository(good), "{good}");
        }
        let long = "a".repeat(REPOSITORY_BYTES_MAX + 1);
        for bad in [
            "", "/", "a/", "/a", "a//b", "A", "a..b", "a___b", "a-", "-a", ".", "..", "a/../b",
            "a._b", "é", "a b", "a\0", &long,
        ] {
            assert!(!is_repository(bad), "{bad}");
        }
        assert!(is_tag("v1.0-rc_1") && is_tag("_x") && is_tag(&"a".repeat(128)));
        for bad in ["", ".a", "-a", "a/b", "a:b", &"a".repeat(129)] {
            assert!(!is_tag(bad), "{bad}");
        }
        assert!(is_user("alice") && !is_user("library") && !is_user("a/b") && !is_user("x"));
    }

    #[test]
    fn the_end_of_a_path_decides() {
        let name = "a/blobs";
        for (path, route) in [
            ("", Route::Base),
            ("_catalog", Route::Catalog),
            ("a/blobs/tags/list", Route::Tags { name }),
            ("a/blobs/blobs/uploads/", Route::Uploads { name }),
            ("a/blobs/blobs/uploads", Route::Uploads { name }),
            ("a/blobs/blobs/uploads/7", Route::Upload { name, id: "7" }),
            ("a/blobs/blobs/x", Route::Blob { name, digest: "x" }),
            (
                "a/blobs/referrers/x",
                Route::Referrers { name, digest: "x" },
            ),
            (
                "a/blobs/manifests/t",
                Route::Manifest {
                    name,
                    reference: "t",
                },
            ),
        ] {
            assert_eq!(Route::parse(path), Some(route), "{path}");
        }
        assert_eq!(Route::parse("a/b"), None);
    }
}
