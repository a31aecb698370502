//! A container's files seen from outside: `diff`, `export`, `cp`, sizes.
//!
//! A running container's root is reached through its first process, a stopped one's is mounted
//! detached: nothing is attached in the host's namespace. Every path of the container resolves
//! beneath that root, whatever links it holds and whoever swaps them meanwhile (CVE-2018-15664).

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use monitor::client::Connection;
use monitor::protocol::Kind;
use rustix::fs::{CWD, FileType, Mode, OFlags, StatVfsMountFlags};
use rustix::io::Errno;
use storage::containers::{ContainerRecord, StoredContainer};
use storage::layer::diff::diff;
use storage::layer::pack::{Mounts, PackMode, PackOptions, pack_object, pack_tree};
use storage::layer::unpack::{ApplyMode, Replace, UnpackOptions, Whiteouts, unpack};
use sys::lock::Lock;
use sys::rootfs::Dir;
use sys::{Context, SysError};
use types::state::Status;

use super::mounted_files::Source;
use crate::Engine;
use crate::error::EngineError;
use crate::error::text;

/// A container that starts and ends is looked at so often.
const MOUNT_ATTEMPTS_MAX: usize = 1000;
const MOUNT_PAUSE: std::time::Duration = std::time::Duration::from_millis(5);
/// Links that `cp -L` follows.
const LINKS_MAX: usize = 40;

/// What a container's root is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Nothing is written.
    Read,
    /// Files are written.
    Write,
}

/// A root, and the lock that keeps its container from being started.
type Root = (OwnedFd, Option<Keeper>);

/// What keeps a container from being started.
#[derive(Debug)]
#[expect(dead_code, reason = "held for its locks")]
enum Keeper {
    Lock(Lock),
    /// Its policy does not start it while a command holds it.
    Held(Lock, Connection),
}

/// A container's root, and what keeps it.
pub struct Mounted {
    /// The root.
    pub root: Dir,
    /// The container.
    pub stored: StoredContainer,
    // A stopped container must not be started while its upper directory is mounted here.
    _keeper: Option<Keeper>,
}

/// The root of a running container; `None` where it has just ended.
fn root_of(stored: &StoredContainer) -> Result<Option<Root>, EngineError> {
    let path = format!("/proc/{}/root", stored.state.pid);
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = match rustix::fs::openat(CWD, path, flags, Mode::empty()) {
        Ok(root) => root,
        Err(Errno::NOENT | Errno::SRCH) => return Ok(None),
        Err(errno) => return Err(SysError::new("open root of", &stored.record.id, errno).into()),
    };
    // The pid was the container's while the descriptor was had, if it still is.
    let is_its = sys::host::start_time(stored.state.pid) == Some(stored.state.start_time);
    Ok(is_its.then_some((root, None)))
}

fn plain() -> PackOptions {
    PackOptions {
        mode: PackMode::Plain,
        mounts: Mounts::LeaveKernels,
        ..PackOptions::default()
    }
}

impl Engine {
    /// Opens a container's root, whatever the container does meanwhile.
    ///
    /// # Errors
    /// Where it cannot be mounted.
    pub fn mounted(&self, key: &str, access: Access) -> Result<Mounted, EngineError> {
        for _ in 0..MOUNT_ATTEMPTS_MAX {
            let stored = self.container(key)?;
            let mounted = match stored.state.status {
                Status::Restarting if access == Access::Write => self.mount_restarting(&stored)?,
                Status::Restarting => Some(self.mount_for_reading(&stored)?),
                status if status.is_live() => root_of(&stored)?,
                _ => self.mount_stopped(&stored, access)?,
            };
            let Some((root, keeper)) = mounted else {
                // It started or ended while we looked; its monitor is about to say so.
                std::thread::sleep(MOUNT_PAUSE);
                continue;
            };
            return Ok(Mounted {
                root: Dir::from_fd(root),
                stored,
                _keeper: keeper,
            });
        }
        Err(EngineError::conflict(format!(
            "container {key} starts and ends all the time; try again"
        )))
    }

