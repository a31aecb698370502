//! The drawing office: Compose files become a project, and a project becomes a plan.
//!
//! Pure: files are reached through [`Files`], and nothing is changed or printed. The loader's
//! stages are Docker Compose's (compose-go), each a module: [`yaml`] reads text into trees with
//! positions, `interpolate` fills in variables, `load` merges several files with `include` and
//! `extends`, `schema` checks, `canonical` and `normalize` bring all to one form, `decode` makes
//! the typed [`Project`]. Held to `corpus/golden/compose-golden.jsonl` and its neighbours.

pub mod build;
mod canonical;
mod check;
pub mod container;
#[cfg(test)]
#[path = "../../../testkit/src/corpus.rs"]
mod corpus;
mod decode;
mod dotenv;
mod error;
mod files;
#[cfg(test)]
mod golden;
mod hash;
mod interpolate;
mod load;
mod merge;
pub mod model;
mod normalize;
mod places;
pub mod plan;
mod project;
mod reset;
mod schema;
mod select;
mod show;
#[cfg(test)]
mod tests;
mod tree;
mod yaml;

pub use check::{CONTAINERS_MAX, DependencyOrder, dependency_order};
pub use error::ComposeError;
pub use files::{FileKind, Files};
pub use hash::{network_hash, service_hash, volume_hash};
pub use interpolate::Variable;
pub use load::Options;
pub use model::{Project, split_words};
pub use project::{Loaded, Request, load, normalize_project_name};
pub use show::{Format, show, show_value};
