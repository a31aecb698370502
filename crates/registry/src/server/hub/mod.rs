//! The pages of the hub: made on the server, whole without JavaScript, quicker with the few lines of
//! `hub.js`. Nothing is loaded from elsewhere, and the Content-Security-Policy allows nothing else.
//!
//! [`handle`] stands before all pages: it finds out who looks (a session's cookie) and in which
//! language, and lets no form through that did not come from a page of ours. The rooms below answer.

mod account;
mod admin;
mod image;
pub(super) mod markdown;
mod organisation;
mod repository;
mod sign;
pub(super) mod words;

use std::net::IpAddr;
use std::sync::Arc;

use askama::Template;
use axum::Router;
use axum::body::Body;
use axum::extract::FromRequestParts;
use axum::http::header::{
    ACCEPT_LANGUAGE, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, COOKIE, HeaderName,
    HeaderValue, LOCATION, ORIGIN, REFERRER_POLICY, SET_COOKIE, VARY, X_FRAME_OPTIONS,
};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, Request, Response, StatusCode};
use axum::response::IntoResponse;
use axum::routing::{get, post};
use tower_service::Service as _;

use super::api::error::ApiError;
use super::auth::{Principal, Role, base_url, role, token};
use super::database::DatabaseError;
use super::database::accounts::UserRow;
use super::database::audit::Deed;
use super::database::organisations::OrganisationRow;
use super::database::repositories::{RepositoryRow, Search};
use super::{Registry, chain, random_hex, read_body};
use words::Words;

const SESSION_COOKIE: &str = "caisson_session";
/// Given to those who are not signed in, so that their forms are tied to something too.
const VISITOR_COOKIE: &str = "caisson_visitor";
/// A README of 25,000 bytes may be three times as long in a form.
const FORM_BYTES_MAX: usize = 128 * 1024;
const PAGE_ROWS: i64 = 25;
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; \
     connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";
const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Who looks at a page.
#[derive(Clone)]
pub(super) struct Visitor {
    user: Option<Arc<UserRow>>,
    /// The hash of the session's secret; empty without one.
    session: String,
    /// Proof for forms.
    csrf: String,
    words: &'static Words,
    /// `http://host:port`, as this visitor reaches us.
    base: String,
    peer: IpAddr,
}

impl Visitor {
    fn name(&self) -> &str {
        self.user.as_ref().map_or("", |user| &user.name)
    }

    fn is_admin(&self) -> bool {
        self.user.as_ref().is_some_and(|user| user.is_admin)
    }

    fn principal(&self) -> Principal {
        match &self.user {
            Some(user) => Principal::user(user.name.clone(), user.is_admin),
            None => Principal::anybody(),
        }
    }

    /// What the visitor may do in a repository. Where anybody may push, the pages still let nobody
    /// change or delete without an account.
    async fn role(&self, registry: &Registry, name: &str) -> Result<Role, DatabaseError> {
        let facts = registry.facts(name).await?;
        Ok(role(false, &self.principal(), name, &facts))
    }
}

/// Fields of a form, or of a query.
#[derive(Clone, Default)]
pub(super) struct Fields(Vec<(String, String)>);

impl Fields {
    fn parse(text: &[u8]) -> Self {
        Self(form_urlencoded::parse(text).into_owned().collect())
    }

    fn get(&self, name: &str) -> &str {
        let found = self.0.iter().find(|(field, _)| field == name);
        found.map_or("", |(_, value)| value.trim())
    }

    /// As it is: passwords may begin with a space.
    fn raw(&self, name: &str) -> &str {
        let found = self.0.iter().find(|(field, _)| field == name);
        found.map_or("", |(_, value)| value)
    }

    fn page(&self) -> i64 {
        self.get("page").parse().unwrap_or(1).clamp(1, 10_000)
    }
}

/// What every page shows.
pub(super) struct Page {
    words: &'static Words,
    user: String,
    is_admin: bool,
    csrf: String,
    host: String,
    sign_up: bool,
}

impl Page {
    fn new(registry: &Registry, visitor: &Visitor) -> Self {
        let host = visitor.base.split_once("://").map_or("", |(_, host)| host);
        Self {
            words: visitor.words,
            user: visitor.name().to_owned(),
            is_admin: visitor.is_admin(),
            csrf: visitor.csrf.clone(),
            host: host.to_owned(),
            sign_up: registry.settings.sign_up,
        }
    }
}

/// What a handler has before it: the registry, who looks, and what was filled in.
#[derive(Clone)]
pub(super) struct Desk {
    registry: Arc<Registry>,
    visitor: Visitor,
    fields: Fields,
}

impl Desk {
    fn page(&self) -> Page {
        Page::new(&self.registry, &self.visitor)
    }

