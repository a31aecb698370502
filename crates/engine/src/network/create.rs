//! `network create`: what is asked for, checked, and made a record.

use std::collections::BTreeMap;
use std::net::IpAddr;

use network::Socket;
use network::link::{InterfaceName, InvalidName, LinkError, check_free};
use network::subnet::{self, Prefix};
use storage::networks::{NetworkRecord, RECORD_VERSION, SubnetRecord, check_network_name};

use super::options::NetworkOptions;
use super::{DEFAULT, PREDEFINED, taken_networks};
use crate::Engine;
use crate::error::{EngineError, text};

/// What a network shall be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NetworkRequest {
    /// Its name.
    pub name: String,
    /// `bridge`, or empty.
    pub driver: String,
    /// Its subnets; empty chooses one.
    pub subnets: Vec<SubnetRequest>,
    /// Nothing in from outside, nothing out.
    pub internal: bool,
    /// With IPv6 addresses.
    pub ipv6: bool,
    /// Accepted for Docker's sake.
    pub attachable: bool,
    /// `--opt`.
    pub options: BTreeMap<String, String>,
    /// `--ipam-opt`.
    pub ipam_options: BTreeMap<String, String>,
    /// `--label`.
    pub labels: BTreeMap<String, String>,
}

/// One subnet that is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SubnetRequest {
    /// `--subnet`.
    pub subnet: String,
    /// `--gateway`, or empty.
    pub gateway: String,
    /// `--ip-range`, or empty.
    pub ip_range: String,
    /// `--aux-address`.
    pub auxiliary: BTreeMap<String, String>,
}

impl Engine {
    /// Makes a network; its bridge comes with its first container.
    ///
    /// # Errors
    /// A name that is taken or reserved, an unknown driver or option, subnets that are malformed or
    /// overlap.
    pub fn create_network(&self, request: NetworkRequest) -> Result<NetworkRecord, EngineError> {
        self.check_network_request(&request)?;
        let id = crate::container::create::new_id();
        let options = NetworkOptions::parse(&request.options)?;
        let bridge = match options.bridge {
            Some(bridge) => bridge,
            None => format!("cs-{}", id.get(..12).unwrap_or(&id)),
        };
        let lock = self.store().lock_networks()?;
        self.check_bridge(&bridge)?;
        let taken = taken_networks(self)?;
        let record = NetworkRecord {
            version: RECORD_VERSION,
            created: self.now(),
            driver: "bridge".into(),
            bridge,
            mtu: options.mtu,
            has_chosen_subnets: request.subnets.is_empty(),
            subnets: subnets(&request, &taken, &id)?,
            id,
            name: request.name,
            internal: request.internal,
            ipv6: request.ipv6,
            attachable: request.attachable,
            options: request.options,
            ipam_options: request.ipam_options,
            labels: request.labels,
        };
        self.network_plan(&record)?;
        self.store().create_network(&record, &lock)?;
        drop(lock);
        self.announce_network(&record, "create", &[]);
        Ok(record)
    }

    /// Checks what does not depend on other networks.
    pub(crate) fn check_network_request(
        &self,
        request: &NetworkRequest,
    ) -> Result<(), EngineError> {
        check_network_name(&request.name)?;
        let name = &request.name;
        if name == DEFAULT || name == "default" || PREDEFINED.contains(&name.as_str()) {
            return Err(EngineError::conflict(format!(
                "operation is not permitted on predefined {name} network"
            )));
        }
        if !matches!(request.driver.as_str(), "" | "bridge") {
            return Err(EngineError::invalid(format!(
                "plugin \"{}\" not found: Caisson has the network driver bridge",
                request.driver
            )));
        }
        NetworkOptions::parse(&request.options)?;
        for one in &request.subnets {
            if !one.subnet.contains(':') || request.ipv6 {
                subnet(one)?;
            }
        }
        Ok(())
    }

    /// A bridge is one network's, and none that the host has already.
    fn check_bridge(&self, bridge: &str) -> Result<(), EngineError> {
        let name: InterfaceName = bridge
            .parse()
            .map_err(|error: InvalidName| EngineError::invalid(error.to_string()))?;
        let conflict = |id: &str, name: &str| {
            Err(EngineError::conflict(format!(
                "conflicts with network {id} ({name}): networks have same bridge name"
            )))
        };
        let all = self.store().networks()?;
        if let Some(other) = all.iter().find(|other| other.bridge == bridge) {
            return conflict(&other.id, &other.name);
        }
        // The default network may not have been made yet.
        if bridge == self.default_bridge() {
            return conflict(DEFAULT, DEFAULT);
        }
        let look = || -> Result<(), LinkError> { check_free(&Socket::route()?, &name) };
        look().map_err(|error| EngineError::conflict(error.to_string()))
    }
}

