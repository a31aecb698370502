//! The scheduler: runs the steps that a graph's results need, each when its inputs are there.
//!
//! It decides order, concurrency, and what the cache answers; what a step does is its [`Worker`]'s.
//! Steps are taken by number, so that two builds of one graph go the same way where one thread does
//! all. After the first failure nothing new is begun.

use std::collections::BTreeSet;
use std::sync::{Condvar, Mutex, MutexGuard};

use serde_json::Value;
use types::digest::Digest;

use crate::graph::{Graph, Op, Step, StepId};
use crate::key::{self, step_key};
use crate::why::{self, Cause, Trace, TracedStep};

/// Does what steps say. Called from several threads at once.
pub trait Worker: Sync {
    /// What a step gives: files, and how they are known.
    type Tree: Clone + Send + Sync;
    /// What a step takes from its inputs, as it was found when it was looked for.
    type Selection: Send;
    /// Why it cannot.
    type Error: Send;

    /// Gives a source: an image, a context, a download.
    ///
    /// # Errors
    /// Why there is none.
    fn source(&self, id: StepId, step: &Step) -> Result<Self::Tree, Self::Error>;

    /// What a tree is; `None` while that is still being found out.
    fn identity(&self, tree: &Self::Tree) -> Option<Digest>;

    /// What a tree is; waits until it is known.
    ///
    /// # Errors
    /// Where it cannot be found out.
    fn settle(&self, tree: &Self::Tree) -> Result<Digest, Self::Error>;

    /// What stands for the root of a step that does not look at it.
    ///
    /// # Errors
    /// Where that cannot be found out.
    fn detached(&self, root: &Self::Tree) -> Result<Digest, Self::Error>;

    /// What a step takes from its inputs but the root, by content.
    ///
    /// # Errors
    /// A source that is not there.
    fn select(
        &self,
        step: &Step,
        inputs: &[Self::Tree],
    ) -> Result<(Self::Selection, Vec<Digest>), Self::Error>;

    /// The result that the cache has under a key, on top of the step's root.
    ///
    /// # Errors
    /// Where the cache cannot be read.
    fn find(&self, root: &Self::Tree, key: &Digest) -> Result<Option<Self::Tree>, Self::Error>;

    /// Does a step, and keeps the result under its key.
    ///
    /// # Errors
    /// Why it failed.
    fn execute(&self, work: Work<'_, Self>) -> Result<Self::Tree, Self::Error>;

    /// The first path that two selections differ in, for people.
    fn difference(
        &self,
        selection: &Self::Selection,
        number: usize,
        old: &Digest,
    ) -> Option<String>;

    /// Hears how a step goes.
    fn tell(&self, id: StepId, step: &Step, event: Event<'_>);

    /// Something failed: what runs may end.
    fn cancel(&self);
}

/// A step to do.
#[derive(Debug)]
pub struct Work<'a, W: Worker + ?Sized> {
    /// Its number.
    pub id: StepId,
    /// The step.
    pub step: &'a Step,
    /// Its definition.
    pub definition: &'a Value,
    /// What its inputs gave, the root first.
    pub inputs: &'a [W::Tree],
    /// What it takes of them.
    pub selection: W::Selection,
    /// The digests of that.
    pub selected: &'a [Digest],
}

/// How a step goes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Event<'a> {
    /// It is looked at.
    Begun,
    /// The cache has it.
    Cached,
    /// The cache has not.
    Missed(&'a str),
    /// It is done.
    Done,
    /// It failed.
    Failed,
}

/// What is wanted of a graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Everything is done.
    Build,
    /// Nothing is done: it is told what would be.
    Explain,
}

/// How a graph was solved.
#[derive(Clone, Debug)]
pub struct Solved<T> {
    /// What each step gave; `None` where it was not needed, or is only explained.
    pub trees: Vec<Option<T>>,
    /// The keys of steps, as far as they are known.
    pub keys: Vec<Option<Digest>>,
    /// What was looked at, for the next build.
    pub trace: Trace,
    /// Why steps were done, by number.
    pub causes: Vec<(StepId, String)>,
}

/// How to solve a graph.
#[derive(Clone, Copy, Debug)]
pub struct Options<'a> {
    /// What is wanted.
    pub mode: Mode,
    /// So many steps at once, at most.
    pub width: usize,
    /// What the last build of the same files looked at.
    pub last: Option<&'a Trace>,
    /// Others may have done what was never done here: each step's key is waited for.
    pub asks_others: bool,
}

/// Workers go down into directories, as deep as they allow them to be nested.
const STACK_BYTES: usize = 16 << 20;

