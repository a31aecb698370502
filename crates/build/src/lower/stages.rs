//! Stages: which there are, what each builds on, and which of them the target needs.

use std::borrow::Cow;

use types::image::ImageConfig;
use types::platform::Platform;

use crate::dockerfile::command::{Command, Instruction, Stage};
use crate::dockerfile::error::{DockerfileError, Problem};
use crate::dockerfile::place::Origin;
use crate::dockerfile::suggest::nearest;
use crate::dockerfile::words::Lexer;
use crate::dockerfile::words::NoVariables;
use crate::graph::{HistoryLine, NamedContext, StepId};

use super::arguments::expand;
use super::environment::Environment;
use super::{LowerError, Lowering, NoCache, lints};

/// A stage, or an image or context that an instruction names; and what it has become so far.
#[derive(Clone, Debug)]
pub(super) struct State<'a> {
    /// Where it is written: FROM, or the instruction that names it.
    pub(super) origin: &'a Origin,
    /// Its name as a stage.
    pub(super) name: Option<String>,
    /// What names of steps call it.
    pub(super) label: String,
    /// It is a stage, and no image that an instruction names.
    pub(super) is_stage: bool,
    /// Reference of its base.
    pub(super) base_name: String,
    /// The stage that it builds on.
    pub(super) base: Option<usize>,
    /// A named context that stands for the whole stage.
    pub(super) context: Option<String>,
    pub(super) platform: Option<Platform>,
    pub(super) instructions: Vec<Planned<'a>>,
    /// Other states that its instructions use, with the instruction's number.
    pub(super) uses: Vec<(usize, usize)>,
    pub(super) is_resolved: bool,
    pub(super) has_triggers: bool,
    /// It has its files; its instructions are done.
    pub(super) is_done: bool,
    pub(super) ignores_cache: bool,

    pub(super) root: Option<StepId>,
    pub(super) image: ImageConfig,
    /// Variables of the image, in its order.
    pub(super) image_environment: Environment,
    pub(super) history: Vec<HistoryLine>,
    /// Variables of steps.
    pub(super) environment: Environment,
    /// ARGs so far, with their values.
    pub(super) arguments: Vec<(String, Option<String>)>,
    pub(super) directory: String,
    pub(super) user: String,
    pub(super) is_directory_set: bool,
    /// Number of the last step that has one, and how many there are.
    pub(super) step: usize,
    pub(super) steps: usize,
    pub(super) seen: Seen<'a>,
}

/// Instructions of which a stage should have one.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen<'a> {
    pub(super) command: Option<Cow<'a, Origin>>,
    pub(super) entrypoint: Option<Cow<'a, Origin>>,
    pub(super) healthcheck: Option<Cow<'a, Origin>>,
}

/// An instruction, and the states that it uses: one for COPY, one for each mount of RUN.
#[derive(Clone, Debug)]
pub(super) struct Planned<'a> {
    pub(super) instruction: Cow<'a, Instruction>,
    pub(super) sources: Vec<Option<usize>>,
    pub(super) is_trigger: bool,
}

impl<'a> State<'a> {
    pub(super) fn new(origin: &'a Origin, base_name: String) -> Self {
        Self {
            origin,
            name: None,
            label: String::new(),
            is_stage: false,
            base_name,
            base: None,
            context: None,
            platform: None,
            instructions: Vec::new(),
            uses: Vec::new(),
            is_resolved: false,
            has_triggers: false,
            is_done: false,
            ignores_cache: false,
            root: None,
            image: ImageConfig::default(),
            image_environment: Environment::default(),
            history: Vec::new(),
            environment: Environment::default(),
            arguments: Vec::new(),
            directory: String::new(),
            user: String::new(),
            is_directory_set: false,
            step: 0,
            steps: 0,
            seen: Seen::default(),
        }
    }

    pub(super) fn is_scratch(&self) -> bool {
        self.base_name == "scratch" && self.context.is_none()
    }

    /// What copying it takes.
    fn bytes(&self) -> usize {
        let history: usize = self
            .history
            .iter()
            .map(|line| line.created_by.len() + 96)
            .sum();
        history + 2 * (self.environment.bytes() + self.image_environment.bytes())
    }
}

