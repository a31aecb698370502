//! `.dockerignore`: patterns of what stays out of a build context.
//!
//! Rules stand in order and the last one that matches decides; `!` brings back. A rule that matches
//! a directory matches all beneath it. Held to `corpus/golden/dockerignore-golden.jsonl` and
//! `patternmatcher-curated.json`. Whoever walks a tree asks with what the directory above has
//! inherited, so that each path costs one look at each rule, most of which compare a few bytes.

use types::lexical_path::clean;

mod pattern;
#[cfg(test)]
mod tests;

use pattern::Pattern;
pub use pattern::PatternError;

/// The longest ignore file.
pub const IGNORE_BYTES_MAX: usize = 1024 * 1024;
/// The most patterns.
pub const PATTERNS_MAX: usize = 10_000;
/// Names under which people look for the file in vain.
const MISSPELT: [&str; 5] = [
    ".dockeringore",
    ".dockerIgnore",
    ".dockerignores",
    ".dockerignore.txt",
    "dockerignore",
];

/// Why an ignore file is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IgnoreError {
    /// More than [`IGNORE_BYTES_MAX`].
    #[error("the ignore file is longer than {IGNORE_BYTES_MAX} bytes")]
    TooLong,
    /// More than [`PATTERNS_MAX`].
    #[error("the ignore file has more than {PATTERNS_MAX} patterns")]
    TooMany,
    /// Something else than text.
    #[error("line {line} is not UTF-8 text")]
    NotUtf8 {
        /// Its number.
        line: usize,
    },
    /// `!` with nothing behind it.
    #[error("illegal exclusion pattern: \"!\"")]
    LonelyBang,
    /// Not of the grammar.
    #[error("syntax error in pattern {}", types::go_syntax::quote(.text))]
    Pattern {
        /// The pattern.
        text: String,
        /// What is wrong with it.
        source: PatternError,
    },
}

/// Why an ignore file is refused, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlacedIgnoreError {
    /// The line, where it is about one.
    pub line: Option<usize>,
    /// Why.
    pub error: IgnoreError,
}

impl PlacedIgnoreError {
    /// `file:line: why`.
    #[must_use]
    pub fn located(&self, file: &str) -> String {
        match self.line {
            Some(line) => format!("{file}:{line}: {}", self.error),
            None => format!("{file}: {}", self.error),
        }
    }
}

/// The patterns of an ignore file, tidied: without comments, and relative to the context.
pub fn parse(source: &[u8]) -> Result<Vec<String>, IgnoreError> {
    Ok(numbered(source)?
        .into_iter()
        .map(|(_, text)| text)
        .collect())
}

/// As [`parse`], and each of them can be understood; if not, the line is told as well.
pub fn parse_checked(source: &[u8]) -> Result<Vec<String>, PlacedIgnoreError> {
    let mut patterns = Vec::new();
    let all = numbered(source).map_err(|error| PlacedIgnoreError { line: None, error })?;
    for (line, text) in all {
        Matcher::new(&[&text]).map_err(|error| PlacedIgnoreError {
            line: Some(line),
            error,
        })?;
        patterns.push(text);
    }
    Ok(patterns)
}

/// The patterns and their lines.
fn numbered(source: &[u8]) -> Result<Vec<(usize, String)>, IgnoreError> {
    if source.len() > IGNORE_BYTES_MAX {
        return Err(IgnoreError::TooLong);
    }
    let source = source.strip_prefix(b"\xef\xbb\xbf").unwrap_or(source);
    let mut patterns = Vec::new();
    for (line, number) in source.split(|byte| *byte == b'\n').zip(1..) {
        if line.first() == Some(&b'#') {
            continue;
        }
        let text = std::str::from_utf8(line)
            .map_err(|_| IgnoreError::NotUtf8 { line: number })?
            .trim();
        if text.is_empty() {
            continue;
        }
        if patterns.len() >= PATTERNS_MAX {
            return Err(IgnoreError::TooMany);
        }
        let pattern = match text.strip_prefix('!') {
            Some(inner) => format!("!{}", tidied(inner.trim())),
            None => tidied(text),
        };
        patterns.push((number, pattern));
    }
    Ok(patterns)
}

fn tidied(pattern: &str) -> String {
    if pattern.is_empty() {
        return String::new();
    }
    let pattern = clean(pattern);
    match pattern.strip_prefix('/') {
        Some(relative) if !relative.is_empty() => relative.to_owned(),
        _ => pattern,
    }
}

