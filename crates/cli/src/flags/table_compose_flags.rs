//! The flags of the commands about Compose projects.

use super::table_container::{FORMAT, NO_TRUNC};
use super::{Flag, Kind, flag};

const TIMEOUT: Flag = flag(
    "timeout",
    Kind::Int,
    "Seconds until a stopping container is killed",
)
.short('t');
const INDEX: Flag = flag("index", Kind::Int, "Which of the service's containers");
const QUIET: Flag = flag("quiet", Kind::Bool, "Show ids only").short('q');
const DRY_RUN: Flag = flag(
    "dry-run",
    Kind::Bool,
    "Show what would be done, with the reasons",
);
/// On commands that only read.
const NOT_DRY: Flag = DRY_RUN.accepted("nothing is changed");
const BUILD: Flag = flag("build", Kind::Bool, "Build images first");
const NO_BUILD: Flag = flag("no-build", Kind::Bool, "Do not build, even what is missing");
const PULL: Flag = flag(
    "pull",
    Kind::Text,
    "Pull images: always, missing, never, build, policy",
);
const QUIET_PULL: Flag = flag("quiet-pull", Kind::Bool, "Do not tell how pulling goes");
const QUIET_BUILD: Flag = flag("quiet-build", Kind::Bool, "Do not tell how building goes");
const REMOVE_ORPHANS: Flag = flag(
    "remove-orphans",
    Kind::Bool,
    "Remove containers of services that are not in the files",
);
const FORCE_RECREATE: Flag = flag(
    "force-recreate",
    Kind::Bool,
    "Make containers anew, changed or not",
);
const NO_RECREATE: Flag = flag(
    "no-recreate",
    Kind::Bool,
    "Leave containers that are there as they are",
);
const SCALE: Flag = flag(
    "scale",
    Kind::List,
    "So many containers of a service, SERVICE=NUMBER",
);
const YES: Flag = flag("yes", Kind::Bool, "Answer every question with yes")
    .short('y')
    .accepted("nothing is asked");
const NO_DEPS: Flag = flag(
    "no-deps",
    Kind::Bool,
    "Leave the services alone that they depend on",
);

pub(super) static CONFIG_FLAGS: &[Flag] = &[
    NOT_DRY,
    flag(
        "environment",
        Kind::Bool,
        "Show the variables that files may use",
    ),
    flag(
        "explain",
        Kind::Text,
        "Show which file and line say what is under this key",
    ),
    FORMAT,
    flag(
        "hash",
        Kind::Text,
        "Show the configuration digest of services, or of all (*)",
    ),
    flag("images", Kind::Bool, "Show the names of images"),
    flag(
        "lock-image-digests",
        Kind::Bool,
        "Make an override file with digests",
    )
    .refused("use --resolve-image-digests"),
    flag("models", Kind::Bool, "Show models"),
    flag("networks", Kind::Bool, "Show the keys of networks"),
    flag(
        "no-consistency",
        Kind::Bool,
        "Do not check that what is referred to exists",
    ),
    flag(
        "no-env-resolution",
        Kind::Bool,
        "Do not read env files of services",
    ),
    flag("no-interpolate", Kind::Bool, "Do not replace variables"),
    flag(
        "no-normalize",
        Kind::Bool,
        "Do not make explicit what is implied",
    ),
    flag(
        "no-path-resolution",
        Kind::Bool,
        "Do not make paths absolute",
    ),
    flag("output", Kind::Text, "Write to this file").short('o'),
    flag("profiles", Kind::Bool, "Show profiles"),
    flag("quiet", Kind::Bool, "Check only").short('q'),
    flag(
        "resolve-image-digests",
        Kind::Bool,
        "Show images with the digests that they have here",
    ),
    flag("services", Kind::Bool, "Show the names of services"),
    flag(
        "variables",
        Kind::Bool,
        "Show the variables that the files speak of",
    ),
    flag("volumes", Kind::Bool, "Show the keys of volumes"),
];

