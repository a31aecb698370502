//! What commands and monitors say to each other: packets on a Unix socket.
//!
//! A packet is the protocol version, a kind, and a body (JSON or raw bytes).
//!
//! ```text
//! command → monitor                                   monitor → command
//!   Attach {stdin, stdout, stderr, owner}               Output, ErrorOutput   raw bytes
//!   Input raw bytes · InputEnd                          Ended {code}          the container ended
//!   Resize {rows, columns}                              Started {pid}         a start or exec runs
//!   Signal {number}                                     Failed {kind, text}   it does not
//!   Stop {signal, timeout}                              Done                  the request is carried out
//!   Pause · Resume · Update {resources, restart}
//!   Hold                                                its processes stand still while we are connected,
//!                                                       and its policy does not start it
//!   Execute {…} + 3 fds (none with a terminal)          Started + master fd, later Ended
//!   ExecuteFile + the same, + a file with the {…}       as Execute, for what is longer than a packet
//!   Connect an endpoint · Disconnect {network}
//!   AskPorts                                            Ports {list} + its sockets, which it holds on to
//!   TakePorts {handed, others} + sockets                they lead to its container from now on
//!   LetGoPorts                                          they lead to another one by now
//!   Rename {name}                                       events and name servers know it by that name
//!   Detach                                              its user typed the keys; nothing is answered
//!   List                                                Processes {exec_ids} that run now
//!   Wait                                                Ended when the container ends for good
//!   Save                                                Done: its state is written anew
//! ```
//! Version 1. A monitor answers a version that it does not know with `Failed`.

use serde::{Deserialize, Serialize};
use types::container::{Resources, RestartPolicy};

/// Version spoken here.
pub const VERSION: u8 = 1;
/// The longest packet.
pub const PACKET_BYTES_MAX: usize = 64 * 1024;
/// The longest request to execute that comes in a file: the kernel passes a program at most 6 MiB of
/// words, and JSON may need more for them.
pub const EXECUTE_BYTES_MAX: u64 = 32 * 1024 * 1024;
/// The longest reason of a failure: users may name a program of any length, and a reason fits into a
/// packet whatever JSON makes of it.
const REASON_BYTES_MAX: usize = 8 * 1024;
/// The most stream bytes in one packet.
pub const CHUNK_BYTES_MAX: usize = 32 * 1024;
/// Name of a monitor's socket in its run directory.
pub const SOCKET: &str = "monitor";

/// Asks a monitor whose run directory was removed to make it and its socket again: SIGHUP.
pub const REMAKE_SIGNAL: i32 = 1;

/// The directory that a monitor locks for life, for a container's directory in the store: there, and
/// not in the run root, which somebody may remove under a running container.
pub fn alive_lock(directory: &std::path::Path) -> std::path::PathBuf {
    directory.join("upper")
}

/// The directory that is locked while the container's root is mounted, which is a little longer:
/// unmounting takes milliseconds that nobody who only wants the end should wait for.
pub fn mounted_lock(directory: &std::path::Path) -> std::path::PathBuf {
    directory.join("work")
}

/// Kinds of packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
#[expect(missing_docs, reason = "the table above says each")]
pub enum Kind {
    Attach = b'A',
    Input = b'I',
    InputEnd = b'E',
    Resize = b'W',
    Signal = b'K',
    Stop = b'S',
    Pause = b'P',
    Hold = b'H',
    Resume = b'U',
    Update = b'L',
    Execute = b'X',
    ExecuteFile = b'F',
    Connect = b'N',
    Disconnect = b'D',
    AskPorts = b'O',
    TakePorts = b'G',
    LetGoPorts = b'V',
    Rename = b'R',
    Detach = b'T',
    List = b'J',
    Wait = b'Q',
    Save = b'Y',
    Output = b'1',
    ErrorOutput = b'2',
    Ended = b'Z',
    Started = b'+',
    Failed = b'-',
    Done = b'=',
    Processes = b'j',
    Ports = b'o',
}

impl Kind {
    fn from_byte(byte: u8) -> Option<Self> {
        use Kind as K;
        [
            K::Attach,
            K::Input,
            K::InputEnd,
            K::Resize,
            K::Signal,
            K::Stop,
            K::Pause,
            K::Hold,
            K::Resume,
            K::Update,
            K::Execute,
            K::ExecuteFile,
            K::Connect,
            K::Disconnect,
            K::AskPorts,
            K::TakePorts,
            K::LetGoPorts,
            K::Rename,
            K::Detach,
            K::List,
            K::Wait,
            K::Save,
            K::Output,
            K::ErrorOutput,
            K::Ended,
            K::Started,
            K::Failed,
            K::Done,
            K::Processes,
            K::Ports,
        ]
        .into_iter()
        .find(|kind| *kind as u8 == byte)
    }
}

