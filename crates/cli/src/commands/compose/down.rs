//! Commands that end things: `down`, `stop`, `kill`, `rm`, and their friends.

use std::collections::{BTreeMap, BTreeSet};
use std::process::ExitCode;

use engine::compose::apply::Audience;
use engine::compose::container::labels;
use engine::compose::model::{Dependency, Service};
use engine::compose::plan::{Action, Observed, Plan, Step, plan_down};
use engine::compose::{Project, label};
use engine::container::stop::WaitFor;
use engine::{Engine, StoredContainer};
use types::state::Status;

use super::remains::Remains;
use super::up::{Lines, carry_out_for, request, show_plan};
use super::{Done, Failure, OneOff, containers, plain, project_or_name};
use crate::commands::print_line;
use crate::commands::prune::confirmed;
use crate::errors;
use crate::flags::{ComposeAction, Invocation};

pub(super) fn down(engine: &Engine, invocation: &Invocation) -> Done {
    let matches = &invocation.matches;
    let mut project = project_or_name(invocation)?;
    let observed = engine.observe_project(&project)?;
    let has_files = !project.files.is_empty();
    if let Some(name) = matches
        .args
        .iter()
        .find(|name| project.any_service(name).is_none())
    {
        return Err(super::no_such_service(&project, name));
    }
    everything_there(
        &mut project,
        &observed,
        has_files && !matches.get_bool("remove-orphans"),
    );
    let others = match matches.args.is_empty() {
        true => BTreeMap::new(),
        false => {
            let all = std::mem::take(&mut project.services).into_iter();
            let (meant, others) = all.partition(|(name, _)| matches.args.contains(name));
            project.services = meant;
            others
        }
    };
    let plan = plan_down(&project, &observed, false);
    let remains = Remains::of(engine, invocation, &project, &others, &observed)?;
    if super::is_dry(invocation) {
        show_plan(&plan);
        remains.show();
        return Ok(ExitCode::SUCCESS);
    }
    if plan.steps.is_empty() && remains.are_none() {
        errors::complain(&format!(
            "WARNING: No resource found to remove for project {:?}.",
            project.name
        ));
        return Ok(ExitCode::SUCCESS);
    }
    let removes = matches.get_bool("volumes");
    let none = BTreeMap::new();
    let request = request(invocation, &project, &plan, &observed, &none, removes);
    carry_out_for(engine, request, &mut Lines)?;
    Ok(remains.remove(engine, invocation))
}

/// Without files, and for what is not in them, the labels of containers tell the services.
fn everything_there(project: &mut Project, observed: &Observed, only_known: bool) {
    let disabled = std::mem::take(&mut project.disabled);
    project.services.extend(disabled);
    for container in &observed.containers {
        if project.services.contains_key(&container.service) || only_known {
            continue;
        }
        let said = container
            .spec
            .labels
            .get(labels::DEPENDS_ON)
            .map_or("", String::as_str);
        let names = said
            .split(',')
            .filter_map(|text| text.split(':').next())
            .filter(|name| !name.is_empty());
        let service = Service {
            depends_on: names
                .map(|name| (name.to_owned(), Dependency::default()))
                .collect(),
            ..Service::default()
        };
        project.services.insert(container.service.clone(), service);
    }
    let known: BTreeSet<String> = project.services.keys().cloned().collect();
    for service in project.services.values_mut() {
        service.depends_on.retain(|name, _| known.contains(name));
    }
}

/// The containers meant, dependents first.
fn meant(
    engine: &Engine,
    invocation: &Invocation,
    oneoff: OneOff,
) -> Result<(Project, Vec<StoredContainer>), Failure> {
    let project = project_or_name(invocation)?;
    let mut found = containers(engine, &project, &invocation.matches.args, oneoff)?;
    dependents_first(&project, &mut found);
    Ok((project, found))
}

/// The containers that a command means, dependents first.
pub(super) fn meant_by(
    engine: &Engine,
    invocation: &Invocation,
    action: ComposeAction,
) -> Result<Vec<StoredContainer>, Failure> {
    let oneoff = match action {
        ComposeAction::Rm => OneOff::With,
        _ => OneOff::Without,
    };
    let (project, mut found) = meant(engine, invocation, oneoff)?;
    if action == ComposeAction::Restart {
        found.extend(dependents_to_restart(engine, invocation, &project)?);
        dependents_first(&project, &mut found);
    }
    Ok(found)
}

