//! `--change` of `import` and `commit`: a few Dockerfile instructions that change a configuration.
//!
//! One instruction a line; the same words as in a Dockerfile, without its variables and heredocs.

use serde_json::{Map, Value};
use types::image::{ContainerDefaults, ImageHealthcheck};

/// The length of one instruction.
const INSTRUCTION_BYTES_MAX: usize = 64 << 10;
/// What the shell form of a command runs by.
const SHELL: [&str; 2] = ["/bin/sh", "-c"];

/// Why an instruction is refused.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    /// An instruction that does not exist or has no place here.
    #[error("{0} is not a valid change command")]
    Unknown(String),
    /// An instruction without its arguments.
    #[error("{0} requires at least one argument")]
    Missing(String),
    /// More than one argument where one is wanted.
    #[error("{0} requires exactly one argument")]
    TooMany(String),
    /// A word that is no `name=value`.
    #[error("cannot read {instruction} {word:?}: name=value is expected")]
    Pair {
        /// The instruction.
        instruction: String,
        /// The word.
        word: String,
    },
    /// A quote or bracket that is never closed.
    #[error("cannot read {instruction} {text:?}: {what}")]
    Syntax {
        /// The instruction.
        instruction: String,
        /// Its arguments.
        text: String,
        /// What is wrong.
        what: &'static str,
    },
    /// A port that is none.
    #[error("cannot read EXPOSE {port:?}")]
    Port {
        /// The word.
        port: String,
        /// Why.
        #[source]
        source: types::port::PortError,
    },
    /// A signal that is none.
    #[error("cannot read STOPSIGNAL {0:?}: there is no such signal")]
    Signal(String),
    /// An option of HEALTHCHECK that is none.
    #[error("cannot read HEALTHCHECK option {0:?}")]
    HealthOption(String),
    /// An instruction longer than anybody needs.
    #[error("a change is longer than {INSTRUCTION_BYTES_MAX} bytes")]
    TooLong,
}

type Result<T> = std::result::Result<T, ChangeError>;

/// Those that change a configuration and nothing else.
const INSTRUCTIONS: [&str; 11] = [
    "CMD",
    "ENTRYPOINT",
    "ENV",
    "EXPOSE",
    "HEALTHCHECK",
    "LABEL",
    "ONBUILD",
    "STOPSIGNAL",
    "USER",
    "VOLUME",
    "WORKDIR",
];

/// Applies instructions in order.
///
/// # Errors
/// The first instruction that cannot be read; `config` then holds those before it.
pub fn apply(config: &mut ContainerDefaults, changes: &[String]) -> Result<()> {
    let mut has_command = false;
    for change in changes {
        if change.len() > INSTRUCTION_BYTES_MAX {
            return Err(ChangeError::TooLong);
        }
        for line in change.lines().map(str::trim) {
            if !line.is_empty() && !line.starts_with('#') {
                apply_line(config, line, &mut has_command)?;
            }
        }
    }
    Ok(())
}

/// `has_command`: whether one of these instructions gave the command.
fn apply_line(config: &mut ContainerDefaults, line: &str, has_command: &mut bool) -> Result<()> {
    let (name, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    let name = name.to_ascii_uppercase();
    let rest = rest.trim();
    let known = INSTRUCTIONS.contains(&name.as_str());
    if !known {
        return Err(ChangeError::Unknown(name));
    }
    if rest.is_empty() && !matches!(name.as_str(), "CMD" | "ENTRYPOINT") {
        return Err(ChangeError::Missing(name));
    }
    match name.as_str() {
        "CMD" => {
            config.cmd = Some(command(rest));
            *has_command = true;
        }
        "ENTRYPOINT" => {
            config.entrypoint = Some(command(rest));
            // As in a Dockerfile, a new entry point takes the image's command away.
            config.cmd = config
                .cmd
                .take()
                .filter(|_| rest.is_empty() || *has_command);
        }
        "ENV" => {
            for (key, value) in pairs(&name, rest)? {
                set_variable(&mut config.env, &key, &value);
            }
        }
        "LABEL" => config.labels.extend(pairs(&name, rest)?),
        "EXPOSE" => expose(config, rest)?,
        "HEALTHCHECK" => config.healthcheck = Some(health(rest)?),
        "ONBUILD" => config.on_build.push(rest.to_owned()),
        "STOPSIGNAL" => {
            let signal = single(&name, rest)?;
            types::signal::Signal::parse(&signal)
                .map_err(|_| ChangeError::Signal(signal.clone()))?;
            config.stop_signal = signal;
        }
        "USER" => config.user = single(&name, rest)?,
        "VOLUME" => {
            let paths = match json_words(rest) {
                Some(paths) => paths,
                None => words(&name, rest)?,
            };
            let empty = || Value::Object(Map::new());
            config
                .volumes
                .extend(paths.into_iter().map(|path| (path, empty())));
        }
        _ => {
            let path = words(&name, rest)?.join(" ");
            let base = if config.working_dir.is_empty() {
                "/"
            } else {
                &config.working_dir
            };
            config.working_dir = types::lexical_path::absolute(&path, base);
        }
    }
    Ok(())
}

/// `["a", "b"]`, else a line for the shell.
fn command(text: &str) -> Vec<String> {
    if text.is_empty() {
        return Vec::new();
    }
    json_words(text).unwrap_or_else(|| {
        SHELL
            .iter()
            .map(|&word| word.to_owned())
            .chain([text.to_owned()])
            .collect()
    })
}

fn json_words(text: &str) -> Option<Vec<String>> {
    text.starts_with('[')
        .then(|| serde_json::from_str(text).ok())
        .flatten()
}

fn single(name: &str, text: &str) -> Result<String> {
    let mut words = words(name, text)?;
    match (words.pop(), words.is_empty()) {
        (Some(word), true) => Ok(word),
        _ => Err(ChangeError::TooMany(name.to_owned())),
    }
}

/// `a=b c="d e"`, or the old form `a b c`.
fn pairs(name: &str, text: &str) -> Result<Vec<(String, String)>> {
    let all = words(name, text)?;
    if all.first().is_none_or(|first| !first.contains('=')) {
        let (key, value) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
        if value.trim().is_empty() {
            let (instruction, word) = (name.to_owned(), key.to_owned());
            return Err(ChangeError::Pair { instruction, word });
        }
        let value = words(name, value.trim())?.join(" ");
        return Ok(vec![(key.to_owned(), value)]);
    }
    let pair = |word: String| match word.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err(ChangeError::Pair {
            instruction: name.to_owned(),
            word,
        }),
    };
    all.into_iter().map(pair).collect()
}

