//! Bodies from sockets to files and back. A thread is borrowed for each piece and given back after it,
//! so that nobody who reads or sends slowly holds one: there are few of them, and all disks' work waits
//! for them.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use futures_util::stream;
use http_body_util::BodyExt as _;
use rustix::io::ReadWriteFlags;
use tokio::task::JoinHandle;

use super::disk::SessionGuard;
use super::{StorageError, blocking, io as failed};

/// What is written at once; as much again is gathered meanwhile.
const BATCH_BYTES: usize = 512 * 1024;
/// Whoever sends nothing for so long has gone.
pub(super) const IDLE: Duration = Duration::from_secs(60);
/// What is read from the disk at once, one piece ahead of the socket.
const PIECE_BYTES: usize = 512 * 1024;
/// An upload between two writes, or in one.
enum Writer {
    Idle(SessionGuard),
    Busy(JoinHandle<Result<SessionGuard, StorageError>>),
}

impl Writer {
    /// Waits for the write under way.
    async fn finish(self) -> Result<SessionGuard, StorageError> {
        match self {
            Self::Idle(session) => Ok(session),
            Self::Busy(work) => work
                .await
                .map_err(|error| failed("write to an upload")(io::Error::other(error)))?,
        }
    }

    /// Begins another write.
    async fn write(self, batch: Vec<Bytes>) -> Result<Self, StorageError> {
        let mut session = self.finish().await?;
        Ok(Self::Busy(tokio::task::spawn_blocking(move || {
            for piece in batch {
                session.write(&piece)?;
            }
            Ok(session)
        })))
    }
}

/// Writes a body to an upload. A write that began is finished also where the request is given up
/// meanwhile, and holds the upload's lock until then.
pub(super) async fn append(
    session: SessionGuard,
    mut body: Body,
) -> Result<SessionGuard, StorageError> {
    let mut writer = Writer::Idle(session);
    let (mut batch, mut size, mut is_cut) = (Vec::new(), 0, false);
    loop {
        let frame = tokio::time::timeout(IDLE, body.frame()).await;
        let data = match frame {
            Ok(None) => break,
            Ok(Some(Ok(frame))) => frame.into_data(),
            Ok(Some(Err(_))) | Err(_) => {
                is_cut = true;
                break;
            }
        };
        let Ok(data) = data else { continue };
        size += data.len();
        batch.push(data);
        if size >= BATCH_BYTES {
            writer = writer.write(std::mem::take(&mut batch)).await?;
            size = 0;
        }
    }
    if !batch.is_empty() {
        writer = writer.write(batch).await?;
    }
    let session = writer.finish().await?;
    match is_cut {
        true => Err(StorageError::Cut),
        false => Ok(session),
    }
}

/// A file on its way to a socket.
///
/// What is in the kernel's cache is read where it is sent, into one buffer that stays in the processor's:
/// a single client so gets it faster than by `sendfile`, which leaves the fetching from memory to the
/// client's processor. Nobody waits for a disk there; what is not in the cache is read beside.
struct Reader {
    file: Arc<File>,
    at: u64,
    rest: u64,
    /// One for each piece that is under way at once. They are used again: fresh ones of this size cost a page
    /// fault for every 4 KiB.
    buffers: Vec<Arc<Vec<u8>>>,
}

/// What was read into a buffer, which is free again when this goes.
struct Piece {
    buffer: Arc<Vec<u8>>,
    length: usize,
}

impl AsRef<[u8]> for Piece {
    fn as_ref(&self) -> &[u8] {
        &self.buffer[..self.length]
    }
}

/// A piece that was read, and the reader again.
type Read = Result<(Bytes, Reader), StorageError>;

/// What an answer goes on with.
enum Next {
    /// What is read already, and then what the kernel has.
    Read(Bytes, Reader),
    /// What the kernel has in its cache, as long as it has all of it.
    Cached(Reader),
    /// What is being read, beside the runtime's threads.
    Coming(JoinHandle<Read>),
    End,
}

impl Reader {
    /// Fills a buffer, from its beginning.
    fn fill(
        &mut self,
        read: impl FnOnce(&File, &mut [u8], u64) -> io::Result<usize>,
    ) -> io::Result<Bytes> {
        let is_free = |buffer: &Arc<Vec<u8>>| Arc::strong_count(buffer) == 1;
        let length = usize::try_from(self.rest).unwrap_or(usize::MAX);
        let length = length.min(PIECE_BYTES);
        let mut buffer = match self.buffers.iter().position(is_free) {
            Some(free) => self.buffers.swap_remove(free),
            None => Arc::new(vec![0; length]),
        };
        let place = Arc::make_mut(&mut buffer);
        let read = read(&self.file, &mut place[..length], self.at);
        self.buffers.push(buffer.clone());
        let length = read?;
        self.at += length as u64;
        self.rest -= length as u64;
        Ok(Bytes::from_owner(Piece { buffer, length }))
    }

    /// Reads the next piece.
    fn read(mut self) -> Read {
        let piece = self.fill(|file, buffer, at| {
            file.read_exact_at(buffer, at)?;
            Ok(buffer.len())
        });
        Ok((piece.map_err(failed("read a blob"))?, self))
    }

