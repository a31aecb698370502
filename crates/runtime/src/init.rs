//! What the child does between clone and exec: one straight list.
//!
//! ```text
//! monitor                                   child (pid 1 of the container)
//!   clone3(new namespaces) ───────────────▶ 1 not traceable; own session
//!                                           2 join namespaces of others
//!                                           3 take sources of bind mounts, isolate mounts
//!                                           4 attach root, mounts, devices
//!                                           5 terminal ── "T" + master fd ──▶ monitor
//!   "G" = groups made ────────────────────▶ 6 wait for "G"; join groups; cgroup namespace, mounts
//!                                           7 sysctls, host name, loopback
//!                                           8 hooks; pivot, mask, protect
//!                                           9 user, working directory, limits
//!                                          10 capabilities, seccomp, exec
//!   EOF = running ◀──────────────────────── exec closes the channel
//!   "F" + reason  ◀──────────────────────── or any step failed
//! ```
//! The process was cloned from a single-threaded one, so that allocating here is sound.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Dev, FileType, Mode, OFlags};
use sys::mount::{self, Attributes};
use sys::process::{self, CStrings};
use sys::rootfs::Dir;
use sys::{Context, SysError};

use crate::capabilities::CapSet;
use crate::cgroup::Begun;
use crate::failure::Failure;
use crate::launch::Launch;
use crate::spec::{Device, Mount, NamespaceKind, Process, Spec};
use crate::{console, kernel_parameters, limits, mounts, program, rootfs, seccomp, users};

/// What the child got from its parent besides the launch itself.
pub(crate) struct Inherited<'a> {
    pub(crate) channel: BorrowedFd<'a>,
    pub(crate) stdio: Option<[BorrowedFd<'a>; 3]>,
    /// The container's control groups, into whose v2 part the process was cloned.
    pub(crate) cgroup: &'a Begun,
    /// Controller name and host path of the container's directory, one per hierarchy.
    pub(crate) hierarchies: &'a [(String, std::path::PathBuf)],
    pub(crate) seccomp: Option<&'a seccomp::Program>,
    /// Namespaces of others to join, already open.
    pub(crate) join: &'a [(NamespaceKind, OwnedFd)],
    /// Where its layers arrive, as in [`crate::Ahead`].
    pub(crate) root: Option<BorrowedFd<'a>>,
}

/// Runs the list; returns only with the reason why the program does not run.
pub(crate) fn run(launch: &Launch, inherited: &Inherited<'_>) -> Failure {
    match prepare_and_execute(launch, inherited) {
        Ok(never) => match never {},
        Err(failure) => failure,
    }
}

enum Never {}

fn prepare_and_execute(launch: &Launch, inherited: &Inherited<'_>) -> Result<Never, Failure> {
    let spec = &launch.spec;
    process::set_dumpable(false)?;
    rustix::process::setsid().ok();
    for (kind, namespace) in inherited.join {
        if *kind != NamespaceKind::Pid {
            process::join_namespaces(namespace, kind.clone_flag())?;
        }
    }

    let (late, early): (Vec<Mount>, Vec<Mount>) = spec
        .mounts
        .iter()
        .cloned()
        .partition(|mount| mount.kind == "cgroup");
    let room = limits::make_room(early.len())?;
    let mut prepared = mounts::prepare(&early)?;
    mount::isolate_namespace(false)?;
    mounts::take_images(&mut prepared, &launch.staging)?;
    let root = rootfs::mount_root(launch, inherited.root)?;
    let attached = attach_all(prepared, &root)?;
    limits::give_back(room)?;
    let slave = match inherited.stdio {
        Some(_) => None,
        None => Some(open_console(spec, &root, &attached, inherited.channel)?),
    };
    make_devices(spec, &root, attached.dev.as_ref(), slave.as_ref())?;
    close_dev(&early, attached.dev.as_ref())?;

    wait_for_go(inherited.channel)?;
    inherited
        .cgroup
        .join_rest()
        .map_err(|error| Failure::setup(crate::start::chain(&error)))?;
    if spec.linux.makes(NamespaceKind::Cgroup) {
        process::unshare(NamespaceKind::Cgroup.clone_flag())?;
    }
    for mount in &late {
        mount_cgroups(mount, &root, inherited.hierarchies)?;
    }
    if let Some(proc) = attached.proc.as_ref() {
        kernel_parameters::write(spec, proc)?;
        kernel_parameters::set_oom_score(&spec.process, proc)?;
    }
    let has_network = |(kind, _): &(NamespaceKind, OwnedFd)| *kind == NamespaceKind::Network;
    if spec.linux.makes(NamespaceKind::Network) && !inherited.join.iter().any(has_network) {
        sys::loopback::bring_up()?;
    }
    set_names(spec)?;
    crate::hooks::run(launch)?;
    let old_root = mount::pivot(root.as_fd())?;
    close_root(spec, &root)?;
    drop(attached);

    let user = users::resolve_in(&root, &launch.user)?;
    let directory = working_directory(&root, &spec.process.cwd)?;
    if let Some(slave) = &slave {
        take_terminal(slave, user.uid)?;
    } else if let Some(stdio) = inherited.stdio {
        own_streams(&stdio, user.uid)?;
        process::replace_stdio(stdio)?;
    }
    old_root.wait()?;
    confine_and_execute(&Confinement {
        process: &spec.process,
        user,
        directory: directory.as_fd(),
        seccomp: inherited.seccomp,
        init: launch.init,
    })
}

