//! What is in the binary: SPDX 2.3, from cargo's own knowledge and the lock file.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use anyhow::Context;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{archive, hex};
use crate::house::{cargo, host};

/// The document, of the crates that reach the binary.
pub(super) fn document(
    sources: &Path,
    version: &str,
    epoch: u64,
    binary: &Path,
) -> anyhow::Result<String> {
    let metadata = metadata(sources)?;
    let lock =
        std::fs::read_to_string(sources.join("Cargo.lock")).context("cannot read Cargo.lock")?;
    let checksums = checksums(&lock);
    let reached = reached(&metadata)?;
    let mut packages = vec![
        product(version, &std::fs::read(binary)?),
        standard_library()?,
    ];
    let mut relations = vec![relation("SPDXRef-DOCUMENT", "DESCRIBES", "SPDXRef-caisson")];
    relations.push(relation(
        "SPDXRef-caisson",
        "STATIC_LINK",
        "SPDXRef-rust-std",
    ));
    for package in array(&metadata["packages"]) {
        let id = text(&package["id"]);
        // Our own crates have no source elsewhere: they are the product.
        if !reached.contains(id) || package["source"].is_null() {
            continue;
        }
        let described = external(package, &checksums);
        relations.push(relation(
            "SPDXRef-caisson",
            "STATIC_LINK",
            text(&described["SPDXID"]),
        ));
        packages.push(described);
    }
    let sum = hex(&Sha256::digest(lock.as_bytes()));
    let document = json!({
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": "SPDXRef-DOCUMENT",
        "name": format!("caisson-{version}"),
        "documentNamespace": format!("https://spdx.org/spdxdocs/caisson-{version}-{sum}"),
        "creationInfo": {
            "created": archive::date(epoch),
            "creators": ["Tool: cargo-xtask-dist"],
        },
        "packages": packages,
        "relationships": relations,
    });
    Ok(serde_json::to_string_pretty(&document)? + "\n")
}

fn metadata(sources: &Path) -> anyhow::Result<Value> {
    let output = cargo()
        .current_dir(sources)
        .args([
            "metadata",
            "--format-version",
            "1",
            "--locked",
            "--filter-platform",
        ])
        .arg(host()?)
        .output()
        .context("cannot run cargo metadata")?;
    serde_json::from_slice(&output.stdout).context("cannot read the answer of cargo metadata")
}

fn array(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// Ids of the packages that the binary is linked from: neither those of tests nor of build scripts.
fn reached(metadata: &Value) -> anyhow::Result<BTreeSet<String>> {
    let nodes: BTreeMap<&str, &Value> = array(&metadata["resolve"]["nodes"])
        .iter()
        .map(|node| (text(&node["id"]), node))
        .collect();
    let own = array(&metadata["packages"])
        .iter()
        .find(|package| package["name"] == "caisson")
        .context("cargo metadata does not name caisson")?;
    let mut reached = BTreeSet::new();
    let mut open = vec![text(&own["id"])];
    while let Some(id) = open.pop() {
        if !reached.insert(id.to_owned()) {
            continue;
        }
        for dependency in nodes.get(id).map_or(&[][..], |node| array(&node["deps"])) {
            let kinds = array(&dependency["dep_kinds"]);
            if kinds.iter().any(|kind| kind["kind"].is_null()) {
                open.push(text(&dependency["pkg"]));
            }
        }
    }
    Ok(reached)
}

/// SHA-256 by name and version, from the lock file.
fn checksums(lock: &str) -> BTreeMap<(String, String), String> {
    let mut all = BTreeMap::new();
    for block in lock.split("[[package]]").skip(1) {
        let field = |key: &str| {
            let line = block.lines().find_map(|line| line.strip_prefix(key))?;
            Some(line.trim_matches([' ', '=', '"']).to_owned())
        };
        if let (Some(name), Some(version), Some(sum)) =
            (field("name = "), field("version = "), field("checksum = "))
        {
            all.insert((name, version), sum);
        }
    }
    all
}

fn relation(from: &str, kind: &str, to: &str) -> Value {
    json!({"spdxElementId": from, "relationshipType": kind, "relatedSpdxElement": to})
}

fn product(version: &str, binary: &[u8]) -> Value {
    json!({
        "SPDXID": "SPDXRef-caisson",
        "name": "caisson",
        "versionInfo": version,
        "downloadLocation": "NOASSERTION",
        "filesAnalyzed": false,
        "licenseConcluded": "Apache-2.0",
        "licenseDeclared": "Apache-2.0",
        "copyrightText": "NOASSERTION",
        "primaryPackagePurpose": "APPLICATION",
        "checksums": [{"algorithm": "SHA256", "checksumValue": hex(&Sha256::digest(binary))}],
    })
}

fn standard_library() -> anyhow::Result<Value> {
    let output = Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()))
        .arg("-V")
        .output()
        .context("cannot run rustc")?;
    let version = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    Ok(json!({
        "SPDXID": "SPDXRef-rust-std",
        "name": "rust-std",
        "versionInfo": version,
        "downloadLocation": "https://static.rust-lang.org/",
        "filesAnalyzed": false,
        "licenseConcluded": "MIT OR Apache-2.0",
        "licenseDeclared": "MIT OR Apache-2.0",
        "copyrightText": "NOASSERTION",
    }))
}

