//! Words of a Dockerfile: quotes, escapes and `$name`, `${name:-word}` and their kin.
//!
//! A shell's grammar in part, with BuildKit's deviations, held to
//! `corpus/golden/shelllex-golden.jsonl`. Where a text becomes several words, it is split at blanks
//! that are not quoted, after variables were replaced.

use super::glob::{self, Appetite, PatternError};

/// The longest text that one expansion may give: a Dockerfile's own limit.
pub const EXPANSION_BYTES_MAX: usize = super::DOCKERFILE_BYTES_MAX;
/// How deep `${a:-${b:-…}}` may be nested.
const DEPTH_MAX: usize = 64;

/// Where the values of variables come from.
pub trait Variables {
    /// The value, if the variable is set.
    fn get(&self, name: &str) -> Option<&str>;
}

/// No variable is set.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoVariables;

impl Variables for NoVariables {
    fn get(&self, _: &str) -> Option<&str> {
        None
    }
}

/// Why a text has no expansion; the words are BuildKit's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WordError {
    /// A quote, or a part of `${…}`, has no end.
    #[error("unexpected end of statement while looking for matching {0}")]
    Unterminated(&'static str),
    /// `${name` without its brace.
    #[error("syntax error: missing '{0}' in ${{}}")]
    Missing(char),
    /// `${}`, `${:x}` or `${{`.
    #[error("syntax error: bad substitution")]
    BadSubstitution,
    /// An operator that is none.
    #[error("unsupported modifier ({0}) in substitution")]
    Modifier(String),
    /// `${name:?message}` of a variable without value.
    #[error("{name}: {message}")]
    Refused {
        /// The variable.
        name: String,
        /// The message in the text, or what is wrong.
        message: String,
    },
    /// The pattern of `#`, `%` or `/` is none.
    #[error("invalid pattern ({pattern}) in substitution: {source}")]
    Pattern {
        /// The pattern.
        pattern: String,
        /// What is wrong with it.
        source: PatternError,
    },
    /// Longer than [`EXPANSION_BYTES_MAX`].
    #[error("the text becomes longer than {EXPANSION_BYTES_MAX} bytes")]
    TooLong,
    /// Nested deeper than anybody writes it.
    #[error("substitutions are nested more than {DEPTH_MAX} deep")]
    TooDeep,
}

/// What a text became.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expansion {
    /// The text.
    pub text: String,
    /// The same as words.
    pub words: Vec<String>,
    /// The variables whose value was used, each once, in order.
    pub matched: Vec<String>,
    /// The variables that were asked for and not set, each once, in order.
    pub unmatched: Vec<String>,
}

/// How a text is read.
#[derive(Clone, Copy, Debug)]
pub struct Lexer {
    /// The character that takes the meaning from the next one.
    pub escape: char,
    /// Quotes stay in the text.
    pub keep_quotes: bool,
    /// Escapes stay in the text.
    pub keep_escapes: bool,
    /// A quote is a character like any other.
    pub ignore_quotes: bool,
    /// A variable that is not set stays as it was written.
    pub keep_unset: bool,
}

impl Lexer {
    /// The usual way, with the file's escape character.
    pub fn new(escape: char) -> Self {
        Self {
            escape,
            keep_quotes: false,
            keep_escapes: false,
            ignore_quotes: false,
            keep_unset: false,
        }
    }

    /// Replaces variables and takes quotes and escapes away.
    pub fn expand(
        self,
        text: &str,
        variables: &(impl Variables + ?Sized),
    ) -> Result<Expansion, WordError> {
        let special = ['$', '\'', '"', '<', self.escape];
        if !text.contains(special) {
            let words = text.split_whitespace().map(str::to_owned).collect();
            return Ok(Expansion {
                text: text.to_owned(),
                words,
                ..Expansion::default()
            });
        }
        let mut reading = Reading {
            lexer: self,
            rest: text,
            variables,
            depth: 0,
            word: String::new(),
            keep_escapes: self.keep_escapes,
            matched: Vec::new(),
            unmatched: Vec::new(),
        };
        let (text, words) = reading.until(None, self.keep_escapes)?;
        Ok(Expansion {
            text,
            words,
            matched: reading.matched,
            unmatched: reading.unmatched,
        })
    }
}

/// A text on its way to an [`Expansion`].
struct Reading<'a, V: ?Sized> {
    lexer: Lexer,
    rest: &'a str,
    variables: &'a V,
    depth: usize,
    /// The word being made. There is one for all depths: a substitution with an operator drops
    /// what was before it in the word, which is BuildKit's doing and kept.
    word: String,
    keep_escapes: bool,
    matched: Vec<String>,
    unmatched: Vec<String>,
}

/// The words that were finished, and whether another one has begun.
#[derive(Default)]
struct Words {
    done: Vec<String>,
    is_within: bool,
}

impl<'a, V: Variables + ?Sized> Reading<'a, V> {
    fn peek(&self) -> Option<char> {
        self.rest.chars().next()
    }

    fn next(&mut self) -> Option<char> {
        let mut characters = self.rest.chars();
        let next = characters.next();
        self.rest = characters.as_str();
        next
    }

