//! Who asks, and what they may.
//!
//! A request is somebody's by a bearer token of ours ([`token`]), or by name and password (or access
//! token) in the Basic form. What a person may do in a repository is decided afresh for each request
//! by [`role`], so that a member who was removed is out at once; a bearer token only narrows it.

pub(crate) mod limit;
pub(crate) mod password;
pub(crate) mod service;
pub(crate) mod token;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::http::header::{AUTHORIZATION, HOST, ORIGIN, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, StatusCode};
use base64::Engine as _;
use sha2::Digest as _;

use super::Registry;
use super::api::error::ApiError;
use super::database::repositories::{Facts, Viewer};
use token::Grant;

/// How access tokens begin, so that people and scanners of secrets know them.
pub(crate) const ACCESS_TOKEN_PREFIX: &str = "cst_";
/// For so long a pair of name and password that was right is not hashed again.
const REMEMBER: Duration = Duration::from_secs(300);
const REMEMBERED_MAX: usize = 1000;

/// What one may do in a repository; each includes those before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Role {
    /// Nothing; not even learn that it exists.
    #[default]
    None,
    /// Pull.
    Read,
    /// Push.
    Write,
    /// Delete, describe, invite.
    Admin,
}

impl Role {
    /// Its word.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Read => "read",
            Self::Write => "write",
            Self::Admin => "admin",
        }
    }

    /// Reads its word.
    pub(crate) fn parse(word: &str) -> Option<Self> {
        [Self::Read, Self::Write, Self::Admin]
            .into_iter()
            .find(|role| role.name() == word)
    }

    /// The actions of a token's scope that it covers.
    pub(crate) fn actions(self) -> &'static [&'static str] {
        match self {
            Self::None => &[],
            Self::Read => &["pull"],
            Self::Write => &["pull", "push"],
            Self::Admin => &["pull", "push", "delete"],
        }
    }
}

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Principal {
    /// Empty is anybody.
    pub(crate) user: String,
    pub(crate) is_admin: bool,
    /// No more than this anywhere, because the access token says so.
    pub(crate) limit: Role,
    /// Only what these grant, because the bearer token says so.
    pub(crate) grants: Option<Vec<Grant>>,
    /// Who came with an access token in place of the password is given no other one, which would
    /// outlive it.
    pub(crate) access_token: Option<AccessToken>,
}

/// An access token, which is never shown.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct AccessToken(pub(crate) String);

impl std::fmt::Debug for AccessToken {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("AccessToken(…)")
    }
}

impl Principal {
    /// Nobody known.
    pub(crate) fn anybody() -> Self {
        Self {
            user: String::new(),
            is_admin: false,
            limit: Role::Admin,
            grants: None,
            access_token: None,
        }
    }

    /// A user.
    pub(crate) fn user(name: String, is_admin: bool) -> Self {
        Self {
            user: name,
            is_admin,
            limit: Role::Admin,
            grants: None,
            access_token: None,
        }
    }

    /// How lists are made for them.
    pub(crate) fn viewer(&self) -> Viewer<'_> {
        Viewer {
            user: &self.user,
            sees_all: self.is_admin,
        }
    }
}

/// What somebody may do in a repository, grants of a bearer token apart.
pub(crate) fn role(anonymous_writes: bool, who: &Principal, name: &str, facts: &Facts) -> Role {
    let namespace = name.split_once('/').map_or("", |(first, _)| first);
    let is_owner = !who.user.is_empty() && namespace == who.user;
    let found = if who.is_admin || is_owner {
        Role::Admin
    } else if anonymous_writes && !facts.has_owner && !facts.is_private {
        // Where anybody may write, they may not write into what is somebody's.
        Role::Admin
    } else {
        let member = facts.members.get(&who.user).copied();
        let public = match facts.exists && !facts.is_private {
            true => Role::Read,
            false => Role::None,
        };
        member.unwrap_or(Role::None).max(public)
    };
    // A copy follows what it was copied from; those who may, only delete it.
    let may_push = if facts.is_copy && !who.is_admin {
        Role::Read
    } else {
        Role::Admin
    };
    found.min(who.limit).min(may_push)
}

