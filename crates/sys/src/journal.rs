//! An append-only file of lines that several processes write at once.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::fs::{CWD, Mode, OFlags};

use crate::error::{Context, SysError};

/// A journal is put aside as `<name>.1` when it is this large.
const JOURNAL_BYTES_MAX: u64 = 8 << 20;

/// Appends one line. The kernel keeps appends of a single write apart.
///
/// # Errors
/// Where the file cannot be opened or written.
pub fn append(path: &Path, line: &str) -> Result<(), SysError> {
    let flags = OFlags::WRONLY | OFlags::APPEND | OFlags::CREATE | OFlags::CLOEXEC;
    let file = rustix::fs::openat(CWD, path, flags, Mode::from_raw_mode(0o600))
        .on("open", path.display())?;
    let mut bytes = Vec::with_capacity(line.len() + 1);
    bytes.extend_from_slice(line.as_bytes());
    bytes.push(b'\n');
    crate::fail::point("sys.journal.append");
    rustix::io::write(&file, &bytes).on("append to", path.display())?;
    let size = rustix::fs::fstat(&file).map_or(0, |stat| stat.st_size as u64);
    if size > JOURNAL_BYTES_MAX {
        // Two that rotate at once put aside a short journal at worst; readers follow by inode.
        let _ = rustix::fs::rename(path, path.with_extension("1"));
    }
    Ok(())
}

/// Nanoseconds since 1970.
pub fn now_ns() -> i64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}
