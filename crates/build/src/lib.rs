//! From a Dockerfile to a graph of content-addressed steps, and the scheduler that runs it.
//!
//! A pure planner: nothing here asks the kernel, reads a file or prints. The front end
//! ([`dockerfile`], [`ignore`]) turns text into typed instructions, and those into a [`graph`].

pub mod dockerfile;
pub mod gitref;
#[cfg(test)]
#[path = "../../../testkit/src/corpus.rs"]
mod golden;
pub mod graph;
pub mod ignore;
pub mod key;
pub mod lint;
pub mod lower;
#[cfg(test)]
mod property_tests;
pub mod solve;
pub mod why;
pub mod wildcard;
