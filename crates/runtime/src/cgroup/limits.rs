//! Limits as asked for become limits as written: Docker's checks, defaults and conversions.
//!
//! Pure but for the number of a device by its path, which is handed in.

use types::container::Resources;

/// Docker's least memory limit.
const MEMORY_BYTES_MIN: i64 = 6 * 1024 * 1024;
/// The period that `--cpus` uses.
const CPU_PERIOD_US: i64 = 100_000;
const CPU_PERIOD_US_MIN: i64 = 1_000;
const CPU_PERIOD_US_MAX: i64 = 1_000_000;
const CPU_QUOTA_US_MIN: i64 = 1_000;
const BLKIO_WEIGHT_MIN: u16 = 10;
const BLKIO_WEIGHT_MAX: u16 = 1000;
const DEVICE_LIMITS_MAX: usize = 1024;

/// Why limits are refused. The words are Docker's where Docker has some.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LimitError {
    /// Too little to start anything.
    #[error("Minimum memory limit allowed is 6MB")]
    MemoryTooSmall,
    /// Memory and swap together are less than memory.
    #[error("Minimum memoryswap limit should be larger than memory limit, see usage")]
    SwapBelowMemory,
    /// Swap is counted together with memory.
    #[error("You should always set the Memory limit when using Memoryswap limit, see usage")]
    SwapWithoutMemory,
    /// Only memory was raised.
    #[error(
        "Memory limit should be smaller than already set memoryswap limit, update the memoryswap \
         at the same time"
    )]
    MemoryAboveSwap,
    /// Too little.
    #[error("Minimum memory reservation allowed is 6MB")]
    ReservationTooSmall,
    /// The reservation is the smaller one.
    #[error("Minimum memory limit can not be less than memory reservation limit, see usage")]
    ReservationAboveMemory,
    /// Not a percentage.
    #[error("Invalid value: {0}, valid memory swappiness range is 0-100")]
    Swappiness(i64),
    /// `--cpus` is a period and a quota.
    #[error("Conflicting options: Nano CPUs and CPU {0} cannot both be set.")]
    NanoCpusConflict(&'static str),
    /// More than there is, or negative.
    #[error("Range of CPUs is from 0.01 to {0}.00, as there are only {0} CPUs available")]
    NanoCpus(u32),
    /// The kernel's limits.
    #[error("CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)")]
    CpuPeriod,
    /// The kernel's limit.
    #[error("CPU cfs quota can not be less than 1ms (i.e. 1000)")]
    CpuQuota,
    /// The runtime is a part of the period.
    #[error("cpu real-time runtime cannot be higher than cpu real-time period")]
    RealtimeAbovePeriod,
    /// Negative.
    #[error("shares must be positive integers, not {0}")]
    CpuShares(i64),
    /// Not a list of numbers and ranges.
    #[error("Invalid value {value} for cpuset {kind}")]
    Cpuset {
        /// `cpus` or `mems`.
        kind: &'static str,
        /// As given.
        value: String,
    },
    /// Not on this machine.
    #[error("Requested {kind} are not available - requested {requested}, available: {available}")]
    CpusetUnavailable {
        /// `CPUs` or `memory nodes`.
        kind: &'static str,
        /// As given.
        requested: String,
        /// As the kernel tells.
        available: String,
    },
    /// The kernel's limits.
    #[error("Range of blkio weight is from 10 to 1000")]
    BlkioWeight,
    /// No such file, or not a device.
    #[error("cannot limit device {path}: {reason}")]
    Device {
        /// As given.
        path: String,
        /// Why.
        reason: String,
    },
    /// More than is sensible.
    #[error("more than 1024 limits on devices")]
    TooManyDevices,
}

/// A limit on one block device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct DeviceLimit {
    pub(super) kind: DeviceLimitKind,
    /// `major:minor`.
    pub(super) device: String,
    pub(super) value: u64,
}

/// What a [`DeviceLimit`] limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DeviceLimitKind {
    Weight,
    ReadBytes,
    WriteBytes,
    ReadOperations,
    WriteOperations,
}