    /// The same beside the runtime's threads, if there is more.
    fn begin(self) -> Next {
        match self.rest {
            0 => Next::End,
            _ => Next::Coming(tokio::task::spawn_blocking(move || self.read())),
        }
    }

    /// What of the next piece need not be waited for. None also where a file system cannot tell.
    fn cached(&mut self) -> Option<Bytes> {
        let read = self.fill(|file, buffer, at| {
            let into = &mut [io::IoSliceMut::new(buffer)];
            match rustix::io::preadv2(file, into, at, ReadWriteFlags::NOWAIT)? {
                0 => Err(io::ErrorKind::UnexpectedEof.into()),
                count => Ok(count),
            }
        });
        read.ok()
    }
}

impl Next {
    /// The next piece of the answer, and what comes after it.
    async fn step(self) -> Option<(Result<Bytes, StorageError>, Self)> {
        let coming = match self {
            Self::End => return None,
            Self::Cached(reader) if reader.rest == 0 => return None,
            Self::Read(piece, reader) => return Some((Ok(piece), Self::Cached(reader))),
            Self::Cached(mut reader) => match reader.cached() {
                Some(piece) => return Some((Ok(piece), Self::Cached(reader))),
                // Where the disk is waited for once, it is until the end, one piece ahead.
                None => tokio::task::spawn_blocking(move || reader.read()),
            },
            Self::Coming(coming) => coming,
        };
        let read = coming.await;
        let read = read.map_err(|error| failed("read a blob")(io::Error::other(error)));
        match read.and_then(|read| read) {
            Ok((piece, reader)) => Some((Ok(piece), reader.begin())),
            Err(error) => Some((Err(error), Self::End)),
        }
    }
}

/// Opens a blob and reads it as the socket takes it.
pub(super) async fn open(path: PathBuf, (start, length): (u64, u64)) -> Result<Body, StorageError> {
    if length == 0 {
        return Ok(Body::empty());
    }
    let next = blocking(move || {
        let file = File::open(path).map_err(failed("open a blob"))?;
        let reader = Reader {
            file: Arc::new(file),
            at: start,
            rest: length,
            buffers: Vec::new(),
        };
        let (piece, reader) = reader.read()?;
        Ok(Next::Read(piece, reader))
    })
    .await?;
    Ok(match next {
        Next::Read(piece, reader) if reader.rest == 0 => Body::from(piece),
        next => Body::from_stream(stream::unfold(next, Next::step)),
    })
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::io::{Read as _, Write as _};
    use std::net::SocketAddr;

    use axum::http::header::{CONTENT_LENGTH, RANGE};
    use axum::http::{Request, Response};
    use hyper::service::service_fn;
    use hyper_util::rt::TokioIo;
    use tokio::net::TcpListener;

    use super::*;

    /// Answers each request with the part of the file that its `Range` names as `start-length`.
    async fn serve(path: PathBuf, is_vectored: bool) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            let service = service_fn(move |request: Request<hyper::body::Incoming>| {
                let path = path.clone();
                async move {
                    let range = request.headers()[RANGE].to_str().unwrap().to_owned();
                    let (start, length) = range.split_once('-').unwrap();
                    let part = (start.parse().unwrap(), length.parse().unwrap());
                    let body = open(path, part).await.unwrap();
                    let answer = Response::builder().header(CONTENT_LENGTH, part.1);
                    Ok::<_, Infallible>(answer.body(body).unwrap())
                }
            });
            let mut builder = hyper::server::conn::http1::Builder::new();
            builder.writev(is_vectored);
            let _ = builder
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
        address
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn parts_arrive_whole_and_in_order_whether_the_kernel_has_them_or_not() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("blob");
        let bytes: Vec<u8> = (0..5_000_003u32)
            .map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8)
            .collect();
        std::fs::write(&path, &bytes).unwrap();
        let parts = [
            (0, 5_000_003),
            (1, 1),
            (4095, 1_048_577),
            (0, 0),
            (4_999_999, 4),
        ];
        for (is_vectored, is_cold) in [(true, false), (true, true), (false, true), (false, false)] {
            if is_cold {
                // What the disk has to be asked for is read instead, in the middle of an answer too.
                let file = File::open(&path).unwrap();
                file.sync_all().unwrap();
                let middle = std::num::NonZeroU64::new(2_000_000);
                rustix::fs::fadvise(&file, 2_000_000, middle, rustix::fs::Advice::DontNeed)
                    .unwrap();
            }
            let address = serve(path.clone(), is_vectored).await;
            let (bytes, parts) = (bytes.clone(), parts);
            let client = move || {
                let mut stream = std::net::TcpStream::connect(address).unwrap();
                for (start, length) in parts {
                    let request =
                        format!("GET / HTTP/1.1\r\nHost: x\r\nRange: {start}-{length}\r\n\r\n");
                    stream.write_all(request.as_bytes()).unwrap();
                }
                for (start, length) in parts {
                    let mut head = Vec::new();
                    while !head.ends_with(b"\r\n\r\n") {
                        let mut byte = [0];
                        stream.read_exact(&mut byte).unwrap();
                        head.push(byte[0]);
                    }
                    let mut body = vec![0; length];
                    stream.read_exact(&mut body).unwrap();
                    assert!(body == bytes[start..start + length], "{start} {length}");
                }
            };
            tokio::task::spawn_blocking(client).await.unwrap();
        }
    }
}
