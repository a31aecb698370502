//! Filters and patterns: lines are `--filter`s, the last is what they are asked about.
#![no_main]

use std::collections::BTreeMap;

use libfuzzer_sys::fuzz_target;
use types::filter::Filters;
use types::pattern::Pattern;

fuzz_target!(|text: &str| {
    let mut lines: Vec<&str> = text.lines().collect();
    let subject = lines.pop().unwrap_or_default();
    if let Ok(filters) = Filters::parse(&lines) {
        let _ = filters.check_keys(&["name", "label", "status"]);
        let labels = BTreeMap::from([(subject.to_owned(), "x".to_owned())]);
        for (key, _) in filters.iter() {
            let _ = filters.boolean(key, false);
            let _ = filters.matches_exactly(key, subject);
            let _ = filters.matches_prefix(key, subject);
            let _ = filters.matches_pattern(key, subject);
            let _ = filters.matches_labels(key, &labels);
        }
    }
    for line in lines.iter().take(8) {
        let _ = Pattern::new(line).is_match(subject);
        let _ = engine::fuzz::image_pattern(line, subject);
    }
});