/// Limits ready to be written; `None` is "leave as it is", a negative number "without limit".
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Limits {
    pub(super) memory: Option<i64>,
    /// Memory included.
    pub(super) memory_swap: Option<i64>,
    pub(super) memory_reservation: Option<i64>,
    pub(super) swappiness: Option<i64>,
    pub(super) oom_kill_disable: bool,
    pub(super) cpu_shares: Option<u64>,
    pub(super) cpu_period: Option<i64>,
    pub(super) cpu_quota: Option<i64>,
    pub(super) realtime_period: Option<i64>,
    pub(super) realtime_runtime: Option<i64>,
    pub(super) cpuset_cpus: Option<String>,
    pub(super) cpuset_mems: Option<String>,
    pub(super) pids: Option<i64>,
    pub(super) blkio_weight: Option<u16>,
    pub(super) devices: Vec<DeviceLimit>,
}

/// Whether limits are for a new container or changed on a running one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    Create,
    Update,
}

/// Checks what was asked for and fills in Docker's defaults.
///
/// `cpus` is the number of processors; `device_number` gives `major:minor` of a path.
pub(super) fn plan(
    asked: &Resources,
    purpose: Purpose,
    cpus: u32,
    device_number: &dyn Fn(&str) -> Result<String, String>,
) -> Result<Limits, LimitError> {
    let mut limits = Limits::default();
    plan_memory(asked, purpose, &mut limits)?;
    plan_cpu(asked, cpus, &mut limits)?;
    for (value, kind, place) in [
        (&asked.cpuset_cpus, "cpus", &mut limits.cpuset_cpus),
        (&asked.cpuset_mems, "mems", &mut limits.cpuset_mems),
    ] {
        if !value.is_empty() {
            if !is_list(value) {
                return Err(LimitError::Cpuset {
                    kind,
                    value: value.clone(),
                });
            }
            *place = Some(value.clone());
        }
    }
    limits.pids = match (asked.pids_limit, purpose) {
        (limit, _) if limit > 0 => Some(limit),
        // A new group has no limit.
        (limit, Purpose::Update) if limit < 0 => Some(-1),
        _ => None,
    };
    if asked.blkio_weight != 0 {
        limits.blkio_weight = Some(weight(asked.blkio_weight)?);
    }
    limits.devices = plan_devices(asked, device_number)?;
    Ok(limits)
}

fn plan_memory(asked: &Resources, purpose: Purpose, limits: &mut Limits) -> Result<(), LimitError> {
    let (memory, swap) = (asked.memory_bytes, asked.memory_swap_bytes);
    let reservation = asked.memory_reservation_bytes;
    if memory > 0 && memory < MEMORY_BYTES_MIN {
        return Err(LimitError::MemoryTooSmall);
    }
    if memory > 0 && swap > 0 && swap < memory {
        return Err(LimitError::SwapBelowMemory);
    }
    if memory == 0 && swap > 0 && purpose == Purpose::Create {
        return Err(LimitError::SwapWithoutMemory);
    }
    if reservation > 0 && reservation < MEMORY_BYTES_MIN {
        return Err(LimitError::ReservationTooSmall);
    }
    if memory > 0 && reservation > memory {
        return Err(LimitError::ReservationAboveMemory);
    }
    if let Some(swappiness) = asked.memory_swappiness.filter(|value| *value != -1) {
        if !(0..=100).contains(&swappiness) {
            return Err(LimitError::Swappiness(swappiness));
        }
        limits.swappiness = Some(swappiness);
    }
    let some = |value: i64| (value != 0).then_some(value.max(-1));
    limits.memory = some(memory);
    limits.memory_swap = some(swap);
    if memory > 0 && swap == 0 && purpose == Purpose::Create {
        // As much swap as memory.
        limits.memory_swap = Some(memory.saturating_mul(2));
    }
    if memory < 0 && swap == 0 {
        limits.memory_swap = Some(-1);
    }
    limits.memory_reservation = some(reservation);
    limits.oom_kill_disable = asked.oom_kill_disable;
    Ok(())
}

