//! Files that are either the old or the new version, whatever happens in between.
//!
//! A file is written under a temporary name in its own directory, synced if asked, and renamed.

use std::fmt;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::fs::{AtFlags, CWD, Mode, OFlags};

use crate::error::{Context, SysError};

static NEXT: AtomicU32 = AtomicU32::new(0);

/// Whether a write must survive a power cut before the call returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// File and directory are synced: acknowledged means kept.
    Synced,
    /// The kernel writes it when it likes; a crash of ours loses nothing.
    Volatile,
}

/// Replaces `name` in `directory` by `bytes`.
///
/// # Errors
/// The failed step on the file; the old version is then still there.
pub fn write_at(
    directory: impl AsFd,
    name: &str,
    bytes: &[u8],
    durability: Durability,
) -> Result<(), SysError> {
    let directory = directory.as_fd();
    // Two writers of one file, threads or processes of other pid namespaces, must not share it.
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let random = u32::from_ne_bytes(
        crate::host::random_bytes()[..4]
            .try_into()
            .unwrap_or_default(),
    );
    let temporary = format!(".{name}.{random:08x}.{number}");
    let flags =
        OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let fd = rustix::fs::openat(directory, &temporary, flags, Mode::from_raw_mode(0o600))
        .on("create", Place(directory, name))?;
    crate::fail::point("sys.file.created");
    let mut file = File::from(fd);
    let written = file
        .write_all(bytes)
        .on("write", Place(directory, name))
        .and_then(|()| crate::fail::result("sys.file.write"))
        .and_then(|()| match durability {
            Durability::Synced => file.sync_data().on("sync", Place(directory, name)),
            Durability::Volatile => Ok(()),
        });
    crate::fail::point("sys.file.synced");
    let renamed = written.and_then(|()| {
        rustix::fs::renameat(directory, &temporary, directory, name)
            .on("rename", Place(directory, name))
    });
    if let Err(error) = renamed {
        // The half-made file must not stay; that it might not go changes nothing for the caller.
        let _ = rustix::fs::unlinkat(directory, &temporary, AtFlags::empty());
        return Err(error);
    }
    crate::fail::point("sys.file.renamed");
    match durability {
        Durability::Synced => sync_directory(directory),
        Durability::Volatile => Ok(()),
    }
}

/// Writes a file into a directory that nobody sees yet.
///
/// # Errors
/// The failed step on the file.
pub fn write_new_at(
    directory: impl AsFd,
    name: &str,
    bytes: &[u8],
    durability: Durability,
) -> Result<(), SysError> {
    let directory = directory.as_fd();
    let place = Place(directory, name);
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let fd = rustix::fs::openat(directory, name, flags, Mode::from_raw_mode(0o600))
        .on("create", &place)?;
    let mut file = File::from(fd);
    file.write_all(bytes).on("write", &place)?;
    crate::fail::result("sys.file.new")?;
    match durability {
        Durability::Synced => {
            file.sync_data().on("sync", &place)?;
            sync_directory(directory)
        }
        Durability::Volatile => Ok(()),
    }
}

/// [`write_at`] for a path.
///
/// # Errors
/// As [`write_at`]; also where the directory cannot be opened.
pub fn write(path: &Path, bytes: &[u8], durability: Durability) -> Result<(), SysError> {
    let parent = path.parent().unwrap_or(Path::new("/"));
    let name = path
        .file_name()
        .and_then(|name| name.to_str())
        .unwrap_or_default();
    write_at(open_directory(parent)?, name, bytes, durability)
}

/// A name in an open directory, shown with the directory's path.
struct Place<'a>(BorrowedFd<'a>, &'a str);

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let link = format!("/proc/self/fd/{}", self.0.as_raw_fd());
        match std::fs::read_link(link) {
            Ok(path) => write!(f, "{}", path.join(self.1).display()),
            Err(_) => f.write_str(self.1),
        }
    }
}

/// Opens a directory for `*at` calls.
///
/// # Errors
/// Where it cannot be opened or is no directory.
pub fn open_directory(path: &Path) -> Result<OwnedFd, SysError> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::openat(CWD, path, flags, Mode::empty()).on("open", path.display())
}

/// Makes the names in a directory durable.
///
/// # Errors
/// The disk's answer.
pub fn sync_directory(directory: impl AsFd) -> Result<(), SysError> {
    rustix::fs::fsync(directory).on("sync", "directory")
}

/// Reads a whole file of ours, at most `bytes_max`. A pipe that nobody writes to is empty.
///
/// # Errors
/// Where it cannot be read; `EFBIG` where it is larger.
pub fn read_limited(path: &Path, bytes_max: u64) -> Result<Vec<u8>, SysError> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let fd = rustix::fs::openat(CWD, path, flags, Mode::empty()).on("open", path.display())?;
    read_fd_limited(File::from(fd), bytes_max, || path.display().to_string())
}

