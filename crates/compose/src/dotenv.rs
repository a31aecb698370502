//! Env files with the quoting rules of Docker Compose.
//!
//! `NAME=value`, `export NAME=value`, `NAME: value`, `NAME` alone (inherited), single quotes
//! (nothing is expanded), double quotes (escapes and variables), ` #` comments behind bare values,
//! quoted values over several lines. Held to `corpus/golden/dotenv-golden.jsonl`.

use std::collections::BTreeMap;

use crate::interpolate::{Lookup, substitute};

/// The largest env file.
pub(crate) const ENV_FILE_BYTES_MAX: usize = 4 << 20;

/// Why an env file cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {text}")]
pub(crate) struct DotenvError {
    /// The line, from 1.
    pub(crate) line: u32,
    /// What is wrong there.
    pub(crate) text: String,
}

/// Reads an env file into `vars`; `lookup` answers before what the file itself has set.
pub(crate) fn parse(
    text: &str,
    vars: &mut BTreeMap<String, String>,
    lookup: &dyn Lookup,
) -> Result<(), DotenvError> {
    let mut parser = Parser { line: 1, lookup };
    let mut rest = text.strip_prefix('\u{feff}').unwrap_or(text);
    loop {
        rest = parser.next_statement(rest);
        if rest.is_empty() {
            return Ok(());
        }
        let key = parser.key(rest)?;
        rest = key.rest;
        if key.name.contains(' ') {
            return Err(parser.error("key cannot contain a space"));
        }
        if key.inherited {
            if let Some(value) = lookup.lookup(key.name) {
                vars.insert(key.name.to_owned(), value.to_owned());
            }
            continue;
        }
        let value = parser.value(&mut rest, vars)?;
        vars.insert(key.name.to_owned(), value);
    }
}

struct Parser<'a> {
    line: u32,
    lookup: &'a dyn Lookup,
}

struct Key<'t> {
    name: &'t str,
    rest: &'t str,
    inherited: bool,
}

/// Answers from outside first, then what the file has set so far.
struct Both<'a> {
    outer: &'a dyn Lookup,
    vars: &'a BTreeMap<String, String>,
}

impl Lookup for Both<'_> {
    fn lookup(&self, name: &str) -> Option<&str> {
        self.outer.lookup(name).or_else(|| self.vars.lookup(name))
    }

    fn missing(&self, name: &str) {
        self.outer.missing(name);
    }
}

impl Parser<'_> {
    fn error(&self, text: impl Into<String>) -> DotenvError {
        let (line, text) = (self.line, text.into());
        DotenvError { line, text }
    }

    /// Passes over white space, empty lines and comments.
    fn next_statement<'t>(&mut self, mut text: &'t str) -> &'t str {
        loop {
            let start = text
                .find(|c: char| !c.is_whitespace())
                .unwrap_or(text.len());
            self.count_lines(&text[..start]);
            text = &text[start..];
            if !text.starts_with('#') {
                return text;
            }
            text = text.find('\n').map_or("", |end| &text[end..]);
        }
    }

    fn count_lines(&mut self, text: &str) {
        self.line += text.bytes().filter(|byte| *byte == b'\n').count() as u32;
    }

    fn key<'t>(&mut self, text: &'t str) -> Result<Key<'t>, DotenvError> {
        let text = match text.strip_prefix("export") {
            Some(rest) if rest.starts_with(char::is_whitespace) => {
                rest.trim_start_matches(is_space)
            }
            _ => text,
        };
        for (index, c) in text.char_indices() {
            match c {
                '=' | ':' => return Ok(self.end_key(&text[..index], &text[index + 1..], false)),
                '\n' => return Ok(self.end_key(&text[..index], &text[index + 1..], true)),
                '_' | '.' | '-' | '[' | ']' => {}
                c if is_space(c) || c.is_alphanumeric() => {}
                c => {
                    let line = text.split('\n').next().unwrap_or_default();
                    let text = format!(
                        "unexpected character {:?} in variable name {line:?}",
                        c.to_string()
                    );
                    return Err(self.error(text));
                }
            }
        }
        // A last line of a name alone, without its line break: Docker Compose takes it for the
        // value of no name.
        Ok(self.end_key("", text, false))
    }

    fn end_key<'t>(&mut self, key: &'t str, rest: &'t str, inherited: bool) -> Key<'t> {
        if inherited && !key.contains(' ') {
            self.line += 1;
        }
        Key {
            name: key.trim_end(),
            rest: rest.trim_start_matches(is_space),
            inherited,
        }
    }

    fn value(
        &mut self,
        rest: &mut &str,
        vars: &BTreeMap<String, String>,
    ) -> Result<String, DotenvError> {
        let text = *rest;
        let quote = match text.as_bytes().first() {
            Some(quote @ (b'"' | b'\'')) => *quote,
            _ => {
                let (value, after) = text.split_once('\n').unwrap_or((text, ""));
                let value = value.split(" #").next().unwrap_or_default().trim_end();
                let value = self.expand(value, vars)?;
                self.line += 1;
                *rest = after;
                return Ok(value);
            }
        };
        let first_line = self.line;
        let mut value = String::new();
        let mut escaped = false;
        for (index, c) in text.char_indices().skip(1) {
            self.line += u32::from(c == '\n');
            if c as u32 == u32::from(quote) {
                if !std::mem::take(&mut escaped) {
                    *rest = &text[index + 1..];
                    return match quote {
                        b'"' => self.expand(&expand_escapes(&value), vars),
                        _ => Ok(value),
                    };
                }
                value.push(c);
            } else if c == '\\' && !escaped {
                escaped = true;
            } else {
                if std::mem::take(&mut escaped) {
                    value.push('\\');
                }
                value.push(c);
            }
        }
        self.line = first_line;
        let line = text.split('\n').next().unwrap_or_default();
        Err(self.error(format!("unterminated quoted value {line}")))
    }

    fn expand(&self, value: &str, vars: &BTreeMap<String, String>) -> Result<String, DotenvError> {
        let outer = self.lookup;
        substitute(value, &Both { outer, vars }).map_err(|error| self.error(error.to_string()))
    }
}

