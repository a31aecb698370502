//! Memory, CPU, disk and process limits, with what Docker's daemon refuses of them.

use types::container::{ContainerSpec, Resources, Ulimit};

use super::{Caller, FlagError};
use crate::flags::{Matches, parse_rate_bytes, parse_rate_operations, parse_weight_device};

const MEMORY_BYTES_MIN: i64 = 6 << 20;
const CPU_PERIOD_US: std::ops::RangeInclusive<i64> = 1_000..=1_000_000;
const CPU_QUOTA_US_MIN: i64 = 1_000;
const BLKIO_WEIGHT: std::ops::RangeInclusive<u16> = 10..=1000;
const OOM_SCORE: std::ops::RangeInclusive<i64> = -1000..=1000;
const NANO_CPUS: i64 = 1_000_000_000;
/// The highest CPU or NUMA node number looked at.
const CPU_NUMBER_MAX: u32 = 8192;

/// Docker's client refuses this early, in words of its own.
pub(super) fn check_swappiness(matches: &Matches) -> Result<(), FlagError> {
    match matches.get_int("memory-swappiness") {
        -1..=100 => Ok(()),
        other => Err(FlagError::Usage(format!(
            "invalid value: {other}. Valid memory swappiness range is 0-100"
        ))),
    }
}

/// All limits of `run` and `create`.
pub(super) fn limits(
    matches: &Matches,
    caller: &Caller<'_>,
    spec: &mut ContainerSpec,
) -> Result<(), FlagError> {
    let asked = std::mem::take(&mut spec.resources);
    let swappiness = matches.get_int("memory-swappiness");
    let mut resources = Resources {
        devices: asked.devices,
        device_requests: asked.device_requests,
        device_cgroup_rules: asked.device_cgroup_rules,
        memory_swappiness: (swappiness != -1).then_some(swappiness),
        oom_kill_disable: matches.get_bool("oom-kill-disable"),
        ..common(matches)
    };
    let per_device = FlagError::Usage;
    for text in matches.get_list("blkio-weight-device") {
        resources
            .blkio_weight_device
            .push(parse_weight_device(text).map_err(per_device)?);
    }
    let bytes = |long: &str| -> Result<Vec<_>, _> {
        matches
            .get_list(long)
            .iter()
            .map(|text| parse_rate_bytes(text))
            .collect()
    };
    let operations = |long: &str| -> Result<Vec<_>, _> {
        matches
            .get_list(long)
            .iter()
            .map(|text| parse_rate_operations(text))
            .collect()
    };
    resources.blkio_read_bps = bytes("device-read-bps").map_err(per_device)?;
    resources.blkio_write_bps = bytes("device-write-bps").map_err(per_device)?;
    resources.blkio_read_iops = operations("device-read-iops").map_err(per_device)?;
    resources.blkio_write_iops = operations("device-write-iops").map_err(per_device)?;
    resources.ulimits = ulimits(matches)?;
    check(&resources, caller.cpus, Asked::ForNew)?;
    spec.resources = resources;
    spec.shm_size_bytes = matches.get_bytes("shm-size");
    let score = matches.get_int("oom-score-adj");
    if !OOM_SCORE.contains(&score) {
        return Err(FlagError::Engine(format!(
            "Invalid value {score}, range for oom score adj is [-1000, 1000]"
        )));
    }
    spec.oom_score_adj = score as i32;
    Ok(())
}

/// The limits that `run` and `update` share.
pub(super) fn common(matches: &Matches) -> Resources {
    Resources {
        memory_bytes: matches.get_bytes("memory"),
        memory_reservation_bytes: matches.get_bytes("memory-reservation"),
        memory_swap_bytes: matches.get_bytes("memory-swap"),
        nano_cpus: matches.get_nano_cpus("cpus"),
        cpu_shares: matches.get_int("cpu-shares"),
        cpu_period_us: matches.get_int("cpu-period"),
        cpu_quota_us: matches.get_int("cpu-quota"),
        cpu_realtime_period_us: matches.get_int("cpu-rt-period"),
        cpu_realtime_runtime_us: matches.get_int("cpu-rt-runtime"),
        cpuset_cpus: matches.get_str("cpuset-cpus").to_owned(),
        cpuset_mems: matches.get_str("cpuset-mems").to_owned(),
        pids_limit: matches.get_int("pids-limit"),
        blkio_weight: u16::try_from(matches.get_int("blkio-weight")).unwrap_or(u16::MAX),
        ..Resources::default()
    }
}

/// The limits that `build` puts on programs.
pub(super) fn of_build(matches: &Matches, cpus: u32) -> Result<Resources, FlagError> {
    let resources = Resources {
        memory_bytes: matches.get_bytes("memory"),
        memory_swap_bytes: matches.get_bytes("memory-swap"),
        cpu_shares: matches.get_int("cpu-shares"),
        cpu_period_us: matches.get_int("cpu-period"),
        cpu_quota_us: matches.get_int("cpu-quota"),
        cpuset_cpus: matches.get_str("cpuset-cpus").to_owned(),
        cpuset_mems: matches.get_str("cpuset-mems").to_owned(),
        ulimits: ulimits(matches)?,
        ..Resources::default()
    };
    check(&resources, cpus, Asked::ForNew)?;
    Ok(resources)
}

