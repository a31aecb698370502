//! Checks of a Dockerfile: what is allowed but unwise. The rules are BuildKit's, held to
//! `corpus/dockerfile-lint-rules` and the `lint` of `corpus/golden/dockerfile-golden.jsonl`; each
//! warning also says what to write instead.

use std::collections::BTreeSet;

use types::go_syntax::parse_bool;

use crate::dockerfile::place::{Excerpt, Lines, Origin, Position, excerpt};
use crate::dockerfile::split_directive;

/// A rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "the table below says it")]
pub enum Rule {
    ConsistentInstructionCasing,
    CopyIgnoredFile,
    DuplicateStageName,
    ExposeInvalidFormat,
    ExposeProtoCasing,
    FromAsCasing,
    FromPlatformFlagConstDisallowed,
    InvalidBaseImagePlatform,
    InvalidDefaultArgInFrom,
    InvalidDefinitionDescription,
    JsonArgsRecommended,
    LegacyKeyValueFormat,
    MaintainerDeprecated,
    MultipleInstructionsDisallowed,
    NoEmptyContinuation,
    RedundantTargetPlatform,
    ReservedStageName,
    SecretsUsedInArgOrEnv,
    StageNameCasing,
    UndefinedArgInFrom,
    UndefinedVar,
    WorkdirRelativePath,
}

/// Each rule with its name, the last part of its page's address, and what it is about.
pub const RULES: [(Rule, &str, &str, &str); 22] = [
    (
        Rule::ConsistentInstructionCasing,
        "ConsistentInstructionCasing",
        "consistent-instruction-casing",
        "All commands within the Dockerfile should use the same casing (either upper or lower)",
    ),
    (
        Rule::CopyIgnoredFile,
        "CopyIgnoredFile",
        "copy-ignored-file",
        "Attempting to Copy file that is excluded by .dockerignore",
    ),
    (
        Rule::DuplicateStageName,
        "DuplicateStageName",
        "duplicate-stage-name",
        "Stage names should be unique",
    ),
    (
        Rule::ExposeInvalidFormat,
        "ExposeInvalidFormat",
        "expose-invalid-format",
        "IP address and host-port mapping should not be used in EXPOSE instruction. This will \
         become an error in a future release",
    ),
    (
        Rule::ExposeProtoCasing,
        "ExposeProtoCasing",
        "expose-proto-casing",
        "Protocol in EXPOSE instruction should be lowercase",
    ),
    (
        Rule::FromAsCasing,
        "FromAsCasing",
        "from-as-casing",
        "The 'as' keyword should match the case of the 'from' keyword",
    ),
    (
        Rule::FromPlatformFlagConstDisallowed,
        "FromPlatformFlagConstDisallowed",
        "from-platform-flag-const-disallowed",
        "FROM --platform flag should not use a constant value",
    ),
    (
        Rule::InvalidBaseImagePlatform,
        "InvalidBaseImagePlatform",
        "",
        "Base image platform does not match expected target platform",
    ),
    (
        Rule::InvalidDefaultArgInFrom,
        "InvalidDefaultArgInFrom",
        "invalid-default-arg-in-from",
        "Default value for global ARG results in an empty or invalid base image name",
    ),
    (
        Rule::InvalidDefinitionDescription,
        "InvalidDefinitionDescription",
        "invalid-definition-description",
        "Comment for build stage or argument should follow the format: `# <arg/stage name> \
         <description>`. If this is not intended to be a description comment, add an empty line \
         or comment between the instruction and the comment.",
    ),
    (
        Rule::JsonArgsRecommended,
        "JSONArgsRecommended",
        "json-args-recommended",
        "JSON arguments recommended for ENTRYPOINT/CMD to prevent unintended behavior related to \
         OS signals",
    ),
    (
        Rule::LegacyKeyValueFormat,
        "LegacyKeyValueFormat",
        "legacy-key-value-format",
        "Legacy key/value format with whitespace separator should not be used",
    ),
    (
        Rule::MaintainerDeprecated,
        "MaintainerDeprecated",
        "maintainer-deprecated",
        "The MAINTAINER instruction is deprecated, use a label instead to define an image author",
    ),
    (
        Rule::MultipleInstructionsDisallowed,
        "MultipleInstructionsDisallowed",
        "multiple-instructions-disallowed",
        "Multiple instructions of the same type should not be used in the same stage",
    ),
    (
        Rule::NoEmptyContinuation,
        "NoEmptyContinuation",
        "no-empty-continuation",
        "Empty continuation lines will become errors in a future release",
    ),
    (
        Rule::RedundantTargetPlatform,
        "RedundantTargetPlatform",
        "redundant-target-platform",
        "Setting platform to predefined $TARGETPLATFORM in FROM is redundant as this is the \
         default behavior",
    ),
    (
        Rule::ReservedStageName,
        "ReservedStageName",
        "reserved-stage-name",
        "Reserved words should not be used as stage names",
    ),
    (
        Rule::SecretsUsedInArgOrEnv,
        "SecretsUsedInArgOrEnv",
        "secrets-used-in-arg-or-env",
        "Sensitive data should not be used in the ARG or ENV commands",
    ),
    (
        Rule::StageNameCasing,
        "StageNameCasing",
        "stage-name-casing",
        "Stage names should be lowercase",
    ),
    (
        Rule::UndefinedArgInFrom,
        "UndefinedArgInFrom",
        "undefined-arg-in-from",
        "FROM command must use declared ARGs",
    ),
    (
        Rule::UndefinedVar,
        "UndefinedVar",
        "undefined-var",
        "Variables should be defined before their use",
    ),
    (
        Rule::WorkdirRelativePath,
        "WorkdirRelativePath",
        "workdir-relative-path",
        "Relative workdir without an absolute workdir declared within the build can have \
         unexpected results if the base image changes",
    ),
];