fn plan_cpu(asked: &Resources, cpus: u32, limits: &mut Limits) -> Result<(), LimitError> {
    let some = |value: i64| (value != 0).then_some(value);
    limits.cpu_period = some(asked.cpu_period_us);
    limits.cpu_quota = some(asked.cpu_quota_us);
    if asked.nano_cpus != 0 {
        if asked.cpu_period_us > 0 {
            return Err(LimitError::NanoCpusConflict("Period"));
        }
        if asked.cpu_quota_us > 0 {
            return Err(LimitError::NanoCpusConflict("Quota"));
        }
        if asked.nano_cpus < 0 || asked.nano_cpus > i64::from(cpus) * 1_000_000_000 {
            return Err(LimitError::NanoCpus(cpus));
        }
        let quota = i128::from(asked.nano_cpus) * i128::from(CPU_PERIOD_US) / 1_000_000_000;
        limits.cpu_period = Some(CPU_PERIOD_US);
        // Less than the kernel's least quota would be refused by it in other words.
        limits.cpu_quota = Some((quota as i64).max(CPU_QUOTA_US_MIN));
    }
    let period = limits.cpu_period.unwrap_or(CPU_PERIOD_US);
    if !(CPU_PERIOD_US_MIN..=CPU_PERIOD_US_MAX).contains(&period) {
        return Err(LimitError::CpuPeriod);
    }
    if limits
        .cpu_quota
        .is_some_and(|quota| quota > 0 && quota < CPU_QUOTA_US_MIN)
    {
        return Err(LimitError::CpuQuota);
    }
    if asked.cpu_shares != 0 {
        // Docker clamps to the kernel's range.
        let shares = u64::try_from(asked.cpu_shares);
        let shares = shares.map_err(|_| LimitError::CpuShares(asked.cpu_shares))?;
        limits.cpu_shares = Some(shares.clamp(2, 262_144));
    }
    if asked.cpu_realtime_period_us != 0
        && asked.cpu_realtime_runtime_us > asked.cpu_realtime_period_us
    {
        return Err(LimitError::RealtimeAbovePeriod);
    }
    limits.realtime_period = some(asked.cpu_realtime_period_us);
    limits.realtime_runtime = some(asked.cpu_realtime_runtime_us);
    Ok(())
}

fn plan_devices(
    asked: &Resources,
    device_number: &dyn Fn(&str) -> Result<String, String>,
) -> Result<Vec<DeviceLimit>, LimitError> {
    let mut wanted: Vec<(DeviceLimitKind, &str, u64)> = Vec::new();
    for (path, value) in &asked.blkio_weight_device {
        wanted.push((DeviceLimitKind::Weight, path, u64::from(weight(*value)?)));
    }
    for (list, kind) in [
        (&asked.blkio_read_bps, DeviceLimitKind::ReadBytes),
        (&asked.blkio_write_bps, DeviceLimitKind::WriteBytes),
        (&asked.blkio_read_iops, DeviceLimitKind::ReadOperations),
        (&asked.blkio_write_iops, DeviceLimitKind::WriteOperations),
    ] {
        wanted.extend(
            list.iter()
                .map(|(path, value)| (kind, path.as_str(), *value)),
        );
    }
    if wanted.len() > DEVICE_LIMITS_MAX {
        return Err(LimitError::TooManyDevices);
    }
    let resolve = |(kind, path, value): (DeviceLimitKind, &str, u64)| {
        let device = device_number(path).map_err(|reason| LimitError::Device {
            path: path.to_string(),
            reason,
        })?;
        Ok(DeviceLimit {
            kind,
            device,
            value,
        })
    };
    wanted.into_iter().map(resolve).collect()
}

fn weight(weight: u16) -> Result<u16, LimitError> {
    let allowed = (BLKIO_WEIGHT_MIN..=BLKIO_WEIGHT_MAX).contains(&weight);
    allowed.then_some(weight).ok_or(LimitError::BlkioWeight)
}

