//! What is sent to our registry: paths, manifests, READMEs, tokens, languages, webhooks' addresses.
#![no_main]

libfuzzer_sys::fuzz_target!(|text: &str| registry::server::fuzz::requests(text));
