//! What an image consists of: SPDX 2.3.
//!
//! Files are read through descriptors beneath the image's root, where no link leads out, nothing but regular
//! files is opened, and each list has a limit. What could not be read is told, and stands in the document.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use rustix::fs::FileType;
use rustix::io::Errno;
use serde_json::{Value, json};
use sys::rootfs::Dir;
use types::digest::Digest;

use super::{locks, packages};

const PACKAGES_MAX: usize = 200_000;
/// A name or version may be so long.
pub(super) const WORD_BYTES_MAX: usize = 1024;
/// Directories are looked into so deep, and so many in all.
const DEPTH_MAX: usize = 64;
const DIRECTORIES_MAX: usize = 200_000;
const LOCK_FILES_MAX: usize = 10_000;
/// What could not be read is told so often.
const LEFT_OUT_MAX: usize = 100;

/// A package.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Package {
    name: String,
    version: String,
    /// Its package URL.
    pub(super) url: String,
    /// The list that names it.
    list: String,
}

impl Package {
    pub(super) fn new(name: &str, version: &str, url: String, list: &str) -> Self {
        Self {
            name: name.to_owned(),
            version: version.to_owned(),
            url,
            list: list.to_owned(),
        }
    }
}

/// What was found, and what may be missing.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) packages: Vec<Package>,
    pub(super) left_out: Vec<String>,
    seen: BTreeSet<String>,
}

impl Found {
    /// Adds a package, once.
    pub(super) fn add(&mut self, package: Package) {
        if package.name.len() > WORD_BYTES_MAX || package.version.len() > WORD_BYTES_MAX {
            self.leave_out(format!(
                "{}: a name of more than {WORD_BYTES_MAX} bytes",
                package.list
            ));
        } else if self.packages.len() >= PACKAGES_MAX {
            self.leave_out(format!("packages beyond the first {PACKAGES_MAX}"));
        } else if self.seen.insert(package.url.clone()) {
            self.packages.push(package);
        }
    }

    pub(super) fn leave_out(&mut self, text: String) {
        if self.left_out.len() < LEFT_OUT_MAX && !self.left_out.contains(&text) {
            self.left_out.push(text);
        }
    }
}

/// The files of an image.
pub(super) struct Source<'a>(&'a Dir);

impl Source<'_> {
    /// A file; none where there is none.
    pub(super) fn read(&self, path: &str, bytes_max: usize, found: &mut Found) -> Option<Vec<u8>> {
        match self.0.read_limited(Path::new(path), bytes_max) {
            Ok(bytes) => Some(bytes),
            Err(error) => {
                let reason = match error.errno {
                    Errno::NOENT | Errno::NOTDIR => return None,
                    Errno::FBIG => format!("it has more than {bytes_max} bytes"),
                    Errno::INVAL => "it is no regular file".to_owned(),
                    errno => errno.to_string(),
                };
                found.leave_out(format!("{path}: {reason}"));
                None
            }
        }
    }

    /// The names in a directory in their order; none where there is none.
    pub(super) fn names(&self, path: &str, names_max: usize, found: &mut Found) -> Vec<String> {
        let Ok(items) = self.0.read_dir(Path::new(path)) else {
            return Vec::new();
        };
        let names = items
            .into_iter()
            .filter_map(|item| item.name.into_string().ok());
        let mut names: Vec<String> = names.collect();
        names.sort_unstable();
        if names.len() > names_max && names_max > 1 {
            found.leave_out(format!("{path}: files beyond the first {names_max}"));
        }
        names.truncate(names_max);
        names
    }
}

/// All packages of an image.
pub(super) fn find(root: &Dir) -> Found {
    let mut found = Found::default();
    let source = Source(root);
    packages::find(&source, &mut found);
    for path in lock_files(root, &mut found) {
        let Some(reader) = locks::reader(&path) else {
            continue;
        };
        if let Some(bytes) = source.read(&path, locks::LOCK_BYTES_MAX, &mut found) {
            reader(&String::from_utf8_lossy(&bytes), &path, &mut found);
        }
    }
    found.packages.sort_unstable();
    found
}

/// The paths of lock files, links not followed, in order of their directories.
fn lock_files(root: &Dir, found: &mut Found) -> Vec<String> {
    let mut files = Vec::new();
    let mut pending = vec![(PathBuf::from("/"), 0)];
    let mut directories = 0;
    while let Some((path, depth)) = pending.pop() {
        directories += 1;
        if depth > DEPTH_MAX || directories > DIRECTORIES_MAX {
            found.leave_out(format!(
                "{}: too deep, or too many directories",
                path.display()
            ));
            if directories > DIRECTORIES_MAX {
                break;
            }
            continue;
        }
        let Ok(mut items) = root.read_dir(&path) else {
            found.leave_out(format!("{}: it cannot be listed", path.display()));
            continue;
        };
        items.sort_unstable_by(|one, other| other.name.cmp(&one.name));
        for item in items {
            let at = path.join(&item.name);
            if item.kind == FileType::Directory {
                pending.push((at, depth + 1));
            } else if item.kind == FileType::RegularFile
                && let Some(text) = at.to_str()
                && locks::reader(text).is_some()
            {
                files.push(text.to_owned());
            }
        }
        if files.len() > LOCK_FILES_MAX {
            found.leave_out(format!("lock files beyond the first {LOCK_FILES_MAX}"));
            files.truncate(LOCK_FILES_MAX);
            break;
        }
    }
    files
}

