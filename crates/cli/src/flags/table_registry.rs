//! Commands about registries.

use super::table_image::PLATFORM;
use super::{Command, Flag, Kind, Verb, command, flag};

static PUSH_FLAGS: &[Flag] = &[
    flag("all-tags", Kind::Bool, "Push every tag of the repository").short('a'),
    flag(
        "compression",
        Kind::Text,
        "Compress layers that were made here with this: gzip or zstd",
    ),
    flag("disable-content-trust", Kind::Bool, "Skip signing")
        .default("true")
        .accepted("Docker's content trust service is gone; digests are always verified"),
    PLATFORM,
    flag("quiet", Kind::Bool, "Print only the reference").short('q'),
];

pub(super) static COMMANDS: &[Command] = &[
    command(
        &["image", "push"],
        Verb::Push,
        "Push an image to a registry",
    )
    .aliases(&["push"])
    .usage(&["[OPTIONS] NAME[:TAG]"])
    .example("{} push registry.example.org/team/tool:1\n{} push -a localhost:5000/app")
    .flags(PUSH_FLAGS)
    .args(1, 1),
];
