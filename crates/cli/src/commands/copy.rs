//! `commit`, `cp` and `export`.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use engine::container::commit::CommitOptions;
use engine::container::filesystem::{FollowLink, PathKind, pack_host, through_pipe, unpack_host};
use engine::{Engine, EngineError};
use types::reference::Reference;
use types::units::human_size_with_precision;

use super::{print_line, refuse_text};
use crate::errors;
use crate::flags::Invocation;
use crate::terminal;

/// One side of a copy.
#[derive(Debug, PartialEq, Eq)]
enum Side {
    Container(String, String),
    Host(String),
    Stream,
}

/// `CONTAINER:PATH`, unless it begins like a path of the host.
fn side(text: &str) -> Side {
    if text == "-" {
        return Side::Stream;
    }
    match text.split_once(':') {
        _ if text.starts_with('/') || text.starts_with('.') => Side::Host(text.into()),
        Some((container, path)) if !container.is_empty() => {
            Side::Container(container.into(), path.into())
        }
        _ => Side::Host(text.into()),
    }
}

pub(crate) fn cp(engine: &Engine, invocation: &Invocation) -> ExitCode {
    let matches = &invocation.matches;
    let [from, to] = matches.args.as_slice() else {
        return ExitCode::from(1);
    };
    let follow = if matches.get_bool("follow-link") {
        FollowLink::Yes
    } else {
        FollowLink::No
    };
    let archive = matches.get_bool("archive");
    let quiet = match matches.is_set("quiet") {
        true => matches.get_bool("quiet"),
        false => !terminal::is_terminal(rustix::stdio::stdout()),
    };
    let result = match (side(from), side(to)) {
        (Side::Container(..), Side::Container(..)) => {
            return plain_failure("copying between containers is not supported");
        }
        (Side::Container(key, path), Side::Stream) => {
            if terminal::is_terminal(rustix::stdio::stdout()) {
                return plain_failure(
                    "cowardly refusing to save to a terminal. Use the -o flag or redirect",
                );
            }
            let mut out = std::io::stdout().lock();
            engine
                .copy_from(&key, &path, follow, None, &mut out)
                .map(|_| None)
                .map_err(CopyError::from)
        }
        (Side::Stream, Side::Container(key, path)) => {
            stream_in(engine, &key, &path, to).map(|()| None)
        }
        (Side::Container(key, path), Side::Host(local)) => {
            copy_out(engine, &key, &path, &local, follow, archive).map(Some)
        }
        (Side::Host(local), Side::Container(key, path)) => {
            copy_in(engine, &local, &key, &path, follow, archive).map(Some)
        }
        _ => return plain_failure("must specify at least one container source"),
    };
    match result {
        Ok(bytes) => {
            if let (Some(bytes), false) = (bytes, quiet) {
                let to = match side(to) {
                    Side::Host(local) => absolute(&local),
                    _ => to.clone(),
                };
                let size = human_size_with_precision(bytes as f64, 3);
                errors::complain(&format!("Successfully copied {size} to {to}"));
            }
            ExitCode::SUCCESS
        }
        Err(error) => {
            match error {
                CopyError::Own(text) => errors::refuse(invocation.program, &text),
                CopyError::Engine(error) => errors::report(invocation.program, &error),
            }
            ExitCode::from(1)
        }
    }
}

/// As Docker shows a path of the host.
fn absolute(local: &str) -> String {
    let path = std::path::absolute(local).unwrap_or_else(|_| PathBuf::from(local));
    types::lexical_path::clean(&path.to_string_lossy())
}

fn plain_failure(text: &str) -> ExitCode {
    errors::complain(text);
    ExitCode::from(1)
}

/// Why nothing was copied: in the words of the command line, or of the engine.
enum CopyError {
    Own(String),
    Engine(EngineError),
}

impl From<EngineError> for CopyError {
    fn from(error: EngineError) -> Self {
        Self::Engine(error)
    }
}

impl CopyError {
    fn own(text: impl Into<String>) -> Self {
        Self::Own(text.into())
    }
}

fn copy_out(
    engine: &Engine,
    key: &str,
    source: &str,
    local: &str,
    follow: FollowLink,
    archive: bool,
) -> Result<u64, CopyError> {
    // Asked first, so that a wrong name leaves nothing behind.
    engine.container(key)?;
    let kind = engine.path_kind(key, source)?;
    let contents_only = source.ends_with("/.") || source == ".";
    let base = source.trim_end_matches("/.").trim_end_matches('/');
    let own_name = base
        .rsplit('/')
        .next()
        .filter(|name| !name.is_empty())
        .unwrap_or("/");
    let target = Path::new(local);
    let (directory, name) = destination(target, local, kind, own_name, contents_only)?;
    let caller = (
        rustix::process::getuid().as_raw(),
        rustix::process::getgid().as_raw(),
    );
    let owner = if archive { None } else { Some(caller) };
    // With a new name for a directory its contents go there.
    let source = match &name {
        None if kind == Some(PathKind::Directory) && !contents_only => format!("{base}/."),
        _ => source.to_string(),
    };
    through_pipe(
        |writer| engine.copy_from(key, &source, follow, name.as_deref(), writer),
        |reader| unpack_host(&directory, owner, reader),
    )
    .map_err(CopyError::from)
}

