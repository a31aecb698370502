//! Bearer tokens: JSON web tokens signed with HMAC-SHA-256 by a key that only this registry has.
//!
//! They are made and read here alone, so that the one algorithm needs no library that knows ten (and
//! no header that chooses one: it is fixed and not looked at).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, Mac as _};
use serde::{Deserialize, Serialize};
use sha2::Digest as _;

use super::Role;
use crate::server::database::now;

/// For how long a token of access is good.
pub(crate) const ACCESS_SECONDS: i64 = 300;
const TOKEN_BYTES_MAX: usize = 16 * 1024;

/// Leave to do something in one repository, in the words of Docker's token specification.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Grant {
    #[serde(rename = "type")]
    pub(crate) kind: String,
    pub(crate) name: String,
    pub(crate) actions: Vec<String>,
}

impl Grant {
    /// Whether it covers an action in a repository.
    pub(crate) fn covers(&self, name: &str, action: &str) -> bool {
        self.kind == "repository"
            && self.name == name
            && self.actions.iter().any(|granted| granted == action)
    }
}

/// What a token says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Claims {
    pub(crate) user: String,
    pub(crate) limit: Role,
    pub(crate) access: Vec<Grant>,
    pub(crate) expires_at: i64,
}

#[derive(Serialize, Deserialize)]
struct Payload {
    iss: String,
    sub: String,
    aud: String,
    exp: i64,
    nbf: i64,
    iat: i64,
    jti: String,
    limit: String,
    access: Vec<Grant>,
}

const ISSUER: &str = "caisson";
const AUDIENCE: &str = "registry";

fn sign(secret: &[u8], text: &str) -> Hmac<sha2::Sha256> {
    let mac = Hmac::<sha2::Sha256>::new_from_slice(secret)
        .expect("invariant: HMAC takes keys of any length");
    mac.chain_update(text)
}

/// Makes a token.
pub(crate) fn issue(secret: &[u8], claims: &Claims) -> String {
    let payload = Payload {
        iss: ISSUER.to_owned(),
        sub: claims.user.clone(),
        aud: AUDIENCE.to_owned(),
        exp: claims.expires_at,
        nbf: now(),
        iat: now(),
        jti: crate::server::random_hex::<16>(),
        limit: claims.limit.name().to_owned(),
        access: claims.access.clone(),
    };
    let header = URL_SAFE_NO_PAD.encode(r#"{"alg":"HS256","typ":"JWT"}"#);
    let payload = serde_json::to_vec(&payload).expect("invariant: strings and numbers are JSON");
    let text = format!("{header}.{}", URL_SAFE_NO_PAD.encode(payload));
    let signature = URL_SAFE_NO_PAD.encode(sign(secret, &text).finalize().into_bytes());
    format!("{text}.{signature}")
}

/// Reads a token, if it is ours and has not expired.
pub(crate) fn verify(secret: &[u8], token: &str) -> Option<Claims> {
    if token.len() > TOKEN_BYTES_MAX {
        return None;
    }
    let (text, signature) = token.rsplit_once('.')?;
    let signature = URL_SAFE_NO_PAD.decode(signature).ok()?;
    // In constant time.
    sign(secret, text).verify_slice(&signature).ok()?;
    let (_, payload) = text.split_once('.')?;
    let payload: Payload = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).ok()?).ok()?;
    if payload.iss != ISSUER || payload.aud != AUDIENCE || payload.exp <= now() {
        return None;
    }
    Some(Claims {
        user: payload.sub,
        limit: Role::parse(&payload.limit)?,
        access: payload.access,
        expires_at: payload.exp,
    })
}

/// Proof that a form came from a page that was made for whoever has this cookie.
pub(crate) fn proof(secret: &[u8], cookie: &str) -> String {
    let proof = sign(secret, &format!("form:{cookie}")).finalize();
    URL_SAFE_NO_PAD.encode(proof.into_bytes())
}

/// A new access token.
pub(crate) fn new_secret() -> String {
    let secret = crate::server::random_hex::<32>();
    format!("{}{secret}", super::ACCESS_TOKEN_PREFIX)
}

/// How secrets that are random already are kept: hashed once.
pub(crate) fn hash_secret(secret: &str) -> String {
    format!("{:x}", sha2::Sha256::digest(secret))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_good_for_one_key_and_its_time() {
        let claims = Claims {
            user: "alice".into(),
            limit: Role::Write,
            access: vec![Grant {
                kind: "repository".into(),
                name: "alice/app".into(),
                actions: vec!["pull".into()],
            }],
            expires_at: now() + 60,
        };
        let token = issue(b"key", &claims);
        assert_eq!(verify(b"key", &token), Some(claims.clone()));
        assert_eq!(verify(b"other", &token), None);
        assert_eq!(verify(b"key", &token[..token.len() - 1]), None);
        let header = URL_SAFE_NO_PAD.encode(r#"{"alg":"none"}"#);
        let rest = token.split_once('.').unwrap().1;
        let unsigned = format!("{header}.{}.", rest.split_once('.').unwrap().0);
        assert_eq!(verify(b"key", &unsigned), None);
        let old = Claims {
            expires_at: now(),
            ..claims
        };
        assert_eq!(verify(b"key", &issue(b"key", &old)), None);
        assert!(old.access[0].covers("alice/app", "pull"));
        assert!(!old.access[0].covers("alice/app", "push"));
        assert!(!old.access[0].covers("alice/app2", "pull"));
    }
}
