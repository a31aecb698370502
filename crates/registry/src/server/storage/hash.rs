//! Hashes whose state can be written down, so that an upload that another process began goes on here.
//!
//! The compression functions are the `sha2` crate's, with what processors offer for them; the crate does
//! not show its own state. What is around them is FIPS 180-4, sections 5.1 and 5.3.

use serde::{Deserialize, Serialize};
use sha2::digest::generic_array::GenericArray;
use sha2::digest::typenum::{U64, U128};
use types::digest::{Algorithm, Digest};

/// Blocks that are compressed at once.
const BATCH: usize = 64;

const SHA256: [u32; 8] = [
    0x6a09_e667,
    0xbb67_ae85,
    0x3c6e_f372,
    0xa54f_f53a,
    0x510e_527f,
    0x9b05_688c,
    0x1f83_d9ab,
    0x5be0_cd19,
];
const SHA384: [u64; 8] = [
    0xcbbb_9d5d_c105_9ed8,
    0x629a_292a_367c_d507,
    0x9159_015a_3070_dd17,
    0x152f_ecd8_f70e_5939,
    0x6733_2667_ffc0_0b31,
    0x8eb4_4a87_6858_1511,
    0xdb0c_2e0d_64f9_8fa7,
    0x47b5_481d_befa_4fa4,
];
const SHA512: [u64; 8] = [
    0x6a09_e667_f3bc_c908,
    0xbb67_ae85_84ca_a73b,
    0x3c6e_f372_fe94_f82b,
    0xa54f_f53a_5f1d_36f1,
    0x510e_527f_ade6_82d1,
    0x9b05_688c_2b3e_6c1f,
    0x1f83_d9ab_fb41_bd6b,
    0x5be0_cd19_137e_2179,
];

/// The state: words of 32 or of 64 bits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum State {
    Narrow([u32; 8]),
    Wide([u64; 8]),
}

/// One of the hash functions, at work.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Hasher {
    algorithm: String,
    state: State,
    /// Less than a block.
    pending: Vec<u8>,
    length: u64,
}

impl Hasher {
    /// Of nothing yet.
    pub(crate) fn new(algorithm: Algorithm) -> Self {
        let state = match algorithm {
            Algorithm::Sha256 => State::Narrow(SHA256),
            Algorithm::Sha384 => State::Wide(SHA384),
            Algorithm::Sha512 => State::Wide(SHA512),
        };
        Self {
            algorithm: algorithm.name().to_owned(),
            state,
            pending: Vec::with_capacity(128),
            length: 0,
        }
    }

    /// Whether it is of this kind.
    pub(crate) fn is(&self, algorithm: Algorithm) -> bool {
        self.algorithm == algorithm.name()
    }

    fn block_bytes(&self) -> usize {
        match self.state {
            State::Narrow(_) => 64,
            State::Wide(_) => 128,
        }
    }

    /// Takes bytes in.
    pub(crate) fn update(&mut self, mut bytes: &[u8]) {
        self.length += bytes.len() as u64;
        let block = self.block_bytes();
        if !self.pending.is_empty() {
            let wanted = (block - self.pending.len()).min(bytes.len());
            self.pending.extend_from_slice(&bytes[..wanted]);
            bytes = &bytes[wanted..];
            if self.pending.len() < block {
                return;
            }
            let pending = std::mem::take(&mut self.pending);
            self.compress(&pending);
        }
        let (whole, rest) = bytes.split_at(bytes.len() - bytes.len() % block);
        self.compress(whole);
        self.pending.extend_from_slice(rest);
    }

    /// Works on whole blocks.
    fn compress(&mut self, bytes: &[u8]) {
        match &mut self.state {
            State::Narrow(state) => {
                let mut blocks = [GenericArray::<u8, U64>::default(); BATCH];
                for batch in bytes.chunks(BATCH * 64) {
                    let count = batch.len() / 64;
                    for (block, bytes) in blocks.iter_mut().zip(batch.chunks_exact(64)) {
                        block.copy_from_slice(bytes);
                    }
                    sha2::compress256(state, &blocks[..count]);
                }
            }
            State::Wide(state) => {
                for bytes in bytes.chunks_exact(128) {
                    let block = GenericArray::<u8, U128>::clone_from_slice(bytes);
                    sha2::compress512(state, &[block]);
                }
            }
        }
    }

    /// The digest of all bytes.
    pub(crate) fn finish(mut self) -> Digest {
        let block = self.block_bytes();
        let bits = u128::from(self.length) * 8;
        // A one, zeros, and the length in bits, to the end of a block.
        let mut padded = std::mem::take(&mut self.pending);
        padded.push(0x80);
        let field = block / 8;
        let zeros = (2 * block - field - padded.len()) % block;
        padded.resize(padded.len() + zeros, 0);
        padded.extend_from_slice(&bits.to_be_bytes()[16 - field..]);
        self.compress(&padded);
        let hex: String = match self.state {
            State::Narrow(state) => state.iter().map(|word| format!("{word:08x}")).collect(),
            State::Wide(state) => state.iter().map(|word| format!("{word:016x}")).collect(),
        };
        let digits = match self.algorithm.as_str() {
            "sha384" => 96,
            _ => hex.len(),
        };
        Digest::parse(&format!("{}:{}", self.algorithm, &hex[..digits]))
            .expect("invariant: a hash is a digest")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sha2::Digest as _;

    #[test]
    fn hashes_are_those_of_the_crate_also_when_written_down_in_between() {
        let bytes: Vec<u8> = (0..20_000u32).map(|n| (n * 7 + n / 256) as u8).collect();
        for length in [
            0, 1, 55, 56, 63, 64, 65, 111, 112, 119, 127, 128, 129, 4096, 20_000,
        ] {
            let bytes = &bytes[..length];
            for (algorithm, expected) in [
                (
                    Algorithm::Sha256,
                    format!("sha256:{:x}", sha2::Sha256::digest(bytes)),
                ),
                (
                    Algorithm::Sha384,
                    format!("sha384:{:x}", sha2::Sha384::digest(bytes)),
                ),
                (
                    Algorithm::Sha512,
                    format!("sha512:{:x}", sha2::Sha512::digest(bytes)),
                ),
            ] {
                let mut hasher = Hasher::new(algorithm);
                for piece in bytes.chunks(97) {
                    hasher.update(piece);
                    let kept = serde_json::to_string(&hasher).unwrap();
                    hasher = serde_json::from_str(&kept).unwrap();
                }
                assert_eq!(hasher.finish().as_str(), expected, "{length}");
                let mut hasher = Hasher::new(algorithm);
                hasher.update(bytes);
                assert_eq!(hasher.finish().as_str(), expected, "{length} at once");
            }
        }
    }
}
