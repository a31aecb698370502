//! Settings: from flags, and from a file, which flags overrule.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

/// Where it listens unless told.
const LISTEN: &str = "127.0.0.1:5000";
const ROOT: &str = "/var/lib/caisson/registry";
/// The largest blob: 64 GiB.
const BLOB_BYTES_MAX: u64 = 64 << 30;
/// A blob that nobody used for so long, and nothing refers to, is collected.
const GRACE: Duration = Duration::from_secs(2 * 3600);
const COLLECT_EVERY: Duration = Duration::from_secs(3600);
const CONFIG_BYTES_MAX: u64 = 1 << 20;

/// Where TLS comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Tls {
    /// Nowhere: plain HTTP.
    #[default]
    None,
    /// A certificate chain and its key, PEM.
    Files {
        /// The chain.
        certificate: PathBuf,
        /// The key.
        key: PathBuf,
    },
    /// Made once and kept in the root.
    SelfSigned,
}

/// What a caller says; what it does not say comes from the file, then from the defaults.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Address and port.
    pub listen: Option<String>,
    /// The directory of everything.
    pub root: Option<PathBuf>,
    /// A TOML file.
    pub config: Option<PathBuf>,
    /// TLS.
    pub tls: Tls,
    /// Let whoever reaches it push, also beyond loopback.
    pub open: bool,
    /// Nobody can sign up.
    pub closed: bool,
}

/// Settings that make no sense.
#[derive(Debug, thiserror::Error)]
pub enum OptionsError {
    /// No address.
    #[error("{0:?} is not an address and a port, such as 127.0.0.1:5000")]
    Listen(String),
    /// The file cannot be read.
    #[error("cannot read {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The file is not understood.
    #[error("cannot understand {path}")]
    Parse {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: Box<toml::de::Error>,
    },
    /// Half of TLS.
    #[error("a certificate and its key go together: give both")]
    HalfTls,
    /// Not an address of the web.
    #[error("public_url {0:?} is not of the form https://hub.example.org")]
    PublicUrl(String),
    /// Not built.
    #[error("{0} is not there yet in this version: {1}")]
    NotYet(&'static str, &'static str),
}

/// The file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    listen: Option<String>,
    root: Option<PathBuf>,
    public_url: Option<String>,
    trust_forwarded_for: Option<bool>,
    tls_cert: Option<PathBuf>,
    tls_key: Option<PathBuf>,
    tls_self_signed: Option<bool>,
    open: Option<bool>,
    sign_up: Option<bool>,
    blob_bytes_max: Option<u64>,
    grace_seconds: Option<u64>,
    collect_every_seconds: Option<u64>,
    metrics: Option<bool>,
    storage: Option<String>,
    database: Option<String>,
    mirror: Option<String>,
    webhooks: Option<toml::Value>,
}

/// All settings, complete.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) listen: SocketAddr,
    pub(crate) root: PathBuf,
    /// Where clients reach us, without a slash at its end.
    pub(crate) public_url: Option<String>,
    /// The last address of `X-Forwarded-For` is the client's: there is a proxy before us.
    pub(crate) trust_forwarded_for: bool,
    pub(crate) tls: Tls,
    /// Clients speak TLS to us (a proxy before us does not count: it has a `public_url`).
    pub(crate) is_tls: bool,
    pub(crate) anonymous_writes: bool,
    pub(crate) sign_up: bool,
    pub(crate) blob_bytes_max: u64,
    pub(crate) grace: Duration,
    pub(crate) collect_every: Duration,
    /// `/metrics` answers.
    pub(crate) metrics: bool,
}

impl Settings {
    /// Fills in what is not said.
    pub(crate) fn from_options(options: Options) -> Result<Self, OptionsError> {
        let file = match &options.config {
            Some(path) => parse(path)?,
            None => File::default(),
        };
        refuse_what_is_not_built(&file)?;
        let listen = options
            .listen
            .or(file.listen)
            .unwrap_or_else(|| LISTEN.to_owned());
        let listen: SocketAddr = listen
            .replace("localhost:", "127.0.0.1:")
            .parse()
            .map_err(|_| OptionsError::Listen(listen))?;
        let tls = match (options.tls, file.tls_cert, file.tls_key) {
            (Tls::None, Some(certificate), Some(key)) => Tls::Files { certificate, key },
            (Tls::None, None, None) if file.tls_self_signed == Some(true) => Tls::SelfSigned,
            (Tls::None, None, None) => Tls::None,
            (Tls::None, _, _) => return Err(OptionsError::HalfTls),
            (chosen, _, _) => chosen,
        };
        let open = options.open || file.open.unwrap_or(listen.ip().is_loopback());
        Ok(Self {
            listen,
            root: options
                .root
                .or(file.root)
                .unwrap_or_else(|| PathBuf::from(ROOT)),
            public_url: file.public_url.map(check_url).transpose()?,
            trust_forwarded_for: file.trust_forwarded_for.unwrap_or(false),
            is_tls: tls != Tls::None,
            tls,
            anonymous_writes: open,
            sign_up: !options.closed && file.sign_up.unwrap_or(true),
            blob_bytes_max: file.blob_bytes_max.unwrap_or(BLOB_BYTES_MAX),
            grace: file.grace_seconds.map_or(GRACE, Duration::from_secs),
            collect_every: file
                .collect_every_seconds
                .map_or(COLLECT_EVERY, |seconds| Duration::from_secs(seconds.max(1))),
            metrics: file.metrics.unwrap_or(true),
        })
    }