/// The number of a block device by its path on this host.
pub(super) fn device_number(path: &str) -> Result<String, String> {
    let stat = rustix::fs::stat(path).map_err(sys::error::describe)?;
    if rustix::fs::FileType::from_raw_mode(stat.st_mode) != rustix::fs::FileType::BlockDevice {
        return Err("not a block device".to_string());
    }
    let (major, minor) = (
        rustix::fs::major(stat.st_rdev),
        rustix::fs::minor(stat.st_rdev),
    );
    Ok(format!("{major}:{minor}"))
}

/// A list such as `0-2,4`.
fn is_list(text: &str) -> bool {
    parse_list(text).is_some()
}

/// The ranges of a list such as `0-2,4`.
fn parse_list(text: &str) -> Option<Vec<(u32, u32)>> {
    let number = |text: &str| {
        text.bytes()
            .all(|byte| byte.is_ascii_digit())
            .then(|| text.parse::<u16>().ok())
            .flatten()
    };
    text.split(',')
        .map(|part| {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let (first, last) = (u32::from(number(first)?), u32::from(number(last)?));
            (first <= last).then_some((first, last))
        })
        .collect()
}

/// Whether every member of `wanted` is in `available`, both lists such as `0-2,4`.
pub(super) fn is_available(wanted: &str, available: &str) -> bool {
    let (Some(wanted), Some(available)) = (parse_list(wanted), parse_list(available.trim())) else {
        return false;
    };
    // The kernel tells ranges merged and in order.
    let within = |(first, last): (u32, u32)| {
        available
            .iter()
            .any(|range| range.0 <= first && last <= range.1)
    };
    wanted.into_iter().all(within)
}

/// cgroup v2's weight (1–10000, 100) for v1's shares (2–262144, 1024): the curve through least,
/// default and greatest that runc and crun use since 2025.
pub(super) fn weight_of_shares(shares: u64) -> u64 {
    match shares {
        0..=2 => 1,
        262_144.. => 10_000,
        shares => {
            let log = (shares as f64).log2();
            let exponent = (log * log + 125.0 * log) / 612.0 - 7.0 / 34.0;
            10f64.powf(exponent).ceil() as u64
        }
    }
}

