//! The network room: links, addresses, routes, nftables and ports, over netlink and in batches.
//!
//! It knows namespace descriptors, interfaces and addresses, not containers; engine and monitor
//! decide, this acts. Everything is synchronous, over two sockets, without a helper binary. What
//! must stay true: nothing here changes another program's tables or links; every batch for
//! nftables is all or nothing; every effect can be repeated after a crash. Tested on the kernel in
//! `tests/`, in network namespaces of the tests' own.

pub mod addresses;
pub mod attachment;
pub mod bridge;
pub mod conntrack;
mod endpoint;
pub mod legacy;
pub mod link;
pub mod listing;
pub mod mac;
pub mod mend;
pub mod names;
mod netlink;
pub mod nft;
pub mod ports;
mod program;
pub mod resolver;
pub mod route;
pub mod shortcut;
pub mod subnet;
pub mod sysctl;

pub use netlink::{NetlinkError, Socket};
