//! The user's terminal: raw while a container has it, put back however we end.

use std::os::fd::{AsFd, BorrowedFd};

use rustix::termios::{OptionalActions, Termios};

/// The terminal's settings as they were; dropping this puts them back.
pub(crate) struct RawMode {
    before: Termios,
}

impl RawMode {
    /// Makes standard input raw; `None` where it is no terminal.
    pub(crate) fn enter() -> Option<Self> {
        let input = rustix::stdio::stdin();
        let before = rustix::termios::tcgetattr(input).ok()?;
        let mut raw = before.clone();
        raw.make_raw();
        rustix::termios::tcsetattr(input, OptionalActions::Now, &raw).ok()?;
        Some(Self { before })
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        let _ =
            rustix::termios::tcsetattr(rustix::stdio::stdin(), OptionalActions::Now, &self.before);
    }
}

/// The terminal without its echo, while a password is typed; dropping this puts it back.
pub(crate) struct Hidden {
    before: Termios,
}

impl Hidden {
    /// Switches the echo of standard input off; `None` where it is no terminal.
    pub(crate) fn enter() -> Option<Self> {
        let input = rustix::stdio::stdin();
        let before = rustix::termios::tcgetattr(input).ok()?;
        let mut hidden = before.clone();
        hidden.local_modes.remove(rustix::termios::LocalModes::ECHO);
        rustix::termios::tcsetattr(input, OptionalActions::Flush, &hidden).ok()?;
        Some(Self { before })
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        let _ =
            rustix::termios::tcsetattr(rustix::stdio::stdin(), OptionalActions::Now, &self.before);
    }
}

/// The terminal hands over each key as it is pressed and shows none; Ctrl-C stays what it is.
/// Dropping this puts it back.
pub(crate) struct KeyMode {
    before: Termios,
}

impl KeyMode {
    /// `None` where standard input is no terminal, or that of somebody else: who runs in the
    /// background must not change it.
    pub(crate) fn enter() -> Option<Self> {
        use rustix::termios::LocalModes;
        let input = rustix::stdio::stdin();
        let before = rustix::termios::tcgetattr(input).ok()?;
        let owner = rustix::termios::tcgetpgrp(input).ok()?;
        if owner != rustix::process::getpgrp() {
            return None;
        }
        let mut keys = before.clone();
        keys.local_modes
            .remove(LocalModes::ICANON | LocalModes::ECHO);
        rustix::termios::tcsetattr(input, OptionalActions::Now, &keys).ok()?;
        Some(Self { before })
    }
}

impl Drop for KeyMode {
    fn drop(&mut self) {
        let _ =
            rustix::termios::tcsetattr(rustix::stdio::stdin(), OptionalActions::Now, &self.before);
    }
}

/// What was typed; never waits.
pub(crate) fn typed() -> Vec<u8> {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let input = rustix::stdio::stdin();
    let now = Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    let mut bytes = [0; 64];
    let mut fds = [PollFd::from_borrowed_fd(input, PollFlags::IN)];
    match poll(&mut fds, Some(&now)) {
        Ok(1..) => match rustix::io::read(input, &mut bytes) {
            Ok(count) => bytes[..count].to_vec(),
            Err(_) => Vec::new(),
        },
        _ => Vec::new(),
    }
}

/// Whether a descriptor is a terminal.
pub(crate) fn is_terminal(fd: impl AsFd) -> bool {
    rustix::termios::isatty(fd)
}

/// Rows and columns of the terminal at standard output, else input; zeros where neither is one.
pub(crate) fn size() -> [u16; 2] {
    let of = |fd: BorrowedFd<'_>| rustix::termios::tcgetwinsize(fd).ok();
    of(rustix::stdio::stdout())
        .or_else(|| of(rustix::stdio::stdin()))
        .map_or([0, 0], |size| [size.ws_row, size.ws_col])
}

/// Recognises the keys that detach in what is typed. Keys of a begun sequence are held back until
/// it is clear whether it is one.
pub(crate) struct DetachKeys {
    keys: Vec<u8>,
    matched: usize,
}

/// What typed bytes come to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Typed {
    /// These go to the container.
    Input(Vec<u8>),
    /// The user wants to leave; these were typed before.
    Detach(Vec<u8>),
}

impl DetachKeys {
    /// No keys: nothing detaches.
    pub(crate) fn new(keys: Vec<u8>) -> Self {
        Self { keys, matched: 0 }
    }

    pub(crate) fn filter(&mut self, bytes: &[u8]) -> Typed {
        if self.keys.is_empty() {
            return Typed::Input(bytes.to_vec());
        }
        let mut out = Vec::with_capacity(bytes.len());
        for byte in bytes {
            if *byte != self.keys[self.matched] {
                out.extend_from_slice(&self.keys[..self.matched]);
                self.matched = 0;
            }
            if *byte == self.keys[self.matched] {
                self.matched += 1;
                if self.matched == self.keys.len() {
                    return Typed::Detach(out);
                }
            } else {
                out.push(*byte);
            }
        }
        Typed::Input(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sequence_detaches_and_a_broken_one_is_typed() {
        let mut keys = DetachKeys::new(vec![16, 17]);
        assert_eq!(keys.filter(b"ab\x10"), Typed::Input(b"ab".to_vec()));
        assert_eq!(keys.filter(b"c"), Typed::Input(b"\x10c".to_vec()));
        assert_eq!(keys.filter(b"\x10\x10"), Typed::Input(b"\x10".to_vec()));
        assert_eq!(keys.filter(b"\x11rest"), Typed::Detach(Vec::new()));
    }
}
