//! Networks as people see and remove them.

use std::collections::BTreeMap;

use storage::containers::StoredContainer;
use storage::networks::{NetworkError, NetworkRecord};
use storage::trash::Fate;
use types::event::Event;

use super::attach::Place;
use super::{DEFAULT, PREDEFINED};
use crate::Engine;
use crate::error::EngineError;

/// A network and who is in it.
#[derive(Clone, Debug)]
pub struct NetworkView {
    /// What it was made to be.
    pub record: NetworkRecord,
    /// Running containers that are in it.
    pub users: Vec<NetworkUser>,
    /// MTU of its links; 0 where it has none.
    pub mtu: u32,
}

/// A container in a network.
#[derive(Clone, Debug)]
pub struct NetworkUser {
    /// The container's id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its place.
    pub place: Place,
}

impl Engine {
    /// All networks, the predefined ones too, by name.
    ///
    /// # Errors
    /// The disk's answer.
    pub fn networks(&self) -> Result<Vec<NetworkRecord>, EngineError> {
        self.networks_and_damage().map(|(all, _)| all)
    }

    /// The same, and what is wrong with those that cannot be read.
    ///
    /// # Errors
    /// The disk's answer.
    pub fn networks_and_damage(
        &self,
    ) -> Result<(Vec<NetworkRecord>, Vec<EngineError>), EngineError> {
        // Made where it is not there yet; a full or read-only disk must not stop who only looks, and a damaged
        // one is told of with the others.
        let _ = self.network(DEFAULT);
        let (mut all, damaged) = self.store().networks_and_damage()?;
        all.extend(PREDEFINED.map(|name| self.predefined(name)));
        all.sort_by(|one, other| one.name.cmp(&other.name));
        Ok((all, damaged.into_iter().map(EngineError::from).collect()))
    }

    /// `host` and `none`: no record lies behind them.
    pub(super) fn predefined(&self, name: &str) -> NetworkRecord {
        let default = self.store().network(DEFAULT).unwrap_or_default();
        // Stable, and no network's of ours: the default network's id with other digits in front.
        let digit = if name == "host" { 'a' } else { 'b' };
        let rest: String = default.id.chars().skip(8).collect();
        NetworkRecord {
            id: digit.to_string().repeat(8) + &rest,
            name: name.into(),
            created: default.created,
            driver: if name == "host" { "host" } else { "null" }.into(),
            ..NetworkRecord::default()
        }
    }

    /// The network that a name or id means, the predefined ones too.
    ///
    /// # Errors
    /// Docker's words where there is none.
    pub fn any_network(&self, key: &str) -> Result<NetworkRecord, EngineError> {
        match self.network(key) {
            Err(EngineError::Network(NetworkError::Missing(_))) => {
                let predefined = PREDEFINED.map(|name| self.predefined(name));
                let is_meant = |record: &NetworkRecord| {
                    record.name == key || (key.len() > 3 && record.id.starts_with(key))
                };
                predefined
                    .into_iter()
                    .find(is_meant)
                    .ok_or_else(|| NetworkError::Missing(key.to_owned()).into())
            }
            other => other,
        }
    }

    /// A network with the running containers that are in it.
    ///
    /// # Errors
    /// As [`Self::any_network`].
    pub fn network_view(&self, key: &str) -> Result<NetworkView, EngineError> {
        let record = self.any_network(key)?;
        let mut users = Vec::new();
        for stored in self.containers()? {
            if !stored.state.status.is_live() {
                continue;
            }
            let places = self.all_places(&stored);
            if let Some(place) = places
                .into_iter()
                .find(|place| place.network_id == record.id)
            {
                users.push(NetworkUser {
                    id: stored.record.id,
                    name: stored.record.name,
                    place,
                });
            }
        }
        let mtu = self.network_plan(&record).map_or(0, |plan| plan.mtu);
        Ok(NetworkView { record, users, mtu })
    }

