//! Who may know whom: the table of allowed edges, and crates that some rooms must not reach.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Context;

use crate::house::metadata;

/// A room and the rooms it may depend on.
const EDGES: [(&str, &[&str]); 9] = [
    ("caisson-types", &[]),
    ("caisson-sys", &[]),
    ("caisson-storage", &["types", "sys"]),
    ("caisson-runtime", &["types", "sys"]),
    ("caisson-monitor", &["types", "sys", "runtime"]),
    ("caisson-registry", &["types", "storage"]),
    (
        "caisson-engine",
        &["types", "sys", "storage", "runtime", "monitor", "registry"],
    ),
    ("caisson-api", &["types", "engine"]),
    (
        "caisson",
        &["types", "engine", "api", "registry", "monitor", "runtime"],
    ),
];

/// Rooms on the path of `run`, and what they must not reach.
const LEAN: [&str; 4] = [
    "caisson-types",
    "caisson-sys",
    "caisson-runtime",
    "caisson-monitor",
];
const BANNED: [&str; 7] = [
    "tokio",
    "hyper",
    "reqwest",
    "rustls",
    "ureq",
    "axum",
    "openssl-sys",
];

/// Licences that fit ours.
const LICENCES: [&str; 13] = [
    "MIT",
    "Apache-2.0",
    "ISC",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "0BSD",
    "Unlicense",
    "Zlib",
    "BSL-1.0",
    "CC0-1.0",
    "bzip2-1.0.6",
    "CDLA-Permissive-2.0",
    "Unicode-3.0",
];

/// Holds the graph of crates against the rules.
pub(crate) fn check(faults: &mut Vec<String>) -> anyhow::Result<()> {
    let metadata = metadata()?;
    let packages = metadata["packages"]
        .as_array()
        .context("cargo metadata names no packages")?;
    for (room, allowed) in EDGES {
        let Some(package) = packages.iter().find(|package| package["name"] == room) else {
            faults.push(format!("room {room} is missing"));
            continue;
        };
        for dependency in package["dependencies"].as_array().into_iter().flatten() {
            let name = dependency["name"].as_str().unwrap_or("");
            let is_normal = dependency["kind"].is_null();
            let Some(short) = name.strip_prefix("caisson-") else {
                continue;
            };
            if is_normal && !allowed.contains(&short) {
                faults.push(format!("{room} must not depend on {name}"));
            }
        }
    }
    check_reach(&metadata, faults)?;
    for package in packages {
        let licence = package["license"].as_str().unwrap_or("");
        let fits = licence
            .split([' ', '/', '(', ')'])
            .any(|word| LICENCES.contains(&word));
        if !fits {
            faults.push(format!(
                "{}: licence {licence:?} is not on the list",
                package["name"]
            ));
        }
    }
    Ok(())
}

fn check_reach(metadata: &serde_json::Value, faults: &mut Vec<String>) -> anyhow::Result<()> {
    let nodes = metadata["resolve"]["nodes"]
        .as_array()
        .context("cargo metadata has no graph")?;
    let name_of: BTreeMap<&str, &str> = metadata["packages"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|package| Some((package["id"].as_str()?, package["name"].as_str()?)))
        .collect();
    let mut edges: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for node in nodes {
        let id = node["id"].as_str().unwrap_or("");
        let normal = node["deps"].as_array().into_iter().flatten().filter(|dep| {
            dep["dep_kinds"]
                .as_array()
                .into_iter()
                .flatten()
                .any(|kind| kind["kind"].is_null())
        });
        edges.insert(id, normal.filter_map(|dep| dep["pkg"].as_str()).collect());
    }
    for room in LEAN {
        let Some((start, _)) = name_of.iter().find(|(_, name)| **name == room) else {
            continue;
        };
        let (mut seen, mut pending) = (BTreeSet::new(), vec![*start]);
        while let Some(id) = pending.pop() {
            if seen.insert(id) {
                pending.extend(edges.get(id).into_iter().flatten().copied());
            }
        }
        for id in seen {
            let name = name_of.get(id).copied().unwrap_or("");
            if BANNED.contains(&name) {
                faults.push(format!("{room} must not reach {name}"));
            }
        }
    }
    Ok(())
}
