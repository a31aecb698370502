//! `compose run`, `pull`, `push`.

use std::collections::{BTreeMap, BTreeSet};
use std::process::ExitCode;

use engine::compose::Project;
use engine::compose::apply::ServiceImage;
use engine::compose::container::{Instance, capability, container, labels};
use engine::compose::model::Service;
use engine::container::create::{CreateRequest, new_id};
use engine::{Engine, EngineError};
use types::container::{ContainerSpec, RestartPolicy};
use types::mount::MountKind;
use types::platform::Platform;
use types::reference::Reference;
use types::volume_flag::VolumeFlag;

use super::dry::tell;
use super::{Done, Failure, images, plain, project, project_with_all, up};
use crate::commands::print_line;
use crate::commands::progress::Stream;
use crate::errors;
use crate::flags::Invocation;
use crate::terminal;

/// The services asked for, or all; with their dependencies where that is wanted.
fn chosen(invocation: &Invocation) -> Result<Project, Failure> {
    let matches = &invocation.matches;
    let mut project = project(invocation, &matches.args)?;
    if !matches.args.is_empty() && !matches.get_bool("include-deps") {
        project
            .services
            .retain(|name, _| matches.args.contains(name));
    }
    Ok(project)
}

/// What is pulled: the service that asks first, the image and its platform.
type Pulled<'a> = (&'a String, &'a Service, (String, Option<Platform>));

fn pulled<'a>(
    engine: &Engine,
    invocation: &Invocation,
    project: &'a Project,
) -> Result<Vec<Pulled<'a>>, Failure> {
    let mut seen = BTreeSet::new();
    let mut all = Vec::new();
    for (name, service) in &project.services {
        if !is_pulled(engine, invocation, service) || !seen.insert(service.image.clone()) {
            continue;
        }
        let platform = match service.platform.as_str() {
            "" => None,
            text => Some(
                Platform::parse(text)
                    .map_err(|error| Failure::text(format!("services.{name}.platform: {error}")))?,
            ),
        };
        all.push((name, service, (service.image.clone(), platform)));
    }
    Ok(all)
}

/// What `pull` would fetch.
pub(super) fn pull_dry(engine: &Engine, invocation: &Invocation) -> Done {
    let project = chosen(invocation)?;
    for (_, service, _) in pulled(engine, invocation, &project)? {
        tell("Pull", &format!("Image {}", service.image), "asked for");
    }
    Ok(ExitCode::SUCCESS)
}

/// What `push` would send.
pub(super) fn push_dry(invocation: &Invocation) -> Done {
    let project = chosen(invocation)?;
    for image in project.services.values().flat_map(pushed) {
        tell("Push", &format!("Image {image}"), "asked for");
    }
    Ok(ExitCode::SUCCESS)
}

/// What `run` would make.
pub(super) fn run_dry(engine: &Engine, invocation: &Invocation) -> Done {
    let (project, service) = project_for_run(invocation)?;
    let observed = engine.observe_project(&project)?;
    let (_, plan) = up::plan_for_run(invocation, &project, &service, &observed)?;
    images::show(&images::plan(engine, invocation, &project)?);
    if !plan.steps.is_empty() {
        up::show_plan(&plan);
    }
    let command = invocation.matches.args.get(1..).unwrap_or_default();
    let subject = format!("Container of {service}");
    tell(
        "Run",
        &subject,
        format!("asked for {}", command.join(" ")).trim_end(),
    );
    Ok(ExitCode::SUCCESS)
}

pub(super) fn pull(engine: &Engine, invocation: &Invocation) -> Done {
    let matches = &invocation.matches;
    let project = chosen(invocation)?;
    let pulled = pulled(engine, invocation, &project)?;
    let meant: Vec<_> = pulled.iter().map(|(_, _, image)| image.clone()).collect();
    let at_once = match matches.get_bool("no-parallel") {
        true => 1,
        false => images::at_once(invocation, &project)?,
    };
    let told = (Stream::Output, matches.get_bool("quiet"));
    let results = images::fetch_together(engine, &meant, at_once, told);
    let mut must_build = Vec::new();
    let mut failed = false;
    for ((name, service, _), result) in pulled.into_iter().zip(results) {
        let Err(error) = result else { continue };
        images::tell_failed("Error", &project, &service.image, name, &error);
        failed = true;
        if service.build.is_some() {
            must_build.push(name.as_str());
        }
    }
    if !must_build.is_empty() {
        errors::complain(&format!(
            "WARNING: Some service image(s) must be built from source by running:\n    {} compose build {}",
            invocation.program.name(),
            must_build.join(" ")
        ));
    }
    Ok(ExitCode::from(u8::from(
        failed && !matches.get_bool("ignore-pull-failures"),
    )))
}

