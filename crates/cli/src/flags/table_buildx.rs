//! Commands of `buildx` that look after builders. There is one, which is always there: scripts that
//! make one before they build go on, and what they would only get from another one is refused.

use super::table_container::FORMAT;
use super::{BuilderAction, Command, Flag, Kind, Verb, command, flag};

const ALWAYS_THERE: &str = "the one builder is this program, and always there";
const NO_CONTAINER: &str = "the builder is no container that it could be said of";

pub(super) const DEBUG: Flag = flag("debug", Kind::Bool, "Show what the builder says of itself")
    .short('D')
    .accepted("there is no daemon that would have more to say");

static CREATE_FLAGS: &[Flag] = &[
    flag("append", Kind::Bool, "Add a node to the builder").accepted(ALWAYS_THERE),
    flag("bootstrap", Kind::Bool, "Start the builder").accepted(ALWAYS_THERE),
    flag("buildkitd-config", Kind::Text, "Configure BuildKit with this file")
        .alias(&["config"])
        .refused("there is no buildkitd: mirrors and certificates of registries stand in the configuration of Caisson"),
    flag("buildkitd-flags", Kind::Text, "Flags of BuildKit's daemon")
        .accepted("there is no buildkitd: what a build may do is said with build --allow"),
    DEBUG,
    flag("driver", Kind::Text, "Driver of the builder: docker or docker-container")
        .partly("docker and docker-container mean this machine; others are refused"),
    flag("driver-opt", Kind::List, "Set options of the driver").accepted(NO_CONTAINER),
    flag("leave", Kind::Bool, "Take a node out of the builder").accepted(ALWAYS_THERE),
    flag("name", Kind::Text, "Name the builder"),
    flag("node", Kind::Text, "Name the node").accepted(ALWAYS_THERE),
    flag("platform", Kind::Strings, "Platforms of the node")
        .accepted("inspect tells which this machine has"),
    flag("timeout", Kind::Duration, "Wait so long for the builder").accepted(ALWAYS_THERE),
    flag("use", Kind::Bool, "Build with it from now on").accepted(ALWAYS_THERE),
];

static REMOVE_FLAGS: &[Flag] = &[
    flag("all-inactive", Kind::Bool, "Remove all inactive builders").accepted(ALWAYS_THERE),
    flag("builder", Kind::Text, "The builder").accepted(ALWAYS_THERE),
    DEBUG,
    flag("force", Kind::Bool, "Do not ask")
        .short('f')
        .accepted("nothing is asked"),
    flag("keep-daemon", Kind::Bool, "Keep the daemon").accepted("there is none"),
    flag("keep-state", Kind::Bool, "Keep the cache")
        .accepted("it stays: builder prune -a removes it"),
    flag("timeout", Kind::Duration, "Wait so long for the builder").accepted(ALWAYS_THERE),
];

pub(super) static COMMANDS: &[Command] = &[
    command(
        &["buildx", "create"],
        Verb::Builder(BuilderAction::Create),
        "Name the builder, which is always there",
    )
    .usage(&["[OPTIONS]"])
    .details(
        "Scripts make a builder before they build. There is one, this program on this machine; every name \
         is its name, and no name is kept.",
    )
    .example("{} buildx create --name b --use")
    .flags(CREATE_FLAGS)
    .args(0, 1),
    command(
        &["buildx", "inspect"],
        Verb::Builder(BuilderAction::Inspect),
        "Show the builder and the platforms that it has",
    )
    .usage(&["[NAME]"])
    .example("{} buildx inspect --bootstrap")
    .flags(&[
        flag("bootstrap", Kind::Bool, "Start the builder").accepted(ALWAYS_THERE),
        flag("builder", Kind::Text, "Show this builder"),
        DEBUG,
        flag("timeout", Kind::Duration, "Wait so long for the builder").accepted(ALWAYS_THERE),
    ])
    .args(0, 1),
    command(
        &["buildx", "ls"],
        Verb::Builder(BuilderAction::List),
        "List builders: the one that there is",
    )
    .usage(&["[OPTIONS]"])
    .example("{} buildx ls")
    .flags(&[
        DEBUG,
        FORMAT,
        flag("no-trunc", Kind::Bool, "Show every platform").accepted("every one is shown"),
        flag("timeout", Kind::Duration, "Wait so long for the builder").accepted(ALWAYS_THERE),
    ]),
    command(
        &["buildx", "rm"],
        Verb::Builder(BuilderAction::Remove),
        "Forget names of the builder; it stays",
    )
    .usage(&["[NAME...]"])
    .example("{} buildx rm b")
    .flags(REMOVE_FLAGS)
    .args_from(0),
    command(
        &["buildx", "stop"],
        Verb::Builder(BuilderAction::Stop),
        "Stop the builder: nothing of it runs between builds",
    )
    .usage(&["[NAME]"])
    .example("{} buildx stop")
    .flags(&[
        flag("builder", Kind::Text, "The builder").accepted(ALWAYS_THERE),
        DEBUG,
    ])
    .args(0, 1),
    command(
        &["buildx", "use"],
        Verb::Builder(BuilderAction::Use),
        "Choose a builder: the one that there is",
    )
    .usage(&["[OPTIONS] NAME"])
    .example("{} buildx use b")
    .flags(&[
        flag("builder", Kind::Text, "The builder").accepted(ALWAYS_THERE),
        DEBUG,
        flag("default", Kind::Bool, "Choose it for the context").accepted(ALWAYS_THERE),
        flag("global", Kind::Bool, "Choose it for every context").accepted(ALWAYS_THERE),
    ])
    .args(1, 1),
    command(
        &["buildx", "version"],
        Verb::Builder(BuilderAction::Version),
        "Show which version of Docker's build client this follows",
    )
    .usage(&[""])
    .example("{} buildx version")
    .flags(&[DEBUG]),
];
