//! `compose build`, and what `up`, `create` and `run` build.
//!
//! A service's build becomes the words of `build` ([`words`]), so that both understand the same.
//! Builds go on at once; one that is built upon another's image waits for it.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::process::ExitCode;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use engine::compose::Project;
use engine::compose::build::{BuildOptions, BuildTarget, bake_file, build_target, with_contexts};
use engine::compose::container::image_name;
use engine::{Engine, compose::Options};

use super::{Done, Failure, load};
use crate::commands::build::{Board, Given, Part, ProgressStyle, build_part};
use crate::commands::print_line;
use crate::errors;
use crate::flags::{Invocation, Outcome};

/// So many builds go on at once; each has threads of its own.
const BUILDS_MAX: usize = 4;

pub(super) fn build(engine: &Engine, invocation: &Invocation) -> Done {
    let matches = &invocation.matches;
    let options = Options {
        resolve_environment: false,
        ..Options::default()
    };
    let project = load(invocation, &[], options)?.project;
    let names = chosen(
        &project,
        &matches.args,
        matches.get_bool("with-dependencies"),
    )?;
    let options = BuildOptions {
        all_platforms: true,
        arguments: matches
            .get_list("build-arg")
            .iter()
            .map(|text| match text.split_once('=') {
                Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
                None => (text.clone(), None),
            })
            .collect(),
        ssh: match (matches.is_set("ssh"), matches.get_str("ssh")) {
            (false, _) => Vec::new(),
            (true, "") => vec!["default".to_owned()],
            (true, text) => vec![text.to_owned()],
        },
        no_cache: matches.get_bool("no-cache"),
        pull: matches.get_bool("pull"),
        check: matches.get_bool("check"),
        push: matches.get_bool("push"),
        provenance: matches.get_str("provenance").to_owned(),
        sbom: matches.get_str("sbom").to_owned(),
        memory_bytes: matches.get_bytes("memory"),
    };
    if names.is_empty() {
        errors::complain("WARNING: No services to build");
        return Ok(ExitCode::SUCCESS);
    }
    if matches.get_bool("print") {
        print_line(&bake_file(&project, &names, &options)?);
        return Ok(ExitCode::SUCCESS);
    }
    if super::is_dry(invocation) {
        for name in &names {
            print_line(&format!(
                "Build Image {}: asked for",
                image_name(&project, name)
            ));
        }
        return Ok(ExitCode::SUCCESS);
    }
    let style = ProgressStyle::of(matches.get_str("progress"), matches.get_bool("quiet"))
        .map_err(Failure::text)?;
    if let Some(code) = build_all(engine, invocation, &project, &names, &options, style)? {
        return Ok(code);
    }
    if options.push && !options.check {
        return super::run::push_services(engine, invocation, &project, &names);
    }
    Ok(ExitCode::SUCCESS)
}

/// The services to build, with those whose images they build upon.
fn chosen(
    project: &Project,
    asked: &[String],
    with_dependencies: bool,
) -> Result<Vec<String>, Failure> {
    let mut names: BTreeSet<String> = asked.iter().cloned().collect();
    if names.is_empty() {
        names.extend(project.services.keys().cloned());
    }
    let mut next: Vec<String> = names.iter().cloned().collect();
    while let Some(name) = next.pop() {
        let Some(service) = project.any_service(&name) else {
            return Err(super::no_such_service(project, &name));
        };
        if with_dependencies {
            for other in service.depends_on.keys() {
                if names.insert(other.clone()) {
                    next.push(other.clone());
                }
            }
        }
    }
    let names: Vec<String> = names.into_iter().collect();
    Ok(with_contexts(project, &names))
}

