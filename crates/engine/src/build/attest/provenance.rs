//! How an image was built: SLSA's predicate in version 1, with the members that BuildKit adds.
//!
//! No secret is in it. Secrets have ids here and no values; what a secret's value is, or the value of a build
//! argument whose name says that it is one, is replaced wherever it stands: arguments, labels, the names of
//! steps, the Dockerfile. Addresses lose user and password.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use build::graph::{Graph, MountKind, Network, Op, Step};
use build::lower::is_secret_name;
use serde_json::{Map, Value, json};
use types::image::{MEDIA_OCI_CONFIG, MEDIA_OCI_MANIFEST};
use types::platform::Platform;
use types::reference::Reference;
use types::timestamp::Timestamp;

use super::{Done, ProvenanceMode, Subject, purl};
use crate::build::BuildRequest;
use crate::error::EngineError;

const BUILD_TYPE: &str =
    "https://github.com/moby/buildkit/blob/master/docs/attestations/slsa-definitions.md";
/// What stands in place of a secret.
const HIDDEN: &str = "***";
/// Shorter ones stand in too many words by chance: such an argument is left out, and nothing is searched.
const HIDDEN_BYTES_MIN: usize = 4;

/// The predicate.
pub(super) fn predicate(
    done: &Done<'_>,
    subject: &Subject<'_>,
    mode: ProvenanceMode,
) -> Result<Value, EngineError> {
    let request = done.request;
    let hidden = hidden(request)?;
    let (materials, is_pinned) = materials(done, subject.platform);
    let started = done.started.rfc3339();
    let invocation = build::key::digest_of_parts([
        started.as_bytes(),
        subject.image.as_str().as_bytes(),
        &std::process::id().to_le_bytes(),
    ]);
    let is_max = mode == ProvenanceMode::Max;
    let mut internal = Map::new();
    internal.insert(
        "builderPlatform".into(),
        json!(Platform::host().normalised().to_string()),
    );
    let mut metadata = json!({
        "invocationID": invocation.hex(),
        "startedOn": started,
        "finishedOn": Timestamp::now().rfc3339(),
        "buildkit_metadata": {},
        "buildkit_completeness": { "request": is_max, "resolvedDependencies": is_pinned },
    });
    if is_hermetic(done.graph) {
        metadata["buildkit_hermetic"] = json!(true);
    }
    if is_max {
        internal.insert("buildConfig".into(), steps(done));
        let source = String::from_utf8_lossy(&request.dockerfile).into_owned();
        metadata["buildkit_metadata"] = json!({ "source": { "infos": [{
            "filename": file_name(request),
            "language": "Dockerfile",
            "data": STANDARD.encode(without(&source, &hidden)),
        }] } });
    }
    let mut document = json!({
        "buildDefinition": {
            "buildType": BUILD_TYPE,
            "externalParameters": {
                "configSource": source(request),
                "request": parameters(done, &hidden, is_max),
            },
            "internalParameters": internal,
            "resolvedDependencies": materials,
        },
        "runDetails": {
            "builder": { "id": "" },
            "metadata": metadata,
        },
    });
    hide(&mut document, &hidden);
    Ok(document)
}

/// All values that nobody may read.
fn hidden(request: &BuildRequest) -> Result<Vec<String>, EngineError> {
    let arguments = request.wishes.build_arguments.iter();
    let mut hidden: Vec<String> = arguments
        .filter(|(name, _)| is_secret_name(name))
        .map(|(_, value)| value.clone())
        .collect();
    for secret in request.inputs.secrets.values() {
        let value = String::from_utf8_lossy(&secret.read()?).into_owned();
        hidden.push(value.trim_end_matches(['\r', '\n']).to_owned());
        hidden.extend(value.lines().map(str::to_owned));
    }
    hidden.retain(|value| value.len() >= HIDDEN_BYTES_MIN);
    // The longest first: one may be part of another.
    hidden.sort_by_key(|value| std::cmp::Reverse(value.len()));
    hidden.dedup();
    Ok(hidden)
}

fn without(text: &str, hidden: &[String]) -> String {
    let mut text = text.to_owned();
    for value in hidden {
        if text.contains(value.as_str()) {
            text = text.replace(value.as_str(), HIDDEN);
        }
    }
    text
}

