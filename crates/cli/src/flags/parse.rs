//! From `argv` to a command with its flags, by pflag's rules and with Docker's words.
//!
//! Called once by `main`. Pure: the outcome says what to print and with which code to exit.
//! Errors of flags exit 125 on every command and wrong numbers of arguments 1, as Docker does.

use std::ffi::OsString;
use std::path::Path;

use super::refused::missing;
use super::suggest::nearest;
use super::table_compose::COMPOSE_FLAGS;
use super::words::{Cursor, Setting, split_word};
use super::{Command, Flag, GLOBAL_FLAGS, GROUPS, Kind, Matches, Status, commands, help, values};

/// A longer argument list than the kernel passes.
const ARGUMENTS_MAX: usize = 1 << 20;

/// What Docker's command line calls itself here, for tools that read the word before "version".
const DOCKER_VERSION: &str = "28.2.2";
const OWN_VERSION: &str = env!("CARGO_PKG_VERSION");

/// Exit code of a flag that is unknown or has a wrong value.
pub(crate) const EXIT_FLAG: u8 = 125;
const LOG_LEVELS: [&str; 8] = [
    "trace", "debug", "info", "warn", "warning", "error", "fatal", "panic",
];
/// Exit code of everything else that is wrong with a command line.
pub(crate) const EXIT_USAGE: u8 = 1;

/// The name under which we were called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Program {
    /// Through a link named `docker`.
    Docker,
    /// Any other name.
    Caisson,
}

impl Program {
    /// The word that usage lines and errors show.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Docker => "docker",
            Self::Caisson => "caisson",
        }
    }
}

/// What a command line comes to.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// Do this.
    Run(Box<Invocation>),
    /// Print this to standard output and exit 0 (help, version).
    Print(String),
    /// Print this to standard error and exit with the code.
    Fail(Failure),
}

/// A refusal: the text for standard error, without a newline at its end, and the exit code.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub(crate) struct Failure {
    /// What to print.
    pub(crate) text: String,
    /// How to exit.
    pub(crate) exit_code: u8,
}

/// A command to be done.
#[derive(Debug)]
pub(crate) struct Invocation {
    /// The name we were called by.
    pub(crate) program: Program,
    /// The flags before the command.
    pub(crate) globals: Globals,
    /// The command.
    pub(crate) command: &'static Command,
    /// How it was called, without the program: `ps`, `container ls`.
    pub(crate) name: String,
    /// Its flags and arguments.
    pub(crate) matches: Matches,
    /// Lines to print first, on standard output as Docker does (deprecated flags).
    pub(crate) notices: Vec<String>,
}

/// The values of the flags that stand before the command.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Globals {
    /// `--config`.
    pub(crate) config: Option<String>,
    /// `--root`.
    pub(crate) root: Option<String>,
    /// `--run-root`.
    pub(crate) run_root: Option<String>,
    /// The flags between `compose` and its command.
    pub(crate) compose: ComposeGlobals,
}

/// The values of the flags between `compose` and its command.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ComposeGlobals {
    /// `--all-resources`.
    pub(crate) all_resources: bool,
    /// `--dry-run`.
    pub(crate) dry_run: bool,
    /// `--env-file`.
    pub(crate) env_files: Vec<String>,
    /// `--file`.
    pub(crate) files: Vec<String>,
    /// `--parallel`; 0 where it was not given.
    pub(crate) parallel: i32,
    /// `--profile`.
    pub(crate) profiles: Vec<String>,
    /// `--project-directory`.
    pub(crate) project_directory: Option<String>,
    /// `--project-name`.
    pub(crate) project_name: Option<String>,
}

/// Reads a command line, the program's own name first.
pub(crate) fn parse(argv: &[OsString]) -> Outcome {
    match read(argv) {
        Ok(outcome) => outcome,
        Err(failure) => {
            let text = printable(&failure.text);
            Outcome::Fail(Failure { text, ..failure })
        }
    }
}