impl Rule {
    fn entry(self) -> (&'static str, &'static str, &'static str) {
        let found = RULES.iter().find(|(rule, ..)| *rule == self);
        found.map_or(("", "", ""), |(_, name, page, about)| (name, page, about))
    }

    /// Its name, as `# check=skip=` has it.
    pub fn name(self) -> &'static str {
        self.entry().0
    }

    /// What it is about.
    pub fn description(self) -> &'static str {
        self.entry().2
    }

    /// The page that explains it, if there is one.
    pub fn url(self) -> Option<String> {
        let (_, page, _) = self.entry();
        let has_page = !page.is_empty();
        has_page.then(|| format!("https://docs.docker.com/go/dockerfile/rule/{page}/"))
    }

    /// Whether it is only looked at when asked for.
    pub fn is_experimental(self) -> bool {
        self == Self::InvalidDefinitionDescription
    }
}

/// What a rule found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// The rule.
    pub rule: Rule,
    /// What is wrong, in BuildKit's words.
    pub detail: String,
    /// What to write instead.
    pub fix: String,
    /// The lines of the instruction.
    pub lines: Lines,
    /// The place within them.
    pub position: Position,
}

impl Warning {
    /// The lines around the place.
    pub fn excerpt(&self, file: &str, source: &[u8]) -> Excerpt {
        excerpt(file, source, self.lines, self.position)
    }
}

/// Which rules are looked at: `# check=skip=Rule1,Rule2;error=true`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CheckOptions {
    /// No rule but experimental ones.
    pub skips_all: bool,
    /// Names of rules that are left out.
    pub skipped: BTreeSet<String>,
    /// Experimental rules, too.
    pub wants_all_experimental: bool,
    /// Names of experimental rules that are wanted.
    pub experimental: BTreeSet<String>,
    /// A warning fails the build.
    pub is_error: bool,
}

/// What of `# check=` is wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid check option {}", types::go_syntax::quote(.0))]
pub struct CheckOptionError(String);

