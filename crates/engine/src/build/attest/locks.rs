//! What the package managers of languages say, in the files that they lock versions with.

use serde_json::Value;

use super::purl::quoted;
use super::sbom::{Found, Package};

/// A lock file may be so long.
pub(super) const LOCK_BYTES_MAX: usize = 16 << 20;

/// Reads a file whose name promises packages.
type Reader = fn(&str, &str, &mut Found);

/// The reader for a file of this path, if there is one.
pub(super) fn reader(path: &str) -> Option<Reader> {
    let (directory, name) = path.rsplit_once('/').unwrap_or(("", path));
    match name {
        "package-lock.json" | "npm-shrinkwrap.json" => Some(npm),
        "Cargo.lock" => Some(cargo),
        "requirements.txt" => Some(requirements),
        "METADATA" if directory.ends_with(".dist-info") => Some(python),
        "go.mod" => Some(go_mod),
        "go.sum" => Some(go_sum),
        _ => None,
    }
}

fn npm(text: &str, path: &str, found: &mut Found) {
    let document: Value = match types::json::read(text.as_bytes()) {
        Ok(document) => document,
        Err(fault) => return found.left_out.push(format!("{path}: {fault}")),
    };
    let mut add = |name: &str, entry: &Value| {
        if let Some(version) = entry["version"].as_str() {
            let url = format!("pkg:npm/{}@{}", quoted(name, "/"), quoted(version, ""));
            found.add(Package::new(name, version, url, path));
        }
    };
    // Since version 2 a flat list by directory; before a tree by name.
    if let Some(packages) = document["packages"].as_object() {
        for (place, entry) in packages {
            let own = place.rsplit_once("node_modules/").map(|(_, name)| name);
            if let Some(name) = entry["name"].as_str().or(own) {
                add(name, entry);
            }
        }
        return;
    }
    let mut pending = vec![&document];
    while let Some(level) = pending.pop() {
        for (name, entry) in level["dependencies"].as_object().into_iter().flatten() {
            add(name, entry);
            pending.push(entry);
        }
    }
}

/// Cargo writes this file itself, always one key a line.
fn cargo(text: &str, path: &str, found: &mut Found) {
    let value = |line: &str, key: &str| {
        let rest = line.strip_prefix(key)?.strip_prefix(" = \"")?;
        rest.strip_suffix('"').map(str::to_owned)
    };
    let mut name = String::new();
    for line in text.lines() {
        if line == "[[package]]" {
            name.clear();
        } else if let Some(found) = value(line, "name") {
            name = found;
        } else if let Some(version) = value(line, "version")
            && !name.is_empty()
        {
            let url = format!("pkg:cargo/{}@{}", quoted(&name, ""), quoted(&version, ""));
            found.add(Package::new(&name, &version, url, path));
            name.clear();
        }
    }
}

/// Python's names are the same in either case, and with any of `-_.`.
fn python_url(name: &str, version: &str) -> String {
    let name = name.to_lowercase().replace(['_', '.'], "-");
    format!("pkg:pypi/{}@{}", quoted(&name, ""), quoted(version, ""))
}

/// Lines that pin a version; what is open is no package yet.
fn requirements(text: &str, path: &str, found: &mut Found) {
    for line in text.lines() {
        let line = line.split([';', '#']).next().unwrap_or_default();
        let Some((name, version)) = line.split_once("==") else {
            continue;
        };
        let name = name.split('[').next().unwrap_or_default().trim();
        let version = version.trim_start_matches('=').split_whitespace().next();
        let version = version.unwrap_or_default();
        let is_name = |text: &str| {
            let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
            !text.is_empty() && text.bytes().all(is_plain)
        };
        if is_name(name) && !version.is_empty() && !version.contains(['*', ',']) {
            let url = python_url(name, version);
            found.add(Package::new(name, version, url, path));
        }
    }
}

/// Headers as in a mail, up to the first empty line.
fn python(text: &str, path: &str, found: &mut Found) {
    let headers = || text.lines().take_while(|line| !line.is_empty());
    let value = |key: &str| headers().find_map(|line| line.strip_prefix(key));
    if let (Some(name), Some(version)) = (value("Name: "), value("Version: ")) {
        let (name, version) = (name.trim(), version.trim());
        found.add(Package::new(name, version, python_url(name, version), path));
    }
}

