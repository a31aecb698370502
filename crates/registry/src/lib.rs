//! The post office: what goes to and comes from registries.
//!
//! The client is synchronous: a command downloads layers in threads of its own and stays without
//! an async runtime. Everything a registry sends has a limit, and nothing it sends is believed
//! before its digest was checked.
//!
//! The server, [`server`], is the only place with an async runtime, which ends with it.

#[cfg(test)]
mod account_tests;
mod auth;
mod blob;
mod certificates;
mod client;
mod config;
mod credentials;
pub mod docker_config;
mod error;
#[doc(hidden)]
pub mod fuzz;
mod helper;
mod http;
mod login;
mod push;
#[cfg(test)]
mod push_tests;
mod refusal;
mod resolver;
mod search;
pub mod server;
mod tls;
mod upload;
#[cfg(test)]
mod wire_tests;

pub use blob::BlobReader;
pub use client::{
    Client, FetchedManifest, MANIFEST_BYTES_MAX, Repository, Selector, TAGS_MAX, TagList,
};
pub use config::{Registries, RegistryConfig};
pub use credentials::{Account, Credentials};
pub use error::RegistryError;
pub use search::{Found, FoundRepository};
pub use upload::{BlobContent, BlobSource, Uploaded};
