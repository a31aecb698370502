//! `--filter key=value`.
//!
//! Values of one key are alternatives, keys must all hold; only labels must all be there, as in
//! Docker. Which keys a list knows is its own business: [`Filters::check_keys`].

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::env::split_key_value;
use crate::pattern::Pattern;

/// How many filters one command may have.
pub const FILTERS_MAX: usize = 1000;

/// Why a filter is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FilterError {
    /// No `=`.
    #[error("bad format of filter (expected name=value)")]
    Format,
    /// More than [`FILTERS_MAX`].
    #[error("more than {FILTERS_MAX} filters")]
    TooMany,
    /// A key that the list does not know.
    #[error("invalid filter '{0}'")]
    UnknownKey(String),
    /// A value that the key does not know.
    #[error("invalid filter '{key}={values}'")]
    Value {
        /// The key.
        key: String,
        /// All its values, `[a b]`.
        values: String,
    },
}

/// The filters of one command.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Filters {
    fields: BTreeMap<String, Vec<String>>,
}

impl Filters {
    /// Adds one `key=value`; an empty text is no filter.
    pub fn add_flag(&mut self, text: &str) -> Result<(), FilterError> {
        if text.is_empty() {
            return Ok(());
        }
        let (key, value) = text.split_once('=').ok_or(FilterError::Format)?;
        self.add(&key.trim().to_lowercase(), value.trim())
    }

    /// Adds a value to a key.
    pub fn add(&mut self, key: &str, value: &str) -> Result<(), FilterError> {
        if self.fields.values().map(Vec::len).sum::<usize>() >= FILTERS_MAX {
            return Err(FilterError::TooMany);
        }
        let values = self.fields.entry(key.to_owned()).or_default();
        if !values.iter().any(|known| known == value) {
            values.push(value.to_owned());
        }
        Ok(())
    }

    /// Reads all flags of a command.
    pub fn parse<T: AsRef<str>>(flags: &[T]) -> Result<Self, FilterError> {
        let mut filters = Self::default();
        for flag in flags {
            filters.add_flag(flag.as_ref())?;
        }
        Ok(filters)
    }

    /// Refuses keys that are not in the list.
    pub fn check_keys(&self, known: &[&str]) -> Result<(), FilterError> {
        match self
            .fields
            .keys()
            .find(|key| !known.contains(&key.as_str()))
        {
            Some(key) => Err(FilterError::UnknownKey(key.clone())),
            None => Ok(()),
        }
    }

    /// Refuses values that a key does not know, in Docker's words.
    pub fn check_values(&self, key: &str, known: &[&str]) -> Result<(), FilterError> {
        let unknown = |value: &&String| !known.contains(&value.as_str());
        match self.values(key).iter().find(unknown) {
            Some(value) => Err(FilterError::Value {
                key: key.to_owned(),
                values: value.clone(),
            }),
            None => Ok(()),
        }
    }

