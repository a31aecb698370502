//! Image references: what a user types, `[host[:port]/]path[:tag][@digest]`.
//!
//! The grammar and the normalisation are those of the distribution project (`nginx` is
//! `docker.io/library/nginx`), held to `corpus/golden/reference-golden.jsonl`. A value of
//! [`Reference`] is always valid, so that its parts may be put into URLs; as file names they still
//! need encoding (a path has slashes). Error texts are Docker's.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::digest::{Digest, DigestError};

/// The registry meant where none is named.
pub const DEFAULT_DOMAIN: &str = "docker.io";
/// The tag meant where neither tag nor digest is named.
pub const DEFAULT_TAG: &str = "latest";
/// The longest path, as in the distribution project.
pub const PATH_BYTES_MAX: usize = 255;
/// The longest tag.
pub const TAG_BYTES_MAX: usize = 128;
/// The longest text looked at: a DNS name, a path, a tag and a digest fit well.
pub const REFERENCE_BYTES_MAX: usize = 4096;

const LEGACY_DEFAULT_DOMAIN: &str = "index.docker.io";
const OFFICIAL_PREFIX: &str = "library/";
/// The least digits that the grammar calls a digest; the algorithm then asks for its own number.
const DIGEST_HEX_MIN: usize = 32;

/// Why a text is no reference.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceError {
    /// Not of the grammar.
    #[error("invalid reference format")]
    InvalidFormat,
    /// Upper case in the path.
    #[error("invalid reference format: repository name ({0}) must be lowercase")]
    Uppercase(String),
    /// Upper case in something that is a host name but for an underscore.
    #[error("repository name must be lowercase")]
    NameContainsUppercase,
    /// 64 hexadecimal digits are an image's id and would be ambiguous.
    #[error("invalid repository name ({0}), cannot specify 64-byte hexadecimal strings")]
    Identifier(String),
    /// Longer than [`PATH_BYTES_MAX`].
    #[error("repository name must not be more than {PATH_BYTES_MAX} characters")]
    NameTooLong,
    /// The digest is not one.
    #[error(transparent)]
    Digest(#[from] DigestError),
}

/// A normalised image reference.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reference {
    domain: String,
    path: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

impl Reference {
    /// Reads what a user typed and fills in the registry and `library/`, but no tag.
    pub fn parse_normalized(text: &str) -> Result<Self, ReferenceError> {
        if text.len() > REFERENCE_BYTES_MAX {
            return Err(ReferenceError::InvalidFormat);
        }
        if text.len() == 64 && text.bytes().all(crate::digest::is_lower_hex) {
            return Err(ReferenceError::Identifier(text.to_owned()));
        }
        let (domain, remainder) = split_docker_domain(text);
        let remote = remainder.split(':').next().unwrap_or_default();
        if remote.to_lowercase() != remote {
            return Err(ReferenceError::Uppercase(remote.to_owned()));
        }
        parse_full(&format!("{domain}/{remainder}"))
    }

    /// The registry's host and port. Empty for odd names such as `foo_bar.com/x`, whose first
    /// element looks like a host to Docker but is none.
    pub fn domain(&self) -> &str {
        &self.domain
    }

    /// The repository's path in the registry, `library/nginx`.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The tag.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The digest.
    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// Registry and path: `docker.io/library/nginx`.
    pub fn name(&self) -> String {
        if self.domain.is_empty() {
            self.path.clone()
        } else {
            format!("{}/{}", self.domain, self.path)
        }
    }

    /// The name without what goes without saying: `nginx`.
    pub fn familiar_name(&self) -> String {
        if self.domain != DEFAULT_DOMAIN {
            return self.name();
        }
        match self.path.strip_prefix(OFFICIAL_PREFIX) {
            Some(rest) if !rest.contains('/') => rest.to_owned(),
            _ => self.path.clone(),
        }
    }

    /// Everything, in the short form that lists print: `nginx:1.27`.
    pub fn familiar(&self) -> String {
        self.with_suffix(self.familiar_name())
    }

    /// Everything, in the long form: `docker.io/library/nginx:1.27`.
    pub fn canonical(&self) -> String {
        self.with_suffix(self.name())
    }

    /// The same with `latest`, where neither tag nor digest was given.
    pub fn with_default_tag(mut self) -> Self {
        if self.tag.is_none() && self.digest.is_none() {
            self.tag = Some(DEFAULT_TAG.to_owned());
        }
        self
    }

    /// The same with another tag.
    pub fn with_tag(mut self, tag: &str) -> Result<Self, ReferenceError> {
        if !is_tag(tag) {
            return Err(ReferenceError::InvalidFormat);
        }
        self.tag = Some(tag.to_owned());
        Ok(self)
    }

