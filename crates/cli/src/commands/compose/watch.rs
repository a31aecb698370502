//! `compose watch` and `up --watch`: what changes on this machine reaches the containers.

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::ExitCode;

use engine::Engine;
use engine::compose::build::BuildOptions;
use engine::compose::container::image_name;
use engine::compose::plan::PlanOptions;
use engine::compose::watch::{FileWatch, WatchAction, watch_rules};
use engine::compose::{Options, Project};
use engine::image::remove::{RemoveOptions, remove};

use super::build::build_all;
use super::{Done, Failure, OneOff, containers, down, images, project, up};
use crate::commands::build::ProgressStyle;
use crate::errors;
use crate::flags::Invocation;
use crate::streams;

/// A terminal that changes its size says so by this signal.
const SIGNAL_WINDOW: i32 = 28;

pub(super) fn watch(engine: &Engine, invocation: &Invocation) -> Done {
    let matches = &invocation.matches;
    let mut project = project(invocation, &matches.args)?;
    check(&project)?;
    if !matches.get_bool("no-up") {
        let options = PlanOptions {
            services: matches.args.clone(),
            ..PlanOptions::default()
        };
        if !up::converge(engine, invocation, &mut project, &options, None)? {
            return Ok(ExitCode::SUCCESS);
        }
    }
    let signals = streams::take_signals();
    let mut watcher = Watcher::begin(engine, invocation, &project)?;
    loop {
        let wake = signals.as_ref().map(AsFd::as_fd);
        let changed = watcher.files.wait(wake)?;
        watcher.act(engine, invocation, &project, &changed);
        let signal = signals.as_ref().and_then(engine::signals::read);
        if signal.is_some_and(|signal| signal != SIGNAL_WINDOW) {
            errors::complain("Watch disabled");
            return Ok(ExitCode::from(130));
        }
    }
}

/// Fails before anything is started where there would be nothing to watch.
fn check(project: &Project) -> Result<(), Failure> {
    if watch_rules(project)?.0.is_empty() {
        return Err(Failure::text(
            "none of the selected services is configured for watch, consider setting a 'develop' section",
        ));
    }
    Ok(())
}

/// Watches files, and acts.
pub(super) struct Watcher {
    pub(super) files: FileWatch,
}

impl Watcher {
    pub(super) fn begin(
        engine: &Engine,
        invocation: &Invocation,
        project: &Project,
    ) -> Result<Self, Failure> {
        let (rules, warnings) = watch_rules(project)?;
        for warning in warnings {
            errors::complain(&format!("WARNING: {warning}"));
        }
        let matches = &invocation.matches;
        let forbids_builds = matches.has("no-build") && matches.get_bool("no-build");
        let rebuilds = rules
            .iter()
            .find(|rule| rule.action == WatchAction::Rebuild);
        if let (true, Some(rule)) = (forbids_builds, rebuilds) {
            return Err(Failure::text(format!(
                "--no-build is incompatible with watch action rebuild in service {}",
                rule.service
            )));
        }
        check(project)?;
        let files = FileWatch::begin(rules)?;
        for rule in files.rules() {
            if rule.initial_sync && rule.action.syncs() {
                let pairs: BTreeSet<(PathBuf, String)> = FileWatch::files_of(rule)
                    .into_iter()
                    .map(|path| (path.clone(), rule.target(&path)))
                    .collect();
                sync(engine, project, &rule.service, &pairs)?;
            }
        }
        errors::complain("Watch enabled");
        Ok(Self { files })
    }

