//! Commands that make containers and talk to their processes.

use super::table_run::{CREATE_FLAGS, RUN_FLAGS};
use super::{Command, Flag, Kind, Verb, command, flag};

const DETACH_KEYS: Flag = flag(
    "detach-keys",
    Kind::Text,
    "Keys that detach from the container (default ctrl-p,ctrl-q)",
);

const SIGNAL: Flag = flag("signal", Kind::Text, "Signal to send").short('s');

/// Docker shows a default of 0 for want of a better word; we tell the true one.
const TIMEOUT: Flag = flag(
    "timeout",
    Kind::Int,
    "Seconds to wait before killing; -1 waits for ever (default the container's, else 10)",
)
.short('t')
.old_alias(&["time"]);

const CONTAINERS: &[&str] = &["CONTAINER [CONTAINER...]"];
const OPTIONS_CONTAINERS: &[&str] = &["[OPTIONS] CONTAINER [CONTAINER...]"];

static ATTACH_FLAGS: &[Flag] = &[
    DETACH_KEYS,
    flag("no-stdin", Kind::Bool, "Do not attach standard input"),
    flag("sig-proxy", Kind::Bool, "Forward signals to the container").default("true"),
];

static EXEC_FLAGS: &[Flag] = &[
    flag("detach", Kind::Bool, "Run in the background").short('d'),
    DETACH_KEYS,
    flag(
        "env",
        Kind::Env,
        "Set a variable; NAME alone copies it from here",
    )
    .short('e'),
    flag(
        "env-file",
        Kind::List,
        "Set the variables that a file lists",
    ),
    flag("interactive", Kind::Bool, "Keep standard input open").short('i'),
    flag(
        "privileged",
        Kind::Bool,
        "Give all capabilities; confines nothing",
    ),
    flag("tty", Kind::Bool, "Give the command a terminal").short('t'),
    flag(
        "user",
        Kind::Text,
        "Run as this user (name or number, with :group if wanted)",
    )
    .short('u'),
    flag("workdir", Kind::Text, "Working directory").short('w'),
];

static LOGS_FLAGS: &[Flag] = &[
    flag(
        "details",
        Kind::Bool,
        "Show the attributes that --log-opt asked for",
    ),
    flag("follow", Kind::Bool, "Go on as output comes").short('f'),
    flag(
        "since",
        Kind::Text,
        "Only output since then (2024-01-02T13:23:37Z, or 42m ago)",
    ),
    flag("tail", Kind::Text, "Only so many lines from the end")
        .short('n')
        .default("all"),
    flag("timestamps", Kind::Bool, "Show the time of each line").short('t'),
    flag(
        "until",
        Kind::Text,
        "Only output until then (2024-01-02T13:23:37Z, or 42m ago)",
    ),
];

static START_FLAGS: &[Flag] = &[
    flag(
        "attach",
        Kind::Bool,
        "Attach to the output, forward signals, exit with its code",
    )
    .short('a'),
    flag("checkpoint", Kind::Text, "Restore from this checkpoint").refused(NO_CHECKPOINT),
    flag("checkpoint-dir", Kind::Text, "Look for checkpoints here").refused(NO_CHECKPOINT),
    DETACH_KEYS,
    flag("interactive", Kind::Bool, "Attach standard input").short('i'),
];

const NO_CHECKPOINT: &str =
    "checkpoints are not supported; pause keeps a container's state in memory";

static STOP_FLAGS: &[Flag] = &[SIGNAL, TIMEOUT];

static KILL_FLAGS: &[Flag] =
    &[flag("signal", Kind::Text, "Signal to send (default KILL)").short('s')];

