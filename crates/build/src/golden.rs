//! Reads recorded answers of the reference implementations for the tests of this crate.

use std::path::{Path, PathBuf};

use serde_json::Value;

/// A file or folder of the corpus, or nothing (said so) where the corpus is not at hand. It is
/// beside the repository, or where `CAISSON_CORPUS` says.
pub(crate) fn corpus(name: &str) -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/corpus");
    let folder = std::env::var_os("CAISSON_CORPUS").map_or(beside, PathBuf::from);
    if !folder.is_dir() {
        eprintln!("skipped: no corpus");
        return None;
    }
    Some(folder.join(name))
}

/// The lines of one golden file, or nothing.
pub(crate) fn read(name: &str) -> Vec<Value> {
    let Some(path) = corpus(&format!("golden/{name}")) else {
        return Vec::new();
    };
    let text = std::fs::read_to_string(path).unwrap();
    let cases: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert!(!cases.is_empty(), "{name} is empty");
    cases
}

/// The strings of an array; `null` has none.
pub(crate) fn strings(value: &Value) -> Vec<String> {
    let strings = value.as_array().into_iter().flatten();
    strings
        .map(|string| string.as_str().unwrap().to_owned())
        .collect()
}
