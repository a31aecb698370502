//! `attach` and `start`: joining a container's streams.

use std::process::ExitCode;

use engine::protocol::{Attach, Kind};
use engine::{Connection, Engine, EngineError, StoredContainer};
use types::state::Status;

use super::container::each;
use crate::client_config::{self, ClientConfig};
use crate::errors;
use crate::flags::Invocation;
use crate::flags::parse::Program;
use crate::output::text::short_id;
use crate::run_flags;
use crate::streams::{self, Outcome, Session};
use crate::terminal::{self, DetachKeys};

/// A session with these properties; keys detach only where they are typed.
pub(crate) fn session(
    tty: bool,
    stdin: bool,
    proxy_signals: bool,
    detach_keys: Option<Vec<u8>>,
) -> Session {
    let keys = match detach_keys {
        _ if !stdin || !tty => Vec::new(),
        Some(keys) => keys,
        None => run_flags::DETACH_KEYS_DEFAULT.to_vec(),
    };
    Session {
        stdin,
        tty,
        proxy_signals,
        endings: 0,
        detach_keys: DetachKeys::new(keys),
    }
}

/// What an ended session means for this process.
pub(crate) fn end_session(
    engine: &Engine,
    invocation: &Invocation,
    id: &str,
    outcome: Result<Outcome, EngineError>,
) -> ExitCode {
    match outcome {
        Ok(Outcome::Ended(code)) => {
            let _ = engine.reap_ahead(id);
            ExitCode::from(u8::try_from(code & 0xff).unwrap_or(255))
        }
        Ok(Outcome::Detached) => {
            errors::complain("read escape sequence");
            // As with Docker: who only looked on has not seen the end; `run` and `start` have done their work.
            ExitCode::from(u8::from(invocation.name.ends_with("attach")))
        }
        Ok(Outcome::Forced) => {
            errors::complain("got 3 SIGTERM/SIGINTs, forcefully exiting");
            ExitCode::from(1)
        }
        Ok(Outcome::Interrupted(signal)) => {
            ExitCode::from(u8::try_from(128 + signal).unwrap_or(255))
        }
        Ok(Outcome::Lost) => {
            let short = short_id(id);
            errors::refuse(
                invocation.program,
                &format!(
                    "the connection to the monitor of container {short} was lost; further output is not \
                     shown here"
                ),
            );
            match engine.wait(id, engine::container::stop::WaitFor::NotRunning) {
                Ok(code) => ExitCode::from(u8::try_from(code & 0xff).unwrap_or(255)),
                Err(_) => ExitCode::from(255),
            }
        }
        Err(error) => {
            errors::report(invocation.program, &error);
            ExitCode::from(1)
        }
    }
}

fn keys(invocation: &Invocation) -> Result<Option<Vec<u8>>, ExitCode> {
    let config = ClientConfig::load();
    let flag = invocation.matches.get_str("detach-keys");
    run_flags::detach_keys(client_config::format(flag, &config.detach_keys)).map_err(|error| {
        let failure = error.failure(invocation.program, "attach");
        errors::complain(&failure.text);
        ExitCode::from(failure.exit_code)
    })
}

fn no_terminal(tty: bool, stdin: bool) -> bool {
    tty && stdin && !terminal::is_terminal(rustix::stdio::stdin())
}

pub(crate) fn attach(engine: &Engine, invocation: &Invocation) -> ExitCode {
    let matches = &invocation.matches;
    let keys = match keys(invocation) {
        Ok(keys) => keys,
        Err(code) => return code,
    };
    let key = matches.args.first().map_or("", String::as_str);
    let stored = match engine.container(key) {
        Ok(stored) => stored,
        Err(error) => {
            errors::report(invocation.program, &error);
            return ExitCode::from(1);
        }
    };
    let refusal = match stored.state.status {
        Status::Running => None,
        Status::Paused => Some("You cannot attach to a paused container, unpause it first"),
        Status::Restarting => {
            Some("You cannot attach to a restarting container, wait until it is running")
        }
        _ => Some("You cannot attach to a stopped container, start it first"),
    };
    if let Some(text) = refusal {
        errors::complain(text);
        return ExitCode::from(1);
    }
    let spec = &stored.record.spec;
    let stdin = spec.open_stdin && !matches.get_bool("no-stdin");
    if no_terminal(spec.tty, stdin) {
        errors::complain("the input device is not a TTY");
        return ExitCode::from(1);
    }
    let join = Join {
        stored: &stored,
        stdin,
        is_owner: false,
        proxy_signals: matches.get_bool("sig-proxy"),
        keys,
    };
    join.run(engine, invocation, |join| join.connect_running(engine))
}

