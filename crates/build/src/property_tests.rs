//! Goal: no text makes the front end panic, an error is within the file, and what several ways must
//! give the same does. Method: random text, half of it from the words of the language.

use proptest::prelude::*;
use types::platform::Platform;

use crate::dockerfile::place::Lines;
use crate::dockerfile::words::{Lexer, NoVariables, Variables};
use crate::dockerfile::{parse, syntax};
use crate::gitref;
use crate::graph::{Graph, ResolvedImage, Resolver};
use crate::ignore::{self, Inherited, Matcher};
use crate::lower::{LowerError, Request, lower};

fn config() -> ProptestConfig {
    ProptestConfig {
        cases: 256,
        // Regressions become cases in a table by hand, not files beside the sources.
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

/// There are no images: FROM scratch alone can be lowered.
struct NoImages;

impl Resolver for NoImages {
    fn image(&mut self, _: &str, _: &Platform) -> Result<ResolvedImage, String> {
        Err("no images here".to_owned())
    }

    fn oci_layout(
        &mut self,
        _: &std::path::Path,
        _: &str,
        _: &Platform,
    ) -> Result<ResolvedImage, String> {
        Err("no images here".to_owned())
    }
}

struct One(String);

impl Variables for One {
    fn get(&self, name: &str) -> Option<&str> {
        (name == "a").then_some(self.0.as_str())
    }
}

/// A line of a Dockerfile, or nearly.
fn line() -> impl Strategy<Value = String> {
    let word = "(\\$[ab]|\\$\\{[ab][:%#/?+-]{1,2}[a*?/]{0,2}\\}|[a-z/.=:\"'\\\\]{1,5}|<<-?E|é)";
    let flag = "(--(from|mount|chmod|chown|platform|link|exclude|network)(=[a-z0-9,=/$:]{1,9})? )?";
    let keyword = "(FROM|from|RUN|COPY|ADD|ENV|ARG|LABEL|CMD|ENTRYPOINT|EXPOSE|VOLUME|WORKDIR|USER|\
                   ONBUILD RUN|HEALTHCHECK CMD|SHELL|STOPSIGNAL|MAINTAINER|#|# escape=)";
    (
        keyword,
        flag,
        prop::collection::vec(word, 0..4),
        "( \\\\|)(\n|\r\n)",
    )
        .prop_map(|(keyword, flag, words, end)| format!("{keyword} {flag}{}{end}", words.join(" ")))
}

fn dockerfile() -> impl Strategy<Value = String> {
    let lines = prop::collection::vec(line(), 0..8);
    prop_oneof![
        1 => any::<String>(),
        6 => lines.prop_map(|lines| format!("FROM scratch AS x\n{}", lines.concat())),
    ]
}

fn is_within(lines: Lines, source: &str) -> bool {
    let count = source.split('\n').count();
    (1..=lines.end).contains(&lines.start) && usize::try_from(lines.end).unwrap() <= count
}

/// What [`Matcher`] means, written as plainly as it can be.
fn means(pattern: &[char], path: &[char]) -> bool {
    match pattern {
        // Docker reads `**` before mere letters as "ends so".
        ['*', '*', '/', ending @ ..] if !ending.is_empty() && is_literal(ending) => {
            path == ending || path.ends_with(&pattern[2..])
        }
        ['*', '*', ending @ ..] if !ending.is_empty() && is_literal(ending) => {
            path.ends_with(ending)
        }
        _ => plainly_matches(pattern, path),
    }
}

fn is_literal(pattern: &[char]) -> bool {
    !pattern.iter().any(|letter| matches!(letter, '*' | '?'))
}

fn plainly_matches(pattern: &[char], path: &[char]) -> bool {
    match pattern {
        [] => path.is_empty(),
        ['*', '*'] => true,
        ['*', '*', '/', rest @ ..] | ['*', '*', rest @ ..] => {
            plainly_matches(rest, path)
                || (0..path.len())
                    .filter(|at| path[*at] == '/')
                    .any(|at| plainly_matches(rest, &path[at + 1..]))
        }
        ['*', rest @ ..] => (0..=path.len())
            .take_while(|at| !path[..*at].contains(&'/'))
            .any(|at| plainly_matches(rest, &path[at..])),
        ['?', rest @ ..] => {
            path.first().is_some_and(|first| *first != '/') && plainly_matches(rest, &path[1..])
        }
        [letter, rest @ ..] => path.first() == Some(letter) && plainly_matches(rest, &path[1..]),
    }
}

/// The path and those above it.
fn with_parents(path: &str) -> Vec<Vec<char>> {
    let ends = path.match_indices('/').map(|(at, _)| at);
    ends.chain([path.len()])
        .map(|end| path[..end].chars().collect())
        .collect()
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn no_text_makes_the_front_end_panic(source in dockerfile()) {
        let dockerfile = match parse(source.as_bytes()) {
            Ok(dockerfile) => dockerfile,
            Err(error) => {
                prop_assert!(is_within(error.lines, &source), "{error:?}");
                return Ok(());
            }
        };
        let request = Request::new(&dockerfile, Platform::new("linux", "amd64", ""));
        let (mut graph, mut again) = (Graph::default(), Graph::default());
        match lower(&request, &mut NoImages, &mut graph) {
            Ok(lowered) => {
                // A planner gives the same for the same.
                let second = lower(&request, &mut NoImages, &mut again).unwrap();
                prop_assert_eq!(&graph, &again);
                prop_assert_eq!(&lowered, &second);
                for warning in &lowered.warnings {
                    prop_assert!(is_within(warning.lines, &source), "{warning:?}");
                }
            }
            Err(LowerError::Dockerfile(error)) => {
                prop_assert!(is_within(error.lines, &source), "{error:?}");
            }
            Err(_) => {}
        }
        for (at, step) in graph.steps.iter().enumerate() {
            prop_assert!(step.op.inputs().iter().all(|input| input.0 < at));
        }
    }

    #[test]
    fn a_joined_line_is_read_as_its_parts_were(source in dockerfile()) {
        let Ok(read) = syntax::read(source.as_bytes()) else { return Ok(()) };
        for statement in read.statements.iter().filter(|one| one.heredocs.is_empty()) {
            let escape = read.directives.escape_character();
            // What begins like a comment or ends like a continuation was not so in its place.
            let text = statement.origin.text.trim();
            if text.is_empty() || text.starts_with('#') || text.ends_with(escape) || escape != '\\' {
                continue;
            }
            let again = syntax::read(text.as_bytes()).unwrap();
            prop_assert_eq!(again.statements.len(), 1);
            prop_assert_eq!(&again.statements[0].arguments, &statement.arguments);
            prop_assert_eq!(&again.statements[0].flags, &statement.flags);
        }
    }

    #[test]
    fn words_are_expanded_without_a_panic(text in any::<String>(), value in any::<String>()) {
        let lexer = Lexer::new('\\');
        let _ = lexer.expand(&text, &One(value.clone()));
        // A value is not read again, whatever is in it.
        let expanded = lexer.expand("\"${a}\"", &One(value.clone())).unwrap();
        prop_assert_eq!(&expanded.text, &value);
        prop_assert_eq!(lexer.expand("$a", &One(value.clone())).unwrap().text, value);
        let quoted = format!("'{}'", text.replace('\'', ""));
        let expanded = lexer.expand(&quoted, &NoVariables).unwrap();
        prop_assert_eq!(expanded.text, text.replace('\'', ""));
        let _ = gitref::parse(&text);
    }

    #[test]
    fn patterns_match_as_they_are_meant(
        patterns in prop::collection::vec("!?[ab*?/é]{1,7}", 1..4),
        path in "[abé]{1,3}(/[abé]{1,3}){0,3}",
    ) {
        let file = patterns.join("\n");
        let patterns = ignore::parse(file.as_bytes()).unwrap();
        let Ok(matcher) = Matcher::new(&patterns) else { return Ok(()) };
        let mut wanted = false;
        for pattern in &patterns {
            let (is_exception, text) = match pattern.strip_prefix('!') {
                Some(text) => (true, text),
                None => (false, pattern.as_str()),
            };
            let pattern: Vec<char> = text.chars().collect();
            if with_parents(&path).iter().any(|part| means(&pattern, part)) {
                wanted = !is_exception;
            }
        }
        prop_assert_eq!(matcher.ignores(path.as_bytes()), wanted, "{:?} {}", patterns, path);
        let mut inherited = Inherited::default();
        for (end, _) in path.match_indices('/') {
            let (is_ignored, next) = matcher.directory(&path.as_bytes()[..end], &inherited);
            if is_ignored && !matcher.may_bring_back(&path.as_bytes()[..end]) {
                prop_assert!(wanted, "{:?} {}", patterns, path);
            }
            inherited = next;
        }
        prop_assert_eq!(matcher.file(path.as_bytes(), &inherited), wanted);
    }

    #[test]
    fn ignore_files_of_any_bytes_are_read(file in any::<Vec<u8>>(), path in any::<Vec<u8>>()) {
        if let Ok(patterns) = ignore::parse(&file)
            && let Ok(matcher) = Matcher::new(&patterns) {
                let _ = matcher.ignores(&path);
            }
    }
}
