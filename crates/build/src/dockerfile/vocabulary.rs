//! Every word of the language that this builder knows, from the tables that it reads files with: what
//! `docs/compat-dockerfile.md` is made of.

use crate::lint::RULES;
use crate::lower::PREDEFINED;

use super::flag;
use super::keyword::KEYWORDS;
use super::mount;
use super::reader::DIRECTIVES;

/// Kinds of words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Kind {
    Directive,
    Instruction,
    Flag,
    Mount,
    Argument,
    Rule,
}

impl Kind {
    /// As a word in a table.
    pub fn name(self) -> &'static str {
        match self {
            Self::Directive => "directive",
            Self::Instruction => "instruction",
            Self::Flag => "flag",
            Self::Mount => "mount",
            Self::Argument => "argument",
            Self::Rule => "rule",
        }
    }
}

/// All words as they are written in a file, in the order of the language's own reference.
pub fn vocabulary() -> Vec<(Kind, String)> {
    let directives = DIRECTIVES
        .iter()
        .map(|name| (Kind::Directive, format!("# {name}=")));
    let mut words: Vec<(Kind, String)> = directives.collect();
    for (keyword, name) in KEYWORDS {
        words.push((Kind::Instruction, name.to_owned()));
        let flags = flag::known(keyword).iter();
        words.extend(flags.map(|(flag, _)| (Kind::Flag, format!("{name} --{flag}"))));
    }
    let kinds = mount::KINDS.iter().map(|(name, _)| ("type", *name));
    let sharings = mount::SHARINGS.iter().map(|(name, _)| ("sharing", *name));
    let valued = kinds.chain(sharings);
    words.extend(valued.map(|(key, value)| (Kind::Mount, format!("{key}={value}"))));
    let keys = mount::KEYS
        .iter()
        .filter(|key| !matches!(**key, "type" | "sharing"));
    words.extend(keys.map(|key| (Kind::Mount, (*key).to_owned())));
    words.extend(PREDEFINED.map(|name| (Kind::Argument, name.to_owned())));
    words.extend(RULES.map(|(_, name, ..)| (Kind::Rule, name.to_owned())));
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_table_is_in_the_vocabulary() {
        let words = vocabulary();
        for word in [
            "# check=",
            "COPY",
            "COPY --parents",
            "type=cache",
            "sharing=locked",
            "required",
            "TARGETARCH",
            "WorkdirRelativePath",
        ] {
            assert!(words.iter().any(|(_, found)| found == word), "{word}");
        }
        let mut names: Vec<&String> = words.iter().map(|(_, name)| name).collect();
        names.sort();
        let count = names.len();
        names.dedup();
        assert_eq!(names.len(), count, "a word twice");
    }
}
