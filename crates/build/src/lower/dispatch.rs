//! The instructions of the stages, in order: what each does to files, configuration and history.

use serde_json::{Map, Value};
use types::container::Healthcheck;
use types::go_syntax::quote;
use types::lexical_path::clean;
use types::signal::Signal;
use types::units::format_duration;

use crate::dockerfile::command::{Argument, Command, CommandLine, Instruction, Pair};
use crate::dockerfile::error::{DockerfileError, Problem};
use crate::dockerfile::place::Origin;
use crate::dockerfile::words::{Lexer, Variables};
use crate::graph::{BuildResult, HistoryLine, Input, MakeDirectory, Op, Step, StepId};

use super::arguments::{expand, is_variable};
use super::bases::DEFAULT_PATH;
use super::{LowerError, Lowering, lints, ports};

/// What BuildKit writes beside each line of an image's history.
const HISTORY_COMMENT: &str = "buildkit.dockerfile.v0";
const DEFAULT_SHELL: [&str; 2] = ["/bin/sh", "-c"];

impl<'a> Lowering<'a> {
    pub(super) fn dispatch_stages(&mut self, needed: &[bool]) -> Result<(), LowerError> {
        for at in (0..self.states.len()).filter(|at| needed.get(*at) == Some(&true)) {
            if self.states[at].is_done {
                continue;
            }
            self.inherit(at)?;
            self.states[at].is_done = true;
            self.begin(at)?;
            for number in 0..self.states[at].instructions.len() {
                self.dispatch(at, number)?;
            }
        }
        Ok(())
    }

    /// Variables, directory and user as the image has them.
    fn begin(&mut self, at: usize) -> Result<(), DockerfileError> {
        let state = &mut self.states[at];
        let bytes = state.image_environment.bytes();
        if state.image_environment.get("PATH").is_none() {
            state.image_environment.replace("PATH", DEFAULT_PATH);
        }
        for (name, value) in state.image_environment.iter() {
            state.environment.set(name, value);
        }
        let directory = state.image.config.working_dir.clone();
        if !directory.is_empty() {
            set_directory(state, &directory);
        }
        if state.directory.is_empty() {
            state.directory = "/".to_owned();
        }
        if !state.image.config.user.is_empty() {
            state.user.clone_from(&state.image.config.user);
        }
        let origin = state.origin;
        self.charge(bytes, origin)
    }

    fn dispatch(&mut self, at: usize, number: usize) -> Result<(), DockerfileError> {
        let planned = self.states[at].instructions[number].clone();
        let instruction: &Instruction = &planned.instruction;
        let origin = &instruction.origin;
        match &instruction.command {
            Command::Add(add) => self.add(at, &planned, add),
            Command::Copy(copy) => self.copy(at, &planned, copy),
            Command::Run(run) => self.run(at, &planned, run),
            Command::Workdir(path) => self.workdir(at, &planned, path),
            Command::Env(pairs) => self.env(at, instruction, pairs),
            Command::Label(pairs) => self.label(at, instruction, pairs),
            Command::Arg(arguments) => self.arg(at, arguments, origin),
            Command::Cmd(line) => self.cmd(at, instruction, line),
            Command::Entrypoint(line) => self.entrypoint(at, instruction, line),
            Command::Healthcheck(check) => self.healthcheck(at, instruction, check),
            Command::Expose(words) => self.expose(at, words, origin),
            Command::Volume(words) => self.volume(at, words, origin),
            Command::User(user) => {
                let user = self.word(at, user, origin)?;
                let state = &mut self.states[at];
                state.user.clone_from(&user);
                state.image.config.user.clone_from(&user);
                self.note(at, format!("USER {user}"), None, origin)
            }
            Command::StopSignal(signal) => {
                let signal = self.word(at, signal, origin)?;
                Signal::parse(&signal)
                    .map_err(|error| DockerfileError::at(error.into(), origin, &signal))?;
                self.states[at].image.config.stop_signal.clone_from(&signal);
                self.note(at, format!("STOPSIGNAL {signal}"), None, origin)
            }
            Command::Shell(words) => {
                self.states[at].image.config.shell = Some(words.clone());
                self.note(at, format!("SHELL [{}]", words.join(" ")), None, origin)
            }
            Command::Maintainer(name) => {
                lints::maintainer(self, origin, name);
                self.states[at].image.author.clone_from(name);
                self.note(at, format!("MAINTAINER {name}"), None, origin)
            }
            Command::Onbuild(trigger) => {
                let triggers = &mut self.states[at].image.config.on_build;
                triggers.push(trigger.clone());
                self.charge(trigger.len() + 64, origin)
            }
        }
    }

