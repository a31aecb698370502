//! Lines of a Dockerfile, and the directives at its top.

use super::error::{DockerfileError, Problem};
use super::{DOCKERFILE_BYTES_MAX, LINE_BYTES_MAX};

/// The byte order mark that some editors write.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// The lines of a file, one after the other.
pub(super) struct Reader<'a> {
    rest: &'a [u8],
    /// The number of the line that was read last; 0 before the first.
    pub(super) line: u32,
}

impl<'a> Reader<'a> {
    pub(super) fn new(source: &'a [u8]) -> Result<Self, DockerfileError> {
        if source.len() > DOCKERFILE_BYTES_MAX {
            let limit = DOCKERFILE_BYTES_MAX;
            return Err(DockerfileError::on_line(Problem::TooLong { limit }, 1, 1));
        }
        Ok(Self {
            rest: source.strip_prefix(BYTE_ORDER_MARK).unwrap_or(source),
            line: 0,
        })
    }

    /// The next line with its line end.
    pub(super) fn next(&mut self) -> Result<Option<&'a [u8]>, DockerfileError> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let end = self.rest.iter().position(|byte| *byte == b'\n');
        let (line, rest) = self
            .rest
            .split_at(end.map_or(self.rest.len(), |end| end + 1));
        self.rest = rest;
        self.line += 1;
        if line.len() > LINE_BYTES_MAX {
            let limit = LINE_BYTES_MAX;
            let column = u32::try_from(limit).unwrap_or(u32::MAX);
            let problem = Problem::LineTooLong { limit };
            return Err(DockerfileError::on_line(problem, self.line, column));
        }
        Ok(Some(line))
    }

    /// The line as text. Only a comment may be something else.
    pub(super) fn text(&self, line: &'a [u8]) -> Result<&'a str, DockerfileError> {
        std::str::from_utf8(line).map_err(|error| {
            let good = &line[..error.valid_up_to()];
            let before = String::from_utf8_lossy(good).chars().count();
            let column = u32::try_from(before + 1).unwrap_or(u32::MAX);
            DockerfileError::on_line(Problem::NotUtf8, self.line, column)
        })
    }
}

/// Whether the first thing in the line is `#`.
pub(super) fn is_comment(line: &[u8]) -> bool {
    let line = line.trim_ascii_start();
    match line.first() {
        Some(first) if first.is_ascii_graphic() => *first == b'#',
        // Blanks that are not ASCII, or nothing.
        _ => std::str::from_utf8(line).is_ok_and(|line| line.trim_start().starts_with('#')),
    }
}

/// The line without its line end.
pub(super) fn without_line_end(line: &str) -> &str {
    line.trim_end_matches(['\r', '\n'])
}

/// A line without the escape character that joins the next one to it, or `None` where the
/// instruction ends with it. An escape character before that one takes its meaning away.
pub(super) fn without_continuation(line: &str, escape: char) -> Option<&str> {
    let joined = line.trim_end_matches([' ', '\t']).strip_suffix(escape)?;
    (!joined.ends_with(escape)).then_some(joined)
}

/// Their names.
pub(super) const DIRECTIVES: [&str; 3] = ["syntax", "escape", "check"];

/// The directives at the top of a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Directives {
    /// `# syntax=`: the front end asked for.
    pub syntax: Option<Directive>,
    /// `# escape=`.
    pub escape: Option<Directive>,
    /// `# check=`: options of the lint.
    pub check: Option<Directive>,
}

/// One directive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Directive {
    /// Its value.
    pub value: String,
    /// Its line.
    pub line: u32,
}

impl Directives {
    /// Notes the directive in a line, `# name = value`. False where there is none, and there will
    /// be none behind that line.
    pub(super) fn note(&mut self, line: &str, number: u32) -> Result<bool, DockerfileError> {
        let Some((name, value)) = line.strip_prefix('#').and_then(split_directive) else {
            return Ok(false);
        };
        let (name, place) = match name.to_ascii_lowercase().as_str() {
            "syntax" => ("syntax", &mut self.syntax),
            "escape" => ("escape", &mut self.escape),
            "check" => ("check", &mut self.check),
            _ => return Ok(false),
        };
        let fail = |problem| Err(DockerfileError::on_line(problem, number, 1));
        if place.is_some() {
            return fail(Problem::DirectiveTwice(name));
        }
        if name == "escape" && !matches!(value, "\\" | "`") {
            return fail(Problem::EscapeToken(value.to_owned()));
        }
        *place = Some(Directive {
            value: value.to_owned(),
            line: number,
        });
        Ok(true)
    }

    /// The escape character.
    pub fn escape_character(&self) -> char {
        let escape = self.escape.as_ref();
        escape
            .and_then(|escape| escape.value.chars().next())
            .unwrap_or('\\')
    }
}

/// `name = value`, with blanks where one likes them.
pub(crate) fn split_directive(text: &str) -> Option<(&str, &str)> {
    let (name, value) = text.trim_start().split_once('=')?;
    let name = name.trim_end();
    let value = value.trim();
    let mut characters = name.chars();
    let is_name = characters.next().is_some_and(|c| c.is_ascii_alphabetic())
        && characters.all(|c| c.is_ascii_alphanumeric());
    (is_name && !value.is_empty()).then_some((name, value))
}

/// Whether a comment tells the lint what to look at: `check=skip=Rule`.
pub(crate) fn is_check(comment: &str) -> bool {
    split_directive(comment).is_some_and(|(name, _)| name.eq_ignore_ascii_case("check"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_continuation_is_an_escape_that_is_not_escaped() {
        for (line, want) in [
            ("a \\", Some("a ")),
            ("a\\ \t", Some("a")),
            ("\\", Some("")),
            ("a\\\\", None),
            ("a", None),
            ("", None),
            ("a\\b", None),
        ] {
            assert_eq!(without_continuation(line, '\\'), want, "{line:?}");
        }
        assert_eq!(without_continuation("a`", '`'), Some("a"));
        assert_eq!(without_continuation("a\\", '`'), None);
    }

    #[test]
    fn a_directive_has_a_known_name_and_a_value_and_stands_once() {
        let mut found = Directives::default();
        assert!(found.note("# Escape = `  ", 1).unwrap());
        assert!(found.note("#syntax=docker/dockerfile:1", 2).unwrap());
        assert_eq!(found.escape_character(), '`');
        assert_eq!(found.syntax.as_ref().unwrap().value, "docker/dockerfile:1");
        for none in [
            "# other=1",
            "# check",
            "# check=",
            "check=x",
            "#=x",
            "# a b=c",
        ] {
            assert!(!found.note(none, 3).unwrap(), "{none}");
        }
        let twice = found.note("# escape=\\", 4).unwrap_err();
        assert_eq!(
            twice.to_string(),
            "only one escape parser directive can be used"
        );
        let error = Directives::default().note("# escape=x", 7).unwrap_err();
        assert_eq!(error.position.line, 7);
    }
}
