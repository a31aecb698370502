//! Stopping, killing and watching a whole group.

use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::fs::inotify;
use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process};
use sys::{Context, SysError};

use super::CgroupError;
use super::directory::{Directory, find_key, read_all};

/// How long freezing may take: a process in uninterruptible sleep delays it.
const FREEZE_MAX: Duration = Duration::from_secs(10);
/// How often v1's freezer is asked again while new processes appear in the group.
const FREEZE_ROUNDS_MAX: u32 = 1000;
/// Rounds of freeze, kill, thaw where there is no `cgroup.kill`.
const KILL_ROUNDS_MAX: u32 = 100;
const PAUSE: Duration = Duration::from_millis(1);

/// Freezes a v2 group and waits until it is frozen.
pub(super) fn freeze_v2(group: &Directory) -> Result<(), CgroupError> {
    group.write("cgroup.freeze", "1")?;
    let events = group.open_file("cgroup.events")?;
    let deadline = Instant::now() + FREEZE_MAX;
    loop {
        rustix::fs::seek(&events, rustix::fs::SeekFrom::Start(0)).on("read", "cgroup.events")?;
        let text = read_all(&events).on("read", "cgroup.events")?;
        if find_key(&text, "frozen") == Some(1) {
            return Ok(());
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            // Half frozen is worse than not frozen.
            let _ = group.try_write("cgroup.freeze", "0");
            return Err(CgroupError::NotFrozen);
        }
        let timeout = Timespec {
            tv_sec: left.as_secs() as i64,
            tv_nsec: left.subsec_nanos().into(),
        };
        // The kernel announces changes of the file as priority data.
        match poll(&mut [PollFd::new(&events, PollFlags::PRI)], Some(&timeout)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(SysError::new("wait for", "freezing", errno).into()),
        }
    }
}

/// Freezes a v1 group. While its processes fork, the kernel may stay in between (`FREEZING`): asked
/// again, and thawed for a moment now and then, as runc does.
pub(super) fn freeze_v1(group: &Directory) -> Result<(), CgroupError> {
    const THAW_EVERY: u32 = 50;
    for round in 1..=FREEZE_ROUNDS_MAX {
        if round % THAW_EVERY == 0 {
            let _ = group.try_write("freezer.state", "THAWED");
            std::thread::sleep(PAUSE * 10);
        }
        group.write("freezer.state", "FROZEN")?;
        if group.read("freezer.state")?.trim() == "FROZEN" {
            return Ok(());
        }
    }
    let _ = group.try_write("freezer.state", "THAWED");
    Err(CgroupError::NotFrozen)
}

/// Kills every process of the group and its descendants without `cgroup.kill`: frozen, so that none
/// escapes by forking, signalled, thawed, until none is left.
pub(super) fn kill_by_signals(
    processes: &Directory,
    freeze: &dyn Fn() -> Result<(), CgroupError>,
    thaw: &dyn Fn() -> Result<(), CgroupError>,
) -> Result<(), CgroupError> {
    for round in 0..KILL_ROUNDS_MAX {
        if living(processes)?.is_empty() {
            return Ok(());
        }
        // A group that cannot be frozen is killed all the same; the rounds catch what forked.
        let frozen = freeze();
        for pid in living(processes)? {
            if let Some(pid) = Pid::from_raw(pid) {
                let _ = kill_process(pid, Signal::KILL);
            }
        }
        let thawed = thaw();
        frozen
            .and(thawed)
            .or_else(|error| if round == 0 { Ok(()) } else { Err(error) })?;
        std::thread::sleep(PAUSE);
    }
    Err(CgroupError::NotKilled)
}

/// Processes that are not yet dead. Zombies stay listed until they are reaped, by somebody else.
fn living(group: &Directory) -> Result<Vec<i32>, CgroupError> {
    let mut pids = group.pids(true)?;
    pids.retain(|pid| sys::host::start_time(*pid).is_some());
    Ok(pids)
}

/// A descriptor that becomes readable when the kernel kills for want of memory (v1).
pub(super) fn oom_eventfd(group: &Directory) -> Result<OwnedFd, SysError> {
    use std::os::fd::AsRawFd;
    let event = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).on("make", "eventfd")?;
    let control = group.open_file("memory.oom_control")?;
    let line = format!("{} {}", event.as_raw_fd(), control.as_raw_fd());
    group.write("cgroup.event_control", &line)?;
    Ok(event)
}

/// A descriptor that becomes readable when `memory.events` changes (v2).
pub(super) fn oom_inotify(group: &Directory) -> Result<OwnedFd, SysError> {
    use std::os::fd::AsRawFd;
    let flags = inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK;
    let watch = inotify::init(flags).on("make", "inotify")?;
    let path = format!("/proc/self/fd/{}/memory.events", group.as_fd().as_raw_fd());
    inotify::add_watch(&watch, &path, inotify::WatchFlags::MODIFY).on("watch", path)?;
    Ok(watch)
}
