//! Networks, ports, name servers and hosts.

use std::collections::BTreeSet;

use types::container::{ContainerSpec, NetworkAttachment};
use types::env::parse_extra_host;
use types::port::{ContainerPort, parse_expose, parse_publish};

use super::{FlagError, is_of_container};
use crate::flags::Matches;

/// `-p`, `-P` and `--expose`.
pub(super) fn ports(matches: &Matches, spec: &mut ContainerSpec) -> Result<(), FlagError> {
    let mut exposed: BTreeSet<ContainerPort> = BTreeSet::new();
    for text in matches.get_list("publish") {
        let mappings = parse_publish(text).map_err(FlagError::usage)?;
        exposed.extend(mappings.iter().map(|mapping| mapping.container));
    }
    for text in matches.get_list("expose") {
        exposed.extend(parse_expose(text).map_err(FlagError::usage)?);
    }
    spec.publish = matches.get_list("publish").to_vec();
    spec.publish_all = matches.get_bool("publish-all");
    spec.exposed_ports = exposed.iter().map(ToString::to_string).collect();
    Ok(())
}

/// `--network` and what belongs to it.
pub(super) fn networks(matches: &Matches, spec: &mut ContainerSpec) -> Result<(), FlagError> {
    let mut attachments: Vec<NetworkAttachment> = Vec::new();
    let (mut has_user_defined, mut has_other) = (false, false);
    for text in matches.get_list("network") {
        let attachment = crate::flags::parse_network(text).map_err(FlagError::Usage)?;
        if attachment.target.is_empty() {
            return Err(FlagError::Usage("no name set for network".to_owned()));
        }
        if attachments
            .iter()
            .any(|other| other.target == attachment.target)
        {
            return Err(FlagError::Usage(format!(
                "network \"{}\" is specified multiple times",
                attachment.target
            )));
        }
        *if is_user_defined(&attachment.target) {
            &mut has_user_defined
        } else {
            &mut has_other
        } = true;
        attachments.push(attachment);
    }
    if has_user_defined && has_other {
        let text = "conflicting options: cannot attach both user-defined and non-user-defined \
                    network-modes";
        return Err(FlagError::Usage(text.to_owned()));
    }
    if attachments.len() > 1 && has_other {
        let text = "Container cannot be connected to network endpoints: ";
        let names: Vec<_> = attachments
            .iter()
            .map(|other| other.target.as_str())
            .collect();
        return Err(FlagError::Engine(format!("{text}{}", names.join(", "))));
    }
    let first_only = flags_of_the_first(matches);
    if first_only != NetworkAttachment::default() {
        if attachments.is_empty() {
            attachments.push(NetworkAttachment {
                target: "default".to_owned(),
                ..NetworkAttachment::default()
            });
        }
        merge_into(&mut attachments[0], first_only)?;
    }
    refuse_aliases_of_nothing(&attachments)?;
    spec.networks = attachments;
    spec.mac_address = hardware_address(matches.get_str("mac-address"))?;
    spec.links = matches.get_list("link").to_vec();
    spec.dns = matches
        .get_list("dns")
        .iter()
        .map(|text| text.trim().to_owned())
        .collect();
    spec.dns_options = matches.get_list("dns-option").to_vec();
    spec.dns_search = matches
        .get_list("dns-search")
        .iter()
        .map(|text| search_domain(text))
        .collect();
    for text in matches.get_list("add-host") {
        spec.extra_hosts
            .push(parse_extra_host(text).map_err(FlagError::usage)?);
    }
    Ok(())
}

/// Where there are no names there are no aliases; elsewhere they resolve on the default network too.
fn refuse_aliases_of_nothing(attachments: &[NetworkAttachment]) -> Result<(), FlagError> {
    let is_unnamed = |one: &&NetworkAttachment| matches!(one.target.as_str(), "none" | "host");
    let mut unnamed = attachments.iter().filter(is_unnamed);
    if unnamed.any(|one| !one.aliases.is_empty()) {
        let text = "network-scoped aliases are only supported for user-defined networks";
        return Err(FlagError::Usage(text.to_owned()));
    }
    Ok(())
}

/// `--mac-address`, as Docker's client checks it.
fn hardware_address(text: &str) -> Result<String, FlagError> {
    let text = text.trim();
    if !text.is_empty() && !is_hardware_address(text) {
        return Err(FlagError::Usage(format!(
            "{text} is not a valid mac address"
        )));
    }
    Ok(text.to_owned())
}