    /// Notes what whoever is signed in did.
    async fn note(&self, action: &str, name: &str, detail: &str) -> Result<(), Refusal> {
        let actor = self.visitor.name();
        let deed = Deed {
            actor,
            action,
            name,
            detail,
        };
        Ok(self.registry.database.audit(deed).await?)
    }

    /// The name of whoever is signed in; others are sent to sign in.
    fn user(&self) -> Result<&str, Refusal> {
        match self.visitor.name() {
            "" => Err(Refusal::SignIn),
            name => Ok(name),
        }
    }
}

/// [`handle`] puts it there.
impl FromRequestParts<()> for Desk {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _state: &()) -> Result<Self, Refusal> {
        let desk = parts.extensions.get::<Self>().cloned();
        desk.ok_or_else(|| Refusal::Trouble("a page was asked for beside its door".to_owned()))
    }
}

/// What a handler gives back.
pub(super) type Answer = Result<Response<Body>, Refusal>;

/// Why there is no page. It travels in the answer's extensions to [`handle`], which makes a page of it.
#[derive(Clone, Debug)]
pub(super) enum Refusal {
    NotFound,
    Denied,
    FormExpired,
    /// Sign in first.
    SignIn,
    Trouble(String),
}

impl From<DatabaseError> for Refusal {
    fn from(error: DatabaseError) -> Self {
        Self::Trouble(chain(&error))
    }
}

impl From<askama::Error> for Refusal {
    fn from(error: askama::Error) -> Self {
        Self::Trouble(format!("cannot make a page: {error}"))
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response<Body> {
        let mut response = Response::new(Body::empty());
        response.extensions_mut().insert(self);
        response
    }
}

#[derive(Template)]
#[template(path = "message.html")]
struct Message {
    page: Page,
    title: &'static str,
    text: &'static str,
}

#[derive(Template)]
#[template(path = "home.html")]
struct Home {
    page: Page,
    rows: Vec<RepositoryRow>,
    organisations: Vec<OrganisationRow>,
    is_fresh: bool,
}

#[derive(Template)]
#[template(path = "search.html")]
struct SearchPage {
    page: Page,
    words: &'static Words,
    text: String,
    rows: Vec<RepositoryRow>,
    total: i64,
    previous: Option<String>,
    next: Option<String>,
}

#[derive(Template)]
#[template(path = "results.html")]
struct Results {
    words: &'static Words,
    rows: Vec<RepositoryRow>,
    total: i64,
    previous: Option<String>,
    next: Option<String>,
}

/// All pages.
pub(crate) fn router() -> Router {
    Router::new()
        .route("/", get(home))
        .route("/search", get(search))
        .route("/signup", get(sign::new_form).post(sign::sign_up))
        .route("/signin", get(sign::form).post(sign::sign_in))
        .route("/signout", post(sign::sign_out))
        .route("/new", get(repository::new_form).post(repository::create))
        .route("/r/{*name}", get(repository::show))
        .route("/tag/{*name}", get(image::show))
        .route(
            "/settings/{*name}",
            get(repository::settings).post(repository::change),
        )
        .route("/members/{*name}", post(repository::member))
        .route(
            "/delete/{*name}",
            get(repository::delete_form).post(repository::delete),
        )
        .route("/star/{*name}", post(repository::star))
        .route("/webhooks/{*name}", post(repository::webhook))
        .route(
            "/organisations/new",
            get(organisation::new_form).post(organisation::create),
        )
        .route("/o/{name}", get(organisation::show))
        .route("/o-members/{name}", post(organisation::member))
        .route("/o-delete/{name}", post(organisation::delete))
        .route("/account", get(account::show))
        .route("/account/token", post(account::create_token))
        .route("/account/token-end", post(account::end_token))
        .route("/account/password", post(account::change_password))
        .route("/admin", get(admin::show))
        .route("/admin/audit", get(admin::audit))
        .route("/admin/collect", post(admin::collect))
        .route(
            "/style.css",
            get(|| asset("text/css; charset=utf-8", include_str!("style.css"))),
        )
        .route(
            "/hub.js",
            get(|| asset("text/javascript; charset=utf-8", include_str!("hub.js"))),
        )
        .route(
            "/icon.svg",
            get(|| asset("image/svg+xml", include_str!("icon.svg"))),
        )
        .route(
            "/favicon.ico",
            get(|| asset("image/svg+xml", include_str!("icon.svg"))),
        )
        .fallback(|| async { Refusal::NotFound })
}

/// Answers a request for a page, and says whose it was.
pub(crate) async fn handle(
    registry: &Arc<Registry>,
    pages: &Router,
    request: Request<Body>,
    peer: IpAddr,
) -> (Response<Body>, String) {
    let (visitor, new_cookie) = match visitor(registry, request.headers(), peer).await {
        Ok(found) => found,
        Err(error) => {
            registry.trouble(&chain(&error));
            return (ApiError::from(error).into_response(), String::new());
        }
    };
    let user = visitor.name().to_owned();
    let response = match admit(request, &visitor).await {
        Err(refusal) => refuse(registry, &visitor, refusal),
        Ok((mut request, fields)) => {
            request.extensions_mut().insert(Desk {
                registry: registry.clone(),
                visitor: visitor.clone(),
                fields,
            });
            // The router is always ready and cannot fail.
            let mut response = match pages.clone().call(request).await {
                Ok(response) => response,
                Err(never) => match never {},
            };
            match response.extensions_mut().remove::<Refusal>() {
                Some(refusal) => refuse(registry, &visitor, refusal),
                None => response,
            }
        }
    };
    (dress(response, new_cookie), user)
}

/// Reads a form and checks that it came from a page of ours: by the proof in it, and by what
/// browsers say about where a request comes from.
async fn admit(
    request: Request<Body>,
    visitor: &Visitor,
) -> Result<(Request<Body>, Fields), Refusal> {
    let (parts, body) = request.into_parts();
    if parts.method != Method::POST {
        let fields = Fields::parse(parts.uri.query().unwrap_or_default().as_bytes());
        return Ok((Request::from_parts(parts, Body::empty()), fields));
    }
    let origin = parts
        .headers
        .get(ORIGIN)
        .and_then(|origin| origin.to_str().ok());
    let site = parts
        .headers
        .get(FETCH_SITE)
        .and_then(|site| site.to_str().ok());
    let is_foreign = site.is_some_and(|site| !matches!(site, "same-origin" | "none"))
        || origin.is_some_and(|origin| origin != visitor.base && site.is_none());
    let form = read_body(body, FORM_BYTES_MAX)
        .await
        .map_err(|_| Refusal::FormExpired)?;
    let fields = Fields::parse(&form);
    // Compared as hashes, so that the time tells nothing about where they differ.
    let is_ours = token::hash_secret(fields.get("csrf")) == token::hash_secret(&visitor.csrf);
    if is_foreign || !is_ours || visitor.csrf.is_empty() {
        return Err(Refusal::FormExpired);
    }
    Ok((Request::from_parts(parts, Body::empty()), fields))
}

fn cookie<'a>(headers: &'a HeaderMap, wanted: &str) -> Option<&'a str> {
    let all = headers
        .get_all(COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok());
    all.flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(name, _)| *name == wanted)
        .map(|(_, value)| value)
}

