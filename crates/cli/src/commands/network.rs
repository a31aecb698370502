//! Commands on networks.

use std::collections::BTreeMap;
use std::process::ExitCode;

use engine::network::{NetworkRequest, NetworkView, SubnetRequest};
use engine::storage_networks::{NetworkError, NetworkRecord};
use engine::{Engine, EngineError};
use serde_json::{Map, Value, json};
use types::container::NetworkAttachment;
use types::filter::Filters;
use types::go_syntax::parse_bool;

use super::list::time_ns;
use super::{fail_text, print, print_line};
use crate::client_config::{self, ClientConfig};
use crate::errors;
use crate::flags::Invocation;
use crate::output::inspect::Inspector;
use crate::output::rows::containers::ListFlags;
use crate::output::rows::objects::{NetworkRow, networks};
use crate::output::typed::others::NETWORK;
use crate::terminal;

const FILTERS: &[&str] = &["dangling", "driver", "id", "label", "name", "scope", "type"];

fn fail(invocation: &Invocation, error: &EngineError) -> ExitCode {
    errors::report(invocation.program, error);
    ExitCode::from(1)
}

fn pairs(list: &[String]) -> BTreeMap<String, String> {
    let pair = |text: &String| match text.split_once('=') {
        Some((key, value)) => (key.to_owned(), value.to_owned()),
        None => (text.clone(), String::new()),
    };
    list.iter().map(pair).collect()
}

pub(crate) fn create(engine: &Engine, invocation: &Invocation) -> ExitCode {
    let matches = &invocation.matches;
    if matches.get_str("ipam-driver") != "default" {
        return fail_text(invocation, "there is one driver for addresses: default");
    }
    if !matches.get_bool("ipv4") {
        return fail_text(
            invocation,
            "networks without IPv4 are not built yet; leave out --ipv4=false",
        );
    }
    // As a manager of a swarm would have it; Docker without one takes no other scope either.
    let scope = matches.get_str("scope");
    if !matches!(scope, "" | "local") {
        let text = format!("networks of scope {scope:?} are not built: it needs Swarm");
        return fail_text(invocation, &text);
    }
    let subnets = match subnets(invocation) {
        Ok(subnets) => subnets,
        Err(text) => return fail_text(invocation, &text),
    };
    let request = NetworkRequest {
        name: matches.args.first().cloned().unwrap_or_default(),
        driver: matches.get_str("driver").to_owned(),
        subnets,
        internal: matches.get_bool("internal"),
        ipv6: matches.get_bool("ipv6"),
        attachable: matches.get_bool("attachable"),
        options: pairs(matches.get_list("opt")),
        ipam_options: pairs(matches.get_list("ipam-opt")),
        labels: pairs(matches.get_list("label")),
    };
    match engine.create_network(request) {
        Ok(record) => {
            print_line(&record.id);
            ExitCode::SUCCESS
        }
        Err(error) => fail(invocation, &error),
    }
}

/// Ranges, gateways and reserved addresses go to the subnet that contains them; the engine checks
/// that each one does.
fn subnets(invocation: &Invocation) -> Result<Vec<SubnetRequest>, String> {
    let matches = &invocation.matches;
    let given = matches.get_list("subnet");
    let mut all: Vec<SubnetRequest> = given
        .iter()
        .map(|subnet| SubnetRequest {
            subnet: subnet.clone(),
            ..SubnetRequest::default()
        })
        .collect();
    let place = |all: &mut Vec<SubnetRequest>, what: &str, value: &str| -> Result<usize, String> {
        let found = all
            .iter()
            .position(|one| engine::network::is_within(&one.subnet, value));
        found.ok_or_else(|| match all.len() {
            0 => format!("every {what} needs a subnet: give --subnet"),
            _ => format!("no matching subnet for {what} {value}"),
        })
    };
    for range in matches.get_list("ip-range") {
        let index = place(&mut all, "ip-range", range)?;
        if !all[index].ip_range.is_empty() {
            return Err(format!(
                "cannot configure multiple ranges on the same subnet ({range})"
            ));
        }
        all[index].ip_range.clone_from(range);
    }
    for gateway in matches.get_list("gateway") {
        let index = place(&mut all, "gateway", gateway)?;
        if !all[index].gateway.is_empty() {
            return Err(format!(
                "cannot configure multiple gateways for the same subnet ({gateway})"
            ));
        }
        all[index].gateway.clone_from(gateway);
    }
    for (name, address) in pairs(matches.get_list("aux-address")) {
        let index = place(&mut all, "aux-address", &address)?;
        all[index].auxiliary.insert(name, address);
    }
    Ok(all)
}

