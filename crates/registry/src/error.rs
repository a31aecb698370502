//! What can go wrong with a registry, in words that tell a user what to do.

use std::time::Duration;

use types::digest::Digest;

/// A failed conversation with a registry.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// Nobody answers: no network, no such host, refused, timed out, or no trust.
    #[error("cannot reach {url}{}", distrust(url, source))]
    Unreachable {
        /// What was asked for.
        url: String,
        /// Why.
        #[source]
        source: ureq::Error,
    },
    /// The registry wants an account, or the repository is not there: it does not say which.
    #[error("pull access denied for {repository}, repository does not exist or may require 'docker login'{}", detail(.message))]
    AccessDenied {
        /// The repository as the user knows it.
        repository: String,
        /// The registry's own words.
        message: String,
    },
    /// The registry does not let us do that, in Docker's words.
    #[error("{words}")]
    Denied {
        /// `denied: …` or `unauthorized: …`.
        words: String,
    },
    /// The registry, or a proxy before it, takes no body of that size.
    #[error(
        "{repository} takes no {what} of {size} bytes (413); raise the limit for bodies of the registry or of the proxy before it"
    )]
    BodyTooLarge {
        /// The repository as the user knows it.
        repository: String,
        /// What was sent.
        what: &'static str,
        /// Its size.
        size: u64,
    },
    /// The registry's disk is full.
    #[error(
        "no space left in the registry of {repository} (507){}; push again when its administrator has made room: what it has already is not sent twice", detail(.message)
    )]
    NoSpace {
        /// The repository as the user knows it.
        repository: String,
        /// The registry's own words.
        message: String,
    },
    /// More tags than we list.
    #[error("{repository} has more than {limit} tags; name those to pull")]
    TooManyTags {
        /// The repository as the user knows it.
        repository: String,
        /// How many are listed.
        limit: usize,
    },
    /// The tag or digest is not in the repository.
    #[error("manifest for {reference} not found: manifest unknown{}", detail(.message))]
    ManifestUnknown {
        /// The reference as the user knows it.
        reference: String,
        /// The registry's own words.
        message: String,
    },
    /// The repository is not in the registry.
    #[error("repository {repository} not found: name unknown{}", detail(.message))]
    NameUnknown {
        /// The repository as the user knows it.
        repository: String,
        /// The registry's own words.
        message: String,
    },
    /// A layer or config that the manifest names is not in the registry.
    #[error("{repository} lacks the blob {digest}: blob unknown")]
    BlobUnknown {
        /// The repository as the user knows it.
        repository: String,
        /// The blob.
        digest: Digest,
    },
    /// The registry limits how much we may ask.
    #[error("toomanyrequests: {host} allows no more requests now{}{}", retry(.retry_after), detail(.message))]
    TooManyRequests {
        /// The registry's host.
        host: String,
        /// How long it asks us to wait.
        retry_after: Option<Duration>,
        /// The registry's own words.
        message: String,
    },
    /// Any other refusal.
    #[error("{url} answers {status}{}", detail(.message))]
    Status {
        /// What was asked for.
        url: String,
        /// The HTTP status.
        status: u16,
        /// The registry's code for it, such as `UNSUPPORTED`; may be empty.
        code: String,
        /// The registry's own words.
        message: String,
    },
    /// An answer that breaks the protocol.
    #[error("{url} answers wrongly: {what}")]
    Protocol {
        /// What was asked for.
        url: String,
        /// What is wrong.
        what: String,
    },
    /// Content that is not what its name says.
    #[error("{url} gives content with the digest {actual}, not {expected}")]
    DigestMismatch {
        /// What was asked for.
        url: String,
        /// The digest announced.
        expected: Digest,
        /// The digest found.
        actual: Digest,
    },
    /// Something larger than our limit for it.
    #[error("{url} is larger than the limit of {limit} bytes")]
    TooLarge {
        /// What was asked for.
        url: String,
        /// The limit.
        limit: u64,
    },
    /// A plain HTTP registry that nobody allowed.
    #[error("{url} is plain HTTP; set insecure = true for this registry to allow that")]
    Insecure {
        /// The address.
        url: String,
    },
    /// A configured or announced address that is none.
    #[error("{url:?} is no http or https address")]
    InvalidUrl {
        /// The address.
        url: String,
    },
    /// A program that keeps accounts.
    #[error("credential helper docker-credential-{helper}: {what}")]
    Helper {
        /// Its name.
        helper: String,
        /// What is wrong, never with a secret.
        what: String,
    },
    /// Docker's configuration file.
    #[error("cannot use {path}: {what}")]
    ConfigFile {
        /// The file.
        path: String,
        /// Why.
        what: String,
    },
    /// A name or password that is not right.
    #[error("{words}")]
    LoginFailed {
        /// Docker's words.
        words: String,
    },
    /// A redirect or an authentication server that we do not follow.
    #[error("{url} sends us to {target}, which is refused: {reason}")]
    Refused {
        /// Who sent us.
        url: String,
        /// Where.
        target: String,
        /// Why we do not go.
        reason: &'static str,
    },
    /// A transfer that ended too early, again and again.
    #[error("the transfer of {url} broke off at {received} of {size} bytes")]
    Interrupted {
        /// What was asked for.
        url: String,
        /// Bytes that came.
        received: u64,
        /// Bytes announced.
        size: u64,
        /// The last failure.
        #[source]
        source: std::io::Error,
    },
}

