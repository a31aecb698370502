//! Collection: what no reference, no container and no live lease leads to goes.
//!
//! Under the images lock, for milliseconds: read the roots, unlink records and blobs that none leads
//! to, and rename layers into a temporary directory. The layers' bytes are deleted afterwards, when
//! nobody waits any more. A crash anywhere leaves garbage that the next collection finds.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use sys::Context;
use sys::lock::Lock;
use types::digest::Digest;
use types::image::{Document, MANIFEST_BYTES_MAX, Manifest};

use crate::error::{Result, StorageError};
use crate::layers::{LayerId, key_name};
use crate::lease::ImagesLock;
use crate::store::Store;

/// What a collection removed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Collected {
    /// Images whose last record went.
    pub images: Vec<Digest>,
    /// Diff ids of layers that went.
    pub layers: Vec<String>,
    /// Bytes of blobs and layers.
    pub bytes: u64,
}

/// Everything that must stay.
#[derive(Default)]
struct Live {
    images: BTreeSet<Digest>,
    /// Blobs and keys of layers.
    digests: BTreeSet<Digest>,
    layers: BTreeSet<LayerId>,
}

impl Store {
    /// Removes what nothing needs. `in_use` gives the images of all containers; it is asked while
    /// the images lock is held, so that a container being made is seen or waits.
    ///
    /// # Errors
    /// Where the roots cannot be read: then nothing is removed.
    pub fn collect<E>(
        &self,
        in_use: impl FnOnce() -> std::result::Result<BTreeSet<Digest>, E>,
    ) -> std::result::Result<Collected, E>
    where
        E: From<StorageError>,
    {
        let garbage = self.tmp()?;
        let lock = self.lock_images()?;
        sys::fail::point("storage.collect.begun");
        let live = self.live(&lock, in_use()?)?;
        let mut collected = Collected::default();
        self.unlink_broken_references()?;
        self.unlink_images(&live, &mut collected)?;
        sys::fail::point("storage.collect.images");
        self.unlink_keys(&live, &mut collected)?;
        sys::fail::point("storage.collect.keys");
        self.move_layers(&live, garbage.path(), &mut collected)?;
        sys::fail::point("storage.collect.layers");
        self.unlink_blobs(&live, &mut collected)?;
        sys::fail::point("storage.collect.blobs");
        drop(lock);
        // The bytes: no lock is held, and a crash leaves them to the next sweep.
        drop(garbage);
        sys::fail::point("storage.collect.deleted");
        self.sweep_cache();
        self.sweep()?;
        Ok(collected)
    }

    fn live(&self, lock: &ImagesLock, in_use: BTreeSet<Digest>) -> Result<Live> {
        let mut live = Live {
            images: in_use,
            ..Live::default()
        };
        let mut forms: BTreeMap<Digest, Vec<Digest>> = BTreeMap::new();
        for record in self.references()? {
            let came_as = record.came_as().and_then(|came| came.digest().cloned());
            live.digests.extend(came_as.clone());
            forms
                .entry(record.image.clone())
                .or_default()
                .extend(came_as);
            live.images.insert(record.image);
        }
        for entry in self.cache_entries()? {
            live.layers.extend(self.find_layer(&entry.record.diff_id)?);
            live.digests.insert(entry.record.diff_id);
        }
        let leased = self.leased(lock)?;
        for key in &leased {
            live.layers.extend(self.find_layer(key)?);
        }
        live.images.extend(leased.iter().cloned());
        live.digests.extend(leased);
        for id in &live.images {
            let image = match self.image(id) {
                Ok(image) => image,
                // A lease names digests of all kinds; most are no images.
                Err(StorageError::NoSuchImage { .. }) => continue,
                // What a damaged record leads to is not known, so nothing may go.
                Err(error) => return Err(error),
            };
            let manifest = image.manifest.map(|blob| blob.digest);
            // The record knows the form that came last; other names may mean others, which pushes send.
            for form in forms.remove(id).unwrap_or_default() {
                if manifest.as_ref() != Some(&form) && !image.other_blobs.contains(&form) {
                    live.digests.extend(self.named_by(&form));
                }
            }
            live.digests.insert(image.id);
            live.digests.extend(manifest);
            live.digests.extend(image.other_blobs);
            for layer in image.layers {
                live.layers.extend(self.find_layer(&layer.diff_id)?);
                live.digests.insert(layer.diff_id);
                live.digests.extend(layer.blob.map(|blob| blob.digest));
            }
            live.layers.extend(image.lowers);
        }
        for id in &live.layers {
            let archive = self.layer_info(id)?.and_then(|info| info.archive);
            live.digests.extend(archive.map(|archive| archive.digest));
        }
        Ok(live)
    }

