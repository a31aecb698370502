//! `run` and `create`.

use std::io::Write;
use std::process::ExitCode;

use engine::container::create::CreateRequest;
use engine::protocol::{Attach, Kind};
use engine::{Connection, ContainerRecord, Engine, EngineError};

use super::attach::{end_session, session};
use super::{image, print_line};
use crate::errors;
use crate::flags::Invocation;
use crate::run_flags::{self, Caller, FlagError, RunRequest};
use crate::streams;
use crate::terminal;

/// What flags need to know of this process.
pub(crate) fn with_caller<T>(read: impl FnOnce(&Caller<'_>) -> T) -> T {
    let working_directory = std::env::current_dir().map_or_else(
        |_| "/".to_string(),
        |path| path.to_string_lossy().into_owned(),
    );
    let variable = |name: &str| std::env::var(name).ok();
    read(&Caller {
        working_directory: &working_directory,
        variable: &variable,
        stdin_is_terminal: terminal::is_terminal(rustix::stdio::stdin()),
        console_size: terminal::size(),
        cpus: std::thread::available_parallelism()
            .map_or(1, |n| u32::try_from(n.get()).unwrap_or(1)),
    })
}

fn request(invocation: &Invocation) -> Result<RunRequest, ExitCode> {
    let read = with_caller(|caller| run_flags::container_request(&invocation.matches, caller));
    read.map_err(|error: FlagError| {
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
    match make(engine, invocation, &request) {
        Ok(record) => {
            print_line(&record.id);
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
) -> Result<ContainerRecord, ExitCode> {
    let refuse = |error: &EngineError| {
        errors::report_run(invocation.program, error);
        ExitCode::from(125)
    };
    if let Some(path) = &request.cidfile
        && std::path::Path::new(path).exists()
    {
        return Err(refuse(&EngineError::conflict(format!(
            "container ID file found, make sure the other container isn't running or delete {path}"
        ))));
    }
    let resolved = image::resolve_for_run(engine, request).map_err(|error| refuse(&error))?;
    let record = engine
        .create(CreateRequest {
            spec: request.spec.clone(),
            name: request.name.clone(),
            image_id: resolved.id,
            defaults: resolved.defaults,
            platform: resolved.platform,
        })
        .map_err(|error| refuse(&error))?;
    for warning in &request.warnings {
        errors::complain(&format!("WARNING: {warning}"));
    }
    if let Some(path) = &request.cidfile {
        let written = std::fs::File::create_new(path)
            .and_then(|mut file| file.write_all(record.id.as_bytes()));
        if let Err(error) = written {
            discard(engine, &record);
            return Err(refuse(&EngineError::conflict(format!(
                "failed to create the container ID file: {path}: {error}"
            ))));
        }
    }
    Ok(record)
}

fn discard(engine: &Engine, record: &ContainerRecord) {
    if let Ok(removal) = engine.begin_remove(&record.id, true) {
        let _ = engine.finish_remove(removal);
    }
}

pub(crate) fn run(engine: &Engine, invocation: &Invocation) -> ExitCode {
    let request = match request(invocation) {
        Ok(request) => request,
        Err(code) => return code,
    };
    let record = match make(engine, invocation, &request) {
        Ok(record) => record,
        Err(code) => return code,
    };
    tell_of_network(&request);
    if request.detach {
        return match engine.start(&record.id, None) {
            Ok(started) => {
                warn(&started.warnings);
                print_line(&record.id);
                ExitCode::SUCCESS
            }
            Err(error) => not_started(engine, invocation, &request, &record, &error),
        };
    }
    foreground(engine, invocation, &request, &record)
}

/// Until bridge networks exist the default is said, not left to be found out.
fn tell_of_network(request: &RunRequest) {
    if request.spec.networks.is_empty() && !request.quiet && request.spec.image != "hello-world" {
        errors::complain(
            "caisson: note: bridge networks are not built yet: this container has loopback only (--network host gives it the host's network, --network none silences this)",
        );
    }
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
    record: &ContainerRecord,
    error: &EngineError,
) -> ExitCode {
    errors::report_run(invocation.program, error);
    if request.rm {
        discard(engine, record);
    }
    ExitCode::from(u8::try_from(error.start_code()).unwrap_or(125))
}

fn foreground(
    engine: &Engine,
    invocation: &Invocation,
    request: &RunRequest,
    record: &ContainerRecord,
) -> ExitCode {
    let spec = &record.spec;
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
            .start(&record.id, Some(&theirs))
            .map(|started| (connection, started))
    });
    let (mut connection, started) = match started {
        Ok(started) => started,
        Err(error) => return not_started(engine, invocation, request, record, &error),
    };
    warn(&started.warnings);
    let raw = if spec.tty && attach.stdin {
        terminal::RawMode::enter()
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
