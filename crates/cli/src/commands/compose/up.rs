//! `compose up`, `create`, `start`, `scale`: a plan, shown or carried out.

use std::collections::{BTreeMap, BTreeSet};
use std::process::ExitCode;

use engine::compose::apply::{self, Audience, Awaited, Phase, ServiceImage};
use engine::compose::container::labels;
use engine::compose::model::Service;
use engine::compose::plan::{Action, Observed, Plan, PlanOptions, Recreate, Step, plan};
use engine::compose::{CONTAINERS_MAX, Project, label};
use engine::container::stop::WaitFor;
use engine::{Engine, EngineError};

use super::follow::{Output, wait_for};
use super::images::show as show_images;
use super::{Done, Failure, OneOff, containers, images, project, scales};
use crate::commands::print_line;
use crate::errors;
use crate::flags::{ComposeAction, Invocation, Verb};
use crate::output::template::escape_control;

pub(super) fn up(engine: &Engine, invocation: &Invocation) -> Done {
    let matches = &invocation.matches;
    check_together(invocation)?;
    let mut project = prepare(invocation)?;
    let options = plan_options(invocation);
    let is_set = |flag: &str| matches.get_bool(flag);
    let waits = is_set("wait") || matches.is_set("wait-timeout");
    if !(waits || is_set("detach") || is_set("no-start")) {
        return in_foreground(engine, invocation, &mut project, &options);
    }
    if !converge(engine, invocation, &mut project, &options, None)? {
        return Ok(ExitCode::SUCCESS);
    }
    if waits {
        wait_for(
            engine,
            &project,
            &matches.args,
            matches.get_int("wait-timeout"),
        )?;
        return Ok(ExitCode::SUCCESS);
    }
    Ok(ExitCode::SUCCESS)
}

/// Flags that contradict each other.
fn check_together(invocation: &Invocation) -> Result<(), Failure> {
    let matches = &invocation.matches;
    let is_given = |flag: &str| {
        matches.has(flag)
            && match flag {
                "attach" => !matches.get_list(flag).is_empty(),
                "exit-code-from" => matches.is_set(flag),
                "menu" => matches.is_set(flag) && matches.get_bool(flag),
                flag => matches.get_bool(flag),
            }
    };
    // What is about output, which is not shown then.
    const OUTPUT: &[&str] = &[
        "abort-on-container-exit",
        "abort-on-container-failure",
        "attach",
        "attach-dependencies",
        "exit-code-from",
        "menu",
        "watch",
    ];
    for (flag, others) in [
        ("wait", OUTPUT),
        ("detach", OUTPUT),
        ("no-start", &["menu", "watch"]),
        ("abort-on-container-failure", &["abort-on-container-exit"]),
        ("build", &["no-build"]),
        ("watch", &["no-build"]),
        ("force-recreate", &["no-recreate"]),
        ("always-recreate-deps", &["no-recreate"]),
        ("renew-anon-volumes", &["no-recreate"]),
    ] {
        if !is_given(flag) {
            continue;
        }
        if let Some(other) = others.iter().find(|other| is_given(other)) {
            return Err(Failure::text(format!(
                "--{other} cannot be combined with --{flag}"
            )));
        }
    }
    if matches.has("wait-timeout") && matches.get_int("wait-timeout") < 0 {
        return Err(Failure::text(
            "--wait-timeout must be a non-negative integer",
        ));
    }
    Ok(())
}

/// Shows the output of each container from the moment that it runs, until all have ended.
fn in_foreground(
    engine: &Engine,
    invocation: &Invocation,
    project: &mut Project,
    options: &PlanOptions,
) -> Done {
    let shown = project.clone();
    let mut output = Output::new(engine, invocation, &shown)?;
    match converge(engine, invocation, project, options, Some(&mut output)) {
        Ok(true) => output.follow(),
        Ok(false) => Ok(ExitCode::SUCCESS),
        Err(_) if output.is_interrupted() => output.stop(),
        Err(failure) => Err(failure),
    }
}

pub(super) fn create(engine: &Engine, invocation: &Invocation) -> Done {
    check_together(invocation)?;
    let mut project = prepare(invocation)?;
    let options = PlanOptions {
        no_start: true,
        ..plan_options(invocation)
    };
    converge(engine, invocation, &mut project, &options, None)?;
    Ok(ExitCode::SUCCESS)
}