/// Builds services. `Some` is the code of the first that failed; what happened was told.
pub(super) fn build_all(
    engine: &Engine,
    invocation: &Invocation,
    project: &Project,
    names: &[String],
    options: &BuildOptions,
    style: ProgressStyle,
) -> Result<Option<ExitCode>, Failure> {
    let mut targets = BTreeMap::new();
    for name in names {
        if let Some(target) = build_target(project, name, options)? {
            targets.insert(name.clone(), target);
        }
    }
    let jobs = Jobs {
        engine,
        invocation,
        project,
        style,
        targets: &targets,
        board: Board::new(style),
        state: Mutex::new(State {
            pending: targets.keys().cloned().collect(),
            ..State::default()
        }),
        changed: Condvar::new(),
    };
    let workers = targets.len().min(BUILDS_MAX);
    match workers {
        // Without a thread, so that one build costs nothing more.
        1 => jobs.work(),
        _ => std::thread::scope(|scope| {
            for _ in 0..workers {
                scope.spawn(|| jobs.work());
            }
        }),
    }
    let state = jobs.state.into_inner();
    let state = state.unwrap_or_else(PoisonError::into_inner);
    if state.failed.is_none() && !state.pending.is_empty() {
        let names: Vec<String> = state.pending.into_iter().collect();
        return Err(Failure::text(format!(
            "dependency cycle detected: the images of {} are built upon each other",
            names.join(", ")
        )));
    }
    Ok(state.failed)
}

#[derive(Default)]
struct State {
    pending: BTreeSet<String>,
    running: usize,
    /// Ids of images that are there.
    built: BTreeMap<String, String>,
    failed: Option<ExitCode>,
}

struct Jobs<'a> {
    engine: &'a Engine,
    invocation: &'a Invocation,
    project: &'a Project,
    style: ProgressStyle,
    targets: &'a BTreeMap<String, BuildTarget>,
    board: Board,
    state: Mutex<State>,
    changed: Condvar,
}

impl Jobs<'_> {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does what can be done until nothing is left.
    fn work(&self) {
        let mut state = self.lock();
        loop {
            if state.failed.is_some() || state.pending.is_empty() {
                return;
            }
            let is_ready = |name: &&String| {
                let mut before = self.targets[*name].after.iter();
                before.all(|other| {
                    !self.targets.contains_key(other) || state.built.contains_key(other)
                })
            };
            let Some(name) = state.pending.iter().find(is_ready).cloned() else {
                if state.running == 0 {
                    return;
                }
                state = self
                    .changed
                    .wait(state)
                    .unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            state.pending.remove(&name);
            state.running += 1;
            let known = state.built.clone();
            drop(state);
            let result = self.build(&name, &known);
            state = self.lock();
            state.running -= 1;
            match result {
                Ok(image) => {
                    state.built.insert(name, image.unwrap_or_default());
                }
                Err(code) => state.failed = Some(code),
            }
            self.changed.notify_all();
        }
    }

    fn build(
        &self,
        name: &str,
        built: &BTreeMap<String, String>,
    ) -> Result<Option<String>, ExitCode> {
        let target = &self.targets[name];
        let refuse = |text: &str| {
            self.board.tell(&format!("services.{name}.build: {text}"));
            ExitCode::from(1)
        };
        let image_of = |service: &str| match built.get(service) {
            // What has several platforms is known by its name: an id is that of one.
            Some(id) if !id.is_empty() && self.targets[service].platforms.len() < 2 => id.clone(),
            _ => image_name(self.project, service),
        };
        let mut argv: Vec<OsString> = vec![self.invocation.program.name().into()];
        argv.extend(words(target, &image_of).into_iter().map(OsString::from));
        let inner = match crate::flags::parse(&argv) {
            Outcome::Run(inner) => inner,
            Outcome::Print(_) => return Err(refuse("it is not understood")),
            Outcome::Fail(failure) => {
                let line = failure.text.lines().next().unwrap_or_default();
                return Err(refuse(line));
            }
        };
        let inline = target.dockerfile_inline.as_str();
        let part = Part {
            name,
            board: &self.board,
            given: Given {
                dockerfile: (!inline.is_empty()).then(|| inline.as_bytes().to_vec()),
                secrets: target.secret_values.clone(),
            },
        };
        let image = build_part(self.engine, &inner, part)?;
        if target.call.is_empty() && self.style != ProgressStyle::Quiet {
            let image = image_name(self.project, name);
            self.board.tell(&format!(" Image {image}  Built"));
        }
        Ok(image)
    }
}

