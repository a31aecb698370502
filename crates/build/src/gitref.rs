//! References to git repositories: `https://host/repository.git#reference:directory`, and with
//! `?tag=…&subdir=…`; `git@host:repository`.
//!
//! What `docker build URL`, `ADD URL` and `--build-context` take; held to
//! `corpus/golden/gitref-golden.jsonl`.

use types::go_syntax::{parse_bool, quote};
use types::lexical_path::clean;

/// The longest reference.
const REFERENCE_BYTES_MAX: usize = 8192;

/// A reference to a repository, and what of it is meant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GitReference {
    /// Where the repository is, without what is said below.
    pub remote: String,
    /// The last part of the remote without `.git`.
    pub short_name: String,
    /// Branch, tag or commit; empty for the remote's own choice.
    pub reference: String,
    /// The commit must begin so.
    pub checksum: String,
    /// A directory in it.
    pub subdirectory: String,
    /// `github.com/…`, which may as well be a local path.
    pub may_be_local: bool,
    /// `http:` and `git:` can be read and changed on their way.
    pub is_unencrypted: bool,
    /// Whether `.git` stays.
    pub keep_git_directory: Option<bool>,
    /// Whether submodules are fetched.
    pub submodules: Option<bool>,
    /// Which times files get: `checkout` or `commit`.
    pub times: String,
    /// The commit is fetched without asking what the reference is.
    pub fetch_by_commit: bool,
}

/// Why a text is no reference to a repository.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum GitReferenceError {
    /// It is something else: a path, an address of a file.
    #[error("not a git repository")]
    Other,
    #[error("{0}: invalid protocol")]
    Protocol(String),
    #[error("invalid address of a git repository: {0}")]
    Address(&'static str),
    #[error("query {} has no value", quote(.0))]
    NoValue(String),
    #[error("query {} has multiple values", quote(.0))]
    SeveralValues(String),
    #[error("unexpected query {}", quote(.0))]
    UnknownKey(String),
    #[error("invalid {key} value: {}", quote(.value))]
    Value { key: String, value: String },
    #[error("{what} conflicts: {} vs {}", quote(.one), quote(.other))]
    Conflict {
        what: &'static str,
        one: String,
        other: String,
    },
    #[error("branch conflicts with tag")]
    BranchAndTag,
}

impl GitReferenceError {
    /// Whether the text is surely meant as a repository, and wrong.
    pub fn is_meant_as_git(&self) -> bool {
        !matches!(self, Self::Other | Self::Protocol(_) | Self::Address(_))
    }
}

/// Reads a reference.
pub fn parse(text: &str) -> Result<GitReference, GitReferenceError> {
    if text.len() > REFERENCE_BYTES_MAX {
        return Err(GitReferenceError::Address("it is too long"));
    }
    if text.starts_with("./") || text.starts_with("../") {
        return Err(GitReferenceError::Other);
    }
    let mut found = GitReference::default();
    let remote = if text.starts_with("github.com/") {
        found.may_be_local = true;
        split_address("", text)?
    } else {
        let remote = match scheme(text) {
            Some((scheme, rest)) => {
                let lower = scheme.to_ascii_lowercase();
                if !["http", "https", "ssh", "git"].contains(&lower.as_str()) {
                    return Err(GitReferenceError::Protocol(lower));
                }
                split_address(&lower, rest)?
            }
            None => split_secure_copy(text).ok_or(GitReferenceError::Other)?,
        };
        found.is_unencrypted = matches!(remote.scheme.as_str(), "http" | "git");
        // Any other address is that of a file.
        let is_web = matches!(remote.scheme.as_str(), "http" | "https");
        if is_web && !remote.path.ends_with(".git") {
            return Err(GitReferenceError::Other);
        }
        remote
    };
    if let Some(fragment) = remote.fragment {
        let (reference, directory) = fragment.split_once(':').unwrap_or((&fragment, ""));
        found.reference = reference.to_owned();
        found.subdirectory = clean(&format!("/{directory}"))[1..].to_owned();
    }
    let last = remote.text.rsplit('/').next().unwrap_or_default();
    found.short_name = last.strip_suffix(".git").unwrap_or(last).to_owned();
    found.remote = remote.text;
    found.read_query(&remote.query)?;
    Ok(found)
}

