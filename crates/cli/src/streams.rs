//! Between the user and a container: standard streams, signals, terminal size.
//!
//! One loop over `poll`. Output is written as it comes, and while it cannot be written nothing is
//! read, so that a slow reader slows the container and loses nothing. Input is only sent when the
//! monitor takes it: otherwise both sides could wait for each other.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process::ExitCode;
use std::sync::OnceLock;

use engine::protocol::{self, Ended, Kind, Resize, Signal};
use engine::{Connection, EngineError};
use rustix::event::{PollFd, PollFlags, poll};

use crate::errors;
use crate::terminal::{self, DetachKeys, Typed};

const SIGNAL_CHILD: i32 = 17;
const SIGNAL_WINDOW: i32 = 28;
/// SIGPIPE, SIGCHLD and SIGURG stay ours, as in Docker's client; the stops cannot be had anyway.
const NOT_PROXIED: [i32; 5] = [9, 13, SIGNAL_CHILD, 19, 23];

/// How an attached session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The container ended with this code.
    Ended(i32),
    /// The user typed the detach keys.
    Detached,
    /// A signal for us, because none is proxied.
    Interrupted(i32),
    /// The user has asked often enough to be let go.
    Forced,
    /// The monitor was killed: what became of the container must be asked.
    Lost,
}

/// What of the user's side takes part.
pub(crate) struct Session {
    /// Standard input is sent.
    pub(crate) stdin: bool,
    /// The container's streams are a terminal.
    pub(crate) tty: bool,
    /// Signals go to the container.
    pub(crate) proxy_signals: bool,
    /// How often the user has asked to end, by SIGINT or SIGTERM.
    pub(crate) endings: usize,
    /// Keys that detach.
    pub(crate) detach_keys: DetachKeys,
}

/// Blocks all signals and makes them readable; done before a container starts, so that none is lost.
pub(crate) fn take_signals() -> Option<OwnedFd> {
    let all = !(bit(9) | bit(19) | bit(SIGNAL_CHILD));
    sys_signals(all)
}

fn bit(signal: i32) -> u64 {
    1 << (signal - 1)
}

fn sys_signals(mask: u64) -> Option<OwnedFd> {
    engine::signals::descriptor(mask).ok()
}

const SIGNAL_INTERRUPT: i32 = 2;
const SIGNAL_PIPE: i32 = 13;
const SIGNAL_TERMINATE: i32 = 15;
/// So many of SIGINT and SIGTERM end the command itself, whatever the container does with them.
const ENDINGS_MAX: usize = 3;

/// Runs an attached session to its end.
pub(crate) fn attached(
    connection: &mut Connection,
    mut session: Session,
    signals: Option<&OwnedFd>,
) -> Result<Outcome, EngineError> {
    let mut input_open = session.stdin;
    let mut pending: Option<Vec<u8>> = None;
    loop {
        let ready = wait(connection, signals, input_open, pending.is_some());
        if ready.socket
            && let Some(outcome) = receive(connection)?
        {
            return Ok(outcome);
        }
        if ready.signal
            && let Some(signals) = signals
            && let Some(outcome) = forward_signal(connection, &mut session, signals)
        {
            return Ok(outcome);
        }
        if ready.room
            && let Some(bytes) = pending.take()
        {
            // A monitor that is gone is noticed by the next receive.
            let _ = connection.send_raw(Kind::Input, &bytes);
        }
        if ready.input && pending.is_none() {
            let mut buffer = vec![0u8; protocol::CHUNK_BYTES_MAX];
            match rustix::io::read(rustix::stdio::stdin(), &mut buffer) {
                Ok(count @ 1..) => match session.detach_keys.filter(&buffer[..count]) {
                    Typed::Input(bytes) if bytes.is_empty() => {}
                    Typed::Input(bytes) => pending = Some(bytes),
                    Typed::Detach(_) => {
                        // It is told as an event; a monitor that just ended tells another.
                        let _ = connection.send(Kind::Detach, &());
                        return Ok(Outcome::Detached);
                    }
                },
                Err(rustix::io::Errno::INTR | rustix::io::Errno::AGAIN) => {}
                _ => {
                    input_open = false;
                    let _ = connection.send_raw(Kind::InputEnd, b"");
                }
            }
        }
    }
}

#[derive(Default)]
struct Ready {
    socket: bool,
    room: bool,
    signal: bool,
    input: bool,
}

