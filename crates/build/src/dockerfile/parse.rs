//! From syntax to instructions with meaning.

use types::container::Healthcheck;
use types::go_syntax::parse_int;
use types::units::parse_duration;

use super::command::{
    Add, Argument, Command, CommandLine, Copy, Dockerfile, GlobalArguments, InlineFile,
    Instruction, Pair, Run, RunNetwork, RunSecurity, Sources, Stage,
};
use super::error::{DockerfileError, FlagProblem, Problem};
use super::flag::{self, Flags};
use super::heredoc::Heredoc;
use super::keyword::{KEYWORDS, Keyword};
use super::mount::{Device, MountFault, MountFlag};
use super::place::Origin;
use super::syntax::{self, Statement};

/// A shorter interval of a health check is a mistake.
const INTERVAL_NS_MIN: i64 = 1_000_000;

/// Reads a Dockerfile.
pub fn parse(source: &[u8]) -> Result<Dockerfile, DockerfileError> {
    if source.is_empty() {
        return Err(DockerfileError::on_line(Problem::Empty, 1, 1));
    }
    let syntax = syntax::read(source)?;
    let mut arguments = Vec::new();
    let mut stages: Vec<Stage> = Vec::new();
    let mut last = None;
    for statement in syntax.statements {
        last = Some(statement.origin.lines.end);
        match (keyword(&statement)?, stages.last_mut()) {
            (Keyword::From, _) => stages.push(from(statement)?),
            (_, Some(stage)) => stage.instructions.push(instruction(statement)?),
            (Keyword::Arg, None) => arguments.push(global(statement)?),
            (_, None) => {
                let origin = &statement.origin;
                return Err(DockerfileError::at(Problem::BeforeFrom, origin, ""));
            }
        }
    }
    if stages.is_empty() {
        let line = last.unwrap_or(1);
        return Err(DockerfileError::on_line(Problem::NoStages, line, 1));
    }
    Ok(Dockerfile {
        directives: syntax.directives,
        arguments,
        stages,
        empty_continuations: syntax.empty_continuations,
    })
}

/// Reads an instruction that stands alone, such as one of ONBUILD. It stands where `at` says.
pub fn parse_trigger(text: &str, at: &Origin) -> Result<Instruction, DockerfileError> {
    let there = |error: DockerfileError| DockerfileError {
        lines: at.lines,
        position: at.start(),
        ..error
    };
    let mut syntax = syntax::read(text.as_bytes()).map_err(there)?;
    let Some(statement) = syntax
        .statements
        .pop()
        .filter(|_| syntax.statements.is_empty())
    else {
        return Err(DockerfileError::at(Problem::OnbuildSeveral, at, ""));
    };
    let known = keyword(&statement).map_err(there)?;
    if let Some(problem) = refused_trigger(known) {
        return Err(DockerfileError::at(problem, at, ""));
    }
    let mut instruction = instruction(statement).map_err(there)?;
    instruction.origin.lines = at.lines;
    instruction.origin.pieces.clear();
    Ok(instruction)
}

fn keyword(statement: &Statement) -> Result<Keyword, DockerfileError> {
    Keyword::parse(&statement.keyword).ok_or_else(|| {
        let problem = Problem::UnknownInstruction(statement.keyword.clone());
        let upper = statement.keyword.to_uppercase();
        DockerfileError::at(problem, &statement.origin, "")
            .suggest(&upper, KEYWORDS.map(|(_, name)| name))
    })
}

fn from(statement: Statement) -> Result<Stage, DockerfileError> {
    let origin = &statement.origin;
    let (as_written, name) = match &statement.arguments[..] {
        [_] => (None, None),
        [_, word, name] if word.eq_ignore_ascii_case("as") => {
            let lower = name.to_lowercase();
            if !is_stage_name(&lower) {
                let problem = Problem::StageName(name.clone());
                return Err(DockerfileError::at(problem, origin, name));
            }
            (Some((word.clone(), name.clone())), Some(lower))
        }
        _ => return Err(DockerfileError::at(Problem::From, origin, "")),
    };
    let flags = flags(&statement, Keyword::From)?;
    Ok(Stage {
        as_written,
        name,
        base: statement.arguments.into_iter().next().unwrap_or_default(),
        platform: flags.text("platform").filter(|text| !text.is_empty()),
        instructions: Vec::new(),
        keyword: statement.keyword,
        origin: statement.origin,
    })
}

/// `[a-z][a-z0-9-_.]*`.
fn is_stage_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes.next().is_some_and(|byte| byte.is_ascii_lowercase())
        && bytes.all(|byte| {
            byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_.".contains(&byte)
        })
}

