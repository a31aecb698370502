//! Where the rules of [`crate::lint`] look while a file is lowered, and what they advise.

use types::go_syntax::quote;
use types::lexical_path::clean;
use types::platform::Platform;
use types::reference::Reference;

use crate::dockerfile::command::{Command, CommandLine, Dockerfile, Instruction, Pair, Stage};
use crate::dockerfile::is_check;
use crate::dockerfile::place::Origin;
use crate::dockerfile::suggest::nearest;
use crate::dockerfile::words::{Expansion, Lexer, Variables};
use crate::lint::{Lint, Rule};

use super::Lowering;
use super::environment::Environment;
use super::ports::Exposed;

const RESERVED_NAMES: [&str; 2] = ["context", "scratch"];
/// A word of a name that says: this is a secret.
const SECRET_WORDS: [&str; 10] = [
    "apikey",
    "auth",
    "credential",
    "credentials",
    "key",
    "password",
    "pword",
    "passwd",
    "secret",
    "token",
];
/// A word of a name that says: it is not.
const PUBLIC_WORDS: [&str; 3] = ["public", "file", "version"];

/// What needs no values.
pub(super) fn whole_file(dockerfile: &Dockerfile, lint: &mut Lint) {
    for arguments in &dockerfile.arguments {
        let names = arguments
            .arguments
            .iter()
            .map(|argument| argument.name.as_str());
        description(lint, "ARG", &names.collect::<Vec<_>>(), &arguments.origin);
    }
    let mut names: Vec<&str> = Vec::new();
    for stage in &dockerfile.stages {
        stage_name(stage, &mut names, lint);
        for instruction in &stage.instructions {
            if let Command::Arg(arguments) = &instruction.command {
                let names = arguments.iter().map(|argument| argument.name.as_str());
                description(lint, "ARG", &names.collect::<Vec<_>>(), &instruction.origin);
            }
        }
    }
    casing(dockerfile, lint);
}

fn stage_name<'a>(stage: &'a Stage, names: &mut Vec<&'a str>, lint: &mut Lint) {
    let origin = &stage.origin;
    let (Some(name), Some((word, written))) = (&stage.name, &stage.as_written) else {
        return;
    };
    if written != name {
        lint.warn(
            Rule::StageNameCasing,
            origin,
            written,
            format!("Stage name '{written}' should be lowercase"),
            format!("write {name}"),
        );
    }
    let from = &stage.keyword;
    let wanted = if *from == from.to_lowercase() {
        word.to_lowercase()
    } else if *from == from.to_uppercase() {
        word.to_uppercase()
    } else {
        word.clone()
    };
    if *word != wanted {
        lint.warn(
            Rule::FromAsCasing,
            origin,
            word,
            format!("'{word}' and '{from}' keywords' casing do not match"),
            format!("write {wanted}"),
        );
    }
    description(lint, "FROM", &[name], origin);
    if RESERVED_NAMES.contains(&name.as_str()) {
        lint.warn(
            Rule::ReservedStageName,
            origin,
            written,
            format!(
                "Stage name should not use the same name as reserved stage {}",
                quote(name)
            ),
            "choose another name".to_owned(),
        );
    }
    if names.contains(&name.as_str()) {
        lint.warn(
            Rule::DuplicateStageName,
            origin,
            written,
            format!(
                "Duplicate stage name {}, stage names should be unique",
                quote(name)
            ),
            "choose another name: what is above can no longer be reached by it".to_owned(),
        );
    }
    names.push(name);
}

/// A comment right above a definition should describe it.
fn description(lint: &mut Lint, instruction: &str, names: &[&str], origin: &Origin) {
    let mut comments = origin.comments.iter().rev();
    let Some(comment) = comments.find(|comment| !is_check(comment)) else {
        return;
    };
    let first = comment.split(' ').next().unwrap_or_default();
    if names.is_empty() || names.contains(&first) {
        return;
    }
    let example = match names {
        [only] => only,
        _ => "<arg_key>",
    };
    lint.warn(
        Rule::InvalidDefinitionDescription,
        origin,
        "",
        format!("Comment for {instruction} should follow the format: `# {example} <description>`"),
        format!("write `# {example} …`, or put an empty comment between"),
    );
}

/// Names of instructions, all in the case of most of them.
fn casing(dockerfile: &Dockerfile, lint: &mut Lint) {
    let keywords = || {
        dockerfile.stages.iter().flat_map(|stage| {
            let of_stage = stage
                .instructions
                .iter()
                .map(|instruction| (&instruction.keyword, &instruction.origin));
            std::iter::once((&stage.keyword, &stage.origin)).chain(of_stage)
        })
    };
    let (mut lower, mut upper) = (0, 0);
    for (keyword, _) in keywords() {
        if *keyword == keyword.to_lowercase() {
            lower += 1;
        } else if *keyword == keyword.to_uppercase() {
            upper += 1;
        }
    }
    for (keyword, origin) in keywords() {
        let (wanted, case) = if lower > upper {
            (keyword.to_lowercase(), "lowercase")
        } else {
            (keyword.to_uppercase(), "uppercase")
        };
        if *keyword != wanted {
            lint.warn(
                Rule::ConsistentInstructionCasing,
                origin,
                keyword,
                format!(
                    "Command '{keyword}' should match the case of the command majority ({case})"
                ),
                format!("write {wanted}"),
            );
        }
    }
}

