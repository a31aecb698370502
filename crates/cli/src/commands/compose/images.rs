//! The images that services are made of: found here, pulled or built.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use engine::Engine;
use engine::EngineError;
use engine::compose::Project;
use engine::compose::apply::ServiceImage;
use engine::compose::build::BuildOptions;
use engine::compose::container::image_name;
use engine::compose::plan::images::{Building, ImageOptions, ImagePlan, Pull, plan_images};
use engine::image::builtin::BuiltinReport;
use types::platform::Platform;
use types::timestamp::Timestamp;

use super::Failure;
use super::build::build_all;
use crate::commands::build::ProgressStyle;
use crate::commands::image::{finish, pull_one};
use crate::commands::print_line;
use crate::commands::progress::{Progress, Stream};
use crate::commands::resolve::{Resolved, Wanted, resolve};
use crate::errors;
use crate::flags::Invocation;
use crate::output::template::escape_control;
use crate::run_flags::PullPolicy;

/// What would be done about images.
pub(super) fn plan(
    engine: &Engine,
    invocation: &Invocation,
    project: &Project,
) -> Result<ImagePlan, Failure> {
    let matches = &invocation.matches;
    let is_set = |flag: &str| matches.has(flag) && matches.get_bool(flag);
    let mut options = ImageOptions {
        building: match (is_set("build"), is_set("no-build")) {
            (true, true) => {
                return Err(Failure::text("--build and --no-build are incompatible"));
            }
            (true, false) => Building::All,
            (false, true) => Building::Nothing,
            (false, false) => Building::Missing,
        },
        pull: match matches.has("pull") {
            true => matches.get_str("pull").to_owned(),
            false => String::new(),
        },
        here: BTreeMap::new(),
        now_ns: i64::try_from(Timestamp::now().unix_ns()).unwrap_or(i64::MAX),
    };
    for (image, platform) in wanted(project)? {
        if let Some(tagged_ns) = engine.image_tagged_ns(&image, platform.as_ref()) {
            options.here.insert(image, tagged_ns);
        }
    }
    Ok(plan_images(project, &options)?)
}

/// The images of all services and those that they mount, with the platforms they are wanted for.
fn wanted(project: &Project) -> Result<BTreeMap<String, Option<Platform>>, Failure> {
    let mut all = BTreeMap::new();
    for (name, service) in &project.services {
        let platform = match service.platform.as_str() {
            "" => None,
            text => Some(
                Platform::parse(text)
                    .map_err(|error| Failure::text(format!("services.{name}.platform: {error}")))?,
            ),
        };
        let mounted = service
            .volumes
            .iter()
            .filter(|volume| volume.kind == "image")
            .map(|volume| match project.any_service(&volume.source) {
                Some(_) => image_name(project, &volume.source),
                None => volume.source.clone(),
            });
        let contexts = service.build.iter().flat_map(|build| {
            let contexts = build.additional_contexts.0.values();
            contexts.filter_map(|context| context.strip_prefix("service:"))
        });
        let hooks = service.pre_start.iter().map(|hook| hook.image.clone());
        let hooks = hooks.filter(|image| !image.is_empty());
        let contexts = contexts.map(|service| image_name(project, service));
        for image in mounted.chain(contexts).chain(hooks) {
            all.entry(image).or_insert_with(|| platform.clone());
        }
        all.insert(image_name(project, name), platform);
    }
    Ok(all)
}

/// Shows what would be done.
pub(super) fn show(plan: &ImagePlan) {
    for pull in &plan.pulls {
        let line = format!("Pull Image {}: {}", pull.image, pull.reason);
        print_line(&escape_control(&line));
    }
    for build in &plan.builds {
        let unless = match build.only_if_missing {
            true => ", where it cannot be pulled",
            false => "",
        };
        let line = format!("Build Image {}: {}{unless}", build.image, build.reason);
        print_line(&escape_control(&line));
    }
}

/// Finds the images of all services; pulls and builds by flags and policies. `check` says what is
/// wrong before anything is fetched or built.
pub(super) fn images(
    engine: &Engine,
    invocation: &Invocation,
    project: &Project,
    check: impl FnOnce() -> Result<(), Failure>,
) -> Result<BTreeMap<String, ServiceImage>, Failure> {
    let plan = plan(engine, invocation, project)?;
    if !(plan.pulls.is_empty() && plan.builds.is_empty()) {
        check()?;
    }
    let wanted = wanted(project)?;
    let matches = &invocation.matches;
    let is_set = |flag: &str| matches.has(flag) && matches.get_bool(flag);
    let quiet = is_set("quiet-pull");
    let could_not = pull_all(engine, invocation, project, &plan.pulls, &wanted, quiet)?;
    let builds = plan.builds.iter();
    let names: Vec<String> = builds
        .filter(|build| !build.only_if_missing || could_not.contains(&build.image))
        .map(|build| build.service.clone())
        .collect();
    if !names.is_empty() {
        let style = match is_set("quiet-build") || is_set("quiet") {
            true => ProgressStyle::Quiet,
            false => ProgressStyle::auto(),
        };
        let options = BuildOptions::default();
        if build_all(engine, invocation, project, &names, &options, style)?.is_some() {
            let text = format!("cannot build the images of {}", names.join(", "));
            return Err(EngineError::conflict(text).into());
        }
    }
    let mut all = BTreeMap::new();
    find(engine, wanted, &mut all)?;
    Ok(all)
}