impl CheckOptions {
    /// Reads the value of `# check=`.
    pub fn parse(text: &str) -> Result<Self, CheckOptionError> {
        let mut options = Self::default();
        for part in text
            .trim()
            .splitn(3, ';')
            .filter(|_| !text.trim().is_empty())
        {
            let error = || CheckOptionError(part.to_owned());
            let (key, value) = part.split_once('=').ok_or_else(error)?;
            let value = value.trim();
            let names = || {
                value
                    .split(',')
                    .map(|name| name.trim().to_owned())
                    .collect()
            };
            match (key.trim(), value) {
                ("skip", "all") => options.skips_all = true,
                ("skip", _) => options.skipped = names(),
                ("experimental", "all") => options.wants_all_experimental = true,
                ("experimental", _) => options.experimental = names(),
                ("error", _) => options.is_error = parse_bool(value).map_err(|_| error())?,
                _ => return Err(error()),
            }
        }
        Ok(options)
    }

    /// Whether the rule is looked at.
    fn wants(&self, rule: Rule) -> bool {
        if rule.is_experimental() {
            self.wants_all_experimental || self.experimental.contains(rule.name())
        } else {
            !self.skips_all && !self.skipped.contains(rule.name())
        }
    }

    /// Those of a comment directly above an instruction: `# check=skip=Rule`.
    fn of_comments(comments: &[String]) -> Option<Self> {
        let checks = comments
            .iter()
            .filter_map(|comment| split_directive(comment));
        let mut checks = checks.filter(|(name, _)| name.eq_ignore_ascii_case("check"));
        let (_, value) = checks.next()?;
        Self::parse(value.split(' ').next().unwrap_or_default()).ok()
    }
}

/// Collects warnings.
#[derive(Debug, Default)]
pub(crate) struct Lint {
    options: CheckOptions,
    pub(crate) warnings: Vec<Warning>,
}

impl Lint {
    pub(crate) fn new(options: CheckOptions) -> Self {
        Self {
            options,
            warnings: Vec::new(),
        }
    }

    /// Warns, unless the file or a comment above the instruction wants nothing of the rule.
    pub(crate) fn warn(
        &mut self,
        rule: Rule,
        at: &Origin,
        part: &str,
        detail: String,
        fix: String,
    ) {
        let here = CheckOptions::of_comments(&at.comments);
        let is_wanted = if rule.is_experimental() {
            self.options.wants(rule) || here.is_some_and(|here| here.wants(rule))
        } else {
            self.options.wants(rule) && here.is_none_or(|here| here.wants(rule))
        };
        if is_wanted {
            self.warnings.push(Warning {
                rule,
                detail,
                fix,
                lines: at.lines,
                position: at.locate(part),
            });
        }
    }

    /// Warns of a line that belongs to no instruction.
    pub(crate) fn warn_line(&mut self, rule: Rule, line: u32, detail: String, fix: String) {
        if self.options.wants(rule) {
            self.warnings.push(Warning {
                rule,
                detail,
                fix,
                lines: Lines::one(line),
                position: Position { line, column: 1 },
            });
        }
    }

    /// The names of rules for which the build must fail.
    pub(crate) fn failed_rules(&self) -> Vec<&'static str> {
        if !self.options.is_error {
            return Vec::new();
        }
        let rules: BTreeSet<_> = self
            .warnings
            .iter()
            .map(|warning| warning.rule.name())
            .collect();
        rules.into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn check_options_are_read() {
        let options = CheckOptions::parse("skip=JSONArgsRecommended, A ;error=true").unwrap();
        assert!(!options.wants(Rule::JsonArgsRecommended) && options.is_error);
        assert!(options.wants(Rule::StageNameCasing));
        assert!(!options.wants(Rule::InvalidDefinitionDescription));
        let options = CheckOptions::parse("skip=all;experimental=all").unwrap();
        assert!(!options.wants(Rule::StageNameCasing));
        assert!(options.wants(Rule::InvalidDefinitionDescription));
        assert_eq!(CheckOptions::parse(" ").unwrap(), CheckOptions::default());
        for wrong in ["x", "x=1", "error=maybe"] {
            assert!(CheckOptions::parse(wrong).is_err(), "{wrong}");
        }
        let comments = ["about".to_owned(), "check=skip=all now".to_owned()];
        assert!(CheckOptions::of_comments(&comments).unwrap().skips_all);
    }
}
