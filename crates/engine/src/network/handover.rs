//! Published ports that go from a running container to the one that takes its place.
//!
//! The new container runs without them. Then its monitor gets the sockets that hold the ports, and leads the
//! ports to it in one transaction of the kernel's tables; after that the old one's lets go of them. At no
//! moment is a port free for somebody else, or without a container behind it.

use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use compose::container::labels;
use monitor::client::{self, Connection};
use monitor::protocol::{Kind, Ports, TakePorts};
use network::attachment::{Attachment, Port};
use runtime::Failure;
use storage::containers::ContainerRecord;

use super::attach::published_ports;
use crate::Engine;
use crate::error::EngineError;

/// Connections that the old container's kernel has taken and its program not yet would be reset by its stop: so
/// long it has for them.
const ACCEPT_PAUSE: Duration = Duration::from_millis(250);

impl Engine {
    /// Whether a container gets its published ports only when they are handed over: it comes in the place of
    /// one that has them.
    pub(super) fn awaits_ports(&self, record: &ContainerRecord) -> bool {
        let old = record.spec.labels.get(labels::REPLACE);
        let place = old.and_then(|old| self.attachment(old));
        place.is_some_and(|place| place.ports.iter().any(|port| port.bound != 0))
    }

    /// Hands the published ports of a container over to the one that comes in its place. Those that the old one
    /// has not are taken from the host. May be done again.
    ///
    /// # Errors
    /// A port that somebody else has; then nothing has changed.
    pub fn hand_over_ports(&self, old: &str, new: &str) -> Result<(), EngineError> {
        Self::until_confirmed(new, || self.try_hand_over(old, new))?;
        std::thread::sleep(ACCEPT_PAUSE);
        Ok(())
    }

    fn try_hand_over(&self, old: &str, new: &str) -> Result<bool, EngineError> {
        let (stored, connection, _lock) = self.lock_connected(new)?;
        let Some(mut to) = connection else {
            return Err(EngineError::conflict(format!(
                "container {} is not running",
                stored.record.name
            )));
        };
        let Some(place) = self.attachment(&stored.record.id) else {
            return Ok(true);
        };
        let mut from = self.container(old).and_then(|old| self.connect(&old));
        let had = match &mut from {
            Ok(Some(from)) => ask_ports(from)?,
            _ => Some(Held::new()),
        };
        let Some(had) = had else {
            return Ok(false);
        };
        if !take_ports(&mut to, &stored.record, &place, had)? {
            return Ok(false);
        }
        sys::fail::point("engine.ports.handed");
        match &mut from {
            Ok(Some(from)) => Ok(from.ask(Kind::LetGoPorts, &())?),
            _ => Ok(true),
        }
    }

    /// The container that was to come in another's place is gone: what was led to it leads to the other again.
    pub(crate) fn put_back_ports(&self, old: &str) {
        let nothing = TakePorts {
            handed: Vec::new(),
            others: Vec::new(),
        };
        if let Ok(Some(mut connection)) = self.container(old).and_then(|old| self.connect(&old)) {
            let _ = connection.ask(Kind::TakePorts, &nothing);
        }
    }
}

/// Ports, each with the socket that holds it.
type Held = Vec<(Port, OwnedFd)>;

/// A monitor's ports; `None` where it was killed.
fn ask_ports(from: &mut Connection) -> Result<Option<Held>, Failure> {
    if from.send(Kind::AskPorts, &()).is_err() {
        return Ok(None);
    }
    loop {
        let Some(packet) = from.receive()? else {
            return Ok(None);
        };
        match packet.kind {
            Kind::Ports => {
                let ports: Option<Ports> = serde_json::from_slice(&packet.body).ok();
                let all = ports.filter(|ports| ports.list.len() == packet.fds.len());
                let unreadable = || Failure::setup("the monitor's answer cannot be read");
                let ports = all.ok_or_else(unreadable)?.list;
                return Ok(Some(ports.into_iter().zip(packet.fds).collect()));
            }
            Kind::Failed => return Err(client::failure(&packet.body)),
            _ => {}
        }
    }
}

/// Tells a monitor which ports it has from now on; whether it said that it has.
fn take_ports(
    to: &mut Connection,
    record: &ContainerRecord,
    place: &Attachment,
    mut had: Held,
) -> Result<bool, EngineError> {
    let (mut handed, mut others, mut passed) = (Vec::new(), Vec::new(), Vec::new());
    for mut wanted in published_ports(record, place)? {
        match had.iter().position(|(port, _)| wanted.is_served_by(port)) {
            Some(index) => {
                let (port, socket) = had.swap_remove(index);
                wanted.bound = port.bound;
                handed.push(wanted);
                passed.push(socket);
            }
            None => others.push(wanted),
        }
    }
    let fds: Vec<_> = passed.iter().map(AsFd::as_fd).collect();
    Ok(to.ask_with(Kind::TakePorts, &TakePorts { handed, others }, &fds)?)
}
