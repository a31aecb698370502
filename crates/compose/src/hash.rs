//! The digests by which Docker Compose knows whether something is as it was.
//!
//! The digest of a service is SHA-256 over its JSON as Go writes it, without `build`,
//! `pull_policy`, `scale`, `deploy.replicas`, `depends_on` and `profiles`.

use sha2::{Digest as _, Sha256};

use crate::model::{Network, Service, Volume};
use crate::show::go_json;

fn hash(value: &impl serde::Serialize) -> String {
    let digest = Sha256::digest(go_json(value).as_bytes());
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The digest of a service, for the label `com.docker.compose.config-hash`.
pub fn service_hash(service: &Service) -> String {
    let mut service = service.clone();
    service.build = None;
    service.pull_policy.clear();
    service.scale = None;
    if let Some(deploy) = &mut service.deploy {
        deploy.replicas = None;
    }
    service.depends_on.clear();
    service.profiles.clear();
    hash(&service)
}

/// The digest of a network.
pub fn network_hash(network: &Network) -> String {
    hash(network)
}

/// The digest of a volume.
pub fn volume_hash(volume: &Volume) -> String {
    let mut volume = volume.clone();
    if volume.driver.is_empty() {
        volume.driver = "local".to_owned();
    }
    hash(&volume)
}