    /// Whether there is no filter at all.
    pub fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }

    /// Whether the key was given.
    pub fn contains(&self, key: &str) -> bool {
        self.fields.contains_key(key)
    }

    /// The values of a key, empty where it was not given.
    pub fn values(&self, key: &str) -> &[String] {
        self.fields.get(key).map_or(&[], Vec::as_slice)
    }

    /// All keys with their values.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[String])> {
        self.fields
            .iter()
            .map(|(key, values)| (key.as_str(), values.as_slice()))
    }

    /// Whether any value of the key satisfies the question; true where the key was not given.
    pub fn any(&self, key: &str, matches: impl FnMut(&str) -> bool) -> bool {
        let values = self.values(key);
        values.is_empty() || values.iter().map(String::as_str).any(matches)
    }

    /// Any value equals the text.
    pub fn matches_exactly(&self, key: &str, text: &str) -> bool {
        self.any(key, |value| value == text)
    }

    /// Any value begins the text: ids.
    pub fn matches_prefix(&self, key: &str, text: &str) -> bool {
        self.any(key, |value| text.starts_with(value))
    }

    /// Any value, read as a regular expression, occurs in the text: names.
    pub fn matches_pattern(&self, key: &str, text: &str) -> bool {
        self.any(key, |value| {
            value == text || Pattern::new(value).is_match(text)
        })
    }

    /// All values of the key, `name` or `name=value`, are among the labels.
    pub fn matches_labels(&self, key: &str, labels: &BTreeMap<String, String>) -> bool {
        self.values(key).iter().all(|wanted| {
            let (name, value) = split_key_value(wanted);
            let matches_value = |have: &String| !wanted.contains('=') || have == value;
            labels.get(name).is_some_and(matches_value)
        })
    }

    /// The one boolean of a key such as `dangling`.
    pub fn boolean(&self, key: &str, default: bool) -> Result<bool, FilterError> {
        let values = self.values(key);
        let is = |words: [&str; 2]| values.iter().any(|value| words.contains(&value.as_str()));
        match (values.is_empty(), is(["1", "true"]), is(["0", "false"])) {
            (true, _, _) => Ok(default),
            (_, true, false) => Ok(true),
            (_, false, true) => Ok(false),
            _ => Err(self.bad_value(key)),
        }
    }

    /// The error for a value of that key that nobody understands.
    pub fn bad_value(&self, key: &str) -> FilterError {
        FilterError::Value {
            key: key.to_owned(),
            values: format!("[{}]", self.values(key).join(" ")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_collected_by_key() {
        let filters =
            Filters::parse(&["Status= exited", "status=dead", "name=a=b", "", "name=a=b"]).unwrap();
        assert_eq!(filters.values("status"), ["exited", "dead"]);
        assert_eq!(filters.values("name"), ["a=b"]);
        assert!(filters.contains("name") && !filters.contains("id") && !filters.is_empty());
        assert_eq!(filters.iter().count(), 2);
    }

    #[test]
    fn bad_filters_have_the_words_of_docker() {
        let error = Filters::parse(&["bogus"]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "bad format of filter (expected name=value)"
        );
        let filters = Filters::parse(&["x=1", "dangling=foo"]).unwrap();
        assert_eq!(
            filters.check_keys(&["dangling"]).unwrap_err().to_string(),
            "invalid filter 'x'"
        );
        assert!(filters.check_keys(&["dangling", "x"]).is_ok());
        assert_eq!(
            filters.boolean("dangling", false).unwrap_err().to_string(),
            "invalid filter 'dangling=[foo]'"
        );
        let unknown = filters.check_values("dangling", &["true"]).unwrap_err();
        assert_eq!(unknown.to_string(), "invalid filter 'dangling=foo'");
        assert!(filters.check_values("type", &["custom"]).is_ok());
        let many: Vec<_> = (0..=FILTERS_MAX)
            .map(|number| format!("a={number}"))
            .collect();
        assert_eq!(Filters::parse(&many), Err(FilterError::TooMany));
    }

    #[test]
    fn values_are_alternatives_and_labels_are_not() {
        let filters = Filters::parse(&[
            "status=a",
            "status=b",
            "id=3f",
            "name=^w.b$",
            "label=x",
            "label=y=1",
            "d=true",
        ])
        .unwrap();
        assert!(filters.matches_exactly("status", "b") && !filters.matches_exactly("status", "c"));
        assert!(filters.matches_exactly("absent", "anything"));
        assert!(filters.matches_prefix("id", "3f2a") && !filters.matches_prefix("id", "f3"));
        assert!(filters.matches_pattern("name", "web") && !filters.matches_pattern("name", "web1"));
        assert_eq!(filters.boolean("d", false), Ok(true));
        assert_eq!(filters.boolean("e", true), Ok(true));
        let labels = |pairs: &[(&str, &str)]| {
            pairs
                .iter()
                .map(|&(key, value)| (key.to_owned(), value.to_owned()))
                .collect()
        };
        assert!(filters.matches_labels("label", &labels(&[("x", ""), ("y", "1")])));
        assert!(!filters.matches_labels("label", &labels(&[("x", ""), ("y", "2")])));
        assert!(!filters.matches_labels("label", &labels(&[("y", "1")])));
        assert!(filters.matches_labels("label!", &labels(&[])));
    }
}
