//! Mounts of a container: options understood, sources taken by descriptor, attached beneath a root.
//!
//! Sources of bind mounts are cloned before the new mount namespace is cut off from the host's, so
//! that a shared source can stay a peer of its clone. Everything that needs the container's own
//! namespaces (proc, sysfs, mqueue, cgroup) is made by the child when its turn comes.
//! Targets are resolved beneath the root by `sys::rootfs::Dir`; a mount goes onto a descriptor.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{CWD, FileType, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::MountPropagationFlags;
use sys::mount::{self, Attributes};
use sys::rootfs::{Dir, RootError};
use sys::{Context, SysError};

use crate::failure::Failure;
use crate::spec::Mount;
use crate::{procfs, rootfs};

/// The options of one mount, understood.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Options {
    pub(crate) bind: bool,
    pub(crate) recursive: bool,
    pub(crate) attributes: Attributes,
    /// Read-only also for the mounts below.
    pub(crate) attributes_recursive: bool,
    pub(crate) propagation: Option<(MountPropagationFlags, bool)>,
    pub(crate) data: Vec<(String, String)>,
}

/// Sorts mount(8) options into attributes, propagation and the file system's own.
pub(crate) fn parse_options(options: &[String]) -> Options {
    let mut parsed = Options::default();
    for option in options {
        let (set, clear) = match option.as_str() {
            "ro" => (mount::READ_ONLY, 0),
            "rro" => {
                parsed.attributes_recursive = true;
                (mount::READ_ONLY, 0)
            }
            "rw" => (0, mount::READ_ONLY),
            "nosuid" => (mount::NO_SUID, 0),
            "suid" => (0, mount::NO_SUID),
            "nodev" => (mount::NO_DEV, 0),
            "dev" => (0, mount::NO_DEV),
            "noexec" => (mount::NO_EXEC, 0),
            "exec" => (0, mount::NO_EXEC),
            "noatime" => (mount::NO_ATIME, mount::ATIME_MASK),
            "strictatime" => (mount::STRICT_ATIME, mount::ATIME_MASK),
            "relatime" | "atime" => (0, mount::ATIME_MASK),
            "nodiratime" => (mount::NO_DIR_ATIME, 0),
            "diratime" => (0, mount::NO_DIR_ATIME),
            "nosymfollow" => (mount::NO_SYMLINK_FOLLOW, 0),
            _ => {
                parse_other(option, &mut parsed);
                continue;
            }
        };
        parsed.attributes.set = (parsed.attributes.set & !clear) | set;
        parsed.attributes.clear = (parsed.attributes.clear & !set) | clear;
    }
    parsed
}

fn parse_other(option: &str, parsed: &mut Options) {
    use MountPropagationFlags as Propagation;
    let propagation = |name: &str| match name {
        "private" => Some(Propagation::PRIVATE),
        "shared" => Some(Propagation::SHARED),
        "slave" => Some(Propagation::DOWNSTREAM),
        "unbindable" => Some(Propagation::UNBINDABLE),
        _ => None,
    };
    if let Some(flags) = propagation(option) {
        parsed.propagation = Some((flags, false));
    } else if let Some(flags) = option.strip_prefix('r').and_then(propagation) {
        parsed.propagation = Some((flags, true));
    } else {
        match option {
            "bind" => parsed.bind = true,
            "rbind" => (parsed.bind, parsed.recursive) = (true, true),
            "defaults" | "async" | "" => {}
            _ => {
                let (key, value) = option.split_once('=').unwrap_or((option, ""));
                parsed.data.push((key.to_string(), value.to_string()));
            }
        }
    }
}

/// A mount whose source, if it has one on the host, is already held.
pub(crate) struct Prepared<'a> {
    pub(crate) mount: &'a Mount,
    pub(crate) options: Options,
    source: Option<(OwnedFd, FileType)>,
}

/// Understands every mount and takes the sources of bind mounts from the host's tree.
///
/// Must run before the namespace is isolated.
pub(crate) fn prepare(mounts: &[Mount]) -> Result<Vec<Prepared<'_>>, Failure> {
    mounts.iter().map(prepare_one).collect()
}

