//! One's own account: access tokens and the password.

use askama::Template;
use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::http::Response;

use super::{Fields, Page, Refusal, Shared, Visitor, finish, page, see};
use crate::server::auth::{self, Role, password, token};
use crate::server::database::accounts::{NewToken, TokenRow};
use crate::server::database::now;
use crate::server::{Registry, random_hex};

const DESCRIPTION_CHARACTERS_MAX: usize = 100;
/// Tokens of one user.
const TOKENS_MAX: usize = 100;
const DAYS_MAX: i64 = 3650;

#[derive(Template)]
#[template(path = "account.html")]
struct Account {
    page: Page,
    tokens: Vec<TokenRow>,
    /// A token that was just made; shown once.
    secret: String,
    problem: &'static str,
}

async fn render(
    registry: &Registry,
    visitor: &Visitor,
    secret: String,
    problem: &'static str,
) -> Result<Response<Body>, Refusal> {
    if visitor.user.is_none() {
        return Err(Refusal::SignIn);
    }
    page(&Account {
        page: Page::new(registry, visitor),
        tokens: registry.database.tokens(visitor.name()).await?,
        secret,
        problem,
    })
}

pub(super) async fn show(
    State(registry): Shared,
    Extension(visitor): Extension<Visitor>,
) -> Response<Body> {
    let result = render(&registry, &visitor, String::new(), "").await;
    finish(&registry, &visitor, result)
}

pub(super) async fn create_token(
    State(registry): Shared,
    Extension(visitor): Extension<Visitor>,
    Extension(fields): Extension<Fields>,
) -> Response<Body> {
    let result = async {
        if visitor.user.is_none() {
            return Err(Refusal::SignIn);
        }
        let description: String = fields
            .get("description")
            .chars()
            .take(DESCRIPTION_CHARACTERS_MAX)
            .collect();
        let scope = Role::parse(fields.get("scope")).ok_or(Refusal::Denied)?;
        let days = fields
            .get("days")
            .parse::<i64>()
            .unwrap_or(30)
            .clamp(0, DAYS_MAX);
        if registry.database.tokens(visitor.name()).await?.len() >= TOKENS_MAX {
            return Err(Refusal::Denied);
        }
        let secret = token::new_secret();
        registry
            .database
            .add_token(&NewToken {
                hash: &token::hash_secret(&secret),
                id: &random_hex::<8>(),
                user: visitor.name(),
                description: &description,
                scope: scope.name(),
                expires_at: (days > 0).then(|| now() + days * 86_400),
            })
            .await?;
        render(&registry, &visitor, secret, "").await
    };
    finish(&registry, &visitor, result.await)
}

pub(super) async fn end_token(
    State(registry): Shared,
    Extension(visitor): Extension<Visitor>,
    Extension(fields): Extension<Fields>,
) -> Response<Body> {
    let result = async {
        if visitor.user.is_none() {
            return Err(Refusal::SignIn);
        }
        registry
            .database
            .remove_token(visitor.name(), fields.get("id"))
            .await?;
        registry.remembered.clear();
        Ok(see("/account"))
    };
    finish(&registry, &visitor, result.await)
}

pub(super) async fn change_password(
    State(registry): Shared,
    Extension(visitor): Extension<Visitor>,
    Extension(fields): Extension<Fields>,
) -> Response<Body> {
    let result = async {
        if visitor.user.is_none() {
            return Err(Refusal::SignIn);
        }
        let (old, new) = (fields.raw("old"), fields.raw("new"));
        if !(password::BYTES_MIN..=password::BYTES_MAX).contains(&new.len()) {
            return render(
                &registry,
                &visitor,
                String::new(),
                visitor.words.bad_password,
            )
            .await;
        }
        let is_right = !old.starts_with(auth::ACCESS_TOKEN_PREFIX)
            && matches!(
                auth::authenticate(&registry, visitor.name(), old, visitor.peer).await,
                Ok(Some(_))
            );
        if !is_right {
            let problem = visitor.words.wrong_credentials;
            return render(&registry, &visitor, String::new(), problem).await;
        }
        let hash = password::hash(&registry, new).await;
        let hash = hash.ok_or_else(|| Refusal::Trouble("cannot hash a password".to_owned()))?;
        registry
            .database
            .set_password(visitor.name(), &hash)
            .await?;
        registry.remembered.clear();
        Ok(see("/signin"))
    };
    finish(&registry, &visitor, result.await)
}