    fn next_if(&mut self, wanted: char) -> bool {
        let is_next = self.peek() == Some(wanted);
        if is_next {
            self.next();
        }
        is_next
    }

    /// Reads up to the character, which is consumed, or to the end of the text where there is
    /// none to stop at.
    fn until(
        &mut self,
        stop: Option<char>,
        keep_escapes: bool,
    ) -> Result<(String, Vec<String>), WordError> {
        if self.depth >= DEPTH_MAX {
            return Err(WordError::TooDeep);
        }
        self.depth += 1;
        let outer = std::mem::replace(&mut self.keep_escapes, keep_escapes);
        self.word.clear();
        let read = self.read_until(stop);
        self.keep_escapes = outer;
        self.depth -= 1;
        read
    }

    fn read_until(&mut self, stop: Option<char>) -> Result<(String, Vec<String>), WordError> {
        let mut text = String::new();
        let mut words = Words::default();
        loop {
            if text.len() > EXPANSION_BYTES_MAX {
                return Err(WordError::TooLong);
            }
            let Some(character) = self.peek() else { break };
            if stop == Some(character) {
                self.next();
                return Ok((text, self.finish(words)));
            }
            match character {
                '$' => {
                    let value = self.dollar()?;
                    self.add_split(&mut words, &value);
                    text.push_str(&value);
                }
                '\'' | '"' if !self.lexer.ignore_quotes => {
                    let quoted = if character == '"' {
                        self.double_quoted()?
                    } else {
                        self.single_quoted()?
                    };
                    self.add_whole(&mut words, &quoted);
                    text.push_str(&quoted);
                }
                '<' => {
                    let opening = self.maybe_heredoc();
                    self.add_whole(&mut words, &opening);
                    text.push_str(&opening);
                }
                _ => {
                    self.next();
                    if character != self.lexer.escape {
                        self.add_character(&mut words, character);
                        text.push(character);
                    } else if !self.escaped(&mut words, &mut text) {
                        break;
                    }
                }
            }
        }
        match stop {
            Some('}') => Err(WordError::Missing('}')),
            Some(_) => Err(WordError::Missing('/')),
            None => Ok((text, self.finish(words))),
        }
    }

    /// The character behind an escape; false at the end of the text.
    fn escaped(&mut self, words: &mut Words, text: &mut String) -> bool {
        if self.keep_escapes {
            self.add_raw(words, self.lexer.escape);
            text.push(self.lexer.escape);
        }
        let Some(character) = self.next() else {
            return false;
        };
        self.add_raw(words, character);
        text.push(character);
        true
    }

    fn add_character(&mut self, words: &mut Words, character: char) {
        if !character.is_whitespace() {
            self.add_raw(words, character);
        } else if words.is_within && !self.word.is_empty() {
            words.done.push(std::mem::take(&mut self.word));
            words.is_within = false;
        }
    }

    fn add_raw(&mut self, words: &mut Words, character: char) {
        self.word.push(character);
        words.is_within = true;
    }

    fn add_split(&mut self, words: &mut Words, text: &str) {
        for character in text.chars() {
            self.add_character(words, character);
        }
    }

    fn add_whole(&mut self, words: &mut Words, text: &str) {
        self.word.push_str(text);
        words.is_within = true;
    }

    fn finish(&mut self, mut words: Words) -> Vec<String> {
        if !self.word.is_empty() {
            words.done.push(std::mem::take(&mut self.word));
        }
        words.done
    }

    fn single_quoted(&mut self) -> Result<String, WordError> {
        self.next();
        let Some((inner, rest)) = self.rest.split_once('\'') else {
            return Err(WordError::Unterminated("single-quote"));
        };
        self.rest = rest;
        Ok(if self.lexer.keep_quotes {
            format!("'{inner}'")
        } else {
            inner.to_owned()
        })
    }

    fn double_quoted(&mut self) -> Result<String, WordError> {
        self.next();
        let mut text = String::new();
        if self.lexer.keep_quotes {
            text.push('"');
        }
        loop {
            if text.len() > EXPANSION_BYTES_MAX {
                return Err(WordError::TooLong);
            }
            match self.peek() {
                None => return Err(WordError::Unterminated("double-quote")),
                Some('$') => text.push_str(&self.dollar()?),
                Some('"') => {
                    self.next();
                    if self.lexer.keep_quotes {
                        text.push('"');
                    }
                    return Ok(text);
                }
                Some(escape) if escape == self.lexer.escape => {
                    self.next();
                    if self.keep_escapes {
                        text.push(escape);
                    }
                    match self.peek() {
                        // An escape at the very end is dropped, and then the quote is missing.
                        None => {}
                        Some(special) if ['"', '$', escape].contains(&special) => {
                            self.next();
                            text.push(special);
                        }
                        // Before anything else it is a character.
                        Some(_) => text.push(escape),
                    }
                }
                Some(character) => {
                    self.next();
                    text.push(character);
                }
            }
        }
    }

