//! `config.toml`, and Docker's `config.json` with the accounts.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    engine::fuzz::configuration(data);
    if let Ok(text) = std::str::from_utf8(data) {
        registry::fuzz::settings(text);
    }
});