impl<'a> Lowering<'a> {
    /// Knows all stages and what they use; gives the target.
    pub(super) fn plan_stages(&mut self) -> Result<usize, LowerError> {
        let stages: &'a [Stage] = &self.request.dockerfile.stages;
        for (number, stage) in stages.iter().enumerate() {
            self.plan_stage(number, stage)?;
        }
        let target = self.target()?;
        for at in 0..stages.len() {
            for planned in 0..self.states[at].instructions.len() {
                self.find_sources(at, planned)?;
            }
        }
        self.check_cycles()?;
        if let [only] = &mut self.states[..] {
            only.label.clear();
        }
        Ok(target)
    }

    fn plan_stage(&mut self, number: usize, stage: &'a Stage) -> Result<(), DockerfileError> {
        let origin = &stage.origin;
        let base = expand(self.escape, &stage.base, &self.globals, origin)?;
        lints::undeclared(self, &base.unmatched, origin);
        if base.text.is_empty() {
            let problem = Problem::BlankBase(stage.base.clone());
            return Err(DockerfileError::at(problem, origin, &stage.base));
        }
        let mut state = State::new(origin, base.text);
        state.is_stage = true;
        state.name.clone_from(&stage.name);
        state.label = match &stage.name {
            Some(name) => name.clone(),
            None => format!("stage-{number}"),
        };
        if let Some(platform) = &stage.platform {
            state.platform = Some(self.stage_platform(stage, platform)?);
        }
        self.used.extend(base.matched);
        let context = stage.name.as_deref().and_then(|name| {
            let platform = state.platform.as_ref().unwrap_or(&self.target_platform);
            self.context_name(name, platform)
        });
        if let Some(context) = context {
            // It takes the place of all that the stage says.
            state.context = Some(context);
            self.add_stage(state);
            return Ok(());
        }
        if let Some(NamedContext::Target(stage)) = self.context_of(&state.base_name) {
            state.base_name = stage.to_lowercase();
        }
        state.base = self.by_name.get(&state.base_name).copied();
        let own = usize::from(state.base_name != "scratch" && state.base.is_none());
        let steps = stage.instructions.iter().filter(|instruction| {
            let command = &instruction.command;
            matches!(
                command,
                Command::Add(_) | Command::Copy(_) | Command::Run(_) | Command::Workdir(_)
            )
        });
        state.steps = own + steps.count();
        state.ignores_cache = match &self.request.wishes.no_cache {
            NoCache::Never => false,
            NoCache::All => true,
            NoCache::Stages(names) => stage
                .name
                .as_ref()
                .is_some_and(|own| names.iter().any(|name| name.eq_ignore_ascii_case(own))),
        };
        state.instructions = stage
            .instructions
            .iter()
            .map(|instruction| Planned {
                instruction: Cow::Borrowed(instruction),
                sources: Vec::new(),
                is_trigger: false,
            })
            .collect();
        self.add_stage(state);
        Ok(())
    }

    fn stage_platform(
        &mut self,
        stage: &'a Stage,
        written: &str,
    ) -> Result<Platform, DockerfileError> {
        let origin = &stage.origin;
        let expanded = expand(self.escape, written, &self.globals, origin)?;
        lints::undeclared(self, &expanded.unmatched, origin);
        lints::platform(self, stage, written, &expanded);
        let suggest = |error: DockerfileError| {
            let names: Vec<&str> = self.globals.names().collect();
            let mut near = expanded.unmatched.iter();
            let near = near.find_map(|name| nearest(name, names.iter().copied()));
            DockerfileError {
                did_you_mean: near.map(str::to_owned),
                ..error
            }
        };
        if expanded.text.is_empty() {
            let problem = Problem::BlankPlatform(written.to_owned());
            return Err(suggest(DockerfileError::at(problem, origin, written)));
        }
        let platform = Platform::parse(&expanded.text).map_err(|source| {
            let text = written.to_owned();
            suggest(DockerfileError::at(
                Problem::Platform { text, source },
                origin,
                written,
            ))
        })?;
        self.used.extend(expanded.matched);
        Ok(platform)
    }

