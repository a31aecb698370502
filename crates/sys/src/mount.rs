//! Mounts by descriptor: nothing is attached by path, and nothing in the host's mount namespace.
//!
//! Kernel: fsopen, fsmount, move_mount, open_tree since 5.2; mount_setattr since 5.12;
//! overlay's `lowerdir+` since 6.8 (the caller falls back to [`mount_overlay_legacy`]).

use std::ffi::CString;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, MountPropagationFlags, MoveMountFlags,
    OpenTreeFlags, UnmountFlags,
};

use crate::aside::Aside;
use crate::error::{Context, SysError};

/// Attributes of one mount.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Attributes {
    /// Bits to set.
    pub set: u64,
    /// Bits to clear.
    pub clear: u64,
}

/// `MOUNT_ATTR_RDONLY`.
pub const READ_ONLY: u64 = 0x1;
/// `MOUNT_ATTR_NOSUID`.
pub const NO_SUID: u64 = 0x2;
/// `MOUNT_ATTR_NODEV`.
pub const NO_DEV: u64 = 0x4;
/// `MOUNT_ATTR_NOEXEC`.
pub const NO_EXEC: u64 = 0x8;
/// `MOUNT_ATTR_NOATIME`.
pub const NO_ATIME: u64 = 0x10;
/// `MOUNT_ATTR_STRICTATIME`.
pub const STRICT_ATIME: u64 = 0x20;
/// `MOUNT_ATTR__ATIME`: the bits that hold the access-time mode.
pub const ATIME_MASK: u64 = 0x70;
/// `MOUNT_ATTR_NODIRATIME`.
pub const NO_DIR_ATIME: u64 = 0x80;
/// `MOUNT_ATTR_NOSYMFOLLOW`.
pub const NO_SYMLINK_FOLLOW: u64 = 0x0020_0000;

/// Makes a detached mount of a new file system.
///
/// `source` is a device, or a name for people. `options` are `(key, value)`; an empty value is a
/// flag.
///
/// # Errors
/// The failed option by name, or the mount itself.
pub fn new_filesystem(
    kind: &str,
    source: &str,
    options: &[(&str, &str)],
    attributes: u64,
) -> Result<OwnedFd, SysError> {
    let context = rustix::mount::fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC).on("open", kind)?;
    // Best effort: /proc/mounts then shows a source as Docker's mounts have it.
    let _ = rustix::mount::fsconfig_set_string(context.as_fd(), "source", source);
    for (key, value) in options {
        let set = match *value {
            "" => rustix::mount::fsconfig_set_flag(context.as_fd(), *key),
            value => rustix::mount::fsconfig_set_string(context.as_fd(), *key, value),
        };
        set.map_err(|errno| {
            SysError::new("set option", format!("{key}={value} of {kind}"), errno)
        })?;
    }
    rustix::mount::fsconfig_create(context.as_fd()).on("mount", kind)?;
    finish(context, kind, attributes)
}

/// Makes a detached overlay mount from directories given by descriptor, topmost first.
///
/// # Errors
/// `EINVAL` where the kernel does not know `lowerdir+` (before 6.8).
pub fn new_overlay(
    lowers: &[OwnedFd],
    upper_and_work: Option<(BorrowedFd<'_>, BorrowedFd<'_>)>,
    flags: &[&str],
) -> Result<OwnedFd, SysError> {
    let context =
        rustix::mount::fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC).on("open", "overlay")?;
    let _ = rustix::mount::fsconfig_set_string(context.as_fd(), "source", "overlay");
    let path_of = |fd: BorrowedFd<'_>| format!("/proc/self/fd/{}", fd.as_raw_fd());
    // Descriptors as option values came with 6.13; the magic link works since 6.8.
    for lower in lowers {
        let path = path_of(lower.as_fd());
        rustix::mount::fsconfig_set_string(context.as_fd(), "lowerdir+", path.as_str())
            .on("add lower directory of", "overlay")?;
    }
    if let Some((upper, work)) = upper_and_work {
        rustix::mount::fsconfig_set_string(context.as_fd(), "upperdir", path_of(upper).as_str())
            .on("set upper directory of", "overlay")?;
        rustix::mount::fsconfig_set_string(context.as_fd(), "workdir", path_of(work).as_str())
            .on("set work directory of", "overlay")?;
    }
    for flag in flags {
        let set = match flag.split_once('=') {
            Some((key, value)) => rustix::mount::fsconfig_set_string(context.as_fd(), key, value),
            None => rustix::mount::fsconfig_set_flag(context.as_fd(), *flag),
        };
        set.map_err(|errno| SysError::new("set option", format!("{flag} of overlay"), errno))?;
    }
    rustix::mount::fsconfig_create(context.as_fd()).on("mount", "overlay")?;
    finish(context, "overlay", 0)
}

