//! Accounts at registries, read from `~/.docker/config.json`.
//!
//! Only `auths` with a stored password is understood; credential helpers are programs and belong to
//! `login`. A file that cannot be read or understood gives no account: pulls are then anonymous.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use types::reference::DEFAULT_DOMAIN;

const FILE_BYTES_MAX: u64 = 1 << 20;
/// The name under which Docker keeps the account at `docker.io`.
const HUB_KEY: &str = "https://index.docker.io/v1/";

/// A user name and a password, which is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Account {
    user: String,
    password: String,
}

impl Account {
    /// Makes an account.
    pub fn new(user: impl Into<String>, password: impl Into<String>) -> Self {
        Self {
            user: user.into(),
            password: password.into(),
        }
    }

    /// The value of an `Authorization` header.
    pub(crate) fn basic(&self) -> String {
        format!(
            "Basic {}",
            STANDARD.encode(format!("{}:{}", self.user, self.password))
        )
    }
}

impl fmt::Debug for Account {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Account({}, ***)", self.user)
    }
}

/// Accounts by registry name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Credentials {
    accounts: BTreeMap<String, Account>,
}

#[derive(Deserialize)]
struct DockerConfig {
    #[serde(default)]
    auths: BTreeMap<String, Auth>,
}

#[derive(Deserialize)]
#[serde(default)]
#[derive(Default)]
struct Auth {
    auth: String,
    username: String,
    password: String,
}

impl Credentials {
    /// Reads Docker's configuration file.
    pub fn load(path: &Path) -> Self {
        use std::io::Read;
        let mut text = String::new();
        let read = std::fs::File::open(path)
            .and_then(|file| file.take(FILE_BYTES_MAX).read_to_string(&mut text));
        if read.is_ok() {
            Self::parse(&text)
        } else {
            Self::default()
        }
    }

    pub(crate) fn parse(text: &str) -> Self {
        let Ok(config) = serde_json::from_str::<DockerConfig>(text) else {
            return Self::default();
        };
        let mut credentials = Self::default();
        for (key, auth) in config.auths {
            if let Some(account) = auth.account() {
                credentials.insert(registry_name(&key), account);
            }
        }
        credentials
    }

    /// Adds an account at a registry.
    pub fn insert(&mut self, registry: &str, account: Account) {
        self.accounts.insert(registry.to_owned(), account);
    }

    pub(crate) fn get(&self, registry: &str) -> Option<&Account> {
        self.accounts.get(registry)
    }
}

impl Auth {
    fn account(self) -> Option<Account> {
        if self.auth.is_empty() {
            return (!self.username.is_empty()).then(|| Account::new(self.username, self.password));
        }
        let bytes = STANDARD.decode(self.auth.trim()).ok()?;
        let text = String::from_utf8(bytes).ok()?;
        let (user, password) = text.split_once(':')?;
        Some(Account::new(user, password.trim_end_matches('\0')))
    }
}

/// Keys are host names, or addresses from older versions.
fn registry_name(key: &str) -> &str {
    if key == HUB_KEY {
        return DEFAULT_DOMAIN;
    }
    let host = key.split_once("://").map_or(key, |(_, rest)| rest);
    match host.split('/').next().unwrap_or_default() {
        "index.docker.io" | "registry-1.docker.io" => DEFAULT_DOMAIN,
        host => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_come_from_dockers_file_and_are_not_printed() {
        let text = r#"{"auths":{"https://index.docker.io/v1/":{"auth":"dTpwOnE="},
            "http://r.lan:5000/v2/":{"username":"a","password":"secret"},"empty":{},
            "bad":{"auth":"%%"}},"credsStore":"x"}"#;
        let credentials = Credentials::parse(text);
        assert_eq!(
            credentials.get("docker.io"),
            Some(&Account::new("u", "p:q"))
        );
        assert_eq!(
            credentials.get("r.lan:5000"),
            Some(&Account::new("a", "secret"))
        );
        assert_eq!(credentials.accounts.len(), 2);
        assert_eq!(
            credentials.get("docker.io").unwrap().basic(),
            "Basic dTpwOnE="
        );
        assert!(!format!("{credentials:?}").contains("secret"));
        assert_eq!(Credentials::parse("[]"), Credentials::default());
    }
}