/// Finds out who looks. A cookie is given to those who have none.
async fn visitor(
    registry: &Arc<Registry>,
    headers: &HeaderMap,
    peer: IpAddr,
) -> Result<(Visitor, Option<String>), DatabaseError> {
    let languages = headers
        .get(ACCEPT_LANGUAGE)
        .and_then(|value| value.to_str().ok());
    let mut visitor = Visitor {
        user: None,
        session: String::new(),
        csrf: String::new(),
        words: words::choose(languages.unwrap_or_default()),
        base: base_url(registry, headers),
        peer,
    };
    if let Some(secret) = cookie(headers, SESSION_COOKIE) {
        let hash = token::hash_secret(secret);
        if let Some(user) = registry.database.session(&hash).await? {
            visitor.user = Some(Arc::new(user));
            visitor.csrf = token::proof(&registry.secret, secret);
            visitor.session = hash;
            return Ok((visitor, None));
        }
    }
    if let Some(secret) = cookie(headers, VISITOR_COOKIE) {
        visitor.csrf = token::proof(&registry.secret, secret);
        return Ok((visitor, None));
    }
    let secret = random_hex::<16>();
    visitor.csrf = token::proof(&registry.secret, &secret);
    let cookie = set_cookie(&visitor, VISITOR_COOKIE, &secret, None);
    Ok((visitor, Some(cookie)))
}

/// A cookie that scripts and other sites never see.
fn set_cookie(visitor: &Visitor, name: &str, value: &str, seconds: Option<i64>) -> String {
    let age = seconds.map_or(String::new(), |seconds| format!("; Max-Age={seconds}"));
    let secure = match visitor.base.starts_with("https:") {
        true => "; Secure",
        false => "",
    };
    format!("{name}={value}; Path=/; HttpOnly; SameSite=Lax{age}{secure}")
}