pub(super) fn scale(engine: &Engine, invocation: &Invocation) -> Done {
    let wanted = scales(&invocation.matches.args)?;
    let names: Vec<String> = wanted.keys().cloned().collect();
    let mut project = project(invocation, &names)?;
    apply_scales(&mut project, &wanted)?;
    if invocation.matches.get_bool("no-deps") {
        keep_only(&mut project, &names);
    }
    let options = PlanOptions {
        services: names,
        recreate: Recreate::Never,
        recreate_dependencies: Recreate::Never,
        ..PlanOptions::default()
    };
    converge(engine, invocation, &mut project, &options, None)?;
    Ok(ExitCode::SUCCESS)
}

/// Starts what is there, in the order of dependencies.
pub(super) fn start(engine: &Engine, invocation: &Invocation) -> Done {
    let matches = &invocation.matches;
    let mut project = project(invocation, &matches.args)?;
    let there = engine.project_containers(&project.name)?;
    let has = |name: &str| {
        there
            .iter()
            .filter(|stored| !super::is_oneoff(stored) && label(stored, labels::SERVICE) == name)
            .count()
    };
    // Nothing of the project is there, or not of what is asked for.
    let is_none = there.iter().all(super::is_oneoff);
    let services = project.services.iter();
    let mut wanted = services.filter(|(name, service)| {
        service.replicas() > 0 && (is_none || matches.args.contains(name))
    });
    if let Some((name, _)) = wanted.find(|(name, _)| has(name) == 0) {
        return Err(Failure::text(format!(
            "service {name:?} has no container to start"
        )));
    }
    // Nothing is made and nothing goes: as many as there are.
    let names: Vec<String> = project.services.keys().cloned().collect();
    for name in &names {
        if let Some(service) = project.services.get_mut(name) {
            service.scale = i64::try_from(has(name)).ok();
            service.deploy = service.deploy.take().map(|mut deploy| {
                deploy.replicas = None;
                deploy
            });
        }
    }
    let options = PlanOptions {
        recreate: Recreate::Never,
        recreate_dependencies: Recreate::Never,
        ..PlanOptions::default()
    };
    converge(engine, invocation, &mut project, &options, None)?;
    if matches.get_bool("wait") || matches.is_set("wait-timeout") {
        wait_for(
            engine,
            &project,
            &matches.args,
            matches.get_int("wait-timeout"),
        )?;
    }
    Ok(ExitCode::SUCCESS)
}

fn prepare(invocation: &Invocation) -> Result<Project, Failure> {
    let matches = &invocation.matches;
    let mut project = project(invocation, &matches.args)?;
    apply_scales(&mut project, &scales(matches.get_list("scale"))?)?;
    if matches.has("no-deps") && matches.get_bool("no-deps") && !matches.args.is_empty() {
        keep_only(&mut project, &matches.args);
    }
    Ok(project)
}

fn apply_scales(project: &mut Project, scales: &BTreeMap<String, i64>) -> Result<(), Failure> {
    for (name, number) in scales {
        let Some(service) = project.services.get_mut(name) else {
            return Err(super::no_such_service(project, name));
        };
        if *number > 1 && !service.container_name.is_empty() {
            return Err(Failure::text(format!(
                "service {name:?} has a container_name, which can only be used once: remove it to have {number} containers"
            )));
        }
        service.scale = Some(*number);
    }
    let all = project.services.values();
    if all.map(Service::replicas).fold(0, i64::saturating_add) > CONTAINERS_MAX {
        return Err(Failure::text(format!(
            "a project has at most {CONTAINERS_MAX} containers"
        )));
    }
    Ok(())
}

/// Leaves out every service but these.
pub(super) fn keep_only(project: &mut Project, names: &[String]) {
    let services = std::mem::take(&mut project.services);
    for (name, mut service) in services {
        if names.contains(&name) {
            service.depends_on.retain(|other, _| names.contains(other));
            project.services.insert(name, service);
        } else {
            project.disabled.insert(name, service);
        }
    }
}

fn plan_options(invocation: &Invocation) -> PlanOptions {
    let matches = &invocation.matches;
    let is_set = |flag: &str| matches.has(flag) && matches.get_bool(flag);
    let recreate = match (is_set("force-recreate"), is_set("no-recreate")) {
        (true, _) => Recreate::Always,
        (_, true) => Recreate::Never,
        _ => Recreate::Changed,
    };
    PlanOptions {
        services: matches.args.clone(),
        recreate,
        recreate_dependencies: match is_set("always-recreate-deps") {
            true => Recreate::Always,
            false if recreate == Recreate::Never => Recreate::Never,
            false => Recreate::Changed,
        },
        remove_orphans: is_set("remove-orphans"),
        no_start: is_set("no-start"),
        renew_volumes: is_set("renew-anon-volumes"),
        rolling: is_set("rolling"),
    }
}

