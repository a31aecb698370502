//! Giving memory back while there is nothing to do.

/// Lets go of what this process can have again: pages of its own program file, which stay in the
/// page cache, and free memory of its heap. A process that sleeps for hours then counts little more
/// than what it has written.
///
/// The program must be static: every mapping of a file is the program's.
pub fn release() {
    let maps = crate::host::read_text("/proc/self/maps");
    for (start, length) in maps.lines().filter_map(clean_file_pages) {
        // SAFETY: the range is a private mapping of a file that nobody can write through, so that
        // dropped pages come back with the same bytes; code that runs in it is faulted in again.
        unsafe {
            libc::madvise(start as *mut libc::c_void, length, libc::MADV_DONTNEED);
        }
    }
    // SAFETY: no preconditions; this program has one heap.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Start and length of a mapping, if it is of a file and not writable.
fn clean_file_pages(line: &str) -> Option<(usize, usize)> {
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
                "00200000-00201000 r--p 00000000 fe:00 77 /usr/bin/caisson",
                Some((0x20_0000, 0x1000)),
            ),
            (
                "00400000-00402000 r-xp 00000000 fe:00 77 /usr/bin/caisson",
                Some((0x40_0000, 0x2000)),
            ),
            (
                "00600000-00601000 rw-p 00000000 fe:00 77 /usr/bin/caisson",
                None,
            ),
            (
                "00600000-00601000 r--s 00000000 fe:00 77 /usr/bin/caisson",
                None,
            ),
            ("01000000-01021000 rw-p 00000000 00:00 0 [heap]", None),
            ("7ffc0000-7ffc2000 r-xp 00000000 00:00 0 [vdso]", None),
            ("nonsense", None),
        ] {
            assert_eq!(clean_file_pages(line), expected, "{line}");
        }
    }

    #[test]
    fn a_process_goes_on_after_releasing() {
        let text: Vec<String> = (0..1000).map(|n| n.to_string()).collect();
        release();
        assert_eq!(text.concat().len(), 2890);
    }
}
