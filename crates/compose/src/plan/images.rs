//! Which images are pulled, and which are built, before containers are made.
//!
//! The rules are Docker Compose's: `pull_policy` decides, `--pull` stands over it and `--build` over
//! both; what has a name is looked for in the registry before it is built, unless its policy is
//! `build`.

use std::collections::BTreeMap;

use crate::build::with_contexts;
use crate::container::image_name;
use crate::error::ComposeError;
use crate::model::{Project, Service, parse_duration};

const DAY_NS: i64 = 24 * 3600 * 1_000_000_000;

/// Whether images are built.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Building {
    /// What is missing.
    #[default]
    Missing,
    /// Whatever can be built.
    All,
    /// Nothing.
    Nothing,
}

/// What is known and asked for.
#[derive(Clone, Debug, Default)]
pub struct ImageOptions {
    /// `--build` and `--no-build`.
    pub building: Building,
    /// `--pull`; empty is each service's own policy.
    pub pull: String,
    /// Images that are here for the wanted platform: when their names were last set, in
    /// nanoseconds since 1970.
    pub here: BTreeMap<String, i64>,
    /// Now, likewise.
    pub now_ns: i64,
}

/// An image to be pulled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pull {
    /// Its name.
    pub image: String,
    /// The service that wants it.
    pub service: String,
    /// Its platform, or empty.
    pub platform: String,
    /// That it cannot be pulled is no failure: it is built, or here.
    pub may_fail: bool,
    /// Why.
    pub reason: String,
}

/// An image to be built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Build {
    /// Its service.
    pub service: String,
    /// Its name.
    pub image: String,
    /// Only where it could not be pulled.
    pub only_if_missing: bool,
    /// Why.
    pub reason: String,
}

/// What is done about images.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImagePlan {
    /// First what is pulled.
    pub pulls: Vec<Pull>,
    /// Then what is built.
    pub builds: Vec<Build>,
}

/// Decides about the images of a project's services.
///
/// # Errors
/// A policy that is none, and what is neither here nor may be built.
pub fn plan_images(project: &Project, options: &ImageOptions) -> Result<ImagePlan, ComposeError> {
    let mut plan = ImagePlan::default();
    for (name, service) in &project.services {
        let image = image_name(project, name);
        let policy = Policy::of(name, service, options)?;
        plan.pull(project, name, service, policy, options);
        plan.build(name, service, &image, policy, options)?;
    }
    let wanted: Vec<String> = plan
        .builds
        .iter()
        .map(|build| build.service.clone())
        .collect();
    for name in with_contexts(project, &wanted) {
        let image = image_name(project, &name);
        let is_known = plan.builds.iter().any(|build| build.service == name);
        if !is_known && !options.here.contains_key(&image) {
            plan.builds.push(Build {
                service: name,
                image,
                only_if_missing: false,
                reason: "another image is built upon it".to_owned(),
            });
        }
    }
    Ok(plan)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Policy {
    Always,
    Never,
    Missing,
    Build,
    /// Where the name was set before so long.
    Older(i64),
}

impl Policy {
    fn of(name: &str, service: &Service, options: &ImageOptions) -> Result<Self, ComposeError> {
        if options.building == Building::All && service.build.is_some() {
            return Ok(Self::Build);
        }
        let (text, place) = match options.pull.as_str() {
            "" | "policy" => {
                let place = format!("services.{name}.pull_policy: invalid pull policy");
                (service.pull_policy.as_str(), place)
            }
            asked => (asked, "invalid --pull option".to_owned()),
        };
        match text {
            "always" => Ok(Self::Always),
            "never" => Ok(Self::Never),
            "" | "missing" | "if_not_present" => Ok(Self::Missing),
            "build" => Ok(Self::Build),
            "daily" => Ok(Self::Older(DAY_NS)),
            "weekly" => Ok(Self::Older(7 * DAY_NS)),
            "refresh" => match parse_duration(&service.pull_refresh_after) {
                Ok(age) => Ok(Self::Older(age)),
                Err(_) if service.pull_refresh_after.is_empty() => Ok(Self::Older(0)),
                Err(error) => Err(ComposeError::of_project(format!(
                    "services.{name}.pull_refresh_after: {error}"
                ))),
            },
            other => {
                let every = other.strip_prefix("every_");
                let every = every.and_then(|every| parse_duration(every).ok());
                every.map(Self::Older).ok_or_else(|| {
                    let mut error = ComposeError::of_project(format!("{place} {other:?}"));
                    error.hint = Some(
                        "it is always, never, missing, build, daily, weekly or every_<duration>"
                            .to_owned(),
                    );
                    error
                })
            }
        }
    }

    /// Why an image is pulled, if it is.
    fn pulls(self, image: &str, options: &ImageOptions) -> Option<&'static str> {
        let here = options.here.get(image);
        match (self, here) {
            (Self::Never | Self::Build, _) => None,
            (Self::Always, _) => Some("its policy is always"),
            (Self::Missing | Self::Older(_), None) => Some("not here"),
            (Self::Missing, Some(_)) => None,
            (Self::Older(age), Some(tagged)) => (options.now_ns.saturating_sub(*tagged) > age)
                .then_some("it is older than its policy"),
        }
    }
}

