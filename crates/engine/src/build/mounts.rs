//! `RUN --mount`: what is mounted while a program runs, and nothing of which stays.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use build::graph::{CacheMount, MountKind, Run, SecretMount, Sharing};
use build::key::digest_of_parts;
use build::solve::Work;
use runtime::spec::Mount;
use rustix::fs::{CWD, Gid, Mode, OFlags, Uid};
use sys::lock::Lock;
use sys::rootfs::Dir;
use sys::{Context, SysError};

use super::copy::{Copying, Times};
use super::files::{Files, Owners};
use super::run::{RunMount, bind};
use super::steps::StepDirectory;
use super::worker::{BuildWorker, Tree};
use crate::error::EngineError;

/// Private caches of one name.
const PRIVATE_MAX: usize = 64;

/// Kept as long as the program runs.
#[derive(Default)]
pub(crate) struct Held {
    locks: Vec<Lock>,
    /// Files with secrets, in memory.
    secrets: Option<PathBuf>,
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(path) = &self.secrets {
            let _ = std::fs::remove_dir_all(path);
        }
        self.locks.clear();
    }
}

impl BuildWorker<'_> {
    /// The mounts of a program and the variables that come with them.
    pub(crate) fn run_mounts(
        &self,
        work: &Work<'_, Self>,
        run: &Run,
        directory: &StepDirectory,
        held: &mut Held,
    ) -> Result<(Vec<RunMount>, Vec<String>), EngineError> {
        let mut mounts: Vec<RunMount> = Vec::new();
        let mut env = Vec::new();
        let mut trees = work.inputs.iter().skip(1);
        let mut number = 0;
        for mount in &run.mounts {
            let tree = match mount.step() {
                Some(_) => trees.next(),
                None => None,
            };
            let target = mount.target.as_str();
            match &mount.kind {
                MountKind::Bind {
                    source,
                    is_writable,
                    ..
                } => {
                    let tree =
                        tree.ok_or_else(|| EngineError::conflict("a mount has no source"))?;
                    mounts.push(self.bind_mount(
                        work,
                        tree,
                        number,
                        source,
                        target,
                        *is_writable,
                        directory,
                    )?);
                }
                MountKind::Cache(cache) => {
                    let mount = self.cache_mount(work, tree, number, cache, target, held)?;
                    mounts.push(mount.into());
                }
                MountKind::Tmpfs { size_bytes } => mounts.push(tmpfs(target, *size_bytes).into()),
                MountKind::Secret(secret) => {
                    self.secret(secret, target, held, &mut mounts, &mut env)?;
                }
                MountKind::Ssh(ssh) => match self.inputs.ssh.get(&ssh.id) {
                    Some(socket) => {
                        mounts.push(bind(socket, target, false).into());
                        env.push(format!("SSH_AUTH_SOCK={target}"));
                    }
                    None if ssh.is_required => {
                        return Err(EngineError::invalid(format!(
                            "unset ssh forward key {}: give it with --ssh {}",
                            ssh.id, ssh.id
                        )));
                    }
                    None => {}
                },
                MountKind::File { data, mode } => {
                    let path = directory.directory.join(format!("file-{}", mounts.len()));
                    write_file(&path, data, *mode, (0, 0))?;
                    mounts.push(bind(&path, target, true).into());
                }
            }
            number += usize::from(tree.is_some());
        }
        // Parents before what is below them.
        mounts.sort_by_key(|one| Path::new(&one.mount.destination).components().count());
        Ok((mounts, env))
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "the parts of one mount, from two places"
    )]
    fn bind_mount(
        &self,
        work: &Work<'_, Self>,
        tree: &Tree,
        number: usize,
        source: &str,
        target: &str,
        is_writable: bool,
        directory: &StepDirectory,
    ) -> Result<RunMount, EngineError> {
        let subpath = super::files::clean(source).join("/");
        let layers = self.mountable(work, tree, number)?;
        let mount = Mount {
            destination: target.to_owned(),
            kind: "image".to_owned(),
            source: source.to_owned(),
            subpath,
            ..Mount::default()
        };
        if !is_writable {
            return Ok(RunMount {
                mount: Mount {
                    options: vec!["ro".to_owned()],
                    ..mount
                },
                layers: Some(layers),
            });
        }
        // Writes go to an upper directory that nobody looks at.
        let own = directory.directory.join(format!("bind-{number}"));
        let (upper, scratch) = (own.join("upper"), own.join("work"));
        for path in [&own, &upper, &scratch] {
            rustix::fs::mkdir(path, Mode::from_raw_mode(0o755)).on("create", path.display())?;
        }
        Ok(RunMount {
            mount: Mount {
                options: vec![
                    format!("upperdir={}", upper.display()),
                    format!("workdir={}", scratch.display()),
                ],
                ..mount
            },
            layers: Some(layers),
        })
    }

    fn cache_mount(
        &self,
        work: &Work<'_, Self>,
        tree: Option<&Tree>,
        number: usize,
        cache: &CacheMount,
        target: &str,
        held: &mut Held,
    ) -> Result<Mount, EngineError> {
        let name = digest_of_parts([cache.id.as_bytes()]);
        let base = self.engine.store().path("cache/mounts").join(name.hex());
        make(&base, 0o700)?;
        let _ = std::fs::write(base.join("id"), &cache.id);
        let directory = match cache.sharing {
            Sharing::Shared => base.join("shared"),
            Sharing::Locked => {
                // One after the other, and those who share wait for nobody.
                held.locks.push(Lock::acquire(&base.join("shared.lock"))?);
                base.join("shared")
            }
            Sharing::Private => self.private_cache(&base, held)?,
        };
        let data = directory.join("data");
        if !data.exists() {
            self.new_cache(work, tree, number, cache, &directory)?;
        }
        let now = [sys::host::boot_id()];
        let _ = std::fs::write(directory.join("used"), now.concat());
        Ok(bind(&data, target, cache.is_read_only))
    }

    fn private_cache(&self, base: &Path, held: &mut Held) -> Result<PathBuf, EngineError> {
        for number in 0..PRIVATE_MAX {
            let lock = base.join(format!("private-{number}.lock"));
            if let Some(lock) = Lock::try_acquire(&lock)? {
                held.locks.push(lock);
                return Ok(base.join(format!("private-{number}")));
            }
        }
        Err(EngineError::conflict(format!(
            "{PRIVATE_MAX} builds use private caches of one name already"
        )))
    }

    /// A new cache appears whole.
    fn new_cache(
        &self,
        work: &Work<'_, Self>,
        tree: Option<&Tree>,
        number: usize,
        cache: &CacheMount,
        directory: &Path,
    ) -> Result<(), EngineError> {
        make(directory, 0o700)?;
        // Steps of one build may make the same one at once.
        let fresh = directory.join(format!("new-{}", self.unique_name()));
        make(&fresh, 0o755)?;
        if let Some(tree) = tree {
            self.fill_cache(work, tree, number, cache, &fresh)?;
        }
        let fd = sys::atomic::open_directory(&fresh)?;
        rustix::fs::fchown(
            &fd,
            Some(Uid::from_raw(cache.uid)),
            Some(Gid::from_raw(cache.gid)),
        )
        .on("set the owner of", "a cache mount")?;
        rustix::fs::fchmod(&fd, Mode::from_raw_mode(cache.mode & 0o7777))
            .on("set the mode of", "a cache mount")?;
        let data = directory.join("data");
        match rustix::fs::renameat_with(CWD, &fresh, CWD, &data, rustix::fs::RenameFlags::NOREPLACE)
        {
            Ok(()) => Ok(()),
            // Another build was faster.
            Err(rustix::io::Errno::EXIST) => {
                let _ = std::fs::remove_dir_all(&fresh);
                Ok(())
            }
            Err(errno) => Err(SysError::new("rename", fresh.display().to_string(), errno).into()),
        }
    }

    /// What a new cache holds at first.
    fn fill_cache(
        &self,
        work: &Work<'_, Self>,
        tree: &Tree,
        number: usize,
        cache: &CacheMount,
        fresh: &Path,
    ) -> Result<(), EngineError> {
        let layers = self.mountable(work, tree, number)?;
        let root = self.mount_for_reading(&layers)?;
        let files = Files {
            root,
            ignore: None,
            owners: Owners::Keep,
            memo: None,
        };
        let target = Dir::open(fresh).map_err(SysError::from)?;
        let mut copying = Copying::new(&target, None, None, Times::Kept(0));
        for one in files.select(&cache.source, &[], false)? {
            copying.copy(&files, &one, "/")?;
        }
        Ok(())
    }

    fn secret(
        &self,
        secret: &SecretMount,
        target: &str,
        held: &mut Held,
        mounts: &mut Vec<RunMount>,
        env: &mut Vec<String>,
    ) -> Result<(), EngineError> {
        let Some(value) = self.inputs.secrets.get(&secret.id) else {
            return match secret.is_required {
                true => Err(EngineError::invalid(format!(
                    "secret {}: not found: give it with --secret id={}",
                    secret.id, secret.id
                ))),
                false => Ok(()),
            };
        };
        let value = value.read()?;
        if let Some(name) = &secret.env {
            let text = String::from_utf8(value.clone()).map_err(|_| {
                EngineError::invalid(format!("secret {} is no text for a variable", secret.id))
            })?;
            env.push(format!("{name}={text}"));
        }
        if secret.is_file {
            let directory = self.secret_directory(held)?;
            let path = directory.join(format!("secret-{}", mounts.len()));
            write_file(&path, &value, secret.mode, (secret.uid, secret.gid))?;
            mounts.push(bind(&path, target, true).into());
        }
        Ok(())
    }

    /// In the run root, which is memory: a secret never reaches the disk.
    fn secret_directory(&self, held: &mut Held) -> Result<PathBuf, EngineError> {
        if let Some(path) = &held.secrets {
            return Ok(path.clone());
        }
        let path = self.engine.store().run_root().join(self.unique_name());
        rustix::fs::mkdir(&path, Mode::from_raw_mode(0o700)).on("create", path.display())?;
        held.secrets = Some(path.clone());
        Ok(path)
    }
}

