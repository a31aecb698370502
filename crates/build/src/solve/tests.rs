//! The scheduler with a worker that only writes down what it is asked: cache, order, concurrency and
//! explanations, without a kernel.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Barrier, Mutex};

use types::image::ImageConfig;
use types::platform::Platform;

use super::*;
use crate::graph::{
    BuildResult, ContextSource, Copy, CopySource, ImageSource, Input, Place, Run, Unpack,
};
use crate::key::digest_of_parts;

/// A tree is known by what made it.
#[derive(Clone, Debug)]
struct Fake {
    identity: Digest,
}

#[derive(Default)]
struct Notes {
    cache: Mutex<BTreeMap<Digest, Digest>>,
    /// Content of the context's files, by pattern.
    files: Mutex<BTreeMap<String, String>>,
    done: Mutex<Vec<String>>,
    told: Mutex<Vec<String>>,
    cancelled: AtomicUsize,
    /// Steps with this word meet here.
    meeting: Option<(String, Barrier)>,
    fails: Option<String>,
    /// Programs whose output does not depend on their root.
    is_constant: bool,
}

impl Worker for Notes {
    type Tree = Fake;
    type Selection = String;
    type Error = String;

    fn source(&self, _id: StepId, step: &Step) -> Result<Fake, String> {
        let text = match &step.op {
            Op::Image(image) => image.id.to_string(),
            _ => step.name.clone(),
        };
        Ok(Fake {
            identity: digest_of_parts([text.as_bytes()]),
        })
    }

    fn identity(&self, tree: &Fake) -> Option<Digest> {
        Some(tree.identity.clone())
    }

    fn settle(&self, tree: &Fake) -> Result<Digest, String> {
        Ok(tree.identity.clone())
    }

    fn detached(&self, _root: &Fake) -> Result<Digest, String> {
        Ok(digest_of_parts([&b"nothing"[..]]))
    }

    fn select(&self, step: &Step, inputs: &[Fake]) -> Result<(String, Vec<Digest>), String> {
        let Op::Copy(copy) = &step.op else {
            return Ok((String::new(), Vec::new()));
        };
        let CopySource::Files { pattern, .. } = &copy.sources[0] else {
            return Ok((String::new(), Vec::new()));
        };
        let files = self.files.lock().unwrap();
        let content = files.get(pattern).cloned().unwrap_or_default();
        let source = inputs[1].identity.as_str().to_owned();
        let digest = digest_of_parts([source.as_bytes(), content.as_bytes()]);
        Ok((pattern.clone(), vec![digest]))
    }

    fn find(&self, _root: &Fake, key: &Digest) -> Result<Option<Fake>, String> {
        let found = self.cache.lock().unwrap().get(key).cloned();
        Ok(found.map(|identity| Fake { identity }))
    }

    fn execute(&self, work: Work<'_, Self>) -> Result<Fake, String> {
        if let Some((word, barrier)) = &self.meeting
            && work.step.name.contains(word)
        {
            barrier.wait();
        }
        if self
            .fails
            .as_ref()
            .is_some_and(|word| work.step.name.contains(word))
        {
            return Err(format!("{} failed", work.step.name));
        }
        self.done.lock().unwrap().push(work.step.name.clone());
        let root = work.inputs[0].identity.clone();
        let key = step_key(work.definition, &root, work.selected);
        let identity = match self.is_constant && matches!(work.step.op, Op::Copy(_)) {
            true => digest_of_parts([&b"constant"[..]]),
            false => digest_of_parts([key.as_str().as_bytes(), b"result"]),
        };
        self.cache.lock().unwrap().insert(key, identity.clone());
        Ok(Fake { identity })
    }

    fn difference(&self, selection: &String, _number: usize, _old: &Digest) -> Option<String> {
        Some(format!("{selection} changed"))
    }

    fn tell(&self, _id: StepId, step: &Step, event: Event<'_>) {
        let text = match event {
            Event::Missed(cause) => format!("{}: {cause}", step.name),
            Event::Cached => format!("{}: cached", step.name),
            _ => return,
        };
        self.told.lock().unwrap().push(text);
    }

    fn cancel(&self) {
        self.cancelled.fetch_add(1, Ordering::SeqCst);
    }
}

impl Notes {
    fn taken(&self) -> Vec<String> {
        std::mem::take(&mut self.done.lock().unwrap())
    }

    fn causes(&self) -> Vec<String> {
        std::mem::take(&mut self.told.lock().unwrap())
    }

    fn put(&self, pattern: &str, content: &str) {
        let mut files = self.files.lock().unwrap();
        files.insert(pattern.to_owned(), content.to_owned());
    }
}