/// Brings a project to what its files say. `false`: it was only shown.
pub(super) fn converge(
    engine: &Engine,
    invocation: &Invocation,
    project: &mut Project,
    options: &PlanOptions,
    output: Option<&mut Output<'_>>,
) -> Result<bool, Failure> {
    // What is there starts as it is.
    let is_start = invocation.command.verb == Verb::Compose(ComposeAction::Start);
    if super::is_dry(invocation) {
        let observed = engine.observe_project(project)?;
        let plan = make_plan(project, &observed, options)?;
        let images = images::that_are_here(engine, project)?;
        // What would be refused is refused now.
        engine.rehearse(&request(
            invocation, project, &plan, &observed, &images, false,
        ))?;
        if !is_start {
            show_images(&images::plan(engine, invocation, project)?);
        }
        show_plan(&plan);
        return Ok(false);
    }
    let images = match is_start {
        true => BTreeMap::new(),
        false => images::images(engine, invocation, project, || {
            plan(project, &engine.observe_project(project)?, options)?;
            Ok(())
        })?,
    };
    settle(engine, invocation, project, options, &images, output)?;
    Ok(true)
}

/// A plan with the warnings told that belong to it.
fn make_plan(
    project: &Project,
    observed: &Observed,
    options: &PlanOptions,
) -> Result<Plan, Failure> {
    let is_set = |name: &str| {
        let value = project.environment.get(name).map(String::as_str);
        matches!(value, Some("1" | "t" | "T" | "true" | "TRUE" | "True"))
    };
    let mut options = options.clone();
    options.remove_orphans |= is_set("COMPOSE_REMOVE_ORPHANS");
    let mut plan = plan(project, observed, &options)?;
    if is_set("COMPOSE_IGNORE_ORPHANS") {
        plan.warnings
            .retain(|text| !text.starts_with("Found orphan"));
    }
    for warning in &plan.warnings {
        errors::complain(&format!("WARNING: {warning}"));
    }
    Ok(plan)
}

/// Brings a project, whose images are here, to what its files say.
pub(super) fn settle(
    engine: &Engine,
    invocation: &Invocation,
    project: &Project,
    options: &PlanOptions,
    images: &BTreeMap<String, ServiceImage>,
    output: Option<&mut Output<'_>>,
) -> Result<(), Failure> {
    let observed = engine.observe_project(project)?;
    let plan = make_plan(project, &observed, options)?;
    tell_running(&plan, &observed, project);
    let renews = options.renew_volumes;
    let request = request(invocation, project, &plan, &observed, images, renews);
    match output {
        Some(output) => {
            output.listen();
            carry_out_for(engine, request, output)
        }
        None => carry_out_for(engine, request, &mut Lines),
    }
}

/// Makes what a container of `compose run` needs: networks, volumes, and what its service depends
/// on, which runs or is healthy then.
pub(super) fn prepare_for_run(
    engine: &Engine,
    invocation: &Invocation,
    project: &Project,
    service: &str,
    images: &BTreeMap<String, ServiceImage>,
) -> Result<(), Failure> {
    let observed = engine.observe_project(project)?;
    let (without, mut plan) = plan_for_run(invocation, project, service, &observed)?;
    // Nothing of the service goes because of this.
    let own: BTreeSet<&str> = observed
        .containers
        .iter()
        .filter(|container| container.service == service)
        .map(|container| container.id.as_str())
        .collect();
    plan.drop_steps(|action| match action {
        Action::StopContainer { id, .. } | Action::RemoveContainer { id } => {
            own.contains(id.as_str())
        }
        _ => false,
    });
    let request = request(invocation, &without, &plan, &observed, images, false);
    carry_out_for(engine, request, &mut Lines)?;
    await_dependencies(engine, project, service)
}

/// The plan for all but the service itself, which waits as a container of `up` would, but of which
/// none is made; and the project that it is for.
pub(super) fn plan_for_run(
    invocation: &Invocation,
    project: &Project,
    service: &str,
    observed: &Observed,
) -> Result<(Project, Plan), Failure> {
    let mut without = project.clone();
    if let Some(service) = without.services.get_mut(service) {
        service.scale = Some(0);
        service.deploy = None;
    }
    let options = PlanOptions {
        recreate: Recreate::Never,
        recreate_dependencies: Recreate::Never,
        remove_orphans: invocation.matches.get_bool("remove-orphans"),
        ..PlanOptions::default()
    };
    let plan = plan(&without, observed, &options)?;
    Ok((without, plan))
}

