//! Splits template text into tokens, the way Go's `text/template` does.
//!
//! The whole text is split up front; a fault becomes an [`TokenKind::Error`] token that the parser
//! reports when it gets there, so that errors come in the order in which Go reports them. Positions
//! are byte offsets, lines count from 1; both appear in error messages.

use super::quote::{quote, unicode_name};

/// What a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TokenKind {
    Error,
    Bool,
    Char,
    CharConstant,
    Complex,
    Assign,
    Declare,
    Eof,
    Field,
    Identifier,
    LeftDelim,
    LeftParen,
    Number,
    Pipe,
    RawString,
    RightDelim,
    RightParen,
    Space,
    String,
    Text,
    Variable,
    Dot,
    Keyword(Keyword),
}

/// The reserved words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Keyword {
    Block,
    Break,
    Continue,
    Define,
    Else,
    End,
    If,
    Range,
    Nil,
    Template,
    With,
}

const KEYWORDS: [(&str, Keyword); 11] = [
    ("block", Keyword::Block),
    ("break", Keyword::Break),
    ("continue", Keyword::Continue),
    ("define", Keyword::Define),
    ("else", Keyword::Else),
    ("end", Keyword::End),
    ("if", Keyword::If),
    ("range", Keyword::Range),
    ("nil", Keyword::Nil),
    ("template", Keyword::Template),
    ("with", Keyword::With),
];

/// One token with its place in the text.
#[derive(Clone, Debug)]
pub(super) struct Token {
    pub(super) kind: TokenKind,
    pub(super) pos: usize,
    pub(super) line: usize,
    /// The text of the token; of an error token its message.
    pub(super) text: String,
}

impl Token {
    /// How an error message names the token.
    pub(super) fn describe(&self) -> String {
        match self.kind {
            TokenKind::Eof => "EOF".to_owned(),
            TokenKind::Error => self.text.clone(),
            TokenKind::Dot | TokenKind::Keyword(_) => format!("<{}>", self.text),
            _ if self.text.len() > 10 => {
                let head: String = self.text.chars().take(10).collect();
                format!("{}...", quote(&head))
            }
            _ => quote(&self.text),
        }
    }
}

const LEFT_DELIM: &str = "{{";
const RIGHT_DELIM: &str = "}}";
const LEFT_COMMENT: &str = "/*";
const RIGHT_COMMENT: &str = "*/";
/// Length of the trim markers `- ` and ` -`.
const TRIM_MARKER_LEN: usize = 2;

/// Splits `text`; the last token is always an end of file.
pub(super) fn tokens(text: &str) -> Vec<Token> {
    let mut lexer = Lexer {
        input: text,
        pos: 0,
        start: 0,
        line: 1,
        start_line: 1,
        parens: 0,
        out: Vec::new(),
    };
    let mut state = State::Text;
    // Each step consumes input or ends the run, so the loop is bounded by the text's length.
    while let Some(next) = lexer.step(state) {
        state = next;
    }
    let (pos, line) = (lexer.pos, lexer.start_line);
    lexer.out.push(Token {
        kind: TokenKind::Eof,
        pos,
        line,
        text: String::new(),
    });
    lexer.out
}

#[derive(Clone, Copy)]
enum State {
    Text,
    LeftDelim,
    Inside,
}

struct Lexer<'a> {
    input: &'a str,
    pos: usize,
    start: usize,
    line: usize,
    start_line: usize,
    parens: usize,
    out: Vec<Token>,
}