    /// Does what the rules say of changed files. Returns whether containers are others now, or
    /// began again. What fails is told, and watching goes on.
    pub(super) fn act(
        &self,
        engine: &Engine,
        invocation: &Invocation,
        project: &Project,
        changed: &[PathBuf],
    ) -> bool {
        let mut rebuilds = BTreeSet::new();
        let mut restarts = BTreeSet::new();
        let mut syncs: BTreeMap<&str, BTreeSet<(PathBuf, String)>> = BTreeMap::new();
        let mut execs = BTreeSet::new();
        for path in changed {
            for (number, rule) in self.files.rules().iter().enumerate() {
                if !rule.matches(path) {
                    continue;
                }
                let service = rule.service.as_str();
                if rule.action.syncs() {
                    let pair = (path.clone(), rule.target(path));
                    syncs.entry(service).or_default().insert(pair);
                }
                match rule.action {
                    WatchAction::Rebuild => {
                        rebuilds.insert(service.to_owned());
                    }
                    WatchAction::Restart | WatchAction::SyncRestart => {
                        restarts.insert(service.to_owned());
                    }
                    WatchAction::SyncExec => {
                        execs.insert(number);
                    }
                    WatchAction::Sync => {}
                }
            }
        }
        let are_others = !rebuilds.is_empty() || !restarts.is_empty();
        let tell = |result: Result<(), Failure>| {
            if let Err(failure) = result {
                let _ = failure.tell(invocation.program);
            }
        };
        if !rebuilds.is_empty() {
            let names: Vec<String> = rebuilds.into_iter().collect();
            tell(rebuild(engine, invocation, project, &names));
        }
        for (service, pairs) in &syncs {
            errors::complain(&format!(
                "Syncing service {service:?} after {} changes were detected",
                pairs.len()
            ));
            tell(sync(engine, project, service, pairs));
        }
        if !restarts.is_empty() {
            let names: Vec<String> = restarts.into_iter().collect();
            tell(down::restart_services(engine, invocation, project, &names));
            errors::complain(&format!("service(s) {names:?} restarted"));
        }
        for number in execs {
            let rule = &self.files.rules()[number];
            tell(self.execute(engine, project, rule));
        }
        are_others
    }

    fn execute(
        &self,
        engine: &Engine,
        project: &Project,
        rule: &engine::compose::watch::WatchRule,
    ) -> Result<(), Failure> {
        let services = [rule.service.clone()];
        for stored in containers(engine, project, &services, OneOff::Without)? {
            if stored.state.status.is_live() {
                let output = [rustix::stdio::stderr(), rustix::stdio::stderr()];
                engine.run_watch_command(&stored.record.id, &rule.exec, output)?;
            }
        }
        Ok(())
    }
}

/// Builds, and makes the containers of these services anew where their image is another one.
fn rebuild(
    engine: &Engine,
    invocation: &Invocation,
    project: &Project,
    names: &[String],
) -> Result<(), Failure> {
    let matches = &invocation.matches;
    let is_set = |flag: &str| matches.has(flag) && matches.get_bool(flag);
    errors::complain(&format!(
        "Rebuilding service(s) {names:?} after changes were detected..."
    ));
    // Arguments and env files may have changed as well.
    let options = Options::default();
    let mut fresh = super::load(invocation, &[], options)?.project;
    fresh.discard_env_files();
    let before: BTreeMap<&String, String> = names
        .iter()
        .filter_map(|name| Some((name, engine.image_id(&image_name(&fresh, name)).ok()?)))
        .collect();
    let style = match is_set("quiet") || is_set("quiet-build") {
        true => ProgressStyle::Quiet,
        false => ProgressStyle::auto(),
    };
    let options = BuildOptions::default();
    if build_all(engine, invocation, &fresh, names, &options, style)?.is_some() {
        errors::complain("Build failed; what runs goes on");
        return Ok(());
    }
    errors::complain(&format!("service(s) {names:?} successfully built"));
    up::keep_only(&mut fresh, names);
    for name in names {
        // As many as run now.
        let number = project.services.get(name).map(|service| service.replicas());
        if let Some(service) = fresh.services.get_mut(name) {
            service.scale = number;
        }
    }
    let found = images::here(engine, &fresh)?;
    let options = PlanOptions {
        services: names.to_vec(),
        ..PlanOptions::default()
    };
    up::settle(engine, invocation, &fresh, &options, &found, None)?;
    if !matches.has("prune") || matches.get_bool("prune") {
        prune(engine, &fresh, &before);
    }
    Ok(())
}

/// Removes images that lost their names to new ones and that nothing uses.
fn prune(engine: &Engine, project: &Project, before: &BTreeMap<&String, String>) {
    for (name, old) in before {
        let now = engine.image_id(&image_name(project, name));
        if now.is_ok_and(|now| now != *old) {
            let users = || engine.image_users();
            // Another name or container may still have it.
            let _ = remove(&engine.images(), old, RemoveOptions::default(), &users);
        }
    }
}

/// Brings files into every running container of a service.
fn sync(
    engine: &Engine,
    project: &Project,
    service: &str,
    pairs: &BTreeSet<(PathBuf, String)>,
) -> Result<(), Failure> {
    for stored in containers(engine, project, &[service.to_owned()], OneOff::Without)? {
        if stored.state.status.is_live() {
            for (path, target) in pairs {
                engine.sync_file(&stored.record.id, path, target)?;
            }
        }
    }
    Ok(())
}
