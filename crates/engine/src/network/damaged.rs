//! Removing a network whose record cannot be read: what the kernel has of it is found by what its
//! bridge says and by the note in the run root.

use network::bridge::{NetworkPlan, OWNER_PREFIX};
use network::listing;
use storage::networks::NetworkRecord;
use storage::trash::Fate;

use crate::Engine;
use crate::error::EngineError;

impl Engine {
    /// Removes a network of which only the name is known, so that it could not come back.
    pub(super) fn remove_damaged_network(&self, name: &str) -> Result<NetworkRecord, EngineError> {
        let lock = self.store().lock_network(name)?;
        for id in self.store().container_ids()? {
            let mut places = self.places(&id).into_iter();
            if places.any(|place| place.network == name) && self.is_watched(&id) {
                return Err(EngineError::conflict(format!(
                    "error while removing network: network {name} has active endpoints (container {})",
                    id.get(..12).unwrap_or(&id)
                )));
            }
        }
        for plan in self.lost_bridges(name) {
            let _ = plan.down(&self.firewall());
            let _ = std::fs::remove_file(self.store().run_root().join("networks").join(&plan.id));
        }
        let record = NetworkRecord {
            id: crate::container::create::new_id(),
            name: name.to_owned(),
            ..NetworkRecord::default()
        };
        self.store().remove_network(&record, &lock, Fate::Erased)?;
        self.announce_network(&record, "destroy", &[]);
        Ok(record)
    }

    /// Bridges that this store brought up for networks that it knows no more. Where another network is
    /// damaged too they may be that one's, and stay: `doctor` finds those without a port.
    fn lost_bridges(&self, name: &str) -> Vec<NetworkPlan> {
        let Ok((known, damaged)) = self.store().networks_and_damage() else {
            return Vec::new();
        };
        let Ok(socket) = network::Socket::route() else {
            return Vec::new();
        };
        if damaged.len() > 1 {
            return Vec::new();
        }
        let links = listing::links(&socket).unwrap_or_default();
        let addresses = listing::addresses(&socket).unwrap_or_default();
        let notes = self.store().run_root().join("networks");
        let plan = |link: &listing::Link| {
            let id = link.alias.strip_prefix(OWNER_PREFIX)?;
            types::id::ContainerId::parse(id).ok()?;
            let note = std::fs::read_to_string(notes.join(id)).ok()?;
            let is_lost =
                note == link.index.to_string() && known.iter().all(|record| record.id != id);
            let gateways = addresses.iter().filter(|one| one.index == link.index);
            is_lost.then_some(NetworkPlan {
                id: id.to_owned(),
                name: name.to_owned(),
                directory: self.store().network_directory(name),
                bridge: link.name.parse().ok()?,
                mtu: link.mtu,
                gateways: gateways.map(|one| one.address).collect(),
                is_internal: false,
                has_icc: true,
                masquerades: true,
                host_binding: None,
                has_shortcut: true,
            })
        };
        links.iter().filter_map(plan).collect()
    }
}
