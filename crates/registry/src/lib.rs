//! The post office: what goes to and comes from registries.
//!
//! The client is synchronous: a command downloads layers in threads of its own and stays without
//! an async runtime. Everything a registry sends has a limit, and nothing it sends is believed
//! before its digest was checked.

mod auth;
mod blob;
mod client;
mod config;
mod credentials;
mod error;
#[doc(hidden)]
pub mod fuzz;
mod http;
mod push;
#[cfg(test)]
mod push_tests;
mod refusal;
mod resolver;
mod upload;
#[cfg(test)]
mod wire_tests;

pub use blob::BlobReader;
pub use client::{Client, FetchedManifest, MANIFEST_BYTES_MAX, Repository, Selector};
pub use config::{Registries, RegistryConfig};
pub use credentials::{Account, Credentials};
pub use error::RegistryError;
pub use upload::{BlobContent, BlobSource, Uploaded};
