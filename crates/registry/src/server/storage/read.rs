//! Bodies from sockets to files and back. A thread is borrowed for each piece and given back after it,
//! so that nobody who reads or sends slowly holds one: there are few of them, and all disks' work waits
//! for them.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::PathBuf;
use std::time::Duration;

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use futures_util::stream;
use http_body_util::BodyExt as _;
use tokio::task::JoinHandle;

use super::disk::SessionGuard;
use super::{StorageError, blocking, io as failed};

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
                .map_err(|error| failed("write to an upload")(std::io::Error::other(error)))?,
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
    file: File,
    rest: u64,
    buffers: [BytesMut; BUFFERS],
    turn: usize,
}

impl Reader {
    /// Reads the next piece.
    fn next(mut self) -> Result<(Bytes, Self), StorageError> {
        self.turn = (self.turn + 1) % BUFFERS;
        // Whole again where the socket is done with what was cut from it, else a new one.
        let buffer = &mut self.buffers[self.turn];
        let length = usize::try_from(self.rest).unwrap_or(usize::MAX);
        let length = length.min(PIECE_BYTES);
        buffer.reserve(length);
        buffer.resize(length, 0);
        self.file
            .read_exact(buffer)
            .map_err(failed("read a blob"))?;
        self.rest -= length as u64;
        Ok((buffer.split().freeze(), self))
    }

    /// The same beside the runtime's threads, if there is more.
    fn begin(self) -> Option<JoinHandle<Result<(Bytes, Self), StorageError>>> {
        (self.rest > 0).then(|| tokio::task::spawn_blocking(move || self.next()))
    }
}

/// Opens a blob and reads it, one piece ahead of the socket.
pub(super) async fn open(path: PathBuf, start: u64, length: u64) -> Result<Body, StorageError> {
    if length == 0 {
        return Ok(Body::empty());
    }
    let (first, reader) = blocking(move || {
        let mut file = File::open(path).map_err(failed("open a blob"))?;
        if start > 0 {
            file.seek(SeekFrom::Start(start))
                .map_err(failed("read a blob"))?;
        }
        let reader = Reader {
            file,
            rest: length,
            buffers: Default::default(),
            turn: 0,
        };
        reader.next()
    })
    .await?;
    if reader.rest == 0 {
        return Ok(Body::from(first));
    }
    let ahead = (Some(first), reader.begin());
    let pieces = stream::unfold(ahead, |(first, coming)| async {
        if let Some(first) = first {
            return Some((Ok(first), (None, coming)));
        }
        let read = coming?.await;
        let read = read.map_err(|error| failed("read a blob")(std::io::Error::other(error)));
        match read.and_then(|read| read) {
            Ok((piece, reader)) => Some((Ok(piece), (None, reader.begin()))),
            Err(error) => Some((Err(error), (None, None))),
        }
    });
    Ok(Body::from_stream(pieces))
}
