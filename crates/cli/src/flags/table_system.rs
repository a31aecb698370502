//! Commands about Caisson itself.

use super::table_container::{DRY_RUN, FILTER, FILTER_PRUNE, FORCE_PRUNE, FORMAT, INSPECT_FORMAT};
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

static DOCTOR_FLAGS: &[Flag] = &[
    flag(
        "fix",
        Kind::Bool,
        "Mend what can be mended without harm, and tell what was done",
    ),
    flag("format", Kind::Text, "Print the findings as json"),
];

pub(super) static COMMANDS: &[Command] = &[
    command(
        &["completion"],
        Verb::Completion,
        "Print what a shell needs to complete commands, flags and names",
    )
    .usage(&["bash|zsh|fish"])
    .details(
        "For bash: source <(caisson completion bash), in ~/.bashrc. For zsh: into a file _caisson \
         in a directory of $fpath. For fish: into ~/.config/fish/completions/caisson.fish.",
    )
    .example("{} completion bash > /etc/bash_completion.d/caisson")
    .args(1, 1),
    command(
        &["doctor"],
        Verb::Doctor,
        "Tell what this machine lacks, what was left over, and what is open to the world",
    )
    .usage(&["[OPTIONS]"])
    .details(
        "Looks and changes nothing, unless --fix is given. Ends with 1 where something is wrong, \
         and with 0 where there are only notes.",
    )
    .example("{} doctor")
    .flags(DOCTOR_FLAGS),
    command(
        &["system", "boot"],
        Verb::SystemBoot,
        "Start containers whose restart policy wants it after a boot",
    )
    .usage(&[""])
    .details(
        "Starts what has the policy always, and what has unless-stopped and was not stopped by \
         hand. Called once after each boot, by the systemd unit that comes with Caisson; what runs \
         already is left alone.",
    )
    .example("{} system boot"),
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
        DRY_RUN,
        FILTER_PRUNE,
        FORCE_PRUNE,
        flag("volumes", Kind::Bool, "Remove anonymous volumes too"),
    ]),
    command(
        &["undo"],
        Verb::Undo,
        "Bring back what was removed lately",
    )
    .usage(&["[OPTIONS] [NAME...]"])
    .details(
        "What rm, volume rm, network rm and compose down removed is kept for an hour, or as the \
         configuration says ([undo] keep and max_size). Without a name, everything that the last \
         such command removed comes back; containers come back stopped. Containers that were run \
         with --rm, and what prune and rmi removed, are not kept.",
    )
    .example("{} undo web")
    .flags(&[
        FORMAT,
        flag("list", Kind::Bool, "List what can come back").short('l'),
    ])
    .args_from(0),
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