/// Pulls what a plan says, several images at once. Returns those that could not be had and need not.
fn pull_all(
    engine: &Engine,
    invocation: &Invocation,
    project: &Project,
    pulls: &[Pull],
    wanted: &BTreeMap<String, Option<Platform>>,
    quiet: bool,
) -> Result<BTreeSet<String>, Failure> {
    let images: Vec<_> = pulls
        .iter()
        .map(|pull| {
            (
                pull.image.clone(),
                wanted.get(&pull.image).cloned().flatten(),
            )
        })
        .collect();
    let at_once = at_once(invocation, project)?;
    let results = fetch_together(engine, &images, at_once, (Stream::Error, quiet));
    let mut could_not = BTreeSet::new();
    let mut failed = None;
    for (pull, result) in pulls.iter().zip(results) {
        let Err(error) = result else { continue };
        let word = if pull.may_fail { "Warning" } else { "Error" };
        tell_failed(word, project, &pull.image, &pull.service, &error);
        could_not.insert(pull.image.clone());
        if !pull.may_fail {
            failed.get_or_insert(error);
        }
    }
    failed.map_or(Ok(could_not), |error| Err(error.into()))
}

/// Tells why an image cannot be had, and who wants it.
pub(super) fn tell_failed(
    word: &str,
    project: &Project,
    image: &str,
    service: &str,
    error: &EngineError,
) {
    let services = project.services.keys();
    let mut names: BTreeSet<&str> = services
        .filter(|name| image_name(project, name) == image)
        .map(String::as_str)
        .collect();
    names.insert(service);
    let names: Vec<&str> = names.into_iter().collect();
    let of = match names.as_slice() {
        [_] => "service",
        _ => "services",
    };
    errors::complain(&format!(
        " Image {image}  {word}: {of} {}: {}",
        names.join(", "),
        errors::chain(error)
    ));
}

/// Pulls several images, so many at once; what became of each, in their order. All are tried: what
/// was fetched of the others when one fails is not fetched again.
pub(super) fn fetch_together(
    engine: &Engine,
    images: &[(String, Option<Platform>)],
    at_once: usize,
    (stream, quiet): (Stream, bool),
) -> Vec<Result<(), EngineError>> {
    let progress = Progress::new(stream, quiet);
    let next = AtomicUsize::new(0);
    let results: Vec<OnceLock<Result<BuiltinReport, EngineError>>> =
        images.iter().map(|_| OnceLock::new()).collect();
    let pull = |(name, platform): &(String, Option<Platform>)| {
        pull_one(engine, name, platform.clone(), &progress)
    };
    std::thread::scope(|scope| {
        for _ in 0..at_once.clamp(1, images.len().max(1)) {
            scope.spawn(|| {
                while let Some((image, result)) = {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    images.get(at).zip(results.get(at))
                } {
                    let _ = result.set(pull(image));
                }
            });
        }
    });
    let gone = || Err(EngineError::conflict("a pull ended early"));
    let results = results.into_iter();
    results
        .map(|result| {
            let pulled = result.into_inner().unwrap_or_else(gone)?;
            finish(&progress, &pulled);
            Ok(())
        })
        .collect()
}

/// How many images are pulled at once: each takes three connections and unpacks.
const PULLING_MAX: usize = 6;

/// `--parallel`, else `COMPOSE_PARALLEL_LIMIT`, of which -1 leaves it to us.
pub(super) fn at_once(invocation: &Invocation, project: &Project) -> Result<usize, Failure> {
    let said = project.environment.get("COMPOSE_PARALLEL_LIMIT");
    let said = match (invocation.globals.compose.parallel, said) {
        (number, _) if number != 0 => number,
        (_, Some(text)) if !text.is_empty() => text.parse().map_err(|_| {
            Failure::text(format!(
                "COMPOSE_PARALLEL_LIMIT must be an integer (found: {text:?})"
            ))
        })?,
        _ => -1,
    };
    Ok(match usize::try_from(said) {
        Ok(number) if number > 0 => number.min(PULLING_MAX),
        _ => PULLING_MAX,
    })
}

/// The images of all services, which are here.
pub(super) fn here(
    engine: &Engine,
    project: &Project,
) -> Result<BTreeMap<String, ServiceImage>, Failure> {
    let mut all = BTreeMap::new();
    find(engine, wanted(project)?, &mut all)?;
    Ok(all)
}

/// The images of all services, as far as they are here.
pub(super) fn that_are_here(
    engine: &Engine,
    project: &Project,
) -> Result<BTreeMap<String, ServiceImage>, Failure> {
    let mut all = BTreeMap::new();
    for (image, platform) in wanted(project)? {
        if engine.image_id(&image).is_ok() {
            // One for another platform is pulled anew.
            let _ = find(engine, BTreeMap::from([(image, platform)]), &mut all);
        }
    }
    Ok(all)
}

fn find(
    engine: &Engine,
    wanted: BTreeMap<String, Option<Platform>>,
    all: &mut BTreeMap<String, ServiceImage>,
) -> Result<(), Failure> {
    for (image, platform) in wanted {
        if all.contains_key(&image) {
            continue;
        }
        let request = Wanted {
            pull: PullPolicy::Never,
            platform,
            quiet: true,
        };
        keep(all, &image, resolve(engine, &request, &image)?);
    }
    Ok(())
}

fn keep(all: &mut BTreeMap<String, ServiceImage>, image: &str, found: Resolved) {
    all.insert(
        image.to_owned(),
        ServiceImage {
            id: found.id,
            defaults: found.defaults,
            platform: found.platform,
        },
    );
}