/// Replaces control characters, which a user or a file may have put into a text, so that they do
/// not reach the terminal. Line ends and tabs stay.
pub(crate) fn printable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_control() && !matches!(character, '\n' | '\t') {
            shown.extend(character.escape_default());
        } else {
            shown.push(character);
        }
    }
    shown
}

fn read(argv: &[OsString]) -> Result<Outcome, Failure> {
    let called = argv
        .first()
        .map(Path::new)
        .and_then(Path::file_name)
        .unwrap_or_default();
    let is_compose = called == "docker-compose" || called == "caisson-compose";
    let program = if called == "docker" || called == "docker-compose" {
        Program::Docker
    } else {
        Program::Caisson
    };
    let mut words = texts(program, argv.get(1..).unwrap_or_default())?;
    if is_compose {
        words.insert(0, "compose");
    }
    let mut cursor = Cursor {
        words: &words,
        next: 0,
    };
    let mut globals = match read_globals(program, &mut cursor)? {
        Leading::Command(globals) => globals,
        Leading::Done(outcome) => return Ok(outcome),
    };
    let Some(first) = cursor.take() else {
        return Err(unasked(help::overall_page(program)));
    };
    if first == "help" {
        return help_topic(program, cursor.rest());
    }
    if first == "compose" {
        match read_compose(program, &mut cursor)? {
            LeadingCompose::Command(compose) => globals.compose = compose,
            LeadingCompose::Done(outcome) => return Ok(outcome),
        }
    }
    let found = match find(program, first, &mut cursor)? {
        Found::Command(command, name) => (command, name),
        Found::Page(page) => return Ok(Outcome::Print(page)),
        Found::Unasked(page) => return Err(unasked(page)),
    };
    Reader {
        program,
        command: found.0,
        name: found.1,
    }
    .read(&mut cursor, globals)
}

/// Arguments are UTF-8: names, references and paths that are not could never be shown faithfully.
fn texts(program: Program, argv: &[OsString]) -> Result<Vec<&str>, Failure> {
    assert!(
        argv.len() <= ARGUMENTS_MAX,
        "the kernel passes fewer arguments"
    );
    argv.iter()
        .enumerate()
        .map(|(index, argument)| {
            argument.to_str().ok_or_else(|| {
                // The command is not known yet, and the codes of `run` are its container's.
                let runs = argv[..index].iter().any(|word| word == "run");
                Failure {
                    text: format!(
                        "{}: argument {argument:?} is not valid UTF-8",
                        program.name()
                    ),
                    exit_code: if runs { EXIT_FLAG } else { EXIT_USAGE },
                }
            })
        })
        .collect()
}

fn usage_failure(text: String) -> Failure {
    Failure {
        text,
        exit_code: EXIT_USAGE,
    }
}

enum Leading {
    Command(Globals),
    Done(Outcome),
}

fn version_line(program: Program) -> String {
    match program {
        Program::Docker => {
            format!("Docker version {DOCKER_VERSION}, build caisson-{OWN_VERSION}\n")
        }
        Program::Caisson => format!("caisson version {OWN_VERSION}\n"),
    }
}

/// Reads the flags before the command.
fn read_globals(program: Program, cursor: &mut Cursor<'_>) -> Result<Leading, Failure> {
    let name = program.name();
    let fail = |text: String| Failure {
        text: format!(
            "{text}\n\nUsage:  {name} [OPTIONS] COMMAND [ARG...]\n\n\
             Run '{name} --help' for more information"
        ),
        exit_code: EXIT_FLAG,
    };
    let mut globals = Globals::default();
    let (mut help, mut version) = (false, false);
    while let Some(word) = cursor.peek() {
        if word == "--" {
            cursor.next += 1;
            break;
        }
        if !word.starts_with('-') || word == "-" {
            break;
        }
        cursor.next += 1;
        for setting in split_word(word, GLOBAL_FLAGS, cursor).map_err(&fail)? {
            match setting {
                Setting::Help(on) => help = on,
                Setting::Version(on) => version = on,
                Setting::Value(index, value) => {
                    set_global(&mut globals, &GLOBAL_FLAGS[index], value, &fail)?;
                }
            }
        }
    }
    if help {
        return Ok(Leading::Done(Outcome::Print(help::overall_page(program))));
    }
    if version {
        return Ok(Leading::Done(Outcome::Print(version_line(program))));
    }
    Ok(Leading::Command(globals))
}

