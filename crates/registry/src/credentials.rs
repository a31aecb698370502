//! Accounts at registries, read from `~/.docker/config.json` and from `DOCKER_AUTH_CONFIG`.
//!
//! A password or token stands in the file, or a helper has it and is asked when it is first needed.
//! A file that cannot be read or understood gives no account: pulls are then anonymous.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::Mutex;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use types::reference::DEFAULT_DOMAIN;

use crate::docker_config::{FILE_BYTES_MAX, server_key};
use crate::helper;

/// The name under which Docker keeps the account at `docker.io`.
pub(crate) const HUB_KEY: &str = "https://index.docker.io/v1/";
/// Accounts without a file, as CI systems hand them over.
const VARIABLE: &str = "DOCKER_AUTH_CONFIG";

/// A user name and a password, which is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Account {
    user: String,
    password: String,
    /// Takes the place of the password where tokens are asked for.
    identity_token: Option<String>,
    /// Is sent as it is.
    registry_token: Option<String>,
}

impl Account {
    /// Makes an account.
    pub fn new(user: impl Into<String>, password: impl Into<String>) -> Self {
        Self {
            user: user.into(),
            password: password.into(),
            identity_token: None,
            registry_token: None,
        }
    }

    /// An account whose password a registry has changed for a token.
    pub fn with_identity_token(user: String, token: String) -> Self {
        Self {
            identity_token: Some(token),
            ..Self::new(user, "")
        }
    }

    /// The user's name.
    pub fn user(&self) -> &str {
        &self.user
    }

    /// User, password, identity token.
    pub(crate) fn parts(&self) -> (&str, &str, Option<&str>) {
        (&self.user, &self.password, self.identity_token.as_deref())
    }

    /// The value of an `Authorization` header that is known without asking.
    pub(crate) fn bearer(&self) -> Option<String> {
        let token = self.registry_token.as_ref()?;
        Some(format!("Bearer {token}"))
    }

    /// The value of an `Authorization` header with the password.
    pub(crate) fn basic(&self) -> Option<String> {
        let pair = format!("{}:{}", self.user, self.password);
        // An identity token is for the realm alone.
        let has_password = self.identity_token.is_none() && !self.user.is_empty();
        has_password.then(|| format!("Basic {}", STANDARD.encode(pair)))
    }
}

impl fmt::Debug for Account {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Account({}, ***)", self.user)
    }
}

/// Accounts by registry name.
#[derive(Debug, Default)]
pub struct Credentials {
    accounts: BTreeMap<String, Account>,
    /// Who keeps the account at a registry.
    helpers: BTreeMap<String, String>,
    /// Who keeps all others.
    store: Option<String>,
    /// What helpers said.
    asked: Mutex<BTreeMap<String, Option<Account>>>,
}

#[derive(Deserialize)]
struct DockerConfig {
    #[serde(default)]
    auths: BTreeMap<String, Auth>,
    #[serde(default, rename = "credHelpers")]
    helpers: BTreeMap<String, String>,
    #[serde(default, rename = "credsStore")]
    store: Option<String>,
}

#[derive(Deserialize)]
#[serde(default)]
#[derive(Default)]
struct Auth {
    auth: String,
    username: String,
    password: String,
    identitytoken: String,
    registrytoken: String,
}

impl Credentials {
    /// Reads Docker's file, and the variable, which comes first.
    pub fn from_environment() -> Self {
        let path = crate::docker_config::path();
        let mut credentials = path.map(|path| Self::load(&path)).unwrap_or_default();
        if let Ok(text) = std::env::var(VARIABLE) {
            credentials.accounts.extend(Self::parse(&text).accounts);
        }
        credentials
    }

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
        let mut credentials = Self {
            store: config.store.filter(|name| !name.is_empty()),
            ..Self::default()
        };
        for (key, name) in config.helpers {
            credentials
                .helpers
                .insert(registry_name(&key).to_owned(), name);
        }
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

    /// The account at a registry. A helper is asked once; one that fails has none, as Docker has it.
    pub fn get(&self, registry: &str) -> Option<Account> {
        let helper = self.helpers.get(registry).or(self.store.as_ref());
        let in_file = self.accounts.get(registry).cloned();
        let (Some(name), None) = (helper, &in_file) else {
            return in_file;
        };
        let mut asked = self
            .asked
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(known) = asked.get(registry) {
            return known.clone();
        }
        let answer = helper::get(name, server_key(registry)).unwrap_or_default();
        asked.insert(registry.to_owned(), answer.clone());
        answer
    }
}

impl Auth {
    fn account(self) -> Option<Account> {
        let some = |text: String| Some(text).filter(|text| !text.is_empty());
        let (identity_token, registry_token) = (some(self.identitytoken), some(self.registrytoken));
        let has_token = identity_token.is_some() || registry_token.is_some();
        let pair = if self.auth.is_empty() {
            (self.username, self.password)
        } else {
            let bytes = STANDARD.decode(self.auth.trim()).ok()?;
            let text = String::from_utf8(bytes).ok()?;
            let (user, password) = text.split_once(':')?;
            (user.to_owned(), password.trim_end_matches('\0').to_owned())
        };
        (has_token || !pair.0.is_empty()).then(|| Account {
            identity_token,
            registry_token,
            ..Account::new(pair.0, pair.1)
        })
    }
}

/// Keys are host names, or addresses from older versions.
pub(crate) fn registry_name(key: &str) -> &str {
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
            "bad":{"auth":"%%"},"t.lan":{"auth":"dTo=","identitytoken":"secret"}},
            "credHelpers":{"h.lan":"x"}}"#;
        let credentials = Credentials::parse(text);
        assert_eq!(credentials.get("docker.io"), Some(Account::new("u", "p:q")));
        assert_eq!(
            credentials.get("r.lan:5000"),
            Some(Account::new("a", "secret"))
        );
        assert_eq!(credentials.accounts.len(), 3);
        let token = credentials.get("t.lan").unwrap();
        assert_eq!(token.parts(), ("u", "", Some("secret")));
        assert_eq!(credentials.helpers["h.lan"], "x");
        assert_eq!(
            credentials.get("docker.io").unwrap().basic().unwrap(),
            "Basic dTpwOnE="
        );
        assert!(!format!("{credentials:?}").contains("secret"));
        assert!(Credentials::parse("[]").accounts.is_empty());
    }
}
