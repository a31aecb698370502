//! Networks, endpoints and published ports as elements of the skeleton's sets and maps.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use rustix::io::Errno;
use types::port::Protocol;

use super::{
    DELSETELEM, Family, GETSETELEM, NEWSETELEM, NLM_F_CREATE, Table, begin, end, skeleton,
};
use crate::link::InterfaceName;
use crate::mac::Mac;
use crate::netlink::{Batch, NetlinkError, Socket, Step};
use crate::route::octets;
use crate::subnet::Prefix;

/// A transaction is split beyond so many bytes; each part is whole in itself.
const PART_BYTES: usize = 64 * 1024;

const SET_TABLE: u16 = 1;
const SET_NAME: u16 = 2;
const SET_ELEMENTS: u16 = 3;
const ELEMENT_KEY: u16 = 1;
const ELEMENT_DATA: u16 = 2;
const VALUE: u16 = 1;

/// Whether the containers of one network talk to each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Within {
    /// They do.
    Open,
    /// Only by published ports (`--opt com.docker.network.bridge.enable_icc=false`): then each
    /// endpoint is to be [`Elements::host_only`] too.
    HostOnly,
}

/// A network, as far as filters see it.
#[derive(Clone, Debug)]
pub struct NetworkRules {
    /// Its bridge.
    pub bridge: InterfaceName,
    /// Its subnets.
    pub subnets: Vec<Prefix>,
    /// Whether its containers talk to each other.
    pub within: Within,
    /// Nothing in from outside, nothing out.
    pub is_internal: bool,
    /// IPv4 leaves under the host's address.
    pub masquerades_ipv4: bool,
    /// IPv6 leaves under the host's address.
    pub masquerades_ipv6: bool,
}

/// An endpoint that may only speak for itself.
#[derive(Clone, Debug)]
pub struct EndpointRules {
    /// The host's end of the pair.
    pub veth: InterfaceName,
    /// The hardware address inside.
    pub mac: Mac,
    /// The addresses inside.
    pub addresses: Vec<IpAddr>,
}

/// A published port. Both sides are of one family: nothing else can be translated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PublishedPort {
    /// The host's address; unspecified (`0.0.0.0`, `::`) for every one of its family.
    pub host: IpAddr,
    /// The host's port.
    pub port: u16,
    /// The protocol.
    pub protocol: Protocol,
    /// Where it leads.
    pub container: SocketAddr,
}

/// Forwarding that was off before we switched it on, so that only our bridges may use it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Guard {
    /// IPv4 on one interface.
    Ipv4(InterfaceName),
    /// IPv6 everywhere.
    Ipv6,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Element {
    family: Family,
    set: &'static str,
    key: Vec<u8>,
    key_end: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    what: String,
}

/// Elements that are put in or taken out together.
#[derive(Clone, Debug, Default)]
pub struct Elements {
    list: Vec<Element>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    Add,
    Remove,
}

impl Elements {
    /// None.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// A network.
    pub fn network(&mut self, network: &NetworkRules) -> &mut Self {
        let name = network.bridge.padded().to_vec();
        let pair = [&name[..], &name[..]].concat();
        let open = network.within == Within::Open;
        let sets = [
            (skeleton::BRIDGES, &name, true),
            (skeleton::SAME, &pair, true),
            (skeleton::WITHIN, &pair, open),
            (skeleton::INTERNAL, &name, network.is_internal),
            (skeleton::MASQUERADE4, &name, network.masquerades_ipv4),
            (skeleton::MASQUERADE6, &name, network.masquerades_ipv6),
        ];
        for (set, key, applies) in sets {
            if applies {
                self.push(Family::Inet, set, key.clone(), network.bridge.as_str());
            }
        }
        for subnet in &network.subnets {
            let set = match subnet.address() {
                IpAddr::V4(_) => skeleton::HAIRPINS4,
                IpAddr::V6(_) => skeleton::HAIRPINS6,
            };
            self.list.push(Element {
                family: Family::Inet,
                set,
                key: [&octets(subnet.address())[..], &name].concat(),
                key_end: Some([&octets(subnet.last())[..], &name].concat()),
                value: None,
                what: network.bridge.as_str().to_owned(),
            });
        }
        self
    }

