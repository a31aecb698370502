//! What a tag holds: platforms, sizes, configuration, and the instruction that made each layer.
//!
//! Manifests and configurations are strangers' JSON: whatever is missing or odd in them is left out.

use std::collections::BTreeSet;
use std::sync::Arc;

use askama::Template;
use axum::extract::Path;
use serde_json::Value;
use types::digest::Digest;

use super::{Answer, Desk, Page, Refusal, page, words};
use crate::server::Registry;
use crate::server::auth::Role;
use crate::server::database::manifests::TagRow;
use crate::server::manifest::{DOCKER_LIST, OCI_INDEX};
use words::Words;

/// The largest configuration that is read.
const CONFIG_BYTES_MAX: u64 = 2 * 1024 * 1024;
/// Images of one index that are shown.
const IMAGES_MAX: usize = 16;
const STEPS_MAX: usize = 500;
/// Artifacts about one image that are looked at.
const PAPERS_MAX: i64 = 32;
const TEXT_CHARACTERS_MAX: usize = 2000;

/// A row of an image's history.
struct Step {
    instruction: String,
    size: String,
}

/// One image.
struct Image {
    digest: String,
    platform: String,
    size: String,
    config: Value,
    steps: Vec<Step>,
    /// See [`said`].
    said: Vec<String>,
}

impl Image {
    /// What its configuration says, with the labels of a language.
    fn facts(&self, words: &Words) -> Vec<(&'static str, String)> {
        let config = &self.config["config"];
        let keys = |value: &Value| {
            let keys = value
                .as_object()
                .map(|map| map.keys().cloned().collect::<Vec<_>>());
            keys.unwrap_or_default().join(" ")
        };
        let list = |value: &Value| {
            let items = value
                .as_array()
                .map(|items| items.iter().filter_map(Value::as_str));
            items.map_or(String::new(), |items| items.collect::<Vec<_>>().join(" "))
        };
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        [
            (words.entrypoint, list(&config["Entrypoint"])),
            (words.command, list(&config["Cmd"])),
            (words.environment, list(&config["Env"])),
            (words.working_directory, text(&config["WorkingDir"])),
            (words.user, text(&config["User"])),
            (words.ports, keys(&config["ExposedPorts"])),
            (words.volumes, keys(&config["Volumes"])),
            (words.attestations, self.said.join(", ")),
        ]
        .into_iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(label, value)| (label, shorten(&value)))
        .collect()
    }
}

#[derive(Template)]
#[template(path = "tag.html")]
struct Show {
    page: Page,
    name: String,
    tag: String,
    digest: String,
    images: Vec<Image>,
    is_admin: bool,
}

fn shorten(text: &str) -> String {
    match text.chars().count() > TEXT_CHARACTERS_MAX {
        true => text
            .chars()
            .take(TEXT_CHARACTERS_MAX)
            .chain(['…'])
            .collect(),
        false => text.to_owned(),
    }
}

fn is_index(media_type: &str) -> bool {
    matches!(media_type, OCI_INDEX | DOCKER_LIST)
}

/// The platforms of a tag in words, and the bytes of its largest image.
pub(super) async fn summary(
    registry: &Arc<Registry>,
    name: &str,
    tag: &TagRow,
) -> Result<(String, i64), Refusal> {
    let Some(manifest) = registry.database.manifest(name, &tag.digest).await? else {
        return Ok((String::new(), tag.content_size));
    };
    let body: Value = serde_json::from_slice(&manifest.body).unwrap_or_default();
    if !is_index(&tag.media_type) {
        let config = config(registry, name, &body).await?;
        return Ok((platform(&config), tag.content_size));
    }
    let (mut platforms, mut largest) = (Vec::new(), 0);
    for child in children(&body) {
        platforms.push(platform(&child["platform"]));
        let digest = child["digest"].as_str().unwrap_or_default();
        if let Some(image) = registry.database.manifest(name, digest).await? {
            let image: Value = serde_json::from_slice(&image.body).unwrap_or_default();
            largest = largest.max(content_size(&image));
        }
    }
    Ok((platforms.join(", "), largest))
}

/// The images of an index; attestations, which are for no platform, apart.
fn children(index: &Value) -> Vec<&Value> {
    let all = index["manifests"].as_array().into_iter().flatten();
    all.filter(|child| child["platform"]["os"].as_str() != Some("unknown"))
        .take(IMAGES_MAX)
        .collect()
}

/// `linux/arm64/v8`, from a platform or from a configuration, which have the same fields.
fn platform(value: &Value) -> String {
    let parts =
        ["os", "architecture", "variant"].map(|field| value[field].as_str().unwrap_or_default());
    let parts: Vec<&str> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    parts.join("/")
}

