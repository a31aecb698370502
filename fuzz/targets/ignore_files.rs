//! Ignore files: pieces are the file and paths. Asking about a path is the same as walking to it,
//! and what is left out because nothing beneath can come back is ignored.
#![no_main]

use build::ignore::{Inherited, Matcher, parse};
use caisson_fuzz::pieces;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let pieces = pieces(data);
    let Some((file, paths)) = pieces.split_first() else {
        return;
    };
    let Ok(patterns) = parse(file) else { return };
    // Blanks may be left, as with Docker: `! /c/.. /` and `/ /` are cleaned after they were trimmed.
    assert!(patterns.iter().all(|pattern| !pattern.is_empty()));
    let Ok(matcher) = Matcher::new(&patterns) else {
        return;
    };
    for path in paths {
        let mut inherited = Inherited::default();
        let mut is_cut = false;
        for (end, byte) in path.iter().enumerate() {
            if *byte == b'/' {
                let (is_ignored, next) = matcher.directory(&path[..end], &inherited);
                is_cut |= is_ignored && !matcher.may_bring_back(&path[..end]);
                inherited = next;
            }
        }
        let is_ignored = matcher.file(path, &inherited);
        assert_eq!(is_ignored, matcher.ignores(path));
        assert_eq!(is_ignored, matcher.directory(path, &inherited).0);
        assert!(is_ignored || !is_cut, "{patterns:?} {path:?}");
    }
});
