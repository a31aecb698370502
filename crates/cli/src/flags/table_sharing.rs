//! Commands that share images: push, sign in, search, manifests.

use super::table_container::{FILTER, FORMAT, NO_TRUNC};
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

static LOGIN_FLAGS: &[Flag] = &[
    flag("password", Kind::Text, "Password or access token").short('p'),
    flag(
        "password-stdin",
        Kind::Bool,
        "Read the password from standard input",
    ),
    flag("username", Kind::Text, "User name").short('u'),
];

static SEARCH_FLAGS: &[Flag] = &[
    FILTER,
    FORMAT,
    flag("limit", Kind::Int, "Show at most this many; 0 means 25"),
    NO_TRUNC,
];

pub(super) static COMMANDS: &[Command] = &[
    command(
        &["image", "diff"],
        Verb::ImageDiff,
        "List the files in which two images differ",
    )
    .usage(&["OLD_IMAGE NEW_IMAGE"])
    .details("A is only in the new one, D only in the old one, C differs; times do not count.")
    .example("{} image diff app:1 app:2")
    .args(2, 2),
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
    command(&["login"], Verb::Login, "Sign in to a registry")
        .usage(&["[OPTIONS] [SERVER]"])
        .details("Without a server it is Docker Hub, or what stands in for it.")
        .example("{} login -u me --password-stdin registry.example.org < token")
        .flags(LOGIN_FLAGS)
        .args(0, 1),
    command(&["logout"], Verb::Logout, "Sign out of a registry")
        .usage(&["[SERVER]"])
        .example("{} logout registry.example.org")
        .args(0, 1),
    command(
        &["search"],
        Verb::Search,
        "Search a registry for repositories",
    )
    .usage(&["[OPTIONS] TERM"])
    .details("Without a host before the term it is Docker Hub, or what stands in for it.")
    .example("{} search --filter is-official=true nginx\n{} search localhost:5000/ocr")
    .flags(SEARCH_FLAGS)
    .args(1, 1),
    command(
        &["tags"],
        Verb::Tags,
        "List the tags of a repository in its registry",
    )
    .usage(&["[OPTIONS] NAME"])
    .example("{} tags debian\n{} tags --format json registry.example.org/team/tool")
    .flags(&[flag("format", Kind::Text, "Print in this form: json")])
    .args(1, 1),
];
