//! Networks: records, their bridges, and containers' places in them.

mod attach;
mod check;
mod connect;
mod create;
mod damaged;
mod handover;
mod options;
mod places;
mod verbs;
mod warn;

use std::net::IpAddr;

use network::bridge::{Firewall, NetworkPlan, uplink_mtu};
use network::subnet::{self, HostAddress, Prefix};
use network::{Socket, listing};
use storage::networks::{NetworkError, NetworkRecord, RECORD_VERSION, SubnetRecord};

pub use attach::Place;
pub(crate) use attach::target as attachment_target;
pub use create::{NetworkRequest, SubnetRequest};
pub use verbs::{NetworkUser, NetworkView};
pub(crate) use warn::{legacy_ways, way_text};

use crate::Engine;
use crate::error::{EngineError, text};
use options::NetworkOptions;

/// The network of containers that ask for none.
pub const DEFAULT: &str = "bridge";
/// Networks that are none of ours and always there.
pub const PREDEFINED: [&str; 2] = ["host", "none"];

/// Whether nobody can remove it.
pub(crate) fn is_predefined(record: &NetworkRecord) -> bool {
    record.name == DEFAULT || PREDEFINED.contains(&record.name.as_str())
}

impl Engine {
    /// The tables of this store.
    pub(crate) fn firewall(&self) -> Firewall {
        Firewall {
            table: self.cgroup_parent(),
            guards: self.store().run_root().join("guards"),
        }
    }

    /// The network that a name or id means; the default one is made where it is missing.
    ///
    /// # Errors
    /// Docker's words where there is none.
    pub fn network(&self, key: &str) -> Result<NetworkRecord, EngineError> {
        match self.store().find_network(key) {
            Err(NetworkError::Missing(_)) if key == DEFAULT => self.make_default(),
            other => Ok(other?),
        }
    }

    fn make_default(&self) -> Result<NetworkRecord, EngineError> {
        let lock = self.store().lock_networks()?;
        let taken = taken_networks(self)?;
        let subnet =
            subnet::choose_default(&taken).map_err(|error| text("choose a subnet", &error))?;
        let record = NetworkRecord {
            version: RECORD_VERSION,
            id: crate::container::create::new_id(),
            name: DEFAULT.into(),
            created: self.now(),
            driver: "bridge".into(),
            bridge: self.default_bridge(),
            subnets: vec![subnet_record(subnet)],
            has_chosen_subnets: true,
            ..NetworkRecord::default()
        };
        match self.store().create_network(&record, &lock) {
            Err(NetworkError::NameTaken(_)) => Ok(self.store().network(DEFAULT)?),
            other => Ok(other.map(|()| record)?),
        }
    }

    /// `caisson0` in the usual store; another store must not meet it.
    fn default_bridge(&self) -> String {
        let parent = self.cgroup_parent();
        match parent.strip_prefix("caisson-") {
            None => "caisson0".into(),
            Some(hash) => format!("cs0-{hash}"),
        }
    }

    /// The plan of a network's part on the host.
    pub(crate) fn network_plan(&self, record: &NetworkRecord) -> Result<NetworkPlan, EngineError> {
        let damaged = |what: &str| {
            EngineError::invalid(format!(
                "the record of network {} has no {what}",
                record.name
            ))
        };
        let options = NetworkOptions::parse(&record.options)?;
        let mut gateways = Vec::new();
        for one in &record.subnets {
            let subnet: Prefix = one.subnet.parse().map_err(|_| damaged("subnet"))?;
            let gateway: IpAddr = one.gateway.parse().map_err(|_| damaged("gateway"))?;
            let gateway = HostAddress::new(gateway, subnet.length());
            gateways.push(gateway.ok_or_else(|| damaged("gateway"))?);
        }
        Ok(NetworkPlan {
            id: record.id.clone(),
            name: record.name.clone(),
            directory: self.store().network_directory(&record.name),
            bridge: record.bridge.parse().map_err(|_| damaged("bridge"))?,
            mtu: match record.mtu {
                0 => uplink_mtu().unwrap_or(network::bridge::MTU_DEFAULT),
                mtu => mtu,
            },
            gateways,
            is_internal: record.internal,
            has_icc: options.has_icc,
            has_shortcut: options.has_shortcut,
            masquerades: options.masquerades && !record.internal,
            host_binding: options.host_binding,
        })
    }

