//! Flags as data: one table per command.
//!
//! The same tables feed the parser ([`parse`]), the help pages ([`help`]), and the manual pages,
//! completions and compatibility page ([`generate`]). They are static: nothing is built at start,
//! a command line costs the handful of strings it holds. The parser keeps pflag's rules and
//! Docker's texts, because scripts grep them; each text was compared with docker 28.2.2.
//!
//! What must stay true: flags within a command are sorted by their long name (the lookup is a
//! binary search), and a flag that does not work says so through its [`Status`].

mod completions;
pub(crate) mod generate;
pub(crate) mod help;
mod listing;
pub(crate) mod matches;
pub(crate) mod parse;
mod refused;
mod structured;
mod suggest;
mod table_build;
mod table_buildx;
mod table_compose;
mod table_compose_flags;
mod table_container;
mod table_image;
mod table_manifest;
mod table_network;
mod table_process;
mod table_registry;
mod table_run;
mod table_sharing;
mod table_system;
mod table_volume;
mod values;
mod words;

#[cfg(test)]
mod tests;

use std::fmt;

pub(crate) use matches::Matches;
pub(crate) use parse::{Failure, Invocation, Outcome, parse};
pub(crate) use structured::{parse_gpus, parse_network, parse_ulimit};
pub(crate) use values::{parse_rate_bytes, parse_rate_operations, parse_weight_device};

/// What a flag takes; decides the check at parse time and the type word in help.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// `--flag` or `--flag=false`.
    Bool,
    /// Any text; the last one wins.
    Text,
    /// Go's integer syntax, 64 bits.
    Int,
    /// Go's unsigned integer syntax, 16 bits.
    Uint16,
    /// Go's unsigned integer syntax, 64 bits.
    Uint64,
    /// A number of CPUs, exact to nine places.
    Decimal,
    /// A size: `512m`, `1.5g`.
    Bytes,
    /// A size, or -1 for no limit.
    SwapBytes,
    /// Go's duration syntax.
    Duration,
    /// One IP address.
    Ip,
    /// `name=value`, repeatable.
    Filter,
    /// Any texts, repeatable.
    List,
    /// Repeatable, and each value may hold several separated by commas.
    Strings,
    /// `key=value`, repeatable.
    Map,
    /// `key=value` of a kernel parameter that a container may own.
    Sysctl,
    /// `NAME=value` or `NAME`.
    Env,
    /// A label.
    Label,
    /// `name:address` or `name=address`.
    AddHost,
    /// `stdin`, `stdout` or `stderr`.
    Attach,
    /// `/dev/x:weight`.
    WeightDevice,
    /// `/dev/x:bytes`.
    RateBytes,
    /// `/dev/x:operations`.
    RateOperations,
    /// `c 1:3 rwm`.
    CgroupRule,
    /// Repeatable IP addresses.
    IpList,
    /// A domain, or `.`.
    Domain,
    /// `container[:alias]`.
    Link,
    /// `name=soft[:hard]`.
    Ulimit,
    /// The comma-separated form of `--mount`.
    Mount,
    /// A network's name or its comma-separated form.
    Network,
    /// `all`, a number, or a comma-separated request.
    Gpu,
}

impl Kind {
    /// The type word of help, as pflag shows it; empty for switches.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Bool => "",
            Self::Text => "string",
            Self::Int => "int",
            Self::Uint16 => "uint16",
            Self::Uint64 => "uint",
            Self::Decimal => "decimal",
            Self::Bytes | Self::SwapBytes => "bytes",
            Self::Duration => "duration",
            Self::Ip => "ip",
            Self::Filter => "filter",
            Self::Strings => "strings",
            Self::Map | Self::Sysctl => "map",
            Self::Ulimit => "ulimit",
            Self::Mount => "mount",
            Self::Network => "network",
            Self::Gpu => "gpu-request",
            Self::List
            | Self::Env
            | Self::Label
            | Self::AddHost
            | Self::Attach
            | Self::WeightDevice
            | Self::RateBytes
            | Self::RateOperations
            | Self::CgroupRule
            | Self::IpList
            | Self::Domain
            | Self::Link => "list",
        }
    }

    /// True if each further value is added instead of taking the place of the last.
    pub(crate) fn is_repeatable(self) -> bool {
        !matches!(
            self,
            Self::Bool
                | Self::Text
                | Self::Int
                | Self::Uint16
                | Self::Uint64
                | Self::Decimal
                | Self::Bytes
                | Self::SwapBytes
                | Self::Duration
                | Self::Ip
        )
    }
}