fn content_size(manifest: &Value) -> i64 {
    let layers = manifest["layers"].as_array().into_iter().flatten();
    let sizes = layers.chain([&manifest["config"]]);
    sizes
        .filter_map(|part| part["size"].as_i64())
        .fold(0, i64::saturating_add)
}

/// The configuration that a manifest names, if this repository shows it and it is not too large.
async fn config(registry: &Arc<Registry>, name: &str, manifest: &Value) -> Result<Value, Refusal> {
    let digest = manifest["config"]["digest"].as_str().unwrap_or_default();
    let Ok(digest) = Digest::parse(digest) else {
        return Ok(Value::Null);
    };
    let row = registry.database.blob(name, &digest).await?;
    let Some(row) = row.filter(|row| row.size <= CONFIG_BYTES_MAX) else {
        return Ok(Value::Null);
    };
    let read = registry.storage.read_all(&digest, &row).await;
    let read = read
        .ok()
        .and_then(|bytes| serde_json::from_slice(&bytes).ok());
    Ok(read.unwrap_or_default())
}

/// The history beside the layers: entries that changed nothing have no layer (image specification,
/// section "history").
fn steps(manifest: &Value, config: &Value) -> Vec<Step> {
    let mut layers = manifest["layers"].as_array().into_iter().flatten();
    let mut size = || {
        let bytes = layers.next().and_then(|layer| layer["size"].as_i64());
        bytes.map(words::size).unwrap_or_default()
    };
    let history = config["history"].as_array().into_iter().flatten();
    let mut steps: Vec<Step> = history
        .take(STEPS_MAX)
        .map(|entry| Step {
            instruction: instruction(entry),
            size: match entry["empty_layer"].as_bool() {
                Some(true) => String::new(),
                _ => size(),
            },
        })
        .collect();
    let described = steps.len();
    // Layers without a history: artifacts, and images made by other means.
    let rest = manifest["layers"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|_| described == 0);
    steps.extend(rest.take(STEPS_MAX).map(|layer| {
        let kind = layer["mediaType"].as_str().unwrap_or_default();
        let title = layer["annotations"]["org.opencontainers.image.title"].as_str();
        Step {
            instruction: shorten(title.unwrap_or(kind)),
            size: layer["size"].as_i64().map(words::size).unwrap_or_default(),
        }
    }));
    steps
}

/// As it was written in the Dockerfile, as far as builders left it.
fn instruction(entry: &Value) -> String {
    let text = entry["created_by"].as_str().unwrap_or_default();
    let text = match text.strip_prefix("/bin/sh -c ") {
        Some(rest) => match rest.trim_start().strip_prefix("#(nop)") {
            Some(instruction) => instruction.trim_start().to_owned(),
            None => format!("RUN {rest}"),
        },
        None => text.to_owned(),
    };
    let text = text.trim_end_matches("# buildkit").trim();
    match text.is_empty() {
        true => shorten(entry["comment"].as_str().unwrap_or_default()),
        false => shorten(text),
    }
}

async fn image(
    registry: &Arc<Registry>,
    name: &str,
    digest: &str,
    manifest: &Value,
) -> Result<Image, Refusal> {
    let config = config(registry, name, manifest).await?;
    let artifact = manifest["artifactType"].as_str();
    let mut platform = platform(&config);
    if platform.is_empty() {
        platform = artifact.unwrap_or("–").to_owned();
    }
    Ok(Image {
        digest: digest.to_owned(),
        platform,
        size: words::size(content_size(manifest)),
        steps: steps(manifest, &config),
        config,
        said: Vec::new(),
    })
}

/// What is said about an image in its repository, each kind once: what it is made of, where it comes from, who
/// signed it.
async fn said(
    registry: &Registry,
    name: &str,
    image: &str,
    index: &Value,
) -> Result<Vec<String>, Refusal> {
    let Ok(subject) = Digest::parse(image) else {
        return Ok(Vec::new());
    };
    let database = &registry.database;
    let mut papers = database
        .referrers(name, &subject, None, ("", PAPERS_MAX))
        .await?;
    // As BuildKit has it: beside the image, in the index.
    let beside = index["manifests"].as_array().into_iter().flatten();
    for entry in beside
        .filter(|entry| entry["annotations"]["vnd.docker.reference.digest"] == image)
        .take(IMAGES_MAX)
    {
        let digest = entry["digest"].as_str().unwrap_or_default();
        papers.extend(database.manifest(name, digest).await?);
    }
    let read = |body: &[u8]| serde_json::from_slice(body).unwrap_or_default();
    let kinds = papers.iter().flat_map(|paper| kinds(&read(&paper.body)));
    Ok(kinds.collect::<BTreeSet<_>>().into_iter().collect())
}

