//! Files of a log as anyone may have left them: the first byte is how many entries are wanted.
#![no_main]

use libfuzzer_sys::fuzz_target;
use types::timestamp::Timestamp;

fuzz_target!(|data: &[u8]| {
    let Some((count, rest)) = data.split_first() else {
        return;
    };
    let files: Vec<Vec<u8>> = caisson_fuzz::pieces(rest)
        .into_iter()
        .map(<[u8]>::to_vec)
        .collect();
    let since = (count & 128 != 0).then(|| Timestamp::from_unix(1_700_000_000, 0));
    let count = u64::from(count & 127);
    let handed_over = engine::fuzz::log_files(files, count, since);
    assert!(
        handed_over <= count,
        "{handed_over} entries of the last {count}"
    );
});
