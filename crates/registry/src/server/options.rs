//! Settings: from flags, and from a file, which flags overrule.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use crate::resolver::HostResolver;

/// Where it listens unless told.
const LISTEN: &str = "127.0.0.1:5000";
const ROOT: &str = "/var/lib/caisson/registry";
/// The largest blob: 64 GiB.
const BLOB_BYTES_MAX: u64 = 64 << 30;
/// What copies of another registry's blobs take: 100 GiB.
const MIRROR_BYTES_MAX: u64 = 100 << 30;
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
    /// `s3://bucket/prefix`, where blobs are instead of the directory.
    pub storage: Option<String>,
    /// `postgres://…`, where everything else is instead of the directory.
    pub database: Option<String>,
    /// The address of a registry to be a cache of.
    pub mirror: Option<String>,
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
    /// Not a bucket.
    #[error("storage {0:?} is not of the form s3://bucket/prefix; a directory is given by --root")]
    Storage(String),
    /// Not a PostgreSQL server.
    #[error("database {url:?}: {problem}")]
    Database {
        /// The address, without what is secret in it.
        url: String,
        /// What is wrong.
        problem: String,
    },
    /// Not an address of the web.
    #[error("mirror {0:?} is not of the form https://registry.example.org")]
    Mirror(String),
    /// Half of an account.
    #[error("mirror_user and mirror_password go together: give both")]
    HalfAccount,
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
    mirror_user: Option<String>,
    mirror_password: Option<String>,
    mirror_bytes_max: Option<u64>,
    webhooks_private: Option<bool>,
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
    pub(crate) storage: Option<String>,
    /// With an address for its host.
    pub(crate) database: Option<String>,
    pub(crate) mirror: Option<String>,
    pub(crate) mirror_account: Option<(String, String)>,
    /// Copies beyond this go, those first that nobody used for longest.
    pub(crate) mirror_bytes_max: u64,
    /// Webhooks may lead to loopback and to private networks.
    pub(crate) webhooks_private: bool,
}

impl Settings {
    /// Fills in what is not said.
    pub(crate) fn from_options(options: Options) -> Result<Self, OptionsError> {
        let file = match &options.config {
            Some(path) => parse(path)?,
            None => File::default(),
        };
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
        let mirror_account = match (file.mirror_user, file.mirror_password) {
            (None, None) => None,
            (Some(user), Some(password)) => Some((user, password)),
            _ => return Err(OptionsError::HalfAccount),
        };
        let storage = options.storage.or(file.storage);
        let database = options.database.or(file.database);
        let mirror = options.mirror.or(file.mirror);
        let open = options.open || file.open.unwrap_or(listen.ip().is_loopback());
        Ok(Self {
            listen,
            root: options
                .root
                .or(file.root)
                .unwrap_or_else(|| PathBuf::from(ROOT)),
            public_url: file
                .public_url
                .map(|url| check_url(url).map_err(OptionsError::PublicUrl))
                .transpose()?,
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
            storage: storage.map(check_bucket).transpose()?,
            database: database.as_deref().map(check_database).transpose()?,
            mirror: mirror
                .map(|url| check_url(url).map_err(OptionsError::Mirror))
                .transpose()?,
            mirror_account,
            mirror_bytes_max: file.mirror_bytes_max.unwrap_or(MIRROR_BYTES_MAX),
            webhooks_private: file.webhooks_private.unwrap_or(false),
        })
    }

    /// Whether nothing is kept in the root directory, so that several may do the same work.
    pub(crate) fn is_replica(&self) -> bool {
        self.storage.is_some() && self.database.is_some()
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

fn check_bucket(url: String) -> Result<String, OptionsError> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-/".contains(&byte);
    let rest = url
        .strip_prefix("s3://")
        .filter(|rest| !rest.is_empty() && !rest.starts_with('/') && rest.bytes().all(is_plain));
    match rest {
        Some(_) => Ok(url),
        None => Err(OptionsError::Storage(url)),
    }
}

/// A server's address with the host looked up: the database's client would ask the C library, which
/// cannot in a static program.
fn check_database(url: &str) -> Result<String, OptionsError> {
    let fault = |problem: &str| OptionsError::Database {
        // Nobody's password in a log.
        url: url
            .rsplit_once('@')
            .map_or(url, |(_, rest)| rest)
            .to_owned(),
        problem: problem.to_owned(),
    };
    let form = "it is not of the form postgres://user:password@host/name";
    let (scheme, rest) = url.split_once("://").ok_or_else(|| fault(form))?;
    if !matches!(scheme, "postgres" | "postgresql") {
        return Err(fault(form));
    }
    let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    let (account, place) = authority.rsplit_once('@').unwrap_or(("", authority));
    let (host, port) = match place.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (place, None),
    };
    // Nothing, an address, or a socket's directory stands for itself.
    let is_itself = host.is_empty()
        || host.starts_with(['/', '[', '%'])
        || host.parse::<std::net::IpAddr>().is_ok();
    if is_itself {
        return Ok(url.to_owned());
    }
    if path.contains("sslmode=verify-full") {
        return Err(fault(
            "sslmode=verify-full needs the host as an address here; verify-ca takes a name",
        ));
    }
    let found = HostResolver::default().lookup(host);
    let found = found.map_err(|error| fault(&format!("cannot find {host}: {error}")))?;
    let found = found
        .first()
        .ok_or_else(|| fault("the host has no address"))?;
    let found = match found {
        std::net::IpAddr::V4(found) => found.to_string(),
        std::net::IpAddr::V6(found) => format!("[{found}]"),
    };
    let account = if account.is_empty() {
        String::new()
    } else {
        format!("{account}@")
    };
    let port = port.map_or(String::new(), |port| format!(":{port}"));
    Ok(format!("{scheme}://{account}{found}{port}{path}"))
}

/// A scheme and a host, nothing that would end a header's quotes.
fn check_url(url: String) -> Result<String, String> {
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
        false => Err(url),
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
            "storage = \"s3:bucket\"",
            "storage = \"/srv/blobs\"",
            "database = \"mysql://x/y\"",
            "database = \"postgres://u@localhost/x?sslmode=verify-full\"",
            "mirror = \"registry-1.docker.io\"",
            "mirror_user = \"me\"",
        ] {
            assert!(with(bad, None).is_err(), "{bad}");
        }
        let found = with(
            "database = \"postgres://u:p@localhost:7/x?sslmode=require\"",
            None,
        );
        let found = found.unwrap().database;
        let found = found.unwrap();
        assert!(
            found.starts_with("postgres://u:p@") && !found.contains("localhost"),
            "{found}"
        );
        let secret = "database = \"postgres://u:hidden@localhost/x?sslmode=verify-full\"";
        let secret = with(secret, None).unwrap_err();
        assert!(!secret.to_string().contains("hidden"), "{secret}");
    }
}