fn prepare_one(mount: &Mount) -> Result<Prepared<'_>, Failure> {
    let options = parse_options(&mount.options);
    let source = match mount.kind.as_str() {
        "foreign" => Some((take_foreign(mount)?, FileType::Directory)),
        _ if options.bind || mount.kind == "bind" => Some(take_source(mount, &options)?),
        _ => None,
    };
    procfs::check_path(mount, source.as_ref().map(|(tree, _)| tree))?;
    Ok(Prepared {
        mount,
        options,
        source,
    })
}

fn take_source(mount: &Mount, options: &Options) -> Result<(OwnedFd, FileType), Failure> {
    let path = open_source(mount)?;
    let stat = rustix::fs::fstat(&path).on("read", &mount.source)?;
    let tree = mount::clone_tree(&path, options.recursive)
        .map_err(|error| SysError::new("bind", mount.source.clone(), error.errno))?;
    if options.attributes != Attributes::default() {
        mount::set_attributes(&tree, options.attributes, options.attributes_recursive)?;
    }
    // Without a word the clone is private: nothing is to travel between host and container.
    let (propagation, recursive) = options
        .propagation
        .unwrap_or((MountPropagationFlags::PRIVATE, true));
    if propagation == MountPropagationFlags::SHARED {
        require_shared(mount)?;
    } else {
        mount::set_propagation(&tree, propagation, recursive)?;
    }
    Ok((tree, FileType::from_raw_mode(stat.st_mode)))
}

