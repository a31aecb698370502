//! Commands about manifests in registries.

use super::{Command, Flag, Kind, ManifestAction, Verb, command, flag};

const INSECURE: Flag = flag("insecure", Kind::Bool, "Talk to a registry without TLS").refused(
    "it is for one registry and not for one call: set insecure = true for it in the configuration",
);

static ANNOTATE_FLAGS: &[Flag] = &[
    flag("arch", Kind::Text, "Set the processor"),
    flag("os", Kind::Text, "Set the operating system"),
    flag("os-features", Kind::Strings, "Set features of the system"),
    flag("os-version", Kind::Text, "Set the version of the system"),
    flag("variant", Kind::Text, "Set the variant of the processor"),
];

pub(super) static COMMANDS: &[Command] = &[
    command(
        &["manifest", "annotate"],
        Verb::Manifest(ManifestAction::Annotate),
        "Say more of a manifest in a list made here",
    )
    .usage(&["[OPTIONS] MANIFEST_LIST MANIFEST"])
    .example("{} manifest annotate --arch arm64 me/app:1 me/app:1-arm64")
    .flags(ANNOTATE_FLAGS)
    .args(2, 2),
    command(
        &["manifest", "create"],
        Verb::Manifest(ManifestAction::Create),
        "Make a list of manifests, to be pushed",
    )
    .usage(&["[OPTIONS] MANIFEST_LIST MANIFEST [MANIFEST...]"])
    .example("{} manifest create me/app:1 me/app:1-amd64 me/app:1-arm64")
    .flags(&[
        flag("amend", Kind::Bool, "Extend a list that is there").short('a'),
        INSECURE,
    ])
    .args_from(2),
    command(
        &["manifest", "inspect"],
        Verb::Manifest(ManifestAction::Inspect),
        "Show a manifest or a list of manifests",
    )
    .usage(&["[OPTIONS] [MANIFEST_LIST] MANIFEST"])
    .example("{} manifest inspect -v debian:12")
    .flags(&[
        INSECURE,
        flag(
            "verbose",
            Kind::Bool,
            "Show every manifest of a list, with its platform",
        )
        .short('v'),
    ])
    .args(1, 2),
    command(
        &["manifest", "push"],
        Verb::Manifest(ManifestAction::Push),
        "Push a list of manifests to its repository",
    )
    .usage(&["[OPTIONS] MANIFEST_LIST"])
    .example("{} manifest push --purge me/app:1")
    .flags(&[
        INSECURE,
        flag("purge", Kind::Bool, "Forget the list afterwards").short('p'),
    ])
    .args(1, 1),
    command(
        &["manifest", "rm"],
        Verb::Manifest(ManifestAction::Rm),
        "Forget lists of manifests made here",
    )
    .usage(&["MANIFEST_LIST [MANIFEST_LIST...]"])
    .example("{} manifest rm me/app:1")
    .args_from(1),
];
