//! One HTTP request of a registry client: agents, trust, redirects.
//!
//! Redirects are followed here and not by the library, because two rules are ours: an account or
//! token goes to the origin it was meant for and nowhere else, and HTTPS is never left for HTTP
//! where plain HTTP was not allowed.

use std::collections::BTreeMap;
use std::fmt;
use std::io::Read;
use std::path::Path;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use ureq::config::Config;
use ureq::http::{Response, Uri, header};
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, TlsConfigBuilder};
use ureq::typestate::WithBody;
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{DefaultConnector, NextTimeout};
use ureq::{Agent, RequestBuilder, SendBody};

use crate::certificates::{self, Certificates};
use crate::config::{Trust, is_loopback};
use crate::error::{RegistryError, Result};
use crate::resolver::HostResolver;
use crate::server::is_public;
use crate::tls;
use crate::upload::BlobContent;

/// What a secret is sent in, where it is not in a header.
pub(crate) const FORM: &str = "application/x-www-form-urlencoded";
const REDIRECTS_MAX: usize = 10;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);
/// Until the head of an answer; a registry behind a cold cache takes its time.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);
/// Between two pieces of a body: a stalled transfer is broken off and resumed.
const READ_TIMEOUT: Duration = Duration::from_secs(60);
/// For all of a webhook's delivery.
const WEBHOOK_TIMEOUT: Duration = Duration::from_secs(10);
const HEADER_BYTES_MAX: usize = 64 << 10;
const CONNECTIONS_IDLE_MAX: usize = 8;
/// Certificate bundles are about 200 KiB.
const BUNDLE_BYTES_MAX: u64 = 8 << 20;
/// Where distributions keep the bundle.
const BUNDLES: [&str; 5] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// How a resource is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Method {
    Get,
    Head,
    Post,
    Put,
    Patch,
}

/// What is sent. It is opened for every attempt anew.
#[derive(Clone, Copy)]
pub(crate) struct Body<'a> {
    pub(crate) media_type: &'a str,
    /// First and last byte of the whole, where this is a part.
    pub(crate) range: Option<(u64, u64)>,
    pub(crate) length: u64,
    pub(crate) content: Content<'a>,
}

/// Where the bytes come from.
#[derive(Clone, Copy)]
pub(crate) enum Content<'a> {
    Bytes(&'a [u8]),
    /// A blob from an offset on.
    Blob(&'a dyn BlobContent, u64),
}

impl Content<'_> {
    fn open(&self) -> std::io::Result<Box<dyn Read + '_>> {
        match self {
            Self::Bytes(bytes) => Ok(Box::new(*bytes)),
            Self::Blob(blob, offset) => blob.open(*offset),
        }
    }
}

impl fmt::Debug for Body<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "Body({}, {} bytes, {:?})",
            self.media_type, self.length, self.range
        )
    }
}

/// One request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ask<'a> {
    pub(crate) method: Method,
    pub(crate) url: &'a str,
    pub(crate) trust: Trust,
    /// Whether plain HTTP is acceptable, also after a redirect.
    pub(crate) plain: bool,
    pub(crate) authorization: Option<&'a str>,
    pub(crate) accept: Option<&'a str>,
    /// Start at this byte.
    pub(crate) offset: u64,
    /// For the methods that have one; without it an empty one is sent.
    pub(crate) body: Option<Body<'a>>,
}

/// The head of an answer, and its body to be read.
#[derive(Debug)]
pub(crate) struct Answer {
    /// The address that answered in the end.
    pub(crate) url: String,
    response: Response<ureq::Body>,
}

impl Answer {
    pub(crate) fn status(&self) -> u16 {
        self.response.status().as_u16()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.response
            .headers()
            .get(name)
            .and_then(|value| value.to_str().ok())
    }

    pub(crate) fn headers<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.response
            .headers()
            .get_all(name)
            .iter()
            .filter_map(|value| value.to_str().ok())
    }

    pub(crate) fn length(&self) -> Option<u64> {
        self.header("content-length")
            .and_then(|text| text.parse().ok())
    }

    pub(crate) fn into_reader(self) -> impl Read + Send + 'static {
        self.response
            .into_body()
            .into_with_config()
            .limit(u64::MAX)
            .reader()
    }

    /// The whole body, if it is no larger than `limit`.
    pub(crate) fn read(self, limit: u64) -> Result<Vec<u8>> {
        let url = self.url.clone();
        let mut bytes = Vec::new();
        if self.length().is_some_and(|length| length > limit) {
            return Err(RegistryError::TooLarge { url, limit });
        }
        let read = self.into_reader().take(limit + 1).read_to_end(&mut bytes);
        if let Err(source) = read {
            return Err(RegistryError::Unreachable {
                url,
                source: ureq::Error::Io(source),
            });
        }
        if bytes.len() as u64 > limit {
            return Err(RegistryError::TooLarge { url, limit });
        }
        Ok(bytes)
    }
}

