//! `develop.watch`: files of this machine that change, and what follows.
//!
//! One inotify descriptor; a watch for each directory beneath the paths of the rules, less what all
//! rules ignore. Changes are gathered until nothing happens for [`QUIET`], so that one action answers
//! an editor's many little writes. Called by `compose watch` and `up --watch`.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use ::compose::model::{Hook, Project, Service, WatchTrigger};
use build::ignore::Matcher;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify;
use sys::Context;

use crate::Engine;
use crate::container::filesystem::{Access, pack_host, through_pipe};
use crate::error::EngineError;

/// So long nothing happens before a change is acted on.
const QUIET: Duration = Duration::from_millis(200);
/// Who changes files all the time is not waited for longer.
const BATCH_TIME_MAX: Duration = Duration::from_secs(5);
/// The kernel's own limit is lower on most machines.
const DIRECTORIES_MAX: usize = 500_000;
const FILES_MAX: usize = 1_000_000;
const IGNORE_BYTES_MAX: u64 = 8 << 20;
/// What editors leave for a moment, and what no container wants.
const EPHEMERAL: [&str; 9] = [
    "**/.git",
    "**/.idea",
    "**/*~",
    "**/.*.sw[a-z]",
    "**/4913",
    "**/.#*",
    "**/#*#",
    "**/*___jb_*___",
    "**/.*.kate-swp",
];

/// What a change does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WatchAction {
    /// Build the image and make its containers anew.
    Rebuild,
    /// Restart containers.
    Restart,
    /// Copy what changed.
    Sync,
    /// Copy, then restart.
    SyncRestart,
    /// Copy, then run a command in the containers.
    SyncExec,
}

impl WatchAction {
    /// Whether files are copied.
    pub fn syncs(self) -> bool {
        matches!(self, Self::Sync | Self::SyncRestart | Self::SyncExec)
    }
}

/// One rule of a service.
#[derive(Debug)]
pub struct WatchRule {
    /// The service.
    pub service: String,
    /// What happens.
    pub action: WatchAction,
    /// A file or directory.
    pub path: PathBuf,
    /// The command of [`WatchAction::SyncExec`].
    pub exec: Hook,
    /// Files are copied at the beginning too.
    pub initial_sync: bool,
    target: String,
    include: Option<Matcher>,
    /// Patterns with the directory that they are relative to.
    ignore: Vec<(PathBuf, Matcher)>,
}

/// The rules of a project's services, and what is odd about them.
///
/// # Errors
/// A rule that cannot be obeyed, by name.
pub fn watch_rules(project: &Project) -> Result<(Vec<WatchRule>, Vec<String>), EngineError> {
    let mut rules = Vec::new();
    let mut warnings = Vec::new();
    for (name, service) in &project.services {
        let triggers = service.develop.iter().flat_map(|develop| &develop.watch);
        for trigger in triggers {
            let rule = rule(name, service, trigger)?;
            if rule.action.syncs() && is_mounted(&rule.path, service) {
                warnings.push(format!(
                    "path '{}' also declared by a bind mount volume, this path won't be monitored!",
                    trigger.path
                ));
                continue;
            }
            rules.push(rule);
        }
    }
    Ok((rules, warnings))
}

fn rule(name: &str, service: &Service, trigger: &WatchTrigger) -> Result<WatchRule, EngineError> {
    let action = match trigger.action.as_str() {
        "rebuild" if service.build.is_none() => {
            return Err(EngineError::invalid(format!(
                "can't watch service {name:?} with action rebuild without a build context"
            )));
        }
        "rebuild" => WatchAction::Rebuild,
        "restart" => WatchAction::Restart,
        "sync" => WatchAction::Sync,
        "sync+restart" => WatchAction::SyncRestart,
        "sync+exec" if trigger.exec.command.as_ref().is_none_or(Vec::is_empty) => {
            return Err(EngineError::invalid(format!(
                "can't watch with action \"sync+exec\" on service {name} without a command"
            )));
        }
        "sync+exec" => WatchAction::SyncExec,
        other => {
            return Err(EngineError::invalid(format!(
                "services.{name}.develop.watch: the action {other:?} is not known: it is rebuild, \
                 restart, sync, sync+restart or sync+exec"
            )));
        }
    };
    let path = PathBuf::from(&trigger.path);
    let compile = |patterns: &[String]| {
        Matcher::new(patterns).map_err(|error| {
            EngineError::invalid(format!("services.{name}.develop.watch: {error}"))
        })
    };
    let ephemeral: Vec<String> = EPHEMERAL.iter().map(|text| (*text).to_owned()).collect();
    let mut ignore = vec![
        (path.clone(), compile(&trigger.ignore)?),
        (path.clone(), compile(&ephemeral)?),
    ];
    if let Some(build) = &service.build {
        let context = PathBuf::from(&build.context);
        let file = context.join(".dockerignore");
        if let Ok(bytes) = crate::build::read_limited(&file, IGNORE_BYTES_MAX) {
            let patterns = build::ignore::parse(&bytes)
                .map_err(|error| EngineError::invalid(format!("{}: {error}", file.display())))?;
            let context = std::fs::canonicalize(&context).unwrap_or(context);
            ignore.push((context, compile(&patterns)?));
        }
    }
    Ok(WatchRule {
        service: name.to_owned(),
        action,
        path,
        exec: trigger.exec.clone(),
        initial_sync: trigger.initial_sync,
        target: trigger.target.clone(),
        include: match trigger.include.as_slice() {
            [] => None,
            patterns => Some(compile(patterns)?),
        },
        ignore,
    })
}

