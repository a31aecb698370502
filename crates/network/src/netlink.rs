//! The kernel's message protocol: our own encoder, decoder and socket.
//!
//! One [`Batch`] is one `send`; the kernel handles it before `send` returns, so every answer is
//! already waiting and nothing here ever blocks or needs a deadline. Called by `link`, `listing`,
//! `nft` and `conntrack`; tested here on bytes and there on the kernel.

mod decode;
mod encode;
mod socket;

pub(crate) use decode::Attributes;
pub(crate) use encode::{Batch, Encoder, Step};
pub(crate) use socket::Reply;
pub use socket::{NetlinkError, Socket};
