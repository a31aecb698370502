//! What the command line of `build` asks for.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};

use engine::Engine;
use engine::build::{
    BuildRequest, ContextDirectory, Inputs, NamedContext, Network, NoCache, SecretSource, Wanted,
};
use types::platform::Platform;
use types::reference::Reference;

use crate::flags::{Invocation, Matches, parse_ulimit};

/// A Dockerfile may be so long.
const DOCKERFILE_BYTES_MAX: u64 = 8 << 20;
const IGNORE_BYTES_MAX: u64 = 8 << 20;

/// A build, and what is odd about how it was asked for.
pub(crate) struct Asked {
    pub(crate) build: BuildRequest,
    pub(crate) warnings: Vec<String>,
}

/// Reads flags, Dockerfile and ignore file.
pub(crate) fn request(engine: &Engine, invocation: &Invocation) -> Result<Asked, String> {
    let _ = engine;
    let matches = &invocation.matches;
    let mut warnings = Vec::new();
    let mut build = BuildRequest {
        wanted: wanted(matches)?,
        target: matches.get_str("target").to_owned(),
        pulls_always: matches.get_bool("pull"),
        labels: labels(matches.get_list("label")),
        no_cache: no_cache(matches),
        network: network(matches.get_str("network"))?,
        shm_bytes: u64::try_from(matches.get_bytes("shm-size")).unwrap_or(0),
        cgroup_parent: matches.get_str("cgroup-parent").to_owned(),
        build_arguments: build_arguments(matches.get_list("build-arg")),
        ..BuildRequest::default()
    };
    for text in matches.get_list("tag") {
        let tag = Reference::parse_normalized(text)
            .map_err(|error| format!("invalid tag {text:?}: {error}"))?;
        if tag.digest().is_some() {
            return Err(format!("invalid tag {text:?}: it has a digest"));
        }
        build.tags.push(tag);
    }
    for text in matches.get_list("platform") {
        let platform = Platform::parse(text).map_err(|error| format!("{text}: {error}"))?;
        build.platforms.push(platform.normalised());
    }
    for text in matches.get_list("add-host") {
        let (name, address) = text
            .split_once(['=', ':'])
            .ok_or_else(|| format!("invalid --add-host {text:?}"))?;
        build.hosts.push((name.to_owned(), address.to_owned()));
    }
    for text in matches.get_list("ulimit") {
        build.ulimits.push(parse_ulimit(text)?);
    }
    for text in matches.get_list("output") {
        output(text)?;
    }
    contexts(matches, &mut build, &mut warnings)?;
    build.inputs.keeps_mtimes = matches.get_bool("keep-mtimes");
    secrets(matches, &mut build.inputs)?;
    Ok(Asked { build, warnings })
}

fn wanted(matches: &Matches) -> Result<Wanted, String> {
    let call = matches
        .get_str("call")
        .split(',')
        .next()
        .unwrap_or_default();
    match call {
        "check" | "lint" => Ok(Wanted::Check),
        "build" | "" if matches.get_bool("check") => Ok(Wanted::Check),
        "build" | "" if matches.get_bool("explain") => Ok(Wanted::Explanation),
        "build" | "" => Ok(Wanted::Image),
        other => Err(format!(
            "--call={other} is not built yet: it is build or check"
        )),
    }
}

fn no_cache(matches: &Matches) -> NoCache {
    match matches.get_list("no-cache-filter") {
        _ if matches.get_bool("no-cache") => NoCache::All,
        [] => NoCache::Never,
        stages => NoCache::Stages(stages.to_vec()),
    }
}

fn network(name: &str) -> Result<Network, String> {
    match name {
        "" | "default" | "bridge" => Ok(Network::Default),
        "none" => Ok(Network::None),
        "host" => Ok(Network::Host),
        other => Err(format!(
            "network mode {other:?} is not supported by build: it is default, none or host"
        )),
    }
}

fn labels(given: &[String]) -> BTreeMap<String, String> {
    let pair = |text: &String| {
        let (key, value) = text.split_once('=').unwrap_or((text, ""));
        (key.to_owned(), value.to_owned())
    };
    given.iter().map(pair).collect()
}

