//! Resource limits by name, clamped to what this machine allows.

use rustix::process::{Resource, Rlimit as KernelLimit};
use sys::Context;

use crate::failure::Failure;
use crate::spec::Rlimit;

/// The kernel's resource of a name such as `RLIMIT_NOFILE`.
pub(crate) fn resource(name: &str) -> Option<Resource> {
    Some(
        match name
            .trim_start_matches("RLIMIT_")
            .to_ascii_lowercase()
            .as_str()
        {
            "as" => Resource::As,
            "core" => Resource::Core,
            "cpu" => Resource::Cpu,
            "data" => Resource::Data,
            "fsize" => Resource::Fsize,
            "locks" => Resource::Locks,
            "memlock" => Resource::Memlock,
            "msgqueue" => Resource::Msgqueue,
            "nice" => Resource::Nice,
            "nofile" => Resource::Nofile,
            "nproc" => Resource::Nproc,
            "rss" => Resource::Rss,
            "rtprio" => Resource::Rtprio,
            "rttime" => Resource::Rttime,
            "sigpending" => Resource::Sigpending,
            "stack" => Resource::Stack,
            _ => return None,
        },
    )
}

/// Up to where a limit of this name may be raised by this process, where that is less than `hard`; `hard` of
/// `u64::MAX` is without limit. `None` where it may be set, or is no limit at all.
pub fn ceiling(name: &str, hard: u64) -> Option<u64> {
    let own = rustix::process::getrlimit(resource(name)?).maximum?;
    (hard > own && !may_raise()).then_some(own)
}

/// Whether this process may raise its hard limits: CAP_SYS_RESOURCE.
pub fn may_raise() -> bool {
    const CAP_SYS_RESOURCE: u64 = 1 << 24;
    sys::process::bounding_set() & CAP_SYS_RESOURCE != 0
}

/// Descriptors beside those of mounts.
const DESCRIPTORS_SPARE: u64 = 256;

/// Raises how many descriptors this process may have open to what so many mounts need, one each until they
/// are attached; returns what it was before, for [`give_back`].
pub(crate) fn make_room(mounts: usize) -> Result<Option<KernelLimit>, Failure> {
    let wanted = mounts as u64 + DESCRIPTORS_SPARE;
    let own = rustix::process::getrlimit(Resource::Nofile);
    if own.current.is_none_or(|soft| soft >= wanted) {
        return Ok(None);
    }
    if let Some(hard) = own.maximum.filter(|hard| *hard < wanted) {
        return Err(Failure::setup(format!(
            "{mounts} mounts are too many: they need {wanted} open files, and the hard limit is {hard} (ulimit -Hn)"
        )));
    }
    let raised = KernelLimit {
        current: Some(wanted),
        ..own
    };
    rustix::process::setrlimit(Resource::Nofile, raised).on("limit", "open files")?;
    Ok(Some(own))
}

/// Ends [`make_room`].
pub(crate) fn give_back(before: Option<KernelLimit>) -> Result<(), Failure> {
    match before {
        Some(own) => {
            Ok(rustix::process::setrlimit(Resource::Nofile, own).on("limit", "open files")?)
        }
        None => Ok(()),
    }
}

/// Whether the kernel would take a limit.
pub(crate) fn check(limit: &Rlimit) -> Result<(), Failure> {
    if resource(&limit.kind).is_none() {
        return Err(unknown(limit));
    }
    match limit.soft > limit.hard {
        true => Err(Failure::setup(format!(
            "cannot limit {}: the soft limit {} is above the hard limit {}",
            limit.kind, limit.soft, limit.hard
        ))),
        false => Ok(()),
    }
}

fn unknown(limit: &Rlimit) -> Failure {
    Failure::setup(format!("there is no resource limit {}", limit.kind))
}

/// Sets a limit of this process. A hard limit above our own needs CAP_SYS_RESOURCE; where that is
/// missing the limit is what we have.
pub(crate) fn set(limit: &Rlimit) -> Result<(), Failure> {
    let Some(resource) = resource(&limit.kind) else {
        return Err(unknown(limit));
    };
    let finite = |value: u64| (value != u64::MAX).then_some(value);
    let wanted = KernelLimit {
        current: finite(limit.soft),
        maximum: finite(limit.hard),
    };
    match rustix::process::setrlimit(resource, wanted) {
        Err(rustix::io::Errno::PERM) => {
            let maximum = rustix::process::getrlimit(resource).maximum;
            let current = match (finite(limit.soft), maximum) {
                (Some(soft), Some(hard)) => Some(soft.min(hard)),
                (soft, hard) => soft.or(hard),
            };
            rustix::process::setrlimit(resource, KernelLimit { current, maximum })
                .on("limit", &limit.kind)?;
            Ok(())
        }
        other => Ok(other.on("limit", &limit.kind)?),
    }
}