impl RegistryError {
    /// Whether no registry was there to answer, rather than one that refused.
    pub fn is_unreachable(&self) -> bool {
        matches!(self, Self::Unreachable { .. })
    }

    /// Whether the registry wants an account, or another one.
    pub fn is_denied(&self) -> bool {
        matches!(self, Self::Denied { .. } | Self::AccessDenied { .. })
    }

    /// Whether another mirror or another attempt may do better.
    pub(crate) fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable { source, .. } => !is_final(source),
            // What it has not learned or has no room for, it has not in a second either.
            Self::Status { status, .. } => *status >= 500 && !matches!(status, 501 | 505 | 507),
            Self::Interrupted { .. } => true,
            Self::TooManyRequests { retry_after, .. } => {
                retry_after.is_some_and(|wait| wait <= crate::client::RETRY_AFTER_MAX)
            }
            _ => false,
        }
    }
}

/// Failures that the next attempt will meet again: waiting for them only makes the user wait.
fn is_final(error: &ureq::Error) -> bool {
    use std::io::ErrorKind;
    match error {
        ureq::Error::HostNotFound | ureq::Error::Rustls(_) | ureq::Error::Tls(_) => true,
        ureq::Error::BadUri(_) | ureq::Error::Http(_) => true,
        ureq::Error::Io(error) => !matches!(
            error.kind(),
            ErrorKind::ConnectionReset
                | ErrorKind::ConnectionAborted
                | ErrorKind::BrokenPipe
                | ErrorKind::UnexpectedEof
                | ErrorKind::TimedOut
                | ErrorKind::Interrupted
        ),
        _ => false,
    }
}

/// What to do where the two sides do not agree on TLS; nothing for any other failure.
fn distrust(url: &str, source: &ureq::Error) -> String {
    let text = source.to_string();
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let host = rest.split('/').next().unwrap_or_default();
    if text.contains("InvalidContentType") {
        return format!(
            ": http: server gave HTTP response to HTTPS client (to allow plain HTTP to it: insecure = true below \
             [registries.\"{host}\"] in /etc/caisson/config.toml)"
        );
    }
    // The first is TLS 1.3's; servers say the second also where there was none.
    if text.ends_with("CertificateRequired") || text.ends_with("BadCertificate") {
        return format!(
            " (it wants to know you by a certificate: {}/{host}/client.cert, and its key in client.key)",
            crate::certificates::DIRECTORY
        );
    }
    let Some((_, reason)) = text.split_once("invalid peer certificate: ") else {
        return String::new();
    };
    if reason.contains("CaUsedAsEndEntity") {
        return format!(
            " (its certificate is an authority's own, which is believed only if that very certificate is in \
             {}/{host}/ca.crt)",
            crate::certificates::DIRECTORY
        );
    }
    if reason.contains("UnknownIssuer") {
        return format!(
            " (certificate signed by unknown authority: put that authority's certificate into \
             {}/{host}/ca.crt)",
            crate::certificates::DIRECTORY
        );
    }
    String::new()
}

fn detail(message: &str) -> String {
    if message.is_empty() {
        String::new()
    } else {
        format!(": {message}")
    }
}

fn retry(after: &Option<Duration>) -> String {
    after.map_or_else(String::new, |wait| {
        format!("; try again in {} s", wait.as_secs())
    })
}

/// Shorthand of this crate.
pub(crate) type Result<T, E = RegistryError> = std::result::Result<T, E>;