    /// The grace, as the database counts.
    pub(crate) fn grace_seconds(&self) -> i64 {
        self.grace.as_secs() as i64
    }
}

fn parse(path: &Path) -> Result<File, OptionsError> {
    let read = |source| OptionsError::Read {
        path: path.to_owned(),
        source,
    };
    if std::fs::metadata(path).map_err(read)?.len() > CONFIG_BYTES_MAX {
        return Err(read(std::io::Error::other(
            "it is too large for a configuration",
        )));
    }
    let text = std::fs::read_to_string(path).map_err(read)?;
    toml::from_str(&text).map_err(|source| OptionsError::Parse {
        path: path.to_owned(),
        source: Box::new(source),
    })
}

/// Refused by name, not ignored.
fn refuse_what_is_not_built(file: &File) -> Result<(), OptionsError> {
    let local = "blobs and the database are in the root directory";
    if file.storage.is_some() {
        return Err(OptionsError::NotYet("storage elsewhere (S3)", local));
    }
    if file.database.is_some() {
        return Err(OptionsError::NotYet("another database (PostgreSQL)", local));
    }
    if file.mirror.is_some() {
        let instead = "name the mirror in the clients' configuration";
        return Err(OptionsError::NotYet(
            "a mirror of another registry",
            instead,
        ));
    }
    if file.webhooks.is_some() {
        let instead = "follow the access log, which has a line for each push";
        return Err(OptionsError::NotYet("webhooks", instead));
    }
    Ok(())
}

/// A scheme and a host, nothing that would end a header's quotes.
fn check_url(url: String) -> Result<String, OptionsError> {
    let url = url.trim_end_matches('/').to_owned();
    let rest = url
        .strip_prefix("https://")
        .or_else(|| url.strip_prefix("http://"));
    let is_good = rest.is_some_and(|host| {
        !host.is_empty()
            && host.bytes().all(|byte| {
                byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b':' | b'[' | b']')
            })
    });
    match is_good {
        true => Ok(url),
        false => Err(OptionsError::PublicUrl(url)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(options: Options) -> Settings {
        Settings::from_options(options).unwrap()
    }

    #[test]
    fn anonymous_writes_are_for_loopback_unless_asked_for() {
        let on = |listen: &str, open| {
            settings(Options {
                listen: Some(listen.to_owned()),
                open,
                ..Options::default()
            })
            .anonymous_writes
        };
        assert!(settings(Options::default()).anonymous_writes);
        assert!(on("[::1]:5000", false) && on("localhost:5000", false));
        assert!(!on("0.0.0.0:5000", false) && !on("[::]:5000", false));
        assert!(on("0.0.0.0:5000", true));
    }

    #[test]
    fn a_file_is_overruled_by_flags_and_refused_where_it_is_not_understood() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("registry.toml");
        let with = |text: &str, listen: Option<&str>| {
            std::fs::write(&path, text).unwrap();
            Settings::from_options(Options {
                config: Some(path.clone()),
                listen: listen.map(str::to_owned),
                ..Options::default()
            })
        };
        let text =
            "listen = \"127.0.0.1:7\"\nsign_up = false\npublic_url = \"https://hub.example.org/\"";
        let found = with(text, Some("127.0.0.1:8")).unwrap();
        assert_eq!((found.listen.port(), found.sign_up), (8, false));
        assert_eq!(found.public_url.as_deref(), Some("https://hub.example.org"));
        for bad in [
            "lisen = \"x\"",
            "listen = \"nowhere\"",
            "public_url = \"https://a\\\"b\"",
            "tls_cert = \"x\"",
            "storage = \"s3://bucket\"",
            "mirror = \"https://registry-1.docker.io\"",
        ] {
            assert!(with(bad, None).is_err(), "{bad}");
        }
    }
}