fn global(statement: Statement) -> Result<GlobalArguments, DockerfileError> {
    no_flags(&statement, Keyword::Arg)?;
    Ok(GlobalArguments {
        arguments: arguments(&statement)?,
        keyword: statement.keyword,
        origin: statement.origin,
    })
}

fn instruction(statement: Statement) -> Result<Instruction, DockerfileError> {
    let keyword = keyword(&statement)?;
    let command = match keyword {
        Keyword::Add => Command::Add(add(&statement)?),
        Keyword::Copy => Command::Copy(copy(&statement)?),
        Keyword::Run => Command::Run(run(&statement)?),
        Keyword::Healthcheck => Command::Healthcheck(healthcheck(&statement)?),
        other => {
            no_flags(&statement, other)?;
            simple(other, &statement)?
        }
    };
    Ok(Instruction {
        keyword: statement.keyword,
        command,
        origin: statement.origin,
    })
}

/// The instructions without flags.
fn simple(keyword: Keyword, statement: &Statement) -> Result<Command, DockerfileError> {
    let list = || at_least_one(keyword, statement);
    Ok(match keyword {
        Keyword::Arg => Command::Arg(arguments(statement)?),
        Keyword::Cmd => Command::Cmd(command_line(statement)),
        Keyword::Entrypoint => Command::Entrypoint(command_line(statement)),
        Keyword::Env => Command::Env(pairs(keyword, statement)?),
        Keyword::Label => Command::Label(pairs(keyword, statement)?),
        Keyword::Expose => {
            let mut ports = list()?;
            ports.sort_unstable();
            Command::Expose(ports)
        }
        Keyword::Maintainer => Command::Maintainer(exactly_one(keyword, statement)?),
        Keyword::StopSignal => Command::StopSignal(exactly_one(keyword, statement)?),
        Keyword::User => Command::User(exactly_one(keyword, statement)?),
        Keyword::Workdir => Command::Workdir(exactly_one(keyword, statement)?),
        Keyword::Volume => Command::Volume(volumes(list()?, statement)?),
        Keyword::Shell => {
            let words = list()?;
            if !statement.is_json {
                return Err(fail(Problem::NotJson(keyword.name()), statement, ""));
            }
            Command::Shell(words)
        }
        Keyword::Onbuild => Command::Onbuild(onbuild(statement)?),
        Keyword::Add | Keyword::Copy | Keyword::From | Keyword::Healthcheck | Keyword::Run => {
            return Err(fail(Problem::From, statement, ""));
        }
    })
}

fn fail(problem: Problem, statement: &Statement, part: &str) -> DockerfileError {
    DockerfileError::at(problem, &statement.origin, part)
}

fn at_least_one(keyword: Keyword, statement: &Statement) -> Result<Vec<String>, DockerfileError> {
    if statement.arguments.is_empty() {
        return Err(fail(Problem::AtLeastOne(keyword.name()), statement, ""));
    }
    Ok(statement.arguments.clone())
}

fn exactly_one(keyword: Keyword, statement: &Statement) -> Result<String, DockerfileError> {
    match &statement.arguments[..] {
        [one] => Ok(one.clone()),
        _ => Err(fail(Problem::ExactlyOne(keyword.name()), statement, "")),
    }
}

fn flags(statement: &Statement, keyword: Keyword) -> Result<Flags, DockerfileError> {
    let known = flag::known(keyword);
    Flags::parse(&statement.flags, known).map_err(|fault| {
        let error = fail(fault.problem.into(), statement, &fault.written);
        match fault.unknown {
            Some(name) => error.suggest(&name, known.iter().map(|(known, _)| *known)),
            None => error,
        }
    })
}

fn no_flags(statement: &Statement, keyword: Keyword) -> Result<(), DockerfileError> {
    let Some(flag) = statement.flags.first() else {
        return Ok(());
    };
    let problem = FlagProblem::None(keyword.name());
    Err(fail(problem.into(), statement, flag))
}

fn arguments(statement: &Statement) -> Result<Vec<Argument>, DockerfileError> {
    let comments = &statement.origin.comments;
    at_least_one(Keyword::Arg, statement)?
        .into_iter()
        .map(|word| {
            let (name, default) = match word.split_once('=') {
                Some(("", _)) => return Err(fail(Problem::BlankName("ARG"), statement, &word)),
                Some((name, default)) => (name.to_owned(), Some(default.to_owned())),
                None => (word, None),
            };
            Ok(Argument {
                description: description(comments, &name),
                name,
                default,
            })
        })
        .collect()
}

