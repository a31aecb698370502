//! What the command line of `build` asks for.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};

use engine::Engine;
use engine::build::{
    Allowed, AllowedDevices, BuildRequest, CacheExport, ContextDirectory, Fetched, FetchedContext,
    NamedContext, Network, NoCache, SecretSource, Surroundings, Wanted, Wishes,
};
use types::platform::Platform;
use types::reference::Reference;

use crate::commands::run::with_caller;
use crate::errors;
use crate::flags::Matches;
use crate::run_flags;

/// A Dockerfile may be so long.
const DOCKERFILE_BYTES_MAX: u64 = 8 << 20;
const IGNORE_BYTES_MAX: u64 = 8 << 20;
/// Build arguments that are said to the builder, as BuildKit has them: `--cache-to type=inline`, and a
/// context from a repository with its `.git`.
const INLINE_CACHE: &str = "BUILDKIT_INLINE_CACHE";
const KEEP_GIT_DIRECTORY: &str = "BUILDKIT_CONTEXT_KEEP_GIT_DIR";

/// A build, and what is odd about how it was asked for.
pub(crate) struct Asked {
    pub(crate) build: BuildRequest,
    pub(crate) warnings: Vec<String>,
    /// Contexts that were fetched; they go with this value.
    _fetched: Vec<FetchedContext>,
}

/// What is given beside the flags.
#[derive(Clone, Debug, Default)]
pub(crate) struct Given {
    /// The Dockerfile.
    pub(crate) dockerfile: Option<Vec<u8>>,
    /// Secrets by id.
    pub(crate) secrets: BTreeMap<String, String>,
}

/// Reads flags, Dockerfile and ignore file.
pub(crate) fn request(engine: &Engine, matches: &Matches, given: Given) -> Result<Asked, String> {
    let mut warnings = Vec::new();
    run_flags::isolation(matches)?;
    let (allowed, devices) = allowed(matches.get_list("allow"))?;
    let mut build = BuildRequest {
        wanted: wanted(matches)?,
        pulls_always: matches.get_bool("pull"),
        wishes: wishes(matches, allowed)?,
        ..BuildRequest::default()
    };
    build.inputs.devices = devices;
    for text in matches.get_list("tag") {
        build.tags.push(tag(text)?);
    }
    for text in matches.get_list("platform") {
        let platform = Platform::parse(text).map_err(|error| format!("{text}: {error}"))?;
        build.platforms.push(platform.normalised());
    }
    super::outputs::read(matches, &mut build)?;
    if is_set(&build, INLINE_CACHE) && build.cache_to.is_empty() {
        build.cache_to.push(CacheExport::inline());
    }
    let mut fetched = Vec::new();
    let source = Source {
        context: matches.args.first().map_or("", String::as_str),
        file: matches.get_str("file"),
        dockerfile: match given.dockerfile {
            None => dockerfile_of_address(engine, matches.get_str("file"))?,
            given => given,
        },
    };
    main_context(engine, source, &mut build, &mut warnings, &mut fetched)?;
    for text in matches.get_list("build-context") {
        named_context(engine, text, &mut build, &mut fetched)?;
    }
    build.inputs.keeps_mtimes = matches.get_bool("keep-mtimes");
    build.inputs.keeps_failed = matches.get_bool("debug-on-failure");
    super::secrets::read(matches, &mut build.inputs)?;
    for (id, value) in given.secrets {
        let value = SecretSource::Bytes(value.into_bytes());
        build.inputs.secrets.insert(id, value);
    }
    Ok(Asked {
        build,
        warnings,
        _fetched: fetched,
    })
}

/// A name for an image.
pub(super) fn tag(text: &str) -> Result<Reference, String> {
    let tag = Reference::parse_normalized(text)
        .map_err(|error| format!("invalid tag {text:?}: {error}"))?;
    match tag.digest() {
        Some(_) => Err(format!("invalid tag {text:?}: it has a digest")),
        None => Ok(tag),
    }
}

/// What is said of steps and result.
fn wishes(matches: &Matches, allowed: Allowed) -> Result<Wishes, String> {
    let limited = super::resources::as_flags(matches)?;
    let (resources, security_options) =
        with_caller(|caller| run_flags::for_build(&limited, caller))?;
    let mut surroundings = Surroundings {
        hosts: Vec::new(),
        resources,
        shm_bytes: u64::try_from(matches.get_bytes("shm-size")).unwrap_or(0),
        cgroup_parent: matches.get_str("cgroup-parent").to_owned(),
        security_options,
    };
    for text in matches.get_list("add-host") {
        let (name, address) = text
            .split_once(['=', ':'])
            .ok_or_else(|| format!("invalid --add-host {text:?}"))?;
        let pair = (name.to_owned(), address.to_owned());
        surroundings.hosts.push(pair);
    }
    Ok(Wishes {
        build_arguments: build_arguments(matches.get_list("build-arg")),
        target: matches.get_str("target").to_owned(),
        labels: labels(matches.get_list("label")),
        no_cache: no_cache(matches),
        network: network(matches.get_str("network"))?,
        surroundings,
        allowed,
        ..Wishes::default()
    })
}

