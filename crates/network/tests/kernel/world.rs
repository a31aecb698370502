//! A host, its containers and a neighbour on its uplink, each a network namespace.

use std::cell::Cell;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::process::Command;
use std::time::{Duration, Instant};

use network::link::{BridgeSpec, InterfaceName, VethSpec, create_bridge, create_veth};
use network::mac::Mac;
use network::nft::Table;
use network::nft::elements::{Elements, EndpointRules, NetworkRules, Within};
use network::route::{InsideSpec, configure, in_namespace};
use network::shortcut::{self, Door, Place};
use network::subnet::{HostAddress, Prefix};
use network::{Socket, sysctl};
use sys::process::{join_namespaces, namespaces, unshare};

/// How long a connection may take before it counts as dropped.
const PATIENCE: Duration = Duration::from_millis(500);

pub(crate) fn name(text: &str) -> InterfaceName {
    text.parse().unwrap()
}

fn own_namespace() -> OwnedFd {
    std::fs::File::open("/proc/thread-self/ns/net")
        .unwrap()
        .into()
}

/// Runs `body` on a thread in a fresh network namespace, or says why not.
pub(crate) fn in_fresh_namespace(body: impl FnOnce() + Send) {
    for tool in ["ip", "bridge", "nft", "sysctl"] {
        if Command::new(tool).arg("-V").output().is_err() {
            println!("skipped: no {tool} here");
            return;
        }
    }
    let result = std::thread::scope(|scope| {
        scope
            .spawn(|| {
                if let Err(error) = unshare(namespaces::NET) {
                    println!("skipped: {error}");
                    return;
                }
                run("ip link set lo up");
                body();
            })
            .join()
    });
    if let Err(panic) = result {
        std::panic::resume_unwind(panic);
    }
}

thread_local! {
    /// Whether packets take the short way past the bridge.
    static SHORT: Cell<bool> = const { Cell::new(false) };
}

/// Four times: with frames between ports of a bridge passing the filters of IP (br_netfilter), and
/// without; by the bridge, and by the short way past it.
pub(crate) fn with_and_without_br_netfilter(body: impl Fn() + Send + Sync) {
    for (value, short) in [(0, false), (1, false), (0, true), (1, true)] {
        in_fresh_namespace(|| {
            SHORT.set(short);
            println!("short way: {short}");
            for switch in ["iptables", "ip6tables", "arptables"] {
                let path = format!("/proc/sys/net/bridge/bridge-nf-call-{switch}");
                if std::fs::write(path, value.to_string()).is_err() && value == 1 {
                    println!("skipped: no br_netfilter");
                    return;
                }
            }
            println!("br_netfilter: {value}");
            body();
        });
    }
}

pub(crate) fn new_namespace() -> OwnedFd {
    std::thread::spawn(|| {
        unshare(namespaces::NET).unwrap();
        own_namespace()
    })
    .join()
    .unwrap()
}

/// Does something on a thread inside a namespace.
pub(crate) fn inside<T: Send>(namespace: &OwnedFd, work: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        scope
            .spawn(|| {
                join_namespaces(namespace, namespaces::NET).unwrap();
                work()
            })
            .join()
            .unwrap()
    })
}

