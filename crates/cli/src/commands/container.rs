//! Commands on one or several containers that print a name per success.

use std::process::ExitCode;

use engine::container::stop::WaitFor;
use engine::protocol::Stop;
use engine::{Engine, EngineError};

use super::print_line;
use crate::errors;
use crate::flags::parse::Program;
use crate::flags::{Invocation, Verb};

/// Does something to each argument; goes on past failures and exits 1 if there was one.
pub(crate) fn each(
    invocation: &Invocation,
    mut act: impl FnMut(&str) -> Result<String, EngineError>,
) -> ExitCode {
    let mut failed = false;
    for key in &invocation.matches.args {
        match act(key) {
            Ok(line) => print_line(&line),
            Err(error) => {
                errors::report(invocation.program, &error);
                failed = true;
            }
        }
    }
    ExitCode::from(u8::from(failed))
}

fn stop_request(invocation: &Invocation) -> Result<Stop, EngineError> {
    let matches = &invocation.matches;
    let signal = match matches.get_str("signal") {
        "" => None,
        text => Some(signal_number(text)?),
    };
    let timeout_s = matches
        .is_set("timeout")
        .then(|| matches.get_int("timeout").max(-1));
    Ok(Stop { signal, timeout_s })
}

fn signal_number(text: &str) -> Result<i32, EngineError> {
    types::signal::Signal::parse(text)
        .map(types::signal::Signal::number)
        .map_err(|error| EngineError::invalid(error.to_string()))
}

pub(crate) fn stop(engine: &Engine, invocation: &Invocation) -> ExitCode {
    let stop = match stop_request(invocation) {
        Ok(stop) => stop,
        Err(error) => return fail(invocation, &error),
    };
    // All are asked first, so that ten containers need as long as the slowest.
    let asked: Vec<_> = invocation
        .matches
        .args
        .iter()
        .map(|key| (key.clone(), engine.begin_stop(key, stop)))
        .collect();
    finish(invocation, asked, |(stored, connection)| {
        engine.finish_stop(&stored, connection, stop)
    })
}

fn finish<T>(
    invocation: &Invocation,
    begun: Vec<(String, Result<T, EngineError>)>,
    mut end: impl FnMut(T) -> Result<(), EngineError>,
) -> ExitCode {
    let mut failed = false;
    for (key, begun) in begun {
        match begun.and_then(&mut end) {
            Ok(()) => print_line(&key),
            Err(error) => {
                errors::report(invocation.program, &error);
                failed = true;
            }
        }
    }
    ExitCode::from(u8::from(failed))
}

fn fail(invocation: &Invocation, error: &EngineError) -> ExitCode {
    errors::report(invocation.program, error);
    ExitCode::from(1)
}

pub(crate) fn restart(engine: &Engine, invocation: &Invocation) -> ExitCode {
    let stop = match stop_request(invocation) {
        Ok(stop) => stop,
        Err(error) => return fail(invocation, &error),
    };
    each(invocation, |key| {
        engine.restart(key, stop)?;
        Ok(key.to_string())
    })
}

pub(crate) fn kill(engine: &Engine, invocation: &Invocation) -> ExitCode {
    let text = invocation.matches.get_str("signal");
    let number = match signal_number(if text.is_empty() { "KILL" } else { text }) {
        Ok(number) => number,
        Err(error) => return fail(invocation, &error),
    };
    each(invocation, |key| {
        engine.kill(key, number)?;
        Ok(key.to_string())
    })
}

pub(crate) fn rm(engine: &Engine, invocation: &Invocation) -> ExitCode {
    let force = invocation.matches.get_bool("force");
    let mut removing = std::collections::BTreeSet::new();
    let mut begin = |key: &String| {
        let removal = engine.begin_remove(key, force)?;
        if !removing.insert(removal.id().to_owned()) {
            return Err(EngineError::conflict(format!(
                "removal of container {key} is already in progress"
            )));
        }
        Ok(removal)
    };
    let args = invocation.matches.args.iter();
    let begun: Vec<_> = args.map(|key| (key.clone(), begin(key))).collect();
    let with_volumes = invocation.matches.get_bool("volumes");
    let mut failed = false;
    for (key, begun) in begun {
        let begun = begun.map(|removal| removal.with_volumes(with_volumes));
        match begun.and_then(|removal| engine.finish_remove(removal)) {
            Ok(()) => print_line(&key),
            Err(error) => {
                errors::report(invocation.program, &error);
                // `rm -f` of what is not there has reached its aim.
                failed |= !(force && matches!(error, EngineError::NoSuchContainer(_)));
            }
        }
    }
    engine.sweep();
    ExitCode::from(u8::from(failed))
}

pub(crate) fn wait(engine: &Engine, invocation: &Invocation) -> ExitCode {
    each(invocation, |key| {
        Ok(engine.wait(key, WaitFor::NotRunning)?.to_string())
    })
}

pub(crate) fn set_paused(engine: &Engine, invocation: &Invocation) -> ExitCode {
    let paused = invocation.command.verb == Verb::Pause;
    each(invocation, |key| {
        engine.set_paused(key, paused)?;
        Ok(key.to_string())
    })
}

pub(crate) fn rename(engine: &Engine, invocation: &Invocation) -> ExitCode {
    let [key, name] = invocation.matches.args.as_slice() else {
        return ExitCode::from(1);
    };
    if name.is_empty() {
        errors::refuse(
            invocation.program,
            "Error: Neither old nor new names may be empty",
        );
        return ExitCode::from(1);
    }
    match engine.rename(key, name) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let code = fail(invocation, &error);
            if invocation.program == Program::Docker {
                errors::complain(&format!("Error: failed to rename container named {key}"));
            }
            code
        }
    }
}
