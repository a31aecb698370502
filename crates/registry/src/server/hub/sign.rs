//! Signing up, in and out.

use askama::Template;
use axum::body::Body;
use axum::http::header::{HeaderValue, SET_COOKIE};
use axum::http::{Response, StatusCode};

use super::{Answer, Desk, Page, Refusal, SESSION_COOKIE, page_with_problem, see, set_cookie};
use crate::server::auth::{self, password, token};
use crate::server::database::now;
use crate::server::{names, random_hex};

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

fn show(desk: &Desk, is_new: bool, (user, problem): (&str, &'static str)) -> Answer {
    let sign = Sign {
        page: desk.page(),
        is_new,
        user: user.to_owned(),
        problem,
    };
    page_with_problem(&sign, problem)
}

pub(super) async fn form(desk: Desk) -> Answer {
    show(&desk, false, ("", ""))
}

pub(super) async fn new_form(desk: Desk) -> Answer {
    let problem = match desk.registry.settings.sign_up {
        true => "",
        false => desk.visitor.words.sign_up_closed,
    };
    show(&desk, true, ("", problem))
}

pub(super) async fn sign_up(desk: Desk) -> Answer {
    let (registry, visitor, words) = (&desk.registry, &desk.visitor, desk.visitor.words);
    let (user, secret) = (desk.fields.get("user"), desk.fields.raw("password"));
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
        return show(&desk, true, (user, problem));
    }
    let hash = password::hash(registry, secret).await;
    let hash = hash.ok_or_else(|| Refusal::Trouble("cannot hash a password".to_owned()))?;
    // A new user may be the owner of names that were nobody's.
    let _change = registry.cache.change();
    // Counted as attempts are, so that nobody fills the table of users.
    registry.logins.failed("", visitor.peer);
    if !registry.database.create_user(user, &hash).await? {
        return show(&desk, true, (user, words.user_taken));
    }
    begin_session(&desk, user).await
}

pub(super) async fn sign_in(desk: Desk) -> Answer {
    let (user, secret) = (desk.fields.get("user"), desk.fields.raw("password"));
    let words = desk.visitor.words;
    // Access tokens are for programs: with one, nobody gets a session that can do everything.
    if secret.starts_with(auth::ACCESS_TOKEN_PREFIX) {
        return show(&desk, false, (user, words.wrong_credentials));
    }
    match auth::authenticate(&desk.registry, user, secret, desk.visitor.peer).await {
        Ok(Some(who)) => begin_session(&desk, &who.user).await,
        Ok(None) => show(&desk, false, (user, words.wrong_credentials)),
        Err(error) if error.status == StatusCode::TOO_MANY_REQUESTS => {
            show(&desk, false, (user, words.too_many))
        }
        Err(error) => Err(Refusal::Trouble(error.message().to_owned())),
    }
}

async fn begin_session(desk: &Desk, user: &str) -> Answer {
    // A new secret for each: nobody can prepare a session for somebody else.
    let secret = random_hex::<32>();
    let hash = token::hash_secret(&secret);
    let database = &desk.registry.database;
    database
        .add_session(&hash, user, now() + SESSION_SECONDS)
        .await?;
    let cookie = set_cookie(
        &desk.visitor,
        SESSION_COOKIE,
        &secret,
        Some(SESSION_SECONDS),
    );
    Ok(with_cookie(see("/"), &cookie))
}

fn with_cookie(mut response: Response<Body>, cookie: &str) -> Response<Body> {
    if let Ok(cookie) = HeaderValue::from_str(cookie) {
        response.headers_mut().append(SET_COOKIE, cookie);
    }
    response
}

pub(super) async fn sign_out(desk: Desk) -> Answer {
    let database = &desk.registry.database;
    database.end_session(&desk.visitor.session).await?;
    let cookie = set_cookie(&desk.visitor, SESSION_COOKIE, "", Some(0));
    Ok(with_cookie(see("/"), &cookie))
}
