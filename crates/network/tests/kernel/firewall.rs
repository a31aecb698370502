//! Goal: our tables are made whole, once, and changed element by element. Method: compare what
//! `nft` prints before and after.

use std::time::Instant;

use network::Socket;
use network::legacy::{Family, Filter};
use network::nft::elements::{Elements, Guard, PublishedPort};
use network::nft::foreign::foreign;
use network::nft::watch::{was_our_table_deleted, watch};
use network::nft::way::{close_way, make_way};
use network::nft::{Presence, Table};
use rustix::io::Errno;
use types::port::Protocol;

use crate::world::{in_fresh_namespace, name, network, run};

fn published(host: &str, port: u16, container: &str) -> PublishedPort {
    PublishedPort {
        host: host.parse().unwrap(),
        port,
        protocol: Protocol::Tcp,
        container: container.parse().unwrap(),
    }
}

fn fixture() -> (Socket, Table) {
    (
        Socket::netfilter().unwrap(),
        Table::new("caisson-test").unwrap(),
    )
}

#[test]
fn the_skeleton_is_the_same_however_often_it_is_made() {
    in_fresh_namespace(|| {
        let (socket, table) = fixture();
        assert_eq!(table.presence(&socket).unwrap(), Presence::Absent);
        table.ensure(&socket).unwrap();
        assert_eq!(table.presence(&socket).unwrap(), Presence::Current);
        let mut elements = Elements::new();
        elements
            .network(&network("net-a"))
            .guard(&Guard::Ipv4(name("uplink")))
            .guard(&Guard::Ipv6)
            .port(&published("0.0.0.0", 8080, "10.1.0.2:80"));
        table.add(&socket, &elements).unwrap();
        let before = run("nft list ruleset");
        if std::env::var_os("SHOW_RULESET").is_some() {
            println!("{before}");
        }
        for _ in 0..3 {
            table.ensure(&socket).unwrap();
            table.add(&socket, &elements).unwrap();
        }
        assert_eq!(run("nft list ruleset"), before);
        table.remake(&socket, &elements).unwrap();
        assert_eq!(run("nft list ruleset"), before);
        for part in [
            "table inet caisson-test",
            "table bridge caisson-test",
            "tcp . 8080 : 10.1.0.2 . 80",
            "\"net-a\" . \"net-a\"",
            "elements = { \"net-a\" }",
            "elements = { \"uplink\" }",
            "fib daddr type local jump published",
        ] {
            assert!(before.contains(part), "{part}: {before}");
        }
        table.remove(&socket).unwrap();
        table.remove(&socket).unwrap();
        assert_eq!(run("nft list ruleset"), "");
    });
}

#[test]
fn tables_of_another_version_are_told_apart_and_replaced() {
    in_fresh_namespace(|| {
        let (socket, table) = fixture();
        run("nft add table inet caisson-test { comment \"caisson 0\"; }");
        run("nft add table bridge caisson-test");
        assert_eq!(table.presence(&socket).unwrap(), Presence::Other);
        // A chain of ours that is hooked in elsewhere cannot be changed: all or nothing.
        run("nft add chain inet caisson-test forward { type filter hook input priority 7; }");
        let before = run("nft list ruleset");
        table.ensure(&socket).unwrap_err();
        assert_eq!(run("nft list ruleset"), before);
        table.remake(&socket, &Elements::new()).unwrap();
        assert_eq!(table.presence(&socket).unwrap(), Presence::Current);
    });
}

