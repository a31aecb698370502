//! Uploads of blobs: begun or done at once (end-4, end-11), continued (end-5), asked about (end-13),
//! ended (end-6) or given up (end-14).
//!
//! A client whose connection is cut finds on return what had arrived, and goes on from there.

use axum::body::Body;
use axum::http::header::{CONTENT_LENGTH, CONTENT_RANGE, HeaderName, LOCATION, RANGE};
use axum::http::{Method, Response, StatusCode};
use types::digest::{Algorithm, Digest};

use super::error::ApiError;
use super::{Call, DIGEST, empty, only, parse_digest, set};
use crate::server::auth::{self, Role};
use crate::server::names;
use crate::server::storage::{StorageError, Stored, Upload};

const UPLOAD_ID: HeaderName = HeaderName::from_static("docker-upload-uuid");
/// Repositories that are tried where a mount names none.
const MOUNT_CANDIDATES: i64 = 16;

/// `POST …/blobs/uploads/`.
pub(super) async fn begin(call: &Call<'_>, body: Body) -> Result<Response<Body>, ApiError> {
    only(call, &[Method::POST])?;
    call.require(Role::Write).await?;
    if let Some(digest) = call.parameter("mount") {
        let digest = parse_digest(&digest)?;
        if mount(call, &digest).await? {
            return Ok(created(call, &digest));
        }
        // Not mountable, or not to be seen: the upload begins (section "Mounting a blob").
    }
    let digest = call
        .parameter("digest")
        .map(|text| parse_digest(&text))
        .transpose()?;
    let algorithm = algorithm(call, digest.as_ref())?;
    let id = crate::server::random_uuid();
    let storage = &call.registry.storage;
    let upload = storage.begin(&id, call.name, algorithm).await?;
    match digest {
        Some(digest) => match upload.append(body).await {
            Ok(upload) => finish(call, &id, upload, &digest).await,
            Err(error) => {
                storage.discard(&id).await;
                Err(error.into())
            }
        },
        None => {
            upload.release().await?;
            Ok(accepted(call, &id, 0, StatusCode::ACCEPTED))
        }
    }
}

/// The hash to keep: the digest's, else what `digest-algorithm` says (end-4c).
fn algorithm(call: &Call<'_>, digest: Option<&Digest>) -> Result<Algorithm, ApiError> {
    if let Some(digest) = digest {
        return Ok(digest.algorithm());
    }
    match call.parameter("digest-algorithm").as_deref() {
        None | Some("sha256") => Ok(Algorithm::Sha256),
        Some("sha384") => Ok(Algorithm::Sha384),
        Some("sha512") => Ok(Algorithm::Sha512),
        Some(_) => Err(ApiError::bad(
            "DIGEST_INVALID",
            "the digest's algorithm is not one of sha256, sha384, sha512",
        )),
    }
}

/// Shows a blob here that a readable repository shows. `from` may be absent.
async fn mount(call: &Call<'_>, digest: &Digest) -> Result<bool, ApiError> {
    let registry = call.registry;
    let candidates = match call.parameter("from") {
        Some(from) if names::is_repository(&from) => vec![from],
        Some(_) => Vec::new(),
        None => {
            registry
                .database
                .repositories_of_blob(digest, MOUNT_CANDIDATES)
                .await?
        }
    };
    for from in candidates {
        let may_read = auth::require(registry, call.headers, call.who, &from, Role::Read).await;
        if may_read.is_ok() && registry.database.blob(&from, digest).await?.is_some() {
            return Ok(registry.database.mount_blob(call.name, digest).await?);
        }
    }
    Ok(false)
}

/// A request about an upload that was begun.
pub(super) async fn handle(
    call: &Call<'_>,
    id: &str,
    body: Body,
) -> Result<Response<Body>, ApiError> {
    only(
        call,
        &[Method::PATCH, Method::PUT, Method::GET, Method::DELETE],
    )?;
    call.require(Role::Write).await?;
    let storage = &call.registry.storage;
    let upload = storage.resume(id, call.name).await?;
    match *call.method {
        Method::GET => Ok(accepted(call, id, upload.offset(), StatusCode::NO_CONTENT)),
        Method::DELETE => {
            storage.abandon(id, upload).await?;
            Ok(empty(StatusCode::NO_CONTENT))
        }
        Method::PATCH => {
            check_range(call, id, upload.offset())?;
            let upload = append(call, id, upload, body).await?;
            let offset = upload.offset();
            upload.release().await?;
            Ok(accepted(call, id, offset, StatusCode::ACCEPTED))
        }
        _ => {
            let digest = call.parameter("digest").ok_or_else(|| {
                ApiError::bad(
                    "DIGEST_INVALID",
                    "an upload is ended with the digest of the whole",
                )
            })?;
            let digest = parse_digest(&digest)?;
            check_range(call, id, upload.offset())?;
            let upload = append(call, id, upload, body).await?;
            finish(call, id, upload, &digest).await
        }
    }
}

