//! What stands in the way of a container's packets, and who has a port.

use network::Socket;
use network::attachment::{Attachment, Endpoint};
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
    let help = if chain.table == "firewalld" {
        format!("firewall-cmd --permanent --zone=trusted --add-interface={bridge}; firewall-cmd --reload")
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
