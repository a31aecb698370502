//! What a command line said, by flag.

use std::fmt;

use super::{Command, Kind, structured, values};

/// The values given to one command's flags, and its positional arguments.
///
/// The getters take a long name that the command's table holds; another name is a bug of ours and
/// panics (a test walks all of them). The values were checked when they were parsed.
#[derive(Clone)]
pub(crate) struct Matches {
    command: &'static Command,
    /// One entry per flag of the table; empty where the flag was not given.
    given: Vec<Vec<String>>,
    /// Positional arguments.
    pub(crate) args: Vec<String>,
}

impl fmt::Debug for Matches {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let given = self
            .command
            .flags
            .iter()
            .zip(&self.given)
            .filter(|(_, values)| !values.is_empty());
        formatter
            .debug_map()
            .entries(given.map(|(flag, values)| (flag.long, values)))
            .entry(&"args", &self.args)
            .finish()
    }
}

impl Matches {
    pub(super) fn new(command: &'static Command) -> Self {
        Self {
            command,
            given: vec![Vec::new(); command.flags.len()],
            args: Vec::new(),
        }
    }

    pub(super) fn set(&mut self, index: usize, value: String) {
        let flag = &self.command.flags[index];
        let given = &mut self.given[index];
        match flag.kind {
            Kind::Strings => given.extend(structured::split_commas(&value)),
            kind if kind.is_repeatable() => given.push(value),
            _ => *given = vec![value],
        }
    }

    /// The same with a value for a flag; the error is what is wrong with the value.
    pub(crate) fn with(mut self, long: &str, value: &str) -> Result<Self, String> {
        let index = self.index(long);
        values::check(self.command.flags[index].kind, value)?;
        self.set(index, value.to_owned());
        Ok(self)
    }

    fn index(&self, long: &str) -> usize {
        self.command
            .flag_index(long)
            .unwrap_or_else(|| panic!("invariant: {} has no flag --{long}", self.command.name()))
    }

    /// True if the flag was given.
    pub(crate) fn is_set(&self, long: &str) -> bool {
        !self.given[self.index(long)].is_empty()
    }

    /// True if the command has this flag at all (`create` lacks some of `run`).
    pub(crate) fn has(&self, long: &str) -> bool {
        self.command.flag_index(long).is_some()
    }

    /// How many different flags were given.
    pub(crate) fn count_set(&self) -> usize {
        self.given
            .iter()
            .filter(|values| !values.is_empty())
            .count()
    }

    /// The last value given, else the default.
    pub(crate) fn get_str(&self, long: &str) -> &str {
        let index = self.index(long);
        self.given[index]
            .last()
            .map_or(self.command.flags[index].default, String::as_str)
    }

    /// A switch.
    pub(crate) fn get_bool(&self, long: &str) -> bool {
        values::parse_bool(self.get_str(long)).unwrap_or(false)
    }

    /// All values of a repeatable flag.
    pub(crate) fn get_list(&self, long: &str) -> &[String] {
        &self.given[self.index(long)]
    }

    /// An integer (also of the unsigned kinds, clamped to what fits).
    pub(crate) fn get_int(&self, long: &str) -> i64 {
        let text = self.get_str(long);
        if text.is_empty() {
            return 0;
        }
        match self.command.flags[self.index(long)].kind {
            Kind::Uint16 | Kind::Uint64 => values::parse_uint(text, 64)
                .map_or(0, |number| i64::try_from(number).unwrap_or(i64::MAX)),
            _ => values::parse_int(text).unwrap_or(0),
        }
    }

    /// A size in bytes; -1 where the flag allows it.
    pub(crate) fn get_bytes(&self, long: &str) -> i64 {
        match self.get_str(long) {
            "" => 0,
            "-1" => -1,
            text => values::parse_bytes(text).unwrap_or(0),
        }
    }

    /// A duration in nanoseconds.
    pub(crate) fn get_duration_ns(&self, long: &str) -> i64 {
        match self.get_str(long) {
            "" => 0,
            text => values::parse_duration(text).unwrap_or(0),
        }
    }

    /// A number of CPUs in billionths.
    pub(crate) fn get_nano_cpus(&self, long: &str) -> i64 {
        match self.get_str(long) {
            "" => 0,
            text => values::parse_nano_cpus(text).unwrap_or(0),
        }
    }
}