impl ImagePlan {
    fn pull(
        &mut self,
        project: &Project,
        name: &str,
        service: &Service,
        policy: Policy,
        options: &ImageOptions,
    ) {
        let mut add = |image: &str, policy: Policy, may_fail: bool| {
            let is_known = self.pulls.iter().any(|pull| pull.image == image);
            if let (Some(reason), false) = (policy.pulls(image, options), is_known) {
                self.pulls.push(Pull {
                    image: image.to_owned(),
                    service: name.to_owned(),
                    platform: service.platform.clone(),
                    may_fail,
                    reason: reason.to_owned(),
                });
            }
        };
        if !service.image.is_empty() {
            let builds = |other: &Service| other.image == service.image && other.build.is_some();
            let may_be_built = project.services.values().any(builds);
            add(
                &service.image,
                policy,
                may_be_built && options.building != Building::Nothing,
            );
        }
        // These have no policy of their own and cannot be built.
        let policy = match policy {
            Policy::Build => Policy::Missing,
            policy => policy,
        };
        for image in other_images(project, service) {
            add(&image, policy, false);
        }
    }

    fn build(
        &mut self,
        name: &str,
        service: &Service,
        image: &str,
        policy: Policy,
        options: &ImageOptions,
    ) -> Result<(), ComposeError> {
        let is_here = options.here.contains_key(image);
        let is_pulled = self.pulls.iter().any(|pull| pull.image == image);
        if service.build.is_none() {
            return Ok(());
        }
        if options.building == Building::Nothing {
            return match is_here || is_pulled {
                true => Ok(()),
                false => Err(missing(name, image)),
            };
        }
        let reason = match policy {
            Policy::Build if options.building == Building::All => "asked for",
            Policy::Build => "its policy is build",
            _ if is_here => return Ok(()),
            _ => "not here",
        };
        self.builds.push(Build {
            service: name.to_owned(),
            image: image.to_owned(),
            only_if_missing: is_pulled,
            reason: reason.to_owned(),
        });
        Ok(())
    }
}

/// Images that a service needs beside its own: those that it mounts, and those of hooks.
fn other_images(project: &Project, service: &Service) -> Vec<String> {
    let mounted = service
        .volumes
        .iter()
        .filter(|volume| volume.kind == "image" && project.any_service(&volume.source).is_none())
        .map(|volume| volume.source.clone());
    let hooks = service.pre_start.iter().map(|hook| hook.image.clone());
    mounted
        .chain(hooks.filter(|image| !image.is_empty()))
        .collect()
}