enum LeadingCompose {
    Command(ComposeGlobals),
    Done(Outcome),
}

/// Reads the flags between `compose` and its command.
fn read_compose(program: Program, cursor: &mut Cursor<'_>) -> Result<LeadingCompose, Failure> {
    let name = program.name();
    let fail = |text: String| Failure {
        text: format!(
            "{text}\n\nUsage:  {name} compose [OPTIONS] COMMAND\n\n\
             Run '{name} compose --help' for more information"
        ),
        exit_code: EXIT_FLAG,
    };
    let mut globals = ComposeGlobals::default();
    while let Some(word) = cursor
        .peek()
        .filter(|word| word.len() > 1 && word.starts_with('-'))
    {
        cursor.next += 1;
        for setting in split_word(word, COMPOSE_FLAGS, cursor).map_err(&fail)? {
            let (index, value) = match setting {
                Setting::Value(index, value) => (index, value),
                Setting::Help(_) | Setting::Version(_) => {
                    let page = help::group_page("compose", program);
                    return Ok(LeadingCompose::Done(Outcome::Print(page)));
                }
            };
            let flag = &COMPOSE_FLAGS[index];
            check_value(flag, &value).map_err(&fail)?;
            let is_on = || values::parse_bool(&value).unwrap_or(false);
            match flag.long {
                "all-resources" => globals.all_resources = is_on(),
                "dry-run" => globals.dry_run = is_on(),
                "version" if is_on() => {
                    let text = format!("Docker Compose version v{OWN_VERSION} (Caisson)\n");
                    return Ok(LeadingCompose::Done(Outcome::Print(text)));
                }
                "env-file" => globals.env_files.push(value),
                "file" => globals.files.push(value),
                "parallel" => globals.parallel = value.parse().unwrap_or_default(),
                "profile" => globals.profiles.push(value),
                "project-directory" | "workdir" => globals.project_directory = Some(value),
                "project-name" => globals.project_name = Some(value),
                _ => {}
            }
        }
    }
    Ok(LeadingCompose::Command(globals))
}

fn set_global(
    globals: &mut Globals,
    flag: &Flag,
    value: String,
    fail: &dyn Fn(String) -> Failure,
) -> Result<(), Failure> {
    check_value(flag, &value).map_err(fail)?;
    match flag.long {
        "config" => globals.config = Some(value),
        "context" if value == "default" || value.is_empty() => {}
        "context" => {
            return Err(fail(format!(
                "context \"{value}\" is refused: Caisson acts on this machine, and its only \
                 context is \"default\""
            )));
        }
        "log-level" if !LOG_LEVELS.contains(&value.to_ascii_lowercase().as_str()) => {
            return Err(usage_failure(format!(
                "Unable to parse logging level: {value}"
            )));
        }
        "root" => globals.root = Some(value),
        "run-root" => globals.run_root = Some(value),
        _ => {}
    }
    Ok(())
}

/// `help`, `help ps`, `help container ls`.
fn help_topic(program: Program, words: &[&str]) -> Result<Outcome, Failure> {
    let mut cursor = Cursor { words, next: 0 };
    let Some(first) = cursor.take() else {
        return Ok(Outcome::Print(help::overall_page(program)));
    };
    let page = match find(program, first, &mut cursor) {
        Ok(Found::Command(command, name)) => help::command_page(command, program, &name),
        Ok(Found::Page(page) | Found::Unasked(page)) => page,
        Err(failure) if missing(first, cursor.peek()).is_some() => return Err(failure),
        Err(_) => {
            return Err(usage_failure(format!(
                "unknown help topic: {}",
                words.join(" ")
            )));
        }
    };
    Ok(Outcome::Print(page))
}

