//! Goal: links, addresses and routes are what was asked for, twice over, and strangers' are left
//! alone. Method: make them, look with `ip` and `bridge` and with our own listing.

use network::link::{BridgeSpec, LinkError, create_bridge, delete};
use network::listing;
use network::mac::Mac;
use network::nft::resolver as rules;
use network::resolver::{Redirection, ResolverPorts, redirect};
use network::route::{self, InsideSpec, netfilter_in_namespace, within};
use network::{Socket, sysctl};
use std::net::UdpSocket;

use crate::world::{Container, bridge, container, in_fresh_namespace, inside, name, run};

#[test]
fn a_bridge_is_made_once_and_only_where_the_name_is_free_or_ours() {
    in_fresh_namespace(|| {
        let route = Socket::route().unwrap();
        let index = bridge(&route, "net-a", 1);
        assert_eq!(
            bridge(&route, "net-a", 1),
            index,
            "the second time changes nothing"
        );
        let shown = run("ip -d addr show net-a");
        for part in [
            "mtu 1400",
            "UP",
            "alias caisson:test /s/networks/n",
            "bridge",
            "link/ether 02:42:0a:01:00:01",
            "inet 10.1.0.1/24 brd 10.1.0.255",
            "inet6 fd00:1::1/64",
        ] {
            assert!(shown.contains(part), "{part}: {shown}");
        }
        assert_eq!(shown.matches("inet 10.1.0.1").count(), 1);
        for (made, expected) in [
            ("ip link add foreign type bridge", "bridge"),
            ("ip link add v0 type veth peer name foreign", "veth"),
        ] {
            run(made);
            run("ip link set foreign up");
            let spec = BridgeSpec {
                name: &name("foreign"),
                owner: "caisson:test",
                origin: std::path::Path::new("/s/networks/n"),
                mtu: 1500,
                mac: Mac([2, 0, 0, 0, 0, 1]),
                addresses: &[],
            };
            match create_bridge(&route, &spec) {
                Err(LinkError::NotOurs { kind, .. }) => assert_eq!(kind, expected),
                other => panic!("{other:?}"),
            }
            assert!(!run("ip -d link show foreign").contains("alias"));
            delete(&route, &name("foreign")).unwrap();
            delete(&route, &name("foreign")).unwrap();
        }
    });
}

#[test]
fn a_veth_has_its_name_addresses_and_routes_inside_and_its_port_outside() {
    in_fresh_namespace(|| {
        let route = Socket::route().unwrap();
        bridge(&route, "net-a", 1);
        let one = container(&route, ("net-a", 1), 2);
        let two = container(&route, ("net-a", 1), 3);
        let shown = inside(&one.namespace, || {
            run("ip addr") + &run("ip route") + &run("ip -6 route")
        });
        for part in [
            "lo: <LOOPBACK,UP",
            "eth0@",
            "mtu 1400",
            "link/ether 02:42:0a:01:00:02",
            "inet 10.1.0.2/24",
            "inet6 fd00:1::2/64",
            "default via 10.1.0.1 dev eth0",
            "default via fd00:1::1 dev eth0",
        ] {
            assert!(shown.contains(part), "{part}: {shown}");
        }
        assert!(
            !shown.contains("fd00:1::2/64 scope global tentative"),
            "{shown}"
        );
        let ports = run("bridge -d link show");
        for veth in ["v1-2@", "v1-3@"] {
            let after = ports.split(veth).nth(1).unwrap();
            assert!(after.contains("master net-a state forwarding"), "{ports}");
            let echoes = network::sysctl::filters_bridged_frames();
            let line = after.lines().nth(1).unwrap();
            assert_eq!(line.contains("hairpin on"), echoes, "{ports}");
        }
        assert!(
            !run("ip addr show v1-2").contains("inet"),
            "no address outside"
        );
        let links = listing::links(&route).unwrap();
        let found = links.iter().find(|link| link.name == "v1-2").unwrap();
        let master = links.iter().find(|link| link.name == "net-a").unwrap();
        assert_eq!(
            (found.kind.as_str(), found.mtu, found.is_up),
            ("veth", 1400, true)
        );
        assert_eq!(found.master, Some(master.index));
        assert_eq!(
            (master.kind.as_str(), master.alias.as_str()),
            ("bridge", "caisson:test")
        );
        drop((one, two));
    });
}