/// A graph written like a Dockerfile.
#[derive(Default)]
struct Draft {
    graph: Graph,
    stage: String,
    number: usize,
}

impl Draft {
    fn add(&mut self, op: Op, text: &str) -> StepId {
        self.number += 1;
        let name = match op {
            Op::Context(_) => text.to_owned(),
            _ => format!("[{} {}/9] {text}", self.stage, self.number),
        };
        self.graph.add(Step {
            op,
            name,
            place: Some(Place {
                stage: self.stage.clone(),
                first_line: self.number,
                last_line: self.number,
            }),
            ignores_cache: false,
        })
    }

    fn image(&mut self, stage: &str, id: &str) -> StepId {
        self.stage = stage.to_owned();
        self.number = 0;
        self.add(
            Op::Image(ImageSource {
                reference: "base:1".into(),
                id: digest_of_parts([id.as_bytes()]),
            }),
            "FROM base:1",
        )
    }

    fn context(&mut self) -> StepId {
        self.add(
            Op::Context(ContextSource {
                name: String::new(),
                ignore: Vec::new(),
            }),
            "context",
        )
    }

    fn run(&mut self, root: StepId, command: &str, env: &[&str]) -> StepId {
        let run = Run {
            root: Input::new(root),
            args: vec![command.into()],
            env: env.iter().map(|pair| (*pair).to_owned()).collect(),
            uncounted_env: Vec::new(),
            cwd: "/".into(),
            user: String::new(),
            mounts: Vec::new(),
            network: crate::graph::Network::Default,
            security: crate::graph::Security::Sandbox,
            devices: Vec::new(),
            hostname: String::new(),
            surroundings: crate::graph::Surroundings::default(),
            platform: Platform::default(),
        };
        self.add(Op::Run(Box::new(run)), &format!("RUN {command}"))
    }

    fn copy(&mut self, root: StepId, from: StepId, pattern: &str) -> StepId {
        let copy = Copy {
            root: Input::new(root),
            sources: vec![CopySource::Files {
                from: Input::new(from),
                pattern: pattern.into(),
                may_be_missing: false,
            }],
            destination: "/".into(),
            chown: None,
            chmod: None,
            is_linked: false,
            keeps_parents: false,
            excludes: Vec::new(),
            unpack: Unpack::Never,
        };
        self.add(Op::Copy(Box::new(copy)), &format!("COPY {pattern} /"))
    }

    fn finish(mut self, root: StepId) -> Graph {
        self.graph.results.push(BuildResult {
            root,
            platform: Platform::default(),
            config: ImageConfig::default(),
            history: Vec::new(),
        });
        self.graph
    }
}

fn build(graph: &Graph, notes: &Notes, last: Option<&Trace>) -> Trace {
    let options = Options {
        mode: Mode::Build,
        width: 1,
        last,
        asks_others: false,
    };
    solve(graph, notes, &options).unwrap().trace
}

/// Base, a file, two programs.
fn usual(id: &str, command: &str, env: &[&str]) -> Graph {
    let mut draft = Draft::default();
    let base = draft.image("app", id);
    let context = draft.context();
    let copied = draft.copy(base, context, "package.json");
    let first = draft.run(copied, command, env);
    let last = draft.run(first, "last", env);
    draft.finish(last)
}

#[test]
fn what_was_done_is_found_and_what_changed_is_done_with_all_after_it() {
    let notes = Notes::default();
    notes.put("package.json", "1");
    let graph = usual("base", "install", &["A=1"]);
    let trace = build(&graph, &notes, None);
    assert_eq!(notes.taken().len(), 3);
    assert!(
        notes
            .causes()
            .iter()
            .all(|line| line.ends_with("first build of these files here"))
    );
    let again = build(&graph, &notes, Some(&trace));
    assert_eq!(notes.taken(), [""; 0]);
    assert!(notes.causes().iter().all(|line| line.ends_with(": cached")));
    assert_eq!(again, trace);
    notes.put("package.json", "2");
    build(&graph, &notes, Some(&trace));
    assert_eq!(notes.taken().len(), 3);
    assert_eq!(
        notes.causes(),
        [
            "[app 3/9] COPY package.json /: package.json changed",
            "[app 4/9] RUN install: [app 3/9] COPY package.json / before it: package.json changed",
            "[app 5/9] RUN last: [app 4/9] RUN install before it: package.json changed",
        ]
    );
}