/// A base must have a name also when nobody gives a `--build-arg`.
pub(super) fn default_bases(
    stages: &[Stage],
    defaults: &Environment,
    escape: char,
    lint: &mut Lint,
) {
    for stage in stages {
        let Ok(base) = Lexer::new(escape).expand(&stage.base, defaults) else {
            return;
        };
        if Reference::parse_normalized(&base.text).is_err() {
            let written = &stage.base;
            lint.warn(
                Rule::InvalidDefaultArgInFrom,
                &stage.origin,
                written,
                format!(
                    "Default value for ARG {written} results in empty or invalid base image name"
                ),
                "give the ARG before FROM a default value".to_owned(),
            );
        }
    }
}

/// Variables of FROM that no ARG before it declares.
pub(super) fn undeclared(lowering: &mut Lowering, unmatched: &[String], origin: &Origin) {
    for name in unmatched {
        let globals = lowering.globals.names();
        let known: Vec<&str> = globals
            .chain(lowering.declared.iter().map(String::as_str))
            .collect();
        if known.contains(&name.as_str()) {
            continue;
        }
        let near = nearest(name, known).map(str::to_owned);
        let hint = super::hint(near.as_deref());
        lowering.lint.warn(
            Rule::UndefinedArgInFrom,
            origin,
            name,
            format!("FROM argument '{name}' is not declared{hint}"),
            match near {
                Some(near) => format!("write ${near}"),
                None => format!("declare it before the first FROM: ARG {name}=…"),
            },
        );
    }
}

/// `FROM --platform`.
pub(super) fn platform(lowering: &mut Lowering, stage: &Stage, written: &str, found: &Expansion) {
    let origin = &stage.origin;
    if found.matched == ["TARGETPLATFORM"] && found.unmatched.is_empty() {
        if lowering.globals.get("TARGETPLATFORM") == Some(found.text.as_str()) {
            lowering.lint.warn(
                Rule::RedundantTargetPlatform,
                origin,
                "--platform",
                format!(
                    "Setting platform to predefined {written} in FROM is redundant as this is the \
                     default behavior"
                ),
                format!("leave --platform={written} out"),
            );
        }
        return;
    }
    let is_constant = found.matched.is_empty() && found.unmatched.is_empty();
    let (true, Ok(platform)) = (is_constant, Platform::parse(&found.text)) else {
        return;
    };
    let name = stage.name.as_deref().unwrap_or_default();
    if name.contains(&platform.os) || name.contains(&platform.architecture) {
        return;
    }
    lowering.lint.warn(
        Rule::FromPlatformFlagConstDisallowed,
        origin,
        "--platform",
        format!(
            "FROM --platform flag should not use constant value {}",
            quote(&found.text)
        ),
        "leave it out and build with --platform, or write $BUILDPLATFORM".to_owned(),
    );
}

/// Variables that nothing sets.
pub(super) fn undefined(lowering: &mut Lowering, at: usize, unmatched: &[String], origin: &Origin) {
    for name in unmatched {
        let state = &lowering.states[at];
        let is_argument = state.arguments.iter().any(|(argument, _)| argument == name);
        if is_argument || !super::arguments::is_variable(name) {
            continue;
        }
        let near = nearest(name, state.environment.names()).map(|near| format!("${near}"));
        let hint = super::hint(near.as_deref());
        lowering.lint.warn(
            Rule::UndefinedVar,
            origin,
            name,
            format!("Usage of undefined variable '${name}'{hint}"),
            match near {
                Some(near) => format!("write {near}"),
                None => format!("set it before with ARG {name} or ENV {name}=…"),
            },
        );
    }
}

pub(super) fn legacy_pair(lowering: &mut Lowering, instruction: &Instruction, pair: &Pair) {
    if !pair.is_legacy {
        return;
    }
    let keyword = &instruction.keyword;
    // The expanded value would lose its variables: the one that was written is shown.
    let written = match &instruction.command {
        Command::Env(pairs) | Command::Label(pairs) => pairs.first().unwrap_or(pair),
        _ => pair,
    };
    let value = if written.value.contains(char::is_whitespace) && !written.value.starts_with('"') {
        format!("\"{}\"", written.value)
    } else {
        written.value.clone()
    };
    lowering.lint.warn(
        Rule::LegacyKeyValueFormat,
        &instruction.origin,
        &written.name,
        format!("\"{keyword} key=value\" should be used instead of legacy \"{keyword} key value\" format"),
        format!("write {keyword} {}={value}", written.name),
    );
}