/// Words with quotes and backslashes, as Docker's shell words have them.
fn words(name: &str, text: &str) -> Result<Vec<String>> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote: Option<char> = None;
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match (quote, character) {
            (Some(open), close) if open == close => quote = None,
            (Some('\''), other) => word.get_or_insert_default().push(other),
            (Some(_), '\\') => {
                let next = characters.next().unwrap_or('\\');
                let word = word.get_or_insert_default();
                // Between double quotes a backslash means itself but before these.
                if !matches!(next, '"' | '\\' | '$') {
                    word.push('\\');
                }
                word.push(next);
            }
            (None, '\\') => word.get_or_insert_default().extend(characters.next()),
            (None, open @ ('"' | '\'')) => {
                quote = Some(open);
                word.get_or_insert_default();
            }
            (None, space) if space.is_whitespace() => words.extend(word.take()),
            (_, other) => word.get_or_insert_default().push(other),
        }
    }
    if quote.is_some() {
        let (instruction, text) = (name.to_owned(), text.to_owned());
        return Err(ChangeError::Syntax {
            instruction,
            text,
            what: "a quote is not closed",
        });
    }
    words.extend(word);
    Ok(words)
}

fn set_variable(env: &mut Vec<String>, key: &str, value: &str) {
    let line = format!("{key}={value}");
    let prefix = &line[..=key.len()];
    match env.iter_mut().find(|known| known.starts_with(prefix)) {
        Some(known) => *known = line,
        None => env.push(line),
    }
}

fn expose(config: &mut ContainerDefaults, text: &str) -> Result<()> {
    for word in words("EXPOSE", text)? {
        let ports = types::port::parse_expose(&word).map_err(|source| ChangeError::Port {
            port: word.clone(),
            source,
        })?;
        for port in ports {
            config
                .exposed_ports
                .insert(port.to_string(), Value::Object(Map::new()));
        }
    }
    Ok(())
}

