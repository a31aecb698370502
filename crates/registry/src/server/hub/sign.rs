//! Signing up, in and out.

use std::sync::atomic::Ordering;

use askama::Template;
use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::http::header::{HeaderValue, SET_COOKIE};
use axum::http::{Response, StatusCode};

use super::{
    Fields, Page, Refusal, SESSION_COOKIE, Shared, Visitor, finish, page, see, set_cookie,
};
use crate::server::auth::{self, password, token};
use crate::server::database::now;
use crate::server::{Registry, names, random_hex};

/// A session in a browser ends after so long.
const SESSION_SECONDS: i64 = 14 * 24 * 3600;

#[derive(Template)]
#[template(path = "sign.html")]
struct Sign {
    page: Page,
    is_new: bool,
    user: String,
    problem: &'static str,
}

fn show(
    registry: &Registry,
    visitor: &Visitor,
    is_new: bool,
    (user, problem): (&str, &'static str),
) -> Result<Response<Body>, Refusal> {
    let mut response = page(&Sign {
        page: Page::new(registry, visitor),
        is_new,
        user: user.to_owned(),
        problem,
    })?;
    if !problem.is_empty() {
        *response.status_mut() = StatusCode::UNPROCESSABLE_ENTITY;
    }
    Ok(response)
}

pub(super) async fn form(
    State(registry): Shared,
    Extension(visitor): Extension<Visitor>,
) -> Response<Body> {
    finish(
        &registry,
        &visitor,
        show(&registry, &visitor, false, ("", "")),
    )
}

pub(super) async fn new_form(
    State(registry): Shared,
    Extension(visitor): Extension<Visitor>,
) -> Response<Body> {
    let problem = match registry.settings.sign_up {
        true => "",
        false => visitor.words.sign_up_closed,
    };
    finish(
        &registry,
        &visitor,
        show(&registry, &visitor, true, ("", problem)),
    )
}

pub(super) async fn sign_up(
    State(registry): Shared,
    Extension(visitor): Extension<Visitor>,
    Extension(fields): Extension<Fields>,
) -> Response<Body> {
    let result = async {
        let (user, secret) = (fields.get("user"), fields.raw("password"));
        let words = visitor.words;
        let length = password::BYTES_MIN..=password::BYTES_MAX;
        let problem = if !registry.settings.sign_up {
            words.sign_up_closed
        } else if registry.logins.refused("", visitor.peer).is_some() {
            words.too_many
        } else if !names::is_user(user) {
            words.bad_user_name
        } else if !length.contains(&secret.len()) {
            words.bad_password
        } else {
            ""
        };
        if !problem.is_empty() {
            return show(&registry, &visitor, true, (user, problem));
        }
        let hash = password::hash(&registry, secret).await;
        let hash = hash.ok_or_else(|| Refusal::Trouble("cannot hash a password".to_owned()))?;
        // A new user may be the owner of names that were nobody's.
        let _change = registry.cache.change();
        // Counted as attempts are, so that nobody fills the table of users.
        registry.logins.failed("", visitor.peer);
        if !registry.database.create_user(user, &hash).await? {
            return show(&registry, &visitor, true, (user, words.user_taken));
        }
        registry.has_users.store(true, Ordering::Relaxed);
        begin_session(&registry, &visitor, user).await
    };
    finish(&registry, &visitor, result.await)
}

pub(super) async fn sign_in(
    State(registry): Shared,
    Extension(visitor): Extension<Visitor>,
    Extension(fields): Extension<Fields>,
) -> Response<Body> {
    let result = async {
        let (user, secret) = (fields.get("user"), fields.raw("password"));
        let words = visitor.words;
        // Access tokens are for programs: with one, nobody gets a session that can do everything.
        if secret.starts_with(auth::ACCESS_TOKEN_PREFIX) {
            return show(&registry, &visitor, false, (user, words.wrong_credentials));
        }
        match auth::authenticate(&registry, user, secret, visitor.peer).await {
            Ok(Some(who)) => begin_session(&registry, &visitor, &who.user).await,
            Ok(None) => show(&registry, &visitor, false, (user, words.wrong_credentials)),
            Err(error) if error.status == StatusCode::TOO_MANY_REQUESTS => {
                show(&registry, &visitor, false, (user, words.too_many))
            }
            Err(error) => Err(Refusal::Trouble(error.message().to_owned())),
        }
    };
    finish(&registry, &visitor, result.await)
}

async fn begin_session(
    registry: &Registry,
    visitor: &Visitor,
    user: &str,
) -> Result<Response<Body>, Refusal> {
    // A new secret for each: nobody can prepare a session for somebody else.
    let secret = random_hex::<32>();
    let hash = token::hash_secret(&secret);
    registry
        .database
        .add_session(&hash, user, now() + SESSION_SECONDS)
        .await?;
    let cookie = set_cookie(visitor, SESSION_COOKIE, &secret, Some(SESSION_SECONDS));
    Ok(with_cookie(see("/"), &cookie))
}

fn with_cookie(mut response: Response<Body>, cookie: &str) -> Response<Body> {
    if let Ok(cookie) = HeaderValue::from_str(cookie) {
        response.headers_mut().append(SET_COOKIE, cookie);
    }
    response
}

pub(super) async fn sign_out(
    State(registry): Shared,
    Extension(visitor): Extension<Visitor>,
) -> Response<Body> {
    let result = async {
        registry.database.end_session(&visitor.session).await?;
        let cookie = set_cookie(&visitor, SESSION_COOKIE, "", Some(0));
        Ok(with_cookie(see("/"), &cookie))
    };
    finish(&registry, &visitor, result.await)
}
