//! `exec`: its process's streams are ours; the monitor only starts it and tells its end.

use std::os::fd::{AsFd, OwnedFd};
use std::process::ExitCode;

use engine::container::execute::{ExecRequest, Executing};
use engine::{Engine, EngineError};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::OFlags;
use rustix::pipe::PipeFlags;

use super::run::with_caller;
use crate::client_config::ClientConfig;
use crate::errors;
use crate::flags::Invocation;
use crate::run_flags;
use crate::streams::{self, write_all};
use crate::terminal::{self, DetachKeys, Typed};

const CHUNK_BYTES: usize = 32 * 1024;
const SIGNAL_WINDOW: i32 = 28;

pub(crate) fn exec(engine: &Engine, invocation: &Invocation) -> ExitCode {
    let read = with_caller(|caller| run_flags::exec_request(&invocation.matches, caller));
    let configured = read.and_then(|mut asked| {
        if asked.tty && asked.detach_keys.is_none() {
            asked.detach_keys = run_flags::detach_keys(&ClientConfig::load().detach_keys)?;
        }
        Ok(asked)
    });
    let asked = match configured {
        Ok(asked) => asked,
        Err(error) => {
            let failure = error.failure(invocation.program, "exec");
            errors::complain(&failure.text);
            return ExitCode::from(failure.exit_code);
        }
    };
    // A missing container is named before a missing terminal, as Docker does.
    let looked = engine.connect_running(&asked.container).map(drop);
    if let Err(error) = looked {
        errors::report(invocation.program, &error);
        return ExitCode::from(1);
    }
    if let Err(error) = with_caller(|caller| asked.check_terminal(caller)) {
        errors::complain(&error.failure(invocation.program, "exec").text);
        return ExitCode::from(1);
    }
    let request = ExecRequest {
        command: asked.command.clone(),
        env: asked.env.clone(),
        working_dir: asked.working_dir.clone(),
        user: asked.user.clone(),
        tty: asked.tty,
        privileged: asked.privileged,
        detach: asked.detach,
        console_size: if asked.tty {
            asked.console_size
        } else {
            [0, 0]
        },
    };
    let result = if asked.detach {
        let begun = engine.execute(&asked.container, &request, &[]);
        begun.map(|_| Some(0))
    } else if asked.tty {
        with_terminal(
            engine,
            &asked.container,
            &request,
            asked.interactive,
            asked.detach_keys.clone(),
        )
    } else {
        with_pipes(engine, &asked.container, &request, asked.interactive)
    };
    ended(invocation, &asked.container, result)
}

/// What became of the process; without a code its monitor was killed, and nobody learns it.
fn ended(
    invocation: &Invocation,
    container: &str,
    result: Result<Option<i32>, EngineError>,
) -> ExitCode {
    match result {
        Ok(Some(code)) => ExitCode::from(u8::try_from(code & 0xff).unwrap_or(255)),
        Ok(None) => {
            errors::refuse(
                invocation.program,
                &format!(
                    "the monitor of container {container} was killed: the exit code of the process is not known"
                ),
            );
            ExitCode::from(255)
        }
        Err(error) => {
            errors::report_exec(invocation.program, &error);
            let code = match &error {
                EngineError::Start(failure) if failure.kind != engine::FailureKind::Setup => {
                    failure.kind.exit_code()
                }
                EngineError::Start(_) => 126,
                _ => 1,
            };
            ExitCode::from(u8::try_from(code).unwrap_or(1))
        }
    }
}

/// One direction of bytes.
struct Pump {
    from: OwnedFd,
    open: bool,
}

impl Pump {
    /// Reads once and writes it out; false at the end.
    fn turn(&mut self, to: std::os::fd::BorrowedFd<'_>) -> bool {
        let mut buffer = [0u8; CHUNK_BYTES];
        match rustix::io::read(&self.from, &mut buffer) {
            Ok(0) => self.open = false,
            Ok(count) if write_all(to, &buffer[..count]) => return true,
            // Nobody reads it: the process shall learn it, as in any pipeline.
            Ok(_) => {
                self.open = false;
                if let Ok(null) = std::fs::File::open("/dev/null") {
                    self.from = null.into();
                }
            }
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => {}
            // EIO: a terminal that nobody has open any more.
            Err(_) => self.open = false,
        }
        false
    }
}

