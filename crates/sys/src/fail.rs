//! Fail points: named places at which a test kills this process, or makes an operation fail.
//!
//! A point stands where something becomes visible or durable. Without the feature `failpoints` all of
//! this is nothing. With it the variable `CAISSON_FAIL_AT` chooses what happens:
//!
//! | value | effect |
//! |---|---|
//! | `name` | SIGKILL to this process when it first passes the point |
//! | `name:3` | the same, at the third passing |
//! | `name=ENOSPC`, `name=EIO` | [`result`] of that name returns this error, every time |
//! | `name:3=EIO` | the same, at the third passing only |
//!
//! Each process counts for itself, unless a space and a path follow: then every passing is written to
//! that file as a line, and its lines are counted, so that all processes of a test count together.
//! The name `every` writes down the passing of all points, and does nothing else. Points are passed
//! by commands, monitors and the registry, never by a container's process between clone and exec.
//! `tests/it/crash.rs` runs ordinary commands with each of them, `tests/it/registry.rs` pushes.

use crate::SysError;

/// All points, `room.object.step`. A test compares this table with the sources.
pub const NAMES: &[&str] = &[
    "engine.build.attested",
    "engine.build.cache-fetched",
    "engine.build.cache-packed",
    "engine.build.copied",
    "engine.build.hashed",
    "engine.build.kept",
    "engine.build.published",
    "engine.build.ran",
    "engine.build.recorded",
    "engine.build.squashed",
    "engine.commit.layer",
    "engine.commit.recorded",
    "engine.create.checked",
    "engine.create.recorded",
    "engine.import.recorded",
    "engine.import.unpacked",
    "engine.load.layer",
    "engine.load.read",
    "engine.load.recorded",
    "engine.network.begun",
    "engine.network.down",
    "engine.network.named",
    "engine.network.reserved",
    "engine.network.undone",
    "engine.network.up",
    "engine.ports.handed",
    "engine.prune.unreferenced",
    "engine.pull.layer",
    "engine.pull.recorded",
    "engine.push.packed",
    "engine.push.recorded",
    "engine.push.remembered",
    "engine.push.sent",
    "engine.release.killed",
    "engine.remove.done",
    "engine.remove.ended",
    "engine.remove.locked",
    "engine.rename.done",
    "engine.rename.locked",
    "engine.repair.locked",
    "engine.repair.released",
    "engine.repair.written",
    "engine.restart.started",
    "engine.restart.stopped",
    "engine.rmi.unreferenced",
    "engine.rmi.untagged",
    "engine.start.given",
    "engine.start.locked",
    "engine.start.prepared",
    "engine.stop.answered",
    "engine.stop.asked",
    "engine.tag.locked",
    "engine.update.planned",
    "monitor.adopt.taken",
    "monitor.end.decided",
    "monitor.end.drained",
    "monitor.end.reaped",
    "monitor.end.saved",
    "monitor.farewell.begun",
    "monitor.farewell.released",
    "monitor.farewell.told",
    "monitor.farewell.unlocked",
    "monitor.network.connected",
    "monitor.network.joined",
    "monitor.network.left",
    "monitor.network.undone",
    "monitor.pipes.made",
    "monitor.ports.gone",
    "monitor.ports.taken",
    "monitor.request.done",
    "monitor.request.read",
    "monitor.restart.due",
    "monitor.spawn.given",
    "monitor.spawn.made",
    "monitor.spawn.mounted",
    "monitor.start.announced",
    "monitor.start.listening",
    "monitor.start.received",
    "monitor.start.running",
    "monitor.start.saved",
    "monitor.start.told",
    "monitor.step.reaped",
    "monitor.step.running",
    "monitor.stop.asked",
    "monitor.stop.saved",
    "registry.blob.named",
    "registry.blob.recorded",
    "registry.blob.synced",
    "registry.collect.forgotten",
    "registry.collect.removed",
    "registry.manifest.recorded",
    "registry.upload.begun",
    "registry.upload.written",
    "runtime.cgroup.beginning",
    "runtime.cgroup.made",
    "runtime.cgroup.making",
    "runtime.cgroup.removing",
    "runtime.start.cloned",
    "runtime.start.prepared",
    "storage.blob.renamed",
    "storage.blob.synced",
    "storage.blob.written",
    "storage.cache.keep",
    "storage.cache.written",
    "storage.collect.begun",
    "storage.collect.blobs",
    "storage.collect.deleted",
    "storage.collect.images",
    "storage.collect.keys",
    "storage.collect.layers",
    "storage.container.deleted",
    "storage.container.described",
    "storage.container.forgotten",
    "storage.container.made",
    "storage.container.named",
    "storage.container.published",
    "storage.container.renamed",
    "storage.container.renaming",
    "storage.container.state",
    "storage.container.taken",
    "storage.container.unnamed",
    "storage.container.update",
    "storage.image.recorded",
    "storage.image.written",
    "storage.layer.claimed",
    "storage.layer.described",
    "storage.layer.linked",
    "storage.layer.moved",
    "storage.layer.named",
    "storage.layer.synced",
    "storage.lease.made",
    "storage.lease.need",
    "storage.marker.write",
    "storage.name.freed",
    "storage.network.described",
    "storage.network.published",
    "storage.network.taken",
    "storage.reference.kept",
    "storage.reference.remove",
    "storage.reference.set",
    "storage.reference.write",
    "storage.tmp.drop",
    "storage.tmp.made",
    "storage.tmp.make",
    "storage.tmp.sweep",
    "storage.trash.erased",
    "storage.trash.kept",
    "storage.trash.named",
    "storage.trash.restored",
    "storage.trash.unnamed",
    "storage.volume.copied",
    "storage.volume.described",
    "storage.volume.filled",
    "storage.volume.published",
    "storage.volume.renamed",
    "storage.volume.restored",
    "storage.volume.snapshot",
    "storage.volume.taken",
    "sys.file.created",
    "sys.file.new",
    "sys.file.renamed",
    "sys.file.synced",
    "sys.file.write",
    "sys.journal.append",
];