/// Mounts an overlay on a path by mount(2), for kernels before 6.8. `data` is the option string,
/// with lower directories relative to the working directory (it must fit a page).
///
/// # Errors
/// The kernel's answer.
pub fn mount_overlay_legacy(target: &str, data: &str) -> Result<(), SysError> {
    let data = CString::new(data).on_nul("overlay options")?;
    rustix::mount::mount(
        "overlay",
        target,
        "overlay",
        MountFlags::empty(),
        Some(data.as_c_str()),
    )
    .on("mount overlay on", target)
}

fn finish(context: OwnedFd, kind: &str, attributes: u64) -> Result<OwnedFd, SysError> {
    // MOUNT_ATTR_* below 2^32 are what fsmount takes.
    let attributes = MountAttrFlags::from_bits_retain(attributes as u32);
    rustix::mount::fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, attributes)
        .on("make mount of", kind)
}

/// A detached clone of the mount beneath `fd` (with `recursive`, of those below it too).
///
/// # Errors
/// `EINVAL` where `fd` lives in another mount namespace.
pub fn clone_tree(fd: impl AsFd, recursive: bool) -> Result<OwnedFd, SysError> {
    let mut flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_EMPTY_PATH;
    if recursive {
        flags |= OpenTreeFlags::AT_RECURSIVE;
    }
    rustix::mount::open_tree(fd.as_fd(), "", flags).on("clone mount of", "descriptor")
}

/// Changes attributes of a mount (with `recursive`, of the mounts below it too).
///
/// # Errors
/// `ENOSYS` before kernel 5.12.
pub fn set_attributes(
    mount: impl AsFd,
    attributes: Attributes,
    recursive: bool,
) -> Result<(), SysError> {
    mount_setattr(mount.as_fd(), attributes, 0, recursive).on("set attributes of", "mount")
}

/// Changes the propagation of a mount.
///
/// # Errors
/// `ENOSYS` before kernel 5.12.
pub fn set_propagation(
    mount: impl AsFd,
    propagation: MountPropagationFlags,
    recursive: bool,
) -> Result<(), SysError> {
    let bits = u64::from(propagation.bits());
    mount_setattr(mount.as_fd(), Attributes::default(), bits, recursive)
        .on("set propagation of", "mount")
}

#[repr(C)]
struct MountAttr {
    attr_set: u64,
    attr_clr: u64,
    propagation: u64,
    userns_fd: u64,
}

fn mount_setattr(
    mount: BorrowedFd<'_>,
    attributes: Attributes,
    propagation: u64,
    recursive: bool,
) -> Result<(), Errno> {
    let attr = MountAttr {
        attr_set: attributes.set,
        attr_clr: attributes.clear,
        propagation,
        userns_fd: 0,
    };
    let flags = libc::AT_EMPTY_PATH | if recursive { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: the path is an empty C string, `attr` lives through the call and its size is passed.
    // WHY: rustix has no mount_setattr. Kernel 5.12; needs CAP_SYS_ADMIN.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            flags,
            &raw const attr,
            size_of::<MountAttr>(),
        )
    };
    crate::process::check(result).map(drop)
}

/// Attaches a detached mount at the place that `target` refers to (an `O_PATH` descriptor).
///
/// # Errors
/// `ENOTDIR` where one is a directory and the other is not.
pub fn attach(mount: impl AsFd, target: impl AsFd) -> Result<(), SysError> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    rustix::mount::move_mount(mount.as_fd(), "", target.as_fd(), "", flags)
        .on("attach mount to", "target")
}

