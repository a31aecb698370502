//! Commands about images.

use super::table_container::{
    DRY_RUN, FILTER, FILTER_PRUNE, FORCE_PRUNE, FORMAT, INSPECT_FORMAT, NO_TRUNC,
};
use super::{Command, Flag, Kind, Verb, command, flag};

pub(super) const PLATFORM: Flag = flag(
    "platform",
    Kind::Text,
    "Take the image for this platform (os[/arch[/variant]])",
);

static IMAGES_FLAGS: &[Flag] = &[
    flag("all", Kind::Bool, "Show intermediate images too").short('a'),
    flag("digests", Kind::Bool, "Show digests"),
    FILTER,
    FORMAT,
    NO_TRUNC,
    flag("quiet", Kind::Bool, "Show ids only").short('q'),
    flag(
        "tree",
        Kind::Bool,
        "Show the platforms of each image as a tree",
    )
    .refused("the tree view is not built yet; --digests tells images apart"),
];

static PULL_FLAGS: &[Flag] = &[
    flag("all-tags", Kind::Bool, "Pull every tag of the repository").short('a'),
    flag("disable-content-trust", Kind::Bool, "Skip verification")
        .default("true")
        .accepted("Docker's content trust service is gone; digests are always verified"),
    PLATFORM,
    flag("quiet", Kind::Bool, "Print only the reference").short('q'),
];

static RMI_FLAGS: &[Flag] = &[
    flag(
        "force",
        Kind::Bool,
        "Remove also what several names or stopped containers use",
    )
    .short('f'),
    flag("no-prune", Kind::Bool, "Keep untagged parents"),
    flag(
        "platform",
        Kind::Strings,
        "Remove only this platform (os[/arch[/variant]])",
    ),
];

static IMPORT_FLAGS: &[Flag] = &[
    flag("change", Kind::List, "Apply this Dockerfile instruction").short('c'),
    flag("message", Kind::Text, "Say where it comes from").short('m'),
    PLATFORM,
];

static LOAD_FLAGS: &[Flag] = &[
    flag(
        "input",
        Kind::Text,
        "Read from this file instead of standard input",
    )
    .short('i'),
    flag(
        "platform",
        Kind::Strings,
        "Load only this platform (os[/arch[/variant]])",
    ),
    flag("quiet", Kind::Bool, "Do not show progress").short('q'),
];

static SAVE_FLAGS: &[Flag] = &[
    flag(
        "output",
        Kind::Text,
        "Write to this file instead of standard output",
    )
    .short('o'),
    flag(
        "platform",
        Kind::Strings,
        "Save only this platform (os[/arch[/variant]])",
    ),
];

static HISTORY_FLAGS: &[Flag] = &[
    FORMAT,
    flag("human", Kind::Bool, "Show sizes and times for people")
        .short('H')
        .default("true"),
    NO_TRUNC,
    flag(
        "platform",
        Kind::Text,
        "Show the history for this platform (os[/arch[/variant]])",
    ),
    flag("quiet", Kind::Bool, "Show ids only").short('q'),
];

pub(super) static COMMANDS: &[Command] = &[
    command(
        &["image", "pull"],
        Verb::Pull,
        "Pull an image from a registry",
    )
    .aliases(&["pull"])
    .usage(&["[OPTIONS] NAME[:TAG|@DIGEST]"])
    .example("{} pull debian:12\n{} pull registry.example.org/team/tool@sha256:…")
    .flags(PULL_FLAGS)
    .args(1, 1),
    command(&["image", "ls"], Verb::Images, "List images")
        .aliases(&["image list", "images"])
        .usage(&["[OPTIONS] [REPOSITORY[:TAG]]"])
        .example("{} images\n{} images -q --filter dangling=true")
        .flags(IMAGES_FLAGS)
        .args(0, 1),
    command(&["image", "tag"], Verb::Tag, "Give an image another name")
        .aliases(&["tag"])
        .usage(&["SOURCE_IMAGE[:TAG] TARGET_IMAGE[:TAG]"])
        .example("{} tag debian:12 registry.example.org/base:12")
        .args(2, 2),
    command(&["image", "rm"], Verb::Rmi, "Remove one or more images")
        .aliases(&["image remove", "rmi"])
        .usage(&["[OPTIONS] IMAGE [IMAGE...]"])
        .example("{} rmi debian:12")
        .flags(RMI_FLAGS)
        .args_from(1),
    command(
        &["image", "import"],
        Verb::Import,
        "Make an image from a tar archive of files",
    )
    .aliases(&["import"])
    .usage(&["[OPTIONS] file|URL|- [REPOSITORY[:TAG]]"])
    .example("{} import -c 'CMD [\"/bin/sh\"]' rootfs.tar my/base:1")
    .flags(IMPORT_FLAGS)
    .args_from(1),
    command(
        &["image", "load"],
        Verb::Load,
        "Load images from an archive that save wrote",
    )
    .aliases(&["load"])
    .usage(&["[OPTIONS]"])
    .example("{} load -i images.tar")
    .flags(LOAD_FLAGS),
    command(
        &["image", "save"],
        Verb::Save,
        "Save one or more images to a tar archive",
    )
    .aliases(&["save"])
    .usage(&["[OPTIONS] IMAGE [IMAGE...]"])
    .example("{} save -o images.tar debian:12 nginx")
    .flags(SAVE_FLAGS)
    .args_from(1),
    command(
        &["image", "history"],
        Verb::History,
        "Show how an image was made",
    )
    .aliases(&["history"])
    .usage(&["[OPTIONS] IMAGE"])
    .example("{} history --no-trunc nginx")
    .flags(HISTORY_FLAGS)
    .args(1, 1),
    command(
        &["image", "inspect"],
        Verb::ImageInspect,
        "Show images in full detail",
    )
    .usage(&["[OPTIONS] IMAGE [IMAGE...]"])
    .example("{} image inspect -f '{{.Config.Cmd}}' nginx")
    .flags(&[
        INSPECT_FORMAT,
        flag(
            "platform",
            Kind::Text,
            "Show the image for this platform (os[/arch[/variant]])",
        ),
    ])
    .args_from(1),
    command(
        &["image", "prune"],
        Verb::ImagePrune,
        "Remove unused images",
    )
    .usage(&["[OPTIONS]"])
    .example("{} image prune -a --filter until=240h")
    .flags(&[
        flag(
            "all",
            Kind::Bool,
            "Remove all that no container uses, not only untagged ones",
        )
        .short('a'),
        DRY_RUN,
        FILTER_PRUNE,
        FORCE_PRUNE,
    ]),
];