fn hide(value: &mut Value, hidden: &[String]) {
    match value {
        Value::String(text) => *text = without(text, hidden),
        Value::Array(values) => values.iter_mut().for_each(|value| hide(value, hidden)),
        Value::Object(members) => members
            .iter_mut()
            .for_each(|(_, value)| hide(value, hidden)),
        _ => {}
    }
}

/// Where the Dockerfile is from. A path of this machine is nobody else's business.
fn source(request: &BuildRequest) -> Value {
    match request.source.as_str() {
        "" => json!({ "path": file_name(request) }),
        address => json!({ "uri": public(address), "path": request.dockerfile_name }),
    }
}

fn file_name(request: &BuildRequest) -> String {
    let path = std::path::Path::new(&request.dockerfile_name);
    match path.file_name() {
        Some(name) => name.to_string_lossy().into_owned(),
        None => "Dockerfile".to_owned(),
    }
}

/// An address without user and password, and without its query, which may have a token.
fn public(address: &str) -> String {
    let (address, fragment) = match address.split_once('#') {
        Some((address, fragment)) => (address, format!("#{fragment}")),
        None => (address, String::new()),
    };
    let address = address.split('?').next().unwrap_or_default();
    let Some((scheme, rest)) = address.split_once("://") else {
        return format!("{address}{fragment}");
    };
    let (host, path) = match rest.split_once('/') {
        Some((host, path)) => (host, format!("/{path}")),
        None => (rest, String::new()),
    };
    let host = host.rsplit('@').next().unwrap_or_default();
    format!("{scheme}://{host}{path}{fragment}")
}

fn parameters(done: &Done<'_>, hidden: &[String], is_max: bool) -> Value {
    let request = done.request;
    let mut arguments = Map::new();
    let wishes = &request.wishes;
    if !wishes.target.is_empty() {
        arguments.insert("target".into(), json!(wishes.target));
    }
    if !is_max {
        return json!({ "frontend": "dockerfile.v0", "args": arguments });
    }
    for (name, value) in &wishes.build_arguments {
        let value = if is_secret_name(name) { HIDDEN } else { value };
        arguments.insert(format!("build-arg:{name}"), json!(value));
    }
    for (name, value) in &wishes.labels {
        arguments.insert(format!("label:{name}"), json!(without(value, hidden)));
    }
    let ids = |ids: Vec<&String>| -> Vec<Value> {
        ids.iter()
            .map(|id| json!({ "id": id, "optional": true }))
            .collect()
    };
    let locals = request.inputs.contexts.keys();
    let locals: Vec<Value> = locals
        .map(|name| json!({ "name": if name.is_empty() { "context" } else { name } }))
        .collect();
    json!({
        "frontend": "dockerfile.v0",
        "args": arguments,
        "secrets": ids(request.inputs.secrets.keys().collect()),
        "ssh": ids(request.inputs.ssh.keys().collect()),
        "locals": locals,
    })
}

/// What was fetched and from where, and whether all of it is known by digest.
fn materials(done: &Done<'_>, platform: &Platform) -> (Vec<Value>, bool) {
    let mut materials = Vec::new();
    let mut is_pinned = true;
    for (step, is_needed) in done.graph.steps.iter().zip(done.graph.needed()) {
        if !is_needed {
            continue;
        }
        let material = match &step.op {
            Op::Image(image) => self::image(done, &image.reference, &image.id, platform),
            Op::Git(git) => {
                let uri = format!("{}#{}", public(&git.remote), git.reference);
                let commit = [&git.reference, &git.checksum]
                    .into_iter()
                    .find(|text| is_commit(text));
                match commit {
                    Some(commit) => json!({ "uri": uri, "digest": { "sha1": commit } }),
                    None => json!({ "uri": uri }),
                }
            }
            Op::Http(http) => match &http.checksum {
                Some(sum) => json!({ "uri": public(&http.url), "digest": purl::digest_set(sum) }),
                None => json!({ "uri": public(&http.url) }),
            },
            Op::Context(_) => {
                is_pinned = false;
                continue;
            }
            _ => continue,
        };
        is_pinned &= material.get("digest").is_some();
        if !materials.contains(&material) {
            materials.push(material);
        }
    }
    (materials, is_pinned)
}

