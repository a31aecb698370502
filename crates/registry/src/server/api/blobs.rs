//! Blobs: GET and HEAD with ranges (end-2), DELETE (end-10).

use std::sync::Arc;

use axum::body::Body;
use axum::http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, HeaderValue,
    RANGE,
};
use axum::http::{Method, Response, StatusCode};
use types::digest::Digest;

use super::error::ApiError;
use super::{Call, DIGEST, empty, is_known, only, set};
use crate::server::auth::Role;
use crate::server::chain;
use crate::server::database::blobs::BlobRow;
use crate::server::database::now;
use crate::server::mirror::{self, Flight};

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
    let source = find(call, digest).await?;
    let size = source.size();
    let etag = format!("\"{digest}\"");
    if is_known(call.headers, etag.as_bytes()) {
        let mut response = empty(StatusCode::NOT_MODIFIED);
        set(&mut response, ETAG, &etag);
        return Ok(response);
    }
    let range = call
        .headers
        .get(RANGE)
        .and_then(|range| range.to_str().ok());
    let range = range.map_or(Wanted::All, |range| parse_range(range, size));
    let (start, length, status) = match range {
        Wanted::All => (0, size, StatusCode::OK),
        Wanted::Part { start, end } => (start, end - start + 1, StatusCode::PARTIAL_CONTENT),
        Wanted::Nothing => {
            return Err(ApiError::new(
                StatusCode::RANGE_NOT_SATISFIABLE,
                "SIZE_INVALID",
                format!("the blob has {size} bytes"),
            )
            .with(CONTENT_RANGE, &format!("bytes */{size}")));
        }
    };
    let body = match *call.method == Method::HEAD {
        true => Body::empty(),
        false => read(call, digest, &source, (start, length)).await?,
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
        let range = format!("bytes {start}-{}/{size}", start + length - 1);
        set(&mut response, CONTENT_RANGE, &range);
    }
    set(&mut response, ETAG, &etag);
    set(&mut response, DIGEST, digest.as_str());
    Ok(response)
}

/// Where a blob's bytes come from.
enum Source {
    Kept(BlobRow),
    /// From the registry that this one mirrors.
    Coming(Arc<Flight>),
}

impl Source {
    fn size(&self) -> u64 {
        match self {
            Self::Kept(row) => row.size,
            Self::Coming(flight) => flight.size,
        }
    }
}

async fn find(call: &Call<'_>, digest: &Digest) -> Result<Source, ApiError> {
    let registry = call.registry;
    let found = registry.database.blob(call.name, digest).await?;
    let Some(row) = found.filter(|row| !row.is_marked) else {
        if registry.mirror.is_some() && registry.facts(call.name).await?.is_copy {
            let begins = call.method == Method::GET;
            let flight = mirror::flight(registry, call.name, digest, begins).await?;
            return flight.map(Source::Coming).ok_or_else(|| unknown(digest));
        }
        return Err(unknown(digest));
    };
    // Whoever asks for a blob may be about to push a manifest with it: collection shall wait. A
    // quarter of the grace is precise enough and saves nearly all of these writes.
    let is_old = now() - row.last_used > registry.settings.grace_seconds() / 4;
    // A copy that is fetched is used, too: those that are not make room for others.
    let is_use = call.method == Method::HEAD
        || (registry.mirror.is_some() && registry.facts(call.name).await?.is_copy);
    if is_old && is_use && !registry.database.touch_blob(call.name, digest).await? {
        return Err(unknown(digest));
    }
    Ok(Source::Kept(row))
}

async fn read(
    call: &Call<'_>,
    digest: &Digest,
    source: &Source,
    (start, length): (u64, u64),
) -> Result<Body, ApiError> {
    let registry = call.registry;
    let row = match source {
        Source::Kept(row) => row.clone(),
        Source::Coming(flight) => {
            if let Some(body) = mirror::read(flight, start, length).await {
                return Ok(body);
            }
            let row = registry.database.blob(call.name, digest).await?;
            row.ok_or_else(|| unknown(digest))?
        }
    };
    let body = registry.storage.read((digest, &row), (start, length)).await;
    body.map_err(|error| {
        registry.trouble(&format!("blob {digest}: {}", chain(&error)));
        error.into()
    })
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