#[test]
fn elements_come_change_and_go() {
    in_fresh_namespace(|| {
        let (socket, table) = fixture();
        let mut first = Elements::new();
        first
            .port(&published("0.0.0.0", 8080, "10.1.0.2:80"))
            .port(&published("192.0.2.1", 81, "10.1.0.2:81"))
            .port(&published("::", 8080, "[fd00:1::2]:80"))
            .port(&published("2001:db8::1", 81, "[fd00:1::2]:81"));
        let error = table.add(&socket, &first).unwrap_err();
        assert_eq!(error.errno(), Some(Errno::NOENT));
        assert_eq!(
            error.to_string(),
            "cannot add to the firewall any4 0.0.0.0:8080/tcp: No such file or directory"
        );
        table.take_out(&socket, &first).unwrap();
        table.ensure(&socket).unwrap();
        let empty = run("nft list ruleset");
        table.add(&socket, &first).unwrap();
        let shown = run("nft list ruleset");
        for part in [
            "192.0.2.1 . tcp . 81 : 10.1.0.2 . 81",
            "tcp . 8080 : fd00:1::2 . 80",
            "2001:db8::1 . tcp . 81 : fd00:1::2 . 81",
        ] {
            assert!(shown.contains(part), "{part}: {shown}");
        }
        let mut second = Elements::new();
        second
            .port(&published("0.0.0.0", 8080, "10.1.0.3:80"))
            .port(&published("0.0.0.0", 8081, "10.1.0.3:81"));
        table.add(&socket, &second).unwrap();
        let shown = run("nft list map inet caisson-test any4");
        assert!(shown.contains("tcp . 8080 : 10.1.0.3 . 80"), "{shown}");
        assert!(shown.contains("tcp . 8081 : 10.1.0.3 . 81"), "{shown}");
        table.take_out(&socket, &second).unwrap();
        table.take_out(&socket, &second).unwrap();
        table.take_out(&socket, &first).unwrap();
        assert_eq!(run("nft list ruleset"), empty);
    });
}

#[test]
fn a_thousand_ports_fit_and_each_costs_the_same() {
    in_fresh_namespace(|| {
        let (socket, table) = fixture();
        table.ensure(&socket).unwrap();
        let mut many = Elements::new();
        for port in 1..=3000 {
            many.port(&published("0.0.0.0", port, "10.1.0.2:80"));
        }
        table.add(&socket, &many).unwrap();
        let shown = run("nft list map inet caisson-test any4");
        assert_eq!(shown.matches("tcp . ").count(), 3000);
        let start = Instant::now();
        for port in 4000..4100 {
            let mut one = Elements::new();
            one.port(&published("0.0.0.0", port, "10.1.0.2:80"));
            table.add(&socket, &one).unwrap();
        }
        println!("an element: {:?}", start.elapsed() / 100);
        table.take_out(&socket, &many).unwrap();
        // More than one transaction can hold.
        let mut far_more = Elements::new();
        for port in 1..=9000 {
            far_more.port(&published("0.0.0.0", port, "10.1.0.2:80"));
        }
        table.remake(&socket, &far_more).unwrap();
        let shown = run("nft list map inet caisson-test any4");
        assert_eq!(shown.matches("tcp . ").count(), 9000);
    });
}

#[test]
fn a_flush_is_noticed_and_other_changes_are_not() {
    in_fresh_namespace(|| {
        let (socket, table) = fixture();
        table.ensure(&socket).unwrap();
        let events = watch().unwrap();
        run("nft add table inet other");
        run("nft delete table inet other");
        let mut elements = Elements::new();
        elements.network(&network("net-a"));
        table.add(&socket, &elements).unwrap();
        assert!(!was_our_table_deleted(&events, &table).unwrap());
        run("nft flush ruleset");
        assert!(was_our_table_deleted(&events, &table).unwrap());
        assert!(!was_our_table_deleted(&events, &table).unwrap());
        assert_eq!(table.presence(&socket).unwrap(), Presence::Absent);
        // Containers that come and go wake nobody.
        table.ensure(&socket).unwrap();
        assert!(!was_our_table_deleted(&events, &table).unwrap());
        for round in 0..200 {
            let mut many = Elements::new();
            for port in 1..=200 {
                many.port(&published("0.0.0.0", round * 200 + port, "10.1.0.2:80"));
            }
            table.add(&socket, &many).unwrap();
        }
        assert!(!was_our_table_deleted(&events, &table).unwrap());
        // More events than the socket holds: something may have happened.
        for _ in 0..1000 {
            table.ensure(&socket).unwrap();
        }
        assert!(was_our_table_deleted(&events, &table).unwrap());
    });
}

