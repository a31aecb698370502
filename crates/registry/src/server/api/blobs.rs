//! Blobs: GET and HEAD with ranges (end-2), DELETE (end-10).

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::sync::Arc;

use axum::body::Body;
use axum::http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, HeaderValue,
    IF_NONE_MATCH, RANGE,
};
use axum::http::{Method, Response, StatusCode};
use bytes::{Bytes, BytesMut};
use futures_util::stream;
use tokio::sync::mpsc;
use types::digest::Digest;

use super::error::ApiError;
use super::{Call, DIGEST, empty, only, set};
use crate::server::Registry;
use crate::server::auth::Role;
use crate::server::database::now;

/// Bytes that are on their way from the disk to a socket: so many pieces of that size.
const PIECE_BYTES: usize = 256 * 1024;
const PIECES: usize = 2;
/// Buffers of one answer: those on their way, one being read, one being written. They are used again
/// and again: fresh ones of this size cost a page fault for every 4 KiB.
const BUFFERS: usize = PIECES + 2;

/// Whichever it is.
pub(super) async fn handle(call: &Call<'_>, digest: &Digest) -> Result<Response<Body>, ApiError> {
    only(call, &[Method::GET, Method::HEAD, Method::DELETE])?;
    if call.method == Method::DELETE {
        call.require(Role::Admin).await?;
        if !call.registry.database.hide_blob(call.name, digest).await? {
            return Err(unknown(digest));
        }
        return Ok(empty(StatusCode::ACCEPTED));
    }
    call.require(Role::Read).await?;
    get(call, digest).await
}

fn unknown(digest: &Digest) -> ApiError {
    ApiError::missing(
        "BLOB_UNKNOWN",
        format!("the repository has no blob {digest}"),
    )
}

async fn get(call: &Call<'_>, digest: &Digest) -> Result<Response<Body>, ApiError> {
    let registry = call.registry;
    let found = registry.database.blob(call.name, digest).await?;
    let row = found
        .filter(|row| !row.is_marked)
        .ok_or_else(|| unknown(digest))?;
    // Whoever asks for a blob may be about to push a manifest with it: collection shall wait. A
    // quarter of the grace is precise enough and saves nearly all of these writes.
    let is_old = now() - row.last_used > registry.settings.grace_seconds() / 4;
    if is_old
        && call.method == Method::HEAD
        && !registry.database.touch_blob(call.name, digest).await?
    {
        return Err(unknown(digest));
    }
    let etag = format!("\"{digest}\"");
    let is_known = call
        .headers
        .get(IF_NONE_MATCH)
        .is_some_and(|known| known.as_bytes() == etag.as_bytes());
    if is_known {
        let mut response = empty(StatusCode::NOT_MODIFIED);
        set(&mut response, ETAG, &etag);
        return Ok(response);
    }
    let range = call
        .headers
        .get(RANGE)
        .and_then(|range| range.to_str().ok());
    let range = range.map_or(Wanted::All, |range| parse_range(range, row.size));
    let (start, length, status) = match range {
        Wanted::All => (0, row.size, StatusCode::OK),
        Wanted::Part { start, end } => (start, end - start + 1, StatusCode::PARTIAL_CONTENT),
        Wanted::Nothing => {
            return Err(ApiError::new(
                StatusCode::RANGE_NOT_SATISFIABLE,
                "SIZE_INVALID",
                format!("the blob has {} bytes", row.size),
            )
            .with(CONTENT_RANGE, &format!("bytes */{}", row.size)));
        }
    };
    let body = match *call.method == Method::HEAD {
        true => Body::empty(),
        false => open(registry, digest, start, length).await?,
    };
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    headers.insert(
        CONTENT_TYPE,
        HeaderValue::from_static("application/octet-stream"),
    );
    // A digest never means other bytes.
    headers.insert(
        CACHE_CONTROL,
        HeaderValue::from_static("max-age=31536000, immutable"),
    );
    if status == StatusCode::PARTIAL_CONTENT {
        let range = format!("bytes {start}-{}/{}", start + length - 1, row.size);
        set(&mut response, CONTENT_RANGE, &range);
    }
    set(&mut response, ETAG, &etag);
    set(&mut response, DIGEST, digest.as_str());
    Ok(response)
}

/// What of a blob is wanted.
#[derive(Debug, PartialEq, Eq)]
enum Wanted {
    All,
    /// Both ends included.
    Part {
        start: u64,
        end: u64,
    },
    /// Something that is not there.
    Nothing,
}