/// Mounts that later steps use.
struct Attached {
    proc: Option<OwnedFd>,
    /// A /dev of the container's own.
    dev: Option<OwnedFd>,
    devpts: Option<OwnedFd>,
}

fn attach_all(prepared: Vec<mounts::Prepared<'_>>, root: &Dir) -> Result<Attached, Failure> {
    let mut attached = Attached {
        proc: None,
        dev: None,
        devpts: None,
    };
    for one in prepared {
        let kind = one.mount.kind.clone();
        let is_dev = mounts::is_own_dev(one.mount);
        let tree = mounts::attach(one, root)?;
        match kind.as_str() {
            "proc" => attached.proc = Some(tree),
            "devpts" => attached.devpts = Some(tree),
            _ if is_dev => {
                link_standard_names(&tree)?;
                attached.dev = Some(tree);
            }
            _ => {}
        }
    }
    Ok(attached)
}

/// Makes a /dev that was asked for read-only (`--tmpfs /dev:ro`) so, now that it is filled.
fn close_dev(mounts: &[Mount], dev: Option<&OwnedFd>) -> Result<(), Failure> {
    let mount = mounts.iter().rev().find(|mount| mounts::is_own_dev(mount));
    let (Some(mount), Some(dev)) = (mount, dev) else {
        return Ok(());
    };
    let set = mounts::parse_options(&mount.options).attributes.set & mount::READ_ONLY;
    if set != 0 {
        mount::set_attributes(dev, Attributes { set, clear: 0 }, false)?;
    }
    Ok(())
}

fn link_standard_names(dev: &OwnedFd) -> Result<(), Failure> {
    let links = [
        ("/proc/self/fd", "fd"),
        ("/proc/self/fd/0", "stdin"),
        ("/proc/self/fd/1", "stdout"),
        ("/proc/self/fd/2", "stderr"),
        ("/proc/kcore", "core"),
        ("pts/ptmx", "ptmx"),
    ];
    for (target, name) in links {
        rustix::fs::symlinkat(target, dev, name).on("link", name)?;
    }
    Ok(())
}

fn open_console(
    spec: &Spec,
    root: &Dir,
    attached: &Attached,
    channel: BorrowedFd<'_>,
) -> Result<OwnedFd, Failure> {
    let size = spec.process.console_size;
    let console = match &attached.devpts {
        Some(devpts) => console::open(devpts, size)?,
        // Somebody else's /dev (`-v /dev:/dev`) brings its own.
        None => console::open(console::find_devpts(root)?, size)?,
    };
    sys::socket::send(channel, b"T", &[console.master.as_fd()]).on("hand over", "terminal")?;
    Ok(console.slave)
}

fn make_devices(
    spec: &Spec,
    root: &Dir,
    dev: Option<&OwnedFd>,
    slave: Option<&OwnedFd>,
) -> Result<(), Failure> {
    // mknod obeys the umask; what was asked for counts.
    let umask = rustix::process::umask(Mode::empty());
    for device in &spec.linux.devices {
        match (device.path.strip_prefix("/dev/"), dev) {
            (Some(name), Some(dev)) if !name.contains('/') => {
                make_device_in(dev.as_fd(), name.as_ref(), device)?;
            }
            // Somebody else's /dev (`-v /dev:/dev`) has its nodes already.
            (Some(_), None) => {}
            _ => make_device(root, device)?,
        }
    }
    rustix::process::umask(umask);
    if let (Some(slave), Some(_)) = (slave, dev) {
        let target = root
            .create_file_for_mount(Path::new("/dev/console"))
            .map_err(|error| Failure::setup(error.to_string()))?;
        mount::attach(mount::clone_tree(slave, false)?, target)?;
    }
    Ok(())
}