/// Runs a command in this thread's namespace and returns what it prints.
pub(crate) fn run(line: &str) -> String {
    let mut words = line.split(' ');
    let output = Command::new(words.next().unwrap())
        .args(words)
        .output()
        .unwrap_or_else(|error| panic!("{line}: {error}"));
    assert!(
        output.status.success(),
        "{line}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

/// A container: a namespace with one interface.
pub(crate) struct Container {
    pub(crate) namespace: OwnedFd,
    pub(crate) addresses: Vec<HostAddress>,
    pub(crate) rules: EndpointRules,
}

impl Container {
    pub(crate) fn ip(&self) -> IpAddr {
        self.addresses[0].address
    }

    pub(crate) fn ip6(&self) -> IpAddr {
        self.addresses[1].address
    }

    pub(crate) fn listen(&self, address: &str) -> TcpListener {
        inside(&self.namespace, || TcpListener::bind(address).unwrap())
    }

    /// See [`reach`].
    pub(crate) fn reach(&self, to: &str, listener: &TcpListener) -> Option<IpAddr> {
        inside(&self.namespace, || reach(to, listener))
    }
}

/// Two networks, three containers, a neighbour on the uplink.
pub(crate) struct World {
    pub(crate) route: Socket,
    pub(crate) netfilter: Socket,
    pub(crate) table: Table,
    pub(crate) a1: Container,
    pub(crate) a2: Container,
    pub(crate) b1: Container,
    pub(crate) neighbour: Container,
}

pub(crate) fn subnets(bridge: &str) -> Vec<Prefix> {
    let number = if bridge == "net-a" { 1 } else { 2 };
    [format!("10.{number}.0.0/24"), format!("fd00:{number}::/64")]
        .map(|text| text.parse().unwrap())
        .to_vec()
}

pub(crate) fn network(bridge: &str) -> NetworkRules {
    NetworkRules {
        bridge: name(bridge),
        subnets: subnets(bridge),
        within: Within::Open,
        is_internal: false,
        masquerades_ipv4: true,
        masquerades_ipv6: true,
    }
}

pub(crate) fn bridge(route: &Socket, bridge: &str, number: u8) -> u32 {
    let addresses =
        gateways(number).map(|(address, length)| HostAddress::new(address, length).unwrap());
    let spec = BridgeSpec {
        name: &name(bridge),
        owner: "caisson:test",
        origin: std::path::Path::new("/s/networks/n"),
        mtu: 1400,
        mac: Mac([2, 0x42, 10, number, 0, 1]),
        addresses: &addresses,
    };
    create_bridge(route, &spec).unwrap()
}

fn gateways(number: u8) -> [(IpAddr, u8); 2] {
    [
        (format!("10.{number}.0.1").parse().unwrap(), 24),
        (format!("fd00:{number}::1").parse().unwrap(), 64),
    ]
}

pub(crate) fn container(route: &Socket, (bridge, number): (&str, u8), host: u8) -> Container {
    let namespace = new_namespace();
    let veth = name(&format!("v{number}-{host}"));
    let mac = Mac([2, 0x42, 10, number, 0, host]);
    let spec = VethSpec {
        host: &veth,
        bridge: &name(bridge),
        inside: &name("eth0"),
        namespace: namespace.as_fd(),
        mac,
        mtu: 1400,
        program: None,
    };
    create_veth(route, &spec).unwrap();
    let addresses = vec![
        format!("10.{number}.0.{host}/24").parse().unwrap(),
        format!("fd00:{number}::{host}/64").parse().unwrap(),
    ];
    let socket = in_namespace(&namespace).unwrap();
    let spec = InsideSpec {
        interface: &name("eth0"),
        rename: None,
        mac: None,
        mtu: None,
        addresses: &addresses,
        gateways: &gateways(number).map(|(address, _)| address),
    };
    configure(&socket, &spec).unwrap();
    let rules = EndpointRules {
        veth,
        mac,
        addresses: addresses.iter().map(|it| it.address).collect(),
    };
    Container {
        namespace,
        addresses,
        rules,
    }
}

/// The kernel takes up to a second to notice that a bridge's first port is there.
pub(crate) fn wait_for_carrier(bridge: &str) {
    let deadline = Instant::now() + Duration::from_secs(4);
    while !run(&format!("ip -br link show {bridge}")).contains(" UP ") {
        assert!(Instant::now() < deadline, "{bridge} never came up");
    }
}

impl World {
    /// With the firewall, and the networks and endpoints in it.
    pub(crate) fn new() -> Self {
        Self::with_icc(true)
    }

    /// The same; whether containers of one network may take the short way to each other.
    pub(crate) fn with_icc(has_icc: bool) -> Self {
        let world = Self::bare();
        world.table.ensure(&world.netfilter).unwrap();
        let mut elements = Elements::new();
        elements
            .network(&network("net-a"))
            .network(&network("net-b"));
        for container in [&world.a1, &world.a2, &world.b1] {
            elements.endpoint(&container.rules);
        }
        world.table.add(&world.netfilter, &elements).unwrap();
        for bridge in ["net-a", "net-b"] {
            sysctl::route_localnet(&name(bridge)).unwrap();
        }
        if SHORT.get() && !world.shorten(has_icc) {
            println!("no short way on this kernel");
        }
        world
    }

    fn shorten(&self, has_icc: bool) -> bool {
        let all = [
            ("net-a", &self.a1),
            ("net-a", &self.a2),
            ("net-b", &self.b1),
        ];
        all.iter()
            .all(|(bridge, container)| self.open((bridge, has_icc), container))
    }

    /// Opens the short way for a container; whether the kernel has it.
    pub(crate) fn open(&self, (bridge, has_icc): (&str, bool), container: &Container) -> bool {
        let IpAddr::V4(address) = container.ip() else {
            panic!("{} is no IPv4 address", container.ip());
        };
        let number = if bridge == "net-a" { 1 } else { 2 };
        let place = Place {
            bridge: self.index(bridge),
            mac: Mac([2, 0x42, 10, number, 0, 1]),
            has_icc,
        };
        let door = Door {
            veth: self.index(container.rules.veth.as_str()),
            mac: container.rules.mac,
            address,
            address6: match container.ip6() {
                IpAddr::V6(address) => Some(address),
                IpAddr::V4(_) => None,
            },
        };
        let Ok(way) = shortcut::of(&place) else {
            return false;
        };
        network::link::attach(
            &self.route,
            (door.veth, network::link::Direction::Ingress),
            way.program(),
        )
        .unwrap();
        way.open(&door).unwrap();
        true
    }

    /// Closes it.
    pub(crate) fn forget(&self, bridge: &str, container: &Container) {
        shortcut::close(self.index(bridge), container.rules.mac).unwrap();
    }

    /// Whether packets may take the short way.
    pub(crate) fn is_short(&self) -> bool {
        SHORT.get() && shortcut::is_prepared(self.index("net-a"))
    }

    fn index(&self, interface: &str) -> u32 {
        rustix::net::netdevice::name_to_index(&self.route, interface).unwrap()
    }

    /// Without any firewall.
    pub(crate) fn bare() -> Self {
        let route = Socket::route().unwrap();
        for (bridge_name, number) in [("net-a", 1), ("net-b", 2), ("uplink", 9)] {
            bridge(&route, bridge_name, number);
            sysctl::forward_ipv4(&name(bridge_name)).unwrap();
        }
        sysctl::forward_ipv6().unwrap();
        let make = |place, host| container(&route, place, host);
        let world = Self {
            a1: make(("net-a", 1), 2),
            a2: make(("net-a", 1), 3),
            b1: make(("net-b", 2), 2),
            neighbour: make(("uplink", 9), 2),
            netfilter: Socket::netfilter().unwrap(),
            table: Table::new("caisson-test").unwrap(),
            route,
        };
        for bridge in ["net-a", "net-b", "uplink"] {
            wait_for_carrier(bridge);
        }
        let gateway = world.neighbour.ip();
        network::route::set_default_route(&world.route, &name("uplink"), gateway).unwrap();
        world
    }

    pub(crate) fn add(&self, change: impl FnOnce(&mut Elements)) {
        let mut elements = Elements::new();
        change(&mut elements);
        self.table.add(&self.netfilter, &elements).unwrap();
    }
}

/// Connects from this thread's namespace; the source address that the listener saw, or `None`
/// where the connection did not come about or ended elsewhere.
pub(crate) fn reach(to: &str, listener: &TcpListener) -> Option<IpAddr> {
    let to: SocketAddr = to.parse().unwrap();
    let mut client = TcpStream::connect_timeout(&to, PATIENCE).ok()?;
    listener.set_nonblocking(true).unwrap();
    let deadline = Instant::now() + PATIENCE;
    let (mut server, from) = loop {
        match listener.accept() {
            Ok(accepted) => break accepted,
            Err(_) if Instant::now() < deadline => std::thread::yield_now(),
            Err(_) => return None,
        }
    };
    server.set_nonblocking(false).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    server.set_read_timeout(Some(PATIENCE)).unwrap();
    // Both ways, more than one packet.
    let big = vec![7; 20_000];
    client.write_all(&big).ok()?;
    server.read_exact(&mut vec![0; 20_000]).ok()?;
    server.write_all(&big).ok()?;
    client.read_exact(&mut vec![0; 20_000]).ok()?;
    Some(from.ip())
}

/// The same over IPv6, which needs up to a second until a bridge that has got its first port is
/// ready.
pub(crate) fn reach_soon(attempt: impl Fn() -> Option<IpAddr>) -> Option<IpAddr> {
    let deadline = Instant::now() + Duration::from_secs(4);
    loop {
        let result = attempt();
        if result.is_some() || Instant::now() > deadline {
            return result;
        }
    }
}
