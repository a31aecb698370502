//! Doors of the fuzz targets (`fuzz/`) to the parsers of what registries, name servers and files say.
//!
//! Nobody else calls them. Each hands bytes to a parser that is private otherwise and asserts what
//! must hold of its answer, whatever the bytes are.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use crate::config::{Endpoint, Registries, RegistryConfig, Trust};
use crate::credentials::Credentials;
use crate::{auth, client, http, refusal, resolver};

/// A registry's answers: `WWW-Authenticate`, the bodies of errors, tokens and tags, `Location`.
pub fn answers(text: &str) {
    let public = endpoint("https://registry.example", Trust::Verified);
    let local = endpoint("http://127.0.0.1:5000", Trust::Any);
    if let Some(auth::Challenge::Bearer { realm, .. }) = auth::Challenge::parse(text) {
        let plain = |endpoint| auth::allowed(&realm, endpoint).is_ok_and(|(_, plain)| plain);
        assert!(!plain(&public), "an account would go out readable");
        if plain(&local) {
            let (_, host, _) =
                http::origin(&realm).expect("invariant: allowed realms are addresses");
            assert_eq!(host, "127.0.0.1", "a token of another host by plain HTTP");
        }
    }
    let said = refusal::words(text.as_bytes());
    assert!(
        !(said.code + &said.message).contains(char::is_control),
        "a registry would steer the terminal"
    );
    let _ = client::tags(text.as_bytes());
    if let Ok(token) = auth::token(text.as_bytes()) {
        assert!(token.bytes().all(|byte| byte.is_ascii_graphic()));
    }
    for base in [&public.base, &local.base] {
        if let Some(url) = http::resolve(base, text) {
            let _ = http::origin(&url);
        }
    }
    assert!(http::encode_query(text).is_ascii());
}

/// `~/.docker/config.json` and the addresses of the configuration.
pub fn settings(text: &str) {
    let credentials = Credentials::parse(text);
    let mut registries = Registries {
        credentials,
        ..Registries::default()
    };
    let config = RegistryConfig {
        mirrors: text.lines().map(str::to_owned).collect(),
        location: text.lines().next().map(str::to_owned),
        insecure: text.len().is_multiple_of(2),
    };
    registries.by_name.insert("registry.example".into(), config);
    let _ = registries.endpoints("registry.example");
    let _ = registries.endpoints(text);
}

/// `/etc/resolv.conf` and `/etc/hosts`; the first line is the name that is looked up.
pub fn resolver_files(text: &str) {
    let (name, file) = text.split_once('\n').unwrap_or((text, ""));
    let settings = resolver::Settings::parse(file);
    assert!(!settings.servers.is_empty() && settings.servers.len() <= resolver::SERVERS_MAX);
    let candidates = settings.candidates(name, name.ends_with('.'));
    assert!(candidates.len() <= resolver::SEARCH_MAX + 1);
    for candidate in &candidates {
        let _ = resolver::question(candidate, simple_dns::TYPE::A);
    }
    let _ = resolver::find_in_hosts(file, name);
}

/// An answer of a name server.
pub fn name_server_answer(bytes: &[u8]) {
    let server = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 53);
    let Ok(answer) = simple_dns::Packet::parse(bytes) else {
        return;
    };
    let _ = resolver::repeats(&answer, "registry.example");
    if let Ok(addresses) = resolver::read_answer(&answer, server) {
        assert!(addresses.len() <= resolver::ADDRESSES_MAX);
    }
}

fn endpoint(base: &str, trust: Trust) -> Endpoint {
    Endpoint {
        base: base.to_owned(),
        trust,
        is_origin: true,
    }
}