fn wait(
    connection: &Connection,
    signals: Option<&OwnedFd>,
    input_open: bool,
    has_pending: bool,
) -> Ready {
    let socket_flags = if has_pending {
        PollFlags::IN | PollFlags::OUT
    } else {
        PollFlags::IN
    };
    let mut fds = vec![PollFd::from_borrowed_fd(connection.as_fd(), socket_flags)];
    if let Some(signals) = signals {
        fds.push(PollFd::from_borrowed_fd(signals.as_fd(), PollFlags::IN));
    }
    let with_input = input_open && !has_pending;
    if with_input {
        fds.push(PollFd::from_borrowed_fd(
            rustix::stdio::stdin(),
            PollFlags::IN,
        ));
    }
    if poll(&mut fds, None).is_err() {
        return Ready::default();
    }
    let seen = |index: usize| !fds[index].revents().is_empty();
    Ready {
        socket: fds[0]
            .revents()
            .intersects(PollFlags::IN | PollFlags::HUP | PollFlags::ERR),
        room: fds[0].revents().contains(PollFlags::OUT),
        signal: signals.is_some() && seen(1),
        input: with_input && seen(fds.len() - 1),
    }
}

fn receive(connection: &mut Connection) -> Result<Option<Outcome>, EngineError> {
    let Some(packet) = connection.receive()? else {
        return Ok(Some(Outcome::Lost));
    };
    let is_read = match packet.kind {
        Kind::Output => write_all(rustix::stdio::stdout(), &packet.body),
        Kind::ErrorOutput => write_all(rustix::stdio::stderr(), &packet.body),
        Kind::Ended => {
            let code = serde_json::from_slice::<Ended>(&packet.body).map_or(255, |e| e.code);
            return Ok(Some(Outcome::Ended(code)));
        }
        _ => true,
    };
    // As any program in a pipeline whose reader has gone; the container goes on.
    Ok((!is_read).then_some(Outcome::Interrupted(SIGNAL_PIPE)))
}

/// What of the output could not be written first, and why: `/dev/stdout: no space left on device`.
static LOST: OnceLock<String> = OnceLock::new();

/// Notes that output is lost. A reader that has gone is none.
pub(crate) fn note_lost(name: &str, error: &std::io::Error) {
    if error.kind() != std::io::ErrorKind::BrokenPipe {
        let _ = LOST.set(format!("{name}: {}", crate::cause::cause(error)));
    }
}

/// The code of a command that came to `code`: one whose output is lost has not succeeded, and says so.
pub(crate) fn code_with_losses(code: ExitCode) -> ExitCode {
    let Some(lost) = LOST.get() else {
        return code;
    };
    errors::complain(&format!("write {lost}"));
    match code == ExitCode::SUCCESS {
        true => ExitCode::FAILURE,
        false => code,
    }
}

/// Writes everything; false where nobody reads it any more. Other failures lose the bytes, and are
/// told by [`code_with_losses`].
pub(crate) fn write_all(fd: BorrowedFd<'_>, mut bytes: &[u8]) -> bool {
    while !bytes.is_empty() {
        match rustix::io::write(fd, bytes) {
            Ok(count) => bytes = &bytes[count..],
            Err(rustix::io::Errno::INTR) => {}
            Err(rustix::io::Errno::AGAIN) => {
                let _ = poll(&mut [PollFd::from_borrowed_fd(fd, PollFlags::OUT)], None);
            }
            Err(errno) => {
                let is_error = std::os::fd::AsRawFd::as_raw_fd(&fd) == 2;
                let name = if is_error {
                    "/dev/stderr"
                } else {
                    "/dev/stdout"
                };
                note_lost(name, &errno.into());
                return errno != rustix::io::Errno::PIPE;
            }
        }
    }
    true
}

fn forward_signal(
    connection: &Connection,
    session: &mut Session,
    signals: &OwnedFd,
) -> Option<Outcome> {
    let number = engine::signals::read(signals)?;
    if session.tty && number == SIGNAL_WINDOW {
        let [rows, columns] = terminal::size();
        let _ = connection.send(Kind::Resize, &Resize { rows, columns });
        return None;
    }
    if matches!(number, SIGNAL_INTERRUPT | SIGNAL_TERMINATE) {
        session.endings += 1;
        if session.endings == ENDINGS_MAX {
            return Some(Outcome::Forced);
        }
    }
    if session.proxy_signals {
        if !NOT_PROXIED.contains(&number) {
            let _ = connection.send(
                Kind::Signal,
                &Signal {
                    number,
                    by_user: true,
                },
            );
        }
        return None;
    }
    ends_us(number).then_some(Outcome::Interrupted(number))
}

/// Whether a signal ends a command that passes none on.
pub(crate) fn ends_us(signal: i32) -> bool {
    matches!(signal, 1 | 2 | 3 | 15)
}
