//! Commands about Caisson itself.

use super::table_container::{FILTER, FILTER_PRUNE, FORCE_PRUNE, FORMAT, INSPECT_FORMAT};
use super::{Command, Flag, Kind, Verb, command, flag};

static EVENTS_FLAGS: &[Flag] = &[
    FILTER,
    flag(
        "format",
        Kind::Text,
        "Format each event: json, or a Go template",
    ),
    flag(
        "since",
        Kind::Text,
        "Begin with events since then (2024-01-02T13:23:37Z, or 42m ago)",
    ),
    flag(
        "until",
        Kind::Text,
        "End with events until then (2024-01-02T13:23:37Z, or 42m ago)",
    ),
];

pub(super) static COMMANDS: &[Command] = &[
    command(
        &["system", "df"],
        Verb::SystemDf,
        "Show what takes space and what could be freed",
    )
    .usage(&["[OPTIONS]"])
    .example("{} system df -v")
    .flags(&[
        FORMAT,
        flag("verbose", Kind::Bool, "Show each object").short('v'),
    ]),
    command(
        &["system", "events"],
        Verb::Events,
        "Show what happens, as it happens",
    )
    .aliases(&["events"])
    .usage(&["[OPTIONS]"])
    .example("{} events --since 1h --filter type=container")
    .flags(EVENTS_FLAGS),
    command(
        &["system", "info"],
        Verb::Info,
        "Show this machine and what Caisson can do on it",
    )
    .aliases(&["info"])
    .usage(&["[OPTIONS]"])
    .example("{} info")
    .flags(&[INSPECT_FORMAT]),
    command(
        &["system", "prune"],
        Verb::SystemPrune,
        "Remove unused data",
    )
    .usage(&["[OPTIONS]"])
    .example("{} system prune -f")
    .flags(&[
        flag(
            "all",
            Kind::Bool,
            "Remove all unused images, not only untagged ones",
        )
        .short('a'),
        FILTER_PRUNE,
        FORCE_PRUNE,
        flag("volumes", Kind::Bool, "Remove anonymous volumes too"),
    ]),
    command(&["version"], Verb::Version, "Show the version")
        .usage(&["[OPTIONS]"])
        .example("{} version --format '{{.Server.Version}}'")
        .flags(&[INSPECT_FORMAT]),
    Command {
        hidden: true,
        stop_at_positional: true,
        ..command(
            &["internal"],
            Verb::Internal,
            "Run one of Caisson's own processes",
        )
        .usage(&["COMMAND [ARG...]"])
        .args_from(1)
    },
];
