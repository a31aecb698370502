//! The distribution API, version 1.1 of the OCI specification, and what Docker's clients add to it
//! (`_catalog`, schema 2). `spec.md` of github.com/opencontainers/distribution-spec is cited by section.

mod blobs;
pub(crate) mod error;
mod lists;
mod manifests;
mod uploads;

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;

use axum::body::Body;
use axum::http::header::{
    ALLOW, CONTENT_TYPE, HeaderName, HeaderValue, IF_NONE_MATCH, WWW_AUTHENTICATE,
};
use axum::http::{HeaderMap, Method, Request, Response, StatusCode};
use types::digest::Digest;

use super::Registry;
use super::auth::{self, Principal, Role};
use super::names::{self, Route};
use error::ApiError;

pub(super) const DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");
const VERSION: HeaderName = HeaderName::from_static("docker-distribution-api-version");

/// What a handler of one endpoint gets.
pub(super) struct Call<'a> {
    registry: &'a Arc<Registry>,
    who: &'a Principal,
    method: &'a Method,
    headers: &'a HeaderMap,
    query: &'a str,
    name: &'a str,
}

impl Call<'_> {
    /// The first value of a parameter.
    fn parameter(&self, wanted: &str) -> Option<String> {
        form_urlencoded::parse(self.query.as_bytes())
            .find(|(name, _)| name == wanted)
            .map(|(_, value)| value.into_owned())
    }

    async fn require(&self, role: Role) -> Result<(), ApiError> {
        auth::require(self.registry, self.headers, self.who, self.name, role).await
    }
}

/// Answers a request below `/v2/`, and says whose it was.
pub(crate) async fn handle(
    registry: &Arc<Registry>,
    request: Request<Body>,
    peer: IpAddr,
) -> (Response<Body>, String) {
    let (parts, body) = request.into_parts();
    let who = match auth::identify(registry, &parts.headers, peer).await {
        Ok(who) => who,
        Err(error) => return (finish(Err(error), registry), String::new()),
    };
    let path = parts.uri.path();
    let path = match path.contains('%') {
        true => decode(path),
        false => Cow::Borrowed(path),
    };
    let call = Call {
        registry,
        who: &who,
        method: &parts.method,
        headers: &parts.headers,
        query: parts.uri.query().unwrap_or_default(),
        name: "",
    };
    let result = route(call, &path, body).await;
    (finish(result, registry), who.user)
}

/// `%3A` and the like. What is no UTF-8 afterwards is no path of ours either.
fn decode(path: &str) -> Cow<'_, str> {
    let bytes = path.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let digits = bytes
            .get(at + 1..at + 3)
            .and_then(|two| std::str::from_utf8(two).ok());
        let value = digits.and_then(|two| u8::from_str_radix(two, 16).ok());
        match value {
            Some(value) if byte == b'%' => {
                decoded.push(value);
                at += 3;
            }
            _ => {
                decoded.push(byte);
                at += 1;
            }
        }
    }
    Cow::Owned(String::from_utf8(decoded).unwrap_or_default())
}

fn finish(result: Result<Response<Body>, ApiError>, registry: &Registry) -> Response<Body> {
    let mut response = match result {
        Ok(response) => response,
        Err(error) => {
            if error.status.is_server_error() {
                registry.trouble(error.message());
            }
            error.into_response()
        }
    };
    let headers = response.headers_mut();
    headers.insert(VERSION, HeaderValue::from_static("registry/2.0"));
    response
}

