//! Keys: by what a step is known to the cache.
//!
//! `key = digest(definition, what its root is, what it takes from its other inputs)`. Roots and what is
//! taken are known by content, so that a step that came to the same files by another way, on another
//! machine, or from touched files, is found all the same.

use serde_json::Value;
use sha2::{Digest as _, Sha256};
use types::digest::Digest;

use crate::graph::{Op, Step};

/// Changes with the meaning of definitions, so that an older cache is not asked.
const VERSION: &str = "caisson build 1";

/// The definition of an operation: a document without the numbers of other steps.
pub fn definition(op: &Op) -> Value {
    serde_json::to_value(op).expect("invariant: operations have a JSON form")
}

/// The digest of parts, each with its length, so that none runs into the next.
pub fn digest_of_parts<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> Digest {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update((part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    Digest::sha256_from_bytes(&hasher.finalize().into())
}

/// The key of a step: its definition, the identity of its root, the digests of what it selects.
pub fn step_key(definition: &Value, root: &Digest, selected: &[Digest]) -> Digest {
    let text = definition.to_string();
    let parts = [
        VERSION.as_bytes(),
        text.as_bytes(),
        root.as_str().as_bytes(),
    ];
    let selected = selected.iter().map(|digest| digest.as_str().as_bytes());
    digest_of_parts(parts.into_iter().chain(selected))
}

/// Whether two steps are in the same place of their files: for comparing a build with the last one.
pub(crate) fn kind(step: &Step) -> &'static str {
    match &step.op {
        Op::Scratch => "scratch",
        Op::Image(_) => "image",
        Op::Context(_) => "context",
        Op::Git(_) => "git",
        Op::Http(_) => "http",
        Op::Run(_) => "run",
        Op::Copy(_) => "copy",
        Op::MakeDirectory(_) => "make_directory",
    }
}