/// The document: the image, and that it contains each of the packages.
pub(super) fn document(found: &Found, name: &str, manifest: &Digest, created: &str) -> Value {
    let mut packages = vec![json!({
        "SPDXID": "SPDXRef-Image",
        "name": name,
        "versionInfo": manifest,
        "primaryPackagePurpose": "CONTAINER",
        "downloadLocation": "NOASSERTION",
        "filesAnalyzed": false,
        "licenseConcluded": "NOASSERTION",
        "licenseDeclared": "NOASSERTION",
        "copyrightText": "NOASSERTION",
    })];
    let mut relations = vec![relation("SPDXRef-DOCUMENT", "DESCRIBES", "SPDXRef-Image")];
    for (number, package) in found.packages.iter().enumerate() {
        let id = format!("SPDXRef-Package-{number}");
        relations.push(relation("SPDXRef-Image", "CONTAINS", &id));
        packages.push(json!({
            "SPDXID": id,
            "name": package.name,
            "versionInfo": package.version,
            "downloadLocation": "NOASSERTION",
            "filesAnalyzed": false,
            "licenseConcluded": "NOASSERTION",
            "licenseDeclared": "NOASSERTION",
            "copyrightText": "NOASSERTION",
            "sourceInfo": format!("named by {}", package.list),
            "externalRefs": [{
                "referenceCategory": "PACKAGE-MANAGER",
                "referenceType": "purl",
                "referenceLocator": package.url,
            }],
        }));
    }
    let mut creation = json!({
        "created": created,
        "creators": [format!("Tool: caisson-{}", env!("CARGO_PKG_VERSION"))],
    });
    if !found.left_out.is_empty() {
        creation["comment"] = json!(format!("not complete: {}", found.left_out.join("; ")));
    }
    json!({
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": "SPDXRef-DOCUMENT",
        "name": name,
        "documentNamespace": format!("https://spdx.org/spdxdocs/image-{}", manifest.hex()),
        "creationInfo": creation,
        "packages": packages,
        "relationships": relations,
    })
}

fn relation(from: &str, kind: &str, to: &str) -> Value {
    json!({ "spdxElementId": from, "relationshipType": kind, "relatedSpdxElement": to })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An image that wants to have the host's files in its list, or to block its reader.
    #[test]
    fn hostile_lists_lead_nowhere() {
        let place = tempfile::tempdir().unwrap();
        let outside = place.path().join("outside");
        std::fs::write(&outside, "P:host\nV:1\n\n").unwrap();
        let root = place.path().join("root");
        std::fs::create_dir_all(root.join("var/lib/dpkg")).unwrap();
        std::fs::create_dir_all(root.join("lib/apk/db")).unwrap();
        std::fs::create_dir_all(root.join("app")).unwrap();
        std::os::unix::fs::symlink(&outside, root.join("lib/apk/db/installed")).unwrap();
        std::os::unix::fs::symlink("../../../../../../outside", root.join("app/Cargo.lock"))
            .unwrap();
        std::os::unix::fs::symlink("/", root.join("app/loop")).unwrap();
        let mode = rustix::fs::Mode::from_raw_mode(0o644);
        let pipe = root.join("var/lib/dpkg/status");
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, FileType::Fifo, mode, 0).unwrap();
        std::fs::write(root.join("app/go.sum"), "a v1 h1:x=\n").unwrap();
        let found = find(&Dir::open(&root).unwrap());
        let urls: Vec<&str> = found
            .packages
            .iter()
            .map(|package| package.url.as_str())
            .collect();
        assert_eq!(urls, ["pkg:golang/a@v1"]);
        assert_eq!(
            found.left_out,
            ["/var/lib/dpkg/status: it is no regular file"]
        );
        let digest = Digest::parse(&format!("sha256:{}", "a".repeat(64))).unwrap();
        let document = document(&found, "x", &digest, "2020-01-01T00:00:00Z");
        assert_eq!(document["packages"][1]["name"], "a");
        assert!(
            document["creationInfo"]["comment"]
                .to_string()
                .contains("no regular file")
        );
    }

    #[test]
    fn a_package_of_endless_name_is_left_out_and_told() {
        let mut found = Found::default();
        found.add(Package::new(&"n".repeat(5000), "1", String::new(), "/l"));
        assert!(found.packages.is_empty() && found.left_out[0].starts_with("/l: "));
    }
}