fn go(name: &str, version: &str, path: &str, found: &mut Found) {
    let url = format!("pkg:golang/{}@{}", quoted(name, "/"), quoted(version, ""));
    found.add(Package::new(name, version, url, path));
}

fn go_mod(text: &str, path: &str, found: &mut Found) {
    let mut is_block = false;
    for line in text.lines() {
        let line = line.split("//").next().unwrap_or_default().trim();
        if line.starts_with("require") && line.ends_with('(') {
            is_block = true;
        } else if line == ")" {
            is_block = false;
        } else {
            let one = line.strip_prefix("require ");
            let requirement = if is_block { Some(line) } else { one };
            let mut words = requirement.unwrap_or_default().split_whitespace();
            if let (Some(name), Some(version)) = (words.next(), words.next()) {
                go(name, version, path, found);
            }
        }
    }
}

/// Module, version and sum; a version that ends in `/go.mod` was only asked for what it needs.
fn go_sum(text: &str, path: &str, found: &mut Found) {
    for line in text.lines() {
        let mut words = line.split_whitespace();
        if let (Some(name), Some(version), Some(_)) = (words.next(), words.next(), words.next())
            && !version.ends_with("/go.mod")
        {
            go(name, version, path, found);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(path: &str, text: &str) -> Vec<String> {
        let mut found = Found::default();
        reader(path).unwrap()(text, path, &mut found);
        found
            .packages
            .iter()
            .map(|package| package.url.clone())
            .collect()
    }

    #[test]
    fn lock_files_of_each_language_are_read() {
        let npm = r#"{"packages": {"": {"name": "app", "version": "0.1.0"}, "node_modules/@a/b": {"version": "1.0.0"},
            "node_modules/c/node_modules/d": {"version": "2"}, "node_modules/e": {"link": true}}}"#;
        assert_eq!(
            read("/app/package-lock.json", npm),
            ["pkg:npm/app@0.1.0", "pkg:npm/%40a/b@1.0.0", "pkg:npm/d@2"]
        );
        let old =
            r#"{"dependencies": {"a": {"version": "1", "dependencies": {"b": {"version": "2"}}}}}"#;
        assert_eq!(
            read("package-lock.json", old),
            ["pkg:npm/a@1", "pkg:npm/b@2"]
        );
        let cargo = "version = 4\n\n[[package]]\nname = \"a\"\nversion = \"1.0.0\"\ndependencies = [\n \"b\",\n]\n";
        assert_eq!(read("/x/Cargo.lock", cargo), ["pkg:cargo/a@1.0.0"]);
        let pins =
            "Flask[async]==2.0.1 ; python_version > '3'\nopen>=1\n-r other.txt\nany==1.*\n# c==1\n";
        assert_eq!(read("requirements.txt", pins), ["pkg:pypi/flask@2.0.1"]);
        let metadata = "Metadata-Version: 2.1\nName: zope.interface\nVersion: 5.0\n\nName: no\n";
        assert_eq!(
            read("/l/z-5.dist-info/METADATA", metadata),
            ["pkg:pypi/zope-interface@5.0"]
        );
        let go = "module x\ngo 1.20\nrequire a.b/c v1.0.0\nrequire (\n\td.e/f v2.0.0 // indirect\n)\nreplace x => y v1\n";
        assert_eq!(
            read("go.mod", go),
            ["pkg:golang/a.b/c@v1.0.0", "pkg:golang/d.e/f@v2.0.0"]
        );
        assert_eq!(
            read("go.sum", "a v1 h1:x=\nb v1/go.mod h1:y=\n"),
            ["pkg:golang/a@v1"]
        );
        assert!(reader("/x/METADATA").is_none() && reader("/x/README").is_none());
    }

    #[test]
    fn what_is_damaged_is_told() {
        let mut found = Found::default();
        npm("{", "/p", &mut found);
        assert_eq!(
            found.left_out,
            ["/p: line 1, column 1: the text ends too early"]
        );
    }
}