#[test]
fn a_taken_name_is_refused_and_its_owner_untouched() {
    in_fresh_namespace(|| {
        let route = Socket::route().unwrap();
        bridge(&route, "net-a", 1);
        run("ip link add v1-2 type veth peer name other");
        let namespace = crate::world::new_namespace();
        let spec = network::link::VethSpec {
            host: &name("v1-2"),
            bridge: &name("net-a"),
            inside: &name("eth0"),
            namespace: std::os::fd::AsFd::as_fd(&namespace),
            mac: Mac([2, 0, 0, 0, 0, 2]),
            mtu: 1500,
            program: None,
        };
        let error = network::link::create_veth(&route, &spec).unwrap_err();
        assert_eq!(error.to_string(), "cannot create link v1-2: File exists");
        let shown = run("ip link show v1-2");
        assert!(
            shown.contains("state DOWN") && !shown.contains("master"),
            "{shown}"
        );
    });
}

#[test]
fn a_running_interface_is_renamed_and_changed() {
    in_fresh_namespace(|| {
        let route = Socket::route().unwrap();
        bridge(&route, "net-a", 1);
        let one = container(&route, ("net-a", 1), 2);
        let socket = route::in_namespace(&one.namespace).unwrap();
        let shown = || inside(&one.namespace, || run("ip -d addr") + &run("ip route"));
        route::remove_default_route(&socket, &name("eth0"), "10.1.0.1".parse().unwrap()).unwrap();
        route::remove_default_route(&socket, &name("eth0"), "10.1.0.1".parse().unwrap()).unwrap();
        assert!(!shown().contains("default via"), "{}", shown());
        route::remove_address(&socket, &name("eth0"), &one.addresses[0]).unwrap();
        route::remove_address(&socket, &name("eth0"), &one.addresses[0]).unwrap();
        assert!(!shown().contains("10.1.0.2/24"), "{}", shown());
        inside(&one.namespace, || run("ip link set eth0 down"));
        let spec = InsideSpec {
            interface: &name("eth0"),
            rename: Some(&name("front")),
            mac: Some(Mac([2, 0, 0, 0, 0, 9])),
            mtu: Some(1300),
            addresses: &["10.1.0.7/24".parse().unwrap()],
            gateways: &["10.1.0.1".parse().unwrap()],
        };
        route::configure(&socket, &spec).unwrap();
        for part in [
            "front@",
            "mtu 1300",
            "02:00:00:00:00:09",
            "10.1.0.7/24",
            "via 10.1.0.1 dev front",
        ] {
            assert!(shown().contains(part), "{part}: {}", shown());
        }
    });
}

#[test]
fn the_uplink_and_the_networks_that_are_taken_are_found() {
    in_fresh_namespace(|| {
        let route = Socket::route().unwrap();
        assert_eq!(listing::uplink(&route).unwrap(), None);
        bridge(&route, "net-a", 1);
        bridge(&route, "wide", 3);
        run("ip route add default via 10.3.0.9 metric 50");
        run("ip route add default via 10.1.0.9 metric 100");
        run("ip route add 172.18.0.0/16 via 10.1.0.9");
        run("ip route add blackhole 172.19.0.0/16");
        let uplink = listing::uplink(&route).unwrap().unwrap();
        assert_eq!((uplink.name.as_str(), uplink.mtu), ("wide", 1400));
        let taken: Vec<String> = listing::taken_networks(&route)
            .unwrap()
            .iter()
            .map(ToString::to_string)
            .collect();
        for expected in [
            "10.1.0.0/24",
            "10.3.0.0/24",
            "172.18.0.0/16",
            "127.0.0.0/8",
            "fd00:1::/64",
        ] {
            assert!(
                taken.iter().any(|it| it == expected),
                "{expected}: {taken:?}"
            );
        }
        assert!(!taken.iter().any(|it| it.ends_with("/0")));
    });
}