/// Whether a bind mount shows the path in the container anyway.
fn is_mounted(path: &Path, service: &Service) -> bool {
    let mut binds = service
        .volumes
        .iter()
        .filter(|volume| volume.kind == "bind");
    binds.any(|volume| path.starts_with(&volume.source))
}

impl WatchRule {
    /// Whether a change of this path is one of the rule.
    pub fn matches(&self, path: &Path) -> bool {
        let Ok(rest) = path.strip_prefix(&self.path) else {
            return false;
        };
        let rest = rest.as_os_str().as_bytes();
        let is_included = |include: &Matcher| rest.is_empty() || include.ignores(rest);
        self.include.as_ref().is_none_or(is_included) && !self.ignores(path)
    }

    fn ignores(&self, path: &Path) -> bool {
        self.ignore.iter().any(|(base, matcher)| {
            let rest = path
                .strip_prefix(base)
                .map(|rest| rest.as_os_str().as_bytes());
            rest.is_ok_and(|rest| !rest.is_empty() && matcher.ignores(rest))
        })
    }

    /// Whether nothing beneath a directory is of interest.
    fn ignores_all_of(&self, directory: &Path) -> bool {
        self.ignore.iter().any(|(base, matcher)| {
            let rest = directory
                .strip_prefix(base)
                .map(|rest| rest.as_os_str().as_bytes());
            rest.is_ok_and(|rest| {
                !rest.is_empty() && matcher.ignores(rest) && !matcher.may_bring_back(rest)
            })
        })
    }

    /// Where a path is in the container.
    pub fn target(&self, path: &Path) -> String {
        let rest = path.strip_prefix(&self.path).unwrap_or(Path::new(""));
        let target = self.target.trim_end_matches('/');
        match rest.as_os_str().is_empty() {
            true if target.is_empty() => "/".to_owned(),
            true => target.to_owned(),
            false => format!("{target}/{}", rest.to_string_lossy()),
        }
    }
}

/// Watches files.
pub struct FileWatch {
    inotify: OwnedFd,
    rules: Vec<WatchRule>,
    directories: BTreeMap<i32, PathBuf>,
    /// What changed and was not told yet, and since when.
    changed: BTreeSet<PathBuf>,
    begun: Option<Instant>,
    last: Option<Instant>,
}

impl FileWatch {
    /// Begins to watch.
    ///
    /// # Errors
    /// A path that is not there; more directories than the kernel watches.
    pub fn begin(rules: Vec<WatchRule>) -> Result<Self, EngineError> {
        let flags = inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK;
        let mut watch = Self {
            inotify: inotify::init(flags).on("watch", "files")?,
            rules,
            directories: BTreeMap::new(),
            changed: BTreeSet::new(),
            begun: None,
            last: None,
        };
        let paths: BTreeSet<PathBuf> = watch.rules.iter().map(|rule| rule.path.clone()).collect();
        for path in paths {
            let kind = std::fs::metadata(&path).map_err(|error| {
                EngineError::invalid(format!("cannot watch {}: {error}", path.display()))
            })?;
            match (kind.is_dir(), path.parent()) {
                (true, _) => watch.add_tree(&path, &mut |_| {})?,
                (false, Some(parent)) => watch.add(parent)?,
                (false, None) => {}
            }
        }
        Ok(watch)
    }

    /// The rules.
    pub fn rules(&self) -> &[WatchRule] {
        &self.rules
    }