    /// A manifest or index and all that it leads to, as far as it is here.
    pub fn named_by(&self, digest: &Digest) -> Vec<Digest> {
        let read = |digest: &Digest| {
            let bytes = self.read_blob(digest, MANIFEST_BYTES_MAX as u64).ok()?;
            Document::parse(&bytes, None).ok()
        };
        let parts = |manifest: &Manifest| -> Vec<Digest> {
            manifest.parts().map(|part| part.digest.clone()).collect()
        };
        let mut all = vec![digest.clone()];
        match read(digest) {
            Some(Document::Manifest(manifest)) => all.extend(parts(&manifest)),
            Some(Document::Index(index)) => {
                for entry in index.manifests {
                    if let Some(Document::Manifest(manifest)) = read(&entry.digest) {
                        all.extend(parts(&manifest));
                    }
                    all.push(entry.digest);
                }
            }
            None => {}
        }
        all.retain(|digest| self.has_blob(digest));
        all
    }

    /// References are written under the images lock, which we hold: a file that is not yet in its
    /// place belongs to a command that was killed.
    fn unlink_broken_references(&self) -> Result<()> {
        for (name, path) in list(&self.path("refs"))? {
            if name.starts_with('.') {
                std::fs::remove_file(&path).on("remove", path.display())?;
            }
        }
        Ok(())
    }

    fn unlink_images(&self, live: &Live, collected: &mut Collected) -> Result<()> {
        for id in self.recorded_images()? {
            if !live.images.contains(&id) {
                self.remove_image_record(&id)?;
                collected.images.push(id);
            }
        }
        Ok(())
    }

    /// The names go before the layers: a name never leads to nothing.
    fn unlink_keys(&self, live: &Live, collected: &mut Collected) -> Result<()> {
        let kept: BTreeSet<String> = live.digests.iter().map(key_name).collect();
        for (name, path) in list(&self.path("diffids"))? {
            if name.ends_with(".lock") {
                // Its holder was killed, if nobody holds it; who waits for it will make a new one.
                if let Ok(Some(_held)) = Lock::try_acquire(&path) {
                    std::fs::remove_file(&path).on("remove", path.display())?;
                }
                continue;
            }
            // A name on its way into place goes with the key that it belongs to.
            let key = name.split('.').next().unwrap_or_default();
            if kept.contains(key) {
                continue;
            }
            let layer = std::fs::read_link(&path).ok();
            let layer = layer
                .as_ref()
                .and_then(|text| LayerId::from_name(text.to_str()?));
            if key == name && layer.is_some_and(|layer| live.layers.contains(&layer)) {
                continue;
            }
            std::fs::remove_file(&path).on("remove", path.display())?;
            collected.layers.push(name);
        }
        Ok(())
    }

    fn move_layers(&self, live: &Live, garbage: &Path, collected: &mut Collected) -> Result<()> {
        for (name, path) in list(&self.path("layers"))? {
            let id = LayerId::from_name(&name);
            if id.as_ref().is_some_and(|id| live.layers.contains(id)) {
                continue;
            }
            if let Some(info) = id.and_then(|id| self.layer_info(&id).ok().flatten()) {
                collected.bytes += info.size_bytes;
            }
            let target = garbage.join(&name);
            std::fs::rename(&path, &target).on("rename", path.display())?;
        }
        Ok(())
    }

    fn unlink_blobs(&self, live: &Live, collected: &mut Collected) -> Result<()> {
        for (algorithm, directory) in list(&self.path("blobs"))? {
            for (hex, path) in list(&directory)? {
                let digest = Digest::parse(&format!("{algorithm}:{hex}"));
                if digest.is_ok_and(|digest| live.digests.contains(&digest)) {
                    continue;
                }
                collected.bytes += std::fs::metadata(&path).map_or(0, |metadata| metadata.len());
                std::fs::remove_file(&path).on("remove", path.display())?;
            }
        }
        Ok(())
    }
}

