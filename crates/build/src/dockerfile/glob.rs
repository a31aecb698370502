//! Patterns of `${name#pattern}`, `%` and `/`: `*`, `?` and characters.
//!
//! Matching runs over sets of states, as Go's regular expressions do, for which BuildKit's shell
//! words translate such a pattern: time is bounded by pattern times text, and which of several
//! matches is found is the same.

/// The longest pattern.
pub(super) const PATTERN_CHARACTERS_MAX: usize = 1024;
/// The most that a pattern's length times its text's may be.
pub(super) const PATTERN_WORK_MAX: usize = 1 << 25;

/// Why a pattern is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// A backslash before something that needs none.
    #[error("invalid escape '\\{0}'")]
    Escape(String),
    /// Longer than it may be for its text.
    #[error("too long, or too long for its text")]
    TooLong,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token {
    One(char),
    /// `?`; not a line end, as Go's `.`.
    Any,
    /// `*`; any number of what `?` is.
    Star,
}

/// Whether a `*` takes as much or as little as it can.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Appetite {
    Longest,
    Shortest,
}

/// Where a match may begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Anchor {
    Start,
    Anywhere,
}

/// A compiled pattern.
pub(super) struct Glob {
    tokens: Vec<Token>,
}

impl Glob {
    pub(super) fn new(pattern: &str) -> Result<Self, PatternError> {
        let mut tokens = Vec::new();
        let mut rest = pattern.chars().peekable();
        while let Some(character) = rest.next() {
            if tokens.len() >= PATTERN_CHARACTERS_MAX {
                return Err(PatternError::TooLong);
            }
            match character {
                // Two stars are one; so a step through the pattern is at most two states deep.
                '*' if tokens.last() == Some(&Token::Star) => {}
                '*' => tokens.push(Token::Star),
                '?' => tokens.push(Token::Any),
                // They had to be escaped within `${…}`; the escape is not the pattern's.
                '\\' if matches!(rest.peek(), Some('}' | '/')) => {}
                '\\' => match rest.next() {
                    Some(escaped @ ('*' | '?' | '\\')) => tokens.push(Token::One(escaped)),
                    other => {
                        let other = other.map(String::from).unwrap_or_default();
                        return Err(PatternError::Escape(other));
                    }
                },
                other => tokens.push(Token::One(other)),
            }
        }
        Ok(Self { tokens })
    }

    /// The first match as a range of bytes.
    pub(super) fn find(
        &self,
        text: &str,
        appetite: Appetite,
        anchor: Anchor,
    ) -> Result<Option<(usize, usize)>, PatternError> {
        if self.tokens.len().saturating_mul(text.len()) > PATTERN_WORK_MAX {
            return Err(PatternError::TooLong);
        }
        let mut now = Threads::new(self.tokens.len(), appetite);
        let mut next = Threads::new(self.tokens.len(), appetite);
        let mut found = None;
        let ends = text.char_indices().map(Some).chain([None]);
        for (offset, character) in ends.map(|end| match end {
            Some((offset, character)) => (offset, Some(character)),
            None => (text.len(), None),
        }) {
            if found.is_none() && (anchor == Anchor::Anywhere || offset == 0) {
                now.add(&self.tokens, 0, offset);
            }
            if now.list.is_empty() {
                break;
            }
            for &(state, start) in &now.list {
                let Some(token) = self.tokens.get(state) else {
                    found = Some((start, offset));
                    // What follows in the list would be preferred less.
                    break;
                };
                match (*token, character) {
                    (Token::One(one), Some(character)) if one == character => {
                        next.add(&self.tokens, state + 1, start);
                    }
                    (Token::Any, Some(character)) if character != '\n' => {
                        next.add(&self.tokens, state + 1, start);
                    }
                    (Token::Star, Some(character)) if character != '\n' => {
                        next.add(&self.tokens, state, start);
                    }
                    _ => {}
                }
            }
            std::mem::swap(&mut now, &mut next);
            next.clear();
        }
        Ok(found)
    }
}

/// States to go on from, the most wanted first, with where their match began.
struct Threads {
    list: Vec<(usize, usize)>,
    seen: Vec<bool>,
    appetite: Appetite,
}

impl Threads {
    fn new(tokens: usize, appetite: Appetite) -> Self {
        Self {
            list: Vec::new(),
            seen: vec![false; tokens + 1],
            appetite,
        }
    }

    fn clear(&mut self) {
        for (state, _) in self.list.drain(..) {
            self.seen[state] = false;
        }
    }

    fn add(&mut self, tokens: &[Token], state: usize, start: usize) {
        if tokens.get(state) != Some(&Token::Star) {
            self.push(state, start);
        } else if self.appetite == Appetite::Longest {
            self.push(state, start);
            self.push(state + 1, start);
        } else {
            self.push(state + 1, start);
            self.push(state, start);
        }
    }

    fn push(&mut self, state: usize, start: usize) {
        if !std::mem::replace(&mut self.seen[state], true) {
            self.list.push((state, start));
        }
    }
}

/// The text without what the pattern matches at its start.
pub(super) fn trim_start(
    pattern: &str,
    text: &str,
    appetite: Appetite,
) -> Result<String, PatternError> {
    let found = Glob::new(pattern)?.find(text, appetite, Anchor::Start)?;
    Ok(text[found.map_or(0, |(_, end)| end)..].to_owned())
}

