//! Ports: the PORTS column of `ps` and the lines of `port`.

use std::collections::BTreeMap;

use super::super::text::natural_order;

/// A port of a container in a list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Port {
    /// Address on the host; empty when only exposed.
    pub(crate) ip: String,
    /// Port of the container.
    pub(crate) private: u16,
    /// Port of the host; 0 when only exposed.
    pub(crate) public: u16,
    /// `tcp`, `udp` or `sctp`.
    pub(crate) protocol: String,
}

/// Consecutive ports that print as one range.
struct Group<'a> {
    ip: &'a str,
    protocol: &'a str,
    first: u16,
    last: u16,
}

impl Group<'_> {
    fn text(&self) -> String {
        let (first, last, protocol) = (self.first, self.last, self.protocol);
        let range = if first == last {
            first.to_string()
        } else {
            format!("{first}-{last}")
        };
        if self.ip.is_empty() {
            return format!("{range}/{protocol}");
        }
        format!("{}->{range}/{protocol}", host_port(self.ip, &range))
    }
}

/// `0.0.0.0:80`, `[::]:80`.
fn host_port(ip: &str, port: &str) -> String {
    if ip.contains(':') {
        format!("[{ip}]:{port}")
    } else {
        format!("{ip}:{port}")
    }
}

/// Docker's text: ranges of ports that are the same inside and outside first, then the others.
pub(crate) fn ports_text(ports: &[Port]) -> String {
    let mut sorted: Vec<&Port> = ports.iter().collect();
    sorted.sort_by(|a, b| {
        let key = |port: &Port| {
            (
                port.private,
                port.ip.clone(),
                port.public,
                port.protocol.clone(),
            )
        };
        key(a).cmp(&key(b))
    });
    let mut groups: Vec<Group<'_>> = Vec::new();
    let mut texts = Vec::new();
    let mut mapped = Vec::new();
    for port in sorted {
        if !port.ip.is_empty() && port.public != port.private {
            let outside = host_port(&port.ip, &port.public.to_string());
            mapped.push(format!("{outside}->{}/{}", port.private, port.protocol));
            continue;
        }
        let same = |group: &&mut Group<'_>| group.ip == port.ip && group.protocol == port.protocol;
        match groups.iter_mut().find(same) {
            Some(group) if port.private == group.last.saturating_add(1) => {
                group.last = port.private;
            }
            Some(group) => {
                texts.push(group.text());
                (group.first, group.last) = (port.private, port.private);
            }
            None => groups.push(Group {
                ip: &port.ip,
                protocol: &port.protocol,
                first: port.private,
                last: port.private,
            }),
        }
    }
    texts.extend(groups.iter().map(Group::text));
    texts.extend(mapped);
    texts.join(", ")
}

/// Where ports are published, by `80/tcp`: addresses and ports of the host.
pub(crate) type Published = BTreeMap<String, Vec<(String, String)>>;

/// The lines of `docker port CONTAINER [PORT[/PROTOCOL]]`; an error is Docker's own text.
pub(crate) fn port_lines(
    container: &str,
    published: &Published,
    wanted: Option<&str>,
) -> Result<String, String> {
    let mut lines = Vec::new();
    if let Some(wanted) = wanted {
        let (port, protocol) = wanted.split_once('/').unwrap_or((wanted, ""));
        let protocol = if protocol.is_empty() { "tcp" } else { protocol };
        if let Err(fault) = parse_port(port) {
            return Err(format!("Error: invalid port ({port}): {fault}"));
        }
        let Some(bindings) = published
            .get(&format!("{port}/{protocol}"))
            .filter(|bindings| !bindings.is_empty())
        else {
            return Err(format!(
                "Error: No public port '{wanted}' published for {container}"
            ));
        };
        lines.extend(bindings.iter().map(|(ip, port)| host_port(ip, port)));
    } else {
        for (port, bindings) in published {
            let texts = bindings.iter().map(|(ip, outside)| host_port(ip, outside));
            lines.extend(texts.map(|outside| format!("{port} -> {outside}")));
        }
    }
    lines.sort_by(|a, b| natural_order(a, b));
    Ok(lines.into_iter().map(|line| line + "\n").collect())
}

/// Go's `strconv.ParseUint` of 16 bits, with its words.
fn parse_port(text: &str) -> Result<u16, String> {
    let fault = |kind: &str| format!("strconv.ParseUint: parsing \"{text}\": {kind}");
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(fault("invalid syntax"));
    }
    text.parse().map_err(|_| fault("value out of range"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ports(list: &[(&str, u16, u16, &str)]) -> String {
        let ports: Vec<Port> = list
            .iter()
            .map(|(ip, private, public, protocol)| Port {
                ip: (*ip).to_owned(),
                private: *private,
                public: *public,
                protocol: (*protocol).to_owned(),
            })
            .collect();
        ports_text(&ports)
    }

    #[test]
    fn ranges_merge_as_in_docker_ps() {
        assert_eq!(
            ports(&[
                ("0.0.0.0", 80, 8080, "tcp"),
                ("::", 80, 8080, "tcp"),
                ("", 443, 0, "tcp"),
                ("", 444, 0, "tcp"),
                ("", 445, 0, "tcp"),
                ("0.0.0.0", 90, 90, "tcp"),
                ("0.0.0.0", 91, 91, "tcp"),
            ]),
            "0.0.0.0:90-91->90-91/tcp, 443-445/tcp, 0.0.0.0:8080->80/tcp, [::]:8080->80/tcp"
        );
        assert_eq!(
            ports(&[("", 80, 0, "tcp"), ("", 82, 0, "tcp")]),
            "80/tcp, 82/tcp"
        );
        assert_eq!(
            ports(&[("", 80, 0, "udp"), ("", 81, 0, "tcp")]),
            "80/udp, 81/tcp"
        );
        assert_eq!(ports(&[]), "");
    }

    #[test]
    fn port_answers_as_docker_port() {
        let published: Published = [
            ("80/tcp", vec![("0.0.0.0", "8080"), ("::", "8080")]),
            ("9/udp", vec![("127.0.0.1", "9")]),
            ("443/tcp", vec![]),
        ]
        .map(|(port, bindings)| {
            let own = |(ip, port): (&str, &str)| (ip.to_owned(), port.to_owned());
            (port.to_owned(), bindings.into_iter().map(own).collect())
        })
        .into();
        for (wanted, expected) in [
            (
                None,
                Ok("9/udp -> 127.0.0.1:9\n80/tcp -> 0.0.0.0:8080\n80/tcp -> [::]:8080\n"),
            ),
            (Some("80"), Ok("0.0.0.0:8080\n[::]:8080\n")),
            (
                Some("81"),
                Err("Error: No public port '81' published for x"),
            ),
            (
                Some("80/udp"),
                Err("Error: No public port '80/udp' published for x"),
            ),
            (
                Some("443"),
                Err("Error: No public port '443' published for x"),
            ),
            (
                Some("a"),
                Err("Error: invalid port (a): strconv.ParseUint: parsing \"a\": invalid syntax"),
            ),
        ] {
            let answer = port_lines("x", &published, wanted);
            assert_eq!(answer.as_deref().map_err(String::as_str), expected);
        }
    }
}
