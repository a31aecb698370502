//! Who may depend on whom, and where `unsafe` may be.
//!
//! The table is that of the design, section 2. A new edge is a design decision: it gets its own
//! commit and a page in `docs/design/`.

use std::path::Path;

use anyhow::Context;
use serde_json::Value;

use crate::house;

/// A room and the rooms that it may know. Tools may know none.
const ALLOWED: [(&str, &[&str]); 15] = [
    ("caisson-types", &[]),
    ("caisson-sys", &[]),
    ("caisson-compose", &["caisson-types"]),
    ("caisson-build", &["caisson-types", "caisson-sys"]),
    ("caisson-storage", &["caisson-types", "caisson-sys"]),
    ("caisson-network", &["caisson-types", "caisson-sys"]),
    ("caisson-runtime", &["caisson-types", "caisson-sys"]),
    (
        "caisson-monitor",
        &[
            "caisson-types",
            "caisson-sys",
            "caisson-runtime",
            "caisson-network",
        ],
    ),
    (
        "caisson-registry",
        &["caisson-types", "caisson-sys", "caisson-storage"],
    ),
    (
        "caisson-engine",
        &[
            "caisson-types",
            "caisson-sys",
            "caisson-storage",
            "caisson-network",
            "caisson-runtime",
            "caisson-monitor",
            "caisson-registry",
            "caisson-build",
            "caisson-compose",
        ],
    ),
    ("caisson-api", &["caisson-types", "caisson-engine"]),
    (
        "caisson",
        &[
            "caisson-types",
            "caisson-engine",
            "caisson-api",
            "caisson-registry",
            "caisson-monitor",
            "caisson-runtime",
        ],
    ),
    ("caisson-testkit", &[]),
    ("caisson-tests", &["caisson-sys", "caisson-testkit"]),
    ("xtask", &[]),
];

/// Edges between our crates, also those of tests and build scripts.
pub(crate) fn check(metadata: &Value, faults: &mut Vec<String>) -> anyhow::Result<()> {
    let ours: Vec<&Value> = packages(metadata)?
        .filter(|package| package["source"].is_null())
        .collect();
    let names: Vec<&str> = ours
        .iter()
        .filter_map(|package| package["name"].as_str())
        .collect();
    for package in &ours {
        let name = package["name"].as_str().context("a package has no name")?;
        let Some((_, allowed)) = ALLOWED.iter().find(|(room, _)| *room == name) else {
            faults.push(format!(
                "crate {name} is not in the table of edges (xtask/src/tidy/edges.rs)"
            ));
            continue;
        };
        for dependency in package["dependencies"].as_array().into_iter().flatten() {
            let to = dependency["name"].as_str().unwrap_or_default();
            if names.contains(&to) && !allowed.contains(&to) {
                faults.push(format!(
                    "edge {name} -> {to} is not allowed (design, section 2)"
                ));
            }
        }
    }
    Ok(())
}

/// Every crate takes the workspace's lints, which forbid `unsafe`; only `sys` has its own.
pub(crate) fn check_lints(faults: &mut Vec<String>) -> anyhow::Result<()> {
    let workspace = house::read(Path::new("Cargo.toml"))?;
    if !workspace
        .lines()
        .any(|line| line.trim() == "unsafe_code = \"forbid\"")
    {
        faults.push("Cargo.toml: the workspace's lints must forbid unsafe_code".to_owned());
    }
    for manifest in manifests()? {
        if manifest == "crates/sys/Cargo.toml" {
            continue;
        }
        let text = house::read(Path::new(&manifest))?;
        let takes = text
            .split("[lints]")
            .nth(1)
            .is_some_and(|rest| rest.trim_start().starts_with("workspace = true"));
        if !takes {
            faults.push(format!("{manifest}: must say [lints] workspace = true"));
        }
    }
    Ok(())
}

fn manifests() -> anyhow::Result<Vec<String>> {
    let mut found: Vec<String> = ["xtask", "testkit", "tests"]
        .map(|name| format!("{name}/Cargo.toml"))
        .into();
    for entry in std::fs::read_dir(house::root().join("crates")).context("cannot list crates")? {
        found.push(format!(
            "crates/{}/Cargo.toml",
            entry?.file_name().to_string_lossy()
        ));
    }
    found.sort();
    Ok(found)
}

/// All packages of the metadata.
pub(crate) fn packages(metadata: &Value) -> anyhow::Result<impl Iterator<Item = &Value>> {
    Ok(metadata["packages"]
        .as_array()
        .context("metadata has no packages")?
        .iter())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(name: &str, to: &[&str]) -> Value {
        let dependencies: Vec<Value> = to
            .iter()
            .map(|to| serde_json::json!({ "name": to }))
            .collect();
        serde_json::json!({ "name": name, "source": null, "dependencies": dependencies })
    }

    #[test]
    fn an_edge_that_the_table_does_not_have_is_named() {
        let packages = vec![
            package("caisson-types", &["caisson-sys", "serde"]),
            package("caisson-sys", &["libc"]),
            package("caisson-storage", &["caisson-types", "caisson-sys"]),
            package("caisson-attic", &[]),
        ];
        let metadata = serde_json::json!({ "packages": packages });
        let mut faults = Vec::new();
        check(&metadata, &mut faults).unwrap();
        assert_eq!(faults.len(), 2, "{faults:?}");
        assert!(faults[0].contains("caisson-types -> caisson-sys"));
        assert!(faults[1].contains("caisson-attic"));
    }
}