fn external(package: &Value, checksums: &BTreeMap<(String, String), String>) -> Value {
    let (name, version) = (text(&package["name"]), text(&package["version"]));
    let word = |character: char| match character.is_ascii_alphanumeric() || ".-".contains(character)
    {
        true => character,
        false => '-',
    };
    let id: String = format!("{name}-{version}").chars().map(word).collect();
    // An old spelling of OR.
    let licence = text(&package["license"]).replace('/', " OR ");
    let licence = match licence.is_empty() {
        true => "NOASSERTION".to_owned(),
        false => licence,
    };
    let sum = checksums.get(&(name.to_owned(), version.to_owned()));
    let sums: Vec<Value> = sum
        .iter()
        .map(|sum| json!({"algorithm": "SHA256", "checksumValue": sum}))
        .collect();
    json!({
        "SPDXID": format!("SPDXRef-crate-{id}"),
        "name": name,
        "versionInfo": version,
        "downloadLocation": format!("https://crates.io/api/v1/crates/{name}/{version}/download"),
        "filesAnalyzed": false,
        "licenseConcluded": licence,
        "licenseDeclared": licence,
        "copyrightText": "NOASSERTION",
        "checksums": sums,
        "externalRefs": [{
            "referenceCategory": "PACKAGE-MANAGER",
            "referenceType": "purl",
            "referenceLocator": format!("pkg:cargo/{name}@{version}"),
        }],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_linked_is_listed() {
        let metadata = json!({
            "packages": [{"name": "caisson", "id": "own"}],
            "resolve": {"nodes": [
                {"id": "own", "deps": [
                    {"pkg": "linked", "dep_kinds": [{"kind": null}]},
                    {"pkg": "tests", "dep_kinds": [{"kind": "dev"}]},
                    {"pkg": "script", "dep_kinds": [{"kind": "build"}]},
                ]},
                {"id": "linked", "deps": []},
            ]},
        });
        let found = reached(&metadata).unwrap();
        assert_eq!(found.into_iter().collect::<Vec<_>>(), ["linked", "own"]);
        let lock = "[[package]]\nname = \"a\"\nversion = \"1.2\"\nchecksum = \"ff\"\n\n[[package]]\nname = \"own\"\nversion = \"1\"\n";
        let sums = checksums(lock);
        assert_eq!(sums.len(), 1);
        assert_eq!(sums[&("a".to_owned(), "1.2".to_owned())], "ff");
    }
}
