//! Tar archives. The first byte tells how they are read: with right checksums, and in which chunks.
#![no_main]

use libfuzzer_sys::fuzz_target;
use storage::tar::{Entry, Limits, TarReader};

/// Stored bytes of an archive are at most its own.
const CHUNK_BYTES_MAX: usize = 1000;

fuzz_target!(|data: &[u8]| {
    let Some((mode, archive)) = data.split_first() else {
        return;
    };
    let mut archive = archive.to_vec();
    if mode & 1 == 0 {
        caisson_fuzz::repair_checksums(&mut archive);
    }
    let limits = Limits {
        may_lack_end: mode & 2 == 0,
        entries_max: 100,
        ..Limits::default()
    };
    let mut reader = TarReader::new(&archive[..], limits.clone());
    let mut entry = Entry::default();
    let mut stored = 0;
    while let Ok(true) = reader.next_entry(&mut entry) {
        assert!(entry.path.len() <= limits.path_bytes_max && !entry.path.contains(&0));
        assert!(entry.link.len() <= limits.path_bytes_max && !entry.link.contains(&0));
        assert!(entry.size <= limits.file_bytes_max);
        assert!(entry.mtime.nanoseconds < 1_000_000_000);
        if let Some(segments) = &entry.sparse {
            let mut end = 0;
            for segment in segments {
                assert!(segment.offset >= end, "segments overlap");
                end = segment.offset + segment.length;
                assert!(end <= entry.size, "data beyond the file");
            }
        }
        if mode & 4 == 0 {
            while let Ok(chunk) = reader.chunk(CHUNK_BYTES_MAX) {
                if chunk.is_empty() {
                    break;
                }
                assert!(chunk.len() <= CHUNK_BYTES_MAX);
                stored += chunk.len();
            }
        }
    }
    assert!(stored <= archive.len());
    let _ = reader.drain(1 << 20);
});
