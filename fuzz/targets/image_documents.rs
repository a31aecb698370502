//! Manifests, indexes and configurations of images.
#![no_main]

use libfuzzer_sys::fuzz_target;
use types::image::{Document, ImageConfig};
use types::platform::Platform;

const MEDIA_TYPES: [&str; 4] = [
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
];

fuzz_target!(|data: &[u8]| {
    let config = ImageConfig::parse(data);
    for media_type in MEDIA_TYPES.into_iter().map(Some).chain([None]) {
        match Document::parse(data, media_type) {
            Ok(Document::Manifest(manifest)) => {
                if let Ok(config) = &config {
                    let _ = config.check_layers(&manifest);
                }
            }
            Ok(Document::Index(index)) => {
                let _ = index.select(&Platform::host());
                let _ = index.platforms();
            }
            Err(error) => assert!(error.to_string().len() < 4096, "an endless error"),
        }
    }
    if let Ok(config) = config {
        let _ = config.created_at();
        let _ = config.platform();
        for layer in &config.history {
            let _ = format!("{layer:?}");
        }
    }
});