    /// Every element that a network of any options may have: for removal.
    pub fn whole_network(&mut self, bridge: &InterfaceName, subnets: &[Prefix]) -> &mut Self {
        self.network(&NetworkRules {
            bridge: bridge.clone(),
            subnets: subnets.to_vec(),
            within: Within::Open,
            is_internal: true,
            masquerades_ipv4: true,
            masquerades_ipv6: true,
        })
    }

    /// An endpoint. One that is not listed may send what it likes.
    pub fn endpoint(&mut self, endpoint: &EndpointRules) -> &mut Self {
        let name = endpoint.veth.padded();
        self.push(
            Family::Bridge,
            skeleton::VETHS,
            name.to_vec(),
            endpoint.veth.as_str(),
        );
        // Beside its own: none yet (a DHCP request, a probe for duplicates), and the link-local
        // address that its kernel makes of the hardware address.
        let always = [
            IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            IpAddr::V6(Ipv6Addr::UNSPECIFIED),
            IpAddr::V6(endpoint.mac.link_local()),
        ];
        for address in endpoint.addresses.iter().chain(&always) {
            let set = match address {
                IpAddr::V4(_) => skeleton::SOURCES4,
                IpAddr::V6(_) => skeleton::SOURCES6,
            };
            // Six bytes and two of padding.
            let key = [&name[..], &endpoint.mac.0, &[0; 2], &octets(*address)].concat();
            self.push(Family::Bridge, set, key, endpoint.veth.as_str());
        }
        self
    }

    /// An endpoint that talks to the host only, whose hardware address on the bridge is given. The
    /// host still forwards what came by a published port.
    pub fn host_only(&mut self, veth: &InterfaceName, gateway: Mac) -> &mut Self {
        let name = veth.padded();
        let key = [&name[..], &gateway.0, &[0; 2]].concat();
        self.push(
            Family::Bridge,
            skeleton::HOST_ONLY,
            name.to_vec(),
            veth.as_str(),
        );
        self.push(Family::Bridge, skeleton::GATEWAYS, key, veth.as_str());
        self
    }

    /// A published port; one whose sides differ in family is skipped, for the caller proxies it.
    pub fn port(&mut self, port: &PublishedPort) -> &mut Self {
        let container = port.container;
        if port.host.is_ipv4() != container.is_ipv4() {
            return self;
        }
        let set = match (port.host.is_unspecified(), port.host.is_ipv4()) {
            (true, true) => skeleton::ANY4,
            (true, false) => skeleton::ANY6,
            (false, true) => skeleton::PORTS4,
            (false, false) => skeleton::PORTS6,
        };
        let mut key = if port.host.is_unspecified() {
            Vec::new()
        } else {
            octets(port.host)
        };
        key.extend_from_slice(&[protocol_number(port.protocol), 0, 0, 0]);
        key.extend_from_slice(&padded(port.port));
        let mut value = octets(container.ip());
        value.extend_from_slice(&padded(container.port()));
        self.list.push(Element {
            family: Family::Inet,
            set,
            key,
            key_end: None,
            value: Some(value),
            what: format!(
                "{}/{}",
                SocketAddr::new(port.host, port.port),
                port.protocol
            ),
        });
        self
    }

    /// Forwarding that only our bridges may use.
    pub fn guard(&mut self, guard: &Guard) -> &mut Self {
        match guard {
            Guard::Ipv4(name) => {
                let key = name.padded().to_vec();
                self.push(Family::Inet, skeleton::GUARDED, key, name.as_str());
            }
            Guard::Ipv6 => {
                const NFPROTO_IPV6: u8 = 10;
                let set = skeleton::GUARDED_FAMILIES;
                self.push(Family::Inet, set, vec![NFPROTO_IPV6], "ipv6");
            }
        }
        self
    }