/// Solves a graph.
///
/// # Errors
/// The first failure, with the number of its step.
pub fn solve<W: Worker>(
    graph: &Graph,
    worker: &W,
    options: &Options<'_>,
) -> Result<Solved<W::Tree>, (StepId, W::Error)> {
    let solver = Solver {
        graph,
        worker,
        options: *options,
        state: Mutex::new(State::new(graph)),
        changed: Condvar::new(),
    };
    let needed = solver.lock().waiting.len();
    std::thread::scope(|scope| {
        let helpers = options.width.clamp(1, needed.max(1)) - 1;
        for _ in 0..helpers {
            // Where no thread is to be had, those that are do the work.
            let thread = std::thread::Builder::new().stack_size(STACK_BYTES);
            let _ = thread.spawn_scoped(scope, || solver.work());
        }
        solver.work();
    });
    let state = solver
        .state
        .into_inner()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    if let Some(failure) = state.failure {
        return Err(failure);
    }
    let mut causes: Vec<(StepId, String)> = Vec::new();
    let mut trees = Vec::new();
    let mut traced = state.traced;
    // Roots that were being hashed when they were used are known by now.
    for (number, one) in traced.iter_mut().enumerate() {
        if let Some(one) = one
            && one.root.is_none()
            && let Some(root) = graph.steps[number].op.inputs().first()
            && let Some(tree) = state.outcomes[root.0]
                .as_ref()
                .and_then(|outcome| outcome.tree.as_ref())
        {
            one.root = worker.identity(tree);
        }
    }
    let keys = traced.iter().map(|one| {
        let one = one.as_ref()?;
        let root = one.root.as_ref()?;
        Some(step_key(&one.definition, root, &one.selected))
    });
    let keys = keys.collect();
    for (number, outcome) in state.outcomes.into_iter().enumerate() {
        let (tree, cause) = match outcome {
            Some(outcome) => (outcome.tree, outcome.cause),
            None => (None, None),
        };
        trees.push(tree);
        let is_source = graph.steps[number].op.inputs().is_empty();
        causes.extend(
            cause
                .filter(|_| !is_source)
                .map(|cause| (StepId(number), cause)),
        );
    }
    Ok(Solved {
        trees,
        keys,
        trace: Trace {
            steps: traced.into_iter().flatten().collect(),
        },
        causes,
    })
}

struct Outcome<T> {
    /// `None`: it would be done.
    tree: Option<T>,
    /// Why it was, or would be, done.
    cause: Option<String>,
}

struct State<T, E> {
    /// Needed and not begun.
    waiting: BTreeSet<StepId>,
    running: usize,
    outcomes: Vec<Option<Outcome<T>>>,
    traced: Vec<Option<TracedStep>>,
    failure: Option<(StepId, E)>,
}

impl<T, E> State<T, E> {
    fn new(graph: &Graph) -> Self {
        let needed = graph.needed();
        let numbers = needed.iter().enumerate().filter(|(_, needed)| **needed);
        Self {
            waiting: numbers.map(|(number, _)| StepId(number)).collect(),
            running: 0,
            outcomes: graph.steps.iter().map(|_| None).collect(),
            traced: graph.steps.iter().map(|_| None).collect(),
            failure: None,
        }
    }

    /// The first step whose inputs are there.
    fn take(&mut self, graph: &Graph) -> Option<StepId> {
        let is_ready = |id: &&StepId| {
            let inputs = graph.step(**id).op.inputs();
            inputs.iter().all(|input| self.outcomes[input.0].is_some())
        };
        let id = self.waiting.iter().find(is_ready).copied()?;
        self.waiting.remove(&id);
        self.running += 1;
        Some(id)
    }
}

struct Solver<'a, W: Worker> {
    graph: &'a Graph,
    worker: &'a W,
    options: Options<'a>,
    state: Mutex<State<W::Tree, W::Error>>,
    changed: Condvar,
}

