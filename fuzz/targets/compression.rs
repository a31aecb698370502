//! Compressed streams of every kind: they end, and take no more memory than their limits say.
#![no_main]

use std::io::Read;

use libfuzzer_sys::fuzz_target;

/// How much of a stream is read: bombs are bounded by those who unpack.
const OUTPUT_BYTES_MAX: u64 = 4 << 20;

fuzz_target!(|data: &[u8]| {
    if let Ok((_, source)) = storage::compression::decode(data) {
        let mut buffer = [0; 16 << 10];
        let mut source = source.take(OUTPUT_BYTES_MAX);
        while let Ok(1..) = source.read(&mut buffer) {}
    }
});