/// A name without value has the value of the environment, if it has one.
fn build_arguments(given: &[String]) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    if let Ok(epoch) = std::env::var("SOURCE_DATE_EPOCH") {
        all.insert("SOURCE_DATE_EPOCH".to_owned(), epoch);
    }
    for text in given {
        match text.split_once('=') {
            Some((name, value)) => all.insert(name.to_owned(), value.to_owned()),
            None => match std::env::var(text) {
                Ok(value) => all.insert(text.clone(), value),
                Err(_) => None,
            },
        };
    }
    all
}

fn output(text: &str) -> Result<(), String> {
    let kind = text.split(',').find_map(|part| part.strip_prefix("type="));
    match kind {
        Some("docker" | "image") if !text.contains("dest=") && !text.contains("push=true") => {
            Ok(())
        }
        _ => Err(format!(
            "--output {text} is not built yet: type=docker and type=image work, and save writes archives"
        )),
    }
}

/// The context, its Dockerfile and its ignore file.
fn contexts(
    matches: &Matches,
    build: &mut BuildRequest,
    warnings: &mut Vec<String>,
) -> Result<(), String> {
    let context = matches.args.first().map_or("", String::as_str);
    let file = matches.get_str("file");
    if context == "-" {
        if file == "-" {
            return Err(
                "invalid argument: can't use stdin for both build context and dockerfile".into(),
            );
        }
        build.dockerfile = read_stdin()?;
        build.dockerfile_name = "Dockerfile".into();
    } else {
        if is_remote(context) {
            return Err(format!(
                "{context}: contexts from the network are not built yet"
            ));
        }
        let directory = std::fs::canonicalize(context).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => {
                format!("unable to prepare context: path {context:?} not found")
            }
            _ => format!("unable to prepare context: {context}: {error}"),
        })?;
        if !directory.is_dir() {
            return Err(format!(
                "unable to prepare context: {context:?} is no directory"
            ));
        }
        read_dockerfile(&directory, file, build)?;
        let path = dockerfile_path(&directory, file);
        build.ignore = read_ignore(&directory, path.as_deref(), warnings)?;
        build.inputs.contexts.insert(
            String::new(),
            ContextDirectory {
                path: directory,
                is_remembered: true,
            },
        );
    }
    for text in matches.get_list("build-context") {
        named_context(text, build)?;
    }
    Ok(())
}

fn is_remote(context: &str) -> bool {
    ["http://", "https://", "git://", "git@", "ssh://"]
        .iter()
        .any(|prefix| context.starts_with(prefix))
        || context.starts_with("github.com/")
}

fn dockerfile_path(directory: &Path, file: &str) -> Option<PathBuf> {
    match file {
        "-" => None,
        "" => Some(directory.join("Dockerfile")),
        // As Docker: from where the user is.
        given => Some(PathBuf::from(given)),
    }
}

fn read_dockerfile(directory: &Path, file: &str, build: &mut BuildRequest) -> Result<(), String> {
    let Some(mut path) = dockerfile_path(directory, file) else {
        build.dockerfile = read_stdin()?;
        build.dockerfile_name = "Dockerfile".into();
        return Ok(());
    };
    if file.is_empty() && !path.exists() {
        let lower = directory.join("dockerfile");
        if lower.exists() {
            path = lower;
        }
    }
    build.dockerfile_name = path.file_name().map_or_else(
        || "Dockerfile".into(),
        |name| name.to_string_lossy().into_owned(),
    );
    build.dockerfile = engine::build::read_limited(&path, DOCKERFILE_BYTES_MAX).map_err(
        |error| match error.kind() {
            std::io::ErrorKind::NotFound => format!(
                "failed to solve: failed to read dockerfile: open {}: no such file or directory",
                build.dockerfile_name
            ),
            _ => format!("failed to read dockerfile: {}: {error}", path.display()),
        },
    )?;
    Ok(())
}

fn read_stdin() -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let limited = std::io::stdin().lock();
    limited
        .take(DOCKERFILE_BYTES_MAX + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| format!("cannot read standard input: {error}"))?;
    // An archive: gzip, bzip2, xz, zstd, or a tar header.
    let is_compressed = [&b"\x1f\x8b"[..], b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd"]
        .iter()
        .any(|magic| bytes.starts_with(magic));
    if is_compressed || bytes.get(257..262) == Some(b"ustar") {
        return Err("a context from an archive on standard input is not built yet".into());
    }
    if bytes.len() as u64 > DOCKERFILE_BYTES_MAX {
        return Err("the Dockerfile on standard input is too long".into());
    }
    Ok(bytes)
}