fn subnets(
    request: &NetworkRequest,
    taken: &[Prefix],
    id: &str,
) -> Result<Vec<SubnetRecord>, EngineError> {
    let mut all = Vec::new();
    let mut prefixes = taken.to_vec();
    for one in &request.subnets {
        // As Docker does: it takes such a subnet and has no use for it.
        if one.subnet.contains(':') && !request.ipv6 {
            continue;
        }
        let (record, subnet) = subnet(one)?;
        let is_same_family =
            |one: &SubnetRecord| one.subnet.contains(':') == subnet.address().is_ipv6();
        if all.iter().any(is_same_family) {
            return Err(EngineError::invalid(
                "bridge driver doesn't support multiple subnets: one for IPv4 and one for IPv6",
            ));
        }
        if let Some(other) = prefixes.iter().find(|other| other.overlaps(&subnet)) {
            return Err(EngineError::conflict(format!(
                "invalid pool request: Pool overlaps with other one on this address space: {subnet} overlaps {other}"
            )));
        }
        prefixes.push(subnet);
        all.push(record);
    }
    let has =
        |all: &[SubnetRecord], ipv6: bool| all.iter().any(|one| one.subnet.contains(':') == ipv6);
    if !has(&all, false) {
        let chosen = subnet::choose(&prefixes).map_err(|error| text("choose a subnet", &error))?;
        all.insert(0, super::subnet_record(chosen));
    }
    if request.ipv6 && !has(&all, true) {
        let byte =
            |at: usize| u8::from_str_radix(id.get(at..at + 2).unwrap_or("0"), 16).unwrap_or(0);
        let seed = [byte(0), byte(2), byte(4), byte(6), byte(8)];
        let chosen = subnet::choose6(seed, &prefixes);
        let chosen = chosen.map_err(|error| text("choose an IPv6 subnet", &error))?;
        all.push(super::subnet_record(chosen));
    }
    all.sort_by_key(|one| one.subnet.contains(':'));
    Ok(all)
}

fn subnet(request: &SubnetRequest) -> Result<(SubnetRecord, Prefix), EngineError> {
    let invalid = |what: &str, value: &str, why: String| {
        EngineError::invalid(format!("invalid {what} {value}: {why}"))
    };
    let subnet: Prefix = request
        .subnet
        .parse()
        .map_err(|error: subnet::SubnetError| {
            invalid("subnet", &request.subnet, error.to_string())
        })?;
    if let Some(reserved) = reserved(&subnet) {
        let why = format!("{reserved} is reserved");
        return Err(invalid("subnet", &request.subnet, why));
    }
    let within = |what: &str, value: &str| -> Result<IpAddr, EngineError> {
        let address: IpAddr = value
            .parse()
            .map_err(|_| invalid(what, value, "it is no IP address".into()))?;
        match subnet.contains(address) && subnet.is_host(address) {
            true => Ok(address),
            false => Err(invalid(
                what,
                value,
                format!("no host's address of subnet {subnet}"),
            )),
        }
    };
    let gateway = match request.gateway.as_str() {
        "" => subnet.first_host().ok_or_else(|| {
            invalid(
                "subnet",
                &request.subnet,
                "it has no room for a gateway".into(),
            )
        })?,
        given => within("gateway", given)?,
    };
    if !request.ip_range.is_empty() {
        let range: Prefix = request
            .ip_range
            .parse()
            .map_err(|error: subnet::SubnetError| {
                invalid("ip-range", &request.ip_range, error.to_string())
            })?;
        if !subnet.covers(&range) {
            let why = format!("it is not within subnet {subnet}");
            return Err(invalid("ip-range", &request.ip_range, why));
        }
    }
    let mut taken = vec![gateway];
    for (name, value) in &request.auxiliary {
        let address = within("aux-address", value)?;
        if taken.contains(&address) {
            return Err(taken_twice(address == gateway, name, value));
        }
        taken.push(address);
    }
    if !has_room(&subnet, &taken) {
        let why = "it has no room for a container beside the gateway";
        return Err(invalid("subnet", &request.subnet, why.into()));
    }
    let record = SubnetRecord {
        subnet: subnet.to_string(),
        gateway: gateway.to_string(),
        ip_range: request.ip_range.clone(),
        auxiliary: request.auxiliary.clone(),
    };
    Ok((record, subnet))
}

fn taken_twice(is_gateway: bool, name: &str, value: &str) -> EngineError {
    let what = match is_gateway {
        true => format!("gateway ({value})"),
        false => format!("secondary ip address ({name}:{value})"),
    };
    EngineError::conflict(format!("failed to allocate {what}: Address already in use"))
}

/// Whether an address is left for a container.
fn has_room(subnet: &Prefix, taken: &[IpAddr]) -> bool {
    let is_free = |address: IpAddr| subnet.is_host(address) && !taken.contains(&address);
    // Among one more than are taken, beside the network's own, there is one.
    (0..=taken.len() as u128 + 1).any(|at| subnet.nth(at).is_some_and(is_free))
}

/// The range that no network can be in: this host's own, of links, of groups, of the future.
fn reserved(subnet: &Prefix) -> Option<&'static str> {
    const RESERVED: [&str; 8] = [
        "0.0.0.0/8",
        "127.0.0.0/8",
        "169.254.0.0/16",
        "224.0.0.0/4",
        "240.0.0.0/4",
        "::/8",
        "fe80::/10",
        "ff00::/8",
    ];
    let is_met = |range: &&str| {
        let range: Option<Prefix> = range.parse().ok();
        range.is_some_and(|range| range.overlaps(subnet))
    };
    RESERVED.into_iter().find(|range| is_met(range))
}
