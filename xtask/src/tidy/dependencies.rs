//! Crates of others: which rooms may reach what, licences, duplicates.
//!
//! The policy is `deny.toml`, which cargo-deny reads too; nobody has to install that.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::Context;
use serde_json::Value;

use super::edges;
use crate::house;

/// Async runtimes, HTTP, TLS: only these rooms, and who stands above them, may reach them.
const HEAVY: [&str; 12] = [
    "async-std",
    "axum",
    "hyper",
    "native-tls",
    "openssl",
    "openssl-sys",
    "reqwest",
    "rustls",
    "smol",
    "tokio",
    "ureq",
    "h2",
];
const MAY_REACH_HEAVY: [&str; 5] = [
    "caisson-registry",
    "caisson-engine",
    "caisson-api",
    "caisson",
    // Tests start a server of S3.
    "caisson-testkit",
];

/// Checks all of it.
pub(crate) fn check(metadata: &Value, faults: &mut Vec<String>) -> anyhow::Result<()> {
    let policy = Policy::parse(&house::read(Path::new("deny.toml"))?);
    check_reach(metadata, faults)?;
    check_rust_versions(metadata, faults)?;
    check_licences(metadata, &policy, faults)?;
    check_duplicates(metadata, &policy, faults)
}

/// What we take from `deny.toml`.
#[derive(Debug, Default, PartialEq, Eq)]
struct Policy {
    licences: BTreeSet<String>,
    duplicates: BTreeSet<String>,
    banned: BTreeSet<String>,
}

impl Policy {
    /// Reads the strings of the arrays `allow`, `skip` and `deny`; the file is ours and simple: an
    /// entry a line.
    fn parse(text: &str) -> Self {
        let mut policy = Self::default();
        let mut array = "";
        for line in text
            .lines()
            .map(str::trim)
            .filter(|line| !line.starts_with('#'))
        {
            if let Some((name, value)) = line.split_once('=')
                && value.trim() == "["
            {
                array = match name.trim() {
                    "allow" => "allow",
                    "skip" => "skip",
                    "deny" => "deny",
                    _ => "",
                };
                continue;
            }
            if line.starts_with(']') {
                array = "";
            }
            let Some(word) = line.split('"').nth(1).map(str::to_owned) else {
                continue;
            };
            match array {
                "allow" => policy.licences.insert(word),
                "skip" => policy.duplicates.insert(word),
                "deny" => policy.banned.insert(word),
                _ => false,
            };
        }
        policy
    }
}

/// Every package that a package of ours reaches at run time or in its build script.
fn reached<'a>(metadata: &'a Value, from: &'a str) -> BTreeSet<&'a str> {
    let nodes: BTreeMap<&str, &Value> = metadata["resolve"]["nodes"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|node| Some((node["id"].as_str()?, node)))
        .collect();
    let (mut seen, mut open) = (BTreeSet::new(), vec![from]);
    while let Some(id) = open.pop() {
        if !seen.insert(id) {
            continue;
        }
        let Some(node) = nodes.get(id) else { continue };
        for dependency in node["deps"].as_array().into_iter().flatten() {
            let kinds = dependency["dep_kinds"].as_array();
            // What only tests use is not in the program.
            let counts = kinds.is_none_or(|kinds| kinds.iter().any(|kind| kind["kind"] != "dev"));
            if let (true, Some(id)) = (counts, dependency["pkg"].as_str()) {
                open.push(id);
            }
        }
    }
    seen
}

fn check_reach(metadata: &Value, faults: &mut Vec<String>) -> anyhow::Result<()> {
    let names: BTreeMap<&str, &str> = edges::packages(metadata)?
        .filter_map(|package| Some((package["id"].as_str()?, package["name"].as_str()?)))
        .collect();
    for package in edges::packages(metadata)?.filter(|package| package["source"].is_null()) {
        let name = package["name"].as_str().context("a package has no name")?;
        if MAY_REACH_HEAVY.contains(&name) {
            continue;
        }
        for id in reached(
            metadata,
            package["id"].as_str().context("a package has no id")?,
        ) {
            let to = names.get(id).copied().unwrap_or_default();
            if HEAVY.contains(&to) {
                faults.push(format!(
                    "crate {name} reaches {to}: async runtimes, HTTP and TLS live in registry and api"
                ));
            }
        }
    }
    Ok(())
}

