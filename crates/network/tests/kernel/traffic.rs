//! Goal: packets go where the design says and nowhere else. Method: a host with two networks and a
//! neighbour on its uplink; real connections between namespaces, and who the server saw.

use std::net::{IpAddr, Ipv6Addr, SocketAddrV6, TcpListener, UdpSocket};
use std::os::fd::OwnedFd;
use std::time::Duration;

use network::conntrack::{Flows, forget};
use network::mac::Mac;
use network::nft::elements::{Elements, Guard, NetworkRules, PublishedPort, Within};
use network::ports::hold;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, ipproto, recv, sendto,
    socket_with, sockopt,
};
use types::port::Protocol;

use crate::world::{
    World, container, inside, name, network, reach, reach_soon, run, subnets,
    with_and_without_br_netfilter,
};

/// That of `net-a`.
const BRIDGE_MAC: Mac = Mac([2, 0x42, 10, 1, 0, 1]);

fn ip(text: &str) -> Option<IpAddr> {
    Some(text.parse().unwrap())
}

fn port(host: &str, port: u16, container: &str) -> PublishedPort {
    PublishedPort {
        host: host.parse().unwrap(),
        port,
        protocol: Protocol::Tcp,
        container: container.parse().unwrap(),
    }
}

#[test]
fn a_published_port_is_reached_from_everywhere() {
    with_and_without_br_netfilter(|| {
        let world = World::new();
        let server = world.a1.listen("10.1.0.2:80");
        // Held as the monitor holds it, so that the host's own stack has a say too.
        let _held = hold(Protocol::Tcp, "0.0.0.0:8080".parse().unwrap()).unwrap();
        assert_eq!(reach("127.0.0.1:8080", &server), None, "not yet published");
        world.add(|it| {
            it.port(&port("0.0.0.0", 8080, "10.1.0.2:80"));
        });
        // From the host by every address; what comes from 127.0.0.1 must have an address to answer to.
        for to in [
            "127.0.0.1:8080",
            "127.0.0.2:8080",
            "10.9.0.1:8080",
            "10.1.0.1:8080",
        ] {
            assert_eq!(reach(to, &server), ip("10.1.0.1"), "{to}");
        }
        // The neighbour's address is kept.
        assert_eq!(
            world.neighbour.reach("10.9.0.1:8080", &server),
            ip("10.9.0.2")
        );
        // From another container of the network, from itself, and from another network.
        assert_eq!(world.a2.reach("10.9.0.1:8080", &server), ip("10.1.0.1"));
        assert_eq!(world.a1.reach("10.1.0.1:8080", &server), ip("10.1.0.1"));
        assert!(world.b1.reach("10.9.0.1:8080", &server).is_some());
        assert!(world.b1.reach("10.1.0.1:8080", &server).is_some());
        // Taken out again.
        let mut gone = Elements::new();
        gone.port(&port("0.0.0.0", 8080, "10.1.0.2:80"));
        world.table.take_out(&world.netfilter, &gone).unwrap();
        assert_eq!(world.neighbour.reach("10.9.0.1:8080", &server), None);
    });
}

#[test]
fn a_published_port_is_reached_over_ipv6() {
    with_and_without_br_netfilter(|| {
        let world = World::new();
        let server = world.a1.listen("[fd00:1::2]:80");
        world.add(|it| {
            it.port(&port("::", 8080, "[fd00:1::2]:80"));
        });
        assert_eq!(
            reach_soon(|| world.neighbour.reach("[fd00:9::1]:8080", &server)),
            ip("fd00:9::2")
        );
        assert_eq!(reach("[fd00:9::1]:8080", &server), ip("fd00:1::1"));
        assert_eq!(world.a2.reach("[fd00:9::1]:8080", &server), ip("fd00:1::1"));
        assert_eq!(world.neighbour.reach("[fd00:1::2]:80", &server), None);
        assert_eq!(world.b1.reach("[fd00:1::2]:80", &server), None);
        assert_eq!(world.a2.reach("[fd00:1::2]:80", &server), ip("fd00:1::3"));
        // On one address only.
        world.add(|it| {
            it.port(&port("fd00:9::1", 8081, "[fd00:1::2]:80"));
        });
        assert_eq!(
            world.neighbour.reach("[fd00:9::1]:8081", &server),
            ip("fd00:9::2")
        );
        assert_eq!(world.a2.reach("[fd00:1::1]:8081", &server), None);
        // [::1] is the monitor's.
        let proxy = TcpListener::bind("[::1]:8080").unwrap();
        assert_eq!(reach("[::1]:8080", &proxy), ip("::1"));
    });
}