/// What becomes of a flag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    /// As in Docker.
    Works,
    /// Works within the limits that the note tells; the command checks them.
    Partly(&'static str),
    /// Accepted without effect, for the reason told.
    Accepted(&'static str),
    /// Refused by name: the reason, and the nearest thing that works.
    Refused(&'static str),
}

/// One flag of a command.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Flag {
    /// Name without its dashes.
    pub(crate) long: &'static str,
    /// One-letter name.
    pub(crate) short: Option<char>,
    /// What it takes.
    pub(crate) kind: Kind,
    /// Value where the flag is absent, as text; empty is the kind's zero.
    pub(crate) default: &'static str,
    /// One sentence for help, without a final full stop.
    pub(crate) help: &'static str,
    /// Absent from help (but listed on the compatibility page).
    pub(crate) hidden: bool,
    /// What becomes of it.
    pub(crate) status: Status,
    /// Other long names that are accepted and shown nowhere.
    pub(crate) aliases: &'static [&'static str],
    /// Aliases that print a deprecation line, as Docker does.
    pub(crate) deprecated_aliases: bool,
}

/// A flag that works, to be refined by the methods below.
const fn flag(long: &'static str, kind: Kind, help: &'static str) -> Flag {
    Flag {
        long,
        short: None,
        kind,
        default: "",
        help,
        hidden: false,
        status: Status::Works,
        aliases: &[],
        deprecated_aliases: false,
    }
}

impl Flag {
    const fn short(mut self, short: char) -> Self {
        self.short = Some(short);
        self
    }

    const fn default(mut self, default: &'static str) -> Self {
        self.default = default;
        self
    }

    const fn alias(mut self, aliases: &'static [&'static str]) -> Self {
        self.aliases = aliases;
        self
    }

    const fn old_alias(mut self, aliases: &'static [&'static str]) -> Self {
        self.aliases = aliases;
        self.deprecated_aliases = true;
        self
    }

    const fn partly(mut self, note: &'static str) -> Self {
        self.status = Status::Partly(note);
        self
    }

    const fn accepted(mut self, reason: &'static str) -> Self {
        self.status = Status::Accepted(reason);
        self.hidden = true;
        self
    }

    const fn refused(mut self, reason: &'static str) -> Self {
        self.status = Status::Refused(reason);
        self.hidden = true;
        self
    }

    /// `-m, --memory` or `--name`, as pflag names a flag in errors.
    pub(crate) fn display(&self) -> String {
        match self.short {
            Some(short) => format!("-{short}, --{}", self.long),
            None => format!("--{}", self.long),
        }
    }
}

/// What a command does; the front door matches on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verb {
    Attach,
    Build,
    Builder(BuilderAction),
    BuilderPrune,
    BuildxDu,
    Compose(ComposeAction),
    ContainerInspect,
    ContainerPrune,
    Commit,
    Completion,
    Copy,
    Create,
    Diff,
    Doctor,
    Events,
    Exec,
    Export,
    History,
    ImageDiff,
    ImageInspect,
    ImagePrune,
    Images,
    Import,
    Info,
    Inspect,
    /// `internal …`: our own processes and generators; flags are not parsed.
    Internal,
    Kill,
    Load,
    Login,
    Logout,
    Logs,
    Manifest(ManifestAction),
    NetworkConnect,
    NetworkCreate,
    NetworkDisconnect,
    NetworkInspect,
    NetworkPrune,
    NetworkRm,
    Networks,
    Pause,
    Port,
    Ps,
    Pull,
    RegistryCollect,
    RegistryServe,
    Push,
    Rename,
    Restart,
    Rm,
    Rmi,
    Run,
    Save,
    Search,
    Start,
    Stats,
    Stop,
    SystemBoot,
    SystemDf,
    SystemPrune,
    Tag,
    Tags,
    Top,
    Undo,
    Unpause,
    Update,
    Version,
    VolumeClone,
    VolumeCreate,
    VolumeExport,
    VolumeImport,
    VolumeInspect,
    VolumePrune,
    VolumeRename,
    VolumeRestore,
    VolumeRm,
    VolumeSnapshot,
    Volumes,
    Wait,
}

