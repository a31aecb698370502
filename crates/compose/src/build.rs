//! How a service's image is built, in Bake's words: `build --print` shows this very object.
//!
//! The service named by `service:NAME` in `additional_contexts` is built before.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::container::{VERSION, image_name, labels};
use crate::error::ComposeError;
use crate::model::{Bytes, Project, Ulimit};
use crate::places::is_remote_context;
use crate::show::pretty_json;

/// A context that is the image of another service.
pub const SERVICE_PREFIX: &str = "service:";

/// What the command line says of builds, over what the files say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BuildOptions {
    /// `--build-arg`: a name without value takes that of the project's environment.
    pub arguments: Vec<(String, Option<String>)>,
    /// `--ssh`: `id` or `id=path`.
    pub ssh: Vec<String>,
    /// `--no-cache`.
    pub no_cache: bool,
    /// `--pull`.
    pub pull: bool,
    /// `--check`.
    pub check: bool,
    /// `--push`.
    pub push: bool,
    /// `--provenance`; empty is as the project says.
    pub provenance: String,
    /// `--sbom`; empty is as the project says.
    pub sbom: String,
    /// `--memory` in bytes; 0 is no limit.
    pub memory_bytes: i64,
    /// Every platform of a service is built, not only the one that its containers here have.
    pub all_platforms: bool,
}

/// A build, ready to be done.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct BuildTarget {
    /// A directory or an address.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub context: String,
    /// Other contexts by name; `target:…` is another service's image.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub contexts: BTreeMap<String, String>,
    /// The path of the Dockerfile: absolute, or in a context elsewhere.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub dockerfile: String,
    /// The Dockerfile itself.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub dockerfile_inline: String,
    /// Build arguments.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub args: BTreeMap<String, String>,
    /// Labels of the image.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Names of the image, the service's own last.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// Caches to read.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cache_from: Vec<String>,
    /// Caches to write.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cache_to: Vec<String>,
    /// The stage to build.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub target: String,
    /// Secrets, as the flag of `build` has them; the values of some are in `secret_values`.
    #[serde(rename = "secret", skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<String>,
    /// Agents, `id` or `id=path`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ssh: Vec<String>,
    /// What is said about the image, as the flag of `build` has it.
    #[serde(rename = "attest", skip_serializing_if = "Vec::is_empty")]
    pub attestations: Vec<String>,
    /// What its Dockerfile may have beyond an ordinary container's confinement.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub entitlements: Vec<String>,
    /// Platforms.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub platforms: Vec<String>,
    /// Base images are asked for, though they are here.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub pull: bool,
    /// Every step is done anew.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub no_cache: bool,
    /// The network of `RUN`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub network: String,
    /// The steps of these stages are done anew.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub no_cache_filter: Vec<String>,
    /// The size of `/dev/shm`.
    #[serde(skip_serializing_if = "Bytes::is_zero")]
    pub shm_size: Bytes,
    /// Limits, `name=soft[:hard]`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ulimits: Vec<String>,
    /// `lint` where the Dockerfile is only checked.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub call: String,
    /// Names of hosts with their addresses.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub extra_hosts: BTreeMap<String, String>,
    /// Where the result goes.
    #[serde(rename = "output", skip_serializing_if = "Vec::is_empty")]
    pub outputs: Vec<String>,
    /// Values of secrets that the project's environment has, by id.
    #[serde(skip)]
    pub secret_values: BTreeMap<String, String>,
    /// What `RUN` may have of memory, in bytes; 0 is no limit.
    #[serde(skip)]
    pub memory_bytes: i64,
    /// The services whose images must be there before.
    #[serde(skip)]
    pub after: Vec<String>,
}