/// What a comment says of a name: `# name …`.
pub(crate) fn description(comments: &[String], name: &str) -> Option<String> {
    let of_name = |comment: &String| {
        let rest = comment.strip_prefix(name)?.strip_prefix(' ')?;
        Some(rest.to_owned())
    };
    comments.iter().find_map(of_name)
}

fn pairs(keyword: Keyword, statement: &Statement) -> Result<Vec<Pair>, DockerfileError> {
    let words = at_least_one(keyword, statement)?;
    let mut pairs = Vec::with_capacity(words.len() / 3);
    for triple in words.chunks(3) {
        let [name, value, sign] = triple else {
            continue;
        };
        if name.is_empty() {
            return Err(fail(Problem::BlankName(keyword.name()), statement, "="));
        }
        pairs.push(Pair {
            name: name.clone(),
            value: value.clone(),
            is_legacy: sign.is_empty(),
        });
    }
    Ok(pairs)
}

fn command_line(statement: &Statement) -> CommandLine {
    CommandLine {
        words: statement.arguments.clone(),
        is_shell: !statement.is_json,
        heredocs: statement.heredocs.clone(),
    }
}

fn volumes(words: Vec<String>, statement: &Statement) -> Result<Vec<String>, DockerfileError> {
    let trimmed: Vec<String> = words.iter().map(|word| word.trim().to_owned()).collect();
    if trimmed.iter().any(String::is_empty) {
        return Err(fail(Problem::EmptyVolume, statement, ""));
    }
    Ok(trimmed)
}

/// Sources and destination; here-documents among them by name.
fn sources(keyword: Keyword, statement: &Statement) -> Result<Sources, DockerfileError> {
    let [words @ .., destination] = &statement.arguments[..] else {
        return Err(fail(Problem::NoDestination(keyword.name()), statement, ""));
    };
    if words.is_empty() {
        return Err(fail(Problem::NoDestination(keyword.name()), statement, ""));
    }
    let heredoc = |word: &str| Heredoc::parse(word).ok().flatten();
    if heredoc(destination).is_some() {
        let problem = Problem::HeredocDestination(keyword.name());
        return Err(fail(problem, statement, destination));
    }
    let (mut paths, mut inline) = (Vec::new(), Vec::new());
    for word in words {
        let Some(opened) = heredoc(word) else {
            paths.push(word.clone());
            continue;
        };
        // The last one of a name, as BuildKit has it.
        let read = statement.heredocs.iter().rev();
        let content = read
            .clone()
            .find(|read| read.name == opened.name)
            .map(|read| Heredoc {
                strip_tabs: opened.strip_tabs,
                ..read.clone()
            });
        inline.push(InlineFile {
            content: content.map(|read| read.body()).unwrap_or_default(),
            name: opened.name,
            expand: opened.expand,
        });
    }
    Ok(Sources {
        paths,
        inline,
        destination: destination.clone(),
    })
}

fn add(statement: &Statement) -> Result<Add, DockerfileError> {
    let sources = sources(Keyword::Add, statement)?;
    let flags = flags(statement, Keyword::Add)?;
    Ok(Add {
        sources,
        chown: flags.text("chown").unwrap_or_default(),
        chmod: flags.text("chmod").unwrap_or_default(),
        link: flags.boolean("link").unwrap_or_default(),
        keep_git_directory: flags.boolean("keep-git-dir"),
        checksum: flags.text("checksum").unwrap_or_default(),
        unpack: flags.boolean("unpack"),
        exclude: flags.texts("exclude"),
    })
}

fn copy(statement: &Statement) -> Result<Copy, DockerfileError> {
    let sources = sources(Keyword::Copy, statement)?;
    let flags = flags(statement, Keyword::Copy)?;
    Ok(Copy {
        sources,
        from: flags.text("from").unwrap_or_default(),
        chown: flags.text("chown").unwrap_or_default(),
        chmod: flags.text("chmod").unwrap_or_default(),
        link: flags.boolean("link").unwrap_or_default(),
        parents: flags.boolean("parents").unwrap_or_default(),
        exclude: flags.texts("exclude"),
    })
}

