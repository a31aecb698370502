//! `compose`: several containers as one project.
//!
//! Each command loads the project, or only learns its name, and then either carries out a plan or
//! calls the plain command on the containers that it means.

mod build;
mod config;
mod down;
mod dry;
mod follow;
mod images;
mod list;
mod logs;
mod one;
mod remains;
mod run;
mod up;
mod watch;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::Read;
use std::process::ExitCode;

use engine::compose::container::labels;
pub(super) use engine::compose::is_oneoff;
use engine::compose::{ComposeError, HostFiles, Loaded, Options, Project, Request, label};
use engine::{Engine, EngineError, StoredContainer};

use crate::errors;
use crate::flags::parse::Program;
use crate::flags::{ComposeAction, Invocation, Outcome};

pub(crate) fn compose(engine: &Engine, invocation: &Invocation, action: ComposeAction) -> ExitCode {
    if is_dry(invocation)
        && let Some(told) = dry::dry(engine, invocation, action)
    {
        return told.unwrap_or_else(|failure| failure.tell(invocation.program));
    }
    let result = match action {
        ComposeAction::Attach => one::attach(engine, invocation),
        ComposeAction::Build => build::build(engine, invocation),
        ComposeAction::Commit => one::commit(engine, invocation),
        ComposeAction::Config => config::config(engine, invocation),
        ComposeAction::Copy => one::copy(engine, invocation),
        ComposeAction::Create => up::create(engine, invocation),
        ComposeAction::Down => down::down(engine, invocation),
        ComposeAction::Events => logs::events(engine, invocation),
        ComposeAction::Exec => one::exec(engine, invocation),
        ComposeAction::Export => one::export(engine, invocation),
        ComposeAction::Images => list::images(engine, invocation),
        ComposeAction::Kill => down::kill(engine, invocation),
        ComposeAction::Logs => logs::logs(engine, invocation),
        ComposeAction::Ls => list::ls(engine, invocation),
        ComposeAction::Pause => down::set_paused(engine, invocation, true),
        ComposeAction::Port => one::port(engine, invocation),
        ComposeAction::Ps => list::ps(engine, invocation),
        ComposeAction::Pull => run::pull(engine, invocation),
        ComposeAction::Push => run::push(engine, invocation),
        ComposeAction::Restart => down::restart(engine, invocation),
        ComposeAction::Rm => down::rm(engine, invocation),
        ComposeAction::Run => run::run(engine, invocation),
        ComposeAction::Scale => up::scale(engine, invocation),
        ComposeAction::Start => up::start(engine, invocation),
        ComposeAction::Stats => one::stats(engine, invocation),
        ComposeAction::Stop => down::stop(engine, invocation),
        ComposeAction::Top => list::top(engine, invocation),
        ComposeAction::Unpause => down::set_paused(engine, invocation, false),
        ComposeAction::Up => up::up(engine, invocation),
        ComposeAction::Version => Ok(config::version(invocation)),
        ComposeAction::Volumes => list::volumes(engine, invocation),
        ComposeAction::Watch => watch::watch(engine, invocation),
        ComposeAction::Wait => down::wait(engine, invocation),
    };
    result.unwrap_or_else(|failure| failure.tell(invocation.program))
}

/// Whether a command only tells what it would do.
pub(super) fn is_dry(invocation: &Invocation) -> bool {
    let matches = &invocation.matches;
    invocation.globals.compose.dry_run || matches.has("dry-run") && matches.get_bool("dry-run")
}

/// Why a command failed.
pub(super) enum Failure {
    /// The project cannot be loaded.
    Project(ComposeError),
    /// The engine refused.
    Engine(EngineError),
}

pub(super) type Done = Result<ExitCode, Failure>;

impl From<ComposeError> for Failure {
    fn from(error: ComposeError) -> Self {
        Self::Project(error)
    }
}

impl From<EngineError> for Failure {
    fn from(error: EngineError) -> Self {
        Self::Engine(error)
    }
}

impl Failure {
    fn text(text: impl Into<String>) -> Self {
        Self::Project(ComposeError::of_project(text))
    }

    fn tell(self, program: Program) -> ExitCode {
        match self {
            Self::Project(error) => {
                errors::refuse(program, &error.to_string());
                if let Some(hint) = error.hint {
                    errors::complain(&format!("hint: {hint}"));
                }
                ExitCode::from(1)
            }
            Self::Engine(error) => {
                errors::report(program, &error);
                ExitCode::from(1)
            }
        }
    }
}

/// What the flags before the command ask to be loaded.
pub(super) fn request(
    invocation: &Invocation,
    services: &[String],
    options: Options,
) -> Result<Request, Failure> {
    let globals = &invocation.globals.compose;
    let working_dir = super::working_directory().map_err(Failure::text)?;
    let stdin = globals.files.iter().any(|file| file == "-").then(|| {
        let mut content = Vec::new();
        let _ = std::io::stdin()
            .lock()
            .take(8 << 20)
            .read_to_end(&mut content);
        content
    });
    let text = |text: OsString| text.into_string().ok();
    Ok(Request {
        working_dir,
        project_directory: globals.project_directory.clone(),
        files: globals.files.clone(),
        stdin,
        project_name: globals.project_name.clone(),
        env_files: globals.env_files.clone(),
        profiles: globals.profiles.clone(),
        services: services.to_vec(),
        environment: std::env::vars_os()
            .filter_map(|(name, value)| Some((text(name)?, text(value)?)))
            .collect(),
        options,
    })
}