/// `--allow`: what programs may have, and which devices.
fn allowed(entitlements: &[String]) -> Result<(Allowed, AllowedDevices), String> {
    let mut allowed = Allowed::default();
    let mut devices = AllowedDevices::default();
    for entitlement in entitlements {
        match entitlement.split_once('=') {
            None if entitlement == "network.host" => allowed.host_network = true,
            None if entitlement == "security.insecure" => allowed.insecure = true,
            None if entitlement == "device" => devices.is_all = true,
            Some(("device", name)) if !name.is_empty() && !name.contains(',') => {
                devices.names.insert(name.to_owned());
            }
            _ => {
                return Err(format!(
                    "unknown entitlement {entitlement:?}: it is network.host, security.insecure, device or \
                     device=NAME"
                ));
            }
        }
    }
    Ok((allowed, devices))
}

/// `--call`.
pub(super) struct Call<'a> {
    name: &'a str,
    /// The answer is a document.
    pub(super) is_json: bool,
    /// What a check finds does not fail the command.
    pub(super) ignores_status: bool,
    /// What is none of this.
    unknown: Option<&'a str>,
}

impl<'a> Call<'a> {
    pub(super) fn of(given: &'a str) -> Self {
        let mut words = given.split(',');
        let mut call = Self {
            name: words.next().unwrap_or_default(),
            is_json: false,
            ignores_status: false,
            unknown: None,
        };
        for word in words {
            match word {
                "format=text" | "format=default" => call.is_json = false,
                "format=json" => call.is_json = true,
                "ignorestatus" | "ignorestatus=true" => call.ignores_status = true,
                "ignorestatus=false" => call.ignores_status = false,
                other => call.unknown = Some(other),
            }
        }
        call
    }
}

