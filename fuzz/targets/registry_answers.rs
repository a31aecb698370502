//! What registries say: challenges, errors, tokens, tags, redirections.
#![no_main]

libfuzzer_sys::fuzz_target!(|text: &str| registry::fuzz::answers(text));