#[test]
fn a_port_on_one_address_is_not_on_others() {
    with_and_without_br_netfilter(|| {
        let world = World::new();
        let server = world.a1.listen("10.1.0.2:80");
        world.add(|it| {
            it.port(&port("127.0.0.1", 8080, "10.1.0.2:80")).port(&port(
                "10.9.0.1",
                8081,
                "10.1.0.2:80",
            ));
        });
        assert!(reach("127.0.0.1:8080", &server).is_some());
        assert_eq!(reach("127.0.0.2:8080", &server), None);
        assert_eq!(reach("10.9.0.1:8080", &server), None);
        assert_eq!(world.neighbour.reach("10.9.0.1:8080", &server), None);
        assert_eq!(world.b1.reach("10.2.0.1:8080", &server), None);
        assert_eq!(
            world.neighbour.reach("10.9.0.1:8081", &server),
            ip("10.9.0.2")
        );
        assert_eq!(reach("127.0.0.1:8081", &server), None);
    });
}

/// Makes the neighbour send to 127/8 over the wire.
fn play_cve_2020_8558(world: &World) {
    run("sysctl -qw net.ipv4.conf.uplink.route_localnet=1");
    inside(&world.neighbour.namespace, || {
        run("sysctl -qw net.ipv4.conf.all.route_localnet=1");
        run("ip addr del 127.0.0.1/8 dev lo");
        run("ip route add 127.0.0.0/8 via 10.9.0.1");
    });
}

#[test]
fn the_hosts_loopback_is_out_of_reach_for_neighbours_and_containers() {
    with_and_without_br_netfilter(|| {
        let world = World::bare();
        play_cve_2020_8558(&world);
        let secret = TcpListener::bind("127.0.0.1:9000").unwrap();
        assert!(
            world.neighbour.reach("127.0.0.1:9000", &secret).is_some(),
            "without our table the attack works, or this test proves nothing"
        );
        world.table.ensure(&world.netfilter).unwrap();
        let server = world.a1.listen("10.1.0.2:80");
        world.add(|it| {
            it.network(&network("net-a"))
                .network(&network("net-b"))
                .endpoint(&world.a1.rules)
                .port(&port("127.0.0.1", 8080, "10.1.0.2:80"));
        });
        run("sysctl -qw net.ipv4.conf.net-a.route_localnet=1");
        run("sysctl -qw net.ipv4.conf.net-b.route_localnet=1");
        assert_eq!(world.neighbour.reach("127.0.0.1:9000", &secret), None);
        assert_eq!(world.neighbour.reach("127.0.0.1:8080", &server), None);
        assert!(reach("127.0.0.1:8080", &server).is_some());
        inside(&world.b1.namespace, || {
            run("sysctl -qw net.ipv4.conf.all.route_localnet=1");
            run("ip addr del 127.0.0.1/8 dev lo");
            run("ip route add 127.0.0.0/8 via 10.2.0.1");
        });
        assert_eq!(world.b1.reach("127.0.0.1:9000", &secret), None);
        assert_eq!(world.b1.reach("127.0.0.1:8080", &server), None);
    });
}

#[test]
fn networks_are_apart_and_neighbours_reach_nothing_unpublished() {
    with_and_without_br_netfilter(|| {
        let bare = World::bare();
        let server = bare.a1.listen("10.1.0.2:80");
        assert!(
            bare.neighbour.reach("10.1.0.2:80", &server).is_some(),
            "without our table it works, or this test proves nothing"
        );
    });
    with_and_without_br_netfilter(|| {
        let world = World::new();
        let server = world.a1.listen("10.1.0.2:80");
        world.add(|it| {
            it.port(&port("0.0.0.0", 8080, "10.1.0.2:80"));
        });
        assert_eq!(world.neighbour.reach("10.1.0.2:80", &server), None);
        assert_eq!(world.b1.reach("10.1.0.2:80", &server), None);
        assert_eq!(world.a2.reach("10.1.0.2:80", &server), ip("10.1.0.3"));
        assert_eq!(
            reach("10.1.0.2:80", &server),
            ip("10.1.0.1"),
            "the host may"
        );
    });
}

