//! Manifests: GET and HEAD (end-3), PUT (end-7), DELETE (end-9).

use std::sync::Arc;

use axum::body::Body;
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE, ETAG, HeaderName, HeaderValue, LOCATION};
use axum::http::{Method, Response, StatusCode};
use bytes::Bytes;
use types::digest::Algorithm;

use super::error::ApiError;
use super::{Call, DIGEST, empty, is_known, only, parse_digest, set};
use crate::server::auth::{self, Role};
use crate::server::cache::Ready;
use crate::server::database::audit::Deed;
use crate::server::database::manifests::{NewManifest, Pushed, StoredManifest};
use crate::server::manifest::{self, MANIFEST_BYTES_MAX};
use crate::server::mirror::Mirror;
use crate::server::names::{self, Reference};
use crate::server::read_body;
use crate::server::storage::digest_of;

const SUBJECT: HeaderName = HeaderName::from_static("oci-subject");
const TAG: HeaderName = HeaderName::from_static("oci-tag");
/// Tags that one request may set (end-7b asks for ten).
const TAGS_MAX: usize = 64;

/// Whichever it is.
pub(super) async fn handle(
    call: &Call<'_>,
    reference: &str,
    body: Body,
) -> Result<Response<Body>, ApiError> {
    only(
        call,
        &[Method::GET, Method::HEAD, Method::PUT, Method::DELETE],
    )?;
    let parsed = if reference.contains(':') {
        Reference::Digest(parse_digest(reference)?)
    } else if names::is_tag(reference) {
        Reference::Tag(reference.to_owned())
    } else if call.method == Method::PUT {
        return Err(ApiError::bad(
            "TAG_INVALID",
            "the tag is not of the specification's form",
        ));
    } else {
        // What nobody can push is nowhere; asking for it is no fault of form (conformance suite, 1.1).
        call.require(Role::Read).await?;
        return Err(unknown(reference));
    };
    match *call.method {
        Method::PUT => put(call, &parsed, body).await,
        Method::DELETE => delete(call, &parsed).await,
        _ => get(call, reference).await,
    }
}

fn unknown(reference: &str) -> ApiError {
    ApiError::missing(
        "MANIFEST_UNKNOWN",
        format!("the repository has no manifest {reference}"),
    )
}

async fn get(call: &Call<'_>, reference: &str) -> Result<Response<Body>, ApiError> {
    let registry = call.registry;
    if registry.mirror.is_some() {
        let facts = registry.facts(call.name).await?;
        if Mirror::covers(&facts) {
            Mirror::refresh(registry, call.name, reference).await?;
        }
    }
    call.require(Role::Read).await?;
    let ready = match registry.cache.manifest(call.name, reference) {
        Some(ready) => ready,
        None => {
            let generation = registry.cache.generation();
            let found = registry.database.manifest(call.name, reference).await?;
            let ready = Arc::new(prepare(found.ok_or_else(|| unknown(reference))?));
            registry
                .cache
                .keep_manifest(generation, (call.name, reference), &ready);
            ready
        }
    };
    if call.method == Method::GET {
        registry.count_pull(call.name, reference);
    }
    let is_known = is_known(call.headers, ready.etag.as_bytes());
    let mut response = if is_known {
        empty(StatusCode::NOT_MODIFIED)
    } else if call.method == Method::HEAD {
        empty(StatusCode::OK)
    } else {
        Response::new(Body::from(ready.body.clone()))
    };
    let headers = response.headers_mut();
    headers.insert(DIGEST, ready.digest.clone());
    headers.insert(ETAG, ready.etag.clone());
    if !is_known {
        headers.insert(CONTENT_TYPE, ready.media_type.clone());
        headers.insert(CONTENT_LENGTH, HeaderValue::from(ready.body.len()));
    }
    Ok(response)
}

fn prepare(stored: StoredManifest) -> Ready {
    let value = |text: &str| {
        HeaderValue::from_str(text)
            .unwrap_or_else(|_| HeaderValue::from_static(manifest::OCI_MANIFEST))
    };
    Ready {
        digest: value(&stored.digest),
        etag: value(&format!("\"{}\"", stored.digest)),
        media_type: value(&stored.media_type),
        body: Bytes::from(stored.body),
    }
}