/// [`read_limited`] beneath an open directory.
///
/// # Errors
/// As [`read_limited`].
pub fn read_at_limited(
    directory: impl AsFd,
    name: impl AsRef<Path>,
    bytes_max: u64,
) -> Result<Vec<u8>, SysError> {
    let name = name.as_ref();
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let fd =
        rustix::fs::openat(directory, name, flags, Mode::empty()).on("open", name.display())?;
    read_fd_limited(File::from(fd), bytes_max, || name.display().to_string())
}

/// Whether what could not be read will not be read another time either: it is no file, or too long.
pub fn is_no_file(error: &SysError) -> bool {
    use rustix::io::Errno as E;
    matches!(error.errno, E::ISDIR | E::NOTDIR | E::FBIG | E::LOOP)
}

/// The beginning of a small file beneath an open directory, as much as fits into `buffer`: all of it, for
/// a file that is on a disk and fits. A failure in between looks like its end.
///
/// # Errors
/// Where it cannot be opened or read.
pub fn read_start_at(
    directory: impl AsFd,
    name: impl AsRef<Path>,
    buffer: &mut Vec<u8>,
) -> Result<(), SysError> {
    let name = name.as_ref();
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let fd =
        rustix::fs::openat(directory, name, flags, Mode::empty()).on("open", name.display())?;
    buffer.clear();
    rustix::io::read(fd, rustix::buffer::spare_capacity(buffer)).on("read", name.display())?;
    Ok(())
}

fn read_fd_limited(
    file: File,
    bytes_max: u64,
    name: impl Fn() -> String,
) -> Result<Vec<u8>, SysError> {
    let mut bytes = Vec::with_capacity(4096);
    let mut read = (&file).take(bytes_max + 1).read_to_end(&mut bytes);
    if matches!(&read, Err(error) if error.kind() == std::io::ErrorKind::WouldBlock) {
        // A pipe with a writer who is not done, as a shell's `<(…)`: it is waited for.
        let _ = rustix::fs::fcntl_setfl(&file, OFlags::empty());
        let more = (bytes_max + 1).saturating_sub(bytes.len() as u64);
        read = (&file).take(more).read_to_end(&mut bytes);
    }
    read.map_err(|error| {
        let errno = error
            .raw_os_error()
            .unwrap_or(rustix::io::Errno::IO.raw_os_error());
        SysError::new("read", name(), rustix::io::Errno::from_raw_os_error(errno))
    })?;
    if bytes.len() as u64 > bytes_max {
        return Err(SysError::new("read", name(), rustix::io::Errno::FBIG));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_replaces_the_whole_file_and_leaves_no_other() {
        let directory = std::env::temp_dir().join(format!("caisson-atomic-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let path = directory.join("record");
        write(&path, b"a longer first version", Durability::Volatile).unwrap();
        write(&path, b"second", Durability::Synced).unwrap();
        assert_eq!(read_limited(&path, 100).unwrap(), b"second");
        assert_eq!(
            read_limited(&path, 3).unwrap_err().errno,
            rustix::io::Errno::FBIG
        );
        assert_eq!(std::fs::read_dir(&directory).unwrap().count(), 1);
        std::fs::remove_dir_all(&directory).unwrap();
    }

    #[test]
    fn a_pipe_in_the_place_of_a_file_is_empty_without_a_writer_and_else_read_to_its_end() {
        let path = std::env::temp_dir().join(format!("caisson-pipe-{}", std::process::id()));
        let kind = rustix::fs::FileType::Fifo;
        rustix::fs::mknodat(CWD, &path, kind, Mode::from_raw_mode(0o600), 0).unwrap();
        assert_eq!(read_limited(&path, 100).unwrap(), b"");
        let directory = open_directory(path.parent().unwrap()).unwrap();
        let name = path.file_name().unwrap();
        assert_eq!(read_at_limited(&directory, name, 100).unwrap(), b"");
        let mut writer = File::options().read(true).write(true).open(&path).unwrap();
        let reader = std::thread::spawn({
            let path = path.clone();
            move || read_limited(&path, 100)
        });
        for part in ["one ", "two"] {
            std::thread::yield_now();
            writer.write_all(part.as_bytes()).unwrap();
        }
        // The end comes when the last writer goes, and only a reader that is there sees it.
        while !has_reader(&path) {
            std::thread::yield_now();
        }
        drop(writer);
        assert_eq!(reader.join().unwrap().unwrap(), b"one two");
        std::fs::remove_file(&path).unwrap();
    }

    /// Whether this process has the pipe open for reading alone.
    fn has_reader(path: &Path) -> bool {
        let open = std::fs::read_dir("/proc/self/fd").unwrap().flatten();
        open.filter(|entry| std::fs::read_link(entry.path()).is_ok_and(|target| target == path))
            .count()
            > 1
    }
}