/// The text without what the pattern matches at its end: both are turned round, since a search
/// finds the first match and not the last.
pub(super) fn trim_end(
    pattern: &str,
    text: &str,
    appetite: Appetite,
) -> Result<String, PatternError> {
    let trimmed = trim_start(&reverse_pattern(pattern), &reverse(text), appetite)?;
    Ok(reverse(&trimmed))
}

fn reverse(text: &str) -> String {
    text.chars().rev().collect()
}

/// Turns a pattern round, but leaves each escape before what it escapes.
fn reverse_pattern(pattern: &str) -> String {
    let characters: Vec<char> = pattern.chars().collect();
    let mut reversed = Vec::with_capacity(characters.len());
    let mut at = 0;
    while at < characters.len() {
        if characters[at] == '\\' && at + 1 < characters.len() {
            reversed.push(characters[at + 1]);
            reversed.push('\\');
            at += 2;
        } else {
            reversed.push(characters[at]);
            at += 1;
        }
    }
    reversed.into_iter().rev().collect()
}

/// The text with the first or every match replaced.
pub(super) fn replace(
    pattern: &str,
    text: &str,
    replacement: &str,
    all: bool,
) -> Result<String, PatternError> {
    let glob = Glob::new(pattern)?;
    let mut replaced = String::with_capacity(text.len());
    let mut rest = text;
    // An empty match right behind another one is none.
    let mut is_behind_match = false;
    while let Some((start, end)) = glob.find(rest, Appetite::Longest, Anchor::Anywhere)? {
        replaced.push_str(&rest[..start]);
        if !all {
            replaced.push_str(replacement);
            replaced.push_str(&rest[end..]);
            return Ok(replaced);
        }
        if !(start == end && start == 0 && is_behind_match) {
            expand_template(replacement, &rest[start..end], &mut replaced);
        }
        is_behind_match = end > start;
        rest = &rest[end..];
        if start == end {
            let Some(character) = rest.chars().next() else {
                return Ok(replaced);
            };
            replaced.push(character);
            rest = &rest[character.len_utf8()..];
            is_behind_match = false;
        }
        if replaced.len() > super::words::EXPANSION_BYTES_MAX {
            return Err(PatternError::TooLong);
        }
    }
    replaced.push_str(rest);
    Ok(replaced)
}

/// Go's replacement of all matches reads `$0` and `$name` in the replacement, and so BuildKit
/// does: `$0` is the match, any other name nothing, `$$` a dollar.
fn expand_template(template: &str, matched: &str, out: &mut String) {
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('$') {
        out.push_str(before);
        rest = after;
        if let Some(after) = rest.strip_prefix('$') {
            out.push('$');
            rest = after;
            continue;
        }
        let (braced, inner) = match rest.strip_prefix('{') {
            Some(inner) => (true, inner),
            None => (false, rest),
        };
        let end = inner
            .find(|character: char| !(character.is_alphanumeric() || character == '_'))
            .unwrap_or(inner.len());
        let (name, after) = inner.split_at(end);
        let after = if braced {
            after.strip_prefix('}')
        } else {
            Some(after)
        };
        match after {
            Some(after) if !name.is_empty() => {
                if name == "0" {
                    out.push_str(matched);
                }
                rest = after;
            }
            _ => out.push('$'),
        }
    }
    out.push_str(rest);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shortest_or_the_longest_match_is_taken_away() {
        let cases = [
            ("*/", "a/b/c", Appetite::Shortest, "b/c"),
            ("*/", "a/b/c", Appetite::Longest, "c"),
            ("x", "a", Appetite::Longest, "a"),
            ("", "a", Appetite::Longest, "a"),
            ("*", "ab", Appetite::Longest, ""),
            ("*", "ab", Appetite::Shortest, "ab"),
            ("?", "éa", Appetite::Longest, "a"),
            ("*", "a\nb", Appetite::Longest, "\nb"),
            ("\\*", "*a", Appetite::Longest, "a"),
        ];
        for (pattern, text, appetite, want) in cases {
            assert_eq!(trim_start(pattern, text, appetite).unwrap(), want);
        }
        assert_eq!(trim_end(".*", "a.b.c", Appetite::Shortest).unwrap(), "a.b");
        assert_eq!(trim_end(".*", "a.b.c", Appetite::Longest).unwrap(), "a");
        assert_eq!(trim_end("\\*b", "a*b", Appetite::Longest).unwrap(), "a");
        assert_eq!(
            trim_start("\\a", "a", Appetite::Longest),
            Err(PatternError::Escape("a".to_owned()))
        );
    }

    #[test]
    fn all_matches_are_replaced_as_go_replaces_them() {
        let cases = [
            ("b", "abcb", "x", true, "axcx"),
            ("b", "abcb", "x", false, "axcb"),
            ("", "ab", "x", true, "xaxbx"),
            ("*", "ab", "x", true, "x"),
            ("b", "abc", "[$0]", true, "a[b]c"),
            ("b", "abc", "[${0}$1$$$.]", true, "a[b$$.]c"),
            ("b", "abc", "[$0]", false, "a[$0]c"),
        ];
        for (pattern, text, replacement, all, want) in cases {
            assert_eq!(replace(pattern, text, replacement, all).unwrap(), want);
        }
    }

    #[test]
    fn a_pattern_of_many_stars_costs_no_more_than_its_length() {
        let pattern = "*a".repeat(500);
        assert!(Glob::new(&pattern).is_ok());
        let text = "a".repeat(30_000);
        let glob = Glob::new(&format!("{pattern}b")).unwrap();
        assert_eq!(glob.find(&text, Appetite::Longest, Anchor::Start), Ok(None));
        assert!(Glob::new(&"x".repeat(2000)).is_err());
    }
}
