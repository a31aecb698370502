//! Build arguments: predefined ones, those before the first FROM, and which were never used.

use crate::dockerfile::command::GlobalArguments;
use crate::dockerfile::error::{DockerfileError, Problem};
use crate::dockerfile::place::Origin;
use crate::dockerfile::words::{Expansion, Lexer, Variables};
use types::platform::Platform;

use super::environment::Environment;
use super::lints;
use super::{Epoch, LOWERED_BYTES_MAX, LowerError, Lowering, Request};

/// Arguments that need no ARG.
const PROXIES: [&str; 5] = [
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "FTP_PROXY",
    "NO_PROXY",
    "ALL_PROXY",
];
/// Arguments that say something of the build, or to it.
pub(crate) const PREDEFINED: [&str; 20] = [
    "TARGETPLATFORM",
    "TARGETOS",
    "TARGETOSVERSION",
    "TARGETARCH",
    "TARGETVARIANT",
    "TARGETSTAGE",
    "BUILDPLATFORM",
    "BUILDOS",
    "BUILDOSVERSION",
    "BUILDARCH",
    "BUILDVARIANT",
    PROXIES[0],
    PROXIES[1],
    PROXIES[2],
    PROXIES[3],
    PROXIES[4],
    EPOCH,
    "BUILDKIT_CACHE_MOUNT_NS",
    "BUILDKIT_DOCKERFILE_CHECK",
    "BUILDKIT_SANDBOX_HOSTNAME",
];
const EPOCH: &str = "SOURCE_DATE_EPOCH";
/// Arguments that are no variables of a step.
const NOT_IN_ENVIRONMENT: [&str; 2] = ["BUILDKIT_SBOM_SCAN_CONTEXT", "BUILDKIT_SBOM_SCAN_STAGE"];

/// Whether an ARG of that name sets a variable.
pub(super) fn is_variable(name: &str) -> bool {
    !NOT_IN_ENVIRONMENT.contains(&name)
}

/// The platform with version of the system where there is one, as `TARGETPLATFORM` has it.
fn platform_text(platform: &Platform) -> String {
    platform.to_string()
}

/// What a build says of itself.
fn predefined(request: &Request, target_platform: &Platform) -> Vec<(&'static str, String)> {
    let (build, target) = (&request.build_platform, target_platform);
    let stages = &request.dockerfile.stages;
    let last = stages.last().and_then(|stage| stage.name.as_deref());
    let stage = match request.wishes.target.as_str() {
        "" => last.unwrap_or("default"),
        named => named,
    };
    // In the order of their names above.
    let values = [
        platform_text(target),
        target.os.clone(),
        target.os_version.clone(),
        target.architecture.clone(),
        target.variant.clone(),
        stage.to_owned(),
        platform_text(build),
        build.os.clone(),
        build.os_version.clone(),
        build.architecture.clone(),
        build.variant.clone(),
    ];
    PREDEFINED.into_iter().zip(values).collect()
}