/// Passwords that were right a moment ago, hashed together with what they fitted: one that was changed
/// meanwhile, here or by another replica, is not found.
#[derive(Default)]
pub(crate) struct Remembered(Mutex<HashMap<[u8; 32], Instant>>);

impl Remembered {
    fn knows(&self, key: &[u8; 32]) -> bool {
        let known = self
            .0
            .lock()
            .expect("invariant: nothing panics with this lock");
        known
            .get(key)
            .is_some_and(|since| since.elapsed() < REMEMBER)
    }

    fn keep(&self, key: [u8; 32]) {
        let mut known = self
            .0
            .lock()
            .expect("invariant: nothing panics with this lock");
        if known.len() >= REMEMBERED_MAX {
            known.clear();
        }
        known.insert(key, Instant::now());
    }
}

/// Finds out who asks.
pub(crate) async fn identify(
    registry: &Arc<Registry>,
    headers: &HeaderMap,
    peer: std::net::IpAddr,
) -> Result<Principal, ApiError> {
    let Some(value) = headers.get(AUTHORIZATION) else {
        return Ok(Principal::anybody());
    };
    let refused = || {
        ApiError::new(
            StatusCode::UNAUTHORIZED,
            "UNAUTHORIZED",
            "the credentials are not of a form that is understood here",
        )
    };
    let (kind, value) = value
        .to_str()
        .ok()
        .and_then(|value| value.split_once(' '))
        .ok_or_else(refused)?;
    if kind.eq_ignore_ascii_case("bearer") {
        let claims = token::verify(&registry.secret, value.trim()).ok_or_else(|| {
            ApiError::new(
                StatusCode::UNAUTHORIZED,
                "UNAUTHORIZED",
                "the token is not valid (any more)",
            )
            .with(
                WWW_AUTHENTICATE,
                &challenge(registry, headers, "", ",error=\"invalid_token\""),
            )
        })?;
        return from_claims(registry, claims).await;
    }
    if !kind.eq_ignore_ascii_case("basic") {
        return Err(refused());
    }
    let (user, password) = decode_basic(value).ok_or_else(refused)?;
    authenticate(registry, &user, &password, peer)
        .await?
        .ok_or_else(|| {
            ApiError::new(
                StatusCode::UNAUTHORIZED,
                "UNAUTHORIZED",
                "incorrect username or password",
            )
            .with(WWW_AUTHENTICATE, &challenge(registry, headers, "", ""))
        })
}

async fn from_claims(registry: &Registry, claims: token::Claims) -> Result<Principal, ApiError> {
    let mut who = Principal::anybody();
    if !claims.user.is_empty() {
        // A user that is gone has no token any more.
        let user = registry.database.user(&claims.user).await?;
        let user = user.ok_or_else(|| {
            ApiError::new(StatusCode::UNAUTHORIZED, "UNAUTHORIZED", "no such user")
        })?;
        who = Principal::user(user.name, user.is_admin);
    }
    who.limit = claims.limit;
    who.grants = Some(claims.access);
    Ok(who)
}

/// `base64(user:password)`.
fn decode_basic(value: &str) -> Option<(String, String)> {
    let bytes = base64::engine::general_purpose::STANDARD
        .decode(value.trim())
        .ok()?;
    let text = String::from_utf8(bytes).ok()?;
    let (user, password) = text.split_once(':')?;
    Some((user.to_owned(), password.to_owned()))
}

/// Whether a name and a password (or access token) belong together. Slow on purpose for passwords,
/// and refused for a while after too many that were wrong.
pub(crate) async fn authenticate(
    registry: &Arc<Registry>,
    user: &str,
    password: &str,
    peer: std::net::IpAddr,
) -> Result<Option<Principal>, ApiError> {
    if !password.starts_with(ACCESS_TOKEN_PREFIX) {
        return by_password(registry, user, password, peer).await;
    }
    // Nobody guesses 256 bits: a right one is never refused because others were wrong.
    let who = by_token(registry, user, password).await?;
    if who.is_none() {
        registry.logins.failed(user, peer);
    }
    Ok(who)
}