/// Sorts containers so that those of dependents come before those of what they depend on.
pub(super) fn dependents_first(project: &Project, found: &mut [StoredContainer]) {
    let order = engine::compose::dependency_order(project).unwrap_or_default();
    let place = |stored: &StoredContainer| {
        order
            .iter()
            .position(|name| name == label(stored, labels::SERVICE))
    };
    found.sort_by_key(|stored| std::cmp::Reverse(place(stored)));
}

pub(super) fn stop(engine: &Engine, invocation: &Invocation) -> Done {
    let (project, found) = meant(engine, invocation, OneOff::Without)?;
    stop_these(engine, invocation, &project, &found, &mut Lines)?;
    Ok(ExitCode::SUCCESS)
}

/// Stops containers, dependents before what they depend on, hooks first.
/// They come as [`dependents_first`] sorts them.
pub(super) fn stop_these(
    engine: &Engine,
    invocation: &Invocation,
    project: &Project,
    found: &[StoredContainer],
    audience: &mut dyn Audience,
) -> Result<(), Failure> {
    let observed = engine.observe_project(project)?;
    let ids: BTreeSet<&str> = found
        .iter()
        .map(|stored| stored.record.id.as_str())
        .collect();
    let mut plan = Plan::default();
    let mut places: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for stored in found.iter().filter(|stored| stored.state.status.is_live()) {
        let service = label(stored, labels::SERVICE);
        let dependents = project
            .services
            .iter()
            .filter(|(_, other)| other.depends_on.contains_key(service));
        let after = dependents
            .flat_map(|(name, _)| places.get(name.as_str()).cloned().unwrap_or_default())
            .collect();
        places.entry(service).or_default().push(plan.steps.len());
        let id = stored.record.id.clone();
        plan.steps.push(Step {
            action: Action::StopContainer {
                id,
                service: service.to_owned(),
            },
            subject: format!("Container {}", stored.record.name),
            reason: "stop".to_owned(),
            after,
            conditions: Vec::new(),
        });
    }
    debug_assert!(
        plan.steps.len() <= ids.len(),
        "a stop for each container at most"
    );
    let none = BTreeMap::new();
    let request = request(invocation, project, &plan, &observed, &none, false);
    carry_out_for(engine, request, audience)
}

pub(super) fn restart(engine: &Engine, invocation: &Invocation) -> Done {
    let (project, found) = meant(engine, invocation, OneOff::Without)?;
    let more = dependents_to_restart(engine, invocation, &project)?;
    restart_these(engine, invocation, &project, more, found)?;
    Ok(ExitCode::SUCCESS)
}

/// Those that start again with the services asked for.
fn dependents_to_restart(
    engine: &Engine,
    invocation: &Invocation,
    project: &Project,
) -> Result<Vec<StoredContainer>, Failure> {
    let matches = &invocation.matches;
    match matches.args.is_empty() || matches.get_bool("no-deps") {
        true => Ok(Vec::new()),
        false => dependents(engine, project, &matches.args),
    }
}

/// Restarts services, and those that want to start again with them.
pub(super) fn restart_services(
    engine: &Engine,
    invocation: &Invocation,
    project: &Project,
    names: &[String],
) -> Result<(), Failure> {
    let found = containers(engine, project, names, OneOff::Without)?;
    let more = dependents(engine, project, names)?;
    restart_these(engine, invocation, project, more, found)
}

/// Running containers of services that want to start again with what they depend on.
fn dependents(
    engine: &Engine,
    project: &Project,
    asked: &[String],
) -> Result<Vec<StoredContainer>, Failure> {
    let wants = |service: &Service| {
        let mut on = service.depends_on.iter();
        on.any(|(name, on)| on.restart && asked.contains(name))
    };
    let dependents = project
        .services
        .iter()
        .filter(|(_, service)| wants(service));
    let names: Vec<String> = dependents
        .map(|(name, _)| name.clone())
        .filter(|name| !asked.contains(name))
        .collect();
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let mut found = containers(engine, project, &names, OneOff::Without)?;
    found.retain(|stored| stored.state.status.is_live());
    Ok(found)
}

fn restart_these(
    engine: &Engine,
    invocation: &Invocation,
    project: &Project,
    mut found: Vec<StoredContainer>,
    asked: Vec<StoredContainer>,
) -> Result<(), Failure> {
    found.extend(asked);
    stop_these(engine, invocation, project, &found, &mut Lines)?;
    let observed = engine.observe_project(project)?;
    let mut plan = Plan::default();
    let mut places: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for stored in found.iter().rev() {
        let service = label(stored, labels::SERVICE).to_owned();
        let before = project
            .services
            .get(&service)
            .into_iter()
            .flat_map(|service| service.depends_on.keys());
        let after = before
            .flat_map(|name| places.get(name).cloned().unwrap_or_default())
            .collect();
        places
            .entry(service.clone())
            .or_default()
            .push(plan.steps.len());
        plan.steps.push(Step {
            action: Action::StartContainer {
                service,
                number: label(stored, labels::NUMBER).parse().unwrap_or_default(),
                id: Some(stored.record.id.clone()),
            },
            subject: format!("Container {}", stored.record.name),
            reason: "restart".to_owned(),
            after,
            conditions: Vec::new(),
        });
    }
    let none = BTreeMap::new();
    let request = request(invocation, project, &plan, &observed, &none, false);
    carry_out_for(engine, request, &mut Lines)
}