/// The name that a user probably meant to be `.dockerignore`, among those of the context's
/// directory.
pub fn misspelt<'a>(names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    names.into_iter().find(|name| MISSPELT.contains(name))
}

/// Compiled patterns.
#[derive(Clone, Debug, Default)]
pub struct Matcher {
    rules: Vec<Rule>,
    has_exceptions: bool,
}

#[derive(Clone, Debug)]
struct Rule {
    pattern: Pattern,
    is_exception: bool,
}

/// Which rules match a directory or one above it, and so all beneath it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inherited {
    /// A bit for each rule; nothing where none does.
    matched: Option<Box<[u64]>>,
}

impl Inherited {
    fn has(&self, rule: usize) -> bool {
        let words = self.matched.as_deref().unwrap_or_default();
        words
            .get(rule / 64)
            .is_some_and(|word| word >> (rule % 64) & 1 == 1)
    }

    fn set(&mut self, rule: usize, rules: usize) {
        let words = self
            .matched
            .get_or_insert_with(|| vec![0; rules.div_ceil(64)].into());
        words[rule / 64] |= 1 << (rule % 64);
    }
}

impl Matcher {
    /// Compiles patterns, as [`parse`] gives them.
    pub fn new<T: AsRef<str>>(patterns: &[T]) -> Result<Self, IgnoreError> {
        if patterns.len() > PATTERNS_MAX {
            return Err(IgnoreError::TooMany);
        }
        let mut matcher = Self::default();
        for pattern in patterns {
            let pattern = pattern.as_ref().trim();
            if pattern.is_empty() {
                continue;
            }
            let cleaned = clean(pattern);
            let (text, is_exception) = match cleaned.strip_prefix('!') {
                Some("") => return Err(IgnoreError::LonelyBang),
                Some(text) => (text, true),
                None => (cleaned.as_str(), false),
            };
            let pattern = Pattern::new(text).map_err(|source| IgnoreError::Pattern {
                text: text.to_owned(),
                source,
            })?;
            matcher.has_exceptions |= is_exception;
            matcher.rules.push(Rule {
                pattern,
                is_exception,
            });
        }
        Ok(matcher)
    }

    /// Whether there is any rule.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// Whether a rule brings something back.
    pub fn has_exceptions(&self) -> bool {
        self.has_exceptions
    }

    /// Whether some rule ignores all there is at the top.
    pub fn ignores_everything(&self) -> bool {
        let rules = self.rules.iter().filter(|rule| !rule.is_exception);
        let mut texts = rules.map(|rule| rule.pattern.text());
        texts.any(|text| matches!(text, "*" | "**" | "**/*"))
    }

    /// Whether a path is ignored; by itself or with a directory above it. It is relative to the
    /// context's root.
    pub fn ignores(&self, path: &[u8]) -> bool {
        let mut inherited = Inherited::default();
        let slashes = path.iter().enumerate().filter(|(_, byte)| **byte == b'/');
        for (end, _) in slashes {
            inherited = self.directory(&path[..end], &inherited).1;
        }
        self.file(path, &inherited)
    }

    /// Whether a path is ignored, given what the directory above it has inherited.
    pub fn file(&self, path: &[u8], above: &Inherited) -> bool {
        let mut is_ignored = false;
        for (number, rule) in self.rules.iter().enumerate() {
            // A rule that would change nothing is not looked at.
            if rule.is_exception == is_ignored && (above.has(number) || rule.pattern.matches(path))
            {
                is_ignored = !rule.is_exception;
            }
        }
        is_ignored
    }

    /// As [`Self::file`] for a directory, with what those beneath it inherit.
    pub fn directory(&self, path: &[u8], above: &Inherited) -> (bool, Inherited) {
        let mut is_ignored = false;
        let mut inherited = Inherited::default();
        for (number, rule) in self.rules.iter().enumerate() {
            if above.has(number) || rule.pattern.matches(path) {
                inherited.set(number, self.rules.len());
                is_ignored = !rule.is_exception;
            }
        }
        (is_ignored, inherited)
    }

    /// Whether something beneath an ignored directory may be brought back; if not, nobody needs to
    /// look into it.
    pub fn may_bring_back(&self, directory: &[u8]) -> bool {
        let mut exceptions = self.rules.iter().filter(|rule| rule.is_exception);
        exceptions.any(|rule| rule.pattern.may_match_beneath(directory))
    }
}