/// Whether a variable of this name has a secret: `API_TOKEN`, but not `PUBLIC_KEY`.
pub fn is_secret_name(name: &str) -> bool {
    let lower = name.to_lowercase();
    let has = |words: &[&str]| lower.split('_').any(|word| words.contains(&word));
    has(&SECRET_WORDS) && !has(&PUBLIC_WORDS)
}

pub(super) fn secret(lowering: &mut Lowering, instruction: &str, name: &str, origin: &Origin) {
    if !is_secret_name(name) {
        return;
    }
    lowering.lint.warn(
        Rule::SecretsUsedInArgOrEnv,
        origin,
        name,
        format!(
            "Do not use ARG or ENV instructions for sensitive data ({instruction} {})",
            quote(name)
        ),
        format!("build with --secret and use RUN --mount=type=secret,id={name},env={name}"),
    );
}

pub(super) fn maintainer(lowering: &mut Lowering, origin: &Origin, name: &str) {
    lowering.lint.warn(
        Rule::MaintainerDeprecated,
        origin,
        "",
        "Maintainer instruction is deprecated in favor of using label".to_owned(),
        format!(
            "write LABEL org.opencontainers.image.authors={}",
            quote(name)
        ),
    );
}

/// Of several, only the last counts; the warning is about the one before.
pub(super) fn only_once(
    lowering: &mut Lowering,
    instruction: &Instruction,
    before: Option<&Origin>,
) {
    let Some(before) = before else { return };
    let keyword = &instruction.keyword;
    lowering.lint.warn(
        Rule::MultipleInstructionsDisallowed,
        before,
        "",
        format!(
            "Multiple {keyword} instructions should not be used in the same stage because only \
             the last one will be used"
        ),
        "remove it".to_owned(),
    );
}

pub(super) fn shell_form(
    lowering: &mut Lowering,
    at: usize,
    instruction: &Instruction,
    line: &CommandLine,
) {
    let has_shell = lowering.states[at]
        .image
        .config
        .shell
        .as_ref()
        .is_some_and(|shell| !shell.is_empty());
    if !line.is_shell || has_shell {
        return;
    }
    let keyword = &instruction.keyword;
    let text = line.words.join(" ");
    // What only a shell understands needs one; it should give way to the program.
    let is_plain = !text.contains(|c: char| "$`\\\"'|&;<>()*?[]{}~#=\n".contains(c));
    let words: Vec<String> = if is_plain {
        text.split_whitespace().map(quote).collect()
    } else {
        vec![
            quote("/bin/sh"),
            quote("-c"),
            quote(&format!("exec {text}")),
        ]
    };
    lowering.lint.warn(
        Rule::JsonArgsRecommended,
        &instruction.origin,
        "",
        format!(
            "JSON arguments recommended for {keyword} to prevent unintended behavior related to \
             OS signals"
        ),
        format!("write {keyword} [{}]", words.join(", ")),
    );
}

pub(super) fn relative_directory(lowering: &mut Lowering, at: usize, path: &str, origin: &Origin) {
    if lowering.states[at].is_directory_set || path.starts_with('/') {
        return;
    }
    lowering.lint.warn(
        Rule::WorkdirRelativePath,
        origin,
        path,
        format!(
            "Relative workdir {} can have unexpected results if the base image changes",
            quote(path)
        ),
        format!("write WORKDIR /{}", path.trim_start_matches("./")),
    );
}

pub(super) fn port(lowering: &mut Lowering, text: &str, port: &Exposed, origin: &Origin) {
    if port.has_odd_case {
        lowering.lint.warn(
            Rule::ExposeProtoCasing,
            origin,
            text,
            format!("Defined protocol '{text}' in EXPOSE instruction should be lowercase"),
            format!("write {}", text.to_lowercase()),
        );
    }
    if port.has_host {
        let bare = text.rsplit(':').next().unwrap_or(text);
        lowering.lint.warn(
            Rule::ExposeInvalidFormat,
            origin,
            text,
            format!(
                "EXPOSE instruction should not define an IP address or host-port mapping, found \
                 '{text}'"
            ),
            format!("write {bare}, and publish it when the container is run"),
        );
    }
}

/// A source that the ignore file leaves out. With exceptions in the file nobody can say.
pub(super) fn ignored_source(lowering: &mut Lowering, path: &str, is_add: bool, origin: &Origin) {
    let Some(matcher) = lowering
        .matcher
        .as_ref()
        .filter(|matcher| !matcher.has_exceptions())
    else {
        return;
    };
    let path = clean(path);
    let is_root = path == "." || path == "/";
    if is_root && !matcher.ignores_everything() {
        return;
    }
    if !matcher.ignores(path.trim_start_matches('/').as_bytes()) {
        return;
    }
    let verb = if is_add { "Add" } else { "Copy" };
    lowering.lint.warn(
        Rule::CopyIgnoredFile,
        origin,
        &path,
        format!(
            "Attempting to {verb} file {} that is excluded by .dockerignore",
            quote(&path)
        ),
        format!("add !{path} to .dockerignore, or do not copy it"),
    );
}