/// Builds a packet.
pub fn packet(kind: Kind, body: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(body.len() + 2);
    bytes.extend_from_slice(&[VERSION, kind as u8]);
    bytes.extend_from_slice(body);
    bytes
}

/// Builds a packet with a JSON body.
pub fn json_packet(kind: Kind, body: &impl Serialize) -> Vec<u8> {
    packet(
        kind,
        &serde_json::to_vec(body).expect("invariant: our own messages have JSON forms"),
    )
}

/// Builds the packet that says why something was not done.
pub fn failed_packet(failure: &runtime::Failure) -> Vec<u8> {
    let mut shown = failure.clone();
    if shown.text.len() > REASON_BYTES_MAX {
        let boundary = |at: &usize| shown.text.is_char_boundary(*at);
        let end = (0..=REASON_BYTES_MAX).rev().find(boundary).unwrap_or(0);
        shown.text.truncate(end);
        shown.text.push('…');
    }
    json_packet(Kind::Failed, &shown)
}

/// Splits a packet; `None` where version or kind is unknown.
pub fn split(bytes: &[u8]) -> Option<(Kind, &[u8])> {
    match bytes {
        [VERSION, kind, body @ ..] => Some((Kind::from_byte(*kind)?, body)),
        _ => None,
    }
}

/// Which streams a client wants.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attach {
    /// It will send input.
    pub stdin: bool,
    /// It takes standard output.
    pub stdout: bool,
    /// It takes standard error.
    pub stderr: bool,
    /// The container waits for it when it is slow, and it removes the container at the end.
    pub owner: bool,
}

/// Size of a terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resize {
    /// Rows.
    pub rows: u16,
    /// Columns.
    pub columns: u16,
}

/// A signal for the container's first process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signal {
    /// Its number.
    pub number: i32,
    /// What monitors of earlier builds want to read; always true.
    pub by_user: bool,
}

/// A request to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stop {
    /// Other than the container's own.
    pub signal: Option<i32>,
    /// Seconds until SIGKILL, other than the container's own; -1 is never.
    pub timeout_s: Option<i64>,
}

/// New limits.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Update {
    /// All limits, old and new.
    pub resources: Option<Resources>,
    /// New policy.
    pub restart: Option<RestartPolicy>,
}

/// A network to leave.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Disconnect {
    /// Its id.
    pub network: String,
}

/// Published ports that a container has. Its sockets come along, one for each, in this order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ports {
    /// They.
    pub list: Vec<network::attachment::Port>,
}

/// Ports for a container that has none yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TakePorts {
    /// Those whose sockets come along, one for each, in this order.
    pub handed: Vec<network::attachment::Port>,
    /// Those that it takes from the host itself.
    pub others: Vec<network::attachment::Port>,
}

/// Another name for the container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rename {
    /// It.
    pub name: String,
}

/// A process to run in the container.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Execute {
    /// Id of the exec instance, for events.
    pub id: String,
    /// Program, environment, capabilities.
    pub process: runtime::spec::Process,
    /// Who it is.
    pub user: runtime::UserRequest,
    /// Without a filter (`--privileged`).
    pub unconfined: bool,
    /// Nobody waits for it.
    pub detached: bool,
}

/// How the container or a process in it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    /// Code, or 128 + signal.
    pub code: i32,
}

/// What was started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Started {
    /// Pid as the host sees it.
    pub pid: i32,
    /// What this kernel lacks of what was asked for.
    pub warnings: Vec<String>,
}

/// The most ids that one answer lists: they fit into a packet.
pub const EXEC_IDS_MAX: usize = 512;

/// The processes of `exec` that run, oldest first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Processes {
    /// Their ids.
    pub exec_ids: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_splits_into_what_it_was_made_of() {
        let bytes = packet(Kind::Output, b"abc");
        assert_eq!(split(&bytes), Some((Kind::Output, &b"abc"[..])));
        assert_eq!(split(&[2, b'1']), None);
        assert_eq!(split(&[1, b'?']), None);
        assert_eq!(split(&[]), None);
    }

    #[test]
    fn the_longest_reason_fits_into_a_packet() {
        for text in [
            "x".repeat(200_000),
            "\u{1}".repeat(200_000),
            "é".repeat(200_000),
        ] {
            let bytes = failed_packet(&runtime::Failure::setup(text.as_str()));
            assert!(bytes.len() <= PACKET_BYTES_MAX, "{}", bytes.len());
        }
        let short = runtime::Failure::setup("short");
        assert_eq!(failed_packet(&short), json_packet(Kind::Failed, &short));
    }

    #[test]
    fn the_longest_list_of_processes_fits_into_a_packet() {
        let exec_ids = vec!["0".repeat(64); EXEC_IDS_MAX];
        let bytes = json_packet(Kind::Processes, &Processes { exec_ids });
        assert!(bytes.len() <= PACKET_BYTES_MAX, "{}", bytes.len());
        assert_eq!(split(&bytes).map(|(kind, _)| kind), Some(Kind::Processes));
    }
}
