//! Files of environment variables and labels, and the flags beside them.
#![no_main]

use libfuzzer_sys::fuzz_target;
use types::env::{
    parse_env_file, parse_env_flag, parse_extra_host, parse_label_file, split_key_value,
    validate_label,
};

fuzz_target!(|data: &[u8]| {
    let host = |name: &str| (name.len() % 2 == 0).then(|| "value".to_owned());
    if let Ok(variables) = parse_env_file(data, host) {
        for variable in variables {
            let (name, _) = split_key_value(&variable);
            assert!(
                !name.is_empty() && !variable.contains(['\0', '\n']),
                "{variable:?}"
            );
        }
    }
    if let Ok(labels) = parse_label_file(data) {
        assert!(labels.iter().all(|label| !label.contains(['\0', '\n'])));
    }
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    if let Ok(variable) = parse_env_flag(text, host) {
        assert!(!split_key_value(&variable).0.is_empty());
    }
    let _ = validate_label(text);
    if let Ok(entry) = parse_extra_host(text) {
        assert!(entry.contains(':'), "{entry:?}");
    }
});
