//! Limits as cgroup v1 takes them, in the order that runc writes them.

use rustix::io::Errno;
use sys::SysError;

use super::directory::Directory;
use super::limits::{DeviceLimitKind, Limits, Purpose};
use super::{CgroupError, Warnings, warning};

const MEMORY: &str = "memory.limit_in_bytes";
const MEMORY_SWAP: &str = "memory.memsw.limit_in_bytes";

/// Memory and swap together may never be less than memory: raised first, lowered last.
pub(super) fn write_memory(
    group: &Directory,
    limits: &Limits,
    purpose: Purpose,
    warnings: &mut Warnings,
) -> Result<(), CgroupError> {
    let swap_first = match (limits.memory, limits.memory_swap, purpose) {
        // A new group is without limit, so that memory comes first.
        (_, _, Purpose::Create) | (None, _, _) | (_, None, _) => false,
        (_, Some(swap), Purpose::Update) if swap < 0 => true,
        (_, Some(swap), Purpose::Update) => group
            .read_number(MEMORY)?
            .is_none_or(|current| current < swap as u64),
    };
    if swap_first {
        write_swap(group, limits, warnings)?;
    }
    if let Some(memory) = limits.memory {
        if purpose == Purpose::Update && memory > 0 && limits.memory_swap.is_none() {
            check_swap_above(group, memory as u64)?;
        }
        match group.try_write(MEMORY, &memory.to_string()) {
            Ok(()) => {}
            Err(Errno::BUSY) => return Err(memory_busy(group, memory)?),
            Err(errno) => return Err(group.refused(MEMORY, &memory.to_string(), errno).into()),
        }
    }
    if !swap_first {
        write_swap(group, limits, warnings)?;
    }
    if let Some(reservation) = limits.memory_reservation {
        let file = "memory.soft_limit_in_bytes";
        write_or_warn(
            group,
            file,
            &reservation.to_string(),
            warning::RESERVATION,
            warnings,
        )?;
    }
    if limits.oom_kill_disable {
        write_or_warn(
            group,
            "memory.oom_control",
            "1",
            warning::OOM_KILL_DISABLE,
            warnings,
        )?;
    }
    if let Some(swappiness) = limits.swappiness {
        let file = "memory.swappiness";
        write_or_warn(
            group,
            file,
            &swappiness.to_string(),
            warning::SWAPPINESS,
            warnings,
        )?;
    }
    Ok(())
}

fn write_swap(
    group: &Directory,
    limits: &Limits,
    warnings: &mut Warnings,
) -> Result<(), CgroupError> {
    let Some(swap) = limits.memory_swap else {
        return Ok(());
    };
    write_or_warn(
        group,
        MEMORY_SWAP,
        &swap.to_string(),
        warning::SWAP,
        warnings,
    )?;
    Ok(())
}

fn check_swap_above(group: &Directory, memory: u64) -> Result<(), CgroupError> {
    match group.read_number(MEMORY_SWAP) {
        Ok(Some(swap)) if memory > swap => Err(super::LimitError::MemoryAboveSwap.into()),
        Err(error) if error.errno != Errno::NOENT => Err(error.into()),
        _ => Ok(()),
    }
}

/// More is in use than the new limit, and cannot be reclaimed.
fn memory_busy(group: &Directory, limit: i64) -> Result<CgroupError, SysError> {
    let usage = group.read_number("memory.usage_in_bytes")?.unwrap_or(0);
    Ok(CgroupError::MemoryInUse { limit, usage })
}

pub(super) fn write_cpu(group: &Directory, limits: &Limits) -> Result<(), CgroupError> {
    if let Some(shares) = limits.cpu_shares {
        group.write("cpu.shares", &shares.to_string())?;
    }
    // A period below the current quota's share of the parent is refused until the quota is set.
    let mut period = limits.cpu_period.map(|period| period.to_string());
    if let Some(value) = &period {
        match group.try_write("cpu.cfs_period_us", value) {
            Ok(()) => period = None,
            Err(Errno::INVAL) if limits.cpu_quota.is_some() => {}
            Err(errno) => return Err(group.refused("cpu.cfs_period_us", value, errno).into()),
        }
    }
    if let Some(quota) = limits.cpu_quota {
        group.write("cpu.cfs_quota_us", &quota.max(-1).to_string())?;
        if let Some(value) = &period {
            group.write("cpu.cfs_period_us", value)?;
        }
    }
    if let Some(period) = limits.realtime_period {
        group.write("cpu.rt_period_us", &period.to_string())?;
    }
    if let Some(runtime) = limits.realtime_runtime {
        group.write("cpu.rt_runtime_us", &runtime.to_string())?;
    }
    Ok(())
}

