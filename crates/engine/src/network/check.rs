//! What a container asks of its networks, checked before anything is made: what could only fail at the
//! start, and texts that would become lines of their own in `/etc/hosts` and `/etc/resolv.conf`.

use std::net::IpAddr;

use network::subnet::{HostAddress, Prefix};
use storage::networks::{NetworkRecord, SubnetRecord};
use types::container::{ContainerSpec, NetworkAttachment};
use types::port::parse_publish;

use super::attach::target;
use super::options::EndpointOptions;
use super::{DEFAULT, PREDEFINED};
use crate::Engine;
use crate::error::EngineError;

/// So many further addresses does a container take in one network.
const LINK_LOCAL_MAX: usize = 64;

impl Engine {
    /// Checks what a new container asks of its networks. One that is not there yet is no error before
    /// the start.
    ///
    /// # Errors
    /// Docker's words.
    pub(crate) fn check_networks(&self, spec: &ContainerSpec) -> Result<(), EngineError> {
        check_words(spec)?;
        for link in &spec.links {
            self.link(link)?;
        }
        for one in &spec.networks {
            self.check_place(one)?;
        }
        for text in &spec.publish {
            let mappings = parse_publish(text).unwrap_or_default();
            // Docker's grammar takes it, and the start fails at the firewall.
            if mappings.iter().any(|one| one.container.number == 0) {
                return Err(EngineError::invalid(format!(
                    "invalid containerPort: 0 (in '{text}'): nothing can listen there"
                )));
            }
        }
        Ok(())
    }

    /// Checks what is asked of one network.
    pub(super) fn check_place(&self, one: &NetworkAttachment) -> Result<(), EngineError> {
        EndpointOptions::parse(one)?;
        for alias in &one.aliases {
            check_word("alias", alias)?;
        }
        for link in &one.links {
            check_word("link", link)?;
            self.link(link)?;
        }
        let name = target(one);
        let network = match self.store().find_network(name) {
            Ok(network) => network,
            Err(_) if name == DEFAULT || PREDEFINED.contains(&name) => NetworkRecord {
                name: name.to_owned(),
                ..NetworkRecord::default()
            },
            Err(_) => return Ok(()),
        };
        check_addresses(one, &network)
    }
}

/// Whether the network has what addresses are asked for, as far as its record tells.
pub(super) fn check_addresses(
    asked: &NetworkAttachment,
    network: &NetworkRecord,
) -> Result<(), EngineError> {
    let refuse = |why: String| {
        Err(EngineError::invalid(format!(
            "invalid config for network {}: invalid endpoint settings: {why}",
            network.name
        )))
    };
    for address in link_local(asked)? {
        if PREDEFINED.contains(&network.name.as_str()) {
            return refuse(format!(
                "there is no interface of the container's own for the link-local IP address {}",
                address.address
            ));
        }
        let contains = |one: &SubnetRecord| {
            let subnet: Option<Prefix> = one.subnet.parse().ok();
            subnet.is_some_and(|subnet| subnet.contains(address.address))
        };
        if network.subnets.iter().any(contains) {
            return refuse(format!(
                "the link-local IP address {} is one of the network's own; use --ip or --ip6",
                address.address
            ));
        }
    }
    for (given, family) in [(&asked.ipv4, "IPv4"), (&asked.ipv6, "IPv6")] {
        if given.is_empty() {
            continue;
        }
        if network.name == DEFAULT || network.driver != "bridge" {
            let why = "user specified IP address is supported on user defined networks only";
            return refuse(why.to_owned());
        }
        let address: Option<IpAddr> = given.parse().ok();
        let is_of_family = |one: &IpAddr| one.is_ipv4() == (family == "IPv4");
        let Some(address) = address.filter(is_of_family) else {
            return refuse(format!("invalid {family} address: {given}"));
        };
        let contains = |one: &SubnetRecord| {
            let subnet: Option<Prefix> = one.subnet.parse().ok();
            subnet.is_some_and(|subnet| subnet.is_host(address))
        };
        if !network.subnets.iter().any(contains) {
            return refuse(format!(
                "no configured subnet or ip-range contain the IP address {address}"
            ));
        }
    }
    Ok(())
}