/// Help that nobody asked for: Docker's goes to standard error, and is no failure.
fn unasked(page: String) -> Failure {
    Failure {
        text: page.trim_end_matches('\n').to_owned(),
        exit_code: 0,
    }
}

enum Found {
    Command(&'static Command, String),
    Page(String),
    /// The page of a group of commands none of which is named.
    Unasked(String),
}

/// Finds the command that starts with `first`; takes the second word of a group from the cursor.
fn find(program: Program, first: &str, cursor: &mut Cursor<'_>) -> Result<Found, Failure> {
    if let Some((name, reason)) = missing(first, cursor.peek()) {
        return Err(usage_failure(reason.line(program.name(), name)));
    }
    if !GROUPS.iter().any(|group| group.name == first) {
        return match lookup(first) {
            Some(command) => Ok(Found::Command(command, help::display_name(command, first))),
            None => Err(unknown_command(program, first, None)),
        };
    }
    match cursor.take() {
        None => Ok(Found::Unasked(help::group_page(first, program))),
        Some("--help" | "-h") => Ok(Found::Page(help::group_page(first, program))),
        Some(second) if second.starts_with('-') => Err(Failure {
            text: format!(
                "{}\n\nUsage:  {name} {first}\n\n\
                 Run '{name} {first} --help' for more information",
                unknown_flag(second),
                name = program.name()
            ),
            exit_code: EXIT_FLAG,
        }),
        Some(second) => {
            let typed = format!("{first} {second}");
            match lookup(&typed) {
                Some(command) => Ok(Found::Command(command, help::display_name(command, &typed))),
                None => Err(unknown_command(program, first, Some(second))),
            }
        }
    }
}

/// Finds a command by its full spelling.
fn lookup(typed: &str) -> Option<&'static Command> {
    commands().find(|command| {
        let own = match command.path {
            [only] => *only == typed,
            [group, word] => typed.split_once(' ') == Some((group, word)),
            _ => false,
        };
        own || command.aliases.contains(&typed)
    })
}

fn unknown_flag(word: &str) -> String {
    match word.strip_prefix("--") {
        Some(long) => format!("unknown flag: --{}", long.split('=').next().unwrap_or(long)),
        None => {
            let letter = word.chars().nth(1).unwrap_or('-');
            format!("unknown shorthand flag: '{letter}' in {word}")
        }
    }
}

fn unknown_command(program: Program, first: &str, second: Option<&str>) -> Failure {
    let name = program.name();
    let (typed, near) = match second {
        None => {
            let words = help::top_level()
                .map(|row| row.0)
                .chain(GROUPS.iter().map(|g| g.name));
            (first.to_owned(), nearest(first, words).map(str::to_owned))
        }
        Some(second) => {
            let words = commands()
                .filter(|command| !command.hidden)
                .filter_map(|command| match command.path {
                    [group, word] if *group == first => Some(*word),
                    _ => None,
                });
            let near = nearest(second, words).map(|word| format!("{first} {word}"));
            (format!("{first} {second}"), near)
        }
    };
    let mut text = format!("{name}: unknown command: {name} {}\n\n", typed);
    if let Some(near) = near {
        text.push_str(&format!("Did you mean '{name} {near}'?\n\n"));
    }
    let help_of = match second {
        None => name.to_owned(),
        Some(_) => {
            text.push_str(&format!("Usage:  {name} {first}\n\n"));
            format!("{name} {first}")
        }
    };
    text.push_str(&format!("Run '{help_of} --help' for more information"));
    usage_failure(text)
}

/// Checks a value for a flag; the error is the whole first line.
fn check_value(flag: &Flag, value: &str) -> Result<(), String> {
    if let Err(reason) = values::check(flag.kind, value) {
        let (value, name) = (types::go_syntax::quote(value), flag.display());
        return Err(format!(
            "invalid argument {value} for \"{name}\" flag: {reason}"
        ));
    }
    let wanted = flag.kind != Kind::Bool || values::parse_bool(value).unwrap_or(false);
    match flag.status {
        Status::Refused(reason) if wanted => Err(format!("--{} is refused: {reason}", flag.long)),
        _ => Ok(()),
    }
}

