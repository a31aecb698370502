//! Pages and scripts made from the tables: the command reference, the compatibility page, manual
//! pages and completions.
//!
//! Called by `caisson internal docs`, which the xtask runs; the same tables give the same bytes.

use std::fmt::Write as _;

use super::completions;
use super::help::{self, help_text};
use super::listing;
use super::parse::Program;
use super::refused::{MISSING, Missing};
use super::{Command, Flag, GLOBAL_FLAGS, Status, Verb, commands};

/// What to generate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// Manual pages, one per command.
    Man,
    /// The command reference.
    Markdown,
    /// What differs from Docker, flag by flag.
    Compatibility,
    /// The tables as lines.
    Tables,
    /// The words of the Dockerfile language as lines: kind and word.
    Dockerfile,
    /// Completions for a shell.
    Completions(Shell),
}

/// A shell with completions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shell {
    /// GNU bash, with or without bash-completion.
    Bash,
    /// zsh.
    Zsh,
    /// fish.
    Fish,
}

/// One generated file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Page {
    /// Its file name.
    pub(crate) file: String,
    /// Its content.
    pub(crate) text: String,
}

impl Form {
    /// Reads the arguments of `internal docs`: `--man`, `--markdown`, `--compat`, `--tables`,
    /// `--dockerfile` or `--completions SHELL`.
    pub(crate) fn parse(arguments: &[&str]) -> Option<Self> {
        match arguments {
            ["--man"] => Some(Self::Man),
            ["--markdown"] => Some(Self::Markdown),
            ["--compat"] => Some(Self::Compatibility),
            ["--tables"] => Some(Self::Tables),
            ["--dockerfile"] => Some(Self::Dockerfile),
            ["--completions", "bash"] => Some(Self::Completions(Shell::Bash)),
            ["--completions", "zsh"] => Some(Self::Completions(Shell::Zsh)),
            ["--completions", "fish"] => Some(Self::Completions(Shell::Fish)),
            _ => None,
        }
    }
}

/// Makes the pages of a form.
pub(crate) fn pages(form: Form) -> Vec<Page> {
    let one = |file: &str, text| {
        vec![Page {
            file: file.to_owned(),
            text,
        }]
    };
    match form {
        Form::Man => man_pages(),
        Form::Markdown => one("commands.md", markdown()),
        Form::Compatibility => one("compat.md", compatibility()),
        Form::Tables => one("tables.tsv", listing::tables()),
        Form::Dockerfile => one("dockerfile.tsv", dockerfile()),
        Form::Completions(Shell::Bash) => one("caisson.bash", completions::bash()),
        Form::Completions(Shell::Zsh) => one("_caisson", completions::zsh()),
        Form::Completions(Shell::Fish) => one("caisson.fish", completions::fish()),
    }
}

fn dockerfile() -> String {
    let words = engine::build::vocabulary().into_iter();
    words.fold(String::new(), |mut out, (kind, word)| {
        let _ = writeln!(out, "{}\t{word}", kind.name());
        out
    })
}

/// The visible commands, by name.
pub(super) fn visible() -> Vec<&'static Command> {
    let mut visible: Vec<_> = commands().filter(|command| !command.hidden).collect();
    visible.sort_unstable_by_key(|command| command.path);
    visible
}

fn markdown() -> String {
    let mut page = String::from(
        "# Commands\n\nGenerated from the flag tables by `cargo xtask docs`; do not edit.\n\n\
         Called through a link named `docker`, the program answers to that name.\n\n\
         ## Global options\n\n",
    );
    markdown_flags(&mut page, GLOBAL_FLAGS);
    for command in visible() {
        let name = command.name();
        let _ = write!(page, "\n## caisson {name}\n\n{}.\n\n```\n", command.about);
        for form in command.usage {
            let _ = writeln!(page, "{}", format!("caisson {name} {form}").trim_end());
        }
        page.push_str("```\n");
        if !command.details.is_empty() {
            let _ = write!(page, "\n{}\n", command.details);
        }
        if !command.aliases.is_empty() {
            let spellings: Vec<_> = command
                .aliases
                .iter()
                .map(|alias| format!("`caisson {alias}`"))
                .collect();
            let _ = write!(page, "\nAlso: {}\n", spellings.join(", "));
        }
        if command.flags.iter().any(|flag| !flag.hidden) {
            page.push('\n');
            markdown_flags(&mut page, command.flags);
        }
        if !command.example.is_empty() {
            let _ = write!(
                page,
                "\n```\n{}\n```\n",
                command.example.replace("{}", "caisson")
            );
        }
    }
    page
}

fn markdown_flags(page: &mut String, flags: &[Flag]) {
    page.push_str("| option | value | meaning |\n|---|---|---|\n");
    for flag in flags.iter().filter(|flag| !flag.hidden) {
        let text = table_cell(&help_text(flag));
        let _ = writeln!(
            page,
            "| `{}` | {} | {text} |",
            flag.display(),
            flag.kind.word()
        );
    }
}

/// A text that ends neither a cell nor a row.
fn table_cell(text: &str) -> String {
    text.replace('|', "\\|")
        .replace('\n', " ")
        .replace('<', "&lt;")
}

