//! The network room against the kernel: every test in network namespaces of its own, with packets
//! that really flow. Skipped, and said so, where namespaces may not be made.

#![expect(clippy::print_stdout, reason = "a skipped test says why")]
#![expect(clippy::unwrap_used, reason = "helpers of tests fail like tests")]

mod firewall;
mod links;
mod traffic;
mod world;
