//! Caisson api.
pub mod docker_json;
