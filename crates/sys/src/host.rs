//! Facts about the machine: boot, kernel, memory, identity of a process.

use std::path::Path;

use crate::atomic::read_limited;

const PROC_FILE_BYTES_MAX: u64 = 64 * 1024;

/// The kernel's id of this boot; empty where /proc lacks it.
pub fn boot_id() -> String {
    read_text("/proc/sys/kernel/random/boot_id")
        .trim()
        .to_string()
}

/// The start time of a process in clock ticks since boot, which tells it from a later one of the
/// same pid; `None` where there is no such process, or where it is a zombie.
pub fn start_time(pid: i32) -> Option<u64> {
    let stat = read_text(&format!("/proc/{pid}/stat"));
    // The second field is the command in parentheses and may hold anything, spaces too.
    let after = &stat[stat.rfind(')')? + 1..];
    let mut fields = after.split_ascii_whitespace();
    match fields.next()? {
        "Z" | "X" => None,
        _ => fields.nth(18)?.parse().ok(),
    }
}

/// `uname -r`.
pub fn kernel_release() -> String {
    rustix::system::uname()
        .release()
        .to_string_lossy()
        .into_owned()
}

/// Major and minor of the running kernel.
pub fn kernel_version() -> (u32, u32) {
    let release = kernel_release();
    let mut parts = release
        .split(|c: char| !c.is_ascii_digit())
        .map(|part| part.parse().unwrap_or(0));
    (parts.next().unwrap_or(0), parts.next().unwrap_or(0))
}

/// Physical memory in bytes.
pub fn memory_total_bytes() -> u64 {
    read_text("/proc/meminfo")
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))
        .and_then(|rest| {
            rest.trim()
                .trim_end_matches("kB")
                .trim()
                .parse::<u64>()
                .ok()
        })
        .unwrap_or(0)
        * 1024
}

/// A random number of 32 bytes from the kernel.
pub fn random_bytes() -> [u8; 32] {
    let mut bytes = [0u8; 32];
    let mut filled = 0;
    while filled < bytes.len() {
        match rustix::rand::getrandom(&mut bytes[filled..], rustix::rand::GetRandomFlags::empty()) {
            Ok(count) => filled += count,
            Err(rustix::io::Errno::INTR) => {}
            Err(errno) => panic!("invariant: getrandom works once the machine runs: {errno}"),
        }
    }
    bytes
}

/// Reads a small file as text; empty where it cannot be read.
pub fn read_text(path: &str) -> String {
    read_limited(Path::new(path), PROC_FILE_BYTES_MAX)
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_a_start_time_and_no_other_has_it_after_it_ended() {
        assert!(start_time(std::process::id() as i32).is_some());
        assert_eq!(start_time(-5), None);
        assert!(!boot_id().is_empty());
        assert!(memory_total_bytes() > 0);
        assert!(kernel_version() > (4, 0));
    }
}
