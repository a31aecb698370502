//! The images that services are made of, found here or pulled.

use std::collections::BTreeMap;

use engine::Engine;
use engine::compose::Project;
use engine::compose::apply::ServiceImage;
use engine::compose::container::image_name;
use engine::compose::model::Service;
use types::platform::Platform;

use super::Failure;
use crate::commands::image::{Wanted, resolve};
use crate::flags::Invocation;
use crate::run_flags::PullPolicy;

/// Finds the images of all services, pulling by policy.
pub(super) fn images(
    engine: &Engine,
    invocation: &Invocation,
    project: &Project,
) -> Result<BTreeMap<String, ServiceImage>, Failure> {
    let matches = &invocation.matches;
    let asked = if matches.has("pull") {
        matches.get_str("pull")
    } else {
        ""
    };
    let quiet = matches.has("quiet-pull") && matches.get_bool("quiet-pull");
    let mut all = BTreeMap::new();
    for (name, service) in &project.services {
        let image = image_name(project, name);
        let policy = match asked {
            "" | "policy" => service.pull_policy.as_str(),
            asked => asked,
        };
        find_image(engine, &mut all, &image, name, service, policy, quiet)?;
        for volume in service
            .volumes
            .iter()
            .filter(|volume| volume.kind == "image")
        {
            let source = match project.any_service(&volume.source) {
                Some(_) => image_name(project, &volume.source),
                None => volume.source.clone(),
            };
            find_image(engine, &mut all, &source, name, service, policy, quiet)?;
        }
    }
    Ok(all)
}

fn find_image(
    engine: &Engine,
    all: &mut BTreeMap<String, ServiceImage>,
    image: &str,
    name: &str,
    service: &Service,
    policy: &str,
    quiet: bool,
) -> Result<(), Failure> {
    if all.contains_key(image) {
        return Ok(());
    }
    let pull = match policy {
        "always" => PullPolicy::Always,
        "never" => PullPolicy::Never,
        "" | "missing" | "if_not_present" | "build" => PullPolicy::Missing,
        other => {
            return Err(Failure::text(format!(
                "services.{name}.pull_policy: {other:?} is not supported; use always, missing or never"
            )));
        }
    };
    if service.build.is_some() && engine.image_id(image).is_err() {
        return Err(Failure::text(format!(
            "service {name:?} must be built, and building images is not built yet: build {image} elsewhere and load it, or name an image"
        )));
    }
    let platform = match service.platform.as_str() {
        "" => None,
        text => Some(
            Platform::parse(text)
                .map_err(|error| Failure::text(format!("services.{name}.platform: {error}")))?,
        ),
    };
    let wanted = Wanted {
        pull,
        platform,
        quiet,
    };
    let found = resolve(engine, &wanted, image)?;
    all.insert(
        image.to_owned(),
        ServiceImage {
            id: found.id,
            defaults: found.defaults,
            platform: found.platform,
        },
    );
    Ok(())
}