fn wanted(matches: &Matches) -> Result<Wanted, String> {
    let given = matches.get_str("call");
    let call = Call::of(given);
    if let Some(word) = call.unknown {
        return Err(format!(
            "--call={given}: {word} is neither format=json, format=text nor ignorestatus"
        ));
    }
    match call.name {
        "check" | "lint" => Ok(Wanted::Check),
        "outline" => Ok(Wanted::Outline),
        "targets" => Ok(Wanted::Targets),
        "build" | "" if matches.get_bool("check") => Ok(Wanted::Check),
        "build" | "" if matches.get_bool("explain") => Ok(Wanted::Explanation),
        "build" | "" => Ok(Wanted::Image),
        other => Err(format!(
            "--call={other} is unknown: it is build, check, outline or targets"
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

/// Whether a build argument says yes; what is no word of Go's for it says no.
fn is_set(build: &BuildRequest, name: &str) -> bool {
    let given = build.wishes.build_arguments.get(name);
    given.is_some_and(|value| types::go_syntax::parse_bool(value).unwrap_or(false))
}

/// Where the Dockerfile and its context are.
struct Source<'a> {
    context: &'a str,
    file: &'a str,
    dockerfile: Option<Vec<u8>>,
}

/// `-f https://…`: a Dockerfile from the network; none for a path.
fn dockerfile_of_address(engine: &Engine, file: &str) -> Result<Option<Vec<u8>>, String> {
    if !["http://", "https://"]
        .iter()
        .any(|start| file.starts_with(start))
    {
        return Ok(None);
    }
    let answer = engine.context_of_address(file, false);
    match answer.map_err(|error| errors::chain(&error))? {
        Fetched::Dockerfile(bytes) => Ok(Some(bytes)),
        Fetched::Context(_) => Err(format!("--file {file}: it is no Dockerfile")),
    }
}

/// The context, its Dockerfile and its ignore file.
fn main_context(
    engine: &Engine,
    source: Source<'_>,
    build: &mut BuildRequest,
    warnings: &mut Vec<String>,
    fetched: &mut Vec<FetchedContext>,
) -> Result<(), String> {
    let Source { context, file, .. } = source;
    if context == "-" && file == "-" {
        return Err(
            "invalid argument: can't use stdin for both build context and dockerfile".into(),
        );
    }
    let answer = match context {
        "-" => engine.context_of_stream(&mut std::io::stdin()),
        _ if is_remote(context) => {
            build.source = context.to_owned();
            engine.context_of_address(context, is_set(build, KEEP_GIT_DIRECTORY))
        }
        _ => return directory(source, build, warnings),
    };
    match answer.map_err(|error| errors::chain(&error))? {
        Fetched::Dockerfile(bytes) => {
            build.dockerfile = bytes;
            build.dockerfile_name = "Dockerfile".into();
        }
        Fetched::Context(context) => {
            let path = context.directory.path.clone();
            if let Some(dockerfile) = source.dockerfile {
                build.dockerfile = dockerfile;
                build.dockerfile_name = "Dockerfile".into();
            } else if file == "-" {
                build.dockerfile = read_stdin()?;
                build.dockerfile_name = "Dockerfile".into();
            } else {
                let name = if file.is_empty() { "Dockerfile" } else { file };
                build.dockerfile_name = name.to_owned();
                build.dockerfile =
                    engine::build::read_beneath(&path, Path::new(name), DOCKERFILE_BYTES_MAX)
                        .map_err(|error| no_dockerfile(name, &error))?;
            }
            build.wishes.ignore = fetched_ignore(&path, &build.dockerfile_name)?;
            let directory = context.directory.clone();
            build.inputs.contexts.insert(String::new(), directory);
            fetched.push(context);
        }
    }
    Ok(())
}

fn directory(
    source: Source<'_>,
    build: &mut BuildRequest,
    warnings: &mut Vec<String>,
) -> Result<(), String> {
    let context = source.context;
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
    let path = match source.dockerfile {
        Some(dockerfile) => {
            build.dockerfile = dockerfile;
            build.dockerfile_name = "Dockerfile".into();
            None
        }
        None => read_dockerfile(&directory, source.file, build)?,
    };
    build.wishes.ignore = read_ignore(&directory, path.as_deref(), warnings)?;
    build.inputs.contexts.insert(
        String::new(),
        ContextDirectory {
            path: directory,
            is_remembered: true,
            commit_s: None,
        },
    );
    Ok(())
}

fn is_remote(context: &str) -> bool {
    ["http://", "https://", "git://", "git@", "ssh://"]
        .iter()
        .any(|prefix| context.starts_with(prefix))
        || (context.starts_with("github.com/") && !Path::new(context).exists())
}

fn no_dockerfile(name: &str, error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::NotFound => format!(
            "failed to solve: failed to read dockerfile: open {name}: no such file or directory"
        ),
        _ => format!("failed to read dockerfile: {name}: {error}"),
    }
}

/// Reads the Dockerfile; returns its path where it is not from standard input.
fn read_dockerfile(
    directory: &Path,
    file: &str,
    build: &mut BuildRequest,
) -> Result<Option<PathBuf>, String> {
    let mut path = match file {
        "-" => {
            build.dockerfile = read_stdin()?;
            build.dockerfile_name = "Dockerfile".into();
            return Ok(None);
        }
        "" => directory.join("Dockerfile"),
        // As Docker: from where the user is.
        given => PathBuf::from(given),
    };
    if file.is_empty() && !path.exists() && directory.join("dockerfile").exists() {
        path = directory.join("dockerfile");
    }
    build.dockerfile_name = path.file_name().map_or_else(
        || "Dockerfile".into(),
        |name| name.to_string_lossy().into_owned(),
    );
    // One that the user names may be the end of a pipe: `-f <(generate)`.
    let read = match file {
        "" => engine::build::read_limited,
        _ => engine::build::read_any_limited,
    };
    build.dockerfile = read(&path, DOCKERFILE_BYTES_MAX)
        .map_err(|error| no_dockerfile(&build.dockerfile_name, &error))?;
    Ok(Some(path))
}

fn read_stdin() -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let limited = std::io::stdin().lock();
    limited
        .take(DOCKERFILE_BYTES_MAX + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| format!("cannot read standard input: {error}"))?;
    match bytes.len() as u64 > DOCKERFILE_BYTES_MAX {
        true => Err("the Dockerfile on standard input is too long".into()),
        false => Ok(bytes),
    }
}

/// The ignore file of a context that somebody else made.
fn fetched_ignore(directory: &Path, dockerfile: &str) -> Result<Vec<String>, String> {
    for name in [format!("{dockerfile}.dockerignore"), ".dockerignore".into()] {
        let read = engine::build::read_beneath(directory, Path::new(&name), IGNORE_BYTES_MAX);
        match read {
            Ok(bytes) => {
                return engine::build::parse_ignore(&bytes).map_err(|error| error.located(&name));
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(format!("{name}: {error}")),
        }
    }
    Ok(Vec::new())
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
                let shown = path.strip_prefix(directory).unwrap_or(&path).display();
                return engine::build::parse_ignore(&bytes)
                    .map_err(|error| error.located(&shown.to_string()));
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

/// `FROM docker.io/library/a:latest`, `FROM a:latest` and `FROM a` mean one image, and so one context.
fn context_name(given: &str) -> String {
    let Ok(reference) = Reference::parse_normalized(given) else {
        return given.to_owned();
    };
    let familiar = reference.familiar();
    familiar
        .strip_suffix(":latest")
        .unwrap_or(&familiar)
        .to_owned()
}

/// `path`, `path:tag`, `path@digest`.
fn layout_of(text: &str) -> (&str, &str) {
    if let Some(parts) = text.split_once('@') {
        return parts;
    }
    match text.rsplit_once(':') {
        Some((path, tag)) if !tag.contains('/') => (path, tag),
        _ => (text, ""),
    }
}

fn named_context(
    engine: &Engine,
    text: &str,
    build: &mut BuildRequest,
    fetched: &mut Vec<FetchedContext>,
) -> Result<(), String> {
    let (name, value) = text
        .split_once('=')
        .ok_or_else(|| format!("invalid build context {text:?}: it is name=value"))?;
    let name = context_name(name);
    let context = if let Some(image) = value.strip_prefix("docker-image://") {
        NamedContext::Image(image.to_owned())
    } else if let Some(target) = value.strip_prefix("target:") {
        NamedContext::Target(target.to_owned())
    } else if let Some(layout) = value.strip_prefix("oci-layout://") {
        let (path, reference) = layout_of(layout);
        let path = std::fs::canonicalize(path)
            .map_err(|error| format!("--build-context {name}: {path}: {error}"))?;
        NamedContext::OciLayout(path, reference.to_owned())
    } else {
        let directory = match is_remote(value) {
            true => {
                let answer = engine.context_of_address(value, is_set(build, KEEP_GIT_DIRECTORY));
                match answer.map_err(|error| errors::chain(&error))? {
                    Fetched::Context(context) => {
                        let ignore = fetched_ignore(&context.directory.path, "Dockerfile")?;
                        build.wishes.context_ignores.insert(name.clone(), ignore);
                        let directory = context.directory.clone();
                        fetched.push(context);
                        directory
                    }
                    Fetched::Dockerfile(_) => {
                        return Err(format!("--build-context {name}: {value} is no archive"));
                    }
                }
            }
            false => {
                let path = std::fs::canonicalize(value)
                    .map_err(|error| format!("--build-context {name}: {value}: {error}"))?;
                let ignore = read_ignore(&path, None, &mut Vec::new())?;
                build.wishes.context_ignores.insert(name.clone(), ignore);
                ContextDirectory {
                    path,
                    is_remembered: true,
                    commit_s: None,
                }
            }
        };
        build.inputs.contexts.insert(name.clone(), directory);
        NamedContext::Local
    };
    build.wishes.contexts.insert(name, context);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contexts_are_called_as_images_are() {
        for (given, name) in [
            ("alpine", "alpine"),
            ("alpine:latest", "alpine"),
            ("docker.io/library/debian:12", "debian:12"),
            ("ghcr.io/me/x:latest", "ghcr.io/me/x"),
            ("Odd Name", "Odd Name"),
        ] {
            assert_eq!(context_name(given), name, "{given}");
        }
    }

    #[test]
    fn layouts_have_a_path_and_perhaps_a_tag_or_a_digest() {
        assert_eq!(layout_of("./a/b"), ("./a/b", ""));
        assert_eq!(layout_of("/a:1.2"), ("/a", "1.2"));
        assert_eq!(layout_of("/a:b/c"), ("/a:b/c", ""));
        assert_eq!(layout_of("/a@sha256:12"), ("/a", "sha256:12"));
    }

    #[test]
    fn entitlements_are_known_ones() {
        let of = |text: &str| allowed(&[text.to_owned()]);
        assert!(of("security.insecure").is_ok_and(|(all, _)| all.insecure && !all.host_network));
        assert!(of("network.host").is_ok_and(|(all, _)| all.host_network && !all.insecure));
        assert!(of("device").is_ok_and(|(_, devices)| devices.allows("v.com/c=0")));
        let (_, devices) = of("device=v.com/c=0").expect("a device");
        assert!(devices.allows("v.com/c=0") && !devices.allows("v.com/c=1"));
        for text in [
            "security.none",
            "fs=/etc",
            "fs.read=*",
            "device=",
            "device=a,alias=b",
            "",
        ] {
            assert!(of(text).is_err_and(|error| error.contains(&format!("{text:?}"))));
        }
    }
}