#[test]
fn switches_are_moved_in_the_namespace_that_is_meant() {
    in_fresh_namespace(|| {
        // A new namespace has them as the host, which may be a router.
        run("sysctl -w net.ipv4.ip_forward=0 net.ipv6.conf.all.forwarding=0");
        let route = Socket::route().unwrap();
        bridge(&route, "net-a", 1);
        let one = container(&route, ("net-a", 1), 2);
        let bridge = name("net-a");
        assert_eq!(
            sysctl::forward_ipv4(&bridge).unwrap(),
            sysctl::Switched::Now
        );
        assert_eq!(
            sysctl::forward_ipv4(&bridge).unwrap(),
            sysctl::Switched::Already
        );
        assert_eq!(
            run("sysctl -n net.ipv4.ip_forward").trim(),
            "0",
            "not for the whole host"
        );
        sysctl::route_localnet(&bridge).unwrap();
        assert_eq!(
            run("sysctl -n net.ipv4.conf.net-a.route_localnet").trim(),
            "1"
        );
        run("sysctl -w net.ipv6.conf.net-a.accept_ra=1");
        assert_eq!(sysctl::forward_ipv6().unwrap(), sysctl::Switched::Now);
        assert_eq!(sysctl::forward_ipv6().unwrap(), sysctl::Switched::Already);
        assert_eq!(run("sysctl -n net.ipv6.conf.net-a.accept_ra").trim(), "2");
        let eth0 = name("eth0");
        within(&one.namespace, || {
            sysctl::set_ipv6(&eth0, sysctl::Ipv6::Off)
        })
        .unwrap()
        .unwrap();
        assert!(!inside(&one.namespace, || run("ip addr show eth0")).contains("inet6"));
        assert!(sysctl::forward_ipv4(&name("missing")).is_err());
    });
}

#[test]
fn the_name_server_answers_at_port_53_and_the_containers_own_stays_free() {
    in_fresh_namespace(|| {
        let route = Socket::route().unwrap();
        bridge(&route, "net-a", 1);
        let one = container(&route, ("net-a", 1), 2);
        let udp = inside(&one.namespace, || UdpSocket::bind("127.0.0.11:0").unwrap());
        let tcp = one.listen("127.0.0.11:0");
        let ports = ResolverPorts {
            udp: udp.local_addr().unwrap().port(),
            tcp: tcp.local_addr().unwrap().port(),
        };
        let netfilter = netfilter_in_namespace(&one.namespace).unwrap();
        let earlier = ResolverPorts { udp: 9, tcp: 9 };
        let by_rules = || rules::redirect(&netfilter, ports).unwrap();
        let by_program = || {
            let made = redirect(&one.namespace, ports, true).unwrap();
            assert!(matches!(made, Redirection::Program));
            let rules = inside(&one.namespace, || run("nft list ruleset"));
            assert!(!rules.contains("chain"), "{rules}");
        };
        let after_others = || {
            rules::redirect(&netfilter, earlier).unwrap();
            redirect(&one.namespace, earlier, false).unwrap();
            by_program();
        };
        let ways: [&dyn Fn(); 3] = [&by_rules, &by_program, &after_others];
        for make in ways {
            make();
            ask(&one, &udp);
            assert!(one.reach("127.0.0.11:53", &tcp).is_some());
            // The container's own servers on port 53, at its other addresses and at all.
            for own in ["10.1.0.2:53", "127.0.0.1:53", "0.0.0.0:53"] {
                let own_server = one.listen(own);
                let at = if own.starts_with("10.") {
                    own
                } else {
                    "127.0.0.1:53"
                };
                assert!(one.reach(at, &own_server).is_some(), "{own}");
            }
        }
        // Nobody there is told at once.
        drop((udp, tcp));
        by_program();
        inside(&one.namespace, || {
            let client = UdpSocket::bind("0.0.0.0:0").unwrap();
            client
                .set_read_timeout(Some(std::time::Duration::from_secs(1)))
                .unwrap();
            client.connect("127.0.0.11:53").unwrap();
            client.send(b"question").unwrap();
            let refused = std::io::ErrorKind::ConnectionRefused;
            assert_eq!(client.recv(&mut [0; 16]).unwrap_err().kind(), refused);
            let stream = std::net::TcpStream::connect("127.0.0.11:53");
            assert_eq!(stream.unwrap_err().kind(), refused);
        });
    });
}

