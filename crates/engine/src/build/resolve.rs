//! Base images: here, else pulled.

use std::collections::BTreeMap;
use std::path::Path;

use build::graph::{ImageSource, ResolvedImage, Resolver};
use storage::lease::Lease;
use types::digest::Digest;
use types::image::ImageConfig;
use types::platform::Platform;
use types::reference::Reference;

use super::{BuildEvent, BuildObserver};
use crate::Engine;
use crate::container::filesystem::{pack_host, through_pipe};
use crate::error::chain;
use crate::image::load::{LoadOptions, load_chosen};
use crate::image::pull::{PullOptions, pull};

/// Finds base images for a Dockerfile.
pub(crate) struct ImageResolver<'a> {
    pub(crate) engine: &'a Engine,
    pub(crate) lease: &'a Lease,
    pub(crate) observer: &'a dyn BuildObserver,
    /// `--pull`.
    pub(crate) pulls_always: bool,
    pub(crate) known: BTreeMap<(String, String), ResolvedImage>,
}

impl ImageResolver<'_> {
    fn here(&self, text: &str, platform: &Platform) -> Result<Option<ResolvedImage>, String> {
        let Ok(found) = self.engine.store().find_image(text) else {
            return Ok(None);
        };
        let resolved = self.describe(text, &found.id)?;
        let is_wanted = platform.best_match([&resolved.config.platform()]).is_some();
        Ok(is_wanted.then_some(resolved))
    }

    fn describe(&self, text: &str, id: &Digest) -> Result<ResolvedImage, String> {
        let fail = |error: &dyn std::error::Error| error.to_string();
        self.lease.need(id).map_err(|error| fail(&error))?;
        let store = self.engine.store();
        let bytes = store.image_config(id).map_err(|error| fail(&error))?;
        let config = ImageConfig::parse(&bytes).map_err(|error| fail(&error))?;
        let record = store.image(id).map_err(|error| fail(&error))?;
        let reference = match Reference::parse_normalized(text) {
            Ok(reference) => reference.with_default_tag().canonical(),
            Err(_) => text.to_owned(),
        };
        Ok(ResolvedImage {
            source: ImageSource {
                reference,
                id: id.clone(),
            },
            manifest: record.manifest.map(|manifest| manifest.digest),
            config,
        })
    }
}

impl Resolver for ImageResolver<'_> {
    fn image(&mut self, reference: &str, platform: &Platform) -> Result<ResolvedImage, String> {
        let key = (reference.to_owned(), platform.to_string());
        if let Some(known) = self.known.get(&key) {
            return Ok(known.clone());
        }
        // An id means an image of this store, and no registry knows it.
        let here = match self.pulls_always && Digest::parse(reference).is_err() {
            true => None,
            false => self.here(reference, platform)?,
        };
        let resolved = match here {
            Some(resolved) => resolved,
            None => {
                let parsed =
                    Reference::parse_normalized(reference).map_err(|error| error.to_string())?;
                self.observer
                    .event(BuildEvent::Note(format!("[internal] pull {reference}")));
                let options = PullOptions {
                    platform: Some(platform.clone()),
                };
                let report = pull(
                    &self.engine.images(),
                    &parsed,
                    &options,
                    self.observer.images(),
                )
                .map_err(|error| chain(&error))?;
                self.describe(reference, &report.image)?
            }
        };
        self.known.insert(key, resolved.clone());
        Ok(resolved)
    }

    fn oci_layout(
        &mut self,
        path: &Path,
        reference: &str,
        platform: &Platform,
    ) -> Result<ResolvedImage, String> {
        let separator = if reference.contains(':') { "@" } else { ":" };
        let separator = if reference.is_empty() { "" } else { separator };
        let text = format!("oci-layout://{}{separator}{reference}", path.display());
        let key = (text.clone(), platform.to_string());
        if let Some(known) = self.known.get(&key) {
            return Ok(known.clone());
        }
        let options = LoadOptions {
            platform: Some(platform.clone()),
        };
        let mut id = None;
        through_pipe(
            |sink| pack_host(path, "", sink),
            |from| {
                let observer = self.observer.images();
                id = Some(load_chosen(
                    self.lease, from, reference, &options, observer,
                )?);
                Ok(())
            },
        )
        .map_err(|error| format!("{text}: {}", chain(&error)))?;
        let id = id.ok_or_else(|| format!("{text}: there is no such image"))?;
        let resolved = self.describe(&text, &id);
        let resolved = resolved.map_err(|why| format!("{text}: {why}"))?;
        self.known.insert(key, resolved.clone());
        Ok(resolved)
    }
}