/// The parts of an address.
struct Remote {
    scheme: String,
    path: String,
    /// Without query and fragment.
    text: String,
    query: String,
    fragment: Option<String>,
}

/// `name://rest`.
fn scheme(text: &str) -> Option<(&str, &str)> {
    let (name, rest) = text.split_once("://")?;
    let is_name = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric());
    is_name.then_some((name, rest))
}

/// An address from behind `://`, or without scheme.
fn split_address(scheme: &str, rest: &str) -> Result<Remote, GitReferenceError> {
    if rest.bytes().any(|byte| byte.is_ascii_control()) {
        return Err(GitReferenceError::Address("it has control characters"));
    }
    let (rest, fragment) = match rest.split_once('#') {
        Some((rest, fragment)) => (rest, Some(unescape(fragment)?)),
        None => (rest, None),
    };
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let path = match rest.split_once('/') {
        _ if scheme.is_empty() => unescape(rest)?,
        Some((authority, path)) => {
            check_authority(authority)?;
            unescape(&format!("/{path}"))?
        }
        None => {
            check_authority(rest)?;
            String::new()
        }
    };
    let text = if scheme.is_empty() {
        rest.to_owned()
    } else {
        format!("{scheme}://{rest}")
    };
    Ok(Remote {
        scheme: scheme.to_owned(),
        path,
        text,
        query: query.to_owned(),
        fragment: fragment.filter(|fragment| !fragment.is_empty()),
    })
}

/// `user:password@host:port`: nothing that a program called with it would take for an option.
fn check_authority(authority: &str) -> Result<(), GitReferenceError> {
    let (user, host) = authority.rsplit_once('@').unwrap_or(("", authority));
    if host.starts_with('-') || user.starts_with('-') {
        return Err(GitReferenceError::Address("its host begins with a dash"));
    }
    let port = match host.strip_prefix('[') {
        Some(rest) => {
            let (_, after) = rest
                .split_once(']')
                .ok_or(GitReferenceError::Address("missing ']' in host"))?;
            after.strip_prefix(':').unwrap_or_default()
        }
        None => host.split_once(':').map_or("", |(_, port)| port),
    };
    if !port.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(GitReferenceError::Address("its port is none"));
    }
    if host.contains(' ') {
        return Err(GitReferenceError::Address("invalid character in host name"));
    }
    Ok(())
}

/// `user@host:path`, as ssh and scp know it.
fn split_secure_copy(text: &str) -> Option<Remote> {
    let (user, rest) = text.split_once('@')?;
    let is_user = !user.is_empty()
        && user
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte))
        && !user.starts_with('-');
    let (host, path) = rest.split_once(':')?;
    let is_host = !host.is_empty()
        && host
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b".-".contains(&byte))
        && !host.starts_with('-');
    if !is_user || !is_host {
        return None;
    }
    let (path, fragment) = match path.split_once('#') {
        Some((path, fragment)) => (path, Some(fragment.to_owned())),
        None => (path, None),
    };
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    if path.is_empty() {
        return None;
    }
    Some(Remote {
        scheme: "ssh".to_owned(),
        path: path.to_owned(),
        text: format!("{user}@{host}:{path}"),
        query: query.to_owned(),
        fragment: fragment.filter(|fragment| !fragment.is_empty()),
    })
}

/// Replaces `%41` in a path; `None` where it is not escaped properly.
pub(crate) fn unescape_path(text: &str) -> Option<String> {
    unescape(text).ok()
}

/// Replaces `%41`.
fn unescape(text: &str) -> Result<String, GitReferenceError> {
    unescape_bytes(text)
        .and_then(|bytes| String::from_utf8(bytes).ok())
        .ok_or(GitReferenceError::Address("invalid URL escape"))
}

fn unescape_bytes(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        if *first == b'%' {
            let digits = std::str::from_utf8(after.get(..2)?).ok()?;
            bytes.push(u8::from_str_radix(digits, 16).ok()?);
            rest = &after[2..];
        } else {
            bytes.push(*first);
            rest = after;
        }
    }
    Some(bytes)
}