/// Lets go of the mount at a path, and of those below it.
///
/// # Errors
/// `EINVAL` where nothing is mounted.
pub fn detach(path: &std::path::Path) -> Result<(), SysError> {
    rustix::mount::unmount(path, UnmountFlags::DETACH).on("let go of", path.display())
}

/// Cuts the mounts of this namespace off from the host's: nothing made here shows there.
/// With `slave`, what the host mounts later still arrives.
///
/// # Errors
/// The kernel's answer.
pub fn isolate_namespace(slave: bool) -> Result<(), SysError> {
    let kind = if slave {
        MountPropagationFlags::DOWNSTREAM
    } else {
        MountPropagationFlags::PRIVATE
    };
    rustix::mount::mount_change("/", kind | MountPropagationFlags::REC).on("isolate mounts of", "/")
}

/// A root that was left, of which another process lets go: the kernel makes it wait for every processor.
/// Paths from the new root do not meet it; the next program must not start before it is gone.
#[derive(Debug)]
pub struct OldRoot(Option<Aside>);

impl OldRoot {
    /// Waits until it is gone.
    ///
    /// # Errors
    /// Where it stays.
    pub fn wait(self) -> Result<(), SysError> {
        let gone = self.0.map_or(Ok(()), Aside::finish);
        gone.on("let go of", "old root")
    }
}

/// Makes the directory `root` the root of this mount namespace and begins to let go of the old one.
///
/// # Errors
/// `EINVAL` where the current root is the initramfs.
pub fn pivot(root: impl AsFd) -> Result<OldRoot, SysError> {
    let old = crate::atomic::open_directory(std::path::Path::new("/"))?;
    rustix::process::fchdir(root).on("enter", "root file system")?;
    // The old root is stacked beneath the new one, so that no directory is needed for it.
    rustix::process::pivot_root(".", ".").on("pivot to", "root file system")?;
    rustix::process::fchdir(&old).on("enter", "old root")?;
    rustix::mount::mount_change(
        ".",
        MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC,
    )
    .on("isolate", "old root")?;
    let let_go = || rustix::mount::unmount(c".", UnmountFlags::DETACH);
    let aside = Aside::begin(let_go).ok();
    if aside.is_none() {
        let_go().on("let go of", "old root")?;
    }
    rustix::process::chdir("/").on("enter", "/")?;
    Ok(OldRoot(aside))
}

trait OnNul<T> {
    fn on_nul(self, object: &'static str) -> Result<T, SysError>;
}

impl<T> OnNul<T> for Result<T, std::ffi::NulError> {
    fn on_nul(self, object: &'static str) -> Result<T, SysError> {
        self.map_err(|_| SysError::new("use", object, Errno::INVAL))
    }
}

/// A read-only detached clone of the file that this process runs from, open for execution.
///
/// Whoever runs from it cannot be overwritten through `/proc/PID/exe` (CVE-2019-5736): opening that
/// for writing answers `EROFS`.
///
/// # Errors
/// `ENOSYS`, `EPERM` where the kernel or the caller may not; the caller then runs the file itself.
pub fn read_only_executable() -> Result<OwnedFd, SysError> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let tree = rustix::mount::open_tree(rustix::fs::CWD, "/proc/self/exe", flags)
        .on("clone", "our executable")?;
    set_attributes(
        &tree,
        Attributes {
            set: READ_ONLY,
            clear: 0,
        },
        false,
    )?;
    Ok(tree)
}

/// Takes over a raw descriptor number inherited by agreement (such as a job's).
///
/// # Errors
/// `EBADF` where it is not open.
pub fn inherited(number: i32) -> Result<OwnedFd, SysError> {
    // SAFETY: F_GETFD on any number is harmless; it only tells whether it is open.
    // WHY: an inherited number cannot be had as a typed descriptor.
    let flags = unsafe { libc::fcntl(number, libc::F_GETFD) };
    crate::process::check(i64::from(flags)).on("inherit", number)?;
    // SAFETY: the number is open, and by agreement nobody else in this process owns it.
    let fd = unsafe { OwnedFd::from_raw_fd(number) };
    rustix::io::fcntl_setfd(&fd, rustix::io::FdFlags::CLOEXEC).on("inherit", number)?;
    Ok(fd)
}
