//! What others can reach: ports on every address, containers in the host's network, containers that
//! are as powerful as root; and firewalls that keep others from reaching what is published.

use network::nft::Table;
use network::nft::foreign::mentions;
use storage::containers::StoredContainer;

use super::{Area, Finding, Severity};
use crate::Engine;
use crate::container::plan::{NetworkMode, network_mode};

fn open(severity: Severity, text: impl Into<String>) -> Finding {
    Finding::new(severity, Area::Exposure, text)
}

impl Engine {
    pub(super) fn exposure(&self) -> Vec<Finding> {
        let running = self.containers().unwrap_or_default().into_iter();
        let running = running.filter(|stored| stored.state.status.is_live());
        running
            .flat_map(|stored| self.exposure_of(&stored))
            .collect()
    }

    fn exposure_of(&self, stored: &StoredContainer) -> Vec<Finding> {
        let (name, spec) = (&stored.record.name, &stored.record.spec);
        let mut all = Vec::new();
        let mut told = Vec::new();
        for (container, host, port) in self.published(&stored.record.id) {
            // One line for both families.
            if host.is_loopback() || told.contains(&(port, container.number)) {
                continue;
            }
            told.push((port, container.number));
            let place = match host {
                host if host.is_unspecified() => "every address of this machine".to_owned(),
                host => format!("{host}"),
            };
            let number = container.number;
            let protocol = container.protocol;
            all.push(
                open(
                    Severity::Note,
                    format!("{name}: port {number}/{protocol} is open on {place}, port {port}"),
                )
                .command(format!(
                    "caisson run … -p {}:{port}:{number} …   # to reach it from this machine only",
                    std::net::Ipv4Addr::LOCALHOST
                )),
            );
        }
        if network_mode(spec) == NetworkMode::Host {
            all.push(open(
                Severity::Note,
                format!(
                    "{name}: is in the host's network, every port that it listens on is the host's"
                ),
            ));
        }
        if spec.privileged {
            all.push(
                open(
                    Severity::Warning,
                    format!("{name}: is privileged: who takes it over has this machine"),
                )
                .command("caisson run --cap-add NAME … or --device PATH … instead of --privileged"),
            );
        }
        all
    }

    /// Another firewall's chain that drops what is forwarded to our bridges.
    pub(super) fn firewalls_in_the_way(&self) -> Vec<Finding> {
        let look =
            || {
                let table = Table::new(&self.cgroup_parent()).ok()?;
                let socket = network::Socket::netfilter().ok()?;
                let foreign = network::nft::foreign::foreign(&socket, &table).ok()?;
                let mut all = Vec::new();
                let finding = |(text, command)| {
                    Finding::new(Severity::Warning, Area::Machine, text).command(command)
                };
                for record in self.store().networks().ok()? {
                    let plan = self.network_plan(&record).ok()?;
                    if record.internal || plan.index().is_none() {
                        continue;
                    }
                    let is_closed = |chain: &&network::nft::foreign::ForeignChain| {
                        !mentions(&socket, chain, &plan.bridge).unwrap_or(true)
                    };
                    all.extend(foreign.dropping().filter(is_closed).map(|chain| {
                        finding(crate::network::way_text(chain, plan.bridge.as_str()))
                    }));
                    let ways = crate::network::legacy_ways(std::iter::once(&plan));
                    all.extend(ways.into_iter().map(finding));
                }
                Some(all)
            };
        look().unwrap_or_default()
    }
}
