//! Recorded answers of the reference implementations, and the files that they are about. This one
//! file is a module of every crate that is held to them (`#[path]`), so that none of them depends on
//! the rest of this one.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "each crate uses its part of it, in tests"
)]

use std::path::{Path, PathBuf};

use serde_json::Value;

/// A file or folder of the corpus, or nothing (said so) where the corpus is not at hand. It is in
/// `shared/corpus` beside the repository, or where `CAISSON_CORPUS` says.
pub fn corpus(name: &str) -> Option<PathBuf> {
    let given = std::env::var_os("CAISSON_CORPUS").map(PathBuf::from);
    let above = || {
        let mut folders = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors();
        folders.find_map(|folder| {
            let beside = folder.join("shared/corpus");
            beside.is_dir().then_some(beside)
        })
    };
    let Some(folder) = given.or_else(above) else {
        eprintln!("skipped: no corpus");
        return None;
    };
    Some(folder.join(name))
}

/// The cases of one golden file, a line each, or nothing.
pub fn read(name: &str) -> Vec<Value> {
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
pub fn strings(value: &Value) -> Vec<String> {
    let strings = value.as_array().into_iter().flatten();
    strings
        .map(|string| string.as_str().unwrap().to_owned())
        .collect()
}
