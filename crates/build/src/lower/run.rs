//! RUN.

use types::lexical_path::clean;

use crate::dockerfile::command::{Run, RunNetwork, RunSecurity};
use crate::dockerfile::error::{DockerfileError, Problem};
use crate::dockerfile::heredoc::Heredoc;
use crate::dockerfile::mount::{Mount, MountKind};
use crate::dockerfile::place::Origin;
use crate::dockerfile::words::{Lexer, Variables};
use crate::graph::{self, Device, Network, Op, Security};

use super::Lowering;
use super::environment::Environment;
use super::stages::Planned;

/// Where a here-document that is a script stands while it runs.
const SCRIPTS: &str = "/dev/pipes";
/// Where the socket of the first agent is when nobody says.
const AGENT_VARIABLE: &str = "SSH_AUTH_SOCK";

/// What a RUN runs.
struct Program {
    words: Vec<String>,
    script: Option<graph::Mount>,
    /// What its step is called beyond the instruction's text.
    summary: String,
}

impl Lowering<'_> {
    pub(super) fn run(
        &mut self,
        at: usize,
        planned: &Planned,
        run: &Run,
    ) -> Result<(), DockerfileError> {
        let origin = &planned.instruction.origin;
        self.check_allowed(run, origin)?;
        let flags = self.mount_flags(at, run, origin)?;
        let program = program(run, planned)?;
        let words = if run.line.is_shell {
            self.with_shell(at, &program.words)
        } else {
            program.words
        };
        let mut mounts = self.mounts(at, planned, &flags)?;
        // The script is in none of them, and they are not in its directory.
        mounts.splice(0..0, program.script);
        let history = history_line(&words, self, at);
        let shown = self.run_name(at, planned, &flags, &program.summary);
        let environment = self.run_environment(at, &mounts);
        let uncounted = self.proxies();
        let is_set = |pair: &String| {
            let name = pair.split('=').next().unwrap_or_default();
            self.states[at].environment.get(name).is_some()
        };
        let uncounted_env = uncounted.into_iter().filter(|pair| !is_set(pair)).collect();
        let bytes = environment.iter().map(String::len).sum::<usize>()
            + words.iter().map(String::len).sum::<usize>();
        self.charge(bytes + 1024, origin)?;
        let state = &self.states[at];
        let ignores_cache = state.ignores_cache;
        let platform = state.platform.clone().unwrap_or_default();
        let (cwd, user) = (state.directory.clone(), state.user.clone());
        let request = self.request;
        let own_hostname = request
            .wishes
            .build_arguments
            .get("BUILDKIT_SANDBOX_HOSTNAME");
        let own_devices = run.devices.iter().map(|device| Device {
            name: device.name.clone(),
            is_required: device.required,
        });
        let op = Op::Run(Box::new(graph::Run {
            root: self.root(at),
            args: words,
            env: environment,
            uncounted_env,
            cwd,
            user,
            mounts,
            network: match run.network {
                RunNetwork::Default => request.wishes.network,
                RunNetwork::None => Network::None,
                RunNetwork::Host => Network::Host,
            },
            security: match run.security {
                RunSecurity::Sandbox => Security::Sandbox,
                RunSecurity::Insecure => Security::Insecure,
            },
            devices: own_devices.collect(),
            hostname: own_hostname.cloned().unwrap_or_default(),
            surroundings: request.wishes.surroundings.clone(),
            platform,
        }));
        let step = self.add_step(at, op, shown, origin, ignores_cache);
        self.note(at, format!("RUN {history} # buildkit"), Some(step), origin)
    }

    /// Refuses what was not allowed, before any step runs.
    fn check_allowed(&self, run: &Run, origin: &Origin) -> Result<(), DockerfileError> {
        let wishes = &self.request.wishes;
        let asks_host = run.network == RunNetwork::Host;
        let missing = if run.security == RunSecurity::Insecure && !wishes.allowed.insecure {
            ("security.insecure", "--security")
        } else if asks_host && !wishes.allowed.host_network && wishes.network != Network::Host {
            ("network.host", "--network")
        } else {
            return Ok(());
        };
        let (entitlement, written) = missing;
        Err(DockerfileError::at(
            Problem::NotAllowed(entitlement),
            origin,
            written,
        ))
    }

    /// All variables of the step.
    fn run_environment(&self, at: usize, mounts: &[graph::Mount]) -> Vec<String> {
        let environment = &self.states[at].environment;
        let mut pairs = environment.pairs();
        let agent = mounts
            .iter()
            .find(|mount| matches!(mount.kind, graph::MountKind::Ssh(_)));
        if let Some(agent) = agent.filter(|_| environment.get(AGENT_VARIABLE).is_none()) {
            pairs.push(format!("{AGENT_VARIABLE}={}", agent.target));
        }
        pairs
    }

    fn run_name(&mut self, at: usize, planned: &Planned, flags: &[Mount], summary: &str) -> String {
        let lexer = Lexer {
            keep_quotes: true,
            keep_unset: true,
            ..Lexer::new(self.escape)
        };
        let mut code = planned.instruction.origin.code().to_owned();
        code.push_str(summary);
        let masked = Masked {
            secrets: flags,
            environment: &self.states[at].environment,
        };
        let shown = self.shown(lexer, &code, &masked);
        let platform = self.states[at].platform.clone();
        self.step_name(at, &shown, platform.as_ref(), planned.is_trigger)
    }
}

