//! What a stopped container would have mounted: a path at or beneath a mount leads to what would be
//! there, as with Docker, which mounts it all for `cp`.
//!
//! Nothing is mounted here: the mount's source is opened instead, and the rest of the path resolves
//! beneath it. So a directory above a mount shows what the image has there. Volumes that are mounts
//! themselves (NFS, tmpfs) exist while a container runs only.

use std::path::{Path, PathBuf};

use storage::containers::StoredContainer;
use sys::rootfs::Dir;
use types::mount::MountKind;

use crate::Engine;
use crate::error::{EngineError, text};
use crate::volume::named;

const NETWORK_FILES: [(&str, &str); 3] = [
    ("/etc/resolv.conf", "resolv.conf"),
    ("/etc/hostname", "hostname"),
    ("/etc/hosts", "hosts"),
];

/// Where a path of a stopped container leads.
pub(super) struct Source {
    pub(super) root: Dir,
    /// The path beneath `root`.
    pub(super) path: String,
    pub(super) read_only: bool,
}

struct Mounting {
    target: String,
    source: PathBuf,
    /// Beneath the source.
    subpath: String,
    read_only: bool,
}

impl Engine {
    /// The source of the mount that a path of a container that does not run lies in, if it lies in one.
    ///
    /// # Errors
    /// A source that cannot be opened.
    pub(super) fn source_of(
        &self,
        stored: &StoredContainer,
        path: &str,
    ) -> Result<Option<Source>, EngineError> {
        // Where `..` leads is known only once links are.
        if path.split('/').any(|part| part == "..") {
            return Ok(None);
        }
        let clean = types::lexical_path::clean(&format!("/{path}"));
        let beneath = |one: &Mounting| {
            let rest = clean.strip_prefix(types::lexical_path::clean(&one.target).as_str())?;
            (rest.is_empty() || rest.starts_with('/')).then(|| rest.to_owned())
        };
        let mounts = self.mountings(stored).into_iter();
        let found = mounts
            .filter_map(|one| beneath(&one).map(|rest| (one, rest)))
            .min_by_key(|(_, rest)| rest.len());
        let Some((one, rest)) = found else {
            return Ok(None);
        };
        let open = |path: &Path| Dir::open(path).map_err(|error| text("open a mount", &error));
        let (root, rest) = match std::fs::metadata(&one.source) {
            Ok(data) if data.is_dir() => (open(&one.source)?, rest),
            Ok(_) if rest.is_empty() => {
                let name = one.source.file_name().unwrap_or_default().to_string_lossy();
                let parent = one.source.parent().unwrap_or(Path::new("/"));
                (open(parent)?, format!("/{name}"))
            }
            _ => return Ok(None),
        };
        let root = match one.subpath.as_str() {
            "" => root,
            subpath => match root.open_dir(Path::new(subpath)) {
                Ok(inner) => Dir::from_fd(inner),
                Err(_) => return Ok(None),
            },
        };
        let ending = match path {
            path if path.ends_with("/.") => "/.",
            path if path.ends_with('/') => "/",
            _ => "",
        };
        let path = match format!("{rest}{ending}") {
            path if path.is_empty() => "/".to_owned(),
            path => path,
        };
        Ok(Some(Source {
            root,
            path,
            read_only: one.read_only,
        }))
    }

    /// Everything of the host that a container has mounted; its own files last.
    fn mountings(&self, stored: &StoredContainer) -> Vec<Mounting> {
        let record = &stored.record;
        let mut all = Vec::new();
        for one in &record.volumes {
            let known = self.store().volume(&one.name);
            if known.is_ok_and(|known| known.options.is_empty()) {
                all.push(Mounting {
                    target: one.target.clone(),
                    source: self.store().volume_data(&one.name),
                    subpath: one.subpath.clone(),
                    read_only: one.read_only,
                });
            }
        }
        for text in record
            .spec
            .binds
            .iter()
            .filter(|text| named(text).is_none())
        {
            let mut parts = text.splitn(3, ':');
            let (source, target) = (parts.next().unwrap_or(""), parts.next().unwrap_or(""));
            let options = parts.next().unwrap_or("");
            all.push(Mounting {
                target: target.to_owned(),
                source: source.into(),
                subpath: String::new(),
                read_only: options.split(',').any(|option| option == "ro"),
            });
        }
        let mounts = record.spec.mounts.iter();
        for mount in mounts.filter(|mount| mount.kind == MountKind::Bind) {
            all.push(Mounting {
                target: mount.target.clone(),
                source: mount.source.clone().into(),
                subpath: String::new(),
                read_only: mount.read_only,
            });
        }
        let owner = self.network_owner(record);
        let id = owner.map_or_else(|| record.id.clone(), |owner| owner.id);
        let directory = self.store().container_directory(&id);
        all.extend(NETWORK_FILES.iter().map(|(target, name)| Mounting {
            target: (*target).to_owned(),
            source: directory.join(name),
            subpath: String::new(),
            read_only: record.spec.read_only,
        }));
        all
    }
}
