//! Certificates of one registry: `/etc/docker/certs.d/HOST[:PORT]/`, as Docker has it.
//!
//! | file | what |
//! |---|---|
//! | `*.crt` | authorities that are trusted for this host, beside those of the machine |
//! | `NAME.cert`, `NAME.key` | what we show who we are with |

use std::io::Read;
use std::path::{Path, PathBuf};

use ureq::tls::{Certificate, ClientCert, PemItem, PrivateKey};

use crate::error::{RegistryError, Result};

/// Where Docker looks.
pub(crate) const DIRECTORY: &str = "/etc/docker/certs.d";
const FILE_BYTES_MAX: u64 = 1 << 20;
const FILES_MAX: usize = 100;

/// What there is for a host.
#[derive(Clone, Debug, Default)]
pub(crate) struct Certificates {
    pub(crate) roots: Vec<Certificate<'static>>,
    pub(crate) client: Option<ClientCert>,
}

/// Reads what there is for a host; `None` where there is nothing.
pub(crate) fn of_host(directory: &Path, host: &str, port: u16) -> Result<Option<Certificates>> {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    // A host comes from an address, which has no slash; it must not be a step upwards either.
    if host.is_empty() || host.starts_with('.') || host.contains('/') {
        return Ok(None);
    }
    let names = [format!("{host}:{port}"), host.to_owned()];
    let places = names
        .iter()
        .take(if port == 443 { 2 } else { 1 })
        .map(|name| directory.join(name));
    for place in places {
        if let Ok(entries) = std::fs::read_dir(&place) {
            let mut files: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
            files.sort();
            files.truncate(FILES_MAX);
            return read(&files).map(Some);
        }
    }
    Ok(None)
}

fn read(files: &[PathBuf]) -> Result<Certificates> {
    let mut found = Certificates::default();
    for path in files {
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("crt") => found.roots.extend(certificates(path)?),
            Some("cert") => {
                let key = path.with_extension("key");
                let chain = certificates(path)?;
                found.client = Some(ClientCert::new_with_certs(&chain, private_key(&key)?));
            }
            _ => {}
        }
    }
    Ok(found)
}

fn failed(path: &Path, what: impl Into<String>) -> RegistryError {
    RegistryError::ConfigFile {
        path: path.display().to_string(),
        what: what.into(),
    }
}

fn items(path: &Path) -> Result<Vec<PemItem<'static>>> {
    let file = std::fs::File::open(path).map_err(|error| failed(path, error.to_string()))?;
    let mut pem = Vec::new();
    file.take(FILE_BYTES_MAX)
        .read_to_end(&mut pem)
        .map_err(|error| failed(path, error.to_string()))?;
    Ok(ureq::tls::parse_pem(&pem)
        .filter_map(|item| item.ok())
        .collect())
}

fn certificates(path: &Path) -> Result<Vec<Certificate<'static>>> {
    let found: Vec<Certificate<'static>> = items(path)?
        .into_iter()
        .filter_map(|item| match item {
            PemItem::Certificate(certificate) => Some(certificate),
            _ => None,
        })
        .collect();
    if found.is_empty() {
        return Err(failed(path, "there is no certificate in it"));
    }
    Ok(found)
}

fn private_key(path: &Path) -> Result<PrivateKey<'static>> {
    let key = items(path)?.into_iter().find_map(|item| match item {
        PemItem::PrivateKey(key) => Some(key),
        _ => None,
    });
    key.ok_or_else(|| failed(path, "there is no private key in it"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_directory_of_the_host_counts() {
        let root = std::env::temp_dir().join(format!("caisson-certs-{}", std::process::id()));
        std::fs::create_dir_all(root.join("r.lan:5000")).unwrap();
        std::fs::create_dir_all(root.join("plain.lan")).unwrap();
        assert!(of_host(&root, "r.lan", 5000).unwrap().is_some());
        assert!(of_host(&root, "r.lan", 443).unwrap().is_none());
        assert!(of_host(&root, "plain.lan", 443).unwrap().is_some());
        assert!(of_host(&root, "plain.lan", 444).unwrap().is_none());
        for host in ["..", "", "a/b", "."] {
            assert!(of_host(&root, host, 443).unwrap().is_none(), "{host}");
        }
        std::fs::write(root.join("r.lan:5000/ca.crt"), "nonsense").unwrap();
        let error = of_host(&root, "r.lan", 5000).unwrap_err();
        assert!(error.to_string().contains("no certificate"), "{error}");
        std::fs::remove_dir_all(&root).unwrap();
    }
}