pub(crate) fn ls(engine: &Engine, invocation: &Invocation) -> ExitCode {
    let matches = &invocation.matches;
    let filters = match Filters::parse(matches.get_list("filter"))
        .and_then(|filters| filters.check_keys(FILTERS).map(|()| filters))
    {
        Ok(filters) => filters,
        Err(error) => return fail_text(invocation, &error.to_string()),
    };
    let values = filters.boolean("dangling", false).map(drop);
    if let Err(error) = values.and_then(|()| filters.check_values("type", &["builtin", "custom"])) {
        return fail_text(invocation, &error.to_string());
    }
    let (all, damaged) = match engine.networks_and_damage() {
        Ok(found) => found,
        Err(error) => return fail(invocation, &error),
    };
    let used = engine.networks_in_use().unwrap_or_default();
    let rows: Vec<NetworkRow> = all
        .iter()
        .filter(|record| is_wanted(&filters, record, &used))
        .map(row)
        .collect();
    let config = ClientConfig::load();
    let flags = ListFlags {
        format: client_config::format(matches.get_str("format"), &config.networks_format),
        quiet: matches.get_bool("quiet"),
        no_trunc: matches.get_bool("no-trunc"),
        escape_control: terminal::is_terminal(rustix::stdio::stdout()),
    };
    let code = super::print_list(networks(&rows, flags, &super::image::clock()));
    super::name_damaged(invocation.program, damaged, code)
}

fn is_predefined(record: &NetworkRecord) -> bool {
    ["bridge", "host", "none"].contains(&record.name.as_str())
}

fn is_wanted(filters: &Filters, record: &NetworkRecord, used: &[String]) -> bool {
    let kind = if is_predefined(record) {
        "builtin"
    } else {
        "custom"
    };
    let is_dangling = !is_predefined(record) && !used.contains(&record.id);
    filters.matches_prefix("id", &record.id)
        && filters.matches_pattern("name", &record.name)
        && filters.matches_exactly("driver", &record.driver)
        && filters.matches_exactly("scope", "local")
        && filters.matches_exactly("type", kind)
        && filters.matches_labels("label", &record.labels)
        && filters.any("dangling", |wanted| parse_bool(wanted) == Ok(is_dangling))
}

fn row(record: &NetworkRecord) -> NetworkRow {
    NetworkRow {
        id: record.id.clone(),
        name: record.name.clone(),
        driver: record.driver.clone(),
        scope: "local".to_owned(),
        ipv4: true,
        ipv6: record.ipv6,
        is_internal: record.internal,
        labels: record.labels.clone(),
        created_s: time_ns(&record.created).unwrap_or(0) / 1_000_000_000,
    }
}

pub(crate) fn inspect(engine: &Engine, invocation: &Invocation) -> ExitCode {
    let escape = terminal::is_terminal(rustix::stdio::stdout());
    let mut inspector = match Inspector::new(invocation.matches.get_str("format"), escape) {
        Ok(inspector) => inspector,
        Err(error) => {
            errors::complain(&error.to_string());
            return ExitCode::from(64);
        }
    };
    let mut failures = Vec::new();
    for key in &invocation.matches.args {
        match engine.network_view(key) {
            Ok(view) => {
                if let Err(error) = inspector.add(&NETWORK, document(&view)) {
                    failures.push(error.to_string());
                }
            }
            Err(error) => failures.push(errors::line(invocation.program, &error)),
        }
    }
    print(&inspector.finish());
    for failure in &failures {
        errors::complain(failure);
    }
    ExitCode::from(u8::from(!failures.is_empty()))
}

