//! One's own account: access tokens and the password.

use askama::Template;

use super::{Answer, Desk, Page, Refusal, page_with_problem, see};
use crate::server::auth::{self, Role, password, token};
use crate::server::database::accounts::{NewToken, TokenRow};
use crate::server::database::now;
use crate::server::random_hex;

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

async fn render(desk: &Desk, secret: String, problem: &'static str) -> Answer {
    let tokens = desk.registry.database.tokens(desk.user()?).await?;
    let account = Account {
        page: desk.page(),
        tokens,
        secret,
        problem,
    };
    page_with_problem(&account, problem)
}

pub(super) async fn show(desk: Desk) -> Answer {
    render(&desk, String::new(), "").await
}

pub(super) async fn create_token(desk: Desk) -> Answer {
    let (user, fields, database) = (desk.user()?, &desk.fields, &desk.registry.database);
    let description: String = fields
        .get("description")
        .chars()
        .take(DESCRIPTION_CHARACTERS_MAX)
        .collect();
    let scope = Role::parse(fields.get("scope")).ok_or(Refusal::Denied)?;
    let days = fields.get("days").parse::<i64>();
    let days = days.unwrap_or(30).clamp(0, DAYS_MAX);
    if database.tokens(user).await?.len() >= TOKENS_MAX {
        return Err(Refusal::Denied);
    }
    let secret = token::new_secret();
    database
        .add_token(&NewToken {
            hash: &token::hash_secret(&secret),
            id: &random_hex::<8>(),
            user,
            description: &description,
            scope: scope.name(),
            expires_at: (days > 0).then(|| now() + days * 86_400),
        })
        .await?;
    desk.note(
        "token.create",
        user,
        &format!("{} {description}", scope.name()),
    )
    .await?;
    render(&desk, secret, "").await
}

pub(super) async fn end_token(desk: Desk) -> Answer {
    let database = &desk.registry.database;
    database
        .remove_token(desk.user()?, desk.fields.get("id"))
        .await?;
    desk.note("token.remove", desk.user()?, desk.fields.get("id"))
        .await?;
    Ok(see("/account"))
}

pub(super) async fn change_password(desk: Desk) -> Answer {
    let (user, registry, words) = (desk.user()?, &desk.registry, desk.visitor.words);
    let (old, new) = (desk.fields.raw("old"), desk.fields.raw("new"));
    if !(password::BYTES_MIN..=password::BYTES_MAX).contains(&new.len()) {
        return render(&desk, String::new(), words.bad_password).await;
    }
    let is_right = !old.starts_with(auth::ACCESS_TOKEN_PREFIX)
        && matches!(
            auth::authenticate(registry, user, old, desk.visitor.peer).await,
            Ok(Some(_))
        );
    if !is_right {
        return render(&desk, String::new(), words.wrong_credentials).await;
    }
    let hash = password::hash(registry, new).await;
    let hash = hash.ok_or_else(|| Refusal::Trouble("cannot hash a password".to_owned()))?;
    registry.database.set_password(user, &hash).await?;
    desk.note("user.password", user, "").await?;
    Ok(see("/signin"))
}