    /// The source of the mount that a path lies in, where the container's root is not the running one's.
    pub(super) fn within(
        &self,
        mounted: &Mounted,
        path: &str,
    ) -> Result<Option<Source>, EngineError> {
        let status = mounted.stored.state.status;
        match status.is_live() && status != Status::Restarting {
            true => Ok(None),
            false => self.source_of(&mounted.stored, path),
        }
    }

    /// `None`: it was started meanwhile.
    fn mount_stopped(
        &self,
        stored: &StoredContainer,
        access: Access,
    ) -> Result<Option<Root>, EngineError> {
        let id = &stored.record.id;
        let of = |error| EngineError::of_container(error, id);
        let lock = self.store().lock_container(id).map_err(of)?;
        let now = self.store().read_container(id).map_err(of)?;
        if now.state.status.is_live() {
            return Ok(None);
        }
        let directory = self.store().container_directory(id);
        // Of a read-only disk no overlay that is written to can be made, and the kernel only says EINVAL.
        let disk = rustix::fs::statvfs(&directory).on("look at", directory.display())?;
        if disk.f_flag.contains(StatVfsMountFlags::RDONLY) {
            return match access {
                Access::Read => Ok(Some(self.mount_for_reading(stored)?)),
                Access::Write => {
                    let upper = directory.join("upper").display().to_string();
                    Err(SysError::new("write to", upper, Errno::ROFS).into())
                }
            };
        }
        // An ending monitor may still have the root mounted.
        drop(Lock::acquire_directory(&monitor::protocol::mounted_lock(
            &directory,
        ))?);
        Ok(Some((self.mount_whole(stored)?, Some(Keeper::Lock(lock)))))
    }

    /// Between two runs its monitor has not mounted the root. `None`: it was started meanwhile, or its
    /// monitor was killed.
    fn mount_restarting(&self, stored: &StoredContainer) -> Result<Option<Root>, EngineError> {
        let id = &stored.record.id;
        let of = |error| EngineError::of_container(error, id);
        let Some(mut connection) = self.connect(stored)? else {
            return Ok(None);
        };
        let lock = self.store().lock_container(id).map_err(of)?;
        if !connection.ask(Kind::Hold, &())? {
            return Ok(None);
        }
        let now = self.store().read_container(id).map_err(of)?;
        if now.state.status != Status::Restarting {
            return Ok(None);
        }
        let keeper = Keeper::Held(lock, connection);
        Ok(Some((self.mount_whole(stored)?, Some(keeper))))
    }

    fn mount_whole(&self, stored: &StoredContainer) -> Result<OwnedFd, EngineError> {
        let directory = self.store().container_directory(&stored.record.id);
        let layers = runtime::Layers {
            lowers: self.container_lowers(&stored.record.image_id)?,
            upper: directory.join("upper"),
            work: directory.join("work"),
            volatile: false,
        };
        Ok(runtime::mount_layers(&layers)?)
    }

    /// What it wrote on top of its image, read only: its monitor may mount the same for writing at
    /// any moment.
    fn mount_for_reading(&self, stored: &StoredContainer) -> Result<Root, EngineError> {
        let directory = self.store().container_directory(&stored.record.id);
        let mut lowers = vec![directory.join("upper")];
        lowers.extend(self.container_lowers(&stored.record.image_id)?);
        Ok((runtime::mount_read_only(&lowers)?, None))
    }

    /// What a container changed: letter and path.
    ///
    /// # Errors
    /// Where its files cannot be read.
    pub fn diff(&self, key: &str) -> Result<Vec<(char, String)>, EngineError> {
        let stored = self.container(key)?;
        let upper = self
            .store()
            .container_directory(&stored.record.id)
            .join("upper");
        let open = |path: &Path| Dir::open(path).map_err(|error| text("read files", &error));
        let lowers = self
            .container_lowers(&stored.record.image_id)?
            .iter()
            .map(|path| open(path))
            .collect::<Result<Vec<_>, _>>()?;
        let changes =
            diff(&open(&upper)?, &lowers).map_err(|error| text("compare files", &error))?;
        let mut changes: Vec<(char, String)> = changes
            .into_iter()
            .map(|change| (change.kind.letter(), change.path.display().to_string()))
            .collect();
        leave_out_mount_points(&mut changes, &stored.record);
        Ok(changes)
    }