/// The connections of one client, made when first needed: reading the bundle costs milliseconds.
#[derive(Debug, Default)]
pub(crate) struct Transport {
    verified: OnceLock<Agent>,
    any: OnceLock<Agent>,
    loopback: OnceLock<Agent>,
    /// By host and port, where a registry has certificates of its own; `None` where it has none.
    own: Mutex<BTreeMap<(String, u16, Trust), Option<Agent>>>,
}

impl Transport {
    /// Sends a request and follows redirects.
    pub(crate) fn send(&self, ask: &Ask<'_>) -> Result<Answer> {
        let mut url = ask.url.to_owned();
        let mut authorization = ask.authorization;
        for _ in 0..=REDIRECTS_MAX {
            let answer = self.send_once(ask, &url, authorization)?;
            if !matches!(answer.status(), 301 | 302 | 303 | 307 | 308) {
                return Ok(answer);
            }
            let is_sending = !matches!(ask.method, Method::Get | Method::Head);
            if is_sending && !matches!(answer.status(), 307 | 308) {
                return Ok(answer);
            }
            let location = answer.header("location").unwrap_or_default();
            let target = resolve(&url, location).ok_or_else(|| RegistryError::InvalidUrl {
                url: location.to_owned(),
            })?;
            check_step(&url, &target, ask.plain)?;
            if origin(&target) != origin(&url) {
                if ask.body.is_some_and(|body| body.media_type == FORM) {
                    return Err(RegistryError::Refused {
                        url,
                        target,
                        reason: "what an account is exchanged for goes to the host that asked alone",
                    });
                }
                authorization = None;
            }
            url = target;
        }
        let what = format!("it redirects more than {REDIRECTS_MAX} times");
        Err(RegistryError::Protocol { url, what })
    }

    fn send_once(&self, ask: &Ask<'_>, url: &str, authorization: Option<&str>) -> Result<Answer> {
        let agent = self.agent(url, ask.trust)?;
        let answer = match ask.method {
            Method::Get => dress(agent.get(url), ask, authorization).call(),
            Method::Head => dress(agent.head(url), ask, authorization).call(),
            Method::Post => send_body(dress(agent.post(url), ask, authorization), ask.body),
            Method::Put => send_body(dress(agent.put(url), ask, authorization), ask.body),
            Method::Patch => send_body(dress(agent.patch(url), ask, authorization), ask.body),
        };
        let url = url.to_owned();
        match answer {
            Ok(response) => Ok(Answer { url, response }),
            Err(source) => Err(RegistryError::Unreachable { url, source }),
        }
    }

    /// The connections to an address. An agent is a handle: copies share their connections.
    fn agent(&self, url: &str, trust: Trust) -> Result<Agent> {
        let (scheme, host, port) = origin(url).unwrap_or_default();
        let is_here = is_loopback(&host) && trust == Trust::Any;
        // As every client does: a proxy's loopback is not ours.
        let proxied = if is_here {
            Proxied::Never
        } else {
            Proxied::AsEnvironment
        };
        if scheme == "https"
            && let Some(own) = self.own_agent(&host, port, trust, proxied)?
        {
            return Ok(own);
        }
        let place = match (is_here, trust) {
            (true, _) => &self.loopback,
            (false, Trust::Verified) => &self.verified,
            (false, Trust::Any) => &self.any,
        };
        Ok(place.get_or_init(|| build(trust, proxied)).clone())
    }

    /// The connections to a host that has certificates of its own here.
    fn own_agent(
        &self,
        host: &str,
        port: u16,
        trust: Trust,
        proxied: Proxied,
    ) -> Result<Option<Agent>> {
        let mut own = self.own.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (host.to_owned(), port, trust);
        if let Some(known) = own.get(&key) {
            return Ok(known.clone());
        }
        let directory = Path::new(certificates::DIRECTORY);
        let found = certificates::of_host(directory, host, port)?;
        let agent = match found {
            Some(found) => Some(build_own(trust, proxied, found, (directory, host))?),
            None => None,
        };
        own.insert(key, agent.clone());
        Ok(agent)
    }
}

/// Puts the headers on.
fn dress<B>(
    mut request: RequestBuilder<B>,
    ask: &Ask<'_>,
    authorization: Option<&str>,
) -> RequestBuilder<B> {
    if let Some(accept) = ask.accept {
        request = request.header(header::ACCEPT, accept);
    }
    if let Some(authorization) = authorization {
        request = request.header(header::AUTHORIZATION, authorization);
    }
    if ask.offset > 0 {
        request = request.header(header::RANGE, format!("bytes={}-", ask.offset));
    }
    request
}

