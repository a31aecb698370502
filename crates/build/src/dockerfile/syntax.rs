//! The syntax of a Dockerfile: instructions, their flags and their arguments as written.
//!
//! Held to `corpus/dockerfile-parser` and the `ast` and `lines` of
//! `corpus/golden/dockerfile-golden.jsonl`. What the arguments mean is for [`super::command`].

use serde_json::Value;

use super::error::{DockerfileError, Problem};
use super::heredoc::Heredoc;
use super::place::{Lines, Origin, Piece, Position};
use super::reader::{
    Directives, Reader, is_check, is_comment, without_continuation, without_line_end,
};
use super::{INSTRUCTIONS_MAX, keyword::Keyword};

/// Blanks between words; a line end within an instruction is none of them.
const BLANKS: [char; 5] = ['\t', '\u{b}', '\u{c}', '\r', ' '];

/// A file as written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Syntax {
    /// The directives at its top.
    pub directives: Directives,
    /// The instructions.
    pub statements: Vec<Statement>,
    /// Lines on which an instruction ends that has an empty line within.
    pub empty_continuations: Vec<u32>,
}

/// One instruction as written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// Its name as written.
    pub keyword: String,
    /// `--name=value`, without quotes.
    pub flags: Vec<String>,
    /// Its arguments. `ENV`, `LABEL`: name, value, and `=` or nothing, for each variable.
    pub arguments: Vec<String>,
    /// The arguments are the strings of a JSON array.
    pub is_json: bool,
    /// The instruction behind ONBUILD.
    pub nested: Option<Box<Statement>>,
    /// Its here-documents.
    pub heredocs: Vec<Heredoc>,
    /// Where it stands.
    pub origin: Origin,
}

/// Reads the syntax of a file.
pub fn read(source: &[u8]) -> Result<Syntax, DockerfileError> {
    let mut parser = Parser {
        reader: Reader::new(source)?,
        directives: Directives::default(),
        may_be_directive: true,
        comments: Vec::new(),
        empty_continuations: Vec::new(),
    };
    let mut statements = Vec::new();
    while let Some(statement) = parser.statement()? {
        if statements.len() >= INSTRUCTIONS_MAX {
            let limit = INSTRUCTIONS_MAX;
            let problem = Problem::TooMany { limit };
            return Err(DockerfileError::at(problem, &statement.origin, ""));
        }
        statements.push(statement);
    }
    if statements.is_empty() {
        let line = parser.reader.line.max(1);
        return Err(DockerfileError::on_line(Problem::NoInstructions, line, 1));
    }
    Ok(Syntax {
        directives: parser.directives,
        statements,
        empty_continuations: parser.empty_continuations,
    })
}

struct Parser<'a> {
    reader: Reader<'a>,
    directives: Directives,
    may_be_directive: bool,
    comments: Vec<String>,
    empty_continuations: Vec<u32>,
}