pub(super) static UP_FLAGS: &[Flag] = &[
    flag(
        "abort-on-container-exit",
        Kind::Bool,
        "Stop everything when one container ends",
    ),
    flag(
        "abort-on-container-failure",
        Kind::Bool,
        "Stop everything when one container ends with another code than 0",
    ),
    flag(
        "always-recreate-deps",
        Kind::Bool,
        "Make the containers of dependencies anew too",
    ),
    flag(
        "attach",
        Kind::List,
        "Show the output of these services only",
    ),
    flag(
        "attach-dependencies",
        Kind::Bool,
        "Show the output of dependencies too",
    ),
    BUILD,
    flag("detach", Kind::Bool, "Do not wait and show no output").short('d'),
    DRY_RUN,
    flag(
        "exit-code-from",
        Kind::Text,
        "End with the code of this service, and stop everything then",
    ),
    FORCE_RECREATE,
    flag(
        "menu",
        Kind::Bool,
        "Have keys that watch files and detach, on a terminal; on by default",
    ),
    flag(
        "no-attach",
        Kind::List,
        "Do not show the output of these services",
    ),
    NO_BUILD,
    flag("no-color", Kind::Bool, "Print without colours").accepted("there are no colours"),
    NO_DEPS,
    flag(
        "no-log-prefix",
        Kind::Bool,
        "Print lines without the container's name",
    ),
    NO_RECREATE,
    flag(
        "no-start",
        Kind::Bool,
        "Make containers, but do not start them",
    ),
    PULL,
    QUIET_BUILD,
    QUIET_PULL,
    REMOVE_ORPHANS,
    flag(
        "renew-anon-volumes",
        Kind::Bool,
        "Make anonymous volumes anew",
    )
    .short('V'),
    flag(
        "rolling",
        Kind::Bool,
        "Replace containers one after another, each once the new one is healthy or runs",
    ),
    SCALE,
    TIMEOUT,
    flag("timestamps", Kind::Bool, "Print times"),
    flag(
        "wait",
        Kind::Bool,
        "Wait until services run or are healthy; implies -d",
    ),
    flag("wait-timeout", Kind::Int, "Seconds to wait at most"),
    flag("watch", Kind::Bool, "Watch files and act on changes").short('w'),
    YES,
];

pub(super) static CREATE_FLAGS: &[Flag] = &[
    BUILD,
    DRY_RUN,
    FORCE_RECREATE,
    NO_BUILD,
    NO_RECREATE,
    PULL,
    QUIET_PULL,
    REMOVE_ORPHANS,
    SCALE,
    YES,
];

pub(super) static DOWN_FLAGS: &[Flag] = &[
    DRY_RUN,
    REMOVE_ORPHANS,
    flag(
        "rmi",
        Kind::Text,
        "Remove images too: local (those without a name of their own) or all",
    ),
    TIMEOUT,
    flag(
        "volumes",
        Kind::Bool,
        "Remove volumes too, named and anonymous",
    )
    .short('v'),
];

const OLD: &str = "builds are done at once, with nothing left of their steps";

pub(super) static BUILD_FLAGS: &[Flag] = &[
    flag("build-arg", Kind::Env, "Set a build argument (ARG)"),
    flag("builder", Kind::Text, "Use another builder")
        .accepted("there is one builder, this program"),
    flag(
        "check",
        Kind::Bool,
        "Check the Dockerfiles and build nothing",
    ),
    flag("compress", Kind::Bool, "Compress the context")
        .accepted("the context is read where it is"),
    DRY_RUN,
    flag("force-rm", Kind::Bool, "Remove containers of steps").accepted(OLD),
    flag("memory", Kind::Bytes, "Limit memory of RUN").short('m'),
    flag("no-cache", Kind::Bool, "Do every step anew"),
    flag("no-rm", Kind::Bool, "Keep containers of steps").accepted(OLD),
    flag("parallel", Kind::Bool, "Build at the same time").accepted(OLD),
    flag(
        "print",
        Kind::Bool,
        "Show what would be built as Bake's document, and build nothing",
    ),
    flag(
        "progress",
        Kind::Text,
        "Show progress as auto, plain, tty, quiet or rawjson",
    )
    .default("auto"),
    flag("provenance", Kind::Text, "Attach how it was built"),
    flag(
        "pull",
        Kind::Bool,
        "Ask the registry for base images, though they are here",
    ),
    flag("push", Kind::Bool, "Push what was built"),
    flag("quiet", Kind::Bool, "Do not tell how it goes").short('q'),
    flag("sbom", Kind::Text, "Attach what it consists of"),
    flag(
        "ssh",
        Kind::Text,
        "Give RUN --mount=type=ssh an agent (default, id=socket)",
    ),
    flag(
        "with-dependencies",
        Kind::Bool,
        "Build what the services depend on too",
    ),
];

pub(super) static PS_FLAGS: &[Flag] = &[
    flag(
        "all",
        Kind::Bool,
        "Show all containers (default the running ones)",
    )
    .short('a'),
    NOT_DRY,
    flag("filter", Kind::Filter, "Show only what matches (status=…)"),
    FORMAT,
    NO_TRUNC,
    flag(
        "orphans",
        Kind::Bool,
        "Show containers of services that are not in the files",
    )
    .default("true"),
    QUIET,
    flag("services", Kind::Bool, "Show services only"),
    flag(
        "status",
        Kind::List,
        "Show containers that are so: running, exited, …",
    ),
];