    /// Expands a word with the variables of this place.
    pub(super) fn word(
        &mut self,
        at: usize,
        text: &str,
        origin: &Origin,
    ) -> Result<String, DockerfileError> {
        let expanded = expand(self.escape, text, &self.states[at].environment, origin)?;
        lints::undefined(self, at, &expanded.unmatched, origin);
        self.charge(expanded.text.len(), origin)?;
        Ok(expanded.text)
    }

    pub(super) fn words(
        &mut self,
        at: usize,
        texts: &[String],
        origin: &Origin,
    ) -> Result<Vec<String>, DockerfileError> {
        texts
            .iter()
            .map(|text| self.word(at, text, origin))
            .collect()
    }

    /// Adds a line to the history.
    pub(super) fn note(
        &mut self,
        at: usize,
        created_by: String,
        step: Option<StepId>,
        origin: &Origin,
    ) -> Result<(), DockerfileError> {
        self.charge(created_by.len() + 96, origin)?;
        self.states[at].history.push(HistoryLine {
            created_by,
            comment: HISTORY_COMMENT.to_owned(),
            author: String::new(),
            step,
        });
        Ok(())
    }

    /// The name of a step as people see it: `[build 2/5] RUN make`.
    pub(super) fn step_name(
        &mut self,
        at: usize,
        text: &str,
        platform: Option<&types::platform::Platform>,
        is_trigger: bool,
    ) -> String {
        let state = &mut self.states[at];
        if state.steps == 0 {
            return text.to_owned();
        }
        state.step += 1;
        let width = state.steps.to_string().len();
        let number = format!("{:width$}/{}", state.step, state.steps);
        let platform = platform
            .filter(|_| self.request.is_multi_platform)
            .map(|platform| format!("{platform} "))
            .unwrap_or_default();
        let stage = match state.label.as_str() {
            "" => String::new(),
            label => format!("{label} "),
        };
        let trigger = if is_trigger { "ONBUILD " } else { "" };
        format!("[{platform}{stage}{number}] {trigger}{text}")
    }

    /// An instruction's text for the name of its step: the keyword in upper case, and variables
    /// replaced. What is no words stays as it is.
    pub(super) fn shown(&self, lexer: Lexer, code: &str, variables: &impl Variables) -> String {
        let text = match lexer.expand(code, variables) {
            Ok(expanded) => expanded.text,
            Err(_) => code.to_owned(),
        };
        match text.split_once(' ') {
            Some((keyword, rest)) => format!("{} {rest}", keyword.to_uppercase()),
            None => text.to_uppercase(),
        }
    }

    /// Adds a step on top of a state's files.
    pub(super) fn add_step(
        &mut self,
        at: usize,
        op: Op,
        name: String,
        origin: &Origin,
        ignores_cache: bool,
    ) -> StepId {
        let place = self.place(at, origin);
        let step = self.graph.add(Step {
            op,
            name,
            place: Some(place),
            ignores_cache,
        });
        self.states[at].root = Some(step);
        step
    }

    /// The files that a state has now.
    pub(super) fn root(&mut self, at: usize) -> Input {
        let root = match self.states[at].root {
            Some(root) => root,
            None => self.graph.add(Step {
                op: Op::Scratch,
                name: "scratch".to_owned(),
                place: None,
                ignores_cache: false,
            }),
        };
        Input::new(root)
    }

    fn workdir(
        &mut self,
        at: usize,
        planned: &super::stages::Planned<'a>,
        path: &str,
    ) -> Result<(), DockerfileError> {
        let origin = &planned.instruction.origin;
        let path = self.word(at, path, origin)?;
        lints::relative_directory(self, at, &path, origin);
        let state = &mut self.states[at];
        state.is_directory_set = true;
        set_directory(state, &path);
        let directory = state.directory.clone();
        let mut step = None;
        if directory != "/" {
            let user = state.image.config.user.clone();
            let platform = state.platform.clone();
            let lexer = Lexer::new(self.escape);
            let shown = self.shown(lexer, origin.code(), &self.states[at].environment);
            let name = self.step_name(at, &shown, platform.as_ref(), planned.is_trigger);
            let op = Op::MakeDirectory(MakeDirectory {
                root: self.root(at),
                path: clean(&directory),
                user,
            });
            step = Some(self.add_step(at, op, name, origin, false));
        }
        self.note(at, format!("WORKDIR {directory}"), step, origin)
    }