/// What joining a container's streams needs.
struct Join<'a> {
    stored: &'a StoredContainer,
    stdin: bool,
    /// Whether the streams end with this command.
    is_owner: bool,
    /// Of a container without a terminal.
    proxy_signals: bool,
    keys: Option<Vec<u8>>,
}

impl Join<'_> {
    fn connect_running(&self, engine: &Engine) -> Result<Connection, EngineError> {
        let (_, connection) = engine.connect_running(&self.stored.record.id)?;
        self.ask(&connection)?;
        Ok(connection)
    }

    fn ask(&self, connection: &Connection) -> Result<(), EngineError> {
        let attach = Attach {
            stdin: self.stdin,
            stdout: true,
            stderr: true,
            owner: self.is_owner,
        };
        connection.send(Kind::Attach, &attach)?;
        if self.stored.record.spec.tty {
            let [rows, columns] = terminal::size();
            connection.send(Kind::Resize, &engine::protocol::Resize { rows, columns })?;
        }
        Ok(())
    }

    fn run(
        mut self,
        engine: &Engine,
        invocation: &Invocation,
        connect: impl FnOnce(&Self) -> Result<Connection, EngineError>,
    ) -> ExitCode {
        let tty = self.stored.record.spec.tty;
        let signals = streams::take_signals();
        let mut connection = match connect(&self) {
            Ok(connection) => connection,
            Err(error) => {
                errors::report(invocation.program, &error);
                return ExitCode::from(1);
            }
        };
        let raw = match tty && self.stdin {
            true => terminal::Mode::raw(),
            false => None,
        };
        let session = session(
            tty,
            self.stdin,
            self.proxy_signals && !tty,
            self.keys.take(),
        );
        let outcome = streams::attached(&mut connection, session, signals.as_ref());
        drop(raw);
        end_session(engine, invocation, &self.stored.record.id, outcome)
    }
}

pub(crate) fn start(engine: &Engine, invocation: &Invocation) -> ExitCode {
    let matches = &invocation.matches;
    let interactive = matches.get_bool("interactive");
    if !matches.get_bool("attach") && !interactive {
        let mut failed = Vec::new();
        let code = each(invocation, |key| {
            let started = engine.start(key, None);
            if started.is_err() {
                failed.push(key.to_owned());
            }
            for warning in started?.warnings {
                errors::complain(&format!("WARNING: {warning}"));
            }
            Ok(key.to_string())
        });
        if !failed.is_empty() && invocation.program == Program::Docker {
            let names = failed.join(", ");
            errors::complain(&format!("Error: failed to start containers: {names}"));
        }
        return code;
    }
    let [key] = matches.args.as_slice() else {
        errors::complain("you cannot start and attach multiple containers at once");
        return ExitCode::from(1);
    };
    start_attached(engine, invocation, key, interactive)
}

fn start_attached(
    engine: &Engine,
    invocation: &Invocation,
    key: &str,
    interactive: bool,
) -> ExitCode {
    let keys = match keys(invocation) {
        Ok(keys) => keys,
        Err(code) => return code,
    };
    let stored = match engine.container(key) {
        Ok(stored) => stored,
        Err(error) => {
            errors::report(invocation.program, &error);
            return ExitCode::from(1);
        }
    };
    let spec = &stored.record.spec;
    let stdin = interactive && spec.open_stdin;
    if no_terminal(spec.tty, stdin) {
        errors::complain("the input device is not a TTY");
        return ExitCode::from(1);
    }
    // One that runs already is joined, as by attach.
    let is_running = stored.state.status == Status::Running;
    let join = Join {
        stored: &stored,
        stdin,
        is_owner: !is_running,
        proxy_signals: true,
        keys,
    };
    join.run(engine, invocation, |join| {
        if is_running {
            return join.connect_running(engine);
        }
        let (ours, theirs) = engine::connection_pair()?;
        let connection = Connection::from_socket(ours);
        join.ask(&connection)?;
        engine.start(&join.stored.record.id, Some(&theirs))?;
        Ok(connection)
    })
}
