//! Words of Dockerfiles and git references: pieces are an environment, one `NAME=value` a line, and
//! texts.
#![no_main]

use std::collections::BTreeMap;

use build::dockerfile::heredoc::Heredoc;
use build::dockerfile::words::{EXPANSION_BYTES_MAX, Lexer, Variables};
use build::gitref;
use caisson_fuzz::{pieces, text};
use libfuzzer_sys::fuzz_target;

struct Map<'a>(BTreeMap<&'a str, &'a str>);

impl Variables for Map<'_> {
    fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).copied()
    }
}

fuzz_target!(|data: &[u8]| {
    let pieces = pieces(data);
    let pairs = text(&pieces, 0).lines().filter_map(|line| line.split_once('='));
    let variables = Map(pairs.collect());
    for index in 1..pieces.len() {
        let text = text(&pieces, index);
        for bits in 0..16 {
            let lexer = Lexer {
                keep_quotes: bits & 1 != 0,
                keep_escapes: bits & 2 != 0,
                ignore_quotes: bits & 4 != 0,
                keep_unset: bits & 8 != 0,
                ..Lexer::new('\\')
            };
            if let Ok(expanded) = lexer.expand(text, &variables) {
                assert!(expanded.text.len() <= EXPANSION_BYTES_MAX);
                for name in &expanded.matched {
                    assert!(variables.get(name).is_some());
                }
                for name in &expanded.unmatched {
                    assert!(variables.get(name).is_none());
                }
                let again = lexer.expand(text, &variables);
                assert_eq!(again.as_ref(), Ok(&expanded));
            }
        }
        if let Ok(Some(heredoc)) = Heredoc::parse(text) {
            assert!(text.contains("<<") && heredoc.content.is_empty());
        }
        if let Ok(git) = gitref::parse(text) {
            assert!(!git.remote.starts_with('-'));
            assert!(!git.subdirectory.starts_with('/') && !git.subdirectory.starts_with("../"));
        }
    }
});
