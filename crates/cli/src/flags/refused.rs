//! Docker's commands that Caisson does not have: each is refused by name with the reason.

/// Why a command is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Missing {
    /// Planned; the text says what it comes with.
    Later(&'static str),
    /// It only makes sense with Swarm.
    Swarm,
    /// Not planned; the text says why or what to use.
    Never(&'static str),
}

const BAKING: &str = "describe the images in a Compose file and use compose build";

/// Command words, in full, and why they are missing. A group's word covers its commands.
pub(super) static MISSING: &[(&str, Missing)] = &[
    ("bake", Missing::Never(BAKING)),
    ("buildx bake", Missing::Never(BAKING)),
    (
        "buildx history",
        Missing::Never("builds are not recorded: --metadata-file and build --explain tell of one"),
    ),
    (
        "buildx imagetools",
        Missing::Never("use manifest inspect, manifest create and manifest push"),
    ),
    (
        "checkpoint",
        Missing::Never("checkpoints are not supported; pause keeps a container in memory"),
    ),
    (
        "compose alpha",
        Missing::Never("its commands became others: use config, up, watch and scale"),
    ),
    (
        "compose bridge",
        Missing::Never("Compose files are not turned into other languages"),
    ),
    (
        "compose publish",
        Missing::Never("Compose files are not kept in registries; keep them with the code"),
    ),
    ("config", Missing::Swarm),
    (
        "context",
        Missing::Later("the client of remote machines; Caisson acts on this machine"),
    ),
    ("node", Missing::Swarm),
    (
        "plugin",
        Missing::Never("there is no daemon that could load plugins"),
    ),
    ("secret", Missing::Swarm),
    ("service", Missing::Swarm),
    ("stack", Missing::Swarm),
    ("swarm", Missing::Swarm),
    (
        "system dial-stdio",
        Missing::Never("there is no daemon to connect to"),
    ),
    (
        "trust",
        Missing::Never("Docker's content trust service is gone; digests are always verified"),
    ),
    (
        "volume update",
        Missing::Never("it is for Swarm's cluster volumes"),
    ),
];

/// The reason why `words` (one or two command words) are missing, with the name refused.
pub(super) fn missing(first: &str, second: Option<&str>) -> Option<(&'static str, Missing)> {
    let matches = |name: &str| match name.split_once(' ') {
        None => name == first,
        Some((group, word)) => group == first && second == Some(word),
    };
    MISSING.iter().find(|(name, _)| matches(name)).copied()
}

impl Missing {
    /// The one line that says so.
    pub(super) fn line(self, program: &str, name: &str) -> String {
        match self {
            Self::Later(with) => {
                format!("{program}: '{name}' is not built yet: it comes with {with}")
            }
            Self::Swarm => format!(
                "{program}: '{name}' needs Swarm, and Caisson has no Swarm: \
                 for several machines use Kubernetes"
            ),
            Self::Never(reason) => format!("{program}: '{name}' is not supported: {reason}"),
        }
    }
}
