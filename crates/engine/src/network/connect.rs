//! `network connect` and `disconnect`: also while the container runs.

use std::net::IpAddr;

use monitor::client::Connection;
use monitor::protocol::{Disconnect, Kind};
use network::attachment::Endpoint;
use network::names::Names;
use storage::containers::ContainerRecord;
use storage::networks::NetworkRecord;
use types::container::{ContainerSpec, NO_NETWORK, NetworkAttachment};

use super::DEFAULT;
use super::attach::target;
use crate::Engine;
use crate::container::files;
use crate::container::plan::{NetworkMode, network_mode};
use crate::error::EngineError;

impl Engine {
    /// Connects a container to one more network, at once where it runs.
    ///
    /// # Errors
    /// Docker's words where it is connected already or shares another's network.
    pub fn connect_network(&self, key: &str, asked: NetworkAttachment) -> Result<(), EngineError> {
        Self::until_confirmed(key, || self.try_connect_network(key, asked.clone()))
    }

    fn try_connect_network(
        &self,
        key: &str,
        asked: NetworkAttachment,
    ) -> Result<bool, EngineError> {
        self.check_place(&asked)?;
        let stored = self.container(key)?;
        let network = self.bridge_network(&asked.target)?;
        check_joinable(&stored.record.spec)?;
        let (stored, connection, _lock) = self.lock_connected(&stored.record.id)?;
        let mut record = stored.record;
        if record.spec.networks.is_empty() {
            record.spec.networks.push(NetworkAttachment::default());
        }
        if let Some(index) = self.position(&record.spec.networks, &network) {
            let places = self.attachment(&record.id);
            let is_in_it = places
                .is_some_and(|all| all.endpoints.iter().any(|one| one.network.id == network.id));
            if connection.is_none() || is_in_it {
                return Err(EngineError::conflict(format!(
                    "endpoint with name {} already exists in network {}",
                    record.name, network.name
                )));
            }
            // A disconnect was cut off: the container has left, and the record does not know it.
            record.spec.networks.remove(index);
        }
        keep_mode(&mut record.spec);
        let has_left_all = network_mode(&record.spec) == NetworkMode::Left;
        if has_left_all {
            record.spec.networks.clear();
        }
        let asked = NetworkAttachment {
            target: network.name.clone(),
            ..asked
        };
        record.spec.networks.push(asked.clone());
        if let Some(connection) = connection {
            let Some(addresses) = self.join_running(&record, &network, &asked, connection)? else {
                return Ok(false);
            };
            let directory = self.store().container_directory(&record.id);
            files::join_hosts(&directory, &record, &addresses)?;
        }
        self.store().update_container(&record)?;
        self.announce_network(&network, "connect", &[("container", record.id.clone())]);
        Ok(true)
    }

    /// The addresses of a running container in one more network; `None` where its monitor went meanwhile.
    fn join_running(
        &self,
        record: &ContainerRecord,
        network: &NetworkRecord,
        asked: &NetworkAttachment,
        mut connection: Connection,
    ) -> Result<Option<Vec<IpAddr>>, EngineError> {
        self.begin_attachment(record)?;
        let places = self.attachment(&record.id);
        let places = places.map_or_else(Vec::new, |all| all.endpoints);
        let of_it = |one: &&Endpoint| one.network.id == network.id;
        let mut endpoint = match places.iter().find(of_it) {
            // A monitor that was killed has begun it, and its successor ends it.
            Some(begun) => begun.clone(),
            None => {
                let interfaces: Vec<_> = places.into_iter().map(|one| one.inside).collect();
                let endpoint = self.place_in(record, asked, network, &interfaces)?;
                let names = Names::of(&endpoint.network.directory);
                names.add(&record.id, &endpoint.names, &endpoint.ips())?;
                endpoint
            }
        };
        // Its monitor decides which network has the default route.
        endpoint.gateways.clear();
        let outcome = connection.ask(Kind::Connect, &endpoint);
        if !matches!(outcome, Ok(true)) {
            let joined = self.attachment(&record.id);
            if let Some(attachment) =
                joined.filter(|all| !all.endpoints.iter().any(|one| of_it(&one)))
            {
                attachment.give_back(&endpoint);
            }
        }
        Ok(outcome?.then(|| endpoint.ips()))
    }

    /// Disconnects a container from a network, at once where it runs.
    ///
    /// # Errors
    /// Docker's words where it is not connected.
    pub fn disconnect_network(&self, key: &str, network: &str) -> Result<(), EngineError> {
        Self::until_confirmed(key, || self.try_disconnect_network(key, network))
    }