/// Whether `pull` fetches a service's image. Who asks for it wants what moves: what has no policy,
/// and `latest`.
fn is_pulled(engine: &Engine, invocation: &Invocation, service: &Service) -> bool {
    let matches = &invocation.matches;
    if service.image.is_empty() || service.build.is_some() && matches.get_bool("ignore-buildable") {
        return false;
    }
    let policy = match matches.get_str("policy") {
        "" => service.pull_policy.as_str(),
        asked => asked,
    };
    match policy {
        "never" | "build" => false,
        "missing" | "if_not_present" => {
            let reference = Reference::parse_normalized(&service.image);
            let is_latest = reference.is_ok_and(|reference| {
                reference.digest().is_none() && reference.with_default_tag().tag() == Some("latest")
            });
            is_latest || engine.image_id(&service.image).is_err()
        }
        _ => true,
    }
}

pub(super) fn push(engine: &Engine, invocation: &Invocation) -> Done {
    let project = chosen(invocation)?;
    let names: Vec<String> = project.services.keys().cloned().collect();
    push_services(engine, invocation, &project, &names)
}

/// Pushes the images of services that are built and have a name of their own.
pub(super) fn push_services(
    engine: &Engine,
    invocation: &Invocation,
    project: &Project,
    names: &[String],
) -> Done {
    let matches = &invocation.matches;
    let ignores = matches.has("ignore-push-failures") && matches.get_bool("ignore-push-failures");
    let services = names.iter().filter_map(|name| project.any_service(name));
    for service in services {
        for image in pushed(service) {
            let words = [
                "push".to_owned(),
                format!("--quiet={}", matches.get_bool("quiet")),
                image.clone(),
            ];
            let code = plain(engine, invocation, &words);
            if code != ExitCode::SUCCESS && !ignores {
                return Ok(code);
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The images of a service that is built and has a name of its own.
fn pushed(service: &Service) -> Vec<&String> {
    match &service.build {
        Some(build) if !service.image.is_empty() => {
            std::iter::once(&service.image).chain(&build.tags).collect()
        }
        _ => Vec::new(),
    }
}

/// The project and the service that `run` is about.
fn project_for_run(invocation: &Invocation) -> Result<(Project, String), Failure> {
    let service = invocation.matches.args.first().cloned().unwrap_or_default();
    // `-v` may name a volume that only another service uses.
    let mut project = project_with_all(invocation, std::slice::from_ref(&service))?;
    if !project.services.contains_key(&service) {
        return Err(super::no_such_service(&project, &service));
    }
    if invocation.matches.get_bool("no-deps") {
        up::keep_only(&mut project, std::slice::from_ref(&service));
    }
    Ok((project, service))
}

/// A container of its own for one command: dependencies first, then the plain `run` with the
/// service's settings beneath the flags.
pub(super) fn run(engine: &Engine, invocation: &Invocation) -> Done {
    let (project, service) = project_for_run(invocation)?;
    let found = images::images(engine, invocation, &project, || {
        let observed = engine.observe_project(&project)?;
        up::plan_for_run(invocation, &project, &service, &observed)?;
        Ok(())
    })?;
    up::prepare_for_run(engine, invocation, &project, &service, &found)?;
    let made = make(engine, invocation, &project, &service, &found)?;
    attach(engine, invocation, made)
}

fn make(
    engine: &Engine,
    invocation: &Invocation,
    project: &Project,
    name: &str,
    images: &BTreeMap<String, ServiceImage>,
) -> Result<String, Failure> {
    let matches = &invocation.matches;
    let wanted = container(project, name, Instance::OneOff)?;
    let mut spec = wanted.spec;
    override_spec(&mut spec, invocation)?;
    mount(&mut spec, project, invocation.matches.get_list("volume"))?;
    let slug = new_id();
    spec.labels.insert(labels::SLUG.to_owned(), slug.clone());
    let image = images
        .get(&spec.image)
        .ok_or_else(|| EngineError::NoSuchImage(spec.image.clone()))?;
    spec.labels
        .insert(labels::IMAGE.to_owned(), image.id.clone());
    let called = match matches.get_str("name") {
        "" => format!("{}-{name}-run-{}", project.name, &slug[..12]),
        name => name.to_owned(),
    };
    let mounted = spec
        .mounts
        .iter()
        .filter(|mount| mount.kind == MountKind::Image);
    let mounted = mounted
        .map(|mount| {
            let image = images.get(&mount.source);
            let image = image.ok_or_else(|| EngineError::NoSuchImage(mount.source.clone()))?;
            Ok((mount.target.clone(), image.id.clone()))
        })
        .collect::<Result<_, EngineError>>()?;
    let id = new_id();
    let made = engine.create(CreateRequest {
        id: id.clone(),
        spec,
        name: Some(called),
        image_id: image.id.clone(),
        defaults: image.defaults.clone(),
        platform: image.platform.clone(),
        images: mounted,
    })?;
    drop(made);
    engine.put_files(&id, &wanted.files)?;
    Ok(id)
}

/// What the flags say instead of the service.
fn override_spec(spec: &mut ContainerSpec, invocation: &Invocation) -> Result<(), Failure> {
    let matches = &invocation.matches;
    let has_terminal = terminal::is_terminal(rustix::stdio::stdin())
        && terminal::is_terminal(rustix::stdio::stdout());
    let detach = matches.get_bool("detach");
    spec.tty = matches.get_bool("tty") && !matches.get_bool("no-tty") && has_terminal && !detach;
    spec.open_stdin = matches.get_bool("interactive") && !detach;
    spec.attach_stdin = spec.open_stdin;
    spec.stdin_once = spec.open_stdin;
    spec.restart = RestartPolicy::default();
    spec.auto_remove = matches.get_bool("rm");
    if matches.args.len() > 1 {
        spec.cmd = Some(matches.args[1..].to_vec());
    }
    if matches.is_set("entrypoint") {
        let words =
            engine::compose::split_words(matches.get_str("entrypoint")).map_err(Failure::text)?;
        spec.entrypoint = Some(if words.is_empty() {
            vec![String::new()]
        } else {
            words
        });
        if matches.args.len() <= 1 {
            spec.cmd = None;
        }
    }
    variables(spec, invocation)?;
    for (flag, field) in [("user", &mut spec.user), ("workdir", &mut spec.working_dir)] {
        if matches.is_set(flag) {
            *field = matches.get_str(flag).to_owned();
        }
    }
    for label in matches.get_list("label") {
        let (key, value) = types::env::split_key_value(label);
        spec.labels.insert(key.to_owned(), value.to_owned());
    }
    for (flag, list) in [
        ("cap-add", &mut spec.cap_add),
        ("cap-drop", &mut spec.cap_drop),
    ] {
        list.extend(matches.get_list(flag).iter().map(|name| capability(name)));
    }
    if !matches.get_bool("service-ports") {
        spec.publish.clear();
    }
    spec.publish
        .extend(matches.get_list("publish").iter().cloned());
    if matches.get_bool("use-aliases") {
        let service = spec.labels.get(labels::SERVICE).cloned();
        for network in &mut spec.networks {
            network.aliases.extend(service.clone());
        }
    }
    Ok(())
}

/// `-e` and its file stand over what the service says.
fn variables(spec: &mut ContainerSpec, invocation: &Invocation) -> Result<(), Failure> {
    let matches = &invocation.matches;
    for path in matches.get_list("env-from-file") {
        let content = std::fs::read(path)
            .map_err(|error| Failure::text(format!("cannot read {path}: {error}")))?;
        let lines = types::env::parse_env_file(&content, |name| std::env::var(name).ok())
            .map_err(|error| Failure::text(format!("{path}: {error}")))?;
        lines
            .into_iter()
            .for_each(|line| set_variable(&mut spec.env, line));
    }
    for pair in matches.get_list("env") {
        let pair = match pair.contains('=') {
            true => pair.clone(),
            false => match std::env::var(pair) {
                Ok(value) => format!("{pair}={value}"),
                Err(_) => continue,
            },
        };
        set_variable(&mut spec.env, pair);
    }
    Ok(())
}

/// `-v` takes the place of what the service mounts there; a volume of the project is known by its key.
fn mount(spec: &mut ContainerSpec, project: &Project, volumes: &[String]) -> Result<(), Failure> {
    let directory = crate::commands::working_directory().map_err(Failure::text)?;
    for text in volumes {
        let mut volume =
            VolumeFlag::parse(text).map_err(|error| Failure::text(error.to_string()))?;
        volume.make_absolute(&directory);
        if volume.kind == MountKind::Volume
            && let Some(known) = project.volumes.get(&volume.source)
        {
            volume.source.clone_from(&known.name);
        }
        let is_there = |bind: &String| bind.split(':').nth(1) == Some(volume.target.as_str());
        spec.binds.retain(|bind| !is_there(bind));
        spec.mounts.retain(|mount| mount.target != volume.target);
        spec.volumes.retain(|target| *target != volume.target);
        spec.mounts.push(volume.to_mount());
    }
    Ok(())
}

fn set_variable(env: &mut Vec<String>, pair: String) {
    let key = |text: &str| text.split('=').next().unwrap_or_default().to_owned();
    let wanted = key(&pair);
    env.retain(|known| key(known) != wanted);
    env.push(pair);
}

/// Starts it with our streams, or in the background.
fn attach(engine: &Engine, invocation: &Invocation, id: String) -> Done {
    let matches = &invocation.matches;
    if matches.get_bool("detach") {
        engine.start(&id, None)?;
        print_line(&id);
        return Ok(ExitCode::SUCCESS);
    }
    let mut words = vec!["start".to_owned(), "--attach".to_owned()];
    if matches.get_bool("interactive") {
        words.push("--interactive".to_owned());
    }
    words.push(id.clone());
    Ok(plain(engine, invocation, &words))
}