    /// Brings a network up, if it is not.
    pub(crate) fn network_up(&self, record: &NetworkRecord) -> Result<NetworkPlan, EngineError> {
        let marker = self.store().run_root().join("networks").join(&record.id);
        let plan = self.network_plan(record)?;
        let is_marked = |index: u32| {
            std::fs::read_to_string(&marker).is_ok_and(|text| text == index.to_string())
        };
        if plan.index().is_some_and(is_marked) {
            return Ok(plan);
        }
        let _lock = self.store().lock_network(&record.name)?;
        let record = &self.without_overlap(record)?;
        let plan = self.network_plan(record)?;
        let fail = |error: &dyn std::error::Error| {
            text(&format!("bring up network {}", record.name), error)
        };
        if record.name == DEFAULT {
            let others = self.store().networks()?.into_iter();
            let others: Vec<NetworkPlan> = others
                .filter(|other| other.id != record.id && !other.bridge.is_empty())
                .filter_map(|other| self.network_plan(&other).ok())
                .collect();
            let cleared = plan.clear_place(&self.firewall(), &others);
            cleared.map_err(|error| fail(&error))?;
        }
        plan.up(&self.firewall()).map_err(|error| fail(&error))?;
        sys::fail::point("engine.network.up");
        if let Some(parent) = marker.parent() {
            let _ = std::fs::create_dir_all(parent);
        }
        let index = plan.index().unwrap_or(0);
        let _ = std::fs::write(&marker, index.to_string());
        Ok(plan)
    }

    /// A network whose subnet we chose and that the host has become part of since: it gets another
    /// while nobody is in it.
    fn without_overlap(&self, record: &NetworkRecord) -> Result<NetworkRecord, EngineError> {
        let mut record = self.store().network(&record.name)?;
        if self.network_plan(&record)?.index().is_some() {
            return Ok(record);
        }
        let taken = kernel_networks()?;
        let overlaps = |one: &SubnetRecord| {
            let subnet: Option<Prefix> = one.subnet.parse().ok();
            subnet.is_some_and(|subnet| taken.iter().any(|other| other.overlaps(&subnet)))
        };
        if !record.subnets.iter().any(overlaps) {
            return Ok(record);
        }
        if !record.has_chosen_subnets {
            return Err(EngineError::conflict(format!(
                "cannot bring up network {}: its subnet {} overlaps a route of this host (ip route)",
                record.name, record.subnets[0].subnet
            )));
        }
        let _all = self.store().lock_networks()?;
        let all = taken_networks(self)?;
        let chosen = if record.name == DEFAULT {
            subnet::choose_default(&all)
        } else {
            subnet::choose(&all)
        };
        let chosen = chosen.map_err(|error| text("choose a subnet", &error))?;
        record.subnets[0] = subnet_record(chosen);
        self.store().update_network(&record)?;
        Ok(record)
    }
}

fn subnet_record(subnet: Prefix) -> SubnetRecord {
    SubnetRecord {
        subnet: subnet.to_string(),
        gateway: subnet
            .first_host()
            .map_or_else(String::new, |ip| ip.to_string()),
        ..SubnetRecord::default()
    }
}

fn kernel_networks() -> Result<Vec<Prefix>, EngineError> {
    let read = || listing::taken_networks(&Socket::route()?);
    read().map_err(|error| text("list the routes of this host", &error))
}

/// What a new subnet must not overlap: the host's routes and every network's subnets.
fn taken_networks(engine: &Engine) -> Result<Vec<Prefix>, EngineError> {
    let mut taken = kernel_networks()?;
    for record in engine.store().networks()? {
        taken.extend(
            record
                .subnets
                .iter()
                .filter_map(|one| one.subnet.parse::<Prefix>().ok()),
        );
    }
    Ok(taken)
}

/// Whether a text, an address or a subnet, lies within a subnet; malformed ones do not.
pub fn is_within(subnet: &str, text: &str) -> bool {
    let Ok(subnet) = subnet.parse::<Prefix>() else {
        return false;
    };
    match text.parse::<HostAddress>() {
        Ok(address) => subnet.covers(&address.network()),
        Err(_) => text.parse().is_ok_and(|address| subnet.contains(address)),
    }
}