/// Loads the project; says what there is to warn of.
pub(super) fn load(
    invocation: &Invocation,
    services: &[String],
    options: Options,
) -> Result<Loaded, Failure> {
    let loaded = engine::compose::load(&request(invocation, services, options)?, &HostFiles)?;
    for warning in &loaded.warnings {
        errors::complain(&format!("WARNING: {warning}"));
    }
    Ok(loaded)
}

/// Loads the project for a command that acts on it: env files are read and taken off, and what no
/// service uses is left out.
pub(super) fn project(invocation: &Invocation, services: &[String]) -> Result<Project, Failure> {
    let mut project = project_with_all(invocation, services)?;
    leave_out_unused(invocation, &mut project);
    Ok(project)
}

/// As [`project`], with what no service uses: the command may.
fn project_with_all(invocation: &Invocation, services: &[String]) -> Result<Project, Failure> {
    let mut project = load(invocation, services, Options::default())?.project;
    project.discard_env_files();
    Ok(project)
}

/// Networks, volumes and the like that no service uses count only where that is asked for.
fn leave_out_unused(invocation: &Invocation, project: &mut Project) {
    if !invocation.globals.compose.all_resources {
        project.discard_unused();
    }
}

/// The project where there are files, else only its name: `-p NAME ps` needs no files.
pub(super) fn project_or_name(invocation: &Invocation) -> Result<Project, Failure> {
    let options = Options {
        check_consistency: false,
        resolve_environment: false,
        ..Options::default()
    };
    let request = request(invocation, &[], options)?;
    let name = request
        .project_name
        .clone()
        .or_else(|| request.environment.get("COMPOSE_PROJECT_NAME").cloned());
    match engine::compose::load(&request, &HostFiles) {
        Ok(loaded) => Ok(loaded.project),
        // Only files say what else would be wrong.
        Err(error) => match name.filter(|name| {
            request.files.is_empty()
                && error.file.is_none()
                && engine::compose::normalize_project_name(name) == *name
        }) {
            Some(name) => Ok(Project {
                name,
                ..Project::default()
            }),
            None => Err(error.into()),
        },
    }
}

/// Which of a project's containers are meant.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum OneOff {
    Without,
    With,
}

/// The containers of these services, of all where none is named.
pub(super) fn containers(
    engine: &Engine,
    project: &Project,
    services: &[String],
    oneoff: OneOff,
) -> Result<Vec<StoredContainer>, Failure> {
    let mut all = engine.project_containers(&project.name)?;
    all.retain(|stored| oneoff == OneOff::With || !is_oneoff(stored));
    for service in services {
        let is_known = project.any_service(service).is_some()
            || all
                .iter()
                .any(|stored| label(stored, labels::SERVICE) == service);
        if !is_known {
            return Err(no_such_service(project, service));
        }
    }
    all.retain(|stored| {
        services.is_empty()
            || services
                .iter()
                .any(|service| service == label(stored, labels::SERVICE))
    });
    Ok(all)
}

pub(super) fn no_such_service(project: &Project, name: &str) -> Failure {
    let mut error = ComposeError::of_project(format!("no such service: {name}"));
    let near = project
        .services
        .keys()
        .find(|known| known.eq_ignore_ascii_case(name) || known.starts_with(name));
    error.hint = near.map(|near| format!("did you mean `{near}`?"));
    Failure::Project(error)
}

/// Carries out a plain command of ours.
pub(super) fn plain(engine: &Engine, invocation: &Invocation, words: &[String]) -> ExitCode {
    let mut argv: Vec<OsString> = vec![invocation.program.name().into()];
    argv.extend(words.iter().map(OsString::from));
    match crate::flags::parse(&argv) {
        Outcome::Run(inner) => super::carry_out(engine, &inner),
        Outcome::Print(text) => {
            super::print(&text);
            ExitCode::SUCCESS
        }
        Outcome::Fail(failure) => {
            errors::complain(&failure.text);
            ExitCode::from(failure.exit_code)
        }
    }
}

/// `SERVICE=NUMBER`, several.
pub(super) fn scales(texts: &[String]) -> Result<BTreeMap<String, i64>, Failure> {
    texts
        .iter()
        .map(|text| {
            let pair = text
                .split_once('=')
                .and_then(|(name, number)| Some((name.to_owned(), number.parse().ok()?)));
            pair.filter(|(_, number)| *number >= 0).ok_or_else(|| {
                Failure::text(format!("invalid scale {text:?}: it is SERVICE=NUMBER"))
            })
        })
        .collect()
}
