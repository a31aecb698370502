//! The user's terminal: raw while a container has it, put back however we end.

use std::os::fd::{AsFd, BorrowedFd};

use rustix::termios::{LocalModes, OptionalActions, Termios};

/// The terminal's settings as they were; dropping this puts them back.
pub(crate) struct Mode {
    before: Termios,
}

impl Mode {
    /// Makes standard input raw; `None` where it is no terminal.
    pub(crate) fn raw() -> Option<Self> {
        Self::enter(OptionalActions::Now, Termios::make_raw)
    }

    /// Switches the echo of standard input off, while a password is typed; `None` where it is no terminal.
    pub(crate) fn hidden() -> Option<Self> {
        Self::enter(OptionalActions::Flush, |settings| {
            settings.local_modes.remove(LocalModes::ECHO);
        })
    }

    /// Has standard input hand over each key as it is pressed and show none; Ctrl-C stays what it is.
    /// `None` where it is no terminal, or that of somebody else: who runs in the background must not
    /// change it.
    pub(crate) fn keys() -> Option<Self> {
        let owner = rustix::termios::tcgetpgrp(rustix::stdio::stdin()).ok()?;
        if owner != rustix::process::getpgrp() {
            return None;
        }
        Self::enter(OptionalActions::Now, |settings| {
            settings
                .local_modes
                .remove(LocalModes::ICANON | LocalModes::ECHO);
        })
    }

    fn enter(when: OptionalActions, change: impl FnOnce(&mut Termios)) -> Option<Self> {
        let input = rustix::stdio::stdin();
        let before = rustix::termios::tcgetattr(input).ok()?;
        let mut settings = before.clone();
        change(&mut settings);
        rustix::termios::tcsetattr(input, when, &settings).ok()?;
        Some(Self { before })
    }
}

impl Drop for Mode {
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
