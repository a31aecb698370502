//! Limits as cgroup v2 takes them.

use rustix::io::Errno;

use super::directory::Directory;
use super::limits::{DeviceLimitKind, Limits, Purpose, io_weight, weight_of_shares};
use super::v1::write_first;
use super::{CgroupError, Warnings, warning};

/// The kernel's own default.
const CPU_PERIOD_US: i64 = 100_000;

fn text(limit: i64) -> String {
    if limit < 0 {
        "max".to_string()
    } else {
        limit.to_string()
    }
}

pub(super) fn write_memory(
    group: &Directory,
    limits: &Limits,
    purpose: Purpose,
    warnings: &mut Warnings,
) -> Result<(), CgroupError> {
    // Docker counts memory and swap together, v2 swap alone.
    let memory = match (limits.memory, purpose) {
        (None, Purpose::Update) if limits.memory_swap.is_some_and(|swap| swap > 0) => {
            group.read_number("memory.max")?.map(|bytes| bytes as i64)
        }
        (memory, _) => memory,
    };
    let swap = match (limits.memory_swap, memory) {
        (None, _) => None,
        (Some(swap), _) if swap < 0 => Some(swap),
        (Some(swap), Some(memory)) if memory >= 0 => {
            let alone = swap.checked_sub(memory).filter(|alone| *alone >= 0);
            Some(alone.ok_or(super::LimitError::SwapBelowMemory)?)
        }
        (Some(swap), Some(_)) => Some(swap),
        (Some(_), None) => return Err(super::LimitError::SwapWithoutMemory.into()),
    };
    if let Some(swap) = swap {
        match group.try_write("memory.swap.max", &text(swap)) {
            Ok(()) => {}
            // Without swap accounting there is nothing to lift and nothing to forbid.
            Err(Errno::NOENT) if swap <= 0 => {}
            Err(Errno::NOENT) => warnings.push(warning::SWAP.to_string()),
            Err(_) => group.write("memory.swap.max", &text(swap))?,
        }
    }
    if let Some(memory) = limits.memory {
        group.write("memory.max", &text(memory))?;
    }
    if let Some(reservation) = limits.memory_reservation {
        group.write("memory.low", &text(reservation))?;
    }
    if limits.oom_kill_disable {
        warnings.push(warning::OOM_KILL_DISABLE.to_string());
    }
    if limits.swappiness.is_some() {
        warnings.push(warning::SWAPPINESS.to_string());
    }
    Ok(())
}

pub(super) fn write_cpu(group: &Directory, limits: &Limits) -> Result<(), CgroupError> {
    if let Some(shares) = limits.cpu_shares {
        group.write("cpu.weight", &weight_of_shares(shares).to_string())?;
    }
    if limits.cpu_quota.is_some() || limits.cpu_period.is_some() {
        let quota = text(limits.cpu_quota.unwrap_or(-1));
        let period = limits.cpu_period.unwrap_or(CPU_PERIOD_US);
        group.write("cpu.max", &format!("{quota} {period}"))?;
    }
    if limits.realtime_period.is_some() || limits.realtime_runtime.is_some() {
        return Err(CgroupError::Unenforceable {
            limit: "--cpu-rt-period and --cpu-rt-runtime",
            controller: "cpu",
        });
    }
    Ok(())
}

pub(super) fn write_io(
    group: &Directory,
    limits: &Limits,
    warnings: &mut Warnings,
) -> Result<(), CgroupError> {
    if let Some(weight) = limits.blkio_weight {
        match group.try_write("io.bfq.weight", &weight.to_string()) {
            Ok(()) => {}
            Err(_) => {
                let value = io_weight(weight).to_string();
                write_first(
                    group,
                    &["io.weight"],
                    &value,
                    warning::BLKIO_WEIGHT,
                    warnings,
                )?;
            }
        }
    }
    for limit in &limits.devices {
        let key = match limit.kind {
            DeviceLimitKind::Weight => {
                let value = format!("{} {}", limit.device, limit.value);
                let file = ["io.bfq.weight"];
                write_first(group, &file, &value, warning::BLKIO_WEIGHT_DEVICE, warnings)?;
                continue;
            }
            DeviceLimitKind::ReadBytes => "rbps",
            DeviceLimitKind::WriteBytes => "wbps",
            DeviceLimitKind::ReadOperations => "riops",
            DeviceLimitKind::WriteOperations => "wiops",
        };
        // Zero lifts the limit, as on v1.
        let value = if limit.value == 0 {
            "max".to_string()
        } else {
            limit.value.to_string()
        };
        group.write("io.max", &format!("{} {key}={value}", limit.device))?;
    }
    Ok(())
}