fn health(text: &str) -> Result<ImageHealthcheck> {
    let mut check = ImageHealthcheck::default();
    let mut rest = text;
    while rest.starts_with("--") {
        let (option, after) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
        rest = after.trim_start();
        let bad = || ChangeError::HealthOption(option.to_owned());
        let (key, value) = option[2..].split_once('=').ok_or_else(bad)?;
        if key == "retries" {
            check.retries = value
                .parse()
                .ok()
                .filter(|&count: &i64| count >= 0)
                .ok_or_else(bad)?;
            continue;
        }
        let duration = types::units::parse_duration(value).map_err(|_| bad())?;
        let field = match key {
            "interval" => &mut check.interval,
            "timeout" => &mut check.timeout,
            "start-period" => &mut check.start_period,
            "start-interval" => &mut check.start_interval,
            _ => return Err(bad()),
        };
        *field = Some(duration)
            .filter(|&duration| duration >= 0)
            .ok_or_else(bad)?;
    }
    let (kind, command) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
    let command = command.trim();
    check.test = match (kind.to_ascii_uppercase().as_str(), command) {
        ("NONE", "") => vec!["NONE".to_owned()],
        ("CMD", "") => return Err(ChangeError::Missing("HEALTHCHECK CMD".to_owned())),
        ("CMD", command) => match json_words(command) {
            Some(words) => std::iter::once("CMD".to_owned()).chain(words).collect(),
            None => vec!["CMD-SHELL".to_owned(), command.to_owned()],
        },
        (other, _) => return Err(ChangeError::Unknown(format!("HEALTHCHECK {other}"))),
    };
    Ok(check)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changed(lines: &[&str]) -> std::result::Result<ContainerDefaults, String> {
        let lines: Vec<String> = lines.iter().map(|&line| line.to_owned()).collect();
        let mut config = ContainerDefaults::default();
        apply(&mut config, &lines)
            .map(|()| config)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn instructions_change_what_they_say() {
        let config = changed(&[
            "CMD [\"a\", \"b c\"]",
            "entrypoint /run.sh now",
            "CMD echo $X",
            "ENV A=1 B=\"x y\" C='$z' D=a\\ b",
            "ENV A 2  3",
            "EXPOSE 80 90/udp 8000-8001",
            "LABEL a=b\nLABEL \"c d\"=\"e\\\"f\"",
            "ONBUILD RUN x",
            "STOPSIGNAL SIGINT",
            "USER 1:2",
            "VOLUME /a /b",
            "VOLUME [\"/c d\"]",
            "WORKDIR /x",
            "WORKDIR y/../z",
            "HEALTHCHECK --interval=5s --retries=3 CMD curl -f http://x",
            "# a comment",
        ])
        .unwrap();
        let strings = |words: &[&str]| words.iter().map(|&w| w.to_owned()).collect::<Vec<_>>();
        assert_eq!(
            config.entrypoint,
            Some(strings(&["/bin/sh", "-c", "/run.sh now"]))
        );
        assert_eq!(config.cmd, Some(strings(&["/bin/sh", "-c", "echo $X"])));
        assert_eq!(config.env, ["A=2 3", "B=x y", "C=$z", "D=a b"]);
        let ports: Vec<&String> = config.exposed_ports.keys().collect();
        assert_eq!(ports, ["80/tcp", "8000/tcp", "8001/tcp", "90/udp"]);
        assert_eq!(config.labels["c d"], "e\"f");
        assert_eq!(config.on_build, ["RUN x"]);
        assert_eq!(
            (config.stop_signal.as_str(), config.user.as_str()),
            ("SIGINT", "1:2")
        );
        assert_eq!(
            config.volumes.keys().collect::<Vec<_>>(),
            ["/a", "/b", "/c d"]
        );
        assert_eq!(config.working_dir, "/x/z");
        let health = config.healthcheck.unwrap();
        assert_eq!(health.test, strings(&["CMD-SHELL", "curl -f http://x"]));
        assert_eq!((health.interval, health.retries), (5_000_000_000, 3));
    }

    #[test]
    fn an_entry_point_takes_away_the_command_of_the_image_alone() {
        let strings = |words: &[&str]| {
            words
                .iter()
                .map(|word| (*word).to_owned())
                .collect::<Vec<_>>()
        };
        let mut config = ContainerDefaults {
            cmd: Some(strings(&["of the image"])),
            ..ContainerDefaults::default()
        };
        apply(&mut config, &strings(&["ENTRYPOINT [\"b\"]"])).unwrap();
        assert_eq!(config.cmd, None);
        let both = strings(&["CMD [\"a\"]", "ENTRYPOINT [\"b\"]"]);
        apply(&mut config, &both).unwrap();
        assert_eq!(config.cmd, Some(strings(&["a"])));
    }

    #[test]
    fn what_is_no_instruction_is_refused_by_name() {
        for (line, want) in [
            ("RUN x", "RUN is not a valid change command"),
            ("FROM x", "FROM is not a valid change command"),
            ("ENV", "ENV requires at least one argument"),
            ("ENV A", "cannot read ENV \"A\": name=value is expected"),
            (
                "LABEL a=b c",
                "cannot read LABEL \"c\": name=value is expected",
            ),
            (
                "LABEL a=\"b",
                "cannot read LABEL \"a=\\\"b\": a quote is not closed",
            ),
            ("EXPOSE 99999999", "cannot read EXPOSE \"99999999\""),
            (
                "STOPSIGNAL NOPE",
                "cannot read STOPSIGNAL \"NOPE\": there is no such signal",
            ),
            ("USER a b", "USER requires exactly one argument"),
            (
                "HEALTHCHECK --x=1 CMD a",
                "cannot read HEALTHCHECK option \"--x=1\"",
            ),
            (
                "HEALTHCHECK MAYBE",
                "HEALTHCHECK MAYBE is not a valid change command",
            ),
        ] {
            assert_eq!(changed(&[line]).unwrap_err(), want);
        }
    }
}
