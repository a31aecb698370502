//! `--network`: a name, or `name=N,alias=A,ip=…`.

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::container::NetworkAttachment;
use crate::csv::{CsvError, parse_record};
use crate::flags::modes::check_mac_address;
use crate::go_syntax::{NumberError, parse_atoi};

/// Why a network is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NetworkFlagError {
    /// Not a record of comma-separated values.
    #[error(transparent)]
    Csv(#[from] CsvError),
    /// A field that is no `key=value`.
    #[error("invalid field {0}")]
    Field(String),
    /// A key that there is not.
    #[error("invalid field key {0}")]
    Key(String),
    /// `driver-opt=` without a pair.
    #[error("invalid key value pair format in driver options")]
    DriverOption,
    /// `gw-priority=` without a number.
    #[error("invalid gw-priority ({text})")]
    GatewayPriority {
        /// The value.
        text: String,
        /// Why it is no number.
        source: NumberError,
    },
    /// An address that is none.
    #[error("invalid {family} address: {text}")]
    Address {
        /// `IPv4`, `IPv6`, `MAC` or `link-local`.
        family: &'static str,
        /// The value.
        text: String,
    },
    /// The long form without `name=`.
    #[error("network name/id is not specified")]
    NoName,
}

/// Reads the value of `--network`. The long form is one with a word on both sides of a `=`.
pub fn parse_network(text: &str) -> Result<NetworkAttachment, NetworkFlagError> {
    let mut attachment = NetworkAttachment::default();
    if !is_long_form(text) {
        attachment.target = text.to_owned();
        return Ok(attachment);
    }
    for field in parse_record(text)? {
        let (key, value) = field
            .split_once('=')
            .ok_or_else(|| NetworkFlagError::Field(field.clone()))?;
        apply(&mut attachment, &key.trim().to_lowercase(), value.trim())?;
    }
    if attachment.target.is_empty() {
        return Err(NetworkFlagError::NoName);
    }
    Ok(attachment)
}

fn is_long_form(text: &str) -> bool {
    let is_word = |byte: Option<&u8>| byte.is_some_and(|&b| b.is_ascii_alphanumeric() || b == b'_');
    let bytes = text.as_bytes();
    text.match_indices('=')
        .any(|(index, _)| is_word(bytes[..index].last()) && is_word(bytes.get(index + 1)))
}

fn apply(
    attachment: &mut NetworkAttachment,
    key: &str,
    value: &str,
) -> Result<(), NetworkFlagError> {
    let text = value.to_owned();
    let address = |family| NetworkFlagError::Address {
        family,
        text: value.to_owned(),
    };
    match key {
        "name" => attachment.target = text,
        "alias" => attachment.aliases.push(text),
        "ip" => {
            value.parse::<Ipv4Addr>().map_err(|_| address("IPv4"))?;
            attachment.ipv4 = text;
        }
        "ip6" => {
            value.parse::<Ipv6Addr>().map_err(|_| address("IPv6"))?;
            attachment.ipv6 = text;
        }
        "mac-address" => {
            check_mac_address(value).map_err(|_| address("MAC"))?;
            attachment.mac_address = text;
        }
        "link-local-ip" => {
            value
                .parse::<std::net::IpAddr>()
                .map_err(|_| address("link-local"))?;
            attachment.link_local_ips.push(text);
        }
        "driver-opt" => {
            let (key, value) = value
                .split_once('=')
                .ok_or(NetworkFlagError::DriverOption)?;
            let (key, value) = (key.trim().to_owned(), value.trim().to_owned());
            attachment.driver_options.insert(key, value);
        }
        "gw-priority" => {
            let priority = parse_atoi(value);
            attachment.gateway_priority =
                priority.map_err(|source| NetworkFlagError::GatewayPriority { text, source })?;
        }
        _ => return Err(NetworkFlagError::Key(key.to_owned())),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_and_long_forms_are_read() {
        for name in ["bridge", "container:abc", "a:b", "", "x="] {
            assert_eq!(parse_network(name).unwrap().target, name);
        }
        let long = "name=Net,alias=a,alias=b,ip=10.0.0.2,ip6=fd00::2,driver-opt=k=v,\
                    mac-address=92:d0:c6:0a:29:33,link-local-ip=169.254.1.1,gw-priority=-5";
        let network = parse_network(long).unwrap();
        assert_eq!(network.target, "Net");
        assert_eq!(network.aliases, ["a", "b"]);
        assert_eq!(
            (network.ipv4.as_str(), network.ipv6.as_str()),
            ("10.0.0.2", "fd00::2")
        );
        assert_eq!(network.driver_options["k"], "v");
        assert_eq!(network.link_local_ips, ["169.254.1.1"]);
        assert_eq!(network.gateway_priority, -5);
    }

    #[test]
    fn bad_networks_are_refused() {
        for (text, want) in [
            ("alias=a", "network name/id is not specified"),
            ("name=a,b", "invalid field b"),
            ("name=a,what=b", "invalid field key what"),
            (
                "name=a,driver-opt=x",
                "invalid key value pair format in driver options",
            ),
            ("name=a,gw-priority=x", "invalid gw-priority (x)"),
            ("name=a,ip=::1", "invalid IPv4 address: ::1"),
            ("name=a,ip6=1.2.3.4", "invalid IPv6 address: 1.2.3.4"),
        ] {
            assert_eq!(parse_network(text).unwrap_err().to_string(), want);
        }
    }
}