#[test]
fn other_firewalls_that_drop_are_found() {
    in_fresh_namespace(|| {
        let (socket, table) = fixture();
        table.ensure(&socket).unwrap();
        assert_eq!(foreign(&socket, &table).unwrap().forward, []);
        run("nft add table ip filter");
        run(
            "nft add chain ip filter FORWARD { type filter hook forward priority 0; policy drop; }",
        );
        run("nft add chain ip filter DOCKER-USER");
        run("nft add table inet firewalld");
        run("nft add chain inet firewalld f { type filter hook forward priority 10; }");
        run("nft add chain inet firewalld i { type filter hook input priority 10; policy drop; }");
        let found = foreign(&socket, &table).unwrap();
        assert_eq!(found.forward.len(), 2);
        let dropping: Vec<_> = found.dropping().map(|it| it.name.as_str()).collect();
        assert_eq!(dropping, ["FORWARD", "f"]);
        assert_eq!(found.docker_user, [("ip", "filter".to_owned())]);
        let firewalld = found.forward.iter().find(|it| it.family == "inet").unwrap();
        assert_eq!(
            (firewalld.priority, firewalld.table.as_str()),
            (10, "firewalld")
        );
    });
}

#[test]
fn a_way_through_iptables_is_made_once_and_taken_back() {
    in_fresh_namespace(|| {
        let (socket, table) = fixture();
        table.ensure(&socket).unwrap();
        let bridge = name("caisson0");
        assert_eq!(make_way(&socket, &table, &[&bridge]).unwrap(), []);
        run("nft add table ip filter");
        run(
            "nft add chain ip filter FORWARD { type filter hook forward priority 0; policy drop; }",
        );
        run("nft add rule ip filter FORWARD iifname other counter accept");
        let rules = |chain: &str| run(&format!("nft list chain ip filter {chain}"));
        for _ in 0..2 {
            assert_eq!(make_way(&socket, &table, &[&bridge]).unwrap(), []);
            let text = rules("FORWARD");
            assert_eq!(text.matches("caisson0").count(), 2, "{text}");
            let (way, other) = (text.find("caisson0"), text.find("other"));
            assert!(way < other, "{text}");
        }
        close_way(&socket, &bridge).unwrap();
        close_way(&socket, &bridge).unwrap();
        assert!(!rules("FORWARD").contains("caisson0") && rules("FORWARD").contains("other"));
        // Docker's chain for the rules of others comes first where there is one.
        run("nft add chain ip filter DOCKER-USER");
        make_way(&socket, &table, &[&bridge]).unwrap();
        assert!(!rules("FORWARD").contains("caisson0"));
        let text = rules("DOCKER-USER");
        assert!(
            text.contains("iifname \"caisson0\" counter packets 0 bytes 0 accept"),
            "{text}"
        );
        // Somebody's own firewall is for them to open.
        run("nft add table inet own");
        run("nft add chain inet own f { type filter hook forward priority 0; policy drop; }");
        let left = make_way(&socket, &table, &[&bridge]).unwrap();
        assert_eq!((left.len(), left[0].table.as_str()), (1, "own"));
    });
}

#[test]
fn the_old_variant_of_iptables_is_seen_and_its_rules_are_found() {
    in_fresh_namespace(|| {
        for (family, tool) in [
            (Family::Ipv4, "iptables-legacy"),
            (Family::Ipv6, "ip6tables-legacy"),
        ] {
            assert_eq!(family.tool(), tool);
            // Without the tool having been used there is no table, and looking makes none.
            assert!(Filter::read(family).is_none());
            run(&format!("{tool} -N other"));
            assert!(!Filter::read(family).unwrap().drops_forwarded());
            run(&format!("{tool} -A FORWARD -p tcp --dport 1:9 -j other"));
            run(&format!("{tool} -P FORWARD DROP"));
            let filter = Filter::read(family).unwrap();
            let bridge = "cs0-1".parse().unwrap();
            assert!(filter.drops_forwarded() && !filter.mentions(&bridge));
            assert_eq!(filter.chain_for_others(), "FORWARD");
            run(&format!("{tool} -N DOCKER-USER"));
            run(&format!("{tool} -I FORWARD -i cs0-1 -j ACCEPT"));
            let filter = Filter::read(family).unwrap();
            assert!(filter.drops_forwarded() && filter.mentions(&bridge));
            assert!(!filter.mentions(&"cs0".parse().unwrap()));
            assert_eq!(filter.chain_for_others(), "DOCKER-USER");
        }
    });
}