#[test]
fn each_kind_of_change_is_named() {
    let notes = Notes::default();
    let trace = build(&usual("base", "install", &["A=1"]), &notes, None);
    notes.causes();
    build(&usual("base", "install -v", &["A=1"]), &notes, Some(&trace));
    let causes = notes.causes();
    assert!(causes[0].ends_with("cached"));
    assert_eq!(
        causes[1],
        "[app 4/9] RUN install -v: instruction changed (was \"RUN install\", is \"RUN install -v\")"
    );
    build(&usual("base", "install", &["A=2"]), &notes, Some(&trace));
    assert!(notes.causes()[1].ends_with("variable changed (A=1 -> A=2)"));
    build(
        &usual("base", "install", &["A=1", "B=1"]),
        &notes,
        Some(&trace),
    );
    assert!(notes.causes()[1].ends_with("variable added (B=1)"));
    build(&usual("other", "install", &["A=1"]), &notes, Some(&trace));
    let first = notes.causes().remove(0);
    assert!(
        first.contains("base image base:1 changed (sha256:"),
        "{first}"
    );
    notes.cache.lock().unwrap().clear();
    build(&usual("base", "install", &["A=1"]), &notes, Some(&trace));
    assert!(notes.causes()[0].ends_with("its result is no longer in the cache"));
    let mut graph = usual("base", "install", &["A=1"]);
    graph
        .steps
        .iter_mut()
        .for_each(|step| step.ignores_cache = true);
    build(&graph, &notes, Some(&trace));
    assert!(notes.causes()[0].ends_with("the cache is not asked (--no-cache)"));
}

#[test]
fn a_step_that_gives_the_same_as_before_saves_those_after_it() {
    let notes = Notes {
        is_constant: true,
        ..Notes::default()
    };
    notes.put("package.json", "1");
    let graph = usual("base", "install", &[]);
    let trace = build(&graph, &notes, None);
    notes.taken();
    notes.put("package.json", "2");
    build(&graph, &notes, Some(&trace));
    assert_eq!(notes.taken(), ["[app 3/9] COPY package.json /"]);
}

#[test]
fn only_needed_steps_are_done_and_independent_ones_at_once() {
    let notes = Notes {
        meeting: Some(("meet".into(), Barrier::new(2))),
        ..Notes::default()
    };
    let mut draft = Draft::default();
    let unused = draft.image("unused", "x");
    draft.run(unused, "never", &[]);
    let one = draft.image("one", "a");
    let one = draft.run(one, "meet one", &[]);
    let two = draft.image("two", "b");
    let two = draft.run(two, "meet two", &[]);
    let joined = draft.copy(one, two, "x");
    let graph = draft.finish(joined);
    let options = Options {
        mode: Mode::Build,
        width: 4,
        last: None,
        asks_others: false,
    };
    // They wait for each other: done one after the other, this would not end.
    solve(&graph, &notes, &options).unwrap();
    let mut done = notes.taken();
    assert!(done.pop().unwrap().contains("COPY x"));
    assert_eq!(done.len(), 2);
}

#[test]
fn the_first_failure_ends_the_build_and_is_told() {
    let notes = Notes {
        fails: Some("install".into()),
        ..Notes::default()
    };
    let graph = usual("base", "install", &[]);
    let options = Options {
        mode: Mode::Build,
        width: 3,
        last: None,
        asks_others: false,
    };
    let (id, error) = solve(&graph, &notes, &options).unwrap_err();
    assert_eq!(graph.step(id).name, "[app 4/9] RUN install");
    assert_eq!(error, "[app 4/9] RUN install failed");
    assert_eq!(notes.taken(), ["[app 3/9] COPY package.json /"]);
    assert_eq!(notes.cancelled.load(Ordering::SeqCst), 1);
}

#[test]
fn an_explanation_does_nothing() {
    let notes = Notes::default();
    let graph = usual("base", "install", &["A=1"]);
    let trace = build(&graph, &notes, None);
    notes.taken();
    notes.causes();
    let changed = usual("base", "install -v", &["A=1"]);
    let options = Options {
        mode: Mode::Explain,
        width: 2,
        last: Some(&trace),
        asks_others: false,
    };
    let solved = solve(&changed, &notes, &options).unwrap();
    assert_eq!(notes.taken(), [""; 0]);
    assert_eq!(solved.causes.len(), 2);
    assert!(
        solved.causes[1]
            .1
            .contains("before it: instruction changed")
    );
}

#[test]
fn equal_steps_of_two_stages_are_one() {
    let notes = Notes::default();
    let mut draft = Draft::default();
    let one = draft.image("one", "a");
    let one = draft.run(one, "same", &[]);
    let two = draft.image("two", "a");
    let two = draft.run(two, "same", &[]);
    assert_eq!(one, two);
    let joined = draft.copy(one, two, "x");
    build(&draft.finish(joined), &notes, None);
    assert_eq!(notes.taken().len(), 2);
}