/// The further addresses that are asked for. Docker takes any address for one, its documentation's
/// examples are not link-local either; what no interface can answer by is refused.
pub(super) fn link_local(asked: &NetworkAttachment) -> Result<Vec<HostAddress>, EngineError> {
    let given = &asked.link_local_ips;
    if given.len() > LINK_LOCAL_MAX {
        return Err(EngineError::invalid(format!(
            "a container takes {LINK_LOCAL_MAX} link-local IP addresses in a network, not {}",
            given.len()
        )));
    }
    let parse = |text: &String| -> Option<HostAddress> {
        let address: IpAddr = text.trim().parse().ok()?;
        let (length, is_unicast) = match address {
            IpAddr::V4(one) => (16, !one.is_broadcast() && one.octets()[0] < 240),
            IpAddr::V6(one) => (64, one.to_ipv4_mapped().is_none()),
        };
        let is_special =
            address.is_unspecified() || address.is_loopback() || address.is_multicast();
        let found = HostAddress::new(address, length)?;
        (is_unicast && !is_special && found.network().is_host(address)).then_some(found)
    };
    given
        .iter()
        .map(|text| {
            let found = parse(text);
            found.ok_or_else(|| {
                EngineError::invalid(format!("invalid link-local IP address: {text}"))
            })
        })
        .collect()
}

fn check_words(spec: &ContainerSpec) -> Result<(), EngineError> {
    check_word("hostname", &spec.hostname)?;
    check_word("domainname", &spec.domainname)?;
    for entry in &spec.extra_hosts {
        check_word("hostname", entry)?;
    }
    for domain in &spec.dns_search {
        check_word("search domain", domain)?;
    }
    for option in &spec.dns_options {
        check_word("DNS option", option)?;
    }
    for link in &spec.links {
        check_word("link", link)?;
    }
    Ok(())
}

/// A word of a line: neither blanks nor anything that ends a line.
fn check_word(what: &str, text: &str) -> Result<(), EngineError> {
    let is_out_of_place = |one: char| one.is_whitespace() || one.is_control();
    match text.contains(is_out_of_place) {
        true => Err(EngineError::invalid(format!(
            "invalid {what} format: {text:?}"
        ))),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn further_addresses_are_a_hosts() {
        let parse = |given: &[&str]| {
            link_local(&NetworkAttachment {
                link_local_ips: given.iter().map(|one| (*one).to_owned()).collect(),
                ..NetworkAttachment::default()
            })
        };
        let good = ["169.254.34.68", "fe80::3468", "57.123.22.11", "169.254.0.1"];
        let texts: Vec<String> = parse(&good)
            .unwrap()
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(
            texts,
            [
                "169.254.34.68/16",
                "fe80::3468/64",
                "57.123.22.11/16",
                "169.254.0.1/16"
            ]
        );
        for bad in [
            "",
            "x",
            "0.0.0.0",
            "::",
            "127.0.0.2",
            "::1",
            "224.0.0.1",
            "ff02::1",
            "240.0.0.1",
            "255.255.255.255",
            "169.254.0.0",
            "169.254.255.255",
            "fe80::",
            "::ffff:10.0.0.1",
            "fe80::1%eth0",
            "169.254.1.1/16",
        ] {
            let error = parse(&[bad]).unwrap_err().to_string();
            assert!(error.contains("invalid link-local IP address"), "{error}");
        }
        assert!(parse(&["169.254.1.1"; LINK_LOCAL_MAX + 1]).is_err());
    }

    #[test]
    fn words_stay_on_their_line() {
        for bad in ["a\nb", "a b", "a\tb", "a\rb", "a\u{85}b", "a\u{0}"] {
            let specs = [
                ContainerSpec {
                    hostname: bad.into(),
                    ..ContainerSpec::default()
                },
                ContainerSpec {
                    domainname: bad.into(),
                    ..ContainerSpec::default()
                },
                ContainerSpec {
                    extra_hosts: vec![format!("{bad}:1.2.3.4")],
                    ..ContainerSpec::default()
                },
                ContainerSpec {
                    dns_search: vec![bad.into()],
                    ..ContainerSpec::default()
                },
                ContainerSpec {
                    dns_options: vec![bad.into()],
                    ..ContainerSpec::default()
                },
                ContainerSpec {
                    links: vec![format!("a:{bad}")],
                    ..ContainerSpec::default()
                },
            ];
            for spec in specs {
                assert!(check_words(&spec).is_err(), "{spec:?}");
            }
        }
        assert!(check_word("hostname", "web-1.example").is_ok());
    }
}