fn make_device(root: &Dir, device: &Device) -> Result<(), Failure> {
    let path = Path::new(&device.path);
    let describe = |error: sys::rootfs::RootError| {
        Failure::setup(format!("cannot make device {}: {error}", device.path))
    };
    if let Some(parent) = path.parent() {
        root.mkdir_all(parent, 0o755).map_err(describe)?;
    }
    let (parent, name) = root.open_parent(path).map_err(describe)?;
    make_device_in(parent.as_fd(), &name, device)?;
    let made = rustix::fs::statat(&parent, &name, AtFlags::SYMLINK_NOFOLLOW)
        .on("look at device", &device.path)?;
    let number = rustix::fs::makedev(device.major, device.minor);
    // What lies in our own /dev is ours.
    if !path.starts_with("/dev") && device.kind != "p" && made.st_rdev != number {
        return Err(Failure::setup(format!(
            "cannot make device {0}: the image has something else at {0}; choose another path in the container",
            device.path
        )));
    }
    Ok(())
}

fn make_device_in(
    parent: BorrowedFd<'_>,
    name: &std::ffi::OsStr,
    device: &Device,
) -> Result<(), Failure> {
    let kind = match device.kind.as_str() {
        "b" => FileType::BlockDevice,
        "p" => FileType::Fifo,
        _ => FileType::CharacterDevice,
    };
    let mode = Mode::from_raw_mode(device.file_mode);
    let number: Dev = rustix::fs::makedev(device.major, device.minor);
    match rustix::fs::mknodat(parent, name, kind, mode, number) {
        // Left by an earlier start on a root that is not ours to clear.
        Err(rustix::io::Errno::EXIST) => return Ok(()),
        other => other.on("make device", &device.path)?,
    }
    if (device.uid, device.gid) != (0, 0) {
        let (uid, gid) = (
            rustix::fs::Uid::from_raw(device.uid),
            rustix::fs::Gid::from_raw(device.gid),
        );
        rustix::fs::chownat(
            parent,
            name,
            Some(uid),
            Some(gid),
            AtFlags::SYMLINK_NOFOLLOW,
        )
        .on("chown", &device.path)?;
    }
    Ok(())
}

fn wait_for_go(channel: BorrowedFd<'_>) -> Result<(), Failure> {
    let mut byte = [0u8; 8];
    match sys::socket::receive(channel, &mut byte) {
        Ok((1, _)) if byte[0] == b'G' => Ok(()),
        // The monitor is gone: nobody would watch this container.
        _ => Err(Failure::setup(
            "the monitor ended before the container was ready",
        )),
    }
}

/// cgroup v1 as Docker shows it: a tmpfs with a directory per hierarchy, each the container's own.
/// On pure v2 the one hierarchy is mounted itself.
fn mount_cgroups(
    mount: &Mount,
    root: &Dir,
    hierarchies: &[(String, std::path::PathBuf)],
) -> Result<(), Failure> {
    let describe = |error: sys::rootfs::RootError| Failure::setup(error.to_string());
    let read_only = mount.options.iter().any(|option| option == "ro");
    let base = mount::NO_SUID | mount::NO_DEV | mount::NO_EXEC;
    let attributes = if read_only {
        base | mount::READ_ONLY
    } else {
        base
    };
    let target = root
        .mkdir_all(Path::new(&mount.destination), 0o755)
        .map_err(describe)?;
    if let [(name, path)] = hierarchies
        && name.is_empty()
    {
        let tree = clone_directory(path, attributes)?;
        return Ok(mount::attach(tree, &target)?);
    }
    let tmpfs = mount::new_filesystem("tmpfs", "tmpfs", &[("mode", "755")], base)?;
    for (name, path) in hierarchies {
        rustix::fs::mkdirat(&tmpfs, name.as_str(), Mode::from_raw_mode(0o755)).on("make", name)?;
        for alias in name
            .split(',')
            .filter(|alias| name.contains(',') && !alias.is_empty())
        {
            rustix::fs::symlinkat(name.as_str(), &tmpfs, alias).on("link", alias)?;
        }
        let _ = path;
    }
    mount::attach(&tmpfs, &target)?;
    for (name, path) in hierarchies {
        let flags = OFlags::PATH | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let place =
            rustix::fs::openat(&tmpfs, name.as_str(), flags, Mode::empty()).on("open", name)?;
        mount::attach(clone_directory(path, attributes)?, place)?;
    }
    if read_only {
        mount::set_attributes(
            &tmpfs,
            Attributes {
                set: mount::READ_ONLY,
                clear: 0,
            },
            false,
        )?;
    }
    Ok(())
}