/// Where a copy goes on the host: the directory, and the name in it (`None`: the contents go into
/// the directory itself, which is made if missing).
fn destination(
    target: &Path,
    typed: &str,
    kind: Option<PathKind>,
    own_name: &str,
    contents_only: bool,
) -> Result<(PathBuf, Option<String>), CopyError> {
    let missing_parent = |path: &Path| {
        CopyError::own(format!(
            "invalid output path: directory {:?} does not exist",
            path.display().to_string()
        ))
    };
    if target.is_dir() {
        let name = if contents_only || own_name == "/" {
            None
        } else {
            Some(own_name.to_string())
        };
        return Ok((target.to_path_buf(), name));
    }
    let parent = match target.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_path_buf(),
        _ => PathBuf::from("."),
    };
    if !parent.is_dir() {
        return Err(missing_parent(&parent));
    }
    if kind == Some(PathKind::Directory) {
        if target.exists() {
            return Err(CopyError::own("cannot copy directory"));
        }
        std::fs::create_dir(target)
            .map_err(|error| CopyError::own(format!("cannot make {typed}: {error}")))?;
        return Ok((target.to_path_buf(), None));
    }
    if typed.ends_with('/') {
        return Err(missing_parent(target));
    }
    let name = target
        .file_name()
        .map(|name| name.to_string_lossy().into_owned());
    Ok((parent, name))
}

fn copy_in(
    engine: &Engine,
    local: &str,
    key: &str,
    target: &str,
    follow: FollowLink,
    archive: bool,
) -> Result<u64, CopyError> {
    engine.container(key)?;
    let contents_only = local.ends_with("/.") || local == ".";
    let mut path = PathBuf::from(local);
    let link = std::fs::symlink_metadata(&path).map_err(|error| {
        let reason = if error.kind() == std::io::ErrorKind::NotFound {
            "no such file or directory"
        } else {
            "cannot be read"
        };
        CopyError::own(format!("lstat {local}: {reason}"))
    })?;
    if link.is_symlink() && (follow == FollowLink::Yes || local.ends_with('/')) {
        path = std::fs::canonicalize(&path)
            .map_err(|error| CopyError::own(format!("cannot follow {local}: {error}")))?;
    }
    let is_directory = std::fs::symlink_metadata(&path).is_ok_and(|stat| stat.is_dir());
    let own_name = std::fs::canonicalize(&path)
        .ok()
        .filter(|_| local == "." || local.ends_with('/') || local.ends_with("/.."))
        .and_then(|full| {
            full.file_name()
                .map(|name| name.to_string_lossy().into_owned())
        })
        .or_else(|| {
            Path::new(local)
                .file_name()
                .map(|name| name.to_string_lossy().into_owned())
        })
        .unwrap_or_default();
    let (directory, name) =
        container_destination(engine, key, target, is_directory, &own_name, contents_only)?;
    through_pipe(
        |writer| pack_host(&path, &name, writer),
        |reader| engine.copy_to(key, &directory, archive, reader),
    )
    .map_err(CopyError::from)
}

fn container_destination(
    engine: &Engine,
    key: &str,
    target: &str,
    is_directory: bool,
    own_name: &str,
    contents_only: bool,
) -> Result<(String, String), CopyError> {
    let full = format!("/{}", target.trim_start_matches('/'));
    let trimmed = match full.trim_end_matches("/.").trim_end_matches('/') {
        "" => "/",
        other => other,
    };
    let (parent, last) = trimmed.rsplit_once('/').unwrap_or(("", trimmed));
    let parent = if parent.is_empty() { "/" } else { parent };
    match engine.path_kind(key, trimmed)? {
        Some(PathKind::Directory) if contents_only => Ok((trimmed.into(), String::new())),
        Some(PathKind::Directory) => Ok((trimmed.into(), own_name.into())),
        Some(PathKind::File) if is_directory => Err(CopyError::own("cannot copy directory")),
        Some(PathKind::File) if target.ends_with('/') => Err(CopyError::own("not a directory")),
        Some(PathKind::File) => Ok((parent.into(), last.into())),
        None => match engine.path_kind(key, parent)? {
            Some(PathKind::Directory) if is_directory || !target.ends_with('/') => {
                Ok((parent.into(), last.into()))
            }
            Some(PathKind::Directory) => Err(CopyError::own("no such directory")),
            _ => Err(CopyError::Engine(EngineError::invalid(format!(
                "Could not find the file {parent} in container {key}"
            )))),
        },
    }
}

