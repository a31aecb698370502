//! The certificate: from files, or one that we sign ourselves and keep.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{ServerConfig, crypto::ring};

use crate::server::ServeError;
use crate::server::options::{Settings, Tls};

/// What wraps connections in TLS, if that is wanted.
pub(super) fn acceptor(settings: &Settings) -> Result<Option<TlsAcceptor>, ServeError> {
    let (certificate, key) = match &settings.tls {
        Tls::None => return Ok(None),
        Tls::Files { certificate, key } => (certificate.clone(), key.clone()),
        Tls::SelfSigned => self_signed(settings)?,
    };
    let failed = |path: &Path, source: Box<dyn std::error::Error + Send + Sync>| ServeError::Open {
        operation: format!("cannot use {}", path.display()),
        source,
    };
    let chain = CertificateDer::pem_file_iter(&certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| failed(&certificate, error.into()))?;
    let secret = PrivateKeyDer::from_pem_file(&key).map_err(|error| failed(&key, error.into()))?;
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .and_then(|builder| {
            builder
                .with_no_client_auth()
                .with_single_cert(chain, secret)
        })
        .map_err(|error| failed(&certificate, error.into()))?;
    Ok(Some(TlsAcceptor::from(Arc::new(config))))
}

/// Makes a certificate for this machine's names once; afterwards it stays the same, so that those
/// who trust it need not do so again.
fn self_signed(settings: &Settings) -> Result<(PathBuf, PathBuf), ServeError> {
    let directory = settings.root.join("tls");
    let (certificate, key) = (directory.join("cert.pem"), directory.join("key.pem"));
    if certificate.exists() && key.exists() {
        return Ok((certificate, key));
    }
    let made = rcgen::generate_simple_self_signed(names(settings)).map_err(ServeError::open)?;
    let keeping = || ServeError::io(format!("keep a certificate in {}", directory.display()));
    fs::create_dir_all(&directory).map_err(keeping())?;
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&key)
        .map_err(keeping())?;
    file.write_all(made.signing_key.serialize_pem().as_bytes())
        .map_err(keeping())?;
    fs::write(&certificate, made.cert.pem()).map_err(keeping())?;
    Ok((certificate, key))
}

fn names(settings: &Settings) -> Vec<String> {
    let mut names = vec![
        "localhost".to_owned(),
        "127.0.0.1".to_owned(),
        "::1".to_owned(),
    ];
    let host = settings
        .public_url
        .as_deref()
        .and_then(|url| url.split("://").nth(1));
    if let Some(host) = host {
        names.push(host.split(':').next().unwrap_or(host).to_owned());
    }
    let uname = rustix::system::uname();
    names.push(uname.nodename().to_string_lossy().into_owned());
    if !settings.listen.ip().is_unspecified() {
        names.push(settings.listen.ip().to_string());
    }
    names.retain(|name| !name.is_empty());
    names.sort();
    names.dedup();
    names
}