/// cgroup v2's io.weight (1–10000) for v1's blkio weight (10–1000).
pub(super) fn io_weight(weight: u16) -> u64 {
    1 + (u64::from(weight) - 10) * 9999 / 990
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan_for(asked: &Resources, purpose: Purpose) -> Result<Limits, LimitError> {
        plan(asked, purpose, 4, &|path| match path {
            "/dev/sda" => Ok("8:0".to_string()),
            _ => Err("No such file or directory".to_string()),
        })
    }

    const MIB: i64 = 1024 * 1024;

    #[test]
    fn defaults_and_conversions_are_dockers() {
        let asked = Resources {
            memory_bytes: 64 * MIB,
            nano_cpus: 1_500_000_000,
            cpu_shares: 1,
            pids_limit: 10,
            cpuset_cpus: "0-2,3".into(),
            blkio_write_bps: vec![("/dev/sda".into(), 1000)],
            ..Resources::default()
        };
        let limits = plan_for(&asked, Purpose::Create).unwrap();
        assert_eq!(limits.memory_swap, Some(128 * MIB));
        assert_eq!(
            (limits.cpu_period, limits.cpu_quota),
            (Some(100_000), Some(150_000))
        );
        assert_eq!(limits.cpu_shares, Some(2));
        assert_eq!(limits.pids, Some(10));
        assert_eq!(limits.devices[0].device, "8:0");
        assert_eq!(plan_for(&asked, Purpose::Update).unwrap().memory_swap, None);
        let none = Limits::default();
        assert_eq!(
            plan_for(&Resources::default(), Purpose::Create).unwrap(),
            none
        );
        let unlimited = Resources {
            memory_bytes: -1,
            pids_limit: -1,
            memory_swappiness: Some(-1),
            ..Resources::default()
        };
        let limits = plan_for(&unlimited, Purpose::Update).unwrap();
        assert_eq!(
            (limits.memory, limits.memory_swap, limits.pids),
            (Some(-1), Some(-1), Some(-1))
        );
        assert_eq!(limits.swappiness, None);
        let least = Resources {
            nano_cpus: 1,
            ..Resources::default()
        };
        assert_eq!(
            plan_for(&least, Purpose::Create).unwrap().cpu_quota,
            Some(1000)
        );
    }

    #[test]
    fn bad_limits_are_refused_in_dockers_words() {
        let with = |change: &dyn Fn(&mut Resources)| {
            let mut asked = Resources {
                memory_bytes: 100 * MIB,
                ..Resources::default()
            };
            change(&mut asked);
            plan_for(&asked, Purpose::Create).unwrap_err().to_string()
        };
        type Change = dyn Fn(&mut Resources);
        let cases: [(&Change, &str); 18] = [
            (
                &|r| r.memory_bytes = 1000,
                "Minimum memory limit allowed is 6MB",
            ),
            (
                &|r| r.memory_swap_bytes = 50 * MIB,
                "memoryswap limit should be larger",
            ),
            (
                &|r| (r.memory_bytes, r.memory_swap_bytes) = (0, 50 * MIB),
                "You should always set the Memory limit",
            ),
            (
                &|r| r.memory_reservation_bytes = 1,
                "Minimum memory reservation allowed is 6MB",
            ),
            (
                &|r| r.memory_reservation_bytes = 101 * MIB,
                "can not be less than memory reservation",
            ),
            (
                &|r| r.memory_swappiness = Some(101),
                "Invalid value: 101, valid memory swappiness",
            ),
            (
                &|r| r.nano_cpus = 4_100_000_000,
                "from 0.01 to 4.00, as there are only 4 CPUs",
            ),
            (&|r| r.nano_cpus = -1, "Range of CPUs"),
            (
                &|r| (r.nano_cpus, r.cpu_period_us) = (1, 1000),
                "Nano CPUs and CPU Period",
            ),
            (
                &|r| (r.nano_cpus, r.cpu_quota_us) = (1, 1000),
                "Nano CPUs and CPU Quota",
            ),
            (&|r| r.cpu_period_us = 999, "CPU cfs period"),
            (&|r| r.cpu_quota_us = 999, "CPU cfs quota"),
            (&|r| r.cpu_shares = -5, "shares"),
            (
                &|r| r.cpuset_cpus = "1-".into(),
                "Invalid value 1- for cpuset cpus",
            ),
            (
                &|r| r.cpuset_mems = "a".into(),
                "Invalid value a for cpuset mems",
            ),
            (
                &|r| r.blkio_weight = 9,
                "Range of blkio weight is from 10 to 1000",
            ),
            (
                &|r| r.blkio_weight_device = vec![("/dev/sda".into(), 1001)],
                "blkio weight",
            ),
            (
                &|r| r.blkio_read_bps = vec![("/dev/no".into(), 1)],
                "cannot limit device /dev/no: No",
            ),
        ];
        for (change, words) in cases {
            let text = with(change);
            assert!(text.contains(words), "{words}: {text}");
        }
        assert!(
            device_number("/dev/null")
                .unwrap_err()
                .contains("not a block device")
        );
    }

    #[test]
    fn lists_are_compared_by_their_members() {
        for (wanted, available, expected) in [
            ("0", "0-1\n", true),
            ("0-1,1", "0-1", true),
            ("0-3", "0-1,3", false),
            ("3", "0-1,3", true),
            ("2", "0-1", false),
            ("5-4", "0-9", false),
            ("70000", "0-9", false),
            ("+1", "0-9", false),
            ("", "0-9", false),
        ] {
            assert_eq!(
                is_available(wanted, available),
                expected,
                "{wanted} in {available}"
            );
        }
    }

    #[test]
    fn weights_keep_least_default_and_greatest() {
        for (shares, weight) in [
            (2, 1),
            (1024, 100),
            (262_144, 10_000),
            (512, 59),
            (10_000_000, 10_000),
        ] {
            assert_eq!(weight_of_shares(shares), weight, "{shares}");
        }
        assert_eq!([10, 500, 1000].map(io_weight), [1, 4950, 10_000]);
    }
}