/// Reads `bytes=1-2`, `bytes=1-`, `bytes=-2` (RFC 9110, section 14.1.2). What is not understood, and
/// several ranges at once, get the whole: that is always allowed.
fn parse_range(text: &str, size: u64) -> Wanted {
    let Some((first, last)) = text
        .strip_prefix("bytes=")
        .and_then(|text| text.split_once('-'))
    else {
        return Wanted::All;
    };
    let (first, last) = (first.trim(), last.trim());
    let end = size.wrapping_sub(1);
    let (start, end) = match (first.parse::<u64>(), last.parse::<u64>()) {
        (Ok(start), Ok(last)) if start <= last => (start, last.min(end)),
        (Ok(start), Err(_)) if last.is_empty() => (start, end),
        // No range at all; refused rather than answered with everything.
        (Ok(_), Ok(_)) => return Wanted::Nothing,
        (Err(_), Ok(0)) if first.is_empty() => return Wanted::Nothing,
        (Err(_), Ok(count)) if first.is_empty() => (size.saturating_sub(count), end),
        _ => return Wanted::All,
    };
    if start >= size {
        return Wanted::Nothing;
    }
    Wanted::Part { start, end }
}

/// Opens a blob and reads it by a thread of its own, never more than a few pieces ahead of the socket.
async fn open(
    registry: &Arc<Registry>,
    digest: &Digest,
    start: u64,
    length: u64,
) -> Result<Body, ApiError> {
    let path = registry.storage.blob_path(digest);
    let opened = tokio::task::spawn_blocking(move || {
        let mut file = File::open(path)?;
        if start > 0 {
            file.seek(SeekFrom::Start(start))?;
        }
        let mut first = vec![
            0;
            usize::try_from(length)
                .unwrap_or(usize::MAX)
                .min(PIECE_BYTES)
        ];
        file.read_exact(&mut first)?;
        Ok::<_, io::Error>((file, Bytes::from(first)))
    })
    .await
    .unwrap_or_else(|error| Err(io::Error::other(error)));
    let (file, first) = opened.map_err(|error| {
        registry.trouble(&format!("cannot read blob {digest}: {error}"));
        ApiError::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "UNKNOWN",
            "the registry cannot read the blob; its log says why",
        )
    })?;
    let rest = length - first.len() as u64;
    if rest == 0 {
        return Ok(Body::from(first));
    }
    let (sender, receiver) = mpsc::channel(PIECES);
    tokio::task::spawn_blocking(move || read(file, first, rest, &sender));
    let pieces = stream::unfold(receiver, |mut receiver| async {
        receiver.recv().await.map(|piece| (piece, receiver))
    });
    Ok(Body::from_stream(pieces))
}

/// Reads until the end, or until nobody listens any more.
fn read(mut file: File, first: Bytes, mut rest: u64, sender: &mpsc::Sender<io::Result<Bytes>>) {
    if sender.blocking_send(Ok(first)).is_err() {
        return;
    }
    let mut buffers: [BytesMut; BUFFERS] = Default::default();
    for turn in 0.. {
        if rest == 0 {
            return;
        }
        // Whole again where the socket is done with what was cut from it, else a new one.
        let buffer = &mut buffers[turn % BUFFERS];
        let length = usize::try_from(rest).unwrap_or(usize::MAX).min(PIECE_BYTES);
        buffer.reserve(length);
        buffer.resize(length, 0);
        let result = file.read_exact(buffer);
        let has_failed = result.is_err();
        rest -= length as u64;
        let piece = buffer.split().freeze();
        let piece = result.map(|()| piece);
        if sender.blocking_send(piece).is_err() || has_failed {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_those_of_the_specification() {
        let part = |start, end| Wanted::Part { start, end };
        for (text, expected) in [
            ("bytes=0-0", part(0, 0)),
            ("bytes=2-4", part(2, 4)),
            ("bytes=2-", part(2, 9)),
            ("bytes=2-99", part(2, 9)),
            ("bytes=-3", part(7, 9)),
            ("bytes=-30", part(0, 9)),
            ("bytes=-0", Wanted::Nothing),
            ("bytes=10-", Wanted::Nothing),
            ("bytes=10-12", Wanted::Nothing),
            ("bytes=4-2", Wanted::Nothing),
            ("bytes=0-1,3-4", Wanted::All),
            ("bytes=-", Wanted::All),
            ("lines=1-2", Wanted::All),
            ("bytes=99999999999999999999-", Wanted::All),
        ] {
            assert_eq!(parse_range(text, 10), expected, "{text}");
        }
        assert_eq!(parse_range("bytes=0-", 0), Wanted::Nothing);
        assert_eq!(parse_range("bytes=-1", 0), Wanted::Nothing);
    }
}