pub(super) fn write_cpuset(group: &Directory, limits: &Limits) -> Result<(), CgroupError> {
    if let Some(cpus) = &limits.cpuset_cpus {
        group.write("cpuset.cpus", cpus)?;
    }
    if let Some(nodes) = &limits.cpuset_mems {
        group.write("cpuset.mems", nodes)?;
    }
    Ok(())
}

/// A new group without processors or memory nodes takes no process; v1 starts it so unless its
/// parent says `cgroup.clone_children`.
pub(super) fn inherit_cpuset(group: &Directory, parent: &Directory) -> Result<(), SysError> {
    for file in ["cpuset.cpus", "cpuset.mems"] {
        if group.read(file)?.trim().is_empty() {
            let value = parent.read(file)?;
            let written = group.try_write(file, value.trim());
            written.map_err(|errno| group.error("write", file, errno))?;
        }
    }
    Ok(())
}

pub(super) fn write_pids(group: &Directory, limits: &Limits) -> Result<(), CgroupError> {
    if let Some(limit) = limits.pids {
        let value = if limit < 0 {
            "max".to_string()
        } else {
            limit.to_string()
        };
        group.write("pids.max", &value)?;
    }
    Ok(())
}

pub(super) fn write_blkio(
    group: &Directory,
    limits: &Limits,
    warnings: &mut Warnings,
) -> Result<(), CgroupError> {
    if let Some(weight) = limits.blkio_weight {
        let files = ["blkio.weight", "blkio.bfq.weight"];
        write_first(
            group,
            &files,
            &weight.to_string(),
            warning::BLKIO_WEIGHT,
            warnings,
        )?;
    }
    for limit in &limits.devices {
        let value = format!("{} {}", limit.device, limit.value);
        let (files, warning): (&[&str], _) = match limit.kind {
            DeviceLimitKind::Weight => (
                &["blkio.weight_device", "blkio.bfq.weight_device"],
                warning::BLKIO_WEIGHT_DEVICE,
            ),
            DeviceLimitKind::ReadBytes => {
                (&["blkio.throttle.read_bps_device"], warning::BLKIO_READ_BPS)
            }
            DeviceLimitKind::WriteBytes => (
                &["blkio.throttle.write_bps_device"],
                warning::BLKIO_WRITE_BPS,
            ),
            DeviceLimitKind::ReadOperations => (
                &["blkio.throttle.read_iops_device"],
                warning::BLKIO_READ_IOPS,
            ),
            DeviceLimitKind::WriteOperations => (
                &["blkio.throttle.write_iops_device"],
                warning::BLKIO_WRITE_IOPS,
            ),
        };
        write_first(group, files, &value, warning, warnings)?;
    }
    Ok(())
}

/// Writes a value that Docker discards with a warning where the kernel lacks it.
pub(super) fn write_or_warn(
    group: &Directory,
    file: &str,
    value: &str,
    warning: &str,
    warnings: &mut Warnings,
) -> Result<(), SysError> {
    write_first(group, &[file], value, warning, warnings)
}

/// As [`write_or_warn`], to the first of several files that is there.
pub(super) fn write_first(
    group: &Directory,
    files: &[&str],
    value: &str,
    warning: &str,
    warnings: &mut Warnings,
) -> Result<(), SysError> {
    for file in files {
        match group.try_write(file, value) {
            Ok(()) => return Ok(()),
            Err(Errno::NOENT | Errno::OPNOTSUPP) => {}
            Err(_) => return group.write(file, value),
        }
    }
    warnings.push(warning.to_string());
    Ok(())
}
