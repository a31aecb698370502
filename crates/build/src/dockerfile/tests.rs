//! Goal: the syntax of every real Dockerfile, and every word, is read as BuildKit reads it.
//! Method: the corpus' recorded answers; then what the corpus has not: limits and places.

use std::fs;

use serde_json::{Value, json};
use types::go_syntax::quote;

use super::command::{Command, Stage};
use super::place::Position;
use super::syntax::{self, Statement};
use super::words::{Lexer, Variables};
use super::*;
use crate::golden;

/// An environment in the form of a golden.
struct Slice(Vec<String>);

impl Variables for Slice {
    fn get(&self, name: &str) -> Option<&str> {
        let pairs = self.0.iter().rev();
        pairs
            .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
            .find(|(key, _)| *key == name)
            .map(|(_, value)| value)
    }
}

#[test]
fn words_are_expanded_as_buildkit_expands_them() {
    for case in golden::read("shelllex-golden.jsonl") {
        let variables = Slice(golden::strings(&case["env"]));
        let escape = case["escape"].as_str().unwrap().chars().next().unwrap();
        let text = case["in"].as_str().unwrap();
        let found = Lexer::new(escape).expand(text, &variables);
        assert_eq!(
            found.is_err(),
            !case["error"].is_null(),
            "{case}: {found:?}"
        );
        assert_eq!(found.is_err(), !case["words_error"].is_null(), "{case}");
        let Ok(found) = found else { continue };
        assert_eq!(found.text, case["word"].as_str().unwrap(), "{case}");
        assert_eq!(found.words, golden::strings(&case["words"]), "{case}");
        let mut unmatched = found.unmatched.clone();
        unmatched.sort();
        let mut wanted = golden::strings(&case["unmatched"]);
        wanted.sort();
        assert_eq!(unmatched, wanted, "{case}");
    }
}

#[test]
fn the_word_tables_of_buildkit_hold() {
    let Some(folder) = golden::corpus("shell-lex") else {
        return;
    };
    let variables = ["PWD=/home", "SHELL=bash", "KOREAN=한국어", "NULL="];
    let variables = Slice(variables.map(str::to_owned).to_vec());
    let table = fs::read_to_string(folder.join("envVarTest")).unwrap();
    let lines = table.lines().map(str::trim);
    for line in lines.filter(|line| line.starts_with(['A', 'U'])) {
        let parts: Vec<&str> = line.split('|').map(str::trim).collect();
        let found = Lexer::new('\\').expand(parts[1], &variables);
        match parts[2] {
            "error" => assert!(found.is_err(), "{line}: {found:?}"),
            want => assert_eq!(found.unwrap().text, want, "{line}"),
        }
    }
    let table = fs::read_to_string(folder.join("wordsTest")).unwrap();
    let mut variables = Slice(Vec::new());
    for line in table.lines().filter(|line| !line.starts_with('#')) {
        if let Some(variable) = line.strip_prefix("ENV ") {
            variables.0.push(variable.trim_start().to_owned());
            continue;
        }
        let (text, want) = line.split_once('|').unwrap();
        let found = Lexer::new('\\').expand(text.trim(), &variables);
        let found = found.map_or_else(|_| vec!["error".to_owned()], |found| found.words);
        let want: Vec<&str> = want.trim_start_matches(' ').split(',').collect();
        assert_eq!(found, want, "{line}");
    }
}

/// A statement as BuildKit's parser dumps it.
fn dump(statement: &Statement) -> String {
    let mut text = statement.keyword.to_lowercase();
    if !statement.flags.is_empty() {
        let flags: Vec<String> = statement.flags.iter().map(|flag| quote(flag)).collect();
        text.push_str(&format!(" [{}]", flags.join(" ")));
    }
    if let Some(nested) = &statement.nested {
        text.push_str(&format!(" ({})", dump(nested)));
    }
    for argument in &statement.arguments {
        text.push_str(&format!(" {}", quote(argument)));
    }
    text.trim().to_owned()
}

