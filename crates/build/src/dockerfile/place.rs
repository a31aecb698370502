//! Where something stands in a Dockerfile, and the lines around it for an error message.

use std::fmt;

/// So many lines are shown before and after what an excerpt is about.
const CONTEXT_LINES: u32 = 3;
/// A longer line is cut in an excerpt.
const EXCERPT_LINE_CHARACTERS_MAX: usize = 200;

/// A point: line and column, both from 1; a column counts characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// The line.
    pub line: u32,
    /// The column.
    pub column: u32,
}

/// A range of whole lines, from 1, the last one included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lines {
    /// The first line.
    pub start: u32,
    /// The last line.
    pub end: u32,
}

impl Lines {
    /// One line.
    pub fn one(line: u32) -> Self {
        Self {
            start: line,
            end: line,
        }
    }
}

/// The text of one instruction after its continuation lines were joined, and where each part of
/// it came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The joined text, as BuildKit's parser keeps it.
    pub text: String,
    /// The lines it came from, with those of its here-documents.
    pub lines: Lines,
    /// The comments directly above it, without `#`.
    pub comments: Vec<String>,
    /// From which byte of the text on another line of the file is read, in order.
    pub(super) pieces: Vec<Piece>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Piece {
    pub(super) offset: usize,
    pub(super) position: Position,
}

impl Origin {
    /// The instruction's text without surrounding space.
    pub fn code(&self) -> &str {
        self.text.trim()
    }

    /// Where the instruction begins.
    pub fn start(&self) -> Position {
        let blank = self.text.len() - self.text.trim_start().len();
        self.position(blank)
    }

    /// Where the byte of the text stands in the file.
    pub fn position(&self, offset: usize) -> Position {
        let after = self.pieces.partition_point(|piece| piece.offset <= offset);
        let Some(piece) = after.checked_sub(1).and_then(|at| self.pieces.get(at)) else {
            return Position {
                line: self.lines.start,
                column: 1,
            };
        };
        let between = self.text.get(piece.offset..offset).unwrap_or_default();
        let characters = u32::try_from(between.chars().count()).unwrap_or(u32::MAX);
        Position {
            line: piece.position.line,
            column: piece.position.column.saturating_add(characters),
        }
    }

    /// Where a part of the text first stands; the start where it is not there as written, such as
    /// a word that lost its quotes.
    pub fn locate(&self, part: &str) -> Position {
        match self.text.find(part) {
            Some(offset) if !part.is_empty() => self.position(offset),
            _ => self.start(),
        }
    }
}

/// The lines around a place, some of them marked. Printed as BuildKit prints them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Excerpt {
    /// The name of the file.
    pub file: String,
    /// The place.
    pub position: Position,
    /// The lines, in order.
    pub lines: Vec<ExcerptLine>,
}

/// A line of an [`Excerpt`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExcerptLine {
    /// Its number.
    pub number: u32,
    /// Its text without line end; control characters are replaced.
    pub text: String,
    /// Whether this is what the excerpt is about.
    pub marked: bool,
}

/// Cuts the lines around a place out of a file.
pub fn excerpt(file: &str, source: &[u8], lines: Lines, position: Position) -> Excerpt {
    let first = lines.start.saturating_sub(CONTEXT_LINES).max(1);
    let last = lines.end.saturating_add(CONTEXT_LINES);
    let mut shown = Vec::new();
    for (number, line) in (1u32..).zip(source.split(|byte| *byte == b'\n')) {
        if number > last {
            break;
        }
        // The empty piece behind the last line end is no line.
        let is_end = line.is_empty() && number > lines.end;
        if number >= first && !is_end {
            shown.push(ExcerptLine {
                number,
                text: printable(line),
                marked: (lines.start..=lines.end).contains(&number),
            });
        }
    }
    Excerpt {
        file: file.to_owned(),
        position,
        lines: shown,
    }
}

/// What a terminal can show of a line without being moved or coloured by it.
fn printable(line: &[u8]) -> String {
    let text = String::from_utf8_lossy(line);
    let text = text.trim_end_matches('\r');
    let shown = text.chars().take(EXCERPT_LINE_CHARACTERS_MAX);
    shown
        .map(|character| match character {
            '\t' => ' ',
            control if control.is_control() => char::REPLACEMENT_CHARACTER,
            other => other,
        })
        .collect()
}

impl fmt::Display for Excerpt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}:{}", self.file, self.position.line)?;
        writeln!(f, "--------------------")?;
        for line in &self.lines {
            let mark = if line.marked { ">>>" } else { "   " };
            writeln!(f, "{:4} | {mark} {}", line.number, line.text)?;
        }
        writeln!(f, "--------------------")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_excerpt_marks_its_lines_and_shows_those_around_them() {
        let source = b"FROM a\r\n\nRUN \x1b[31mfalse\nRUN b\n";
        let position = Position { line: 3, column: 5 };
        let excerpt = excerpt("Dockerfile", source, Lines::one(3), position);
        let want = "Dockerfile:3\n--------------------\n   1 |     FROM a\n   2 |     \n   \
                    3 | >>> RUN \u{fffd}[31mfalse\n   4 |     RUN b\n--------------------\n";
        assert_eq!(excerpt.to_string(), want);
    }

    #[test]
    fn a_place_in_joined_text_is_that_of_its_own_line() {
        let piece = |offset, line, column| Piece {
            offset,
            position: Position { line, column },
        };
        let origin = Origin {
            text: "  RUN é && false".to_owned(),
            lines: Lines { start: 3, end: 5 },
            comments: Vec::new(),
            pieces: vec![piece(0, 3, 1), piece(9, 5, 1)],
        };
        assert_eq!(origin.start(), Position { line: 3, column: 3 });
        assert_eq!(origin.locate("false"), Position { line: 5, column: 4 });
        assert_eq!(origin.locate("é"), Position { line: 3, column: 7 });
        assert_eq!(origin.locate("nowhere"), origin.start());
    }
}
