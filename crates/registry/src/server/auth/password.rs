//! Passwords, as Argon2id keeps them.

use std::sync::LazyLock;

use argon2::password_hash::{PasswordHash, PasswordHasher, PasswordVerifier, SaltString};
use argon2::{Algorithm, Argon2, Params, Version};

use crate::server::{Registry, random};

/// The shortest password.
pub(crate) const BYTES_MIN: usize = 8;
/// The longest, so that nobody makes us hash a book.
pub(crate) const BYTES_MAX: usize = 256;

/// OWASP's smallest recommendation: 19 MiB, two passes. One at a time is worked on, so that a flood
/// of attempts takes neither memory nor more than one processor.
fn hasher() -> Argon2<'static> {
    let params = Params::new(19 * 1024, 2, 1, None).expect("invariant: the parameters are valid");
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
}

/// Hashes a password. `None` if the hash could not be made.
fn hash_now(password: &str) -> Option<String> {
    let salt = SaltString::encode_b64(&random::<16>()).ok()?;
    let hash = hasher().hash_password(password.as_bytes(), &salt).ok()?;
    Some(hash.to_string())
}

/// The hash of a password that nobody has.
pub(crate) fn nobodys() -> &'static str {
    static NOBODYS: LazyLock<String> =
        LazyLock::new(|| hash_now(&crate::server::random_hex::<16>()).unwrap_or_default());
    &NOBODYS
}

/// Hashes a password, beside the runtime's threads.
pub(crate) async fn hash(registry: &Registry, password: &str) -> Option<String> {
    let _turn = registry.hashing.acquire().await.ok()?;
    let password = password.to_owned();
    tokio::task::spawn_blocking(move || hash_now(&password))
        .await
        .ok()?
}

/// Whether it is the password of that hash. Whoever asks has a turn of [`Registry::hashing`].
pub(crate) async fn verify(password: &str, hash: String) -> bool {
    if password.len() > BYTES_MAX {
        return false;
    }
    let password = password.to_owned();
    let verify = move || {
        PasswordHash::new(&hash)
            .is_ok_and(|hash| hasher().verify_password(password.as_bytes(), &hash).is_ok())
    };
    tokio::task::spawn_blocking(verify).await.unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_is_argon2id_and_fits_its_password_alone() {
        let hash = hash_now("correct horse").unwrap();
        assert!(
            hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"),
            "{hash}"
        );
        let parsed = PasswordHash::new(&hash).unwrap();
        assert!(hasher().verify_password(b"correct horse", &parsed).is_ok());
        assert!(hasher().verify_password(b"correct house", &parsed).is_err());
        assert_ne!(hash, hash_now("correct horse").unwrap());
    }
}