/// Reads the rest of a command line for one command.
struct Reader {
    program: Program,
    command: &'static Command,
    name: String,
}

impl Reader {
    fn read(self, cursor: &mut Cursor<'_>, globals: Globals) -> Result<Outcome, Failure> {
        let mut matches = Matches::new(self.command);
        let mut notices = Vec::new();
        let mut help = false;
        while let Some(word) = cursor.take() {
            let is_flag = word.len() > 1 && word.starts_with('-');
            if word == "--" {
                matches
                    .args
                    .extend(cursor.rest().iter().map(|word| (*word).to_owned()));
                break;
            }
            if !is_flag {
                matches.args.push(word.to_owned());
                if self.command.stop_at_positional {
                    matches
                        .args
                        .extend(cursor.rest().iter().map(|word| (*word).to_owned()));
                    break;
                }
                continue;
            }
            let settings =
                split_word(word, self.command.flags, cursor).map_err(|t| self.flag_failure(t))?;
            for setting in settings {
                match setting {
                    Setting::Help(on) => help = on,
                    Setting::Version(_) => {}
                    Setting::Value(index, value) => {
                        let flag = &self.command.flags[index];
                        check_value(flag, &value).map_err(|t| self.flag_failure(t))?;
                        note_deprecated(flag, word, &mut notices);
                        matches.set(index, value);
                    }
                }
            }
        }
        if help {
            let page = help::command_page(self.command, self.program, &self.name);
            return Ok(Outcome::Print(page));
        }
        self.check_arguments(matches.args.len())?;
        Ok(Outcome::Run(Box::new(Invocation {
            program: self.program,
            globals,
            command: self.command,
            name: self.name,
            matches,
            notices,
        })))
    }

    fn flag_failure(&self, text: String) -> Failure {
        let usage = help::usage(self.command, self.program, &self.name);
        let (program, name) = (self.program.name(), &self.name);
        Failure {
            text: format!(
                "{text}\n\n{usage}\n\nRun '{program} {name} --help' for more information"
            ),
            exit_code: EXIT_FLAG,
        }
    }

    fn check_arguments(&self, count: usize) -> Result<(), Failure> {
        let args = self.command.args;
        if count >= args.min && args.max.is_none_or(|max| count <= max) {
            return Ok(());
        }
        let plural = |count: usize| if count == 1 { "argument" } else { "arguments" };
        let (demand, verb) = match (args.min, args.max) {
            (0, Some(0)) => ("accepts no arguments".to_owned(), "Run"),
            (min, None) => (format!("requires at least {min} {}", plural(min)), "See"),
            (0, Some(max)) => (format!("requires at most {max} {}", plural(max)), "Run"),
            (min, Some(max)) if min == max => (format!("requires {min} {}", plural(min)), "Run"),
            (min, Some(max)) => (
                format!("requires at least {min} and at most {max} {}", plural(max)),
                "Run",
            ),
        };
        let usage = help::usage(self.command, self.program, &self.name);
        let (program, name) = (self.program.name(), &self.name);
        Err(usage_failure(format!(
            "{program}: '{program} {name}' {demand}\n\n{usage}\n\n\
             {verb} '{program} {name} --help' for more information"
        )))
    }
}

/// Docker prints this line for a flag's former name, on standard output.
fn note_deprecated(flag: &Flag, word: &str, notices: &mut Vec<String>) {
    let typed = word
        .trim_start_matches("--")
        .split('=')
        .next()
        .unwrap_or_default();
    if flag.deprecated_aliases && flag.aliases.contains(&typed) {
        notices.push(format!(
            "Flag --{typed} has been deprecated, use --{} instead",
            flag.long
        ));
    }
}
