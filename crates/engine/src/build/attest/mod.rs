//! `--provenance` and `--sbom`: what is said about an image, beside it and never in it.
//!
//! ```text
//! packages, locks ─▶ sbom ─────┐
//! request, graph ──▶ provenance ├─▶ statements (in-toto) ─▶ artifact manifest, whose subject is the image's
//! ```
//! The image's own bytes do not change: its id and its manifest are the same with and without. The artifact
//! is one of the image's other blobs; it lives as long as the image, and `push` sends it after the image.
//! What a subject is known by is a manifest's digest, so the manifest is made here, as a push would.

mod locks;
mod packages;
mod provenance;
mod purl;
pub(crate) mod rpm;
mod sbom;

use build::graph::Graph;
use build::solve::Solved;
use serde_json::{Value, json};
use storage::store::Store;
use types::digest::Digest;
use types::image::{Descriptor, Document, MANIFEST_BYTES_MAX, MEDIA_OCI_EMPTY, MEDIA_OCI_MANIFEST};
use types::platform::Platform;
use types::timestamp::Timestamp;

use super::worker::{BuildWorker, Tree};
use super::{BuildEvent, BuildRequest, stack};
use crate::error::{EngineError, text};
use crate::image::push;

/// The kind of the artifact, as BuildKit names it.
const ARTIFACT: &str = "application/vnd.docker.attestation.manifest.v1+json";
const STATEMENT: &str = "application/vnd.in-toto+json";
const STATEMENT_TYPE: &str = "https://in-toto.io/Statement/v0.1";
const PREDICATE_TYPE: &str = "in-toto.io/predicate-type";
const SLSA: &str = "https://slsa.dev/provenance/v1";
const SPDX: &str = "https://spdx.dev/Document";

/// How much is said of how an image was built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProvenanceMode {
    /// What it was built from, and when.
    Min,
    /// Arguments, the Dockerfile and the steps as well.
    Max,
}

/// What is to be said about an image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Attestations {
    /// `--provenance`.
    pub provenance: Option<ProvenanceMode>,
    /// `--sbom`.
    pub sbom: bool,
    /// Nothing is to be said, in so many words: what was said before goes.
    pub is_silent: bool,
}

impl Attestations {
    /// Whether there is anything to say.
    pub fn is_any(self) -> bool {
        self.provenance.is_some() || self.sbom
    }
}

/// A build that is done, as far as it is told of.
pub(crate) struct Done<'a> {
    pub(crate) request: &'a BuildRequest,
    pub(crate) graph: &'a Graph,
    pub(crate) solved: &'a Solved<Tree>,
    pub(crate) worker: &'a BuildWorker<'a>,
    pub(crate) started: Timestamp,
}

/// What a statement is about.
struct Subject<'a> {
    platform: &'a Platform,
    image: &'a Digest,
    manifest: Digest,
}

