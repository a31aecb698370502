//! Ports: the grammars of `-p` and `--expose`.
//!
//! `-p [ip:][hostPort[-end]:]containerPort[-end][/tcp|udp|sctp]` as Docker's go-connections reads
//! it, held to `corpus/golden/ports-golden.jsonl`; the texts of errors are Docker's.

use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::go_syntax::{NumberError, parse_uint};

/// A transport protocol that ports belong to.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// TCP.
    #[default]
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
}

impl Protocol {
    /// The lower-case name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Sctp => "sctp",
        }
    }

    fn parse(text: &str) -> Result<Self, PortError> {
        [Self::Tcp, Self::Udp, Self::Sctp]
            .into_iter()
            .find(|protocol| protocol.name().eq_ignore_ascii_case(text))
            .ok_or_else(|| PortError::Protocol(text.to_owned()))
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.name())
    }
}

/// Why a port is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PortError {
    /// Nothing stands where the container's port belongs.
    #[error("no port specified: {0}<empty>")]
    NoPort(String),
    /// Neither TCP, UDP nor SCTP.
    #[error("invalid proto: {0}")]
    Protocol(String),
    /// Brackets that do not enclose the address.
    #[error("invalid IP address {address}: address {address}:: {problem}")]
    Brackets {
        /// The address with its brackets.
        address: String,
        /// What is wrong with them.
        problem: &'static str,
    },
    /// No address.
    #[error("invalid IP address: {0}")]
    Address(String),
    /// The container's port or range is none.
    #[error("invalid containerPort: {0}")]
    ContainerPort(String),
    /// The host's port or range is none.
    #[error("invalid hostPort: {0}")]
    HostPort(String),
    /// Two ranges of different length.
    #[error("invalid ranges specified for container and host Ports: {container} and {host}")]
    Ranges {
        /// The container's.
        container: String,
        /// The host's.
        host: String,
    },
    /// A part of the long form of `-p` that is no `name=value`.
    #[error("invalid publish opts format (should be name=value but got '{0}')")]
    PublishOption(String),
    /// A host's port given to `--expose`.
    #[error("invalid port format for --expose: {0}")]
    ExposeFormat(String),
    /// `--expose` with a range that is none.
    #[error("invalid range format for --expose: {text}, error: {problem}")]
    ExposeRange {
        /// What was given.
        text: String,
        /// What is wrong with it.
        problem: PortRangeError,
    },
}

/// Why a text is no port and no range of ports.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PortRangeError {
    /// No text.
    #[error("empty string specified for ports")]
    Empty,
    /// The end lies before the start.
    #[error("invalid range specified for port: {0}")]
    Backwards(String),
    /// Not a number of 16 bits.
    #[error(transparent)]
    Number(#[from] NumberError),
}

/// One port or several in a row, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PortRange {
    /// The first port.
    pub start: u16,
    /// The last port, not before the first.
    pub end: u16,
}

impl PortRange {
    /// Reads `80` or `8000-8010`.
    pub fn parse(text: &str) -> Result<Self, PortRangeError> {
        if text.is_empty() {
            return Err(PortRangeError::Empty);
        }
        let (start, end) = text.split_once('-').unwrap_or((text, text));
        let (start, end) = (parse_port(start)?, parse_port(end)?);
        if end < start {
            return Err(PortRangeError::Backwards(text.to_owned()));
        }
        Ok(Self { start, end })
    }

    fn last_offset(self) -> u16 {
        self.end - self.start
    }
}

impl fmt::Display for PortRange {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.start == self.end {
            write!(formatter, "{}", self.start)
        } else {
            write!(formatter, "{}-{}", self.start, self.end)
        }
    }
}

fn parse_port(text: &str) -> Result<u16, NumberError> {
    parse_uint(text, 10, 16).map(|port| port as u16)
}

/// A port of a container, printed `80/tcp`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ContainerPort {
    /// The number.
    pub number: u16,
    /// The protocol.
    pub protocol: Protocol,
}

impl ContainerPort {
    /// Reads `80`, `80/udp`: what images expose and `docker port` asks for.
    pub fn parse(text: &str) -> Result<Self, PortError> {
        let (number, protocol) = split_protocol(text);
        let protocol = Protocol::parse(protocol)?;
        let number = parse_port(number).map_err(|_| PortError::ContainerPort(number.to_owned()))?;
        Ok(Self { number, protocol })
    }
}

impl fmt::Display for ContainerPort {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.number, self.protocol)
    }
}

/// One port of a container and where it appears on the host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortMapping {
    /// The container's port.
    pub container: ContainerPort,
    /// The host's address as given, a valid one or empty for all.
    pub host_ip: String,
    /// The host's port; a range stands for any free one of it, `None` and 0 for any at all.
    pub host_ports: Option<PortRange>,
}