pub(super) static LS_FLAGS: &[Flag] = &[
    flag(
        "all",
        Kind::Bool,
        "Show all projects (default those that run)",
    )
    .short('a'),
    NOT_DRY,
    flag("filter", Kind::Filter, "Show only what matches (name=…)"),
    FORMAT,
    flag("quiet", Kind::Bool, "Show names only").short('q'),
];

pub(super) static LOGS_FLAGS: &[Flag] = &[
    NOT_DRY,
    flag("follow", Kind::Bool, "Go on as output comes").short('f'),
    INDEX,
    flag("no-color", Kind::Bool, "Print without colours").accepted("there are no colours"),
    flag(
        "no-log-prefix",
        Kind::Bool,
        "Print lines without the container's name",
    ),
    flag(
        "since",
        Kind::Text,
        "Show what was printed from this time on (or 10m: ten minutes ago)",
    ),
    flag(
        "tail",
        Kind::Text,
        "Show the last so many lines of each container",
    )
    .short('n')
    .default("all"),
    flag("timestamps", Kind::Bool, "Print times").short('t'),
    flag(
        "until",
        Kind::Text,
        "Show what was printed before this time",
    ),
];

pub(super) static PULL_FLAGS: &[Flag] = &[
    DRY_RUN,
    flag(
        "ignore-buildable",
        Kind::Bool,
        "Leave images that can be built",
    ),
    flag(
        "ignore-pull-failures",
        Kind::Bool,
        "Go on where one cannot be pulled",
    ),
    flag("include-deps", Kind::Bool, "Pull for dependencies too"),
    flag("no-parallel", Kind::Bool, "Pull one after another"),
    flag("parallel", Kind::Bool, "Pull at the same time")
        .accepted("images are pulled at the same time"),
    flag("policy", Kind::Text, "Pull: missing or always"),
    flag("quiet", Kind::Bool, "Do not tell how it goes").short('q'),
];

pub(super) static PUSH_FLAGS: &[Flag] = &[
    DRY_RUN,
    flag(
        "ignore-push-failures",
        Kind::Bool,
        "Go on where one cannot be pushed",
    ),
    flag("include-deps", Kind::Bool, "Push for dependencies too"),
    flag("quiet", Kind::Bool, "Do not tell how it goes").short('q'),
];

pub(super) static RUN_FLAGS: &[Flag] = &[
    BUILD,
    flag("cap-add", Kind::List, "Give a capability"),
    flag("cap-drop", Kind::List, "Take a capability away"),
    flag(
        "detach",
        Kind::Bool,
        "Do not wait; print the container's id",
    )
    .short('d'),
    DRY_RUN,
    flag(
        "entrypoint",
        Kind::Text,
        "Run this instead of the image's entry point",
    ),
    flag("env", Kind::Env, "Set a variable").short('e'),
    flag(
        "env-from-file",
        Kind::List,
        "Set the variables of this file",
    ),
    flag("interactive", Kind::Bool, "Keep standard input open")
        .short('i')
        .default("true"),
    flag("label", Kind::Label, "Set a label").short('l'),
    flag("name", Kind::Text, "Call the container so"),
    NO_DEPS,
    flag("no-tty", Kind::Bool, "Use no terminal")
        .short('T')
        .alias(&["no-TTY"]),
    flag("publish", Kind::List, "Publish a port").short('p'),
    PULL,
    flag(
        "quiet",
        Kind::Bool,
        "Say nothing but what the container says",
    )
    .short('q'),
    QUIET_BUILD,
    QUIET_PULL,
    REMOVE_ORPHANS,
    flag("rm", Kind::Bool, "Remove the container when it ends"),
    flag("service-ports", Kind::Bool, "Publish the service's ports").short('P'),
    flag("tty", Kind::Bool, "Use a terminal")
        .short('t')
        .default("true"),
    flag(
        "use-aliases",
        Kind::Bool,
        "Use the service's names in its networks",
    ),
    flag("user", Kind::Text, "Run as this user").short('u'),
    flag("volume", Kind::List, "Mount a path or a volume").short('v'),
    flag("workdir", Kind::Text, "Run in this directory").short('w'),
];

pub(super) static EXEC_FLAGS: &[Flag] = &[
    flag("detach", Kind::Bool, "Do not wait").short('d'),
    DRY_RUN,
    flag("env", Kind::Env, "Set a variable").short('e'),
    INDEX,
    flag("interactive", Kind::Bool, "Keep standard input open")
        .short('i')
        .default("true"),
    flag("no-tty", Kind::Bool, "Use no terminal")
        .short('T')
        .alias(&["no-TTY"]),
    flag("privileged", Kind::Bool, "With every capability"),
    flag("tty", Kind::Bool, "Use a terminal")
        .short('t')
        .default("true"),
    flag("user", Kind::Text, "Run as this user").short('u'),
    flag("workdir", Kind::Text, "Run in this directory").short('w'),
];

