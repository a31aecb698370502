//! One socket: sends a batch, matches answers strictly by sequence number.

use std::cell::Cell;
use std::ops::ControlFlow;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};
use sys::{Context, SysError};

use super::decode::{Message, Messages, u32_at};
use super::encode::{Batch, Encoder, Step};

/// The kernel's datagrams of a dump are at most 32 KiB.
const RECEIVE_BYTES: usize = 32 * 1024;
/// A dump that saw a change while it ran is asked for again so many times.
const DUMP_RETRIES_MAX: usize = 16;
/// More objects than this in one dump are not believed.
const DUMP_MESSAGES_MAX: usize = 4_000_000;

const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLM_F_DUMP: u16 = 0x300;
const NLM_F_DUMP_INTR: u16 = 0x10;

// Instructions of a socket's filter.
const LOAD_BYTE: u16 = 0x30;
const JUMP_EQUAL: u16 = 0x15;
const RETURN: u16 = 0x06;
/// Where the low byte of the type is in a message (struct nlmsghdr, little endian).
const TYPE: u32 = if cfg!(target_endian = "little") { 4 } else { 5 };

/// Why a request over netlink failed.
#[derive(Debug, thiserror::Error)]
pub enum NetlinkError {
    /// The kernel refused a step, or the socket failed.
    #[error(transparent)]
    Refused(#[from] SysError),
    /// No answer came, or it got lost: whether the step was done is not known.
    #[error("the kernel did not answer the request to {verb} {object}")]
    Unanswered {
        /// The operation.
        verb: &'static str,
        /// What it was done to.
        object: String,
    },
    /// More than one request can carry.
    #[error("the request to {verb} {object} is too large")]
    TooLarge {
        /// The operation of its first step.
        verb: &'static str,
        /// What it was done to.
        object: String,
    },
}

impl NetlinkError {
    /// The kernel's answer, if it was one.
    pub fn errno(&self) -> Option<Errno> {
        match self {
            Self::Refused(error) => Some(error.errno),
            Self::Unanswered { .. } | Self::TooLarge { .. } => None,
        }
    }
}

/// A message of an answer, with its own copy of the bytes.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) kind: u16,
    pub(crate) payload: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Protocol {
    Route,
    Netfilter,
}

/// A netlink socket of the network namespace that it was opened in, for its whole life.
#[derive(Debug)]
pub struct Socket {
    fd: OwnedFd,
    protocol: Protocol,
    sequence: Cell<u32>,
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Socket {
    /// For links, addresses and routes (`NETLINK_ROUTE`).
    ///
    /// # Errors
    /// The kernel's answer.
    pub fn route() -> Result<Self, NetlinkError> {
        Self::open(Protocol::Route, 0)
    }

    /// For nftables and connection tracking (`NETLINK_NETFILTER`).
    ///
    /// # Errors
    /// `EPROTONOSUPPORT` where the kernel has no nfnetlink.
    pub fn netfilter() -> Result<Self, NetlinkError> {
        Self::open(Protocol::Netfilter, 0)
    }

    /// Subscribed to netfilter's multicast groups, given as a mask.
    /// Messages of the kinds (low byte of the type) that are left out wake nobody.
    pub(crate) fn netfilter_events(groups: u32, left_out: &[u8]) -> Result<Self, NetlinkError> {
        let socket = Self::open(Protocol::Netfilter, groups)?;
        let mut program = vec![(LOAD_BYTE, 0, 0, TYPE)];
        let count = u8::try_from(left_out.len()).unwrap_or(0);
        for (kind, left) in left_out.iter().zip((1..=count).rev()) {
            program.push((JUMP_EQUAL, left, 0, u32::from(*kind)));
        }
        program.push((RETURN, 0, 0, u32::MAX));
        program.push((RETURN, 0, 0, 0));
        sys::socket::attach_filter(&socket.fd, &program)?;
        Ok(socket)
    }

    /// Subscribed to multicast groups of links, given as a mask: only messages of one kind about these
    /// links, by the kernel's numbers, wake anybody.
    pub(crate) fn link_events(groups: u32, kind: u8, links: &[u32]) -> Result<Self, NetlinkError> {
        const LOAD_WORD: u16 = 0x20;
        /// Where the number is: after struct nlmsghdr, in struct ifinfomsg.
        const LINK: u32 = 20;
        let socket = Self::open(Protocol::Route, groups)?;
        let count = u8::try_from(links.len()).unwrap_or(u8::MAX - 1);
        let mut program = vec![
            (LOAD_BYTE, 0, 0, TYPE),
            (JUMP_EQUAL, 0, count + 1, u32::from(kind)),
            (LOAD_WORD, 0, 0, LINK),
        ];
        for (link, left) in links.iter().zip((1..=count).rev()) {
            // Filters read words in the network's order.
            program.push((JUMP_EQUAL, left, 0, link.to_be()));
        }
        program.push((RETURN, 0, 0, 0));
        program.push((RETURN, 0, 0, u32::MAX));
        sys::socket::attach_filter(&socket.fd, &program)?;
        Ok(socket)
    }

    fn open(protocol: Protocol, groups: u32) -> Result<Self, NetlinkError> {
        let (number, name) = match protocol {
            Protocol::Route => (None, "netlink socket for links and routes"),
            Protocol::Netfilter => (
                Some(rustix::net::netlink::NETFILTER),
                "netlink socket for nftables",
            ),
        };
        let fd = rustix::net::socket_with(
            AddressFamily::NETLINK,
            SocketType::RAW,
            SocketFlags::CLOEXEC,
            number,
        )
        .on("open", name)?;
        if groups != 0 {
            rustix::net::bind(&fd, &SocketAddrNetlink::new(0, groups)).on("subscribe", name)?;
        }
        Ok(Self {
            fd,
            protocol,
            sequence: Cell::new(1),
        })
    }

    /// Sends a batch of routing messages; each is done or refused on its own, later ones are done
    /// even where an earlier one failed. Returns what the kernel sent beside its verdicts, and the
    /// first refusal.
    pub(crate) fn exchange(&self, mut batch: Batch) -> Result<Vec<Reply>, NetlinkError> {
        for index in 0..batch.len() {
            batch.acknowledge(index);
        }
        let needed = 0..batch.len();
        self.transact(batch, needed)
    }

    /// Sends a transaction of netfilter's: all or nothing. `batch` holds its frame already.
    pub(crate) fn commit(&self, mut batch: Batch) -> Result<(), NetlinkError> {
        debug_assert_eq!(self.protocol, Protocol::Netfilter);
        // The last message within the frame answers for the success of all; a message that fails
        // is always answered.
        let Some(last) = batch.len().checked_sub(2).filter(|last| *last > 0) else {
            return Ok(());
        };
        batch.acknowledge(last);
        self.transact(batch, last..last + 1).map(drop)
    }

    fn transact(
        &self,
        mut batch: Batch,
        needed: std::ops::Range<usize>,
    ) -> Result<Vec<Reply>, NetlinkError> {
        if batch.len() == 0 {
            return Ok(Vec::new());
        }
        let first = self.take_sequence(batch.len());
        batch.number(first);
        self.send(&batch)?;
        let mut answered = vec![false; batch.len()];
        let mut refused: Option<(usize, Errno)> = None;
        let mut replies = Vec::new();
        let mut awaited = needed.len();
        self.drain(|message| {
            let Some(index) = index_of(message.sequence, first, batch.len()) else {
                return ControlFlow::Continue(());
            };
            if message.kind != NLMSG_ERROR {
                if message.kind != NLMSG_DONE {
                    replies.push(Reply {
                        kind: message.kind,
                        payload: message.payload.to_vec(),
                    });
                }
                return ControlFlow::Continue(());
            }
            if let Err(errno) = verdict(message.payload) {
                let counts = !batch.step(index).fine.contains(&errno);
                if counts && refused.is_none_or(|(earlier, _)| index < earlier) {
                    refused = Some((index, errno));
                }
            }
            if !std::mem::replace(&mut answered[index], true) && needed.contains(&index) {
                awaited -= 1;
            }
            // Answers come in the order of the messages: after the last there is none.
            if awaited == 0 {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        })
        .map_err(|errno| lost(batch.step(0), errno))?;
        if let Some((index, errno)) = refused {
            let step = batch.step(index);
            return Err(SysError::new(step.verb, step.object.clone(), errno).into());
        }
        match needed.clone().find(|index| !answered[*index]) {
            Some(index) => Err(unanswered(batch.step(index))),
            None => Ok(replies),
        }
    }

    /// Asks for every object of a kind and shows each to `each`, once the whole answer was
    /// consistent.
    pub(crate) fn dump(
        &self,
        kind: u16,
        header: &[u8],
        what: &'static str,
        body: impl Fn(&mut Encoder<'_>),
    ) -> Result<Vec<Reply>, NetlinkError> {
        for _ in 0..DUMP_RETRIES_MAX {
            let mut batch = Batch::new();
            batch.push(
                (kind, NLM_F_DUMP),
                header,
                Step::new("list", what),
                |encoder| body(encoder),
            );
            if let Some(replies) = self.dump_once(batch)? {
                return Ok(replies);
            }
        }
        Err(NetlinkError::Unanswered {
            verb: "list",
            object: what.to_owned(),
        })
    }

    /// `None`: something changed while the kernel answered.
    fn dump_once(&self, mut batch: Batch) -> Result<Option<Vec<Reply>>, NetlinkError> {
        let first = self.take_sequence(1);
        batch.number(first);
        self.send(&batch)?;
        let mut replies = Vec::new();
        let mut end: Option<Result<(), Errno>> = None;
        let mut interrupted = false;
        self.drain(|message| {
            if message.sequence != first {
                return ControlFlow::Continue(());
            }
            interrupted |= message.flags & NLM_F_DUMP_INTR != 0;
            match message.kind {
                NLMSG_ERROR | NLMSG_DONE => end = Some(verdict(message.payload)),
                kind if replies.len() < DUMP_MESSAGES_MAX => replies.push(Reply {
                    kind,
                    payload: message.payload.to_vec(),
                }),
                _ => end = Some(Err(Errno::TOOBIG)),
            }
            ControlFlow::Continue(())
        })
        .map_err(|errno| lost(batch.step(0), errno))?;
        let step = batch.step(0);
        match end {
            Some(Ok(())) if interrupted => Ok(None),
            Some(Ok(())) => Ok(Some(replies)),
            Some(Err(Errno::INTR)) => Ok(None),
            Some(Err(errno)) => Err(SysError::new(step.verb, step.object.clone(), errno).into()),
            None => Err(unanswered(step)),
        }
    }

    /// Shows the messages that wait in the socket, until there is none or `each` has enough.
    ///
    /// # Errors
    /// `ENOBUFS` where messages were lost; what came before was shown.
    pub(crate) fn drain(
        &self,
        mut each: impl FnMut(Message<'_>) -> ControlFlow<()>,
    ) -> Result<(), Errno> {
        let mut buffer = vec![0; RECEIVE_BYTES];
        loop {
            let received = rustix::net::recvfrom(&self.fd, &mut buffer[..], RecvFlags::DONTWAIT);
            match received {
                Ok((_, 0, _)) | Err(Errno::AGAIN) => return Ok(()),
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno),
                Ok((_, length, from)) => {
                    // Only the kernel's own words count: another process may send to us too.
                    let from = from.and_then(|from| SocketAddrNetlink::try_from(from).ok());
                    if from.is_some_and(|from| from.pid() == 0) {
                        let received = &buffer[..length.min(RECEIVE_BYTES)];
                        if Messages::new(received).try_for_each(&mut each).is_break() {
                            return Ok(());
                        }
                    }
                }
            }
        }
    }

    fn send(&self, batch: &Batch) -> Result<(), NetlinkError> {
        let step = batch.step(0);
        if batch.is_too_large() {
            return Err(NetlinkError::TooLarge {
                verb: step.verb,
                object: step.object.clone(),
            });
        }
        loop {
            match rustix::net::send(&self.fd, batch.bytes(), SendFlags::empty()) {
                Ok(_) => return Ok(()),
                Err(Errno::INTR) => {}
                Err(errno) => {
                    return Err(SysError::new(step.verb, step.object.clone(), errno).into());
                }
            }
        }
    }

    /// So many numbers in a row, none of them 0 and none wrapping.
    fn take_sequence(&self, count: usize) -> u32 {
        let count = u32::try_from(count).unwrap_or(u32::MAX / 2);
        let first = self.sequence.get();
        let first = if first.checked_add(count).is_some() {
            first
        } else {
            1
        };
        self.sequence.set(first + count);
        first
    }
}

/// Which message of a batch an answer belongs to; answers to earlier batches belong to none.
fn index_of(sequence: u32, first: u32, count: usize) -> Option<usize> {
    let index = usize::try_from(sequence.checked_sub(first)?).ok()?;
    (index < count).then_some(index)
}

/// What an error message, or the end of a dump, says: a negative errno, or 0. One that is cut off
/// counts as a failure.
fn verdict(payload: &[u8]) -> Result<(), Errno> {
    match u32_at(payload, 0).map(|code| code as i32) {
        Some(0) => Ok(()),
        Some(code) if (-4095..0).contains(&code) => Err(Errno::from_raw_os_error(-code)),
        _ => Err(Errno::BADMSG),
    }
}

fn unanswered(step: &Step) -> NetlinkError {
    NetlinkError::Unanswered {
        verb: step.verb,
        object: step.object.clone(),
    }
}

fn lost(step: &Step, errno: Errno) -> NetlinkError {
    match errno {
        Errno::NOBUFS => unanswered(step),
        errno => SysError::new(step.verb, step.object.clone(), errno).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_match_by_sequence_only() {
        assert_eq!(index_of(10, 10, 3), Some(0));
        assert_eq!(index_of(12, 10, 3), Some(2));
        assert_eq!(index_of(13, 10, 3), None);
        assert_eq!(index_of(9, 10, 3), None);
        assert_eq!(index_of(0, 1, 3), None);
    }

    #[test]
    fn a_verdict_is_zero_or_a_negative_errno() {
        assert_eq!(verdict(&0i32.to_ne_bytes()), Ok(()));
        assert_eq!(verdict(&(-17i32).to_ne_bytes()), Err(Errno::EXIST));
        for bad in [&1i32.to_ne_bytes()[..], &i32::MIN.to_ne_bytes(), &[0, 0]] {
            assert_eq!(verdict(bad), Err(Errno::BADMSG));
        }
    }

    #[test]
    fn sequence_numbers_never_wrap_into_zero() {
        let Ok(socket) = Socket::route() else {
            println!("skipped: no netlink here");
            return;
        };
        socket.sequence.set(u32::MAX - 1);
        assert_eq!(socket.take_sequence(5), 1);
        assert_eq!(socket.take_sequence(2), 6);
    }
}