fn send_body(
    request: RequestBuilder<WithBody>,
    body: Option<Body<'_>>,
) -> std::result::Result<Response<ureq::Body>, ureq::Error> {
    let Some(body) = body else {
        return request.send_empty();
    };
    let mut request = request
        .header(header::CONTENT_TYPE, body.media_type)
        .header(header::CONTENT_LENGTH, body.length);
    if let Some((first, last)) = body.range {
        // Without the unit, as the distribution specification has it.
        request = request.header(header::CONTENT_RANGE, format!("{first}-{last}"));
    }
    let mut reader = body.content.open()?.take(body.length);
    request.send(SendBody::from_reader(&mut reader))
}

/// Whether one address may send us on to another.
pub(crate) fn check_step(from: &str, to: &str, plain: bool) -> Result<()> {
    let refused = |reason| RegistryError::Refused {
        url: from.to_owned(),
        target: to.to_owned(),
        reason,
    };
    if to.starts_with("http://") && !plain {
        return Err(refused("it leaves HTTPS for plain HTTP"));
    }
    let is_here = |url| origin(url).is_some_and(|(_, host, _)| is_loopback(&host));
    // What listens here for us alone is none of a stranger's business.
    if is_here(to) && !is_here(from) {
        return Err(refused("it leads from elsewhere to this machine itself"));
    }
    Ok(())
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Proxied {
    AsEnvironment,
    Never,
}

fn build(trust: Trust, proxied: Proxied) -> Agent {
    let config = configure(tls_config(trust).build(), proxied);
    Agent::with_parts(config, DefaultConnector::new(), HostResolver::default())
}

/// For a host that has certificates of its own in this directory.
fn build_own(
    trust: Trust,
    proxied: Proxied,
    own: Certificates,
    (directory, host): (&Path, &str),
) -> Result<Agent> {
    let tls = tls_config(trust).client_cert(own.client.clone());
    let config = configure(tls.build(), proxied);
    let resolver = HostResolver::default();
    if trust == Trust::Any || own.roots.is_empty() {
        return Ok(Agent::with_parts(config, DefaultConnector::new(), resolver));
    }
    let connector = tls::connector(&bundle(), &own.roots, own.client.as_ref());
    let connector = connector.map_err(|error| RegistryError::ConfigFile {
        path: directory.join(host).display().to_string(),
        what: error.to_string(),
    })?;
    Ok(Agent::with_parts(config, connector, resolver))
}

fn tls_config(trust: Trust) -> TlsConfigBuilder {
    match trust {
        Trust::Verified => TlsConfig::builder().root_certs(roots()),
        Trust::Any => TlsConfig::builder().disable_verification(true),
    }
}

fn configure(tls: TlsConfig, proxied: Proxied) -> Config {
    let mut config = Config::builder()
        .tls_config(tls)
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .timeout_connect(Some(CONNECT_TIMEOUT))
        .timeout_recv_response(Some(ANSWER_TIMEOUT))
        .timeout_per_read(Some(READ_TIMEOUT))
        .max_response_header_size(HEADER_BYTES_MAX)
        .max_idle_connections_per_host(CONNECTIONS_IDLE_MAX)
        .user_agent(concat!("caisson/", env!("CARGO_PKG_VERSION")));
    if proxied == Proxied::Never {
        config = config.proxy(None);
    }
    config.build()
}

/// The connections to a storage of objects, whose library decides about everything else.
pub(crate) fn storage_agent() -> Agent {
    build(Trust::Verified, Proxied::AsEnvironment)
}

/// The connections to whom webhooks name: quick or not at all, and only where strangers may send us.
pub(crate) fn webhook_agent(allows_private: bool) -> Agent {
    let tls = TlsConfig::builder().root_certs(roots()).build();
    let config = Config::builder()
        .tls_config(tls)
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .timeout_global(Some(WEBHOOK_TIMEOUT))
        .max_response_header_size(HEADER_BYTES_MAX)
        .max_idle_connections(0)
        // A proxy would look names up itself, past our eyes.
        .proxy(None)
        .user_agent(concat!("caisson/", env!("CARGO_PKG_VERSION")));
    let resolver = GuardedResolver { allows_private };
    Agent::with_parts(config.build(), DefaultConnector::new(), resolver)
}

/// The resolver of our client, which gives public addresses alone.
#[derive(Debug)]
struct GuardedResolver {
    allows_private: bool,
}

impl Resolver for GuardedResolver {
    fn resolve(
        &self,
        uri: &Uri,
        config: &Config,
        timeout: NextTimeout,
    ) -> std::result::Result<ResolvedSocketAddrs, ureq::Error> {
        let found = HostResolver::default().resolve(uri, config, timeout)?;
        let mut allowed = self.empty();
        for address in found.iter() {
            if self.allows_private || is_public(address.ip()) {
                allowed.push(*address);
            }
        }
        if allowed.is_empty() {
            let text = "the address is not a public one";
            return Err(ureq::Error::Io(std::io::Error::other(text)));
        }
        Ok(allowed)
    }
}

/// The machine's authorities, or those compiled in where there are none.
fn roots() -> RootCerts {
    match bundle() {
        bundle if bundle.is_empty() => RootCerts::WebPki,
        bundle => RootCerts::new_with_certs(&bundle),
    }
}

/// The machine's authorities.
fn bundle() -> Vec<Certificate<'static>> {
    let named = std::env::var("SSL_CERT_FILE").ok();
    for path in named.iter().map(String::as_str).chain(BUNDLES) {
        let Ok(file) = std::fs::File::open(path) else {
            continue;
        };
        let mut pem = Vec::new();
        if file.take(BUNDLE_BYTES_MAX).read_to_end(&mut pem).is_err() {
            continue;
        }
        let certificates: Vec<Certificate<'static>> = ureq::tls::parse_pem(&pem)
            .filter_map(|item| match item {
                Ok(PemItem::Certificate(certificate)) => Some(certificate),
                _ => None,
            })
            .collect();
        if !certificates.is_empty() {
            return certificates;
        }
    }
    Vec::new()
}

