//! Which services take part, and what their env files and label files say.

use std::collections::{BTreeMap, BTreeSet};

use crate::check::locate;
use crate::error::{Fault, Step};
use crate::interpolate::Lookup;
use crate::load::Loader;
use crate::model::{Project, Service, Variables};
use crate::normalize::SECRET_VALUE;
use crate::tree::Node;

/// A secret's value from the environment leaves the keys that `config` shows.
pub(crate) fn take_secret_values(project: &mut Project) {
    for secret in project.secrets.values_mut() {
        if let Some(serde_json::Value::String(value)) = secret.extensions.0.remove(SECRET_VALUE) {
            secret.content = value;
        }
    }
}

fn has_profile(service: &Service, profiles: &[String]) -> bool {
    service.profiles.is_empty()
        || profiles
            .iter()
            .any(|profile| profile == "*" || service.profiles.contains(profile))
}

/// Puts aside the services whose profiles are not on.
pub(crate) fn enable_profiles(project: &mut Project, profiles: Vec<String>) {
    let mut all = std::mem::take(&mut project.disabled);
    all.append(&mut project.services);
    (project.services, project.disabled) = all
        .into_iter()
        .partition(|(_, service)| has_profile(service, &profiles));
    project.profiles = profiles;
}

/// Keeps the services asked for and what they depend on. Asking for one turns its profiles on.
pub(crate) fn select(project: &mut Project, names: &[String]) -> Step<()> {
    if names.is_empty() {
        return Ok(());
    }
    let mut profiles = project.profiles.clone();
    for name in names {
        if let Some(service) = project.disabled.get(name) {
            profiles.extend(service.profiles.iter().cloned());
        }
    }
    enable_profiles(project, profiles);
    let mut chosen = BTreeSet::new();
    let mut wanted: Vec<(String, bool)> = names.iter().map(|name| (name.clone(), true)).collect();
    while let Some((name, required)) = wanted.pop() {
        let Some(service) = project.services.get(&name) else {
            if required {
                return Err(no_such_service(project, &name));
            }
            continue;
        };
        if chosen.insert(name) {
            let dependencies = service.depends_on.iter();
            wanted
                .extend(dependencies.map(|(name, dependency)| (name.clone(), dependency.required)));
        }
    }
    keep(project, &chosen);
    Ok(())
}

/// Puts aside all services but these, and the dependencies on those put aside.
pub(crate) fn keep(project: &mut Project, chosen: &BTreeSet<String>) {
    let services = std::mem::take(&mut project.services);
    for (name, mut service) in services {
        if chosen.contains(&name) {
            service.depends_on.retain(|name, _| chosen.contains(name));
            project.services.insert(name, service);
        } else {
            project.disabled.insert(name, service);
        }
    }
}

/// The error for a name that no service has.
pub(crate) fn no_such_service(project: &Project, name: &str) -> Fault {
    let fault = Fault::of_project(format!("no such service: {name}"));
    let near = project
        .services
        .keys()
        .map(|known| (crate::schema::distance(known, name), known))
        .min();
    match near {
        Some((distance, near)) if distance <= 2 => {
            fault.with_hint(format!("did you mean `{near}`?"))
        }
        _ => fault,
    }
}

/// Answers for an env file: the project's environment, then what the service says itself.
struct ServiceEnv<'a> {
    project: &'a BTreeMap<String, String>,
    service: &'a BTreeMap<String, Option<String>>,
}

impl Lookup for ServiceEnv<'_> {
    fn lookup(&self, name: &str) -> Option<&str> {
        self.project
            .lookup(name)
            .or_else(|| self.service.get(name)?.as_deref())
    }
}

/// Fills every service's environment from outside and from its env files; the service wins.
pub(crate) fn resolve_environment(
    project: &mut Project,
    loader: &Loader<'_>,
    tree: &Node,
) -> Step<()> {
    for (name, service) in &mut project.services {
        let own = &mut service.environment.0;
        for (key, value) in own.iter_mut().filter(|(_, value)| value.is_none()) {
            *value = project.environment.get(key).cloned();
        }
        let mut all: BTreeMap<String, String> = own
            .iter()
            .filter_map(|(key, value)| Some((key.clone(), value.clone()?)))
            .collect();
        for (index, file) in service.env_file.iter().enumerate() {
            let at = locate(
                tree,
                &["services", name, "env_file", &index.to_string(), "path"],
            );
            if !matches!(file.format.as_str(), "" | ".env" | "raw") {
                let text = format!("unsupported env_file format {:?}", file.format);
                return Err(Fault {
                    at,
                    ..Fault::of_project(text)
                });
            }
            if loader.files.kind(&file.path) == crate::files::FileKind::Missing {
                if !file.required {
                    continue;
                }
                let text = format!("env file {} not found", file.path);
                let hint = "make the file, or say `required: false`";
                return Err(Fault {
                    at,
                    ..Fault::of_project(text)
                }
                .with_hint(hint));
            }
            if file.format == "raw" {
                loader.raw_env_file(&file.path, &mut all, at)?;
                continue;
            }
            let env = ServiceEnv {
                project: &project.environment,
                service: own,
            };
            loader.env_file(&file.path, &mut all, &env, at)?;
        }
        let mut resolved: BTreeMap<String, Option<String>> = all
            .into_iter()
            .map(|(key, value)| (key, Some(value)))
            .collect();
        resolved.append(own);
        service.environment = Variables(resolved);
    }
    Ok(())
}

/// Adds what label files say; the service wins.
pub(crate) fn resolve_labels(project: &mut Project, loader: &Loader<'_>, tree: &Node) -> Step<()> {
    for (name, service) in &mut project.services {
        let mut labels = BTreeMap::new();
        for (index, file) in service.label_file.iter().enumerate() {
            let at = locate(tree, &["services", name, "label_file", &index.to_string()]);
            if loader.files.kind(file) == crate::files::FileKind::Missing {
                let text = format!("label file {file} not found");
                return Err(Fault {
                    at,
                    ..Fault::of_project(text)
                });
            }
            let known = labels.clone();
            loader.env_file(file, &mut labels, &known, at)?;
        }
        labels.append(&mut service.labels.0);
        service.labels.0 = labels;
    }
    Ok(())
}
