//! One control group's directory: small files read and written by descriptor.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Mode, OFlags, RawDir};
use rustix::io::Errno;
use sys::{Context, SysError};

/// The attribute of a group above those of containers that we made, and so may remove.
const MADE_MARK: &str = "trusted.caisson.made";
/// The longest file that is read; a pid takes at most 8 bytes, so that it holds over 100,000.
const FILE_BYTES_MAX: usize = 1024 * 1024;
/// Groups within groups that are looked at; a container with its own groups makes them.
pub(super) const DEPTH_MAX: usize = 16;
const ENTRIES_MAX: usize = 10_000;

/// A directory of a cgroup file system.
#[derive(Debug)]
pub(super) struct Directory {
    fd: OwnedFd,
    path: PathBuf,
}

impl AsFd for Directory {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// What asks for the value of a file, where it is written as it was given.
fn flag_of(file: &str) -> Option<&'static str> {
    Some(match file {
        "pids.max" => "--pids-limit",
        "cpu.shares" => "--cpu-shares",
        "cpu.cfs_period_us" => "--cpu-period",
        "cpu.cfs_quota_us" => "--cpu-quota (or --cpus)",
        "cpu.max" => "--cpus (or --cpu-quota and --cpu-period)",
        "cpu.rt_period_us" => "--cpu-rt-period",
        "cpu.rt_runtime_us" => "--cpu-rt-runtime",
        "cpuset.cpus" => "--cpuset-cpus",
        "cpuset.mems" => "--cpuset-mems",
        "memory.limit_in_bytes" | "memory.max" => "--memory",
        "memory.memsw.limit_in_bytes" => "--memory-swap",
        "memory.soft_limit_in_bytes" | "memory.low" => "--memory-reservation",
        "memory.swappiness" => "--memory-swappiness",
        "memory.oom_control" => "--oom-kill-disable",
        "blkio.weight" | "blkio.bfq.weight" | "io.weight" | "io.bfq.weight" => "--blkio-weight",
        "blkio.throttle.read_bps_device" => "--device-read-bps",
        "blkio.throttle.write_bps_device" => "--device-write-bps",
        "blkio.throttle.read_iops_device" => "--device-read-iops",
        "blkio.throttle.write_iops_device" => "--device-write-iops",
        "blkio.weight_device" | "blkio.bfq.weight_device" => "--blkio-weight-device",
        _ => return None,
    })
}

impl Directory {
    pub(super) fn open(path: &Path) -> Result<Self, SysError> {
        let fd = rustix::fs::openat(CWD, path, DIRECTORY, Mode::empty());
        Ok(Self {
            fd: fd.on("open", path.display())?,
            path: path.to_path_buf(),
        })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Opens the group at `relative`, which may have several components.
    pub(super) fn open_at(&self, relative: &str) -> Result<Self, SysError> {
        let path = self.path.join(relative);
        let fd = rustix::fs::openat(&self.fd, relative, DIRECTORY, Mode::empty());
        Ok(Self {
            fd: fd.on("open", path.display())?,
            path,
        })
    }

    /// Makes the group at `relative`; its parent must exist.
    pub(super) fn make(&self, relative: &str) -> Result<(), Errno> {
        rustix::fs::mkdirat(&self.fd, relative, Mode::from_raw_mode(0o755))
    }

    /// Removes the empty group at `relative`.
    pub(super) fn remove(&self, relative: &str) -> Result<(), Errno> {
        rustix::fs::unlinkat(&self.fd, relative, AtFlags::REMOVEDIR)
    }

    /// Notes on this group that we made it. Kernels and users without such notes have none.
    pub(super) fn mark_made(&self) {
        let _ = rustix::fs::fsetxattr(&self.fd, MADE_MARK, b"1", rustix::fs::XattrFlags::empty());
    }

    /// Whether we noted that.
    pub(super) fn is_marked_made(&self) -> bool {
        let mut value = [0u8; 1];
        rustix::fs::fgetxattr(&self.fd, MADE_MARK, &mut value).is_ok()
    }

    pub(super) fn error(&self, op: &'static str, file: &str, errno: Errno) -> SysError {
        SysError::new(op, self.path.join(file).display().to_string(), errno)
    }

    /// Writes one value; the kernel takes it whole or not at all.
    pub(super) fn try_write(&self, file: &str, value: &str) -> Result<(), Errno> {
        let file = rustix::fs::openat(&self.fd, file, WRITE, Mode::empty())?;
        write_value(&file, value)
    }

    /// As [`Self::try_write`], with an error that names file and value, and the flag that asks for it.
    pub(super) fn write(&self, file: &str, value: &str) -> Result<(), SysError> {
        self.try_write(file, value)
            .map_err(|errno| self.refused(file, value, errno))
    }

    /// A value that the kernel does not take.
    pub(super) fn refused(&self, file: &str, value: &str, errno: Errno) -> SysError {
        let path = self.path.join(file);
        let Some(flag) = flag_of(file) else {
            return SysError::new("write", format!("{value} to {}", path.display()), errno);
        };
        let object = match errno {
            Errno::NOENT => format!("{flag} {value} (this kernel has no {file})"),
            _ => format!("{flag} {value} (in {})", path.display()),
        };
        SysError::new("set", object, errno)
    }

    /// Writes several values to one file, each by itself.
    pub(super) fn write_each<S: AsRef<str>>(
        &self,
        file: &str,
        values: impl IntoIterator<Item = S>,
    ) -> Result<(), SysError> {
        let opened = rustix::fs::openat(&self.fd, file, WRITE, Mode::empty());
        let opened = opened.map_err(|errno| self.error("open", file, errno))?;
        for value in values {
            let value = value.as_ref();
            write_value(&opened, value).map_err(|errno| {
                let object = format!("{value} to {}", self.path.join(file).display());
                SysError::new("write", object, errno)
            })?;
        }
        Ok(())
    }

    pub(super) fn open_file(&self, file: &str) -> Result<OwnedFd, SysError> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let opened = rustix::fs::openat(&self.fd, file, flags, Mode::empty());
        opened.map_err(|errno| self.error("open", file, errno))
    }