#[test]
fn the_parser_cases_of_buildkit_hold() {
    let Some(folder) = golden::corpus("dockerfile-parser") else {
        return;
    };
    let mut count = 0;
    for entry in fs::read_dir(folder.join("testfiles")).unwrap() {
        let case = entry.unwrap().path();
        let syntax = syntax::read(&fs::read(case.join("Dockerfile")).unwrap()).unwrap();
        let dumped: String = syntax
            .statements
            .iter()
            .map(|statement| format!("({})\n", dump(statement)))
            .collect();
        let want = fs::read_to_string(case.join("result")).unwrap();
        assert_eq!(dumped, want, "{}", case.display());
        count += 1;
    }
    assert_eq!(count, 33);
    for entry in fs::read_dir(folder.join("testfiles-negative")).unwrap() {
        let case = entry.unwrap().path();
        let source = fs::read(case.join("Dockerfile")).unwrap();
        assert!(parse(&source).is_err(), "{}", case.display());
    }
}

/// Go writes an empty list now and then as `null`.
fn flags(statement: &Statement) -> Value {
    match statement.origin.text.trim().contains([' ', '\t']) {
        true => json!(statement.flags),
        false => Value::Null,
    }
}

#[test]
fn the_syntax_of_real_dockerfiles_is_that_of_buildkit() {
    for case in golden::read("dockerfile-golden.jsonl") {
        let file = case["file"].as_str().unwrap();
        let source = fs::read(golden::corpus(file).unwrap()).unwrap();
        let syntax = syntax::read(&source);
        assert_eq!(syntax.is_err(), !case["parse_error"].is_null(), "{file}");
        let Ok(syntax) = syntax else { continue };
        let dumped: Vec<String> = syntax
            .statements
            .iter()
            .map(|statement| format!("({})", dump(statement)))
            .collect();
        assert_eq!(dumped, golden::strings(&case["ast"]), "{file}");
        let lines: Vec<Value> = syntax
            .statements
            .iter()
            .map(|statement| {
                json!({
                    "cmd": statement.keyword.to_lowercase(),
                    "start": statement.origin.lines.start,
                    "end": statement.origin.lines.end,
                    "flags": flags(statement),
                    "heredocs": statement.heredocs.len(),
                })
            })
            .collect();
        for (found, want) in lines.iter().zip(case["lines"].as_array().unwrap()) {
            assert_eq!(found, want, "{file}");
        }
        let escape = syntax.directives.escape_character().to_string();
        assert_eq!(escape, case["escape"].as_str().unwrap(), "{file}");
        let warnings = case["warnings"].as_array().map_or(0, Vec::len);
        assert_eq!(syntax.empty_continuations.len(), warnings, "{file}");
    }
}

/// A stage as the goldens have it.
fn stage_summary(stage: &Stage) -> Value {
    let commands: Vec<String> = stage
        .instructions
        .iter()
        .map(|instruction| instruction.keyword.clone())
        .collect();
    json!({
        "base": stage.base,
        "name": stage.name.clone().unwrap_or_default(),
        "platform": stage.platform.clone().unwrap_or_default(),
        "commands": commands,
    })
}

#[test]
fn the_stages_of_real_dockerfiles_are_those_of_buildkit() {
    for case in golden::read("dockerfile-golden.jsonl") {
        let file = case["file"].as_str().unwrap();
        let found = parse(&fs::read(golden::corpus(file).unwrap()).unwrap());
        let wrong = ["parse_error", "instr_error"];
        let is_wrong = wrong.iter().any(|key| !case[*key].is_null());
        assert_eq!(found.is_err(), is_wrong, "{file}: {found:?}");
        if let Some(line) = case["instr_error"]
            .as_str()
            .and_then(|text| text.strip_prefix("dockerfile parse error on line "))
        {
            let (line, text) = line.split_once(": ").unwrap();
            let error = found.as_ref().unwrap_err();
            assert_eq!(error.lines.start.to_string(), line, "{file}");
            assert_eq!(error.problem.to_string(), text, "{file}");
        }
        let Ok(found) = found else { continue };
        let stages: Vec<Value> = found.stages.iter().map(stage_summary).collect();
        assert_eq!(Value::Array(stages), case["stages"], "{file}");
        assert_eq!(json!(found.arguments.len()), case["meta_args"], "{file}");
    }
}

/// The only stage's instructions.
fn commands(source: &str) -> Vec<Command> {
    let mut stages = parse(source.as_bytes()).unwrap().stages;
    let stage = stages.pop().unwrap();
    stage
        .instructions
        .into_iter()
        .map(|instruction| instruction.command)
        .collect()
}

