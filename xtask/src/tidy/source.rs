//! Rust sources as lines of code: comments and the insides of strings blanked, tests set apart.
//!
//! A small scanner, not a parser: it knows strings (raw ones too), characters against lifetimes,
//! nested comments and braces. rustfmt has been over every file, which makes that enough.

use std::path::PathBuf;

use crate::house;

/// A source file.
#[derive(Debug)]
pub(crate) struct Source {
    /// Relative to the root of the checkout.
    pub(crate) path: PathBuf,
    /// As it is.
    pub(crate) text: String,
    /// The same lines with comments and contents of strings blanked.
    pub(crate) code: Vec<String>,
    /// For each line, whether it belongs to tests.
    pub(crate) tests: Vec<bool>,
}

/// A function and the lines of code that it has, its signature among them.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Function {
    /// Its name.
    pub(crate) name: String,
    /// The line of `fn`, counted from 1.
    pub(crate) line: usize,
    /// Lines of code.
    pub(crate) lines: usize,
}

/// Reads all Rust files of ours.
pub(crate) fn read_all() -> anyhow::Result<Vec<Source>> {
    house::rust_files()?
        .into_iter()
        .map(|path| {
            let text = house::read(&path)?;
            Ok(Source::new(path, text))
        })
        .collect()
}

impl Source {
    /// Scans a file.
    pub(crate) fn new(path: PathBuf, text: String) -> Self {
        let code: Vec<String> = blank(&text).lines().map(str::to_owned).collect();
        let tests = if is_test_file(&path) {
            vec![true; code.len()]
        } else {
            test_lines(&code)
        };
        Self {
            path,
            text,
            code,
            tests,
        }
    }

    /// Lines of code, tests apart.
    pub(crate) fn code_lines(&self) -> usize {
        let lines = self.code.iter().zip(&self.tests);
        lines
            .filter(|(line, test)| !**test && !line.trim().is_empty())
            .count()
    }

    /// The functions outside tests.
    pub(crate) fn functions(&self) -> Vec<Function> {
        let mut found = Vec::new();
        for (index, line) in self.code.iter().enumerate() {
            if self.tests[index] {
                continue;
            }
            let Some(name) = function_name(line) else {
                continue;
            };
            if let Some(last) = end_of_item(&self.code, index) {
                let lines = self.code[index..=last]
                    .iter()
                    .filter(|l| !l.trim().is_empty())
                    .count();
                found.push(Function {
                    name,
                    line: index + 1,
                    lines,
                });
            }
        }
        found
    }
}

fn is_test_file(path: &std::path::Path) -> bool {
    let name = path
        .file_name()
        .and_then(|name| name.to_str())
        .unwrap_or_default();
    name == "tests.rs"
        || name.ends_with("_tests.rs")
        || path.starts_with("tests")
        || path.components().any(|part| part.as_os_str() == "tests")
}

/// The name of a function whose definition begins on this line.
fn function_name(line: &str) -> Option<String> {
    let at = line.find("fn ")?;
    let before = line[..at].trim();
    let is_definition = before.split_whitespace().all(|word| {
        matches!(word, "const" | "async" | "unsafe" | "extern" | "\"\"" | "pub")
            || word.starts_with("pub(")
            // The path of pub(in path).
            || word.ends_with(')')
    });
    let name: String = line[at + 3..]
        .chars()
        .take_while(|c| c.is_alphanumeric() || *c == '_')
        .collect();
    (is_definition && !name.is_empty()).then_some(name)
}

/// The line on which the braces opened from `first` on close; `None` for a mere declaration.
fn end_of_item(code: &[String], first: usize) -> Option<usize> {
    let mut depth = 0usize;
    // A `;` inside brackets, as in `[u8; 4]`, ends nothing.
    let mut brackets = 0usize;
    for (index, line) in code.iter().enumerate().skip(first) {
        for character in line.chars() {
            match character {
                '(' | '[' => brackets += 1,
                ')' | ']' => brackets = brackets.saturating_sub(1),
                '{' => depth += 1,
                '}' => {
                    depth = depth.saturating_sub(1);
                    if depth == 0 {
                        return Some(index);
                    }
                }
                ';' if depth == 0 && brackets == 0 => return None,
                _ => {}
            }
        }
    }
    None
}

/// Marks `#[cfg(test)]` items with all their lines.
fn test_lines(code: &[String]) -> Vec<bool> {
    let mut marks = vec![false; code.len()];
    for (index, line) in code.iter().enumerate() {
        if line.trim_start().starts_with("#[cfg(test)]") {
            let last = end_of_item(code, index).unwrap_or(index);
            marks[index..=last].fill(true);
        }
    }
    marks
}

/// What the scanner is inside of.
enum Inside {
    Code,
    LineComment,
    BlockComment(usize),
    Text,
    /// With so many number signs.
    RawText(usize),
}

fn blank(text: &str) -> String {
    let characters: Vec<char> = text.chars().collect();
    let mut out = String::with_capacity(text.len());
    let mut inside = Inside::Code;
    let mut at = 0;
    while at < characters.len() {
        let used = match inside {
            Inside::Code => scan_code(&characters, at, &mut inside, &mut out),
            _ => scan_other(&characters, at, &mut inside, &mut out),
        };
        at += used;
    }
    out
}

