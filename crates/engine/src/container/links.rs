//! `--link`: another container under a name that only this one knows, and the variables by which
//! programs of Docker's first years find it.

use storage::containers::ContainerRecord;
use types::container::ContainerSpec;
use types::port::ContainerPort;

use super::plan::{NetworkMode, network_mode};
use crate::error::EngineError;
use crate::network::{DEFAULT, attachment_target};
use crate::{Engine, StoredContainer};

/// Another container, as this one calls it.
#[derive(Clone, Debug)]
pub(crate) struct Link {
    /// The name.
    pub(crate) alias: String,
    /// The other container.
    pub(crate) other: StoredContainer,
    /// Its address, while it runs.
    pub(crate) address: String,
}

impl Engine {
    /// Reads one `--link NAME[:ALIAS]`.
    ///
    /// # Errors
    /// Docker's words where there is no such container.
    pub(crate) fn link(&self, text: &str) -> Result<Link, EngineError> {
        let (target, alias) = text.split_once(':').unwrap_or((text, ""));
        let other = self.container(target).map_err(|error| match error {
            EngineError::NoSuchContainer(_) => EngineError::invalid(format!(
                "could not get container for {target}: No such container: {target}"
            )),
            other => other,
        })?;
        let place = self.places(&other.record.id).into_iter().next();
        let address = place.and_then(|place| place.addresses.first().copied());
        Ok(Link {
            alias: match alias {
                "" => other.record.name.clone(),
                alias => alias.to_owned(),
            },
            address: address.map_or_else(String::new, |(address, _)| address.to_string()),
            other,
        })
    }

    /// All links of a container. On the default network the others must run.
    ///
    /// # Errors
    /// As [`Self::link`].
    pub(crate) fn links(&self, record: &ContainerRecord) -> Result<Vec<Link>, EngineError> {
        let mut all = Vec::new();
        for text in &record.spec.links {
            let link = self.link(text)?;
            if has_variables(&record.spec) && !link.other.state.status.is_live() {
                return Err(EngineError::conflict(format!(
                    "Cannot link to a non running container: /{} AS /{}/{}",
                    link.other.record.name, record.name, link.alias
                )));
            }
            all.push(link);
        }
        Ok(all)
    }

    /// The variables for what a container links to and what runs now.
    pub(crate) fn link_variables(&self, record: &ContainerRecord) -> Vec<String> {
        if !has_variables(&record.spec) {
            return Vec::new();
        }
        let links = record.spec.links.iter();
        let links = links.filter_map(|text| self.link(text).ok());
        let links = links.filter(|link| !link.address.is_empty());
        links
            .flat_map(|link| {
                let spec = &link.other.record.spec;
                variables(&record.name, &link.alias, &link.address, spec)
            })
            .collect()
    }
}

/// Only containers of the default network get variables: elsewhere names do.
fn has_variables(spec: &ContainerSpec) -> bool {
    let is_default = spec
        .networks
        .first()
        .is_none_or(|one| attachment_target(one) == DEFAULT);
    network_mode(spec) == NetworkMode::Bridge && is_default
}

/// As Docker makes them: `DB_NAME`, `DB_PORT`, some for each port, `DB_ENV_…`.
fn variables(name: &str, alias: &str, address: &str, spec: &ContainerSpec) -> Vec<String> {
    let word = alias.to_uppercase().replace('-', "_");
    let mut ports: Vec<ContainerPort> = spec
        .exposed_ports
        .iter()
        .filter_map(|text| ContainerPort::parse(text).ok())
        .collect();
    // The lowest is the one that `DB_PORT` names; of two with one number that of TCP.
    ports.sort_by_key(|port| (port.number, port.protocol.name() != "tcp"));
    let url =
        |port: &ContainerPort| format!("{}://{address}:{}", port.protocol.name(), port.number);
    let key = |port: &ContainerPort| {
        let protocol = port.protocol.name().to_uppercase();
        format!("{word}_PORT_{}_{protocol}", port.number)
    };
    let mut all = vec![format!("{word}_NAME=/{name}/{alias}")];
    all.extend(
        ports
            .first()
            .map(|port| format!("{word}_PORT={}", url(port))),
    );
    for (start, end) in ranges(&ports) {
        // Docker names the end by the first number and the last protocol.
        let high = ContainerPort {
            number: start.number,
            protocol: end.protocol,
        };
        let (low, high) = (key(start), key(&high));
        all.push(format!("{low}_START={}", url(start)));
        all.push(format!("{low}_PORT_START={}", start.number));
        all.push(format!("{high}_END={}", url(end)));
        all.push(format!("{high}_PORT_END={}", end.number));
    }
    for port in &ports {
        let protocol = port.protocol.name();
        let key = key(port);
        all.push(format!("{key}={}", url(port)));
        all.push(format!("{key}_ADDR={address}"));
        all.push(format!("{key}_PORT={}", port.number));
        all.push(format!("{key}_PROTO={protocol}"));
    }
    for pair in &spec.env {
        // What an image's build leaves there tells nothing about the service.
        if let Some((key, value)) = pair.split_once('=')
            && !matches!(key, "HOME" | "PATH")
        {
            all.push(format!("{word}_ENV_{key}={value}"));
        }
    }
    all
}

/// Runs of three ports and more, as Docker finds them in the sorted list: a number that is there twice
/// counts twice.
fn ranges(ports: &[ContainerPort]) -> Vec<(&ContainerPort, &ContainerPort)> {
    let mut all = Vec::new();
    let mut rest = ports;
    while let [start, ..] = rest {
        let reach = |(index, port): &(usize, &ContainerPort)| {
            usize::from(port.number) <= usize::from(start.number) + index
        };
        let length = rest.iter().enumerate().take_while(reach).count();
        let (range, after) = rest.split_at(length);
        if let [start, _, .., end] = range {
            all.push((start, end));
            rest = after;
        } else {
            rest = &rest[1..];
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_dockers() {
        let spec = ContainerSpec {
            exposed_ports: ["93/udp", "8080/tcp", "80/tcp", "81/tcp", "82/tcp"]
                .map(String::from)
                .to_vec(),
            env: vec!["PATH=/bin".into(), "A=b=c".into()],
            ..ContainerSpec::default()
        };
        let all = variables("web", "my-db", "172.17.0.2", &spec);
        let expected = [
            "MY_DB_NAME=/web/my-db",
            "MY_DB_PORT=tcp://172.17.0.2:80",
            "MY_DB_PORT_80_TCP_START=tcp://172.17.0.2:80",
            "MY_DB_PORT_80_TCP_PORT_START=80",
            "MY_DB_PORT_80_TCP_END=tcp://172.17.0.2:82",
            "MY_DB_PORT_80_TCP_PORT_END=82",
            "MY_DB_PORT_80_TCP=tcp://172.17.0.2:80",
            "MY_DB_PORT_80_TCP_ADDR=172.17.0.2",
            "MY_DB_PORT_80_TCP_PORT=80",
            "MY_DB_PORT_80_TCP_PROTO=tcp",
        ];
        assert_eq!(all[..10], expected);
        assert!(all.contains(&"MY_DB_PORT_93_UDP_PROTO=udp".to_owned()));
        assert_eq!(all.last().unwrap(), "MY_DB_ENV_A=b=c");
    }
}
