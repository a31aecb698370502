//! One pattern of an ignore file: Go's `filepath.Match`, and `**` for any number of directories.

/// The longest pattern.
const PATTERN_BYTES_MAX: usize = 4096;

/// What is wrong with a pattern.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// `[` without its end, `[]`, or a range that is none.
    #[error("a character class that is none")]
    Class,
    /// A backslash with nothing behind it.
    #[error("a backslash with nothing behind it")]
    Escape,
    /// Longer than a path may be.
    #[error("longer than {PATTERN_BYTES_MAX} bytes")]
    TooLong,
}

/// A compiled pattern.
#[derive(Clone, Debug)]
pub(super) struct Pattern {
    text: String,
    form: Form,
}

/// Most patterns are of a form that needs no search.
#[derive(Clone, Debug)]
enum Form {
    /// No wildcard.
    Exact,
    /// `name/**`, `name**`: all that begins so.
    Prefix,
    /// `**/name`, `**name`: all that ends so. The first one may also be without the slash.
    Suffix,
    /// All else.
    General(General),
}

#[derive(Clone, Debug)]
struct General {
    tokens: Vec<Token>,
    /// What a path must begin with, end with, and contain.
    prefix: Vec<u8>,
    suffix: Vec<u8>,
    inner: Vec<u8>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    Byte(u8),
    /// `?`: a character that is no slash.
    One,
    /// `[a-z]`.
    Class(Class),
    /// `*`: any number of bytes that are no slash.
    Star,
    /// `**` at the end: anything.
    All,
    /// `**/` and `**` before something: nothing, or anything up to a slash.
    Directories,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Class {
    ranges: Vec<(char, char)>,
    is_negated: bool,
}

impl Pattern {
    pub(super) fn new(text: &str) -> Result<Self, PatternError> {
        if text.len() > PATTERN_BYTES_MAX {
            return Err(PatternError::TooLong);
        }
        let tokens = tokens(text)?;
        let is_literal = |tokens: &[Token]| tokens.iter().all(|t| matches!(t, Token::Byte(_)));
        let has_escape = text.contains('\\');
        let form = match &tokens[..] {
            all if is_literal(all) && !has_escape => Form::Exact,
            [Token::All] => Form::Suffix,
            [before @ .., Token::All] if is_literal(before) && !has_escape => Form::Prefix,
            [Token::Directories, after @ ..] if is_literal(after) && !has_escape => Form::Suffix,
            _ => Form::General(General::new(tokens)),
        };
        Ok(Self {
            text: text.to_owned(),
            form,
        })
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    pub(super) fn matches(&self, path: &[u8]) -> bool {
        let text = self.text.as_bytes();
        match &self.form {
            Form::Exact => path == text,
            Form::Prefix => begins(path, &text[..text.len() - 2]),
            Form::Suffix => {
                let suffix = &text[2..];
                ends(path, suffix) || suffix.strip_prefix(b"/") == Some(path)
            }
            Form::General(general) => general.matches(path),
        }
    }

    /// Whether the pattern may match something beneath the directory; never a wrong no.
    pub(super) fn may_match_beneath(&self, directory: &[u8]) -> bool {
        let begin = match &self.form {
            Form::Exact => self.text.as_bytes(),
            Form::Prefix => &self.text.as_bytes()[..self.text.len() - 2],
            Form::Suffix => b"",
            Form::General(general) => &general.prefix,
        };
        let common = begin.len().min(directory.len());
        let is_on_the_way = begin[..common] == directory[..common];
        // What begins as the directory does but goes on with another letter is beside it.
        is_on_the_way && begin.get(directory.len()).is_none_or(|byte| *byte == b'/')
    }
}

fn tokens(text: &str) -> Result<Vec<Token>, PatternError> {
    let mut tokens = Vec::new();
    let mut rest = text.chars().peekable();
    while let Some(character) = rest.next() {
        match character {
            '*' if rest.next_if_eq(&'*').is_some() => {
                let has_slash = rest.next_if_eq(&'/').is_some();
                let is_last = rest.peek().is_none();
                tokens.push(if is_last && !has_slash {
                    Token::All
                } else {
                    Token::Directories
                });
            }
            '*' => tokens.push(Token::Star),
            '?' => tokens.push(Token::One),
            '[' => tokens.push(Token::Class(class(&mut rest)?)),
            '\\' => push(&mut tokens, rest.next().ok_or(PatternError::Escape)?),
            other => push(&mut tokens, other),
        }
    }
    Ok(tokens)
}

fn push(tokens: &mut Vec<Token>, character: char) {
    let mut buffer = [0; 4];
    let bytes = character.encode_utf8(&mut buffer).bytes();
    tokens.extend(bytes.map(Token::Byte));
}

/// From behind the bracket.
fn class(rest: &mut std::iter::Peekable<std::str::Chars>) -> Result<Class, PatternError> {
    let is_negated = rest.next_if_eq(&'^').is_some();
    let mut ranges = Vec::new();
    loop {
        if !ranges.is_empty() && rest.next_if_eq(&']').is_some() {
            return Ok(Class { ranges, is_negated });
        }
        let low = class_character(rest)?;
        let high = if rest.next_if_eq(&'-').is_some() {
            class_character(rest)?
        } else {
            low
        };
        if high < low {
            return Err(PatternError::Class);
        }
        ranges.push((low, high));
    }
}

fn class_character(rest: &mut std::iter::Peekable<std::str::Chars>) -> Result<char, PatternError> {
    match rest.next() {
        None | Some('-' | ']') => Err(PatternError::Class),
        Some('\\') => rest.next().ok_or(PatternError::Escape),
        Some(other) => Ok(other),
    }
}

impl Class {
    fn contains(&self, character: char) -> bool {
        let mut ranges = self.ranges.iter();
        ranges.any(|(low, high)| (*low..=*high).contains(&character)) != self.is_negated
    }
}

impl General {
    fn new(tokens: Vec<Token>) -> Self {
        let byte = |token: &Token| match token {
            Token::Byte(byte) => Some(*byte),
            _ => None,
        };
        let prefix = tokens.iter().map_while(byte).collect();
        let mut suffix: Vec<u8> = tokens.iter().rev().map_while(byte).collect();
        suffix.reverse();
        let runs = tokens.split(|token| byte(token).is_none());
        let longest = runs.max_by_key(|run| run.len()).unwrap_or_default();
        let inner = longest.iter().filter_map(byte).collect();
        Self {
            tokens,
            prefix,
            suffix,
            inner,
        }
    }