    fn push(&mut self, family: Family, set: &'static str, key: Vec<u8>, what: &str) {
        self.list.push(Element {
            family,
            set,
            key,
            key_end: None,
            value: None,
            what: what.to_owned(),
        });
    }
}

impl Table {
    /// Puts elements in. What is there already stays; a published port that led elsewhere leads to
    /// the new place. One transaction (several for more than about 500 elements).
    ///
    /// # Errors
    /// `ENOENT` without the tables; then nothing has changed.
    pub fn add(&self, socket: &Socket, elements: &Elements) -> Result<(), NetlinkError> {
        match self.change(socket, &elements.list, Change::Add) {
            // A key with another value: only a published port has one.
            Err(error) if error.errno() == Some(Errno::EXIST) => {
                for element in &elements.list {
                    self.replace(socket, element)?;
                }
                Ok(())
            }
            other => other,
        }
    }

    /// Takes elements out; those that are not there, and missing tables, are fine. A published port that leads
    /// elsewhere by now stays.
    ///
    /// # Errors
    /// The kernel's answer.
    pub fn take_out(&self, socket: &Socket, elements: &Elements) -> Result<(), NetlinkError> {
        let is_fine =
            |error: &NetlinkError| matches!(error.errno(), Some(Errno::NOENT | Errno::EXIST));
        match self.change(socket, &elements.list, Change::Remove) {
            // One that is missing or another's fails the whole transaction: then one by one.
            Err(error) if is_fine(&error) => elements
                .list
                .iter()
                .map(|element| {
                    let one = std::slice::from_ref(element);
                    match self.change(socket, one, Change::Remove) {
                        Err(error) if is_fine(&error) => Ok(()),
                        other => other,
                    }
                })
                .fold(Ok(()), Result::and),
            other => other,
        }
    }

    /// Whether a port of the host leads to a container. One whose monitor was killed is among them.
    ///
    /// # Errors
    /// The kernel's answer; that there are no tables is none.
    pub fn is_published(
        &self,
        socket: &Socket,
        host: SocketAddr,
        protocol: Protocol,
    ) -> Result<bool, NetlinkError> {
        let mut wanted = Elements::new();
        // Only the key counts.
        wanted.port(&PublishedPort {
            host: host.ip(),
            port: host.port(),
            protocol,
            container: host,
        });
        let Some(element) = wanted.list.first() else {
            return Ok(false);
        };
        let mut batch = Batch::new();
        let step = Step::new("look at", element.what.clone()).unless(&[Errno::NOENT]);
        batch.push((GETSETELEM, 0), &element.family.header(), step, |body| {
            body.put_text(SET_TABLE, self.name());
            body.put_text(SET_NAME, element.set);
            body.nest(SET_ELEMENTS, |list| {
                list.nest(1, |entry| {
                    entry.nest(ELEMENT_KEY, |key| key.put(VALUE, &element.key));
                });
            });
        });
        Ok(!socket.exchange(batch)?.is_empty())
    }

    fn replace(&self, socket: &Socket, element: &Element) -> Result<(), NetlinkError> {
        let mut batch = begin();
        push_element(&mut batch, self, element, Change::Remove);
        push_element(&mut batch, self, element, Change::Add);
        end(&mut batch);
        match socket.commit(batch) {
            Err(error) if error.errno() == Some(Errno::NOENT) => {
                self.change(socket, std::slice::from_ref(element), Change::Add)
            }
            other => other,
        }
    }

    fn change(
        &self,
        socket: &Socket,
        elements: &[Element],
        change: Change,
    ) -> Result<(), NetlinkError> {
        if elements.is_empty() {
            return Ok(());
        }
        self.change_from(socket, begin(), elements, change)
    }

