//! Commands about networks.

use super::table_container::{
    DRY_RUN, FILTER, FILTER_PRUNE, FORCE_PRUNE, FORMAT, INSPECT_FORMAT, NO_TRUNC,
};
use super::{Command, Flag, Kind, Verb, command, flag};

static CREATE_FLAGS: &[Flag] = &[
    flag(
        "attachable",
        Kind::Bool,
        "Let containers join by hand; they always may",
    ),
    flag(
        "aux-address",
        Kind::Map,
        "Never give this address (name=address)",
    ),
    flag(
        "config-from",
        Kind::Text,
        "Take the settings of another network",
    )
    .refused("it needs Swarm's configuration networks"),
    flag("config-only", Kind::Bool, "Make settings only")
        .refused("it needs Swarm's configuration networks"),
    flag("driver", Kind::Text, "Use this driver: bridge")
        .short('d')
        .default("bridge"),
    flag(
        "gateway",
        Kind::IpList,
        "Give the host this address in the subnet",
    ),
    flag("ingress", Kind::Bool, "Make Swarm's routing network").refused("it needs Swarm"),
    flag("internal", Kind::Bool, "Give it no way out of this machine"),
    flag(
        "ip-range",
        Kind::Strings,
        "Choose addresses from this part of the subnet",
    ),
    flag(
        "ipam-driver",
        Kind::Text,
        "Use this driver for addresses: default",
    )
    .default("default"),
    flag("ipam-opt", Kind::Map, "Set an option of that driver"),
    flag("ipv4", Kind::Bool, "Give IPv4 addresses").default("true"),
    flag("ipv6", Kind::Bool, "Give IPv6 addresses too"),
    flag("label", Kind::Label, "Set a label"),
    flag("opt", Kind::Map, "Set an option of the driver").short('o'),
    flag("scope", Kind::Text, "Where it is known: local"),
    flag("subnet", Kind::Strings, "Use this subnet (10.9.0.0/24)"),
];

static CONNECT_FLAGS: &[Flag] = &[
    flag(
        "alias",
        Kind::Strings,
        "Give the container another name there",
    ),
    flag("driver-opt", Kind::Strings, "Set an option of the driver"),
    flag(
        "gw-priority",
        Kind::Int,
        "The highest of all networks has the default route",
    ),
    flag("ip", Kind::Ip, "Give the container this IPv4 address"),
    flag("ip6", Kind::Ip, "Give the container this IPv6 address"),
    flag(
        "link",
        Kind::Link,
        "Give another container a name that only this one knows",
    ),
    flag(
        "link-local-ip",
        Kind::IpList,
        "Give the container this further address, link-local as a rule",
    ),
];

static DISCONNECT_FLAGS: &[Flag] = &[flag(
    "force",
    Kind::Bool,
    "Disconnect even one that is not running",
)
.short('f')];

static INSPECT_FLAGS: &[Flag] = &[
    INSPECT_FORMAT,
    flag("verbose", Kind::Bool, "Say more; there is no more").short('v'),
];

static LS_FLAGS: &[Flag] = &[
    FILTER,
    FORMAT,
    NO_TRUNC,
    flag("quiet", Kind::Bool, "Show ids only").short('q'),
];

static RM_FLAGS: &[Flag] = &[flag(
    "force",
    Kind::Bool,
    "Do not fail where there is no such network",
)
.short('f')];

static PRUNE_FLAGS: &[Flag] = &[DRY_RUN, FILTER_PRUNE, FORCE_PRUNE];

pub(super) static COMMANDS: &[Command] = &[
    command(
        &["network", "connect"],
        Verb::NetworkConnect,
        "Connect a container to a network",
    )
    .usage(&["[OPTIONS] NETWORK CONTAINER"])
    .example("{} network connect --alias db backend postgres")
    .flags(CONNECT_FLAGS)
    .args(2, 2),
    command(
        &["network", "create"],
        Verb::NetworkCreate,
        "Make a network",
    )
    .usage(&["[OPTIONS] NETWORK"])
    .example("{} network create backend\n{} network create --subnet 10.9.0.0/24 --internal vault")
    .flags(CREATE_FLAGS)
    .args(1, 1),
    command(
        &["network", "disconnect"],
        Verb::NetworkDisconnect,
        "Disconnect a container from a network",
    )
    .usage(&["[OPTIONS] NETWORK CONTAINER"])
    .example("{} network disconnect backend postgres")
    .flags(DISCONNECT_FLAGS)
    .args(2, 2),
    command(
        &["network", "inspect"],
        Verb::NetworkInspect,
        "Show all that is known about networks",
    )
    .usage(&["[OPTIONS] NETWORK [NETWORK...]"])
    .example("{} network inspect -f '{{json .Containers}}' bridge")
    .flags(INSPECT_FLAGS)
    .args_from(1),
    command(&["network", "ls"], Verb::Networks, "List networks")
        .aliases(&["network list"])
        .usage(&["[OPTIONS]"])
        .example("{} network ls --filter type=custom")
        .flags(LS_FLAGS)
        .args(0, 0),
    command(
        &["network", "prune"],
        Verb::NetworkPrune,
        "Remove networks that no container uses",
    )
    .usage(&["[OPTIONS]"])
    .example("{} network prune --force")
    .flags(PRUNE_FLAGS)
    .args(0, 0),
    command(&["network", "rm"], Verb::NetworkRm, "Remove networks")
        .aliases(&["network remove"])
        .usage(&["NETWORK [NETWORK...]"])
        .example("{} network rm backend")
        .flags(RM_FLAGS)
        .args_from(1),
];