#[test]
fn containers_reach_outside_under_the_hosts_address_unless_told_otherwise() {
    with_and_without_br_netfilter(|| {
        let world = World::new();
        let outside = world.neighbour.listen("10.9.0.2:80");
        let outside6 = world.neighbour.listen("[fd00:9::2]:80");
        assert_eq!(world.a1.reach("10.9.0.2:80", &outside), ip("10.9.0.1"));
        run("ip -6 route add default via fd00:9::2");
        assert_eq!(
            reach_soon(|| world.a1.reach("[fd00:9::2]:80", &outside6)),
            ip("fd00:9::1")
        );
        let mut gone = Elements::new();
        gone.whole_network(&name("net-a"), &subnets("net-a"));
        world.table.take_out(&world.netfilter, &gone).unwrap();
        world.add(|it| {
            it.network(&NetworkRules {
                masquerades_ipv4: false,
                ..network("net-a")
            });
        });
        assert_eq!(world.a1.reach("10.9.0.2:80", &outside), ip("10.1.0.2"));
        world.add(|it| {
            it.network(&NetworkRules {
                is_internal: true,
                ..network("net-a")
            });
        });
        assert_eq!(world.a1.reach("10.9.0.2:80", &outside), None);
        let server = world.a2.listen("10.1.0.3:80");
        assert!(world.a1.reach("10.1.0.3:80", &server).is_some());
        // Nor by way of another network's published port.
        let other = world.b1.listen("10.2.0.2:80");
        world.add(|it| {
            it.port(&port("0.0.0.0", 8080, "10.2.0.2:80"));
        });
        assert_eq!(world.a1.reach("10.1.0.1:8080", &other), None);
    });
}

#[test]
fn without_icc_containers_meet_only_at_published_ports() {
    with_and_without_br_netfilter(|| {
        let world = World::with_icc(false);
        network::link::delete(&world.route, &name("v1-2")).unwrap();
        network::link::delete(&world.route, &name("v1-3")).unwrap();
        let make = |host| container(&world.route, ("net-a", 1), host);
        let (one, two) = (make(2), make(3));
        crate::world::wait_for_carrier("net-a");
        world.open(("net-a", false), &one);
        world.open(("net-a", false), &two);
        let mut gone = Elements::new();
        gone.whole_network(&name("net-a"), &subnets("net-a"));
        world.table.take_out(&world.netfilter, &gone).unwrap();
        world.add(|it| {
            it.network(&NetworkRules {
                within: Within::HostOnly,
                ..network("net-a")
            })
            .host_only(&one.rules.veth, BRIDGE_MAC)
            .host_only(&two.rules.veth, BRIDGE_MAC)
            .port(&port("0.0.0.0", 8080, "10.1.0.2:80"));
        });
        let server = one.listen("10.1.0.2:80");
        assert_eq!(two.reach("10.1.0.2:80", &server), None);
        inside(&two.namespace, || run("ip route add 10.1.0.2 via 10.1.0.1"));
        assert_eq!(
            two.reach("10.1.0.2:80", &server),
            None,
            "nor by way of the gateway"
        );
        assert!(two.reach("10.1.0.1:8080", &server).is_some());
        assert!(reach("10.1.0.2:80", &server).is_some());
    });
}

#[test]
fn a_container_speaks_only_for_itself() {
    with_and_without_br_netfilter(|| {
        let world = World::new();
        let server = world.b1.listen("10.2.0.2:80");
        let peer = world.a1.listen("10.1.0.2:80");
        world.add(|it| {
            it.port(&port("0.0.0.0", 8080, "10.2.0.2:80"));
        });
        assert!(world.a2.reach("10.1.0.1:8080", &server).is_some());
        assert!(world.a2.reach("10.1.0.2:80", &peer).is_some());
        // Another address, also by ARP.
        let spoofed = || {
            inside(&world.a2.namespace, || {
                run("ip neigh flush all");
                run("ip addr flush dev eth0");
                run("ip addr add 10.1.0.99/24 dev eth0");
                run("ip route add default via 10.1.0.1");
            });
        };
        spoofed();
        assert_eq!(world.a2.reach("10.1.0.1:8080", &server), None);
        assert_eq!(world.a2.reach("10.1.0.2:80", &peer), None);
        // Back to its own, with another hardware address.
        inside(&world.a2.namespace, || {
            run("ip addr flush dev eth0");
            run("ip addr add 10.1.0.3/24 dev eth0");
            run("ip route add default via 10.1.0.1");
        });
        assert!(world.a2.reach("10.1.0.2:80", &peer).is_some());
        inside(&world.a2.namespace, || {
            run("ip link set eth0 address 02:42:0a:01:00:02")
        });
        assert_eq!(world.a2.reach("10.1.0.1:8080", &server), None);
        let shown = run("bridge fdb show br net-a");
        assert!(
            !shown.contains("02:42:0a:01:00:02 dev v1-3"),
            "the bridge learned it: {shown}"
        );
        // One that is not bound may.
        let mut gone = Elements::new();
        gone.endpoint(&world.a2.rules);
        world.table.take_out(&world.netfilter, &gone).unwrap();
        inside(&world.a2.namespace, || {
            run("ip link set eth0 address 02:42:0a:01:00:03")
        });
        spoofed();
        assert!(world.a2.reach("10.1.0.2:80", &peer).is_some());
    });
}