fn run(statement: &Statement) -> Result<Run, DockerfileError> {
    let flags = flags(statement, Keyword::Run)?;
    let wrong = |problem: FlagProblem, name: &str| fail(problem.into(), statement, name);
    let network = match flags.text("network").as_deref() {
        None | Some("default") => RunNetwork::Default,
        Some("none") => RunNetwork::None,
        Some("host") => RunNetwork::Host,
        Some(other) => return Err(wrong(FlagProblem::Network(other.to_owned()), "--network")),
    };
    let security = match flags.text("security").as_deref() {
        None | Some("sandbox") => RunSecurity::Sandbox,
        Some("insecure") => RunSecurity::Insecure,
        Some(other) => return Err(wrong(FlagProblem::Security(other.to_owned()), "--security")),
    };
    let fault = |fault: MountFault, written: &str| DockerfileError {
        did_you_mean: fault.did_you_mean.map(str::to_owned),
        ..fail(fault.problem.into(), statement, written)
    };
    let mounts = flags.texts("mount");
    let mounts = mounts
        .iter()
        .map(|text| MountFlag::parse(text).map_err(|error| fault(error, text)));
    let mounts = mounts.collect::<Result<_, _>>()?;
    let devices = flags.texts("device");
    let devices = devices
        .iter()
        .map(|text| Device::parse(text).map_err(|error| fault(error, text)));
    Ok(Run {
        line: command_line(statement),
        mounts,
        network,
        security,
        devices: devices.collect::<Result<_, _>>()?,
    })
}

fn healthcheck(statement: &Statement) -> Result<Healthcheck, DockerfileError> {
    let [kind, words @ ..] = &statement.arguments[..] else {
        return Err(fail(Problem::AtLeastOne("HEALTHCHECK"), statement, ""));
    };
    let flags = flags(statement, Keyword::Healthcheck)?;
    let mut check = Healthcheck::default();
    match kind.to_uppercase().as_str() {
        "NONE" if words.is_empty() => {
            check.test = vec!["NONE".to_owned()];
            return Ok(check);
        }
        "NONE" => return Err(fail(Problem::HealthcheckNone, statement, "")),
        "CMD" if words.is_empty() => return Err(fail(Problem::HealthcheckCommand, statement, "")),
        "CMD" => {
            let form = if statement.is_json {
                "CMD"
            } else {
                "CMD-SHELL"
            };
            check.test = vec![form.to_owned()];
            check.test.extend_from_slice(words);
        }
        other => {
            let problem = Problem::HealthcheckType(other.to_owned());
            return Err(fail(problem, statement, kind));
        }
    }
    let interval = |name: &'static str| interval(&flags, name, statement);
    check.interval_ns = interval("interval")?;
    check.timeout_ns = interval("timeout")?;
    check.start_period_ns = interval("start-period")?;
    check.start_interval_ns = interval("start-interval")?;
    if let Some(text) = flags.text("retries").filter(|text| !text.is_empty()) {
        let retries =
            parse_int(&text).map_err(|error| fail(error.into(), statement, "--retries"))?;
        check.retries = u32::try_from(retries)
            .map_err(|_| fail(Problem::NegativeRetries(retries), statement, "--retries"))?;
    }
    Ok(check)
}

fn interval(
    flags: &Flags,
    name: &'static str,
    statement: &Statement,
) -> Result<i64, DockerfileError> {
    let Some(text) = flags.text(name).filter(|text| !text.is_empty()) else {
        return Ok(0);
    };
    let written = format!("--{name}");
    let duration =
        parse_duration(&text).map_err(|error| fail(error.into(), statement, &written))?;
    if duration != 0 && duration < INTERVAL_NS_MIN {
        return Err(fail(Problem::ShortInterval(name), statement, &written));
    }
    Ok(duration)
}

/// The instruction behind ONBUILD as text, with its here-documents.
fn onbuild(statement: &Statement) -> Result<String, DockerfileError> {
    let Some(nested) = &statement.nested else {
        return Err(fail(Problem::AtLeastOne("ONBUILD"), statement, ""));
    };
    if let Some(problem) = Keyword::parse(&nested.keyword).and_then(refused_trigger) {
        return Err(fail(problem, statement, &nested.keyword));
    }
    let text = statement.origin.text.trim_start();
    let after = text.get(statement.keyword.len()..).unwrap_or_default();
    let mut expression = after.trim_start().to_owned();
    for heredoc in &statement.heredocs {
        expression.push('\n');
        expression.push_str(&heredoc.content);
        expression.push_str(&heredoc.name);
    }
    Ok(expression)
}

fn refused_trigger(keyword: Keyword) -> Option<Problem> {
    match keyword {
        Keyword::Onbuild => Some(Problem::OnbuildChain),
        Keyword::Maintainer | Keyword::From => Some(Problem::OnbuildTrigger(keyword.name())),
        _ => None,
    }
}