    /// Writes a container's whole file system as a tar.
    ///
    /// # Errors
    /// Where a file cannot be read or the archive not written.
    pub fn export(&self, key: &str, sink: &mut dyn Write) -> Result<(), EngineError> {
        let mounted = self.mounted(key, Access::Read)?;
        let root = open_directory(&mounted.root, Path::new("/"))?;
        let options = PackOptions {
            mounts: Mounts::Leave,
            ..plain()
        };
        pack_tree(root.as_fd(), b"", sink, &options).map_err(|error| text("export", &error))?;
        self.announce(&mounted.stored.record, "export", &[]);
        Ok(())
    }

    /// Bytes that a container wrote, and of its whole file system.
    pub fn container_sizes(&self, stored: &StoredContainer) -> (i64, i64) {
        let upper = self
            .store()
            .container_directory(&stored.record.id)
            .join("upper");
        let written = storage::trash::tree_bytes(&upper);
        let image = self.image_size(&stored.record.image_id);
        (
            i64::try_from(written).unwrap_or(i64::MAX),
            i64::try_from(written + image).unwrap_or(i64::MAX),
        )
    }

    /// Packs a path of a container as a tar whose first name is `rename` (else its own); returns its
    /// size as Docker counts it.
    ///
    /// # Errors
    /// Docker's words where the path does not exist.
    pub fn copy_from(
        &self,
        key: &str,
        source: &str,
        follow: FollowLink,
        rename: Option<&str>,
        sink: &mut dyn Write,
    ) -> Result<u64, EngineError> {
        let mounted = self.mounted(key, Access::Read)?;
        let within = self.within(&mounted, source)?;
        let (root, path) = match &within {
            Some(within) => (&within.root, within.path.as_str()),
            None => (&mounted.root, source),
        };
        let record = &mounted.stored.record;
        let place = locate(root, path, follow).ok_or_else(|| {
            EngineError::invalid(format!(
                "Could not find the file {source} in container {}",
                record.name
            ))
        })?;
        self.announce(record, "archive-path", &[]);
        let own = own_name(source).to_string_lossy().into_owned();
        let name = rename.unwrap_or(&own);
        if place.is_root || place.contents_only {
            let directory = open_directory(root, &place.path)?;
            let prefix = match place.contents_only {
                true => "",
                false => name,
            };
            let options = PackOptions {
                include_root: true,
                ..plain()
            };
            return pack_tree(directory.as_fd(), prefix.as_bytes(), sink, &options)
                .map(|report| report.plain_bytes)
                .map_err(|error| text("copy", &error));
        }
        let (parent, base) = root
            .open_parent(&place.path)
            .map_err(|error| text("copy", &error))?;
        pack_object(parent.as_fd(), &base, name.as_bytes(), sink, &plain())
            .map(|report| report.plain_bytes)
            .map_err(|error| text("copy", &error))
    }

    /// Unpacks a tar into a directory of a container.
    ///
    /// # Errors
    /// Docker's words where the directory does not exist; what is wrong with the archive.
    pub fn copy_to(
        &self,
        key: &str,
        directory: &str,
        keep_owner: bool,
        source: impl Read,
    ) -> Result<(), EngineError> {
        let stored = self.container(key)?;
        if stored.record.spec.read_only {
            return Err(EngineError::conflict(
                "container rootfs is marked read-only",
            ));
        }
        let mounted = self.mounted(key, Access::Write)?;
        let within = self.within(&mounted, directory)?;
        if within.as_ref().is_some_and(|within| within.read_only) {
            return Err(EngineError::conflict("mounted volume is marked read-only"));
        }
        let (root, directory) = match &within {
            Some(within) => (&within.root, within.path.as_str()),
            None => (&mounted.root, directory),
        };
        let options = UnpackOptions {
            mode: ApplyMode::Merged,
            whiteouts: Whiteouts::Literal,
            replace: Replace::SameKind,
            base: PathBuf::from(directory),
            root_metadata: false,
            owner: if keep_owner { None } else { Some((0, 0)) },
            ..UnpackOptions::default()
        };
        unpack(source, root, &options).map_err(|error| text("copy", &error))?;
        self.announce(&stored.record, "extract-to-dir", &[]);
        Ok(())
    }