    /// `<`, or `<<` with the blanks behind it, so that `<< EOF` is one word.
    fn maybe_heredoc(&mut self) -> String {
        self.next();
        if !self.next_if('<') {
            return "<".to_owned();
        }
        let end = self.rest.trim_start_matches(['\t', '\r', ' ']);
        let blanks = &self.rest[..self.rest.len() - end.len()];
        self.rest = end;
        format!("<<{blanks}")
    }

    fn dollar(&mut self) -> Result<String, WordError> {
        self.next();
        if !self.next_if('{') {
            let name = self.name();
            return Ok(match self.value(&name) {
                _ if name.is_empty() => "$".to_owned(),
                Some(value) => value.to_owned(),
                None if self.lexer.keep_unset => format!("${name}"),
                None => String::new(),
            });
        }
        match self.peek() {
            None => return Err(WordError::Missing('}')),
            Some('{' | '}' | ':') => return Err(WordError::BadSubstitution),
            Some(_) => {}
        }
        let name = self.name();
        match self.next() {
            None => Err(WordError::Missing('}')),
            Some('}') => Ok(match self.value(&name) {
                Some(value) => value.to_owned(),
                None if self.lexer.keep_unset => format!("${{{name}}}"),
                None => String::new(),
            }),
            Some(':') => match self.next() {
                Some(operator) => self.operation(&name, operator, true),
                None => Err(WordError::Missing('}')),
            },
            Some(operator @ ('+' | '-' | '?' | '#' | '%')) => {
                self.operation(&name, operator, false)
            }
            Some('/') => self.replacement(&name),
            Some(other) => Err(WordError::Modifier(other.to_string())),
        }
    }

    /// `${name-word}` and its kin, from behind the operator. With a colon an empty value counts
    /// as none.
    fn operation(
        &mut self,
        name: &str,
        operator: char,
        empty_is_unset: bool,
    ) -> Result<String, WordError> {
        let is_pattern = matches!(operator, '#' | '%');
        let written = if empty_is_unset {
            format!(":{operator}")
        } else {
            operator.to_string()
        };
        if empty_is_unset && is_pattern {
            return Err(WordError::Modifier(written));
        }
        let (word, _) = self.until(Some('}'), is_pattern)?;
        let value = self.value(name);
        if value.is_none() && self.lexer.keep_unset {
            return Ok(format!("${{{name}{written}{word}}}"));
        }
        let refused = |what: &str| WordError::Refused {
            name: name.to_owned(),
            message: if word.is_empty() {
                what.to_owned()
            } else {
                word.clone()
            },
        };
        let has_value = value.is_some_and(|value| !(empty_is_unset && value.is_empty()));
        let value = value.unwrap_or_default();
        match operator {
            '-' if has_value => Ok(value.to_owned()),
            '-' => Ok(word),
            '+' if has_value => Ok(word),
            '+' => Ok(String::new()),
            '?' if has_value => Ok(value.to_owned()),
            '?' if self.variables.get(name).is_some() => Err(refused("is not allowed to be empty")),
            '?' => Err(refused("is not allowed to be unset")),
            '#' | '%' => {
                let (appetite, pattern) = match word.strip_prefix(operator) {
                    Some(pattern) => (Appetite::Longest, pattern),
                    None => (Appetite::Shortest, word.as_str()),
                };
                let trimmed = if operator == '#' {
                    glob::trim_start(pattern, value, appetite)
                } else {
                    glob::trim_end(pattern, value, appetite)
                };
                trimmed.map_err(|source| WordError::Pattern {
                    pattern: pattern.to_owned(),
                    source,
                })
            }
            _ => Err(WordError::Modifier(written)),
        }
    }

    /// `${name/pattern/replacement}`, from behind the first slash.
    fn replacement(&mut self, name: &str) -> Result<String, WordError> {
        let all = self.next_if('/');
        let (pattern, _) = self.until(Some('/'), true)?;
        let (replacement, _) = self.until(Some('}'), true)?;
        let value = self.value(name);
        if value.is_none() && self.lexer.keep_unset {
            return Ok(format!("${{{name}/{pattern}/{replacement}}}"));
        }
        let value = value.unwrap_or_default();
        glob::replace(&pattern, value, &replacement, all)
            .map_err(|source| WordError::Pattern { pattern, source })
    }

    /// A name, a number, or one of the shell's special parameters.
    fn name(&mut self) -> String {
        let Some(first) = self.peek() else {
            return String::new();
        };
        let end = if first.is_numeric() {
            self.rest.find(|character: char| !character.is_numeric())
        } else if "@*#?-$!0".contains(first) {
            Some(first.len_utf8())
        } else {
            self.rest
                .find(|character: char| !(character.is_alphanumeric() || character == '_'))
        };
        let (name, rest) = self.rest.split_at(end.unwrap_or(self.rest.len()));
        self.rest = rest;
        name.to_owned()
    }

    fn value(&mut self, name: &str) -> Option<&'a str> {
        let value = self.variables.get(name);
        let noted = if value.is_some() {
            &mut self.matched
        } else {
            &mut self.unmatched
        };
        if !name.is_empty() && !noted.iter().any(|known| known == name) {
            noted.push(name.to_owned());
        }
        value
    }
}