/// A build as `caisson build` takes it. `image_of` tells the image of a service.
fn words(target: &BuildTarget, image_of: &dyn Fn(&str) -> String) -> Vec<String> {
    let mut words = vec!["build".to_owned()];
    let mut put = |flag: &str, value: &str| words.push(format!("--{flag}={value}"));
    for (flag, value) in [
        ("file", &target.dockerfile),
        ("target", &target.target),
        ("network", &target.network),
    ] {
        if !value.is_empty() {
            put(flag, value);
        }
    }
    for (flag, is_on) in [
        ("pull", target.pull),
        ("no-cache", target.no_cache),
        ("check", target.call == "lint"),
    ] {
        if is_on {
            put(flag, "true");
        }
    }
    if target.memory_bytes > 0 {
        put("memory", &target.memory_bytes.to_string());
    }
    if !target.shm_size.is_zero() {
        put("shm-size", &target.shm_size.0.to_string());
    }
    for (flag, pairs) in [("build-arg", &target.args), ("label", &target.labels)] {
        for (name, value) in pairs {
            put(flag, &format!("{name}={value}"));
        }
    }
    for (host, addresses) in &target.extra_hosts {
        for address in addresses.split(',') {
            put("add-host", &format!("{host}={address}"));
        }
    }
    for (name, context) in &target.contexts {
        put(
            "build-context",
            &format!("{name}={}", context_word(target, context, image_of)),
        );
    }
    for (flag, values) in [
        ("tag", &target.tags),
        ("cache-from", &target.cache_from),
        ("cache-to", &target.cache_to),
        ("platform", &target.platforms),
        ("no-cache-filter", &target.no_cache_filter),
        ("ulimit", &target.ulimits),
        ("ssh", &target.ssh),
        ("attest", &target.attestations),
        ("allow", &target.entitlements),
    ] {
        values.iter().for_each(|value| put(flag, value));
    }
    // The values of the others are given beside the words.
    for secret in target
        .secrets
        .iter()
        .filter(|text| text.contains("type=file"))
    {
        put("secret", secret);
    }
    words.extend(["--".to_owned(), target.context.clone()]);
    words
}

/// A named context: what is another service's image is that image.
fn context_word(target: &BuildTarget, context: &str, image_of: &dyn Fn(&str) -> String) -> String {
    let Some(other) = context.strip_prefix("target:") else {
        return context.to_owned();
    };
    // Bake's names have no dots; the services behind them are in `after`.
    let service = target
        .after
        .iter()
        .find(|name| name.replace('.', "_") == other);
    let service = service.map_or(other, String::as_str);
    format!("docker-image://{}", image_of(service))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_becomes_the_words_of_build() {
        let one = |name: &str, value: &str| BTreeMap::from([(name.to_owned(), value.to_owned())]);
        let target = BuildTarget {
            context: "/c".to_owned(),
            dockerfile: "/c/D".to_owned(),
            contexts: one("x", "target:my_b"),
            args: one("A", "1=2"),
            tags: vec!["t".to_owned()],
            secrets: vec![
                "id=s,type=file,src=/f".to_owned(),
                "id=e,type=env,env=E".to_owned(),
            ],
            extra_hosts: one("h", "1.2.3.4,::1"),
            no_cache: true,
            after: vec!["my.b".to_owned()],
            ..BuildTarget::default()
        };
        let found = words(&target, &|service| format!("image-of-{service}"));
        assert_eq!(
            found,
            [
                "build",
                "--file=/c/D",
                "--no-cache=true",
                "--build-arg=A=1=2",
                "--add-host=h=1.2.3.4",
                "--add-host=h=::1",
                "--build-context=x=docker-image://image-of-my.b",
                "--tag=t",
                "--secret=id=s,type=file,src=/f",
                "--",
                "/c"
            ]
        );
    }
}
