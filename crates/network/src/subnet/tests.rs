//! Tables of prefixes, and a thousand networks.

use super::*;

fn prefix(text: &str) -> Prefix {
    text.parse().unwrap()
}

#[test]
fn prefixes_read_and_print_and_refuse_host_bits() {
    for text in ["10.0.0.0/8", "0.0.0.0/0", "1.2.3.4/32", "fd00::/64", "::/0"] {
        assert_eq!(prefix(text).to_string(), text);
    }
    for text in [
        "",
        "10.0.0.0",
        "10.0.0.0/33",
        "10.0.0.0/-1",
        "10.0.0.0/+8",
        "10.0.0/8",
        "fd00::/129",
        "a/8",
        "10.0.0.0/8/8",
        "10.0.0.0/",
        "/8",
    ] {
        let error = text.parse::<Prefix>().unwrap_err();
        assert_eq!(error, SubnetError::Malformed(text.to_owned()), "{text}");
    }
    let error = "10.1.2.3/8".parse::<Prefix>().unwrap_err();
    assert_eq!(
        error.to_string(),
        "invalid network 10.1.2.3/8: host bits are set (it should be 10.0.0.0/8)"
    );
}

#[test]
fn prefixes_contain_cover_and_overlap() {
    // (one, other, one covers the other, they overlap)
    let cases = [
        ("172.16.0.0/12", "172.17.0.0/16", true, true),
        ("172.17.0.0/16", "172.16.0.0/12", false, true),
        ("172.17.0.0/16", "172.18.0.0/16", false, false),
        ("0.0.0.0/0", "10.0.0.0/8", true, true),
        ("0.0.0.0/0", "fd00::/8", false, false),
        ("::/0", "fd00::/8", true, true),
        ("10.0.0.0/24", "10.0.0.0/24", true, true),
    ];
    for (one, other, covers, overlaps) in cases {
        assert_eq!(prefix(one).covers(&prefix(other)), covers, "{one} {other}");
        assert_eq!(
            prefix(one).overlaps(&prefix(other)),
            overlaps,
            "{one} {other}"
        );
    }
    assert_eq!(prefix("10.0.0.0/30").last().to_string(), "10.0.0.3");
    assert_eq!(prefix("fd00::/126").last().to_string(), "fd00::3");
    assert_eq!(
        prefix("::/0").nth(u128::MAX),
        Some("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff".parse().unwrap())
    );
    assert_eq!(prefix("10.0.0.0/30").nth(4), None);
}

#[test]
fn hosts_are_neither_the_network_nor_its_broadcast() {
    let cases = [
        ("10.0.0.0/24", "10.0.0.0", false),
        ("10.0.0.0/24", "10.0.0.255", false),
        ("10.0.0.0/24", "10.0.0.1", true),
        ("10.0.0.0/24", "10.0.1.1", false),
        ("10.0.0.0/31", "10.0.0.0", true),
        ("10.0.0.9/32", "10.0.0.9", true),
        ("fd00::/64", "fd00::", false),
        ("fd00::/64", "fd00::ffff:ffff:ffff:ffff", true),
    ];
    for (network, address, expected) in cases {
        let address = address.parse().unwrap();
        assert_eq!(
            prefix(network).is_host(address),
            expected,
            "{network} {address}"
        );
    }
    assert_eq!(
        prefix("10.0.0.0/24").first_host(),
        Some("10.0.0.1".parse().unwrap())
    );
    assert_eq!(
        prefix("10.0.0.0/31").first_host(),
        Some("10.0.0.0".parse().unwrap())
    );
}

#[test]
fn the_default_network_is_the_known_one_or_the_next_free() {
    assert_eq!(choose_default(&[]).unwrap(), prefix("172.17.0.0/16"));
    let taken = [prefix("172.17.5.0/24")];
    assert_eq!(choose_default(&taken).unwrap(), prefix("172.31.0.0/16"));
    let taken = [prefix("172.16.0.0/12")];
    assert_eq!(choose_default(&taken).unwrap(), prefix("10.255.0.0/16"));
    let taken = [prefix("172.16.0.0/12"), prefix("10.0.0.0/8")];
    assert_eq!(choose_default(&taken), Err(SubnetError::NoneFree));
}

#[test]
fn a_thousand_networks_fit_and_never_overlap() {
    let mut taken = vec![
        prefix("172.17.0.0/16"),
        prefix("172.18.3.128/25"),
        prefix("192.168.1.0/24"),
    ];
    for _ in 0..1500 {
        let next = choose(&taken).unwrap();
        assert_eq!(next.length(), 24);
        assert!(!taken.iter().any(|other| other.overlaps(&next)), "{next}");
        taken.push(next);
    }
    assert_eq!(taken[3], prefix("172.18.0.0/24"));
    assert_eq!(taken[6], prefix("172.18.4.0/24"));
    assert_eq!(
        choose(&[prefix("172.16.0.0/12")]).unwrap(),
        prefix("192.168.0.0/24")
    );
    // A hole left by a removed network is used again.
    taken.remove(10);
    assert_eq!(choose(&taken).unwrap().length(), 24);
    let everything = [
        prefix("10.0.0.0/8"),
        prefix("172.16.0.0/12"),
        prefix("192.168.0.0/16"),
    ];
    assert_eq!(choose(&everything), Err(SubnetError::NoneFree));
    assert_eq!(choose(&[prefix("0.0.0.0/0")]), Err(SubnetError::NoneFree));
}

#[test]
fn ipv6_networks_come_from_the_stores_own_range() {
    let seed = [1, 2, 3, 4, 5];
    let first = choose6(seed, &[]).unwrap();
    assert_eq!(first, prefix("fd01:203:405::/64"));
    assert_eq!(
        choose6(seed, &[first]).unwrap(),
        prefix("fd01:203:405:1::/64")
    );
}

#[test]
fn the_lowest_free_address_is_taken_within_the_range() {
    let address = |text: &str| -> IpAddr { text.parse().unwrap() };
    let mut taken: HashSet<IpAddr> = [address("10.0.0.1")].into();
    let subnet = prefix("10.0.0.0/29");
    let mut got = Vec::new();
    while let Ok(free) = free_address(subnet, None, &taken) {
        taken.insert(free);
        got.push(free.to_string());
    }
    assert_eq!(
        got,
        ["10.0.0.2", "10.0.0.3", "10.0.0.4", "10.0.0.5", "10.0.0.6"]
    );
    let error = free_address(subnet, None, &taken).unwrap_err();
    assert_eq!(error.to_string(), "no free address in 10.0.0.0/29");
    let range = Some(prefix("10.1.2.0/24"));
    let free = free_address(prefix("10.1.0.0/16"), range, &HashSet::new()).unwrap();
    assert_eq!(
        free,
        address("10.1.2.0"),
        "a range's own ends are hosts of the subnet"
    );
    let free = free_address(prefix("fd00::/64"), None, &[address("fd00::1")].into()).unwrap();
    assert_eq!(free, address("fd00::2"));
}
