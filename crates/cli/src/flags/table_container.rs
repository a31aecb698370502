//! Commands that look at containers, change them and remove them.

use super::{Command, Flag, Kind, Verb, command, flag};

pub(super) const FORMAT: Flag = flag(
    "format",
    Kind::Text,
    "Format the output: table, \"table TEMPLATE\", json, or a Go template",
);
pub(super) const INSPECT_FORMAT: Flag = flag(
    "format",
    Kind::Text,
    "Format the output: json, or a Go template",
)
.short('f');
pub(super) const NO_TRUNC: Flag = flag("no-trunc", Kind::Bool, "Do not shorten the output");
pub(super) const FORCE_PRUNE: Flag = flag("force", Kind::Bool, "Do not ask first").short('f');
pub(super) const DRY_RUN: Flag = flag("dry-run", Kind::Bool, "Only tell what would be removed");
pub(super) const FILTER: Flag = flag("filter", Kind::Filter, "Show only what matches").short('f');
pub(super) const FILTER_PRUNE: Flag = flag(
    "filter",
    Kind::Filter,
    "Remove only what matches (label=…, until=24h)",
);

static PS_FLAGS: &[Flag] = &[
    flag(
        "all",
        Kind::Bool,
        "Show all containers (default the running ones)",
    )
    .short('a'),
    FILTER,
    FORMAT,
    flag(
        "last",
        Kind::Int,
        "Show the last so many containers, running or not",
    )
    .short('n')
    .default("-1"),
    flag(
        "latest",
        Kind::Bool,
        "Show the last container, running or not",
    )
    .short('l'),
    NO_TRUNC,
    flag("quiet", Kind::Bool, "Show ids only").short('q'),
    flag("size", Kind::Bool, "Show the size of what was written").short('s'),
];

static COMMIT_FLAGS: &[Flag] = &[
    flag("author", Kind::Text, "Say who made it").short('a'),
    flag("change", Kind::List, "Apply this Dockerfile instruction").short('c'),
    flag("message", Kind::Text, "Say what changed").short('m'),
    flag(
        "no-pause",
        Kind::Bool,
        "Do not pause the container meanwhile",
    ),
    flag("pause", Kind::Bool, "Pause the container meanwhile")
        .short('p')
        .default("true"),
];

static RM_FLAGS: &[Flag] = &[
    flag("force", Kind::Bool, "Kill the container first if it runs").short('f'),
    flag("link", Kind::Bool, "Remove this link")
        .short('l')
        .refused("names need no links: rename the container, or take it from the network"),
    flag("volumes", Kind::Bool, "Remove its anonymous volumes too").short('v'),
];

static INSPECT_FLAGS: &[Flag] = &[
    INSPECT_FORMAT,
    flag("size", Kind::Bool, "Show the sizes of containers").short('s'),
    flag(
        "type",
        Kind::Text,
        "Look for this kind of object only: container, image",
    ),
];

static CONTAINER_INSPECT_FLAGS: &[Flag] = &[
    INSPECT_FORMAT,
    flag("size", Kind::Bool, "Show the sizes").short('s'),
];

static STATS_FLAGS: &[Flag] = &[
    flag(
        "all",
        Kind::Bool,
        "Show all containers (default the running ones)",
    )
    .short('a'),
    FORMAT,
    flag("no-stream", Kind::Bool, "Show one measurement and end"),
    NO_TRUNC,
];

static COPY_FLAGS: &[Flag] = &[
    flag("archive", Kind::Bool, "Keep owners and groups").short('a'),
    flag(
        "follow-link",
        Kind::Bool,
        "Follow a symbolic link given as the source",
    )
    .short('L'),
    flag("quiet", Kind::Bool, "Do not say what was copied").short('q'),
];

static UPDATE_FLAGS: &[Flag] = &[
    flag(
        "blkio-weight",
        Kind::Uint16,
        "Share of disk time, 10 to 1000; 0 asks for none",
    ),
    flag(
        "cpu-period",
        Kind::Int,
        "Length of a CPU quota period in microseconds",
    ),
    flag(
        "cpu-quota",
        Kind::Int,
        "CPU time per period in microseconds",
    ),
    flag(
        "cpu-rt-period",
        Kind::Int,
        "Length of a real-time period in microseconds",
    ),
    flag(
        "cpu-rt-runtime",
        Kind::Int,
        "Real-time CPU time per period in microseconds",
    ),
    flag(
        "cpu-shares",
        Kind::Int,
        "Share of CPU time against other containers (relative weight)",
    )
    .short('c'),
    flag("cpus", Kind::Decimal, "Limit to so many CPUs, such as 1.5"),
    flag(
        "cpuset-cpus",
        Kind::Text,
        "Run on these CPUs only (0-3, or 0,2)",
    ),
    flag(
        "cpuset-mems",
        Kind::Text,
        "Take memory from these NUMA nodes only (0-3, or 0,2)",
    ),
    flag("kernel-memory", Kind::Bytes, "Limit kernel memory")
        .accepted("Linux has dropped this limit; kernel memory counts as memory (-m)"),
    flag("memory", Kind::Bytes, "Limit memory, such as 512m").short('m'),
    flag(
        "memory-reservation",
        Kind::Bytes,
        "Memory to fall back to when the host is short of it",
    ),
    flag(
        "memory-swap",
        Kind::SwapBytes,
        "Limit memory and swap together; -1 is without limit",
    ),
    flag(
        "pids-limit",
        Kind::Int,
        "Limit the number of processes; -1 is without limit",
    ),
    flag(
        "restart",
        Kind::Text,
        "When to start again: no, on-failure[:N], always, unless-stopped, on-unhealthy",
    ),
];