fn is_commit(text: &str) -> bool {
    text.len() == 40 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// A base image by its manifest; one that never had any here by its configuration.
fn image(
    done: &Done<'_>,
    reference: &str,
    id: &types::digest::Digest,
    platform: &Platform,
) -> Value {
    let record = done.worker.lease.store().image(id).ok();
    let platform = match &record {
        Some(record) => Platform::new(&record.os, &record.architecture, &record.variant),
        None => platform.clone(),
    };
    let manifest = record.and_then(|record| record.manifest);
    let (digest, media_type) = match &manifest {
        Some(manifest) => (&manifest.digest, MEDIA_OCI_MANIFEST),
        None => (id, MEDIA_OCI_CONFIG),
    };
    let uri = match Reference::parse_normalized(reference) {
        Ok(name) => purl::image(&name.with_default_tag(), &platform),
        Err(_) => format!("pkg:docker/{}", purl::quoted(reference, "/:")),
    };
    json!({ "uri": uri, "digest": purl::digest_set(digest), "mediaType": media_type })
}

/// Whether no program had a network, and nothing but images is from one.
fn is_hermetic(graph: &Graph) -> bool {
    let needed = graph.steps.iter().zip(graph.needed());
    needed
        .filter(|(_, is_needed)| *is_needed)
        .all(|(step, _)| match &step.op {
            Op::Run(run) => run.network == Network::None,
            Op::Git(_) | Op::Http(_) => false,
            _ => true,
        })
}

/// The steps in their order: what people call them, what they stand upon, and what came of them. The
/// environment of a program is not told: arguments are above, and the rest is the image's.
fn steps(done: &Done<'_>) -> Value {
    let mut steps = Vec::new();
    let needed = done.graph.needed();
    for (number, step) in done.graph.steps.iter().enumerate() {
        if !needed[number] {
            continue;
        }
        let inputs = step.op.inputs().into_iter();
        let inputs: Vec<String> = inputs.map(|input| format!("step{}", input.0)).collect();
        let mut said = json!({
            "id": format!("step{number}"),
            "name": step.name,
            "inputs": inputs,
            "mounts": mounts(step),
        });
        if let Some(place) = &step.place {
            said["lines"] = json!([place.first_line, place.last_line]);
        }
        let tree = done.solved.trees.get(number).and_then(Option::as_ref);
        if let Some(crate::build::worker::Tree::Stack(stack)) = tree
            && let Some(layer) = stack.top()
            && let Ok(diff_id) = layer.diff_id()
        {
            said["diffID"] = json!(diff_id);
        }
        steps.push(said);
    }
    json!({ "steps": steps })
}

fn mounts(step: &Step) -> Vec<String> {
    let Op::Run(run) = &step.op else {
        return Vec::new();
    };
    let kind = |kind: &MountKind| match kind {
        MountKind::Bind { .. } => "bind",
        MountKind::Cache(_) => "cache",
        MountKind::Tmpfs { .. } => "tmpfs",
        MountKind::Secret(_) => "secret",
        MountKind::Ssh(_) => "ssh",
        MountKind::File { .. } => "file",
    };
    let mounts = run.mounts.iter();
    mounts
        .map(|mount| format!("{} {}", kind(&mount.kind), mount.target))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::build::SecretSource;

    #[test]
    fn values_of_secrets_are_hidden_wherever_they_stand() {
        let mut request = BuildRequest::default();
        let arguments = &mut request.wishes.build_arguments;
        arguments.insert("API_TOKEN".into(), "s3cret-argument".into());
        arguments.insert("VERSION".into(), "1.2.3".into());
        let value = SecretSource::Bytes(b"first-line\nsecond-line\n".to_vec());
        request.inputs.secrets.insert("key".into(), value);
        let hidden = hidden(&request).unwrap();
        let mut value =
            json!({ "a": ["x s3cret-argument y", { "b": "second-line" }], "c": "1.2.3" });
        hide(&mut value, &hidden);
        assert_eq!(
            value,
            json!({ "a": ["x *** y", { "b": "***" }], "c": "1.2.3" })
        );
    }

    #[test]
    fn addresses_lose_who_asked() {
        for (address, expected) in [
            (
                "https://me:token@host/x.git#main:sub",
                "https://host/x.git#main:sub",
            ),
            ("https://host/x?sig=abc", "https://host/x"),
            ("ssh://git@host", "ssh://host"),
        ] {
            assert_eq!(public(address), expected);
        }
        assert!(is_commit(&"a".repeat(40)) && !is_commit("main"));
    }
}