    /// Unpacks an archive that a user has, compressed or not, into a directory of a container.
    ///
    /// # Errors
    /// As [`Engine::copy_to`], and where the first bytes cannot be read.
    pub fn copy_archive_to(
        &self,
        key: &str,
        directory: &str,
        source: impl Read + Send,
    ) -> Result<(), EngineError> {
        let (_, archive) =
            storage::compression::decode(source).map_err(|error| text("read archive", &error))?;
        self.copy_to(key, directory, true, archive)
    }

    /// What a path of a container is.
    ///
    /// # Errors
    /// Docker's words where it does not exist.
    pub fn path_kind(&self, key: &str, path: &str) -> Result<Option<PathKind>, EngineError> {
        let mounted = self.mounted(key, Access::Read)?;
        let within = self.within(&mounted, path)?;
        let stat = match &within {
            Some(within) => within.root.metadata(Path::new(&within.path)),
            None => mounted.root.metadata(Path::new(path)),
        };
        match stat {
            Ok(stat) => Ok(Some(match FileType::from_raw_mode(stat.st_mode) {
                FileType::Directory => PathKind::Directory,
                _ => PathKind::File,
            })),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(text("look at path", &error)),
        }
    }
}

/// Where something is mounted in a container.
pub(super) fn mount_points(record: &ContainerRecord) -> Vec<String> {
    const OWN: [&str; 6] = [
        "/dev",
        "/proc",
        "/sys",
        "/etc/hostname",
        "/etc/hosts",
        "/etc/resolv.conf",
    ];
    let spec = &record.spec;
    let mut points: Vec<String> = OWN.iter().map(|path| (*path).to_string()).collect();
    points.extend(record.volumes.iter().map(|one| one.target.clone()));
    let target = |bind: &String| bind.split(':').nth(1).map(String::from);
    points.extend(spec.binds.iter().filter_map(target));
    points.extend(spec.mounts.iter().map(|mount| mount.target.clone()));
    points.extend(spec.tmpfs.keys().cloned());
    points
}

/// The empty files and directories that mounts were put onto are ours, not the container's doing.
fn leave_out_mount_points(changes: &mut Vec<(char, String)>, record: &ContainerRecord) {
    for point in &mount_points(record) {
        let below = format!("{point}/");
        let is_stub = changes
            .iter()
            .any(|(letter, path)| *letter == 'A' && path == point)
            && !changes.iter().any(|(_, path)| path.starts_with(&below));
        if !is_stub {
            continue;
        }
        changes.retain(|(_, path)| path != point);
        // Directories above it that changed for no other reason.
        let mut parent = Path::new(point.as_str()).parent();
        while let Some(path) = parent.filter(|path| *path != Path::new("/")) {
            let prefix = format!("{}/", path.display());
            if changes.iter().any(|(_, other)| other.starts_with(&prefix)) {
                break;
            }
            changes.retain(|(letter, other)| *letter == 'D' || Path::new(other) != path);
            parent = path.parent();
        }
    }
}

/// What a path is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathKind {
    /// A directory, or a link to one.
    Directory,
    /// Anything else.
    File,
}

/// Whether a link as the source of a copy means its target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FollowLink {
    /// The link itself is copied.
    No,
    /// What it points to is copied.
    Yes,
}

struct Place {
    path: PathBuf,
    is_root: bool,
    contents_only: bool,
}

/// A path without what says that its content is meant.
fn bare(source: &str) -> PathBuf {
    let trimmed = source.trim_end_matches("/.").trim_end_matches('/');
    PathBuf::from(format!("/{}", trimmed.trim_start_matches('/')))
}

/// What a copy of a path is called.
fn own_name(source: &str) -> OsString {
    bare(source)
        .file_name()
        .map_or_else(|| "/".into(), OsStr::to_os_string)
}