    fn env(
        &mut self,
        at: usize,
        instruction: &Instruction,
        pairs: &[Pair],
    ) -> Result<(), DockerfileError> {
        let origin = &instruction.origin;
        // All of them see the variables from before the instruction.
        let pairs = self.pairs(at, pairs, origin)?;
        let mut line = "ENV".to_owned();
        for pair in &pairs {
            lints::legacy_pair(self, instruction, pair);
            lints::secret(self, "ENV", &pair.name, origin);
            line.push_str(&format!(" {}={}", pair.name, pair.value));
            let state = &mut self.states[at];
            state.environment.set(&pair.name, &pair.value);
            state.image_environment.replace(&pair.name, &pair.value);
        }
        self.note(at, line, None, origin)
    }

    fn label(
        &mut self,
        at: usize,
        instruction: &Instruction,
        pairs: &[Pair],
    ) -> Result<(), DockerfileError> {
        let origin = &instruction.origin;
        let pairs = self.pairs(at, pairs, origin)?;
        let mut line = "LABEL".to_owned();
        for pair in pairs {
            lints::legacy_pair(self, instruction, &pair);
            line.push_str(&format!(" {}={}", pair.name, pair.value));
            let labels = &mut self.states[at].image.config.labels;
            labels.insert(pair.name, pair.value);
        }
        self.note(at, line, None, origin)
    }

    fn pairs(
        &mut self,
        at: usize,
        pairs: &[Pair],
        origin: &Origin,
    ) -> Result<Vec<Pair>, DockerfileError> {
        pairs
            .iter()
            .map(|pair| {
                Ok(Pair {
                    name: self.word(at, &pair.name, origin)?,
                    value: self.word(at, &pair.value, origin)?,
                    is_legacy: pair.is_legacy,
                })
            })
            .collect()
    }

    fn arg(
        &mut self,
        at: usize,
        arguments: &[Argument],
        origin: &Origin,
    ) -> Result<(), DockerfileError> {
        let mut line = "ARG".to_owned();
        for argument in arguments {
            let name = &argument.name;
            lints::secret(self, "ARG", name, origin);
            let given = self.arguments.get(name).cloned();
            let value = match (given, &argument.default) {
                (Some(given), _) => Some(given),
                (None, Some(default)) => Some(self.word(at, default, origin)?),
                (None, None) => self.globals.get(name).map(str::to_owned),
            };
            line.push(' ');
            line.push_str(name);
            if let Some(value) = &value {
                line.push_str(&format!("={value}"));
                if is_variable(name) {
                    self.states[at].environment.set(name, value);
                }
            }
            self.used.insert(name.clone());
            self.charge(name.len() + value.as_ref().map_or(0, String::len), origin)?;
            self.states[at].arguments.push((name.clone(), value));
        }
        self.note(at, line, None, origin)
    }

    fn cmd(
        &mut self,
        at: usize,
        instruction: &Instruction,
        line: &CommandLine,
    ) -> Result<(), DockerfileError> {
        let origin = &instruction.origin;
        let before = self.states[at].seen.command.replace(owned(origin));
        let words = self.command_line(at, instruction, line, before.as_deref());
        let state = &mut self.states[at];
        state.image.config.args_escaped = true;
        state.image.config.cmd = Some(words.clone()).filter(|words| !words.is_empty());
        self.note(at, format!("CMD {}", quoted(&words)), None, origin)
    }

    fn entrypoint(
        &mut self,
        at: usize,
        instruction: &Instruction,
        line: &CommandLine,
    ) -> Result<(), DockerfileError> {
        let origin = &instruction.origin;
        let before = self.states[at].seen.entrypoint.replace(owned(origin));
        let words = self.command_line(at, instruction, line, before.as_deref());
        let state = &mut self.states[at];
        state.image.config.entrypoint = Some(words.clone()).filter(|words| !words.is_empty());
        // What the base runs by default is no argument for another program.
        if state.seen.command.is_none() {
            state.image.config.cmd = None;
        }
        self.note(at, format!("ENTRYPOINT {}", quoted(&words)), None, origin)
    }

    /// Looks at a line of CMD or ENTRYPOINT, which one of the stage may have been before; returns its
    /// words, behind those of the shell where it is in shell form.
    fn command_line(
        &mut self,
        at: usize,
        instruction: &Instruction,
        line: &CommandLine,
        before: Option<&Origin>,
    ) -> Vec<String> {
        lints::only_once(self, instruction, before);
        lints::shell_form(self, at, instruction, line);
        if line.is_shell {
            self.with_shell(at, &line.words)
        } else {
            line.words.clone()
        }
    }