fn tmpfs(target: &str, size_bytes: u64) -> Mount {
    let mut options = vec!["nosuid".to_owned(), "nodev".to_owned()];
    if size_bytes > 0 {
        options.push(format!("size={size_bytes}"));
    }
    Mount {
        destination: target.to_owned(),
        kind: "tmpfs".to_owned(),
        source: "tmpfs".to_owned(),
        options,
        ..Mount::default()
    }
}

fn make(path: &Path, mode: u32) -> Result<(), EngineError> {
    match rustix::fs::mkdir(path, Mode::from_raw_mode(mode)) {
        Ok(()) | Err(rustix::io::Errno::EXIST) => Ok(()),
        Err(errno) => Err(SysError::new("create", path.display().to_string(), errno).into()),
    }
}

fn write_file(path: &Path, data: &[u8], mode: u32, owner: (u32, u32)) -> Result<(), EngineError> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    let fd: OwnedFd = rustix::fs::openat(CWD, path, flags, Mode::from_raw_mode(0o600))
        .on("create", path.display())?;
    let mut rest = data;
    while !rest.is_empty() {
        let count = rustix::io::write(&fd, rest).on("write", path.display())?;
        rest = &rest[count..];
    }
    rustix::fs::fchown(
        &fd,
        Some(Uid::from_raw(owner.0)),
        Some(Gid::from_raw(owner.1)),
    )
    .on("set the owner of", path.display())?;
    rustix::fs::fchmod(&fd, Mode::from_raw_mode(mode)).on("set the mode of", path.display())?;
    Ok(())
}
