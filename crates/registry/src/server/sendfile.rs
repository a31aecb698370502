//! Files that the kernel sends itself, from its cache to a socket, with no copy of ours in between.
//!
//! hyper writes bytes and knows no files. So a body gives it pieces of [`PLACE`], which stand for parts of
//! a file, and tells the connection's [`Files`] which parts; the [`Socket`] below hyper knows such a piece by
//! its address and sends the next part in its place:
//!
//! ```text
//! body     Files::push(file, offset, length)  -> the first `length` bytes of PLACE
//! hyper    write_vectored([head, PLACE…])     -> Socket: writes the head
//!          write_vectored([PLACE…])           -> Socket: sendfile of the part that is first in Files
//! ```
//! This holds while hyper queues what bodies give it and does not copy it together, which
//! `Builder::writev(true)` asks for, and answers a connection's requests in their order, which HTTP/1 does.
//! Were it otherwise, a write would hold no piece of [`PLACE`] while a part waits: the connection is cut then,
//! and nobody gets zeros. Only a connection without TLS has a [`Files`]. Tested in `storage::read`.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use rustix::io::{Errno, ReadWriteFlags};
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;

/// The largest part: while it is sent, its thread does nothing else.
pub(crate) const PART_BYTES: usize = 1024 * 1024;
/// How far apart a part is looked at to see whether all of it is in memory: the kernel reads ahead by so
/// much at least.
const LOOK_BYTES: u64 = 128 * 1024;

/// Never written and never read: zeroed memory of the allocator is the kernel's, of which none is here before
/// it is touched. As an array it would be as long in the binary's file.
static PLACE: LazyLock<Vec<u8>> = LazyLock::new(|| vec![0; PART_BYTES]);

/// A part of a file.
struct Part {
    file: Arc<File>,
    offset: u64,
    rest: usize,
}

/// What a connection has to send in place of pieces of [`PLACE`], in their order.
#[derive(Clone, Default)]
pub(crate) struct Files(Arc<Mutex<VecDeque<Part>>>);

impl Files {
    fn lock(&self) -> MutexGuard<'_, VecDeque<Part>> {
        self.0
            .lock()
            .expect("invariant: nothing panics with this lock")
    }

    /// What to give to hyper for a part of a file, at most [`PART_BYTES`] long; to be given to it once and
    /// before anything else is. None where the kernel would wait for the disk.
    pub(crate) fn push(&self, file: &Arc<File>, offset: u64, length: usize) -> Option<Bytes> {
        let place = PLACE.get(..length)?;
        if !is_in_memory(file, offset, length as u64) {
            return None;
        }
        self.lock().push_back(Part {
            file: file.clone(),
            offset,
            rest: length,
        });
        Some(Bytes::from_static(place))
    }

    /// Sends of the first part what the socket takes.
    fn send(&self, stream: &TcpStream, wanted: usize) -> io::Result<usize> {
        let mut parts = self.lock();
        let missing = || io::Error::other("a part of a file was sent that nobody announced");
        let part = parts.front_mut().ok_or_else(missing)?;
        let count = wanted.min(part.rest);
        let sent = rustix::fs::sendfile(stream, &part.file, Some(&mut part.offset), count)?;
        if sent == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        part.rest -= sent;
        if part.rest == 0 {
            parts.pop_front();
        }
        Ok(sent)
    }
}

/// Looks at a byte here and there, without waiting. A file system that cannot do so answers "no".
fn is_in_memory(file: &File, offset: u64, length: u64) -> bool {
    let mut byte = [0];
    let places = (offset..offset + length).step_by(LOOK_BYTES as usize);
    places.chain([offset + length.saturating_sub(1)]).all(|at| {
        let into = &mut [io::IoSliceMut::new(&mut byte)];
        matches!(
            rustix::io::preadv2(file, into, at, ReadWriteFlags::NOWAIT),
            Ok(1)
        )
    })
}

/// A connection without TLS.
pub(super) struct Socket {
    stream: TcpStream,
    files: Files,
}

impl Socket {
    pub(super) fn new(stream: TcpStream, files: Files) -> Self {
        Self { stream, files }
    }

    fn poll_send(&self, context: &mut Context<'_>, wanted: usize) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.stream.poll_write_ready(context))?;
            let sent = self
                .stream
                .try_io(Interest::WRITABLE, || self.files.send(&self.stream, wanted));
            match sent {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) if Errno::from_io_error(&error) == Some(Errno::INTR) => {}
                sent => return Poll::Ready(sent),
            }
        }
    }
}

/// Whether bytes stand for a part of a file.
fn is_place(bytes: &[u8]) -> bool {
    !bytes.is_empty() && PLACE.as_ptr_range().contains(&bytes.as_ptr())
}

impl AsyncWrite for Socket {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(context, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let begin = slices.iter().position(|slice| !slice.is_empty());
        let slices = &slices[begin.unwrap_or(slices.len())..];
        let own = match slices.iter().position(|slice| is_place(slice)) {
            Some(0) => return self.poll_send(context, slices[0].len()),
            Some(place) => &slices[..place],
            None if self.files.lock().is_empty() => slices,
            None => {
                let text = "a part of a file was copied on its way to the socket";
                return Poll::Ready(Err(io::Error::other(text)));
            }
        };
        Pin::new(&mut self.stream).poll_write_vectored(context, own)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}
