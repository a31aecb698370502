//! The help pages, in Docker's layout.

use std::fmt::Write as _;

use super::parse::Program;
use super::{Command, Flag, GLOBAL_FLAGS, GROUPS, Kind, commands};

/// Docker wraps help for a terminal of this width where it knows none.
const COLUMNS: usize = 80;
/// The least width that is left for a flag's text.
const TEXT_COLUMNS_MIN: usize = 24;

/// Commands that the overall help names first.
const COMMON: &[&str] = &[
    "run", "exec", "ps", "pull", "images", "logs", "version", "info",
];

/// The name by which a command was called, without the program: `ps`, `container ls`.
///
/// An alias within a group is shown as the command's own name, as Docker does.
pub(super) fn display_name(command: &Command, typed: &str) -> String {
    let canonical = command.name();
    let typed_in_group = typed.contains(' ') || command.path.len() == 1;
    if typed == canonical || typed_in_group {
        canonical
    } else {
        typed.to_owned()
    }
}

/// `docker run [OPTIONS] IMAGE …`: the usage lines of a command.
pub(super) fn usage(command: &Command, program: Program, name: &str) -> String {
    let mut text = String::from("Usage:  ");
    for (index, form) in command.usage.iter().enumerate() {
        if index > 0 {
            text.push_str("\n\t");
        }
        let _ = write!(text, "{} {name} {form}", program.name());
    }
    text.truncate(text.trim_end().len());
    text
}

/// The help page of one command, called by `name`.
pub(crate) fn command_page(command: &Command, program: Program, name: &str) -> String {
    let mut page = usage(command, program, name);
    let _ = write!(page, "\n\n{}\n", command.about);
    if !command.details.is_empty() {
        let _ = write!(page, "\n{}\n", command.details);
    }
    if !command.aliases.is_empty() {
        let _ = write!(page, "\nAliases:\n  {}\n", spellings(command, program));
    }
    let options = options(command.flags, COLUMNS);
    if !options.is_empty() {
        let _ = write!(page, "\nOptions:\n{options}");
    }
    if !command.example.is_empty() {
        page.push_str("\nExamples:\n");
        for line in command.example.lines() {
            let _ = writeln!(page, "  {}", line.replace("{}", program.name()));
        }
    }
    page
}

/// `docker container ls, docker container list, docker ps`.
pub(super) fn spellings(command: &Command, program: Program) -> String {
    let name = command.name();
    std::iter::once(name.as_str())
        .chain(command.aliases.iter().copied())
        .map(|spelling| format!("{} {spelling}", program.name()))
        .collect::<Vec<_>>()
        .join(", ")
}

/// The help page of a group.
pub(crate) fn group_page(group: &str, program: Program) -> String {
    let program_name = program.name();
    let about = GROUPS
        .iter()
        .find(|known| known.name == group)
        .map_or("", |known| known.about);
    let mut page = format!("Usage:  {program_name} {group} COMMAND\n\n{about}\n\nCommands:\n");
    let mut rows: Vec<_> = commands()
        .filter(|command| !command.hidden && command.path.len() == 2 && command.path[0] == group)
        .map(|command| (command.path[1], command.about))
        .collect();
    // Commands of other groups that are called so here as well: `buildx build`.
    let foreign = commands().filter(|command| !command.hidden && command.path[0] != group);
    rows.extend(foreign.flat_map(|command| {
        let here = command.aliases.iter().filter_map(|alias| {
            let (first, second) = alias.split_once(' ')?;
            (first == group && second.len() > 1).then_some(second)
        });
        here.map(|name| (name, command.about))
    }));
    rows.sort_unstable();
    push_rows(&mut page, &rows);
    let _ = write!(
        page,
        "\nRun '{program_name} {group} COMMAND --help' for more information on a command.\n"
    );
    page
}