#[test]
fn forwarding_that_we_switched_on_serves_our_bridges_only() {
    with_and_without_br_netfilter(|| {
        let world = World::new();
        // A second neighbour behind a bridge that is not ours.
        crate::world::bridge(&world.route, "other", 8);
        run("sysctl -qw net.ipv4.conf.other.forwarding=1");
        let far = container(&world.route, ("other", 8), 2);
        crate::world::wait_for_carrier("other");
        let server = far.listen("10.8.0.2:80");
        let server6 = far.listen("[fd00:8::2]:80");
        assert!(reach_soon(|| world.neighbour.reach("10.8.0.2:80", &server)).is_some());
        assert!(reach_soon(|| world.neighbour.reach("[fd00:8::2]:80", &server6)).is_some());
        world.add(|it| {
            it.guard(&Guard::Ipv4(name("uplink"))).guard(&Guard::Ipv6);
        });
        assert_eq!(world.neighbour.reach("10.8.0.2:80", &server), None);
        assert_eq!(world.neighbour.reach("[fd00:8::2]:80", &server6), None);
        let ours = world.a1.listen("10.1.0.2:80");
        world.add(|it| {
            it.port(&port("0.0.0.0", 8080, "10.1.0.2:80"));
        });
        assert!(world.neighbour.reach("10.9.0.1:8080", &ours).is_some());
        assert!(world.a1.reach("10.8.0.2:80", &server).is_some());
        assert!(reach_soon(|| world.a1.reach("[fd00:8::2]:80", &server6)).is_some());
    });
}

#[test]
fn a_udp_flow_follows_its_port_once_it_is_forgotten() {
    with_and_without_br_netfilter(|| {
        let world = World::new();
        let bind = |container: &crate::world::Container, address: &str| {
            let socket = inside(&container.namespace, || UdpSocket::bind(address).unwrap());
            socket
                .set_read_timeout(Some(Duration::from_millis(300)))
                .unwrap();
            socket
        };
        let one = bind(&world.a1, "10.1.0.2:53");
        let two = bind(&world.a2, "10.1.0.3:53");
        let client = bind(&world.neighbour, "10.9.0.2:5000");
        let udp = |container: &str| PublishedPort {
            protocol: Protocol::Udp,
            ..port("0.0.0.0", 53, container)
        };
        let arrives = |at: &UdpSocket| {
            client.send_to(b"x", "10.9.0.1:53").unwrap();
            at.recv_from(&mut [0; 8]).is_ok()
        };
        // A flow that began before the port was published stays with the host until forgotten.
        let host = UdpSocket::bind("10.9.0.1:53").unwrap();
        host.set_read_timeout(Some(Duration::from_millis(300)))
            .unwrap();
        assert!(arrives(&host));
        drop(host);
        world.add(|it| {
            it.port(&udp("10.1.0.2:53"));
        });
        assert!(!arrives(&one));
        let any = Flows::SentTo("0.0.0.0:53".parse().unwrap());
        assert_eq!(forget(&world.netfilter, Protocol::Udp, any).unwrap(), 1);
        assert!(arrives(&one));
        // And so does one whose port goes to another container.
        world.add(|it| {
            it.port(&udp("10.1.0.3:53"));
        });
        assert!(!arrives(&two));
        assert!(one.recv_from(&mut [0; 8]).is_ok(), "it went to the old one");
        let tcp = forget(
            &world.netfilter,
            Protocol::Tcp,
            Flows::AnsweredBy("10.1.0.2:53".parse().unwrap()),
        );
        assert_eq!(tcp.unwrap(), 0);
        let old = Flows::AnsweredBy("10.1.0.2:53".parse().unwrap());
        assert_eq!(forget(&world.netfilter, Protocol::Udp, old).unwrap(), 1);
        assert_eq!(forget(&world.netfilter, Protocol::Udp, old).unwrap(), 0);
        assert!(arrives(&two));
    });
}

#[test]
fn addresses_of_the_world_are_what_the_other_tests_write() {
    with_and_without_br_netfilter(|| {
        let world = World::new();
        assert_eq!(Some(world.a1.ip()), ip("10.1.0.2"));
        assert_eq!(Some(world.b1.ip6()), ip("fd00:2::2"));
    });
}

