//! `run` and `create`.

use std::io::Write;
use std::process::ExitCode;

use engine::container::create::{CreateRequest, Made, new_id};
use engine::protocol::{Attach, Kind};
use engine::{Connection, Engine, EngineError, Waiting};

use types::mount::MountKind;

use super::attach::{end_session, session};
use super::print_line;
use super::resolve::resolve_for_run;
use crate::client_config::ClientConfig;
use crate::errors;
use crate::flags::{Invocation, Verb};
use crate::run_flags::{self, Caller, FlagError, RunRequest};
use crate::streams;
use crate::terminal;

/// What flags need to know of this process.
pub(crate) fn with_caller<T>(read: impl FnOnce(&Caller<'_>) -> T) -> T {
    let working_directory = super::working_directory();
    let variable = |name: &str| match std::env::var(name) {
        Ok(value) => Some(value),
        Err(std::env::VarError::NotPresent) => None,
        Err(std::env::VarError::NotUnicode(_)) => {
            errors::complain(&format!(
                "WARNING: the variable {name} is left out: its value is not valid UTF-8"
            ));
            None
        }
    };
    read(&Caller {
        working_directory: working_directory.as_deref().map_err(String::as_str),
        variable: &variable,
        stdin_is_terminal: terminal::is_terminal(rustix::stdio::stdin()),
        console_size: terminal::size(),
        cpus: rustix::thread::sched_getaffinity(None).map_or(1, |set| set.count()),
    })
}

fn request(invocation: &Invocation) -> Result<RunRequest, ExitCode> {
    let read = with_caller(|caller| run_flags::container_request(&invocation.matches, caller));
    let configured = read.and_then(|mut request| {
        let config = ClientConfig::load();
        config.add_proxies(&mut request.spec.env);
        if request.detach_keys.is_none() {
            request.detach_keys = run_flags::detach_keys(&config.detach_keys)?;
        }
        Ok(request)
    });
    configured.map_err(|error: FlagError| {
        let command = invocation.command.path.last().copied().unwrap_or("run");
        let failure = error.failure(invocation.program, command);
        errors::complain(&failure.text);
        ExitCode::from(failure.exit_code)
    })
}

pub(crate) fn create(engine: &Engine, invocation: &Invocation) -> ExitCode {
    let request = match request(invocation) {
        Ok(request) => request,
        Err(code) => return code,
    };
    match make(engine, invocation, &request, new_id()) {
        Ok(made) => {
            print_line(&made.record.id);
            ExitCode::SUCCESS
        }
        Err(code) => code,
    }
}

/// Finds the image, makes the container, writes the id file.
fn make(
    engine: &Engine,
    invocation: &Invocation,
    request: &RunRequest,
    id: String,
) -> Result<Made, ExitCode> {
    let runs = invocation.command.verb == Verb::Run;
    let refuse = |error: &EngineError| {
        if !runs {
            errors::report(invocation.program, error);
            return ExitCode::from(1);
        }
        errors::report_run(invocation.program, error);
        ExitCode::from(errors::run_code(error))
    };
    // The command's own words, not the engine's.
    let refuse_id_file = |text: &str| match runs {
        true => ExitCode::from(errors::refuse_run(invocation.program, text)),
        false => {
            errors::refuse(invocation.program, text);
            ExitCode::from(1)
        }
    };
    if let Some(path) = &request.cidfile
        && std::path::Path::new(path).exists()
    {
        return Err(refuse_id_file(&format!(
            "container ID file found, make sure the other container isn't running or delete {path}"
        )));
    }
    let resolve = |name: &str| resolve_for_run(engine, request, name);
    let resolved = resolve(&request.spec.image).map_err(|error| refuse(&error))?;
    let mounts = request.spec.mounts.iter();
    let images = mounts
        .filter(|mount| mount.kind == MountKind::Image)
        .map(|mount| Ok((mount.target.clone(), resolve(&mount.source)?.id)))
        .collect::<Result<_, _>>()
        .map_err(|error| refuse(&error))?;
    let made = engine
        .create(CreateRequest {
            id,
            spec: request.spec.clone(),
            name: request.name.clone(),
            image_id: resolved.id,
            defaults: resolved.defaults,
            platform: resolved.platform,
            images,
        })
        .map_err(|error| refuse(&error))?;
    for warning in &request.warnings {
        errors::complain(&format!("WARNING: {warning}"));
    }
    if let Some(path) = &request.cidfile {
        let written = std::fs::File::create_new(path)
            .and_then(|mut file| file.write_all(made.record.id.as_bytes()));
        if let Err(error) = written {
            discard(engine, made);
            return Err(refuse_id_file(&format!(
                "failed to create the container ID file: open {path}: {}",
                crate::cause::cause(&error)
            )));
        }
    }
    Ok(made)
}

fn discard(engine: &Engine, made: Made) {
    let record = made.into_record();
    if let Ok(removal) = engine.begin_remove(&record.id, true) {
        let _ = engine.finish_remove(removal.with_volumes(true).for_good());
    }
}

pub(crate) fn run(engine: &Engine, invocation: &Invocation) -> ExitCode {
    let id = new_id();
    // Its monitor starts up on another processor while the flags are read, the image is found and the
    // record written.
    let waiting = engine.begin_start(&id);
    let request = match request(invocation) {
        Ok(request) => request,
        Err(code) => return code,
    };
    let made = match make(engine, invocation, &request, id) {
        Ok(made) => made,
        Err(code) => return code,
    };
    if request.detach {
        return match engine.start_made(&made, waiting, None) {
            Ok(started) => {
                warn(&started.warnings);
                print_line(&made.record.id);
                ExitCode::SUCCESS
            }
            Err(error) => not_started(engine, invocation, &request, made, &error),
        };
    }
    foreground(engine, invocation, &request, made, waiting)
}

fn warn(warnings: &[String]) {
    for warning in warnings {
        errors::complain(&format!("WARNING: {warning}"));
    }
}

fn not_started(
    engine: &Engine,
    invocation: &Invocation,
    request: &RunRequest,
    made: Made,
    error: &EngineError,
) -> ExitCode {
    errors::report_run(invocation.program, error);
    if request.rm {
        discard(engine, made);
    }
    ExitCode::from(errors::run_code(error))
}

fn foreground(
    engine: &Engine,
    invocation: &Invocation,
    request: &RunRequest,
    made: Made,
    waiting: Option<Waiting>,
) -> ExitCode {
    let spec = &made.record.spec;
    let signals = streams::take_signals();
    let attach = Attach {
        stdin: spec.attach_stdin && spec.open_stdin,
        stdout: spec.attach_stdout,
        stderr: spec.attach_stderr,
        owner: true,
    };
    let started = engine::connection_pair().and_then(|(ours, theirs)| {
        let connection = Connection::from_socket(ours);
        connection.send(Kind::Attach, &attach)?;
        engine
            .start_made(&made, waiting, Some(&theirs))
            .map(|started| (connection, started))
    });
    let (mut connection, started) = match started {
        Ok(started) => started,
        Err(error) => return not_started(engine, invocation, request, made, &error),
    };
    warn(&started.warnings);
    // Started: other commands may have it.
    let record = made.into_record();
    let spec = &record.spec;
    let raw = if spec.tty && attach.stdin {
        terminal::Mode::raw()
    } else {
        None
    };
    let session = session(
        spec.tty,
        attach.stdin,
        request.sig_proxy,
        request.detach_keys.clone(),
    );
    let outcome = streams::attached(&mut connection, session, signals.as_ref());
    drop(raw);
    end_session(engine, invocation, &record.id, outcome)
}
