//! Goal: what is ignored is what Docker ignores, and asking costs little.
//! Method: recorded answers of moby/patternmatcher; then what the corpus has not.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::*;
use crate::golden;

#[test]
fn files_and_paths_are_ignored_as_docker_ignores_them() {
    for case in golden::read("dockerignore-golden.jsonl") {
        let patterns = parse(case["ignorefile"].as_str().unwrap().as_bytes()).unwrap();
        assert_eq!(patterns, golden::strings(&case["patterns"]), "{case}");
        let matcher = Matcher::new(&patterns);
        assert_eq!(matcher.is_err(), !case["new_error"].is_null(), "{case}");
        let Ok(matcher) = matcher else { continue };
        for path in case["cases"].as_array().unwrap() {
            let text = path["path"].as_str().unwrap();
            let found = matcher.ignores(text.as_bytes());
            assert_eq!(Value::Bool(found), path["excluded"], "{text}: {patterns:?}");
        }
    }
}

#[test]
fn the_tables_of_patternmatcher_hold() {
    let Some(path) = golden::corpus("golden/patternmatcher-curated.json") else {
        return;
    };
    let cases: Vec<Value> = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    for case in cases {
        let matcher = Matcher::new(&golden::strings(&case["patterns"]));
        let is_bad = case["bad_pattern"].as_bool().unwrap_or_default();
        assert_eq!(matcher.is_err(), is_bad, "{case}");
        let Ok(matcher) = matcher else { continue };
        let path = clean(case["path"].as_str().unwrap());
        let found = matcher.ignores(path.as_bytes());
        assert_eq!(Value::Bool(found), case["match"], "{case}");
    }
}

#[test]
fn ignore_files_of_real_projects_are_read() {
    let Some(folder) = golden::corpus("dockerignore-files") else {
        return;
    };
    let mut count = 0;
    for project in std::fs::read_dir(folder).unwrap() {
        for file in std::fs::read_dir(project.unwrap().path()).unwrap() {
            let source = std::fs::read(file.unwrap().path()).unwrap();
            Matcher::new(&parse(&source).unwrap()).unwrap();
            count += 1;
        }
    }
    assert!(count > 20, "{count}");
}

fn matcher(patterns: &[&str]) -> Matcher {
    Matcher::new(patterns).unwrap()
}

#[test]
fn a_rule_of_a_directory_counts_beneath_it_until_a_later_one_matches() {
    let rules = matcher(&[
        "node_modules",
        "!node_modules/keep",
        "**/*.log",
        "!keep.log",
    ]);
    let cases: [(&[u8], bool); 7] = [
        (b"node_modules", true),
        (b"node_modules/a/b", true),
        (b"node_modules/keep", false),
        (b"node_modules/keep/x", false),
        (b"src/a.log", true),
        (b"keep.log", false),
        (b"src/keep.log", true),
    ];
    for (path, want) in cases {
        assert_eq!(
            rules.ignores(path),
            want,
            "{}",
            String::from_utf8_lossy(path)
        );
    }
    let rules = matcher(&["*", "!foo/bar", "foo"]);
    assert!(rules.ignores(b"foo/bar"));
}

#[test]
fn names_of_any_bytes_are_matched() {
    let cases: [(&str, &[u8], bool); 9] = [
        ("?", "é".as_bytes(), true),
        ("?", b"\xe9", true),
        ("a?c/*", "aéc/\u{1f600}".as_bytes(), true),
        ("[^a]x", "éx".as_bytes(), true),
        ("[é]", "é".as_bytes(), true),
        ("??", "é".as_bytes(), false),
        ("*\\*", b"a*", true),
        ("**/b", b"a\n/b", true),
        ("**/?", "x/é".as_bytes(), true),
    ];
    for (pattern, path, want) in cases {
        let found = matcher(&[pattern]).ignores(path);
        assert_eq!(found, want, "{pattern} {}", String::from_utf8_lossy(path));
    }
}

#[test]
fn an_ignored_directory_is_entered_only_for_an_exception() {
    let rules = matcher(&["*", "!src/main", "!docs/**/*.md", "!?x"]);
    assert!(rules.may_bring_back(b"src"));
    assert!(rules.may_bring_back(b"docs/a"));
    let rules = matcher(&["*", "!src/main", "!docs/*.md"]);
    for (directory, want) in [
        ("src", true),
        ("s", false),
        ("docs", true),
        ("docsx", false),
    ] {
        assert_eq!(
            rules.may_bring_back(directory.as_bytes()),
            want,
            "{directory}"
        );
    }
    assert!(matcher(&["*", "!**/x"]).may_bring_back(b"any/where"));
    assert!(!matcher(&["a"]).may_bring_back(b"a"));
}

#[test]
fn the_name_that_was_meant_is_found() {
    assert_eq!(misspelt(["a", ".dockeringore"]), Some(".dockeringore"));
    assert_eq!(misspelt([".dockerignore"]), None);
}

/// A pattern that makes a backtracking matcher take for ever; and a large context.
#[test]
fn asking_is_cheap_whatever_the_patterns() {
    let hostile = format!("{}b", "*a".repeat(1000));
    let rules = matcher(&[hostile.as_str(), "**/**/**/**/**/x/**/y"]);
    let path = "a".repeat(4000);
    assert!(!rules.ignores(path.as_bytes()));
    let patterns: Vec<String> = (0..50)
        .map(|n| match n % 5 {
            0 => format!("dir{n}"),
            1 => format!("**/name{n}"),
            2 => format!("*.ext{n}"),
            3 => format!("**/deep{n}/**"),
            _ => format!("a/*/b{n}"),
        })
        .collect();
    let rules = Matcher::new(&patterns).unwrap();
    let start = Instant::now();
    let mut ignored = 0;
    for directory in 0..200 {
        let path = format!("project/src/module{directory}");
        let (_, inherited) = rules.directory(path.as_bytes(), &Inherited::default());
        for file in 0..100 {
            let path = format!("{path}/file{file}.ext7");
            ignored += usize::from(rules.file(path.as_bytes(), &inherited));
        }
    }
    eprintln!("20,000 paths and 50 patterns: {:?}", start.elapsed());
    assert_eq!(ignored, 0);
    // Unoptimised and beside other tests; released it takes about a hundredth.
    assert!(
        start.elapsed() < Duration::from_secs(3),
        "{:?}",
        start.elapsed()
    );
}

#[test]
fn what_cannot_be_understood_is_told_with_its_line() {
    let located = |text: &[u8]| {
        parse_checked(text)
            .map_err(|error| error.located(".dockerignore"))
            .expect_err("bad")
    };
    assert_eq!(
        located(b"# comment\n\n*.log\n  [\n!"),
        ".dockerignore:4: syntax error in pattern \"[\""
    );
    assert_eq!(
        located(b"a\n ! \n"),
        ".dockerignore:2: illegal exclusion pattern: \"!\""
    );
    assert_eq!(
        located(b"a\n\xff\n"),
        ".dockerignore: line 2 is not UTF-8 text"
    );
    assert_eq!(
        parse_checked(b"/a/\n!b"),
        parse(b"/a/\n!b").map_err(|_| unreachable!())
    );
}