    /// The same with another digest.
    pub fn with_digest(mut self, digest: Digest) -> Self {
        self.digest = Some(digest);
        self
    }

    /// The same without tag and digest.
    pub fn without_tag_and_digest(mut self) -> Self {
        self.tag = None;
        self.digest = None;
        self
    }

    fn with_suffix(&self, mut text: String) -> String {
        if let Some(tag) = &self.tag {
            text.push(':');
            text.push_str(tag);
        }
        if let Some(digest) = &self.digest {
            text.push('@');
            text.push_str(digest.as_str());
        }
        text
    }
}

/// Decides whether the first element is a host. It is one if it has a dot or a colon, is
/// `localhost`, or has upper case (which no path may have).
fn split_docker_domain(text: &str) -> (&str, String) {
    let Some((first, rest)) = text.split_once('/') else {
        return (DEFAULT_DOMAIN, format!("{OFFICIAL_PREFIX}{text}"));
    };
    let (domain, remainder) = if first == LEGACY_DEFAULT_DOMAIN {
        (DEFAULT_DOMAIN, rest)
    } else if first == "localhost" || first.contains(['.', ':']) || first.to_lowercase() != first {
        (first, rest)
    } else {
        (DEFAULT_DOMAIN, text)
    };
    if domain == DEFAULT_DOMAIN && !remainder.contains('/') {
        return (domain, format!("{OFFICIAL_PREFIX}{remainder}"));
    }
    (domain, remainder.to_owned())
}

/// The grammar proper, on a text that names its registry.
fn parse_full(text: &str) -> Result<Reference, ReferenceError> {
    let Some(parts) = split_parts(text) else {
        let lower = text.to_lowercase();
        return Err(match split_parts(&lower) {
            Some(_) => ReferenceError::NameContainsUppercase,
            None => ReferenceError::InvalidFormat,
        });
    };
    if parts.path.len() > PATH_BYTES_MAX {
        return Err(ReferenceError::NameTooLong);
    }
    Ok(Reference {
        domain: parts.domain.to_owned(),
        path: parts.path.to_owned(),
        tag: parts.tag.map(str::to_owned),
        digest: parts.digest.map(Digest::parse).transpose()?,
    })
}

struct Parts<'a> {
    domain: &'a str,
    path: &'a str,
    tag: Option<&'a str>,
    digest: Option<&'a str>,
}

/// Splits without backtracking: only digests have an `@`, only hosts and tags have a colon, and a
/// tag has no slash.
fn split_parts(text: &str) -> Option<Parts<'_>> {
    let (before, digest) = match text.split_once('@') {
        Some((before, digest)) => (before, Some(digest)),
        None => (text, None),
    };
    if !digest.is_none_or(is_digest_shaped) {
        return None;
    }
    let last = before.rfind('/').map_or(0, |slash| slash + 1);
    let (name, tag) = match before[last..].find(':') {
        Some(colon) => (&before[..last + colon], Some(&before[last + colon + 1..])),
        None => (before, None),
    };
    if !tag.is_none_or(is_tag) {
        return None;
    }
    let (domain, path) = match name.split_once('/') {
        Some((domain, path)) if is_domain(domain) => (domain, path),
        _ => ("", name),
    };
    is_path(path).then_some(Parts {
        domain,
        path,
        tag,
        digest,
    })
}

/// Whether a text can be a tag: `[\w][\w.-]{0,127}`.
#[must_use]
pub fn is_tag(text: &str) -> bool {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    text.len() <= TAG_BYTES_MAX
        && text.bytes().next().is_some_and(word)
        && text
            .bytes()
            .all(|byte| word(byte) || matches!(byte, b'.' | b'-'))
}

/// `[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[[:xdigit:]]{32,}`.
fn is_digest_shaped(text: &str) -> bool {
    let Some((algorithm, hex)) = text.split_once(':') else {
        return false;
    };
    let part = |part: &str| {
        part.bytes()
            .next()
            .is_some_and(|byte| byte.is_ascii_alphabetic())
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric())
    };
    algorithm.split(['-', '_', '+', '.']).all(part)
        && hex.len() >= DIGEST_HEX_MIN
        && hex.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// A host name or a bracketed IPv6 address, and a port.
fn is_domain(text: &str) -> bool {
    let (host, port) = if text.starts_with('[') {
        let Some(end) = text.find(']') else {
            return false;
        };
        let (host, rest) = text.split_at(end + 1);
        match rest.strip_prefix(':') {
            Some(port) => (host, Some(port)),
            None if rest.is_empty() => (host, None),
            None => return false,
        }
    } else {
        match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        }
    };
    let digits = |port: &str| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    if !port.is_none_or(digits) {
        return false;
    }
    match host
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
    {
        Some(inner) => {
            !inner.is_empty()
                && inner
                    .bytes()
                    .all(|byte| byte.is_ascii_hexdigit() || byte == b':')
        }
        None => host.split('.').all(is_domain_component),
    }
}