/// The kinds of statements in an artifact; its own where it has none.
fn kinds(paper: &Value) -> Vec<String> {
    let layers = paper["layers"].as_array().into_iter().flatten();
    let told = layers
        .take(IMAGES_MAX)
        .filter_map(|layer| layer["annotations"]["in-toto.io/predicate-type"].as_str());
    let told: Vec<String> = told.map(in_words).collect();
    if !told.is_empty() {
        return told;
    }
    let own = [&paper["artifactType"], &paper["config"]["mediaType"]];
    let own = own.into_iter().find_map(Value::as_str);
    own.map(in_words).into_iter().collect()
}

fn in_words(kind: &str) -> String {
    for (start, words) in [
        ("https://spdx.dev/", "SBOM (SPDX)"),
        ("https://cyclonedx.org/", "SBOM (CycloneDX)"),
        ("https://slsa.dev/provenance/", "provenance (SLSA)"),
    ] {
        if kind.starts_with(start) {
            return words.to_owned();
        }
    }
    shorten(kind)
}

pub(super) async fn show(desk: Desk, Path(name): Path<String>) -> Answer {
    let registry = &desk.registry;
    let role = desk.visitor.role(registry, &name).await?;
    if role < Role::Read {
        return Err(Refusal::NotFound);
    }
    let tag = desk.fields.get("tag");
    let found = registry.database.manifest(&name, tag).await?;
    let found = found.ok_or(Refusal::NotFound)?;
    let body: Value = serde_json::from_slice(&found.body).unwrap_or_default();
    let mut images = Vec::new();
    if is_index(&found.media_type) {
        for child in children(&body) {
            let digest = child["digest"].as_str().unwrap_or_default();
            if let Some(child) = registry.database.manifest(&name, digest).await? {
                let manifest = serde_json::from_slice(&child.body).unwrap_or_default();
                images.push(image(registry, &name, digest, &manifest).await?);
            }
        }
    } else {
        images.push(image(registry, &name, &found.digest, &body).await?);
    }
    for image in &mut images {
        image.said = said(registry, &name, &image.digest, &body).await?;
    }
    page(&Show {
        page: desk.page(),
        name: name.clone(),
        tag: tag.to_owned(),
        digest: found.digest,
        images,
        is_admin: role >= Role::Admin,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_layer_stands_beside_the_instruction_that_made_it() {
        let manifest = serde_json::json!({"layers": [{"size": 10}, {"size": 20_000}]});
        let config = serde_json::json!({"history": [
            {"created_by": "/bin/sh -c #(nop) ADD file:1 in / "},
            {"created_by": "CMD [\"sh\"]", "empty_layer": true},
            {"created_by": "/bin/sh -c apt-get update # buildkit"},
            {"comment": "too many"},
        ]});
        let found = steps(&manifest, &config);
        let found: Vec<(&str, &str)> = found
            .iter()
            .map(|step| (step.instruction.as_str(), step.size.as_str()))
            .collect();
        assert_eq!(
            found,
            [
                ("ADD file:1 in /", "10 B"),
                ("CMD [\"sh\"]", ""),
                ("RUN apt-get update", "20.0 kB"),
                ("too many", ""),
            ]
        );
    }

    #[test]
    fn what_is_said_about_an_image_is_told_in_words() {
        let told =
            |kind: &str| serde_json::json!({"annotations": {"in-toto.io/predicate-type": kind}});
        let both = serde_json::json!({"artifactType": "x/y", "layers": [
            told("https://slsa.dev/provenance/v1"), told("https://spdx.dev/Document"), told("z"), {"size": 1},
        ]});
        assert_eq!(kinds(&both), ["provenance (SLSA)", "SBOM (SPDX)", "z"]);
        let signature = serde_json::json!({"artifactType": "x/y", "layers": [{}]});
        assert_eq!(kinds(&signature), ["x/y"]);
        assert_eq!(
            kinds(&serde_json::json!({"config": {"mediaType": "a/b"}})),
            ["a/b"]
        );
    }

    #[test]
    fn odd_documents_are_left_out_and_never_fail() {
        for odd in [
            "null",
            "[]",
            "{\"layers\":7}",
            "{\"config\":[],\"layers\":[null,{\"size\":\"x\"}]}",
        ] {
            let value: Value = serde_json::from_str(odd).unwrap();
            steps(&value, &value);
            content_size(&value);
            assert!(platform(&value).is_empty() && children(&value).is_empty());
            assert!(kinds(&value).is_empty());
        }
    }
}
