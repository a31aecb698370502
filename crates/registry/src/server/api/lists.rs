//! Lists: tags (end-8), repositories, referrers (end-12), each in pages.

use axum::body::Body;
use axum::http::header::{CONTENT_TYPE, HeaderName, HeaderValue, LINK};
use axum::http::{Method, Response};
use serde_json::{Value, json};
use types::digest::Digest;

use super::error::ApiError;
use super::{Call, only, set};
use crate::server::auth::{Role, unknown_name};
use crate::server::database::manifests::StoredManifest;
use crate::server::manifest::{MANIFEST_BYTES_MAX, OCI_INDEX};

const FILTERS: HeaderName = HeaderName::from_static("oci-filters-applied");
/// The most entries of one page; whoever asks for more gets a `Link`.
const PAGE_MAX: i64 = 10_000;
/// Referrers are looked at in such steps.
const REFERRERS_STEP: i64 = 100;

/// `n` and `last`.
struct Page {
    count: i64,
    last: String,
}

impl Page {
    fn parse(call: &Call<'_>) -> Result<Self, ApiError> {
        let count = match call.parameter("n") {
            None => PAGE_MAX,
            Some(text) => {
                let count = text.parse::<i64>().ok().filter(|count| *count >= 0);
                let message = "n is the number of entries wanted";
                count
                    .ok_or_else(|| ApiError::bad("PAGINATION_NUMBER_INVALID", message))?
                    .min(PAGE_MAX)
            }
        };
        Ok(Self {
            count,
            last: call.parameter("last").unwrap_or_default(),
        })
    }

    /// Cuts the one entry that was read too many; the link to the next page, if there was one.
    fn cut(&self, entries: &mut Vec<String>, path: &str) -> Option<String> {
        let has_more = entries.len() as i64 > self.count;
        entries.truncate(usize::try_from(self.count).unwrap_or_default());
        let last = entries.last().filter(|_| has_more)?;
        Some(format!(
            "<{path}?n={}&last={last}>; rel=\"next\"",
            self.count
        ))
    }
}

/// `GET /v2/<name>/tags/list`.
pub(super) async fn tags(call: &Call<'_>) -> Result<Response<Body>, ApiError> {
    only(call, &[Method::GET, Method::HEAD])?;
    call.require(Role::Read).await?;
    let database = &call.registry.database;
    if !call.registry.facts(call.name).await?.exists {
        return Err(unknown_name(call.name));
    }
    let page = Page::parse(call)?;
    let mut tags = database
        .tag_names(call.name, &page.last, page.count + 1)
        .await?;
    let link = page.cut(&mut tags, &format!("/v2/{}/tags/list", call.name));
    Ok(listed(&json!({"name": call.name, "tags": tags}), link))
}

/// `GET /v2/_catalog`: what the asker may see.
pub(super) async fn catalog(call: &Call<'_>) -> Result<Response<Body>, ApiError> {
    only(call, &[Method::GET, Method::HEAD])?;
    let page = Page::parse(call)?;
    let database = &call.registry.database;
    let mut names = database
        .catalog(call.who.viewer(), &page.last, page.count + 1)
        .await?;
    let link = page.cut(&mut names, "/v2/_catalog");
    Ok(listed(&json!({"repositories": names}), link))
}

fn listed(document: &Value, link: Option<String>) -> Response<Body> {
    let mut response = super::json(document);
    if let Some(link) = link {
        set(&mut response, LINK, &link);
    }
    response
}

/// `GET /v2/<name>/referrers/<digest>`: always an index, also of nothing.
pub(super) async fn referrers(
    call: &Call<'_>,
    subject: &Digest,
) -> Result<Response<Body>, ApiError> {
    only(call, &[Method::GET, Method::HEAD])?;
    call.require(Role::Read).await?;
    let filter = call
        .parameter("artifactType")
        .filter(|kind| !kind.is_empty());
    let mut last = call.parameter("last").unwrap_or_default();
    let (mut found, mut size, mut link) = (Vec::new(), 0, None);
    'pages: loop {
        let step = (last.as_str(), REFERRERS_STEP);
        let database = &call.registry.database;
        let rows = database
            .referrers(call.name, subject, filter.as_deref(), step)
            .await?;
        let is_end = (rows.len() as i64) < REFERRERS_STEP;
        for row in rows {
            let descriptor = describe(&row);
            size += descriptor.to_string().len() + 1;
            // An answer is a manifest, and clients read no larger ones (section "Listing Referrers").
            if size + 256 > MANIFEST_BYTES_MAX {
                link = Some(next_page(call, subject, filter.as_deref(), &last));
                break 'pages;
            }
            found.push(descriptor);
            last = row.digest;
        }
        if is_end {
            break;
        }
    }
    let document = json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": found});
    let mut response = listed(&document, link);
    let kind = HeaderValue::from_static(OCI_INDEX);
    response.headers_mut().insert(CONTENT_TYPE, kind);
    if filter.is_some() {
        set(&mut response, FILTERS, "artifactType");
    }
    Ok(response)
}

fn next_page(call: &Call<'_>, subject: &Digest, filter: Option<&str>, last: &str) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.append_pair("last", last);
    if let Some(filter) = filter {
        query.append_pair("artifactType", filter);
    }
    let path = format!("/v2/{}/referrers/{subject}", call.name);
    format!("<{path}?{}>; rel=\"next\"", query.finish())
}

/// The descriptor of a manifest that refers to another, with its own annotations.
fn describe(row: &StoredManifest) -> Value {
    let body: Value = serde_json::from_slice(&row.body).unwrap_or_default();
    let mut descriptor = json!({
        "mediaType": row.media_type, "digest": row.digest, "size": row.body.len(),
    });
    let own = body["artifactType"].as_str().filter(|own| !own.is_empty());
    if let Some(kind) = own.or_else(|| body["config"]["mediaType"].as_str()) {
        descriptor["artifactType"] = kind.into();
    }
    if let Some(annotations) = body["annotations"].as_object() {
        // Texts alone, as the specification has them: others would spoil the list for clients.
        let texts = annotations.iter().filter(|(_, value)| value.is_string());
        let texts = texts.map(|(name, value)| (name.clone(), value.clone()));
        descriptor["annotations"] = Value::Object(texts.collect());
    }
    descriptor
}
