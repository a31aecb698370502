//! Flags of instructions: `--name=value` behind the name.

use super::error::FlagProblem;
use super::keyword::Keyword;

/// What a flag takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Takes {
    /// Nothing, `true` or `false`.
    Boolean,
    /// One text.
    Text,
    /// Texts: it may stand several times.
    Texts,
}

/// Names of an instruction's flags.
pub(super) type Known = &'static [(&'static str, Takes)];

/// The flags that an instruction knows.
pub(super) fn known(keyword: Keyword) -> Known {
    match keyword {
        Keyword::From => &[("platform", Takes::Text)],
        Keyword::Add => &[
            ("chown", Takes::Text),
            ("chmod", Takes::Text),
            ("link", Takes::Boolean),
            ("keep-git-dir", Takes::Boolean),
            ("checksum", Takes::Text),
            ("unpack", Takes::Boolean),
            ("exclude", Takes::Texts),
        ],
        Keyword::Copy => &[
            ("chown", Takes::Text),
            ("from", Takes::Text),
            ("chmod", Takes::Text),
            ("link", Takes::Boolean),
            ("exclude", Takes::Texts),
            ("parents", Takes::Boolean),
        ],
        Keyword::Run => &[
            ("mount", Takes::Texts),
            ("network", Takes::Text),
            ("security", Takes::Text),
            ("device", Takes::Texts),
        ],
        Keyword::Healthcheck => &[
            ("interval", Takes::Text),
            ("timeout", Takes::Text),
            ("start-period", Takes::Text),
            ("start-interval", Takes::Text),
            ("retries", Takes::Text),
        ],
        _ => &[],
    }
}

/// The flags that an instruction has.
pub(super) struct Flags {
    given: Vec<(&'static str, String)>,
}

/// A problem with a flag as it was written.
pub(super) struct FlagFault {
    pub(super) problem: FlagProblem,
    pub(super) written: String,
    /// The name, when it is none of the known ones.
    pub(super) unknown: Option<String>,
}

impl Flags {
    pub(super) fn parse(written: &[String], known: Known) -> Result<Self, FlagFault> {
        let mut given: Vec<(&'static str, String)> = Vec::new();
        for flag in written {
            let body = flag.strip_prefix("--").unwrap_or(flag);
            let (name, value) = match body.split_once('=') {
                Some((name, value)) => (name, Some(value)),
                None => (body, None),
            };
            let fault = |problem| FlagFault {
                problem,
                written: flag.clone(),
                unknown: None,
            };
            let Some(&(known, takes)) = known.iter().find(|(known, _)| *known == name) else {
                return Err(FlagFault {
                    unknown: Some(name.to_owned()),
                    ..fault(FlagProblem::Unknown(name.to_owned()))
                });
            };
            if takes != Takes::Texts && given.iter().any(|(other, _)| *other == known) {
                return Err(fault(FlagProblem::Twice(name.to_owned())));
            }
            let value = match (takes, value) {
                (Takes::Boolean, None) => "true".to_owned(),
                (Takes::Boolean, Some("")) | (Takes::Text | Takes::Texts, None) => {
                    return Err(fault(FlagProblem::NoValue(name.to_owned())));
                }
                (Takes::Boolean, Some(value)) => match value.to_lowercase().as_str() {
                    value @ ("true" | "false") => value.to_owned(),
                    _ => {
                        return Err(fault(FlagProblem::NotBoolean {
                            flag: name.to_owned(),
                            value: value.to_owned(),
                        }));
                    }
                },
                (_, Some(value)) => value.to_owned(),
            };
            given.push((known, value));
        }
        Ok(Self { given })
    }

    /// The text, if the flag is there.
    pub(super) fn text(&self, name: &str) -> Option<String> {
        self.texts(name).into_iter().next()
    }

    /// All its texts.
    pub(super) fn texts(&self, name: &str) -> Vec<String> {
        let given = self.given.iter().filter(|(known, _)| *known == name);
        given.map(|(_, value)| value.clone()).collect()
    }

    /// What it says, if it is there.
    pub(super) fn boolean(&self, name: &str) -> Option<bool> {
        self.text(name).map(|value| value == "true")
    }
}
