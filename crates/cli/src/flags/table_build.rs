//! Commands that build images and look after what builds leave.

use super::table_buildx::DEBUG;
use super::table_container::{FILTER, FILTER_PRUNE, FORCE_PRUNE, FORMAT};
use super::{Command, Flag, Kind, Verb, command, flag};

const BUILDER_ACCEPTED: &str = "there is one builder, this program";
const NOT_YET: &str = "it is not built yet";

static BUILD_FLAGS: &[Flag] = &[
    flag(
        "add-host",
        Kind::AddHost,
        "Add a line to /etc/hosts of RUN (name:address)",
    ),
    flag(
        "allow",
        Kind::List,
        "Allow an entitlement (network.host, security.insecure, device)",
    ),
    flag(
        "annotation",
        Kind::List,
        "Add an annotation (key=value, index:key=value)",
    ),
    flag(
        "attest",
        Kind::List,
        "Attach an attestation (type=sbom, type=provenance,mode=max)",
    )
    .partly("SBOMs are made by the builder itself, without generator="),
    flag(
        "build-arg",
        Kind::Env,
        "Set a build argument (ARG) to a value",
    ),
    flag(
        "build-context",
        Kind::List,
        "Name another context (name=directory, name=docker-image://…)",
    ),
    flag("builder", Kind::Text, "Use another builder").accepted(BUILDER_ACCEPTED),
    flag(
        "cache-from",
        Kind::List,
        "Take results from another cache (name, or type=local,src=…)",
    )
    .partly("type=registry, local and inline"),
    flag(
        "cache-to",
        Kind::List,
        "Give results to another cache (type=registry,ref=…,mode=max)",
    )
    .partly("type=registry, local and inline"),
    flag(
        "call",
        Kind::Text,
        "Do something else than build: check, outline or targets (,format=json)",
    )
    .default("build"),
    flag(
        "cgroup-parent",
        Kind::Text,
        "Put RUN beneath this control group",
    ),
    flag(
        "check",
        Kind::Bool,
        "Check the Dockerfile and build nothing",
    ),
    flag("compress", Kind::Bool, "Compress the context")
        .accepted("the context is read where it is"),
    flag("cpu-period", Kind::Int, "Limit CPU time of RUN"),
    flag("cpu-quota", Kind::Int, "Limit CPU time of RUN"),
    flag("cpu-shares", Kind::Int, "Weigh CPU time of RUN").short('c'),
    flag("cpuset-cpus", Kind::Text, "Choose CPUs for RUN"),
    flag("cpuset-mems", Kind::Text, "Choose memory nodes for RUN"),
    DEBUG,
    flag(
        "debug-on-failure",
        Kind::Bool,
        "Open a shell in the files of a RUN that failed",
    ),
    flag(
        "explain",
        Kind::Bool,
        "Tell which steps would be done and why, and build nothing",
    ),
    flag(
        "file",
        Kind::Text,
        "Read this Dockerfile (- is standard input)",
    )
    .short('f'),
    flag("force-rm", Kind::Bool, "Remove containers of failed steps")
        .accepted("nothing of a failed step stays"),
    flag("iidfile", Kind::Text, "Write the image's id to this file"),
    flag(
        "isolation",
        Kind::Text,
        "Choose how RUN is isolated: default",
    )
    .partly("on Linux there is one way, `default`"),
    flag("keep-mtimes", Kind::Bool, "Keep the times of copied files"),
    flag("label", Kind::Label, "Add a label to the image"),
    flag(
        "load",
        Kind::Bool,
        "Put the image into the store, beside --output",
    ),
    flag("memory", Kind::Bytes, "Limit memory of RUN").short('m'),
    flag(
        "memory-swap",
        Kind::SwapBytes,
        "Limit memory and swap of RUN",
    ),
    flag(
        "metadata-file",
        Kind::Text,
        "Write what came of the build to this file",
    ),
    flag(
        "network",
        Kind::Text,
        "Network of RUN: default, none or host",
    )
    .default("default"),
    flag("no-cache", Kind::Bool, "Do every step anew"),
    flag(
        "no-cache-filter",
        Kind::Strings,
        "Do the steps of these stages anew",
    ),
    flag("output", Kind::List, "Put the result elsewhere")
        .short('o')
        .partly(
            "type=image, registry, docker, oci, local and tar; dest=, name=, push=, tar= and annotation= alone",
        ),
    flag(
        "platform",
        Kind::Strings,
        "Build for these platforms (os[/arch[/variant]],…)",
    ),
    flag("policy", Kind::List, "Apply a policy").refused(NOT_YET),
    flag(
        "progress",
        Kind::Text,
        "Show progress as auto, plain, tty, quiet or rawjson",
    )
    .default("auto"),
    flag(
        "provenance",
        Kind::Text,
        "Attach how it was built (true, false, mode=min, mode=max)",
    )
    .partly("without it there is none; SLSA v1"),
    flag(
        "pull",
        Kind::Bool,
        "Ask the registry for base images, though they are here",
    ),
    flag("push", Kind::Bool, "Push the image"),
    flag("quiet", Kind::Bool, "Print the image's id and nothing else").short('q'),
    flag(
        "resource",
        Kind::List,
        "Limit a resource of RUN (memory=2g, cpu-quota=50000)",
    ),
    flag("rm", Kind::Bool, "Remove containers of steps")
        .default("true")
        .accepted("nothing of a step stays"),
    flag(
        "sbom",
        Kind::Text,
        "Attach what it consists of (true, false)",
    )
    .partly("our own reader of dpkg, apk, rpm and lock files; no generator="),
    flag(
        "secret",
        Kind::List,
        "Give RUN --mount=type=secret a secret (id=x,src=file or env=VARIABLE)",
    ),
    flag("security-opt", Kind::List, "Set security options of RUN"),
    flag("shm-size", Kind::Bytes, "Size of /dev/shm of RUN"),
    flag("squash", Kind::Bool, "Make one layer of all new ones"),
    flag(
        "ssh",
        Kind::List,
        "Give RUN --mount=type=ssh an agent (default, id=socket)",
    ),
    flag(
        "tag",
        Kind::List,
        "Name the image (name[:tag]), several times",
    )
    .short('t'),
    flag("target", Kind::Text, "Build this stage"),
    flag("ulimit", Kind::Ulimit, "Set a resource limit of RUN"),
    flag(
        "verify",
        Kind::Bool,
        "Build twice, and name the first path that a step made different",
    ),
];