pub(super) static TIMEOUT_FLAGS: &[Flag] = &[DRY_RUN, TIMEOUT];
pub(super) static RESTART_FLAGS: &[Flag] = &[DRY_RUN, NO_DEPS, TIMEOUT];
pub(super) static START_FLAGS: &[Flag] = &[
    DRY_RUN,
    flag("wait", Kind::Bool, "Wait until services run or are healthy"),
    flag("wait-timeout", Kind::Int, "Seconds to wait at most"),
];
pub(super) static KILL_FLAGS: &[Flag] = &[
    DRY_RUN,
    REMOVE_ORPHANS,
    flag("signal", Kind::Text, "Send this signal")
        .short('s')
        .default("SIGKILL"),
];
pub(super) static RM_FLAGS: &[Flag] = &[
    flag("all", Kind::Bool, "Remove those that run made too")
        .short('a')
        .accepted("they are removed too since Compose 2"),
    DRY_RUN,
    flag("force", Kind::Bool, "Do not ask first").short('f'),
    flag("stop", Kind::Bool, "Stop containers first").short('s'),
    flag("volumes", Kind::Bool, "Remove anonymous volumes too").short('v'),
];
pub(super) static IMAGES_FLAGS: &[Flag] = &[NOT_DRY, FORMAT, QUIET];
pub(super) static VOLUMES_FLAGS: &[Flag] = &[
    NOT_DRY,
    FORMAT,
    flag("quiet", Kind::Bool, "Show names only").short('q'),
];
pub(super) static PORT_FLAGS: &[Flag] = &[
    NOT_DRY,
    INDEX,
    flag("protocol", Kind::Text, "tcp or udp").default("tcp"),
];
pub(super) static EVENTS_FLAGS: &[Flag] = &[
    NOT_DRY,
    flag("json", Kind::Bool, "Print JSON"),
    flag("since", Kind::Text, "Show events from this time on"),
    flag("until", Kind::Text, "Show events before this time"),
];
pub(super) static CP_FLAGS: &[Flag] = &[
    flag("all", Kind::Bool, "Copy to containers that run made too"),
    flag("archive", Kind::Bool, "Keep owners and groups").short('a'),
    DRY_RUN,
    flag(
        "follow-link",
        Kind::Bool,
        "Follow a symbolic link given as the source",
    )
    .short('L'),
    INDEX,
];
pub(super) static ATTACH_FLAGS: &[Flag] = &[
    flag("detach-keys", Kind::Text, "Keys that detach"),
    DRY_RUN,
    INDEX,
    flag("no-stdin", Kind::Bool, "Do not attach standard input"),
    flag("sig-proxy", Kind::Bool, "Pass signals on").default("true"),
];
pub(super) static STATS_FLAGS: &[Flag] = &[
    flag(
        "all",
        Kind::Bool,
        "Show all containers (default the running ones)",
    )
    .short('a'),
    NOT_DRY,
    FORMAT,
    flag("no-stream", Kind::Bool, "Show one measurement and end"),
    NO_TRUNC,
];
pub(super) static SCALE_FLAGS: &[Flag] = &[DRY_RUN, NO_DEPS];
pub(super) static WAIT_FLAGS: &[Flag] = &[
    flag(
        "down-project",
        Kind::Bool,
        "Take the project down when the first ends",
    ),
    DRY_RUN,
];
pub(super) static WATCH_FLAGS: &[Flag] = &[
    DRY_RUN,
    flag("no-up", Kind::Bool, "Do not build and start first"),
    flag(
        "prune",
        Kind::Bool,
        "Remove images that rebuilt ones replace",
    )
    .default("true"),
    flag("quiet", Kind::Bool, "Do not tell how building goes"),
];
pub(super) static VERSION_FLAGS: &[Flag] = &[
    NOT_DRY,
    flag("format", Kind::Text, "Format the output: pretty or json").short('f'),
    flag("short", Kind::Bool, "Show the number only"),
];
pub(super) static COMMIT_FLAGS: &[Flag] = &[
    flag("author", Kind::Text, "Say who made it").short('a'),
    flag("change", Kind::List, "Apply this Dockerfile instruction").short('c'),
    DRY_RUN,
    INDEX,
    flag("message", Kind::Text, "Say what changed").short('m'),
    flag("pause", Kind::Bool, "Pause the container meanwhile")
        .short('p')
        .default("true"),
];
pub(super) static EXPORT_FLAGS: &[Flag] = &[
    DRY_RUN,
    INDEX,
    flag("output", Kind::Text, "Write to this file").short('o'),
];
pub(super) static PAUSE_FLAGS: &[Flag] = &[DRY_RUN];
pub(super) static TOP_FLAGS: &[Flag] = &[NOT_DRY];
