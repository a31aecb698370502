//! Giving memory back while there is nothing to do.

use std::os::unix::fs::FileExt;

use rustix::event::{PollFd, Timespec};
use rustix::io::Errno;

const PAGE_BYTES: usize = 4096;
/// Of an entry in /proc/self/pagemap: the page is there; it is a page of a file.
const PRESENT: u64 = 1 << 63;
const OF_FILE: u64 = 1 << 61;

/// Sleeps in `poll` after letting go of what this process can have again: pages of its own program
/// file, which stay in the page cache, and free memory of its heap. A process that sleeps for hours
/// then counts little more than what it has written.
///
/// Both are one function, because every call in between would bring 64 KiB of the program back.
///
/// # Errors
/// As `poll`.
pub fn release_and_poll(
    fds: &mut [PollFd<'_>],
    timeout: Option<&Timespec>,
) -> Result<usize, Errno> {
    // SAFETY: no preconditions; this program has one heap.
    unsafe {
        libc::malloc_trim(0);
    }
    let runs = clean_pages();
    for (start, length) in &runs {
        // SAFETY: a private mapping that this process cannot write, and pages of it that it has not
        // written either: they come back with the same bytes, also those that run right now.
        let _ = unsafe {
            rustix::mm::madvise(*start as *mut _, *length, rustix::mm::Advice::LinuxDontNeed)
        };
    }
    rustix::event::poll(fds, timeout)
}

/// Address and length of what can be let go.
fn clean_pages() -> Vec<(usize, usize)> {
    let Ok(pagemap) = std::fs::File::open("/proc/self/pagemap") else {
        return Vec::new();
    };
    let maps = crate::host::read_text("/proc/self/maps");
    let mut found = Vec::new();
    for (start, length) in maps.lines().filter_map(file_mapping) {
        let mut entries = vec![0u8; length / PAGE_BYTES * 8];
        let offset = (start / PAGE_BYTES * 8) as u64;
        if pagemap.read_exact_at(&mut entries, offset).is_ok() {
            let runs = runs_of_file_pages(&entries).into_iter();
            found.extend(
                runs.map(|(first, count)| (start + first * PAGE_BYTES, count * PAGE_BYTES)),
            );
        }
    }
    found
}

/// First page and number of pages of each run that is present and the file's own. What was
/// relocated and then made read-only is not: no file has those bytes.
fn runs_of_file_pages(entries: &[u8]) -> Vec<(usize, usize)> {
    let mut runs: Vec<(usize, usize)> = Vec::new();
    for (index, entry) in entries.chunks_exact(8).enumerate() {
        let entry = u64::from_ne_bytes(entry.try_into().unwrap_or_default());
        if entry & PRESENT == 0 || entry & OF_FILE == 0 {
            continue;
        }
        match runs.last_mut() {
            Some((first, count)) if *first + *count == index => *count += 1,
            _ => runs.push((index, 1)),
        }
    }
    runs
}

/// Start and length of a private mapping of a file that is not writable.
fn file_mapping(line: &str) -> Option<(usize, usize)> {
    let mut fields = line.split_ascii_whitespace();
    let (range, permissions) = (fields.next()?, fields.next()?);
    let inode: u64 = fields.nth(2)?.parse().ok()?;
    if inode == 0 || permissions.contains('w') || !permissions.ends_with('p') {
        return None;
    }
    let (start, end) = range.split_once('-')?;
    let start = usize::from_str_radix(start, 16).ok()?;
    let end = usize::from_str_radix(end, 16).ok()?;
    Some((start, end.checked_sub(start)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_clean_pages_of_files_are_let_go() {
        for (line, expected) in [
            (
                "00200000-00201000 r--p 0 fe:00 77 /bin/caisson",
                Some((0x20_0000, 0x1000)),
            ),
            (
                "00400000-00402000 r-xp 0 fe:00 77 /bin/caisson",
                Some((0x40_0000, 0x2000)),
            ),
            ("00600000-00601000 rw-p 0 fe:00 77 /bin/caisson", None),
            ("00600000-00601000 r--s 0 fe:00 77 /bin/caisson", None),
            ("01000000-01021000 rw-p 0 00:00 0 [heap]", None),
            ("7ffc0000-7ffc2000 r-xp 0 00:00 0 [vdso]", None),
            ("nonsense", None),
        ] {
            assert_eq!(file_mapping(line), expected, "{line}");
        }
        let file = (PRESENT | OF_FILE).to_ne_bytes();
        let (relocated, absent) = (PRESENT.to_ne_bytes(), OF_FILE.to_ne_bytes());
        let entries = [file, file, relocated, file, absent, absent].concat();
        assert_eq!(runs_of_file_pages(&entries), [(0, 2), (3, 1)]);
    }

    #[test]
    fn a_process_goes_on_after_releasing() {
        let text: Vec<String> = (0..1000).map(|n| n.to_string()).collect();
        let soon = Timespec {
            tv_sec: 0,
            tv_nsec: 1,
        };
        assert_eq!(release_and_poll(&mut [], Some(&soon)), Ok(0));
        assert_eq!(text.concat().len(), 2890);
    }
}