/// What goes with every page.
fn dress(mut response: Response<Body>, new_cookie: Option<String>) -> Response<Body> {
    let headers = response.headers_mut();
    for (name, value) in [
        (CONTENT_SECURITY_POLICY, POLICY),
        (X_FRAME_OPTIONS, "DENY"),
        (REFERRER_POLICY, "same-origin"),
        (VARY, "Cookie, Accept-Language"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    if !headers.contains_key(CACHE_CONTROL) {
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    if let Some(cookie) = new_cookie.and_then(|cookie| HeaderValue::from_str(&cookie).ok()) {
        headers.append(SET_COOKIE, cookie);
    }
    response
}

async fn asset(kind: &'static str, text: &'static str) -> Response<Body> {
    let mut response = Response::new(Body::from(text));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("max-age=300"));
    response
}

/// Renders a page.
fn page(template: &impl Template) -> Answer {
    let mut response = Response::new(Body::from(template.render()?));
    let kind = HeaderValue::from_static("text/html; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    Ok(response)
}

/// Sends somebody on, as an answer to a form.
fn see(place: &str) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SEE_OTHER;
    if let Ok(place) = HeaderValue::from_str(place) {
        response.headers_mut().insert(LOCATION, place);
    }
    response
}

/// The same where something that was filled in is refused.
fn page_with_problem(template: &impl Template, problem: &str) -> Answer {
    let mut response = page(template)?;
    if !problem.is_empty() {
        *response.status_mut() = StatusCode::UNPROCESSABLE_ENTITY;
    }
    Ok(response)
}

fn refuse(registry: &Registry, visitor: &Visitor, refusal: Refusal) -> Response<Body> {
    let words = visitor.words;
    let (status, title, text) = match refusal {
        Refusal::NotFound => (StatusCode::NOT_FOUND, words.not_found, words.not_found_text),
        Refusal::Denied => (StatusCode::FORBIDDEN, words.denied, words.denied_text),
        Refusal::FormExpired => (StatusCode::FORBIDDEN, words.denied, words.form_expired),
        Refusal::SignIn => return see("/signin"),
        Refusal::Trouble(text) => {
            registry.trouble(&text);
            (
                StatusCode::INTERNAL_SERVER_ERROR,
                words.trouble,
                words.trouble_text,
            )
        }
    };
    let message = Message {
        page: Page::new(registry, visitor),
        title,
        text,
    };
    let mut response = page(&message).unwrap_or_else(|_| Response::new(Body::from(text)));
    *response.status_mut() = status;
    response
}

async fn home(desk: Desk) -> Answer {
    let database = &desk.registry.database;
    let who = desk.visitor.principal();
    let rows = match desk.visitor.name() {
        "" => {
            let search = Search {
                viewer: who.viewer(),
                text: "",
                limit: PAGE_ROWS,
                offset: 0,
            };
            database.search(search).await?.0
        }
        user => database.repositories_of(user, PAGE_ROWS * 8).await?,
    };
    let organisations = database.organisations_of(desk.visitor.name()).await?;
    page(&Home {
        page: desk.page(),
        rows,
        organisations,
        is_fresh: !desk.registry.has_users().await?,
    })
}

/// The page of results, or with `part` only its middle for the script.
async fn search(desk: Desk) -> Answer {
    let text: String = desk.fields.get("q").chars().take(200).collect();
    let number = desk.fields.page();
    let who = desk.visitor.principal();
    let search = Search {
        viewer: who.viewer(),
        text: &text,
        limit: PAGE_ROWS,
        offset: (number - 1) * PAGE_ROWS,
    };
    let (rows, total) = desk.registry.database.search(search).await?;
    let link = |number: i64| {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query
            .append_pair("q", &text)
            .append_pair("page", &number.to_string());
        format!("/search?{}", query.finish())
    };
    let words = desk.visitor.words;
    let previous = (number > 1).then(|| link(number - 1));
    let next = (number * PAGE_ROWS < total).then(|| link(number + 1));
    if !desk.fields.get("part").is_empty() {
        return page(&Results {
            words,
            rows,
            total,
            previous,
            next,
        });
    }
    page(&SearchPage {
        page: desk.page(),
        words,
        text: text.clone(),
        rows,
        total,
        previous,
        next,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cookies_are_found_among_others() {
        let mut headers = HeaderMap::new();
        headers.insert(
            COOKIE,
            HeaderValue::from_static("a=1; caisson_session=x=y;b=2"),
        );
        assert_eq!(cookie(&headers, SESSION_COOKIE), Some("x=y"));
        assert_eq!(cookie(&headers, "session"), None);
    }

    #[test]
    fn a_description_that_is_a_script_is_shown_as_text() {
        let row = RepositoryRow {
            name: "alice/app".into(),
            description: "<script>alert(1)</script>".into(),
            readme: String::new(),
            is_private: false,
            updated_at: 0,
            pulls: 0,
            stars: 0,
        };
        let text = Results {
            words: &words::ENGLISH,
            rows: vec![row],
            total: 1,
            previous: None,
            next: None,
        }
        .render()
        .unwrap();
        assert!(!text.contains("<script"), "{text}");
        assert!(text.contains("&#60;script&#62;alert(1)"), "{text}");
    }
}
