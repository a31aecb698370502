//! The packages that a distribution's tools put into a root file system, from their own lists.

use super::purl::quoted;
use super::rpm;
use super::sbom::{Found, Package, Source};

/// Debian's list, and the directory of one file per package that images without dpkg have.
const DPKG: &str = "/var/lib/dpkg/status";
const DPKG_DIRECTORY: &str = "/var/lib/dpkg/status.d";
const APK: [&str; 2] = ["/lib/apk/db/installed", "/usr/lib/apk/db/installed"];
const OS_RELEASE: [&str; 2] = ["/etc/os-release", "/usr/lib/os-release"];
/// The list of a large desktop has 20 MiB.
const LIST_BYTES_MAX: usize = 64 << 20;
const OS_RELEASE_BYTES_MAX: usize = 64 << 10;
const LISTS_MAX: usize = 10_000;

/// What the system calls itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct System {
    id: String,
    version: String,
}

impl System {
    fn of(source: &Source<'_>, found: &mut Found) -> Self {
        let bytes = OS_RELEASE
            .iter()
            .find_map(|path| source.read(path, OS_RELEASE_BYTES_MAX, found));
        let text = String::from_utf8_lossy(&bytes.unwrap_or_default()).into_owned();
        let value = |key: &str| {
            let mut lines = text.lines().filter_map(|line| line.split_once('='));
            let found = lines.find(|(name, _)| *name == key);
            found.map_or(String::new(), |(_, value)| {
                value.trim_matches(['"', '\'']).to_owned()
            })
        };
        Self {
            id: value("ID"),
            version: value("VERSION_ID"),
        }
    }

    /// The URL of one of its packages; `vendor` is who it is where the system does not say.
    fn url(
        &self,
        kind: &str,
        vendor: &str,
        name: &str,
        version: &str,
        architecture: &str,
    ) -> String {
        let vendor = match self.id.as_str() {
            "" => vendor,
            id => id,
        };
        let mut all = Vec::new();
        if !architecture.is_empty() {
            all.push(format!("arch={}", quoted(architecture, "")));
        }
        if !self.id.is_empty() {
            let dash = if self.version.is_empty() { "" } else { "-" };
            let name = format!("{}{dash}{}", self.id, self.version);
            all.push(format!("distro={}", quoted(&name, "")));
        }
        let qualifiers = match all.is_empty() {
            true => String::new(),
            false => format!("?{}", all.join("&")),
        };
        let (vendor, name) = (quoted(vendor, ""), quoted(name, ""));
        format!(
            "pkg:{kind}/{vendor}/{name}@{}{qualifiers}",
            quoted(version, "")
        )
    }
}

/// All of them.
pub(super) fn find(source: &Source<'_>, found: &mut Found) {
    let system = System::of(source, found);
    if let Some(bytes) = source.read(DPKG, LIST_BYTES_MAX, found) {
        debian(&String::from_utf8_lossy(&bytes), DPKG, &system, found);
    }
    for name in source.names(DPKG_DIRECTORY, LISTS_MAX, found) {
        if name.ends_with(".md5sums") {
            continue;
        }
        let path = format!("{DPKG_DIRECTORY}/{name}");
        if let Some(bytes) = source.read(&path, LIST_BYTES_MAX, found) {
            debian(&String::from_utf8_lossy(&bytes), &path, &system, found);
        }
    }
    for path in APK {
        if let Some(bytes) = source.read(path, LIST_BYTES_MAX, found) {
            alpine(&String::from_utf8_lossy(&bytes), path, &system, found);
        }
    }
    rpm::find(source, found, |package, path, found| {
        found.add(red_hat(&package, path, &system));
    });
}