fn scan_code(characters: &[char], at: usize, inside: &mut Inside, out: &mut String) -> usize {
    let next = |offset: usize| characters.get(at + offset).copied().unwrap_or('\0');
    let follows_word =
        at > 0 && (characters[at - 1].is_alphanumeric() || characters[at - 1] == '_');
    match characters[at] {
        '/' if next(1) == '/' => {
            *inside = Inside::LineComment;
            2
        }
        '/' if next(1) == '*' => {
            *inside = Inside::BlockComment(1);
            2
        }
        '"' => {
            *inside = Inside::Text;
            out.push('"');
            1
        }
        'r' if !follows_word || characters[at - 1] == 'b' || characters[at - 1] == 'c' => {
            let signs = (1..).take_while(|offset| next(*offset) == '#').count();
            if next(1 + signs) == '"' {
                *inside = Inside::RawText(signs);
                out.push('"');
                signs + 2
            } else {
                out.push('r');
                1
            }
        }
        '\'' if next(1) == '\\' => {
            // An escaped character: up to the quote that ends it.
            let end = (3..16).find(|offset| next(*offset) == '\'').unwrap_or(2);
            out.push_str("' '");
            end + 1
        }
        '\'' if next(2) == '\'' => {
            out.push_str("' '");
            3
        }
        other => {
            out.push(other);
            1
        }
    }
}

fn scan_other(characters: &[char], at: usize, inside: &mut Inside, out: &mut String) -> usize {
    let character = characters[at];
    let next = |offset: usize| characters.get(at + offset).copied().unwrap_or('\0');
    if character == '\n' {
        out.push('\n');
        if matches!(inside, Inside::LineComment) {
            *inside = Inside::Code;
        }
        return 1;
    }
    match inside {
        Inside::BlockComment(depth) if character == '*' && next(1) == '/' => {
            *inside = if *depth == 1 {
                Inside::Code
            } else {
                Inside::BlockComment(*depth - 1)
            };
            2
        }
        Inside::BlockComment(depth) if character == '/' && next(1) == '*' => {
            *depth += 1;
            2
        }
        Inside::Text if character == '\\' && next(1) != '\n' => 2,
        Inside::Text if character == '"' => {
            *inside = Inside::Code;
            out.push('"');
            1
        }
        Inside::RawText(signs)
            if character == '"' && (1..=*signs).all(|offset| next(offset) == '#') =>
        {
            let used = *signs + 1;
            *inside = Inside::Code;
            out.push('"');
            used
        }
        // Text inside strings counts as a line of code.
        Inside::Text | Inside::RawText(_) if !character.is_whitespace() => {
            out.push('_');
            1
        }
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(text: &str) -> Source {
        Source::new("crates/x/src/a.rs".into(), text.to_owned())
    }

    #[test]
    fn comments_and_strings_are_blanked() {
        for (text, expected) in [
            ("let a = \"fn {\"; // x }", "let a = \"__ _\"; "),
            ("a /* b /* c */ d */ e", "a  e"),
            ("r#\"quote \" {\"# + b", "\"_____ _ _\" + b"),
            ("br\"{\" x", "b\"_\" x"),
            (
                "if c == '{' || c == '\\'' { f::<'a>() }",
                "if c == ' ' || c == ' ' { f::<'a>() }",
            ),
            ("\"a\\\"b\"", "\"__\""),
        ] {
            let blanked = blank(text);
            let shape = |text: &str| text.replace(['_', ' '], "");
            assert_eq!(shape(&blanked), shape(expected), "{text}");
        }
    }

    #[test]
    fn tests_and_comments_do_not_count() {
        let file = source(
            "//! Doc.\n\nfn a() {\n    // Why.\n    b();\n}\n\n#[cfg(test)]\nmod tests {\n    fn t() {\n    }\n}\n",
        );
        assert_eq!(file.code_lines(), 3);
        assert_eq!(
            file.functions(),
            [Function {
                name: "a".into(),
                line: 3,
                lines: 3
            }]
        );
    }

    #[test]
    fn functions_are_found_with_their_sizes() {
        let file = source(
            "pub(crate) const fn one(a: [u8; 4]) -> u8 {\n    if a[0] == b'{' { 1 } else { 2 }\n}\ntrait T {\n    fn declared(&self);\n    fn given(&self) {}\n}\nlet f = \"fn no() {\";\ntype F = fn (u8);\n",
        );
        let names: Vec<(String, usize)> = file
            .functions()
            .into_iter()
            .map(|f| (f.name, f.lines))
            .collect();
        assert_eq!(names, [("one".to_owned(), 3), ("given".to_owned(), 1)]);
    }

    #[test]
    fn files_of_tests_are_tests() {
        for (path, verdict) in [
            ("crates/a/src/b/tests.rs", true),
            ("crates/a/src/image_tests.rs", true),
            ("tests/it/main.rs", true),
            ("crates/a/src/contests.rs", false),
        ] {
            assert_eq!(is_test_file(std::path::Path::new(path)), verdict, "{path}");
        }
    }
}