/// The points at which an error can be asked for too.
pub const FALLIBLE: &[&str] = &[
    "engine.start.locked",
    "storage.blob.written",
    "storage.cache.keep",
    "storage.container.made",
    "storage.container.state",
    "storage.container.update",
    "storage.image.written",
    "storage.layer.claimed",
    "storage.layer.described",
    "storage.lease.need",
    "storage.reference.remove",
    "storage.reference.write",
    "storage.tmp.make",
    "sys.file.new",
    "sys.file.write",
];

/// The variable that chooses a point.
pub const VARIABLE: &str = "CAISSON_FAIL_AT";

/// A place to be killed at.
#[inline(always)]
pub fn point(name: &'static str) {
    #[cfg(feature = "failpoints")]
    chosen::pass(name);
    #[cfg(not(feature = "failpoints"))]
    let _ = name;
}

/// A place to be killed at, or to fail at.
///
/// # Errors
/// The one that was asked for.
#[inline(always)]
pub fn result(name: &'static str) -> Result<(), SysError> {
    #[cfg(feature = "failpoints")]
    return chosen::pass_or_fail(name);
    #[cfg(not(feature = "failpoints"))]
    {
        let _ = name;
        Ok(())
    }
}

/// The clean environment of our own processes: where programs are, and the choice.
pub fn environment() -> Vec<String> {
    let path = "PATH=/usr/sbin:/usr/bin:/sbin:/bin".to_owned();
    #[cfg(feature = "failpoints")]
    if let Ok(value) = std::env::var(VARIABLE) {
        return vec![path, format!("{VARIABLE}={value}")];
    }
    vec![path]
}

#[cfg(any(feature = "failpoints", test))]
#[cfg_attr(
    not(feature = "failpoints"),
    allow(dead_code, reason = "only the grammar is tested without the feature")
)]
mod chosen {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    use rustix::fs::{Mode, OFlags, SeekFrom};
    use rustix::io::Errno;

    use crate::SysError;

    /// The name that stands for all points.
    const EVERY: &str = "every";

    #[derive(Debug, PartialEq, Eq)]
    pub(super) struct Choice {
        pub(super) name: String,
        /// Which passing; `None`: each.
        pub(super) passing: Option<u64>,
        /// `None`: SIGKILL.
        pub(super) error: Option<Errno>,
        pub(super) counter: Option<String>,
    }

    pub(super) fn parse(value: &str) -> Option<Choice> {
        let (word, counter) = match value.split_once(' ') {
            Some((word, path)) => (word, Some(path.to_owned())),
            None => (value, None),
        };
        let (place, error) = match word.split_once('=') {
            Some((place, "EIO")) => (place, Some(Errno::IO)),
            Some((place, "ENOSPC")) => (place, Some(Errno::NOSPC)),
            Some(_) => return None,
            None => (word, None),
        };
        let (name, passing) = match place.split_once(':') {
            Some((name, number)) => (name, Some(number.parse().ok()?)),
            None => (place, None),
        };
        (!name.is_empty()).then(|| Choice {
            name: name.to_owned(),
            passing,
            error,
            counter,
        })
    }