impl Parser<'_> {
    fn statement(&mut self) -> Result<Option<Statement>, DockerfileError> {
        let Some(mut origin) = self.joined_lines()? else {
            return Ok(None);
        };
        let text = std::mem::take(&mut origin.text);
        let escape = self.directives.escape_character();
        let mut statement = split_statement(&text, escape, 0).map_err(|(problem, part)| {
            let whole = Origin {
                text: text.clone(),
                ..origin.clone()
            };
            DockerfileError::at(problem, &whole, &part)
        })?;
        origin.text = text;
        statement.origin = origin;
        if statement.may_have_heredocs() && statement.origin.text.contains("<<") {
            self.heredocs(&mut statement)?;
        }
        Ok(Some(statement))
    }

    /// The next instruction's lines as one.
    fn joined_lines(&mut self) -> Result<Option<Origin>, DockerfileError> {
        while let Some(bytes) = self.reader.next()? {
            let number = self.reader.line;
            if is_comment(bytes) {
                self.comment(bytes, number)?;
                continue;
            }
            self.may_be_directive = false;
            let line = without_line_end(self.reader.text(bytes)?);
            let start = line.trim_start();
            let indent = line[..line.len() - start.len()].chars().count();
            let continued = without_continuation(start, self.escape());
            if start.is_empty() {
                // A comment above an empty line describes nothing; what it says to the lint counts.
                self.comments.retain(|comment| is_check(comment));
                continue;
            }
            let mut origin = Origin {
                text: continued.unwrap_or(start).to_owned(),
                lines: Lines::one(number),
                comments: std::mem::take(&mut self.comments),
                pieces: vec![piece(0, number, indent)],
            };
            if continued.is_some() {
                self.continuation(&mut origin)?;
            }
            origin.lines.end = self.reader.line;
            return Ok(Some(origin));
        }
        Ok(None)
    }

    /// The lines that follow a line with an escape character at its end.
    fn continuation(&mut self, origin: &mut Origin) -> Result<(), DockerfileError> {
        let mut has_empty_line = false;
        while let Some(bytes) = self.reader.next()? {
            if is_comment(bytes) {
                continue;
            }
            let line = without_line_end(self.reader.text(bytes)?);
            if line.trim_start().is_empty() {
                has_empty_line = true;
                continue;
            }
            let continued = without_continuation(line, self.escape());
            origin
                .pieces
                .push(piece(origin.text.len(), self.reader.line, 0));
            origin.text.push_str(continued.unwrap_or(line));
            if continued.is_none() {
                break;
            }
        }
        if has_empty_line {
            self.empty_continuations.push(self.reader.line);
        }
        Ok(())
    }

    /// A comment may be a directive, or belong to what follows.
    fn comment(&mut self, bytes: &[u8], number: u32) -> Result<(), DockerfileError> {
        let text = String::from_utf8_lossy(bytes);
        if self.may_be_directive {
            let line = without_line_end(&text).trim_start();
            self.may_be_directive = self.directives.note(line, number)?;
            if self.may_be_directive {
                return Ok(());
            }
        }
        // The first character goes even where it is a blank before the `#`: so does BuildKit.
        let mut characters = text.chars();
        characters.next();
        let comment = characters.as_str().trim();
        if comment.is_empty() {
            self.comments.clear();
        } else {
            self.comments.push(comment.to_owned());
        }
        Ok(())
    }

    fn escape(&self) -> char {
        self.directives.escape_character()
    }

    /// Reads the here-documents that the statement opens.
    fn heredocs(&mut self, statement: &mut Statement) -> Result<(), DockerfileError> {
        let origin = &mut statement.origin;
        let opened = Heredoc::opened_by(&origin.text)
            .map_err(|error| DockerfileError::at(error.into(), origin, "<<"))?;
        for mut heredoc in opened {
            let mut is_ended = false;
            while let Some(bytes) = self.reader.next()? {
                let line = self.reader.text(bytes)?;
                let mut end = without_line_end(line);
                if heredoc.strip_tabs {
                    end = end.trim_start_matches('\t');
                }
                if end == heredoc.name {
                    is_ended = true;
                    break;
                }
                heredoc.content.push_str(line);
            }
            origin.lines.end = self.reader.line;
            if !is_ended {
                let problem = Problem::UnterminatedHeredoc;
                return Err(DockerfileError::at(problem, origin, "<<"));
            }
            statement.heredocs.push(heredoc);
        }
        Ok(())
    }
}

fn piece(offset: usize, line: u32, indent: usize) -> Piece {
    let column = u32::try_from(indent + 1).unwrap_or(u32::MAX);
    Piece {
        offset,
        position: Position { line, column },
    }
}

impl Statement {
    fn may_have_heredocs(&self) -> bool {
        let inner = self.nested.as_deref().unwrap_or(self);
        let keyword = Keyword::parse(&inner.keyword);
        let takes = matches!(keyword, Some(Keyword::Add | Keyword::Copy | Keyword::Run));
        takes && !inner.is_json
    }
}

/// A problem, and the part of the text that has it.
type Fault = (Problem, String);

/// Arguments, and whether they were a JSON array.
type Arguments = (Vec<String>, bool);

/// Splits an instruction's text into name, flags and arguments. The origin is the caller's to set.
fn split_statement(text: &str, escape: char, depth: usize) -> Result<Statement, Fault> {
    let text = text.trim();
    let (keyword, rest) = text.split_once(BLANKS).unwrap_or((text, ""));
    let (flags, rest) = split_flags(rest.trim_start_matches(BLANKS), escape);
    let rest = rest.trim();
    let known = Keyword::parse(keyword);
    let mut nested = None;
    let (arguments, is_json) = match known {
        Some(Keyword::Onbuild) => {
            if depth > 0 {
                return Err((Problem::OnbuildChain, keyword.to_owned()));
            }
            if !rest.is_empty() {
                nested = Some(Box::new(split_statement(rest, escape, depth + 1)?));
            }
            (Vec::new(), false)
        }
        Some(keyword) => split_arguments(keyword, rest, escape)?,
        None => (vec![String::new()], false),
    };
    Ok(Statement {
        keyword: keyword.to_owned(),
        flags,
        arguments,
        is_json,
        nested,
        heredocs: Vec::new(),
        origin: Origin {
            text: text.to_owned(),
            lines: Lines::one(0),
            comments: Vec::new(),
            pieces: Vec::new(),
        },
    })
}

fn split_arguments(keyword: Keyword, rest: &str, escape: char) -> Result<Arguments, Fault> {
    if rest.is_empty() {
        return Ok((Vec::new(), false));
    }
    Ok(match keyword {
        Keyword::Cmd | Keyword::Entrypoint | Keyword::Run | Keyword::Shell => {
            maybe_json(rest)?.unwrap_or_else(|| (vec![rest.to_owned()], false))
        }
        Keyword::Add | Keyword::Copy | Keyword::Volume => {
            maybe_json(rest)?.unwrap_or_else(|| (at_blanks(rest), false))
        }
        Keyword::Expose | Keyword::From => (at_blanks(rest), false),
        Keyword::Maintainer | Keyword::StopSignal | Keyword::User | Keyword::Workdir => {
            (vec![rest.to_owned()], false)
        }
        Keyword::Arg => (words(rest, escape), false),
        Keyword::Env => (pairs(rest, "ENV", escape)?, false),
        Keyword::Label => (pairs(rest, "LABEL", escape)?, false),
        Keyword::Healthcheck => healthcheck(rest)?,
        Keyword::Onbuild => (Vec::new(), false),
    })
}