/// How to build a service's image; nothing where it has no `build`.
///
/// # Errors
/// A key that cannot be obeyed, by name.
pub fn build_target(
    project: &Project,
    name: &str,
    options: &BuildOptions,
) -> Result<Option<BuildTarget>, ComposeError> {
    let Some((service, build)) = project
        .any_service(name)
        .and_then(|service| Some((service, service.build.as_ref()?)))
    else {
        return Ok(None);
    };
    refuse(name, build)?;
    let services = build.additional_contexts.0.values();
    let after: Vec<String> = services
        .filter_map(|context| context.strip_prefix(SERVICE_PREFIX))
        .map(str::to_owned)
        .collect();
    let mut all = build.labels.0.clone();
    all.insert(labels::PROJECT.to_owned(), project.name.clone());
    all.insert(labels::SERVICE.to_owned(), name.to_owned());
    all.insert(labels::VERSION.to_owned(), VERSION.to_owned());
    let mut tags = build.tags.clone();
    tags.push(image_name(project, name));
    let ssh = build.ssh.iter().map(|key| match key.path.as_str() {
        "" => key.id.clone(),
        path => format!("{}={path}", key.id),
    });
    let output = match (options.check, options.push && !service.image.is_empty()) {
        (true, _) => None,
        (false, true) => Some("type=registry".to_owned()),
        (false, false) => Some("type=docker".to_owned()),
    };
    let hosts = build.extra_hosts.0.iter();
    let (secrets, secret_values) = secrets(project, name)?;
    Ok(Some(BuildTarget {
        dockerfile: dockerfile(&build.context, &build.dockerfile),
        context: build.context.clone(),
        contexts: contexts(&build.additional_contexts.0),
        dockerfile_inline: build.dockerfile_inline.clone(),
        args: arguments(project, name, options),
        labels: all,
        tags,
        cache_from: build.cache_from.clone(),
        cache_to: build.cache_to.clone(),
        target: build.target.clone(),
        secrets,
        ssh: ssh.chain(options.ssh.iter().cloned()).collect(),
        platforms: platforms(&build.platforms, &service.platform, options),
        attestations: attestations(build, options),
        entitlements: entitlements(build),
        pull: build.pull || options.pull,
        no_cache: build.no_cache || options.no_cache,
        network: build.network.clone(),
        no_cache_filter: build.no_cache_filter.clone(),
        shm_size: build.shm_size,
        ulimits: build.ulimits.iter().map(ulimit).collect(),
        call: if options.check { "lint" } else { "" }.to_owned(),
        extra_hosts: hosts
            .map(|(host, addresses)| (host.clone(), addresses.join(",")))
            .collect(),
        outputs: output.into_iter().collect(),
        secret_values,
        memory_bytes: options.memory_bytes,
        after,
    }))
}

/// The document that Bake reads, of all services that can be built.
///
/// # Errors
/// As [`build_target`].
pub fn bake_file(
    project: &Project,
    chosen: &[String],
    options: &BuildOptions,
) -> Result<String, ComposeError> {
    #[derive(Serialize)]
    struct Group {
        targets: Vec<String>,
    }
    #[derive(Serialize)]
    struct File {
        group: BTreeMap<&'static str, Group>,
        target: BTreeMap<String, BuildTarget>,
    }
    let mut target = BTreeMap::new();
    let all = project.services.keys().chain(project.disabled.keys());
    for name in all {
        let is_wanted = project.services.contains_key(name) || chosen.contains(name);
        if let Some(found) = build_target(project, name, options)?.filter(|_| is_wanted) {
            target.insert(bake_name(name), found);
        }
    }
    let targets = chosen.iter().map(|name| bake_name(name)).collect();
    let group = BTreeMap::from([("default", Group { targets })]);
    Ok(pretty_json(&File { group, target }))
}

/// The services to build, with those whose images they build upon; each that has a `build`.
pub fn with_contexts(project: &Project, names: &[String]) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    let mut next: Vec<String> = names.to_vec();
    while let Some(name) = next.pop() {
        let build = project
            .any_service(&name)
            .and_then(|service| service.build.as_ref());
        let Some(build) = build.filter(|_| !all.contains(&name)) else {
            continue;
        };
        let contexts = build.additional_contexts.0.values();
        next.extend(
            contexts
                .filter_map(|context| context.strip_prefix(SERVICE_PREFIX))
                .map(str::to_owned),
        );
        all.push(name);
    }
    all.sort();
    all
}

/// `provenance` and `sbom` in the form of `--attest`; flags are stronger than keys.
fn attestations(build: &crate::model::Build, options: &BuildOptions) -> Vec<String> {
    let all = [
        ("provenance", &build.provenance, &options.provenance),
        ("sbom", &build.sbom, &options.sbom),
    ];
    let all = all.into_iter().filter_map(|(kind, key, flag)| {
        let text = if flag.is_empty() { key } else { flag };
        match text.as_str() {
            "" => None,
            "true" => Some(format!("type={kind}")),
            "false" => Some(format!("type={kind},disabled=true")),
            fields => Some(format!("type={kind},{fields}")),
        }
    });
    all.collect()
}

/// Bake's names have no dots.
fn bake_name(service: &str) -> String {
    service.replace('.', "_")
}

fn platforms(named: &[String], own: &str, options: &BuildOptions) -> Vec<String> {
    match (named, own) {
        ([one], _) => vec![one.clone()],
        ([_, ..], _) if options.all_platforms => named.to_vec(),
        (_, "") => Vec::new(),
        (_, platform) => vec![platform.to_owned()],
    }
}

