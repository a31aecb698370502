//! Commands: each calls one verb of the engine and prints what comes back.

mod account;
mod attach;
mod build;
mod compose;
mod container;
mod copy;
mod doctor;
mod exec;
mod image;
mod inspect;
pub(crate) mod internal;
mod list;
mod logs;
mod look;
mod manifest;
mod network;
mod progress;
mod prune;
mod registry;
mod resolve;
mod run;
mod sharing;
mod system;
mod undo;
mod update;
mod usage;
mod volume;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use engine::{Engine, EngineError, Roots};

use crate::errors;
use crate::flags::generate::{Form, pages};
use crate::flags::parse::Program;
use crate::flags::{Invocation, Verb};
use crate::output::table::FormatError;
use crate::streams;

/// Writes to standard output. A reader that has gone is no error: `caisson ps | head -1`.
pub(crate) fn print(text: &str) {
    let _ = is_printed(text);
}

/// The same for who prints without end: false where nobody reads it any more.
pub(crate) fn is_printed(text: &str) -> bool {
    let mut out = std::io::stdout().lock();
    let printed = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    let Err(error) = printed else { return true };
    streams::note_lost("/dev/stdout", &error);
    error.kind() != std::io::ErrorKind::BrokenPipe
}

/// The working directory, from where relative paths are written down.
///
/// # Errors
/// What to say of a name that no record can hold.
pub(crate) fn working_directory() -> Result<String, String> {
    let Ok(path) = std::env::current_dir() else {
        return Ok("/".to_owned());
    };
    path.into_os_string().into_string().map_err(|name| {
        format!("the name of the working directory {name:?} is not valid UTF-8; go to another one")
    })
}

/// Prints a line.
pub(crate) fn print_line(text: &str) {
    print(&format!("{text}\n"));
}

/// Carries out a command.
pub(crate) fn dispatch(invocation: &Invocation) -> ExitCode {
    for notice in &invocation.notices {
        print_line(notice);
    }
    if let Err(text) = refuse_remote(invocation) {
        errors::complain(&text);
        return ExitCode::from(1);
    }
    match invocation.command.verb {
        Verb::Completion => return completion(invocation),
        Verb::RegistryCollect => return registry::collect(invocation),
        Verb::RegistryServe => return registry::serve(invocation),
        // It needs no store, and everybody may ask.
        Verb::Version => return system::version(invocation),
        Verb::Builder(action) => return build::builders(invocation, action),
        _ => {}
    }
    if let Some(directory) = &invocation.globals.config {
        ::registry::docker_config::use_directory(directory.into());
    }
    let engine = match open(invocation) {
        Ok(engine) => engine,
        Err(text) => {
            errors::complain(&text);
            errors::hint_at_cause(invocation.program, &text);
            let run = matches!(
                invocation.command.verb,
                Verb::Run | Verb::Create | Verb::Exec
            );
            return ExitCode::from(if run { 125 } else { 1 });
        }
    };
    if invocation.command.path.first() == Some(&"volume") {
        // Copies take long, so that their commands are killed; what they leave may be large.
        let _ = engine.store().sweep();
    }
    let code = carry_out(&engine, invocation);
    engine.tidy();
    code
}

pub(crate) fn carry_out(engine: &Engine, invocation: &Invocation) -> ExitCode {
    match invocation.command.verb {
        Verb::Run => run::run(engine, invocation),
        Verb::Create => run::create(engine, invocation),
        Verb::Exec => exec::exec(engine, invocation),
        Verb::Attach => attach::attach(engine, invocation),
        Verb::Build => build::build(engine, invocation),
        Verb::BuilderPrune => build::builder_prune(engine, invocation),
        Verb::BuildxDu => build::buildx_du(engine, invocation),
        Verb::Compose(action) => compose::compose(engine, invocation, action),
        Verb::Start => attach::start(engine, invocation),
        Verb::Stop => container::stop(engine, invocation),
        Verb::Kill => container::kill(engine, invocation),
        Verb::Restart => container::restart(engine, invocation),
        Verb::Rm => container::rm(engine, invocation),
        Verb::Wait => container::wait(engine, invocation),
        Verb::Pause | Verb::Unpause => container::set_paused(engine, invocation),
        Verb::Rename => container::rename(engine, invocation),
        Verb::Update => update::update(engine, invocation),
        Verb::Ps => list::ps(engine, invocation),
        Verb::Logs => logs::logs(engine, invocation),
        Verb::Top => look::top(engine, invocation),
        Verb::Stats => look::stats(engine, invocation),
        Verb::Port => look::port(engine, invocation),
        Verb::Diff => look::diff(engine, invocation),
        Verb::ImageDiff => look::image_diff(engine, invocation),
        Verb::Events => look::events(engine, invocation),
        Verb::Commit => copy::commit(engine, invocation),
        Verb::Copy => copy::cp(engine, invocation),
        Verb::Export => copy::export(engine, invocation),
        Verb::Inspect | Verb::ContainerInspect | Verb::ImageInspect => {
            inspect::inspect(engine, invocation)
        }
        Verb::Pull => image::pull(engine, invocation),
        Verb::Login | Verb::Logout => account::account(engine, invocation),
        Verb::Search | Verb::Tags => sharing::look(engine, invocation),
        Verb::Manifest(action) => manifest::manifest(engine, invocation, action),
        Verb::Push => sharing::push(engine, invocation),
        Verb::Images => image::images(engine, invocation),
        Verb::Tag => image::tag(engine, invocation),
        Verb::Rmi => image::rmi(engine, invocation),
        Verb::History => image::history(engine, invocation),
        Verb::Load => image::load(engine, invocation),
        Verb::Save => image::save(engine, invocation),
        Verb::Import => image::import(engine, invocation),
        Verb::NetworkConnect => network::connect(engine, invocation),
        Verb::NetworkCreate => network::create(engine, invocation),
        Verb::NetworkDisconnect => network::disconnect(engine, invocation),
        Verb::NetworkInspect => network::inspect(engine, invocation),
        Verb::NetworkRm => network::rm(engine, invocation),
        Verb::Networks => network::ls(engine, invocation),
        Verb::VolumeClone => volume::clone(engine, invocation),
        Verb::VolumeCreate => volume::create(engine, invocation),
        Verb::VolumeExport => volume::export(engine, invocation),
        Verb::VolumeImport => volume::import(engine, invocation),
        Verb::VolumeInspect => volume::inspect(engine, invocation),
        Verb::VolumeRename => volume::rename(engine, invocation),
        Verb::VolumeRestore => volume::restore(engine, invocation),
        Verb::VolumeRm => volume::rm(engine, invocation),
        Verb::VolumeSnapshot => volume::snapshot(engine, invocation),
        Verb::Volumes => volume::ls(engine, invocation),
        _ => on_the_whole(engine, invocation),
    }
}