fn missing(name: &str, image: &str) -> ComposeError {
    let mut error =
        ComposeError::of_project(format!("No such image: {image} (of service {name:?})"));
    error.hint = Some(format!("build it: compose build {name}"));
    error
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::golden::MemoryFiles;

    fn lines(text: &str, options: &ImageOptions) -> Result<Vec<String>, String> {
        let project = MemoryFiles::of(&[("compose.yaml", text)])
            .load()
            .unwrap()
            .project;
        let plan = plan_images(&project, options).map_err(|error| error.text)?;
        let pulls = plan
            .pulls
            .iter()
            .map(|pull| format!("pull {}: {}, {}", pull.image, pull.reason, pull.may_fail));
        let builds = plan.builds.iter().map(|build| {
            format!(
                "build {}: {}, {}",
                build.image, build.reason, build.only_if_missing
            )
        });
        Ok(pulls.chain(builds).collect())
    }

    fn here(names: &[&str], tagged_ns: i64) -> ImageOptions {
        ImageOptions {
            here: names
                .iter()
                .map(|name| ((*name).to_owned(), tagged_ns))
                .collect(),
            now_ns: 10 * DAY_NS,
            ..ImageOptions::default()
        }
    }

    #[test]
    fn what_is_missing_is_pulled_or_built() {
        let text = "services: {a: {image: x}, b: {build: .}, c: {image: y, build: .}}";
        let found = lines(text, &ImageOptions::default()).unwrap();
        assert_eq!(
            found,
            [
                "pull x: not here, false",
                "pull y: not here, true",
                "build p-b: not here, false",
                "build y: not here, true",
            ]
        );
        let none: [&str; 0] = [];
        assert_eq!(lines(text, &here(&["x", "y", "p-b"], 0)).unwrap(), none);
    }

    #[test]
    fn flags_stand_over_policies() {
        let text = "services: {a: {image: x}, b: {build: ., image: y, pull_policy: always}}";
        let mut options = here(&["x", "y"], 0);
        options.building = Building::All;
        assert_eq!(
            lines(text, &options).unwrap(),
            ["build y: asked for, false"]
        );
        options.building = Building::Nothing;
        assert_eq!(
            lines(text, &options).unwrap(),
            ["pull y: its policy is always, false"]
        );
        options.pull = "always".to_owned();
        assert_eq!(lines(text, &options).unwrap().len(), 2);
        options.pull = "sometimes".to_owned();
        assert_eq!(
            lines(text, &options).unwrap_err(),
            "invalid --pull option \"sometimes\""
        );
        let text = "services: {b: {build: .}}";
        options.pull = String::new();
        assert!(
            lines(text, &options)
                .unwrap_err()
                .contains("No such image: p-b")
        );
    }

    #[test]
    fn old_images_are_pulled_again() {
        for (policy, is_pulled) in [
            ("daily", true),
            ("weekly", false),
            ("every_48h", false),
            ("every_23h", true),
            ("if_not_present", false),
        ] {
            let text = format!("services: {{a: {{image: x, pull_policy: {policy}}}}}");
            let found = lines(&text, &here(&["x"], 10 * DAY_NS - DAY_NS * 3 / 2)).unwrap();
            assert_eq!(!found.is_empty(), is_pulled, "{policy}");
        }
    }

    #[test]
    fn contexts_of_services_are_built_first_where_they_are_missing() {
        let text = "services: {a: {build: {additional_contexts: {x: 'service:b'}}}, b: {build: .}}";
        let mut project = MemoryFiles::of(&[("compose.yaml", text)])
            .load()
            .unwrap()
            .project;
        let other = project.services.remove("b").unwrap();
        project.disabled.insert("b".to_owned(), other);
        let plan = plan_images(&project, &ImageOptions::default()).unwrap();
        let reasons = plan.builds.iter();
        let reasons: Vec<_> = reasons
            .map(|build| (build.image.as_str(), build.reason.as_str()))
            .collect();
        assert_eq!(
            reasons,
            [
                ("p-a", "not here"),
                ("p-b", "another image is built upon it")
            ]
        );
    }
}