fn compatibility() -> String {
    let mut page = String::from(
        "# Compatibility with Docker's command line\n\n\
         Generated from the flag tables by `cargo xtask docs`; do not edit.\n\n\
         A command or flag that is not named here works as in Docker. Nothing is ignored in \
         silence: what does not work is refused by name. The flags of `create` are those of `run`.\n\n## Commands\n\n\
         | command | |\n|---|---|\n",
    );
    for (name, reason) in MISSING {
        let reason = match reason {
            Missing::Later(with) => format!("not built yet: comes with {with}"),
            Missing::Swarm => "refused: Caisson has no Swarm".to_owned(),
            Missing::Never(reason) => format!("refused: {reason}"),
        };
        let _ = writeln!(page, "| `{name}` | {} |", table_cell(&reason));
    }
    page.push_str("\n## Flags\n\n| command | flag | | |\n|---|---|---|---|\n");
    compatibility_rows(&mut page, "(before the command)", GLOBAL_FLAGS);
    // create's flags are run's.
    for command in visible()
        .into_iter()
        .filter(|command| command.verb != Verb::Create)
    {
        compatibility_rows(&mut page, &command.name(), command.flags);
    }
    let counted = visible()
        .iter()
        .flat_map(|command| command.flags)
        .fold((0, 0), |sum, flag| {
            (sum.0 + 1, sum.1 + usize::from(flag.status == Status::Works))
        });
    let _ = write!(
        page,
        "\n{} commands with {} flags, of which {} work as in Docker.\n",
        visible().len(),
        counted.0,
        counted.1
    );
    page
}

fn compatibility_rows(page: &mut String, name: &str, flags: &[Flag]) {
    for flag in flags {
        let (verdict, reason) = match flag.status {
            Status::Works => continue,
            Status::Partly(note) => ("in part", note),
            Status::Accepted(reason) => ("no effect", reason),
            Status::Refused(reason) => ("refused", reason),
        };
        let reason = table_cell(reason);
        let _ = writeln!(
            page,
            "| `{name}` | `--{}` | {verdict} | {reason} |",
            flag.long
        );
    }
}

fn man_pages() -> Vec<Page> {
    let mut pages = vec![Page {
        file: "caisson.1".to_owned(),
        text: overall_man_page(),
    }];
    pages.extend(visible().into_iter().map(|command| Page {
        file: format!("caisson-{}.1", command.path.join("-")),
        text: man_page(command),
    }));
    pages
}

fn man_header(name: &str, about: &str) -> String {
    format!(
        ".TH {} 1 \"\" \"caisson {}\" \"Caisson\"\n.SH NAME\n{} \\- {}\n",
        roff(&name.to_uppercase()),
        env!("CARGO_PKG_VERSION"),
        roff(name),
        roff(about)
    )
}

fn overall_man_page() -> String {
    let mut page = man_header("caisson", "run containers without a daemon");
    page.push_str(".SH SYNOPSIS\n.B caisson\n[OPTIONS] COMMAND [ARG...]\n.SH OPTIONS\n");
    man_flags(&mut page, GLOBAL_FLAGS);
    page.push_str(".SH COMMANDS\n");
    for command in visible() {
        let manual = format!("caisson-{}", command.path.join("-"));
        let spelling = help::spellings(command, Program::Caisson);
        let _ = write!(
            page,
            ".TP\n.BR {} (1)\n{} ({})\n",
            roff(&manual),
            roff(command.about),
            roff(&spelling)
        );
    }
    page
}

fn man_page(command: &Command) -> String {
    let name = command.name();
    let mut page = man_header(
        &format!("caisson-{}", command.path.join("-")),
        command.about,
    );
    page.push_str(".SH SYNOPSIS\n");
    for (index, form) in command.usage.iter().enumerate() {
        if index > 0 {
            page.push_str(".br\n");
        }
        let _ = write!(page, ".B caisson {}\n{}\n", roff(&name), roff(form));
    }
    let _ = write!(page, ".SH DESCRIPTION\n{}.\n", roff(command.about));
    if !command.details.is_empty() {
        let _ = write!(page, ".PP\n{}\n", roff(command.details));
    }
    if !command.aliases.is_empty() {
        let spellings = help::spellings(command, Program::Caisson);
        let _ = write!(page, ".PP\nSpellings: {}\n", roff(&spellings));
    }
    if command.flags.iter().any(|flag| !flag.hidden) {
        page.push_str(".SH OPTIONS\n");
        man_flags(&mut page, command.flags);
    }
    if !command.example.is_empty() {
        let example = command.example.replace("{}", "caisson");
        let _ = write!(page, ".SH EXAMPLES\n.nf\n{}\n.fi\n", roff(&example));
    }
    page.push_str(".SH SEE ALSO\n.BR caisson (1)\n");
    page
}

fn man_flags(page: &mut String, flags: &[Flag]) {
    for flag in flags.iter().filter(|flag| !flag.hidden) {
        let word = flag.kind.word();
        let value = if word.is_empty() {
            String::new()
        } else {
            format!(" \\fI{word}\\fR")
        };
        let name = roff(&flag.display());
        let _ = write!(
            page,
            ".TP\n\\fB{name}\\fR{value}\n{}\n",
            roff(&help_text(flag))
        );
    }
}

/// Text that roff prints as it is: no escapes, no requests, hyphens that can be copied, and
/// characters beyond ASCII by number, which every roff knows.
fn roff(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for (index, line) in text.split('\n').enumerate() {
        if index > 0 {
            escaped.push('\n');
        }
        if line.starts_with(['.', '\'']) {
            escaped.push_str("\\&");
        }
        for character in line.chars() {
            match character {
                '\\' => escaped.push_str("\\e"),
                '-' => escaped.push_str("\\-"),
                ascii if ascii.is_ascii() => escaped.push(ascii),
                other => {
                    let _ = write!(escaped, "\\[u{:04X}]", u32::from(other));
                }
            }
        }
    }
    escaped
}