/// The compiler that a package of ours promises is enough for all that it is built from.
fn check_rust_versions(metadata: &Value, faults: &mut Vec<String>) -> anyhow::Result<()> {
    let packages: BTreeMap<&str, &Value> = edges::packages(metadata)?
        .filter_map(|package| Some((package["id"].as_str()?, package)))
        .collect();
    for (id, package) in &packages {
        if !package["source"].is_null() {
            continue;
        }
        let promised = rust_version(package);
        for other in reached(metadata, id) {
            let Some(other) = packages
                .get(other)
                .filter(|one| rust_version(one) > promised)
            else {
                continue;
            };
            faults.push(format!(
                "crate {} promises Rust {}, and {} needs {}",
                package["name"], package["rust_version"], other["name"], other["rust_version"]
            ));
        }
    }
    Ok(())
}

/// The oldest compiler that a package asks for, as numbers.
fn rust_version(package: &Value) -> [u32; 3] {
    let words = package["rust_version"].as_str().unwrap_or_default();
    let mut numbers = words.split('.').map_while(|one| one.parse().ok());
    [(); 3].map(|()| numbers.next().unwrap_or_default())
}

fn check_licences(
    metadata: &Value,
    policy: &Policy,
    faults: &mut Vec<String>,
) -> anyhow::Result<()> {
    for package in edges::packages(metadata)? {
        let name = package["name"].as_str().unwrap_or_default();
        let licence = package["license"].as_str().unwrap_or_default();
        if !is_allowed(licence, &policy.licences) {
            faults.push(format!(
                "crate {name} has the licence {licence:?}, which deny.toml does not allow"
            ));
        }
        if policy.banned.contains(name) {
            faults.push(format!("crate {name} is banned by deny.toml"));
        }
    }
    Ok(())
}

