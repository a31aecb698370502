//! What killed processes left, and what is damaged.

use std::path::{Path, PathBuf};

use storage::StorageError;

use super::{Area, Finding, Remedy, Severity};
use crate::Engine;

const FIX: &str = "caisson doctor --fix";

fn note(text: impl Into<String>) -> Finding {
    Finding::new(Severity::Note, Area::Leftover, text)
}

fn warning(text: impl Into<String>) -> Finding {
    Finding::new(Severity::Warning, Area::Leftover, text)
}

impl Engine {
    pub(super) fn leftovers(&self) -> Vec<Finding> {
        let mut all = self.damaged_records();
        all.extend(self.orphan_mounts());
        all.extend(self.rubbish());
        all.extend(self.orphan_bridges());
        all.extend(self.kept_objects());
        all
    }

    /// Records that cannot be read; lists leave them out.
    fn damaged_records(&self) -> Vec<Finding> {
        let mut all = Vec::new();
        for id in self.store().container_ids().unwrap_or_default() {
            let Err(error) = self.store().read_container(&id) else {
                continue;
            };
            if matches!(error, storage::containers::ContainerError::Missing) {
                continue;
            }
            let directory = self.store().container_directory(&id);
            all.push(
                warning(format!("container {} cannot be read: {error}", short(&id))).command(
                    format!(
                        "mv {} /root/   # its files are in upper/",
                        directory.display()
                    ),
                ),
            );
        }
        for (kind, directory) in [("volume", "volumes"), ("network", "networks")] {
            for name in names_in(&self.store().path(directory)) {
                let error = match kind {
                    "volume" => self.store().volume(&name).err().map(|one| one.to_string()),
                    _ => self.store().network(&name).err().map(|one| one.to_string()),
                };
                if let Some(error) = error.filter(|text| text.contains("damaged")) {
                    let path = self.store().path(directory).join(&name);
                    all.push(
                        warning(format!("{kind} {name} cannot be read: {error}"))
                            .command(format!("mv {} /root/", path.display())),
                    );
                }
            }
        }
        all.extend(self.damaged_images());
        all
    }

    /// Images whose records cannot be read; while there is one, images cannot be listed.
    fn damaged_images(&self) -> Vec<Finding> {
        let directory = self.store().path("images");
        let names = names_in(&directory).into_iter();
        let damaged = names.filter_map(|name| {
            let id = types::digest::Digest::parse(&name.replacen('-', ":", 1)).ok()?;
            let error = self.store().image(&id).err()?;
            if !matches!(error, StorageError::DamagedImage { .. }) {
                return None;
            }
            let text = format!("image {} cannot be read: {error}", id.short());
            Some(warning(text).command(format!("caisson rmi {}", id.short())))
        });
        damaged.collect()
    }

    /// Nothing is ever mounted in the host's namespace, so that whatever is beneath our roots there
    /// came from somewhere else, as with a copied `/var/lib/docker`.
    fn orphan_mounts(&self) -> Vec<Finding> {
        let text = sys::host::read_text("/proc/self/mountinfo");
        let roots = [self.store().root(), self.store().run_root()];
        let paths = mounts_beneath(&text, &roots);
        // Those on top first.
        let found = paths.into_iter().rev().map(|path| {
            warning(format!(
                "{} is mounted beneath Caisson's own directories",
                path.display()
            ))
            .command(format!("umount -l {}", path.display()))
            .remedy(Remedy::Detach(path))
        });
        found.collect()
    }

    /// What a sweep removes: half-made things, names, run directories and control groups.
    fn rubbish(&self) -> Vec<Finding> {
        let store = self.store();
        let is_free = |name: &String| !sys::lock::is_held(&store.path("tmp").join(name));
        let half_made = names_in(&store.path("tmp"))
            .iter()
            .filter(|name| is_free(name))
            .count();
        let has_container = |id: &str| store.container_directory(id).exists();
        let runs = names_in(&store.run_root().join("containers"));
        let runs = runs.iter().filter(|id| !has_container(id)).count();
        let names = names_in(&store.path("names")).into_iter().filter(|name| {
            let target = std::fs::read_link(store.path("names").join(name));
            target.is_ok_and(|target| !has_container(&target.to_string_lossy()))
        });
        let names = names.count();
        let groups = runtime::cgroup::Layout::detect()
            .and_then(|layout| layout.names(&self.cgroup_parent()))
            .unwrap_or_default();
        let is_orphan =
            |id: &&String| types::id::ContainerId::parse(id).is_ok() && !has_container(id);
        let groups = groups.iter().filter(is_orphan).count();
        let counted = [
            (half_made, "half-made objects in tmp/"),
            (runs, "run directories without a container"),
            (names, "names without a container"),
            (groups, "control groups without a container"),
        ];
        let found = counted.iter().filter(|(count, _)| *count > 0);
        found
            .map(|(count, what)| {
                note(format!(
                    "{count} {what} of killed commands; a later command sweeps them"
                ))
                .command(FIX)
                .remedy(Remedy::Sweep)
            })
            .collect()
    }

