//! Commands about volumes.

use super::table_container::{DRY_RUN, FILTER, FORCE_PRUNE, FORMAT, INSPECT_FORMAT};
use super::{Command, Flag, Kind, Verb, command, flag};

const CLUSTER: &str = "it is for Swarm's cluster volumes";

static CREATE_FLAGS: &[Flag] = &[
    flag(
        "availability",
        Kind::Text,
        "Cluster volumes: active, pause or drain",
    )
    .default("active")
    .refused(CLUSTER),
    flag("driver", Kind::Text, "Use this driver: local")
        .short('d')
        .default("local"),
    flag("group", Kind::Text, "Cluster volumes: their group").refused(CLUSTER),
    flag("label", Kind::Label, "Set a label"),
    flag(
        "limit-bytes",
        Kind::Bytes,
        "Cluster volumes: the most bytes",
    )
    .refused(CLUSTER),
    flag(
        "opt",
        Kind::Map,
        "Set an option of the driver: type, device, o",
    )
    .short('o'),
    flag(
        "required-bytes",
        Kind::Bytes,
        "Cluster volumes: the least bytes",
    )
    .refused(CLUSTER),
    flag("scope", Kind::Text, "Cluster volumes: single or multi")
        .default("single")
        .refused(CLUSTER),
    flag("secret", Kind::Map, "Cluster volumes: a secret").refused(CLUSTER),
    flag(
        "sharing",
        Kind::Text,
        "Cluster volumes: how they are shared",
    )
    .default("none")
    .refused(CLUSTER),
    flag("topology-preferred", Kind::List, "Cluster volumes: where").refused(CLUSTER),
    flag("topology-required", Kind::List, "Cluster volumes: where").refused(CLUSTER),
    flag("type", Kind::Text, "Cluster volumes: block or mount")
        .default("block")
        .refused(CLUSTER),
];

static INSPECT_FLAGS: &[Flag] = &[INSPECT_FORMAT];

static LS_FLAGS: &[Flag] = &[
    flag("cluster", Kind::Bool, "Show cluster volumes").refused(CLUSTER),
    FILTER,
    FORMAT,
    flag("quiet", Kind::Bool, "Show names only").short('q'),
];

static PRUNE_FLAGS: &[Flag] = &[
    flag("all", Kind::Bool, "Remove volumes with names too").short('a'),
    DRY_RUN,
    flag("filter", Kind::Filter, "Remove only what matches (label=…)"),
    FORCE_PRUNE,
];

static RM_FLAGS: &[Flag] = &[flag(
    "force",
    Kind::Bool,
    "Do not fail where there is no such volume",
)
.short('f')];

static SNAPSHOT_FLAGS: &[Flag] = &[
    flag("list", Kind::Bool, "List the volume's snapshots").short('l'),
    flag("rm", Kind::Bool, "Remove the snapshot"),
];

static EXPORT_FLAGS: &[Flag] = &[flag(
    "output",
    Kind::Text,
    "Write to this file instead of standard output",
)
.short('o')];

static IMPORT_FLAGS: &[Flag] = &[flag(
    "input",
    Kind::Text,
    "Read from this file instead of standard input",
)
.short('i')];

pub(super) static COMMANDS: &[Command] = &[
    command(
        &["volume", "clone"],
        Verb::VolumeClone,
        "Make a volume with the data of another",
    )
    .usage(&["VOLUME NEW_VOLUME"])
    .example("{} volume clone data data-for-tests")
    .args(2, 2),
    command(&["volume", "create"], Verb::VolumeCreate, "Make a volume")
        .usage(&["[OPTIONS] [VOLUME]"])
        .example("{} volume create data")
        .flags(CREATE_FLAGS)
        .args(0, 1),
    command(
        &["volume", "export"],
        Verb::VolumeExport,
        "Write a volume's data as a tar",
    )
    .usage(&["[OPTIONS] VOLUME"])
    .example("{} volume export -o data.tar data")
    .flags(EXPORT_FLAGS)
    .args(1, 1),
    command(
        &["volume", "import"],
        Verb::VolumeImport,
        "Make a volume from a tar",
    )
    .usage(&["[OPTIONS] VOLUME"])
    .example("{} volume import -i data.tar data")
    .flags(IMPORT_FLAGS)
    .args(1, 1),
    command(
        &["volume", "inspect"],
        Verb::VolumeInspect,
        "Show all that is known about volumes",
    )
    .usage(&["[OPTIONS] VOLUME [VOLUME...]"])
    .example("{} volume inspect -f '{{.Mountpoint}}' data")
    .flags(INSPECT_FLAGS)
    .args_from(1),
    command(&["volume", "ls"], Verb::Volumes, "List volumes")
        .aliases(&["volume list"])
        .usage(&["[OPTIONS]"])
        .example("{} volume ls --filter dangling=true")
        .flags(LS_FLAGS)
        .args(0, 0),
    command(
        &["volume", "prune"],
        Verb::VolumePrune,
        "Remove volumes that no container has",
    )
    .usage(&["[OPTIONS]"])
    .example("{} volume prune --all")
    .flags(PRUNE_FLAGS)
    .args(0, 0),
    command(
        &["volume", "rename"],
        Verb::VolumeRename,
        "Give a volume another name",
    )
    .usage(&["VOLUME NEW_NAME"])
    .example("{} volume rename data data-old")
    .args(2, 2),
    command(
        &["volume", "restore"],
        Verb::VolumeRestore,
        "Make a volume what it was at a snapshot",
    )
    .usage(&["VOLUME TAG"])
    .example("{} volume restore data before-upgrade")
    .args(2, 2),
    command(&["volume", "rm"], Verb::VolumeRm, "Remove volumes")
        .aliases(&["volume remove"])
        .usage(&["[OPTIONS] VOLUME [VOLUME...]"])
        .example("{} volume rm data")
        .flags(RM_FLAGS)
        .args_from(1),
    command(
        &["volume", "snapshot"],
        Verb::VolumeSnapshot,
        "Keep a copy of a volume's data",
    )
    .usage(&["VOLUME [TAG]", "--list VOLUME", "--rm VOLUME TAG"])
    .example("{} volume snapshot data before-upgrade\n{} volume snapshot --list data")
    .flags(SNAPSHOT_FLAGS)
    .args(1, 2),
];
