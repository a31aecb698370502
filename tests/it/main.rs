//! Real-kernel tests: the release binary against the running kernel, each in a sandbox of its own.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test that cannot go on shall panic, and says what it skips"
)]

mod adversity;
mod attacks;
mod browser;
mod build;
mod builds;
mod buildx;
mod compose;
mod confirmations;
mod crash;
mod damage;
mod dockerfiles;
mod firewalls;
mod flags;
mod guides;
mod interop;
mod isolation;
mod names;
mod networks;
mod projects;
mod registry;
mod replicas;
mod services;
mod sharing;
mod shell;
mod specification;
mod system;
mod team;
mod volumes;
mod words;