    /// Bridges that say they are Caisson's and belong to no network of this store, nor to one of another
    /// store that is there.
    fn orphan_bridges(&self) -> Vec<Finding> {
        let Ok(socket) = network::Socket::route() else {
            return Vec::new();
        };
        let links = network::listing::links(&socket).unwrap_or_default();
        let networks = self.store().networks().unwrap_or_default();
        let is_orphan = |link: &&network::listing::Link| {
            let owner = link.alias.strip_prefix(network::bridge::OWNER_PREFIX);
            let is_known = |id: &str| networks.iter().any(|record| record.id == id);
            let is_used = links.iter().any(|other| other.master == Some(link.index));
            let is_elsewhere = lives_elsewhere(Path::new(&link.origin), self.store().root());
            link.kind == "bridge"
                && !is_used
                && !is_elsewhere
                && owner.is_some_and(|id| !is_known(id))
        };
        let found = links.iter().filter(is_orphan).map(|link| {
            let whose = match link.origin.as_str() {
                "" => {
                    "belongs to no network of this store; another store (--root) may own it".into()
                }
                origin => format!("belonged to the network of {origin}, which is gone"),
            };
            note(format!("the bridge {} has no port and {whose}", link.name))
                .command(format!("ip link delete {}", link.name))
        });
        found.collect()
    }

    fn kept_objects(&self) -> Option<Finding> {
        let kept = self.kept();
        let bytes: u64 = kept.iter().map(|one| one.bytes).sum();
        (!kept.is_empty()).then(|| {
            note(format!(
                "{} removed objects are kept for undo ({})",
                kept.len(),
                types::units::human_size(bytes as f64)
            ))
            .command("caisson undo --list")
            .command("caisson system prune")
        })
    }
}

/// Whether a network's directory is in another store and there.
fn lives_elsewhere(origin: &Path, own_root: &Path) -> bool {
    !origin.as_os_str().is_empty()
        && !origin.starts_with(own_root)
        && origin.join("record").exists()
}

fn short(id: &str) -> String {
    id.chars().take(12).collect()
}

fn names_in(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect();
    names.sort();
    names
}

/// Mount points strictly beneath one of the roots, in the order of the table.
fn mounts_beneath(mountinfo: &str, roots: &[&Path]) -> Vec<PathBuf> {
    let points = mountinfo.lines().filter_map(|line| line.split(' ').nth(4));
    let points = points.map(|text| PathBuf::from(unescape(text)));
    let is_ours = |point: &PathBuf| {
        let is_beneath = |root: &&&Path| point.starts_with(root) && point.as_path() != **root;
        roots.iter().any(|root| is_beneath(&root))
    };
    points.filter(is_ours).collect()
}

/// The kernel writes spaces and the like as three octal digits.
fn unescape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        let digits = rest.get(at + 1..at + 4);
        match digits.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) => {
                out.push(char::from(byte));
                rest = &rest[at + 4..];
            }
            None => {
                out.push('\\');
                rest = &rest[at + 1..];
            }
        }
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_of_another_store_lives_while_its_record_is_there() {
        let other = tempfile::tempdir().unwrap();
        let network = other.path().join("networks/n");
        std::fs::create_dir_all(&network).unwrap();
        let own = Path::new("/var/lib/caisson");
        assert!(!lives_elsewhere(&network, own));
        std::fs::write(network.join("record"), "{}").unwrap();
        assert!(lives_elsewhere(&network, own));
        // Of what is beneath our own root we know whether it lives.
        assert!(!lives_elsewhere(&network, other.path()));
        assert!(!lives_elsewhere(Path::new(""), own));
    }

    #[test]
    fn only_mounts_beneath_our_roots_are_ours() {
        let table = "\
            22 1 8:1 / / rw - ext4 /dev/sda rw\n\
            30 22 0:5 / /var/lib/caisson rw - ext4 /dev/sdb rw\n\
            31 30 0:6 / /var/lib/caisson/containers/a\\040b rw - overlay overlay rw\n\
            32 22 0:7 / /var/lib/caisson-other/x rw - tmpfs tmpfs rw\n\
            33 22 0:8 / /run/caisson/staging rw - tmpfs tmpfs rw\n";
        let roots = [Path::new("/var/lib/caisson"), Path::new("/run/caisson")];
        assert_eq!(
            mounts_beneath(table, &roots),
            [
                PathBuf::from("/var/lib/caisson/containers/a b"),
                PathBuf::from("/run/caisson/staging")
            ]
        );
        assert_eq!(unescape("a\\011b\\x"), "a\tb\\x");
    }
}
