//! What a stage begins with: an image, a context, or nothing.

use types::image::{HistoryEntry, ImageConfig};
use types::platform::Platform;
use types::reference::Reference;

use crate::dockerfile::error::{DockerfileError, Problem};
use crate::dockerfile::suggest::nearest;
use crate::graph::{
    ContextSource, HttpSource, NamedContext, Op, Place, ResolvedImage, Step, StepId,
};
use crate::lint::Rule;

use super::Lowering;
use super::environment::Environment;

/// Where programs are looked for when the image does not say.
pub(super) const DEFAULT_PATH: &str =
    "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Images that people mean when they mistype.
const COMMON_IMAGES: [&str; 10] = [
    "alpine", "busybox", "debian", "fedora", "golang", "nginx", "node", "postgres", "python",
    "ubuntu",
];

/// Names that are no named contexts.
fn is_reserved(name: &str) -> bool {
    name.eq_ignore_ascii_case("scratch") || name.eq_ignore_ascii_case("context")
}

impl Lowering<'_> {
    /// The key of the named context that a name means, if there is one.
    pub(super) fn context_name(&self, name: &str, platform: &Platform) -> Option<String> {
        if is_reserved(name) || self.request.wishes.contexts.is_empty() {
            return None;
        }
        let familiar = Reference::parse_normalized(name).ok()?.familiar();
        let short = familiar.strip_suffix(":latest").unwrap_or(&familiar);
        let contexts = &self.request.wishes.contexts;
        let with_platform = format!("{short}::{}", platform.normalised());
        [with_platform.as_str(), short]
            .into_iter()
            .find(|key| contexts.contains_key(*key))
            .map(str::to_owned)
    }

    pub(super) fn context_of(&self, name: &str) -> Option<&NamedContext> {
        let key = self.context_name(name, &self.target_platform)?;
        self.request.wishes.contexts.get(&key)
    }

    /// Finds what the state begins with. What is not needed must still have a proper name.
    pub(super) fn resolve_base(
        &mut self,
        at: usize,
        is_needed: bool,
    ) -> Result<(), DockerfileError> {
        let state = &self.states[at];
        if state.base.is_some() || state.is_resolved || state.is_done {
            return Ok(());
        }
        let name = state.base_name.clone();
        let origin = state.origin;
        let platform = match &state.platform {
            Some(platform) => platform.clone(),
            None => self.target_platform.clone(),
        };
        if state.is_scratch() {
            self.begin_with_nothing(at);
            return Ok(());
        }
        let context = match &state.context {
            Some(context) => Some(context.clone()),
            None => {
                Reference::parse_normalized(&name).map_err(|source| {
                    let name = name.clone();
                    DockerfileError::at(Problem::BaseName { name, source }, origin, "")
                })?;
                self.context_name(&name, &platform)
            }
        };
        if !is_needed {
            return Ok(());
        }
        self.states[at].is_resolved = true;
        let resolved = match context {
            Some(context) => match self.begin_with_context(at, &context, &platform)? {
                Some(resolved) => resolved,
                None => return Ok(()),
            },
            None => self.resolve_image(at, &name, &platform)?,
        };
        self.begin_with_image(at, resolved, platform);
        Ok(())
    }

    fn begin_with_nothing(&mut self, at: usize) {
        let step = self.graph.add(Step {
            op: Op::Scratch,
            name: "scratch".to_owned(),
            place: None,
            ignores_cache: false,
        });
        let platform = self.target_platform.clone();
        self.begin_empty(at, step, platform);
    }

    /// No image's configuration, but the little that any image has.
    fn begin_empty(&mut self, at: usize, root: StepId, platform: Platform) {
        let state = &mut self.states[at];
        let mut image = ImageConfig {
            architecture: platform.architecture.clone(),
            os: platform.os.clone(),
            variant: platform.variant.clone(),
            os_version: platform.os_version.clone(),
            ..ImageConfig::default()
        };
        image.config.working_dir = "/".to_owned();
        state.image = image;
        state.image_environment = Environment::from_pairs(&[format!("PATH={DEFAULT_PATH}")]);
        state.platform = Some(platform);
        state.root = Some(root);
        state.is_resolved = true;
        state.is_done |= !state.is_stage || state.context.is_some();
    }

    fn resolve_image(
        &mut self,
        at: usize,
        name: &str,
        platform: &Platform,
    ) -> Result<ResolvedImage, DockerfileError> {
        self.resolver.image(name, platform).map_err(|message| {
            let state = &self.states[at];
            let options = self.stage_names().chain(COMMON_IMAGES);
            let near = nearest(name, options).map(str::to_owned);
            let name = name.to_owned();
            let problem = Problem::Base { name, message };
            DockerfileError {
                did_you_mean: near,
                ..DockerfileError::at(problem, state.origin, &state.base_name)
            }
        })
    }

    /// A named context; an image is for the caller to begin with.
    fn begin_with_context(
        &mut self,
        at: usize,
        key: &str,
        platform: &Platform,
    ) -> Result<Option<ResolvedImage>, DockerfileError> {
        let fault = |message: String| {
            let name = key.to_owned();
            DockerfileError::at(
                Problem::Context { name, message },
                self.states[at].origin,
                "",
            )
        };
        let op = match self.request.wishes.contexts.get(key) {
            Some(NamedContext::Image(reference)) if reference == "scratch" => {
                self.begin_with_nothing(at);
                return Ok(None);
            }
            Some(NamedContext::Image(reference)) => {
                let found = self.resolver.image(reference, platform);
                let found = found.map_err(|why| fault(format!("{reference}: {why}")));
                return found.map(Some);
            }
            Some(NamedContext::OciLayout(path, reference)) => {
                let found = self.resolver.oci_layout(path, reference, platform);
                return found.map(Some).map_err(fault);
            }
            Some(NamedContext::Local) => Op::Context(ContextSource {
                name: key.to_owned(),
                ignore: self
                    .request
                    .wishes
                    .context_ignores
                    .get(key)
                    .cloned()
                    .unwrap_or_default(),
            }),
            Some(NamedContext::Git(git)) => Op::Git(git.clone()),
            Some(NamedContext::Http(url)) => Op::Http(HttpSource {
                url: url.clone(),
                checksum: None,
            }),
            // A stage that is replaced by another one of the file.
            Some(NamedContext::Target(_)) | None => {
                return Err(fault(
                    "a target of this file cannot replace a stage".to_owned(),
                ));
            }
        };
        let name = format!("[context {key}] load");
        let place = self.place(at, self.states[at].origin);
        let step = self.graph.add(Step {
            op,
            name,
            place: Some(place),
            ignores_cache: false,
        });
        self.begin_empty(at, step, platform.clone());
        Ok(None)
    }

    fn begin_with_image(&mut self, at: usize, resolved: ResolvedImage, platform: Platform) {
        let ResolvedImage { source, config, .. } = resolved;
        let mut platform = platform;
        let found = config.platform();
        // Nobody asked for a platform, and the image has another one that is built here.
        if self.states[at].platform.is_none() && self.request.platform.is_none() {
            let build = &self.request.build_platform;
            if (&build.os, &build.architecture) == (&found.os, &found.architecture) {
                platform = build.clone();
            }
        }
        let name = self.states[at].base_name.clone();
        let origin = self.states[at].origin;
        if (&platform.os, &platform.architecture) != (&found.os, &found.architecture) {
            let (wanted, found) = (platform.normalised(), found.normalised());
            self.lint.warn(
                Rule::InvalidBaseImagePlatform,
                origin,
                &name,
                format!(
                    "Base image {name} was pulled with platform \"{found}\", expected \
                     \"{wanted}\" for current build"
                ),
                format!("choose a base image that has {wanted}, or write --platform={found}"),
            );
        }
        let shown = Reference::parse_normalized(&name)
            .map_or_else(|_| name.clone(), |name| name.with_default_tag().to_string());
        let step_name = self.step_name(at, &format!("FROM {shown}"), Some(&platform), false);
        let place = self.place(at, origin);
        let is_empty = config.rootfs.diff_ids.is_empty() && !has_layers(&config.history);
        let step = self.graph.add(Step {
            op: if is_empty {
                Op::Scratch
            } else {
                Op::Image(source)
            },
            name: step_name,
            place: Some(place),
            ignores_cache: false,
        });
        let state = &mut self.states[at];
        state.image_environment = Environment::from_pairs(&config.config.env);
        state.image = config;
        state.image.created = None;
        state.image.config.env.clear();
        state.platform = Some(platform);
        state.root = Some(step);
        state.is_done |= !state.is_stage || state.context.is_some();
    }

    /// Where something of a stage is written.
    pub(super) fn place(&self, at: usize, origin: &crate::dockerfile::place::Origin) -> Place {
        let line = |line: u32| usize::try_from(line).unwrap_or(usize::MAX);
        Place {
            stage: self.states[at].label.clone(),
            first_line: line(origin.lines.start),
            last_line: line(origin.lines.end),
        }
    }
}

/// Images of the oldest kind say only so that they have layers.
fn has_layers(history: &[HistoryEntry]) -> bool {
    history.iter().any(|entry| !entry.empty_layer)
}