/// `Key: value` lines in paragraphs.
fn debian(text: &str, path: &str, system: &System, found: &mut Found) {
    let (mut name, mut version, mut architecture, mut is_there) = ("", "", "", true);
    for line in text.lines().chain([""]) {
        if line.is_empty() {
            if !name.is_empty() && is_there {
                let url = system.url("deb", "debian", name, version, architecture);
                found.add(Package::new(name, version, url, path));
            }
            (name, version, architecture, is_there) = ("", "", "", true);
            continue;
        }
        let Some((key, value)) = line.split_once(':') else {
            continue;
        };
        match key {
            "Package" => name = value.trim(),
            "Version" => version = value.trim(),
            "Architecture" => architecture = value.trim(),
            // `deinstall ok config-files` is what was removed.
            "Status" => is_there = value.trim().ends_with(" installed"),
            _ => {}
        }
    }
}

/// `K:value` lines in paragraphs.
fn alpine(text: &str, path: &str, system: &System, found: &mut Found) {
    let (mut name, mut version, mut architecture) = ("", "", "");
    for line in text.lines().chain([""]) {
        if line.is_empty() {
            if !name.is_empty() {
                let url = system.url("apk", "alpine", name, version, architecture);
                found.add(Package::new(name, version, url, path));
            }
            (name, version, architecture) = ("", "", "");
        } else if let Some(value) = line.strip_prefix("P:") {
            name = value;
        } else if let Some(value) = line.strip_prefix("V:") {
            version = value;
        } else if let Some(value) = line.strip_prefix("A:") {
            architecture = value;
        }
    }
}

/// The epoch is part of what rpm compares, but no part of the URL's version.
fn red_hat(package: &rpm::Installed, path: &str, system: &System) -> Package {
    let (name, version) = (&package.name, &package.version);
    let mut url = system.url("rpm", "redhat", name, version, &package.architecture);
    let Some(epoch) = package.epoch else {
        return Package::new(name, version, url, path);
    };
    let separator = if url.contains('?') { '&' } else { '?' };
    url.push_str(&format!("{separator}epoch={epoch}"));
    Package::new(name, &format!("{epoch}:{version}"), url, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn urls(found: &Found) -> Vec<&str> {
        found
            .packages
            .iter()
            .map(|package| package.url.as_str())
            .collect()
    }

    #[test]
    fn what_dpkg_removed_is_not_there() {
        let text = "Package: a\nStatus: install ok installed\nArchitecture: amd64\nVersion: 1:2.0~rc+b1\n\
                    Description: x\n Package: no\n\nPackage: gone\nStatus: deinstall ok config-files\nVersion: 1\n\n\
                    Package: bare\nVersion: 3";
        let system = System {
            id: "debian".into(),
            version: "12".into(),
        };
        let mut found = Found::default();
        debian(text, DPKG, &system, &mut found);
        assert_eq!(
            urls(&found),
            [
                "pkg:deb/debian/a@1%3A2.0~rc%2Bb1?arch=amd64&distro=debian-12",
                "pkg:deb/debian/bare@3?distro=debian-12"
            ]
        );
    }

    #[test]
    fn apks_list_is_read() {
        let mut found = Found::default();
        alpine(
            "C:Q1\nP:musl\nV:1.2.4-r2\nA:x86_64\nF:lib\nR:x\n\nP:zlib\nV:1\n",
            APK[0],
            &System::default(),
            &mut found,
        );
        assert_eq!(
            urls(&found),
            [
                "pkg:apk/alpine/musl@1.2.4-r2?arch=x86_64",
                "pkg:apk/alpine/zlib@1"
            ]
        );
    }

    #[test]
    fn rpms_epochs_stand_beside_the_version() {
        let package = rpm::Installed {
            name: "bind".into(),
            version: "9.1-2.fc40".into(),
            epoch: Some(32),
            architecture: "x86_64".into(),
        };
        let mut found = Found::default();
        let system = System {
            id: "fedora".into(),
            version: "40".into(),
        };
        found.add(red_hat(&package, "/l", &system));
        let bare = rpm::Installed {
            epoch: None,
            architecture: String::new(),
            ..package
        };
        found.add(red_hat(&bare, "/l", &System::default()));
        assert_eq!(
            urls(&found),
            [
                "pkg:rpm/fedora/bind@9.1-2.fc40?arch=x86_64&distro=fedora-40&epoch=32",
                "pkg:rpm/redhat/bind@9.1-2.fc40"
            ]
        );
    }
}