    /// Puts elements in, beginning with a transaction that holds something already.
    pub(super) fn add_from(
        &self,
        socket: &Socket,
        begun: Batch,
        elements: &Elements,
    ) -> Result<(), NetlinkError> {
        self.change_from(socket, begun, &elements.list, Change::Add)
    }

    fn change_from(
        &self,
        socket: &Socket,
        begun: Batch,
        elements: &[Element],
        change: Change,
    ) -> Result<(), NetlinkError> {
        let mut batch = begun;
        for element in elements {
            if batch.size_bytes() > PART_BYTES {
                end(&mut batch);
                socket.commit(std::mem::replace(&mut batch, begin()))?;
            }
            if change == Change::Remove && element.value.is_some() {
                // Fails with `EEXIST` where the key has another value: removals go by the key alone.
                push_element(&mut batch, self, element, Change::Add);
            }
            push_element(&mut batch, self, element, change);
        }
        end(&mut batch);
        socket.commit(batch)
    }
}

fn push_element(batch: &mut Batch, table: &Table, element: &Element, change: Change) {
    let (kind, verb) = match change {
        Change::Add => ((NEWSETELEM, NLM_F_CREATE), "add to the firewall"),
        Change::Remove => ((DELSETELEM, 0), "remove from the firewall"),
    };
    let step = Step::new(verb, format!("{} {}", element.set, element.what));
    batch.push(kind, &element.family.header(), step, |body| {
        body.put_text(SET_TABLE, table.name());
        body.put_text(SET_NAME, element.set);
        body.nest(SET_ELEMENTS, |list| {
            list.nest(1, |entry| {
                entry.nest(ELEMENT_KEY, |key| key.put(VALUE, &element.key));
                if let Some(end) = &element.key_end {
                    entry.nest(10, |key| key.put(VALUE, end));
                }
                if let (Some(value), Change::Add) = (&element.value, change) {
                    entry.nest(ELEMENT_DATA, |data| data.put(VALUE, value));
                }
            });
        });
    });
}

pub(crate) fn protocol_number(protocol: Protocol) -> u8 {
    match protocol {
        Protocol::Tcp => 6,
        Protocol::Udp => 17,
        Protocol::Sctp => 132,
    }
}

/// A port in a piece of four bytes.
fn padded(port: u16) -> [u8; 4] {
    let [high, low] = port.to_be_bytes();
    [high, low, 0, 0]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_and_values_have_the_lengths_that_their_sets_say() {
        let mut elements = Elements::new();
        for (host, container) in [
            ("0.0.0.0", "172.17.0.2:80"),
            ("192.0.2.1", "172.17.0.2:80"),
            ("::", "[fd00::2]:80"),
            ("2001:db8::1", "[fd00::2]:80"),
        ] {
            elements.port(&PublishedPort {
                host: host.parse().unwrap(),
                port: 8080,
                protocol: Protocol::Udp,
                container: container.parse().unwrap(),
            });
        }
        let sizes: Vec<_> = elements
            .list
            .iter()
            .map(|it| (it.set, it.key.len(), it.value.as_ref().unwrap().len()))
            .collect();
        assert_eq!(
            sizes,
            [
                ("any4", 8, 8),
                ("ports4", 12, 8),
                ("any6", 8, 20),
                ("ports6", 24, 20)
            ]
        );
        assert_eq!(elements.list[0].key, [17, 0, 0, 0, 0x1f, 0x90, 0, 0]);
        assert_eq!(
            elements.list[0].value,
            Some(vec![172, 17, 0, 2, 0, 80, 0, 0])
        );
        assert_eq!(elements.list[0].what, "0.0.0.0:8080/udp");
    }

    #[test]
    fn a_port_between_families_is_nothing_to_translate() {
        let mut elements = Elements::new();
        elements.port(&PublishedPort {
            host: "::".parse().unwrap(),
            port: 80,
            protocol: Protocol::Tcp,
            container: "172.17.0.2:80".parse().unwrap(),
        });
        assert!(elements.is_empty());
    }
}