pub(super) fn kill(engine: &Engine, invocation: &Invocation) -> Done {
    let (_, found) = meant(engine, invocation, OneOff::Without)?;
    let text = invocation.matches.get_str("signal");
    let signal =
        types::signal::Signal::parse(text).map_err(|error| Failure::text(error.to_string()))?;
    let mut live = found
        .iter()
        .filter(|stored| stored.state.status.is_live())
        .peekable();
    if live.peek().is_none() {
        errors::complain("No container to kill");
    }
    for stored in live {
        engine.kill(&stored.record.id, signal.number())?;
        errors::complain(&format!(" Container {}  Killed", stored.record.name));
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) fn set_paused(engine: &Engine, invocation: &Invocation, paused: bool) -> Done {
    let (_, found) = meant(engine, invocation, OneOff::Without)?;
    let from = if paused {
        Status::Running
    } else {
        Status::Paused
    };
    let word = if paused { "Paused" } else { "Unpaused" };
    for stored in found.iter().filter(|stored| stored.state.status == from) {
        engine.set_paused(&stored.record.id, paused)?;
        errors::complain(&format!(" Container {}  {word}", stored.record.name));
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) fn rm(engine: &Engine, invocation: &Invocation) -> Done {
    let matches = &invocation.matches;
    let (project, found) = meant(engine, invocation, OneOff::With)?;
    if matches.get_bool("stop") {
        stop_these(engine, invocation, &project, &found, &mut Lines)?;
    }
    let is_stopped = |stored: &&StoredContainer| {
        engine
            .observe(&stored.record.id)
            .is_ok_and(|now| !now.state.status.is_live())
    };
    let stopped: Vec<&StoredContainer> = found.iter().filter(is_stopped).collect();
    if stopped.is_empty() {
        errors::complain("No stopped containers");
        return Ok(ExitCode::SUCCESS);
    }
    let names: Vec<&str> = stopped
        .iter()
        .map(|stored| stored.record.name.as_str())
        .collect();
    if !confirmed(
        invocation,
        &format!("Going to remove {}\nAre you sure? [yN] ", names.join(", ")),
    ) {
        return Ok(ExitCode::SUCCESS);
    }
    for stored in stopped {
        let removal = engine.begin_remove(&stored.record.id, false)?;
        engine.finish_remove(removal.with_volumes(matches.get_bool("volumes")))?;
        errors::complain(&format!(" Container {}  Removed", stored.record.name));
    }
    engine.sweep();
    Ok(ExitCode::SUCCESS)
}

/// Prints the codes; ends with the last one that is not 0.
pub(super) fn wait(engine: &Engine, invocation: &Invocation) -> Done {
    let (_, found) = meant(engine, invocation, OneOff::Without)?;
    if found.is_empty() {
        return Err(Failure::text(format!(
            "no containers for project services {}",
            invocation.matches.args.join(", ")
        )));
    }
    let mut code = 0;
    for stored in &found {
        let ended = engine.wait(&stored.record.id, WaitFor::NotRunning)?;
        print_line(&format!(
            "container {:?} exited with status code {ended}",
            stored.record.name
        ));
        if ended != 0 {
            code = ended;
        }
        if invocation.matches.get_bool("down-project") {
            break;
        }
    }
    if invocation.matches.get_bool("down-project") {
        let mut words = vec!["compose".to_owned()];
        let globals = &invocation.globals.compose;
        for file in &globals.files {
            words.extend(["-f".to_owned(), file.clone()]);
        }
        for (flag, value) in [
            ("-p", &globals.project_name),
            ("--project-directory", &globals.project_directory),
        ] {
            words.extend(
                value
                    .iter()
                    .flat_map(|value| [flag.to_owned(), value.clone()]),
            );
        }
        words.push("down".to_owned());
        if super::is_dry(invocation) {
            words.push("--dry-run".to_owned());
        }
        plain(engine, invocation, &words);
    }
    Ok(ExitCode::from(u8::try_from(code & 0xff).unwrap_or(255)))
}
