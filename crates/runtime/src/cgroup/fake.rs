//! Made-up hierarchies in a temporary directory, for what this machine does not have.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use super::detect::Hierarchy;
use super::directory::Directory;
use super::{ContainerCgroup, Place};

/// A fresh directory.
pub(super) fn scratch(name: &str) -> PathBuf {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let path = std::env::temp_dir().join(format!(
        "caisson-cgroup-{name}-{}-{number}",
        std::process::id()
    ));
    std::fs::create_dir_all(&path).unwrap();
    path
}

/// Hierarchies whose files are plain ones: values written are appended.
pub(super) struct Tree {
    base: PathBuf,
}

impl Tree {
    pub(super) fn new(name: &str) -> Self {
        Self {
            base: scratch(name),
        }
    }

    /// A hierarchy with a container's group `p/c` that has `files`.
    pub(super) fn hierarchy(
        &self,
        name: &str,
        unified: bool,
        controllers: &[&str],
        files: &[(&str, &str)],
    ) -> Hierarchy {
        let root = self.base.join(name);
        for directory in [&root, &root.join("p"), &root.join("p/c")] {
            std::fs::create_dir_all(directory).unwrap();
            if unified {
                std::fs::write(directory.join("cgroup.controllers"), controllers.join(" "))
                    .unwrap();
                std::fs::write(directory.join("cgroup.subtree_control"), "").unwrap();
            }
        }
        for (file, content) in files {
            std::fs::write(root.join("p/c").join(file), content).unwrap();
        }
        Hierarchy {
            name: name.to_string(),
            root: Directory::open(&root).unwrap(),
            unified,
            controllers: controllers.iter().map(ToString::to_string).collect(),
            at_root: true,
            own: "/".to_string(),
        }
    }

    pub(super) fn container(&self, hierarchies: Vec<Hierarchy>) -> ContainerCgroup {
        let mut cgroup = ContainerCgroup::empty(Place::parse("p", "c").unwrap());
        for hierarchy in hierarchies {
            cgroup.add(hierarchy).unwrap();
        }
        cgroup
    }

    /// What a file of the container's group holds.
    pub(super) fn read(&self, path: &str) -> String {
        let (hierarchy, file) = path.split_once('/').unwrap();
        std::fs::read_to_string(self.base.join(hierarchy).join("p/c").join(file)).unwrap()
    }

    pub(super) fn path(&self) -> &Path {
        &self.base
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.base);
    }
}