/// Docker's document of a network.
pub(crate) fn document(view: &NetworkView) -> Value {
    let record = &view.record;
    let config: Vec<Value> = record.subnets.iter().map(subnet).collect();
    let mut containers = Map::new();
    for user in &view.users {
        let address = |ipv4: bool| {
            let mut all = user.place.addresses.iter();
            let found = all.find(|(address, _)| address.is_ipv4() == ipv4);
            found.map_or_else(String::new, |(address, length)| {
                format!("{address}/{length}")
            })
        };
        containers.insert(
            user.id.clone(),
            json!({
                "Name": user.name,
                "EndpointID": user.place.endpoint_id,
                "MacAddress": user.place.mac,
                "IPv4Address": address(true),
                "IPv6Address": address(false),
            }),
        );
    }
    json!({
        "Name": record.name,
        "Id": record.id,
        "Created": record.created,
        "Scope": "local",
        "Driver": record.driver,
        "EnableIPv4": true,
        "EnableIPv6": record.ipv6,
        "IPAM": {
            "Driver": "default",
            "Options": if is_predefined(record) { Value::Null } else { json!(record.ipam_options) },
            "Config": config,
        },
        "Internal": record.internal,
        "Attachable": record.attachable,
        "Ingress": false,
        "ConfigFrom": { "Network": "" },
        "ConfigOnly": false,
        "Containers": containers,
        "Options": options(view),
        "Labels": record.labels,
    })
}

fn subnet(one: &engine::storage_networks::SubnetRecord) -> Value {
    let mut members = Map::new();
    members.insert("Subnet".into(), one.subnet.clone().into());
    if !one.ip_range.is_empty() {
        members.insert("IPRange".into(), one.ip_range.clone().into());
    }
    members.insert("Gateway".into(), one.gateway.clone().into());
    if !one.auxiliary.is_empty() {
        members.insert("AuxiliaryAddresses".into(), json!(one.auxiliary));
    }
    members.into()
}

/// What was asked for; of the default network all that Docker tells, people look for it there.
fn options(view: &NetworkView) -> BTreeMap<String, String> {
    let record = &view.record;
    if record.name != "bridge" {
        return record.options.clone();
    }
    let told = [
        ("bridge.default_bridge", "true"),
        ("bridge.enable_icc", "true"),
        ("bridge.enable_ip_masquerade", "true"),
        ("bridge.host_binding_ipv4", "0.0.0.0"),
        ("bridge.name", &record.bridge),
        ("driver.mtu", &view.mtu.to_string()),
    ];
    told.iter()
        .map(|(key, value)| (format!("com.docker.network.{key}"), (*value).to_owned()))
        .collect()
}

pub(crate) fn rm(engine: &Engine, invocation: &Invocation) -> ExitCode {
    let force = invocation.matches.get_bool("force");
    let mut is_failed = false;
    for key in &invocation.matches.args {
        match engine.remove_network(key) {
            Ok(_) => print_line(key),
            Err(EngineError::Network(NetworkError::Missing(_))) if force => {}
            Err(error) => {
                errors::report(invocation.program, &error);
                is_failed = true;
            }
        }
    }
    ExitCode::from(u8::from(is_failed))
}

pub(crate) fn connect(engine: &Engine, invocation: &Invocation) -> ExitCode {
    let matches = &invocation.matches;
    let [network, container] = &matches.args[..] else {
        return ExitCode::from(1);
    };
    let attachment = NetworkAttachment {
        target: network.clone(),
        aliases: matches.get_list("alias").to_vec(),
        ipv4: matches.get_str("ip").to_owned(),
        ipv6: matches.get_str("ip6").to_owned(),
        link_local_ips: matches.get_list("link-local-ip").to_vec(),
        links: matches.get_list("link").to_vec(),
        driver_options: pairs(matches.get_list("driver-opt")),
        gateway_priority: matches.get_int("gw-priority"),
        ..NetworkAttachment::default()
    };
    match engine.connect_network(container, attachment) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(invocation, &error),
    }
}

pub(crate) fn disconnect(engine: &Engine, invocation: &Invocation) -> ExitCode {
    let [network, container] = &invocation.matches.args[..] else {
        return ExitCode::from(1);
    };
    match engine.disconnect_network(container, network) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(invocation, &error),
    }
}
