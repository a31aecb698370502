//! Resolution one component at a time, for kernels without openat2 and for making what is missing.
//!
//! One directory is open at any moment. `..` goes back by opening the remembered true names again
//! from the root, each with O_NOFOLLOW: whatever was moved meanwhile, nothing outside the root can
//! be reached, at worst the lookup fails.

use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;

use super::RootError;

/// As the kernel's MAXSYMLINKS.
const LINKS_MAX: u32 = 40;
/// As the kernel's PATH_MAX.
const PATH_BYTES_MAX: usize = 4096;
/// How often a component that others make and remove at the same time is tried.
const RACES_MAX: u32 = 64;

/// A component is opened as a place: reading it is not needed to go through it.
const STEP: OFlags = OFlags::PATH
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);

/// Asks for missing directories to be made.
pub(super) struct Made<'a> {
    pub(super) mode: u32,
    pub(super) report: &'a mut dyn FnMut(&Path),
}

/// A lookup under way.
pub(super) struct Walk<'a> {
    root: BorrowedFd<'a>,
    op: &'static str,
    /// The directory reached, and its true names from the root.
    current: OwnedFd,
    names: Vec<OsString>,
    /// Components still to go, the next one last.
    pending: Vec<OsString>,
    links: u32,
    made: Option<Made<'a>>,
}

impl<'a> Walk<'a> {
    pub(super) fn start(
        root: BorrowedFd<'a>,
        op: &'static str,
        path: &Path,
    ) -> Result<Self, RootError> {
        let fail = |errno| RootError::new(op, path, errno);
        if path.as_os_str().len() >= PATH_BYTES_MAX {
            return Err(fail(Errno::NAMETOOLONG));
        }
        let current = reopen(root).map_err(fail)?;
        let mut walk = Self {
            root,
            op,
            current,
            names: Vec::new(),
            pending: Vec::new(),
            links: 0,
            made: None,
        };
        walk.push(path.as_os_str());
        Ok(walk)
    }

    pub(super) fn make_missing(&mut self, made: Made<'a>) {
        self.made = Some(made);
    }

    /// The directory at the end of the path, as a place.
    pub(super) fn directory(mut self) -> Result<OwnedFd, RootError> {
        while let Some(name) = self.pending.pop() {
            self.step(name)?;
        }
        Ok(self.current)
    }

    /// Opens the object at the end of the path with the given flags.
    pub(super) fn open(&mut self, flags: OFlags, mode: Mode) -> Result<OwnedFd, RootError> {
        while let Some(name) = self.last()? {
            let answer = rustix::fs::openat(&self.current, &name, flags | OFlags::NOFOLLOW, mode);
            let is_link = match &answer {
                Ok(fd) if flags.contains(OFlags::PATH) => is_symlink(fd.as_fd()),
                Err(Errno::LOOP | Errno::NOTDIR) => true,
                _ => false,
            };
            if is_link && !flags.contains(OFlags::NOFOLLOW) && self.follow(&name)? {
                continue;
            }
            return answer.map_err(|errno| self.error_at(&name, errno));
        }
        let flags = flags.difference(OFlags::CREATE | OFlags::EXCL | OFlags::TRUNC);
        rustix::fs::openat(&self.current, c".", flags, Mode::empty())
            .map_err(|errno| self.error(errno))
    }

    /// The place of a file at the end of the path, made where nothing is.
    pub(super) fn place_of_file(&mut self, mode: u32) -> Result<OwnedFd, RootError> {
        let place = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let create = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
        let mut races = 0;
        while let Some(name) = self.last()? {
            match rustix::fs::openat(&self.current, &name, place, Mode::empty()) {
                Ok(fd) if is_symlink(fd.as_fd()) && self.follow(&name)? => {}
                Ok(fd) => return Ok(fd),
                Err(Errno::NOENT) if races < RACES_MAX => {
                    races += 1;
                    let mode = Mode::from_raw_mode(mode);
                    match rustix::fs::openat(&self.current, &name, create, mode) {
                        Ok(_) | Err(Errno::EXIST) => {}
                        Err(errno) => return Err(self.error_at(&name, errno)),
                    }
                    self.pending.push(name);
                }
                Err(errno) => return Err(self.error_at(&name, errno)),
            }
        }
        Err(self.error(Errno::ISDIR))
    }