/// A limit named twice counts as given last, as in Docker.
fn ulimits(matches: &Matches) -> Result<Vec<Ulimit>, FlagError> {
    let mut ulimits: Vec<Ulimit> = Vec::new();
    for text in matches.get_list("ulimit") {
        let ulimit = crate::flags::parse_ulimit(text).map_err(FlagError::Usage)?;
        ulimits.retain(|other| other.name != ulimit.name);
        ulimits.push(ulimit);
    }
    ulimits.sort_by(|left, right| left.name.cmp(&right.name));
    Ok(ulimits)
}

/// For which container limits are checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// A new one: what is not given is not limited.
    ForNew,
    /// An existing one: what is not given stays.
    ForUpdate,
}

/// Checks limits against each other and against the host, in the words of Docker's daemon.
pub(super) fn check(limits: &Resources, cpus: u32, asked: Asked) -> Result<(), FlagError> {
    memory(limits, asked)
        .and_then(|()| cpu(limits, cpus))
        .map_err(FlagError::Engine)?;
    if limits.blkio_weight != 0 && !BLKIO_WEIGHT.contains(&limits.blkio_weight) {
        let text = "Range of blkio weight is from 10 to 1000";
        return Err(FlagError::Engine(text.to_owned()));
    }
    Ok(())
}

fn memory(limits: &Resources, asked: Asked) -> Result<(), String> {
    let refuse = |text: &str| Err(text.to_owned());
    let (memory, swap) = (limits.memory_bytes, limits.memory_swap_bytes);
    let reservation = limits.memory_reservation_bytes;
    if (1..MEMORY_BYTES_MIN).contains(&memory) {
        return refuse("Minimum memory limit allowed is 6MB");
    }
    if memory > 0 && swap > 0 && swap < memory {
        return refuse("Minimum memoryswap limit should be larger than memory limit, see usage");
    }
    if memory == 0 && swap > 0 && asked == Asked::ForNew {
        return refuse(
            "You should always set the Memory limit when using Memoryswap limit, see usage",
        );
    }
    if (1..MEMORY_BYTES_MIN).contains(&reservation) {
        return refuse("Minimum memory reservation allowed is 6MB");
    }
    if memory > 0 && reservation > 0 && memory < reservation {
        return refuse(
            "Minimum memory limit can not be less than memory reservation limit, see usage",
        );
    }
    Ok(())
}

fn cpu(limits: &Resources, cpus: u32) -> Result<(), String> {
    let refuse = |text: &str| Err(text.to_owned());
    if limits.nano_cpus > 0 && limits.cpu_period_us > 0 {
        return refuse("Conflicting options: Nano CPUs and CPU Period cannot both be set.");
    }
    if limits.nano_cpus > 0 && limits.cpu_quota_us > 0 {
        return refuse("Conflicting options: Nano CPUs and CPU Quota cannot both be set.");
    }
    if limits.nano_cpus < 0 || limits.nano_cpus > i64::from(cpus).saturating_mul(NANO_CPUS) {
        return Err(format!(
            "Range of CPUs is from 0.01 to {cpus}.00, as there are only {cpus} CPUs available"
        ));
    }
    if limits.cpu_shares < 0 {
        return Err(format!(
            "invalid CPU shares ({}): value must be a positive integer",
            limits.cpu_shares
        ));
    }
    if limits.cpu_period_us != 0 && !CPU_PERIOD_US.contains(&limits.cpu_period_us) {
        return refuse(
            "CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)",
        );
    }
    if (1..CPU_QUOTA_US_MIN).contains(&limits.cpu_quota_us) {
        return refuse("CPU cfs quota can not be less than 1ms (i.e. 1000)");
    }
    if limits.cpu_realtime_period_us != 0
        && limits.cpu_realtime_runtime_us > limits.cpu_realtime_period_us
    {
        return refuse("cpu real-time runtime cannot be higher than cpu real-time period");
    }
    for (text, what) in [(&limits.cpuset_cpus, "cpus"), (&limits.cpuset_mems, "mems")] {
        if !is_number_list(text) {
            return Err(format!("Invalid value {text} for cpuset {what}"));
        }
    }
    Ok(())
}

/// Empty, or `0-2,4`.
fn is_number_list(text: &str) -> bool {
    let number = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse::<u32>()
            .ok()
            .filter(|number| digits && *number < CPU_NUMBER_MAX)
    };
    text.is_empty()
        || text.split(',').all(|part| match part.split_once('-') {
            Some((first, last)) => {
                matches!((number(first), number(last)), (Some(first), Some(last)) if first <= last)
            }
            None => number(part).is_some(),
        })
}