pub(super) static COMMANDS: &[Command] = &[
    command(
        &["container", "run"],
        Verb::Run,
        "Create and run a new container from an image",
    )
    .aliases(&["run"])
    .usage(&["[OPTIONS] IMAGE [COMMAND] [ARG...]"])
    .example(
        "{} run hello-world\n\
             {} run --rm -it debian:12 bash\n\
             {} run -d --name web --network host --restart on-failure nginx",
    )
    .flags(RUN_FLAGS)
    .args_from(1)
    .stop_at_positional(),
    command(
        &["container", "exec"],
        Verb::Exec,
        "Run a command in a running container",
    )
    .aliases(&["exec"])
    .usage(&["[OPTIONS] CONTAINER COMMAND [ARG...]"])
    .example("{} exec -it web sh\n{} exec -u 1000 -e COLOUR=blue web printenv")
    .flags(EXEC_FLAGS)
    .args_from(2)
    .stop_at_positional(),
    command(
        &["container", "create"],
        Verb::Create,
        "Create a new container without starting it",
    )
    .aliases(&["create"])
    .usage(&["[OPTIONS] IMAGE [COMMAND] [ARG...]"])
    .example("{} create --name job debian:12 date")
    .flags(CREATE_FLAGS)
    .args_from(1)
    .stop_at_positional(),
    command(
        &["container", "start"],
        Verb::Start,
        "Start one or more stopped containers",
    )
    .aliases(&["start"])
    .usage(OPTIONS_CONTAINERS)
    .example("{} start web\n{} start -ai job")
    .flags(START_FLAGS)
    .args_from(1),
    command(
        &["container", "stop"],
        Verb::Stop,
        "Stop one or more running containers",
    )
    .aliases(&["stop"])
    .usage(OPTIONS_CONTAINERS)
    .example("{} stop web\n{} stop -t 30 database")
    .flags(STOP_FLAGS)
    .args_from(1),
    command(
        &["container", "restart"],
        Verb::Restart,
        "Restart one or more containers",
    )
    .aliases(&["restart"])
    .usage(OPTIONS_CONTAINERS)
    .example("{} restart web")
    .flags(STOP_FLAGS)
    .args_from(1),
    command(
        &["container", "kill"],
        Verb::Kill,
        "Kill one or more running containers",
    )
    .aliases(&["kill"])
    .usage(OPTIONS_CONTAINERS)
    .example("{} kill web\n{} kill -s HUP web")
    .flags(KILL_FLAGS)
    .args_from(1),
    command(
        &["container", "pause"],
        Verb::Pause,
        "Pause all processes of one or more containers",
    )
    .aliases(&["pause"])
    .usage(CONTAINERS)
    .example("{} pause web")
    .args_from(1),
    command(
        &["container", "unpause"],
        Verb::Unpause,
        "Let the processes of one or more paused containers go on",
    )
    .aliases(&["unpause"])
    .usage(CONTAINERS)
    .example("{} unpause web")
    .args_from(1),
    command(
        &["container", "wait"],
        Verb::Wait,
        "Wait until one or more containers end, then print their exit codes",
    )
    .aliases(&["wait"])
    .usage(CONTAINERS)
    .example("{} wait job")
    .args_from(1),
    command(
        &["container", "attach"],
        Verb::Attach,
        "Attach standard input, output and error to a running container",
    )
    .aliases(&["attach"])
    .usage(&["[OPTIONS] CONTAINER"])
    .example("{} attach web")
    .flags(ATTACH_FLAGS)
    .args(1, 1),
    command(
        &["container", "logs"],
        Verb::Logs,
        "Show the output of a container",
    )
    .aliases(&["logs"])
    .usage(&["[OPTIONS] CONTAINER"])
    .example("{} logs --tail 20 -f web\n{} logs --since 10m web")
    .flags(LOGS_FLAGS)
    .args(1, 1),
    command(
        &["container", "top"],
        Verb::Top,
        "Show the running processes of a container",
    )
    .aliases(&["top"])
    .usage(&["CONTAINER [ps OPTIONS]"])
    .example("{} top web\n{} top web -o pid,args")
    .args_from(1)
    .stop_at_positional(),
];