impl PortMapping {
    /// The host's address.
    pub fn host_address(&self) -> Option<IpAddr> {
        self.host_ip.parse().ok()
    }

    /// The host's port in Docker's words: empty, a number or a range.
    pub fn host_port_text(&self) -> String {
        self.host_ports
            .map_or_else(String::new, |ports| ports.to_string())
    }
}

impl fmt::Display for PortMapping {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host_ip.contains(':') {
            write!(formatter, "[{}]:", self.host_ip)?;
        } else if !self.host_ip.is_empty() {
            write!(formatter, "{}:", self.host_ip)?;
        }
        if !self.host_ip.is_empty() || self.host_ports.is_some() {
            write!(formatter, "{}:", self.host_port_text())?;
        }
        self.container.fmt(formatter)
    }
}

/// Reads `-p`, its short form and the long one, `published=8080,target=80,protocol=tcp`.
pub fn parse_publish(text: &str) -> Result<Vec<PortMapping>, PortError> {
    if !text.contains('=') {
        return parse_mappings(text);
    }
    let (mut published, mut target, mut protocol) = ("", "", "tcp");
    for option in text.split(',') {
        match option.split_once('=') {
            Some(("published", value)) => published = value,
            Some(("target", value)) => target = value,
            Some(("protocol", value)) => protocol = value,
            Some((key, _)) if !key.is_empty() => {}
            _ => return Err(PortError::PublishOption(option.to_owned())),
        }
    }
    parse_mappings(&format!("{published}:{target}/{protocol}"))
}

/// Reads the short form of `-p`: one mapping per port of the container, in their order.
pub fn parse_mappings(text: &str) -> Result<Vec<PortMapping>, PortError> {
    let (address, host, container) = split_mapping(text);
    let (container, protocol) = split_protocol(container);
    if container.is_empty() {
        return Err(PortError::NoPort(text.to_owned()));
    }
    let protocol = Protocol::parse(protocol)?;
    let host_ip = parse_host_address(address)?;
    let container_ports =
        PortRange::parse(container).map_err(|_| PortError::ContainerPort(container.to_owned()))?;
    let host_ports = match host {
        "" => None,
        host => Some(PortRange::parse(host).map_err(|_| PortError::HostPort(host.to_owned()))?),
    };
    let is_one = container_ports.last_offset() == 0;
    if let Some(host_ports) = host_ports
        && !is_one
        && host_ports.last_offset() != container_ports.last_offset()
    {
        let (container, host) = (container.to_owned(), host.to_owned());
        return Err(PortError::Ranges { container, host });
    }
    let mapping = |offset: u16| PortMapping {
        container: ContainerPort {
            number: container_ports.start + offset,
            protocol,
        },
        host_ip: host_ip.to_owned(),
        host_ports: host_ports.map(|ports| match is_one {
            true => ports,
            false => PortRange {
                start: ports.start + offset,
                end: ports.start + offset,
            },
        }),
    };
    Ok((0..=container_ports.last_offset()).map(mapping).collect())
}

/// As [`parse_mappings`], in the order of Compose, which sorts ports by their text.
pub fn parse_compose_mappings(text: &str) -> Result<Vec<PortMapping>, PortError> {
    let mut mappings = parse_mappings(text)?;
    mappings.sort_by_cached_key(|mapping| mapping.container.to_string());
    Ok(mappings)
}

/// Reads `--expose 80`, `80-90/udp`.
pub fn parse_expose(text: &str) -> Result<Vec<ContainerPort>, PortError> {
    if text.contains(':') {
        return Err(PortError::ExposeFormat(text.to_owned()));
    }
    let (ports, protocol) = split_protocol(text);
    let range = PortRange::parse(ports).map_err(|problem| PortError::ExposeRange {
        text: text.to_owned(),
        problem,
    })?;
    let protocol = Protocol::parse(protocol)?;
    Ok((range.start..=range.end)
        .map(|number| ContainerPort { number, protocol })
        .collect())
}

/// Splits from the right, because an address without brackets has colons too.
fn split_mapping(text: &str) -> (&str, &str, &str) {
    let Some((rest, container)) = text.rsplit_once(':') else {
        return ("", "", text);
    };
    match rest.rsplit_once(':') {
        Some((address, host)) => (address, host, container),
        None => ("", rest, container),
    }
}

fn split_protocol(text: &str) -> (&str, &str) {
    match text.split_once('/') {
        Some(("", _)) => ("", "tcp"),
        Some((port, "")) => (port, "tcp"),
        Some((port, protocol)) => (port, protocol),
        None => (text, "tcp"),
    }
}

