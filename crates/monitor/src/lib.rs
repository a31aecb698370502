//! The night watch: one small process per running container.
//!
//! It owns what must outlive the command that started the container: the terminal or pipes, the
//! log, the exit status, the restart policy, the health check. It is single-threaded, sleeps in one
//! `poll`, and writes only `state` and `log`. Commands speak to it over a packet socket
//! ([`protocol`]). It is a fresh execution of our own binary from a read-only clone of its mount
//! ([`spawn`]), so that nothing of the caller is in it and nothing in the container can write to it.
//!
//! The caller of [`run`] is `caisson internal monitor`; `engine` spawns it and speaks to it.

pub mod client;
pub mod job;
pub mod log;
pub mod protocol;
pub mod spawn;
pub mod step;

mod attached;
mod container;
mod farewell;
mod health;
mod joined;
mod name_server;
mod networks;
mod proxy;
mod requests;
mod resolver;
mod run;
mod state;
mod watch;

pub use run::run;
