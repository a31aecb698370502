//! What stands in the way of a container's packets, and who has a port.

use std::net::SocketAddr;

use network::Socket;
use network::attachment::{Attachment, Endpoint, Port};
use network::bridge::NetworkPlan;
use network::legacy::{Family, Filter};
use network::link::InterfaceName;
use network::nft::Table;
use network::nft::foreign::{ForeignChain, mentions};
use network::nft::way::make_way;
use network::subnet::HostAddress;

use crate::Engine;
use crate::error::EngineError;

/// Has other firewalls let a container's networks pass, and warns of those that only their owner can
/// open, with the command that helps.
pub(super) fn make_way_or_warn(attachment: &Attachment, socket: &Socket) -> Vec<String> {
    let outside = attachment.endpoints.iter();
    let outside: Vec<&Endpoint> = outside.filter(|one| !one.network.is_internal).collect();
    let bridges: Vec<&InterfaceName> = outside.iter().map(|one| &one.network.bridge).collect();
    let Ok(table) = Table::new(&attachment.firewall.table) else {
        return Vec::new();
    };
    let left = make_way(socket, &table, &bridges).unwrap_or_default();
    // Nobody is told who publishes nothing: most such containers never ask for the outside.
    if attachment.ports.is_empty() {
        return Vec::new();
    }
    let is_in_the_way = |chain: &&ForeignChain, bridge: &InterfaceName| {
        !mentions(socket, chain, bridge).unwrap_or(false)
    };
    let by_chain = bridges.iter().find_map(|bridge| {
        let chain = left.iter().find(|chain| is_in_the_way(chain, bridge))?;
        Some(text(chain, bridge.as_str()))
    });
    by_chain
        .into_iter()
        .chain(legacy_warning(&outside))
        .collect()
}

fn legacy_warning(outside: &[&Endpoint]) -> Option<String> {
    let plans = outside.iter().map(|one| &one.network);
    let (what, help) = legacy_ways(plans).into_iter().next()?;
    Some(format!("{what}. To let its network pass: {help}"))
}

/// What the old variant of iptables does to packets of networks, and the command that lets them pass. It
/// is its owner's: we only read it.
pub(crate) fn legacy_ways<'a>(
    plans: impl Iterator<Item = &'a NetworkPlan> + Clone,
) -> Vec<(String, String)> {
    let mut all = Vec::new();
    for family in Family::ALL {
        let Some(filter) = Filter::read(family).filter(Filter::drops_forwarded) else {
            continue;
        };
        let is_meant = |plan: &&NetworkPlan| {
            let is_v4 = |gateway: &HostAddress| gateway.address.is_ipv4();
            let mut families = plan.gateways.iter().map(is_v4);
            families.any(|is_v4| is_v4 == (family == Family::Ipv4))
                && !filter.mentions(&plan.bridge)
        };
        let tool = family.tool();
        for plan in plans.clone().filter(is_meant) {
            let (bridge, chain) = (plan.bridge.as_str(), filter.chain_for_others());
            let insert = format!("{tool} -I {chain}");
            all.push((
                format!(
                    "another firewall (chain FORWARD of {tool}) drops forwarded packets: other hosts \
                     do not reach published ports, and the container not the outside"
                ),
                format!("{insert} -i {bridge} -j ACCEPT; {insert} -o {bridge} -j ACCEPT"),
            ));
        }
    }
    all
}

fn text(chain: &ForeignChain, bridge: &str) -> String {
    let (what, help) = way_text(chain, bridge);
    format!("{what}. To let its network pass: {help}")
}

/// What a chain of another firewall does to a bridge's packets, and the command that lets them pass.
pub(crate) fn way_text(chain: &ForeignChain, bridge: &str) -> (String, String) {
    let help = if chain.is_firewalld() {
        format!(
            "firewall-cmd --permanent --zone=trusted --add-interface={bridge}; firewall-cmd --reload"
        )
    } else {
        let place = format!("{} {} {}", chain.family, chain.table, chain.name);
        format!(
            "nft insert rule {place} iifname {bridge} accept; nft insert rule {place} oifname {bridge} accept"
        )
    };
    // What was translated firewalld lets pass.
    let effect = if chain.is_firewalld() {
        "rejects forwarded packets: the container does not reach the outside"
    } else {
        "drops forwarded packets: other hosts do not reach published ports, and the container not \
         the outside"
    };
    let what = format!(
        "another firewall (chain {} of table {} {}) {effect}",
        chain.name, chain.family, chain.table
    );
    (what, help)
}

