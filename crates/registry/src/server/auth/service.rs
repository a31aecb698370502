//! The token service, as Docker's token specification has it: `GET /token` with Basic credentials or
//! none, and `POST /token` in the form of OAuth 2.

use std::net::IpAddr;
use std::sync::Arc;

use axum::body::Body;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use axum::http::{HeaderMap, Method, Request, Response, StatusCode};

use super::token::{self, Claims, Grant};
use super::{Principal, Role};
use crate::server::api::error::ApiError;
use crate::server::database::accounts::{self, NewToken};
use crate::server::database::now;
use crate::server::mirror::Mirror;
use crate::server::{Registry, names, random_hex, read_body};

const FORM_BYTES_MAX: usize = 16 * 1024;
/// The most scopes in one request; a push with mounts asks for a few.
const SCOPES_MAX: usize = 64;
/// For how long a login lasts that keeps no password.
const REFRESH_SECONDS: i64 = 90 * 24 * 3600;

/// A request, in whichever form it came.
#[derive(Default)]
struct Wanted {
    scopes: Vec<String>,
    wants_refresh: bool,
    username: String,
    password: String,
    refresh_token: String,
    grant_type: String,
}

fn parse(text: &[u8]) -> Wanted {
    let mut wanted = Wanted::default();
    for (name, value) in form_urlencoded::parse(text) {
        let value = value.into_owned();
        match &*name {
            "scope" => wanted.scopes.extend(value.split(' ').map(str::to_owned)),
            "offline_token" => wanted.wants_refresh |= value == "true",
            "access_type" => wanted.wants_refresh |= value == "offline",
            "username" => wanted.username = value,
            "password" => wanted.password = value,
            "refresh_token" => wanted.refresh_token = value,
            "grant_type" => wanted.grant_type = value,
            _ => {}
        }
    }
    wanted
}

fn refused(message: &str) -> ApiError {
    ApiError::new(StatusCode::UNAUTHORIZED, "UNAUTHORIZED", message)
}

/// Answers a request for a token, and says whose it was.
pub(crate) async fn handle(
    registry: &Arc<Registry>,
    request: Request<Body>,
    peer: IpAddr,
) -> Result<(Response<Body>, String), ApiError> {
    let (parts, body) = request.into_parts();
    let (wanted, who) = match parts.method {
        Method::GET => {
            let wanted = parse(parts.uri.query().unwrap_or_default().as_bytes());
            let who = super::identify(registry, &parts.headers, peer).await?;
            (wanted, who)
        }
        Method::POST => {
            let form = read_body(body, FORM_BYTES_MAX).await?;
            let wanted = parse(&form);
            let who = from_form(registry, &wanted, &parts.headers, peer).await?;
            (wanted, who)
        }
        _ => {
            return Err(ApiError::new(
                StatusCode::METHOD_NOT_ALLOWED,
                "UNSUPPORTED",
                "tokens are asked for by GET or POST",
            ));
        }
    };
    if who.grants.is_some() {
        return Err(refused("a token is not given for a token"));
    }
    let document = answer(registry, &wanted, &who).await?;
    let mut response = Response::new(Body::from(document.to_string()));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok((response, who.user))
}

async fn from_form(
    registry: &Arc<Registry>,
    wanted: &Wanted,
    headers: &HeaderMap,
    peer: IpAddr,
) -> Result<Principal, ApiError> {
    match wanted.grant_type.as_str() {
        "password" => super::authenticate(registry, &wanted.username, &wanted.password, peer)
            .await?
            .ok_or_else(|| refused("incorrect username or password")),
        "refresh_token" => super::authenticate(registry, "", &wanted.refresh_token, peer)
            .await?
            .ok_or_else(|| refused("the refresh token is not valid (any more)")),
        _ => super::identify(registry, headers, peer).await,
    }
}

async fn answer(
    registry: &Registry,
    wanted: &Wanted,
    who: &Principal,
) -> Result<serde_json::Value, ApiError> {
    let mut access = Vec::new();
    for scope in wanted
        .scopes
        .iter()
        .filter(|scope| !scope.is_empty())
        .take(SCOPES_MAX)
    {
        access.extend(grant(registry, who, scope).await?);
    }
    let claims = Claims {
        user: who.user.clone(),
        limit: who.limit,
        access,
        expires_at: now() + token::ACCESS_SECONDS,
    };
    let access = token::issue(&registry.secret, &claims);
    let mut document = serde_json::json!({
        "token": access,
        "access_token": access,
        "expires_in": token::ACCESS_SECONDS,
        "issued_at": types::timestamp::Timestamp::now().to_string(),
        "scope": wanted.scopes.join(" "),
    });
    if wanted.wants_refresh && !who.user.is_empty() {
        document["refresh_token"] = match &who.access_token {
            Some(own) => own.0.clone(),
            None => refresh_token(registry, who).await?,
        }
        .into();
    }
    Ok(document)
}

/// What `docker login` keeps instead of the password: an access token like any other, which its
/// owner sees on the page of tokens and can end there. Whoever logs in with an access token keeps that
/// one: its end is the end.
async fn refresh_token(registry: &Registry, who: &Principal) -> Result<String, ApiError> {
    let secret = token::new_secret();
    let new = NewToken {
        hash: &token::hash_secret(&secret),
        id: &random_hex::<8>(),
        user: &who.user,
        description: accounts::LOGIN,
        scope: who.limit.name(),
        expires_at: Some(now() + REFRESH_SECONDS),
    };
    registry.database.add_token(&new).await?;
    Ok(secret)
}

/// The part of a scope that is granted: `repository:name:pull,push`, or `registry:catalog:*`.
async fn grant(
    registry: &Registry,
    who: &Principal,
    scope: &str,
) -> Result<Option<Grant>, ApiError> {
    let Some((kind, rest)) = scope.split_once(':') else {
        return Ok(None);
    };
    let Some((name, actions)) = rest.rsplit_once(':') else {
        return Ok(None);
    };
    let granted: &[&str] = match kind {
        "repository" if names::is_repository(name) => {
            let facts = registry.facts(name).await?;
            let role = super::role(registry.settings.anonymous_writes, who, name, &facts);
            // What the mirrored registry may have is there once it is asked for.
            match registry.mirror.is_some() && Mirror::covers(&facts) {
                true => role.max(Role::Read).min(who.limit).actions(),
                false => role.actions(),
            }
        }
        // Everybody may ask for the catalogue; it shows what they may see.
        "registry" if name == "catalog" => &["*"],
        _ => Role::None.actions(),
    };
    let is_wanted = |action: &&&str| {
        actions
            .split(',')
            .any(|wanted| wanted == **action || wanted == "*")
    };
    let actions: Vec<String> = granted
        .iter()
        .filter(is_wanted)
        .map(|action| (*action).to_owned())
        .collect();
    Ok((!actions.is_empty()).then(|| Grant {
        kind: kind.to_owned(),
        name: name.to_owned(),
        actions,
    }))
}