    /// Readable when something happened.
    pub fn as_fd(&self) -> BorrowedFd<'_> {
        self.inotify.as_fd()
    }

    fn add(&mut self, directory: &Path) -> Result<(), EngineError> {
        let what = inotify::WatchFlags::CLOSE_WRITE
            | inotify::WatchFlags::CREATE
            | inotify::WatchFlags::MOVED_FROM
            | inotify::WatchFlags::MOVED_TO
            | inotify::WatchFlags::DELETE
            | inotify::WatchFlags::ONLYDIR
            | inotify::WatchFlags::EXCL_UNLINK;
        if self.directories.len() >= DIRECTORIES_MAX {
            return Err(EngineError::invalid(format!(
                "more than {DIRECTORIES_MAX} directories to watch: ignore some"
            )));
        }
        match inotify::add_watch(&self.inotify, directory, what) {
            Ok(number) => {
                self.directories.insert(number, directory.to_owned());
                Ok(())
            }
            // It went meanwhile, or was no directory any more.
            Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR) => Ok(()),
            Err(rustix::io::Errno::NOSPC) => Err(EngineError::invalid(format!(
                "the kernel watches no more directories than fs.inotify.max_user_watches says: \
                 ignore some, or raise it with sysctl (at {})",
                directory.display()
            ))),
            Err(errno) => {
                Err(sys::SysError::new("watch", directory.display().to_string(), errno).into())
            }
        }
    }

    /// Watches a directory and all beneath it; tells the files that are there.
    fn add_tree(&mut self, top: &Path, found: &mut dyn FnMut(PathBuf)) -> Result<(), EngineError> {
        let mut next = vec![top.to_owned()];
        let mut files = 0;
        while let Some(directory) = next.pop() {
            let of_interest = self.rules.iter().any(|rule| {
                let is_near =
                    directory.starts_with(&rule.path) || rule.path.starts_with(&directory);
                is_near && !rule.ignores_all_of(&directory)
            });
            if !of_interest {
                continue;
            }
            // First the watch, then the look: what comes between is seen twice, not missed.
            self.add(&directory)?;
            for entry in std::fs::read_dir(&directory)
                .into_iter()
                .flatten()
                .flatten()
            {
                files += 1;
                if files > FILES_MAX {
                    return Ok(());
                }
                match entry.file_type() {
                    Ok(kind) if kind.is_dir() => next.push(entry.path()),
                    Ok(_) => found(entry.path()),
                    Err(_) => {}
                }
            }
        }
        Ok(())
    }

    /// What changed, once it is quiet; empty as long as it is not. Never waits.
    ///
    /// # Errors
    /// The kernel's answer.
    pub fn poll(&mut self) -> Result<Vec<PathBuf>, EngineError> {
        self.read()?;
        let (Some(begun), Some(last)) = (self.begun, self.last) else {
            return Ok(Vec::new());
        };
        if last.elapsed() < QUIET && begun.elapsed() < BATCH_TIME_MAX {
            return Ok(Vec::new());
        }
        (self.begun, self.last) = (None, None);
        Ok(std::mem::take(&mut self.changed).into_iter().collect())
    }

    /// Waits until something happens or `wake` is readable; then [`Self::poll`].
    ///
    /// # Errors
    /// As [`Self::poll`].
    pub fn wait(&mut self, wake: Option<BorrowedFd<'_>>) -> Result<Vec<PathBuf>, EngineError> {
        let timeout = self.last.map(|_| Timespec {
            tv_sec: 0,
            tv_nsec: i64::from(QUIET.subsec_nanos()) / 2,
        });
        let mut fds = vec![PollFd::from_borrowed_fd(
            self.inotify.as_fd(),
            PollFlags::IN,
        )];
        fds.extend(wake.map(|wake| PollFd::from_borrowed_fd(wake, PollFlags::IN)));
        let _ = poll(&mut fds, timeout.as_ref());
        drop(fds);
        self.poll()
    }

    fn read(&mut self) -> Result<(), EngineError> {
        let mut space = [MaybeUninit::uninit(); 16 << 10];
        let mut seen = Vec::new();
        let mut is_lost = false;
        {
            let mut reader = inotify::Reader::new(self.inotify.as_fd(), &mut space);
            loop {
                match reader.next() {
                    Ok(event) => {
                        is_lost |= event.events().contains(inotify::ReadFlags::QUEUE_OVERFLOW);
                        let is_directory = event.events().contains(inotify::ReadFlags::ISDIR);
                        let name = event.file_name().map(|name| name.to_bytes().to_vec());
                        let is_gone = event.events().contains(inotify::ReadFlags::IGNORED);
                        seen.push((event.wd(), name, is_directory, is_gone));
                    }
                    Err(rustix::io::Errno::AGAIN) => break,
                    Err(rustix::io::Errno::INTR) => {}
                    Err(errno) => return Err(sys::SysError::new("watch", "files", errno).into()),
                }
            }
        }
        for (number, name, is_directory, is_gone) in seen {
            if is_gone {
                self.directories.remove(&number);
                continue;
            }
            let Some(path) = self
                .directories
                .get(&number)
                .zip(name)
                .map(|(directory, name)| directory.join(OsStr::from_bytes(&name)))
            else {
                continue;
            };
            if is_directory && path.is_dir() {
                self.look_again(&path)?;
            } else {
                self.note(path);
            }
        }
        if is_lost {
            let tops: BTreeSet<PathBuf> = self.rules.iter().map(|rule| rule.path.clone()).collect();
            for top in tops {
                self.look_again(&top)?;
            }
        }
        Ok(())
    }

    /// Takes a whole tree as changed.
    fn look_again(&mut self, top: &Path) -> Result<(), EngineError> {
        let mut found = Vec::new();
        self.add_tree(top, &mut |path| found.push(path))?;
        found.into_iter().for_each(|path| self.note(path));
        Ok(())
    }

    fn note(&mut self, path: PathBuf) {
        if self.rules.iter().any(|rule| rule.matches(&path)) {
            self.changed.insert(path);
            self.last = Some(Instant::now());
            self.begun.get_or_insert_with(Instant::now);
        }
    }

    /// The files of a rule that are there now.
    pub fn files_of(rule: &WatchRule) -> Vec<PathBuf> {
        let mut files = Vec::new();
        let mut next = vec![rule.path.clone()];
        while let Some(path) = next.pop() {
            if path.is_dir() && !path.is_symlink() {
                let entries = std::fs::read_dir(&path).into_iter().flatten().flatten();
                next.extend(
                    entries
                        .map(|entry| entry.path())
                        .filter(|path| !(path.is_dir() && rule.ignores_all_of(path))),
                );
            } else if rule.matches(&path) && files.len() < FILES_MAX {
                files.push(path);
            }
        }
        files.sort();
        files
    }
}

