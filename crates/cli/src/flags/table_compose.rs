//! Commands about Compose projects, and the flags that stand between `compose` and them.

use super::table_compose_flags::*;
use super::{Command, ComposeAction, Flag, Kind, Verb, command, flag};

/// Flags of `compose` itself, before its command.
pub(crate) static COMPOSE_FLAGS: &[Flag] = &[
    flag(
        "all-resources",
        Kind::Bool,
        "Include resources that no service uses",
    ),
    flag("ansi", Kind::Text, "Colours: never, always, auto")
        .accepted("the output has no control characters"),
    flag(
        "compatibility",
        Kind::Bool,
        "Name containers as Compose V1 did",
    )
    .refused("containers are named with hyphens; set container_name for another name"),
    flag(
        "dry-run",
        Kind::Bool,
        "Show what would be done, with the reasons",
    ),
    flag(
        "env-file",
        Kind::List,
        "Read variables from this file instead of .env",
    ),
    flag(
        "file",
        Kind::List,
        "Read this Compose file; - is standard input",
    )
    .short('f'),
    flag("parallel", Kind::Int, "How many images are pulled at once").default("-1"),
    flag("profile", Kind::List, "Turn this profile on"),
    flag("progress", Kind::Text, "How to tell what goes on")
        .default("auto")
        .accepted("lines are printed, which are right on a terminal and in a file"),
    flag(
        "project-directory",
        Kind::Text,
        "Read relative paths from here instead of the directory of the first file",
    ),
    flag("project-name", Kind::Text, "Call the project so").short('p'),
    flag("verbose", Kind::Bool, "Say more").accepted("there is no more to say"),
    flag("version", Kind::Bool, "Show the version").short('v'),
    flag("workdir", Kind::Text, "As --project-directory").accepted("use --project-directory"),
];

const SERVICES: &[&str] = &["[OPTIONS] [SERVICE...]"];

const fn compose(
    path: &'static [&'static str],
    action: ComposeAction,
    about: &'static str,
) -> Command {
    command(path, Verb::Compose(action), about)
}

