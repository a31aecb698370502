//! Docker's configuration file as `login` and `logout` change it: accounts, and who keeps them.
//!
//! The file belongs to several programs. What we do not know in it stays; it is replaced whole, by a
//! rename, and only its owner may read it.

use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use serde_json::{Map, Value, json};
use types::reference::DEFAULT_DOMAIN;

use crate::credentials::{Account, Credentials, HUB_KEY};
use crate::error::{RegistryError, Result};
use crate::helper;

pub(crate) const FILE_BYTES_MAX: u64 = 1 << 20;
/// Owner alone.
const FILE_MODE: u32 = 0o600;

static DIRECTORY: OnceLock<PathBuf> = OnceLock::new();

/// Uses this directory instead of `DOCKER_CONFIG` and `~/.docker`, as `--config` says.
pub fn use_directory(directory: PathBuf) {
    // Set once, before anything reads it.
    let _ = DIRECTORY.set(directory);
}

/// Where the file is, if there is a place for it.
pub fn path() -> Option<PathBuf> {
    Some(directory()?.join("config.json"))
}

/// The directory of the file.
pub fn directory() -> Option<PathBuf> {
    if let Some(directory) = DIRECTORY.get() {
        return Some(directory.clone());
    }
    match std::env::var_os("DOCKER_CONFIG") {
        Some(directory) if !directory.is_empty() => Some(PathBuf::from(directory)),
        _ => Some(PathBuf::from(std::env::var_os("HOME")?).join(".docker")),
    }
}

/// The key under which an account is kept, for what a user calls the server.
pub fn server_key(domain: &str) -> &str {
    if domain == DEFAULT_DOMAIN {
        HUB_KEY
    } else {
        domain
    }
}

/// The file, to be changed.
#[derive(Debug)]
pub struct DockerConfig {
    path: PathBuf,
    document: Map<String, Value>,
}

/// Where an account was put.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kept {
    /// In the file, readable by whoever reads it.
    File,
    /// By a helper.
    Helper(String),
}