impl<W: Worker> Solver<'_, W> {
    fn lock(&self) -> MutexGuard<'_, State<W::Tree, W::Error>> {
        // A panic elsewhere ends the build anyway; its half-done state is not looked at.
        self.state
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Takes one step after the other until there is none.
    fn work(&self) {
        loop {
            let mut state = self.lock();
            let id = loop {
                if state.failure.is_some() || (state.waiting.is_empty() && state.running == 0) {
                    return;
                }
                if let Some(id) = state.take(self.graph) {
                    break id;
                }
                if state.waiting.is_empty() {
                    return;
                }
                state = self
                    .changed
                    .wait(state)
                    .unwrap_or_else(std::sync::PoisonError::into_inner);
            };
            drop(state);
            let outcome = self.step(id);
            let mut state = self.lock();
            state.running -= 1;
            match outcome {
                Ok(outcome) => state.outcomes[id.0] = Some(outcome),
                Err(error) => {
                    let step = self.graph.step(id);
                    if state.failure.is_none() {
                        state.failure = Some((id, error));
                        self.worker.tell(id, step, Event::Failed);
                    }
                    self.worker.cancel();
                }
            }
            drop(state);
            self.changed.notify_all();
        }
    }

    fn step(&self, id: StepId) -> Result<Outcome<W::Tree>, W::Error> {
        let step = self.graph.step(id);
        match step.op {
            Op::Scratch | Op::Image(_) | Op::Context(_) | Op::Git(_) | Op::Http(_) => {
                let tree = self.worker.source(id, step)?;
                let now = TracedStep::new(step, None, Vec::new());
                // What stands on another base has that for its cause.
                let cause = match why::cause(self.options.last, step, &now, None) {
                    cause @ Cause::Base { .. } => Some(cause.to_string()),
                    _ => None,
                };
                self.lock().traced[id.0] = Some(now);
                Ok(Outcome {
                    tree: Some(tree),
                    cause,
                })
            }
            Op::Run(_) | Op::Copy(_) | Op::MakeDirectory(_) => self.operation(id, step),
        }
    }

    fn operation(&self, id: StepId, step: &Step) -> Result<Outcome<W::Tree>, W::Error> {
        let worker = self.worker;
        worker.tell(id, step, Event::Begun);
        let (inputs, before) = self.inputs(id, step);
        let Some(inputs) = inputs else {
            // Only explained: an input would be done first.
            let cause = before.map_or_else(String::new, |(name, cause)| {
                let (step, cause) = (name, cause);
                Cause::Before { step, cause }.to_string()
            });
            worker.tell(id, step, Event::Missed(&cause));
            return Ok(Outcome {
                tree: None,
                cause: Some(cause),
            });
        };
        let definition = key::definition(&step.op);
        let (selection, selected) = worker.select(step, &inputs)?;
        let root = self.root(step, &inputs[0], &definition)?;
        if let (Some(root), false) = (&root, step.ignores_cache)
            && let Some(tree) = worker.find(&inputs[0], &step_key(&definition, root, &selected))?
        {
            self.trace(id, step, Some(root.clone()), &selected);
            worker.tell(id, step, Event::Cached);
            return Ok(Outcome {
                tree: Some(tree),
                cause: None,
            });
        }
        let now = TracedStep::new(step, root, selected.clone());
        let cause = self.cause(step, &now, before.as_ref(), &selection);
        worker.tell(id, step, Event::Missed(&cause));
        if self.options.mode == Mode::Explain {
            self.lock().traced[id.0] = Some(now);
            return Ok(Outcome {
                tree: None,
                cause: Some(cause),
            });
        }
        let work = Work {
            id,
            step,
            definition: &definition,
            inputs: &inputs,
            selection,
            selected: &selected,
        };
        let tree = worker.execute(work)?;
        self.lock().traced[id.0] = Some(now);
        worker.tell(id, step, Event::Done);
        Ok(Outcome {
            tree: Some(tree),
            cause: Some(cause),
        })
    }

    fn trace(&self, id: StepId, step: &Step, root: Option<Digest>, selected: &[Digest]) {
        let traced = TracedStep::new(step, root, selected.to_vec());
        self.lock().traced[id.0] = Some(traced);
    }

    /// What the inputs gave, `None` where one is only explained; name and cause of the first that was
    /// done anew.
    #[expect(
        clippy::type_complexity,
        reason = "two answers of one look under the lock"
    )]
    fn inputs(&self, id: StepId, step: &Step) -> (Option<Vec<W::Tree>>, Option<(String, String)>) {
        let state = self.lock();
        let mut trees = Some(Vec::new());
        let mut before = None;
        for input in self.graph.step(id).op.inputs() {
            let Some(outcome) = state.outcomes[input.0].as_ref() else {
                continue;
            };
            match (&outcome.tree, &mut trees) {
                (Some(tree), Some(all)) => all.push(tree.clone()),
                _ => trees = None,
            }
            if let (Some(cause), None) = (&outcome.cause, &before) {
                before = Some((self.graph.step(input).name.clone(), cause.clone()));
            }
        }
        let _ = step;
        (trees, before)
    }

    /// What the root is. One that was made just now is waited for only where that can save the step:
    /// where the last build did the same.
    fn root(
        &self,
        step: &Step,
        root: &W::Tree,
        definition: &Value,
    ) -> Result<Option<Digest>, W::Error> {
        if let Op::Copy(copy) = &step.op
            && copy.is_linked
        {
            return self.worker.detached(root).map(Some);
        }
        if let Some(known) = self.worker.identity(root) {
            return Ok(Some(known));
        }
        let was_done = || {
            let last = self.options.last.into_iter().flat_map(|last| &last.steps);
            last.into_iter().any(|old| old.definition == *definition)
        };
        if step.ignores_cache || !(self.options.asks_others || was_done()) {
            return Ok(None);
        }
        self.worker.settle(root).map(Some)
    }

    fn cause(
        &self,
        step: &Step,
        now: &TracedStep,
        before: Option<&(String, String)>,
        selection: &W::Selection,
    ) -> String {
        let before = before.map(|(name, cause)| (name.as_str(), innermost(cause)));
        let cause = why::cause(self.options.last, step, now, before);
        if let Cause::Files {
            selection: number,
            old,
            ..
        } = &cause
            && let Some(path) = self.worker.difference(selection, *number, old)
        {
            return path;
        }
        if let Cause::Before { cause, .. } = &cause
            && before.is_some_and(|(name, _)| name.contains("] FROM "))
        {
            return cause.clone();
        }
        cause.to_string()
    }
}

/// Of a chain of causes only the first step and its cause are of interest.
fn innermost(cause: &str) -> &str {
    cause
        .rsplit_once(" before it: ")
        .map_or(cause, |(_, cause)| cause)
}

#[cfg(test)]
mod tests;