pub(super) static COMMANDS: &[Command] = &[
    compose(
        &["compose", "attach"],
        ComposeAction::Attach,
        "Attach to a service's container",
    )
    .usage(&["[OPTIONS] SERVICE"])
    .flags(ATTACH_FLAGS)
    .args(1, 1)
    .example("  {} compose attach web"),
    compose(
        &["compose", "build"],
        ComposeAction::Build,
        "Build the images of services",
    )
    .usage(SERVICES)
    .flags(BUILD_FLAGS)
    .args_from(0)
    .example("  {} compose build --pull web"),
    compose(
        &["compose", "commit"],
        ComposeAction::Commit,
        "Make an image of a service's container",
    )
    .usage(&["[OPTIONS] SERVICE [REPOSITORY[:TAG]]"])
    .flags(COMMIT_FLAGS)
    .args(1, 2)
    .example("  {} compose commit web shop/web:fixed"),
    compose(
        &["compose", "config"],
        ComposeAction::Config,
        "Show the project as it is understood",
    )
    .aliases(&["compose convert"])
    .usage(SERVICES)
    .flags(CONFIG_FLAGS)
    .args_from(0)
    .example("  {} compose config --explain services.web.environment"),
    compose(
        &["compose", "cp"],
        ComposeAction::Copy,
        "Copy files between a service's container and this machine",
    )
    .usage(&[
        "[OPTIONS] SERVICE:SRC_PATH DEST_PATH",
        "[OPTIONS] SRC_PATH SERVICE:DEST_PATH",
    ])
    .flags(CP_FLAGS)
    .args(2, 2)
    .example("  {} compose cp web:/etc/nginx/nginx.conf ."),
    compose(
        &["compose", "create"],
        ComposeAction::Create,
        "Make containers without starting them",
    )
    .usage(SERVICES)
    .flags(CREATE_FLAGS)
    .args_from(0)
    .example("  {} compose create"),
    compose(
        &["compose", "down"],
        ComposeAction::Down,
        "Stop and remove containers and networks",
    )
    .usage(SERVICES)
    .flags(DOWN_FLAGS)
    .args_from(0)
    .example("  {} compose down -v"),
    compose(
        &["compose", "events"],
        ComposeAction::Events,
        "Show what happens to a project's containers",
    )
    .usage(SERVICES)
    .flags(EVENTS_FLAGS)
    .args_from(0)
    .example("  {} compose events --json"),
    compose(
        &["compose", "exec"],
        ComposeAction::Exec,
        "Run a command in a service's container",
    )
    .usage(&["[OPTIONS] SERVICE COMMAND [ARGS...]"])
    .flags(EXEC_FLAGS)
    .args_from(2)
    .stop_at_positional()
    .example("  {} compose exec db psql -U postgres"),
    compose(
        &["compose", "export"],
        ComposeAction::Export,
        "Write a service's file system as a tar archive",
    )
    .usage(&["[OPTIONS] SERVICE"])
    .flags(EXPORT_FLAGS)
    .args(1, 1)
    .example("  {} compose export -o web.tar web"),
    compose(
        &["compose", "images"],
        ComposeAction::Images,
        "Show the images of a project's containers",
    )
    .usage(SERVICES)
    .flags(IMAGES_FLAGS)
    .args_from(0)
    .example("  {} compose images"),
    compose(&["compose", "kill"], ComposeAction::Kill, "Kill containers")
        .usage(SERVICES)
        .flags(KILL_FLAGS)
        .args_from(0)
        .example("  {} compose kill -s HUP web"),
    compose(
        &["compose", "logs"],
        ComposeAction::Logs,
        "Show the output of containers",
    )
    .usage(SERVICES)
    .flags(LOGS_FLAGS)
    .args_from(0)
    .example("  {} compose logs -f web"),
    compose(&["compose", "ls"], ComposeAction::Ls, "Show projects")
        .usage(&["[OPTIONS]"])
        .flags(LS_FLAGS)
        .example("  {} compose ls -a"),
    compose(
        &["compose", "pause"],
        ComposeAction::Pause,
        "Freeze containers",
    )
    .usage(SERVICES)
    .flags(PAUSE_FLAGS)
    .args_from(0)
    .example("  {} compose pause web"),
    compose(
        &["compose", "port"],
        ComposeAction::Port,
        "Show where a port is published",
    )
    .usage(&["[OPTIONS] SERVICE PRIVATE_PORT"])
    .flags(PORT_FLAGS)
    .args(2, 2)
    .example("  {} compose port web 80"),
    compose(&["compose", "ps"], ComposeAction::Ps, "Show containers")
        .usage(SERVICES)
        .flags(PS_FLAGS)
        .args_from(0)
        .example("  {} compose ps -a"),
    compose(
        &["compose", "pull"],
        ComposeAction::Pull,
        "Pull the images of services",
    )
    .usage(SERVICES)
    .flags(PULL_FLAGS)
    .args_from(0)
    .example("  {} compose pull"),
    compose(
        &["compose", "push"],
        ComposeAction::Push,
        "Push the images of services",
    )
    .usage(SERVICES)
    .flags(PUSH_FLAGS)
    .args_from(0)
    .example("  {} compose push"),
    compose(
        &["compose", "restart"],
        ComposeAction::Restart,
        "Stop and start containers",
    )
    .usage(SERVICES)
    .flags(RESTART_FLAGS)
    .args_from(0)
    .example("  {} compose restart web"),
    compose(
        &["compose", "rm"],
        ComposeAction::Rm,
        "Remove stopped containers",
    )
    .usage(SERVICES)
    .flags(RM_FLAGS)
    .args_from(0)
    .example("  {} compose rm -sf web"),
    compose(
        &["compose", "run"],
        ComposeAction::Run,
        "Run a command in a new container of a service",
    )
    .usage(&["[OPTIONS] SERVICE [COMMAND] [ARGS...]"])
    .flags(RUN_FLAGS)
    .args_from(1)
    .stop_at_positional()
    .example("  {} compose run --rm web sh"),
    compose(
        &["compose", "scale"],
        ComposeAction::Scale,
        "Have so many containers of services",
    )
    .usage(&["[SERVICE=REPLICAS...]"])
    .flags(SCALE_FLAGS)
    .args_from(1)
    .example("  {} compose scale web=3"),
    compose(
        &["compose", "start"],
        ComposeAction::Start,
        "Start containers that are there",
    )
    .usage(SERVICES)
    .flags(START_FLAGS)
    .args_from(0)
    .example("  {} compose start"),
    compose(
        &["compose", "stats"],
        ComposeAction::Stats,
        "Show what containers use",
    )
    .usage(&["[OPTIONS] [SERVICE]"])
    .flags(STATS_FLAGS)
    .args(0, 1)
    .example("  {} compose stats --no-stream"),
    compose(&["compose", "stop"], ComposeAction::Stop, "Stop containers")
        .usage(SERVICES)
        .flags(TIMEOUT_FLAGS)
        .args_from(0)
        .example("  {} compose stop -t 5"),
    compose(
        &["compose", "top"],
        ComposeAction::Top,
        "Show the processes of containers",
    )
    .usage(SERVICES)
    .flags(TOP_FLAGS)
    .args_from(0)
    .example("  {} compose top web"),
    compose(
        &["compose", "unpause"],
        ComposeAction::Unpause,
        "Thaw containers",
    )
    .usage(SERVICES)
    .flags(PAUSE_FLAGS)
    .args_from(0)
    .example("  {} compose unpause web"),
    compose(
        &["compose", "up"],
        ComposeAction::Up,
        "Make and start what a project needs",
    )
    .usage(SERVICES)
    .flags(UP_FLAGS)
    .args_from(0)
    .example("  {} compose up -d --wait"),
    compose(
        &["compose", "version"],
        ComposeAction::Version,
        "Show the version",
    )
    .usage(&["[OPTIONS]"])
    .flags(VERSION_FLAGS)
    .example("  {} compose version --short"),
    compose(
        &["compose", "volumes"],
        ComposeAction::Volumes,
        "Show a project's volumes",
    )
    .usage(SERVICES)
    .flags(VOLUMES_FLAGS)
    .args_from(0)
    .example("  {} compose volumes -q"),
    compose(
        &["compose", "wait"],
        ComposeAction::Wait,
        "Wait until a service's containers end",
    )
    .usage(&["SERVICE [SERVICE...] [OPTIONS]"])
    .flags(WAIT_FLAGS)
    .args_from(1)
    .example("  {} compose wait job"),
    compose(
        &["compose", "watch"],
        ComposeAction::Watch,
        "Bring changes of files into containers, by the rules of develop.watch",
    )
    .usage(&["[SERVICE...]"])
    .flags(WATCH_FLAGS)
    .args_from(0)
    .example("  {} compose watch web"),
];