async fn by_token(
    registry: &Registry,
    user: &str,
    secret: &str,
) -> Result<Option<Principal>, ApiError> {
    let hash = token::hash_secret(secret);
    let Some((owner, scope)) = registry.database.use_token(&hash).await? else {
        return Ok(None);
    };
    // A refresh token comes without a name.
    if !user.is_empty() && owner != user {
        return Ok(None);
    }
    let Some(user) = registry.database.user(&owner).await? else {
        return Ok(None);
    };
    let mut who = Principal::user(user.name, user.is_admin);
    who.limit = Role::parse(&scope).unwrap_or(Role::Read);
    who.access_token = Some(AccessToken(secret.to_owned()));
    Ok(Some(who))
}

async fn by_password(
    registry: &Registry,
    user: &str,
    password: &str,
    peer: std::net::IpAddr,
) -> Result<Option<Principal>, ApiError> {
    let found = registry.database.user(user).await?;
    // Somebody who does not exist takes as long as a wrong password.
    let (hash, found) = match found {
        Some(user) => (user.password.clone(), Some(user)),
        None => (password::nobodys().to_owned(), None),
    };
    let key = sha2::Sha256::new()
        .chain_update(&registry.secret)
        .chain_update(&hash)
        .chain_update(password)
        .finalize()
        .into();
    if !registry.remembered.knows(&key) {
        refuse_floods(registry, user, peer)?;
        let turn = registry.hashing.acquire().await;
        // Those before it in the queue may have used up the attempts: asking at once gains nothing.
        refuse_floods(registry, user, peer)?;
        if turn.is_err() || !password::verify(password, hash).await {
            registry.logins.failed(user, peer);
            return Ok(None);
        }
        registry.remembered.keep(key);
    }
    Ok(found.map(|user| Principal::user(user.name, user.is_admin)))
}

fn refuse_floods(registry: &Registry, user: &str, peer: std::net::IpAddr) -> Result<(), ApiError> {
    let Some(wait) = registry.logins.refused(user, peer) else {
        return Ok(());
    };
    let refused = ApiError::new(
        StatusCode::TOO_MANY_REQUESTS,
        "TOOMANYREQUESTS",
        "too many wrong passwords; wait and try again",
    );
    Err(refused.with(RETRY_AFTER, &wait.as_secs().max(1).to_string()))
}

/// Finds out what somebody may do, and refuses if it is less than `needed`.
pub(crate) async fn require(
    registry: &Registry,
    headers: &HeaderMap,
    who: &Principal,
    name: &str,
    needed: Role,
) -> Result<(), ApiError> {
    let facts = registry.facts(name).await?;
    let role = role(registry.settings.anonymous_writes, who, name, &facts);
    let wanted = needed.actions().last().copied().unwrap_or("pull");
    let is_granted = who
        .grants
        .as_ref()
        .is_none_or(|grants| grants.iter().any(|grant| grant.covers(name, wanted)));
    // Clients of registries name no page; browsers name the one that sends something, and its host name may
    // be anybody's that leads here. So nobody's look at a page of somebody else changes anything.
    if needed > Role::Read && who.user.is_empty() && headers.contains_key(ORIGIN) {
        let message = "a page in a browser changes nothing here without an account";
        return Err(ApiError::new(StatusCode::FORBIDDEN, "DENIED", message));
    }
    if role >= needed && is_granted {
        return Ok(());
    }
    let scope = format!("repository:{name}:{}", needed.actions().join(","));
    if who.user.is_empty() || (role >= needed && !is_granted) {
        let error = match who.grants {
            Some(_) => ",error=\"insufficient_scope\"",
            None => "",
        };
        return Err(ApiError::new(
            StatusCode::UNAUTHORIZED,
            "UNAUTHORIZED",
            format!("authentication is required to {} {name}", verb(needed)),
        )
        .with(
            WWW_AUTHENTICATE,
            &challenge(registry, headers, &scope, error),
        ));
    }
    // Whoever may not see it shall not learn that it is there: what is not there is answered the same.
    if needed == Role::Read || (needed == Role::Admin && role == Role::None) {
        return Err(unknown_name(name));
    }
    Err(ApiError::new(
        StatusCode::FORBIDDEN,
        "DENIED",
        format!("{} may not {} {name}", who.user, verb(needed)),
    ))
}

