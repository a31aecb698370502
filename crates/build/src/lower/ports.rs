//! The ports of EXPOSE.

use std::net::IpAddr;

/// Why a port is refused, in BuildKit's words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum ExposeError {
    #[error("invalid port: {}: no port specified", types::go_syntax::quote(.0))]
    NoPort(String),
    #[error("invalid port: {}: invalid proto: {protocol}", types::go_syntax::quote(.port))]
    Protocol { port: String, protocol: String },
    #[error("invalid IP address: {0}")]
    Address(String),
    #[error("invalid containerPort: {0}")]
    Container(String),
    #[error("invalid hostPort: {0}")]
    Host(String),
    #[error("invalid ranges specified for container and host Ports: {container} and {host}")]
    Ranges { container: String, host: String },
}

/// A range of ports as EXPOSE has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Exposed {
    pub(super) first: u16,
    pub(super) last: u16,
    /// In lower case.
    pub(super) protocol: &'static str,
    /// The protocol was written in another case.
    pub(super) has_odd_case: bool,
    /// With an address or a port of the host, which mean nothing here.
    pub(super) has_host: bool,
}

/// Reads `[address:][host port:]port[-port][/protocol]`.
pub(super) fn parse(text: &str) -> Result<Exposed, ExposeError> {
    let (before, container) = text.rsplit_once(':').unwrap_or(("", text));
    let (address, host) = before.rsplit_once(':').unwrap_or(("", before));
    let (ports, protocol) = container.split_once('/').unwrap_or((container, ""));
    if ports.is_empty() {
        return Err(ExposeError::NoPort(text.to_owned()));
    }
    let known = match protocol.to_lowercase().as_str() {
        "" | "tcp" => "tcp",
        "udp" => "udp",
        "sctp" => "sctp",
        _ => {
            return Err(ExposeError::Protocol {
                port: text.to_owned(),
                protocol: protocol.to_owned(),
            });
        }
    };
    check_address(address)?;
    let (first, last) = range(ports).ok_or_else(|| ExposeError::Container(ports.to_owned()))?;
    if !host.is_empty() {
        let (host_first, host_last) =
            range(host).ok_or_else(|| ExposeError::Host(host.to_owned()))?;
        if last - first != host_last - host_first && last != first {
            return Err(ExposeError::Ranges {
                container: ports.to_owned(),
                host: host.to_owned(),
            });
        }
    }
    Ok(Exposed {
        first,
        last,
        protocol: known,
        has_odd_case: !protocol.is_empty() && protocol != known,
        has_host: !address.is_empty() || !host.is_empty(),
    })
}

fn check_address(address: &str) -> Result<(), ExposeError> {
    let bare = address
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .unwrap_or(address);
    if bare.is_empty() || bare.parse::<IpAddr>().is_ok() {
        return Ok(());
    }
    Err(ExposeError::Address(bare.to_owned()))
}

fn range(text: &str) -> Option<(u16, u16)> {
    let number = |text: &str| {
        let digits = text.strip_prefix('+').unwrap_or(text);
        let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        is_number.then(|| digits.parse().ok()).flatten()
    };
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (number(first)?, number(last)?);
    (first <= last).then_some((first, last))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_ranges_and_protocols_are_read() {
        let read = |text| parse(text).map(|port| (port.first, port.last, port.protocol));
        assert_eq!(read("80"), Ok((80, 80, "tcp")));
        assert_eq!(read("80-82/UDP"), Ok((80, 82, "udp")));
        assert_eq!(read("127.0.0.1:8080:80/sctp"), Ok((80, 80, "sctp")));
        assert_eq!(read("[::1]:8080:80"), Ok((80, 80, "tcp")));
        assert_eq!(read("8080-8090:80"), Ok((80, 80, "tcp")));
        assert!(parse("8080:80").unwrap().has_host);
        assert!(parse("80/Tcp").unwrap().has_odd_case);
        for (text, want) in [
            ("", "invalid port: \"\": no port specified"),
            ("80/x", "invalid port: \"80/x\": invalid proto: x"),
            ("70000", "invalid containerPort: 70000"),
            ("9-8", "invalid containerPort: 9-8"),
            ("x:80", "invalid hostPort: x"),
            (
                "1-2:80-90",
                "invalid ranges specified for container and host Ports: 80-90 and 1-2",
            ),
            ("1.2.3:1:2", "invalid IP address: 1.2.3"),
        ] {
            assert_eq!(parse(text).unwrap_err().to_string(), want);
        }
    }
}