/// Mounts the images among the sources. A path within one is found while the image is attached at
/// `staging`: a detached mount cannot be cloned before kernel 6.15. The namespace must be isolated.
pub(crate) fn take_images(prepared: &mut [Prepared<'_>], staging: &Path) -> Result<(), Failure> {
    for one in prepared.iter_mut().filter(|one| one.mount.kind == "image") {
        let mount = one.mount;
        let given = |name: &str| {
            let mut data = one.options.data.iter();
            data.find(|(key, _)| key == name)
                .map(|(_, value)| value.as_str())
        };
        let above = given("upperdir").zip(given("workdir"));
        let image = rootfs::overlay_of(&mount.layers, above).map_err(|error| {
            Failure::setup(format!("cannot mount image {}: {error}", mount.source))
        })?;
        let tree = match mount.subpath.as_str() {
            "" => image,
            _ => {
                mount::attach(&image, rootfs::open_path(staging)?)?;
                let found = find_beneath(mount, &Dir::from_fd(image))
                    .and_then(|place| Ok(mount::clone_tree(place, false)?));
                mount::detach(staging)?;
                found?
            }
        };
        mount::set_attributes(&tree, one.options.attributes, false)?;
        let stat = rustix::fs::fstat(&tree).on("read", &mount.source)?;
        one.source = Some((tree, FileType::from_raw_mode(stat.st_mode)));
    }
    Ok(())
}

/// The source is the user's path; what is beneath it belongs to whoever writes there.
fn open_source(mount: &Mount) -> Result<OwnedFd, Failure> {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let source = rustix::fs::openat(CWD, mount.source.as_str(), flags, Mode::empty())
        .on("open bind source", &mount.source)?;
    if mount.subpath.is_empty() {
        return Ok(source);
    }
    find_beneath(mount, &Dir::from_fd(source))
}

fn find_beneath(mount: &Mount, root: &Dir) -> Result<OwnedFd, Failure> {
    root.open_path_beneath(Path::new(&mount.subpath))
        .map_err(|error| {
            let reason = match error.errno {
                Errno::XDEV => "it leads out of it".into(),
                errno => sys::error::describe(errno).to_lowercase(),
            };
            let (subpath, source) = (&mount.subpath, &mount.source);
            Failure::setup(format!(
                "cannot access path {subpath:?} beneath {source}: {reason}"
            ))
        })
}

/// A clone of the mount at the same place in another container, whose mount namespace the source
/// names (`--ipc container:X` shares /dev/shm so).
fn take_foreign(mount: &Mount) -> Result<OwnedFd, Failure> {
    const OWN: &str = "/proc/self/ns/mnt";
    let open = |path: &str| {
        rustix::fs::openat(CWD, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
            .on("open namespace", path)
    };
    let (own, other) = (open(OWN)?, open(&mount.source)?);
    let kind = sys::process::namespaces::MOUNT;
    // Joining sets root and working directory to those of the other container; both are set anew
    // before anything is resolved here again.
    sys::process::join_namespaces(&other, kind)?;
    let tree = (|| {
        let root = sys::atomic::open_directory(Path::new("/"))?;
        let place = Dir::from_fd(root)
            .open_dir(Path::new(&mount.destination))
            .map_err(|error| Failure::setup(error.to_string()))?;
        Ok::<_, Failure>(mount::clone_tree(place, true)?)
    })();
    sys::process::join_namespaces(&own, kind)?;
    let tree = tree?;
    mount::set_propagation(&tree, MountPropagationFlags::PRIVATE, true)?;
    Ok(tree)
}

/// A clone of a private mount would become a peer of nothing: what is made in the container would
/// silently not reach the host. So Docker's refusal is ours too.
fn require_shared(mount: &Mount) -> Result<(), Failure> {
    let text = sys::atomic::read_limited(Path::new("/proc/self/mountinfo"), 16 << 20)?;
    let text = String::from_utf8_lossy(&text);
    let source = std::fs::canonicalize(&mount.source).unwrap_or_default();
    let holder = text
        .lines()
        .filter_map(|line| {
            let mut fields = line.split(' ').skip(4);
            let point = fields.next()?;
            let shared = line.split(" - ").next()?.contains(" shared:");
            source
                .starts_with(point)
                .then_some((point.len(), point, shared))
        })
        .max_by_key(|(length, ..)| *length);
    match holder {
        Some((_, _, true)) => Ok(()),
        Some((_, point, false)) => Err(Failure::setup(format!(
            "path {} is mounted on {point} but it is not a shared mount",
            mount.source
        ))),
        None => Ok(()),
    }
}

/// Attaches a prepared mount beneath `root`; returns the mount for those who need it later.
pub(crate) fn attach(prepared: Prepared<'_>, root: &Dir) -> Result<OwnedFd, Failure> {
    let Prepared {
        mount,
        mut options,
        source,
    } = prepared;
    if is_own_dev(mount) {
        // Devices and links are still to be made there.
        options.attributes.set &= !mount::READ_ONLY;
    }
    let target = match &source {
        Some((_, kind)) if *kind != FileType::Directory => root
            .create_file_for_mount(Path::new(&mount.destination))
            .map_err(describe(mount, root))?,
        _ => directory_target(mount, root)?,
    };
    let source = source.map(|(tree, _)| tree);
    procfs::check_target(mount, source.as_ref(), root, &target)?;
    let tree = match source {
        Some(tree) => tree,
        None => new_filesystem(mount, &options, &target)?,
    };
    mount::attach(&tree, &target)
        .map_err(|error| SysError::new("mount on", mount.destination.clone(), error.errno))?;
    Ok(tree)
}

/// Whether a mount is a /dev of the container's own, which is filled by us.
pub(crate) fn is_own_dev(mount: &Mount) -> bool {
    mount.destination == "/dev" && mount.kind == "tmpfs"
}

/// The directory that a mount goes onto. proc and sysfs only go onto a real directory: an image
/// with a link there would have them elsewhere, and unmasked (CVE-2023-27561).
fn directory_target(mount: &Mount, root: &Dir) -> Result<OwnedFd, Failure> {
    let destination = Path::new(&mount.destination);
    let strict = matches!(mount.kind.as_str(), "proc" | "sysfs") || is_own_dev(mount);
    if strict {
        let (parent, name) = root
            .open_parent(destination)
            .map_err(describe(mount, root))?;
        let stat = rustix::fs::statat(&parent, &name, rustix::fs::AtFlags::SYMLINK_NOFOLLOW);
        let is_directory =
            stat.is_ok_and(|s| FileType::from_raw_mode(s.st_mode) == FileType::Directory);
        if stat.is_ok() && !is_directory {
            return Err(Failure::setup(format!(
                "cannot mount {} on {}: the image has no ordinary directory there; build one \
                 that has",
                mount.kind, mount.destination
            )));
        }
    }
    let mut is_made = false;
    let target = root
        .mkdir_all_reporting(destination, 0o755, &mut |_| is_made = true)
        .map_err(describe(mount, root))?;
    if is_made && mount.kind == "tmpfs" {
        // What the image has not is for everybody, as in Docker; at later starts too, when it is
        // there.
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        rustix::fs::openat(&target, c".", flags, Mode::empty())
            .and_then(|directory| rustix::fs::fchmod(directory, Mode::from_raw_mode(0o1777)))
            .on("make", &mount.destination)?;
    }
    Ok(target)
}

fn describe<'a>(mount: &'a Mount, root: &'a Dir) -> impl Fn(RootError) -> Failure + 'a {
    let destination = mount.destination.as_str();
    move |error| {
        let reason =
            obstacle(root, Path::new(destination), &error).unwrap_or_else(|| match error.errno {
                // In the word of a mount of a file on a directory, which Docker tells: "is a directory" stands
                // for a command that is none, and decides the exit code.
                Errno::ISDIR => {
                    let word = "a directory is in the place of the file: Not a directory";
                    format!("{word}{}", hint(&error))
                }
                _ => format!("{error}{}", hint(&error)),
            });
        Failure::setup(format!("cannot mount on {destination}: {reason}"))
    }
}

/// What of the image stands where a parent of a mount point should, or links in its own place that
/// lead in a circle or through a file.
fn obstacle(root: &Dir, destination: &Path, error: &RootError) -> Option<String> {
    if !matches!(error.errno, Errno::NOTDIR | Errno::LOOP) {
        return None;
    }
    let is_in_the_way = |path: &&Path| match root.metadata(path) {
        Ok(stat) => FileType::from_raw_mode(stat.st_mode) != FileType::Directory,
        Err(error) => error.errno == Errno::LOOP,
    };
    let mut parents: Vec<&Path> = destination.ancestors().skip(1).collect();
    parents.reverse();
    match parents.into_iter().find(is_in_the_way) {
        Some(path) => Some(format!(
            "{} of the image is no directory; build an image in which it is one",
            path.display()
        )),
        None if root.metadata(destination).is_ok() => None,
        None => Some(format!(
            "{} of the image is a link that leads nowhere; build an image without it",
            destination.display()
        )),
    }
}

/// What Docker asks where a file and a directory meet.
fn hint(error: &RootError) -> &'static str {
    match error.errno {
        Errno::ISDIR | Errno::NOTDIR => {
            ": Are you trying to mount a directory onto a file (or vice-versa)? Check if the specified \
             host path exists and is the expected type"
        }
        _ => "",
    }
}

fn new_filesystem(mount: &Mount, options: &Options, target: &OwnedFd) -> Result<OwnedFd, Failure> {
    const OWN: [&str; 6] = ["proc", "sysfs", "tmpfs", "devpts", "mqueue", "cgroup2"];
    let kind = mount.kind.as_str();
    // Of anything else there is a device, which the user named.
    let source = match OWN.contains(&kind) {
        true => kind,
        false if mount.source.starts_with('/') => mount.source.as_str(),
        false => {
            return Err(Failure::setup(format!(
                "cannot mount on {}: file system type {kind:?} is not known here",
                mount.destination
            )));
        }
    };
    let mut data: Vec<(String, String)> = options.data.clone();
    if kind == "tmpfs" && !data.iter().any(|(key, _)| key == "mode") {
        // A tmpfs without a mode takes that of the directory it covers, as Docker's does.
        let stat = rustix::fs::fstat(target).on("read", &mount.destination)?;
        let covered = [
            ("mode", format!("{:o}", stat.st_mode & 0o7777)),
            ("uid", stat.st_uid.to_string()),
            ("gid", stat.st_gid.to_string()),
        ];
        for (key, value) in covered {
            if !data.iter().any(|(given, _)| given == key) {
                data.push((key.into(), value));
            }
        }
    }
    let pairs: Vec<(&str, &str)> = data
        .iter()
        .map(|(key, value)| (key.as_str(), value.as_str()))
        .collect();
    let tree =
        mount::new_filesystem(kind, source, &pairs, options.attributes.set).map_err(|error| {
            let device = match OWN.contains(&kind) {
                true => String::new(),
                false => format!("{source} as "),
            };
            Failure::setup(format!(
                "cannot mount {device}{kind} on {}: {error}",
                mount.destination
            ))
        })?;
    if let Some((propagation, recursive)) = options.propagation {
        mount::set_propagation(&tree, propagation, recursive)?;
    }
    Ok(tree)
}

/// Hides files by the container's own null device and directories by an empty read-only tmpfs.
pub(crate) fn mask(root: &Dir, paths: &[String], null: &OwnedFd) -> Result<(), Failure> {
    let mut empty: Option<OwnedFd> = None;
    for path in paths {
        let Ok(target) = root.open_path(Path::new(path)) else {
            continue;
        };
        let stat = rustix::fs::fstat(&target).on("read", path)?;
        if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
            let tree = match &empty {
                // A mount that is attached in this namespace may be cloned; a detached one not
                // before kernel 6.15.
                Some(attached) => mount::clone_tree(attached, false)?,
                None => mount::new_filesystem(
                    "tmpfs",
                    "tmpfs",
                    &[("nr_inodes", "2"), ("size", "0")],
                    mount::READ_ONLY,
                )?,
            };
            mount::attach(&tree, &target)
                .map_err(|error| SysError::new("mask", path.clone(), error.errno))?;
            empty.get_or_insert(tree);
        } else {
            let tree = mount::clone_tree(null, false)?;
            mount::attach(&tree, &target)
                .map_err(|error| SysError::new("mask", path.clone(), error.errno))?;
        }
        verify_covered(root, path, &stat)?;
    }
    Ok(())
}