/// Unpacks what comes from standard input in a directory of a container.
fn stream_in(engine: &Engine, key: &str, path: &str, to: &str) -> Result<(), CopyError> {
    match engine.path_kind(key, path)? {
        Some(PathKind::Directory) => Ok(engine.copy_archive_to(key, path, std::io::stdin())?),
        _ => Err(CopyError::own(format!(
            "destination {to:?} must be a directory"
        ))),
    }
}

pub(crate) fn commit(engine: &Engine, invocation: &Invocation) -> ExitCode {
    let matches = &invocation.matches;
    let key = matches.args.first().map_or("", String::as_str);
    let name = matches.args.get(1);
    let reference = match name.map(|text| Reference::parse_normalized(text)) {
        None => None,
        Some(Ok(reference)) => Some(reference),
        Some(Err(error)) => return plain_failure(&error.to_string()),
    };
    let options = CommitOptions {
        reference,
        changes: matches.get_list("change").to_vec(),
        author: matches.get_str("author").to_string(),
        message: matches.get_str("message").to_string(),
        pauses: matches.get_bool("pause") && !matches.get_bool("no-pause"),
    };
    match engine.commit(key, &options) {
        Ok(id) => {
            print_line(&id.to_string());
            ExitCode::SUCCESS
        }
        Err(error) => {
            errors::report(invocation.program, &error);
            ExitCode::from(1)
        }
    }
}

pub(crate) fn export(engine: &Engine, invocation: &Invocation) -> ExitCode {
    let matches = &invocation.matches;
    let key = matches.args.first().map_or("", String::as_str);
    let path = matches.get_str("output");
    if path.is_empty() && terminal::is_terminal(rustix::stdio::stdout()) {
        return plain_failure(
            "cowardly refusing to save to a terminal. Use the -o flag or redirect",
        );
    }
    if let Err(text) = check_output(path) {
        return refuse_text(invocation, &format!("failed to export container: {text}"));
    }
    let result = if path.is_empty() {
        engine.export(key, &mut std::io::stdout().lock())
    } else {
        to_file(path, |file| engine.export(key, file))
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            errors::report(invocation.program, &error);
            ExitCode::from(1)
        }
    }
}

/// Whether an archive can be written there, in Docker's words where not. No path is standard output.
pub(crate) fn check_output(path: &str) -> Result<(), String> {
    let target = Path::new(path);
    if target.is_dir() {
        return Err("cannot write to a directory".into());
    }
    let Some(parent) = target.parent().filter(|it| !it.as_os_str().is_empty()) else {
        return Ok(());
    };
    let invalid = |cause: &str| {
        Err(format!(
            "invalid output path: stat {}: {cause}",
            parent.display()
        ))
    };
    match std::fs::metadata(parent) {
        Ok(found) if found.is_dir() => Ok(()),
        Ok(_) => invalid("not a directory"),
        Err(error) => invalid(&crate::cause::cause(&error)),
    }
}

/// Writes a file whole or not at all: beside its place first, then renamed.
pub(crate) fn to_file(
    path: &str,
    write: impl FnOnce(&mut dyn Write) -> Result<(), EngineError>,
) -> Result<(), EngineError> {
    let fail = |error: std::io::Error| {
        EngineError::invalid(format!("open {path}: {}", crate::cause::cause(&error)))
    };
    let target = Path::new(path);
    // A device or a pipe is written to directly.
    if target.exists() && !target.is_file() {
        let mut file = std::fs::OpenOptions::new()
            .write(true)
            .open(target)
            .map_err(fail)?;
        return write(&mut file);
    }
    let temporary = PathBuf::from(format!("{path}.caisson-{}", std::process::id()));
    let written = std::fs::File::create(&temporary)
        .map_err(fail)
        .and_then(|file| {
            let mut buffered = std::io::BufWriter::with_capacity(1 << 20, file);
            write(&mut buffered)?;
            buffered.flush().map_err(fail)?;
            std::fs::rename(&temporary, target).map_err(fail)
        });
    if written.is_err() {
        let _ = std::fs::remove_file(&temporary);
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_colon_makes_a_container_unless_the_text_begins_like_a_path() {
        assert_eq!(
            side("web:/etc"),
            Side::Container("web".into(), "/etc".into())
        );
        assert_eq!(side("./a:b"), Side::Host("./a:b".into()));
        assert_eq!(side("/a:b"), Side::Host("/a:b".into()));
        assert_eq!(side("-"), Side::Stream);
        assert_eq!(side("file"), Side::Host("file".into()));
    }

    #[test]
    fn an_archive_goes_where_there_is_a_place_for_a_file() {
        let of = |path: &str| check_output(path).err().unwrap_or_default();
        assert_eq!(of(""), "");
        assert_eq!(of("file"), "");
        assert_eq!(of("/dev/null"), "");
        assert_eq!(of("/proc"), "cannot write to a directory");
        assert_eq!(
            of("/nosuch/x"),
            "invalid output path: stat /nosuch: no such file or directory"
        );
        assert_eq!(
            of("/dev/null/x"),
            "invalid output path: stat /dev/null: not a directory"
        );
    }
}