    pub(super) fn read(&self, file: &str) -> Result<String, SysError> {
        let opened = self.open_file(file)?;
        read_all(&opened).map_err(|errno| self.error("read", file, errno))
    }

    /// A file that holds one number; `None` for `max`.
    pub(super) fn read_number(&self, file: &str) -> Result<Option<u64>, SysError> {
        let text = self.read(file)?;
        match text.trim() {
            "max" => Ok(None),
            number => match number.parse() {
                Ok(number) => Ok(Some(number)),
                Err(_) => Err(self.error("read", file, Errno::INVAL)),
            },
        }
    }

    /// The value behind `key` in a file of `key value` lines; `None` where there is no such line.
    pub(super) fn read_key(&self, file: &str, key: &str) -> Result<Option<u64>, SysError> {
        Ok(find_key(&self.read(file)?, key))
    }

    /// The processes of this group and, where `deep`, of all groups beneath it.
    pub(super) fn pids(&self, deep: bool) -> Result<Vec<i32>, SysError> {
        let mut pids = Vec::new();
        self.collect_pids(if deep { DEPTH_MAX } else { 0 }, &mut pids)?;
        Ok(pids)
    }

    fn collect_pids(&self, depth: usize, pids: &mut Vec<i32>) -> Result<(), SysError> {
        let text = match self.read("cgroup.procs") {
            // A threaded group beneath does not tell processes; its parent does.
            Err(error) if error.errno == Errno::OPNOTSUPP => String::new(),
            other => other?,
        };
        pids.extend(text.lines().filter_map(|line| line.parse::<i32>().ok()));
        if depth == 0 {
            return Ok(());
        }
        for name in self.children()? {
            match self
                .open_at(&name)
                .and_then(|child| child.collect_pids(depth - 1, pids))
            {
                // Gone since it was listed.
                Err(error) if matches!(error.errno, Errno::NOENT | Errno::NODEV) => {}
                other => other?,
            }
        }
        Ok(())
    }

    /// Names of the groups directly beneath.
    pub(super) fn children(&self) -> Result<Vec<String>, SysError> {
        let fail = |errno| self.error("list", "", errno);
        let listed = rustix::fs::openat(&self.fd, ".", DIRECTORY, Mode::empty()).map_err(fail)?;
        // A group without groups beneath has two links: the usual case needs no listing.
        if rustix::fs::fstat(&listed).map_err(fail)?.st_nlink == 2 {
            return Ok(Vec::new());
        }
        let mut buffer = Vec::with_capacity(8192);
        let mut entries = RawDir::new(&listed, buffer.spare_capacity_mut());
        let mut names = Vec::new();
        while let Some(entry) = entries.next() {
            let entry = entry.map_err(fail)?;
            let name = entry.file_name().to_string_lossy();
            let is_directory = entry.file_type() == rustix::fs::FileType::Directory;
            if is_directory && name != "." && name != ".." && names.len() < ENTRIES_MAX {
                names.push(name.into_owned());
            }
        }
        Ok(names)
    }
}

const DIRECTORY: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::CLOEXEC);

/// In tests values are appended, so that a plain file shows what a kernel's file would be told.
const WRITE: OFlags = if cfg!(test) {
    OFlags::WRONLY.union(OFlags::CLOEXEC).union(OFlags::APPEND)
} else {
    OFlags::WRONLY.union(OFlags::CLOEXEC)
};

fn write_value(file: &OwnedFd, value: &str) -> Result<(), Errno> {
    loop {
        match rustix::io::write(file, value.as_bytes()) {
            Err(Errno::INTR) => {}
            other => return other.map(drop),
        }
    }
}

pub(super) fn read_all(file: impl AsFd) -> Result<String, Errno> {
    let mut bytes = vec![0u8; 4096];
    let mut length = 0;
    while length < FILE_BYTES_MAX {
        if length == bytes.len() {
            bytes.resize(bytes.len() * 4, 0);
        }
        match rustix::io::read(&file, &mut bytes[length..]) {
            Ok(0) => break,
            Ok(count) => length += count,
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    bytes.truncate(length);
    // Everything the kernel tells here is ASCII.
    Ok(String::from_utf8(bytes).unwrap_or_default())
}

/// The number behind `key` in `key value` lines.
pub(super) fn find_key(text: &str, key: &str) -> Option<u64> {
    text.lines().find_map(|line| {
        line.strip_prefix(key)?
            .strip_prefix(' ')?
            .trim()
            .parse()
            .ok()
    })
}
