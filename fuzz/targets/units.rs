//! Sizes, durations, times and Go's numbers. What is shown is read again as the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use types::go_syntax;
use types::timestamp::Timestamp;
use types::units;

fuzz_target!(|text: &str| {
    for size in [
        units::ram_in_bytes(text),
        units::from_human_size(text),
        units::memory_bytes(text),
        units::memory_swap_bytes(text),
    ] {
        if let Ok(size) = size {
            let _ = units::human_size(size as f64);
            let _ = units::bytes_size(size as f64);
        }
    }
    if let Ok(nanoseconds) = units::parse_duration(text) {
        let shown = units::format_duration(nanoseconds);
        assert_eq!(units::parse_duration(&shown), Ok(nanoseconds), "{shown}");
        let _ = units::human_duration(nanoseconds);
    }
    let now = Timestamp::from_unix(1_700_000_000, 0);
    for time in [
        Timestamp::parse_rfc3339(text),
        Timestamp::parse_relative(text, now, 3600),
    ] {
        if let Ok(time) = time {
            let _ = (time.docker(), time.unix_text(), time.rfc3339_fixed());
            let _ = time.plus_ns(i64::MAX).since_ns(time);
            let year = time.rfc3339();
            if year.len() >= 20 && year.as_bytes()[4] == b'-' {
                assert_eq!(Timestamp::parse_rfc3339(&year), Ok(time), "{year}");
            }
        }
    }
    if let Ok(number) = go_syntax::parse_int(text) {
        let _ = units::human_duration(number);
        let _ = units::format_duration(number);
        let _ = Timestamp::from_unix(number, 0).docker();
        let _ = Timestamp::from_unix_ns(i128::from(number)).rfc3339();
    }
    let _ = go_syntax::parse_atoi(text);
    let _ = go_syntax::parse_uint(text, 10, 16);
    let _ = go_syntax::parse_uint(text, 8, 64);
    if let Ok(number) = go_syntax::parse_float(text) {
        let _ = units::human_size(number);
        let _ = units::human_size_with_precision(number, 3);
        let _ = units::bytes_size(number);
    }
    let _ = go_syntax::parse_bool(text);
    let quoted = go_syntax::quote(text);
    assert!(!quoted.contains(char::is_control), "{quoted:?}");
});
