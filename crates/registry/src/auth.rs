//! What a registry asks for before it answers: Basic or a bearer token.
//!
//! | registry | client |
//! |---|---|
//! | 401, `WWW-Authenticate: Bearer realm="…",service="…",scope="…"` | `GET realm?service=…&scope=…`, with the account if there is one |
//! | realm: `{"token":"…"}` | the first request again with `Authorization: Bearer …` |
//!
//! The realm must be HTTPS or the registry's own host: otherwise any registry could have an account
//! sent to wherever it likes, readable on the way.

use serde::Deserialize;

use crate::config::{Endpoint, Trust, is_loopback};
use crate::credentials::Account;
use crate::error::{RegistryError, Result};
use crate::http::{Answer, Ask, Body, Content, FORM, Method, Transport, encode_query, origin};

const ANSWER_BYTES_MAX: u64 = 1 << 20;
/// What still fits into a header everywhere.
const TOKEN_BYTES_MAX: usize = 16 << 10;

/// Who asks for a token that lasts.
pub(crate) const CLIENT_ID: &str = "caisson";
/// A push names two repositories at most.
const SCOPES_MAX: usize = 8;

/// What a `WWW-Authenticate` header asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Challenge {
    Basic,
    Bearer {
        realm: String,
        service: Option<String>,
        scope: Option<String>,
    },
}

#[derive(Deserialize)]
struct TokenAnswer {
    token: Option<String>,
    access_token: Option<String>,
}

impl Challenge {
    /// Reads one header; `None` for schemes that we do not have.
    pub(crate) fn parse(header: &str) -> Option<Self> {
        let header = header.trim();
        let (scheme, rest) = header.split_once(' ').unwrap_or((header, ""));
        if scheme.eq_ignore_ascii_case("basic") {
            return Some(Self::Basic);
        }
        if !scheme.eq_ignore_ascii_case("bearer") {
            return None;
        }
        let (mut realm, mut service, mut scope) = (None, None, None);
        for (key, value) in parameters(rest) {
            match key.to_ascii_lowercase().as_str() {
                "realm" => realm = Some(value),
                "service" => service = Some(value),
                "scope" => scope = Some(value),
                _ => {}
            }
        }
        Some(Self::Bearer {
            realm: realm?,
            service,
            scope,
        })
    }
}

/// The value of the `Authorization` header that answers a challenge; `None`: no account, no token.
pub(crate) fn answer(
    transport: &Transport,
    challenge: &Challenge,
    endpoint: &Endpoint,
    default_scope: &str,
    account: Option<&Account>,
) -> Result<Option<String>> {
    let (realm, service, scope) = match challenge {
        Challenge::Basic => return Ok(account.and_then(Account::basic)),
        Challenge::Bearer {
            realm,
            service,
            scope,
        } => (realm, service, scope),
    };
    if let Some(bearer) = account.and_then(Account::bearer) {
        return Ok(Some(bearer));
    }
    let scopes = scopes(scope.as_deref(), default_scope);
    let mut pairs: Vec<(&str, &str)> = scopes.iter().map(|scope| ("scope", &**scope)).collect();
    pairs.extend(service.iter().map(|service| ("service", &**service)));
    let answer = ask_realm(transport, realm, endpoint, &pairs, account)?;
    match answer.status() {
        200 => {}
        // The account is not good for this repository: the registry itself will say so.
        401 | 403 => return Ok(None),
        _ => return Err(crate::refusal::refusal(answer)),
    }
    let protocol = |what: &str| RegistryError::Protocol {
        url: realm.clone(),
        what: what.into(),
    };
    let bytes = answer.read(ANSWER_BYTES_MAX)?;
    let token = token(&bytes).map_err(protocol)?;
    Ok(Some(format!("Bearer {token}")))
}