static EXPORT_FLAGS: &[Flag] = &[flag(
    "output",
    Kind::Text,
    "Write to this file instead of standard output",
)
.short('o')];

pub(super) static COMMANDS: &[Command] = &[
    command(&["container", "ls"], Verb::Ps, "List containers")
        .aliases(&["container list", "container ps", "ps"])
        .usage(&["[OPTIONS]"])
        .example("{} ps -a\n{} ps --filter status=exited --format '{{.Names}}'")
        .flags(PS_FLAGS),
    command(
        &["container", "rm"],
        Verb::Rm,
        "Remove one or more containers",
    )
    .aliases(&["container remove", "rm"])
    .usage(&["[OPTIONS] CONTAINER [CONTAINER...]"])
    .example("{} rm job\n{} rm -f web")
    .flags(RM_FLAGS)
    .args_from(1),
    command(&["container", "rename"], Verb::Rename, "Rename a container")
        .aliases(&["rename"])
        .usage(&["CONTAINER NEW_NAME"])
        .example("{} rename web old-web")
        .args(2, 2),
    command(
        &["container", "inspect"],
        Verb::ContainerInspect,
        "Show containers in full detail",
    )
    .usage(&["[OPTIONS] CONTAINER [CONTAINER...]"])
    .example("{} container inspect web")
    .flags(CONTAINER_INSPECT_FLAGS)
    .args_from(1),
    command(
        &["inspect"],
        Verb::Inspect,
        "Show containers, images and other objects in full detail",
    )
    .usage(&["[OPTIONS] NAME|ID [NAME|ID...]"])
    .example("{} inspect web\n{} inspect -f '{{.State.Status}}' web")
    .flags(INSPECT_FLAGS)
    .args_from(1),
    command(
        &["container", "stats"],
        Verb::Stats,
        "Show what containers use, as it changes",
    )
    .aliases(&["stats"])
    .usage(&["[OPTIONS] [CONTAINER...]"])
    .example("{} stats --no-stream")
    .flags(STATS_FLAGS)
    .args_from(0),
    command(
        &["container", "port"],
        Verb::Port,
        "Show the published ports of a container",
    )
    .aliases(&["port"])
    .usage(&["CONTAINER [PRIVATE_PORT[/PROTO]]"])
    .example("{} port web 80")
    .args(1, 2),
    command(
        &["container", "commit"],
        Verb::Commit,
        "Make an image of a container's changes",
    )
    .aliases(&["commit"])
    .usage(&["[OPTIONS] CONTAINER [REPOSITORY[:TAG]]"])
    .example("{} commit -c 'CMD [\"nginx\"]' web my/web:1")
    .flags(COMMIT_FLAGS)
    .args(1, 2),
    command(
        &["container", "cp"],
        Verb::Copy,
        "Copy files between a container and this machine",
    )
    .aliases(&["cp"])
    .usage(&[
        "[OPTIONS] CONTAINER:SRC_PATH DEST_PATH|-",
        "[OPTIONS] SRC_PATH|- CONTAINER:DEST_PATH",
    ])
    .details(
        "With - as the source, a tar archive is read from standard input and unpacked in the\n\
             container; with - as the destination, one is written to standard output.",
    )
    .example("{} cp web:/etc/nginx/nginx.conf .\n{} cp ./site/. web:/usr/share/nginx/html")
    .flags(COPY_FLAGS)
    .args(2, 2),
    command(
        &["container", "diff"],
        Verb::Diff,
        "Show what changed in a container's file system",
    )
    .aliases(&["diff"])
    .usage(&["CONTAINER"])
    .example("{} diff web")
    .args(1, 1),
    command(
        &["container", "update"],
        Verb::Update,
        "Change the limits and the restart policy of one or more containers",
    )
    .aliases(&["update"])
    .usage(&["[OPTIONS] CONTAINER [CONTAINER...]"])
    .example("{} update -m 512m --restart always web")
    .flags(UPDATE_FLAGS)
    .args_from(1),
    command(
        &["container", "export"],
        Verb::Export,
        "Write a container's file system as a tar archive",
    )
    .aliases(&["export"])
    .usage(&["[OPTIONS] CONTAINER"])
    .example("{} export -o web.tar web")
    .flags(EXPORT_FLAGS)
    .args(1, 1),
    command(
        &["container", "prune"],
        Verb::ContainerPrune,
        "Remove all stopped containers",
    )
    .usage(&["[OPTIONS]"])
    .example("{} container prune -f --filter until=24h")
    .flags(&[DRY_RUN, FILTER_PRUNE, FORCE_PRUNE]),
];