/// `None`: there is nothing.
fn locate(root: &Dir, source: &str, follow: FollowLink) -> Option<Place> {
    let contents_only = source.ends_with("/.") || source == ".";
    let mut path = bare(source);
    if follow == FollowLink::Yes || contents_only || source.ends_with('/') {
        for _ in 0..LINKS_MAX {
            let Ok(target) = root.read_link(&path) else {
                break;
            };
            let parent = path.parent().unwrap_or(Path::new("/")).to_path_buf();
            path = parent.join(target);
        }
    }
    root.symlink_metadata(&path).ok()?;
    let is_root = path == Path::new("/");
    Some(Place {
        path,
        is_root,
        contents_only,
    })
}

fn open_directory(root: &Dir, path: &Path) -> Result<std::os::fd::OwnedFd, EngineError> {
    root.open_dir(path)
        .map_err(|error| text("open directory", &error))
}

/// Runs a packer in a thread and an unpacker here, with a pipe between; returns the packer's word. For
/// commands that clone no container.
///
/// # Errors
/// The packer's error first: the unpacker then only saw a cut archive.
pub fn through_pipe(
    pack: impl FnOnce(&mut File) -> Result<u64, EngineError> + Send,
    take: impl FnOnce(File) -> Result<(), EngineError>,
) -> Result<u64, EngineError> {
    let (reader, writer) =
        rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).on("make", "pipe")?;
    std::thread::scope(|scope| {
        let packing = scope.spawn(move || pack(&mut File::from(writer)));
        let taken = take(File::from(reader));
        match packing.join() {
            Ok(Err(error)) if taken.is_ok() || !is_broken_pipe(&error) => Err(error),
            Ok(Ok(bytes)) => taken.map(|()| bytes),
            Ok(Err(error)) => taken.and(Err(error)),
            Err(_) => Err(EngineError::conflict("packing files failed")),
        }
    })
}

fn is_broken_pipe(error: &EngineError) -> bool {
    error.to_string().contains("Broken pipe")
}

/// Packs a path of the host, for `cp` into a container; returns its size as Docker counts it.
///
/// # Errors
/// Where it cannot be read.
pub fn pack_host(path: &Path, rename: &str, sink: &mut dyn Write) -> Result<u64, EngineError> {
    let stat = rustix::fs::lstat(path).on("read", path.display())?;
    let is_directory = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
    if is_directory {
        let directory = sys::atomic::open_directory(path)?;
        let prefix = if rename.is_empty() {
            String::new()
        } else {
            format!("{rename}/")
        };
        let options = PackOptions {
            include_root: !rename.is_empty(),
            ..plain()
        };
        return pack_tree(directory.as_fd(), prefix.as_bytes(), sink, &options)
            .map(|report| report.plain_bytes)
            .map_err(|error| text("copy", &error));
    }
    let parent = sys::atomic::open_directory(
        path.parent()
            .filter(|p| !p.as_os_str().is_empty())
            .unwrap_or(Path::new(".")),
    )?;
    let name = path.file_name().unwrap_or(OsStr::new("."));
    pack_object(parent.as_fd(), name, rename.as_bytes(), sink, &plain())
        .map(|report| report.plain_bytes)
        .map_err(|error| text("copy", &error))
}

/// Unpacks a tar into a directory of the host, for `cp` out of a container. The archive was made by
/// us from a container that may be hostile: it stays beneath the directory.
///
/// # Errors
/// Where it cannot be written.
pub fn unpack_host(
    directory: &Path,
    owner: Option<(u32, u32)>,
    source: impl Read,
) -> Result<(), EngineError> {
    let root = Dir::open(directory).map_err(|error| text("open directory", &error))?;
    let options = UnpackOptions {
        mode: ApplyMode::Merged,
        whiteouts: Whiteouts::Literal,
        replace: Replace::SameKind,
        root_metadata: false,
        owner,
        ..UnpackOptions::default()
    };
    unpack(source, &root, &options).map_err(|error| text("copy", &error))?;
    Ok(())
}
