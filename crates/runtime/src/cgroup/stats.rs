//! What a container uses, as `docker stats` counts it.

use rustix::io::Errno;
use sys::SysError;

use super::directory::{Directory, find_key};

/// A limit this great is v1's way to say "none" (whole pages below 2^63).
const NO_LIMIT: u64 = 0x7fff_ffff_ffff_0000;

/// What a container uses now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CgroupStats {
    /// Processor time in all.
    pub cpu_total_ns: u64,
    /// Of it in programs.
    pub cpu_user_ns: u64,
    /// Of it in the kernel.
    pub cpu_system_ns: u64,
    /// Periods in which the quota was used up.
    pub throttled_periods: u64,
    /// Time waited for the next period.
    pub throttled_ns: u64,
    /// Memory, without file pages that were not used lately.
    pub memory_usage_bytes: u64,
    /// `None` without limit.
    pub memory_limit_bytes: Option<u64>,
    /// Processes and threads.
    pub pids_current: u64,
    /// `None` without limit.
    pub pids_limit: Option<u64>,
    /// Bytes read from block devices.
    pub blkio_read_bytes: u64,
    /// Bytes written to block devices.
    pub blkio_write_bytes: u64,
}

/// A file that this kernel may lack: then the figure stays zero.
fn optional<T: Default>(result: Result<T, SysError>) -> Result<T, SysError> {
    match result {
        Err(error) if matches!(error.errno, Errno::NOENT | Errno::OPNOTSUPP) => Ok(T::default()),
        other => other,
    }
}

pub(super) fn add_cpuacct(group: &Directory, stats: &mut CgroupStats) -> Result<(), SysError> {
    stats.cpu_total_ns = group.read_number("cpuacct.usage")?.unwrap_or(0);
    stats.cpu_user_ns = optional(group.read_number("cpuacct.usage_user"))?.unwrap_or(0);
    stats.cpu_system_ns = optional(group.read_number("cpuacct.usage_sys"))?.unwrap_or(0);
    Ok(())
}

pub(super) fn add_cpu_v1(group: &Directory, stats: &mut CgroupStats) -> Result<(), SysError> {
    let text = optional(group.read("cpu.stat"))?;
    stats.throttled_periods = find_key(&text, "nr_throttled").unwrap_or(0);
    stats.throttled_ns = find_key(&text, "throttled_time").unwrap_or(0);
    Ok(())
}

/// Also of use on a hybrid machine without cpuacct: every v2 group counts its time.
pub(super) fn add_cpu_v2(group: &Directory, stats: &mut CgroupStats) -> Result<(), SysError> {
    let text = optional(group.read("cpu.stat"))?;
    let microseconds = |key: &str| find_key(&text, key).unwrap_or(0).saturating_mul(1000);
    stats.cpu_total_ns = microseconds("usage_usec");
    stats.cpu_user_ns = microseconds("user_usec");
    stats.cpu_system_ns = microseconds("system_usec");
    stats.throttled_periods = find_key(&text, "nr_throttled").unwrap_or(0);
    stats.throttled_ns = microseconds("throttled_usec");
    Ok(())
}

pub(super) fn add_memory_v1(group: &Directory, stats: &mut CgroupStats) -> Result<(), SysError> {
    let usage = group.read_number("memory.usage_in_bytes")?.unwrap_or(0);
    let inactive = group
        .read_key("memory.stat", "total_inactive_file")?
        .unwrap_or(0);
    stats.memory_usage_bytes = if inactive < usage {
        usage - inactive
    } else {
        usage
    };
    let limit = group.read_number("memory.limit_in_bytes")?;
    stats.memory_limit_bytes = limit.filter(|limit| *limit < NO_LIMIT);
    Ok(())
}

pub(super) fn add_memory_v2(group: &Directory, stats: &mut CgroupStats) -> Result<(), SysError> {
    let usage = group.read_number("memory.current")?.unwrap_or(0);
    let inactive = group.read_key("memory.stat", "inactive_file")?.unwrap_or(0);
    stats.memory_usage_bytes = if inactive < usage {
        usage - inactive
    } else {
        usage
    };
    stats.memory_limit_bytes = group.read_number("memory.max")?;
    Ok(())
}

/// The files have the same names on v1 and v2.
pub(super) fn add_pids(group: &Directory, stats: &mut CgroupStats) -> Result<(), SysError> {
    stats.pids_current = group.read_number("pids.current")?.unwrap_or(0);
    stats.pids_limit = group.read_number("pids.max")?;
    Ok(())
}

pub(super) fn add_blkio(group: &Directory, stats: &mut CgroupStats) -> Result<(), SysError> {
    // The throttle layer sees every request, a scheduler's own counters only those it handled.
    for file in [
        "blkio.throttle.io_service_bytes_recursive",
        "blkio.bfq.io_service_bytes_recursive",
    ] {
        let text = optional(group.read(file))?;
        (stats.blkio_read_bytes, stats.blkio_write_bytes) =
            (sum(&text, "Read"), sum(&text, "Write"));
        if stats.blkio_read_bytes + stats.blkio_write_bytes > 0 {
            break;
        }
    }
    Ok(())
}

/// The total of `8:0 Read 123` lines.
fn sum(text: &str, operation: &str) -> u64 {
    let value = |line: &str| {
        let mut fields = line.split(' ');
        let (_, kind, number) = (fields.next()?, fields.next()?, fields.next()?);
        (kind == operation)
            .then(|| number.parse::<u64>().ok())
            .flatten()
    };
    text.lines().filter_map(value).fold(0, u64::saturating_add)
}

/// `8:0 rbytes=1 wbytes=2 rios=3 …`
pub(super) fn add_io(group: &Directory, stats: &mut CgroupStats) -> Result<(), SysError> {
    let text = optional(group.read("io.stat"))?;
    let total = |key: &str| {
        let numbers = text
            .split_whitespace()
            .filter_map(|word| word.strip_prefix(key)?.parse().ok());
        numbers.fold(0, u64::saturating_add)
    };
    stats.blkio_read_bytes = total("rbytes=");
    stats.blkio_write_bytes = total("wbytes=");
    Ok(())
}