async fn put(
    call: &Call<'_>,
    reference: &Reference,
    body: Body,
) -> Result<Response<Body>, ApiError> {
    call.require(Role::Write).await?;
    let registry = call.registry;
    refuse_copies(call).await?;
    let bytes = read_body(body, MANIFEST_BYTES_MAX).await?;
    let content_type = call
        .headers
        .get(CONTENT_TYPE)
        .and_then(|kind| kind.to_str().ok());
    let parsed = manifest::parse(&bytes, content_type.unwrap_or_default()).map_err(|error| {
        ApiError::bad(
            "MANIFEST_INVALID",
            format!("the manifest is refused: {error}"),
        )
    })?;
    let (digest, tags) = match reference {
        Reference::Tag(tag) => (digest_of(Algorithm::Sha256, &bytes), vec![tag.clone()]),
        Reference::Digest(digest) => (digest_of(digest.algorithm(), &bytes), more_tags(call)?),
    };
    if let Reference::Digest(promised) = reference
        && digest != *promised
    {
        let message = format!("the manifest has the digest {digest}");
        return Err(ApiError::bad("DIGEST_INVALID", message));
    }
    let _change = registry.cache.change();
    let pushed = registry
        .database
        .put_manifest(&NewManifest {
            repository: call.name,
            digest: &digest,
            parsed: &parsed,
            body: &bytes,
            tags: &tags,
            user: &call.who.user,
            is_copy: false,
            base: &auth::base_url(registry, call.headers),
        })
        .await?;
    sys::fail::point("registry.manifest.recorded");
    check_pushed(pushed)?;
    registry.metrics.pushes.add(1);
    let mut response = empty(StatusCode::CREATED);
    set(
        &mut response,
        LOCATION,
        &format!("/v2/{}/manifests/{digest}", call.name),
    );
    set(&mut response, DIGEST, digest.as_str());
    if let Some(subject) = &parsed.subject {
        set(&mut response, SUBJECT, subject.as_str());
    }
    if matches!(reference, Reference::Digest(_)) && !tags.is_empty() {
        set(&mut response, TAG, &tags.join(", "));
    }
    Ok(response)
}

fn check_pushed(pushed: Pushed) -> Result<(), ApiError> {
    match pushed {
        Pushed::Done => Ok(()),
        Pushed::Unknown(missing) => {
            let message = format!("the repository has no {missing}: push it first");
            Err(ApiError::bad("MANIFEST_BLOB_UNKNOWN", message))
        }
        Pushed::WrongSize(blob) => {
            let message = format!("the manifest tells a wrong size of {blob}");
            Err(ApiError::bad("MANIFEST_INVALID", message))
        }
    }
}

/// What was fetched from another registry follows that one.
async fn refuse_copies(call: &Call<'_>) -> Result<(), ApiError> {
    if call.registry.facts(call.name).await?.is_copy {
        let message = "the repository is a copy of another registry's: push there";
        return Err(ApiError::new(StatusCode::FORBIDDEN, "DENIED", message));
    }
    Ok(())
}

/// `?tag=a&tag=b` beside a digest (end-7b).
fn more_tags(call: &Call<'_>) -> Result<Vec<String>, ApiError> {
    let tags: Vec<String> = form_urlencoded::parse(call.query.as_bytes())
        .filter(|(name, _)| name == "tag")
        .map(|(_, value)| value.into_owned())
        .collect();
    if tags.len() > TAGS_MAX {
        return Err(ApiError::new(
            StatusCode::URI_TOO_LONG,
            "TAG_INVALID",
            format!("one request sets at most {TAGS_MAX} tags"),
        ));
    }
    match tags.iter().all(|tag| names::is_tag(tag)) {
        true => Ok(tags),
        false => Err(ApiError::bad(
            "TAG_INVALID",
            "a tag is not of the specification's form",
        )),
    }
}

/// A digest goes with its tags, a tag goes alone.
async fn delete(call: &Call<'_>, reference: &Reference) -> Result<Response<Body>, ApiError> {
    call.require(Role::Admin).await?;
    let database = &call.registry.database;
    let _change = call.registry.cache.change();
    let (was_there, text) = match reference {
        Reference::Tag(tag) => (database.remove_tag(call.name, tag).await?, tag.as_str()),
        Reference::Digest(digest) => (
            database.remove_manifest(call.name, digest).await?,
            digest.as_str(),
        ),
    };
    if !was_there {
        return Err(unknown(text));
    }
    let action = match reference {
        Reference::Tag(_) => "repo.tag.delete",
        Reference::Digest(_) => "repo.manifest.delete",
    };
    let deed = Deed {
        actor: &call.who.user,
        action,
        name: call.name,
        detail: text,
    };
    database.audit(deed).await?;
    Ok(empty(StatusCode::ACCEPTED))
}