fn clone_directory(path: &Path, attributes: u64) -> Result<OwnedFd, SysError> {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let directory =
        rustix::fs::openat(CWD, path, flags, Mode::empty()).on("open", path.display())?;
    let tree = mount::clone_tree(directory, false)?;
    mount::set_attributes(
        &tree,
        Attributes {
            set: attributes,
            clear: 0,
        },
        false,
    )?;
    Ok(tree)
}

fn set_names(spec: &Spec) -> Result<(), Failure> {
    if !spec.linux.makes(NamespaceKind::Uts) {
        return Ok(());
    }
    if !spec.hostname.is_empty() {
        rustix::system::sethostname(spec.hostname.as_bytes())
            .on("set host name", &spec.hostname)?;
    }
    if !spec.domainname.is_empty() {
        rustix::system::setdomainname(spec.domainname.as_bytes())
            .on("set domain name", &spec.domainname)?;
    }
    Ok(())
}

fn close_root(spec: &Spec, root: &Dir) -> Result<(), Failure> {
    if !spec.linux.masked_paths.is_empty() {
        let null = mounts::null_device(root)?;
        mounts::mask(root, &spec.linux.masked_paths, &null)?;
    }
    mounts::make_read_only(root, &spec.linux.readonly_paths)?;
    if spec.root.readonly {
        let attributes = Attributes {
            set: mount::READ_ONLY,
            clear: 0,
        };
        mount::set_attributes(root.as_fd(), attributes, false)?;
    }
    Ok(())
}

/// Opens the working directory, making it where it is missing, without following magic links: a
/// directory of the host behind one of our descriptors cannot be meant (CVE-2024-21626).
pub(crate) fn working_directory(root: &Dir, path: &str) -> Result<OwnedFd, Failure> {
    let path = if path.is_empty() { "/" } else { path };
    let made = match root.open_dir(Path::new(path)) {
        Ok(directory) => Ok(directory),
        Err(_) => root.mkdir_all(Path::new(path), 0o755),
    };
    made.map_err(|error| Failure::setup(no_working_directory(path, &error)))
}

/// In the reference runtime's words, which scripts know.
pub(crate) fn no_working_directory(path: &str, error: &sys::rootfs::RootError) -> String {
    let reason = match error.errno {
        rustix::io::Errno::NOENT => "no such file or directory".to_owned(),
        rustix::io::Errno::NOTDIR => "not a directory".to_owned(),
        rustix::io::Errno::ACCESS => "permission denied".to_owned(),
        rustix::io::Errno::LOOP => {
            "it leads through a link of /proc, or too many links, which are not followed; name a directory of the image"
                .to_owned()
        }
        _ => error.to_string(),
    };
    format!("chdir to cwd ({path:?}) set in config.json failed: {reason}")
}

/// The process's session gets the terminal, its streams are the terminal's, and the user owns it.
pub(crate) fn take_terminal(slave: &OwnedFd, uid: u32) -> Result<(), Failure> {
    rustix::process::ioctl_tiocsctty(slave).on("take", "terminal")?;
    rustix::fs::fchown(slave, Some(rustix::fs::Uid::from_raw(uid)), None).on("own", "terminal")?;
    process::replace_stdio([slave.as_fd(), slave.as_fd(), slave.as_fd()])?;
    Ok(())
}

/// `/dev/stdout` can only be opened again by the owner of the pipe behind it.
pub(crate) fn own_streams(stdio: &[BorrowedFd<'_>; 3], uid: u32) -> Result<(), Failure> {
    for stream in stdio {
        let stat = rustix::fs::fstat(stream).on("read", "stream")?;
        if FileType::from_raw_mode(stat.st_mode) == FileType::Fifo && stat.st_uid != uid {
            rustix::fs::fchown(stream, Some(rustix::fs::Uid::from_raw(uid)), None)
                .on("own", "stream")?;
        }
    }
    Ok(())
}

/// The last steps, which `run` and `exec` share.
pub(crate) struct Confinement<'a> {
    pub(crate) process: &'a Process,
    pub(crate) user: users::ResolvedUser,
    pub(crate) directory: BorrowedFd<'a>,
    pub(crate) seccomp: Option<&'a seccomp::Program>,
    pub(crate) init: bool,
}