    /// Removes a network that no running container is in.
    ///
    /// # Errors
    /// Docker's words for a predefined one and for one in use.
    pub fn remove_network(&self, key: &str) -> Result<NetworkRecord, EngineError> {
        self.remove_network_to(key, Fate::Kept)
    }

    /// The same; what `fate` says becomes of it.
    pub(crate) fn remove_network_to(
        &self,
        key: &str,
        fate: Fate,
    ) -> Result<NetworkRecord, EngineError> {
        let record = match self.any_network(key) {
            Err(EngineError::Network(NetworkError::Damaged { name, .. })) => {
                return self.remove_damaged_network(&name);
            }
            other => other?,
        };
        if record.driver != "bridge" || record.name == DEFAULT {
            return Err(EngineError::conflict(format!(
                "{} is a pre-defined network and cannot be removed",
                record.name
            )));
        }
        let lock = self.store().lock_network(&record.name)?;
        let view = self.network_view(&record.name)?;
        if !view.users.is_empty() {
            let users: Vec<String> = view
                .users
                .iter()
                .map(|user| {
                    format!(
                        "name:\"{}\" endpoint id:\"{}\"",
                        user.name,
                        short(&user.place.endpoint_id)
                    )
                })
                .collect();
            return Err(EngineError::conflict(format!(
                "error while removing network: network {} has active endpoints ({})",
                record.name,
                users.join(", ")
            )));
        }
        self.network_down(&record)?;
        self.store().remove_network(&record, &lock, fate)?;
        self.announce_network(&record, "destroy", &[]);
        Ok(record)
    }

    fn network_down(&self, record: &NetworkRecord) -> Result<(), EngineError> {
        let _ = self.network_plan(record)?.down(&self.firewall());
        sys::fail::point("engine.network.down");
        let _ = std::fs::remove_file(self.store().run_root().join("networks").join(&record.id));
        Ok(())
    }

    /// Takes the default network's bridge away, and our tables, where no container needs them; the
    /// next one that does brings them back.
    ///
    /// # Errors
    /// The disk's answer.
    pub fn rest_networks(&self) -> Result<(), EngineError> {
        let Ok(record) = self.store().network(DEFAULT) else {
            return Ok(());
        };
        let _lock = self.store().lock_network(&record.name)?;
        // A container that is being started has its document before it asks for its network.
        let mut ids = self.store().container_ids()?.into_iter();
        if ids.any(|id| self.is_attached(&id)) {
            return Ok(());
        }
        self.network_down(&record)?;
        let is_alone = self.store().networks()?.len() == 1;
        if is_alone {
            let _ = self.firewall().rest();
        }
        Ok(())
    }

    /// Ids of the networks that containers, running or not, ask for by name or id.
    ///
    /// # Errors
    /// The disk's answer.
    pub fn networks_in_use(&self) -> Result<Vec<String>, EngineError> {
        Ok(self.networks_of(&self.containers()?))
    }

    /// The same of these containers.
    pub(crate) fn networks_of(&self, containers: &[StoredContainer]) -> Vec<String> {
        let mut used = Vec::new();
        for stored in containers {
            for attachment in &stored.record.spec.networks {
                if let Ok(record) = self.store().find_network(&attachment.target) {
                    used.push(record.id);
                }
            }
        }
        used
    }

    /// Appends an event about a network to the journal.
    pub(crate) fn announce_network(
        &self,
        record: &NetworkRecord,
        action: &str,
        more: &[(&str, String)],
    ) {
        let mut attributes: BTreeMap<String, String> = BTreeMap::new();
        attributes.insert("name".into(), record.name.clone());
        attributes.insert("type".into(), record.driver.clone());
        attributes.extend(
            more.iter()
                .map(|(key, value)| ((*key).to_string(), value.clone())),
        );
        self.append_event(&Event {
            kind: "network".into(),
            action: action.into(),
            id: record.id.clone(),
            attributes,
            time_ns: sys::journal::now_ns(),
        });
    }
}

fn short(id: &str) -> &str {
    id.get(..12).unwrap_or(id)
}