/// What is at the path now must not be what was there before (CVE-2025-31133).
fn verify_covered(root: &Dir, path: &str, before: &rustix::fs::Stat) -> Result<(), Failure> {
    let covered = root
        .open_path(Path::new(path))
        .map_err(|error| Failure::setup(error.to_string()))?;
    let after = rustix::fs::fstat(&covered).on("read", path)?;
    if (after.st_dev, after.st_ino) == (before.st_dev, before.st_ino) {
        return Err(Failure::setup(format!(
            "cannot mask {path}: it was replaced meanwhile"
        )));
    }
    Ok(())
}

/// Lets paths only be read.
pub(crate) fn make_read_only(root: &Dir, paths: &[String]) -> Result<(), Failure> {
    for path in paths {
        let Ok(target) = root.open_path(Path::new(path)) else {
            continue;
        };
        let tree = mount::clone_tree(&target, true)?;
        // What the mount forbids already (nosuid, noexec, nodev of /proc) the clone has inherited.
        mount::set_attributes(
            &tree,
            Attributes {
                set: mount::READ_ONLY,
                clear: 0,
            },
            true,
        )?;
        mount::attach(&tree, &target)
            .map_err(|error| SysError::new("protect", path.clone(), error.errno))?;
    }
    Ok(())
}

