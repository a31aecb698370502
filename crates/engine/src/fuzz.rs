//! Doors of the fuzz targets (`fuzz/`) to parsers that are private otherwise. Nobody else calls them.

use std::path::Path;

use types::timestamp::Timestamp;

use crate::config;
use crate::container::logs::{self, LogRequest, Next};
use crate::image::glob;

/// A configuration file, laid over itself.
pub fn configuration(bytes: &[u8]) {
    let path = Path::new("config.toml");
    let Ok(parsed) = config::parse(path, bytes) else {
        return;
    };
    let mut merged = parsed.clone();
    config::merge(&mut merged, parsed.clone());
    assert_eq!(merged, parsed, "a file over itself changes nothing");
}

/// The files of a log, oldest first: how many entries are handed over of the last `count`.
pub fn log_files(mut files: Vec<Vec<u8>>, count: u64, since: Option<Timestamp>) -> u64 {
    logs::cut_torn_end(&mut files);
    let (first, offset) = logs::tail(&files, count);
    let request = LogRequest {
        tail: Some(count),
        since,
        until: since.map(|since| since.plus_ns(1_000_000_000)),
        follow: false,
    };
    let mut entries = 0;
    let mut take = |_: &monitor::log::Entry| {
        entries += 1;
        Next::More
    };
    for (index, bytes) in files.iter().enumerate().skip(first) {
        let start = if index == first { offset } else { 0 };
        if logs::hand_over(&bytes[start..], &request, &mut take) == Next::Stop {
            break;
        }
    }
    entries
}

/// A pattern of `images`.
pub fn image_pattern(pattern: &str, text: &str) -> bool {
    glob::matches(pattern, text)
}

/// A database of rpm and its log. What is damaged is told of; every package that was read has a name.
pub fn rpm_database(bytes: Vec<u8>, log: &[u8]) {
    let _ = crate::build::rpm::packages(bytes, log, |package| {
        assert!(!package.name.is_empty(), "a package has a name");
    });
}
