//! No request says its length in two ways.
//!
//! A request with both `Content-Length` and `Transfer-Encoding` is how requests are smuggled past a proxy
//! that believes the other one of the two (RFC 9112, section 6.3). hyper drops the length before anybody of us
//! sees the request, so we look at the bytes on their way to it: heads line by line, bodies by their length.
//! What is refused gets a zero byte, which is in no head, and an early end; hyper answers 400 and closes.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What is looked at of a line: the longest that counts is a length.
const LINE_BYTES: usize = 64;

/// What comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    RequestLine,
    Header,
    ChunkSize,
    /// The line end behind a chunk's bytes.
    ChunkEnd,
    Trailer,
    /// So many bytes of a body, and then?
    Body(u64, Then),
    Refused,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Then {
    RequestLine,
    ChunkEnd,
}

impl Then {
    fn after(self, bytes: u64) -> Next {
        match (bytes, self) {
            (0, Self::RequestLine) => Next::RequestLine,
            (0, Self::ChunkEnd) => Next::ChunkEnd,
            (bytes, then) => Next::Body(bytes, then),
        }
    }
}

/// Where in a connection's requests we are.
#[derive(Debug)]
struct Framing {
    next: Next,
    /// The beginning of the line under way, and how long it is by now.
    line: [u8; LINE_BYTES],
    line_length: usize,
    length: Option<u64>,
    has_encoding: bool,
}

impl Default for Framing {
    fn default() -> Self {
        Self {
            next: Next::RequestLine,
            line: [0; LINE_BYTES],
            line_length: 0,
            length: None,
            has_encoding: false,
        }
    }
}

impl Framing {
    /// Looks at what was read, and makes what is refused unreadable.
    fn look(&mut self, bytes: &mut [u8]) {
        let mut at = 0;
        while at < bytes.len() {
            let rest = bytes.len() - at;
            match self.next {
                Next::Refused => {
                    // hyper looks at a head that came in pieces when it sees an end.
                    bytes[at..].fill(b'\n');
                    return;
                }
                Next::Body(left, then) => {
                    let count = usize::try_from(left).unwrap_or(rest).min(rest);
                    self.next = then.after(left - count as u64);
                    at += count;
                }
                _ => {
                    let end = bytes[at..].iter().position(|&byte| byte == b'\n');
                    let part = end.map_or(rest, |end| end + 1);
                    self.add(&bytes[at..at + part]);
                    if end.is_some() {
                        self.next = self.end_of_line();
                        self.line_length = 0;
                    }
                    if self.next == Next::Refused {
                        bytes[at..at + part - usize::from(part > 1)].fill(0);
                    }
                    at += part;
                }
            }
        }
    }

    fn add(&mut self, part: &[u8]) {
        if let Some(room) = self.line.get_mut(self.line_length..) {
            let count = part.len().min(room.len());
            room[..count].copy_from_slice(&part[..count]);
        }
        self.line_length += part.len();
    }

    fn end_of_line(&mut self) -> Next {
        let is_whole = self.line_length <= LINE_BYTES;
        let line = &self.line[..self.line_length.min(LINE_BYTES)];
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        match self.next {
            // Empty lines before a request are nothing.
            Next::RequestLine if line.is_empty() => Next::RequestLine,
            Next::RequestLine => {
                (self.length, self.has_encoding) = (None, false);
                Next::Header
            }
            Next::Header if line.is_empty() && self.has_encoding => Next::ChunkSize,
            Next::Header if line.is_empty() => Then::RequestLine.after(self.length.unwrap_or(0)),
            Next::Header => {
                let colon = line.iter().position(|&byte| byte == b':');
                let (name, value) = line.split_at(colon.unwrap_or(line.len()));
                if name.eq_ignore_ascii_case(b"transfer-encoding") {
                    self.has_encoding = true;
                }
                if name.eq_ignore_ascii_case(b"content-length") {
                    self.length = number(value.get(1..).unwrap_or_default(), 10);
                    if self.length.is_none() || !is_whole {
                        return Next::Refused;
                    }
                }
                // Here and not at the head's end, behind which nothing need come.
                match self.length.is_some() && self.has_encoding {
                    true => Next::Refused,
                    false => Next::Header,
                }
            }
            Next::ChunkSize => {
                let size = line.split(|&byte| byte == b';').next().unwrap_or_default();
                match number(size, 16) {
                    None => Next::Refused,
                    Some(0) => Next::Trailer,
                    Some(size) => Next::Body(size, Then::ChunkEnd),
                }
            }
            Next::ChunkEnd if line.is_empty() => Next::ChunkSize,
            Next::Trailer if line.is_empty() => Next::RequestLine,
            Next::Trailer => Next::Trailer,
            Next::ChunkEnd | Next::Body(..) | Next::Refused => Next::Refused,
        }
    }
}