/// An ICMPv6 socket with one second of patience.
fn icmp6() -> OwnedFd {
    let kind = SocketType::RAW;
    let protocol = Some(ipproto::ICMPV6);
    let socket = socket_with(AddressFamily::INET6, kind, SocketFlags::CLOEXEC, protocol).unwrap();
    let patience = Some(Duration::from_millis(200));
    sockopt::set_socket_timeout(&socket, sockopt::Timeout::Recv, patience).unwrap();
    socket
}

#[test]
fn a_container_is_no_router_and_answers_for_no_neighbour() {
    with_and_without_br_netfilter(|| {
        let world = World::new();
        let to_peer: SocketAddrV6 = "[fd00:1::2]:0".parse().unwrap();
        let target = |text: &str| text.parse::<Ipv6Addr>().unwrap().octets();
        let peer = inside(&world.a1.namespace, icmp6);
        let sender = inside(&world.a2.namespace, icmp6);
        let arrives = |kind: u8, target: [u8; 16]| {
            let mut packet = vec![kind, 0, 0, 0, 0, 0, 0, 0];
            packet.extend_from_slice(&target);
            sendto(&sender, &packet, SendFlags::empty(), &to_peer).unwrap();
            let mut buffer = [0; 256];
            while let Ok((length, _)) = recv(&peer, &mut buffer[..], RecvFlags::empty()) {
                if buffer[..length].starts_with(&[kind]) && buffer[8..length] == target {
                    return true;
                }
            }
            false
        };
        const ECHO: u8 = 128;
        const ROUTER: u8 = 134;
        const NEIGHBOUR: u8 = 136;
        const REDIRECT: u8 = 137;
        let own = target("fd00:1::3");
        let deadline = std::time::Instant::now() + Duration::from_secs(4);
        while !arrives(ECHO, own) {
            assert!(std::time::Instant::now() < deadline, "IPv6 never worked");
        }
        let cases = [
            (ROUTER, own, false),
            (REDIRECT, own, false),
            (NEIGHBOUR, own, true),
            (NEIGHBOUR, target("fd00:1::1"), false),
            (NEIGHBOUR, target("fd00:1::2"), false),
            (ECHO, target("fd00:1::1"), true),
        ];
        for (kind, target, expected) in cases {
            assert_eq!(arrives(kind, target), expected, "{kind} {target:?}");
        }
        let mut gone = Elements::new();
        gone.endpoint(&world.a2.rules);
        world.table.take_out(&world.netfilter, &gone).unwrap();
        assert!(arrives(ROUTER, own), "without our rules it arrives");
    });
}

#[test]
fn a_container_sends_ipv6_under_its_own_address_only() {
    with_and_without_br_netfilter(|| {
        let world = World::new();
        let peer = world.a1.listen("[fd00:1::2]:80");
        let arrives = || world.a2.reach("[fd00:1::2]:80", &peer);
        assert!(reach_soon(arrives).is_some());
        inside(&world.a2.namespace, || {
            run("ip addr add fd00:1::9/128 dev eth0 nodad");
        });
        // Of two addresses the longer prefix is chosen.
        assert_eq!(arrives(), None);
        inside(&world.a2.namespace, || {
            run("ip addr del fd00:1::9/128 dev eth0");
        });
        assert!(arrives().is_some());
    });
}

/// Bytes that the bridge itself saw.
fn bytes_of_bridge() -> u64 {
    let shown = run("ip -s -j link show net-a");
    let shown: serde_json::Value = serde_json::from_str(&shown).unwrap();
    let bytes = |way: &str| shown[0]["stats64"][way]["bytes"].as_u64().unwrap();
    bytes("rx") + bytes("tx")
}

#[test]
fn the_short_way_passes_by_the_bridge_and_ends_with_the_container() {
    with_and_without_br_netfilter(|| passes_by_the_bridge("10.1.0.2:80"));
    with_and_without_br_netfilter(|| passes_by_the_bridge("[fd00:1::2]:80"));
}

fn passes_by_the_bridge(address: &str) {
    let world = World::new();
    let server = world.a1.listen(address);
    assert!(reach_soon(|| reach(address, &server)).is_some());
    let before = bytes_of_bridge();
    assert!(world.a2.reach(address, &server).is_some());
    assert!(reach(address, &server).is_some());
    let by_bridge = bytes_of_bridge() - before > 20_000;
    if world.is_short() {
        assert!(!by_bridge, "80,000 bytes to {address} passed by the bridge");
        // Somebody else has the address now, at another port of the bridge.
        world.forget("net-a", &world.a1);
        assert!(world.a2.reach(address, &server).is_some());
        assert!(reach(address, &server).is_some());
        assert!(bytes_of_bridge() - before > 20_000, "{address}");
    } else {
        assert!(by_bridge, "or this test proves nothing");
    }
}