/// Variables with those that are secrets hidden.
struct Masked<'a> {
    secrets: &'a [Mount],
    environment: &'a Environment,
}

impl Variables for Masked<'_> {
    fn get(&self, name: &str) -> Option<&str> {
        let is_secret = self
            .secrets
            .iter()
            .any(|mount| mount.kind == MountKind::Secret && mount.env.as_deref() == Some(name));
        if is_secret {
            Some("****")
        } else {
            self.environment.get(name)
        }
    }
}

/// What the history says of a RUN: its build arguments with their values, and its words.
fn history_line(words: &[String], lowering: &Lowering, at: usize) -> String {
    let state = &lowering.states[at];
    let mut names: Vec<&str> = Vec::new();
    let mut values: Vec<String> = Vec::new();
    let mut known = std::collections::HashSet::new();
    // The last value of a name counts, at the place of the first.
    for (name, own) in &state.arguments {
        if known.insert(name.as_str()) {
            let value = state.environment.get(name).or(own.as_deref());
            names.push(name);
            values.push(value.unwrap_or_default().to_owned());
        }
    }
    for (name, own) in &state.arguments {
        if state.environment.get(name).is_none() {
            let place = names.iter().position(|known| known == name);
            if let Some(value) = place.and_then(|place| values.get_mut(place)) {
                *value = own.clone().unwrap_or_default();
            }
        }
    }
    let mut parts = Vec::with_capacity(names.len() + words.len() + 1);
    if !names.is_empty() {
        parts.push(format!("|{}", names.len()));
    }
    parts.extend(
        names
            .iter()
            .zip(&values)
            .map(|(name, value)| format!("{name}={value}")),
    );
    parts.extend_from_slice(words);
    parts.join(" ")
}

/// The words, with here-documents in the place where the shell or the kernel finds them.
fn program(run: &Run, planned: &Planned) -> Result<Program, DockerfileError> {
    let origin = &planned.instruction.origin;
    let line = &run.line;
    let plain = |words: Vec<String>| Program {
        words,
        script: None,
        summary: String::new(),
    };
    let Some(first) = line.heredocs.first() else {
        if line.words.is_empty() && !line.is_shell {
            return Err(DockerfileError::at(Problem::AtLeastOne("RUN"), origin, ""));
        }
        return Ok(plain(line.words.clone()));
    };
    let ([text], true) = (&line.words[..], line.is_shell) else {
        return Err(DockerfileError::at(Problem::HeredocCommand, origin, "<<"));
    };
    let is_alone = Heredoc::parse(text).ok().flatten().is_some();
    if !is_alone {
        // The shell reads them itself.
        let mut whole = text.clone();
        for heredoc in &line.heredocs {
            whole.push('\n');
            whole.push_str(&heredoc.content);
            whole.push_str(&heredoc.name);
        }
        return Ok(plain(vec![whole]));
    }
    let body = first.body();
    let summary = format!(" ({})", summary(&first.content));
    if !body.starts_with("#!") {
        return Ok(Program {
            summary,
            ..plain(vec![body])
        });
    }
    // It names its interpreter: it is a program itself.
    let target = format!("{SCRIPTS}{}", clean(&format!("/{}", first.name)));
    Ok(Program {
        words: vec![target.clone()],
        script: Some(graph::Mount {
            target,
            kind: graph::MountKind::File {
                data: body.into_bytes(),
                mode: 0o755,
            },
        }),
        summary,
    })
}

/// The first line of a here-document, and whether there is more.
fn summary(content: &str) -> String {
    let content = content.trim();
    match content.split_once('\n') {
        Some((first, _)) => format!("{}...", first.trim_end_matches('\r')),
        None => content.to_owned(),
    }
}
