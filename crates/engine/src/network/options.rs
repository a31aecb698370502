//! Docker's names for what `--opt` of a network and `--driver-opt` of a place in it may say. What is
//! not built is refused by name; names that are not Docker's are anybody's notes and kept.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use network::link::InterfaceName;
use types::container::NetworkAttachment;
use types::go_syntax::parse_bool;

use crate::error::EngineError;

const PREFIX: &str = "com.docker.network.";
pub(super) const NAME: &str = "com.docker.network.bridge.name";
pub(super) const MTU: &str = "com.docker.network.driver.mtu";
const ICC: &str = "com.docker.network.bridge.enable_icc";
const MASQUERADE: &str = "com.docker.network.bridge.enable_ip_masquerade";
const BINDING: &str = "com.docker.network.bridge.host_binding_ipv4";
const GATEWAY_MODES: [&str; 2] = [
    "com.docker.network.bridge.gateway_mode_ipv4",
    "com.docker.network.bridge.gateway_mode_ipv6",
];
/// Ours: whether packets may pass by the bridge where the kernel lets them.
const SHORTCUT: &str = "caisson.shortcut";
const INTERFACES: &str = "com.docker.network.container_iface_prefix";
const ENDPOINT_INTERFACE: &str = "com.docker.network.endpoint.ifname";
const ENDPOINT_SYSCTLS: &str = "com.docker.network.endpoint.sysctls";

const MTU_MIN: u32 = 68;
const MTU_MAX: u32 = 65_535;
/// Room for a number behind it in an interface's name.
const INTERFACE_PREFIX_BYTES_MAX: usize = 11;
const INTERFACE_PREFIX_DEFAULT: &str = "eth";

/// What a network's options say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct NetworkOptions {
    /// The bridge's name, where one was given.
    pub(super) bridge: Option<String>,
    /// MTU; 0 is the uplink's.
    pub(super) mtu: u32,
    /// Containers talk to each other.
    pub(super) has_icc: bool,
    /// Packets leave under the host's address.
    pub(super) masquerades: bool,
    /// Where ports are published that name no address; `None` is everywhere.
    pub(super) host_binding: Option<Ipv4Addr>,
    /// Whether packets may take the short way past the bridge.
    pub(super) has_shortcut: bool,
    /// What containers' interfaces are called, before their number.
    pub(super) interfaces: String,
}

impl NetworkOptions {
    /// Reads `--opt`.
    pub(super) fn parse(options: &BTreeMap<String, String>) -> Result<Self, EngineError> {
        let mut all = Self {
            bridge: None,
            mtu: 0,
            has_icc: true,
            masquerades: true,
            host_binding: None,
            has_shortcut: true,
            interfaces: INTERFACE_PREFIX_DEFAULT.into(),
        };
        for (key, value) in options {
            match key.as_str() {
                NAME => all.bridge = (!value.is_empty()).then(|| value.clone()),
                MTU => all.mtu = mtu(value)?,
                ICC => all.has_icc = boolean(key, value)?,
                MASQUERADE => all.masquerades = boolean(key, value)?,
                BINDING => {
                    let address: Ipv4Addr = value
                        .parse()
                        .map_err(|_| unparsed(key, value, "not an IPv4 address"))?;
                    all.host_binding = (!address.is_unspecified()).then_some(address);
                }
                SHORTCUT => all.has_shortcut = boolean(key, value)?,
                INTERFACES => all.interfaces = interface_prefix(value)?,
                key if GATEWAY_MODES.contains(&key) => match value.as_str() {
                    "" | "nat" => {}
                    other => {
                        let text = format!("gateway mode \"{other}\" is not built: nat is ({key})");
                        return Err(EngineError::invalid(text));
                    }
                },
                key if key.starts_with(PREFIX) => return Err(unknown(key)),
                _ => {}
            }
        }
        Ok(all)
    }
}

/// What the options of a container's place in a network say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct EndpointOptions {
    /// The interface's name, where one was given.
    pub(super) interface: Option<InterfaceName>,
    /// Kernel parameters of the interface: the path below /proc/sys with `IFNAME`, and the value.
    pub(super) sysctls: Vec<(String, String)>,
}

impl EndpointOptions {
    /// Reads `--driver-opt`.
    pub(super) fn parse(asked: &NetworkAttachment) -> Result<Self, EngineError> {
        let mut all = Self::default();
        for (key, value) in &asked.driver_options {
            match key.as_str() {
                ENDPOINT_INTERFACE => all.interface = Some(interface(value)?),
                ENDPOINT_SYSCTLS => {
                    let settings = value.split(',').map(str::trim);
                    all.sysctls = settings.map(sysctl).collect::<Result<_, _>>()?;
                }
                other => return Err(unknown(other)),
            }
        }
        Ok(all)
    }
}

fn unknown(key: &str) -> EngineError {
    EngineError::invalid(format!("the network option {key} is not built"))
}

fn unparsed(key: &str, value: &str, why: &str) -> EngineError {
    EngineError::invalid(format!("failed to parse {key} value: {value} ({why})"))
}

fn boolean(key: &str, value: &str) -> Result<bool, EngineError> {
    parse_bool(value).map_err(|error| unparsed(key, value, &error.to_string()))
}

fn mtu(value: &str) -> Result<u32, EngineError> {
    let mtu: Option<u32> = value.parse().ok();
    mtu.filter(|mtu| (MTU_MIN..=MTU_MAX).contains(mtu))
        .ok_or_else(|| {
            EngineError::invalid(format!(
                "invalid MTU \"{value}\": {MTU_MIN} to {MTU_MAX} are possible"
            ))
        })
}

