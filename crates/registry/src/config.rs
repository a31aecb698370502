//! Where a registry is: what the configuration says of mirrors, stand-ins and plain HTTP.

use std::collections::BTreeMap;
use std::net::IpAddr;

use types::reference::DEFAULT_DOMAIN;
use ureq::http::Uri;

use crate::credentials::Credentials;
use crate::error::{RegistryError, Result};

/// The host that serves the images of `docker.io`.
const HUB_HOST: &str = "registry-1.docker.io";

/// What the configuration says of one registry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RegistryConfig {
    /// Addresses asked first on pull, in order.
    pub mirrors: Vec<String>,
    /// An address that stands in for the registry altogether.
    pub location: Option<String>,
    /// Plain HTTP and unknown certificates are accepted.
    pub insecure: bool,
}

/// What the configuration says of all registries.
#[derive(Debug, Default)]
pub struct Registries {
    /// By the name that stands in references, such as `docker.io`.
    pub by_name: BTreeMap<String, RegistryConfig>,
    /// Accounts.
    pub credentials: Credentials,
}

/// Whether a registry's certificate must be known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Trust {
    /// As the host's certificate bundle says.
    Verified,
    /// Any certificate.
    Any,
}

/// One address under which a repository may be asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Endpoint {
    /// Scheme, host, port and perhaps a path, without a slash at the end.
    pub(crate) base: String,
    pub(crate) trust: Trust,
    /// A registry rather than a mirror of one: accounts are for registries only.
    pub(crate) is_origin: bool,
}

impl Registries {
    /// The addresses of a registry in the order in which they are asked.
    pub(crate) fn endpoints(&self, domain: &str) -> Result<Vec<Endpoint>> {
        let default = RegistryConfig::default();
        let config = self.by_name.get(domain).unwrap_or(&default);
        let mut endpoints = Vec::new();
        for mirror in &config.mirrors {
            endpoints.extend(addresses(mirror, config.insecure, false)?);
        }
        let host = match (&config.location, domain) {
            (Some(location), _) => location.as_str(),
            (None, DEFAULT_DOMAIN) => HUB_HOST,
            (None, domain) => domain,
        };
        endpoints.extend(addresses(host, config.insecure, true)?);
        Ok(endpoints)
    }
}

/// An address with its scheme stands for itself; a bare host is HTTPS, and plain HTTP after that
/// where it is loopback or insecure.
fn addresses(text: &str, insecure: bool, is_origin: bool) -> Result<Vec<Endpoint>> {
    let invalid = || RegistryError::InvalidUrl {
        url: text.to_owned(),
    };
    let (scheme, rest) = match text.split_once("://") {
        Some((scheme, rest)) => (Some(scheme), rest),
        None => (None, text),
    };
    let rest = rest.trim_end_matches('/');
    let uri: Uri = format!("https://{rest}/").parse().map_err(|_| invalid())?;
    let host = uri
        .host()
        .filter(|host| !host.is_empty())
        .ok_or_else(invalid)?;
    let tolerant = insecure || is_loopback(host);
    let trust = if tolerant {
        Trust::Any
    } else {
        Trust::Verified
    };
    let endpoint = |scheme: &str| Endpoint {
        base: format!("{scheme}://{rest}"),
        trust,
        is_origin,
    };
    match scheme {
        Some("https") => Ok(vec![endpoint("https")]),
        Some("http") if tolerant => Ok(vec![endpoint("http")]),
        Some("http") => Err(RegistryError::Insecure {
            url: text.to_owned(),
        }),
        Some(_) => Err(invalid()),
        None if tolerant => Ok(vec![endpoint("https"), endpoint("http")]),
        None => Ok(vec![endpoint("https")]),
    }
}

/// Whether a host is this machine itself, where plain HTTP cannot be listened to by others.
pub(crate) fn is_loopback(host: &str) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    match host.parse::<IpAddr>() {
        Ok(address) => address.is_loopback(),
        Err(_) => host.eq_ignore_ascii_case("localhost"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bases(config: Option<RegistryConfig>, domain: &str) -> Result<Vec<String>> {
        let by_name = config
            .map(|config| (domain.to_owned(), config))
            .into_iter()
            .collect();
        let registries = Registries {
            by_name,
            credentials: Credentials::default(),
        };
        let endpoints = registries.endpoints(domain)?;
        Ok(endpoints
            .into_iter()
            .map(|endpoint| endpoint.base)
            .collect())
    }

    #[test]
    fn mirrors_come_first_and_a_location_stands_in() {
        let config = |mirrors: &[&str], location: Option<&str>, insecure| {
            let mirrors = mirrors.iter().map(|&mirror| mirror.to_owned()).collect();
            Some(RegistryConfig {
                mirrors,
                location: location.map(str::to_owned),
                insecure,
            })
        };
        let hub = "https://registry-1.docker.io";
        for (config, domain, want) in [
            (None, "docker.io", vec![hub]),
            (None, "r.lan:5000", vec!["https://r.lan:5000"]),
            (
                None,
                "localhost:5000",
                vec!["https://localhost:5000", "http://localhost:5000"],
            ),
            (
                None,
                "127.1.2.3:1",
                vec!["https://127.1.2.3:1", "http://127.1.2.3:1"],
            ),
            (None, "[::1]:1", vec!["https://[::1]:1", "http://[::1]:1"]),
            (
                config(&["http://127.0.0.1:9/"], None, false),
                "docker.io",
                vec!["http://127.0.0.1:9", hub],
            ),
            (
                config(&["https://m.lan/hub"], None, false),
                "docker.io",
                vec!["https://m.lan/hub", hub],
            ),
            (
                config(&[], Some("http://localhost:5"), false),
                "docker.io",
                vec!["http://localhost:5"],
            ),
            (
                config(&[], Some("http://r.lan"), true),
                "docker.io",
                vec!["http://r.lan"],
            ),
            (
                config(&[], None, true),
                "r.lan",
                vec!["https://r.lan", "http://r.lan"],
            ),
        ] {
            assert_eq!(bases(config, domain).unwrap(), want);
        }
        let plain = bases(config(&[], Some("http://r.lan"), false), "docker.io");
        assert!(matches!(plain, Err(RegistryError::Insecure { .. })));
        for bad in ["ftp://x", "http://", "", "a b"] {
            let answer = bases(config(&[bad], None, true), "docker.io");
            assert!(
                matches!(answer, Err(RegistryError::InvalidUrl { .. })),
                "{bad}"
            );
        }
    }
}
