//! Errors with the place in the files that they speak of.

use std::fmt;

/// A place in one of the files of a project; a line of 0 is no place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Mark {
    /// Which file: an index into the loader's list of sources.
    pub(crate) file: u16,
    /// The line, from 1.
    pub(crate) line: u32,
    /// The column in characters, from 1.
    pub(crate) column: u32,
}

impl Mark {
    /// The start of a file.
    pub(crate) fn file(file: u16) -> Self {
        let (line, column) = (0, 0);
        Self { file, line, column }
    }
}

/// What goes wrong inside one file; [`crate::load`] gives it the file's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) at: Option<Mark>,
    pub(crate) text: String,
    pub(crate) hint: Option<String>,
}

impl Fault {
    /// A fault at a place.
    pub(crate) fn at(at: Mark, text: impl Into<String>) -> Self {
        let (at, text) = (Some(at), text.into());
        Self {
            at,
            text,
            hint: None,
        }
    }

    /// A fault of the project as a whole.
    pub(crate) fn of_project(text: impl Into<String>) -> Self {
        Self {
            at: None,
            text: text.into(),
            hint: None,
        }
    }

    /// Adds the way out.
    pub(crate) fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Gives a place to a fault that has none.
    pub(crate) fn or_at(mut self, at: Mark) -> Self {
        self.at.get_or_insert(at);
        self
    }
}

/// The result of one step of the loader.
pub(crate) type Step<T> = Result<T, Fault>;

/// Why a project cannot be loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ComposeError {
    /// The file, as far as one is to blame.
    pub file: Option<String>,
    /// Line and column, from 1.
    pub position: Option<(u32, u32)>,
    /// What is wrong.
    pub text: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl ComposeError {
    /// An error of no file.
    pub fn of_project(text: impl Into<String>) -> Self {
        Self {
            file: None,
            position: None,
            text: text.into(),
            hint: None,
        }
    }
}

impl fmt::Display for ComposeError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.file, self.position) {
            (Some(file), Some((line, column))) => write!(formatter, "{file}:{line}:{column}: ")?,
            (Some(file), None) => write!(formatter, "{file}: ")?,
            _ => {}
        }
        formatter.write_str(&self.text)
    }
}

impl std::error::Error for ComposeError {}