/// Whether an SPDX expression can be met with allowed licences: AND before OR, brackets first, and
/// the old `/` for OR.
fn is_allowed(expression: &str, allowed: &BTreeSet<String>) -> bool {
    let spaced = expression
        .replace('/', " OR ")
        .replace('(', " ( ")
        .replace(')', " ) ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut at = 0;
    let verdict = either(&words, &mut at, allowed);
    verdict && at == words.len()
}

fn either(words: &[&str], at: &mut usize, allowed: &BTreeSet<String>) -> bool {
    let mut verdict = all(words, at, allowed);
    while words.get(*at) == Some(&"OR") {
        *at += 1;
        // Not short-circuited: the words must be walked.
        let other = all(words, at, allowed);
        verdict = verdict || other;
    }
    verdict
}

fn all(words: &[&str], at: &mut usize, allowed: &BTreeSet<String>) -> bool {
    let mut verdict = one(words, at, allowed);
    while words.get(*at) == Some(&"AND") {
        *at += 1;
        let other = one(words, at, allowed);
        verdict = verdict && other;
    }
    verdict
}

fn one(words: &[&str], at: &mut usize, allowed: &BTreeSet<String>) -> bool {
    let Some(word) = words.get(*at) else {
        return false;
    };
    *at += 1;
    if *word == "(" {
        let verdict = either(words, at, allowed);
        let closed = words.get(*at) == Some(&")");
        *at += 1;
        return verdict && closed;
    }
    let mut name = (*word).to_owned();
    if words.get(*at) == Some(&"WITH") {
        name = format!(
            "{name} WITH {}",
            words.get(*at + 1).copied().unwrap_or_default()
        );
        *at += 2;
    }
    allowed.contains(&name)
}

/// Two versions of a crate are listed in `deny.toml` with the reason, or not there.
fn check_duplicates(
    metadata: &Value,
    policy: &Policy,
    faults: &mut Vec<String>,
) -> anyhow::Result<()> {
    let mut versions: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for package in edges::packages(metadata)? {
        let name = package["name"].as_str().unwrap_or_default();
        versions
            .entry(name)
            .or_default()
            .insert(package["version"].as_str().unwrap_or_default());
    }
    for (name, versions) in &versions {
        if versions.len() > 1 && !policy.duplicates.contains(*name) {
            faults.push(format!(
                "crate {name} is there {} times ({versions:?}): bring them together, or list it in deny.toml with the reason",
                versions.len()
            ));
        }
    }
    for name in &policy.duplicates {
        if versions
            .get(name.as_str())
            .is_none_or(|versions| versions.len() < 2)
        {
            faults.push(format!(
                "deny.toml lists {name} as a duplicate, and it is none (any more)"
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn licences_are_judged_as_expressions() {
        let allowed: BTreeSet<String> =
            ["MIT", "ISC", "Apache-2.0", "Apache-2.0 WITH LLVM-exception"]
                .map(String::from)
                .into();
        for (expression, verdict) in [
            ("MIT", true),
            ("MIT/Apache-2.0", true),
            ("GPL-3.0-only", false),
            ("GPL-3.0-only OR MIT", true),
            ("GPL-3.0-only AND MIT", false),
            ("Apache-2.0 AND ISC", true),
            ("(MIT OR GPL-2.0) AND Unicode-3.0", false),
            ("(GPL-2.0 OR MIT) AND ISC", true),
            ("Apache-2.0 WITH LLVM-exception", true),
            ("MIT WITH GPL-exception", false),
            ("MIT OR GPL-3.0-only AND ISC", true),
            ("", false),
            ("(MIT", false),
        ] {
            assert_eq!(is_allowed(expression, &allowed), verdict, "{expression}");
        }
    }

    #[test]
    fn the_policy_is_read_from_the_file_of_cargo_deny() {
        let policy = Policy::parse(
            "[licenses]\nallow = [\n  \"MIT\",\n  # \"GPL-3.0\",\n]\n[bans]\nskip = [\n  { name = \"winnow\", reason = \"x\" },\n]\ndeny = [\n  { name = \"nix\" },\n]\n",
        );
        assert_eq!(policy.licences.iter().collect::<Vec<_>>(), ["MIT"]);
        assert_eq!(policy.banned.iter().collect::<Vec<_>>(), ["nix"]);
        let names: Vec<&String> = policy.duplicates.iter().collect();
        assert_eq!(names, ["winnow"]);
    }

    #[test]
    fn a_dependency_that_needs_a_newer_compiler_is_told() {
        let metadata = |ours: &str| {
            serde_json::json!({
                "packages": [
                    { "id": "a", "name": "a", "source": null, "rust_version": ours },
                    { "id": "b", "name": "b", "source": "crates.io", "rust_version": "1.89.0" },
                ],
                "resolve": { "nodes": [
                    { "id": "a", "deps": [{ "pkg": "b", "dep_kinds": [{ "kind": null }] }] } ] },
            })
        };
        let told = |ours| {
            let mut faults = Vec::new();
            check_rust_versions(&metadata(ours), &mut faults).expect("packages");
            faults
        };
        assert_eq!(told("1.89"), Vec::<String>::new());
        assert_eq!(told("1.100"), Vec::<String>::new());
        let words = r#"crate "a" promises Rust "1.85", and "b" needs "1.89.0""#;
        assert_eq!(told("1.85"), [words]);
    }

    #[test]
    fn reach_ignores_what_only_tests_use() {
        let metadata = serde_json::json!({ "resolve": { "nodes": [
            { "id": "a", "deps": [
                { "pkg": "b", "dep_kinds": [{ "kind": null }] },
                { "pkg": "t", "dep_kinds": [{ "kind": "dev" }] } ] },
            { "id": "b", "deps": [{ "pkg": "c", "dep_kinds": [{ "kind": "build" }] }] },
        ] } });
        assert_eq!(
            reached(&metadata, "a").into_iter().collect::<Vec<_>>(),
            ["a", "b", "c"]
        );
    }
}