/// Asks a realm for a token: by `GET` with a password or none, by `POST` with an identity token.
pub(crate) fn ask_realm(
    transport: &Transport,
    realm: &str,
    endpoint: &Endpoint,
    pairs: &[(&str, &str)],
    account: Option<&Account>,
) -> Result<Answer> {
    let (trust, plain) = allowed(realm, endpoint)?;
    let mut query: Vec<String> = pairs
        .iter()
        .map(|(key, value)| format!("{key}={}", encode_query(value)))
        .collect();
    if let Some(token) = account.and_then(|account| account.parts().2) {
        query.push(format!("refresh_token={}", encode_query(token)));
        query.push("grant_type=refresh_token".to_owned());
        query.push(format!("client_id={CLIENT_ID}"));
        let form = query.join("&");
        return transport.send(&Ask {
            method: Method::Post,
            url: realm,
            trust,
            plain,
            authorization: None,
            accept: Some("application/json"),
            offset: 0,
            body: Some(Body {
                media_type: FORM,
                range: None,
                length: form.len() as u64,
                content: Content::Bytes(form.as_bytes()),
            }),
        });
    }
    let separator = if realm.contains('?') { '&' } else { '?' };
    let basic = account.and_then(Account::basic);
    transport.send(&Ask {
        method: Method::Get,
        url: &format!("{realm}{separator}{}", query.join("&")),
        trust,
        plain,
        authorization: basic.as_deref(),
        accept: Some("application/json"),
        offset: 0,
        body: None,
    })
}

/// What a token is asked for: what the registry says, and what we know that we shall need. One token
/// for the whole of a push saves a refusal and a token before the first upload.
fn scopes(said: Option<&str>, wanted: &str) -> Vec<String> {
    let mut scopes: Vec<String> = said
        .unwrap_or(wanted)
        .split(' ')
        .filter(|scope| !scope.is_empty())
        .map(str::to_owned)
        .collect();
    let Some((resource, actions)) = wanted.rsplit_once(':') else {
        return scopes;
    };
    for scope in &mut scopes {
        let is_same = scope
            .rsplit_once(':')
            .is_some_and(|(other, _)| other == resource);
        if is_same && actions.contains("push") {
            *scope = wanted.to_owned();
        }
    }
    scopes.truncate(SCOPES_MAX);
    scopes
}

/// The token of a realm's answer, or what is wrong with it.
pub(crate) fn token(answer: &[u8]) -> std::result::Result<String, &'static str> {
    const NONE: &str = "it gives no token";
    let parsed: TokenAnswer = serde_json::from_slice(answer).map_err(|_| NONE)?;
    let token = parsed
        .token
        .filter(|token| !token.is_empty())
        .or(parsed.access_token);
    let token = token.ok_or(NONE)?;
    if token.len() > TOKEN_BYTES_MAX || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err("its token does not fit into a header");
    }
    Ok(token)
}

/// How a realm may be asked: like the registry itself on its own host, else by verified HTTPS.
pub(crate) fn allowed(realm: &str, endpoint: &Endpoint) -> Result<(Trust, bool)> {
    let refused = |reason| RegistryError::Refused {
        url: endpoint.base.clone(),
        target: realm.to_owned(),
        reason,
    };
    let Some((scheme, host, _)) = origin(realm) else {
        return Err(refused("it is no http or https address"));
    };
    let base = origin(&endpoint.base)
        .map(|(_, host, _)| host)
        .unwrap_or_default();
    let own = base == host;
    if is_loopback(&host) && !is_loopback(&base) {
        return Err(refused("it leads from elsewhere to this machine itself"));
    }
    match scheme.as_str() {
        "https" if own => Ok((endpoint.trust, false)),
        "https" => Ok((Trust::Verified, false)),
        "http" if own && endpoint.trust == Trust::Any => Ok((Trust::Any, true)),
        _ => Err(refused(
            "tokens are asked for by HTTPS or from the registry's own host",
        )),
    }
}