impl Engine {
    /// Says in Docker's words that a port is taken, and which container has it.
    pub(crate) fn with_port_holder(
        &self,
        error: EngineError,
        name: &str,
        attachment: Option<&Attachment>,
    ) -> EngineError {
        let Some(attachment) = attachment else {
            return error;
        };
        let EngineError::Start(mut failure) = error else {
            return error;
        };
        let Some(taken) = TakenPort::parse(&failure.text, attachment) else {
            return EngineError::Start(failure);
        };
        // A monitor that passes connections on is found in the kernel's tables by its own name.
        let is_ours = taken.holder.is_empty() || taken.holder.contains("(by caisson-");
        // Read, not observed: this command holds the lock of the one that could not start.
        let has_it = |id: &String| {
            let mut published = self.published(id).into_iter();
            published.any(|(container, _, port)| {
                container.protocol == taken.port.protocol && port == taken.address.port()
            })
        };
        let ids = self.store().container_ids().unwrap_or_default();
        let holder = ids.into_iter().filter(|_| is_ours).find(has_it);
        let holder = holder.and_then(|id| self.store().read_container(&id).ok());
        let why = match holder {
            Some(holder) => format!(
                "Bind for {} failed: port is already allocated (by container {})",
                taken.address, holder.record.name
            ),
            None => taken.text(attachment),
        };
        let endpoint = attachment
            .endpoints
            .first()
            .map_or("", |one| one.id.as_str());
        failure.text = format!(
            "{}driver failed programming external connectivity on endpoint {name} ({endpoint}): {why}",
            taken.before
        );
        EngineError::Start(failure)
    }

    /// Looks at every other container as it truly is. The caller holds this one's lock, so no other
    /// is waited for that might wait for it.
    pub(crate) fn repair_others(&self, own: &str) {
        for id in self.store().container_ids().unwrap_or_default() {
            let directory = self.store().container_directory(&id);
            let is_free = |path: &std::path::Path| {
                matches!(sys::lock::Lock::try_acquire_directory(path), Ok(Some(_)))
            };
            if id != own && is_free(&directory) {
                let _ = self.observe(&id);
            }
        }
    }
}

/// What a monitor says of a port that it could not hold.
struct TakenPort<'a> {
    /// The text in front.
    before: &'a str,
    /// The address and port of the host.
    address: SocketAddr,
    /// What was to be published there.
    port: &'a Port,
    /// ` (by nginx, process 12)`, or nothing.
    holder: &'a str,
}

impl<'a> TakenPort<'a> {
    fn parse(text: &'a str, attachment: &'a Attachment) -> Option<Self> {
        let (before, rest) = text.split_once("failed to bind host port ")?;
        let (port, holder) = rest.split_once(": address already in use")?;
        let (address, protocol) = port.split_once('/')?;
        let address: SocketAddr = address.parse().ok()?;
        let is_meant = |port: &&Port| {
            let numbers = port.range.0..=port.range.1;
            let is_number = port.range.0 == 0 || numbers.contains(&address.port());
            port.host == address.ip() && port.protocol.name() == protocol && is_number
        };
        Some(Self {
            before,
            address,
            port: attachment.ports.iter().find(is_meant)?,
            holder,
        })
    }

    fn text(&self, attachment: &Attachment) -> String {
        let target = attachment.target(self.port);
        let target = target.map_or_else(String::new, |target| format!(":{target}"));
        format!(
            "failed to bind host port for {}{target}/{}: address already in use{}",
            self.address,
            self.port.protocol.name(),
            self.holder
        )
    }
}
