//! What a file can build: its stages, as `--call=targets` lists them.

use super::command::Dockerfile;
use super::parse::description;
use super::place::Lines;

/// A stage that can be a target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Its name; none where it has none.
    pub name: Option<String>,
    /// What the comment directly above it says: `# name …`.
    pub description: String,
    /// It is built where no target is given.
    pub is_default: bool,
    /// What it builds on, as written.
    pub base: String,
    /// `--platform` of its FROM, as written.
    pub platform: Option<String>,
    /// Where its FROM stands.
    pub lines: Lines,
}

/// The stages in their order.
pub fn targets(dockerfile: &Dockerfile) -> Vec<Target> {
    let last = dockerfile.stages.len().saturating_sub(1);
    let stages = dockerfile.stages.iter().enumerate();
    stages
        .map(|(number, stage)| {
            let name = stage.name.as_deref();
            let said = name.and_then(|name| description(&stage.origin.comments, name));
            Target {
                name: stage.name.clone(),
                description: said.unwrap_or_default(),
                is_default: number == last,
                base: stage.base.clone(),
                platform: stage.platform.clone(),
                lines: stage.origin.lines,
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_has_the_comment_that_begins_with_its_name() {
        let file = b"# base has the tools\nFROM a AS Base\nRUN true\n# no word of it\n# tests runs them\nFROM base \
                     AS tests\n\n# app was above a blank line\n\nFROM base AS app\nFROM scratch\n";
        let file = super::super::parse(file).unwrap();
        let rows: Vec<(String, String, bool)> = targets(&file)
            .into_iter()
            .map(|one| {
                (
                    one.name.unwrap_or_default(),
                    one.description,
                    one.is_default,
                )
            })
            .collect();
        let row = |name: &str, said: &str, last| (name.to_owned(), said.to_owned(), last);
        assert_eq!(
            rows,
            [
                row("base", "has the tools", false),
                row("tests", "runs them", false),
                row("app", "", false),
                row("", "", true)
            ]
        );
    }
}
