//! What stands in the way of a container's packets, and who has a port.

use std::net::SocketAddr;

use network::Socket;
use network::attachment::{Attachment, Port};
use network::nft::Table;
use network::nft::foreign::{Foreign, ForeignChain, foreign, mentions};

use crate::Engine;
use crate::error::EngineError;

/// Warns of other firewalls that drop what published ports need, with the commands that help.
pub(crate) fn warnings(attachment: &Attachment) -> Vec<String> {
    if attachment.ports.is_empty() {
        return Vec::new();
    }
    let look = || {
        let table = Table::new(&attachment.firewall.table).ok()?;
        let socket = Socket::netfilter().ok()?;
        let found = foreign(&socket, &table).ok()?;
        let bridge = &attachment.endpoints.first()?.network.bridge;
        let is_in_the_way = |chain: &&ForeignChain| {
            chain.drops_by_policy
                && !mentions(&socket, chain, bridge).unwrap_or(false)
                && !docker_user_mentions(&socket, &found, bridge)
        };
        let chain = found.forward.iter().find(is_in_the_way)?;
        Some(text(&found, chain, bridge.as_str()))
    };
    look().into_iter().collect()
}

fn docker_user_mentions(
    socket: &Socket,
    found: &Foreign,
    bridge: &network::link::InterfaceName,
) -> bool {
    found.docker_user.iter().any(|(family, table)| {
        let chain = ForeignChain {
            family,
            table: table.clone(),
            name: "DOCKER-USER".into(),
            priority: 0,
            drops_by_policy: false,
        };
        mentions(socket, &chain, bridge).unwrap_or(false)
    })
}

fn text(found: &Foreign, chain: &ForeignChain, bridge: &str) -> String {
    let is_iptables = chain.family != "inet" && chain.table == "filter" && chain.name == "FORWARD";
    let help = if !found.docker_user.is_empty() {
        format!(
            "iptables -I DOCKER-USER -i {bridge} -j ACCEPT; iptables -I DOCKER-USER -o {bridge} -j ACCEPT"
        )
    } else if is_iptables {
        format!(
            "iptables -I FORWARD -i {bridge} -j ACCEPT; iptables -I FORWARD -o {bridge} -j ACCEPT"
        )
    } else {
        let place = format!("{} {} {}", chain.family, chain.table, chain.name);
        format!(
            "nft insert rule {place} iifname {bridge} accept; nft insert rule {place} oifname {bridge} accept"
        )
    };
    format!(
        "another firewall (chain {} of table {} {}) drops forwarded packets: other hosts do not \
         reach published ports, and the container not the outside. To let its network pass: {help}",
        chain.name, chain.family, chain.table
    )
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