async fn route(mut call: Call<'_>, path: &str, body: Body) -> Result<Response<Body>, ApiError> {
    let nothing = || ApiError::missing("UNSUPPORTED", "the API has no such path");
    let rest = path.strip_prefix("/v2").ok_or_else(nothing)?;
    let rest = rest.strip_prefix('/').unwrap_or(rest);
    let route = Route::parse(rest).ok_or_else(nothing)?;
    if let Some(name) = route.name() {
        if !names::is_repository(name) {
            return Err(ApiError::bad(
                "NAME_INVALID",
                "the repository's name is not of the form that the specification gives",
            ));
        }
        call.name = name;
    }
    match route {
        Route::Base => base(&call).await,
        Route::Catalog => lists::catalog(&call).await,
        Route::Tags { .. } => lists::tags(&call).await,
        Route::Referrers { digest, .. } => lists::referrers(&call, &parse_digest(digest)?).await,
        Route::Manifest { reference, .. } => manifests::handle(&call, reference, body).await,
        Route::Blob { digest, .. } => blobs::handle(&call, &parse_digest(digest)?).await,
        Route::Uploads { .. } => uploads::begin(&call, body).await,
        Route::Upload { id, .. } => uploads::handle(&call, id, body).await,
    }
}

/// `GET /v2/` (end-1). Where there are users, it asks who is there: clients choose how to log in by
/// this answer alone. Anonymous ones fetch a token without credentials, as at Docker Hub.
async fn base(call: &Call<'_>) -> Result<Response<Body>, ApiError> {
    only(call, &[Method::GET, Method::HEAD])?;
    let registry = call.registry;
    let is_nobody = call.who.grants.is_none() && call.who.user.is_empty();
    if is_nobody && registry.asks_who_is_there().await? {
        let challenge = auth::challenge(registry, call.headers, "", "");
        return Err(ApiError::new(
            StatusCode::UNAUTHORIZED,
            "UNAUTHORIZED",
            "fetch a token first; anonymous ones are given too",
        )
        .with(WWW_AUTHENTICATE, &challenge));
    }
    Ok(json(&serde_json::json!({})))
}

/// Refuses other methods.
fn only(call: &Call<'_>, methods: &[Method]) -> Result<(), ApiError> {
    if methods.contains(call.method) {
        return Ok(());
    }
    let allowed: Vec<&str> = methods.iter().map(Method::as_str).collect();
    Err(ApiError::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "UNSUPPORTED",
        "this path does not know this method",
    )
    .with(ALLOW, &allowed.join(", ")))
}

fn parse_digest(text: &str) -> Result<Digest, ApiError> {
    Digest::parse(text).map_err(|error| ApiError::bad("DIGEST_INVALID", error.to_string()))
}

fn json(document: &serde_json::Value) -> Response<Body> {
    let mut response = Response::new(Body::from(document.to_string()));
    let kind = HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}

/// Whether the client says that it has this already. Caches between us tell several, and weak ones.
fn is_known(headers: &HeaderMap, etag: &[u8]) -> bool {
    let told = headers.get_all(IF_NONE_MATCH).iter();
    let mut tags = told.flat_map(|told| told.as_bytes().split(|&byte| byte == b','));
    tags.any(|tag| {
        let tag = tag.trim_ascii();
        tag == b"*" || tag.strip_prefix(b"W/").unwrap_or(tag) == etag
    })
}

/// An answer without a body.
fn empty(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}

/// Adds a header; what HTTP cannot carry is left out.
fn set(response: &mut Response<Body>, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(name, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_client_has_is_told_in_several_ways() {
        let etag = b"\"sha256:ab\"";
        for (told, expected) in [
            ("\"sha256:ab\"", true),
            ("W/\"sha256:ab\"", true),
            ("\"x\" , \"sha256:ab\"", true),
            ("*", true),
            ("\"sha256:abc\"", false),
            ("sha256:ab", false),
            ("", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(IF_NONE_MATCH, HeaderValue::from_static(told));
            assert_eq!(is_known(&headers, etag), expected, "{told}");
        }
        assert!(!is_known(&HeaderMap::new(), etag));
    }

    #[test]
    fn escapes_in_paths_are_read_once() {
        assert_eq!(decode("/v2/a/blobs/sha256%3Aff"), "/v2/a/blobs/sha256:ff");
        assert_eq!(decode("/v2/%252e"), "/v2/%2e");
        assert_eq!(decode("/v2/%zz%"), "/v2/%zz%");
        assert_eq!(decode("/v2/%ff"), "");
        assert_eq!(decode("%é"), "%é");
    }
}