impl Lowering<'_> {
    pub(super) fn global_arguments(&mut self) -> Result<(), LowerError> {
        let request = self.request;
        let dockerfile = request.dockerfile;
        let mut plain = Environment::default();
        for (name, value) in predefined(request, &self.target_platform) {
            let value = request.wishes.build_arguments.get(name).unwrap_or(&value);
            plain.set(name, value);
        }
        // The same without `--build-arg`: a base must have a name then, too.
        if let Ok((defaults, _)) = self.with_arguments(plain.clone(), false) {
            lints::default_bases(&dockerfile.stages, &defaults, self.escape, &mut self.lint);
        }
        (self.globals, self.declared) = self.with_arguments(plain, true)?;
        self.used.extend(self.declared.iter().cloned());
        self.resolve_epoch()
    }

    /// Adds the ARGs before the first FROM; gives the names, too.
    fn with_arguments(
        &self,
        mut environment: Environment,
        with_given: bool,
    ) -> Result<(Environment, Vec<String>), DockerfileError> {
        let mut declared = Vec::new();
        let globals: &[GlobalArguments] = &self.request.dockerfile.arguments;
        for global in globals {
            for argument in &global.arguments {
                let given = self.arguments.get(&argument.name).filter(|_| with_given);
                let value = match (given, &argument.default) {
                    (Some(given), _) => Some(given.clone()),
                    (None, Some(default)) => {
                        Some(expand(self.escape, default, &environment, &global.origin)?.text)
                    }
                    (None, None) => None,
                };
                if let Some(value) = value {
                    environment.set(&argument.name, &value);
                    if environment.bytes() > LOWERED_BYTES_MAX {
                        return Err(too_large(&global.origin));
                    }
                }
                declared.push(argument.name.clone());
            }
        }
        Ok((environment, declared))
    }

    /// `SOURCE_DATE_EPOCH`: seconds, or `context`. Wherever it is used it has its resolved value.
    fn resolve_epoch(&mut self) -> Result<(), LowerError> {
        let given = self.arguments.get(EPOCH).cloned();
        let own = self.globals.get(EPOCH).map(str::to_owned);
        let Some(value) = given.or(own).filter(|value| !value.is_empty()) else {
            return Ok(());
        };
        if value == "context" {
            self.epoch = Some(Epoch::Context);
            return Ok(());
        }
        match types::go_syntax::parse_int(&value) {
            Ok(seconds) => self.epoch = Some(Epoch::Seconds(seconds)),
            Err(_) => return Err(LowerError::Epoch(value)),
        }
        Ok(())
    }

    /// Proxies given as `--build-arg`, in both spellings: a program sees them, the cache does not.
    pub(super) fn proxies(&self) -> Vec<String> {
        let mut proxies = Vec::new();
        for name in PROXIES {
            let mut given = self.arguments.iter();
            let given = given.find(|(key, _)| key.eq_ignore_ascii_case(name));
            if let Some((_, value)) = given.filter(|(_, value)| !value.is_empty()) {
                proxies.push(format!("{name}={value}"));
                proxies.push(format!("{}={value}", name.to_lowercase()));
            }
        }
        proxies
    }

    /// Those of `--build-arg` that no ARG declares and that mean nothing by themselves.
    pub(super) fn unused_arguments(&self) -> Vec<String> {
        let is_known = |name: &str| {
            self.used.contains(name)
                || name == EPOCH
                || name.starts_with("BUILDKIT_")
                || PROXIES.iter().any(|proxy| proxy.eq_ignore_ascii_case(name))
                || predefined(self.request, &self.target_platform)
                    .iter()
                    .any(|(known, _)| *known == name)
        };
        let names = self.arguments.keys().filter(|name| !is_known(name));
        names.cloned().collect()
    }

    /// Counts what was made.
    pub(super) fn charge(&mut self, bytes: usize, at: &Origin) -> Result<(), DockerfileError> {
        self.bytes = self.bytes.saturating_add(bytes);
        if self.bytes > LOWERED_BYTES_MAX {
            return Err(too_large(at));
        }
        Ok(())
    }
}

pub(super) fn too_large(at: &Origin) -> DockerfileError {
    let limit = LOWERED_BYTES_MAX;
    DockerfileError::at(Problem::TooLarge { limit }, at, "")
}

/// Expands a text of an instruction.
pub(super) fn expand(
    escape: char,
    text: &str,
    variables: &impl Variables,
    at: &Origin,
) -> Result<Expansion, DockerfileError> {
    Lexer::new(escape)
        .expand(text, variables)
        .map_err(|source| {
            let problem = Problem::Expansion {
                text: shortened(text),
                source,
            };
            DockerfileError::at(problem, at, text)
        })
}

/// A text for a message.
pub(super) fn shortened(text: &str) -> String {
    const CHARACTERS_MAX: usize = 200;
    match text.char_indices().nth(CHARACTERS_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
