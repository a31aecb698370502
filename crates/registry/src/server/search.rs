//! `GET /v1/search`, the one question of the first registry API that clients still ask: what
//! `docker search` shows comes from here.

use std::sync::Arc;

use axum::body::Body;
use axum::http::header::{CONTENT_TYPE, HeaderValue};
use axum::http::{HeaderMap, Response};
use serde_json::{Value, json};

use super::Registry;
use super::api::error::ApiError;
use super::auth::Principal;
use super::database::repositories::Search;

const COUNT: i64 = 25;
const COUNT_MAX: i64 = 100;
/// Nothing is called like this.
const TEXT_BYTES_MAX: usize = 256;

/// Answers as Docker Hub does: pages from 1, private repositories for those who may see them.
pub(crate) async fn answer(
    registry: &Arc<Registry>,
    query: &str,
    who: &Principal,
) -> Result<Response<Body>, ApiError> {
    let (mut text, mut count, mut page) = (String::new(), COUNT, 1);
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        match &*name {
            "q" => text = value.into_owned(),
            "n" | "page_size" => count = value.parse().unwrap_or(COUNT).clamp(1, COUNT_MAX),
            "page" => page = value.parse().unwrap_or(1).clamp(1, i64::from(u16::MAX)),
            _ => {}
        }
    }
    if text.len() > TEXT_BYTES_MAX {
        return Err(ApiError::bad(
            "UNSUPPORTED",
            "the text to look for is too long",
        ));
    }
    // The stand-in of Docker Hub is asked for `library/nginx` or `nginx` alike.
    let text = text.trim().trim_start_matches("library/");
    let search = Search {
        viewer: who.viewer(),
        text,
        limit: count,
        offset: (page - 1) * count,
    };
    let (rows, total) = registry.database.search(search).await?;
    let results: Vec<Value> = rows
        .into_iter()
        .map(|row| {
            let official = row.name.strip_prefix("library/");
            json!({
                "name": official.unwrap_or(&row.name), "description": row.description,
                "star_count": row.stars, "pull_count": row.pulls, "is_official": official.is_some(),
                "is_automated": false, "is_trusted": false,
            })
        })
        .collect();
    let document = json!({
        "num_pages": (total + count - 1) / count, "num_results": total, "page": page,
        "page_size": count, "query": text, "results": results,
    });
    let mut response = Response::new(Body::from(document.to_string()));
    let kind = HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    Ok(response)
}

/// Who searches: anybody, unless credentials come along.
pub(crate) async fn handle(
    registry: &Arc<Registry>,
    headers: &HeaderMap,
    query: &str,
    peer: std::net::IpAddr,
) -> Result<(Response<Body>, String), ApiError> {
    let who = super::auth::identify(registry, headers, peer).await?;
    let response = answer(registry, query, &who).await?;
    Ok((response, who.user))
}