/// Checks an address; brackets around it are taken off.
fn parse_host_address(text: &str) -> Result<&str, PortError> {
    let address = if let Some(inner) = text.strip_prefix('[') {
        let brackets = |problem| PortError::Brackets {
            address: text.to_owned(),
            problem,
        };
        let (inner, after) = inner
            .split_once(']')
            .ok_or_else(|| brackets("missing ']' in address"))?;
        match after.as_bytes().first() {
            None => {}
            Some(b':') => return Err(brackets("too many colons in address")),
            Some(_) => return Err(brackets("missing port in address")),
        }
        if inner.contains('[') {
            return Err(brackets("unexpected '[' in address"));
        }
        inner
    } else {
        text
    };
    if !address.is_empty() && address.parse::<IpAddr>().is_err() {
        return Err(PortError::Address(address.to_owned()));
    }
    Ok(address)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn docker_json(mapping: &PortMapping) -> serde_json::Value {
        json!({
            "Port": mapping.container.to_string(),
            "Binding": {"HostIp": mapping.host_ip, "HostPort": mapping.host_port_text()},
        })
    }

    fn compose_json(mapping: &PortMapping) -> serde_json::Value {
        let mut json = json!({"mode": "ingress", "protocol": mapping.container.protocol.name()});
        if !mapping.host_ip.is_empty() {
            json["host_ip"] = mapping.host_ip.as_str().into();
        }
        if mapping.container.number != 0 {
            json["target"] = mapping.container.number.into();
        }
        if mapping.host_ports.is_some() {
            json["published"] = mapping.host_port_text().into();
        }
        json
    }

    #[test]
    fn recorded_mappings_agree() {
        for case in crate::golden::read("ports-golden.jsonl") {
            let text = case["in"].as_str().unwrap();
            let docker = parse_mappings(text)
                .map(|ports| ports.iter().map(docker_json).collect::<serde_json::Value>());
            let compose = parse_compose_mappings(text).map(|ports| {
                ports
                    .iter()
                    .map(compose_json)
                    .collect::<serde_json::Value>()
            });
            for (got, value, error) in [
                (docker, "map", "error"),
                (compose, "compose", "compose_error"),
            ] {
                match got {
                    Ok(json) => {
                        assert!(case[error].is_null(), "{text}: {}", case[error]);
                        assert_eq!(case[value], json, "{text}");
                    }
                    Err(problem) => assert_eq!(case[error], problem.to_string(), "{text}"),
                }
            }
        }
    }

    #[test]
    fn mappings_print_as_they_are_read() {
        for text in [
            "80/tcp",
            "8080:80/udp",
            "1.2.3.4::80/tcp",
            "[::1]:1-3:80/sctp",
            "0:80/tcp",
        ] {
            assert_eq!(parse_mappings(text).unwrap()[0].to_string(), text);
        }
    }

    #[test]
    fn the_long_form_of_publish_is_read() {
        let mappings = parse_publish("published=8080,target=80,protocol=udp,mode=host").unwrap();
        assert_eq!(mappings[0].to_string(), "8080:80/udp");
        let error = parse_publish("target=80,x").unwrap_err().to_string();
        assert_eq!(
            error,
            "invalid publish opts format (should be name=value but got 'x')"
        );
    }

    #[test]
    fn exposed_ports_have_the_errors_of_docker() {
        let ports = parse_expose("80-82/UDP").unwrap();
        assert_eq!(ports.len(), 3);
        assert_eq!(ports[2].to_string(), "82/udp");
        for (text, want) in [
            (
                "80-70",
                "invalid range format for --expose: 80-70, error: invalid range specified for \
                 port: 80-70",
            ),
            ("80:80", "invalid port format for --expose: 80:80"),
            ("80/x", "invalid proto: x"),
            (
                "",
                "invalid range format for --expose: , error: empty string specified for ports",
            ),
            (
                "a",
                "invalid range format for --expose: a, error: strconv.ParseUint: parsing \"a\": \
                 invalid syntax",
            ),
        ] {
            assert_eq!(parse_expose(text).unwrap_err().to_string(), want);
        }
    }

    #[test]
    fn odd_input_is_refused() {
        for text in [
            "1-2-3",
            "+80",
            "80/tcp/udp",
            "[::1]x:80:80",
            "[::1]:x:80:80",
            "[[::1]:1:1",
        ] {
            assert!(parse_mappings(text).is_err(), "{text}");
        }
        assert_eq!(parse_mappings("1-65535:1-65535").unwrap().len(), 65535);
        assert_eq!(ContainerPort::parse("80").unwrap().to_string(), "80/tcp");
    }
}
