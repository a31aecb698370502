//! What the fuzz targets share: pieces of an input, archives made of it, a directory to work in.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use types::digest::Algorithm;

/// The byte between the pieces of an input; UTF-8 never has it.
pub const SEPARATOR: u8 = 0xff;
/// An input has at most so many pieces.
const PIECES_MAX: usize = 16;
const BLOCK_BYTES: usize = 512;
const CHECKSUM: std::ops::Range<usize> = 148..156;
const SIZE: std::ops::Range<usize> = 124..136;

/// The pieces of an input.
pub fn pieces(data: &[u8]) -> Vec<&[u8]> {
    data.splitn(PIECES_MAX, |byte| *byte == SEPARATOR).collect()
}

/// A piece as text, nothing where it is missing or no text.
pub fn text<'a>(pieces: &[&'a [u8]], index: usize) -> &'a str {
    let piece = pieces.get(index).copied().unwrap_or_default();
    std::str::from_utf8(piece).unwrap_or_default()
}

/// Makes the checksums of a tar archive right, which no mutation hits by chance.
pub fn repair_checksums(archive: &mut [u8]) {
    let mut at = 0;
    while let Some(header) = archive.get_mut(at..at + BLOCK_BYTES) {
        if header.iter().any(|byte| *byte != 0) {
            header[CHECKSUM].fill(b' ');
            let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
            header[CHECKSUM].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        }
        let digits = header[SIZE].split(|byte| !byte.is_ascii_digit()).next();
        let digits = std::str::from_utf8(digits.unwrap_or_default()).unwrap_or_default();
        let size = usize::from_str_radix(digits, 8).unwrap_or(0);
        // Sizes beyond the input end it: nothing follows that could be read.
        let blocks = size.div_ceil(BLOCK_BYTES).min(archive.len());
        at += BLOCK_BYTES * (1 + blocks);
    }
}

/// The SHA-256 of bytes as hexadecimal digits.
pub fn sha256(bytes: &[u8]) -> String {
    let mut hasher = storage::blobs::Hasher::new(Algorithm::Sha256);
    hasher.update(bytes);
    hasher.finish().hex().to_owned()
}

/// A directory with a canary beside a root for the target, removed with this value.
pub struct Cage {
    outer: PathBuf,
    /// What the canary was at first.
    canary: (u64, u32, u64, i64, i64),
}

impl Cage {
    /// Makes one; in memory where the machine has `/dev/shm`.
    pub fn new(name: &str) -> Self {
        let shared = Path::new("/dev/shm");
        let base = match shared.is_dir() {
            true => shared.to_owned(),
            false => std::env::temp_dir(),
        };
        let outer = base.join(format!("caisson-fuzz-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&outer);
        fs::create_dir_all(outer.join("root")).expect("a directory to work in");
        fs::write(outer.join("canary"), "sings").expect("a canary");
        let canary = look(&outer.join("canary"));
        Self { outer, canary }
    }

    /// The target's own directory.
    pub fn root(&self) -> PathBuf {
        self.outer.join("root")
    }

    /// Panics where something outside the root was touched.
    pub fn check(&self) {
        let mut names: Vec<_> = fs::read_dir(&self.outer)
            .expect("the cage is there")
            .map(|entry| entry.expect("a readable cage").file_name())
            .collect();
        names.sort();
        assert_eq!(
            names,
            ["canary", "root"],
            "something was made or removed outside"
        );
        let canary = self.outer.join("canary");
        assert_eq!(look(&canary), self.canary, "the canary was touched");
        assert_eq!(fs::read(&canary).expect("a canary"), b"sings");
    }

    /// Makes the root empty again.
    pub fn clear(&self) {
        let _ = fs::remove_dir_all(self.root());
        fs::create_dir(self.root()).expect("an empty root");
    }
}

impl Drop for Cage {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.outer);
    }
}

/// Links, mode, size and times of a file.
fn look(path: &Path) -> (u64, u32, u64, i64, i64) {
    let metadata = fs::symlink_metadata(path).expect("a canary");
    (
        metadata.nlink(),
        metadata.mode(),
        metadata.size(),
        metadata.mtime(),
        metadata.mtime_nsec(),
    )
}