fn ask(container: &Container, server: &UdpSocket) {
    let second = std::time::Duration::from_secs(1);
    inside(&container.namespace, || {
        let client = UdpSocket::bind("0.0.0.0:0").unwrap();
        client.set_read_timeout(Some(second)).unwrap();
        server.set_read_timeout(Some(second)).unwrap();
        client.send_to(b"question", "127.0.0.11:53").unwrap();
        let mut buffer = [0; 16];
        let (length, from) = server.recv_from(&mut buffer).unwrap();
        assert_eq!(&buffer[..length], b"question");
        server.send_to(b"answer", from).unwrap();
        let (length, from) = client.recv_from(&mut buffer).unwrap();
        assert_eq!(
            (&buffer[..length], from.to_string().as_str()),
            (&b"answer"[..], "127.0.0.11:53")
        );
    });
}

#[test]
fn a_bridge_that_has_no_port_left_says_so() {
    in_fresh_namespace(|| {
        let route = Socket::route().unwrap();
        bridge(&route, "net-a", 1);
        let namespace = crate::world::new_namespace();
        let start = std::time::Instant::now();
        let mut made = 0;
        let error = loop {
            let spec = network::link::VethSpec {
                host: &name(&format!("v{made}")),
                bridge: &name("net-a"),
                inside: &name(&format!("e{made}")),
                namespace: std::os::fd::AsFd::as_fd(&namespace),
                mac: Mac([2, 0, 0, 0, 0, 2]),
                mtu: 1500,
                program: None,
            };
            match network::link::create_veth(&route, &spec) {
                Ok(()) => made += 1,
                Err(error) => break error,
            }
            assert!(made < 2000);
        };
        println!("a pair: {:?}", start.elapsed() / made);
        assert_eq!(made, 1023);
        assert_eq!(
            error.to_string(),
            "the bridge net-a has no port left (a bridge takes 1023)"
        );
        assert!(!run("ip -br link").contains("v1023@"), "nothing half-made");
    });
}

#[test]
fn the_steps_of_a_container_are_few_and_short() {
    in_fresh_namespace(|| {
        let route = Socket::route().unwrap();
        let netfilter = Socket::netfilter().unwrap();
        let table = network::nft::Table::new("caisson-test").unwrap();
        table.ensure(&netfilter).unwrap();
        bridge(&route, "net-a", 1);
        // Kept until the end: the kernel takes namespaces apart beside us, under the same lock.
        let mut kept = Vec::new();
        let mut took = Vec::new();
        for host in 2..42 {
            let start = std::time::Instant::now();
            let one = container(&route, ("net-a", 1), host);
            let mut elements = network::nft::elements::Elements::new();
            elements.endpoint(&one.rules);
            table.add(&netfilter, &elements).unwrap();
            took.push(start.elapsed());
            kept.push(one);
        }
        took.sort_unstable();
        println!(
            "namespace, thread, pair, addresses, rules: median {:?}",
            took[20]
        );
    });
}