/// The container's null device, made sure of: character device 1:3 (CVE-2025-31133).
pub(crate) fn null_device(root: &Dir) -> Result<OwnedFd, Failure> {
    let null = root
        .open_path(Path::new("/dev/null"))
        .map_err(|error| {
            let mut text = error.to_string();
            if error.errno == rustix::io::Errno::NOENT {
                text += " in the container: what is mounted on /dev hides it; mount it elsewhere, or devices alone with --device";
            }
            Failure::setup(text)
        })?;
    let stat = rustix::fs::fstat(null.as_fd()).on("read", "/dev/null")?;
    let is_null = FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice
        && stat.st_rdev == rustix::fs::makedev(1, 3);
    if !is_null {
        return Err(Failure::setup(
            "/dev/null in the container is not the null device",
        ));
    }
    Ok(null)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(text: &str) -> Options {
        parse_options(&text.split(',').map(str::to_string).collect::<Vec<_>>())
    }

    #[test]
    fn options_fall_into_attributes_propagation_and_data() {
        let parsed = options("nosuid,strictatime,mode=755,size=65536k,rslave");
        assert_eq!(parsed.attributes.set, mount::NO_SUID | mount::STRICT_ATIME);
        assert_eq!(
            parsed.propagation,
            Some((MountPropagationFlags::DOWNSTREAM, true))
        );
        assert_eq!(
            parsed.data,
            [
                ("mode".into(), "755".into()),
                ("size".into(), "65536k".into())
            ]
        );
        assert!(!parsed.bind);
    }

    #[test]
    fn the_last_word_on_an_attribute_counts() {
        assert_eq!(
            options("ro,rw").attributes,
            Attributes {
                set: 0,
                clear: mount::READ_ONLY
            }
        );
        assert_eq!(
            options("rw,ro").attributes,
            Attributes {
                set: mount::READ_ONLY,
                clear: 0
            }
        );
        assert!(options("rbind,rro").recursive);
        assert!(options("rbind,rro").attributes_recursive);
    }

    #[test]
    fn ro_is_not_taken_for_a_recursive_something() {
        assert_eq!(
            options("rprivate").propagation,
            Some((MountPropagationFlags::PRIVATE, true))
        );
        assert_eq!(options("ro").propagation, None);
    }
}
