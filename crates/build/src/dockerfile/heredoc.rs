//! Here-documents: `<<EOF` in RUN, COPY and ADD.

use super::words::{Lexer, NoVariables, WordError};

/// A here-document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heredoc {
    /// The word that ends it, without quotes.
    pub name: String,
    /// The descriptor in `3<<EOF`; 0 where there is none.
    pub descriptor: u32,
    /// The word was not quoted: variables in the content are replaced.
    pub expand: bool,
    /// `<<-`: tabs at the start of lines go away.
    pub strip_tabs: bool,
    /// The lines, with their line ends.
    pub content: String,
}

impl Heredoc {
    /// Reads `<<EOF`, one word of an instruction; `None` where it is something else.
    pub fn parse(word: &str) -> Result<Option<Self>, WordError> {
        let digits = word.len() - word.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (descriptor, rest) = word.split_at(digits);
        let Some(rest) = rest.strip_prefix("<<") else {
            return Ok(None);
        };
        let (strip_tabs, rest) = match rest.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, rest),
        };
        let rest = rest.trim_start_matches(['\t', '\n', '\u{c}', '\r', ' ']);
        if rest.is_empty() || rest.contains('<') {
            return Ok(None);
        }
        let lexer = Lexer {
            keep_unset: true,
            ..Lexer::new('\\')
        };
        let quoting = Lexer {
            keep_quotes: true,
            ..lexer
        };
        let [name] = &lexer.expand(rest, &NoVariables)?.words[..] else {
            return Ok(None);
        };
        let with_quotes = quoting.expand(rest, &NoVariables)?.words;
        let [with_quotes] = &with_quotes[..] else {
            return Ok(None);
        };
        Ok(Some(Self {
            name: name.clone(),
            descriptor: descriptor.parse().unwrap_or_default(),
            // A quote that went away quoted a part of the word.
            expand: quotes(name) == quotes(with_quotes),
            strip_tabs,
            content: String::new(),
        }))
    }

    /// Those that an instruction opens, in order, without content yet.
    pub(super) fn opened_by(line: &str) -> Result<Vec<Self>, WordError> {
        let lexer = Lexer {
            keep_quotes: true,
            keep_escapes: true,
            keep_unset: true,
            ..Lexer::new('\\')
        };
        // A line that is no shell words, such as one with a lonely quote, opens none.
        let words = lexer
            .expand(line, &NoVariables)
            .map(|expansion| expansion.words)
            .unwrap_or_default();
        let mut opened = Vec::new();
        for word in words {
            opened.extend(Self::parse(&word)?);
        }
        Ok(opened)
    }

    /// The content as the instruction means it: without leading tabs for `<<-`.
    pub fn body(&self) -> String {
        if self.strip_tabs {
            without_leading_tabs(&self.content)
        } else {
            self.content.clone()
        }
    }
}

fn quotes(word: &str) -> usize {
    word.matches(['\'', '"']).count()
}

fn without_leading_tabs(content: &str) -> String {
    content
        .split_inclusive('\n')
        .map(|line| line.trim_start_matches('\t'))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_that_opens_a_heredoc_is_known() {
        let parse = |word| {
            Heredoc::parse(word)
                .unwrap()
                .map(|found| (found.name, found.descriptor, found.expand, found.strip_tabs))
        };
        let found = |name: &str, descriptor, expand, strip| {
            Some((name.to_owned(), descriptor, expand, strip))
        };
        assert_eq!(parse("<<EOF"), found("EOF", 0, true, false));
        assert_eq!(parse("3<<-EOF"), found("EOF", 3, true, true));
        assert_eq!(parse("<<\"EOF\""), found("EOF", 0, false, false));
        assert_eq!(parse("<<'E'OF"), found("EOF", 0, false, false));
        assert_eq!(parse("<<E\\'OF"), found("E'OF", 0, true, false));
        for none in ["<<", "<EOF", "a<<EOF", "<<<EOF", "<<a b", "<<-"] {
            assert_eq!(parse(none), None, "{none}");
        }
        assert!(Heredoc::parse("<<'EOF").is_err());
    }

    #[test]
    fn tabs_go_away_at_the_start_of_each_line() {
        assert_eq!(without_leading_tabs("\t\ta\n\tb\tc\nd"), "a\nb\tc\nd");
    }
}