fn is_entitlement(text: &str) -> bool {
    matches!(text, "network.host" | "security.insecure" | "device") || text.starts_with("device=")
}

/// `privileged` is the leave for steps that say `RUN --security=insecure`, as with Docker Compose.
fn entitlements(build: &crate::model::Build) -> Vec<String> {
    const INSECURE: &str = "security.insecure";
    let mut all = build.entitlements.clone();
    if build.privileged && !all.iter().any(|known| known == INSECURE) {
        all.push(INSECURE.to_owned());
    }
    all
}

fn refuse(name: &str, build: &crate::model::Build) -> Result<(), ComposeError> {
    let refused = [
        (
            build.entitlements.iter().any(|text| !is_entitlement(text)),
            "entitlements",
            "only network.host, security.insecure and device are known",
        ),
        (
            !matches!(build.isolation.as_str(), "" | "default"),
            "isolation",
            "on Linux there is one way; the key is for Windows",
        ),
    ];
    for (is_said, key, why) in refused {
        if is_said {
            let mut error = ComposeError::of_project(format!(
                "services.{name}.build.{key} is not supported: {why}"
            ));
            error.hint = Some(format!("remove {key} from the service {name}"));
            return Err(error);
        }
    }
    Ok(())
}

fn dockerfile(context: &str, file: &str) -> String {
    // The builder looks for this name, and for `dockerfile`, by itself.
    if file.is_empty() || file == "Dockerfile" {
        return String::new();
    }
    match is_remote_context(context) {
        true => file.to_owned(),
        false => types::lexical_path::absolute(file, context),
    }
}

fn contexts(given: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let target = |value: &String| match value.strip_prefix(SERVICE_PREFIX) {
        Some(service) => format!("target:{}", bake_name(service)),
        None => value.clone(),
    };
    given
        .iter()
        .map(|(name, value)| (name.clone(), target(value)))
        .collect()
}

fn arguments(project: &Project, name: &str, options: &BuildOptions) -> BTreeMap<String, String> {
    let build = project
        .any_service(name)
        .and_then(|service| service.build.as_ref());
    let mut all: BTreeMap<String, Option<String>> =
        build.map(|build| build.args.0.clone()).unwrap_or_default();
    all.extend(options.arguments.iter().cloned());
    let known = |name: &String| project.environment.get(name).cloned();
    all.into_iter()
        .filter_map(|(name, value)| {
            let value = value.or_else(|| known(&name))?;
            Some((name, value))
        })
        .collect()
}

fn ulimit((name, limit): (&String, &Ulimit)) -> String {
    match limit.is_single {
        true => format!("{name}={}", limit.soft),
        false => format!("{name}={}:{}", limit.soft, limit.hard),
    }
}

type Secrets = (Vec<String>, BTreeMap<String, String>);