#[test]
fn errors_name_the_place_and_what_was_meant() {
    let cases = [
        (
            "FROM a\nRUM x\n",
            "2:1: unknown instruction: RUM (did you mean RUN?)",
        ),
        (
            "FROM a\nCOPY \\\n  --form=b x /\n",
            "3:3: unknown flag: --form (did you mean from?)",
        ),
        (
            "FROM a\nRUN --mount=typ=cache true\n",
            "2:1: unexpected key 'typ' in 'typ=cache' (did you mean type?)",
        ),
        (
            "RUN x\n",
            "1:1: no build stage in current context: the first instruction must be FROM, or ARG",
        ),
        ("ARG x\n", "1:1: dockerfile contains no stages to build"),
        ("\n# only\n", "2:1: file with no instructions"),
        ("", "1:1: the Dockerfile cannot be empty"),
        ("FROM a\nRUN <<E\nx\n", "2:5: unterminated heredoc"),
        ("FROM a\n  ENV a\n", "2:7: ENV must have two arguments"),
        (
            "FROM a\nCMD [\"a\", 1]\n",
            "2:5: when using JSON array syntax, arrays must be comprised of strings only",
        ),
        (
            "FROM a\nONBUILD ONBUILD RUN a",
            "2:1: Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed",
        ),
        ("FROM a\nARG --x y", "2:5: ARG takes no flags"),
    ];
    for (source, want) in cases {
        let error = parse(source.as_bytes()).map(|found| format!("{found:?}"));
        match error {
            // Keys of mounts are read with the values, when the step is made.
            Ok(_) if source.contains("--mount") => {}
            other => assert_eq!(other.unwrap_err().located("f"), format!("f:{want}")),
        }
    }
    let error = parse(b"FROM a\nRUN caf\xe9\n").unwrap_err();
    assert_eq!(error.position, Position { line: 2, column: 8 });
    assert!(parse(b"# caf\xe9\nFROM a\nRUN a \\\n# caf\xe9\n b\n").is_ok());
}

#[test]
fn what_is_too_long_is_refused_by_name() {
    let line = format!("FROM a\nRUN {}\n", "x".repeat(LINE_BYTES_MAX - 5));
    assert!(parse(line.as_bytes()).is_ok());
    let line = format!("FROM a\nRUN {}\n", "x".repeat(LINE_BYTES_MAX));
    let error = parse(line.as_bytes()).unwrap_err();
    assert!(
        error
            .located("f")
            .starts_with("f:2:1048576: the line is longer than 1048576")
    );
    let many = format!("FROM a\n{}", "RUN a\n".repeat(INSTRUCTIONS_MAX));
    let error = parse(many.as_bytes()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the Dockerfile has more than 10000 instructions"
    );
    let long = vec![b'\n'; DOCKERFILE_BYTES_MAX + 1];
    assert!(
        parse(&long)
            .unwrap_err()
            .to_string()
            .contains("8388608 bytes")
    );
    let nested = "${a:-".repeat(100_000);
    assert!(
        Lexer::new('\\')
            .expand(&nested, &words::NoVariables)
            .is_err()
    );
}

#[test]
fn a_byte_order_mark_and_carriage_returns_are_no_part_of_it() {
    let source = "\u{feff}# escape=`\r\nFROM a\r\nRUN a `\r\n b\r\n";
    let Command::Run(run) = &commands(source)[0] else {
        panic!("no RUN");
    };
    assert_eq!(run.line.words, ["a  b"]);
}

#[test]
fn heredocs_belong_to_their_instruction() {
    let source = "FROM a\nRUN <<EOF bash\n# x\n$y\nEOF\nCOPY <<-\"A\" <<B /c/\n\t1\nA\n\t2\nB\n\
                  ONBUILD RUN <<E\nq\nE\nRUN [\"<<EOF\"]\n";
    let found = commands(source);
    let Command::Run(run) = &found[0] else {
        panic!("no RUN");
    };
    assert_eq!(run.line.words, ["<<EOF bash"]);
    assert_eq!(run.line.heredocs[0].content, "# x\n$y\n");
    let Command::Copy(copy) = &found[1] else {
        panic!("no COPY");
    };
    let files: Vec<_> = copy
        .sources
        .inline
        .iter()
        .map(|file| (file.name.as_str(), file.content.as_str(), file.expand))
        .collect();
    assert_eq!(files, [("A", "1\n", false), ("B", "\t2\n", true)]);
    assert_eq!(found[2], Command::Onbuild("RUN <<E\nq\nE".to_owned()));
    let Command::Run(run) = &found[3] else {
        panic!("no RUN");
    };
    assert!(!run.line.is_shell);
}