    fn matches(&self, path: &[u8]) -> bool {
        ends(path, &self.suffix)
            && begins(path, &self.prefix)
            && contains(path, &self.inner)
            && self.search(path)
    }

    /// Goes through the path with the set of tokens that may be next: path times pattern steps
    /// at most, whatever the pattern.
    fn search(&self, path: &[u8]) -> bool {
        let count = self.tokens.len();
        let mut now = vec![false; count + 1];
        // The character that is read may be several bytes: who waits for its end, waits here.
        let mut waiting: Vec<(usize, usize)> = Vec::new();
        let mut next = vec![false; count + 1];
        self.reach(&mut now, 0);
        for (at, &byte) in path.iter().enumerate() {
            waiting.retain(|&(end, state)| {
                if end == at {
                    self.reach(&mut now, state);
                }
                end != at
            });
            let mut character = None;
            for state in 0..count {
                if !now[state] {
                    continue;
                }
                match &self.tokens[state] {
                    Token::Byte(wanted) if *wanted == byte => self.reach(&mut next, state + 1),
                    Token::Star if byte != b'/' => self.reach(&mut next, state),
                    Token::All => self.reach(&mut next, state),
                    Token::Directories => {
                        // It stays within, or ends with this slash.
                        next[state] = true;
                        if byte == b'/' {
                            self.reach(&mut next, state + 1);
                        }
                    }
                    Token::One if byte == b'/' => {}
                    token @ (Token::One | Token::Class(_)) => {
                        let (letter, length) =
                            *character.get_or_insert_with(|| first_character(&path[at..]));
                        let fits = match token {
                            Token::Class(class) => class.contains(letter),
                            _ => true,
                        };
                        if fits && length == 1 {
                            self.reach(&mut next, state + 1);
                        } else if fits {
                            waiting.push((at + length, state + 1));
                        }
                    }
                    _ => {}
                }
            }
            std::mem::swap(&mut now, &mut next);
            next.fill(false);
        }
        for (end, state) in waiting {
            if end == path.len() {
                self.reach(&mut now, state);
            }
        }
        now[count]
    }

    /// Adds a state, and those that follow it without reading anything.
    fn reach(&self, states: &mut [bool], state: usize) {
        let mut state = state;
        while !std::mem::replace(&mut states[state], true) {
            match self.tokens.get(state) {
                Some(Token::Star | Token::All) => state += 1,
                // Within it one must go on to a slash; only at its start may it be nothing.
                Some(Token::Directories) => state += 1,
                _ => return,
            }
        }
    }
}

/// The first character and its length; one byte where it is no UTF-8.
fn first_character(bytes: &[u8]) -> (char, usize) {
    let length = match bytes.first() {
        Some(0xc0..=0xdf) => 2,
        Some(0xe0..=0xef) => 3,
        Some(0xf0..) => 4,
        _ => 1,
    };
    let character = bytes
        .get(..length)
        .and_then(|bytes| std::str::from_utf8(bytes).ok())
        .and_then(|text| text.chars().next());
    match character {
        Some(character) => (character, length),
        None => (char::REPLACEMENT_CHARACTER, 1),
    }
}

/// As `ends_with`; nearly every path is told by its last byte, without a call of memcmp.
fn ends(path: &[u8], suffix: &[u8]) -> bool {
    match suffix.split_last() {
        Some((last, _)) => path.last() == Some(last) && path.ends_with(suffix),
        None => true,
    }
}

/// As `starts_with`, by the first byte first.
fn begins(path: &[u8], prefix: &[u8]) -> bool {
    match prefix.split_first() {
        Some((first, _)) => path.first() == Some(first) && path.starts_with(prefix),
        None => true,
    }
}

fn contains(path: &[u8], inner: &[u8]) -> bool {
    let Some((first, others)) = inner.split_first() else {
        return true;
    };
    path.iter()
        .enumerate()
        .filter(|(_, byte)| *byte == first)
        .any(|(at, _)| path[at + 1..].starts_with(others))
}