/// Scheme, host and port.
pub(crate) fn origin(url: &str) -> Option<(String, String, u16)> {
    let uri: Uri = url.parse().ok()?;
    let scheme = uri.scheme_str()?.to_ascii_lowercase();
    let port = uri
        .port_u16()
        .unwrap_or(if scheme == "http" { 80 } else { 443 });
    Some((scheme, uri.host()?.to_ascii_lowercase(), port))
}

/// The address that a `Location` means.
pub(crate) fn resolve(base: &str, location: &str) -> Option<String> {
    let location = location.split('#').next().unwrap_or_default();
    if location.starts_with("http://") || location.starts_with("https://") {
        return origin(location).map(|_| location.to_owned());
    }
    let scheme_end = base.find("://")? + 3;
    if let Some(rest) = location.strip_prefix("//") {
        return Some(format!("{}{rest}", &base[..scheme_end]));
    }
    let path_start = base[scheme_end..]
        .find('/')
        .map_or(base.len(), |at| scheme_end + at);
    if location.starts_with('/') {
        return Some(format!("{}{location}", &base[..path_start]));
    }
    if location.is_empty() || location.contains(':') {
        return None;
    }
    let path_end = base.find('?').unwrap_or(base.len());
    let directory = base[..path_end].rfind('/').filter(|&at| at >= path_start)?;
    Some(format!("{}/{location}", &base[..directory]))
}

/// Encodes a value for a query: everything but what certainly means itself.
pub(crate) fn encode_query(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_location_is_resolved_against_the_address_that_gave_it() {
        let base = "https://r.lan:5000/v2/a/blobs/x?y=/z";
        for (location, want) in [
            ("https://cdn.lan/f?t=1#frag", Some("https://cdn.lan/f?t=1")),
            ("/other", Some("https://r.lan:5000/other")),
            ("//cdn.lan/f", Some("https://cdn.lan/f")),
            ("sibling", Some("https://r.lan:5000/v2/a/blobs/sibling")),
            ("ftp://x/y", None),
            ("file:/etc/passwd", None),
            ("https://", None),
            ("", None),
        ] {
            assert_eq!(resolve(base, location).as_deref(), want, "{location}");
        }
        assert_eq!(origin("http://H/x"), Some(("http".into(), "h".into(), 80)));
        assert_eq!(encode_query("a/b:c,d e"), "a%2Fb%3Ac%2Cd%20e");
    }

    #[test]
    fn nobody_is_led_from_elsewhere_to_this_machine_or_out_of_https() {
        let step = |from, to, plain| check_step(from, to, plain).is_ok();
        assert!(step("https://r.lan/a", "https://cdn.lan/b", false));
        assert!(step("http://127.0.0.1:1/a", "http://127.0.0.1:2/b", true));
        for target in [
            "http://localhost/x",
            "https://127.0.0.1:2375/x",
            "https://[::1]/x",
        ] {
            assert!(!step("https://r.lan/a", target, true), "{target}");
        }
        assert!(!step("https://r.lan/a", "http://r.lan/b", false));
    }
}