/// The forms that Go's `net.ParseMAC` takes; which of them an interface can have is the engine's matter.
fn is_hardware_address(text: &str) -> bool {
    let (separator, width) = match text {
        _ if text.contains('.') => ('.', 4),
        _ if text.contains(':') => (':', 2),
        _ => ('-', 2),
    };
    let is_group =
        |group: &str| group.len() == width && group.bytes().all(|byte| byte.is_ascii_hexdigit());
    let octets = text.split(separator).count() * width / 2;
    matches!(octets, 6 | 8 | 20) && text.split(separator).all(is_group)
}

/// What flags of their own say about the first network.
fn flags_of_the_first(matches: &Matches) -> NetworkAttachment {
    NetworkAttachment {
        aliases: matches.get_list("network-alias").to_vec(),
        ipv4: matches.get_str("ip").to_owned(),
        ipv6: matches.get_str("ip6").to_owned(),
        link_local_ips: matches.get_list("link-local-ip").to_vec(),
        ..NetworkAttachment::default()
    }
}

/// The same thing must not be said twice.
fn merge_into(first: &mut NetworkAttachment, flags: NetworkAttachment) -> Result<(), FlagError> {
    let refuse = |what: &str| {
        let text = format!("conflicting options: cannot specify both {what}");
        Err(FlagError::Usage(text))
    };
    if !first.aliases.is_empty() && !flags.aliases.is_empty() {
        return refuse("--network-alias and per-network alias");
    }
    if !first.ipv4.is_empty() && !flags.ipv4.is_empty() {
        return refuse("--ip and per-network IPv4 address");
    }
    if !first.ipv6.is_empty() && !flags.ipv6.is_empty() {
        return refuse("--ip6 and per-network IPv6 address");
    }
    if !first.link_local_ips.is_empty() && !flags.link_local_ips.is_empty() {
        return refuse("--link-local-ip and per-network link-local IP addresses");
    }
    first.aliases.extend(flags.aliases);
    first.link_local_ips.extend(flags.link_local_ips);
    first.ipv4.push_str(&flags.ipv4);
    first.ipv6.push_str(&flags.ipv6);
    Ok(())
}

/// As Docker keeps it: blanks and the final dot gone, except for `.` itself.
fn search_domain(text: &str) -> String {
    let text = text.trim_matches(' ');
    if text == "." {
        text.to_owned()
    } else {
        text.trim_end_matches('.').to_owned()
    }
}

/// True for a network that `network create` would have made.
pub(super) fn is_user_defined(target: &str) -> bool {
    !matches!(target, "default" | "bridge" | "host" | "none") && !target.starts_with("container:")
}

/// What Docker's daemon refuses of a network mode together with other settings.
pub(super) fn check_conflicts(spec: &ContainerSpec) -> Result<(), FlagError> {
    let target = spec
        .networks
        .first()
        .map_or("", |network| network.target.as_str());
    let refuse = |what: &str| Err(FlagError::Engine(format!("conflicting options: {what}")));
    if spec.uts_mode == "host" && !spec.hostname.is_empty() {
        return refuse("hostname and the UTS mode");
    }
    if target == "host" && !spec.links.is_empty() {
        return refuse(
            "host type networking can't be used with links. This would result in undefined behavior",
        );
    }
    if !target.starts_with("container:") {
        return Ok(());
    }
    if !is_of_container(target) {
        return Err(FlagError::Engine(
            "invalid container format container:<name|id>".to_owned(),
        ));
    }
    if !spec.hostname.is_empty() {
        return refuse("hostname and the network mode");
    }
    if !spec.links.is_empty() {
        return refuse(
            "container type network can't be used with links. This would result in undefined behavior",
        );
    }
    let first = spec.networks.first();
    let has_mac = first.is_some_and(|one| !one.mac_address.is_empty());
    if !spec.mac_address.is_empty() || has_mac {
        return refuse("mac-address and the network mode");
    }
    let has_address = |one: &NetworkAttachment| {
        !(one.ipv4.is_empty() && one.ipv6.is_empty() && one.link_local_ips.is_empty())
    };
    if first.is_some_and(has_address) {
        return refuse("ip address and the container type network mode");
    }
    if first.is_some_and(|one| !one.aliases.is_empty()) {
        return refuse("network-scoped alias and the container type network mode");
    }
    if !(spec.dns.is_empty() && spec.dns_search.is_empty() && spec.dns_options.is_empty()) {
        return refuse("dns and the network mode");
    }
    if !spec.extra_hosts.is_empty() {
        return refuse("custom host-to-IP mapping and the network mode");
    }
    if !spec.publish.is_empty() || spec.publish_all {
        return refuse("port publishing and the container type network mode");
    }
    if !spec.exposed_ports.is_empty() {
        return refuse("port exposing and the container type network mode");
    }
    Ok(())
}