/// The overall help page.
pub(crate) fn overall_page(program: Program) -> String {
    let name = program.name();
    let mut page = format!(
        "Usage:  {name} [OPTIONS] COMMAND\n\n\
         Caisson runs containers without a daemon, with Docker's commands\n\n\
         Common Commands:\n"
    );
    let about = |word: &str| {
        top_level()
            .find(|row| row.0 == word)
            .map_or("", |row| row.1)
    };
    let common: Vec<_> = COMMON.iter().map(|word| (*word, about(word))).collect();
    push_rows(&mut page, &common);
    page.push_str("\nManagement Commands:\n");
    let groups: Vec<_> = GROUPS
        .iter()
        .map(|group| (group.name, group.about))
        .collect();
    push_rows(&mut page, &groups);
    page.push_str("\nCommands:\n");
    let mut others: Vec<_> = top_level().filter(|row| !COMMON.contains(&row.0)).collect();
    others.sort_unstable();
    push_rows(&mut page, &others);
    page.push_str("\nGlobal Options:\n");
    page.push_str(&options_with(GLOBAL_FLAGS, COLUMNS, &VERSION_ROW));
    let _ = write!(
        page,
        "\nRun '{name} COMMAND --help' for more information on a command.\n"
    );
    page
}

const VERSION_ROW: [(&str, &str); 1] = [("  -v, --version", "Print the version and end")];

/// Every command that can be called by one word, with what it does.
pub(super) fn top_level() -> impl Iterator<Item = (&'static str, &'static str)> {
    commands()
        .filter(|command| !command.hidden)
        .flat_map(|command| {
            let own = (command.path.len() == 1).then(|| command.path[0]);
            let aliases = command
                .aliases
                .iter()
                .copied()
                .filter(|alias| !alias.contains(' '));
            own.into_iter()
                .chain(aliases)
                .map(|word| (word, command.about))
        })
}

fn push_rows(page: &mut String, rows: &[(&str, &str)]) {
    let width = rows
        .iter()
        .map(|row| row.0.len())
        .max()
        .unwrap_or(0)
        .max(10);
    for (name, about) in rows {
        let _ = writeln!(page, "  {name:width$}  {about}");
    }
}

/// The visible flags of a table, wrapped to `columns`.
pub(super) fn options(flags: &[Flag], columns: usize) -> String {
    options_with(flags, columns, &[])
}

fn options_with(flags: &[Flag], columns: usize, more: &[(&str, &str)]) -> String {
    let rows: Vec<(String, String)> = flags
        .iter()
        .filter(|flag| !flag.hidden)
        .map(|flag| (left_column(flag), help_text(flag)))
        .chain(more.iter().map(|row| (row.0.to_owned(), row.1.to_owned())))
        .collect();
    let left_columns = rows.iter().map(|row| row.0.len()).max().unwrap_or(0) + 3;
    let text_columns = columns.saturating_sub(left_columns).max(TEXT_COLUMNS_MIN);
    let mut page = String::new();
    for (left, text) in rows {
        for (index, line) in wrap(&text, text_columns).iter().enumerate() {
            let left = if index == 0 { left.as_str() } else { "" };
            let _ = writeln!(page, "{left:left_columns$}{line}");
        }
    }
    page
}

/// `  -m, --memory bytes`.
fn left_column(flag: &Flag) -> String {
    let mut left = match flag.short {
        Some(short) => format!("  -{short}, --{}", flag.long),
        None => format!("      --{}", flag.long),
    };
    let word = flag.kind.word();
    if !word.is_empty() {
        left.push(' ');
        left.push_str(word);
    }
    left
}

/// The flag's sentence with its default, unless the default is the kind's zero.
pub(super) fn help_text(flag: &Flag) -> String {
    let told = flag.help.contains("(default");
    match (flag.default, flag.kind) {
        ("" | "0s", _) => flag.help.to_owned(),
        _ if told => flag.help.to_owned(),
        (default, Kind::Text) => format!("{} (default \"{default}\")", flag.help),
        (default, _) => format!("{} (default {default})", flag.help),
    }
}

/// Breaks a text at spaces into lines of at most `columns` characters; longer words stand alone.
fn wrap(text: &str, columns: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let line = lines.last_mut().expect("invariant: there is always a line");
        let length = line.chars().count();
        if length > 0 && length + 1 + word.chars().count() > columns {
            lines.push(word.to_owned());
        } else {
            if length > 0 {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    lines
}