/// What concerns the system as a whole.
fn on_the_whole(engine: &Engine, invocation: &Invocation) -> ExitCode {
    match invocation.command.verb {
        Verb::ImagePrune => prune::images(engine, invocation),
        Verb::NetworkPrune => prune::networks(engine, invocation),
        Verb::Info => system::info(engine, invocation),
        Verb::ContainerPrune => prune::containers(engine, invocation),
        Verb::SystemPrune => prune::system(engine, invocation),
        Verb::SystemDf => usage::system_df(engine, invocation),
        Verb::Doctor => doctor::doctor(engine, invocation),
        Verb::SystemBoot => doctor::boot(engine, invocation),
        Verb::Undo => undo::undo(engine, invocation),
        Verb::VolumePrune => prune::volumes(engine, invocation),
        Verb::Internal => internal::internal(engine, invocation),
        // Done before an engine was opened, or by who called this.
        _ => ExitCode::from(1),
    }
}

/// Prints what a shell evaluates to complete our commands, for the name that we were called by.
fn completion(invocation: &Invocation) -> ExitCode {
    let word = invocation.matches.args.first().map_or("", String::as_str);
    let Some(form) = Form::parse(&["--completions", word]) else {
        return fail_text(
            invocation,
            &format!("no completion for {word:?}: bash, zsh and fish are known"),
        );
    };
    for page in pages(form) {
        print(&match invocation.program {
            Program::Caisson => page.text,
            Program::Docker => page.text.replace("caisson", "docker"),
        });
    }
    ExitCode::SUCCESS
}

/// Says what is wrong with a request, as an error of the engine; exit code 1.
pub(crate) fn fail_text(invocation: &Invocation, text: &str) -> ExitCode {
    errors::report(invocation.program, &engine::EngineError::invalid(text));
    ExitCode::from(1)
}

/// A list, or what is wrong with its template: Docker's words, which scripts look for, and nobody's
/// name before them.
pub(crate) fn print_list(list: Result<String, FormatError>) -> ExitCode {
    match list {
        Ok(text) => {
            print(&text);
            ExitCode::SUCCESS
        }
        Err(error) => {
            errors::complain(&error.to_string());
            ExitCode::from(1)
        }
    }
}

/// Says what a list leaves out because it cannot be read; the code of a list that is not whole is 1.
pub(crate) fn name_damaged(
    program: Program,
    damaged: impl IntoIterator<Item = EngineError>,
    code: ExitCode,
) -> ExitCode {
    let mut code = code;
    for error in damaged {
        errors::report(program, &error);
        code = ExitCode::from(1);
    }
    code
}

/// Says what the command line itself finds wrong with a request; exit code 1.
pub(crate) fn refuse_text(invocation: &Invocation, text: &str) -> ExitCode {
    errors::refuse(invocation.program, text);
    ExitCode::from(1)
}

/// Another machine's engine is never acted on silently as if it were this one's.
fn refuse_remote(invocation: &Invocation) -> Result<(), String> {
    let Ok(host) = std::env::var("DOCKER_HOST") else {
        return Ok(());
    };
    if host.is_empty() || invocation.command.verb == Verb::Internal {
        return Ok(());
    }
    Err(format!(
        "caisson: DOCKER_HOST is set to {host}, and Caisson acts on this machine only; unset it to go on: env -u DOCKER_HOST …"
    ))
}

fn open(invocation: &Invocation) -> Result<Engine, String> {
    let named = std::env::var_os("CAISSON_CONFIG").map(PathBuf::from);
    let home = std::env::var_os("XDG_CONFIG_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".config")));
    let user = home.map(|home| home.join("caisson/config.toml"));
    let config = engine::config::load(named.as_deref(), user.as_deref())
        .map_err(|error| format!("caisson: {}", errors::chain(&error)))?;
    let defaults = Roots::default();
    let choose = |flag: &Option<String>, variable: &str, setting: &Option<PathBuf>, default| {
        flag.clone()
            .map(PathBuf::from)
            .or_else(|| {
                std::env::var_os(variable)
                    .filter(|v| !v.is_empty())
                    .map(PathBuf::from)
            })
            .or_else(|| setting.clone())
            .unwrap_or(default)
    };
    let globals = &invocation.globals;
    let roots = Roots {
        root: choose(&globals.root, "CAISSON_ROOT", &config.root, defaults.root),
        run_root: choose(
            &globals.run_root,
            "CAISSON_RUN_ROOT",
            &config.run_root,
            defaults.run_root,
        ),
    };
    Engine::open(&roots, config).map_err(|error| format!("caisson: {}", errors::chain(&error)))
}