/// White space that ends no line.
fn is_space(c: char) -> bool {
    matches!(
        c,
        '\t' | '\u{b}' | '\u{c}' | '\r' | ' ' | '\u{85}' | '\u{a0}'
    )
}

/// The escapes of double quotes; `\$` becomes `$$`, which interpolation reads as a dollar.
fn expand_escapes(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(index) = rest.find('\\') {
        out.push_str(&rest[..index]);
        let after = &rest[index + 1..];
        let plain = |c| (Some(c), 1);
        let (replaced, length) = match after.chars().next() {
            Some('a') => plain('\u{7}'),
            Some('b') => plain('\u{8}'),
            Some('f') => plain('\u{c}'),
            Some('n') => plain('\n'),
            Some('r') => plain('\r'),
            Some('t') => plain('\t'),
            Some('v') => plain('\u{b}'),
            Some(c @ ('"' | '\\')) => plain(c),
            Some('$') => {
                out.push('$');
                plain('$')
            }
            Some('0') => octal(after),
            _ => (None, 0),
        };
        match replaced {
            Some(c) => out.push(c),
            // Docker Compose drops the zero of an octal number that is none.
            None => out.push('\\'),
        }
        rest = &after[length..];
    }
    out.push_str(rest);
    out
}

/// `\0` and three octal digits.
fn octal(after: &str) -> (Option<char>, usize) {
    let digits = after[1..]
        .bytes()
        .take(3)
        .take_while(u8::is_ascii_digit)
        .count();
    let number = u32::from_str_radix(&after[1..=digits], 8).ok();
    match number.filter(|number| digits == 3 && *number <= 0xff) {
        Some(number) => (char::from_u32(number), digits + 1),
        None => (None, 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_recorded_file_reads_as_recorded() {
        for case in crate::corpus::read("dotenv-golden.jsonl") {
            let (name, text) = match case["file"].as_str() {
                Some(file) => (
                    file,
                    std::fs::read_to_string(crate::corpus::corpus(file).unwrap()).unwrap(),
                ),
                None => (
                    case["in"].as_str().unwrap(),
                    case["in"].as_str().unwrap().to_owned(),
                ),
            };
            let mut vars = BTreeMap::new();
            let result = parse(&text, &mut vars, &BTreeMap::new());
            if !case["file"].is_null() {
                // Recorded through a call that leaves these out; Docker Compose uses another.
                vars.retain(|name, _| !name.starts_with(|first: char| first.is_ascii_digit()));
            }
            match (result, case["error"].as_str()) {
                (Ok(()), None) => assert_eq!(case["vars"], serde_json::json!(vars), "{name:?}"),
                (Err(error), Some(expected)) => assert_eq!(error.to_string(), expected, "{name:?}"),
                (ours, theirs) => panic!("{name:?}: {ours:?} instead of {theirs:?}"),
            }
        }
    }

    #[test]
    fn quotes_decide_what_is_expanded() {
        let mut vars = BTreeMap::new();
        let text = "A=1\nB='$A'\nC=\"$A\\n\\$A\"\nD=$A # note\nE=\"two\nlines\"\nexport F: x\n";
        parse(text, &mut vars, &BTreeMap::new()).unwrap();
        let get = |name: &str| vars[name].as_str();
        assert_eq!((get("B"), get("C"), get("D")), ("$A", "1\n$A", "1"));
        assert_eq!((get("E"), get("F")), ("two\nlines", "x"));
    }
}