/// A command of `buildx` that looks after builders.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BuilderAction {
    Create,
    Inspect,
    List,
    Remove,
    Stop,
    Use,
    Version,
}

/// A command of the group `compose`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ComposeAction {
    Attach,
    Build,
    Commit,
    Config,
    Copy,
    Create,
    Down,
    Events,
    Exec,
    Export,
    Images,
    Kill,
    Logs,
    Ls,
    Pause,
    Port,
    Ps,
    Pull,
    Push,
    Restart,
    Rm,
    Run,
    Scale,
    Start,
    Stats,
    Stop,
    Top,
    Unpause,
    Up,
    Version,
    Volumes,
    Wait,
    Watch,
}

/// A command of the group `manifest`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ManifestAction {
    Annotate,
    Create,
    Inspect,
    Push,
    Rm,
}

/// How many positional arguments a command takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Args {
    /// At least so many.
    pub(crate) min: usize,
    /// At most so many; `None` is without bound.
    pub(crate) max: Option<usize>,
}

/// One command.
#[derive(Clone, Copy)]
pub(crate) struct Command {
    /// The words that name it, such as `["container", "run"]`.
    pub(crate) path: &'static [&'static str],
    /// Other spellings in full (`ps`, `container list`), in the order that help shows them.
    pub(crate) aliases: &'static [&'static str],
    /// What follows the name in the usage line. Several lines: each is a form of its own.
    pub(crate) usage: &'static [&'static str],
    /// One imperative line.
    pub(crate) about: &'static str,
    /// More lines for help, or empty.
    pub(crate) details: &'static str,
    /// Example lines for help, `{}` standing for the program's name; or empty.
    pub(crate) example: &'static str,
    /// Its flags, sorted by long name.
    pub(crate) flags: &'static [Flag],
    /// Positional arguments.
    pub(crate) args: Args,
    /// The first positional argument ends the flags.
    pub(crate) stop_at_positional: bool,
    /// Shown nowhere.
    pub(crate) hidden: bool,
    /// What it does.
    pub(crate) verb: Verb,
}

const fn command(path: &'static [&'static str], verb: Verb, about: &'static str) -> Command {
    Command {
        path,
        aliases: &[],
        usage: &[""],
        about,
        details: "",
        example: "",
        flags: &[],
        args: Args {
            min: 0,
            max: Some(0),
        },
        stop_at_positional: false,
        hidden: false,
        verb,
    }
}

impl fmt::Debug for Command {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Its table would only hide what a test wants to show.
        write!(formatter, "Command({})", self.name())
    }
}

impl Command {
    const fn aliases(mut self, aliases: &'static [&'static str]) -> Self {
        self.aliases = aliases;
        self
    }

    const fn usage(mut self, usage: &'static [&'static str]) -> Self {
        self.usage = usage;
        self
    }

    const fn details(mut self, details: &'static str) -> Self {
        self.details = details;
        self
    }

    const fn example(mut self, example: &'static str) -> Self {
        self.example = example;
        self
    }

    const fn flags(mut self, flags: &'static [Flag]) -> Self {
        self.flags = flags;
        self
    }

    const fn args(mut self, min: usize, max: usize) -> Self {
        self.args = Args {
            min,
            max: Some(max),
        };
        self
    }

    const fn args_from(mut self, min: usize) -> Self {
        self.args = Args { min, max: None };
        self
    }

    const fn stop_at_positional(mut self) -> Self {
        self.stop_at_positional = true;
        self
    }

    /// The position of the flag with this long name.
    pub(crate) fn flag_index(&self, long: &str) -> Option<usize> {
        self.flags.binary_search_by(|flag| flag.long.cmp(long)).ok()
    }

    /// The words of its name, joined.
    pub(crate) fn name(&self) -> String {
        self.path.join(" ")
    }
}

