//! Databases of rpm, of all three kinds. The first two bytes say how many of the last ones are the log.
#![no_main]

use engine::fuzz::rpm_database;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((length, rest)) = data.split_first_chunk() else {
        return;
    };
    let log = usize::from(u16::from_le_bytes(*length)).min(rest.len());
    let (bytes, log) = rest.split_at(rest.len() - log);
    rpm_database(bytes.to_vec(), log);
});