    fn choice() -> Option<&'static Choice> {
        static CHOICE: OnceLock<Option<Choice>> = OnceLock::new();
        let read = || parse(&std::env::var(super::VARIABLE).ok()?);
        CHOICE.get_or_init(read).as_ref()
    }

    /// Counts a passing; returns the choice where it is made for this one.
    fn passed(name: &'static str) -> Option<&'static Choice> {
        static PASSED: AtomicU64 = AtomicU64::new(0);
        let choice = choice()?;
        if choice.name != name && choice.name != EVERY {
            return None;
        }
        let number = match &choice.counter {
            Some(path) => write_down(path, name)?,
            None => PASSED.fetch_add(1, Ordering::Relaxed) + 1,
        };
        let is_meant = choice.passing.is_none_or(|passing| passing == number);
        (is_meant && choice.name == name).then_some(choice)
    }

    /// Appends a line and returns which one it is. The position after a write with `O_APPEND` is its
    /// own end, whoever else writes.
    fn write_down(path: &str, name: &str) -> Option<u64> {
        let flags = OFlags::WRONLY | OFlags::APPEND | OFlags::CREATE | OFlags::CLOEXEC;
        let file = rustix::fs::open(path, flags, Mode::from_raw_mode(0o600)).ok()?;
        let line = format!("{name}\n");
        rustix::io::write(&file, line.as_bytes()).ok()?;
        let end = rustix::fs::seek(&file, SeekFrom::Current(0)).ok()?;
        Some(end / line.len() as u64)
    }

    pub(super) fn pass(name: &'static str) {
        if passed(name).is_some_and(|choice| choice.error.is_none()) {
            die();
        }
    }

    pub(super) fn pass_or_fail(name: &'static str) -> Result<(), SysError> {
        match passed(name).map(|choice| choice.error) {
            None => Ok(()),
            Some(Some(errno)) => Err(SysError::new("pass", name, errno)),
            Some(None) => {
                die();
                Ok(())
            }
        }
    }

    fn die() {
        let _ =
            rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
    }
}

#[cfg(test)]
mod tests {
    use super::chosen::{Choice, parse};
    use super::*;
    use rustix::io::Errno;
    use std::collections::BTreeMap;
    use std::path::Path;

    #[test]
    fn a_choice_is_a_name_a_passing_an_error_and_a_counter() {
        let choice = |passing, error, counter: Option<&str>| Choice {
            name: "a.b.c".into(),
            passing,
            error,
            counter: counter.map(str::to_owned),
        };
        for (value, expected) in [
            ("a.b.c", choice(None, None, None)),
            ("a.b.c:3", choice(Some(3), None, None)),
            ("a.b.c:3 /d e/f", choice(Some(3), None, Some("/d e/f"))),
            ("a.b.c=EIO", choice(None, Some(Errno::IO), None)),
            ("a.b.c:2=ENOSPC", choice(Some(2), Some(Errno::NOSPC), None)),
        ] {
            assert_eq!(parse(value), Some(expected), "{value}");
        }
        for value in ["", " ", ":1", "a:x", "a=NOSUCH"] {
            assert!(parse(value).is_none(), "{value}");
        }
    }

    /// The table and the sources agree: every name once in each.
    #[test]
    fn every_point_in_the_sources_is_in_the_table_and_the_other_way_round() {
        let crates = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
        let mut found = BTreeMap::new();
        for entry in std::fs::read_dir(crates).unwrap().flatten() {
            search(&entry.path().join("src"), &mut found);
        }
        let listed: BTreeMap<String, bool> = NAMES
            .iter()
            .map(|name| ((*name).to_owned(), FALLIBLE.contains(name)))
            .collect();
        assert_eq!(listed.len(), NAMES.len(), "a name is listed twice");
        assert_eq!(found, listed);
        assert!(NAMES.iter().all(|name| name.split('.').count() == 3));
        assert!(FALLIBLE.iter().all(|name| NAMES.contains(name)));
    }

    fn search(directory: &Path, found: &mut BTreeMap<String, bool>) {
        for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                search(&path, found);
            } else if !path.ends_with("sys/src/fail.rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                for (call, fallible) in [("fail::point(\"", false), ("fail::result(\"", true)] {
                    for rest in text.split(call).skip(1) {
                        let name = rest.split('"').next().unwrap().to_owned();
                        let twice = found.insert(name, fallible);
                        assert!(twice.is_none(), "twice: {rest:.40}");
                    }
                }
            }
        }
    }
}