    /// Walks up to the last component and returns it; `None` if the path ends in a directory that
    /// is reached already (the root, or after `..`).
    fn last(&mut self) -> Result<Option<OsString>, RootError> {
        while let Some(name) = self.pending.pop() {
            if self.pending.is_empty() && name != ".." {
                return Ok(Some(name));
            }
            self.step(name)?;
        }
        Ok(None)
    }

    fn step(&mut self, name: OsString) -> Result<(), RootError> {
        if name == ".." {
            // All of `../../..` at once: each would open the way from the root again.
            self.names.pop();
            while self.pending.last().is_some_and(|next| next == "..") {
                self.pending.pop();
                self.names.pop();
            }
            return self.go_back();
        }
        for _ in 0..RACES_MAX {
            match rustix::fs::openat(&self.current, &name, STEP, Mode::empty()) {
                Ok(fd) => {
                    self.current = fd;
                    self.names.push(name);
                    return Ok(());
                }
                Err(Errno::LOOP | Errno::NOTDIR) => {
                    if self.follow(&name)? {
                        return Ok(());
                    }
                    return Err(self.error_at(&name, Errno::NOTDIR));
                }
                Err(Errno::NOENT) if self.made.is_some() => self.make(&name)?,
                Err(errno) => return Err(self.error_at(&name, errno)),
            }
        }
        Err(self.error_at(&name, Errno::AGAIN))
    }

    /// If `name` is a link, puts its components before those to go.
    fn follow(&mut self, name: &OsStr) -> Result<bool, RootError> {
        let target = match rustix::fs::readlinkat(&self.current, name, Vec::new()) {
            Ok(target) => target,
            Err(_) => return Ok(false),
        };
        self.links += 1;
        if self.links > LINKS_MAX {
            return Err(self.error_at(name, Errno::LOOP));
        }
        let target = OsStr::from_bytes(target.to_bytes());
        if target.as_bytes().starts_with(b"/") {
            self.names.clear();
            self.go_back()?;
        }
        self.push(target);
        Ok(true)
    }

    fn push(&mut self, path: &OsStr) {
        let components = path.as_bytes().split(|&byte| byte == b'/');
        self.pending.extend(
            components
                .rev()
                .filter(|component| !matches!(*component, b"" | b"."))
                .map(|component| OsStr::from_bytes(component).to_os_string()),
        );
    }

    fn make(&mut self, name: &OsStr) -> Result<(), RootError> {
        let Some(made) = &mut self.made else {
            return Ok(());
        };
        let mode = Mode::from_raw_mode(made.mode);
        match rustix::fs::mkdirat(&self.current, name, mode) {
            Ok(()) => {}
            Err(Errno::EXIST) => return Ok(()),
            Err(errno) => return Err(self.error_at(name, errno)),
        }
        // mkdir obeys the umask, and a default ACL of the parent; the mode asked for counts. By
        // descriptor: the name may have been exchanged since.
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let chmod = rustix::fs::openat(&self.current, name, flags, Mode::empty())
            .and_then(|fd| rustix::fs::fchmod(&fd, mode));
        match chmod {
            Ok(()) | Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {}
            Err(errno) => return Err(self.error_at(name, errno)),
        }
        let mut path: PathBuf = self.names.iter().collect();
        path.push(name);
        (made.report)(&path);
        Ok(())
    }

    fn go_back(&mut self) -> Result<(), RootError> {
        let mut current = reopen(self.root).map_err(|errno| self.error(errno))?;
        for name in &self.names {
            current = rustix::fs::openat(&current, name, STEP, Mode::empty())
                .map_err(|errno| self.error(errno))?;
        }
        self.current = current;
        Ok(())
    }

    fn error(&self, errno: Errno) -> RootError {
        RootError::new(self.op, self.names.iter().collect::<PathBuf>(), errno)
    }

    fn error_at(&self, name: &OsStr, errno: Errno) -> RootError {
        let mut path: PathBuf = self.names.iter().collect();
        path.push(name);
        RootError::new(self.op, path, errno)
    }
}

fn reopen(root: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    rustix::fs::openat(root, c".", STEP, Mode::empty())
}

fn is_symlink(fd: BorrowedFd<'_>) -> bool {
    stat_nofollow_fd(fd) == Some(FileType::Symlink)
}

fn stat_nofollow_fd(fd: BorrowedFd<'_>) -> Option<FileType> {
    rustix::fs::fstat(fd)
        .ok()
        .map(|stat| FileType::from_raw_mode(stat.st_mode))
}
