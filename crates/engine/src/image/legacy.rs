//! Archives of `docker save` before 1.10: a directory per layer, each naming its parent.
//!
//! ```text
//! repositories            {"name": {"tag": "<id>"}}
//! <id>/json               configuration, with "id" and "parent"
//! <id>/layer.tar
//! ```
//! There is no configuration by digest, so one is made of the topmost `json` and of what the others
//! say of themselves, as Docker does when it loads such an archive.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde_json::{Map, Value};
use storage::blobs::Hasher;
use storage::compression;
use types::digest::{Algorithm, Digest};
use types::image::LAYERS_MAX;

use super::archive::Members;
use super::error::{ImageError, Result};
use super::load::{ArchivedImage, parse_name};

const BUFFER_BYTES: usize = 256 << 10;
/// What a topmost `json` has and a configuration has not.
const FORGOTTEN: [&str; 6] = ["id", "parent", "layer_id", "Size", "parent_id", "throwaway"];

#[derive(Deserialize)]
struct Layer {
    #[serde(default)]
    parent: String,
    #[serde(default)]
    created: Option<String>,
    #[serde(default)]
    author: String,
    #[serde(default)]
    comment: String,
    #[serde(default)]
    container_config: Option<ContainerConfig>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ContainerConfig {
    #[serde(default)]
    cmd: Option<Vec<String>>,
}

/// The images that `repositories` names.
pub(super) fn images(members: &Members) -> Result<Vec<ArchivedImage>> {
    let repositories: BTreeMap<String, BTreeMap<String, String>> =
        members.json("repositories")?.unwrap_or_default();
    let mut by_id: BTreeMap<String, ArchivedImage> = BTreeMap::new();
    for (repository, tags) in repositories {
        for (tag, id) in tags {
            let name = parse_name(&format!("{repository}:{tag}"))?;
            match by_id.get_mut(&id) {
                Some(image) => image.names.push(name),
                None => {
                    let mut image = image(members, &id)?;
                    image.names.push(name);
                    by_id.insert(id, image);
                }
            }
        }
    }
    Ok(by_id.into_values().collect())
}

fn image(members: &Members, id: &str) -> Result<ArchivedImage> {
    let chain = chain(members, id)?;
    let mut history = Vec::new();
    let mut diff_ids = Vec::new();
    let mut layers = Vec::new();
    for (id, layer) in &chain {
        let name = format!("{id}/layer.tar");
        diff_ids.push(Value::from(diff_id(members, &name)?.to_string()));
        layers.push(name);
        history.push(history_entry(layer));
    }
    let top: Option<Map<String, Value>> = members.json(&format!("{id}/json"))?;
    let mut config = top.unwrap_or_default();
    for member in FORGOTTEN {
        config.remove(member);
    }
    config.insert("history".into(), Value::from(history));
    let rootfs = serde_json::json!({ "type": "layers", "diff_ids": diff_ids });
    config.insert("rootfs".into(), rootfs);
    let config = serde_json::to_vec(&config).map_err(|source| ImageError::Encode {
        what: "an image configuration",
        source,
    })?;
    Ok(ArchivedImage {
        names: Vec::new(),
        config,
        layers,
        manifest: None,
    })
}

/// The layers from the lowest to `id`.
fn chain(members: &Members, id: &str) -> Result<Vec<(String, Layer)>> {
    let mut chain = Vec::new();
    let mut seen = BTreeSet::new();
    let mut next = id.to_owned();
    while !next.is_empty() {
        let broken = |why: &str| ImageError::Archive {
            what: format!("layer {next:.64?} {why}"),
        };
        if !is_id(&next) {
            return Err(broken("is no id"));
        }
        if !seen.insert(next.clone()) || chain.len() >= LAYERS_MAX {
            return Err(broken("has no end of parents"));
        }
        let layer: Layer = members
            .json(&format!("{next}/json"))?
            .ok_or_else(|| broken("has no description"))?;
        let parent = layer.parent.clone();
        chain.push((std::mem::replace(&mut next, parent), layer));
    }
    chain.reverse();
    Ok(chain)
}

fn is_id(text: &str) -> bool {
    text.len() == 64
        && text
            .bytes()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

fn history_entry(layer: &Layer) -> Value {
    let mut entry = Map::new();
    if let Some(created) = &layer.created {
        entry.insert("created".into(), created.as_str().into());
    }
    let command = layer
        .container_config
        .as_ref()
        .and_then(|config| config.cmd.as_ref());
    if let Some(command) = command {
        entry.insert("created_by".into(), command.join(" ").into());
    }
    for (member, text) in [("author", &layer.author), ("comment", &layer.comment)] {
        if !text.is_empty() {
            entry.insert(member.into(), text.as_str().into());
        }
    }
    Value::from(entry)
}

/// These archives do not say their diff ids: they are whatever the layer hashes to.
fn diff_id(members: &Members, name: &str) -> Result<Digest> {
    use std::io::Read;
    let source_error = |source| ImageError::Source { source };
    let (_, mut source) = compression::decode(members.get(name)?.open()?).map_err(source_error)?;
    let mut hasher = Hasher::new(Algorithm::Sha256);
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        match source.read(&mut buffer).map_err(source_error)? {
            0 => return Ok(hasher.finish()),
            count => hasher.update(&buffer[..count]),
        }
    }
}