    fn try_disconnect_network(&self, key: &str, network: &str) -> Result<bool, EngineError> {
        let stored = self.container(key)?;
        if network == "none" && network_mode(&stored.record.spec) == NetworkMode::None {
            return self.leave_none(&stored.record.id).map(|()| true);
        }
        let network = self.bridge_network(network)?;
        let (stored, connection, _lock) = self.lock_connected(&stored.record.id)?;
        let mut record = stored.record;
        let mut asked = record.spec.networks.clone();
        if asked.is_empty() && network_mode(&record.spec) == NetworkMode::Bridge {
            asked.push(NetworkAttachment::default());
        }
        let Some(position) = self.position(&asked, &network) else {
            return Err(EngineError::conflict(format!(
                "container {} is not connected to network {}",
                record.id, network.name
            )));
        };
        asked.remove(position);
        if asked.is_empty() {
            asked.push(NetworkAttachment {
                target: NO_NETWORK.into(),
                ..NetworkAttachment::default()
            });
        }
        let directory = self.store().container_directory(&record.id);
        let mut gone = Vec::new();
        if let Some(mut connection) = connection {
            let places = self.attachment(&record.id);
            let endpoints = places.into_iter().flat_map(|all| all.endpoints);
            let left: Vec<_> = endpoints
                .filter(|one| one.network.id == network.id)
                .collect();
            gone.extend(left.iter().flat_map(Endpoint::ips));
            let request = Disconnect {
                network: network.id.clone(),
            };
            // A monitor that was killed may have done it.
            if !left.is_empty() && !connection.ask(Kind::Disconnect, &request)? {
                return Ok(false);
            }
        }
        if stored.state.status.is_live() {
            files::leave_hosts(&directory, &gone)?;
        }
        keep_mode(&mut record.spec);
        record.spec.networks = asked;
        self.store().update_container(&record)?;
        self.announce_network(&network, "disconnect", &[("container", record.id.clone())]);
        Ok(true)
    }

    /// From here on the container may join networks.
    fn leave_none(&self, id: &str) -> Result<(), EngineError> {
        let _lock = self.store().lock_container(id)?;
        let mut record = self.store().read_container(id)?.record;
        keep_mode(&mut record.spec);
        for one in &mut record.spec.networks {
            one.target = NO_NETWORK.into();
        }
        Ok(self.store().update_container(&record)?)
    }

    /// A running container that has never been in a network gets its document, which its monitor
    /// finds, and the name server of one that is.
    fn begin_attachment(&self, record: &ContainerRecord) -> Result<(), EngineError> {
        if self.is_attached(&record.id) {
            return Ok(());
        }
        self.save_attachment(&self.empty_attachment(record))?;
        files::write_resolv_conf(&self.store().container_directory(&record.id), record)
    }

    fn bridge_network(&self, key: &str) -> Result<NetworkRecord, EngineError> {
        let record = self.any_network(key)?;
        match record.driver.as_str() {
            "bridge" => Ok(record),
            "host" => Err(EngineError::conflict(HOST_NETWORK)),
            _ => Err(EngineError::conflict(NONE_NETWORK)),
        }
    }

    fn position(&self, asked: &[NetworkAttachment], network: &NetworkRecord) -> Option<usize> {
        asked.iter().position(|one| {
            let found = self.network(target(one));
            found.is_ok_and(|found| found.id == network.id)
        })
    }
}

const HOST_NETWORK: &str =
    "container cannot be disconnected from host network or connected to host network";
const NONE_NETWORK: &str = "container cannot be connected to multiple networks with one of the \
    networks in private (none) mode";
const SHARED_NETWORK: &str = "container sharing network namespace with another container or host \
    cannot be connected to any other network";

/// Only networks of ours are joined and left beside each other.
fn check_joinable(spec: &ContainerSpec) -> Result<(), EngineError> {
    match network_mode(spec) {
        NetworkMode::Bridge | NetworkMode::Left => Ok(()),
        NetworkMode::None => Err(EngineError::conflict(NONE_NETWORK)),
        NetworkMode::Host => Err(EngineError::conflict(HOST_NETWORK)),
        NetworkMode::Container => Err(EngineError::conflict(SHARED_NETWORK)),
    }
}

/// `inspect` goes on telling the network that was asked for first.
fn keep_mode(spec: &mut ContainerSpec) {
    if spec.network_mode.is_empty() {
        let first = spec.networks.first().map_or(DEFAULT, target);
        spec.network_mode = first.to_owned();
    }
}