fn interface(value: &str) -> Result<InterfaceName, EngineError> {
    value
        .parse()
        .map_err(|error: network::link::InvalidName| EngineError::invalid(error.to_string()))
}

fn interface_prefix(value: &str) -> Result<String, EngineError> {
    if value.len() > INTERFACE_PREFIX_BYTES_MAX {
        return Err(unparsed(
            INTERFACES,
            value,
            "it leaves no room for a number",
        ));
    }
    interface(&format!("{value}0")).map(|_| value.to_owned())
}

/// `net.ipv4.conf.IFNAME.log_martians=1`: parameters of this interface and no others.
fn sysctl(setting: &str) -> Result<(String, String), EngineError> {
    let invalid = || {
        unparsed(
            ENDPOINT_SYSCTLS,
            setting,
            "net.ipv4.conf.IFNAME.NAME=VALUE is possible",
        )
    };
    let (name, value) = setting.split_once('=').ok_or_else(invalid)?;
    let parts: Vec<&str> = name.split('.').collect();
    let ["net", family, kind, "IFNAME", last] = parts[..] else {
        return Err(invalid());
    };
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let fits = matches!(family, "ipv4" | "ipv6")
        && matches!(kind, "conf" | "neigh")
        && !last.is_empty()
        && last.bytes().all(is_word);
    match fits {
        true => Ok((format!("{family}/{kind}/IFNAME/{last}"), value.to_owned())),
        false => Err(invalid()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(text: &str) -> BTreeMap<String, String> {
        let (key, value) = text.split_once('=').unwrap();
        BTreeMap::from([(format!("{PREFIX}{key}"), value.to_owned())])
    }

    #[test]
    fn what_is_not_built_is_refused_by_name() {
        for (text, expected) in [
            (
                "bridge.gateway_mode_ipv4=routed",
                "gateway mode \"routed\" is not built",
            ),
            (
                "bridge.gateway_mode_ipv6=nat-unprotected",
                "gateway_mode_ipv6",
            ),
            (
                "bridge.inhibit_ipv4=true",
                "bridge.inhibit_ipv4 is not built",
            ),
            (
                "bridge.trusted_host_interfaces=up0",
                "trusted_host_interfaces is not built",
            ),
            (
                "bridge.enable_icc=maybe",
                "strconv.ParseBool: parsing \"maybe\": invalid syntax",
            ),
            (
                "bridge.enable_ip_masquerade=x",
                "failed to parse com.docker.network.bridge.enable_ip_masquerade value: x",
            ),
            ("bridge.host_binding_ipv4=abc", "not an IPv4 address"),
            ("bridge.host_binding_ipv4=::1", "not an IPv4 address"),
            ("driver.mtu=7", "invalid MTU"),
            ("container_iface_prefix=a/b", "invalid interface name"),
            ("container_iface_prefix=twelve-bytes", "no room"),
        ] {
            let error = NetworkOptions::parse(&pairs(text)).unwrap_err().to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
        let all = NetworkOptions::parse(&pairs("bridge.enable_icc=F")).unwrap();
        assert!(!all.has_icc && all.masquerades && all.interfaces == "eth");
        let all = NetworkOptions::parse(&pairs("bridge.host_binding_ipv4=127.0.0.1")).unwrap();
        assert_eq!(all.host_binding, Some(Ipv4Addr::LOCALHOST));
        let ours = |value: &str| {
            let options = BTreeMap::from([(SHORTCUT.to_owned(), value.to_owned())]);
            NetworkOptions::parse(&options).map(|all| all.has_shortcut)
        };
        assert!(
            NetworkOptions::parse(&BTreeMap::new())
                .unwrap()
                .has_shortcut
        );
        for (value, expected) in [("false", false), ("0", false), ("true", true), ("T", true)] {
            assert_eq!(ours(value).unwrap(), expected, "{value}");
        }
        for bad in ["", "no", "off"] {
            let error = ours(bad).unwrap_err().to_string();
            assert!(error.contains("caisson.shortcut"), "{bad}: {error}");
        }
        assert!(NetworkOptions::parse(&BTreeMap::from([("note".into(), "x".into())])).is_ok());
    }

    #[test]
    fn a_place_has_its_interface_and_its_parameters() {
        let parse = |text: &str| {
            EndpointOptions::parse(&NetworkAttachment {
                driver_options: pairs(text),
                ..NetworkAttachment::default()
            })
        };
        let named = parse("endpoint.ifname=foo0").unwrap();
        assert_eq!(named.interface.unwrap().as_str(), "foo0");
        let set = parse(
            "endpoint.sysctls=net.ipv4.conf.IFNAME.log_martians=1, net.ipv6.conf.IFNAME.accept_ra=0",
        );
        let expected = [
            ("ipv4/conf/IFNAME/log_martians", "1"),
            ("ipv6/conf/IFNAME/accept_ra", "0"),
        ];
        assert_eq!(
            set.unwrap().sysctls,
            expected.map(|(a, b)| (a.to_owned(), b.to_owned()))
        );
        for bad in [
            "endpoint.ifname=a/b",
            "endpoint.sysctls=kernel.msgmax=1",
            "endpoint.sysctls=net.ipv4.conf.all.forwarding=1",
            "endpoint.sysctls=net.ipv4.conf.IFNAME.../x=1",
            "endpoint.sysctls=net.ipv4.conf.IFNAME.x",
            "endpoint.other=1",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
