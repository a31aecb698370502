//! Where a container is, or will be: its places in its networks, as `inspect` shows them.

use types::container::NetworkAttachment;

use super::attach::{names, target};
use super::{DEFAULT, Place};
use crate::container::plan::{NetworkMode, network_mode};
use crate::{Engine, StoredContainer};

impl Engine {
    /// A container's places in the networks that it asks for. Addresses and the place's id are there
    /// while it runs.
    pub fn all_places(&self, stored: &StoredContainer) -> Vec<Place> {
        let record = &stored.record;
        let default = [NetworkAttachment::default()];
        let asked = match (network_mode(&record.spec), record.spec.networks.as_slice()) {
            (NetworkMode::Bridge, []) => &default[..],
            (NetworkMode::Bridge, asked) => asked,
            (NetworkMode::Host, _) => return self.place_in_predefined(stored, "host"),
            (NetworkMode::None, _) => return self.place_in_predefined(stored, "none"),
            (NetworkMode::Container | NetworkMode::Left, _) => return Vec::new(),
        };
        let running = match stored.state.status.is_live() {
            true => self.places(&record.id),
            false => Vec::new(),
        };
        let place = |one: &NetworkAttachment| {
            let Ok(network) = self.store().find_network(target(one)) else {
                return Place {
                    network: target(one).to_owned(),
                    ..Place::default()
                };
            };
            let here = running.iter().find(|place| place.network_id == network.id);
            here.cloned().unwrap_or_else(|| Place {
                network: network.name,
                network_id: network.id,
                names: names(record, one),
                ..Place::default()
            })
        };
        asked.iter().map(place).collect()
    }

    fn place_in_predefined(&self, stored: &StoredContainer, name: &str) -> Vec<Place> {
        let network = self.predefined(name);
        let endpoint_id = match stored.state.status.is_live() {
            true => mixed(&stored.record.id, &network.id),
            false => String::new(),
        };
        vec![Place {
            network: network.name,
            network_id: network.id,
            endpoint_id,
            ..Place::default()
        }]
    }

    /// The id of a running container's network namespace: always the same for one container.
    pub fn sandbox_id(&self, stored: &StoredContainer) -> String {
        let default = self.store().network(DEFAULT).unwrap_or_default();
        match stored.state.status.is_live() {
            true => mixed(
                &stored.record.id,
                &default.id.chars().rev().collect::<String>(),
            ),
            false => String::new(),
        }
    }
}

/// An id that two ids make together, and no other two that there are.
fn mixed(one: &str, other: &str) -> String {
    let digits = |text: &str| -> Vec<u32> {
        let digits = text.chars().map(|digit| digit.to_digit(16).unwrap_or(0));
        digits.chain(std::iter::repeat(0)).take(one.len()).collect()
    };
    let pairs = digits(one).into_iter().zip(digits(other));
    pairs.map(|(a, b)| format!("{:x}", a ^ b)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_ids_make_a_third() {
        assert_eq!(mixed("00ff", "0f0f"), "0ff0");
        assert_eq!(mixed("12", ""), "12");
        assert_eq!(mixed(&"a".repeat(64), &"b".repeat(64)), "1".repeat(64));
    }
}