fn set_nonblocking(fd: &OwnedFd) {
    if let Ok(flags) = rustix::fs::fcntl_getfl(fd) {
        let _ = rustix::fs::fcntl_setfl(fd, flags | OFlags::NONBLOCK);
    }
}

fn pipe() -> Result<(OwnedFd, OwnedFd), EngineError> {
    rustix::pipe::pipe_with(PipeFlags::CLOEXEC)
        .map_err(|errno| EngineError::conflict(format!("cannot make a pipe: {errno}")))
}

/// Its exit code; none where the monitor was killed, and nobody learns it.
fn with_pipes(
    engine: &Engine,
    container: &str,
    request: &ExecRequest,
    interactive: bool,
) -> Result<Option<i32>, EngineError> {
    let (their_input, input) = pipe()?;
    let (output, their_output) = pipe()?;
    let (error, their_error) = pipe()?;
    let mut executing = engine.execute(
        container,
        request,
        &[
            their_input.as_fd(),
            their_output.as_fd(),
            their_error.as_fd(),
        ],
    )?;
    drop((their_input, their_output, their_error));
    for fd in [&output, &error, &input] {
        set_nonblocking(fd);
    }
    let mut outputs = [
        Pump {
            from: output,
            open: true,
        },
        Pump {
            from: error,
            open: true,
        },
    ];
    let mut input = if interactive { Some(input) } else { None };
    let mut pending: Vec<u8> = Vec::new();
    loop {
        let ended = wait_pipes(&executing, &outputs, input.as_ref(), &pending);
        outputs[0].turn(rustix::stdio::stdout());
        outputs[1].turn(rustix::stdio::stderr());
        feed(&mut input, &mut pending);
        if ended {
            // What was written before the end is there; what children of it still hold is theirs.
            while outputs[0].turn(rustix::stdio::stdout()) {}
            while outputs[1].turn(rustix::stdio::stderr()) {}
            return executing.wait();
        }
    }
}

/// Sleeps until something can be done; true where the process has ended.
fn wait_pipes(
    executing: &Executing,
    outputs: &[Pump; 2],
    input: Option<&OwnedFd>,
    pending: &[u8],
) -> bool {
    let mut fds = vec![PollFd::from_borrowed_fd(executing.as_fd(), PollFlags::IN)];
    for pump in outputs.iter().filter(|pump| pump.open) {
        fds.push(PollFd::from_borrowed_fd(pump.from.as_fd(), PollFlags::IN));
    }
    if let Some(input) = input {
        if pending.is_empty() {
            fds.push(PollFd::from_borrowed_fd(
                rustix::stdio::stdin(),
                PollFlags::IN,
            ));
            // Only errors: a process that closed its input.
            fds.push(PollFd::from_borrowed_fd(input.as_fd(), PollFlags::empty()));
        } else {
            fds.push(PollFd::from_borrowed_fd(input.as_fd(), PollFlags::OUT));
        }
    }
    poll(&mut fds, None).is_ok() && !fds[0].revents().is_empty()
}

fn feed(input: &mut Option<OwnedFd>, pending: &mut Vec<u8>) {
    let Some(fd) = input else { return };
    if pending.is_empty() {
        let mut stdin = [PollFd::from_borrowed_fd(
            rustix::stdio::stdin(),
            PollFlags::IN,
        )];
        let now = rustix::event::Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        if !matches!(poll(&mut stdin, Some(&now)), Ok(1..)) {
            // Nothing typed: see whether anybody would read it.
            if rustix::io::write(&*fd, &[]) == Err(rustix::io::Errno::PIPE) {
                *input = None;
            }
            return;
        }
        let mut buffer = vec![0u8; CHUNK_BYTES];
        match rustix::io::read(rustix::stdio::stdin(), &mut buffer) {
            Ok(count @ 1..) => pending.extend_from_slice(&buffer[..count]),
            Err(rustix::io::Errno::INTR | rustix::io::Errno::AGAIN) => return,
            _ => {
                *input = None;
                return;
            }
        }
    }
    match rustix::io::write(&*fd, pending) {
        Ok(count) => {
            pending.drain(..count);
        }
        Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => {}
        Err(_) => {
            pending.clear();
            *input = None;
        }
    }
}