impl Done<'_> {
    /// Says what is to be said about each of the images, in the order of the results; all of it belongs to
    /// `own`. Their manifests are those given, else their plain ones.
    pub(crate) fn attest(
        &self,
        images: &[(Digest, Platform)],
        given: &[Descriptor],
        own: &Digest,
    ) -> Result<(), EngineError> {
        let asked = self.request.attestations;
        if !asked.is_any() && !asked.is_silent {
            return Ok(());
        }
        let lease = &self.worker.lease;
        let store = lease.store();
        if asked.is_silent && store.image(own)?.other_blobs.is_empty() {
            return Ok(());
        }
        let (mut made, mut manifests) = (Vec::new(), Vec::new());
        for (at, ((image, platform), result)) in images.iter().zip(&self.graph.results).enumerate()
        {
            let (manifest, size) = match given.get(at) {
                Some(given) => (given.digest.clone(), given.size),
                None => {
                    let observer = self.worker.observer.images();
                    let (manifest, size, _) = push::manifest_of(lease, image, observer)?;
                    (manifest, size)
                }
            };
            manifests.push(manifest.clone());
            if asked.is_silent {
                continue;
            }
            let subject = Subject {
                platform,
                image,
                manifest: manifest.clone(),
            };
            let mut statements = Vec::new();
            if asked.sbom {
                let document = self.sbom(&subject, stack(self.solved, result.root)?)?;
                statements.push((SPDX, document));
            }
            if let Some(mode) = asked.provenance {
                let predicate = provenance::predicate(self, &subject, mode)?;
                statements.push((SLSA, predicate));
            }
            let about = Descriptor::new(MEDIA_OCI_MANIFEST, manifest, size);
            made.extend(self.artifact(&subject, &about, statements)?);
        }
        sys::fail::point("engine.build.attested");
        // What an earlier build said of the same images is replaced, not added to.
        let mut record = store.image(own)?;
        let is_of_these = |about: &Digest| manifests.contains(about);
        let old = said_about(store, &record.other_blobs, is_of_these);
        let others = said_about(store, &record.other_blobs, |about| !is_of_these(about));
        record
            .other_blobs
            .retain(|digest| !old.contains(digest) || others.contains(digest));
        made.retain(|digest| !record.other_blobs.contains(digest));
        record.other_blobs.extend(made);
        Ok(store.update_image(lease, &record)?)
    }

    /// The packages of a result's files.
    fn sbom(
        &self,
        subject: &Subject<'_>,
        stack: &super::layer::Stack,
    ) -> Result<Value, EngineError> {
        let root = self.worker.mount_for_reading(stack)?;
        let found = sbom::find(&root);
        for left_out in &found.left_out {
            let text = format!("the SBOM is not complete: {left_out}");
            self.worker.observer.event(BuildEvent::Warning(text));
        }
        let created = Timestamp::from_unix(stack.epoch(), 0).rfc3339();
        let name = match self.request.tags.first() {
            Some(tag) => tag.clone().with_default_tag().familiar(),
            None => subject.image.to_string(),
        };
        Ok(sbom::document(&found, &name, &subject.manifest, &created))
    }

    /// The statements and the manifest that names them; returns all blobs.
    fn artifact(
        &self,
        subject: &Subject<'_>,
        about: &Descriptor,
        statements: Vec<(&'static str, Value)>,
    ) -> Result<Vec<Digest>, EngineError> {
        let lease = &self.worker.lease;
        let store = lease.store();
        let names: Vec<Value> = match self.request.tags.as_slice() {
            [] => vec![json!("_")],
            tags => tags
                .iter()
                .map(|tag| {
                    json!(purl::image(
                        &tag.clone().with_default_tag(),
                        subject.platform
                    ))
                })
                .collect(),
        };
        let subjects: Vec<Value> = names
            .into_iter()
            .map(|name| json!({ "name": name, "digest": purl::digest_set(&subject.manifest) }))
            .collect();
        let mut layers = Vec::new();
        let mut blobs = Vec::new();
        for (kind, predicate) in statements {
            let statement = json!({
                "_type": STATEMENT_TYPE,
                "predicateType": kind,
                "subject": subjects,
                "predicate": predicate,
            });
            let bytes = encode(&statement)?;
            let digest = store.put_blob(lease, &bytes)?;
            let mut layer = Descriptor::new(STATEMENT, digest.clone(), bytes.len() as u64);
            layer
                .annotations
                .insert(PREDICATE_TYPE.to_owned(), kind.to_owned());
            layers.push(layer);
            blobs.push(digest);
        }
        let empty = store.put_blob(lease, b"{}")?;
        let manifest = encode(&json!({
            "schemaVersion": 2,
            "mediaType": MEDIA_OCI_MANIFEST,
            "artifactType": ARTIFACT,
            "config": { "mediaType": MEDIA_OCI_EMPTY, "digest": empty, "size": 2, "data": "e30=" },
            "layers": layers,
            "subject": about,
        }))?;
        blobs.push(empty);
        blobs.push(store.put_blob(lease, &manifest)?);
        Ok(blobs)
    }
}

/// What was said about images whose manifests are the ones asked for, with the manifests that say so.
pub(crate) fn said_about(
    store: &Store,
    blobs: &[Digest],
    is_asked: impl Fn(&Digest) -> bool,
) -> Vec<Digest> {
    let mut said = Vec::new();
    for digest in blobs {
        let bytes = store.read_blob(digest, MANIFEST_BYTES_MAX as u64);
        let document = bytes
            .ok()
            .and_then(|bytes| Document::parse(&bytes, None).ok());
        if let Some(Document::Manifest(manifest)) = document
            && manifest.artifact_type.as_deref() == Some(ARTIFACT)
            && manifest
                .subject
                .as_ref()
                .is_some_and(|about| is_asked(&about.digest))
        {
            said.extend(manifest.parts().map(|part| part.digest.clone()));
            said.push(digest.clone());
        }
    }
    said
}

fn encode(value: &Value) -> Result<Vec<u8>, EngineError> {
    serde_json::to_vec(value).map_err(|error| text("write an attestation", &error))
}
