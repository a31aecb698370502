//! Finding the image of a container that is to be made. Called by `run`, `create` and Compose.

use engine::image::ImageError;
use engine::storage_images::ImageRecord;
use engine::{Engine, EngineError};
use types::image::ContainerDefaults;
use types::platform::Platform;
use types::reference::Reference;

use super::image::fetch;
use super::progress::Stream;
use crate::errors;
use crate::run_flags::{PullPolicy, RunRequest};

/// An image found for `run` or `create`.
pub(crate) struct Resolved {
    pub(crate) id: String,
    pub(crate) defaults: ContainerDefaults,
    pub(crate) platform: String,
}

/// Finds the image of a request: local, else pulled, else (for `hello-world`) the built-in one.
pub(crate) fn resolve_for_run(
    engine: &Engine,
    request: &RunRequest,
    name: &str,
) -> Result<Resolved, EngineError> {
    let wanted = Wanted {
        pull: request.pull,
        platform: request.platform.clone(),
        quiet: request.quiet,
    };
    resolve(engine, &wanted, name)
}

/// How an image is looked for.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    pub(crate) pull: PullPolicy,
    pub(crate) platform: Option<Platform>,
    pub(crate) quiet: bool,
}

/// Finds an image: local, else pulled, else (for `hello-world`) the built-in one.
pub(crate) fn resolve(
    engine: &Engine,
    request: &Wanted,
    name: &str,
) -> Result<Resolved, EngineError> {
    let local = engine.image(name);
    let found = match (local, request.pull) {
        (Ok(record), PullPolicy::Missing | PullPolicy::Never)
            if fits(&record, request.platform.as_ref()) =>
        {
            record
        }
        (Err(error), PullPolicy::Never) => return Err(error),
        (Ok(record), PullPolicy::Never) => {
            return Err(other_platform(name, &record, request).into());
        }
        (Err(error), _) if Reference::parse_normalized(name).is_err() => return Err(error),
        // One that is here and damaged is not silently fetched again.
        (Err(error), PullPolicy::Missing) if error.is_damage() => return Err(error),
        (local, policy) => {
            if policy == PullPolicy::Missing && !request.quiet {
                let shown = Reference::parse_normalized(name).map_or_else(
                    |_| name.to_owned(),
                    |reference| reference.with_default_tag().familiar(),
                );
                errors::complain(&format!("Unable to find image '{shown}' locally"));
            }
            let platform = request.platform.clone();
            let fetched = fetch(engine, name, platform, Stream::Error, request.quiet);
            match (fetched, local) {
                (Ok(()), _) => engine.image(name)?,
                // Nobody looks for a registry's fault where the image that is meant lies here.
                (Err(error), Ok(record)) if !fits(&record, request.platform.as_ref()) => {
                    return Err(EngineError::Invalid(format!(
                        "{}; and it could not be pulled: {}",
                        other_platform(name, &record, request),
                        errors::chain(&error)
                    )));
                }
                (Err(error), _) => return Err(error),
            }
        }
    };
    let defaults = types::json::read_value(&found.config).map_err(|error| {
        EngineError::invalid(format!(
            "the configuration of image {name} cannot be used: {error}"
        ))
    })?;
    let platform = platform_of(&found);
    let host = Platform::host();
    let is_foreign = (platform.os != host.os) || (platform.architecture != host.architecture);
    if request.platform.is_none() && is_foreign {
        errors::complain(&format!(
            "WARNING: The requested image's platform ({platform}) does not match the detected host \
             platform ({host}) and no specific platform was requested"
        ));
    }
    Ok(Resolved {
        id: found.id.to_string(),
        defaults,
        platform: platform.to_string(),
    })
}

fn platform_of(record: &ImageRecord) -> Platform {
    Platform::new(&record.os, &record.architecture, &record.variant)
}

/// Docker's words for an image that is here for another platform than was asked for.
fn other_platform(name: &str, record: &ImageRecord, request: &Wanted) -> ImageError {
    let wanted = request.platform.as_ref();
    ImageError::OtherPlatform {
        reference: name.to_owned(),
        found: platform_of(record).to_string(),
        wanted: wanted.map_or_else(String::new, Platform::to_string),
    }
}

fn fits(record: &ImageRecord, wanted: Option<&Platform>) -> bool {
    let own = platform_of(record);
    wanted.is_none_or(|wanted| wanted.match_rank(&own).is_some())
}
