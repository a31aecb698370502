//! Digests of files that have not changed since they were read.
//!
//! A file of a context is known by device, inode, size and times: as long as those are the same it is
//! not read again, so that a build of an unchanged context costs a `stat` per file. What is written to
//! within the clock's grain of our reading would not show; a file whose inode changed within a second
//! of it is not remembered (git's "racy" rule, over the time that a writer cannot set).
//!
//! One file per directory of the user. Each record: length of the path, path, the numbers, digest.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use sys::atomic::Durability;
use types::digest::Digest;

use super::files::Seen;

const MAGIC: &[u8; 8] = b"csnmemo1";
/// A million files with long names.
const BYTES_MAX: u64 = 512 << 20;
const RACY_S: i64 = 1;
const NUMBERS: usize = 7 * 8;
const HASH: usize = 32;

type Known = HashMap<Vec<u8>, (Seen, [u8; HASH])>;

/// What is known of a directory's files.
pub(crate) struct Memo {
    path: PathBuf,
    known: Known,
    /// What was read anew, and what was used.
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    fresh: Vec<(Vec<u8>, Seen, [u8; HASH])>,
}

impl Memo {
    /// Reads what is kept in a file; nothing where it is missing or damaged.
    pub(crate) fn load(path: PathBuf) -> Self {
        let bytes = sys::atomic::read_limited(&path, BYTES_MAX).unwrap_or_default();
        Self {
            path,
            known: parse(&bytes).unwrap_or_default(),
            state: Mutex::new(State::default()),
        }
    }

    /// The digest of a file that looks as it did.
    pub(crate) fn get(&self, path: &[u8], seen: &Seen) -> Option<Digest> {
        let (known, hash) = self.known.get(path)?;
        (known == seen).then(|| Digest::sha256_from_bytes(hash))
    }

    /// Remembers a file that was read just now.
    pub(crate) fn put(&self, path: &[u8], seen: &Seen, digest: &Digest) {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Realtime);
        let is_racy = seen.changed.0 + RACY_S >= now.tv_sec;
        let Some(hash) = hash_of(digest) else {
            return;
        };
        if !is_racy && let Ok(mut state) = self.state.lock() {
            state.fresh.push((path.to_vec(), *seen, hash));
        }
    }

    /// Keeps what was read anew. That it cannot be kept costs time and nothing else.
    pub(crate) fn save(&self) {
        let Ok(state) = self.state.lock() else {
            return;
        };
        if state.fresh.is_empty() {
            return;
        }
        let mut all: HashMap<&[u8], (&Seen, &[u8; HASH])> = self
            .known
            .iter()
            .map(|(path, (seen, hash))| (path.as_slice(), (seen, hash)))
            .collect();
        for (path, seen, hash) in &state.fresh {
            all.insert(path, (seen, hash));
        }
        let mut bytes = MAGIC.to_vec();
        for (path, (seen, hash)) in all {
            bytes.extend_from_slice(&(path.len() as u32).to_le_bytes());
            bytes.extend_from_slice(path);
            for number in numbers(seen) {
                bytes.extend_from_slice(&number.to_le_bytes());
            }
            bytes.extend_from_slice(hash);
        }
        let _ = sys::atomic::write(&self.path, &bytes, Durability::Volatile);
    }

    /// Where the memo of a directory is kept.
    pub(crate) fn place(contents: &Path, directory: &Path) -> PathBuf {
        let digest = build::key::digest_of_parts([directory.as_os_str().as_encoded_bytes()]);
        contents.join(format!("memo-{}", digest.hex()))
    }
}

fn numbers(seen: &Seen) -> [i64; 7] {
    [
        seen.device as i64,
        seen.inode as i64,
        seen.size,
        seen.modified.0,
        seen.modified.1,
        seen.changed.0,
        seen.changed.1,
    ]
}

fn hash_of(digest: &Digest) -> Option<[u8; HASH]> {
    let hex = digest.hex().as_bytes();
    let mut hash = [0; HASH];
    for (byte, pair) in hash.iter_mut().zip(hex.chunks_exact(2)) {
        let text = std::str::from_utf8(pair).ok()?;
        *byte = u8::from_str_radix(text, 16).ok()?;
    }
    (hex.len() == 2 * HASH).then_some(hash)
}

fn parse(bytes: &[u8]) -> Option<Known> {
    let mut rest = bytes.strip_prefix(MAGIC)?;
    let mut known = HashMap::new();
    while !rest.is_empty() {
        let (length, tail) = rest.split_first_chunk::<4>()?;
        let (path, tail) = tail.split_at_checked(u32::from_le_bytes(*length) as usize)?;
        let (numbers, tail) = tail.split_at_checked(NUMBERS)?;
        let (hash, tail) = tail.split_first_chunk::<HASH>()?;
        let mut values = numbers
            .chunks_exact(8)
            .map(|chunk| i64::from_le_bytes(chunk.try_into().expect("invariant: chunks of eight")));
        let mut next = || values.next().unwrap_or(0);
        let seen = Seen {
            device: next() as u64,
            inode: next() as u64,
            size: next(),
            modified: (next(), next()),
            changed: (next(), next()),
        };
        known.insert(path.to_vec(), (seen, *hash));
        rest = tail;
    }
    Some(known)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(changed: i64) -> Seen {
        Seen {
            device: 1,
            inode: 2,
            size: 3,
            modified: (4, 5),
            changed: (changed, 6),
        }
    }

    #[test]
    fn what_is_put_is_found_again_unless_it_is_fresh_or_different() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("memo");
        let digest = build::key::digest_of_parts([&b"x"[..]]);
        let memo = Memo::load(path.clone());
        memo.put(b"a/b", &seen(100), &digest);
        memo.put(b"fresh", &seen(i64::MAX / 2), &digest);
        memo.save();
        let memo = Memo::load(path.clone());
        assert_eq!(memo.get(b"a/b", &seen(100)), Some(digest.clone()));
        assert_eq!(memo.get(b"a/b", &seen(101)), None);
        assert_eq!(memo.get(b"fresh", &seen(i64::MAX / 2)), None);
        std::fs::write(&path, b"csnmemo1garbage").unwrap();
        assert_eq!(Memo::load(path).get(b"a/b", &seen(100)), None);
    }
}