fn list(directory: &Path) -> Result<Vec<(String, std::path::PathBuf)>> {
    let mut entries = Vec::new();
    for entry in std::fs::read_dir(directory).on("list", directory.display())? {
        let entry = entry.on("list", directory.display())?;
        entries.push((
            entry.file_name().to_string_lossy().into_owned(),
            entry.path(),
        ));
    }
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::images::NewImage;
    use crate::layers::tests::make;
    use crate::store::tests::Scratch;
    use types::reference::Reference;

    fn image(store: &Store, lease: &crate::lease::Lease, name: &str) -> Digest {
        let config = format!(r#"{{"name":"{name}"}}"#);
        let id = store.put_blob(lease, config.as_bytes()).unwrap();
        let diff_id = make(store, lease, name, &["etc/name"]);
        let new = NewImage {
            id: id.clone(),
            manifest: None,
            other_blobs: Vec::new(),
            layers: vec![(diff_id, None)],
            os: "linux".into(),
            architecture: "amd64".into(),
            variant: String::new(),
            created: String::new(),
            config: serde_json::Value::Null,
        };
        store.record_image(lease, new).unwrap();
        id
    }

    fn collect(store: &Store, in_use: &[&Digest]) -> Collected {
        let in_use: BTreeSet<Digest> = in_use.iter().map(|&id| id.clone()).collect();
        store.collect::<StorageError>(|| Ok(in_use)).unwrap()
    }

    #[test]
    fn what_a_reference_a_container_or_a_lease_leads_to_stays_and_all_else_goes() {
        let scratch = Scratch::new();
        let store = &scratch.store;
        let lease = store.lease().unwrap();
        let [named, used, leased] =
            ["named", "used", "leased"].map(|name| image(store, &lease, name));
        let name = Reference::parse_normalized("named:1").unwrap();
        store
            .set_reference(&store.lock_images().unwrap(), &name, &named, None)
            .unwrap();
        // The first lease holds everything.
        assert_eq!(collect(store, &[&used]), Collected::default());
        drop(lease);
        let lease = store.lease().unwrap();
        lease.need(&leased).unwrap();
        assert_eq!(collect(store, &[&used]), Collected::default());
        drop(lease);
        let collected = collect(store, &[&used]);
        assert_eq!(collected.images, std::slice::from_ref(&leased));
        assert_eq!(collected.layers.len(), 1);
        assert!(collected.bytes > 10);
        assert!(!store.has_blob(&leased));
        for id in [&named, &used] {
            assert!(store.mount_plan(id).unwrap()[0].join("etc/name").exists());
        }
        store
            .remove_reference(&store.lock_images().unwrap(), &name)
            .unwrap();
        collect(store, &[]);
        for area in ["blobs/sha256", "images", "layers", "diffids", "refs", "tmp"] {
            assert_eq!(list(&store.path(area)).unwrap(), [], "{area}");
        }
    }

    #[test]
    fn the_form_that_another_name_means_stays_with_all_that_it_names() {
        let scratch = Scratch::new();
        let store = &scratch.store;
        let lease = store.lease().unwrap();
        let id = image(store, &lease, "formed");
        let put = |text: String| store.put_blob(&lease, text.as_bytes()).unwrap();
        let layer = put("a layer".into());
        let manifest = put(format!(
            r#"{{"schemaVersion":2,"config":{{"mediaType":"a/b","digest":"{id}","size":1}},"layers":[{{"mediaType":"a/b","digest":"{layer}","size":7}}]}}"#
        ));
        let index = put(format!(
            r#"{{"schemaVersion":2,"manifests":[{{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"{manifest}","size":1}}]}}"#
        ));
        let stray = put("stray".into());
        let [first, second] =
            ["a/first:1", "b/second:1"].map(|name| Reference::parse_normalized(name).unwrap());
        let lock = store.lock_images().unwrap();
        let target = crate::refs::Target {
            digest: index.clone(),
            media_type: String::new(),
            size: 1,
        };
        store
            .set_reference(&lock, &first, &id, Some(target))
            .unwrap();
        let origin = store.reference(&first).unwrap().unwrap().came_as();
        assert_eq!(origin.as_ref().unwrap().digest(), Some(&index));
        store
            .set_alias(&lock, &second, &id, origin.clone())
            .unwrap();
        store.remove_reference(&lock, &first).unwrap();
        drop((lock, lease));
        collect(store, &[]);
        assert!(
            [&layer, &manifest, &index]
                .iter()
                .all(|one| store.has_blob(one))
        );
        assert!(!store.has_blob(&stray));
        let kept = store.reference(&second).unwrap().unwrap();
        assert_eq!((kept.came_as(), kept.target), (origin, None));
        let lock = store.lock_images().unwrap();
        store.set_reference(&lock, &second, &id, None).unwrap();
        drop(lock);
        collect(store, &[]);
        assert!(
            ![&layer, &manifest, &index]
                .iter()
                .any(|one| store.has_blob(one))
        );
    }

    #[test]
    fn what_killed_commands_left_beside_references_and_layers_goes() {
        let scratch = Scratch::new();
        let store = &scratch.store;
        let held = store.path("diffids").join("held.lock");
        let _lock = Lock::acquire(&held).unwrap();
        for name in ["refs/.half.written", "diffids/free.lock"] {
            std::fs::write(store.path(name), "").unwrap();
        }
        collect(store, &[]);
        assert_eq!(list(&store.path("refs")).unwrap(), []);
        let left = list(&store.path("diffids")).unwrap();
        assert_eq!(left, [("held.lock".to_owned(), held)]);
    }

    #[test]
    fn a_damaged_record_stops_the_collection_before_anything_goes() {
        let scratch = Scratch::new();
        let store = &scratch.store;
        let lease = store.lease().unwrap();
        let id = image(store, &lease, "damaged");
        let name = Reference::parse_normalized("damaged:1").unwrap();
        store
            .set_reference(&store.lock_images().unwrap(), &name, &id, None)
            .unwrap();
        drop(lease);
        let record = list(&store.path("images")).unwrap().remove(0).1;
        std::fs::write(record, "{").unwrap();
        let answer = store.collect::<StorageError>(|| Ok(BTreeSet::new()));
        assert!(
            matches!(answer, Err(StorageError::DamagedImage { .. })),
            "{answer:?}"
        );
        assert!(store.has_blob(&id));
        assert_eq!(list(&store.path("layers")).unwrap().len(), 1);
    }
}