/// `<Dockerfile>.dockerignore` beside the Dockerfile, else the context's `.dockerignore`.
fn read_ignore(
    directory: &Path,
    dockerfile: Option<&Path>,
    warnings: &mut Vec<String>,
) -> Result<Vec<String>, String> {
    let own = dockerfile.map(|path| {
        let mut name = path.as_os_str().to_owned();
        name.push(".dockerignore");
        PathBuf::from(name)
    });
    let general = directory.join(".dockerignore");
    for path in own.into_iter().chain([general]) {
        match engine::build::read_limited(&path, IGNORE_BYTES_MAX) {
            Ok(bytes) => {
                return engine::build::parse_ignore(&bytes)
                    .map_err(|error| format!("{}: {error}", path.display()));
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(format!("{}: {error}", path.display())),
        }
    }
    let names: Vec<String> = std::fs::read_dir(directory)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect();
    if let Some(name) = engine::build::misspelt_ignore(names.iter().map(String::as_str)) {
        warnings.push(format!(
            "[Warning] {name} is not read: did you mean .dockerignore?"
        ));
    }
    Ok(Vec::new())
}

fn named_context(text: &str, build: &mut BuildRequest) -> Result<(), String> {
    let (name, value) = text
        .split_once('=')
        .ok_or_else(|| format!("invalid build context {text:?}: it is name=value"))?;
    let name = name.to_owned();
    let context = if let Some(image) = value.strip_prefix("docker-image://") {
        NamedContext::Image(image.to_owned())
    } else if let Some(target) = value.strip_prefix("target:") {
        NamedContext::Target(target.to_owned())
    } else if value.starts_with("oci-layout://") || is_remote(value) {
        return Err(format!("--build-context {text} is not built yet"));
    } else {
        let path = std::fs::canonicalize(value)
            .map_err(|error| format!("--build-context {name}: {value}: {error}"))?;
        let ignore = read_ignore(&path, None, &mut Vec::new())?;
        build.context_ignores.insert(name.clone(), ignore);
        build.inputs.contexts.insert(
            name.clone(),
            ContextDirectory {
                path,
                is_remembered: true,
            },
        );
        NamedContext::Local
    };
    build.named_contexts.insert(name, context);
    Ok(())
}

fn secrets(matches: &Matches, inputs: &mut Inputs) -> Result<(), String> {
    for text in matches.get_list("secret") {
        let mut fields: BTreeMap<&str, &str> = BTreeMap::new();
        for field in text.split(',') {
            let (key, value) = field.split_once('=').unwrap_or((field, ""));
            fields.insert(key, value);
        }
        let id = fields
            .get("id")
            .ok_or_else(|| format!("invalid secret {text:?}: it has no id"))?;
        let source = fields.get("src").or(fields.get("source"));
        let kind = fields.get("type").copied().unwrap_or_default();
        let variable = match (fields.get("env"), kind) {
            (Some(name), _) => Some((*name).to_owned()),
            (None, "env") => Some(source.unwrap_or(id).to_string()),
            (None, _) if source.is_none() && std::env::var_os(id).is_some() => {
                Some((*id).to_owned())
            }
            (None, _) => None,
        };
        let secret = match variable {
            Some(name) => {
                use std::os::unix::ffi::OsStringExt;
                let value = std::env::var_os(&name)
                    .ok_or_else(|| format!("secret {id}: the variable {name} is not set"))?;
                SecretSource::Bytes(value.into_vec())
            }
            None => {
                let path = source.copied().unwrap_or(id);
                if !Path::new(path).exists() {
                    return Err(format!("secret {id}: {path}: no such file or directory"));
                }
                SecretSource::File(path.into())
            }
        };
        inputs.secrets.insert((*id).to_owned(), secret);
    }
    for text in matches.get_list("ssh") {
        let (id, path) = text.split_once('=').unwrap_or((text, ""));
        let socket = match path {
            "" => std::env::var("SSH_AUTH_SOCK")
                .map_err(|_| "--ssh: SSH_AUTH_SOCK is not set".to_owned())?,
            given => given.to_owned(),
        };
        inputs.ssh.insert(id.to_owned(), socket.into());
    }
    Ok(())
}
