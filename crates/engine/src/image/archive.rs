//! The members of an image archive, gone through once and kept where they can be found again.
//!
//! An archive may come from a pipe and has its index anywhere, often last. So every file goes under
//! the lease's temporary directory as it comes, hashed, and only what an image turns out to need is
//! then published as a blob. Links between members (old `docker save` wrote them) are followed
//! within the archive and nowhere else.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Write};

use serde::de::DeserializeOwned;
use storage::blobs::StagedBlob;
use storage::compression;
use storage::lease::Lease;
use storage::tar::{Entry, Kind, Limits, TarReader};
use types::digest::Algorithm;

use super::error::{ImageError, Result};
use crate::observer::{Event, Observer};

/// Members of an archive: images of a few hundred layers have some thousand.
const MEMBERS_MAX: u64 = 65_536;
/// Manifests, configurations and the old `json` files.
const DOCUMENT_BYTES_MAX: u64 = 8 << 20;
/// Links that lead to links.
const LINKS_MAX: usize = 16;
const CHUNK_BYTES: usize = 256 << 10;
const TRAILER_BYTES_MAX: u64 = 64 << 20;

/// The members of an archive by their cleaned names.
#[derive(Debug, Default)]
pub(super) struct Members {
    by_name: BTreeMap<String, Member>,
}

#[derive(Debug)]
enum Member {
    File(StagedBlob),
    /// The name of another member.
    Link(String),
}

impl Members {
    /// Reads a whole archive, compressed or not.
    pub(super) fn read(
        source: impl Read + Send,
        lease: &Lease,
        observer: &dyn Observer,
    ) -> Result<Self> {
        let source_error = |source| ImageError::Source { source };
        let tar_error = |source| ImageError::Tar { source };
        let (_, source) = compression::decode(source).map_err(source_error)?;
        let limits = Limits {
            entries_max: MEMBERS_MAX,
            ..Limits::default()
        };
        let mut reader = TarReader::new(source, limits);
        let mut entry = Entry::default();
        let mut members = Self::default();
        let mut bytes = 0;
        while reader.next_entry(&mut entry).map_err(tar_error)? {
            let Some(name) = clean(&entry.path) else {
                continue;
            };
            let member = match entry.kind {
                Kind::File => {
                    let mut writer = lease.store().blob_writer(lease, Algorithm::Sha256)?;
                    loop {
                        let chunk = reader.chunk(CHUNK_BYTES).map_err(tar_error)?;
                        if chunk.is_empty() {
                            break;
                        }
                        writer
                            .write_all(chunk)
                            .map_err(|source| ImageError::Sink { source })?;
                        bytes += chunk.len() as u64;
                        observer.event(Event::Archive { bytes });
                    }
                    Member::File(writer.stage())
                }
                Kind::Symlink => match clean(&join(&name, &entry.link)) {
                    Some(target) => Member::Link(target),
                    None => continue,
                },
                Kind::HardLink => match clean(&entry.link) {
                    Some(target) => Member::Link(target),
                    None => continue,
                },
                // Devices and the like are no part of any image archive; directories say nothing.
                _ => continue,
            };
            members.by_name.insert(name, member);
        }
        reader.drain(TRAILER_BYTES_MAX).map_err(tar_error)?;
        Ok(members)
    }

    /// The file of that name; `None` where there is none.
    pub(super) fn find(&self, name: &str) -> Option<&StagedBlob> {
        let mut name = clean(name.as_bytes())?;
        for _ in 0..LINKS_MAX {
            match self.by_name.get(&name)? {
                Member::File(file) => return Some(file),
                Member::Link(target) => name.clone_from(target),
            }
        }
        None
    }

    /// The file of that name, which must be there.
    pub(super) fn get(&self, name: &str) -> Result<&StagedBlob> {
        // A name that leads out of the archive names nothing in it: say so rather than clean it.
        let plain = clean(name.as_bytes()).filter(|clean| clean == name.trim_start_matches("./"));
        plain
            .and_then(|name| self.find(&name))
            .ok_or_else(|| ImageError::Archive {
                what: format!("it has no member {:?}", shorten(name)),
            })
    }

    /// The bytes of a small member; `None` where there is none.
    pub(super) fn bytes(&self, name: &str) -> Result<Option<Vec<u8>>> {
        let Some(file) = self.find(name) else {
            return Ok(None);
        };
        read(file.open()?, name).map(Some)
    }

    /// A small member as JSON; `None` where there is none.
    pub(super) fn json<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>> {
        let Some(bytes) = self.bytes(name)? else {
            return Ok(None);
        };
        // serde_json refuses documents nested deeper than 128.
        types::json::read(&bytes)
            .map(Some)
            .map_err(|source| ImageError::ArchiveJson {
                member: shorten(name),
                source,
            })
    }
}

fn read(file: File, name: &str) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(DOCUMENT_BYTES_MAX + 1)
        .read_to_end(&mut bytes)
        .map_err(|source| ImageError::Source { source })?;
    if bytes.len() as u64 > DOCUMENT_BYTES_MAX {
        let what = format!(
            "its member {:?} is larger than {DOCUMENT_BYTES_MAX} bytes",
            shorten(name)
        );
        return Err(ImageError::Archive { what });
    }
    Ok(bytes)
}

/// A name without `.`, empty parts and a leading slash. `None`: it leads out of the archive, or is
/// no text, and so is nothing that an image names.
fn clean(name: &[u8]) -> Option<String> {
    let name = std::str::from_utf8(name).ok()?;
    let mut parts: Vec<&str> = Vec::new();
    for part in name.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    (!parts.is_empty()).then(|| parts.join("/"))
}

/// A link's target, seen from the directory of the link.
fn join(name: &str, target: &[u8]) -> Vec<u8> {
    let directory = name.rsplit_once('/').map_or("", |(directory, _)| directory);
    if target.starts_with(b"/") {
        return target.to_vec();
    }
    [directory.as_bytes(), b"/", target].concat()
}

/// Fit for an error's line.
fn shorten(name: &str) -> String {
    name.chars().take(100).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_in_the_archive() {
        for (name, want) in [
            ("a/b", Some("a/b")),
            ("./a//b/", Some("a/b")),
            ("/a", Some("a")),
            ("a/../b", Some("b")),
            ("../b", None),
            ("a/../../b", None),
            (".", None),
            ("", None),
        ] {
            assert_eq!(clean(name.as_bytes()).as_deref(), want, "{name}");
        }
        assert_eq!(clean(b"\xff"), None);
        assert_eq!(join("x/layer.tar", b"../y/layer.tar"), b"x/../y/layer.tar");
    }
}
