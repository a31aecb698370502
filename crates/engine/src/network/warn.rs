//! What stands in the way of a container's packets, and who has a port.

use std::net::SocketAddr;

use network::Socket;
use network::attachment::{Attachment, Endpoint, Port};
use network::nft::Table;
use network::nft::foreign::{ForeignChain, mentions};
use network::nft::way::make_way;

use crate::Engine;
use crate::error::EngineError;

/// Has other firewalls let a container's networks pass, and warns of those that only their owner can
/// open, with the command that helps.
pub(crate) fn make_way_or_warn(attachment: &Attachment) -> Vec<String> {
    let look = || {
        let table = Table::new(&attachment.firewall.table).ok()?;
        let socket = Socket::netfilter().ok()?;
        let leads_outside = |one: &&Endpoint| !one.network.is_internal;
        let mut warning = None;
        for endpoint in attachment.endpoints.iter().filter(leads_outside) {
            let bridge = &endpoint.network.bridge;
            let is_in_the_way =
                |chain: &&ForeignChain| !mentions(&socket, chain, bridge).unwrap_or(false);
            let left = make_way(&socket, &table, bridge).ok()?;
            let chain = left.iter().find(is_in_the_way);
            warning = warning.or(chain.map(|chain| text(chain, bridge.as_str())));
        }
        warning
    };
    let warning = look();
    // Nobody is told who publishes nothing: most such containers never ask for the outside.
    warning
        .filter(|_| !attachment.ports.is_empty())
        .into_iter()
        .collect()
}

fn text(chain: &ForeignChain, bridge: &str) -> String {
    let (what, help) = way_text(chain, bridge);
    format!("{what}. To let its network pass: {help}")
}

/// What a chain of another firewall does to a bridge's packets, and the command that lets them pass.
pub(crate) fn way_text(chain: &ForeignChain, bridge: &str) -> (String, String) {
    let help = if chain.table == "firewalld" {
        format!(
            "firewall-cmd --permanent --zone=trusted --add-interface={bridge}; firewall-cmd --reload"
        )
    } else {
        let place = format!("{} {} {}", chain.family, chain.table, chain.name);
        format!(
            "nft insert rule {place} iifname {bridge} accept; nft insert rule {place} oifname {bridge} accept"
        )
    };
    let what = format!(
        "another firewall (chain {} of table {} {}) drops forwarded packets: other hosts do not \
         reach published ports, and the container not the outside",
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
