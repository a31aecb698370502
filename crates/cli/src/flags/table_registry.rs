//! Commands about our own registry.

use super::{Command, Flag, Kind, Verb, command, flag};

const CONFIG: Flag = flag("config", Kind::Text, "Read settings from this TOML file");
const ROOT: Flag = flag(
    "root",
    Kind::Text,
    "Keep everything in this directory (default /var/lib/caisson/registry)",
);
const STORAGE: Flag = flag(
    "storage",
    Kind::Text,
    "Keep blobs in a bucket of S3: s3://BUCKET/PREFIX",
);
const DATABASE: Flag = flag(
    "database",
    Kind::Text,
    "Keep everything else in PostgreSQL: postgres://USER:PASSWORD@HOST/NAME",
);

static SERVE_FLAGS: &[Flag] = &[
    flag("closed", Kind::Bool, "Let nobody sign up"),
    CONFIG,
    DATABASE,
    flag(
        "listen",
        Kind::Text,
        "Listen on this address and port (default 127.0.0.1:5000)",
    ),
    flag(
        "mirror",
        Kind::Text,
        "Be a cache of the registry at this address, too",
    ),
    flag(
        "open",
        Kind::Bool,
        "Let whoever reaches the registry push, also beyond this machine",
    ),
    ROOT,
    STORAGE,
    flag(
        "tls-cert",
        Kind::Text,
        "Speak TLS with this certificate chain (PEM)",
    ),
    flag("tls-key", Kind::Text, "The certificate's key (PEM)"),
    flag(
        "tls-self-signed",
        Kind::Bool,
        "Speak TLS with a certificate made at the first start",
    ),
];

pub(super) static COMMANDS: &[Command] = &[
    command(
        &["registry", "collect"],
        Verb::RegistryCollect,
        "Remove blobs that no image of the registry needs",
    )
    .usage(&["[OPTIONS]"])
    .details("A registry that runs is told to do it; it does so by itself every hour.")
    .example("{} registry collect --root /srv/registry")
    .flags(&[CONFIG, DATABASE, ROOT, STORAGE]),
    command(
        &["registry", "serve"],
        Verb::RegistryServe,
        "Serve a registry with a hub page",
    )
    .usage(&["[OPTIONS]"])
    .details(
        "Images are pushed and pulled there with any client; the page in a browser is at the\n\
         same address. On loopback everybody may push; beyond it only who has signed in.",
    )
    .example(
        "{} registry serve\n{} registry serve --listen 0.0.0.0:443 --tls-cert hub.pem --tls-key hub.key",
    )
    .flags(SERVE_FLAGS),
];