/// `key=value` pairs, values perhaps quoted.
fn parameters(text: &str) -> Vec<(String, String)> {
    let mut pairs = Vec::new();
    let mut rest = text;
    while let Some((key, after)) = rest.split_once('=') {
        let key = key.trim_matches([' ', ',', '\t']).to_owned();
        let value;
        if let Some(quoted) = after.strip_prefix('"') {
            let mut text = String::new();
            let mut characters = quoted.char_indices();
            let mut end = quoted.len();
            while let Some((at, character)) = characters.next() {
                match character {
                    '\\' => text.extend(characters.next().map(|(_, escaped)| escaped)),
                    '"' => {
                        end = at + 1;
                        break;
                    }
                    other => text.push(other),
                }
            }
            value = text;
            rest = &quoted[end..];
        } else {
            let end = after.find(',').unwrap_or(after.len());
            value = after[..end].trim().to_owned();
            rest = &after[end..];
        }
        pairs.push((key, value));
    }
    pairs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn challenges_are_read_with_and_without_quotes() {
        let bearer = |realm: &str, service: Option<&str>, scope: Option<&str>| {
            let (service, scope) = (service.map(str::to_owned), scope.map(str::to_owned));
            Some(Challenge::Bearer {
                realm: realm.to_owned(),
                service,
                scope,
            })
        };
        for (header, want) in [
            ("Basic realm=\"x\"", Some(Challenge::Basic)),
            ("basic", Some(Challenge::Basic)),
            (
                "Bearer realm=\"https://a/t\",service=\"s\",scope=\"repository:x/y:pull,push\"",
                bearer("https://a/t", Some("s"), Some("repository:x/y:pull,push")),
            ),
            (
                "bearer realm=https://a/t, service = s",
                bearer("https://a/t", None, None),
            ),
            (
                r#"Bearer realm="a\"b", error="x""#,
                bearer("a\"b", None, None),
            ),
            ("Bearer service=\"s\"", None),
            (
                "Bearer realm=\"unfinished",
                bearer("unfinished", None, None),
            ),
            ("Negotiate", None),
            ("", None),
        ] {
            let got = Challenge::parse(header);
            match (&got, &want) {
                // Spaces around `=` are not of the grammar; what matters is that nothing breaks.
                (
                    Some(Challenge::Bearer { realm: a, .. }),
                    Some(Challenge::Bearer { realm: b, .. }),
                ) if header.contains(" = ") => {
                    assert_eq!(a, b);
                }
                _ => assert_eq!(got, want, "{header}"),
            }
        }
    }

    #[test]
    fn a_push_asks_for_its_whole_scope_at_once() {
        let push = "repository:a/b:pull,push";
        assert_eq!(scopes(None, push), [push]);
        assert_eq!(scopes(Some("repository:a/b:pull"), push), [push]);
        assert_eq!(
            scopes(Some("repository:a/b:pull,push repository:c:pull"), push),
            [push, "repository:c:pull"]
        );
        let pull = "repository:a/b:pull";
        assert_eq!(scopes(Some("repository:a/b:*"), pull), ["repository:a/b:*"]);
        assert_eq!(
            scopes(Some("registry:catalog:*"), ""),
            ["registry:catalog:*"]
        );
        assert!(scopes(None, "").is_empty());
    }

    #[test]
    fn a_token_must_fit_into_a_header() {
        for (answer, want) in [
            (r#"{"token":"abc"}"#, Ok("abc".to_owned())),
            (r#"{"token":"","access_token":"x"}"#, Ok("x".to_owned())),
            (
                r#"{"token":"a\r\nX: y"}"#,
                Err("its token does not fit into a header"),
            ),
            (r#"{"token":1}"#, Err("it gives no token")),
            ("{}", Err("it gives no token")),
        ] {
            assert_eq!(token(answer.as_bytes()), want, "{answer}");
        }
    }

    #[test]
    fn an_account_goes_only_to_https_or_to_the_registry_itself() {
        let endpoint = |base: &str, trust| Endpoint {
            base: base.into(),
            trust,
            is_origin: true,
        };
        let public = endpoint("https://r.lan", Trust::Verified);
        let local = endpoint("http://127.0.0.1:5000", Trust::Any);
        assert_eq!(
            allowed("https://auth.lan/t", &public).unwrap(),
            (Trust::Verified, false)
        );
        assert_eq!(
            allowed("https://auth.lan/t", &local).unwrap(),
            (Trust::Verified, false)
        );
        assert_eq!(
            allowed("http://127.0.0.1:5001/t", &local).unwrap(),
            (Trust::Any, true)
        );
        for (realm, endpoint) in [
            ("http://auth.lan/t", &public),
            ("http://r.lan/t", &public),
            ("http://auth.lan/t", &local),
            ("https://127.0.0.1/t", &public),
            ("file:///etc/passwd", &local),
            ("", &local),
        ] {
            let refused = allowed(realm, endpoint);
            assert!(
                matches!(refused, Err(RegistryError::Refused { .. })),
                "{realm}"
            );
        }
    }
}