fn at_blanks(rest: &str) -> Vec<String> {
    let mut parts = Vec::new();
    let mut rest = rest;
    while let Some((part, after)) = rest.split_once(BLANKS) {
        parts.push(part.to_owned());
        rest = after.trim_start_matches(BLANKS);
    }
    parts.push(rest.to_owned());
    parts
}

/// The strings of a JSON array; `None` where the text is something else.
fn maybe_json(rest: &str) -> Result<Option<Arguments>, Fault> {
    if !rest.starts_with('[') {
        return Ok(None);
    }
    let Ok(values) = serde_json::from_str::<Vec<Value>>(rest) else {
        return Ok(None);
    };
    let mut strings = Vec::with_capacity(values.len());
    for value in values {
        let Value::String(string) = value else {
            return Err((Problem::NotStrings, rest.to_owned()));
        };
        strings.push(string);
    }
    Ok(Some((strings, true)))
}

/// The type, and the command as in CMD.
fn healthcheck(rest: &str) -> Result<Arguments, Fault> {
    let (kind, command) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
    let command = command.trim_start();
    let (mut arguments, is_json) = match command {
        "" => (Vec::new(), false),
        _ => maybe_json(command)?.unwrap_or_else(|| (vec![command.to_owned()], false)),
    };
    arguments.insert(0, kind.to_owned());
    Ok((arguments, is_json))
}

/// `name=value …`, or `name value` where the first word has no `=`: name, value and sign of each.
fn pairs(rest: &str, instruction: &'static str, escape: char) -> Result<Vec<String>, Fault> {
    let words = words(rest, escape);
    let Some(first) = words.first() else {
        return Ok(Vec::new());
    };
    if !first.contains('=') {
        let Some((name, value)) = rest.split_once(BLANKS) else {
            return Err((Problem::TwoArguments(instruction), rest.to_owned()));
        };
        let value = value.trim_start_matches(BLANKS);
        return Ok(vec![name.to_owned(), value.to_owned(), String::new()]);
    }
    let mut found = Vec::with_capacity(words.len() * 3);
    for word in words {
        let Some((name, value)) = word.split_once('=') else {
            return Err((Problem::NoEquals(word.clone()), word));
        };
        found.extend([name.to_owned(), value.to_owned(), "=".to_owned()]);
    }
    Ok(found)
}

/// Words at blanks that are neither quoted nor escaped; quotes and escapes stay.
fn words(rest: &str, escape: char) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut quote = None;
    let mut may_be_empty = false;
    let mut characters = rest.chars().peekable();
    while let Some(character) = characters.next() {
        match quote {
            None if character.is_whitespace() => {
                if may_be_empty || !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
                may_be_empty = false;
                continue;
            }
            None if matches!(character, '\'' | '"') => {
                quote = Some(character);
                may_be_empty = true;
            }
            Some(end) if character == end => quote = None,
            _ => {}
        }
        if character == escape && quote != Some('\'') {
            // An escape with nothing behind it is dropped.
            if let Some(escaped) = characters.next() {
                word.extend([character, escaped]);
            }
            continue;
        }
        word.push(character);
    }
    if may_be_empty || !word.is_empty() {
        words.push(word);
    }
    words
}

/// The flags before the arguments, without quotes and escapes, and the rest. `--` ends them.
fn split_flags(rest: &str, escape: char) -> (Vec<String>, &str) {
    let mut flags = Vec::new();
    let mut rest = rest;
    loop {
        rest = rest.trim_start();
        if !rest.starts_with("--") {
            return (flags, rest);
        }
        let (word, may_be_empty, after) = flag_word(rest, escape);
        rest = after;
        if word == "--" {
            return (flags, rest);
        }
        if may_be_empty || !word.is_empty() {
            flags.push(word);
        }
    }
}

/// One word without quotes and escapes, whether it had quotes, and what follows it.
fn flag_word(text: &str, escape: char) -> (String, bool, &str) {
    let mut word = String::new();
    let mut quote = None;
    let mut has_quotes = false;
    let mut characters = text.char_indices();
    while let Some((offset, character)) = characters.next() {
        match quote {
            None if character.is_whitespace() => return (word, has_quotes, &text[offset..]),
            None if matches!(character, '\'' | '"') => {
                quote = Some(character);
                has_quotes = true;
            }
            Some(end) if character == end => quote = None,
            _ if character == escape => word.extend(characters.next().map(|(_, next)| next)),
            _ => word.push(character),
        }
    }
    (word, has_quotes, "")
}