/// A group of commands, `container`, `image`, `system`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Group {
    /// Its word.
    pub(crate) name: &'static str,
    /// One imperative line.
    pub(crate) about: &'static str,
}

/// The groups.
pub(crate) static GROUPS: &[Group] = &[
    Group {
        name: "builder",
        about: "Look after what builds leave",
    },
    Group {
        name: "buildx",
        about: "Build, in the words of Docker's build client",
    },
    Group {
        name: "compose",
        about: "Run several containers as one project",
    },
    Group {
        name: "container",
        about: "Manage containers",
    },
    Group {
        name: "image",
        about: "Manage images",
    },
    Group {
        name: "manifest",
        about: "Look at and make manifests in registries",
    },
    Group {
        name: "network",
        about: "Manage networks",
    },
    Group {
        name: "registry",
        about: "Serve images to others",
    },
    Group {
        name: "system",
        about: "Look after Caisson itself",
    },
    Group {
        name: "volume",
        about: "Manage volumes",
    },
];

/// The tables of commands, by subject.
static TABLES: &[&[Command]] = &[
    table_process::COMMANDS,
    table_compose::COMMANDS,
    table_container::COMMANDS,
    table_image::COMMANDS,
    table_build::COMMANDS,
    table_buildx::COMMANDS,
    table_manifest::COMMANDS,
    table_network::COMMANDS,
    table_registry::COMMANDS,
    table_sharing::COMMANDS,
    table_system::COMMANDS,
    table_volume::COMMANDS,
];

/// All commands.
pub(crate) fn commands() -> impl Iterator<Item = &'static Command> {
    TABLES.iter().flat_map(|table| table.iter())
}

/// The flags before the command. `--help` and `--version` are handled beside the table.
pub(crate) static GLOBAL_FLAGS: &[Flag] = &[
    flag(
        "config",
        Kind::Text,
        "Read the client's config.json from this directory",
    ),
    flag(
        "context",
        Kind::Text,
        "Use this context; there is only \"default\"",
    )
    .short('c')
    .partly("only `default`: Caisson works on this machine and is not yet a client of another"),
    flag("debug", Kind::Bool, "Say more on standard error")
        .short('D')
        .accepted(NO_LOG),
    flag("host", Kind::List, "Connect to this daemon")
        .short('H')
        .refused(
            "Caisson has no daemon to connect to and acts on this machine; call it without --host",
        ),
    flag(
        "log-level",
        Kind::Text,
        "Show messages from this level on: debug, info, warn, error, fatal",
    )
    .short('l')
    .default("info")
    .accepted(NO_LOG),
    flag(
        "root",
        Kind::Text,
        "Keep images and containers in this directory (CAISSON_ROOT)",
    ),
    flag(
        "run-root",
        Kind::Text,
        "Keep the state of running containers here (CAISSON_RUN_ROOT)",
    ),
    flag("tls", Kind::Bool, "Use TLS").accepted(NO_CONNECTION),
    flag("tlscacert", Kind::Text, "Trust this certificate authority").accepted(NO_CONNECTION),
    flag("tlscert", Kind::Text, "Use this certificate").accepted(NO_CONNECTION),
    flag("tlskey", Kind::Text, "Use this key").accepted(NO_CONNECTION),
    flag("tlsverify", Kind::Bool, "Verify the remote").accepted(NO_CONNECTION),
];

const NO_LOG: &str =
    "a command keeps no log: what it has to say, it says; `events` tells what happened";
const NO_CONNECTION: &str = "there is no connection to a daemon that it could protect";
