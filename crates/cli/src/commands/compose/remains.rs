//! What `compose down` removes once the containers are gone: networks, volumes and images.
//!
//! What somebody else still uses stays, and is said, as with Docker Compose: it is no failure.

use std::collections::{BTreeMap, BTreeSet};
use std::process::ExitCode;

use engine::compose::Project;
use engine::compose::container::image_name;
use engine::compose::model::Service;
use engine::compose::plan::Observed;
use engine::image::{ImageError, remove::RemoveOptions, remove::remove as remove_image};
use engine::{Engine, EngineError};

use super::Failure;
use crate::commands::print_line;
use crate::errors;
use crate::flags::Invocation;

/// Names of what goes after the containers.
pub(super) struct Remains {
    networks: Vec<String>,
    volumes: Vec<String>,
    images: Vec<String>,
}

impl Remains {
    /// Of a project; where only some services go down, what none of `others` uses.
    pub(super) fn of(
        engine: &Engine,
        invocation: &Invocation,
        project: &Project,
        others: &BTreeMap<String, Service>,
        observed: &Observed,
    ) -> Result<Self, Failure> {
        let matches = &invocation.matches;
        let is_whole = matches.args.is_empty();
        let mut networks = engine.project_networks(&project.name)?;
        let mut volumes = match matches.get_bool("volumes") {
            true => engine.project_volumes(&project.name)?,
            false => Vec::new(),
        };
        if !is_whole {
            let (ours, theirs) = (used(project, &project.services), used(project, others));
            let is_ours = |name: &String| ours.contains(name) && !theirs.contains(name);
            networks.retain(is_ours);
            volumes.retain(is_ours);
        }
        // A volume that the files do not name any more has data that nobody said may go.
        if !project.files.is_empty() && !matches.get_bool("remove-orphans") {
            let is_named = |name: &String| project.volumes.values().any(|one| one.name == *name);
            volumes.retain(is_named);
        }
        Ok(Self {
            networks,
            volumes,
            images: own_images(project, observed, matches.get_str("rmi"))?,
        })
    }

    /// Whether there is nothing.
    pub(super) fn are_none(&self) -> bool {
        self.networks.is_empty() && self.volumes.is_empty() && self.images.is_empty()
    }

    /// Prints what would go, a line each.
    pub(super) fn show(&self) {
        for (what, names, why) in [
            ("Network", &self.networks, "down"),
            ("Volume", &self.volumes, "-v"),
            ("Image", &self.images, "--rmi"),
        ] {
            let lines = names.iter();
            lines.for_each(|name| print_line(&format!("Remove {what} {name}: {why}")));
        }
    }

    /// Removes all of it.
    pub(super) fn remove(&self, engine: &Engine, invocation: &Invocation) -> ExitCode {
        let mut failed = false;
        // Each volume waits for the disk a few times, and a bridge for the kernel.
        let removed: Vec<_> = std::thread::scope(|scope| {
            let volumes = self.volumes.iter();
            let threads: Vec<_> = volumes
                .map(|name| {
                    errors::complain(&format!(" Volume {name}  Removing"));
                    scope.spawn(move || engine.remove_volume(name))
                })
                .collect();
            for name in &self.networks {
                errors::complain(&format!(" Network {name}  Removing"));
                let removed = engine.remove_network(name).map(|_| ());
                failed |= told("Network", name, removed, invocation);
            }
            let gone = || Err(EngineError::conflict("a removal failed"));
            threads
                .into_iter()
                .map(|thread| thread.join().unwrap_or_else(|_| gone()))
                .collect()
        });
        for (name, removed) in self.volumes.iter().zip(removed) {
            failed |= told("Volume", name, removed, invocation);
        }
        for name in &self.images {
            errors::complain(&format!(" Image {name}  Removing"));
            let users = || engine.image_users();
            let options = RemoveOptions { force: false };
            let removed = remove_image(&engine.images(), name, options, &users);
            let removed = removed.map(|_| ()).map_err(EngineError::from);
            failed |= told("Image", name, removed, invocation);
        }
        engine.sweep();
        ExitCode::from(u8::from(failed))
    }
}

/// Tells what became of something; whether it failed.
fn told(what: &str, name: &str, result: Result<(), EngineError>, invocation: &Invocation) -> bool {
    let word = match result {
        Ok(()) => "Removed",
        Err(EngineError::Conflict(_) | EngineError::Image(ImageError::Conflict(_))) => {
            "Resource is still in use"
        }
        Err(error) => {
            errors::report(invocation.program, &error);
            return true;
        }
    };
    errors::complain(&format!(" {what} {name}  {word}"));
    false
}

/// Names of the networks and volumes that services use.
fn used(project: &Project, services: &BTreeMap<String, Service>) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for service in services.values() {
        let networks = service.networks.keys().filter_map(|key| {
            let network = project.networks.get(key);
            network.map(|network| network.name.clone())
        });
        names.extend(networks);
        let volumes = service.volumes.iter().filter_map(|mount| {
            let volume = project.volumes.get(&mount.source);
            volume.map(|volume| volume.name.clone())
        });
        names.extend(volumes);
    }
    names
}

/// `--rmi local` is what has no name of its own, `all` is every service's image.
fn own_images(project: &Project, observed: &Observed, which: &str) -> Result<Vec<String>, Failure> {
    let is_wanted: fn(&Service) -> bool = match which {
        "" => return Ok(Vec::new()),
        "local" => |service| service.image.is_empty(),
        "all" => |_| true,
        other => {
            return Err(Failure::text(format!(
                "invalid value for --rmi: {other:?}: it is local or all"
            )));
        }
    };
    let names = project
        .services
        .iter()
        .filter(|(_, service)| is_wanted(service));
    let images: BTreeSet<String> = names.map(|(name, _)| image_name(project, name)).collect();
    Ok(images
        .into_iter()
        .filter(|image| observed.images.contains_key(image))
        .collect())
}