impl DockerConfig {
    /// Reads the file; none is an empty one.
    ///
    /// # Errors
    /// Where it is there and cannot be read or understood: it would be lost by being written.
    pub fn load(path: &Path) -> Result<Self> {
        let failed = |what: String| RegistryError::ConfigFile {
            path: path.display().to_string(),
            what,
        };
        let mut text = String::new();
        match std::fs::File::open(path) {
            Ok(file) => {
                let read = file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text);
                read.map_err(|error| failed(error.to_string()))?;
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed(error.to_string())),
        }
        if text.len() as u64 > FILE_BYTES_MAX {
            return Err(failed("it is too large".to_owned()));
        }
        let document = if text.trim().is_empty() {
            Map::new()
        } else {
            types::json::read(text.as_bytes()).map_err(|fault| failed(fault.to_string()))?
        };
        Ok(Self {
            path: path.to_owned(),
            document,
        })
    }

    /// The accounts in it.
    pub fn credentials(&self) -> Credentials {
        Credentials::parse(&Value::Object(self.document.clone()).to_string())
    }

    /// The helper that keeps the account at a server.
    fn helper(&self, domain: &str) -> Option<String> {
        let key = server_key(domain);
        let own = self.document.get("credHelpers").and_then(|all| {
            let of = |key: &str| all.get(key).and_then(Value::as_str);
            of(key).or_else(|| of(domain))
        });
        let all = || self.document.get("credsStore").and_then(Value::as_str);
        let name = own.or_else(all).filter(|name| !name.is_empty());
        name.map(str::to_owned)
    }

    /// Keeps an account, in the file or with the helper that is set.
    ///
    /// # Errors
    /// Where the helper refuses it, or the file cannot be written.
    pub fn insert(&mut self, domain: &str, account: &Account) -> Result<Kept> {
        let key = server_key(domain).to_owned();
        let (user, secret, token) = account.parts();
        let helper = self.helper(domain);
        let entry = match &helper {
            Some(name) => {
                match token {
                    Some(token) => helper::store(name, &key, helper::TOKEN_USER, token)?,
                    None => helper::store(name, &key, user, secret)?,
                }
                // Docker leaves an empty entry, by which `logout` knows the server.
                json!({})
            }
            None => match token {
                Some(token) => json!({
                    "auth": STANDARD.encode(format!("{user}:")),
                    "identitytoken": token,
                }),
                None => json!({ "auth": STANDARD.encode(format!("{user}:{secret}")) }),
            },
        };
        let auths = self.document.entry("auths").or_insert_with(|| json!({}));
        if !auths.is_object() {
            *auths = json!({});
        }
        auths[key.as_str()] = entry;
        self.save()?;
        Ok(helper.map_or(Kept::File, Kept::Helper))
    }

    /// Forgets the account at a server; whether there was one.
    ///
    /// # Errors
    /// As [`Self::insert`].
    pub fn remove(&mut self, domain: &str) -> Result<bool> {
        let helper = self.helper(domain);
        let mut had = false;
        if let Some(auths) = self
            .document
            .get_mut("auths")
            .and_then(Value::as_object_mut)
        {
            // Older versions wrote addresses.
            let keys: Vec<String> = auths
                .keys()
                .filter(|key| crate::credentials::registry_name(key) == domain)
                .cloned()
                .collect();
            for key in keys {
                had |= auths.remove(&key).is_some();
            }
        }
        if let Some(name) = helper {
            helper::erase(&name, server_key(domain))?;
            had = true;
        }
        if had {
            self.save()?;
        }
        Ok(had)
    }

    fn save(&self) -> Result<()> {
        let failed = |error: std::io::Error| RegistryError::ConfigFile {
            path: self.path.display().to_string(),
            what: error.to_string(),
        };
        let mut bytes = Vec::new();
        let formatter = serde_json::ser::PrettyFormatter::with_indent(b"\t");
        let mut writer = serde_json::Serializer::with_formatter(&mut bytes, formatter);
        self.document
            .serialize(&mut writer)
            .map_err(|error| failed(error.into()))?;
        // A link, as people with their settings in a repository have it, stays one.
        let path = std::fs::canonicalize(&self.path).unwrap_or_else(|_| self.path.clone());
        let directory = path.parent().unwrap_or(Path::new("."));
        std::fs::create_dir_all(directory).map_err(failed)?;
        let temporary = directory.join(format!(".config.json.{}", std::process::id()));
        let _ = std::fs::remove_file(&temporary);
        let written = std::fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(FILE_MODE)
            .open(&temporary)
            .and_then(|mut file| {
                file.write_all(&bytes)?;
                file.sync_all()
            })
            .and_then(|()| std::fs::rename(&temporary, &path));
        if written.is_err() {
            let _ = std::fs::remove_file(&temporary);
        }
        written.map_err(failed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn an_account_is_added_and_removed_and_all_else_stays() {
        let directory = std::env::temp_dir().join(format!("caisson-login-{}", std::process::id()));
        let path = directory.join("deep/config.json");
        let mut config = DockerConfig::load(&path).unwrap();
        let kept = config
            .insert("docker.io", &Account::new("me", "s:cret"))
            .unwrap();
        assert_eq!(kept, Kept::File);
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, text.replacen('{', "{\"psFormat\": \"x\",", 1)).unwrap();
        let mut config = DockerConfig::load(&path).unwrap();
        let token = Account::with_identity_token("me".into(), "T".into());
        config.insert("r.lan:5000", &token).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(
            text.contains("\"psFormat\": \"x\"") && text.contains(HUB_KEY),
            "{text}"
        );
        let credentials = DockerConfig::load(&path).unwrap().credentials();
        assert_eq!(
            credentials.get("docker.io"),
            Some(Account::new("me", "s:cret"))
        );
        assert_eq!(credentials.get("r.lan:5000"), Some(token));
        let mut config = DockerConfig::load(&path).unwrap();
        assert!(config.remove("docker.io").unwrap() && !config.remove("docker.io").unwrap());
        assert_eq!(config.credentials().get("docker.io"), None);
        // What is not understood is not overwritten.
        std::fs::write(&path, "{").unwrap();
        assert!(DockerConfig::load(&path).is_err());
        std::fs::remove_dir_all(&directory).unwrap();
    }
}