fn with_terminal(
    engine: &Engine,
    container: &str,
    request: &ExecRequest,
    interactive: bool,
    keys: Option<Vec<u8>>,
) -> Result<Option<i32>, EngineError> {
    let signals = streams::take_signals();
    let mut executing = engine.execute(container, request, &[])?;
    let Some(master) = executing.terminal.take() else {
        return Err(EngineError::conflict("the process gave no terminal"));
    };
    set_nonblocking(&master);
    let raw = interactive.then(terminal::Mode::raw).flatten();
    let mut keys = DetachKeys::new(keys.unwrap_or_else(|| run_flags::DETACH_KEYS_DEFAULT.to_vec()));
    let mut pump = Pump {
        from: master,
        open: true,
    };
    let mut pending: Vec<u8> = Vec::new();
    let mut input_open = interactive;
    let mut detached = false;
    let code = loop {
        let ready = wait_terminal(
            &executing,
            &pump,
            signals.as_ref(),
            input_open,
            !pending.is_empty(),
        );
        pump.turn(rustix::stdio::stdout());
        if let Some(number) = signals.as_ref().and_then(engine::signals::read) {
            match number {
                SIGNAL_WINDOW => resize(&pump.from),
                // Nothing is proxied to it.
                _ if streams::ends_us(number) => break Ok(Some(128 + number)),
                _ => {}
            }
        }
        if ready.input && pending.is_empty() {
            let mut buffer = [0u8; 4096];
            match rustix::io::read(rustix::stdio::stdin(), &mut buffer) {
                Ok(count @ 1..) => match keys.filter(&buffer[..count]) {
                    Typed::Input(bytes) => pending = bytes,
                    Typed::Detach(_) => {
                        detached = true;
                        break Ok(Some(1));
                    }
                },
                Err(rustix::io::Errno::INTR | rustix::io::Errno::AGAIN) => {}
                _ => input_open = false,
            }
        }
        if !pending.is_empty()
            && let Ok(count) = rustix::io::write(&pump.from, &pending)
        {
            pending.drain(..count);
        }
        if ready.ended {
            while pump.turn(rustix::stdio::stdout()) {}
            break executing.wait();
        }
    };
    drop(raw);
    if detached {
        errors::complain("read escape sequence");
    }
    code
}

struct TerminalReady {
    ended: bool,
    input: bool,
}

fn wait_terminal(
    executing: &Executing,
    pump: &Pump,
    signals: Option<&OwnedFd>,
    input_open: bool,
    has_pending: bool,
) -> TerminalReady {
    let mut fds = vec![PollFd::from_borrowed_fd(executing.as_fd(), PollFlags::IN)];
    let with_input = input_open && !has_pending;
    if with_input {
        fds.push(PollFd::from_borrowed_fd(
            rustix::stdio::stdin(),
            PollFlags::IN,
        ));
    }
    if pump.open {
        let flags = if has_pending {
            PollFlags::IN | PollFlags::OUT
        } else {
            PollFlags::IN
        };
        fds.push(PollFd::from_borrowed_fd(pump.from.as_fd(), flags));
    }
    if let Some(signals) = signals {
        fds.push(PollFd::from_borrowed_fd(signals.as_fd(), PollFlags::IN));
    }
    if poll(&mut fds, None).is_err() {
        return TerminalReady {
            ended: false,
            input: false,
        };
    }
    TerminalReady {
        ended: !fds[0].revents().is_empty(),
        input: with_input && !fds[1].revents().is_empty(),
    }
}

fn resize(master: &OwnedFd) {
    let [rows, columns] = terminal::size();
    let size = rustix::termios::Winsize {
        ws_row: rows,
        ws_col: columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    let _ = rustix::termios::tcsetwinsize(master, size);
}