impl GitReference {
    fn read_query(&mut self, query: &str) -> Result<(), GitReferenceError> {
        let (mut tag, mut branch) = (None, None);
        let mut seen: Vec<String> = Vec::new();
        for part in query.split('&').filter(|part| !part.is_empty()) {
            let (key, value) = part.split_once('=').unwrap_or((part, ""));
            // Go drops what is not escaped properly; we do not drop what a user asked for.
            let key = unescape(&key.replace('+', " "))?;
            let value = unescape(&value.replace('+', " "))?;
            if seen.contains(&key) {
                return Err(GitReferenceError::SeveralValues(key));
            }
            let is_switch = ["submodules", "keep-git-dir", "fetch-by-commit"];
            if value.is_empty() && !is_switch.contains(&key.as_str()) {
                return Err(GitReferenceError::NoValue(key));
            }
            match key.as_str() {
                "ref" => set(&mut self.reference, value, "ref")?,
                "tag" => tag = Some(value),
                "branch" => branch = Some(value),
                "subdir" => set(&mut self.subdirectory, value, "subdir")?,
                "checksum" | "commit" => self.checksum = value,
                "keep-git-dir" => self.keep_git_directory = Some(switch(&key, &value)?),
                "submodules" => self.submodules = Some(switch(&key, &value)?),
                "fetch-by-commit" => self.fetch_by_commit = switch(&key, &value)?,
                "mtime" if matches!(value.as_str(), "checkout" | "commit") => self.times = value,
                "mtime" => return Err(GitReferenceError::Value { key, value }),
                _ => return Err(GitReferenceError::UnknownKey(key)),
            }
            seen.push(key);
        }
        match (tag, branch) {
            (Some(_), Some(_)) => Err(GitReferenceError::BranchAndTag),
            (Some(tag), None) => set(&mut self.reference, full_name("refs/tags/", tag), "ref"),
            (None, Some(branch)) => {
                set(&mut self.reference, full_name("refs/heads/", branch), "ref")
            }
            (None, None) => Ok(()),
        }
    }
}

fn full_name(prefix: &str, name: String) -> String {
    if name.starts_with(prefix) {
        name
    } else {
        format!("{prefix}{name}")
    }
}

/// A value may be given twice only if it is the same.
fn set(place: &mut String, value: String, what: &'static str) -> Result<(), GitReferenceError> {
    if place.is_empty() || *place == value {
        *place = value;
        return Ok(());
    }
    Err(GitReferenceError::Conflict {
        what,
        one: place.clone(),
        other: value,
    })
}

fn switch(key: &str, value: &str) -> Result<bool, GitReferenceError> {
    if value.is_empty() {
        return Ok(true);
    }
    parse_bool(value).map_err(|_| GitReferenceError::Value {
        key: key.to_owned(),
        value: value.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::golden;

    #[test]
    fn references_are_read_as_buildkit_reads_them() {
        for case in golden::read("gitref-golden.jsonl") {
            let text = case["in"].as_str().unwrap();
            let found = match parse(text) {
                Ok(found) => found,
                Err(error) => {
                    assert!(!case["error"].is_null(), "{case}: {error}");
                    assert_eq!(json!(error.is_meant_as_git()), case["is_git"], "{case}");
                    continue;
                }
            };
            let summary = json!({
                "Remote": found.remote,
                "ShortName": found.short_name,
                "Ref": found.reference,
                "Checksum": found.checksum,
                "SubDir": found.subdirectory,
                "IndistinguishableFromLocal": found.may_be_local,
                "UnencryptedTCP": found.is_unencrypted,
                "KeepGitDir": found.keep_git_directory,
                "Submodules": found.submodules,
                "MTime": found.times,
                "FetchByCommit": found.fetch_by_commit,
            });
            assert_eq!(case["error"], Value::Null, "{case}: {summary}");
            assert_eq!(summary, case["ref"], "{case}");
        }
    }

    #[test]
    fn nothing_that_looks_like_an_option_is_a_host() {
        for text in [
            "ssh://-oProxyCommand=x/y.git",
            "-x@host:y",
            "git@-host:y",
            "https://-x/y.git",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