    fn add_stage(&mut self, state: State<'a>) {
        if let Some(name) = &state.name {
            self.by_name.insert(name.clone(), self.states.len());
        }
        self.states.push(state);
    }

    fn target(&self) -> Result<usize, LowerError> {
        let target = &self.request.wishes.target;
        if target.is_empty() {
            return Ok(self.states.len().saturating_sub(1));
        }
        let found = self.by_name.get(&target.to_lowercase()).copied();
        found.ok_or_else(|| LowerError::Target {
            target: target.clone(),
            did_you_mean: nearest(target, self.stage_names()).map(str::to_owned),
        })
    }

    pub(super) fn stage_names(&self) -> impl Iterator<Item = &str> {
        let labels = self.states.iter().map(|state| state.label.as_str());
        labels.filter(|label| !label.is_empty())
    }

    /// Finds the states that an instruction uses; images get a state of their own.
    fn find_sources(&mut self, at: usize, number: usize) -> Result<(), DockerfileError> {
        let planned = self.states[at].instructions[number].clone();
        let origin = &planned.instruction.origin;
        // A trigger stands in no line of this file.
        let place: &'a Origin = match &planned.instruction {
            Cow::Borrowed(instruction) => &instruction.origin,
            Cow::Owned(_) => self.states[at].origin,
        };
        let mut sources = Vec::new();
        match &planned.instruction.command {
            Command::Copy(copy) if !copy.from.is_empty() => {
                let from = &copy.from;
                let expanded = Lexer::new(self.escape).expand(from, &NoVariables);
                let is_plain = expanded.is_ok_and(|expanded| expanded.text == *from);
                if !is_plain {
                    return Err(DockerfileError::at(Problem::CopyFromVariable, origin, from));
                }
                sources.push(Some(self.find_source(from, origin, place)?));
            }
            Command::Run(run) => {
                for mount in &run.mounts {
                    let from = mount.from.as_ref();
                    sources.push(from.map(|from| self.find_source_by_name(from, place)));
                }
            }
            _ => {}
        }
        let state = &mut self.states[at];
        state
            .uses
            .extend(sources.iter().flatten().map(|source| (*source, number)));
        state.instructions[number].sources = sources;
        Ok(())
    }

    /// A stage by number or name, or an image.
    fn find_source(
        &mut self,
        from: &str,
        origin: &Origin,
        place: &'a Origin,
    ) -> Result<usize, DockerfileError> {
        let Ok(number) = types::go_syntax::parse_atoi(from) else {
            return Ok(self.find_source_by_name(from, place));
        };
        let stages = self.request.dockerfile.stages.len();
        usize::try_from(number)
            .ok()
            .filter(|number| *number < stages)
            .ok_or_else(|| DockerfileError::at(Problem::StageNumber(number), origin, from))
    }

    fn find_source_by_name(&mut self, from: &str, place: &'a Origin) -> usize {
        let name = match self.context_of(from) {
            Some(NamedContext::Target(stage)) => stage.clone(),
            _ => from.to_owned(),
        };
        if let Some(&stage) = self.by_name.get(&name.to_lowercase()) {
            return stage;
        }
        // One state serves all that name the same image.
        let known = self
            .states
            .iter()
            .position(|state| !state.is_stage && state.base_name == name);
        known.unwrap_or_else(|| {
            self.states.push(State::new(place, name));
            self.states.len() - 1
        })
    }

    /// Refuses stages that use each other.
    fn check_cycles(&self) -> Result<(), DockerfileError> {
        #[derive(Clone, Copy, PartialEq)]
        enum Mark {
            New,
            OnPath,
            Done,
        }
        let mut marks = vec![Mark::New; self.states.len()];
        for start in 0..self.states.len() {
            // Each entry is a state and which of its uses is next.
            let mut path = vec![(start, 0)];
            while let Some((at, next)) = path.pop() {
                if next == 0 {
                    if marks[at] != Mark::New {
                        continue;
                    }
                    marks[at] = Mark::OnPath;
                }
                let Some(&(used, instruction)) = self.states[at].uses.get(next) else {
                    marks[at] = Mark::Done;
                    continue;
                };
                if marks[used] == Mark::OnPath {
                    let origin = &self.states[at].instructions[instruction].instruction.origin;
                    let problem = Problem::Cycle(self.states[used].label.clone());
                    return Err(DockerfileError::at(problem, origin, ""));
                }
                path.push((at, next + 1));
                path.push((used, 0));
            }
        }
        Ok(())
    }

    /// Which states the target needs, by number.
    pub(super) fn needed(&self, target: usize) -> Vec<bool> {
        if self.request.checks_all_stages {
            return vec![true; self.states.len()];
        }
        let mut needed = vec![false; self.states.len()];
        let mut pending = vec![target];
        while let Some(at) = pending.pop() {
            if !std::mem::replace(&mut needed[at], true) {
                pending.extend(self.states[at].base);
                pending.extend(self.states[at].uses.iter().map(|(used, _)| *used));
            }
        }
        needed
    }

    /// Resolves what the target needs; triggers of base images may need more.
    pub(super) fn resolve_stages(&mut self, target: usize) -> Result<Vec<bool>, LowerError> {
        loop {
            let needed = self.needed(target);
            for (at, is_needed) in needed.iter().enumerate() {
                self.resolve_base(at, *is_needed)?;
            }
            let mut has_more = false;
            for at in (0..needed.len()).filter(|at| needed[*at]) {
                has_more |= self.add_triggers(at)?;
            }
            if !has_more {
                return Ok(needed);
            }
        }
    }

    /// Puts the ONBUILD instructions of the base before those of the stage. True where they use
    /// states that nothing used before.
    fn add_triggers(&mut self, at: usize) -> Result<bool, DockerfileError> {
        let state = &mut self.states[at];
        if std::mem::replace(&mut state.has_triggers, true) || !state.is_stage {
            return Ok(false);
        }
        let origin = state.origin;
        let triggers: Vec<String> = match state.base {
            None => std::mem::take(&mut state.image.config.on_build),
            Some(base) => {
                let of_base = self.states[base].instructions.iter();
                of_base
                    .filter_map(|planned| match &planned.instruction.command {
                        Command::Onbuild(trigger) => Some(trigger.clone()),
                        _ => None,
                    })
                    .collect()
            }
        };
        let count = triggers.len();
        self.charge(triggers.iter().map(|text| text.len() + 256).sum(), origin)?;
        let mut planned = Vec::with_capacity(count);
        for trigger in triggers {
            let instruction = crate::dockerfile::parse_trigger(&trigger, origin)?;
            planned.push(Planned {
                instruction: Cow::Owned(instruction),
                sources: Vec::new(),
                is_trigger: true,
            });
        }
        let state = &mut self.states[at];
        state.steps += count;
        for (_, instruction) in &mut state.uses {
            *instruction += count;
        }
        planned.append(&mut state.instructions);
        state.instructions = planned;
        let before = state.uses.len();
        for number in 0..count {
            self.find_sources(at, number)?;
        }
        Ok(self.states[at].uses.len() > before)
    }

    /// Takes over what the base has become.
    pub(super) fn inherit(&mut self, at: usize) -> Result<(), DockerfileError> {
        let Some(base) = self.states[at].base else {
            return Ok(());
        };
        self.charge(self.states[base].bytes(), self.states[at].origin)?;
        let base = self.states[base].clone_result();
        let state = &mut self.states[at];
        state.root = base.root;
        state.platform = base.platform;
        state.image = base.image;
        state.image.config.on_build.clear();
        state.image_environment = base.image_environment;
        state.history = base.history;
        state.environment = base.environment;
        state.is_directory_set = base.is_directory_set;
        state.directory = base.directory;
        state.user = base.user;
        state.arguments = base.arguments;
        Ok(())
    }
}

impl<'a> State<'a> {
    /// A copy without the instructions.
    fn clone_result(&self) -> Self {
        Self {
            root: self.root,
            platform: self.platform.clone(),
            image: self.image.clone(),
            image_environment: self.image_environment.clone(),
            history: self.history.clone(),
            environment: self.environment.clone(),
            is_directory_set: self.is_directory_set,
            directory: self.directory.clone(),
            user: self.user.clone(),
            arguments: self.arguments.clone(),
            ..Self::new(self.origin, String::new())
        }
    }
}