impl Lexer<'_> {
    fn step(&mut self, state: State) -> Option<State> {
        match state {
            State::Text => self.text(),
            State::LeftDelim => self.left_delim(),
            State::Inside => self.inside(),
        }
    }

    fn rest(&self) -> &str {
        self.input.get(self.pos..).unwrap_or("")
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn next(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.pos += c.len_utf8();
        if c == '\n' {
            self.line += 1;
        }
        Some(c)
    }

    fn backup(&mut self, c: Option<char>) {
        if let Some(c) = c {
            self.pos -= c.len_utf8();
            if c == '\n' {
                self.line -= 1;
            }
        }
    }

    fn pending(&self) -> &str {
        self.input.get(self.start..self.pos).unwrap_or("")
    }

    fn emit(&mut self, kind: TokenKind) -> Option<State> {
        let text = self.pending().to_owned();
        self.out.push(Token {
            kind,
            pos: self.start,
            line: self.start_line,
            text,
        });
        self.start = self.pos;
        self.start_line = self.line;
        Some(State::Inside)
    }

    /// Drops the pending text, whose lines were not counted yet.
    fn ignore(&mut self) {
        self.line += count_lines(self.pending());
        self.start = self.pos;
        self.start_line = self.line;
    }

    fn error(&mut self, message: impl Into<String>) -> Option<State> {
        let text = message.into();
        self.out.push(Token {
            kind: TokenKind::Error,
            pos: self.start,
            line: self.start_line,
            text,
        });
        self.pos = self.input.len();
        self.start = self.pos;
        None
    }

    fn text(&mut self) -> Option<State> {
        let Some(offset) = self.rest().find(LEFT_DELIM) else {
            self.pos = self.input.len();
            if self.pos > self.start {
                self.line += count_lines(self.pending());
                self.emit(TokenKind::Text);
            }
            return None;
        };
        if offset > 0 {
            self.pos += offset;
            let after = self.input.get(self.pos + LEFT_DELIM.len()..).unwrap_or("");
            let trim = if has_left_trim_marker(after) {
                let pending = self.pending();
                pending.len() - pending.trim_end_matches(is_space).len()
            } else {
                0
            };
            self.pos -= trim;
            self.line += count_lines(self.pending());
            if self.pos > self.start {
                self.emit(TokenKind::Text);
            }
            self.pos += trim;
            self.ignore();
        }
        Some(State::LeftDelim)
    }

    fn left_delim(&mut self) -> Option<State> {
        self.pos += LEFT_DELIM.len();
        let marker = if has_left_trim_marker(self.rest()) {
            TRIM_MARKER_LEN
        } else {
            0
        };
        if self
            .rest()
            .get(marker..)
            .is_some_and(|rest| rest.starts_with(LEFT_COMMENT))
        {
            self.pos += marker;
            self.ignore();
            return self.comment();
        }
        self.emit(TokenKind::LeftDelim);
        self.pos += marker;
        self.ignore();
        self.parens = 0;
        Some(State::Inside)
    }

    fn comment(&mut self) -> Option<State> {
        self.pos += LEFT_COMMENT.len();
        let Some(end) = self.rest().find(RIGHT_COMMENT) else {
            return self.error("unclosed comment");
        };
        self.pos += end + RIGHT_COMMENT.len();
        let Some(trim) = self.at_right_delim() else {
            return self.error("comment ends before closing delimiter");
        };
        self.skip_right_delim(trim);
        self.ignore();
        Some(State::Text)
    }

    /// `Some(trim)` when a right delimiter follows; `trim` when it has the marker.
    fn at_right_delim(&self) -> Option<bool> {
        let rest = self.rest();
        if has_right_trim_marker(rest)
            && rest
                .get(TRIM_MARKER_LEN..)
                .is_some_and(|rest| rest.starts_with(RIGHT_DELIM))
        {
            return Some(true);
        }
        rest.starts_with(RIGHT_DELIM).then_some(false)
    }

    fn skip_right_delim(&mut self, trim: bool) {
        if trim {
            self.pos += TRIM_MARKER_LEN;
        }
        self.pos += RIGHT_DELIM.len();
        if trim {
            self.pos += trimmed_start(self.rest());
        }
    }

    fn right_delim(&mut self, trim: bool) -> Option<State> {
        if trim {
            self.pos += TRIM_MARKER_LEN;
            self.ignore();
        }
        self.pos += RIGHT_DELIM.len();
        self.emit(TokenKind::RightDelim);
        if trim {
            self.pos += trimmed_start(self.rest());
            self.ignore();
        }
        Some(State::Text)
    }

    fn inside(&mut self) -> Option<State> {
        if let Some(trim) = self.at_right_delim() {
            if self.parens == 0 {
                return self.right_delim(trim);
            }
            return self.error("unclosed left paren");
        }
        let Some(c) = self.next() else {
            return self.error("unclosed action");
        };
        match c {
            _ if is_space(c) => {
                self.backup(Some(c));
                self.space()
            }
            '=' => self.emit(TokenKind::Assign),
            ':' => {
                if self.next() != Some('=') {
                    return self.error("expected :=");
                }
                self.emit(TokenKind::Declare)
            }
            '|' => self.emit(TokenKind::Pipe),
            '"' => self.quoted('"', TokenKind::String, "unterminated quoted string"),
            '\'' => self.quoted(
                '\'',
                TokenKind::CharConstant,
                "unterminated character constant",
            ),
            '`' => self.raw_quoted(),
            '$' => self.field_or_variable(TokenKind::Variable),
            '.' if !self.peek().is_none_or(|next| next.is_ascii_digit()) => {
                self.field_or_variable(TokenKind::Field)
            }
            '.' | '+' | '-' | '0'..='9' => {
                self.backup(Some(c));
                self.number()
            }
            _ if is_alphanumeric(c) => self.identifier(),
            '(' => {
                self.parens += 1;
                self.emit(TokenKind::LeftParen)
            }
            ')' => {
                if self.parens == 0 {
                    return self.error("unexpected right paren");
                }
                self.parens -= 1;
                self.emit(TokenKind::RightParen)
            }
            ' '..='~' => self.emit(TokenKind::Char),
            _ => self.error(format!(
                "unrecognized character in action: {}",
                unicode_name(c)
            )),
        }
    }

    fn space(&mut self) -> Option<State> {
        let mut count = 0;
        while let Some(c) = self.peek().filter(|c| is_space(*c)) {
            self.next();
            count += 1;
            // A trim marker begins with the last space of the run.
            if !self.peek().is_some_and(is_space) {
                let last = self.pos - c.len_utf8();
                let tail = self.input.get(last..).unwrap_or("");
                if tail.get(1..).is_some_and(|tail| {
                    tail.starts_with('-')
                        && tail
                            .get(1..)
                            .is_some_and(|rest| rest.starts_with(RIGHT_DELIM))
                }) {
                    self.backup(Some(c));
                    if count == 1 {
                        return self.right_delim(true);
                    }
                }
                break;
            }
        }
        self.emit(TokenKind::Space)
    }

    fn identifier(&mut self) -> Option<State> {
        while self.peek().is_some_and(is_alphanumeric) {
            self.next();
        }
        if !self.at_terminator() {
            return self.bad_character();
        }
        let word = self.pending();
        let kind = match KEYWORDS.iter().find(|(name, _)| *name == word) {
            Some((_, keyword)) => TokenKind::Keyword(*keyword),
            None if word == "true" || word == "false" => TokenKind::Bool,
            None => TokenKind::Identifier,
        };
        self.emit(kind)
    }

    fn field_or_variable(&mut self, kind: TokenKind) -> Option<State> {
        if self.at_terminator() {
            // Nothing interesting follows: "." or "$".
            let kind = if kind == TokenKind::Field {
                TokenKind::Dot
            } else {
                kind
            };
            return self.emit(kind);
        }
        while self.peek().is_some_and(is_alphanumeric) {
            self.next();
        }
        if !self.at_terminator() {
            return self.bad_character();
        }
        self.emit(kind)
    }

    fn bad_character(&mut self) -> Option<State> {
        let name = self
            .peek()
            .map_or_else(|| "U+FFFFFFFFFFFFFFFF".to_owned(), unicode_name);
        self.error(format!("bad character {name}"))
    }

    fn at_terminator(&self) -> bool {
        match self.peek() {
            None => true,
            Some(c) if is_space(c) => true,
            Some('.' | ',' | '|' | ':' | ')' | '(') => true,
            Some(_) => self.rest().starts_with(RIGHT_DELIM),
        }
    }

    fn quoted(&mut self, end: char, kind: TokenKind, fault: &str) -> Option<State> {
        loop {
            match self.next() {
                Some('\\') => {
                    if matches!(self.next(), None | Some('\n')) {
                        return self.error(fault);
                    }
                }
                None | Some('\n') => return self.error(fault),
                Some(c) if c == end => return self.emit(kind),
                Some(_) => {}
            }
        }
    }

    fn raw_quoted(&mut self) -> Option<State> {
        loop {
            match self.next() {
                None => return self.error("unterminated raw quoted string"),
                Some('`') => return self.emit(TokenKind::RawString),
                Some(_) => {}
            }
        }
    }

    fn number(&mut self) -> Option<State> {
        if !self.scan_number() {
            let text = quote(self.pending());
            return self.error(format!("bad number syntax: {text}"));
        }
        if !matches!(self.peek(), Some('+' | '-')) {
            return self.emit(TokenKind::Number);
        }
        // Complex: 1+2i. No spaces, must end in 'i'.
        if !self.scan_number() || !self.pending().ends_with('i') {
            let text = quote(self.pending());
            return self.error(format!("bad number syntax: {text}"));
        }
        self.emit(TokenKind::Complex)
    }

    fn accept(&mut self, valid: &str) -> bool {
        let found = self.peek().is_some_and(|c| valid.contains(c));
        if found {
            self.next();
        }
        found
    }

    fn accept_run(&mut self, valid: &str) {
        while self.accept(valid) {}
    }

    fn scan_number(&mut self) -> bool {
        const DECIMAL: &str = "0123456789_";
        const HEXADECIMAL: &str = "0123456789abcdefABCDEF_";
        self.accept("+-");
        let mut digits = DECIMAL;
        if self.accept("0") {
            if self.accept("xX") {
                digits = HEXADECIMAL;
            } else if self.accept("oO") {
                digits = "01234567_";
            } else if self.accept("bB") {
                digits = "01_";
            }
        }
        self.accept_run(digits);
        if self.accept(".") {
            self.accept_run(digits);
        }
        if (digits == DECIMAL && self.accept("eE")) || (digits == HEXADECIMAL && self.accept("pP"))
        {
            self.accept("+-");
            self.accept_run(DECIMAL);
        }
        self.accept("i");
        if self.peek().is_some_and(is_alphanumeric) {
            self.next();
            return false;
        }
        true
    }
}

fn count_lines(text: &str) -> usize {
    text.bytes().filter(|byte| *byte == b'\n').count()
}

fn trimmed_start(text: &str) -> usize {
    text.len() - text.trim_start_matches(is_space).len()
}

fn has_left_trim_marker(text: &str) -> bool {
    let mut chars = text.chars();
    chars.next() == Some('-') && chars.next().is_some_and(is_space)
}

fn has_right_trim_marker(text: &str) -> bool {
    let mut chars = text.chars();
    chars.next().is_some_and(is_space) && chars.next() == Some('-')
}

fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\r' | '\n')
}

fn is_alphanumeric(c: char) -> bool {
    c == '_' || c.is_alphanumeric()
}
