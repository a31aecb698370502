//! What stands in the way of a container's packets, and who has a port.

use network::Socket;
use network::attachment::Attachment;
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
    /// Says which container has the port that was taken.
    pub(crate) fn with_port_holder(&self, error: EngineError) -> EngineError {
        let EngineError::Start(mut failure) = error else {
            return error;
        };
        let is_taken = failure.text.contains("address already in use");
        // A monitor that passes connections on is found in the kernel's tables by its own name.
        let is_ours = !failure.text.contains("(by ") || failure.text.contains("(by caisson-");
        if is_taken && is_ours {
            // Read, not observed: this command holds the lock of the one that could not start.
            let ids = self.store().container_ids().unwrap_or_default();
            let holder = ids.into_iter().find(|id| {
                let published = self.published(id);
                let mut ports = published.iter().map(|(_, _, port)| format!(":{port}/"));
                ports.any(|port| failure.text.contains(&port))
            });
            let holder = holder.and_then(|id| self.store().read_container(&id).ok());
            if let Some(holder) = holder {
                let text = failure.text.split(" (by ").next().unwrap_or_default();
                failure.text = text.to_owned();
                failure
                    .text
                    .push_str(&format!(" (by container {})", holder.record.name));
            }
        }
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