/// Drops everything that the process shall not have, and executes it.
pub(crate) fn confine_and_execute<T>(confinement: &Confinement<'_>) -> Result<T, Failure> {
    let Confinement {
        process,
        user,
        directory,
        seccomp,
        init,
    } = confinement;
    rustix::process::fchdir(directory).on("enter", &process.cwd)?;
    let seen = rustix::process::getcwd(Vec::new()).on("read", "working directory")?;
    if !seen.to_bytes().starts_with(b"/") {
        return Err(Failure::setup(
            "the working directory is outside the container",
        ));
    }
    let keep = match &process.capabilities {
        Some(sets) => CapSet::of_names(&sets.bounding),
        None => CapSet(process::bounding_set()),
    };
    set_limits(process)?;
    let environment = with_home(process, user);
    let arguments = CStrings::new(&process.args)?;
    let environment_c = CStrings::new(&environment)?;
    let init_file = if *init { Some(init_program()?) } else { None };

    process::close_from_on_exec(3)?;
    process::limit_bounding_set(keep.0)?;
    process::clear_ambient_capabilities();
    // Without no_new_privs a filter needs CAP_SYS_ADMIN, so that it comes before that is dropped.
    if !process.no_new_privileges
        && let Some(program) = seccomp
    {
        install_filter(program)?;
    }
    process::keep_capabilities(false)?;
    process::set_user(user.uid, user.gid, &user.groups)?;
    if let Some(umask) = process.user.umask {
        rustix::process::umask(Mode::from_raw_mode(umask));
    }
    match user.uid {
        0 => process::set_capabilities(keep.0, keep.0, 0)?,
        _ => process::set_capabilities(0, 0, 0)?,
    }
    if process.no_new_privileges {
        process::set_no_new_privileges()?;
        if let Some(program) = seccomp {
            install_filter(program)?;
        }
    }

    let name = process.args.first().map_or("", String::as_str);
    let path = program::find(name, &environment)?;
    sys::caller::reset_signals();
    let errno = match init_file {
        Some(file) => {
            let mut list = vec![b"caisson-init".to_vec(), path.to_bytes().to_vec()];
            list.extend(
                process
                    .args
                    .iter()
                    .skip(1)
                    .map(|argument| argument.clone().into_bytes()),
            );
            process::execute_fd(file, &CStrings::new(list)?, &environment_c)
        }
        None => process::execute(&path, &arguments, &environment_c),
    };
    Err(program::exec_failure(&path.to_string_lossy(), errno))
}

fn install_filter(program: &seccomp::Program) -> Result<(), SysError> {
    match process::install_seccomp(&program.instructions, program.flags) {
        // A kernel that does not know a flag.
        Err(error) if error.errno == rustix::io::Errno::INVAL && program.flags != 0 => {
            process::install_seccomp(&program.instructions, 0)
        }
        other => other,
    }
}

/// Our init as an anonymous file: the container has its own copy, and nothing of the host's to
/// write to.
fn init_program() -> Result<OwnedFd, Failure> {
    use rustix::fs::MemfdFlags;
    let file = rustix::fs::memfd_create("caisson-init", MemfdFlags::CLOEXEC).on("make", "init")?;
    let mut rest = sys::programs::INIT;
    while !rest.is_empty() {
        let written = rustix::io::write(&file, rest).on("write", "init")?;
        rest = &rest[written..];
    }
    rustix::fs::fchmod(&file, Mode::from_raw_mode(0o555)).on("chmod", "init")?;
    Ok(file)
}

fn with_home(process: &Process, user: &users::ResolvedUser) -> Vec<String> {
    let mut environment = process.env.clone();
    if !environment.iter().any(|pair| pair.starts_with("HOME=")) {
        environment.push(format!("HOME={}", user.home));
    }
    environment
}

fn set_limits(process: &Process) -> Result<(), Failure> {
    for limit in &process.rlimits {
        limits::set(limit)?;
    }
    Ok(())
}
