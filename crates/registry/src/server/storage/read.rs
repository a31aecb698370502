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
use bytes::{Bytes, BytesMut};
use futures_util::stream;
use http_body_util::BodyExt as _;
use tokio::task::JoinHandle;

use super::disk::SessionGuard;
use super::{StorageError, blocking, io as failed};
use crate::server::sendfile::{Files, PART_BYTES};

/// What is written at once; as much again is gathered meanwhile.
const BATCH_BYTES: usize = 512 * 1024;
/// Whoever sends nothing for so long has gone.
pub(super) const IDLE: Duration = Duration::from_secs(60);
/// What is read from the disk at once, one piece ahead of the socket.
const PIECE_BYTES: usize = 256 * 1024;
/// Buffers of one answer: one on its way, one being read, one being written. They are used again and
/// again: fresh ones of this size cost a page fault for every 4 KiB.
const BUFFERS: usize = 3;

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
struct Reader {
    file: Arc<File>,
    at: u64,
    rest: u64,
    /// Of the connection, where the kernel can send what is in memory.
    files: Option<Files>,
    buffers: [BytesMut; BUFFERS],
    turn: usize,
}

/// A piece that was read, and the reader again.
type Read = Result<(Bytes, Reader), StorageError>;

/// What an answer goes on with.
enum Next {
    /// What the kernel sends itself, as long as all of that is in memory.
    Sent(Reader),
    /// What was read already.
    Read(Bytes, Reader),
    /// What is being read, beside the runtime's threads.
    Coming(JoinHandle<Read>),
    End,
}

impl Reader {
    /// Reads the next piece.
    fn read(mut self) -> Read {
        self.turn = (self.turn + 1) % BUFFERS;
        // Whole again where the socket is done with what was cut from it, else a new one.
        let buffer = &mut self.buffers[self.turn];
        let length = usize::try_from(self.rest).unwrap_or(usize::MAX);
        let length = length.min(PIECE_BYTES);
        buffer.reserve(length);
        buffer.resize(length, 0);
        self.file
            .read_exact_at(buffer, self.at)
            .map_err(failed("read a blob"))?;
        self.at += length as u64;
        self.rest -= length as u64;
        Ok((buffer.split().freeze(), self))
    }

    /// The same beside the runtime's threads, if there is more.
    fn begin(self) -> Next {
        match self.rest {
            0 => Next::End,
            _ => Next::Coming(tokio::task::spawn_blocking(move || self.read())),
        }
    }

    /// Has the kernel send the next part, if it need not wait for the disk.
    fn send(&mut self) -> Option<Bytes> {
        let length = usize::try_from(self.rest).unwrap_or(usize::MAX);
        let length = length.min(PART_BYTES);
        let files = self.files.as_ref()?;
        let piece = files.push(&self.file, self.at, length)?;
        self.at += length as u64;
        self.rest -= length as u64;
        Some(piece)
    }
}

impl Next {
    /// The next piece of the answer, and what comes after it.
    async fn step(self) -> Option<(Result<Bytes, StorageError>, Self)> {
        let coming = match self {
            Self::End => return None,
            Self::Sent(reader) if reader.rest == 0 => return None,
            Self::Read(piece, reader) => return Some((Ok(piece), reader.begin())),
            Self::Sent(mut reader) => match reader.send() {
                Some(piece) => return Some((Ok(piece), Self::Sent(reader))),
                // Where the disk is waited for once, it is until the end.
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

/// Opens a blob and reads it, one piece ahead of the socket; or has the kernel send it.
pub(super) async fn open(
    path: PathBuf,
    (start, length): (u64, u64),
    files: Option<Files>,
) -> Result<Body, StorageError> {
    if length == 0 {
        return Ok(Body::empty());
    }
    let next = blocking(move || {
        let file = File::open(path).map_err(failed("open a blob"))?;
        let reader = Reader {
            file: Arc::new(file),
            at: start,
            rest: length,
            files,
            buffers: Default::default(),
            turn: 0,
        };
        if reader.files.is_some() {
            return Ok(Next::Sent(reader));
        }
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
    use crate::server::sendfile::Socket;

    /// Answers each request with the part of the file that its `Range` names as `start-length`.
    async fn serve(path: PathBuf, has_files: bool, is_vectored: bool) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            let files = Files::default();
            let socket = TokioIo::new(Socket::new(stream, files.clone()));
            let service = service_fn(move |request: Request<hyper::body::Incoming>| {
                let (path, files) = (path.clone(), has_files.then(|| files.clone()));
                async move {
                    let range = request.headers()[RANGE].to_str().unwrap().to_owned();
                    let (start, length) = range.split_once('-').unwrap();
                    let part = (start.parse().unwrap(), length.parse().unwrap());
                    let body = open(path, part, files).await.unwrap();
                    let answer = Response::builder().header(CONTENT_LENGTH, part.1);
                    Ok::<_, Infallible>(answer.body(body).unwrap())
                }
            });
            let mut builder = hyper::server::conn::http1::Builder::new();
            builder.writev(is_vectored);
            let _ = builder.serve_connection(socket, service).await;
        });
        address
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn parts_arrive_whole_and_in_order_whether_read_or_sent_by_the_kernel() {
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
        for (has_files, is_cold) in [(true, false), (true, true), (false, false)] {
            if is_cold {
                // What the disk has to be asked for is read instead, in the middle of an answer too.
                let file = File::open(&path).unwrap();
                file.sync_all().unwrap();
                let middle = std::num::NonZeroU64::new(2_000_000);
                rustix::fs::fadvise(&file, 2_000_000, middle, rustix::fs::Advice::DontNeed)
                    .unwrap();
            }
            let address = serve(path.clone(), has_files, true).await;
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

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_connection_that_copies_its_answers_is_cut_before_it_sends_what_stands_for_a_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("blob");
        std::fs::write(&path, [1; 100_000]).unwrap();
        let address = serve(path, true, false).await;
        let client = move || {
            let mut stream = std::net::TcpStream::connect(address).unwrap();
            stream
                .write_all(b"GET / HTTP/1.1\r\nHost: x\r\nRange: 0-100000\r\n\r\n")
                .unwrap();
            let mut answer = Vec::new();
            let _ = stream.read_to_end(&mut answer);
            assert!(!answer.contains(&0), "{} bytes", answer.len());
        };
        tokio::task::spawn_blocking(client).await.unwrap();
    }
}