/// Digits and nothing else, but for white space around them.
fn number(text: &[u8], radix: u32) -> Option<u64> {
    let text = std::str::from_utf8(text).ok()?.trim_matches([' ', '\t']);
    let are_digits = text.chars().all(|letter| letter.is_digit(radix));
    u64::from_str_radix(text, radix).ok().filter(|_| are_digits)
}

/// A connection whose requests are looked at.
pub(super) struct Framed<S> {
    stream: S,
    framing: Framing,
}

impl<S> Framed<S> {
    pub(super) fn new(stream: S) -> Self {
        Self {
            stream,
            framing: Framing::default(),
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Framed<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
        self.framing.look(&mut buffer.filled_mut()[before..]);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Framed<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What hyper would get, read in pieces of this size.
    fn passed(text: &str, piece: usize) -> String {
        let mut framing = Framing::default();
        let mut bytes = text.as_bytes().to_vec();
        for piece in bytes.chunks_mut(piece) {
            framing.look(piece);
        }
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn two_lengths_are_refused_wherever_they_come_and_however_they_are_read() {
        let get = "GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n";
        let put = "PUT /a HTTP/1.1\r\ncontent-length: \t 7 \r\n\r\n\r\n\r\nPOS";
        let patch = "PATCH /b HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n\
                     A;x=y\r\n0123\r\n\r\n89\r\n0\r\nT: Content-Length\r\n\r\n";
        let both = "POST /c HTTP/1.1\r\nContent-Length: 3\r\nTRANSFER-ENCODING: chunked\r\n\r\n";
        let bare = "\r\nPOST /c HTTP/1.1\nTransfer-Encoding:x\nContent-Length:3\n\n";
        let good = format!("{get}{put}{patch}{get}\r\n{put}");
        for piece in [1, 2, 3, 5, 7, 64, 4096] {
            assert_eq!(passed(&good, piece), good, "{piece}");
            for bad in [both, bare] {
                let said = passed(&format!("{good}{bad}abc"), piece);
                // No head that anybody reads, and one that ends.
                let rest = said.strip_prefix(&good).unwrap();
                assert!(rest.contains('\0'), "{piece}: {rest:?}");
                assert!(rest.ends_with("\n\n\n"), "{piece}: {rest:?}");
            }
        }
    }

    #[test]
    fn what_cannot_be_measured_is_refused() {
        let long = format!("Content-Length: {}5", " ".repeat(100));
        for header in [
            "Content-Length: +5",
            "Content-Length:",
            "Content-Length: 1e3",
            &long,
        ] {
            let text = format!("GET / HTTP/1.1\r\n{header}\r\n\r\n");
            assert!(passed(&text, 4096).contains('\0'), "{header}");
        }
        for chunk in [
            "x\r\n",
            "-1\r\n",
            "\r\n",
            "1\r\nabc\r\n",
            "fffffffffffffffff\r\n",
        ] {
            let text = format!("PATCH / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n{chunk}");
            assert!(passed(&text, 4096).contains('\0'), "{chunk}");
        }
    }
}