fn secrets(project: &Project, name: &str) -> Result<Secrets, ComposeError> {
    let mut words = Vec::new();
    let mut values = BTreeMap::new();
    let build = project
        .any_service(name)
        .and_then(|service| service.build.as_ref());
    for reference in build.iter().flat_map(|build| &build.secrets) {
        let id = match reference.target.as_str() {
            "" => &reference.source,
            target => target,
        };
        let Some(secret) = project.secrets.get(&reference.source) else {
            continue;
        };
        if !secret.file.is_empty() {
            words.push(format!("id={id},type=file,src={}", secret.file));
        } else if !secret.environment.is_empty() {
            words.push(format!("id={id},type=env,env={}", secret.environment));
            values.insert(id.to_owned(), secret.content.clone());
        } else {
            return Err(ComposeError::of_project(format!(
                "services.{name}.build.secrets: {} is external, and external secrets need Swarm: use file or environment",
                reference.source
            )));
        }
    }
    Ok((words, values))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::golden::MemoryFiles;

    fn project(text: &str) -> Project {
        MemoryFiles::of(&[("compose.yaml", text)])
            .load()
            .unwrap()
            .project
    }

    fn target(text: &str) -> BuildTarget {
        build_target(&project(text), "a", &BuildOptions::default())
            .unwrap()
            .unwrap()
    }

    #[test]
    fn every_key_reaches_the_builder() {
        let found = target(
            "services:\n  a:\n    platform: linux/arm64\n    build:\n      context: app\n      dockerfile: d/File\n      args: {K: v, NONE: }\n      target: t\n      labels: [l=1]\n      network: host\n      extra_hosts: {h: 1.2.3.4}\n      secrets: [{source: s, target: id}]\n      ssh: [default]\n      shm_size: 1m\n      ulimits: {nofile: {soft: 1, hard: 2}, nproc: 3}\n      tags: [x:1]\n      no_cache_filter: [q]\n      pull: true\n      additional_contexts: {b: 'service:b', c: ../c, d: docker-image://e}\n  b: {build: .}\nsecrets: {s: {file: f}}\n",
        );
        assert!(found.context.ends_with("/app"), "{}", found.context);
        assert!(found.dockerfile.ends_with("/app/d/File"));
        assert_eq!(found.args, BTreeMap::from([("K".into(), "v".into())]));
        assert_eq!(found.labels["com.docker.compose.service"], "a");
        assert_eq!(found.labels["l"], "1");
        assert_eq!(found.tags, ["x:1", "p-a"]);
        assert_eq!(found.contexts["b"], "target:b");
        assert_eq!(found.contexts["d"], "docker-image://e");
        assert_eq!(found.after, ["b"]);
        assert_eq!(found.ulimits, ["nofile=1:2", "nproc=3"]);
        assert_eq!(found.platforms, ["linux/arm64"]);
        assert!(found.secrets[0].starts_with("id=id,type=file,src=/"));
        assert!(found.pull && found.shm_size.0 == 1 << 20 && found.ssh == ["default"]);
    }

    #[test]
    fn attestations_are_asked_for_by_keys_and_flags() {
        let asked = |keys: &str, flag: &str| {
            let project = project(&format!(
                "services: {{a: {{build: {{context: ., {keys}}}}}}}"
            ));
            let options = BuildOptions {
                provenance: flag.to_owned(),
                ..BuildOptions::default()
            };
            let target = build_target(&project, "a", &options).unwrap().unwrap();
            target.attestations
        };
        assert_eq!(
            asked("sbom: true, provenance: mode=max", ""),
            ["type=provenance,mode=max", "type=sbom"]
        );
        assert_eq!(asked("provenance: false", "true"), ["type=provenance"]);
        assert_eq!(asked("sbom: false", ""), ["type=sbom,disabled=true"]);
        assert!(asked("pull: false", "").is_empty());
    }

    #[test]
    fn what_cannot_be_obeyed_is_refused_by_name() {
        for key in ["entitlements: [nosuch]", "isolation: hyperv"] {
            let project = project(&format!("services: {{a: {{build: {{{key}}}}}}}"));
            let error = build_target(&project, "a", &BuildOptions::default()).unwrap_err();
            let name = key.split(':').next().unwrap();
            assert!(
                error.text.contains(&format!("build.{name} is not")),
                "{error}"
            );
        }
    }

    #[test]
    fn up_builds_the_platform_of_its_containers_and_build_builds_all() {
        let platforms = |keys: &str, all_platforms: bool| {
            let project = project(&format!("services: {{a: {{{keys}}}}}"));
            let options = BuildOptions {
                all_platforms,
                ..BuildOptions::default()
            };
            let target = build_target(&project, "a", &options).unwrap().unwrap();
            target.platforms.join(",")
        };
        let both = "build: {platforms: [linux/amd64, linux/arm64]}";
        assert_eq!(platforms(both, true), "linux/amd64,linux/arm64");
        assert_eq!(platforms(both, false), "");
        let one = format!("{both}, platform: linux/arm64");
        assert_eq!(platforms(&one, false), "linux/arm64");
        assert_eq!(
            platforms("build: {platforms: [linux/arm64]}", false),
            "linux/arm64"
        );
    }

    #[test]
    fn a_privileged_build_may_have_insecure_steps() {
        let project = project(
            "services: {a: {build: {privileged: true, entitlements: [device, network.host]}}}",
        );
        let target = build_target(&project, "a", &BuildOptions::default());
        assert_eq!(
            target.unwrap().unwrap().entitlements,
            ["device", "network.host", "security.insecure"]
        );
    }

    #[test]
    fn the_command_line_stands_over_the_file_and_services_bring_their_contexts() {
        let project = project(
            "services: {a: {build: {args: {K: v}, additional_contexts: {x: 'service:b'}}}, b: {build: {additional_contexts: {y: 'service:c'}}}, c: {build: .}, d: {build: .}}",
        );
        assert_eq!(with_contexts(&project, &["a".into()]), ["a", "b", "c"]);
        let options = BuildOptions {
            arguments: vec![("K".into(), Some("w".into())), ("UNSET".into(), None)],
            no_cache: true,
            ..BuildOptions::default()
        };
        let found = build_target(&project, "a", &options).unwrap().unwrap();
        assert_eq!(found.args, BTreeMap::from([("K".into(), "w".into())]));
        assert!(found.no_cache);
        let text = bake_file(&project, &["a".into()], &options).unwrap();
        assert!(
            text.contains("\"targets\": [\n        \"a\"\n      ]"),
            "{text}"
        );
    }
}