static PRUNE_FLAGS: &[Flag] = &[
    flag("all", Kind::Bool, "Remove also what images still have").short('a'),
    flag("builder", Kind::Text, "Use another builder").accepted(BUILDER_ACCEPTED),
    DEBUG,
    FILTER_PRUNE,
    FORCE_PRUNE,
    flag("keep-storage", Kind::Bytes, "Keep so many bytes"),
    flag("max-used-space", Kind::Bytes, "Keep at most so many bytes"),
    flag(
        "min-free-space",
        Kind::Bytes,
        "Free so many bytes of the disk",
    )
    .refused(NOT_YET),
    flag("reserved-space", Kind::Bytes, "Always keep so many bytes"),
    flag("timeout", Kind::Duration, "Wait so long for the builder").accepted(BUILDER_ACCEPTED),
    flag("verbose", Kind::Bool, "Show more").accepted("every line is shown"),
];

pub(super) static COMMANDS: &[Command] = &[
    command(
        &["image", "build"],
        Verb::Build,
        "Build an image from a Dockerfile",
    )
    .aliases(&["build", "buildx b", "buildx build", "builder build"])
    .usage(&["[OPTIONS] PATH | URL | -"])
    .example("{} build -t app:1 .\n{} build --explain .")
    .flags(BUILD_FLAGS)
    .args(1, 1),
    command(
        &["builder", "prune"],
        Verb::BuilderPrune,
        "Remove results of builds from the cache",
    )
    .aliases(&["buildx prune"])
    .usage(&["[OPTIONS]"])
    .example("{} builder prune -a -f")
    .flags(PRUNE_FLAGS),
    command(
        &["buildx", "du"],
        Verb::BuildxDu,
        "Show what the build cache keeps",
    )
    .usage(&["[OPTIONS]"])
    .example("{} buildx du")
    .flags(&[
        flag("builder", Kind::Text, "Use another builder").accepted(BUILDER_ACCEPTED),
        DEBUG,
        FILTER,
        FORMAT,
        flag("timeout", Kind::Duration, "Wait so long for the builder").accepted(BUILDER_ACCEPTED),
        flag(
            "verbose",
            Kind::Bool,
            "Show each result with all that is known",
        ),
    ]),
];