/// Waits for the conditions of a service.
fn await_dependencies(engine: &Engine, project: &Project, service: &str) -> Result<(), Failure> {
    let conditions = &project.services[service].depends_on;
    let healthy: Vec<String> = conditions
        .iter()
        .filter(|(_, on)| on.condition == "service_healthy")
        .map(|(name, _)| name.clone())
        .collect();
    if !healthy.is_empty() {
        wait_for(engine, project, &healthy, 0)?;
    }
    for (name, on) in conditions {
        if on.condition != "service_completed_successfully" {
            continue;
        }
        for stored in containers(engine, project, std::slice::from_ref(name), OneOff::Without)? {
            let code = engine.wait(&stored.record.id, WaitFor::NotRunning)?;
            if code != 0 && on.required {
                let text = format!("service {name:?} didn't complete successfully: exit {code}");
                return Err(EngineError::conflict(text).into());
            }
        }
    }
    Ok(())
}

/// A plan, a line a step.
pub(super) fn show_plan(plan: &Plan) {
    if plan.steps.is_empty() {
        print_line("Nothing to do: everything is as the files say");
    }
    for step in &plan.steps {
        let (verb, _) = words(&step.action);
        let waits: Vec<String> = step
            .conditions
            .iter()
            .map(|condition| {
                format!(
                    "{} {}",
                    condition.service,
                    format!("{:?}", condition.kind).to_lowercase()
                )
            })
            .collect();
        let waits = if waits.is_empty() {
            String::new()
        } else {
            format!(", when {}", waits.join(" and "))
        };
        let line = format!("{verb} {}: {}{waits}", step.subject, step.reason);
        print_line(&escape_control(&line));
    }
}

fn words(action: &Action) -> (&'static str, &'static str) {
    match action {
        Action::CreateNetwork { .. }
        | Action::CreateVolume { .. }
        | Action::CreateContainer { replaces: None, .. } => ("Create", "Created"),
        Action::CreateContainer { .. } => ("Recreate", "Recreated"),
        Action::RemoveNetwork { .. } | Action::RemoveContainer { .. } => ("Remove", "Removed"),
        Action::RenameContainer { .. } => ("Rename", "Renamed"),
        Action::StartContainer { .. } => ("Start", "Started"),
        Action::HandOverPorts { .. } => ("Hand over the ports of", "Ports handed over"),
        Action::StopContainer { .. } => ("Stop", "Stopped"),
    }
}

/// What is as wanted is told too, as Docker Compose does.
fn tell_running(plan: &Plan, observed: &Observed, project: &Project) {
    let touched: BTreeSet<&str> = plan
        .steps
        .iter()
        .map(|step| step.subject.as_str())
        .collect();
    for container in &observed.containers {
        let subject = format!("Container {}", container.name);
        if project.services.contains_key(&container.service)
            && !container.is_oneoff
            && !touched.contains(subject.as_str())
        {
            errors::complain(&format!(" {subject}  Running"));
        }
    }
}

/// What is carried out, as the flags say.
pub(super) fn request<'a>(
    invocation: &Invocation,
    project: &'a Project,
    plan: &'a Plan,
    observed: &'a Observed,
    images: &'a BTreeMap<String, ServiceImage>,
    renew_volumes: bool,
) -> apply::Request<'a> {
    let matches = &invocation.matches;
    let timeout = matches.has("timeout") && matches.is_set("timeout");
    apply::Request {
        project,
        plan,
        observed,
        images,
        stop_timeout_s: timeout.then(|| matches.get_int("timeout").max(-1)),
        remove_volumes: renew_volumes,
        for_good: invocation.command.verb != Verb::Compose(ComposeAction::Down),
        renew_volumes,
    }
}

/// Carries out a plan and tells each step.
pub(super) fn carry_out_for(
    engine: &Engine,
    request: apply::Request<'_>,
    audience: &mut dyn Audience,
) -> Result<(), Failure> {
    for warning in engine.carry_out(request, audience)? {
        errors::complain(&format!("WARNING: {warning}"));
    }
    Ok(())
}

/// Each step is a line.
pub(super) struct Lines;

impl Audience for Lines {
    fn hears(&mut self, step: &Step, phase: Phase) {
        tell(step, phase);
    }

    fn awaits(&mut self, name: &str, what: Awaited) {
        errors::complain(&format!(" Container {name}  {what:?}"));
    }
}

pub(super) fn tell(step: &Step, phase: Phase) {
    if matches!(step.action, Action::RenameContainer { .. }) {
        return;
    }
    let (verb, done) = words(&step.action);
    let word = match phase {
        Phase::Begun if matches!(step.action, Action::StopContainer { .. }) => {
            "Stopping".to_owned()
        }
        Phase::Begun if matches!(step.action, Action::HandOverPorts { .. }) => {
            "Handing over its ports".to_owned()
        }
        Phase::Begun => format!("{}ing", verb.trim_end_matches('e')),
        Phase::Done => done.to_owned(),
    };
    errors::complain(&format!(" {}  {word}", step.subject));
}