impl Engine {
    /// Brings a file of this machine into a container, or out of it where it is not there any more.
    ///
    /// # Errors
    /// A container that cannot be written to; a file that cannot be read.
    pub fn sync_file(&self, id: &str, path: &Path, target: &str) -> Result<(), EngineError> {
        if std::fs::symlink_metadata(path).is_err() {
            let mounted = self.mounted(id, Access::Write)?;
            return match mounted.root.remove_all(Path::new(target)) {
                Err(error) if !error.is_not_found() => {
                    Err(crate::error::text(&format!("remove {target}"), &error))
                }
                _ => Ok(()),
            };
        }
        let name = target.trim_start_matches('/');
        through_pipe(
            |writer| pack_host(path, name, writer),
            |reader| self.copy_to(id, "/", false, reader),
        )
        .map(|_| ())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(text: &str) -> Vec<WatchRule> {
        let service: Service = serde_json::from_str(text).unwrap();
        let mut project = Project::default();
        project.services.insert("a".to_owned(), service);
        watch_rules(&project).unwrap().0
    }

    #[test]
    fn rules_choose_paths() {
        let rules = rules(
            r#"{"develop":{"watch":[{"path":"/s","action":"sync","target":"/t/","ignore":["node_modules/","*.log"],"include":["**/*.js","node_modules"]},{"path":"/f","action":"restart"}]}}"#,
        );
        for (path, is_one) in [
            ("/s/a.js", true),
            ("/s/d/a.js", true),
            ("/s/a.css", false),
            ("/s/node_modules/x.js", false),
            ("/s/.git/x.js", false),
            ("/s/a.js~", false),
            ("/else/a.js", false),
        ] {
            assert_eq!(rules[0].matches(Path::new(path)), is_one, "{path}");
        }
        assert_eq!(rules[0].target(Path::new("/s/d/a.js")), "/t/d/a.js");
        assert!(rules[1].matches(Path::new("/f")));
        assert!(!rules[1].matches(Path::new("/fg")));
    }

    #[test]
    fn what_changes_is_told_once_it_is_quiet() {
        let directory = tempfile::tempdir().unwrap();
        let top = std::fs::canonicalize(directory.path()).unwrap();
        std::fs::create_dir(top.join("skipped")).unwrap();
        let text = format!(
            r#"{{"develop":{{"watch":[{{"path":{top:?},"action":"sync","target":"/t","ignore":["skipped"]}}]}}}}"#
        );
        let mut watch = FileWatch::begin(rules(&text)).unwrap();
        std::fs::create_dir_all(top.join("new/deep")).unwrap();
        std::fs::write(top.join("new/deep/f"), "1").unwrap();
        std::fs::write(top.join("skipped/f"), "1").unwrap();
        std::fs::write(top.join("g"), "1").unwrap();
        std::fs::remove_file(top.join("g")).unwrap();
        let mut changed = Vec::new();
        let begun = Instant::now();
        while changed.is_empty() && begun.elapsed() < Duration::from_secs(10) {
            changed = watch.wait(None).unwrap();
        }
        assert_eq!(changed, [top.join("g"), top.join("new/deep/f")]);
        assert_eq!(
            FileWatch::files_of(&watch.rules()[0]),
            [top.join("new/deep/f")]
        );
    }
}
