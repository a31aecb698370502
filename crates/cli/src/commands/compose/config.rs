//! `compose config` and `compose version`.

use std::collections::BTreeSet;
use std::process::ExitCode;

use engine::compose::container::image_name;
use engine::compose::{Format, Loaded, Options, Project, service_hash, show, show_value};
use engine::{Engine, EngineError};
use serde_json::json;
use types::reference::Reference;

use super::{Done, Failure, leave_out_unused, load};
use crate::commands::{print, print_line};
use crate::flags::Invocation;
use crate::output::table::align;

pub(super) fn version(invocation: &Invocation) -> ExitCode {
    let version = env!("CARGO_PKG_VERSION");
    let matches = &invocation.matches;
    if matches.get_bool("short") {
        print_line(version);
    } else if matches.get_str("format") == "json" {
        print_line(&json!({ "version": version }).to_string());
    } else {
        print_line(&format!("Docker Compose version v{version} (Caisson)"));
    }
    ExitCode::SUCCESS
}

fn options(invocation: &Invocation) -> Options {
    let is_set = |flag| invocation.matches.get_bool(flag);
    let only_names = ["services", "volumes", "networks", "models", "variables"]
        .into_iter()
        .any(is_set);
    Options {
        interpolate: !is_set("no-interpolate") && !is_set("variables"),
        normalize: !is_set("no-normalize"),
        resolve_paths: !is_set("no-path-resolution"),
        check_consistency: !is_set("no-consistency")
            && !is_set("no-interpolate")
            && !is_set("variables"),
        resolve_environment: !is_set("no-env-resolution")
            && !only_names
            && !is_set("no-interpolate"),
        validate: !is_set("variables") && !is_set("no-interpolate"),
    }
}

fn format(invocation: &Invocation) -> Result<Format, Failure> {
    match invocation.matches.get_str("format") {
        "" | "yaml" => Ok(Format::Yaml),
        "json" => Ok(Format::Json),
        other => Err(Failure::text(format!("unsupported format {other:?}"))),
    }
}

pub(super) fn config(engine: &Engine, invocation: &Invocation) -> Done {
    let matches = &invocation.matches;
    let is_set = |flag| matches.get_bool(flag);
    let services: &[String] = if is_set("no-interpolate") {
        &[]
    } else {
        &matches.args
    };
    let mut loaded = load(invocation, services, options(invocation))?;
    leave_out_unused(invocation, &mut loaded.project);
    if !is_set("no-env-resolution") {
        loaded.project.discard_env_files();
    }
    if let Some(lines) = names(invocation, &loaded.project) {
        lines.iter().for_each(|line| print_line(line));
        return Ok(ExitCode::SUCCESS);
    }
    if is_set("variables") {
        return variables(&loaded, invocation);
    }
    let services = &loaded.project.services;
    match (matches.get_str("hash"), matches.get_str("explain")) {
        ("", "") => whole(engine, invocation, loaded),
        ("", key) => explain(&loaded, key),
        (names, _) => {
            let wanted: Vec<&str> = names.split(',').collect();
            let is_wanted = |name: &str| names == "*" || wanted.contains(&name);
            for (name, service) in services.iter().filter(|(name, _)| is_wanted(name)) {
                print_line(&format!("{name} {}", service_hash(service)));
            }
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// The names that one of the flags asks for.
fn names(invocation: &Invocation, project: &Project) -> Option<Vec<String>> {
    let flags = [
        "services",
        "volumes",
        "networks",
        "models",
        "images",
        "profiles",
        "environment",
    ];
    let flag = flags
        .into_iter()
        .find(|flag| invocation.matches.get_bool(flag))?;
    Some(match flag {
        "services" => project.services.keys().cloned().collect(),
        "volumes" => project.volumes.keys().cloned().collect(),
        "networks" => project.networks.keys().cloned().collect(),
        "models" => project
            .models
            .values()
            .map(|model| model.model.clone())
            .collect(),
        "images" => project
            .services
            .keys()
            .map(|name| image_name(project, name))
            .collect(),
        "environment" => {
            let pairs = project.environment.iter();
            pairs
                .map(|(name, value)| format!("{name}={value}"))
                .collect()
        }
        _ => {
            let all = project.services.values().chain(project.disabled.values());
            let profiles: BTreeSet<String> =
                all.flat_map(|service| service.profiles.clone()).collect();
            profiles.into_iter().collect()
        }
    })
}

fn whole(engine: &Engine, invocation: &Invocation, mut loaded: Loaded) -> Done {
    let matches = &invocation.matches;
    let format = format(invocation)?;
    let mut text = if matches.get_bool("no-interpolate") {
        show_value(&loaded.model(), format)
    } else {
        if matches.get_bool("resolve-image-digests") {
            resolve_digests(engine, &mut loaded)?;
        }
        // What is shown is read again as it is: a dollar that is meant is doubled.
        show(&loaded.project, format).replace('$', "$$")
    };
    if matches.get_bool("quiet") {
        return Ok(ExitCode::SUCCESS);
    }
    if format == Format::Json {
        text.push('\n');
    }
    match matches.get_str("output") {
        "" => print(&text),
        path => std::fs::write(path, text)
            .map_err(|error| Failure::text(format!("cannot write {path}: {error}")))?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Images get the digest that their registry has for them now.
fn resolve_digests(engine: &Engine, loaded: &mut Loaded) -> Result<(), Failure> {
    for service in loaded.project.services.values_mut() {
        if service.image.is_empty() {
            continue;
        }
        let image = &service.image;
        let reference = Reference::parse_normalized(image)
            .map_err(|error| Failure::text(format!("cannot parse the image {image:?}: {error}")))?;
        if reference.digest().is_none() {
            let digest = engine::image::pull::remote_digest(&engine.images(), &reference)
                .map_err(EngineError::from)?;
            service.image = format!("{}@{digest}", reference.with_default_tag());
        }
    }
    Ok(())
}

fn explain(loaded: &Loaded, key: &str) -> Done {
    let origins = loaded.explain(key);
    if origins.is_empty() {
        return Err(Failure::text(format!("nothing says {key}")));
    }
    let said: Vec<String> = origins
        .iter()
        .map(|origin| format!("{}: {}", origin.key, origin.value))
        .collect();
    let width = said
        .iter()
        .map(|text| text.chars().count())
        .max()
        .unwrap_or_default()
        .min(60);
    for (text, origin) in said.iter().zip(&origins) {
        let place = match &origin.place {
            Some((file, line, column)) => format!("{file}:{line}:{column}"),
            None => "by default".to_owned(),
        };
        print_line(&format!("{text:<width$}  {place}"));
    }
    Ok(ExitCode::SUCCESS)
}

fn variables(loaded: &Loaded, invocation: &Invocation) -> Done {
    let all = loaded.variables();
    if invocation.matches.get_str("format") == "json" {
        let pairs = all.iter().map(|(name, variable)| {
            let value = json!({
                "Name": name, "DefaultValue": variable.default,
                "PresenceValue": variable.presence, "Required": variable.required
            });
            (name.clone(), value)
        });
        let map: serde_json::Map<String, serde_json::Value> = pairs.collect();
        print_line(&serde_json::Value::Object(map).to_string());
        return Ok(ExitCode::SUCCESS);
    }
    let mut text = String::from("NAME\tREQUIRED\tDEFAULT VALUE\tALTERNATE VALUE\n");
    for (name, variable) in &all {
        text.push_str(&format!(
            "{name}\t{}\t{}\t{}\n",
            variable.required, variable.default, variable.presence
        ));
    }
    print(&align(&text, 20, 1));
    Ok(ExitCode::SUCCESS)
}
