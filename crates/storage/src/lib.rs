//! The cellar: blobs, images, layers, container records, leases, and their collection.
//!
//! The file system is the database: one small versioned document per object, made under a temporary
//! name, synced and renamed. `storage` knows leases, not processes. See [`store`] for the layout.

pub mod blobs;
pub mod cache;
pub mod chain;
pub mod collect;
pub mod compression;
pub mod containers;
#[cfg(test)]
#[path = "../../../testkit/src/corpus.rs"]
mod corpus;
pub mod error;
pub mod images;
pub mod init_layer;
pub mod layer;
pub mod layers;
pub mod lease;
pub mod networks;
pub mod refs;
pub mod store;
pub mod tar;
pub mod trash;
pub mod volumes;

pub use error::StorageError;
pub use store::Store;