/// Adds a body. Where the disk is full the upload ends, so that there is room for others again.
async fn append(
    call: &Call<'_>,
    id: &str,
    upload: Upload,
    body: Body,
) -> Result<Upload, StorageError> {
    let appended = upload.append(body).await;
    if matches!(appended, Err(StorageError::Full)) {
        call.registry.storage.discard(id).await;
    }
    appended
}

/// A chunk that says where it belongs must belong at the end (section "Pushing a blob in chunks").
/// Without `Content-Range` it is taken as the next one: so Docker streams.
fn check_range(call: &Call<'_>, id: &str, offset: u64) -> Result<(), ApiError> {
    let Some(range) = call.headers.get(CONTENT_RANGE) else {
        return Ok(());
    };
    // The specification writes `0-5`, RFC 9110 `bytes 0-5/10`; some clients send that.
    let text = range.to_str().unwrap_or_default();
    let text = text.strip_prefix("bytes ").unwrap_or(text);
    let text = text.split('/').next().unwrap_or_default();
    let ends = text.split_once('-').and_then(|(start, end)| {
        Some((
            start.trim_start_matches('=').parse::<u64>().ok()?,
            end.parse::<u64>().ok()?,
        ))
    });
    let Some((start, end)) = ends else {
        return Err(ApiError::bad(
            "BLOB_UPLOAD_INVALID",
            "Content-Range is not of the form 0-5",
        ));
    };
    if start != offset {
        let place = place(call, id);
        return Err(ApiError::new(
            StatusCode::RANGE_NOT_SATISFIABLE,
            "BLOB_UPLOAD_INVALID",
            format!("the next chunk begins at {offset}"),
        )
        .with(LOCATION, &place)
        .with(RANGE, &range_header(offset)));
    }
    let length = call
        .headers
        .get(CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok());
    let length = length.and_then(|length| length.parse::<u64>().ok());
    // An empty chunk cannot be said in this form: `5-4`.
    let expected = end.checked_add(1).and_then(|next| next.checked_sub(start));
    if expected.is_none() || length.is_some_and(|length| Some(length) != expected) {
        return Err(ApiError::bad(
            "SIZE_INVALID",
            "Content-Range and Content-Length tell different lengths",
        ));
    }
    Ok(())
}

/// Makes the upload a blob of the repository.
async fn finish(
    call: &Call<'_>,
    id: &str,
    upload: Upload,
    digest: &Digest,
) -> Result<Response<Body>, ApiError> {
    let registry = call.registry;
    // Collection removes bytes only while nobody is between the file's name and its row.
    let _published = registry.publishing.read().await;
    let (size, location) = registry.storage.publish(id, upload, digest).await?;
    let kept = registry
        .database
        .add_blob(call.name, digest, (size, &location))
        .await?;
    sys::fail::point("registry.blob.recorded");
    if kept != location {
        // The same bytes were there already, elsewhere.
        registry.storage.remove(Stored::Location(location)).await?;
    }
    registry.metrics.uploads.add(1);
    Ok(created(call, digest))
}

fn created(call: &Call<'_>, digest: &Digest) -> Response<Body> {
    let mut response = empty(StatusCode::CREATED);
    let place = format!("/v2/{}/blobs/{digest}", call.name);
    set(&mut response, LOCATION, &place);
    set(&mut response, DIGEST, digest.as_str());
    response
}

/// Relative, so that it is right behind every proxy.
fn place(call: &Call<'_>, id: &str) -> String {
    format!("/v2/{}/blobs/uploads/{id}", call.name)
}

/// `0-0` is said both of one byte and of none, as everybody does.
fn range_header(offset: u64) -> String {
    format!("0-{}", offset.saturating_sub(1))
}

fn accepted(call: &Call<'_>, id: &str, offset: u64, status: StatusCode) -> Response<Body> {
    let mut response = empty(status);
    set(&mut response, LOCATION, &place(call, id));
    set(&mut response, RANGE, &range_header(offset));
    set(&mut response, UPLOAD_ID, id);
    response
}
