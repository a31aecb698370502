//! `resolv.conf`, `hosts` and the answers of name servers; the first byte chooses.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Some((choice, rest)) = data.split_first() else {
        return;
    };
    if choice % 2 == 1 {
        registry::fuzz::name_server_answer(rest);
    } else if let Ok(text) = std::str::from_utf8(rest) {
        registry::fuzz::resolver_files(text);
    }
});