fn is_domain_component(text: &str) -> bool {
    !text.is_empty()
        && !text.starts_with('-')
        && !text.ends_with('-')
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

fn is_path(text: &str) -> bool {
    text.split('/').all(is_path_component)
}

/// Runs of `[a-z0-9]` joined by one dot, one or two underscores, or any number of hyphens.
fn is_path_component(text: &str) -> bool {
    let letter = |byte: &u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9');
    let bytes = text.as_bytes();
    if !bytes.first().is_some_and(letter) || !bytes.last().is_some_and(letter) {
        return false;
    }
    bytes.split(letter).all(|separator| {
        matches!(separator, b"" | b"." | b"_" | b"__") || separator.iter().all(|&byte| byte == b'-')
    })
}

impl fmt::Display for Reference {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(&self.canonical())
    }
}

impl FromStr for Reference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        Self::parse_normalized(text)
    }
}

impl Serialize for Reference {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.canonical())
    }
}

impl<'de> Deserialize<'de> for Reference {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse_normalized(&text).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_recorded_reference_gives_the_recorded_parts_or_error() {
        let cases = crate::golden::read("reference-golden.jsonl");
        for case in &cases {
            let text = case["in"].as_str().unwrap();
            match Reference::parse_normalized(text) {
                Err(error) => assert_eq!(case["error"], error.to_string(), "{text}"),
                Ok(reference) => {
                    assert!(case["error"].is_null(), "{text}: {}", case["error"]);
                    assert_eq!(case["domain"], reference.domain(), "{text}");
                    assert_eq!(case["path"], reference.path(), "{text}");
                    assert_eq!(case["familiar"], reference.familiar(), "{text}");
                    assert_eq!(case["string"], reference.canonical(), "{text}");
                    assert_eq!(case["tag"].as_str(), reference.tag(), "{text}");
                    let digest = reference.digest().map(Digest::as_str);
                    assert_eq!(case["digest"].as_str(), digest, "{text}");
                    let tagged = reference.with_default_tag();
                    assert_eq!(case["tagnameonly"], tagged.canonical(), "{text}");
                }
            }
        }
    }

    #[test]
    fn names_are_normalised_as_docker_does() {
        for (text, canonical, familiar) in [
            ("nginx", "docker.io/library/nginx", "nginx"),
            ("index.docker.io/nginx", "docker.io/library/nginx", "nginx"),
            (
                "docker.io/user/repo:1",
                "docker.io/user/repo:1",
                "user/repo:1",
            ),
            ("localhost/x", "localhost/x", "localhost/x"),
            ("[::1]:5000/x:y", "[::1]:5000/x:y", "[::1]:5000/x:y"),
            ("library/a/b", "docker.io/library/a/b", "library/a/b"),
        ] {
            let reference = Reference::parse_normalized(text).unwrap();
            assert_eq!(reference.canonical(), canonical);
            assert_eq!(reference.familiar(), familiar);
        }
    }

    #[test]
    fn errors_have_the_words_of_docker() {
        for (text, want) in [
            (
                "BAD",
                "invalid reference format: repository name (library/BAD) must be lowercase",
            ),
            (
                "BAD/Upper",
                "invalid reference format: repository name (Upper) must be lowercase",
            ),
            ("a b", "invalid reference format"),
            ("Foo_bar.com/x", "repository name must be lowercase"),
        ] {
            assert_eq!(
                Reference::parse_normalized(text).unwrap_err().to_string(),
                want
            );
        }
        let long = format!("a/{}", "b".repeat(REFERENCE_BYTES_MAX));
        assert_eq!(
            Reference::parse_normalized(&long),
            Err(ReferenceError::InvalidFormat)
        );
    }

    #[test]
    fn tag_and_digest_can_be_replaced() {
        let digest = Digest::sha256_from_bytes(&[1; 32]);
        let reference = Reference::parse_normalized("a:1").unwrap();
        assert_eq!(reference.clone().with_tag("2").unwrap().familiar(), "a:2");
        assert_eq!(
            reference.clone().with_tag("-"),
            Err(ReferenceError::InvalidFormat)
        );
        let pinned = reference.with_digest(digest.clone());
        assert_eq!(pinned.familiar(), format!("a:1@{digest}"));
        assert_eq!(pinned.without_tag_and_digest().familiar(), "a");
    }
}