    pub(super) fn with_shell(&self, at: usize, words: &[String]) -> Vec<String> {
        let own = self.states[at].image.config.shell.as_ref();
        let mut all = match own.filter(|shell| !shell.is_empty()) {
            Some(shell) => shell.clone(),
            None => DEFAULT_SHELL.map(str::to_owned).to_vec(),
        };
        all.push(words.join(" "));
        all
    }

    fn healthcheck(
        &mut self,
        at: usize,
        instruction: &Instruction,
        check: &Healthcheck,
    ) -> Result<(), DockerfileError> {
        let origin = &instruction.origin;
        let before = self.states[at].seen.healthcheck.replace(owned(origin));
        lints::only_once(self, instruction, before.as_deref());
        self.states[at].image.config.healthcheck = Some(check.into());
        let line = format!(
            "HEALTHCHECK {{Test:[{}] Interval:{} Timeout:{} StartPeriod:{} StartInterval:{} \
             Retries:{}}}",
            check.test.join(" "),
            format_duration(check.interval_ns),
            format_duration(check.timeout_ns),
            format_duration(check.start_period_ns),
            format_duration(check.start_interval_ns),
            check.retries
        );
        self.note(at, line, None, origin)
    }

    fn expose(
        &mut self,
        at: usize,
        words: &[String],
        origin: &Origin,
    ) -> Result<(), DockerfileError> {
        let mut exposed = Vec::new();
        for word in words {
            let expanded = expand(self.escape, word, &self.states[at].environment, origin)?;
            for port in &expanded.words {
                let range = ports::parse(port)
                    .map_err(|error| DockerfileError::at(error.into(), origin, port))?;
                lints::port(self, port, &range, origin);
                for number in range.first..=range.last {
                    exposed.push(format!("{number}/{}", range.protocol));
                }
                self.charge(exposed.len() * 8, origin)?;
            }
        }
        let line = format!("EXPOSE [{}]", exposed.join(" "));
        let ports = &mut self.states[at].image.config.exposed_ports;
        for port in exposed {
            ports.insert(port, Value::Object(Map::new()));
        }
        self.note(at, line, None, origin)
    }

    fn volume(
        &mut self,
        at: usize,
        words: &[String],
        origin: &Origin,
    ) -> Result<(), DockerfileError> {
        let volumes = self.words(at, words, origin)?;
        if volumes.iter().any(String::is_empty) {
            return Err(DockerfileError::at(Problem::EmptyVolume, origin, ""));
        }
        let line = format!("VOLUME [{}]", volumes.join(" "));
        let known = &mut self.states[at].image.config.volumes;
        for volume in volumes {
            known.insert(volume, Value::Object(Map::new()));
        }
        self.note(at, line, None, origin)
    }

    /// Adds the target's image to what the graph builds.
    pub(super) fn finish(&mut self, target: usize) {
        let root = self.root(target).step();
        let state = &self.states[target];
        let mut config = state.image.clone();
        config.config.env = state.image_environment.pairs();
        config
            .config
            .labels
            .extend(self.request.wishes.labels.clone());
        if let Some(wanted) = &self.request.platform {
            let same = wanted.os == config.os && wanted.architecture == config.architecture;
            config.os.clone_from(&wanted.os);
            config.architecture.clone_from(&wanted.architecture);
            if !wanted.variant.is_empty() || !same {
                config.variant.clone_from(&wanted.variant);
            }
            if !wanted.os_version.is_empty() || !same {
                config.os_version.clone_from(&wanted.os_version);
            }
        }
        let platform = config.platform();
        config.os.clone_from(&platform.os);
        config.architecture.clone_from(&platform.architecture);
        config.variant.clone_from(&platform.variant);
        self.graph.results.push(BuildResult {
            root,
            platform,
            config,
            history: state.history.clone(),
        });
    }
}

/// A relative directory stands upon the one before. An absolute one stays as it is written.
fn set_directory(state: &mut super::stages::State, path: &str) {
    let current = &state.image.config.working_dir;
    let directory = match path {
        "" if current.is_empty() => "/".to_owned(),
        "" => current.clone(),
        absolute if absolute.starts_with('/') => absolute.to_owned(),
        relative => clean(&format!("/{current}/{relative}")),
    };
    state.image.config.working_dir.clone_from(&directory);
    state.directory = directory;
}

/// Words as Go's `%q` prints them.
fn quoted(words: &[String]) -> String {
    let words: Vec<String> = words.iter().map(|word| quote(word)).collect();
    format!("[{}]", words.join(" "))
}

fn owned(origin: &Origin) -> std::borrow::Cow<'static, Origin> {
    std::borrow::Cow::Owned(origin.clone())
}