fn verb(role: Role) -> &'static str {
    match role {
        Role::None | Role::Read => "pull from",
        Role::Write => "push to",
        Role::Admin => "delete from",
    }
}

/// What an unknown repository is answered.
pub(crate) fn unknown_name(name: &str) -> ApiError {
    ApiError::missing("NAME_UNKNOWN", format!("there is no repository {name}"))
}

/// The header that tells clients where to get a token.
pub(crate) fn challenge(
    registry: &Registry,
    headers: &HeaderMap,
    scope: &str,
    more: &str,
) -> String {
    let base = base_url(registry, headers);
    let service = base.split_once("://").map_or("", |(_, host)| host);
    let scope = match scope {
        "" => String::new(),
        scope => format!(",scope=\"{scope}\""),
    };
    format!("Bearer realm=\"{base}/token\",service=\"{service}\"{scope}{more}")
}

/// Where clients reach this registry: the configured address, else as this client wrote it.
pub(crate) fn base_url(registry: &Registry, headers: &HeaderMap) -> String {
    if let Some(url) = &registry.settings.public_url {
        return url.clone();
    }
    let is_host = |host: &&str| {
        !host.is_empty()
            && host.bytes().all(|byte| {
                byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b':' | b'[' | b']')
            })
    };
    let host = headers.get(HOST).and_then(|host| host.to_str().ok());
    let host = match host.filter(is_host) {
        Some(host) => host.to_owned(),
        None => registry.settings.listen.to_string(),
    };
    let scheme = if registry.settings.is_tls {
        "https"
    } else {
        "http"
    };
    format!("{scheme}://{host}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(exists: bool, is_private: bool, has_owner: bool) -> Facts {
        Facts {
            exists,
            is_private,
            has_owner,
            is_copy: false,
            members: HashMap::from([("bob".to_owned(), Role::Write)]),
        }
    }

    #[test]
    fn what_one_may_do_is_this_table() {
        let alice = Principal::user("alice".into(), false);
        let bob = Principal::user("bob".into(), false);
        let carol = Principal::user("carol".into(), false);
        let root = Principal::user("root".into(), true);
        let limited = Principal {
            limit: Role::Read,
            ..alice.clone()
        };
        let nobody = Principal::anybody();
        let name = "alice/app";
        for (open, who, facts, expected) in [
            (false, &alice, facts(false, false, true), Role::Admin),
            (false, &alice, facts(true, true, true), Role::Admin),
            (false, &limited, facts(true, true, true), Role::Read),
            (false, &bob, facts(true, true, true), Role::Write),
            (false, &carol, facts(true, true, true), Role::None),
            (false, &carol, facts(true, false, true), Role::Read),
            (false, &carol, facts(false, false, true), Role::None),
            (false, &root, facts(true, true, true), Role::Admin),
            (false, &nobody, facts(true, false, false), Role::Read),
            (false, &nobody, facts(true, true, true), Role::None),
            // Anonymous writes never reach what is somebody's.
            (true, &nobody, facts(true, false, true), Role::Read),
            (true, &nobody, facts(true, true, false), Role::None),
            (true, &nobody, facts(false, false, true), Role::None),
            (true, &nobody, facts(false, false, false), Role::Admin),
            (true, &nobody, facts(true, false, false), Role::Admin),
        ] {
            let found = role(open, who, name, &facts);
            assert_eq!(found, expected, "{open} {who:?} {facts:?}");
        }
        // Nobody is not the owner of names without a namespace.
        assert_eq!(
            role(false, &nobody, "app", &facts(false, false, false)),
            Role::None
        );
    }
}
